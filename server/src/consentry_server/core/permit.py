"""Permits: short-lived, signed statements of what may be done with which faces of one photo.

A permit is a JWT of type ``permit+jwt`` that any service can verify offline with the published key set. It names the
decision it rests on by ledger index and leaf hash, so that its holder can expose a ledger that lost the entry.
A permit alone opens nothing in the vault: the live basis is looked at again there.

Claims: ``iss``, ``aud``, ``iat``, ``exp`` (whole seconds, RFC 7519), ``decision_id``, ``operation``, ``purpose``,
``photo_sha256``, ``faces`` (``index``, ``x``, ``y``, ``width``, ``height``), ``biometric``, ``ledger_index``,
``leaf_hash``. All of them, and no others: what a reader does not know it must not act upon.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Box
from consentry_server.core.signed import sign_claims, verify_claims
from consentry_server.core.vocabulary import Operation, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PERMIT_TYPE: Final = "permit+jwt"
MAX_FACES: Final = 256
CLOCK_SKEW: Final = timedelta(seconds=5)
"""How far ahead the issuer's clock may be of ours. The expiry gets no such grace."""

_CLAIMS: Final = frozenset(
    {"iss", "aud", "iat", "exp", "decision_id", "operation", "purpose", "photo_sha256"}
    | {"faces", "biometric", "ledger_index", "leaf_hash"}
)
_FACE_CLAIMS: Final = frozenset({"index", "x", "y", "width", "height"})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_W = TypeVar("_W", Operation, Purpose)
_MAX_INTEGER: Final = 2**53 - 1  # RFC 8259, section 6: what every JSON reader keeps exact


@dataclass(frozen=True, slots=True)
class PermitFace:
    """One allowed face.

    Args:
        index: Position of the face in the request, from 0.
        box: Its place in the stored image.
    """

    index: int
    box: Box


@dataclass(frozen=True, slots=True)
class Permit:
    """What one allowed decision lets its holder do.

    Args:
        issuer: Ledger origin of the tenant that allowed it, ``consentry.local/acme``.
        audience: The service that asked.
        decision_id: The recorded decision.
        operation: What may be done.
        purpose: What for.
        photo_sha256: The photo's hash, 64 hex digits, or empty where the data category has no photo.
        faces: The allowed faces, in order of their index; none where the operation is on no face.
        biometric: False where the permit shows a photo as a photo and never serves a template.
        ledger_index: Index of the decision's entry.
        leaf_hash: Its leaf hash, 64 hex digits.
        issued_at: UTC; cut to whole seconds in the token.
        expires_at: UTC; cut to whole seconds in the token, so never later than stated here.
    """

    issuer: str
    audience: str
    decision_id: str
    operation: Operation
    purpose: Purpose
    photo_sha256: str
    faces: tuple[PermitFace, ...]
    biometric: bool
    ledger_index: int
    leaf_hash: str
    issued_at: datetime
    expires_at: datetime


def sign(permit: Permit, key: Ed25519PrivateKey, kid: str) -> str:
    """Return the permit as a signed token; the same permit and key always give the same token.

    Args:
        permit: What is allowed.
        key: The tenant's permit key.
        kid: Its name in the published set.

    Raises:
        ConsentryError: TOO_LARGE when it names more than 256 faces.
        ValueError: When a field is not of the stated form, which is the caller's mistake.
    """
    if len(permit.faces) > MAX_FACES:
        raise ConsentryError(Reason.TOO_LARGE, f"one permit covers at most {MAX_FACES} faces", field="faces")
    claims = {
        "iss": permit.issuer,
        "aud": permit.audience,
        "iat": _seconds(permit.issued_at),
        "exp": _seconds(permit.expires_at),
        "decision_id": permit.decision_id,
        "operation": permit.operation.value,
        "purpose": permit.purpose.value,
        "photo_sha256": permit.photo_sha256,
        "faces": [
            {"index": f.index, "x": f.box.x, "y": f.box.y, "width": f.box.width, "height": f.box.height}
            for f in permit.faces
        ],
        "biometric": permit.biometric,
        "ledger_index": permit.ledger_index,
        "leaf_hash": permit.leaf_hash,
    }
    try:
        _read(claims)  # never sign what a strict reader would refuse
    except ConsentryError as error:
        raise ValueError(f"no permit can be signed: {error.message}") from error
    return sign_claims(claims, key, kid, PERMIT_TYPE)


