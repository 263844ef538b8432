"""Notices over time through the servicers: the policy of 2023, what changed for whom, and who claimed what.

The story is that of statutes.md section 10: a policy that adds biometric information and employment history, each with
purposes of its own. It is not that of Martell v. X Corp., which is about hashes of uploaded photos and is older.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from consentry.v1 import consent_pb2, gate_service_pb2, notice_pb2, registry_service_pb2, subject_pb2
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from tests.support.rebuild import differences
from tests.support.stack import COLLECTOR, PROCESSOR
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import ask
from tests.unit.grpc.samples import at

OLD_TEXT = "We show your photos to the people you share them with."
NEW_TEXT = (
    "Based on your consent, we may collect and use your biometric information for safety, security and identification"
    " purposes. We may use your employment history to recommend potential jobs and to share with potential employers"
    " when you apply."
)
YEAR = Duration(seconds=365 * 86_400)
BEFORE: dict[str, Any] = {
    "text": OLD_TEXT,
    "purposes": [v.PURPOSE_PHOTO_HOSTING, v.PURPOSE_PHOTO_DISPLAY],
    "categories": [v.DATA_CATEGORY_PHOTO],
    "term": notice_pb2.Term(duration=YEAR),
}
AFTER: dict[str, Any] = {
    "text": NEW_TEXT,
    "purposes": [
        *BEFORE["purposes"],
        v.PURPOSE_IDENTIFICATION,
        v.PURPOSE_ACCOUNT_SECURITY,
        v.PURPOSE_JOB_RECOMMENDATION,
        v.PURPOSE_EMPLOYER_SHARE_ON_APPLICATION,
    ],
    "categories": [
        v.DATA_CATEGORY_PHOTO,
        v.DATA_CATEGORY_FACE_GEOMETRY,
        v.DATA_CATEGORY_FACE_TEMPLATE,
        v.DATA_CATEGORY_EMPLOYMENT_HISTORY,
    ],
    "term": notice_pb2.Term(duration=YEAR),
}


class Story:
    """What the product's backend does, and what the image-processing service asks."""

    def __init__(self, servicers: Servicers) -> None:
        self.servicers = servicers
        self.registry = servicers.registry
        self.text = OLD_TEXT
        self.version = 0

    @property
    def now(self) -> datetime:
        return self.servicers.stack.clock.now

    async def publish(self, **stated: Any) -> registry_service_pb2.PublishNoticeResponse:
        set_caller(COLLECTOR)
        request = registry_service_pb2.PublishNoticeRequest(
            request_id=samples.request_id(),
            notice=notice_pb2.Notice(
                notice_id="privacy",
                language="en-US",
                effective_time=at(self.now),
                says_collected_or_stored=True,
                **stated,
            ),
        )
        published = await self.registry.PublishNotice(request, None)
        self.text, self.version = stated["text"], published.notice.version
        return published

    async def deliver(self, who: str, **more: Any) -> str:
        request = samples.delivery(who)
        told = request.delivery
        told.notice_id, told.notice_version = "privacy", self.version
        told.shown_sha256 = hashlib.sha256(self.text.encode()).digest()
        told.deliver_time.CopyFrom(at(self.now))
        told.ClearField("acknowledge_time")
        for name, value in more.items():
            getattr(told if name == "signer" else request, name).CopyFrom(value)
        set_caller(COLLECTOR)
        return (await self.registry.RecordNoticeDelivery(request, None)).delivery.delivery_id

    async def release(self, who: str, delivery_id: str, stated: Any, **more: Any) -> consent_pb2.Release:
        request = samples.release(who, delivery_id)
        signed = request.release
        signed.notice_id, signed.notice_version = "privacy", self.version
        signed.purposes[:] = stated["purposes"]
        signed.categories[:] = stated["categories"]
        signed.sign_time.CopyFrom(at(self.now))
        for name, value in more.items():
            if isinstance(value, str):
                setattr(signed, name, value)
            else:
                getattr(signed, name).CopyFrom(value)
        set_caller(COLLECTOR)
        return (await self.registry.RecordRelease(request, None)).release

    async def consent(self, who: str, stated: Any) -> consent_pb2.Release:
        return await self.release(who, await self.deliver(who), stated)

    async def answer(self, who: str, **fields: Any) -> gate_service_pb2.CheckResponse:
        set_caller(PROCESSOR)
        return await ask(self.servicers, samples.check(samples.face(who), want_permit=False, **fields))

    async def outcome(self, who: str, **fields: Any) -> int:
        return (await self.answer(who, **fields)).decision.outcome

    async def diff(self, older: int, newer: int) -> registry_service_pb2.DiffNoticesResponse:
        set_caller(COLLECTOR)
        request = registry_service_pb2.DiffNoticesRequest(notice_id="privacy", from_version=older, to_version=newer)
        return await self.registry.DiffNotices(request, None)

    async def subject(self, who: str) -> subject_pb2.Subject:
        set_caller(COLLECTOR)
        request = registry_service_pb2.GetSubjectRequest(subject=subject_pb2.SubjectReference(subject_id=who))
        return (await self.registry.GetSubject(request, None)).subject


