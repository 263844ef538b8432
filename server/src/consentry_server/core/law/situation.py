"""One face of one request, with the chains of consent that might carry it.

A written release counts only together with the delivery it refers to and the notice that was delivered. The three
are looked at as one chain: requirements that hold of different releases never add up to a consent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.vocabulary import EU_MEMBERS, REGIONS, AgeBand, KnownBy, SignerRole

if TYPE_CHECKING:
    from consentry_server.core.record.facts import (
        Delivery,
        Face,
        Notice,
        OperationRequest,
        Release,
        RetentionPolicy,
        Subject,
        Tenant,
    )

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_NOT_KNOWN: Final = KnownBy.UNKNOWN
_AGE_ORDER = (AgeBand.UNDER_13, AgeBand.MINOR, AgeBand.ADULT, AgeBand.UNKNOWN)
_YOUNGER: Final = {(one, other): min(one, other, key=_AGE_ORDER.index) for one, other in product(AgeBand, AgeBand)}


class Chain:
    """A release, the delivery it refers to, and the notice that was delivered; what is missing is None.

    Treated as immutable; a plain class, since one is made for each release of each decision.
    """

    __slots__ = ("delivery", "is_complete", "notice", "release")

    def __init__(self, release: Release | None, delivery: Delivery | None, notice: Notice | None) -> None:
        self.release = release
        self.delivery = delivery
        self.notice = notice
        self.is_complete = release is not None and delivery is not None and notice is not None
        """Whether it can be relied on."""


NO_CHAIN: Final = Chain(None, None, None)


def parent(region: str) -> str | None:
    """The wider region whose packs apply too: ``US-IL`` lies in ``US``, ``DE`` in ``EU``."""
    if region.startswith("US-"):
        return "US"
    return "EU" if region in EU_MEMBERS else None


def reach(regions: frozenset[str]) -> frozenset[str]:
    """Every region of the vocabulary in which a pack for ``regions`` applies."""
    return regions | frozenset(r for r in REGIONS if parent(r) in regions)


VENUES: Final = {"new_york_city_establishment": "US-NY", "portland_public_accommodation": "US-OR"}
"""The regions that facts of a venue place an operation in."""


def venue_regions(request: OperationRequest) -> frozenset[str]:
    """The regions of the venues that the operation is said to happen in; unknown places it nowhere."""
    return frozenset([region for fact, region in VENUES.items() if getattr(request, fact)])


def regions_of(request: OperationRequest, face: Face, unknown_regions: frozenset[str]) -> frozenset[str]:
    """The regions whose law has to be looked at for one face.

    1. Where the person lives: what is on record and what the caller adds. If nothing is known of that, the
       configured set takes its place. Of an unidentified face nothing is known, whatever the caller says of it:
       the configured set is looked at too.
    2. Where the operation happens or the photo was taken (``request.regions``, and the region of a venue) is added,
       never put instead.
    3. ``US`` alone names no state, so the configured states are added.

    Source: statutes.md 11, combination rule (residence claim, capture location, venue; unknown means the set).
    """
    home = face.regions | (unknown_regions if face.subject is None else face.subject.regions)  # (1)
    found = (home or unknown_regions) | request.regions | venue_regions(request)  # (2)
    if "US" in found:  # (3)
        found |= frozenset(region for region in unknown_regions if region.startswith("US-"))
    return found


def age_of(face: Face) -> AgeBand:
    """The younger of what is on record and what the caller says; unknown only where both are."""
    return face.age_band if face.subject is None else _YOUNGER[face.age_band, face.subject.age_band]


class _InForce(NamedTuple):
    """What is in force of some policies for a while."""

    policies: tuple[RetentionPolicy, ...]
    since: datetime
    until: datetime
    policy: RetentionPolicy | None


_in_force: dict[int, _InForce] = {}
"""By the identity of a tenant's policies, which are the same tuple until one more is published: it is no state."""
_REMEMBERED: Final = 64


