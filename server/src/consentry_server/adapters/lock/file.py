"""The lock record as a file in a folder of its own, which no backup of the database holds.

A guard against restored backups and second writers, not proof: a snapshot of the whole disk rolls back both.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = "checkpoint"
GUARD = "guard"
HOLDER = "holder"


class FileLockRecord:
    """Implements ``services.ports.LockRecord`` and keeps a second process away.

    Args:
        folder: Its own folder; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record = folder / RECORD
        self._holder = -1

    def hold(self) -> None:
        """Keep every other process from serving this ledger until :meth:`release` or the end of this one.

        Raises:
            ConsentryError: ``STATE_CONFLICT``: another process serves it.
        """
        with _failures(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._holder = os.open(self._folder / HOLDER, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._holder)
                self._holder = -1
                raise ConsentryError(
                    Reason.STATE_CONFLICT, "another process serves this ledger: stop it first; only one may write"
                ) from error

    def release(self) -> None:
        """Let another process serve the ledger."""
        if self._holder >= 0:
            os.close(self._holder)
            self._holder = -1

    def read(self) -> bytes | None:
        """See the port."""
        with _failures(self._folder):
            try:
                return self._record.read_bytes()
            except FileNotFoundError:
                return None

    def swap(self, old: bytes | None, new: bytes) -> bool:
        """See the port: under an exclusive lock, compare, write beside, sync, rename, sync the folder."""
        with _failures(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            guard = os.open(self._folder / GUARD, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(guard, fcntl.LOCK_EX)
                if self.read() != old:
                    return False
                beside = self._record.with_suffix(".new")
                with beside.open("wb") as file:
                    file.write(new)
                    file.flush()
                    os.fsync(file.fileno())
                beside.rename(self._record)
                with _failures(self._folder, renamed=True):
                    folder = os.open(self._folder, os.O_RDONLY)
                    try:
                        os.fsync(folder)
                    finally:
                        os.close(folder)
                return True
            finally:
                os.close(guard)


@contextmanager
def _failures(folder: Path, *, renamed: bool = False) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT} and not renamed:  # after the rename the new record may be seen
            raise ConsentryError(
                Reason.STORAGE_FULL,
                f"the disk of the lock record in {folder.name} is full: free space; it is tried again",
            ) from error
        raise ConsentryError(
            Reason.STORAGE_FAILED,
            f"the lock record in {folder.name} cannot be used ({error.strerror}): mend that first",
        ) from error
