"""Where in a stretch of the ledger each word occurs: kept in memory while it grows, packed once it is full.

A stretch is 64 entry tiles. Words are spread over 64 blobs by their hash; a blob answers for all of its words at once
and begins with a check over its content and its place, so that no damage to the file it came from is taken for an
answer. Word hashes may collide: what is found is looked at in the entry itself before it is believed.
"""

from __future__ import annotations

import struct
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.tiles import TILE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STRETCH: Final = 64 * TILE_WIDTH
"""Entries in a full stretch: 16,384; an offset fits in 16 bits."""
BUCKETS: Final = 64
LINKS: Final = BUCKETS
"""Number of the blob that holds the links; the words' blobs come before it."""
BLOBS: Final = BUCKETS + 1
"""Blobs of a stretch."""

_FORM: Final = b"consentry index 1 " + array("H", (1,)).tobytes()
"""Another meaning of the words needs another number here: what was packed before, or on a machine with another order of
bytes, is then made anew."""
_CHECK_BYTES: Final = 16
_HASH_BYTES: Final = 8
_COUNT: Final = struct.Struct("=I")
_LINK: Final = struct.Struct("=QHB")
_WORDS_AT_ONCE: Final = 256


class Postings:
    """The words of one stretch.

    Args:
        first: Index of its first entry.
        stretch: Entries that fill it; a multiple of 16.
    """

    __slots__ = ("_dense", "_links", "first", "size", "stretch", "words")

    def __init__(self, first: int, stretch: int = STRETCH) -> None:
        self.first = first
        self.stretch = stretch
        self._dense = stretch // 16  # from so many places of two bytes on, a bitmap is no longer than their list
        self.size = 0
        self.words: dict[str, array[int] | bytearray] = {}
        self._links: list[tuple[int, int, int]] = []

    @property
    def end(self) -> int:
        """The index behind its last entry."""
        return self.first + self.size

    @property
    def full(self) -> bool:
        """Whether it has all its entries."""
        return self.size == self.stretch

    def add(self, words: Sequence[str], link: tuple[int, int] | None = None) -> None:
        """Take in the next entry.

        Args:
            words: What it is found by.
            link: Index of an earlier entry that it follows, and a number from 0 to 255 that says how.
        """
        offset = self.size
        held = self.words
        for word in words:
            places = held.get(word)
            if places is None:
                held[word] = array("H", (offset,))
            elif isinstance(places, bytearray):
                places[offset >> 3] |= 1 << (offset & 7)
            elif places[-1] != offset:
                places.append(offset)
                if len(places) == self._dense:
                    held[word] = _bitmap(places, self.stretch)
        if link is not None:
            self._links.append((link[0], offset, link[1]))
        self.size = offset + 1

    def bits(self, word: str) -> int:
        """The entries that have a word: bit ``n`` stands for the entry ``first + n``."""
        places = self.words.get(word)
        return 0 if places is None else _bits(places, self.stretch)

    def links(self) -> Iterator[tuple[int, int, int]]:
        """Which entries follow which earlier ones: the earlier's index, the later's offset, and how."""
        return iter(self._links)


