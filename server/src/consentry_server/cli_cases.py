"""``consentry law test``: every decided case and every pack's own cases, run against the packs of this build."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import run_cases
from consentry_server.core.law.decided import load_casebook, run_casebook
from consentry_server.core.vocabulary import Outcome
from consentry_server.tenant import bundled_packs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from consentry_server.core.law import CaseResult, Pack
    from consentry_server.core.law.decided import Casebook, Finding

FAILED: Final = 1
_OWN: Final = "The pack's own cases"
_MARK: Final = 5
_OUTCOME: Final = max(len(outcome) for outcome in Outcome)
_out = Console(highlight=False, markup=False)

PackOption = Annotated[str, typer.Option("--pack", help="Only the law of this pack.", metavar="ID")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for programs.")]


@dataclass(frozen=True, slots=True)
class Line:
    """One question and what came out; the fields of ``--json``.

    Args:
        pack: The pack whose law it is about.
        row: The decision's number; empty for the pack's own cases.
        decision: The decision's name.
        citation: Court, number and date; or the section.
        grade: How far the decision's text was confirmed; empty for the pack's own cases, whose rules have grades.
        case: The question's name.
        question: The question in one sentence.
        region: Where the person lives; empty where it is the pack's first region.
        expected: What is shipped has to answer, for each face.
        came_out: What it answered.
        floor_expected: What the cited authority supports, given the determination; empty where it is the same.
        floor_came_out: What it answered, given the determination.
        missing: What should have been said with it and was not.
        ok: Whether everything came out as written.
    """

    pack: str
    row: str
    decision: str
    citation: str
    grade: str
    case: str
    question: str
    region: str
    expected: tuple[str, ...]
    came_out: tuple[str, ...]
    floor_expected: tuple[str, ...]
    floor_came_out: tuple[str, ...]
    missing: tuple[str, ...]
    ok: bool


def bundled_casebooks() -> tuple[Casebook, ...]:
    """The casebooks this build carries."""
    folder = resources.files("consentry_server.core.law") / "casebooks"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return tuple(load_casebook(entry.read_bytes(), name=entry.name) for entry in files)


def lines(packs: Sequence[Pack], books: Sequence[Casebook]) -> tuple[Line, ...]:
    """Run everything.

    Args:
        packs: The packs, applied all at once.
        books: The decided cases.

    Returns:
        The lines in the order of the packs; those of decisions first.
    """
    found = [_decided(finding) for book in books for finding in run_casebook(book, packs)]
    found += [_own(result) for pack in packs for result in run_cases(pack, packs)]
    order = {pack.id: place for place, pack in enumerate(packs)}
    return tuple(sorted(found, key=lambda line: (order.get(line.pack, len(order)), line.pack)))


def run(pack: PackOption = "", json: JsonOption = False) -> None:
    """Run every decided case and every pack's own cases; exit code 1 where one comes out otherwise."""
    packs = tuple(each for each, _ in bundled_packs())
    told = lines(packs, bundled_casebooks())
    if pack:
        known = sorted({line.pack for line in told} | {each.id for each in packs})
        if pack not in known:
            raise ConsentryError(
                Reason.FIELD_INVALID, f"--pack: no pack {pack}; there are {', '.join(known)}", field="pack"
            )
        told = tuple(line for line in told if line.pack == pack)
    if json:
        said = {"ok": all(line.ok for line in told), "cases": [asdict(line) for line in told]}
        print(json_format.dumps(said, indent=2))
    else:
        _out.print(page(told, packs))
    if not all(line.ok for line in told):
        raise typer.Exit(FAILED)


def page(told: Sequence[Line], packs: Sequence[Pack]) -> RenderableType:
    """Set the lines for the terminal, law by law and decision by decision.

    Args:
        told: The lines, those of one pack together.
        packs: For their titles.
    """
    titles = {pack.id: pack.title for pack in packs}
    parts: list[RenderableType] = []
    for pack_id, of_law in groupby(told, key=lambda line: line.pack):
        title = titles.get(pack_id, "No such pack in this build")
        parts += [Text.assemble((title, "bold"), f"  {pack_id}"), Rule(style="dim"), _heads()]
        for _, of_decision in groupby(of_law, key=lambda line: (line.row, line.decision)):
            parts += _decision(list(of_decision))
        parts.append(Text())
    return Group(*parts, _sum(told))


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, width=_MARK)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(no_wrap=True, width=_OUTCOME)
    table.add_column(no_wrap=True, width=_OUTCOME)
    return table


