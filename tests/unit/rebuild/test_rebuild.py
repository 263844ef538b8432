# ruff: noqa: S608 - every statement is of constants of this file
"""Every table that can be derived is compared with the fold, told in plain words where it differs, and put right."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.projections import SqliteProjections
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.merkle import Frontier, hash_leaf
from consentry_server.services import rebuild as rebuilding
from consentry_server.services.differences import LISTED, Difference, Differences
from consentry_server.services.folding import LedgerFold
from consentry_server.services.rebuild import Rebuild
from consentry_server.tenant import TenantFolders
from tests.support.clocks import Clock
from tests.support.rebuild import differences, opened, rebuilt
from tests.support.stack import face, start

Run = Callable[..., tuple[int, str, str]]

ONE_SUBJECT = "select key from record where kind = 'subject' and cast(body as text) like '%withdrawn_at%'"
ONE_WORD = "select min(record_id) from sealed where record_id like 'sld_%'"
ONE_REQUEST = "select min(key) from request"
ONE_DOCUMENT = "select min(sha256) from document"
REPAIRABLE = {
    "a record is lost": (f"delete from record where kind = 'subject' and key = ({ONE_SUBJECT})", "subject"),
    "a record is not a person's": (
        "insert into record values ('subject', 'sub_nobody', cast('{\"subject_ref\":\"sub_nobody\"}' as blob))",
        "subject",
    ),
    "a withdrawal is undone": (
        (
            "update record set body = cast(replace(cast(body as text), 'withdrawn_at', 'withdrawn_no') as blob)"
            " where kind = 'subject'"
        ),
        "subject",
    ),
    "a record cannot be read": ("update record set body = x'7b22' where kind = 'photo'", "photo"),
    "a record is not a fact": ("update record set body = cast('[1]' as blob) where kind = 'identifier'", "identifier"),
    "the tenant's record is lost": ("delete from record where kind = 'tenant'", "tenant"),
    "a notice is lost": ("delete from record where kind = 'notice' and key like 'tagging%'", "notice"),
    "a destruction is undone": (
        (
            "update record set body = cast(replace(cast(body as text), 'COMPLETED', 'REQUESTED') as blob)"
            " where kind = 'destruction'"
        ),
        "destruction",
    ),
    "every record is lost": ("delete from record", "subject"),
    "a chain is lost": ("delete from chain where subject_ref = (select min(subject_ref) from chain)", "chain"),
    "a chain is longer": ("update chain set length = length + 1", "chain"),
    "a chain is nobody's": ("insert into chain values ('sub_nobody', 1, 1)", "chain"),
    "a leaf hash is another": ("update entry set leaf = zeroblob(32) where idx = 7", "leaf"),
    "a tile is lost": ("delete from tile", "tile"),
    "a tile has other hashes": ("update tile set hashes = zeroblob(8192)", "tile"),
    "a tile is too many": ("insert into tile values (0, 1, zeroblob(32), zeroblob(8192))", "tile"),
    "a request was answered later": (
        f"update request set idx = 100000 where key = ({ONE_REQUEST})",
        "request",
    ),
    "a request was answered elsewhere": (
        f"update request set idx = 3 where key = ({ONE_REQUEST})",
        "request",
    ),
}
LOST = {
    "a document is lost": ("delete from document", "document"),
    "a document has other bytes": (f"update document set body = x'00' where sha256 = ({ONE_DOCUMENT})", "document"),
    "a document is nobody's": ("insert into document values ('00', x'00')", "document"),
    "sealed words are lost": (f"delete from sealed where record_id = ({ONE_WORD})", "sealed"),
    "sealed words have other bytes": (
        f"update sealed set body = x'00' where record_id = ({ONE_WORD})",
        "sealed",
    ),
    "a template is lost": ("delete from sealed where substr(record_id, 1, 4) not in ('sld_', 'pho_')", "sealed"),
    "a ciphertext is nobody's": ("insert into sealed values ('sld_nobody', x'00')", "sealed"),
    "a kind of record is unknown": ("insert into record values ('gadget', 'x', x'00')", "record"),
}


def spoil(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_what_was_lived_is_what_is_folded(state: Path, run: Run, database: Path) -> None:
    code, out, _ = run("audit", "rebuild", state, "--check")
    assert (code, "every table is what the ledger says" in out) == (0, True)
    found = rebuilt(database)
    rows = {table.name: table.rows for table in found.tables}
    assert rows["leaf hashes"] == found.head.size > 256
    assert rows["hash tiles"] == 1
    assert all(
        rows[f"records: {kind}"] for kind in ("subject", "photo", "identifier", "notice", "destruction", "tenant")
    )
    assert rows["request ids"] > 100
    assert rows["sealed evidence"] > 5
    assert rows["documents"] > 3


@pytest.mark.parametrize("what", REPAIRABLE)
def test_what_differs_is_found_and_put_right(state: Path, run: Run, database: Path, what: str) -> None:
    statement, kind = REPAIRABLE[what]
    spoil(database, statement)
    code, out, _ = run("audit", "rebuild", state)
    assert code == 5
    assert f"  {kind} " in out
    assert "the table says" in out
    before = rebuilt(database)
    assert before.differences.repairable[kind] > 0
    code, out, err = run("audit", "rebuild", state, "--write")
    assert (code, "were put right" in out) == (0, True), (out, err)
    after = rebuilt(database)
    assert after.differences.total == 0
    assert after.head.size == before.head.size + 1
    with opened(database) as (projections, _):
        entry = decode(projections.entries(before.head.size, 1)[0][0])
    assert entry["type"] == "projections.rebuilt"
    assert entry["repaired"] == dict(before.differences.repairable)
    assert entry["differences_sha256"] == before.differences.sha256
    asyncio.run(_serve_again(state))


async def _serve_again(state: Path) -> None:
    clock = Clock()
    clock.now = datetime.now(UTC)
    stack = await start(state, clock, create=False)
    await stack.check(face("bo"), sha256=b"\x03" * 32)
    await stack.running.aclose()
    assert differences(stack.running.folders.ledger) == []


@pytest.mark.parametrize("what", LOST)
def test_what_the_ledger_cannot_give_back_is_said(state: Path, run: Run, database: Path, what: str) -> None:
    statement, kind = LOST[what]
    spoil(database, statement)
    code, out, _ = run("audit", "rebuild", state)
    assert code == 5
    assert f"  {kind} " in out
    code, out, _ = run("audit", "rebuild", state, "--write")
    assert (code, "the ledger cannot give them back" in out) == (5, True)
    assert rebuilt(database).differences.lost[kind] > 0


def test_ciphertext_that_came_back_after_its_destruction_is_found(state: Path, run: Run, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (body,) = connection.execute("select body from record where kind = 'destruction'").fetchone()
    target = orjson.loads(body)["targets"][0]["record_id"]
    spoil(database, f"insert into sealed values ('{target}', x'00')")
    code, out, _ = run("audit", "rebuild", state)
    assert code == 5
    assert f"sealed {target}" in out
    assert "it was destroyed" in out


def test_the_words_name_the_field_and_both_values(database: Path) -> None:
    spoil(database, REPAIRABLE["a withdrawal is undone"][0])
    (told,) = differences(database)
    assert "releases[0].withdrawn_at is not set" in told
    assert 'releases[0].withdrawn_at "2025-01-06T09:00:00.000000Z"' in told


def test_a_default_that_is_written_out_is_no_difference(database: Path) -> None:
    spoil(
        database,
        "update record set body = cast(replace(cast(body as text), '{', '{\"key_generation\":0,') as blob)"
        " where kind = 'subject' and cast(body as text) not like '%key_generation%'"
        " and cast(body as text) not like '%releases%'",
    )
    assert differences(database) == []


def test_entries_that_were_changed_are_no_ledger(state: Path, run: Run, database: Path) -> None:
    denied = "select max(idx) from entry where idx <= 290 and cast(bytes as text) like '%DENY%'"
    spoil(database, f"update entry set bytes = cast(replace(bytes, 'DENY', 'DENI') as blob) where idx = ({denied})")
    before = database.read_bytes()
    for option in ("--check", "--write"):
        code, _, err = run("audit", "rebuild", state, option)
        assert code == 5
        assert "not the ones that were published" in " ".join(err.split())
    assert database.read_bytes() == before


def test_an_entry_that_is_gone_is_named(state: Path, run: Run, database: Path) -> None:
    spoil(database, "delete from entry where idx = 123")
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "entry 123" in err) == (5, True)


def test_a_head_that_was_changed_is_refused(state: Path, run: Run, database: Path) -> None:
    spoil(database, "update head set root = zeroblob(32)")
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "do not hash to the stored root" in " ".join(err.split())) == (5, True)


def test_an_older_copy_is_not_written_to(state: Path, run: Run, database: Path) -> None:
    older = state.parent / "older.db"
    shutil.copy(database, older)
    asyncio.run(_serve_again(state))
    shutil.copy(older, database)
    spoil(database, "delete from chain")
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "older copy" in " ".join(err.split())) == (5, True)


@pytest.mark.parametrize("missing", ["lock", "key"])
def test_nothing_is_written_without_the_published_checkpoint(
    state: Path, run: Run, database: Path, missing: str
) -> None:
    folders = TenantFolders(state, "acme")
    (folders.lock / "checkpoint" if missing == "lock" else folders.published_key).unlink()
    spoil(database, "delete from chain")
    assert run("audit", "rebuild", state, "--check")[0] == 5
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "put it back" in " ".join(err.split())) == (4, True)
    assert rebuilt(database).differences.total > 0


def test_two_writers_never_run(state: Path, run: Run, database: Path) -> None:
    spoil(database, "delete from chain")
    lock = FileLockRecord(TenantFolders(state, "acme").lock)
    lock.hold()
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "another process serves this ledger" in err) == (1, True)
    assert rebuilt(database).differences.total > 0
    lock.release()
    assert run("audit", "rebuild", state, "--write")[0] == 0


def test_a_clock_that_is_behind_writes_nothing(
    state: Path, run: Run, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(database, "delete from chain")
    monkeypatch.setattr("consentry_server.cli_rebuild.now", lambda: datetime(2024, 1, 1, tzinfo=UTC))
    code, _, err = run("audit", "rebuild", state, "--write")
    assert (code, "clock" in err) == (3, True)
    assert rebuilt(database).differences.total > 0


def test_nothing_to_write_writes_nothing(state: Path, run: Run, database: Path) -> None:
    before = rebuilt(database).head
    code, out, _ = run("audit", "rebuild", state, "--write")
    assert (code, "every table is what the ledger says" in out) == (0, True)
    assert rebuilt(database).head == before


def test_a_failed_repair_changes_nothing(state: Path, run: Run, database: Path) -> None:
    spoil(database, "delete from chain")
    spoil(database, "insert into request values (x'00', x'00', 1, 1)")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create trigger full before update on head begin select raise(abort, 'no'); end")
    before = rebuilt(database)
    assert run("audit", "rebuild", state, "--write")[0] == 1
    after = rebuilt(database)
    assert (after.head, after.differences.sha256) == (before.head, before.differences.sha256)


def test_no_ledger_there(state: Path, run: Run, database: Path) -> None:
    database.unlink()
    code, _, err = run("audit", "rebuild", state)
    assert (code, "does not exist" in " ".join(err.split())) == (4, True)
    assert run("audit", "rebuild", state, "--tenant", "other")[0] == 2


async def test_a_check_beside_the_running_service_sees_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is written between the fold and the comparison, the two are of one size."""
    monkeypatch.setattr(rebuilding, "FREEZE_WITHIN", 5)
    stack = await start(tmp_path, Clock())
    await stack.policy()
    await stack.notice()
    for person in range(20):
        await stack.consent(f"person-{person}")
    loop = asyncio.get_running_loop()
    moments: list[str] = []

    def meanwhile(doing: str) -> None:
        moments.append(doing)
        asyncio.run_coroutine_threadsafe(stack.consent(f"later-{len(moments)}"), loop).result()
        asyncio.run_coroutine_threadsafe(stack.deliver("person-1"), loop).result()

    class Watched(SqliteProjections):
        def freeze(self) -> None:
            meanwhile("before")
            super().freeze()
            meanwhile("after")

    def check() -> tuple[int, int]:
        with opened(stack.running.folders.ledger) as (_, shelf):
            watched = Watched(stack.running.folders.ledger)
            watched.open()
            found = Rebuild(watched, shelf, published=None, progress=lambda doing, *_: meanwhile(doing)).run()
            watched.close()
        return found.head.size, found.differences.total

    size, total = await asyncio.to_thread(check)
    assert {"folding", "before", "after"} <= set(moments)
    assert total == 0
    assert stack.tenant.sequencer.store.fetch_head().size > size
    await stack.running.aclose()
    assert differences(stack.running.folders.ledger) == []