def policy_in_force(tenant: Tenant, now: datetime) -> RetentionPolicy | None:
    """The public written policy in force, 740 ILCS 14/15(a): complete, and not superseded by a later version.

    Of each policy id only the latest effective version counts: an incomplete new version takes the complete old
    one out of force.
    """
    policies = tenant.policies
    held = _in_force.get(id(policies))
    if held is None or not held.since <= now < held.until:
        turns = [policy.effective_time for policy in policies]
        since = max((turn for turn in turns if turn <= now), default=_FIRST)
        until = min((turn for turn in turns if turn > now), default=_LAST)
        if len(_in_force) >= _REMEMBERED:
            _in_force.clear()
        held = _in_force[id(policies)] = _InForce(policies, since, until, _policy_at(policies, now))
    return held.policy


def _policy_at(policies: tuple[RetentionPolicy, ...], now: datetime) -> RetentionPolicy | None:
    latest: dict[str, RetentionPolicy] = {}
    for policy in policies:
        if policy.effective_time > now:
            continue
        held = latest.get(policy.policy_id)
        if held is None or (policy.version, policy.index) > (held.version, held.index):
            latest[policy.policy_id] = policy
    found: RetentionPolicy | None = None
    for policy in latest.values():
        if not (policy.has_schedule and policy.has_destruction_guidelines and policy.url):
            continue
        if found is None or policy.index > found.index:
            found = policy
    return found


class Moment:
    """What all faces of one request share.

    Args:
        request: What the caller is about to do.
        tenant: What is known of the tenant.
        now: The ledger's clock.
    """

    __slots__ = ("_policy", "_policy_known", "now", "request", "tenant")

    def __init__(self, request: OperationRequest, tenant: Tenant, now: datetime) -> None:
        self.request = request
        self.tenant = tenant
        self.now = now
        self._policy: RetentionPolicy | None = None
        self._policy_known = False

    @property
    def policy(self) -> RetentionPolicy | None:
        """The retention policy in force."""
        if not self._policy_known:
            self._policy = policy_in_force(self.tenant, self.now)
            self._policy_known = True
        return self._policy


class Situation:
    """Everything a requirement may look at, for one face.

    Args:
        moment: What all faces of the request share.
        face: Whose face it is, as far as known.
    """

    __slots__ = ("age", "face", "moment", "now", "request", "subject")

    def __init__(self, moment: Moment, face: Face) -> None:
        self.moment = moment
        self.face = face
        self.request = moment.request
        self.now = moment.now
        self.subject: Subject | None = face.subject
        self.age = age_of(face)

    @property
    def person(self) -> Subject | None:
        """The subject, where it is also known how the caller knows whose face it is."""
        return None if self.face.known_by is _NOT_KNOWN else self.subject

    @property
    def shows_sign_of_child(self) -> bool:
        """Whether the record itself suggests a child: the age is unknown and a representative was told.

        Source: statutes.md 7 ("age unknown + signs of child = DENY"). Deliveries are looked at, not releases, so
        that taking a release away can never loosen an answer.
        """
        subject = self.subject
        return (
            subject is not None
            and self.age is AgeBand.UNKNOWN
            and any(d.signer_role is SignerRole.REPRESENTATIVE for d in subject.deliveries)
        )


def chains_of(subject: Subject, tenant: Tenant) -> list[Chain]:
    """The chains of this person's releases, newest first.

    Where there is no release: the deliveries on record, newest first, for saying what else is missing.
    """
    notices = tenant.notices
    deliveries = subject.deliveries
    releases = subject.releases
    count = len(releases)
    if count == 0:
        told = sorted(deliveries, key=lambda delivery: delivery.index, reverse=True)
        return [Chain(None, d, notices.get((d.notice_id, d.notice_version))) for d in told] or [NO_CHAIN]
    if count > 1:
        releases = tuple(sorted(releases, key=lambda release: release.index, reverse=True))
    found: list[Chain] = []
    for release in releases:
        wanted = release.delivery_id
        for delivery in deliveries:
            if delivery.delivery_id == wanted:
                notice = notices.get((delivery.notice_id, delivery.notice_version))
                found.append(Chain(release, delivery, notice))
                break
        else:
            found.append(Chain(release, None, None))
    return found
