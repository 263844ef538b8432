"""The decided cases: what courts and agencies said of named facts, run against every pack at once.

A *casebook* is a TOML file of rows. A row is one decision; its cases are the questions that it answers, written as
the cases inside a pack are (see ``cases``), and four things more: ``like`` takes over another case of the row and
says what differs; ``others`` are further faces of the same photo, each with an answer of its own; ``day`` asks so
many days after the moment at which everything was recorded; ``floor`` is what the cited authority supports beyond
the answer that is shipped, with the recorded determination that alone leads there.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.cases import read_case
from consentry_server.core.law.clock import add_period
from consentry_server.core.law.decide import decide
from consentry_server.core.law.model import ObligationKind
from consentry_server.core.law.reading import Table
from consentry_server.core.law.rules import midnight
from consentry_server.core.vocabulary import REGIONS, Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from consentry_server.core.law.cases import Case
    from consentry_server.core.law.model import Decision
    from consentry_server.core.law.pack import Pack

_SIGNED: Final = timedelta(days=-1)
"""When the person of a case signed: see ``cases``."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a row.

    Args:
        id: Its name inside the row.
        title: One plain sentence.
        pack_id: The pack whose law it is about.
        regions: It is asked in each of them.
        faces: One case for each face, the first with the tenant's facts.
        day: Days after the moment at which everything was recorded.
        destroy_by: The period after the signing that the date of destruction has to be; None where none is asked.
        floor: What the cited authority supports, and the facts that lead there.
    """

    id: str
    title: str
    pack_id: str
    regions: tuple[str, ...]
    faces: tuple[Case, ...]
    day: int
    destroy_by: tuple[int, int] | None
    floor: Question | None

    @property
    def expected(self) -> tuple[Outcome, ...]:
        """The outcome of each face."""
        return tuple(face.expected for face in self.faces)


@dataclass(frozen=True, slots=True)
class Row:
    """One decision of a court or an agency, or one story.

    Args:
        id: Its number.
        name: How it is called.
        citation: Court, number and date.
        grade: How far the text was confirmed against its source.
        holding: What was held, in one or two plain sentences.
        questions: What is asked of the packs.
    """

    id: str
    name: str
    citation: str
    grade: Grade
    holding: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Casebook:
    """One file of rows.

    Args:
        title: What the rows are.
        evaluated_as_of: The day the rows were last looked at; they are asked at noon of it.
        rows: In the order of the file.
    """

    title: str
    evaluated_as_of: date
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one question in one region.

    Args:
        row: The row.
        question: The question.
        region: Where the person lives.
        got: The outcome of each face.
        floor_got: The same with the facts of the floor; empty where there is none.
        missing: What should have been said and was not: codes of reasons, or a date.
    """

    row: Row
    question: Question
    region: str
    got: tuple[Outcome, ...]
    floor_got: tuple[Outcome, ...]
    missing: tuple[str, ...]

    @property
    def floor_expected(self) -> tuple[Outcome, ...]:
        """What the cited authority supports; empty where it is what is shipped."""
        return () if self.question.floor is None else self.question.floor.expected

    @property
    def ok(self) -> bool:
        """Whether everything came out as written."""
        return self.got == self.question.expected and self.floor_got == self.floor_expected and not self.missing


def load_casebook(data: bytes, *, name: str) -> Casebook:
    """Read one casebook strictly.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Raises:
        ConsentryError: ``PACK_INVALID``; the message names file, row and key.
    """
    try:
        file = Table(tomllib.loads(data.decode("utf-8")), file=name, where="file")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConsentryError(Reason.PACK_INVALID, f"{name}: file: not readable as TOML: {error}") from error
    head = file.table("book", required=True)
    head.where = "book"
    day = head.day("evaluated_as_of")
    if day is None:  # a required day never is
        head.fail("evaluated_as_of", "missing")
    book = Casebook(head.text("title"), day, tuple(_row(table) for table in file.tables("row", required=True)))
    head.done()
    file.done()
    if len({row.id for row in book.rows}) != len(book.rows):
        file.fail("row", "the same row id twice")
    return book


def run_casebook(book: Casebook, packs: Sequence[Pack]) -> tuple[Finding, ...]:
    """Ask every question of every row, in each of its regions.

    Args:
        book: The rows.
        packs: The packs that are applied, all at once.
    """
    noon = midnight(book.evaluated_as_of) + timedelta(hours=12)
    return tuple(
        _find(row, question, region, packs, noon)
        for row in book.rows
        for question in row.questions
        for region in question.regions
    )


