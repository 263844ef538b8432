"""Requirements on who signed: the person, a child, a representative, and whether that still holds.

Sources: 740 ILCS 14/15(b) ("or the subject's legally authorized representative"); Rosenbach; statutes.md 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.core.record.majority import CHILD, OVER_ADULT, outgrown
from consentry_server.core.vocabulary import AgeBand, AuthorityBasis, SignerRole

if TYPE_CHECKING:
    from consentry_server.core.law.situation import Chain, Situation
    from consentry_server.core.record.facts import Release, Subject

_OVER_CHILD = frozenset({AuthorityBasis.PARENT, AuthorityBasis.GUARDIAN, AuthorityBasis.COURT_ORDER})
"""Who may sign for a child: statutes.md 7."""
_SELF: Final = SignerRole.SELF
_ADULT: Final = AgeBand.ADULT
_AGE_UNKNOWN: Final = AgeBand.UNKNOWN
_NO_AUTHORITY: Final = AuthorityBasis.NONE


def release_not_childs_own(s: Situation, c: Chain) -> bool | None:
    """What a child signed stays a child's signature after they have come of age."""
    r, subject = c.release, s.subject
    if r is None or subject is None:
        return None
    if r.signer_role is not _SELF:
        return True
    return s.age not in CHILD and (subject.adult_since is None or subject.adult_since <= r.signed_at)


def age_settled(s: Situation, c: Chain) -> bool | None:
    """Whose age is unknown, with signs of a child, does not sign for themselves."""
    return (
        None
        if c.release is None
        else (c.release.signer_role is not _SELF or s.age is not _AGE_UNKNOWN or not s.shows_sign_of_child)
    )


def _outgrown(s: Situation, r: Release, subject: Subject) -> bool:
    """Whether the person may have come of age since a representative signed, on record or by the caller's claim."""
    return outgrown(subject, r, s.now) or (s.face.age_band is _ADULT and subject.age_band in CHILD)


def not_outgrown(s: Situation, c: Chain) -> bool | None:
    """What a representative signed for a child lasts no longer than childhood; see ``core.record.majority``."""
    r = c.release
    if r is None:
        return None
    if r.signer_role is _SELF:
        return True
    return None if s.subject is None else not _outgrown(s, r, s.subject)


def release_by_parent(_s: Situation, c: Chain) -> bool | None:
    """A parent or somebody in a parent's place signed, whatever is known of the age."""
    r = c.release
    return None if r is None else bool(r.representative_ref) and r.authority_basis in _OVER_CHILD


def authority_at_signing(s: Situation, c: Chain) -> bool | None:
    """Who signed was entitled to then; alone it is no requirement: it goes with :func:`not_outgrown`."""
    r = c.release
    if r is None:
        return None
    return not r.representative_ref if r.signer_role is _SELF else _represents(s, r)


def release_authority(s: Situation, c: Chain) -> bool | None:
    """Who signed was entitled to, and still is."""
    r = c.release
    if r is None:
        return None
    return not r.representative_ref if r.signer_role is _SELF else _represents(s, r) and not_outgrown(s, c)


def _represents(s: Situation, r: Release) -> bool | None:
    subject = s.subject
    if subject is None:
        return None
    if not r.representative_ref or r.authority_basis is _NO_AUTHORITY:
        return False
    if _outgrown(s, r, subject):
        return r.authority_basis in _OVER_CHILD
    # each of record and claim has to bear it: a claim never makes a parent of an adult's
    if s.age in CHILD and r.authority_basis not in _OVER_CHILD:
        return False
    adult = subject.age_band is _ADULT or s.face.age_band is _ADULT or r.index < subject.child_index
    return not adult or r.authority_basis in OVER_ADULT
