"""Chapters one to three: nothing is published, nobody was told, and what the sentence of 2023 is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import Denied, Operation, PhotoDescription, Purpose
from consentry.v1 import vocabulary_pb2
from face_tagger import vision
from face_tagger.face_tagger_pb2 import FindFacesRequest
from story import papers
from story.scene import ALICE, ILLINOIS, PHOTOS, alice, alice_face
from story.telling import RECORDED, Told, answered, decided

if TYPE_CHECKING:
    from consentry import StoredPhoto
    from story.scene import Scene

PORTRAIT = "portrait.jpg"
ASKED_OF_THE_SENTENCE = (
    (
        "2023-policy-named-purpose",
        vocabulary_pb2.PURPOSE_IDENTIFICATION,
        "DETECT_FACES for IDENTIFICATION, which the sentence names",
        ["NOTICE_TERM_MISSING"],
    ),
    (
        "2023-policy-other-purpose",
        vocabulary_pb2.PURPOSE_TAGGING,
        "DETECT_FACES for TAGGING, which it does not name",
        ["NOTICE_PURPOSE", "NOTICE_TERM_MISSING", "RELEASE_PURPOSE"],
    ),
)


def upload(scene: Scene, name: str) -> StoredPhoto:
    """Let Alice upload one of the project's photos; if it is kept, remember its id."""
    stored = scene.product.upload_photo(
        PHOTOS / name,
        PhotoDescription(owner_subject_id=ALICE, regions=[ILLINOIS]),
        content_type="image/jpeg",
    )
    scene.photos[name] = stored.photo_id
    return stored


def policy_first(scene: Scene) -> None:
    """No photo is kept before the public retention policy is in force."""
    story = scene.story
    story.chapter(
        "A policy first",
        "Alice, an adult in Illinois, uploads her portrait. The vault decides on storing it itself.",
    )
    early = upload(scene, PORTRAIT)
    story.step(
        "upload-before-policy",
        "Upload of portrait.jpg, before there is a retention policy",
        decided(early.decision, "Nothing was kept."),
        outcome="DENY",
        codes=["POLICY_MISSING"],
    )
    story.require(holds=not early.stored, what="a photo was kept")
    published = scene.product.publish_retention_policy(papers.retention_policy()).policy
    story.step(
        "publish-policy",
        "The retention policy is published",
        Told(RECORDED, published.entry.index, lines=[f"{published.policy_id}, version {published.version}"]),
        outcome=RECORDED,
    )
    kept = upload(scene, PORTRAIT)
    size = f"{kept.width} x {kept.height} pixels, {kept.size:,} bytes"
    story.step(
        "upload",
        "The same upload again",
        decided(kept.decision, f"{kept.photo_id}: {size}, encrypted while they came in."),
        outcome="ALLOW_NONBIOMETRIC",
        codes=["NOT_BIOMETRIC", "SATISFIED"],
    )
    story.require(holds=kept.stored, what="no photo was kept")


def nobody_was_told(scene: Scene) -> None:
    """Looking for faces is refused while nobody was told and nobody signed."""
    story = scene.story
    story.chapter("Nobody was told", "The product asks its face tagger for the faces in Alice's portrait.")
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=scene.photos[PORTRAIT], people=[alice()], purpose=vocabulary_pb2.PURPOSE_TAGGING)
    )
    story.step(
        "find-before-notice",
        "DETECT_FACES for TAGGING: the tagger asks before it looks",
        answered(found.answer, "The photo stayed closed; the tagger never saw it."),
        outcome="DENY",
        codes=["NOTICE_NOT_DELIVERED", "RELEASE_MISSING"],
    )
    told = Told("NO REFUSAL", -1)
    try:
        with scene.guard(vision.TEMPLATE_MAKER).processing(
            scene.photos[PORTRAIT], [alice_face()], operation=Operation.EXTRACT_TEMPLATE, purpose=Purpose.TAGGING
        ):
            pass
    except Denied as denied:
        told = decided(denied.decision, "In Python: the guard raised consentry.Denied, and its block never ran.")
    story.step(
        "guard-before-notice",
        "EXTRACT_TEMPLATE for TAGGING: another service runs into its guard",
        told,
        outcome="DENY",
        codes=["NOTICE_NOT_DELIVERED", "RELEASE_MISSING"],
    )


def sentence_of_2023(scene: Scene) -> None:
    """The biometric sentence of a well-known policy, delivered and even signed, is still refused."""
    story = scene.story
    story.chapter(
        "The sentence of 2023",
        f"“{papers.POLICY_SENTENCE}” So the press quoted X Corp.'s privacy policy of 2023-09-29. What if a company "
        "told people just that, and they even signed? (Martell v. X Corp. is another story: filed before this policy, "
        "about hashes of images. It has a chapter of its own below.)",
    )
    notice = scene.product.publish_notice(papers.policy_of_2023()).notice
    delivered = scene.product.record_notice_delivery(ALICE, papers.delivery(notice), claims=papers.CLAIMS).delivery
    signed = scene.product.record_release(ALICE, papers.release(notice, delivered)).release
    story.step(
        "sign-2023-policy",
        "Published as a notice, delivered to Alice, and signed by her",
        Told(RECORDED, signed.entry.index, lines=["Such notices exist, so it is accepted; it lets nothing pass."]),
        outcome=RECORDED,
    )
    for name, purpose, title, codes in ASKED_OF_THE_SENTENCE:
        found = scene.tagger.FindFaces(
            FindFacesRequest(photo_id=scene.photos[PORTRAIT], people=[alice()], purpose=purpose)
        )
        story.step(name, title, answered(found.answer), outcome="DENY", codes=codes)
