"""The parts of a pack, compiled: scope rows, rules, exemptions and obligations.

Findings are made once, at load, since nothing in them depends on the case. Reading is strict: see ``reading``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law.clock import EVENTS, Event
from consentry_server.core.law.conditions import read_when
from consentry_server.core.law.model import Finding, Obligation, ObligationKind
from consentry_server.core.law.requirements import (
    CHAIN,
    GRANTING,
    PLAIN,
    Chained,
    PerIdentifier,
    Plain,
    PlainPerIdentifier,
    Sought,
)
from consentry_server.core.law.signers import authority_at_signing, not_outgrown
from consentry_server.core.vocabulary import DataCategory, DeterminationKind, Grade, Operation, Outcome, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consentry_server.core.law.circumstances import Question
    from consentry_server.core.law.reading import Table
    from consentry_server.core.law.situation import Chain, Situation

EVERY_RULE: Final = frozenset({"*"})


class Status(Words):
    """What a pack says of an operation before any rule is asked."""

    REGULATED = "REGULATED"
    """The pack's rules apply."""
    UNDETERMINED = "UNDETERMINED"
    """Cannot be told from the facts: the rules apply, and what they miss is for a person to review."""
    NONBIOMETRIC = "NONBIOMETRIC"
    """Looked at, and outside this law."""
    SILENT = "SILENT"
    """This law says nothing of it; somebody else has to."""
    EXEMPT = "EXEMPT"
    """A recorded determination takes it out of this law; never written in a scope row."""


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a reader is shown of a rule, an exemption or a scope row."""

    id: str
    version: int
    title: str
    citation: str
    grade: Grade
    source: str
    effective_from: date
    effective_to: date | None


class Requirement(NamedTuple):
    """One named requirement of a pack; exactly one of the first two is set."""

    plain: Question | Plain | PlainPerIdentifier | Sought | None
    chained: Chained | PerIdentifier | None
    code: str
    text: str
    remedy: str
    grants: bool
    """Whether holding is by itself a legal basis: a recorded determination, or a notice where no consent is asked."""
    unmet: Outcome | None
    """What follows where this is not met; None for what its rule says."""
    that: str = ""
    """Its word in the vocabulary, for explanations."""


class PlainCheck(NamedTuple):
    """A plain requirement of one rule, with what to say where it fails."""

    asks: Question | Plain | PlainPerIdentifier | Sought
    failed: Finding
    review: Finding
    that: str = ""


class ChainCheck(NamedTuple):
    """A chain requirement of one rule, with what to say where it fails."""

    asks: Chained | PerIdentifier
    failed: Finding
    review: Finding
    that: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One of several ways to satisfy a rule."""

    when: Question | None
    plain: tuple[PlainCheck, ...]
    chain: tuple[ChainCheck, ...]
    grants: bool


@dataclass(frozen=True, slots=True)
class Reach:
    """The operations and categories something is about, and since when; empty means every one."""

    operations: frozenset[Operation]
    categories: frozenset[DataCategory]
    starts: datetime
    ends: datetime | None
    timed: bool
    """Whether it is in force for less than the whole of its pack's life."""

    def meets(self, operation: Operation, category: DataCategory) -> bool:
        """Whether this operation on this category is meant."""
        return (not self.operations or operation in self.operations) and (
            not self.categories or category in self.categories
        )

    def runs(self, now: datetime) -> bool:
        """Whether it is in force, given that its pack is."""
        return not self.timed or (self.starts <= now and (self.ends is None or now < self.ends))


