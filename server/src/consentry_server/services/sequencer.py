"""Decide at commit: one writer per ledger takes whatever waits, runs it in order and commits it once.

A command sees every fact that the ledger holds when its own entry is written, so that a check is linearizable with a
withdrawal without a read per check. Nobody gets a reply before the commit that holds their entry is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.book import Book
from consentry_server.services.ledger import LedgerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.services.ports import LedgerStore

R = TypeVar("R")

MAX_BATCH = 512
MAX_WAITING = 20_000
REQUEST_WINDOW = timedelta(hours=24)
FORGET_EVERY = timedelta(hours=1)
"""How often request ids that are too old are dropped."""
LINGER_SECONDS = 0.004
"""How long a batch waits for more while many calls are in flight; an idle ledger commits at once."""

_log = structlog.get_logger("sequencer")


class _Item(Generic[R]):
    """A command that waits, and where its result goes."""

    __slots__ = ("command", "future")

    def __init__(self, command: Callable[[Book], R], future: asyncio.Future[R]) -> None:
        self.command = command
        self.future = future


class Sequencer:
    """One ledger's writer.

    Args:
        store: The ledger's store; the sequencer is its only writer.
        ledger: The ledger's origin.
        clock: The time now, UTC.
        random: Cryptographic random bytes.
        linger_seconds: See :data:`LINGER_SECONDS`.
        request_window: How long a request id is remembered.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        ledger: str,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        linger_seconds: float = LINGER_SECONDS,
        request_window: timedelta = REQUEST_WINDOW,
    ) -> None:
        self.store = store
        self._ledger = ledger
        self._clock = clock
        self._random = random
        self._linger_seconds = linger_seconds
        self._request_window = request_window
        self._forgot_at: datetime | None = None
        self._state: LedgerState | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._waiting: deque[_Item[Any]] = deque()
        self._arrived = asyncio.Event()
        self._target = 1
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._failure: ConsentryError | None = None
        self.failed = asyncio.Event()
        """Set when the writer had to stop: the process must end and recover from the disk."""

    async def start(self) -> None:
        """Open the ledger and begin to serve.

        Raises:
            ConsentryError: The store cannot be opened or is damaged.
        """
        self._state = await asyncio.get_running_loop().run_in_executor(self._thread, LedgerState, self.store)
        self._task = asyncio.create_task(self._serve(), name="sequencer")

    async def aclose(self) -> None:
        """Finish what was accepted, then stop."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=True)

    async def submit(self, command: Callable[[Book], R]) -> R:
        """Run a command on the writer and return its result once everything it recorded is durable.

        Args:
            command: Reads facts, appends entries. It runs on the writer thread, must not block, and leaves
                nothing behind if it raises.

        Returns:
            What the command returned.

        Raises:
            ConsentryError: Whatever the command raised; ``OVERLOADED``, ``SHUTTING_DOWN``, ``STORAGE_FULL`` or
                ``STORAGE_FAILED`` when it could not be recorded.
        """
        if self._failure is not None:
            raise _again(self._failure)
        if self._closing:
            raise ConsentryError(Reason.SHUTTING_DOWN, "the server is stopping: try another one or try again soon")
        if len(self._waiting) >= MAX_WAITING:
            raise ConsentryError(
                Reason.OVERLOADED, f"more than {MAX_WAITING} calls wait for the ledger: try again later"
            )
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Item(command, future))
        if len(self._waiting) >= self._target:
            self._arrived.set()
        return await future

    async def run(self, action: Callable[[LedgerStore], R]) -> R:
        """Run something else on the writer thread, between two batches: deletions, which are no entries.

        Args:
            action: Uses the store's writing methods.

        Returns:
            What it returned.

        Raises:
            ConsentryError: What the store raised.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, action, self.store)

    async def _serve(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._target = 1
                self._arrived.clear()
                await self._arrived.wait()
                continue
            items = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            items = [item for item in items if not item.future.done()]
            await self._settle(items)
            await self._linger(len(items) + len(self._waiting))

    async def _linger(self, callers: int) -> None:
        """Wait a little for company, if there was any: the callers just answered are about to come back."""
        if callers <= 1 or self._closing or len(self._waiting) >= callers:
            return
        self._target = callers
        self._arrived.clear()
        try:
            async with asyncio.timeout(self._linger_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return
        finally:
            self._target = 1

    async def _settle(self, items: Sequence[_Item[Any]]) -> None:
        """Run one batch on the writer thread, then answer everybody in it."""
        loop = asyncio.get_running_loop()
        try:
            outcomes = await loop.run_in_executor(self._thread, self._write, items)
        except ConsentryError as error:
            outcomes = [error] * len(items)
            if error.reason is not Reason.STORAGE_FULL:
                self._stop_after(error)
        except Exception as error:  # noqa: BLE001 - what was committed is not known: answer everybody, then stop
            _log.exception("commit_failed")
            failure = ConsentryError(
                Reason.STORAGE_FAILED, "the ledger failed and it is not known what was recorded: start the server again"
            )
            failure.__cause__ = error
            outcomes = [failure] * len(items)
            self._stop_after(failure)
        for item, outcome in zip(items, outcomes, strict=True):
            if item.future.done():
                continue
            if isinstance(outcome, ConsentryError):
                item.future.set_exception(_again(outcome))
            else:
                item.future.set_result(outcome)

    def _write(self, items: Sequence[_Item[Any]]) -> list[Any]:
        """On the writer thread: run each command in order, commit once."""
        state = self._opened
        raw = self._clock()
        batch = state.begin(raw)
        outcomes: list[Any] = []
        for item in items:
            book = Book(
                batch,
                ledger=self._ledger,
                size=batch.size,
                now=batch.now,
                raw_time=raw if raw < batch.now else None,
                random=self._random,
                request_window=self._request_window,
            )
            try:
                outcome = item.command(book)
            except ConsentryError as error:
                outcomes.append(error)
                continue
            except Exception as error:  # noqa: BLE001 - one faulty command must not take its batch down; it is logged
                _log.exception("command_failed")
                fault = ConsentryError(
                    Reason.SERVICE_FAULT,
                    "the service failed on this request and recorded nothing: see the server's log",
                )
                fault.__cause__ = error
                outcomes.append(fault)
                continue
            batch.absorb(book)
            outcomes.append(outcome)
        state.commit(batch)
        self._forget(batch.now)
        return outcomes

    def _forget(self, now: datetime) -> None:
        """Housekeeping after a commit that stands: whatever goes wrong here takes nothing of it back."""
        if self._forgot_at is not None and now - self._forgot_at < FORGET_EVERY:
            return
        self._forgot_at = now
        try:
            self.store.forget_requests(now - self._request_window)
        except ConsentryError as error:
            _log.warning("old_requests_kept", reason=error.reason, message=error.message)

    def _stop_after(self, error: ConsentryError) -> None:
        """Refuse everything from now on: what the disk holds is not known."""
        _log.error("ledger_stopped", reason=error.reason, message=error.message)
        self._failure = error
        self._closing = True
        self.failed.set()
        while self._waiting:
            item = self._waiting.popleft()
            if not item.future.done():
                item.future.set_exception(_again(error))

    @property
    def _opened(self) -> LedgerState:
        if self._state is None:
            raise ConsentryError(Reason.STORAGE_FAILED, "the ledger is not open: start the server again")
        return self._state


def _again(error: ConsentryError) -> ConsentryError:
    """A fresh copy, since one exception raised to several callers would mix their tracebacks."""
    copy = ConsentryError(error.reason, error.message, field=error.field, metadata=error.metadata)
    copy.__cause__ = error
    return copy
