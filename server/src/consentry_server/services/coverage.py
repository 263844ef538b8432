"""What was permitted against what was reported, by service and period: gaps that somebody has to explain.

One sweep over the ledger, by index: permits and openings are remembered until a report of their decision comes by,
and what is left at the end was never reported. Only what is not closed yet is in memory.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from consentry_server.core.ledger.entry import format_time, parse_time
from consentry_server.core.record import terms
from consentry_server.core.record.decisions import spelled_out
from consentry_server.core.record.terms import Sequel
from consentry_server.core.vocabulary import Outcome, ProcessingResult
from consentry_server.services.reading import READ_AT_ONCE, Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from consentry_server.services.index import LedgerIndex
    from consentry_server.services.reading import Reader

MAX_DECISIONS = 100
"""Most decisions that a row names."""
_PERMITS = (frozenset({terms.PERMIT}),)
EVENTS_AT_ONCE = 1_024
"""Entries of a step."""
_ALLOWED = (Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DONE = object()


class Event(NamedTuple):
    """A permit, an opening or a report.

    Args:
        at: Index of its entry.
        how: None for a permit, which is a decision itself.
        decision: The decision that it is about.
    """

    at: int
    how: Sequel | None
    decision: int


class RowKey(NamedTuple):
    """Which row, in the rows' order.

    Args:
        start: Beginning of its period.
        actor: The caller's name.
    """

    start: datetime
    actor: str


@dataclass(slots=True)
class Row:
    """One service in one period.

    Args:
        key: Which.
        until: End of its period.
        permits: Permits given.
        open_permits: Permits that no report closed in time.
        unpermitted: Processing reported though no permit was given.
        refused: Of these, processing that the decision did not allow.
        unreported_openings: Openings that no report followed in time.
        decisions: Indices of the decisions behind the last four.
        decision_ids: Their ids, oldest first, at most :data:`MAX_DECISIONS`.
    """

    key: RowKey
    until: datetime
    permits: int = 0
    open_permits: int = 0
    unpermitted: int = 0
    refused: int = 0
    unreported_openings: int = 0
    decisions: set[int] = field(default_factory=set)
    decision_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare.

    Args:
        row_period: Length of the rows' periods, counted from 1970-01-01; those at the ends of the whole are cut.
        from_time: From this time on.
        until_time: Up to but without this time.
        actor: Only this caller; empty for all.
        after: Rows behind this one.
        count: At most so many rows.
    """

    row_period: timedelta = timedelta(days=1)
    from_time: datetime | None = None
    until_time: datetime | None = None
    actor: str = ""
    after: RowKey | None = None
    count: int = 50


class Coverage:
    """Compares permits, openings and reports of one ledger.

    Args:
        reader: Reads the ledger.
        index: Its index.
        clock: The time now, UTC.
        reporting: How long after a permit's end its report may come.
    """

    def __init__(
        self, *, reader: Reader, index: LedgerIndex, clock: Callable[[], datetime], reporting: timedelta
    ) -> None:
        self._reader = reader
        self._index = index
        self._clock = clock
        self._reporting = reporting

    async def page(self, question: Question) -> tuple[list[Row], bool]:
        """Answer in rows, by period and service.

        Args:
            question: What to compare.

        Returns:
            The rows, and whether there are more.

        Raises:
            ConsentryError: ``DATA_DAMAGED``.
        """
        sweep = self.sweep(question)
        while await asyncio.to_thread(next, sweep.steps, _DONE) is not _DONE:
            pass
        return sweep.page()

    def sweep(self, question: Question) -> Sweep:
        """The same, for who calls from no event loop: run its ``steps`` to their end, then take its page."""
        return Sweep(self._reader, self._index, question, now=self._clock(), reporting=self._reporting)


