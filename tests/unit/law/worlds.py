"""Facts for the law's tests: one world in which everything is right, ways to spoil it, and strategies over both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from consentry_server.core.law import Decision, Pack, decide, load_pack
from consentry_server.core.record.artifacts import ArtifactState
from consentry_server.core.record.facts import (
    Delivery,
    Determination,
    Face,
    FoundUnnecessary,
    Notice,
    OperationRequest,
    OptOut,
    Release,
    RetentionPolicy,
    SatisfiedPurpose,
    Subject,
    Tenant,
    Term,
    Withdrawal,
)
from consentry_server.core.record.house import Refusal, Statement
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    EntityType,
    KnownBy,
    NoticeChannel,
    Operation,
    Outcome,
    Publisher,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    SourceKind,
    TermEnd,
    Visibility,
    Vouching,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HASH = "ab" * 32
UNKNOWN_REGIONS = frozenset({"US-IL", "US-TX", "US-CO", "US-WA", "EU"})
PERMITS = frozenset({Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC})
ILLINOIS = frozenset({"US-IL"})


def pack_bytes(name: str) -> bytes:
    return resources.files("consentry_server.core.law").joinpath("packs", name).read_bytes()


IL = load_pack(pack_bytes("us-il-bipa.toml"), name="us-il-bipa.toml")
HOUSE = load_pack(pack_bytes("house-base.toml"), name="house-base.toml")
PACKS: tuple[Pack, ...] = (IL, HOUSE)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def make_notice(**changes: Any) -> Notice:
    made = Notice(
        notice_id="notice",
        version=1,
        index=10,
        effective_time=NOW - days(30),
        language="en",
        says_collected_or_stored=True,
        purposes=frozenset({Purpose.TAGGING}),
        categories=frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE}),
        term=Term(duration=days(365)),
        recipients=frozenset(),
        text_sha256=HASH,
    )
    return replace(made, **changes)


def make_delivery(**changes: Any) -> Delivery:
    made = Delivery(
        delivery_id="dlv_1",
        index=20,
        time=NOW - days(20),
        occurred_at=NOW - days(20),
        notice_id="notice",
        notice_version=1,
        channel=NoticeChannel.IN_APP,
        signer_role=SignerRole.SELF,
        acknowledged=True,
        vouching=Vouching.CALLER_ASSERTED,
    )
    return replace(made, **changes)


def make_release(**changes: Any) -> Release:
    made = Release(
        release_id="rel_1",
        index=30,
        time=NOW - days(10),
        signed_at=NOW - days(10),
        delivery_id="dlv_1",
        notice_id="notice",
        notice_version=1,
        form=ReleaseForm.ELECTRONIC_SIGNATURE,
        process=SignatureProcess.CLICK_TO_SIGN,
        signer_role=SignerRole.SELF,
        authority_basis=AuthorityBasis.NONE,
        purposes=frozenset({Purpose.TAGGING}),
        categories=frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE}),
        recipients=frozenset(),
        scopes=frozenset({ConsentScope.COLLECT}),
        explicit=True,
        condition_of_employment=False,
        vouching=Vouching.CALLER_ASSERTED,
        signed_document_sha256=HASH,
    )
    return replace(made, **changes)


def make_policy(**changes: Any) -> RetentionPolicy:
    made = RetentionPolicy(
        policy_id="retention",
        version=1,
        index=5,
        effective_time=NOW - days(40),
        url="https://acme.example/retention",
        text_sha256=HASH,
        has_schedule=True,
        has_destruction_guidelines=True,
    )
    return replace(made, **changes)


def make_determination(kind: DeterminationKind, **changes: Any) -> Determination:
    made = Determination(
        determination_id="det_1",
        index=7,
        time=NOW - days(5),
        kind=kind,
        operations=frozenset(),
        purposes=frozenset(),
        algorithm_id="",
        algorithm_version="",
        subject_ref="",
        expires_at=NOW + days(90),
        decided_by="officer-a",
        approved_by="officer-b",
        approved_index=8,
    )
    return replace(made, **changes)


def make_subject(**changes: Any) -> Subject:
    made = Subject(
        subject_ref="sub-anna",
        regions=ILLINOIS,
        age_band=AgeBand.ADULT,
        relationship=Relationship.CONSUMER,
        deliveries=(make_delivery(),),
        releases=(make_release(),),
        last_interaction=NOW - days(10),
    )
    return replace(made, **changes)


def make_tenant(*notices: Notice, **changes: Any) -> Tenant:
    made = Tenant(
        policies=(make_policy(),),
        encrypted_at_rest=True,
        encrypted_in_transit=True,
        protection_at_least_other_sensitive=True,
        notices={(n.notice_id, n.version): n for n in (notices or (make_notice(),))},
    )
    return replace(made, **changes)


def make_request(operation: Operation = Operation.EXTRACT_TEMPLATE, **changes: Any) -> OperationRequest:
    made = OperationRequest(operation=operation, purpose=Purpose.TAGGING, category=DataCategory.PHOTO)
    return replace(made, **changes)


def named(subject: Subject | None = None, **changes: Any) -> Face:
    return replace(Face(subject or make_subject(), KnownBy.DECLARED_BY_UPLOADER), **changes)


STRANGER = Face(subject=None)


def ask(
    request: OperationRequest | None = None,
    face: Face | None = None,
    tenant: Tenant | None = None,
    *,
    packs: Sequence[Pack] = PACKS,
    now: datetime = NOW,
    unknown: frozenset[str] = ILLINOIS,
    faces: Sequence[Face] | None = None,
) -> Decision:
    """Decide with whatever is given, and the right world for the rest."""
    return decide(
        request or make_request(),
        faces if faces is not None else (face or named(),),
        tenant or make_tenant(),
        packs,
        now=now,
        unknown_regions=unknown,
    )


def codes(decision: Decision) -> set[str]:
    return {reason.code for reason in decision.reasons}


@dataclass(frozen=True)
class World:
    """Everything one decision is made of."""

    request: OperationRequest
    face: Face
    tenant: Tenant

    def ask(self, **kwargs: Any) -> Decision:
        return ask(self.request, self.face, self.tenant, **kwargs)


def mostly(right: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The right value most of the time, so that a generated world is spoilt in few places."""
    return st.sampled_from([right] * (9 * len(others)) + list(others))


