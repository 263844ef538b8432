"""Compiling: what the active packs ask under given circumstances, sorted so that the facts are asked once each.

Whatever the circumstances settle is settled here: which scope row fits, which rules apply, which requirements can
never hold. What is left are questions to the facts, each listed once however many packs and rules ask it. ``judge``
says what their answers mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from consentry_server.core.law.circumstances import Question
from consentry_server.core.law.requirements import Chained, PerIdentifier, Plain, PlainPerIdentifier, Sought
from consentry_server.core.law.rules import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from consentry_server.core.law.circumstances import Circumstances
    from consentry_server.core.law.judge import Ruling
    from consentry_server.core.law.model import Finding
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.rules import (
        Alternative,
        ChainCheck,
        Duty,
        Exemption,
        PlainCheck,
        Rule,
        ScopeRow,
    )
    from consentry_server.core.vocabulary import DataCategory

T = TypeVar("T")

REGULATED: Final = frozenset({Status.REGULATED, Status.UNDETERMINED})
"""The pack's rules apply; where it is undetermined, what they miss is for a person to review."""

Coverage = frozenset[frozenset[int]]
"""For each region the places of the law packs that apply there; regions with the same packs are one."""


class PlainAsk(NamedTuple):
    """A requirement on the person or the tenant; None is settled: it does not hold."""

    asks: Plain | Sought | None
    says: Finding


class ChainAsk(NamedTuple):
    """A requirement on one release with its delivery and notice."""

    asks: Chained
    says: Finding


class Way(NamedTuple):
    """What a rule asks, or one of several ways to satisfy it."""

    plain: tuple[PlainAsk, ...]
    chain: tuple[ChainAsk, ...]
    grants: bool


class Asked(NamedTuple):
    """One rule, with what is left to ask. Of one that has alternatives, ``ways`` are those the facts point at."""

    rule: Rule
    own: Way
    ways: tuple[Way, ...]
    none_fits: Finding | None


class Section(NamedTuple):
    """What one pack has to say."""

    pack: Pack
    row: ScopeRow | None
    status: Status
    exemptions: tuple[Exemption, ...]
    rules: tuple[Asked, ...]
    duties: tuple[Duty, ...]


class Plan:
    """What the active packs have to say, and the questions to the facts, each once.

    Args:
        sections: One for each pack that is asked, in the order of the packs.
        answered: Whether some pack answers for each region.
    """

    __slots__ = ("answered", "chained", "none_sought", "plain", "rulings", "sections", "sought")

    def __init__(self, sections: Sequence[Section], *, answered: bool) -> None:
        self.sections = tuple(sections)
        self.answered = answered
        ways = [way for section in sections for asked in section.rules for way in (asked.own, *asked.ways)]
        asks = [ask.asks for way in ways for ask in way.plain]
        self.plain: tuple[Plain, ...] = _once(ask for ask in asks if ask is not None and not isinstance(ask, Sought))
        self.sought: tuple[Sought, ...] = _once(
            [
                *(exemption.sought for section in sections for exemption in section.exemptions),
                *(ask for ask in asks if isinstance(ask, Sought)),
            ]
        )
        self.none_sought = (False,) * len(self.sought)
        """The answers of a tenant that has no determination on record."""
        self.chained: tuple[Chained, ...] = _once(ask.asks for way in ways for ask in way.chain)
        self.rulings: dict[tuple[object, ...], Ruling] = {}
        """What was ruled on which answers: the same ruling for the same answers, so that it is no state."""


class Choice(NamedTuple):
    """What of a pack concerns the case. Equal choices make equal sections.

    Args:
        pack: The pack.
        row: The scope row that fits.
        identifier: What notice and release have to name.
        exemptions: The exemptions that may apply.
        rules: The rules to be asked, each with the ways to satisfy it that the facts point at and, for the rule and
            each of these ways, the places of the requirements that the circumstances already show not to hold.
        duties: The obligations that come with a permission.
    """

    pack: Pack
    row: ScopeRow | None
    identifier: DataCategory
    exemptions: tuple[Exemption, ...]
    rules: tuple[tuple[Rule, tuple[Alternative, ...], tuple[tuple[int, ...], ...]], ...]
    duties: tuple[Duty, ...]

    @property
    def status(self) -> Status:
        """Whether the pack regulates the operation."""
        return Status.SILENT if self.row is None else self.row.status


