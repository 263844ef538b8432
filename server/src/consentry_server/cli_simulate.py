"""``consentry simulate``: a file of planned operations against the present registry, counted. Nothing is recorded.

Exit codes: 0 everything was decided; 1 some operations could not be; 2 the file has lines that are wrong, and nothing
was decided; the others as everywhere.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from consentry_server.cli_filters import CaOption, CertOption, KeyOption, SourceArgument, TenantOption, access
from consentry_server.core.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from consentry.v1 import gate_service_pb2
    from consentry_server.cli_plans import Plan
    from consentry_server.cli_registry import Registry

BATCH: Final = 500
SHOWN: Final = 20
"""Problems of a file, or failures, that are shown."""
WRONG_FILE: Final = 2
FAILED: Final = 1
_COLOURS: Final = {
    Outcome.ALLOW: "green",
    Outcome.ALLOW_NONBIOMETRIC: "green",
    Outcome.REVIEW: "bold yellow",
    Outcome.DENY: "bold red",
}

_out = Console(highlight=False, markup=False)
_messages = Console(stderr=True, highlight=False, markup=False)


@dataclass(slots=True)
class Report:
    """The counts of all batches together.

    Args:
        outcomes: By operation, purpose, outcome and whether it would only be observed: operations and faces.
        reasons: By rule, code and outcome: the reason in plain values, with operations and faces.
        failures: The line of each operation that could not be decided, and why.
        packs: The packs that were evaluated.
        check_time: When the last batch was decided.
        engine_version: The build that decided.
    """

    outcomes: dict[tuple[str, str, str, bool], list[int]] = field(default_factory=dict)
    reasons: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    packs: dict[str, int] = field(default_factory=dict)
    check_time: str = ""
    engine_version: str = ""

    def add(self, answer: gate_service_pb2.SimulateResponse) -> None:
        """Add one batch."""
        from consentry_server.adapters.grpc import words  # noqa: PLC0415 - gRPC takes half the time of a start

        for each in answer.outcomes:
            alike = (
                str(words.OPERATION.words[each.operation]),
                str(words.PURPOSE.words[each.purpose]),
                str(words.OUTCOME.words[each.outcome]),
                each.observed_only,
            )
            held = self.outcomes.setdefault(alike, [0, 0])
            held[0] += each.operation_count
            held[1] += each.face_count
        for one in answer.reasons:
            reason = one.reason
            plain = {
                "outcome": str(words.OUTCOME.words[reason.outcome]),
                "code": reason.code,
                "rule_id": reason.rule_id,
                "pack_id": reason.pack_id,
                "citation": reason.citation,
                "grade": str(words.GRADE.words[reason.grade]),
                "text": reason.text,
                "remedy": reason.remedy,
            }
            counted = self.reasons.setdefault(tuple(plain.values()), {**plain, "operations": 0, "faces": 0})
            counted["operations"] += one.operation_count
            counted["faces"] += one.face_count
        self.failures += [
            {"line": int(each.correlation_id), "field": each.status.field, "message": each.status.message}
            for each in answer.failures
        ]
        self.packs |= {pack.pack_id: pack.version for pack in answer.packs}
        self.check_time, self.engine_version = answer.check_time.ToJsonString(), answer.engine_version

    def plain(self) -> dict[str, Any]:
        """As ``--json`` writes it."""
        totals: dict[str, int] = dict.fromkeys(map(str, Outcome), 0)
        for (_operation, _purpose, outcome, _observed), (operations, _faces) in self.outcomes.items():
            totals[outcome] += operations
        reasons = sorted(
            self.reasons.values(),
            key=lambda each: (-Outcome(each["outcome"]).strictness, -each["operations"], each["rule_id"], each["code"]),
        )
        return {
            "check_time": self.check_time,
            "engine_version": self.engine_version,
            "packs": self.packs,
            "operations": sum(totals.values()),
            "totals": totals,
            "outcomes": [
                {
                    "operation": operation,
                    "purpose": purpose,
                    "outcome": outcome,
                    "observed_only": observed,
                    "operations": operations,
                    "faces": faces,
                }
                for (operation, purpose, outcome, observed), (operations, faces) in sorted(self.outcomes.items())
            ],
            "reasons": reasons,
            "failures": self.failures,
        }


def simulate(
    file: Annotated[Path, typer.Argument(help="Planned operations: .csv, or .jsonl with one object a line.")],
    source: SourceArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON and nothing else.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Rehearse a file of planned operations: counts by outcome, rule and remedy. Nothing is recorded, nobody named."""
    from consentry_server.cli_plans import look_through  # noqa: PLC0415 - gRPC takes half the time of a start
    from consentry_server.cli_registry import opened  # noqa: PLC0415 - as above

    with opened(source, access(tenant, ca, cert, key)) as registry:
        now = datetime.now(UTC)
        with _messages.status("reading the file"):
            plan = look_through(file, registry.check_person, now)
        if plan.wrong:
            _messages.print(_problems(plan))
            raise typer.Exit(WRONG_FILE)
        report = _run(plan, registry, now)
    plain = report.plain()
    if as_json:
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    else:
        _out.print(page(plain))
    if report.failures:
        raise typer.Exit(FAILED)


