"""verify.py on packs: whatever is changed in one, by somebody clumsy or by somebody who knows the format, is found."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.core.ledger import checkpoint, note
from consentry_server.services.evidence_selection import Wanted
from tests.support.verifying import isolated, judge, unpack, write
from tests.unit.evidence.conftest import Story

Files = dict[str, bytes]
WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


@pytest.fixture
async def files(story: Story) -> Files:
    return unpack(await story.pack(Wanted(subject_ref=story.eileen, redact_others=True)))


def listed(files: Files, **selection: int) -> Files:
    """What a forger makes of it: a manifest that fits."""
    manifest = json.loads(files["manifest.json"])
    manifest["selection"].update(selection)
    manifest["files"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"
    }
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def without(files: Files, *indices: int) -> Files:
    return {name: data for name, data in files.items() if not any(f"/{index:012d}." in name for index in indices)}


def of_person(files: Files, reference: str) -> list[int]:
    return sorted(
        int(name[-17:-5])
        for name, data in files.items()
        if name.startswith(("entries/", "withheld/"))
        and any(person["subject_ref"] == reference for person in json.loads(data).get("people", ()))
    )


def judged(tmp_path: Path, story: Story, files: Files) -> tuple[int, str]:
    folder = tmp_path / "judged"
    shutil.rmtree(folder, ignore_errors=True)
    return judge(write(folder, files), "--vkey", story.key.vkey)


async def test_every_file_every_way(tmp_path: Path, story: Story, files: Files) -> None:
    folder = write(tmp_path / "pack", files)
    assert judge(folder, "--vkey", story.key.vkey)[0] == 0
    for name, data in files.items():
        path, middle = folder / name, len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 0x40]) + data[middle + 1 :]
        for changed in (flipped, data[:middle] + data[middle + 1 :], data + b" ", b""):
            path.write_bytes(changed)
            code, said = judge(folder, "--vkey", story.key.vkey)
            # a blank after the manifest's JSON changes nothing that it says, and nothing lists the manifest itself
            assert code == (0 if name == "manifest.json" and changed == data + b" " else 1), (name, len(changed))
            assert code == 0 or name in {"manifest.json", "checkpoint"} or f"{name}: " in said
        path.unlink()
        assert judge(folder, "--vkey", story.key.vkey)[0] == 1, name
        path.write_bytes(data)
    (folder / "entries" / "extra.txt").write_bytes(b"x")
    assert judge(folder, "--vkey", story.key.vkey)[0] == 1


async def test_a_changed_entry_is_named_even_with_a_new_manifest(tmp_path: Path, story: Story, files: Files) -> None:
    for index in of_person(files, story.eileen):
        name = f"entries/{index:012d}.json"
        if name in files:
            changed = files[name].replace(b'"actor":"', b'"actor":"x', 1)
            code, said = judged(tmp_path, story, listed({**files, name: changed}))
            assert (code, f"WRONG  entry {index} ({name}): it does not stand in the signed ledger" in said) == (1, True)


async def test_a_replaced_entry_is_named(tmp_path: Path, story: Story, files: Files) -> None:
    one, other = [index for index in of_person(files, story.eileen) if f"entries/{index:012d}.json" in files][1:3]
    names = [f"entries/{index:012d}.json" for index in (one, other)]
    swapped = {**files, names[0]: files[names[1]], names[1]: files[names[0]]}
    code, said = judged(tmp_path, story, listed(swapped))
    assert (code, f"entry {one} (" in said, f"entry {other} (" in said) == (1, True, True)
    proofs = [f"proofs/{index:012d}.tlog-proof" for index in (one, other)]
    code, said = judged(tmp_path, story, listed({**swapped, proofs[0]: files[proofs[1]], proofs[1]: files[proofs[0]]}))
    assert code == 1


async def test_an_entry_left_out_is_found_with_a_new_manifest(tmp_path: Path, story: Story, files: Files) -> None:
    chain = of_person(files, story.eileen)
    assert len(chain) > 8
    for at, index in enumerate(chain[:-1]):
        code, said = judged(tmp_path, story, listed(without(files, index)))
        assert code == 1, index
        assert f"entry {chain[at + 1]}: it is the person's number {at + 2}, after entry" in said
    code, said = judged(tmp_path, story, listed(without(files, chain[-1])))
    assert (code, f"entry {chain[-1]}, number {len(chain)} of the person, was left out" in said) == (1, True)


async def test_a_chains_end_is_said_to_be_a_claim(tmp_path: Path, story: Story, files: Files) -> None:
    """Who cuts off the end and rewrites manifest and selection is not found by a chain: the verdict says so."""
    chain = of_person(files, story.eileen)
    forged = listed(without(files, chain[-1]), chain_length=len(chain) - 1, last_index=chain[-2])
    forged = listed({name: data for name, data in forged.items() if not name.startswith(("documents/", "sealed/"))})
    code, said = judged(tmp_path, story, forged)
    assert (code, f"that none follows entry {chain[-2]} is claimed" in said) == (0, True)


async def test_what_is_said_of_a_withheld_entry_is_held(tmp_path: Path, story: Story, files: Files) -> None:
    name = next(name for name in files if name.startswith("withheld/"))
    stated = json.loads(files[name])
    every: list[dict[str, Any]] = [
        {"leaf_hash": "00" * 32},
        {"index": stated["index"] + 1},
        {"time": "2026-11-23T23:00:00.000000Z"},
        {"people": [{**stated["people"][0], "subject_seq": 99}]},
        {"people": []},
    ]
    for changes in every:
        forged = json.dumps({**stated, **changes}).encode()
        assert judged(tmp_path, story, listed({**files, name: forged}))[0] == 1, changes


async def test_a_forgery_from_the_ground_up_needs_the_key(tmp_path: Path, story: Story, files: Files) -> None:
    """A pack of the forger's own key agrees with itself, and that is all that can be said without the real key."""
    key = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    body = files["checkpoint"].partition(b"\n\n")[0] + b"\n"
    signed = checkpoint.sign(checkpoint.parse_body(body), key)
    forged = {name: data.replace(files["checkpoint"], signed) for name, data in files.items()}
    forged["vkey"] = checkpoint.log_key(story.key.name, key).vkey.encode() + b"\n"
    folder = write(tmp_path / "forged", listed(forged))
    code, said = judge(folder)
    assert (code, "WARNING: no --vkey" in said) == (0, True)
    code, said = judge(folder, "--vkey", story.key.vkey)
    assert (code, "did not sign" in said) == (1, True)


