"""Requirements on the state of the record: employment, purposes that ended, notices given, consents kept apart.

A part of the closed vocabulary; ``requirements`` lists its words with the others.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.law.clock import add_period
from consentry_server.core.law.endings import found_unnecessary_at, outlives_employment, purpose_ended_at
from consentry_server.core.vocabulary import ConsentScope, Purpose, ReleaseForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from consentry_server.core.law.reading import Table
    from consentry_server.core.law.situation import Chain, Situation

    Plain = Callable[[Situation], bool]
    Chained = Callable[[Situation, Chain], "bool | None"]

_EMPLOYMENT_RELEASE: Final = ReleaseForm.EMPLOYMENT_RELEASE


def _is_released(s: Situation) -> bool:
    """Whether some release plainly carries the purpose: the usual case, answered first."""
    for release in () if s.subject is None else s.subject.releases:
        if release.withdrawn_at is None and release.expires_at is None and s.request.purpose in release.purposes:
            return True
    return False


@cache
def _ended_within(months: int, days: int) -> Plain:
    def holds(s: Situation) -> bool:
        subject = s.subject
        if subject is None or (not subject.satisfied and _is_released(s)):
            return True
        ended = purpose_ended_at(s)
        return ended is None or s.now < add_period(ended, months, days)

    return holds


@cache
def _without_scopes(unwanted: frozenset[ConsentScope]) -> Chained:
    return lambda _s, c: None if c.release is None else unwanted.isdisjoint(c.release.scopes)


@cache
def _signed_within(months: int, days: int) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        r = c.release
        return None if r is None else s.now < add_period(min(r.signed_at, r.time), months, days)

    return holds


@cache
def _voluntary_unless(purposes: frozenset[Purpose]) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        r = c.release
        if r is None:
            return None
        required = r.condition_of_employment or r.form is _EMPLOYMENT_RELEASE
        return not required or s.request.purpose in purposes

    return holds


@cache
def _still_necessary(months: int, days: int) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        if c.release is None:
            return None
        found = found_unnecessary_at(s, c.release) if s.moment.tenant.determinations else None
        return found is None or s.now < add_period(found, months, days)

    return holds


def _outlives_employment(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None or s.subject is None else outlives_employment(c.release, s.subject)


def _period(make: Callable[[int, int], Any]) -> Callable[[Table], Any]:
    return lambda table: make(*table.period("period", required=True))


PLAIN_STATES: Final[dict[str, Callable[[Table], Plain]]] = {
    "record.purpose_ended_within": _period(_ended_within),
}
"""On the person and what is on record."""

CHAIN_STATES: Final[dict[str, Callable[[Table], Chained]]] = {
    "release.outlives_employment": lambda _: _outlives_employment,
    "release.signed_within": _period(_signed_within),
    "release.still_necessary": _period(_still_necessary),
    "release.voluntary_unless": lambda table: _voluntary_unless(table.words("purposes", Purpose)),
    "release.without_scopes": lambda table: _without_scopes(table.words("scopes", ConsentScope)),
}
"""On one release with its delivery and notice."""
