"""What people are told and what they sign. Short on purpose; no text here is legal advice."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from consentry import (
    AgeBand,
    Attribution,
    Claims,
    ConsentScope,
    DataCategory,
    Delivery,
    Notice,
    NoticeChannel,
    NoticeRecipient,
    Purpose,
    RecipientKind,
    Relationship,
    Release,
    ReleaseForm,
    RetentionClock,
    RetentionPolicy,
    RetentionRule,
    SignatureProcess,
    Term,
)

if TYPE_CHECKING:
    from consentry.v1 import consent_pb2, notice_pb2

LANGUAGE = "en-US"
YEAR = timedelta(days=365)
FACES = (DataCategory.PHOTO, DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE)
CLAIMS = Claims(regions=["US-IL"], age_band=AgeBand.ADULT, relationship=Relationship.CONSUMER)

POLICY_SENTENCE = (
    "Based on your consent, we may collect and use your biometric information for safety, security, and identification "
    "purposes."
)
"""As the press quoted the privacy policy of X Corp. that took effect on 2023-09-29."""
POLICY_PURPOSES = (Purpose.SAFETY_MODERATION, Purpose.ACCOUNT_SECURITY, Purpose.IDENTIFICATION)
INTENT = "By pressing Sign I give this written release."


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def retention_policy() -> RetentionPolicy:
    """The public policy that 740 ILCS 14/15(a) demands."""
    return RetentionPolicy(
        policy_id="biometrics",
        effective_time=now(),
        public_uri="https://acme.example/biometric-retention",
        text=(
            "We keep face templates for at most one year after your last visit, and destroy them within a day when you "
            "withdraw your release or their purpose is satisfied."
        ),
        schedule=[
            RetentionRule(
                category=DataCategory.FACE_TEMPLATE, clock=RetentionClock.LAST_INTERACTION, maximum_period=YEAR
            ),
            RetentionRule(
                category=DataCategory.FACE_TEMPLATE,
                clock=RetentionClock.RELEASE_ENDED,
                maximum_period=timedelta(days=1),
            ),
        ],
        destruction_guidelines="The keys and the encrypted data are deleted, and their absence is verified by reading.",
    )


def policy_of_2023() -> Notice:
    """The policy's sentence as a notice, read as kindly as it can be: it says what is collected and names purposes."""
    return Notice(
        notice_id="policy-2023",
        language=LANGUAGE,
        effective_time=datetime(2023, 9, 29, tzinfo=UTC),
        text=POLICY_SENTENCE,
        says_collected_or_stored=True,
        purposes=POLICY_PURPOSES,
        categories=FACES,
        term=None,  # it states none
    )


def tagging_notice() -> Notice:
    """A notice with everything that 740 ILCS 14/15(b) asks for."""
    return Notice(
        notice_id="photo-tagging",
        language=LANGUAGE,
        effective_time=now(),
        text=(
            "When you turn on photo tagging, we collect and store a scan of your face geometry and a template made "
            "from it, so that your name can be suggested on photos. We keep them for one year from your signature, or "
            "until you withdraw, whichever comes first. Our hosting provider keeps the encrypted data on our behalf. "
            "We do not sell it or use it for anything else."
        ),
        says_collected_or_stored=True,
        purposes=[Purpose.TAGGING],
        categories=FACES,
        term=Term(duration=YEAR),
        recipients=[
            NoticeRecipient(recipient_id="hosting-provider", kind=RecipientKind.PROCESSOR, purposes=[Purpose.TAGGING])
        ],
        uri="https://acme.example/photo-tagging",
        withdrawal_uri="https://acme.example/photo-tagging/withdraw",
    )


def delivery(notice: notice_pb2.Notice) -> Delivery:
    """The notice as it was shown in the app, to the person themselves."""
    return Delivery(
        notice_id=notice.notice_id,
        notice_version=notice.version,
        channel=NoticeChannel.IN_APP,
        language=LANGUAGE,
        deliver_time=now(),
        shown_sha256=notice.text_sha256,
    )


def release(notice: notice_pb2.Notice, delivered: consent_pb2.Delivery) -> Release:
    """What the person signed with a click on a control that says that it signs."""
    return Release(
        notice_id=notice.notice_id,
        notice_version=notice.version,
        delivery_id=delivered.delivery_id,
        form=ReleaseForm.ELECTRONIC_SIGNATURE,
        process=SignatureProcess.CLICK_TO_SIGN,
        signed_document_sha256=hashlib.sha256(f"{notice.text}\n\n{INTENT}\n".encode()).digest(),
        intent_statement=INTENT,
        purposes=[Purpose.read(purpose) for purpose in notice.purposes],
        categories=[DataCategory.read(category) for category in notice.categories],
        sign_time=now(),
        language=LANGUAGE,
        attribution=Attribution(account_authentication="passkey", multi_factor=True, device="phone"),
        scopes=[ConsentScope.COLLECT],
        explicit=True,
        jurisdiction="US-IL",
    )