@pytest.mark.parametrize("drop", ["first", "last", "middle", "before", "after"])
async def test_a_period_with_a_hole_is_found(tmp_path: Path, story: Story, drop: str) -> None:
    begin = story.stack.clock.now.replace(minute=1)
    wanted = Wanted(from_time=begin, until_time=begin.replace(minute=2))
    files = unpack(await story.pack(wanted))
    chosen = json.loads(files["manifest.json"])["selection"]
    first, last = chosen["first_index"], chosen["last_index"]
    gone = {"first": first, "last": last, "middle": first + 1, "before": first - 1, "after": last + 1}[drop]
    kept = {name: data for name, data in without(files, gone).items() if not name.startswith(("sealed/", "documents/"))}
    code, said = judged(tmp_path, story, listed(kept))
    assert (code, "an entry of the period, or one beside it, was left out" in said) == (1, True)


async def test_narrowing_a_period_in_the_manifest_is_found(tmp_path: Path, story: Story) -> None:
    files = unpack(await story.pack(Wanted(until_time=story.stack.clock.now)))
    last = json.loads(files["manifest.json"])["selection"]["last_index"]
    assert judged(tmp_path, story, listed(files))[0] == 0
    assert judged(tmp_path, story, listed(files, last_index=last - 1))[0] == 1


