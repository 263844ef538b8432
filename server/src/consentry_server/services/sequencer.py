"""Decide at commit: one writer per ledger takes whatever waits, runs it in order and commits it once.

A command sees every fact that the ledger holds when its own entry is written, so that a check is linearizable with a
withdrawal without a read per check. Nobody gets a reply before the commit that holds their entry is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.book import Book
from consentry_server.services.context import RequestKey
from consentry_server.services.ledger import LedgerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.services.ledger import WorkingBatch
    from consentry_server.services.ports import LedgerStore

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

MAX_BATCH = 512
MAX_WAITING = 20_000
RANDOM_BLOCK_BYTES = 8_192
REQUEST_WINDOW = timedelta(hours=24)
FORGET_EVERY = timedelta(hours=1)
"""How often request ids that are too old are dropped."""
LINGER_SECONDS = 0.02
"""How long a batch waits at most for others to share its commit; an idle ledger commits at once."""
LINGER_ITEMS = 64
"""So many share a commit well enough."""
PAUSE_SECONDS = 0.000_1
"""No other for so long, times the callers that were just answered, and the batch waits no longer."""

_log = structlog.get_logger("sequencer")


class _Random:
    """Random bytes for nonces and ids, drawn from the system a block at a time: each draw is a system call."""

    __slots__ = ("_at", "_block", "_source")

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._block = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        start, end = self._at, self._at + count
        if end > len(self._block):
            self._block = self._source(max(RANDOM_BLOCK_BYTES, count))
            start, end = 0, count
        self._at = end
        return self._block[start:end]


class Work(Protocol[R_co]):
    """Something that many callers want at once, in three steps.

    A batch takes each step for all its items before the next step begins: code that runs again at once runs several
    times as fast as code that was pushed out of the processor's caches meanwhile.
    """

    def prepare(self) -> RequestKey | None:
        """Read the request; no ledger is there yet. Gives its request id, so that those of a batch are read together.

        Raises:
            ConsentryError: Bad input.
        """

    def run(self, book: Book) -> Any:
        """Read facts, append entries. It must not block, and leaves nothing behind if it raises."""

    def finish(self, outcome: Any) -> R_co:
        """Make the answer of what ``run`` returned; everything is durable now."""


class _Command(Generic[R]):
    """Work that is one step."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[[Book], R]) -> None:
        self.run = run

    def prepare(self) -> None:
        return None

    def finish(self, outcome: R) -> R:
        return outcome


