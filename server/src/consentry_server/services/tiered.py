"""The hot window: new entries are in the database, older ones in tiles; both behind the same reads.

The database keeps the root of every tile, 32 bytes for 256 entries. What comes back from tiles must hash to it, or it
is not served: tiles may therefore lie anywhere.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.merkle import HASH_BYTES, hash_leaf, perfect_root
from consentry_server.core.ledger.tiles import (
    ENTRIES,
    FULL_TILE_BYTES,
    TILE_WIDTH,
    FullTile,
    Tile,
    decode_bundle,
    split_hashes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from consentry_server.services.ports import Head, LedgerStore
    from consentry_server.services.ports_tiles import TileStore

T = TypeVar("T")

REMEMBERED_BUNDLES: Final = 32
"""Verified bundles in memory, 256 entries each: about 5 MB."""


class TieredStore:
    """Implements ``services.ports.LedgerStore`` over a store that forgets and the tiles that do not.

    Args:
        hot: The database.
        tiles: Where tiles are published, or None where they are not.
    """

    def __init__(self, hot: LedgerStore, tiles: TileStore | None) -> None:
        self._hot = hot
        self._tiles = tiles
        self._bundles: dict[int, list[bytes]] = {}
        self._lock = threading.Lock()
        self.close = hot.close
        self.stage = hot.stage
        self.commit = hot.commit
        self.read_record = hot.read_record
        self.read_records = hot.read_records
        self.read_chain = hot.read_chain
        self.read_reference = hot.read_reference
        self.read_requests = hot.read_requests
        self.forget_requests = hot.forget_requests
        self.forget_entries = hot.forget_entries
        self.delete_sealed = hot.delete_sealed
        self.replace_sealed = hot.replace_sealed
        self.fetch_head = hot.fetch_head
        self.fetch_first = hot.fetch_first
        self.fetch_tile_roots = hot.fetch_tile_roots
        self.fetch_sealed = hot.fetch_sealed
        self.fetch_document = hot.fetch_document
        self.fetch_record = hot.fetch_record
        self.fetch_records = hot.fetch_records
        self.fetch_reference = hot.fetch_reference
        self.fetch_chain = hot.fetch_chain

    def open(self) -> Head:
        """See the port. ``CONFIGURATION_INVALID`` where entries are in tiles that nobody named."""
        head = self._hot.open()
        first = self._hot.fetch_first()
        if first and self._tiles is None:
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID,
                f"entries before {first} are in tiles, but tiles.publish_to is empty: set it to where those are",
                field="tiles.publish_to",
            )
        return head

    def fetch_entry(self, index: int) -> bytes | None:
        """See the port."""
        data = self._hot.fetch_entry(index)
        if data is not None or not 0 <= index < self._hot.fetch_first():
            return data
        return self._bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def fetch_entries(self, first: int, count: int) -> list[bytes]:
        """See the port."""
        return self._fetch(first, count, self._hot.fetch_entries, self._bundle)

    def fetch_leaves(self, first: int, count: int) -> list[bytes]:
        """See the port."""
        return self._fetch(first, count, self._hot.fetch_leaves, lambda number: split_hashes(self._hashes(number)))

    def fetch_tile(self, level: int, number: int) -> FullTile | None:
        """See the port."""
        tile = self._hot.fetch_tile(level, number)
        if tile is None or tile.hashes:
            return tile
        return FullTile(level, number, tile.root, self._hashes(number))

    def read_back(self, number: int) -> None:
        """Make sure that 256 entries and their hashes are in the tiles, as the place serves them now.

        Args:
            number: The tile's place in level 0.

        Raises:
            ConsentryError: ``DATA_DAMAGED`` or ``STORAGE_FAILED``: they must not be forgotten.
        """
        self._read_bundle(number)
        self._hashes(number)

    def _fetch(
        self, first: int, count: int, hot: Callable[[int, int], list[T]], cold: Callable[[int], list[T]]
    ) -> list[T]:
        """What the database has, then what it had forgotten by the time it was asked."""
        found = hot(first, count)
        kept = self._hot.fetch_first()
        if first >= kept:  # asked after the read: what was read had not begun to go
            return found
        old: list[T] = []
        end = min(first + count, kept)
        for number in range(max(first, 0) // TILE_WIDTH, -(-end // TILE_WIDTH)):
            start = number * TILE_WIDTH
            old += cold(number)[max(first - start, 0) : end - start]
        return [*old, *self._fetch(kept, first + count - kept, hot, cold)] if first + count > kept else old

    def _bundle(self, number: int) -> list[bytes]:
        with self._lock:
            found = self._bundles.pop(number, None)
        if found is None:
            found = self._read_bundle(number)
        with self._lock:
            self._bundles[number] = found
            while len(self._bundles) > REMEMBERED_BUNDLES:
                del self._bundles[next(iter(self._bundles))]
        return found

    def _read_bundle(self, number: int) -> list[bytes]:
        """Entries of a full tile: 1. all 256 are there; 2. their hashes lead to the root that the database kept."""
        path = Tile(ENTRIES, number).path
        data = self._read(path)
        try:
            entries = decode_bundle(data)
        except LedgerError as error:
            raise self._damaged(path, "is cut short or no bundle") from error
        if len(entries) != TILE_WIDTH:  # (1)
            raise self._damaged(path, f"holds {len(entries)} entries instead of {TILE_WIDTH}")
        if perfect_root([hash_leaf(entry) for entry in entries]) != self._root(number):  # (2)
            raise self._damaged(path, "does not hold the entries that were recorded")
        return entries

    def _hashes(self, number: int) -> bytes:
        """Leaf hashes of a full tile, 8,192 bytes, that lead to the root that the database kept."""
        path = Tile(0, number).path
        data = self._read(path)
        if len(data) != FULL_TILE_BYTES:
            raise self._damaged(path, f"has {len(data)} bytes instead of {TILE_WIDTH} times {HASH_BYTES}")
        if perfect_root(split_hashes(data)) != self._root(number):
            raise self._damaged(path, "does not hold the hashes that were recorded")
        return data

    def _root(self, number: int) -> bytes:
        roots = self._hot.fetch_tile_roots(0, number, 1)
        if not roots:
            raise ConsentryError(
                Reason.DATA_DAMAGED, f"the database has no root of tile {number}: stop and restore from a backup"
            )
        return roots[0]

    def _read(self, path: str) -> bytes:
        data = None if self._tiles is None else self._tiles.read(path)
        if data is None:
            raise self._damaged(path, "is missing")
        return data

    def _damaged(self, path: str, problem: str) -> ConsentryError:
        place = "the tiles, of which tiles.publish_to names none," if self._tiles is None else self._tiles.place
        return ConsentryError(
            Reason.DATA_DAMAGED,
            f"{path} in {place} {problem}: put that file back from any copy of these tiles; nothing else is affected",
        )
