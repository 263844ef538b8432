"""What of one pack concerns a case, chosen part by part, with a step for each part that does not apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law import wording
from consentry_server.core.law.rules import Status
from consentry_server.core.law.trace import Step, StepResult, of_rule

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.law.circumstances import Circumstances
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.rules import Duty, Exemption, Parts, Rule, ScopeRow

OTHER: Final = StepResult.NOT_APPLICABLE
REGULATED: Final = frozenset({Status.REGULATED, Status.UNDETERMINED})


class Chosen(NamedTuple):
    """What of a pack concerns the case, and why the rest does not.

    Args:
        pack: The pack.
        row: The scope row that fits.
        passed: Steps for the scope rows before it.
        exemptions: Those that may apply.
        rules: Those that are asked, in the order in which they are asked.
        duties: The obligations that come with a permission.
        idle: Steps for the parts that are about this operation and do not apply.
        elsewhere: How many parts are about other operations or kinds of data.
        place: Where it is law, for one row of a table of jurisdictions; else empty.
    """

    pack: Pack
    row: ScopeRow | None
    passed: tuple[Step, ...]
    exemptions: tuple[Exemption, ...]
    rules: tuple[Rule, ...]
    duties: tuple[Duty, ...]
    idle: tuple[Step, ...]
    elsewhere: int
    place: str = ""

    @property
    def status(self) -> Status:
        """Whether the pack regulates the operation."""
        return Status.SILENT if self.row is None else self.row.status


def choose(pack: Pack, c: Circumstances, now: datetime, place: str = "") -> Chosen:
    """Find what of a pack concerns the case.

    Args:
        pack: In force.
        c: The circumstances.
        now: The time of the decision.
        place: Where it is law, for one row of a table of jurisdictions.
    """
    about = pack.parts.meeting(c.operation, c.category)
    passed: list[Step] = []
    row: ScopeRow | None = None
    for each in about.scope:
        if _meets(each, c, now):
            row = each
            break
        passed.append(_idle(each, pack, c, now))
    regulated = row is not None and row.status in REGULATED
    regimes = {"", row.regime} if row is not None and regulated else set[str]()
    rules: list[Rule] = []
    exemptions: list[Exemption] = []
    idle: list[Step] = []
    for exemption in about.exemptions:
        if _meets(exemption, c, now) and regulated:
            exemptions.append(exemption)
        elif regulated:
            idle.append(_idle(exemption, pack, c, now))
    for rule in about.rules:
        if not (rule.always or rule.regime in regimes):
            why = "Asked only of what the law regulates." if not regulated else "Belongs to another part of the law."
            idle.append(of_rule(rule.text, pack.id, f"{rule.text.title} {why}", OTHER))
        elif _meets(rule, c, now):
            rules.append(rule)
        else:
            idle.append(_idle(rule, pack, c, now))
    duties = [duty for duty in about.duties if _meets(duty, c, now) and regulated]
    alone = [rule for rule in rules if not _only_of_its_group(rule)]
    together = [rule for rule in rules if _only_of_its_group(rule)]
    return Chosen(
        pack=pack,
        row=row,
        passed=tuple(passed),
        exemptions=tuple(exemptions),
        rules=(*together, *alone),
        duties=tuple(duties),
        idle=tuple(idle),
        elsewhere=_count(pack.parts) - _count(about),
        place=place,
    )


def _only_of_its_group(rule: Rule) -> bool:
    """Whether it asks for nothing but its part of one release, at any time: such rules are told first."""
    return bool(rule.chain) and not rule.plain and rule.when is None and not rule.reach.timed


def _count(parts: Parts) -> int:
    return len(parts.rules) + len(parts.exemptions) + len(parts.scope)


def _meets(part: ScopeRow | Rule | Exemption | Duty, c: Circumstances, now: datetime) -> bool:
    return (part.when is None or part.when.holds(c)) and part.reach.runs(now)


def _idle(part: ScopeRow | Rule | Exemption, pack: Pack, c: Circumstances, now: datetime) -> Step:
    if not part.reach.runs(now):
        since = f"in force from {part.text.effective_from}"
        until = "" if part.text.effective_to is None else f" until {part.text.effective_to}"
        return of_rule(part.text, pack.id, f"{part.text.title} Not in force then: {since}{until}.", OTHER)
    below = () if part.when is None else (wording.condition(part.when, c),)
    return of_rule(part.text, pack.id, f"{part.text.title} Its conditions do not hold.", OTHER, steps=below)
