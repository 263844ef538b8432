"""Deliveries, releases, withdrawals and determinations, read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consentry_server.adapters.grpc import read, words
from consentry_server.adapters.grpc.read_gate import algorithm
from consentry_server.adapters.grpc.read_notices import existing_version
from consentry_server.core.vocabulary import (
    REGIONS,
    AuthorityBasis,
    ConsentScope,
    DeterminationKind,
    ReleaseForm,
    SignerRole,
    Vouching,
)
from consentry_server.services.context import Caller, optional_slug, require_slug
from consentry_server.services.registry import DeterminationDraft
from consentry_server.services.release_checks import check_majority
from consentry_server.services.releases import Claims, DeliveryDraft, ReleaseDraft, Signer, SignerSignature

if TYPE_CHECKING:
    from datetime import datetime

    from consentry.v1 import consent_pb2, gate_service_pb2, registry_service_pb2, subject_pb2

MAX_RECIPIENTS: Final = 64
MAX_SCOPES: Final = 4
MAX_STATEMENT: Final = 2_000
MAX_AUTHORITY: Final = 4_000
MAX_NAME: Final = 256
PUBLIC_KEY_BYTES: Final = 32  # RFC 8032, section 5.1.5
SIGNATURE_BYTES: Final = 64  # RFC 8032, section 5.1.6
PROOF_NEEDED: Final = frozenset({AuthorityBasis.COURT_ORDER, AuthorityBasis.POWER_OF_ATTORNEY})
CONTRACT_NEEDED: Final = frozenset(
    {
        DeterminationKind.GOVERNMENT_CONTRACTOR,
        DeterminationKind.LEGAL_PROCESS,
        DeterminationKind.TX_RETENTION_REQUIRED,
    }
)
_ATTRIBUTION: Final = (
    ("account_authentication", 256),
    ("ip_address", 45),
    ("device", 256),
    ("user_agent", 512),
    ("session_id", 256),
)


def delivery(request: registry_service_pb2.RecordNoticeDeliveryRequest, caller: Caller, now: datetime) -> DeliveryDraft:
    """Read a delivery.

    Args:
        request: As it came.
        caller: Who reports it.
        now: The time, UTC.

    Returns:
        The delivery.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "RecordNoticeDelivery", request)
    read.subject_id(request.subject_id, "subject_id")
    if not request.HasField("delivery"):
        raise read.required("delivery")
    told = request.delivery
    delivered_at = read.needed_time(told, "deliver_time", "delivery.deliver_time")
    acknowledged_at = read.optional_time(told, "acknowledge_time", "delivery.acknowledge_time")
    if acknowledged_at is not None and acknowledged_at < delivered_at:
        raise read.invalid("delivery.acknowledge_time", "is before deliver_time")
    vouching = words.VOUCHING.read(told.vouching, "delivery.vouching")
    said = {
        "esign_disclosure_version": read.version(
            told.esign_disclosure_version, "delivery.esign_disclosure_version", needed=False
        ),
        "access_demonstrated_by": read.text(told.access_demonstrated_by, "delivery.access_demonstrated_by", MAX_NAME),
        "renderer_version": read.version(told.renderer_version, "delivery.renderer_version", needed=False),
        "attribution": _attribution(told, "delivery"),
    }
    return DeliveryDraft(
        subject_id=request.subject_id,  # as it came: a signer signs these very characters; it is compared in NFC
        notice_id=require_slug(told.notice_id, "delivery.notice_id"),
        notice_version=existing_version(told.notice_version, "delivery.notice_version"),
        signer=_signer(told, "delivery"),
        channel=words.NOTICE_CHANNEL.read(told.channel, "delivery.channel"),
        language=read.language(told.language, "delivery.language"),
        delivered_at=read.not_ahead(delivered_at, now, "delivery.deliver_time"),
        acknowledged_at=acknowledged_at,
        shown_sha256=read.sha256(told.shown_sha256, "delivery.shown_sha256"),
        words={name: value for name, value in said.items() if value},
        claims=claims(request.claims, now),
        vouching=vouching,
        signature=_signature(told, vouching, "delivery"),
        key=key,
    )


