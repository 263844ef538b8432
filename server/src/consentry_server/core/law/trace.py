"""What an explanation is made of: steps, each with how it came out, what it rests on and the steps below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consentry_server.core.vocabulary import Grade, Outcome, Words

if TYPE_CHECKING:
    from consentry_server.core.law.model import Finding
    from consentry_server.core.law.rules import RuleText


class StepResult(Words):
    """How a step came out."""

    TRUE = "TRUE"
    """The condition holds, or the requirement is met."""
    FALSE = "FALSE"
    """It does not hold, or is not met."""
    UNKNOWN = "UNKNOWN"
    """A fact is unknown."""
    FAILED = "FAILED"
    """It could not be evaluated, which denies."""
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """It was not looked at: not in force, or not applicable."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an evaluation.

    Args:
        text: One plain sentence: what was looked at and what was found.
        result: How it came out.
        rule_id: The rule, scope row, exemption or obligation, where the step is one.
        rule_version: Its version.
        pack_id: The pack, where the step is one or belongs to one.
        citation: The provision.
        grade: How far its text was confirmed; None where the step is no rule.
        remedy: What would change the answer; empty where nothing has to change.
        basis: Ledger indices of the facts looked at, ascending.
        outcome: What this step alone leads to; None for a condition.
        steps: The steps it rests on.
    """

    text: str
    result: StepResult
    rule_id: str = ""
    rule_version: int = 0
    pack_id: str = ""
    citation: str = ""
    grade: Grade | None = None
    remedy: str = ""
    basis: tuple[int, ...] = ()
    outcome: Outcome | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class FaceExplained:
    """The trace of one face, with what it comes to.

    Args:
        outcome: What the trace comes to.
        reasons: Its findings, as ``FaceDecision.reasons``.
        basis: Entries relied on, as ``FaceDecision.basis``.
        regions: The regions looked at, sorted.
        step: The whole trace.
    """

    outcome: Outcome
    reasons: tuple[Finding, ...]
    basis: tuple[int, ...]
    regions: tuple[str, ...]
    step: Step


def of_finding(finding: Finding, basis: tuple[int, ...] = ()) -> Step:
    """A step that is a finding which no part of a pack makes."""
    return Step(
        text=finding.text,
        result=StepResult.FALSE,
        rule_id=finding.rule_id,
        rule_version=finding.rule_version,
        pack_id=finding.pack_id,
        citation=finding.citation,
        grade=finding.grade,
        remedy=finding.remedy,
        basis=basis,
        outcome=finding.outcome,
    )


def of_rule(
    text: RuleText,
    pack_id: str,
    said: str,
    result: StepResult,
    *,
    basis: tuple[int, ...] = (),
    outcome: Outcome | None = None,
    steps: tuple[Step, ...] = (),
) -> Step:
    """A step that is a rule, a scope row, an exemption or an obligation."""
    return Step(
        text=said,
        result=result,
        rule_id=text.id,
        rule_version=text.version,
        pack_id=pack_id,
        citation=text.citation,
        grade=text.grade,
        basis=basis,
        outcome=outcome,
        steps=steps,
    )
