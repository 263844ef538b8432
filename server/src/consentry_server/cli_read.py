"""``consentry audit tail``, ``show``, ``grep`` and ``coverage``: a ledger in the terminal, in plain words."""

from __future__ import annotations

import sys
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from consentry_server import cli_show
from consentry_server.cli_filters import (
    ActorOption,
    CaOption,
    CertOption,
    FromOption,
    JsonOption,
    KeyOption,
    OutcomeOption,
    PhotoOption,
    RuleOption,
    SourceArgument,
    SubjectOption,
    TenantOption,
    ToOption,
    TypeOption,
    access,
    moment,
    opened,
    wanted,
)
from consentry_server.cli_sources import Wanted
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.terms import decision_index
from consentry_server.services.coverage import Question, Row

if TYPE_CHECKING:
    from consentry_server.cli_sources import Source
    from consentry_server.services.reading import StoredEntry

ROWS = 500
"""Rows of coverage that are asked for at once."""

app = typer.Typer(rich_markup_mode=None)
_out = Console(highlight=False, markup=False)
_messages = Console(stderr=True, highlight=False, markup=False)


class Period(StrEnum):
    """Lengths of a row of coverage."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


_LENGTHS = {Period.HOUR: timedelta(hours=1), Period.DAY: timedelta(days=1), Period.WEEK: timedelta(weeks=1)}


@app.command()
def tail(
    source: SourceArgument,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Entries to begin with.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")] = False,
    after: Annotated[int | None, typer.Option(help="Begin behind this index instead.", show_default=False)] = None,
    json: JsonOption = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Show the last entries, and new ones as they come."""
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        size = ledger.size()
        last = max(-1, size - lines - 1) if after is None else after
        if not -1 <= last <= size - 1:
            raise ConsentryError(Reason.FIELD_INVALID, f"--after must be from -1 to {size - 1}", field="after")
        for stored in ledger.entries(Wanted(), last + 1):
            if stored is not None:
                last = stored.index
                _print(ledger, stored, json=json)
        if follow:
            for stored in ledger.follow(last):
                if stored is not None:
                    _print(ledger, stored, json=json)


@app.command()
def show(
    source: SourceArgument,
    entry: Annotated[str, typer.Argument(metavar="INDEX|DECISION_ID", help="Which entry.", show_default=False)],
    raw: Annotated[bool, typer.Option("--bytes", help="The entry's exact bytes and nothing else.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Show one entry in plain words beside its bytes, with what followed it."""
    index = int(entry) if entry.isascii() and entry.isdigit() else decision_index(entry)
    if index < 0:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{entry!r} is no index and no decision's id (dec_...)", field="entry"
        )
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        stored = ledger.entry(index)
        said = stored.said()
        if not entry.isdigit() and said.get("decision_id") != entry:
            raise ConsentryError(Reason.NOT_FOUND, f"there is no decision {entry} in {ledger.ledger}")
        if raw:
            sys.stdout.buffer.write(stored.data)
            sys.stdout.buffer.flush()
            return
        followed = ledger.sequels(index) if said["type"] == "decision" else []
        _out.print(cli_show.page(stored, ledger.ledger, ledger.citations(said), followed, _out.width))


@app.command()
def grep(
    source: SourceArgument,
    types: TypeOption = None,
    subject: SubjectOption = "",
    photo: PhotoOption = "",
    outcome: OutcomeOption = None,
    rule: RuleOption = "",
    actor: ActorOption = "",
    from_time: FromOption = "",
    to_time: ToOption = "",
    most: Annotated[int, typer.Option("--max", "-m", min=0, help="Stop after so many; 0 for all.")] = 0,
    json: JsonOption = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Find entries; filters combine. Exit code 1 where there is none."""
    choice = wanted(types, subject, photo, outcome, rule, actor, from_time, to_time)
    count = 0
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        for stored in ledger.entries(choice):
            if stored is None:
                continue
            _print(ledger, stored, json=json)
            count += 1
            if count == most:
                break
    if not count:
        _messages.print("no entry is like that")
        raise typer.Exit(1)


@app.command()
def coverage(
    source: SourceArgument,
    period: Annotated[Period, typer.Option(help="Length of a row's period.")] = Period.DAY,
    actor: ActorOption = "",
    from_time: FromOption = "",
    to_time: ToOption = "",
    decisions: Annotated[bool, typer.Option("--decisions", help="Name the decisions behind the gaps.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Set permits, processing and openings against what was reported, by service and period."""
    rows: list[Row] = []
    more = True
    with opened(source, access(tenant, ca, cert, key)) as ledger, _messages.status("comparing"):
        while more:
            question = Question(
                row_period=_LENGTHS[period],
                from_time=moment(from_time, "--from"),
                until_time=moment(to_time, "--to"),
                actor=actor,
                after=rows[-1].key if rows else None,
                count=ROWS,
            )
            found, more = ledger.coverage(question)
            rows += found
    if not rows:
        _out.print("nothing was permitted in that time, and nothing is missing")
        return
    _out.print(cli_show.coverage_table(rows))
    for row in rows if decisions else ():
        if row.decision_ids:
            _out.print(cli_show.gap_lines(row))
    gaps = sum(row.open_permits + row.unpermitted + row.unreported_openings for row in rows)
    permits = sum(row.permits for row in rows)
    _out.print(
        f"{permits:,} permits, {gaps:,} gaps that somebody has to explain", style="bold red" if gaps else "green"
    )


def _print(ledger: Source, stored: StoredEntry, *, json: bool) -> None:
    if json:
        sys.stdout.buffer.write(stored.data + b"\n")
        sys.stdout.buffer.flush()
    else:
        _out.print(cli_show.line(stored, ledger.citations(stored.said())), soft_wrap=True)
