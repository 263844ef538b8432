"""The ledger store on one SQLite file: entries, tiles and projections in one transaction.

The file runs in WAL mode with ``synchronous=FULL``: a commit returns after its fsync. Checkpoints of the WAL run on
a connection and thread of their own, since automatic ones multiply the slowest commits' time by eight.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import structlog

from consentry_server.adapters.sqlite.connection import (
    BUSY_MILLISECONDS,
    DRIVER_ERRORS,
    configure,
    insert,
    select,
    storage_errors,
    transaction,
    translated,
    undone_on_error,
)
from consentry_server.adapters.sqlite.repair import repair_row
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.merkle import EMPTY_ROOT
from consentry_server.core.ledger.tiles import TILE_WIDTH, FullTile
from consentry_server.services.ports import Head, KnownRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from consentry_server.services.ports import Batch

T = TypeVar("T")

SCHEMA_VERSION = 1
SMALLEST_FILE_BYTES = 512
"""The least page size: https://www.sqlite.org/fileformat.html#pages"""
WAL_LIMIT_BYTES = 64 * 2**20
CHECKPOINT_SECONDS = 0.2
CHECKPOINT_BUSY_MILLISECONDS = 100
"""A checkpoint that waits for a reader holds the writer up: it gives way soon and comes again."""

_log = structlog.get_logger("sqlite")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SCHEMA = """
create table head (one integer primary key check (one = 1), size integer not null, root blob not null, frontier blob not null, time integer) strict;
create table entry (idx integer primary key, bytes blob not null, leaf blob not null) strict;
create table tile (level integer not null, number integer not null, root blob not null, hashes blob not null, primary key (level, number)) without rowid, strict;
create table record (kind text not null, key text not null, body blob not null, primary key (kind, key)) without rowid, strict;
create table chain (subject_ref text not null primary key, length integer not null, last integer not null) without rowid, strict;
create table reference (lookup blob not null primary key, subject_ref text not null) without rowid, strict;
create table request (key blob not null primary key, body blob not null, idx integer not null, time integer not null) without rowid, strict;
create index request_time on request (time);
create table sealed (record_id text not null primary key, body blob not null) strict;
create table document (sha256 text not null primary key, body blob not null) strict;
"""  # noqa: E501 - a table a line


_ENTRIES = """
select coalesce(group_concat(length(bytes)), ''), cast(coalesce(group_concat(cast(bytes as text), ''), '') as blob),
    coalesce(sum(typeof(bytes) <> 'blob'), 0)
from (select bytes from entry where idx >= ? and idx < ? order by idx)
"""
"""All in one row: the driver lets go of the interpreter at each row, and whoever reads many in the background would
stop the event loop as many times."""
_REQUESTS = "select key, body, idx, time from request where key in (?)"