class Sweep:
    """One pass over the ledger.

    Args:
        reader: Reads the ledger.
        index: Its index.
        question: What to compare.
        now: What is due by now counts.
        reporting: See ``Coverage``.
    """

    def __init__(
        self, reader: Reader, index: LedgerIndex, question: Question, *, now: datetime, reporting: timedelta
    ) -> None:
        self._reader = reader
        self._index = index
        self._question = question
        self._now = now
        self._reporting = reporting
        self._rows: dict[RowKey, Row] = {}
        self._skipped = 0
        self._from = self._to = ""
        self._period = _EPOCH
        self._start: datetime | None = None
        self._permits: dict[int, tuple[RowKey, str, int]] = {}
        self._openings: defaultdict[int, list[RowKey]] = defaultdict(list)
        self._cut = False
        self.steps = self._run()
        """Does the work, in steps of a few milliseconds."""

    def page(self) -> tuple[list[Row], bool]:
        """The rows, and whether there are more; once the steps have run."""
        question = self._question
        keys = sorted(key for key in self._rows if question.after is None or key > question.after)
        chosen = [self._rows[key] for key in keys[: question.count]]
        for row in chosen:
            oldest = heapq.nsmallest(MAX_DECISIONS, row.decisions)
            row.decision_ids = tuple(self._reader.entry(index)[1]["decision_id"] for index in oldest)
        return chosen, self._cut or len(keys) > question.count

    def _run(self) -> Iterator[None]:
        question = self._question
        start = question.from_time
        if question.after is not None:
            start = max(start or question.after.start, question.after.start)
        position, last = self._reader.between(Filter(from_time=start, until_time=question.until_time), 0, None)
        size = self._reader.between(Filter(), 0, None)[1]
        while position < last:
            events, position = self._events(position, min(last, position + EVENTS_AT_ONCE))
            for event, said in zip(events, self._reader.said([event.at for event in events]), strict=True):
                if not self._take(event, said):
                    last = event.at
                    break
            yield
        position = last
        while position < size and (self._permits or self._openings):  # only what is still open matters from here on
            events, position = self._events(position, size)
            for event in events:
                if event.how is Sequel.REPORT:
                    self._close(event.decision)
            yield
        yield from self._settle()

    def _events(self, first: int, until: int) -> tuple[list[Event], int]:
        """Permits, openings and reports, in order; and how far that goes."""
        sequels, end = self._index.sequels(first, until)
        permits, reached = self._index.find(_PERMITS, first, end, max(end - first, 1))
        if reached == end > first:
            found = [Event(index, None, index) for index in permits]
            found += [Event(index, Sequel(how), decision) for decision, index, how in sequels if how != Sequel.OTHER]
            return sorted(found), end
        found = []
        stored, end = self._reader.select((), first, until, READ_AT_ONCE)  # the index does not reach here
        for each in stored:
            said = each.said()
            sequel = terms.sequel_of(said)
            if said["type"] == terms.DECISION and said.get("permit"):
                found.append(Event(each.index, None, each.index))
            elif sequel is not None and sequel[1] is not Sequel.OTHER:
                found.append(Event(each.index, sequel[1], sequel[0]))
        return found, end

    def _take(self, event: Event, said: dict[str, Any]) -> bool:
        """Count one event; False where it begins a period that is for another page."""
        key = self._key(said)
        if key.start != self._start and len(self._rows) > self._question.count + self._skipped:
            self._cut = True
            return False
        self._start = key.start
        if self._question.actor in ("", key.actor):
            match event.how:
                case None if said.get("permit"):
                    self._row(key).permits += 1
                    self._permits[event.at] = (key, said["time"], spelled_out(said)["valid_seconds"])
                case Sequel.OPENING:
                    self._openings[event.decision].append(key)
                case Sequel.REPORT if said["result"] != ProcessingResult.NOT_PERFORMED:
                    self._report(key, event.decision, said)
        if event.how is Sequel.REPORT:
            self._close(event.decision)
        return True

    def _key(self, said: dict[str, Any]) -> RowKey:
        if not self._from <= said["time"] < self._to:
            question = self._question
            start = _floor(parse_time(said["time"]), question.row_period)
            self._from, self._to = format_time(start), format_time(start + question.row_period)
            self._period = max(start, question.from_time or start)
        return RowKey(self._period, terms.actor_name(said["actor"]))

    def _report(self, key: RowKey, decision: int, said: dict[str, Any]) -> None:
        """Something was done, or tried: was there a permit?"""
        beyond = bool(said.get("without_permission"))
        if decision in self._permits and not beyond:
            return
        asked = spelled_out(self._reader.entry(decision)[1])
        refused = beyond or all(face["outcome"] not in _ALLOWED for face in asked["faces"])
        if refused or not asked.get("permit"):
            row = self._row(key)
            row.unpermitted += 1
            row.refused += refused
            row.decisions.add(decision)

    def _close(self, decision: int) -> None:
        self._permits.pop(decision, None)
        self._openings.pop(decision, None)

    def _settle(self) -> Iterator[None]:
        """What is left and due was never reported."""
        for done, (decision, keys) in enumerate(self._openings.items()):
            asked = self._permits.get(decision)
            if asked is None:  # from before the period
                said = spelled_out(self._reader.entry(decision)[1])
                asked = (keys[0], said["time"], said["valid_seconds"])
            if self._is_due(*asked[1:]):
                for key in keys:
                    row = self._row(key)
                    row.unreported_openings += 1
                    row.decisions.add(decision)
            if done % READ_AT_ONCE == 0:
                yield
        for done, (decision, (key, time, valid_seconds)) in enumerate(self._permits.items()):
            if self._is_due(time, valid_seconds):
                row = self._row(key)
                row.open_permits += 1
                row.decisions.add(decision)
            if done % READ_AT_ONCE == 0:
                yield

    def _is_due(self, time: str, valid_seconds: int) -> bool:
        return parse_time(time) + timedelta(seconds=valid_seconds) + self._reporting <= self._now

    def _row(self, key: RowKey) -> Row:
        row = self._rows.get(key)
        if row is None:
            question = self._question
            end = _floor(key.start, question.row_period) + question.row_period
            row = self._rows[key] = Row(key, min(end, question.until_time or end))
            self._skipped += question.after is not None and key <= question.after
        return row


def _floor(time: datetime, period: timedelta) -> datetime:
    """The beginning of the period that a time is in."""
    return _EPOCH + (time - _EPOCH) // period * period
