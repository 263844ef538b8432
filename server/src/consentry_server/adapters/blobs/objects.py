"""Blobs through obstore: one code for a local folder, memory and object storage.

obstore's asynchronous calls are not used: their futures are completed from a thread of its own, which aborts the
interpreter when that races with its exit (about one short process in ten). Its synchronous calls release the GIL and
have no such thread, so they run here on a bounded pool.
obstore keeps a reference to what it is given to write until a part is sent; ``write`` therefore hands it a copy.
"""

from __future__ import annotations

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError

from consentry_server.adapters.blobs.names import blob_name_of, object_path
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime

    from obstore import BytesStream, WritableFile
    from obstore.store import ObjectStore

PART_BYTES: Final = 5 * 2**20  # S3: the least size of a part of a multipart upload but the last
LISTED_AT_ONCE: Final = 1_000
READ_BYTES: Final = 256 * 2**10
DEFAULT_THREADS: Final = 8
_NO_SPACE: Final = tuple(f"(os error {number})" for number in (errno.ENOSPC, errno.EDQUOT))
_R = TypeVar("_R")


class ObjectWriter:
    """Writes one blob; made by ``open_writer``."""

    def __init__(self, blobs: ObjectBlobs, writer: WritableFile) -> None:
        self._blobs = blobs
        self._writer = writer

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; the caller may use the buffer again afterwards."""
        piece = bytes(data)
        await self._blobs.run(lambda: self._writer.write(piece))


@dataclass(slots=True)
class _Upload:
    """One blob on its way."""

    path: str
    staged: str
    writer: WritableFile | None = None
    closed: bool = False
    published: bool = False

    def close(self) -> None:
        if self.writer is not None:
            self.closed = True
            self.writer.close()

    def abort(self) -> None:
        """Leave the writer as if by an exception: it then sends nothing more and drops what it sent."""
        if self.writer is not None and not self.closed:
            reason = ConnectionAbortedError("the blob was abandoned")
            self.writer.__exit__(type(reason), reason, None)


class ObjectBlobs:
    """Blobs in any obstore store; see ``services.ports_vault.BlobStore`` for what it guarantees.

    Durable when the store is once it has answered (object storage). For a local folder use ``local.LocalBlobs``.

    Args:
        store: An obstore store that belongs to this tenant, prefix included.
        part_bytes: Most bytes of a blob in memory before they are sent on.
        threads: Most calls under way at once.
    """

    def __init__(self, store: ObjectStore, *, part_bytes: int = PART_BYTES, threads: int = DEFAULT_THREADS) -> None:
        self._store = store
        self._part_bytes = part_bytes
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        """Start the threads. What a crash left of an upload is the store's to expire."""
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="blobs")

    async def aclose(self) -> None:
        """Finish what is under way and end the threads."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    @asynccontextmanager
    async def open_writer(self, name: str) -> AsyncIterator[ObjectWriter]:
        """Write a new blob; it appears when the block ends normally and not at all otherwise."""
        path = object_path(name)
        if await self.run(lambda: self._exists(path)):
            raise ConsentryError(Reason.ALREADY_EXISTS, "there is a blob of that name already")
        upload = _Upload(path, self.staged(path))
        upload.writer = await self.run(
            lambda: obstore.open_writer(self._store, upload.staged, buffer_size=self._part_bytes, max_concurrency=1)
        )
        try:
            yield ObjectWriter(self, upload.writer)
            await self.run(lambda: self._finish(upload))
        except BaseException:
            with suppress(ConsentryError):  # the first error is the one to report; a crash's leavings go at start
                await self.run(lambda: self._abandon(upload))
            raise

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Give the blob's bytes in pieces."""
        path = object_path(name)
        pieces = await self.run(lambda: self._pieces(path))
        while (piece := await self.run(lambda: next(pieces, None))) is not None:
            yield bytes(piece)

    async def delete(self, name: str) -> bool:
        """Delete a blob durably and return whether there was one."""
        path = object_path(name)
        return await self.run(lambda: self._delete(path))

    async def exists(self, name: str) -> bool:
        """Return whether there is a blob of that name."""
        path = object_path(name)
        return await self.run(lambda: self._exists(path))

    async def names(self, folder: str) -> AsyncIterator[tuple[str, datetime]]:
        """Give the name and time of every blob of a folder."""
        batches = await self.run(lambda: iter(obstore.list(self._store, folder, chunk_size=LISTED_AT_ONCE)))
        while (batch := await self.run(lambda: next(batches, None))) is not None:
            for found in batch:
                name = blob_name_of(found["path"])
                if name is not None:
                    yield name, found["last_modified"]

    def staged(self, path: str) -> str:
        """Where a blob is written before it is whole; object storage shows nothing before that anyway."""
        return path

    def publish(self, staged: str, path: str) -> None:
        """Make a finished blob durable and visible, on a thread; on failure it is not visible."""

    def discard(self, staged: str) -> None:
        """Remove what was written of an abandoned blob, on a thread."""

    def removed(self, path: str) -> None:
        """Make a deletion durable, on a thread."""

    async def run(self, call: Callable[[], _R]) -> _R:
        """Run a blocking call on the pool. A cancellation waits for it to end, so that nothing runs on unseen."""
        pool = self._pool
        if pool is None:
            raise ConsentryError(Reason.SHUTTING_DOWN, "the blob store is not open")
        future = asyncio.get_running_loop().run_in_executor(pool, _translated, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with _cancellation_noted():
                    await asyncio.wait([future])
            future.exception()  # retrieved: the cancellation is what the caller hears of
            raise

    def _finish(self, upload: _Upload) -> None:
        upload.close()
        self.publish(upload.staged, upload.path)
        upload.published = True

    def _abandon(self, upload: _Upload) -> None:
        """Leave nothing, also when the cancellation came after the blob had its name."""
        if upload.published:
            self._delete(upload.path)
            return
        upload.abort()
        self.discard(upload.staged)

    def _pieces(self, path: str) -> BytesStream:
        try:
            return obstore.get(self._store, path).stream(min_chunk_size=READ_BYTES)
        except FileNotFoundError as error:
            raise ConsentryError(Reason.NOT_FOUND, "there is no blob of that name") from error

    def _exists(self, path: str) -> bool:
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            return False
        return True

    def _delete(self, path: str) -> bool:
        there = self._exists(path)
        if there:
            obstore.delete(self._store, path)
            self.removed(path)
            if self._exists(path):
                raise ConsentryError(Reason.STORAGE_FAILED, "a deleted blob is still there: check the storage")
        return there


@contextmanager
def _cancellation_noted() -> Iterator[None]:
    """Swallow a second cancellation while the first is being carried out."""
    try:
        yield
    except asyncio.CancelledError:
        return


def _translated(call: Callable[[], _R]) -> _R:
    """Run a call and turn the store's errors into ours."""
    try:
        return call()
    except (BaseError, OSError) as error:
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or any(s in str(error) for s in _NO_SPACE)
        if full:
            raise ConsentryError(Reason.STORAGE_FULL, "the storage of the blobs is full: free space") from error
        raise ConsentryError(Reason.STORAGE_FAILED, "the storage of the blobs cannot be used: check it") from error
