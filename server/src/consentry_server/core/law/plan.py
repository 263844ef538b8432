"""What a pack has to say about one operation on one category, sorted for a quick answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from consentry_server.core.law.model import Finding
    from consentry_server.core.law.requirements import Chained
    from consentry_server.core.law.rules import ChainCheck, Duty, Exemption, Rule, ScopeRow
    from consentry_server.core.vocabulary import DataCategory, Operation


class Parts(NamedTuple):
    """All parts of a pack, in the file's order."""

    scope: tuple[ScopeRow, ...]
    rules: tuple[Rule, ...]
    exemptions: tuple[Exemption, ...]
    duties: tuple[Duty, ...]


class Group(NamedTuple):
    """Rules that have to be satisfied by one and the same release."""

    rules: tuple[Rule, ...]
    checks: tuple[ChainCheck, ...]
    holds: tuple[Chained, ...]
    satisfied: tuple[Finding, ...]


class Section(NamedTuple):
    """The rules to ask in one regime.

    A rule that has nothing but chain requirements, and no condition or dates of its own, is always asked: such
    rules stand ready in ``fixed``. The others are looked at one by one.
    """

    single: tuple[Rule, ...]
    fixed: dict[str, Group]


def make_group(rules: tuple[Rule, ...]) -> Group:
    """Join the chain requirements of some rules."""
    checks = tuple(check for rule in rules for check in rule.chain)
    return Group(rules, checks, tuple(check.holds for check in checks), tuple(rule.satisfied for rule in rules))


class Plan:
    """The parts of a pack that concern one operation on one category.

    Args:
        parts: All parts of the pack.
        operation: The operation.
        category: The category.
    """

    __slots__ = ("_sections", "duties", "exemptions", "rules", "scope")

    def __init__(self, parts: Parts, operation: Operation, category: DataCategory) -> None:
        self.scope = tuple(part for part in parts.scope if part.reach.meets(operation, category))
        self.rules = tuple(part for part in parts.rules if part.reach.meets(operation, category))
        self.exemptions = tuple(part for part in parts.exemptions if part.reach.meets(operation, category))
        self.duties = tuple(part for part in parts.duties if part.reach.meets(operation, category))
        self._sections: dict[tuple[str | None, frozenset[str]], Section] = {}

    def section(self, regime: str | None, skipped: frozenset[str]) -> Section:
        """The rules to ask.

        Args:
            regime: The scope row's regime; None where the pack does not regulate, and only the rules that are
                always asked count.
            skipped: Ids of the rules that a determination exempts from.
        """
        key = (regime, skipped)
        found = self._sections.get(key)
        if found is None:
            asked = [
                rule
                for rule in self.rules
                if rule.text.id not in skipped and (rule.always or (regime is not None and rule.regime in {"", regime}))
            ]
            fixed: dict[str, list[Rule]] = {}
            single: list[Rule] = []
            for rule in asked:
                if rule.chain and not rule.plain and rule.when is None and not rule.reach.timed:
                    fixed.setdefault(rule.group, []).append(rule)
                else:
                    single.append(rule)
            groups = {name: make_group(tuple(rules)) for name, rules in fixed.items()}
            found = self._sections[key] = Section(tuple(single), groups)
        return found
