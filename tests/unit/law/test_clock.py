"""Calendar periods: leap days, ends of months, time zones, the end of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from consentry_server.core.law.clock import add_duration, add_period
from consentry_server.core.law.model import ObligationKind
from consentry_server.core.record.facts import Term
from tests.unit.law.worlds import (
    NOW,
    ask,
    days,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)


@pytest.mark.parametrize(
    ("start", "months", "plus_days", "expected"),
    [
        ((2024, 2, 29), 36, 0, (2027, 2, 28)),
        ((2024, 2, 29), 48, 0, (2028, 2, 29)),
        ((2023, 11, 23), 36, 0, (2026, 11, 23)),
        ((2026, 1, 31), 1, 0, (2026, 2, 28)),
        ((2026, 12, 31), 2, 1, (2027, 3, 1)),
        ((2026, 6, 15), 0, 45, (2026, 7, 30)),
    ],
)
def test_a_period_is_counted_in_calendar_months(
    start: tuple[int, int, int], months: int, plus_days: int, expected: tuple[int, int, int]
) -> None:
    assert add_period(datetime(*start, 5, tzinfo=UTC), months, plus_days) == datetime(*expected, 5, tzinfo=UTC)


def test_what_lies_beyond_the_calendar_is_its_end() -> None:
    assert add_period(NOW, 12 * 9000, 0).year == 9999
    assert add_duration(NOW, timedelta.max).year == 9999


def test_the_destruction_date_is_the_earliest_candidate() -> None:
    subject = make_subject(last_interaction=datetime(2024, 2, 29, tzinfo=UTC))
    (due,) = [
        o.due
        for o in ask(face=named(subject), tenant=make_tenant(make_notice(term=Term(duration=days(4000)))))
        .faces[0]
        .obligations
        if o.kind is ObligationKind.DESTROY_BY
    ]
    assert due == datetime(2027, 2, 28, tzinfo=UTC)
    sooner = make_subject(releases=(make_release(expires_at=NOW + days(3)),))
    (due,) = [o.due for o in ask(face=named(sooner)).faces[0].obligations if o.kind is ObligationKind.DESTROY_BY]
    assert due == NOW + days(3)


def test_an_interaction_in_the_future_postpones_nothing() -> None:
    subject = make_subject(last_interaction=NOW + days(4000))
    tenant = make_tenant(make_notice(term=Term(duration=days(9000))))
    (due,) = [o.due for o in ask(face=named(subject), tenant=tenant).faces[0].obligations if o.kind == "DESTROY_BY"]
    assert due == datetime(2029, 11, 23, 12, tzinfo=UTC)


def test_a_clock_in_another_zone_gives_the_same_answer() -> None:
    chicago = NOW.astimezone(timezone(timedelta(hours=-6)))
    assert ask(now=chicago).outcome is ask().outcome


def test_a_permission_without_anything_kept_has_no_destruction_date() -> None:
    kinds = {o.kind for o in ask(make_request(stored=False)).faces[0].obligations}
    assert ObligationKind.DESTROY_BY not in kinds
    assert ObligationKind.RECHECK_BY in kinds
