"""The decided cases and the sections of the Act, by name. Source: cases.md section 9 and 10, statutes.md section 1.

The packs carry their own cases; here they run one by one, and what they cannot say in a table follows below.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry_server.core.law import CaseResult, ObligationKind, run_cases
from consentry_server.core.record.facts import SatisfiedPurpose, Term
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
)
from tests.unit.law.worlds import (
    HOUSE,
    IL,
    ILLINOIS,
    NOW,
    PACKS,
    STRANGER,
    ask,
    codes,
    days,
    make_delivery,
    make_determination,
    make_notice,
    make_policy,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

RESULTS = [result for pack in PACKS for result in run_cases(pack, PACKS)]
BOTH = frozenset({ConsentScope.COLLECT, ConsentScope.SHARE})
FACE = frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE})


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: f"{r.pack_id}:{r.id}")
def test_the_packs_own_cases(result: CaseResult) -> None:
    assert result.ok, result


def spoilt(**changes: Any) -> Any:
    """A face whose only release was spoilt in one respect."""
    return named(make_subject(releases=(make_release(**changes),)))


# rows of cases.md that take more than one step


def test_cothron_each_scan_is_judged_on_its_own() -> None:
    """Cothron v. White Castle, 2023 IL 128004."""
    signed = make_release().time
    before, at, after = (
        ask(now=signed + shift).outcome for shift in (timedelta(seconds=-1), timedelta(0), timedelta(days=1))
    )
    assert (before, at, after) == (Outcome.DENY, Outcome.ALLOW, Outcome.ALLOW)


def test_monroy_each_face_is_judged_on_its_own() -> None:
    """Monroy v. Shutterfly, 16 C 10984: an uploader's consent never covers others."""
    decision = ask(faces=(named(), STRANGER))
    assert [face.outcome for face in decision.faces] == [Outcome.ALLOW, Outcome.DENY]
    assert decision.outcome is Outcome.DENY
    assert decision.faces[0].release_ids == ("rel_1",)


def test_jones_a_pure_storage_processor_still_answers_for_retention_and_security() -> None:
    """Jones v. Microsoft (N.D. Ill. 2023-01-09)."""
    request = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE)
    assert ask(request).outcome is Outcome.ALLOW
    assert "POLICY_MISSING" in codes(ask(request, tenant=make_tenant(policies=())))
    assert "CARE_AT_REST" in codes(ask(request, tenant=make_tenant(encrypted_at_rest=False)))


def test_clearview_public_is_not_consented_in_any_region() -> None:
    """In re Clearview AI, 585 F. Supp. 3d 1111."""
    request = make_request(source_kind=SourceKind.SCRAPED, visibility=Visibility.PUBLIC, published_by=Publisher.SUBJECT)
    for region in ("US-IL", "US-TX", "US-OH", "DE"):
        face = named(make_subject(regions=frozenset({region}), releases=(), deliveries=()))
        assert ask(request, face).outcome is Outcome.DENY
        assert ask(request, STRANGER, unknown=frozenset({region})).outcome is Outcome.DENY


def test_t_x2_training_on_a_photo_that_the_person_published() -> None:
    """cases.md T-X2: the policy of 2023 names no training consent."""
    request = make_request(
        Operation.TRAIN_MODEL,
        purpose=Purpose.MODEL_TRAINING,
        visibility=Visibility.PUBLIC,
        published_by=Publisher.SUBJECT,
        uses_face_geometry=True,
    )
    assert ask(request).outcome is Outcome.DENY


def test_t_x8_the_term_of_thirty_days_ends_on_day_thirty() -> None:
    """cases.md T-X8: term 30 days; on day 31 nothing may be done, and the date was told before."""
    tenant = make_tenant(make_notice(term=Term(duration=days(30))))
    signed = make_release().time
    allowed = ask(tenant=tenant, now=signed + days(30) - timedelta(microseconds=1))
    assert allowed.outcome is Outcome.ALLOW
    assert {o.due for o in allowed.faces[0].obligations if o.kind is ObligationKind.DESTROY_BY} == {signed + days(30)}
    over = ask(tenant=tenant, now=signed + days(30))
    assert over.outcome is Outcome.DENY
    assert codes(over) == {"TERM_OVER"}


def test_the_sentence_of_2023_names_no_term() -> None:
    """X Corp. privacy policy of 2023-09-29 (statutes.md 10.1): everything else right, the term alone is missing."""
    decision = ask(tenant=make_tenant(make_notice(term=None)))
    assert decision.outcome is Outcome.DENY
    assert codes(decision) == {"NOTICE_TERM_MISSING"}
    (reason,) = decision.reasons
    assert reason.citation == "740 ILCS 14/15(b)(2)"
    told_only = named(make_subject(releases=()))
    assert codes(ask(face=told_only, tenant=make_tenant(make_notice(term=None)))) == {
        "NOTICE_TERM_MISSING",
        "RELEASE_MISSING",
    }


# section 15(a)


@pytest.mark.parametrize(
    "policies",
    [
        (),
        (make_policy(effective_time=NOW + days(1)),),
        (make_policy(has_schedule=False),),
        (make_policy(has_destruction_guidelines=False),),
        (make_policy(url=""),),
        (make_policy(), make_policy(version=2, index=6, has_schedule=False)),
    ],
)
def test_15a_nothing_is_kept_without_a_complete_policy_in_force(policies: Any) -> None:
    tenant = make_tenant(policies=policies)
    assert codes(ask(tenant=tenant)) == {"POLICY_MISSING"}
    store = make_request(Operation.STORE, purpose=Purpose.PHOTO_HOSTING)
    assert codes(ask(store, STRANGER, tenant)) == {"POLICY_MISSING"}


def test_15a_a_future_version_does_not_replace_the_one_in_force() -> None:
    policies = (make_policy(), make_policy(version=2, index=6, has_schedule=False, effective_time=NOW + days(1)))
    assert ask(tenant=make_tenant(policies=policies)).outcome is Outcome.ALLOW


def test_15a_what_leaves_nothing_behind_needs_no_policy() -> None:
    assert ask(make_request(stored=False), tenant=make_tenant(policies=())).outcome is Outcome.ALLOW
    assert ask(make_request(stored=None), tenant=make_tenant(policies=())).outcome is Outcome.DENY
    match = make_request(Operation.VERIFY, stored=False)
    assert ask(match, tenant=make_tenant(policies=())).outcome is Outcome.DENY


