"""The main job through the servicers: what callers send and get, on a real ledger, real keys and real law packs."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry.v1 import (
    consent_pb2,
    determination_pb2,
    registry_service_pb2,
    retention_service_pb2,
    subject_pb2,
    vault_service_pb2,
)
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.tenant import bundled_packs
from tests.support.stack import COLLECTOR, OFFICER, PROCESSOR, SECOND_OFFICER
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import ask, consent, stream, upload
from tests.unit.grpc.samples import NOW, at


@pytest.fixture
def portrait(photos: Path) -> bytes:
    return (photos / "portrait.jpg").read_bytes()


async def test_the_main_job(servicers: Servicers, portrait: bytes) -> None:
    gate, vault = servicers.gate, servicers.vault
    refused = await upload(servicers, portrait)
    assert (refused.photo_id, refused.decision.outcome) == ("", v.OUTCOME_DENY)
    assert not refused.HasField("entry")
    assert refused.decision.reasons[0].text

    released = await consent(servicers)
    uploaded = await upload(servicers, portrait)
    assert (uploaded.decision.outcome, uploaded.size) == (v.OUTCOME_ALLOW_NONBIOMETRIC, len(portrait))
    assert (uploaded.content_type, uploaded.width > 0, uploaded.entry.ledger) == (
        "image/jpeg",
        True,
        "consentry.test/acme",
    )

    set_caller(PROCESSOR)
    checked = await ask(servicers, samples.check(photo_id=uploaded.photo_id))
    decision = checked.decision
    assert decision.outcome == v.OUTCOME_ALLOW
    assert decision.decision_id.startswith(f"dec_{decision.entry.index}_")
    assert decision.faces[0].release_ids == [released.release.release_id]
    assert {pack.pack_id for pack in decision.packs} == {pack.id for pack, _ in bundled_packs()}
    assert len(decision.packs[0].sha256) == 32
    assert decision.expire_time.seconds - decision.check_time.seconds == 60
    assert checked.permit

    parts = [
        part
        async for part in vault.OpenPhoto(
            vault_service_pb2.OpenPhotoRequest(permit=checked.permit, photo_id=uploaded.photo_id), None
        )
    ]
    assert parts[0].header.size == len(portrait)
    assert b"".join(part.chunk for part in parts[1:]) == portrait

    stored = await vault.StoreIdentifier(samples.identifier(checked.permit), None)
    assert stored.identifier_id.startswith("idf_")
    assert stored.decision.outcome == v.OUTCOME_ALLOW
    verify = await ask(servicers, samples.check(photo_id=uploaded.photo_id, operation=v.OPERATION_VERIFY))
    opened = await vault.OpenIdentifier(
        vault_service_pb2.OpenIdentifierRequest(permit=verify.permit, identifier_id=stored.identifier_id), None
    )
    assert opened.opened.template == b"\x01" * 512
    assert (opened.opened.identifier.algorithm_version, opened.opened.identifier.format_version) == ("1.0-RC1+g2", "1")
    assert opened.opened.identifier.HasField("quality")

    reported = await gate.RecordProcessing(samples.processing(decision.decision_id), None)
    assert reported.entry.index > decision.entry.index


async def test_what_was_allowed_ends_with_the_withdrawal(servicers: Servicers, portrait: bytes) -> None:
    released = await consent(servicers)
    uploaded = await upload(servicers, portrait)
    set_caller(PROCESSOR)
    checked = await ask(servicers, samples.check(photo_id=uploaded.photo_id))
    stored = await servicers.vault.StoreIdentifier(samples.identifier(checked.permit), None)

    set_caller(COLLECTOR)
    withdrawal = registry_service_pb2.WithdrawReleaseRequest(
        request_id="w-1", subject_id="eileen", reason="no more", channel=v.NOTICE_CHANNEL_EMAIL, occur_time=at()
    )
    withdrawn = await servicers.registry.WithdrawRelease(withdrawal, None)
    assert withdrawn.withdrawn_release_ids == [released.release.release_id]
    (destruction,) = withdrawn.destructions
    assert (destruction.stage, destruction.trigger) == (
        v.DESTRUCTION_STAGE_COMPLETED,
        v.DESTRUCTION_TRIGGER_WITHDRAWAL,
    )
    assert await servicers.registry.WithdrawRelease(withdrawal, None) == withdrawn
    withdrawal.request_id = "w-2"
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.WithdrawRelease(withdrawal, None)
    assert raised.value.reason is Reason.STATE_CONFLICT

    certified = await servicers.retention.GetDestructionCertificate(
        retention_service_pb2.GetDestructionCertificateRequest(destruction_id=destruction.destruction_id), None
    )
    assert certified.certificate.targets[0].record_id == stored.identifier_id
    assert len(certified.certificate.entries) == 2
    assert certified.certificate.remaining
    assert not certified.certificate.HasField("unrecoverable_time")

    shown = (await servicers.registry.GetSubject(about("eileen"), None)).subject
    assert shown.releases[0].state == consent_pb2.RELEASE_STATE_WITHDRAWN
    assert shown.releases[0].HasField("withdraw_time")
    assert (shown.deliveries[0].language, list(shown.claims.regions)) == ("en-US", ["US-IL"])
    assert shown.deliveries[0].acknowledge_time == at(NOW + timedelta(seconds=5))
    assert (list(shown.identifier_ids), len(shown.destructions)) == ([], 1)

    set_caller(PROCESSOR)
    with pytest.raises(ConsentryError) as raised:
        async for _ in servicers.vault.OpenPhoto(
            vault_service_pb2.OpenPhotoRequest(permit=checked.permit, photo_id=uploaded.photo_id), None
        ):
            pass
    assert raised.value.reason is Reason.BASIS_GONE


def about(subject_id: str) -> registry_service_pb2.GetSubjectRequest:
    return registry_service_pb2.GetSubjectRequest(subject=subject_pb2.SubjectReference(subject_id=subject_id))


async def test_a_receipt_is_signed_and_can_be_read(servicers: Servicers) -> None:
    released = await consent(servicers)
    claims = orjson.loads(base64.urlsafe_b64decode(released.receipt.split(".")[1] + "=="))
    assert claims["leaf_hash"] == released.release.entry.leaf_hash.hex()
    assert claims["withdrawal_uri"] == "https://acme.test/withdraw"
    assert claims["jurisdiction"] == "US-IL"
    text = released.receipt_text
    for part in (
        released.release.release_id,
        "eileen",
        "tagging@1",
        "electronic signature",
        "click to sign",
        "365 days",
        "https://acme.test/withdraw",
        claims["leaf_hash"],
        "nobody",
    ):
        assert part in text
    assert text.isascii()
    assert released.release.state == consent_pb2.RELEASE_STATE_LIVE
    assert released.release.scopes == [v.CONSENT_SCOPE_COLLECT]


async def test_a_signers_own_signature_is_verified_over_the_five_lines_of_the_contract(servicers: Servicers) -> None:
    await consent(servicers)
    key = Ed25519PrivateKey.generate()

    def sign(context: str, subject_id: str, sha256: bytes) -> consent_pb2.SignerSignature:
        lines = f"{context}\n{subject_id}\ntagging\n1\n{sha256.hex()}\n"
        return consent_pb2.SignerSignature(
            algorithm=consent_pb2.SIGNATURE_ALGORITHM_ED25519,
            public_key=key.public_key().public_bytes_raw(),
            signature=key.sign(lines.encode()),
        )

    decomposed = "Zoe\u0308"  # what the signer signs is what is sent, whatever form it is compared in
    request = samples.delivery(decomposed)
    request.delivery.vouching = v.VOUCHING_SIGNER_SIGNED
    shown = hashlib.sha256(samples.TEXT.encode()).digest()
    request.delivery.signer_signature.CopyFrom(sign("consentry/v1/delivery", decomposed, shown))
    delivered = await servicers.registry.RecordNoticeDelivery(request, None)
    release = samples.release("Zo\u00eb", delivered.delivery.delivery_id)
    release.release.vouching = v.VOUCHING_SIGNER_SIGNED
    release.release.signer_signature.CopyFrom(sign("consentry/v1/delivery", "Zo\u00eb", samples.DOCUMENT))
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.RecordRelease(release, None)
    assert raised.value.reason is Reason.SIGNATURE_INVALID
    release.release.signer_signature.CopyFrom(sign("consentry/v1/release", "Zo\u00eb", samples.DOCUMENT))
    assert (await servicers.registry.RecordRelease(release, None)).subject_ref == delivered.subject_ref


async def test_a_repeated_request_gets_what_was_recorded(servicers: Servicers, portrait: bytes) -> None:
    await consent(servicers)
    header = samples.header()
    first = await upload(servicers, portrait, header)
    again = await upload(servicers, portrait, header)
    assert (again.photo_id, again.entry) == (first.photo_id, first.entry)
    assert (again.decision.decision_id, again.decision.outcome) == (first.decision.decision_id, first.decision.outcome)
    assert again.decision.entry == first.decision.entry
    set_caller(PROCESSOR)
    check = samples.check(photo_id=first.photo_id)
    one, two = await ask(servicers, check), await ask(servicers, check)
    assert one.decision.decision_id == two.decision.decision_id
    stored = samples.identifier(one.permit)
    kept = await servicers.vault.StoreIdentifier(stored, None)
    repeated = await servicers.vault.StoreIdentifier(stored, None)
    assert repeated.identifier_id == kept.identifier_id
    assert repeated.decision.decision_id == kept.decision.decision_id
    check.want_permit = False
    with pytest.raises(ConsentryError) as raised:
        await ask(servicers, check)
    assert raised.value.reason is Reason.REQUEST_ID_REUSED
    notice = samples.notice()
    notice.notice.notice_id = "other"
    set_caller(COLLECTOR)
    published = await servicers.registry.PublishNotice(notice, None)
    assert await servicers.registry.PublishNotice(notice, None) == published


async def test_a_determination_needs_two_officers(servicers: Servicers) -> None:
    set_caller(OFFICER)
    made = await servicers.registry.RecordDetermination(samples.determination(), None)
    assert made.determination.state == determination_pb2.DETERMINATION_STATE_AWAITING_APPROVAL
    assert (made.determination.recorded_by, made.determination.approved_by) == ("officer-first", "")
    approval = registry_service_pb2.RecordDeterminationRequest(
        request_id="a-1", approves_determination_id=made.determination.determination_id
    )
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.RecordDetermination(approval, None)
    assert raised.value.reason is Reason.SECOND_APPROVER_REQUIRED
    set_caller(SECOND_OFFICER)
    approved = await servicers.registry.RecordDetermination(approval, None)
    assert approved.determination.state == determination_pb2.DETERMINATION_STATE_ACTIVE
    assert approved.determination.entry == made.determination.entry
    assert approved.entry.index == made.entry.index + 1


async def test_ends_of_purposes_and_employments(servicers: Servicers) -> None:
    await consent(servicers)
    registry = servicers.registry
    ended = registry_service_pb2.RecordPurposeSatisfiedRequest(
        request_id="p-1", subject_id="eileen", purposes=[v.PURPOSE_TAGGING]
    )
    answer = await registry.RecordPurposeSatisfied(ended, None)
    assert (answer.entry.index > 0, list(answer.destructions)) == (True, [])
    ended.extend = True
    for end, reason, expected in (
        (registry_service_pb2.PURPOSE_END_SATISFIED, "", (Reason.FIELD_INVALID, "extend")),
        (
            registry_service_pb2.PURPOSE_END_FOUND_UNNECESSARY,
            "",
            (Reason.EXTENSION_REASON_MISSING, "extension_reason"),
        ),
        (registry_service_pb2.PURPOSE_END_ACCOUNT_CLOSED, "court", (Reason.FIELD_INVALID, "extend")),
    ):
        ended.end, ended.extension_reason = end, reason
        with pytest.raises(ConsentryError) as raised:
            await registry.RecordPurposeSatisfied(ended, None)
        assert (raised.value.reason, raised.value.field) == expected
    employment = registry_service_pb2.RecordEmploymentEndedRequest(request_id="e-1", subject_id="eileen")
    with pytest.raises(ConsentryError) as raised:
        await registry.RecordEmploymentEnded(employment, None)
    assert raised.value.reason is Reason.STATE_CONFLICT
    seen = registry_service_pb2.RecordInteractionRequest(request_id="i-1", subject_id="nobody")
    with pytest.raises(ConsentryError) as raised:
        await registry.RecordInteraction(seen, None)
    assert raised.value.reason is Reason.NOT_FOUND
    seen.subject_id = "eileen"
    assert (await registry.RecordInteraction(seen, None)).HasField("last_interaction_time")


async def test_a_delivery_must_be_of_what_is_in_effect(servicers: Servicers) -> None:
    await consent(servicers)
    for change, reason in (
        ({"deliver_time": at(NOW - timedelta(days=1))}, Reason.STATE_CONFLICT),
        ({"language": "de"}, Reason.FIELD_INVALID),
        ({"shown_sha256": b"x" * 32}, Reason.DIGEST_MISMATCH),
        ({"notice_version": 2}, Reason.NOT_FOUND),
    ):
        request = samples.delivery()
        request.delivery.MergeFrom(consent_pb2.Delivery(**change))
        with pytest.raises(ConsentryError) as raised:
            await servicers.registry.RecordNoticeDelivery(request, None)
        assert raised.value.reason is reason
    release = samples.release("stranger")
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.RecordRelease(release, None)
    assert raised.value.reason is Reason.NOT_FOUND
    release = samples.release("eileen", "dlv_other")
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.RecordRelease(release, None)
    assert raised.value.reason is Reason.NOTICE_NOT_DELIVERED


async def test_uploads_that_break_off_or_lie_leave_nothing(servicers: Servicers, portrait: bytes) -> None:
    await consent(servicers)
    set_caller(COLLECTOR)
    header = samples.header()
    text = samples.header()
    text.header.content_type = "image/png"
    for parts, reason in (
        ([], Reason.UPLOAD_INCOMPLETE),
        ([header], Reason.UPLOAD_INCOMPLETE),
        ([header, samples.chunk(portrait)], Reason.UPLOAD_INCOMPLETE),
        ([header, samples.chunk(portrait), samples.end(portrait + b"x")], Reason.DIGEST_MISMATCH),
        ([header, samples.chunk(b"\0" * 1_000_000), samples.end(b"\0" * 1_000_000)], Reason.NOT_AN_IMAGE),
        ([text, samples.chunk(portrait), samples.end(portrait)], Reason.NOT_AN_IMAGE),
        ([samples.chunk(portrait)], Reason.FIELD_REQUIRED),
    ):
        with pytest.raises(ConsentryError) as raised:
            await servicers.vault.UploadPhoto(stream(parts), None)
        assert raised.value.reason is reason
    blobs = servicers.stack.running.folders.data / "blobs"
    assert [path for path in blobs.rglob("*") if path.is_file() and "pho_" in path.name] == []
    assert (await upload(servicers, portrait, header)).photo_id


async def test_masked_faces_are_named(servicers: Servicers, photos: Path) -> None:
    await consent(servicers)
    data = (photos / "two-people.jpg").read_bytes()
    uploaded = await upload(servicers, data)
    set_caller(PROCESSOR)
    request = samples.check(samples.face(), samples.face("", x=150), photo_id=uploaded.photo_id)
    checked = await ask(servicers, request)
    assert checked.decision.outcome == v.OUTCOME_DENY
    assert [face.outcome for face in checked.decision.faces] == [v.OUTCOME_ALLOW, v.OUTCOME_DENY]
    opening = vault_service_pb2.OpenPhotoRequest(permit=checked.permit, photo_id=uploaded.photo_id)
    parts = [part async for part in servicers.vault.OpenPhoto(opening, None)]
    header = parts[0].header
    assert header.masked
    assert list(header.masked_boxes) == [request.faces[1].box]
    body = b"".join(part.chunk for part in parts[1:])
    assert (len(body), body == data) == (header.size, False)
