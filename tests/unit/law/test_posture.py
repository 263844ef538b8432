"""Posture: what is lacking is found by asking the packs; what lacks nothing denies nobody who was told and signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.law import Pack, decide, load_pack
from consentry_server.core.law.posture import Known, Lack, derive, merged
from consentry_server.core.law.posture_settings import NoticeDetails, ScheduleLine, Standing, settings_lacks
from consentry_server.core.law.probes import completed, completed_tenant, person, requests
from consentry_server.core.record.facts import EnforcementSwitch, Notice, Tenant, Term
from consentry_server.core.vocabulary import AgeBand, DataCategory, DeterminationKind, Operation, Outcome, Purpose
from consentry_server.tenant import bundled_packs
from tests.unit.law.worlds import (
    HOUSE,
    IL,
    NOW,
    PACKS,
    PERMITS,
    days,
    make_determination,
    make_notice,
    make_policy,
    make_tenant,
    pack_bytes,
)

ILLINOIS = frozenset({"US-IL"})
NOBODY = Known(processors=frozenset())


def elsewhere(region: str, *changes: tuple[str, str]) -> Pack:
    """A law nobody here has heard of: Illinois' rules under another name, changed."""
    text = pack_bytes("us-il-bipa.toml").decode()
    for old, new in (('"us-il-bipa"', '"new-law"'), ('["US-IL"]', f'["{region}"]'), *changes):
        assert old in text
        text = text.replace(old, new)
    return load_pack(text.encode(), name="new-law.toml")


def lacks(
    tenant: Tenant, known: Known = NOBODY, regions: frozenset[str] = ILLINOIS, packs: tuple[Pack, ...] = PACKS
) -> list[Lack]:
    return merged(lack for step in derive(packs, tenant, regions, known, NOW) for lack in step)


def told(found: list[Lack]) -> set[tuple[str, str, str]]:
    return {(str(lack.finding.outcome), lack.finding.code, lack.about) for lack in found}


def test_a_registry_that_says_everything_lacks_nothing() -> None:
    assert lacks(make_tenant()) == []


@pytest.mark.parametrize(
    ("spoilt", "code", "rule"),
    [
        ({"term": None}, "NOTICE_TERM_MISSING", "IL-15B2-PURPOSE-TERM"),
        ({"term": Term()}, "NOTICE_TERM_MISSING", "IL-15B2-PURPOSE-TERM"),
        ({"says_collected_or_stored": False}, "NOTICE_COLLECTION", "IL-15B1-NOTICE"),
        ({"purposes": frozenset()}, "NOTICE_PURPOSE", "IL-15B2-PURPOSE-TERM"),
        ({"categories": frozenset()}, "NOTICE_CATEGORY", "IL-15B2-PURPOSE-TERM"),
    ],
)
def test_a_notice_that_lacks_something_is_found_with_its_rule(spoilt: dict[str, Any], code: str, rule: str) -> None:
    found = lacks(make_tenant(make_notice(**spoilt)))
    assert told(found) == {("DENY", code, "notice notice 1")}
    (lack,) = (each for each in found if each.finding.pack_id == "us-il-bipa")
    assert (lack.finding.rule_id, lack.finding.citation[:12], lack.regions) == (rule, "740 ILCS 14/", ("US-IL",))
    assert lack.finding.remedy


def test_a_notice_that_is_to_come_is_looked_at_as_of_then() -> None:
    later = make_notice(version=2, effective_time=NOW + days(9), term=None)
    assert told(lacks(make_tenant(make_notice(), later))) == {("DENY", "NOTICE_TERM_MISSING", "notice notice 2")}


def test_only_the_version_in_effect_is_looked_at() -> None:
    old = make_notice(term=None, effective_time=NOW - days(90))
    assert lacks(make_tenant(old, make_notice(version=2))) == []


def test_a_notice_about_photos_is_not_blamed_for_naming_no_template() -> None:
    hosting = make_notice(purposes=frozenset({Purpose.PHOTO_HOSTING}), categories=frozenset({DataCategory.PHOTO}))
    assert lacks(make_tenant(hosting)) == []


def test_without_a_notice_nobody_can_have_been_told() -> None:
    found = lacks(replace(make_tenant(), notices={}))
    assert {(lack.finding.code, lack.about) for lack in found} == {("NOTICE_NONE", "notices")}
    assert "IL-15B1-NOTICE" in {lack.finding.rule_id for lack in found}


