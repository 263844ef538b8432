"""The closed vocabulary of requirements: what has to hold before an operation is permitted.

There are four sorts. A *settled* requirement looks at the circumstances alone, and is answered when a plan is made.
A *plain* requirement looks at the situation. A *determination* has to be on record. A *chain* requirement looks at
one release with its own delivery and notice, and answers None where the piece it is about is missing: that is never
a yes, and the missing piece is reported by its own requirement.

The same requirement with the same arguments is the same object, whichever pack names it, so that it is asked once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law.circumstances import Question, one_of
from consentry_server.core.law.clock import add_period
from consentry_server.core.law.situation import Chain, Situation
from consentry_server.core.law.states import CHAIN_STATES, PLAIN_STATES
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    NoticeChannel,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    TermEnd,
)

if TYPE_CHECKING:
    from consentry_server.core.law.reading import Table
    from consentry_server.core.record.facts import Determination

Plain = Callable[[Situation], bool]
Chained = Callable[[Situation, Chain], "bool | None"]


class PerIdentifier(NamedTuple):
    """A chain requirement that is another one for each identifier a scope row names."""

    make: Callable[[DataCategory], Chained]


class PlainPerIdentifier(NamedTuple):
    """A plain requirement that is another one for each identifier a scope row names."""

    make: Callable[[DataCategory], Plain]


class Sought(NamedTuple):
    """A determination that a rule requires or an exemption rests on.

    Args:
        kind: Its kind.
        entity_wide: Whether an empty list of operations or purposes means every one.
        algorithm: Whether it has to name an algorithm.
        about_subject: Whether it has to name the person.
    """

    kind: DeterminationKind
    entity_wide: bool = False
    algorithm: bool = False
    about_subject: bool = False


_CHILD = frozenset({AgeBand.UNDER_13, AgeBand.MINOR})
_OVER_CHILD = frozenset({AuthorityBasis.PARENT, AuthorityBasis.GUARDIAN, AuthorityBasis.COURT_ORDER})
"""Who may sign for a child: statutes.md 7."""
_OVER_ADULT = frozenset({AuthorityBasis.GUARDIAN, AuthorityBasis.COURT_ORDER, AuthorityBasis.POWER_OF_ATTORNEY})
"""Being a parent is no authority over an adult."""

_ON_PAPER = frozenset({SignatureProcess.WET_INK})
_ELECTRONIC = frozenset(
    {
        SignatureProcess.TYPED_NAME,
        SignatureProcess.DRAWN_SIGNATURE,
        SignatureProcess.CLICK_TO_SIGN,
        SignatureProcess.DIGITAL_CERTIFICATE,
    }
)
_INTENT: Final[dict[ReleaseForm, frozenset[SignatureProcess]]] = {
    ReleaseForm.WRITTEN_CONSENT: _ON_PAPER | _ELECTRONIC,
    ReleaseForm.EMPLOYMENT_RELEASE: _ON_PAPER | _ELECTRONIC,
    ReleaseForm.ELECTRONIC_SIGNATURE: _ELECTRONIC | {SignatureProcess.SPOKEN_ASSENT},
}
"""Acts of signing with the intent to sign, 740 ILCS 14/10. PAGE_VIEW and CONTINUED_USE are in none: viewing a page
or going on using a service is no act of signing."""


# Looking a word up in its enum at each call costs as much as the rest of a requirement.
_SELF: Final = SignerRole.SELF
_AGE_UNKNOWN: Final = AgeBand.UNKNOWN
_EMPLOYEE: Final = Relationship.EMPLOYEE
_EMPLOYMENT_RELEASE: Final = ReleaseForm.EMPLOYMENT_RELEASE
_EMPLOYMENT_ENDED: Final = TermEnd.EMPLOYMENT_ENDED
_ACCOUNT_CLOSED: Final = TermEnd.ACCOUNT_CLOSED
_NO_AUTHORITY: Final = AuthorityBasis.NONE
_NO_TIME: Final = timedelta(0)


# what the circumstances settle


def _purpose_in(table: Table) -> Question:
    return one_of("purpose", frozenset(table.words("purposes", Purpose)))


def _category_in(table: Table) -> Question:
    return one_of("category", frozenset(table.words("categories", DataCategory)))


_LINKED: Final = Question(lambda c: not c.named or c.known, frozenset({"named", "known"}))
_NOT_VALUE: Final = frozenset(Consideration) - {Consideration.VALUE}
_YES: Final = frozenset({True})


# the tenant and the person


def policy_in_force(s: Situation) -> bool:
    """A complete public policy; its entry is part of the basis."""
    return s.moment.policy is not None


@cache
def _within(months: int, days: int) -> Plain:
    at_least = timedelta(days=28 * months + days)  # no month is shorter: what is within this needs no calendar

    def holds(s: Situation) -> bool:
        subject = s.subject
        since = s.request.captured_at if subject is None or subject.last_interaction is None else None
        if subject is not None and subject.last_interaction is not None:
            since = subject.last_interaction
        elif subject is not None and since is None:
            since = max((release.time for release in subject.releases), default=None)
        if since is None:
            return False
        return s.now - since < at_least or s.now < add_period(since, months, days)

    return holds


def _within_retention(table: Table) -> Plain:
    return _within(*table.period("period", required=True))


def _no_sign_of_child(s: Situation) -> bool:
    return not s.shows_sign_of_child


def _not_opted_out(s: Situation) -> bool:
    subject = s.subject
    return subject is not None and not any(each.reaches(s.request.purpose) for each in subject.opt_outs)


@cache
def _told(accepted: frozenset[NoticeChannel]) -> PlainPerIdentifier:
    """Notice without a release: a delivered notice that says it is collected, names it, its purpose and recipient."""

    @cache
    def make(identifier: DataCategory) -> Plain:
        named = {identifier, _IMPLIES.get(identifier, identifier)}

        def holds(s: Situation) -> bool:
            notices = s.moment.tenant.notices
            for d in () if s.subject is None else s.subject.deliveries:
                n = notices.get((d.notice_id, d.notice_version))
                if (
                    n is not None
                    and d.channel in accepted
                    and n.index < d.index
                    and d.time <= s.now
                    and d.occurred_at <= s.now
                    and n.effective_time <= s.now
                    and n.says_collected_or_stored
                    and s.request.purpose in n.purposes
                    and (not s.request.recipient_id or s.request.recipient_id in n.recipients)
                    and not named.isdisjoint(n.categories)
                ):
                    return True
            return False

        return holds

    return PlainPerIdentifier(make)


def _determination(table: Table) -> Sought:
    return Sought(table.word("kind", DeterminationKind), about_subject=table.flag("about_subject", default=False))


_sorted: tuple[tuple[Determination, ...], dict[DeterminationKind, list[Determination]]] = ((), {})
"""The determinations last asked about, by their kind: a tenant's are the same tuple until one more is recorded."""


