"""Format 0x02: whatever is done to a stream of segments, only the whole and untouched one opens to its end."""

from __future__ import annotations

import dataclasses
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core import segments
from consentry_server.core.envelope import Binding
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.segments import HEADER_BYTES, SegmentDecryptor, SegmentEncryptor, sealed_bytes
from consentry_server.core.vocabulary import RecordClass

DEK = bytes(range(32))
BINDING = Binding("acme", RecordClass.PHOTO, "pho_1", "pho_1", "dek_1")
SIZE = 64 * 1024
SEALED = SIZE + 16
PLAIN = os.urandom(3 * SIZE + 1000)


def encrypt(plain: bytes, *, cuts: list[int] | None = None, dek: bytes = DEK, binding: Binding = BINDING) -> bytes:
    encryptor = SegmentEncryptor(dek, binding, os.urandom, segment_bytes=SIZE)
    out = bytearray(encryptor.header)
    for chunk in cut(plain, cuts or [len(plain)]):
        for sealed in encryptor.update(chunk):
            out += sealed
    out += encryptor.finish()
    return bytes(out)


def decrypt(sealed: bytes, *, cuts: list[int] | None = None, dek: bytes = DEK, binding: Binding = BINDING) -> bytes:
    released = bytearray()
    decrypt_into(released, sealed, cuts, dek, binding)
    return bytes(released)


def decrypt_into(
    released: bytearray, sealed: bytes, cuts: list[int] | None = None, dek: bytes = DEK, binding: Binding = BINDING
) -> None:
    decryptor = SegmentDecryptor(dek, binding)
    for chunk in cut(sealed, cuts or [len(sealed) or 1]):
        for plain in decryptor.update(chunk):
            released += plain
    released += decryptor.finish()


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, turn = [], 0, 0
    while at < len(data):
        step = max(1, sizes[turn % len(sizes)])
        pieces.append(data[at : at + step])
        at, turn = at + step, turn + 1
    return pieces


def parts(sealed: bytes) -> tuple[bytes, list[bytes]]:
    return sealed[:HEADER_BYTES], cut(sealed[HEADER_BYTES:], [SEALED])


def refused(sealed: bytes, plain: bytes = PLAIN, *, binding: Binding = BINDING, dek: bytes = DEK) -> str:
    """The stream is refused, and all that was released before is a true beginning of the plaintext."""
    released = bytearray()
    with pytest.raises(ConsentryError) as caught:
        decrypt_into(released, sealed, [40_000], dek, binding)
    assert caught.value.reason is Reason.DATA_DAMAGED
    assert plain.startswith(released)
    assert len(released) < max(1, len(plain))
    return caught.value.metadata["stage"]


