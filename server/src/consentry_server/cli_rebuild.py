"""``consentry audit rebuild``: fold the ledger again, compare every table, and put right what differs."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer
from obstore.store import LocalStore
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from consentry_server import config
from consentry_server.adapters.blobs.local import LocalBlobs
from consentry_server.adapters.blobs.objects import ObjectBlobs
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.adapters.sqlite.projections import SqliteProjections
from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.services.orphans import Outside
from consentry_server.services.rebuild import Rebuild, repair
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders, engine_version, now, tile_store

if TYPE_CHECKING:
    from consentry_server.core.ledger.checkpoint import Checkpoint
    from consentry_server.services.differences import Differences
    from consentry_server.services.rebuild import Rebuilt
    from consentry_server.services.rebuild import Table as Outcome

DIFFERENT: Final = 5
ORPHANED_AFTER: Final = timedelta(hours=24)
"""No upload takes so long: what is older and named by no entry belongs to nobody."""
_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)


def rebuild(
    state: Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)],
    tenant: Annotated[str, typer.Option(help="Whose ledger; needed where there are several.")] = "",
    write: Annotated[
        bool,
        typer.Option(
            "--write/--check", help="Put right what differs, with the server stopped; or only say what differs."
        ),
    ] = False,
) -> None:
    """Fold the whole ledger again and compare every table with it.

    The server may be running for --check. Exit code 0 when all is as the ledger says, 5 when something differs (after
    --write: when something is left that the ledger cannot give back) or the ledger itself is damaged.
    """
    settings = config.load(state)
    name = settings.tenancy.choose(tenant)
    folders = TenantFolders(state, name)
    lock = FileLockRecord(folders.lock)
    with ExitStack() as stack:
        if write:
            lock.hold()
            stack.callback(lock.release)
        published = _published(folders, lock)
        if write and published is None:
            raise ConsentryError(
                Reason.NOT_FOUND,
                f"the lock record or the published key of {name} is missing: put it back; without it an older copy of "
                "the ledger could not be told from the real one, and nothing is written",
            )
        entries = TieredStore(SqliteLedgerStore(folders.ledger), tile_store(state, name, settings))
        stack.callback(entries.close)
        projections, shelf = SqliteProjections(folders.ledger, entries.fetch_entries), SqliteShelf()
        stack.callback(projections.close)
        stack.callback(shelf.close)
        projections.open()
        shelf.open()
        keys = SqliteKeyStore(folders.key_store, name)
        stack.callback(keys.close)
        keys.open(create=False)
        blobs = folders.data / "blobs"
        # start() of LocalBlobs clears what is half-written: never beside a server
        photos = LocalBlobs(blobs) if write else ObjectBlobs(LocalStore(blobs))
        rebuilding = _Rebuilding(photos, Outside(photos, keys, shelf, now=now(), older_than=ORPHANED_AFTER))
        with _Bar() as bar:
            found = asyncio.run(rebuilding.run(Rebuild(projections, shelf, published=published, progress=bar)))
        _show(name, found, rebuilding.tables)
        differences = found.differences
        if not differences.total:
            _out.print("every table is what the ledger says")
            return
        if not write:
            raise typer.Exit(DIFFERENT)
        asyncio.run(rebuilding.remove())
        projections.close()
        store = SqliteLedgerStore(folders.ledger)
        stack.callback(store.close)
        store.open()
        origin = f"{settings.tenancy.trust_domain}/{name}"
        index = repair(found, shelf, store, ledger=origin, now=now(), random=os.urandom, engine=engine_version())
    _out.print(f"{differences.repairable.total()} rows were put right; entry {index} records it")
    if differences.lost:
        _out.print(f"{differences.lost.total()} are left: the ledger cannot give them back")
        raise typer.Exit(DIFFERENT)


def _published(folders: TenantFolders, lock: FileLockRecord) -> Checkpoint | None:
    """The newest published checkpoint, verified with the key beside the data."""
    note = lock.read()
    try:
        vkey = folders.published_key.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    return None if note is None else open_checkpoint(note, parse_vkey(vkey.strip())).checkpoint


def _show(name: str, found: Rebuilt, outside: tuple[Outcome, ...]) -> None:
    against = "no published checkpoint was found" if found.published is None else f"{found.published} were published"
    _out.print(f"[bold]{name}[/bold]: {found.head.size} entries, root {found.head.root.hex()[:16]}…; {against}")
    table = Table("table", "rows", "different", "what that rests on", box=None)
    for each in (*found.tables, *outside):
        table.add_row(each.name, str(each.rows or ""), str(each.different or ""), each.basis)
    _out.print(table)
    _tell(found.differences)


def _tell(differences: Differences) -> None:
    for each in differences.listed:
        _out.print(f"  {escape(str(each))}", soft_wrap=True)
    if differences.total > len(differences.listed):
        _out.print(f"  and {differences.total - len(differences.listed)} more")


class _Rebuilding:
    """The fold, between the listing of what lies outside the tables and its comparison."""

    def __init__(self, photos: ObjectBlobs, outside: Outside) -> None:
        self._photos = photos
        self._outside = outside
        self.tables: tuple[Outcome, ...] = ()

    async def run(self, rebuild: Rebuild) -> Rebuilt:
        await self._photos.start()
        try:
            await self._outside.list()
            found = rebuild.run()
            self.tables = await self._outside.compare(found)
        finally:
            await self._photos.aclose()
        return found

    async def remove(self) -> None:
        await self._photos.start()
        try:
            await self._outside.remove()
        finally:
            await self._photos.aclose()


class _Bar:
    """The progress bar; told how far the rebuild is."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=_messages, transient=True)
        self._task = self._progress.add_task("folding", total=None)
        self._doing = "folding"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, doing: str, done: int, total: int) -> None:
        if doing != self._doing:
            self._doing = doing
            self._progress.reset(self._task, description=doing)
        self._progress.update(self._task, completed=done, total=total or None)
