"""Files of planned operations, for ``consentry simulate``: CSV or JSON lines, read strictly.

Every line is looked at before anything is decided, and what is wrong is told with its line, its column and what would
be right. Columns are those of :data:`COLUMNS`; what is left empty is unknown, which is not no.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from consentry.v1 import gate_service_pb2 as pb
from consentry.v1 import photo_pb2
from consentry_server.adapters.grpc import posture, read_gate, words
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import REGIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from consentry_server.adapters.grpc.words import Table

MAX_LINE_CHARACTERS: Final = 64 * 1024
MAX_LINES: Final = 5_000_000
MAX_TOLD: Final = 1_000
"""Most problems that are remembered; more are counted."""

_YES: Final = {"yes": True, "true": True, "no": False, "false": False}
_UNKNOWN: Final = "unknown"


class Format(StrEnum):
    """How a file is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


class Problem(Exception):  # noqa: N818 - it is told, and no error of the command
    """What is wrong with one value.

    Args:
        column: Its column, or empty.
        text: What is wrong, and what would be right.
    """

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column
        self.text = text


@dataclass(frozen=True, slots=True)
class Told:
    """One problem of a file.

    Args:
        line: Counted from 1; of a CSV file the first line holds the columns.
        column: The column, or empty.
        text: What is wrong, and what would be right.
    """

    line: int
    column: str
    text: str


_WORDS: Final[dict[str, Table[Any]]] = {
    "operation": words.OPERATION,
    "purpose": words.PURPOSE,
    "category": words.DATA_CATEGORY,
    "disclosure_basis": words.DISCLOSURE_BASIS,
    "consideration": words.CONSIDERATION,
}
_SOURCE: Final[dict[str, tuple[str, Table[Any]]]] = {
    "visibility": ("visibility", words.VISIBILITY),
    "published_by": ("published_by", words.PUBLISHER),
    "source_kind": ("kind", words.SOURCE_KIND),
}
_PERSON: Final[dict[str, Table[Any]]] = {"known_by": words.KNOWN_BY, "age_band": words.AGE_BAND}
_MARKS: Final = ("uses_face_geometry", "identifies", "stored", "linked_identity")
_TEXTS: Final = (
    "recipient_id",
    "disclosure_evidence",
    "algorithm_id",
    "algorithm_version",
    "collection_method_id",
)
_REQUIRED: Final = ("operation", "purpose", "category")
_FACE: Final = ("subject_id", "known_by", "lives_in", "age_band")
COLUMNS: Final = (
    *_REQUIRED,
    "times",
    *_FACE,
    "regions",
    "photo_id",
    *_SOURCE,
    "capture_time",
    "disclosure_basis",
    "consideration",
    *_MARKS,
    *_TEXTS,
)
"""The columns of a CSV file, in any order; JSON lines have ``faces`` beside them, a list of objects."""


@dataclass(slots=True)
class Plan:
    """A file of planned operations, looked at as a whole.

    Args:
        path: The file.
        format: How it is written.
        lines: How many operations it has.
        problems: What is wrong, the first ones.
        wrong: How many problems there are.
    """

    path: Path
    format: Format
    lines: int = 0
    problems: list[Told] | None = None
    wrong: int = 0

    def operations(self, check_person: Callable[[str], str], now: datetime) -> Iterator[pb.PlannedOperation | Told]:
        """Read the operations one by one, each with its line as its id; what is wrong instead of an operation.

        Args:
            check_person: Says what is wrong with an id of a person, or nothing.
            now: The time, UTC.
        """
        for line, row in _rows(self.path, self.format):
            try:
                operation = _operation(_checked(row), line, check_person)
                read_gate.rehearsed(operation.check, now)
            except Problem as problem:
                yield Told(line, problem.column, problem.text)
            except ConsentryError as error:
                yield Told(line, error.field.partition("[")[0], error.message)
            else:
                yield operation


def look_through(path: Path, check_person: Callable[[str], str], now: datetime) -> Plan:
    """Look at every line of a file.

    Args:
        path: The file.
        check_person: Says what is wrong with an id of a person, or nothing.
        now: The time, UTC.

    Raises:
        ConsentryError: ``FIELD_INVALID``: it cannot be read at all.
    """
    plan = Plan(path, _format(path), problems=[])
    told: list[Told] = []
    for found in plan.operations(check_person, now):
        plan.lines += 1
        if plan.lines > MAX_LINES:
            raise _unusable(path, f"has more than {MAX_LINES:,} operations: split it, or use the column times")
        if isinstance(found, Told):
            plan.wrong += 1
            told += [found] if len(told) < MAX_TOLD else []
    plan.problems = told
    return plan


def _format(path: Path) -> Format:
    if not path.is_file():
        raise _unusable(path, "is no file")
    if path.suffix.lower() == ".csv":
        return Format.CSV
    if path.suffix.lower() in {".jsonl", ".ndjson"}:
        return Format.JSON_LINES
    raise _unusable(path, "must end in .csv, or in .jsonl for JSON lines")


def _rows(path: Path, form: Format) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    """The lines of a file as objects, or what is wrong with them."""
    try:
        with path.open(encoding="utf-8-sig", newline="" if form is Format.CSV else None) as file:
            yield from _csv_rows(path, file) if form is Format.CSV else _json_rows(file)
    except UnicodeDecodeError as error:
        raise _unusable(path, f"is not UTF-8: {error.reason} at byte {error.start} of a part of it") from error
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error


