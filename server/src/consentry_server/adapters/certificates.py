"""Certificates for development: an authority, a server, and one caller of each role.

For production bring your own authority; the server only wants PEM files and callers whose URI names them. ECDSA P-256,
which every TLS library reads (Ed25519 certificates are refused by gRPC's).
"""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role, require_slug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

VALIDITY: Final = timedelta(days=825)
"""The longest life that TLS clients such as Apple's accept of a server's certificate."""
CLOCK_SKEW: Final = timedelta(hours=1)
AUTHORITY: Final = "ca"
SERVER: Final = "server"
SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
ORGANISATION: Final = "Consentry development - not for production"
DEVELOPMENT_CALLERS: Final = (
    (Role.PROCESSOR, "face-tagger"),
    (Role.COLLECTOR, "product"),
    (Role.AUDITOR, "counsel"),
    (Role.OFFICER, "first"),
    (Role.OFFICER, "second"),  # loosening takes two officers
    (Role.OPERATOR, "ops"),
)


class CertificateFiles(NamedTuple):
    """One certificate and its key.

    Args:
        certificate: PEM; anybody may read it.
        key: PEM, PKCS #8, not encrypted; its owner alone may read it.
    """

    certificate: Path
    key: Path


class _Issuer(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_development(
    folder: Path, *, trust_domain: str, tenants: Sequence[str], now: datetime
) -> dict[Caller, CertificateFiles]:
    """Make an authority, a server's certificate and the development callers of each tenant.

    The first tenant's callers lie beside the server's certificate (``officer-first.pem``), those of further tenants in
    a folder of the tenant's name.

    Args:
        folder: Made for its owner alone; it must not hold certificates yet.
        trust_domain: What callers' URIs begin with, ``consentry.local``.
        tenants: At least one.
        now: UTC.

    Returns:
        Where each caller's files are.

    Raises:
        ConsentryError: ``ALREADY_EXISTS`` or ``STORAGE_FAILED``.
    """
    _make_folder(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Consentry development authority")
    usage = _key_usage(authority=True)
    built = _builder(subject, subject, key.public_key(), key.public_key(), now, now + VALIDITY)
    certificate = (
        built.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = _Issuer(certificate, key)
    _write(folder / AUTHORITY, certificate, key)
    _issue(folder / SERVER, authority, now, "localhost", _server_names(), ExtendedKeyUsageOID.SERVER_AUTH)
    files = {}
    for tenant in tenants:
        for role, name in DEVELOPMENT_CALLERS:
            caller = Caller(tenant=tenant, role=role, name=name)
            files[caller] = _issue_caller(place(folder, tenants, tenant), authority, caller, trust_domain, now)
    return files


def issue(
    folder: Path, caller: Caller, *, trust_domain: str, tenants: Sequence[str], now: datetime
) -> CertificateFiles:
    """Make one more caller's certificate with the development authority.

    Args:
        folder: What :func:`make_development` filled.
        caller: Whom the certificate names.
        trust_domain: As the server has it.
        tenants: As the server has them, in their order.
        now: UTC.

    Returns:
        The new files.

    Raises:
        ConsentryError: ``NOT_FOUND``: there is no authority here; ``ALREADY_EXISTS``; ``FIELD_INVALID``;
            ``STORAGE_FAILED``.
    """
    require_slug(caller.tenant, "tenant")
    require_slug(caller.name, "name")
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{AUTHORITY}.pem").read_bytes())
        key = load_pem_private_key((folder / f"{AUTHORITY}.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise ConsentryError(
            Reason.NOT_FOUND,
            f"{folder} holds no development authority: ask your own authority for the certificate instead",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConsentryError(Reason.NOT_FOUND, f"{folder / AUTHORITY}.key is not a key that `consentry init` made")
    if certificate.not_valid_after_utc <= now:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"the development authority in {folder} expired: make a new state folder, or your own",
        )
    return _issue_caller(place(folder, tenants, caller.tenant), _Issuer(certificate, key), caller, trust_domain, now)


def place(folder: Path, tenants: Sequence[str], tenant: str) -> Path:
    """Return the folder of a tenant's callers: the certificate folder itself for the first tenant."""
    return folder if tenant == tenants[0] else folder / tenant


def caller_uri(caller: Caller, trust_domain: str) -> str:
    """Return the URI that names a caller in its certificate."""
    return f"spiffe://{trust_domain}/tenant/{caller.tenant}/role/{caller.role}/{caller.name}"


def _issue_caller(
    folder: Path, authority: _Issuer, caller: Caller, trust_domain: str, now: datetime
) -> CertificateFiles:
    _make_folder(folder)
    names = [x509.UniformResourceIdentifier(caller_uri(caller, trust_domain))]
    stem = f"{caller.role}-{caller.name}"
    return _issue(folder / stem, authority, now, stem[:64], names, ExtendedKeyUsageOID.CLIENT_AUTH)


def _issue(
    path: Path,
    authority: _Issuer,
    now: datetime,
    common_name: str,
    names: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier,
) -> CertificateFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + VALIDITY, authority.certificate.not_valid_after_utc)
    issuer = authority.certificate.subject
    certificate = (
        _builder(_name(common_name), issuer, key.public_key(), authority.key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _write(path, certificate, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    issuing: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _server_names() -> list[x509.GeneralName]:
    host, *addresses = SERVER_NAMES
    return [x509.DNSName(host), *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)]


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConsentryError(Reason.STORAGE_FAILED, f"{folder} cannot be made: {error.strerror}") from error


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> CertificateFiles:
    files = CertificateFiles(path.with_name(f"{path.name}.pem"), path.with_name(f"{path.name}.key"))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(files.key, private, 0o600)
    _write_new(files.certificate, certificate.public_bytes(Encoding.PEM), 0o644)
    return files


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
    except FileExistsError as error:
        raise ConsentryError(
            Reason.ALREADY_EXISTS, f"{path} exists: remove it first if nobody needs it any more"
        ) from error
    except OSError as error:
        raise ConsentryError(Reason.STORAGE_FAILED, f"{path} cannot be written: {error.strerror}") from error
