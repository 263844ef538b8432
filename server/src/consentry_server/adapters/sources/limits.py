"""How long the files of a ledger can be; a source that gives more is read no further."""

from __future__ import annotations

from typing import Final

from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH, is_pack_path
from consentry_server.core.ledger.note import MAX_NOTE_BYTES
from consentry_server.core.ledger.rotation import KEYS_PATH
from consentry_server.core.ledger.tiles import FULL_TILE_BYTES, MAX_BUNDLED_ENTRY_BYTES, TILE_WIDTH

_MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (MAX_BUNDLED_ENTRY_BYTES + 2)
_MAX_VKEY_BYTES: Final = 1024
_MAX_PACK_BYTES: Final = 2**20


def longest(path: str) -> int:
    """One byte more than a file can have, so that a longer one is seen to be too long.

    Args:
        path: Such as ``tile/entries/000``.

    Returns:
        Bytes to read at most.
    """
    if path in {CHECKPOINT_PATH, KEYS_PATH}:
        return MAX_NOTE_BYTES + 1
    if path == VKEY_PATH:
        return _MAX_VKEY_BYTES + 1
    if is_pack_path(path):
        return _MAX_PACK_BYTES + 1
    return (_MAX_BUNDLE_BYTES if path.startswith("tile/entries/") else FULL_TILE_BYTES) + 1
