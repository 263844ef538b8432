"""An exported ledger in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

from consentry_server.adapters.sources.limits import longest
from consentry_server.services.verification import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn


_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0)
"""A pipe that somebody put there has nobody at its other end."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with ``checkpoint`` and ``tile/``, as ``consentry audit export`` writes it.

    Args:
        path: The folder.
    """

    path: Path
    has_upper_tiles: bool = True

    def open(self) -> FolderReader:
        """Begin to read; as ``Source.open``."""
        if not self.path.is_dir():
            missing = "is no folder" if self.path.exists() else "does not exist"
            raise SourceError(f"{self.path} {missing}: name a folder that consentry audit export has written")
        return FolderReader(self.path)

    def paths(self) -> Iterator[str]:
        """All files in it; as ``Source.paths``."""
        for folder, _, names in os.walk(self.path, onerror=_refuse):
            below = Path(folder).relative_to(self.path)
            yield from ((below / name).as_posix() for name in names)


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Reads the folder's files; nothing stays open."""

    path: Path

    def read(self, path: str) -> bytes | None:
        """Contents of a file; as ``Reader.read``. What is no regular file counts as none."""
        try:
            handle = os.open(f"{self.path}/{path}", os.O_RDONLY | _NO_WAITING)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"{self.path / path} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(handle)
            if not S_ISREG(status.st_mode):
                return None
            with open(handle, "rb", buffering=0, closefd=False) as file:
                most = longest(path)
                return file.readall() if status.st_size < most else file.read(most)
        except OSError as error:
            raise SourceError(f"{self.path / path} cannot be read: {error.strerror}") from error
        finally:
            os.close(handle)

    def ahead(self, paths: Iterable[str]) -> None:
        """Nothing to do: the system reads ahead."""

    def close(self) -> None:
        """Nothing is open."""


def _refuse(error: OSError) -> NoReturn:
    raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from error