def _of_kinds(determinations: tuple[Determination, ...]) -> dict[DeterminationKind, list[Determination]]:
    global _sorted  # noqa: PLW0603 - made of the argument alone, and put in place whole: it is no state
    known, by_kind = _sorted
    if known is not determinations:
        by_kind = {}
        for each in determinations:
            by_kind.setdefault(each.kind, []).append(each)
        _sorted = (determinations, by_kind)
    return by_kind


def match_determination(s: Situation, sought: Sought) -> Determination | None:
    """The recorded determination that covers this situation, or None.

    1. It is of this kind, approved by a second officer, recorded by now, and not expired.
    2. Its operations and purposes name the request's; an empty list means every one for entity-wide kinds only.
    3. Where it names a person, this is that person, and it is known how the caller knows; some uses need one named.
    4. Where it names an algorithm, the request's algorithm and version are exactly those; some uses need one named.
    """
    request = s.request
    of_kind = _of_kinds(s.moment.tenant.determinations).get(sought.kind)
    if of_kind is None:
        return None
    person = s.person
    for found in of_kind:
        if not found.active or not found.time <= s.now < found.expires_at:  # (1)
            continue
        if request.operation not in found.operations and (found.operations or not sought.entity_wide):  # (2)
            continue
        if request.purpose not in found.purposes and (found.purposes or not sought.entity_wide):
            continue
        if (found.subject_ref or sought.about_subject) and (  # (3)
            person is None or person.subject_ref != found.subject_ref
        ):
            continue
        if (found.algorithm_id or found.algorithm_version or sought.algorithm) and (  # (4)
            not found.algorithm_id
            or not found.algorithm_version
            or (found.algorithm_id, found.algorithm_version) != (request.algorithm_id, request.algorithm_version)
        ):
            continue
        return found
    return None


