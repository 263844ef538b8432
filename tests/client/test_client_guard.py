"""The guard over a real socket, in all its ways, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import consentry
from consentry import (
    Box,
    DataCategory,
    Denied,
    Face,
    InvalidRequest,
    Operation,
    Outcome,
    PermissionDenied,
    PermitExpired,
    ProcessingResult,
    Purpose,
    ReportFailed,
    Unavailable,
)
from consentry.testing import answers, fails, never_answers
from consentry.v1 import gate_service_pb2
from tests.client.conftest import now

if TYPE_CHECKING:
    from consentry.testing import FakeGate
    from tests.client.conftest import Side

ALICE = Face(box=Box(0, 0, 10, 10), subject_id="alice")
BOB = Face(box=Box(10, 0, 10, 10), subject_id="bob")
CAROL = Face(box=Box(20, 0, 10, 10), subject_id="carol")
BYSTANDER = Face(box=Box(30, 0, 10, 10))
EXTRACT = {"operation": Operation.EXTRACT_TEMPLATE, "purpose": Purpose.TAGGING}
TEMPLATE = consentry.Identifier(
    category=DataCategory.FACE_TEMPLATE,
    format="arcface-512-f32",
    format_version="1",
    algorithm_id="arcface",
    algorithm_version="1.0",
    collection_method_id="upload",
)


def reports(gate: FakeGate) -> list[ProcessingResult]:
    return [ProcessingResult(request.result) for request in gate.received("RecordProcessing")]


async def test_what_is_allowed_runs_and_is_reported_once(side: Side, gate: FakeGate) -> None:
    gate.photos["pho_1"] = b"jpeg" * 100_000
    async with side.started() as client:
        context = side.guard(client).processing("pho_1", [ALICE], identifies=False, **EXTRACT)
        async with side.block(context) as permit:
            assert permit.biometric
            assert permit.allowed_faces[0].box == ALICE.box
            assert (await now(permit.open())).content == b"jpeg" * 100_000
            stored = await now(permit.store_identifier(TEMPLATE, b"template"))
            assert (await now(permit.open_identifier(stored.identifier_id))).template == b"template"
            assert reports(gate) == []
    assert reports(gate) == [ProcessingResult.PERFORMED]
    (check,) = gate.received("Check")
    assert check.want_permit
    assert (check.algorithm_id, check.category) == ("arcface", DataCategory.FACE_TEMPLATE)
    assert check.HasField("identifies")
    assert not check.HasField("stored")
    (report,) = gate.received("RecordProcessing")
    assert report.decision_id == permit.decision.decision_id
    assert (report.algorithm_id, report.algorithm_version) == ("arcface", "1.0")
    (opened,) = gate.received("OpenPhoto")
    assert opened.permit == permit.decision.permit


async def test_what_is_denied_does_not_run(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        with pytest.raises(Denied) as caught:
            async with side.block(side.guard(client).processing("pho_1", [BYSTANDER], **EXTRACT)):
                pytest.fail("ran")
    assert caught.value.decision.outcome is Outcome.DENY
    assert caught.value.decision.reasons[0].code == "RELEASE_MISSING"
    assert "Obtain a written release." in str(caught.value)
    assert gate.received("RecordProcessing") == []


async def test_no_face_named_is_one_unidentified_face(side: Side) -> None:
    async with side.started() as client:
        with pytest.raises(Denied):
            async with side.block(side.guard(client).processing("pho_1", **EXTRACT)):
                pytest.fail("ran")


async def test_mixed_outcomes_run_for_the_allowed_faces(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        context = side.guard(client).processing("pho_1", [ALICE, BYSTANDER, CAROL], **EXTRACT)
        async with side.block(context) as permit:
            assert [face.subject_id for face in permit.allowed_faces] == ["alice", "carol"]
            assert [face.index for face in permit.refused_faces] == [1]
            assert not permit.biometric
            for index in (1, 2, 7):  # refused, as a photo only, not there
                with pytest.raises(PermissionDenied):
                    await now(permit.store_identifier(TEMPLATE, b"t", face_index=index))
            permit.performed_on([0])
    assert gate.received("StoreIdentifier") == []
    assert [list(request.face_indices) for request in gate.received("RecordProcessing")] == [[0]]


async def test_require_all_refuses_mixed_outcomes_and_closes_the_permit(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        with pytest.raises(Denied):
            async with side.block(
                side.guard(client).processing("pho_1", [ALICE, BYSTANDER], require_all=True, **EXTRACT)
            ):
                pytest.fail("ran")
        async with side.block(side.guard(client).processing("pho_1", [ALICE, BOB], require_all=True, **EXTRACT)):
            pass
    assert reports(gate) == [ProcessingResult.NOT_PERFORMED, ProcessingResult.PERFORMED]


async def test_denied_stays_denied_when_the_permit_cannot_be_closed(side: Side, gate: FakeGate) -> None:
    gate.script("RecordProcessing", fails(grpc.StatusCode.FAILED_PRECONDITION, "STATE_CONFLICT"))
    async with side.started() as client:
        with pytest.raises(Denied) as caught:
            async with side.block(
                side.guard(client).processing("pho_1", [ALICE, BYSTANDER], require_all=True, **EXTRACT)
            ):
                pytest.fail("ran")
    assert "STATE_CONFLICT" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (fails(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED"), PermissionDenied),
        (fails(grpc.StatusCode.INTERNAL), Unavailable),
        (fails(grpc.StatusCode.ABORTED, "SERVICE_FAULT"), Unavailable),
        (answers(gate_service_pb2.CheckResponse(permit="token")), Unavailable),
    ],
    ids=["refused", "internal", "fault", "empty answer"],
)
async def test_no_answer_is_never_an_allow(side: Side, gate: FakeGate, status: Any, kind: type[Exception]) -> None:
    gate.script("Check", status)
    async with side.started() as client:
        with pytest.raises(kind):
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                pytest.fail("ran")
    assert gate.received("RecordProcessing") == []


async def test_a_passed_deadline_is_never_an_allow(side: Side, gate: FakeGate) -> None:
    gate.script("Check", never_answers)
    async with side.started(consentry.Config(check_deadline_seconds=0.05)) as client:
        with pytest.raises(Unavailable) as caught:
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                pytest.fail("ran")
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(gate.received("Check")) <= 1


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_an_error_in_the_block_is_kept_and_reported_as_failed(
    side: Side, gate: FakeGate, error: BaseException
) -> None:
    async with side.started() as client:
        with pytest.raises(type(error)) as caught:
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                raise error
    assert caught.value is error
    assert reports(gate) == [ProcessingResult.FAILED]
    assert gate.received("RecordProcessing")[0].detail == type(error).__name__


async def test_an_error_in_the_block_outlives_a_failing_report(side: Side, gate: FakeGate) -> None:
    gate.script("RecordProcessing", fails(grpc.StatusCode.INTERNAL))
    error = RuntimeError("broken")
    async with side.started() as client:
        with pytest.raises(RuntimeError) as caught:
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                raise error
    assert caught.value is error
    assert "could not be reported" in error.__notes__[0]


async def test_a_report_that_fails_is_an_error_of_its_own(side: Side, gate: FakeGate) -> None:
    gate.script("RecordProcessing", fails(grpc.StatusCode.INTERNAL))
    async with side.started() as client:
        with pytest.raises(ReportFailed) as caught:
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                pass
        failed = caught.value
        assert isinstance(failed.__cause__, Unavailable)
        await now(client.record_processing(failed.decision_id, failed.result, request_id=failed.request_id))
    first, second = gate.received("RecordProcessing")
    assert (first.request_id, first.decision_id) == (second.request_id, second.decision_id)


async def test_nothing_done_is_reported_as_that(side: Side, gate: FakeGate) -> None:
    async with (
        side.started() as client,
        side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)) as permit,
    ):
        permit.not_performed("blurred")
    assert reports(gate) == [ProcessingResult.NOT_PERFORMED]
    assert gate.received("RecordProcessing")[0].detail == "blurred"


async def test_a_server_that_goes_away_leaves_the_report_undone(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        with pytest.raises(ReportFailed):
            async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)):
                gate.stop()


async def test_an_expired_permit_opens_nothing(side: Side, gate: FakeGate) -> None:
    gate.photos["pho_1"] = b"x"
    seconds = [0.0]
    async with side.started() as client:
        guard = side.guard(client, clock=lambda: seconds[0])
        async with side.block(guard.processing("pho_1", [ALICE], **EXTRACT)) as permit:
            seconds[0] = timedelta(seconds=60).total_seconds()
            with pytest.raises(PermitExpired):
                await now(permit.open())
            with pytest.raises(PermitExpired):
                await now(permit.store_identifier(TEMPLATE, b"t"))
            with pytest.raises(PermitExpired):
                await now(permit.open_identifier("idf_0"))
    assert gate.received("OpenPhoto") == gate.received("StoreIdentifier") == gate.received("OpenIdentifier") == []
    assert reports(gate) == [ProcessingResult.PERFORMED]  # what was done was done


async def test_a_permit_ends_with_its_block(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        async with side.block(side.guard(client).processing("pho_1", [ALICE], **EXTRACT)) as permit:
            pass
        with pytest.raises(PermitExpired):
            await now(permit.open())


async def test_a_photo_known_by_its_hash_alone_cannot_be_opened(side: Side, gate: FakeGate) -> None:
    async with (
        side.started() as client,
        side.block(side.guard(client).processing(bytes(32), [ALICE], **EXTRACT)) as permit,
    ):
        with pytest.raises(InvalidRequest):
            await now(permit.open())


async def test_a_guard_needs_an_algorithm_and_sometimes_a_category(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        with pytest.raises(InvalidRequest):
            consentry.Guard(client, algorithm_id="", algorithm_version="1")
        with pytest.raises(InvalidRequest) as caught:
            side.guard(client).processing("pho_1", operation=Operation.DISCLOSE, purpose=Purpose.TAGGING)
    assert caught.value.field == "category"
