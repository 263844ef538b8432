"""Every call of the client as a value: what to send, where, within what time, and how to read the answer.

Pure, apart from the random ids of requests. The sync and the async client share all of it and differ in transport
alone.
"""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from consentry import inputs
from consentry._fill import fill, photo_reference, values_of
from consentry.errors import ConsentryError, InvalidRequest, Unavailable, from_item
from consentry.results import read_check, read_opened_identifier, read_stored_identifier
from consentry.v1 import (
    audit_service_pb2,
    gate_service_pb2,
    registry_service_pb2,
    retention_service_pb2,
    subject_pb2,
    vault_service_pb2,
)
from consentry.vocabulary import NoticeChannel, Operation, Outcome, PurposeEnd, ReviewState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from google.protobuf.message import Message

    from consentry.config import Config
    from consentry.results import Decision, OpenedIdentifier, StoredIdentifier
    from consentry.v1 import identifier_pb2, ledger_pb2, notice_pb2, review_pb2
    from consentry.vocabulary import ProcessingResult, Purpose

T = TypeVar("T")

REPORT_DEADLINES = 12
"""A report may take as long as so many other calls: a minute by default."""

Service = Literal["GateService", "RegistryService", "VaultService", "RetentionService", "AuditService"]


class Kind(enum.Enum):
    """Which deadline a call has."""

    CHECK = enum.auto()
    UNARY = enum.auto()
    REPORT = enum.auto()
    """Looks at the whole registry, or at many operations."""

    def seconds(self, config: Config) -> float:
        """Return the deadline of such a call."""
        if self is Kind.REPORT:
            return REPORT_DEADLINES * config.unary_deadline_seconds
        return config.check_deadline_seconds if self is Kind.CHECK else config.unary_deadline_seconds


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One unary call; ``read`` makes the result out of the response."""

    service: Service
    method: str
    request: Message
    read: Callable[[Any], T]
    kind: Kind = Kind.UNARY


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; an empty token ends the list."""

    items: Sequence[T]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list that is fetched page by page."""

    service: Service
    method: str
    request: Message
    items: str

    def call(self, page_token: str) -> Call[Page[T]]:
        """Return the call for one page; an empty token is the first."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        return Call(self.service, self.method, fill(request, page_token=page_token), self._read)

    def _read(self, response: Any) -> Page[T]:
        return Page(getattr(response, self.items), response.next_page_token)


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """A call that answers with many messages; ``read`` makes an item out of each."""

    service: Service
    method: str
    request: Message
    read: Callable[[Any], T]


def new_request_id() -> str:
    """Return a random id: the same one is sent again when a call is retried."""
    return str(uuid.uuid4())


def same(response: T) -> T:
    """Read an answer that is handed on as it is."""
    return response


# -- gate --------------------------------------------------------------------------------------------------------------


def check(check: inputs.Check) -> Call[Decision]:
    """Ask whether one operation may be done. A denial is a result; an error is no answer: do not process.

    Raises:
        NotFound: a photo id that is not on record.
        Unavailable: no answer within ``Config.check_deadline_seconds``.
    """
    return Call("GateService", "Check", check_request(check), read_check, Kind.CHECK)


def check_batch(checks: Sequence[inputs.Check]) -> Call[tuple[Decision | ConsentryError, ...]]:
    """Ask for up to 1,000 operations at once. Items are independent: one may fail alone.

    Returns:
        One result per check, in their order: the decision, or the error that ``check`` would have raised.
    """
    ids = [str(number) for number in range(len(checks))]
    items = [
        gate_service_pb2.CheckItem(correlation_id=correlation_id, check=check_request(item))
        for correlation_id, item in zip(ids, checks, strict=True)
    ]

    def read(response: gate_service_pb2.BatchCheckResponse) -> tuple[Decision | ConsentryError, ...]:
        if [result.correlation_id for result in response.results] != ids:
            raise Unavailable("the answer is not one result per check, in their order: do not process")
        return tuple(map(_read_result, response.results))

    return Call("GateService", "BatchCheck", gate_service_pb2.BatchCheckRequest(items=items), read)


