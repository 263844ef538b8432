"""Whatever bytes come: reading a request never fails with anything but an error that names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry.v1 import gate_service_pb2, registry_service_pb2
from consentry_server.adapters.grpc import paging, read_consent, read_gate, read_notices, read_vault
from consentry_server.core.errors import ConsentryError, Reason
from tests.unit.grpc import samples
from tests.unit.grpc.bad_input import CALLER

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
READERS: dict[str, tuple[Message, Callable[[Any], object]]] = {
    "check": (samples.check(), lambda sent: read_gate.check(sent, CALLER, NOW)),
    "processing": (samples.processing(), lambda sent: read_gate.processing(sent, CALLER, NOW)),
    "batch": (gate_service_pb2.BatchCheckRequest(), read_gate.items),
    "notice": (samples.notice(), lambda sent: read_notices.publish_notice(sent, CALLER)),
    "policy": (samples.policy(), lambda sent: read_notices.publish_policy(sent, CALLER)),
    "delivery": (samples.delivery(), lambda sent: read_consent.delivery(sent, CALLER, NOW)),
    "release": (samples.release(), lambda sent: read_consent.release(sent, CALLER, NOW)),
    "determination": (samples.determination(), lambda sent: read_consent.determination(sent, CALLER, NOW)),
    "header": (samples.header(), lambda sent: read_vault.upload_header(sent, CALLER, NOW)),
    "identifier": (samples.identifier(), lambda sent: read_vault.identifier(sent, CALLER)),
    "list": (
        registry_service_pb2.ListNoticesRequest(page_size=5, page_token="AAAA"),
        lambda sent: paging.read_page(CALLER, "ListNotices", sent),
    ),
}
ERRORS = {
    Reason.FIELD_REQUIRED,
    Reason.FIELD_INVALID,
    Reason.VALUE_UNKNOWN,
    Reason.TOO_LARGE,
    Reason.DIGEST_MISMATCH,
    Reason.NOT_BUILT,
    Reason.PAGE_TOKEN_INVALID,
}
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", "\x00", "US-IL", "a" * 300, "tagging", "é", "https://x", "https://[", "1", "\u200f"]),
)
INTEGER = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
}


def value_of(field: FieldDescriptor, data: st.DataObject) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return data.draw(st.one_of(st.binary(max_size=4), st.just(b"x" * 32)))
        case FieldDescriptor.CPPTYPE_STRING:
            return data.draw(TEXT)
        case FieldDescriptor.CPPTYPE_BOOL:
            return data.draw(st.booleans())
        case FieldDescriptor.CPPTYPE_ENUM:
            return data.draw(st.one_of(st.integers(-1, 30), st.integers(-(2**31), 2**31 - 1)))
        case kind:
            return data.draw(st.one_of(st.integers(0, 200), INTEGER[kind]))


def disturb(message: Message, data: st.DataObject, depth: int = 0) -> None:
    """Change some fields of a message at random, some of them away."""
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    chosen = data.draw(st.lists(st.sampled_from(fields), max_size=2, unique_by=lambda f: f.number)) if fields else []
    for field in chosen:
        if data.draw(st.integers(0, 5)) == 0:
            message.ClearField(field.name)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth < 4:
                held = getattr(message, field.name)
                if field.is_repeated:
                    held.append(GetMessageClass(field.message_type)())
                    held = held[data.draw(st.integers(0, len(held) - 1))]
                else:
                    held.SetInParent()
                disturb(held, data, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).append(value_of(field, data))
        else:
            setattr(message, field.name, value_of(field, data))


def failure(act: Callable[[], object]) -> ConsentryError | None:
    try:
        act()
    except ConsentryError as error:
        return error
    return None


def attempt(message: Message, reader: Callable[[Any], object]) -> None:
    error = failure(lambda: reader(message))
    if error is not None:
        assert error.reason in ERRORS
        assert error.field
        assert error.field in error.message
        error.message.encode()


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150)
@given(data=st.data())
def test_a_disturbed_request_is_read_or_refused_by_name(name: str, data: st.DataObject) -> None:
    sample, reader = READERS[name]
    message = type(sample)()
    message.CopyFrom(sample)
    disturb(message, data)
    attempt(message, reader)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150)
@given(raw=st.binary(max_size=120), cut=st.integers(0, 400), at=st.integers(0, 400))
def test_any_bytes_are_read_or_refused_by_name(name: str, raw: bytes, cut: int, at: int) -> None:
    sample, reader = READERS[name]
    whole = sample.SerializeToString()
    for data in (raw, whole[:cut], whole[: at % (len(whole) + 1)] + raw + whole[at % (len(whole) + 1) :]):
        try:
            message = type(sample).FromString(data)
        except DecodeError:
            continue
        attempt(message, reader)


@given(token=st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda data: data.hex())))
def test_no_token_that_was_made_up_is_taken(token: str) -> None:
    request = registry_service_pb2.ListNoticesRequest(page_token=token)
    error = failure(lambda: paging.read_page(CALLER, "ListNotices", request))
    if token:
        assert error is not None
        assert (error.reason, error.field) == (Reason.PAGE_TOKEN_INVALID, "page_token")
    else:
        assert error is None


@given(position=st.text(min_size=1, max_size=80), size=st.integers(0, 2**31 - 1))
def test_a_token_brings_back_its_position_to_the_same_request_alone(position: str, size: int) -> None:
    request = registry_service_pb2.ListNoticesRequest(notice_id="a")
    request.page_token = paging.read_page(CALLER, "ListNotices", request).token(position)
    request.page_size = size
    page = paging.read_page(CALLER, "ListNotices", request)
    assert page.after == position
    assert 1 <= page.size <= paging.MAX_PAGE_SIZE
    request.notice_id = "b"
    with pytest.raises(ConsentryError):
        paging.read_page(CALLER, "ListNotices", request)
