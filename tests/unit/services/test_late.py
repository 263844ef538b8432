"""Late facts: what is recorded after an operation never makes that operation right (Cothron v. White Castle)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Determination, Face, Subject, Tenant
from consentry_server.core.vocabulary import (
    AgeBand,
    DeterminationKind,
    EntityType,
    KnownBy,
    NoticeChannel,
    Operation,
    Outcome,
    ProcessingResult,
    Purpose,
    Relationship,
)
from consentry_server.services.checks import ALLOWED, AskedFace, Checked
from consentry_server.services.gate import Processed
from consentry_server.services.late import face_then, size_before, tenant_then
from consentry_server.services.releases import Claims, DeliveryDraft
from tests.support.clocks import Clock
from tests.support.lineage import ask, begin, consent
from tests.support.rebuild import differences
from tests.support.stack import COLLECTOR, ILLINOIS, PROCESSOR, Stack, start

PURPOSE = Purpose.TAGGING
HOUR = timedelta(hours=1)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    made = await start(tmp_path, Clock())
    yield made
    ledger = made.running.folders.ledger
    await made.running.aclose()
    assert differences(ledger) == []


async def enroll(stack: Stack, occurred_at: datetime | None = None, person: str = "ana") -> Checked:
    """One check that says no region: what is on record of the person decides."""
    asked = AskedFace(subject_id=person, known_by=KnownBy.DECLARED_BY_UPLOADER)
    return await ask(stack, asked, operation=Operation.ENROLL, purpose=PURPOSE, occurred_at=occurred_at)


def codes(checked: Checked) -> set[str]:
    return {reason.code for reason in checked.decision.reasons}


async def test_a_release_recorded_after_the_operation_does_not_make_it_right(stack: Stack) -> None:
    await begin(stack)
    scanned = stack.clock.now
    stack.clock.forward(hours=1)
    await consent(stack, "ana")
    assert (await enroll(stack)).decision.outcome is Outcome.ALLOW
    late = await enroll(stack, scanned)
    assert (late.decision.outcome, late.late) == (Outcome.DENY, scanned)
    assert {"RECORDED_AFTER", "RELEASE_MISSING"} <= codes(late)
    entry = await stack.tenant.sequencer.submit(lambda book: book.entry(late.recorded.index))
    assert entry is not None
    assert (entry["late"], entry["occurred_at"][:19]) == (True, f"{scanned:%Y-%m-%dT%H:%M:%S}")


async def test_a_late_report_of_what_was_permitted_then_and_is_now_is_allowed_and_marked(stack: Stack) -> None:
    await begin(stack)
    await consent(stack, "ana")
    scanned = stack.clock.now
    stack.clock.forward(hours=1)
    late = await enroll(stack, scanned)
    assert (late.decision.outcome, late.late) == (Outcome.ALLOW, scanned)
    assert (await enroll(stack, stack.clock.now)).late is None


async def test_a_claim_of_a_time_before_a_withdrawal_gains_nothing(stack: Stack) -> None:
    await begin(stack)
    await consent(stack, "ana")
    before = stack.clock.now
    stack.clock.forward(hours=1)
    await stack.withdraw("ana")
    late = await enroll(stack, before)
    assert (late.decision.outcome, "RELEASE_WITHDRAWN" in codes(late)) == (Outcome.DENY, True)


async def test_the_future_is_refused_and_a_clock_that_is_a_little_ahead_is_now(stack: Stack) -> None:
    await begin(stack)
    await consent(stack, "ana")
    assert (await enroll(stack, stack.clock.now + timedelta(minutes=5))).late is None
    with pytest.raises(ConsentryError) as raised:
        await enroll(stack, stack.clock.now + timedelta(minutes=6))
    assert (raised.value.reason, raised.value.field) == (Reason.FIELD_INVALID, "occur_time")


async def test_a_time_before_the_ledger_began_permits_nothing(stack: Stack) -> None:
    await begin(stack)
    await consent(stack, "ana")
    late = await enroll(stack, stack.clock.now - timedelta(days=3650))
    assert late.decision.outcome is Outcome.DENY


async def test_an_entry_of_the_very_moment_is_not_before_it(stack: Stack) -> None:
    await begin(stack)
    stack.clock.forward(hours=1)
    at = stack.clock.now
    await stack.notice("another")

    def sizes(book: Any) -> tuple[int, int, int]:
        return size_before(book, at), size_before(book, at + timedelta(microseconds=1)), book.next_index

    before, after, size = await stack.tenant.sequencer.submit(sizes)
    assert (after, size) == (before + 1, before + 1)


@pytest.mark.parametrize(("size", "is_known"), [(10, True), (9, False), (0, False)])
def test_what_is_not_dated_one_by_one_is_unknown_before_it_was_recorded(size: int, is_known: bool) -> None:
    found = Subject(
        "sub_ana", ILLINOIS, AgeBand.ADULT, Relationship.EMPLOYEE, described_index=9, last_interaction=datetime.now(UTC)
    )
    then = face_then(Face(found), size, frozenset({"US-TX"})).subject
    assert then is not None
    assert then.regions == (ILLINOIS if is_known else ILLINOIS | {"US-TX"})
    assert then.age_band is (AgeBand.ADULT if is_known else AgeBand.UNKNOWN)
    assert then.relationship is (Relationship.EMPLOYEE if is_known else Relationship.UNKNOWN)
    assert then.last_interaction is None
    tenant = Tenant(EntityType.GOVERNMENT_AGENCY, encrypted_at_rest=True, settings_index=9)
    before = tenant_then(tenant, size)
    assert before.encrypted_at_rest is is_known
    assert before.entity_type is (EntityType.GOVERNMENT_AGENCY if is_known else EntityType.PRIVATE_ENTITY)


async def test_a_policy_published_after_the_operation_does_not_make_it_right(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    stack.clock.forward(seconds=1)
    scanned = stack.clock.now
    assert (await enroll(stack)).decision.outcome is Outcome.DENY
    stack.clock.forward(hours=1)
    await stack.policy()
    assert (await enroll(stack)).decision.outcome is Outcome.ALLOW
    late = await enroll(stack, scanned)
    assert (late.decision.outcome, codes(late)) == (Outcome.DENY, {"RECORDED_AFTER", "POLICY_MISSING"})


async def test_of_the_tenant_only_what_was_recorded_before_counts(stack: Stack) -> None:
    await begin(stack)
    tenant = await stack.tenant.sequencer.submit(lambda book: book.tenant)
    made = Determination(
        "det_1", 20, stack.clock.now, DeterminationKind.GLBA_TITLE_V, frozenset(), frozenset(), "", "", "",
        stack.clock.now + HOUR, "officer/a", "officer/b", 30,
    )  # fmt: skip
    tenant = replace(tenant, determinations=(made,))
    last = max(notice.index for notice in tenant.notices.values())
    whole = tenant_then(tenant, 31)
    assert (whole.packs, whole.policies, whole.notices) == (tenant.packs, tenant.policies, tenant.notices)
    assert whole.determinations == (made,)
    assert tenant_then(tenant, 30).determinations == ()  # recorded, and not approved yet
    assert tenant_then(tenant, last).notices == {}
    none = tenant_then(tenant, 0)
    assert (none.packs, none.policies, none.notices, none.determinations) == ((), (), {}, ())


def test_a_child_stays_a_child_whenever_it_was_learnt() -> None:
    then = face_then(Face(Subject("sub_ana", age_band=AgeBand.MINOR, described_index=9)), 3, ILLINOIS).subject
    assert then is not None
    assert then.age_band is AgeBand.MINOR


async def test_a_report_says_what_was_done_before_its_decision(stack: Stack) -> None:
    await begin(stack)
    await consent(stack, "ana")
    checked = await enroll(stack)
    for performed, without in ((stack.clock.now - HOUR, True), (stack.clock.now, None)):
        done = Processed(checked.decision_id, ProcessingResult.PERFORMED, performed, "hog-face", "1")
        answer = await stack.tenant.gate.record_processing(PROCESSOR, done)
        assert answer.entry.get("before_decision") is without
        assert answer.entry.get("without_permission") is without


EVENTS = st.one_of(
    st.just(("policy",)),
    st.just(("notice",)),
    st.just(("told",)),
    st.just(("signed",)),
    st.just(("consent",)),
    st.just(("consent",)),
    st.just(("withdraw",)),
    st.just(("satisfied",)),
    st.just(("interaction",)),
    st.tuples(st.just("claim"), st.sampled_from(["US-OH", "US-IL"]), st.sampled_from(list(Relationship))),
    st.tuples(st.just("pass"), st.sampled_from([60.0, 86_400.0 * 400])),
)


@settings(max_examples=60)
@given(st.lists(EVENTS, min_size=4, max_size=14))
def test_no_later_fact_makes_an_earlier_operation_right(happened: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), happened))


async def _live(folder: Path, happened: list[tuple[Any, ...]]) -> None:
    """Ask after each event, note the answer; then ask late about each of these moments, after every later event."""
    stack = await start(folder, Clock())
    answers: list[tuple[datetime, bool]] = []
    told = ""
    for each in happened:
        stack.clock.forward(seconds=1)
        told = await _happen(stack, each, told)
        stack.clock.forward(seconds=1)
        answers.append((stack.clock.now, (await enroll(stack)).decision.outcome in ALLOWED))
        stack.clock.forward(seconds=1)
        for moment, permitted in answers:
            late = await enroll(stack, moment)
            is_permitted = late.decision.outcome in ALLOWED
            assert not is_permitted or permitted, (happened, moment, each)
            assert not is_permitted or (await enroll(stack)).decision.outcome in ALLOWED
            event(f"{permitted} then, {is_permitted} late")
    await stack.running.aclose()


async def _happen(stack: Stack, each: tuple[Any, ...], told: str) -> str:
    registry = stack.tenant.registry
    try:
        match each:
            case ("policy",):
                await stack.policy()
            case ("notice",):
                await stack.notice("tagging", (PURPOSE,))
            case ("told",):
                told = await stack.deliver("ana")
            case ("signed",):
                await stack.release("ana", told)
            case ("consent",):
                await stack.policy()
                await stack.notice("tagging", (PURPOSE,))
                told = await stack.deliver("ana")
                await stack.release("ana", told)
            case ("withdraw",):
                await stack.withdraw("ana")
            case ("satisfied",):
                await registry.purpose_satisfied(COLLECTOR, "ana", frozenset({PURPOSE}), None, None)
            case ("interaction",):
                await registry.interaction(COLLECTOR, "ana", None, None)
            case ("claim", str(region), relationship):
                await stack.tenant.releases.deliver(
                    COLLECTOR,
                    DeliveryDraft(
                        subject_id="ana",
                        notice_id="tagging",
                        notice_version=stack.notices["tagging"],
                        channel=NoticeChannel.IN_APP,
                        delivered_at=stack.clock.now,
                        claims=Claims(regions=frozenset({region}), relationship=relationship),
                    ),
                )
            case ("pass", float(seconds)):
                stack.clock.forward(seconds=seconds)
    except (ConsentryError, KeyError):
        pass  # there was no notice, no person, no release yet
    return told
