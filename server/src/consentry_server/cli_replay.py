"""``consentry audit replay``: every recorded decision decided again, on the facts and packs of its day.

Exit codes: 0 every decision comes out the same (with ``--with``: the question was answered, whatever the answer);
2 the command line is wrong; 5 some come out differently, or the ledger is damaged; 6 some could not be replayed, which
says nothing about the ledger; 130 interrupted.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from consentry_server import cli_ledgers, cli_verify, config
from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.cli_outside import read_key
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.record.terms import decision_index
from consentry_server.services.packs import Packs
from consentry_server.services.replay import UNPROVEN, Replay, Replayed, Result
from consentry_server.services.verification import SourceError
from consentry_server.tenant import bundled_packs, engine_version

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    from consentry_server.cli_ledgers import InFiles, InState
    from consentry_server.core.law import Pack
    from consentry_server.services.replay import Tally

LISTED: Final = 50
"""Decisions that are listed; all are counted, and ``--save`` writes all."""
MAX_PACK_BYTES: Final = 2**20
MAX_PACKS: Final = 16
_STYLES: Final = {"DENY": "bold red", "REVIEW": "bold yellow", "ALLOW": "bold green", "ALLOW_NONBIOMETRIC": "bold cyan"}
_MEANS: Final = {
    Result.EQUAL: ("the same answer", "green"),
    Result.DIFFERENT: ("another answer", "bold red"),
    Result.ERASED: ("not replayable: evidence erased on schedule", "yellow"),
    Result.NO_PACK: ("not replayable: the pack's bytes are not at hand", "yellow"),
    Result.OTHER_ENGINE: ("not replayable here: made by another engine version, and comes out differently", "yellow"),
    Result.NO_SETTINGS: (
        "not replayable: settings of the day are not in the ledger, and it comes out differently",
        "yellow",
    ),
    Result.DAMAGED: ("cannot be read as a decision", "bold red"),
}
_ALWAYS_TOLD: Final = frozenset({Result.EQUAL, Result.DIFFERENT, Result.ERASED, Result.NO_PACK})
_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)


def replay(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A state folder; an exported folder; https://… that serves one; grpcs://host:port of a server.",
            show_default=False,
        ),
    ],
    changed: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="PACK.toml",
            help="Ask what this pack would have decided in place of the one of the day with its id; repeat for more.",
            show_default=False,
        ),
    ] = None,
    pack: Annotated[
        list[Path] | None,
        typer.Option(help="A pack of those days whose bytes the source lacks; found by its hash.", show_default=False),
    ] = None,
    decision: Annotated[str, typer.Option(help="Only this decision: dec_…")] = "",
    from_index: Annotated[int, typer.Option("--from-index", min=0, help="Decisions from this index on.")] = 0,
    save: Annotated[
        Path | None,
        typer.Option(help="Write each decision that does not come out the same, as JSON lines.", show_default=False),
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose ledger; needed where a state folder has several.")] = "",
    vkey: Annotated[
        Path | None,
        typer.Option(help="File with the ledger's published key, to check an export's checkpoint.", show_default=False),
    ] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM of the server's authorities.", show_default=False)] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM of your certificate.", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM of its key.", show_default=False)] = None,
    tls_name: Annotated[str, typer.Option(help="Name in the server's certificate, where it is not the host's.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File with a bearer token for https://.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the result as JSON.")] = False,
) -> None:
    """Decide every recorded decision again, from the ledger and the packs of its day, and tell what differs.

    Exit code 0: all come out the same. 5: some do not, or the ledger is damaged. 6: some could not be replayed.
    """
    if decision and decision_index(decision) < 0:
        raise ConsentryError(Reason.FIELD_INVALID, f"{decision!r} is no decision's id (dec_…)", field="decision")
    instead = _packs(changed or (), "--with")
    at_hand = [*(each for each, _ in bundled_packs()), *_packs(pack or (), "--pack")]
    key = None if vkey is None else read_key(vkey)
    try:
        where = None
        if not (Path(source) / config.FILE_NAME).is_file():
            where = cli_verify.source_of(source, tls_ca, tls_cert, tls_key, tls_name, token_file)
        with ExitStack() as stack:
            ledger = stack.enter_context(cli_ledgers.opened(Path(source), where, tenant, key))
            shelf = SqliteShelf()
            stack.callback(shelf.close)
            shelf.open()
            run = Replay(
                shelf=shelf,
                packs=Packs(at_hand, ledger.document),
                engine=engine_version(),
                unknown_regions=ledger.unknown_regions,
                holds=ledger.holds,
                instead=instead,
                first=from_index,
                only=decision,
            )
            listed = _run(run, ledger, stack, save)
            if run.tree.root() != ledger.root:
                raise ConsentryError(
                    Reason.DATA_DAMAGED,
                    f"the {ledger.size} entries do not hash to the root that is stated for them: an entry was changed;"
                    " keep the files, and run `consentry audit verify`",
                )
    except SourceError as error:
        _messages.print(f"consentry: not replayed: {error.message}", markup=False, soft_wrap=True)
        raise typer.Exit(cli_verify.NOT_VERIFIED) from error
    if decision and not run.tally.total:
        raise ConsentryError(Reason.NOT_FOUND, f"there is no decision {decision} in {ledger.name}")
    code = exit_code(run.tally, asked=bool(instead))
    if as_json:
        typer.echo(json.dumps({**_as_json(source, ledger, run.tally, instead, listed), "exit_code": code}, indent=2))
    else:
        _show(ledger, run.tally, instead, listed, save)
    if code:
        raise typer.Exit(code)


def exit_code(tally: Tally, *, asked: bool) -> int:
    """What a replay ends with.

    Args:
        tally: What it came to.
        asked: Whether other packs stood in: that decisions come out differently is then no finding.

    Returns:
        0, 5 or 6; see the head of this file.
    """
    if tally.results[Result.DAMAGED] or (tally.results[Result.DIFFERENT] and not asked):
        return cli_verify.DAMAGED
    return cli_verify.NOT_VERIFIED if any(tally.results[each] for each in UNPROVEN) else 0


def _run(run: Replay, ledger: InState | InFiles, stack: ExitStack, save: Path | None) -> list[Replayed]:
    listed: list[Replayed] = []
    file = None if save is None else stack.enter_context(save.open("w", encoding="utf-8"))
    progress = stack.enter_context(_progress(ledger.size))
    for one in run.run(ledger.entries(), progress):
        if len(listed) < LISTED:
            listed.append(one)
        if file is not None:
            file.write(json.dumps(_plain(one)) + "\n")
    return listed


def _packs(paths: Sequence[Path], option: str) -> list[Pack]:
    if len(paths) > MAX_PACKS:
        raise ConsentryError(Reason.TOO_LARGE, f"{option}: at most {MAX_PACKS} packs at once", field=option)
    found: list[Pack] = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConsentryError(
                Reason.FIELD_INVALID, f"{path} cannot be read: {error.strerror}", field=option
            ) from error
        if len(data) > MAX_PACK_BYTES:
            raise ConsentryError(Reason.TOO_LARGE, f"{path} is longer than a pack may be (1 MiB)", field=option)
        found.append(load_pack(data, name=path.name))
        if option == "--with" and len({each.id for each in found}) < len(found):
            raise ConsentryError(Reason.FIELD_INVALID, f"{path} has the pack_id of another", field=option)
    return found


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("entries"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_messages, transient=True, disable=not _messages.is_terminal) as progress:
        task = progress.add_task("replaying", total=total)
        yield lambda done: progress.update(task, completed=done)


def _show(
    ledger: InState | InFiles, tally: Tally, instead: Sequence[Pack], listed: Sequence[Replayed], save: Path | None
) -> None:
    named = ", ".join(f"{pack.id} version {pack.version}" for pack in instead)
    what = f"asked what {named} would have decided" if instead else "decided again on the facts and packs of their day"
    _out.print(f"[bold]{escape(ledger.name)}[/bold]: {ledger.size:,} entries, {tally.total:,} decisions {what}")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    for result in Result:
        means, style = _MEANS[result]
        count = tally.results[result]
        if count or result in _ALWAYS_TOLD:
            table.add_row(Text(f"{count:,}", style if count else "dim"), Text(means, "" if count else "dim"))
    _out.print(table)
    if instead:
        _show_changes(tally)
    for one in listed:
        _out.print(_told(one))
    untold = tally.total - tally.results[Result.EQUAL] - len(listed)
    if untold > 0:
        hint = "" if save is not None else "; --save FILE writes them all"
        _out.print(f"and {untold:,} more{hint}")
    if save is not None:
        _out.print(f"all of them are in {escape(str(save))}")
    elif instead:
        _out.print("nothing of this was kept; --save FILE writes each decision", style="dim")


def _show_changes(tally: Tally) -> None:
    """How many would have been decided differently, from what to what, and by which rules."""
    table = Table("recorded", "would have been", "decisions", box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for (before, after), count in sorted(tally.changes.items(), key=lambda item: -item[1]):
        table.add_row(Text(before, _STYLES[before]), Text(after, _STYLES[after]), f"{count:,}")
    if tally.changes:
        _out.print(table)
    else:
        _out.print("no outcome would have been another")
    rules = Table("rule", "now also finds", "no longer finds", box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in rules.columns[1:]:
        column.justify = "right"
    names = sorted(tally.gained.keys() | tally.lost.keys())
    for name in names:
        rules.add_row(name, f"{tally.gained[name] or ''}", f"{tally.lost[name] or ''}")
    if names:
        _out.print(rules)


def _told(one: Replayed) -> Text:
    """One decision that did not come out the same."""
    text = Text(f"entry {one.index}  {one.decision_id}  ", "bold")
    means, style = _MEANS[one.result]
    if one.recorded is not None and one.replayed not in (None, one.recorded):
        text.append(str(one.recorded), _STYLES[one.recorded])
        text.append(" → ")
        text.append(str(one.replayed), _STYLES[str(one.replayed)])
    else:
        text.append(means, style)
    if one.why:
        text.append(f"\n    {one.why}", "dim")
    for each in one.differences:
        text.append(f"\n    {each.field}", "dim")
        text.append(f"\n      recorded  {each.recorded or 'nothing'}\n      replayed  {each.replayed or 'nothing'}")
    return text


def _plain(one: Replayed) -> dict[str, Any]:
    return {
        "index": one.index,
        "decision_id": one.decision_id,
        "result": one.result,
        "recorded": one.recorded,
        "replayed": one.replayed,
        "why": one.why,
        "differences": [
            {"field": each.field, "recorded": each.recorded, "replayed": each.replayed} for each in one.differences
        ],
    }


def _as_json(
    source: str, ledger: InState | InFiles, tally: Tally, instead: Sequence[Pack], listed: Sequence[Replayed]
) -> dict[str, Any]:
    return {
        "source": source,
        "ledger": ledger.name,
        "entries": ledger.size,
        "root": ledger.root.hex(),
        "engine": engine_version(),
        "with": [{"pack_id": pack.id, "version": pack.version, "sha256": pack.sha256} for pack in instead],
        "decisions": tally.total,
        "results": {result: tally.results[result] for result in Result},
        "changes": [{"recorded": one, "replayed": other, "decisions": n} for (one, other), n in tally.changes.items()],
        "gained": _counts(tally.gained),
        "lost": _counts(tally.lost),
        "listed": [_plain(one) for one in listed],
    }


def _counts(counted: Counter[str]) -> dict[str, int]:
    return dict(sorted(counted.items()))
