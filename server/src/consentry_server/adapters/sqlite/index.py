"""Packed stretches of the index in an SQLite file of their own, ``index.db``: it may be deleted at any time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import apsw

from consentry_server.adapters.sqlite.connection import BUSY_MILLISECONDS, transaction
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA_VERSION = 2
"""2: releases are found by their notice version. An index of another schema is made anew."""

_SCHEMA = """
create table stretch (number integer primary key, ledger text not null, root blob not null) strict;
create table blob (place integer primary key, bytes blob not null) strict;
"""
_PLACES = 256
"""A blob's place is its stretch's number times this, plus its own."""


class SqliteIndexStore:
    """Implements ``services.index.IndexStore``. Its caller sees to it that one thread uses it at a time.

    Args:
        path: The database file; its folder must exist.
        writable: False leaves the file as it is: for reading beside a server that writes it.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self._path = path
        self._writable = writable
        self._connection: apsw.Connection | None = None

    def load(self) -> tuple[int, str, bytes]:
        """See the port."""
        if not self._writable and not self._path.is_file():
            return 0, "", b""
        try:
            rows = self._open().execute("select number, ledger, root from stretch order by number").fetchall()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise _damaged(error) from error
        if not rows:
            return 0, "", b""
        numbers, _ledgers, roots = zip(*rows, strict=True)
        if numbers != tuple(range(len(rows))) or not isinstance(roots[-1], bytes):
            raise ConsentryError(Reason.DATA_DAMAGED, "the index has gaps")
        return len(rows), str(rows[-1][1]), roots[-1]

    def read(self, number: int, blob: int) -> bytes | None:
        """See the port."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute(
                "select bytes from blob where place = ?", (number * _PLACES + blob,)
            ).fetchone()
        except (apsw.Error, UnicodeDecodeError) as error:
            raise _damaged(error) from error
        return row[0] if row is not None and isinstance(row[0], bytes) else None

    def write(self, number: int, blobs: Sequence[bytes], ledger: str, root: bytes) -> None:
        """See the port."""
        try:
            connection = self._open()
            with transaction(connection):
                connection.executemany(
                    "insert or replace into blob values (?, ?)",
                    ((number * _PLACES + place, blob) for place, blob in enumerate(blobs)),
                )
                connection.execute("insert or replace into stretch values (?, ?, ?)", (number, ledger, root))
        except apsw.FullError as error:
            raise ConsentryError(Reason.STORAGE_FULL, "the disk is full: the index stays behind; free space") from error
        except apsw.Error as error:
            raise ConsentryError(
                Reason.STORAGE_FAILED, f"the index cannot be written ({type(error).__name__}): check the disk"
            ) from error

    def clear(self) -> None:
        """See the port."""
        self.close()
        if self._writable:
            for suffix in ("", "-wal", "-shm", "-journal"):
                with suppress(OSError):  # what stays is written over, and is not read before
                    self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """See the port."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            flags = (
                apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if self._writable else apsw.SQLITE_OPEN_READONLY
            )
            connection = apsw.Connection(str(self._path), flags=flags)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _prepare(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(BUSY_MILLISECONDS)
        version = connection.pragma("user_version")
        if version == 0 and self._writable:
            # what is lost in a power cut is noticed and made anew: no fsync at each commit
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "normal")
            with transaction(connection):
                connection.execute(_SCHEMA)
                connection.pragma("user_version", SCHEMA_VERSION)
        elif version != SCHEMA_VERSION:
            raise ConsentryError(Reason.DATA_DAMAGED, f"the index has schema {version}, not {SCHEMA_VERSION}")
        elif self._writable:
            connection.pragma("synchronous", "normal")


def _damaged(error: Exception) -> ConsentryError:
    return ConsentryError(Reason.DATA_DAMAGED, f"the index cannot be read ({type(error).__name__})")
