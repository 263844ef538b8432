"""GateService: checks, what was done after them, why they came out so, the queue of reviews, rehearsals."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar

from consentry.v1 import gate_service_pb2 as pb
from consentry_server.adapters.grpc import (
    explain,
    posture,
    read,
    read_consent,
    read_gate,
    read_house,
    write,
    write_house,
    write_record,
)
from consentry_server.adapters.grpc.servicer import Servicer
from consentry_server.adapters.grpc.status import fault
from consentry_server.core.errors import ConsentryError
from consentry_server.services.rehearsal import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from consentry_server.adapters.grpc.servicer import Call
    from consentry_server.services.checks import Asked, Checked

T = TypeVar("T")

_CHECK: Final = "/consentry.v1.GateService/Check"
MAX_UNANSWERED: Final = 1_000
"""How many items of one stream may wait for their answer before the server stops reading it."""


class GateServicer(Servicer):
    """Asks before, reports after. Each method is the RPC of its name in ``gate_service.proto``."""

    async def Check(self, request: pb.CheckRequest, _context: Any) -> bytes:  # noqa: N802 - the RPC's name
        """Decide one operation."""
        return await self._check(self._call(), request, pb.CheckResponse.SerializeToString)

    async def BatchCheck(self, request: pb.BatchCheckRequest, _context: Any) -> pb.BatchCheckResponse:  # noqa: N802 - the RPC's name
        """Decide many operations; they wait for the ledger together and share its commits."""
        call = self._call()
        items = read_gate.items(request)
        return pb.BatchCheckResponse(results=await asyncio.gather(*[self._item(call, item) for item in items]))

    async def StreamChecks(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[pb.StreamChecksRequest], _context: Any
    ) -> AsyncGenerator[pb.StreamChecksResponse, None]:
        """Decide operations as they come; answers come as they are ready, and reading stops while too many wait."""
        call = self._call()
        answers: asyncio.Queue[asyncio.Task[pb.CheckResult] | None] = asyncio.Queue()
        places = asyncio.Semaphore(MAX_UNANSWERED)
        working: set[asyncio.Task[pb.CheckResult]] = set()

        def answered(task: asyncio.Task[pb.CheckResult]) -> None:
            working.discard(task)
            answers.put_nowait(task)
            if reader.done() and not working:
                answers.put_nowait(None)

        async def read_all() -> None:
            async for request in requests:
                await places.acquire()
                task = asyncio.create_task(self._streamed(call, request))
                working.add(task)
                task.add_done_callback(answered)

        reader = asyncio.create_task(read_all())
        reader.add_done_callback(lambda _: None if working else answers.put_nowait(None))
        try:
            while (task := await answers.get()) is not None:
                yield pb.StreamChecksResponse(result=task.result())
                places.release()
            reader.result()
        finally:
            for unfinished in (reader, *working):
                unfinished.cancel()
            await asyncio.gather(reader, *working, return_exceptions=True)

    async def RecordProcessing(  # noqa: N802 - the RPC's name
        self, request: pb.RecordProcessingRequest, _context: Any
    ) -> pb.RecordProcessingResponse:
        """Record what was done after a decision."""
        caller, tenant, ledger = self._call()
        processed = read_gate.processing(request, caller, self._clock())
        answer = await tenant.gate.record_processing(caller, processed)
        return pb.RecordProcessingResponse(entry=write.entry(ledger, answer.recorded))

    async def ListReviews(self, request: pb.ListReviewsRequest, _context: Any) -> pb.ListReviewsResponse:  # noqa: N802 - the RPC's name
        """List what waits for a person."""
        caller, tenant, _ledger = self._call()
        page, wanted = read_house.list_reviews(request, caller)
        found = await tenant.reviews.listed(wanted, self._clock())
        shown = found[: page.size]
        return pb.ListReviewsResponse(
            reviews=[write_house.review(each) for each in shown],
            next_page_token=page.token(read_house.position(shown[-1])) if len(found) > page.size else "",
        )

    async def ResolveReview(self, request: pb.ResolveReviewRequest, _context: Any) -> pb.ResolveReviewResponse:  # noqa: N802 - the RPC's name
        """Resolve a review by a determination or a refusal."""
        caller, tenant, ledger = self._call()
        review_id = read.record_id(request.review_id, "review_id")
        match request.WhichOneof("resolution"):
            case "determination":
                draft = read_consent.determination(request, caller, self._clock(), "ResolveReview")
                shown, made, answer = await tenant.reviews.resolve(caller, review_id, draft)
                return pb.ResolveReviewResponse(
                    review=write_house.review(shown),
                    determination=write_record.determination(
                        ledger, made, answer.recorded, self._clock(), draft.decided_at
                    ),
                    entry=write.entry(ledger, answer.recorded),
                )
            case "refusal_reason":
                key = read.key(caller, "ResolveReview", request)
                reason = read_house.refusal_reason(request)
                shown, answer = await tenant.reviews.refuse(caller, review_id, reason, key)
                return pb.ResolveReviewResponse(
                    review=write_house.review(shown), entry=write.entry(ledger, answer.recorded)
                )
            case _:
                raise read.required("determination", "or a refusal_reason")

    async def Simulate(self, request: pb.SimulateRequest, _context: Any) -> pb.SimulateResponse:  # noqa: N802 - the RPC's name
        """Decide planned operations and count the answers; nothing is recorded."""
        tally = Tally()
        operations = posture.planned(request, self._clock(), tally)
        time, packs = await self._call().tenant.rehearsal.simulate(operations, tally)
        return posture.simulated(tally, [each.correlation_id for each in request.operations], time, packs)

    async def Explain(self, request: pb.ExplainRequest, _context: Any) -> pb.ExplainResponse:  # noqa: N802 - the RPC's name
        """Show the full trace of a recorded decision, or of a hypothetical one."""
        return await explain.explain(self._call(), request, self._clock())

    async def _check(self, call: Call, request: pb.CheckRequest, form: Callable[[pb.CheckResponse], T]) -> T:
        """Decide, and answer in some form."""
        gate, caller = call.tenant.gate, call.caller

        def read() -> Asked:
            return read_gate.check(request, caller, self._clock())

        def written(checked: Checked) -> T:
            return form(write.check_response(call.ledger, checked))

        if request.disclosure_evidence:  # it is sealed first
            return written(await gate.check(caller, read()))
        return await gate.answer(caller, read, written)

    async def _streamed(self, call: Call, request: pb.StreamChecksRequest) -> pb.CheckResult:
        """Decide one item of a stream."""
        try:
            read.token(request.item.correlation_id, "item.correlation_id")
        except ConsentryError as error:
            return pb.CheckResult(correlation_id=request.item.correlation_id, status=write.item_status(error))
        return await self._item(call, request.item)

    async def _item(self, call: Call, item: pb.CheckItem) -> pb.CheckResult:
        """Decide one item of a batch; whatever is wrong with it is wrong with it alone."""
        try:
            response = await self._check(call, item.check, _unchanged)
        except ConsentryError as error:
            return pb.CheckResult(correlation_id=item.correlation_id, status=write.item_status(error))
        except Exception:  # noqa: BLE001 - it is logged, and the other items' answers must not be lost
            hidden = fault(_CHECK, lambda: secrets.token_hex(6))
            return pb.CheckResult(correlation_id=item.correlation_id, status=write.item_status(hidden))
        return pb.CheckResult(correlation_id=item.correlation_id, response=response)


def _unchanged(response: pb.CheckResponse) -> pb.CheckResponse:
    return response