@dataclass(frozen=True, slots=True, eq=False)
class ScopeRow:
    """One row of the scope table; the first row that fits decides."""

    text: RuleText
    reach: Reach
    when: Question | None
    status: Status
    identifier: DataCategory | None
    regime: str
    lead: Finding | None
    """Said first where the answer does not permit."""
    review: Finding | None
    tag: Finding | None
    """Said of an operation that this law leaves out, where the answer permits."""
    satisfied: Finding
    log: Obligation


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule: when it applies, what it requires, and what follows otherwise."""

    text: RuleText
    reach: Reach
    when: Question | None
    always: bool
    """Asked whatever the scope table says."""
    regime: str
    """Asked only where the scope row names this regime; empty means any."""
    plain: tuple[PlainCheck, ...]
    chain: tuple[ChainCheck, ...]
    group: str
    """Rules of one group have to be satisfied by one and the same release."""
    alternatives: tuple[Alternative, ...]
    none_fits: tuple[Finding, Finding] | None
    satisfied: Finding


@dataclass(frozen=True, slots=True, eq=False)
class Exemption:
    """What a recorded, active determination takes out of this law."""

    text: RuleText
    reach: Reach
    when: Question | None
    sought: Sought
    rules: frozenset[str]
    status: Status
    satisfied: Finding
    log: Obligation


class Candidate(NamedTuple):
    """One candidate for a destruction date."""

    event: Callable[[Situation, Chain], datetime | None]
    months: int
    days: int
    detail: str


@dataclass(frozen=True, slots=True, eq=False)
class Duty:
    """One obligation that comes with a permission."""

    text: RuleText
    reach: Reach
    when: Question | None
    kind: ObligationKind
    candidates: tuple[Candidate, ...]
    detail: str


class Parts(NamedTuple):
    """All parts of a pack, each sort in the file's order."""

    rules: tuple[Rule, ...]
    exemptions: tuple[Exemption, ...]
    scope: tuple[ScopeRow, ...]
    duties: tuple[Duty, ...]

    @property
    def every(self) -> tuple[Rule | Exemption | ScopeRow | Duty, ...]:
        """All of them."""
        return (*self.rules, *self.exemptions, *self.scope, *self.duties)

    def meeting(self, operation: Operation, category: DataCategory) -> Parts:
        """The parts that are about this operation on this category."""
        rules, exemptions, scope, duties = self
        return Parts(
            tuple(part for part in rules if part.reach.meets(operation, category)),
            tuple(part for part in exemptions if part.reach.meets(operation, category)),
            tuple(part for part in scope if part.reach.meets(operation, category)),
            tuple(part for part in duties if part.reach.meets(operation, category)),
        )


class Head(NamedTuple):
    """What every part of a pack needs to know of the whole."""

    pack_id: str
    grade: Grade
    source: str
    effective_from: date


def midnight(day: date) -> datetime:
    """The first moment of a day, UTC."""
    return datetime.combine(day, time(), tzinfo=UTC)


def _text(table: Table, head: Head) -> RuleText:
    starts = table.day("effective_from", required=False) or head.effective_from
    ends = table.day("effective_to", required=False)
    if ends is not None and ends <= starts:
        table.fail("effective_to", "not after effective_from")
    return RuleText(
        id=table.text("id"),
        version=table.number("version") if "version" in table else 1,
        title=table.text("title"),
        citation=table.text("citation"),
        grade=table.word("grade", Grade) if "grade" in table else head.grade,
        source=table.text("source", required=False) or head.source,
        effective_from=starts,
        effective_to=ends,
    )


def _reach(table: Table, head: Head, text: RuleText) -> Reach:
    return Reach(
        operations=table.words("operations", Operation, required=False),
        categories=table.words("categories", DataCategory, required=False),
        starts=midnight(text.effective_from),
        ends=None if text.effective_to is None else midnight(text.effective_to),
        timed=text.effective_from > head.effective_from or text.effective_to is not None,
    )


def _finding(head: Head, text: RuleText, code: str, sentence: str, remedy: str, outcome: Outcome) -> Finding:
    return Finding(
        code=code,
        rule_id=text.id,
        rule_version=text.version,
        pack_id=head.pack_id,
        citation=text.citation,
        grade=text.grade,
        text=sentence,
        remedy=remedy,
        outcome=outcome,
    )


