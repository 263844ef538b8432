"""Lineage: which data sets and models were made from what, under which decision."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.artifacts import Artifact, ArtifactKind, TaintReason
from consentry_server.core.record.codec import from_body
from consentry_server.core.record.facts import Identifier, Photo
from consentry_server.core.vocabulary import AgeBand, KnownBy, Operation
from consentry_server.services.checks import ALLOWED
from consentry_server.services.context import Answer, Caller, RequestKey, once, require_slug
from consentry_server.services.release_checks import not_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.record.decisions import FaceOnRecord, RecordedDecision
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.gate import Gate
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.sequencer import Sequencer

MAKING = {
    ArtifactKind.MODEL: frozenset({Operation.TRAIN_MODEL}),
    ArtifactKind.DATASET: frozenset({Operation.TRAIN_MODEL, Operation.IMPORT_DATASET, Operation.BUILD_FACE_DATABASE}),
}
"""Operations that make an artifact of a kind."""


@dataclass(frozen=True, slots=True)
class DerivedDraft:
    """An artifact as its maker reports it.

    Args:
        artifact_id: The maker's slug.
        kind: What it is.
        decision_id: The decision that it was made under.
        made_at: When, as the caller claims.
        photos: Photos it was made from.
        identifiers: Identifiers it was made from.
        parents: Artifacts it was made from.
        identifies_individual: Whether any system that uses it identifies a person; None is unknown.
    """

    artifact_id: str
    kind: ArtifactKind
    decision_id: str
    made_at: datetime
    photos: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    identifies_individual: bool | None = None
    key: RequestKey | None = None


class Derived:
    """Records and reads lineage for one tenant.

    Args:
        sequencer: The tenant's ledger.
        store: For reading.
        gate: Finds decisions, and says whether their basis still holds.
    """

    def __init__(self, *, sequencer: Sequencer, store: LedgerStore, gate: Gate) -> None:
        self._sequencer = sequencer
        self._store = store
        self._gate = gate

    async def record(self, caller: Caller, draft: DerivedDraft) -> tuple[Artifact, Answer]:
        """Record what an artifact was made from.

        1. The decision is on an operation that makes such an artifact.
        2. Every source is on record, and what the decision is about; what it is about is a source, said or not.
        3. Where the consent was invalid, the entry says so, and the fold taints the artifact and what was made from it.

        An honest report is never refused for what it tells: a refusal would leave a known artifact clean.

        Args:
            caller: Who made it.
            draft: What it was made from.

        Returns:
            The artifact as it now stands, and the entry.

        Raises:
            ConsentryError: ``NOT_FOUND``, ``ALREADY_EXISTS``, ``STATE_CONFLICT``, ``FIELD_REQUIRED``,
                ``FIELD_INVALID``, ``TOO_LARGE``.
        """
        require_slug(draft.artifact_id, "artifact.artifact_id")

        def command(book: Book) -> tuple[Artifact, Answer]:
            answer = once(book, draft.key, lambda: self._record(book, caller, draft))
            held = book.get(Artifact, draft.artifact_id)
            if held is None:
                raise ConsentryError(
                    Reason.DATA_DAMAGED, "the artifact's record is gone: run `consentry audit rebuild`"
                )
            return held, answer

        return await self._sequencer.submit(command)

    async def find(self, artifact_id: str) -> Artifact | None:
        """What is known of an artifact; None where nothing is."""
        body = await asyncio.to_thread(self._store.fetch_record, "artifact", artifact_id)
        return None if body is None else from_body(Artifact, body)

    def _record(self, book: Book, caller: Caller, draft: DerivedDraft) -> Recorded:
        not_ahead(draft.made_at, book.now, "artifact.make_time")
        known = book.get(Artifact, draft.artifact_id)
        if known is not None and known.kind is not draft.kind:
            raise ConsentryError(
                Reason.ALREADY_EXISTS,
                f"{draft.artifact_id} is on record as a {known.kind}: use another artifact_id",
                field="artifact.kind",
            )
        # (1) the decision
        decision = self._decision(book, draft)
        # (2) the sources
        photos = _photos(book, draft.photos, decision)
        identifiers = _identifiers(book, draft.identifiers, decision)
        parents = _parents(book, draft, decision)
        people = list(dict.fromkeys(face.subject_ref for face in decision.faces if face.subject_ref))
        if not (photos or identifiers or parents or people or decision.photo_ref):
            raise ConsentryError(
                Reason.FIELD_REQUIRED,
                "artifact.photo_ids, identifier_ids or source_artifact_ids is required: this decision names none",
                field="artifact.photo_ids",
            )
        # (3) the consent
        taint = self._taint(book, draft, decision, [*photos, *identifiers])
        taint += [TaintReason.PERSON_LEFT_OUT] if _left_out(photos, people) else []
        body: dict[str, Any] = {
            "artifact_id": draft.artifact_id,
            "kind": str(draft.kind),
            "decision_id": decision.decision_id,
            "decision_index": decision.index,
            "purpose": str(decision.request.purpose),
            "occurred_at": format_time(draft.made_at),
            "faces": [_face(face, people) for face in decision.faces],
        }
        named = {
            "photos": [photo.photo_id for photo in photos],
            "identifiers": [identifier.identifier_id for identifier in identifiers],
            "parents": parents,
            "taint": [str(reason) for reason in taint],
        }
        body |= {name: values for name, values in named.items() if values}
        if draft.identifies_individual is not None:
            body["identifies_individual"] = draft.identifies_individual
        return book.append("artifact.recorded", caller.actor, body, people)

    def _decision(self, book: Book, draft: DerivedDraft) -> RecordedDecision:
        try:
            decision = self._gate.find_decision(book, draft.decision_id)
        except ConsentryError as error:
            raise ConsentryError(error.reason, error.message, field="artifact.decision_id") from error
        if decision.request.operation not in MAKING[draft.kind]:
            raise ConsentryError(
                Reason.STATE_CONFLICT,
                f"this decision is on {decision.request.operation}, which makes no {str(draft.kind).lower()}: "
                f"check {' or '.join(sorted(MAKING[draft.kind]))}",
                field="artifact.decision_id",
                metadata={"operation": str(decision.request.operation)},
            )
        return decision

    def _taint(
        self, book: Book, draft: DerivedDraft, decision: RecordedDecision, sources: Iterable[Photo | Identifier]
    ) -> list[TaintReason]:
        """Why the consent was invalid; nothing where it was valid."""
        found: list[TaintReason] = []
        every = range(len(decision.faces))
        if decision.outcome not in ALLOWED:
            found.append(TaintReason.DECISION_NOT_PERMITTING)
        elif not self._gate.basis_holds(book, decision, every):
            found.append(TaintReason.BASIS_GONE)
        if draft.made_at < decision.time or (book.entry(decision.index) or {}).get("late", False):
            found.append(TaintReason.DECISION_LATE)
        if any(source.destruction_id for source in sources):
            found.append(TaintReason.SOURCE_DESTROYED)
        return found


def _photos(book: Book, listed: Sequence[str], decision: RecordedDecision) -> list[Photo]:
    """The photos, that of the decision among them.

    Raises:
        ConsentryError: ``NOT_FOUND``; ``STATE_CONFLICT``: the decision is about another photo.
    """
    found: list[Photo] = []
    for place, photo_id in enumerate(dict.fromkeys((*listed, *filter(None, [decision.photo_id])))):
        field = f"artifact.photo_ids[{place}]"
        photo = book.get(Photo, photo_id)
        if photo is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such photo", field=field)
        if photo_id != decision.photo_id and photo.photo_ref != decision.photo_ref:
            raise _not_about(field, "photo")
        found.append(photo)
    return found


def _identifiers(book: Book, listed: Sequence[str], decision: RecordedDecision) -> list[Identifier]:
    """The identifiers.

    Raises:
        ConsentryError: ``NOT_FOUND``; ``STATE_CONFLICT``: the decision is about other people, or other data.
    """
    people = {face.subject_ref for face in decision.faces if face.subject_ref}
    found: list[Identifier] = []
    for place, identifier_id in enumerate(dict.fromkeys(listed)):
        field = f"artifact.identifier_ids[{place}]"
        identifier = book.get(Identifier, identifier_id)
        if identifier is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such identifier", field=field)
        if identifier.subject_ref not in people or identifier.category is not decision.request.category:
            raise _not_about(field, "identifier")
        found.append(identifier)
    return found


def _parents(book: Book, draft: DerivedDraft, decision: RecordedDecision) -> list[str]:
    """The artifacts it was made from, that of the decision among them unless it is the one that is recorded.

    Raises:
        ConsentryError: ``NOT_FOUND``; ``FIELD_INVALID``: itself; ``STATE_CONFLICT``: the decision is about another.
    """
    about = decision.request.artifact_id
    for place, parent in enumerate(draft.parents):
        field = f"artifact.source_artifact_ids[{place}]"
        if parent == draft.artifact_id:
            raise ConsentryError(Reason.FIELD_INVALID, f"{field} is the artifact itself: leave it out", field=field)
        if book.get(Artifact, parent) is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such artifact: record its own lineage first", field=field)
        if parent != about:
            raise _not_about(field, "artifact")
    return [about] if about and about != draft.artifact_id else []


def _not_about(field: str, what: str) -> ConsentryError:
    return ConsentryError(
        Reason.STATE_CONFLICT,
        f"the decision is not about this {what}: record it in a call of its own, with the decision that was; where "
        "there was none, make one by Check with the time at which it was done",
        field=field,
    )


def _left_out(photos: Sequence[Photo], people: Sequence[str]) -> bool:
    """Whether a photo is declared to show somebody of whom the decision says nothing."""
    return any(person not in people for photo in photos for person in photo.depicted)


def _face(face: FaceOnRecord, people: Sequence[str]) -> Mapping[str, Any]:
    """What the decision knew of one face, as the entry has it."""
    body: dict[str, Any] = {}
    if face.subject_ref:
        body["person"] = people.index(face.subject_ref)
    if face.known_by is not KnownBy.UNKNOWN:
        body["known_by"] = str(face.known_by)
    if face.regions:
        body["regions"] = sorted(face.regions)
    if face.age_band is not AgeBand.UNKNOWN:
        body["age_band"] = str(face.age_band)
    if face.basis:
        body["basis"] = list(face.basis)
    return body
