"""Batches, lists in pages, and proofs, through the servicers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest

from consentry.v1 import (
    audit_service_pb2,
    gate_service_pb2,
    photo_pb2,
    registry_service_pb2,
    subject_pb2,
    vault_service_pb2,
)
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import merkle, note, receipt
from tests.support.stack import COLLECTOR, PROCESSOR
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import AUDITOR, ask, consent, stream
from tests.unit.grpc.samples import NOW, at


async def test_a_batch_keeps_its_order_and_one_bad_item_fails_alone(servicers: Servicers) -> None:
    await consent(servicers)
    set_caller(PROCESSOR)
    pb = servicers.gate.BatchCheck
    checks = [
        samples.check(),
        samples.check(samples.face("")),
        samples.check(operation=99),
        samples.check(photo_id="pho_aaaaaaaaaaaaaaaaaaaaaaaa"),
        samples.check(),
    ]
    request = batch(checks)
    answer = await pb(request, None)
    assert [each.correlation_id for each in answer.results] == ["0", "1", "2", "3", "4"]
    kinds = [each.WhichOneof("result") for each in answer.results]
    assert kinds == ["response", "response", "status", "status", "response"]
    assert [each.response.decision.outcome for each in answer.results if each.HasField("response")] == [
        v.OUTCOME_ALLOW,
        v.OUTCOME_DENY,
        v.OUTCOME_ALLOW,
    ]
    unknown, missing = answer.results[2].status, answer.results[3].status
    assert (unknown.code, unknown.field) == (3, "operation")
    assert (missing.code, missing.field) == (5, "photo.photo_id")
    indices = [each.response.decision.entry.index for each in answer.results if each.HasField("response")]
    assert indices == sorted(indices)


def batch(checks: list[Any]) -> Any:
    made = gate_service_pb2.BatchCheckRequest()
    for place, check in enumerate(checks):
        made.items.add(correlation_id=str(place), check=check)
    return made


async def test_a_fault_of_the_service_fails_one_item_alone(
    servicers: Servicers, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_caller(PROCESSOR)

    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(servicers.stack.tenant.gate), "answer", broken)
    (result,) = (await servicers.gate.BatchCheck(batch([samples.check()]), None)).results
    assert (
        result.status.reason
        == gate_service_pb2.DESCRIPTOR.pool.FindEnumTypeByName("consentry.v1.ErrorReason")
        .values_by_name["ERROR_REASON_SERVICE_FAULT"]
        .number
    )
    assert "ZeroDivisionError" not in result.status.message


async def test_notices_are_listed_by_id_and_version_in_pages(servicers: Servicers) -> None:
    set_caller(COLLECTOR)
    registry = servicers.registry
    for notice_id in ["b", "a-b", "a"] + ["b"] * 10:
        request = samples.notice()
        request.notice.notice_id = notice_id
        await registry.PublishNotice(request, None)
    listed: list[tuple[str, int]] = []
    wanted = registry_service_pb2.ListNoticesRequest(page_size=4)
    while True:
        answer = await registry.ListNotices(wanted, None)
        listed += [(notice.notice_id, notice.version) for notice in answer.notices]
        wanted.page_token = answer.next_page_token
        if not answer.next_page_token:
            break
    assert listed == [("a", 1), ("a-b", 1), *[("b", version) for version in range(1, 12)]]
    sent = samples.notice().notice
    (notice,) = (await registry.ListNotices(registry_service_pb2.ListNoticesRequest(notice_id="a"), None)).notices
    for name in ("text", "purposes", "categories", "term", "recipients", "uri", "withdrawal_uri", "text_sha256"):
        assert getattr(notice, name) == getattr(sent, name), name
    assert notice.states_paper_option
    in_effect = await registry.ListNotices(
        registry_service_pb2.ListNoticesRequest(notice_id="b", effective_at_time=at()), None
    )
    assert [each.version for each in in_effect.notices] == [11]
    before = await registry.ListNotices(
        registry_service_pb2.ListNoticesRequest(effective_at_time=at(NOW - timedelta(seconds=1))), None
    )
    assert list(before.notices) == []


async def test_identifiers_are_listed_newest_first_in_pages(servicers: Servicers) -> None:
    await consent(servicers)
    set_caller(PROCESSOR)
    checked = await ask(servicers, samples.check())
    made = [
        (await servicers.vault.StoreIdentifier(samples.identifier(checked.permit), None)).identifier_id
        for _ in range(3)
    ]
    request = vault_service_pb2.ListIdentifiersRequest(
        subject=subject_pb2.SubjectReference(subject_id="eileen"), page_size=2
    )
    first = await servicers.vault.ListIdentifiers(request, None)
    request.page_token = first.next_page_token
    second = await servicers.vault.ListIdentifiers(request, None)
    assert [each.identifier_id for each in (*first.identifiers, *second.identifiers)] == made[::-1]
    assert second.next_page_token == ""
    assert first.identifiers[0].capture_device == ""  # sealed
    request.subject.subject_id = "nobody"
    with pytest.raises(ConsentryError) as raised:
        await servicers.vault.ListIdentifiers(request, None)
    assert raised.value.reason is Reason.PAGE_TOKEN_INVALID
    request.page_token = ""
    with pytest.raises(ConsentryError) as raised:
        await servicers.vault.ListIdentifiers(request, None)
    assert raised.value.reason is Reason.NOT_FOUND


async def test_entries_are_listed_by_what_is_asked(servicers: Servicers) -> None:
    released = await consent(servicers)
    set_caller(PROCESSOR)
    await ask(servicers, samples.check())
    await ask(servicers, samples.check(samples.face("")))
    set_caller(AUDITOR)
    pb = audit_service_pb2.ListEntriesRequest

    async def types(**wanted: Any) -> list[str]:
        found: list[str] = []
        request = pb(page_size=2, **wanted)
        while True:
            answer = await servicers.audit.ListEntries(request, None)
            found += [orjson.loads(entry.json)["type"] for entry in answer.entries]
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return found

    everything = await types()
    assert everything[0] == "ledger.created"
    assert (
        everything[-5:]
        == [
            "policy.published",
            "notice.published",
            "notice.delivered",
            "release.recorded",
            "decision",
            "decision",
        ][-5:]
    )
    eileen = subject_pb2.SubjectReference(subject_id="eileen")
    assert await types(subject=eileen) == ["notice.delivered", "release.recorded", "decision"]
    assert await types(types=["decision"]) == ["decision", "decision"]
    assert await types(outcomes=[v.OUTCOME_DENY]) == ["decision"]
    assert await types(actor="face-tagger") == ["decision", "decision"]
    assert await types(from_index=len(everything) - 1) == ["decision"]
    assert await types(until_index=1) == ["ledger.created"]
    assert await types(from_time=at(NOW + timedelta(seconds=21))) == []
    assert "decision" not in await types(until_time=at(NOW + timedelta(seconds=20)))
    denied = [
        orjson.loads(each.json)
        for each in (await servicers.audit.ListEntries(pb(outcomes=[v.OUTCOME_DENY]), None)).entries
    ]
    rule_id = denied[0]["rules"][0].partition(":")[0]
    assert await types(rule_id=rule_id) == ["decision"]
    for wanted, reason in (
        (pb(photo=photo_pb2.PhotoReference(photo_id="pho_none")), Reason.NOT_FOUND),
        (pb(photo=photo_pb2.PhotoReference(sha256=b"x" * 31)), Reason.FIELD_INVALID),
        (pb(subject=subject_pb2.SubjectReference(subject_ref="sub_none")), Reason.NOT_FOUND),
        (pb(from_index=-1), Reason.FIELD_INVALID),
        (pb(page_size=-1), Reason.FIELD_INVALID),
        (pb(types=["DROP TABLE"]), Reason.FIELD_INVALID),
        (pb(page_token="AAAA"), Reason.PAGE_TOKEN_INVALID),
        (pb(outcomes=cast("Any", [9])), Reason.VALUE_UNKNOWN),
    ):
        with pytest.raises(ConsentryError) as raised:
            await servicers.audit.ListEntries(wanted, None)
        assert raised.value.reason is reason
    assert released.release.entry.index == everything.index("release.recorded")


async def test_checkpoint_and_proofs_hold_for_a_stranger(servicers: Servicers) -> None:
    released = await consent(servicers)
    set_caller(AUDITOR)
    audit, pb = servicers.audit, audit_service_pb2
    checkpoint = (await audit.GetCheckpoint(pb.GetCheckpointRequest(), None)).checkpoint
    index = released.release.entry.index
    proof = await audit.GetInclusionProof(pb.GetInclusionProofRequest(index=index), None)
    assert (proof.tree_size, proof.root_hash) == (checkpoint.tree_size, checkpoint.root_hash)
    assert proof.reference == released.release.entry
    merkle.verify_inclusion(proof.reference.leaf_hash, index, proof.tree_size, list(proof.hashes), proof.root_hash)
    key = note.parse_vkey(checkpoint.verifier_key)
    receipt.verify(receipt.parse(proof.tlog_proof.encode()), proof.reference.leaf_hash, key)
    older = await audit.GetInclusionProof(pb.GetInclusionProofRequest(index=0, tree_size=2), None)
    assert (older.tree_size, older.tlog_proof) == (2, "")
    for first in range(checkpoint.tree_size + 1):
        grown = await audit.GetConsistencyProof(pb.GetConsistencyProofRequest(first_tree_size=first), None)
        assert grown.second_root_hash == checkpoint.root_hash
        if first:
            merkle.verify_consistency(
                first, checkpoint.tree_size, list(grown.hashes), grown.first_root_hash, grown.second_root_hash
            )
        else:
            assert (list(grown.hashes), grown.first_root_hash) == ([], merkle.EMPTY_ROOT)
    far = checkpoint.tree_size
    refused: tuple[tuple[Any, Any, Reason], ...] = (
        (audit.GetInclusionProof, pb.GetInclusionProofRequest(index=far), Reason.NOT_FOUND),
        (audit.GetInclusionProof, pb.GetInclusionProofRequest(index=2, tree_size=2), Reason.NOT_FOUND),
        (audit.GetInclusionProof, pb.GetInclusionProofRequest(tree_size=far + 1), Reason.FIELD_INVALID),
        (audit.GetInclusionProof, pb.GetInclusionProofRequest(index=-1), Reason.FIELD_INVALID),
        (audit.GetConsistencyProof, pb.GetConsistencyProofRequest(first_tree_size=far + 1), Reason.FIELD_INVALID),
        (
            audit.GetConsistencyProof,
            pb.GetConsistencyProofRequest(first_tree_size=3, second_tree_size=2),
            Reason.FIELD_INVALID,
        ),
    )
    for call, request, reason in refused:
        with pytest.raises(ConsentryError) as raised:
            await call(request, None)
        assert raised.value.reason is reason


async def test_a_stream_answers_every_item_and_goes_on_after_a_bad_one(servicers: Servicers) -> None:
    await consent(servicers)
    set_caller(PROCESSOR)
    bad = gate_service_pb2.CheckItem(correlation_id="bad", check=samples.check(operation=99))
    good = [gate_service_pb2.CheckItem(correlation_id=f"good-{n}", check=samples.check()) for n in range(40)]
    nameless = gate_service_pb2.CheckItem(check=samples.check())
    sent = [gate_service_pb2.StreamChecksRequest(item=item) for item in [bad, *good, nameless]]
    sent.append(gate_service_pb2.StreamChecksRequest())
    results = [answer.result async for answer in servicers.gate.StreamChecks(stream(sent), None)]
    statuses = {each.correlation_id: each.status.field for each in results if each.HasField("status")}
    assert statuses == {"bad": "operation", "": "item.correlation_id"}
    answered = {each.correlation_id for each in results if each.HasField("response")}
    assert answered == {item.correlation_id for item in good}
    assert len(results) == len(sent)


async def test_a_stream_stops_reading_while_too_much_is_unanswered(
    servicers: Servicers, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_caller(PROCESSOR)
    monkeypatch.setattr("consentry_server.adapters.grpc.gate.MAX_UNANSWERED", 3)
    read = 0

    async def requests() -> AsyncIterator[gate_service_pb2.StreamChecksRequest]:
        nonlocal read
        for number in range(50):
            read += 1
            item = gate_service_pb2.CheckItem(correlation_id=str(number), check=samples.check())
            yield gate_service_pb2.StreamChecksRequest(item=item)

    answers = servicers.gate.StreamChecks(requests(), None)
    seen = 0
    async for _ in answers:
        seen += 1
        assert read - seen <= 4  # three unanswered and one that was read and waits for its place
    assert seen == 50


async def test_a_stream_that_its_caller_leaves_ends_its_work(servicers: Servicers) -> None:
    set_caller(PROCESSOR)
    never = asyncio.Event()

    async def requests() -> AsyncIterator[gate_service_pb2.StreamChecksRequest]:
        item = gate_service_pb2.CheckItem(correlation_id="1", check=samples.check())
        yield gate_service_pb2.StreamChecksRequest(item=item)
        await never.wait()

    before = asyncio.all_tasks()
    answers = servicers.gate.StreamChecks(requests(), None)
    assert (await anext(answers)).result.correlation_id == "1"
    await answers.aclose()
    assert asyncio.all_tasks() == before


async def test_a_stream_that_breaks_says_so(servicers: Servicers) -> None:
    set_caller(PROCESSOR)

    async def requests() -> AsyncIterator[gate_service_pb2.StreamChecksRequest]:
        item = gate_service_pb2.CheckItem(correlation_id="1", check=samples.check())
        yield gate_service_pb2.StreamChecksRequest(item=item)
        raise ConsentryError(Reason.FIELD_INVALID, "the request cannot be read", field="request")

    with pytest.raises(ConsentryError) as raised:
        [answer async for answer in servicers.gate.StreamChecks(requests(), None)]
    assert raised.value.reason is Reason.FIELD_INVALID
