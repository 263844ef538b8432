"""How the story is told: one panel for each step, a table at the end, and the same as data in ``summary.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from consentry import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rich.console import Console, RenderableType

    from consentry import ConsentryError, Decision
    from face_tagger.face_tagger_pb2 import Answer

RECORDED, REFUSED, COMPLETED = "RECORDED", "REFUSED", "COMPLETED"
NO_ANSWER, VERIFIED = "NO_ANSWER", "VERIFIED"
"""Outcomes of steps that are no decisions; a decision's are ALLOW, ALLOW_NONBIOMETRIC, REVIEW and DENY."""
COLOURS = {"DENY": "red", "REFUSED": "red", "NO_ANSWER": "red", "REVIEW": "yellow"}
ALLOWED = ("ALLOW", "ALLOW_NONBIOMETRIC")
LABEL_WIDTH = 8


class StepFailedError(Exception):
    """A step did not come out as it had to; the message names it."""


class Reason(Protocol):
    """A reason, of Consentry's client or of the face tagger."""

    @property
    def code(self) -> str:
        """A stable code."""
        ...

    @property
    def citation(self) -> str:
        """The provision behind it."""
        ...

    @property
    def text(self) -> str:
        """What is the matter."""
        ...

    @property
    def remedy(self) -> str:
        """What would change the answer."""
        ...

    @property
    def outcome(self) -> int:
        """What it alone would answer."""
        ...


class Decided(Protocol):
    """The answer for one face, of Consentry's client or of the face tagger."""

    @property
    def outcome(self) -> int:
        """Its outcome."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A reason without a rule: why a permit or an identifier did not open."""

    code: str
    text: str
    citation: str = ""
    remedy: str = ""
    outcome: int = Outcome.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Told:
    """What came out of one step.

    Args:
        outcome: One word.
        index: Where the ledger holds it.
        reasons: Why.
        lines: What else a reader should see.
        faces: The outcome for each face, where there are several.
    """

    outcome: str
    index: int
    reasons: Sequence[Reason] = ()
    lines: Sequence[str] = ()
    faces: Sequence[str] = ()

    @property
    def codes(self) -> list[str]:
        """Each code once, in order."""
        return list(dict.fromkeys(reason.code for reason in self.reasons))


def decided(decision: Decision, *lines: str) -> Told:
    """Tell of a decision of the gate or the vault."""
    return _told(decision.outcome, decision.entry.index, decision.reasons, lines, decision.faces)


def answered(answer: Answer, *lines: str) -> Told:
    """Tell of a decision that the face tagger handed on."""
    return _told(Outcome.read(answer.outcome), answer.ledger_index, answer.reasons, lines, answer.faces)


def _told(
    outcome: Outcome, index: int, reasons: Iterable[Reason], lines: Sequence[str], faces: Sequence[Decided]
) -> Told:
    """Of a mixed answer only what speaks against it is told: what speaks for one face explains nothing here."""
    yes = outcome.name in ALLOWED
    speaking = [reason for reason in reasons if (Outcome.read(reason.outcome).name in ALLOWED) is yes]
    each = [Outcome.read(face.outcome).name for face in faces] if len(faces) > 1 else []
    return Told(outcome.name, index, speaking, lines, each)


def refused(error: ConsentryError, index: int, *lines: str) -> Told:
    """Tell of a call that was refused; the ledger index is of the refusal where it was recorded, else of its permit."""
    recorded = int(error.metadata.get("ledger_index", index))
    return Told(REFUSED, recorded, [Plain(error.reason, str(error.args[0]))], lines)


