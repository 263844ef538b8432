"""Coming of age: what is known of it, and from when on it counts.

No birth date is ever recorded: the day on which somebody comes of age is their birthday. What a caller may record is
the calendar quarter of it, by the law of the person's own home (18 years in most states, 19 or 21 in some). It is read
strictly at both ends, so that neither a time zone nor 29 February decides anything:

1. From the quarter's first moment anywhere on earth on, what a representative signed is for review.
2. Before the quarter's first day has begun everywhere, nobody on record as a child becomes an adult. From then on they
   do when a caller claims it; until somebody does, their own signature stays a child's.
3. A bare claim of ADULT against a child on record, with no quarter or before it, makes nobody an adult. It is a
   contradiction all the same: what a representative signed is for review.

4. A claim that an adult on record is a child after all counts from then on. It makes no release good that a parent
   gave before it.

Time alone therefore only ever restricts, and a claim alone never makes a child's signature an adult's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.record.facts import Claim
from consentry_server.core.vocabulary import AgeBand, AuthorityBasis, SignerRole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from consentry_server.core.record.facts import Release, Subject

QUARTER: Final = re.compile(r"([12][0-9]{3})-Q([1-4])")
"""Such as ``2031-Q2``."""
CHILD: Final = frozenset({AgeBand.UNDER_13, AgeBand.MINOR})
OVER_ADULT: Final = frozenset({AuthorityBasis.GUARDIAN, AuthorityBasis.COURT_ORDER, AuthorityBasis.POWER_OF_ATTORNEY})
"""Who may sign for an adult: being a parent is no authority."""
EARLIEST_ZONE: Final = timedelta(hours=14)
"""How long before UTC a day begins in the first of the time zones, UTC+14."""
LATEST_ZONE: Final = timedelta(hours=12)
"""How long after UTC a day begins in the last of the time zones, UTC-12."""
_MONTHS: Final = 3
_YOUNGEST_FIRST = (AgeBand.UNDER_13, AgeBand.MINOR, AgeBand.ADULT, AgeBand.UNKNOWN)


def begins(quarter: str) -> tuple[datetime, datetime]:
    """When a calendar quarter begins: anywhere on earth, and everywhere.

    Args:
        quarter: Such as ``2031-Q2``.

    Raises:
        ValueError: It is no such quarter.
    """
    parts = QUARTER.fullmatch(quarter)
    if parts is None:
        message = f"{quarter!r} is no calendar quarter such as 2031-Q2"
        raise ValueError(message)
    start = datetime(int(parts[1]), int(parts[2]) * _MONTHS - _MONTHS + 1, 1, tzinfo=UTC)
    return start - EARLIEST_ZONE, start + LATEST_ZONE


def ends(quarter: str) -> datetime:
    """When a calendar quarter has ended everywhere; see :func:`begins`."""
    year, number = int(quarter[:4]), int(quarter[-1])
    return begins(f"{year}-Q{number + 1}" if number < 4 else f"{year + 1}-Q1")[1]  # noqa: PLR2004 - a year has four


def aged(subject: Subject, claims: Mapping[str, Any], time: datetime, index: int) -> Subject:
    """What is known of a person's age after one more claim.

    Args:
        subject: The person before it.
        claims: What the entry claims, as it has it.
        time: When the entry was recorded.
        index: The entry.
    """
    claimed = AgeBand(claims.get("age_band", AgeBand.UNKNOWN))
    quarter: str = max(claims.get("majority_quarter", ""), subject.majority_quarter)
    if quarter and "majority_quarter" in claims:
        first, everywhere = begins(claims["majority_quarter"])
        subject = replace(subject, majority_quarter=quarter, outgrown_at=_earlier(subject.outgrown_at, first))
        if claimed is AgeBand.UNKNOWN and time < everywhere:
            claimed = AgeBand.MINOR  # who comes of age later is a child
    if claimed is AgeBand.ADULT and subject.age_band in CHILD:
        subject = replace(subject, outgrown_at=_earlier(subject.outgrown_at, time))  # (3)
        if quarter and begins(quarter)[1] <= time:
            return replace(subject, age_band=AgeBand.ADULT, adult_since=time)  # (2)
    if claimed in CHILD and subject.age_band is AgeBand.ADULT:
        subject = replace(subject, child_index=index)  # (4)
    return replace(subject, age_band=_younger(subject.age_band, claimed))


def outgrown(subject: Subject, release: Release, now: datetime) -> bool:
    """Whether a representative signed, and the person may have come of age since.

    What a guardian or another with authority over an adult signed since then is none of that.

    Args:
        subject: Whose release it is.
        release: The release.
        now: The time, UTC.
    """
    since = subject.outgrown_at
    return (
        since is not None
        and since <= now
        and release.signer_role is SignerRole.REPRESENTATIVE
        and (release.signed_at < since or release.authority_basis not in OVER_ADULT)
    )


def note_claims(subject: Subject, claims: Mapping[str, Any], index: int) -> Subject:
    """Note which entry first claimed what; what is known already stays with the entry that said it first.

    Args:
        subject: The person before it.
        claims: What the entry claims, as it has it.
        index: The entry.
    """
    known = {(each.fact, each.value) for each in subject.claimed}
    new = tuple(Claim(fact, value, index) for fact, value in _said(claims) if (fact, value) not in known)
    return replace(subject, claimed=(*subject.claimed, *new)) if new else subject


def _said(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for region in claims.get("regions", ()):
        yield "region", region
    for fact in ("age_band", "majority_quarter", "relationship"):
        if fact in claims:
            yield fact, claims[fact]


def _younger(known: AgeBand, claimed: AgeBand) -> AgeBand:
    """A later claim never makes a child's own signature an adult's: the younger counts."""
    return min(known, claimed, key=_YOUNGEST_FIRST.index)


def _earlier(known: datetime | None, other: datetime) -> datetime:
    return other if known is None else min(known, other)
