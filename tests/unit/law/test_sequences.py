"""Every sequence of up to six events, folded from entries as the server folds them, and decided after each.

The model beside it knows the law of one thing alone: which release is live, for which purpose. Prefixes are shared: a
state is folded once, and all its continuations start from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from consentry_server.core.law import decide, load_pack
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.facts import Face, Notice, OperationRequest, Subject, Tenant, Term
from consentry_server.core.record.fold import TENANT_KEY, apply, notice_key
from consentry_server.core.vocabulary import (
    AgeBand,
    ConsentScope,
    DataCategory,
    DeterminationKind,
    KnownBy,
    NoticeChannel,
    Operation,
    Outcome,
    Purpose,
    Relationship,
    SignerRole,
)
from consentry_server.tenant import bundled_packs
from tests.unit.law.worlds import (
    HASH,
    NOW,
    PERMITS,
    days,
    make_determination,
    make_notice,
    make_policy,
    make_release,
    make_request,
)

EVENTS = ("notice", "release", "withdrawal", "interaction", "hold", "expiry", "notice change")
DEPTH = 6
RELEASE_LIVES = days(100)
EXPIRY = days(101)
TERM = days(150)
HOLD_LIVES = days(5000)
PACKS = tuple(pack for pack, _ in bundled_packs())
WHO = "sub-anna"

TAG = make_request(Operation.EXTRACT_TEMPLATE)
SECURE = make_request(Operation.EXTRACT_TEMPLATE, purpose=Purpose.ACCOUNT_SECURITY)
KEEP = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE)
REQUESTS = (TAG, SECURE, KEEP)


class Signed(NamedTuple):
    """A release as the model sees it: which version of the notice had been delivered, 0 for none, and until when."""

    version: int
    until: datetime


@dataclass(frozen=True)
class State:
    """The records that the fold made, and beside them what the model thinks."""

    records: dict[tuple[type, str], Any]
    index: int
    now: datetime
    published: int
    told: int
    """The version delivered last; 0 where none was."""
    signed: tuple[Signed, ...]
    """Releases that are not withdrawn."""
    held: bool

    def get(self, kind: type, key: str) -> Any:
        return self.records.get((kind, key))

    def put(self, kind: type, key: str, record: Any) -> None:
        self.records[kind, key] = record

    def fold(self, entry_type: str, **body: Any) -> None:
        apply(self, {"type": entry_type, "index": self.index, "time": format_time(self.now), **body})

    def is_live(self, purpose: Purpose) -> bool:
        """Told of this purpose, first; then signed; not withdrawn; not expired."""
        named = 2 if purpose is Purpose.ACCOUNT_SECURITY else 1
        return any(each.version >= named and self.now < each.until for each in self.signed)


def purposes_of(version: int) -> frozenset[Purpose]:
    """What a version of the notice names: a change adds a purpose."""
    return frozenset({Purpose.TAGGING} if version < 2 else {Purpose.TAGGING, Purpose.ACCOUNT_SECURITY})


def notice_of(version: int, now: datetime) -> dict[str, Any]:
    made = make_notice(
        version=version, index=0, effective_time=now, purposes=purposes_of(version), term=Term(duration=TERM)
    )
    plain: dict[str, Any] = to_plain(made)
    return plain


def beginning(regions: frozenset[str]) -> State:
    state = State({}, 0, NOW, published=1, told=0, signed=(), held=False)
    tenant = Tenant(encrypted_at_rest=True, encrypted_in_transit=True, protection_at_least_other_sensitive=True)
    state.put(Tenant, TENANT_KEY, tenant)
    state.put(Subject, WHO, Subject(WHO, regions=regions, age_band=AgeBand.ADULT, relationship=Relationship.CONSUMER))
    state = replace(state, index=1)
    state.fold("policy.published", policy=to_plain(make_policy(index=0, effective_time=NOW)))
    state = replace(state, index=2)
    state.fold("notice.published", notice=notice_of(1, NOW))
    return state


def after(before: State, event: str) -> State:
    """One event later; the state before is left as it is."""
    now = before.now + (EXPIRY if event == "expiry" else timedelta(hours=1))
    state = replace(before, records=dict(before.records), index=before.index + 1, now=now)
    people = [{"subject_ref": WHO}]
    if event == "notice":
        delivery = {
            "delivery_id": f"dlv_{state.index}",
            "occurred_at": format_time(now),
            "notice_id": "notice",
            "notice_version": state.published,
            "channel": NoticeChannel.IN_APP,
            "signer_role": SignerRole.SELF,
            "acknowledged": True,
            "vouching": "CALLER_ASSERTED",
        }
        state.fold("notice.delivered", delivery=delivery, people=people)
        return replace(state, told=state.published)
    if event == "release":
        deliveries = state.get(Subject, WHO).deliveries
        release = make_release(
            release_id=f"rel_{state.index}",
            index=0,
            time=now,
            signed_at=now,
            delivery_id=deliveries[-1].delivery_id if deliveries else "dlv_none",
            notice_version=state.told or state.published,
            purposes=purposes_of(state.told or state.published),
            scopes=frozenset(ConsentScope),
            expires_at=now + RELEASE_LIVES,
            signed_document_sha256=HASH,
        )
        state.fold("release.recorded", release=to_plain(release), people=people)
        return replace(state, signed=(*state.signed, Signed(state.told, now + RELEASE_LIVES)))
    if event == "withdrawal":
        gone = [release.release_id for release in state.get(Subject, WHO).releases]
        state.fold("release.withdrawn", releases=gone, all=True, people=people)
        return replace(state, signed=())
    if event == "interaction":
        state.fold("interaction.recorded", people=people)
        return state
    if event == "hold":
        determination_id = f"det_{state.index}"
        made = make_determination(
            DeterminationKind.LEGAL_PROCESS,
            determination_id=determination_id,
            index=0,
            time=now,
            operations=frozenset({Operation.RETAIN}),
            purposes=frozenset({Purpose.TAGGING}),
            subject_ref=WHO,
            expires_at=now + HOLD_LIVES,
            approved_by="",
            approved_index=-1,
        )
        state.fold("determination.recorded", determination=to_plain(made))
        state.fold("determination.approved", determination_id=determination_id, approved_by="officer-b")
        return replace(state, held=True)
    if event == "notice change":
        version = state.published + 1
        state.fold("notice.published", notice=notice_of(version, now))
        return replace(state, published=version)
    assert event == "expiry"
    return state


def outcome(state: State, request: OperationRequest, packs: Any = PACKS) -> Outcome:
    versions = range(1, state.published + 1)
    notices = {("notice", each): state.get(Notice, notice_key("notice", each)) for each in versions}
    tenant = replace(state.get(Tenant, TENANT_KEY), notices=notices)
    face = Face(state.get(Subject, WHO), KnownBy.DECLARED_BY_UPLOADER)
    decision = decide(request, (face,), tenant, packs, now=state.now, unknown_regions=frozenset({"US-IL"}))
    return decision.outcome


def every_state(regions: frozenset[str], depth: int) -> Iterator[tuple[tuple[str, ...], State]]:
    """Each sequence of up to so many events, with the state it leads to."""
    waiting: list[tuple[tuple[str, ...], State]] = [((), beginning(regions))]
    while waiting:
        events, state = waiting.pop()
        yield events, state
        if len(events) < depth:
            waiting += [((*events, event), after(state, event)) for event in EVENTS]


@pytest.mark.timeout(300)
def test_no_sequence_of_six_events_permits_without_a_live_release() -> None:
    """Illinois, both ways: permitted exactly where a release is live, or where a court's hold lets it be kept."""
    count: Counter[object] = Counter()
    for events, state in every_state(frozenset({"US-IL"}), DEPTH):
        count["sequences"] += 1
        for request in REQUESTS if len(events) < DEPTH else (TAG,):
            live = state.is_live(request.purpose) or (request is KEEP and state.held)
            got = outcome(state, request)
            assert got is (Outcome.ALLOW if live else Outcome.DENY), (events, request.operation, request.purpose, got)
            count[got] += 1
    assert count["sequences"] == sum(len(EVENTS) ** length for length in range(DEPTH + 1))
    assert count[Outcome.ALLOW] > 10_000
    assert count[Outcome.DENY] > 10_000


