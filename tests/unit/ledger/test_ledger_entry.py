"""Entry bytes: RFC 8785 within the profile, everything else refused, on writing and on reading."""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import Reason
from consentry_server.core.ledger import canonical, entry
from consentry_server.core.ledger.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True)
TEXTS = st.text(max_size=20).map(lambda text: unicodedata.normalize("NFC", text))
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


def good(**more: Any) -> dict[str, Any]:
    return {
        "type": "release.recorded",
        "version": 1,
        "ledger": "consentry.test/acme",
        "index": 7,
        "time": "2026-11-23T10:00:00.000000Z",
        "actor": "collector/web",
        "nonce": entry.format_nonce(bytes(range(26))),
        "people": [{"subject_ref": "sub_" + "a" * 26, "subject_seq": 2, "previous_index": 3}],
        **more,
    }


@settings(max_examples=300)
@given(OBJECTS)
def test_bytes_are_those_of_the_reference_implementation_and_read_back(value: dict[str, Any]) -> None:
    data = canonical.encode(value, max_bytes=1 << 20)
    assert data == rfc8785.dumps(value)
    assert canonical.decode(data, max_bytes=1 << 20) == value


def test_every_control_and_special_character_is_escaped_as_rfc_8785_says() -> None:
    text = "".join(map(chr, range(0x250))) + "\u2028\u2029\ufeff\uffff\U0001f602\U0010ffff"
    assert canonical.encode([text], max_bytes=1 << 20) == rfc8785.dumps([text])


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_public_jcs_vectors_match_or_are_outside_the_profile(vectors: Path, name: str) -> None:
    value = json.loads((vectors / "jcs/testdata/input" / f"{name}.json").read_bytes())
    output = (vectors / "jcs/testdata/output" / f"{name}.json").read_bytes()
    assert bytes.fromhex((vectors / "jcs/testdata/outhex" / f"{name}.txt").read_text()) == output
    with pytest.raises(LedgerError) as refused:  # floats, or keys such as "10", "", "péché"
        canonical.encode(value, max_bytes=1 << 20)
    assert refused.value.reason is Reason.FIELD_INVALID
    with pytest.raises(LedgerError) as damaged:
        canonical.decode(output, max_bytes=1 << 20)
    assert damaged.value.reason is Reason.DATA_DAMAGED


def test_the_parts_of_the_public_jcs_vectors_inside_the_profile_match_to_the_byte(vectors: Path) -> None:
    value = json.loads((vectors / "jcs/testdata/input/values.json").read_bytes())
    output = (vectors / "jcs/testdata/output/values.json").read_bytes()
    del value["numbers"]
    numbers = output.index(b',"numbers"'), output.index(b',"string"')
    assert canonical.encode(value, max_bytes=1000) == output[: numbers[0]] + output[numbers[1] :]


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        {"a": float("nan")},
        {"a": [{"b": 0.5}]},
        {"a": 2**53},
        {"a": -(2**53)},
        {"a": 10**30},
        {"a": b"bytes"},
        {"a": datetime(2026, 1, 1, tzinfo=UTC)},
        {"a": {1, 2}},
        {"a": "\ud800"},
        {"a": "e\u0301"},
        {"a": {"b": ["x", "A\u030a"]}},
        {"A": 1},
        {"a-b": 1},
        {"": 1},
        {"1a": 1},
        {"é": 1},
        {"a\n": 1},
        {"a" * 65: 1},
        {1: 1},
        {None: 1},
        {"a": {"b": {"C": 1}}},
        {"a": object()},
        {"a": "x" * 20_000},
        "text",
        7,
        None,
    ],
)
def test_values_outside_the_profile_are_refused(value: Any) -> None:
    with pytest.raises(LedgerError) as refused:
        canonical.encode(value, max_bytes=16_384)
    assert refused.value.reason in {Reason.FIELD_INVALID, Reason.TOO_LARGE}


