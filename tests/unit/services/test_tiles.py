"""Publishing while the ledger runs: order, what stays, crashes at every step, a place that is away, a fork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.adapters.tiles.objects import ObjectTiles
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.tiles import parse_path, tiles_at, width_at
from consentry_server.services.keys import Keys
from consentry_server.services.tiered import TieredStore
from consentry_server.services.tiles import TilePublisher
from tests.support.clocks import Clock
from tests.support.published import Published, make_keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    made = make_keys(tmp_path_factory.mktemp("keys"), Clock())
    yield made
    made.close()


Open = Callable[..., Published]


@pytest.fixture
def make(tmp_path: Path, keys: Keys, clock: Clock) -> Open:
    def build(folder: Path = tmp_path / "ledger", **more: object) -> Published:
        folder.mkdir(exist_ok=True)
        return Published(folder, keys, clock, **more)  # type: ignore[arg-type]

    return build


async def test_every_published_checkpoint_finds_its_tiles(make: Open) -> None:
    ledger = await make().open()
    for count in (0, 1, 36, 219, 1, 300, 700):
        await ledger.append(count)
        await ledger.publisher.publish()
        assert ledger.published_size() == ledger.store.fetch_head().size
        assert {tile.path for tile in tiles_at(ledger.published_size())} <= ledger.files()
        ledger.verify()
    assert ledger.publisher.status.behind == 0
    await ledger.close()


async def test_partial_tiles_stay_until_the_full_one_is_there(make: Open) -> None:
    ledger = await make().open()
    sizes = []
    for count in (10, 20, 200, 20, 5, 300):
        await ledger.append(count)
        await ledger.publisher.publish()
        sizes.append(ledger.published_size())
        now = sizes[-1]
        kept = {path for size in sizes for tile in tiles_at(size) for path in [tile.path]}
        gone = {path for path in kept if _full_at(path, now)}
        assert ledger.files() - {"vkey", "checkpoint"} == kept - gone
    assert sizes == [10, 30, 230, 250, 255, 555]
    await ledger.close()


def _full_at(path: str, size: int) -> bool:
    """Whether a partial tile's full one exists at a size."""
    tile = parse_path(path)
    return not tile.full and width_at(tile.level, tile.number, size) == 256


