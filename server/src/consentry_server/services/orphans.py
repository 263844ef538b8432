"""What an upload left that a crash interrupted: ciphertext and keys that no entry names; and what is missing.

The ledger alone says what is whose: a record that is lost from a table must never cost a photo. So this is a part of
the rebuild, which has folded every entry, and not of the service.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.codec import from_body
from consentry_server.core.record.facts import Destruction, Photo
from consentry_server.core.vocabulary import DestructionStage, RecordClass
from consentry_server.services.differences import Difference, merged
from consentry_server.services.ledger import KINDS
from consentry_server.services.photos import blob_name
from consentry_server.services.ports_rebuild import BLOB, KEY, REMOVED
from consentry_server.services.rebuild import REPAIR, Table

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from consentry_server.services.ports_rebuild import Shelf
    from consentry_server.services.ports_vault import BlobStore, KeyStore
    from consentry_server.services.rebuild import Rebuilt

FOLDER: Final = "photos"
_AT_ONCE: Final = 500

_log = structlog.get_logger("orphans")


class Outside:
    """Photos' bytes and keys, held against the fold.

    Args:
        blobs: Where photos are.
        keys: Their wrapped keys.
        shelf: The rebuild's.
        now: The time, UTC.
        older_than: Younger blobs and keys may belong to an upload that is under way.
    """

    def __init__(self, blobs: BlobStore, keys: KeyStore, shelf: Shelf, *, now: datetime, older_than: timedelta) -> None:
        self._blobs = blobs
        self._keys = keys
        self._shelf = shelf
        self._before = now - older_than
        self._hours = int(older_than.total_seconds() // 3600)

    async def list(self) -> None:
        """Note what is there; before the ledger is folded, so that what is noted is not missing later."""
        async for name, written in self._blobs.names(FOLDER):
            photo_id = name.removeprefix(f"{FOLDER}/")
            self._shelf.put([(BLOB, photo_id, orjson.dumps([written < self._before, ""]))])
        after = ""
        while owners := self._keys.owners(RecordClass.PHOTO, after, _AT_ONCE):
            rows = [(KEY, owner, orjson.dumps([created < self._before, dek_id])) for owner, dek_id, created in owners]
            self._shelf.put(rows)
            after = owners[-1][0]

    async def compare(self, rebuilt: Rebuilt) -> tuple[Table, ...]:
        """Compare with the photos that the ledger knows, and look again at each difference.

        Args:
            rebuilt: The fold; differences are added to it, and what can be removed is put on the shelf.

        Returns:
            What was found of both.
        """
        found = rebuilt.differences
        tables = []
        for kind, title in ((BLOB, "photos' bytes"), (KEY, "photos' keys")):
            rows = 0
            for photo_id, there, record in merged(self._shelf.rows(kind), self._shelf.rows(KINDS[Photo])):
                rows += there is not None
                difference = self._judge(kind, photo_id, there, record)
                if difference is None or await self._is_there(kind, photo_id) != (there is not None):
                    continue  # as it must be, or it came or went since
                found.add(difference)
                if difference.repairable:
                    self._shelf.put([(REPAIR + kind, photo_id, REMOVED)])
            different = found.repairable[kind] + found.lost[kind]
            basis = f"presence compared; what no entry names and is older than {self._hours} hours is removed"
            tables.append(Table(title, rows, different, basis))
        return tuple(tables)

    async def remove(self) -> None:
        """Delete what :meth:`compare` found to be nobody's, keys first; look again.

        Raises:
            ConsentryError: Something could not be deleted, or is still there.
        """
        owners = [owner for owner, _ in self._shelf.rows(REPAIR + KEY)]
        for first in range(0, len(owners), _AT_ONCE):
            held = [self._keys.find(RecordClass.PHOTO, owner) for owner in owners[first : first + _AT_ONCE]]
            deletion = self._keys.delete([key.dek_id for key in held if key is not None])
            if not deletion.absent:
                raise ConsentryError(Reason.STORAGE_FAILED, "a deleted key is still there: check the disk, try again")
        for owner in owners:
            _log.info("orphan_key_deleted", photo_id=owner)
        for photo_id, _ in self._shelf.rows(REPAIR + BLOB):
            await self._blobs.delete(blob_name(photo_id))
            _log.info("orphan_blob_deleted", photo_id=photo_id)

    def _judge(self, kind: str, photo_id: str, there: bytes | None, record: bytes | None) -> Difference | None:
        photo = None if record is None else from_body(Photo, record)
        if photo is None:
            assert there is not None  # noqa: S101 - for the type checker: one of the two is there
            old, _ = orjson.loads(there)
            unnamed = "no entry names it: an upload that was cut off"
            return Difference(kind, photo_id, "it is there", unnamed) if old else None
        if photo.destruction_id:
            gone = there is None or not self._completed(photo.destruction_id)
            return None if gone else Difference(kind, photo_id, "it is there", "it was destroyed")
        if there is None:
            held = "it is held: restore it from a backup"
            return Difference(kind, photo_id, "it is not there", held, repairable=False)
        dek_id = orjson.loads(there)[1]
        if kind == KEY and dek_id != photo.dek_id:
            return Difference(kind, photo_id, f"it is {dek_id}", f"it is {photo.dek_id}: restore it", repairable=False)
        return None

    def _completed(self, destruction_id: str) -> bool:
        body = self._shelf.get(KINDS[Destruction], destruction_id)
        return body is not None and from_body(Destruction, body).stage is not DestructionStage.REQUESTED

    async def _is_there(self, kind: str, photo_id: str) -> bool:
        if kind == BLOB:
            return await self._blobs.exists(blob_name(photo_id))
        return self._keys.find(RecordClass.PHOTO, photo_id) is not None
