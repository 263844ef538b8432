"""One pack, asked about one face of one request.

1. The first scope row that fits says whether the pack regulates the operation, cannot tell, or stays silent.
2. A recorded, active determination may exempt; it never reaches beyond its own pack.
3. Every rule in force is asked. Chain requirements of one group have to hold of one and the same release.
4. In scope, with nothing that gives a basis, the answer is DENY: empty means deny.
5. Whatever fails while it is evaluated denies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.core.law.clock import add_period, recheck_time
from consentry_server.core.law.model import Finding, Obligation, ObligationKind
from consentry_server.core.law.plan import make_group
from consentry_server.core.law.requirements import match_determination
from consentry_server.core.law.rules import EVERY_RULE, Status
from consentry_server.core.law.situation import Chain, Situation
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.plan import Group, Plan
    from consentry_server.core.law.requirements import Chained
    from consentry_server.core.law.rules import Candidate, ChainCheck, Rule, RuleText, ScopeRow
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


def strictest(findings: Sequence[Finding]) -> Outcome:
    """The strictest outcome of some findings; DENY where there are none."""
    found = Outcome.REVIEW if findings else Outcome.DENY
    return Outcome.DENY if any(finding.outcome is Outcome.DENY for finding in findings) else found


def find_chain(s: Situation, every: Sequence[Chained]) -> Chain | None:
    """The newest release that meets every requirement together with its own delivery and notice."""
    for chain in s.chains:
        for holds in every:
            if holds(s, chain) is not True:
                break
        else:
            return chain
    return None


def explain_chain(s: Situation, checks: Sequence[ChainCheck], *, review: bool) -> list[Finding]:
    """What the release that comes nearest lacks; what a delivery lacks where there is no release."""
    best: list[Finding] | None = None
    fewest = -1
    for chain in s.chains or s.chains_without_release:
        answers = [check.holds(s, chain) for check in checks]
        missing = sum(answer is not True for answer in answers)
        if best is None or missing < fewest:
            fewest = missing
            best = [
                check.review if review else check.failed
                for check, answer in zip(checks, answers, strict=True)
                if answer is False
            ]
    return best or []


_NONE: Final[frozenset[str]] = frozenset()


class Verdict:
    """What one pack says of one face; ``outcome`` is None where it is silent."""

    __slots__ = ("answered", "determinations", "findings", "obligations", "outcome", "releases", "relied")

    def __init__(self) -> None:
        self.outcome: Outcome | None = None
        self.answered = False
        self.findings: list[Finding] = []
        self.obligations: list[Obligation] = []
        self.relied: list[int] = []
        self.releases: list[str] = []
        self.determinations: list[Determination] = []


def _failed(pack: Pack, text: RuleText | None) -> Finding:
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


class Judge:
    """One pack, asked about one face.

    Args:
        pack: The pack.
        situation: The face, the operation and what is known.
    """

    __slots__ = ("_chain", "_current", "_failures", "_granted", "_row", "_satisfied", "_verdict", "pack", "s")

    def __init__(self, pack: Pack, situation: Situation) -> None:
        self.pack = pack
        self.s = situation
        self._verdict = Verdict()
        self._failures: list[Finding] = []
        self._satisfied: list[Finding] = []
        self._granted = False
        self._chain: Chain | None = None
        self._current: RuleText | None = None
        self._row: ScopeRow | None = None

    def run(self) -> Verdict:
        """The pack's verdict; never raises."""
        try:
            return self._run()
        except Exception:  # noqa: BLE001 - whatever a rule fails with, it denies
            verdict = Verdict()
            verdict.answered = True
            verdict.outcome = Outcome.DENY
            verdict.findings = [*self._failures, _failed(self.pack, self._current)]
            return verdict

    def _run(self) -> Verdict:
        s, verdict = self.s, self._verdict
        plan = self.pack.plan(s.request.operation, s.request.category)
        s.relied = verdict.relied
        s.used_determinations = verdict.determinations
        status = self._scope(plan)
        skipped = _NONE
        if s.tenant.determinations and (status is Status.REGULATED or status is Status.UNDETERMINED):
            status, skipped = self._exempt(plan, status)
        self._rules(plan, status, skipped)
        verdict.answered = status is not Status.SILENT
        self._conclude(plan, status)
        return verdict

    def _scope(self, plan: Plan) -> Status:
        s = self.s
        s.identifier = s.request.category
        for row in plan.scope:
            self._current = row.text
            if (row.when is None or row.when(s)) and row.reach.runs(s.now):
                self._row = row
                if row.identifier is not None:
                    s.identifier = row.identifier
                return row.status
        return Status.SILENT

    def _exempt(self, plan: Plan, status: Status) -> tuple[Status, frozenset[str]]:
        s, verdict = self.s, self._verdict
        skipped: frozenset[str] = frozenset()
        for exemption in plan.exemptions:
            self._current = exemption.text
            if not exemption.reach.runs(s.now) or (exemption.when is not None and not exemption.when(s)):
                continue
            found = match_determination(
                s,
                exemption.kind,
                entity_wide=exemption.entity_wide,
                algorithm=exemption.algorithm,
                subject=exemption.about_subject,
            )
            if found is None:
                continue
            self._granted = True
            verdict.determinations.append(found)
            self._satisfied.append(exemption.satisfied)
            verdict.obligations.append(exemption.log)
            if exemption.rules == EVERY_RULE:
                return exemption.status, skipped
            skipped |= exemption.rules
        return status, skipped

    def _rules(self, plan: Plan, status: Status, skipped: frozenset[str]) -> None:
        s = self.s
        undetermined = status is Status.UNDETERMINED
        regulated = undetermined or status is Status.REGULATED
        regime = ("" if self._row is None else self._row.regime) if regulated else None
        section = plan.section(regime, skipped)
        groups = section.fixed
        for rule in section.single:
            self._current = rule.text
            if not rule.reach.runs(s.now) or (rule.when is not None and not rule.when(s)):
                continue
            review = undetermined and not rule.always
            before = len(self._failures)
            for check in rule.plain:
                if check.holds(s) is not True:
                    self._failures.append(check.review if review else check.failed)
            if rule.alternatives:
                self._one_of(rule, review=review)
            if rule.chain:
                held = groups.get(rule.group)
                groups = {**groups, rule.group: make_group((rule,) if held is None else (*held.rules, rule))}
            elif len(self._failures) == before:
                self._satisfied.append(rule.satisfied)
        for group in groups.values():
            self._group(group, undetermined=undetermined)

    def _one_of(self, rule: Rule, *, review: bool) -> None:
        """One of the rule's alternatives has to hold; only those are tried that the caller's facts point at."""
        s, tried = self.s, False
        missing: list[Finding] = []
        for alternative in rule.alternatives:
            if alternative.when is not None and not alternative.when(s):
                continue
            tried = True
            failing = [c.review if review else c.failed for c in alternative.plain if c.holds(s) is not True]
            chain = find_chain(s, [check.holds for check in alternative.chain]) if alternative.chain else None
            if alternative.chain and chain is None:
                failing += explain_chain(s, alternative.chain, review=review)
                failing = failing or [NO_RULES]
            if not failing:
                self._rely(chain)
                self._granted = self._granted or (alternative.grants and not rule.always)
                return
            missing += failing
        if tried and missing:
            self._failures += missing
        elif rule.none_fits is not None:
            self._failures.append(rule.none_fits[1 if review else 0])
        else:
            self._failures.append(NO_RULES)

    def _group(self, group: Group, *, undetermined: bool) -> None:
        """Every chain requirement of these rules has to hold of one and the same release."""
        always = group.rules[0].always  # a group is always asked as a whole, or not: see pack.load
        self._current = group.rules[0].text
        chain = find_chain(self.s, group.holds)
        if chain is not None:
            self._rely(chain)
            self._granted = self._granted or not always
            self._satisfied += group.satisfied
            return
        review = undetermined and not always
        failing = explain_chain(self.s, group.checks, review=review)
        if not failing and (not self._failures or (strictest(self._failures) is not Outcome.DENY and not review)):
            failing = [NO_RULES]
        self._failures += failing

    def _rely(self, chain: Chain | None) -> None:
        if chain is None or chain.release is None or chain.delivery is None or chain.notice is None:
            return
        self._chain = self._chain or chain
        self._verdict.relied += (chain.notice.index, chain.delivery.index, chain.release.index)
        self._verdict.releases.append(chain.release.release_id)
        due = recheck_time(chain)
        if due is not None:
            text = self._current
            self._verdict.obligations.append(
                Obligation(
                    ObligationKind.RECHECK_BY,
                    due,
                    "The release or its term ends.",
                    "" if text is None else text.citation,
                )
            )

    def _conclude(self, plan: Plan, status: Status) -> None:
        verdict, row = self._verdict, self._row
        regulated = status is Status.REGULATED or status is Status.UNDETERMINED
        if not self._failures and regulated and not self._granted:
            self._failures.append(NO_RULES)  # in scope, and nothing was found that gives a basis
        if self._failures:
            lead = None if row is None else (row.review if status is Status.UNDETERMINED else row.lead)
            verdict.findings = self._failures if lead is None else [lead, *self._failures]
            verdict.outcome = strictest(verdict.findings)
            return
        verdict.findings = self._satisfied
        if status is Status.NONBIOMETRIC:
            verdict.outcome = Outcome.ALLOW_NONBIOMETRIC
            if row is not None and row.status is Status.NONBIOMETRIC:
                verdict.findings = [row.satisfied, *self._satisfied]
                verdict.obligations.append(row.log)
        elif status is not Status.SILENT:
            verdict.outcome = Outcome.ALLOW
        if regulated:
            self._duties(plan)
        for found in verdict.determinations:
            verdict.relied += (found.index, found.approved_index)
            verdict.obligations.append(
                Obligation(
                    ObligationKind.RECHECK_BY, found.expires_at, "The determination expires.", "Recorded determination"
                )
            )

    def _duties(self, plan: Plan) -> None:
        s, chain = self.s, self._chain or Chain(None, None, None)
        for duty in plan.duties:
            self._current = duty.text
            if not duty.reach.runs(s.now) or (duty.when is not None and not duty.when(s)):
                continue
            if duty.kind is ObligationKind.TELL_RECIPIENT:
                made = Obligation(duty.kind, None, s.request.recipient_id, duty.text.citation)
            else:
                made = self._destroy_by(duty.detail, duty.text.citation, duty.candidates, chain)
            self._verdict.obligations.append(made)

    def _destroy_by(self, detail: str, citation: str, candidates: Sequence[Candidate], chain: Chain) -> Obligation:
        due: datetime | None = None
        for candidate in candidates:
            start = candidate.event(self.s, chain)
            if start is None:
                continue
            date = add_period(start, candidate.months, candidate.days) if candidate.months or candidate.days else start
            if due is None or date < due:
                due = date
        return Obligation(ObligationKind.DESTROY_BY, due, detail, citation)