class SqliteLedgerStore:
    """Implements ``services.ports.LedgerStore``.

    Args:
        path: The database file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: apsw.Connection | None = None
        self._readers = threading.local()
        self._open_readers: list[apsw.Connection] = []
        self._readers_lock = threading.Lock()
        self._stop = threading.Event()
        self._checkpointer: threading.Thread | None = None
        self._failure: Exception | None = None

    def open(self) -> Head:
        """See the port."""
        if self._path.exists() and 0 < self._path.stat().st_size < SMALLEST_FILE_BYTES:
            raise translated(apsw.NotADBError())  # SQLite would take it for an empty one and begin anew
        with storage_errors():
            writer = configure(apsw.Connection(str(self._path)), wal_autocheckpoint=0)
            version = writer.pragma("user_version")
            if version == 0:
                with transaction(writer):
                    if writer.execute("select count(*) from sqlite_schema").get:
                        raise ConsentryError(
                            Reason.DATA_DAMAGED,
                            f"{self._path.name} holds tables of something else, or is damaged: "
                            "stop, keep the files, restore from a backup",
                        )
                    writer.execute(_SCHEMA)
                    writer.execute("insert into head values (1, 0, ?, x'', null)", (EMPTY_ROOT,))
                    writer.pragma("user_version", SCHEMA_VERSION)
            elif version != SCHEMA_VERSION:
                raise ConsentryError(
                    Reason.CONFIGURATION_INVALID,
                    f"{self._path.name} has schema {version}, not {SCHEMA_VERSION}: use the build that wrote it",
                )
            self._writer = writer
            checkpoints = configure(apsw.Connection(str(self._path)), wal_autocheckpoint=0)
            checkpoints.set_busy_timeout(CHECKPOINT_BUSY_MILLISECONDS)
        self._checkpointer = threading.Thread(
            target=self._checkpoint_loop, args=(checkpoints,), name="wal-checkpoint", daemon=True
        )
        self._checkpointer.start()
        return self.fetch_head()

    def close(self) -> None:
        """See the port."""
        self._stop.set()
        if self._checkpointer is not None:
            self._checkpointer.join()
        with self._readers_lock:
            for reader in self._open_readers:
                reader.close()
            self._open_readers.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def stage(self, batch: Batch) -> None:
        """See the port."""
        with storage_errors(), undone_on_error(self._write):
            self._write.execute("begin immediate")
            self._put(batch)

    def commit(self) -> None:
        """See the port."""
        with storage_errors(), undone_on_error(self._write):
            self._write.execute("commit")

    def repair(self, rows: Iterable[tuple[str, str, bytes]], batch: Batch) -> None:
        """See ``services.ports_rebuild.Repairable``."""
        with storage_errors(), undone_on_error(self._write):
            self._write.execute("begin immediate")
            for kind, key, body in rows:
                repair_row(self._write, kind, key, body)
            self._put(batch)
            self._write.execute("commit")

    def read_record(self, kind: str, key: str) -> bytes | None:
        """See the port."""
        return _value(bytes, self._write, "select body from record where kind = ? and key = ?", (kind, key))

    def read_records(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """See the port."""
        try:
            for row in self._write.execute("select key, body from record where kind = ? order by key", (kind,)):
                key, body = of_types(row, str, bytes)
                yield key, body
        except DRIVER_ERRORS as error:
            raise translated(error) from error

    def read_chain(self, subject_ref: str) -> tuple[int, int] | None:
        """See the port."""
        return _chain(self._write, subject_ref)

    def read_reference(self, lookup: bytes) -> str | None:
        """See the port."""
        return _value(str, self._write, "select subject_ref from reference where lookup = ?", (lookup,))

    def read_requests(self, keys: Sequence[bytes]) -> dict[bytes, KnownRequest]:
        """See the port."""
        with storage_errors():
            rows = [of_types(row, bytes, bytes, int, int) for row in select(self._write, _REQUESTS, keys)]
        return {key: KnownRequest(body, index, from_integer(time)) for key, body, index, time in rows}

    def forget_requests(self, before: datetime) -> None:
        """See the port."""
        with storage_errors(), transaction(self._write):
            self._write.execute("delete from request where time < ?", (to_integer(before),))

    def forget_entries(self, before: int) -> None:
        """See the port. The pages that become free are used again by the next entries."""
        with storage_errors(), transaction(self._write):
            (first,) = _row(self._write, "select coalesce(min(idx), ?) from entry", (before,))
            self._write.execute("delete from entry where idx < ?", (before,))
            self._write.execute(
                "update tile set hashes = x'' where level = 0 and number >= ? and number < ?",
                (first // TILE_WIDTH, before // TILE_WIDTH),
            )

    def delete_sealed(self, record_ids: Sequence[str]) -> None:
        """See the port."""
        with storage_errors(), transaction(self._write):
            self._write.executemany("delete from sealed where record_id = ?", ((each,) for each in record_ids))
        self._truncate_wal()

    def replace_sealed(self, replacements: dict[str, bytes]) -> None:
        """See the port."""
        with storage_errors(), transaction(self._write):
            self._write.executemany(
                "update sealed set body = ? where record_id = ?",
                ((body, record_id) for record_id, body in replacements.items()),
            )
        self._truncate_wal()

    def fetch_head(self) -> Head:
        """See the port."""
        return to_head(_row(self._reader, "select size, root, frontier, time from head", ()))

    def fetch_first(self) -> int:
        """See the port."""
        (first,) = _row(self._reader, "select coalesce((select min(idx) from entry), size) from head", ())
        return int(first)

    def fetch_entry(self, index: int) -> bytes | None:
        """See the port."""
        return _value(bytes, self._reader, "select bytes from entry where idx = ?", (index,))

    def fetch_entries(self, first: int, count: int) -> list[bytes]:
        """See the port."""
        lengths, joined, foreign = _row(self._reader, _ENTRIES, (first, first + count))
        if foreign:
            raise _foreign_type()
        ends = list(accumulate(map(int, lengths.split(",")))) if lengths else []
        return [joined[start:end] for start, end in pairwise([0, *ends])]

    def fetch_leaves(self, first: int, count: int) -> list[bytes]:
        """See the port."""
        return _column(
            self._reader, "select leaf from entry where idx >= ? and idx < ? order by idx", first, first + count
        )

    def fetch_tile(self, level: int, number: int) -> FullTile | None:
        """See the port."""
        row = _row(self._reader, "select root, hashes from tile where level = ? and number = ?", (level, number))
        if row is None:
            return None
        root, hashes = of_types(row, bytes, bytes)
        return FullTile(level=level, number=number, root=root, hashes=hashes)

    def fetch_tile_roots(self, level: int, first: int, count: int) -> list[bytes]:
        """See the port."""
        statement = "select root from tile where level = ? and number >= ? and number < ? order by number"
        return _column(self._reader, statement, level, first, first + count)

    def fetch_sealed(self, record_id: str) -> bytes | None:
        """See the port."""
        return _value(bytes, self._reader, "select body from sealed where record_id = ?", (record_id,))

    def fetch_document(self, sha256: str) -> bytes | None:
        """See the port."""
        return _value(bytes, self._reader, "select body from document where sha256 = ?", (sha256,))

    def fetch_record(self, kind: str, key: str) -> bytes | None:
        """See the port."""
        return _value(bytes, self._reader, "select body from record where kind = ? and key = ?", (kind, key))

    def fetch_records(self, kind: str, after: str, count: int) -> list[tuple[str, bytes]]:
        """See the port."""
        statement = "select key, body from record where kind = ? and key > ? order by key limit ?"
        rows = [of_types(row, str, bytes) for row in _rows(self._reader, statement, (kind, after, count))]
        return [(key, body) for key, body in rows]

    def fetch_reference(self, lookup: bytes) -> str | None:
        """See the port."""
        return _value(str, self._reader, "select subject_ref from reference where lookup = ?", (lookup,))

    def fetch_chain(self, subject_ref: str) -> tuple[int, int] | None:
        """See the port."""
        return _chain(self._reader, subject_ref)

    def _put(self, batch: Batch) -> None:
        """Write a batch into the open transaction."""
        first = batch.head.size - len(batch.entries)
        head = batch.head
        writer = self._write
        insert(
            writer,
            "insert into entry values (?, ?, ?)",
            [(first + offset, data, leaf) for offset, (data, leaf) in enumerate(batch.entries)],
        )
        insert(
            writer,
            "insert into tile values (?, ?, ?, ?)",
            [(tile.level, tile.number, tile.root, tile.hashes) for tile in batch.tiles],
        )
        records = [(kind, key, body) for (kind, key), body in batch.records.items() if body is not None]
        insert(writer, "insert or replace into record values (?, ?, ?)", records)
        gone = [each for each, body in batch.records.items() if body is None]
        writer.executemany("delete from record where kind = ? and key = ?", gone)
        insert(
            writer,
            "insert or replace into chain values (?, ?, ?)",
            [(subject_ref, *chain) for subject_ref, chain in batch.chains.items()],
        )
        insert(writer, "insert into reference values (?, ?)", list(batch.references.items()))
        insert(
            writer,
            "insert or replace into request values (?, ?, ?, ?)",
            [(key, seen.body, seen.index, to_integer(seen.time)) for key, seen in batch.requests.items()],
        )
        insert(writer, "insert into sealed values (?, ?)", list(batch.sealed.items()))
        insert(writer, "insert or ignore into document values (?, ?)", list(batch.documents.items()))
        writer.execute(
            "update head set size = ?, root = ?, frontier = ?, time = ?",
            (head.size, head.root, b"".join(head.frontier), None if head.time is None else to_integer(head.time)),
        )

    @property
    def _write(self) -> apsw.Connection:
        if self._writer is None:
            raise ConsentryError(Reason.STORAGE_FAILED, "the ledger store is not open: start the server again")
        if self._failure is not None:
            raise ConsentryError(
                Reason.STORAGE_FAILED,
                f"the ledger's database file could not be written ({type(self._failure).__name__}): "
                "check the disk, then start the server again; what was acknowledged is safe in its log",
            ) from self._failure
        return self._writer

    @property
    def _reader(self) -> apsw.Connection:
        """This thread's own connection: reads never wait for the writer, nor the writer for them."""
        reader: apsw.Connection | None = getattr(self._readers, "connection", None)
        if reader is None:
            with storage_errors():
                reader = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
                reader.set_busy_timeout(BUSY_MILLISECONDS)
            self._readers.connection = reader
            with self._readers_lock:
                self._open_readers.append(reader)
        return reader

    def _checkpoint_loop(self, connection: apsw.Connection) -> None:
        """Move the WAL into the main file, until :meth:`close` or a failure, after which nothing more is written.

        What was acknowledged is in the WAL, synced, and stays there. But a main file that could not be written or
        synced must not be trusted from the cache: the writer stops, and the next start recovers from the disk.
        """
        wal = self._path.with_name(self._path.name + "-wal")
        while not self._stop.wait(CHECKPOINT_SECONDS):
            try:
                mode = apsw.SQLITE_CHECKPOINT_PASSIVE
                if wal.stat().st_size > WAL_LIMIT_BYTES:
                    mode = apsw.SQLITE_CHECKPOINT_RESTART
                connection.wal_checkpoint(mode=mode)
            except (apsw.BusyError, apsw.LockedError, apsw.FullError, FileNotFoundError):
                continue  # a reader is in the way, or the disk is full: the writer says so, and this comes again
            except (apsw.Error, OSError) as error:
                _log.exception("wal_checkpoint_failed")
                self._failure = error
                break
        connection.close(force=True)

    def _truncate_wal(self) -> None:
        """Leave no deleted ciphertext behind in the WAL; a reader in the way postpones that to the next checkpoint."""
        self._write.set_busy_timeout(CHECKPOINT_BUSY_MILLISECONDS)
        try:
            self._write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except (apsw.BusyError, apsw.LockedError):
            return
        except apsw.Error as error:
            raise translated(error) from error
        finally:
            self._write.set_busy_timeout(BUSY_MILLISECONDS)


