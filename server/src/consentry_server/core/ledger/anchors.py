"""The files of anchors, beside a ledger and in its exports.

For each anchored size there is a folder with the checkpoint of that size, which bears the log's own signature alone
and never changes, and one file for each anchor: a timestamp response (RFC 3161) over that checkpoint file, or a
cosignature line (C2SP tlog-cosignature) for its signatures.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger.checkpoint import add_signatures
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.note import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

ANCHORS_PATH: Final = "anchors"
CHECKPOINT_NAME: Final = "checkpoint"
TIMESTAMP: Final = ".tsr"
"""What the name of a timestamp response ends with."""
COSIGNATURE: Final = ".cosignature"
"""What the name of a cosignature line ends with."""
_PATH: Final = re.compile(r"anchors/([1-9][0-9]{0,18})/([a-z0-9][a-z0-9._-]{0,80})", re.ASCII)


def path(size: int, name: str) -> str:
    """Path of an anchor's file, such as ``anchors/1234/checkpoint`` or ``anchors/1234/authority.tsr``."""
    return f"{ANCHORS_PATH}/{size}/{name}"


def parse_path(text: str) -> tuple[int, str] | None:
    """Size and name of an anchor's file by its path, or None where it is none."""
    match = _PATH.fullmatch(text)
    return None if match is None else (int(match[1]), match[2])


def with_cosignatures(checkpoint: bytes, lines: Iterable[bytes]) -> bytes:
    """Add cosignature lines, as they are kept, to the checkpoint that they are for.

    Args:
        checkpoint: The signed note.
        lines: Signature lines with their newlines.

    Returns:
        The note with the lines after those it had.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where a line is none.
    """
    own = len(parse(checkpoint).signatures)
    added = [one for line in lines for one in parse(checkpoint + line).signatures[own:]]
    return add_signatures(checkpoint, added)


def with_kept_cosignatures(checkpoint: bytes, size: int, kept: Iterable[tuple[str, bytes]]) -> bytes:
    """Add to a checkpoint the cosignature lines that are kept for its size.

    Args:
        checkpoint: The signed note.
        size: Its size.
        kept: Path and contents of the kept files.

    Returns:
        The note with the lines after those it had; a damaged line is left out, and stays to be seen in its own file.
    """
    for text, data in kept:
        place = parse_path(text)
        if place is not None and place[0] == size and place[1].endswith(COSIGNATURE):
            with suppress(LedgerError):
                checkpoint = with_cosignatures(checkpoint, (data,))
    return checkpoint
