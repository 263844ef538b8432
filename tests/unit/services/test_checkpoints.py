"""Checkpoints: signed only over what was read again, and a start that refuses a fork, an old copy, a wrong clock."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from tests.support.clocks import Clock
from tests.support.stack import face, start


async def test_a_checkpoint_covers_everything_acknowledged_before_it(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    checked = await stack.check(face("eileen"), sha256=b"\x01" * 32)
    note = await stack.tenant.audit.checkpoint()
    signed = open_checkpoint(note, stack.tenant.checkpoints.key).checkpoint
    assert signed.size > checked.recorded.index
    assert FileLockRecord(stack.running.folders.lock).read() == note
    await stack.running.aclose()


async def test_an_older_copy_of_the_database_is_refused(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    await stack.running.aclose()
    ledger = stack.running.folders.ledger
    shutil.copy(ledger, tmp_path / "older.db")
    stack = await start(tmp_path, clock, create=False)
    await stack.check(face("eileen"), sha256=b"\x01" * 32)
    await stack.running.aclose()
    shutil.copy(tmp_path / "older.db", ledger)
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.LEDGER_FORKED
    assert "older copy" in raised.value.message


async def test_a_database_with_other_entries_is_refused(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path / "a", clock)
    await stack.running.aclose()
    other = await start(tmp_path / "b", clock)
    await other.running.aclose()
    shutil.copy(other.running.folders.ledger, stack.running.folders.ledger)
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path / "a", clock, create=False)
    assert raised.value.reason is Reason.LEDGER_FORKED


async def test_a_missing_lock_record_is_refused(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    await stack.running.aclose()
    (stack.running.folders.lock / "checkpoint").unlink()
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.LEDGER_FORKED


async def test_a_clock_behind_the_last_entry_is_refused(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    await stack.running.aclose()
    clock.forward(hours=-1)
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.CONFIGURATION_INVALID
    assert "clock" in raised.value.message


async def test_a_second_process_is_kept_away(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.STATE_CONFLICT
    await stack.running.aclose()


async def test_what_changed_on_the_disk_is_never_signed(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    checked = await stack.check(face("eileen"), sha256=b"\x01" * 32)
    with sqlite3.connect(stack.running.folders.ledger) as database:
        database.execute("update entry set bytes = cast(bytes || ' ' as blob) where idx = ?", (checked.recorded.index,))
    database.close()
    before = FileLockRecord(stack.running.folders.lock).read()
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.audit.checkpoint()
    assert raised.value.reason is Reason.DATA_DAMAGED
    assert stack.tenant.checkpoints.failed.is_set()
    assert FileLockRecord(stack.running.folders.lock).read() == before
    await stack.running.aclose()


def test_the_lock_record_is_swapped_only_from_what_is_on_record(tmp_path: Path) -> None:
    lock = FileLockRecord(tmp_path / "lock")
    assert lock.read() is None
    assert not lock.swap(b"something", b"one")
    assert lock.swap(None, b"one")
    assert not lock.swap(None, b"two")
    assert lock.swap(b"one", b"two")
    assert FileLockRecord(tmp_path / "lock").read() == b"two"