FACTS = st.sampled_from([None, True, False])
_CATEGORIES = frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE})
_ALL_SCOPES = frozenset({ConsentScope.COLLECT, ConsentScope.SHARE, ConsentScope.TRAIN})


@st.composite
def requests(draw: st.DrawFn) -> OperationRequest:
    recipient = draw(mostly("", "vendor"))
    return OperationRequest(
        operation=draw(st.sampled_from(Operation)),
        purpose=draw(st.sampled_from([Purpose.TAGGING, *Purpose])),
        category=draw(
            st.sampled_from([DataCategory.PHOTO] * 12 + [DataCategory.FACE_TEMPLATE] * 8 + list(DataCategory))
        ),
        source_kind=draw(st.sampled_from(SourceKind)),
        recipient_id=recipient,
        disclosure_basis=draw(
            st.sampled_from(DisclosureBasis) if recipient else mostly(DisclosureBasis.NONE, DisclosureBasis.CONSENT)
        ),
        has_disclosure_evidence=draw(st.booleans()),
        consideration=draw(mostly(Consideration.NONE, Consideration.UNKNOWN, Consideration.VALUE)),
        uses_face_geometry=draw(FACTS),
        identifies=draw(FACTS),
        stored=draw(FACTS),
        linked_identity=draw(FACTS),
        algorithm_id=draw(st.sampled_from(["", "algo", "other"])),
        algorithm_version=draw(st.sampled_from(["", "1", "2"])),
        visibility=draw(mostly(Visibility.PUBLIC, *Visibility)),
        published_by=draw(mostly(Publisher.SUBJECT, *Publisher)),
        new_york_city_establishment=draw(mostly(None, True, False)),
        portland_public_accommodation=draw(mostly(None, True, False)),
        artifact_state=draw(mostly(ArtifactState.NONE, *ArtifactState)),
    )


@st.composite
def statements(draw: st.DrawFn, request: OperationRequest) -> Statement:
    """A public statement, sometimes about the request."""
    return Statement(
        statement_id="sta_1",
        index=50,
        time=NOW - days(3),
        stated_at=NOW - days(4),
        operations=frozenset({draw(st.sampled_from([request.operation, *Operation]))}),
        text_sha256=HASH,
        purposes=draw(st.sampled_from([frozenset(), frozenset({request.purpose}), frozenset({Purpose.RESEARCH})])),
        only_visibilities=draw(st.sampled_from([frozenset(), frozenset({Visibility.PUBLIC})])),
        excluded_categories=draw(
            st.sampled_from([frozenset({request.category}), frozenset({DataCategory.MESSAGE_CONTENT})])
        ),
    )


