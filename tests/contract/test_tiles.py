"""What every place of published tiles guarantees."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.adapters.tiles.objects import ObjectTiles
from consentry_server.adapters.tiles.places import open_tiles
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.report import Integrity
from consentry_server.core.ledger.tiles import tiles_at
from consentry_server.services.keys import Keys
from consentry_server.services.ports_tiles import TileStore
from consentry_server.services.tiered import TieredStore
from tests.support import s3
from tests.support.clocks import Clock
from tests.support.published import Published, make_keys
from tests.support.verified import verify

FULL, PARTIAL, BUNDLE = "tile/0/x001/x234/067", "tile/0/x001/x234/067.p/12", "tile/entries/x001/x234/067"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.serving_s3() as url:
        yield url


@pytest.fixture
def bucket_name(request: pytest.FixtureRequest) -> str:
    return f"tiles-{abs(hash(request.node.nodeid))}"


@pytest.fixture(params=["folder", "memory", "s3"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(kind: str, request: pytest.FixtureRequest, bucket_name: str) -> ObjectStore:
    if kind == "s3":
        return s3.bucket(request.getfixturevalue("endpoint"), bucket_name, prefix="ledgers/acme")
    return MemoryStore()


@pytest.fixture
def tiles(kind: str, objects: ObjectStore, tmp_path: Path) -> TileStore:
    return FolderTiles(tmp_path / "tiles" / "acme") if kind == "folder" else ObjectTiles(objects, "here")


@pytest.fixture
def everything(kind: str, objects: ObjectStore, tmp_path: Path) -> Callable[[], set[str]]:
    """Every file or object that exists, by whatever name."""

    def names() -> set[str]:
        if kind == "folder":
            root = tmp_path / "tiles" / "acme"
            return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return {item["path"] for batch in obstore.list(objects) for item in batch}

    return names


def test_what_was_written_is_read(tiles: TileStore) -> None:
    assert tiles.read(FULL) is None
    tiles.write([(FULL, b"full"), (PARTIAL, b"partial"), (BUNDLE, b"bundle")])
    assert [tiles.read(path) for path in (FULL, PARTIAL, BUNDLE)] == [b"full", b"partial", b"bundle"]
    assert tiles.read("tile/0/x001/x234") is None
    assert tiles.read(f"{FULL}/1") is None


def test_writing_again_changes_nothing(tiles: TileStore, everything: Callable[[], set[str]]) -> None:
    for _ in range(2):
        tiles.write([(FULL, b"full"), (PARTIAL, b"partial")])
    assert everything() == {FULL, PARTIAL}
    assert tiles.read(FULL) == b"full"


def test_other_contents_are_refused_and_not_written(tiles: TileStore) -> None:
    tiles.write([(FULL, b"full")])
    with pytest.raises(ConsentryError) as refused:
        tiles.write([(BUNDLE, b"bundle"), (FULL, b"forked")])
    assert refused.value.reason is Reason.LEDGER_FORKED
    assert FULL in refused.value.message
    assert tiles.read(FULL) == b"full"


def test_a_checkpoint_is_replaced(tiles: TileStore, everything: Callable[[], set[str]]) -> None:
    tiles.replace("checkpoint", b"one")
    tiles.replace("checkpoint", b"two")
    assert tiles.read("checkpoint") == b"two"
    assert everything() == {"checkpoint"}


def test_partial_tiles_go_with_their_folder_alone(tiles: TileStore, everything: Callable[[], set[str]]) -> None:
    tiles.write([(FULL, b"full"), (PARTIAL, b"a"), (f"{FULL}.p/13", b"b"), (f"{BUNDLE}.p/1", b"c")])
    tiles.remove(f"{FULL}.p")
    tiles.remove(f"{FULL}.p")
    assert everything() == {FULL, f"{BUNDLE}.p/1"}


def test_many_at_once(tiles: TileStore) -> None:
    files = [(f"tile/entries/{number:03d}", bytes((number,)) * 70_000) for number in range(40)]
    tiles.write(files)
    assert [tiles.read(path) for path, _data in files] == [data for _path, data in files]


def test_a_file_is_durable_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def recording(handle: int) -> None:
        fsync(handle)
        synced.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", recording)
    root = tmp_path / "tiles" / "acme"
    tiles = FolderTiles(root)
    tiles.write([(FULL, b"full"), (BUNDLE, b"bundle")])
    above = len(root.parents)
    files = [(root / path).stat().st_ino for path in (FULL, BUNDLE)]
    folders = {
        folder.stat().st_ino
        for path in (FULL, BUNDLE)
        for folder in (root / path).parents
        if folder.is_relative_to(root)
    }
    assert synced[:above] == [folder.stat().st_ino for folder in root.parents]  # it was made, and perhaps they were
    assert synced[above : above + 2] == files
    assert set(synced[above + 2 :]) == folders
    synced.clear()
    tiles.replace("checkpoint", b"one")
    assert synced == [(root / "checkpoint").stat().st_ino, root.stat().st_ino]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_what_a_crash_left_beside_is_removed_and_not_written_to(tmp_path: Path) -> None:
    """It may be a second name of a tile already, where the crash came between link and removal."""
    tiles = FolderTiles(tmp_path)
    tiles.write([(FULL, b"full")])
    beside = tmp_path / ".new"
    os.link(tmp_path / FULL, beside)
    tiles.write([(BUNDLE, b"bundle")])
    assert [tiles.read(FULL), tiles.read(BUNDLE)] == [b"full", b"bundle"]
    assert not beside.exists()
    beside.write_bytes(b"half of some longer thing")
    tiles.replace("checkpoint", b"one")
    assert tiles.read("checkpoint") == b"one"
    assert not beside.exists()


def test_a_place_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    tiles = FolderTiles(tmp_path / "file" / "acme")
    assert tiles.read(FULL) is None
    calls: list[Callable[[], None]] = [lambda: tiles.write([(FULL, b"")]), lambda: tiles.replace("checkpoint", b"")]
    for call in calls:
        with pytest.raises(ConsentryError) as refused:
            call()
        assert refused.value.reason is Reason.STORAGE_FAILED
        assert str(tmp_path) in refused.value.message


def test_object_storage_that_went_away_fails_fast_and_comes_back(bucket_name: str) -> None:
    with s3.serving_s3() as endpoint:
        store = s3.bucket(endpoint, bucket_name)
        tiles = ObjectTiles(store, "s3://here", away_seconds=3600)
        tiles.write([(FULL, b"full")])
        assert tiles.read(FULL) == b"full"
    calls: list[Callable[[], object]] = [
        lambda: tiles.write([(FULL, b"full")]),
        lambda: tiles.replace("checkpoint", b""),
        lambda: tiles.remove(f"{FULL}.p"),
        lambda: tiles.read(FULL),
    ]
    for call in calls:
        with pytest.raises(ConsentryError) as refused:
            call()
        assert refused.value.reason is Reason.STORAGE_FAILED
        assert refused.value.__cause__ is not None
    with pytest.raises(ConsentryError) as at_once:
        tiles.read(FULL)
    assert at_once.value.__cause__ is None  # the storage was not asked again
    again = ObjectTiles(MemoryStore(), "here", away_seconds=0)
    assert again.read(FULL) is None


def test_a_setting_names_a_folder_of_the_state_or_elsewhere(tmp_path: Path) -> None:
    open_tiles("tiles", "acme", state=tmp_path).replace("checkpoint", b"one")
    assert (tmp_path / "tiles/acme/checkpoint").read_bytes() == b"one"
    open_tiles(str(tmp_path / "elsewhere"), "acme", state=tmp_path / "state").replace("checkpoint", b"two")
    assert (tmp_path / "elsewhere/acme/checkpoint").read_bytes() == b"two"
    shutil.rmtree(tmp_path / "elsewhere")


def test_a_setting_names_a_bucket(endpoint: str, bucket_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", s3.REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET)
    store = s3.bucket(endpoint, bucket_name)
    tiles = open_tiles(f"s3://{bucket_name}/ledgers/", "acme", state=Path("unused"))
    assert tiles.place == f"s3://{bucket_name}/ledgers/acme"
    tiles.write([(FULL, b"full")])
    assert bytes(obstore.get(store, f"ledgers/acme/{FULL}").bytes()) == b"full"


def test_a_url_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConsentryError) as refused:
        open_tiles("az://container", "acme", state=Path("unused"))
    assert refused.value.reason is Reason.CONFIGURATION_INVALID


async def test_a_ledger_is_published_to_a_bucket_and_its_old_entries_live_there(
    endpoint: str, bucket_name: str, tmp_path: Path
) -> None:
    store = s3.bucket(endpoint, bucket_name)
    tiles = ObjectTiles(store, f"s3://{bucket_name}")
    keys = make_keys(tmp_path, Clock())
    ledger = await Published(tmp_path, keys, Clock(), hot_entries=256, tiles=tiles).open()
    for count in (700, 50, 350):
        await ledger.append(count)
        await ledger.round()
    assert ledger.store.fetch_first() == 768
    assert ledger.database.fetch_entry(767) is None
    entries = TieredStore(ledger.database, tiles).fetch_entries(0, 2_000)
    assert [decode(data)["index"] for data in entries] == list(range(1_100))
    there = {item["path"] for batch in obstore.list(store) for item in batch}
    earlier = {"tile/1/000.p/2"}  # of the checkpoints at 700 and 750; their level 0 is full now
    assert there - {"vkey", "checkpoint"} == {tile.path for tile in tiles_at(1_100)} | earlier
    report = verify(tiles.read, ledger.checkpoints.key, paths=there)
    assert (report.integrity, report.size) == (Integrity.INTACT, 1_100)
    again = await _reopened(ledger, tmp_path, keys, tiles)
    assert again.publisher.status.published == 1_100
    await again.publisher.aclose()
    await again.close()
    keys.close()


async def _reopened(ledger: Published, folder: Path, keys: Keys, tiles: TileStore) -> Published:
    await ledger.close()
    again = await Published(folder, keys, Clock(), hot_entries=256, tiles=tiles).open()
    await again.publisher.start()
    return again
