"""The decision: for each face the strictest answer of all packs that apply.

1. Every pack of a law is asked whose regions meet the person's; see ``situation.regions_of``. Where not even the
   configured set names a region, every pack is asked.
2. A region for which no law pack answers is *uncovered*; house packs are told so, and are asked in any case.
3. If a region is uncovered and no house pack answers either, the answer is DENY: empty means deny.
4. DENY > REVIEW > ALLOW_NONBIOMETRIC > ALLOW. An exemption counts inside its own pack alone.
5. Whatever fails while it is evaluated denies.

Pure: the same arguments give the same answer, years later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.core.law.judge import NO_RULES, Judge, Verdict
from consentry_server.core.law.model import Decision, FaceDecision, Finding, Obligation, ObligationKind
from consentry_server.core.law.situation import Situation, regions_of
from consentry_server.core.record.facts import Face
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.record.facts import OperationRequest, Tenant

_NOBODY: Final = (Face(subject=None),)
"""No face named is one unidentified face."""

_FACTS_FAILED: Final = Finding(
    code="RULE_FAILED",
    rule_id="ENGINE-RULE-FAILED",
    rule_version=1,
    pack_id="engine",
    citation="Consentry design: a rule that fails to evaluate denies",
    grade=Grade.PRIMARY,
    text="The facts could not be evaluated, so nothing is permitted.",
    remedy="Report this decision to the operator; the recorded facts need repair.",
    outcome=Outcome.DENY,
)

_EARLIEST_COUNTS: Final = frozenset({ObligationKind.DESTROY_BY, ObligationKind.RECHECK_BY})


def _verdicts(situation: Situation, packs: Sequence[Pack], now: datetime) -> tuple[list[Verdict], bool]:
    """What each pack says, and whether every region has an answer."""
    regions = situation.regions
    verdicts: list[Verdict] = []
    covered: frozenset[str] = frozenset()
    for pack in packs:  # (1)
        hit = regions & pack.reach
        if pack.everywhere or (regions and not hit) or not pack.runs(now):
            continue
        verdict = Judge(pack, situation).run()
        verdicts.append(verdict)
        if verdict.answered:
            covered |= hit
    situation.uncovered = uncovered = not regions or not regions <= covered  # (2)
    for pack in packs:
        if pack.everywhere and pack.runs(now):
            verdict = Judge(pack, situation).run()
            verdicts.append(verdict)
            uncovered = uncovered and not verdict.answered
    return verdicts, not uncovered


def _merge(obligations: list[Obligation]) -> tuple[Obligation, ...]:
    """Each duty once; of dates the earliest, of equal dates the first."""
    earliest: dict[ObligationKind, Obligation] = {}
    others: list[Obligation] = []
    for duty in obligations:
        if duty.kind in _EARLIEST_COUNTS:
            held = earliest.get(duty.kind)
            if held is None or (duty.due is not None and (held.due is None or duty.due < held.due)):
                earliest[duty.kind] = duty
        elif duty not in others:
            others.append(duty)
    return (*earliest.values(), *others)


def _unique(findings: list[Finding]) -> tuple[Finding, ...]:
    """Each finding once, in first-seen order; a pack makes each of its findings once, so that identity will do."""
    return tuple({id(finding): finding for finding in findings}.values())


def _decide_face(
    index: int,
    face: Face,
    request: OperationRequest,
    tenant: Tenant,
    packs: Sequence[Pack],
    now: datetime,
    unknown_regions: frozenset[str],
) -> FaceDecision:
    regions = regions_of(request, face, unknown_regions)
    verdicts, answered = _verdicts(Situation(request, face, tenant, now, regions), packs, now)
    outcomes = [verdict.outcome for verdict in verdicts if verdict.outcome is not None]
    outcome = max(outcomes, key=lambda o: o.strictness, default=Outcome.DENY)  # (4)
    where = tuple(sorted(regions))
    if not outcomes or not answered:  # (3)
        found = [f for v in verdicts if v.outcome in {Outcome.DENY, Outcome.REVIEW} for f in v.findings]
        return FaceDecision(index, Outcome.DENY, _unique([*found, NO_RULES]), (), (), (), (), where)
    if outcome is Outcome.DENY or outcome is Outcome.REVIEW:
        found = [f for v in verdicts if v.outcome in {Outcome.DENY, Outcome.REVIEW} for f in v.findings]
        return FaceDecision(index, outcome, _unique(found), (), (), (), (), where)
    relied: set[int] = set()
    findings: list[Finding] = []
    obligations: list[Obligation] = []
    releases: list[str] = []
    determinations: list[str] = []
    for verdict in verdicts:
        findings += verdict.findings
        relied.update(verdict.relied)
        obligations += verdict.obligations
        releases += verdict.releases
        determinations += [found.determination_id for found in verdict.determinations]
    return FaceDecision(
        index=index,
        outcome=outcome,
        reasons=_unique(findings),
        obligations=_merge(obligations),
        basis=tuple(sorted(index for index in relied if index >= 0)),
        release_ids=tuple(dict.fromkeys(releases)),
        determination_ids=tuple(dict.fromkeys(determinations)),
        regions=where,
    )


def decide(
    request: OperationRequest,
    faces: Sequence[Face],
    tenant: Tenant,
    packs: Sequence[Pack],
    *,
    now: datetime,
    unknown_regions: frozenset[str],
) -> Decision:
    """Decide one request, face by face.

    Args:
        request: What the caller is about to do.
        faces: The faces, or the one person where the data is not a photo; empty is one unidentified face.
        tenant: What is known of the tenant.
        packs: The active packs; the outcome does not depend on their order.
        now: The ledger's clock, UTC.
        unknown_regions: The regions that stand in where it is not known where a person lives.

    Returns:
        The decision. It never raises for anything that the facts or the packs contain.
    """
    answers: list[FaceDecision] = []
    for index, face in enumerate(faces or _NOBODY):
        try:
            answer = _decide_face(index, face, request, tenant, packs, now, unknown_regions)
        except Exception:  # noqa: BLE001 - (5) whatever fails denies
            answer = FaceDecision(index, Outcome.DENY, (_FACTS_FAILED,), (), (), (), (), ())
        answers.append(answer)
    if len(answers) == 1:
        return Decision(answers[0].outcome, tuple(answers), answers[0].reasons)
    outcome = max((answer.outcome for answer in answers), key=lambda o: o.strictness)
    return Decision(outcome, tuple(answers), _unique([reason for answer in answers for reason in answer.reasons]))
