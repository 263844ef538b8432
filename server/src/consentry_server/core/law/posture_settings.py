"""What is lacking beside what packs ask: settings, addresses, dates, packs themselves. Written by hand, one row each.

None of these changes an answer of the gate today unless its outcome says so; each names the law or promise it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from consentry_server.core.law.clock import EVENTS, Event, add_period
from consentry_server.core.law.enforcement import is_observed
from consentry_server.core.law.model import Finding
from consentry_server.core.law.posture import Lack, current
from consentry_server.core.law.situation import parent, policy_in_force
from consentry_server.core.vocabulary import EU_MEMBERS, REGIONS, DataCategory, Grade, Operation, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.law.pack import Pack
    from consentry_server.core.record.facts import Notice, RetentionPolicy, Tenant

PUBLISHED_PERMIT_SECONDS: Final = 60
"""The bound that the contract publishes (``Decision.expire_time``)."""
YEAR: Final = timedelta(days=365)
SOON: Final = timedelta(days=30)
OWN: Final = "Consentry design"

_US: Final = frozenset(region for region in REGIONS if region.startswith("US"))
_EU_UK: Final = EU_MEMBERS | {"EU", "GB"}
_IL: Final = frozenset({"US-IL"})
_WA: Final = frozenset({"US-WA"})
_CO: Final = frozenset({"US-CO"})


class ScheduleLine(NamedTuple):
    """One line of the published retention schedule.

    Args:
        category: A word of ``DataCategory``.
        clock: What starts the period, a word of the contract's ``RetentionClock``.
        seconds: How long at most.
    """

    category: str
    clock: str
    seconds: int


class NoticeDetails(NamedTuple):
    """What a notice says beside what decisions rest on."""

    withdrawal_uri: str = ""
    states_paper_option: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the system, beside what the law decides on.

    Args:
        permit_seconds: Life of a permit.
        anchored: Whether somebody beside its keeper vouches for the ledger; says what is wrong, or is empty.
        bundled: The packs that this build carries.
        schedule: The retention schedule of the policy in force.
        details: What each notice says beside, by id and version.
    """

    permit_seconds: int
    anchored: str
    bundled: Sequence[Pack]
    schedule: Sequence[ScheduleLine]
    details: Mapping[tuple[str, int], NoticeDetails]


class _Law(NamedTuple):
    """A rule that is not a pack's."""

    rule_id: str
    citation: str
    grade: Grade
    regions: frozenset[str] | None = None


_ADDRESS: Final = (
    _Law("POSTURE-WITHDRAWAL-EU", "GDPR Art. 7(3)", Grade.SECONDARY, _EU_UK),
    _Law("POSTURE-WITHDRAWAL-WA", "RCW 19.373.030", Grade.PRIMARY, _WA),
    _Law("POSTURE-WITHDRAWAL-ESIGN", "15 U.S.C. 7001(c)(1)(B)", Grade.PRIMARY, _US),
)
_PAPER: Final = _Law("POSTURE-ESIGN-PAPER", "15 U.S.C. 7001(c)(1)", Grade.PRIMARY, _US)
_REVIEW: Final = _Law("POSTURE-YEARLY-REVIEW", "C.R.S. 6-1-1314(2)", Grade.SECONDARY, _CO)
_SCHEDULE: Final = (
    _Law("POSTURE-SCHEDULE-IL", "740 ILCS 14/15(a)", Grade.PRIMARY, _IL),
    _Law("POSTURE-SCHEDULE-CO", "C.R.S. 6-1-1314(2)", Grade.SECONDARY, _CO),
)
_PACK_MISSING: Final = _Law("POSTURE-PACK-MISSING", f"{OWN}: the strictest region wins", Grade.PRIMARY)
_PACK_OLD: Final = _Law("POSTURE-PACK-OLD", f"{OWN}: decisions follow the active packs", Grade.PRIMARY)
_PERMIT: Final = _Law("POSTURE-PERMIT-LIFE", f"{OWN}, promise 3: the bound on a withdrawal is published", Grade.PRIMARY)
_ANCHOR: Final = _Law("POSTURE-ANCHOR", "Fed. R. Evid. 803(6), 902(13), 902(14)", Grade.SECONDARY)
_DETERMINATION: Final = _Law("POSTURE-DETERMINATION", f"{OWN}: determinations expire", Grade.PRIMARY)
_OBSERVED: Final = _Law("POSTURE-OBSERVED", f"{OWN}: enforcement is switched on per operation", Grade.PRIMARY)


