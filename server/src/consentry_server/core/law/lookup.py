"""Finding the plan that concerns a face, in tables that fill as questions come.

What is remembered follows from the packs, the configured regions and the key alone, so that it is no state: a table
that is emptied changes no answer. Everything remembered is bounded, since callers choose the keys.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.law.circumstances import NOT_ASKED, Circumstances
from consentry_server.core.law.judge import rule_on
from consentry_server.core.law.plan import Plan, choose, make_section
from consentry_server.core.law.situation import VENUES, age_of, regions_of, venue_regions
from consentry_server.core.vocabulary import KnownBy, Relationship

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.law.judge import Answers, Ruling
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.plan import Choice, Coverage
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant

REMEMBERED: Final = 8_192
"""Plans, rulings and sets of regions remembered by one ``Lookup``, at about one to ten kilobytes each."""

REMEMBERED_LOOKUPS: Final = 64
"""Sets of active packs remembered by one process."""

_REQUEST: Final = (
    "operation",
    "purpose",
    "category",
    "visibility",
    "published_by",
    "source_kind",
    "disclosure_basis",
    "has_disclosure_evidence",
    "consideration",
    "uses_face_geometry",
    "identifies",
    "stored",
    "linked_identity",
    *VENUES,
    "artifact_state",
)
_ALWAYS: Final = frozenset({"operation", "purpose", "category", *VENUES})
_TENANT: Final = (
    "entity_type",
    "encrypted_at_rest",
    "encrypted_in_transit",
    "protection_at_least_other_sensitive",
)
_tenant_facts = attrgetter(*_TENANT)
_NOT_KNOWN: Final = KnownBy.UNKNOWN
_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)


class Place(NamedTuple):
    """What is to be known of some regions.

    Args:
        names: The regions that are looked at, sorted.
        coverage: Which law packs apply there.
    """

    names: tuple[str, ...]
    coverage: Coverage


class Docket:
    """The plans for one operation, by what is known of the person."""

    __slots__ = ("facts", "now", "plans", "venues")

    def __init__(self, facts: dict[str, object], now: datetime, venues: frozenset[str]) -> None:
        self.facts = facts
        self.now = now
        self.venues = venues
        self.plans: dict[tuple[object, ...], Plan] = {}


class Lookup:
    """Finds plans for some active packs.

    Args:
        packs: The active packs.
        unknown_regions: The regions that stand in where it is not known where a person lives.
    """

    def __init__(self, packs: Sequence[Pack], unknown_regions: frozenset[str]) -> None:
        self._laws = tuple(sheet for pack in packs if not pack.everywhere for sheet in pack.sheets)
        self._houses = tuple(pack for pack in packs if pack.everywhere)
        self._unknown_regions = unknown_regions
        reads = frozenset[str]().union(*(pack.reads for pack in packs))
        self._names = tuple(name for name in _REQUEST if name in reads | _ALWAYS)
        self._request_facts = attrgetter(*self._names)
        self._by_person = not reads.isdisjoint({"age", "relationship"})
        self._turns = sorted({turn for pack in packs for turn in pack.turns})
        self._dockets: dict[tuple[object, ...], Docket] = {}
        self._places: dict[tuple[object, ...], Place] = {}
        self._plans: dict[tuple[tuple[Choice, ...], bool], Plan] = {}
        self._room = REMEMBERED

    def docket(self, request: OperationRequest, tenant: Tenant, now: datetime) -> Docket:
        """The plans for one operation.

        Args:
            request: What the caller is about to do.
            tenant: What is known of the tenant.
            now: The ledger's clock, UTC.
        """
        span = bisect_right(self._turns, now)
        key = (self._request_facts(request), bool(request.recipient_id), _tenant_facts(tenant), span)
        found = self._dockets.get(key)
        if found is None:
            facts: dict[str, object] = dict.fromkeys(Circumstances._fields, NOT_ASKED)
            facts.update(zip(self._names, key[0], strict=True))
            facts.update(zip(_TENANT, key[2], strict=True))
            facts["has_recipient"] = key[1]
            self._take_room()
            found = self._dockets[key] = Docket(
                facts, self._turns[span - 1] if span else _BEFORE_ALL, venue_regions(request)
            )
        return found

    def plan(self, docket: Docket, request: OperationRequest, face: Face) -> tuple[Plan, tuple[str, ...]]:
        """The plan for one face, and the regions that are looked at for it, sorted.

        Args:
            docket: The plans for the operation.
            request: What the caller is about to do.
            face: Whose face it is.
        """
        subject = face.subject
        venues = docket.venues
        where: tuple[object, ...] = (
            (request.regions, venues, face.regions)
            if subject is None
            else (request.regions, venues, face.regions, subject.regions)
        )
        place = self._places.get(where)
        if place is None:
            self._take_room()
            place = self._places[where] = self._place(regions_of(request, face, self._unknown_regions))
        key: tuple[object, ...] = (place.coverage, subject is not None, face.known_by is not _NOT_KNOWN)
        if self._by_person:
            key = (*key, face.age_band)
            if subject is not None:
                key = (*key, subject.age_band, subject.relationship)
        plan = docket.plans.get(key)
        if plan is None:
            self._take_room()
            plan = docket.plans[key] = self._plan(docket, place.coverage, face)
        return plan, place.names

    def ruling(self, plan: Plan, key: tuple[object, ...], answers: Answers) -> Ruling:
        """Rule on answers that were not given before, and remember the ruling.

        Args:
            plan: The plan.
            key: The answers in one row.
            answers: The answers by question.
        """
        self._take_room()
        found = plan.rulings[key] = rule_on(plan, answers)
        return found

    def _take_room(self) -> None:
        """Before one thing more is remembered: forget everything where there is too much."""
        self._room -= 1
        if self._room < 0:
            self._dockets.clear()
            self._places.clear()
            self._plans.clear()
            self._room = REMEMBERED

    def _place(self, regions: frozenset[str]) -> Place:
        coverage = frozenset(
            frozenset(place for place, pack in enumerate(self._laws) if region in pack.reach) for region in regions
        )
        return Place(tuple(sorted(regions)), coverage)

    def _plan(self, docket: Docket, coverage: Coverage, face: Face) -> Plan:
        subject = face.subject
        facts: dict[str, Any] = {
            **docket.facts,
            "named": subject is not None,
            "known": face.known_by is not _NOT_KNOWN,
            "uncovered": True,
        }
        if self._by_person:
            facts["age"] = age_of(face)
            facts["relationship"] = Relationship.UNKNOWN if subject is None else subject.relationship
        chosen = choose(self._laws, self._houses, Circumstances(**facts), coverage, docket.now)
        plan = self._plans.get(chosen)
        if plan is None:
            choices, answered = chosen
            self._take_room()
            plan = self._plans[chosen] = Plan([make_section(choice) for choice in choices], answered=answered)
        return plan


@lru_cache(REMEMBERED_LOOKUPS)
def lookup_of(packs: tuple[Pack, ...], unknown_regions: frozenset[str]) -> Lookup:
    """The one lookup for some active packs.

    Args:
        packs: The active packs.
        unknown_regions: The regions that stand in where it is not known where a person lives.
    """
    return Lookup(packs, unknown_regions)
