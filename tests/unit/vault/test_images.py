"""Uploads: what is and is not an image, told from the head; and masks that leave nothing of the face."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from consentry_server.adapters.images.pillow import ORIENTATION_TAG, PillowMasker
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.image import HEIC, JPEG, PNG, TIFF, WEBP, ImageFacts, inspect
from consentry_server.core.record.facts import Box

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
from typing import Any

LIMIT = 10_000_000
FORMATS = {JPEG: "JPEG", PNG: "PNG", WEBP: "WEBP"}
RED = (220, 30, 30)
MASKER = PillowMasker(LIMIT)


def picture(content_type: str = JPEG, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    out = io.BytesIO()
    image = Image.new("I;16", size, 50_000) if mode == "I;16" else Image.new("RGB", size, RED).convert(mode)
    image.save(out, FORMATS.get(content_type, "TIFF"), **options)
    return out.getvalue()


def heic(*sizes: tuple[int, int]) -> bytes:
    ispe = b"".join(struct.pack(">I4sIII", 20, b"ispe", 0, *size) for size in sizes)
    return struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + b"\0\0\1\0meta" + ispe


def outcome(call: Callable[[], object]) -> Reason | None:
    try:
        call()
    except ConsentryError as error:
        return error.reason
    return None


def reason(head: bytes, limit: int = LIMIT) -> Reason:
    with pytest.raises(ConsentryError) as caught:
        inspect(head, limit)
    return caught.value.reason


@pytest.mark.parametrize("content_type", [JPEG, PNG, WEBP, TIFF])
@pytest.mark.parametrize("size", [(1, 1), (640, 3), (3, 640)])
def test_type_and_size_are_read_from_the_head(content_type: str, size: tuple[int, int]) -> None:
    assert inspect(picture(content_type, size), LIMIT) == ImageFacts(content_type, *size)


def test_the_other_forms_of_webp_and_jpeg() -> None:
    assert inspect(picture(WEBP, (300, 200), lossless=True), LIMIT) == ImageFacts(WEBP, 300, 200)
    assert inspect(picture(WEBP, (300, 200), "RGBA", exif=b"Exif\0\0"), LIMIT) == ImageFacts(WEBP, 300, 200)
    assert inspect(picture(JPEG, (300, 200), progressive=True), LIMIT) == ImageFacts(JPEG, 300, 200)
    assert inspect(picture(JPEG, (300, 200), icc_profile=bytes(200_000)), LIMIT) == ImageFacts(JPEG, 300, 200)


def test_heic_has_the_size_of_its_largest_picture() -> None:
    assert inspect(heic((512, 512), (4032, 3024), (320, 240)), LIMIT * 2) == ImageFacts(HEIC, 4032, 3024)
    assert reason(heic()) is Reason.NOT_AN_IMAGE


def test_a_tiff_may_keep_its_size_beyond_the_head() -> None:
    assert inspect(b"II*\0" + (10**6).to_bytes(4, "little"), LIMIT) == ImageFacts(TIFF, 0, 0)
    assert inspect(picture(TIFF, (20, 30)), LIMIT) == ImageFacts(TIFF, 20, 30)


def test_real_photographs(photos: Path) -> None:
    for path in photos.glob("*.jpg"):
        with Image.open(path) as opened:
            assert inspect(path.read_bytes(), LIMIT) == ImageFacts(JPEG, *opened.size)


@pytest.mark.parametrize(
    "upload",
    [b"", b"\xff\xd8\xff", bytes(10 * 2**20), b"GIF89a" + bytes(50), b"<svg xmlns='http://www.w3.org/2000/svg'/>",
     b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0\x08\0\0\0\0\0", b"hello", "łódź 名".encode()],
    ids=lambda upload: repr(upload[:12]),
)  # fmt: skip
def test_what_is_no_image(upload: bytes) -> None:
    assert reason(upload) is Reason.NOT_AN_IMAGE


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    header = struct.pack(">II5B", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert reason(bomb) is Reason.IMAGE_TOO_LARGE
    with pytest.raises(ConsentryError) as caught:
        MASKER.mask(bomb, [], PNG)
    assert caught.value.reason is Reason.IMAGE_TOO_LARGE
    assert reason(picture(size=(101, 100)), 10_000) is Reason.IMAGE_TOO_LARGE
    assert inspect(picture(size=(100, 100)), 10_000).width == 100
    no_pixels = bytearray(picture(PNG))
    no_pixels[16:20] = bytes(4)
    assert reason(bytes(no_pixels)) is Reason.NOT_AN_IMAGE


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*",
       b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypheic"]))  # fmt: skip
@settings(max_examples=300)
def test_no_bytes_surprise_the_reader(noise: bytes, start: bytes) -> None:
    assert outcome(lambda: inspect(start + noise, LIMIT)) in {None, Reason.NOT_AN_IMAGE, Reason.IMAGE_TOO_LARGE}


@pytest.mark.parametrize("content_type", [JPEG, PNG, WEBP])
def test_the_box_is_black_and_the_rest_is_as_before(content_type: str) -> None:
    masked = MASKER.mask(picture(content_type), [Box(16, 8, 16, 24)], content_type)
    with Image.open(io.BytesIO(masked)) as opened:
        assert opened.format == FORMATS[content_type]
        assert opened.size == (64, 48)
        seen = opened.convert("RGB")
    tolerance = 0 if content_type == PNG else 12
    inside = ((16, 8), (31, 31)) if content_type == PNG else ((20, 12), (27, 27))  # lossy colours bleed in from outside
    for x, y, expected in (*((*at, (0, 0, 0)) for at in inside), (24, 20, (0, 0, 0)), (40, 40, RED), (4, 4, RED)):
        pixel = seen.getpixel((x, y))
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) <= tolerance for a, b in zip(pixel, expected, strict=True)), (x, y, pixel)
    if content_type == PNG:  # exact borders
        for x, y in ((15, 8), (32, 8), (16, 7), (16, 32)):
            assert seen.getpixel((x, y)) == RED


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "I;16"])
def test_every_mode_of_png(mode: str) -> None:
    with Image.open(io.BytesIO(MASKER.mask(picture(PNG, mode=mode), [Box(0, 0, 10, 10)], PNG))) as opened:
        seen = opened.convert("RGBA")
    assert seen.getpixel((5, 5)) == (0, 0, 0, 255)
    assert any(seen.crop((20, 20, 60, 40)).convert("L").tobytes())


def test_cmyk_and_grey_jpeg() -> None:
    for mode in ("CMYK", "L"):
        with Image.open(io.BytesIO(MASKER.mask(picture(mode=mode), [Box(0, 0, 16, 16)], JPEG))) as opened:
            black = opened.convert("RGB").getpixel((8, 8))
        assert isinstance(black, tuple)
        assert max(black) < 12


@pytest.mark.parametrize("content_type", [JPEG, PNG, WEBP])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_boxes_are_stored_pixels_whatever_the_orientation(content_type: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    original = picture(content_type, exif=exif.tobytes())
    masked = MASKER.mask(original, [Box(0, 0, 16, 16)], content_type)
    with Image.open(io.BytesIO(masked)) as opened:
        assert opened.size == (64, 48)
        assert opened.getexif().get(ORIENTATION_TAG, 1) == orientation
        corner, far = (opened.convert("RGB").getpixel(at) for at in ((4, 4), (60, 44)))
    assert isinstance(corner, tuple)
    assert isinstance(far, tuple)
    assert max(corner) < 12
    assert far[0] > 200


@pytest.mark.parametrize("content_type", [JPEG, PNG, WEBP])
def test_no_metadata_survives(content_type: str) -> None:
    marker = b"THUMBNAIL-OF-A-FACE"
    exif = Image.Exif()
    exif[0x010E] = marker.decode()  # ImageDescription
    options: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": marker * 20}
    if content_type == JPEG:
        options |= {"comment": marker, "dpi": (72, 72)}
    if content_type == PNG:
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", marker.decode())
        options["pnginfo"] = text
    if content_type == WEBP:
        options["xmp"] = marker
    original = picture(content_type, **options)
    trailing = original + marker
    assert marker in trailing
    masked = MASKER.mask(trailing, [Box(0, 0, 4, 4)], content_type)
    assert marker not in masked
    assert marker[:9] not in masked
    with Image.open(io.BytesIO(masked)) as opened:
        assert not dict(opened.getexif())
        assert not {"icc_profile", "comment", "xmp", "Comment"} & set(opened.info)


@pytest.mark.parametrize("content_type", [PNG, WEBP])
def test_later_frames_are_dropped(content_type: str) -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, (0, 200, 0))]
    frames[0].save(out, FORMATS[content_type], save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(MASKER.mask(out.getvalue(), [Box(0, 0, 4, 4)], content_type))) as opened:
        assert getattr(opened, "n_frames", 1) == 1


def test_second_pictures_of_a_file_are_dropped() -> None:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), RED).save(
        out, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32), (0, 200, 0))]
    )
    masked = MASKER.mask(out.getvalue(), [Box(0, 0, 4, 4)], JPEG)
    assert masked.count(b"\xff\xd8\xff") == 1


def test_a_box_over_the_edge_is_cut_and_one_outside_is_refused() -> None:
    masked = MASKER.mask(picture(PNG), [Box(60, 40, 100, 100)], PNG)
    with Image.open(io.BytesIO(masked)) as opened:
        assert opened.getpixel((63, 47)) == (0, 0, 0)
        assert opened.getpixel((59, 47)) == RED
    for box in (Box(64, 0, 5, 5), Box(0, 48, 5, 5), Box(0, 0, 0, 5), Box(0, 0, 5, -1), Box(-9, 0, 9, 9)):
        with pytest.raises(ConsentryError) as caught:
            MASKER.mask(picture(PNG), [box], PNG)
        assert caught.value.reason is Reason.FIELD_INVALID
        assert caught.value.field == "faces.box"


def test_types_that_cannot_be_masked_are_refused() -> None:
    for content_type in (HEIC, TIFF, "text/html"):
        with pytest.raises(ConsentryError) as caught:
            MASKER.mask(picture(TIFF), [], content_type)
        assert caught.value.reason is Reason.FIELD_INVALID
    with pytest.raises(ConsentryError) as caught:
        MASKER.mask(picture(PNG), [], JPEG)
    assert caught.value.reason is Reason.NOT_AN_IMAGE


@given(st.data())
@settings(max_examples=150)
def test_a_damaged_body_is_no_internal_error(data: st.DataObject) -> None:
    content_type = data.draw(st.sampled_from([JPEG, PNG, WEBP]))
    whole = bytearray(picture(content_type))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder's own warnings about what it repairs
        found = outcome(lambda: MASKER.mask(damaged, [Box(0, 0, 1, 1)], content_type))
    assert found in {None, Reason.NOT_AN_IMAGE, Reason.IMAGE_TOO_LARGE, Reason.FIELD_INVALID}


def test_a_real_photograph_keeps_what_is_not_masked(photos: Path) -> None:
    original = (photos / "two-people.jpg").read_bytes()
    with Image.open(io.BytesIO(original)) as opened:
        width, height = opened.size
        before = opened.convert("L").crop((width // 2, 0, width, height)).tobytes()
    masked = MASKER.mask(original, [Box(0, 0, width // 2 - 16, height)], JPEG)
    with Image.open(io.BytesIO(masked)) as opened:
        assert max(opened.convert("L").crop((0, 0, width // 2 - 32, height)).tobytes()) < 16
        after = opened.convert("L").crop((width // 2, 0, width, height)).tobytes()
    assert sum(abs(a - b) for a, b in zip(before, after, strict=True)) / len(before) < 3
