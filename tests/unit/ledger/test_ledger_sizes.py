"""Trees of every size up to 100,000: proofs from tiles alone, checked by the algorithms of RFC 9162 and by pymerkle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pymerkle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.ledger import merkle
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.tiles import TILE_WIDTH, GrowingTree, TileHashes, width_at

LARGEST = 100_000
OTHERS = 3_000
"""Entries of the other implementation's tree; it proves by recursion, and slowly."""
SIZES = st.integers(1, LARGEST)


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def entry(index: int) -> bytes:
    return b"%d" % index


@dataclass(frozen=True)
class Tree:
    """A tree of the largest size.

    Args:
        rows: In row ``level`` the root of every full subtree of ``256 ** level`` leaves.
        roots: Root at every size.
    """

    rows: list[list[bytes]]
    roots: list[bytes]

    def at(self, size: int) -> Callable[[int, int], bytes]:
        """Hashes of the tree as it was at a size, read from the tiles that there were."""

        def read(level: int, number: int, width: int) -> bytes:
            assert width == width_at(level, number, size), "a tile that is not there at this size"
            return b"".join(self.rows[level][number * TILE_WIDTH : number * TILE_WIDTH + width])

        return TileHashes(size, read)


@pytest.fixture(scope="module")
def tree() -> Tree:
    growing = GrowingTree()
    rows: list[list[bytes]] = [[], [], []]
    roots = [growing.root()]
    for index in range(LARGEST):
        leaf = merkle.hash_leaf(entry(index))
        rows[0].append(leaf)
        for tile in growing.append(leaf):
            rows[tile.level + 1].append(tile.root)
        roots.append(growing.root())
    return Tree(rows, roots)


@pytest.fixture(scope="module")
def theirs() -> pymerkle.InmemoryTree:
    made = pymerkle.InmemoryTree(algorithm="sha256")
    for index in range(OTHERS):
        made.append_entry(entry(index))
    return made


def includes(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    place, last, found = index, size - 1, leaf
    for each in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node(each, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node(found, each)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def consistent(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """RFC 9162, section 2.1.4.2."""
    if old == new:
        return not path and old_root == new_root
    whole = [old_root, *path] if old & (old - 1) == 0 else list(path)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = whole[0]
    for each in whole[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node(each, first), node(each, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node(second, each)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def flipped(path: Sequence[bytes], bit: int) -> list[bytes]:
    """A proof with one bit changed."""
    data = bytearray(b"".join(path))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    return [bytes(data[at : at + 32]) for at in range(0, len(data), 32)]


@settings(max_examples=200)
@given(size=SIZES, seed=st.integers(0, LARGEST - 1), bit=st.integers(0, 17 * 256 - 1))
def test_every_entry_is_proven_from_tiles_and_no_other_proof_passes(tree: Tree, size: int, seed: int, bit: int) -> None:
    index = seed % size
    path = merkle.inclusion_proof(index, size, tree.at(size))
    leaf, root = tree.rows[0][index], tree.roots[size]
    assert includes(index, size, leaf, path, root)
    merkle.verify_inclusion(leaf, index, size, path, root)
    bad = [(index, path[:-1]), (index, [*path, root])]
    if path:
        bad += [(index, flipped(path, bit)), (index ^ 1, path)]
    for other, wrong in bad:
        assume(wrong != path or other != index)
        with pytest.raises(LedgerError):
            merkle.verify_inclusion(leaf, other, size, wrong, root)


@settings(max_examples=200)
@given(sizes=st.tuples(SIZES, SIZES), bit=st.integers(0, 17 * 256 - 1))
def test_every_two_sizes_are_consistent_by_tiles_and_no_other_proof_passes(
    tree: Tree, sizes: tuple[int, int], bit: int
) -> None:
    old, new = sorted(sizes)
    path = merkle.consistency_proof(old, new, tree.at(new))
    assert consistent(old, new, path, tree.roots[old], tree.roots[new])
    merkle.verify_consistency(old, new, path, tree.roots[old], tree.roots[new])
    wrong = [[*path, bytes(32)], *([flipped(path, bit), path[:-1]] if path else [])]
    for each in wrong:
        with pytest.raises(LedgerError):
            merkle.verify_consistency(old, new, each, tree.roots[old], tree.roots[new])


@settings(max_examples=200)
@given(size=SIZES)
def test_the_root_of_any_size_comes_from_its_tiles(tree: Tree, size: int) -> None:
    assert merkle.frontier_at(size, tree.at(size)).root() == tree.roots[size]


@settings(max_examples=100)
@given(size=SIZES, more=st.integers(0, 600))
def test_a_tree_loaded_at_any_size_grows_as_if_it_had_never_stopped(tree: Tree, size: int, more: int) -> None:
    def read(level: int, number: int, width: int) -> bytes:
        return b"".join(tree.rows[level][number * TILE_WIDTH : number * TILE_WIDTH + width])

    loaded = GrowingTree.load(merkle.frontier_at(size, tree.at(size)), read)
    end = min(size + more, LARGEST)
    for leaf in tree.rows[0][size:end]:
        for tile in loaded.append(leaf):
            assert tile.root == tree.rows[tile.level + 1][tile.number]
    assert loaded.root() == tree.roots[end]


@settings(max_examples=60)
@given(size=st.integers(1, OTHERS), seed=st.integers(0, OTHERS - 1))
def test_another_implementation_gives_the_same_roots_and_proofs(
    tree: Tree, theirs: pymerkle.InmemoryTree, size: int, seed: int
) -> None:
    index = seed % size
    assert theirs.get_root(size) == tree.roots[size]
    proof = theirs.prove_inclusion(index + 1, size)
    assert proof.path == [tree.rows[0][index], *merkle.inclusion_proof(index, size, tree.at(size))]
    old = 1 + seed % size
    pymerkle.verify_consistency(tree.roots[old], tree.roots[size], theirs.prove_consistency(old, size))
