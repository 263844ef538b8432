"""ExportEvidence: what is asked for, and the ZIP as a stream of messages with its size and SHA-256 at the end."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from consentry.v1 import audit_service_pb2 as pb
from consentry.v1 import byte_stream_pb2
from consentry_server.adapters.grpc import read, read_consent
from consentry_server.services.evidence_selection import Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime

    from consentry_server.adapters.grpc.tenants import Tenant

GATHERED_BYTES: Final = 256 * 1024
"""Small pieces wait until they are worth a message."""
MAX_CHUNK_BYTES: Final = 2**20  # ExportEvidenceResponse.chunk


async def wanted(tenant: Tenant, request: pb.ExportEvidenceRequest) -> Wanted:
    """Read what is asked for.

    Args:
        tenant: Whose records.
        request: As it came.

    Returns:
        The selection.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``NOT_BUILT``; ``NOT_FOUND``: no such person.
    """
    redact = request.redact_others
    match request.WhichOneof("selection"):
        case "subject":
            named = read_consent.subject_reference(request.subject, "subject")
            subject, _destructions = await tenant.registry.subject(*named)
            return Wanted(subject_ref=subject.subject_ref, redact_others=redact)
        case "photo":
            match request.photo.WhichOneof("reference"):
                case "photo_id":
                    photo_id = read.record_id(request.photo.photo_id, "photo.photo_id")
                    return Wanted(photo_id=photo_id, redact_others=redact)
                case "sha256":
                    raise read.not_built("photo.sha256", "name a photo of the vault by its photo_id")
                case _:
                    raise read.required("photo", "a photo_id")
        case "period":
            since = read.optional_time(request.period, "from_time", "period.from_time")
            until = read.optional_time(request.period, "until_time", "period.until_time")
            if since is not None and until is not None and until <= since:
                raise read.invalid("period.until_time", "must be after from_time")
            return Wanted(from_time=since, until_time=until, redact_others=redact)
        case _:
            raise read.required("selection", "a subject, a photo or a period")


async def export(tenant: Tenant, asked: Wanted, now: datetime) -> AsyncIterator[pb.ExportEvidenceResponse]:
    """Make the pack and stream it: header, chunks, end.

    Args:
        tenant: Whose records.
        asked: The selection.
        now: The time, UTC, for the file's name.

    Raises:
        ConsentryError: as ``Evidence.export``; after a failure there is no end.
    """
    note = await tenant.anchors.cosigned(await tenant.audit.checkpoint())
    pieces = await asyncio.to_thread(tenant.evidence.export, asked, note)
    name = f"evidence-{now:%Y-%m-%d}.zip"
    yield pb.ExportEvidenceResponse(header=byte_stream_pb2.FileHeader(file_name=name, content_type="application/zip"))
    digest, size = hashlib.sha256(), 0
    while data := await asyncio.to_thread(_gather, pieces):
        for at in range(0, len(data), MAX_CHUNK_BYTES):
            yield pb.ExportEvidenceResponse(chunk=data[at : at + MAX_CHUNK_BYTES])
        digest.update(data)
        size += len(data)
    yield pb.ExportEvidenceResponse(end=byte_stream_pb2.StreamEnd(size=size, sha256=digest.digest()))


def _gather(pieces: Iterator[bytes]) -> bytes:
    """The next pieces, together; empty at the end."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size >= GATHERED_BYTES:
            break
    return b"".join(parts)
