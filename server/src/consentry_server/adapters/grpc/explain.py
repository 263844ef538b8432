"""Explain and ReplayDecisions, read and written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from consentry.v1 import audit_service_pb2, decision_pb2, gate_service_pb2, ledger_pb2
from consentry_server.adapters.grpc import read, read_gate, words, write
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.record.terms import decision_index
from consentry_server.services.book import Recorded
from consentry_server.services.checks import Checked
from consentry_server.services.gate import MAX_FACES
from consentry_server.services.replay import Result
from consentry_server.services.replaying import Asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from consentry_server.adapters.grpc.servicer import Call
    from consentry_server.adapters.grpc.tenants import Tenant
    from consentry_server.core.law import Pack
    from consentry_server.core.law.trace import Step
    from consentry_server.services.explaining import Explained
    from consentry_server.services.replay import Replayed, Tally

MAX_TRACE_BYTES: Final = 3 * 2**20
MAX_PACKS: Final = 16
MAX_PACK_BYTES: Final = 2**20
_RESULTS: Final = {
    Result.DIFFERENT: audit_service_pb2.REPLAY_RESULT_DIFFERENT,
    Result.ERASED: audit_service_pb2.REPLAY_RESULT_NOT_REPLAYABLE,
    Result.NO_PACK: audit_service_pb2.REPLAY_RESULT_FAILED,
    Result.OTHER_ENGINE: audit_service_pb2.REPLAY_RESULT_FAILED,
    Result.NO_SETTINGS: audit_service_pb2.REPLAY_RESULT_FAILED,
    Result.DAMAGED: audit_service_pb2.REPLAY_RESULT_FAILED,
}


async def explain(
    call: Call, request: gate_service_pb2.ExplainRequest, now: datetime
) -> gate_service_pb2.ExplainResponse:
    """Answer Explain.

    Args:
        call: Who asks, and whose ledger.
        request: As it came.
        now: The time, UTC.

    Raises:
        ConsentryError: as the contract says.
    """
    explaining, caller = call.tenant.explaining, call.caller
    chosen = _faces(request)
    match request.WhichOneof("target"):
        case "decision_id":
            decision_id = read.record_id(request.decision_id, "decision_id")
            index = decision_index(decision_id)
            found = await asyncio.to_thread(explaining.recorded, decision_id, index, caller)
        case "hypothetical":
            asked = read_gate.check(supposed(request.hypothetical), caller, now)
            found = await asyncio.to_thread(explaining.hypothetical, asked, now)
        case _:
            raise read.required("target", "a decision_id or a hypothetical request")
    return await asyncio.to_thread(explained, call.ledger, found, chosen)


def explained(ledger: str, found: Explained, chosen: frozenset[int] = frozenset()) -> gate_service_pb2.ExplainResponse:
    """Write an explanation.

    Args:
        ledger: The ledger's origin.
        found: The explanation.
        chosen: The faces wanted; none for all.

    Raises:
        ConsentryError: ``FIELD_INVALID``: there is no such face; ``TOO_LARGE``.
    """
    count = len(found.decision.faces)
    if any(place >= count for place in chosen):
        raise read.invalid("face_indices", f"names a face that the decision does not have: it had {count}")
    faces = [step for place, step in enumerate(found.steps) if not chosen or place in chosen]
    response = gate_service_pb2.ExplainResponse(
        decision=_decision(ledger, found), steps=map(_step, [*found.notes, *faces]), complete=found.complete
    )
    if response.ByteSize() > MAX_TRACE_BYTES:
        raise ConsentryError(
            Reason.TOO_LARGE, "the trace is longer than one answer may be: name fewer faces", field="face_indices"
        )
    return response


def supposed(request: gate_service_pb2.CheckRequest) -> gate_service_pb2.CheckRequest:
    """A hypothetical request as one that could be sent: what would only matter to a recorded one is left out."""
    made = gate_service_pb2.CheckRequest()
    made.CopyFrom(request)
    made.request_id = "hypothetical"
    for name in ("want_permit", "permit_audience", "permit_single_use"):
        made.ClearField(name)
    return made


def _faces(request: gate_service_pb2.ExplainRequest) -> frozenset[int]:
    read.count(request.face_indices, "face_indices", MAX_FACES)
    chosen = frozenset(request.face_indices)
    if len(chosen) < len(request.face_indices) or any(place < 0 for place in chosen):
        raise read.invalid("face_indices", "must be positions in the request, each named once")
    return chosen


def _decision(ledger: str, found: Explained) -> decision_pb2.Decision:
    """What comes out, as Check says it; of a recorded decision, where that is another, what is recorded."""
    held, entry = found.recorded, found.entry
    if held is not None and entry is not None and not found.complete:
        return write.recorded_decision(ledger, entry, held)
    made = write.decision(
        ledger,
        Checked(
            found.decision,
            "" if held is None else held.decision_id,
            entry or Recorded(0, b"", found.at),
            found.at if held is None else held.expires_at,
            found.packs,
            found.subject_refs,
        ),
    )
    if held is None:
        made.ClearField("entry")
        made.ClearField("expire_time")
    else:
        made.engine_version = held.engine
    return made


def _step(step: Step) -> gate_service_pb2.ExplanationStep:
    written = gate_service_pb2.ExplanationStep(
        text=step.text,
        result=gate_service_pb2.StepResult.Value(f"STEP_RESULT_{step.result}"),
        rule_id=step.rule_id,
        rule_version=step.rule_version,
        pack_id=step.pack_id,
        citation=step.citation,
        basis_indices=step.basis,
        steps=map(_step, step.steps),
        remedy=step.remedy,
    )
    if step.outcome is not None:
        written.outcome = words.OUTCOME.numbers[step.outcome]
    if step.grade is not None:
        written.grade = words.GRADE.numbers[step.grade]
    return written


async def replay(
    tenant: Tenant, ledger: str, request: audit_service_pb2.ReplayDecisionsRequest
) -> AsyncIterator[audit_service_pb2.ReplayDecisionsResponse]:
    """Answer ReplayDecisions.

    Args:
        tenant: Whose ledger.
        ledger: Its origin.
        request: As it came.

    Raises:
        ConsentryError: as the contract says.
    """
    steps = tenant.replaying.run(await asyncio.to_thread(_asked, request))
    try:
        while (step := await asyncio.to_thread(next, steps, None)) is not None:
            different, tally = step
            for one in different:
                yield audit_service_pb2.ReplayDecisionsResponse(difference=_difference(ledger, one))
            yield audit_service_pb2.ReplayDecisionsResponse(progress=_progress(tally))
    finally:
        await asyncio.to_thread(steps.close)


def _asked(request: audit_service_pb2.ReplayDecisionsRequest) -> Asked:
    if request.from_index < 0:
        raise read.invalid("from_index", "must not be less than 0")
    until = request.until_index if request.HasField("until_index") else None
    if until is not None and until < request.from_index:
        raise read.invalid("until_index", "must not be less than from_index")
    only = read.record_id(request.decision_id, "decision_id") if request.decision_id else ""
    if only:
        if decision_index(only) < 0:
            raise read.invalid("decision_id", "is no id of a decision")
        until = decision_index(only) + 1
    return Asked(request.from_index, until, only, _packs(request.pack_tomls))


def _packs(sent: Sequence[bytes]) -> tuple[Pack, ...]:
    read.count(sent, "pack_tomls", MAX_PACKS)
    found: list[Pack] = []
    for place, data in enumerate(sent):
        field = f"pack_tomls[{place}]"
        if len(data) > MAX_PACK_BYTES:
            raise ConsentryError(Reason.TOO_LARGE, f"{field} is longer than 1 MiB", field=field)
        pack = load_pack(data, name=field)
        if any(pack.id == other.id for other in found):
            raise read.invalid(field, f"is a second pack {pack.id}")
        found.append(pack)
    return tuple(found)


def _difference(ledger: str, one: Replayed) -> audit_service_pb2.ReplayDifference:
    said = [str(each) for each in one.differences]
    written = audit_service_pb2.ReplayDifference(
        result=_RESULTS[one.result],
        decision_id=one.decision_id,
        entry=ledger_pb2.EntryReference(ledger=ledger, index=one.index, leaf_hash=one.leaf_hash),
        differences=[one.why, *said] if one.why else said,
    )
    if one.recorded is not None:
        written.recorded_outcome = words.OUTCOME.numbers[one.recorded]
    if one.replayed is not None:
        written.replayed_outcome = words.OUTCOME.numbers[one.replayed]
    return written


def _progress(tally: Tally) -> audit_service_pb2.ReplayProgress:
    results = tally.results
    failed = sum(results[each] for each in (Result.NO_PACK, Result.OTHER_ENGINE, Result.NO_SETTINGS, Result.DAMAGED))
    return audit_service_pb2.ReplayProgress(
        total_count=tally.total,
        replayed_count=tally.total - results[Result.NO_PACK] - results[Result.DAMAGED],
        equal_count=results[Result.EQUAL],
        different_count=results[Result.DIFFERENT],
        not_replayable_count=results[Result.ERASED],
        failed_count=failed,
    )
