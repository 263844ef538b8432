"""The ledger's tables as a rebuild reads them: read-only, and on demand in one frozen view."""

from __future__ import annotations

import hashlib
from types import NoneType
from typing import TYPE_CHECKING, Any

import apsw
import orjson

from consentry_server.adapters.sqlite.connection import BUSY_MILLISECONDS, DRIVER_ERRORS, storage_errors, translated
from consentry_server.adapters.sqlite.store import from_integer, of_types, to_head
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.ledger.tiles import TILE_WIDTH, FullTile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from consentry_server.services.ports import Head

_CACHE_KIB = 16 * 1024


class SqliteProjections:
    """Implements ``services.ports_rebuild.Projections``; :meth:`open` first, :meth:`close` last.

    Args:
        path: The ledger's database file.
        older: Gives so many entries from an index that have left the database for tiles, verified.
    """

    def __init__(self, path: Path, older: Callable[[int, int], list[bytes]] | None = None) -> None:
        self._path = path
        self._older = older
        self._connection: apsw.Connection | None = None

    def open(self) -> None:
        """Open the file for reading.

        Raises:
            ConsentryError: ``NOT_FOUND``, or it cannot be read.
        """
        if not self._path.is_file():
            raise ConsentryError(Reason.NOT_FOUND, f"{self._path} does not exist: name the server's state folder")
        with storage_errors():
            self._connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(BUSY_MILLISECONDS)
            self._connection.pragma("cache_size", -_CACHE_KIB)

    def close(self) -> None:
        """End the frozen view and release the file."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None

    def head(self) -> Head:
        """See the port."""
        return to_head(self._row("select size, root, frontier, time from head"))

    def entries(self, first: int, count: int) -> list[tuple[bytes, bytes]]:
        """See the port."""
        asked = "select bytes, leaf from entry where idx >= ? and idx < ? order by idx"
        rows = [of_types(row, bytes, bytes) for row in self._rows(asked, first, first + count)]
        kept = [(data, leaf) for data, leaf in rows]
        begin = next(self._rows("select coalesce(min(idx), 0) from entry"))[0]
        if self._older is None or first >= begin:
            return kept
        return [(data, hash_leaf(data)) for data in self._older(first, min(count, begin - first))] + kept

    def tile(self, level: int, number: int) -> FullTile | None:
        """See the port."""
        row = self._row("select root, hashes from tile where level = ? and number = ?", level, number)
        if row is None:
            return None
        root, hashes = of_types(row, bytes, bytes)
        if not hashes and level == 0 and self._older is not None:
            hashes = b"".join(hash_leaf(data) for data in self._older(number * TILE_WIDTH, TILE_WIDTH))
        return FullTile(level, number, root, hashes)

    def freeze(self) -> None:
        """See the port: one read transaction, which begins with its first read."""
        with storage_errors():
            self._open.execute("begin")
        self.head()

    def kinds(self) -> list[str]:
        """See the port."""
        found = [""]
        while (row := self._row("select kind from record where kind > ? order by kind limit 1", found[-1])) is not None:
            found.append(of_types(row, str)[0])
        return found[1:]

    def records(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """See the port."""
        for row in self._rows("select key, body from record where kind = ? order by key", kind):
            key, body = of_types(row, str, bytes)
            yield key, body

    def chains(self) -> Iterator[tuple[str, bytes]]:
        """See the port."""
        for row in self._rows("select subject_ref, length, last from chain order by subject_ref"):
            subject_ref, length, last = of_types(row, str, int, int)
            yield subject_ref, orjson.dumps((length, last))

    def requests(self) -> Iterator[tuple[str, int, str, bytes | None]]:
        """See the port."""
        asked = (
            "select request.key, request.idx, request.time, entry.bytes"
            " from request left join entry on entry.idx = request.idx order by request.idx, request.key"
        )
        for row in self._rows(asked):
            key, index, time, data = of_types(row, bytes, int, int, bytes | NoneType)
            if data is None and self._older is not None and index >= 0:
                data = next(iter(self._older(index, 1)), None)
            yield key.hex(), index, format_time(from_integer(time)), data

    def tiles(self) -> Iterator[tuple[int, int]]:
        """See the port."""
        for row in self._rows("select level, number from tile order by level, number"):
            level, number = of_types(row, int, int)
            yield level, number

    def sealed(self) -> Iterator[tuple[str, str]]:
        """See the port."""
        for row in self._rows("select record_id, body from sealed order by record_id"):
            record_id, body = of_types(row, str, bytes)
            yield record_id, hashlib.sha256(body).hexdigest()

    def documents(self) -> Iterator[tuple[str, str]]:
        """See the port."""
        for row in self._rows("select sha256, body from document order by sha256"):
            sha256, body = of_types(row, str, bytes)
            yield sha256, hashlib.sha256(body).hexdigest()

    def count_references(self) -> int:
        """See the port."""
        row = self._row("select count(*) from reference")
        return 0 if row is None else int(row[0])

    def _row(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        rows = list(self._rows(statement, *values))
        return rows[0] if rows else None

    def _rows(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._open.execute(statement, values)
        except DRIVER_ERRORS as error:
            raise translated(error) from error

    @property
    def _open(self) -> apsw.Connection:
        if self._connection is None:
            raise ConsentryError(Reason.STORAGE_FAILED, "the ledger's tables are not open: open them first")
        return self._connection
