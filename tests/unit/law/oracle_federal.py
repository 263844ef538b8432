"""Second opinions on United States federal law. Source: statutes.md sections 7 and 8, cases.md rows 31 and 32."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.unit.law.oracle_common import COLLECTS, PICTURES, Opinion, ages, consents, has_identifier, is_determined

if TYPE_CHECKING:
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant

OVER_A_CHILD = {"PARENT", "GUARDIAN", "COURT_ORDER"}


def coppa(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """16 CFR 312.2, complied with from 2026-04-22: under 13, a parent's verifiable consent before collection."""
    if str(tenant.entity_type) == "GOVERNMENT_AGENCY" or "UNDER_13" not in ages(face):
        return "CLEAR"
    if not (has_identifier(q) and str(q.operation) in COLLECTS):
        return "CLEAR"
    if is_determined(["NONBIOMETRIC", "ON_DEVICE"], q, face, tenant, now):
        return "CLEAR"
    by_parent = [
        r
        for r in consents(q, face, tenant, now)
        if str(r.signer_role) == "REPRESENTATIVE" and str(r.authority_basis) in OVER_A_CHILD
    ]
    return "CLEAR" if by_parent else "BLOCK"


def ftc(q: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Opinion:
    """In re Everalbum; FTC v. Rite Aid."""
    # Everalbum (i): photos train nothing without a consent that names training
    if str(q.operation) == "TRAIN_MODEL" and str(q.category) in PICTURES | {"FACE_GEOMETRY", "FACE_TEMPLATE"}:
        trained = any("MODEL_TRAINING" in r.purposes for r in consents(q, face, tenant, now))
        harmless = q.uses_face_geometry is False and q.identifies is False
        if not trained and not harmless:
            return "BLOCK"
    # (iii): what was made of data without a valid consent serves nobody
    tainted = str(getattr(q, "artifact_state", "")) == "TAINTED"
    if str(q.operation) in {"SERVE_MODEL", "TRAIN_MODEL"} and tainted:
        return "BAN"
    # Rite Aid: no watchlist without a test of accuracy and bias, on record for this algorithm version
    if str(q.purpose) == "SECURITY_WATCHLIST" and str(q.operation) in {"IDENTIFY", "VERIFY"}:
        tested = q.algorithm_id != "" and is_determined(["ACCURACY_TESTED"], q, face, tenant, now)
        if not tested:
            return "BLOCK"
    return "CLEAR"
