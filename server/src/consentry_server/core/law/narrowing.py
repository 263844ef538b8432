"""What a tenant's public statements and refusals take away from an answer that the packs gave. They never add to one.

A statement denies what it excludes, whoever the face belongs to and whatever was released: "just public data" is a
promise, and a release does not undo it. A refusal denies what would otherwise wait for a person with the same question,
or with that one and more: another region, or another pack, asks no less. Where a determination or a release answers
the question, there is nothing left to refuse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.core.law.model import Finding
from consentry_server.core.record.house import algorithm_name
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consentry_server.core.law.model import FaceDecision
    from consentry_server.core.record.facts import OperationRequest, Tenant
    from consentry_server.core.record.house import Refusal, Statement
    from consentry_server.core.vocabulary import Operation

HOUSE: Final = "house"
"""Named as the pack of findings that rest on what the tenant itself recorded."""
STATEMENT_CODE: Final = "PUBLIC_STATEMENT"
REFUSAL_CODE: Final = "REVIEW_REFUSED"

_REVIEW: Final = Outcome.REVIEW
REMEMBERED: Final = 64
"""Sets of statements and refusals that are kept sorted, one for each tenant; more only cost the sorting."""


class _Board:
    """The statements by operation and the refusals by question, each with what it says."""

    __slots__ = ("held", "refusals", "statements")

    def __init__(self, statements: tuple[Statement, ...], refusals: tuple[Refusal, ...]) -> None:
        self.held = statements, refusals  # kept, so that no id is used again
        asked: dict[tuple[str, ...], list[tuple[frozenset[str], Finding]]] = {}
        for refusal in refusals:
            about = refusal.operation, refusal.purpose, refusal.category, refusal.algorithm
            asked.setdefault(about, []).append((refusal.rules, of_refusal(refusal)))
        self.refusals: Mapping[tuple[str, ...], Sequence[tuple[frozenset[str], Finding]]] = asked
        found: dict[Operation, list[tuple[Statement, Finding]]] = {}
        for statement in statements:
            for operation in statement.operations:
                found.setdefault(operation, []).append((statement, of_statement(statement)))
        self.statements: Mapping[Operation, Sequence[tuple[Statement, Finding]]] = found


_boards: dict[tuple[int, int], _Board] = {}
"""The same board for the same facts, so that it is no state."""


def narrow(request: OperationRequest, tenant: Tenant, answers: list[FaceDecision]) -> list[FaceDecision]:
    """Take away what the tenant's statements and refusals exclude.

    Args:
        request: What the caller is about to do.
        tenant: What is known of the tenant; it has a statement or a refusal.
        answers: What the packs answered for each face.

    Returns:
        The answers, none of them looser.
    """
    board = _boards.get((id(tenant.statements), id(tenant.refusals))) or _board(tenant)
    stated = board.statements.get(request.operation)
    if stated is not None:
        barred = [finding for statement, finding in stated if excludes(statement, request)]
        if barred:
            told: dict[int, tuple[Finding, ...]] = {}
            return [_denied(answer, barred, told) for answer in answers]
    if not board.refusals or all(answer.outcome is not _REVIEW for answer in answers):
        return answers
    algorithm = algorithm_name(request.algorithm_id, request.algorithm_version)
    refused = board.refusals.get((request.operation, request.purpose, request.category, algorithm))
    if refused is None:
        return answers
    return [_unless_refused(answer, refused) if answer.outcome is _REVIEW else answer for answer in answers]


def excludes(statement: Statement, request: OperationRequest) -> bool:
    """Whether a statement denies a request.

    1. It speaks of the operation, and of the purpose or of every one.
    2. It excludes the category, or allows other visibilities only; what is unknown is another one.
    """
    if request.operation not in statement.operations:  # (1)
        return False
    if statement.purposes and request.purpose not in statement.purposes:
        return False
    if request.category in statement.excluded_categories:  # (2)
        return True
    return bool(statement.only_visibilities) and request.visibility not in statement.only_visibilities


def _board(tenant: Tenant) -> _Board:
    if len(_boards) >= REMEMBERED:
        _boards.clear()
    made = _boards[id(tenant.statements), id(tenant.refusals)] = _Board(tenant.statements, tenant.refusals)
    return made


def _denied(answer: FaceDecision, barred: list[Finding], told: dict[int, tuple[Finding, ...]]) -> FaceDecision:
    """The answer denied, with what the packs missed besides; faces with the same reasons share them."""
    reasons = told.get(id(answer.reasons))
    if reasons is None:
        missed = answer.reasons if answer.outcome in {Outcome.DENY, Outcome.REVIEW} else ()
        reasons = told[id(answer.reasons)] = (*barred, *missed)
    return answer._replace(
        outcome=Outcome.DENY, reasons=reasons, obligations=(), basis=(), release_ids=(), determination_ids=()
    )


def _unless_refused(answer: FaceDecision, refused: Sequence[tuple[frozenset[str], Finding]]) -> FaceDecision:
    found = {f"{finding.rule_id}:{finding.code}" for finding in answer.reasons}
    barred = [finding for rules, finding in refused if rules <= found]
    return _denied(answer, barred, {}) if barred else answer


def of_statement(statement: Statement) -> Finding:
    """What a statement says of what it excludes."""
    only, purposes = statement.only_visibilities, statement.purposes
    limits = [
        f"data of {_listed(only)} visibility alone" if only else "",
        f"no {_listed(statement.excluded_categories)}" if statement.excluded_categories else "",
    ]
    what = _listed(statement.operations) + (f" for {_listed(purposes)}" if purposes else "")
    return Finding(
        code=STATEMENT_CODE,
        rule_id=statement.statement_id,
        rule_version=1,
        pack_id=HOUSE,
        citation=f"Public statement {statement.statement_id} of {statement.stated_at:%Y-%m-%d}",
        grade=Grade.PRIMARY,
        text=f"The organisation said in public that to {what} it uses {' and '.join(filter(None, limits))}.",
        remedy="Leave this data out, or, where its source is not stated, state it as it is; no release or determination"
        " undoes a public statement.",
        outcome=Outcome.DENY,
    )


def of_refusal(refusal: Refusal) -> Finding:
    """What a refusal says of the question that it answers."""
    return Finding(
        code=REFUSAL_CODE,
        rule_id=refusal.review_id,
        rule_version=1,
        pack_id=HOUSE,
        citation=f"Review {refusal.review_id}, refused on {refusal.time:%Y-%m-%d}",
        grade=Grade.PRIMARY,
        text="An officer looked at this very question and refused it.",
        remedy="Obtain the written release of the person, or ask the officer; another version of the algorithm is"
        " another question.",
        outcome=Outcome.DENY,
    )


def _listed(words: frozenset[str]) -> str:
    named = sorted(word.lower().replace("_", " ") for word in words)
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
