"""What a cut-off upload left is told and removed; what the ledger holds is never touched, and missed when gone."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.core.ledger.entry import decode
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.ports_vault import StoredKey
from consentry_server.tenant import TenantFolders
from tests.support.rebuild import opened

Run = Callable[..., tuple[int, str, str]]
OLD, YOUNG = timedelta(hours=25), timedelta(hours=23)
ORPHAN = "pho_orphan"


def leave(state: Path, age: timedelta, photo_id: str = ORPHAN) -> Path:
    """A blob and its key, as a crash between upload and record leaves them."""
    folders = TenantFolders(state, "acme")
    blob = folders.data / "blobs" / "photos" / photo_id[-2:] / photo_id
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"ciphertext")
    moment = time.time() - age.total_seconds()
    os.utime(blob, (moment, moment))
    keys = SqliteKeyStore(folders.key_store, "acme")
    keys.open(create=False)
    created = datetime.now(UTC) - age
    keys.add(StoredKey(f"dek_of_{photo_id}", RecordClass.PHOTO, photo_id, 1, bytes(40), created))
    keys.close()
    return blob


def photo_keys(state: Path) -> set[str]:
    with closing(sqlite3.connect(TenantFolders(state, "acme").key_store)) as connection:
        return {owner for (owner,) in connection.execute("select owner from dek where class = 'PHOTO'")}


def the_photo(state: Path) -> Path:
    (found,) = (TenantFolders(state, "acme").data / "blobs" / "photos").rglob("pho_*")
    return found


def test_an_upload_that_was_cut_off_is_told_and_removed(state: Path, run: Run, database: Path) -> None:
    held = the_photo(state)
    blob = leave(state, OLD)
    code, out, _ = run("audit", "rebuild", state)
    assert code == 5
    assert f"blob {ORPHAN}: the table says it is there; the ledger says no entry names it" in out
    assert f"key {ORPHAN}: the table says it is there; the ledger says no entry names it" in out
    assert blob.exists()
    assert ORPHAN in photo_keys(state)
    code, out, err = run("audit", "rebuild", state, "--write")
    assert code == 0, (out, err)
    assert not blob.exists()
    assert photo_keys(state) == {held.name}
    assert held.exists()
    with opened(database) as (projections, _):
        size = projections.head().size
        entry = decode(projections.entries(size - 1, 1)[0][0])
    assert (entry["type"], entry["repaired"]) == ("projections.rebuilt", {"blob": 1, "key": 1})
    assert run("audit", "rebuild", state)[0] == 0


def test_an_upload_that_may_be_under_way_is_left_alone(state: Path, run: Run) -> None:
    blob = leave(state, YOUNG)
    for option in ("--check", "--write"):
        assert run("audit", "rebuild", state, option)[0] == 0
    assert blob.exists()
    assert ORPHAN in photo_keys(state)


def test_a_record_lost_from_its_table_costs_no_photo(state: Path, run: Run, database: Path) -> None:
    """The ledger says what is held, not the table that was damaged."""
    photo = the_photo(state)
    moment = time.time() - OLD.total_seconds()
    os.utime(photo, (moment, moment))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("delete from record")
    with closing(sqlite3.connect(TenantFolders(state, "acme").key_store)) as connection, connection:
        connection.execute("update dek set created = '2020-01-01T00:00:00+00:00'")
    assert run("audit", "rebuild", state, "--write")[0] == 0
    assert photo.exists()
    assert photo_keys(state) == {photo.name}


@pytest.mark.parametrize("what", ["bytes", "key"])
def test_a_photo_that_is_gone_is_missed(state: Path, run: Run, what: str) -> None:
    photo = the_photo(state)
    if what == "bytes":
        photo.unlink()
    else:
        with closing(sqlite3.connect(TenantFolders(state, "acme").key_store)) as connection, connection:
            connection.execute("delete from dek where class = 'PHOTO'")
    code, out, _ = run("audit", "rebuild", state)
    assert code == 5
    kind = "blob" if what == "bytes" else "key"
    assert f"{kind} {photo.name}: the table says it is not there; the ledger says it is held: restore" in out
    code, out, _ = run("audit", "rebuild", state, "--write")
    assert (code, "the ledger cannot give them back" in out) == (5, True)


def test_another_key_for_a_photo_is_told(state: Path, run: Run) -> None:
    with closing(sqlite3.connect(TenantFolders(state, "acme").key_store)) as connection, connection:
        connection.execute("update dek set dek_id = 'dek_another' where class = 'PHOTO'")
    code, out, _ = run("audit", "rebuild", state)
    assert (code, "it is dek_another" in out) == (5, True)


def test_an_upload_s_staged_bytes_stay_beside_a_running_server(state: Path, run: Run) -> None:
    staged = TenantFolders(state, "acme").data / "blobs" / "staging" / "photos.x7.pho_x7.00"
    staged.write_bytes(b"half an upload")
    assert run("audit", "rebuild", state, "--check")[0] == 0
    assert staged.exists()
