"""The decision: for each face the strictest answer of all packs that apply.

1. The plan that concerns the face: what the packs of its regions ask under these circumstances.
2. The plan's questions are put to the facts, each once.
3. The answers are looked up: what they mean was worked out by ``judge`` when they were first given.
4. Where that permits, the dates are counted and the basis is named.
5. Whatever fails while it is evaluated denies.
6. What the tenant's public statements and refusals exclude is denied, whatever the packs say.

Pure: the same arguments give the same answer, years later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.law.judge import UNANSWERABLE, Answers, failed, unique
from consentry_server.core.law.lookup import lookup_of
from consentry_server.core.law.model import Decision, FaceDecision, Finding, Obligation, ObligationKind
from consentry_server.core.law.narrowing import narrow
from consentry_server.core.law.requirements import match_determination
from consentry_server.core.law.situation import Moment, Situation, chains_of
from consentry_server.core.record.facts import Face
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.law.judge import Dated, Ruling
    from consentry_server.core.law.lookup import Docket, Lookup
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.plan import Plan
    from consentry_server.core.law.requirements import Plain, Sought
    from consentry_server.core.law.situation import Chain
    from consentry_server.core.record.facts import Determination, OperationRequest, Tenant

_NOBODY: Final = (Face(subject=None),)
"""No face named is one unidentified face."""

_strictness: Final = {outcome: outcome.strictness for outcome in Outcome}.__getitem__

_DENY: Final = Outcome.DENY
_TELL: Final = ObligationKind.TELL_RECIPIENT

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


Row = list[object]
"""The answers in one row: to the plain questions, to those for determinations, whether there is a release, and for
each chain whether it is complete and its answers. ``_by_question`` reads it."""


def _ask(plan: Plan, s: Situation) -> tuple[Row, Sequence[Chain], Sequence[Determination | None]]:
    """Put the plan's questions to the facts: the answers, the chains and the determinations they are about."""
    tenant, subject = s.moment.tenant, s.subject
    row: Row = [ask(s) for ask in plan.plain]
    found: Sequence[Determination | None] = ()
    if tenant.determinations and plan.sought:
        found = [match_determination(s, sought) for sought in plan.sought]
        row += [each is not None for each in found]
    else:
        row += plan.none_sought
    if subject is None or not plan.chained:
        return row, (), found
    chains = chains_of(subject, tenant)
    row.append(bool(subject.releases))
    for chain in chains:
        answers = [ask(s, chain) for ask in plan.chained]
        row.append(chain.is_complete)
        row += answers
        if len(chains) > 1 and False not in answers and None not in answers:
            break  # it carries whatever is asked: no older release is looked at
    return row, chains, found


def _ask_carefully(plan: Plan, s: Situation) -> tuple[Row, Sequence[Chain], Sequence[Any]]:
    """The same where some question fails: each by itself, so that only the rules that need its answer fail."""
    found = [_try(match_determination, s, sought) for sought in plan.sought]
    row: Row = [_try(ask, s) for ask in plan.plain]
    row += [each if each is UNANSWERABLE else each is not None for each in found]
    if s.subject is None or not plan.chained:
        return row, (), found
    chains = _try(chains_of, s.subject, s.moment.tenant)
    if chains is UNANSWERABLE:
        return [*row, UNANSWERABLE], (), found
    row.append(bool(s.subject.releases))
    for chain in chains:
        row += [chain.is_complete, *(_try(ask, s, chain) for ask in plan.chained)]
    return row, chains, found


def _try(ask: Callable[..., Any], *about: object) -> Any:
    try:
        return ask(*about)
    except Exception:  # noqa: BLE001 - whatever it fails with, there is no answer
        return UNANSWERABLE


def _by_question(plan: Plan, row: Sequence[object]) -> Answers:
    """The answers of a row by question."""
    asked: tuple[Plain | Sought, ...] = (*plan.plain, *plan.sought)
    rest = row[len(asked) :]
    size = 1 + len(plan.chained)
    chains = [rest[place : place + size] for place in range(1, len(rest), size)]
    return Answers(
        asked=dict(zip(asked, row, strict=False)),
        chains=None if UNANSWERABLE in rest[:1] else [dict(zip(plan.chained, c[1:], strict=True)) for c in chains],
        released=rest[:1] == (True,),
        complete=[c[0] is True for c in chains],
    )


