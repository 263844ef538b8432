"""``consentry posture``: what is lacking under each law, before anybody is refused.

Exit codes: 0 nothing that is lacking denies; 7 something does; the others as everywhere.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from consentry_server.cli_filters import CaOption, CertOption, KeyOption, SourceArgument, TenantOption, access
from consentry_server.core.vocabulary import Grade, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

DENIES: Final = 7
"""The exit code where something lacks for which people would be refused."""
_OWN: Final = ("posture", "engine")
_COLOURS: Final = {Outcome.DENY: "bold red", Outcome.REVIEW: "bold yellow", Outcome.ALLOW: "dim"}
_SAID: Final = {Outcome.DENY: "denies", Outcome.REVIEW: "review", Outcome.ALLOW: "answers stay"}
_MANY_REGIONS: Final = 8

_out = Console(highlight=False, markup=False)
_messages = Console(stderr=True, highlight=False, markup=False)


def posture(
    source: SourceArgument,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Look at this region only, such as US-IL or EU; repeat for more.", show_default="all"),
    ] = None,
    persist: Annotated[bool, typer.Option("--persist", help="Keep the result in the ledger (a server only).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON and nothing else.")] = False,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Show what notices, policy, packs and settings lack under each law; exit code 7 where something denies."""
    from consentry_server.cli_registry import opened  # noqa: PLC0415 - gRPC takes half the time of a start

    with opened(source, access(tenant, ca, cert, key)) as registry, _messages.status("looking"):
        found = registry.posture(region or [], persist=persist, request_id=str(uuid.uuid4()) if persist else "")
    findings = [_plain(each) for each in found.findings]
    denies = sum(each["outcome"] == Outcome.DENY for each in findings)
    if as_json:
        document = {
            "check_time": found.check_time.ToJsonString(),
            "denies": denies,
            "findings": findings,
            **({"entry_index": found.entry.index} if found.HasField("entry") else {}),
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        _out.print(page(findings))
        if found.HasField("entry"):
            _out.print(f"Kept in entry {found.entry.index}.", style="dim")
    if denies:
        raise typer.Exit(DENIES)


def _plain(found: Any) -> dict[str, Any]:
    from consentry_server.adapters.grpc import words  # noqa: PLC0415 - see posture

    reason = found.reason
    return {
        "outcome": str(words.OUTCOME.words[reason.outcome]),
        "about": found.about,
        "code": reason.code,
        "text": reason.text,
        "remedy": reason.remedy,
        "pack_id": reason.pack_id,
        "rule_id": reason.rule_id,
        "rule_version": reason.rule_version,
        "citation": reason.citation,
        "grade": str(words.GRADE.words[reason.grade]),
        "regions": list(found.regions),
    }


def page(findings: Sequence[dict[str, Any]]) -> RenderableType:
    """Set the findings for a terminal, a table for each law, strictest law first.

    Args:
        findings: As ``--json`` has them, strictest first.
    """
    if not findings:
        return Text("Nothing is lacking that posture looks at.", style="bold green")
    parts: list[RenderableType] = []
    titles = _titles()
    laws = dict.fromkeys(each["pack_id"] for each in findings)
    for pack_id in sorted(laws, key=lambda pack_id: pack_id in _OWN):
        of_it = [each for each in findings if each["pack_id"] == pack_id]
        title = titles.get(pack_id, "")
        name = "Settings, dates and addresses" if pack_id in _OWN else f"{title} ({pack_id})" if title else pack_id
        parts += [Rule(Text(name, style="bold"), style="dim", align="left"), _table(of_it), Text()]
    return Group(*parts, _summary(findings))


def _titles() -> dict[str, str]:
    """What the packs that this version carries are called."""
    from consentry_server.tenant import bundled_packs  # noqa: PLC0415 - see posture

    return {pack.id: pack.title for pack, _data in bundled_packs()}


def _table(findings: Iterable[dict[str, Any]]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 1, 0), pad_edge=False, header_style="dim", expand=True)
    table.add_column("People get", no_wrap=True, min_width=12)
    table.add_column("About", ratio=2, overflow="fold")
    table.add_column("What is lacking, and what to do", ratio=6, overflow="fold")
    table.add_column("Rule, law, grade", ratio=4, overflow="fold")
    together: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in findings:  # the same thing under several rules of one law is told once
        together.setdefault((each["outcome"], each["about"], each["code"], each["text"]), []).append(each)
    for same in together.values():
        first = same[0]
        outcome = Outcome(first["outcome"])
        table.add_row(
            Text(_SAID.get(outcome, str(outcome)), style=_COLOURS.get(outcome, "")),
            Text(first["about"]),
            Text.assemble(first["text"], "\n", (first["remedy"], "italic")),
            Text("\n").join([_law(each) for each in same]),
        )
    return Padding(table, (0, 0, 0, 1))


def _law(each: dict[str, Any]) -> Text:
    regions = each["regions"]
    more = len(regions) - _MANY_REGIONS
    where = ", ".join(regions[:_MANY_REGIONS]) + (f" and {more} more" if more > 0 else "")
    grade = each["grade"].replace("_", " ").lower()
    style = "dim" if each["grade"] == Grade.PRIMARY else "yellow"
    return Text.assemble(
        f"{each['rule_id']} ", (f"{each['citation']} ", "dim"), (f"[{grade}] ", style), (where, "cyan")
    )


def _summary(findings: Sequence[dict[str, Any]]) -> Text:
    counts = [(word, sum(each["outcome"] == outcome for each in findings)) for outcome, word in _SAID.items()]
    denies = counts[0][1]
    told = ", ".join(f"{count} {word}" for word, count in (("deny", denies), ("for review", counts[1][1])) if count)
    rest = counts[2][1]
    more = f"{rest} that change no answer" if rest else ""
    text = f"{len(findings)} lacking: {', '.join(part for part in (told, more) if part)}."
    return Text(text, style="bold red" if denies else "bold yellow" if counts[1][1] else "bold green")
