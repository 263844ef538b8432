"""What a careless implementation would do: the campaign must find each of these, or it proves nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apsw

from consentry_server.adapters.sqlite import connection
from consentry_server.adapters.sqlite import store as sqlite_store
from consentry_server.services.book import Book
from consentry_server.services.sequencer import Sequencer, Work

LATE_SECONDS = 0.01


def none() -> None:
    """The product as it is."""


def synchronous_normal() -> None:
    """Commit without an fsync: SQLite in WAL mode with ``synchronous=NORMAL``."""

    def careless(opened: apsw.Connection, **pragmas: str | int) -> apsw.Connection:
        return connection.configure(opened, **pragmas, synchronous="normal")

    vars(sqlite_store)["configure"] = careless


class Noted:
    """Work that notes what it decided."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self.prepare, self.finish = work.prepare, work.finish
        self.decided: Any = None

    def run(self, book: Book) -> Any:
        self.decided = self._work.run(book)
        return self.decided


def acknowledge_early() -> None:
    """Answer when the batch is decided, and commit it a little later."""
    settle = Sequencer._settle

    async def careless(self: Sequencer, items: Sequence[Any]) -> None:
        loop, store = asyncio.get_running_loop(), self.store
        commit = store.commit

        def answer() -> None:
            for item in items:
                if not item.future.done() and item.work.decided is not None:
                    item.future.set_result(item.work.finish(item.work.decided))

        def late() -> None:
            loop.call_soon_threadsafe(answer)
            threading.Event().wait(LATE_SECONDS)
            commit()

        for item in items:
            item.work = Noted(item.work)
        store.commit = late  # type: ignore[method-assign]
        try:
            await settle(self, items)
        finally:
            store.commit = commit  # type: ignore[method-assign]

    Sequencer._settle = careless  # type: ignore[method-assign]


KINDS: Mapping[str, Callable[[], None]] = {
    "none": none,
    "normal": synchronous_normal,
    "early": acknowledge_early,
}
