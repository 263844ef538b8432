"""``consentry audit timestamp`` and ``consentry audit rotate-key``: what others vouch for, and with which key."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from consentry_server import anchoring, cli_audit, config, logs
from consentry_server import tenant as tenants
from consentry_server.adapters.anchors.folder import AnchorFolder
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.anchors import TIMESTAMP, path
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.services.anchors import keep
from consentry_server.services.ports_anchors import AnchorError

if TYPE_CHECKING:
    from consentry_server.adapters.timestamp.rfc3161 import Rfc3161Authority
    from consentry_server.core.ledger.rotation import KeyChain

FAILED = 1

State = Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)]
TenantName = Annotated[str, typer.Option(help="Whose ledger; needed where there are several.")]
_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)


def add_to(app: typer.Typer) -> None:
    """Add these commands to ``consentry audit``."""
    app.command("timestamp")(timestamp)
    app.command("rotate-key")(rotate_key)


def timestamp(state: State, tenant: TenantName = "") -> None:
    """Have every timestamp authority stamp the newest checkpoint now. The server may be running."""
    settings = config.load(state)
    folders = tenants.TenantFolders(state, config.load(state).tenancy.choose(tenant))
    asked = anchoring.authorities(settings)
    if not asked:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID,
            f"no timestamp authority is configured: add a table [[anchors.timestamp]] to {state / config.FILE_NAME}",
        )
    note = FileLockRecord(folders.lock).read()
    if note is None:
        raise ConsentryError(Reason.NOT_FOUND, f"no checkpoint was published for {folders.data.name}: serve it first")
    size = open_checkpoint(note, cli_audit.published_chain(folders).at_note(note)).checkpoint.size
    given = asyncio.run(_stamp(asked, note, size, AnchorFolder(folders.data)))
    for name, said in given.items():
        if isinstance(said, AnchorError):
            _messages.print(f"consentry: {said.message}", markup=False, soft_wrap=True)
        else:
            file = folders.data / path(size, name + TIMESTAMP)
            _out.print(f"{name} stamped {size} entries at {said}: {file}", markup=False, soft_wrap=True)
    if any(isinstance(said, AnchorError) for said in given.values()):
        raise typer.Exit(FAILED)


def rotate_key(state: State, tenant: TenantName = "") -> None:
    """Give the ledger a new key, vouched for by the old one, which is destroyed. The server must be stopped."""
    settings = config.load(state)
    logs.configure(level="error")
    name = config.load(state).tenancy.choose(tenant)
    chain = asyncio.run(_rotate(state, name, settings))
    _out.print(f"{chain.newest.name} signs with a new key from {chain.ranges[-1].first_size} entries on")
    _out.print(chain.newest.vkey, markup=False, soft_wrap=True)
    _messages.print("publish it where you published the old one, and give it to every witness")


async def _stamp(
    asked: tuple[Rfc3161Authority, ...], note: bytes, size: int, kept: AnchorFolder
) -> dict[str, str | AnchorError]:
    async def stamp(authority: Rfc3161Authority) -> str | AnchorError:
        try:
            vouched = await authority.stamp(note)
            keep(kept, size, note, authority.name + TIMESTAMP, vouched.data)
        except AnchorError as error:
            return error
        return f"{vouched.time:%Y-%m-%d %H:%M:%S} UTC"

    done = await asyncio.gather(*(stamp(one) for one in asked))
    return {one.name: said for one, said in zip(asked, done, strict=True)}


async def _rotate(state: Path, name: str, settings: config.Settings) -> KeyChain:
    running = tenants.RunningTenant(state, name, settings, encrypted_in_transit=True)
    services = await running.start()
    try:
        return await running.rotate_key(services)
    finally:
        await running.aclose()