def release(request: registry_service_pb2.RecordReleaseRequest, caller: Caller, now: datetime) -> ReleaseDraft:
    """Read a written release.

    Args:
        request: As it came.
        caller: Who reports it.
        now: The time, UTC.

    Returns:
        The release.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "RecordRelease", request)
    read.subject_id(request.subject_id, "subject_id")
    if not request.HasField("release"):
        raise read.required("release")
    signed = request.release
    form = words.RELEASE_FORM.read(signed.form, "release.form")
    if form is ReleaseForm.EMPLOYMENT_RELEASE and not signed.condition_of_employment:
        raise read.required("release.condition_of_employment", "true for an employment release (740 ILCS 14/10)")
    attribution = _attribution(signed, "release")
    if form is ReleaseForm.ELECTRONIC_SIGNATURE and not attribution:
        raise read.required("release.attribution", "how the electronic signature is attributed, at least one field")
    vouching = words.VOUCHING.read(signed.vouching, "release.vouching")
    said = {
        "intent_statement": read.text(signed.intent_statement, "release.intent_statement", MAX_STATEMENT, needed=True),
        "jurisdiction": _jurisdiction(signed.jurisdiction),
        "attribution": attribution,
    }
    for name, limit in (
        ("purposes", read.MAX_WORDS),
        ("categories", read.MAX_WORDS),
        ("recipient_ids", MAX_RECIPIENTS),
        ("scopes", MAX_SCOPES),
    ):
        read.count(getattr(signed, name), f"release.{name}", limit)
    signed_at = read.needed_time(signed, "sign_time", "release.sign_time")
    return ReleaseDraft(
        subject_id=request.subject_id,  # as it came; see delivery
        notice_id=require_slug(signed.notice_id, "release.notice_id"),
        notice_version=existing_version(signed.notice_version, "release.notice_version"),
        delivery_id=read.record_id(signed.delivery_id, "release.delivery_id"),
        form=form,
        process=words.SIGNATURE_PROCESS.read(signed.process, "release.process"),
        signed_document_sha256=read.sha256(signed.signed_document_sha256, "release.signed_document_sha256"),
        signer=_signer(signed, "release"),
        purposes=words.PURPOSE.read_set(signed.purposes, "release.purposes"),
        categories=words.DATA_CATEGORY.read_set(signed.categories, "release.categories"),
        recipients=frozenset(
            require_slug(each, f"release.recipient_ids[{place}]") for place, each in enumerate(signed.recipient_ids)
        ),
        scopes=words.CONSENT_SCOPE.read_set(signed.scopes, "release.scopes") or frozenset({ConsentScope.COLLECT}),
        explicit=signed.explicit,
        signed_at=read.not_ahead(signed_at, now, "release.sign_time"),
        expires_at=read.optional_time(signed, "expire_time", "release.expire_time"),
        language=read.language(signed.language, "release.language"),
        condition_of_employment=signed.condition_of_employment,
        supersedes=read.record_id(signed.supersedes_release_id, "release.supersedes_release_id", needed=False),
        words={name: value for name, value in said.items() if value},
        claims=claims(request.claims, now),
        vouching=vouching,
        signature=_signature(signed, vouching, "release"),
        key=key,
    )


def determination(
    request: registry_service_pb2.RecordDeterminationRequest | gate_service_pb2.ResolveReviewRequest,
    caller: Caller,
    now: datetime,
    method: str = "RecordDetermination",
) -> DeterminationDraft:
    """Read a determination.

    Args:
        request: As it came; its action, or resolution, is a determination.
        caller: The officer.
        now: The time, UTC.
        method: The RPC's name.

    Returns:
        The determination.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, method, request)
    made = request.determination
    kind = words.DETERMINATION_KIND.read(made.kind, "determination.kind")
    contract_id = optional_slug(made.contract_id, "determination.contract_id")
    if kind in CONTRACT_NEEDED and not contract_id:
        raise read.required("determination.contract_id", "the contract or order that it rests on")
    for name in ("operations", "purposes"):
        read.count(getattr(made, name), f"determination.{name}", read.MAX_WORDS)
    algorithm_id, algorithm_version = algorithm(made.algorithm_id, made.algorithm_version, "determination.")
    decided_at = read.needed_time(made, "decide_time", "determination.decide_time")
    said = {
        "authority": read.text(made.authority, "determination.authority", MAX_AUTHORITY, needed=True),
        "evidence_reference": read.text(
            made.evidence_reference, "determination.evidence_reference", MAX_STATEMENT, needed=True
        ),
        "author": read.text(made.author, "determination.author", MAX_NAME, needed=True),
        "contract_id": contract_id,
    }
    return DeterminationDraft(
        kind=kind,
        operations=words.OPERATION.read_set(made.operations, "determination.operations"),
        purposes=words.PURPOSE.read_set(made.purposes, "determination.purposes"),
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        subject_id=read.subject_id(made.subject_id, "determination.subject_id", needed=False),
        decided_at=read.not_ahead(decided_at, now, "determination.decide_time"),
        expires_at=read.needed_time(made, "expire_time", "determination.expire_time"),
        words=said,
        key=key,
        recipient_id=optional_slug(made.recipient_id, "determination.recipient_id"),
    )


