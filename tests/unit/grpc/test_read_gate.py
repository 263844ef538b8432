"""Bad input to the gate: each thing that can be wrong is refused with its reason and its field."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from consentry.v1 import (
    gate_service_pb2,
    photo_pb2,
)
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc import read, read_gate
from consentry_server.core.errors import Reason
from consentry_server.core.record.facts import Box
from consentry_server.core.vocabulary import (
    AgeBand,
    Consideration,
    DataCategory,
    DisclosureBasis,
    KnownBy,
    Publisher,
    SourceKind,
    Visibility,
)
from tests.unit.grpc import samples
from tests.unit.grpc.bad_input import (
    AHEAD,
    CALLER,
    FAR,
    INVALID,
    LARGE,
    LATER,
    NOT_BUILT,
    OLD,
    REQUIRED,
    UNKNOWN,
    Case,
    put,
    refused,
)
from tests.unit.grpc.samples import NOW, at

CHECK: list[Case] = [
    (put(request_id=""), REQUIRED, "request_id"),
    (put(request_id="x" * 129), INVALID, "request_id"),
    (put(request_id="a\nb"), INVALID, "request_id"),
    (put(request_id="é"), INVALID, "request_id"),
    (put(request_id=" x"), INVALID, "request_id"),
    (put(operation=0), UNKNOWN, "operation"),
    (put(operation=97), UNKNOWN, "operation"),
    (put(operation=-1), UNKNOWN, "operation"),
    (put(purpose=0), UNKNOWN, "purpose"),
    (put(purpose=99), UNKNOWN, "purpose"),
    (put(category=0), UNKNOWN, "category"),
    (put(category=2**31 - 1), UNKNOWN, "category"),
    (put(photo=None), REQUIRED, "photo"),
    (put(photo=photo_pb2.PhotoReference()), REQUIRED, "photo"),
    (put(photo__photo_id=""), REQUIRED, "photo.photo_id"),
    (put(photo__photo_id="PHO_1"), INVALID, "photo.photo_id"),
    (put(photo__photo_id="pho_" + "a" * 200), INVALID, "photo.photo_id"),
    (put(photo__sha256=b""), REQUIRED, "photo.sha256"),
    (put(photo__sha256=b"1" * 31), INVALID, "photo.sha256"),
    (put(photo__sha256=b"1" * 64), INVALID, "photo.sha256"),
    (put(faces=[samples.face()] * 257), LARGE, "faces"),
    (put(faces__0__box__width=0), INVALID, "faces[0].box.width"),
    (put(faces__0__box__height=0), INVALID, "faces[0].box.height"),
    (put(faces__0__box__x=100_000), INVALID, "faces[0].box.width"),
    (put(faces__0__box__height=2**32 - 1), INVALID, "faces[0].box.height"),
    (put(faces__0__subject_id="ö" * 257), INVALID, "faces[0].subject_id"),
    (put(faces__0__subject_id="a\x00b"), INVALID, "faces[0].subject_id"),
    (put(faces__0__known_by=5), UNKNOWN, "faces[0].known_by"),
    (put(faces__0__age_band=9), UNKNOWN, "faces[0].age_band"),
    (put(faces__0__regions=["us-il"]), UNKNOWN, "faces[0].regions[0]"),
    (put(faces__0__regions=["US-IL", "XX"]), UNKNOWN, "faces[0].regions[1]"),
    (put(faces__0__regions=["US-IL"] * 17), LARGE, "faces[0].regions"),
    (put(subject_id="eileen"), INVALID, "subject_id"),
    (put(category=v.DATA_CATEGORY_EMPLOYMENT_HISTORY), INVALID, "photo"),
    (put(category=v.DATA_CATEGORY_EMPLOYMENT_HISTORY, photo=None), INVALID, "faces"),
    (put(source__visibility=9), UNKNOWN, "source.visibility"),
    (put(source__published_by=9), UNKNOWN, "source.published_by"),
    (put(source__kind=9), UNKNOWN, "source.kind"),
    (put(source__capture_time=LATER), INVALID, "source.capture_time"),
    (put(source__capture_time=OLD), INVALID, "source.capture_time"),
    (put(source__capture_time=FAR), INVALID, "source.capture_time"),
    (put(source__capture_time=Timestamp(seconds=1, nanos=-1)), INVALID, "source.capture_time"),
    (put(source__capture_time=Timestamp(seconds=2**63 - 1)), INVALID, "source.capture_time"),
    (put(source__capture_regions=["Illinois"]), UNKNOWN, "source.capture_regions[0]"),
    (put(recipient_id="Acme Cloud"), INVALID, "recipient_id"),
    (put(operation=v.OPERATION_DISCLOSE), REQUIRED, "recipient_id"),
    (put(operation=v.OPERATION_SELL), REQUIRED, "recipient_id"),
    (put(disclosure_basis=77), UNKNOWN, "disclosure_basis"),
    (put(disclosure_evidence="x" * 2_001), INVALID, "disclosure_evidence"),
    (put(consideration=3), UNKNOWN, "consideration"),
    (put(regions=["EU", "eu"]), UNKNOWN, "regions[1]"),
    (put(algorithm_version=""), REQUIRED, "algorithm_version"),
    (put(algorithm_id=""), REQUIRED, "algorithm_id"),
    (put(algorithm_id="Hog"), INVALID, "algorithm_id"),
    (put(algorithm_version="1" * 65), INVALID, "algorithm_version"),
    (put(algorithm_version="1\n2"), INVALID, "algorithm_version"),
    (put(collection_method_id="-x"), INVALID, "collection_method_id"),
    (put(occur_time=at(NOW + timedelta(minutes=6))), INVALID, "occur_time"),
    (put(occur_time=at(NOW - timedelta(minutes=6)), want_permit=True), INVALID, "want_permit"),
    (put(occur_time=OLD), INVALID, "occur_time"),
    (put(artifact_id="Model 1"), INVALID, "artifact_id"),
    (put(operation=v.OPERATION_SERVE_MODEL), REQUIRED, "artifact_id"),
    (put(permit_audience="a b"), INVALID, "permit_audience"),
    (put(permit_single_use=True), NOT_BUILT, "permit_single_use"),
]


@pytest.mark.parametrize("case", CHECK, ids=lambda case: case[2])
def test_a_bad_check_is_refused(case: Case) -> None:
    refused(case, samples.check(), lambda request: read_gate.check(request, CALLER, NOW))


def test_a_whole_check_is_read_to_the_last_field() -> None:
    request = samples.check(
        recipient_id="cloud",
        disclosure_basis=v.DISCLOSURE_BASIS_WARRANT,
        disclosure_evidence="Order 17",
        consideration=v.CONSIDERATION_NONE,
        regions=["DE"],
        linked_identity=False,
        permit_audience="matcher",
    )
    before = request.SerializeToString(deterministic=True)
    asked = read_gate.check(request, CALLER, NOW)
    assert request.SerializeToString(deterministic=True) == before
    facts = asked.request
    assert (facts.operation, facts.purpose, facts.category) == ("ENROLL", "TAGGING", "PHOTO")
    assert (facts.visibility, facts.published_by, facts.source_kind) == ("PUBLIC", "UNKNOWN", "UNKNOWN")
    assert facts.captured_at == NOW
    assert facts.regions == {"US-IL", "DE"}
    assert (facts.uses_face_geometry, facts.identifies, facts.stored, facts.linked_identity) == (
        True,
        True,
        True,
        False,
    )
    assert (facts.algorithm_id, facts.algorithm_version) == ("hog-face", "1.0-RC1+g2")
    assert facts.collection_method_id == "upload"
    assert (facts.recipient_id, facts.disclosure_basis, facts.consideration) == ("cloud", "WARRANT", "NONE")
    assert facts.has_disclosure_evidence
    assert asked.disclosure_evidence == "Order 17"
    assert (asked.photo_id, asked.photo_sha256) == ("", b"\x07" * 32)
    assert (asked.want_permit, asked.audience) == (True, "matcher")
    (face,) = asked.faces
    assert face.box == Box(10, 10, 80, 80)
    assert (face.subject_id, face.known_by, face.age_band) == ("eileen", KnownBy.DECLARED_BY_UPLOADER, AgeBand.ADULT)
    assert face.regions == {"US-IL"}


def test_what_is_not_said_is_unknown_which_is_not_no() -> None:
    request = gate_service_pb2.CheckRequest(
        request_id="1",
        operation=v.OPERATION_DETECT_FACES,
        purpose=v.PURPOSE_TAGGING,
        category=v.DATA_CATEGORY_PHOTO,
        photo=photo_pb2.PhotoReference(photo_id="pho_abc"),
    )
    asked = read_gate.check(request, CALLER, NOW)
    facts = asked.request
    assert {facts.uses_face_geometry, facts.identifies, facts.stored, facts.linked_identity} == {None}
    assert (facts.visibility, facts.published_by, facts.source_kind) == (
        Visibility.UNKNOWN,
        Publisher.UNKNOWN,
        SourceKind.UNKNOWN,
    )
    assert (facts.disclosure_basis, facts.consideration) == (DisclosureBasis.NONE, Consideration.UNKNOWN)
    assert facts.captured_at is None
    assert (asked.faces, asked.photo_id, asked.want_permit) == ((), "pho_abc", False)


@pytest.mark.parametrize("name", ["Zoë", "李小龍", "محمد", "नमस्ते", "👩‍👩‍👧", "a" * 256])
def test_a_person_may_have_a_name_in_any_script(name: str) -> None:
    request = samples.check(
        category=v.DATA_CATEGORY_EMPLOYMENT_HISTORY,
        operation=v.OPERATION_PROCESS,
        subject_id=name,
        photo=None,
        faces=None,
    )
    (person,) = read_gate.check(request, CALLER, NOW).faces
    assert person.subject_id == name
    assert person.known_by is not KnownBy.UNKNOWN
    assert person.box is None


def test_text_is_compared_in_one_form() -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    assert read.subject_id(decomposed, "subject_id") == composed
    assert read.text("e\u0308" * 256, "subject_id", 256) == "\u00eb" * 256


def test_a_request_id_is_bound_to_everything_else_of_its_request() -> None:
    first = samples.check(request_id="one")
    second = samples.check(request_id="one")
    key = read.key(CALLER, "Check", first)
    assert key == read.key(CALLER, "Check", second)
    second.want_permit = False
    other = read.key(CALLER, "Check", second)
    assert key is not None
    assert other is not None
    assert (key.key == other.key, key.body == other.body) == (True, False)
    elsewhere = read.key(CALLER, "RecordProcessing", first)
    assert elsewhere is not None
    assert elsewhere.key != key.key


PROCESSING: list[Case] = [
    (put(request_id=""), REQUIRED, "request_id"),
    (put(decision_id=""), REQUIRED, "decision_id"),
    (put(decision_id="DEC 1"), INVALID, "decision_id"),
    (put(result=0), UNKNOWN, "result"),
    (put(result=4), UNKNOWN, "result"),
    (put(algorithm_id="", algorithm_version=""), REQUIRED, "algorithm_id"),
    (put(algorithm_version=""), REQUIRED, "algorithm_version"),
    (put(perform_time=None), REQUIRED, "perform_time"),
    (put(result=v.PROCESSING_RESULT_FAILED, perform_time=None), REQUIRED, "perform_time"),
    (put(perform_time=LATER), INVALID, "perform_time"),
    (put(face_indices=[0, -1]), INVALID, "face_indices[1]"),
    (put(face_indices=[0, 1, 0]), INVALID, "face_indices[2]"),
    (put(face_indices=list(range(257))), LARGE, "face_indices"),
    (put(detail="x" * 2_001), INVALID, "detail"),
]


@pytest.mark.parametrize("case", PROCESSING, ids=lambda case: case[2])
def test_a_bad_report_is_refused(case: Case) -> None:
    refused(case, samples.processing(), lambda request: read_gate.processing(request, CALLER, NOW))


def test_a_report_that_nothing_was_done_needs_no_algorithm_and_no_time() -> None:
    request = samples.processing(
        result=v.PROCESSING_RESULT_NOT_PERFORMED, algorithm_id="", algorithm_version="", perform_time=None
    )
    assert read_gate.processing(request, CALLER, NOW).performed_at is None
    assert read_gate.processing(samples.processing(perform_time=AHEAD), CALLER, NOW).performed_at is not None


def items(*ids: str) -> gate_service_pb2.BatchCheckRequest:
    made = [gate_service_pb2.CheckItem(correlation_id=each, check=samples.check()) for each in ids]
    return gate_service_pb2.BatchCheckRequest(items=made)


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (items(), REQUIRED, "items"),
        (items(*map(str, range(1_001))), LARGE, "items"),
        (items("a", "b", "a"), INVALID, "items[2].correlation_id"),
        (items("a", ""), REQUIRED, "items[1].correlation_id"),
        (items("ä"), INVALID, "items[0].correlation_id"),
        (items("a" * 129), INVALID, "items[0].correlation_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_bad_batch_is_refused_as_a_whole(
    request_: gate_service_pb2.BatchCheckRequest, reason: Reason, field: str
) -> None:
    refused((lambda _: None, reason, field), request_, read_gate.items)


def test_every_category_says_whether_it_has_a_photo_or_a_person() -> None:
    for category in DataCategory:
        request = samples.check(category=v.DataCategory.Value(f"DATA_CATEGORY_{category}"))
        if category in read_gate.FACES_POSSIBLE:
            assert read_gate.check(request, CALLER, NOW).faces
        else:
            refused((lambda _: None, INVALID, "photo"), request, lambda sent: read_gate.check(sent, CALLER, NOW))
