"""``make demo`` as a process, and what it leaves, checked with public libraries that share no code with ours."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymerkle
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from face_tagger import vision

ROOT = Path(__file__).parents[2]
PHOTOS = ("portrait.jpg", "two-people.jpg", "no-face.jpg")
DECISIONS = ("ALLOW", "ALLOW_NONBIOMETRIC", "REVIEW", "DENY")
UNIDENTIFIED = ["FACE_UNIDENTIFIED", "IMPACT_ASSESSMENT_MISSING", "LAWFUL_BASIS_MISSING"]
STEPS = [
    ("upload-before-policy", "DENY", ["POLICY_MISSING"]),
    ("publish-policy", "RECORDED", []),
    ("upload", "ALLOW_NONBIOMETRIC", ["NOT_BIOMETRIC", "SATISFIED"]),
    ("find-before-notice", "DENY", ["NOTICE_NOT_DELIVERED", "RELEASE_MISSING"]),
    ("guard-before-notice", "DENY", ["NOTICE_NOT_DELIVERED", "RELEASE_MISSING"]),
    ("sign-2023-policy", "RECORDED", []),
    ("2023-policy-named-purpose", "DENY", ["NOTICE_TERM_MISSING"]),
    ("2023-policy-other-purpose", "DENY", ["NOTICE_PURPOSE", "NOTICE_TERM_MISSING", "RELEASE_PURPOSE"]),
    ("deliver-notice", "RECORDED", []),
    ("sign-release", "RECORDED", []),
    ("find-faces", "ALLOW", ["SATISFIED"]),
    ("extract-template", "ALLOW", ["SATISFIED"]),
    ("enroll", "ALLOW", ["SATISFIED"]),
    ("store-identifier", "ALLOW", ["SATISFIED"]),
    ("report-processing", "RECORDED", []),
    ("upload-two", "ALLOW_NONBIOMETRIC", ["NOT_BIOMETRIC", "SATISFIED"]),
    ("bystander", "DENY", UNIDENTIFIED),
    ("masked-photo", "ALLOW", []),
    ("match-beside-bystander", "DENY", UNIDENTIFIED),
    ("other-purpose", "DENY", ["NOTICE_PURPOSE", "RELEASE_PURPOSE"]),
    ("other-photo", "REFUSED", ["PERMIT_MISMATCH"]),
    ("no-face", "ALLOW", ["SATISFIED"]),
    ("hash-image", "ALLOW_NONBIOMETRIC", ["NOT_BIOMETRIC"]),
    (
        "hash-unknown",
        "REVIEW",
        ["FACE_UNIDENTIFIED", "GEOMETRY_UNKNOWN", "IMPACT_ASSESSMENT_MISSING", "LAWFUL_BASIS_MISSING"],
    ),
    ("withdraw", "RECORDED", []),
    ("permit-after-withdrawal", "REFUSED", ["BASIS_GONE"]),
    ("template-after-withdrawal", "REFUSED", ["DESTROYED"]),
    ("destruction-certificate", "COMPLETED", []),
    ("find-after-withdrawal", "DENY", ["RELEASE_WITHDRAWN"]),
    ("match-after-withdrawal", "DENY", ["RELEASE_WITHDRAWN"]),
    ("no-answer", "NO_ANSWER", []),
    ("verify-ledger", "VERIFIED", []),
    ("verify-signature", "VERIFIED", []),
]
RECORDED_AS = {
    "publish-policy": "policy.published",
    "sign-2023-policy": "release.recorded",
    "deliver-notice": "notice.delivered",
    "sign-release": "release.recorded",
    "report-processing": "processing.reported",
    "masked-photo": "photo.opened",
    "withdraw": "release.withdrawn",
    "permit-after-withdrawal": "photo.refused",
    "destruction-certificate": "destruction.completed",
}
"""The type of entry at the index of a step that is no decision."""


@dataclass(frozen=True)
class Demo:
    folder: Path
    exit_code: int
    printed: str

    @property
    def summary(self) -> list[dict[str, Any]]:
        steps = json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))
        assert isinstance(steps, list)
        return steps

    @property
    def checkpoint(self) -> tuple[str, int, bytes]:
        """Origin, size and root of the exported checkpoint."""
        origin, size, root = (self.folder / "ledger/checkpoint").read_text(encoding="utf-8").splitlines()[:3]
        return origin, int(size), base64.b64decode(root, validate=True)

    @property
    def entries(self) -> list[bytes]:
        """The exact bytes of every exported entry: C2SP tlog-tiles, each after its length in two bytes."""
        found: list[bytes] = []
        for bundle in bundles(self.folder / "ledger/tile/entries"):
            data = bundle.read_bytes()
            while data:
                length = int.from_bytes(data[:2], "big")
                found.append(data[2 : 2 + length])
                data = data[2 + length :]
        return found


def bundles(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def command(folder: Path) -> list[str]:
    return [sys.executable, str(ROOT / "examples/demo.py"), "--folder", str(folder)]


def run(folder: Path, environment: Mapping[str, str] | None = None) -> Demo:
    done = subprocess.run(
        command(folder),
        cwd=folder.parent,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return Demo(folder, done.returncode, done.stdout)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    done = run(tmp_path_factory.mktemp("demo") / "left", {"PYTHONIOENCODING": "utf-8"})
    assert done.exit_code == 0, done.printed
    return done


def test_every_step_comes_out_as_it_has_to(demo: Demo) -> None:
    told = [(step["step"], step["outcome"], sorted(step["reasons"])) for step in demo.summary]
    steps = STEPS if shutil.which("openssl") else STEPS[:-1]
    assert told == [(name, outcome, sorted(codes)) for name, outcome, codes in steps]
    assert f"all {len(steps)} steps came out as they had to" in demo.printed


def test_the_ledger_holds_each_step_where_the_summary_says(demo: Demo) -> None:
    entries = [json.loads(entry) for entry in demo.entries]
    for step in demo.summary:
        entry = entries[step["index"]]
        assert entry["index"] == step["index"]
        if step["step"] in RECORDED_AS:
            assert entry["type"] == RECORDED_AS[step["step"]], step
        elif step["outcome"] in DECISIONS:
            assert (entry["type"], entry["outcome"]) == ("decision", step["outcome"]), step


def test_no_face_is_touched_before_it_is_allowed(demo: Demo) -> None:
    at = {step["step"]: step["index"] for step in demo.summary}
    entries = [json.loads(entry) for entry in demo.entries]
    opened = [entry["index"] for entry in entries if entry["type"] in {"photo.opened", "identifier.opened"}]
    stored = [entry["index"] for entry in entries if entry["type"] == "identifier.stored"]
    assert min(opened + stored) > at["sign-release"]
    assert max(opened + stored) < at["withdraw"]
    allowed = {entry["decision_id"] for entry in entries if entry["type"] == "decision"} & {
        entry["decision_id"] for entry in entries if entry["type"] == "photo.opened"
    }
    reported = {entry["decision_id"]: entry for entry in entries if entry["type"] == "processing.reported"}
    assert allowed <= set(reported)
    assert [entry for entry in reported.values() if entry.get("without_permission")] == []


def test_the_page_about_the_demo_names_what_it_leaves(demo: Demo) -> None:
    page = (ROOT / "docs/demo.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page.partition("## What it leaves")[2].partition("\n\n##")[0], re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    left = {path.name for path in demo.folder.iterdir() if not path.name.startswith(".")}
    assert named == left


def test_it_reads_well_without_a_terminal(demo: Demo) -> None:
    assert "\x1b" not in demo.printed
    assert max(map(len, demo.printed.splitlines())) <= 100
    for part in ("740 ILCS 14/15(b)(2)", "Martell v. X Corp.", "NIST SP 800-88", "PROVEN BY FULL SCAN"):
        assert part in demo.printed


def test_a_public_merkle_library_gives_the_checkpoints_root(demo: Demo) -> None:
    origin, size, root = demo.checkpoint
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in demo.entries:
        tree.append_entry(entry)
    assert (origin, tree.get_size(), tree.get_root()) == ("consentry.local/acme", size, root)
    for index in (1, size // 2, size):
        pymerkle.verify_inclusion(tree.get_leaf(index), root, tree.prove_inclusion(index, size))


def test_the_tiles_hold_the_hashes_of_the_entries(demo: Demo) -> None:
    hashes = b"".join(path.read_bytes() for path in bundles(demo.folder / "ledger/tile/0"))
    assert hashes == b"".join(hashlib.sha256(b"\x00" + entry).digest() for entry in demo.entries)


def signed(demo: Demo) -> tuple[bytes, bytes, bytes]:
    """The signed text, the signature and the public key, read as C2SP signed-note has them."""
    text, _, lines = (demo.folder / "ledger/checkpoint").read_bytes().partition(b"\n\n")
    dash, name, encoded = lines.decode().splitlines()[0].split(" ")
    key_name, key_id, key = (demo.folder / "ledger/vkey").read_text(encoding="ascii").strip().split("+", 2)
    public, signature = base64.b64decode(key), base64.b64decode(encoded)
    assert (dash, name, public[:1]) == ("—", key_name, b"\x01")
    assert signature[:4].hex() == key_id == hashlib.sha256(f"{name}\n".encode() + public).hexdigest()[:8]
    return text + b"\n", signature[4:], public[1:]


def test_the_checkpoints_signature_verifies_and_covers_every_byte(demo: Demo) -> None:
    text, signature, public = signed(demo)
    key = Ed25519PublicKey.from_public_bytes(public)
    key.verify(signature, text)
    for at in range(len(text)):
        with pytest.raises(InvalidSignature):
            key.verify(signature, text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])


def test_openssl_verifies_what_the_demo_left(demo: Demo) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    text, signature, public = signed(demo)
    left = demo.folder / "openssl"
    key = load_pem_public_key((left / "key.pem").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    assert (key.public_bytes_raw(), (left / "text").read_bytes(), (left / "signature").read_bytes()) == (
        public,
        text,
        signature,
    )
    verify = [openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "text", "-sigfile"]
    assert subprocess.run([*verify, "signature"], cwd=left, check=False, capture_output=True).returncode == 0
    forged = demo.folder.parent / "forged"
    forged.write_bytes(signature[:-1] + bytes([signature[-1] ^ 1]))
    assert subprocess.run([*verify, str(forged)], cwd=left, check=False, capture_output=True).returncode != 0


def test_the_standalone_verifier_takes_the_exported_folder_as_it_is(demo: Demo) -> None:
    verifier = [sys.executable, "-I", str(ROOT / "server/src/consentry_server/standalone/verify.py")]
    export = shutil.copytree(demo.folder / "ledger", demo.folder.parent / "taken")
    arguments = [*verifier, str(export), "--vkey", str(demo.folder / "pinned.vkey")]
    said = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert (said.returncode, "PROVEN by full scan" in said.stdout) == (0, True), said.stdout
    for path in ("keys", next(export.glob("packs/*.toml")).relative_to(export)):
        whole = (export / path).read_bytes()
        (export / path).write_bytes(whole + b"x")
        said = subprocess.run(arguments, check=False, capture_output=True, text=True)
        assert (said.returncode, str(path) in said.stdout) == (1, True), said.stdout
        (export / path).write_bytes(whole)


def test_the_exported_key_is_the_one_that_was_pinned_at_the_start(demo: Demo) -> None:
    pinned, exported = demo.folder / "pinned.vkey", demo.folder / "ledger/vkey"
    assert pinned.read_text(encoding="ascii").strip() == exported.read_text(encoding="ascii").strip()


def files(demo: Demo) -> Iterator[tuple[Path, bytes]]:
    """What an operator or a stranger could read: state, exported ledger, logs."""
    logs = [demo.folder / "server.log", demo.folder / "face-tagger.log"]
    for path in [*bundles(demo.folder / "state"), *bundles(demo.folder / "ledger"), *logs]:
        yield path, path.read_bytes()


def windows(data: bytes, every: int) -> list[bytes]:
    return [data[at : at + 32] for at in range(0, len(data) - 32, every)]


def test_nothing_of_photos_templates_or_people_can_be_read(demo: Demo, photos: Path) -> None:
    secrets: list[bytes] = []
    for name in PHOTOS:
        photo = (photos / name).read_bytes()
        digest = hashlib.sha256(photo)
        secrets += [*windows(photo[640:], 256), digest.digest(), digest.hexdigest().encode()]
    portrait = vision.decode((photos / "portrait.jpg").read_bytes())
    secrets += windows(vision.make_template(portrait, vision.find_faces(portrait)[0]), 64)
    secrets += [b"alice", b"By pressing Sign", b"passkey"]
    found = [(path.name, secret) for path, data in files(demo) for secret in secrets if secret in data]
    assert found == []


def test_the_photos_are_kept_all_the_same(demo: Demo, photos: Path) -> None:
    kept = sorted(path.stat().st_size for path in bundles(demo.folder / "state/tenants/acme/blobs"))
    assert len(kept) == len(PHOTOS)
    sizes = sorted((photos / name).stat().st_size for name in PHOTOS)
    assert all(ciphertext > plain for ciphertext, plain in zip(kept, sizes, strict=True))


def test_one_face_is_left_in_the_masked_photo(demo: Demo) -> None:
    masked = vision.decode((demo.folder / "masked.jpg").read_bytes())
    assert len(vision.find_faces(masked)) == 1
    assert int(masked[45:185, 435:560].max()) <= 8  # black, but for what JPEG adds


def test_a_step_that_comes_out_otherwise_is_named(tmp_path: Path) -> None:
    failed = run(tmp_path / "left", {"CONSENTRY_TENANCY__ENTITY_TYPE": "GOVERNMENT_AGENCY"})
    assert failed.exit_code == 1
    assert failed.summary[-1]["step"] == "find-before-notice"
    assert "✗ step find-before-notice: wanted DENY" in failed.printed
    assert (tmp_path / "left/server.log").read_bytes().count(b'"stopped"') == 1


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work", encoding="utf-8")
    refused = run(mine)
    assert refused.exit_code == 1
    assert "name another folder" in refused.printed
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        command(tmp_path / "left"),
        env={**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(tmp_path / "temporary")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    with process.stdout:
        first = process.stdout.read(1)  # the first chapter begins: both processes run
        server = json.loads((tmp_path / "left/ready.json").read_text(encoding="utf-8"))["pid"]
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.wait(60) == 130, (first + rest).decode()
    assert b"interrupted" in rest
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert list((tmp_path / "temporary").iterdir()) == []  # the tagger's socket
