"""Following the ledger, photos by their hash, and coverage, through the servicers."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.duration_pb2 import Duration

from consentry.v1 import audit_service_pb2, gate_service_pb2, photo_pb2, vault_service_pb2
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import Operation
from tests.support.stack import PROCESSOR, face
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import AUDITOR, ask, consent
from tests.unit.grpc.samples import NOW, at

pb = audit_service_pb2
PICTURE = Path(__file__).parents[2] / "data" / "photos" / "no-face.jpg"


async def check(servicers: Servicers, *faces: photo_pb2.FaceInput, **fields: Any) -> Any:
    set_caller(PROCESSOR)
    return await ask(servicers, samples.check(*faces, **fields))


async def report(servicers: Servicers, decision_id: str, result: int = v.PROCESSING_RESULT_PERFORMED) -> None:
    set_caller(PROCESSOR)
    await servicers.gate.RecordProcessing(
        gate_service_pb2.RecordProcessingRequest(
            request_id=samples.request_id(),
            decision_id=decision_id,
            result=v.ProcessingResult.ValueType(result),
            algorithm_id="hog-face",
            algorithm_version="1",
            perform_time=samples.at(servicers.stack.clock.now),
        ),
        None,
    )


async def listed(servicers: Servicers, **wanted: Any) -> list[dict[str, Any]]:
    set_caller(AUDITOR)
    answer = await servicers.audit.ListEntries(pb.ListEntriesRequest(page_size=1000, **wanted), None)
    return [orjson.loads(each.json) for each in answer.entries]


async def covered(servicers: Servicers, **asked: Any) -> list[pb.CoverageRow]:
    set_caller(AUDITOR)
    request = pb.GetCoverageRequest(page_size=1, **asked)
    rows: list[pb.CoverageRow] = []
    while True:
        answer = await servicers.audit.GetCoverage(request, None)
        assert len(answer.rows) <= 1
        rows += answer.rows
        request.page_token = answer.next_page_token
        if not answer.next_page_token:
            return rows


async def test_a_photo_is_found_by_its_hash_with_every_stored_copy(servicers: Servicers) -> None:
    await servicers.stack.policy()
    data = PICTURE.read_bytes()
    digest = servicers.stack.tenant.audit.photo_ref  # entries never hold the hash itself
    stored = [(await servicers.stack.upload(data, owner)).photo for owner in ("ana", "bo")]
    assert all(stored)
    sha256 = hashlib.sha256(data).digest()
    shown = await servicers.stack.check(face(), operation=Operation.DISPLAY, photo_id=stored[0].photo_id)  # type: ignore[union-attr]
    await servicers.stack.check(face(), sha256=sha256)
    await servicers.stack.check(face(), sha256=b"\x01" * 32)
    found = await listed(servicers, photo=photo_pb2.PhotoReference(sha256=sha256))
    assert [each["type"] for each in found] == [*["decision", "photo.stored"] * 2, "decision", "decision"]
    assert found[-1]["photo_ref"] == digest(sha256)
    assert found[-2]["decision_id"] == shown.decision_id
    only = await listed(servicers, photo=photo_pb2.PhotoReference(photo_id=stored[1].photo_id))  # type: ignore[union-attr]
    assert [each["type"] for each in only] == ["photo.stored"]
    assert await listed(servicers, photo=photo_pb2.PhotoReference(sha256=b"\x02" * 32)) == []
    assert len(await listed(servicers, actor="system")) >= 4


async def test_a_follower_gets_every_entry_once_and_resumes(servicers: Servicers) -> None:
    set_caller(AUDITOR)
    tail: Any = servicers.audit.TailEntries(pb.TailEntriesRequest(after_index=-1), None)
    held = await listed(servicers)
    first = [await anext(tail) for _ in held]
    assert [each.entry.reference.index for each in first] == list(range(len(held)))
    assert not (await anext(tail)).HasField("entry")  # a sign of life: that is all there is
    following = asyncio.ensure_future(anext(tail))
    await consent(servicers)
    assert (await following).entry.reference.index == len(held)
    await tail.aclose()
    set_caller(AUDITOR)
    resumed: Any = servicers.audit.TailEntries(pb.TailEntriesRequest(after_index=len(held)), None)
    assert (await anext(resumed)).entry.reference.index == len(held) + 1
    await resumed.aclose()
    size = len(await listed(servicers))
    new: Any = servicers.audit.TailEntries(pb.TailEntriesRequest(), None)
    assert not (await anext(new)).HasField("entry")
    waiting = asyncio.ensure_future(anext(new))
    await check(servicers)
    assert (await waiting).entry.reference.index == size
    await new.aclose()
    for wrong in (-2, size + 7):
        set_caller(AUDITOR)
        with pytest.raises(ConsentryError) as raised:
            await anext(servicers.audit.TailEntries(pb.TailEntriesRequest(after_index=wrong), None))
        assert raised.value.reason is Reason.FIELD_INVALID


async def test_coverage_finds_each_gap_and_only_when_it_is_due(servicers: Servicers) -> None:
    stack = servicers.stack
    await consent(servicers)
    await consent(servicers, "frank")
    closed, open_, withdrawn = [await check(servicers) for _ in range(3)]
    assert closed.permit
    assert [each.get("permit") for each in await listed(servicers, types=["decision"])] == [True, True, True]
    await report(servicers, closed.decision.decision_id)
    await report(servicers, withdrawn.decision.decision_id, v.PROCESSING_RESULT_NOT_PERFORMED)
    denied = await check(servicers, samples.face(""))
    assert not denied.permit
    unasked = await check(servicers, want_permit=False)
    for decision in (denied, unasked):
        await report(servicers, decision.decision.decision_id)
    failed = await check(servicers, samples.face(""))
    await report(servicers, failed.decision.decision_id, v.PROCESSING_RESULT_FAILED)
    idle = await check(servicers, samples.face(""))
    await report(servicers, idle.decision.decision_id, v.PROCESSING_RESULT_NOT_PERFORMED)
    opened = await check(servicers, operation=v.OPERATION_IDENTIFY)
    stored = await servicers.vault.StoreIdentifier(samples.identifier(open_.permit), None)
    await servicers.vault.OpenIdentifier(
        vault_service_pb2.OpenIdentifierRequest(permit=opened.permit, identifier_id=stored.identifier_id), None
    )

    (row,) = await covered(servicers)
    counts = (row.permit_count, row.open_permit_count, row.unpermitted_processing_count, row.refused_processing_count)
    assert (*counts, row.unreported_opening_count) == (4, 0, 3, 2, 0)  # nothing is overdue yet
    assert set(row.decision_ids) == {
        denied.decision.decision_id,
        unasked.decision.decision_id,
        failed.decision.decision_id,
    }

    stack.clock.forward(seconds=60 + 300)
    (row,) = await covered(servicers)
    assert (row.actor, row.open_permit_count, row.unreported_opening_count) == ("face-tagger", 2, 1)
    expected = [each.decision.decision_id for each in (open_, denied, unasked, failed, opened)]
    assert list(row.decision_ids) == expected
    assert row.period.from_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW.replace(hour=0)
    assert row.period.until_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW.replace(hour=0) + timedelta(days=1)

    await report(servicers, opened.decision.decision_id)  # late, but it closes both
    (row,) = await covered(servicers)
    assert (row.open_permit_count, row.unreported_opening_count) == (1, 0)


async def test_coverage_is_paged_by_period_and_service(servicers: Servicers) -> None:
    stack = servicers.stack
    await consent(servicers)
    other = PROCESSOR.__class__("acme", PROCESSOR.role, "night-job")
    for _ in range(3):
        for caller in (PROCESSOR, other):
            set_caller(caller)
            await servicers.gate.Check(samples.check(), None)
        stack.clock.forward(hours=2)
    hour = Duration(seconds=3600)
    rows = await covered(servicers, row_period=hour)
    assert [(each.actor, each.period.from_time.ToDatetime().hour) for each in rows] == [
        (name, 10 + 2 * place) for place in range(3) for name in ("face-tagger", "night-job")
    ]
    assert all(each.open_permit_count == 1 == len(each.decision_ids) for each in rows)
    assert len(await covered(servicers, row_period=hour, actor="night-job")) == 3
    cut = pb.TimeRange(from_time=at(NOW + timedelta(minutes=30)), until_time=at(NOW + timedelta(hours=3)))
    rows = await covered(servicers, row_period=hour, period=cut)
    assert len(rows) == 2
    assert await covered(servicers, period=pb.TimeRange(until_time=at(NOW))) == []
    whole = await covered(servicers, period=pb.TimeRange(from_time=at(NOW), until_time=at(NOW + timedelta(hours=1))))
    assert [each.period.from_time.ToDatetime(tzinfo=NOW.tzinfo) for each in whole] == [NOW, NOW]
    assert {each.period.until_time.ToDatetime(tzinfo=NOW.tzinfo) for each in whole} == {NOW + timedelta(hours=1)}
    for request, reason in (
        (pb.GetCoverageRequest(row_period=Duration(seconds=60)), Reason.FIELD_INVALID),
        (pb.GetCoverageRequest(row_period=Duration(seconds=400 * 86_400)), Reason.FIELD_INVALID),
        (pb.GetCoverageRequest(actor="No Name"), Reason.FIELD_INVALID),
        (pb.GetCoverageRequest(page_token="AAAA"), Reason.PAGE_TOKEN_INVALID),
    ):
        with pytest.raises(ConsentryError) as raised:
            await servicers.audit.GetCoverage(request, None)
        assert raised.value.reason is reason


async def test_a_masked_permit_is_a_permit_and_an_unmaskable_one_is_none(servicers: Servicers) -> None:
    await consent(servicers)
    nobody = samples.face("", x=200)
    mixed = await check(servicers, samples.face(), nobody)
    assert mixed.permit
    nobody.ClearField("box")
    bare = await check(servicers, samples.face(), nobody)
    assert not bare.permit
    assert [each.get("permit") for each in await listed(servicers, types=["decision"])] == [True, None]
