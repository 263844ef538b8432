"""Second opinions on Texas, Washington and Colorado. Source: statutes.md sections 2, 3 and 4."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.unit.law.oracle_common import (
    CHILD,
    COLLECTS,
    LISTED,
    RECOGNITION,
    SALE,
    USES,
    Opinion,
    ages,
    consents,
    has_consent,
    has_identifier,
    is_determined,
    later,
    leaves,
)

if TYPE_CHECKING:
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant


def texas(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Tex. Bus. & Com. Code 503.001, as amended from 2026-01-01."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not has_identifier(q):
        return "CLEAR"
    op, basis = str(q.operation), str(q.disclosure_basis)
    # (e)(1): voiceprints of a financial institution; (e)(2): never where somebody is identified; (e)(3): security
    if str(q.category) == "VOICEPRINT" and is_determined(["GLBA_TITLE_V"], q, face, tenant, now):
        return "CLEAR"
    if is_determined(["TX_SECURITY"], q, face, tenant, now):
        return "CLEAR"
    recognises = op in {"ENROLL", "VERIFY", "IDENTIFY"} or q.identifies is not False
    if not recognises and is_determined(["TX_AI_TRAINING"], q, face, tenant, now):
        return "CLEAR"
    # (c)(1): four bases, and general consent is none of them; a subpoena alone is not listed
    if op in SALE | {"DISCLOSE"}:
        if basis not in {"CONSENT_DEATH_OR_DISAPPEARANCE", "FINANCIAL_TRANSACTION", "REQUIRED_BY_LAW", "WARRANT"}:
            return "BLOCK"
        proven = q.has_disclosure_evidence or is_determined(
            ["LEGAL_PROCESS", "TX_DEATH_OR_DISAPPEARANCE"], q, face, tenant, now
        )
        if not proven:
            return "BLOCK"
    # (b): informed before, and consent; (b-1): that a picture is public is neither
    if op in RECOGNITION | {"CAPTURE"} and not has_consent(q, face, tenant, now):
        return "BLOCK"
    # (c)(3): destroyed within a year of the end of the purpose; (c-2): employment ends the employer's security purpose
    if op == "RETAIN" and face.subject is not None and not has_consent(q, face, tenant, now):
        ended = [e.time for e in face.subject.satisfied if e.purpose == q.purpose]
        kept = is_determined(["TX_RETENTION_REQUIRED"], q, face, tenant, now)
        released = any(q.purpose in r.purposes for r in face.subject.releases)
        if ended and not released and not kept and now >= later(max(ended), 12):
            return "BLOCK"
    return "CLEAR"


def washington_19373(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """My Health My Data Act, RCW 19.373: biometric data is consumer health data."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not has_identifier(q):
        return "CLEAR"
    if face.subject is not None and str(face.subject.relationship) == "EMPLOYEE":
        return "CLEAR"  # not the employment context
    op = str(q.operation)
    # .070: a sale needs a signed valid authorization, which expires after a year
    if op in {"SELL", "TRADE"} or (leaves(q) and str(q.consideration) == "VALUE"):
        return "CLEAR" if is_determined(["WA_VALID_AUTHORIZATION"], q, face, tenant, now) else "BLOCK"
    necessary = is_determined(["NECESSARY_FOR_SERVICE"], q, face, tenant, now)
    court = is_determined(["LEGAL_PROCESS"], q, face, tenant, now)
    # .030(1)(b): sharing needs a consent that is separate and distinct from the one to collecting
    if op == "DISCLOSE" and str(q.disclosure_basis) in {"NONE", "CONSENT"}:
        distinct = any("SHARE" in r.scopes and "COLLECT" not in r.scopes for r in consents(q, face, tenant, now))
        return "CLEAR" if distinct or necessary or court else "BLOCK"
    # .030(1)(a): collecting needs consent to the specified purpose, or to be necessary for what was asked for
    if op in COLLECTS and not (has_consent(q, face, tenant, now) or necessary or court):
        return "BLOCK"
    return "CLEAR"


