"""The service itself. Every step on a face stands in a ``with guard.processing(...)`` block, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import Client, DataCategory, Denied, Guard, Identifier, Operation, Permit, Purpose
from face_tagger import vision
from face_tagger.answers import answer, box_message, faces_of, failing, named_box
from face_tagger.face_tagger_pb2 import (
    EnrollFaceRequest,
    EnrollFaceResponse,
    FindFacesRequest,
    FindFacesResponse,
    HashPhotoRequest,
    HashPhotoResponse,
    MatchFaceRequest,
    MatchFaceResponse,
)
from face_tagger.face_tagger_pb2_grpc import FaceTaggerServicer

if TYPE_CHECKING:
    import grpc

COLLECTION_METHOD = "photo-upload"
"""How face data comes about here: repeated collection by the same method counts once (740 ILCS 14/20(b))."""


class FaceTagger(FaceTaggerServicer):
    """Finds, enrols and matches faces under permits.

    Args:
        client: a started client whose certificate names a processor.
    """

    def __init__(self, client: Client) -> None:
        self._finding = _guard(client, vision.FINDER)
        self._describing = _guard(client, vision.TEMPLATE_MAKER)
        self._hashing = _guard(client, vision.HASHER)

    def FindFaces(self, request: FindFacesRequest, context: grpc.ServicerContext) -> FindFacesResponse:  # noqa: N802 - gRPC's name
        """Find faces, as far as the people in the photo consented."""
        with failing(context):
            try:
                with self._finding.processing(
                    request.photo_id,
                    faces_of(request.people),
                    operation=Operation.DETECT_FACES,
                    purpose=Purpose.read(request.purpose),
                    uses_face_geometry=True,
                    identifies=False,
                    stored=False,
                    linked_identity=any(person.subject_id for person in request.people),
                    collection_method_id=COLLECTION_METHOD,
                ) as permit:
                    opened = permit.open()  # faces that were refused are black in it
                    found = vision.find_faces(vision.decode(opened.content))
            except Denied as denied:
                return FindFacesResponse(answer=answer(denied.decision))
            strangers = max(0, len(found) - len(permit.allowed_faces))
            return FindFacesResponse(
                answer=answer(permit.decision),
                found=[] if strangers else map(box_message, found),  # nobody asked for a stranger's face: drop them all
                masked=opened.masked,
                strangers=strangers,
            )

    def EnrollFace(self, request: EnrollFaceRequest, context: grpc.ServicerContext) -> EnrollFaceResponse:  # noqa: N802 - as above
        """Make a template of one person's face and put it into the vault: each is asked for on its own."""
        response = EnrollFaceResponse()
        with failing(context):
            box, faces = named_box(request.people, request.person), faces_of(request.people)
            purpose = Purpose.read(request.purpose)
            try:
                with self._describing.processing(
                    request.photo_id,
                    faces,
                    operation=Operation.EXTRACT_TEMPLATE,
                    purpose=purpose,
                    uses_face_geometry=True,
                    identifies=True,
                    stored=True,
                    linked_identity=True,
                    collection_method_id=COLLECTION_METHOD,
                ) as permit:
                    response.extraction.CopyFrom(answer(permit.decision))
                    if not _covers(permit, request.person):
                        return response
                    template = vision.make_template(vision.decode(permit.open().content), box)
            except Denied as denied:
                response.extraction.CopyFrom(answer(denied.decision))
                return response
            try:
                with self._describing.processing(
                    request.photo_id,
                    faces,
                    operation=Operation.ENROLL,
                    purpose=purpose,
                    uses_face_geometry=True,
                    identifies=True,
                    stored=True,
                    linked_identity=True,
                    collection_method_id=COLLECTION_METHOD,
                ) as permit:
                    response.enrolment.CopyFrom(answer(permit.decision))
                    if _covers(permit, request.person):
                        stored = permit.store_identifier(_identifier(), template, face_index=request.person)
                        response.storing.CopyFrom(answer(stored.decision))
                        response.identifier_id = stored.identifier_id
            except Denied as denied:
                response.enrolment.CopyFrom(answer(denied.decision))
        return response

    def MatchFace(self, request: MatchFaceRequest, context: grpc.ServicerContext) -> MatchFaceResponse:  # noqa: N802 - as above
        """Compare one person's face with their stored template; both are opened under the same permit."""
        with failing(context):
            box = named_box(request.people, request.person)
            try:
                with self._describing.processing(
                    request.photo_id,
                    faces_of(request.people),
                    operation=Operation.VERIFY,
                    purpose=Purpose.read(request.purpose),
                    uses_face_geometry=True,
                    identifies=True,
                    stored=False,
                    linked_identity=True,
                    collection_method_id=COLLECTION_METHOD,
                ) as permit:
                    if not _covers(permit, request.person):
                        return MatchFaceResponse(answer=answer(permit.decision))
                    enrolled = permit.open_identifier(request.identifier_id)
                    seen = vision.make_template(vision.decode(permit.open().content), box)
                    alike = vision.similarity(enrolled.template, seen)
            except Denied as denied:
                return MatchFaceResponse(answer=answer(denied.decision))
            return MatchFaceResponse(
                answer=answer(permit.decision), similarity=alike, same_person=alike >= vision.SAME_PERSON
            )

    def HashPhoto(self, request: HashPhotoRequest, context: grpc.ServicerContext) -> HashPhotoResponse:  # noqa: N802 - as above
        """Hash the whole image; the facts say that no face is measured and nobody identified, and they are true."""
        with failing(context):
            try:
                with self._hashing.processing(
                    request.photo_id,
                    operation=Operation.HASH_IMAGE,
                    purpose=Purpose.CSAM_NSFW_HASH_MATCH,
                    uses_face_geometry=False,
                    identifies=False,
                    stored=False,
                    linked_identity=False,
                ) as permit:
                    hashed = vision.hash_image(vision.decode(permit.open().content))
            except Denied as denied:
                return HashPhotoResponse(answer=answer(denied.decision))
            return HashPhotoResponse(answer=answer(permit.decision), image_hash=hashed)


def _guard(client: Client, algorithm: tuple[str, str]) -> Guard:
    return Guard(client, algorithm_id=algorithm[0], algorithm_version=algorithm[1])


def _covers(permit: Permit, person: int) -> bool:
    """Whether a template of this very person may be made; what is reported at the end of the block follows from it."""
    if any(face.index == person and face.biometric for face in permit.allowed_faces):
        permit.performed_on([person])
        return True
    permit.not_performed("the permit is for other people in the photo")
    return False


def _identifier() -> Identifier:
    return Identifier(
        category=DataCategory.FACE_TEMPLATE,
        format=vision.TEMPLATE_FORMAT[0],
        format_version=vision.TEMPLATE_FORMAT[1],
        algorithm_id=vision.TEMPLATE_MAKER[0],
        algorithm_version=vision.TEMPLATE_MAKER[1],
        collection_method_id=COLLECTION_METHOD,
    )
