"""The closed vocabulary of requirements: what has to hold before an operation is permitted.

There are two sorts. A *plain* requirement looks at the situation. A *chain* requirement looks at one release with
its own delivery and notice, and answers None where the piece it is about is missing: that is never a yes, and the
missing piece is reported by its own requirement.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from consentry_server.core.law.clock import add_period
from consentry_server.core.law.situation import Chain, Situation
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


# the person


def _person_identified(_: Table) -> Plain:
    return lambda s: s.subject is not None


def _person_linked(_: Table) -> Plain:
    return lambda s: s.subject is None or s.person is not None


# the tenant


def _policy_in_force(_: Table) -> Plain:
    def holds(s: Situation) -> bool:
        policy = s.policy
        if policy is None:
            return False
        s.relied.append(policy.index)
        return True

    return holds


def _encrypted_at_rest(_: Table) -> Plain:
    return lambda s: s.tenant.encrypted_at_rest


def _encrypted_in_transit(_: Table) -> Plain:
    return lambda s: s.tenant.encrypted_in_transit


def _protection(_: Table) -> Plain:
    return lambda s: s.tenant.protection_at_least_other_sensitive


def match_determination(
    s: Situation, kind: DeterminationKind, *, entity_wide: bool, algorithm: bool, subject: bool
) -> Determination | None:
    """The recorded determination that covers this situation, or None.

    1. It is of this kind, approved by a second officer, recorded by now, and not expired.
    2. Its operations and purposes name the request's; an empty list means every one for entity-wide kinds only.
    3. Where it names a person, this is that person, and it is known how the caller knows; some uses need one named.
    4. Where it names an algorithm, the request's algorithm and version are exactly those; some uses need one named.
    """
    request = s.request
    for found in s.tenant.determinations:
        if found.kind is not kind or not found.active or not found.time <= s.now < found.expires_at:  # (1)
            continue
        if request.operation not in found.operations and (found.operations or not entity_wide):  # (2)
            continue
        if request.purpose not in found.purposes and (found.purposes or not entity_wide):
            continue
        if (found.subject_ref or subject) and (s.person is None or s.person.subject_ref != found.subject_ref):  # (3)
            continue
        if (found.algorithm_id or found.algorithm_version or algorithm) and (  # (4)
            not found.algorithm_id
            or not found.algorithm_version
            or (found.algorithm_id, found.algorithm_version) != (request.algorithm_id, request.algorithm_version)
        ):
            continue
        return found
    return None


def _determination(table: Table) -> Plain:
    kind = table.word("kind", DeterminationKind)
    about_subject = table.flag("about_subject", default=False)

    def holds(s: Situation) -> bool:
        found = match_determination(s, kind, entity_wide=False, algorithm=False, subject=about_subject)
        if found is None:
            return False
        s.used_determinations.append(found)
        return True

    return holds


# the operation


def _never(_: Table) -> Plain:
    return lambda _s: False


def _recipient_named(_: Table) -> Plain:
    return lambda s: bool(s.request.recipient_id)


def _disclosure_evidence(_: Table) -> Plain:
    return lambda s: s.request.has_disclosure_evidence


def _consideration_not_value(_: Table) -> Plain:
    return lambda s: s.request.consideration is not Consideration.VALUE


def _consideration_none(_: Table) -> Plain:
    return lambda s: s.request.consideration is Consideration.NONE


def _purpose_in(table: Table) -> Plain:
    wanted = table.words("purposes", Purpose)
    return lambda s: s.request.purpose in wanted


def _category_in(table: Table) -> Plain:
    wanted = table.words("categories", DataCategory)
    return lambda s: s.request.category in wanted


def _within_retention(table: Table) -> Plain:
    months, days = table.period("period", required=True)

    def holds(s: Situation) -> bool:
        subject = s.subject
        since = s.request.captured_at if subject is None or subject.last_interaction is None else None
        if subject is not None and subject.last_interaction is not None:
            since = subject.last_interaction
        elif subject is not None and since is None:
            since = max((release.time for release in subject.releases), default=None)
        return since is not None and s.now < add_period(min(since, s.now), months, days)

    return holds


# the chain: delivery


def _delivery_exists(_: Table) -> Chained:
    return lambda s, c: None if s.subject is None else c.delivery is not None


def _delivery_not_posted(table: Table) -> Chained:
    accepted = table.words("channels", NoticeChannel)
    return lambda _s, c: None if c.delivery is None else c.delivery.channel in accepted


def _delivery_matches(_: Table) -> Chained:
    def holds(_s: Situation, c: Chain) -> bool | None:
        d, r = c.delivery, c.release
        if d is None or r is None:
            return None
        return (
            d.notice_id == r.notice_id
            and d.notice_version == r.notice_version
            and d.signer_role is r.signer_role
            and d.representative_ref == r.representative_ref
        )

    return holds


def _delivery_first(_: Table) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        d, r, n = c.delivery, c.release, c.notice
        if d is None:
            return None
        if d.time > s.now or (n is not None and n.index >= d.index):
            return False
        return r is None or (d.index < r.index and d.time <= r.time and d.occurred_at <= r.signed_at)

    return holds


# the chain: notice


def _notice_exists(_: Table) -> Chained:
    return lambda _s, c: None if c.delivery is None else c.notice is not None


def _notice_effective(_: Table) -> Chained:
    return lambda s, c: None if c.notice is None else c.notice.effective_time <= s.now


def _notice_collection(_: Table) -> Chained:
    return lambda _s, c: None if c.notice is None else c.notice.says_collected_or_stored


def _notice_purpose(table: Table) -> Chained:
    if "purpose" in table:
        wanted = table.word("purpose", Purpose)
        return lambda _s, c: None if c.notice is None else wanted in c.notice.purposes
    return lambda s, c: None if c.notice is None else s.request.purpose in c.notice.purposes


_IMPLIES: Final[dict[DataCategory, DataCategory]] = {DataCategory.FACE_GEOMETRY: DataCategory.FACE_TEMPLATE}
"""Who was told of face templates was told of the geometry they are made of; never the other way round."""


def _covers(categories: frozenset[DataCategory], needed: DataCategory) -> bool:
    return needed in categories or _IMPLIES.get(needed) in categories


def _notice_identifier(_: Table) -> Chained:
    return lambda s, c: None if c.notice is None else _covers(c.notice.categories, s.identifier)


def _notice_category(_: Table) -> Chained:
    return lambda s, c: None if c.notice is None else s.request.category in c.notice.categories


def _notice_term(_: Table) -> Chained:
    def holds(_s: Situation, c: Chain) -> bool | None:
        if c.notice is None:
            return None
        term = c.notice.term
        if term is None:
            return False
        return term.end is not None if term.duration is None else term.duration > timedelta(0)

    return holds


def _term_running(_: Table) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        n, r, subject = c.notice, c.release, s.subject
        if n is None or r is None or n.term is None or subject is None:
            return None
        term = n.term
        if term.duration is not None and s.now - r.time >= term.duration:
            return False
        if term.end is TermEnd.EMPLOYMENT_ENDED:
            return subject.employment_ended_at is None
        if term.end is TermEnd.ACCOUNT_CLOSED:
            return subject.account_closed_at is None
        return True  # the other two ends have requirements of their own

    return holds


def _notice_recipient(_: Table) -> Chained:
    return lambda s, c: None if c.notice is None else s.request.recipient_id in c.notice.recipients


# the chain: release


def _release_exists(_: Table) -> Chained:
    return lambda s, c: None if s.subject is None else c.release is not None


def _release_recorded(_: Table) -> Chained:
    return lambda s, c: None if c.release is None else c.release.signed_at <= c.release.time <= s.now


def _release_not_withdrawn(_: Table) -> Chained:
    return lambda _s, c: None if c.release is None else c.release.withdrawn_at is None and c.release.withdrawn_index < 0


def _release_not_expired(_: Table) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        if c.release is None:
            return None
        return c.release.expires_at is None or s.now < c.release.expires_at

    return holds


def _release_purpose(table: Table) -> Chained:
    if "purpose" in table:
        wanted = table.word("purpose", Purpose)
        return lambda _s, c: None if c.release is None else wanted in c.release.purposes
    return lambda s, c: None if c.release is None else s.request.purpose in c.release.purposes


def _purpose_open(_: Table) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        release = c.release
        if release is None or s.subject is None:
            return None
        return not any(each.purpose is s.request.purpose and each.ends(release) for each in s.subject.satisfied)

    return holds


def _release_identifier(_: Table) -> Chained:
    return lambda s, c: None if c.release is None else _covers(c.release.categories, s.identifier)


def _release_category(_: Table) -> Chained:
    return lambda s, c: None if c.release is None else s.request.category in c.release.categories


def _release_recipient(_: Table) -> Chained:
    return lambda s, c: None if c.release is None else s.request.recipient_id in c.release.recipients


def _release_scope(table: Table) -> Chained:
    wanted = table.word("scope", ConsentScope)
    return lambda _s, c: None if c.release is None else wanted in c.release.scopes


def _release_form(table: Table) -> Chained:
    accepted = table.words("forms", ReleaseForm)

    def holds(s: Situation, c: Chain) -> bool | None:
        r, subject = c.release, s.subject
        if r is None or subject is None:
            return None
        if r.form not in accepted:
            return False
        if r.form is ReleaseForm.EMPLOYMENT_RELEASE or r.condition_of_employment:
            return subject.relationship is Relationship.EMPLOYEE and subject.employment_ended_at is None
        return True

    return holds


def _release_signed(_: Table) -> Chained:
    return lambda _s, c: None if c.release is None else c.release.process in _INTENT[c.release.form]


def _electronic_since(table: Table) -> Chained:
    day = table.day("since")
    start = datetime.combine(day if day is not None else date.max, time(), tzinfo=UTC)

    def holds(_s: Situation, c: Chain) -> bool | None:
        r = c.release
        if r is None:
            return None
        return r.process in _ON_PAPER or (r.signed_at >= start and r.time >= start)

    return holds


def _release_document(_: Table) -> Chained:
    return lambda _s, c: None if c.release is None else bool(c.release.signed_document_sha256)


def _release_not_childs_own(_: Table) -> Chained:
    return lambda s, c: (
        None if c.release is None else c.release.signer_role is not SignerRole.SELF or s.age not in _CHILD
    )


def _age_settled(_: Table) -> Chained:
    return lambda s, c: (
        None if c.release is None else c.release.signer_role is not SignerRole.SELF or not s.shows_sign_of_child
    )


def _release_authority(_: Table) -> Chained:
    def holds(s: Situation, c: Chain) -> bool | None:
        r = c.release
        if r is None:
            return None
        if r.signer_role is SignerRole.SELF:
            return not r.representative_ref
        if not r.representative_ref or r.authority_basis is AuthorityBasis.NONE:
            return False
        if s.age in _CHILD:
            return r.authority_basis in _OVER_CHILD
        return s.age is AgeBand.UNKNOWN or r.authority_basis in _OVER_ADULT

    return holds


PLAIN: Final[dict[str, Callable[[Table], Plain]]] = {
    "never": _never,
    "person.identified": _person_identified,
    "person.linked": _person_linked,
    "record.within_retention": _within_retention,
    "request.category_in": _category_in,
    "request.consideration_none": _consideration_none,
    "request.consideration_not_value": _consideration_not_value,
    "request.disclosure_evidence": _disclosure_evidence,
    "request.purpose_in": _purpose_in,
    "request.recipient_named": _recipient_named,
    "tenant.determination": _determination,
    "tenant.encrypted_at_rest": _encrypted_at_rest,
    "tenant.encrypted_in_transit": _encrypted_in_transit,
    "tenant.policy_in_force": _policy_in_force,
    "tenant.protection_at_least_other_sensitive": _protection,
}
"""Every plain requirement a pack may name."""

CHAIN: Final[dict[str, Callable[[Table], Chained]]] = {
    "delivery.exists": _delivery_exists,
    "delivery.channel_in": _delivery_not_posted,
    "delivery.matches_release": _delivery_matches,
    "delivery.before_release": _delivery_first,
    "notice.exists": _notice_exists,
    "notice.effective": _notice_effective,
    "notice.says_collected_or_stored": _notice_collection,
    "notice.covers_purpose": _notice_purpose,
    "notice.covers_identifier": _notice_identifier,
    "notice.covers_category": _notice_category,
    "notice.states_term": _notice_term,
    "notice.term_running": _term_running,
    "notice.names_recipient": _notice_recipient,
    "release.exists": _release_exists,
    "release.recorded": _release_recorded,
    "release.not_withdrawn": _release_not_withdrawn,
    "release.not_expired": _release_not_expired,
    "release.covers_purpose": _release_purpose,
    "release.purpose_open": _purpose_open,
    "release.covers_identifier": _release_identifier,
    "release.covers_category": _release_category,
    "release.names_recipient": _release_recipient,
    "release.has_scope": _release_scope,
    "release.form_in": _release_form,
    "release.signed_with_intent": _release_signed,
    "release.electronic_since": _electronic_since,
    "release.document_hashed": _release_document,
    "release.not_childs_own": _release_not_childs_own,
    "release.age_settled": _age_settled,
    "release.authority": _release_authority,
}
"""Every chain requirement a pack may name."""
