"""The main job without the network: refused, allowed after notice and release, lost on withdrawal."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Box, Destruction, OperationRequest
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    DataCategory,
    DestructionStage,
    Operation,
    Outcome,
    Purpose,
    SignerRole,
)
from consentry_server.services.book import Book
from consentry_server.services.checks import Asked
from consentry_server.services.context import RequestKey
from consentry_server.services.releases import Signer
from tests.support.clocks import Clock
from tests.support.stack import COLLECTOR, PROCESSOR, Stack, face, start


@pytest.fixture
async def stack(tmp_path: Path, clock: Clock) -> AsyncIterator[Stack]:
    made = await start(tmp_path, clock)
    yield made
    await made.running.aclose()


@pytest.fixture
def portrait(photos: Path) -> bytes:
    return (photos / "portrait.jpg").read_bytes()


@pytest.fixture
def two_people(photos: Path) -> bytes:
    return (photos / "two-people.jpg").read_bytes()


async def test_the_main_job(stack: Stack, portrait: bytes) -> None:
    refused = await stack.upload(portrait)
    assert refused.photo is None
    assert refused.checked is not None
    assert refused.checked.decision.outcome is Outcome.DENY
    await stack.policy()
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    photo_id = uploaded.photo.photo_id

    before = await stack.check(face("eileen"), photo_id=photo_id)
    assert before.decision.outcome is Outcome.DENY
    assert before.permit == ""

    await stack.notice()
    await stack.consent("eileen")
    allowed = await stack.check(face("eileen"), photo_id=photo_id)
    assert allowed.decision.outcome is Outcome.ALLOW
    assert await stack.open_photo(allowed.permit) == portrait
    stored = await stack.store_identifier(allowed.permit)
    assert stored.identifier is not None

    verify = await stack.check(face("eileen"), operation=Operation.VERIFY, photo_id=photo_id)
    template = await stack.open_identifier(verify.permit, stored.identifier.identifier_id)
    assert template == b"\x01" * 512

    (destruction_id,) = await stack.withdraw("eileen")
    with pytest.raises(ConsentryError) as raised:
        await stack.open_photo(allowed.permit)
    assert raised.value.reason is Reason.BASIS_GONE
    with pytest.raises(ConsentryError) as raised:
        await stack.open_identifier(verify.permit, stored.identifier.identifier_id)
    assert raised.value.reason is Reason.DESTROYED
    after = await stack.check(face("eileen"), photo_id=photo_id)
    assert after.decision.outcome is Outcome.DENY
    certificate = await stack.tenant.retention.certificate(destruction_id)
    assert certificate.destruction.stage is DestructionStage.COMPLETED
    assert certificate.remaining


async def test_a_bystander_is_refused_and_masked(stack: Stack, two_people: bytes) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    uploaded = await stack.upload(two_people)
    assert uploaded.photo is not None
    checked = await stack.check(
        face("eileen", Box(60, 100, 200, 200)), face("", Box(450, 100, 200, 200)), photo_id=uploaded.photo.photo_id
    )
    assert [answer.outcome for answer in checked.decision.faces] == [Outcome.ALLOW, Outcome.DENY]
    assert checked.decision.outcome is Outcome.DENY
    opened = await stack.open_photo(checked.permit)
    assert opened != two_people


async def test_no_permit_where_a_refused_face_has_no_box(stack: Stack, two_people: bytes) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    uploaded = await stack.upload(two_people)
    assert uploaded.photo is not None
    checked = await stack.check(face("eileen"), face("", None), photo_id=uploaded.photo.photo_id)
    assert checked.permit == ""


async def test_a_repeated_check_gets_the_recorded_decision_only_while_nothing_has_changed(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    key = RequestKey(b"k" * 32, b"b" * 32)
    sha256 = hashlib.sha256(b"photo").digest()
    first = await stack.check(face("eileen"), sha256=sha256, key=key)
    again = await stack.check(face("eileen"), sha256=sha256, key=key)
    assert (again.decision_id, again.recorded) == (first.decision_id, first.recorded)
    await stack.consent("eileen")
    changed = await stack.check(face("eileen"), sha256=sha256, key=key)
    assert changed.decision.outcome is Outcome.ALLOW
    assert changed.previous_decision_id == first.decision_id
    await stack.withdraw("eileen")
    withdrawn = await stack.check(face("eileen"), sha256=sha256, key=key)
    assert withdrawn.decision.outcome is Outcome.DENY
    assert withdrawn.decision_id not in {first.decision_id, changed.decision_id}
    with pytest.raises(ConsentryError) as raised:
        await stack.check(face("eileen"), sha256=sha256, key=RequestKey(b"k" * 32, b"other".ljust(32)))
    assert raised.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_repeated_release_is_recorded_once(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    delivery_id = await stack.deliver("eileen")
    key = RequestKey(b"r" * 32, b"b" * 32)
    first = await stack.release("eileen", delivery_id, key=key)
    size = stack.tenant.sequencer.store.fetch_head().size
    again = await stack.release("eileen", delivery_id, key=key)
    assert again.release == first.release
    assert again.receipt == first.receipt
    assert stack.tenant.sequencer.store.fetch_head().size == size


async def test_a_repeated_upload_gets_its_photo_and_a_refused_one_another_chance(
    stack: Stack, portrait: bytes, two_people: bytes
) -> None:
    key = RequestKey(b"u" * 32, b"b" * 32)
    refused = await stack.upload(portrait, key=key)
    again = await stack.upload(portrait, key=key)
    assert refused.checked is not None
    assert again.checked is not None
    assert again.checked.decision_id == refused.checked.decision_id
    await stack.policy()
    stored = await stack.upload(portrait, key=key)
    assert stored.photo is not None
    assert (await stack.upload(portrait, key=key)).photo == stored.photo
    with pytest.raises(ConsentryError) as raised:
        await stack.upload(two_people, key=key)
    assert raised.value.reason is Reason.REQUEST_ID_REUSED


async def test_an_uploader_that_goes_away_at_the_last_moment_leaves_record_and_bytes_agreeing(
    stack: Stack, portrait: bytes
) -> None:
    await stack.policy()
    started, busy = threading.Event(), threading.Event()

    def hold_the_writer(_book: Book) -> bool:
        started.set()
        return busy.wait(10)

    upload = asyncio.create_task(stack.upload(portrait))
    photos = stack.tenant.photos
    while not photos._settling and not upload.done():
        await asyncio.wait([upload], timeout=0.01)
    holder = asyncio.create_task(stack.tenant.sequencer.submit(hold_the_writer))
    upload.cancel()
    busy.set()
    await holder
    await asyncio.gather(*photos._settling)
    subject, _ = await stack.tenant.registry.subject("uploader", "")
    for photo_id in subject.photos:
        permit = (
            await stack.check(face(""), operation=Operation.DISPLAY, purpose=Purpose.PHOTO_DISPLAY, photo_id=photo_id)
        ).permit
        assert await stack.open_photo(permit) == portrait


async def test_an_identifier_opens_only_for_its_own_category(stack: Stack) -> None:
    voice = frozenset({DataCategory.FACE_TEMPLATE, DataCategory.FACE_GEOMETRY, DataCategory.VOICEPRINT})
    await stack.policy()
    await stack.notice("tagging", [Purpose.TAGGING])
    await stack.notice("login", [Purpose.ACCOUNT_SECURITY])
    await stack.release("eileen", await stack.deliver("eileen", "tagging"), "tagging", categories=voice)
    await stack.release(
        "eileen", await stack.deliver("eileen", "login"), "login", [Purpose.ACCOUNT_SECURITY]
    )  # faces only
    permit = (await stack.check(face("eileen"), sha256=b"\x0c" * 32)).permit
    stored = await stack.store_identifier(permit, category=DataCategory.VOICEPRINT)
    assert stored.identifier is not None
    verify = await stack.check(face("eileen"), operation=Operation.VERIFY, purpose=Purpose.ACCOUNT_SECURITY)
    assert verify.decision.outcome is Outcome.ALLOW
    with pytest.raises(ConsentryError) as raised:
        await stack.open_identifier(verify.permit, stored.identifier.identifier_id)
    assert raised.value.reason is Reason.BASIS_GONE


async def test_a_permit_from_before_a_withdrawal_does_not_revive_with_a_new_release(
    stack: Stack, portrait: bytes
) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    permit = (await stack.check(face("eileen"), photo_id=uploaded.photo.photo_id)).permit
    await stack.withdraw("eileen")
    stack.clock.forward(seconds=1)
    await stack.consent("eileen")
    with pytest.raises(ConsentryError) as raised:
        await stack.open_photo(permit)
    assert raised.value.reason is Reason.BASIS_GONE


async def test_a_superseded_release_is_no_basis_any_more(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    first = await stack.consent("eileen")
    identifier_id = await _enrolled(stack, Purpose.TAGGING, b"face" * 100)
    stack.clock.forward(seconds=1)
    delivery_id = await stack.deliver("eileen")
    second = await stack.release(
        "eileen",
        delivery_id,
        supersedes=first.release.release_id,
        categories=frozenset({DataCategory.PHOTO}),
    )
    assert (await stack.check(face("eileen"), sha256=b"\x07" * 32)).decision.outcome is Outcome.DENY
    subject, (destruction,) = await stack.tenant.registry.subject("eileen", "")
    assert destruction.stage is DestructionStage.COMPLETED
    assert [target.record_id for target in destruction.targets] == [identifier_id]
    assert subject.releases[0].expires_at == second.release.time


async def test_a_later_claim_of_age_does_not_make_a_childs_own_release_valid(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    delivery_id = await stack.deliver("child", age_band=AgeBand.UNDER_13)
    await stack.release("child", delivery_id)
    assert (await stack.check(face("child"), sha256=b"\x08" * 32)).decision.outcome is Outcome.DENY
    await stack.deliver("child", age_band=AgeBand.ADULT)
    assert (await stack.check(face("child"), sha256=b"\x08" * 32)).decision.outcome is Outcome.DENY


async def test_a_release_for_something_else_does_not_reopen_a_satisfied_purpose(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    await stack.tenant.registry.purpose_satisfied(COLLECTOR, "eileen", frozenset({Purpose.TAGGING}), None, None)
    stack.clock.forward(seconds=1)
    await stack.release("eileen", await stack.deliver("eileen"), categories=frozenset({DataCategory.PHOTO}))
    assert (await stack.check(face("eileen"), sha256=b"\x09" * 32)).decision.outcome is Outcome.DENY


async def test_a_template_is_never_sealed_under_a_key_that_a_destruction_took(stack: Stack) -> None:
    await stack.policy()
    await stack.notice("tagging", [Purpose.TAGGING])
    await stack.notice("login", [Purpose.ACCOUNT_SECURITY])
    tagging = await stack.consent("eileen", "tagging")
    await stack.release("eileen", await stack.deliver("eileen", "login"), "login", [Purpose.ACCOUNT_SECURITY])
    await _enrolled(stack, Purpose.TAGGING, b"gone" * 100)
    await stack.withdraw("eileen", tagging.release.release_id)  # its only template: nothing survives
    kept = await _enrolled(stack, Purpose.ACCOUNT_SECURITY, b"kept" * 100)
    permit = (await stack.check(face("eileen"), operation=Operation.VERIFY, purpose=Purpose.ACCOUNT_SECURITY)).permit
    assert await stack.open_identifier(permit, kept) == b"kept" * 100


@pytest.mark.parametrize("operation", [Operation.STORE, Operation.RETAIN, Operation.PROCESS])
async def test_what_needs_no_look_at_the_photo_opens_none(stack: Stack, portrait: bytes, operation: Operation) -> None:
    await stack.policy()
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    request = OperationRequest(
        operation, Purpose.IDENTIFICATION, DataCategory.PHOTO, uses_face_geometry=False, identifies=False, stored=True
    )
    asked = Asked(request=request, photo_id=uploaded.photo.photo_id, want_permit=True)
    checked = await stack.tenant.gate.check(PROCESSOR, asked)
    if not checked.permit:
        return
    with pytest.raises(ConsentryError) as raised:
        await stack.open_photo(checked.permit)
    assert raised.value.reason is Reason.PERMIT_MISMATCH


async def test_a_crowd_fits_or_is_told_that_it_does_not(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    crowd = [face("eileen"), *(face("", Box(place, 10, 80, 80)) for place in range(150))]
    checked = await stack.check(*crowd, sha256=b"\x0a" * 32)
    assert [answer.outcome for answer in checked.decision.faces[:2]] == [Outcome.ALLOW, Outcome.DENY]
    with pytest.raises(ConsentryError) as raised:
        await stack.check(*(face(f"person-{place}") for place in range(256)), sha256=b"\x0b" * 32)
    assert (raised.value.reason, raised.value.field) == (Reason.TOO_LARGE, "faces")


@pytest.mark.parametrize("representative_id", ["child", "sibling"])
async def test_a_child_represents_nobody(stack: Stack, representative_id: str) -> None:
    await stack.policy()
    await stack.notice()
    await stack.deliver("sibling", age_band=AgeBand.MINOR)
    signer = Signer(SignerRole.REPRESENTATIVE, representative_id, AuthorityBasis.PARENT)
    with pytest.raises(ConsentryError) as raised:
        await stack.release("child", await stack.deliver("child", signer=signer), signer=signer)
    assert raised.value.reason is Reason.FIELD_INVALID


async def test_a_destruction_goes_on_without_the_caller_that_caused_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    await _enrolled(stack, Purpose.TAGGING, b"gone" * 100)
    retention = stack.tenant.retention
    begun, go_on = asyncio.Event(), asyncio.Event()
    carry_out = retention.carry_out

    async def held_up(destruction_id: str) -> Destruction:
        begun.set()
        await go_on.wait()
        return await carry_out(destruction_id)

    monkeypatch.setattr(retention, "carry_out", held_up)
    withdrawal = asyncio.create_task(stack.withdraw("eileen"))
    await begun.wait()
    withdrawal.cancel()
    await asyncio.wait([withdrawal])
    go_on.set()
    await asyncio.gather(*retention._under_way)
    _, (destruction,) = await stack.tenant.registry.subject("eileen", "")
    assert destruction.stage is DestructionStage.COMPLETED


async def test_a_repeated_store_makes_one_identifier(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    permit = (await stack.check(face("eileen"), sha256=b"\x06" * 32)).permit
    key = RequestKey(b"i" * 32, b"b" * 32)
    first = await stack.store_identifier(permit, key=key)
    again = await stack.store_identifier(permit, key=key)
    assert first.identifier is not None
    assert again.identifier == first.identifier
    subject, _ = await stack.tenant.registry.subject("eileen", "")
    assert subject.identifiers == (first.identifier.identifier_id,)


async def test_another_purpose_is_refused(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    checked = await stack.check(face("eileen"), purpose=Purpose.ADVERTISING, sha256=b"\x01" * 32)
    assert checked.decision.outcome is Outcome.DENY


async def test_what_survives_a_partial_withdrawal_still_opens_under_a_new_key(stack: Stack, tmp_path: Path) -> None:
    await stack.policy()
    await stack.notice("tagging", [Purpose.TAGGING])
    await stack.notice("login", [Purpose.ACCOUNT_SECURITY])
    tagging = await stack.consent("eileen", "tagging")
    login = await stack.release("eileen", await stack.deliver("eileen", "login"), "login", [Purpose.ACCOUNT_SECURITY])
    kept = await _enrolled(stack, Purpose.ACCOUNT_SECURITY, b"kept" * 100)
    gone = await _enrolled(stack, Purpose.TAGGING, b"gone" * 100)
    await stack.withdraw("eileen", tagging.release.release_id)
    permit = (await stack.check(face("eileen"), operation=Operation.VERIFY, purpose=Purpose.ACCOUNT_SECURITY)).permit
    assert await stack.open_identifier(permit, kept) == b"kept" * 100
    with pytest.raises(ConsentryError) as raised:
        await stack.open_identifier(permit, gone)
    assert raised.value.reason is Reason.DESTROYED
    more = await _enrolled(stack, Purpose.ACCOUNT_SECURITY, b"more" * 100)
    permit = (await stack.check(face("eileen"), operation=Operation.VERIFY, purpose=Purpose.ACCOUNT_SECURITY)).permit
    assert await stack.open_identifier(permit, more) == b"more" * 100
    assert login.release.withdrawn_at is None


async def test_a_destruction_that_a_crash_interrupted_is_finished_at_the_next_start(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = await start(tmp_path, clock)
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    identifier_id = await _enrolled(stack, Purpose.TAGGING, b"gone" * 100)

    async def crashes(destruction_id: str) -> None:
        raise ConsentryError(Reason.STORAGE_FAILED, "the process died here")

    monkeypatch.setattr(stack.tenant.retention, "carry_out", crashes)
    (destruction_id,) = await stack.withdraw("eileen")  # it is recorded, whatever becomes of the deletion
    certificate = await stack.tenant.retention.certificate(destruction_id)
    assert certificate.destruction.stage is DestructionStage.REQUESTED
    await stack.running.aclose()
    stack = await start(tmp_path, clock, create=False)
    subject, destructions = await stack.tenant.registry.subject("eileen", "")
    assert [destruction.stage for destruction in destructions] == [DestructionStage.COMPLETED]
    assert identifier_id not in subject.identifiers
    assert stack.tenant.sequencer.store.fetch_sealed(identifier_id) is None
    await stack.running.aclose()


async def test_a_permit_to_compare_ends_with_its_own_purpose_while_the_identifier_lives_on(stack: Stack) -> None:
    await stack.policy()
    await stack.notice("tagging", [Purpose.TAGGING])
    await stack.notice("login", [Purpose.ACCOUNT_SECURITY])
    await stack.consent("eileen", "tagging")
    login = await stack.release("eileen", await stack.deliver("eileen", "login"), "login", [Purpose.ACCOUNT_SECURITY])
    identifier_id = await _enrolled(stack, Purpose.TAGGING, b"face" * 100)
    permit = (await stack.check(face("eileen"), operation=Operation.VERIFY, purpose=Purpose.ACCOUNT_SECURITY)).permit
    assert await stack.open_identifier(permit, identifier_id) == b"face" * 100
    await stack.withdraw("eileen", login.release.release_id)
    with pytest.raises(ConsentryError) as raised:
        await stack.open_identifier(permit, identifier_id)
    assert raised.value.reason is Reason.BASIS_GONE


async def test_a_satisfied_purpose_needs_a_new_release_and_gets_by_with_one(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    await stack.tenant.registry.purpose_satisfied(COLLECTOR, "eileen", frozenset({Purpose.TAGGING}), None, None)
    assert (await stack.check(face("eileen"), sha256=b"\x05" * 32)).decision.outcome is Outcome.DENY
    stack.clock.forward(seconds=1)
    await stack.consent("eileen")
    assert (await stack.check(face("eileen"), sha256=b"\x05" * 32)).decision.outcome is Outcome.ALLOW


async def _enrolled(stack: Stack, purpose: Purpose, template: bytes) -> str:
    checked = await stack.check(face("eileen"), purpose=purpose, sha256=b"\x02" * 32)
    stored = await stack.store_identifier(checked.permit, template=template)
    assert stored.identifier is not None
    return stored.identifier.identifier_id


async def test_no_permit_is_bound_to_no_photo_where_the_photo_went_away_meanwhile(
    stack: Stack, portrait: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    uploaded = await stack.upload(portrait)
    assert uploaded.photo is not None
    store = stack.tenant.sequencer.store
    monkeypatch.setattr(store, "fetch_sealed", lambda _record_id: None)
    with pytest.raises(ConsentryError) as raised:
        await stack.check(face("eileen", box=Box(1, 1, 9, 9)), photo_id=uploaded.photo.photo_id, want_permit=True)
    assert raised.value.reason is Reason.DESTROYED