async def test_the_lock_is_swapped_and_tiles_are_durable_before_the_checkpoint(
    make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would leave at the moment the checkpoint appears: everything that it covers."""
    ledger = await make().open()
    await ledger.append(300)
    fsync, replace = os.fsync, os.replace
    synced: set[int] = set()
    found: list[str] = []

    def recording(handle: int) -> None:
        fsync(handle)
        synced.add(os.fstat(handle).st_ino)

    def appearing(source: object, target: object, **more: object) -> None:
        if Path(str(target)) == ledger.root / "checkpoint":
            note = Path(str(source)).read_bytes()
            size = open_checkpoint(note, ledger.checkpoints.key).checkpoint.size
            assert ledger.lock.read() == note
            for tile in tiles_at(size):
                file = ledger.root / tile.path
                places = [file, *(folder for folder in file.parents if folder.is_relative_to(ledger.root.parent))]
                assert {place.stat().st_ino for place in places} <= synced, tile.path
            assert Path(str(source)).stat().st_ino in synced
            found.append("checkpoint")
        replace(source, target)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", recording)
    monkeypatch.setattr(os, "replace", appearing)
    await ledger.publisher.publish()
    assert found == ["checkpoint"]
    monkeypatch.undo()
    await ledger.close()


async def test_a_published_ledger_is_taken_up_again(make: Open) -> None:
    ledger = await make().open()
    await ledger.append(700)
    await ledger.publisher.publish()
    await ledger.close()
    written: list[str] = []

    class Counting(FolderTiles):
        def write(self, files: object) -> None:
            written.extend(path for path, _data in files)  # type: ignore[attr-defined]
            super().write(files)  # type: ignore[arg-type]

    again = await make(tiles=Counting(ledger.root)).open()
    await again.publisher.publish()
    assert written == []
    await again.append(10)
    await again.publisher.publish()
    assert written == ["tile/entries/002.p/198", "tile/0/002.p/198"]
    again.verify()
    await again.close()


async def test_old_entries_leave_the_database_for_tiles(make: Open) -> None:
    ledger = await make(hot_entries=300).open()
    await ledger.append(1_000)
    expected = ledger.entries()
    await ledger.publisher.forget()
    assert ledger.store.fetch_first() == 0  # nothing is published yet
    await ledger.round()
    assert ledger.store.fetch_first() == 512
    assert ledger.database.fetch_entry(511) is None
    assert ledger.entries() == expected
    await ledger.append(100)
    await ledger.publisher.forget()
    assert ledger.store.fetch_first() == 768  # published long since, and older than the window now
    await ledger.append(2_000)
    await ledger.publisher.forget()
    assert ledger.store.fetch_first() == 768  # what is not published stays, however old
    await ledger.close()


async def test_an_entry_whose_tile_cannot_be_read_back_stays(make: Open) -> None:
    ledger = await make(hot_entries=256).open()
    await ledger.append(1_100)
    await ledger.publisher.publish()
    file = ledger.root / "tile/entries/001"
    healthy = file.read_bytes()
    file.write_bytes(healthy[:-1])
    with pytest.raises(ConsentryError) as refused:
        await ledger.publisher.forget()
    assert refused.value.reason is Reason.DATA_DAMAGED
    assert ledger.store.fetch_first() == 256
    file.write_bytes(healthy)
    await ledger.publisher.forget()
    assert ledger.store.fetch_first() == 768
    await ledger.close()


class CrashError(BaseException):
    """The process ends here."""


class Crashing:
    """Ends the process at the n-th call that changes a disk: nothing after it reaches the disk any more.

    Args:
        at: Which call, from 0.
    """

    CALLS = ("fsync", "link", "unlink", "replace", "rename", "rmdir", "mkdir")

    def __init__(self, at: int) -> None:
        self._left = at
        self._lock = threading.Lock()
        self.armed = False
        self.crashed = False

    def step(self) -> None:
        if not self.armed:
            return
        with self._lock:
            if self._left == 0:
                self.crashed = True
                raise CrashError
            self._left -= 1

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in self.CALLS:
            call = getattr(os, name)

            def counted(*arguments: object, _call: Callable[..., object] = call, **more: object) -> object:
                self.step()
                return _call(*arguments, **more)

            monkeypatch.setattr(os, name, counted)

    def around(self, store: SqliteLedgerStore) -> SqliteLedgerStore:
        forget = store.forget_entries

        def forgetting(before: int) -> None:
            self.step()
            forget(before)
            self.step()

        store.forget_entries = forgetting  # type: ignore[method-assign]
        return store


async def test_a_crash_at_any_step_loses_nothing(make: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tile, fsync, name, checkpoint, removal and deletion: the next start finds everything and goes on."""
    template = tmp_path / "template"
    ledger = await make(template, hot_entries=256).open()
    await ledger.append(700)
    await ledger.round()
    await ledger.append(40)
    await ledger.publisher.publish()
    await ledger.append(330)
    await ledger.checkpoints.publish()
    expected = ledger.entries()
    await ledger.close()
    points = 0
    while True:
        folder = tmp_path / "broken"
        shutil.copytree(template, folder)
        crash = Crashing(points)
        with monkeypatch.context() as patch:
            crash.patch(patch)
            broken = await make(folder, hot_entries=256, wrap=crash.around).open()
            crash.armed = True
            with contextlib.suppress(CrashError):
                await broken.round()
            before = broken.published_size()
            await broken.abandon()
        again = await make(folder, hot_entries=256).open()
        assert again.entries() == expected
        assert before in {740, 1_070}
        if crash.crashed:
            await again.append(points % 5)  # what is published next is not what the broken-off try had begun
        await again.round()
        size = again.store.fetch_head().size
        assert again.published_size() == size
        assert again.store.fetch_first() == 768
        assert again.entries()[:1_070] == expected
        again.verify()
        assert {path for path in again.files() if _full_at_path(path, size)} == set()
        await again.close()
        shutil.rmtree(folder)
        if not crash.crashed:
            break
        points += 1
    assert points > 40


def _full_at_path(path: str, size: int) -> bool:
    return path.startswith("tile/") and _full_at(path, size)


async def test_tiles_that_only_a_broken_off_try_began_are_tidied(make: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = await make().open()
    await ledger.append(512)
    await ledger.publisher.publish()
    await ledger.append(30)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.tiles, "replace", lambda _path, _data: (_ for _ in ()).throw(away()))
        with pytest.raises(ConsentryError):
            await ledger.publisher.publish()
    assert "tile/entries/002.p/30" in ledger.files()
    await ledger.append(300)
    await ledger.publisher.publish()
    assert "tile/entries/002.p/30" not in ledger.files()
    ledger.verify()
    await ledger.close()


def away() -> ConsentryError:
    return ConsentryError(Reason.STORAGE_FAILED, "the place is away")


class Away(ObjectTiles):
    """Object storage that can be cut off, at a call of the test's choice."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(), "memory://here", away_seconds=0)
        self.calls_left: float = float("inf")

    def _call(self) -> None:
        if self.calls_left <= 0:
            raise away()
        self.calls_left -= 1

    def read(self, path: str) -> bytes | None:
        self._call()
        return super().read(path)

    def write(self, files: object) -> None:
        self._call()
        super().write(files)  # type: ignore[arg-type]

    def replace(self, path: str, data: bytes) -> None:
        self._call()
        super().replace(path, data)


async def test_a_place_that_is_away_stops_nothing_and_is_caught_up_with(make: Open) -> None:
    tiles = Away()
    ledger = await make(tiles=tiles, hot_entries=256).open()
    tiles.calls_left = 0
    await ledger.publisher.start()  # the place is away from the beginning
    await ledger.append(1_000)
    await ledger.publisher._try(forget=True)
    status = ledger.publisher.status
    assert (status.published, status.recorded, status.behind, status.kept_from) == (None, 1_000, 1_000, 0)
    assert "away" in status.problem
    for calls in range(8):
        tiles.calls_left = calls
        await ledger.publisher._try(forget=True)
        await ledger.append(10)
        tiles.calls_left = float("inf")
        assert ledger.entries() == ledger.database.fetch_entries(0, 10_000) or ledger.store.fetch_first() > 0
    await ledger.publisher._try(forget=True)
    status = ledger.publisher.status
    assert (status.published, status.behind, status.kept_from, status.problem) == (1_080, 0, 768, "")
    tiles.calls_left = 0
    with pytest.raises(ConsentryError) as refused:  # an old entry cannot be read now; a new one can
        TieredStore(ledger.database, tiles).fetch_entry(0)
    assert refused.value.reason is Reason.STORAGE_FAILED
    assert ledger.store.fetch_entry(1_079) is not None
    await ledger.publisher.aclose()
    await ledger.close()


async def test_another_ledger_in_the_same_place_is_refused_and_left_as_it_is(
    make: Open, tmp_path: Path, keys: Keys, clock: Clock
) -> None:
    one = await make(tmp_path / "one").open()
    await one.append(600)
    await one.publisher.publish()
    await one.close()
    before = {path: (one.root / path).read_bytes() for path in one.files()}
    for size in (100, 600, 900):
        other = await make(tmp_path / f"other-{size}", tiles=FolderTiles(one.root)).open()
        await other.append(size)
        with pytest.raises(ConsentryError) as refused:
            await other.publisher.start()
        assert refused.value.reason is Reason.LEDGER_FORKED
        assert str(one.root) in refused.value.message
        with pytest.raises(ConsentryError):
            await other.publisher.publish()
        await other.close()
    assert before == {path: (one.root / path).read_bytes() for path in one.files()}


async def test_a_foreign_tile_stops_the_publisher_and_not_the_ledger(make: Open) -> None:
    ledger = await make(hot_entries=256).open()
    await ledger.append(100)
    await ledger.publisher.publish()
    foreign = ledger.root / "tile/entries/000"
    foreign.write_bytes(b"not ours")
    await ledger.append(900)
    await ledger.publisher._try(forget=True)
    assert "tile/entries/000" in ledger.publisher.status.problem
    assert foreign.read_bytes() == b"not ours"
    assert ledger.published_size() == 100
    assert ledger.store.fetch_first() == 0
    await ledger.append(1)
    foreign.unlink()
    await ledger.publisher._try(forget=True)
    assert ledger.publisher.status.problem == ""
    ledger.verify()
    await ledger.close()


async def test_what_nobody_thought_of_ends_neither_the_publisher_nor_the_ledger(
    make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await make().open()
    await ledger.append(10)
    with monkeypatch.context() as patch:
        patch.setattr(ledger.tiles, "write", lambda _files: 1 // 0)
        await ledger.publisher._try(forget=True)
        assert "see the log" in ledger.publisher.status.problem
        patch.setattr(ledger.tiles, "write", lambda _files: (_ for _ in ()).throw(away()))
        patch.setattr(TilePublisher, "status", property(lambda _self: 1 // 0))
        await ledger.publisher._try(forget=True)
    await ledger.append(10)
    await ledger.publisher._try(forget=True)
    assert (ledger.publisher.status.problem, ledger.published_size()) == ("", 20)
    await ledger.close()


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", b"consentry.test/acme\n1\n"])
async def test_a_damaged_checkpoint_is_refused(make: Open, damage: bytes) -> None:
    ledger = await make().open()
    await ledger.append(10)
    await ledger.publisher.publish()
    await ledger.close()
    (ledger.root / "checkpoint").write_bytes(damage)
    again = await make().open()
    with pytest.raises(ConsentryError) as refused:
        await again.publisher.start()
    assert refused.value.reason is Reason.DATA_DAMAGED
    assert "put it back" in refused.value.message
    await again.close()


async def test_a_place_without_the_entries_that_left_the_database_is_refused(make: Open, tmp_path: Path) -> None:
    ledger = await make(hot_entries=256).open()
    await ledger.append(1_000)
    await ledger.round()
    await ledger.close()
    again = await make(tiles=FolderTiles(tmp_path / "empty")).open()
    with pytest.raises(ConsentryError) as refused:
        await again.publisher.start()
    assert refused.value.reason is Reason.CONFIGURATION_INVALID
    assert "publish_to" in refused.value.message
    await again.close()


async def test_it_publishes_by_itself_and_once_more_at_the_end(make: Open, tmp_path: Path) -> None:
    loop, published = asyncio.get_running_loop(), asyncio.Event()

    class Telling(FolderTiles):
        def replace(self, path: str, data: bytes) -> None:
            super().replace(path, data)
            if path == "checkpoint":
                loop.call_soon_threadsafe(published.set)

    ledger = await make(tiles=Telling(tmp_path / "ledger" / "tiles")).open()
    await ledger.append(10)
    publisher = TilePublisher(
        store=ledger.store,
        tiles=ledger.tiles,
        checkpoints=ledger.checkpoints,
        sequencer=ledger.sequencer,
        every_seconds=0.01,
        hot_entries=0,
    )
    await publisher.start()
    async with asyncio.timeout(20):
        await published.wait()
        published.clear()
        await ledger.append(10)
        await published.wait()
    assert ledger.published_size() == 20
    await ledger.append(10)
    await publisher.aclose()
    assert ledger.published_size() == 30
    ledger.verify()
    await ledger.close()
