"""verify.py on an exported ledger: what is whole verifies; one changed, dropped, swapped or added byte is found."""

from __future__ import annotations

import ast
import hashlib
import random
import re
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.core.ledger import checkpoint, note
from tests.support.verifying import VERIFY, isolated, judge, write
from tests.unit.ledger.ledgers import ORIGIN, Ledger

WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


def exported(size: int) -> tuple[Ledger, dict[str, bytes]]:
    ledger = Ledger().grow(size)
    return ledger, ledger.export()


def bundle_place(files: dict[str, bytes], index: int) -> tuple[str, int]:
    """Where an entry's bytes begin: the bundle's file and the offset."""
    name = next(name for name in sorted(files) if re.match(rf"tile/entries/{index // 256:03d}", name))
    at = 0
    for _ in range(index % 256):
        at += 2 + int.from_bytes(files[name][at : at + 2], "big")
    return name, at + 2


def test_it_is_short_and_needs_nothing_of_ours() -> None:
    text = VERIFY.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 300
    assert text.isascii()
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, flags=re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_it_is_written_for_python_3_9() -> None:
    ast.parse(VERIFY.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 600])
def test_an_export_verifies(tmp_path: Path, size: int) -> None:
    ledger, files = exported(size)
    done = isolated(write(tmp_path / "export", files), "--vkey", ledger.verifier.vkey)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{size} entries of {ORIGIN}" in done.stdout
    assert "integrity     INTACT" in done.stdout
    assert "completeness  NOT PROVEN" in done.stdout
    assert "selection     PROVEN by full scan" in done.stdout


def test_levels_above_the_first_are_looked_at(tmp_path: Path) -> None:
    ledger, files = exported(256 * 256 + 300)
    folder = write(tmp_path / "export", files)
    assert {"tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"} <= set(files)
    assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 0
    names = ("tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1")
    for name in names:
        (folder / name).write_bytes(files[name][:-1] + bytes([files[name][-1] ^ 1]))
    code, said = judge(folder, "--vkey", ledger.verifier.vkey)
    assert code == 1
    assert said.count("WRONG  tile/1: not the hashes of entries") == 2
    assert said.count("WRONG  tile/2: not the hashes of entries 0 and on") == 1


def test_older_partial_tiles_stay_and_must_agree(tmp_path: Path) -> None:
    ledger = Ledger().grow(300)
    files = ledger.export()
    ledger.grow(560)
    files |= ledger.export(300)
    assert "tile/entries/001.p/44" in files
    folder = write(tmp_path / "export", files)
    assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 0
    for name in ("tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"):
        for changed in (files[name][:-1], files[name] + b"x", b"\x00" + files[name][1:]):
            (folder / name).write_bytes(changed)
            assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 1, name
        (folder / name).write_bytes(files[name])


@pytest.mark.parametrize("index", [0, 1, 254, 255, 256, 511, 599])
@pytest.mark.parametrize("how", ["changed", "dropped", "added", "swapped"])
def test_a_changed_entry_is_named(tmp_path: Path, index: int, how: str) -> None:
    ledger, files = exported(600)
    name, at = bundle_place(files, index)
    data = files[name]
    at += 20
    changed = {
        "changed": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
        "dropped": data[:at] + data[at + 1 :],
        "added": data[:at] + b" " + data[at:],
        "swapped": data[:at] + data[at + 3 : at + 4] + data[at + 1 : at + 3] + data[at : at + 1] + data[at + 4 :],
    }[how]
    assert changed != data
    code, said = judge(write(tmp_path / "export", {**files, name: changed}), "--vkey", ledger.verifier.vkey)
    assert code == 1
    assert f"WRONG  entry {index}: " in said


def test_every_file_every_way(tmp_path: Path) -> None:
    ledger, files = exported(600)
    folder, pick = write(tmp_path / "export", files), random.Random(11)
    for name, data in files.items():
        at = pick.randrange(len(data))
        ways = [data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :], data[:at] + data[at + 1 :], data + b"\n", b""]
        for way in ways[: 0 if name == "vkey" else None]:  # the key comes from elsewhere: the copy is not used
            (folder / name).write_bytes(way)
            assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 1, name
        if name not in {"vkey", "checkpoint"}:
            (folder / name).unlink()
            assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 1, name
        (folder / name).write_bytes(data)
    (folder / "tile" / "stray").write_bytes(b"")
    assert "stray" in judge(folder, "--vkey", ledger.verifier.vkey)[1]


def test_a_person_left_out_of_a_resigned_ledger_is_found(tmp_path: Path) -> None:
    """The keeper forges: an entry is left out, everything is numbered and signed anew. The chain shows it."""
    honest = Ledger().grow(40)
    forged = Ledger()
    for data in [each for at, each in enumerate(honest.entries) if at != 17]:
        text = data.decode()
        forged.append_bytes(re.sub(r'"index":\d+', f'"index":{len(forged.entries)}', text).encode())
    code, said = judge(write(tmp_path / "export", forged.export()), "--vkey", forged.verifier.vkey)
    assert code == 1
    assert "is gone" in said


