"""One face of one request, with the chains of consent that might carry it.

A written release counts only together with the delivery it refers to and the notice that was delivered. The three
are looked at as one chain: requirements that hold of different releases never add up to a consent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from consentry_server.core.vocabulary import (
    EU_MEMBERS,
    REGIONS,
    AgeBand,
    DataCategory,
    DisclosureBasis,
    KnownBy,
    Operation,
    SignerRole,
)

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.record.facts import (
        Delivery,
        Determination,
        Face,
        Notice,
        OperationRequest,
        Release,
        RetentionPolicy,
        Subject,
        Tenant,
    )

LEAVING = frozenset({Operation.DISCLOSE, Operation.SELL, Operation.LEASE, Operation.TRADE})
"""Operations that by themselves take data out of the tenant's hands."""

TRANSIENT = frozenset(
    {Operation.DETECT_FACES, Operation.EXTRACT_TEMPLATE, Operation.ANALYZE_ATTRIBUTES, Operation.CHECK_QUALITY}
)
"""Operations that may leave nothing behind, if the caller says so; every other one keeps or uses what is kept."""

_AGE_ORDER = (AgeBand.UNDER_13, AgeBand.MINOR, AgeBand.ADULT)


class Chain(NamedTuple):
    """A release, the delivery it refers to, and the notice that was delivered; what is missing is None."""

    release: Release | None
    delivery: Delivery | None
    notice: Notice | None


def parent(region: str) -> str | None:
    """The wider region whose packs apply too: ``US-IL`` lies in ``US``, ``DE`` in ``EU``."""
    if region.startswith("US-"):
        return "US"
    return "EU" if region in EU_MEMBERS else None


def reach(regions: frozenset[str]) -> frozenset[str]:
    """Every region of the vocabulary in which a pack for ``regions`` applies."""
    return regions | frozenset(r for r in REGIONS if parent(r) in regions)


def regions_of(request: OperationRequest, face: Face, unknown_regions: frozenset[str]) -> frozenset[str]:
    """The regions whose law has to be looked at for one face.

    1. Where the person lives: what is on record and what the caller adds. If nothing is known of that, the
       configured set takes its place.
    2. Where the operation happens or the photo was taken (``request.regions``) is added, never put instead.
    3. ``US`` alone names no state, so the configured states are added.

    Source: statutes.md 11, combination rule (residence claim, capture location, venue; unknown means the set).
    """
    home = face.regions if face.subject is None else face.subject.regions | face.regions  # (1)
    found = (home or unknown_regions) | request.regions  # (2)
    if "US" in found:  # (3)
        found |= frozenset(region for region in unknown_regions if region.startswith("US-"))
    return found


def age_of(face: Face) -> AgeBand:
    """The younger of what is on record and what the caller says; unknown only where both are."""
    said = {face.age_band, face.subject.age_band if face.subject is not None else AgeBand.UNKNOWN}
    return next((band for band in _AGE_ORDER if band in said), AgeBand.UNKNOWN)


def policy_in_force(tenant: Tenant, now: datetime) -> RetentionPolicy | None:
    """The public written policy in force, 740 ILCS 14/15(a): complete, and not superseded by a later version.

    Of each policy id only the latest effective version counts: an incomplete new version takes the complete old
    one out of force.
    """
    latest: dict[str, RetentionPolicy] = {}
    for policy in tenant.policies:
        if policy.effective_time > now:
            continue
        held = latest.get(policy.policy_id)
        if held is None or (policy.version, policy.index) > (held.version, held.index):
            latest[policy.policy_id] = policy
    complete = [p for p in latest.values() if p.has_schedule and p.has_destruction_guidelines and p.url]
    return max(complete, key=lambda p: p.index, default=None)


class Situation:
    """Everything a predicate may look at, for one face; made anew for each decision.

    Args:
        request: What the caller is about to do.
        face: Whose face it is, as far as known.
        tenant: What is known of the tenant.
        now: The ledger's clock.
        regions: What ``regions_of`` gave.
    """

    __slots__ = (
        "_chains",
        "_policy",
        "_policy_known",
        "age",
        "face",
        "identifier",
        "leaves",
        "linked",
        "now",
        "person",
        "regions",
        "relied",
        "request",
        "subject",
        "tenant",
        "uncovered",
        "used_determinations",
    )

    def __init__(
        self, request: OperationRequest, face: Face, tenant: Tenant, now: datetime, regions: frozenset[str]
    ) -> None:
        self.request = request
        self.face = face
        self.tenant = tenant
        self.now = now
        self.regions = regions
        self.subject: Subject | None = face.subject
        self.person: Subject | None = face.subject if face.known_by is not KnownBy.UNKNOWN else None
        """The subject, where it is also known how the caller knows whose face it is."""
        self.age = age_of(face)
        self.linked: bool | None = (
            True
            if face.subject is not None or request.category is DataCategory.GOV_ID_IMAGE
            else request.linked_identity
        )
        """Identity data beside the scan; a named face or an ID document is that, whatever the caller says."""
        self.leaves = (
            request.operation in LEAVING
            or bool(request.recipient_id)
            or request.disclosure_basis is not DisclosureBasis.NONE
        )
        self.uncovered = True
        """Whether some region has no law pack that answers for this operation; set before house packs are asked."""
        self.identifier: DataCategory = request.category
        """What a notice and a release have to cover, as the pack's scope row says."""
        self.relied: list[int] = []
        self.used_determinations: list[Determination] = []
        self._chains: tuple[Chain, ...] | None = None
        self._policy: RetentionPolicy | None = None
        self._policy_known = False

    @property
    def keeps(self) -> bool:
        """Whether anything is kept, or what is kept is used; unknown counts as kept."""
        return self.request.stored is not False or self.request.operation not in TRANSIENT

    @property
    def policy(self) -> RetentionPolicy | None:
        """The retention policy in force."""
        if not self._policy_known:
            self._policy = policy_in_force(self.tenant, self.now)
            self._policy_known = True
        return self._policy

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The chains of this person's releases, newest first."""
        if self._chains is None:
            subject = self.subject
            self._chains = () if subject is None else tuple(self._chain(subject, r) for r in _newest(subject.releases))
        return self._chains

    @property
    def chains_without_release(self) -> tuple[Chain, ...]:
        """The deliveries on record, newest first, for saying what else is missing where there is no release."""
        if self.subject is None:
            return ()
        found = sorted(self.subject.deliveries, key=lambda d: d.index, reverse=True)
        notices = self.tenant.notices
        return tuple(Chain(None, d, notices.get((d.notice_id, d.notice_version))) for d in found) or (
            Chain(None, None, None),
        )

    def _chain(self, subject: Subject, release: Release) -> Chain:
        for delivery in subject.deliveries:
            if delivery.delivery_id == release.delivery_id:
                notice = self.tenant.notices.get((delivery.notice_id, delivery.notice_version))
                return Chain(release, delivery, notice)
        return Chain(release, None, None)

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


def _newest(releases: tuple[Release, ...]) -> tuple[Release, ...]:
    if len(releases) < 2:  # noqa: PLR2004 - one release needs no sorting
        return releases
    return tuple(sorted(releases, key=lambda r: r.index, reverse=True))
