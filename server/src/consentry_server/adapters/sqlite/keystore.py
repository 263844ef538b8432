"""The key store: wrapped keys in a SQLite file of their own, apart from all data.

What makes a deletion real here: ``secure_delete`` overwrites the freed cells, and a TRUNCATE checkpoint then moves that
into the main file and cuts the write-ahead log to nothing, so that neither holds the wrapped bytes. Copies that a file
system, a snapshot or a backup made earlier die with the epoch's KEK.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import apsw

from consentry_server.adapters.sqlite.connection import configure, transaction
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.ports_vault import KeyDeletion, StoredKey, StoredSecret

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x436E4B31  # "CnK1": tells `file` and us that this is a key store
_OWNERS_AT_ONCE: Final = 1_000
_SCHEMA: Final = """
create table about (tenant text not null) strict;
create table dek (
    dek_id text primary key,
    class text not null,
    owner text not null,
    epoch integer not null,
    wrapped blob not null,
    created text not null,
    unique (class, owner)
) strict, without rowid;
create index dek_epoch on dek (epoch);
create table secret (
    name text primary key,
    epoch integer not null,
    wrapped blob not null,
    created text not null
) strict, without rowid;
"""


class SqliteKeyStore:
    """The key store in SQLite; see ``services.ports_vault.KeyStore`` for what it guarantees.

    Args:
        path: ``keys.db``; made readable by its owner alone.
        tenant: Whose keys they are; a store of another tenant is refused.
    """

    def __init__(self, path: Path, tenant: str) -> None:
        self._path = path
        self._tenant = tenant
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None

    def open(self, *, create: bool) -> None:
        """Open the store, or make a new one where there is none and ``create`` is said."""
        missing = not self._path.exists()
        if missing and not create:
            raise _unavailable(
                f"the key store {self._path} is missing: restore the newest one; without it nothing opens"
            )
        with self._lock, _translated(self._path):
            if missing:
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                configure(connection)
                if missing or _is_blank(connection):
                    self._create(connection, allowed=create)
                self._check(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def close(self) -> None:
        """Empty the write-ahead log and release the files."""
        with self._lock, _translated(self._path):
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def find(self, record_class: RecordClass, owner: str) -> StoredKey | None:
        """Return the DEK of a class and owner, or None."""
        return self._one_key("select * from dek where class = ? and owner = ?", (record_class.value, owner))

    def get(self, dek_id: str) -> StoredKey | None:
        """Return a DEK by its id, or None."""
        return self._one_key("select * from dek where dek_id = ?", (dek_id,))

    def owners(self, record_class: RecordClass, after: str, count: int) -> list[tuple[str, str, datetime]]:
        """Return up to ``count`` owners of DEKs of a class beyond ``after``, with the DEK's id and time."""
        query = "select owner, dek_id, created from dek where class = ? and owner > ? order by owner limit ?"
        with self._using() as connection:
            rows: list[Any] = connection.execute(query, (record_class.value, after, count)).fetchall()
        return [(owner, dek_id, _time(created)) for owner, dek_id, created in rows]

    def add(self, key: StoredKey) -> StoredKey:
        """Keep a new DEK durably and return it, or the one that the class and owner already have."""
        row = (key.dek_id, key.record_class.value, key.owner, key.epoch, key.wrapped, _stamp(key.created))
        with self._using() as connection:
            with transaction(connection):
                connection.execute(
                    "insert into dek values (?, ?, ?, ?, ?, ?) on conflict (class, owner) do nothing", row
                )
            return _key(connection.execute("select * from dek where class = ? and owner = ?", row[1:3]).get)

    def delete(self, dek_ids: Sequence[str]) -> KeyDeletion:
        """Delete DEKs durably, overwrite their bytes and verify by reading."""
        wanted = [(dek_id,) for dek_id in dict.fromkeys(dek_ids)]
        with self._using() as connection:
            with transaction(connection):
                deleted = tuple(
                    dek_id
                    for one in wanted
                    for (dek_id,) in connection.execute("delete from dek where dek_id = ? returning dek_id", one)
                )
            emptied = _purge(connection, self._path)
            absent = not any(connection.execute("select 1 from dek where dek_id = ?", one).get for one in wanted)
        return KeyDeletion(deleted=deleted, absent=absent, journal_emptied=emptied)

    def purge(self) -> bool:
        """Empty the write-ahead log; True when it is empty."""
        with self._using() as connection:
            return _purge(connection, self._path)

    def count_by_epoch(self) -> dict[int, int]:
        """Return how many keys, secrets included, are wrapped under each epoch."""
        query = "select epoch, count(*) from (select epoch from dek union all select epoch from secret) group by epoch"
        with self._using() as connection:
            return dict(connection.execute(query))

    def secret(self, name: str) -> StoredSecret | None:
        """Return a tenant key by its name, or None."""
        with self._using() as connection:
            row: Any = connection.execute(
                "select name, epoch, wrapped, created from secret where name = ?", (name,)
            ).get
        return None if row is None else StoredSecret(row[0], row[1], row[2], _time(row[3]))

    def add_secret(self, secret: StoredSecret) -> StoredSecret:
        """Keep a new tenant key durably and return it, or the one of that name that is there already."""
        row = (secret.name, secret.epoch, secret.wrapped, _stamp(secret.created))
        with self._using() as connection, transaction(connection):
            connection.execute("insert into secret values (?, ?, ?, ?) on conflict do nothing", row)
            found: Any = connection.execute(
                "select name, epoch, wrapped, created from secret where name = ?", row[:1]
            ).get
        return StoredSecret(found[0], found[1], found[2], _time(found[3]))

    def replace_secret(self, name: str, successor: str) -> None:
        """Give a tenant key another's name, durably, and overwrite the other."""
        with self._using() as connection:
            with transaction(connection):
                if connection.execute("select 1 from secret where name = ?", (successor,)).get is None:
                    raise _unavailable(f"the key store {self._path} has no {successor} key: restore the newest one")
                connection.execute("delete from secret where name = ?", (name,))
                connection.execute("update secret set name = ? where name = ?", (name, successor))
            _purge(connection, self._path)

    def _one_key(self, query: str, values: tuple[str, ...]) -> StoredKey | None:
        with self._using() as connection:
            row = connection.execute(query, values).get
        return None if row is None else _key(row)

    @contextmanager
    def _using(self) -> Iterator[apsw.Connection]:
        with self._lock, _translated(self._path):
            if self._connection is None:
                raise _unavailable("the key store is not open")
            yield self._connection

    def _create(self, connection: apsw.Connection, *, allowed: bool) -> None:
        if not allowed:
            raise _unavailable(f"the key store {self._path} is empty: restore the newest one; without it nothing opens")
        with transaction(connection):
            connection.execute(_SCHEMA)
            connection.execute("insert into about values (?)", (self._tenant,))
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", SCHEMA_VERSION)
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)  # the new file's name, too, survives a power cut
        finally:
            os.close(handle)

    def _check(self, connection: apsw.Connection) -> None:
        if connection.pragma("application_id") != APPLICATION_ID:
            raise _unavailable(f"{self._path} is no key store: restore the newest one")
        if connection.pragma("user_version") != SCHEMA_VERSION:
            raise _unavailable(f"the key store {self._path} is of another version: use the release that made it")
        if connection.execute("select tenant from about").get != self._tenant:
            raise _unavailable(f"the key store {self._path} belongs to another tenant: restore this tenant's own")


