"""Laws that differ in little but their citation, as one table: a row for each, and one set of parts for all.

A pack with ``[[jurisdiction]]`` rows names no regions of its own. Each row is compiled to a *sheet*: a pack by itself,
for one region and one span of time, of those parts that are meant for the row's model. Sheets never overlap.

``[[jurisdiction]]`` has ``region``, ``model`` (a word of the pack's own, which its parts refer to), ``citation``,
``effective_from``, ``effective_to``?, ``grade``? and ``source``?. A scope row, rule, exemption or obligation of such a
pack may name the ``models`` it is meant for; none means every one. In its citation ``{law}`` stands for the row's, and
its id is preceded by the region: ``OPT-IN-CONSENT`` is ``US-VA-OPT-IN-CONSENT`` in Virginia.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.law.rules import EVERY_RULE
from consentry_server.core.vocabulary import REGIONS, Grade

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from consentry_server.core.law.reading import Table

LAW: Final = "{law}"
"""Stands for the row's citation in the citation of a part."""

_MODEL = re.compile(r"[a-z][a-z-]{0,31}\Z")


class Jurisdiction(NamedTuple):
    """One row of the table.

    Args:
        region: Where the law applies.
        model: Which of the pack's parts are meant.
        citation: The law.
        effective_from: First day in force.
        effective_to: First day no longer in force, or None.
        grade: How far the law's text was confirmed; None for the pack's.
        source: Where it was read; empty for the pack's.
    """

    region: str
    model: str
    citation: str
    effective_from: date
    effective_to: date | None
    grade: Grade | None
    source: str


def read_jurisdictions(file: Table, first_day: date) -> tuple[Jurisdiction, ...]:
    """The rows of a pack's table, in the file's order; none where it has no table.

    Args:
        file: The pack file.
        first_day: The pack's first day in force.

    Raises:
        ConsentryError: ``PACK_INVALID``: a row is not understood, or two rows of one region overlap.
    """
    rows: list[Jurisdiction] = []
    for table in file.tables("jurisdiction"):
        row = _read(table, first_day)
        for other in rows:
            if other.region == row.region and _overlap(other, row):
                table.fail("effective_from", f"two rows of {row.region} are in force on the same day")
        rows.append(row)
    return tuple(rows)


def _read(table: Table, first_day: date) -> Jurisdiction:
    region, model = table.text("region"), table.text("model")
    table.where = f"jurisdiction {region}"
    if region not in REGIONS:
        table.fail("region", f"{region!r} is no region")
    if not _MODEL.match(model):
        table.fail("model", f"{model!r} is no model such as opt-in")
    starts, ends = table.day("effective_from"), table.day("effective_to", required=False)
    if starts is None or starts < first_day:  # a required day never is None
        table.fail("effective_from", "before the pack's own")
    if ends is not None and ends <= starts:
        table.fail("effective_to", "not after effective_from")
    row = Jurisdiction(
        region=region,
        model=model,
        citation=table.text("citation"),
        effective_from=starts,
        effective_to=ends,
        grade=table.word("grade", Grade) if "grade" in table else None,
        source=table.text("source", required=False),
    )
    table.done()
    return row


def _overlap(one: Jurisdiction, other: Jurisdiction) -> bool:
    return (one.effective_to is None or other.effective_from < one.effective_to) and (
        other.effective_to is None or one.effective_from < other.effective_to
    )


def parts_of(row: Jurisdiction, tables: Sequence[Table], models: frozenset[str]) -> tuple[Table, ...]:
    """The parts that are meant for a row, with its citation and ids.

    Args:
        row: The row.
        tables: The parts of one sort.
        models: Every model of the table.

    Raises:
        ConsentryError: ``PACK_INVALID``: a part names a model of no row.
    """
    found: list[Table] = []
    for table in tables:
        meant = frozenset(table.texts("models", required=False))
        if meant - models:
            table.fail("models", f"no row has the model {', '.join(sorted(meant - models))}")
        if not meant or row.model in meant:
            found.append(table.changed(_changes(table, row)))
    return tuple(found)


def _changes(table: Table, row: Jurisdiction) -> Mapping[str, Any]:
    """What stands differently in the row's part; a list of models is left out."""
    changes: dict[str, Any] = {
        "models": None,
        "id": f"{row.region}-{table.text('id')}",
        "citation": table.text("citation").replace(LAW, row.citation),
    }
    if row.grade is not None and "grade" not in table:
        changes["grade"] = str(row.grade)
    if row.source and "source" not in table:
        changes["source"] = row.source
    if "rules" in table:
        rules = table.texts("rules")
        changes["rules"] = list(rules) if frozenset(rules) == EVERY_RULE else [f"{row.region}-{each}" for each in rules]
    return changes