def claims(said: subject_pb2.SubjectClaims, now: datetime) -> Claims:
    """Read what a caller claims about a person; nothing said claims nothing."""
    made = Claims(
        regions=read.regions(said.regions, "claims.regions"),
        age_band=words.AGE_BAND.read_optional(said.age_band, "claims.age_band"),
        relationship=words.RELATIONSHIP.read_optional(said.relationship, "claims.relationship"),
        majority_quarter=said.majority_quarter,
    )
    check_majority(made, now)
    return made


def subject_reference(reference: subject_pb2.SubjectReference, field: str) -> tuple[str, str]:
    """Read whom a request is about.

    Returns:
        The caller's own id of the person and the pseudonym; one of them is empty.
    """
    match reference.WhichOneof("reference"):
        case "subject_id":
            return read.subject_id(reference.subject_id, f"{field}.subject_id"), ""
        case "subject_ref":
            return "", read.record_id(reference.subject_ref, f"{field}.subject_ref")
        case _:
            raise read.required(field, "a subject_id or a subject_ref")


def occurred(request: Any, now: datetime) -> datetime | None:
    """Read ``occur_time``: a claim, not about the future."""
    claimed = read.optional_time(request, "occur_time", "occur_time")
    return None if claimed is None else read.not_ahead(claimed, now, "occur_time")


def _signer(holder: consent_pb2.Delivery | consent_pb2.Release, name: str) -> Signer:
    field = f"{name}.signer"
    if not holder.HasField("signer"):
        raise read.required(field, "who was told or who signed")
    signer = holder.signer
    role = words.SIGNER_ROLE.read(signer.role, f"{field}.role")
    basis = words.AUTHORITY_BASIS.read(signer.authority_basis, f"{field}.authority_basis")
    evidence = read.text(signer.authority_evidence, f"{field}.authority_evidence", MAX_STATEMENT)
    if basis in PROOF_NEEDED and not evidence:
        raise read.required(f"{field}.authority_evidence", "where the proof of that authority is kept")
    if role is SignerRole.SELF and evidence:
        raise read.invalid(f"{field}.authority_evidence", "is set, but the role is SELF")
    return Signer(
        role=role,
        representative_id=read.subject_id(signer.representative_id, f"{field}.representative_id", needed=False),
        authority_basis=basis,
        authority_evidence=evidence,
    )


def _attribution(holder: consent_pb2.Delivery | consent_pb2.Release, name: str) -> dict[str, Any]:
    """What is said of how an act was attributed to a person, as JSON values."""
    if not holder.HasField("attribution"):
        return {}
    said = holder.attribution
    found: dict[str, Any] = {
        part: read.text(getattr(said, part), f"{name}.attribution.{part}", limit) for part, limit in _ATTRIBUTION
    }
    found = {part: value for part, value in found.items() if value}
    if said.HasField("multi_factor"):
        found["multi_factor"] = said.multi_factor
    return found


def _signature(
    holder: consent_pb2.Delivery | consent_pb2.Release, vouching: Vouching, name: str
) -> SignerSignature | None:
    field = f"{name}.signer_signature"
    if not holder.HasField("signer_signature"):
        if vouching is Vouching.SIGNER_SIGNED:
            raise read.required(field, "the signer's own signature")
        return None
    if vouching is not Vouching.SIGNER_SIGNED:
        raise read.invalid(field, "goes with vouching SIGNER_SIGNED only")
    given = holder.signer_signature
    words.SIGNATURE_ALGORITHM.read(given.algorithm, f"{field}.algorithm")
    for part, value, size in (
        ("public_key", given.public_key, PUBLIC_KEY_BYTES),
        ("signature", given.signature, SIGNATURE_BYTES),
    ):
        if not value:
            raise read.required(f"{field}.{part}")
        if len(value) != size:
            raise read.invalid(f"{field}.{part}", f"must have {size} bytes")
    return SignerSignature(given.public_key, given.signature)


def _jurisdiction(value: str) -> str:
    if value and value not in REGIONS:
        raise read.region_unknown("release.jurisdiction", value)
    return value