class Story:
    """Tells the steps one by one and checks each.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[tuple[str, Told, bool]] = []

    @property
    def count(self) -> int:
        """How many steps were told."""
        return len(self._steps)

    @property
    def last_step(self) -> str:
        """The name of the step that was told last; empty before the first."""
        return self._steps[-1][0] if self._steps else ""

    @property
    def last_index(self) -> int:
        """The highest ledger index that was told of."""
        return max((told.index for _, told, _ in self._steps), default=0)

    def chapter(self, title: str, text: str) -> None:
        """Begin a chapter."""
        self._console.print()
        self._console.print(Rule(Text(title, "bold"), align="left", style="dim"))
        self._console.print(Padding(Text(text), (0, 0, 0, 2)))

    def step(self, name: str, title: str, told: Told, *, outcome: str, codes: Iterable[str] = ()) -> None:
        """Tell one step.

        Args:
            name: Its name in the summary.
            title: What is tried, for people.
            told: What came out.
            outcome: What had to come out.
            codes: The codes of reasons that had to come with it, no more and no less.

        Raises:
            StepFailedError: it came out otherwise.
        """
        wanted = sorted(codes)
        right = told.outcome == outcome and wanted == sorted(told.codes)
        self._steps.append((name, told, right))
        self._console.print(self._panel(len(self._steps), title, told))
        if not right:
            raise StepFailedError(f"step {name}: wanted {outcome} for {wanted}, got {told.outcome} for {told.codes}")

    def require(self, *, holds: bool, what: str) -> None:
        """Check something else of the step that was told last.

        Raises:
            StepFailedError: it does not hold.
        """
        if not holds:
            name, told, _ = self._steps[-1]
            self._steps[-1] = (name, told, False)
            raise StepFailedError(f"step {name}: {what}")

    def summary(self, path: Path) -> None:
        """Write the steps as data."""
        steps = [
            {"step": name, "outcome": told.outcome, "reasons": told.codes, "index": told.index}
            for name, told, _ in self._steps
        ]
        path.write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")

    def closing(self, files: dict[str, str]) -> None:
        """Print all steps and where things are."""
        table = Table("", "step", "outcome", "reasons", "index", box=box.SIMPLE_HEAD, pad_edge=False)
        table.columns[4].justify = "right"
        for name, told, right in self._steps:
            mark = Text("✓", "green") if right else Text("✗", "bold red")
            codes = "" if told.outcome in ALLOWED else ", ".join(told.codes)
            table.add_row(mark, name, _outcome(told.outcome), codes, str(told.index))
        self._console.print()
        self._console.print(Rule(Text("What happened", "bold"), align="left", style="dim"))
        self._console.print(table)
        places = Table.grid(padding=(0, 2))
        for what, where in files.items():
            places.add_row(Text(what, "dim"), where)
        self._console.print(places)

    def _panel(self, number: int, title: str, told: Told) -> Panel:
        rows = Table.grid(padding=(0, 1))
        rows.add_column(width=LABEL_WIDTH, style="dim")
        rows.add_column(ratio=1)
        rows.add_row("answer", Text.assemble(_outcome(told.outcome), ("   ledger index ", "dim"), str(told.index)))
        if told.faces:
            each = [Text.assemble(f"face {number} ", _outcome(face)) for number, face in enumerate(told.faces)]
            rows.add_row("faces", Text("   ").join(each))
        for label, what in _because(told):
            rows.add_row(label, what)
        for line in told.lines:
            rows.add_row("", Text(line))
        heading = Text.assemble((f" {number} ", "bold reverse"), " ", (title, "bold"), " ")
        return Panel(rows, title=heading, title_align="left", border_style=COLOURS.get(told.outcome, "green"))


def _outcome(outcome: str) -> Text:
    return Text(outcome, f"bold {COLOURS.get(outcome, 'green')}")


def _because(told: Told) -> Iterable[tuple[str, RenderableType]]:
    """The reasons: in full where the answer is no, the provisions alone where it is yes."""
    if told.outcome in ALLOWED:
        provisions = dict.fromkeys(part for reason in told.reasons for part in reason.citation.split("; ") if part)
        if provisions:
            yield "under", Text("; ".join(provisions), "dim")
        return
    label = "because"
    for code in told.codes:
        reason = next(each for each in told.reasons if each.code == code)
        lines = [Text.assemble((code, "bold"), "  ", (reason.citation, "cyan")), Text(reason.text)]
        if reason.remedy:
            lines.append(Text.assemble(("→ ", "green"), (reason.remedy, "italic")))
        yield label, Group(*lines)
        label = ""
