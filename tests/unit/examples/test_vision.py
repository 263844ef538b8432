"""The example's image processing, on the project's photographs."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from face_tagger import vision


def image(photos: Path, name: str) -> vision.Grey:
    return vision.decode((photos / name).read_bytes())


@pytest.mark.parametrize(("name", "count"), [("portrait.jpg", 1), ("two-people.jpg", 2), ("no-face.jpg", 0)])
def test_every_face_is_found_and_nothing_else(photos: Path, name: str, count: int) -> None:
    found = vision.find_faces(image(photos, name))
    assert len(found) == count
    assert found == sorted(found)
    assert all(min(box.width, box.height) >= 60 for box in found)


def test_a_template_is_1764_floats_of_length_one(photos: Path) -> None:
    portrait = image(photos, "portrait.jpg")
    template = vision.make_template(portrait, vision.find_faces(portrait)[0])
    values = np.frombuffer(template, "<f4")
    assert (len(template), values.shape) == (7056, (1764,))
    assert vision.similarity(template, template) == pytest.approx(1.0, abs=1e-5)
    assert vision.make_template(portrait, vision.find_faces(portrait)[0]) == template


def test_templates_tell_the_two_people_apart(photos: Path) -> None:
    portrait, two = image(photos, "portrait.jpg"), image(photos, "two-people.jpg")
    enrolled = vision.make_template(portrait, vision.find_faces(portrait)[0])
    likeness = [vision.similarity(enrolled, vision.make_template(two, box)) for box in vision.find_faces(two)]
    assert [each >= vision.SAME_PERSON for each in likeness] == [True, False]


@pytest.mark.parametrize("box", [(-1, 0, 10, 10), (0, 0, 0, 10), (505, 0, 10, 10), (0, 505, 10, 10)])
def test_a_box_outside_the_image_is_refused(photos: Path, box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="not inside an image of 512 x 512"):
        vision.make_template(image(photos, "portrait.jpg"), vision.Box(*box))


def test_a_face_without_any_contrast_has_a_template_too() -> None:
    assert set(vision.make_template(np.zeros((80, 80), np.uint8), vision.Box(0, 0, 80, 80))) == {0}


def test_boxes_are_of_the_stored_image_whatever_its_exif_says() -> None:
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a viewer turns it by 90 degrees
    Image.new("L", (40, 20)).save(turned, "jpeg", exif=exif)
    assert vision.decode(turned.getvalue()).shape == (20, 40)


@pytest.mark.parametrize("content", [b"\x00" * 100, b"GIF89a"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not read"):
        vision.decode(content)


def test_the_hash_survives_recompression_and_tells_images_apart(photos: Path) -> None:
    portrait = image(photos, "portrait.jpg")
    smaller = cv2.resize(portrait, (300, 300), interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", smaller, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    first, again, other = map(
        vision.hash_image, (portrait, vision.decode(jpeg.tobytes()), image(photos, "no-face.jpg"))
    )
    assert len(first) == 8
    assert bits(first, again) <= 4
    assert bits(first, other) > 16


def bits(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
