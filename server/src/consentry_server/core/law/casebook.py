"""Running the test cases that stand inside packs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from consentry_server.core.law.decide import decide
from consentry_server.core.law.rules import midnight

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.vocabulary import Outcome


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case.

    Args:
        pack_id: The pack it stands in.
        id: The case.
        citation: The decision or section it comes from.
        title: One plain sentence.
        expected: What the pack says has to come out.
        got: What came out.
        missing_codes: Codes and ids of rules that should have been among the reasons and are not.
    """

    pack_id: str
    id: str
    citation: str
    title: str
    expected: Outcome
    got: Outcome
    missing_codes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the case came out as written."""
        return self.expected is self.got and not self.missing_codes


def run_cases(pack: Pack, packs: Sequence[Pack]) -> tuple[CaseResult, ...]:
    """Decide every case of one pack, at its own time or else at noon of the day the pack was last looked at.

    Args:
        pack: The pack whose cases are run.
        packs: The active packs, this one among them.
    """
    region = "US-AL" if pack.everywhere else min(pack.regions)
    results: list[CaseResult] = []
    for case in pack.cases:
        now = case.at or midnight(pack.evaluated_as_of) + timedelta(hours=12)
        asked = (pack,) if case.alone else packs
        face, tenant = case.facts(now, region)
        decision = decide(case.request, (face,), tenant, asked, now=now, unknown_regions=frozenset({region}))
        said = {said for reason in decision.reasons for said in (reason.code, reason.rule_id)}
        results.append(
            CaseResult(
                pack_id=pack.id,
                id=case.id,
                citation=case.citation,
                title=case.title,
                expected=case.expected,
                got=decision.outcome,
                missing_codes=tuple(code for code in case.codes if code not in said),
            )
        )
    return tuple(results)