def washington_19375(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """RCW 19.375: enrolment for a commercial purpose, which is marketing of unrelated goods; not from photographs."""
    made_without_picture = str(q.category) in {"FINGERPRINT", "RETINA_SCAN", "IRIS_SCAN", "HAND_GEOMETRY"}
    enrols = str(q.operation) == "ENROLL" and str(q.purpose) == "ADVERTISING"
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not (made_without_picture and enrols):
        return "CLEAR"
    # .020(1): notice, consent, or a mechanism
    told = face.subject is not None and any(
        (n := tenant.notices.get((d.notice_id, d.notice_version))) is not None
        and d.time <= now
        and n.effective_time <= now
        and q.purpose in n.purposes
        for d in face.subject.deliveries
    )
    exempt = is_determined(["WA_OPT_OUT_MECHANISM", "WA_SECURITY", "GLBA_TITLE_V", "HEALTH_CARE"], q, face, tenant, now)
    return "CLEAR" if told or exempt or has_consent(q, face, tenant, now) else "BLOCK"


EMPLOYERS_MAY_REQUIRE = {"SECURE_ACCESS", "WORKDAY_START_END", "TIMEKEEPING", "WORKPLACE_SAFETY", "PUBLIC_EMERGENCY"}


def colorado(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """C.R.S. 6-1-1314, from 2025-07-01, with 6-1-1308(7)."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or str(q.category) not in LISTED:
        return "CLEAR"
    op, basis = str(q.operation), str(q.disclosure_basis)
    if is_determined(["GLBA_TITLE_V", "HEALTH_CARE", "NONBIOMETRIC", "ON_DEVICE"], q, face, tenant, now):
        return "CLEAR"
    # (4): no sale, lease or trade
    if op in SALE:
        return "BAN"
    # (4): disclosure with consent, for a requested transaction, to a necessary processor, or by law
    court = is_determined(["LEGAL_PROCESS"], q, face, tenant, now)
    if op == "DISCLOSE" and not court:
        if basis not in {
            "CONSENT",
            "FINANCIAL_TRANSACTION",
            "NECESSARY_PROCESSOR",
            "REQUIRED_BY_LAW",
            "WARRANT",
            "SUBPOENA",
        }:
            return "BLOCK"
        if basis in {"CONSENT", "NECESSARY_PROCESSOR"} and not has_consent(q, face, tenant, now):
            return "BLOCK"
    # (2): a policy; twenty-four months after the last interaction; forty-five days after it was found unnecessary
    if op in {"STORE", "RETAIN"}:
        current = [p for p in tenant.policies if p.effective_time <= now]
        newest = max(current, key=lambda p: p.version, default=None)
        if newest is None or not newest.has_schedule:
            return "BLOCK"
    if op == "RETAIN" and face.subject is not None and not court:
        last = face.subject.last_interaction
        if last is not None and now >= later(last, 24):
            return "BLOCK"
        for d in tenant.determinations:  # it restricts, and needs no approval to
            found = str(d.kind) == "CO_STORAGE_UNNECESSARY" and d.time <= now - timedelta(days=45)
            about = (not d.purposes or q.purpose in d.purposes) and d.subject_ref in {"", face.subject.subject_ref}
            signed_since = any(r.index > d.index for r in face.subject.releases)
            named = d.algorithm_id != "" or d.algorithm_version != ""
            if found and about and not signed_since and not named:
                return "BLOCK"
    # (4)(a), (4)(e): notice and consent first; (6): required by an employer for four purposes alone
    if op in USES:
        for r in consents(q, face, tenant, now):
            required = r.condition_of_employment or str(r.form) == "EMPLOYMENT_RELEASE"
            guarded = not ages(face) & CHILD or str(r.authority_basis) in {"PARENT", "GUARDIAN", "COURT_ORDER"}
            if guarded and (not required or str(q.purpose) in EMPLOYERS_MAY_REQUIRE):
                return "CLEAR"
        return "CLEAR" if court and op == "RETAIN" else "BLOCK"
    return "CLEAR"
