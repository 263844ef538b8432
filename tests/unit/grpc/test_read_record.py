"""Bad input to registry and vault: each thing that can be wrong is refused with its reason and its field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from consentry.v1 import (
    byte_stream_pb2,
    consent_pb2,
    notice_pb2,
    registry_service_pb2,
    vault_service_pb2,
)
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc import read_consent, read_notices, read_vault
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import (
    Purpose,
)
from consentry_server.services.photos import UploadEnd
from tests.unit.grpc import samples
from tests.unit.grpc.bad_input import (
    CALLER,
    FAR,
    INVALID,
    LARGE,
    LATER,
    NOT_BUILT,
    REQUIRED,
    UNKNOWN,
    Case,
    put,
    refused,
)
from tests.unit.grpc.samples import NOW, at

NOTICE: list[Case] = [
    (put(request_id=""), REQUIRED, "request_id"),
    (put(notice=None), REQUIRED, "notice"),
    (put(notice__notice_id=""), REQUIRED, "notice.notice_id"),
    (put(notice__notice_id="Tagging"), INVALID, "notice.notice_id"),
    (put(notice__version=-1), INVALID, "notice.version"),
    (put(notice__language=""), REQUIRED, "notice.language"),
    (put(notice__language="english please"), INVALID, "notice.language"),
    (put(notice__effective_time=None), REQUIRED, "notice.effective_time"),
    (put(notice__effective_time=FAR), INVALID, "notice.effective_time"),
    (put(notice__purposes=[0]), UNKNOWN, "notice.purposes[0]"),
    (put(notice__purposes=[v.PURPOSE_TAGGING, 99]), UNKNOWN, "notice.purposes[1]"),
    (put(notice__purposes=[v.PURPOSE_TAGGING] * 33), LARGE, "notice.purposes"),
    (put(notice__categories=[99]), UNKNOWN, "notice.categories[0]"),
    (put(notice__term=notice_pb2.Term()), REQUIRED, "notice.term.duration"),
    (put(notice__term__duration=Duration(seconds=0)), INVALID, "notice.term.duration"),
    (put(notice__term__duration=Duration(seconds=-5)), INVALID, "notice.term.duration"),
    (put(notice__term__duration=Duration(seconds=1, nanos=1)), INVALID, "notice.term.duration"),
    (put(notice__term__duration=Duration(seconds=2**62)), INVALID, "notice.term.duration"),
    (put(notice__term__end_event=0), UNKNOWN, "notice.term.end_event"),
    (put(notice__recipients__0__recipient_id=""), REQUIRED, "notice.recipients[0].recipient_id"),
    (put(notice__recipients__0__kind=0), UNKNOWN, "notice.recipients[0].kind"),
    (put(notice__recipients__0__purposes=[]), REQUIRED, "notice.recipients[0].purposes"),
    (put(notice__recipients__0__purposes=[v.PURPOSE_ADVERTISING]), INVALID, "notice.recipients[0].purposes[0]"),
    (put(notice__recipients__0__purposes=[99]), UNKNOWN, "notice.recipients[0].purposes[0]"),
    (put(notice__recipients__0__holding_period=Duration(nanos=5)), INVALID, "notice.recipients[0].holding_period"),
    (put(notice__recipients=[notice_pb2.NoticeRecipient()] * 65), LARGE, "notice.recipients"),
    (put(notice__text=" \n "), REQUIRED, "notice.text"),
    (put(notice__text="a\x00"), INVALID, "notice.text"),
    (put(notice__text="é" * 40_000), LARGE, "notice.text"),
    (put(notice__uri="http://acme.test/"), INVALID, "notice.uri"),
    (put(notice__uri="https://"), INVALID, "notice.uri"),
    (put(notice__uri="https://[x"), INVALID, "notice.uri"),
    (put(notice__withdrawal_uri="javascript:alert(1)"), INVALID, "notice.withdrawal_uri"),
    (put(notice__withdrawal_uri="https://acme.test/" + "a" * 2_000), INVALID, "notice.withdrawal_uri"),
    (put(notice__text_sha256=b"x"), INVALID, "notice.text_sha256"),
    (put(notice__text_sha256=b"x" * 32), Reason.DIGEST_MISMATCH, "notice.text_sha256"),
]


@pytest.mark.parametrize("case", NOTICE, ids=lambda case: case[2])
def test_a_bad_notice_is_refused(case: Case) -> None:
    refused(case, samples.notice(), lambda request: read_notices.publish_notice(request, CALLER))


def test_a_recipient_is_named_once() -> None:
    request = samples.notice()
    request.notice.recipients.append(request.notice.recipients[0])
    refused(
        (lambda _: None, INVALID, "notice.recipients[1].recipient_id"),
        request,
        lambda sent: read_notices.publish_notice(sent, CALLER),
    )


def test_a_notice_without_purposes_or_term_is_accepted_since_such_notices_exist() -> None:
    request = samples.notice()
    put(notice__purposes=[], notice__categories=[], notice__recipients=[], notice__term=None)(request)
    draft = read_notices.publish_notice(request, CALLER)
    assert (draft.purposes, draft.categories, draft.term) == (frozenset(), frozenset(), None)


POLICY: list[Case] = [
    (put(policy=None), REQUIRED, "policy"),
    (put(policy__policy_id=""), REQUIRED, "policy.policy_id"),
    (put(policy__effective_time=None), REQUIRED, "policy.effective_time"),
    (put(policy__public_uri=""), REQUIRED, "policy.public_uri"),
    (put(policy__public_uri="acme.test"), INVALID, "policy.public_uri"),
    (put(policy__text=""), REQUIRED, "policy.text"),
    (put(policy__schedule__0__category=0), UNKNOWN, "policy.schedule[0].category"),
    (put(policy__schedule__0__purpose=99), UNKNOWN, "policy.schedule[0].purpose"),
    (put(policy__schedule__0__clock=0), UNKNOWN, "policy.schedule[0].clock"),
    (put(policy__schedule__0__maximum_period=None), REQUIRED, "policy.schedule[0].maximum_period"),
    (put(policy__destruction_guidelines="x" * 16_385), LARGE, "policy.destruction_guidelines"),
    (put(policy__sweep_latency=Duration(seconds=31 * 86_400)), INVALID, "policy.sweep_latency"),
    (put(policy__text_sha256=b"x" * 32), Reason.DIGEST_MISMATCH, "policy.text_sha256"),
]


@pytest.mark.parametrize("case", POLICY, ids=lambda case: case[2])
def test_a_bad_policy_is_refused(case: Case) -> None:
    refused(case, samples.policy(), lambda request: read_notices.publish_policy(request, CALLER))


REPRESENTATIVE = consent_pb2.Signer(
    role=v.SIGNER_ROLE_REPRESENTATIVE, representative_id="mother", authority_basis=v.AUTHORITY_BASIS_COURT_ORDER
)
DELIVERY: list[Case] = [
    (put(subject_id=""), REQUIRED, "subject_id"),
    (put(subject_id=" \t"), REQUIRED, "subject_id"),
    (put(subject_id="x" * 257), INVALID, "subject_id"),
    (put(delivery=None), REQUIRED, "delivery"),
    (put(delivery__notice_id=""), REQUIRED, "delivery.notice_id"),
    (put(delivery__notice_version=0), REQUIRED, "delivery.notice_version"),
    (put(delivery__notice_version=-3), INVALID, "delivery.notice_version"),
    (put(delivery__signer=None), REQUIRED, "delivery.signer"),
    (put(delivery__signer__role=0), UNKNOWN, "delivery.signer.role"),
    (put(delivery__signer__authority_basis=77), UNKNOWN, "delivery.signer.authority_basis"),
    (put(delivery__signer=REPRESENTATIVE), REQUIRED, "delivery.signer.authority_evidence"),
    (put(delivery__signer__authority_evidence="x"), INVALID, "delivery.signer.authority_evidence"),
    (put(delivery__channel=0), UNKNOWN, "delivery.channel"),
    (put(delivery__language=""), REQUIRED, "delivery.language"),
    (put(delivery__deliver_time=None), REQUIRED, "delivery.deliver_time"),
    (put(delivery__deliver_time=LATER, delivery__acknowledge_time=None), INVALID, "delivery.deliver_time"),
    (put(delivery__acknowledge_time=at(NOW - timedelta(seconds=1))), INVALID, "delivery.acknowledge_time"),
    (put(delivery__esign_disclosure_version="x" * 65), INVALID, "delivery.esign_disclosure_version"),
    (put(delivery__access_demonstrated_by="x" * 257), INVALID, "delivery.access_demonstrated_by"),
    (put(delivery__shown_sha256=b""), REQUIRED, "delivery.shown_sha256"),
    (put(delivery__attribution__ip_address="x" * 46), INVALID, "delivery.attribution.ip_address"),
    (put(delivery__attribution__user_agent="x" * 513), INVALID, "delivery.attribution.user_agent"),
    (put(delivery__vouching=0), UNKNOWN, "delivery.vouching"),
    (put(delivery__vouching=v.VOUCHING_SIGNER_SIGNED), REQUIRED, "delivery.signer_signature"),
    (put(delivery__signer_signature=consent_pb2.SignerSignature()), INVALID, "delivery.signer_signature"),
    (put(claims__regions=["Chicago"]), UNKNOWN, "claims.regions[0]"),
    (put(claims__age_band=9), UNKNOWN, "claims.age_band"),
    (put(claims__relationship=9), UNKNOWN, "claims.relationship"),
]


@pytest.mark.parametrize("case", DELIVERY, ids=lambda case: case[2])
def test_a_bad_delivery_is_refused(case: Case) -> None:
    refused(case, samples.delivery(), lambda request: read_consent.delivery(request, CALLER, NOW))


def signed(**fields: Any) -> Callable[[Any], object]:
    signature = consent_pb2.SignerSignature(
        algorithm=consent_pb2.SIGNATURE_ALGORITHM_ED25519, public_key=b"k" * 32, signature=b"s" * 64
    )
    put_fields = put(**fields)

    def change(request: Any) -> None:
        put(release__vouching=v.VOUCHING_SIGNER_SIGNED, release__signer_signature=signature)(request)
        put_fields(request)

    return change


RELEASE: list[Case] = [
    (put(release=None), REQUIRED, "release"),
    (put(release__delivery_id=""), REQUIRED, "release.delivery_id"),
    (put(release__form=0), UNKNOWN, "release.form"),
    (put(release__form=v.RELEASE_FORM_EMPLOYMENT_RELEASE), REQUIRED, "release.condition_of_employment"),
    (put(release__process=0), UNKNOWN, "release.process"),
    (put(release__attribution=None), REQUIRED, "release.attribution"),
    (put(release__attribution=consent_pb2.Attribution()), REQUIRED, "release.attribution"),
    (put(release__signed_document_sha256=b""), REQUIRED, "release.signed_document_sha256"),
    (put(release__intent_statement=""), REQUIRED, "release.intent_statement"),
    (put(release__intent_statement="x" * 2_001), INVALID, "release.intent_statement"),
    (put(release__purposes=[99]), UNKNOWN, "release.purposes[0]"),
    (put(release__recipient_ids=["cloud", "The Cloud"]), INVALID, "release.recipient_ids[1]"),
    (put(release__scopes=[0]), UNKNOWN, "release.scopes[0]"),
    (put(release__sign_time=None), REQUIRED, "release.sign_time"),
    (put(release__sign_time=LATER), INVALID, "release.sign_time"),
    (put(release__expire_time=FAR), INVALID, "release.expire_time"),
    (put(release__language="x"), INVALID, "release.language"),
    (put(release__jurisdiction="Illinois"), UNKNOWN, "release.jurisdiction"),
    (put(release__supersedes_release_id="REL"), INVALID, "release.supersedes_release_id"),
    (signed(release__signer_signature__algorithm=0), UNKNOWN, "release.signer_signature.algorithm"),
    (signed(release__signer_signature__public_key=b"k"), INVALID, "release.signer_signature.public_key"),
    (signed(release__signer_signature__signature=b""), REQUIRED, "release.signer_signature.signature"),
]


@pytest.mark.parametrize("case", RELEASE, ids=lambda case: case[2])
def test_a_bad_release_is_refused(case: Case) -> None:
    refused(case, samples.release(), lambda request: read_consent.release(request, CALLER, NOW))


DETERMINATION: list[Case] = [
    (put(determination__kind=0), UNKNOWN, "determination.kind"),
    (put(determination__kind=v.DETERMINATION_KIND_LEGAL_PROCESS), REQUIRED, "determination.contract_id"),
    (put(determination__kind=v.DETERMINATION_KIND_TX_RETENTION_REQUIRED), REQUIRED, "determination.contract_id"),
    (put(determination__operations=[99]), UNKNOWN, "determination.operations[0]"),
    (put(determination__recipient_id="The cloud"), INVALID, "determination.recipient_id"),
    (put(determination__algorithm_version=""), REQUIRED, "determination.algorithm_version"),
    (put(determination__authority=""), REQUIRED, "determination.authority"),
    (put(determination__evidence_reference=""), REQUIRED, "determination.evidence_reference"),
    (put(determination__author=""), REQUIRED, "determination.author"),
    (put(determination__decide_time=LATER), INVALID, "determination.decide_time"),
    (put(determination__expire_time=None), REQUIRED, "determination.expire_time"),
]


@pytest.mark.parametrize("case", DETERMINATION, ids=lambda case: case[2])
def test_a_bad_determination_is_refused(case: Case) -> None:
    refused(case, samples.determination(), lambda request: read_consent.determination(request, CALLER, NOW))


HEADER: list[Case] = [
    (put(chunk=b"x"), REQUIRED, "header"),
    (put(header__request_id=""), REQUIRED, "header.request_id"),
    (put(header__description=None), REQUIRED, "header.description"),
    (put(header__description__owner_subject_id=""), REQUIRED, "header.description.owner_subject_id"),
    (
        put(header__description__depicted_subject_ids=["a", ""]),
        REQUIRED,
        "header.description.depicted_subject_ids[1]",
    ),
    (put(header__description__depicted_subject_ids=["a"] * 257), LARGE, "header.description.depicted_subject_ids"),
    (put(header__description__purpose=99), UNKNOWN, "header.description.purpose"),
    (put(header__description__source__kind=99), UNKNOWN, "header.description.source.kind"),
    (put(header__description__source__capture_time=LATER), INVALID, "header.description.source.capture_time"),
    (put(header__description__regions=["??"]), UNKNOWN, "header.description.regions[0]"),
    (put(header__content_type="x" * 128), INVALID, "header.content_type"),
]


@pytest.mark.parametrize("case", HEADER, ids=lambda case: case[2])
def test_a_bad_upload_header_is_refused(case: Case) -> None:
    refused(case, samples.header(), lambda request: read_vault.upload_header(request, CALLER, NOW))


def test_an_upload_header_says_what_it_leaves_out() -> None:
    draft = read_vault.upload_header(samples.header(), CALLER, NOW)
    assert (draft.purpose, draft.captured_at, draft.content_type) == (Purpose.PHOTO_HOSTING, NOW, "image/jpeg")


async def messages(*sent: vault_service_pb2.UploadPhotoRequest) -> AsyncIterator[vault_service_pb2.UploadPhotoRequest]:
    for each in sent:
        yield each


@pytest.mark.parametrize(
    ("sent", "reason", "field"),
    [
        ([samples.chunk(b"")], REQUIRED, "chunk"),
        ([samples.chunk(b"x" * (1024 * 1024 + 1))], LARGE, "chunk"),
        ([samples.chunk(b"a"), samples.header()], INVALID, "header"),
        ([vault_service_pb2.UploadPhotoRequest()], REQUIRED, "chunk"),
        ([samples.chunk(b"a"), samples.end(b"a"), samples.chunk(b"b")], INVALID, "end"),
        ([vault_service_pb2.UploadPhotoRequest(end=byte_stream_pb2.StreamEnd(size=1))], REQUIRED, "end.sha256"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_bad_parts_of_an_upload_are_refused(
    sent: list[vault_service_pb2.UploadPhotoRequest], reason: Reason, field: str
) -> None:
    with pytest.raises(ConsentryError) as raised:
        [part async for part in read_vault.upload_parts(messages(*sent))]
    assert (raised.value.reason, raised.value.field) == (reason, field)


async def test_the_parts_of_an_upload_come_in_order_and_end() -> None:
    parts = [part async for part in read_vault.upload_parts(messages(samples.chunk(b"a"), samples.end(b"a")))]
    assert parts[0] == b"a"
    assert isinstance(parts[1], UploadEnd)
    assert [part async for part in read_vault.upload_parts(messages(samples.chunk(b"a")))] == [b"a"]


IDENTIFIER: list[Case] = [
    (put(request_id=""), REQUIRED, "request_id"),
    (put(identifier=None), REQUIRED, "identifier"),
    (put(template=b""), REQUIRED, "template"),
    (put(template=b"x" * 65_537), LARGE, "template"),
    (put(identifier__category=0), UNKNOWN, "identifier.category"),
    (put(identifier__format="Hog"), INVALID, "identifier.format"),
    (put(identifier__format_version=""), REQUIRED, "identifier.format_version"),
    (put(identifier__algorithm_id="", identifier__algorithm_version=""), REQUIRED, "identifier.algorithm_id"),
    (put(identifier__algorithm_version=""), REQUIRED, "identifier.algorithm_version"),
    (put(identifier__quality=101), INVALID, "identifier.quality"),
    (put(identifier__capture_device="x" * 257), INVALID, "identifier.capture_device"),
    (put(identifier__collection_method_id=""), REQUIRED, "identifier.collection_method_id"),
    (put(identifier__replaces_identifier_id="idf_1"), NOT_BUILT, "identifier.replaces_identifier_id"),
]


@pytest.mark.parametrize("case", IDENTIFIER, ids=lambda case: case[2])
def test_a_bad_identifier_is_refused(case: Case) -> None:
    refused(case, samples.identifier(), lambda request: read_vault.identifier(request, CALLER))


def test_quality_zero_is_said_and_absent_is_not() -> None:
    request = samples.identifier()
    assert read_vault.identifier(request, CALLER).quality == 0
    request.identifier.ClearField("quality")
    assert read_vault.identifier(request, CALLER).quality is None


@pytest.mark.parametrize(
    ("permit", "reason"), [("", REQUIRED), ("é", Reason.PERMIT_INVALID), ("\0", Reason.PERMIT_INVALID)]
)
def test_what_is_no_permit_is_refused(permit: str, reason: Reason) -> None:
    with pytest.raises(ConsentryError) as raised:
        read_vault.permit(permit)
    assert (raised.value.reason, raised.value.field) == (reason, "permit")


def test_a_subject_is_named_one_way_or_the_other() -> None:
    request = registry_service_pb2.GetSubjectRequest()
    with pytest.raises(ConsentryError) as raised:
        read_consent.subject_reference(request.subject, "subject")
    assert (raised.value.reason, raised.value.field) == (REQUIRED, "subject")
    request.subject.subject_ref = "sub/1"
    with pytest.raises(ConsentryError) as raised:
        read_consent.subject_reference(request.subject, "subject")
    assert raised.value.field == "subject.subject_ref"
