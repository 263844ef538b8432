"""Rotation of the ledger's key: recorded, vouched for by the old key, and finished after a crash at any step."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.note import VerifierKey
from consentry_server.core.ledger.rotation import KeyChain, follow, open_statement, parse_keys
from consentry_server.services.keys import NEXT_LEDGER_KEY_NAME, Keys
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import Stack, face, start


def chain_of(stack: Stack, trusted: VerifierKey) -> KeyChain:
    """Follow the published keys as a reader does, by the entries."""
    store = stack.tenant.sequencer.store

    def entry_at(index: int) -> dict[str, Any] | None:
        data = store.fetch_entry(index)
        return None if data is None else decode(data)

    return follow(parse_keys(stack.running.folders.published_keys.read_bytes()), trusted, entry_at)


def secrets(stack: Stack) -> list[str]:
    with sqlite3.connect(stack.running.folders.key_store) as database:
        names = [name for (name,) in database.execute("select name from secret order by name")]
    database.close()
    return names


async def test_the_old_key_signs_up_to_the_entry_and_the_new_one_after_it(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    old = stack.tenant.checkpoints.key
    before = await stack.tenant.audit.checkpoint()
    chain = await stack.running.rotate_key(stack.tenant)
    after = await stack.tenant.audit.checkpoint()
    new = stack.tenant.checkpoints.key
    assert chain.keys == (old, new)
    signed = open_checkpoint(before, old).checkpoint
    assert open_checkpoint(after, new).checkpoint.size == signed.size + 1
    with pytest.raises(LedgerError):
        open_checkpoint(after, old)
    entry = decode(stack.tenant.sequencer.store.fetch_entry(signed.size) or b"")
    assert (entry["type"], entry["actor"]) == ("ledger.key_rotated", "system")
    assert (entry["old_vkey"], entry["new_vkey"]) == (old.vkey, new.vkey)
    assert open_statement(entry["statement"].encode()).last == signed
    assert stack.running.folders.published_key.read_text() == f"{new.vkey}\n"
    for trusted in (old, new):
        assert chain_of(stack, trusted) == chain
    await stack.running.aclose()


async def test_the_old_private_key_is_gone(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    seed = stack.tenant.rotation._keys._store.secret("ledger-ed25519")
    assert seed is not None
    await stack.running.rotate_key(stack.tenant)
    await stack.running.aclose()
    assert NEXT_LEDGER_KEY_NAME not in secrets(stack)
    for file in stack.running.folders.keys.iterdir():
        assert seed.wrapped not in file.read_bytes()


async def test_a_start_compares_with_the_lock_record_across_rotations(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    newest = stack.tenant.checkpoints.key
    for _ in range(3):
        clock.forward(seconds=1)
        await stack.running.rotate_key(stack.tenant)
        await stack.check(face("eileen"), sha256=b"\x01" * 32)
        newest = stack.tenant.checkpoints.key
        await stack.running.aclose()
        stack = await start(tmp_path, clock, create=False)
        assert stack.tenant.checkpoints.key == newest
    assert len(stack.tenant.checkpoints.chain.keys) == 4
    assert chain_of(stack, stack.tenant.checkpoints.chain.keys[0]).newest == newest
    await stack.running.aclose()
    assert differences(stack.running.folders.ledger) == []


class Died(BaseException):
    """The process ends here."""


async def test_a_crash_before_the_entry_changes_nothing(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = await start(tmp_path, clock)
    old = stack.tenant.checkpoints.key

    async def dies(*_: object) -> None:
        raise Died

    monkeypatch.setattr(stack.tenant.rotation, "_record", dies)
    with pytest.raises(Died):
        await stack.running.rotate_key(stack.tenant)
    await stack.running.aclose()
    prepared = stack.running.folders.key_store
    assert NEXT_LEDGER_KEY_NAME in secrets(stack), prepared
    stack = await start(tmp_path, clock, create=False)
    assert stack.tenant.checkpoints.chain.keys == (old,)
    chain = await stack.running.rotate_key(stack.tenant)  # the key that was prepared is taken
    assert len(chain.keys) == 2
    await stack.running.aclose()


@pytest.mark.parametrize("adopted", [False, True])
async def test_a_crash_after_the_entry_is_finished_at_the_next_start(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, adopted: bool
) -> None:
    stack = await start(tmp_path, clock)
    old = stack.tenant.checkpoints.key
    adopt = Keys.adopt_ledger_key

    def dies(self: Keys, public: bytes) -> None:
        if adopted:
            adopt(self, public)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Keys, "adopt_ledger_key", dies)
        with pytest.raises(Died):
            await stack.running.rotate_key(stack.tenant)
    assert stack.tenant.checkpoints.failed.is_set()
    locked = FileLockRecord(stack.running.folders.lock).read()
    assert locked is not None
    open_checkpoint(locked, old)  # nothing was signed in between
    await stack.running.aclose()
    assert FileLockRecord(stack.running.folders.lock).read() == locked
    stack = await start(tmp_path, clock, create=False)
    assert stack.tenant.checkpoints.chain.keys == (old, stack.tenant.checkpoints.key)
    assert chain_of(stack, old).newest == stack.tenant.checkpoints.key
    assert NEXT_LEDGER_KEY_NAME not in secrets(stack)
    await stack.running.aclose()


async def test_a_key_store_from_before_a_rotation_is_refused(tmp_path: Path, clock: Clock) -> None:
    stack = await start(tmp_path, clock)
    await stack.running.aclose()
    older = stack.running.folders.key_store.read_bytes()
    stack = await start(tmp_path, clock, create=False)
    await stack.running.rotate_key(stack.tenant)
    await stack.running.aclose()
    stack.running.folders.key_store.write_bytes(older)
    with pytest.raises(ConsentryError, match="older copy; restore the newest one") as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.KEYS_UNAVAILABLE
