"""Consent receipts: what a person is handed after a release.

The claims hold every required field of the Kantara Consent Receipt 1.1.0 and the fields of this project's minimum
receipt beside it; a JWT signed with the tenant's permit key carries them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.codec import to_plain
from consentry_server.core.vocabulary import BIOMETRIC_CATEGORIES, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry_server.core.record.facts import Notice, Release

KANTARA_VERSION = "KI-CR-v1.1.0"  # Kantara Consent Receipt Specification 1.1.0, section 4.1


def receipt_claims(
    *,
    ledger: str,
    subject_id: str,
    release: Release,
    notice: Notice,
    entry: Mapping[str, Any],
    leaf_hash: bytes,
    withdrawal_uri: str,
    jurisdiction: str,
) -> dict[str, Any]:
    """Make a receipt's claims.

    Args:
        ledger: The tenant's ledger origin; the receipt's issuer.
        subject_id: The caller's own id of the person, as the person knows it.
        release: The release on record.
        notice: The notice it rests on.
        entry: The release's entry.
        leaf_hash: The entry's leaf hash, 32 bytes.
        withdrawal_uri: Where the person withdraws; empty where the notice names no place.
        jurisdiction: As the signed document names it; empty where it does not.

    Returns:
        JSON values; the same for the same entry always.
    """
    recorded = int(parse_time(entry["time"]).timestamp())
    sensitive = sorted(str(category) for category in release.categories & BIOMETRIC_CATEGORIES)
    purposes = [
        {
            "purpose": str(purpose),
            "purposeCategory": [_category(purpose)],
            "consentType": "EXPLICIT",
            "piiCategory": sorted(str(category) for category in release.categories),
            "primaryPurpose": True,
            "termination": _termination(release, notice),
            "thirdPartyDisclosure": bool(release.recipients),
            **({"thirdPartyName": ", ".join(sorted(release.recipients))} if release.recipients else {}),
        }
        for purpose in sorted(release.purposes)
    ]
    kantara = {
        "version": KANTARA_VERSION,
        "jurisdiction": jurisdiction or ", ".join(entry.get("claims", {}).get("regions", ())) or "UNKNOWN",
        "consentTimestamp": recorded,
        "collectionMethod": f"{release.form}, {release.process}",
        "consentReceiptID": release.release_id,
        "language": entry.get("language", notice.language),
        "piiPrincipalId": subject_id,
        "piiControllers": [{"piiController": ledger, "onBehalf": False}],
        "policyUrl": f"urn:sha256:{notice.text_sha256}",
        "services": [{"service": ledger, "purposes": purposes}],
        "sensitive": bool(sensitive),
        "spiCat": sensitive or ["NONE"],
    }
    minimum = {
        "release_form": str(release.form),
        "signature_process": str(release.process),
        "signed_document_sha256": release.signed_document_sha256,
        "notice_version": f"{notice.notice_id}@{notice.version}",
        "term": to_plain(notice.term) if notice.term else {},
        "purposes": sorted(str(purpose) for purpose in release.purposes),
        "recipients": sorted(release.recipients),
        "signer_role": str(release.signer_role),
        "authority_basis": str(release.authority_basis),
        "signed_at": to_plain(release.signed_at),
        "recorded_at": entry["time"],
        "ledger_index": entry["index"],
        "leaf_hash": leaf_hash.hex(),
        "withdrawal_uri": withdrawal_uri,
        "vouched_by": str(release.vouching),
        "supersedes": entry.get("supersedes", ""),
    }
    return {"iss": ledger, "iat": recorded, "jti": release.release_id, **kantara, **minimum}


def _category(purpose: Purpose) -> str:
    return "Core Function" if purpose is not Purpose.ADVERTISING else "Marketing"


def _termination(release: Release, notice: Notice) -> str:
    if release.expires_at is not None:
        return str(to_plain(release.expires_at))
    if notice.term is None:
        return "not stated"
    if notice.term.duration is not None:
        return f"{notice.term.duration.days} days after the release"
    return str(notice.term.end)
