"""Photos up and down, from every kind of source, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from consentry import Config, InvalidRequest, NotFound, PhotoDescription, Truncated, Unavailable
from consentry.testing import answers, fails, never_answers, photo_messages
from consentry.v1.vault_service_pb2 import OpenPhotoResponse, UploadPhotoResponse
from tests.client.conftest import all_of, now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from consentry.testing import FakeGate
    from tests.client.conftest import Side

PHOTO = bytes(range(256)) * 3000
ALICE = PhotoDescription(owner_subject_id="alice")


def pieces() -> Iterator[bytes]:
    yield PHOTO[:1000]
    yield b""
    yield PHOTO[1000:]


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "iterable", "async iterable"])
async def test_a_photo_goes_up_from_every_source(side: Side, gate: FakeGate, kind: str, tmp_path: Path) -> None:
    if kind == "async iterable" and side.name == "sync":
        return  # the type says so
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    sources: dict[str, Any] = {
        "bytes": PHOTO,
        "path": tmp_path / "photo.jpg",
        "file": BytesIO(PHOTO),
        "iterable": pieces(),
        "async iterable": async_pieces(),
    }
    async with side.started() as client:
        stored = await now(client.upload_photo(sources[kind], ALICE, content_type="image/jpeg", request_id="mine"))
    assert stored.stored
    assert gate.photos[stored.photo_id] == PHOTO
    (messages,) = gate.received("UploadPhoto")
    assert messages[0].header.request_id == "mine"
    assert messages[-1].end.sha256 == hashlib.sha256(PHOTO).digest()
    assert max(len(message.chunk) for message in messages) <= Config().chunk_bytes


class BrokenDiskError(Exception):
    pass


async def test_a_source_that_breaks_stores_nothing_and_says_why(side: Side, gate: FakeGate, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise BrokenDiskError

    async with side.started() as client:
        with pytest.raises(BrokenDiskError):
            await now(client.upload_photo(broken(), ALICE))
        with pytest.raises(TypeError):
            await now(client.upload_photo(["text"], ALICE))
        with pytest.raises(FileNotFoundError):
            await now(client.upload_photo(tmp_path / "missing.jpg", ALICE))
    assert gate.photos == {}
    assert [messages[-1].HasField("end") for messages in gate.received("UploadPhoto")] == [False, False]


async def test_a_source_that_breaks_is_never_a_stored_photo(side: Side, gate: FakeGate) -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise BrokenDiskError

    gate.script("UploadPhoto", answers(UploadPhotoResponse(photo_id="pho_1")))  # a server that takes what has no end
    async with side.started() as client:
        with pytest.raises(BrokenDiskError):
            await now(client.upload_photo(broken(), ALICE))


async def test_a_refused_upload_names_the_fault(side: Side, gate: FakeGate) -> None:
    gate.script("UploadPhoto", fails(grpc.StatusCode.INVALID_ARGUMENT, "NOT_AN_IMAGE", field="chunk"))
    async with side.started() as client:
        with pytest.raises(InvalidRequest) as caught:
            await now(client.upload_photo(b"zip", ALICE))
    assert (caught.value.reason, caught.value.field) == ("NOT_AN_IMAGE", "chunk")


async def test_a_small_upload_is_sent_again_with_the_same_id(side: Side, gate: FakeGate) -> None:
    gate.script("UploadPhoto", fails(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"))
    async with side.started() as client:
        stored = await now(client.upload_photo(b"small", ALICE))
    assert gate.photos[stored.photo_id] == b"small"
    first, second = gate.received("UploadPhoto")
    assert first[0].header.request_id == second[0].header.request_id != ""


async def test_an_upload_without_answer_ends_with_its_deadline(side: Side, gate: FakeGate) -> None:
    gate.script("UploadPhoto", never_answers)
    async with side.started(Config(transfer_deadline_seconds=0.05, slowest_bytes_per_second=10**9)) as client:
        with pytest.raises(Unavailable) as caught:
            await now(client.upload_photo(b"photo", ALICE))
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_photo_comes_down_whole(side: Side, gate: FakeGate) -> None:
    gate.photos["pho_1"] = PHOTO
    async with side.started() as client:
        opened = await now(client.open_photo("permit", "pho_1"))
        assert (opened.content, opened.size) == (PHOTO, len(PHOTO))
        async with side.block(client.stream_photo("permit", "pho_1")) as stream:
            assert stream.photo.size == len(PHOTO)
            assert b"".join(await all_of(stream)) == PHOTO
        with pytest.raises(NotFound):
            await now(client.open_photo("permit", "pho_2"))


@pytest.mark.parametrize(
    "messages",
    [
        [],
        list(photo_messages(PHOTO))[:-1],
        list(photo_messages(PHOTO))[1:],
        list(photo_messages(PHOTO, size=len(PHOTO) + 1)),
        list(photo_messages(PHOTO, size=len(PHOTO) - 1)),
        [*photo_messages(PHOTO), OpenPhotoResponse(chunk=b"x")],
    ],
    ids=["nothing", "last chunk missing", "no header", "short", "long", "one chunk more"],
)
async def test_a_truncated_photo_is_an_error(side: Side, gate: FakeGate, messages: list[OpenPhotoResponse]) -> None:
    gate.script("OpenPhoto", lambda request, context: iter(messages), lambda request, context: iter(messages))
    async with side.started() as client:
        with pytest.raises(Truncated):
            await now(client.open_photo("permit", "pho_1"))
        with pytest.raises(Truncated):
            async with side.block(client.stream_photo("permit", "pho_1")) as stream:
                await all_of(stream)


async def test_a_stream_that_breaks_off_is_an_error(side: Side, gate: FakeGate) -> None:
    def breaks(request: object, context: grpc.ServicerContext) -> Iterator[OpenPhotoResponse]:
        yield from list(photo_messages(PHOTO))[:-1]
        fails(grpc.StatusCode.DATA_LOSS, "DATA_DAMAGED")(request, context)

    gate.script("OpenPhoto", breaks)
    async with side.started() as client:
        with pytest.raises(Unavailable) as caught:
            await now(client.open_photo("permit", "pho_1"))
    assert caught.value.reason == "DATA_DAMAGED"


async def test_a_stream_that_is_left_early_ends_at_the_server_too(side: Side, gate: FakeGate) -> None:
    ended = threading.Event()

    def endless(request: object, context: grpc.ServicerContext) -> Iterator[OpenPhotoResponse]:
        context.add_callback(ended.set)
        yield from list(photo_messages(PHOTO))[:2]
        never_answers(request, context)

    gate.script("OpenPhoto", endless)
    async with side.started() as client:
        async with side.block(client.stream_photo("permit", "pho_1")) as stream:
            assert stream.photo.size == len(PHOTO)
        assert await asyncio.to_thread(ended.wait, 5)
        assert stream.photo.size == len(PHOTO)  # still held: nobody else has ended the call
        assert await now(client.check_batch([])) == ()  # the connection is as good as before


async def test_memory_is_bounded(side: Side, gate: FakeGate) -> None:
    gate.photos["pho_1"] = PHOTO
    async with side.started(Config(max_photo_bytes=1000)) as client:
        with pytest.raises(InvalidRequest) as caught:
            await now(client.open_photo("permit", "pho_1"))
        assert caught.value.field == "max_photo_bytes"
        async with side.block(client.stream_photo("permit", "pho_1")) as stream:
            assert len(await all_of(stream)) > 1