def _heads() -> Table:
    table = _grid()
    table.add_row(*(Text(head, style="dim") for head in ("", "", "expected", "came out")))
    return table


def _decision(told: Sequence[Line]) -> Iterable[RenderableType]:
    first = told[0]
    heading = Text(first.decision, style="bold")
    if first.row:
        heading.append(f", {first.citation}  [{first.grade.lower().replace('_', ' ')}]", style="dim not bold")
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_column(no_wrap=True, width=_MARK)
    head.add_column(overflow="fold")
    head.add_row(Text(first.row, style="bold"), heading)
    yield head
    table = _grid()
    for line, where in _by_question(told):
        _add(table, line, where)
    yield table


def _by_question(told: Iterable[Line]) -> Iterable[tuple[Line, str]]:
    """Each question once with its regions, where every region came out alike."""
    for _, same in groupby(told, key=lambda line: (line.case, line.came_out, line.floor_came_out, line.missing)):
        first, *rest = same
        yield first, ", ".join([first.region, *(line.region for line in rest)]) if rest else ""


def _add(table: Table, line: Line, where: str) -> None:
    """A row for the question, and one for each further face and for the floor."""
    mark = Text("   ok", style="green") if line.ok else Text("WRONG", style="bold red")
    question = Text.assemble(line.question, (f"  {where if line.row else line.citation}", "dim"))
    table.add_row(mark, question, *_pair(line.expected[0], line.came_out[0]))
    for pair in zip(line.expected[1:], line.came_out[1:], strict=True):
        table.add_row("", "  the other face", *_pair(*pair))
    for pair in zip(line.floor_expected, line.floor_came_out, strict=True):
        table.add_row("", "  FLOOR: the same under a recorded determination", *_pair(*pair))
    if line.missing:
        table.add_row("", Text(f"  not said: {', '.join(line.missing)}", style="red"))


def _pair(expected: str, came_out: str) -> tuple[Text, Text]:
    return Text(expected), Text(came_out, style="" if came_out == expected else "bold red")


def _sum(told: Sequence[Line]) -> Text:
    wrong = sum(not line.ok for line in told)
    decisions = len({(line.row, line.decision) for line in told if line.row})
    own = sum(not line.row for line in told)
    of_packs = f"{_count(own, 'case')} of the packs"
    asked = f"{_count(len(told) - own, 'question')} from {_count(decisions, 'decision')} and {of_packs}"
    if wrong:
        return Text(f"{asked}: {wrong:,} came out otherwise than written.", style="bold red")
    return Text(f"{asked}: all came out as written.", style="bold green")


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}" if number == 1 else f"{number:,} {of}s"


def _decided(finding: Finding) -> Line:
    row, question = finding.row, finding.question
    return Line(
        pack=question.pack_id,
        row=row.id,
        decision=row.name,
        citation=row.citation,
        grade=str(row.grade),
        case=question.id,
        question=question.title,
        region=finding.region,
        expected=_words(question.expected),
        came_out=_words(finding.got),
        floor_expected=_words(finding.floor_expected),
        floor_came_out=_words(finding.floor_got),
        missing=finding.missing,
        ok=finding.ok,
    )


def _own(result: CaseResult) -> Line:
    return Line(
        pack=result.pack_id,
        row="",
        decision=_OWN,
        citation=result.citation,
        grade="",
        case=result.id,
        question=result.title,
        region="",
        expected=(str(result.expected),),
        came_out=(str(result.got),),
        floor_expected=(),
        floor_came_out=(),
        missing=result.missing_codes,
        ok=result.ok,
    )


def _words(outcomes: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(outcome) for outcome in outcomes)
