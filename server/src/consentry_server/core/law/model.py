"""What the law answers: immutable results that say why.

A denial is a result like any other. Every reason names the pack, the rule, its version, its citation and how far
the rule's text was confirmed, and says in one sentence what is wrong and what would put it right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from consentry_server.core.vocabulary import Grade, Outcome, Words

if TYPE_CHECKING:
    from datetime import datetime


class ObligationKind(Words):
    """What comes with a permission."""

    DESTROY_BY = "DESTROY_BY"
    """Destroy what is kept under this decision no later than the due time."""
    RECHECK_BY = "RECHECK_BY"
    """The basis ends at the due time: ask again before it."""
    TELL_RECIPIENT = "TELL_RECIPIENT"
    """The named recipient has to be told of every withdrawal and destruction."""
    LOG_DETERMINATION = "LOG_DETERMINATION"
    """The decision rests on a determination that something is not biometric, or is exempt: keep it on record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason.

    Args:
        code: A stable word for programs, such as ``RELEASE_MISSING``; ``SATISFIED`` where a rule was met.
        rule_id: The rule inside its pack.
        rule_version: The rule's version.
        pack_id: The pack.
        citation: The statute or case.
        grade: How far the rule's text was confirmed against its source.
        text: One plain sentence: what was found.
        remedy: One plain sentence: what would change the answer; empty where nothing has to change.
        outcome: What this finding alone leads to.
    """

    code: str
    rule_id: str
    rule_version: int
    pack_id: str
    citation: str
    grade: Grade
    text: str
    remedy: str
    outcome: Outcome


ReasonGiven = Finding
"""A reason of the whole decision; the same value as the face's finding that it comes from."""


class Obligation(NamedTuple):
    """One duty that comes with a permission.

    Args:
        kind: What has to be done.
        due: Until when, UTC; None where no date applies.
        detail: One plain sentence, or the recipient's id for ``TELL_RECIPIENT``.
        citation: The statute or case.
    """

    kind: ObligationKind
    due: datetime | None
    detail: str
    citation: str


class FaceDecision(NamedTuple):
    """The answer for one face.

    Args:
        index: The face's place in the request.
        outcome: The strictest answer of all packs that apply.
        reasons: Every failing requirement on DENY and REVIEW; the satisfied rules otherwise.
        obligations: Empty unless the outcome permits.
        basis: Ledger indices of the facts relied on, ascending; empty unless the outcome permits.
        release_ids: The releases relied on.
        determination_ids: The determinations relied on.
        regions: The regions that were looked at, sorted.
    """

    index: int  # type: ignore[assignment] # hides tuple.index, which nobody needs here
    outcome: Outcome
    reasons: tuple[Finding, ...]
    obligations: tuple[Obligation, ...]
    basis: tuple[int, ...]
    release_ids: tuple[str, ...]
    determination_ids: tuple[str, ...]
    regions: tuple[str, ...]


class Decision(NamedTuple):
    """The answer for a whole request.

    Args:
        outcome: The strictest of the faces' outcomes.
        faces: One per face, in the request's order.
        reasons: The faces' reasons, each once, in first-seen order.
    """

    outcome: Outcome
    faces: tuple[FaceDecision, ...]
    reasons: tuple[ReasonGiven, ...]