def record_processing(
    decision_id: str,
    result: ProcessingResult,
    *,
    algorithm_id: str = "",
    algorithm_version: str = "",
    perform_time: datetime | None = None,
    face_indices: Sequence[int] = (),
    detail: str = "",
    request_id: str = "",
) -> Call[gate_service_pb2.RecordProcessingResponse]:
    """Report what was done after a decision. `Guard` does it by itself.

    Raises:
        NotFound: no such decision.
        Conflict: it is reported already.
    """
    request = fill(
        gate_service_pb2.RecordProcessingRequest(),
        request_id=request_id or new_request_id(),
        decision_id=decision_id,
        result=result,
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        perform_time=perform_time,
        face_indices=face_indices,
        detail=detail,
    )
    return Call("GateService", "RecordProcessing", request, same)


def list_reviews(
    *,
    state: ReviewState = ReviewState.UNSPECIFIED,
    operation: Operation = Operation.UNSPECIFIED,
    page_size: int = 0,
) -> Listing[review_pb2.Review]:
    """List the questions that wait, or waited, for a person, oldest first."""
    request = fill(gate_service_pb2.ListReviewsRequest(), state=state, operation=operation, page_size=page_size)
    return Listing("GateService", "ListReviews", request, "reviews")


def resolve_review(
    review_id: str,
    *,
    determination: inputs.Determination | None = None,
    refusal_reason: str = "",
    request_id: str = "",
) -> Call[gate_service_pb2.ResolveReviewResponse]:
    """Answer a review by a determination of its very scope, or by a refusal: then such requests are denied.

    Raises:
        Conflict: it is answered already.
        InvalidRequest: the determination's scope is not the review's, or neither or both were given.
    """
    if (determination is None) == (not refusal_reason):
        raise InvalidRequest("give a determination or a refusal_reason, one of them", field="determination")
    request = fill(
        gate_service_pb2.ResolveReviewRequest(),
        request_id=request_id or new_request_id(),
        review_id=review_id,
        determination=determination,
        refusal_reason=refusal_reason or None,
    )
    return Call("GateService", "ResolveReview", request, same)


def simulate(checks: Sequence[inputs.Check], *, times: Sequence[int] = ()) -> Call[gate_service_pb2.SimulateResponse]:
    """Rehearse up to 1,000 planned operations, as an officer or operator: counts, no record, nobody named.

    Args:
        checks: the operations; the photo may be left out.
        times: how many of each are planned; none: one of each.

    Returns:
        Counts by outcome and by reason. A failure's ``correlation_id`` is its position in ``checks``, from 0.
    """
    request = gate_service_pb2.SimulateRequest(
        operations=[
            gate_service_pb2.PlannedOperation(correlation_id=str(number), check=check_request(check), times=count)
            for number, (check, count) in enumerate(zip(checks, times or [1] * len(checks), strict=True))
        ]
    )
    return Call("GateService", "Simulate", request, same, Kind.REPORT)


def explain(
    decision: str | inputs.Check, *, face_indices: Sequence[int] = ()
) -> Call[gate_service_pb2.ExplainResponse]:
    """Get the whole trace of a recorded decision, by its id, or of a check that is only supposed and not recorded.

    Args:
        decision: A decision's id; or a check, whose request id and permit fields count for nothing.
        face_indices: Only these faces, by their position; none for all.

    Raises:
        NotFound: no such decision.
        InvalidRequest: the trace is too long for one answer: name fewer faces.
    """
    request = gate_service_pb2.ExplainRequest(face_indices=face_indices)
    if isinstance(decision, str):
        request.decision_id = decision
    else:
        request.hypothetical.CopyFrom(check_request(decision))
    return Call("GateService", "Explain", request, same)


def check_request(check: inputs.Check) -> gate_service_pb2.CheckRequest:
    """Make the contract's message of one check, with a new request id where it names none."""
    values = values_of(check)
    values["photo"] = photo_reference(check.photo)
    values["request_id"] = check.request_id or new_request_id()
    return fill(gate_service_pb2.CheckRequest(), **values)


def _read_result(result: gate_service_pb2.CheckResult) -> Decision | ConsentryError:
    match result.WhichOneof("result"):
        case "response":
            return read_check(result.response)
        case "status":
            return from_item(result.status)
        case _:
            return Unavailable("the item has neither a decision nor an error: do not process")