def _run(plan: Plan, registry: Registry, now: datetime) -> Report:
    from consentry.v1 import gate_service_pb2 as pb  # noqa: PLC0415 - see simulate

    report = Report()
    columns = (TextColumn("rehearsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_messages, transient=True) as progress:
        task = progress.add_task("", total=plan.lines)
        for batch in _batches(plan, registry, now):
            report.add(registry.simulate(pb.SimulateRequest(operations=batch)))
            progress.advance(task, len(batch))
    return report


def _batches(plan: Plan, registry: Registry, now: datetime) -> Iterator[list[gate_service_pb2.PlannedOperation]]:
    from consentry_server.cli_plans import Told  # noqa: PLC0415 - see simulate

    operations = (each for each in plan.operations(registry.check_person, now) if not isinstance(each, Told))
    while batch := list(islice(operations, BATCH)):
        yield batch


def _problems(plan: Plan) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Line", justify="right", no_wrap=True)
    table.add_column("Column", no_wrap=True)
    table.add_column("What is wrong", overflow="fold")
    told = plan.problems or []
    for each in told[:SHOWN]:
        table.add_row(f"{each.line:,}", each.column, each.text)
    more = plan.wrong - min(SHOWN, len(told))
    rest = f" The first {SHOWN} are shown." if more > 0 else ""
    verb = "is" if plan.wrong == 1 else "are"
    return Group(
        table,
        Text(f"\n{plan.wrong:,} of {plan.lines:,} lines {verb} wrong; nothing was decided.{rest}", style="bold red"),
    )


def page(report: Mapping[str, Any]) -> RenderableType:
    """Set a report for a terminal.

    Args:
        report: As ``--json`` has it.
    """
    parts: list[RenderableType] = [Rule("Rehearsal", style="dim", align="left"), _outcomes(report)]
    if report["reasons"]:
        parts += [Text(), Rule("What stands against them, and what to do", style="dim", align="left"), _reasons(report)]
    if report["failures"]:
        parts += [Text(), Rule("Could not be decided", style="dim", align="left"), _failures(report)]
    packs = ", ".join(f"{pack} {version}" for pack, version in sorted(report["packs"].items()))
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in report["totals"].items() if count) or "none"
    return Group(
        *parts,
        Text(),
        Text(f"{report['operations']:,} operations: {told}.", style="bold"),
        Text(f"Nothing was recorded. Decided at {report['check_time']} by {packs or 'no pack'}.", style="dim"),
    )


def _outcomes(report: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("Operation", "Purpose", "Outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("Operations", "Faces"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in report["outcomes"]:
        observed = " (observed only)" if each["observed_only"] else ""
        table.add_row(
            each["operation"],
            each["purpose"],
            Text(each["outcome"] + observed, style=_COLOURS[Outcome(each["outcome"])]),
            f"{each['operations']:,}",
            f"{each['faces']:,}",
        )
    return table


def _reasons(report: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 1, 0), pad_edge=False, header_style="dim")
    table.add_column("Operations", justify="right", no_wrap=True)
    table.add_column("Outcome", no_wrap=True)
    table.add_column("Finding and remedy", ratio=3, overflow="fold")
    table.add_column("Rule, law, grade", ratio=2, overflow="fold")
    together: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for each in report["reasons"]:  # the same finding of several laws is told once
        together.setdefault((each["outcome"], each["code"], each["text"], each["remedy"]), []).append(each)
    for (outcome, code, text, remedy), same in together.items():
        table.add_row(
            f"{max(each['operations'] for each in same):,}",
            Text(outcome, style=_COLOURS[Outcome(outcome)]),
            Text.assemble((f"{code} ", "bold"), text, "\n", (remedy, "italic")),
            Text("\n").join([_law(each) for each in same]),
        )
    return table


def _law(each: Mapping[str, Any]) -> Text:
    grade = each["grade"].replace("_", " ").lower()
    return Text.assemble(f"{each['rule_id']} ", (f"{each['citation']} [{grade}] {each['operations']:,}", "dim"))


def _failures(report: Mapping[str, Any]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("Line", justify="right", no_wrap=True)
    table.add_column("Why", overflow="fold")
    for each in report["failures"][:SHOWN]:
        table.add_row(f"{each['line']:,}", each["message"])
    more = len(report["failures"]) - SHOWN
    return Group(table, Text(f"and {more:,} more", style="dim")) if more > 0 else table
