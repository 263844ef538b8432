"""Chapter eight: Alice withdraws. From that entry on nothing opens, and what was stored is destroyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import ConsentryError, DestructionStage, NoticeChannel, Operation, PermissionDenied, Purpose
from consentry.v1 import vocabulary_pb2
from face_tagger import vision
from face_tagger.face_tagger_pb2 import FindFacesRequest, MatchFaceRequest
from story.before import PORTRAIT
from story.scene import ALICE, alice, alice_face
from story.telling import COMPLETED, RECORDED, REFUSED, Told, answered, refused

if TYPE_CHECKING:
    from consentry import Permit
    from consentry.v1.registry_service_pb2 import WithdrawReleaseResponse
    from story.scene import Scene


def withdrawal(scene: Scene) -> None:
    """A worker is in the middle of its work when Alice withdraws."""
    story = scene.story
    story.chapter(
        "Alice withdraws",
        "The night job has just been allowed to look for her face and to open her template. Before it opens anything, "
        "she withdraws, in the app. She gives no reason and fills in no form.",
    )
    portrait, face = scene.photos[PORTRAIT], [alice_face(vision.Box(*_box(scene)))]
    with (
        scene.guard(vision.FINDER).processing(
            portrait, face, operation=Operation.DETECT_FACES, purpose=Purpose.TAGGING
        ) as looking,
        scene.guard(vision.TEMPLATE_MAKER).processing(
            portrait, face, operation=Operation.VERIFY, purpose=Purpose.TAGGING
        ) as comparing,
    ):
        withdrawn = scene.product.withdraw_release(ALICE, channel=NoticeChannel.IN_APP)
        story.step(
            "withdraw",
            "Both of her releases end with one entry",
            Told(RECORDED, withdrawn.entry.index, lines=[", ".join(withdrawn.withdrawn_release_ids)]),
            outcome=RECORDED,
        )
        _nothing_opens(scene, looking, comparing)
    _destroyed(scene, withdrawn)
    _denied_afterwards(scene)


def _nothing_opens(scene: Scene, looking: Permit, comparing: Permit) -> None:
    """Permits from before the withdrawal: the vault looks at their basis again."""
    told = Told("NO REFUSAL", -1)
    try:
        looking.open()
    except PermissionDenied as error:
        told = refused(
            error, looking.decision.entry.index, f"The permit was given at index {looking.decision.entry.index}."
        )
    scene.story.step(
        "permit-after-withdrawal",
        "The night job opens the photo under its permit from before",
        told,
        outcome=REFUSED,
        codes=["BASIS_GONE"],
    )
    told = Told("NO REFUSAL", -1)
    try:
        comparing.open_identifier(scene.identifier_id)
    except ConsentryError as error:
        told = refused(error, comparing.decision.entry.index)
    scene.story.step(
        "template-after-withdrawal",
        "The night job opens the template under its permit from before",
        told,
        outcome=REFUSED,
        codes=["DESTROYED"],
    )
    for permit in (looking, comparing):
        permit.not_performed("the basis was gone")


def _destroyed(scene: Scene, withdrawn: WithdrawReleaseResponse) -> None:
    """The certificate says how far it has come, and what is not yet gone."""
    scene.story.require(holds=len(withdrawn.destructions) == 1, what="the withdrawal started no destruction")
    certificate = scene.product.get_destruction_certificate(withdrawn.destructions[0].destruction_id).certificate
    stage = DestructionStage.read(certificate.summary.stage)
    gone_for_good = certificate.summary.unrecoverable_after_time.ToDatetime()
    scene.story.step(
        "destruction-certificate",
        "Her identifier is destroyed; the certificate claims no more than was reached",
        Told(
            stage.name,
            certificate.entries[-1].index,
            lines=[
                f"gone      {', '.join(target.record_id for target in certificate.targets)}: {certificate.method}",
                f"verified  {certificate.verification}",
                *[f"not yet   {remaining}" for remaining in certificate.remaining],
                f"gone for good after {gone_for_good:%Y-%m-%d}",
            ],
        ),
        outcome=COMPLETED,
    )
    targets = [target.record_id for target in certificate.targets]
    scene.story.require(holds=targets == [scene.identifier_id], what=f"destroyed: {targets}")
    scene.story.require(holds=bool(certificate.remaining), what="the certificate hides the copies in backups")
    held = list(scene.product.list_identifiers(ALICE))
    scene.story.require(holds=not held, what=f"{len(held)} identifiers are still held")


def _denied_afterwards(scene: Scene) -> None:
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=scene.photos[PORTRAIT], people=[alice()], purpose=vocabulary_pb2.PURPOSE_TAGGING)
    )
    scene.story.step(
        "find-after-withdrawal",
        "DETECT_FACES for TAGGING, asked anew",
        answered(found.answer),
        outcome="DENY",
        codes=["RELEASE_WITHDRAWN"],
    )
    match = scene.tagger.MatchFace(
        MatchFaceRequest(
            photo_id=scene.photos[PORTRAIT],
            people=[alice(scene.alice_box)],
            identifier_id=scene.identifier_id,
            purpose=vocabulary_pb2.PURPOSE_TAGGING,
        )
    )
    scene.story.step(
        "match-after-withdrawal",
        "VERIFY for TAGGING, asked anew",
        answered(match.answer),
        outcome="DENY",
        codes=["RELEASE_WITHDRAWN"],
    )


def _box(scene: Scene) -> tuple[int, int, int, int]:
    box = scene.alice_box
    return box.x, box.y, box.width, box.height
