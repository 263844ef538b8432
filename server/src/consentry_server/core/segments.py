"""Sealed streams: photos and other large data, encrypted while they flow and opened segment by segment.

Format 0x02: a header ``0x02 ‖ salt(32) ‖ commitment(32) ‖ nonce prefix(7) ‖ segment size(u32)``, then the segments,
each ``ciphertext ‖ tag(16)`` by AES-256-GCM with nonce = prefix ‖ index (u32) ‖ last (1 byte).

* Index and last flag in the nonce: reordered, repeated, dropped and appended segments do not open (the STREAM
  construction: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its Nonce-Reuse
  Misuse-Resistance", 2015).
* The header is bound in every segment's associated data, beside the ids of ``envelope.Binding``.
* One encoding for each plaintext: every segment but the last is full; the last holds 1 byte to the segment size.
  Only an empty plaintext has a last segment of zero length, and then it is the only one.
* A segment is released only after its tag was checked. What came before the end is authentic, but whether the data
  is complete is known only when ``SegmentDecryptor.finish`` returns.

Each direction holds one segment of plaintext and one of ciphertext, in buffers that are used again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consentry_server.core.envelope import (
    COMMITMENT_BYTES,
    SALT_BYTES,
    TAG_BYTES,
    Binding,
    Random,
    committed_key,
    damaged,
    draw,
    message_key,
)
from consentry_server.core.errors import ConsentryError

if TYPE_CHECKING:
    from collections.abc import Iterator

SEGMENTED_FORMAT: Final = 0x02
PREFIX_BYTES: Final = 7
HEADER_BYTES: Final = 1 + SALT_BYTES + COMMITMENT_BYTES + PREFIX_BYTES + 4
MIN_SEGMENT_BYTES: Final = 64 * 2**10
MAX_SEGMENT_BYTES: Final = 2**20
DEFAULT_SEGMENT_BYTES: Final = 512 * 2**10
MAX_SEGMENTS: Final = 2**32  # the index is a u32
_ZEROS: Final = bytes(4096)

Bytes = bytes | bytearray | memoryview


class _Stream:
    """What both directions share: the key, the header's binding and the running index."""

    def __init__(self, key: bytes, binding: Binding, header: bytes) -> None:
        self._aead = AESGCM(key)
        self._prefix = header[-4 - PREFIX_BYTES : -4]
        self._aad = binding.encode(SEGMENTED_FORMAT, header)
        self.index = 0

    def _nonce(self, *, last: bool) -> bytes:
        if self.index >= MAX_SEGMENTS:
            raise damaged("more segments than the format can count", "format")
        nonce = self._prefix + self.index.to_bytes(4) + (b"\x01" if last else b"\x00")
        self.index += 1
        return nonce

    def encrypt(self, plain: Bytes, out: bytearray, *, last: bool) -> memoryview:
        """Encrypt one segment into ``out`` and return the part of it that was written."""
        sealed = memoryview(out)[: len(plain) + TAG_BYTES]
        self._aead.encrypt_into(self._nonce(last=last), plain, self._aad, sealed)
        return sealed

    def decrypt(self, sealed: Bytes, out: bytearray, *, last: bool) -> memoryview:
        """Decrypt one segment into ``out``; on failure ``out`` is wiped before the error leaves."""
        plain = memoryview(out)[: len(sealed) - TAG_BYTES]
        try:
            self._aead.decrypt_into(self._nonce(last=last), sealed, self._aad, plain)
        except InvalidTag as error:
            _wipe(plain)
            raise damaged("a segment was changed, moved or cut off, or belongs to another record", "tag") from error
        return plain


