"""What an upload is, from its first bytes: type and size in pixels, without decoding anything.

Reading a header is all that happens to a photo before a biometric operation is allowed: no pixel is looked at.

Sources: ITU-T T.81 (JPEG), the PNG specification (third edition), RFC 9649 (WebP), ISO/IEC 14496-12 and 23008-12
(HEIC), TIFF 6.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from consentry_server.core.errors import ConsentryError, Reason

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
WEBP: Final = "image/webp"
HEIC: Final = "image/heic"
TIFF: Final = "image/tiff"
HEAD_BYTES: Final = 512 * 2**10
"""How much of an upload ``inspect`` wants to see; less is fine when the upload is smaller."""

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_TIFF_ORDERS: Final[dict[bytes, Literal["little", "big"]]] = {b"II*\x00": "little", b"MM\x00*": "big"}
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
# T.81, table B.1: start of frame, without DHT (C4), JPG (C8) and DAC (CC)
_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # T.81, table B.1: markers without a length
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_TIFF_WIDTH: Final = 256  # TIFF 6.0, section 3: ImageWidth
_TIFF_HEIGHT: Final = 257  # TIFF 6.0, section 3: ImageLength
_TIFF_SHORT: Final = 3


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What the head of an image says.

    Args:
        content_type: ``image/jpeg``, ``image/png``, ``image/webp``, ``image/heic`` or ``image/tiff``.
        width: Pixels as stored; 0 where a TIFF keeps it beyond the head.
        height: Pixels as stored; 0 likewise.
    """

    content_type: str
    width: int
    height: int


class _CutShort(Exception):  # noqa: N818 - a signal inside this module, not an error of its own
    """The head ends before what is looked for."""


def inspect(head: bytes, max_pixels: int) -> ImageFacts:
    """Tell what an upload is from its first bytes.

    Args:
        head: The first ``HEAD_BYTES`` of the upload, or all of it.
        max_pixels: Largest width times height that is taken in.

    Raises:
        ConsentryError: NOT_AN_IMAGE, or IMAGE_TOO_LARGE when it would unpack into more pixels than ``max_pixels``.
    """
    try:
        facts = _recognise(head[:HEAD_BYTES])
    except (_CutShort, IndexError) as error:
        raise _not_an_image("its header is damaged or longer than 512 KiB") from error
    if facts.content_type != TIFF and not (facts.width and facts.height):
        raise _not_an_image("it has no pixels")
    if facts.width * facts.height > max_pixels:
        raise ConsentryError(
            Reason.IMAGE_TOO_LARGE,
            f"the image has {facts.width} x {facts.height} pixels; at most {max_pixels} are taken in",
            metadata={"width": str(facts.width), "height": str(facts.height), "max_pixels": str(max_pixels)},
        )
    return facts


def _recognise(head: bytes) -> ImageFacts:
    if head.startswith(b"\xff\xd8\xff"):
        return ImageFacts(JPEG, *_jpeg_size(head))
    if head.startswith(_PNG_SIGNATURE):
        return ImageFacts(PNG, *_png_size(head))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ImageFacts(WEBP, *_webp_size(head))
    if head[4:8] == b"ftyp" and _HEIC_BRANDS & _brands(head):
        return ImageFacts(HEIC, *_heic_size(head))
    if head[:4] in _TIFF_ORDERS:
        return ImageFacts(TIFF, *_tiff_size(head))
    raise _not_an_image("it is none of JPEG, PNG, WebP, HEIC and TIFF")


def _jpeg_size(head: bytes) -> tuple[int, int]:
    """Walk the segments (T.81, annex B) to the first start of frame."""
    at = 2
    while True:
        if head[at] != 0xFF:  # noqa: PLR2004 - T.81, B.1.1.2: every marker begins with FF
            raise _CutShort
        while head[at] == 0xFF:  # noqa: PLR2004 - fill bytes
            at += 1
        marker, at = head[at], at + 1
        if marker in _STANDALONE:
            continue
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            raise _CutShort
        if marker in _START_OF_FRAME:
            return _number(head, at + 5, 2), _number(head, at + 3, 2)
        at += max(2, _number(head, at, 2))


def _png_size(head: bytes) -> tuple[int, int]:
    if head[12:16] != b"IHDR":
        raise _CutShort
    return _number(head, 16, 4), _number(head, 20, 4)


def _webp_size(head: bytes) -> tuple[int, int]:
    """RFC 9649, sections 2.5 to 2.7."""
    kind = head[12:16]
    if kind == b"VP8X":
        return _number(head, 24, 3, "little") + 1, _number(head, 27, 3, "little") + 1
    if kind == b"VP8L" and head[20] == 0x2F:  # noqa: PLR2004 - the signature byte
        bits = _number(head, 21, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        return _number(head, 26, 2, "little") & 0x3FFF, _number(head, 28, 2, "little") & 0x3FFF
    raise _CutShort


def _brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of the ``ftyp`` box (ISO/IEC 14496-12, 4.3)."""
    size = min(_number(head, 0, 4), 256)
    return {head[8:12], *(head[at : at + 4] for at in range(16, size, 4))}


def _heic_size(head: bytes) -> tuple[int, int]:
    """Return the largest ``ispe`` property: tiles and thumbnails have smaller ones (ISO/IEC 23008-12, 6.5.3)."""
    sizes: list[tuple[int, int]] = []
    at = head.find(b"ispe")
    while at >= 0:
        sizes.append((_number(head, at + 8, 4), _number(head, at + 12, 4)))
        at = head.find(b"ispe", at + 4)
    if not sizes:
        raise _CutShort
    return max(sizes, key=lambda size: size[0] * size[1])


def _tiff_size(head: bytes) -> tuple[int, int]:
    """Read the first directory (TIFF 6.0, section 2); it may lie anywhere, also beyond the head."""
    order = _TIFF_ORDERS[head[:4]]
    start = _number(head, 4, 4, order)
    if start + 2 > len(head):
        return 0, 0
    found = {_TIFF_WIDTH: 0, _TIFF_HEIGHT: 0}
    for field in range(_number(head, start, 2, order)):
        at = start + 2 + 12 * field
        if at + 12 > len(head):
            return 0, 0
        tag = _number(head, at, 2, order)
        if tag in found:
            found[tag] = _number(head, at + 8, 2 if _number(head, at + 2, 2, order) == _TIFF_SHORT else 4, order)
    if not all(found.values()):
        raise _CutShort
    return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def _number(head: bytes, at: int, size: int, order: Literal["little", "big"] = "big") -> int:
    if at + size > len(head):
        raise _CutShort
    return int.from_bytes(head[at : at + size], order)


def _not_an_image(why: str) -> ConsentryError:
    return ConsentryError(Reason.NOT_AN_IMAGE, f"the upload is not an image that can be taken in: {why}")
