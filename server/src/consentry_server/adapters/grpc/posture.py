"""Posture and rehearsal: requests read, reports written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry.v1 import gate_service_pb2, registry_service_pb2
from consentry_server.adapters.grpc import read, read_gate, words, write
from consentry_server.core.errors import ConsentryError
from consentry_server.services.rehearsal import Planned, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.record.facts import ActivePack
    from consentry_server.services.context import Caller, RequestKey
    from consentry_server.services.posture import Posture

MAX_OPERATIONS: Final = 1_000
MAX_TIMES: Final = 1_000_000_000


def posture_request(
    request: registry_service_pb2.CheckPostureRequest, caller: Caller
) -> tuple[frozenset[str], RequestKey | None]:
    """Read what to look at.

    Args:
        request: As it came.
        caller: Who asks.

    Returns:
        The regions, and the request's key where the result is kept.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "CheckPosture", request) if request.persist else None
    return posture_regions(request), key


def posture_regions(request: registry_service_pb2.CheckPostureRequest) -> frozenset[str]:
    """Read the regions to look at.

    Raises:
        ConsentryError: ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    return read.regions(request.regions, "regions")


def posture(ledger: str, held: Posture) -> registry_service_pb2.CheckPostureResponse:
    """Write what is lacking.

    Args:
        ledger: The ledger's origin.
        held: What was found.
    """
    return registry_service_pb2.CheckPostureResponse(
        findings=[
            registry_service_pb2.PostureFinding(
                reason=write.reason(lack.finding), regions=lack.regions, about=lack.about
            )
            for lack in held.lacks
        ],
        check_time=write.timestamp(held.time),
        entry=None if held.recorded is None else write.entry(ledger, held.recorded),
    )


def planned(request: gate_service_pb2.SimulateRequest, now: datetime, tally: Tally) -> list[Planned]:
    """Read planned operations; one that cannot be read is a failure of its own.

    Args:
        request: As it came.
        now: The time, UTC.
        tally: Takes the failures.

    Returns:
        The operations that can be decided.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``TOO_LARGE``: the whole request fails.
    """
    if not request.operations:
        raise read.required("operations", "at least one")
    read.count(request.operations, "operations", MAX_OPERATIONS)
    found: list[Planned] = []
    seen: set[str] = set()
    for place, each in enumerate(request.operations):
        field = f"operations[{place}]"
        correlation_id = read.token(each.correlation_id, f"{field}.correlation_id")
        if correlation_id in seen:
            raise read.invalid(f"{field}.correlation_id", "is used twice in this request")
        seen.add(correlation_id)
        if not 0 <= each.times <= MAX_TIMES:
            raise read.invalid(f"{field}.times", f"must be from 1 to {MAX_TIMES}")
        try:
            found.append(Planned(correlation_id, read_gate.rehearsed(each.check, now), each.times or 1))
        except ConsentryError as error:
            tally.failures.append((correlation_id, error))
    return found


def simulated(
    tally: Tally, order: Sequence[str], time: datetime, packs: tuple[ActivePack, ...]
) -> gate_service_pb2.SimulateResponse:
    """Write what was counted.

    Args:
        tally: The counts.
        order: The request's ids, in order.
        time: When it was decided.
        packs: The packs that were evaluated.
    """
    place = {correlation_id: at for at, correlation_id in enumerate(order)}
    return gate_service_pb2.SimulateResponse(
        outcomes=[
            gate_service_pb2.SimulatedOutcome(
                operation=words.OPERATION.numbers[alike.operation],
                purpose=words.PURPOSE.numbers[alike.purpose],
                outcome=words.OUTCOME.numbers[alike.outcome],
                observed_only=alike.observed_only,
                operation_count=count.operations,
                face_count=count.faces,
            )
            for alike, count in tally.ordered_outcomes()
        ],
        reasons=[
            gate_service_pb2.SimulatedReason(
                reason=write.reason(finding), operation_count=count.operations, face_count=count.faces
            )
            for finding, count in tally.ordered_reasons()
        ],
        failures=[
            gate_service_pb2.SimulatedFailure(correlation_id=correlation_id, status=write.item_status(error))
            for correlation_id, error in sorted(tally.failures, key=lambda failure: place[failure[0]])
        ],
        check_time=write.timestamp(time),
        packs=write.pack_references(packs),
        engine_version=write.ENGINE_VERSION,
    )
