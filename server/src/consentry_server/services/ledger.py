"""The writer's memory of the ledger: its head, its right edge, and the facts it has looked at lately.

Nothing here changes before the store has committed: a batch works on its own copies and is merged afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.merkle import Frontier
from consentry_server.core.ledger.tiles import TILE_WIDTH, GrowingTree
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import Destruction, Identifier, Notice, Photo, Subject, Tenant
from consentry_server.core.record.fold import TENANT_KEY
from consentry_server.core.record.house import Review
from consentry_server.services.ports import Batch, Head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.core.ledger.tiles import FullTile
    from consentry_server.services.book import Book
    from consentry_server.services.ports import KnownRequest, LedgerStore

T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction, Artifact, Review)
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
    Artifact: "artifact",
    Review: "review",
}


class Cache(Generic[K, V]):
    """The latest committed values, bounded: what was not asked for since half of them came anew is forgotten."""

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, or None where it is not held."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Hold a committed value."""
        self._young[key] = value
        if len(self._young) > self._half:
            self._old, self._young = self._young, {}


class _Nothing(Enum):
    """What the cache holds for a key that has no record: the store need not be asked again."""

    NOTHING = 0


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
        try:
            self.tree = GrowingTree.load(Frontier(self.head.size, self.head.frontier), tile_reader(store))
        except LedgerError as error:
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"{error.message}: keep the files; `consentry audit rebuild` tells what is damaged and mends what can "
                "be derived, otherwise restore from a backup",
            ) from error
        self.tenant = self._read_tenant()

    def begin(self, clock: datetime) -> WorkingBatch:
        """Start a batch at the clock's time, or at the last entry's where the clock is behind it."""
        return WorkingBatch(self, clock)

    def adopt(self, batch: WorkingBatch, head: Head) -> None:
        """Take over a batch that was committed."""
        self.head = head
        self.tree = batch.tree
        self.tenant = batch.tenant
        for key, record in batch.records.items():
            self.records.put(key, _Nothing.NOTHING if record is None else record)
        for subject_ref, chain in batch.chains.items():
            self.chains.put(subject_ref, chain)
        for lookup, subject_ref in batch.references.items():
            self.references.put(lookup, subject_ref)

    def record(self, kind: type[T], key: str) -> T | None:
        """A committed record."""
        held = self.records.get((kind, key))
        if held is None:
            body = self.store.read_record(KINDS[kind], key)
            held = _Nothing.NOTHING if body is None else from_body(kind, body)
            self.records.put((kind, key), held)
        return None if held is _Nothing.NOTHING else cast("T", held)

    def _read_tenant(self) -> Tenant:
        tenant = self.record(Tenant, TENANT_KEY) or Tenant()
        notices = [from_body(Notice, body) for _key, body in self.store.read_records(KINDS[Notice])]
        return replace(tenant, notices={(notice.notice_id, notice.version): notice for notice in notices})


class WorkingBatch:
    """Commands that will commit together; implements ``book.Beneath``.

    Args:
        state: What was committed before.
        clock: What the clock says.
    """

    def __init__(self, state: LedgerState, clock: datetime) -> None:
        last = state.head.time
        behind = last is not None and clock < last
        self._state = state
        self.now = last if last is not None and behind else clock
        self.time_text = format_time(self.now)
        self.clock_text = format_time(clock) if behind else ""
        self.tenant = state.tenant
        self.tree = state.tree.copy()
        self.entries: list[tuple[bytes, bytes]] = []
        self.tiles: list[FullTile] = []
        self.records: dict[tuple[type[Any], str], Any] = {}
        self.chains: dict[str, tuple[int, int]] = {}
        self.references: dict[bytes, str] = {}
        self.requests: dict[bytes, KnownRequest] = {}
        self._requests_read: dict[bytes, KnownRequest | None] = {}
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
        if key in self.requests:
            return self.requests[key]
        if key not in self._requests_read:
            self.expect([key])
        return self._requests_read[key]

    def expect(self, keys: Sequence[bytes]) -> None:
        """Read at once what is known of the request ids that this batch will ask for."""
        self._requests_read |= {**dict.fromkeys(keys), **self._state.store.read_requests(keys)}

    def entry_bytes(self, index: int) -> bytes | None:
        """See ``Beneath``."""
        first = self._state.head.size
        if first <= index < self.size:
            return self.entries[index - first][0]
        return self._state.store.fetch_entry(index) if 0 <= index < first else None

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries or self.references)

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