# -- registry ----------------------------------------------------------------------------------------------------------


def publish_notice(notice: inputs.Notice, *, request_id: str = "") -> Call[registry_service_pb2.PublishNoticeResponse]:
    """Publish one version of a notice.

    Raises:
        Conflict: the version exists.
    """
    request = fill(
        registry_service_pb2.PublishNoticeRequest(), request_id=request_id or new_request_id(), notice=notice
    )
    return Call("RegistryService", "PublishNotice", request, same)


def list_notices(
    *, notice_id: str = "", effective_at_time: datetime | None = None, page_size: int = 0
) -> Listing[notice_pb2.Notice]:
    """List published notices by id and version; with a time, the version of each that is in effect then."""
    request = fill(
        registry_service_pb2.ListNoticesRequest(),
        notice_id=notice_id,
        effective_at_time=effective_at_time,
        page_size=page_size,
    )
    return Listing("RegistryService", "ListNotices", request, "notices")


def diff_notices(notice_id: str, from_version: int, to_version: int) -> Call[registry_service_pb2.DiffNoticesResponse]:
    """Compare two versions of a notice: what changed, whether people have to be asked again, and how many.

    Raises:
        NotFound: no such version.
    """
    request = registry_service_pb2.DiffNoticesRequest(
        notice_id=notice_id, from_version=from_version, to_version=to_version
    )
    return Call("RegistryService", "DiffNotices", request, same)


def publish_retention_policy(
    policy: inputs.RetentionPolicy, *, request_id: str = ""
) -> Call[registry_service_pb2.PublishRetentionPolicyResponse]:
    """Publish one version of the written retention policy (740 ILCS 14/15(a)).

    Raises:
        Conflict: the version exists.
    """
    request = fill(
        registry_service_pb2.PublishRetentionPolicyRequest(), request_id=request_id or new_request_id(), policy=policy
    )
    return Call("RegistryService", "PublishRetentionPolicy", request, same)


def record_notice_delivery(
    subject_id: str, delivery: inputs.Delivery, *, claims: inputs.Claims | None = None, request_id: str = ""
) -> Call[registry_service_pb2.RecordNoticeDeliveryResponse]:
    """Record that a notice version reached a person; one who is new is put on record.

    Raises:
        NotFound: no such notice.
        InvalidRequest: the text shown is not the notice's (``DIGEST_MISMATCH``).
    """
    request = fill(
        registry_service_pb2.RecordNoticeDeliveryRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        delivery=delivery,
        claims=claims,
    )
    return Call("RegistryService", "RecordNoticeDelivery", request, same)


def record_release(
    subject_id: str, release: inputs.Release, *, claims: inputs.Claims | None = None, request_id: str = ""
) -> Call[registry_service_pb2.RecordReleaseResponse]:
    """Record a written release. Give the receipt that comes back to the person.

    Raises:
        Conflict: no delivery of that notice version to that signer came before (``NOTICE_NOT_DELIVERED``).
        InvalidRequest: no act of signing (``NO_INTENT_TO_SIGN``), or more than its notice covers.
    """
    request = fill(
        registry_service_pb2.RecordReleaseRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        release=release,
        claims=claims,
    )
    return Call("RegistryService", "RecordRelease", request, same)


def withdraw_release(
    subject_id: str,
    *,
    release_id: str = "",
    reason: str = "",
    channel: NoticeChannel = NoticeChannel.UNSPECIFIED,
    occur_time: datetime | None = None,
    expedite: bool = False,
    request_id: str = "",
) -> Call[registry_service_pb2.WithdrawReleaseResponse]:
    """Withdraw one release, or all of a person's where none is named. Effective with its ledger entry.

    Raises:
        Conflict: it is withdrawn already, or none is left.
    """
    request = fill(
        registry_service_pb2.WithdrawReleaseRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        release_id=release_id,
        reason=reason,
        channel=channel,
        occur_time=occur_time,
        expedite=expedite,
    )
    return Call("RegistryService", "WithdrawRelease", request, same)


