"""Masking by Pillow: other people's faces are blacked out and everything that is not a pixel is dropped.

Boxes are in **stored pixels**: x to the right and y down in the image as it is encoded, before any EXIF orientation is
applied. The masked copy keeps that layout and, of all metadata, the orientation alone, so that one reader sees both
files in the same position. A detector that turns the image first (OpenCV's ``imread`` does so by default) must be told
not to (``IMREAD_IGNORE_ORIENTATION``), or its boxes fit neither file.

Metadata is dropped because it shows the face again: EXIF thumbnails, embedded previews, second pictures of a
multi-picture file, later frames of an animation.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageDraw, JpegImagePlugin

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.image import HEAD_BYTES, JPEG, PNG, WEBP, inspect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.record.facts import Box

ORIENTATION_TAG: Final = 0x0112  # EXIF 2.32, section 4.6.4
_FORMATS: Final = {JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP"}
_WEBP_QUALITY: Final = 90
_WIDE_MODES: Final = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})


class PillowMasker:
    """Blacks out boxes; see ``services.ports_vault.FaceMasker`` for what it guarantees.

    Args:
        max_pixels: Largest width times height that is unpacked into memory (about 7 bytes per pixel).
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def mask(self, image: bytes, boxes: Sequence[Box], content_type: str) -> bytes:
        """Return the image with the boxes blacked out, in the same type, with no metadata but its orientation."""
        if content_type not in _FORMATS:
            raise ConsentryError(
                Reason.FIELD_INVALID,
                f"faces cannot be masked in {content_type}: upload JPEG, PNG or WebP where outcomes may be mixed",
                field="photo.content_type",
            )
        facts = inspect(image[:HEAD_BYTES], self._max_pixels)
        if facts.content_type != content_type:
            raise _damaged()
        try:
            return self._masked(image, boxes, content_type)
        except ConsentryError:
            raise
        except Exception as error:
            raise _damaged() from error

    def _masked(self, image: bytes, boxes: Sequence[Box], content_type: str) -> bytes:
        with Image.open(io.BytesIO(image), formats=[_FORMATS[content_type]]) as opened:
            if opened.width * opened.height > self._max_pixels:  # the decoder's own reading of the size counts, too
                raise ConsentryError(Reason.IMAGE_TOO_LARGE, f"at most {self._max_pixels} pixels are unpacked")
            corners = [_corners(box, opened.width, opened.height) for box in boxes]
            orientation = opened.getexif().get(ORIENTATION_TAG)
            options = _options(opened, content_type)
            pixels = _plain(opened)
        draw = ImageDraw.Draw(pixels)
        for corner in corners:
            draw.rectangle(corner, fill=_black(pixels.mode))
        if isinstance(orientation, int) and 1 < orientation <= 8:  # noqa: PLR2004 - EXIF: 1 to 8, 1 is as stored
            exif = Image.Exif()
            exif[ORIENTATION_TAG] = orientation
            options["exif"] = exif.tobytes()
        out = io.BytesIO()
        pixels.save(out, _FORMATS[content_type], **options)
        return out.getvalue()


def _plain(opened: Image.Image) -> Image.Image:
    """Return the first frame's pixels in a mode with 8 bits a channel, in an image that knows nothing else."""
    if opened.mode in _WIDE_MODES:
        source = opened.convert("F").point(lambda value: value * (1 / 257)).convert("L")
    elif opened.has_transparency_data:
        source = opened.convert("RGBA")
    else:
        source = opened.convert("L" if opened.mode in {"1", "L"} else "RGB")
    plain = Image.new(source.mode, source.size)
    plain.paste(source)
    return plain


def _options(opened: Image.Image, content_type: str) -> dict[str, Any]:
    """Encode as the original was, as far as that can be known."""
    if content_type == PNG:
        return {"optimize": False}
    if content_type == WEBP:
        return {"quality": _WEBP_QUALITY, "exact": False}
    tables = getattr(opened, "quantization", None)
    sampling = JpegImagePlugin.get_sampling(opened)
    if not tables or opened.mode not in {"L", "RGB"} or sampling < 0:
        return {"quality": 95, "subsampling": 0}
    return {"qtables": tables, "subsampling": sampling}


def _corners(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the box cut to the image, corners inclusive."""
    right, bottom = min(box.x + box.width, width) - 1, min(box.y + box.height, height) - 1
    left, top = max(box.x, 0), max(box.y, 0)
    if box.width < 1 or box.height < 1 or right < left or bottom < top:
        raise ConsentryError(
            Reason.FIELD_INVALID,
            f"a face's box lies outside the {width} x {height} pixels of the stored image: is it of another size?",
            field="faces.box",
        )
    return left, top, right, bottom


def _black(mode: str) -> int | tuple[int, ...]:
    if mode == "L":
        return 0
    return (0, 0, 0) if mode == "RGB" else (0, 0, 0, 255)


def _damaged() -> ConsentryError:
    return ConsentryError(Reason.NOT_AN_IMAGE, "the stored image is damaged: it cannot be decoded, so nothing is shown")
