"""Photos in both directions, as state machines over messages: neither side of them waits or reads anything.

An upload ends with its length and SHA-256, since one that breaks off looks finished to the server. A download is whole
when the call ends well and as many bytes have come as its header states.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from consentry._calls import new_request_id
from consentry._fill import fill
from consentry.errors import Truncated
from consentry.results import OpenedPhoto, read_opened_photo
from consentry.v1 import byte_stream_pb2, vault_service_pb2
from consentry.v1.vault_service_pb2 import UploadPhotoRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentry.inputs import PhotoDescription


class Upload:
    """The messages of one upload: ``header``, what ``parts`` makes of every piece, ``end``.

    Args:
        description: what the uploader says of the photo.
        content_type: a hint; may be empty.
        request_id: empty: a random one.
        chunk_bytes: the most bytes per message.
    """

    def __init__(self, description: PhotoDescription, *, content_type: str, request_id: str, chunk_bytes: int) -> None:
        self.header = UploadPhotoRequest(
            header=fill(
                vault_service_pb2.UploadHeader(),
                request_id=request_id or new_request_id(),
                description=description,
                content_type=content_type,
            )
        )
        self.failure: BaseException | None = None
        """What went wrong in the source of the bytes; the stream then ends without its end, and nothing is stored."""
        self._chunk_bytes = chunk_bytes
        self._digest = hashlib.sha256()
        self._size = 0

    def parts(self, piece: bytes) -> Iterator[UploadPhotoRequest]:
        """Cut one piece of the photo into messages; an empty piece makes none."""
        view = memoryview(piece)
        for start in range(0, len(view), self._chunk_bytes):
            chunk = bytes(view[start : start + self._chunk_bytes])
            self._digest.update(chunk)
            self._size += len(chunk)
            yield UploadPhotoRequest(chunk=chunk)

    def end(self) -> UploadPhotoRequest:
        """Return the last message."""
        return UploadPhotoRequest(end=byte_stream_pb2.StreamEnd(size=self._size, sha256=self._digest.digest()))


class Download:
    """The messages of one opened photo: ``start`` with the first, ``take`` every other, ``finish`` at the end."""

    def __init__(self) -> None:
        self._size = 0
        self._received = 0

    def start(self, message: vault_service_pb2.OpenPhotoResponse | None) -> OpenedPhoto:
        """Read the header; None: the stream ended before it.

        Raises:
            Truncated: there is no header.
        """
        if message is None or message.WhichOneof("part") != "header":
            raise Truncated("the photo has no header")
        self._size = message.header.size
        return read_opened_photo(message.header)

    def take(self, message: vault_service_pb2.OpenPhotoResponse) -> bytes:
        """Return the bytes of one message.

        Raises:
            Truncated: it is no chunk, or goes beyond the stated size.
        """
        if message.WhichOneof("part") != "chunk":
            raise Truncated("a message of the photo is no chunk")
        self._received += len(message.chunk)
        if self._received > self._size:
            raise Truncated(f"the photo has more than the {self._size} bytes that its header states")
        return message.chunk

    def finish(self) -> None:
        """Look whether everything came.

        Raises:
            Truncated: fewer bytes came than the header states.
        """
        if self._received != self._size:
            raise Truncated(f"{self._received} of {self._size} bytes of the photo came")
