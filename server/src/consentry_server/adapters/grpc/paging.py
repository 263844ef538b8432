"""Lists in pages: sizes, and tokens that fit the very request they were given for."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.adapters.grpc.read import invalid
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from consentry_server.services.context import Caller

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1_000
_TAG_BYTES: Final = 12
_MAX_TOKEN: Final = 1_024


class Page(NamedTuple):
    """Which page a caller wants.

    Args:
        size: At most so many items.
        after: Where the page before ended, in the words of the list's servicer; empty for the first page.
    """

    size: int
    after: str
    tag: bytes

    def token(self, position: str) -> str:
        """Make the token of the page that goes on behind a position."""
        return base64.urlsafe_b64encode(self.tag + position.encode()).decode().rstrip("=")


def read_page(caller: Caller, method: str, request: Any) -> Page:
    """Read ``page_size`` and ``page_token``.

    A token holds a position and is bound to the tenant, the method and everything else that the request says. It is no
    secret and grants nothing: whoever makes one up gets a page that the same call would give anyway.

    Args:
        caller: Who calls.
        method: The RPC's name.
        request: A list request; the same afterwards.

    Returns:
        The page.

    Raises:
        ConsentryError: ``FIELD_INVALID`` or ``PAGE_TOKEN_INVALID``.
    """
    size, token = request.page_size, request.page_token
    if size < 0:
        raise invalid("page_size", "must not be less than 0")
    rest = type(request)()
    rest.CopyFrom(request)
    rest.page_size, rest.page_token = 0, ""
    scope = f"{caller.tenant}\x00{method}\x00".encode() + rest.SerializeToString(deterministic=True)
    tag = hashlib.sha256(scope).digest()[:_TAG_BYTES]
    return Page(min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), _position(token, tag) if token else "", tag)


def number(page: Page, default: int) -> int:
    """The position as a number that is not negative; the default for the first page.

    Raises:
        ConsentryError: ``PAGE_TOKEN_INVALID``.
    """
    if not page.after:
        return default
    if not (page.after.isascii() and page.after.isdigit() and len(page.after) <= 18):  # noqa: PLR2004 - below 2**63
        raise token_invalid()
    return int(page.after)


def token_invalid() -> ConsentryError:
    """The error of a token that was not given for this request."""
    return ConsentryError(
        Reason.PAGE_TOKEN_INVALID,
        "page_token was not given for this very request: start again with an empty one",
        field="page_token",
    )


def _position(token: str, tag: bytes) -> str:
    if len(token) > _MAX_TOKEN:
        raise token_invalid()
    try:
        data = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = data[_TAG_BYTES:].decode()
    except (ValueError, binascii.Error) as error:
        raise token_invalid() from error
    if data[:_TAG_BYTES] != tag or not position:
        raise token_invalid()
    return position
