"""Who calls, and the small values that every service shares."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import BASE32
from consentry_server.services.ports import KnownRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consentry_server.services.book import Book, Recorded

ID_CHARACTERS = 24
"""120 random bits."""
MAX_REQUEST_ID = 128
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Role(StrEnum):
    """What a caller's certificate says it may do."""

    PROCESSOR = "processor"
    COLLECTOR = "collector"
    AUDITOR = "auditor"
    OFFICER = "officer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, from the certificate."""

    tenant: str
    role: Role
    name: str

    @property
    def actor(self) -> str:
        """As entries name it."""
        return f"{self.role}/{self.name}"


class RequestKey(NamedTuple):
    """A request id, scoped to its caller and method, and the hash of the request's body.

    Args:
        key: 32 bytes.
        body: 32 bytes.
    """

    key: bytes
    body: bytes


def request_key(caller: Caller, method: str, request_id: str, body: bytes) -> RequestKey | None:
    """Make the key under which an answer is remembered.

    Args:
        caller: Who calls.
        method: The RPC's name.
        request_id: The caller's id for this request; empty for none.
        body: The request's bytes without its id.

    Returns:
        The key, or None where the caller gave no id.

    Raises:
        ConsentryError: ``TOO_LARGE``: the id is too long.
    """
    if not request_id:
        return None
    if len(request_id) > MAX_REQUEST_ID:
        raise ConsentryError(
            Reason.TOO_LARGE, f"request_id has more than {MAX_REQUEST_ID} characters", field="request_id"
        )
    scope = f"{caller.actor}\x00{method}\x00{request_id}".encode()
    return RequestKey(hashlib.sha256(scope).digest(), hashlib.sha256(body).digest())


class Answer(NamedTuple):
    """An entry that answers a request: just made, or, where repeated, found under the request's id."""

    recorded: Recorded
    entry: Mapping[str, Any]
    repeated: bool = False


def earlier(book: Book, key: RequestKey | None) -> Answer | None:
    """Find what answered the same request before.

    Args:
        book: The command's view.
        key: The request's key.

    Returns:
        The entry that answered it, or None where this request is new or the window has passed.

    Raises:
        ConsentryError: ``REQUEST_ID_REUSED``: the same id came with another body.
    """
    if key is None:
        return None
    known = book.request(key.key)
    if known is None or known.time + book.request_window < book.now:
        return None
    if known.body != key.body:
        raise ConsentryError(
            Reason.REQUEST_ID_REUSED,
            "this request_id was used for a different request: make a new id for each new request",
            field="request_id",
        )
    return Answer(*book.recorded(known.index), repeated=True)


def remember(book: Book, key: RequestKey | None, recorded: Recorded) -> None:
    """Remember which entry answered a request."""
    if key is not None:
        book.requests[key.key] = KnownRequest(body=key.body, index=recorded.index, time=recorded.time)


def once(book: Book, key: RequestKey | None, act: Callable[[], Recorded]) -> Answer:
    """Answer a mutation once: a repeated request gets the entry that answered it first.

    Args:
        book: The command's view.
        key: The request's key.
        act: Records the answer.

    Returns:
        The answering entry.

    Raises:
        ConsentryError: ``REQUEST_ID_REUSED``, or what ``act`` raised.
    """
    found = earlier(book, key)
    if found is not None:
        return found
    recorded = act()
    remember(book, key, recorded)
    return Answer(*book.recorded(recorded.index))


def refused(refusal: ConsentryError | None, recorded: Recorded) -> ConsentryError:
    """A refusal with the ledger index of the entry that records it."""
    error = refusal or ConsentryError(Reason.PERMIT_MISMATCH, "this permit opens nothing here", field="permit")
    error.metadata["ledger_index"] = str(recorded.index)
    return error


def new_id(prefix: str, random: Callable[[int], bytes], characters: int = ID_CHARACTERS) -> str:
    """A random id such as ``rel_abcdefghijklmnopqrstuvwx``: five random bits a character."""
    return f"{prefix}_{random(characters).translate(BASE32).decode()}"


def require_slug(value: str, field: str) -> str:
    """Check a caller's name for an organisational thing.

    Args:
        value: The name.
        field: The request field, for the error.

    Returns:
        The name.

    Raises:
        ConsentryError: ``FIELD_REQUIRED`` or ``FIELD_INVALID``.
    """
    if not value:
        raise ConsentryError(Reason.FIELD_REQUIRED, f"{field} is required", field=field)
    return optional_slug(value, field)


def optional_slug(value: str, field: str) -> str:
    """Like :func:`require_slug`, but empty is allowed."""
    if value and not _SLUG.fullmatch(value):
        raise ConsentryError(
            Reason.FIELD_INVALID,
            f"{field} must be 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
            field=field,
        )
    return value
