"""Consent to training, and what is made under it, for tests on a whole tenant."""

from __future__ import annotations

import hashlib
from datetime import datetime

from consentry_server.core.record.artifacts import Artifact, ArtifactKind
from consentry_server.core.record.facts import OperationRequest
from consentry_server.core.vocabulary import (
    ConsentScope,
    DataCategory,
    Operation,
    Purpose,
    ReleaseForm,
    SignatureProcess,
)
from consentry_server.services.checks import Asked, AskedFace, Checked
from consentry_server.services.context import RequestKey
from consentry_server.services.derived import DerivedDraft
from consentry_server.services.releases import ReleaseDraft
from tests.support.stack import BIOMETRIC, COLLECTOR, PROCESSOR, Stack

NOTICE = "training"
PURPOSES = (Purpose.MODEL_TRAINING, Purpose.TAGGING)


async def begin(stack: Stack) -> None:
    """Publish what training needs: a policy, and a notice that names it."""
    await stack.policy()
    await stack.notice(NOTICE, PURPOSES)
    stack.clock.forward(seconds=1)


async def consent(stack: Stack, person: str) -> str:
    """A person's release to training; its id."""
    delivery_id = await stack.deliver(person, NOTICE)
    stack.clock.forward(seconds=1)
    released = await stack.tenant.releases.release(
        COLLECTOR,
        ReleaseDraft(
            subject_id=person,
            notice_id=NOTICE,
            notice_version=stack.notices[NOTICE],
            delivery_id=delivery_id,
            form=ReleaseForm.ELECTRONIC_SIGNATURE,
            process=SignatureProcess.CLICK_TO_SIGN,
            signed_document_sha256=hashlib.sha256(b"training").digest(),
            signed_at=stack.clock.now,
            purposes=frozenset(PURPOSES),
            categories=BIOMETRIC,
            scopes=frozenset({ConsentScope.COLLECT, ConsentScope.TRAIN}),
            explicit=True,
        ),
    )
    stack.clock.forward(seconds=1)
    return released.release.release_id


async def ask(
    stack: Stack,
    *faces: AskedFace,
    operation: Operation = Operation.TRAIN_MODEL,
    purpose: Purpose = Purpose.MODEL_TRAINING,
    artifact_id: str = "",
    photo_id: str = "",
    occurred_at: datetime | None = None,
    want_permit: bool = False,
    key: RequestKey | None = None,
) -> Checked:
    """One check about a photo's faces or an artifact."""
    request = OperationRequest(
        operation=operation,
        purpose=purpose,
        category=DataCategory.PHOTO,
        uses_face_geometry=True,
        identifies=True,
        stored=True,
        artifact_id=artifact_id,
    )
    asked = Asked(request, faces, photo_id=photo_id, occurred_at=occurred_at, want_permit=want_permit, key=key)
    return await stack.tenant.gate.check(PROCESSOR, asked)


async def derive(
    stack: Stack,
    artifact_id: str,
    decision_id: str,
    kind: ArtifactKind = ArtifactKind.MODEL,
    *,
    made_at: datetime | None = None,
    photos: tuple[str, ...] = (),
    parents: tuple[str, ...] = (),
    key: RequestKey | None = None,
) -> Artifact:
    """Record what was made under a decision."""
    draft = DerivedDraft(
        artifact_id, kind, decision_id, made_at or stack.clock.now, photos=photos, parents=parents, key=key
    )
    artifact, _ = await stack.tenant.derived.record(PROCESSOR, draft)
    return artifact
