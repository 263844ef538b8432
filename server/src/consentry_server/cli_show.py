"""How the terminal shows entries: a line, a page with words beside bytes, and coverage as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from consentry_server.core.record.words import tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from consentry_server.core.record.words import Citation, RuleTold, Told
    from consentry_server.services.coverage import Row
    from consentry_server.services.reading import StoredEntry

WIDE = 132
"""From so many columns on, words and bytes stand side by side."""
_INDENT = 32
_COUNTS = ("permits", "never\nclosed", "without\npermit", "not\nallowed", "opened,\nno report")
_STYLES = {
    "DENY": "bold red",
    "REVIEW": "bold yellow",
    "ALLOW": "bold green",
    "ALLOW_NONBIOMETRIC": "bold cyan",
    "photo.refused": "red",
    "identifier.refused": "red",
    "release.withdrawn": "magenta",
    "destruction.requested": "magenta",
    "destruction.completed": "magenta",
}


class Bytes:
    """Text broken at the width there is, wherever that falls: a line's end is never a character of an entry."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        for start in range(0, len(self._text), width):
            yield Text(self._text[start : start + width], no_wrap=True)


def line(stored: StoredEntry, citations: Mapping[str, Citation], *, people: bool = True) -> Text:
    """One entry on a line, with what refused it on lines below."""
    entry = stored.said()
    told = tell(entry, citations)
    text = Text()
    text.append(f"{stored.index:>9}  ", "dim")
    text.append(f"{_time(entry)}  ", "dim")
    text.append(f"{entry['actor']:<26} ")
    text.append(told.headline, _style(entry))
    if entry.get("without_permission"):
        text.append("  WITHOUT PERMISSION", "bold red")
    if told.people and people:
        text.append(f"  {_people(told)}", "dim")
    for rule in told.rules if entry.get("outcome") in ("DENY", "REVIEW") else ():
        text.append(f"\n{'':>{_INDENT}}{rule.rule_id}: {rule.found}", _style(entry).removeprefix("bold "))
        if rule.law:
            text.append(f"  {rule.law}", "dim")
    return text


def page(
    stored: StoredEntry,
    ledger: str,
    citations: Mapping[str, Citation],
    followed: Sequence[StoredEntry],
    width: int,
) -> RenderableType:
    """One entry in words beside its bytes.

    Args:
        stored: The entry.
        ledger: The ledger's origin.
        citations: The rules that it may name.
        followed: Entries that followed it.
        width: Columns of the terminal.
    """
    entry = stored.said()
    told = tell(entry, citations)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    facts.add_row("recorded", f"{entry['time'].replace('T', ' ').rstrip('Z')} UTC")
    facts.add_row("by", entry["actor"])
    facts.add_row("type", f"{entry['type']}, version {entry['version']}")
    if told.people:
        facts.add_row("people", "\n".join(told.people))
    parts: list[RenderableType] = [facts, Text()]
    parts += [Padding(Text(sentence), (0, 0, 1, 0)) for sentence in told.sentences]
    if told.rules:
        parts.append(_rules(told.rules, entry))
    if followed:
        after = [line(each, citations, people=False) for each in followed]
        parts += [Text("\nWhat followed", "bold"), *after]
    raw = Group(
        Bytes(stored.data.decode("utf-8", "backslashreplace")),
        Text(f"\n{len(stored.data)} bytes; leaf hash SHA-256(0x00 ‖ bytes):", "dim"),
        Bytes(stored.leaf_hash.hex()),
    )
    bytes_panel = Panel(raw, title="its bytes", box=box.ROUNDED, border_style="dim", title_align="left")
    heading = Text.assemble((f"entry {stored.index}  ", "bold"), (told.headline, _style(entry)))
    words_panel = Panel(
        Group(*parts), title=heading, subtitle=ledger, box=box.ROUNDED, title_align="left", subtitle_align="left"
    )
    if width < WIDE:
        return Group(words_panel, bytes_panel)
    both = Table.grid(expand=True, padding=(0, 1))
    both.add_column(ratio=3)
    both.add_column(ratio=2)
    both.add_row(words_panel, bytes_panel)
    return both


def coverage_table(rows: Sequence[Row]) -> Table:
    """Coverage, a row for each service and period; gaps are red."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("from (UTC)", no_wrap=True)
    table.add_column("service", overflow="fold", min_width=11)
    for name in _COUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        counts = (row.open_permits, row.unpermitted, row.refused, row.unreported_openings)
        cells = [Text(f"{count:,}", "bold red" if count else "dim") for count in counts]
        table.add_row(_start(row), row.key.actor, f"{row.permits:,}", *cells)
    return table


def gap_lines(row: Row) -> Text:
    """The decisions behind a row's gaps."""
    text = Text(f"{_start(row)}  {row.key.actor}\n", "bold")
    text.append("\n".join(f"  {decision_id}" for decision_id in row.decision_ids))
    return text


def _rules(rules: Sequence[RuleTold], entry: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("found", style=_style(entry).removeprefix("bold "))
    table.add_column("what it demands")
    table.add_column("law")
    for rule in rules:
        table.add_row(rule.rule_id, rule.found, rule.title, rule.law)
    return table


def _style(entry: Mapping[str, Any]) -> str:
    if entry.get("without_permission"):
        return "bold red"
    return _STYLES.get(entry.get("outcome", entry["type"]), "bold")


def _time(entry: Mapping[str, Any]) -> str:
    text: str = entry["time"]
    return f"{text[:10]} {text[11:19]}"


def _start(row: Row) -> str:
    return f"{row.key.start:%Y-%m-%d %H:%M}"


def _people(told: Told) -> str:
    """The first person, shortened: enough to see that lines are about the same one."""
    more = f" +{len(told.people) - 1}" if len(told.people) > 1 else ""
    return f"{told.people[0][:12]}…{more}"
