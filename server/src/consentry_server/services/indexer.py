"""Fills the index behind the ledger's writer, in short turns on the event loop.

A thread of its own would take the interpreter from the writer for milliseconds, in the middle of a batch: that costs
far more than the work itself, which is about 5 µs an entry.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import structlog

from consentry_server.core.errors import ConsentryError
from consentry_server.services.index import READ_AT_ONCE

if TYPE_CHECKING:
    from consentry_server.services.index import LedgerIndex

LOOK_SECONDS = 0.25
"""How often an index that knows everything looks for new entries."""
RESTS = 9
"""It rests this many times as long as it works: a tenth of one core at most, which is ten thousand entries a second."""
RETRY_SECONDS = 10.0
"""How long it waits after a failure."""

_log = structlog.get_logger("index")


class Indexer:
    """Keeps an index up to date.

    Args:
        index: Opened here.
    """

    def __init__(self, index: LedgerIndex) -> None:
        self._index = index
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the index and begin to fill it."""
        await asyncio.to_thread(self._index.open)
        self._task = asyncio.create_task(self._follow(), name="ledger-index")

    async def aclose(self) -> None:
        """Stop, and release the index."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._index.close)

    async def _follow(self) -> None:
        while True:
            try:
                began = time.perf_counter()
                if self._index.absorb(READ_AT_ONCE):
                    await self._rest(began)
                elif not await self._seal():
                    await asyncio.sleep(LOOK_SECONDS)
                continue
            except ConsentryError as error:
                _log.error("index_behind", reason=error.reason, message=error.message)
            except Exception:  # noqa: BLE001 - without the index everything is still found, only slower
                _log.exception("index_behind")
            await asyncio.sleep(RETRY_SECONDS)

    async def _seal(self) -> bool:
        """Pack and keep the oldest full stretch; False where there is none."""
        full = self._index.oldest_full()
        if full is None:
            return False
        blobs: list[bytes] = []
        began = time.perf_counter()
        for step in full.packing:
            if step is not None:
                blobs.append(step)
            await self._rest(began)
            began = time.perf_counter()
        await asyncio.to_thread(self._index.keep, full, blobs)
        return True

    async def _rest(self, began: float) -> None:
        """Give way to everything else, for a multiple of the time worked."""
        await asyncio.sleep((time.perf_counter() - began) * RESTS)
