"""The calls over a real socket: answers, errors, deadlines, retries; synchronous and asynchronous."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from consentry import (
    Check,
    Config,
    Conflict,
    ConsentryError,
    DataCategory,
    Determination,
    DeterminationKind,
    Face,
    InvalidRequest,
    NotBuilt,
    NotFound,
    Operation,
    Outcome,
    PermissionDenied,
    PermitExpired,
    ProcessingResult,
    Purpose,
    Unavailable,
)
from consentry.inputs import Delivery, Identifier, Notice, Release, RetentionPolicy
from consentry.testing import answers, fails, never_answers
from consentry.v1 import audit_service_pb2, gate_service_pb2, ledger_pb2
from consentry.vocabulary import NoticeChannel, ReleaseForm, SignatureProcess
from tests.client.conftest import all_of, now

if TYPE_CHECKING:
    from consentry.testing import Behaviour, FakeGate
    from tests.client.conftest import Side

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHECK = Check(
    operation=Operation.DETECT_FACES,
    purpose=Purpose.TAGGING,
    category=DataCategory.FACE_GEOMETRY,
    photo="pho_1",
    faces=[Face(subject_id="alice")],
)
NOTICE = Notice(notice_id="n", language="en", effective_time=NOON, text="…")
POLICY = RetentionPolicy(policy_id="p", effective_time=NOON, public_uri="https://example.test", text="…")
DELIVERY = Delivery(
    notice_id="n",
    notice_version=1,
    channel=NoticeChannel.IN_APP,
    language="en",
    deliver_time=NOON,
    shown_sha256=bytes(32),
)
RELEASE = Release(
    notice_id="n",
    notice_version=1,
    delivery_id="dlv_1",
    form=ReleaseForm.ELECTRONIC_SIGNATURE,
    process=SignatureProcess.TYPED_NAME,
    signed_document_sha256=bytes(32),
    intent_statement="I sign",
    purposes=[Purpose.TAGGING],
    categories=[DataCategory.FACE_TEMPLATE],
    sign_time=NOON,
    language="en",
)
DETERMINATION = Determination(
    kind=DeterminationKind.NONBIOMETRIC,
    authority="a",
    evidence_reference="e",
    author="c",
    decide_time=NOON,
    expire_time=NOON,
)
IDENTIFIER = Identifier(
    category=DataCategory.FACE_TEMPLATE,
    format="f",
    format_version="1",
    algorithm_id="a",
    algorithm_version="1",
    collection_method_id="m",
)

# Every method with arguments: (method, arguments, RPC). The fake answers NOT_BUILT where it has no answer of its own.
CALLS: list[tuple[str, tuple[Any, ...], str]] = [
    ("record_processing", ("dec_1", ProcessingResult.PERFORMED), "RecordProcessing"),
    ("publish_notice", (NOTICE,), "PublishNotice"),
    ("publish_retention_policy", (POLICY,), "PublishRetentionPolicy"),
    ("record_notice_delivery", ("alice", DELIVERY), "RecordNoticeDelivery"),
    ("record_release", ("alice", RELEASE), "RecordRelease"),
    ("withdraw_release", ("alice",), "WithdrawRelease"),
    ("record_interaction", ("alice",), "RecordInteraction"),
    ("record_purpose_satisfied", ("alice", [Purpose.TAGGING]), "RecordPurposeSatisfied"),
    ("record_opt_out", ("alice", [Purpose.TAGGING]), "RecordOptOut"),
    ("record_determination", (DETERMINATION,), "RecordDetermination"),
    ("approve_determination", ("det_1",), "RecordDetermination"),
    ("get_subject", ("alice",), "GetSubject"),
    ("store_identifier", ("permit", IDENTIFIER, b"t"), "StoreIdentifier"),
    ("open_identifier", ("permit", "idf_1"), "OpenIdentifier"),
    ("get_destruction_certificate", ("des_1",), "GetDestructionCertificate"),
    ("explain", ("dec_1",), "Explain"),
    ("get_checkpoint", (), "GetCheckpoint"),
    ("get_inclusion_proof", (3,), "GetInclusionProof"),
    ("get_consistency_proof", (3,), "GetConsistencyProof"),
]
LISTS: list[tuple[str, tuple[Any, ...], str]] = [
    ("list_notices", (), "ListNotices"),
    ("list_identifiers", ("alice",), "ListIdentifiers"),
    ("list_entries", (), "ListEntries"),
    ("replay_decisions", (), "ReplayDecisions"),
]


@pytest.mark.parametrize(("method", "arguments", "rpc"), CALLS, ids=[call[0] for call in CALLS])
async def test_every_call_reaches_its_rpc(
    side: Side, gate: FakeGate, method: str, arguments: tuple[Any, ...], rpc: str
) -> None:
    async with side.started() as client:
        gate.script(rpc, fails(grpc.StatusCode.FAILED_PRECONDITION, "STATE_CONFLICT", "closed", state="closed"))
        with pytest.raises(Conflict) as caught:
            await now(getattr(client, method)(*arguments))
    assert dict(caught.value.metadata) == {"state": "closed"}
    (request,) = gate.received(rpc)
    assert getattr(request, "request_id", "reads") != ""
    assert gate.metadata(rpc)[0]["consentry-unsafe-role"] == "processor"


@pytest.mark.parametrize(("method", "arguments", "rpc"), LISTS, ids=[call[0] for call in LISTS])
async def test_every_list_reaches_its_rpc(
    side: Side, gate: FakeGate, method: str, arguments: tuple[Any, ...], rpc: str
) -> None:
    async with side.started() as client:
        with pytest.raises(NotBuilt) as caught:
            await all_of(getattr(client, method)(*arguments))
    assert caught.value.reason == "NOT_BUILT"
    assert len(gate.received(rpc)) == 1


async def test_a_denial_is_a_result(side: Side, gate: FakeGate) -> None:
    async with side.started() as client:
        allowed = await now(client.check(CHECK))
        denied = await now(
            client.check(Check(operation=CHECK.operation, purpose=CHECK.purpose, category=CHECK.category))
        )
    assert (allowed.allowed, denied.allowed, denied.outcome) == (True, False, Outcome.DENY)
    assert allowed.permit == ""  # none was wanted


async def test_a_batch_keeps_its_order_and_each_item_its_own_fate(side: Side, gate: FakeGate) -> None:
    status = gate_service_pb2.ItemStatus(code=5, message="no such photo", field="photo.photo_id")
    status.reason = 18  # type: ignore[assignment]  # ERROR_REASON_NOT_FOUND
    results = [
        gate_service_pb2.CheckResult(correlation_id="0", status=status),
        gate_service_pb2.CheckResult(correlation_id="1", response=gate_service_pb2.CheckResponse()),
        gate_service_pb2.CheckResult(correlation_id="2"),
        gate_service_pb2.CheckResult(
            correlation_id="3", status=gate_service_pb2.ItemStatus(code=99, message="from a newer server")
        ),
    ]
    gate.script("BatchCheck", answers(gate_service_pb2.BatchCheckResponse(results=results)))
    async with side.started() as client:
        first, second, third, fourth = await now(client.check_batch([CHECK] * 4))
        assert isinstance(first, NotFound)
        assert (first.reason, first.field) == ("NOT_FOUND", "photo.photo_id")
        assert not second.allowed
        assert isinstance(third, Unavailable)
        assert isinstance(fourth, Unavailable)
        assert [decision.allowed for decision in await now(client.check_batch([CHECK, CHECK]))] == [True, True]


@pytest.mark.parametrize("ids", [["0"], ["1", "0"], ["0", "1", "2"], ["0", "0"]])
async def test_a_batch_out_of_order_is_no_answer(side: Side, gate: FakeGate, ids: list[str]) -> None:
    results = [gate_service_pb2.CheckResult(correlation_id=correlation_id) for correlation_id in ids]
    gate.script("BatchCheck", answers(gate_service_pb2.BatchCheckResponse(results=results)))
    async with side.started() as client:
        with pytest.raises(Unavailable):
            await now(client.check_batch([CHECK, CHECK]))


@pytest.mark.parametrize(
    ("behaviour", "kind", "reason"),
    [
        (fails(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", field="faces[0]"), InvalidRequest, "FIELD_INVALID"),
        (fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE", field="faces"), InvalidRequest, "TOO_LARGE"),
        (fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"), Unavailable, "OVERLOADED"),
        (fails(grpc.StatusCode.RESOURCE_EXHAUSTED), Unavailable, ""),
        (fails(grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MISSING"), PermissionDenied, "IDENTITY_MISSING"),
        (fails(grpc.StatusCode.PERMISSION_DENIED, "PERMIT_EXPIRED"), PermitExpired, "PERMIT_EXPIRED"),
        (fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"), NotFound, "NOT_FOUND"),
        (fails(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"), Conflict, "REQUEST_ID_REUSED"),
        (fails(grpc.StatusCode.FAILED_PRECONDITION, "LEDGER_FORKED"), Unavailable, "LEDGER_FORKED"),
        (fails(grpc.StatusCode.DATA_LOSS, "DATA_DAMAGED"), Unavailable, "DATA_DAMAGED"),
        (fails(grpc.StatusCode.UNIMPLEMENTED), NotBuilt, ""),
        (fails(grpc.StatusCode.INTERNAL), Unavailable, ""),
        (fails(grpc.StatusCode.NOT_FOUND, "A_REASON_OF_TOMORROW"), NotFound, "A_REASON_OF_TOMORROW"),
    ],
)  # fmt: skip
async def test_errors_are_sorted_by_what_to_do(
    side: Side, gate: FakeGate, behaviour: Behaviour, kind: type[ConsentryError], reason: str
) -> None:
    gate.script("Check", behaviour)
    async with side.started() as client:
        with pytest.raises(ConsentryError) as caught:
            await now(client.check(CHECK))
    error = caught.value
    assert (type(error), error.reason) == (kind, reason)
    assert "field" not in error.metadata
    assert error.field in str(error)
    assert isinstance(error.__cause__, grpc.RpcError)
    assert error.code is error.__cause__.code()


async def test_a_deadline_is_no_answer_and_is_not_tried_again(side: Side, gate: FakeGate) -> None:
    gate.script("Check", never_answers)
    gate.script("GetCheckpoint", never_answers)
    config = Config(check_deadline_seconds=0.05, unary_deadline_seconds=0.05)
    async with side.started(config) as client:
        for call in (lambda: client.check(CHECK), client.get_checkpoint):
            with pytest.raises(Unavailable) as caught:
                await now(call())
            assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(gate.received("Check")) <= 1


@pytest.mark.parametrize(
    ("method", "arguments", "rpc"),
    [("check", (CHECK,), "Check"), ("record_release", ("alice", RELEASE), "RecordRelease")],
)
async def test_an_unavailable_server_is_asked_again_with_the_same_id(
    side: Side, gate: FakeGate, method: str, arguments: tuple[Any, ...], rpc: str
) -> None:
    down = fails(grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED")
    gate.script(rpc, down, down, fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"))
    async with side.started() as client:
        with pytest.raises(NotFound):
            await now(getattr(client, method)(*arguments))
    requests = gate.received(rpc)
    assert len(requests) == 3
    assert len({request.request_id for request in requests}) == 1
    assert requests[0] == requests[2]


async def test_asking_again_is_bounded(side: Side, gate: FakeGate) -> None:
    gate.script("Check", *[fails(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")] * 10)
    async with side.started() as client:
        with pytest.raises(Unavailable) as caught:
            await now(client.check(CHECK))
    assert caught.value.reason == "SHUTTING_DOWN"
    assert len(gate.received("Check")) == 4


async def test_an_opening_is_not_tried_again(side: Side, gate: FakeGate) -> None:
    down = fails(grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE")
    gate.script("OpenIdentifier", down)
    gate.script("OpenPhoto", down)
    async with side.started() as client:
        with pytest.raises(Unavailable):
            await now(client.open_identifier("permit", "idf_1"))
        with pytest.raises(Unavailable):
            await now(client.open_photo("permit", "pho_1"))
    assert (len(gate.received("OpenIdentifier")), len(gate.received("OpenPhoto"))) == (1, 1)


async def test_a_server_that_is_not_there_is_no_answer(side: Side, gate: FakeGate) -> None:
    gate.stop()
    async with side.started() as client:
        with pytest.raises(Unavailable):
            await now(client.check(CHECK))


async def test_a_server_that_goes_during_the_call_is_no_answer(side: Side, gate: FakeGate) -> None:
    stopping: list[threading.Thread] = []

    def goes(request: object, context: grpc.ServicerContext) -> None:
        thread = threading.Thread(target=gate.stop)
        stopping.append(thread)
        thread.start()
        never_answers(request, context)

    gate.script("Check", goes)
    async with side.started() as client:
        with pytest.raises(Unavailable):
            await now(client.check(CHECK))
    for thread in stopping:
        thread.join()


async def test_lists_fetch_page_after_page(side: Side, gate: FakeGate) -> None:
    def page(first: int, token: str) -> audit_service_pb2.ListEntriesResponse:
        entries = [ledger_pb2.Entry(json=str(number).encode()) for number in (first, first + 1)]
        return audit_service_pb2.ListEntriesResponse(entries=entries, next_page_token=token)

    gate.script("ListEntries", answers(page(0, "a")), answers(page(2, "b")), answers(page(4, "")))
    async with side.started() as client:
        entries = await all_of(client.list_entries(types=["decision"], page_size=2))
    assert [entry.json for entry in entries] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    requests = gate.received("ListEntries")
    assert [request.page_token for request in requests] == ["", "a", "b"]
    assert [list(request.types) for request in requests] == [["decision"]] * 3
