"""What the campaign found, each by itself: every test here failed before its mending."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import log_key
from consentry_server.core.ledger.rotation import KeyChain
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.photos import PhotoDraft, UploadEnd, blob_name
from consentry_server.services.ports import LedgerStore
from consentry_server.tenant import TenantFolders, publish_keys
from tests.faults.worker import PHOTO_HEAD
from tests.support.clocks import LEDGER, Clock
from tests.support.stack import COLLECTOR, ILLINOIS, Stack, face, parts, start


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stack(tmp_path: Path, clock: Clock) -> AsyncIterator[Stack]:
    made = await start(tmp_path, clock)
    yield made
    await made.running.aclose()


class HeldLock:
    """A lock record whose swap waits until it is let go, or fails as it is told."""

    def __init__(self, lock: FileLockRecord) -> None:
        self._lock = lock
        self.begun = threading.Event()
        self.go = threading.Event()
        self.failure: ConsentryError | None = None

    def read(self) -> bytes | None:
        return self._lock.read()

    def swap(self, old: bytes | None, new: bytes) -> bool:
        self.begun.set()
        assert self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        return self._lock.swap(old, new)


def held(stack: Stack) -> HeldLock:
    lock = HeldLock(FileLockRecord(stack.running.folders.lock))
    stack.tenant.checkpoints._lock = lock
    return lock


async def test_a_caller_who_goes_away_does_not_let_a_second_checkpoint_begin_beside_the_first(stack: Stack) -> None:
    # it looked as if another process had published the ledger, and the server stopped
    await stack.check(face("eileen"), sha256=b"\x01" * 32)
    lock = held(stack)
    gone = asyncio.create_task(stack.tenant.checkpoints.publish())
    await asyncio.to_thread(lock.begun.wait, 30)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert stack.tenant.checkpoints._busy.locked()  # its thread is still at it
    await stack.check(face("eileen"), sha256=b"\x02" * 32)
    second = asyncio.create_task(stack.tenant.checkpoints.publish())
    lock.go.set()
    await second
    assert not stack.tenant.checkpoints.failed.is_set()


@pytest.mark.parametrize(("reason", "stops"), [(Reason.STORAGE_FULL, False), (Reason.STORAGE_FAILED, True)])
async def test_a_lock_record_that_cannot_be_trusted_stops_the_service_and_a_full_disk_does_not(
    stack: Stack, reason: Reason, stops: bool
) -> None:
    await stack.check(face("eileen"), sha256=b"\x01" * 32)
    lock = held(stack)
    lock.failure = ConsentryError(reason, "as the test wants it")
    lock.go.set()
    with pytest.raises(ConsentryError):
        await stack.tenant.checkpoints.publish()
    assert stack.tenant.checkpoints.failed.is_set() is stops
    lock.failure = None
    if stops:  # it would compare with a record that it does not know any more, and cry fork
        lock.swap(lock.read(), b"what the failed swap left")
        with pytest.raises(ConsentryError) as raised:
            await stack.tenant.checkpoints.publish()
        assert raised.value.reason is reason


@pytest.mark.parametrize(
    ("failing", "reason", "after"), [(0, Reason.STORAGE_FULL, b"old"), (1, Reason.STORAGE_FAILED, b"new")]
)
def test_a_full_disk_is_told_only_while_the_old_record_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, reason: Reason, after: bytes
) -> None:
    lock = FileLockRecord(tmp_path)
    assert lock.swap(None, b"old")
    calls = iter(range(10))

    def fsync(_: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ConsentryError) as raised:
        lock.swap(b"old", b"new")
    assert raised.value.reason is reason
    assert lock.read() == after


class Unreliable:
    """A connection whose checkpoints fail."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def wal_checkpoint(self, **_: Any) -> None:
        raise apsw.IOError


async def test_a_failing_deletion_says_so_in_our_words_and_stops_the_writer(stack: Stack) -> None:
    # the driver's own exception came out, and the writer went on after a failed fsync
    sequencer = stack.tenant.sequencer
    store: Any = sequencer.store._hot  # type: ignore[attr-defined]
    store._writer = Unreliable(store._writer)

    def delete(store: LedgerStore) -> None:
        store.delete_sealed(["sld_x"])

    with pytest.raises(ConsentryError) as raised:
        await sequencer.run(delete)
    assert raised.value.reason is Reason.STORAGE_FAILED
    assert sequencer.failed.is_set()
    with pytest.raises(ConsentryError):
        await stack.check(face("eileen"), sha256=b"\x01" * 32)
    stack.tenant.checkpoints.failed.set()


async def test_an_upload_that_a_crash_cut_off_is_destroyed_after_the_start(tmp_path: Path, clock: Clock) -> None:
    # its key and ciphertext stayed for ever: no record knew them, and so no deadline
    before = await start(tmp_path, clock)
    await before.policy()
    keys, blobs = before.tenant.photos._keys, before.tenant.photos._blobs
    kept = await before.upload(PHOTO_HEAD + b"kept")
    assert kept.photo is not None
    lost = keys.dek(RecordClass.PHOTO, "pho_lost").dek_id
    async with blobs.open_writer(blob_name("pho_lost")) as writer:
        await writer.write(b"ciphertext")
    await before.running.aclose()
    after = await start(tmp_path, clock, create=False)
    await after.running.leftovers.finished.wait()
    keys, blobs = after.tenant.photos._keys, after.tenant.photos._blobs
    assert not await blobs.exists(blob_name("pho_lost"))
    assert [owner for owner, *_ in keys.owners(RecordClass.PHOTO, "", 10)] == [kept.photo.photo_id]
    with pytest.raises(ConsentryError):
        keys.existing_dek(lost)
    assert b"".join([piece async for piece in after.tenant.photos._decrypted(kept.photo)]) == PHOTO_HEAD + b"kept"
    await after.running.aclose()


async def test_an_upload_under_way_is_no_leftover(stack: Stack) -> None:
    await stack.policy()
    data = PHOTO_HEAD + bytes(200_000)
    reached, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes | UploadEnd]:
        async for part in parts(data):
            if isinstance(part, UploadEnd):
                reached.set()
                await go.wait()
            yield part

    draft = PhotoDraft(owner_subject_id="uploader", regions=ILLINOIS)
    upload = asyncio.create_task(stack.tenant.photos.upload(COLLECTOR, draft, slowly()))
    await reached.wait()
    assert await stack.running.leftovers.destroy() == 0
    go.set()
    uploaded = await upload
    assert uploaded.photo is not None
    assert await stack.running.leftovers.destroy() == 0
    assert b"".join([piece async for piece in stack.tenant.photos._decrypted(uploaded.photo)]) == data


def test_a_public_key_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    key = log_key(LEDGER, Ed25519PrivateKey.generate())
    with pytest.raises(ConsentryError) as raised:
        publish_keys(TenantFolders(tmp_path / "missing", "acme"), KeyChain.of(key))
    assert raised.value.reason is Reason.STORAGE_FAILED