def _decide_face(index: int, face: Face, moment: Moment, lookup: Lookup, docket: Docket) -> FaceDecision:
    plan, regions = lookup.plan(docket, moment.request, face)  # (1)
    s = Situation(moment, face)
    try:  # (2)
        row, chains, found = _ask(plan, s)
    except Exception:  # noqa: BLE001 - (5) the rule that fails is named
        row, chains, found = _ask_carefully(plan, s)
    key = tuple(row)
    ruling = plan.rulings.get(key)  # (3)
    if ruling is None:
        ruling = lookup.ruling(plan, key, _by_question(plan, key))
    if not ruling.permits:
        return FaceDecision(index, ruling.outcome, ruling.reasons, (), (), (), (), regions)
    relied = dict(zip(plan.sought, found, strict=True)) if ruling.determinations else {}  # (4)
    try:
        obligations = _obligations(ruling, s, chains, relied)
    except Exception:  # noqa: BLE001 - (5) the duty that fails is named
        reasons = _failing(ruling, s, chains, relied) or (_FACTS_FAILED,)
        return FaceDecision(index, _DENY, reasons, (), (), (), (), regions)
    basis, releases = _basis(ruling, moment, chains)
    determinations: list[str] = []
    for sought in ruling.determinations:
        each = relied[sought]
        if each is not None:
            basis += (each.index, each.approved_index)
            determinations.append(each.determination_id)
    return FaceDecision(
        index,
        ruling.outcome,
        ruling.reasons,
        obligations,
        tuple(sorted({index for index in basis if index >= 0})),
        tuple(releases) if len(releases) < 2 else tuple(dict.fromkeys(releases)),  # noqa: PLR2004 - one is no two
        tuple(dict.fromkeys(determinations)) if determinations else (),
        regions,
    )


def _basis(ruling: Ruling, moment: Moment, chains: Sequence[Chain]) -> tuple[list[int], list[str]]:
    """The entries of the policy and the chains relied on, and the releases."""
    basis: list[int] = []
    releases: list[str] = []
    policy = moment.policy if ruling.on_policy else None
    if policy is not None:
        basis.append(policy.index)
    for place in ruling.chains:
        chain = chains[place]
        release, delivery, notice = chain.release, chain.delivery, chain.notice
        if release is not None and delivery is not None and notice is not None:
            basis += (notice.index, delivery.index, release.index)
            releases.append(release.release_id)
    return basis, releases


def _obligations(
    ruling: Ruling, s: Situation, chains: Sequence[Chain], relied: Mapping[Sought, Determination | None]
) -> tuple[Obligation, ...]:
    """Each duty once; of dates the earliest, of equal dates the first."""
    dates = [date(s, chains, relied) for date in ruling.dates]
    earliest: dict[ObligationKind, tuple[datetime | None, Dated]] = {}
    for duty in ruling.dated:
        due: datetime | None = None
        for place in duty.dates:
            date = dates[place]
            if date is not None and (due is None or date < due):
                due = date
        if due is None and duty.needs_date:
            continue
        held = earliest.get(duty.kind)
        if held is None or (due is not None and (held[0] is None or due < held[0])):
            earliest[duty.kind] = (due, duty)
    made = [Obligation(kind, due, duty.detail, duty.citation) for kind, (due, duty) in earliest.items()]
    if ruling.others:
        told = s.request.recipient_id
        made += [Obligation(_TELL, None, told, each) if isinstance(each, str) else each for each in ruling.others]
    return tuple(made)


def _failing(
    ruling: Ruling, s: Situation, chains: Sequence[Chain], relied: Mapping[Sought, Determination | None]
) -> tuple[Finding, ...]:
    """For each pack the first duty whose date cannot be counted."""
    dates = [_try(date, s, chains, relied) for date in ruling.dates]
    found: dict[str, Finding] = {}
    for duty in ruling.dated:
        if any(dates[place] is UNANSWERABLE for place in duty.dates):
            found.setdefault(duty.pack.id, failed(duty.pack, duty.text))
    return tuple(found.values())


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
    faces = faces or _NOBODY
    try:
        lookup = lookup_of(tuple(packs), unknown_regions)
        docket = lookup.docket(request, tenant, now)
    except Exception:  # noqa: BLE001 - (5) whatever fails denies
        return _together([_fail(index) for index in range(len(faces))])
    moment = Moment(request, tenant, now)
    answers: list[FaceDecision] = []
    for index, face in enumerate(faces):
        try:
            answer = _decide_face(index, face, moment, lookup, docket)
        except Exception:  # noqa: BLE001 - (5) a face that fails denies itself alone
            answer = _fail(index)
        answers.append(answer)
    if tenant.statements or tenant.refusals:  # (6)
        try:
            answers = narrow(request, tenant, answers)
        except Exception:  # noqa: BLE001 - (5) what cannot be narrowed is not permitted
            answers = [_fail(index) for index in range(len(faces))]
    return _together(answers)


def _fail(index: int) -> FaceDecision:
    return FaceDecision(index, _DENY, (_FACTS_FAILED,), (), (), (), (), ())


def _together(answers: list[FaceDecision]) -> Decision:
    """The strictest of the faces' outcomes, and the faces' reasons, each once."""
    if len(answers) == 1:
        return Decision(answers[0].outcome, tuple(answers), answers[0].reasons)
    outcome = max([answer.outcome for answer in answers], key=_strictness)
    told = list({id(answer.reasons): answer.reasons for answer in answers}.values())
    reasons = told[0] if len(told) == 1 else unique([reason for reasons in told for reason in reasons])
    return Decision(outcome, tuple(answers), reasons)
