"""The engine itself: empty denies, failure denies, packs are asked where they apply, the basis is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from consentry_server.core.law import load_pack, policy_in_force, regions_of
from consentry_server.core.record.facts import Face, Subject, Term
from consentry_server.core.vocabulary import DataCategory, Operation, Outcome, Purpose
from tests.unit.law.test_loader import SMALL
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
    make_notice,
    make_policy,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
    pack_bytes,
)


def test_no_packs_is_no_permission() -> None:
    for operation in Operation:
        decision = ask(make_request(operation, purpose=Purpose.PHOTO_DISPLAY), packs=())
        assert decision.outcome is Outcome.DENY
        assert codes(decision) == {"NO_RULES"}


def test_a_law_pack_alone_does_not_answer_for_other_regions() -> None:
    face = named(make_subject(regions=frozenset({"US-IL", "US-OH"})))
    assert codes(ask(face=face, packs=(IL,))) == {"NO_RULES"}
    assert ask(face=face, packs=PACKS).outcome is Outcome.ALLOW


@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_on_every_category_is_refused_to_a_stranger_or_not_biometric(operation: Operation) -> None:
    for category, region in product(DataCategory, ("US-IL", "US-TX")):
        decision = ask(make_request(operation, category=category), STRANGER, unknown=frozenset({region}))
        assert decision.outcome is not Outcome.ALLOW
        if decision.outcome is Outcome.ALLOW_NONBIOMETRIC:
            assert operation in {Operation.STORE, Operation.RETAIN}
            assert category in {DataCategory.PHOTO, DataCategory.VIDEO, DataCategory.GOV_ID_IMAGE}
        assert "RULE_FAILED" not in codes(decision)


def test_no_face_named_is_one_stranger() -> None:
    decision = ask(faces=())
    assert [face.outcome for face in decision.faces] == [Outcome.DENY]
    assert codes(decision) == {"FACE_UNIDENTIFIED"}


def test_the_basis_names_notice_delivery_release_and_policy() -> None:
    decision = ask()
    (face,) = decision.faces
    assert face.basis == (5, 10, 20, 30)
    assert face.release_ids == ("rel_1",)
    assert face.determination_ids == ()
    assert {r.rule_id for r in face.reasons} >= {
        "IL-15A-POLICY",
        "IL-15B1-NOTICE",
        "IL-15B2-PURPOSE-TERM",
        "IL-15B3-RELEASE",
        "IL-15E-CARE",
    }
    assert {r.code for r in face.reasons} == {"SATISFIED"}


def test_the_newest_release_that_carries_is_relied_on() -> None:
    releases = (
        make_release(),
        make_release(release_id="rel_2", index=31),
        make_release(release_id="rel_3", index=32, withdrawn_at=NOW),
    )
    decision = ask(face=named(make_subject(releases=releases)))
    assert decision.faces[0].release_ids == ("rel_2",)


def test_a_denial_says_what_the_nearest_release_lacks() -> None:
    releases = (
        make_release(withdrawn_at=NOW, purposes=frozenset({Purpose.ADVERTISING}), scopes=frozenset()),
        make_release(release_id="rel_2", index=29, withdrawn_at=NOW),
    )
    assert codes(ask(face=named(make_subject(releases=releases)))) == {"RELEASE_WITHDRAWN"}


@pytest.mark.parametrize(
    "spoil",
    [
        {"releases": (make_release(time=datetime(2026, 11, 13, 12)),)},  # noqa: DTZ001 - a naive time is the fault
        {"releases": (make_release(expires_at="tomorrow"),)},
        {"satisfied": None},
        {"deliveries": None},
    ],
)
def test_facts_that_cannot_be_evaluated_deny(spoil: Any) -> None:
    decision = ask(face=named(make_subject(**spoil)))
    assert decision.outcome is Outcome.DENY
    assert "RULE_FAILED" in codes(decision)


@pytest.mark.parametrize("spoil", [{"policies": None}, {"determinations": (3,)}, {"notices": None}])
def test_tenant_facts_that_cannot_be_evaluated_deny(spoil: Any) -> None:
    decision = ask(tenant=make_tenant(**spoil))
    assert decision.outcome is Outcome.DENY
    assert "RULE_FAILED" in codes(decision)


def test_a_face_that_cannot_be_evaluated_denies_itself_alone() -> None:
    broken = Face(subject=make_subject(regions=None))
    decision = ask(faces=(named(), broken))
    assert [face.outcome for face in decision.faces] == [Outcome.ALLOW, Outcome.DENY]
    assert decision.faces[1].reasons[0].code == "RULE_FAILED"


def test_a_naive_clock_denies() -> None:
    assert ask(now=datetime(2026, 11, 23, 12)).outcome is Outcome.DENY  # noqa: DTZ001 - the fault under test


def test_a_failing_rule_is_named() -> None:
    tenant = make_tenant(policies=(make_policy(effective_time=3),))
    (reason,) = ask(tenant=tenant, packs=(IL,)).reasons
    assert (reason.code, reason.rule_id, reason.citation) == ("RULE_FAILED", "IL-15A-POLICY", "740 ILCS 14/15(a)")


def test_a_scope_row_whose_rules_give_no_basis_denies() -> None:
    """In scope, every rule met, and nothing that permits: empty means deny."""
    text = SMALL.replace('group = "collect"\nrequire = ["told"]', 'require = ["kept"]', 1)
    pack = load_pack(text.encode(), name="example.toml")
    face = named(make_subject(regions=frozenset({"US-OH"})))
    decision = ask(make_request(Operation.ENROLL), face, packs=(pack,))
    assert codes(decision) == {"NO_RULES"}


def test_what_is_missing_is_never_a_yes() -> None:
    """A requirement on a notice that is not there does not hold, even where no rule asks for the notice itself."""
    text = SMALL.replace('that = "delivery.exists"', 'that = "notice.states_term"', 1)
    pack = load_pack(text.encode(), name="example.toml")
    home = frozenset({"US-OH"})
    request = make_request(Operation.ENROLL)
    assert ask(request, named(make_subject(regions=home)), packs=(pack,)).outcome is Outcome.ALLOW
    untold = named(make_subject(regions=home, deliveries=()))
    assert ask(request, untold, packs=(pack,)).outcome is Outcome.DENY
    assert ask(request, Face(subject=None, regions=home), packs=(pack,)).outcome is Outcome.DENY


def test_a_rule_that_is_always_asked_gives_no_basis() -> None:
    text = SMALL.replace('group = "collect"', 'group = "collect"\nalways = true', 1)
    pack = load_pack(text.encode(), name="example.toml")
    face = named(make_subject(regions=frozenset({"US-OH"})))
    assert codes(ask(make_request(Operation.ENROLL), face, packs=(pack,))) == {"NO_RULES"}


def test_a_rule_that_is_always_asked_denies_even_where_the_rest_is_for_review() -> None:
    request = make_request(Operation.DETECT_FACES, purpose=Purpose.ADVERTISING)
    decision = ask(request, STRANGER, unknown=frozenset({"US-OH"}))
    assert decision.outcome is Outcome.DENY
    assert {r.rule_id for r in decision.reasons if r.outcome is Outcome.DENY} == {"HOUSE-SECONDARY-PERSON"}


@pytest.mark.parametrize("packs", [PACKS, PACKS[::-1]])
def test_of_the_destruction_dates_of_all_packs_the_earliest_counts(packs: Any) -> None:
    """Illinois says three years, the house baseline for a region without a pack twenty-four months."""
    face = named(make_subject(regions=frozenset({"US-IL", "US-OH"})))
    tenant = make_tenant(make_notice(term=Term(duration=days(4000))))
    due = [o.due for o in ask(face=face, tenant=tenant, packs=packs).faces[0].obligations if o.kind == "DESTROY_BY"]
    assert due == [datetime(2028, 11, 13, 12, tzinfo=UTC)]


def test_a_notice_delivered_in_the_future_is_no_delivery_yet() -> None:
    later = make_delivery(time=NOW + days(1), occurred_at=NOW + days(1))
    assert "NOTICE_AFTER_RELEASE" in codes(ask(face=named(make_subject(deliveries=(later,), releases=()))))


def test_a_pack_is_asked_from_its_first_day_on() -> None:
    text = SMALL.replace("effective_from = 2020-01-01", "effective_from = 2026-11-24", 1)
    pack = load_pack(text.encode(), name="example.toml")
    face = named(make_subject(regions=frozenset({"US-OH"}), deliveries=()))
    request = make_request(Operation.ENROLL)
    assert "NO_RULES" in codes(ask(request, face, packs=(pack,)))
    assert "NOTICE_NOT_DELIVERED" in codes(ask(request, face, packs=(pack,), now=NOW + days(1)))


def test_a_rule_is_asked_inside_its_own_dates() -> None:
    text = SMALL.replace(
        'group = "collect"', 'group = "collect"\neffective_from = 2026-11-20\neffective_to = 2026-11-23', 1
    )
    pack = load_pack(text.encode(), name="example.toml")
    face = named(make_subject(regions=frozenset({"US-OH"}), deliveries=()))
    request = make_request(Operation.ENROLL)
    assert codes(ask(request, face, packs=(pack,), now=NOW - days(1))) == {"NOTICE_NOT_DELIVERED"}
    assert codes(ask(request, face, packs=(pack,))) == {"NO_RULES"}


def test_the_same_pack_in_two_versions_is_asked_twice() -> None:
    assert ask(packs=(*PACKS, IL)).outcome is Outcome.ALLOW
    strict = load_pack(pack_bytes("us-il-bipa.toml").replace(b"since = 2024-08-02", b"since = 2030-01-01"), name="x")
    assert ask(packs=(*PACKS, strict)).outcome is Outcome.DENY


# regions


def test_regions_where_the_residence_is_known() -> None:
    face = Face(Subject("s", regions=frozenset({"US-OH"})), regions=frozenset({"CH"}))
    request = make_request(regions=frozenset({"US-IL"}))
    assert regions_of(request, face, frozenset({"US-TX"})) == {"US-OH", "CH", "US-IL"}


def test_regions_where_the_residence_is_unknown() -> None:
    request = make_request(regions=frozenset({"US-OH"}))
    assert regions_of(request, STRANGER, frozenset({"US-TX"})) == {"US-TX", "US-OH"}


def test_regions_of_an_unidentified_face_are_the_stated_one_and_the_configured_set() -> None:
    """Saying that a stranger lives where no release is asked for does not make it so."""
    stated = Face(subject=None, regions=frozenset({"US-OH"}))
    assert regions_of(make_request(), stated, frozenset({"US-TX"})) == {"US-OH", "US-TX"}
    request = make_request(Operation.DETECT_FACES, uses_face_geometry=False, identifies=False, stored=False)
    lax = load_pack(
        SMALL.replace('is = "REGULATED"', 'is = "NONBIOMETRIC"')
        .replace('["ENROLL", "VERIFY"]', '["DETECT_FACES"]')
        .encode(),
        name="lax.toml",
    )
    assert ask(request, stated, packs=(lax, IL), unknown=frozenset({"US-OH"})).outcome is Outcome.ALLOW_NONBIOMETRIC
    assert ask(request, stated, packs=(lax, IL), unknown=ILLINOIS).outcome is Outcome.REVIEW


def test_a_country_that_names_no_state_adds_the_configured_states() -> None:
    face = Face(Subject("s", regions=frozenset({"US"})))
    assert regions_of(make_request(), face, frozenset({"US-IL", "EU"})) == {"US", "US-IL"}


def test_a_member_state_lies_in_the_union() -> None:
    eu = load_pack(pack_bytes("us-il-bipa.toml").replace(b'"US-IL"', b'"EU"', 1), name="eu.toml")
    face = named(make_subject(regions=frozenset({"DE"})))
    assert ask(face=face, packs=(eu,)).outcome is Outcome.ALLOW
    assert codes(ask(face=face, packs=(IL,))) == {"NO_RULES"}


def test_without_any_region_every_law_is_asked() -> None:
    face = named(make_subject(regions=frozenset(), releases=()))
    decision = ask(face=face, unknown=frozenset())
    assert {r.pack_id for r in decision.reasons} == {"us-il-bipa", "house-base"}


def test_a_region_without_a_pack_gets_the_house_baseline() -> None:
    away = frozenset({"US-TX"})
    denied = ask(face=named(make_subject(regions=away, releases=())))
    assert denied.outcome is Outcome.DENY
    assert denied.reasons[0].code == "REGION_NOT_COVERED"
    assert "RELEASE_MISSING" in codes(denied)
    assert ask(face=named(make_subject(regions=away))).outcome is Outcome.ALLOW
    leaving = make_request(recipient_id="vendor")
    assert "REGION_NOT_COVERED" in codes(ask(leaving, named(make_subject(regions=away))))


def test_the_house_alone_answers_everywhere() -> None:
    for region in ("US-IL", "US-TX", "DE", "JP"):
        face = named(make_subject(regions=frozenset({region}), releases=()))
        assert ask(face=face, packs=(HOUSE,)).outcome is Outcome.DENY


def test_showing_a_template_is_refused_and_other_purposes_too() -> None:
    show = make_request(Operation.DISPLAY, purpose=Purpose.PHOTO_DISPLAY)
    assert ask(show, STRANGER).outcome is Outcome.ALLOW_NONBIOMETRIC
    assert ask(replace(show, category=DataCategory.FACE_TEMPLATE)).outcome is Outcome.DENY
    for purpose in set(Purpose) - {Purpose.PHOTO_DISPLAY, Purpose.PHOTO_SHARING, Purpose.PHOTO_HOSTING}:
        assert ask(replace(show, purpose=purpose)).outcome is Outcome.DENY


def test_policy_in_force_is_the_latest_effective_version_of_each_policy() -> None:
    first, second = make_policy(), make_policy(version=2, index=6, effective_time=NOW)
    tenant = make_tenant(policies=(first, second))
    assert policy_in_force(tenant, NOW - days(1)) is first
    assert policy_in_force(tenant, NOW) is second
    assert policy_in_force(tenant, NOW - days(90)) is None


def test_deciding_changes_no_fact_and_repeats_itself() -> None:
    face, tenant, request = named(), make_tenant(), make_request()
    first = ask(request, face, tenant)
    assert first == ask(request, face, tenant)
    assert (face, tenant, request) == (named(), make_tenant(), make_request())
    assert first.faces[0].regions == tuple(sorted(ILLINOIS))
