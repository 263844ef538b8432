"""Publishing a ledger as tiles while it runs, and letting go of old entries once they are safely there.

Order: the lock is swapped, the tiles are made durable, and only then is the checkpoint published: whoever reads it
finds everything that it covers. Nothing here is waited for by a call: while the place of the tiles is away the ledger
goes on, keeps every entry, and catches up afterwards.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.checkpoint import Checkpoint, parse_body
from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH, export_tiles
from consentry_server.core.ledger.merkle import frontier_at
from consentry_server.core.ledger.tiles import TILE_WIDTH, TileHashes, superseded, tiles_between
from consentry_server.services.ledger import tile_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_tiles import TileStore
    from consentry_server.services.sequencer import Sequencer
    from consentry_server.services.tiered import TieredStore

FILES_AT_ONCE: Final = 64
"""Tiles that are made durable together: about 10 MB in memory."""
FORGET_SHARE: Final = 0.2
"""The most of the writer's time that leaving entries take, a tile at a time, so that checks do not wait for them."""
CLOSE_SECONDS: Final = 5.0
"""How long a stop goes on publishing; the next start does the rest."""

_log = structlog.get_logger("tiles")


@dataclass(frozen=True, slots=True)
class TilesStatus:
    """How far the published tiles are.

    Args:
        published: Entries under the published checkpoint; None while it is not known, since the place is away.
        recorded: Entries in the ledger.
        kept_from: Index of the first entry that is still in the database.
        problem: What the last try failed with; empty where it did not.
    """

    published: int | None
    recorded: int
    kept_from: int
    problem: str

    @property
    def behind(self) -> int:
        """Entries that are not published yet."""
        return self.recorded - (self.published or 0)