def choose(
    laws: Sequence[Pack], houses: Sequence[Pack], c: Circumstances, coverage: Coverage, now: datetime
) -> tuple[tuple[Choice, ...], bool]:
    """Work out which packs are asked, and what of them; and whether some pack answers for each region.

    1. Every pack of a law is asked that applies in one of the regions; where not even the configured set names a
       region, every pack is asked.
    2. A region for which no law pack answers is *uncovered*; house packs are told so, and are asked in any case.
       A tenant's own pack restricts and never answers.

    Args:
        laws: The law packs.
        houses: The house packs.
        c: The circumstances, so far with every region uncovered.
        coverage: The places in ``laws`` of the packs that apply, for each region.
        now: Any time of the span in which the same packs and rules are in force as at the time of the decision.
    """
    asked = frozenset[int]().union(*coverage) if coverage else frozenset(range(len(laws)))  # (1)
    chosen: list[Choice] = []
    answering: set[int] = set()
    for place, pack in enumerate(laws):
        if place in asked and pack.runs(now):
            choice = _choose(pack, c, now)
            chosen.append(choice)
            if choice.status is not Status.SILENT:
                answering.add(place)
    uncovered = not coverage or any(answering.isdisjoint(there) for there in coverage)  # (2)
    told = c if uncovered else c._replace(uncovered=False)
    answered = not uncovered
    for pack in houses:
        if pack.runs(now):
            choice = _choose(pack, told, now)
            chosen.append(choice)
            answered = answered or (choice.status is not Status.SILENT and not pack.own)
    return tuple(chosen), answered


def _choose(pack: Pack, c: Circumstances, now: datetime) -> Choice:
    parts = pack.parts_about(c.operation, c.category)

    def meets(part: ScopeRow | Rule | Exemption | Duty) -> bool:
        return (part.when is None or part.when.holds(c)) and part.reach.runs(now)

    row = next((row for row in parts.scope if meets(row)), None)
    regulated = row is not None and row.status in REGULATED
    regimes = {"", row.regime} if row is not None and regulated else set()
    rules = [rule for rule in parts.rules if (rule.always or rule.regime in regimes) and meets(rule)]
    rules.sort(key=_stands_alone)
    return Choice(
        pack=pack,
        row=row,
        identifier=c.category if row is None or row.identifier is None else row.identifier,
        exemptions=tuple([exemption for exemption in parts.exemptions if meets(exemption)]) if regulated else (),
        rules=tuple([_settle(rule, c) for rule in rules]),
        duties=tuple([duty for duty in parts.duties if meets(duty)]) if regulated else (),
    )


def _stands_alone(rule: Rule) -> bool:
    """Rules that are nothing but a part of their group come first: what a release lacks is told in that order."""
    return not (rule.chain and not rule.plain and rule.when is None and not rule.reach.timed)


def _settle(rule: Rule, c: Circumstances) -> tuple[Rule, tuple[Alternative, ...], tuple[tuple[int, ...], ...]]:
    ways = tuple([way for way in rule.alternatives if way.when is None or way.when.holds(c)])
    return rule, ways, tuple([_unmet(checks, c) for checks in (rule.plain, *(way.plain for way in ways))])


def _unmet(checks: tuple[PlainCheck, ...], c: Circumstances) -> tuple[int, ...]:
    return tuple(
        [place for place, check in enumerate(checks) if isinstance(check.asks, Question) and not check.asks.holds(c)]
    )


def make_section(choice: Choice) -> Section:
    """Compile what was chosen of one pack."""
    return Section(
        pack=choice.pack,
        row=choice.row,
        status=choice.status,
        exemptions=choice.exemptions,
        rules=tuple(_asked(*rule, choice) for rule in choice.rules),
        duties=choice.duties,
    )


def _asked(rule: Rule, ways: tuple[Alternative, ...], unmet: tuple[tuple[int, ...], ...], choice: Choice) -> Asked:
    review = choice.status is Status.UNDETERMINED and not rule.always
    return Asked(
        rule=rule,
        own=Way(
            _plain(rule.plain, unmet[0], choice.identifier, review=review),
            _chain(rule.chain, choice.identifier, review=review),
            grants=False,
        ),
        ways=tuple(
            Way(
                _plain(way.plain, missing, choice.identifier, review=review),
                _chain(way.chain, choice.identifier, review=review),
                way.grants,
            )
            for way, missing in zip(ways, unmet[1:], strict=True)
        ),
        none_fits=None if rule.none_fits is None else rule.none_fits[1 if review else 0],
    )


def _plain(
    checks: tuple[PlainCheck, ...], unmet: tuple[int, ...], identifier: DataCategory, *, review: bool
) -> tuple[PlainAsk, ...]:
    """What the circumstances do not settle, and what they settle to be missing."""
    return tuple(
        PlainAsk(_asks(check, identifier), check.review if review else check.failed)
        for place, check in enumerate(checks)
        if place in unmet or not isinstance(check.asks, Question)
    )


def _asks(check: PlainCheck, identifier: DataCategory) -> Plain | Sought | None:
    asks = check.asks
    if isinstance(asks, Question):
        return None
    return asks.make(identifier) if isinstance(asks, PlainPerIdentifier) else asks


def _chain(checks: Iterable[ChainCheck], identifier: DataCategory, *, review: bool) -> tuple[ChainAsk, ...]:
    return tuple(
        ChainAsk(
            check.asks.make(identifier) if isinstance(check.asks, PerIdentifier) else check.asks,
            check.review if review else check.failed,
        )
        for check in checks
    )


def _once(asks: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(asks))