def verify(token: str, keys: Mapping[str, Ed25519PublicKey], issuer: str, audience: str, now: datetime) -> Permit:
    """Verify a permit and return what it allows.

    1. Form, type, key and signature (``signed.verify_claims``).
    2. Exactly the claims of a permit, each of its form.
    3. Issued by ``issuer`` for ``audience``.
    4. Not issued in the future (5 seconds of clock skew are allowed).
    5. Not expired; at the very second of its expiry it is.

    Args:
        token: As it came in.
        keys: The issuer's published keys by ``kid``.
        issuer: Ledger origin of the tenant.
        audience: Name of the service that presents it.
        now: UTC.

    Raises:
        ConsentryError: PERMIT_INVALID, or PERMIT_EXPIRED when all else holds.
    """
    # (1) form, type, key, signature
    claims = verify_claims(token, keys, PERMIT_TYPE, Reason.PERMIT_INVALID)
    # (2) claims
    permit = _read(claims)
    # (3) issuer and audience
    if permit.issuer != issuer or permit.audience != audience:
        raise _invalid("it was issued by or for somebody else")
    # (4) issued
    if permit.issued_at > now + CLOCK_SKEW:
        raise _invalid("it was issued in the future: check this machine's clock")
    # (5) expiry
    if now >= permit.expires_at:
        raise ConsentryError(Reason.PERMIT_EXPIRED, "the permit has expired: ask for a new one by Check")
    return permit


def _read(claims: Mapping[str, Any]) -> Permit:
    """Read claims that are exactly those of a permit."""
    if claims.keys() != _CLAIMS:
        raise _invalid("its claims are not exactly those of a permit")
    faces = claims["faces"]
    if not isinstance(faces, list) or len(faces) > MAX_FACES:
        raise _invalid("faces is no list of at most 256")
    read = tuple(_face(face) for face in faces)
    if any(left.index >= right.index for left, right in itertools.pairwise(read)):
        raise _invalid("faces are not in the order of their index, each once")
    photo = claims["photo_sha256"]
    if not isinstance(photo, str) or (photo and not _SHA256.fullmatch(photo)):
        raise _invalid("photo_sha256 is neither empty nor 64 hex digits")
    leaf = claims["leaf_hash"]
    if not isinstance(leaf, str) or not _SHA256.fullmatch(leaf):
        raise _invalid("leaf_hash is not 64 hex digits")
    if not isinstance(claims["biometric"], bool):
        raise _invalid("biometric is no boolean")
    issued_at, expires_at = _time(claims["iat"]), _time(claims["exp"])
    if issued_at >= expires_at:
        raise _invalid("it expires before it was issued")
    return Permit(
        issuer=_text(claims, "iss"),
        audience=_text(claims, "aud"),
        decision_id=_text(claims, "decision_id"),
        operation=_word(Operation, claims["operation"]),
        purpose=_word(Purpose, claims["purpose"]),
        photo_sha256=photo,
        faces=read,
        biometric=claims["biometric"],
        ledger_index=_integer(claims["ledger_index"], 0),
        leaf_hash=leaf,
        issued_at=issued_at,
        expires_at=expires_at,
    )


def _face(face: object) -> PermitFace:
    if not isinstance(face, dict) or face.keys() != _FACE_CLAIMS:
        raise _invalid("a face is not exactly index, x, y, width and height")
    return PermitFace(
        index=_integer(face["index"], 0),
        box=Box(
            x=_integer(face["x"], 0),
            y=_integer(face["y"], 0),
            width=_integer(face["width"], 1),
            height=_integer(face["height"], 1),
        ),
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise _invalid(f"{name} is empty or no text")
    return value


def _integer(value: object, least: int) -> int:
    if type(value) is not int or not least <= value <= _MAX_INTEGER:
        raise _invalid(f"a number is no integer from {least}")
    return value


def _word(words: type[_W], value: object) -> _W:
    try:
        return words(str(value))
    except ValueError as error:
        raise _invalid("operation or purpose is an unknown word") from error


def _time(value: object) -> datetime:
    try:
        return datetime.fromtimestamp(_integer(value, 0), UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise _invalid("a time is out of range") from error


def _seconds(time: datetime) -> int:
    if time.utcoffset() != timedelta(0):
        raise ValueError("times are in UTC")
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def _invalid(what: str) -> ConsentryError:
    return ConsentryError(Reason.PERMIT_INVALID, f"the permit is not valid: {what}")
