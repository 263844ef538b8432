"""What both SQLite stores need of a connection: its settings, and transactions that do not hide a full disk."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

BUSY_MILLISECONDS = 5_000
PIECES: Final = (128, 32, 8, 1)
"""Rows of one statement."""


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
