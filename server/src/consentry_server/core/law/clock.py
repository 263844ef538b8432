"""Dates that the law counts: calendar periods, and the events from which a destruction date follows."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from consentry_server.core.law.endings import found_unnecessary_at, kept_until
from consentry_server.core.vocabulary import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from consentry_server.core.law.situation import Chain, Situation

_MONTHS = 12
_LAST_MOMENT = datetime(9999, 12, 31, tzinfo=UTC)


class Event(Words):
    """An event from which a candidate for the destruction date is counted."""

    LAST_INTERACTION = "LAST_INTERACTION"
    """The person's last interaction; where none is on record the signing, for non-users the capture."""
    PURPOSE_SATISFIED = "PURPOSE_SATISFIED"
    """Known only once it is recorded; until then it is named in the detail and gives no date."""
    TERM_END = "TERM_END"
    """The end of the length of term that the notice states."""
    RELEASE_EXPIRES = "RELEASE_EXPIRES"
    FOUND_UNNECESSARY = "FOUND_UNNECESSARY"
    """When holding was found unnecessary, 45 days later where that period was extended: C.R.S. 6-1-1314(2)(c)."""
    DOCUMENT_KEPT_UNTIL = "DOCUMENT_KEPT_UNTIL"
    """The end of what another law keeps, by a determination: Tex. Bus. & Com. Code 503.001(c-1)."""


def add_period(start: datetime, months: int, days: int) -> datetime:
    """Add calendar months, then days, in UTC.

    A day that the target month lacks becomes its last day: three years after 29 February is 28 February, which is
    the earlier and therefore the safer date. What lies beyond the calendar is its last moment.
    """
    if start.tzinfo is not UTC:
        start = start.astimezone(UTC)
    month = start.month - 1 + months
    year = start.year + month // _MONTHS
    if year > _LAST_MOMENT.year:
        return _LAST_MOMENT
    month = month % _MONTHS + 1
    day = min(start.day, calendar.monthrange(year, month)[1]) if start.day > 28 else start.day  # noqa: PLR2004 - every month has 28 days
    moved = start.replace(year, month, day)
    return add_duration(moved, timedelta(days=days)) if days else moved


def add_duration(start: datetime, duration: timedelta) -> datetime:
    """Add a duration; what lies beyond the calendar is its last moment."""
    try:
        return start + duration
    except OverflowError:
        return _LAST_MOMENT


def _last_interaction(s: Situation, c: Chain) -> datetime | None:
    subject = s.subject
    if subject is not None and subject.last_interaction is not None:
        last = subject.last_interaction
        return min(last, s.now)  # an interaction in the future would postpone the date
    if c.release is not None:
        return c.release.time
    return None if s.request.captured_at is None else min(s.request.captured_at, s.now)


def _term_end(_s: Situation, c: Chain) -> datetime | None:
    if c.release is None or c.notice is None or c.notice.term is None or c.notice.term.duration is None:
        return None
    return add_duration(c.release.time, c.notice.term.duration)


def _release_expires(_s: Situation, c: Chain) -> datetime | None:
    return None if c.release is None else c.release.expires_at


def _purpose_satisfied(_s: Situation, _c: Chain) -> datetime | None:
    return None


def _found_unnecessary(s: Situation, c: Chain) -> datetime | None:
    return found_unnecessary_at(s, c.release)


EVENTS: Final[dict[Event, Callable[[Situation, Chain], datetime | None]]] = {
    Event.LAST_INTERACTION: _last_interaction,
    Event.PURPOSE_SATISFIED: _purpose_satisfied,
    Event.TERM_END: _term_end,
    Event.RELEASE_EXPIRES: _release_expires,
    Event.FOUND_UNNECESSARY: _found_unnecessary,
    Event.DOCUMENT_KEPT_UNTIL: kept_until,
}
