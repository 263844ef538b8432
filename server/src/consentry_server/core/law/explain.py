"""The whole trace of a decision, for people: what was looked at, in the law's order, and how each of it came out.

The slow sibling of ``decide``: it compiles nothing, remembers nothing, and works the answer out again while it writes
the steps down. A property test over generated worlds holds the two to the same outcomes and findings, and whoever
shows a trace compares it with the decision first (see ``agrees``), so that none can say something else.

1. The regions of each face, and why each of them is looked at.
2. The packs of those regions, each heard by itself; then the house packs, told whether some region has no answer.
3. The strictest answer wins; where a region has no answer at all, the answer is DENY.
4. What the tenant's public statements and refusals exclude is denied, whatever the packs say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law import wording
from consentry_server.core.law.choosing import choose
from consentry_server.core.law.circumstances import Circumstances
from consentry_server.core.law.hearing import Hearing
from consentry_server.core.law.judge import NO_RULES, failed
from consentry_server.core.law.model import Finding, ObligationKind
from consentry_server.core.law.narrowing import REFUSAL_CODE, excludes, of_refusal, of_statement
from consentry_server.core.law.rules import Status
from consentry_server.core.law.situation import VENUES, Moment, Situation, age_of, chains_of, regions_of
from consentry_server.core.law.trace import FaceExplained, Step, StepResult
from consentry_server.core.record.facts import Face
from consentry_server.core.record.house import algorithm_name
from consentry_server.core.vocabulary import KnownBy, Outcome, Relationship

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.law.hearing import Due
    from consentry_server.core.law.model import Decision
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.situation import Chain
    from consentry_server.core.record.facts import OperationRequest, Tenant

TRUE, FALSE, FAILED, OTHER = StepResult.TRUE, StepResult.FALSE, StepResult.FAILED, StepResult.NOT_APPLICABLE
PERMITS: Final = frozenset({Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC})
_FACTS_FAILED: Final = "The facts could not be evaluated, so nothing is permitted."

Claimed = dict[tuple[str, str], int]
"""The entry that first said that a person lives in a region, by subject_ref and region."""


class _Asked(NamedTuple):
    """What all faces of one request share."""

    moment: Moment
    packs: tuple[Pack, ...]
    unknown_regions: frozenset[str]
    claimed: Mapping[tuple[str, str], int]


def explain(
    request: OperationRequest,
    faces: Sequence[Face],
    tenant: Tenant,
    packs: Sequence[Pack],
    *,
    now: datetime,
    unknown_regions: frozenset[str],
    claimed: Mapping[tuple[str, str], int] | None = None,
) -> tuple[FaceExplained, ...]:
    """Explain what ``decide`` answers to the same arguments.

    Args:
        request: What the caller is about to do.
        faces: The faces, or the one person; empty is one unidentified face.
        tenant: What is known of the tenant.
        packs: The active packs.
        now: The time of the decision, UTC.
        unknown_regions: The regions that stand in where it is not known where a person lives.
        claimed: Which entry said where a person lives, by subject_ref and region.

    Returns:
        One trace for each face. It never raises for anything that the facts or the packs contain.
    """
    asked = _Asked(Moment(request, tenant, now), tuple(packs), unknown_regions, claimed or {})
    told = tuple(_face(place, face, asked) for place, face in enumerate(faces or (Face(None),)))
    try:
        return tuple(_narrowed(face, request, tenant) for face in told)  # (4)
    except Exception:  # noqa: BLE001 - what cannot be narrowed is not permitted
        return tuple(_failed(place) for place in range(len(told)))


def agrees(explained: Sequence[FaceExplained], decision: Decision) -> bool:
    """Whether a trace comes to what was decided: the same outcome, reasons, basis and regions for each face."""
    return len(explained) == len(decision.faces) and all(
        (mine.outcome, mine.reasons, mine.basis, mine.regions)
        == (theirs.outcome, theirs.reasons, theirs.basis, theirs.regions)
        for mine, theirs in zip(explained, decision.faces, strict=True)
    )


def _face(place: int, face: Face, asked: _Asked) -> FaceExplained:
    try:
        return _explain_face(place, face, asked)
    except Exception:  # noqa: BLE001 - whatever fails denies
        return _failed(place)


def _failed(place: int) -> FaceExplained:
    finding = Finding(
        code="RULE_FAILED",
        rule_id="ENGINE-RULE-FAILED",
        rule_version=1,
        pack_id="engine",
        citation="Consentry design: a rule that fails to evaluate denies",
        grade=NO_RULES.grade,
        text=_FACTS_FAILED,
        remedy="Report this decision to the operator; the recorded facts need repair.",
        outcome=Outcome.DENY,
    )
    step = Step(f"Face {place}. {_FACTS_FAILED}", FAILED, remedy=finding.remedy, outcome=Outcome.DENY)
    return FaceExplained(Outcome.DENY, (finding,), (), (), step)


def _explain_face(place: int, face: Face, asked: _Asked) -> FaceExplained:
    moment, now = asked.moment, asked.moment.now
    # (1) the regions
    regions = regions_of(moment.request, face, asked.unknown_regions)
    laws = [(sheet, pack) for pack in asked.packs if not pack.everywhere for sheet in pack.sheets]
    houses = [pack for pack in asked.packs if pack.everywhere]
    # (2) the packs that are asked
    c = _circumstances(moment, face)
    there = [(sheet, pack) for sheet, pack in laws if not regions or not regions.isdisjoint(sheet.reach)]
    chosen = [
        choose(sheet, c, now, ", ".join(sorted(sheet.regions)) if pack.rows else "")
        for sheet, pack in there
        if sheet.runs(now)
    ]
    answering = [each.pack for each in chosen if each.status is not Status.SILENT]
    bare = sorted(region for region in regions if not any(region in pack.reach for pack in answering))
    uncovered = bool(bare) or not regions
    at_home = [choose(pack, c._replace(uncovered=uncovered), now) for pack in houses if pack.runs(now)]
    answered = not uncovered or any(each.status is not Status.SILENT and not each.pack.own for each in at_home)
    s = Situation(moment, face)
    chains = _chains(s)
    heard = [Hearing(each, c, s, chains) for each in chosen]
    heard += [Hearing(each, c._replace(uncovered=uncovered), s, chains) for each in at_home]
    # (3) the strictest answer
    steps = [_who(face), _regions(moment.request, face, asked, regions), _not_asked(regions, asked.packs, now)]
    steps += [each.step for each in heard]
    outcomes = [each.outcome for each in heard if each.outcome is not None]
    outcome = max(outcomes, key=lambda o: o.strictness, default=Outcome.DENY)
    basis: tuple[int, ...] = ()
    if not outcomes or not answered:
        reasons = _once([f for each in heard if each.outcome in {Outcome.DENY, Outcome.REVIEW} for f in each.findings])
        outcome, reasons = Outcome.DENY, _once([*reasons, NO_RULES])
        where = f" No pack answers for {', '.join(bare)}." if bare else ""
        steps.append(Step(f"{NO_RULES.text}{where}", FALSE, remedy=NO_RULES.remedy, outcome=Outcome.DENY))
    elif outcome not in PERMITS:
        reasons = _once([f for each in heard if each.outcome in {Outcome.DENY, Outcome.REVIEW} for f in each.findings])
    else:
        reasons = _once([f for each in heard for f in each.findings])
        broken, dates = _dates(heard)
        steps += dates
        if broken:
            outcome, reasons = Outcome.DENY, broken
        else:
            basis = _basis(heard, moment)
    whose = "nobody is named" if face.subject is None else face.subject.subject_ref
    text = f"Face {place}, {whose}."
    result = TRUE if outcome in PERMITS else FALSE
    step = Step(text, result, basis=basis, outcome=outcome, steps=tuple(each for each in steps if each is not None))
    return FaceExplained(outcome, reasons, basis, tuple(sorted(regions)), step)


def _narrowed(face: FaceExplained, request: OperationRequest, tenant: Tenant) -> FaceExplained:
    """What is left of an answer by the tenant's public statements and, where it waits for a person, by refusals."""
    barred: list[Finding] = []
    steps: list[Step] = []
    for statement in tenant.statements:
        if request.operation in statement.operations:
            out = excludes(statement, request)
            finding = of_statement(statement)
            said = finding.text if out else f"Public statement {statement.statement_id} leaves this in."
            steps.append(_own_word(finding, said, statement.index, barred=out))
            barred += [finding] if out else []
    algorithm = algorithm_name(request.algorithm_id, request.algorithm_version)
    about = (request.operation, request.purpose, request.category, algorithm)
    found = {f"{finding.rule_id}:{finding.code}" for finding in face.reasons}
    for refusal in tenant.refusals if face.outcome is Outcome.REVIEW and not barred else ():
        if (refusal.operation, refusal.purpose, refusal.category, refusal.algorithm) == about:
            out = refusal.rules <= found
            finding = of_refusal(refusal)
            said = finding.text if out else f"Review {refusal.review_id} was refused on another question."
            steps.append(_own_word(finding, said, refusal.index, barred=out))
            barred += [finding] if out else []
    if not steps:
        return face
    whole = "What the tenant said in public, and what its officers refused: this narrows and never permits."
    told = Step(whole, FALSE if barred else TRUE, outcome=Outcome.DENY if barred else None, steps=tuple(steps))
    step = replace(face.step, steps=(*face.step.steps, told))
    if not barred:
        return replace(face, step=step)
    missed = () if face.outcome in PERMITS else face.reasons
    step = replace(step, result=FALSE, basis=(), outcome=Outcome.DENY)
    return FaceExplained(Outcome.DENY, (*barred, *missed), (), face.regions, step)


