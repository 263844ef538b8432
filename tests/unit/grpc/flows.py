"""Steps that tests of the servicers take over and over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from consentry.v1 import (
    gate_service_pb2,
    registry_service_pb2,
    vault_service_pb2,
)
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.services.context import Caller, Role
from tests.support.stack import COLLECTOR
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers

AUDITOR = Caller("acme", Role.AUDITOR, "auditor")


async def consent(servicers: Servicers, subject_id: str = "eileen") -> registry_service_pb2.RecordReleaseResponse:
    """Publish what has to be published, deliver, and record a release."""
    registry = servicers.registry
    set_caller(COLLECTOR)
    if not (await registry.ListNotices(registry_service_pb2.ListNoticesRequest(), None)).notices:
        await registry.PublishRetentionPolicy(samples.policy(), None)
        await registry.PublishNotice(samples.notice(), None)
    servicers.stack.clock.forward(seconds=20)
    delivered = await registry.RecordNoticeDelivery(samples.delivery(subject_id), None)
    return await registry.RecordRelease(samples.release(subject_id, delivered.delivery.delivery_id), None)


async def upload(servicers: Servicers, data: bytes, header: Any = None) -> vault_service_pb2.UploadPhotoResponse:
    """Upload a photo in two chunks."""
    set_caller(COLLECTOR)
    half = len(data) // 2
    parts = [header or samples.header(), samples.chunk(data[:half]), samples.chunk(data[half:]), samples.end(data)]
    return await servicers.vault.UploadPhoto(stream(parts), None)


async def ask(servicers: Servicers, request: gate_service_pb2.CheckRequest) -> gate_service_pb2.CheckResponse:
    """Check, and read the answer."""
    return gate_service_pb2.CheckResponse.FromString(await servicers.gate.Check(request, None))


async def stream(messages: Iterable[Any]) -> AsyncIterator[Any]:
    for message in messages:
        yield message