def record_interaction(
    subject_id: str,
    *,
    occur_time: datetime | None = None,
    claims: inputs.Claims | None = None,
    request_id: str = "",
) -> Call[registry_service_pb2.RecordInteractionResponse]:
    """Record that a person interacted with the tenant, which moves clocks of last interaction; and what is claimed."""
    request = fill(
        registry_service_pb2.RecordInteractionRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        occur_time=occur_time,
        claims=claims,
    )
    return Call("RegistryService", "RecordInteraction", request, same)


def record_purpose_satisfied(
    subject_id: str,
    purposes: Sequence[Purpose] = (),
    *,
    end: PurposeEnd = PurposeEnd.SATISFIED,
    occur_time: datetime | None = None,
    extend: bool = False,
    extension_reason: str = "",
    request_id: str = "",
) -> Call[registry_service_pb2.RecordPurposeSatisfiedResponse]:
    """Record that purposes ended; what lost its last purpose is destroyed."""
    request = fill(
        registry_service_pb2.RecordPurposeSatisfiedRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        purposes=purposes,
        end=end,
        occur_time=occur_time,
        extend=extend,
        extension_reason=extension_reason,
    )
    return Call("RegistryService", "RecordPurposeSatisfied", request, same)


def record_opt_out(
    subject_id: str,
    purposes: Sequence[Purpose] = (),
    *,
    occur_time: datetime | None = None,
    request_id: str = "",
) -> Call[registry_service_pb2.RecordOptOutResponse]:
    """Record that a person asked to limit or to opt out; no purposes means all of them."""
    request = fill(
        registry_service_pb2.RecordOptOutRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        purposes=purposes,
        occur_time=occur_time,
    )
    return Call("RegistryService", "RecordOptOut", request, same)


def record_employment_ended(
    subject_id: str, *, occur_time: datetime | None = None, request_id: str = ""
) -> Call[registry_service_pb2.RecordEmploymentEndedResponse]:
    """Record the end of an employment, which ends its releases and purposes.

    Raises:
        Conflict: the person is not on record as an employee.
    """
    request = fill(
        registry_service_pb2.RecordEmploymentEndedRequest(),
        request_id=request_id or new_request_id(),
        subject_id=subject_id,
        occur_time=occur_time,
    )
    return Call("RegistryService", "RecordEmploymentEnded", request, same)


def record_determination(
    determination: inputs.Determination, *, request_id: str = ""
) -> Call[registry_service_pb2.RecordDeterminationResponse]:
    """Record a legal determination. One that loosens has no effect until another officer approves it."""
    request = fill(
        registry_service_pb2.RecordDeterminationRequest(),
        request_id=request_id or new_request_id(),
        determination=determination,
    )
    return Call("RegistryService", "RecordDetermination", request, same)


def approve_determination(
    determination_id: str, *, request_id: str = ""
) -> Call[registry_service_pb2.RecordDeterminationResponse]:
    """Approve a determination as the second officer.

    Raises:
        PermissionDenied: the officer who recorded it cannot approve it (``SECOND_APPROVER_REQUIRED``).
    """
    request = fill(
        registry_service_pb2.RecordDeterminationRequest(),
        request_id=request_id or new_request_id(),
        approves_determination_id=determination_id,
    )
    return Call("RegistryService", "RecordDetermination", request, same)


def revoke_determination(
    determination_id: str, *, request_id: str = ""
) -> Call[registry_service_pb2.RecordDeterminationResponse]:
    """Revoke a determination: it allows nothing from then on. One officer is enough.

    Raises:
        Conflict: it is revoked already, or expired.
    """
    request = fill(
        registry_service_pb2.RecordDeterminationRequest(),
        request_id=request_id or new_request_id(),
        revokes_determination_id=determination_id,
    )
    return Call("RegistryService", "RecordDetermination", request, same)


def switch_enforcement(
    operation: Operation, *, enforced: bool, effective_time: datetime, request_id: str = ""
) -> Call[registry_service_pb2.RecordDeterminationResponse]:
    """Switch an operation between enforcing and observing, as an officer.

    Enforcing takes one officer. Observing has no effect until another officer approves the ``enforcement_id`` that
    comes back, with `approve_determination`; its answers say ``observed_only`` and carry no permit.

    Raises:
        InvalidRequest: it would count for the past.
    """
    request = fill(
        registry_service_pb2.RecordDeterminationRequest(),
        request_id=request_id or new_request_id(),
        enforcement=inputs.EnforcementChange(operation=operation, enforced=enforced, effective_time=effective_time),
    )
    return Call("RegistryService", "RecordDetermination", request, same)