def _own_word(finding: Finding, said: str, index: int, *, barred: bool) -> Step:
    """A statement or a refusal, and whether it stands against the operation."""
    stands = TRUE if finding.code != REFUSAL_CODE else OTHER
    return Step(
        said,
        FALSE if barred else stands,
        rule_id=finding.rule_id,
        rule_version=finding.rule_version,
        pack_id=finding.pack_id,
        citation=finding.citation,
        grade=finding.grade,
        remedy=finding.remedy if barred else "",
        basis=(index,) if index >= 0 else (),
        outcome=Outcome.DENY if barred else None,
    )


def _circumstances(moment: Moment, face: Face) -> Circumstances:
    request, tenant, subject = moment.request, moment.tenant, face.subject
    return Circumstances(
        operation=request.operation,
        purpose=request.purpose,
        category=request.category,
        visibility=request.visibility,
        published_by=request.published_by,
        source_kind=request.source_kind,
        disclosure_basis=request.disclosure_basis,
        has_disclosure_evidence=request.has_disclosure_evidence,
        consideration=request.consideration,
        uses_face_geometry=request.uses_face_geometry,
        identifies=request.identifies,
        stored=request.stored,
        linked_identity=request.linked_identity,
        new_york_city_establishment=request.new_york_city_establishment,
        portland_public_accommodation=request.portland_public_accommodation,
        has_recipient=bool(request.recipient_id),
        entity_type=tenant.entity_type,
        encrypted_at_rest=tenant.encrypted_at_rest,
        encrypted_in_transit=tenant.encrypted_in_transit,
        protection_at_least_other_sensitive=tenant.protection_at_least_other_sensitive,
        named=subject is not None,
        known=face.known_by is not KnownBy.UNKNOWN,
        age=age_of(face),
        relationship=Relationship.UNKNOWN if subject is None else subject.relationship,
        artifact_state=request.artifact_state,
        uncovered=True,
    )


