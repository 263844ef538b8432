"""What a law's conditions may look at: the operation and the bare state of the person, never a consent.

These facts are few and repeat, so the law is worked out once for each set of them (see ``lookup``): they are the
whole key under which a plan is remembered. A condition gets nothing else to look at, so that a remembered plan can
never be one that other facts would have made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from consentry_server.core.vocabulary import DataCategory, DisclosureBasis, Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from consentry_server.core.record.artifacts import ArtifactState
    from consentry_server.core.vocabulary import (
        AgeBand,
        Consideration,
        EntityType,
        Publisher,
        Purpose,
        Relationship,
        SourceKind,
        Visibility,
    )

LEAVING: Final = frozenset({Operation.DISCLOSE, Operation.SELL, Operation.LEASE, Operation.TRADE})
"""Operations that by themselves take data out of the tenant's hands."""

TRANSIENT: Final = frozenset(
    {Operation.DETECT_FACES, Operation.EXTRACT_TEMPLATE, Operation.ANALYZE_ATTRIBUTES, Operation.CHECK_QUALITY}
)
"""Operations that may leave nothing behind, if the caller says so; every other one keeps or uses what is kept."""


class Circumstances(NamedTuple):
    """The facts by which plans differ. What no active pack asks about is ``NOT_ASKED``."""

    operation: Operation
    purpose: Purpose
    category: DataCategory
    visibility: Visibility
    published_by: Publisher
    source_kind: SourceKind
    disclosure_basis: DisclosureBasis
    has_disclosure_evidence: bool
    consideration: Consideration
    uses_face_geometry: bool | None
    identifies: bool | None
    stored: bool | None
    linked_identity: bool | None
    new_york_city_establishment: bool | None
    portland_public_accommodation: bool | None
    has_recipient: bool
    entity_type: EntityType
    encrypted_at_rest: bool
    encrypted_in_transit: bool
    protection_at_least_other_sensitive: bool
    named: bool
    """Whether the caller says whose face it is."""
    known: bool
    """Whether the caller says how that is known."""
    age: AgeBand
    relationship: Relationship
    artifact_state: ArtifactState
    """What is on record of the data set or model that the operation is on."""
    uncovered: bool
    """Whether some region has no law pack that answers for this operation; meant for house packs alone."""

    @property
    def leaves(self) -> bool:
        """Whether data leaves the tenant's hands."""
        return self.operation in LEAVING or self.has_recipient or self.disclosure_basis != DisclosureBasis.NONE

    @property
    def keeps(self) -> bool:
        """Whether anything is kept, or what is kept is used; unknown counts as kept."""
        return self.stored is None or self.stored or self.operation not in TRANSIENT

    @property
    def linked(self) -> bool | None:
        """Identity data beside the scan; a named face or an ID document is that, whatever the caller says."""
        return True if self.named or self.category == DataCategory.GOV_ID_IMAGE else self.linked_identity


class _NotAsked:
    """Stands where no pack looks. Looking all the same fails, and what fails denies."""

    __slots__ = ()

    def __hash__(self) -> NoReturn:
        message = "a condition looks at a fact that it does not name in its reads"
        raise TypeError(message)

    def __bool__(self) -> bool:
        return hash(self) != 0

    def __eq__(self, _other: object) -> bool:
        return hash(self) != 0


NOT_ASKED: Final = _NotAsked()

_MADE_OF: Final = {
    "leaves": frozenset({"operation", "has_recipient", "disclosure_basis"}),
    "keeps": frozenset({"operation", "stored"}),
    "linked": frozenset({"named", "category", "linked_identity"}),
}


class Question(NamedTuple):
    """A question to the circumstances.

    Args:
        holds: The answer.
        reads: The fields of ``Circumstances`` that it looks at.
        fact: For explanations: the one fact or property it looks at; empty where it is put together of others.
        wanted: For explanations: the values under which it holds.
        parts: For explanations: the questions it is put together of.
        one_part: Whether one of the parts is enough; else all have to hold.
    """

    holds: Callable[[Circumstances], bool]
    reads: frozenset[str]
    fact: str = ""
    wanted: frozenset[object] = frozenset()
    parts: tuple[Question, ...] = ()
    one_part: bool = False


def one_of(fact: str, wanted: frozenset[object]) -> Question:
    """Ask whether a fact, or something that follows from facts, is one of some values."""
    return Question(lambda c: getattr(c, fact) in wanted, _MADE_OF.get(fact, frozenset({fact})), fact, wanted)
