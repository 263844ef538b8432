"""The Merkle tree of RFC 6962 and RFC 9162: hashing, the growing edge, proofs and their verification.

``level`` counts upward from the leaves: the hash at ``(level, index)`` covers the ``2**level`` leaves from
``index * 2**level``. A *complete* subtree has all of them. Proofs are made from hashes of complete subtrees alone,
so any store that can serve those (tiles, rows, memory) can serve every proof for every size it has reached.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger.errors import damaged, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LEAF_PREFIX: Final = b"\x00"  # RFC 6962, section 2.1
NODE_PREFIX: Final = b"\x01"  # RFC 6962, section 2.1
HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()  # RFC 6962, section 2.1
MAX_SIZE: Final = 2**63 - 1
"""The largest size a checkpoint may name; Go's readers hold sizes in a signed 64-bit integer."""
MAX_PROOF_HASHES: Final = 64

HashAt = "Callable[[int, int], bytes]"
"""``hash_at(level, index)``: the hash of a complete subtree, 32 bytes."""


def hash_leaf(entry: bytes) -> bytes:
    """Hash of an entry as a leaf, 32 bytes (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node, 32 bytes (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Root over a power of two of sibling hashes, such as the 256 of a full tile.

    Args:
        hashes: Hashes of 32 bytes in order; 1, 2, 4, 8, ... of them.

    Returns:
        32 bytes.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the number of hashes is not a power of two.
    """
    if not hashes or len(hashes) & (len(hashes) - 1):
        msg = f"a complete subtree has a power of two of hashes, not {len(hashes)}"
        raise invalid(msg)
    row = hashes
    while len(row) > 1:
        pairs = iter(row)
        row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return row[0]


class Frontier:
    """The roots of the complete subtrees along the tree's right edge: all that appending needs.

    Args:
        size: Number of leaves.
        hashes: One hash per set bit of ``size``, largest subtree first, 32 bytes each.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the hashes do not fit the size.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self._size = size
        self._hashes = list(hashes)
        if size < 0 or len(self._hashes) != size.bit_count() or any(len(one) != HASH_BYTES for one in self._hashes):
            msg = f"a frontier of {len(self._hashes)} hashes does not fit a tree of {size} leaves"
            raise damaged(msg)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """One hash per set bit of the size, largest subtree first; with the size, all that must be stored."""
        return tuple(self._hashes)

    def copy(self) -> Frontier:
        """A frontier of its own, so that a batch can be tried and dropped."""
        return Frontier(self._size, self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash, 32 bytes; constant time on average, at most one hash per level."""
        hashes = self._hashes
        size = self._size
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self._size += 1

    def append_subtree(self, level: int, root: bytes) -> None:
        """Add ``2**level`` leaves at once by the root over them.

        Args:
            level: Height of the subtree.
            root: Its root, 32 bytes.

        Raises:
            LedgerError: ``FIELD_INVALID`` where the size is not a multiple of ``2**level``.
        """
        if self._size & ((1 << level) - 1):
            msg = f"a subtree of height {level} cannot stand at {self._size}"
            raise invalid(msg)
        above = self._size >> level
        while above & 1:
            root = hash_node(self._hashes.pop(), root)
            above >>= 1
        self._hashes.append(root)
        self._size += 1 << level

    def root(self) -> bytes:
        """Root of the tree as it stands, 32 bytes; the empty tree's root is the hash of nothing."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in self._hashes[-2::-1]:
            root = sha256(b"\x01" + left + root).digest()
        return root


def frontier_at(size: int, hash_at: Callable[[int, int], bytes]) -> Frontier:
    """The frontier of a tree, read from its complete subtrees.

    Args:
        size: Number of leaves.
        hash_at: Hash of the complete subtree at ``(level, index)``.

    Returns:
        A frontier that can be appended to, or asked for the root.
    """
    return Frontier(size, _complete_subtrees(0, size, hash_at))


def inclusion_proof(index: int, size: int, hash_at: Callable[[int, int], bytes]) -> list[bytes]:
    """Prove that a leaf is in a tree (RFC 6962, section 2.1.1).

    Args:
        index: The leaf, from 0.
        size: Number of leaves of the tree.
        hash_at: Hash of the complete subtree at ``(level, index)``.

    Returns:
        Hashes from the leaf's sibling up to the root's child, 32 bytes each.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the leaf is not in the tree.
    """
    if not 0 <= index < size <= MAX_SIZE:
        msg = f"entry {index} is not in a tree of {size}"
        raise invalid(msg)
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_root(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_root(start, middle, hash_at))
            start = middle
    return proof[::-1]


def consistency_proof(old_size: int, new_size: int, hash_at: Callable[[int, int], bytes]) -> list[bytes]:
    """Prove that a tree grew out of an earlier one (RFC 6962, section 2.1.2).

    Args:
        old_size: Number of leaves of the earlier tree, at least 1.
        new_size: Number of leaves of the later tree.
        hash_at: Hash of the complete subtree at ``(level, index)``.

    Returns:
        Hashes of 32 bytes; none where the sizes are equal.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the sizes are out of order or the earlier tree is empty.
    """
    if not 0 < old_size <= new_size <= MAX_SIZE:
        msg = f"there is no consistency proof from {old_size} to {new_size}"
        raise invalid(msg)
    proof = []
    start, end, whole = 0, new_size, True
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_range_root(middle, end, hash_at))
            end = middle
        else:
            proof.append(_range_root(start, middle, hash_at))
            start, whole = middle, False
    if not whole:
        proof.append(_range_root(start, end, hash_at))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check an inclusion proof (RFC 9162, section 2.1.3.2).

    Args:
        leaf: Hash of the leaf, 32 bytes.
        index: The leaf, from 0.
        size: Number of leaves of the tree.
        proof: Hashes from the leaf's sibling upward.
        root: Root of the tree, 32 bytes.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the proof does not hold, for whatever reason.
    """
    if not 0 <= index < size <= MAX_SIZE:
        msg = f"entry {index} is not in a tree of {size}"
        raise damaged(msg)
    _check_hashes(proof, leaf, root)
    first, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            msg = f"an inclusion proof of {len(proof)} hashes is too long for a tree of {size}"
            raise damaged(msg)
        if first & 1 or first == last:
            computed = hash_node(sibling, computed)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            computed = hash_node(computed, sibling)
        first >>= 1
        last >>= 1
    if last or computed != root:
        msg = f"the inclusion proof of entry {index} does not lead to the root of the tree of {size}"
        raise damaged(msg)