CONSENT_REGIONS = ["US-TX", "US-CO", "US-WA", "US-MD", "US-VA", "US-CT", "US-OH", "DE", "GB", "US"]
"""Where a biometric identifier is made or kept with consent alone: statutes.md 2 to 6, and the house elsewhere."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("region", CONSENT_REGIONS)
def test_no_sequence_of_six_permits_without_a_live_release_elsewhere(region: str) -> None:
    for events, state in every_state(frozenset({region}), DEPTH):
        for request in (TAG, SECURE) if len(events) < DEPTH else (TAG,):
            if not state.is_live(request.purpose):
                assert outcome(state, request) not in PERMITS, (events, request.purpose)


def test_the_model_sees_a_law_that_forgets_withdrawals() -> None:
    """What the sweeps above look for is there to be found: one requirement less, and a sequence of three shows it."""
    rule = b'  "release-not-withdrawn",\n'
    loose = tuple(
        load_pack(data.replace(rule, b"") if pack.id == "us-il-bipa" else data, name=pack.id)
        for pack, data in bundled_packs()
    )
    wrong = [
        events
        for events, state in every_state(frozenset({"US-IL"}), 3)
        if not state.is_live(TAG.purpose) and outcome(state, TAG, loose) in PERMITS
    ]
    assert ("notice", "release", "withdrawal") in wrong
