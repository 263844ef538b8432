"""What a crash left of uploads that were never recorded: keys and bytes that no record knows, and so no deadline ends.

A photo's key and ciphertext are durable before its entry is, so that a recorded photo always opens. Where the process
dies in between, both stay behind: they are looked for once after each start, beside the serving.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import structlog

from consentry_server.core.errors import ConsentryError
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.facts import Photo
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.photos import blob_name

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.services.book import Book
    from consentry_server.services.keys import Keys
    from consentry_server.services.photos import Photos
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_vault import BlobStore
    from consentry_server.services.sequencer import Sequencer

KEYS_AT_ONCE = 500
ENTRIES_AT_ONCE = 1_000
CLOCK_TOLERANCE = timedelta(days=1)
"""How far back the clock may have been set between a key and its entry."""
PAUSE_SECONDS = 0.02
"""Between two looks, so that ten million photos do not hold the serving up."""

_log = structlog.get_logger("leftovers")


class Leftovers:
    """Destroys what no record knows, once after a start.

    Args:
        sequencer: The tenant's ledger.
        keys: The tenant's keys: every photo that was ever begun and not destroyed has one.
        blobs: Where photos are.
        photos: Says which uploads are under way.
    """

    def __init__(self, *, sequencer: Sequencer, keys: Keys, blobs: BlobStore, photos: Photos) -> None:
        self._sequencer = sequencer
        self._keys = keys
        self._blobs = blobs
        self._photos = photos
        self._task: asyncio.Task[None] | None = None
        self.finished = asyncio.Event()
        """Set when everything was looked at, or a failure put the rest off to the next start."""

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="leftovers")

    async def aclose(self) -> None:
        """Stop; what is left waits for the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def destroy(self) -> int:
        """Destroy the keys and bytes of every upload that no record knows and that is not under way.

        Returns:
            How many there were.

        Raises:
            ConsentryError: What kept something from being looked at or destroyed; it may be called again.
        """
        destroyed, after = 0, ""
        while True:
            found = await asyncio.to_thread(self._keys.owners, RecordClass.PHOTO, after, KEYS_AT_ONCE)
            # (1) an upload that is not under way now will not be recorded later: only then (2) the record is asked for
            settled = [each for each in found if not self._photos.is_under_way(each[0])]
            unknown = await self._sequencer.submit(
                lambda book, settled=settled: _without_record(book, settled)  # type: ignore[misc]
            )
            # the ledger has the last word: a record that is lost from a table must never cost a photo
            named = await asyncio.to_thread(_named, self._sequencer.store, unknown)
            for photo_id in named:
                _log.error("photo_record_missing", photo_id=photo_id, remedy="run consentry audit rebuild --write")
            unknown = [each for each in unknown if each[0] not in named]
            for photo_id, dek_id, _ in unknown:
                await self._blobs.delete(blob_name(photo_id))  # (3) the bytes first: the key is how they are found
                await asyncio.to_thread(self._keys.destroy, [dek_id])
                _log.info("leftover_destroyed", photo_id=photo_id)
            destroyed += len(unknown)
            if len(found) < KEYS_AT_ONCE:
                return destroyed
            after = found[-1][0]
            await asyncio.sleep(PAUSE_SECONDS)

    async def _run(self) -> None:
        try:
            await self.destroy()
        except ConsentryError as error:
            _log.error("leftovers_wait", reason=error.reason, message=error.message)
        finally:
            self.finished.set()


def _without_record(book: Book, keys: list[tuple[str, str, datetime]]) -> list[tuple[str, str, datetime]]:
    return [key for key in keys if book.get(Photo, key[0]) is None]


def _named(store: LedgerStore, keys: list[tuple[str, str, datetime]]) -> set[str]:
    """Which photos an entry names: looked for from the ledger's end back to the time of the oldest key."""
    named: set[str] = set()
    end = store.fetch_head().size if keys else 0
    oldest = min((created for _, _, created in keys), default=None)
    while end:
        first = max(0, end - ENTRIES_AT_ONCE)
        entries = store.fetch_entries(first, end - first)
        named.update(photo_id for photo_id, _, _ in keys for data in entries if photo_id.encode() in data)
        if oldest is not None and parse_time(orjson.loads(entries[0])["time"]) < oldest - CLOCK_TOLERANCE:
            break
        end = first
    return named
