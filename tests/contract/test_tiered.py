"""A store with a hot window answers every read as one that keeps everything."""

from __future__ import annotations

import itertools
import random
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.export import export_tiles
from consentry_server.core.ledger.merkle import (
    consistency_proof,
    frontier_at,
    hash_leaf,
    inclusion_proof,
    verify_inclusion,
)
from consentry_server.core.ledger.tiles import ENTRIES, GrowingTree, Tile, TileHashes
from consentry_server.services.ledger import tile_reader
from consentry_server.services.ports import Batch, Head, LedgerStore
from consentry_server.services.ports_tiles import TileStore
from consentry_server.services.tiered import TieredStore

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass
class Pair:
    """The same ledger twice: one store keeps everything, the other forgets."""

    folder: Path
    tree: GrowingTree = field(default_factory=GrowingTree)
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.whole = SqliteLedgerStore(self.folder / "whole.db")
        self.hot = SqliteLedgerStore(self.folder / "hot.db")
        self.tiles: TileStore = FolderTiles(self.folder / "tiles")
        self.tiered = TieredStore(self.hot, self.tiles)
        self.whole.open()
        self.tiered.open()
        self.exported = 0

    def close(self) -> None:
        self.whole.close()
        self.tiered.close()

    def grow(self, count: int) -> None:
        """Append entries in both, in one commit."""
        batch = Batch(Head(0, b"", (), NOW))
        for _ in range(count):
            data = self.random.randbytes(self.random.randrange(1, 40))
            leaf = hash_leaf(data)
            batch.entries.append((data, leaf))
            batch.tiles.extend(self.tree.append(leaf))
        batch.head = Head(self.tree.size, self.tree.root(), self.tree.frontier.hashes, NOW)
        for store in (self.whole, self.tiered):
            store.stage(batch)
            store.commit()

    def publish(self) -> None:
        """Write every tile of the ledger as it is, from the store that forgets."""
        files = export_tiles(
            self.exported,
            self.tree.size,
            read_entries=self.tiered.fetch_entries,
            read_tile=tile_reader(self.tiered),
        )
        self.tiles.write(list(files))
        self.exported = self.tree.size

    def forget(self, hot_entries: int) -> None:
        """Keep at least so many of the newest entries."""
        before = max(self.exported - hot_entries, 0) // 256 * 256
        if before > self.tiered.fetch_first():
            self.tiered.forget_entries(before)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def same(pair: Pair, index: int, count: int) -> None:
    """Every read of the port that has to do with entries, and the proofs made from them."""
    one, other = pair.whole, pair.tiered
    assert other.fetch_head() == one.fetch_head()
    assert other.fetch_entry(index) == one.fetch_entry(index)
    assert other.fetch_entries(index, count) == one.fetch_entries(index, count)
    assert other.fetch_leaves(index, count) == one.fetch_leaves(index, count)
    for level, number in itertools.product(range(3), {0, 1, max(index, 0) // 256, max(index + count, 0) // 256}):
        assert other.fetch_tile(level, number) == one.fetch_tile(level, number)
        assert other.fetch_tile_roots(level, number, count) == one.fetch_tile_roots(level, number, count)


def same_proofs(pair: Pair, index: int, size: int) -> None:
    trees: list[TileHashes] = [TileHashes(size, tile_reader(store)) for store in (pair.whole, pair.tiered)]
    proofs = [inclusion_proof(index, size, tree) for tree in trees]
    assert proofs[0] == proofs[1]
    root = frontier_at(size, trees[1]).root()
    data = pair.tiered.fetch_entry(index)
    assert data is not None
    verify_inclusion(hash_leaf(data), index, size, proofs[1], root)
    assert consistency_proof(index + 1, size, trees[0]) == consistency_proof(index + 1, size, trees[1])


@settings(max_examples=40)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 700), st.booleans(), st.none() | st.integers(0, 1200)), min_size=1, max_size=5
    ),
    reads=st.lists(st.tuples(st.integers(-300, 4000), st.integers(0, 1500)), min_size=1, max_size=8),
    chance=st.randoms(use_true_random=False),
)
def test_it_answers_as_one_that_keeps_everything(
    steps: list[tuple[int, bool, int | None]], reads: list[tuple[int, int]], chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder))
        try:
            for count, publish, hot_entries in steps:
                pair.grow(count)
                if publish:
                    pair.publish()
                if hot_entries is not None:
                    pair.forget(hot_entries)
                for index, width in reads:
                    same(pair, index, width)
                size = chance.randrange(1, pair.tree.size + 1)
                same_proofs(pair, chance.randrange(size), size)
            first = pair.tiered.fetch_first()
            for index in {0, first - 1, first, first + 1, pair.tree.size - 1, pair.tree.size}:
                same(pair, index, 600)
        finally:
            pair.close()


