"""What notices, policy and settings lack under each law, found by asking the packs themselves.

A planned use is judged twice: once as the registry is, once with the thing looked at made good. Where the second
permits and the first does not, the requirements that came round are what is lacking. Everything else is taken to be
right: the person was told and signed, protection holds. So a new pack is looked at without a line of new code, and
what no notice could mend (a ban, a fact of the single operation) is not held against one.

1. Regions in which the same packs apply are looked at together.
2. The tenant: its policy and settings, under a notice that says everything.
3. Each notice in effect or to come, under a tenant that has everything, for the purposes and categories it names;
   without recipients, then with each one that takes part.
4. Children: a minor's own signature instead of a representative's, where no representative was ever told.
5. A law under which none of these uses is permitted even so is named: posture cannot speak for it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.law.judge import PERMITS, Answers, rule_on
from consentry_server.core.law.lookup import Lookup
from consentry_server.core.law.model import Finding
from consentry_server.core.law.plan import REGULATED
from consentry_server.core.law.probes import complete_notice, completed, completed_tenant, person, requests
from consentry_server.core.law.requirements import match_determination
from consentry_server.core.law.situation import Moment, Situation, chains_of
from consentry_server.core.record.facts import Tenant
from consentry_server.core.vocabulary import AgeBand, DataCategory, Grade, Outcome, Purpose

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.plan import Plan
    from consentry_server.core.record.facts import Face, Notice, OperationRequest

ANY_RECIPIENT: Final = "any-recipient"
"""Stands for a recipient nobody has named."""
_LATER: Final = timedelta(minutes=10)
_PURPOSES: Final = (Purpose.TAGGING, Purpose.IDENTITY_VERIFICATION)
_CATEGORIES: Final = (DataCategory.PHOTO, DataCategory.FACE_TEMPLATE)
"""What is looked at where no notice says what the tenant does."""


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is lacking.

    Args:
        finding: What, under which rule; its outcome is what people would get.
        regions: Where that applies, sorted.
        about: Such as ``notice photo-tagging 3``, ``policy main 1``, ``setting permit_seconds``.
    """

    finding: Finding
    regions: tuple[str, ...]
    about: str


class Known(NamedTuple):
    """What the record says beside what the law decides on.

    Args:
        minors: Whether a person on record is a minor.
        consumers: Whether a person on record is a consumer, or of no known relationship.
        representatives: Whether a representative was ever told or has signed.
        processors: Recipients that take part in the processing; None: nobody has said.
    """

    minors: bool = False
    consumers: bool = False
    representatives: bool = False
    processors: frozenset[str] | None = None


class _Heard(NamedTuple):
    permits: bool
    reasons: tuple[Finding, ...]
    unmet: frozenset[int]
    """Identities of what is said where a requirement does not hold; packs make each such finding once."""


class Place(NamedTuple):
    """Regions in which the same packs apply.

    Args:
        regions: The regions, sorted.
        packs: The packs of laws that apply there, and the house packs.
    """

    regions: tuple[str, ...]
    packs: tuple[Pack, ...]


