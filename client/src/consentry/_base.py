"""What both clients are made of: where they connect, when they are open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from consentry._endpoint import Endpoint, Pem, Tls, stubs, unsafe_loopback
from consentry.config import DEFAULT_CONFIG, Config
from consentry.errors import ConsentryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry._calls import Service


class BaseClient:
    """A connection that is not open yet; made by ``connect``.

    Args:
        endpoint: where, and with which certificate.
        config: deadlines, retries, sizes.
    """

    def __init__(self, endpoint: Endpoint, config: Config) -> None:
        self._endpoint = endpoint
        self._config = config
        self._stubs: Mapping[str, Any] | None = None

    @classmethod
    def connect(
        cls,
        target: str,
        *,
        root_certificates: Pem,
        certificate_chain: Pem,
        private_key: Pem,
        server_name: str = "",
        config: Config = DEFAULT_CONFIG,
    ) -> Self:
        """Make a client with mutual TLS. Nothing is read or sent before it is started: use it in a ``with`` block.

        Args:
            target: "host:port".
            root_certificates: PEM of the authorities whose server certificates are trusted, as bytes or a file's Path.
            certificate_chain: PEM of this caller's certificate, which names its tenant, role and name; likewise.
            private_key: PEM of its key; likewise.
            server_name: the name in the server's certificate, where it is not the target's host.
            config: deadlines, retries, sizes.
        """
        return cls(Endpoint(target, Tls(root_certificates, certificate_chain, private_key), server_name), config)

    @classmethod
    def unsafe_insecure_loopback(cls, target: str, *, role: str = "", config: Config = DEFAULT_CONFIG) -> Self:
        """Make a client in clear text to this very machine, for development and tests.

        Args:
            target: "127.0.0.1:port" or "[::1]:port"; everything else is refused, names too.
            role: the role to claim, such as "processor"; anybody on this machine can claim any.
            config: deadlines, retries, sizes.

        Raises:
            InvalidRequest: the target is not a loopback address with a port.
        """
        return cls(unsafe_loopback(target, role), config)

    @property
    def config(self) -> Config:
        """Deadlines, retries, sizes."""
        return self._config

    def _attach(self, channel: Any) -> None:
        self._stubs = stubs(channel)

    def _detach(self) -> None:
        self._stubs = None

    def _refuse_second_start(self) -> None:
        if self._stubs is not None:
            raise ConsentryError("the client is started already")

    def _rpc(self, service: Service, method: str) -> Any:
        if self._stubs is None:
            raise ConsentryError("the client is not started, or closed: use it in a with block")
        return getattr(self._stubs[service], method)