def test_little_memory_gives_the_same_fold(database: Path) -> None:
    """With room for three records, everything is put away and taken up again, and nothing is forgotten."""
    with opened(database) as (projections, shelf), opened(database) as (_, other):
        small, large = LedgerFold(shelf, held=3), LedgerFold(other)
        for data, _leaf in projections.entries(0, projections.head().size):
            small.take(data)
            large.take(data)
        small.flush()
        large.flush()
        for kind in (
            "tenant",
            "subject",
            "photo",
            "identifier",
            "notice",
            "destruction",
            "chain",
            "sealed",
            "document",
        ):
            rows = list(shelf.rows(kind))
            assert rows == list(other.rows(kind))
            assert rows
            assert shelf.count(kind) == len(rows)


def test_no_room_for_the_fold_is_said(database: Path) -> None:
    with opened(database) as (projections, shelf):
        shelf._made.pragma("max_page_count", 4)
        with pytest.raises(ConsentryError) as raised:
            Rebuild(projections, shelf, published=None, progress=lambda _doing, _done, _total: None).run()
    assert raised.value.reason is Reason.STORAGE_FULL
    assert "SQLITE_TMPDIR" in raised.value.message


def test_many_differences_are_counted_and_the_first_are_kept() -> None:
    found, same = Differences(), Differences()
    for number in range(LISTED + 5):
        one = Difference("chain", str(number), "a", "b", repairable=number % 2 == 0)
        found.add(one)
        same.add(one)
    assert (found.total, len(found.listed)) == (LISTED + 5, LISTED)
    assert found.repairable["chain"] + found.lost["chain"] == found.total
    assert found.sha256 == same.sha256
    same.add(Difference("chain", "x", "a", "b"))
    assert found.sha256 != same.sha256


def test_the_root_of_the_repaired_ledger_is_that_of_its_entries(state: Path, run: Run, database: Path) -> None:
    spoil(database, "delete from record")
    assert run("audit", "rebuild", state, "--write")[0] == 0
    frontier = Frontier()
    with opened(database) as (projections, _):
        head = projections.head()
        for data, leaf in projections.entries(0, head.size + 10):
            frontier.append(hash_leaf(data))
            assert hash_leaf(data) == leaf
    assert (frontier.size, frontier.root(), frontier.hashes) == (head.size, head.root, head.frontier)
