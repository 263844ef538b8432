"""What a reader brings along to ``consentry audit verify``: keys, cosignatures, timestamps, permits, checkpoints."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.evidence import Anchor, Evidence, HeldPermit
from consentry_server.core.ledger.export import CHECKPOINT_PATH
from consentry_server.core.ledger.note import COSIGNATURE_V1, ED25519, Note, parse, parse_vkey
from consentry_server.core.permit import PERMIT_TYPE
from consentry_server.core.signed import verify_claims

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rfc3161_client import TimeStampResponse

    from consentry_server.core.ledger.note import VerifierKey

MAX_FILE_BYTES = 1024 * 1024
_MAX_INDEX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Files:
    """The files that were named on the command line."""

    witness_vkeys: Sequence[Path] = ()
    timestamps: Sequence[Path] = ()
    tsa_ca: Path | None = None
    permits: Sequence[Path] = ()
    permit_keys: Path | None = None
    earlier_checkpoints: Sequence[Path] = ()


def read_key(path: Path, signature_type: int = ED25519) -> VerifierKey:
    """Read a vkey.

    Args:
        path: The file.
        signature_type: ``ED25519`` for a ledger's key, ``COSIGNATURE_V1`` for a witness's.

    Returns:
        The key.

    Raises:
        ConsentryError: FIELD_INVALID: it cannot be read, or is no such key.
    """
    try:
        key = parse_vkey(_read(path).decode("ascii").strip())
    except UnicodeDecodeError as error:
        raise _wrong(path, "is no vkey: it is not ASCII") from error
    except LedgerError as error:
        raise _wrong(path, f"is no vkey: {error.message}") from error
    if key.signature_type != signature_type:
        meant = "a ledger's key is of type 0x01" if signature_type == ED25519 else "a witness's key is of type 0x04"
        raise _wrong(path, f"holds a key of type {key.signature_type:#04x}; {meant}")
    return key


def require_elsewhere(files: Files, source: str) -> None:
    """Refuse the ledger's own checkpoint as evidence about it: whoever changed the one changed the other.

    Raises:
        ConsentryError: FIELD_INVALID.
    """
    for path in files.earlier_checkpoints:
        if path.resolve() == (Path(source) / CHECKPOINT_PATH).resolve():
            raise _wrong(path, "is the checkpoint that is verified: bring a copy that was kept elsewhere")


def read_evidence(files: Files, key: VerifierKey, checkpoint: bytes | None) -> Evidence:
    """Read what was brought along. What cannot be used is told in the report; what cannot be read stops here.

    Args:
        files: The files.
        key: The ledger's key.
        checkpoint: The ledger's checkpoint as it is served or exported, not yet believed; or None.

    Returns:
        The evidence.

    Raises:
        ConsentryError: FIELD_INVALID: a file cannot be read, or is not of its kind; FIELD_REQUIRED.
    """
    if files.timestamps and files.tsa_ca is None:
        raise ConsentryError(
            Reason.FIELD_REQUIRED, "--timestamp needs --tsa-ca: the certificates of the authority to trust"
        )
    kept = [(path.name, _read(path)) for path in files.earlier_checkpoints]
    unusable: list[str] = []
    anchors = [Anchor(name, data) for name, data in kept]
    candidates = [data for data in (checkpoint, *(data for _, data in kept)) if data is not None]
    roots = _certificates(files.tsa_ca) if files.tsa_ca is not None else []
    for path in files.timestamps:
        anchor = _timestamp(path, roots, list(_stamped_forms(candidates, key)))
        if isinstance(anchor, str):
            unusable.append(anchor)
        else:
            anchors.append(anchor)
    keys = _key_set(files.permit_keys) if files.permit_keys is not None else None
    permits = []
    for path in files.permits:
        permit = _permit(path, keys)
        if isinstance(permit, str):
            unusable.append(permit)
        else:
            permits.append(permit)
    return Evidence(
        cosigners=tuple(read_key(path, COSIGNATURE_V1) for path in files.witness_vkeys),
        anchors=tuple(anchors),
        permits=tuple(permits),
        unusable=tuple(unusable),
    )


def _stamped_forms(checkpoints: Iterable[bytes], key: VerifierKey) -> Iterator[bytes]:
    """What may have been stamped: each checkpoint as it is, and with the log's own signatures only."""
    for data in checkpoints:
        yield data
        try:
            note = parse(data)
        except LedgerError:
            continue
        own = tuple(one for one in note.signatures if one.name == key.name)
        if own and own != note.signatures:
            yield Note(note.text, own).encode()


