"""What is recorded about persons and the tenant beside notices and releases: interactions, ends, determinations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time, parse_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import Destruction, Determination, Subject
from consentry_server.core.vocabulary import DestructionTrigger, DeterminationKind, Operation, Purpose, Relationship
from consentry_server.services.book import Recorded
from consentry_server.services.context import Answer, Caller, RequestKey, new_id, once, optional_slug
from consentry_server.services.release_checks import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from consentry_server.services.book import Book
    from consentry_server.services.people import People
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.releases import Claims
    from consentry_server.services.retention import Retention
    from consentry_server.services.sealing import Sealing
    from consentry_server.services.sequencer import Sequencer

ENTITY_WIDE = frozenset({DeterminationKind.GLBA_TITLE_V})
"""Exemptions of the entity itself: their scope may leave operations and purposes open (740 ILCS 14/25(c))."""

OF_ALGORITHM = frozenset(
    {
        DeterminationKind.NONBIOMETRIC,
        DeterminationKind.ACCURACY_TESTED,
        DeterminationKind.TX_AI_TRAINING,
        DeterminationKind.TX_SECURITY,
    }
)
"""What is determined of one algorithm version, and says nothing without it."""


@dataclass(frozen=True, slots=True)
class DeterminationDraft:
    """A legal determination as an officer states it.

    Args:
        subject_id: Whom it is about; empty for nobody in particular.
        words: Authority, evidence reference, author: what the officer typed; sealed. Evidence is required.
    """

    kind: DeterminationKind
    operations: frozenset[Operation]
    purposes: frozenset[Purpose]
    expires_at: datetime
    words: Mapping[str, Any]
    algorithm_id: str = ""
    algorithm_version: str = ""
    subject_id: str = ""
    decided_at: datetime | None = None
    key: RequestKey | None = None
    recipient_id: str = ""


class Answerable(Protocol):
    """A review that a determination may answer."""

    @property
    def review_id(self) -> str:
        """Which one."""

    def require_open(self, book: Book) -> None:
        """Refuse the determination where the review waits for none.

        Raises:
            ConsentryError: ``NOT_FOUND``, ``STATE_CONFLICT``, ``FIELD_INVALID``.
        """


class Registry:
    """Records and reads facts for one tenant."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        store: LedgerStore,
        people: People,
        sealing: Sealing,
        retention: Retention,
    ) -> None:
        self._sequencer = sequencer
        self._store = store
        self._people = people
        self._sealing = sealing
        self._retention = retention

    async def interaction(
        self,
        caller: Caller,
        subject_id: str,
        occurred_at: datetime | None,
        key: RequestKey | None,
        claims: Claims | None = None,
    ) -> tuple[Answer, Subject]:
        """Record that a person interacted with the tenant: the clock of 740 ILCS 14/15(a) starts anew.

        Args:
            caller: Who reports it.
            subject_id: The person.
            occurred_at: When, as the caller claims; None for now.
            key: The request's key.
            claims: What the caller says of the person.

        Returns:
            The entry and what is now known of the person.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person; ``FIELD_INVALID``: in the future.
        """
        reference = await self._people.known(subject_id)
        said = {} if claims is None else claims.body()

        def command(book: Book) -> tuple[Answer, Subject]:
            answer = once(
                book,
                key,
                lambda: book.append(
                    "interaction.recorded", caller.actor, {**said, **_occurred(book, occurred_at)}, [reference]
                ),
            )
            return answer, book.subject(reference)

        return await self._sequencer.submit(command)

    async def purpose_satisfied(
        self,
        caller: Caller,
        subject_id: str,
        purposes: frozenset[Purpose],
        occurred_at: datetime | None,
        key: RequestKey | None,
    ) -> tuple[Answer, str]:
        """Record that purposes are satisfied, and destroy every identifier that has no basis left.

        Returns:
            The entry, and the destruction's id where there is one.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person; ``FIELD_REQUIRED``.
        """
        if not purposes:
            raise ConsentryError(Reason.FIELD_REQUIRED, "purposes is required: at least one", field="purposes")
        return await self._ended(
            caller,
            subject_id,
            "purpose.satisfied",
            {"purposes": sorted(str(purpose) for purpose in purposes)},
            DestructionTrigger.PURPOSE_SATISFIED,
            occurred_at,
            key,
        )

    async def opt_out(
        self,
        caller: Caller,
        subject_id: str,
        purposes: frozenset[Purpose],
        occurred_at: datetime | None,
        key: RequestKey | None,
    ) -> tuple[Answer, str]:
        """Record a request to limit or to opt out, and destroy every identifier that has no basis left.

        Args:
            caller: Who records it.
            subject_id: Who asked; put on record where new, since a right to opt out needs no earlier dealings.
            purposes: What it is about; empty for every purpose.
            occurred_at: When the person asked, as the caller claims; None for now.
            key: The request's key.

        Returns:
            The entry, and the destruction's id where there is one.

        Raises:
            ConsentryError: ``FIELD_INVALID``: in the future.
        """
        await self._people.reference(subject_id)  # put on record, so that it is known below
        body = {"purposes": sorted(str(purpose) for purpose in purposes)} if purposes else {}
        trigger = DestructionTrigger.WITHDRAWAL
        return await self._ended(caller, subject_id, "person.opted_out", body, trigger, occurred_at, key)

    async def employment_ended(
        self, caller: Caller, subject_id: str, occurred_at: datetime | None, key: RequestKey | None
    ) -> tuple[Answer, str]:
        """Record that employment ended, and destroy every identifier that has no basis left.

        Returns:
            The entry, and the destruction's id where there is one.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person; ``STATE_CONFLICT``: not an employee.
        """
        return await self._ended(
            caller, subject_id, "employment.ended", {}, DestructionTrigger.EMPLOYMENT_ENDED, occurred_at, key
        )

    async def determine(
        self, caller: Caller, draft: DeterminationDraft, review: Answerable | None = None
    ) -> tuple[Determination, Answer]:
        """Record a determination. It allows nothing before a second officer has approved it.

        Args:
            caller: The officer.
            draft: What was determined.
            review: The review that it answers, where it answers one.

        Returns:
            The determination, awaiting approval, and its entry.

        Raises:
            ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, or what ``review`` refuses.
        """
        _check_determination(draft)
        reference = await self._people.reference(draft.subject_id) if draft.subject_id else ""
        sealed = await self._sealing.seal(draft.words, *([reference] if reference else []))

        def command(book: Book) -> tuple[Determination, Answer]:
            def act() -> Recorded:
                if draft.expires_at <= book.now:
                    raise ConsentryError(
                        Reason.FIELD_INVALID, "expire_time is in the past", field="determination.expire_time"
                    )
                if review is not None:
                    review.require_open(book)
                made = Determination(
                    determination_id=new_id("det", book.random),
                    index=-1,
                    time=book.now,
                    kind=draft.kind,
                    operations=draft.operations,
                    purposes=draft.purposes,
                    algorithm_id=draft.algorithm_id,
                    algorithm_version=draft.algorithm_version,
                    subject_ref=reference,
                    expires_at=draft.expires_at,
                    decided_by=caller.actor,
                    recipient_id=draft.recipient_id,
                    review_id="" if review is None else review.review_id,
                )
                stated = to_plain(made)
                del stated["index"], stated["time"]
                body: dict[str, Any] = {"determination": stated}
                if draft.decided_at is not None:
                    body["occurred_at"] = format_time(draft.decided_at)
                if sealed is not None:
                    body["sealed"] = sealed.put(book)
                return book.append("determination.recorded", caller.actor, body, [reference] if reference else [])

            answer = once(book, draft.key, act)
            return _determination(book, answer.entry["determination"]["determination_id"]), answer

        return await self._sequencer.submit(command)

    async def approve(
        self, caller: Caller, determination_id: str, key: RequestKey | None
    ) -> tuple[Determination, Answer]:
        """Approve another officer's determination, which makes it effective.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``SECOND_APPROVER_REQUIRED``: the same officer; ``STATE_CONFLICT``:
                approved already, or expired.
        """

        def command(book: Book) -> tuple[Determination, Answer]:
            def act() -> Recorded:
                made = _determination(book, determination_id)
                if made.decided_by == caller.actor:
                    raise ConsentryError(
                        Reason.SECOND_APPROVER_REQUIRED,
                        "what loosens needs two officers: another one must approve this",
                        field="approves_determination_id",
                    )
                if made.approved_by:
                    raise ConsentryError(
                        Reason.STATE_CONFLICT, "this determination is approved", field="approves_determination_id"
                    )
                _require_running(book, made, "approves_determination_id")
                body = {"determination_id": determination_id, "approved_by": caller.actor}
                return book.append("determination.approved", caller.actor, body)

            answer = once(book, key, act)
            return _determination(book, determination_id), answer

        return await self._sequencer.submit(command)

    async def revoke(
        self, caller: Caller, determination_id: str, key: RequestKey | None
    ) -> tuple[Determination, Answer]:
        """Revoke a determination, approved or not: from this entry on it allows nothing. One officer is enough.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``STATE_CONFLICT``: revoked already, or expired.
        """

        def command(book: Book) -> tuple[Determination, Answer]:
            field = "revokes_determination_id"

            def act() -> Recorded:
                made = _determination(book, determination_id, field)
                _require_running(book, made, field)
                people = [made.subject_ref] if made.subject_ref else []
                return book.append(
                    "determination.revoked", caller.actor, {"determination_id": determination_id}, people
                )

            answer = once(book, key, act)
            return _determination(book, determination_id, field), answer

        return await self._sequencer.submit(command)

    async def entries(self, indices: Iterable[int]) -> dict[int, tuple[Recorded, dict[str, Any]]]:
        """Where entries stand and what they say, by index; for facts that name the entry that recorded them.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: one of them is not there.
        """
        return await asyncio.to_thread(lambda: {index: self._entry(index) for index in indices})

    def _entry(self, index: int) -> tuple[Recorded, dict[str, Any]]:
        data = self._store.fetch_entry(index)
        if data is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
        entry: dict[str, Any] = orjson.loads(data)
        return Recorded(index, hash_leaf(data), parse_time(entry["time"])), entry

    async def subject(self, subject_id: str, subject_ref: str) -> tuple[Subject, list[Destruction]]:
        """What is known of a person, by the caller's id or by reference.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``FIELD_REQUIRED``: neither was given.
        """
        reference = subject_ref or await self._people.known(subject_id, "subject.subject_id")
        return await asyncio.to_thread(self._subject, reference)

    def _subject(self, reference: str) -> tuple[Subject, list[Destruction]]:
        body = self._store.fetch_record("subject", reference)
        if body is None and self._store.fetch_chain(reference) is None:
            raise ConsentryError(Reason.NOT_FOUND, "nothing is on record about this person", field="subject")
        subject = Subject(reference) if body is None else from_body(Subject, body)
        found: list[Destruction] = []
        for destruction_id in subject.destructions:
            record = self._store.fetch_record("destruction", destruction_id)
            if record is not None:
                found.append(from_body(Destruction, record))
        return subject, found

    async def _ended(
        self,
        caller: Caller,
        subject_id: str,
        entry_type: str,
        body: Mapping[str, Any],
        trigger: DestructionTrigger,
        occurred_at: datetime | None,
        key: RequestKey | None,
    ) -> tuple[Answer, str]:
        reference = await self._people.known(subject_id)

        def command(book: Book) -> tuple[Answer, str]:
            def act() -> Recorded:
                if trigger is DestructionTrigger.EMPLOYMENT_ENDED:
                    _require_employee(book.subject(reference))
                return book.append(entry_type, caller.actor, {**body, **_occurred(book, occurred_at)}, [reference])

            answer = once(book, key, act)
            return answer, self._retention.settle(book, reference, trigger, answer)

        answer, destruction_id = await self._sequencer.submit(command)
        await self._retention.begin(destruction_id)
        return answer, destruction_id


