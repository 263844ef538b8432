"""What every blob store guarantees."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from consentry_server.adapters.blobs.local import LocalBlobs
from consentry_server.adapters.blobs.names import object_path
from consentry_server.adapters.blobs.objects import ObjectBlobs
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from consentry_server.services.ports_vault import BlobStore

NAME = "photos/pho_abcx7"
DATA = os.urandom(1_700_000)


@pytest.fixture(params=["local", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def everything(kind: str, memory: MemoryStore, tmp_path: Path) -> Callable[[], set[str]]:
    """Every file or object that exists, by whatever name."""

    def names() -> set[str]:
        if kind == "local":
            root = tmp_path / "blobs"
            return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        return {item["path"] for batch in obstore.list(memory) for item in batch}

    return names


@pytest.fixture
async def blobs(kind: str, memory: MemoryStore, tmp_path: Path) -> AsyncIterator[BlobStore]:
    store: BlobStore = LocalBlobs(tmp_path / "blobs") if kind == "local" else ObjectBlobs(memory, part_bytes=500_000)
    await store.start()
    yield store
    await store.aclose()


async def put(blobs: BlobStore, data: bytes, name: str = NAME, step: int = 100_000) -> None:
    async with blobs.open_writer(name) as writer:
        for at in range(0, len(data), step):
            await writer.write(data[at : at + step])


async def get(blobs: BlobStore, name: str = NAME) -> bytes:
    return b"".join([piece async for piece in blobs.read(name)])


@pytest.mark.parametrize("size", [0, 1, 524_288, 524_289, len(DATA)])
async def test_what_was_written_is_read(blobs: BlobStore, size: int) -> None:
    assert not await blobs.exists(NAME)
    await put(blobs, DATA[:size])
    assert await blobs.exists(NAME)
    assert await get(blobs) == DATA[:size]


async def test_the_callers_buffer_may_be_used_again(blobs: BlobStore) -> None:
    buffer = bytearray(90_000)
    async with blobs.open_writer(NAME) as writer:
        for turn in range(20):
            buffer[:] = bytes((turn,)) * len(buffer)
            await writer.write(memoryview(buffer)[:80_000])
    assert await get(blobs) == b"".join(bytes((turn,)) * 80_000 for turn in range(20))


@pytest.mark.parametrize("written", [0, 1000, len(DATA)])
async def test_an_exception_leaves_nothing(blobs: BlobStore, everything: Callable[[], set[str]], written: int) -> None:
    async def broken() -> None:
        async with blobs.open_writer(NAME) as writer:
            await writer.write(DATA[:written])
            raise InterruptedError("the upload broke off")

    with pytest.raises(InterruptedError, match="broke off"):
        await broken()
    assert not await blobs.exists(NAME)
    assert everything() == set()
    await put(blobs, b"again")
    assert await get(blobs) == b"again"


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 20])
async def test_a_cancellation_at_any_moment_leaves_nothing(
    blobs: BlobStore, everything: Callable[[], set[str]], turns: int
) -> None:
    async def upload() -> None:
        async with blobs.open_writer(NAME) as writer:
            for at in range(0, len(DATA), 100_000):
                await writer.write(DATA[at : at + 100_000])
            await asyncio.Event().wait()

    task = asyncio.create_task(upload())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything() == set()


async def test_a_cancellation_while_finishing_leaves_all_or_nothing(
    blobs: BlobStore, everything: Callable[[], set[str]]
) -> None:
    ready = asyncio.Event()

    async def upload() -> None:
        async with blobs.open_writer(NAME) as writer:
            await writer.write(b"short")
            ready.set()

    task = asyncio.create_task(upload())
    await ready.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert everything() == set()


async def test_a_name_is_written_once(blobs: BlobStore) -> None:
    await put(blobs, b"first")
    with pytest.raises(ConsentryError) as caught:
        await put(blobs, b"second")
    assert caught.value.reason is Reason.ALREADY_EXISTS
    assert await get(blobs) == b"first"


async def test_a_deleted_blob_is_gone(blobs: BlobStore, everything: Callable[[], set[str]]) -> None:
    await put(blobs, b"data")
    await put(blobs, b"other", "photos/pho_other")
    assert await blobs.delete(NAME)
    assert not await blobs.exists(NAME)
    assert not await blobs.delete(NAME)
    assert everything() == {object_path("photos/pho_other")}
    with pytest.raises(ConsentryError) as caught:
        await get(blobs)
    assert caught.value.reason is Reason.NOT_FOUND


async def test_a_reader_may_stop_early(blobs: BlobStore, kind: str) -> None:
    await put(blobs, DATA)
    async for piece in blobs.read(NAME):
        assert DATA.startswith(piece)
        assert kind == "memory" or len(piece) < len(DATA)
        break
    assert await blobs.delete(NAME)


async def test_a_local_blob_is_synced_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def recording(handle: int) -> None:
        fsync(handle)
        synced.append(os.fstat(handle).st_ino)

    root = tmp_path / "blobs"
    blobs = LocalBlobs(root)
    await blobs.start()
    monkeypatch.setattr(os, "fsync", recording)
    await put(blobs, DATA)
    target = root / object_path(NAME)
    on_the_way = [target, target.parent, target.parent.parent, root]
    assert synced == [path.stat().st_ino for path in on_the_way]
    synced.clear()
    await blobs.delete(NAME)
    assert synced == [target.parent.stat().st_ino]
    await blobs.aclose()


async def test_many_at_once(blobs: BlobStore) -> None:
    names = [f"photos/pho_{number}" for number in range(24)]
    await asyncio.gather(*(put(blobs, name.encode() * 30_000, name) for name in names))
    assert await asyncio.gather(*(get(blobs, name) for name in names)) == [name.encode() * 30_000 for name in names]


@pytest.mark.parametrize(
    "name",
    [
        *("", "photos", "photos/", "/etc/passwd", "photos/../x", "../photos/x", "photos/a/b", "Photos/x", "photos/X"),
        *("photos/x.y", "photos/é", "photos/x\n", "photos/x\0", "staging/../x", "p" * 33 + "/x", "photos/" + "x" * 97),
    ],
    ids=repr,
)
async def test_other_names_are_refused(blobs: BlobStore, name: str) -> None:
    for call in (lambda: put(blobs, b"", name), lambda: get(blobs, name)):
        with pytest.raises(ConsentryError) as caught:
            await call()
        assert caught.value.reason is Reason.FIELD_INVALID
    with pytest.raises(ConsentryError):
        await blobs.delete(name)


async def test_a_closed_store_takes_nothing(blobs: BlobStore) -> None:
    await blobs.aclose()
    with pytest.raises(ConsentryError) as caught:
        await blobs.exists(NAME)
    assert caught.value.reason is Reason.SHUTTING_DOWN


@given(
    st.from_regex(r"[a-z]{1,5}/[a-z0-9_]{1,8}", fullmatch=True),
    st.from_regex(r"[a-z]{1,5}/[a-z0-9_]{1,8}", fullmatch=True),
)
@settings(max_examples=50)
def test_no_two_names_share_a_place(left: str, right: str) -> None:
    assert (object_path(left) == object_path(right)) == (left == right)


async def test_every_blob_of_a_folder_is_listed(blobs: BlobStore) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert [each async for each in blobs.names("photos")] == []
    names = {f"photos/pho_{number:x}" for number in range(0x10, 0x28)}
    for name in names:
        await put(blobs, b"x", name)
    await put(blobs, b"x", "others/pho_1")
    found = [each async for each in blobs.names("photos")]
    assert sorted(name for name, _ in found) == sorted(names)
    assert all(before < written < datetime.now(UTC) + timedelta(minutes=1) for _, written in found)
    await blobs.delete("photos/pho_10")
    assert "photos/pho_10" not in [name async for name, _ in blobs.names("photos")]
    async with blobs.open_writer("photos/pho_half") as writer:
        await writer.write(b"x" * 2_000_000)
        assert "photos/pho_half" not in [name async for name, _ in blobs.names("photos")]
    assert "photos/pho_half" in [name async for name, _ in blobs.names("photos")]


async def test_what_is_no_blob_is_not_listed(blobs: BlobStore, memory: MemoryStore, kind: str, tmp_path: Path) -> None:
    await put(blobs, b"x")
    for path in ("photos/readme", "photos/x8/pho_abcx7", "photos/x7/deep/pho_abcx7", "photos/x7/Pho_x7"):
        if kind == "memory":
            obstore.put(memory, path, b"x")
        else:
            place = tmp_path / "blobs" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")
    assert [name async for name, _ in blobs.names("photos")] == [NAME]
