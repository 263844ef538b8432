"""Where tiles are published, and what every such place must guarantee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class TileStore(Protocol):
    """One ledger's published files, by the paths of C2SP ``tlog-tiles``.

    One process writes; any thread of any process reads, at any time. A file that is there is whole.
    Every method raises ``STORAGE_FAILED`` or ``STORAGE_FULL`` where the place cannot be used now; a later try may work.
    """

    @property
    def place(self) -> str:
        """The folder or URL, for messages; it holds no secret."""

    def read(self, path: str) -> bytes | None:
        """A file's contents, or None where there is no such file."""

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Write files that never change. Returns only when all of them would survive a power cut.

        A file that is there with the same contents is left alone, so that a broken-off call can be repeated.

        Args:
            files: Path and contents.

        Raises:
            ConsentryError: ``LEDGER_FORKED``: a file is there with other contents; it was not touched.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Put a file that does change in place, whole and durable: the checkpoint."""

    def remove(self, folder: str) -> None:
        """Remove a folder of partial tiles with all that is in it, if there is one."""
