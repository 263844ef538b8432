"""Files of planned operations: every line is looked at, and what is wrong is told with its line and column."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consentry.v1 import gate_service_pb2 as pb
from consentry_server.cli_plans import COLUMNS, Plan, Told, look_through
from consentry_server.core.errors import ConsentryError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[3] / "examples" / "plans"
HEADER = "operation,purpose,category,times,subject_id,known_by,lives_in,uses_face_geometry,photo_id,recipient_id\n"
GOOD = "ENROLL,TAGGING,PHOTO,3,alice,MATCH,US-IL,yes,,\n"


def anybody(_subject_id: str) -> str:
    return ""


def read(path: Path) -> Plan:
    return look_through(path, anybody, NOW)


def problems(path: Path) -> list[tuple[int, str]]:
    return [(each.line, each.column) for each in read(path).problems or []]


def write(folder: Path, text: str | bytes, name: str = "plan.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_examples_are_right(path: Path) -> None:
    plan = read(path)
    assert plan.problems == []
    assert plan.lines >= 3


def test_every_column_is_documented() -> None:
    page = (EXAMPLES.parents[1] / "docs" / "posture.md").read_text(encoding="utf-8")
    assert [column for column in COLUMNS if f"`{column}`" not in page] == []


def test_a_line_becomes_the_operation_that_it_says(tmp_path: Path) -> None:
    plan = read(write(tmp_path, HEADER + GOOD))
    (operation,) = plan.operations(anybody, NOW)
    assert isinstance(operation, pb.PlannedOperation)
    check = operation.check
    assert (operation.correlation_id, operation.times) == ("2", 3)
    assert (check.faces[0].subject_id, list(check.faces[0].regions), list(check.regions)) == ("alice", ["US-IL"], [])
    assert check.uses_face_geometry
    assert not check.HasField("identifies")  # unknown, which is not no


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    row = {
        "operation": "enroll",
        "purpose": "TAGGING",
        "category": "PHOTO",
        "times": 3,
        "uses_face_geometry": True,
        "faces": [{"subject_id": "alice", "known_by": "MATCH", "lives_in": ["US-IL"]}],
    }
    (one,) = read(write(tmp_path, json.dumps(row), "a.jsonl")).operations(anybody, NOW)
    (other,) = read(write(tmp_path, HEADER + GOOD)).operations(anybody, NOW)
    assert isinstance(one, pb.PlannedOperation)
    assert isinstance(other, pb.PlannedOperation)
    assert (one.check, one.times) == (other.check, other.times)


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("ENROL,TAGGING,PHOTO,,,,,,,", "operation"),
        (",TAGGING,PHOTO,,,,,,,", "operation"),
        ("ENROLL,TAGGING,PHOTO,0,,,,,,", "times"),
        ("ENROLL,TAGGING,PHOTO,-1,,,,,,", "times"),
        ("ENROLL,TAGGING,PHOTO,1.5,,,,,,", "times"),
        ("ENROLL,TAGGING,PHOTO,9999999999999,,,,,,", "times"),
        ("ENROLL,TAGGING,PHOTO,,,GUESS,,,,", "known_by"),
        ("ENROLL,TAGGING,PHOTO,,,,Illinois,,,", "lives_in"),
        ("ENROLL,TAGGING,PHOTO,,,,,maybe,,", "uses_face_geometry"),
        ("PROCESS,TAGGING,EMPLOYMENT_HISTORY,,,,US-IL,,,", "lives_in"),
        ("DISCLOSE,TAGGING,FACE_TEMPLATE,,,,,,,", "recipient_id"),
        ("DISCLOSE,TAGGING,FACE_TEMPLATE,,,,,,,NOT A SLUG", "recipient_id"),
        ("HASH_IMAGE,TAGGING,EMPLOYMENT_HISTORY,,,,,,,", "category"),
        ("ENROLL,TAGGING,PHOTO,,,,,,!!,", "photo.photo_id"),
        (f"ENROLL,TAGGING,PHOTO,,{'x' * 300},,,,,", "faces"),
        ("ENROLL,TAGGING,PHOTO", ""),
        ('ENROLL,"TAGG"ING,PHOTO,,,,,,,', ""),
    ],
)
def test_what_is_wrong_is_told_with_line_and_column(tmp_path: Path, line: str, column: str) -> None:
    assert problems(write(tmp_path, f"{HEADER}{GOOD}\n{line}\n{GOOD}"))[0] == (4, column)


def test_a_file_that_cannot_be_read_at_all_is_refused(tmp_path: Path) -> None:
    for path in (
        write(tmp_path, "operation,purpose\n", "short.csv"),
        write(tmp_path, "operation,purpose,category,shoe_size\n", "unknown.csv"),
        write(tmp_path, "operation,purpose,category,category\n", "twice.csv"),
        write(tmp_path, b"\xff\xfe\x00", "bytes.csv"),
        write(tmp_path, "", "empty.csv"),
        write(tmp_path, GOOD, "plan.txt"),
        tmp_path / "missing.csv",
    ):
        with pytest.raises(ConsentryError) as raised:
            read(path)
        assert path.name in raised.value.message


def test_a_person_who_cannot_be_looked_up_is_told(tmp_path: Path) -> None:
    plan = look_through(write(tmp_path, HEADER + GOOD), lambda _: "is unknown here", NOW)
    assert plan.problems == [Told(2, "subject_id", "is unknown here")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: (HEADER + t).encode())))
def test_no_file_breaks_the_reader(tmp_path: Path, data: bytes) -> None:
    for name in ("a.csv", "a.jsonl"):
        try:
            plan = read(write(tmp_path, data, name))
        except ConsentryError:
            continue
        assert plan.wrong >= len(plan.problems or [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(row=st.dictionaries(st.sampled_from([*COLUMNS, "faces"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(COLUMNS), inner, max_size=3),
    max_leaves=5,
)))  # fmt: skip
def test_no_object_breaks_the_reader(tmp_path: Path, row: dict[str, object]) -> None:
    base = {"operation": "ENROLL", "purpose": "TAGGING", "category": "PHOTO"}
    plan = read(write(tmp_path, json.dumps(base | row), "a.jsonl"))
    assert plan.lines == 1
