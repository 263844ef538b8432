"""Requests of the vault, read: the parts of an upload, and what is said of an identifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.adapters.grpc import read, words
from consentry_server.adapters.grpc.read_gate import algorithm, capture_time, venue
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import Publisher, Purpose, SourceKind, Visibility
from consentry_server.services.context import Caller, require_slug
from consentry_server.services.identifiers import MAX_QUALITY, MAX_TEMPLATE_BYTES, IdentifierDraft
from consentry_server.services.photos import MAX_DEPICTED, PhotoDraft, UploadEnd

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from consentry.v1 import byte_stream_pb2, vault_service_pb2

MAX_CHUNK_BYTES: Final = 1024 * 1024
MAX_CONTENT_TYPE: Final = 127  # RFC 6838, section 4.2
MAX_DEVICE: Final = 256


def upload_header(request: vault_service_pb2.UploadPhotoRequest, caller: Caller, now: datetime) -> PhotoDraft:
    """Read the first message of an upload.

    Args:
        request: The message.
        caller: Who uploads.
        now: The time, UTC.

    Returns:
        What is said of the photo.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``, ``NOT_BUILT``.
    """
    if request.WhichOneof("part") != "header":
        raise read.required("header", "an upload begins with its header")
    header = request.header
    key = read.key(caller, "UploadPhoto", header, "header.")
    if not header.HasField("description"):
        raise read.required("header.description")
    said, field = header.description, "header.description"
    read.count(said.depicted_subject_ids, f"{field}.depicted_subject_ids", MAX_DEPICTED)
    regions = read.regions(said.regions, f"{field}.regions")
    visibility, published_by, source_kind, captured_at = Visibility.UNKNOWN, Publisher.UNKNOWN, SourceKind.UNKNOWN, None
    new_york_city: bool | None = None
    portland: bool | None = None
    if said.HasField("source"):
        source, at = said.source, f"{field}.source"
        visibility = words.VISIBILITY.read(source.visibility, f"{at}.visibility")
        published_by = words.PUBLISHER.read(source.published_by, f"{at}.published_by")
        source_kind = words.SOURCE_KIND.read(source.kind, f"{at}.kind")
        captured_at = capture_time(source, at, now)
        regions |= read.regions(source.capture_regions, f"{at}.capture_regions")
        new_york_city, portland = venue(source)
    return PhotoDraft(
        owner_subject_id=read.subject_id(said.owner_subject_id, f"{field}.owner_subject_id"),
        depicted_subject_ids=tuple(
            [
                read.subject_id(each, f"{field}.depicted_subject_ids[{place}]")
                for place, each in enumerate(said.depicted_subject_ids)
            ]
        ),
        purpose=words.PURPOSE.read_optional(said.purpose, f"{field}.purpose") or Purpose.PHOTO_HOSTING,
        visibility=visibility,
        published_by=published_by,
        source_kind=source_kind,
        captured_at=captured_at or now,
        regions=regions,
        new_york_city_establishment=new_york_city,
        portland_public_accommodation=portland,
        content_type=read.text(header.content_type, "header.content_type", MAX_CONTENT_TYPE).strip().lower(),
        key=key,
    )


async def upload_parts(
    requests: AsyncIterator[vault_service_pb2.UploadPhotoRequest],
) -> AsyncIterator[bytes | UploadEnd]:
    """Read what follows an upload's header.

    Args:
        requests: The messages after the header.

    Yields:
        Chunks, then the end, after which nothing came. A stream that breaks off ends without an end.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``TOO_LARGE``.
    """
    async for request in requests:
        match request.WhichOneof("part"):
            case "chunk":
                if not request.chunk:
                    raise read.required("chunk", "1 byte to 1 MiB")
                if len(request.chunk) > MAX_CHUNK_BYTES:
                    raise read.too_many("chunk", MAX_CHUNK_BYTES)
                yield request.chunk
            case "end":
                end = _end(request.end)
                async for _more in requests:
                    raise read.invalid("end", "must be the last message")
                yield end
                return
            case "header":
                raise read.invalid("header", "is sent once, first")
            case _:
                raise read.required("chunk", "every message is a header, a chunk or an end")


def identifier(request: vault_service_pb2.StoreIdentifierRequest, caller: Caller) -> IdentifierDraft:
    """Read an identifier to store.

    Args:
        request: As it came.
        caller: Who stores.

    Returns:
        The identifier.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``, ``NOT_BUILT``.
    """
    key = read.key(caller, "StoreIdentifier", request)
    if not request.HasField("identifier"):
        raise read.required("identifier")
    said = request.identifier
    if not request.template:
        raise read.required("template", f"1 to {MAX_TEMPLATE_BYTES} bytes")
    if len(request.template) > MAX_TEMPLATE_BYTES:
        raise read.too_many("template", MAX_TEMPLATE_BYTES)
    if said.replaces_identifier_id:
        raise read.not_built("identifier.replaces_identifier_id", "store the new one, and withdraw for the old one")
    if said.quality > MAX_QUALITY:
        raise read.invalid("identifier.quality", f"must be from 0 to {MAX_QUALITY}")
    require_slug(said.algorithm_id, "identifier.algorithm_id")
    algorithm_id, algorithm_version = algorithm(said.algorithm_id, said.algorithm_version, "identifier.")
    return IdentifierDraft(
        category=words.DATA_CATEGORY.read(said.category, "identifier.category"),
        template=request.template,
        format=require_slug(said.format, "identifier.format"),
        format_version=read.version(said.format_version, "identifier.format_version"),
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        quality=said.quality if said.HasField("quality") else None,
        capture_device=read.text(said.capture_device, "identifier.capture_device", MAX_DEVICE),
        collection_method_id=require_slug(said.collection_method_id, "identifier.collection_method_id"),
        key=key,
    )


def permit(token: str) -> str:
    """Read a permit; whether it is one is for its signature to say.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``; ``PERMIT_INVALID`` for what is not even text of a token.
    """
    if not token:
        raise read.required("permit", "ask for one with Check and want_permit")
    if not token.isascii() or "\x00" in token:
        raise ConsentryError(Reason.PERMIT_INVALID, "this is no permit: ask for one with Check", field="permit")
    return token


def _end(end: byte_stream_pb2.StreamEnd) -> UploadEnd:
    return UploadEnd(end.size, read.sha256(end.sha256, "end.sha256"))