def test_depth_is_bounded_and_a_circle_is_refused() -> None:
    def nested(depth: int) -> list[Any]:
        return [nested(depth - 1)] if depth > 1 else []

    assert canonical.encode(nested(16), max_bytes=100)
    with pytest.raises(LedgerError):
        canonical.encode(nested(17), max_bytes=100)
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(LedgerError):
        canonical.encode(circle, max_bytes=100)
    with pytest.raises(LedgerError):
        canonical.decode(b"[" * 8000 + b"]" * 8000, max_bytes=16_384)


def test_a_letter_that_ends_an_escape_does_not_make_a_good_text_look_unnormalised() -> None:
    value = {"a": "\n\u0303 x"}  # the escape ends in "n", which the tilde would join
    assert canonical.decode(canonical.encode(value, max_bytes=100), max_bytes=100) == value


def test_the_field_that_is_not_in_nfc_is_named() -> None:
    with pytest.raises(LedgerError) as refused:
        canonical.encode({"faces": [{"note": "e\u0301"}]}, max_bytes=100)
    assert refused.value.field == "faces[0].note"


def test_a_str_enum_is_its_value() -> None:
    class Word(StrEnum):
        DENY = "DENY"

    assert canonical.encode({"outcome": Word.DENY}, max_bytes=100) == b'{"outcome":"DENY"}'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a":1,"a":1}', "'a' stands twice"),
        (b'{"a":{"b":1,"b":2}}', "'b' stands twice"),
        (b'{"b":1,"a":2}', "canonical"),
        (b'{"a": 1}', "canonical"),
        (b'{"a":1}\n', "canonical"),
        (b'{"a":-0}', "canonical"),
        (b'{"a":"\\u0041"}', "canonical"),
        (b'{"a":"\\/"}', "canonical"),
        (b'{"a":"\\u000A"}', "canonical"),
        (b'{"a":1.0}', "profile"),
        (b'{"a":1e3}', "profile"),
        (b'{"a":9007199254740992}', "profile"),
        (b'{"a":123456789012345678901234567890}', "profile"),
        (b'{"a":"e\xcc\x81"}', "normalisation"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":1', "not JSON"),
        (b"", "not JSON"),
        (b"1", "neither"),
        (b"null", "neither"),
        (b'{"a":"' + b"x" * 16_384 + b'"}', "more than"),
    ],
)
def test_any_other_bytes_are_refused_on_reading(data: bytes, said: str) -> None:
    with pytest.raises(LedgerError, match=said) as refused:
        canonical.decode(data, max_bytes=16_384)
    assert refused.value.reason is Reason.DATA_DAMAGED


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,ab01.-eE\\ un', max_size=40).map(str.encode))
def test_whatever_is_read_is_what_would_be_written(data: bytes) -> None:
    with suppress(LedgerError):
        value = canonical.decode(data, max_bytes=100)
        assert rfc8785.dumps(value) == data


def test_an_entry_reads_back_and_gives_its_header() -> None:
    data = entry.encode(good())
    assert entry.decode(data) == good()
    head = entry.header(good())
    assert (head.type, head.index, head.people[0].subject_seq) == ("release.recorded", 7, 2)
    without = good()
    del without["people"]
    assert entry.header(without).people == ()


@pytest.mark.parametrize("name", ["type", "version", "ledger", "index", "time", "actor", "nonce"])
def test_a_common_field_that_is_missing_is_named(name: str) -> None:
    fields = good()
    del fields[name]
    with pytest.raises(LedgerError) as refused:
        entry.encode(fields)
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, name)
    with pytest.raises(LedgerError) as damaged:
        entry.decode(canonical.encode(fields, max_bytes=1000))
    assert (damaged.value.reason, damaged.value.field) == (Reason.DATA_DAMAGED, name)


