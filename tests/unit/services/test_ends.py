"""What ends a purpose: an employment, a finding that holding is unnecessary, a closed account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.clock import EVENTS, Event
from consentry_server.core.law.situation import NO_CHAIN, Moment, Situation
from consentry_server.core.record.facts import Face, OperationRequest, Tenant, Term
from consentry_server.core.vocabulary import (
    DataCategory,
    KnownBy,
    NoticeChannel,
    Operation,
    Outcome,
    Purpose,
    Relationship,
    TermEnd,
)
from consentry_server.services.context import RequestKey
from consentry_server.services.releases import Claims, DeliveryDraft
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import COLLECTOR, Stack, face, start

TAGGING = frozenset({Purpose.TAGGING})


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    made = await start(tmp_path, Clock())
    await made.policy()
    yield made
    ledger = made.running.folders.ledger
    await made.running.aclose()
    assert differences(ledger) == []


async def enrolled(stack: Stack, person: str = "ana", purpose: Purpose = Purpose.TAGGING) -> str:
    checked = await stack.check(face(person), sha256=b"s" * 32, purpose=purpose)
    assert checked.decision.outcome is Outcome.ALLOW
    stored = await stack.store_identifier(checked.permit)
    assert stored.identifier is not None
    return stored.identifier.identifier_id


async def outcome(stack: Stack, purpose: Purpose = Purpose.TAGGING) -> Outcome:
    return (await stack.check(face("ana"), purpose=purpose, want_permit=False)).decision.outcome


async def kept(stack: Stack) -> tuple[str, ...]:
    subject, _ = await stack.tenant.registry.subject("ana", "")
    return subject.identifiers


async def found(stack: Stack, reason: str = "", *, days_ago: int = 0, key: RequestKey | None = None) -> str:
    occurred = stack.clock.now - timedelta(days=days_ago) if days_ago else None
    _, destruction_id = await stack.tenant.ends.found_unnecessary(COLLECTOR, "ana", TAGGING, occurred, reason, key)
    return destruction_id


async def test_what_is_found_unnecessary_serves_nothing_more_and_is_kept_for_45_days(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    identifier_id = await enrolled(stack)
    at = stack.clock.now
    assert await found(stack) == ""
    assert await outcome(stack) is Outcome.DENY
    assert await kept(stack) == (identifier_id,)
    subject, _ = await stack.tenant.registry.subject("ana", "")
    held = subject.found_unnecessary(Purpose.TAGGING)
    assert held is not None
    assert held.destroy_by == at + timedelta(days=45)
    request = OperationRequest(Operation.RETAIN, Purpose.TAGGING, DataCategory.FACE_TEMPLATE, stored=True)

    def retained() -> bool:
        return stack.tenant.gate.consider(book, request, [Face(subject, KnownBy.MATCH)]).outcome is Outcome.ALLOW

    stack.clock.forward(days=44)
    book = await stack.tenant.sequencer.submit(lambda book: book)
    assert retained()
    stack.clock.forward(days=1)
    book = await stack.tenant.sequencer.submit(lambda book: book)
    assert not retained()


async def test_the_days_are_extended_once_with_a_reason_and_not_when_they_are_over(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    await found(stack)
    with pytest.raises(ConsentryError) as raised:
        await found(stack)
    assert (raised.value.reason, raised.value.field) == (Reason.STATE_CONFLICT, "purposes")
    await found(stack, "an audit is under way")
    subject, _ = await stack.tenant.registry.subject("ana", "")
    assert [(each.destroy_by - each.time).days for each in subject.unnecessary] == [90]
    with pytest.raises(ConsentryError) as raised:
        await found(stack, "and another one")
    assert "once" in raised.value.message


async def test_days_that_are_over_are_not_extended(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    await found(stack)
    stack.clock.forward(days=45)
    with pytest.raises(ConsentryError) as raised:
        await found(stack, "too late")
    assert "over" in raised.value.message


async def test_the_days_count_from_the_finding_and_a_claim_only_brings_them_forward(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    await enrolled(stack)
    stack.clock.forward(days=60)
    destruction_id = await found(stack, days_ago=50)
    assert destruction_id
    assert await kept(stack) == ()


async def test_a_finding_told_after_its_days_are_over_is_not_extended_with_its_report(stack: Stack) -> None:
    """C.R.S. 6-1-1314(2)(c): the one extension is asked for before the 45 days are over."""
    await stack.notice()
    await stack.consent("ana")
    await enrolled(stack)
    stack.clock.forward(days=60)
    with pytest.raises(ConsentryError) as raised:
        await found(stack, "an audit is under way", days_ago=50)
    assert (raised.value.reason, raised.value.field) == (Reason.STATE_CONFLICT, "purposes")
    await found(stack, "an audit is under way", days_ago=44)


async def test_a_purpose_released_anew_after_the_finding_counts_anew(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    await found(stack)
    assert await outcome(stack) is Outcome.DENY
    stack.clock.forward(hours=1)
    await stack.consent("ana")
    assert await outcome(stack) is Outcome.ALLOW
    await found(stack)
    assert await outcome(stack) is Outcome.DENY


async def test_a_pack_can_count_from_the_finding(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    request = OperationRequest(Operation.RETAIN, Purpose.TAGGING, DataCategory.FACE_TEMPLATE)
    at = stack.clock.now
    dates = []
    for reason in ("", "an audit is under way"):
        await found(stack, reason)
        subject, _ = await stack.tenant.registry.subject("ana", "")
        situation = Situation(Moment(request, Tenant(), stack.clock.now), Face(subject))
        dates.append(EVENTS[Event.FOUND_UNNECESSARY](situation, NO_CHAIN))
    assert dates == [at, at + timedelta(days=45)]


async def test_the_same_finding_is_recorded_once(stack: Stack) -> None:
    await stack.notice()
    await stack.consent("ana")
    key = RequestKey(b"k" * 32, b"b" * 32)
    await found(stack, key=key)
    await found(stack, key=key)


async def test_an_account_that_is_closed_ends_the_term_bound_to_it(stack: Stack) -> None:
    await stack.notice(term=Term(end=TermEnd.ACCOUNT_CLOSED))
    await stack.consent("ana")
    await enrolled(stack)
    assert await outcome(stack) is Outcome.ALLOW
    answer, destruction_id = await stack.tenant.ends.account_closed(COLLECTOR, "ana", None, None)
    assert (answer.entry["type"], bool(destruction_id)) == ("account.closed", True)
    assert await outcome(stack) is Outcome.DENY
    assert await kept(stack) == ()


async def test_the_end_of_an_employment_ends_its_purposes_whatever_the_form_of_the_release(stack: Stack) -> None:
    """A written consent for the time clock ends with the job; one for tagging the same person does not."""
    await stack.notice("clock", (Purpose.TIMEKEEPING,))
    await stack.notice()
    for notice_id, purpose in (("clock", Purpose.TIMEKEEPING), ("tagging", Purpose.TAGGING)):
        delivery, _ = await stack.tenant.releases.deliver(
            COLLECTOR,
            DeliveryDraft(
                subject_id="ana",
                notice_id=notice_id,
                notice_version=1,
                channel=NoticeChannel.IN_APP,
                delivered_at=stack.clock.now,
                claims=Claims(regions=frozenset({"US-IL"}), relationship=Relationship.EMPLOYEE),
            ),
        )
        await stack.release("ana", delivery.delivery_id, notice_id, (purpose,))
    await enrolled(stack, purpose=Purpose.TIMEKEEPING)
    tagged = await enrolled(stack)
    _, destruction_id = await stack.tenant.registry.employment_ended(COLLECTOR, "ana", None, None)
    assert destruction_id
    assert await outcome(stack, Purpose.TIMEKEEPING) is Outcome.DENY
    assert await outcome(stack) is Outcome.ALLOW
    assert await kept(stack) == (tagged,)
