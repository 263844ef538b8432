"""Whole and valid requests, which tests then break in one place."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from consentry.v1 import (
    byte_stream_pb2,
    consent_pb2,
    determination_pb2,
    gate_service_pb2,
    identifier_pb2,
    notice_pb2,
    photo_pb2,
    registry_service_pb2,
    retention_policy_pb2,
    subject_pb2,
    vault_service_pb2,
)
from consentry.v1 import vocabulary_pb2 as v

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
TEXT = "We collect and store a scan of your face geometry to tag you in photos, for one year."
DOCUMENT = hashlib.sha256(b"the signed document").digest()
_numbers = count(1)


def request_id() -> str:
    """A new one each time."""
    return f"request-{next(_numbers)}"


def at(time: datetime = NOW) -> Timestamp:
    """A timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def face(subject_id: str = "eileen", x: int = 10) -> photo_pb2.FaceInput:
    """A face that its uploader named, or nobody's."""
    return photo_pb2.FaceInput(
        box=photo_pb2.Box(x=x, y=10, width=80, height=80),
        subject_id=subject_id,
        known_by=v.KNOWN_BY_DECLARED_BY_UPLOADER if subject_id else v.KNOWN_BY_UNSPECIFIED,
        regions=["US-IL"],
        age_band=v.AGE_BAND_ADULT,
    )


def check(*faces: photo_pb2.FaceInput, photo_id: str = "", **fields: Any) -> gate_service_pb2.CheckRequest:
    """A check for taking templates of faces in order to tag them."""
    photo = photo_pb2.PhotoReference(photo_id=photo_id) if photo_id else photo_pb2.PhotoReference(sha256=b"\x07" * 32)
    base: dict[str, Any] = {
        "request_id": request_id(),
        "operation": v.OPERATION_ENROLL,
        "purpose": v.PURPOSE_TAGGING,
        "category": v.DATA_CATEGORY_PHOTO,
        "photo": photo,
        "faces": faces or (face(),),
        "source": photo_pb2.Source(visibility=v.VISIBILITY_PUBLIC, capture_time=at(), capture_regions=["US-IL"]),
        "uses_face_geometry": True,
        "identifies": True,
        "stored": True,
        "algorithm_id": "hog-face",
        "algorithm_version": "1.0-RC1+g2",
        "collection_method_id": "upload",
        "want_permit": True,
    }
    return gate_service_pb2.CheckRequest(**(base | fields))


def processing(decision_id: str = "dec_1_abc", **fields: Any) -> gate_service_pb2.RecordProcessingRequest:
    """A report that an operation was done."""
    base: dict[str, Any] = {
        "request_id": request_id(),
        "decision_id": decision_id,
        "result": v.PROCESSING_RESULT_PERFORMED,
        "algorithm_id": "hog-face",
        "algorithm_version": "1",
        "perform_time": at(),
        "detail": "fait en été",
    }
    return gate_service_pb2.RecordProcessingRequest(**(base | fields))


def notice() -> registry_service_pb2.PublishNoticeRequest:
    """A notice that Illinois takes."""
    return registry_service_pb2.PublishNoticeRequest(
        request_id=request_id(),
        notice=notice_pb2.Notice(
            notice_id="tagging",
            language="en-US",
            effective_time=at(),
            says_collected_or_stored=True,
            purposes=[v.PURPOSE_TAGGING],
            categories=[v.DATA_CATEGORY_PHOTO, v.DATA_CATEGORY_FACE_GEOMETRY, v.DATA_CATEGORY_FACE_TEMPLATE],
            term=notice_pb2.Term(duration=Duration(seconds=365 * 86_400)),
            recipients=[
                notice_pb2.NoticeRecipient(
                    recipient_id="cloud",
                    kind=notice_pb2.RECIPIENT_KIND_PROCESSOR,
                    purposes=[v.PURPOSE_TAGGING],
                    holding_period=Duration(seconds=86_400),
                )
            ],
            text=TEXT,
            uri="https://acme.test/notice",
            withdrawal_uri="https://acme.test/withdraw",
            states_paper_option=True,
            text_sha256=hashlib.sha256(TEXT.encode()).digest(),
        ),
    )


def policy() -> registry_service_pb2.PublishRetentionPolicyRequest:
    """A written policy with a schedule and guidelines."""
    return registry_service_pb2.PublishRetentionPolicyRequest(
        request_id=request_id(),
        policy=retention_policy_pb2.RetentionPolicy(
            policy_id="retention",
            effective_time=at(),
            public_uri="https://acme.test/retention",
            text="We keep face templates until the purpose is satisfied, at most three years.",
            schedule=[
                retention_policy_pb2.RetentionRule(
                    category=v.DATA_CATEGORY_FACE_TEMPLATE,
                    clock=retention_policy_pb2.RETENTION_CLOCK_LAST_INTERACTION,
                    maximum_period=Duration(seconds=3 * 365 * 86_400),
                )
            ],
            destruction_guidelines="Keys and ciphertext are deleted.",
        ),
    )