class _Cutter:
    """Cuts chunks of any size into full segments and holds the rest back until it is known whether more follows."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._buffer = memoryview(bytearray(size))
        self._filled = 0
        self._waiting = memoryview(b"")

    def feed(self, chunk: Bytes) -> None:
        """Take the next chunk, once the one before has been cut completely."""
        if len(self._waiting):
            raise ValueError("the segments of the chunk before were not all taken")
        self._waiting = memoryview(chunk).cast("B")

    def next_full(self) -> memoryview | None:
        """Return the next segment that is full and certainly not the last, or None when more data is needed."""
        while len(self._waiting):
            if self._filled == self._size:
                self._filled = 0
                return self._buffer
            if self._filled == 0 and len(self._waiting) > self._size:  # no need to copy what is already in one piece
                segment, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
                return segment
            take = min(self._size - self._filled, len(self._waiting))
            self._buffer[self._filled : self._filled + take] = self._waiting[:take]
            self._filled += take
            self._waiting = self._waiting[take:]
        return None

    def rest(self) -> memoryview:
        """Return what is held back: the last segment."""
        if len(self._waiting):
            raise ValueError("the segments of the chunk before were not all taken")
        return self._buffer[: self._filled]

    def wipe(self) -> None:
        """Overwrite what was held back."""
        _wipe(self._buffer)
        self._filled = 0


class SegmentEncryptor:
    """Encrypts a stream segment by segment.

    Write ``header`` first, then everything that ``update`` and at the end ``finish`` give. What they give is a view of
    a buffer that is used again: write or copy it before asking for the next.

    Args:
        dek: 32 bytes.
        binding: What the stream belongs to.
        random: Source of the salt and the nonce prefix.
        segment_bytes: Plaintext bytes of a segment, 64 KiB to 1 MiB.
    """

    def __init__(
        self, dek: bytes, binding: Binding, random: Random, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES
    ) -> None:
        if not MIN_SEGMENT_BYTES <= segment_bytes <= MAX_SEGMENT_BYTES:
            raise ValueError(f"a segment has {MIN_SEGMENT_BYTES} to {MAX_SEGMENT_BYTES} bytes, not {segment_bytes}")
        salt = draw(random, SALT_BYTES)
        derived = message_key(dek, salt, binding.record_class)
        prefix = draw(random, PREFIX_BYTES)
        self.header: Final = b"".join(
            (bytes((SEGMENTED_FORMAT,)), salt, derived.commitment, prefix, segment_bytes.to_bytes(4))
        )
        """76 bytes that come before the segments."""
        self._stream = _Stream(derived.key, binding, self.header)
        self._cutter = _Cutter(segment_bytes)
        self._out = bytearray(segment_bytes + TAG_BYTES)
        self._open = True

    def update(self, chunk: Bytes) -> Iterator[memoryview]:
        """Take the next bytes of plaintext and return the sealed segments that are now complete.

        Args:
            chunk: Any number of bytes; unchanged until the iterator is exhausted.

        Raises:
            ValueError: When the iterator of the call before was not exhausted, or after ``finish``.
        """
        self._require_open()
        self._cutter.feed(chunk)
        return self._sealed()

    def finish(self) -> memoryview:
        """Return the last sealed segment. Nothing can be added afterwards."""
        self._require_open()
        rest = self._cutter.rest()
        self._open = False
        sealed = self._stream.encrypt(rest, self._out, last=True)
        self._cutter.wipe()
        return sealed

    def _sealed(self) -> Iterator[memoryview]:
        while (segment := self._cutter.next_full()) is not None:
            yield self._stream.encrypt(segment, self._out, last=False)

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError("the stream is finished")


class SegmentDecryptor:
    """Opens a stream of format 0x02 segment by segment.

    What ``update`` and ``finish`` give is a view of a buffer that is used again: write or copy it before asking for the
    next. After an error nothing more is released, whatever follows.

    Args:
        dek: 32 bytes.
        binding: What the stream belongs to.
    """

    def __init__(self, dek: bytes, binding: Binding) -> None:
        self._dek = dek
        self._binding = binding
        self._head = bytearray()
        self._stream: _Stream | None = None
        self._cutter: _Cutter | None = None
        self._out = bytearray()
        self._open = True

    def update(self, chunk: Bytes) -> Iterator[memoryview]:
        """Take the next bytes of the sealed stream and return the plaintext of segments that are now known whole.

        Args:
            chunk: Any number of bytes; unchanged until the iterator is exhausted.

        Raises:
            ConsentryError: DATA_DAMAGED, here or while iterating; metadata ``stage`` is ``format``, ``commitment``
                or ``tag``.
            ValueError: When the iterator of the call before was not exhausted, or after the end or an error.
        """
        self._require_open()
        data = memoryview(chunk).cast("B")
        if self._cutter is None:
            take = min(HEADER_BYTES - len(self._head), len(data))
            self._head += data[:take]
            data = data[take:]
            if len(self._head) < HEADER_BYTES:
                return iter(())
            self._begin(bytes(self._head))
        if self._cutter is not None:
            self._cutter.feed(data)
        return self._opened()

    def finish(self) -> memoryview:
        """Return the plaintext of the last segment: only now is the data known to be complete.

        Raises:
            ConsentryError: DATA_DAMAGED when the stream was cut off, extended or changed.
        """
        self._require_open()
        stream, cutter = self._stream, self._cutter
        if stream is None or cutter is None:
            self._close()
            raise damaged("the sealed stream ends inside its header", "format")
        rest = cutter.rest()
        if len(rest) < TAG_BYTES or (len(rest) == TAG_BYTES and stream.index > 0):
            self._close()
            raise damaged("the sealed stream is cut off", "format")
        try:
            return stream.decrypt(rest, self._out, last=True)
        finally:
            self._close()

    def _begin(self, header: bytes) -> None:
        size = int.from_bytes(header[-4:])
        if header[0] != SEGMENTED_FORMAT or not MIN_SEGMENT_BYTES <= size <= MAX_SEGMENT_BYTES:
            self._close()
            raise damaged("this is no sealed stream of format 2", "format")
        salt, commitment = header[1 : 1 + SALT_BYTES], header[1 + SALT_BYTES : -4 - PREFIX_BYTES]
        try:
            key = committed_key(self._dek, salt, commitment, self._binding.record_class)
        except ConsentryError:
            self._close()
            raise
        self._stream = _Stream(key, self._binding, header)
        self._cutter = _Cutter(size + TAG_BYTES)
        self._out = bytearray(size)

    def _opened(self) -> Iterator[memoryview]:
        if self._stream is None or self._cutter is None:
            return
        while self._open and (sealed := self._cutter.next_full()) is not None:
            try:
                plain = self._stream.decrypt(sealed, self._out, last=False)
            except ConsentryError:
                self._close()
                raise
            yield plain

    def _close(self) -> None:
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError("the stream is finished")


def _wipe(view: memoryview) -> None:
    for at in range(0, len(view), len(_ZEROS)):
        part = view[at : at + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]


def sealed_bytes(plain_bytes: int, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> int:
    """Return the size of a sealed stream.

    Args:
        plain_bytes: Size of the plaintext.
        segment_bytes: Plaintext bytes of a segment.
    """
    segments = max(1, -(-plain_bytes // segment_bytes))
    return HEADER_BYTES + plain_bytes + segments * TAG_BYTES