ONE = {"subject_ref": "sub_" + "a" * 26, "subject_seq": 2, "previous_index": 3}


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("type", {"type": "Release"}),
        ("type", {"type": ""}),
        ("type", {"type": "a..b"}),
        ("type", {"type": ["a"]}),
        ("type", {"type": "a" * 65}),
        ("version", {"version": 0}),
        ("version", {"version": True}),
        ("version", {"version": "1"}),
        ("ledger", {"ledger": "has space"}),
        ("ledger", {"ledger": "has+plus"}),
        ("ledger", {"ledger": {}}),
        ("index", {"index": -1}),
        ("index", {"index": 2**53}),
        ("time", {"time": "2026-11-23T10:00:00Z"}),
        ("time", {"time": "2026-11-23T10:00:00.000000+00:00"}),
        ("time", {"time": "2026-02-30T10:00:00.000000Z"}),
        ("time", {"time": "2026-11-23T24:00:01.000000Z"}),
        ("time", {"time": "\u0662026-11-23T10:00:00.000000Z"}),
        ("time", {"time": 7}),
        ("actor", {"actor": ""}),
        ("actor", {"actor": 1}),
        ("nonce", {"nonce": "a" * 25}),
        ("nonce", {"nonce": "a" * 25 + "1"}),
        ("people", {"people": []}),
        ("people", {"people": None}),
        ("people", {"people": "sub_a"}),
        ("people", {"people": [ONE, ONE]}),
        ("people[0]", {"people": [{}]}),
        ("people[0]", {"people": ["sub"]}),
        ("people[0]", {"people": [7]}),
        ("people[0].subject_ref", {"people": [{**ONE, "subject_ref": "alice"}]}),
        ("people[0].subject_ref", {"people": [{**ONE, "subject_ref": 1}]}),
        ("people[0].previous_index", {"people": [{**ONE, "previous_index": 7}]}),
        ("people[0].previous_index", {"people": [{**ONE, "previous_index": -2}]}),
        ("people[0].previous_index", {"people": [{**ONE, "previous_index": True}]}),
        ("people[0].subject_seq", {"people": [{**ONE, "subject_seq": 1}]}),
        ("people[0].subject_seq", {"people": [{**ONE, "previous_index": -1}]}),
        ("people[0].subject_seq", {"people": [{**ONE, "subject_seq": 0}]}),
    ],
)
def test_a_common_field_that_is_wrong_is_named(field: str, more: dict[str, Any]) -> None:
    with pytest.raises(LedgerError) as refused:
        entry.encode(good(**more))
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, field)


def test_an_entry_has_at_most_16_kib() -> None:
    room = entry.MAX_ENTRY_BYTES - len(entry.encode(good(text="")))
    assert len(entry.encode(good(text="x" * room))) == entry.MAX_ENTRY_BYTES
    with pytest.raises(LedgerError, match="more than"):
        entry.encode(good(text="x" * (room + 1)))


def test_a_list_is_no_entry() -> None:
    with pytest.raises(LedgerError, match="object"):
        entry.decode(b"[]")


def test_times_are_utc_with_microseconds_and_read_back() -> None:
    chicago = datetime(2026, 11, 23, 4, 0, 0, 5, tzinfo=timezone(timedelta(hours=-6)))
    assert entry.format_time(chicago) == "2026-11-23T10:00:00.000005Z"
    assert entry.parse_time("2026-11-23T10:00:00.000005Z") == chicago
    assert entry.parse_time("2026-11-23T10:00:00.000005Z").tzinfo is UTC
    with pytest.raises(LedgerError, match="time zone"):
        entry.format_time(datetime(2026, 1, 1))  # noqa: DTZ001 - a naive time is what is refused
    with pytest.raises(LedgerError) as damaged:
        entry.parse_time("yesterday")
    assert damaged.value.reason is Reason.DATA_DAMAGED


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_written_times_sort_as_the_times_do(one: datetime, other: datetime) -> None:
    assert entry.parse_time(entry.format_time(one)) == one
    assert (entry.format_time(one) < entry.format_time(other)) == (one < other)


def test_a_nonce_is_made_of_128_bits() -> None:
    assert entry.format_nonce(b"\xff" * 26) == "7" * 26
    with pytest.raises(LedgerError):
        entry.format_nonce(b"short")
