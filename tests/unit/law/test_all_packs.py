"""What has to hold of every decision with every pack of the build: regions, packs, releases, dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.law import Decision, ObligationKind
from consentry_server.core.law.clock import add_period
from consentry_server.core.record.facts import Term
from consentry_server.core.vocabulary import DataCategory, Operation, Outcome
from consentry_server.tenant import bundled_packs
from tests.unit.law.test_opinions import around
from tests.unit.law.worlds import (
    NOW,
    PERMITS,
    World,
    ask,
    days,
    make_delivery,
    make_notice,
    make_policy,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

PACKS = tuple(pack for pack, _ in bundled_packs())
LAWS = tuple(pack for pack in PACKS if not pack.everywhere)
REGIONS = ["US-IL", "US-TX", "US-WA", "US-CO", "US-NY", "US-OR", "US-MD", "US-CA", "US-VA", "US-CT", "US-IA", "US-OH"]
SOME_REGIONS = st.sampled_from([*REGIONS, "US", "DE", "GB", "EU", "CH"])
NOBODY_ANSWERS = {"REGION_NOT_COVERED", "NO_RULES"}


def decide_in(world: World, *regions: str, packs: Any = PACKS, now: datetime = NOW) -> Decision:
    face, homes = world.face, frozenset(regions)
    if face.subject is None:
        face = replace(face, regions=homes)
    else:
        face = replace(face, subject=replace(face.subject, regions=homes))
    return ask(world.request, face, world.tenant, packs=packs, now=now, unknown=homes)


def dates(decision: Decision) -> list[datetime]:
    return [o.due for o in decision.faces[0].obligations if o.kind is ObligationKind.DESTROY_BY and o.due is not None]


@settings(max_examples=250)
@given(world=around(), home=SOME_REGIONS, more=st.sets(SOME_REGIONS, min_size=1, max_size=3))
def test_adding_a_region_never_loosens(world: World, home: str, more: set[str]) -> None:
    assert decide_in(world, home, *more).outcome.strictness >= decide_in(world, home).outcome.strictness


@settings(max_examples=250)
@given(world=around(), home=SOME_REGIONS, gone=st.sampled_from(LAWS))
def test_adding_a_pack_never_loosens_what_another_answered(world: World, home: str, gone: Any) -> None:
    """Where no other pack answers the house baseline stands in, and a pack that does answer takes its place."""
    fewer = decide_in(world, home, packs=tuple(pack for pack in PACKS if pack is not gone))
    if NOBODY_ANSWERS.isdisjoint(reason.code for reason in fewer.reasons):
        whole = decide_in(world, home)
        silent = {reason.pack_id for reason in fewer.reasons} == {"house-base"}
        assert silent or whole.outcome.strictness >= fewer.outcome.strictness, (gone.id, fewer, whole)


@settings(max_examples=250)
@given(world=around(), home=SOME_REGIONS, data=st.data())
def test_removing_a_release_never_permits(world: World, home: str, data: st.DataObject) -> None:
    assume(world.face.subject is not None and world.face.subject.releases)
    subject = world.face.subject
    assert subject is not None
    if decide_in(world, home).outcome in PERMITS:
        return
    gone = data.draw(st.integers(0, len(subject.releases) - 1))
    releases = subject.releases[:gone] + subject.releases[gone + 1 :]
    without = replace(world, face=replace(world.face, subject=replace(subject, releases=releases)))
    assert decide_in(without, home).outcome not in PERMITS


@settings(max_examples=250)
@given(world=around(), one=SOME_REGIONS, other=SOME_REGIONS)
def test_a_date_under_two_laws_is_the_earlier_of_theirs(world: World, one: str, other: str) -> None:
    both = decide_in(world, one, other)
    if both.outcome not in PERMITS:
        return
    apart = [*dates(decide_in(world, one)), *dates(decide_in(world, other))]
    assert dates(both) == ([min(apart)] if apart else [])


def keeping(last: datetime, region: str, now: datetime) -> Decision:
    """Keeping a template whose notice ends with the purpose, so that the clock alone decides."""
    long_ago = last - days(10)
    notice = make_notice(effective_time=long_ago, term=Term(duration=days(9000)))
    told = make_delivery(time=last - days(2), occurred_at=last - days(2))
    signed = make_release(time=last - days(1), signed_at=last - days(1))
    subject = make_subject(regions=frozenset({region}), deliveries=(told,), releases=(signed,), last_interaction=last)
    request = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE)
    tenant = make_tenant(notice, policies=(make_policy(effective_time=long_ago),))
    return ask(request, named(subject), tenant, packs=LAWS, now=now, unknown=frozenset({region}))


@pytest.mark.parametrize(
    ("region", "last", "over"),
    [
        ("US-IL", datetime(2024, 8, 20, 12, tzinfo=UTC), datetime(2027, 8, 20, 12, tzinfo=UTC)),
        ("US-IL", datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2031, 2, 28, 12, tzinfo=UTC)),
        ("US-IL", datetime(2028, 2, 29, 23, 59, tzinfo=UTC), datetime(2031, 2, 28, 23, 59, tzinfo=UTC)),
        ("US-IL", datetime(2025, 2, 28, 12, tzinfo=UTC), datetime(2028, 2, 28, 12, tzinfo=UTC)),
        ("US-IL", datetime(2026, 3, 8, 8, tzinfo=UTC), datetime(2029, 3, 8, 8, tzinfo=UTC)),  # the hour that is skipped
        ("US-IL", datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2029, 11, 1, 6, tzinfo=UTC)),  # the hour that is twice
    ],
)
def test_the_last_moment_is_counted_in_calendar_years_of_utc(region: str, last: datetime, over: datetime) -> None:
    """740 ILCS 14/15(a): three years; a day that the year lacks is the day before."""
    assert keeping(last, region, over - timedelta(microseconds=1)).outcome is Outcome.ALLOW
    assert keeping(last, region, over).outcome is Outcome.DENY
    assert dates(keeping(last, region, last + days(1))) == [over]


ZONES = [ZoneInfo("America/Chicago"), ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Asia/Kathmandu")]
MOMENTS = st.integers(1_725_000_000, 1_890_000_000).map(lambda second: datetime.fromtimestamp(second, tz=UTC))


@settings(max_examples=150)
@given(last=MOMENTS, after=st.timedeltas(days(0), days(1500)), zone=st.sampled_from(ZONES))
def test_the_zone_in_which_a_time_is_written_changes_nothing(last: datetime, after: timedelta, zone: ZoneInfo) -> None:
    now = last + after
    plain = keeping(last, "US-IL", now)
    there = keeping(last.astimezone(zone), "US-IL", now.astimezone(zone))
    assert plain.outcome is there.outcome
    assert dates(plain) == dates(there)


@given(start=MOMENTS, months=st.integers(0, 60), more=st.integers(0, 90), zone=st.sampled_from(ZONES))
def test_a_period_is_the_same_from_any_zone(start: datetime, months: int, more: int, zone: ZoneInfo) -> None:
    assert add_period(start.astimezone(zone), months, more) == add_period(start, months, more)
