"""Rehearsal: planned operations are decided on the facts of now and counted. Nothing of them is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from consentry_server.core.errors import ConsentryError
from consentry_server.core.law import decide
from consentry_server.core.law.enforcement import is_observed
from consentry_server.core.record.facts import Face, Subject
from consentry_server.services.gate import Photographs, held_photo, with_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.core.law import Decision, Finding, Pack
    from consentry_server.core.record.facts import ActivePack, Tenant
    from consentry_server.core.vocabulary import Operation, Outcome, Purpose
    from consentry_server.services.book import Book
    from consentry_server.services.checks import Asked
    from consentry_server.services.packs import Packs
    from consentry_server.services.people import People
    from consentry_server.services.sequencer import Sequencer

AT_ONCE = 50
"""Operations that are decided before others have their turn on the writer: a few milliseconds."""
NEW_PERSON = "sub_not-on-record"
"""Stands for a person who is not on record. No reference is like it, and no determination names it."""


class Planned(NamedTuple):
    """One planned operation.

    Args:
        correlation_id: The caller's id of it; no personal data.
        asked: What would be asked.
        times: How many of them are planned.
    """

    correlation_id: str
    asked: Asked
    times: int = 1


class Alike(NamedTuple):
    """What operations have in common that are counted together."""

    operation: Operation
    purpose: Purpose
    outcome: Outcome
    observed_only: bool


@dataclass(slots=True)
class Count:
    """How many.

    Args:
        operations: Planned operations.
        faces: Faces in them, or persons where there are no faces.
    """

    operations: int = 0
    faces: int = 0

    def add(self, operations: int, faces: int) -> None:
        """Count some more."""
        self.operations += operations
        self.faces += faces


@dataclass(slots=True)
class Tally:
    """What was counted, and nothing of any single operation.

    Args:
        outcomes: By operation, purpose and outcome.
        reasons: By finding.
        failures: What could not be decided: the caller's id of it, and why.
    """

    outcomes: dict[Alike, Count] = field(default_factory=dict)
    reasons: dict[Finding, Count] = field(default_factory=dict)
    failures: list[tuple[str, ConsentryError]] = field(default_factory=list)

    def take(self, planned: Planned, decision: Decision, *, observed_only: bool) -> None:
        """Count one answer."""
        request, times = planned.asked.request, planned.times
        alike = Alike(request.operation, request.purpose, decision.outcome, observed_only)
        self.outcomes.setdefault(alike, Count()).add(times, times * len(decision.faces))
        against: dict[Finding, int] = {}
        for answer in decision.faces:
            for finding in dict.fromkeys(answer.reasons):
                if finding.remedy:  # a rule that was met has none
                    against[finding] = against.get(finding, 0) + 1
        for finding, faces in against.items():
            self.reasons.setdefault(finding, Count()).add(times, times * faces)

    def ordered_reasons(self) -> list[tuple[Finding, Count]]:
        """What stands against the operations, strictest first, then the most frequent."""
        return sorted(
            self.reasons.items(),
            key=lambda item: (-item[0].outcome.strictness, -item[1].operations, item[0].rule_id, item[0].code),
        )

    def ordered_outcomes(self) -> list[tuple[Alike, Count]]:
        """By operation and purpose in the vocabulary's order, loosest outcome first."""
        return sorted(self.outcomes.items(), key=lambda item: _place(item[0]))


def _place(alike: Alike) -> tuple[int, int, int, bool]:
    operations, purposes = list(type(alike.operation)), list(type(alike.purpose))
    return (
        operations.index(alike.operation),
        purposes.index(alike.purpose),
        alike.outcome.strictness,
        alike.observed_only,
    )


class Facts(Photographs, Protocol):
    """The facts of one moment: a book, or what was committed."""

    now: datetime

    @property
    def tenant(self) -> Tenant:
        """The tenant with all notices."""

    def subject(self, subject_ref: str) -> Subject:
        """What is known of a person."""


def rehearse(
    facts: Facts,
    planned: Sequence[Planned],
    tally: Tally,
    *,
    packs: tuple[Pack, ...],
    unknown_regions: frozenset[str],
    reference: Callable[[str], str | None],
) -> None:
    """Decide planned operations and count the answers.

    1. A photo on record says what it says of its source, as for a check.
    2. Persons are looked up; nobody new is put on record.
    3. What cannot be decided is told with the reason that a check would have failed with.

    Args:
        facts: The facts of now.
        planned: The operations.
        tally: Counts them.
        packs: The active packs.
        unknown_regions: The regions that stand in where it is not known where a person lives.
        reference: From a caller's id of a person to the subject_ref, or None for one who is not on record.
    """
    tenant, now = facts.tenant, facts.now
    for each in planned:
        asked = each.asked
        try:
            photo = held_photo(facts, asked.photo_id)  # (1)
            request = asked.request if photo is None else with_source(asked.request, photo)
            faces = [  # (2)
                Face(_person(facts, face.subject_id, reference), face.known_by, face.regions, face.age_band, face.box)
                for face in asked.faces
            ]
        except ConsentryError as error:  # (3)
            tally.failures.append((each.correlation_id, error))
            continue
        decision = decide(request, faces, tenant, packs, now=now, unknown_regions=unknown_regions)
        observed = is_observed(tenant.enforcement, request.operation, now)
        tally.take(each, decision, observed_only=observed)


def _person(facts: Facts, subject_id: str, reference: Callable[[str], str | None]) -> Subject | None:
    if not subject_id:
        return None
    known = reference(subject_id)
    return Subject(subject_ref=NEW_PERSON) if known is None else facts.subject(known)


class Rehearsal:
    """Rehearses for one tenant, beside its service.

    Args:
        sequencer: The tenant's ledger; it is read through the writer, and nothing is written.
        people: Resolves callers' ids of persons.
        packs: Compiled law packs.
        unknown_regions: Regions that count where a person's residence is unknown.
    """

    def __init__(self, *, sequencer: Sequencer, people: People, packs: Packs, unknown_regions: frozenset[str]) -> None:
        self._sequencer = sequencer
        self._people = people
        self._packs = packs
        self._unknown_regions = unknown_regions

    async def simulate(self, planned: Sequence[Planned], tally: Tally) -> tuple[datetime, tuple[ActivePack, ...]]:
        """Decide and count.

        Args:
            planned: The operations.
            tally: Counts them.

        Returns:
            When, and with which packs.

        Raises:
            ConsentryError: The packs are not at hand, or the ledger cannot be read.
        """

        def command(book: Book, part: Sequence[Planned]) -> tuple[datetime, tuple[ActivePack, ...]]:
            active = book.tenant.packs
            rehearse(
                book,
                part,
                tally,
                packs=self._packs.compiled(active),
                unknown_regions=self._unknown_regions,
                reference=lambda subject_id: book.reference(self._people.lookup(subject_id)),
            )
            return book.now, active

        answer = await self._sequencer.submit(lambda book: command(book, planned[:AT_ONCE]))
        for at in range(AT_ONCE, len(planned), AT_ONCE):
            part = planned[at : at + AT_ONCE]
            answer = await self._sequencer.submit(lambda book, part=part: command(book, part))  # type: ignore[misc]
        return answer
