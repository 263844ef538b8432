"""Second opinions on two cities and the states' privacy acts. Source: statutes.md section 5."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.unit.law.oracle_common import (
    FACE,
    IDENTIFYING,
    LISTED,
    PICTURES,
    RECOGNITION,
    SALE,
    USES,
    Opinion,
    has_consent,
    is_determined,
    leaves,
)

if TYPE_CHECKING:
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant

OPT_IN = {"CO", "CT", "DE", "FL", "IN", "KY", "MN", "MT", "NE", "NH", "NJ", "OR", "RI", "TN", "TX", "VA"}
OPT_OUT = {"IA", "UT"}


def new_york_city(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """N.Y.C. Admin. Code 22-1202: signs at the entrances; no sale, whatever a customer says."""
    if q.new_york_city_establishment is not True or str(tenant.entity_type) == "GOVERNMENT_AGENCY":
        return "CLEAR"
    if str(q.category) not in LISTED:
        return "CLEAR"
    op = str(q.operation)
    if op in SALE or (op == "DISCLOSE" and str(q.consideration) == "VALUE"):  # (b)
        return "BAN"
    # (a); financial institutions owe no sign (1204)
    signed = is_determined(["VENUE_SIGNAGE", "GLBA_TITLE_V"], q, face, tenant, now)
    return "BLOCK" if op in {"CAPTURE", "STORE", "ENROLL"} and not signed else "CLEAR"


def portland(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Portland City Code 34.10: no face recognition by private entities in places of public accommodation."""
    if q.portland_public_accommodation is not True or str(tenant.entity_type) == "GOVERNMENT_AGENCY":
        return "CLEAR"
    if str(q.operation) not in RECOGNITION or str(q.category) not in FACE | PICTURES:
        return "CLEAR"
    if is_determined(["LEGAL_COMPLIANCE"], q, face, tenant, now):
        return "CLEAR"
    # one's own or the employer's device is unlocked by comparing one face with one; detection is no recognition
    one_to_one = str(q.operation) in {"EXTRACT_TEMPLATE", "ENROLL", "VERIFY"}
    return "CLEAR" if one_to_one and is_determined(["DEVICE_UNLOCK"], q, face, tenant, now) else "BAN"


def _sensitive(q: OperationRequest) -> bool:
    """Biometric data processed to identify somebody: inside every "sensitive" definition as far as it is known."""
    return str(q.category) in LISTED and str(q.purpose) in IDENTIFYING


def maryland(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Md. Com. Law 14-4707(a): strictly necessary for what the consumer asked for; no sale of sensitive data."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not _sensitive(q) or _employee(face):
        return "CLEAR"
    if _exempt(q, face, tenant, now):
        return "CLEAR"
    if str(q.operation) in SALE:
        return "BAN"
    necessary = is_determined(["STRICT_NECESSITY"], q, face, tenant, now)
    return "BLOCK" if str(q.operation) in USES and not necessary else "CLEAR"


def opt_in(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Sixteen states: sensitive data with consent alone."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not _sensitive(q) or _employee(face):
        return "CLEAR"
    if _exempt(q, face, tenant, now):
        return "CLEAR"
    return "BLOCK" if str(q.operation) in USES and not has_consent(q, face, tenant, now) else "CLEAR"


def connecticut(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Conn. Gen. Stat. 42-520 from 2026-07-01: consent and reasonable necessity."""
    opinion = opt_in(q, face, tenant, now)
    if opinion != "CLEAR" or str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not _sensitive(q) or _employee(face):
        return opinion
    if _exempt(q, face, tenant, now) or str(q.operation) not in USES:
        return "CLEAR"
    return "CLEAR" if is_determined(["REASONABLE_NECESSITY"], q, face, tenant, now) else "BLOCK"


def _objected(q: OperationRequest, face: Face, now: datetime) -> bool:
    """An objection that no later consent has taken back."""
    subject = face.subject
    if subject is None:
        return False
    return any(
        each.time <= now
        and (not each.purposes or q.purpose in each.purposes)
        and not any(r.index > each.index for r in subject.releases)
        for each in subject.opt_outs
    )


def california(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Cal. Civ. Code 1798.121: the right to limit, at any time."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not _sensitive(q) or _exempt(q, face, tenant, now):
        return "CLEAR"
    needed = is_determined(["REASONABLE_NECESSITY"], q, face, tenant, now)
    return "BLOCK" if str(q.operation) in USES and _objected(q, face, now) and not needed else "CLEAR"


def opt_out(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Iowa 715D.4(2), Utah 13-61-302(3): notice, and a way to object."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or not _sensitive(q) or _employee(face):
        return "CLEAR"
    if _exempt(q, face, tenant, now) or str(q.operation) not in USES:
        return "CLEAR"
    told = face.subject is not None and any(
        d.time <= now
        and (n := tenant.notices.get((d.notice_id, d.notice_version))) is not None
        and q.purpose in n.purposes
        for d in face.subject.deliveries
    )
    return "CLEAR" if told and not _objected(q, face, now) else "BLOCK"


def _employee(face: Face) -> bool:
    """These acts speak of consumers; somebody acting in employment is none."""
    return face.subject is not None and str(face.subject.relationship) == "EMPLOYEE"


def _exempt(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> bool:
    kinds = ["GLBA_TITLE_V", "HEALTH_CARE", "NONBIOMETRIC", "ON_DEVICE", "LEGAL_PROCESS"]
    return is_determined(kinds, q, face, tenant, now) or (leaves(q) and str(q.operation) not in SALE)