def _chains(s: Situation) -> Sequence[Chain] | None:
    try:
        return [] if s.subject is None else chains_of(s.subject, s.moment.tenant)
    except Exception:  # noqa: BLE001 - the rules that ask for them fail
        return None


def _who(face: Face) -> Step:
    if face.subject is None:
        return Step("Nobody is named: an unidentified face.", StepResult.UNKNOWN)
    subject, age = face.subject, age_of(face)
    known = "not said how that is known" if face.known_by is KnownBy.UNKNOWN else f"known by {face.known_by}"
    said = f"{subject.subject_ref}, {known}; age {age}; {subject.relationship}"
    unclear = "UNKNOWN" in {str(face.known_by), str(age)}
    return Step(f"The person: {said}.", StepResult.UNKNOWN if unclear else TRUE)


def _regions(request: OperationRequest, face: Face, asked: _Asked, regions: frozenset[str]) -> Step:
    """Why each region is looked at."""
    steps: list[Step] = []
    subject = face.subject
    on_record = frozenset[str]() if subject is None else subject.regions
    for region in sorted(regions):
        why, basis = list[str](), list[int]()
        if region in on_record:
            why.append("on record as where the person lives")
            index = asked.claimed.get((subject.subject_ref, region)) if subject is not None else None
            basis += [] if index is None else [index]
        if region in face.regions:
            why.append("the caller says that the person lives there")
        if region in request.regions:
            why.append("where the operation happens or the photo was taken")
        venues = [venue for venue, there in VENUES.items() if there == region and getattr(request, venue)]
        why += [wording.FACTS[venue].replace("Taken", "taken", 1) for venue in venues]
        if not why:
            home = "nobody is named" if subject is None else "it is not known where the person lives"
            states = "US" in (on_record | face.regions | request.regions)
            why.append(f"{'no state is known' if states and subject is not None else home}: one of the configured set")
        steps.append(Step(f"{region}: {'; '.join(why)}.", TRUE, basis=tuple(basis)))
    if not steps:
        return Step("No region is known and none is configured: every pack is asked.", StepResult.UNKNOWN)
    return Step(f"Regions looked at: {', '.join(sorted(regions))}.", TRUE, steps=tuple(steps))


