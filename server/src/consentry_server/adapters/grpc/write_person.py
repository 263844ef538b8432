"""What callers get of a person's claims and releases as they stand, and of how a notice changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry.v1 import notice_pb2, subject_pb2
from consentry_server.adapters.grpc import words, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry_server.core.record import facts
    from consentry_server.core.record.notice_changes import Change
    from consentry_server.services.book import Recorded


def change(held: Change) -> notice_pb2.NoticeChange:
    """Write one difference between two versions of a notice."""
    return notice_pb2.NoticeChange(
        kind=words.NOTICE_CHANGE_KIND.numbers[held.kind],
        material=held.material,
        value=held.value,
        text=held.text,
        citation=held.citation,
    )


def claims(held: facts.Subject) -> subject_pb2.SubjectClaims:
    """Write what is claimed about a person, merged."""
    return subject_pb2.SubjectClaims(
        regions=sorted(held.regions),
        age_band=words.AGE_BAND.numbers[held.age_band],
        relationship=words.RELATIONSHIP.numbers[held.relationship],
        majority_quarter=held.majority_quarter,
    )


def recorded_claim(
    ledger: str, held: facts.Claim, entries: Mapping[int, tuple[Recorded, Mapping[str, Any]]]
) -> subject_pb2.RecordedClaim:
    """Write who first claimed something.

    Args:
        ledger: The ledger's origin.
        held: The claim.
        entries: The entries that record claims, by index.
    """
    recorded, entry = entries[held.index]
    return subject_pb2.RecordedClaim(
        kind=words.CLAIM_KIND.numbers[held.fact.upper()],
        value=held.value,
        actor=entry["actor"],
        record_time=write.timestamp(recorded.time),
        entry=write.entry(ledger, recorded),
    )
