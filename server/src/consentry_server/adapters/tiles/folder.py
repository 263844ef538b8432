"""Tiles in a local folder: temporary file, fsync, link to the name, fsync of every folder on the way."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from consentry_server.adapters.tiles.errors import differing, unreachable
from consentry_server.core.errors import ConsentryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

BESIDE: Final = ".new"


class FolderTiles:
    """Implements ``services.ports_tiles.TileStore``.

    Args:
        root: The ledger's own folder; made for its owner alone when the first file is written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rooted = False

    @property
    def place(self) -> str:
        """See the port."""
        return str(self._root)

    def read(self, path: str) -> bytes | None:
        """See the port."""
        with self._failures():
            try:
                return (self._root / path).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """See the port: a link takes a name only where it is free."""
        with self._failures():
            for path, data in files:
                target = self._root / path
                beside = self._write_beside(target.parent, data)
                try:
                    os.link(beside, target)
                except FileExistsError as error:
                    if target.read_bytes() != data:
                        raise differing(path, self.place) from error
                finally:
                    beside.unlink()
            self._sync_folders(self._root / path for path, _data in files)

    def replace(self, path: str, data: bytes) -> None:
        """See the port."""
        target = self._root / path
        with self._failures():
            self._write_beside(target.parent, data).replace(target)
            self._sync_folders([target])

    def remove(self, folder: str) -> None:
        """See the port. What a power cut brings back of it does no harm: it is the beginning of the full tile."""
        with self._failures():
            try:
                shutil.rmtree(self._root / folder)
            except FileNotFoundError:
                return

    def _write_beside(self, folder: Path, data: bytes) -> Path:
        """A synced file that waits for its name; a crash leaves at most this one, and the next write replaces it."""
        self._make_root()
        folder.mkdir(parents=True, exist_ok=True)
        beside = self._root / BESIDE
        beside.unlink(missing_ok=True)  # never written over: a crash may have left it linked to its name
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return beside

    def _make_root(self) -> None:
        """Once in a process: an earlier one may have made the folders and died before they were durable."""
        if not self._rooted:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in self._root.absolute().parents:
                with suppress(PermissionError):  # one that we may not read was not made by us
                    _sync(folder)
            self._rooted = True

    def _sync_folders(self, targets: Iterable[Path]) -> None:
        """Every folder from each file's own up to the root, each once."""
        folders = {folder for target in targets for folder in target.parents if folder.is_relative_to(self._root)}
        for folder in sorted(folders, reverse=True):
            _sync(folder)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except ConsentryError:
            raise
        except OSError as error:
            raise unreachable(self.place, full=error.errno in {errno.ENOSPC, errno.EDQUOT}) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
