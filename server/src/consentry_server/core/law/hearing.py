"""One pack, heard slowly: every part of it asked by itself, in the law's order, with a step written for each.

It shares the questions with ``decide`` and nothing else: what their answers mean is worked out here again from the
rules in ``judge``'s head, without plans and without tables. A property test holds the two to one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.law import wording
from consentry_server.core.law.choosing import REGULATED
from consentry_server.core.law.circumstances import Question
from consentry_server.core.law.clock import EVENTS, Event, add_period
from consentry_server.core.law.judge import NO_RULES, failed
from consentry_server.core.law.model import ObligationKind
from consentry_server.core.law.requirements import (
    PerIdentifier,
    PlainPerIdentifier,
    Sought,
    match_determination,
    policy_in_force,
)
from consentry_server.core.law.rules import EVERY_RULE, Status
from consentry_server.core.law.situation import NO_CHAIN
from consentry_server.core.law.trace import Step, StepResult, of_rule
from consentry_server.core.vocabulary import DataCategory, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.core.law.choosing import Chosen
    from consentry_server.core.law.circumstances import Circumstances
    from consentry_server.core.law.model import Finding
    from consentry_server.core.law.requirements import Plain
    from consentry_server.core.law.rules import (
        ChainCheck,
        Exemption,
        PlainCheck,
        Rule,
        RuleText,
    )
    from consentry_server.core.law.situation import Chain, Situation
    from consentry_server.core.record.facts import Determination

TRUE, FALSE, FAILED, OTHER = StepResult.TRUE, StepResult.FALSE, StepResult.FAILED, StepResult.NOT_APPLICABLE
_KINDS: Final = {
    ObligationKind.DESTROY_BY: "Destroy what is kept by",
    ObligationKind.RECHECK_BY: "Ask again before",
}


class UnansweredError(Exception):
    """A question that the law asks could not be answered: whatever asks it denies."""

    def __init__(self, steps: tuple[Step, ...] = ()) -> None:
        super().__init__()
        self.steps = steps


class Due(NamedTuple):
    """One candidate for the date of a duty."""

    kind: ObligationKind
    text: RuleText | None
    event: Callable[[Situation, Chain], datetime | None]
    months: int
    days: int
    chain: Chain
    detail: str


class Hearing:
    """One pack, asked about one face.

    Args:
        chosen: What of it concerns the case.
        c: The circumstances.
        s: The situation.
        chains: The person's chains, newest first; None where they could not be found.

    Attributes:
        outcome: What the pack answers; None where it says nothing.
        findings: Why.
        step: Its whole trace.
    """

    def __init__(self, chosen: Chosen, c: Circumstances, s: Situation, chains: Sequence[Chain] | None) -> None:
        self.chosen = chosen
        self.outcome: Outcome | None = None
        self.findings: list[Finding] = []
        self.on_policy = False
        self.chains: list[Chain] = []
        self.determinations: list[Determination] = []
        self.due: list[Due] = []
        self._c, self._s = c, s
        self._identifier: DataCategory = c.category
        if chosen.row is not None and chosen.row.identifier is not None:
            self._identifier = chosen.row.identifier
        self._failures: list[Finding] = []
        self._satisfied: list[Finding] = []
        self._granted = False
        self._steps: list[Step] = []
        self._current: RuleText | None = None
        self._held = chains
        self._run()
        self.step = self._told()

    def _run(self) -> None:
        self._scope()
        try:
            status, taken_out = self._exempt(self.chosen.status)
            asked = [rule for rule in self.chosen.rules if rule.text.id not in taken_out]
            left = [rule for rule in self.chosen.rules if rule.text.id in taken_out]
            if status not in REGULATED:
                left += [rule for rule in asked if not rule.always]
                asked = [rule for rule in asked if rule.always]
            self._rules(asked)
            pack_id = self.chosen.pack.id
            for rule in left:
                said = f"{rule.text.title} Not asked: a determination takes this operation out of it."
                self._steps.append(of_rule(rule.text, pack_id, said, OTHER))
        except UnansweredError as error:
            finding = failed(self.chosen.pack, self._current)
            self.outcome, self.findings = Outcome.DENY, [*self._failures, finding]
            said = f"{'' if self._current is None else self._current.title + ' '}{finding.text}"
            if self._current is not None:
                self._steps.append(
                    of_rule(self._current, self.chosen.pack.id, said, FAILED, outcome=Outcome.DENY, steps=error.steps)
                )
            return
        self._conclude(status)

    # -- (1) scope

    def _scope(self) -> None:
        chosen, row = self.chosen, self.chosen.row
        if row is None:
            self._steps.append(Step(wording.NO_ROW, OTHER, pack_id=chosen.pack.id, steps=chosen.passed))
            return
        result = {Status.UNDETERMINED: StepResult.UNKNOWN, Status.SILENT: OTHER}.get(row.status, TRUE)
        below = () if row.when is None else (wording.condition(row.when, self._c),)
        said = f"{row.text.title} {wording.SCOPE[row.status]}"
        self._steps.append(of_rule(row.text, chosen.pack.id, said, result, steps=(*below, *chosen.passed)))

    # -- (2) exemptions

    def _exempt(self, status: Status) -> tuple[Status, frozenset[str]]:
        taken_out: frozenset[str] = frozenset()
        whole: Exemption | None = None
        for exemption in self.chosen.exemptions:
            text, pack_id = exemption.text, self.chosen.pack.id
            if whole is not None:
                said = f"{text.title} Not looked at: {whole.text.id} takes the operation out already."
                self._steps.append(of_rule(text, pack_id, said, OTHER))
                continue
            self._current = text
            found = self._determination(exemption.sought)
            if found is None:
                said = f"{text.title} No {exemption.sought.kind} determination in force covers this operation."
                self._steps.append(of_rule(text, pack_id, said, FALSE))
                continue
            self._granted = True
            self._satisfied.append(exemption.satisfied)
            basis = (found.index, found.approved_index)
            until = wording.day(found.expires_at)
            said = f"{text.title} Determination {found.determination_id} covers this until {until}."
            self._steps.append(of_rule(text, pack_id, said, TRUE, basis=basis, outcome=exemption.satisfied.outcome))
            if exemption.rules == EVERY_RULE:
                whole = exemption
            else:
                taken_out |= exemption.rules
        return (status if whole is None else whole.status), taken_out

    # -- (3) rules

    def _rules(self, rules: Sequence[Rule]) -> None:
        groups: dict[str, list[tuple[Rule, list[Step]]]] = {}
        try:
            for rule in rules:
                self._rule(rule, groups)
            while groups:
                name = next(iter(groups))
                self._group(groups[name])
                del groups[name]
        except UnansweredError:
            for group in groups.values():  # what was found of them before stays told
                for rule, steps in group:
                    found = [each for each in self._failures if each.rule_id == rule.text.id]
                    self._write(rule, found, steps, met=False)
            raise

    def _rule(self, rule: Rule, groups: dict[str, list[tuple[Rule, list[Step]]]]) -> None:
        """One rule by itself; what it asks of a release is left to its group."""
        self._current = rule.text
        before = len(self._failures)
        steps = [] if rule.when is None else [wording.condition(rule.when, self._c)]
        missing, below = self._missing(rule.plain, self._review(rule))
        self._failures += missing
        steps += below
        if rule.alternatives:
            steps += self._one_of(rule)
        if rule.chain:
            groups.setdefault(rule.group, []).append((rule, steps))
            return
        if len(self._failures) == before:
            self._satisfied.append(rule.satisfied)
        self._write(rule, self._failures[before:], steps)

    def _review(self, rule: Rule) -> bool:
        """Whether what the rule misses is for a person to review."""
        return self.chosen.status is Status.UNDETERMINED and not rule.always

    def _missing(self, checks: Sequence[PlainCheck], review: bool) -> tuple[list[Finding], list[Step]]:  # noqa: FBT001 - see _review
        missing: list[Finding] = []
        steps: list[Step] = []
        for check in checks:
            says = check.review if review else check.failed
            try:
                holds, basis = self._plain(check.asks)
            except UnansweredError as error:
                broken = Step("This requirement could not be evaluated.", FAILED, outcome=Outcome.DENY)
                raise UnansweredError((*steps, broken)) from error
            if not holds:
                missing.append(says)
            steps.append(_requirement(check.that, says, basis, holds=holds))
        return missing, steps

    def _plain(self, asks: Question | Plain | PlainPerIdentifier | Sought) -> tuple[bool, tuple[int, ...]]:
        """Whether a plain requirement holds, and the entries it rests on."""
        if isinstance(asks, Question):
            return asks.holds(self._c), ()
        if isinstance(asks, Sought):
            found = self._determination(asks)
            return (False, ()) if found is None else (True, (found.index, found.approved_index))
        if isinstance(asks, PlainPerIdentifier):
            asks = asks.make(self._identifier)
        if _answer(asks, self._s) is not True:
            return False, ()
        if asks is not policy_in_force:
            return True, ()
        self.on_policy = True
        policy = self._s.moment.policy
        return True, () if policy is None else (policy.index,)

    def _determination(self, sought: Sought) -> Determination | None:
        found: Determination | None = _answer(match_determination, self._s, sought)
        if found is not None:
            self.determinations.append(found)
        return found

    def _one_of(self, rule: Rule) -> list[Step]:
        """One of the rule's ways has to hold; only those are tried that the caller's facts point at."""
        review = self._review(rule)
        missing: list[Finding] = []
        steps: list[Step] = []
        for number, way in enumerate(rule.alternatives, 1):
            title = f"Way {number} of {len(rule.alternatives)}"
            if way.when is not None and not way.when.holds(self._c):
                below = (wording.condition(way.when, self._c),)
                steps.append(Step(f"{title}: not what the request is about.", OTHER, steps=below))
                continue
            failing, below_ = self._missing(way.plain, review)
            place: Chain | None = None
            if way.chain:
                place, near = self._search(way.chain)
                if place is None:
                    failing += self._lacks(way.chain, near, review)
                    failing = failing or [NO_RULES]
                below_ += self._told_chain(way.chain, place or near, review)
            if not failing:
                self._rely(place)
                self._granted = self._granted or (way.grants and not rule.always)
                return [*steps, Step(f"{title} is satisfied.", TRUE, steps=tuple(below_))]
            steps.append(Step(f"{title} is not satisfied.", FALSE, steps=tuple(below_)))
            missing += failing
        if not missing:
            missing = [NO_RULES if rule.none_fits is None else rule.none_fits[review]]
            steps.append(Step(missing[0].text, FALSE, remedy=missing[0].remedy, outcome=missing[0].outcome))
        self._failures += missing
        return steps

    def _group(self, group: list[tuple[Rule, list[Step]]]) -> None:
        """Every requirement of these rules has to hold of one and the same release."""
        first = group[0][0]
        self._current = first.text
        review = self._review(first)
        checks = [check for rule, _ in group for check in rule.chain]
        place, near = self._search(checks)
        together: list[Finding] = []
        if place is not None:
            self._rely(place)
            self._granted = self._granted or not first.always
            self._satisfied += [rule.satisfied for rule, _ in group]
        else:
            together = self._lacks(checks, near, review)
            none_denies = all(finding.outcome is not Outcome.DENY for finding in self._failures)
            if not together and (not self._failures or (none_denies and not review)):
                together = [NO_RULES]
        self._steps.append(self._releases(checks, place))
        for rule, steps in group:
            below = self._told_chain(rule.chain, place or near, review)
            found = [each for each in (self._failures + together) if each.rule_id == rule.text.id]
            self._write(rule, found, [*steps, *below], met=place is not None)
        self._failures += together

    def _chains(self) -> Sequence[Chain]:
        if self._held is None:
            raise UnansweredError
        return self._held

    def _search(self, checks: Sequence[ChainCheck]) -> tuple[Chain | None, Chain | None]:
        """The newest release that meets every requirement; else the one that lacks the fewest."""
        subject = self._s.subject
        chains = self._chains()
        for held in chains if subject is not None and subject.releases else ():
            if all(self._asked(check, held) is True for check in checks):
                return held, None
        lacking = [sum(self._asked(check, held) is not True for check in checks) for held in chains]
        return None, chains[lacking.index(min(lacking))] if chains else None

    def _asked(self, check: ChainCheck, held: Chain) -> object:
        asks = check.asks.make(self._identifier) if isinstance(check.asks, PerIdentifier) else check.asks
        return _answer(asks, self._s, held)

    def _surely(self, check: ChainCheck, held: Chain) -> bool:
        try:
            return self._asked(check, held) is True
        except UnansweredError:  # of a release that another question has ruled out already
            return False

    def _lacks(self, checks: Sequence[ChainCheck], near: Chain | None, review: bool) -> list[Finding]:  # noqa: FBT001 - see _review
        if near is None:
            return []
        return [check.review if review else check.failed for check in checks if self._asked(check, near) is False]

    def _told_chain(self, checks: Sequence[ChainCheck], held: Chain | None, review: bool) -> list[Step]:  # noqa: FBT001 - see _review
        if held is None:
            return [Step("Nobody is named, so that there is no release to look at.", OTHER)]
        steps: list[Step] = []
        for check in checks:
            answer = self._asked(check, held)
            says = check.review if review else check.failed
            if answer is None:
                said = f"Not looked at, since the piece it is about is missing: {wording.met(check.that)}"
                steps.append(Step(said, OTHER))
            else:
                basis = wording.chain_basis(held, check.that)
                steps.append(_requirement(check.that, says, basis, holds=answer is True))
        return steps

    def _releases(self, checks: Sequence[ChainCheck], place: Chain | None) -> Step:
        """What was looked at to find one release that meets every requirement of a group."""
        below: list[Step] = []
        for held in self._chains():
            lacks = sum(not self._surely(check, held) for check in checks)
            met = "meets every one of them" if not lacks else f"lacks {lacks} of {len(checks)}"
            said = f"{wording.chain(held).removesuffix('.')}: {met}."
            result = TRUE if not lacks else FALSE
            below.append(Step(said, result, basis=wording.chain_basis(held)))
            if held is place:
                break
        text = "One release, with its own delivery and notice, has to meet all of the rules that follow."
        return Step(text, FALSE if place is None else TRUE, pack_id=self.chosen.pack.id, steps=tuple(below))

    def _rely(self, held: Chain | None) -> None:
        if held is None or not held.is_complete:
            return
        self.chains.append(held)
        for event in (Event.TERM_END, Event.RELEASE_EXPIRES):
            self.due.append(
                Due(
                    ObligationKind.RECHECK_BY, self._current, EVENTS[event], 0, 0, held, "The release or its term ends."
                )
            )

    def _write(self, rule: Rule, found: Sequence[Finding], steps: Sequence[Step], *, met: bool = True) -> None:
        outcome = max((each.outcome for each in found), key=lambda o: o.strictness, default=None)
        result = TRUE if not found and met else FALSE
        if not found and not met:
            held = all(step.result is TRUE for step in steps)
            why = (
                "What it asks is met, but by a release that another rule refuses."
                if held
                else "There is no release for it."
            )
            said = f"{rule.text.title} {why}"
        else:
            said = rule.text.title
        pack_id = self.chosen.pack.id
        self._steps.append(of_rule(rule.text, pack_id, said, result, outcome=outcome, steps=tuple(steps)))

    # -- (4) what it comes to

    def _conclude(self, status: Status) -> None:
        row, regulated, pack_id = self.chosen.row, status in REGULATED, self.chosen.pack.id
        if not self._failures and regulated and not self._granted:
            self._failures.append(NO_RULES)
            self._steps.append(
                Step(NO_RULES.text, FALSE, pack_id=pack_id, remedy=NO_RULES.remedy, outcome=Outcome.DENY)
            )
        if self._failures:
            denies = any(each.outcome is Outcome.DENY for each in self._failures)
            review = status is Status.UNDETERMINED or not denies
            lead = None if row is None else (row.review if review else row.lead)
            self.findings = self._failures if lead is None else [lead, *self._failures]
            self.outcome = max((each.outcome for each in self.findings), key=lambda o: o.strictness)
            return
        self.findings = self._satisfied
        if status is Status.NONBIOMETRIC:
            self.outcome = Outcome.ALLOW_NONBIOMETRIC
            if row is not None and row.status is Status.NONBIOMETRIC:
                self.findings = [row.satisfied, *self._satisfied]
        elif status is not Status.SILENT:
            self.outcome = Outcome.ALLOW
        elif row is not None and row.tag is not None:
            self.findings = [row.tag, *self._satisfied]
        held = self.chains[0] if self.chains else NO_CHAIN
        for duty in self.chosen.duties if regulated else ():
            for each in duty.candidates:
                self.due.append(Due(duty.kind, duty.text, each.event, each.months, each.days, held, each.detail))

    def dates(self, counted: Sequence[Due]) -> tuple[bool, tuple[Step, ...]]:
        """Count the dates that come with a permission.

        Args:
            counted: Those of :attr:`due` that can be the earliest.

        Returns:
            Whether one of them could not be counted, and a step for each.
        """
        broken = False
        steps: list[Step] = []
        for due in self.due:
            if due not in counted:
                continue
            head = _KINDS.get(due.kind, str(due.kind))
            try:
                start = due.event(self._s, due.chain)
                date = start if start is None else add_period(start, due.months, due.days)
            except Exception:  # noqa: BLE001 - whatever it fails with, there is no date
                broken = True
                steps.append(Step(f"{head}: the date could not be counted.", FAILED, outcome=Outcome.DENY))
                continue
            if date is not None:
                said = f"{head} {wording.day(date)}: {due.detail}"
                if due.text is None:
                    steps.append(Step(said, TRUE, pack_id=self.chosen.pack.id))
                else:
                    steps.append(of_rule(due.text, self.chosen.pack.id, said, TRUE))
        for each in self.determinations:
            said = f"{_KINDS[ObligationKind.RECHECK_BY]} {wording.day(each.expires_at)}: the determination expires."
            steps.append(Step(said, TRUE, pack_id=self.chosen.pack.id, basis=(each.index, each.approved_index)))
        return broken, tuple(steps)

    def _told(self) -> Step:
        pack, chosen = self.chosen.pack, self.chosen
        steps = [*self._steps]
        if chosen.idle:
            text = f"{len(chosen.idle)} more parts of the pack are about this operation and do not apply here."
            steps.append(Step(text, OTHER, pack_id=pack.id, steps=chosen.idle))
        if chosen.elsewhere:
            text = f"{chosen.elsewhere} parts of the pack are about other operations or kinds of data."
            steps.append(Step(text, OTHER, pack_id=pack.id))
        permits = self.outcome in {Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC}
        result = OTHER if self.outcome is None else TRUE if permits else FALSE
        if any(step.result is FAILED for step in self._steps):
            result = FAILED
        silent = ": says nothing here" if self.outcome is None else ""
        where = f", {chosen.place}" if chosen.place else ""
        text = f"{pack.title}, pack {pack.id} version {pack.version}{where}{silent}."
        return Step(text, result, pack_id=pack.id, outcome=self.outcome, steps=tuple(steps))


def _answer(ask: Callable[..., Any], *about: object) -> Any:
    try:
        return ask(*about)
    except Exception as error:  # whatever it fails with, there is no answer
        raise UnansweredError from error


def _requirement(that: str, says: Finding, basis: tuple[int, ...], *, holds: bool) -> Step:
    """One requirement; of one that is not met the pack itself says what that means."""
    if holds:
        return Step(wording.met(that), TRUE, basis=basis)
    return Step(says.text, FALSE, remedy=says.remedy, basis=basis, outcome=says.outcome)
