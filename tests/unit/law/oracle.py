"""A second opinion on Illinois, written from statutes.md section 1 and cases.md alone.

It shares no code with the product's law: one plain function, no packs, no vocabulary of requirements. Where
cases.md gives a FLOOR and a DEFAULT, it gives the DEFAULT. It knows nothing of house rules: what it permits, the
house may still refuse; what it blocks, nothing may permit.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from consentry_server.core.record.facts import Determination, Face, OperationRequest, Release, Tenant

Answer = Literal["ALLOW", "NONBIOMETRIC", "BLOCK", "NOT_MY_LAW"]

LISTED = {"RETINA_SCAN", "IRIS_SCAN", "FINGERPRINT", "VOICEPRINT", "HAND_GEOMETRY", "FACE_GEOMETRY", "FACE_TEMPLATE"}
UNLISTED = {"GAIT", "KEYSTROKE_DYNAMICS", "VEIN_PATTERN"}
PICTURES = {"PHOTO", "VIDEO", "GOV_ID_IMAGE"}
IMAGES = PICTURES | {"IMAGE_HASH"}
MAKES_TEMPLATES = {"EXTRACT_TEMPLATE", "ENROLL", "VERIFY", "IDENTIFY", "CLUSTER_FACES", "BUILD_FACE_DATABASE"}
IDENTIFYING = {
    "TAGGING",
    "IDENTITY_VERIFICATION",
    "IDENTIFICATION",
    "ACCOUNT_SECURITY",
    "SECURITY_WATCHLIST",
    "TIMEKEEPING",
    "WORKDAY_START_END",
    "SECURE_ACCESS",
    "WORKPLACE_SAFETY",
    "PUBLIC_EMERGENCY",
}


def what_is_it(q: OperationRequest, face: Face) -> Literal["identifier", "photo", "unsure", "other"]:
    """Section 10: identifier, photograph, cannot be told, or nothing this Act is about."""
    op, cat, geometry = str(q.operation), str(q.category), q.uses_face_geometry
    linked = face.subject is not None or cat == "GOV_ID_IMAGE" or q.linked_identity is True
    if op in {"CLUSTER_FACES", "BUILD_FACE_DATABASE"}:
        return "identifier"
    if cat in UNLISTED and geometry is not True:
        return "other"
    if cat in LISTED or op in MAKES_TEMPLATES or op == "ANALYZE_ATTRIBUTES":
        return "identifier"
    if op == "IMPORT_DATASET" and cat in IMAGES:
        return "identifier"  # Vance, DEFAULT
    if op in {"DETECT_FACES", "CHECK_QUALITY"}:
        whole_image = op == "CHECK_QUALITY" and cat in IMAGES and geometry is False and q.identifies is False
        if whole_image:
            return "photo"
        quiet = q.identifies is not True and q.stored is not True and not linked
        if op == "DETECT_FACES":
            return "unsure" if quiet and geometry is not True else "identifier"
        if not quiet:
            return "identifier"  # Daichendt II
        if geometry is True:  # Daichendt I, DEFAULT
            certain = q.identifies is False and q.stored is False and q.linked_identity is False
            return "unsure" if certain else "identifier"
        return "unsure"
    if cat not in IMAGES:
        return "identifier" if geometry is True else "other"
    if op in {"STORE", "RETAIN", "DISPLAY"} and cat in PICTURES:
        return "identifier" if geometry is True or q.identifies is True else "photo"
    if op in {"PROCESS", "CAPTURE", "DISCLOSE", "SERVE_MODEL", "TRAIN_MODEL"} and q.purpose in IDENTIFYING:
        return "identifier"
    if geometry is True:
        return "identifier"
    clean = geometry is False and q.identifies is False
    if op in {"SELL", "LEASE", "TRADE", "TRAIN_MODEL"}:
        return "photo" if clean else "identifier"
    if op == "HASH_IMAGE" and q.purpose in IDENTIFYING:
        return "unsure"
    return "photo" if clean else "unsure"  # Martell


def leaves(q: OperationRequest) -> bool:
    return q.operation in {"DISCLOSE", "SELL", "LEASE", "TRADE"} or q.recipient_id != "" or q.disclosure_basis != "NONE"


def in_scope_of(d: Determination, q: OperationRequest, face: Face, now: datetime, *, everything: bool) -> bool:
    if d.approved_by in {"", d.decided_by} or d.time > now or d.expires_at <= now:
        return False
    for named, wanted in ((d.operations, q.operation), (d.purposes, q.purpose)):
        if not named and not everything:
            return False
        if named and wanted not in named:
            return False
    if d.subject_ref and (
        face.subject is None or face.known_by == "UNKNOWN" or face.subject.subject_ref != d.subject_ref
    ):
        return False
    if d.algorithm_id or d.algorithm_version:
        return bool(d.algorithm_id and d.algorithm_version) and (d.algorithm_id, d.algorithm_version) == (
            q.algorithm_id,
            q.algorithm_version,
        )
    return True


def is_exempt(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> bool:
    """Section 25, the health exclusion of section 10, and on-device data (Barnett, G.T.)."""
    sale = q.operation in {"SELL", "LEASE", "TRADE"}
    for d in tenant.determinations:
        if not in_scope_of(d, q, face, now, everything=d.kind == "GLBA_TITLE_V"):
            continue
        if d.kind in {"GLBA_TITLE_V", "LICENSED_INVESTIGATOR", "GOVERNMENT_CONTRACTOR"}:
            return True
        health = {"MEDICATION_DISPENSING", "HEALTH_CARE", "VIRTUAL_TRY_ON"}
        if d.kind == "HEALTH_CARE" and q.purpose in health and not sale:
            return True
        if (
            d.kind == "ON_DEVICE"
            and q.source_kind == "ON_DEVICE"
            and q.stored is False
            and not leaves(q)
            and q.operation
            in {
                "DETECT_FACES",
                "EXTRACT_TEMPLATE",
                "ENROLL",
                "VERIFY",
                "IDENTIFY",
                "CLUSTER_FACES",
                "ANALYZE_ATTRIBUTES",
                "CHECK_QUALITY",
            }
        ):
            return True
    return False


def is_determined_harmless(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> bool:
    """Zellmer and Martell, DEFAULT: a determination for that very algorithm version, and nothing kept or linked."""
    found = any(
        d.kind == "NONBIOMETRIC" and d.algorithm_id and in_scope_of(d, q, face, now, everything=False)
        for d in tenant.determinations
    )
    if not found or leaves(q):
        return False
    unlinked = face.subject is None and q.linked_identity is False and q.category != "GOV_ID_IMAGE"
    transient = q.identifies is False and q.stored is False and unlinked
    if q.operation in {"DETECT_FACES", "ANALYZE_ATTRIBUTES", "CHECK_QUALITY"}:
        return transient and q.category in {"PHOTO", "VIDEO", "FACE_GEOMETRY"}
    if q.operation == "EXTRACT_TEMPLATE":
        shape = q.category in {"PHOTO", "VIDEO", "FACE_GEOMETRY", "FACE_TEMPLATE"}
        return transient and shape and q.purpose not in IDENTIFYING
    if q.operation in {"HASH_IMAGE", "STORE", "RETAIN", "PROCESS"} and q.category in IMAGES:
        return q.uses_face_geometry is not True and q.identifies is not True and q.purpose not in IDENTIFYING
    return False


def needed(q: OperationRequest) -> set[str]:
    """The words that a notice or a release may use for what is made or used."""
    cat = str(q.category)
    if q.operation in {"CLUSTER_FACES", "BUILD_FACE_DATABASE"}:
        return {"FACE_TEMPLATE"}
    if cat in LISTED - {"FACE_GEOMETRY", "FACE_TEMPLATE"}:
        return {cat}
    if q.operation in MAKES_TEMPLATES or cat == "FACE_TEMPLATE":
        return {"FACE_TEMPLATE"}
    return {"FACE_GEOMETRY", "FACE_TEMPLATE"}


def is_signed(r: Release, face: Face) -> bool:
    """Section 10, written release and electronic signature; section 7, minors."""
    subject = face.subject
    if subject is None or not r.signed_document_sha256:
        return False
    paper = r.process == "WET_INK"
    electronic = {"TYPED_NAME", "DRAWN_SIGNATURE", "CLICK_TO_SIGN", "DIGITAL_CERTIFICATE"}
    spoken = r.process == "SPOKEN_ASSENT" and r.form == "ELECTRONIC_SIGNATURE"
    if not (r.process in electronic or spoken or (paper and r.form != "ELECTRONIC_SIGNATURE")):
        return False
    amended = datetime(2024, 8, 2, tzinfo=UTC)
    if not paper and (r.signed_at < amended or r.time < amended):
        return False
    for_employees = r.form == "EMPLOYMENT_RELEASE" or r.condition_of_employment
    if for_employees and (subject.relationship != "EMPLOYEE" or subject.employment_ended_at is not None):
        return False
    ages = {str(subject.age_band), str(face.age_band)}
    child = bool(ages & {"UNDER_13", "MINOR"})
    unknown = ages == {"UNKNOWN"}
    if r.signer_role == "SELF":
        seems_child = unknown and any(d.signer_role == "REPRESENTATIVE" for d in subject.deliveries)
        return not child and not seems_child and r.representative_ref == ""
    if r.representative_ref == "" or r.authority_basis == "NONE":
        return False
    if child:
        if "ADULT" in ages and r.authority_basis == "PARENT":
            return False  # record and claim contradict each other: the parent of an adult signs nothing
        return r.authority_basis in {"PARENT", "GUARDIAN", "COURT_ORDER"}
    return unknown or r.authority_basis != "PARENT"


def has_release(
    q: OperationRequest, face: Face, tenant: Tenant, now: datetime, *, scopes: set[str], recipient: bool
) -> bool:
    """15(b)(1) to (3): some one release, with its own delivery and notice, is right in every respect."""
    subject = face.subject
    if subject is None or face.known_by == "UNKNOWN":
        return False
    for r in subject.releases:
        if any(e.purpose == q.purpose and (r.index < e.index or r.signed_at <= e.time) for e in subject.satisfied):
            continue  # the purpose it was given for is satisfied; only a release given since counts
        delivered = [d for d in subject.deliveries if d.delivery_id == r.delivery_id][:1]
        for d in delivered:
            n = tenant.notices.get((d.notice_id, d.notice_version))
            if n is None:
                continue
            same = (d.notice_id, d.notice_version, d.signer_role, d.representative_ref) == (
                r.notice_id,
                r.notice_version,
                r.signer_role,
                r.representative_ref,
            )
            in_order = (
                n.index < d.index < r.index and d.time <= r.time and d.occurred_at <= r.signed_at <= r.time <= now
            )
            told = (
                d.channel in {"IN_APP", "WEB", "EMAIL", "PAPER"}
                and n.effective_time <= now
                and n.says_collected_or_stored
            )
            about = (
                q.purpose in n.purposes
                and q.purpose in r.purposes
                and needed(q) & set(n.categories)
                and needed(q) & set(r.categories)
            )
            live = r.withdrawn_at is None and r.withdrawn_index < 0 and (r.expires_at is None or now < r.expires_at)
            t = n.term
            running = t is not None and (
                (t.duration is not None and t.duration > timedelta(0) and now - r.time < t.duration)
                or (t.duration is None and t.end is not None)
            )
            if t is not None and t.end == "EMPLOYMENT_ENDED" and subject.employment_ended_at is not None:
                running = False
            if t is not None and t.end == "ACCOUNT_CLOSED" and subject.account_closed_at is not None:
                running = False
            named = not recipient or (q.recipient_id in n.recipients and q.recipient_id in r.recipients)
            right = same and in_order and told and about and live and running and named
            if right and scopes <= set(r.scopes) and is_signed(r, face):
                return True
    return False


def illinois(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Answer:
    """What 740 ILCS 14 says of one face of one request."""
    if tenant.entity_type == "GOVERNMENT_AGENCY":
        return "NOT_MY_LAW"
    kind = what_is_it(q, face)
    if kind == "other":
        return "NOT_MY_LAW"
    if kind == "photo":
        return "NONBIOMETRIC"
    if is_exempt(q, face, tenant, now):
        return "ALLOW"
    if is_determined_harmless(q, face, tenant, now):
        return "NONBIOMETRIC"
    # section 15(c): no sale, no profit
    if q.operation in {"SELL", "LEASE", "TRADE"} or q.consideration == "VALUE":
        return "BLOCK"
    if leaves(q) and q.consideration != "NONE":
        return "BLOCK"
    # section 15(e): care
    if not (tenant.encrypted_at_rest and tenant.encrypted_in_transit and tenant.protection_at_least_other_sensitive):
        return "BLOCK"
    # section 15(a): policy and clock
    may_vanish = q.operation in {"DETECT_FACES", "EXTRACT_TEMPLATE", "ANALYZE_ATTRIBUTES", "CHECK_QUALITY"}
    if not (may_vanish and q.stored is False):
        current = [p for p in tenant.policies if p.effective_time <= now]
        newest = max(current, key=lambda p: p.version, default=None)
        if newest is None or not (newest.has_schedule and newest.has_destruction_guidelines and newest.url):
            return "BLOCK"
    person = face.subject if face.known_by != "UNKNOWN" else None
    process = [
        d
        for d in tenant.determinations
        if d.kind == "LEGAL_PROCESS"
        and person is not None
        and d.subject_ref == person.subject_ref
        and in_scope_of(d, q, face, now, everything=False)
    ]
    held = q.operation == "RETAIN" and bool(process) and not leaves(q)
    if q.operation in {"RETAIN", "DISCLOSE"} and not held:
        last = None
        if face.subject is not None:
            last = face.subject.last_interaction or max((r.time for r in face.subject.releases), default=None)
        if last is None or now >= last.replace(year=last.year + 3):
            return "BLOCK"
    # section 15(d): disclosure
    if q.operation == "DISCLOSE":
        if not q.recipient_id:
            return "BLOCK"
        if q.disclosure_basis == "CONSENT":
            ok = has_release(q, face, tenant, now, scopes={"SHARE"}, recipient=True)
        elif q.disclosure_basis == "FINANCIAL_TRANSACTION":
            ok = q.has_disclosure_evidence and has_release(q, face, tenant, now, scopes={"COLLECT"}, recipient=False)
        elif q.disclosure_basis in {"REQUIRED_BY_LAW", "WARRANT", "SUBPOENA"}:
            ok = q.has_disclosure_evidence and bool(process)
        else:
            ok = False
        return "ALLOW" if ok else "BLOCK"
    if held:
        return "ALLOW"
    # section 15(b), and section 15(d) for a processor
    if leaves(q):
        named = bool(q.recipient_id)
        ok = named and has_release(q, face, tenant, now, scopes={"COLLECT", "SHARE"}, recipient=True)
    else:
        ok = has_release(q, face, tenant, now, scopes={"COLLECT"}, recipient=False)
    return "ALLOW" if ok else "BLOCK"
