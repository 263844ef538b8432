"""Between this service's own messages and Consentry's client."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc

from consentry import Box as ClientBox
from consentry import ConsentryError, Decision, Face, InvalidRequest, KnownBy
from consentry.v1 import photo_pb2, vocabulary_pb2
from face_tagger import face_tagger_pb2
from face_tagger.vision import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def faces_of(people: Iterable[face_tagger_pb2.Person]) -> list[Face]:
    """Say who is in the photo the way the gate wants to hear it: everybody, and how it is known who they are."""
    return [
        Face(
            subject_id=person.subject_id,
            known_by=KnownBy.DECLARED_BY_UPLOADER if person.subject_id else KnownBy.UNSPECIFIED,
            box=ClientBox(*box_of(person.box)) if person.HasField("box") else None,
            regions=tuple(person.regions),
        )
        for person in people
    ]


def named_box(people: Sequence[face_tagger_pb2.Person], person: int) -> Box:
    """Return where the face of one named person is.

    Raises:
        InvalidRequest: there is no such person, or they have no name or no box.
    """
    if not 0 <= person < len(people):
        raise InvalidRequest("person is not the number of one of the people", field="person")
    if not people[person].subject_id or not people[person].HasField("box"):
        raise InvalidRequest("the person needs a subject_id and a box", field=f"people.{person}")
    return box_of(people[person].box)


def box_of(box: photo_pb2.Box) -> Box:
    """Read a box."""
    return Box(box.x, box.y, box.width, box.height)


def box_message(box: Box) -> photo_pb2.Box:
    """Write a box."""
    return photo_pb2.Box(x=box.x, y=box.y, width=box.width, height=box.height)


def answer(decision: Decision) -> face_tagger_pb2.Answer:
    """Tell our own callers what was decided, and why."""
    return face_tagger_pb2.Answer(
        decision_id=decision.decision_id,
        outcome=vocabulary_pb2.Outcome.ValueType(decision.outcome),
        ledger_index=decision.entry.index,
        reasons=[
            face_tagger_pb2.Reason(
                code=reason.code,
                rule_id=reason.rule_id,
                citation=reason.citation,
                text=reason.text,
                remedy=reason.remedy,
                outcome=vocabulary_pb2.Outcome.ValueType(reason.outcome),
            )
            for reason in decision.reasons
        ],
        faces=[
            face_tagger_pb2.FaceAnswer(
                outcome=vocabulary_pb2.Outcome.ValueType(face.outcome),
                codes=list(dict.fromkeys(reason.code for reason in face.reasons)),
            )
            for face in decision.faces
        ],
    )


@contextmanager
def failing(context: grpc.ServicerContext) -> Iterator[None]:
    """Fail the call wherever Consentry gave no answer: what was not answered was not processed."""
    try:
        yield
    except InvalidRequest as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except ConsentryError as error:
        context.abort(error.code or grpc.StatusCode.UNAVAILABLE, str(error))
    except ValueError as error:  # the photo, or a box in it, is not what it should be
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
