"""740 ILCS 14/10 and 14/25: what is regulated, excluded, or falls to the house. Source: statutes.md section 1."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry_server.core.law import ObligationKind
from consentry_server.core.vocabulary import (
    DataCategory,
    DeterminationKind,
    EntityType,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
)
from tests.unit.law.faults import (
    DETECT,
    HARMLESS,
    QUIET,
)
from tests.unit.law.worlds import (
    HOUSE,
    IL,
    ILLINOIS,
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