class TilePublisher:
    """Publishes one ledger.

    Args:
        store: The ledger's store.
        tiles: Where to publish; this is its only writer.
        checkpoints: Signs, and swaps the lock.
        sequencer: Its writer thread deletes.
        every_seconds: How often a grown ledger is published.
        hot_entries: Newest entries that stay in the database; 0 keeps all.
        forget_share: See :data:`FORGET_SHARE`.
    """

    def __init__(
        self,
        *,
        store: TieredStore,
        tiles: TileStore,
        checkpoints: Checkpoints,
        sequencer: Sequencer,
        every_seconds: float,
        hot_entries: int,
        forget_share: float = FORGET_SHARE,
    ) -> None:
        self._store = store
        self._tiles = tiles
        self._checkpoints = checkpoints
        self._sequencer = sequencer
        self._every_seconds = every_seconds
        self._hot_entries = hot_entries
        self._forget_share = forget_share
        self._published: int | None = None
        self._note = b""
        self._written: set[str] = set()
        """Made durable since the last checkpoint was published: a try after a failure goes on from there."""
        self._first_try = False
        """Whether nothing was tried since the last checkpoint was published; not known after a start."""
        self._problem = ""
        self._busy = asyncio.Lock()
        self._stop = asyncio.Event()
        self._stopping = threading.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Compare what is published with the ledger, then publish as it grows.

        Raises:
            ConsentryError: ``LEDGER_FORKED``: another ledger, or another history of this one, is published there;
                ``CONFIGURATION_INVALID``: the entries that left the database are not there.
        """
        try:
            await asyncio.to_thread(self._resume)
        except ConsentryError as error:
            if error.reason not in {Reason.STORAGE_FAILED, Reason.STORAGE_FULL}:
                raise
            self._failed(error)
        self._task = asyncio.create_task(self._publish_regularly(), name="tiles")

    async def aclose(self) -> None:
        """Finish the file that is being written, publish what is left, and stop."""
        self._stop.set()
        self._stopping.set()
        if self._task is not None:
            await self._task
        self._stopping.clear()
        if not self._checkpoints.failed.is_set():
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._stopping.set)
            await self._try(forget=False)

    @property
    def status(self) -> TilesStatus:
        """How far it is."""
        return TilesStatus(self._published, self._store.fetch_head().size, self._store.fetch_first(), self._problem)

    async def publish(self) -> None:
        """Publish the ledger as it is committed now.

        Raises:
            ConsentryError: ``STORAGE_FAILED`` or ``STORAGE_FULL``: the place is away; ``LEDGER_FORKED``: it holds
                something else; or what signing the checkpoint raised. What was published before stays as it was.
        """
        async with self._busy:
            note = await self._checkpoints.publish()
            await asyncio.to_thread(self._publish, note)

    async def forget(self, *, until: float | None = None) -> None:
        """Let go of entries before the hot window, a tile at a time, each read back and verified before.

        Args:
            until: Stop at this time of the event loop, in seconds; None to finish.

        Raises:
            ConsentryError: ``DATA_DAMAGED`` or ``STORAGE_FAILED``: a tile could not be read back; it stays.
        """
        loop = asyncio.get_running_loop()
        async with self._busy:
            if not self._hot_entries or self._published is None:
                return
            last = min(self._published, self._store.fetch_head().size - self._hot_entries) // TILE_WIDTH
            for number in range(self._store.fetch_first() // TILE_WIDTH, last):
                if self._stopping.is_set() or (until is not None and loop.time() >= until):
                    return
                await asyncio.to_thread(self._store.read_back, number)
                begun = loop.time()
                await self._forget_before((number + 1) * TILE_WIDTH)
                await asyncio.sleep((loop.time() - begun) * (1 / self._forget_share - 1))

    async def _forget_before(self, index: int) -> None:
        def forget(store: LedgerStore) -> None:
            store.forget_entries(index)

        await self._sequencer.run(forget)

    def _resume(self) -> None:
        """Find out where an earlier run stopped.

        1. A published checkpoint has no more entries than the ledger, and the root that the ledger had at its size.
           Whoever signed it: the key may have been replaced since.
        2. It covers every entry that has left the database.
        """
        data = self._tiles.read(CHECKPOINT_PATH)
        size = 0
        if data is not None:  # (1)
            published = self._read_checkpoint(data)
            head, size = self._store.fetch_head(), published.size
            hashes = TileHashes(head.size, tile_reader(self._store))
            if size > head.size or frontier_at(size, hashes).root() != published.root:
                raise ConsentryError(
                    Reason.LEDGER_FORKED,
                    f"the {size} entries that {self._tiles.place} publishes are not this ledger's first {size}: they "
                    "are another ledger's or a newer copy's. Publish elsewhere, or restore the newest database",
                )
        first = self._store.fetch_first()
        if first > size:  # (2)
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID,
                f"entries before {first} left the database for tiles, but {self._tiles.place} publishes {size}: set "
                "tiles.publish_to to where they were published, or put its files back",
                field="tiles.publish_to",
            )
        self._published, self._note = size, data or b""

    def _read_checkpoint(self, data: bytes) -> Checkpoint:
        try:
            return parse_body(notes.parse(data).text)
        except ConsentryError as error:
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"{CHECKPOINT_PATH} in {self._tiles.place} is no checkpoint ({error.message}): put it back from "
                "any copy of these tiles",
            ) from error

    def _publish(self, note: bytes) -> None:
        """Bring the place to a checkpoint that the lock holds.

        1. What is there is this ledger's.
        2. Tiles, each new or there with the same contents, durable.
        3. Partial tiles go whose full tile is there now; all others stay.
        4. The checkpoint.
        """
        if self._published is None:
            self._resume()  # (1)
        if note == self._note or self._published is None:
            return
        old, new = self._published, self._read_checkpoint(note).size
        first_try, self._first_try = self._first_try, False
        files = export_tiles(old, new, read_entries=self._store.fetch_entries, read_tile=tile_reader(self._store))
        while batch := list(islice(self._unwritten(files), FILES_AT_ONCE)):  # (2)
            if self._stopping.is_set():
                return
            self._tiles.write(batch)
            self._written.update(path for path, _data in batch)
        for folder in self._done_with(old, new, first_try=first_try):  # (3)
            self._tiles.remove(folder)
        vkey = f"{self._checkpoints.key.vkey}\n".encode()
        if self._tiles.read(VKEY_PATH) != vkey:
            self._tiles.replace(VKEY_PATH, vkey)
        self._tiles.replace(CHECKPOINT_PATH, note)  # (4)
        self._published, self._note, self._first_try = new, note, True
        self._written.clear()

    def _unwritten(self, files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        return (file for file in files if file[0] not in self._written)

    def _done_with(self, old: int, new: int, *, first_try: bool) -> Iterator[str]:
        """Folders of partial tiles that may go; after a broken-off try, also of tiles that only it had begun."""
        if first_try:
            return superseded(old, new)
        return (f"{tile.path}.p" for tile in tiles_between(old, new) if tile.full)

    async def _publish_regularly(self) -> None:
        while not self._stop.is_set():
            await self._try(forget=True)
            try:
                async with asyncio.timeout(self._every_seconds):
                    await self._stop.wait()
            except TimeoutError:
                continue

    async def _try(self, *, forget: bool) -> None:
        """Publish, and forget until the next time; failures are said and the next try comes by itself."""
        until = asyncio.get_running_loop().time() + self._every_seconds
        try:
            try:
                await self.publish()
                if forget:
                    await self.forget(until=until)
            except ConsentryError as error:
                self._failed(error)
                return
        except Exception:  # noqa: BLE001 - tiles that fail must not take the ledger down; the log has it all
            self._problem = "an unexpected failure: see the log"
            _log.exception("tiles_failed")
            return
        if self._problem:
            _log.info("tiles_caught_up", published=self._published)
        self._problem = ""

    def _failed(self, error: ConsentryError) -> None:
        self._problem = error.message
        status = self.status
        _log.warning(
            "tiles_behind",
            reason=error.reason,
            message=error.message,
            published=status.published,
            recorded=status.recorded,
            behind=status.behind,
        )
