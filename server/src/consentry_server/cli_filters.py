"""The options by which ``consentry audit`` chooses entries, and how they are read."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consentry_server.cli_sources import Access, StateFolder, Wanted
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.terms import actor_name
from consentry_server.core.vocabulary import Outcome
from consentry_server.services.reading import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentry_server.cli_sources import Source

_SERVER = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}")

SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A state folder, or a server's HOST:PORT.", show_default=False)
]
TenantOption = Annotated[str, typer.Option(help="Whose ledger; needed where a state folder has several.")]
CaOption = Annotated[Path | None, typer.Option(help="Authority of the server's certificate, PEM.", show_default=False)]
CertOption = Annotated[
    Path | None, typer.Option(help="Certificate of an auditor, officer or operator, PEM.", show_default=False)
]
KeyOption = Annotated[Path | None, typer.Option(help="The certificate's key, PEM.", show_default=False)]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", help="Such as decision; repeat for more.", show_default=False),
]
SubjectOption = Annotated[str, typer.Option(help="About this person: sub_...; of a server, your own id as well.")]
PhotoOption = Annotated[str, typer.Option(help="About this photo: pho_...; of a server, its SHA-256 as well.")]
OutcomeOption = Annotated[
    list[Outcome] | None, typer.Option(help="Decisions with this outcome; repeat for more.", show_default=False)
]
RuleOption = Annotated[str, typer.Option(help="Decisions in which this rule found something, such as IL-15B3-RELEASE.")]
ActorOption = Annotated[str, typer.Option(help="By this caller; system for the service itself.")]
FromOption = Annotated[str, typer.Option("--from", help="Recorded at this UTC time or later: 2026-11-23[T10:00[:00]].")]
ToOption = Annotated[str, typer.Option("--to", help="Recorded before this UTC time.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The entries' own bytes, one to a line, and nothing else.")]


@contextmanager
def opened(source: str, access: Access) -> Iterator[Source]:
    """Open a source.

    Args:
        source: A state folder, or a server's ``HOST:PORT``.
        access: How to reach it.

    Raises:
        ConsentryError: It is neither, or cannot be reached.
    """
    if Path(source).is_dir() or not _SERVER.fullmatch(source):
        folder = StateFolder(Path(source), access.tenant)
        try:
            yield folder
        finally:
            folder.close()
        return
    from consentry_server.cli_remote import RemoteLedger  # noqa: PLC0415 - gRPC takes half the time of a start

    remote = RemoteLedger(source, access)
    try:
        yield remote
    finally:
        remote.close()


def is_server(source: str) -> bool:
    """Whether a source is a server's ``HOST:PORT``."""
    return _SERVER.fullmatch(source) is not None


def access(tenant: str, ca: Path | None, cert: Path | None, key: Path | None) -> Access:
    """How to reach the source."""
    return Access(tenant=tenant, ca=ca, certificate=cert, key=key)


def wanted(
    types: list[str] | None,
    subject: str,
    photo: str,
    outcomes: list[Outcome] | None,
    rule: str,
    actor: str,
    from_time: str,
    to_time: str,
) -> Wanted:
    """Read the filter options.

    Raises:
        ConsentryError: ``FIELD_INVALID``: a time is none.
    """
    chosen = Filter(
        types=frozenset(types or ()),
        from_time=moment(from_time, "--from"),
        until_time=moment(to_time, "--to"),
        outcomes=frozenset(outcomes or ()),
        rule_id=rule,
        actor=actor_name(actor),
    )
    return Wanted(chosen, subject=subject, photo=photo.lower())


def moment(text: str, option: str) -> datetime | None:
    """Read a time; what names no zone is UTC."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{option} must be a time such as 2026-11-23 or 2026-11-23T10:00", field=option
        ) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def stated(choice: Wanted) -> dict[str, object]:
    """A filter as a manifest states it: what was asked for, and nothing else."""
    chosen = choice.filter
    parts: dict[str, object] = {
        "types": sorted(chosen.types),
        "subject": choice.subject,
        "photo": choice.photo,
        "outcomes": sorted(str(each) for each in chosen.outcomes),
        "rule": chosen.rule_id,
        "actor": chosen.actor,
        "from": "" if chosen.from_time is None else chosen.from_time.isoformat(),
        "to": "" if chosen.until_time is None else chosen.until_time.isoformat(),
    }
    return {name: value for name, value in parts.items() if value}
