"""Two versions of a notice as the terminal shows them, wherever they were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from consentry_server.core.record.phrases import span, word

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from consentry_server.core.record.notice_changes import StatedNotice


@dataclass(frozen=True, slots=True)
class Version:
    """One version as it is shown.

    Args:
        version: Its number.
        language: BCP 47.
        effective: From when it applies, UTC.
        text: The exact text.
        text_sha256: Its hash, hex.
        categories: Words.
        purposes: Words.
        term: In words.
        recipients: One line for each.
    """

    version: int
    language: str
    effective: datetime
    text: str
    text_sha256: str
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    term: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference as it is shown; see ``core.record.notice_changes.Change``."""

    kind: str
    value: str
    text: str
    citation: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two versions and what lies between them."""

    notice_id: str
    older: Version
    newer: Version
    changes: tuple[Difference, ...]
    affected: int
    stopped: bool

    @property
    def reconsent(self) -> bool:
        """Whether people have to be asked again."""
        return any(change.citation for change in self.changes)


def length(duration: timedelta | None, end: str) -> str:
    """A length of term in words."""
    if duration is not None:
        return span(duration)
    return f"until {word(end)}" if end else "not stated"


def recipient_line(recipient_id: str, kind: str, purposes: Iterable[str], holding: timedelta | None) -> str:
    """A recipient in a line."""
    what = ", ".join(
        part
        for part in (
            word(kind) if kind else "",
            f"for {', '.join(word(each) for each in purposes)}" if purposes else "",
            f"holds it {span(holding)}" if holding is not None else "",
        )
        if part
    )
    return f"{recipient_id}: {what}" if what else recipient_id


def version_of(stated: StatedNotice, text: str) -> Version:
    """A version as a ledger has it.

    Args:
        stated: What its entry states.
        text: The exact text.
    """
    notice, term = stated.notice, stated.notice.term
    return Version(
        version=notice.version,
        language=notice.language,
        effective=notice.effective_time,
        text=text,
        text_sha256=notice.text_sha256,
        categories=tuple(sorted(word(each) for each in notice.categories)),
        purposes=tuple(sorted(word(each) for each in notice.purposes)),
        term=length(term.duration, term.end or "") if term is not None else length(None, ""),
        recipients=tuple(
            recipient_line(name, said.kind, sorted(said.purposes), said.holding)
            for name, said in stated.recipients.items()
        ),
    )
