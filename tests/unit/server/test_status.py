"""Reasons to statuses: complete, as the contract says, and never too large to travel."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from consentry.v1 import error_reason_pb2
from consentry_server.adapters.grpc.status import MAX_DETAIL_BYTES, STATUS_CODES, to_status
from consentry_server.core.errors import ConsentryError, Reason

CONTRACT = Path(__file__).parents[3] / "proto/consentry/v1/error_reason.proto"
REASONS = list(Reason)


def promised() -> dict[str, str]:
    """Reason to status code, as the comments of the contract say."""
    return {
        reason: code
        for code, reason in re.findall(
            r"^  // ([A-Z_]+)\. (?:(?!^  //.*Never).)*?^  ERROR_REASON_([A-Z_]+) = ",
            CONTRACT.read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
    }


def test_every_reason_has_a_code() -> None:
    assert set(STATUS_CODES) == set(Reason)


def test_no_reason_hides_behind_unknown_or_internal() -> None:
    assert not {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.OK} & set(STATUS_CODES.values())


def test_reasons_are_those_of_the_contract() -> None:
    prefix = "ERROR_REASON_"
    listed = {name.removeprefix(prefix) for name in error_reason_pb2.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - an enum wrapper, no dict
    assert listed == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", REASONS)
def test_codes_are_those_of_the_contract(reason: Reason) -> None:
    assert STATUS_CODES[reason].name == promised()[reason.value]


@pytest.mark.parametrize("reason", REASONS)
def test_a_status_has_one_error_info(reason: Reason) -> None:
    status = to_status(ConsentryError(reason, "what to do", metadata={"a": "b"}))
    assert status.code == STATUS_CODES[reason].value[0]
    (detail,) = status.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.value, "consentry.v1", {"a": "b"})


def test_a_field_is_named_twice() -> None:
    status = to_status(ConsentryError(Reason.FIELD_REQUIRED, "faces is required", field="faces"))
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert dict(info.metadata) == {"field": "faces"}
    assert [(one.field, one.description) for one in request.field_violations] == [("faces", "faces is required")]


TEXT = st.text(st.characters(), max_size=40).flatmap(lambda text: st.integers(0, 400).map(lambda times: text * times))


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=30))
def test_every_status_travels(message: str, field: str, metadata: dict[str, str]) -> None:
    status = to_status(ConsentryError(Reason.NOT_FOUND, message, field=field, metadata=metadata))
    percent_encoded = 3 * len(status.message.encode())  # grpc-message
    base64 = (status.ByteSize() + 2) // 3 * 4  # grpc-status-details-bin
    assert percent_encoded + base64 <= MAX_DETAIL_BYTES


@pytest.mark.parametrize(
    "error",
    [
        ConsentryError(Reason.NOT_FOUND, "\ud800", field="\ud800", metadata={"\ud800": "\udfff"}),
        ConsentryError(Reason.NOT_FOUND, "€" * 9999, field="€" * 9999, metadata={"€" * 9999: "€" * 9999}),
        ConsentryError(Reason.NOT_FOUND, "\x00" * 9999, metadata={str(number): "" for number in range(9999)}),
    ],
    ids=["surrogates", "long", "many"],
)
def test_the_worst_statuses_travel(error: ConsentryError) -> None:
    status = to_status(error)
    assert 3 * len(status.message.encode()) + (status.ByteSize() + 2) // 3 * 4 <= MAX_DETAIL_BYTES


@pytest.mark.parametrize("text", ["short", "x" * 768, "é" * 384])
def test_what_fits_is_not_cut(text: str) -> None:
    assert to_status(ConsentryError(Reason.NOT_FOUND, text)).message == text
