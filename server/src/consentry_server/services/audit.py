"""Reading the ledger: entries as stored, checkpoints and proofs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.ledger.merkle import EMPTY_ROOT, consistency_proof, frontier_at, hash_leaf, inclusion_proof
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.services.ledger import tile_reader

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.vocabulary import Outcome
    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.ports import LedgerStore

SCANNED_AT_ONCE = 10_000
"""Most entries one page of a filtered listing looks at; a page may be short, its token goes on."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry: its index, its exact bytes, its leaf hash."""

    index: int
    data: bytes
    leaf_hash: bytes


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


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; what is empty or None leaves all. An entry must meet each.

    Args:
        types: Entries of these types.
        subject_ref: About this person.
        photo_id: About this photo.
        from_time: Recorded then or later.
        until_time: Recorded before.
        outcomes: Decisions with one of these outcomes.
        rule_id: Decisions in which this rule refused something.
        actor: By the caller of this name.
    """

    types: frozenset[str] = frozenset()
    subject_ref: str = ""
    photo_id: str = ""
    from_time: datetime | None = None
    until_time: datetime | None = None
    outcomes: frozenset[Outcome] = frozenset()
    rule_id: str = ""
    actor: str = ""


NO_FILTER = Filter()


class Audit:
    """Reads one tenant's ledger.

    Args:
        store: For reading.
        checkpoints: Signs what is asked for.
    """

    def __init__(self, *, store: LedgerStore, checkpoints: Checkpoints) -> None:
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
            The entries, the index to go on from, and whether there is more to look at.

        Raises:
            ConsentryError: ``NOT_FOUND``: the photo is not on record.
        """
        return await asyncio.to_thread(self._entries, first, count, until, wanted)

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

    def _entries(
        self, first: int, count: int, until: int | None, wanted: Filter
    ) -> tuple[list[StoredEntry], int, bool]:
        if wanted.photo_id and self._store.fetch_record("photo", wanted.photo_id) is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such photo", field="photo.photo_id")
        size = self._store.fetch_head().size
        if until is not None:
            size = min(size, until)
        found: list[StoredEntry] = []
        index = first
        last = min(size, first + SCANNED_AT_ONCE)
        while index < last and len(found) < count:
            read = self._store.fetch_entries(index, min(count, last - index))
            for data in read:
                if len(found) == count:
                    break
                if wanted == NO_FILTER or _matches(data, wanted):
                    found.append(StoredEntry(index, data, hash_leaf(data)))
                index += 1
            if not read:
                raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
        return found, index, index < size

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


def _matches(data: bytes, wanted: Filter) -> bool:
    """Whether an entry is wanted. What is rare is looked for in its bytes first; a photo's random id needs no more."""
    if any(text and text.encode() not in data for text in (wanted.subject_ref, wanted.photo_id, wanted.rule_id)):
        return False
    entry = orjson.loads(data)
    if wanted.subject_ref and all(each["subject_ref"] != wanted.subject_ref for each in entry.get("people", ())):
        return False
    if wanted.types and entry["type"] not in wanted.types:
        return False
    if wanted.actor and entry["actor"].partition("/")[2] != wanted.actor:
        return False
    if wanted.from_time is not None and parse_time(entry["time"]) < wanted.from_time:
        return False
    if wanted.until_time is not None and parse_time(entry["time"]) >= wanted.until_time:
        return False
    if wanted.outcomes and (entry["type"] != "decision" or entry["outcome"] not in wanted.outcomes):
        return False
    return not wanted.rule_id or any(rule.partition(":")[0] == wanted.rule_id for rule in entry.get("rules", ()))
