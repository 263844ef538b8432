"""Fold a stored ledger again, as ``consentry audit rebuild`` does, and compare with what is kept beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consentry_server.adapters.sqlite.projections import SqliteProjections
from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.core.ledger.checkpoint import Checkpoint
from consentry_server.services.rebuild import Rebuild, Rebuilt


@contextmanager
def opened(
    database: Path, older: Callable[[int, int], list[bytes]] | None = None
) -> Iterator[tuple[SqliteProjections, SqliteShelf]]:
    """The tables of a ledger, and an empty shelf."""
    projections, shelf = SqliteProjections(database, older), SqliteShelf()
    projections.open()
    shelf.open()
    try:
        yield projections, shelf
    finally:
        projections.close()
        shelf.close()


def rebuilt(
    database: Path,
    published: Checkpoint | None = None,
    older: Callable[[int, int], list[bytes]] | None = None,
) -> Rebuilt:
    """Fold and compare."""
    with opened(database, older) as (projections, shelf):
        return Rebuild(projections, shelf, published=published, progress=lambda _doing, _done, _total: None).run()


def differences(database: Path, older: Callable[[int, int], list[bytes]] | None = None) -> list[str]:
    """What is not as the ledger says: empty where every table is right."""
    return [str(each) for each in rebuilt(database, older=older).differences.listed]
