"""The queue of questions that a person has to answer: a projection of the decisions that raised them."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.own import findings
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import Tenant
from consentry_server.core.record.fold import TENANT_KEY
from consentry_server.core.record.house import Refusal, Review, algorithm_name
from consentry_server.services.context import Answer, Caller, RequestKey, once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from consentry_server.core.law import Finding
    from consentry_server.core.record.facts import Determination
    from consentry_server.core.vocabulary import Operation
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.packs import Packs
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.registry import DeterminationDraft, Registry
    from consentry_server.services.sealing import Sealing
    from consentry_server.services.sequencer import Sequencer

READ_AT_ONCE: Final = 1_000
MAX_REFUSALS: Final = 1_000
"""Of one tenant: they are held in memory."""
KIND: Final = "review"


class State(StrEnum):
    """Where a review stands; the names are those of the contract."""

    OPEN = "OPEN"
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    DETERMINED = "DETERMINED"
    REFUSED = "REFUSED"


class Shown(NamedTuple):
    """A review as it stands now.

    Args:
        review: What is on record.
        state: Where it stands.
        determination: What answers it, where something does.
        reasons: What the rules found, in their words where a pack at hand has them; else rule and code alone.
    """

    review: Review
    state: State
    determination: Determination | None
    reasons: tuple[Finding | str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reviews.

    Args:
        state: Only those in this state; None for all.
        operation: Only those about this operation; None for all.
        after: Where the page before ended: the first decision's index and the review's id.
        count: At most so many.
    """

    state: State | None = None
    operation: Operation | None = None
    after: tuple[int, str] = (-1, "")
    count: int = 50


@dataclass(frozen=True, slots=True)
class _Answering:
    """A review that a determination is to answer; see ``registry.Answerable``."""

    review_id: str
    draft: DeterminationDraft

    def require_open(self, book: Book) -> None:
        review = _require_open(book, self.review_id)
        draft = self.draft
        algorithm = algorithm_name(draft.algorithm_id, draft.algorithm_version)
        scope = (
            ("operations", draft.operations == {review.operation}, f"only {review.operation}"),
            ("purposes", draft.purposes == {review.purpose}, f"only {review.purpose}"),
            (
                "algorithm_id",
                algorithm == review.algorithm,
                review.algorithm or "none, as in the requests",
            ),
        )
        for name, fits, wanted in scope:
            if not fits:
                raise ConsentryError(
                    Reason.FIELD_INVALID,
                    f"determination.{name} is not the review's scope: it must be {wanted}; what is wider or about"
                    " something else goes into RecordDetermination",
                    field=f"determination.{name}",
                )


