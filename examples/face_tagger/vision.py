"""What is done with pixels: finding faces, describing one, comparing two, hashing a whole image.

Pure: arrays in, values out; whether it may be done is asked elsewhere. A HOG descriptor of a normalised face is a real
template, made and compared as any other, but it was chosen because it needs no model: it tells poses and lights apart
about as well as people. Take no decision about a person from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import cv2.data
import numpy as np
from numpy.typing import NDArray

FINDER = ("opencv-haar", f"{cv2.__version__}-frontalface-default")
"""Id and version of the algorithm that finds faces."""
TEMPLATE_MAKER = ("hog-face", "1")
"""Id and version of the algorithm that makes templates."""
TEMPLATE_FORMAT = ("hog-1764-f32", "1")
"""Id and version of the template's format: 1,764 little-endian 32-bit floats of length 1 together, 7,056 bytes."""
HASHER = ("dct-hash", "1")
"""Id and version of the hash of whole images."""

SAME_PERSON = 0.95
"""Cosine from which two templates count as one person's."""

Grey = NDArray[np.uint8]
"""A grey image, height x width."""
_CASCADE = str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml")
_SIDE = 128
_HOG = cv2.HOGDescriptor((_SIDE, _SIDE), (32, 32), (16, 16), (16, 16), 9)


class Box(NamedTuple):
    """A rectangle in pixels, origin at the top left."""

    x: int
    y: int
    width: int
    height: int


def decode(content: bytes) -> Grey:
    """Decode a photo to grey, as it is stored: boxes are of the stored image, so its EXIF orientation is not applied.

    Raises:
        ValueError: OpenCV cannot read it.
    """
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise ValueError("the photo has a format that OpenCV does not read")
    return np.asarray(image, np.uint8)


def find_faces(image: Grey) -> list[Box]:
    """Find frontal faces of 60 x 60 pixels or more, from left to right."""
    cascade = cv2.CascadeClassifier(_CASCADE)  # one for each call: it is not safe to share between threads
    found = cascade.detectMultiScale(image, scaleFactor=1.1, minNeighbors=6, minSize=(60, 60))
    return sorted(Box(*map(int, box)) for box in found)


def make_template(image: Grey, face: Box) -> bytes:
    """Describe one face: cut out, scaled to 128 x 128, light evened out, then its histogram of oriented gradients.

    Returns:
        The template in ``TEMPLATE_FORMAT``.

    Raises:
        ValueError: the face is not inside the image.
    """
    height, width = image.shape
    x, y, across, down = face
    if min(x, y) < 0 or min(across, down) < 1 or x + across > width or y + down > height:
        raise ValueError(f"{face} is not inside an image of {width} x {height} pixels")
    cut = image[y : y + down, x : x + across]
    even = cv2.equalizeHist(cv2.resize(cut, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    described = np.asarray(_HOG.compute(even), np.float32).ravel()
    length = float(np.linalg.norm(described)) or 1.0
    return (described / length).astype("<f4").tobytes()


def similarity(one: bytes, other: bytes) -> float:
    """Return the cosine of two templates, -1 to 1."""
    return float(np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4"))


def hash_image(image: Grey) -> bytes:
    """Hash a whole image: which of its 64 lowest frequencies are above their median.

    It keeps how light is spread over the picture, and nothing by which a face could be found or told from another.

    Returns:
        8 bytes; alike images differ in few bits.
    """
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = np.asarray(cv2.dct(small))[:8, :8]
    return np.packbits(lowest > np.median(lowest)).tobytes()