# the chain: delivery


def _delivery_exists(s: Situation, c: Chain) -> bool | None:
    return None if s.subject is None else c.delivery is not None


@cache
def _delivered_by(accepted: frozenset[NoticeChannel]) -> Chained:
    return lambda _s, c: None if c.delivery is None else c.delivery.channel in accepted


def _delivery_matches(_s: Situation, c: Chain) -> bool | None:
    d, r = c.delivery, c.release
    if d is None or r is None:
        return None
    return (
        d.notice_id == r.notice_id
        and d.notice_version == r.notice_version
        and d.signer_role is r.signer_role
        and d.representative_ref == r.representative_ref
    )


def _delivery_first(s: Situation, c: Chain) -> bool | None:
    d, r, n = c.delivery, c.release, c.notice
    if d is None:
        return None
    if d.time > s.now or (n is not None and n.index >= d.index):
        return False
    return r is None or (d.index < r.index and d.time <= r.time and d.occurred_at <= r.signed_at)


# the chain: notice


def _notice_exists(_s: Situation, c: Chain) -> bool | None:
    return None if c.delivery is None else c.notice is not None


def _notice_effective(s: Situation, c: Chain) -> bool | None:
    return None if c.notice is None else c.notice.effective_time <= s.now


def _notice_collection(_s: Situation, c: Chain) -> bool | None:
    return None if c.notice is None else c.notice.says_collected_or_stored is True


def _notice_covers_purpose(s: Situation, c: Chain) -> bool | None:
    return None if c.notice is None else s.request.purpose in c.notice.purposes


@cache
def _notice_names(wanted: Purpose) -> Chained:
    return lambda _s, c: None if c.notice is None else wanted in c.notice.purposes


_IMPLIES: Final[dict[DataCategory, DataCategory]] = {DataCategory.FACE_GEOMETRY: DataCategory.FACE_TEMPLATE}
"""Who was told of face templates was told of the geometry they are made of; never the other way round."""


@cache
def _notice_covers(identifier: DataCategory) -> Chained:
    wider = _IMPLIES.get(identifier, identifier)
    return lambda _s, c: None if c.notice is None else identifier in c.notice.categories or wider in c.notice.categories


def _notice_category(s: Situation, c: Chain) -> bool | None:
    return None if c.notice is None else s.request.category in c.notice.categories


def _notice_term(_s: Situation, c: Chain) -> bool | None:
    if c.notice is None:
        return None
    term = c.notice.term
    if term is None:
        return False
    return term.end is not None if term.duration is None else term.duration > _NO_TIME


def _term_running(s: Situation, c: Chain) -> bool | None:
    n, r, subject = c.notice, c.release, s.subject
    if n is None or r is None or n.term is None or subject is None:
        return None
    term = n.term
    if term.duration is not None and s.now - r.time >= term.duration:
        return False
    if term.end is _EMPLOYMENT_ENDED:
        return subject.employment_ended_at is None
    if term.end is _ACCOUNT_CLOSED:
        return subject.account_closed_at is None
    return True  # the other two ends have requirements of their own


def _term_not_over(s: Situation, c: Chain) -> bool | None:
    if c.notice is not None and c.release is not None and c.notice.term is None:
        return True
    return _term_running(s, c)


def _notice_recipient(s: Situation, c: Chain) -> bool | None:
    return None if c.notice is None else s.request.recipient_id in c.notice.recipients


# the chain: release


def _release_exists(s: Situation, c: Chain) -> bool | None:
    return None if s.subject is None else c.release is not None


