"""When a purpose ended, when storage was found unnecessary, and what another law still keeps.

Dates that laws count from and that no single entry states: they follow from what is on record of the person.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from consentry_server.core.record.facts import UNNECESSARY_DAYS
from consentry_server.core.vocabulary import DeterminationKind

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.law.situation import Chain, Situation
    from consentry_server.core.record.facts import Determination, Release, Subject

_UNNECESSARY: Final = DeterminationKind.CO_STORAGE_UNNECESSARY
_KEPT: Final = DeterminationKind.TX_RETENTION_REQUIRED


def purpose_ended_at(s: Situation) -> datetime | None:
    """When the request's purpose ended for this person: with the last release that carried it.

    Args:
        s: The situation.

    Returns:
        The time; None while a release carries the purpose, and where nothing says that it ever began.
    """
    subject, purpose, now = s.subject, s.request.purpose, s.now
    if subject is None:
        return None
    satisfied = [each for each in subject.satisfied if each.purpose is purpose] if subject.satisfied else ()
    ends = [each.time for each in satisfied]
    for release in subject.releases:
        if purpose not in release.purposes:
            continue
        end = release.withdrawn_at
        expires = release.expires_at
        if expires is not None and expires <= now and (end is None or expires < end):
            end = expires
        for each in satisfied:
            if each.ends(release) and (end is None or each.time < end):
                end = each.time
        if end is None:
            return None
        ends.append(end)
    return max(ends, default=None)


def outlives_employment(release: Release, subject: Subject) -> bool:
    """Whether a release was signed and recorded after the person's employment ended, if it did.

    Source: Tex. Bus. & Com. Code 503.001(c-2): the purpose is presumed to expire on termination.
    """
    ended = subject.employment_ended_at
    return ended is None or (release.time > ended and release.signed_at > ended)


def found_unnecessary_at(s: Situation, release: Release | None) -> datetime | None:
    """When it was first found that storing this is no longer necessary, after the release that it rests on.

    Recorded of the person, or determined of more. A finding restricts: it counts from its recording, approved or not,
    and does not expire. One that names a person or an algorithm version is about those alone.

    Args:
        s: The situation.
        release: What the storage rests on; a release after the finding begins anew. None where there is none.

    Returns:
        The time of the first such finding, 45 days later where that period was extended, or None.

    Source: C.R.S. 6-1-1314(2)(C).
    """
    held = None if s.subject is None else s.subject.found_unnecessary(s.request.purpose)
    found = None if held is None else held.destroy_by - timedelta(days=UNNECESSARY_DAYS)
    for each in s.moment.tenant.determinations:
        if each.kind is not _UNNECESSARY or not _is_about(each, s):
            continue
        if release is not None and each.index < release.index:
            continue
        if found is None or each.time < found:
            found = each.time
    return found


def _is_about(found: Determination, s: Situation) -> bool:
    request, subject = s.request, s.subject
    if found.purposes and request.purpose not in found.purposes:
        return False
    if found.subject_ref and (subject is None or subject.subject_ref != found.subject_ref):
        return False
    named = (found.algorithm_id, found.algorithm_version)
    stated = (request.algorithm_id, request.algorithm_version)
    return not all(named) or not all(stated) or named == stated


def kept_until(s: Situation, _c: Chain) -> datetime | None:
    """Until when another law keeps a document of which this is a part: the latest of the active determinations.

    Source: Tex. Bus. & Com. Code 503.001(c-1).
    """
    person = s.person
    if person is None:
        return None
    return max(
        (
            each.expires_at
            for each in s.moment.tenant.determinations
            if each.kind is _KEPT
            and each.active
            and each.time <= s.now < each.expires_at
            and each.subject_ref == person.subject_ref
            and s.request.purpose in each.purposes
        ),
        default=None,
    )
