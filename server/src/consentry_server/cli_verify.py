"""``consentry audit verify``: an exported folder, a web address or a running server, checked against a published key.

Exit codes: 0 intact, and whatever evidence was brought along holds; 2 the command line is wrong; 5 damaged, or
contradicted by what others hold; 6 it could not be verified: the source cannot be read, or evidence that was brought
along supports nothing; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from consentry_server import cli_report
from consentry_server.adapters.sources.folder import Folder
from consentry_server.adapters.sources.web import Web
from consentry_server.cli_outside import Files, read_evidence, read_key, require_elsewhere
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.report import Completeness, Standing
from consentry_server.services.verification import SourceError, Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Task

    from consentry_server.core.ledger.evidence import Evidence
    from consentry_server.core.ledger.report import Report
    from consentry_server.services.verification import Source

DAMAGED: Final = 5
NOT_VERIFIED: Final = 6
SECRET_BYTES: Final = 32

_SUBJECT_REF: Final = re.compile(r"sub_[a-z2-7]{16,64}")
_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)


def verify_ledger(
    source: Annotated[
        str,
        typer.Argument(
            help="An exported folder; https://… that serves one; grpcs://host:port of a running server.",
            show_default=False,
        ),
    ],
    vkey: Annotated[
        Path,
        typer.Option(
            help="File with the ledger's published key, from a place its keeper cannot change.", show_default=False
        ),
    ],
    witness_vkey: Annotated[
        list[Path] | None, typer.Option(help="File with the key of a witness that you trust.", show_default=False)
    ] = None,
    timestamp: Annotated[
        list[Path] | None,
        typer.Option(help="File with an RFC 3161 response over a checkpoint; needs --tsa-ca.", show_default=False),
    ] = None,
    tsa_ca: Annotated[
        Path | None, typer.Option(help="PEM of the timestamp authority's certificates.", show_default=False)
    ] = None,
    permit: Annotated[
        list[Path] | None, typer.Option(help="File with a permit that somebody else holds.", show_default=False)
    ] = None,
    permit_keys: Annotated[
        Path | None, typer.Option(help="JWK set that permits are signed with.", show_default=False)
    ] = None,
    earlier_checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="File with a checkpoint that was kept outside the ledger.", show_default=False),
    ] = None,
    subject_ref: Annotated[
        str, typer.Option(help="A person whose entries are to be listed: sub_…", show_default=False)
    ] = "",
    tls_ca: Annotated[
        Path | None, typer.Option(help="PEM of the authorities that the server's certificate comes from.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM of your certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM of its key.")] = None,
    tls_name: Annotated[
        str, typer.Option(help="Name in the certificate of a grpcs:// server, where it is not the host's.")
    ] = "",
    token_file: Annotated[Path | None, typer.Option(help="File with a bearer token for https://.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that work side by side.", min=1, show_default="all cores")] = (
        os.cpu_count() or 1
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Verify a ledger: three verdicts, each with what it rests on.

    Exit code 0: intact, and the evidence that you brought along holds. 2: the command line is wrong. 5: damaged, or
    contradicted by what others hold. 6: it could not be verified, because the source cannot be read or the evidence
    supports nothing; that says nothing about the ledger.
    """
    if subject_ref and not _SUBJECT_REF.fullmatch(subject_ref):
        raise ConsentryError(Reason.FIELD_INVALID, "--subject-ref is not of the form sub_…", field="subject_ref")
    key = read_key(vkey)
    files = Files(
        witness_vkeys=witness_vkey or (),
        timestamps=timestamp or (),
        tsa_ca=tsa_ca,
        permits=permit or (),
        permit_keys=permit_keys,
        earlier_checkpoints=earlier_checkpoint or (),
    )
    require_elsewhere(files, source)
    try:
        where = source_of(source, tls_ca, tls_cert, tls_key, tls_name, token_file)
        with Verification(where, workers=workers) as run, _progress() as progress:
            evidence = read_evidence(files, key, run.checkpoint)
            report = run.verify(
                key,
                secret=secrets.token_bytes(SECRET_BYTES),
                evidence=evidence,
                subject_ref=subject_ref,
                progress=progress,
            )
    except SourceError as error:
        _messages.print(f"consentry: not verified: {error.message}", markup=False, soft_wrap=True)
        raise typer.Exit(NOT_VERIFIED) from error
    code = exit_code(report, evidence)
    if as_json:
        facts: dict[str, Any] = {"source": source, "vkey": key.vkey, **report.as_json(), "exit_code": code}
        typer.echo(json.dumps(facts, indent=2))
    else:
        names = cli_report.Names(source, str(vkey), key, has_files=where.has_upper_tiles)
        _out.print(cli_report.render(report, names, subject_ref, asked=evidence.given, exit_code=code))
    if code:
        raise typer.Exit(code)


def exit_code(report: Report, evidence: Evidence) -> int:
    """What a verification ends with.

    Args:
        report: What was found.
        evidence: What was brought along.

    Returns:
        0, 5 or 6; see the head of this file.
    """
    if not report.sound:
        return DAMAGED
    useless = any(ground.standing is Standing.UNUSABLE for ground in report.grounds)
    if evidence.given and (useless or report.completeness is Completeness.NOT_PROVEN):
        return NOT_VERIFIED
    return 0


def source_of(
    text: str, ca: Path | None, certificate: Path | None, key: Path | None, name: str, token_file: Path | None
) -> Source:
    """Where a ledger lies that a command line names.

    Args:
        text: A folder, ``https://...`` or ``grpcs://host:port``.
        ca: PEM of the authorities to trust.
        certificate: PEM of the caller's certificate.
        key: PEM of its key.
        name: Name in a server's certificate, where it is not the host's.
        token_file: File with a bearer token, for https.

    Raises:
        ConsentryError: ``FIELD_INVALID`` or ``FIELD_REQUIRED``; ``SourceError``: the address is none.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Folder(Path(text))
    if scheme not in {"http", "https", "grpc", "grpcs"}:
        raise ConsentryError(Reason.FIELD_INVALID, f"{scheme}:// is not known: a folder, https:// or grpcs://")
    if scheme in {"http", "https"}:
        token = "" if token_file is None else _token(token_file)
        return Web(text, token=token, ca=ca, certificate=certificate, key=key)
    from consentry_server.adapters.sources.live import Live  # noqa: PLC0415 - workers start without gRPC, in half the time

    if scheme == "grpc":
        return Live(rest)
    if ca is None or certificate is None or key is None:
        raise ConsentryError(
            Reason.FIELD_REQUIRED, "grpcs:// needs --tls-ca, --tls-cert and --tls-key: an auditor's certificate"
        )
    return Live(rest, ca=ca, certificate=certificate, key=key, server_name=name)


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConsentryError(Reason.FIELD_INVALID, f"{path} cannot be read as a token") from error


class _RateColumn(ProgressColumn):
    """Entries a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} entries/s")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    columns = (
        TextColumn("verifying"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_messages, transient=True, disable=not _messages.is_terminal) as progress:
        task = progress.add_task("verifying", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
