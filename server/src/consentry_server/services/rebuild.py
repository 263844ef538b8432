"""State is a fold: fold the whole ledger again, compare every table with it, and put right what differs.

It may run beside the service: entries never change, so most of them are read as they come; only the last few and the
comparison itself happen in one frozen view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import NONCE_BYTES, encode, format_nonce, format_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.ledger.tiles import TILE_HEIGHT, TILE_WIDTH
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import Destruction, Identifier, Photo
from consentry_server.core.vocabulary import DestructionStage
from consentry_server.services.differences import NO_ROW, Difference, Differences, merged, told
from consentry_server.services.folding import DOCUMENT, SEALED, LedgerFold
from consentry_server.services.ledger import KINDS
from consentry_server.services.ports import Batch, Head
from consentry_server.services.ports_rebuild import BLOB, CHAIN, KEY, LEAF, REMOVED, REQUEST, TILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from consentry_server.core.ledger.checkpoint import Checkpoint
    from consentry_server.core.ledger.tiles import FullTile
    from consentry_server.services.ports_rebuild import Projections, Repairable, Shelf

READ_AT_ONCE: Final = 1_000
FREEZE_WITHIN: Final = 5_000
"""The tables are frozen once so few entries are left to fold."""
ENTRY_TYPE: Final = "projections.rebuilt"
ACTOR: Final = "system"
UNKNOWN: Final = "record"
REPAIR: Final = "repair "
"""On the shelf, before the kind of a row that must be written."""
_TYPES: Final = {name: kind for kind, name in KINDS.items()}
_THERE, _EITHER, _GONE = b"there", b"either", b"gone"


class Progress(Protocol):
    """Told how far it is."""

    def __call__(self, doing: str, done: int, total: int) -> None:
        """What is being done, how many of how many."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was found of one table.

    Args:
        name: Its name.
        rows: How many rows it has.
        different: How many are not what the ledger says.
        basis: What the comparison rests on, or why there is none.
    """

    name: str
    rows: int
    different: int
    basis: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A folded ledger, compared.

    Args:
        head: The ledger at the moment of the comparison.
        fold: Its fold.
        published: Size of the published checkpoint that it was held against; None where there is none.
        tables: Every table, and every store that cannot be derived.
        differences: What was found.
    """

    head: Head
    fold: LedgerFold
    published: int | None
    tables: tuple[Table, ...]
    differences: Differences


