"""A whole tenant without the network: real ledger, keys, blobs and law packs in a folder, on a clock of the test's."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from consentry_server.adapters.grpc.tenants import Tenant
from consentry_server.config import Settings, TenancySettings
from consentry_server.core.record.facts import Box, OperationRequest, Term
from consentry_server.core.vocabulary import (
    AgeBand,
    ConsentScope,
    DataCategory,
    KnownBy,
    NoticeChannel,
    Operation,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
)
from consentry_server.services.checks import Asked, AskedFace, Checked
from consentry_server.services.context import Caller, RequestKey, Role
from consentry_server.services.identifiers import IdentifierDraft, StoredIdentifier
from consentry_server.services.notices import NoticeDraft, PolicyDraft
from consentry_server.services.photos import PhotoDraft, Uploaded, UploadEnd
from consentry_server.services.releases import Claims, DeliveryDraft, Released, ReleaseDraft, Signer
from consentry_server.tenant import RunningTenant
from tests.support.clocks import Clock

PROCESSOR = Caller("acme", Role.PROCESSOR, "face-tagger")
COLLECTOR = Caller("acme", Role.COLLECTOR, "product")
OFFICER = Caller("acme", Role.OFFICER, "officer-first")
SECOND_OFFICER = Caller("acme", Role.OFFICER, "officer-second")
ILLINOIS = frozenset({"US-IL"})
BIOMETRIC = frozenset({DataCategory.PHOTO, DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE})
SETTINGS = Settings(
    tenancy=TenancySettings(trust_domain="consentry.test", tenants=("acme",), protection_at_least_other_sensitive=True)
)


@dataclass
class Stack:
    """A running tenant and the calls that tests make over and over."""

    running: RunningTenant
    tenant: Tenant
    clock: Clock
    notices: dict[str, int] = field(default_factory=dict)

    async def policy(self) -> None:
        await self.tenant.notices.publish_policy(
            COLLECTOR,
            PolicyDraft(
                policy_id="retention",
                text="We keep face templates until the purpose is satisfied, at most three years.",
                public_uri="https://acme.test/retention",
                destruction_guidelines="Keys and ciphertext are deleted.",
                schedule=[{"category": "FACE_TEMPLATE", "clock": "LAST_INTERACTION", "maximum_seconds": 94_608_000}],
            ),
        )

    async def notice(
        self,
        notice_id: str = "tagging",
        purposes: Sequence[Purpose] = (Purpose.TAGGING,),
        term: Term | None = Term(duration=timedelta(days=365)),  # noqa: B008 - frozen
    ) -> int:
        notice, _ = await self.tenant.notices.publish(
            COLLECTOR,
            NoticeDraft(
                notice_id=notice_id,
                text="We collect and store a scan of your face geometry to tag you in photos, for one year.",
                language="en-US",
                purposes=frozenset(purposes),
                categories=BIOMETRIC | {DataCategory.VOICEPRINT},
                says_collected_or_stored=True,
                term=term,
                recipients={"cloud": {}},
            ),
        )
        self.notices[notice_id] = notice.version
        return notice.version

    async def deliver(
        self,
        subject_id: str,
        notice_id: str = "tagging",
        age_band: AgeBand = AgeBand.ADULT,
        signer: Signer = Signer(),  # noqa: B008 - frozen
    ) -> str:
        delivery, _ = await self.tenant.releases.deliver(
            COLLECTOR,
            DeliveryDraft(
                subject_id=subject_id,
                notice_id=notice_id,
                notice_version=self.notices[notice_id],
                channel=NoticeChannel.IN_APP,
                delivered_at=self.clock.now,
                signer=signer,
                claims=Claims(regions=ILLINOIS, age_band=age_band, relationship=Relationship.CONSUMER),
            ),
        )
        return delivery.delivery_id

    async def release(
        self,
        subject_id: str,
        delivery_id: str,
        notice_id: str = "tagging",
        purposes: Sequence[Purpose] = (Purpose.TAGGING,),
        key: RequestKey | None = None,
        categories: frozenset[DataCategory] = BIOMETRIC,
        supersedes: str = "",
        signer: Signer = Signer(),  # noqa: B008 - frozen
    ) -> Released:
        return await self.tenant.releases.release(
            COLLECTOR,
            ReleaseDraft(
                subject_id=subject_id,
                notice_id=notice_id,
                notice_version=self.notices[notice_id],
                delivery_id=delivery_id,
                form=ReleaseForm.ELECTRONIC_SIGNATURE,
                process=SignatureProcess.CLICK_TO_SIGN,
                signed_document_sha256=hashlib.sha256(b"the signed document").digest(),
                signed_at=self.clock.now,
                purposes=frozenset(purposes),
                categories=categories,
                supersedes=supersedes,
                signer=signer,
                scopes=frozenset({ConsentScope.COLLECT}),
                explicit=True,
                key=key,
            ),
        )

    async def consent(self, subject_id: str, notice_id: str = "tagging") -> Released:
        delivery_id = await self.deliver(subject_id, notice_id)
        return await self.release(subject_id, delivery_id, notice_id)

    async def withdraw(self, subject_id: str, release_id: str = "") -> tuple[str, ...]:
        _, _, destructions = await self.tenant.releases.withdraw(COLLECTOR, subject_id, release_id, "", None)
        return destructions

    async def check(
        self,
        *faces: AskedFace,
        operation: Operation = Operation.ENROLL,
        purpose: Purpose = Purpose.TAGGING,
        photo_id: str = "",
        sha256: bytes = b"",
        want_permit: bool = True,
        key: RequestKey | None = None,
    ) -> Checked:
        request = OperationRequest(
            operation=operation,
            purpose=purpose,
            category=DataCategory.PHOTO,
            uses_face_geometry=operation is not Operation.DISPLAY,
            identifies=operation is not Operation.DISPLAY,
            stored=operation in {Operation.EXTRACT_TEMPLATE, Operation.ENROLL},
            algorithm_id="hog-face",
            algorithm_version="1",
            collection_method_id="upload",
        )
        asked = Asked(
            request=request,
            faces=faces,
            photo_id=photo_id,
            photo_sha256=sha256,
            want_permit=want_permit,
            key=key,
        )
        return await self.tenant.gate.check(PROCESSOR, asked)

    async def upload(self, data: bytes, owner: str = "uploader", key: RequestKey | None = None) -> Uploaded:
        draft = PhotoDraft(owner_subject_id=owner, regions=ILLINOIS, key=key)
        return await self.tenant.photos.upload(COLLECTOR, draft, parts(data))

    async def open_photo(self, permit: str, photo_id: str = "") -> bytes:
        opened = await self.tenant.photos.open(PROCESSOR, permit, photo_id)
        return b"".join([piece async for piece in opened.chunks])

    async def store_identifier(
        self,
        permit: str,
        face_index: int = 0,
        template: bytes = b"\x01" * 512,
        key: RequestKey | None = None,
        category: DataCategory = DataCategory.FACE_TEMPLATE,
    ) -> StoredIdentifier:
        return await self.tenant.identifiers.store(
            PROCESSOR,
            permit,
            face_index,
            IdentifierDraft(
                category=category,
                template=template,
                format="hog-float32",
                algorithm_id="hog-face",
                algorithm_version="1",
                collection_method_id="upload",
                key=key,
            ),
        )

    async def open_identifier(self, permit: str, identifier_id: str) -> bytes:
        _, _, template, _ = await self.tenant.identifiers.open(PROCESSOR, permit, identifier_id)
        return template


def face(subject_id: str = "", box: Box | None = Box(10, 10, 80, 80)) -> AskedFace:  # noqa: B008 - frozen
    """A face as the processor names it; unidentified where no subject is given."""
    known_by = KnownBy.DECLARED_BY_UPLOADER if subject_id else KnownBy.UNKNOWN
    return AskedFace(subject_id=subject_id, known_by=known_by, regions=ILLINOIS, box=box)


async def parts(data: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes | UploadEnd]:
    """An upload's chunks and its end."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
    yield UploadEnd(len(data), hashlib.sha256(data).digest())


async def start(folder: Path, clock: Clock, *, create: bool = True, settings: Settings = SETTINGS) -> Stack:
    """Start a tenant in a folder."""
    running = RunningTenant(folder, "acme", settings, encrypted_in_transit=True, clock=clock)
    return Stack(running, await running.start(create=create), clock)
