"""What a decision has to know of the data set or model that an operation is on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.artifacts import MAX_PEOPLE, Artifact, ArtifactKind, ArtifactState
from consentry_server.core.record.facts import Face, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.record.facts import OperationRequest


class Known(Protocol):
    """What is known: a book, or the fold of a day."""

    def get(self, kind: type[Artifact], key: str) -> Artifact | None:
        """An artifact by its id, or None."""

    def subject(self, subject_ref: str) -> Subject:
        """What is known of a person."""


def as_on_record(book: Known, request: OperationRequest) -> OperationRequest:
    """The request with the artifact's state as the ledger has it now; what was noted before does not count.

    Args:
        book: The writer's view, or the fold of a day.
        request: Names an artifact.
    """
    artifact = book.get(Artifact, request.artifact_id)
    if artifact is None:
        state = ArtifactState.UNKNOWN
    else:
        state = ArtifactState.TAINTED if artifact.tainted else ArtifactState.CLEAN
    return replace(request, artifact_state=state)


def with_people(book: Known, request: OperationRequest, faces: Sequence[Face]) -> Sequence[Face]:
    """The faces of a request, and after them the people of the data set that it is on: each has to consent today.

    A model is no data set: whoever it is used on is named by the request, and a withdrawal after the training takes
    nothing from the model (``core.record.lineage``).

    Args:
        book: The writer's view, or the fold of a day.
        request: Names an artifact.
        faces: As the request names them.

    Raises:
        ConsentryError: ``TOO_LARGE``: more people than one decision can be about.
    """
    artifact = book.get(Artifact, request.artifact_id)
    if artifact is None or artifact.kind is not ArtifactKind.DATASET:
        return faces
    if artifact.more_people:
        raise ConsentryError(
            Reason.TOO_LARGE,
            f"this data set was made from more than {MAX_PEOPLE} people: check each photo, and record what is made "
            "under those decisions",
            field="artifact_id",
            metadata={"limit": str(MAX_PEOPLE)},
        )
    people = [
        Face(book.subject(each.subject_ref), each.known_by, each.regions, each.age_band) for each in artifact.people
    ]
    strangers = [Face(None)] if artifact.strangers else []
    return [*faces, *people, *strangers]