class _Item(Generic[R]):
    """Work that waits, and where its result goes."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work[R], future: asyncio.Future[R]) -> None:
        self.work = work
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
        self._random = _Random(random)
        self._linger_seconds = linger_seconds
        self._request_window = request_window
        self._forgot_at: datetime | None = None
        self._state: LedgerState | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-writer")
        self._writing = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._waiting: deque[_Item[Any]] = deque()
        self._arrived = asyncio.Event()
        self._enough = asyncio.Event()
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
        self._enough.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def submit(self, command: Callable[[Book], R]) -> R:
        """Run a command on the writer and return its result once everything it recorded is durable.

        Args:
            command: See ``Work.run``.

        Returns:
            What the command returned.

        Raises:
            ConsentryError: Whatever the command raised; ``OVERLOADED``, ``SHUTTING_DOWN``, ``STORAGE_FULL`` or
                ``STORAGE_FAILED`` when it could not be recorded.
        """
        return await self.enqueue(_Command(command))

    def enqueue(self, work: Work[R]) -> asyncio.Future[R]:
        """Let work wait for the next batch.

        Args:
            work: What to do.

        Returns:
            Its answer; see :meth:`submit` for what is raised, here and by the future.
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
        self._waiting.append(_Item(work, future))
        self._arrived.set()
        if len(self._waiting) >= LINGER_ITEMS:
            self._enough.set()
        return future

    async def run(self, action: Callable[[LedgerStore], R]) -> R:
        """Run something else on the writer's thread, between two batches: deletions, which are no entries.

        Args:
            action: Uses the store's writing methods.

        Returns:
            What it returned.

        Raises:
            ConsentryError: What the store raised.
        """
        task = asyncio.create_task(self._run_alone(action), name="ledger-action")
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _run_alone(self, action: Callable[[LedgerStore], R]) -> R:
        """Hold the writer until the thread is done, whether or not anybody still waits for it."""
        async with self._writing:
            if self._closing:
                raise ConsentryError(Reason.SHUTTING_DOWN, "the server is stopping: it goes on after the next start")
            try:
                return await asyncio.get_running_loop().run_in_executor(self._thread, action, self.store)
            except ConsentryError as error:
                if error.reason is Reason.STORAGE_FAILED:
                    self._stop_after(error)
                raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever went away does not ask for it

    async def _serve(self) -> None:
        while True:
            if not self._waiting:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            async with self._writing:
                items = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
                items = [item for item in items if not item.future.done()]
                await self._settle(items)
            if len(items) > 1:
                await self._linger(len(items) * PAUSE_SECONDS)

    async def _linger(self, pause_seconds: float) -> None:
        """Wait while calls keep coming, so that they share a commit."""
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._linger_seconds
        seen = -1
        while seen < len(self._waiting) < LINGER_ITEMS and loop.time() < latest and not self._closing:
            seen = len(self._waiting)
            self._enough.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._enough.wait()

    async def _settle(self, items: Sequence[_Item[Any]]) -> None:
        """Decide one batch, commit it, then answer everybody in it.

        The work is done here, on the event loop, and the disk is waited for on a thread: two threads that both compute
        would only take the interpreter from each other.
        """
        try:
            outcomes = await self._write([item.work for item in items])
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

    async def _write(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Take each step for all, with the commit before the last.

        Returns:
            An answer or a ConsentryError for each.
        """
        state, loop = self._opened, asyncio.get_running_loop()
        keys = [_attempt(work.prepare) for work in works]
        batch = state.begin(self._clock())
        batch.expect([key.key for key in keys if isinstance(key, RequestKey)])
        outcomes = [
            key if isinstance(key, ConsentryError) else self._run(batch, work)
            for key, work in zip(keys, works, strict=True)
        ]
        if batch.changed:
            finished = batch.finish()
            self.store.stage(finished)
            await loop.run_in_executor(self._thread, self.store.commit)
            state.adopt(batch, finished.head)
        if self._forgot_at is None or batch.now - self._forgot_at >= FORGET_EVERY:
            self._forgot_at = batch.now
            await loop.run_in_executor(self._thread, self._forget, batch.now)
        return [
            outcome if isinstance(outcome, ConsentryError) else _attempt(work.finish, outcome)
            for outcome, work in zip(outcomes, works, strict=True)
        ]

    def _run(self, batch: WorkingBatch, work: Work[Any]) -> Any:
        """Run one command: what it returns, or the error that its caller gets; its neighbours stand either way."""
        book = Book(batch, ledger=self._ledger, random=self._random, request_window=self._request_window)
        outcome = _attempt(work.run, book)
        if not isinstance(outcome, ConsentryError):
            batch.absorb(book)
        return outcome

    def _forget(self, now: datetime) -> None:
        """Housekeeping after a commit that stands: whatever goes wrong here takes nothing of it back."""
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


def _attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    """Take one step of one work: its result, or the error that its caller gets. A fault takes nobody else down."""
    try:
        return step(*arguments)
    except ConsentryError as error:
        return error
    except Exception as error:  # noqa: BLE001 - it is logged
        _log.exception("command_failed")
        fault = ConsentryError(Reason.SERVICE_FAULT, "the service failed on this request: see the server's log")
        fault.__cause__ = error
        return fault


def _again(error: ConsentryError) -> ConsentryError:
    """A fresh copy, since one exception raised to several callers would mix their tracebacks."""
    copy = ConsentryError(error.reason, error.message, field=error.field, metadata=error.metadata)
    copy.__cause__ = error
    return copy
