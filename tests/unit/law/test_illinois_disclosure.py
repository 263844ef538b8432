"""740 ILCS 14/15(c) to (e): sale, disclosure, care. Source: statutes.md section 1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consentry_server.core.vocabulary import (
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
)
from tests.unit.law.faults import (
    FACE,
    NAMES_VENDOR,
    SHARED,
    disclosure,
    spoilt,
)
from tests.unit.law.worlds import (
    IL,
    NOW,
    STRANGER,
    ask,
    codes,
    days,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

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
