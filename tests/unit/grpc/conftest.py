"""The servicers over a real tenant, without the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from consentry_server.adapters.grpc.audit import AuditServicer
from consentry_server.adapters.grpc.gate import GateServicer
from consentry_server.adapters.grpc.registry import RegistryServicer
from consentry_server.adapters.grpc.retention import RetentionServicer
from consentry_server.adapters.grpc.vault import VaultServicer
from tests.support.clocks import Clock
from tests.support.stack import Stack, start


@dataclass
class Servicers:
    """Every servicer of one tenant."""

    stack: Stack
    gate: GateServicer
    registry: RegistryServicer
    vault: VaultServicer
    retention: RetentionServicer
    audit: AuditServicer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def servicers(tmp_path: Path, clock: Clock) -> AsyncIterator[Servicers]:
    stack = await start(tmp_path, clock)
    tenants = {"acme": stack.tenant}
    yield Servicers(
        stack,
        GateServicer(tenants, clock),
        RegistryServicer(tenants, clock),
        VaultServicer(tenants, clock),
        RetentionServicer(tenants, clock),
        AuditServicer(tenants, clock),
    )
    await stack.running.aclose()
