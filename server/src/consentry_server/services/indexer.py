"""Fills the index behind the ledger's writer, on a thread of its own that takes little of the machine."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import structlog

from consentry_server.core.errors import ConsentryError
from consentry_server.services.index import READ_AT_ONCE

if TYPE_CHECKING:
    from consentry_server.services.index import LedgerIndex

LOOK_SECONDS = 0.25
"""How often an idle index looks for new entries."""
BUSY_RESTS = 49
"""While entries come in, rests this many times as long as it works: 2 % of one core at most."""
QUIET_RESTS = 3
"""Otherwise 25 % of one core."""
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
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._worked = 0.0
        self._looked_at = 0.0
        self._seen = 0
        self._rests = QUIET_RESTS

    def start(self) -> None:
        """Open the index and begin to fill it."""
        self._index.open()
        self._thread = threading.Thread(target=self._follow, name="ledger-index", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and release the index."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._index.close()

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._worked = time.thread_time()
            try:
                working = self._index.absorb(READ_AT_ONCE) > 0 or self._index.seal(self._rest)
            except ConsentryError as error:
                _log.error("index_behind", reason=error.reason, message=error.message)
                self._stop.wait(RETRY_SECONDS)
                continue
            except Exception:  # noqa: BLE001 - without the index everything is still found, only slower
                _log.exception("index_behind")
                self._stop.wait(RETRY_SECONDS)
                continue
            if working:
                self._rest()
            else:
                self._stop.wait(LOOK_SECONDS)

    def _look(self) -> None:
        """See now and then whether entries are coming in."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        size = self._index.ledger_size
        self._rests = BUSY_RESTS if size > self._seen else QUIET_RESTS
        self._looked_at, self._seen = now, size

    def _rest(self) -> None:
        """Give way to the event loop, for a multiple of the time since the last rest."""
        self._stop.wait((time.thread_time() - self._worked) * self._rests)
        self._worked = time.thread_time()
