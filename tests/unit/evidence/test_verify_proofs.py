"""The proofs of verify.py against public vectors, and against the core's for every small size."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from consentry_server.core.ledger import merkle
from tests.support.verifying import loaded

VECTORS = Path(__file__).parents[2] / "data/vectors/merkle/testdata"
VERIFIER = loaded()
LEAVES = [merkle.hash_leaf(b"%d" % index) for index in range(70)]


def vectors(kind: str) -> list[Any]:
    found = sorted((VECTORS / kind).rglob("*.json"))
    assert found
    return [pytest.param(json.loads(path.read_bytes()), id=str(path.relative_to(VECTORS))) for path in found]


def decoded(vector: dict[str, Any], *names: str) -> list[bytes]:
    return [b64decode(vector[name] or "") for name in names]


def proof_of(vector: dict[str, Any]) -> list[bytes]:
    return [b64decode(one) for one in vector["proof"] or ()]


def included(index: int, size: int, leaf: bytes, proof: list[bytes], root: bytes) -> bool:
    try:
        found = VERIFIER.climb(index, size, leaf, leaf, proof)[1]
        return bool(0 <= index < size and found == root and len(root) == 32)  # as Checkpoint holds it
    except ValueError:
        return False


def continued(old: int, old_root: bytes, new: int, root: bytes, proof: list[bytes]) -> bool:
    try:
        VERIFIER.continues(SimpleNamespace(size=old, root=old_root), SimpleNamespace(size=new, root=root), proof)
    except ValueError:
        return False
    return True


def tree(size: int) -> tuple[bytes, Any]:
    def hash_at(level: int, index: int) -> bytes:
        row = LEAVES[index << level : (index + 1) << level]
        return bytes(VERIFIER.tree(row))

    return bytes(VERIFIER.tree(LEAVES[:size])), hash_at


@pytest.mark.parametrize("vector", vectors("inclusion"))
def test_inclusion_vectors(vector: dict[str, Any]) -> None:
    root, leaf = decoded(vector, "root", "leafHash")
    held = included(vector["leafIdx"], vector["treeSize"], leaf, proof_of(vector), root)
    assert held is not vector["wantErr"]


@pytest.mark.parametrize("vector", vectors("consistency"))
def test_consistency_vectors(vector: dict[str, Any]) -> None:
    first, second = decoded(vector, "root1", "root2")
    held = continued(vector["size1"], first, vector["size2"], second, proof_of(vector))
    # a checkpoint of nothing is no anchor: it is refused where others accept it
    assert held is (not vector["wantErr"] and vector["size1"] > 0)


def test_every_small_tree_as_the_core_proves_it() -> None:
    for size in range(1, len(LEAVES)):
        root, hash_at = tree(size)
        assert root == merkle.frontier_at(size, hash_at).root()
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, hash_at)
            assert included(index, size, LEAVES[index], proof, root)
            assert not included(index, size, LEAVES[index], [*proof, root], root)
            assert not included(index, size, LEAVES[(index + 1) % len(LEAVES)], proof, root)
            assert not proof or not included(index, size, LEAVES[index], proof[:-1], root)
        for old in range(1, size + 1):
            proof, old_root = merkle.consistency_proof(old, size, hash_at), tree(old)[0]
            assert continued(old, old_root, size, root, list(proof))
            assert not continued(old, b"\x05" * 32, size, root, list(proof))
            assert not continued(old, old_root, size, b"\x05" * 32, list(proof))
            assert not proof or not continued(old, old_root, size, root, proof[:-1])
            assert not continued(old, old_root, size, root, [*proof, root])
