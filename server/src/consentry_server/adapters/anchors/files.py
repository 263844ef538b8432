"""What others signed of this ledger, as files in a folder: cosigned checkpoints, timestamps, certificates."""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_FILE_BYTES: Final = 2**20
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")


class AnchoredFiles:
    """Implements ``services.ports_evidence.AnchorFiles``.

    Files about the tree of a size lie in a folder of that number, as ``1234/checkpoint``; any other file belongs to all
    of them, such as an authority's certificate.

    Args:
        folder: The folder; one that does not exist holds nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, sizes: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """See the port."""
        try:
            names = sorted(
                (path.relative_to(self._folder).as_posix(), path)
                for path in self._folder.rglob("*")
                if path.is_file() and all(map(_PLAIN.fullmatch, path.relative_to(self._folder).parts))
            )
            anchored = sorted({size for name, _ in names if (size := _size(name)) is not None})
            firsts = (bisect_left(anchored, size) for size in sizes)
            wanted = {None, *anchored[-1:], *(anchored[at] for at in firsts if at < len(anchored))}
            for name, path in names:
                if _size(name) in wanted and path.stat().st_size <= MAX_FILE_BYTES:
                    yield name, path.read_bytes()
        except OSError as error:
            raise ConsentryError(
                Reason.STORAGE_FAILED, f"the anchors cannot be read ({error.strerror}): mend {self._folder} first"
            ) from error


def _size(name: str) -> int | None:
    folder, _, file = name.partition("/")
    return int(folder) if file and folder.isascii() and folder.isdigit() else None