@pytest.fixture
async def story(servicers: Servicers) -> Story:
    made = Story(servicers)
    set_caller(COLLECTOR)
    await servicers.registry.PublishRetentionPolicy(samples.policy(), None)
    assert not (await made.publish(**BEFORE)).changes
    return made


SECURITY: dict[str, Any] = {"purpose": v.PURPOSE_ACCOUNT_SECURITY}
JOBS: dict[str, Any] = {
    "operation": v.OPERATION_PROCESS,
    "purpose": v.PURPOSE_JOB_RECOMMENDATION,
    "category": v.DATA_CATEGORY_EMPLOYMENT_HISTORY,
    "photo": None,
    "faces": (),
    "subject_id": "eileen",
    "source": None,
    "uses_face_geometry": None,
    "identifies": None,
    "stored": None,
}


async def test_data_collected_under_the_older_notice_never_serves_a_purpose_of_the_newer(story: Story) -> None:
    """statutes.md 10.2(6): pre-policy data needs new consent; 10.2(5): posting and going on are no release."""
    old = await story.consent("eileen", BEFORE)
    assert await story.outcome("eileen", **SECURITY) == v.OUTCOME_DENY
    assert await story.outcome("eileen", **JOBS) == v.OUTCOME_DENY

    story.servicers.stack.clock.forward(days=10)
    published = await story.publish(**AFTER)
    assert [(each.kind, each.value) for each in published.changes if each.material] == [
        (notice_pb2.NOTICE_CHANGE_KIND_CATEGORY_ADDED, "EMPLOYMENT_HISTORY"),
        (notice_pb2.NOTICE_CHANGE_KIND_CATEGORY_ADDED, "FACE_GEOMETRY"),
        (notice_pb2.NOTICE_CHANGE_KIND_CATEGORY_ADDED, "FACE_TEMPLATE"),
        (notice_pb2.NOTICE_CHANGE_KIND_PURPOSE_ADDED, "ACCOUNT_SECURITY"),
        (notice_pb2.NOTICE_CHANGE_KIND_PURPOSE_ADDED, "EMPLOYER_SHARE_ON_APPLICATION"),
        (notice_pb2.NOTICE_CHANGE_KIND_PURPOSE_ADDED, "IDENTIFICATION"),
        (notice_pb2.NOTICE_CHANGE_KIND_PURPOSE_ADDED, "JOB_RECOMMENDATION"),
    ]
    assert "RCW 19.373.020(1)(c)" in published.changes[0].citation

    async def serves_nothing_new() -> None:
        assert await story.outcome("eileen", **SECURITY) == v.OUTCOME_DENY
        assert await story.outcome("eileen", **JOBS) == v.OUTCOME_DENY

    await serves_nothing_new()  # it was published
    story.servicers.stack.clock.forward(days=30)
    set_caller(COLLECTOR)
    interaction = registry_service_pb2.RecordInteractionRequest(request_id="i", subject_id="eileen")
    await story.registry.RecordInteraction(interaction, None)
    await serves_nothing_new()  # she went on using the service
    delivery_id = await story.deliver("eileen")
    await serves_nothing_new()  # she was told
    for process in (v.SIGNATURE_PROCESS_CONTINUED_USE, v.SIGNATURE_PROCESS_PAGE_VIEW):
        request = samples.release("eileen", delivery_id)
        request.release.notice_id, request.release.notice_version = "privacy", 2
        request.release.process = process
        set_caller(COLLECTOR)
        with pytest.raises(ConsentryError) as raised:
            await story.registry.RecordRelease(request, None)
        assert raised.value.reason is Reason.NO_INTENT_TO_SIGN
    await serves_nothing_new()

    told_of_jobs = {**AFTER, "categories": [v.DATA_CATEGORY_EMPLOYMENT_HISTORY]}
    jobs = await story.release("eileen", delivery_id, told_of_jobs)
    assert await story.outcome("eileen", **JOBS) == v.OUTCOME_ALLOW
    assert await story.outcome("eileen", **SECURITY) == v.OUTCOME_DENY  # employment data lends biometrics nothing
    both = await story.release("eileen", delivery_id, AFTER, supersedes_release_id=jobs.release_id)
    allowed = (await story.answer("eileen", **SECURITY)).decision
    assert (allowed.outcome, list(allowed.faces[0].release_ids)) == (v.OUTCOME_ALLOW, [both.release_id])
    states = {each.release_id: each.state for each in (await story.subject("eileen")).releases}
    assert states == {
        old.release_id: consent_pb2.RELEASE_STATE_LIVE,
        jobs.release_id: consent_pb2.RELEASE_STATE_SUPERSEDED,
        both.release_id: consent_pb2.RELEASE_STATE_LIVE,
    }


