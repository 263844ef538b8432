"""``consentry audit``: export a ledger as files, and verify such files with nothing but them and the published key."""

from __future__ import annotations

from itertools import chain as chained
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from consentry_server import cli_discovery, cli_rebuild, cli_replay, cli_verify, config
from consentry_server.adapters.anchors.folder import AnchorFolder
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.cli_discovery import Form
from consentry_server.cli_filters import (
    ActorOption,
    FromOption,
    OutcomeOption,
    PhotoOption,
    RuleOption,
    SubjectOption,
    ToOption,
    TypeOption,
    opened,
    stated,
    wanted,
)
from consentry_server.cli_sources import Access
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.anchors import with_kept_cosignatures
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.export import CHECKPOINT_PATH, export
from consentry_server.core.ledger.rotation import KEYS_PATH, parse_keys
from consentry_server.services.ledger import tile_reader
from consentry_server.services.packs_beside import PacksBeside
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders, tile_store

if TYPE_CHECKING:
    from consentry_server.cli_sources import Wanted
    from consentry_server.core.ledger.rotation import KeyChain

app = typer.Typer(help="Read, export and verify the ledger.", no_args_is_help=True, rich_markup_mode=None)
_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)
app.command("rebuild")(cli_rebuild.rebuild)


@app.command("export")
def export_ledger(
    state: Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)],
    target: Annotated[
        Path, typer.Argument(help="Folder to write; a later export of tiles adds to it.", show_default=False)
    ],
    tenant: Annotated[str, typer.Option(help="Whose ledger; needed where there are several.")] = "",
    form: Annotated[Form, typer.Option("--format", help="jsonl and csv are for discovery tools.")] = Form.TILES,
    types: TypeOption = None,
    subject: SubjectOption = "",
    photo: PhotoOption = "",
    outcome: OutcomeOption = None,
    rule: RuleOption = "",
    actor: ActorOption = "",
    from_time: FromOption = "",
    to_time: ToOption = "",
) -> None:
    """Write a ledger as C2SP tlog-tiles: vkey, tiles, and the checkpoint last. The server may be running.

    As jsonl or csv: the chosen entries and a manifest of hashes.
    """
    choice = wanted(types, subject, photo, outcome, rule, actor, from_time, to_time)
    if (target / config.FILE_NAME).exists():
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{target} is a state folder: name another folder to export to", field="target"
        )
    if form is not Form.TILES:
        _export_chosen(state, target, tenant, form, choice)
        return
    if stated(choice):
        raise ConsentryError(Reason.FIELD_INVALID, "tiles hold every entry: filters are for jsonl, csv", field="format")
    name = config.load(state).tenancy.choose(tenant)
    folders = TenantFolders(state, name)
    checkpoint = FileLockRecord(folders.lock).read()
    if checkpoint is None:
        raise ConsentryError(Reason.NOT_FOUND, f"no checkpoint was published for {folders.data.name}: serve it first")
    chain = published_chain(folders)
    key = chain.newest
    size = open_checkpoint(checkpoint, chain.at_note(checkpoint)).checkpoint.size
    kept = list(AnchorFolder(folders.data).files())
    store = TieredStore(SqliteLedgerStore(folders.ledger), tile_store(state, name, config.load(state)))
    packs = PacksBeside(store)
    written = 0
    try:
        with Progress(console=_messages, transient=True) as progress:
            task = progress.add_task("exporting", total=None)
            for path, data in export(
                _exported_size(target, chain),
                with_kept_cosignatures(checkpoint, size, kept),
                key,
                read_entries=packs.read_entries,
                read_tile=tile_reader(store),
                beside=chained([(KEYS_PATH, chain.encode()), *kept], packs.files()),
            ):
                _write(target / path, data)
                written += 1
                progress.update(task, advance=1)
    finally:
        store.close()
    _out.print(f"{size} entries of {key.name} in {target}: {written} files written")


def _export_chosen(state: Path, target: Path, tenant: str, form: Form, choice: Wanted) -> None:
    with opened(str(state), Access(tenant)) as source, Progress(console=_messages, transient=True) as progress:
        task = progress.add_task("exporting", total=None)
        count, size = cli_discovery.export(
            source, target, form, choice, stated(choice), lambda done: progress.update(task, completed=done)
        )
    _out.print(f"{count} of {size} entries of {source.ledger} in {target}, with {cli_discovery.MANIFEST}")


app.command("verify")(cli_verify.verify_ledger)
app.command("replay")(cli_replay.replay)


def published_chain(folders: TenantFolders) -> KeyChain:
    """The ledger's public keys, as the server published them beside its data."""
    try:
        return parse_keys(folders.published_keys.read_bytes())
    except FileNotFoundError as error:
        raise ConsentryError(
            Reason.NOT_FOUND, f"{folders.data.name} has no published key yet: serve it first"
        ) from error


def _exported_size(target: Path, chain: KeyChain) -> int:
    """How much an earlier export into the same folder holds; a foreign checkpoint there is refused."""
    earlier = _read(target / CHECKPOINT_PATH)
    return 0 if earlier is None else open_checkpoint(earlier, chain.at_note(earlier)).checkpoint.size


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"{path} cannot be written: {error.strerror}; the export is incomplete"
        ) from error
