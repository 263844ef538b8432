"""Files that hold keys: only their owner may read them, and they are replaced whole or not at all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from pathlib import Path

MAX_FILE_BYTES: Final = 2**20


def unavailable(message: str) -> ConsentryError:
    """Return the error for keys that cannot be reached; the message names the remedy."""
    return ConsentryError(Reason.KEYS_UNAVAILABLE, message)


def make_private_folder(folder: Path) -> None:
    """Create the folder for its owner alone, if it is missing, and check it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unavailable(f"the key folder {folder} cannot be made: {error.strerror}") from error
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Refuse a folder of another user, and one in which others could replace files."""
    try:
        found = folder.lstat()
    except OSError as error:
        raise unavailable(f"the key folder {folder} cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise unavailable(f"the key folder {folder} is no folder")
    if found.st_uid != os.geteuid():
        raise unavailable(f"the key folder {folder} belongs to another user: change its owner to the service's user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise unavailable(f"others may write in the key folder {folder}: chmod go-w {folder}")


def read_private(path: Path, what: str) -> bytes:
    """Read a file that only its owner may read.

    Args:
        path: A regular file, no symbolic link.
        what: Its name in messages, ``key file``.

    Raises:
        ConsentryError: KEYS_UNAVAILABLE when it is missing, another user's, readable by others or too large.
    """
    handle = _open_private(path, what)
    try:
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        _check_file(path, what, os.fstat(handle))
    except OSError as error:
        raise unavailable(f"the {what} {path} cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(data) > MAX_FILE_BYTES:
        raise unavailable(f"the {what} {path} is larger than any {what}: is it another file?")
    return data


def replace_private(path: Path, data: bytes, *, overwrite_old: bool) -> None:
    """Put a file in place whole: temporary file, fsync, rename, fsync of the folder.

    Args:
        path: Target; readable by its owner alone afterwards.
        data: All of it.
        overwrite_old: Write zeros over the old file's bytes after the rename, for a key that is destroyed. Best effort:
            what a file system or a flash drive copied elsewhere stays there.

    Raises:
        ConsentryError: STORAGE_FAILED; the old file is then still in place.
    """
    temporary = path.with_name(f".{path.name}.new")
    old = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC) if overwrite_old and path.exists() else -1
    try:
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
        _sync_folder(path.parent)
        if old >= 0:
            os.pwrite(old, bytes(os.fstat(old).st_size), 0)
            os.fsync(old)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"the key file {path} could not be written ({error.strerror}): check the disk"
        ) from error
    finally:
        if old >= 0:
            os.close(old)


def read_passphrase(path: Path) -> bytes:
    """Read a passphrase from a file of its own, such as a systemd credential; a line end at its end is dropped.

    systemd shows a credential to a service through an access list on root's file, which ``stat`` reports as readable by
    the group: that is accepted for files of root, and for no others.
    """
    passphrase = read_private(path, "passphrase file").rstrip(b"\r\n")
    if not passphrase:
        raise unavailable(f"the passphrase file {path} is empty")
    return passphrase


def _open_private(path: Path, what: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise unavailable(f"the {what} {path} is missing: restore it, or run consentry init for a new state") from error
    except OSError as error:
        raise unavailable(f"the {what} {path} cannot be opened: {error.strerror}") from error


def _check_file(path: Path, what: str, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise unavailable(f"the {what} {path} is no regular file")
    me = os.geteuid()
    of_root = found.st_uid == 0 and me != 0 and what == "passphrase file"
    if found.st_uid != me and not of_root:
        raise unavailable(f"the {what} {path} belongs to another user: change its owner to the service's user")
    if found.st_mode & (stat.S_IRWXO if of_root else stat.S_IRWXG | stat.S_IRWXO):
        raise unavailable(f"others may read the {what} {path}: chmod 600 {path}, and consider its keys as seen")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
