"""What is known of data sets and models: what they were made from, and whether they may be used.

An artifact that was made from data whose consent was invalid is *tainted*, and so is everything made from it, for
ever (In re Everalbum, FTC 2021: models developed with such data are destroyed with it). Nothing takes a taint away: a
new artifact has to be made, from data that was permitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the codec reads type hints at run time

from consentry_server.core.vocabulary import AgeBand, KnownBy, Words

MAX_PEOPLE = 256
"""People of one artifact that are kept by name; of a larger one it is known that there are more."""


class ArtifactKind(Words):
    """What a derived artifact is."""

    DATASET = "DATASET"
    MODEL = "MODEL"


class TaintReason(Words):
    """Why the consent behind an artifact is invalid."""

    DECISION_NOT_PERMITTING = "DECISION_NOT_PERMITTING"
    """The decision that it was made under did not permit making it."""
    DECISION_LATE = "DECISION_LATE"
    """It was made before the decision was recorded, or the decision is itself a late report."""
    BASIS_GONE = "BASIS_GONE"
    """What the decision rested on no longer held when the lineage was recorded."""
    SOURCE_DESTROYED = "SOURCE_DESTROYED"
    """It was made from something whose destruction was requested before."""
    PERSON_LEFT_OUT = "PERSON_LEFT_OUT"
    """Its photo is declared to show a person of whom the decision says nothing."""
    PARENT_TAINTED = "PARENT_TAINTED"
    """It was made from a tainted artifact, or one that became tainted later."""
    CONSENT_ENDED_BEFORE = "CONSENT_ENDED_BEFORE"
    """It was learnt later that a person had withdrawn before the lineage was recorded."""
    SIGNER_WAS_CHILD = "SIGNER_WAS_CHILD"
    """It was learnt later that a release it rests on was a child's own."""


class ArtifactState(Words):
    """What a decision has to know of the artifact that an operation is on."""

    NONE = "NONE"
    """The operation names no artifact."""
    UNKNOWN = "UNKNOWN"
    """The artifact, or its lineage, is not on record."""
    CLEAN = "CLEAN"
    """Its lineage is on record, and no taint."""
    TAINTED = "TAINTED"


@dataclass(frozen=True, slots=True)
class MadeOf:
    """One person in an artifact, as the decisions that permitted it knew them: of several, the stricter counts."""

    subject_ref: str
    known_by: KnownBy = KnownBy.UNKNOWN
    regions: frozenset[str] = frozenset()
    age_band: AgeBand = AgeBand.UNKNOWN


@dataclass(frozen=True, slots=True)
class MadeInto:
    """One artifact that a person's data went into.

    Args:
        artifact_id: The artifact.
        time: When this was recorded last, by the ledger's clock.
        basis: Ledger indices of the facts that it rested on, ascending.
    """

    artifact_id: str
    time: datetime
    basis: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Artifact:
    """One data set or model.

    Args:
        artifact_id: The caller's slug.
        kind: What it is.
        index: The entry that recorded it first.
        time: When that was.
        last_index: The entry that recorded sources of it last.
        sources: How many photos and identifiers it was made from.
        parents: The artifacts it was made from.
        children: The artifacts made from it.
        people: The people in it, the first ``MAX_PEOPLE``.
        more_people: Whether there are more.
        strangers: Whether it was made from data of people whom nobody named.
        identifies_individual: Whether any system that uses it identifies a person; None is unknown.
        tainted_index: The entry that tainted it, or -1.
        taint: Why.
    """

    artifact_id: str
    kind: ArtifactKind
    index: int
    time: datetime
    last_index: int
    sources: int = 0
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    people: tuple[MadeOf, ...] = ()
    more_people: bool = False
    strangers: bool = False
    identifies_individual: bool | None = None
    tainted_index: int = -1
    taint: TaintReason | None = None

    @property
    def tainted(self) -> bool:
        """Whether it may be used for nothing any more."""
        return self.tainted_index >= 0
