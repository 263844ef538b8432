"""Uploads and downloads as messages."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry import PhotoDescription, Truncated
from consentry._transfer import Download, Upload
from consentry.testing import photo_messages
from consentry.v1.vault_service_pb2 import OpenPhotoResponse


def upload(chunk_bytes: int = 4) -> Upload:
    description = PhotoDescription(owner_subject_id="alice")
    return Upload(description, content_type="image/jpeg", request_id="mine", chunk_bytes=chunk_bytes)


@given(st.lists(st.binary(max_size=20)), st.integers(1, 8))
def test_an_upload_is_cut_small_and_ends_with_size_and_digest(pieces: list[bytes], chunk_bytes: int) -> None:
    photo = upload(chunk_bytes)
    chunks = [message.chunk for piece in pieces for message in photo.parts(piece)]
    whole = b"".join(pieces)
    assert b"".join(chunks) == whole
    assert all(1 <= len(chunk) <= chunk_bytes for chunk in chunks)
    assert (photo.end().end.size, photo.end().end.sha256) == (len(whole), hashlib.sha256(whole).digest())


def test_the_header_says_who_and_what() -> None:
    header = upload().header.header
    assert (header.request_id, header.content_type, header.description.owner_subject_id) == (
        "mine", "image/jpeg", "alice",
    )  # fmt: skip


def receive(messages: list[OpenPhotoResponse]) -> bytes:
    download = Download()
    download.start(messages[0] if messages else None)
    content = b"".join(download.take(message) for message in messages[1:])
    download.finish()
    return content


@given(st.binary(max_size=300_000))
def test_a_whole_photo_arrives(content: bytes) -> None:
    assert receive(list(photo_messages(content))) == content


@pytest.mark.parametrize(
    "messages",
    [
        [],
        list(photo_messages(b"abc"))[1:],
        list(photo_messages(b"abc"))[:1],
        list(photo_messages(b"abc", size=4)),
        list(photo_messages(b"abc", size=2)),
        [*photo_messages(b"abc"), *photo_messages(b"")],
        [*photo_messages(b"abc"), OpenPhotoResponse(chunk=b"d")],
    ],
    ids=["nothing", "no header", "no chunk", "one byte short", "one byte long", "two headers", "one chunk more"],
)
def test_what_is_not_whole_is_refused(messages: list[OpenPhotoResponse]) -> None:
    with pytest.raises(Truncated):
        receive(messages)


def test_bytes_beyond_the_stated_size_are_not_even_taken() -> None:
    download = Download()
    header, chunk = photo_messages(b"abc", size=2)
    download.start(header)
    with pytest.raises(Truncated):
        download.take(chunk)