def record_statement(
    statement: inputs.PublicStatement, *, request_id: str = ""
) -> Call[registry_service_pb2.RecordStatementResponse]:
    """Record a public statement: what it excludes is denied from then on, released or not.

    Raises:
        InvalidRequest: it excludes nothing.
    """
    request = fill(
        registry_service_pb2.RecordStatementRequest(), request_id=request_id or new_request_id(), statement=statement
    )
    return Call("RegistryService", "RecordStatement", request, same)


def activate_pack(
    pack_id: str, version: int, sha256: bytes, *, toml: bytes = b"", request_id: str = ""
) -> Call[registry_service_pb2.ActivatePackResponse]:
    """Activate a law pack that ships with the server, or with ``toml`` (at most 1 MiB) a pack of your own.

    Raises:
        InvalidRequest: it is no pack, or could loosen; the message names rule and key (``PACK_INVALID``).
        Conflict: a newer version is active, or this one.
    """
    request = fill(
        registry_service_pb2.ActivatePackRequest(),
        request_id=request_id or new_request_id(),
        pack_id=pack_id,
        version=version,
        sha256=sha256,
        toml=toml,
    )
    return Call("RegistryService", "ActivatePack", request, same)


def check_posture(
    regions: Sequence[str] = (), *, persist: bool = False, request_id: str = ""
) -> Call[registry_service_pb2.CheckPostureResponse]:
    """Show what notices, policy, packs and settings lack under each law, strictest first; no region: all known ones.

    With ``persist`` the result is kept in the ledger.
    """
    request = fill(
        registry_service_pb2.CheckPostureRequest(),
        regions=regions,
        persist=persist,
        request_id=(request_id or new_request_id()) if persist else "",
    )
    return Call("RegistryService", "CheckPosture", request, same, Kind.REPORT)


def get_subject(subject_id: str = "", *, subject_ref: str = "") -> Call[registry_service_pb2.GetSubjectResponse]:
    """Show what is on record about one person, named by the caller's own id or by the pseudonym ("sub_...")."""
    request = registry_service_pb2.GetSubjectRequest(subject=_subject(subject_id, subject_ref))
    return Call("RegistryService", "GetSubject", request, same)


# -- vault -------------------------------------------------------------------------------------------------------------


def store_identifier(
    permit: str, identifier: inputs.Identifier, template: bytes, *, face_index: int = 0, request_id: str = ""
) -> Call[StoredIdentifier]:
    """Store one template (1 to 65,536 bytes) under a permit. A denial is a result.

    Raises:
        PermissionDenied: the permit does not fit, is expired, or its basis is gone.
    """
    request = fill(
        vault_service_pb2.StoreIdentifierRequest(),
        request_id=request_id or new_request_id(),
        permit=permit,
        face_index=face_index,
        identifier=identifier,
        template=template,
    )
    return Call("VaultService", "StoreIdentifier", request, read_stored_identifier)


def open_identifier(permit: str, identifier_id: str) -> Call[OpenedIdentifier]:
    """Open one identifier under a permit.

    Raises:
        PermissionDenied: the permit does not fit, is expired, or its basis is gone.
        Conflict: it is destroyed.
    """
    request = fill(vault_service_pb2.OpenIdentifierRequest(), permit=permit, identifier_id=identifier_id)
    return Call("VaultService", "OpenIdentifier", request, read_opened_identifier)


def list_identifiers(
    subject_id: str = "", *, subject_ref: str = "", page_size: int = 0
) -> Listing[identifier_pb2.Identifier]:
    """List a person's identifiers, without templates, newest first."""
    request = fill(
        vault_service_pb2.ListIdentifiersRequest(), subject=_subject(subject_id, subject_ref), page_size=page_size
    )
    return Listing("VaultService", "ListIdentifiers", request, "identifiers")


