"""Requests of the gate, read: what is asked before an operation, what is reported after it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from consentry.v1 import photo_pb2
from consentry_server.adapters.grpc import read, words
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import OperationRequest
from consentry_server.core.vocabulary import (
    DataCategory,
    KnownBy,
    Operation,
    ProcessingResult,
)
from consentry_server.services.checks import Asked, AskedFace
from consentry_server.services.context import Caller, optional_slug, require_slug
from consentry_server.services.gate import MAX_FACES, Processed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry.v1 import gate_service_pb2

MAX_BATCH: Final = 1_000
MAX_EVIDENCE: Final = 2_000
MAX_DETAIL: Final = 2_000
MAX_REMEMBERED: Final = 4_096
"""How many different operations' facts are kept read; services ask with the same few over and over."""
_NO_SOURCE: Final = photo_pb2.Source()
_NO_VENUE: Final = (None, None)

PHOTO_NEEDED: Final = frozenset(
    {
        DataCategory.PHOTO,
        DataCategory.FACE_GEOMETRY,
        DataCategory.FACE_TEMPLATE,
        DataCategory.IMAGE_HASH,
        DataCategory.GOV_ID_IMAGE,
    }
)
"""Categories that are made from a photo, which the request then names."""
FACES_POSSIBLE: Final = PHOTO_NEEDED | {DataCategory.VIDEO}
"""Categories with faces; the others are about one person, named by ``subject_id``."""
RECIPIENT_NEEDED: Final = frozenset({Operation.DISCLOSE, Operation.SELL, Operation.LEASE, Operation.TRADE})

ON_IMAGES = frozenset({Operation.HASH_IMAGE, Operation.CHECK_QUALITY, Operation.DISPLAY})
"""Operations that make sense on an image alone."""
IMAGES = frozenset(
    {
        DataCategory.PHOTO,
        DataCategory.VIDEO,
        DataCategory.IMAGE_HASH,
        DataCategory.GOV_ID_IMAGE,
        DataCategory.DIAGNOSTIC_IMAGE,
        DataCategory.FACE_GEOMETRY,
        DataCategory.FACE_TEMPLATE,
    }
)


def check(request: gate_service_pb2.CheckRequest, caller: Caller, now: datetime) -> Asked:
    """Read one check.

    Args:
        request: As it came.
        caller: Who asks.
        now: The time, UTC.

    Returns:
        What is asked.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``, or ``NOT_BUILT`` for a
            field whose effect this version does not have.
    """
    key = read.key(caller, "Check", request)
    _refuse_unbuilt(request)
    facts = _facts(request, now)
    photo_id, photo_sha256 = _photo(request, facts.category)
    occurred_at = occurred(request, now) if request.HasField("occur_time") else None
    evidence = read.text(request.disclosure_evidence, "disclosure_evidence", MAX_EVIDENCE)
    return Asked(
        request=replace(facts, has_disclosure_evidence=True) if evidence else facts,
        faces=_faces(request, facts.category),
        photo_id=photo_id,
        photo_sha256=photo_sha256,
        disclosure_evidence=evidence,
        want_permit=request.want_permit,
        audience=read.caller_name(request.permit_audience, "permit_audience"),
        key=key,
        occurred_at=occurred_at,
    )


def occurred(request: gate_service_pb2.CheckRequest, now: datetime) -> datetime:
    """Read when an operation took place: not in the future, and without a permit where it is long over.

    Raises:
        ConsentryError: ``FIELD_INVALID``.
    """
    time = read.not_ahead(read.time(request.occur_time, "occur_time"), now, "occur_time")
    if request.want_permit and time < now - read.CLOCK_TOLERANCE:
        raise read.invalid("want_permit", "does not go with a past occur_time: what is over needs no permit")
    return time


def rehearsed(request: gate_service_pb2.CheckRequest, now: datetime) -> Asked:
    """Read one check that is only rehearsed: without id or permit, and with a photo only where it names one.

    Args:
        request: As it came.
        now: The time, UTC.

    Returns:
        What would be asked.

    Raises:
        ConsentryError: as :func:`check`.
    """
    _refuse_unbuilt(request)
    facts = _facts(request, now)
    named = request.HasField("photo") and request.photo.WhichOneof("reference") is not None
    photo_id, photo_sha256 = _photo(request, facts.category) if named else ("", b"")
    evidence = read.text(request.disclosure_evidence, "disclosure_evidence", MAX_EVIDENCE)
    return Asked(
        request=replace(facts, has_disclosure_evidence=True) if evidence else facts,
        faces=_faces(request, facts.category),
        photo_id=photo_id,
        photo_sha256=photo_sha256,
    )


