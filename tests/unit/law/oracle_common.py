"""What the second opinions share: words of the statutes as plain sets, and the least that any consent needs.

Like ``oracle.py`` these files are written from statutes.md and cases.md alone, and share no code with the product's
law. Each opinion is one plain function of one face of one request:

- ``BAN``: the law forbids it and no consent helps; the answer has to be DENY.
- ``BLOCK``: the law wants something that is not on record; the answer must not permit.
- ``CLEAR``: this reader finds nothing against it. The product may be stricter.

They claim BLOCK where the text is plain, and CLEAR where it is open.
"""

from __future__ import annotations

import calendar
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from consentry_server.core.record.facts import Determination, Face, OperationRequest, Release, Tenant

Opinion = Literal["BAN", "BLOCK", "CLEAR"]

FACE = {"FACE_GEOMETRY", "FACE_TEMPLATE"}
LISTED = FACE | {"RETINA_SCAN", "IRIS_SCAN", "FINGERPRINT", "VOICEPRINT", "HAND_GEOMETRY"}
PICTURES = {"PHOTO", "VIDEO", "GOV_ID_IMAGE"}
RECOGNITION = {"EXTRACT_TEMPLATE", "ENROLL", "VERIFY", "IDENTIFY", "CLUSTER_FACES", "BUILD_FACE_DATABASE"}
SALE = {"SELL", "LEASE", "TRADE"}
COLLECTS = RECOGNITION | {"CAPTURE", "STORE"}
USES = COLLECTS | {"RETAIN", "PROCESS", "ANALYZE_ATTRIBUTES", "TRAIN_MODEL", "IMPORT_DATASET"}
IDENTIFYING = {
    "TAGGING",
    "IDENTITY_VERIFICATION",
    "IDENTIFICATION",
    "ACCOUNT_SECURITY",
    "SECURITY_WATCHLIST",
    "TIMEKEEPING",
    "WORKDAY_START_END",
    "SECURE_ACCESS",
}
CHILD = {"UNDER_13", "MINOR"}
ENTITY_WIDE = {"GLBA_TITLE_V", "VENUE_SIGNAGE", "RISK_ASSESSMENT", "IMPACT_ASSESSMENT", "CHILD_DATA_SECURITY"}
"""What is true of the tenant or of a place as a whole; every other determination names its operation and purpose."""


def has_identifier(q: OperationRequest) -> bool:
    """The operation is on an identifier of the statutes' lists, or makes one: a template, also from a photo."""
    return str(q.category) in LISTED or (str(q.operation) in RECOGNITION and str(q.category) in LISTED | PICTURES)


def leaves(q: OperationRequest) -> bool:
    return str(q.operation) in SALE | {"DISCLOSE"} or q.recipient_id != "" or str(q.disclosure_basis) != "NONE"


def ages(face: Face) -> set[str]:
    return {str(face.age_band)} | (set() if face.subject is None else {str(face.subject.age_band)})


def determined(kind: str, q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Iterator[Determination]:
    """Determinations of a kind that a second officer approved, that run, and that do not speak of something else."""
    for d in tenant.determinations:
        if str(d.kind) != kind or d.approved_by in {"", d.decided_by} or not d.time <= now < d.expires_at:
            continue
        whole = kind in ENTITY_WIDE
        if q.operation not in d.operations and (d.operations or not whole):
            continue
        if q.purpose not in d.purposes and (d.purposes or not whole):
            continue
        person = None if str(face.known_by) == "UNKNOWN" else face.subject
        if d.subject_ref and (person is None or person.subject_ref != d.subject_ref):
            continue
        named = (d.algorithm_id, d.algorithm_version)
        if any(named) and (not all(named) or named != (q.algorithm_id, q.algorithm_version)):
            continue
        yield d


def is_determined(kinds: Iterable[str], q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> bool:
    return any(True for kind in kinds for _ in determined(kind, q, face, tenant, now))


def consents(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Iterator[Release]:
    """Releases that may be a consent under any of these laws.

    Informed first, by a notice that names the purpose and was delivered to whoever signed; given by a person who may
    give it, for this purpose; recorded before the operation; neither withdrawn, nor expired, nor used up.
    """
    subject = face.subject
    if subject is None or str(face.known_by) == "UNKNOWN":
        return
    for r in subject.releases:
        told = [d for d in subject.deliveries if d.delivery_id == r.delivery_id]
        notices = [tenant.notices.get((d.notice_id, d.notice_version)) for d in told]
        informed = any(
            n is not None
            and d.time <= r.time
            and d.index < r.index
            and q.purpose in n.purposes
            and n.effective_time <= now
            and d.signer_role is r.signer_role
            for d, n in zip(told, notices, strict=True)
        )
        recorded = r.signed_at <= now and r.time <= now
        live = r.withdrawn_at is None and r.withdrawn_index < 0 and (r.expires_at is None or now < r.expires_at)
        used_up = any(e.purpose == q.purpose and r.time <= e.time and r.index < e.index for e in subject.satisfied)
        childs_own = str(r.signer_role) == "SELF" and bool(ages(face) & CHILD)
        act = str(r.process) not in {"PAGE_VIEW", "CONTINUED_USE"}
        if informed and recorded and live and not used_up and not childs_own and act and q.purpose in r.purposes:
            yield r


def has_consent(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> bool:
    return any(True for _ in consents(q, face, tenant, now))


def later(start: datetime, months: int) -> datetime:
    """The same day so many months later; the last of the month where it has no such day."""
    year, month = divmod(start.month - 1 + months, 12)
    year, month = start.year + year, month + 1
    return start.replace(year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1]))
