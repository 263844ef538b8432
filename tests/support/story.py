"""What every story over the network needs first: a policy, a notice, a delivery, a release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from consentry import (
    AgeBand,
    Attribution,
    Box,
    Check,
    Claims,
    Client,
    ConsentScope,
    DataCategory,
    Delivery,
    Face,
    KnownBy,
    Notice,
    NoticeChannel,
    Operation,
    Purpose,
    Relationship,
    Release,
    ReleaseForm,
    RetentionClock,
    RetentionPolicy,
    RetentionRule,
    SignatureProcess,
    Term,
)
from tests.support.server import Server

BIOMETRIC = (DataCategory.PHOTO, DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE)
TEXT = "We collect and store a scan of your face geometry to tag you in photos, for one year."
BOX = Box(x=10, y=10, width=80, height=80)


def client(server: Server, role: str, name: str, folder: str = "") -> Client:
    """A client with a caller's own certificate."""
    files = server.credentials(role, name, folder)
    return Client.connect(
        server.address,
        root_certificates=files["root_certificates"],
        certificate_chain=files["certificate_chain"],
        private_key=files["private_key"],
    )


@dataclass
class Story:
    """Clients of one tenant's callers.

    Args:
        collector: The product's backend.
        processor: The image-processing service.
        auditor: Reads the ledger.
    """

    collector: Client
    processor: Client
    auditor: Client

    def policy(self) -> None:
        self.collector.publish_retention_policy(
            RetentionPolicy(
                policy_id="retention",
                effective_time=datetime.now(UTC),
                public_uri="https://acme.test/retention",
                text="Face templates are destroyed when their purpose is satisfied, at the latest after three years.",
                schedule=[
                    RetentionRule(
                        category=DataCategory.FACE_TEMPLATE,
                        clock=RetentionClock.LAST_INTERACTION,
                        maximum_period=timedelta(days=1095),
                    )
                ],
                destruction_guidelines="Keys and ciphertext are deleted.",
            )
        )

    def notice(self, notice_id: str = "tagging", purposes: Sequence[Purpose] = (Purpose.TAGGING,)) -> int:
        response = self.collector.publish_notice(
            Notice(
                notice_id=notice_id,
                language="en-US",
                effective_time=datetime.now(UTC),
                text=TEXT,
                says_collected_or_stored=True,
                purposes=purposes,
                categories=BIOMETRIC,
                term=Term(duration=timedelta(days=365)),
            )
        )
        return int(response.notice.version)

    def deliver(self, subject_id: str, notice_id: str = "tagging", version: int = 1) -> str:
        response = self.collector.record_notice_delivery(
            subject_id,
            Delivery(
                notice_id=notice_id,
                notice_version=version,
                channel=NoticeChannel.IN_APP,
                language="en-US",
                deliver_time=datetime.now(UTC),
                shown_sha256=hashlib.sha256(TEXT.encode()).digest(),
            ),
            claims=Claims(regions=["US-IL"], age_band=AgeBand.ADULT, relationship=Relationship.CONSUMER),
        )
        return str(response.delivery.delivery_id)

    def release(self, subject_id: str, delivery_id: str, notice_id: str = "tagging", **changes: Any) -> Any:
        values: dict[str, Any] = {
            "notice_id": notice_id,
            "notice_version": 1,
            "delivery_id": delivery_id,
            "form": ReleaseForm.ELECTRONIC_SIGNATURE,
            "process": SignatureProcess.CLICK_TO_SIGN,
            "signed_document_sha256": hashlib.sha256(b"the signed document").digest(),
            "intent_statement": "By clicking I sign this release.",
            "purposes": [Purpose.TAGGING],
            "categories": BIOMETRIC,
            "scopes": [ConsentScope.COLLECT],
            "explicit": True,
            "sign_time": datetime.now(UTC),
            "language": "en-US",
            "attribution": Attribution(account_authentication="password", ip_address="203.0.113.7"),
        }
        return self.collector.record_release(subject_id, Release(**{**values, **changes}))

    def consent(self, subject_id: str) -> Any:
        return self.release(subject_id, self.deliver(subject_id))


def face(subject_id: str = "", box: Box | None = BOX) -> Face:
    """A face; unidentified where no person is named."""
    known_by = KnownBy.DECLARED_BY_UPLOADER if subject_id else KnownBy.UNSPECIFIED
    return Face(box=box, subject_id=subject_id, known_by=known_by)


def enroll(*faces: Face, photo_id: str = "", sha256: bytes = b"", **more: Any) -> Check:
    """A check before a template is made and kept."""
    values: dict[str, Any] = {
        "operation": Operation.ENROLL,
        "purpose": Purpose.TAGGING,
        "category": DataCategory.PHOTO,
        "photo": photo_id or sha256 or bytes(32),
        "faces": faces,
        "uses_face_geometry": True,
        "identifies": True,
        "stored": True,
        "algorithm_id": "hog-face",
        "algorithm_version": "1",
        "collection_method_id": "upload",
        "want_permit": True,
    }
    return Check(**{**values, **more})


@contextmanager
def callers(server: Server, folder: str = "") -> Iterator[Story]:
    """The three callers of a tenant, connected."""
    with ExitStack() as stack:
        yield Story(
            collector=stack.enter_context(client(server, "collector", "product", folder)),
            processor=stack.enter_context(client(server, "processor", "face-tagger", folder)),
            auditor=stack.enter_context(client(server, "auditor", "counsel", folder)),
        )