def test_it_holds_across_three_levels_of_tiles(pair: Pair) -> None:
    for _ in range(23):
        pair.grow(2_900)
    pair.publish()
    pair.forget(300)
    assert pair.tree.size == 66_700
    assert pair.tiered.fetch_first() == 66_304
    for index in (0, 255, 256, 65_535, 65_536, 66_303, 66_304, 66_699, 66_700):
        same(pair, index, 300)
    for size in (1, 256, 65_536, 65_537, 66_304, 66_700):
        same_proofs(pair, size // 2, size)
    assert pair.tiered.fetch_entries(0, 66_700) == pair.whole.fetch_entries(0, 66_700)


@pytest.mark.parametrize("first", [0, 100, 256, 300, 600, 2_303, 2_304, 2_400])
def test_a_reader_sees_no_gap_while_entries_go(pair: Pair, first: int) -> None:
    """Whatever is forgotten before each look at the database, a read is as if nothing had been."""
    pair.grow(2_500)
    pair.publish()
    expected = pair.whole.fetch_entries(0, 2_500)
    leaves = pair.whole.fetch_leaves(0, 2_500)
    after = iter(range(256, 2_305, 256))

    def forgetting(look: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*arguments: int) -> Any:
            before = next(after, None)
            if before is not None:
                pair.hot.forget_entries(before)
            return look(*arguments)

        return looking

    for name in ("fetch_first", "fetch_entry", "fetch_entries", "fetch_leaves"):
        setattr(pair.hot, name, forgetting(getattr(pair.hot, name)))
    tiered = TieredStore(pair.hot, pair.tiles)
    for _ in range(2):
        assert tiered.fetch_entries(first, 1_000) == expected[first : first + 1_000]
        assert tiered.fetch_entry(first) == expected[first]
        assert tiered.fetch_leaves(first, 1_000) == leaves[first : first + 1_000]
    assert pair.hot.fetch_first() == 2_304


def test_readers_and_forgetting_at_once(pair: Pair) -> None:
    pair.grow(5_000)
    pair.publish()
    expected = pair.whole.fetch_entries(0, 5_000)
    wrong: list[object] = []
    done = threading.Event()

    def read(seed: int) -> None:
        chance = random.Random(seed)
        while not done.is_set():
            first, count = chance.randrange(5_000), chance.randrange(1_000)
            if pair.tiered.fetch_entries(first, count) != expected[first : first + count]:
                wrong.append((first, count))
            if pair.tiered.fetch_entry(first) != expected[first]:
                wrong.append(first)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for before in range(256, 4_865, 256):
        pair.tiered.forget_entries(before)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pair.tiered.fetch_first() == 4_864


def _flip(place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


def _swap(data: bytes) -> bytes:
    """Two whole entries change places."""
    one = int.from_bytes(data[:2], "big") + 2
    other = one + int.from_bytes(data[one : one + 2], "big") + 2
    return data[one:other] + data[:one] + data[other:]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (None, "is missing"),
        (_flip(5), "does not hold the entries that were recorded"),
        (_flip(1), ""),
        (_swap, "does not hold the entries that were recorded"),
        (lambda data: data[:-1], "cut short"),
        (lambda _data: b"", "holds 0 entries"),
        (lambda data: data + b"\x00\x01x", ""),
    ],
    ids=["missing", "a byte", "a length", "swapped", "cut", "empty", "one more"],
)
def test_a_damaged_bundle_fails_its_own_entries_and_no_others(
    pair: Pair, damage: Callable[[bytes], bytes] | None, problem: str
) -> None:
    pair.grow(1_300)
    pair.publish()
    pair.forget(300)
    file = pair.folder / "tiles" / Tile(ENTRIES, 1).path
    healthy = file.read_bytes()
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(healthy))
    for read in (
        lambda: pair.tiered.fetch_entry(256),
        lambda: pair.tiered.fetch_entry(511),
        lambda: pair.tiered.fetch_entries(0, 257),
        lambda: pair.tiered.fetch_entries(511, 10),
        lambda: pair.tiered.read_back(1),
    ):
        with pytest.raises(ConsentryError) as refused:
            read()
        assert refused.value.reason is Reason.DATA_DAMAGED
        assert problem in refused.value.message
        assert "put that file back" in refused.value.message
    same(pair, 0, 256)
    same(pair, 512, 2_000)
    trees = [TileHashes(1_300, tile_reader(store)) for store in (pair.whole, pair.tiered)]
    assert inclusion_proof(300, 1_300, trees[0]) == inclusion_proof(300, 1_300, trees[1])  # hashes have their own tiles
    file.write_bytes(healthy)
    same(pair, 256, 256)


