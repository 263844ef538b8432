"""The writer's memory of the ledger: its head, its right edge, and the facts it has looked at lately.

Nothing here changes before the store has committed: a batch works on its own copies and is merged afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import orjson

from consentry_server.core.ledger.merkle import Frontier
from consentry_server.core.ledger.tiles import TILE_WIDTH, GrowingTree
from consentry_server.core.record.codec import from_plain, to_plain
from consentry_server.core.record.facts import Destruction, Identifier, Notice, Photo, Subject, Tenant
from consentry_server.core.record.fold import TENANT_KEY
from consentry_server.services.ports import Batch, Head

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from consentry_server.core.ledger.tiles import FullTile
    from consentry_server.services.book import Book
    from consentry_server.services.ports import KnownRequest, LedgerStore

T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction)
K = TypeVar("K")
V = TypeVar("V")

CACHED_RECORDS = 200_000
CACHED_LINKS = 500_000

KINDS: dict[type[Any], str] = {
    Tenant: "tenant",
    Notice: "notice",
    Subject: "subject",
    Photo: "photo",
    Identifier: "identifier",
    Destruction: "destruction",
}


class Cache(Generic[K, V]):
    """The latest committed values, bounded; the oldest entry goes first."""

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._held: dict[K, V] = {}
        self._limit = limit

    def get(self, key: K) -> V | None:
        """The value, or None where it is not held."""
        return self._held.get(key)

    def put(self, key: K, value: V) -> None:
        """Hold a committed value."""
        self._held[key] = value
        if len(self._held) > self._limit:
            del self._held[next(iter(self._held))]


class LedgerState:
    """What the writer keeps between batches.

    Args:
        store: Opened here.
    """

    def __init__(self, store: LedgerStore) -> None:
        self.store = store
        self.head = store.open()
        self.records: Cache[tuple[type[Any], str], Any] = Cache(CACHED_RECORDS)
        self.chains: Cache[str, tuple[int, int]] = Cache(CACHED_LINKS)
        self.references: Cache[bytes, str] = Cache(CACHED_LINKS)
        self.tree = GrowingTree.load(Frontier(self.head.size, self.head.frontier), tile_reader(store))
        self.tenant = self._read_tenant()

    def begin(self, clock: datetime) -> WorkingBatch:
        """Start a batch at the clock's time, or at the last entry's where the clock is behind it."""
        return WorkingBatch(self, clock if self.head.time is None else max(clock, self.head.time))

    def commit(self, batch: WorkingBatch) -> None:
        """Make a batch durable, then adopt it.

        Raises:
            ConsentryError: From the store; nothing was adopted.
        """
        if not batch.entries and not batch.references:
            return
        finished = batch.finish()
        self.store.commit(finished)
        self.head = finished.head
        self.tree = batch.tree
        self.tenant = batch.tenant
        for key, record in batch.records.items():
            self.records.put(key, record)
        for subject_ref, chain in batch.chains.items():
            self.chains.put(subject_ref, chain)
        for lookup, subject_ref in batch.references.items():
            self.references.put(lookup, subject_ref)

    def record(self, kind: type[T], key: str) -> T | None:
        """A committed record."""
        held = self.records.get((kind, key))
        if held is None:
            body = self.store.read_record(KINDS[kind], key)
            if body is None:
                return None
            held = from_plain(kind, orjson.loads(body))
            self.records.put((kind, key), held)
        return cast("T", held)

    def _read_tenant(self) -> Tenant:
        tenant = self.record(Tenant, TENANT_KEY) or Tenant()
        notices = [from_plain(Notice, orjson.loads(body)) for _key, body in self.store.read_records(KINDS[Notice])]
        return replace(tenant, notices={(notice.notice_id, notice.version): notice for notice in notices})


class WorkingBatch:
    """Commands that will commit together; implements ``book.Beneath``.

    Args:
        state: What was committed before.
        now: The time of every entry in the batch.
    """

    def __init__(self, state: LedgerState, now: datetime) -> None:
        self._state = state
        self.now = now
        self.tenant = state.tenant
        self.tree = state.tree.copy()
        self.entries: list[tuple[bytes, bytes]] = []
        self.tiles: list[FullTile] = []
        self.records: dict[tuple[type[Any], str], Any] = {}
        self.chains: dict[str, tuple[int, int]] = {}
        self.references: dict[bytes, str] = {}
        self.requests: dict[bytes, KnownRequest] = {}
        self.sealed: dict[str, bytes] = {}
        self.documents: dict[str, bytes] = {}

    @property
    def size(self) -> int:
        """Entries before the next command."""
        return self._state.head.size + len(self.entries)

    def record(self, kind: type[T], key: str) -> T | None:
        """See ``Beneath``."""
        if (kind, key) in self.records:
            return cast("T | None", self.records[(kind, key)])
        return self._state.record(kind, key)

    def chain(self, subject_ref: str) -> tuple[int, int] | None:
        """See ``Beneath``."""
        found = self.chains.get(subject_ref) or self._state.chains.get(subject_ref)
        return found or self._state.store.read_chain(subject_ref)

    def reference(self, lookup: bytes) -> str | None:
        """See ``Beneath``."""
        found = self.references.get(lookup) or self._state.references.get(lookup)
        if found is None:
            found = self._state.store.read_reference(lookup)
            if found is not None:
                self._state.references.put(lookup, found)
        return found

    def request(self, key: bytes) -> KnownRequest | None:
        """See ``Beneath``."""
        return self.requests.get(key) or self._state.store.read_request(key)

    def entry_bytes(self, index: int) -> bytes | None:
        """See ``Beneath``."""
        first = self._state.head.size
        if first <= index < self.size:
            return self.entries[index - first][0]
        return self._state.store.fetch_entry(index) if 0 <= index < first else None

    def absorb(self, book: Book) -> None:
        """Take over what a command recorded."""
        for data, leaf in book.entries:
            self.entries.append((data, leaf))
            self.tiles.extend(self.tree.append(leaf))
        if book.records:
            self.records.update(book.records)
            self.tenant = book.tenant
        self.chains.update(book.chains)
        self.references.update(book.references)
        self.requests.update(book.requests)
        self.sealed.update(book.sealed)
        self.documents.update(book.documents)

    def finish(self) -> Batch:
        """Everything as the store takes it."""
        return Batch(
            head=Head(
                self.size,
                self.tree.root(),
                self.tree.frontier.hashes,
                self.now if self.entries else self._state.head.time,
            ),
            entries=self.entries,
            tiles=self.tiles,
            records={(KINDS[kind], key): _body(record) for (kind, key), record in self.records.items()},
            chains=self.chains,
            references=self.references,
            requests=self.requests,
            sealed=self.sealed,
            documents=self.documents,
        )


def _body(record: Any) -> bytes | None:
    if record is None:
        return None
    if isinstance(record, Tenant):
        record = replace(record, notices={})
    return orjson.dumps(to_plain(record), option=orjson.OPT_SORT_KEYS)


def tile_reader(store: LedgerStore) -> Callable[[int, int, int], bytes]:
    """Read hash tiles out of a store, full or partial.

    Args:
        store: Any ledger store.

    Returns:
        A function of level, number and width that gives the tile's hashes as one string of bytes.
    """

    def read(level: int, number: int, width: int) -> bytes:
        if width == TILE_WIDTH:
            tile = store.fetch_tile(level, number)
            if tile is not None:
                return tile.hashes
        first = number * TILE_WIDTH
        return b"".join(
            store.fetch_leaves(first, width) if level == 0 else store.fetch_tile_roots(level - 1, first, width)
        )

    return read