class _Court:
    """The packs of one place. It remembers plans of its own, so that those of the gate are left alone."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._lookup = Lookup(place.packs, frozenset(place.regions[:1]))
        self._uses: dict[tuple[object, ...], list[tuple[Plan, OperationRequest]]] = {}
        self.regulated: set[str] = set()
        self.permitted: set[str] = set()

    def plan(self, request: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> Plan:
        """What is asked."""
        return self._lookup.plan(self._lookup.docket(request, tenant, now), request, face)[0]

    def uses(
        self, purpose: Purpose, category: DataCategory, at: datetime, recipient: str, face: Face, tenant: Tenant
    ) -> list[tuple[Plan, OperationRequest]]:
        """The uses of one category for one purpose of which the packs ask different things, each once."""
        age = None if face.subject is None else face.subject.age_band
        key = (purpose, category, at, recipient, age)
        found = self._uses.get(key)
        if found is None:
            plans: dict[Plan, OperationRequest] = {}
            for request in requests(purpose, category, at, self.place.regions, recipient):
                plans.setdefault(self.plan(request, face, tenant, at), request)
            found = self._uses[key] = list(plans.items())
        return found

    def hear(self, request: OperationRequest, face: Face, tenant: Tenant, now: datetime) -> _Heard:
        """What follows, and which requirements do not hold by themselves."""
        plan = self.plan(request, face, tenant, now)
        s = Situation(Moment(request, tenant, now), face)
        asked: dict[Any, object] = {ask: ask(s) for ask in plan.plain}
        asked |= {sought: match_determination(s, sought) is not None for sought in plan.sought}
        chains = [] if s.subject is None else chains_of(s.subject, tenant)
        answers = [{ask: ask(s, chain) for ask in plan.chained} for chain in chains]
        ruling = rule_on(plan, Answers(asked, answers, True, [chain.is_complete for chain in chains]))
        unmet: set[int] = set()
        for section in plan.sections:
            for each in section.rules:
                for way in (each.own, *each.ways):
                    unmet |= {id(a.says) for a in way.plain if a.asks is None or asked[a.asks] is not True}
                    unmet |= {id(a.says) for a in way.chain if all(chain[a.asks] is not True for chain in answers)}
        self._note(plan, permits=ruling.outcome in PERMITS)
        return _Heard(ruling.outcome in PERMITS, ruling.reasons, frozenset(unmet))

    def _note(self, plan: Plan, *, permits: bool) -> None:
        laws = {section.pack.id for section in plan.sections if section.status in REGULATED}
        self.regulated |= laws
        if permits:
            self.permitted |= laws

    def lacking(self, heard: _Heard, good: _Heard) -> list[Finding]:
        """What came round between the two; nothing where even the good one does not permit."""
        if heard.permits or not good.permits:
            return []
        return [each for each in heard.reasons if id(each) in heard.unmet - good.unmet]


def places(packs: Sequence[Pack], regions: Collection[str], now: datetime) -> list[Place]:
    """Group regions by the packs that are in force there.

    Args:
        packs: The active packs.
        regions: The regions to look at.
        now: The ledger's clock, UTC.
    """
    running = [pack for pack in packs if pack.runs(now)]
    houses = tuple(pack for pack in running if pack.everywhere)
    found: dict[tuple[Pack, ...], list[str]] = {}
    for region in sorted(regions):
        laws = tuple(pack for pack in running if not pack.everywhere and region in pack.reach)
        found.setdefault(laws, []).append(region)
    return [Place(tuple(names), (*laws, *houses)) for laws, names in found.items()]


def derive(
    packs: Sequence[Pack], tenant: Tenant, regions: Collection[str], known: Known, now: datetime
) -> Iterator[list[Lack]]:
    """Ask the packs what is lacking, step by step: a step takes some tenths of a second.

    Args:
        packs: The active packs.
        tenant: What is known of the tenant, with its notices.
        regions: The regions to look at.
        known: What the record says beside that.
        now: The ledger's clock, UTC.

    Yields:
        What was found; the same thing may come once for each place.
    """
    notices = current(tenant, now)
    for place in places(packs, regions, now):  # (1)
        court = _Court(place)
        yield _of_tenant(court, tenant, notices, now)  # (2)
        if not notices:
            yield _no_notice(court, tenant, now)
        for notice in notices:  # (3)
            yield _of_notice(court, tenant, notice, known, now)
        if (known.minors or known.consumers) and not known.representatives:
            yield _of_minors(court, tenant, notices, known, now)  # (4)
        yield _unexamined(court)  # (5)


def merged(found: Iterable[Lack]) -> list[Lack]:
    """The same thing once, with all its regions; strictest first, then by law, thing and rule."""
    together: dict[tuple[Finding, str], list[Lack]] = {}
    for lack in found:
        together.setdefault((replace(lack.finding, outcome=Outcome.ALLOW), lack.about), []).append(lack)
    lacks: list[Lack] = []
    for same in together.values():
        worst = max(same, key=lambda lack: lack.finding.outcome.strictness)
        lacks.append(replace(worst, regions=tuple(sorted({region for lack in same for region in lack.regions}))))
    return sorted(lacks, key=_order)


def _order(lack: Lack) -> tuple[int, str, str, str, str]:
    finding = lack.finding
    return -finding.outcome.strictness, finding.pack_id, lack.about, finding.rule_id, finding.code


def current(tenant: Tenant, now: datetime) -> list[Notice]:
    """Of each notice the version in effect, and those that will be."""
    newest: dict[str, Notice] = {}
    coming: list[Notice] = []
    for (notice_id, version), notice in sorted(tenant.notices.items()):
        if notice.effective_time > now:
            coming.append(notice)
        elif notice_id not in newest or version > newest[notice_id].version:
            newest[notice_id] = notice
    return sorted([*newest.values(), *coming], key=lambda notice: (notice.notice_id, notice.version))


def scope_of(notices: Sequence[Notice]) -> tuple[list[Purpose], list[DataCategory]]:
    """The purposes and categories that the tenant's notices name."""
    purposes = {purpose for notice in notices for purpose in notice.purposes} or set(_PURPOSES)
    categories = {category for notice in notices for category in notice.categories} or set(_CATEGORIES)
    return sorted(purposes), sorted(categories)


def _of_tenant(court: _Court, tenant: Tenant, notices: Sequence[Notice], now: datetime) -> list[Lack]:
    notice = complete_notice()
    good = completed_tenant(tenant, notice)
    present = replace(tenant, notices=good.notices)
    found: list[Lack] = []
    for request, face in _uses(court, notices, notice, now):
        lacking = court.lacking(court.hear(request, face, present, now), court.hear(request, face, good, now))
        for finding in lacking:
            about = _mended_by(court, request, face, present, good, now, finding)
            found.append(Lack(finding, court.place.regions, about))
    return found


