"""The gRPC server: listeners, standard services, graceful stop."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import structlog
from google.protobuf import descriptor_pool
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from consentry.v1 import (
    audit_service_pb2,
    gate_service_pb2,
    registry_service_pb2,
    retention_service_pb2,
    rights_service_pb2,
    vault_service_pb2,
)
from consentry_server.adapters.grpc.credentials import ReloadingCredentials, TlsFiles
from consentry_server.adapters.grpc.health import Health
from consentry_server.adapters.grpc.identity import Identity, UnsafeLoopbackIdentity
from consentry_server.adapters.grpc.methods import Calls, UnknownMethods, service_handler
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor import ServiceDescriptor

    from consentry_server.config import ServerSettings


def _service(file: Any, name: str) -> ServiceDescriptor:
    return cast("ServiceDescriptor", file.services_by_name[name])


MESSAGE_MARGIN_BYTES: Final = 64 * 1024
"""What a message of the stated size may carry beside its payload."""
_PINGS_MILLISECONDS: Final = 60_000
_HEALTH: Final = _service(health_pb2.DESCRIPTOR, "Health")
_REFLECTION: Final = _service(reflection_pb2.DESCRIPTOR, "ServerReflection")
_CHANNELZ: Final = _service(channelz_pb2.DESCRIPTOR, "Channelz")

_log = structlog.get_logger("server")

SERVICES: Final[Mapping[str, ServiceDescriptor]] = {
    service.full_name: service
    for file in (
        audit_service_pb2,
        gate_service_pb2,
        registry_service_pb2,
        retention_service_pb2,
        rights_service_pb2,
        vault_service_pb2,
    )
    for service in cast("Mapping[str, ServiceDescriptor]", file.DESCRIPTOR.services_by_name).values()
}
"""Every service of the contract by its full name; a test compares it with the proto files."""


class GrpcServer:
    """Serves the contract and the standard services on one address.

    Args:
        settings: Address, limits and times.
        servicers: Full name of a service to what answers it. An RPC that nothing answers is ``NOT_BUILT``.
        identity: Names callers.
        tls: The files of mutual TLS; None for an insecure listener, which only ``UnsafeLoopbackIdentity`` on a loopback
            address may have.
    """

    def __init__(
        self,
        settings: ServerSettings,
        servicers: Mapping[str, object],
        *,
        identity: Identity,
        tls: TlsFiles | None,
    ) -> None:
        unknown = sorted(set(servicers) - set(SERVICES))
        if unknown:
            raise ValueError(f"no such service in the contract: {', '.join(unknown)}")
        self._settings = settings
        self._servicers = dict(servicers)
        self._identity = identity
        self._tls = tls
        self._calls = Calls(settings.max_calls_in_flight)
        self._health = Health(SERVICES)
        self._server: grpc.aio.Server | None = None
        self._stopped = asyncio.Lock()

    async def start(self) -> int:
        """Listen and answer.

        Returns:
            The port, the real one where the settings say 0.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID``: the address is taken or not to be had, or the TLS files are bad,
                or an insecure listener was asked for elsewhere than on loopback.
        """
        insecure = self._tls is None
        if insecure and not (is_loopback(self._settings.host) and isinstance(self._identity, UnsafeLoopbackIdentity)):
            raise _invalid(
                f"an insecure listener is for loopback addresses only, and {self._settings.host} is none:"
                " use certificates, or listen on 127.0.0.1"
            )
        if not insecure and isinstance(self._identity, UnsafeLoopbackIdentity):
            raise _invalid("claimed roles are for the insecure loopback listener only: use certificate identities")
        handlers = self.handlers()
        credentials = ReloadingCredentials(self._tls).load() if self._tls else None
        server = grpc.aio.server(options=self._options())
        server.add_generic_rpc_handlers(handlers)
        address = self._settings.listen
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            await server.stop(None)  # it would otherwise look for its event loop when that is gone
            raise _invalid(
                f"cannot listen on {address}: is another process using the port, or is the address not this machine's?"
            ) from error
        await server.start()
        self._server = server
        if insecure:
            _log.warning("listening_without_tls_or_identity", port=port)
        else:
            _log.info("listening", port=port)
        return port

    @property
    def in_flight(self) -> int:
        """How many calls are being answered."""
        return self._calls.in_flight

    async def stop(self) -> None:
        """Refuse new calls, finish the accepted ones within ``stop_grace_seconds``, then close. Safe to call twice."""
        async with self._stopped:
            server, self._server = self._server, None
            if server is None:
                return
            _log.info("stopping", in_flight=self._calls.in_flight)
            self._health.stop()
            self._calls.stop()
            await server.stop(self._settings.stop_grace_seconds)
            _log.info("stopped", in_flight=self._calls.in_flight)

    def _options(self) -> list[tuple[str, int]]:
        settings = self._settings
        return [
            ("grpc.so_reuseport", 0),  # 1 is the default: a second process on the port would start silently
            ("grpc.max_receive_message_length", settings.max_message_bytes + MESSAGE_MARGIN_BYTES),
            # an open connection otherwise outlives the removal of its certificate
            ("grpc.max_connection_age_ms", settings.connection_age_seconds * 1000),
            ("grpc.max_connection_age_grace_ms", settings.connection_age_grace_seconds * 1000),
            ("grpc.keepalive_time_ms", _PINGS_MILLISECONDS),  # a watcher whose machine died is noticed
            ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
            ("grpc.enable_channelz", int(settings.channelz)),
        ]

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Make the handlers of every service.

        Raises:
            TypeError: A servicer's method is not of its RPC's kind.
        """
        standard: list[tuple[ServiceDescriptor, object]] = [(_HEALTH, self._health)]
        if self._settings.channelz:
            standard.append((_CHANNELZ, channelz.aio.ChannelzServicer()))
        if self._settings.reflection:
            names = [*SERVICES, *(service.full_name for service, _ in standard), _REFLECTION.full_name]
            pool = descriptor_pool.Default()
            standard.append((_REFLECTION, reflection.aio.ReflectionServicer(names, pool=pool)))
        ours = [(service, self._servicers.get(name)) for name, service in SERVICES.items()]
        return [
            *(service_handler(service, servicer, self._identity, self._calls) for service, servicer in ours + standard),
            UnknownMethods(self._identity),
        ]


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only. Names other than ``localhost`` do not count."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _invalid(problem: str) -> ConsentryError:
    return ConsentryError(Reason.CONFIGURATION_INVALID, problem, field="server.listen")
