"""The switch between enforcing and observing: one officer enforces, two let an operation be only observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.enforcement import is_overtaken
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.facts import EnforcementSwitch
from consentry_server.services.context import Answer, Caller, RequestKey, new_id, once
from consentry_server.services.release_checks import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.vocabulary import Operation
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.sequencer import Sequencer

PREFIX = "enf"
MAX_WAITING = 16
"""Most switches of one operation that are on record beside the one in effect."""


@dataclass(frozen=True, slots=True)
class SwitchDraft:
    """A switch as an officer states it.

    Args:
        enforced: False: answers about the operation are only observed.
        effective_time: From when; what lies a little back counts from the entry on.
    """

    operation: Operation
    enforced: bool
    effective_time: datetime
    key: RequestKey | None = None


class Enforcement:
    """Records switches for one tenant.

    Args:
        sequencer: The tenant's ledger.
    """

    def __init__(self, *, sequencer: Sequencer) -> None:
        self._sequencer = sequencer

    async def switch(self, caller: Caller, draft: SwitchDraft) -> tuple[EnforcementSwitch | None, Answer]:
        """Record a switch. One to observing has no effect before a second officer has approved it.

        Args:
            caller: The officer.
            draft: The switch.

        Returns:
            The switch as it stands now, or None where a later one has overtaken it; and its entry.

        Raises:
            ConsentryError: ``FIELD_INVALID``: it would count for the past; ``STATE_CONFLICT``: too many wait.
        """

        def command(book: Book) -> tuple[EnforcementSwitch | None, Answer]:
            def act() -> Recorded:
                if draft.effective_time < book.now - CLOCK_TOLERANCE:
                    raise ConsentryError(
                        Reason.FIELD_INVALID,
                        "effective_time is in the past: a switch never counts for what was decided before it",
                        field="enforcement.effective_time",
                    )
                held = sum(each.operation is draft.operation for each in book.tenant.enforcement)
                if held > MAX_WAITING and not (draft.enforced and draft.effective_time <= book.now):
                    raise ConsentryError(
                        Reason.STATE_CONFLICT,
                        f"{held} switches of {draft.operation} are on record: enforce it at once, which clears them",
                        field="enforcement.operation",
                    )
                made = EnforcementSwitch(
                    enforcement_id=new_id(PREFIX, book.random),
                    index=-1,
                    operation=draft.operation,
                    enforced=draft.enforced,
                    effective_time=max(draft.effective_time, book.now),
                    decided_by=caller.actor,
                )
                stated = to_plain(made)
                del stated["index"]
                return book.append("enforcement.changed", caller.actor, {"enforcement": stated})

            answer = once(book, draft.key, act)
            return _find(book, answer.entry["enforcement"]["enforcement_id"]), answer

        return await self._sequencer.submit(command)

    async def approve(
        self, caller: Caller, enforcement_id: str, key: RequestKey | None
    ) -> tuple[EnforcementSwitch | None, Answer]:
        """Approve another officer's switch to observing.

        Args:
            caller: The second officer.
            enforcement_id: The switch.
            key: The request's key.

        Returns:
            The switch as it stands now, or None where a later one has overtaken it; and the approval's entry.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such switch, or an enforcing one has overtaken it;
                ``SECOND_APPROVER_REQUIRED``; ``STATE_CONFLICT``: approved or overtaken already, or it needs none.
        """

        def command(book: Book) -> tuple[EnforcementSwitch | None, Answer]:
            def act() -> Recorded:
                _refuse(book, caller, enforcement_id)
                body = {"enforcement_id": enforcement_id, "approved_by": caller.actor}
                return book.append("enforcement.approved", caller.actor, body)

            answer = once(book, key, act)
            return _find(book, enforcement_id), answer

        return await self._sequencer.submit(command)


def _refuse(book: Book, caller: Caller, enforcement_id: str) -> None:
    """Refuse an approval that is not to be given."""
    field = "approves_determination_id"
    made = _find(book, enforcement_id)
    if made is None:
        raise ConsentryError(
            Reason.NOT_FOUND,
            "no such switch, or a later one to enforcing has overtaken it: record it anew",
            field=field,
        )
    if made.enforced:
        raise ConsentryError(Reason.STATE_CONFLICT, "enforcing takes one officer: this is in effect", field=field)
    if made.decided_by == caller.actor:
        raise ConsentryError(
            Reason.SECOND_APPROVER_REQUIRED,
            "what loosens needs two officers: another one must approve this",
            field=field,
        )
    if made.approved_by:
        raise ConsentryError(Reason.STATE_CONFLICT, "this switch is approved", field=field)
    later = [
        each
        for each in book.tenant.enforcement
        if each.enforced and each.operation is made.operation and each.index > made.index
    ]
    if is_overtaken(made, [each for each in later if each.effective_time <= max(made.effective_time, book.now)]):
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            "an officer has switched enforcing on since: record a new switch to observing",
            field=field,
        )


def _find(book: Book, enforcement_id: str) -> EnforcementSwitch | None:
    return next((each for each in book.tenant.enforcement if each.enforcement_id == enforcement_id), None)