@pytest.mark.parametrize("damage", [None, _flip(0), _flip(8_191), lambda data: data[:-32], lambda data: data + data])
def test_a_damaged_hash_tile_fails_its_own_reads(pair: Pair, damage: Callable[[bytes], bytes] | None) -> None:
    pair.grow(1_300)
    pair.publish()
    pair.forget(300)
    file = pair.folder / "tiles" / Tile(0, 1).path
    healthy = file.read_bytes()
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(healthy))
    for read in (
        lambda: pair.tiered.fetch_leaves(300, 1),
        lambda: pair.tiered.fetch_tile(0, 1),
        lambda: pair.tiered.read_back(1),
    ):
        with pytest.raises(ConsentryError) as refused:
            read()
        assert refused.value.reason is Reason.DATA_DAMAGED
    assert pair.tiered.fetch_entry(300) == pair.whole.fetch_entry(300)  # held to the root in the database
    file.write_bytes(healthy)
    same(pair, 0, 1_300)


def test_what_is_in_tiles_cannot_be_opened_without_them(pair: Pair) -> None:
    pair.grow(600)
    pair.publish()
    pair.forget(100)
    pair.tiered.close()
    without = TieredStore(SqliteLedgerStore(pair.folder / "hot.db"), None)
    with pytest.raises(ConsentryError) as refused:
        without.open()
    assert refused.value.reason is Reason.CONFIGURATION_INVALID
    assert "tiles.publish_to" in refused.value.message
    with pytest.raises(ConsentryError) as unread:
        without.fetch_entry(0)
    assert unread.value.reason is Reason.DATA_DAMAGED
    assert without.fetch_entry(599) == pair.whole.fetch_entry(599)
    without.close()


def test_the_database_does_not_grow_with_what_left_it(tmp_path: Path) -> None:
    """Freed pages are used again: after the window has filled, the file stays as large as it is."""
    pair = Pair(tmp_path)
    sizes = []
    for _ in range(12):
        for _ in range(8):
            pair.grow(512)
            pair.publish()
            pair.forget(1_024)
        sizes.append(pair.hot._write.pragma("page_count"))
    assert sizes[-1] - sizes[1] <= 8  # roots of tiles: 0.3 bytes for an entry
    assert pair.whole._write.pragma("page_count") > 8 * sizes[-1]
    pair.close()


def test_forgetting_is_one_transaction_and_can_be_repeated(pair: Pair) -> None:
    stores: list[LedgerStore] = [pair.hot]
    pair.grow(700)
    pair.publish()
    for store in stores:
        for _ in range(2):
            store.forget_entries(512)
            assert store.fetch_first() == 512
            assert store.fetch_entries(0, 1_000) == pair.whole.fetch_entries(512, 1_000)
    same(pair, 0, 700)
