"""Tile layout: paths, which tiles exist, what is new, and the growing tree that fills them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import Reason
from consentry_server.core.ledger import merkle, tiles
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.tiles import ENTRIES, Tile
from tests.unit.ledger.ledgers import Ledger

KNOWN = json.loads((Path(__file__).parents[2] / "data/vectors/c2sp/vectors.json").read_bytes())
SIZES = st.integers(0, 300_000)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(0, 1234067, 12), "tile/0/x001/x234/067.p/12"),
        (Tile(ENTRIES, 0, 1), "tile/entries/000.p/1"),
        (Tile(ENTRIES, 1000), "tile/entries/x001/000"),
        (Tile(63, 999, 255), "tile/63/999.p/255"),
    ],
)
def test_paths_are_as_the_specification_writes_them(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert tiles.parse_path(path) == tile


def test_the_number_of_the_specifications_example() -> None:
    for number, path in KNOWN["tile_path"].items():
        assert tiles.encode_number(int(number)) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/67",
        "tile/0/0067",
        "tile/00/067",
        "tile/64/067",
        "tile/-1/067",
        "tile/0/001/067",
        "tile/0/x000/067",
        "tile/0/x001/x067",
        "tile/0/067.p/0",
        "tile/0/067.p/256",
        "tile/0/067.p/012",
        "tile/0/067.p/",
        "tile/0/067/",
        "/tile/0/067",
        "tile/0/../067",
        "tile/data/067",
        "tile/0/\u0660\u0661\u0662",
        "tile/0/067\n",
        "tile/0/" + "x999/" * 2000 + "067",
        "tile/0/" + "x999/" * 6 + "999",
    ],
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(LedgerError) as refused:
        tiles.parse_path(path)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_a_tile_has_no_negative_number() -> None:
    with pytest.raises(LedgerError):
        tiles.encode_number(-1)


def test_the_layout_of_the_specifications_example() -> None:
    known = KNOWN["tile_layout_70000"]
    layout = list(tiles.tiles_at(70_000))

    def count(level: int) -> tuple[int, list[int]]:
        mine = [tile for tile in layout if tile.level == level]
        return sum(tile.full for tile in mine), [tile.width for tile in mine if not tile.full]

    assert count(0) == count(ENTRIES) == (known["level0_full"], [known["level0_partial_width"]])
    assert count(1) == (known["level1_full"], [known["level1_partial_width"]])
    assert count(2) == (0, [known["level2_partial_width"]])
    assert max(tile.level for tile in layout) == 2


def test_256_entries_are_a_full_tile_and_one_hash_above() -> None:
    assert list(tiles.tiles_at(0)) == []
    assert [tile.path for tile in tiles.tiles_at(255)] == ["tile/entries/000.p/255", "tile/0/000.p/255"]
    assert [tile.path for tile in tiles.tiles_at(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


@settings(max_examples=60)
@given(SIZES)
def test_partial_widths_follow_the_formula_and_none_is_empty(size: int) -> None:
    layout = list(tiles.tiles_at(size))
    assert all(1 <= tile.width <= 256 for tile in layout)
    for level in range(4):
        partial = [tile.width for tile in layout if tile.level == level and not tile.full]
        assert partial == ([size // 256**level % 256] if size // 256**level % 256 else [])
        assert sum(tile.width for tile in layout if tile.level == level) == size // 256**level


@settings(max_examples=60)
@given(SIZES, st.integers(0, 2000))
def test_what_is_new_is_what_was_not_there(old: int, more: int) -> None:
    new = old + more
    assert set(tiles.tiles_between(old, new)) == set(tiles.tiles_at(new)) - set(tiles.tiles_at(old))


def test_partials_may_go_once_the_full_tile_is_there() -> None:
    assert list(tiles.superseded(0, 256)) == []
    assert list(tiles.superseded(10, 255)) == []
    assert list(tiles.superseded(10, 256)) == ["tile/entries/000.p", "tile/0/000.p"]
    assert list(tiles.superseded(65_535, 65_536)) == ["tile/entries/255.p", "tile/0/255.p", "tile/1/000.p"]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_bundles_read_back(entries: list[bytes]) -> None:
    assert tiles.decode_bundle(tiles.encode_bundle(entries)) == entries


def test_a_bundle_is_lengths_and_bytes() -> None:
    assert tiles.encode_bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert len(tiles.encode_bundle([b"x" * 65_535])) == 65_537


@pytest.mark.parametrize("entries", [[], [b""] * 257, [b"x" * 65_536]])
def test_bundles_out_of_bounds_are_refused(entries: list[bytes]) -> None:
    with pytest.raises(LedgerError):
        tiles.encode_bundle(entries)


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01ab", b"\x00\x00" * 257])
def test_damaged_bundles_are_refused(data: bytes) -> None:
    with pytest.raises(LedgerError) as damaged:
        tiles.decode_bundle(data)
    assert damaged.value.reason is Reason.DATA_DAMAGED


def leaf(index: int) -> bytes:
    return merkle.hash_leaf(b"%d" % index)


@pytest.fixture(scope="module")
def big() -> Ledger:
    """More than one full tile of level 1, without the entries' bytes."""
    ledger = Ledger()
    for index in range(66_000):
        ledger.leaves.append(leaf(index))
        for tile in ledger.tree.append(ledger.leaves[-1]):
            ledger.full[tile.level, tile.number] = tile
    return ledger