def _release_recorded(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else c.release.signed_at <= c.release.time <= s.now


def _release_not_withdrawn(_s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else c.release.withdrawn_at is None and c.release.withdrawn_index < 0


def _release_not_expired(s: Situation, c: Chain) -> bool | None:
    if c.release is None:
        return None
    return c.release.expires_at is None or s.now < c.release.expires_at


def _release_covers_purpose(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else s.request.purpose in c.release.purposes


@cache
def _release_names(wanted: Purpose) -> Chained:
    return lambda _s, c: None if c.release is None else wanted in c.release.purposes


def _purpose_open(s: Situation, c: Chain) -> bool | None:
    release = c.release
    if release is None or s.subject is None:
        return None
    for each in s.subject.satisfied:  # noqa: SIM110 - a generator costs more than what it iterates over
        if each.purpose is s.request.purpose and each.ends(release):
            return False
    return True


@cache
def _release_covers(identifier: DataCategory) -> Chained:
    wider = _IMPLIES.get(identifier, identifier)
    return lambda _s, c: (
        None if c.release is None else identifier in c.release.categories or wider in c.release.categories
    )


def _release_category(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else s.request.category in c.release.categories


def _release_recipient(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else s.request.recipient_id in c.release.recipients


@cache
def _release_has(scope: ConsentScope) -> Chained:
    return lambda _s, c: None if c.release is None else scope in c.release.scopes


@cache
def _release_form(accepted: frozenset[ReleaseForm]) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        r, subject = c.release, s.subject
        if r is None or subject is None:
            return None
        if r.form not in accepted:
            return False
        if r.form is _EMPLOYMENT_RELEASE or r.condition_of_employment:
            return subject.relationship is _EMPLOYEE and subject.employment_ended_at is None
        return True

    return holds


def _release_signed(_s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else c.release.process in _INTENT[c.release.form]


@cache
def _electronic_since(start: datetime) -> Chained:
    def holds(_s: Situation, c: Chain) -> bool | None:
        r = c.release
        if r is None:
            return None
        return r.process in _ON_PAPER or (r.signed_at >= start and r.time >= start)

    return holds


def _release_document(_s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else bool(c.release.signed_document_sha256)


def _release_not_childs_own(s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else c.release.signer_role is not _SELF or s.age not in _CHILD


def _age_settled(s: Situation, c: Chain) -> bool | None:
    return (
        None
        if c.release is None
        else (c.release.signer_role is not _SELF or s.age is not _AGE_UNKNOWN or not s.shows_sign_of_child)
    )


def _release_explicit(_s: Situation, c: Chain) -> bool | None:
    return None if c.release is None else c.release.explicit


def _release_unconditional(_s: Situation, c: Chain) -> bool | None:
    r = c.release
    return None if r is None else not r.condition_of_employment and r.form is not _EMPLOYMENT_RELEASE


def _release_after_opt_out(s: Situation, c: Chain) -> bool | None:
    release = c.release
    if release is None or s.subject is None:
        return None
    for each in s.subject.opt_outs:  # noqa: SIM110 - a generator costs more than what it iterates over
        if each.reaches(s.request.purpose) and each.ends(release):
            return False
    return True


def _release_by_parent(_s: Situation, c: Chain) -> bool | None:
    r = c.release
    return None if r is None else bool(r.representative_ref) and r.authority_basis in _OVER_CHILD


def _release_authority(s: Situation, c: Chain) -> bool | None:
    r = c.release
    if r is None:
        return None
    if r.signer_role is _SELF:
        return not r.representative_ref
    if not r.representative_ref or r.authority_basis is _NO_AUTHORITY:
        return False
    if s.age in _CHILD:
        return r.authority_basis in _OVER_CHILD
    return s.age is _AGE_UNKNOWN or r.authority_basis in _OVER_ADULT


def _midnight(table: Table, key: str) -> datetime:
    day = table.day(key)
    return datetime.combine(day if day is not None else date.max, time(), tzinfo=UTC)


PLAIN: Final[dict[str, Callable[[Table], Question | Plain | PlainPerIdentifier | Sought]]] = {
    "never": lambda _: Question(lambda _c: False, frozenset()),
    "person.identified": lambda _: one_of("named", _YES),
    "person.linked": lambda _: _LINKED,
    "person.no_sign_of_child": lambda _: _no_sign_of_child,
    "person.not_opted_out": lambda _: _not_opted_out,
    "person.told": lambda table: _told(table.words("channels", NoticeChannel)),
    "record.within_retention": _within_retention,
    "request.category_in": _category_in,
    "request.consideration_none": lambda _: one_of("consideration", frozenset({Consideration.NONE})),
    "request.consideration_not_value": lambda _: one_of("consideration", _NOT_VALUE),
    "request.disclosure_evidence": lambda _: one_of("has_disclosure_evidence", _YES),
    "request.purpose_in": _purpose_in,
    "request.recipient_named": lambda _: one_of("has_recipient", _YES),
    "tenant.determination": _determination,
    "tenant.encrypted_at_rest": lambda _: one_of("encrypted_at_rest", _YES),
    "tenant.encrypted_in_transit": lambda _: one_of("encrypted_in_transit", _YES),
    "tenant.policy_in_force": lambda _: policy_in_force,
    "tenant.protection_at_least_other_sensitive": lambda _: one_of("protection_at_least_other_sensitive", _YES),
    **PLAIN_STATES,
}
"""Every requirement on the operation, the person and the tenant that a pack may name."""

CHAIN: Final[dict[str, Callable[[Table], Chained | PerIdentifier]]] = {
    "delivery.exists": lambda _: _delivery_exists,
    "delivery.channel_in": lambda table: _delivered_by(table.words("channels", NoticeChannel)),
    "delivery.matches_release": lambda _: _delivery_matches,
    "delivery.before_release": lambda _: _delivery_first,
    "notice.exists": lambda _: _notice_exists,
    "notice.effective": lambda _: _notice_effective,
    "notice.says_collected_or_stored": lambda _: _notice_collection,
    "notice.covers_purpose": lambda table: (
        _notice_names(table.word("purpose", Purpose)) if "purpose" in table else _notice_covers_purpose
    ),
    "notice.covers_identifier": lambda _: PerIdentifier(_notice_covers),
    "notice.covers_category": lambda _: _notice_category,
    "notice.states_term": lambda _: _notice_term,
    "notice.term_running": lambda _: _term_running,
    "notice.term_not_over": lambda _: _term_not_over,
    "notice.names_recipient": lambda _: _notice_recipient,
    "release.exists": lambda _: _release_exists,
    "release.recorded": lambda _: _release_recorded,
    "release.not_withdrawn": lambda _: _release_not_withdrawn,
    "release.not_expired": lambda _: _release_not_expired,
    "release.covers_purpose": lambda table: (
        _release_names(table.word("purpose", Purpose)) if "purpose" in table else _release_covers_purpose
    ),
    "release.purpose_open": lambda _: _purpose_open,
    "release.covers_identifier": lambda _: PerIdentifier(_release_covers),
    "release.covers_category": lambda _: _release_category,
    "release.names_recipient": lambda _: _release_recipient,
    "release.has_scope": lambda table: _release_has(table.word("scope", ConsentScope)),
    "release.form_in": lambda table: _release_form(table.words("forms", ReleaseForm)),
    "release.signed_with_intent": lambda _: _release_signed,
    "release.electronic_since": lambda table: _electronic_since(_midnight(table, "since")),
    "release.document_hashed": lambda _: _release_document,
    "release.not_childs_own": lambda _: _release_not_childs_own,
    "release.age_settled": lambda _: _age_settled,
    "release.authority": lambda _: _release_authority,
    "release.by_parent": lambda _: _release_by_parent,
    "release.explicit": lambda _: _release_explicit,
    "release.unconditional": lambda _: _release_unconditional,
    "release.after_opt_out": lambda _: _release_after_opt_out,
    **CHAIN_STATES,
}
"""Every chain requirement a pack may name."""

GRANTING: Final = frozenset({"tenant.determination", "person.told"})
"""Plain requirements that, as one of several ways to satisfy a rule, are by themselves a legal basis."""
