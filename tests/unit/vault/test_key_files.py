"""Key files on a real file system: who may read them, and what happens when they are wrong."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentry_server.adapters.kms import keyfile as keyfiles
from consentry_server.adapters.kms import private_files
from consentry_server.adapters.kms.ephemeral import UnsafeEphemeralKeys
from consentry_server.adapters.kms.keyfile import KeyFile
from consentry_server.adapters.kms.private_files import make_private_folder, read_passphrase, replace_private
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DEK = bytes(range(32))
COST = 2**4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "acme.json"


def keyfile(path: Path, passphrase: bytes | None = None, tenant: str = "acme") -> KeyFile:
    return KeyFile(path, tenant, passphrase=passphrase, scrypt_cost=COST)


def unavailable(call: Callable[[], object]) -> str:
    with pytest.raises(ConsentryError) as caught:
        call()
    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    return caught.value.message


def test_file_and_folder_are_the_owners_alone(path: Path) -> None:
    keyfile(path).create(NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["acme.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o644])
def test_a_file_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    keyfile(path).create(NOW)
    path.chmod(mode)
    assert "chmod 600" in unavailable(keyfile(path).open)


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_in_which_others_may_write_is_refused(path: Path, mode: int) -> None:
    keyfile(path).create(NOW)
    path.parent.chmod(mode)
    assert "chmod go-w" in unavailable(keyfile(path).open)


def test_links_and_other_things_are_refused(path: Path) -> None:
    keyfile(path).create(NOW)
    link = path.with_name("link.json")
    link.symlink_to(path)
    unavailable(keyfile(link).open)
    fifo = path.with_name("fifo.json")
    os.mkfifo(fifo, 0o600)
    unavailable(keyfile(fifo).open)
    unavailable(keyfile(path.parent).open)


def test_files_and_folders_of_others_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyfile(path).create(NOW)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert "folder" in unavailable(keyfile(path).open)
    monkeypatch.setattr(private_files, "check_folder", lambda folder: None)
    monkeypatch.setattr(keyfiles, "check_folder", lambda folder: None)
    assert "another user" in unavailable(keyfile(path).open)


def test_a_missing_file_says_what_to_do(path: Path) -> None:
    make_private_folder(path.parent)
    assert "restore it" in unavailable(keyfile(path).open)


def test_passphrases(path: Path) -> None:
    keyfile(path, b"right").create(NOW)
    assert "passphrase is wrong" in unavailable(keyfile(path, b"wrong").open)
    assert "sealed" in unavailable(keyfile(path).open)
    opened = keyfile(path, b"right")
    opened.open()
    wrapped = opened.wrap(DEK, 1)
    opened.reseal(None)
    assert "not sealed" in unavailable(keyfile(path, b"right").open)
    plain = keyfile(path)
    plain.open()
    plain.reseal(b"new")
    again = keyfile(path, b"new")
    again.open()
    assert again.unwrap(wrapped, 1) == DEK


def test_a_sealed_file_shows_no_key(path: Path) -> None:
    drawn: list[bytes] = []

    def random(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    for passphrase, shown in ((b"right", False), (None, True)):
        drawn.clear()
        target = path.with_name(f"{passphrase is None}.json")
        KeyFile(target, "acme", passphrase=passphrase, random=random, scrypt_cost=COST).create(NOW)
        body = json.loads(target.read_text())["body"]
        kek = drawn[-2] if passphrase else drawn[-1]
        assert (base64.b64encode(kek) in base64.b64decode(body)) == shown


def test_an_existing_file_is_never_overwritten(path: Path) -> None:
    keyfile(path).create(NOW)
    before = path.read_bytes()
    with pytest.raises(ConsentryError) as caught:
        keyfile(path).create(NOW)
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert path.read_bytes() == before


def test_a_file_of_another_tenant_is_refused(path: Path) -> None:
    keyfile(path).create(NOW)
    assert "another tenant" in unavailable(keyfile(path, tenant="other").open)


def test_a_sealed_file_cannot_be_relabelled(path: Path) -> None:
    keyfile(path, b"shared").create(NOW)
    relabel = changed(lambda document: document.update(tenant="other"))
    replace_private(path, relabel(path.read_bytes()), overwrite_old=False)
    assert "changed" in unavailable(keyfile(path, b"shared", tenant="other").open)


def test_two_processes_do_not_lose_each_others_keys(path: Path) -> None:
    one, two = keyfile(path), keyfile(path)
    one.create(NOW)
    one.open()
    two.open()
    one.create_epoch(NOW)
    before = path.read_bytes()
    with pytest.raises(ConsentryError) as caught:
        two.create_epoch(NOW)
    assert caught.value.reason is Reason.STATE_CONFLICT
    assert path.read_bytes() == before


def test_destroyed_keys_are_overwritten_in_the_old_file(path: Path) -> None:
    keys = keyfile(path)
    keys.create(NOW)
    keys.open()
    keys.create_epoch(NOW)
    with path.open("rb", buffering=0) as old:
        assert old.read(1) == b"{"
        keys.destroy_epoch(1, NOW)
        old.seek(0)
        assert set(old.read()) == {0}
    assert json.loads(path.read_text())["tenant"] == "acme"


def test_a_failed_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = keyfile(path)
    keys.create(NOW)
    keys.open()
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ConsentryError) as caught:
            keys.create_epoch(NOW)
    assert caught.value.reason is Reason.STORAGE_FAILED
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["acme.json"]
    assert keys.create_epoch(NOW) == 2


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-40],
        lambda data: b"[]",
        lambda data: b"\xff" * 100,
        lambda data: bytes(2**20 + 1),
        changed(lambda document: document.update(version=2)),
        changed(lambda document: document.update(format="other")),
        changed(lambda document: document.pop("body")),
        changed(lambda document: document.update(body="!")),
        changed(lambda document: document.update(seal=None)),
        changed(lambda document: document.update(seal={"kind": "none"})),
        changed(lambda document: document["seal"].update(kind="other")),
        changed(lambda document: document["seal"].update(n=2**40)),
        changed(lambda document: document["seal"].update(n=3)),
        changed(lambda document: document["seal"].update(n=COST * 2)),
        changed(lambda document: document["seal"].update(salt="AAAA")),
    ],
)
def test_a_damaged_file_is_refused(path: Path, damage: Callable[[bytes], bytes]) -> None:
    keyfile(path, b"right").create(NOW)
    replace_private(path, damage(path.read_bytes()), overwrite_old=False)
    assert unavailable(keyfile(path, b"right").open)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_byte_of_a_sealed_file_is_refused_or_harmless(path: Path, at: int, flip: int) -> None:
    path.unlink(missing_ok=True)
    keys = keyfile(path, b"right")
    keys.create(NOW)
    keys.open()
    wrapped = keys.wrap(DEK, 1)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= flip
    path.write_bytes(data)
    again = keyfile(path, b"right")
    try:
        again.open()
    except ConsentryError as error:
        refused = error.reason
    else:  # white space
        refused = Reason.KEYS_UNAVAILABLE
        assert again.unwrap(wrapped, 1) == DEK
    assert refused is Reason.KEYS_UNAVAILABLE


def test_a_passphrase_file(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b"correct horse \r\n")
    path.chmod(0o400)
    assert read_passphrase(path) == b"correct horse "
    path.chmod(0o440)
    unavailable(lambda: read_passphrase(path))
    path.chmod(0o600)
    path.write_bytes(b"\n")
    assert "empty" in unavailable(lambda: read_passphrase(path))


def test_ephemeral_keys_refuse_anything_but_tests() -> None:
    with pytest.raises(ConsentryError) as caught:
        UnsafeEphemeralKeys(NOW).open()
    assert caught.value.reason is Reason.CONFIGURATION_INVALID
