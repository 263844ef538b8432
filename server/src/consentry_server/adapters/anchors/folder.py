"""Anchors' files in a folder beside the ledger: one folder for each anchored size."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.anchors import ANCHORS_PATH, parse_path, path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


LOOKED_BACK: Final = 1_000
"""Anchored sizes, the largest ones, in which an anchor's file is looked for; one that is not among them begins anew."""


class AnchorFolder:
    """Implements ``services.ports_anchors.AnchorFiles``.

    Args:
        folder: The tenant's data folder; ``anchors`` is made in it when the first file is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = folder / ANCHORS_PATH
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._latest: dict[str, int] = {}

    def keep(self, size: int, name: str, data: bytes) -> bool:
        """See the port: written beside, synced, linked to its name where there is none, folders synced."""
        target = self._folder / path(size, name)
        with self._failures(), self._lock:
            before = self._changed()
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = target.with_name(f".{name}.{os.getpid()}.new")
            try:
                with beside.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):
                    target.hardlink_to(beside)
            finally:
                beside.unlink(missing_ok=True)
            for folder in (target.parent, self._root, self._folder):
                _sync(folder)
            now = time.time_ns()
            os.utime(self._root, ns=(now, now))  # so that other processes look again
            if before == self._seen:  # nobody else wrote: what is known stays known
                self._seen = self._changed()
                self._latest[name] = max(size, self._latest.get(name, 0))
            return target.read_bytes() == data

    def read(self, size: int, name: str) -> bytes | None:
        """See the port."""
        with self._failures():
            try:
                return (self._folder / path(size, name)).read_bytes()
            except FileNotFoundError:
                return None

    def latest(self, name: str) -> int:
        """See the port; the folder is read again only where another process has changed it."""
        with self._failures(), self._lock:
            changed = self._changed()
            if changed != self._seen:
                self._latest = {}
                self._seen = changed
            if name not in self._latest:
                root = os.fspath(self._root)  # plain strings: there may be a hundred thousand folders
                sizes = reversed(self._sizes()[-LOOKED_BACK:])
                held = (size for size in sizes if os.access(f"{root}/{size}/{name}", os.F_OK))
                self._latest[name] = next(held, 0)
            return self._latest[name]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and contents of every kept file, for an export: each size's checkpoint, and what anchors gave for it."""
        with self._failures():
            for size in self._sizes():
                for file in sorted((self._root / str(size)).iterdir()):
                    if parse_path(path(size, file.name)) is not None:
                        yield path(size, file.name), file.read_bytes()

    def _sizes(self) -> list[int]:
        """Every anchored size, rising."""
        try:
            with os.scandir(self._root) as found:
                return sorted(int(one.name) for one in found if one.name.isdigit())
        except FileNotFoundError:
            return []

    def _changed(self) -> int | None:
        try:
            return self._root.stat().st_mtime_ns
        except FileNotFoundError:
            return None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConsentryError(
                Reason.STORAGE_FAILED,
                f"the anchors in {self._root} cannot be kept or read ({error.strerror}): mend that",
            ) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
