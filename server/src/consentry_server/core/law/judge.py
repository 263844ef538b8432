"""Judging: what the answers of the facts mean. One ruling for one set of answers, worked out once.

Each pack is judged by itself, and the strictest answer wins.

1. The first scope row that fits says whether the pack regulates the operation, cannot tell, or stays silent.
2. A recorded, active determination may exempt; it never reaches beyond its own pack.
3. Every rule in force is asked. Chain requirements of one group have to hold of one and the same release.
4. In scope, with nothing that gives a basis, the answer is DENY: empty means deny.
5. Whatever could not be answered, where it is asked for, denies.
6. If a region is uncovered and no house pack answers either, the answer is DENY: empty means deny.
7. DENY > REVIEW > ALLOW_NONBIOMETRIC > ALLOW.

A ruling holds no fact: it names the chains, the policy and the determinations relied on by their places, and the
dates to be counted. ``decide`` fills them in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law.clock import EVENTS, Event, add_period
from consentry_server.core.law.model import Finding, Obligation, ObligationKind
from consentry_server.core.law.plan import REGULATED
from consentry_server.core.law.requirements import Sought, policy_in_force
from consentry_server.core.law.rules import EVERY_RULE, Status
from consentry_server.core.law.situation import NO_CHAIN, Chain, Situation
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.plan import Asked, ChainAsk, PlainAsk, Plan, Section
    from consentry_server.core.law.requirements import Chained, Plain
    from consentry_server.core.law.rules import Duty, RuleText
    from consentry_server.core.record.facts import Determination

NO_RULES: Final = Finding(
    code="NO_RULES",
    rule_id="ENGINE-NO-RULES",
    rule_version=1,
    pack_id="engine",
    citation="Consentry design: empty means deny",
    grade=Grade.PRIMARY,
    text="No active pack has a rule that permits this operation.",
    remedy="Activate the packs of the person's regions and the house pack.",
    outcome=Outcome.DENY,
)

PERMITS: Final = frozenset({Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC})


class Unanswerable:
    """Stands for the answer to a question that failed."""


UNANSWERABLE: Final = Unanswerable()


class Answers(NamedTuple):
    """What the facts said.

    Args:
        asked: The answers to the plain questions and to those for determinations.
        chains: For each chain, newest first, its answers; None where the chains themselves could not be found.
        released: Whether the chains have releases; where there is none they serve only to say what is missing.
        complete: For each chain whether release, delivery and notice are all there.
    """

    asked: Mapping[Plain | Sought, object]
    chains: Sequence[Mapping[Chained, object]] | None
    released: bool
    complete: Sequence[bool]


Date = Callable[[Situation, "Sequence[Chain]", "Mapping[Sought, Determination | None]"], "datetime | None"]
"""Counts one date from the facts of one face."""


class Dated(NamedTuple):
    """A duty with a date: the earliest of some dates, by their places in the ruling.

    Of the duties of one kind the earliest counts, of equal dates the first.
    """

    kind: ObligationKind
    dates: tuple[int, ...]
    detail: str
    citation: str
    needs_date: bool
    """Whether there is no such duty where there is no date."""
    pack: Pack
    text: RuleText | None


class Ruling(NamedTuple):
    """What follows from the answers.

    Args:
        outcome: The strictest of the packs' outcomes.
        reasons: Every failing requirement on DENY and REVIEW; the satisfied rules otherwise.
        permits: Whether the outcome permits; nothing of what follows is set where it does not.
        on_policy: Whether the retention policy is part of the basis.
        chains: The places of the chains relied on.
        determinations: The determinations relied on.
        dates: The dates to be counted.
        dated: Duties with a date.
        others: Duties without; for a text its citation, where the duty is to tell the recipient.
    """

    outcome: Outcome
    reasons: tuple[Finding, ...]
    permits: bool = False
    on_policy: bool = False
    chains: tuple[int, ...] = ()
    determinations: tuple[Sought, ...] = ()
    dates: tuple[Date, ...] = ()
    dated: tuple[Dated, ...] = ()
    others: tuple[Obligation | str, ...] = ()


def failed(pack: Pack, text: RuleText | None) -> Finding:
    """The finding for a rule that could not be evaluated."""
    return Finding(
        code="RULE_FAILED",
        rule_id="ENGINE-RULE-FAILED" if text is None else text.id,
        rule_version=1 if text is None else text.version,
        pack_id=pack.id,
        citation="Consentry design: a rule that fails to evaluate denies" if text is None else text.citation,
        grade=Grade.PRIMARY if text is None else text.grade,
        text="A rule could not be evaluated, so nothing is permitted.",
        remedy="Report this decision to the operator; the facts or the pack need repair.",
        outcome=Outcome.DENY,
    )


def strictest(findings: Sequence[Finding]) -> Outcome:
    """The strictest outcome of some findings; DENY where there are none."""
    found = Outcome.REVIEW if findings else Outcome.DENY
    return Outcome.DENY if any(finding.outcome is Outcome.DENY for finding in findings) else found


def unique(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Each finding once, in first-seen order; a pack makes each of its findings once, so that identity will do."""
    return tuple({id(finding): finding for finding in findings}.values())


