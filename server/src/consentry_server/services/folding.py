"""Fold a whole ledger in bounded memory: what was looked at lately is held, everything else lies on a shelf on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import orjson

from consentry_server.core.ledger.errors import damaged
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.ledger.tiles import GrowingTree
from consentry_server.core.record import fold
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import Destruction, Identifier, Notice, Photo, Subject, Tenant
from consentry_server.core.record.house import Review
from consentry_server.services.ledger import KINDS
from consentry_server.services.ports_rebuild import CHAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry_server.core.ledger.tiles import FullTile
    from consentry_server.services.ports_rebuild import Shelf

T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction, Artifact, Review)

HELD_RECORDS: Final = 10_000
"""About 60 MB where every person has a few releases."""
HELD_LINKS: Final = 100_000
SEALED: Final = "sealed"
"""What entries say of sealed words: by id, the SHA-256 of the ciphertext in hex."""
DOCUMENT: Final = "document"
"""What entries name of documents: by SHA-256 in hex, nothing."""


class Folded:
    """Records as the ledger makes them; implements ``fold.Records``.

    Args:
        shelf: Where records lie that are not held in memory.
        held: Most records in memory.
    """

    def __init__(self, shelf: Shelf, *, held: int = HELD_RECORDS) -> None:
        self._shelf = shelf
        self._limit = held
        self._held: dict[tuple[type[Any], str], Any] = {}
        self._changed: set[tuple[type[Any], str]] = set()
        self._links: dict[str, tuple[int, int]] = {}

    def get(self, kind: type[T], key: str) -> T | None:
        """See ``fold.Records``."""
        place = (kind, key)
        if place in self._held:
            record = self._held[place] = self._held.pop(place)  # the latest goes to the end: the first are put away
            return cast("T | None", record)
        body = self._shelf.get(KINDS[kind], key)
        if body is None:
            return None
        found = from_body(kind, body)
        self._hold(place, found)
        return found

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        """See ``fold.Records``."""
        place = (kind, key)
        self._changed.add(place)
        self._held.pop(place, None)
        self._hold(place, record)

    def link(self, subject_ref: str, length: int, last: int) -> None:
        """Note that a person's chain has reached an entry."""
        self._links[subject_ref] = (length, last)
        if len(self._links) >= HELD_LINKS:
            self._put_links()

    def flush(self) -> None:
        """Put everything on the shelf."""
        self._put_away(len(self._held))
        self._put_links()

    def _hold(self, place: tuple[type[Any], str], record: Any) -> None:
        self._held[place] = record
        if len(self._held) > self._limit:
            self._put_away(len(self._held) // 2)

    def _put_away(self, count: int) -> None:
        oldest = [place for place, _ in zip(self._held, range(count), strict=False)]
        changed = sorted((KINDS[kind], key, kind) for kind, key in oldest if (kind, key) in self._changed)
        self._shelf.put((name, key, _body(self._held[kind, key])) for name, key, kind in changed)
        for place in oldest:
            del self._held[place]
            self._changed.discard(place)

    def _put_links(self) -> None:
        self._shelf.put((CHAIN, ref, orjson.dumps(link)) for ref, link in sorted(self._links.items()))
        self._links.clear()


class LedgerFold:
    """A ledger from its first entry on: its tree, its records, its chains, and what it names outside itself.

    Args:
        shelf: Empty; holds all of it after :meth:`flush`.
        held: Most records in memory.
    """

    def __init__(self, shelf: Shelf, *, held: int = HELD_RECORDS) -> None:
        self.tree = GrowingTree()
        self._shelf = shelf
        self._records = Folded(shelf, held=held)

    @property
    def size(self) -> int:
        """Entries so far."""
        return self.tree.size

    def take(self, data: bytes) -> tuple[bytes, tuple[FullTile, ...]]:
        """Fold the next entry.

        Args:
            data: Its bytes.

        Returns:
            Its leaf hash, and the tiles that it completed.

        Raises:
            LedgerError: ``DATA_DAMAGED``: it cannot be read, or stands in the wrong place.
        """
        index = self.tree.size
        leaf = hash_leaf(data)
        tiles = self.tree.append(leaf)
        try:
            entry = orjson.loads(data)
            if entry["index"] != index:
                raise damaged(_unfit(index))
            fold.apply(self._records, entry)
            for person in entry.get("people", ()):
                self._records.link(person["subject_ref"], person["subject_seq"], index)
            self._note_outside(entry)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise damaged(_unfit(index)) from error
        return leaf, tiles

    def flush(self) -> None:
        """Put everything on the shelf."""
        self._records.flush()

    def _note_outside(self, entry: Mapping[str, Any]) -> None:
        """What lies outside the ledger, and the hash by which it can be told."""
        sealed = entry.get("sealed")
        if sealed is not None:
            self._shelf.put([(SEALED, sealed["id"], sealed["sha256"].encode())])
        named: list[str] = []
        match entry["type"]:
            case "notice.published":
                named = [entry["notice"]["text_sha256"]]
            case "policy.published":
                named = [entry["policy"]["text_sha256"]]
                if "guidelines_sha256" in entry:
                    named.append(entry["guidelines_sha256"])
            case "statement.recorded":
                named = [entry["statement"]["text_sha256"]]
            case "pack.activated":
                named = [entry["pack"]["sha256"]]
            case _:
                return
        self._shelf.put((DOCUMENT, digest, b"") for digest in named)


def _unfit(index: int) -> str:
    return f"entry {index} cannot be read as an entry of this ledger: stop, keep the files, restore from a backup"


def _body(record: Any) -> bytes | None:
    return None if record is None else orjson.dumps(to_plain(record), option=orjson.OPT_SORT_KEYS)