def test_15a_the_clock_runs_three_years_and_only_a_court_stops_it() -> None:
    request = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE)
    old = datetime(2023, 11, 23, 12, tzinfo=UTC)
    face = named(make_subject(last_interaction=old))
    assert ask(request, face, now=NOW - timedelta(seconds=1)).outcome is Outcome.ALLOW
    late = ask(request, face)
    assert codes(late) == {"RETENTION_OVER"}
    warrant = make_determination(
        DeterminationKind.LEGAL_PROCESS,
        operations=frozenset({Operation.RETAIN}),
        purposes=frozenset({Purpose.TAGGING}),
        subject_ref="sub-anna",
    )
    held = ask(request, face, make_tenant(determinations=(warrant,)))
    assert held.outcome is Outcome.ALLOW
    assert held.faces[0].determination_ids == ("det_1",)
    of_another = replace(warrant, subject_ref="sub-bert")
    assert ask(request, face, make_tenant(determinations=(of_another,))).outcome is Outcome.DENY
    for unbound in (replace(warrant, operations=frozenset()), replace(warrant, purposes=frozenset())):
        assert ask(request, face, make_tenant(determinations=(unbound,))).outcome is Outcome.DENY
    elsewhere = replace(request, recipient_id="vendor", consideration=Consideration.NONE)
    gone = make_release(scopes=BOTH, recipients=frozenset({"vendor"}), withdrawn_at=NOW - days(1))
    tenant = make_tenant(make_notice(recipients=frozenset({"vendor"})), determinations=(warrant,))
    assert ask(request, named(make_subject(releases=(gone,))), tenant).outcome is Outcome.ALLOW
    assert ask(elsewhere, named(make_subject(releases=(gone,))), tenant).outcome is Outcome.DENY
    use = make_request(Operation.VERIFY, category=DataCategory.FACE_TEMPLATE)
    nobody = named(make_subject(releases=()))
    assert ask(use, nobody, make_tenant(determinations=(warrant,))).outcome is Outcome.DENY


# section 15(b)

NOTICE_FAULTS = [
    ({"says_collected_or_stored": False}, "NOTICE_COLLECTION"),
    ({"purposes": frozenset({Purpose.ACCOUNT_SECURITY})}, "NOTICE_PURPOSE"),
    ({"categories": frozenset({DataCategory.PHOTO})}, "NOTICE_CATEGORY"),
    ({"categories": frozenset({DataCategory.FACE_GEOMETRY})}, "NOTICE_CATEGORY"),
    ({"term": None}, "NOTICE_TERM_MISSING"),
    ({"term": Term()}, "NOTICE_TERM_MISSING"),
    ({"term": Term(duration=timedelta(0))}, "NOTICE_TERM_MISSING"),
    ({"effective_time": NOW + timedelta(seconds=1)}, "NOTICE_NOT_EFFECTIVE"),
    ({"index": 25}, "NOTICE_AFTER_RELEASE"),
]


@pytest.mark.parametrize(("changes", "code"), NOTICE_FAULTS)
def test_15b1_15b2_one_fault_in_the_notice_denies_and_is_named(changes: Any, code: str) -> None:
    decision = ask(tenant=make_tenant(make_notice(**changes)))
    assert decision.outcome is Outcome.DENY
    assert code in codes(decision)


DELIVERY_FAULTS = [
    ({"channel": NoticeChannel.PUBLIC_POLICY_PAGE}, "NOTICE_ONLY_POSTED"),
    ({"channel": NoticeChannel.SIGN}, "NOTICE_ONLY_POSTED"),
    ({"notice_version": 2}, "NOTICE_UNKNOWN"),
    ({"notice_id": "other"}, "NOTICE_MISMATCH"),
    ({"signer_role": SignerRole.REPRESENTATIVE, "representative_ref": "rep"}, "NOTICE_MISMATCH"),
    ({"representative_ref": "rep"}, "NOTICE_MISMATCH"),
    ({"signer_role": SignerRole.REPRESENTATIVE}, "NOTICE_MISMATCH"),
    ({"index": 31}, "NOTICE_AFTER_RELEASE"),
    ({"time": NOW - days(9)}, "NOTICE_AFTER_RELEASE"),
    ({"occurred_at": NOW - days(9)}, "NOTICE_AFTER_RELEASE"),
    ({"delivery_id": "dlv_2"}, "NOTICE_NOT_DELIVERED"),
]


@pytest.mark.parametrize(("changes", "code"), DELIVERY_FAULTS)
def test_15b_one_fault_in_the_delivery_denies_and_is_named(changes: Any, code: str) -> None:
    decision = ask(face=named(make_subject(deliveries=(make_delivery(**changes),))))
    assert decision.outcome is Outcome.DENY
    assert code in codes(decision)


RELEASE_FAULTS = [
    ({"time": NOW + timedelta(microseconds=1)}, "RELEASE_NOT_YET_RECORDED"),
    ({"signed_at": NOW + days(1)}, "RELEASE_NOT_YET_RECORDED"),
    ({"withdrawn_at": NOW - days(1), "withdrawn_index": 40}, "RELEASE_WITHDRAWN"),
    ({"withdrawn_at": NOW + days(1)}, "RELEASE_WITHDRAWN"),
    ({"withdrawn_index": 40}, "RELEASE_WITHDRAWN"),
    ({"expires_at": NOW}, "RELEASE_EXPIRED"),
    ({"purposes": frozenset({Purpose.ADVERTISING})}, "RELEASE_PURPOSE"),
    ({"categories": frozenset({DataCategory.PHOTO})}, "RELEASE_CATEGORY"),
    ({"categories": frozenset({DataCategory.FACE_GEOMETRY})}, "RELEASE_CATEGORY"),
    ({"scopes": frozenset()}, "RELEASE_SCOPE"),
    ({"scopes": frozenset({ConsentScope.SHARE})}, "RELEASE_SCOPE"),
    ({"form": ReleaseForm.EMPLOYMENT_RELEASE}, "RELEASE_FORM"),
    ({"condition_of_employment": True}, "RELEASE_FORM"),
    ({"process": SignatureProcess.PAGE_VIEW}, "RELEASE_NOT_SIGNED"),
    ({"process": SignatureProcess.CONTINUED_USE}, "RELEASE_NOT_SIGNED"),
    ({"process": SignatureProcess.WET_INK}, "RELEASE_NOT_SIGNED"),
    ({"form": ReleaseForm.WRITTEN_CONSENT, "process": SignatureProcess.SPOKEN_ASSENT}, "RELEASE_NOT_SIGNED"),
    ({"form": ReleaseForm.WRITTEN_CONSENT, "process": SignatureProcess.CONTINUED_USE}, "RELEASE_NOT_SIGNED"),
    ({"signed_document_sha256": ""}, "RELEASE_DOCUMENT"),
    ({"notice_version": 2}, "NOTICE_MISMATCH"),
    ({"representative_ref": "rep"}, "RELEASE_SIGNER"),
]


