"""Observed-only answers: said in every answer, no permit, and the vault stays shut to what would be denied."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.permit import Permit
from consentry_server.core.vocabulary import Operation, Outcome, Purpose
from consentry_server.services.context import Caller, RequestKey
from consentry_server.services.enforcement import MAX_WAITING, SwitchDraft
from tests.support.clocks import Clock
from tests.support.stack import OFFICER, PROCESSOR, SECOND_OFFICER, Stack, face, start

SHA256 = hashlib.sha256(b"photo").digest()
HOUR = timedelta(hours=1)


@pytest.fixture
async def stack(tmp_path: Path, clock: Clock) -> AsyncIterator[Stack]:
    made = await start(tmp_path, clock)
    yield made
    await made.running.aclose()


@pytest.fixture
def portrait(photos: Path) -> bytes:
    return (photos / "portrait.jpg").read_bytes()


async def switch(
    stack: Stack,
    *,
    enforced: bool,
    operation: Operation = Operation.ENROLL,
    after: timedelta = timedelta(0),
    caller: Caller = OFFICER,
) -> str:
    draft = SwitchDraft(operation, enforced, stack.clock.now + after)
    made, _ = await stack.tenant.enforcement.switch(caller, draft)
    assert made is not None
    return made.enforcement_id


async def observe(stack: Stack, operation: Operation = Operation.ENROLL, after: timedelta = timedelta(0)) -> None:
    enforcement_id = await switch(stack, enforced=False, operation=operation, after=after)
    await stack.tenant.enforcement.approve(SECOND_OFFICER, enforcement_id, None)


async def test_everything_is_enforced_until_two_officers_say_otherwise(stack: Stack) -> None:
    await stack.policy()
    assert not (await stack.check(face("eileen"), sha256=SHA256)).observed_only
    enforcement_id = await switch(stack, enforced=False)
    assert not (await stack.check(face("eileen"), sha256=SHA256)).observed_only
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.enforcement.approve(OFFICER, enforcement_id, None)
    assert raised.value.reason is Reason.SECOND_APPROVER_REQUIRED
    await stack.tenant.enforcement.approve(SECOND_OFFICER, enforcement_id, None)
    checked = await stack.check(face("eileen"), sha256=SHA256)
    assert (checked.observed_only, checked.decision.outcome, checked.permit) == (True, Outcome.DENY, "")
    other = await stack.check(face("eileen"), sha256=SHA256, operation=Operation.IDENTIFY)
    assert not other.observed_only
    await switch(stack, enforced=True)
    assert not (await stack.check(face("eileen"), sha256=SHA256)).observed_only


async def test_an_observed_allow_carries_no_permit_and_is_recorded_as_observed(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    assert (await stack.check(face("eileen"), sha256=SHA256)).permit
    await observe(stack)
    checked = await stack.check(face("eileen"), sha256=SHA256)
    assert (checked.decision.outcome, checked.observed_only, checked.permit) == (Outcome.ALLOW, True, "")
    entries = await stack.tenant.registry.entries([checked.recorded.index])
    said = entries[checked.recorded.index][1]
    assert said["observed_only"] is True
    assert "permit" not in said


async def test_a_switch_counts_from_its_time_on_and_never_before_its_approval(stack: Stack) -> None:
    await stack.policy()
    with pytest.raises(ConsentryError) as raised:
        await switch(stack, enforced=False, after=-HOUR)
    assert raised.value.reason is Reason.FIELD_INVALID
    await observe(stack, after=HOUR)
    assert not (await stack.check(face("eileen"), sha256=SHA256)).observed_only
    stack.clock.now += HOUR
    assert (await stack.check(face("eileen"), sha256=SHA256)).observed_only
    stale = await switch(stack, enforced=False, operation=Operation.IDENTIFY)
    stack.clock.now += HOUR
    made, _ = await stack.tenant.enforcement.approve(SECOND_OFFICER, stale, None)
    assert made is not None
    assert made.effective_time == stack.clock.now


async def test_enforcing_overtakes_an_observing_switch_that_waits(stack: Stack) -> None:
    waiting = await switch(stack, enforced=False, after=HOUR)
    await switch(stack, enforced=True, after=2 * HOUR)
    soon = await switch(stack, enforced=True, after=HOUR)
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.enforcement.approve(SECOND_OFFICER, soon, None)
    assert raised.value.reason is Reason.STATE_CONFLICT
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.enforcement.approve(SECOND_OFFICER, waiting, None)
    assert raised.value.reason is Reason.STATE_CONFLICT
    await switch(stack, enforced=True)
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.enforcement.approve(SECOND_OFFICER, waiting, None)
    assert raised.value.reason is Reason.NOT_FOUND


async def test_switches_that_wait_are_bounded_and_cleared_by_enforcing(stack: Stack) -> None:
    for number in range(MAX_WAITING + 1):
        await switch(stack, enforced=bool(number % 2), after=HOUR)
    for enforced in (False, True):
        with pytest.raises(ConsentryError) as raised:
            await switch(stack, enforced=enforced, after=HOUR)
        assert raised.value.reason is Reason.STATE_CONFLICT
    await switch(stack, enforced=True)
    await switch(stack, enforced=False)


async def test_a_repeated_request_gets_no_permit_from_before_the_switch(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    key = RequestKey(b"k" * 32, b"b" * 32)
    enforced = await stack.check(face("eileen"), sha256=SHA256, key=key)
    assert enforced.permit
    await observe(stack)
    again = await stack.check(face("eileen"), sha256=SHA256, key=key)
    assert (again.observed_only, again.permit) == (True, "")
    assert again.decision_id != enforced.decision_id
    same = await stack.check(face("eileen"), sha256=SHA256, key=key)
    assert (same.decision_id, same.observed_only, same.permit) == (again.decision_id, True, "")


async def test_the_vault_stays_shut_to_an_observed_decision(stack: Stack, portrait: bytes) -> None:
    """Even a permit that somebody could make out for an observed ALLOW opens nothing; nor does the vault observe."""
    await observe(stack, Operation.STORE)
    refused = await stack.upload(portrait)  # no policy: what would be denied is not stored
    assert refused.photo is None
    assert refused.checked is not None
    assert not refused.checked.observed_only
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    await observe(stack)
    checked = await stack.check(face("eileen"), photo_id=uploaded.photo.photo_id)
    assert (checked.decision.outcome, checked.observed_only, checked.permit) == (Outcome.ALLOW, True, "")
    forged = stack.tenant.gate._issuer.sign_permit(  # what no caller can do
        Permit(
            issuer=stack.running.ledger,
            audience=PROCESSOR.name,
            decision_id=checked.decision_id,
            operation=Operation.ENROLL,
            purpose=Purpose.TAGGING,
            photo_sha256=hashlib.sha256(portrait).hexdigest(),
            faces=(),
            biometric=True,
            ledger_index=checked.recorded.index,
            leaf_hash=checked.recorded.leaf_hash.hex(),
            issued_at=checked.recorded.time,
            expires_at=checked.expires_at,
        )
    )
    with pytest.raises(ConsentryError) as raised:
        await stack.open_photo(forged)
    assert raised.value.reason is Reason.BASIS_GONE
    with pytest.raises(ConsentryError) as raised:
        await stack.store_identifier(forged)
    assert raised.value.reason is Reason.PERMIT_MISMATCH


async def test_a_permit_from_before_the_switch_opens_only_what_is_allowed_now(stack: Stack, portrait: bytes) -> None:
    await stack.policy()
    await stack.notice()
    released = await stack.consent("eileen")
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    enforced = await stack.check(face("eileen"), photo_id=uploaded.photo.photo_id)
    await observe(stack)
    assert await stack.open_photo(enforced.permit) == portrait
    await stack.withdraw("eileen", released.release.release_id)
    with pytest.raises(ConsentryError) as raised:
        await stack.open_photo(enforced.permit)
    assert raised.value.reason is Reason.BASIS_GONE


@pytest.mark.parametrize("seed", range(3))
async def test_the_vault_never_opens_what_would_be_denied(stack: Stack, portrait: bytes, seed: int) -> None:
    """Whatever officers switch and people sign or withdraw, in any order: an opening needs an ALLOW of now."""
    chance = random.Random(seed)  # a walk that can be repeated
    await stack.policy()
    await stack.notice()
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    photo_id = uploaded.photo.photo_id
    permits: list[tuple[str, str]] = []
    observing = waiting = ""
    released = ""
    opened = observed = 0
    steps = ["observe", "enforce", *["approve"] * 2, "consent", "withdraw", *["check"] * 4, *["open"] * 3]
    for _ in range(200):
        match chance.choice(steps):
            case "observe" if not waiting and not observing:
                waiting = await switch(stack, enforced=False)
            case "approve" if waiting:
                await stack.tenant.enforcement.approve(SECOND_OFFICER, waiting, None)
                waiting, observing = "", waiting
            case "enforce":
                await switch(stack, enforced=True)
                waiting = observing = ""
            case "consent" if not released:
                released = (await stack.consent("eileen")).release.release_id
            case "withdraw" if released:
                await stack.withdraw("eileen", released)
                released = ""
            case "check":
                checked = await stack.check(face("eileen"), photo_id=photo_id)
                assert checked.observed_only is bool(observing)
                assert checked.decision.outcome is (Outcome.ALLOW if released else Outcome.DENY)
                assert bool(checked.permit) is bool(released and not observing)
                observed += checked.observed_only
                if checked.permit:
                    permits.append((checked.permit, released))
            case "open" if permits:
                permit, basis = chance.choice(permits)
                if basis == released:
                    assert await stack.open_photo(permit, photo_id) == portrait
                    opened += 1
                else:
                    with pytest.raises(ConsentryError) as raised:
                        await stack.open_photo(permit, photo_id)
                    assert raised.value.reason is Reason.BASIS_GONE
        stack.clock.forward(seconds=0.1)
    assert opened
    assert observed
