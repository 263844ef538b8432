"""Chapter six: a yes goes as far as it says, and no further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import Box as ClientBox
from consentry import Face, Operation, PermissionDenied, Purpose
from consentry.v1 import vocabulary_pb2
from face_tagger import vision
from face_tagger.face_tagger_pb2 import FindFacesRequest, MatchFaceRequest, Person
from story.before import PORTRAIT, upload
from story.scene import ALICE_IN_TWO, BYSTANDER_IN_TWO, alice, alice_face, box_message
from story.telling import Told, answered, decided, refused

if TYPE_CHECKING:
    from story.scene import Scene

TWO = "two-people.jpg"
NO_FACE = "no-face.jpg"
MASKED = "masked.jpg"
MIXED = ["ALLOW", "DENY"]


def bystander(scene: Scene) -> None:
    """A friend without consent stands beside Alice: one face is opened, the other is black."""
    story = scene.story
    story.chapter(
        "A bystander",
        "Alice uploads a photo of herself beside somebody nobody knows, and draws a box around each of them. "
        "Her release is hers alone: it covers no other face.",
    )
    kept = upload(scene, TWO)
    story.step(
        "upload-two",
        "Upload of two-people.jpg",
        decided(kept.decision),
        outcome="ALLOW_NONBIOMETRIC",
        codes=["NOT_BIOMETRIC", "SATISFIED"],
    )
    people = [alice(box_message(ALICE_IN_TWO)), Person(box=box_message(BYSTANDER_IN_TWO))]
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=kept.photo_id, people=people, purpose=vocabulary_pb2.PURPOSE_TAGGING)
    )
    told = answered(
        found.answer,
        "The permit covers Alice's box, face 0, alone. The tagger got the photo with the other face masked, and found "
        f"{len(found.found)} face.",
    )
    story.step(
        "bystander",
        "DETECT_FACES for TAGGING, Alice and a stranger",
        told,
        outcome="DENY",
        codes=["FACE_UNIDENTIFIED", "IMPACT_ASSESSMENT_MISSING", "LAWFUL_BASIS_MISSING"],
    )
    story.require(holds=told.faces == MIXED, what=f"the faces got {told.faces}")
    story.require(holds=found.masked and len(found.found) == 1, what=f"{len(found.found)} faces were found")
    _look_at_the_mask(scene, kept.photo_id)
    match = scene.tagger.MatchFace(
        MatchFaceRequest(
            photo_id=kept.photo_id,
            people=[alice(found.found[0]), people[1]],
            identifier_id=scene.identifier_id,
            purpose=vocabulary_pb2.PURPOSE_TAGGING,
        )
    )
    story.step(
        "match-beside-bystander",
        "VERIFY for TAGGING: is it Alice? Her template is opened, the other face stays black",
        answered(
            match.answer, f"Likeness {match.similarity:.3f}: {'' if match.same_person else 'not '}the same person."
        ),
        outcome="DENY",
        codes=["FACE_UNIDENTIFIED", "IMPACT_ASSESSMENT_MISSING", "LAWFUL_BASIS_MISSING"],
    )
    story.require(holds=match.same_person, what=f"Alice was not recognised: {match.similarity}")


def _look_at_the_mask(scene: Scene, photo_id: str) -> None:
    """Open the photo as any service would, and prove that the other face is gone from it."""
    with scene.guard(vision.FINDER).processing(
        photo_id,
        [alice_face(ALICE_IN_TWO), Face(box=ClientBox(*BYSTANDER_IN_TWO))],
        operation=Operation.DETECT_FACES,
        purpose=Purpose.TAGGING,
    ) as permit:
        opened = permit.open()
        left = vision.find_faces(vision.decode(opened.content))
    (scene.folder / MASKED).write_bytes(opened.content)
    scene.story.step(
        "masked-photo",
        "What a service gets to see under such a permit",
        Told(
            permit.allowed_faces[0].decision.outcome.name,
            opened.entry.index,
            lines=[
                f"{len(opened.masked_boxes)} face masked; OpenCV finds {len(left)} in it, 2 in the original.",
                f"Look at it: {scene.folder / MASKED}",
            ],
        ),
        outcome="ALLOW",
    )
    scene.story.require(holds=opened.masked and len(left) == 1, what=f"{len(left)} faces are left in the masked photo")


def no_further(scene: Scene) -> None:
    """Another purpose, another photo, a photo without faces."""
    story = scene.story
    story.chapter("No further than it says", "Alice's release is for tagging, and a permit is for one photo.")
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=scene.photos[PORTRAIT], people=[alice()], purpose=vocabulary_pb2.PURPOSE_ADVERTISING)
    )
    story.step(
        "other-purpose",
        "DETECT_FACES for ADVERTISING",
        answered(found.answer),
        outcome="DENY",
        codes=["NOTICE_PURPOSE", "RELEASE_PURPOSE"],
    )
    told = Told("NO REFUSAL", -1)
    with scene.guard(vision.FINDER).processing(
        scene.photos[PORTRAIT], [alice_face()], operation=Operation.DETECT_FACES, purpose=Purpose.TAGGING
    ) as permit:
        permit.not_performed("the permit was taken to another photo")
        try:
            scene.worker.open_photo(permit.token, scene.photos[TWO])
        except PermissionDenied as error:
            told = refused(error, permit.decision.entry.index)
    story.step(
        "other-photo",
        "The permit for portrait.jpg is taken to two-people.jpg",
        told,
        outcome="REFUSED",
        codes=["PERMIT_MISMATCH"],
    )
    launch = upload(scene, NO_FACE)
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=launch.photo_id, people=[alice()], purpose=vocabulary_pb2.PURPOSE_TAGGING)
    )
    story.step(
        "no-face",
        "DETECT_FACES for TAGGING in no-face.jpg, a rocket launch that Alice says she is in",
        answered(found.answer, f"OpenCV found {len(found.found)} faces."),
        outcome="ALLOW",
        codes=["SATISFIED"],
    )
    story.require(holds=not found.found and not found.strangers, what="a face was found in a photo without faces")
