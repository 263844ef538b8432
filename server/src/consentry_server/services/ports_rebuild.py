"""What folding a whole ledger again needs of the outside: the stored tables, a shelf on disk, and the repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consentry_server.core.ledger.tiles import FullTile
    from consentry_server.services.ports import Batch, Head

CHAIN = "chain"
"""A person's chain; its body is ``[entries, index of the last]``."""
LEAF = "leaf"
"""The leaf hash beside an entry; its key is the index."""
TILE = "tile"
"""A full hash tile; its key is ``level/number``, its body the root and then the 256 hashes."""
REQUEST = "request"
"""A request id that was seen; its key is in hex."""
BLOB = "blob"
"""A photo's ciphertext, which is no row of any table."""
KEY = "key"
"""A photo's key, likewise."""
REMOVED = b""
"""The body of a repair that removes a row."""


class Projections(Protocol):
    """The tables of one tenant's ledger, for reading. The service may be writing them meanwhile.

    Rows come in the order of their keys' UTF-8 bytes. Every method raises ``ConsentryError`` with ``DATA_DAMAGED`` or
    ``STORAGE_FAILED`` and what to do.
    """

    def head(self) -> Head:
        """The committed head."""

    def entries(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """Up to ``count`` entries from ``first``, each with the leaf hash stored beside it."""

    def tile(self, level: int, number: int) -> FullTile | None:
        """A full tile, or None."""

    def freeze(self) -> None:
        """From here on every method shows the tables as they stand now, whatever is committed meanwhile.

        It keeps a running service from reusing its log: do not stay long.
        """

    def kinds(self) -> list[str]:
        """The kinds of records that have rows."""

    def records(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Key and body of every record of a kind."""

    def chains(self) -> Iterator[tuple[str, bytes]]:
        """subject_ref and chain of every person, as ``CHAIN`` has them."""

    def requests(self) -> Iterator[tuple[str, int, str, bytes | None]]:
        """Key, index and time (as entries have it) of every request, and the entry of that index."""

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Level and number of every stored tile."""

    def sealed(self) -> Iterator[tuple[str, str]]:
        """Record id and SHA-256 in hex of every sealed ciphertext."""

    def documents(self) -> Iterator[tuple[str, str]]:
        """The SHA-256 under which each document is kept, and that of its bytes, both in hex."""

    def count_references(self) -> int:
        """How many of the callers' ids are mapped to a person."""


class Shelf(Protocol):
    """Bytes by kind and key, on disk: the memory of one fold. Nothing of it outlives the process."""

    def get(self, kind: str, key: str) -> bytes | None:
        """What lies there, or None."""

    def put(self, rows: Iterable[tuple[str, str, bytes | None]]) -> None:
        """Replace kind, key and bytes of each row; None removes it."""

    def count(self, kind: str) -> int:
        """How many lie there of a kind."""

    def rows(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Key and bytes of everything of a kind, in the order of the keys' UTF-8 bytes."""


class Repairable(Protocol):
    """A ledger store, opened for writing, whose projections can be put right."""

    def repair(self, rows: Iterable[tuple[str, str, bytes]], batch: Batch) -> None:
        """Write rows and a batch in one transaction; all of it is durable on return, or nothing was changed.

        Args:
            rows: Kind, key and body: a kind of record, ``CHAIN``, ``LEAF``, ``TILE`` or ``REQUEST``; ``REMOVED``
                for a row that must go.
            batch: The entry that says what was repaired.

        Raises:
            ConsentryError: As ``LedgerStore.commit``.
        """