def settings_lacks(
    packs: Sequence[Pack], tenant: Tenant, regions: Collection[str], standing: Standing, now: datetime
) -> list[Lack]:
    """Look at everything that packs do not ask about.

    Args:
        packs: The active packs.
        tenant: What is known of the tenant, with its notices.
        regions: The regions to look at.
        standing: What is known of the system.
        now: The ledger's clock, UTC.
    """
    look = _Look(frozenset(regions))
    notices = current(tenant, now)
    policy = policy_in_force(tenant, now)
    return [
        *_packs(look, packs, standing, now),
        *_system(look, tenant, standing, now),
        *_notices(look, notices, standing),
        *_policy(look, packs, notices, policy, standing, now),
        *_reviews(look, tenant, policy, now),
    ]


class _Look(NamedTuple):
    """The regions that are looked at."""

    regions: frozenset[str]

    def lack(
        self, law: _Law, about: str, code: str, text: str, remedy: str, outcome: Outcome = Outcome.ALLOW
    ) -> Iterator[Lack]:
        """One thing that is lacking, where its law applies in one of the regions."""
        where = self.regions if law.regions is None else self.regions & law.regions
        if where:
            finding = Finding(code, law.rule_id, 1, "posture", law.citation, law.grade, text, remedy, outcome)
            yield Lack(finding, tuple(sorted(where)), about)


def _packs(look: _Look, packs: Sequence[Pack], standing: Standing, now: datetime) -> Iterator[Lack]:
    running = [pack for pack in packs if pack.runs(now)]
    bundled = {pack.id: pack for pack in standing.bundled}
    for region in sorted(_uncovered(look, running)):
        wider = _names(region)
        carried = [pack.id for pack in standing.bundled if not wider.isdisjoint(pack.regions) and pack.runs(now)]
        yield from _Look(frozenset({region})).lack(
            _PACK_MISSING,
            "packs",
            "PACK_MISSING",
            "No pack of a law of this region is active: the house rules alone answer there, and let no data leave.",
            f"Activate {', '.join(carried)}."
            if carried
            else "Activate a pack for this region, or take it out of gate.unknown_regions where nobody lives there.",
            Outcome.DENY,
        )
    for pack in packs:
        about = f"pack {pack.id} {pack.version}"
        where = _Look(look.regions if pack.everywhere else look.regions & pack.reach)
        newer = bundled.get(pack.id)
        if newer is not None and newer.version > pack.version:
            text = f"This build carries version {newer.version} of the pack; decisions follow version {pack.version}."
            remedy = "Start the server with this build, or activate the newer version."
            yield from where.lack(_PACK_OLD, about, "PACK_OLD", text, remedy, Outcome.REVIEW)
        if now.date() - pack.evaluated_as_of > YEAR:
            text = f"The law's text was last looked at on {pack.evaluated_as_of}, more than a year ago."
            yield from where.lack(_PACK_OLD, about, "PACK_STALE", text, "Read the law again and publish a new version.")
        if pack.ends is not None and now <= pack.ends < now + SOON:
            text = f"The pack ends on {pack.ends.date()}; from then on it answers for nobody."
            yield from where.lack(
                _PACK_OLD, about, "PACK_ENDS", text, "Activate the version that follows it.", Outcome.REVIEW
            )


def _names(region: str) -> frozenset[str]:
    """What a law of a region may call it: the region itself, or the union it is a member of."""
    return frozenset({region, "EU"} if parent(region) == "EU" else {region})


def _uncovered(look: _Look, packs: Sequence[Pack]) -> frozenset[str]:
    """The regions for which no pack of a law of their own is in force; a state's needs more than one of all states."""
    named = frozenset(region for pack in packs if not pack.everywhere for region in pack.regions)
    return frozenset(region for region in look.regions - {"US"} if _names(region).isdisjoint(named))


def _system(look: _Look, tenant: Tenant, standing: Standing, now: datetime) -> Iterator[Lack]:
    if standing.permit_seconds > PUBLISHED_PERMIT_SECONDS:
        yield from look.lack(
            _PERMIT,
            "setting permit_seconds",
            "PERMIT_LONG",
            f"A permit lives {standing.permit_seconds} seconds; the published bound on how late a withdrawal may reach"
            f" its holder is {PUBLISHED_PERMIT_SECONDS}.",
            f"Set gate.permit_seconds to {PUBLISHED_PERMIT_SECONDS} or less, or publish the longer bound.",
        )
    if standing.anchored:
        yield from look.lack(
            _ANCHOR,
            "ledger",
            "LEDGER_NOT_ANCHORED",
            f"The ledger is {standing.anchored}.",
            "Configure a timestamp authority or a witness: see [[anchors.timestamp]] and [[anchors.witness]].",
        )
    for operation in Operation:
        if is_observed(tenant.enforcement, operation, now):
            yield from look.lack(
                _OBSERVED,
                f"operation {operation}",
                "OPERATION_OBSERVED",
                "The operation is only observed: what would be denied is told, and stops nobody but the vault.",
                "Have an officer switch enforcing on.",
            )