def refusal_of(request: OperationRequest, rules: frozenset[str]) -> Refusal:
    """A question that an officer refused."""
    algorithm = f"{request.algorithm_id} {request.algorithm_version}".rstrip() if request.algorithm_id else ""
    return Refusal(
        review_id="rev_1",
        index=51,
        time=NOW - days(2),
        operation=request.operation,
        purpose=request.purpose,
        category=request.category,
        rules=rules,
        algorithm=algorithm,
    )


@st.composite
def releases(draw: st.DrawFn, request: OperationRequest, number: int) -> tuple[Delivery, Release]:
    """A delivery and a release, mostly right for the request."""
    purposes = frozenset({request.purpose})
    others = frozenset({Purpose.ADVERTISING})
    role = draw(mostly(SignerRole.SELF, SignerRole.REPRESENTATIVE))
    ref = "rep-1" if role is SignerRole.REPRESENTATIVE else ""
    told = NOW + draw(mostly(days(-20), days(-9), days(1)))
    signed = NOW + draw(mostly(days(-10), days(-900), timedelta(0), days(1)))
    delivery = make_delivery(
        delivery_id=f"dlv_{number}",
        index=draw(mostly(20, 31)),
        time=told,
        occurred_at=draw(mostly(told, told + days(15))),
        notice_version=draw(mostly(1, 2, 9)),
        channel=draw(mostly(NoticeChannel.IN_APP, *NoticeChannel)),
        signer_role=draw(mostly(role, *SignerRole)),
        representative_ref=draw(mostly(ref, "rep-2")),
    )
    release = make_release(
        release_id=f"rel_{number}",
        index=30 + number,
        time=signed,
        signed_at=draw(mostly(signed, signed + days(1), datetime(2024, 8, 1, 23, 59, tzinfo=UTC))),
        delivery_id=draw(mostly(f"dlv_{number}", "dlv_none")),
        notice_version=draw(mostly(delivery.notice_version, 1, 2)),
        form=draw(st.sampled_from(ReleaseForm)),
        process=draw(mostly(SignatureProcess.CLICK_TO_SIGN, *SignatureProcess)),
        signer_role=role,
        authority_basis=draw(
            st.sampled_from(AuthorityBasis) if ref else mostly(AuthorityBasis.NONE, AuthorityBasis.PARENT)
        ),
        representative_ref=draw(mostly(ref, "")),
        purposes=draw(mostly(purposes, others, purposes | others)),
        categories=draw(
            mostly(
                _CATEGORIES | {request.category}, frozenset({DataCategory.FACE_GEOMETRY}), frozenset({request.category})
            )
        ),
        recipients=draw(mostly(frozenset({"vendor"}), frozenset())),
        scopes=draw(mostly(_ALL_SCOPES, frozenset(), *({scope} for scope in ConsentScope))),
        condition_of_employment=draw(mostly(False, True)),
        signed_document_sha256=draw(mostly(HASH, "")),
        expires_at=draw(mostly(None, NOW, NOW - days(1), NOW + days(1))),
        withdrawn_at=draw(mostly(None, NOW - days(1), NOW)),
    )
    return delivery, release


@st.composite
def determinations(draw: st.DrawFn, request: OperationRequest) -> Determination:
    return make_determination(
        draw(st.sampled_from(DeterminationKind)),
        time=NOW + draw(mostly(days(-5), days(1))),
        operations=draw(mostly(frozenset({request.operation}), frozenset(), frozenset({Operation.STORE}))),
        purposes=draw(mostly(frozenset({request.purpose}), frozenset(), frozenset({Purpose.RESEARCH}))),
        algorithm_id=draw(mostly(request.algorithm_id, "algo", "")),
        algorithm_version=draw(mostly(request.algorithm_version, "1", "")),
        subject_ref=draw(st.sampled_from(["", "sub-anna", "sub-other"])),
        expires_at=NOW + draw(mostly(days(90), timedelta(0), days(-1))),
        approved_by=draw(mostly("officer-b", "", "officer-a")),
        recipient_id=draw(mostly("", request.recipient_id, "other")),
        revoked_index=draw(mostly(-1, 45)),
    )


