"""A shelf on disk: SQLite's own temporary database, which has no name and is gone with its connection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CACHE_KIB = 64 * 1024


class SqliteShelf:
    """Implements ``services.ports_rebuild.Shelf``; lies in ``SQLITE_TMPDIR`` or ``TMPDIR``, readable by nobody else."""

    def __init__(self) -> None:
        self._connection: apsw.Connection | None = None

    def open(self) -> None:
        """Make it, empty."""
        with _failures():
            connection = apsw.Connection("")  # a file without a name: https://www.sqlite.org/inmemorydb.html#temp_db
            for name, value in (("journal_mode", "off"), ("synchronous", "off"), ("cache_size", -_CACHE_KIB)):
                connection.pragma(name, value)
            connection.execute(
                "create table shelf (kind text, key text, body blob not null, primary key (kind, key))"
                " without rowid, strict; begin"
            )
        self._connection = connection

    def close(self) -> None:
        """Drop everything."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None

    def get(self, kind: str, key: str) -> bytes | None:
        """See the port."""
        with _failures():
            found: bytes | None = self._made.execute(
                "select body from shelf where kind = ? and key = ?", (kind, key)
            ).get
        return found

    def put(self, rows: Iterable[tuple[str, str, bytes | None]]) -> None:
        """See the port."""
        held = list(rows)
        kept = [row for row in held if row[2] is not None]
        gone = [row[:2] for row in held if row[2] is None]
        with _failures():
            self._made.executemany("insert or replace into shelf values (?, ?, ?)", kept)
            self._made.executemany("delete from shelf where kind = ? and key = ?", gone)

    def count(self, kind: str) -> int:
        """See the port."""
        with _failures():
            found: int = self._made.execute("select count(*) from shelf where kind = ?", (kind,)).get
        return found

    def rows(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """See the port."""
        with _failures():
            yield from self._made.execute("select key, body from shelf where kind = ? order by key", (kind,))

    @property
    def _made(self) -> apsw.Connection:
        assert self._connection is not None, "open the shelf first"  # noqa: S101 - a mistake in the wiring
        return self._connection


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        full = isinstance(error, apsw.FullError)
        raise ConsentryError(
            Reason.STORAGE_FULL if full else Reason.STORAGE_FAILED,
            f"the fold's temporary file cannot be written ({type(error).__name__}): free space in the folder for "
            "temporary files, or name another one in SQLITE_TMPDIR",
        ) from error
