"""The standard health service: serving until the server stops, and watchers are told before they are let go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from consentry_server.adapters.grpc.methods import shutting_down
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


class Health:
    """Answers grpc.health.v1.Health; the packaged servicer may be cancelled before its watchers hear of a stop.

    Args:
        services: Full names of the services that are served; the server as a whole is the empty name.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset({"", *services})
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Tell every watcher ``NOT_SERVING``, then end their calls with ``SHUTTING_DOWN``."""
        self._stopping.set()

    async def Check(self, request: HealthCheckRequest, _context: Any) -> HealthCheckResponse:  # noqa: N802 - the RPC's name
        """Answer whether a service is served now."""
        if request.service not in self._services:
            raise ConsentryError(Reason.NOT_FOUND, "this server has no such service", field="service")
        return self._now(request.service)

    async def Watch(  # noqa: N802 - as Check
        self, request: HealthCheckRequest, _context: Any
    ) -> AsyncIterator[HealthCheckResponse]:
        """Answer now and again when it changes; a service that is not known stays so."""
        yield self._now(request.service)
        await self._stopping.wait()
        if request.service in self._services:
            yield self._now(request.service)
        raise shutting_down()

    def _now(self, service: str) -> HealthCheckResponse:
        if service not in self._services:
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        stopping = self._stopping.is_set()
        return HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING if stopping else HealthCheckResponse.SERVING)
