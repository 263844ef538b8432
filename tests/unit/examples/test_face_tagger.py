"""The example's service over a real socket, beside the client's fake gate: nothing is touched without a permit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from consentry import KnownBy, Operation, ProcessingResult
from consentry.testing import FakeGate, fails
from consentry.v1 import photo_pb2, vocabulary_pb2
from consentry.v1.decision_pb2 import Decision, FaceDecision
from consentry.v1.gate_service_pb2 import CheckRequest, CheckResponse
from consentry.v1.ledger_pb2 import EntryReference
from face_tagger import vision
from face_tagger.answers import box_message
from face_tagger.face_tagger_pb2 import (
    EnrollFaceRequest,
    FindFacesRequest,
    HashPhotoRequest,
    MatchFaceRequest,
    Person,
)
from face_tagger.face_tagger_pb2_grpc import FaceTaggerStub, add_FaceTaggerServicer_to_server
from face_tagger.service import FaceTagger

TAGGING = vocabulary_pb2.PURPOSE_TAGGING
ALLOW, DENY = vocabulary_pb2.OUTCOME_ALLOW, vocabulary_pb2.OUTCOME_DENY
FACE = vision.Box(177, 66, 95, 95)
ALICE = Person(subject_id="alice", box=box_message(FACE), regions=["US-IL"])
STRANGER = Person(box=photo_pb2.Box(x=300, y=20, width=90, height=90))


@contextmanager
def serving(gate: FakeGate) -> Iterator[FaceTaggerStub]:
    with gate.client() as client:
        server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        add_FaceTaggerServicer_to_server(FaceTagger(client), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield FaceTaggerStub(channel)
        finally:
            server.stop(None).wait()


@pytest.fixture
def gate(photos: Path) -> Iterator[FakeGate]:
    with FakeGate(allowed={"alice"}) as fake:
        for name in ("portrait", "two-people", "no-face"):
            fake.photos[name] = (photos / f"{name}.jpg").read_bytes()
        yield fake


@pytest.fixture
def tagger(gate: FakeGate) -> Iterator[FaceTaggerStub]:
    with serving(gate) as stub:
        yield stub


def reports(gate: FakeGate) -> list[ProcessingResult]:
    return [ProcessingResult.read(report.result) for report in gate.received("RecordProcessing")]


def as_a_photo(request: CheckRequest, _context: grpc.ServicerContext) -> CheckResponse:
    """Answer as the gate does where no biometric law is in scope: one face, as a photo only."""
    decision = Decision(
        decision_id="dec_0_photo",
        outcome=vocabulary_pb2.OUTCOME_ALLOW_NONBIOMETRIC,
        faces=[FaceDecision(index=0, outcome=vocabulary_pb2.OUTCOME_ALLOW_NONBIOMETRIC)],
        entry=EntryReference(ledger="fake/fake", index=0, leaf_hash=bytes(32)),
    )
    now = datetime.now(UTC)
    decision.check_time.FromDatetime(now)
    decision.expire_time.FromDatetime(now + timedelta(seconds=60))
    return CheckResponse(decision=decision, permit="permit-photo" if request.want_permit else "")


def test_a_denial_is_a_result_and_nothing_is_opened(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    found = tagger.FindFaces(FindFacesRequest(photo_id="portrait", people=[STRANGER], purpose=TAGGING))
    assert found.answer.outcome == DENY
    assert [(reason.code, reason.outcome) for reason in found.answer.reasons] == [("RELEASE_MISSING", DENY)]
    assert [list(face.codes) for face in found.answer.faces] == [["RELEASE_MISSING"]]
    assert not found.found
    assert (gate.received("OpenPhoto"), reports(gate)) == ([], [])


def test_faces_are_found_under_a_permit_and_reported(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    found = tagger.FindFaces(FindFacesRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    assert (found.answer.outcome, list(found.found), found.strangers) == (ALLOW, [box_message(FACE)], 0)
    (check,) = gate.received("Check")
    assert (check.operation, check.purpose, check.photo.photo_id) == (Operation.DETECT_FACES, TAGGING, "portrait")
    assert (check.uses_face_geometry, check.identifies, check.stored, check.linked_identity) == (
        True,
        False,
        False,
        True,
    )
    assert (check.algorithm_id, check.algorithm_version) == vision.FINDER
    (asked,) = check.faces
    assert (asked.subject_id, asked.known_by, list(asked.regions)) == ("alice", KnownBy.DECLARED_BY_UPLOADER, ["US-IL"])
    assert reports(gate) == [ProcessingResult.PERFORMED]


def test_a_stranger_nobody_named_is_not_handed_out(tagger: FaceTaggerStub) -> None:
    found = tagger.FindFaces(
        FindFacesRequest(photo_id="two-people", people=[Person(subject_id="alice")], purpose=TAGGING)
    )
    assert (len(found.found), found.strangers) == (0, 1)


def test_enrolling_asks_twice_and_stores_what_was_made(gate: FakeGate, tagger: FaceTaggerStub, photos: Path) -> None:
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    operations = [check.operation for check in gate.received("Check")]
    assert operations == [Operation.EXTRACT_TEMPLATE, Operation.ENROLL]
    assert (enrolled.extraction.outcome, enrolled.enrolment.outcome) == (ALLOW, ALLOW)
    portrait = vision.decode((photos / "portrait.jpg").read_bytes())
    stored = gate.identifiers[enrolled.identifier_id]
    assert stored.template == vision.make_template(portrait, FACE)
    assert (stored.identifier.algorithm_id, stored.identifier.format) == ("hog-face", "hog-1764-f32")
    (request,) = gate.received("StoreIdentifier")
    assert request.permit == f"permit-{enrolled.enrolment.decision_id}"
    assert reports(gate) == [ProcessingResult.PERFORMED] * 2


def test_beside_somebody_who_is_refused_only_the_enrolled_face_is_reported(
    gate: FakeGate, tagger: FaceTaggerStub
) -> None:
    people = [STRANGER, ALICE]
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=people, person=1, purpose=TAGGING))
    assert (enrolled.extraction.outcome, bool(enrolled.identifier_id)) == (DENY, True)
    assert [face.outcome for face in enrolled.extraction.faces] == [DENY, ALLOW]
    assert [list(report.face_indices) for report in gate.received("RecordProcessing")] == [[1], [1]]
    assert [request.face_index for request in gate.received("StoreIdentifier")] == [1]


def test_a_permit_for_somebody_else_in_the_photo_enrolls_nobody(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    bob = Person(subject_id="bob", box=STRANGER.box)
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=[ALICE, bob], person=1, purpose=TAGGING))
    assert (enrolled.extraction.outcome, enrolled.HasField("enrolment"), enrolled.identifier_id) == (DENY, False, "")
    assert (gate.received("OpenPhoto"), gate.identifiers) == ([], {})
    assert reports(gate) == [ProcessingResult.NOT_PERFORMED]


def test_an_enrolment_that_is_denied_after_the_extraction_stores_nothing(
    gate: FakeGate, tagger: FaceTaggerStub
) -> None:
    denied = FakeGate()  # its decisions only
    gate.script("Check", gate._check, denied._check)
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    assert (enrolled.extraction.outcome, enrolled.enrolment.outcome, enrolled.identifier_id) == (ALLOW, DENY, "")
    assert gate.received("StoreIdentifier") == []


@pytest.mark.parametrize(
    ("people", "person", "field"),
    [
        ([Person(subject_id="alice")], 0, "people.0"),
        ([STRANGER], 0, "people.0"),
        ([ALICE], 1, "person"),
        ([ALICE], -1, "person"),
        ([], 0, "person"),
    ],
)
def test_who_is_enrolled_needs_a_name_and_a_box(
    gate: FakeGate, tagger: FaceTaggerStub, people: list[Person], person: int, field: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=people, person=person, purpose=TAGGING))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"({field})" in str(raised.value.details())
    assert gate.received("Check") == []


def test_the_same_person_is_recognised(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    two = vision.find_faces(vision.decode(gate.photos["two-people"]))
    alike = [
        tagger.MatchFace(
            MatchFaceRequest(
                photo_id="two-people",
                people=[Person(subject_id="alice", box=box_message(box))],
                identifier_id=enrolled.identifier_id,
                purpose=TAGGING,
            )
        ).same_person
        for box in two
    ]
    assert alike == [True, False]
    assert [check.operation for check in gate.received("Check")[2:]] == [Operation.VERIFY] * 2


def test_matching_somebody_who_is_refused_opens_nothing(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    bob = Person(subject_id="bob", box=ALICE.box)
    for people in ([bob], [bob, ALICE]):
        match = tagger.MatchFace(
            MatchFaceRequest(photo_id="portrait", people=people, identifier_id="idf_0", purpose=TAGGING)
        )
        assert (match.answer.outcome, match.same_person) == (DENY, False)
    assert (gate.received("OpenPhoto"), gate.received("OpenIdentifier")) == ([], [])
    assert reports(gate) == [ProcessingResult.NOT_PERFORMED]


def test_a_whole_image_is_hashed_as_a_photo(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    gate.script("Check", as_a_photo)
    hashed = tagger.HashPhoto(HashPhotoRequest(photo_id="portrait"))
    assert hashed.answer.outcome == vocabulary_pb2.OUTCOME_ALLOW_NONBIOMETRIC
    assert hashed.image_hash == vision.hash_image(vision.decode(gate.photos["portrait"]))
    (check,) = gate.received("Check")
    assert (check.operation, len(check.faces)) == (Operation.HASH_IMAGE, 0)
    said = [check.HasField(fact) and getattr(check, fact) is False for fact in ("uses_face_geometry", "identifies")]
    assert said == [True, True]
    assert reports(gate) == [ProcessingResult.PERFORMED]


def test_a_permit_for_photos_as_photos_makes_no_template(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    gate.script("Check", as_a_photo)
    enrolled = tagger.EnrollFace(EnrollFaceRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    assert enrolled.extraction.outcome == vocabulary_pb2.OUTCOME_ALLOW_NONBIOMETRIC
    assert (gate.received("OpenPhoto"), reports(gate)) == ([], [ProcessingResult.NOT_PERFORMED])


def test_a_hash_that_is_refused_is_not_made(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    hashed = tagger.HashPhoto(HashPhotoRequest(photo_id="portrait"))
    assert (hashed.answer.outcome, hashed.image_hash) == (DENY, b"")
    assert gate.received("OpenPhoto") == []


def test_no_answer_fails_the_call_and_nothing_is_opened(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    gate.script("Check", *[fails(grpc.StatusCode.INTERNAL, "SERVICE_FAULT")] * 4)
    with pytest.raises(grpc.RpcError) as raised:
        tagger.FindFaces(FindFacesRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    assert "SERVICE_FAULT" in str(raised.value.details())
    assert gate.received("OpenPhoto") == []


def test_a_basis_that_is_gone_fails_the_call_and_is_reported(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    gate.script("OpenPhoto", fails(grpc.StatusCode.PERMISSION_DENIED, "BASIS_GONE"))
    with pytest.raises(grpc.RpcError) as raised:
        tagger.FindFaces(FindFacesRequest(photo_id="portrait", people=[ALICE], purpose=TAGGING))
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reports(gate) == [ProcessingResult.FAILED]


def test_a_photo_that_opencv_cannot_read_fails_the_call_and_is_reported(gate: FakeGate, tagger: FaceTaggerStub) -> None:
    gate.photos["heic"] = b"\x00\x00\x00\x18ftypheic" + bytes(64)
    with pytest.raises(grpc.RpcError) as raised:
        tagger.FindFaces(FindFacesRequest(photo_id="heic", people=[ALICE], purpose=TAGGING))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "OpenCV" in str(raised.value.details())
    assert reports(gate) == [ProcessingResult.FAILED]
