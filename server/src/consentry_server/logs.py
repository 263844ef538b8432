"""Logs: one JSON object a line on standard output, with nothing in it that names a person or opens a door.

Identifiers are redacted by what a value is called and by what it looks like, in every depth of every message, whoever
wrote it (libraries too). Exceptions show where they happened and their type; the text of a foreign exception may quote
what a caller sent, so it is left out.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from consentry_server.core.errors import ConsentryError

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 6
MAX_TEXT: Final = 4096
MAX_FRAMES: Final = 24

_SECRET_WORDS: Final = frozenset(
    {"address", "authorization", "body", "cookie", "credential", "dek", "digest", "email", "evidence", "identifier"}
    | {"ip", "ips", "jwt", "kek", "lookup", "name", "names", "passphrase", "password", "pem", "permit", "permits"}
    | {"peer", "person", "phone", "photo", "photos", "request", "secret", "sha256", "signature", "signer", "subject"}
    | {"subjects", "template", "templates", "text", "token", "tokens"}
)
"""A value is redacted where a word of its key is one of these."""
_COUNTING_WORDS: Final = frozenset(
    {"age", "bytes", "count", "days", "hours", "index", "milliseconds", "pixels", "port", "seconds", "size", "version"}
)
"""The last word of a key whose numbers say how much, not who."""
_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")

_PEM: Final = re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL)  # RFC 7468
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}")  # RFC 7519; five parts when encrypted
_HEX_DIGEST: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64,128}(?![0-9A-Za-z])")
_RECORD_ID: Final = re.compile(r"\b(sub|pho|idf|rel|dlv)_[a-z2-7]{8,}")
_EMAIL: Final = re.compile(r"[^\s@<>\"',;:]+@[^\s@<>\"',;:]+\.[^\s@<>\"',;:]+")
_IPV4: Final = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])")
_IPV6: Final = re.compile(r"(?:(?<![0-9A-Za-z])|(?=:))[0-9A-Fa-f]*:[0-9A-Fa-f:]+")

_STANDARD_KEYS: Final = frozenset({"event", "level", "logger", "timestamp"})


def configure(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs as JSON to one stream, redacted.

    Args:
        level: The least severe level that is written: debug, info, warning, error.
        stream: Where to; standard output by default.
    """
    stream = sys.stdout if stream is None else stream
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Callable[..., Any]] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        show_exception,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(sort_keys=True)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.INFO))  # libraries talk too much below


def show_exception(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the exception's types, places and, where it is our own, its message."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    elif isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["exception"] = _chain(found)
    event.pop("stack_info", None)
    return event


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out of a log event whatever names a person or opens a door."""
    # structlog's own marks (they begin with an underscore) hold objects that it needs afterwards
    return {
        key: value if key.startswith("_") else scrub(value) if key in _STANDARD_KEYS else _value(key, value, 0)
        for key, value in event.items()
    }


def scrub(text: object) -> str:
    """Redact every identifier that can be recognised by its form.

    Args:
        text: Any text.

    Returns:
        The text without PEM blocks, JWTs, SHA-256 and SHA-512 values, ids of people, photos and releases, mail
        addresses and network addresses (those of this machine stay), cut to a bounded length.
    """
    found = str(text)
    if len(found) > MAX_TEXT:
        found = found[:MAX_TEXT] + "..."
    for pattern in (_PEM, _JWT, _HEX_DIGEST, _EMAIL):
        found = pattern.sub(REDACTED, found)
    found = found.replace("%5B", "[").replace("%5D", "]")  # as gRPC writes an IPv6 peer
    found = _RECORD_ID.sub(lambda match: f"{match[1]}_{REDACTED}", found)
    found = _IPV4.sub(_address, found)
    return _IPV6.sub(_address, found)


def _address(match: re.Match[str]) -> str:
    """Redact a network address unless it is this machine's own; what only looks like one (a time) stays."""
    for candidate in (match[0], match[0].strip(":")):  # "ipv6:2001:db8::1" begins with a colon of something else
        try:
            address = ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return match[0] if address.is_loopback or address.is_unspecified else match[0].replace(candidate, REDACTED)
    return match[0]


def _value(key: str, value: Any, depth: int) -> Any:
    words = [word.lower() for word in _WORDS.findall(key)]
    if value is None or isinstance(value, bool):
        return value
    if not _SECRET_WORDS.isdisjoint(words):
        counting = isinstance(value, int | float) and words[-1] in _COUNTING_WORDS
        return value if counting else REDACTED
    return _plain(value, depth)


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, depth)
    if isinstance(value, str | PurePath):
        return scrub(value)
    if isinstance(value, datetime | date | timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {scrub(key): _value(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, BaseException):
        return _chain(value)
    return f"<{type(value).__name__}>"  # its repr could show anything


def _chain(error: BaseException) -> list[dict[str, Any]]:
    """The exception and what led to it, the outermost first."""
    shown: list[dict[str, Any]] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(shown) < MAX_DEPTH:
        seen.add(id(current))
        kind = type(current)
        item: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}", "frames": _frames(current)}
        if isinstance(current, ConsentryError):
            item |= {"reason": current.reason.value, "message": scrub(current.message)}
        elif isinstance(current, OSError) and current.strerror:
            item |= {"errno": current.errno, "message": scrub(current.strerror)}
        shown.append(item)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return shown


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    return [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
