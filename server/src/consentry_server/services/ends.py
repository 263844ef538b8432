"""What ends a purpose without its being satisfied: found unnecessary, or the person closed their account."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.facts import UNNECESSARY_DAYS
from consentry_server.core.vocabulary import DestructionTrigger
from consentry_server.services.context import Answer, Caller, RequestKey, once
from consentry_server.services.release_checks import not_ahead

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.record.facts import Subject
    from consentry_server.core.vocabulary import Purpose
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.people import People
    from consentry_server.services.retention import Retention
    from consentry_server.services.sealing import Sealing
    from consentry_server.services.sequencer import Sequencer

FIELD = "purposes"


class Ends:
    """Records ends for one tenant.

    Args:
        sequencer: The tenant's ledger.
        people: Resolves callers' ids of persons.
        sealing: Where callers' words go.
        retention: Destroys what has no basis left.
    """

    def __init__(self, *, sequencer: Sequencer, people: People, sealing: Sealing, retention: Retention) -> None:
        self._sequencer = sequencer
        self._people = people
        self._sealing = sealing
        self._retention = retention

    async def found_unnecessary(
        self,
        caller: Caller,
        subject_id: str,
        purposes: frozenset[Purpose],
        occurred_at: datetime | None,
        extension_reason: str,
        key: RequestKey | None,
    ) -> tuple[Answer, str]:
        """Record that holding data for purposes was found no longer necessary, adequate or relevant.

        Nothing new is done for them from this entry on, and what is held for them alone is kept 45 days at most after
        the finding, 90 with the one extension (C.R.S. 6-1-1314(2)(c)).

        Args:
            caller: Who found it.
            subject_id: The person.
            purposes: At least one.
            occurred_at: When it was found, as the caller claims: the days are counted from then.
            extension_reason: Why the days are extended, sealed; empty for no extension.
            key: The request's key.

        Returns:
            The entry, and the destruction's id where something has no basis left at once.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person; ``FIELD_REQUIRED``; ``STATE_CONFLICT``: found before, or
                extended before, or the days are over.
        """
        if not purposes:
            raise ConsentryError(Reason.FIELD_REQUIRED, "purposes is required: at least one", field=FIELD)
        reference = await self._people.known(subject_id)
        sealed = await self._sealing.seal({"extension_reason": extension_reason}, reference)

        def act(book: Book) -> Recorded:
            for purpose in sorted(purposes):
                _check(book, book.subject(reference), purpose, extend=bool(extension_reason))
            body: dict[str, Any] = {
                "purposes": sorted(str(purpose) for purpose in purposes),
                **_occurred(book, occurred_at),
            }
            if extension_reason and occurred_at is not None:
                _require_days_left(book, occurred_at)
            if extension_reason:
                body["extended"] = True
            if sealed is not None:
                body["sealed"] = sealed.put(book)
            return book.append("purpose.unnecessary", caller.actor, body, [reference])

        def command(book: Book) -> tuple[Answer, str]:
            answer = once(book, key, lambda: act(book))
            return answer, self._retention.settle(book, reference, DestructionTrigger.PURPOSE_SATISFIED, answer)

        answer, destruction_id = await self._sequencer.submit(command)
        await self._retention.begin(destruction_id)
        return answer, destruction_id

    async def account_closed(
        self, caller: Caller, subject_id: str, occurred_at: datetime | None, key: RequestKey | None
    ) -> tuple[Answer, str]:
        """Record that a person closed their account: it ends every term that a notice bound to that.

        Returns:
            The entry, and the destruction's id where there is one.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person; ``FIELD_INVALID``: in the future.
        """
        reference = await self._people.known(subject_id)

        def command(book: Book) -> tuple[Answer, str]:
            answer = once(
                book,
                key,
                lambda: book.append("account.closed", caller.actor, _occurred(book, occurred_at), [reference]),
            )
            return answer, self._retention.settle(book, reference, DestructionTrigger.PURPOSE_SATISFIED, answer)

        answer, destruction_id = await self._sequencer.submit(command)
        await self._retention.begin(destruction_id)
        return answer, destruction_id


def _check(book: Book, subject: Subject, purpose: Purpose, *, extend: bool) -> None:
    """One finding, and one extension of it before its days are over."""
    found = subject.found_unnecessary(purpose)
    if found is None:
        return
    day = f"{found.destroy_by:%Y-%m-%d}"
    if not extend:
        problem = f"holding data for {purpose} was found unnecessary before: it is destroyed by {day}"
    elif found.extended_index >= 0:
        problem = f"the days for {purpose} were extended once already (C.R.S. 6-1-1314(2)(c)): destroy it by {day}"
    elif book.now >= found.destroy_by:
        problem = f"the days for {purpose} were over on {day}: what is over cannot be extended; destroy it"
    else:
        return
    raise ConsentryError(Reason.STATE_CONFLICT, problem, field=FIELD, metadata={"destroy_by": day})


def _require_days_left(book: Book, found: datetime) -> None:
    """A finding that is told only when its days are over is not extended with its report."""
    over = found + timedelta(days=UNNECESSARY_DAYS)
    if book.now < over:
        return
    day = f"{over:%Y-%m-%d}"
    raise ConsentryError(
        Reason.STATE_CONFLICT,
        f"the days since this finding were over on {day}: what is over cannot be extended; report it without an"
        " extension, and what it reaches is destroyed",
        field=FIELD,
        metadata={"destroy_by": day},
    )


def _occurred(book: Book, claimed: datetime | None) -> dict[str, str]:
    if claimed is None:
        return {}
    not_ahead(claimed, book.now, "occur_time")
    return {"occurred_at": format_time(claimed)}