@st.composite
def worlds(
    draw: st.DrawFn, regions: frozenset[str] = ILLINOIS, asked: st.SearchStrategy[OperationRequest] | None = None
) -> World:
    """A world that is mostly right for a request."""
    request = draw(requests() if asked is None else asked)
    purposes = frozenset({request.purpose})
    notices = [
        make_notice(
            version=version,
            index=draw(mostly(10, 25)),
            effective_time=NOW + draw(mostly(days(-30), days(1))),
            says_collected_or_stored=draw(mostly(True, False)),
            purposes=draw(mostly(purposes, frozenset({Purpose.ADVERTISING}), frozenset(Purpose))),
            categories=draw(
                mostly(
                    _CATEGORIES | {request.category},
                    frozenset({request.category}),
                    frozenset({DataCategory.FACE_GEOMETRY}),
                )
            ),
            term=draw(
                mostly(
                    Term(duration=days(365)),
                    None,
                    Term(),
                    Term(duration=timedelta(0)),
                    Term(duration=days(10)),
                    *(Term(end=end) for end in TermEnd),
                )
            ),
            recipients=draw(mostly(frozenset({"vendor"}), frozenset())),
        )
        for version in (1, 2)
    ]
    chains = [draw(releases(request, number)) for number in range(draw(mostly(1, 0, 2)))]
    subject = make_subject(
        regions=regions,
        age_band=draw(mostly(AgeBand.ADULT, *AgeBand)),
        relationship=draw(st.sampled_from(Relationship)),
        deliveries=tuple(delivery for delivery, _ in chains),
        releases=tuple(release for _, release in chains),
        last_interaction=draw(mostly(NOW - days(10), None, NOW - days(2000), NOW + days(5))),
        satisfied=draw(
            mostly(
                (),
                (SatisfiedPurpose(request.purpose, 40, NOW - days(1)),),
                (SatisfiedPurpose(request.purpose, 22, NOW - days(12)),),
                (SatisfiedPurpose(request.purpose, 22, NOW - days(5)),),
                (SatisfiedPurpose(request.purpose, 40, NOW - days(12)),),
                (SatisfiedPurpose(Purpose.LEGAL_PROCESS, 40, NOW),),
            )
        ),
        employment_ended_at=draw(mostly(None, NOW - days(1))),
        account_closed_at=draw(mostly(None, NOW - days(1))),
        opt_outs=draw(
            mostly(
                (),
                (OptOut(21, NOW - days(15)),),
                (OptOut(44, NOW - days(2)),),
                (OptOut(44, NOW - days(2), purposes),),
                (OptOut(44, NOW - days(2), frozenset({Purpose.RESEARCH})),),
            )
        ),
        unnecessary=draw(
            mostly(
                (),
                (FoundUnnecessary(request.purpose, 46, NOW - days(2)),),
                (FoundUnnecessary(request.purpose, 46, NOW - days(60), 47),),
            )
        ),
        withdrawals=draw(mostly((), (Withdrawal(29, NOW - days(9), frozenset()),))),
        outgrown_at=draw(mostly(None, NOW - days(1), NOW + days(90))),
        adult_since=draw(mostly(None, NOW - days(5), NOW - days(60))),
        child_index=draw(mostly(-1, 25, 48)),
    )
    face = draw(
        mostly(
            Face(subject, KnownBy.DECLARED_BY_UPLOADER),
            Face(subject),
            Face(None, regions=regions),
            Face(subject, KnownBy.MATCH, age_band=AgeBand.MINOR),
        )
    )
    tenant = make_tenant(
        *notices,
        entity_type=draw(mostly(EntityType.PRIVATE_ENTITY, EntityType.GOVERNMENT_AGENCY)),
        policies=draw(
            mostly(
                (make_policy(),),
                (),
                (make_policy(effective_time=NOW + days(1)),),
                (make_policy(), make_policy(version=2, index=6, has_schedule=False)),
            )
        ),
        determinations=tuple(draw(st.lists(determinations(request), max_size=1))),
        encrypted_at_rest=draw(mostly(True, False)),
        encrypted_in_transit=draw(mostly(True, False)),
        protection_at_least_other_sensitive=draw(mostly(True, False)),
        statements=draw(mostly((), (draw(statements(request)),))),
    )
    return World(request, face, tenant)
