"""Ledgers to test with: made from nothing but the core, small enough to be taken apart byte by byte."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.core.ledger import checkpoint, entry, export, merkle, tiles

if TYPE_CHECKING:
    from consentry_server.core.ledger.note import VerifierKey

ORIGIN = "consentry.test/acme"


@dataclass
class Ledger:
    """A ledger in memory that keeps what storage keeps: entries, leaf hashes, full tiles."""

    key: Ed25519PrivateKey = field(default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    random: random.Random = field(default_factory=lambda: random.Random(7))
    tree: tiles.GrowingTree = field(default_factory=tiles.GrowingTree)
    entries: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    full: dict[tuple[int, int], tiles.FullTile] = field(default_factory=dict)
    chains: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def verifier(self) -> VerifierKey:
        return checkpoint.log_key(ORIGIN, self.key)

    def fields(self, **more: Any) -> dict[str, Any]:
        index = len(self.entries)
        person = "sub_" + "abcdefghij"[self.random.randrange(10)] * 26
        seq, last = self.chains.get(person, (0, -1))
        return {
            "type": "decision.made",
            "version": 1,
            "ledger": ORIGIN,
            "index": index,
            "time": entry.format_time(datetime(2026, 11, 23, 10, tzinfo=UTC) + timedelta(milliseconds=index)),
            "actor": "processor/face-tagger",
            "nonce": entry.format_nonce(self.random.randbytes(26)),
            "people": [{"subject_ref": person, "subject_seq": seq + 1, "previous_index": last}],
            "outcome": "DENY",
            **more,
        }

    def append(self, **more: Any) -> None:
        fields = self.fields(**more)
        self.append_bytes(entry.encode(fields))
        for person in fields.get("people", ()):
            self.chains[person["subject_ref"]] = (person["subject_seq"], len(self.entries) - 1)

    def append_bytes(self, data: bytes) -> None:
        leaf = merkle.hash_leaf(data)
        self.entries.append(data)
        self.leaves.append(leaf)
        for tile in self.tree.append(leaf):
            self.full[tile.level, tile.number] = tile

    def grow(self, size: int) -> Ledger:
        while len(self.entries) < size:
            self.append()
        return self

    def read_tile(self, level: int, number: int, width: int) -> bytes:
        if width == 256:
            return self.full[level, number].hashes
        if level == 0:
            return b"".join(self.leaves[number * 256 : number * 256 + width])
        return b"".join(self.full[level - 1, number * 256 + offset].root for offset in range(width))

    def read_entries(self, first: int, count: int) -> list[bytes]:
        return self.entries[first : first + count]

    def checkpoint(self) -> bytes:
        return checkpoint.sign(checkpoint.Checkpoint(ORIGIN, self.tree.size, self.tree.root()), self.key)

    def export(self, old_size: int = 0) -> dict[str, bytes]:
        return dict(
            export.export(
                old_size,
                self.checkpoint(),
                self.verifier,
                read_entries=self.read_entries,
                read_tile=self.read_tile,
            )
        )
