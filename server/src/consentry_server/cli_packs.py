"""``consentry packs``: the law packs that decide, and an organisation's own, which can only restrict."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from consentry_server.cli_calls import CaOption, CertOption, KeyOption, ServerArgument, calling, read_file
from consentry_server.cli_filters import SourceArgument, TenantOption, access, opened
from consentry_server.cli_sources import Wanted
from consentry_server.core.law import run_cases
from consentry_server.core.law.own import check, load_own
from consentry_server.services.reading import Filter
from consentry_server.tenant import bundled_packs

if TYPE_CHECKING:
    from consentry_server.core.law import Pack

app = typer.Typer(help="Law packs and your own rules.", no_args_is_help=True, rich_markup_mode=None)
_out = Console(highlight=False, markup=False)
_messages = Console(stderr=True, highlight=False, markup=False)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The pack, TOML.", show_default=False)]


@app.command("list")
def list_packs(
    source: SourceArgument,
    tenant: TenantOption = "",
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """List the packs that decide now, with the entries that activated them."""
    active: dict[tuple[str, bool], dict[str, Any]] = {}
    with opened(source, access(tenant, ca, cert, key)) as ledger:
        for stored in ledger.entries(Wanted(Filter(types=frozenset({"pack.activated"})))):
            if stored is not None:
                entry = stored.said()
                active[entry["pack"]["pack_id"], entry["pack"].get("own", False)] = entry
        name = ledger.ledger
    shipped = {pack.sha256: pack for pack, _data in bundled_packs()}
    table = Table(box=None)
    for column in ("pack", "version", "title", "regions", "entry", "since", "SHA-256"):
        table.add_column(column, no_wrap=column not in {"title", "regions"})
    for (pack_id, own), entry in sorted(active.items(), key=lambda item: (item[0][1], item[0][0])):
        stated = entry["pack"]
        pack = shipped.get(stated["sha256"])
        table.add_row(
            pack_id,
            str(stated["version"]),
            "your own rules" if own else (pack.title if pack is not None else "not carried by this version"),
            "everywhere" if own else _regions(pack),
            str(entry["index"]),
            entry["time"][:10],
            stated["sha256"][:8],
        )
    _out.print(f"{len(active)} packs decide for {name}")
    _out.print(table)


@app.command("check")
def check_pack(file: FileArgument) -> None:
    """Read a pack of your own as a server would, and say what it restricts or why it is refused. Nothing is sent."""
    pack = _checked(file)
    _out.print(f"{pack.id} {pack.version}: {pack.title}")
    _out.print(f"SHA-256 {pack.sha256}")
    table = Table("part", "citation", "what it says", box=None)
    for rule in pack.rules:
        table.add_row(rule.id, rule.citation, rule.title)
    _out.print(table)
    cases = Table("case", "outcome", "what it shows", box=None)
    for result in run_cases(pack, [*(each for each, _data in bundled_packs()), pack]):
        cases.add_row(result.id, str(result.got), result.title)
    _out.print(cases)
    _messages.print(f"{file} can be activated: it only restricts, and every case comes out as written")


@app.command("activate")
def activate_pack(
    server: ServerArgument,
    file: FileArgument,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
) -> None:
    """Activate a pack of your own, with an operator's certificate: it decides from its entry on."""
    data = read_file(file, "FILE")
    pack = load_own(data, name=file.name)
    with calling(server, ca, cert, key) as client:
        answer = client.activate_pack(pack.id, pack.version, bytes.fromhex(pack.sha256), toml=data)
    _out.print(f"{pack.id} {pack.version} decides from entry {answer.entry.index} on")


def _checked(file: Path) -> Pack:
    pack = load_own(read_file(file, "FILE"), name=file.name)
    bundled = [each for each, _data in bundled_packs()]
    check(pack, name=file.name, bundled=bundled, active=bundled, now=datetime.now(UTC))
    return pack


def _regions(pack: Pack | None) -> str:
    if pack is None:
        return "?"
    return "everywhere" if pack.everywhere else ", ".join(sorted(pack.regions))
