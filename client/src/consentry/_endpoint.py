"""Where a client connects, with which certificate, and what gRPC is told about retries.

Mutual TLS, or clear text to this very machine: there is no third way.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from consentry.errors import InvalidRequest
from consentry.v1 import (
    audit_service_pb2_grpc,
    gate_service_pb2_grpc,
    registry_service_pb2_grpc,
    retention_service_pb2_grpc,
    vault_service_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry.config import Config

UNSAFE_ROLE_KEY = "consentry-unsafe-role"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a page of 1,000 entries of 16 KiB (ledger.proto), and room

# Sent again when the server is unavailable: what carries a request_id (recorded once whatever happens) and what only
# reads. Openings are in neither group: each is recorded, so each is the caller's own doing.
RETRIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "GateService": ("Check", "BatchCheck", "RecordProcessing", "ListReviews", "ResolveReview"),
        "RegistryService": (
            "PublishNotice",
            "ListNotices",
            "PublishRetentionPolicy",
            "RecordNoticeDelivery",
            "RecordRelease",
            "WithdrawRelease",
            "RecordInteraction",
            "RecordPurposeSatisfied",
            "RecordOptOut",
            "RecordEmploymentEnded",
            "RecordDetermination",
            "RecordStatement",
            "ActivatePack",
            "GetSubject",
        ),
        "VaultService": ("UploadPhoto", "StoreIdentifier", "ListIdentifiers", "RecordDerived"),
        "RetentionService": ("GetDestructionCertificate",),
        "AuditService": ("ListEntries", "GetCheckpoint", "GetInclusionProof", "GetConsistencyProof"),
    }
)

Pem: TypeAlias = bytes | Path
"""PEM as bytes, or the file that holds it, which is read when the client starts."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What mutual TLS needs: whom to trust, and who we are."""

    root_certificates: Pem
    certificate_chain: Pem
    private_key: Pem = field(repr=False)

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files and make gRPC's credentials.

        Raises:
            InvalidRequest: a file cannot be read, or a part is empty.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_pem(self.root_certificates, "root_certificates"),
            private_key=_pem(self.private_key, "private_key"),
            certificate_chain=_pem(self.certificate_chain, "certificate_chain"),
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server as a client sees it. Without ``tls`` the target is a loopback address (`unsafe_loopback`)."""

    target: str
    tls: Tls | None
    server_name: str = ""
    role: str = ""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with every call: the role, where no certificate says it."""
        return ((UNSAFE_ROLE_KEY, self.role),) if self.role else ()

    def options(self, config: Config) -> list[tuple[str, str | int]]:
        """Return gRPC's channel options."""
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.service_config", service_config(config.max_attempts)),
        ]
        if self.server_name:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        if self.tls is None:
            options.append(("grpc.enable_http_proxy", 0))  # clear text never leaves through a proxy of the environment
        return options


def unsafe_loopback(target: str, role: str) -> Endpoint:
    """Return an endpoint in clear text on this machine.

    Args:
        target: "127.0.0.1:50051" or "[::1]:50051". Names are refused, localhost too: what they resolve to is not ours.
        role: the role to claim; empty: none.

    Raises:
        InvalidRequest: the target is anything but a loopback address and a port.
    """
    match = re.fullmatch(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", target)
    if match is None or not _is_loopback(match["six"] or match["four"]):
        raise InvalidRequest(
            f"clear text goes to 127.0.0.1:<port> or [::1]:<port> only, not to {target!r}: use connect", field="target"
        )
    return Endpoint(f"ipv{6 if match['six'] else 4}:{target}", None, role=role)


def service_config(max_attempts: int) -> str:
    """Return gRPC's service configuration: bounded, jittered retries within the deadline (gRFC A6)."""
    if max_attempts == 1:
        return "{}"
    policy = {
        "maxAttempts": max_attempts,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    names = [
        {"service": f"consentry.v1.{service}", "method": method}
        for service, methods in RETRIED.items()
        for method in methods
    ]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


def stubs(channel: Any) -> dict[str, Any]:
    """Return the generated stubs by service, on a channel of either kind."""
    return {
        "GateService": gate_service_pb2_grpc.GateServiceStub(channel),
        "RegistryService": registry_service_pb2_grpc.RegistryServiceStub(channel),
        "VaultService": vault_service_pb2_grpc.VaultServiceStub(channel),
        "RetentionService": retention_service_pb2_grpc.RetentionServiceStub(channel),
        "AuditService": audit_service_pb2_grpc.AuditServiceStub(channel),
    }


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _pem(pem: Pem, name: str) -> bytes:
    if isinstance(pem, Path):
        try:
            pem = pem.read_bytes()
        except OSError as error:
            raise InvalidRequest(f"{error.strerror}: {error.filename}", field=name) from error
    if not pem.strip():
        raise InvalidRequest("mutual TLS needs it; it is empty", field=name)
    return pem
