"""740 ILCS 14/15(a) and (b), 14/10: policy, notice, release, term, minors. Source: statutes.md sections 1 and 7."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry_server.core.law import ObligationKind
from consentry_server.core.record.facts import SatisfiedPurpose, Term
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    Consideration,
    DataCategory,
    DeterminationKind,
    NoticeChannel,
    Operation,
    Outcome,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    TermEnd,
)
from tests.unit.law.faults import (
    BOTH,
    DELIVERY_FAULTS,
    NOTICE_FAULTS,
    RELEASE_FAULTS,
    spoilt,
)
from tests.unit.law.worlds import (
    NOW,
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


@pytest.mark.parametrize(("changes", "code"), NOTICE_FAULTS)
def test_15b1_15b2_one_fault_in_the_notice_denies_and_is_named(changes: Any, code: str) -> None:
    decision = ask(tenant=make_tenant(make_notice(**changes)))
    assert decision.outcome is Outcome.DENY
    assert code in codes(decision)


@pytest.mark.parametrize(("changes", "code"), DELIVERY_FAULTS)
def test_15b_one_fault_in_the_delivery_denies_and_is_named(changes: Any, code: str) -> None:
    decision = ask(face=named(make_subject(deliveries=(make_delivery(**changes),))))
    assert decision.outcome is Outcome.DENY
    assert code in codes(decision)


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
