"""Signed checkpoints, and the lock record that keeps a restored backup from forking the ledger.

Order: what was stored is read again and hashed again before anything is signed; the lock is swapped before anybody
sees the checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import checkpoint as checkpoints
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.merkle import Frontier, frontier_at, hash_leaf
from consentry_server.core.ledger.rotation import KeyChain
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.services.ledger import tile_reader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import datetime

    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.services.keys import Keys
    from consentry_server.services.ports import LedgerStore, LockRecord

READ_AT_ONCE = 1_000
FATAL = frozenset({Reason.DATA_DAMAGED, Reason.LEDGER_FORKED, Reason.STORAGE_FAILED})
"""After these nothing more may be recorded: stop, and recover from the disk."""

_log = structlog.get_logger("checkpoints")


class Checkpoints:
    """Publishes checkpoints of one ledger.

    Args:
        ledger: The ledger's origin.
        store: For reading what was stored.
        keys: Holds the ledger's key.
        lock: The record outside the database.
        clock: The time now, UTC.
        every_seconds: How often a grown ledger gets a new checkpoint.
        chain: Every key the ledger has had; the present one alone where it was never rotated.
    """

    def __init__(
        self,
        *,
        ledger: str,
        store: LedgerStore,
        keys: Keys,
        lock: LockRecord,
        clock: Callable[[], datetime],
        every_seconds: float,
        chain: KeyChain | None = None,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._keys = keys
        self._lock = lock
        self._clock = clock
        self._every_seconds = every_seconds
        self._chain = chain
        self._note: bytes | None = None
        self._verified = Frontier()
        self._busy = asyncio.Lock()
        self._failure: ConsentryError | None = None
        self._under_way: set[asyncio.Task[bytes]] = set()
        self._task: asyncio.Task[None] | None = None
        self.failed = asyncio.Event()
        """Set when what is stored is not what was recorded, or another process holds the ledger: stop at once."""

    @property
    def key(self) -> VerifierKey:
        """The key that verifies this ledger's checkpoints."""
        return checkpoints.log_key(self._ledger, self._keys.ledger_key.private)

    @property
    def chain(self) -> KeyChain:
        """Every key that this ledger has had, and which sizes each one signs."""
        return self._chain or KeyChain.of(self.key)

    async def start(self, *, create: bool = False) -> None:
        """Compare the store with the lock record, then publish as the ledger grows.

        Args:
            create: The ledger is new: there is no lock record yet.

        Raises:
            ConsentryError: ``LEDGER_FORKED``: the database is older than the lock, differs from it, or the lock is
                missing; ``DATA_DAMAGED``: the lock record is not this ledger's or cannot be read;
                ``CONFIGURATION_INVALID``: the clock is behind the last entry.
        """
        await asyncio.to_thread(self._compare, create=create)
        await self.publish()
        self._task = asyncio.create_task(self._publish_regularly(), name="checkpoints")

    async def aclose(self) -> None:
        """Publish what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if not self.failed.is_set():
            await self.publish()

    async def publish(self) -> bytes:
        """Sign the ledger as it is committed now.

        Returns:
            The signed note; the last one where the ledger has not grown.

        Raises:
            ConsentryError: ``DATA_DAMAGED`` or ``LEDGER_FORKED``: nothing was signed and :attr:`failed` is set;
                ``STORAGE_FAILED``: what the lock record says is not known, and :attr:`failed` is set; ``STORAGE_FULL``:
                the record is the old one, and a later try may succeed.
        """
        return await self._to_the_end(self._publish_alone())

    async def _to_the_end(self, signing: Coroutine[Any, Any, bytes]) -> bytes:
        """Sign; a caller that goes away neither stops it half-way nor lets another one begin beside it."""
        task = asyncio.create_task(signing, name="checkpoint")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _publish_alone(self) -> bytes:
        async with self._busy:
            if self._failure is not None:  # what the lock record says is no longer known: nothing may be read into it
                raise ConsentryError(self._failure.reason, self._failure.message) from self._failure
            try:
                return await asyncio.to_thread(self._publish)
            except ConsentryError as error:
                if error.reason in FATAL:
                    self._failure = error
                    self.failed.set()
                raise

    async def rotate(self, record: Callable[[bytes], Awaitable[KeyChain]]) -> bytes:
        """Change the key between two checkpoints; nothing is signed while it changes.

        Args:
            record: Is given the last checkpoint of the old key; records the rotation durably, changes the key in use,
                and returns the new chain.

        Returns:
            The first checkpoint of the new key.

        Raises:
            ConsentryError: Whatever ``record`` or publishing raised; :attr:`failed` is set, and the next start finishes
                what was recorded.
        """
        return await self._to_the_end(self._rotate_alone(record))

    async def _rotate_alone(self, record: Callable[[bytes], Awaitable[KeyChain]]) -> bytes:
        async with self._busy:
            try:
                last = await asyncio.to_thread(self._publish)
                self._chain = await record(last)
                return await asyncio.to_thread(self._publish)
            except BaseException:
                self.failed.set()
                raise

    def _compare(self, *, create: bool) -> None:
        head = self._store.fetch_head()
        now = self._clock()
        if head.time is not None and now < head.time:
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID,
                f"the clock says {format_time(now)}, but the ledger's last entry is from {format_time(head.time)}: "
                "set the clock right, then start again",
            )
        locked = self._lock.read()
        if locked is None:
            if not create:
                raise ConsentryError(
                    Reason.LEDGER_FORKED,
                    "the lock record of this ledger is missing: put it back from where it is kept; without it a "
                    "restored backup could not be told from the real ledger",
                )
            return
        try:
            signed = checkpoints.open_checkpoint(locked, self.chain.at_note(locked)).checkpoint
        except LedgerError as error:
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"the lock record is not one of this ledger ({error.message}): put this ledger's own back from where "
                "it is kept; without it a restored backup could not be told from the real ledger",
            ) from error
        if signed.size > head.size:
            raise ConsentryError(
                Reason.LEDGER_FORKED,
                f"the database has {head.size} entries, but {signed.size} were published: this is an older copy. "
                "Restore the newest database; serving this one would fork the ledger",
            )
        frontier = frontier_at(signed.size, TileHashes(head.size, tile_reader(self._store)))
        if frontier.root() != signed.root:
            raise ConsentryError(
                Reason.LEDGER_FORKED,
                f"the database's first {signed.size} entries are not the ones that were published: keep all files as "
                "they are, and restore the database that belongs to this lock record",
            )
        self._note = locked
        self._verified = frontier

    def _publish(self) -> bytes:
        head = self._store.fetch_head()
        if self._note is not None and head.size == self._verified.size:
            return self._note
        grown = self._verified.copy()
        while grown.size < head.size:
            read = self._store.fetch_entries(grown.size, min(READ_AT_ONCE, head.size - grown.size))
            if not read:
                raise ConsentryError(Reason.DATA_DAMAGED, f"entry {grown.size} is gone: stop and restore from a backup")
            for data in read:
                grown.append(hash_leaf(data))
        if grown.root() != head.root:
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"entries after {self._verified.size} do not hash to the recorded root: disk or memory is faulty; "
                "nothing was signed",
            )
        if self.chain.at(head.size) != self.key:
            raise ConsentryError(
                Reason.DATA_DAMAGED, "the key in use is not the one that the ledger names for this size: start again"
            )
        note = checkpoints.sign(
            checkpoints.Checkpoint(self._ledger, head.size, head.root), self._keys.ledger_key.private
        )
        if not self._lock.swap(self._note, note):
            raise ConsentryError(
                Reason.LEDGER_FORKED, "another process has published this ledger meanwhile: only one may write; stop it"
            )
        self._note = note
        self._verified = grown
        return note

    async def _publish_regularly(self) -> None:
        while not self.failed.is_set():
            await asyncio.sleep(self._every_seconds)
            try:
                await self.publish()
            except ConsentryError as error:
                _log.error("checkpoint_failed", reason=error.reason, message=error.message)
            except Exception:  # noqa: BLE001 - without checkpoints nothing is proven: stop instead
                _log.exception("checkpoint_failed")
                self.failed.set()
