"""Verifying a ledger wherever it lies, on as many processors as there are."""

from __future__ import annotations

import gc
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH
from consentry_server.core.ledger.rotation import KEYS_PATH
from consentry_server.core.ledger.span import Span, SpanScan, scan_span
from consentry_server.core.ledger.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from consentry_server.core.ledger.evidence import Evidence
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.core.ledger.report import Report

ALONE_SPANS: Final = 8
"""Up to so many spans (131,072 entries) are done here: starting processes would take longer."""


class SourceError(ConsentryError):
    """The ledger cannot be read from where it lies; that says nothing about the ledger."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.STORAGE_FAILED, message)


class Reader(Protocol):
    """An open source; used by one process, closed by it."""

    def read(self, path: str) -> bytes | None:
        """Contents of a file, or None where there is none.

        Args:
            path: As C2SP ``tlog-tiles`` has it, such as ``tile/entries/000`` or ``checkpoint``; or ``vkey``.

        Returns:
            The bytes; at most a little more than such a file can have.

        Raises:
            SourceError: It cannot be told whether there is such a file, or it cannot be read.
        """

    def ahead(self, paths: Iterable[str]) -> None:
        """Say what will be read next, in this order; a reader far away may begin with it."""

    def close(self) -> None:
        """Close what is open."""


class Source(Protocol):
    """Where a ledger lies. Can be sent to another process; opens nothing by itself."""

    @property
    def has_upper_tiles(self) -> bool:
        """Whether it has hash tiles above level 0; a server's listing has not."""

    def open(self) -> Reader:
        """Begin to read.

        Raises:
            SourceError: There is nothing to read.
        """

    def paths(self) -> Iterable[str]:
        """All files, where they can be listed; else none.

        Raises:
            SourceError: They cannot be listed although they should.
        """


class Verification:
    """One run over one source; a context manager.

    Args:
        source: Where the ledger lies.
        workers: How many processes may work; 1 works in this one.
    """

    def __init__(self, source: Source, *, workers: int) -> None:
        self._source = source
        self._workers = workers
        self._paths: tuple[str, ...] = ()
        self._reader: Reader | None = None
        self._head: dict[str, bytes | None] = {}

    def __enter__(self) -> Self:
        self._reader = self._source.open()
        try:
            self._look(self._reader)
        except BaseException:
            self._reader.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()

    @property
    def checkpoint(self) -> bytes | None:
        """The checkpoint as it was when this run began; not yet believed."""
        return self._head[CHECKPOINT_PATH]

    def verify(
        self,
        key: VerifierKey,
        *,
        secret: bytes,
        evidence: Evidence,
        subject_ref: str = "",
        progress: Callable[[int, int], None] | None = None,
    ) -> Report:
        """Verify the ledger; arguments as in ``core.ledger.verify.verify``.

        Raises:
            SourceError: A part of it could not be read, which says nothing about the ledger.
        """
        return verify(
            self._read,
            key,
            secret=secret,
            evidence=evidence,
            subject_ref=subject_ref,
            paths=self._paths,
            has_upper_tiles=self._source.has_upper_tiles,
            run=self._run,
            progress=progress,
        )

    def _look(self, reader: Reader) -> None:
        self._paths = tuple(self._source.paths())
        # what is signed is read once: a ledger may be growing
        self._head = {path: reader.read(path) for path in (CHECKPOINT_PATH, VKEY_PATH, KEYS_PATH)}
        if self.checkpoint is None and not any(path.startswith((VKEY_PATH, "tile/")) for path in self._paths):
            raise SourceError("there is no ledger: neither a checkpoint nor tiles were found")

    def _read(self, path: str) -> bytes | None:
        return self._head[path] if path in self._head else self._opened.read(path)

    @property
    def _opened(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("used outside its with block")
        return self._reader

    def _run(self, spans: Iterable[Span]) -> Iterator[SpanScan]:
        work = list(spans)
        workers = min(self._workers, len(work))
        if workers <= 1 or len(work) <= ALONE_SPANS:
            for span in work:
                self._opened.ahead(span.paths)
                yield scan_span(span, self._opened.read)
            return
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(self._source,))
        try:
            with _interrupts_held(), _without_main():
                results = pool.map(_scan, work)  # starts the processes
            for result in results:
                if isinstance(result, _Failure):
                    raise SourceError(result.message)
                yield result
        except BrokenProcessPool as error:
            raise SourceError("a worker process ended unexpectedly: try again with --workers 1") from error
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A ``SourceError`` on its way back to the process that started the worker."""

    message: str


_reader: Reader | None = None  # one for each worker process, open as long as it lives


def _start(source: Source) -> None:
    global _reader  # noqa: PLW0603 - the pool's way to give a worker something to keep
    _reader = source.open()
    gc.disable()  # decoded entries hold no cycles, and looking for some takes an eighth of the time


def _scan(span: Span) -> SpanScan | _Failure:
    if _reader is None:
        raise RuntimeError("the worker was not started by its initializer")
    try:
        _reader.ahead(span.paths)
        return scan_span(span, _reader.read)
    except SourceError as error:
        return _Failure(error.message)


@contextmanager
def _without_main() -> Iterator[None]:
    """Let processes start that do not import the program they come from: that would take longer than much of the work.

    Source: https://docs.python.org/3/library/multiprocessing.html#the-spawn-and-forkserver-start-methods
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let processes start that Ctrl-C does not reach: the one who started them stops them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
