"""Breaking a valid request in one place, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role
from tests.unit.grpc.samples import NOW, at

CALLER = Caller("acme", Role.PROCESSOR, "face-tagger")
LATER = at(NOW + timedelta(minutes=6))
AHEAD = at(NOW + timedelta(minutes=4))
OLD = Timestamp(seconds=-1)
FAR = Timestamp(seconds=7_258_118_400)  # the year 2200
Case = tuple[Callable[[Any], object], Reason, str]
REQUIRED, INVALID, UNKNOWN = Reason.FIELD_REQUIRED, Reason.FIELD_INVALID, Reason.VALUE_UNKNOWN
LARGE, NOT_BUILT = Reason.TOO_LARGE, Reason.NOT_BUILT


def put(**fields: Any) -> Callable[[Any], object]:
    """Change fields of the request; ``a__b`` is field b of field a."""

    def change(request: Any) -> None:
        for path, value in fields.items():
            *parents, name = path.split("__")
            holder = request
            for parent in parents:
                holder = holder[int(parent)] if parent.isdigit() else getattr(holder, parent)
            if value is None:
                holder.ClearField(name)
            elif isinstance(value, list):
                holder.ClearField(name)
                getattr(holder, name).extend(value)
            elif hasattr(value, "DESCRIPTOR"):
                getattr(holder, name).CopyFrom(value)
            else:
                setattr(holder, name, value)

    return change


def refused(case: Case, request: Any, reader: Callable[[Any], object]) -> None:
    change, reason, field = case
    change(request)
    with pytest.raises(ConsentryError) as raised:
        reader(request)
    assert (raised.value.reason, raised.value.field) == (reason, field), raised.value.message
    assert raised.value.message.startswith(field)
