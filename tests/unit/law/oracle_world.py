"""Second opinions on the European Union and the United Kingdom. Source: statutes.md section 6."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.unit.law.oracle_common import (
    IDENTIFYING,
    LISTED,
    PICTURES,
    RECOGNITION,
    USES,
    Opinion,
    consents,
    is_determined,
)

if TYPE_CHECKING:
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant


def gdpr(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """GDPR Articles 9(1), 9(2)(a), 7(3) and 6; the same for the UK GDPR.

    Biometric data for the purpose of uniquely identifying is prohibited; explicit consent for a specified purpose
    lifts it, once withdrawn it lifts nothing, and a basis under Article 6 is wanted beside it. Public authorities are
    controllers like others.
    """
    if not (_is_biometric(q) and str(q.purpose) in IDENTIFYING and str(q.operation) in USES):
        return "CLEAR"
    if is_determined(["NONBIOMETRIC", "ON_DEVICE", "LEGAL_PROCESS", "HEALTH_CARE"], q, face, tenant, now):
        return "CLEAR"  # not unique identification; no controller; Article 9(2)(f), (h)
    explicit = any(r.explicit for r in consents(q, face, tenant, now))
    basis = is_determined(["LAWFUL_BASIS"], q, face, tenant, now)
    return "CLEAR" if explicit and basis else "BLOCK"


def _is_biometric(q: OperationRequest) -> bool:
    """Article 4(14): of specific technical processing, by which a person can be identified."""
    return str(q.category) in LISTED or (str(q.operation) in RECOGNITION and str(q.category) in PICTURES)


def united_kingdom(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """As the GDPR. The alternative that the ICO wants offered is unverified, and not claimed."""
    return gdpr(q, face, tenant, now)


def ai_act(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """Regulation (EU) 2024/1689, Article 5(1)(e): no consent, determination or exemption cures it."""
    facial = str(q.category) in {*PICTURES, "FACE_GEOMETRY", "FACE_TEMPLATE"}
    creates_or_expands = str(q.operation) in {"BUILD_FACE_DATABASE", "ENROLL"}
    return "BAN" if facial and creates_or_expands and str(q.source_kind) == "SCRAPED" else "CLEAR"