def record_derived(
    artifact: inputs.DerivedArtifact, *, request_id: str = ""
) -> Call[vault_service_pb2.RecordDerivedResponse]:
    """Record at once what a data set or model was made from; what is not on record is denied later.

    Where the consent behind a source was invalid the answer says ``artifact.tainted``: a result, and no error.

    Raises:
        NotFound: no such decision or source.
        Conflict: the decision is about something else, or the artifact is known with another kind.
    """
    request = fill(
        vault_service_pb2.RecordDerivedRequest(), request_id=request_id or new_request_id(), artifact=artifact
    )
    return Call("VaultService", "RecordDerived", request, same)


# -- retention and audit -----------------------------------------------------------------------------------------------


def get_destruction_certificate(
    destruction_id: str,
) -> Call[retention_service_pb2.GetDestructionCertificateResponse]:
    """Get the certificate of a destruction as it stands now: never more than was reached."""
    request = fill(retention_service_pb2.GetDestructionCertificateRequest(), destruction_id=destruction_id)
    return Call("RetentionService", "GetDestructionCertificate", request, same)


def list_entries(
    *,
    from_index: int = 0,
    until_index: int | None = None,
    from_time: datetime | None = None,
    until_time: datetime | None = None,
    types: Sequence[str] = (),
    subject_id: str = "",
    subject_ref: str = "",
    photo: inputs.Photo | None = None,
    outcomes: Sequence[Outcome] = (),
    rule_id: str = "",
    actor: str = "",
    page_size: int = 0,
) -> Listing[ledger_pb2.Entry]:
    """List ledger entries as they are stored, by index. Filters combine."""
    request = fill(
        audit_service_pb2.ListEntriesRequest(),
        from_index=from_index,
        until_index=until_index,
        from_time=from_time,
        until_time=until_time,
        types=types,
        subject=_subject(subject_id, subject_ref) if subject_id or subject_ref else None,
        photo=photo_reference(photo),
        outcomes=outcomes,
        rule_id=rule_id,
        actor=actor,
        page_size=page_size,
    )
    return Listing("AuditService", "ListEntries", request, "entries")


def replay_decisions(
    *,
    from_index: int = 0,
    until_index: int | None = None,
    decision_id: str = "",
    pack_tomls: Sequence[bytes] = (),
) -> Stream[audit_service_pb2.ReplayDecisionsResponse]:
    """Have recorded decisions decided again; yields each that does not come out the same, and how far it is.

    Args:
        from_index: Decisions from this index on.
        until_index: Up to but without this index; None for the end.
        decision_id: Only this decision.
        pack_tomls: Packs that stand in for those of the day with the same id.

    Raises:
        InvalidRequest: a pack cannot be read.
    """
    request = fill(
        audit_service_pb2.ReplayDecisionsRequest(),
        from_index=from_index,
        until_index=until_index,
        decision_id=decision_id,
        pack_tomls=pack_tomls,
    )
    return Stream("AuditService", "ReplayDecisions", request, same)


def get_checkpoint() -> Call[audit_service_pb2.GetCheckpointResponse]:
    """Get the latest signed checkpoint."""
    return Call("AuditService", "GetCheckpoint", audit_service_pb2.GetCheckpointRequest(), same)


def get_inclusion_proof(index: int, *, tree_size: int = 0) -> Call[audit_service_pb2.GetInclusionProofResponse]:
    """Prove that an entry is in a tree (RFC 6962, section 2.1.1); size 0: that of the latest checkpoint."""
    request = fill(audit_service_pb2.GetInclusionProofRequest(), index=index, tree_size=tree_size)
    return Call("AuditService", "GetInclusionProof", request, same)


def get_consistency_proof(
    first_tree_size: int, *, second_tree_size: int = 0
) -> Call[audit_service_pb2.GetConsistencyProofResponse]:
    """Prove that one tree is a prefix of another (RFC 6962, section 2.1.2); size 0: that of the latest checkpoint."""
    request = fill(
        audit_service_pb2.GetConsistencyProofRequest(),
        first_tree_size=first_tree_size,
        second_tree_size=second_tree_size,
    )
    return Call("AuditService", "GetConsistencyProof", request, same)


def _subject(subject_id: str, subject_ref: str) -> subject_pb2.SubjectReference:
    return fill(subject_pb2.SubjectReference(), subject_id=subject_id, subject_ref=subject_ref)
