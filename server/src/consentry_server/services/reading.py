"""Finding entries in a ledger by what they say, by index; what the index does not reach yet is looked at one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.record import terms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.record.terms import Groups
    from consentry_server.core.vocabulary import Outcome
    from consentry_server.services.index import LedgerIndex
    from consentry_server.services.ports import LedgerStore

SCANNED_AT_ONCE = 10_000
"""Most entries behind the index that one page looks at; a page may be short, its token goes on."""
READ_AT_ONCE = 256
CLOSE = 4
"""Entries of which one in so many is wanted are read in one go."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry: its index, its exact bytes, its leaf hash."""

    index: int
    data: bytes
    leaf_hash: bytes

    def said(self) -> dict[str, Any]:
        """What it says.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: its bytes cannot be read.
        """
        return _decoded(self.index, self.data)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries; what is empty or None leaves all. An entry must meet each; of a set, one is enough.

    Args:
        types: Entries of these types.
        subject_ref: About this person.
        photo_id: About this stored photo.
        photo_ref: About the photo with this keyed hash, stored or not.
        from_time: Recorded then or later.
        until_time: Recorded before.
        outcomes: Decisions with one of these outcomes.
        rule_id: Decisions in which this rule found something, or that this pack allowed.
        actor: By the caller of this name; ``system`` for the service itself.
    """

    types: frozenset[str] = frozenset()
    subject_ref: str = ""
    photo_id: str = ""
    photo_ref: str = ""
    from_time: datetime | None = None
    until_time: datetime | None = None
    outcomes: frozenset[Outcome] = frozenset()
    rule_id: str = ""
    actor: str = ""


NO_FILTER = Filter()


class Reader:
    """Reads one ledger. Any thread may ask.

    Args:
        store: The ledger.
        index: Its index; somebody else fills it.
    """

    def __init__(self, store: LedgerStore, index: LedgerIndex) -> None:
        self._store = store
        self._index = index

    def page(self, wanted: Filter, first: int, until: int | None, count: int) -> tuple[list[StoredEntry], int, bool]:
        """Entries that meet a filter, in index order.

        Args:
            wanted: Which entries.
            first: Begin here.
            until: End before this index; None for the end of the ledger.
            count: At most so many.

        Returns:
            The entries, the index to go on from, and whether there is more to look at. A page may be short, or empty,
            with more to come.

        Raises:
            ConsentryError: ``DATA_DAMAGED``.
        """
        first, last = self.between(wanted, first, until)
        found, position = self.select(self.groups(wanted), first, last, count)
        return found, position, position < last

    def between(self, wanted: Filter, first: int, until: int | None) -> tuple[int, int]:
        """Narrow a range of indices to a filter's times, by halving: times never decrease."""
        size = self._store.fetch_head().size
        last = size if until is None else min(size, until)
        if wanted.from_time is not None:
            first = max(first, self.first_at(wanted.from_time, size))
        if wanted.until_time is not None:
            last = min(last, self.first_at(wanted.until_time, size))
        return first, last

    def first_at(self, time: datetime, size: int) -> int:
        """Index of the first entry recorded at a time or later; ``size`` where there is none."""
        text = format_time(time)
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            if self.entry(middle)[1]["time"] < text:
                low = middle + 1
            else:
                high = middle
        return low

    def entry(self, index: int) -> tuple[StoredEntry, dict[str, Any]]:
        """One entry that is known to exist, and what it says.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: it is not there or cannot be read.
        """
        data = self._store.fetch_entry(index)
        if data is None:
            raise _gone(index)
        return _stored(index, data), _decoded(index, data)

    def said(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """What some entries say that are known to exist; at once where they stand close together.

        Args:
            indices: Ascending.

        Raises:
            ConsentryError: ``DATA_DAMAGED``.
        """
        span = indices[-1] + 1 - indices[0] if indices else 0
        if span > CLOSE * len(indices):
            return [self.entry(index)[1] for index in indices]
        read = self._store.fetch_entries(indices[0], span) if span else []
        if len(read) < span:
            raise _gone(indices[0] + len(read))
        return [_decoded(index, read[index - indices[0]]) for index in indices]

    def groups(self, wanted: Filter) -> Groups:
        """A filter in the words of the index, without its times."""
        groups = [
            {terms.by_person(wanted.subject_ref)} if wanted.subject_ref else (),
            self._photo(wanted),
            {terms.by_rule(wanted.rule_id)} if wanted.rule_id else (),
            {terms.by_outcome(outcome) for outcome in wanted.outcomes},
            {terms.by_actor(wanted.actor)} if wanted.actor else (),
            {terms.by_type(name) for name in wanted.types},
        ]
        return tuple(frozenset(group) for group in groups if group)

    def select(self, wanted: Groups, first: int, until: int, count: int) -> tuple[list[StoredEntry], int]:
        """Entries that have a word of each group.

        Args:
            wanted: The groups; none for every entry.
            first: Begin at this index.
            until: End before this one.
            count: At most so many.

        Returns:
            The entries, and how far that goes: at least one further than ``first``, or ``until``.
        """
        found: list[StoredEntry] = []
        position = self._from_index(wanted, first, until, count, found) if wanted else first
        last = min(until, position + SCANNED_AT_ONCE)
        while position < last and len(found) < count:
            read = self._store.fetch_entries(position, min(READ_AT_ONCE, last - position, _room(wanted, count, found)))
            if not read:
                raise _gone(position)
            for data in read:
                if len(found) == count:
                    break
                if not wanted or terms.meets(_decoded(position, data), wanted):
                    found.append(_stored(position, data))
                position += 1
        return found, position

    def _from_index(self, wanted: Groups, first: int, until: int, count: int, found: list[StoredEntry]) -> int:
        if 0 < until - self._index.size <= SCANNED_AT_ONCE:
            self._index.absorb(SCANNED_AT_ONCE)
        position = first
        while position < until and len(found) < count:
            indices, reached = self._index.find(wanted, position, until, count - len(found))
            for index in indices:
                stored, said = self.entry(index)
                if terms.meets(said, wanted):
                    found.append(stored)
            if reached == position:
                break
            position = reached
        return position

    def _photo(self, wanted: Filter) -> set[str]:
        """A photo's own id or hash; by its hash, each stored copy of it too."""
        found = {terms.by_photo(wanted.photo_id)} if wanted.photo_id else set()
        if not wanted.photo_ref:
            return found
        named = terms.by_photo_ref(wanted.photo_ref)
        copies = (frozenset({named}), frozenset({terms.by_type("photo.stored")}))
        size = self._store.fetch_head().size
        position = 0
        found.add(named)
        while position < size:
            stored, position = self.select(copies, position, size, READ_AT_ONCE)
            found |= {terms.by_photo(each.said()["photo"]["photo_id"]) for each in stored}
        return found


def _room(wanted: Groups, count: int, found: list[StoredEntry]) -> int:
    """How many entries are worth reading at once: without a filter, no more than are wanted."""
    return READ_AT_ONCE if wanted else count - len(found)


def _stored(index: int, data: bytes) -> StoredEntry:
    return StoredEntry(index, data, hash_leaf(data))


def _decoded(index: int, data: bytes) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = orjson.loads(data)
    except ValueError as error:
        raise ConsentryError(
            Reason.DATA_DAMAGED, f"entry {index} cannot be read: verify the ledger, restore it from a backup"
        ) from error
    return entry


def _gone(index: int) -> ConsentryError:
    return ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
