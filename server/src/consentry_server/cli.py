"""The ``consentry`` command.

Exit codes: 0 done; 1 it failed, and the message says what to do; 2 the command line is wrong; 3 a setting is wrong;
4 it exists already, or does not exist; 5 the ledger or stored data is damaged or contradicts what was published:
follow the recovery procedure before anything else; 6 a ledger could not be verified, which says nothing about it (see
``cli_verify.py``); 7 something is lacking for which people would be refused (see ``cli_posture.py``); 130 interrupted.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer
from rich.console import Console
from rich.table import Table

from consentry_server import (
    cli_anchors,
    cli_audit,
    cli_cases,
    cli_evidence,
    cli_explain,
    cli_notices,
    cli_packs,
    cli_posture,
    cli_read,
    cli_reviews,
    cli_simulate,
    cli_tiles,
    config,
    logs,
)
from consentry_server.adapters import certificates
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

FAILED: Final = 1
EXIT_CODES: Final = {
    Reason.CONFIGURATION_INVALID: 3,
    Reason.FIELD_INVALID: 2,
    Reason.FIELD_REQUIRED: 2,
    Reason.ALREADY_EXISTS: 4,
    Reason.NOT_FOUND: 4,
    Reason.DATA_DAMAGED: 5,
    Reason.LEDGER_FORKED: 5,
}
"""What is not named here is 1."""
INTERRUPTED: Final = 130
TLS_FOLDER: Final = "tls"

app = typer.Typer(
    name="consentry",
    help="Consentry stands between uploaded photos and anything biometric that would be done with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cli_audit.app.command("serve-tiles")(cli_tiles.serve_tiles)
cli_audit.app.add_typer(cli_read.app)
app.add_typer(cli_audit.app, name="audit")
cli_anchors.add_to(cli_audit.app)
app.add_typer(cli_notices.app, name="notices", help="The notices that people are told, over time.")
app.command("evidence")(cli_evidence.export_evidence)
law = typer.Typer(help="Read the law as it is applied.", no_args_is_help=True, rich_markup_mode=None)
law.command("explain")(cli_explain.explain)
law.command("test")(cli_cases.run)
app.add_typer(law, name="law")
app.add_typer(cli_packs.app, name="packs")
app.add_typer(cli_reviews.app, name="reviews")
app.command("posture")(cli_posture.posture)
app.command("simulate")(cli_simulate.simulate)
_messages = Console(stderr=True, highlight=False)

State = Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)]


@app.command()
def init(
    state: State,
    tenant: Annotated[
        list[str] | None, typer.Option(help="A tenant to host; repeat for more.", show_default="main")
    ] = None,
    trust_domain: Annotated[
        str, typer.Option(help="Domain that names the server and its callers.")
    ] = "consentry.local",
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing where the folder is made already.")
    ] = False,
) -> None:
    """Make a state folder: settings, keys, ledgers and certificates for development."""
    path = state / config.FILE_NAME
    if path.exists():
        if if_missing:
            _messages.print(f"{state} is made already")
            return
        raise ConsentryError(Reason.ALREADY_EXISTS, f"{state} is made already: serve it, or name another folder")
    tenancy_table = {
        "trust_domain": trust_domain,
        "tenants": tuple(tenant or ["main"]),
        "protection_at_least_other_sensitive": True,
    }
    table: dict[str, dict[str, Any]] = {"tenancy": tenancy_table}
    text = config.document(table)
    settings = config.make(table, source="the command line")
    _make_empty(state)
    try:
        tenancy = settings.tenancy
        now = datetime.now(tz=UTC)
        files = certificates.make_development(
            state / TLS_FOLDER, trust_domain=tenancy.trust_domain, tenants=tenancy.tenants, now=now
        )
        from consentry_server import app as application  # noqa: PLC0415 - see serve

        application.initialize(state, settings)
        _sync([*state.rglob("*"), state, state.parent])
        path.write_text(text, encoding="utf-8")  # last: only a folder that is complete has it
        _sync([path, state])
    except BaseException:
        _empty(state)
        raise
    _messages.print(f"made {state}; settings are in {path}")
    _messages.print(
        "they state that biometric data is protected at least as well as your other sensitive data"
        " (740 ILCS 14/15(e)): change that if it is not so"
    )
    _messages.print(_table(files))
    _messages.print(f"next: consentry serve {state}")


@app.command()
def serve(
    state: State,
    listen: Annotated[str, typer.Option(help="HOST:PORT instead of the setting; port 0 takes a free one.")] = "",
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the address as JSON here once calls are answered.", show_default=False)
    ] = None,
    unsafe_insecure_loopback: Annotated[
        bool,
        typer.Option(
            "--unsafe-insecure-loopback",
            help="No TLS and no identities, on a loopback address: every process of this machine may call as any role.",
        ),
    ] = False,
) -> None:
    """Serve a state folder until SIGTERM or Ctrl-C; accepted calls are finished."""
    from consentry_server import app as application  # noqa: PLC0415 - the other commands start without gRPC, in half the time

    settings = config.load(state, listen=listen)
    logs.configure(level=settings.log.level)

    def on_ready(port: int) -> None:
        host = settings.server.listen.rpartition(":")[0]
        if ready_file is not None:
            ready = {"address": f"{host}:{port}", "host": settings.server.host, "port": port, "pid": os.getpid()}
            temporary = ready_file.with_name(f".{ready_file.name}.new")
            temporary.write_text(json.dumps(ready) + "\n", encoding="utf-8")
            temporary.replace(ready_file)
        _messages.print(f"consentry answers on {host}:{port}", soft_wrap=True)

    if ready_file is not None:
        ready_file.unlink(missing_ok=True)  # an old one would call a server ready that is not
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(
                application.run(state, settings, unsafe_insecure_loopback=unsafe_insecure_loopback, on_ready=on_ready)
            )
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


@app.command()
def certificate(
    state: State,
    role: Annotated[Role, typer.Option(help="What the caller may do.", show_default=False)],
    name: Annotated[str, typer.Option(help="The caller's name; it stands in the ledger.", show_default=False)],
    tenant: Annotated[str, typer.Option(help="The caller's tenant; needed where there are several.")] = "",
) -> None:
    """Make one more caller's certificate for development."""
    tenancy = config.load(state).tenancy
    if not tenant and len(tenancy.tenants) == 1:
        tenant = tenancy.tenants[0]
    if tenant not in tenancy.tenants:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"--tenant must be one of {', '.join(tenancy.tenants)}", field="tenant"
        )
    caller = Caller(tenant=tenant, role=role, name=name)
    now = datetime.now(tz=UTC)
    files = certificates.issue(
        state / TLS_FOLDER, caller, trust_domain=tenancy.trust_domain, tenants=tenancy.tenants, now=now
    )
    _messages.print(_table({caller: files}))


