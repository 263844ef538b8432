"""A real ledger that is published as tiles: SQLite, lock, keys, checkpoints and publisher, in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from consentry_server.adapters.kms.ephemeral import UnsafeEphemeralKeys
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.export import CHECKPOINT_PATH
from consentry_server.core.ledger.report import Integrity
from consentry_server.services.book import Book
from consentry_server.services.checkpoints import Checkpoints
from consentry_server.services.keys import Keys
from consentry_server.services.ports_tiles import TileStore
from consentry_server.services.sequencer import Sequencer
from consentry_server.services.tiered import TieredStore
from consentry_server.services.tiles import TilePublisher
from tests.support.clocks import LEDGER, Clock
from tests.support.verified import verify

PERSON = "sub_" + "a" * 24
SELDOM = 3_600.0


def make_keys(folder: Path, clock: Clock) -> Keys:
    """The ledger's keys; they outlive what a test does to the ledger."""
    custody = UnsafeEphemeralKeys(clock.now, for_tests=True)
    keys = Keys("acme", custody, SqliteKeyStore(folder / "keys.db", "acme"), clock=clock, random=os.urandom)
    keys.start(create=True)
    return keys


class Published:
    """One run of the ledger in a folder.

    Args:
        folder: Where the ledger, its lock and its tiles are.
        keys: Of the ledger.
        clock: The test's.
        hot_entries: As the publisher takes it.
        tiles: Where to publish, for another place than the folder.
        wrap: Puts something around the database, for a fault.
    """

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        clock: Clock,
        *,
        hot_entries: int = 0,
        tiles: TileStore | None = None,
        wrap: Callable[[SqliteLedgerStore], SqliteLedgerStore] = lambda store: store,
    ) -> None:
        self.root = folder / "tiles"
        self.tiles = FolderTiles(self.root) if tiles is None else tiles
        self.database = wrap(SqliteLedgerStore(folder / "ledger.db"))
        self.store = TieredStore(self.database, self.tiles)
        self.lock = FileLockRecord(folder / "lock")
        self.sequencer = Sequencer(self.store, ledger=LEDGER, clock=clock, random=os.urandom)
        self.checkpoints = Checkpoints(
            ledger=LEDGER, store=self.store, keys=keys, lock=self.lock, clock=clock, every_seconds=SELDOM
        )
        self.publisher = TilePublisher(
            store=self.store,
            tiles=self.tiles,
            checkpoints=self.checkpoints,
            sequencer=self.sequencer,
            every_seconds=SELDOM,
            hot_entries=hot_entries,
            forget_share=1,
        )
        self._create = not (folder / "lock").exists()

    async def open(self) -> Published:
        """Start everything but the publisher, which tests drive themselves."""
        await self.sequencer.start()
        await self.checkpoints.start(create=self._create)
        return self

    async def append(self, count: int) -> None:
        """Record that many entries."""

        def command(book: Book) -> None:
            for _ in range(count):
                book.append("interaction.recorded", "collector/test", {}, [PERSON])

        await self.sequencer.submit(command)

    async def round(self) -> None:
        """What the publisher does every few seconds."""
        await self.publisher.publish()
        await self.publisher.forget()

    async def close(self) -> None:
        """Stop as a process that ends well."""
        await self.checkpoints.aclose()
        await self.abandon()

    async def abandon(self) -> None:
        """Let go of the files and do nothing else."""
        if self.checkpoints._task is not None:
            self.checkpoints._task.cancel()
        await self.sequencer.aclose()
        self.store.close()

    def entries(self) -> list[bytes]:
        """All entries, wherever they are."""
        return self.store.fetch_entries(0, self.store.fetch_head().size)

    def published_size(self) -> int:
        """Entries under the published checkpoint, whose signature is checked."""
        data = self.tiles.read(CHECKPOINT_PATH)
        return 0 if data is None else open_checkpoint(data, self.checkpoints.key).checkpoint.size

    def files(self) -> set[str]:
        """Everything in the folder of the tiles."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}

    def verify(self) -> None:
        """What is published verifies, and nothing lies beside it."""
        report = verify(self.tiles.read, self.checkpoints.key, paths=self.files())
        assert report.findings == ()
        assert report.integrity is Integrity.INTACT
        assert report.size == self.published_size()
        assert report.not_covered == ()