class Rebuild:
    """Folds one ledger and compares.

    Args:
        projections: The stored tables.
        shelf: Empty; room for the fold.
        published: The newest published checkpoint, verified; None where none is at hand.
        progress: Told how far it is, now and then.
    """

    def __init__(
        self, projections: Projections, shelf: Shelf, *, published: Checkpoint | None, progress: Progress
    ) -> None:
        self._projections = projections
        self._shelf = shelf
        self._published = published
        self._progress = progress
        self._fold = LedgerFold(shelf)
        self._found = Differences()
        self._tables: list[Table] = []

    def run(self) -> Rebuilt:
        """Fold everything and compare everything.

        1. Fold as far as the ledger goes; hold leaf hashes and tiles against what the entries hash to.
        2. Freeze the tables; fold what came meanwhile.
        3. The entries must hash to the stored root and to the published one: otherwise they are not the ledger.
        4. Compare each table.

        Returns:
            What was found.

        Raises:
            ConsentryError: ``DATA_DAMAGED`` or ``LEDGER_FORKED``: the entries themselves are not what was recorded, so
                that nothing can be derived from them.
        """
        # (1) most of it, beside the service
        head = self._projections.head()
        while head.size - self._fold.size > FREEZE_WITHIN:
            self._fold_to(head.size)
            head = self._projections.head()
        # (2) the rest, in one view
        self._projections.freeze()
        head = self._projections.head()
        self._fold_to(head.size)
        self._fold.flush()
        # (3) are these the entries that were recorded?
        self._check_root(head)
        # (4) the tables
        self._table("leaf hashes", head.size, LEAF, "entries hashed again")
        self._compare_tiles(head.size)
        for kind in sorted(KINDS.values()):
            self._compare_records(kind)
        self._compare_unknown_kinds()
        people = self._compare_chains()
        self._compare_requests(head.size)
        self._compare_sealed()
        self._compare_documents()
        mapped = self._projections.count_references()
        basis = f"cannot be derived, not compared; the ledger names {people} people"
        self._tables.append(Table("subject mapping", mapped, 0, basis))
        published = None if self._published is None else self._published.size
        return Rebuilt(head, self._fold, published, tuple(self._tables), self._found)

    def _fold_to(self, size: int) -> None:
        while self._fold.size < size:
            first = self._fold.size
            read = self._projections.entries(first, min(READ_AT_ONCE, size - first))
            if not read:
                raise ConsentryError(Reason.DATA_DAMAGED, f"entry {first} is gone: stop and restore from a backup")
            for data, kept in read:
                leaf, tiles = self._fold.take(data)
                if leaf != kept:
                    self._differ(LEAF, str(self._fold.size - 1), kept.hex(), leaf.hex(), leaf)
                for tile in tiles:
                    self._compare_tile(tile)
                if self._published is not None and self._fold.size == self._published.size:
                    self._check_published(self._published)
            self._progress("folding", self._fold.size, size)

    def _check_published(self, published: Checkpoint) -> None:
        if self._fold.tree.root() != published.root:
            raise ConsentryError(
                Reason.LEDGER_FORKED,
                f"the database's first {published.size} entries are not the ones that were published: keep all files "
                "as they are, and restore the database that belongs to this lock record",
            )

    def _check_root(self, head: Head) -> None:
        if self._published is not None and self._published.size > head.size:
            raise ConsentryError(
                Reason.LEDGER_FORKED,
                f"the database has {head.size} entries, but {self._published.size} were published: this is an older "
                "copy; restore the newest database",
            )
        if self._fold.tree.root() != head.root or self._fold.tree.frontier.hashes != head.frontier:
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"the {head.size} stored entries do not hash to the stored root: an entry was changed. Keep the files, "
                "and restore from a backup; nothing can be derived from these entries",
            )

    def _compare_tile(self, tile: FullTile) -> None:
        kept = self._projections.tile(tile.level, tile.number)
        if kept != tile:
            table = NO_ROW if kept is None else f"other hashes under the root {kept.root.hex()}"
            ledger = f"256 hashes under the root {tile.root.hex()}"
            self._differ(TILE, f"{tile.level}/{tile.number}", table, ledger, tile.root + tile.hashes)

    def _compare_tiles(self, size: int) -> None:
        rows = 0
        for level, number in self._projections.tiles():
            rows += 1
            if not 0 <= number < size >> (TILE_HEIGHT * (level + 1)):
                self._differ(TILE, f"{level}/{number}", "a full tile", "not full yet", REMOVED)
        self._table("hash tiles", rows, TILE, f"{TILE_WIDTH} leaf hashes each, hashed again")

    def _compare_records(self, kind: str) -> None:
        rows, total = 0, self._shelf.count(kind)
        for key, kept, made in merged(self._projections.records(kind), self._shelf.rows(kind)):
            rows += kept is not None
            self._tick(kind, rows, total)
            if kept == made:
                continue
            table, ledger = _read(_TYPES[kind], kept), None if made is None else orjson.loads(made)
            if table == ledger:
                continue  # the same fact, written by a build that wrote its defaults
            if table is None or ledger is None or isinstance(table, str):
                said = (_said(table), _said(ledger))
            else:
                said = told(table, ledger)
            self._differ(kind, key, *said, REMOVED if made is None else made)
        self._table(f"records: {kind}", rows, kind, "folded again")

    def _compare_unknown_kinds(self) -> None:
        rows = 0
        for kind in set(self._projections.kinds()) - _TYPES.keys():
            for key, _body in self._projections.records(kind):
                rows += 1
                self._differ(UNKNOWN, f"{kind} {key}", "a kind of record that this build does not know", NO_ROW, None)
        if rows:
            self._table("records: unknown", rows, UNKNOWN, "left alone")

    def _compare_chains(self) -> int:
        rows = people = 0
        total = self._shelf.count(CHAIN)
        for key, kept, made in merged(self._projections.chains(), self._shelf.rows(CHAIN)):
            rows += kept is not None
            people += made is not None
            self._tick("chains", rows, total)
            if kept != made:
                self._differ(CHAIN, key, _chain(kept), _chain(made), REMOVED if made is None else made)
        self._table("people's chains", rows, CHAIN, "last link of each person in the entries")
        return people

    def _compare_requests(self, size: int) -> None:
        rows = 0
        for key, index, time, data in self._projections.requests():
            rows += 1
            self._tick("request ids", rows, 0)
            recorded = None if data is None or not 0 <= index < size else orjson.loads(data)["time"]
            if recorded != time:
                ledger = f"there are {size} entries" if recorded is None else f"entry {index} is of {recorded}"
                self._differ(REQUEST, key, f"entry {index} of {time} answered it", ledger, REMOVED)
        basis = "index and time of the answer; which request it answered is not in the ledger"
        self._table("request ids", rows, REQUEST, basis)

    def _compare_sealed(self) -> None:
        """Ciphertext is where it must be, is gone where it must be gone, and has the hash that its entry names."""
        self._expect_sealed()
        rows, total = 0, self._shelf.count(SEALED)
        for key, kept, expected in merged(self._projections.sealed(), self._shelf.rows(SEALED)):
            rows += kept is not None
            self._tick("sealed evidence", rows, total)
            if kept is None:
                if expected not in (_GONE, _EITHER):
                    self._differ(SEALED, key, NO_ROW, "it is held: restore it from a backup", None)
            elif expected is None:
                self._differ(SEALED, key, "a ciphertext", "no entry names it", None)
            elif expected == _GONE:
                self._differ(SEALED, key, "a ciphertext", "it was destroyed: restart the server and report this", None)
            elif expected not in (_THERE, _EITHER) and kept != expected.decode():
                self._differ(SEALED, key, f"SHA-256 {kept}", f"SHA-256 {expected.decode()}", None)
        basis = "cannot be derived; presence, and the hash of what callers typed, compared"
        self._table("sealed evidence", rows, SEALED, basis)

    def _expect_sealed(self) -> None:
        """Each identifier, and each photo's digest, has a ciphertext under its own id until it is destroyed."""
        kinds: tuple[type[Identifier | Photo], ...] = (Identifier, Photo)
        for kind in kinds:
            for record_id, body in self._shelf.rows(KINDS[kind]):
                destruction_id = from_body(kind, body).destruction_id
                state = self._destroyed(destruction_id) if destruction_id else _THERE
                self._shelf.put([(SEALED, record_id, state)])

    def _destroyed(self, destruction_id: str) -> bytes:
        body = self._shelf.get(KINDS[Destruction], destruction_id)
        requested = body is None or from_body(Destruction, body).stage is DestructionStage.REQUESTED
        return _EITHER if requested else _GONE

    def _compare_documents(self) -> None:
        rows = 0
        for key, kept, expected in merged(self._projections.documents(), self._shelf.rows(DOCUMENT)):
            rows += kept is not None
            if kept is None:
                self._differ(DOCUMENT, key, NO_ROW, "an entry names it: restore it from a backup", None)
            elif kept != key:
                self._differ(DOCUMENT, key, f"bytes with SHA-256 {kept}", f"SHA-256 {key}", None)
            elif expected is None:
                self._differ(DOCUMENT, key, "a document", "no entry names it", None)
        self._table("documents", rows, DOCUMENT, "cannot be derived; presence and hash compared")

    def _differ(self, kind: str, key: str, table: str, ledger: str, repair: bytes | None) -> None:
        """Note a difference, and on the shelf what mends it; None where nothing in the ledger does."""
        self._found.add(Difference(kind, key, table, ledger, repair is not None))
        if repair is not None:
            self._shelf.put([(REPAIR + kind, key, repair)])

    def _tick(self, what: str, rows: int, total: int) -> None:
        if rows % READ_AT_ONCE == 0:
            self._progress(f"comparing {what}", rows, total)

    def _table(self, name: str, rows: int, kind: str, basis: str) -> None:
        self._tables.append(Table(name, rows, self._found.repairable[kind] + self._found.lost[kind], basis))