def delivery(subject_id: str = "eileen") -> registry_service_pb2.RecordNoticeDeliveryRequest:
    """The notice, shown to the person in the application."""
    return registry_service_pb2.RecordNoticeDeliveryRequest(
        request_id=request_id(),
        subject_id=subject_id,
        delivery=consent_pb2.Delivery(
            notice_id="tagging",
            notice_version=1,
            signer=consent_pb2.Signer(role=v.SIGNER_ROLE_SELF),
            channel=v.NOTICE_CHANNEL_IN_APP,
            language="en-US",
            deliver_time=at(),
            acknowledge_time=at(NOW + timedelta(seconds=5)),
            shown_sha256=hashlib.sha256(TEXT.encode()).digest(),
            attribution=consent_pb2.Attribution(account_authentication="passkey", multi_factor=True),
            vouching=v.VOUCHING_CALLER_ASSERTED,
        ),
        claims=subject_pb2.SubjectClaims(
            regions=["US-IL"], age_band=v.AGE_BAND_ADULT, relationship=v.RELATIONSHIP_CONSUMER
        ),
    )


def release(subject_id: str = "eileen", delivery_id: str = "dlv_abc") -> registry_service_pb2.RecordReleaseRequest:
    """A release, signed by a click after the notice."""
    return registry_service_pb2.RecordReleaseRequest(
        request_id=request_id(),
        subject_id=subject_id,
        release=consent_pb2.Release(
            notice_id="tagging",
            notice_version=1,
            delivery_id=delivery_id,
            form=v.RELEASE_FORM_ELECTRONIC_SIGNATURE,
            process=v.SIGNATURE_PROCESS_CLICK_TO_SIGN,
            signed_document_sha256=DOCUMENT,
            intent_statement="By pressing this button I sign the release.",
            signer=consent_pb2.Signer(role=v.SIGNER_ROLE_SELF),
            attribution=consent_pb2.Attribution(session_id="s-1"),
            purposes=[v.PURPOSE_TAGGING],
            categories=[v.DATA_CATEGORY_PHOTO, v.DATA_CATEGORY_FACE_GEOMETRY, v.DATA_CATEGORY_FACE_TEMPLATE],
            explicit=True,
            sign_time=at(NOW + timedelta(seconds=10)),
            language="en-US",
            jurisdiction="US-IL",
            vouching=v.VOUCHING_CALLER_ASSERTED,
        ),
    )


def determination() -> registry_service_pb2.RecordDeterminationRequest:
    """An algorithm that cannot tell who somebody is."""
    return registry_service_pb2.RecordDeterminationRequest(
        request_id=request_id(),
        determination=determination_pb2.Determination(
            kind=v.DETERMINATION_KIND_NONBIOMETRIC,
            operations=[v.OPERATION_DETECT_FACES],
            purposes=[v.PURPOSE_PHOTO_COMPLIANCE_CHECK],
            algorithm_id="blur-meter",
            algorithm_version="2.1",
            authority="740 ILCS 14/10, counsel's memorandum",
            evidence_reference="vault://tests/blur-meter/2.1",
            author="General counsel",
            decide_time=at(),
            expire_time=at(NOW + timedelta(days=180)),
        ),
    )


def header(owner: str = "uploader") -> vault_service_pb2.UploadPhotoRequest:
    """The beginning of an upload."""
    return vault_service_pb2.UploadPhotoRequest(
        header=vault_service_pb2.UploadHeader(
            request_id=request_id(),
            description=photo_pb2.PhotoDescription(
                owner_subject_id=owner,
                depicted_subject_ids=["eileen"],
                source=photo_pb2.Source(kind=v.SOURCE_KIND_UPLOADED),
                regions=["US-IL"],
            ),
            content_type="image/jpeg",
        )
    )


def chunk(data: bytes) -> vault_service_pb2.UploadPhotoRequest:
    """A part of a photo."""
    return vault_service_pb2.UploadPhotoRequest(chunk=data)


def end(data: bytes) -> vault_service_pb2.UploadPhotoRequest:
    """The end of an upload of these bytes."""
    return vault_service_pb2.UploadPhotoRequest(
        end=byte_stream_pb2.StreamEnd(size=len(data), sha256=hashlib.sha256(data).digest())
    )


def identifier(permit: str = "p", **fields: Any) -> vault_service_pb2.StoreIdentifierRequest:
    """A template of the first face."""
    base: dict[str, Any] = {
        "request_id": request_id(),
        "permit": permit,
        "identifier": identifier_pb2.Identifier(
            category=v.DATA_CATEGORY_FACE_TEMPLATE,
            format="hog-float32",
            format_version="1",
            algorithm_id="hog-face",
            algorithm_version="1.0-RC1+g2",
            quality=0,
            capture_device="Caméra nº 5",
            collection_method_id="upload",
        ),
        "template": b"\x01" * 512,
    }
    return vault_service_pb2.StoreIdentifierRequest(**(base | fields))