@pytest.mark.parametrize(("changes", "code"), RELEASE_FAULTS)
def test_15b3_one_fault_in_the_release_denies_and_is_named(changes: Any, code: str) -> None:
    decision = ask(face=spoilt(**changes))
    assert decision.outcome is Outcome.DENY
    assert code in codes(decision)


@pytest.mark.parametrize("process", list(SignatureProcess))
@pytest.mark.parametrize("form", [ReleaseForm.WRITTEN_CONSENT, ReleaseForm.ELECTRONIC_SIGNATURE])
def test_10_a_signature_needs_an_act_with_intent(form: ReleaseForm, process: SignatureProcess) -> None:
    """740 ILCS 14/10: "executed or adopted by a person with the intent to sign the record"."""
    never = {SignatureProcess.PAGE_VIEW, SignatureProcess.CONTINUED_USE}
    wrong = SignatureProcess.SPOKEN_ASSENT if form is ReleaseForm.WRITTEN_CONSENT else SignatureProcess.WET_INK
    expected = Outcome.DENY if process in never | {wrong} else Outcome.ALLOW
    assert ask(face=spoilt(form=form, process=process)).outcome is expected


def test_10_electronic_signatures_count_from_2_august_2024() -> None:
    """P.A. 103-0769, effective 2024-08-02; ink was always good."""
    amended = datetime(2024, 8, 2, tzinfo=UTC)
    long_ago = amended - days(90)
    notice = make_notice(term=Term(end=TermEnd.PURPOSE_SATISFIED), effective_time=long_ago)
    tenant = make_tenant(notice, policies=(make_policy(effective_time=long_ago),))
    delivery = make_delivery(time=amended - days(60), occurred_at=amended - days(60))

    def signed(when: datetime, **changes: Any) -> Outcome:
        release = make_release(time=when, signed_at=when, **changes)
        face = named(make_subject(deliveries=(delivery,), releases=(release,)))
        return ask(face=face, tenant=tenant, now=amended + days(1)).outcome

    early = amended - timedelta(microseconds=1)
    assert signed(early) is Outcome.DENY
    assert signed(amended) is Outcome.ALLOW
    assert signed(early, form=ReleaseForm.WRITTEN_CONSENT) is Outcome.DENY
    ink = {"form": ReleaseForm.WRITTEN_CONSENT, "process": SignatureProcess.WET_INK}
    assert signed(early, **ink) is Outcome.ALLOW


def test_10_an_employment_release_binds_present_employees_alone() -> None:
    release = make_release(form=ReleaseForm.EMPLOYMENT_RELEASE, condition_of_employment=True)

    def outcome(**changes: Any) -> Outcome:
        return ask(face=named(make_subject(releases=(release,), **changes))).outcome

    assert outcome(relationship=Relationship.EMPLOYEE) is Outcome.ALLOW
    for other in set(Relationship) - {Relationship.EMPLOYEE}:
        assert outcome(relationship=other) is Outcome.DENY
    assert outcome(relationship=Relationship.EMPLOYEE, employment_ended_at=NOW - days(1)) is Outcome.DENY


def test_15b_the_requirements_have_to_hold_of_one_and_the_same_release() -> None:
    """Two half-right releases are no release: one names the purpose, the other has the good notice."""
    good = make_delivery()
    posted = make_delivery(delivery_id="dlv_2", index=21, channel=NoticeChannel.PUBLIC_POLICY_PAGE)
    releases = (
        make_release(purposes=frozenset({Purpose.ADVERTISING})),
        make_release(release_id="rel_2", index=31, delivery_id="dlv_2"),
    )
    decision = ask(face=named(make_subject(deliveries=(good, posted), releases=releases)))
    assert decision.outcome is Outcome.DENY


def test_15b_a_release_for_more_than_the_notice_named_does_not_help() -> None:
    request = make_request(purpose=Purpose.ADVERTISING)
    face = spoilt(purposes=frozenset({Purpose.TAGGING, Purpose.ADVERTISING}))
    assert "NOTICE_PURPOSE" in codes(ask(request, face))


@pytest.mark.parametrize(
    ("index", "since", "ends"),
    [(40, days(1), True), (40, days(12), True), (22, days(5), True), (22, days(10), True), (22, days(12), False)],
)
def test_15b_a_satisfied_purpose_ends_what_was_released_before(index: int, since: timedelta, ends: bool) -> None:
    """Only a release both signed and recorded since counts; the other purposes go on."""
    face = named(make_subject(satisfied=(SatisfiedPurpose(Purpose.TAGGING, index, NOW - since),)))
    decision = ask(face=face)
    assert decision.outcome is (Outcome.DENY if ends else Outcome.ALLOW)
    assert ("PURPOSE_SATISFIED" in codes(decision)) is ends
    other = named(make_subject(satisfied=(SatisfiedPurpose(Purpose.ADVERTISING, index, NOW - since),)))
    assert ask(face=other).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        (TermEnd.EMPLOYMENT_ENDED, {"employment_ended_at": NOW - days(1)}),
        (TermEnd.ACCOUNT_CLOSED, {"account_closed_at": NOW - days(1)}),
        (TermEnd.PURPOSE_SATISFIED, {"satisfied": (SatisfiedPurpose(Purpose.TAGGING, 40, NOW),)}),
        (TermEnd.RELEASE_WITHDRAWN, {"releases": (make_release(withdrawn_at=NOW - days(1)),)}),
    ],
)
def test_15b2_a_term_may_end_with_an_event(end: TermEnd, ended: Any) -> None:
    tenant = make_tenant(make_notice(term=Term(end=end)))
    assert ask(tenant=tenant).outcome is Outcome.ALLOW
    assert ask(face=named(make_subject(**ended)), tenant=tenant).outcome is Outcome.DENY