def repair(
    rebuilt: Rebuilt,
    shelf: Shelf,
    store: Repairable,
    *,
    ledger: str,
    now: datetime,
    random: Callable[[int], bytes],
    engine: str,
) -> int:
    """Write what differed, and record that it was done, in one transaction.

    Args:
        rebuilt: Of this ledger as it still stands: no other process may have written since.
        shelf: The one that was compared with.
        store: Open for writing.
        ledger: The ledger's origin.
        now: The time, UTC.
        random: Cryptographic random bytes.
        engine: Version of the code that folded.

    Returns:
        Index of the entry that records it.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: the clock is behind the last entry; or from the store. Nothing was
            written then.
    """
    head, found = rebuilt.head, rebuilt.differences
    if head.time is not None and now < head.time:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID,
            f"the clock says {format_time(now)}, but the ledger's last entry is from {format_time(head.time)}: "
            "set the clock right, then try again",
        )
    data = encode(
        {
            "type": ENTRY_TYPE,
            "version": 1,
            "ledger": ledger,
            "index": head.size,
            "time": format_time(now),
            "actor": ACTOR,
            "nonce": format_nonce(random(NONCE_BYTES)),
            "engine": engine,
            "repaired": dict(found.repairable),
            "left": dict(found.lost),
            "differences_sha256": found.sha256,
        }
    )
    leaf = hash_leaf(data)
    tree = rebuilt.fold.tree.copy()
    tiles = list(tree.append(leaf))
    after = Head(tree.size, tree.root(), tree.frontier.hashes, now)

    def rows() -> Iterator[tuple[str, str, bytes]]:
        for kind in sorted(found.repairable.keys() - {BLOB, KEY}):
            for key, body in shelf.rows(REPAIR + kind):
                yield kind, key, body

    store.repair(rows(), Batch(after, [(data, leaf)], tiles))
    return head.size


def _read(kind: type[Any], body: bytes | None) -> Any:
    """A row's body as the plain values that the ledger would make; words where it cannot be read."""
    if body is None:
        return None
    try:
        return to_plain(from_body(kind, body))
    except (ConsentryError, TypeError):
        return "something that cannot be read"


def _said(plain: Any) -> str:
    if plain is None:
        return NO_ROW
    return plain if isinstance(plain, str) else told({}, plain)[1]


def _chain(link: bytes | None) -> str:
    if link is None:
        return NO_ROW
    length, last = orjson.loads(link)
    return f"{length} entries, the last one {last}"
