"""Python values into the contract's messages, field by field and by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

from consentry.errors import InvalidRequest
from consentry.v1 import photo_pb2

if TYPE_CHECKING:
    from consentry.inputs import Photo

M = TypeVar("M", bound=Message)


def fill(message: M, /, **values: object) -> M:
    """Set fields of a message and return it; what is None or empty stays unset.

    Args:
        message: a new message.
        values: by field name: scalars, aware datetimes, timedeltas, records of `consentry.inputs`, sequences of them.

    Raises:
        InvalidRequest: a value does not fit its field, which is named.
    """
    _fill(message, values, "")
    return message


def values_of(record: object) -> dict[str, object]:
    """Return the fields of a record by name, without going deeper."""
    if not is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is no record of consentry")
    return {field.name: getattr(record, field.name) for field in fields(record)}


def photo_reference(photo: Photo | None) -> photo_pb2.PhotoReference | None:
    """Name a photo by its id (str) or by its SHA-256 (bytes)."""
    match photo:
        case None:
            return None
        case str():
            return photo_pb2.PhotoReference(photo_id=photo)
        case bytes():
            return photo_pb2.PhotoReference(sha256=photo)
    raise InvalidRequest("a photo is its id as str, or its SHA-256 as bytes", field="photo")


def _fill(message: Message, values: dict[str, object], path: str) -> None:
    for name, value in values.items():
        if value is None:
            continue
        try:
            _set(message, name, value, path)
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidRequest(str(error), field=path + name) from error


def _set(message: Message, name: str, value: object, path: str) -> None:
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        _extend(getattr(message, name), value, path + name)
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("times are timezone-aware")
        getattr(message, name).FromDatetime(value)
    elif isinstance(value, timedelta):
        getattr(message, name).FromTimedelta(value)
    elif isinstance(value, Message):
        getattr(message, name).CopyFrom(value)
    elif field.message_type is not None:
        part: Message = getattr(message, name)
        part.SetInParent()
        _fill(part, values_of(value), f"{path}{name}.")
    elif value or (field.has_presence and value != ""):  # an empty text says nothing, and would win its oneof
        setattr(message, name, value)


def _extend(items: Any, value: object, path: str) -> None:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError("a sequence is wanted")
    for index, item in enumerate(value):
        if is_dataclass(item):
            _fill(items.add(), values_of(item), f"{path}[{index}].")
        else:
            items.append(item)
