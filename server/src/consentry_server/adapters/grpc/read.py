"""What callers send, read strictly: the one place where forms, lengths and ranges are checked.

Every function takes a value and the dotted name of its field, and raises ``ConsentryError`` that names the field.
Text may be of any script; what is compared or stored is in NFC; a NUL character is never text.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Box
from consentry_server.core.vocabulary import REGIONS
from consentry_server.services.context import Caller, RequestKey, request_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from consentry.v1 import photo_pb2

MAX_SUBJECT_ID: Final = 256
MAX_VERSION: Final = 64
MAX_REGIONS: Final = 16
MAX_WORDS: Final = 32
MAX_URI: Final = 2_000
MAX_PIXEL: Final = 100_000
MAX_SECONDS: Final = 200 * 365 * 24 * 3_600
"""Two hundred years: beyond every period that a law or a policy states."""
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far ahead of ours a caller's clock may be when it says when something happened."""

_SHA256_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND: Final = int((datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
_NANOS: Final = 1_000_000_000
_TOKEN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")
_RECORD_ID: Final = re.compile(r"[a-z0-9_]{1,128}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")  # RFC 5646, section 2.1, in its outline
_MAX_LANGUAGE: Final = 35  # RFC 5646, section 4.4.1
_CALLER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # as identity.py reads it from certificates


def required(field: str, what: str = "") -> ConsentryError:
    """The error of a field that is missing.

    Args:
        field: Its dotted name.
        what: What it should hold, in a few words.
    """
    return ConsentryError(Reason.FIELD_REQUIRED, f"{field} is required{': ' if what else ''}{what}", field=field)


def invalid(field: str, problem: str) -> ConsentryError:
    """The error of a field that is there and wrong; the problem follows the field's name in the message."""
    return ConsentryError(Reason.FIELD_INVALID, f"{field} {problem}", field=field)


def too_many(field: str, limit: int) -> ConsentryError:
    """The error of a list or of bytes beyond the limit."""
    return ConsentryError(
        Reason.TOO_LARGE, f"{field} has more than {limit}: send less", field=field, metadata={"limit": str(limit)}
    )


def not_built(field: str, advice: str) -> ConsentryError:
    """The error of a field whose effect this version does not have: it is refused rather than passed over."""
    return ConsentryError(
        Reason.NOT_BUILT, f"{field} has no effect in this version of the server: {advice}", field=field
    )


def count(values: Collection[Any], field: str, limit: int) -> None:
    """Check how many items a list has.

    Raises:
        ConsentryError: ``TOO_LARGE``.
    """
    if len(values) > limit:
        raise too_many(field, limit)


def text(value: str, field: str, limit: int, *, needed: bool = False) -> str:
    """Read text in any script.

    Args:
        value: The text.
        field: Its dotted name.
        limit: Most characters, in NFC.
        needed: Whether it must not be empty.

    Returns:
        The text in NFC.

    Raises:
        ConsentryError: ``FIELD_REQUIRED`` or ``FIELD_INVALID``.
    """
    if not value:
        if needed:
            raise required(field)
        return value
    if not value.isascii():
        _require_encodable(value, field)
        if len(value) > 4 * limit:  # NFC makes text at most a third as long; do not normalise what is far too long
            raise invalid(field, f"has more than {limit} characters")
        value = unicodedata.normalize("NFC", value)
    if len(value) > limit:
        raise invalid(field, f"has more than {limit} characters")
    if "\x00" in value:
        raise invalid(field, "has a NUL character")
    if needed and value.isspace():
        raise required(field)
    return value


def exact_text(value: str, field: str, limit_bytes: int, *, needed: bool = True) -> str:
    """Read text that is kept byte for byte, so not normalised.

    Args:
        value: The text.
        field: Its dotted name.
        limit_bytes: Most bytes of UTF-8.
        needed: Whether it must say something.

    Returns:
        The text as it came.
    """
    if not value or value.isspace():
        if needed:
            raise required(field, "the exact text")
        return value
    _require_encodable(value, field)
    if "\x00" in value:
        raise invalid(field, "has a NUL character")
    if len(value.encode()) > limit_bytes:
        raise too_many(field, limit_bytes)
    return value


def subject_id(value: str, field: str, *, needed: bool = True) -> str:
    """Read a caller's own id of a person, any script, at most 256 characters, in NFC."""
    return text(value, field, MAX_SUBJECT_ID, needed=needed)


def version(value: str, field: str, *, needed: bool = True) -> str:
    """Read the exact version of something, at most 64 characters on one line."""
    value = text(value, field, MAX_VERSION, needed=needed)
    if not value.isprintable():
        raise invalid(field, "must be printable and on one line")
    return value


def token(value: str, field: str) -> str:
    """Read an id that the caller made up: 1 to 128 printable ASCII characters, no space at either end."""
    if not value:
        raise required(field, "1 to 128 printable ASCII characters, best a random UUID")
    if not _TOKEN.fullmatch(value):
        raise invalid(field, "must be 1 to 128 printable ASCII characters")
    return value


def record_id(value: str, field: str, *, needed: bool = True) -> str:
    """Read an id that this server gave; whether it exists is for the record to say."""
    if not value:
        if needed:
            raise required(field)
        return value
    if not _RECORD_ID.fullmatch(value):
        raise invalid(field, "is not an id that this server gives")
    return value


def caller_name(value: str, field: str) -> str:
    """Read the name of a caller as certificates have it; empty is allowed."""
    if value and not _CALLER_NAME.fullmatch(value):
        raise invalid(field, "must be a caller's name as in its certificate")
    return value


def language(value: str, field: str) -> str:
    """Read a BCP 47 language tag."""
    if not value:
        raise required(field, "a BCP 47 tag such as en-US")
    if len(value) > _MAX_LANGUAGE or not _LANGUAGE.fullmatch(value):
        raise invalid(field, "must be a BCP 47 tag such as en-US")
    return value


def uri(value: str, field: str, *, schemes: Sequence[str] = ("https",), needed: bool = False) -> str:
    """Read an absolute address.

    Args:
        value: The address.
        field: Its dotted name.
        schemes: The schemes that it may have.
        needed: Whether it must not be empty.
    """
    value = text(value, field, MAX_URI, needed=needed)
    if not value:
        return value
    names = " or ".join(schemes)
    problem = f"must be an absolute {names} address"
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and value.isprintable() and " " not in value
    except ValueError as error:
        raise invalid(field, problem) from error
    if not usable:
        raise invalid(field, problem)
    return value


def sha256(value: bytes, field: str, *, needed: bool = True) -> bytes:
    """Read a SHA-256: exactly 32 bytes."""
    if not value:
        if needed:
            raise required(field, "32 bytes")
        return value
    if len(value) != _SHA256_BYTES:
        raise invalid(field, f"must have {_SHA256_BYTES} bytes: the SHA-256 itself, not its hexadecimal form")
    return value


def regions(values: Sequence[str], field: str) -> frozenset[str]:
    """Read region codes, upper-case, at most 16.

    Raises:
        ConsentryError: ``TOO_LARGE``; ``VALUE_UNKNOWN`` for a code that is not on the list.
    """
    if not values:
        return frozenset()
    count(values, field, MAX_REGIONS)
    found = frozenset(values)
    if not found <= REGIONS:
        place = next(place for place, value in enumerate(values) if value not in REGIONS)
        raise region_unknown(f"{field}[{place}]", values[place])
    return found


def region_unknown(field: str, value: str) -> ConsentryError:
    """The error of a region that is not on the list."""
    return ConsentryError(
        Reason.VALUE_UNKNOWN,
        f"{field} is no region that this server knows: use codes such as US-IL, DE or EU, in upper case",
        field=field,
        metadata={"value": value[:16].encode("ascii", "replace").decode()},
    )


def box(value: photo_pb2.Box, field: str) -> Box:
    """Read a rectangle: at least one pixel, at most 100,000 from the edges of its image."""
    x, y, width, height = value.x, value.y, value.width, value.height
    if width < 1:
        raise invalid(f"{field}.width", "must be at least 1 pixel")
    if height < 1:
        raise invalid(f"{field}.height", "must be at least 1 pixel")
    if x + width > MAX_PIXEL:
        raise invalid(f"{field}.width", f"reaches beyond pixel {MAX_PIXEL}")
    if y + height > MAX_PIXEL:
        raise invalid(f"{field}.height", f"reaches beyond pixel {MAX_PIXEL}")
    return Box(x, y, width, height)


def time(value: Timestamp, field: str) -> datetime:
    """Read a time from the year 1970 on and before 2200; what is finer than a microsecond is cut off."""
    seconds, nanos = value.seconds, value.nanos
    if not (0 <= seconds < _LAST_SECOND and 0 <= nanos < _NANOS):
        raise invalid(field, "must be a time from the year 1970 on and before 2200")
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)


def optional_time(holder: Message, name: str, field: str) -> datetime | None:
    """Read a time that may be absent.

    Args:
        holder: The message that has it.
        name: Its name there.
        field: Its dotted name in the request.
    """
    return time(getattr(holder, name), field) if holder.HasField(name) else None


def needed_time(holder: Message, name: str, field: str) -> datetime:
    """Read a time that must be there."""
    if not holder.HasField(name):
        raise required(field, "a time")
    return time(getattr(holder, name), field)


def not_ahead(claimed: datetime, now: datetime, field: str) -> datetime:
    """Refuse a claim about the future; a caller's clock may be five minutes ahead of ours."""
    if claimed > now + CLOCK_TOLERANCE:
        raise invalid(field, "is in the future")
    return claimed


def duration(value: Duration, field: str, *, least: int = 1, most: int = MAX_SECONDS) -> timedelta:
    """Read a period of whole seconds.

    Args:
        value: The period.
        field: Its dotted name.
        least: Fewest seconds.
        most: Most seconds.
    """
    if value.nanos or not least <= value.seconds <= most:
        raise invalid(field, f"must be whole seconds from {least} to {most}")
    return timedelta(seconds=value.seconds)


def key(caller: Caller, method: str, request: Any, prefix: str = "") -> RequestKey | None:
    """Make a request's idempotency key: the id, and the hash of everything else that it says.

    Args:
        caller: Who calls.
        method: The RPC's name.
        request: A message with a ``request_id``; the same afterwards.
        prefix: Of its dotted name in the request, such as ``header.``.

    Raises:
        ConsentryError: ``FIELD_REQUIRED`` or ``FIELD_INVALID``: the request_id.
    """
    request_id = token(request.request_id, f"{prefix}request_id")
    request.request_id = ""
    try:
        body = request.SerializeToString(deterministic=True)
    finally:
        request.request_id = request_id
    return request_key(caller, method, request_id, body)


def _require_encodable(value: str, field: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise invalid(field, "is not text that UTF-8 can say") from error
