"""Tiles, C2SP ``tlog-tiles``: where in the tree each hash is kept, and under which path. Pure arithmetic.

A tile of level ``L`` and number ``N`` holds up to 256 hashes, the roots of the subtrees of height ``8 * L`` from the
one at ``256 * N``. A full tile has all 256; a partial one stands at the right edge, is never hashed into the level
above, and is never empty. Entry bundles are numbered as the tiles of level 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger.errors import damaged, invalid
from consentry_server.core.ledger.merkle import HASH_BYTES, MAX_SIZE, Frontier, perfect_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TILE_HEIGHT: Final = 8  # C2SP tlog-tiles
TILE_WIDTH: Final = 256  # C2SP tlog-tiles
FULL_TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
MAX_BUNDLED_ENTRY_BYTES: Final = 65_535  # the length prefix of an entry bundle is a uint16
ENTRIES: Final = -1
"""The level of entry bundles."""

_LENGTH_BYTES: Final = 2
_MAX_LEVEL: Final = 63  # C2SP tlog-tiles
_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile or an entry bundle, by its place.

    Args:
        level: From 0; ``ENTRIES`` for an entry bundle.
        number: Place in the level, from 0.
        width: Hashes or entries in it, 1 to 256; fewer than 256 is a partial tile.
    """

    level: int
    number: int
    width: int = TILE_WIDTH

    @property
    def full(self) -> bool:
        """Whether it has all its 256."""
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """Such as ``tile/0/x001/x234/067.p/12`` or ``tile/entries/000``."""
        return self.path_if_full if self.full else f"{self.path_if_full}.p/{self.width}"

    @property
    def path_if_full(self) -> str:
        """Path of the tile once it is full; its partial ones lie in the folder of that name with ``.p``."""
        return f"tile/{'entries' if self.level == ENTRIES else self.level}/{encode_number(self.number)}"


@dataclass(frozen=True, slots=True)
class FullTile:
    """The contents of a hash tile that is complete and will not change.

    Args:
        level: From 0.
        number: Place in the level, from 0.
        root: Root over its hashes, 32 bytes: a hash of the tile above.
        hashes: 256 hashes, 8,192 bytes.
    """

    level: int
    number: int
    root: bytes
    hashes: bytes


def encode_number(number: int) -> str:
    """Write a tile's number as path elements: 1234067 is ``x001/x234/067``."""
    if number < 0:
        msg = f"a tile's number cannot be {number}"
        raise invalid(msg)
    path = f"{number % 1000:03d}"
    while number >= 1000:  # noqa: PLR2004 - three digits to an element, C2SP tlog-tiles
        number //= 1000
        path = f"x{number % 1000:03d}/{path}"
    return path


def parse_path(path: str) -> Tile:
    """Read a tile's path strictly.

    Args:
        path: Such as ``tile/0/x001/x234/067.p/12``.

    Returns:
        The tile's place.

    Raises:
        LedgerError: ``FIELD_INVALID`` for anything that ``Tile.path`` would not write.
    """
    match = _PATH.fullmatch(path)
    if match is not None:
        level = ENTRIES if match[1] == "entries" else int(match[1])
        number = int(match[2].replace("x", "").replace("/", ""))
        tile = Tile(level, number, int(match[3]) if match[3] else TILE_WIDTH)
        if level <= _MAX_LEVEL and number <= MAX_SIZE and tile.width <= TILE_WIDTH and tile.path == path:
            return tile
    msg = f"{path[:128]!r} is not the path of a tile"
    raise invalid(msg)


def width_at(level: int, number: int, size: int) -> int:
    """How many hashes or entries a tile has in a tree.

    Args:
        level: From 0; ``ENTRIES`` for an entry bundle.
        number: Place in the level.
        size: Number of entries of the tree.

    Returns:
        0 to 256; 0 where the tile does not exist yet.
    """
    return min(max((size >> (TILE_HEIGHT * max(level, 0))) - number * TILE_WIDTH, 0), TILE_WIDTH)


def tiles_at(size: int) -> Iterator[Tile]:
    """Every tile and entry bundle of a tree, bundles first, then level by level.

    Args:
        size: Number of entries of the tree.

    Yields:
        Full tiles and, at the right edge, partial ones.
    """
    return tiles_between(0, size)


