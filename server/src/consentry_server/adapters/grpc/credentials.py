"""The server's certificate and the authority of its callers, read again while the server runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, cast

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

_log = structlog.get_logger("tls")


class TlsFiles(NamedTuple):
    """Where the server's TLS material lies, all of it PEM.

    Args:
        certificate: The server's certificate, followed by its intermediates.
        key: The private key of that certificate.
        client_authority: The authorities whose client certificates are accepted.
    """

    certificate: Path
    key: Path
    client_authority: Path


class ReloadingCredentials:
    """Server credentials that follow their files.

    gRPC asks at every handshake, on threads of its own and several at once. Files that cannot be used (half replaced,
    a key of another certificate) leave what is loaded in place and are looked at again at the next handshake.

    Args:
        files: What to follow.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], ...] = ()

    def load(self) -> grpc.ServerCredentials:
        """Read the files and make credentials that require a client certificate.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID``: a file is missing, unreadable or does not fit the others.
        """
        self._seen = self._look()
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self.fetch)  # the stubs know no "keep": None
        return grpc.dynamic_ssl_server_credentials(self._read(), fetch, require_client_authentication=True)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what to use from now on, or None where nothing changed."""
        with self._lock:
            try:
                seen = self._look()
                if seen == self._seen:
                    return None
                configuration = self._read()
            except ConsentryError as error:
                _log.warning("certificate_not_reloaded", reason=error.reason, problem=error.message)
                return None
            self._seen = seen
            _log.info("certificate_reloaded")
            return configuration

    def _look(self) -> tuple[tuple[int, ...], ...]:
        try:
            found = [path.stat() for path in self._files]
        except OSError as error:
            raise _invalid(f"{error.filename} cannot be read: {error.strerror}") from error
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            certificate, key, authority = (path.read_bytes() for path in self._files)
        except OSError as error:
            raise _invalid(f"{error.filename} cannot be read: {error.strerror}") from error
        try:
            leaf = x509.load_pem_x509_certificates(certificate)[0]
        except ValueError as error:
            raise _invalid(f"{self._files.certificate} holds no PEM certificate") from error
        try:
            x509.load_pem_x509_certificates(authority)
        except ValueError as error:
            raise _invalid(f"{self._files.client_authority} holds no PEM certificate") from error
        try:
            private = load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as error:
            raise _invalid(f"{self._files.key} holds no PEM private key without a passphrase") from error
        if _bytes(private.public_key()) != _bytes(leaf.public_key()):
            raise _invalid(f"{self._files.key} is not the key of {self._files.certificate}: replace both")
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authority)


def _bytes(key: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _invalid(problem: str) -> ConsentryError:
    return ConsentryError(Reason.CONFIGURATION_INVALID, problem, field="server.tls")