@pytest.mark.parametrize(
    ("spoilt", "code", "about"),
    [
        ({"policies": ()}, "POLICY_MISSING", "retention policy"),
        ({"policies": (make_policy(has_schedule=False),)}, "POLICY_MISSING", "policy retention 1"),
        ({"policies": (make_policy(effective_time=NOW + days(2)),)}, "POLICY_MISSING", "policy retention 1"),
        ({"encrypted_at_rest": False}, "CARE_AT_REST", "setting encrypted_at_rest"),
        ({"encrypted_in_transit": False}, "CARE_IN_TRANSIT", "setting encrypted_in_transit"),
        (
            {"protection_at_least_other_sensitive": False},
            "CARE_LEVEL",
            "setting protection_at_least_other_sensitive",
        ),
    ],
)
def test_what_the_tenant_lacks_is_found(spoilt: dict[str, Any], code: str, about: str) -> None:
    policy = make_policy()
    found = lacks(make_tenant(**spoilt))
    assert {(lack.finding.code, lack.about.replace(policy.policy_id, "retention")) for lack in found} == {(code, about)}
    assert {lack.finding.outcome for lack in found} == {Outcome.DENY}


def test_a_processor_that_takes_part_has_to_be_named() -> None:
    named = make_notice(recipients=frozenset({"cloud"}))
    assert lacks(make_tenant(named), Known(processors=frozenset({"cloud"}))) == []
    found = lacks(make_tenant(named), Known(processors=frozenset({"cloud", "vendor"})))
    assert told(found) == {("DENY", "NOTICE_RECIPIENT", "notice notice 1, recipient vendor")}
    assert lacks(make_tenant(named), Known(processors=None)) == []


def test_a_notice_that_names_nobody_is_told_of_until_somebody_says_that_nobody_takes_part() -> None:
    assert told(lacks(make_tenant(), Known(processors=None))) == {("DENY", "NOTICE_RECIPIENT", "notice notice 1")}
    assert lacks(make_tenant(), Known(processors=frozenset())) == []


@pytest.mark.parametrize("who", [{"minors": True}, {"consumers": True}])
def test_children_need_somebody_who_can_sign_for_them(who: dict[str, bool]) -> None:
    found = lacks(make_tenant(), Known(processors=frozenset(), **who))
    assert told(found) == {("DENY", "MINOR_SIGNED", "representatives")}
    assert lacks(make_tenant(), Known(processors=frozenset(), representatives=True, **who)) == []


def test_a_new_pack_is_looked_at_without_new_code() -> None:
    found = lacks(make_tenant(make_notice(term=None)), regions=frozenset({"US-TX"}), packs=(elsewhere("US-TX"), HOUSE))
    assert {(lack.finding.pack_id, lack.finding.code, lack.regions) for lack in found} == {
        ("new-law", "NOTICE_TERM_MISSING", ("US-TX",))
    }


@pytest.mark.parametrize("region", ["US-VA", "US-CO", "US-IA", "US-NY", "DE", "GB"])
def test_every_pack_that_ships_can_be_looked_at(region: str) -> None:
    """A table of jurisdictions too, and a law under which nothing that the notice names is permitted."""
    packs = tuple(pack for pack, _ in bundled_packs())
    for notice in (make_notice(), make_notice(purposes=frozenset({Purpose.ADVERTISING}), term=None)):
        for lack in lacks(make_tenant(notice), regions=frozenset({region}), packs=packs):
            assert lack.finding.citation
            assert lack.finding.remedy
            assert lack.regions == (region,)


def test_regions_of_several_packs_are_told_together() -> None:
    packs = (IL, elsewhere("US-TX"), HOUSE)
    found = lacks(make_tenant(policies=()), regions=frozenset({"US-IL", "US-TX"}), packs=packs)
    where = {lack.finding.rule_id + lack.finding.pack_id: lack.regions for lack in found}
    assert where["HOUSE-POLICYhouse-base"] == ("US-IL", "US-TX")
    assert where["IL-15A-POLICYnew-law"] == ("US-TX",)


def test_a_law_under_which_nothing_named_is_permitted_is_named() -> None:
    """A ban is no lack of a notice; but a report that said nothing would read as if all were well."""
    ban = elsewhere("US-TX", ('require = ["person-identified", "person-linked"]', 'require = ["never-sold"]'))
    found = lacks(make_tenant(), regions=frozenset({"US-TX"}), packs=(ban, HOUSE))
    assert told(found) == {("REVIEW", "NOT_EXAMINED", f"pack new-law {IL.version}")}