# minors (statutes.md 7)


@pytest.mark.parametrize("age", [AgeBand.MINOR, AgeBand.UNDER_13])
@pytest.mark.parametrize("basis", list(AuthorityBasis))
def test_a_minor_is_released_by_a_representative_with_authority(age: AgeBand, basis: AuthorityBasis) -> None:
    """Rosenbach v. Six Flags, 2019 IL 123186; 740 ILCS 14/15(b)."""
    told = make_delivery(signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep")
    signed = make_release(signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep", authority_basis=basis)
    subject = make_subject(age_band=age, deliveries=(told,), releases=(signed,))
    allowed = basis in {AuthorityBasis.PARENT, AuthorityBasis.GUARDIAN, AuthorityBasis.COURT_ORDER}
    assert (ask(face=named(subject)).outcome is Outcome.ALLOW) is allowed
    nameless = replace(subject, releases=(replace(signed, representative_ref=""),))
    assert ask(face=named(nameless)).outcome is Outcome.DENY


@pytest.mark.parametrize("record", list(AgeBand))
@pytest.mark.parametrize("claim", list(AgeBand))
def test_the_younger_of_record_and_claim_counts(record: AgeBand, claim: AgeBand) -> None:
    face = named(make_subject(age_band=record), age_band=claim)
    child = {AgeBand.MINOR, AgeBand.UNDER_13} & {record, claim}
    assert (ask(face=face).outcome is Outcome.DENY) is bool(child)


def test_an_unknown_age_is_an_adults_until_the_record_shows_a_representative() -> None:
    """statutes.md 7: "age unknown + signs of child = DENY"."""
    adult = make_subject(age_band=AgeBand.UNKNOWN)
    assert ask(face=named(adult)).outcome is Outcome.ALLOW
    told = make_delivery(delivery_id="dlv_2", signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep")
    sign = replace(adult, deliveries=(*adult.deliveries, told))
    assert codes(ask(face=named(sign))) == {"AGE_UNKNOWN"}
    assert ask(face=named(replace(sign, age_band=AgeBand.ADULT))).outcome is Outcome.ALLOW


def test_a_parent_has_no_authority_over_an_adult() -> None:
    told = make_delivery(signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep")
    signed = make_release(
        signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep", authority_basis=AuthorityBasis.PARENT
    )
    assert codes(ask(face=named(make_subject(deliveries=(told,), releases=(signed,))))) == {"RELEASE_SIGNER"}


# section 15(c) and 15(d)


@pytest.mark.parametrize("operation", [Operation.SELL, Operation.LEASE, Operation.TRADE])
def test_15c_no_release_covers_a_sale(operation: Operation) -> None:
    release = make_release(scopes=frozenset(ConsentScope), recipients=frozenset({"buyer"}))
    face = named(make_subject(releases=(release,)))
    tenant = make_tenant(make_notice(recipients=frozenset({"buyer"})))
    for category in FACE:
        request = make_request(operation, category=category, recipient_id="buyer", consideration=Consideration.NONE)
        decision = ask(request, face, tenant)
        assert decision.outcome is Outcome.DENY
        assert "SALE_FORBIDDEN" in codes(decision)


def test_15c_profit_denies_whatever_the_operation_is_called() -> None:
    assert "SALE_FORBIDDEN" in codes(ask(make_request(consideration=Consideration.VALUE)))
    elsewhere = named(make_subject(regions=frozenset({"US-OH"})))
    assert "SALE_FORBIDDEN" in codes(ask(make_request(consideration=Consideration.VALUE), elsewhere))


def test_the_house_sells_nothing_even_where_the_act_does_not_apply() -> None:
    """740 ILCS 14/25(c) takes a bank out of the Act; the house rule stays."""
    tenant = make_tenant(determinations=(make_determination(DeterminationKind.GLBA_TITLE_V),))
    request = make_request(Operation.SELL, category=DataCategory.FACE_TEMPLATE, recipient_id="buyer")
    assert ask(request, tenant=tenant, packs=(IL,)).outcome is Outcome.ALLOW
    assert ask(request, tenant=tenant).outcome is Outcome.DENY


def disclosure(**changes: Any) -> Any:
    return make_request(
        Operation.DISCLOSE,
        category=DataCategory.FACE_TEMPLATE,
        **{
            "recipient_id": "vendor",
            "consideration": Consideration.NONE,
            "disclosure_basis": DisclosureBasis.CONSENT,
            "has_disclosure_evidence": True,
            **changes,
        },
    )


SHARED = named(make_subject(releases=(make_release(scopes=BOTH, recipients=frozenset({"vendor"})),)))
NAMES_VENDOR = make_tenant(make_notice(recipients=frozenset({"vendor"})))


def test_15d1_consent_is_per_recipient_and_purpose() -> None:
    allowed = ask(disclosure(), SHARED, NAMES_VENDOR)
    assert allowed.outcome is Outcome.ALLOW
    assert ("TELL_RECIPIENT", "vendor") in {(o.kind, o.detail) for o in allowed.faces[0].obligations}
    faults: list[tuple[dict[str, Any], str]] = [
        ({"recipient_id": ""}, "RECIPIENT_MISSING"),
        ({"recipient_id": "other"}, "RELEASE_RECIPIENT"),
        ({"purpose": Purpose.ADVERTISING}, "RELEASE_PURPOSE"),
        ({"consideration": Consideration.UNKNOWN}, "CONSIDERATION_UNKNOWN"),
        ({"disclosure_basis": DisclosureBasis.NONE}, "DISCLOSURE_BASIS"),
        ({"disclosure_basis": DisclosureBasis.NECESSARY_PROCESSOR}, "DISCLOSURE_BASIS"),
        ({"disclosure_basis": DisclosureBasis.CONSENT_DEATH_OR_DISAPPEARANCE}, "DISCLOSURE_BASIS"),
    ]
    for changes, code in faults:
        decision = ask(disclosure(**changes), SHARED, NAMES_VENDOR)
        assert decision.outcome is Outcome.DENY
        assert code in codes(decision)
    assert "NOTICE_RECIPIENT" in codes(ask(disclosure(), SHARED))
    assert "RELEASE_SCOPE" in codes(ask(disclosure(), spoilt(recipients=frozenset({"vendor"})), NAMES_VENDOR))


def test_15d2_a_financial_transaction_needs_evidence_and_a_lawful_holding() -> None:
    request = disclosure(disclosure_basis=DisclosureBasis.FINANCIAL_TRANSACTION)
    assert ask(request).outcome is Outcome.ALLOW
    assert "DISCLOSURE_EVIDENCE" in codes(ask(replace(request, has_disclosure_evidence=False)))
    assert "RELEASE_WITHDRAWN" in codes(ask(request, spoilt(withdrawn_at=NOW - days(1))))


@pytest.mark.parametrize("basis", [DisclosureBasis.REQUIRED_BY_LAW, DisclosureBasis.WARRANT, DisclosureBasis.SUBPOENA])
def test_15d3_15d4_law_and_court_need_evidence_and_a_determination_about_this_person(basis: DisclosureBasis) -> None:
    request = disclosure(disclosure_basis=basis)
    nothing_signed = named(make_subject(releases=()))
    process = make_determination(
        DeterminationKind.LEGAL_PROCESS,
        operations=frozenset({Operation.DISCLOSE}),
        purposes=frozenset({Purpose.TAGGING}),
        subject_ref="sub-anna",
    )

    def outcome(determination: Any, **changes: Any) -> Outcome:
        return ask(replace(request, **changes), nothing_signed, make_tenant(determinations=(determination,))).outcome

    assert outcome(process) is Outcome.ALLOW
    assert outcome(process, has_disclosure_evidence=False) is Outcome.DENY
    assert outcome(replace(process, subject_ref="")) is Outcome.DENY
    assert outcome(replace(process, subject_ref="sub-bert")) is Outcome.DENY
    assert outcome(replace(process, approved_by="")) is Outcome.DENY
    assert outcome(replace(process, approved_by="officer-a")) is Outcome.DENY
    assert outcome(replace(process, expires_at=NOW)) is Outcome.DENY
    assert outcome(replace(process, time=NOW + days(1))) is Outcome.DENY
    assert outcome(replace(process, operations=frozenset())) is Outcome.DENY


# section 15(e)


@pytest.mark.parametrize(
    ("flag", "code"),
    [
        ("encrypted_at_rest", "CARE_AT_REST"),
        ("encrypted_in_transit", "CARE_IN_TRANSIT"),
        ("protection_at_least_other_sensitive", "CARE_LEVEL"),
    ],
)
def test_15e_care(flag: str, code: str) -> None:
    assert codes(ask(tenant=make_tenant(**{flag: False}))) == {code}


# sections 10 and 25: exclusions and exemptions


@pytest.mark.parametrize("operation", [Operation.STORE, Operation.RETAIN, Operation.DISPLAY])
@pytest.mark.parametrize("face", [STRANGER, named(make_subject(releases=(), deliveries=()))])
def test_10_a_photograph_is_no_identifier(operation: Operation, face: Any) -> None:
    decision = ask(make_request(operation, purpose=Purpose.PHOTO_DISPLAY), face)
    assert decision.outcome is Outcome.ALLOW_NONBIOMETRIC
    assert ObligationKind.LOG_DETERMINATION in {o.kind for o in decision.faces[0].obligations}
    scanning = make_request(operation, purpose=Purpose.PHOTO_DISPLAY, uses_face_geometry=True)
    assert ask(scanning, face).outcome is Outcome.DENY


@pytest.mark.parametrize(
    "operation",
    [
        Operation.EXTRACT_TEMPLATE,
        Operation.ENROLL,
        Operation.VERIFY,
        Operation.IDENTIFY,
        Operation.CLUSTER_FACES,
        Operation.ANALYZE_ATTRIBUTES,
        Operation.BUILD_FACE_DATABASE,
    ],
)
def test_10_a_callers_no_does_not_unmake_face_geometry(operation: Operation) -> None:
    """Rivera v. Google; Monroy v. Shutterfly: the operation itself is the scan."""
    request = make_request(operation, uses_face_geometry=False, identifies=False, stored=False, linked_identity=False)
    assert ask(request, STRANGER).outcome is Outcome.DENY


@pytest.mark.parametrize("category", [DataCategory.GAIT, DataCategory.KEYSTROKE_DYNAMICS, DataCategory.VEIN_PATTERN])
def test_10_what_is_not_on_the_closed_list_falls_to_the_house(category: DataCategory) -> None:
    request = make_request(Operation.CAPTURE, category=category)
    decision = ask(request)
    assert decision.outcome is Outcome.DENY
    assert {r.pack_id for r in decision.reasons} == {"house-base"}


DETECT = make_request(Operation.DETECT_FACES, algorithm_id="haar", algorithm_version="4")
QUIET: dict[str, Any] = {"identifies": False, "stored": False, "linked_identity": False}
HARMLESS = make_determination(
    DeterminationKind.NONBIOMETRIC,
    operations=frozenset({Operation.DETECT_FACES}),
    purposes=frozenset({Purpose.TAGGING}),
    algorithm_id="haar",
    algorithm_version="4",
)


def test_detecting_faces() -> None:
    """Daichendt v. CVS and Zellmer v. Meta, DEFAULT answers."""
    assert ask(DETECT, STRANGER).outcome is Outcome.REVIEW
    assert codes(ask(DETECT, STRANGER)) >= {"GEOMETRY_UNKNOWN", "FACE_UNIDENTIFIED"}
    uses = replace(DETECT, uses_face_geometry=True, **QUIET)
    assert ask(uses, STRANGER).outcome is Outcome.DENY
    claimed = ask(replace(DETECT, uses_face_geometry=False, **QUIET), STRANGER)
    assert claimed.outcome is Outcome.REVIEW
    assert "DETERMINATION_MISSING" in codes(claimed)
    assert ask(DETECT, named(make_subject(releases=()))).outcome is Outcome.DENY
    for geometry in (None, False, True):
        assert ask(replace(DETECT, uses_face_geometry=geometry)).outcome is Outcome.ALLOW


@pytest.mark.parametrize("geometry", [None, False, True])
def test_detecting_faces_under_a_determination(geometry: bool | None) -> None:
    """Zellmer v. Meta, FLOOR, with a recorded determination for that very algorithm version."""
    tenant = make_tenant(determinations=(HARMLESS,))
    request = replace(DETECT, uses_face_geometry=geometry, **QUIET)
    decision = ask(request, STRANGER, tenant)
    assert decision.outcome is Outcome.ALLOW_NONBIOMETRIC
    assert decision.faces[0].basis == (7, 8)
    for changes in (
        {"stored": True},
        {"stored": None},
        {"identifies": True},
        {"identifies": None},
        {"linked_identity": True},
        {"linked_identity": None},
        {"algorithm_version": "5"},
        {"algorithm_id": ""},
        {"purpose": Purpose.ADVERTISING},
        {"recipient_id": "vendor"},
        {"category": DataCategory.GOV_ID_IMAGE},
    ):
        assert ask(replace(request, **changes), STRANGER, tenant).outcome in {Outcome.DENY, Outcome.REVIEW}
    unsigned = named(make_subject(releases=()))
    assert ask(request, unsigned, tenant).outcome is Outcome.DENY


@pytest.mark.parametrize("operation", [Operation.ENROLL, Operation.VERIFY, Operation.IDENTIFY, Operation.CLUSTER_FACES])
def test_a_determination_never_makes_enrolment_or_comparison_harmless(operation: Operation) -> None:
    """Zellmer v. Meta: compared to templates naming that person, or kept."""
    tenant = make_tenant(determinations=(replace(HARMLESS, operations=frozenset({operation})),))
    request = replace(DETECT, operation=operation, **QUIET)
    assert ask(request, STRANGER, tenant).outcome is Outcome.DENY


@pytest.mark.parametrize("operations", [frozenset(), frozenset({Operation.VERIFY})])
def test_25c_covers_the_institution_itself(operations: Any) -> None:
    bank = make_determination(DeterminationKind.GLBA_TITLE_V, operations=operations)
    request = make_request(Operation.VERIFY)
    tenant = make_tenant(determinations=(bank,))
    decision = ask(request, named(make_subject(releases=())), tenant)
    assert decision.outcome is Outcome.ALLOW
    assert decision.faces[0].determination_ids == ("det_1",)
    elsewhere = named(make_subject(releases=(), regions=frozenset({"US-IL", "US-TX"})))
    assert "REGION_NOT_COVERED" in codes(ask(request, elsewhere, tenant))  # exempt from its own law alone


@pytest.mark.parametrize(
    "kind",
    [DeterminationKind.LICENSED_INVESTIGATOR, DeterminationKind.GOVERNMENT_CONTRACTOR, DeterminationKind.HEALTH_CARE],
)
def test_25_and_10_other_exemptions_hold_in_their_named_scope_and_time_alone(kind: DeterminationKind) -> None:
    found = make_determination(
        kind, operations=frozenset({Operation.VERIFY}), purposes=frozenset({Purpose.HEALTH_CARE, Purpose.TIMEKEEPING})
    )
    nobody = named(make_subject(releases=()))

    def outcome(determination: Any, **changes: Any) -> Outcome:
        request = make_request(**{"operation": Operation.VERIFY, "purpose": Purpose.HEALTH_CARE, **changes})
        return ask(request, nobody, make_tenant(determinations=(determination,))).outcome

    assert outcome(found) is Outcome.ALLOW
    assert outcome(replace(found, operations=frozenset())) is Outcome.DENY
    assert outcome(replace(found, purposes=frozenset())) is Outcome.DENY
    assert outcome(replace(found, expires_at=NOW)) is Outcome.DENY
    assert outcome(replace(found, time=NOW + days(1))) is Outcome.DENY
    assert outcome(replace(found, approved_by="")) is Outcome.DENY
    assert outcome(found, operation=Operation.ENROLL) is Outcome.DENY
    assert outcome(found, purpose=Purpose.SECURE_ACCESS) is Outcome.DENY
    timekeeping = Outcome.DENY if kind is DeterminationKind.HEALTH_CARE else Outcome.ALLOW
    assert outcome(found, purpose=Purpose.TIMEKEEPING) is timekeeping


def test_scientific_testing_excludes_samples_not_identifiers() -> None:
    """740 ILCS 14/10: "samples used for valid scientific testing", a trap for face data used in research."""
    found = make_determination(
        DeterminationKind.SCIENTIFIC_TESTING,
        operations=frozenset({Operation.EXTRACT_TEMPLATE}),
        purposes=frozenset({Purpose.RESEARCH}),
    )
    request = make_request(purpose=Purpose.RESEARCH)
    assert ask(request, STRANGER, make_tenant(determinations=(found,))).outcome is Outcome.DENY


def test_a_government_agency_is_outside_the_act_and_inside_the_house() -> None:
    tenant = make_tenant(entity_type=EntityType.GOVERNMENT_AGENCY)
    assert ask(face=STRANGER, tenant=tenant).outcome is Outcome.DENY
    decision = ask(tenant=tenant)
    assert decision.outcome is Outcome.ALLOW
    assert {r.pack_id for r in decision.reasons} == {"house-base"}


def test_martell_and_the_policy_of_2023_are_two_stories() -> None:
    """Martell v. X Corp. was filed on 2023-07-11, before the policy: no case, rule or row links the two."""
    for pack in (IL, HOUSE):
        for citation in [part.citation for part in pack.rules] + [case.citation for case in pack.cases]:
            assert not ("Martell" in citation and "2023-09" in citation)


def test_employment_history_needs_its_own_consent() -> None:
    """statutes.md 10.2 point 3."""
    request = make_request(
        Operation.PROCESS, purpose=Purpose.JOB_RECOMMENDATION, category=DataCategory.EMPLOYMENT_HISTORY
    )
    purposes, categories = frozenset({Purpose.JOB_RECOMMENDATION}), frozenset({DataCategory.EMPLOYMENT_HISTORY})
    tenant = make_tenant(make_notice(purposes=purposes, categories=categories, term=None))
    own = named(
        make_subject(releases=(make_release(purposes=purposes, categories=categories),)), known_by=KnownBy.UNKNOWN
    )
    assert ask(request, own, tenant).outcome is Outcome.ALLOW
    biometric = named(make_subject(releases=(make_release(purposes=purposes),)))
    assert codes(ask(request, biometric, tenant)) == {"RELEASE_CATEGORY"}
    assert "FACE_UNIDENTIFIED" in codes(ask(request, STRANGER, tenant))
    assert ask(request, own, tenant, packs=(IL,)).outcome is Outcome.DENY
    assert "NO_RULES" in codes(ask(request, own, tenant, packs=(IL,)))


def test_a_bystander_is_looked_at_under_the_unknown_set() -> None:
    decision = ask(make_request(regions=frozenset({"US-OH"})), STRANGER, unknown=ILLINOIS)
    assert decision.faces[0].regions == ("US-IL", "US-OH")


def test_15c_each_ban_stands_on_its_own() -> None:
    sale = make_request(Operation.SELL, category=DataCategory.FACE_TEMPLATE, recipient_id="buyer")
    assert {r.rule_id for r in ask(sale).reasons} >= {"IL-15C-SALE", "IL-15C-CONSIDERATION", "HOUSE-SALE"}


@pytest.mark.parametrize("basis", [b for b in DisclosureBasis if b is not DisclosureBasis.NONE])
def test_15d_an_unnamed_recipient_is_said(basis: DisclosureBasis) -> None:
    found = make_determination(
        DeterminationKind.LEGAL_PROCESS,
        operations=frozenset({Operation.DISCLOSE}),
        purposes=frozenset({Purpose.TAGGING}),
        subject_ref="sub-anna",
    )
    tenant = make_tenant(determinations=(found,))
    decision = ask(disclosure(disclosure_basis=basis, recipient_id=""), tenant=tenant)
    assert decision.outcome is Outcome.DENY
    assert codes(decision) & {"RECIPIENT_MISSING", "DISCLOSURE_BASIS"}
    process = make_request(disclosure_basis=basis, consideration=Consideration.NONE)
    assert "RECIPIENT_MISSING" in codes(ask(process, SHARED, NAMES_VENDOR))


@pytest.mark.parametrize(
    ("face", "code"), [(STRANGER, "FACE_UNIDENTIFIED"), (named(known_by=KnownBy.UNKNOWN), "FACE_LINK_UNKNOWN")]
)
def test_15d_a_court_names_a_person(face: Any, code: str) -> None:
    assert code in codes(ask(disclosure(disclosure_basis=DisclosureBasis.WARRANT), face))


def test_an_identifier_is_never_shown() -> None:
    request = make_request(Operation.DISPLAY, purpose=Purpose.PHOTO_DISPLAY, category=DataCategory.FACE_TEMPLATE)
    assert "DISPLAY_CATEGORY" in codes(ask(request))


def test_the_house_baseline_asks_for_policy_care_and_a_clock_of_its_own() -> None:
    """As 740 ILCS 14/15(a), (e), and C.R.S. 6-1-1314(2) for the clock."""
    ohio = frozenset({"US-OH"})
    face = named(make_subject(regions=ohio))
    assert "POLICY_MISSING" in codes(ask(face=face, tenant=make_tenant(policies=())))
    for flag, code in (
        ("encrypted_at_rest", "CARE_AT_REST"),
        ("encrypted_in_transit", "CARE_IN_TRANSIT"),
        ("protection_at_least_other_sensitive", "CARE_LEVEL"),
    ):
        assert codes(ask(face=face, tenant=make_tenant(**{flag: False}))) == {"REGION_NOT_COVERED", code}
    keep = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE)
    old = named(make_subject(regions=ohio, last_interaction=datetime(2024, 11, 23, 12, tzinfo=UTC)))
    assert "RETENTION_OVER" in codes(ask(keep, old))
    assert ask(keep, old, now=NOW - timedelta(seconds=1)).outcome is Outcome.ALLOW


# the same faults on every other way to a permission

_TRAINS = frozenset({Purpose.TAGGING, Purpose.MODEL_TRAINING})
_EVERYTHING = FACE | {DataCategory.EMPLOYMENT_HISTORY, DataCategory.PHOTO}
ROUTES: dict[str, tuple[Any, frozenset[str]]] = {
    "disclosure by consent": (disclosure(), ILLINOIS),
    "disclosure for a transaction": (
        disclosure(disclosure_basis=DisclosureBasis.FINANCIAL_TRANSACTION),
        ILLINOIS,
    ),
    "a processor": (make_request(recipient_id="vendor", consideration=Consideration.NONE), ILLINOIS),
    "keeping": (make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE), ILLINOIS),
    "no pack for the region": (make_request(), frozenset({"US-OH"})),
    "personal data": (make_request(Operation.PROCESS, category=DataCategory.EMPLOYMENT_HISTORY), ILLINOIS),
    "personal data that leaves": (
        make_request(Operation.DISCLOSE, category=DataCategory.EMPLOYMENT_HISTORY, recipient_id="vendor"),
        ILLINOIS,
    ),
    "training on photos": (
        make_request(Operation.TRAIN_MODEL, purpose=Purpose.MODEL_TRAINING, uses_face_geometry=False, identifies=False),
        ILLINOIS,
    ),
    "training for another purpose": (
        make_request(Operation.TRAIN_MODEL, category=DataCategory.FACE_TEMPLATE),
        ILLINOIS,
    ),
    "selling photos": (
        make_request(
            Operation.SELL,
            recipient_id="vendor",
            consideration=Consideration.VALUE,
            uses_face_geometry=False,
            identifies=False,
        ),
        ILLINOIS,
    ),
}
_ALL_SATISFIED = tuple(SatisfiedPurpose(purpose, 40, NOW) for purpose in Purpose)
_TOLD_ANOTHER = make_delivery(delivery_id="dlv_2", signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep")
NO_TERM_ASKED = {"personal data", "personal data that leaves", "training on photos", "selling photos"}
ROUTE_FAULTS = (
    [("notice", changes, code) for changes, code in NOTICE_FAULTS]
    + [("delivery", changes, code) for changes, code in DELIVERY_FAULTS]
    + [("release", changes, code) for changes, code in RELEASE_FAULTS]
    + [
        ("notice", {"recipients": frozenset()}, "NOTICE_RECIPIENT"),
        ("release", {"recipients": frozenset()}, "RELEASE_RECIPIENT"),
        ("signing", datetime(2024, 8, 1, tzinfo=UTC), "RELEASE_ESIGN_DATE"),
        ("subject", {"age_band": AgeBand.MINOR}, "MINOR_SIGNED"),
        (
            "subject",
            {"satisfied": tuple(SatisfiedPurpose(purpose, 40, NOW) for purpose in Purpose)},
            "PURPOSE_SATISFIED",
        ),
        ("subject", {"releases": ()}, "RELEASE_MISSING"),
        ("subject", {"age_band": AgeBand.UNKNOWN, "deliveries": (make_delivery(), _TOLD_ANOTHER)}, "AGE_UNKNOWN"),
        ("notice", {"term": Term(duration=days(10))}, "TERM_OVER"),
        ("notice", {"purposes": frozenset({Purpose.TAGGING})}, "NOTICE_PURPOSE"),
        ("release", {"purposes": frozenset({Purpose.TAGGING})}, "RELEASE_PURPOSE"),
        ("notice", {"purposes": frozenset({Purpose.MODEL_TRAINING})}, "NOTICE_PURPOSE"),
        ("release", {"purposes": frozenset({Purpose.MODEL_TRAINING})}, "RELEASE_PURPOSE"),
        ("request", {"recipient_id": ""}, "RECIPIENT_MISSING"),
        ("face", {"subject": None}, "FACE_UNIDENTIFIED"),
        ("face", {"known_by": KnownBy.UNKNOWN}, "FACE_LINK_UNKNOWN"),
    ]
    + [("release", {"scopes": frozenset(ConsentScope) - {scope}}, "RELEASE_SCOPE") for scope in ConsentScope]
)


def travel(route: str, part: str = "", changes: Any = None) -> Any:
    """Decide one route, right in everything but one part."""
    request, regions = ROUTES[route]
    spoil: dict[str, Any] = {part: changes or {}}
    if part == "signing":
        spoil = {"delivery": {"occurred_at": changes}, "release": {"signed_at": changes}}
    purposes = _TRAINS
    notice = make_notice(
        **{
            "purposes": purposes,
            "categories": _EVERYTHING,
            "recipients": frozenset({"vendor"}),
            **spoil.get("notice", {}),
        }
    )
    release = make_release(
        **{
            "purposes": purposes,
            "categories": _EVERYTHING,
            "recipients": frozenset({"vendor"}),
            "scopes": frozenset(ConsentScope),
            **spoil.get("release", {}),
        }
    )
    delivery = make_delivery(**spoil.get("delivery", {}))
    request = replace(request, **spoil.get("request", {}))
    subject = make_subject(
        **{"regions": regions, "deliveries": (delivery,), "releases": (release,), **spoil.get("subject", {})}
    )
    face = replace(named(subject), **spoil.get("face", {}))
    return ask(request, face, make_tenant(notice), unknown=regions)


@pytest.mark.parametrize("route", list(ROUTES))
def test_each_way_to_a_permission_is_open_when_everything_is_right(route: str) -> None:
    assert travel(route).outcome in {Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC}


@pytest.mark.parametrize("region", ["US-IL", "US-OH"])
def test_a_picture_whose_use_is_unknown_is_not_sold(region: str) -> None:
    """With every consent there is; unknown face geometry counts as face geometry where data leaves for value."""
    request = replace(ROUTES["selling photos"][0], uses_face_geometry=None, consideration=Consideration.NONE)
    everything = make_release(
        purposes=_TRAINS, categories=_EVERYTHING, recipients=frozenset({"vendor"}), scopes=frozenset(ConsentScope)
    )
    notice = make_notice(purposes=_TRAINS, categories=_EVERYTHING, recipients=frozenset({"vendor"}))
    face = named(make_subject(regions=frozenset({region}), releases=(everything,)))
    assert ask(request, face, make_tenant(notice)).outcome is Outcome.DENY


def test_a_detector_said_to_use_no_geometry_needs_a_determination_everywhere() -> None:
    claimed = replace(DETECT, uses_face_geometry=False, **QUIET)
    decision = ask(claimed, STRANGER, unknown=frozenset({"US-OH"}))
    assert decision.outcome is Outcome.REVIEW
    assert "DETERMINATION_MISSING" in codes(decision)


def _matters(route: str, part: str, changes: Any, code: str) -> bool:
    """Whether this fault has to close this route; what does not matter there has to leave it open."""
    leaves = ROUTES[route][0].recipient_id != ""
    if code == "RECIPIENT_MISSING":  # a processor without a name is no processor
        return leaves and route != "a processor"
    if code in {"NOTICE_PURPOSE", "RELEASE_PURPOSE"}:
        request = ROUTES[route][0]
        trains = {Purpose.MODEL_TRAINING} if request.operation is Operation.TRAIN_MODEL else set()
        return not {request.purpose} | trains <= changes["purposes"]
    if code in {"NOTICE_TERM_MISSING", "NOTICE_COLLECTION"}:
        return route not in NO_TERM_ASKED
    if code == "RELEASE_SCOPE":
        scopes = changes["scopes"]
        needed = {
            "disclosure by consent": {ConsentScope.SHARE},
            "disclosure for a transaction": {ConsentScope.COLLECT},
            "a processor": BOTH,
            "personal data that leaves": {ConsentScope.SHARE},
            "training on photos": {ConsentScope.TRAIN},
            "training for another purpose": {ConsentScope.TRAIN, ConsentScope.COLLECT},
            "selling photos": {ConsentScope.SELL},
        }.get(route, {ConsentScope.COLLECT})
        return not needed <= scopes
    if code == "NOTICE_RECIPIENT":
        return route in {"disclosure by consent", "a processor"}
    if code == "RELEASE_RECIPIENT":
        return leaves and route != "disclosure for a transaction"
    if code in {"FACE_LINK_UNKNOWN", "RELEASE_ESIGN_DATE"}:
        return route not in NO_TERM_ASKED
    if code in {"NOTICE_CATEGORY", "RELEASE_CATEGORY"}:
        return not (changes["categories"] == {DataCategory.PHOTO} and route in {"training on photos", "selling photos"})
    return True


@pytest.mark.parametrize("route", list(ROUTES))
@pytest.mark.parametrize(("part", "changes", "code"), ROUTE_FAULTS)
def test_one_fault_closes_every_way_that_it_matters_to(route: str, part: str, changes: Any, code: str) -> None:
    decision = travel(route, part, changes)
    if changes == {"term": Term(duration=timedelta(0))} and route in NO_TERM_ASKED:
        code = "TERM_OVER"  # no term has to be stated, but one that is over from the start is over
    if _matters(route, part, changes, code):
        assert decision.outcome is Outcome.DENY
        assert code in codes(decision)
    else:
        assert decision.outcome in {Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC}
