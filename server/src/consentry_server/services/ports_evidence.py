"""What an evidence pack needs of the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime


class CoverRenderer(Protocol):
    """Makes the pack's cover."""

    def render(self, cover: Mapping[str, Any], when: datetime) -> bytes:
        """Render a cover as PDF/A. The same values give the same bytes; nothing is taken from the network.

        Args:
            cover: What it says, as ``evidence_cover.cover`` makes it: JSON values.
            when: The time that the document carries, UTC.

        Raises:
            ConsentryError: ``SERVICE_FAULT``: it could not be made, with the reason.
        """


class AnchorFiles(Protocol):
    """What others signed of this ledger's checkpoints: cosigned notes, timestamps, the authorities' certificates."""

    def fetch(self, sizes: Sequence[int]) -> Iterator[tuple[str, bytes]]:
        """The files that bear witness to trees of at least these sizes, and every certificate.

        Args:
            sizes: Numbers of entries; for each, the first tree that is not smaller is wanted, and the newest one.

        Yields:
            Path below the folder, with forward slashes, and contents; in order of paths.

        Raises:
            ConsentryError: ``STORAGE_FAILED``.
        """


class NoAnchors:
    """Where nothing was anchored."""

    def fetch(self, sizes: Sequence[int]) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002 - the port's parameter
        """See ``AnchorFiles``."""
        yield from ()