EITHER = """
[[rule]]
id = "NEW-EITHER"
title = "For comparing, a warrant or a stated term."
citation = "New Law 1"
operations = ["VERIFY"]
code = "NEITHER"
text = "Neither."
remedy = "Either."
otherwise = "DENY"

[[rule.require_one]]
require = ["legal-process"]

[[rule.require_one]]
require = ["notice-on-record", "notice-term", "release-exists"]

[[rule]]
id = "IL-15A-POLICY\""""


def test_what_one_operation_alone_asks_is_found_and_what_a_notice_cannot_mend_is_not_told() -> None:
    law = elsewhere(
        "US-TX",
        ('"notice-identifier", "notice-term", "term-running"]', '"notice-identifier"]'),
        ('\n[[rule]]\nid = "IL-15A-POLICY"', EITHER),
    )
    found = lacks(make_tenant(make_notice(term=None)), regions=frozenset({"US-TX"}), packs=(law, HOUSE))
    assert {(lack.finding.rule_id, lack.finding.code) for lack in found} == {("NEW-EITHER", "NOTICE_TERM_MISSING")}


def test_an_exempt_entity_lacks_nothing_under_the_law_it_is_exempt_from() -> None:
    exempt = make_determination(DeterminationKind.GLBA_TITLE_V, operations=frozenset(), purposes=frozenset())
    spoilt = make_tenant(make_notice(term=None), determinations=(exempt,))
    assert lacks(spoilt) == []


notices = st.builds(
    make_notice,
    says_collected_or_stored=st.booleans(),
    purposes=st.frozensets(st.sampled_from([Purpose.TAGGING, Purpose.PHOTO_HOSTING, Purpose.JOB_RECOMMENDATION])),
    categories=st.frozensets(
        st.sampled_from(
            [
                DataCategory.PHOTO,
                DataCategory.FACE_GEOMETRY,
                DataCategory.FACE_TEMPLATE,
                DataCategory.EMPLOYMENT_HISTORY,
            ]
        )
    ),
    term=st.sampled_from([None, Term(), Term(duration=days(365))]),
)


@settings(max_examples=40, deadline=None)
@given(notice=notices, policy=st.booleans(), care=st.booleans())
def test_who_was_told_and_signed_is_refused_only_for_what_posture_tells(
    notice: Notice, policy: bool, care: bool
) -> None:
    """Every use in the notice's scope that a complete registry permits: refused exactly where something is told."""
    tenant = make_tenant(notice, policies=(make_policy(),) if policy else (), encrypted_at_rest=care)
    found = {lack.finding.code for lack in lacks(tenant)}
    good = completed_tenant(tenant, completed(notice))
    at = NOW + timedelta(minutes=10)
    refused: set[str] = set()
    for purpose in notice.purposes or {Purpose.TAGGING}:
        face = person(notice, at, "US-IL", purpose, age=AgeBand.ADULT, own=True)
        for category in notice.categories or {DataCategory.FACE_TEMPLATE}:
            for request in requests(purpose, category, at, ILLINOIS):
                if decide(request, [face], good, PACKS, now=at, unknown_regions=ILLINOIS).outcome in PERMITS:
                    answer = decide(request, [face], tenant, PACKS, now=at, unknown_regions=ILLINOIS)
                    codes = {reason.code for reason in answer.reasons if reason.remedy}
                    assert answer.outcome in PERMITS or codes & found, (request, codes, found)
                    refused |= set() if answer.outcome in PERMITS else codes
    assert not found or refused or not notice.purposes or not notice.categories or not policy or not care


def standing(**changes: Any) -> Standing:
    made = Standing(
        permit_seconds=60,
        anchored="",
        bundled=PACKS,
        schedule=[
            ScheduleLine("FACE_GEOMETRY", "PURPOSE_SATISFIED", 0),
            ScheduleLine("FACE_TEMPLATE", "LAST_INTERACTION", 30 * 86_400),
        ],
        details={("notice", 1): NoticeDetails("https://example.com/withdraw", True)},
    )
    return replace(made, **changes)


def by_hand(
    tenant: Tenant | None = None,
    regions: frozenset[str] = ILLINOIS,
    packs: tuple[Pack, ...] = PACKS,
    now: datetime = NOW,
    **changes: Any,
) -> set[tuple[str, str, str]]:
    return told(settings_lacks(packs, tenant or make_tenant(), regions, standing(**changes), now))