class Reviews:
    """Lists and resolves reviews for one tenant.

    Args:
        sequencer: The tenant's ledger.
        store: For reading.
        registry: Records determinations.
        sealing: Where an officer's words go.
        packs: For what the rules say.
    """

    def __init__(
        self, *, sequencer: Sequencer, store: LedgerStore, registry: Registry, sealing: Sealing, packs: Packs
    ) -> None:
        self._sequencer = sequencer
        self._store = store
        self._registry = registry
        self._sealing = sealing
        self._packs = packs

    async def listed(self, wanted: Wanted, now: datetime) -> list[Shown]:
        """Reviews, oldest first. Memory is that of one page, however many there are.

        Args:
            wanted: Which ones.
            now: The time, UTC: a determination that is expired answers nothing.
        """
        return await asyncio.to_thread(self._listed, wanted, now)

    async def resolve(
        self, caller: Caller, review_id: str, draft: DeterminationDraft
    ) -> tuple[Shown, Determination, Answer]:
        """Answer a review by a determination of its very scope; a second officer has to approve it.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``STATE_CONFLICT``: it is answered already; ``FIELD_INVALID``: the scope.
        """
        made, answer = await self._registry.determine(caller, draft, _Answering(review_id, draft))
        return await self._standing(answer.entry["determination"]["review_id"], answer), made, answer

    async def refuse(self, caller: Caller, review_id: str, reason: str, key: RequestKey | None) -> tuple[Shown, Answer]:
        """Answer a review with no: whatever raises this question is denied from now on.

        Args:
            caller: The officer.
            review_id: The review.
            reason: Why; sealed.
            key: The request's key.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``STATE_CONFLICT``: it is answered already, or there are too many refusals.
        """
        sealed = await self._sealing.seal({"refusal_reason": reason})

        def command(book: Book) -> Answer:
            def act() -> Recorded:
                review = _require_open(book, review_id)
                if len(book.tenant.refusals) >= MAX_REFUSALS:
                    raise ConsentryError(
                        Reason.STATE_CONFLICT,
                        f"{MAX_REFUSALS} reviews are refused: put what has to be denied into a pack of your own"
                        " (ActivatePack)",
                        field="refusal_reason",
                    )
                refusal = Refusal(
                    review_id=review_id,
                    index=-1,
                    time=book.now,
                    operation=review.operation,
                    purpose=review.purpose,
                    category=review.category,
                    rules=frozenset(review.rules),
                    algorithm=review.algorithm,
                )
                stated = to_plain(refusal)
                del stated["index"], stated["time"]
                body: dict[str, Any] = {"refusal": stated}
                if sealed is not None:
                    body["sealed"] = sealed.put(book)
                return book.append("review.refused", caller.actor, body)

            return once(book, key, act)

        answer = await self._sequencer.submit(command)
        return await self._standing(review_id, answer), answer

    async def _standing(self, review_id: str, answer: Answer) -> Shown:
        def read(book: Book) -> tuple[Review, Tenant, datetime]:
            return _review(book, review_id), book.tenant, book.now

        review, tenant, now = await self._sequencer.submit(read)
        return self._shown(review, tenant, max(now, answer.recorded.time), self._sentences(tenant))

    def _listed(self, wanted: Wanted, now: datetime) -> list[Shown]:
        body = self._store.fetch_record("tenant", TENANT_KEY)
        tenant = from_body(Tenant, body) if body else Tenant()
        waiting = (
            review
            for review in self._all()
            if (review.first_index, review.review_id) > wanted.after
            and (wanted.operation is None or review.operation is wanted.operation)
            and (wanted.state is None or state_of(review, tenant, now)[0] is wanted.state)
        )
        found = heapq.nsmallest(wanted.count, waiting, key=lambda review: (review.first_index, review.review_id))
        sentences = self._sentences(tenant) if found else {}
        return [self._shown(review, tenant, now, sentences) for review in found]

    def _all(self) -> Iterator[Review]:
        after = ""
        while True:
            read = self._store.fetch_records(KIND, after, READ_AT_ONCE)
            for _key, body in read:
                yield from_body(Review, body)
            if len(read) < READ_AT_ONCE:
                return
            after = read[-1][0]

    def _sentences(self, tenant: Tenant) -> dict[str, Finding]:
        """What active packs say, by ``RULE-ID:CODE``."""
        packs: Sequence[Any] = self._packs.compiled(tenant.packs)
        return {
            f"{said.rule_id}:{said.code}": said for pack in packs for sheet in pack.sheets for said in findings(sheet)
        }

    def _shown(self, review: Review, tenant: Tenant, now: datetime, sentences: dict[str, Finding]) -> Shown:
        state, determination = state_of(review, tenant, now)
        return Shown(review, state, determination, tuple(sentences.get(rule, rule) for rule in review.rules))


def state_of(review: Review, tenant: Tenant, now: datetime) -> tuple[State, Determination | None]:
    """Where a review stands, and what answers it. One whose determination was revoked or is expired is open again.

    Args:
        review: What is on record.
        tenant: What is known of the tenant.
        now: The time, UTC.
    """
    if review.refused_index >= 0:
        return State.REFUSED, None
    for made in tenant.determinations:
        if made.determination_id == review.determination_id:
            if made.revoked_index >= 0 or made.expires_at <= now:
                break
            return State.DETERMINED if made.active else State.AWAITING_APPROVAL, made
    return State.OPEN, None


def _review(book: Book, review_id: str) -> Review:
    review = book.get(Review, review_id)
    if review is None:
        raise ConsentryError(Reason.NOT_FOUND, "no such review", field="review_id")
    return review


def _require_open(book: Book, review_id: str) -> Review:
    review = _review(book, review_id)
    state, made = state_of(review, book.tenant, book.now)
    if state is State.REFUSED:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"this review is refused (entry {review.refused_index}): a determination in RecordDetermination, approved"
            " by two officers, can still answer the question",
            field="review_id",
        )
    if made is not None:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"{made.determination_id} answers this review: approve it, or revoke it first (RecordDetermination)",
            field="review_id",
        )
    return review
