"""``consentry evidence``: a pack for a court or an auditor, out of a state folder; the server may be running."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from consentry_server import config
from consentry_server.adapters.kms.keyfile import KeyFile
from consentry_server.adapters.kms.private_files import read_passphrase
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.services.evidence_selection import Wanted
from consentry_server.services.issuer import Issuer
from consentry_server.services.keys import Keys
from consentry_server.services.people import subject_lookup
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders, evidence, tile_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consentry_server.config import Settings

_out = Console(highlight=False)
_messages = Console(stderr=True, highlight=False)


def export_evidence(
    state: Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ZIP to write.", show_default=False)],
    subject: Annotated[str, typer.Option(help="Everything about this person: your own id.")] = "",
    subject_ref: Annotated[str, typer.Option(help="The same, by the reference that entries carry.")] = "",
    photo: Annotated[str, typer.Option(help="Everything about this photo: its photo_id.")] = "",
    since: Annotated[
        datetime | None, typer.Option("--from", help="Everything from this time on, UTC.", show_default=False)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", help="Everything before this time, UTC.", show_default=False)
    ] = None,
    redact_others: Annotated[
        bool, typer.Option("--redact-others", help="Withhold entries that concern other persons; proofs stay valid.")
    ] = False,
    tenant: Annotated[str, typer.Option(help="Whose ledger; needed where there are several.")] = "",
) -> None:
    """Write an evidence pack: entries, proofs, documents, a cover with a certificate form, and a verifier."""
    settings = config.load(state)
    name = settings.tenancy.choose(tenant)
    folders = TenantFolders(state, name)
    if sum(map(bool, (subject, subject_ref, photo, since or until))) != 1:
        raise ConsentryError(
            Reason.FIELD_INVALID, "name one of --subject, --subject-ref, --photo, or a period with --from and --to"
        )
    note = FileLockRecord(folders.lock).read()
    if note is None or not folders.published_key.exists():
        raise ConsentryError(Reason.NOT_FOUND, f"no checkpoint was published for {name}: serve it first")
    store = TieredStore(SqliteLedgerStore(folders.ledger), tile_store(state, name, settings))
    try:
        wanted = Wanted(
            subject_ref=subject_ref or (_reference(settings, folders, store, subject) if subject else ""),
            photo_id=photo,
            from_time=_utc(since),
            until_time=_utc(until),
            redact_others=redact_others,
        )
        key = parse_vkey(folders.published_key.read_text(encoding="ascii").strip())
        digest = _write(output, evidence(store, folders, key).export(wanted, note))
    finally:
        store.close()
    _out.print(f"{output}: {output.stat().st_size} bytes", soft_wrap=True)
    _out.print(f"SHA-256 {digest}: write it into the certificate", soft_wrap=True)
    _out.print(f"check it: python3 verify.py {output.name} --vkey LEDGER.vkey; README.txt says how", soft_wrap=True)


def _write(output: Path, pieces: Iterable[bytes]) -> str:
    """Write beside, then rename: a pack that is there is whole."""
    if output.exists() and not output.is_file():
        raise ConsentryError(Reason.FIELD_INVALID, f"{output} is no file: name a ZIP to write", field="--output")
    beside = output.with_name(f".{output.name}.new")
    digest, done = hashlib.sha256(), 0
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=_messages, transient=True) as progress, beside.open("wb") as file:
            task = progress.add_task("making the pack", total=None)
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                progress.update(task, description=f"making the pack, {done // 1024} KiB")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(output)
    except OSError as error:
        raise ConsentryError(Reason.STORAGE_FAILED, f"{output} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
    return digest.hexdigest()


def _reference(settings: Settings, folders: TenantFolders, store: TieredStore, subject_id: str) -> str:
    """Whom the caller's id means: the keyed table needs the tenant's keys."""
    tenant, sealed_by = folders.data.name, settings.keys.passphrase_file
    passphrase = None if sealed_by is None else read_passphrase(sealed_by)
    keys = Keys(
        tenant,
        KeyFile(folders.key_file, tenant, passphrase=passphrase),
        SqliteKeyStore(folders.key_store, tenant),
        clock=lambda: datetime.now(UTC),
        random=os.urandom,
    )
    keys.start(create=False)
    try:
        issuer = Issuer(ledger=f"{settings.tenancy.trust_domain}/{tenant}", keys=keys)
        found = store.fetch_reference(subject_lookup(issuer, subject_id, "--subject"))
    finally:
        keys.close()
    if found is None:
        raise ConsentryError(Reason.NOT_FOUND, "nothing is on record about this person", field="--subject")
    return found


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
