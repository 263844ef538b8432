"""Canonical JSON: RFC 8785 bytes of the ledger's profile, written fast and read strictly.

The profile is narrower than RFC 8785: objects, arrays, NFC strings, integers within ±(2^53-1), true, false and
null; keys are ASCII snake_case; no floats. Within it orjson's sorted output is RFC 8785's to the byte (ASCII keys
sort alike in UTF-8 and UTF-16, and both escape the same characters in the same way); a property test holds that.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from unicodedata import is_normalized

import orjson

from consentry_server.core.errors import Reason
from consentry_server.core.ledger.errors import LedgerError, damaged, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_INTEGER: Final = 2**53 - 1
"""RFC 8785, section 3.2.2.3: larger integers are not kept by every reader; they are written as strings."""
MAX_DEPTH: Final = 16
"""Objects and arrays within each other; enough for every entry type, and far from any recursion limit."""

OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_DATETIME
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_PLAIN: Final = frozenset({str, int, bool, type(None), orjson.Fragment})
_SHAPES_KEPT: Final = 1024


def encode(value: Mapping[str, Any] | Sequence[Any], *, max_bytes: int) -> bytes:
    """Write a value of the profile as canonical JSON.

    Args:
        value: A dict or a list of the profile's values; subclasses of str, such as ``StrEnum``, count as strings.
        max_bytes: The longest allowed result, in bytes.

    Returns:
        UTF-8 bytes as RFC 8785 has them.

    Raises:
        LedgerError: ``FIELD_INVALID``, with the field at fault; ``TOO_LARGE``.
    """
    data = _encode(value)
    if len(data) > max_bytes:
        msg = f"{len(data)} bytes of canonical JSON are more than the {max_bytes} allowed"
        raise LedgerError(Reason.TOO_LARGE, msg)
    return data


def fragment(value: Mapping[str, Any] | Sequence[Any]) -> orjson.Fragment:
    """Write a part that many values share, once.

    Args:
        value: As for ``encode``.

    Returns:
        What ``encode`` takes in its place.

    Raises:
        LedgerError: as ``encode``.
    """
    return orjson.Fragment(_encode(value))


def decode(data: bytes, *, max_bytes: int) -> Any:
    """Read canonical JSON strictly: the bytes must be exactly what ``encode`` would write.

    Args:
        data: The bytes.
        max_bytes: The longest allowed input, in bytes.

    Returns:
        The value.

    Raises:
        LedgerError: ``DATA_DAMAGED``: too long, not JSON, a duplicate key, a float, a string that is not in NFC,
            or any other bytes than the canonical ones.
    """
    if len(data) > max_bytes:
        msg = f"{len(data)} bytes are more than the {max_bytes} allowed"
        raise damaged(msg)
    try:
        value = orjson.loads(data)
    except ValueError as error:
        msg = f"the bytes are not JSON: {error}"
        raise damaged(msg) from error
    if not isinstance(value, dict | list):
        msg = "the JSON is neither an object nor an array"
        raise damaged(msg)
    try:
        canonical = _encode(value)
    except LedgerError as error:
        msg = f"the JSON is outside the ledger's profile: {error.message}"
        raise damaged(msg, field=error.field) from error
    if canonical != data:
        duplicate = _first_duplicate(data)
        msg = f"the key {duplicate!r} stands twice" if duplicate else "the JSON is not in its canonical form (RFC 8785)"
        raise damaged(msg)
    return value


def _encode(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    if isinstance(value, dict):
        _check_dict(value, MAX_DEPTH)
    elif isinstance(value, list | tuple):
        _check_values(value, MAX_DEPTH)
    else:
        msg = f"canonical JSON is made of a dict or a list, not of {type(value).__name__}"
        raise invalid(msg)
    try:
        data = orjson.dumps(value, option=OPTIONS)
    except TypeError as error:  # an integer too large, or a lone surrogate
        msg = f"the value has no canonical JSON: {error}"
        raise invalid(msg) from error
    # A string is in NFC if the whole text is: the characters that JSON puts between strings, or escapes, are
    # never part of what a normalisation would change. The reverse does not hold (an escape may end in a letter),
    # so strings are looked at one by one before anything is refused.
    if not data.isascii() and not is_normalized("NFC", data.decode()):
        _refuse_unnormalized(value, "")
    return data


def _check_dict(value: dict[Any, Any], depth: int) -> None:
    if not keys_allowed(tuple(value)):
        key = next(key for key in value if not _key_allowed(key))
        msg = f"the key {str(key)[:64]!r} is not ASCII snake_case of up to 64 characters"
        raise invalid(msg, field=str(key)[:64])
    _check_values(value.values(), depth)


def _check_values(values: Iterable[Any], depth: int) -> None:
    if depth <= 0:
        msg = f"more than {MAX_DEPTH} objects and arrays within each other"
        raise invalid(msg)
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind is dict:
            _check_dict(value, depth - 1)
        elif kind is list or kind is tuple:
            _check_values(value, depth - 1)
        elif not issubclass(kind, str):
            msg = f"a value of type {kind.__name__} has no place in an entry; write it as a string"
            raise invalid(msg)


@lru_cache(maxsize=_SHAPES_KEPT)
def keys_allowed(keys: tuple[Any, ...]) -> bool:
    """Whether an object's keys are all of the profile."""
    # An entry's keys depend on its type alone: the same few shapes come again and again.
    return all(map(_key_allowed, keys))


def _key_allowed(key: object) -> bool:
    return type(key) is str and _KEY.fullmatch(key) is not None


def _refuse_unnormalized(value: Any, path: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_unnormalized(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _refuse_unnormalized(inner, f"{path}[{position}]")
    elif isinstance(value, str) and not is_normalized("NFC", value):
        msg = f"the text in {path} is not in Unicode normalisation form C"
        raise invalid(msg, field=path)


def _first_duplicate(data: bytes) -> str:
    found = ""

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen and not found:
                found = key
            seen.add(key)

    json.loads(data, object_pairs_hook=look)
    return found