def tiles_between(old_size: int, new_size: int) -> Iterator[Tile]:
    """The tiles and entry bundles that a tree has and an earlier one did not.

    Args:
        old_size: Number of entries of the earlier tree.
        new_size: Number of entries of the later tree.

    Yields:
        Bundles first, then hash tiles level by level; a partial tile that grew is there in its new width.
    """
    level = ENTRIES
    while level <= 0 or new_size >> (TILE_HEIGHT * level):
        height = TILE_HEIGHT * max(level, 0)
        old, new = old_size >> height, new_size >> height
        for number in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            width = width_at(level, number, new_size)
            if width != width_at(level, number, old_size):
                yield Tile(level, number, width)
        level += 1


def superseded(old_size: int, new_size: int) -> Iterator[str]:
    """Folders of partial tiles that may be deleted: the full tile exists now and did not before.

    Args:
        old_size: Number of entries of the earlier tree.
        new_size: Number of entries of the later tree, whose tiles have been written.

    Yields:
        Such as ``tile/0/x001/x234/067.p``.
    """
    for tile in tiles_between(old_size, new_size):
        if tile.full and width_at(tile.level, tile.number, old_size):
            yield f"{tile.path}.p"


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Write an entry bundle: for each entry a big-endian uint16 length, then its bytes.

    Args:
        entries: 1 to 256 entries.

    Returns:
        The bundle.

    Raises:
        LedgerError: ``FIELD_INVALID`` for none, too many, or one too long.
    """
    if not 0 < len(entries) <= TILE_WIDTH or any(len(entry) > MAX_BUNDLED_ENTRY_BYTES for entry in entries):
        msg = f"a bundle has 1 to {TILE_WIDTH} entries of up to {MAX_BUNDLED_ENTRY_BYTES} bytes"
        raise invalid(msg)
    return b"".join([len(entry).to_bytes(_LENGTH_BYTES, "big") + entry for entry in entries])


def decode_bundle(data: bytes) -> list[bytes]:
    """Read an entry bundle.

    Args:
        data: The bundle's bytes.

    Returns:
        The entries that it holds; how many there must be is for the caller to check.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the last entry is cut short or there are more than 256.
    """
    entries, rest = split_bundle(data)
    if rest or len(entries) > TILE_WIDTH:
        msg = f"the bundle does not end with a whole entry after its {len(entries)}"
        raise damaged(msg)
    return entries


def split_bundle(data: bytes) -> tuple[list[bytes], bytes]:
    """Read as much of a bundle as there is, to say where it is damaged.

    Args:
        data: The bundle's bytes.

    Returns:
        The whole entries, and what is left after them.
    """
    entries = []
    position, end = 0, len(data)
    while position + _LENGTH_BYTES <= end:
        start = position + _LENGTH_BYTES
        stop = start + (data[position] << 8 | data[position + 1])
        if stop > end:
            break
        entries.append(data[start:stop])
        position = stop
    return entries, data[position:]


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes of a tile, 32 bytes each; the last is shorter where the tile was cut."""
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


