"""The ledger's order decides: after a withdrawal's entry nothing is allowed and nothing opens, whoever is in flight."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from consentry import ConsentryError, DataCategory, Identifier, Operation, PhotoDescription
from consentry.v1 import gate_service_pb2, gate_service_pb2_grpc, vocabulary_pb2
from tests.support.server import Server, init, serving
from tests.support.story import Story, callers, enroll, face

EXTRACT = vocabulary_pb2.OPERATION_EXTRACT_TEMPLATE
TAGGING = vocabulary_pb2.PURPOSE_TAGGING
PHOTO = vocabulary_pb2.DATA_CATEGORY_PHOTO


def test_no_check_after_a_withdrawal_is_allowed(story: Story) -> None:
    for round_number in range(3):
        person = f"ordered-{round_number}"
        story.consent(person)

        def check(_number: int, person: str = person) -> tuple[int, bool]:
            decision = story.processor.check(enroll(face(person)))
            return decision.entry.index, decision.allowed

        with ThreadPoolExecutor(16) as pool:
            answers = [pool.submit(check, number) for number in range(60)]
            withdrawn = story.collector.withdraw_release(person).entry.index
            answers += [pool.submit(check, number) for number in range(60)]
            decided = [answer.result() for answer in answers]
        late = [index for index, allowed in decided if allowed and index > withdrawn]
        early = [index for index, allowed in decided if not allowed and index < withdrawn]
        assert (late, early) == ([], [])


def test_a_permit_opens_nothing_after_a_withdrawal(story: Story, photos: Path) -> None:
    photo_id = story.collector.upload_photo(
        (photos / "portrait.jpg").read_bytes(), PhotoDescription(owner_subject_id="uploader", regions=["US-IL"])
    ).photo_id
    story.consent("opened")
    decision = story.processor.check(enroll(face("opened"), photo_id=photo_id))
    template = Identifier(
        category=DataCategory.FACE_TEMPLATE,
        format="hog-float32",
        format_version="1",
        algorithm_id="hog-face",
        algorithm_version="1",
        collection_method_id="upload",
    )
    stored = story.processor.store_identifier(decision.permit, template, b"\x07" * 256)
    compare = story.processor.check(enroll(face("opened"), photo_id=photo_id, operation=Operation.VERIFY))
    opened = story.processor.open_identifier(compare.permit, stored.identifier_id)
    assert opened.template == b"\x07" * 256
    withdrawn = story.collector.withdraw_release("opened")
    assert [summary.stage for summary in withdrawn.destructions] == [2]  # completed
    for call in (
        lambda: story.processor.open_photo(decision.permit, photo_id=photo_id),
        lambda: story.processor.open_identifier(compare.permit, stored.identifier_id),
        lambda: story.processor.store_identifier(decision.permit, template, b"\x07" * 256),
    ):
        try:
            result = call()
        except ConsentryError as error:
            assert error.reason in {"BASIS_GONE", "DESTROYED"}
        else:
            assert getattr(result, "identifier_id", None) == ""  # a refusal is a result
    subject = story.auditor.get_subject("opened").subject
    assert list(subject.identifier_ids) == []
    certificate = story.auditor.get_destruction_certificate(withdrawn.destructions[0].destruction_id)
    assert certificate.certificate.remaining


def test_stopping_answers_what_was_accepted_and_says_so_to_the_rest(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    codes: set[grpc.StatusCode] = set()
    with serving(state) as server, callers(server) as story:
        story.policy()
        stub = gate_service_pb2_grpc.GateServiceStub(_channel(server))

        def check(number: int) -> int:
            request = gate_service_pb2.CheckRequest(
                request_id=f"s{number}", operation=EXTRACT, purpose=TAGGING, category=PHOTO, uses_face_geometry=True
            )
            request.photo.sha256 = bytes(32)
            try:
                return int(stub.Check(request, timeout=20).decision.entry.index)
            except grpc.RpcError as error:
                codes.add(error.code())
                return -1

        with ThreadPoolExecutor(16) as pool:
            answers = [pool.submit(check, number) for number in range(400)]
            assert answers[50].result() >= 0
            assert server.stop() == 0
            answered = [answer.result() for answer in answers]
    # CANCELLED is gRPC's own word for a call that was on its way in when the listener closed: no answer
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert len([index for index in answered if index >= 0]) > 50
    with serving(state) as server, callers(server) as story:
        size = story.auditor.get_checkpoint().checkpoint.tree_size
        assert max(answered) < size


def _channel(server: Server) -> grpc.Channel:
    return grpc.secure_channel(
        server.address, grpc.ssl_channel_credentials(**server.credentials("processor", "face-tagger"))
    )


def test_an_insecure_listener_is_for_loopback_and_denies_for_want_of_protection(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    with serving(state, "--unsafe-insecure-loopback") as server:
        stub = gate_service_pb2_grpc.GateServiceStub(grpc.insecure_channel(server.address))
        request = gate_service_pb2.CheckRequest(request_id="1", operation=EXTRACT, purpose=TAGGING, category=PHOTO)
        request.photo.sha256 = bytes(32)
        response = stub.Check(request, metadata=(("consentry-unsafe-role", "processor"),), timeout=10)
        assert "CARE_IN_TRANSIT" in {reason.code for reason in response.decision.reasons}


@pytest.mark.parametrize("listen", ["0.0.0.0:0"])
def test_an_insecure_listener_elsewhere_is_refused(tmp_path: Path, listen: str) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    with (
        pytest.raises(AssertionError, match="loopback"),
        serving(state, "--unsafe-insecure-loopback", "--listen", listen),
    ):
        pass
