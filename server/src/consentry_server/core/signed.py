"""Signed documents: compact JWS by Ed25519, strict on both sides, and the published key set.

Permits, consent receipts and destruction certificates are JWTs (RFC 7519) with ``alg`` EdDSA (RFC 8037), so that any
JOSE library of any language verifies them. What is accepted here is narrower than JOSE allows, so that a token has one
spelling: exactly the headers ``alg``, ``kid`` and ``typ`` (RFC 8725, section 3.11: explicit types), canonical
base64url, no repeated member. The same claims under the same key give the same token, byte for byte.

Signing stands on the path of a check, so it is written out here; a test holds it byte-equal to PyJWT. PyJWT verifies.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import jwt

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM: Final = "EdDSA"  # RFC 8037, section 3.1
CONSENT_RECEIPT_TYPE: Final = "consent-receipt+jwt"
DESTRUCTION_CERTIFICATE_TYPE: Final = "destruction-certificate+jwt"
MAX_TOKEN_BYTES: Final = 64 * 2**10
_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_JSON: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_JWS: Final = jwt.PyJWS(algorithms=[ALGORITHM])


def key_id(key: Ed25519PublicKey) -> str:
    """Return the key's name: its JWK thumbprint (RFC 7638 with RFC 8037, appendix A.3)."""
    members = json.dumps(_members(key), separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(members.encode()).digest())


def key_set(keys: Sequence[Ed25519PublicKey]) -> dict[str, Any]:
    """Return the published key set (JWKS, RFC 7517): public parts only, each with its thumbprint as ``kid``."""
    return {"keys": [{**_members(key), "alg": ALGORITHM, "use": "sig", "kid": key_id(key)} for key in keys]}


def sign_claims(claims: Mapping[str, Any], key: Ed25519PrivateKey, kid: str, typ: str) -> str:
    """Sign claims as a compact JWS; the same claims and key always give the same bytes.

    Args:
        claims: JSON members; their order does not matter.
        key: Signs.
        kid: Name of the key in the published set.
        typ: The kind of document, checked by its readers.

    Raises:
        ConsentryError: TOO_LARGE beyond 64 KiB.
        ValueError: When a claim is no JSON.
    """
    payload = _JSON.encode(claims).encode()
    signing_input = f"{_header(kid, typ)}.{_encode(payload)}"
    token = f"{signing_input}.{_encode(key.sign(signing_input.encode()))}"
    if len(token) > MAX_TOKEN_BYTES:
        raise ConsentryError(Reason.TOO_LARGE, f"a signed document has at most {MAX_TOKEN_BYTES} bytes")
    return token


def verify_claims(token: str, keys: Mapping[str, Ed25519PublicKey], typ: str, reason: Reason) -> dict[str, Any]:
    """Verify a compact JWS and return its claims.

    1. It is at most 64 KiB of ASCII in three parts, each in canonical base64url.
    2. The headers are exactly ``alg`` = EdDSA, ``typ`` as asked, and ``kid``.
    3. The key is one of ``keys``.
    4. The signature fits.
    5. The payload is one JSON object without repeated members.

    Args:
        token: As it came in.
        keys: Trusted keys by ``kid``; empty trusts nobody.
        typ: The kind of document expected.
        reason: What to raise.

    Raises:
        ConsentryError: With ``reason``, saying which of the five it was.
    """
    # (1) size and spelling
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise ConsentryError(reason, "this is no signed document of ours: too long, or not ASCII")
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - RFC 7515, section 7.1: header, payload, signature
        raise ConsentryError(reason, "this is no compact JWS: three parts are required")
    header_bytes, payload, _ = (_decode(part, reason) for part in parts)
    # (2) headers
    header = _object(header_bytes, reason)
    if header.keys() != _HEADERS or header["alg"] != ALGORITHM or header["typ"] != typ:
        raise ConsentryError(reason, f"the header must be exactly alg={ALGORITHM}, typ={typ} and a kid")
    # (3) key
    kid = header["kid"]
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise ConsentryError(reason, "signed by a key that is not in the published set")
    # (4) signature
    try:
        _JWS.decode(token, key, algorithms=[ALGORITHM])
    except jwt.PyJWTError as error:
        raise ConsentryError(reason, "the signature does not fit") from error
    # (5) payload
    return _object(payload, reason)


def sign_document(claims: Mapping[str, Any], key: Ed25519PrivateKey, kid: str, typ: str) -> str:
    """Sign a receipt or a certificate.

    Args:
        claims: JSON members, ``iss`` among them.
        key: Signs.
        kid: Name of the key in the published set.
        typ: ``CONSENT_RECEIPT_TYPE`` or ``DESTRUCTION_CERTIFICATE_TYPE``.

    Raises:
        ValueError: When the issuer is missing.
    """
    if not isinstance(claims.get("iss"), str) or not claims["iss"]:
        raise ValueError("a signed document names its issuer in iss")
    return sign_claims(claims, key, kid, typ)


def verify_document(token: str, keys: Mapping[str, Ed25519PublicKey], typ: str, issuer: str) -> dict[str, Any]:
    """Verify a receipt or a certificate and return its claims.

    Raises:
        ConsentryError: SIGNATURE_INVALID, also when another issuer signed it.
    """
    claims = verify_claims(token, keys, typ, Reason.SIGNATURE_INVALID)
    if claims.get("iss") != issuer:
        raise ConsentryError(Reason.SIGNATURE_INVALID, "the document was issued by somebody else")
    return claims


@functools.lru_cache(maxsize=64)
def _header(kid: str, typ: str) -> str:
    members = {"alg": ALGORITHM, "kid": kid, "typ": typ}
    return _encode(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())


def _members(key: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": _encode(key.public_bytes_raw())}  # RFC 8037, section 2


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(part: str, reason: Reason) -> bytes:
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConsentryError(reason, "a part is no base64url") from error
    if _encode(data) != part:
        raise ConsentryError(reason, "a part is not in canonical base64url")
    return data


def _object(data: bytes, reason: Reason) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member is repeated")
        return found

    try:
        value = json.loads(data.decode(), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise ConsentryError(reason, "a part is no JSON object without repeated members") from error
    if not isinstance(value, dict):
        raise ConsentryError(reason, "a part is no JSON object")
    return value