def test_a_foreign_key_and_a_missing_one(tmp_path: Path) -> None:
    ledger, files = exported(10)
    folder = write(tmp_path / "export", files)
    other = checkpoint.log_key(ORIGIN, WITNESS)
    assert judge(folder, "--vkey", other.vkey)[0] == 1
    code, said = judge(folder)
    assert (code, "WARNING: no --vkey" in said) == (0, True)
    (tmp_path / "key").write_text(ledger.verifier.vkey + "\n", encoding="ascii")
    assert judge(folder, "--vkey", tmp_path / "key")[0] == 0


def test_a_witness_proves_completeness_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    ledger, files = exported(10)
    key = note.VerifierKey("witness.test/w1", checkpoint.log_key("x", WITNESS).public_key, note.COSIGNATURE_V1)
    body = files["checkpoint"].partition(b"\n\n")[0] + b"\n"
    line = note.cosign(body, key, WITNESS.sign, 1_795_428_000)
    files["checkpoint"] = checkpoint.add_signatures(files["checkpoint"], [line])
    folder = write(tmp_path / "export", files)
    arguments = (folder, "--vkey", ledger.verifier.vkey)
    assert "(1 signatures by keys not named)" in judge(*arguments)[1]
    code, said = judge(*arguments, "--witness", key.vkey)
    assert code == 0
    assert "PROVEN up to entry 9: witness.test/w1 at 2026-11-23T" in said
    forged = note.cosign(body + b"x\n", key, WITNESS.sign, 1_795_428_000)
    (folder / "checkpoint").write_bytes(checkpoint.add_signatures(exported(10)[1]["checkpoint"], [forged]))
    assert judge(*arguments, "--witness", key.vkey)[0] == 1


def test_an_anchor_under_an_earlier_key_needs_that_key(tmp_path: Path) -> None:
    ledger, files = exported(20)
    earlier = Ledger().grow(10)
    earlier.key = WITNESS
    files["anchors/10/checkpoint"] = earlier.checkpoint()
    folder = write(tmp_path / "export", files)
    code, said = judge(folder, "--vkey", ledger.verifier.vkey)
    assert (code, f"WRONG  anchors/10/checkpoint: the key of {ORIGIN} did not sign it" in said) == (1, True)
    old = checkpoint.log_key(ORIGIN, WITNESS).vkey
    assert judge(folder, "--vkey", ledger.verifier.vkey, "--witness", old)[0] == 0
    stranger = checkpoint.log_key("stranger.test/log", WITNESS).vkey
    assert judge(folder, "--vkey", ledger.verifier.vkey, "--witness", stranger)[0] == 1


def test_anchors_in_an_export_are_held_to_it(tmp_path: Path) -> None:
    older = {size: Ledger().grow(size).checkpoint() for size in (1, 255, 256, 257, 500, 600)}
    ledger, files = exported(600)
    folder = write(tmp_path / "export", files | {f"anchors/{size}/checkpoint": data for size, data in older.items()})
    assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 0
    for size, data in older.items():
        other = checkpoint.sign(checkpoint.Checkpoint(ORIGIN, size, b"\x05" * 32), ledger.key)
        path = folder / "anchors" / str(size) / "checkpoint"
        path.write_bytes(other)
        code, said = judge(folder, "--vkey", ledger.verifier.vkey)
        assert (code, f"WRONG  anchors/{size}/checkpoint: a fork" in said) == (1, True)
        path.write_bytes(data)


@pytest.mark.parametrize(
    "given", [["nowhere"], ["empty"], ["export", "--vkey", "no key"], ["export", "--witness", "x+y+z"]]
)
def test_what_cannot_be_checked_has_its_own_exit_code(tmp_path: Path, given: list[str]) -> None:
    write(tmp_path / "export", exported(3)[1])
    (tmp_path / "empty").mkdir()
    done = isolated(tmp_path / given[0], *given[1:])
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be checked" in done.stderr
    assert "Traceback" not in done.stderr


def test_law_packs_beside_the_ledger_are_known_by_their_hash(tmp_path: Path) -> None:
    ledger, files = exported(3)
    pack = b"[pack]\nid = 'made-up'\n"
    folder = write(tmp_path / "export", {**files, f"packs/{hashlib.sha256(pack).hexdigest()}.toml": pack})
    assert judge(folder, "--vkey", ledger.verifier.vkey)[0] == 0
    write(folder, {f"packs/{hashlib.sha256(pack).hexdigest()}.toml": pack + b"#"})
    code, said = judge(folder, "--vkey", ledger.verifier.vkey)
    assert code == 1
    assert "belongs to no ledger" in said