def pack(postings: Postings, ledger: str) -> Iterator[bytes | None]:
    """Pack a full stretch, in many small steps.

    Args:
        postings: The stretch; it no longer changes.
        ledger: The ledger's origin.

    Yields:
        None between steps, and the :data:`BLOBS` blobs in order.
    """
    place = _Place(ledger, postings.stretch, postings.first // postings.stretch)
    buckets: list[list[tuple[bytes, bytes]]] = [[] for _ in range(BUCKETS)]
    for done, (word, places) in enumerate(postings.words.items()):
        name = _hash(word)
        body = bytes(places) if isinstance(places, bytearray) else places.tobytes()
        buckets[name[0] % BUCKETS].append((name, body))
        if done % _WORDS_AT_ONCE == 0:
            yield None
    for bucket, held in enumerate(buckets):
        merged: dict[bytes, bytes] = {}
        for name, body in held:
            merged[name] = _either(merged[name], body, postings.stretch) if name in merged else body
        ends = array("I")
        end = 0
        for body in merged.values():
            end += len(body)
            ends.append(end)
        content = b"".join((_COUNT.pack(len(merged)), *merged, ends.tobytes(), *merged.values()))
        yield place.check(bucket, content) + content
    content = b"".join(_LINK.pack(*link) for link in postings.links())
    yield place.check(LINKS, content) + content


class Packed:
    """One packed stretch, read back.

    Args:
        read: Gives a blob by its number, or None.
        ledger: The ledger's origin.
        number: The stretch's number, from 0.
        stretch: Entries in it.
    """

    def __init__(self, read: Callable[[int], bytes | None], ledger: str, number: int, stretch: int = STRETCH) -> None:
        self._read = read
        self._place = _Place(ledger, stretch, number)

    def bits(self, word: str) -> int:
        """The entries that have a word.

        Returns:
            Bit ``n`` for the entry ``n`` of the stretch; another word with the same hash may have set some.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: a blob is not the one that was packed.
        """
        name = _hash(word)
        content = self._content(name[0] % BUCKETS)
        (count,) = _COUNT.unpack_from(content)
        names, ends = _COUNT.size, _COUNT.size + count * _HASH_BYTES
        at = content.find(name, names, ends)
        while at >= 0 and (at - names) % _HASH_BYTES:
            at = content.find(name, at + 1, ends)
        if at < 0:
            return 0
        bodies = ends + count * _COUNT.size
        place = ends + (at - names) // _HASH_BYTES * _COUNT.size
        start = 0 if at == names else _COUNT.unpack_from(content, place - _COUNT.size)[0]
        (stop,) = _COUNT.unpack_from(content, place)
        return _bits_of_body(content[bodies + start : bodies + stop], self._place.stretch)

    def links(self) -> Iterator[tuple[int, int, int]]:
        """Which entries follow which earlier ones.

        Returns:
            The earlier entry's index, the later one's offset in the stretch, and how it follows; in the entries' order.

        Raises:
            ConsentryError: ``DATA_DAMAGED``.
        """
        found: Iterator[tuple[int, int, int]] = _LINK.iter_unpack(self._content(LINKS))
        return found

    def _content(self, blob: int) -> bytes:
        data = self._read(blob)
        if data is not None:
            content = data[_CHECK_BYTES:]
            if self._place.check(blob, content) == data[:_CHECK_BYTES]:
                return content
        raise ConsentryError(Reason.DATA_DAMAGED, f"blob {blob} of a stretch is not the one that was packed")


def places(bits: int, first: int) -> Iterator[int]:
    """The indices that set bits stand for, ascending.

    Args:
        bits: Bit ``n`` for the entry ``first + n``.
        first: Index of the entry of bit 0.
    """
    while bits:
        lowest = bits & -bits
        yield first + lowest.bit_length() - 1
        bits ^= lowest


class _Place(NamedTuple):
    """What a stretch's blobs belong to."""

    ledger: str
    stretch: int
    number: int

    def check(self, blob: int, content: bytes) -> bytes:
        place = f"{self.ledger}\n{self.stretch}\n{self.number}\n{blob}\n".encode()
        return blake2b(_FORM + place + content, digest_size=_CHECK_BYTES).digest()


def _hash(word: str) -> bytes:
    return blake2b(word.encode(), digest_size=_HASH_BYTES).digest()


def _bitmap(offsets: array[int], stretch: int) -> bytearray:
    made = bytearray(stretch // 8)
    for offset in offsets:
        made[offset >> 3] |= 1 << (offset & 7)
    return made


def _bits(held: array[int] | bytearray, stretch: int) -> int:
    return int.from_bytes(held if isinstance(held, bytearray) else _bitmap(held, stretch), "little")


def _bits_of_body(body: bytes, stretch: int) -> int:
    if len(body) == stretch // 8:
        return int.from_bytes(body, "little")
    offsets = array("H")
    offsets.frombytes(body)
    return _bits(offsets, stretch)


def _either(one: bytes, other: bytes, stretch: int) -> bytes:
    """Two words with one hash: found together, and told apart in the entries."""
    return (_bits_of_body(one, stretch) | _bits_of_body(other, stretch)).to_bytes(stretch // 8, "little")