def items(request: gate_service_pb2.BatchCheckRequest) -> Sequence[gate_service_pb2.CheckItem]:
    """Read a batch's items as far as the batch itself goes: how many, and an id of its own for each.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``TOO_LARGE``, ``FIELD_INVALID``: the whole batch fails.
    """
    if not request.items:
        raise read.required("items", "at least one")
    read.count(request.items, "items", MAX_BATCH)
    seen: set[str] = set()
    for place, item in enumerate(request.items):
        correlation_id = read.token(item.correlation_id, f"items[{place}].correlation_id")
        if correlation_id in seen:
            raise read.invalid(f"items[{place}].correlation_id", "is used twice in this batch")
        seen.add(correlation_id)
    return request.items


def processing(request: gate_service_pb2.RecordProcessingRequest, caller: Caller, now: datetime) -> Processed:
    """Read a report of what was done.

    Args:
        request: As it came.
        caller: Who reports.
        now: The time, UTC.

    Returns:
        The report.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "RecordProcessing", request)
    decision_id = read.record_id(request.decision_id, "decision_id")
    result = words.PROCESSING_RESULT.read(request.result, "result")
    algorithm_id, algorithm_version = algorithm(request.algorithm_id, request.algorithm_version)
    if result is ProcessingResult.PERFORMED and not algorithm_id:
        raise read.required("algorithm_id", "which algorithm ran")
    performed_at = read.optional_time(request, "perform_time", "perform_time")
    if performed_at is not None:
        read.not_ahead(performed_at, now, "perform_time")
    elif result is not ProcessingResult.NOT_PERFORMED:
        raise read.required("perform_time", "when it was done")
    read.count(request.face_indices, "face_indices", MAX_FACES)
    indices = tuple(request.face_indices)
    for place, index in enumerate(indices):
        if index < 0 or index in indices[:place]:
            raise read.invalid(f"face_indices[{place}]", "must be a position in the request, each named once")
    return Processed(
        decision_id=decision_id,
        result=result,
        performed_at=performed_at,
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        faces=indices,
        detail=read.text(request.detail, "detail", MAX_DETAIL),
        key=key,
    )


def algorithm(algorithm_id: str, algorithm_version: str, prefix: str = "") -> tuple[str, str]:
    """Read an algorithm and its exact version: both or neither."""
    if not algorithm_id and not algorithm_version:
        return "", ""
    return (
        require_slug(algorithm_id, f"{prefix}algorithm_id"),
        read.version(algorithm_version, f"{prefix}algorithm_version"),
    )


def capture_time(source: photo_pb2.Source, field: str, now: datetime) -> datetime | None:
    """Read when a photo was taken: a claim, not about the future."""
    taken = read.optional_time(source, "capture_time", f"{field}.capture_time")
    return None if taken is None else read.not_ahead(taken, now, f"{field}.capture_time")


def venue(source: photo_pb2.Source) -> tuple[bool | None, bool | None]:
    """Read the facts of a venue: of New York City, of Portland; None is unknown, which is not no."""
    place = source.venue
    return (
        place.new_york_city_commercial_establishment
        if place.HasField("new_york_city_commercial_establishment")
        else None,
        place.portland_public_accommodation if place.HasField("portland_public_accommodation") else None,
    )


def _facts(request: gate_service_pb2.CheckRequest, now: datetime) -> OperationRequest:
    """Read what is said of the operation itself; all but the time of capture is the same again and again."""
    source = request.source if request.HasField("source") else _NO_SOURCE
    captured_at = capture_time(source, "source", now)
    facts = _same_facts(
        request.operation,
        request.purpose,
        request.category,
        source.visibility,
        source.published_by,
        source.kind,
        request.recipient_id,
        request.disclosure_basis,
        request.consideration,
        (
            request.uses_face_geometry if request.HasField("uses_face_geometry") else None,
            request.identifies if request.HasField("identifies") else None,
            request.stored if request.HasField("stored") else None,
            request.linked_identity if request.HasField("linked_identity") else None,
            *(venue(source) if source.HasField("venue") else _NO_VENUE),
        ),
        request.algorithm_id,
        request.algorithm_version,
        request.collection_method_id,
        tuple(request.regions),
        tuple(source.capture_regions),
        request.artifact_id,
    )
    return facts if captured_at is None else replace(facts, captured_at=captured_at)


@lru_cache(MAX_REMEMBERED)
def _same_facts(
    operation_number: int,
    purpose: int,
    category_number: int,
    visibility: int,
    published_by: int,
    source_kind: int,
    recipient: str,
    disclosure_basis: int,
    consideration: int,
    marks: tuple[bool | None, ...],
    algorithm_name: str,
    algorithm_number: str,
    collection_method: str,
    regions: tuple[str, ...],
    capture_regions: tuple[str, ...],
    artifact: str,
) -> OperationRequest:
    operation = words.OPERATION.read(operation_number, "operation")
    category = words.DATA_CATEGORY.read(category_number, "category")
    artifact_id = optional_slug(artifact, "artifact_id")
    if operation is Operation.SERVE_MODEL and not artifact_id:
        raise read.required("artifact_id", "the model that is served")
    if operation in ON_IMAGES and category not in IMAGES:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{operation} works on an image, and {category} is none", field="category"
        )
    recipient_id = optional_slug(recipient, "recipient_id")
    if not recipient_id and operation in RECIPIENT_NEEDED:
        raise read.required("recipient_id", f"who gets the data by {operation}")
    algorithm_id, algorithm_version = algorithm(algorithm_name, algorithm_number)
    uses_face_geometry, identifies, stored, linked_identity, new_york_city, portland = marks
    return OperationRequest(
        operation=operation,
        purpose=words.PURPOSE.read(purpose, "purpose"),
        category=category,
        visibility=words.VISIBILITY.read(visibility, "source.visibility"),
        published_by=words.PUBLISHER.read(published_by, "source.published_by"),
        source_kind=words.SOURCE_KIND.read(source_kind, "source.kind"),
        recipient_id=recipient_id,
        disclosure_basis=words.DISCLOSURE_BASIS.read(disclosure_basis, "disclosure_basis"),
        consideration=words.CONSIDERATION.read(consideration, "consideration"),
        regions=read.regions(regions, "regions") | read.regions(capture_regions, "source.capture_regions"),
        uses_face_geometry=uses_face_geometry,
        identifies=identifies,
        stored=stored,
        linked_identity=linked_identity,
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        collection_method_id=optional_slug(collection_method, "collection_method_id"),
        new_york_city_establishment=new_york_city,
        portland_public_accommodation=portland,
        artifact_id=artifact_id,
    )


def _refuse_unbuilt(request: gate_service_pb2.CheckRequest) -> None:
    if request.permit_single_use:
        raise read.not_built("permit_single_use", "leave it out; every permit ends within its short life")


def _photo(request: gate_service_pb2.CheckRequest, category: DataCategory) -> tuple[str, bytes]:
    """The photo's id, or its SHA-256."""
    match request.photo.WhichOneof("reference") if request.HasField("photo") else None:
        case "photo_id":
            found = read.record_id(request.photo.photo_id, "photo.photo_id"), b""
        case "sha256":
            found = "", read.sha256(request.photo.sha256, "photo.sha256")
        case _ if category in PHOTO_NEEDED and not request.artifact_id:
            raise read.required("photo", f"{category} is made from a photo: name it by photo_id or sha256")
        case _:
            return "", b""
    if category not in FACES_POSSIBLE:
        raise read.invalid("photo", f"does not go with {category}, which has no photo")
    return found