class _NoAnswerError(Exception):
    """A rule asks for something that could not be answered."""


class _Hearing:
    """One pack, judged by the answers.

    Args:
        section: What the pack asks.
        answers: What was answered.
    """

    def __init__(self, section: Section, answers: Answers) -> None:
        self.section = section
        self.outcome: Outcome | None = None
        self.findings: list[Finding] = []
        self.on_policy = False
        self.chains: list[int] = []
        self.determinations: list[Sought] = []
        self.duties: list[_Duty] = []
        self._answers = answers
        self._failures: list[Finding] = []
        self._satisfied: list[Finding] = []
        self._granted = False
        self._chain: int | None = None
        self._current: RuleText | None = None
        try:
            self._run()
        except _NoAnswerError:  # (5)
            self.outcome = Outcome.DENY
            self.findings = [*self._failures, failed(section.pack, self._current)]

    def _run(self) -> None:
        section = self.section
        status, skipped = self._exempt(section.status)  # (1), (2)
        groups: dict[str, list[Asked]] = {}
        for asked in section.rules:  # (3)
            rule = asked.rule
            if rule.text.id in skipped or not (rule.always or status in REGULATED):
                continue
            self._current = rule.text
            before = len(self._failures)
            self._failures += self._missing(asked.own.plain)
            if rule.alternatives:
                self._one_of(asked)
            if rule.chain:
                groups.setdefault(rule.group, []).append(asked)
            elif len(self._failures) == before:
                self._satisfied.append(rule.satisfied)
        for group in groups.values():
            self._group(group)
        self._conclude(status)

    def _is_so(self, asks: Plain | Sought | None) -> bool:
        """Whether a plain requirement holds; what it rests on is part of the basis."""
        if asks is None:
            return False
        answer = self._answers.asked[asks]
        if answer is UNANSWERABLE:
            raise _NoAnswerError
        if answer is not True:
            return False
        if isinstance(asks, Sought):
            self.determinations.append(asks)
        elif asks is policy_in_force:
            self.on_policy = True
        return True

    def _missing(self, asked: Sequence[PlainAsk]) -> list[Finding]:
        return [ask.says for ask in asked if not self._is_so(ask.asks)]

    def _exempt(self, status: Status) -> tuple[Status, frozenset[str]]:
        skipped: frozenset[str] = frozenset()
        for exemption in self.section.exemptions:
            self._current = exemption.text
            if not self._is_so(exemption.sought):
                continue
            self._granted = True
            self._satisfied.append(exemption.satisfied)
            self.duties.append(_Duty(exemption.log, exemption.text))
            if exemption.rules == EVERY_RULE:
                return exemption.status, skipped
            skipped |= exemption.rules
        return status, skipped

    def _one_of(self, asked: Asked) -> None:
        """One of the rule's alternatives has to hold; only those are tried that the caller's facts point at."""
        missing: list[Finding] = []
        for way in asked.ways:
            failing = self._missing(way.plain)
            place = self._find_chain(way.chain) if way.chain else None
            if way.chain and place is None:
                failing += self._explain_chain(way.chain)
                failing = failing or [NO_RULES]
            if not failing:
                self._rely(place)
                self._granted = self._granted or (way.grants and not asked.rule.always)
                return
            missing += failing
        if missing:
            self._failures += missing
        else:
            self._failures.append(NO_RULES if asked.none_fits is None else asked.none_fits)

    def _group(self, group: Sequence[Asked]) -> None:
        """Every chain requirement of these rules has to hold of one and the same release."""
        rule = group[0].rule
        always = rule.always  # a group is always asked as a whole, or not: see pack.load
        self._current = rule.text
        asked = [ask for each in group for ask in each.own.chain]
        place = self._find_chain(asked)
        if place is not None:
            self._rely(place)
            self._granted = self._granted or not always
            self._satisfied += [each.rule.satisfied for each in group]
            return
        review = self.section.status is Status.UNDETERMINED and not always
        failing = self._explain_chain(asked)
        if not failing and (not self._failures or (strictest(self._failures) is not Outcome.DENY and not review)):
            failing = [NO_RULES]
        self._failures += failing

    def _of_chains(self) -> Sequence[Mapping[Chained, object]]:
        if self._answers.chains is None:
            raise _NoAnswerError
        return self._answers.chains

    def _find_chain(self, asked: Sequence[ChainAsk]) -> int | None:
        """The newest release that meets every requirement together with its own delivery and notice."""
        chains = self._of_chains()
        for place, answers in enumerate(chains if self._answers.released else ()):
            for ask in asked:
                answer = answers[ask.asks]
                if answer is UNANSWERABLE:
                    raise _NoAnswerError
                if answer is not True:
                    break
            else:
                return place
        return None

    def _explain_chain(self, asked: Sequence[ChainAsk]) -> list[Finding]:
        """What the release that comes nearest lacks; what a delivery lacks where there is no release."""
        best: list[Finding] = []
        fewest = -1
        for answers in self._of_chains():
            given = [answers[ask.asks] for ask in asked]
            if UNANSWERABLE in given:
                raise _NoAnswerError
            missing = sum(answer is not True for answer in given)
            if fewest < 0 or missing < fewest:
                fewest = missing
                best = [ask.says for ask, answer in zip(asked, given, strict=True) if answer is False]
        return best

    def _rely(self, place: int | None) -> None:
        if place is None or not self._answers.complete[place]:
            return
        self._chain = place if self._chain is None else self._chain
        self.chains.append(place)
        text = self._current
        citation = "" if text is None else text.citation
        self.duties.append(
            _Duty(
                Obligation(ObligationKind.RECHECK_BY, None, "The release or its term ends.", citation),
                text,
                tuple(_Count(EVENTS[event], 0, 0, place) for event in (Event.TERM_END, Event.RELEASE_EXPIRES)),
                needs_date=True,
            )
        )

    def _conclude(self, status: Status) -> None:
        row, regulated = self.section.row, status in REGULATED
        if not self._failures and regulated and not self._granted:
            self._failures.append(NO_RULES)  # (4)
        if self._failures:
            review = status is Status.UNDETERMINED or strictest(self._failures) is Outcome.REVIEW
            lead = None if row is None else (row.review if review else row.lead)
            self.findings = self._failures if lead is None else [lead, *self._failures]
            self.outcome = strictest(self.findings)
            return
        self.findings = self._satisfied
        if status is Status.NONBIOMETRIC:
            self.outcome = Outcome.ALLOW_NONBIOMETRIC
            if row is not None and row.status is Status.NONBIOMETRIC:
                self.findings = [row.satisfied, *self._satisfied]
                self.duties.append(_Duty(row.log, row.text))
        elif status is not Status.SILENT:
            self.outcome = Outcome.ALLOW
        elif row is not None and row.tag is not None:
            self.findings = [row.tag, *self._satisfied]
        if regulated:
            self.duties += [self._duty(duty) for duty in self.section.duties]
        text = self._current
        for sought in self.determinations:
            made = Obligation(ObligationKind.RECHECK_BY, None, "The determination expires.", "Recorded determination")
            self.duties.append(_Duty(made, text, (_Count(sought, 0, 0, None),)))

    def _duty(self, duty: Duty) -> _Duty:
        made = Obligation(duty.kind, None, duty.detail, duty.text.citation)
        counts = tuple(_Count(c.event, c.months, c.days, self._chain) for c in duty.candidates)
        return _Duty(made, duty.text, counts)


