"""What SQLite stores need of a connection: its settings, transactions that do not hide a full disk, errors in words."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import apsw

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BUSY_MILLISECONDS = 5_000
PIECES: Final = (128, 32, 8, 1)
"""Rows of one statement."""
DRIVER_ERRORS = (apsw.Error, UnicodeDecodeError)
"""What a read can raise: the driver decodes text itself, also text that a damaged page made up."""

_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.TooBigError, apsw.SQLError, UnicodeDecodeError)
"""Our statements and values are always the same: where SQLite finds them faulty, the schema or a page is."""


def configure(connection: apsw.Connection, **pragmas: str | int) -> apsw.Connection:
    """Make a connection durable.

    Args:
        connection: For writing.
        pragmas: Further settings.

    Returns:
        The connection, in WAL mode: its commits end with an fsync and its deletions overwrite.
    """
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    durable = {"journal_mode": "wal", "synchronous": "full", "secure_delete": "on", "temp_store": 2}
    for name, value in {**durable, **pragmas}.items():
        connection.pragma(name, value)
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Commit or roll back."""
    with undone_on_error(connection):
        connection.execute("begin immediate")
        yield
        connection.execute("commit")


@contextmanager
def undone_on_error(connection: apsw.Connection) -> Iterator[None]:
    """Leave no transaction open behind an error.

    ``with connection`` would hide a full disk: SQLite has then rolled back by itself, and doing so again fails.
    """
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def insert(connection: apsw.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement.

    The driver lets go of the interpreter at each statement, and a thread that computes keeps it for milliseconds.

    Args:
        connection: Within a transaction.
        statement: Ends with the parentheses of one row's values.
        rows: As many values each.
    """
    for first, last in _pieces(len(rows)):
        connection.execute(_widened(statement, last - first), tuple(chain.from_iterable(rows[first:last])))


def select(connection: apsw.Connection, statement: str, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """Read the rows of many keys.

    Args:
        connection: For reading.
        statement: Ends with ``in (?)``.
        keys: What to look for.
    """
    for first, last in _pieces(len(keys)):
        yield from connection.execute(_widened(statement, last - first, separator="?, "), tuple(keys[first:last]))


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    """Cut a number of rows into pieces of few sizes, so that few statements need preparing."""
    first = 0
    for size in PIECES:
        while count - first >= size:
            yield first, first + size
            first += size


@lru_cache(maxsize=256)
def _widened(statement: str, count: int, separator: str = "") -> str:
    """The statement for so many rows instead of one."""
    start = statement.rindex("(")
    one = statement[start:]
    if separator:
        return f"{statement[:start]}({separator * (count - 1)}?)"
    return f"{statement[:start]}{', '.join([one] * count)}"


def translated(error: apsw.Error | UnicodeDecodeError) -> ConsentryError:
    """What SQLite raised, as one of the three things that a caller can act on.

    Args:
        error: Raised by the ledger's database.

    Returns:
        ``STORAGE_FULL``, ``DATA_DAMAGED`` or ``STORAGE_FAILED``, to be raised from it.
    """
    if isinstance(error, apsw.FullError):
        return ConsentryError(
            Reason.STORAGE_FULL, "the ledger's disk is full: nothing was recorded; free space and try again"
        )
    if isinstance(error, _DAMAGE):
        return ConsentryError(
            Reason.DATA_DAMAGED, "the ledger's database is damaged: stop, keep the files, restore from a backup"
        )
    return ConsentryError(
        Reason.STORAGE_FAILED,
        f"the ledger's database failed ({type(error).__name__}): check the disk and start the server again",
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Translate what SQLite raises; see :func:`translated`."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error) from error
