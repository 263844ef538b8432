"""The index of a ledger: which entries have which words. Derived, kept beside the ledger, and never believed blindly.

Full stretches of 16,384 entries lie packed in a store of their own; what is newer is in memory. The store may be
missing, old, damaged or another ledger's: each of that is noticed, the store is emptied and filled anew, and whoever
asks meanwhile is told how far the index reaches and looks at the entries behind it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson
import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.merkle import frontier_at
from consentry_server.core.ledger.postings import STRETCH, Packed, Postings, pack, places
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.core.record.terms import sequel_of, terms_of
from consentry_server.services.ledger import tile_reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consentry_server.core.record.terms import Groups
    from consentry_server.services.ports import LedgerStore

READ_AT_ONCE = 64
"""Entries taken in under one hold of the lock: half a millisecond."""
MAX_IN_MEMORY = 8
"""Full stretches that may wait for a store that takes none; about 10 MB each."""

_log = structlog.get_logger("index")


class IndexStore(Protocol):
    """Keeps packed stretches. Whatever it loses or changes is noticed and made anew, so it need not be durable."""

    def load(self) -> tuple[int, str, bytes]:
        """Open what is there, or make it.

        Returns:
            Number of stretches held, the ledger's origin, and the ledger's root over their entries.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: it cannot be read.
        """

    def read(self, number: int, blob: int) -> bytes | None:
        """One blob of a stretch, or None.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: it cannot be read.
        """

    def write(self, number: int, blobs: Sequence[bytes], ledger: str, root: bytes) -> None:
        """Keep one more stretch, all of it or nothing.

        Args:
            number: The stretch's number: how many are held before it.
            blobs: Its blobs, in order.
            ledger: The ledger's origin.
            root: The ledger's root at the stretch's end.

        Raises:
            ConsentryError: ``STORAGE_FULL`` or ``STORAGE_FAILED``: nothing changed.
        """

    def clear(self) -> None:
        """Hold nothing any more."""

    def close(self) -> None:
        """Release every file."""


class FullStretch(NamedTuple):
    """A stretch that no longer grows and is not kept yet.

    Args:
        number: Its number.
        end: The index behind its last entry.
        generation: Which beginning of the index it belongs to.
        packing: Its blobs in order, and None between steps of less than a millisecond.
    """

    number: int
    end: int
    generation: int
    packing: Iterator[bytes | None]


class LedgerIndex:
    """Finds entries by their words. Any thread may ask; one thread fills it.

    Args:
        ledger: The ledger's origin.
        store: The ledger, for reading.
        kept: Where full stretches are kept.
        stretch: Entries in a stretch.
    """

    def __init__(self, *, ledger: str, store: LedgerStore, kept: IndexStore, stretch: int = STRETCH) -> None:
        self._stretch = stretch
        self._ledger = ledger
        self._store = store
        self._kept = kept
        self._packed = 0
        self._in_memory = [Postings(0, stretch)]
        self._lock = threading.RLock()
        self._generation = 0

    @property
    def size(self) -> int:
        """Entries from the first on that the index knows."""
        return self._in_memory[-1].end

    @property
    def ledger_size(self) -> int:
        """Entries that the ledger has."""
        return self._store.fetch_head().size

    def open(self) -> None:
        """Take over what is kept, if it is this very ledger's; otherwise begin anew."""
        with self._lock:
            try:
                packed, ledger, root = self._kept.load()
                if packed == 0 or (ledger == self._ledger and root == self._root(packed * self._stretch)):
                    self._begin(packed)
                    return
                reason = "it belongs to another ledger, or to another state of this one"
            except ConsentryError as error:
                reason = error.message
            self._start_over(reason)

    def close(self) -> None:
        """Release every file, and know nothing any more: who still asks looks at the entries."""
        with self._lock:
            self._kept.close()
            self._begin(0)

    def absorb(self, most: int) -> int:
        """Take in entries that came since.

        Args:
            most: At most so many.

        Returns:
            How many were taken in: fewer where the ledger has no more, or too much waits for the store.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: an entry cannot be read.
        """
        taken = 0
        while taken < most:
            with self._lock:
                if self._in_memory[-1].full:
                    if len(self._in_memory) > MAX_IN_MEMORY:
                        break
                    self._in_memory.append(Postings(self.size, self._stretch))
                growing = self._in_memory[-1]
                room = min(READ_AT_ONCE, most - taken, self._stretch - growing.size)
                read = self._store.fetch_entries(growing.end, room)
                for data in read:
                    _take_in(growing, data)
            taken += len(read)
            if not read:
                break
        return taken

    def seal(self) -> bool:
        """Pack and keep the oldest full stretch, if there is one. Only who fills the index calls this.

        Returns:
            Whether one was kept.

        Raises:
            ConsentryError: ``STORAGE_FULL`` or ``STORAGE_FAILED``: it stays in memory.
        """
        full = self.oldest_full()
        if full is None:
            return False
        self.keep(full, [blob for blob in full.packing if blob is not None])
        return True

    def oldest_full(self) -> FullStretch | None:
        """The oldest full stretch that is still in memory, to be packed step by step."""
        with self._lock:
            oldest = self._in_memory[0]
            if not oldest.full:
                return None
            return FullStretch(self._packed, oldest.end, self._generation, pack(oldest, self._ledger))

    def keep(self, full: FullStretch, blobs: Sequence[bytes]) -> None:
        """Keep a packed stretch, unless the index was begun anew meanwhile.

        Args:
            full: What was packed.
            blobs: Its blobs, in order.

        Raises:
            ConsentryError: ``STORAGE_FULL`` or ``STORAGE_FAILED``: it stays in memory.
        """
        root = self._root(full.end)
        with self._lock:
            if full.generation != self._generation:
                return
            self._kept.write(full.number, blobs, self._ledger, root)
            self._packed += 1
            self._in_memory = self._in_memory[1:] or [Postings(full.end, self._stretch)]

    def find(self, wanted: Groups, first: int, until: int, count: int) -> tuple[list[int], int]:
        """Find entries that may meet each group of words, in order.

        Args:
            wanted: The groups; at least one.
            first: Begin at this index.
            until: End before this one.
            count: At most so many.

        Returns:
            Indices, ascending, and how far that goes: every entry between ``first`` and there that meets the groups is
            among them. It is short of ``until`` where the index ends, or where ``count`` is reached. An entry may be
            among them that does not meet the groups: look at it.
        """
        found: list[int] = []
        position = first
        while position < until and len(found) < count:
            with self._lock:
                end = min((position // self._stretch + 1) * self._stretch, until, self.size)
                if end <= position:
                    break
                bits = self._meeting(wanted, position // self._stretch)
            if bits is None:
                break
            start = position // self._stretch * self._stretch
            bits = bits >> (position - start) & ((1 << (end - position)) - 1)
            for index in places(bits, position):
                found.append(index)
                if len(found) == count:
                    end = index + 1
                    break
            position = end
        return found, position

    def sequels(self, first: int, until: int) -> tuple[list[tuple[int, int, int]], int]:
        """Which entries follow which decision, for one stretch at a time.

        Args:
            first: Begin at this index.
            until: End before this one.

        Returns:
            The decision's index, the entry's, and the :class:`Sequel`, in the entries' order; and how far that goes:
            no further than ``first`` where the index ends.
        """
        with self._lock:
            number = first // self._stretch
            start = number * self._stretch
            end = min(start + self._stretch, until, self.size)
            if end <= first:
                return [], first
            try:
                links = list(self._held(number).links())
            except ConsentryError as error:
                self._start_over(error.message)
                return [], first
        return [(decision, start + at, how) for decision, at, how in links if first <= start + at < end], end

    def _meeting(self, wanted: Groups, number: int) -> int | None:
        """The entries of one stretch that have a word of each group; None where its store proved damaged."""
        held = self._held(number)
        bits = -1
        try:
            for group in wanted:
                either = 0
                for word in group:
                    either |= held.bits(word)
                bits &= either
                if not bits:
                    return 0
        except ConsentryError as error:
            self._start_over(error.message)
            return None
        return bits

    def _held(self, number: int) -> Packed | Postings:
        """One stretch that the index has."""
        if number >= self._packed:
            return self._in_memory[number - self._packed]
        return Packed(lambda blob: self._kept.read(number, blob), self._ledger, number, self._stretch)

    def _root(self, size: int) -> bytes:
        """The ledger's root at a size; empty where it has fewer entries."""
        head = self._store.fetch_head()
        if size > head.size:
            return b""
        return frontier_at(size, TileHashes(head.size, tile_reader(self._store))).root()

    def _begin(self, packed: int) -> None:
        self._generation += 1
        self._packed = packed
        self._in_memory = [Postings(packed * self._stretch, self._stretch)]

    def _start_over(self, reason: str) -> None:
        _log.warning("index_made_anew", reason=reason)
        self._kept.clear()
        self._begin(0)


def _take_in(growing: Postings, data: bytes) -> None:
    try:
        entry = orjson.loads(data)
        words, link = terms_of(entry), sequel_of(entry)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConsentryError(
            Reason.DATA_DAMAGED, f"entry {growing.end} cannot be read: verify the ledger, restore it from a backup"
        ) from error
    growing.add(words, link)