def test_the_growing_tree_completes_each_tile_once_with_its_root(big: Ledger) -> None:
    assert sorted(big.full) == [(0, number) for number in range(257)] + [(1, 0)]
    for (level, number), tile in big.full.items():
        assert len(tile.hashes) == tiles.FULL_TILE_BYTES
        first = number * 256 ** (level + 1)
        frontier = merkle.Frontier()
        for one in big.leaves[first : first + 256 ** (level + 1)]:
            frontier.append(one)
        assert (tile.level, tile.number, tile.root) == (level, number, frontier.root())


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, 65_999, 66_000])
def test_proofs_come_out_of_tiles_for_every_size_reached(big: Ledger, size: int) -> None:
    hashes = tiles.TileHashes(size, big.read_tile)
    root = merkle.frontier_at(size, hashes).root()
    frontier = merkle.Frontier()
    for one in big.leaves[:size]:
        frontier.append(one)
    assert frontier.root() == root
    for index in {0, size // 3, size // 2, size - 1}:
        merkle.verify_inclusion(big.leaves[index], index, size, merkle.inclusion_proof(index, size, hashes), root)
    whole = tiles.TileHashes(66_000, big.read_tile)
    proof = merkle.consistency_proof(size, 66_000, whole)
    merkle.verify_consistency(size, 66_000, proof, root, big.tree.root())


def test_there_is_no_hash_of_a_subtree_that_is_not_complete(big: Ledger) -> None:
    hashes = tiles.TileHashes(257, big.read_tile)
    for level, index in ((0, 257), (1, 128), (8, 1), (9, 0), (-1, 0), (0, -1)):
        with pytest.raises(LedgerError) as refused:
            hashes(level, index)
        assert refused.value.reason is Reason.FIELD_INVALID


def test_a_tile_of_another_length_is_refused(big: Ledger) -> None:
    hashes = tiles.TileHashes(256, lambda *place: big.read_tile(*place)[:-1])
    with pytest.raises(LedgerError) as damaged:
        hashes(8, 0)
    assert damaged.value.reason is Reason.DATA_DAMAGED


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_700])
def test_a_stored_tree_is_taken_up_and_grows_on_as_before(big: Ledger, size: int) -> None:
    frontier = merkle.frontier_at(size, tiles.TileHashes(size, big.read_tile))
    tree = tiles.GrowingTree.load(frontier, big.read_tile)
    for index in range(size, size + 300):
        for tile in tree.append(leaf(index)):
            assert tile == big.full[tile.level, tile.number]
    assert tree.size == size + 300
    assert tree.frontier.hashes == merkle.frontier_at(size + 300, tiles.TileHashes(size + 300, big.read_tile)).hashes


def test_a_stored_tree_that_was_damaged_is_refused(big: Ledger) -> None:
    frontier = merkle.frontier_at(300, tiles.TileHashes(300, big.read_tile))
    for level in (0, 1):

        def flipped(at: int, number: int, width: int, level: int = level) -> bytes:
            data = big.read_tile(at, number, width)
            return bytes([data[0] ^ 1]) + data[1:] if at == level else data

        with pytest.raises(LedgerError, match="stored root"):
            tiles.GrowingTree.load(frontier, flipped)
    with pytest.raises(LedgerError, match="does not have"):
        tiles.GrowingTree.load(frontier, lambda *place: big.read_tile(*place)[32:])


def test_a_batch_that_is_dropped_leaves_no_trace() -> None:
    tree = tiles.GrowingTree()
    for index in range(255):
        tree.append(leaf(index))
    before = tree.root()
    tried = tree.copy()
    assert len(tried.append(bytes(32))) == 1
    assert (tree.size, tree.root()) == (255, before)
    [tile] = tree.append(leaf(255))
    assert tile.root == tree.root()