@app.command()
def version() -> None:
    """Show the version."""
    print(f"consentry {distribution_version('consentry-server')}")


def main() -> None:
    """Run the command; failures are one sentence on standard error and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character is no reason to fail
    try:
        app()
    except ConsentryError as error:
        _messages.print(f"consentry: {error.message}", markup=False, soft_wrap=True)
        sys.exit(EXIT_CODES.get(error.reason, FAILED))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)


def _make_empty(state: Path) -> None:
    """Make the folder for its owner alone, and refuse one that holds something: it is not ours to clear."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(child.name != "lost+found" for child in state.iterdir()):
            raise ConsentryError(
                Reason.ALREADY_EXISTS,
                f"{state} holds files but no {config.FILE_NAME}: an unfinished init or something else; empty it first",
            )
        state.chmod(0o700)
    except OSError as error:
        raise ConsentryError(Reason.STORAGE_FAILED, f"{state} cannot be made: {error.strerror}") from error


def _sync(paths: Iterable[Path]) -> None:
    """Make files and folders durable: what init has answered for survives a power cut."""
    try:
        for path in paths:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"what init made could not be made durable: {error.strerror}; check the disk"
        ) from error


def _empty(state: Path) -> None:
    """Take back an init that failed half-way; the folder was empty before."""
    for child in state.iterdir():
        if child.name == "lost+found":
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:
            child.unlink(missing_ok=True)


def _table(files: dict[Caller, certificates.CertificateFiles]) -> Table:
    table = Table("tenant", "role", "name", "certificate", box=None)
    for caller, (certificate_path, _key) in files.items():
        table.add_row(caller.tenant, caller.role.value, caller.name, str(certificate_path))
    return table
