"""Facts as plain JSON values and back: the one shape that entries and projections share.

Sets become sorted lists, times RFC 3339 with microseconds, durations whole seconds; what equals its default is
left out, so that an entry stays short and a field added later reads as its default in older entries.
"""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Turn a fact into JSON values.

    Args:
        value: A fact of ``facts.py``, or anything such a fact holds.

    Returns:
        Dicts, lists, strings, integers and booleans only.

    Raises:
        TypeError: The value is of a type that facts do not use.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return str(value) if isinstance(value, StrEnum) else value
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if isinstance(value, frozenset):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if is_dataclass(value):
        kind: Any = type(value)
        return {name: to_plain(held) for name, default in _defaults(kind) if (held := getattr(value, name)) != default}
    message = f"{type(value).__name__} is not a fact"
    raise TypeError(message)


def from_plain(kind: type[T], plain: dict[str, Any]) -> T:
    """Read a fact back.

    Args:
        kind: The dataclass it was.
        plain: What :func:`to_plain` made of it; unknown keys are ignored, so that older code reads newer entries.

    Returns:
        The fact, equal to the one that was written.
    """
    hashable: Any = kind
    converters = _converters(hashable)
    return kind(**{name: converters[name](held) for name, held in plain.items() if name in converters})


def from_body(kind: type[T], body: bytes) -> T:
    """Read a stored record back.

    Args:
        kind: The dataclass it was.
        body: The record as a table holds it: JSON of what :func:`to_plain` made.

    Returns:
        The fact.

    Raises:
        ConsentryError: ``DATA_DAMAGED``: it is none.
    """
    try:
        return from_plain(kind, orjson.loads(body))
    except (ConsentryError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConsentryError(
            Reason.DATA_DAMAGED,
            f"a {kind.__name__.lower()}'s record in the ledger's database cannot be read: stop the server, keep a copy "
            "of the files, and run `consentry audit rebuild`, which tells what differs from the ledger and mends it",
        ) from error


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Name and default of each field; MISSING, which equals nothing, where there is no default."""
    return tuple(
        (field.name, field.default if field.default_factory is MISSING else field.default_factory())
        for field in fields(kind)
    )


@cache
def _converters(kind: Any) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    return {field.name: _converter(hints[field.name]) for field in fields(kind)}


def _converter(hint: Any) -> Callable[[Any], Any]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = _converter(next(arg for arg in get_args(hint) if arg is not type(None)))
        return lambda held: None if held is None else inner(held)
    if origin in (tuple, frozenset):
        item = _converter(get_args(hint)[0])
        return lambda held: origin(item(each) for each in held)
    if hint is datetime:
        return parse_time
    if hint is timedelta:
        return lambda held: timedelta(seconds=held)
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda held: from_plain(hint, held)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    return lambda held: held