def _find(row: Row, question: Question, region: str, packs: Sequence[Pack], noon: datetime) -> Finding:
    decision = _decide(question, region, packs, noon)
    said = {said for reason in decision.reasons for said in (reason.code, reason.rule_id)}
    missing = [code for face in question.faces for code in face.codes if code not in said]
    if question.destroy_by is not None:
        wanted = add_period(noon + _SIGNED, *question.destroy_by)
        dates = {o.due for face in decision.faces for o in face.obligations if o.kind is ObligationKind.DESTROY_BY}
        missing += [] if dates == {wanted} else [f"destroy by {wanted:%Y-%m-%d}"]
    floor = question.floor
    return Finding(
        row=row,
        question=question,
        region=region,
        got=tuple(face.outcome for face in decision.faces),
        floor_got=() if floor is None else tuple(f.outcome for f in _decide(floor, region, packs, noon).faces),
        missing=tuple(missing),
    )


def _decide(question: Question, region: str, packs: Sequence[Pack], noon: datetime) -> Decision:
    """The faces are different people, and the first of them is whom a determination may name."""
    first, *others = question.faces
    face, tenant = first.facts(noon, region)
    faces = [face]
    for number, other in enumerate(others, 2):
        face, _ = other.facts(noon, region)
        subject = face.subject
        faces.append(
            face if subject is None else replace(face, subject=replace(subject, subject_ref=f"person-{number}"))
        )
    now = noon + timedelta(days=question.day)
    if first.alone:
        packs = [pack for pack in packs if pack.id == question.pack_id]
    return decide(first.request, faces, tenant, packs, now=now, unknown_regions=frozenset({region}))


def _row(table: Table) -> Row:
    name, citation = table.text("name"), table.text("citation")
    shared = {"citation": f"{name}, {citation}"}
    pack_id, regions = table.text("pack"), table.texts("regions")
    row_id, grade, holding = table.text("id"), table.word("grade", Grade), table.text("holding")
    known: dict[str, dict[str, Any]] = {}
    questions: list[Question] = []
    for part in table.tables("case", required=True):
        part.where = f"row {row_id}, {part.where}"
        raw = _raw(part)
        like = raw.pop("like", None)
        if like is not None and like not in known:
            part.fail("like", f"{like!r} is no earlier case of this row")
        facts = {} if like is None else {key: each for key, each in known[like].items() if key not in _ANSWERS}
        raw = {**shared, **_merged(facts, raw)}
        question = _question(raw, part, pack_id, regions)
        if question.id in known:
            part.fail("id", "the same case id twice")
        known[question.id] = raw
        questions.append(question)
    table.done()
    return Row(row_id, name, citation, grade, holding, tuple(questions))


def _question(raw: Mapping[str, Any], part: Table, pack_id: str, regions: tuple[str, ...]) -> Question:
    table = Table(raw, file=part.file, where=part.where)
    others = [_raw(other) for other in table.tables("others")]
    floor = _raw(table.table("floor"))
    destroy_by = table.period("destroy_by") if "destroy_by" in table else None
    day = raw.get("day", 0)
    if isinstance(day, bool) or not isinstance(day, int):
        table.fail("day", "a whole number of days is required")
    pack_id = table.text("pack") if "pack" in table else pack_id
    regions = table.texts("regions") if "regions" in table else regions
    if set(regions) - REGIONS:
        table.fail("regions", f"unknown: {', '.join(sorted(set(regions) - REGIONS))}")
    own = {key: value for key, value in raw.items() if key not in _OWN_KEYS}
    other = {key: value for key, value in own.items() if key not in {"expect", "codes"}}
    faces = tuple(
        read_case(Table(each, file=part.file, where=part.where))
        for each in (own, *(_merged(other, changes) for changes in others))
    )
    return Question(
        id=faces[0].id,
        title=faces[0].title,
        pack_id=pack_id,
        regions=regions,
        faces=faces,
        day=day,
        destroy_by=destroy_by,
        floor=_question(_merged(other | {"day": day}, floor), part, pack_id, regions) if floor else None,
    )


_OWN_KEYS: Final = frozenset({"others", "floor", "day", "destroy_by", "pack", "regions"})
"""The keys of a question that the cases inside packs do not have."""

_ANSWERS: Final = frozenset({"id", "title", "expect", "codes", "others", "floor", "day", "destroy_by"})
"""What is not taken over with ``like``: the facts are, the question and its answer are not."""


def _raw(table: Table) -> dict[str, Any]:
    return {key: table.take(key) for key in table}


def _merged(known: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What is changed replaces what is known; inside a table only the keys that are named."""
    both = {
        key: {**known[key], **value} if isinstance(value, dict) and isinstance(known.get(key), dict) else value
        for key, value in changes.items()
    }
    return {**known, **both}