async def test_a_release_cannot_name_what_its_own_version_does_not(story: Story) -> None:
    delivery_id = await story.deliver("eileen")
    with pytest.raises(ConsentryError) as raised:
        await story.release("eileen", delivery_id, AFTER)
    assert raised.value.reason is Reason.FIELD_INVALID


async def test_the_sentence_of_2023_states_no_term_and_lets_no_biometric_pass(story: Story) -> None:
    await story.publish(**{**AFTER, "term": None})
    await story.consent("eileen", AFTER)
    decision = (await story.answer("eileen", **SECURITY)).decision
    assert decision.outcome == v.OUTCOME_DENY
    assert {reason.code for reason in decision.reasons} == {"NOTICE_TERM_MISSING"}


async def test_who_is_affected_holds_a_live_release_under_the_older_version_only(story: Story) -> None:
    first = await story.consent("ana", BEFORE)
    await story.consent("bo", BEFORE)
    await story.consent("cy", BEFORE)
    await story.consent("cy", BEFORE)
    await story.consent("dee", BEFORE)
    await story.deliver("eve")
    story.servicers.stack.clock.forward(days=1)
    await story.publish(**{**BEFORE, "text": OLD_TEXT.replace("photos", "pictures")})
    found = await story.diff(1, 2)
    assert [(each.kind, each.material) for each in found.changes] == [
        (notice_pb2.NOTICE_CHANGE_KIND_TEXT_CHANGED, False),
        (notice_pb2.NOTICE_CHANGE_KIND_ELEMENT_CHANGED, False),
    ]
    assert not found.reconsent_required
    assert found.affected_subject_count == 4  # so many would have to be asked, and nobody has to

    await story.publish(**AFTER)
    assert (await story.diff(1, 3)).affected_subject_count == 4
    await story.consent("bo", AFTER)
    set_caller(COLLECTOR)
    withdrawal = registry_service_pb2.WithdrawReleaseRequest(request_id="w", subject_id="dee")
    await story.registry.WithdrawRelease(withdrawal, None)
    found = await story.diff(1, 3)
    assert (found.reconsent_required, found.affected_subject_count) == (True, 2)
    assert (found.from_notice.text, found.to_notice.text) == (OLD_TEXT, NEW_TEXT)
    assert not found.affected_subject_count_stopped
    assert (await story.diff(1, 2)).affected_subject_count == 2  # a later version than asked about serves as well
    assert (await story.diff(2, 3)).affected_subject_count == 0

    set_caller(COLLECTOR)
    one = registry_service_pb2.WithdrawReleaseRequest(request_id="w1", subject_id="ana", release_id=first.release_id)
    await story.registry.WithdrawRelease(one, None)
    assert (await story.diff(1, 3)).affected_subject_count == 1
    story.servicers.stack.clock.forward(days=366)
    assert (await story.diff(1, 3)).affected_subject_count == 0  # the term is over: there is nothing left to ask about


