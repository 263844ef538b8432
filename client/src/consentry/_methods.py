"""What the methods of both clients share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from consentry.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from consentry.config import Config

F = TypeVar("F", bound="Callable[..., Any]")


def named_after(build: Callable[..., Any], method: F) -> F:
    """Give a method the name, documentation and parameters of the function that builds its call."""
    signature = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__name__ = method.__qualname__ = build.__name__
    method.__doc__ = build.__doc__
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]  # inspect reads it; typeshed does not know
        parameters=[own, *signature.parameters.values()], return_annotation=inspect.Signature.empty
    )
    return method


def photo_too_large(size: int, config: Config) -> InvalidRequest:
    """Return the error for a photo that does not go into memory."""
    return InvalidRequest(
        f"the photo has {size} bytes, Config.max_photo_bytes is {config.max_photo_bytes}: use stream_photo",
        field="max_photo_bytes",
    )