def read_requirement(table: Table) -> Requirement:
    """One ``[requirement.NAME]`` table."""
    name = table.text("that")
    plain, chained = PLAIN.get(name), CHAIN.get(name)
    if plain is None and chained is None:
        table.fail("that", f"{name!r} is no requirement")
    found = Requirement(
        plain=None if plain is None else plain(table),
        chained=None if chained is None else chained(table),
        code=table.text("code"),
        text=table.text("text"),
        remedy=table.text("remedy"),
        grants=name in GRANTING,
        unmet=table.word("unmet", Outcome) if "unmet" in table else None,
        that=name,
    )
    if found.unmet not in {None, Outcome.DENY, Outcome.REVIEW}:
        table.fail("unmet", "only DENY or REVIEW: what is not met never permits")
    for key in ("purpose", "purposes", "categories"):
        if name.startswith(("release.", "notice.")) and key in table and table.take(key) is None:
            table.fail(key, "empty")
    table.done()
    return found


def _checks(
    table: Table, key: str, head: Head, text: RuleText, otherwise: Outcome, known: Mapping[str, Requirement]
) -> tuple[tuple[PlainCheck, ...], tuple[ChainCheck, ...], bool]:
    plain: list[PlainCheck] = []
    chain: list[ChainCheck] = []
    grants = False
    for name in table.texts(key):
        requirement = known.get(name)
        if requirement is None:
            table.fail(key, f"{name!r} is not defined under [requirement]")
        outcome = requirement.unmet or otherwise
        failed = _finding(head, text, requirement.code, requirement.text, requirement.remedy, outcome)
        review = replace(failed, outcome=Outcome.REVIEW)
        if requirement.plain is not None:
            plain.append(PlainCheck(requirement.plain, failed, review, requirement.that))
        if requirement.chained is not None:
            chain.append(ChainCheck(requirement.chained, failed, review, requirement.that))
        grants = grants or requirement.grants
    asks = {check.asks for check in chain}
    if authority_at_signing in asks and not_outgrown not in asks:
        table.fail(key, "release.authority_at_signing goes with release.not_outgrown: childhood ends")
    return tuple(plain), tuple(chain), grants or bool(chain)


def read_rule(table: Table, head: Head, known: Mapping[str, Requirement]) -> Rule:
    """One ``[[rule]]`` table."""
    text = _text(table, head)
    otherwise = table.word("otherwise", Outcome)
    if otherwise not in {Outcome.DENY, Outcome.REVIEW}:
        table.fail("otherwise", "only DENY or REVIEW: a rule that is not met never permits")
    if ("require" in table) == ("require_one" in table):
        table.fail("require", "a rule has either require or require_one")
    plain: tuple[PlainCheck, ...] = ()
    chain: tuple[ChainCheck, ...] = ()
    alternatives: list[Alternative] = []
    none_fits = None
    if "require" in table:
        plain, chain, _ = _checks(table, "require", head, text, otherwise, known)
    else:
        failed = _finding(head, text, table.text("code"), table.text("text"), table.text("remedy"), otherwise)
        none_fits = (failed, replace(failed, outcome=Outcome.REVIEW))
        for part in table.tables("require_one", required=True):
            when = read_when(part)
            alternatives.append(Alternative(when, *_checks(part, "require", head, text, otherwise, known)))
            part.done()
    rule = Rule(
        text=text,
        reach=_reach(table, head, text),
        when=read_when(table),
        always=table.flag("always", default=False),
        regime=table.text("regime", required=False),
        plain=plain,
        chain=chain,
        group=table.text("group", required=bool(chain)),
        alternatives=tuple(alternatives),
        none_fits=none_fits,
        satisfied=_finding(head, text, "SATISFIED", text.title, "", Outcome.ALLOW),
    )
    if rule.always and rule.regime:
        table.fail("regime", "a rule that is always asked belongs to no regime")
    table.done()
    return rule