class TileHashes:
    """The hashes of complete subtrees, read out of tiles: what proofs are made from.

    Reads each tile once; made for one proof or a few, and dropped with them.

    Args:
        size: Number of entries of the tree.
        read: ``read(level, number, width)`` gives the first ``width`` hashes of a tile, ``32 * width`` bytes.
            For a full tile, those are its 256. For a partial one of level 0 they are leaf hashes, of level L the
            roots of the full tiles of level L-1 from number ``256 * number``.
    """

    __slots__ = ("_read", "_size", "_tiles")

    def __init__(self, size: int, read: Callable[[int, int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._tiles: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Hash of the complete subtree at ``(level, index)``, as ``merkle.HashAt`` has it.

        Args:
            level: Height of the subtree.
            index: Which one, from 0.

        Returns:
            32 bytes.

        Raises:
            LedgerError: ``FIELD_INVALID`` where the tree has no such subtree; ``DATA_DAMAGED`` where a tile that was
                read has another length than its width demands.
        """
        if level < 0 or index < 0 or (index + 1) << level > self._size:
            msg = f"a tree of {self._size} has no complete subtree {index} of height {level}"
            raise invalid(msg)
        tile_level, height = divmod(level, TILE_HEIGHT)
        first = index << height
        number, offset = divmod(first, TILE_WIDTH)
        tile = self._tile(tile_level, number)
        return perfect_root(split_hashes(tile[offset * HASH_BYTES : (offset + (1 << height)) * HASH_BYTES]))

    def _tile(self, level: int, number: int) -> bytes:
        tile = self._tiles.get((level, number))
        if tile is None:
            width = width_at(level, number, self._size)
            tile = self._read(level, number, width)
            if len(tile) != width * HASH_BYTES:
                msg = f"{Tile(level, number, width).path} has {len(tile)} bytes instead of {width * HASH_BYTES}"
                raise damaged(msg)
            self._tiles[level, number] = tile
        return tile


class GrowingTree:
    """The tree as its one writer holds it: the frontier, and the hashes of the tiles that are not yet full.

    Memory does not grow with the ledger: at most 255 hashes a level.
    """

    __slots__ = ("_frontier", "_rows")

    def __init__(self) -> None:
        self._frontier = Frontier()
        self._rows: list[list[bytes]] = [[]]

    @classmethod
    def load(cls, frontier: Frontier, read: Callable[[int, int, int], bytes]) -> GrowingTree:
        """Take up a stored tree.

        Args:
            frontier: As it was stored with the head.
            read: As ``TileHashes`` takes it; asked for the partial tiles alone.

        Returns:
            A tree that can be appended to.

        Raises:
            LedgerError: ``DATA_DAMAGED`` where the partial tiles do not lead to the frontier's root.
        """
        tree = cls()
        size = frontier.size
        tree._frontier = frontier.copy()
        tree._rows = []
        level = 0
        while level == 0 or size >> (TILE_HEIGHT * level):
            number, width = divmod(size >> (TILE_HEIGHT * level), TILE_WIDTH)
            row = split_hashes(read(level, number, width)) if width else []
            if len(row) != width or any(len(one) != HASH_BYTES for one in row):
                msg = f"{Tile(level, number, width).path} does not have its {width} hashes"
                raise damaged(msg)
            tree._rows.append(row)
            level += 1
        if tree._root_of_rows() != frontier.root():
            msg = f"the stored hashes do not lead to the stored root of the tree of {size}"
            raise damaged(msg)
        return tree

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._frontier.size

    @property
    def frontier(self) -> Frontier:
        """The frontier as it stands; to be stored with the head."""
        return self._frontier

    def root(self) -> bytes:
        """Root of the tree as it stands, 32 bytes."""
        return self._frontier.root()

    def copy(self) -> GrowingTree:
        """A tree of its own, so that a batch can be tried and dropped."""
        tree = GrowingTree()
        tree._frontier = self._frontier.copy()
        tree._rows = [row.copy() for row in self._rows]
        return tree

    def append(self, leaf: bytes) -> tuple[FullTile, ...]:
        """Add a leaf hash, 32 bytes.

        Args:
            leaf: Hash of the entry.

        Returns:
            The tiles that it completed, lowest level first; mostly none.
        """
        self._frontier.append(leaf)
        row = self._rows[0]
        row.append(leaf)
        return () if len(row) < TILE_WIDTH else self._complete()

    def _complete(self) -> tuple[FullTile, ...]:
        completed = []
        level = 0
        while len(self._rows[level]) == TILE_WIDTH:
            row = self._rows[level]
            number = (self._frontier.size >> (TILE_HEIGHT * (level + 1))) - 1
            tile = FullTile(level, number, perfect_root(row), b"".join(row))
            completed.append(tile)
            row.clear()
            level += 1
            if level == len(self._rows):
                self._rows.append([])
            self._rows[level].append(tile.root)
        return tuple(completed)

    def _root_of_rows(self) -> bytes:
        edge = Frontier()
        for level in range(len(self._rows) - 1, -1, -1):
            for one in self._rows[level]:
                edge.append_subtree(TILE_HEIGHT * level, one)
        return edge.root()
