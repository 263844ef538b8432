"""Whether a release supports anything now, as a reader is told; decisions ask the packs, which may ask for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry_server.core.record.majority import outgrown
from consentry_server.core.vocabulary import TermEnd, Words

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.record.facts import Notice, Release, Subject


class Standing(Words):
    """The words of ``ReleaseState`` in ``consent.proto``."""

    LIVE = "LIVE"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"
    OUTGROWN = "OUTGROWN"


def standing(release: Release, subject: Subject, notice: Notice | None, now: datetime) -> Standing:
    """Say how a release stands.

    Args:
        release: The release.
        subject: Whose it is.
        notice: The notice version it rests on; None where that is not on record.
        now: The time, UTC.
    """
    if release.withdrawn_at is not None:
        return Standing.WITHDRAWN
    if release.superseded_by:
        return Standing.SUPERSEDED
    if (release.expires_at is not None and release.expires_at <= now) or _is_over(release, subject, notice, now):
        return Standing.EXPIRED
    return Standing.OUTGROWN if outgrown(subject, release, now) else Standing.LIVE


def _is_over(release: Release, subject: Subject, notice: Notice | None, now: datetime) -> bool:
    """Whether the length of term that the notice states has ended; it is counted from the recording."""
    term = None if notice is None else notice.term
    if term is None:
        return False
    if term.duration is not None and term.duration <= now - release.time:
        return True
    if term.end is TermEnd.EMPLOYMENT_ENDED:
        return subject.employment_ended_at is not None
    return term.end is TermEnd.ACCOUNT_CLOSED and subject.account_closed_at is not None