def _rows(connection: apsw.Connection, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(statement, values).fetchall()
    except DRIVER_ERRORS as error:
        raise translated(error) from error


def _row(connection: apsw.Connection, statement: str, values: tuple[Any, ...]) -> Any:
    return next(iter(_rows(connection, statement, values)), None)


def _value(kind: type[T], connection: apsw.Connection, statement: str, values: tuple[Any, ...]) -> T | None:
    row = _row(connection, statement, values)
    if row is None or isinstance(row[0], kind):
        return None if row is None else row[0]
    raise _foreign_type()


def _foreign_type() -> ConsentryError:
    return ConsentryError(
        Reason.DATA_DAMAGED, "a value in the ledger's database has a foreign type: stop and restore from a backup"
    )


def _chain(connection: apsw.Connection, subject_ref: str) -> tuple[int, int] | None:
    row = _row(connection, "select length, last from chain where subject_ref = ?", (subject_ref,))
    if row is None:
        return None
    length, last = of_types(row, int, int)
    return length, last


def _column(connection: apsw.Connection, statement: str, *values: Any) -> list[bytes]:
    found = [row[0] for row in _rows(connection, statement, values)]
    if all(isinstance(value, bytes) for value in found):
        return found
    raise _foreign_type()


def of_types(row: tuple[Any, ...], *kinds: type | UnionType) -> tuple[Any, ...]:
    """Pass on a row as it was read, once each value has its type: a damaged page can hold anything.

    Raises:
        ConsentryError: ``DATA_DAMAGED``.
    """
    if all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True)):
        return row
    raise _foreign_type()


def to_head(row: tuple[Any, ...] | None) -> Head:
    """The head's row as a head.

    Args:
        row: Size, root, frontier and time as they were read; None where there is none.

    Returns:
        The head.

    Raises:
        ConsentryError: ``DATA_DAMAGED``: it cannot be one.
    """
    if row is None:
        raise ConsentryError(
            Reason.DATA_DAMAGED, "the ledger's database has no head: stop, keep the files, restore from a backup"
        )
    size, root, frontier, time = of_types(row, int, bytes, bytes, int | NoneType)
    parts = tuple(frontier[at : at + 32] for at in range(0, len(frontier), 32))
    return Head(size=size, root=root, frontier=parts, time=None if time is None else from_integer(time))


def to_integer(moment: datetime) -> int:
    """A time as the tables have it: microseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MICROSECOND


def from_integer(microseconds: int) -> datetime:
    """A time out of the tables.

    Raises:
        ConsentryError: ``DATA_DAMAGED``: no clock shows such a time.
    """
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise _foreign_type() from error
