"""A start that must not serve: the real command says what happened and what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server import config
from consentry_server.core.ledger.checkpoint import Checkpoint, sign
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.tenant import RunningTenant, TenantFolders
from tests.support.server import MODULE, Server, init, serving


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "state"
    init(folder, "acme")
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    """A state folder of the test's own."""
    return Path(shutil.copytree(made, tmp_path / "state"))


def serve_once(state: Path) -> None:
    with serving(state) as server:
        assert server.stop() == 0


def refused(state: Path, code: int, *said: str) -> None:
    """Serve; it must not come up, must say so in one sentence, and must leave what is there alone."""
    before = contents(state)
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "serve", str(state), "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "CONSENTRY_LOG__LEVEL": "error"},
    )  # fmt: skip
    message = done.stderr.replace("\n", " ")
    assert done.returncode == code, message
    assert [part for part in said if part not in message] == [], message
    assert "Traceback" not in message
    assert "answers on" not in message
    assert contents(state) == before


def contents(state: Path) -> dict[str, object]:
    """What every store holds; not the databases' bytes, which opening and closing may move about."""
    held: dict[str, object] = {
        str(path.relative_to(state)): path.read_bytes()
        for path in state.rglob("*")
        if path.is_file() and not path.name.startswith(("ledger.db", "keys.db"))
    }
    ledger = TenantFolders(state, "acme").ledger
    if ledger.exists():
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as database:
            held["entries"] = list(database.execute("select idx, bytes from entry order by idx"))
        database.close()
    return held


def copy_database(source: Path, target: Path) -> None:
    """An online backup, as SQLite makes it."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def restore(backup: Path, ledger: Path) -> None:
    for path in ledger.parent.glob("ledger.db*"):
        path.unlink()
    shutil.copy(backup, ledger)


def test_a_restored_backup(state: Path, tmp_path: Path) -> None:
    ledger = TenantFolders(state, "acme").ledger
    copy_database(ledger, tmp_path / "backup.db")
    serve_once(state)
    copy_database(ledger, tmp_path / "newest.db")
    restore(tmp_path / "backup.db", ledger)
    refused(state, 5, "were published: this is an older copy", "Restore the newest database")
    restore(tmp_path / "newest.db", ledger)  # what it says to do
    serve_once(state)


def test_a_fork(state: Path, tmp_path: Path) -> None:
    """A backup that was served elsewhere, without the lock record, until it was longer than the real ledger."""
    folders = TenantFolders(state, "acme")
    other = tmp_path / "other"
    shutil.copytree(state, other)
    serve_once(state)
    shutil.copytree(folders.ledger.parent, tmp_path / "real")
    serve_once(other)
    serve_once(other)
    shutil.copytree(TenantFolders(other, "acme").data, folders.data, dirs_exist_ok=True)
    refused(state, 5, "are not the ones that were published", "restore the database that belongs to this lock record")
    shutil.rmtree(folders.data)
    shutil.copytree(tmp_path / "real", folders.data)
    serve_once(state)


def test_a_missing_lock_record(state: Path, tmp_path: Path) -> None:
    record = TenantFolders(state, "acme").lock / "checkpoint"
    shutil.copy(record, tmp_path / "kept")
    record.unlink()
    refused(state, 5, "the lock record of this ledger is missing", "put it back from where it is kept")
    shutil.copy(tmp_path / "kept", record)
    serve_once(state)


def test_a_missing_lock_folder(state: Path, tmp_path: Path) -> None:
    folder = TenantFolders(state, "acme").lock
    shutil.move(folder, tmp_path / "kept")
    refused(state, 3, str(folder), "is missing: put it back from where it is kept")
    shutil.move(tmp_path / "kept", folder)


@pytest.mark.parametrize("damage", ["garbage", "another ledger", "another key", "cut"])
def test_a_lock_record_that_is_not_this_ledgers(state: Path, damage: str) -> None:
    record = TenantFolders(state, "acme").lock / "checkpoint"
    kept = record.read_bytes()
    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    root = hash_leaf(b"x")
    record.write_bytes(
        {
            "garbage": b"\xff\x00",
            "another ledger": sign(Checkpoint("consentry.local/other", 1, root), key),
            "another key": sign(Checkpoint("consentry.local/acme", 1, root), key),
            "cut": kept[:-9],
        }[damage]
    )
    refused(state, 5, "the lock record is not one of this ledger", "put this ledger's own back from where it is kept")


def test_a_clock_that_went_back(state: Path) -> None:
    """The ledger was served by a clock two days ahead of this machine's: seen from there, this one went back."""
    settings = config.load(state)

    async def serve_in_two_days() -> None:
        ahead = lambda: datetime.now(UTC) + timedelta(days=2)  # noqa: E731 - a clock
        running = RunningTenant(state, "acme", settings, encrypted_in_transit=True, clock=ahead)
        await running.start()
        await running.aclose()

    asyncio.run(serve_in_two_days())
    day = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
    refused(state, 3, "the clock says", f"last entry is from {day}", "set the clock right, then start again")


def test_a_second_server(state: Path) -> None:
    with serving(state) as server:
        _refused_beside(server)
        assert server.stop() == 0


def _refused_beside(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "serve", str(server.state), "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "another process serves this ledger: stop it first" in done.stderr.replace("\n", " ")


def test_a_missing_database(state: Path) -> None:
    folders = TenantFolders(state, "acme")
    for path in folders.data.glob("ledger.db*"):
        path.unlink()
    refused_without_a_ledger(state)


def refused_without_a_ledger(state: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", MODULE, "serve", str(state), "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 5
    assert "restore it from a backup" in done.stderr.replace("\n", " ")
