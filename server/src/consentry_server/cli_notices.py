"""``consentry notices diff``: two versions of a notice side by side, and whether people have to be asked again."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from consentry_server.cli_filters import (
    CaOption,
    CertOption,
    KeyOption,
    SourceArgument,
    TenantOption,
    access,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.cli_compared import Compared, Difference, Version

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_REPLACED = "\N{REPLACEMENT CHARACTER}"
_out = Console(highlight=False, markup=False)


@app.callback()
def _group() -> None:
    """The notices that people are told, over time."""


@app.command()
def diff(
    source: SourceArgument,
    notice: Annotated[str, typer.Argument(metavar="NOTICE", help="The notice's id.", show_default=False)],
    older: Annotated[int, typer.Argument(metavar="FROM", min=1, help="The older version.", show_default=False)],
    newer: Annotated[int, typer.Argument(metavar="TO", min=1, help="The newer version.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Show two versions of a notice side by side: what changed, and whether people have to consent again."""
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        found = ledger.notice_diff(notice, older, newer)
    if json:
        typer.echo(jsonlib.dumps(_plain(found), ensure_ascii=False))
        return
    _out.print(_page(found))


def _page(found: Compared) -> Group:
    title = Text.assemble(
        ("Notice ", "bold"), (found.notice_id, "bold"), (f"  {found.older.version} → {found.newer.version}", "bold")
    )
    return Group(title, _sides(found.older, found.newer), _changes(found.changes), _verdict(found))


def _sides(older: Version, newer: Version) -> Table:
    """What each version states, row by row; what only one has is coloured."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=True)
    table.add_column("", style="dim", no_wrap=True)
    table.add_column(f"version {older.version}", ratio=1, overflow="fold")
    table.add_column(f"version {newer.version}", ratio=1, overflow="fold")
    for name, before, after in (
        ("from (UTC)", (f"{older.effective:%Y-%m-%d %H:%M}",), (f"{newer.effective:%Y-%m-%d %H:%M}",)),
        ("language", (older.language,), (newer.language,)),
        ("data", older.categories, newer.categories),
        ("purposes", older.purposes, newer.purposes),
        ("term", (older.term,), (newer.term,)),
        ("recipients", older.recipients, newer.recipients),
        ("SHA-256", (f"{older.text_sha256[:16]}…",), (f"{newer.text_sha256[:16]}…",)),
        ("text", tuple(older.text.splitlines()), tuple(newer.text.splitlines())),
    ):
        table.add_row(name, _side(before, after, "red"), _side(after, before, "green"))
    return table


def _side(lines: Sequence[str], others: Sequence[str], style: str) -> Text:
    if not lines:
        return Text("none", "dim")
    return Text("\n").join(Text(_shown(line), "" if line in others else style) for line in lines)


def _shown(line: str) -> str:
    """A line of a published text, without what would steer the terminal."""
    return "".join(each if each.isprintable() or each == "\t" else _REPLACED for each in line)


def _changes(changes: Sequence[Difference]) -> Table | Text:
    if not changes:
        return Text("They state the same, in the same words.")
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=True)
    table.add_column("new consent", no_wrap=True)
    table.add_column("change", ratio=3, overflow="fold")
    table.add_column("law", ratio=2, overflow="fold", style="dim")
    for change in changes:
        mark = Text("needed", "bold red") if change.citation else Text("no", "dim")
        table.add_row(mark, change.text, change.citation)
    return table


def _verdict(found: Compared) -> Panel:
    if not found.reconsent:
        words = "Nobody has to consent again: what people agreed to is still what the notice states."
        return Panel(Text(words), box=box.ROUNDED, border_style="green")
    more = "At least " if found.stopped else ""
    people = {0: "Nobody holds", 1: "1 person holds"}.get(found.affected, f"{found.affected:,} people hold")
    words = (
        f"New consent is needed. {more}{people} a live release under version {found.older.version} only:"
        " what they released still holds for what it names, and for nothing that is new. Deliver version"
        f" {found.newer.version} to them and ask for a release."
    )
    return Panel(Text(words), box=box.ROUNDED, border_style="red")


def _plain(found: Compared) -> dict[str, Any]:
    return {
        "notice_id": found.notice_id,
        "from_version": found.older.version,
        "to_version": found.newer.version,
        "reconsent_required": found.reconsent,
        "affected_subject_count": found.affected,
        "affected_subject_count_stopped": found.stopped,
        "changes": [
            {
                "kind": change.kind,
                "material": bool(change.citation),
                "value": change.value,
                "text": change.text,
                "citation": change.citation,
            }
            for change in found.changes
        ],
    }
