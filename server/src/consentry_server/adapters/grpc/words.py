"""The words of the product and the enum numbers of the contract, one table for each, both ways.

``UNSPECIFIED`` stands for the word ``UNKNOWN`` where there is one, else for ``NONE`` where the contract has no ``NONE``
of its own; elsewhere it stands for no word at all. The tables are made by name when this module is imported, so that a
word that only one side knows stops the import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from consentry.v1 import (
    consent_pb2,
    decision_pb2,
    derived_artifact_pb2,
    determination_pb2,
    error_reason_pb2,
    notice_pb2,
    registry_service_pb2,
    retention_policy_pb2,
    review_pb2,
    subject_pb2,
    vocabulary_pb2,
)
from consentry_server.core import vocabulary
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import ObligationKind
from consentry_server.core.record.artifacts import ArtifactKind, TaintReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import EnumDescriptor

W = TypeVar("W", bound=str)

UNSPECIFIED: Final = 0
_UNSPECIFIED: Final = "UNSPECIFIED"
_ABSENT_WORDS: Final = ("UNKNOWN", "NONE")


class Table(Generic[W]):
    """One list of words beside one enum of the contract.

    Args:
        enum: The generated enum, for its descriptor.
        words: The words that it may say.
        partial: Whether the contract has numbers beyond these words.
    """

    __slots__ = ("absent", "name", "numbers", "words")

    def __init__(self, enum: Any, words: Iterable[W], *, partial: bool = False) -> None:
        descriptor: EnumDescriptor = enum.DESCRIPTOR
        prefix = descriptor.values_by_number[UNSPECIFIED].name.removesuffix(_UNSPECIFIED)
        known = {str(word): word for word in words}
        said = {value.name.removeprefix(prefix): value.number for value in descriptor.values if value.number}
        self.name = descriptor.name
        if partial:
            said = {name: number for name, number in said.items() if name in known}
        unsaid = known.keys() - said.keys()
        self.absent: W | None = next((known[name] for name in _ABSENT_WORDS if name in unsaid), None)
        self.words: dict[int, W] = {number: known[name] for name, number in said.items()}
        """The word of each number; UNSPECIFIED is in it only where it stands for a word."""
        if self.absent is not None:
            self.words[UNSPECIFIED] = self.absent
        self.numbers: dict[W, Any] = {word: number for number, word in self.words.items()}
        """The number of each word; typed as the generated enums want it: each has a number type of its own."""
        unsaid -= {str(self.absent)}
        if unsaid:
            raise LookupError(f"{self.name} has no number for {', '.join(sorted(unsaid))}")

    def read(self, number: int, field: str) -> W:
        """Return the word of a number.

        Args:
            number: As the caller sent it.
            field: The request field, for the error.

        Raises:
            ConsentryError: ``VALUE_UNKNOWN``: a number that is not on the list, or a word that has to be said and was
                not.
        """
        word = self.words.get(number)
        if word is None:
            raise self._unknown(number, field)
        return word

    def read_optional(self, number: int, field: str) -> W | None:
        """Return the word of a number, or None where the caller said none."""
        return None if number == UNSPECIFIED else self.read(number, field)

    def read_set(self, numbers: Iterable[int], field: str) -> frozenset[W]:
        """Return the words of a repeated field; ``UNSPECIFIED`` is no item of a list, even where it is a word."""
        found: set[W] = set()
        for place, number in enumerate(numbers):
            word = self.words.get(number)
            if word is None or number == UNSPECIFIED:
                raise self._unknown(number, f"{field}[{place}]")
            found.add(word)
        return frozenset(found)

    def write_set(self, words: Iterable[W]) -> list[Any]:
        """Return the numbers of words, ascending."""
        return sorted(self.numbers[word] for word in words)

    def _unknown(self, number: int, field: str) -> ConsentryError:
        problem = "has to be said" if number == UNSPECIFIED else f"has no value {number} that this server knows"
        return ConsentryError(
            Reason.VALUE_UNKNOWN,
            f"{field} {problem}: use one of {self.name} in the contract",
            field=field,
            metadata={"value": str(number)},
        )


OPERATION: Final = Table(vocabulary_pb2.Operation, vocabulary.Operation)
PURPOSE: Final = Table(vocabulary_pb2.Purpose, vocabulary.Purpose)
DATA_CATEGORY: Final = Table(vocabulary_pb2.DataCategory, vocabulary.DataCategory)
OUTCOME: Final = Table(vocabulary_pb2.Outcome, vocabulary.Outcome)
GRADE: Final = Table(vocabulary_pb2.Grade, vocabulary.Grade)
KNOWN_BY: Final = Table(vocabulary_pb2.KnownBy, vocabulary.KnownBy)
VISIBILITY: Final = Table(vocabulary_pb2.Visibility, vocabulary.Visibility)
PUBLISHER: Final = Table(vocabulary_pb2.Publisher, vocabulary.Publisher)
SOURCE_KIND: Final = Table(vocabulary_pb2.SourceKind, vocabulary.SourceKind)
AGE_BAND: Final = Table(vocabulary_pb2.AgeBand, vocabulary.AgeBand)
RELATIONSHIP: Final = Table(vocabulary_pb2.Relationship, vocabulary.Relationship)
ENTITY_TYPE: Final = Table(vocabulary_pb2.EntityType, vocabulary.EntityType)
NOTICE_CHANNEL: Final = Table(vocabulary_pb2.NoticeChannel, vocabulary.NoticeChannel)
TERM_END: Final = Table(vocabulary_pb2.TermEnd, vocabulary.TermEnd)
RELEASE_FORM: Final = Table(vocabulary_pb2.ReleaseForm, vocabulary.ReleaseForm)
SIGNATURE_PROCESS: Final = Table(vocabulary_pb2.SignatureProcess, vocabulary.SignatureProcess)
SIGNER_ROLE: Final = Table(vocabulary_pb2.SignerRole, vocabulary.SignerRole)
AUTHORITY_BASIS: Final = Table(vocabulary_pb2.AuthorityBasis, vocabulary.AuthorityBasis)
VOUCHING: Final = Table(vocabulary_pb2.Vouching, vocabulary.Vouching)
CONSENT_SCOPE: Final = Table(vocabulary_pb2.ConsentScope, vocabulary.ConsentScope)
DISCLOSURE_BASIS: Final = Table(vocabulary_pb2.DisclosureBasis, vocabulary.DisclosureBasis)
CONSIDERATION: Final = Table(vocabulary_pb2.Consideration, vocabulary.Consideration)
DETERMINATION_KIND: Final = Table(vocabulary_pb2.DeterminationKind, vocabulary.DeterminationKind)
PROCESSING_RESULT: Final = Table(vocabulary_pb2.ProcessingResult, vocabulary.ProcessingResult)
DESTRUCTION_TRIGGER: Final = Table(vocabulary_pb2.DestructionTrigger, vocabulary.DestructionTrigger)
DESTRUCTION_STAGE: Final = Table(vocabulary_pb2.DestructionStage, vocabulary.DestructionStage)
RECORD_CLASS: Final = Table(vocabulary_pb2.RecordClass, vocabulary.RecordClass)

ERROR_REASON: Final = Table(error_reason_pb2.ErrorReason, Reason)
ARTIFACT_KIND: Final = Table(derived_artifact_pb2.ArtifactKind, ArtifactKind)
TAINT_REASON: Final = Table(derived_artifact_pb2.TaintReason, TaintReason)
OBLIGATION_KIND: Final = Table(decision_pb2.ObligationKind, ObligationKind, partial=True)


def _names(enum: Any) -> list[str]:
    """The names of an enum that only the contract has, without its prefix."""
    descriptor: EnumDescriptor = enum.DESCRIPTOR
    prefix = descriptor.values_by_number[UNSPECIFIED].name.removesuffix(_UNSPECIFIED)
    return [value.name.removeprefix(prefix) for value in descriptor.values if value.number]


# Words that nothing decides on: they pass through to the entry and back.
RECIPIENT_KIND: Final = Table(notice_pb2.RecipientKind, _names(notice_pb2.RecipientKind))
RETENTION_CLOCK: Final = Table(retention_policy_pb2.RetentionClock, _names(retention_policy_pb2.RetentionClock))
RELEASE_STATE: Final = Table(consent_pb2.ReleaseState, _names(consent_pb2.ReleaseState))
NOTICE_CHANGE_KIND: Final = Table(notice_pb2.NoticeChangeKind, _names(notice_pb2.NoticeChangeKind))
CLAIM_KIND: Final = Table(subject_pb2.ClaimKind, _names(subject_pb2.ClaimKind))
SIGNATURE_ALGORITHM: Final = Table(consent_pb2.SignatureAlgorithm, _names(consent_pb2.SignatureAlgorithm))
DETERMINATION_STATE: Final = Table(determination_pb2.DeterminationState, _names(determination_pb2.DeterminationState))
PURPOSE_END: Final = Table(registry_service_pb2.PurposeEnd, _names(registry_service_pb2.PurposeEnd))
REVIEW_STATE: Final = Table(review_pb2.ReviewState, _names(review_pb2.ReviewState))
