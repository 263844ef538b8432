"""Requests about lineage, read; and artifacts, written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry.v1 import derived_artifact_pb2
from consentry_server.adapters.grpc import read, words, write
from consentry_server.core.ledger.entry import parse_time
from consentry_server.services.context import Answer, Caller, require_slug
from consentry_server.services.derived import DerivedDraft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry.v1 import vault_service_pb2
    from consentry_server.core.record.artifacts import Artifact

MAX_SOURCES: Final = 10_000
MAX_PARENTS: Final = 1_000


def derived(request: vault_service_pb2.RecordDerivedRequest, caller: Caller, now: datetime) -> DerivedDraft:
    """Read an artifact to record.

    Args:
        request: As it came.
        caller: Who made it.
        now: The time, UTC.

    Returns:
        The artifact.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "RecordDerived", request)
    if not request.HasField("artifact"):
        raise read.required("artifact")
    said = request.artifact
    made_at = read.needed_time(said, "make_time", "artifact.make_time")
    parents = said.source_artifact_ids
    read.count(parents, "artifact.source_artifact_ids", MAX_PARENTS)
    return DerivedDraft(
        artifact_id=require_slug(said.artifact_id, "artifact.artifact_id"),
        kind=words.ARTIFACT_KIND.read(said.kind, "artifact.kind"),
        decision_id=read.record_id(said.decision_id, "artifact.decision_id"),
        made_at=read.not_ahead(made_at, now, "artifact.make_time"),
        photos=_ids(said.photo_ids, "artifact.photo_ids"),
        identifiers=_ids(said.identifier_ids, "artifact.identifier_ids"),
        parents=tuple(
            [require_slug(each, f"artifact.source_artifact_ids[{place}]") for place, each in enumerate(parents)]
        ),
        identifies_individual=said.identifies_individual if said.HasField("identifies_individual") else None,
        key=key,
    )


def artifact(
    request: vault_service_pb2.RecordDerivedRequest, held: Artifact, answer: Answer
) -> derived_artifact_pb2.DerivedArtifact:
    """Write an artifact as it now stands, with the sources of this call.

    Args:
        request: The call that recorded them.
        held: What is known of it.
        answer: The entry.
    """
    return derived_artifact_pb2.DerivedArtifact(
        artifact_id=held.artifact_id,
        kind=words.ARTIFACT_KIND.numbers[held.kind],
        decision_id=request.artifact.decision_id,
        photo_ids=answer.entry.get("photos", ()),
        identifier_ids=answer.entry.get("identifiers", ()),
        source_artifact_ids=answer.entry.get("parents", ()),
        identifies_individual=held.identifies_individual,
        make_time=write.timestamp(parse_time(answer.entry["occurred_at"])),
        tainted=held.tainted,
        taint_reason=derived_artifact_pb2.TAINT_REASON_UNSPECIFIED
        if held.taint is None
        else words.TAINT_REASON.numbers[held.taint],
    )


def _ids(values: Sequence[str], field: str) -> tuple[str, ...]:
    read.count(values, field, MAX_SOURCES)
    return tuple([read.record_id(value, f"{field}[{place}]") for place, value in enumerate(values)])
