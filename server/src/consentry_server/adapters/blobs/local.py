"""Blobs in a local folder, durable and whole.

obstore's local store never syncs. A blob is therefore written under ``staging/``, synced, linked to its name (which
fails when the name is taken) and its folders are synced; a crash leaves at most a file under ``staging/``, removed at
start.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from obstore.store import LocalStore

from consentry_server.adapters.blobs.objects import DEFAULT_THREADS, ObjectBlobs
from consentry_server.core.errors import ConsentryError, Reason

STAGING: Final = "staging"
LOCAL_PART_BYTES: Final = 512 * 2**10


class LocalBlobs(ObjectBlobs):
    """The blob store of one machine; see ``services.ports_vault.BlobStore`` for what it guarantees.

    Args:
        root: The tenant's blob folder; made on ``start``, for its owner alone.
        threads: Most calls under way at once.
    """

    def __init__(self, root: Path, *, threads: int = DEFAULT_THREADS) -> None:
        self._root = root
        self._threads_wanted = threads

    async def start(self) -> None:
        """Make the folder, and remove what a crash left half-written."""
        try:
            self._root.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
            staging = self._root / STAGING
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(mode=stat.S_IRWXU)
            _sync(self._root)
        except OSError as error:
            raise ConsentryError(
                Reason.STORAGE_FAILED, f"the blob folder {self._root} cannot be used: {error.strerror}"
            ) from error
        super().__init__(LocalStore(self._root), part_bytes=LOCAL_PART_BYTES, threads=self._threads_wanted)
        await super().start()

    def staged(self, path: str) -> str:
        """Under ``staging/``, by a name of its own: two writers of one name never meet."""
        return f"{STAGING}/{path.replace('/', '.')}.{os.urandom(8).hex()}"

    def publish(self, staged: str, path: str) -> None:
        """Sync the file, give it its name if that is free, and sync every folder on the way."""
        source, target = self._root / staged, self._root / path
        _sync(source)
        target.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except FileExistsError as error:
            raise ConsentryError(Reason.ALREADY_EXISTS, "there is a blob of that name already") from error
        try:
            source.unlink()
            self._sync_folders(target)
        except OSError:
            target.unlink()
            raise

    def discard(self, staged: str) -> None:
        """Remove the staged file, and obstore's own half-written one beside it (``…#1``)."""
        for left in (self._root / STAGING).glob(f"{Path(staged).name}*"):
            left.unlink(missing_ok=True)

    def removed(self, path: str) -> None:
        """Sync the folder, so that the name does not come back after a power cut."""
        _sync((self._root / path).parent)

    def _sync_folders(self, target: Path) -> None:
        for folder in target.parents:
            _sync(folder)
            if folder == self._root:
                return


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