class _Count(NamedTuple):
    """A date: an event of a chain and a period after it, or the end of a determination."""

    event: Callable[[Situation, Chain], datetime | None] | Sought
    months: int
    days: int
    chain: int | None

    def date(self) -> Date:
        """How it is counted."""
        event, months, days, place = self
        if isinstance(event, Sought):
            return lambda _s, _chains, found: _expiry(found, event)
        if not months and not days:
            return lambda s, chains, _: event(s, NO_CHAIN if place is None else chains[place])

        def count(s: Situation, chains: Sequence[Chain], _: object) -> datetime | None:
            start = event(s, NO_CHAIN if place is None else chains[place])
            return None if start is None else add_period(start, months, days)

        return count


class _Duty(NamedTuple):
    """An obligation as one pack makes it, its date still to be counted."""

    made: Obligation
    text: RuleText | None
    counts: tuple[_Count, ...] = ()
    needs_date: bool = False


def _expiry(found: Mapping[Sought, Determination | None], sought: Sought) -> datetime | None:
    determination = found[sought]
    return None if determination is None else determination.expires_at


def rule_on(plan: Plan, answers: Answers) -> Ruling:
    """Say what follows from the answers.

    Args:
        plan: What the packs ask.
        answers: What the facts said.

    Returns:
        The ruling.
    """
    heard = [_Hearing(section, answers) for section in plan.sections]
    outcomes = [each.outcome for each in heard if each.outcome is not None]
    outcome = max(outcomes, key=lambda o: o.strictness, default=Outcome.DENY)  # (7)
    if not outcomes or not plan.answered or outcome not in PERMITS:
        found = [f for each in heard if each.outcome in {Outcome.DENY, Outcome.REVIEW} for f in each.findings]
        if not outcomes or not plan.answered:  # (6)
            return Ruling(Outcome.DENY, unique([*found, NO_RULES]))
        return Ruling(outcome, unique(found))
    dates: dict[_Count, int] = {}
    never_earliest = _never_earliest(
        [
            c
            for each in heard
            for duty in each.duties
            if duty.made.kind is ObligationKind.DESTROY_BY
            for c in duty.counts
        ]
    )
    dated: list[Dated] = []
    others: list[Obligation | str] = []
    for each in heard:
        for made, text, counts, needs_date in each.duties:
            if made.kind in _EARLIEST_COUNTS:
                places = tuple(dates.setdefault(c, len(dates)) for c in counts if c not in never_earliest)
                dated.append(Dated(made.kind, places, made.detail, made.citation, needs_date, each.section.pack, text))
                continue
            other = made.citation if made.kind is ObligationKind.TELL_RECIPIENT else made
            if other not in others:
                others.append(other)
    return Ruling(
        outcome=outcome,
        reasons=unique([finding for each in heard for finding in each.findings]),
        permits=True,
        on_policy=any(each.on_policy for each in heard),
        chains=tuple(dict.fromkeys(place for each in heard for place in each.chains)),
        determinations=tuple(dict.fromkeys(sought for each in heard for sought in each.determinations)),
        dates=tuple(count.date() for count in dates),
        dated=tuple(_first_of_each(dated)),
        others=tuple(others),
    )


_EARLIEST_COUNTS: Final = frozenset({ObligationKind.DESTROY_BY, ObligationKind.RECHECK_BY})


def _never_earliest(counts: Sequence[_Count]) -> set[_Count]:
    """Of the dates of duties of one kind those that never count.

    A shorter period runs from the same event; or the event gives no date before it is recorded, and then nothing is
    permitted any more.
    """
    undated = {count for count in counts if count.event is EVENTS[Event.PURPOSE_SATISFIED]}
    return undated | {
        longer
        for longer in counts
        for other in counts
        if (other.event, other.chain) == (longer.event, longer.chain)
        and (other.months, other.days) != (longer.months, longer.days)
        and other.months <= longer.months
        and other.days <= longer.days
    }


def _first_of_each(dated: Sequence[Dated]) -> list[Dated]:
    """Of duties of one kind only those can count that look at a date which no earlier one looks at."""
    found: list[Dated] = []
    for each in dated:
        if not any(
            (other.kind, other.needs_date) == (each.kind, each.needs_date) and set(each.dates) <= set(other.dates)
            for other in found
        ):
            found.append(each)
    return found
