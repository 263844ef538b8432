"""Export: the files of a ledger in the layout of C2SP ``tlog-tiles``, made incrementally and in a safe order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.errors import damaged, invalid
from consentry_server.core.ledger.merkle import HASH_BYTES
from consentry_server.core.ledger.tiles import ENTRIES, TILE_WIDTH, encode_bundle, tiles_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from consentry_server.core.ledger.note import VerifierKey

CHECKPOINT_PATH: Final = "checkpoint"  # C2SP tlog-tiles
VKEY_PATH: Final = "vkey"
_PACK_PATH: Final = re.compile(r"packs/[0-9a-f]{64}\.toml")


def pack_path(sha256: str) -> str:
    """Where an export has the bytes of a law pack, so that its decisions can be replayed from it alone."""
    return f"packs/{sha256}.toml"


def is_pack_path(path: str) -> bool:
    """Whether a file is a law pack; its name says its hash, which the entry that activated it names."""
    return _PACK_PATH.fullmatch(path) is not None


def export_tiles(
    old_size: int,
    new_size: int,
    *,
    read_entries: Callable[[int, int], Sequence[bytes]],
    read_tile: Callable[[int, int, int], bytes],
) -> Iterator[tuple[str, bytes]]:
    """The tiles and entry bundles to be written since an earlier export.

    Args:
        old_size: Number of entries that are exported already; 0 for a new folder.
        new_size: Number of entries to be exported.
        read_entries: ``read_entries(first, count)`` gives that many entries' bytes.
        read_tile: ``read_tile(level, number, width)`` gives the first ``width`` hashes of a tile, as ``TileHashes``
            takes it.

    Yields:
        Path and contents. Files are never changed: each is new, or was written before with the same contents.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the sizes are out of order; ``DATA_DAMAGED`` where a reader gives another
            number of entries or hashes than it was asked for.
    """
    if not 0 <= old_size <= new_size:
        msg = f"a ledger of {old_size} entries cannot be brought to {new_size}"
        raise invalid(msg)
    for tile in tiles_between(old_size, new_size):
        if tile.level == ENTRIES:
            entries = read_entries(tile.number * TILE_WIDTH, tile.width)
            found, data = len(entries), encode_bundle(entries) if entries else b""
        else:
            data = read_tile(tile.level, tile.number, tile.width)
            found, rest = divmod(len(data), HASH_BYTES)
            found = found if rest == 0 else -1
        if found != tile.width:
            msg = f"the store did not give the {tile.width} items of {tile.path}"
            raise damaged(msg)
        yield tile.path, data


def export(
    old_size: int,
    checkpoint: bytes,
    key: VerifierKey,
    *,
    read_entries: Callable[[int, int], Sequence[bytes]],
    read_tile: Callable[[int, int, int], bytes],
    beside: Iterable[tuple[str, bytes]] = (),
) -> Iterator[tuple[str, bytes]]:
    """All files to be written for a checkpoint, in an order that is safe to break off anywhere.

    The checkpoint comes last: whoever reads it finds everything that it covers.

    Args:
        old_size: Number of entries that are exported already; 0 for a new folder.
        checkpoint: The signed note.
        key: The ledger's key.
        read_entries: As in ``export_tiles``.
        read_tile: As in ``export_tiles``.
        beside: Path and contents of what belongs to the ledger and is no tile: ``keys``, ``anchors/...``,
            ``packs/...``.

    Yields:
        Path and contents: ``vkey``, ``tile/...``, what stands beside, ``checkpoint``.

    Raises:
        LedgerError: as ``export_tiles``; ``DATA_DAMAGED`` where the key did not sign the checkpoint.
    """
    size = open_checkpoint(checkpoint, key).checkpoint.size
    yield VKEY_PATH, f"{key.vkey}\n".encode()
    yield from export_tiles(old_size, size, read_entries=read_entries, read_tile=read_tile)
    yield from beside
    yield CHECKPOINT_PATH, checkpoint