def _csv_rows(path: Path, file: Any) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        unknown = [name for name in header if name not in COLUMNS]
        missing = [name for name in _REQUIRED if name not in header]
        if unknown or missing or len(set(header)) != len(header):
            problem = (
                f"has unknown columns: {', '.join(map(repr, unknown))}; known are {', '.join(COLUMNS)}"
                if unknown
                else f"lacks the columns {', '.join(missing)}"
                if missing
                else "has a column twice"
            )
            raise _unusable(path, f"{problem} (line 1)")
        for row in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                yield line, Problem("", f"has {len(row)} values for {len(header)} columns")
                continue
            yield line, {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    except csv.Error as error:
        yield reader.line_num, Problem("", f"is no CSV: {error}; what follows was not looked at")


def _json_rows(file: Any) -> Iterator[tuple[int, Mapping[str, Any] | Problem]]:
    line = 0
    while text := file.readline(MAX_LINE_CHARACTERS + 1):
        line += 1
        if len(text) > MAX_LINE_CHARACTERS:
            yield line, Problem("", f"is longer than {MAX_LINE_CHARACTERS} characters; what follows was not looked at")
            return
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            yield line, Problem("", f"is no JSON: {getattr(error, 'msg', 'too deep')}")
            continue
        if not isinstance(row, dict):
            yield line, Problem("", "must be a JSON object")
            continue
        yield line, {name: value for name, value in row.items() if value not in (None, "", [])}


def _checked(row: Mapping[str, Any] | Problem) -> Mapping[str, Any]:
    if isinstance(row, Problem):
        raise row
    for name in row:
        if name not in COLUMNS and name != "faces":
            raise Problem(name, f"is no column; known are {', '.join((*COLUMNS, 'faces'))}")
    for name in _REQUIRED:
        if name not in row:
            raise Problem(name, "is required")
    return row


def _operation(row: Mapping[str, Any], line: int, check_person: Callable[[str], str]) -> pb.PlannedOperation:
    check = pb.CheckRequest()
    for name, table in _WORDS.items():
        if name in row:
            setattr(check, name, _word(row[name], name, table))
    for name in _TEXTS:
        if name in row:
            setattr(check, name, _text(row[name], name))
    for name in _MARKS:
        mark = _mark(row[name], name) if name in row else None
        if mark is not None:
            setattr(check, name, mark)
    for name, (field, table) in _SOURCE.items():
        if name in row:
            setattr(check.source, field, _word(row[name], name, table))
    if "capture_time" in row:
        check.source.capture_time.CopyFrom(_time(row["capture_time"], "capture_time"))
    if "photo_id" in row:
        check.photo.photo_id = _text(row["photo_id"], "photo_id")
    check.regions.extend(_regions(row.get("regions", ()), "regions"))
    _people(check, row, check_person)
    return pb.PlannedOperation(correlation_id=str(line), check=check, times=_times(row.get("times", 1)))


def _people(check: pb.CheckRequest, row: Mapping[str, Any], check_person: Callable[[str], str]) -> None:
    """The faces; for a category without faces the one person whose data it is."""
    single = {name: row[name] for name in _FACE if name in row}
    faces = row.get("faces", [single] if single else [])
    if "faces" in row and single:
        raise Problem("faces", f"does not go with {', '.join(single)}: say it of each face")
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise Problem("faces", "must be a list of objects")
    has_faces = words.DATA_CATEGORY.words[check.category] in read_gate.FACES_POSSIBLE
    for place, face in enumerate(faces):
        at = f"faces[{place}]." if "faces" in row else ""
        for name in face:
            if name not in _FACE:
                raise Problem(f"{at}{name}", f"is nothing to say of a face; {', '.join(_FACE)} are")
        subject_id = _text(face["subject_id"], f"{at}subject_id") if "subject_id" in face else ""
        wrong = check_person(subject_id) if subject_id else ""
        if wrong:
            raise Problem(f"{at}subject_id", wrong)
        if not has_faces:
            rest = [name for name in face if name != "subject_id"]
            if rest or len(faces) > 1:
                raise Problem(f"{at}{rest[0]}" if rest else "faces", "goes with categories that have faces only")
            check.subject_id = subject_id
            continue
        made = photo_pb2.FaceInput(subject_id=subject_id, regions=_regions(face.get("lives_in", ()), f"{at}lives_in"))
        for name, table in _PERSON.items():
            if name in face:
                setattr(made, name, _word(face[name], f"{at}{name}", table))
        check.faces.append(made)


def _word(value: Any, column: str, table: Table[Any]) -> int:
    name = value.strip().upper() if isinstance(value, str) else value
    for number, word in table.words.items():
        if word == name:
            return number
    raise Problem(column, f"{value!r} is no {table.name}; one of {', '.join(sorted(map(str, table.numbers)))}")


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise Problem(column, f"{value!r} is no text")
    return value


def _mark(value: Any, column: str) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word == _UNKNOWN:
        return None
    if word not in _YES:
        raise Problem(column, f"{value!r} must be yes, no or unknown (or left empty)")
    return _YES[word]


def _regions(value: Any, column: str) -> list[str]:
    parts = value.replace(";", " ").replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise Problem(column, f"{value!r} must be a list of regions")
    for region in parts:
        if not isinstance(region, str) or region not in REGIONS:
            raise Problem(column, f"{region!r} is no region: use codes such as US-IL, DE or EU")
    return list(parts)


def _times(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= posture.MAX_TIMES:
        raise Problem("times", f"{value!r} must be a whole number from 1 to {posture.MAX_TIMES}")
    return number


def _time(value: Any, column: str) -> Timestamp:
    written = Timestamp()
    try:
        written.FromJsonString(_text(value, column))
    except ValueError as error:
        raise Problem(column, f"{value!r} must be a time such as 2026-11-23T10:00:00Z") from error
    return written


def _unusable(path: Path, problem: str) -> ConsentryError:
    return ConsentryError(Reason.FIELD_INVALID, f"{path} {problem}", field="file")