def _faces(request: gate_service_pb2.CheckRequest, category: DataCategory) -> tuple[AskedFace, ...]:
    """The faces; for a category without faces the one person, if any, whose data it is."""
    if category in FACES_POSSIBLE:
        if request.subject_id:
            raise read.invalid("subject_id", f"does not go with {category}: name persons in faces")
        read.count(request.faces, "faces", MAX_FACES)
        return tuple([_face(face, place) for place, face in enumerate(request.faces)])
    if request.faces:
        raise read.invalid("faces", f"does not go with {category}, which has no faces: use subject_id")
    person = read.subject_id(request.subject_id, "subject_id", needed=False)
    # The caller itself says whose data this is; nothing was recognised.
    return (AskedFace(person, KnownBy.DECLARED_BY_UPLOADER),) if person else ()


def _face(face: photo_pb2.FaceInput, place: int) -> AskedFace:
    """Read one face. The names of its fields are only made where something is wrong: this is the hot path."""
    try:
        return AskedFace(
            subject_id=read.subject_id(face.subject_id, "subject_id", needed=False),
            known_by=words.KNOWN_BY.read(face.known_by, "known_by"),
            regions=read.regions(face.regions, "regions"),
            age_band=words.AGE_BAND.read(face.age_band, "age_band"),
            box=read.box(face.box, "box") if face.HasField("box") else None,
        )
    except ConsentryError as error:
        field = f"faces[{place}].{error.field}"
        message = f"faces[{place}].{error.message}"
        raise ConsentryError(error.reason, message, field=field, metadata=error.metadata) from error