def _not_asked(regions: frozenset[str], packs: Sequence[Pack], now: datetime) -> Step | None:
    steps: list[Step] = []
    for pack in packs:
        named = f"{pack.title} ({pack.id} version {pack.version})"
        where = ", ".join(sorted(pack.regions))
        if not pack.everywhere and regions and regions.isdisjoint(pack.reach):
            steps.append(Step(f"{named}: applies in {where}.", OTHER, pack_id=pack.id))
            continue
        for sheet in pack.sheets:
            if sheet.runs(now) or not (pack.everywhere or not regions or not regions.isdisjoint(sheet.reach)):
                continue
            row = f", {', '.join(sorted(sheet.regions))}" if pack.rows else ""
            until = "" if sheet.effective_to is None else f" until {sheet.effective_to}"
            said = f"{named}{row}: in force from {sheet.effective_from}{until}."
            steps.append(Step(said, OTHER, pack_id=pack.id))
    if not steps:
        return None
    return Step("Active packs that are not asked here.", OTHER, steps=tuple(steps))


def _once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    found: list[Finding] = []
    for finding in findings:
        if not any(finding is each for each in found):
            found.append(finding)
    return tuple(found)


def _dates(heard: Sequence[Hearing]) -> tuple[tuple[Finding, ...], list[Step]]:
    """The dates of what comes with a permission; and what failed, where one cannot be counted."""
    due = [each for hearing in heard for each in hearing.due]
    counted = [each for each in due if not any(_sooner(other, each) for other in due)]
    broken: dict[str, Finding] = {}  # for each pack the first; the rows of a table are one pack
    below: list[Step] = []
    for hearing in heard:
        failing, steps = hearing.dates(counted)
        below += steps
        if failing:
            broken.setdefault(hearing.chosen.pack.id, failed(hearing.chosen.pack, hearing.due[0].text))
    if not below:
        return (), []
    text = "What comes with the permission; of several dates for one thing the earliest counts."
    return tuple(broken.values()), [Step(text, FAILED if broken else TRUE, steps=tuple(below))]


def _sooner(other: Due, due: Due) -> bool:
    """Whether another date always comes first: a shorter period from the same event."""
    return (
        due.kind is other.kind is ObligationKind.DESTROY_BY
        and (other.event, other.chain) == (due.event, due.chain)
        and (other.months, other.days) != (due.months, due.days)
        and other.months <= due.months
        and other.days <= due.days
    )


def _basis(heard: Sequence[Hearing], moment: Moment) -> tuple[int, ...]:
    """The entries relied on."""
    found: set[int] = set()
    if any(each.on_policy for each in heard) and moment.policy is not None:
        found.add(moment.policy.index)
    for each in heard:
        for held in each.chains:
            found.update(wording.chain_basis(held))
        for determination in each.determinations:
            found |= {determination.index, determination.approved_index}
    return tuple(sorted(index for index in found if index >= 0))
