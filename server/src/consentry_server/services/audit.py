"""Reading the ledger: entries as stored, checkpoints and proofs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.merkle import EMPTY_ROOT, consistency_proof, frontier_at, inclusion_proof
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.services.ledger import tile_reader
from consentry_server.services.reading import NO_FILTER, Filter, Reader, StoredEntry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.index import LedgerIndex
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.ports import LedgerStore

FOLLOWED_AT_ONCE = 256
"""Entries that a follower gets before others have their turn."""
LOOK_SECONDS = 0.1
"""How often a follower that has everything looks for more."""
ALIVE_LOOKS = 100
"""After so many looks in vain, ten seconds, a follower hears that the ledger is still there."""


class Proof(NamedTuple):
    """A proof and the checkpoint's tree it is for.

    Args:
        tree_size: Number of entries in the tree; of a consistency proof the newer one.
        root: Its root, 32 bytes.
        hashes: The proof, 32 bytes each.
        old_root: Of a consistency proof the older tree's root, 32 bytes; else empty.
    """

    tree_size: int
    root: bytes
    hashes: tuple[bytes, ...]
    old_root: bytes = b""


class Audit:
    """Reads one tenant's ledger.

    Args:
        store: For reading.
        index: Finds entries in it.
        issuer: Makes the keyed hashes that photos are named by.
        checkpoints: Signs what is asked for.
    """

    def __init__(self, *, store: LedgerStore, index: LedgerIndex, issuer: Issuer, checkpoints: Checkpoints) -> None:
        self.reader = Reader(store, index)
        self.photo_ref = issuer.blind_photo
        self._store = store
        self._checkpoints = checkpoints

    async def entries(
        self, first: int, count: int, *, until: int | None = None, wanted: Filter = NO_FILTER
    ) -> tuple[list[StoredEntry], int, bool]:
        """Entries in index order.

        Args:
            first: Begin here.
            count: At most so many.
            until: Up to but without this index; None for the end.
            wanted: Which entries.

        Returns:
            The entries, the index to go on from, and whether there is more to look at. While the index is behind, a
            page may be short, or empty, with more to come.

        Raises:
            ConsentryError: ``NOT_FOUND``: the photo is not on record.
        """
        return await asyncio.to_thread(self._page, first, count, until, wanted)

    async def follow(self, after: int | None) -> AsyncIterator[StoredEntry | None]:
        """Every entry as it becomes durable, in order, without gaps, until the caller goes away.

        Args:
            after: Begin behind this index; -1 for the first entry, None for the next one that is recorded.

        Yields:
            Entries; None as a sign of life, at first where there is nothing yet and then every ten seconds.

        Raises:
            ConsentryError: ``FIELD_INVALID``: the ledger has no such entry: it is not the one that was followed.
        """
        size = (await asyncio.to_thread(self._store.fetch_head)).size
        index = size - 1 if after is None else after
        if not -1 <= index < size:
            raise ConsentryError(
                Reason.FIELD_INVALID,
                f"after_index must be from -1 to {size - 1}: the ledger has {size} entries",
                field="after_index",
            )
        looks = 0
        while True:
            found = await asyncio.to_thread(self._behind, index)
            for stored in found:
                index = stored.index
                yield stored
            if found:
                looks = 1
                continue
            if looks % ALIVE_LOOKS == 0:
                yield None
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def checkpoint(self) -> bytes:
        """A signed checkpoint that covers everything acknowledged before this call."""
        return await self._checkpoints.publish()

    async def inclusion(self, index: int, tree_size: int) -> Proof:
        """Prove that an entry is in the tree.

        Args:
            index: The entry's index.
            tree_size: Which tree; 0 for the present one.

        Returns:
            The audit path (RFC 9162, section 2.1.3.1).

        Raises:
            ConsentryError: ``NOT_FOUND``: the index is beyond that tree; ``FIELD_INVALID``: the tree beyond the ledger.
        """
        return await asyncio.to_thread(self._inclusion, index, tree_size)

    async def consistency(self, old_size: int, new_size: int) -> Proof:
        """Prove that the newer tree only appended to the older one.

        Args:
            old_size: The older tree; 0 for the empty one, with which everything is consistent.
            new_size: The newer one; 0 for the present one.

        Returns:
            The consistency proof (RFC 9162, section 2.1.4.1).

        Raises:
            ConsentryError: ``FIELD_INVALID``.
        """
        return await asyncio.to_thread(self._consistency, old_size, new_size)

    def _page(self, first: int, count: int, until: int | None, wanted: Filter) -> tuple[list[StoredEntry], int, bool]:
        if wanted.photo_id and self._store.fetch_record("photo", wanted.photo_id) is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such photo", field="photo.photo_id")
        return self.reader.page(wanted, first, until, count)

    def _behind(self, index: int) -> list[StoredEntry]:
        return self.reader.page(NO_FILTER, index + 1, None, FOLLOWED_AT_ONCE)[0]

    def _inclusion(self, index: int, tree_size: int) -> Proof:
        size, root = self._tree(tree_size, "tree_size")
        if not 0 <= index < size:
            raise ConsentryError(Reason.NOT_FOUND, f"the tree has {size} entries: index must be below", field="index")
        return Proof(size, root, tuple(inclusion_proof(index, size, TileHashes(size, tile_reader(self._store)))))

    def _consistency(self, old_size: int, new_size: int) -> Proof:
        size, root = self._tree(new_size, "second_tree_size")
        if not 0 <= old_size <= size:
            raise ConsentryError(
                Reason.FIELD_INVALID, f"first_tree_size must be from 0 to {size}", field="first_tree_size"
            )
        if old_size == 0:
            return Proof(size, root, (), EMPTY_ROOT)
        hashes = TileHashes(size, tile_reader(self._store))
        old_root = root if old_size == size else frontier_at(old_size, hashes).root()
        return Proof(size, root, tuple(consistency_proof(old_size, size, hashes)), old_root)

    def _tree(self, asked: int, field: str) -> tuple[int, bytes]:
        head = self._store.fetch_head()
        if asked in (0, head.size):
            return head.size, head.root
        if not 0 < asked < head.size:
            raise ConsentryError(Reason.FIELD_INVALID, f"the ledger has {head.size} entries", field=field)
        from_tiles = TileHashes(asked, tile_reader(self._store))
        return asked, frontier_at(asked, from_tiles).root()
