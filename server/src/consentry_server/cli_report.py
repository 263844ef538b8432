"""A verification report in plain words, as it is read on a screen or printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from consentry_server.core.ledger.report import Completeness, Integrity, Selection, Standing

if TYPE_CHECKING:
    from enum import StrEnum

    from rich.console import RenderableType

    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.core.ledger.report import Report

SHOWN_FINDINGS: Final = 25
SHOWN_FILES: Final = 5
SHOWN_ENTRIES: Final = 30

_GOOD: Final = "bold green"
_OPEN: Final = "bold yellow"
_BAD: Final = "bold red"
_INDENT: Final = (0, 0, 0, 3)

_COLOURS: Final = {
    Integrity.INTACT: _GOOD,
    Integrity.DAMAGED: _BAD,
    Completeness.PROVEN: _GOOD,
    Completeness.IN_PART: _OPEN,
    Completeness.NOT_PROVEN: _OPEN,
    Completeness.REFUTED: _BAD,
    Selection.FULL_SCAN: _GOOD,
    Selection.CHAIN: _OPEN,
    Selection.NOT_PROVEN: _OPEN,
}
_MARKS: Final = {
    Standing.HOLDS: ("holds", _GOOD),
    Standing.CONTRADICTED: ("contradicts", _BAD),
    Standing.UNUSABLE: ("no help", _OPEN),
}
_HOW_TO_PROVE: Final = (
    "Only somebody outside can prove it: bring a witness's key (--witness-vkey), a timestamp (--timestamp), a "
    "checkpoint that was kept elsewhere (--earlier-checkpoint), or a permit that somebody holds (--permit)."
)


@dataclass(frozen=True, slots=True)
class Names:
    """What was verified, and against what.

    Args:
        source: As the reader named it.
        vkey: The file with the key, as the reader named it.
        key: The key.
        has_files: Whether findings can name files.
    """

    source: str
    vkey: str
    key: VerifierKey
    has_files: bool


def render(report: Report, names: Names, subject_ref: str, *, asked: bool, exit_code: int) -> RenderableType:
    """Set a report for the terminal.

    Args:
        report: What was found.
        names: What was verified.
        subject_ref: The person who was asked for, or empty.
        asked: Whether evidence was brought along.
        exit_code: What the command ends with.

    Returns:
        What rich prints.
    """
    parts: list[RenderableType] = [Rule("Verification of a ledger", style="dim", align="left"), _head(report, names)]
    parts += _verdict(
        1, "Integrity", report.integrity, "Is every entry exactly what was recorded?", report.integrity_basis
    )
    parts += _verdict(
        2,
        "Completeness",
        report.completeness,
        "Is it everything that was recorded, with nothing left out and no history rewritten?",
        report.completeness_basis,
    )
    parts += [Padding(_grounds(report), _INDENT)] if report.grounds else []
    if report.completeness is Completeness.NOT_PROVEN and not asked and report.integrity is Integrity.INTACT:
        parts.append(Padding(Text(_HOW_TO_PROVE, style="dim"), _INDENT))
    who = f"about {subject_ref}" if subject_ref else "about each person"
    parts += _verdict(
        3, "Selection", report.selection, f"Is everything {who} among these entries?", report.selection_basis
    )
    if report.mentions:
        parts.append(Padding(Text(f"Entries {_listed(report.mentions)}"), _INDENT))
    if report.findings:
        parts += [Text(), Text("Findings", style="bold"), _findings(report, names)]
    if report.not_covered:
        parts += [Text(), _not_covered(report)]
    return Group(*parts, Text(), Rule(style="dim"), _result(report, exit_code))


def _head(report: Report, names: Names) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Ledger", Text(report.origin, style="bold"))
    table.add_row("Source", Text(names.source))
    table.add_row("Public key", Text(f"{names.vkey} (key id {names.key.key_id.hex()})"))
    if report.root:
        entries = f"{report.size:,} {'entry' if report.size == 1 else 'entries'}"
        people = f"{report.people:,} {'person' if report.people == 1 else 'people'}"
        table.add_row("Covers", f"{entries} about {people}")
    if report.last_time:
        table.add_row("Recorded", f"from {_time(report.first_time)} to {_time(report.last_time)}")
    if report.root:
        table.add_row("Root", report.root.hex())
    return table


def _verdict(number: int, name: str, verdict: StrEnum, question: str, basis: str) -> list[RenderableType]:
    colour = _COLOURS[verdict]
    title = Text.assemble((f"{number}. {name}: ", "bold"), (str(verdict), colour))
    return [
        Text(),
        title,
        Padding(Text(question, style="italic"), _INDENT),
        Padding(Text(_sentence(basis)), _INDENT),
    ]


def _grounds(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for ground in report.grounds:
        mark, colour = _MARKS[ground.standing]
        table.add_row(Text(mark, style=colour), Text(f"{ground.text}."))
    return table


def _findings(report: Report, names: Names) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Entry", justify="right", no_wrap=True)
    if names.has_files:
        table.add_column("File", no_wrap=True)
    table.add_column("What is wrong", overflow="fold")
    for finding in report.findings[:SHOWN_FINDINGS]:
        entry = "-" if finding.index is None else f"{finding.index:,}"
        cells = [entry, finding.path] if names.has_files else [entry]
        table.add_row(*map(Text, cells), Text(finding.text))
    more = report.findings_total - min(SHOWN_FINDINGS, len(report.findings))
    if more:
        table.add_row(*[""] * (len(table.columns) - 1), Text(f"and {more:,} more; --json lists the first 200", "dim"))
    return table


def _not_covered(report: Report) -> Text:
    count = len(report.not_covered)
    names = ", ".join(report.not_covered[:SHOWN_FILES]) + (", …" if count > SHOWN_FILES else "")
    many = f"{count:,} files are" if count > 1 else "One file is"
    return Text(f"{many} no part of this checkpoint, and nothing is said about them: {names}", style="dim")


def _result(report: Report, exit_code: int) -> Text:
    if report.integrity is Integrity.DAMAGED:
        told, colour = "Do not rely on this copy: it is damaged, or not of the ledger that this key belongs to.", _BAD
    elif report.completeness is Completeness.REFUTED:
        told, colour = "Do not rely on this copy: what others hold contradicts it.", _BAD
    elif report.completeness is Completeness.PROVEN:
        told, colour = "The ledger is intact, and others vouch that it is complete.", _GOOD
    else:
        whole = "Whether it is complete is proven only in part."
        told = whole if report.completeness is Completeness.IN_PART else "Whether anything was left out is not proven."
        told, colour = f"The ledger is intact. {told}", _OPEN
    return Text.assemble((told, colour), (f"\nExit code {exit_code}", "dim"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _time(text: str) -> str:
    return f"{text[:10]} {text[11:19]} UTC"


def _listed(indices: tuple[int, ...]) -> str:
    shown = ", ".join(f"{index:,}" for index in indices[:SHOWN_ENTRIES])
    more = len(indices) - SHOWN_ENTRIES
    return f"{shown} and {more:,} more; --json lists them" if more > 0 else shown