def _notices(look: _Look, notices: Sequence[Notice], standing: Standing) -> Iterator[Lack]:
    for notice in notices:
        about = f"notice {notice.notice_id} {notice.version}"
        details = standing.details.get((notice.notice_id, notice.version), NoticeDetails())
        if not details.withdrawal_uri:
            for law in _ADDRESS:
                yield from look.lack(
                    law,
                    about,
                    "WITHDRAWAL_ADDRESS",
                    "The notice names no address at which a person withdraws.",
                    "Publish a version with withdrawal_uri, and say in its text how to withdraw.",
                )
        if not details.states_paper_option:
            yield from look.lack(
                _PAPER,
                about,
                "PAPER_OPTION",
                "The notice does not state the paper option, the consequences of withdrawal, and what hardware and"
                " software are needed.",
                "Publish a version whose text states them, with states_paper_option.",
            )


def _policy(
    look: _Look,
    packs: Sequence[Pack],
    notices: Sequence[Notice],
    policy: RetentionPolicy | None,
    standing: Standing,
    now: datetime,
) -> Iterator[Lack]:
    if policy is None:
        return  # the packs say so
    about = f"policy {policy.policy_id} {policy.version}"
    lined = {line.category for line in standing.schedule}
    for category in sorted({category for notice in notices for category in notice.categories} - {*map(_known, lined)}):
        for law in _SCHEDULE:
            yield from look.lack(
                law,
                about,
                "SCHEDULE_GAP",
                f"A notice names {category}, and the retention schedule has no line for it.",
                f"Publish a version of the policy whose schedule says how long {category} is kept.",
            )
    uncovered = _uncovered(look, [pack for pack in packs if pack.runs(now)])
    for sheet in (sheet for pack in packs for sheet in pack.sheets):
        where = _Look(uncovered if sheet.everywhere else look.regions & sheet.reach)
        for duty in sheet.parts.duties:
            limits = [c for c in duty.candidates if c.event is EVENTS[Event.LAST_INTERACTION]]
            for line in standing.schedule if limits else ():
                limit = min(add_period(now, c.months, c.days) for c in limits)
                reached = not duty.reach.categories or _known(line.category) in duty.reach.categories
                if (
                    line.clock != Event.LAST_INTERACTION
                    or not reached
                    or now + timedelta(seconds=line.seconds) <= limit
                ):
                    continue
                text = duty.text
                yield from where.lack(
                    _Law(text.id, text.citation, text.grade),
                    about,
                    "SCHEDULE_LONG",
                    f"The schedule keeps {line.category} for up to {line.seconds // 86_400} days after the last"
                    f" interaction; the law ends that on {limit.date()} for an interaction of today.",
                    "Shorten that line; until then the law's own date is what decisions give.",
                )


def _known(category: str) -> DataCategory | str:
    return DataCategory(category) if category in DataCategory.__members__ else category


def _reviews(look: _Look, tenant: Tenant, policy: RetentionPolicy | None, now: datetime) -> Iterator[Lack]:
    if policy is not None and now - policy.effective_time > YEAR:
        yield from look.lack(
            _REVIEW,
            f"policy {policy.policy_id} {policy.version}",
            "REVIEW_OVERDUE",
            f"The policy is of {policy.effective_time.date()}; whether keeping is still needed is to be reviewed every"
            " year.",
            "Review what is held, and publish the next version of the policy to put that on record.",
        )
    for made in tenant.determinations:
        about = f"determination {made.determination_id}"
        if made.expires_at <= now:
            continue
        if not made.active:
            text = f"The determination ({made.kind}) waits for a second officer, and allows nothing until then."
            remedy = "Have another officer approve it."
            yield from look.lack(_DETERMINATION, about, "DETERMINATION_WAITS", text, remedy, Outcome.REVIEW)
        elif made.expires_at < now + SOON:
            text = f"The determination ({made.kind}) expires on {made.expires_at.date()}; what rests on it ends then."
            remedy = "Review it, and record a new one before that day."
            yield from look.lack(_DETERMINATION, about, "DETERMINATION_EXPIRES", text, remedy, Outcome.REVIEW)
