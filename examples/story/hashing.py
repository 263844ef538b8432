"""Chapter seven, a story of its own: hashes of whole images, as in Martell v. X Corp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import Check, DataCategory, Operation, Purpose
from face_tagger.face_tagger_pb2 import HashPhotoRequest
from story.before import PORTRAIT
from story.telling import answered, decided

if TYPE_CHECKING:
    from story.scene import Scene


def whole_images(scene: Scene) -> None:
    """A hash of the whole image is out of scope; one that nobody knows anything about waits for a person."""
    story = scene.story
    story.chapter(
        "Another story: hashes of whole images",
        "Martell v. X Corp. was filed on 2023-07-11, before the policy above, about hashes of uploaded photos that are "
        "compared with lists of unlawful images. The complaint was dismissed with leave to amend: it did not plausibly "
        "say that the hash scans face geometry or can identify anybody. The facts decide, so they must be stated.",
    )
    hashed = scene.tagger.HashPhoto(HashPhotoRequest(photo_id=scene.photos[PORTRAIT]))
    story.step(
        "hash-image",
        "HASH_IMAGE: uses_face_geometry=false, identifies=false",
        answered(hashed.answer, f"The hash of the whole image: {hashed.image_hash.hex()}"),
        outcome="ALLOW_NONBIOMETRIC",
        codes=["NOT_BIOMETRIC"],
    )
    story.require(holds=bool(hashed.image_hash), what="no hash came back")
    decision = scene.worker.check(
        Check(
            operation=Operation.HASH_IMAGE,
            purpose=Purpose.CSAM_NSFW_HASH_MATCH,
            category=DataCategory.IMAGE_HASH,
            photo=scene.photos[PORTRAIT],
            algorithm_id="vendor-hash",
            algorithm_version="7",
            want_permit=True,
        )
    )
    story.step(
        "hash-unknown",
        "HASH_IMAGE with a vendor's algorithm that nobody could say anything about",
        decided(decision, "Unknown is not no. No permit is given before a person has determined it."),
        outcome="REVIEW",
        codes=["FACE_UNIDENTIFIED", "GEOMETRY_UNKNOWN", "IMPACT_ASSESSMENT_MISSING", "LAWFUL_BASIS_MISSING"],
    )
    story.require(holds=not decision.permit, what="a permit was given")
