"""What both SQLite stores need of a connection: its settings, and transactions that do not hide a full disk."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

BUSY_MILLISECONDS = 5_000


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
    """Commit or roll back.

    ``with connection`` would hide a full disk: SQLite has then rolled back by itself, and doing so again fails.
    """
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