def test_nothing_is_told_of_settings_that_are_right() -> None:
    assert by_hand() == set()


def test_settings_dates_and_addresses() -> None:
    notice, policy = "notice notice 1", f"policy {make_policy().policy_id} 1"
    assert by_hand(permit_seconds=61) == {("ALLOW", "PERMIT_LONG", "setting permit_seconds")}
    assert by_hand(anchored="not anchored") == {("ALLOW", "LEDGER_NOT_ANCHORED", "ledger")}
    assert by_hand(details={}) == {("ALLOW", "WITHDRAWAL_ADDRESS", notice), ("ALLOW", "PAPER_OPTION", notice)}
    assert by_hand(schedule=[ScheduleLine("FACE_TEMPLATE", "COLLECTION", 5)]) == {("ALLOW", "SCHEDULE_GAP", policy)}
    long = [ScheduleLine("FACE_GEOMETRY", "COLLECTION", 5), ScheduleLine("FACE_TEMPLATE", "LAST_INTERACTION", 10**8)]
    assert by_hand(schedule=long) == {("ALLOW", "SCHEDULE_LONG", policy)}


def test_a_review_is_overdue_in_colorado_after_a_year() -> None:
    colorado = elsewhere("US-CO")
    aged = make_tenant(policies=(make_policy(effective_time=NOW - days(366)),))
    overdue = ("ALLOW", "REVIEW_OVERDUE", f"policy {make_policy().policy_id} 1")
    assert overdue in by_hand(aged, frozenset({"US-CO"}), (colorado, HOUSE))
    assert overdue not in by_hand(aged)


def test_determinations_that_wait_or_are_about_to_expire() -> None:
    kind = DeterminationKind.NONBIOMETRIC
    ending = make_determination(kind, determination_id="det-a", expires_at=NOW + days(29))
    waiting = make_determination(kind, determination_id="det-b", approved_by="")
    ended = make_determination(kind, determination_id="det-c", expires_at=NOW)
    assert by_hand(make_tenant(determinations=(ending, waiting, ended))) == {
        ("REVIEW", "DETERMINATION_EXPIRES", "determination det-a"),
        ("REVIEW", "DETERMINATION_WAITS", "determination det-b"),
    }


def test_packs_that_are_missing_old_or_about_to_end() -> None:
    assert by_hand(regions=frozenset({"US-IL", "US-TX"})) == {("DENY", "PACK_MISSING", "packs")}
    newer = replace(IL, version=IL.version + 1)
    assert by_hand(bundled=(newer, HOUSE)) == {("REVIEW", "PACK_OLD", f"pack us-il-bipa {IL.version}")}
    stale = by_hand(now=NOW + days(400), details={}, packs=(IL,), bundled=())
    assert ("ALLOW", "PACK_STALE", f"pack us-il-bipa {IL.version}") in stale
    ends = elsewhere("US-TX", ("evaluated_as_of", "effective_to = 2026-12-01\nevaluated_as_of"))
    found = by_hand(regions=frozenset({"US-TX"}), packs=(ends, HOUSE))
    assert found == {("REVIEW", "PACK_ENDS", f"pack new-law {IL.version}")}


def test_an_operation_that_is_only_observed_is_told() -> None:
    switch = EnforcementSwitch("enf_1", 9, Operation.ENROLL, False, NOW - days(1), "officer/a", "officer/b")
    observed = make_tenant(enforcement=(switch,))
    assert by_hand(observed) == {("ALLOW", "OPERATION_OBSERVED", "operation ENROLL")}


def test_a_rule_that_wants_one_purpose_released_is_looked_at_whatever_other_purposes_a_notice_names() -> None:
    """Training asks for a release that names training; tagging, which comes before it, has none."""
    both = frozenset({Purpose.MODEL_TRAINING, Purpose.TAGGING, Purpose.ADVERTISING})
    found = lacks(make_tenant(make_notice(purposes=both, categories=frozenset({DataCategory.PHOTO}), term=None)))
    alone = frozenset({Purpose.MODEL_TRAINING})
    only = lacks(make_tenant(make_notice(purposes=alone, categories=frozenset({DataCategory.PHOTO}), term=None)))
    assert {lack.finding for lack in only} <= {lack.finding for lack in found}
