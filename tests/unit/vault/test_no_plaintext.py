"""No plaintext and no destroyed key is in any file of the state folder, journals and staged files included."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from consentry_server.adapters.blobs.local import LocalBlobs
from consentry_server.adapters.kms.keyfile import KeyFile
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.keys import Keys

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MARKER = b"PLAINTEXT-MARKER-7f3a"


def found(folder: Path, *needles: bytes) -> list[str]:
    return [
        f"{path.name}: {needle[:8].hex()}"
        for path in folder.rglob("*")
        if path.is_file()
        for content in [path.read_bytes()]
        for needle in needles
        if needle in content
    ]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    custody = KeyFile(tmp_path / "keys" / "acme.json", "acme", passphrase=b"p", scrypt_cost=16)
    custody.create(NOW)
    store = SqliteKeyStore(tmp_path / "keys.db", "acme")
    made = Keys("acme", custody, store, clock=lambda: NOW, random=os.urandom)
    made.start(create=True)
    return made


async def test_photos_and_keys_are_nowhere_in_the_clear(keys: Keys, tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    await blobs.start()
    photo = MARKER * 60_000
    encryptor = keys.encryptor(RecordClass.PHOTO, "pho_1", "pho_1")
    seen_while_writing: list[str] = []
    async with blobs.open_writer("photos/pho_1") as writer:
        await writer.write(encryptor.header)
        for at in range(0, len(photo), 300_000):
            for sealed in encryptor.update(photo[at : at + 300_000]):
                await writer.write(sealed)
            seen_while_writing += found(tmp_path, MARKER)
        await writer.write(encryptor.finish())
    sealed_record = keys.seal(RecordClass.BIOMETRIC, "sub_1", "idf_1", MARKER)
    (tmp_path / "record").write_bytes(sealed_record)
    decryptor = keys.decryptor(RecordClass.PHOTO, "pho_1", "pho_1")
    opened = bytearray()
    async for piece in blobs.read("photos/pho_1"):
        for plain in decryptor.update(piece):
            opened += plain
    opened += decryptor.finish()
    assert bytes(opened) == photo
    deks = [keys.dek(RecordClass.PHOTO, "pho_1").key, keys.dek(RecordClass.BIOMETRIC, "sub_1").key]
    seeds = [key.private.private_bytes_raw() for key in (keys.ledger_key, keys.permit_key)]
    assert seen_while_writing == []
    assert found(tmp_path, MARKER, *deks, *seeds, keys.lookup_key._key) == []
    assert found(tmp_path, sealed_record) == [f"record: {sealed_record[:8].hex()}"]  # the search does find
    keys.close()
    await blobs.aclose()


def test_the_wrapped_key_leaves_every_file_when_it_is_destroyed(keys: Keys, tmp_path: Path) -> None:
    wrapped = {}
    for number in range(200):
        dek_id = keys.dek(RecordClass.BIOMETRIC, f"sub_{number}").dek_id
        stored = keys._store.get(dek_id)
        assert stored is not None
        wrapped[dek_id] = stored.wrapped
    doomed = list(wrapped)[::7]
    assert found(tmp_path, wrapped[doomed[0]])
    deletion = keys.destroy(doomed)
    assert deletion.absent
    assert deletion.journal_emptied
    needles = [part for dek_id in doomed for part in (wrapped[dek_id], dek_id.encode())]
    assert found(tmp_path, *needles) == []
    assert found(tmp_path, wrapped[next(iter(set(wrapped) - set(doomed)))])
    keys.close()
    assert found(tmp_path, *needles) == []


async def test_what_a_crash_left_half_written_is_removed_at_start(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    await blobs.start()
    writer = blobs.open_writer("photos/pho_1")
    started = await writer.__aenter__()
    await started.write(bytes(2_000_000))
    left = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert left
    again = LocalBlobs(tmp_path / "blobs")
    await again.start()
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert not await again.exists("photos/pho_1")
    assert not await writer.__aexit__(InterruptedError, InterruptedError(), None)
    await blobs.aclose()
    await again.aclose()