def verify_consistency(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Check a consistency proof (RFC 9162, section 2.1.4.2).

    Args:
        old_size: Number of leaves of the earlier tree, at least 1: an empty tree is consistent with anything.
        new_size: Number of leaves of the later tree.
        proof: Hashes as ``consistency_proof`` gives them.
        old_root: Root of the earlier tree, 32 bytes.
        new_root: Root of the later tree, 32 bytes.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the proof does not hold, for whatever reason.
    """
    if not 0 < old_size <= new_size <= MAX_SIZE:
        msg = f"there is no consistency proof from {old_size} to {new_size}"
        raise damaged(msg)
    _check_hashes(proof, old_root, new_root)
    failed = f"the tree of {new_size} is not shown to have grown out of the tree of {old_size}"
    if old_size == new_size:
        if proof or old_root != new_root:
            raise damaged(failed)
        return
    complete = not old_size & (old_size - 1)
    path = [old_root, *proof] if complete else list(proof)  # a complete tree is its own first hash
    if not path or _consistent_roots(old_size, new_size, path) != (old_root, new_root):
        raise damaged(failed)


def _consistent_roots(old_size: int, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """The two roots that a consistency proof leads to; None where its length does not fit the sizes."""
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if first & 1 or first == last:
            old = hash_node(sibling, old)
            new = hash_node(sibling, new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            new = hash_node(new, sibling)
        first >>= 1
        last >>= 1
    return (old, new) if last == 0 else None


def _split(width: int) -> int:
    """The largest power of two strictly below ``width`` (RFC 6962, section 2.1)."""
    return 1 << ((width - 1).bit_length() - 1)


def _complete_subtrees(start: int, end: int, hash_at: Callable[[int, int], bytes]) -> list[bytes]:
    hashes = []
    while start < end:
        level = (end - start).bit_length() - 1  # start is a multiple of every power of two that fits the rest
        hashes.append(hash_at(level, start >> level))
        start += 1 << level
    return hashes


def _range_root(start: int, end: int, hash_at: Callable[[int, int], bytes]) -> bytes:
    hashes = _complete_subtrees(start, end, hash_at)
    root = hashes[-1]
    for left in hashes[-2::-1]:
        root = hash_node(left, root)
    return root


def _check_hashes(proof: Sequence[bytes], *others: bytes) -> None:
    if len(proof) > MAX_PROOF_HASHES:
        msg = f"a proof of {len(proof)} hashes is longer than any tree needs"
        raise damaged(msg)
    if any(len(one) != HASH_BYTES for one in (*proof, *others)):
        msg = "a hash in a proof is not 32 bytes long"
        raise damaged(msg)
