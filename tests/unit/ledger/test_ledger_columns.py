"""The fast check accepts nothing that the strict one refuses, and all that the ledger writes."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consentry_server.core.ledger import canonical, entry
from consentry_server.core.ledger.columns import read_columns
from consentry_server.core.ledger.errors import LedgerError
from tests.unit.ledger.ledgers import ORIGIN, Ledger

REF = "sub_" + "a" * 26


@pytest.fixture(scope="module")
def entries() -> list[bytes]:
    return Ledger().grow(40).entries


def strictly(entries: list[bytes], first: int) -> bool:
    """What the fast check stands for, one by one."""
    last = ""
    for index, data in enumerate(entries, first):
        try:
            fields = entry.decode(data)
        except LedgerError:
            return False
        if (fields["index"], fields["ledger"]) != (index, ORIGIN) or fields["time"] < last:
            return False
        last = fields["time"]
    return True


def test_what_the_ledger_writes_is_accepted_and_read_rightly(entries: list[bytes]) -> None:
    columns = read_columns(entries, 0, ORIGIN)
    assert columns is not None
    people = [entry.decode_with_people(data)[1][0] for data in entries]
    assert list(zip(columns.references, columns.seqs, columns.previous, strict=True)) == people
    assert (list(columns.places), list(columns.people)) == (list(range(40)), [1] * 40)
    assert list(columns.times) == [entry.decode(data)["time"] for data in entries]
    assert read_columns(entries[7:], 7, ORIGIN) is not None
    assert read_columns([], 0, ORIGIN) is not None


def test_entries_about_nobody_and_about_several_are_read_rightly(ledger: Ledger) -> None:
    both = [{"subject_ref": "sub_" + one * 26, "subject_seq": 1, "previous_index": -1} for one in "yz"]
    ledger.append(people=both)
    fields = ledger.fields()
    del fields["people"]
    ledger.append_bytes(entry.encode(fields))
    columns = read_columns(ledger.entries, 0, ORIGIN)
    assert columns is not None
    assert (list(columns.people), list(columns.places)) == ([2, 0], [0, 0])
    twice = entry.encode(ledger.fields(index=0)).replace(b'"people":[', b'"people":[' + orjson.dumps(both[0]) + b",")
    assert read_columns([twice.replace(b'"subject_ref":"sub_b', b'"subject_ref":"sub_c')], 0, ORIGIN) is None


@settings(max_examples=600)
@given(st.data())
def test_no_change_of_bytes_is_accepted_that_the_strict_check_refuses(
    entries: list[bytes], data: st.DataObject
) -> None:
    changed = entries.copy()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 39))
        whole = changed[at]
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, min(start + 3, len(whole))))
        piece = data.draw(
            st.sampled_from(
                [
                    b"",
                    b"0",
                    b"1",
                    b"-",
                    b".0",
                    b"e1",
                    b'"',
                    b"\n",
                    b" ",
                    b"{",
                    b"]",
                    b",",
                    b"\xc3\xa9",
                    b"e\xcc\x81",
                    b"A",
                    b"a",
                    b"\\n",
                    b"true",
                    b"null",
                ]
            )
        )
        changed[at] = whole[:start] + piece + whole[stop:]
    if read_columns(changed, 0, ORIGIN) is not None:
        assert strictly(changed, 0)


VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    1.0,
    2**53,
    -(2**53),
    "",
    "x",
    "1",
    [],
    [[]],
    {},
    {"a": 1},
    {"A": 1},
    {"a": 0.5},
    "e\u0301",
    "\u00e9",
    "a\nb",
]


@settings(max_examples=600)
@given(st.data())
def test_no_change_of_fields_is_accepted_that_the_strict_check_refuses(
    entries: list[bytes], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, 39))
    fields = orjson.loads(entries[at])
    name = data.draw(st.sampled_from([*sorted(fields), "extra", "Extra"]))
    wrong = deepcopy(data.draw(st.sampled_from([*VALUES, fields.get(name)])))
    where = data.draw(st.sampled_from(["entry", "person", "person's"]))
    if where == "entry":
        fields[name] = wrong
    elif where == "person":
        fields["people"] = [wrong]
    else:
        fields["people"][0][data.draw(st.sampled_from(["subject_ref", "subject_seq", "previous_index", "more"]))] = (
            wrong
        )
    changed = [*entries[:at], orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), *entries[at + 1 :]]
    accepted = read_columns(changed, 0, ORIGIN) is not None
    assert accepted is strictly(changed, 0)


def two(first: dict[str, Any], second: dict[str, Any]) -> list[bytes]:
    ledger = Ledger().grow(1)
    one = {**entry.decode(ledger.entries[0]), **first}
    ledger.grow(2)
    other = {**entry.decode(ledger.entries[1]), **second}
    return [canonical.encode(each, max_bytes=entry.MAX_ENTRY_BYTES) for each in (one, other)]


TIME = "2026-11-23T10:00:00.000000Z"


@pytest.mark.parametrize(
    "entries",
    [
        two({"time": f"{TIME}\n{TIME}"}, {"time": ""}),
        two({"nonce": "a" * 26 + "\n" + "a" * 26}, {"nonce": ""}),
        two({"people": [{"subject_ref": f"{REF}\n{REF}", "subject_seq": 1, "previous_index": -1}]}, {}),
        two({"version": True}, {}),
        two({"index": False}, {"index": True}),
        two({"time": "2026-02-29T10:00:00.000000Z"}, {}),
        two({"time": "2026-11-23T24:00:00.000000Z"}, {}),
        two({"time": "0000-11-23T10:00:00.000000Z"}, {}),
        two({"type": ["decision"]}, {}),
        two({"actor": {}}, {}),
        two({"ledger": "consentry.test/globex"}, {}),
        two({"people": []}, {}),
        two({"people": [{"subject_ref": REF, "subject_seq": 2, "previous_index": -1}]}, {}),
        two({"people": [{"subject_ref": REF, "subject_seq": 1, "previous_index": 0}]}, {}),
        two({"people": [{"subject_ref": REF, "subject_seq": True, "previous_index": -1}]}, {}),
    ],
)
def test_what_looks_right_in_a_column_and_is_not_is_refused(entries: list[bytes]) -> None:
    assert not strictly(entries, 0)
    assert read_columns(entries, 0, ORIGIN) is None


def test_entries_that_borrow_from_each_other_are_refused() -> None:
    """Together they are canonical JSON; one by one they are not."""
    whole = Ledger().grow(3).entries
    middle = whole[1].index(b',"outcome"')
    split = [whole[0] + b"," + whole[1][:middle], whole[1][middle + 1 :], whole[2]]
    assert b",".join(split) == b",".join(whole)
    assert read_columns(split, 0, ORIGIN) is None


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize("depth", [1, 14, 15, 16, 17, 200])
@pytest.mark.parametrize("kind", ["list", "dict"])
def test_depth_is_bounded_as_it_is_one_by_one(ledger: Ledger, depth: int, kind: str) -> None:
    fields = ledger.fields(more=nested(depth))
    data = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    if kind == "dict":
        data = data.replace(b"[" * depth, b'{"a":' * depth).replace(b"0" + b"]" * depth, b"0" + b"}" * depth)
    assert (read_columns([data], 0, ORIGIN) is not None) is strictly([data], 0)


def test_a_long_entry_is_refused_as_it_is_one_by_one(ledger: Ledger) -> None:
    for length in (15_000, 17_000):
        data = orjson.dumps(ledger.fields(more="x" * length), option=orjson.OPT_SORT_KEYS)
        assert (read_columns([data], 0, ORIGIN) is not None) is strictly([data], 0) is (length == 15_000)


@given(st.integers(0, 2**32))
@example(0)
def test_random_bytes_are_refused_without_a_word(seed: int) -> None:
    chance = random.Random(seed)
    assert read_columns([chance.randbytes(chance.randrange(40)) for _ in range(3)], 0, ORIGIN) is None
