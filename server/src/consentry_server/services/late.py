"""Late reports: an operation that, by its caller's account, took place before it was asked about.

What was recorded after an operation never makes it right. A late report is therefore decided twice: on everything
recorded until now, and on what was recorded before the claimed time, by the law of that time; of each face the
stricter answer stands. A caller that claims another time than the true one gains nothing: whatever is live at that time
and now was live for the operation too, or is denied.

Of facts that are not dated one by one, what may have been learnt since is taken as unknown. What restricts (a
withdrawal, the end of a purpose) counts whenever it was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime  # noqa: TC003 - the codec reads type hints at run time
from typing import TYPE_CHECKING, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.model import Decision, FaceDecision, Finding
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.artifacts import ArtifactState
from consentry_server.core.vocabulary import (
    AgeBand,
    EntityType,
    Grade,
    Outcome,
    Publisher,
    Relationship,
    SourceKind,
    Visibility,
)
from consentry_server.services.release_checks import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.record.artifacts import Artifact
    from consentry_server.core.record.facts import ActivePack, Face, OperationRequest, Photo, Tenant
    from consentry_server.services.book import Book

RECORDED_AFTER: Final = Finding(
    code="RECORDED_AFTER",
    rule_id="ENGINE-RECORDED-AFTER",
    rule_version=1,
    pack_id="engine",
    citation="Cothron v. White Castle, 2023 IL 128004: each scan is judged by what preceded it",
    grade=Grade.SECONDARY,
    text="The facts recorded before the operation did not permit it; what was recorded after does not make it right.",
    remedy="Ask before the operation. What was done without permission stays on record as such.",
    outcome=Outcome.DENY,
)
_SAID: Final = {Outcome.DENY: RECORDED_AFTER, Outcome.REVIEW: replace(RECORDED_AFTER, outcome=Outcome.REVIEW)}


SAID_OF_SOURCE: Final = "said_of_source"
"""The key of :class:`SaidOfSource` in the entry of a decision."""


@dataclass(frozen=True, slots=True)
class SaidOfSource:
    """What a caller itself said of a photo's source, without what the upload said of it.

    The request on record holds both together, so that a late report on a photo that was stored after its claimed time
    could not be decided again without this.
    """

    visibility: Visibility = Visibility.UNKNOWN
    published_by: Publisher = Publisher.UNKNOWN
    source_kind: SourceKind = SourceKind.UNKNOWN
    captured_at: datetime | None = None


def claimed(now: datetime, occurred_at: datetime | None) -> datetime | None:
    """The time of a late report; None where the operation is of now.

    Args:
        now: The ledger's clock, UTC.
        occurred_at: When the operation took place, by its caller's account.

    Raises:
        ConsentryError: ``FIELD_INVALID``: in the future.
    """
    if occurred_at is None or now <= occurred_at <= now + CLOCK_TOLERANCE:
        return None
    if occurred_at > now:
        raise ConsentryError(Reason.FIELD_INVALID, "occur_time is in the future", field="occur_time")
    return occurred_at


def size_before(book: Book, time: datetime) -> int:
    """How many entries were recorded before a time; entries of that very time are not among them."""
    low, high = 0, book.next_index
    while low < high:
        middle = (low + high) // 2
        entry = book.entry(middle)
        if entry is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {middle} is gone: stop and restore from a backup")
        if parse_time(entry["time"]) < time:
            low = middle + 1
        else:
            high = middle
    return low


def tenant_then(tenant: Tenant, size: int) -> Tenant:
    """What was known of the tenant when the ledger had so many entries."""
    stated = 0 <= tenant.settings_index < size
    return replace(
        tenant,
        entity_type=tenant.entity_type if stated else EntityType.PRIVATE_ENTITY,
        policies=tuple(each for each in tenant.policies if each.index < size),
        determinations=tuple(
            each for each in tenant.determinations if each.index < size and 0 <= each.approved_index < size
        ),
        packs=_packs_then(tenant, size),
        notices={key: notice for key, notice in tenant.notices.items() if notice.index < size},
        encrypted_at_rest=stated and tenant.encrypted_at_rest,
        encrypted_in_transit=stated and tenant.encrypted_in_transit,
        protection_at_least_other_sensitive=stated and tenant.protection_at_least_other_sensitive,
    )


def _packs_then(tenant: Tenant, size: int) -> tuple[ActivePack, ...]:
    """Of each pack the version that was active when the ledger had so many entries, if one was."""
    then: dict[tuple[str, bool], ActivePack] = {}
    for each in (*tenant.former_packs, *tenant.packs):  # of each pack the older versions first
        if each.index < size:
            then[each.pack_id, each.own] = each
    return tuple(sorted(then.values(), key=lambda each: each.index))


def face_then(face: Face, size: int, unknown_regions: frozenset[str]) -> Face:
    """What was known of a face's person when the ledger had so many entries.

    Args:
        face: As it is known now.
        size: Entries.
        unknown_regions: What stands in for a residence that may have been learnt since.
    """
    subject = face.subject
    if subject is None:
        return face
    releases = tuple(each for each in subject.releases if each.index < size)
    described = 0 <= subject.described_index < size
    then = replace(
        subject,
        deliveries=tuple(each for each in subject.deliveries if each.index < size),
        releases=releases,
        regions=subject.regions if described or not subject.regions else subject.regions | unknown_regions,
        age_band=AgeBand.UNKNOWN if subject.age_band is AgeBand.ADULT and not described else subject.age_band,
        relationship=subject.relationship if described else Relationship.UNKNOWN,
        last_interaction=max((each.time for each in releases), default=None),
        unnecessary=tuple(
            each if each.extended_index < size else replace(each, extended_index=-1) for each in subject.unnecessary
        ),
    )
    return replace(face, subject=then)


def said_then(asked: OperationRequest, photo: Photo | None, size: int) -> SaidOfSource | None:
    """What a caller itself said of a photo's source, where the photo was not stored yet; else None.

    Args:
        asked: The request as its caller stated it.
        photo: The stored photo.
        size: Entries.
    """
    if photo is None or photo.index < size:
        return None
    return SaidOfSource(asked.visibility, asked.published_by, asked.source_kind, asked.captured_at)


def request_then(
    request: OperationRequest, said: SaidOfSource | None, artifact: Artifact | None, size: int
) -> OperationRequest:
    """What was known of the photo and the artifact that a request names.

    Args:
        request: With what is known of them now.
        said: What :func:`said_then` gave.
        artifact: What the operation is on.
        size: Entries.
    """
    if artifact is not None and artifact.index >= size:
        request = replace(request, artifact_state=ArtifactState.UNKNOWN)
    if said is not None:
        request = replace(request, **{each.name: getattr(said, each.name) for each in fields(said)})
    return request


def stricter(now: Decision, then: Decision) -> Decision:
    """Of each face the stricter answer, and why.

    Args:
        now: On everything recorded until now.
        then: On what was recorded before the operation; the same faces.
    """
    faces = tuple(_stricter(one, other) for one, other in zip(now.faces, then.faces, strict=True))
    outcome = max((face.outcome for face in faces), key=lambda each: each.strictness)
    return Decision(outcome, faces, tuple(dict.fromkeys(reason for face in faces for reason in face.reasons)))


def _stricter(now: FaceDecision, then: FaceDecision) -> FaceDecision:
    if then.outcome.strictness <= now.outcome.strictness:
        return now
    said = _SAID.get(then.outcome)
    return then if said is None else then._replace(reasons=(said, *then.reasons))


def faces_then(faces: Sequence[Face], size: int, unknown_regions: frozenset[str]) -> list[Face]:
    """Every face as it was known; see :func:`face_then`."""
    return [face_then(face, size, unknown_regions) for face in faces]
