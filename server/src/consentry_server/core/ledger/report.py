"""What verification says: three separate verdicts, each with what it rests on, and what was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consentry_server.core.ledger.scan import Finding


class Integrity(StrEnum):
    """Whether what is there is what was recorded."""

    INTACT = "INTACT"
    DAMAGED = "DAMAGED"


class Completeness(StrEnum):
    """Whether it is everything that was recorded, up to the checkpoint and at its time.

    The ledger's own key proves nothing here: its keeper could sign another tree. Only what others hold does.
    """

    PROVEN = "PROVEN"
    IN_PART = "PROVEN IN PART"
    NOT_PROVEN = "NOT PROVEN"
    REFUTED = "REFUTED"


class Selection(StrEnum):
    """Whether all that the ledger has about a person is here."""

    FULL_SCAN = "PROVEN BY FULL SCAN"
    CHAIN = "PROVEN BY THE PERSON'S CHAIN ONLY"
    NOT_PROVEN = "NOT PROVEN"


class Standing(StrEnum):
    """How evidence from outside relates to the ledger."""

    HOLDS = "HOLDS"
    CONTRADICTED = "CONTRADICTED"
    UNUSABLE = "UNUSABLE"


@dataclass(frozen=True, slots=True)
class Ground:
    """One piece of evidence from outside, and what came of it.

    Args:
        standing: Whether it agrees with the ledger.
        first: The first entry that it speaks for.
        until: The entry after the last that it speaks for; equal to ``first`` where it speaks for none.
        text: One plain sentence.
    """

    standing: Standing
    first: int
    until: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found.

    Args:
        origin: The ledger's name.
        size: Entries under the checkpoint; 0 where it could not be believed.
        root: The checkpoint's root, 32 bytes; empty where it could not be believed.
        integrity: Whether every entry is the one that was recorded.
        integrity_basis: What that rests on.
        completeness: Whether someone beside the ledger's keeper vouches that this is all.
        completeness_basis: What that rests on.
        grounds: The evidence from outside, each by itself.
        selection: Whether all entries about each person, or about the one asked for, are here.
        selection_basis: What that rests on.
        mentions: Indices of the entries about the person asked for; the first 10,000.
        findings: What is wrong, the first 200 of it.
        findings_total: How many findings there were.
        not_covered: Files that lie beyond the checkpoint or are no part of a ledger; nothing is said about them.
        people: How many persons the entries are about.
        first_time: Time of the first entry, as entries have it; empty for an empty ledger.
        last_time: Time of the last entry.
    """

    origin: str
    size: int
    root: bytes
    integrity: Integrity
    integrity_basis: str
    completeness: Completeness
    completeness_basis: str
    grounds: tuple[Ground, ...]
    selection: Selection
    selection_basis: str
    mentions: tuple[int, ...]
    findings: tuple[Finding, ...]
    findings_total: int
    not_covered: tuple[str, ...]
    people: int
    first_time: str
    last_time: str

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged and nothing that others hold contradicts it."""
        return self.integrity is Integrity.INTACT and self.completeness is not Completeness.REFUTED

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values; the root in hexadecimal."""
        return {**asdict(self), "root": self.root.hex()}