async def test_a_zip_is_checked_as_it_is(tmp_path: Path, story: Story) -> None:
    data = await story.pack(Wanted(subject_ref=story.eileen))
    path = tmp_path / "pack.zip"
    path.write_bytes(data)
    assert isolated(path, "--vkey", story.key.vkey).returncode == 0
    offsets = {each.filename: each.header_offset for each in zipfile.ZipFile(io.BytesIO(data)).infolist()}
    for name in ("README.txt", "checkpoint", next(name for name in offsets if name.startswith("entries/"))):
        at = offsets[name] + 30 + len(name) + 5  # within the compressed bytes
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        done = isolated(path, "--vkey", story.key.vkey)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    path.write_bytes(data[: len(data) // 2])
    assert isolated(path, "--vkey", story.key.vkey).returncode == 2
    twice = io.BytesIO(data)
    with zipfile.ZipFile(twice, "a") as pack, pytest.warns(UserWarning, match="Duplicate"):
        pack.writestr("README.txt", b"another")
    path.write_bytes(twice.getvalue())
    assert isolated(path, "--vkey", story.key.vkey).returncode == 2


def authority(folder: Path) -> Callable[[Path], bytes]:
    """A timestamp authority of OpenSSL: gives a token for a file."""
    folder.mkdir()

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    (folder / "tsa.ext").write_text(
        "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n"
    )
    for name in ("ca", "tsa"):
        key = folder / f"{name}.key"
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/O=Test/CN=test {name}", "-out", folder / f"{name}.csr")
    ca = folder / "ca.pem"
    openssl("req", "-x509", "-key", folder / "ca.key", "-subj", "/O=Test/CN=test ca", "-days", "3650", "-out", ca)
    signing = ("-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "3650")
    asked, extensions = folder / "tsa.csr", folder / "tsa.ext"
    openssl("x509", "-req", "-in", asked, *signing, "-extfile", extensions, "-out", folder / "tsa.pem")
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\ndefault_tsa = t\n[t]\nserial = {folder}/serial\nsigner_cert = {folder}/tsa.pem\n"
        f"signer_key = {folder}/tsa.key\nsigner_digest = sha256\ndefault_policy = 1.3.6.1.4.1.99999.1\n"
        "digests = sha256\ness_cert_id_alg = sha256\n"
    )

    def stamp(path: Path) -> bytes:
        openssl("ts", "-query", "-data", path, "-sha256", "-cert", "-out", folder / "q")
        openssl("ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "q", "-out", folder / "r")
        return (folder / "r").read_bytes()

    return stamp


def said_by(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_anchors_go_along_and_are_checked(tmp_path: Path, story: Story) -> None:
    stamp = authority(tmp_path / "tsa")
    anchors = story.folder / "tenants" / "acme" / "anchors"
    at = anchors / str(story.tenant.sequencer.store.fetch_head().size)
    at.mkdir(parents=True)
    older = await story.tenant.audit.checkpoint()
    size = int(older.split(b"\n")[1])
    assert at.name == str(size)
    (at / "checkpoint").write_bytes(older)
    (at / "authority.tsr").write_bytes(stamp(at / "checkpoint"))
    key = note.VerifierKey("witness.test/w1", checkpoint.log_key("x", WITNESS).public_key, note.COSIGNATURE_V1)
    body = older.partition(b"\n\n")[0] + b"\n"
    line = note.cosign(body, key, WITNESS.sign, 1_795_428_000)
    (at / "witness.cosignature").write_bytes(note.Note(body, (line,)).encode().partition(b"\n\n")[2])
    shutil.copy(tmp_path / "tsa" / "ca.pem", anchors / "authority.pem")
    story.stack.clock.forward(seconds=1)
    await story.stack.consent("eileen")
    files = unpack(await story.pack(Wanted(subject_ref=story.eileen)))
    assert {f"anchors/{size}/checkpoint", f"anchors/{size}/authority.tsr", "anchors/authority.pem"} <= set(files)
    code, said = judged(tmp_path, story, files)
    assert code == 0
    command = next(line for line in said.splitlines() if "openssl" in line).partition("openssl")[2].split()
    given = ["openssl", *command[:-1], "anchors/authority.pem"]
    assert "Verification: OK" in said_by(given, tmp_path / "judged")
    code, said = judge(tmp_path / "judged", "--vkey", story.key.vkey, "--witness", key.vkey)
    assert (code, f"PROVEN up to entry {size - 1}: witness.test/w1" in said) == (0, True)
    for forged in (
        {f"consistency/{size}": files[f"consistency/{size}"][45:]},
        {f"anchors/{size}/checkpoint": older.replace(b"A", b"B", 1)},
        {f"anchors/{size}/authority.tsr": stamp(tmp_path / "tsa" / "ca.pem")},
    ):
        assert judged(tmp_path, story, listed({**files, **forged}))[0] == 1, list(forged)


async def test_an_anchor_of_a_fork_is_found(tmp_path: Path, story: Story) -> None:
    """The keeper had another ledger anchored than the one that is shown now."""
    files = unpack(await story.pack(Wanted(subject_ref=story.eileen)))
    signing = story.tenant.checkpoints._keys.ledger_key.private
    shown = checkpoint.open_checkpoint(files["checkpoint"], story.key).checkpoint
    for size in (1, shown.size - 1, shown.size):
        other = checkpoint.sign(checkpoint.Checkpoint(story.key.name, size, b"\x05" * 32), signing)
        code, said = judged(tmp_path, story, listed({**files, f"anchors/{size}/checkpoint": other}))
        assert code == 1, size
        assert f"WRONG  anchors/{size}/checkpoint" in said
