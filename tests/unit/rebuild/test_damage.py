"""A damaged database gives a clear error at the start and at every read; nothing is taken for a new ledger."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from consentry_server.adapters.sqlite import store as stores
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Subject, Tenant
from consentry_server.core.record.fold import TENANT_KEY
from consentry_server.services.ledger import KINDS, LedgerState
from consentry_server.services.ports import Batch, Head
from tests.support.clocks import Clock
from tests.support.rebuild import rebuilt
from tests.support.stack import start

PAGE = 4096
CLEAR = {Reason.DATA_DAMAGED, Reason.STORAGE_FAILED}


def read_everything(database: Path) -> None:
    """Open the ledger as the server does, and read every row of every table, as the writer and as any thread."""
    store = SqliteLedgerStore(database)
    try:
        state = LedgerState(store)
        head = store.fetch_head()
        for first in range(0, head.size, 100):
            store.fetch_entries(first, 100)
            store.fetch_leaves(first, 100)
            store.fetch_entry(first)
        store.fetch_tile(0, 0)
        store.fetch_tile_roots(0, 0, 256)
        state.record(Tenant, TENANT_KEY)
        for kind, name in KINDS.items():
            for key, _body in [*store.read_records(name), *store.fetch_records(name, "", 1_000)]:
                store.fetch_record(name, key)
                state.record(kind, key)
                if kind is Subject:
                    store.fetch_chain(key)
                    store.read_chain(key)
        for number in range(256):
            store.read_reference(bytes([number]) * 32)
            store.fetch_reference(bytes([number]) * 32)
            store.read_requests([bytes([number]) * 32])
            store.fetch_sealed(f"sld_{number:x}")
            store.fetch_document(f"{number:x}")
    finally:
        store.close()


def fate(database: Path) -> Reason | None:
    """How reading everything ends; only what a caller can act on may be raised."""
    try:
        read_everything(database)
    except ConsentryError as error:
        assert error.reason in CLEAR, (error.reason, error.message)
        assert any(word in error.message for word in ("restore", "check the disk", "rebuild")), error.message
        return error.reason
    return None


def fold_fate(database: Path) -> Reason | None:
    try:
        rebuilt(database)
    except ConsentryError as error:
        assert error.reason in CLEAR, (error.reason, error.message)
        return error.reason
    return None


def test_a_sound_database_is_read_to_the_end(database: Path) -> None:
    assert fate(database) is None


@pytest.mark.parametrize("seed", range(2))
def test_bytes_turned_in_every_page(database: Path, seed: int) -> None:
    """In each page in turn, a few bytes in its header, its cell pointers or anywhere."""
    choice = random.Random(seed)
    sound = database.read_bytes()
    with closing(sqlite3.connect(database)) as connection:
        (documents,) = connection.execute("select sum(length(body)) from document").fetchone()
    found = 0
    for page in range(len(sound) // PAGE):
        spoiled = bytearray(sound)
        for _ in range(choice.randrange(1, 9)):
            offset = choice.choice([choice.randrange(12), choice.randrange(64), choice.randrange(PAGE)])
            spoiled[page * PAGE + offset] ^= choice.randrange(1, 256)
        database.write_bytes(spoiled)
        found += fate(database) is not None
        fold_fate(database)
        for left in database.parent.glob("ledger.db-*"):
            left.unlink()
    # SQLite has no checksums: a turned value is found by the fold alone, and one in a document by its hash
    assert found > (len(sound) - documents) // PAGE // 4


@pytest.mark.parametrize("keep", [1, 99, 100, 512, PAGE - 1, PAGE, PAGE + 1, 20 * PAGE, 50 * PAGE, -PAGE, -1])
def test_a_file_cut_short(database: Path, keep: int) -> None:
    sound = database.read_bytes()
    assert len(sound) > 51 * PAGE
    database.write_bytes(sound[:keep])
    before = database.read_bytes()
    assert fate(database) is not None
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [
        b"this is no database" * 1_000,
        bytes(64 * 1024),
        random.Random(1).randbytes(64 * 1024),
        b"SQLite format 3\x00" + random.Random(2).randbytes(64 * 1024),
    ],
    ids=["text", "zeros", "noise", "noise after the magic"],
)
def test_a_file_that_is_no_database(database: Path, data: bytes) -> None:
    database.write_bytes(data)
    assert fate(database) is not None
    assert fold_fate(database) is not None
    assert database.read_bytes() == data


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "ledger.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("create table theirs (x)")
    before = other.read_bytes()
    with pytest.raises(ConsentryError) as raised:
        SqliteLedgerStore(other).open()
    assert raised.value.reason is Reason.DATA_DAMAGED
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute("select name from sqlite_schema").fetchall() == [("theirs",)]
    assert len(before) == other.stat().st_size


@pytest.mark.parametrize("table", ["head", "entry", "tile", "record", "chain", "reference", "request", "sealed"])
def test_a_table_that_is_gone(database: Path, table: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"drop table {table}")
    assert fate(database) is Reason.DATA_DAMAGED


@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_no_new_ledger_is_made_in_place_of_a_lost_one(state: Path, database: Path, left: str) -> None:
    log = database.with_name("ledger.db-wal")
    database.unlink()
    log.write_bytes(b"what the server had not yet moved into the file")
    if left != "nothing":
        database.touch()

    async def serve() -> None:
        clock = Clock()
        clock.now = datetime.now(UTC)
        await start(state, clock, create=False)

    with pytest.raises(ConsentryError) as raised:
        asyncio.run(serve())
    assert raised.value.reason is Reason.DATA_DAMAGED
    assert "restore" in raised.value.message
    assert log.read_bytes().startswith(b"what the server")
    assert database.exists() == (left != "nothing")


@pytest.mark.parametrize("kind", ["tenant", "notice", "subject"])
def test_a_record_that_cannot_be_read_is_named(database: Path, kind: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("update record set body = x'7b227d' where kind = ?", (kind,))
    with pytest.raises(ConsentryError) as raised:
        read_everything(database)
    assert raised.value.reason is Reason.DATA_DAMAGED
    assert kind in raised.value.message
    assert "consentry audit rebuild" in raised.value.message


class _Faulty:
    """A connection whose checkpoints fail."""

    def __init__(self, connection: apsw.Connection, error: Exception) -> None:
        self._connection = connection
        self._error = error

    def wal_checkpoint(self, **_: object) -> None:
        raise self._error

    def close(self, *, force: bool) -> None:
        self._connection.close(force)


@pytest.mark.parametrize("error", [apsw.IOError("fsync failed"), apsw.CorruptError("bad page"), OSError(5, "no disk")])
def test_a_checkpoint_that_fails_stops_the_writer(
    database: Path, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a failed fsync nothing that the cache says is proven: nothing more is written, reads go on."""
    store = SqliteLedgerStore(database)
    head = store.open()
    thread = store._checkpointer
    assert thread is not None
    store._stop.set()
    thread.join()
    store._stop.clear()
    store._checkpoint_loop(_Faulty(apsw.Connection(str(database)), error))  # type: ignore[arg-type]
    with pytest.raises(ConsentryError) as raised:
        store.stage(Batch(Head(head.size, head.root, head.frontier, head.time)))
    assert raised.value.reason is Reason.STORAGE_FAILED
    assert "check the disk" in raised.value.message
    assert raised.value.__cause__ is error
    assert "wal_checkpoint_failed" in "".join(capsys.readouterr())
    assert store.fetch_head() == head
    store.close()


def test_a_checkpoint_in_a_reader_s_way_goes_on(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader, a full disk or no log yet is nothing to stop for: the loop ends only when the store closes."""
    monkeypatch.setattr(stores, "CHECKPOINT_SECONDS", 0)
    store = SqliteLedgerStore(database)
    head = store.open()
    assert store._checkpointer is not None
    store._stop.set()
    store._checkpointer.join()
    store._stop.clear()
    errors = [apsw.BusyError("x"), apsw.LockedError("x"), apsw.FullError("x"), FileNotFoundError("x")]

    class Turns(_Faulty):
        def wal_checkpoint(self, **_: object) -> None:
            if not errors:
                store._stop.set()
                return
            raise errors.pop()

    store._checkpoint_loop(Turns(apsw.Connection(str(database)), OSError()))  # type: ignore[arg-type]
    assert not errors
    store.stage(Batch(Head(head.size, head.root, head.frontier, head.time)))
    store.commit()
    store.close()


def test_the_same_file_again(database: Path, tmp_path: Path) -> None:
    """The control: a copy that nobody touched reads to the end, byte for byte as before."""
    copy = tmp_path / "ledger.db"
    shutil.copy(database, copy)
    assert fate(copy) is None
    assert rebuilt(copy).differences.total == 0