def _mended_by(
    court: _Court,
    request: OperationRequest,
    face: Face,
    present: Tenant,
    good: Tenant,
    now: datetime,
    finding: Finding,
) -> str:
    """Which part of the tenant's record makes the finding go away when it is made good."""
    for each in fields(good):
        value = getattr(good, each.name)
        if value == getattr(present, each.name):
            continue
        if id(finding) not in court.hear(request, face, replace(present, **{each.name: value}), now).unmet:
            if each.name == "policies":
                last = max(present.policies, key=lambda policy: policy.index, default=None)
                return "retention policy" if last is None else f"policy {last.policy_id} {last.version}"
            return f"setting {each.name}"
    return "tenant"


def _of_notice(court: _Court, tenant: Tenant, notice: Notice, known: Known, now: datetime) -> list[Lack]:
    at = max(now, notice.effective_time) + _LATER
    about = f"notice {notice.notice_id} {notice.version}"
    unsaid = known.processors is None and not notice.recipients
    found: list[Lack] = []
    for recipient in ["", *sorted((known.processors or frozenset()) - notice.recipients), *[ANY_RECIPIENT] * unsaid]:
        whole = completed(notice, recipient)
        good, present = completed_tenant(tenant, whole), completed_tenant(tenant, notice)
        naming = completed_tenant(tenant, replace(notice, recipients=whole.recipients))
        for request, face in _uses(court, [notice], whole, at, recipient):
            for finding in court.lacking(court.hear(request, face, present, at), court.hear(request, face, good, at)):
                told, named = finding, about
                if recipient and id(finding) not in court.hear(request, face, naming, at).unmet:
                    told = _unsaid(finding) if recipient == ANY_RECIPIENT else finding
                    named = about if recipient == ANY_RECIPIENT else f"{about}, recipient {recipient}"
                found.append(Lack(told, court.place.regions, named))
    return found


def _unsaid(finding: Finding) -> Finding:
    return replace(
        finding,
        text=f"{finding.text} It names none at all, and nobody has said that no processor takes part.",
        remedy=f"{finding.remedy} Or state in tenancy.processors who takes part; an empty list for nobody.",
    )


def _no_notice(court: _Court, tenant: Tenant, now: datetime) -> list[Lack]:
    notice = complete_notice()
    good = completed_tenant(tenant, notice)
    nothing = replace(good, notices={})
    found: list[Lack] = []
    for request, face in _uses(court, [], notice, now):
        for each in court.lacking(court.hear(request, face, nothing, now), court.hear(request, face, good, now)):
            told = replace(
                each,
                code="NOTICE_NONE",
                text="No notice is published, so that nobody can have been told anything.",
                remedy="Publish a notice that names purposes, data and a term; deliver it; then obtain releases.",
            )
            found.append(Lack(told, court.place.regions, "notices"))
    return found


def _of_minors(court: _Court, tenant: Tenant, notices: Sequence[Notice], known: Known, now: datetime) -> list[Lack]:
    notice = complete_notice()
    good = completed_tenant(tenant, notice)
    who = "Minors are on record" if known.minors else "Consumers are served, of whom some may be minors"
    found: list[Lack] = []
    for request, parent in _uses(court, notices, notice, now, age=AgeBand.MINOR, own=False):
        own = person(notice, now, court.place.regions[0], request.purpose, age=AgeBand.MINOR, own=True)
        for each in court.lacking(court.hear(request, own, good, now), court.hear(request, parent, good, now)):
            told = replace(each, text=f"{who}, and no representative was ever told or has signed. {each.text}")
            found.append(Lack(told, court.place.regions, "representatives"))
    return found


def _unexamined(court: _Court) -> list[Lack]:
    found: list[Lack] = []
    for pack in court.place.packs:
        if pack.everywhere or pack.id not in court.regulated - court.permitted:
            continue
        sheet = next((each for each in pack.sheets if each.reach.intersection(court.place.regions)), pack.sheets[0])
        row = sheet.parts.scope[0].text
        finding = Finding(
            code="NOT_EXAMINED",
            rule_id="POSTURE-NOT-EXAMINED",
            rule_version=1,
            pack_id=pack.id,
            citation=row.citation,
            grade=Grade.PRIMARY,
            text="No use that the notices name is permitted under this law, whatever notices and releases say.",
            remedy="Rehearse what is planned with `consentry simulate`: it shows what each operation has to add.",
            outcome=Outcome.REVIEW,
        )
        found.append(Lack(finding, court.place.regions, f"pack {pack.id} {pack.version}"))
    return found


def _uses(
    court: _Court,
    notices: Sequence[Notice],
    notice: Notice,
    at: datetime,
    recipient: str = "",
    *,
    age: AgeBand = AgeBand.ADULT,
    own: bool = True,
) -> Iterator[tuple[OperationRequest, Face]]:
    """The uses that notices name, each of which the packs ask something else of."""
    purposes, categories = scope_of(notices)
    whole = completed_tenant(Tenant(), notice)
    for purpose in purposes:
        seen: set[Plan] = set()  # what is signed differs from purpose to purpose
        face = person(notice, at, court.place.regions[0], purpose, age=age, own=own, recipient=recipient)
        for category in categories:
            for plan, request in court.uses(purpose, category, at, recipient, face, whole):
                if plan not in seen:
                    seen.add(plan)
                    yield request, face