async def test_counting_stops_where_it_is_told_to(story: Story) -> None:
    for who in ("ana", "bo", "cy"):
        await story.consent(who, BEFORE)
    await story.publish(**AFTER)
    diffs = type(story.servicers.stack.tenant.notice_diffs)(
        store=story.servicers.stack.tenant.sequencer.store,
        reader=story.servicers.stack.tenant.audit.reader,
        most=2,
    )
    found = diffs.compare("privacy", 1, 2, story.now)
    assert (found.affected, found.stopped) == (2, True)


@pytest.mark.parametrize(
    ("notice_id", "older", "newer", "reason", "field"),
    [
        ("privacy", 0, 1, Reason.FIELD_REQUIRED, "from_version"),
        ("privacy", 1, 1, Reason.FIELD_INVALID, "to_version"),
        ("privacy", 2, 1, Reason.FIELD_INVALID, "to_version"),
        ("privacy", 1, 7, Reason.NOT_FOUND, "to_version"),
        ("none", 1, 2, Reason.NOT_FOUND, "from_version"),
        ("", 1, 2, Reason.FIELD_REQUIRED, "notice_id"),
        ("No Slug", 1, 2, Reason.FIELD_INVALID, "notice_id"),
        ("privacy", -1, 2, Reason.FIELD_INVALID, "from_version"),
    ],
)
async def test_what_cannot_be_compared_says_why(
    story: Story, notice_id: str, older: int, newer: int, reason: Reason, field: str
) -> None:
    request = registry_service_pb2.DiffNoticesRequest(notice_id=notice_id, from_version=older, to_version=newer)
    with pytest.raises(ConsentryError) as raised:
        await story.registry.DiffNotices(request, None)
    assert (raised.value.reason, raised.value.field) == (reason, field)


# -- the person's side -------------------------------------------------------------------------------------------------


def parent(role: Any = v.SIGNER_ROLE_REPRESENTATIVE) -> consent_pb2.Signer:
    return consent_pb2.Signer(role=role, representative_id="mother-of-kim", authority_basis=v.AUTHORITY_BASIS_PARENT)


def claims(**said: Any) -> subject_pb2.SubjectClaims:
    return subject_pb2.SubjectClaims(regions=["US-IL"], relationship=v.RELATIONSHIP_CONSUMER, **said)


async def test_a_child_comes_of_age(story: Story) -> None:
    """A parent's release is for review from the quarter on; then the person signs for themselves."""
    await story.publish(**AFTER)
    child = claims(age_band=v.AGE_BAND_MINOR, majority_quarter="2027-Q2")
    delivery_id = await story.deliver("kim", signer=parent(), claims=child)
    released = await story.release("kim", delivery_id, AFTER, signer=parent())

    async def answer() -> tuple[int, set[str]]:
        face = samples.face("kim")
        face.age_band = v.AGE_BAND_UNSPECIFIED
        set_caller(PROCESSOR)
        found = (await ask(story.servicers, samples.check(face, want_permit=False, **SECURITY))).decision
        return found.outcome, {reason.code for reason in found.reasons}

    async def state() -> int:
        return (await story.subject("kim")).releases[0].state

    assert (await answer())[0] == v.OUTCOME_ALLOW
    assert await state() == consent_pb2.RELEASE_STATE_LIVE
    story.servicers.stack.clock.now = datetime.fromisoformat("2027-03-31T10:00:00+00:00")
    assert await answer() == (v.OUTCOME_REVIEW, {"RELEASE_OUTGROWN"})
    assert await state() == consent_pb2.RELEASE_STATE_OUTGROWN
    assert (await story.diff(1, 2)).affected_subject_count == 0

    story.servicers.stack.clock.now = datetime.fromisoformat("2027-05-17T10:00:00+00:00")
    delivery_id = await story.deliver("kim", claims=claims(age_band=v.AGE_BAND_ADULT))
    story.servicers.stack.clock.forward(minutes=5)
    await story.release("kim", delivery_id, AFTER, supersedes_release_id=released.release_id)
    assert (await answer())[0] == v.OUTCOME_ALLOW
    shown = await story.subject("kim")
    assert (shown.claims.age_band, shown.claims.majority_quarter) == (v.AGE_BAND_ADULT, "2027-Q2")
    assert differences(story.servicers.stack.running.folders.ledger) == []