def _timestamp(path: Path, authority: Sequence[x509.Certificate], candidates: Sequence[bytes]) -> Anchor | str:
    """Find the checkpoint that was stamped (RFC 3161); or say why there is none."""
    import rfc3161_client  # noqa: PLC0415 - workers start without it

    data = _read(path)
    why = "there is no checkpoint that it could be over"
    for candidate in candidates:
        try:
            response = rfc3161_client.decode_timestamp_response(data)
            builder = rfc3161_client.VerifierBuilder()
            for certificate in authority:
                if certificate.issuer == certificate.subject:
                    builder = builder.add_root_certificate(certificate)
                else:
                    builder = builder.add_intermediate_certificate(certificate)
            builder.build().verify_message(response, candidate)
        except rfc3161_client.VerificationError as error:
            why = str(error)
            if why == "Mismatch between messages":
                why = "it is over something else than this checkpoint or those in --earlier-checkpoint"
            continue
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            return f"{path.name} is no RFC 3161 response that can be read: {error}"
        return Anchor(path.name, candidate, _authority(response), response.tst_info.gen_time)
    return f"{path.name} is a timestamp that cannot be used: {why}"


def _authority(response: TimeStampResponse) -> str:
    """The name in the certificate that signed; it was verified before."""
    signers = response.signed_data.signer_infos
    for encoded in response.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(encoded)
        if any((certificate.issuer, certificate.serial_number) == (one.issuer, one.serial_number) for one in signers):
            names = certificate.subject.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
            return str(names[0].value) if names else certificate.subject.rfc4514_string()
    return "the timestamp authority"


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise _wrong(path, "holds no certificates in PEM form") from error
    if all(one.issuer != one.subject for one in found):
        raise _wrong(path, "holds no root certificate: one that names itself as its issuer")
    return found


def _permit(path: Path, keys: Mapping[str, Ed25519PublicKey] | None) -> HeldPermit | str:
    """What a permit says about its entry; or why that cannot be told. Its expiry does not matter here."""
    try:
        token = _read(path).decode("ascii").strip()
        claims = _unsigned(token) if keys is None else verify_claims(token, keys, PERMIT_TYPE, Reason.PERMIT_INVALID)
        ledger, index, leaf = claims["iss"], claims["ledger_index"], bytes.fromhex(claims["leaf_hash"])
        if type(ledger) is not str or type(index) is not int or not 0 <= index <= _MAX_INDEX:
            return f"{path.name} is no permit that names an entry"
    except ConsentryError as error:
        if error.reason is not Reason.PERMIT_INVALID:
            raise
        return f"{path.name} is no permit that can be used: {error.message}"
    except (KeyError, TypeError, ValueError):
        return f"{path.name} is no permit that names an entry"
    return HeldPermit(path.name, ledger, index, leaf, signature_checked=keys is not None)


def _unsigned(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, binascii.Error, RecursionError) as error:
        raise ValueError("no compact JWS") from error
    if not isinstance(claims, dict):
        raise TypeError("no claims")
    return claims


def _key_set(path: Path) -> dict[str, Ed25519PublicKey]:
    """Read a JWK set (RFC 7517) of Ed25519 keys (RFC 8037)."""
    try:
        keys = {
            str(one["kid"]): Ed25519PublicKey.from_public_bytes(
                base64.urlsafe_b64decode(one["x"] + "=" * (-len(one["x"]) % 4))
            )
            for one in json.loads(_read(path))["keys"]
        }
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _wrong(path, "is no JWK set of Ed25519 keys") from error
    return keys


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise _wrong(path, f"has more than {MAX_FILE_BYTES:,} bytes")
    return data


def _wrong(path: Path, what: str) -> ConsentryError:
    return ConsentryError(Reason.FIELD_INVALID, f"{path} {what}")
