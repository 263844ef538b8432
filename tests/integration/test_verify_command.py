"""``consentry audit verify`` as a stranger runs it: verdicts, exit codes, and no traceback whatever the source does."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from consentry_server import cli_audit, cli_verify
from consentry_server.core import permit as permits
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import checkpoint, note
from consentry_server.core.signed import key_id, key_set
from consentry_server.core.vocabulary import Operation, Purpose
from consentry_server.services import verification
from tests.support.exports import site, write
from tests.support.server import Server, consentry
from tests.support.story import Story
from tests.unit.ledger.ledgers import ORIGIN, Ledger

PERSON = "sub_" + "c" * 26
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger().grow(600)


@pytest.fixture
def folder(ledger: Ledger, tmp_path: Path) -> Path:
    write(ledger, tmp_path / "export")
    return tmp_path / "export"


def invoke(*arguments: str | Path) -> Result:
    """Run the command inside this process."""
    before = cli_verify._out, cli_verify._messages
    cli_verify._out, cli_verify._messages = Console(width=200, highlight=False), Console(width=200, stderr=True)
    try:
        return CliRunner().invoke(cli_audit.app, ["verify", *map(str, arguments)])
    finally:
        cli_verify._out, cli_verify._messages = before


def run(*arguments: str | Path, code: int = 0) -> str:
    """What the command says; that it ends so, and never with a traceback."""
    result = invoke(*arguments)
    if isinstance(result.exception, ConsentryError):  # the command's head turns these into a sentence and a code
        assert (result.exception.reason in {Reason.FIELD_INVALID, Reason.FIELD_REQUIRED}, code) == (True, 2)
        return result.exception.message
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    assert "Finding(" not in result.output
    return result.output


def key_of(folder: Path) -> Path:
    return folder.with_suffix(".vkey")


def report(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == code, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    assert told["exit_code"] == code
    return told


def test_the_whole_command_says_what_it_found_in_plain_words(folder: Path) -> None:
    done = consentry("audit", "verify", folder, "--vkey", key_of(folder))
    assert (done.returncode, done.stderr) == (0, "")
    for line in ("1. Integrity: INTACT", "2. Completeness: NOT PROVEN", "3. Selection: PROVEN BY FULL SCAN"):
        assert line in done.stdout
    assert "600 entries about 10 people" in done.stdout
    assert "Exit code 0" in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("gone", "does not exist"),
        ("empty", "neither a checkpoint nor tiles"),
        ("file", "is no folder"),
        ("notes", "there is no ledger"),
    ],
)
def test_what_is_no_ledger_is_not_verified(folder: Path, change: str, said: str) -> None:
    shutil.rmtree(folder)
    if change == "file":
        folder.write_text("x", encoding="ascii")
    elif change != "gone":
        folder.mkdir()
    if change == "notes":
        (folder / "notes.txt").write_text("x", encoding="ascii")
    done = consentry("audit", "verify", folder, "--vkey", key_of(folder))
    assert (done.returncode, done.stdout) == (cli_verify.NOT_VERIFIED, "")
    assert "not verified" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "vkey",
    ["", "x", "a+b", "\u00e9+00000000+AQ==", f"{ORIGIN}+00000000+BgAA", "consentry.test/acme+f0e1d2c3+" + "A" * 44],
)
def test_a_key_that_is_none_is_refused(folder: Path, vkey: str) -> None:
    key_of(folder).write_text(vkey, encoding="utf-8")
    assert "is no vkey" in run(folder, "--vkey", key_of(folder), code=2)


def test_a_witness_s_key_is_no_ledger_s_and_the_other_way_round(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    witness = note.VerifierKey(ORIGIN, ledger.verifier.public_key, note.COSIGNATURE_V1)
    (tmp_path / "w").write_text(witness.vkey, encoding="ascii")
    assert "type 0x04" in run(folder, "--vkey", tmp_path / "w", code=2)
    assert "type 0x01" in run(folder, "--vkey", key_of(folder), "--witness-vkey", key_of(folder), code=2)


def test_options_that_lack_their_other_half_are_refused(folder: Path, tmp_path: Path) -> None:
    assert "--tsa-ca" in run(folder, "--vkey", key_of(folder), "--timestamp", tmp_path / "x", code=2)
    assert "--tls-ca" in run("grpcs://127.0.0.1:1", "--vkey", key_of(folder), code=2)
    assert "not known" in run("ftp://127.0.0.1:1", "--vkey", key_of(folder), code=2)
    assert "sub_" in run(folder, "--vkey", key_of(folder), "--subject-ref", "Alice", code=2)
    assert "cannot be read" in run(folder, "--vkey", key_of(folder), "--permit", tmp_path / "nope", code=2)


@pytest.mark.parametrize(
    ("path", "change", "index"),
    [
        ("tile/entries/001", lambda data: data[:-1], 511),
        ("tile/entries/000", lambda data: data.replace(b"DENY", b"DEMY", 1), 0),
        ("tile/entries/002.p/88", lambda data: b"", 512),
        ("tile/0/001", lambda data: data[:1000] + b"\x00" + data[1001:], 287),
        ("tile/1/000.p/2", lambda data: data[:-1], None),
        ("vkey", lambda data: data.replace(b"acme", b"acne"), None),
        ("checkpoint", lambda data: data[:-4], None),
    ],
)
def test_damage_names_the_entry_and_the_file(
    folder: Path, path: str, change: Callable[[bytes], bytes], index: int | None
) -> None:
    (folder / path).write_bytes(change((folder / path).read_bytes()))
    text = run(folder, "--vkey", key_of(folder), code=5)
    assert "Integrity: DAMAGED" in text
    assert path in text
    findings = report(folder, "--vkey", key_of(folder), code=5)["findings"]
    assert (path, index) in {(one["path"], one["index"]) for one in findings}


def test_missing_and_extra_files_and_pipes_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("x", encoding="ascii")
    told = report(folder, "--vkey", key_of(folder))
    assert told["not_covered"] == ["more/notes.txt"]
    assert "One file is no part of this checkpoint" in run(folder, "--vkey", key_of(folder))
    (folder / "tile/entries/001").unlink()
    assert "entries 256 to 511 are missing" in run(folder, "--vkey", key_of(folder), code=5)
    (folder / "tile/entries/001").mkdir()
    assert "entries 256 to 511 are missing" in run(folder, "--vkey", key_of(folder), code=5)
    (folder / "checkpoint").unlink()
    assert "there is no checkpoint" in run(folder, "--vkey", key_of(folder), code=5)


def test_a_law_pack_that_was_changed_is_told(folder: Path) -> None:
    data = b"[pack]"
    pack = folder / "packs" / f"{sha256(data).hexdigest()}.toml"
    pack.parent.mkdir()
    pack.write_bytes(data)
    run(folder, "--vkey", folder.with_suffix(".vkey"))
    pack.write_bytes(data + b" ")
    assert f"packs/{pack.name}" in run(folder, "--vkey", folder.with_suffix(".vkey"), code=5)


def test_the_checkpoint_that_is_verified_is_no_evidence_about_itself(folder: Path, tmp_path: Path) -> None:
    own, kept = folder / "checkpoint", tmp_path / "kept"
    said = run(folder, "--vkey", folder.with_suffix(".vkey"), "--earlier-checkpoint", own, code=2)
    assert "kept elsewhere" in said
    kept.write_bytes(own.read_bytes())
    assert "PROVEN" in run(folder, "--vkey", folder.with_suffix(".vkey"), "--earlier-checkpoint", kept)


def test_a_checkpoint_of_another_log_is_no_checkpoint_of_this_one(folder: Path, ledger: Ledger) -> None:
    other = checkpoint.Checkpoint("consentry.test/globex", ledger.tree.size, ledger.tree.root())
    (folder / "checkpoint").write_bytes(checkpoint.sign(other, ledger.key))
    text = run(folder, "--vkey", key_of(folder), code=5)
    assert "the checkpoint is of 'consentry.test/globex', not of 'consentry.test/acme'" in text
    assert "There is no checkpoint that the given key signed" in text


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_change_of_any_file_ends_with_5(on_disk: Path, ledger: Ledger, data: st.DataObject) -> None:
    files = sorted(path for path in on_disk.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(max_size=5))
    changed = whole[:at] + new + whole[at + data.draw(st.integers(0, 5)) :]
    if changed == whole:
        return
    try:
        path.write_bytes(changed)
        told = report(on_disk, "--vkey", key_of(on_disk), code=5)
    finally:
        path.write_bytes(whole)
    assert path.relative_to(on_disk).as_posix() in {one["path"] for one in told["findings"]}


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "export"
    write(ledger, folder)
    return folder


def test_worker_processes_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    """Three spans on two workers, intact and damaged in the second one."""
    monkeypatch.setattr(verification, "ALONE_SPANS", 1)
    large = Ledger().grow(2 * 64 * 256 + 300)
    key = write(large, tmp_path / "large")
    person = ("--subject-ref", PERSON)
    one = report(tmp_path / "large", "--vkey", key, "--workers", "1", *person)
    two = report(tmp_path / "large", "--vkey", key, "--workers", "2", *person)
    assert one == two
    assert (one["people"], one["size"]) == (10, 33_068)
    path = tmp_path / "large/tile/entries/100"
    path.write_bytes(path.read_bytes().replace(b"DENY", b"DEMY", 1))
    found = [
        report(tmp_path / "large", "--vkey", key, "--workers", workers, code=5)["findings"] for workers in ("1", "2")
    ]
    assert found[0] == found[1]
    assert found[0][0]["index"] == 25_600


def test_a_worker_that_cannot_read_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "ALONE_SPANS", 0)
    large = Ledger().grow(64 * 256 + 1)
    files = large.export()
    key = write(large, tmp_path / "large")
    with site(files) as served:
        served.token = "secret"
        text = run(served.address, "--vkey", key, "--workers", "2", code=6)
    assert "entries are for authorised auditors only" in text


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_a_witness_and_an_earlier_checkpoint(tmp_path: Path) -> None:
    ledger = Ledger().grow(300)
    (tmp_path / "early").write_bytes(ledger.checkpoint())
    ledger.grow(600)
    key = write(ledger, tmp_path / "export")
    witness = Ed25519PrivateKey.generate()
    public = note.VerifierKey("witness.test/w", checkpoint.log_key("x", witness).public_key, note.COSIGNATURE_V1)
    (tmp_path / "w.vkey").write_text(public.vkey, encoding="ascii")
    early = ("--earlier-checkpoint", tmp_path / "early")
    asked = ("--witness-vkey", tmp_path / "w.vkey")
    export = tmp_path / "export"
    text = run(export, "--vkey", key, *early)
    assert "Completeness: PROVEN IN PART" in text
    assert "early is a checkpoint over the first 300 entries" in text.replace("Early", "early")
    assert "did not cosign" in run(export, "--vkey", key, *asked, code=6)
    body = ledger.checkpoint()
    cosigned = checkpoint.add_signatures(
        body, [note.cosign(note.parse(body).text, public, witness.sign, 1_700_000_000)]
    )
    (export / "checkpoint").write_bytes(cosigned)
    text = run(export, "--vkey", key, *asked, *early)
    assert "Completeness: PROVEN\n" in text
    assert "on 2023-11-14 at 22:13:20 UTC" in text
    assert "others vouch that it is complete" in text
    other = Ledger().grow(100)
    other.append(outcome="ALLOW")
    (tmp_path / "early").write_bytes(other.grow(300).checkpoint())
    assert "Completeness: REFUTED" in run(export, "--vkey", key, *early, code=5)


def make_permit(ledger: Ledger, index: int, key: Ed25519PrivateKey) -> str:
    permit = permits.Permit(
        issuer=ORIGIN,
        audience="face-tagger",
        decision_id="dec_1",
        operation=Operation.DETECT_FACES,
        purpose=Purpose.TAGGING,
        photo_sha256="",
        faces=(),
        biometric=True,
        ledger_index=index,
        leaf_hash=ledger.leaves[index].hex(),
        issued_at=NOW,
        expires_at=NOW + timedelta(seconds=60),
    )
    return permits.sign(permit, key, key_id(key.public_key()))


def test_permits(folder: Path, tmp_path: Path, ledger: Ledger) -> None:
    key = Ed25519PrivateKey.generate()
    keys, held = tmp_path / "keys.json", tmp_path / "held.jwt"
    keys.write_text(json.dumps(key_set([key.public_key()])), encoding="ascii")
    held.write_text(make_permit(ledger, 321, key) + "\n", encoding="ascii")
    signed = ("--permit", held, "--permit-keys", keys)
    told = report(folder, "--vkey", key_of(folder), *signed)
    assert (told["completeness"], told["grounds"][0]["first"]) == ("PROVEN IN PART", 321)
    assert "not checked" in run(folder, "--vkey", key_of(folder), "--permit", held)
    other = Ledger().grow(321)
    other.append(outcome="ALLOW")
    held.write_text(make_permit(other, 321, key), encoding="ascii")
    assert "another entry stands there now" in run(folder, "--vkey", key_of(folder), *signed, code=5)
    held.write_text(make_permit(ledger, 321, Ed25519PrivateKey.generate()), encoding="ascii")
    assert "not in the published set" in run(folder, "--vkey", key_of(folder), *signed, code=6)
    for garbage in ("", "x", "a.b.c", "a." + urlsafe_b64encode(b"[]").decode() + ".c", "\u00e9"):
        held.write_text(garbage, encoding="utf-8")
        assert "no permit" in run(folder, "--vkey", key_of(folder), "--permit", held, code=6)
    keys.write_text("{}", encoding="ascii")
    assert "JWK set" in run(folder, "--vkey", key_of(folder), *signed, code=2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timestamp authority made with OpenSSL alone."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl on this machine")
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "ca.ext").write_text(
        "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n"
    )
    (folder / "tsa.ext").write_text(
        "basicConstraints=critical,CA:false\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
    )
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        f"[tsa]\ndefault_tsa=t\n[t]\nserial={folder}/serial\nsigner_cert={folder}/tsa.pem\nsigner_key={folder}/tsa.key\n"
        "signer_digest=sha256\ndefault_policy=1.3.6.1.4.1.99999.1\ndigests=sha256\nordering=no\ntsa_name=yes\n"
        "ess_cert_id_chain=no\ness_cert_id_alg=sha256\n"
    )
    curve = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    for name in ("ca", "tsa"):
        openssl("genpkey", "-algorithm", *curve, "-out", folder / f"{name}.key")
        openssl(
            "req", "-new", "-key", folder / f"{name}.key", "-subj", f"/CN=Test {name}", "-out", folder / f"{name}.csr"
        )
    sign = ("-days", "3650", "-extfile")
    openssl(
        "x509",
        "-req",
        "-in",
        folder / "ca.csr",
        "-signkey",
        folder / "ca.key",
        *sign,
        folder / "ca.ext",
        "-out",
        folder / "ca.pem",
    )
    openssl(
        "x509",
        "-req",
        "-in",
        folder / "tsa.csr",
        "-CA",
        folder / "ca.pem",
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
        *sign,
        folder / "tsa.ext",
        "-out",
        folder / "tsa.pem",
    )
    return folder


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def stamp(authority: Path, data: bytes, target: Path) -> Path:
    (authority / "data").write_bytes(data)
    openssl("ts", "-query", "-data", authority / "data", "-sha256", "-cert", "-out", authority / "q")
    openssl(
        "ts", "-reply", "-config", authority / "tsa.cnf", "-section", "t", "-queryfile", authority / "q", "-out", target
    )
    return target


def test_timestamps(tmp_path: Path, authority: Path) -> None:
    ledger = Ledger().grow(300)
    early = tmp_path / "early"
    early.write_bytes(ledger.checkpoint())
    early_stamp = stamp(authority, early.read_bytes(), tmp_path / "early.tsr")
    key = write(ledger.grow(600), tmp_path / "export")
    trusted = ("--tsa-ca", authority / "ca.pem")
    now = stamp(authority, ledger.checkpoint(), tmp_path / "now.tsr")
    export = tmp_path / "export"
    text = run(export, "--vkey", key, "--timestamp", now, *trusted)
    assert "Completeness: PROVEN\n" in text
    assert "Test tsa stamped a checkpoint over all 600 entries" in text
    witness = Ed25519PrivateKey.generate()
    public = note.VerifierKey("witness.test/w", checkpoint.log_key("x", witness).public_key, note.COSIGNATURE_V1)
    cosigned = note.cosign(note.parse(ledger.checkpoint()).text, public, witness.sign, 1)
    (export / "checkpoint").write_bytes(checkpoint.add_signatures(ledger.checkpoint(), [cosigned]))
    assert "Completeness: PROVEN\n" in run(export, "--vkey", key, "--timestamp", now, *trusted)
    assert "over something else" in run(export, "--vkey", key, "--timestamp", early_stamp, *trusted, code=6)
    both = ("--timestamp", early_stamp, "--earlier-checkpoint", early)
    assert "over the first 300 entries" in run(export, "--vkey", key, *both, *trusted)


def test_timestamps_that_are_none(folder: Path, tmp_path: Path, authority: Path, ledger: Ledger) -> None:
    good = stamp(authority, ledger.checkpoint(), tmp_path / "now.tsr").read_bytes()
    trusted = ("--tsa-ca", authority / "ca.pem")
    chance = random.Random(5)
    flipped = [
        good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in (0, 9, *chance.sample(range(len(good)), 20))
    ]
    for data in (b"", b"garbage", good[:-1], good[:200]):
        (tmp_path / "t.tsr").write_bytes(data)
        report(folder, "--vkey", key_of(folder), "--timestamp", tmp_path / "t.tsr", *trusted, code=6)
    (tmp_path / "t.tsr").write_bytes(good)
    stamped = ("--timestamp", tmp_path / "t.tsr", *trusted)
    told = report(folder, "--vkey", key_of(folder), *stamped)["grounds"]
    for data in flipped:  # a bit may lie outside what is signed; then it changes nothing that is told
        (tmp_path / "t.tsr").write_bytes(data)
        result = invoke(folder, "--vkey", key_of(folder), *stamped, "--json")
        assert result.exit_code == 6 or json.loads(result.stdout)["grounds"] == told
    (tmp_path / "other.pem").write_bytes((authority / "tsa.pem").read_bytes())
    (tmp_path / "t.tsr").write_bytes(good)
    stamped = ("--timestamp", tmp_path / "t.tsr", "--tsa-ca", tmp_path / "other.pem")
    assert "no root certificate" in run(folder, "--vkey", key_of(folder), *stamped, code=2)


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(ledger: Ledger, tmp_path: Path) -> Path:
    (tmp_path / "k.vkey").write_text(ledger.verifier.vkey, encoding="ascii")
    return tmp_path / "k.vkey"


def test_an_address_is_verified_like_a_folder(ledger: Ledger, key: Path, tmp_path: Path) -> None:
    files = ledger.export()
    with site(files) as served:
        told = report(served.address, "--vkey", key)
        assert (told["integrity"], told["size"], told["people"]) == ("INTACT", 600, 10)
        served.files = {**files, "tile/entries/001": files["tile/entries/001"].replace(b"DENY", b"DEMY", 1)}
        assert report(served.address, "--vkey", key, code=5)["findings"][0]["index"] == 256
        del served.files["tile/entries/001"]
        assert "entries 256 to 511 are missing" in run(served.address, "--vkey", key, code=5)
        served.files = {"checkpoint": files["checkpoint"], "tile/0/000": b"\x00" * 20_000_000}
        assert report(served.address, "--vkey", key, code=5)["integrity"] == "DAMAGED"
        served.files = files
        served.token = "s3cret"
        assert "--token-file" in run(served.address, "--vkey", key, code=6)
        (tmp_path / "token").write_text("s3cret\n", encoding="ascii")
        assert "INTACT" in run(served.address, "--vkey", key, "--token-file", tmp_path / "token")


@pytest.mark.parametrize("status", [302, 403, 418, 500, 503])
def test_a_web_server_that_refuses_or_is_in_trouble_is_no_verdict(ledger: Ledger, key: Path, status: int) -> None:
    with site(ledger.export()) as served:
        served.status = status
        assert f"{status}" in run(served.address, "--vkey", key, code=6)


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\n", b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nshort", b"SSH-2.0-x\r\n"]
)
def test_a_server_that_speaks_something_else_is_no_verdict(ledger: Ledger, key: Path, garbage: bytes) -> None:
    with site({}) as served:
        served.garbage = garbage
        assert "does not answer as a web server does" in run(served.address, "--vkey", key, code=6)


def test_garbage_for_a_checkpoint_is_damage_and_none_is_no_ledger(key: Path) -> None:
    with site({"checkpoint": b"<html>\n"}) as served:
        assert "no empty line before its signatures" in run(served.address, "--vkey", key, code=5)
        served.files = {}
        assert "there is no ledger" in run(served.address, "--vkey", key, code=6)
        address = served.address
    assert "not verified" in run(address, "--vkey", key, code=6)


@pytest.mark.parametrize(
    "address", ["https://", "http://[", "http://host:x/", "http://u@host/", "http://host/?q", "https://127.0.0.1:1/"]
)
def test_addresses_that_lead_nowhere(key: Path, address: str) -> None:
    assert "not verified" in run(address, "--vkey", key, code=6)


def test_a_token_never_travels_in_clear_text(key: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret", encoding="ascii")
    text = run("http://log.example/", "--vkey", key, "--token-file", tmp_path / "token", code=6)
    assert "use https://" in text


# -- a running server --------------------------------------------------------------------------------------------------


@pytest.fixture
def auditor(server: Server, story: Story, tmp_path: Path) -> list[str | Path]:
    (tmp_path / "live.vkey").write_text(story.auditor.get_checkpoint().checkpoint.verifier_key, encoding="ascii")
    tls = server.state / "tls"
    return [
        "--vkey", tmp_path / "live.vkey",
        "--tls-ca", tls / "ca.pem",
        "--tls-cert", tls / "auditor-counsel.pem",
        "--tls-key", tls / "auditor-counsel.key",
    ]  # fmt: skip


def test_a_running_server_is_verified(server: Server, story: Story, auditor: list[str | Path]) -> None:
    size = story.auditor.get_checkpoint().checkpoint.tree_size
    told = report(f"grpcs://{server.address}", *auditor)
    assert (told["integrity"], told["selection"]) == ("INTACT", "PROVEN BY FULL SCAN")
    assert told["size"] >= size > 0
    assert "tile/" not in run(f"grpcs://{server.address}", *auditor)


def test_a_role_that_may_not_read_and_nobody_at_home_are_no_verdict(
    server: Server, story: Story, auditor: list[str | Path], tmp_path: Path
) -> None:
    tls = server.state / "tls"
    collector = [*auditor[:4], "--tls-cert", tls / "collector-product.pem", "--tls-key", tls / "collector-product.key"]
    assert "ROLE_NOT_ALLOWED" in run(f"grpcs://{server.address}", *collector, code=6)
    (tmp_path / "ca.pem").write_bytes(b"no certificate")
    broken = [*auditor[:2], "--tls-ca", tmp_path / "nope.pem", *auditor[4:]]
    assert "not verified" in run(f"grpcs://{server.address}", *broken, code=6)
    assert "127.0.0.1:<port>" in run("grpc://log.example:1", "--vkey", auditor[1], code=6)