def _is_blank(connection: apsw.Connection) -> bool:
    """Whether a crash came between making the file and filling it."""
    return not connection.execute("select count(*) from sqlite_schema").get


def _purge(connection: apsw.Connection, path: Path) -> bool:
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except (apsw.BusyError, apsw.LockedError):  # a reader or a backup is under way; what was deleted stays deleted
        return False
    journal = path.with_name(path.name + "-wal")
    return not journal.exists() or journal.stat().st_size == 0


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours, with the remedy."""
    try:
        yield
    except (apsw.FullError, apsw.TooBigError) as error:
        raise ConsentryError(Reason.STORAGE_FULL, f"the disk of the key store {path} is full: free space") from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise _unavailable(f"the key store {path} is damaged: restore the newest one") from error
    except (apsw.Error, OSError) as error:
        raise ConsentryError(Reason.STORAGE_FAILED, f"the key store {path} cannot be used: check its disk") from error


def _unavailable(message: str) -> ConsentryError:
    return ConsentryError(Reason.KEYS_UNAVAILABLE, message)


def _key(row: Any) -> StoredKey:
    dek_id, record_class, owner, epoch, wrapped, created = row
    return StoredKey(dek_id, RecordClass(record_class), owner, epoch, wrapped, _time(created))


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