async def test_who_claimed_what_about_a_person_and_since_when(story: Story) -> None:
    await story.deliver("kim", claims=claims(age_band=v.AGE_BAND_MINOR, majority_quarter="2031-Q1"))
    since = story.now
    story.servicers.stack.clock.forward(days=2)
    set_caller(COLLECTOR)
    said = registry_service_pb2.RecordInteractionRequest(
        request_id="i", subject_id="kim", claims=claims(age_band=v.AGE_BAND_ADULT)
    )
    said.claims.regions.append("DE")
    await story.registry.RecordInteraction(said, None)
    shown = await story.subject("kim")
    assert shown.claims == subject_pb2.SubjectClaims(
        regions=["DE", "US-IL"],
        age_band=v.AGE_BAND_MINOR,
        relationship=v.RELATIONSHIP_CONSUMER,
        majority_quarter="2031-Q1",
    )
    told = [(subject_pb2.ClaimKind.Name(each.kind), each.value) for each in shown.recorded_claims]
    assert told == [
        ("CLAIM_KIND_REGION", "US-IL"),
        ("CLAIM_KIND_AGE_BAND", "MINOR"),
        ("CLAIM_KIND_MAJORITY_QUARTER", "2031-Q1"),
        ("CLAIM_KIND_RELATIONSHIP", "CONSUMER"),
        ("CLAIM_KIND_REGION", "DE"),
        ("CLAIM_KIND_AGE_BAND", "ADULT"),
    ]
    assert {each.actor for each in shown.recorded_claims} == {"collector/product"}
    assert [each.record_time for each in shown.recorded_claims[:4]] == [at(since)] * 4
    assert shown.recorded_claims[4].record_time == at(since + timedelta(days=2))
    assert shown.recorded_claims[4].entry.index > shown.recorded_claims[0].entry.index


@pytest.mark.parametrize(
    "said",
    [
        {"majority_quarter": "2031-04-17"},
        {"majority_quarter": "2031"},
        {"majority_quarter": "2031-Q7"},
        {"majority_quarter": "1931-Q1"},
        {"majority_quarter": "2131-Q1"},
        {"majority_quarter": "x" * 10_000},
        {"majority_quarter": "2031-Q1", "age_band": v.AGE_BAND_ADULT},
        {"majority_quarter": "2020-Q1", "age_band": v.AGE_BAND_MINOR},
    ],
)
async def test_a_quarter_that_is_none_or_contradicts_the_age_is_refused(story: Story, said: Any) -> None:
    with pytest.raises(ConsentryError) as raised:
        await story.deliver("kim", claims=claims(**said))
    assert (raised.value.reason, raised.value.field) == (Reason.FIELD_INVALID, "claims.majority_quarter")
    assert len(raised.value.message) < 200


async def test_a_release_signed_before_a_withdrawal_and_brought_in_after_it_is_refused(story: Story) -> None:
    await story.publish(**AFTER)
    delivery_id = await story.deliver("kim")
    await story.release("kim", delivery_id, AFTER)
    signed_on_paper = story.now
    story.servicers.stack.clock.forward(days=1)
    set_caller(COLLECTOR)
    await story.registry.WithdrawRelease(
        registry_service_pb2.WithdrawReleaseRequest(request_id="w", subject_id="kim"), None
    )
    story.servicers.stack.clock.forward(days=1)
    with pytest.raises(ConsentryError) as raised:
        await story.release("kim", delivery_id, AFTER, sign_time=at(signed_on_paper + timedelta(hours=1)))
    assert (raised.value.reason, raised.value.field) == (Reason.STATE_CONFLICT, "release.sign_time")
    assert await story.outcome("kim", **SECURITY) == v.OUTCOME_DENY
    await story.release("kim", delivery_id, AFTER)
    assert await story.outcome("kim", **SECURITY) == v.OUTCOME_ALLOW