def _require_employee(subject: Subject) -> None:
    if subject.relationship is not Relationship.EMPLOYEE:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            "this person is not on record as an employee",
            field="subject_id",
            metadata={"relationship": str(subject.relationship)},
        )


def _check_determination(draft: DeterminationDraft) -> None:
    if not draft.words.get("evidence_reference"):
        raise ConsentryError(
            Reason.FIELD_REQUIRED,
            "determination.evidence_reference is required: where the evidence is kept",
            field="determination.evidence_reference",
        )
    if draft.kind not in ENTITY_WIDE and not (draft.operations and draft.purposes):
        raise ConsentryError(
            Reason.FIELD_REQUIRED,
            f"a determination of kind {draft.kind} must name operations and purposes",
            field="determination.operations" if not draft.operations else "determination.purposes",
        )
    if draft.kind in OF_ALGORITHM and not (draft.algorithm_id and draft.algorithm_version):
        raise ConsentryError(
            Reason.FIELD_REQUIRED,
            f"a determination of kind {draft.kind} must name the algorithm and its version",
            field="determination.algorithm_id",
        )
    optional_slug(draft.algorithm_id, "determination.algorithm_id")


def _determination(book: Book, determination_id: str, field: str = "approves_determination_id") -> Determination:
    for made in book.tenant.determinations:
        if made.determination_id == determination_id:
            return made
    raise ConsentryError(Reason.NOT_FOUND, "no such determination", field=field)


def _require_running(book: Book, made: Determination, field: str) -> None:
    if made.revoked_index >= 0:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"this determination is revoked (entry {made.revoked_index}): record a new one",
            field=field,
        )
    if made.expires_at <= book.now:
        raise ConsentryError(Reason.STATE_CONFLICT, "this determination is expired", field=field)


def _occurred(book: Book, claimed: datetime | None) -> dict[str, str]:
    """What a caller claims of the time; it never justifies anything recorded before it."""
    if claimed is None:
        return {}
    if claimed > book.now + CLOCK_TOLERANCE:
        raise ConsentryError(Reason.FIELD_INVALID, "occur_time is in the future", field="occur_time")
    return {"occurred_at": format_time(claimed)}
