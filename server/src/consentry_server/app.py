"""The only wiring: tenants, servicers and the listener, from settings to a graceful stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import structlog

from consentry_server.adapters.grpc.audit import AuditServicer
from consentry_server.adapters.grpc.credentials import TlsFiles
from consentry_server.adapters.grpc.gate import GateServicer
from consentry_server.adapters.grpc.identity import CertificateIdentity, UnsafeLoopbackIdentity
from consentry_server.adapters.grpc.registry import RegistryServicer
from consentry_server.adapters.grpc.retention import RetentionServicer
from consentry_server.adapters.grpc.server import GrpcServer
from consentry_server.adapters.grpc.vault import VaultServicer
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.tenant import RunningTenant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consentry_server.adapters.grpc.tenants import Tenant
    from consentry_server.config import Settings

UNSAFE_CALLER = "unsafe-loopback"
GC_THRESHOLD = 20_000
"""New objects between two looks for cycles; Python's own 700 are a handful of calls."""

_log = structlog.get_logger("app")


def initialize(state: Path, settings: Settings) -> None:
    """Make the keys, the stores and the first ledger entries of every tenant.

    Args:
        state: The state folder; it exists.
        settings: All settings.

    Raises:
        ConsentryError: Something cannot be made.
    """

    async def make() -> None:
        for name in settings.tenancy.tenants:
            tenant = RunningTenant(state, name, settings, encrypted_in_transit=True)
            await tenant.start(create=True)
            await tenant.aclose()

    asyncio.run(make())


async def run(
    state: Path,
    settings: Settings,
    *,
    unsafe_insecure_loopback: bool,
    on_ready: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Args:
        state: The state folder.
        settings: All settings.
        unsafe_insecure_loopback: No TLS and no identities; see ``UnsafeLoopbackIdentity``.
        on_ready: Called with the port once calls are answered.

    Raises:
        ConsentryError: The server could not start, or had to stop because a ledger failed.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        tenants: dict[str, Tenant] = {}
        for name in settings.tenancy.tenants:
            running = RunningTenant(state, name, settings, encrypted_in_transit=not unsafe_insecure_loopback)
            tenants[name] = await running.start()
            stack.push_async_callback(running.aclose)
        server = GrpcServer(
            settings.server,
            {
                "consentry.v1.AuditService": AuditServicer(tenants),
                "consentry.v1.GateService": GateServicer(tenants),
                "consentry.v1.RegistryService": RegistryServicer(tenants),
                "consentry.v1.RetentionService": RetentionServicer(tenants),
                "consentry.v1.VaultService": VaultServicer(tenants),
            },
            identity=UnsafeLoopbackIdentity(settings.tenancy.tenants[0], UNSAFE_CALLER)
            if unsafe_insecure_loopback
            else CertificateIdentity(settings.tenancy.trust_domain, tenants),
            tls=None if unsafe_insecure_loopback else tls_files(state, settings),
        )
        port = await server.start()
        stack.push_async_callback(server.stop)
        _settle_memory()
        on_ready(port)
        failed = await _until(stop, tenants)
    if failed:
        raise ConsentryError(
            Reason.STORAGE_FAILED,
            f"the ledger of {failed} failed and the server stopped: the log says why; mend that, then start again",
        )


def tls_files(state: Path, settings: Settings) -> TlsFiles:
    """Where the listener's certificate, key and client authority are."""
    server, folder = settings.server, state / "tls"
    return TlsFiles(
        certificate=server.tls_certificate or folder / "server.pem",
        key=server.tls_key or folder / "server.key",
        client_authority=server.tls_client_authority or folder / "ca.pem",
    )


def _settle_memory() -> None:
    """Look through memory for cycles less often, and not through what start-up made: it stays until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


async def _until(stop: asyncio.Event, tenants: dict[str, Tenant]) -> str:
    """Wait for the signal to stop or for a ledger that failed.

    Returns:
        The name of the tenant whose ledger failed, or empty.
    """
    waits = {asyncio.create_task(stop.wait()): ""}
    for name, tenant in tenants.items():
        waits[asyncio.create_task(tenant.sequencer.failed.wait())] = name
        waits[asyncio.create_task(tenant.checkpoints.failed.wait())] = name
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    failed = next((waits[task] for task in done if waits[task]), "")
    _log.info("stopping", reason=f"ledger of {failed} failed" if failed else "asked to")
    return failed