def read_scope(table: Table, head: Head) -> ScopeRow:
    """One ``[[scope]]`` table."""
    text = _text(table, head)
    status = table.word("is", Status)
    if status is Status.EXEMPT:
        table.fail("is", "only a determination exempts; write an [[exemption]]")
    lead = review = None
    if "code" in table or status is Status.UNDETERMINED:
        lead = _finding(head, text, table.text("code"), table.text("text"), table.text("remedy"), Outcome.DENY)
        review = replace(lead, outcome=Outcome.REVIEW)
    tag = None
    if "tag" in table:
        if status is not Status.SILENT:
            table.fail("tag", "only what this law is silent about is tagged")
        tag = _finding(head, text, table.text("tag"), text.title, "", Outcome.ALLOW)
    nonbiometric = status is Status.NONBIOMETRIC
    row = ScopeRow(
        text=text,
        reach=_reach(table, head, text),
        when=read_when(table),
        status=status,
        identifier=table.word("identifier", DataCategory) if "identifier" in table else None,
        regime=table.text("regime", required=False),
        lead=lead,
        review=review,
        tag=tag,
        satisfied=_finding(
            head,
            text,
            "NOT_BIOMETRIC" if nonbiometric else "IN_SCOPE",
            text.title,
            "",
            Outcome.ALLOW_NONBIOMETRIC if nonbiometric else Outcome.ALLOW,
        ),
        log=Obligation(ObligationKind.LOG_DETERMINATION, None, text.title, text.citation),
    )
    table.done()
    return row


def read_exemption(table: Table, head: Head) -> Exemption:
    """One ``[[exemption]]`` table."""
    text = _text(table, head)
    status = table.word("is", Status)
    if status not in {Status.EXEMPT, Status.NONBIOMETRIC}:
        table.fail("is", "EXEMPT or NONBIOMETRIC is required")
    rules = frozenset(table.texts("rules"))
    if "*" in rules and rules != EVERY_RULE:
        table.fail("rules", "either '*' or rule ids")
    if status is Status.NONBIOMETRIC and rules != EVERY_RULE:
        table.fail("rules", "what is not biometric is outside every rule: '*' is required")
    nonbiometric = status is Status.NONBIOMETRIC
    exemption = Exemption(
        text=text,
        reach=_reach(table, head, text),
        when=read_when(table),
        sought=Sought(
            kind=table.word("determination", DeterminationKind),
            entity_wide=table.flag("entity_wide", default=False),
            algorithm=table.flag("algorithm", default=False),
            about_subject=table.flag("about_subject", default=False),
        ),
        rules=rules,
        status=status,
        satisfied=_finding(
            head,
            text,
            "NOT_BIOMETRIC" if nonbiometric else "EXEMPT",
            text.title,
            "",
            Outcome.ALLOW_NONBIOMETRIC if nonbiometric else Outcome.ALLOW,
        ),
        log=Obligation(ObligationKind.LOG_DETERMINATION, None, text.title, text.citation),
    )
    table.done()
    return exemption


def read_duty(table: Table, head: Head) -> Duty:
    """One ``[[obligation]]`` table."""
    text = _text(table, head)
    kind = table.word("kind", ObligationKind)
    candidates: list[Candidate] = []
    if kind is ObligationKind.DESTROY_BY:
        for part in table.tables("earliest_of", required=True):
            event = part.word("event", Event)
            months, days = part.period("plus")
            candidates.append(Candidate(EVENTS[event], months, days, part.text("detail")))
            part.done()
    elif kind is not ObligationKind.TELL_RECIPIENT:
        table.fail("kind", "DESTROY_BY or TELL_RECIPIENT is required; the others follow by themselves")
    duty = Duty(
        text=text,
        reach=_reach(table, head, text),
        when=read_when(table),
        kind=kind,
        candidates=tuple(candidates),
        detail="; ".join(candidate.detail for candidate in candidates),
    )
    table.done()
    return duty