@given(
    size=st.integers(0, 3 * SIZE + 5) | st.sampled_from([0, 1, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE, 3 * SIZE]),
    there=st.lists(st.integers(1, 2 * SIZE), min_size=1, max_size=4),
    back=st.lists(st.integers(1, 2 * SIZE), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_any_size_in_any_chunks(size: int, there: list[int], back: list[int]) -> None:
    plain = PLAIN[:size]
    there, back = [max(n, size // 50) for n in there], [max(n, size // 50) for n in back]
    sealed = encrypt(plain, cuts=there)
    assert len(sealed) == sealed_bytes(size, SIZE)
    assert decrypt(sealed, cuts=back) == plain


def test_byte_by_byte_through_the_header() -> None:
    sealed = encrypt(b"small")
    assert decrypt(sealed, cuts=[1]) == b"small"


@given(st.data())
@settings(max_examples=120)
def test_any_changed_byte_is_seen(data: st.DataObject) -> None:
    sealed = bytearray(SEALED_ONCE)
    near = st.integers(0, HEADER_BYTES + 20) | st.integers(len(sealed) - 40, len(sealed) - 1)
    at = data.draw(near | st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    refused(bytes(sealed))


@given(at=st.integers(0, 4), flip=st.integers(1, 255))
@settings(max_examples=40)
def test_a_changed_header_is_seen_in_a_stream_of_one_segment(at: int, flip: int) -> None:
    sealed = bytearray(encrypt(b"one small segment"))
    sealed[HEADER_BYTES - 4 - 1 + at] ^= flip  # the segment size and the prefix byte before it
    refused(bytes(sealed), b"one small segment")


def test_another_valid_segment_size_is_seen() -> None:
    sealed = bytearray(encrypt(b"one small segment"))
    sealed[HEADER_BYTES - 4 : HEADER_BYTES] = (2 * SIZE).to_bytes(4, "big")
    assert refused(bytes(sealed), b"one small segment") == "tag"


@given(end=st.integers(0, sealed_bytes(len(PLAIN), SIZE) - 1))
@settings(max_examples=60)
def test_any_truncation_is_seen(end: int) -> None:
    refused(SEALED_ONCE[:end])


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_truncation_at_a_segment_border_is_seen(kept: int) -> None:
    header, pieces = parts(SEALED_ONCE)
    refused(header + b"".join(pieces[:kept]))


@given(st.permutations(range(4)))
def test_any_other_order_is_seen(order: list[int]) -> None:
    header, pieces = parts(SEALED_ONCE)
    sealed = header + b"".join(pieces[index] for index in order)
    if order == [0, 1, 2, 3]:
        assert decrypt(sealed) == PLAIN
    else:
        refused(sealed)


@pytest.mark.parametrize("dropped", [0, 1, 2])
def test_a_dropped_segment_is_seen(dropped: int) -> None:
    header, pieces = parts(SEALED_ONCE)
    refused(header + b"".join(pieces[:dropped] + pieces[dropped + 1 :]))


@pytest.mark.parametrize("doubled", [0, 1, 2, 3])
def test_a_doubled_segment_is_seen(doubled: int) -> None:
    header, pieces = parts(SEALED_ONCE)
    refused(header + b"".join(pieces[: doubled + 1] + pieces[doubled:]))


@given(more=st.binary(min_size=1, max_size=200))
@settings(max_examples=30)
def test_an_extension_is_seen(more: bytes) -> None:
    refused(SEALED_ONCE + more)
    whole = encrypt(PLAIN[:SIZE])
    refused(whole + more, PLAIN[:SIZE])


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_segment_of_another_stream_under_the_same_key_is_seen(index: int) -> None:
    header, pieces = parts(SEALED_ONCE)
    _, others = parts(encrypt(PLAIN))
    refused(header + b"".join([*pieces[:index], others[index], *pieces[index + 1 :]]))


def test_the_header_of_another_stream_is_seen() -> None:
    header, _ = parts(encrypt(PLAIN))
    _, pieces = parts(SEALED_ONCE)
    refused(header + b"".join(pieces))


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("tenant", "b"),
        ("record_id", "pho_2"),
        ("owner", "pho_2"),
        ("dek_id", "d"),
        ("record_class", RecordClass.EVIDENCE),
    ],
)
def test_a_stream_belongs_to_one_record(field: str, other: object) -> None:
    elsewhere = dataclasses.replace(BINDING, **{field: other})  # type: ignore[arg-type] # any field by its name
    refused(SEALED_ONCE, binding=elsewhere)


def test_a_swapped_key_is_seen_at_the_header() -> None:
    decryptor = SegmentDecryptor(os.urandom(32), BINDING)
    with pytest.raises(ConsentryError) as caught:
        decryptor.update(SEALED_ONCE[:HEADER_BYTES])
    assert caught.value.metadata["stage"] == "commitment"


def test_an_empty_stream_is_one_empty_segment() -> None:
    sealed = encrypt(b"")
    assert len(sealed) == HEADER_BYTES + 16
    assert decrypt(sealed) == b""


def test_an_empty_last_segment_after_others_is_refused() -> None:
    """A stream has one encoding, also against somebody who holds the key."""
    encryptor = SegmentEncryptor(DEK, BINDING, os.urandom, segment_bytes=SIZE)
    out = bytearray(encryptor.header)
    list(encryptor.update(PLAIN[:SIZE]))
    stream, buffer = encryptor._stream, bytearray(SEALED)
    out += stream.encrypt(PLAIN[:SIZE], buffer, last=False)
    out += stream.encrypt(b"", buffer, last=True)
    assert refused(bytes(out), PLAIN[:SIZE] + b"never") == "format"


def test_a_failed_segment_is_wiped_and_nothing_follows() -> None:
    sealed = bytearray(SEALED_ONCE)
    sealed[HEADER_BYTES + SEALED + 5] ^= 1
    decryptor = SegmentDecryptor(DEK, BINDING)
    given = decryptor.update(bytes(sealed))
    assert bytes(next(given)) == PLAIN[:SIZE]
    with pytest.raises(ConsentryError):
        next(given)
    assert not any(decryptor._out)
    assert list(given) == []
    with pytest.raises(ValueError, match="finished"):
        decryptor.update(b"more")
    with pytest.raises(ValueError, match="finished"):
        decryptor.finish()


@pytest.mark.parametrize("size", [0, 1024, SIZE - 1, 2**20 + 1])
def test_segment_sizes_are_bounded(size: int) -> None:
    with pytest.raises(ValueError, match="a segment has"):
        SegmentEncryptor(DEK, BINDING, os.urandom, segment_bytes=size)
    header = b"\x02" + bytes(32 + 32 + 7) + size.to_bytes(4, "big")
    assert refused(header + bytes(100), b"") == "format"


def test_segments_cannot_be_left_behind_unnoticed() -> None:
    encryptor = SegmentEncryptor(DEK, BINDING, os.urandom, segment_bytes=SIZE)
    encryptor.update(PLAIN)
    with pytest.raises(ValueError, match="not all taken"):
        encryptor.update(b"more")
    with pytest.raises(ValueError, match="not all taken"):
        encryptor.finish()


def test_nothing_can_follow_the_end() -> None:
    encryptor = SegmentEncryptor(DEK, BINDING, os.urandom)
    encryptor.finish()
    with pytest.raises(ValueError, match="finished"):
        encryptor.update(b"more")
    with pytest.raises(ValueError, match="finished"):
        encryptor.finish()


def test_the_index_never_runs_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "MAX_SEGMENTS", 2)
    with pytest.raises(ConsentryError):
        encrypt(PLAIN)


def test_memory_is_two_segments_each_way() -> None:
    chunk = bytes(256 * 1024)
    tracemalloc.start()
    try:
        encryptor = SegmentEncryptor(DEK, BINDING, os.urandom)
        decryptor = SegmentDecryptor(DEK, BINDING)
        list(decryptor.update(encryptor.header))
        for _ in range(64):
            for sealed in encryptor.update(chunk):
                for plain in decryptor.update(sealed):
                    assert len(plain) == segments.DEFAULT_SEGMENT_BYTES
        list(decryptor.update(encryptor.finish()))
        decryptor.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2 * segments.DEFAULT_SEGMENT_BYTES + 64 * 1024


SEALED_ONCE = encrypt(PLAIN)
