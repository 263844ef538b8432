"""A decision as an entry: enough to understand it, to look at its basis again, and to decide it again years later.

What goes without saying is left out, so that an entry stays short: see :func:`spelled_out`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple

from consentry_server.core.ledger.canonical import fragment
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.codec import from_plain, to_plain
from consentry_server.core.record.facts import Box, OperationRequest
from consentry_server.core.vocabulary import AgeBand, KnownBy, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import orjson


USUAL_SECONDS = 60
"""How long an answer holds where its entry does not say."""
REMEMBERED_REQUESTS = 4_096
"""Services ask with the same few facts over and over."""
_SHORTER_IN_FULL = 2


class FaceOnRecord(NamedTuple):
    """One face of a recorded decision.

    Args:
        outcome: What was answered for it.
        subject_ref: Whose face it is; empty where it was unidentified.
        rules: ``RULE-ID:CODE`` of every rule that refused it; for an allowed face the packs that were satisfied.
    """

    outcome: Outcome
    subject_ref: str = ""
    known_by: KnownBy = KnownBy.UNKNOWN
    regions: frozenset[str] = frozenset()
    age_band: AgeBand = AgeBand.UNKNOWN
    box: Box | None = None
    rules: tuple[str, ...] = ()
    basis: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """A decision read back from its entry."""

    decision_id: str
    index: int
    time: datetime
    actor: str
    request: OperationRequest
    outcome: Outcome
    faces: tuple[FaceOnRecord, ...]
    packs: tuple[int, ...]
    engine: str
    expires_at: datetime
    photo_id: str = ""
    photo_ref: str = ""
    previous_index: int = -1
    observed_only: bool = False


def decision_body(
    *,
    decision_id: str,
    request: OperationRequest,
    outcome: Outcome,
    faces: Sequence[FaceOnRecord],
    people: Sequence[str],
    packs: tuple[int, ...],
    engine: str,
    valid_seconds: int,
    photo_id: str,
    photo_ref: str,
    previous_index: int,
) -> dict[str, Any]:
    """Make the body of a ``decision`` entry.

    Args:
        decision_id: Its id.
        request: The facts about the operation.
        outcome: The overall outcome.
        faces: One item for each face asked about.
        people: subject_refs in the entry's ``people``; a face names its person by the place in this list.
        packs: Indices of the entries that activated the packs used.
        engine: Version of the code that decided.
        valid_seconds: How long the answer holds.
        photo_id: The stored photo, or empty.
        photo_ref: Keyed hash of the photo's SHA-256, or empty.
        previous_index: The decision that this one replaces, or -1.

    Returns:
        JSON values without defaults.
    """
    rules = list(dict.fromkeys(rule for face in faces for rule in face.rules))
    body: dict[str, Any] = {
        "decision_id": decision_id,
        "rules": rules,
        "request": _request_body(request),
        "outcome": str(outcome),
        "faces": [_face_body(face, outcome, people, rules) for face in faces],
        "packs": _runs(packs),
        "engine": engine,
    }
    if valid_seconds != USUAL_SECONDS:
        body["valid_seconds"] = valid_seconds
    if photo_id:
        body["photo_id"] = photo_id
    if photo_ref:
        body["photo_ref"] = photo_ref
    if previous_index >= 0:
        body["previous"] = previous_index
    return body


def spelled_out(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A ``decision`` entry with what it leaves out: as if it were recorded at length.

    1. A face without ``outcome`` has the decision's; one without ``rules`` has all of the decision's.
    2. ``[7, 26]`` among the ``packs`` stands for 7, 8 and so on to 26.
    3. Without ``valid_seconds`` the answer holds for :data:`USUAL_SECONDS`.

    Args:
        entry: The decoded entry.
    """
    every = list(range(len(entry["rules"])))
    return {
        "valid_seconds": USUAL_SECONDS,
        **entry,
        "faces": [{"outcome": entry["outcome"], "rules": every, **face} for face in entry["faces"]],
        "packs": [index for run in entry["packs"] for index in _run(run)],
    }


def read_decision(entry: Mapping[str, Any]) -> RecordedDecision:
    """Read a ``decision`` entry.

    Args:
        entry: The decoded entry.

    Returns:
        What was asked and answered.
    """
    entry = spelled_out(entry)
    people = [person["subject_ref"] for person in entry.get("people", ())]
    time = parse_time(entry["time"])
    return RecordedDecision(
        decision_id=entry["decision_id"],
        index=entry["index"],
        time=time,
        actor=entry["actor"],
        request=_read_request(entry["request"]),
        outcome=Outcome(entry["outcome"]),
        faces=tuple(_read_face(face, people, entry["rules"]) for face in entry["faces"]),
        packs=tuple(entry["packs"]),
        engine=entry["engine"],
        expires_at=time + timedelta(seconds=entry["valid_seconds"]),
        photo_id=entry.get("photo_id", ""),
        photo_ref=entry.get("photo_ref", ""),
        previous_index=entry.get("previous", -1),
        observed_only=entry.get("observed_only", False),
    )


@lru_cache(REMEMBERED_REQUESTS)
def _request_body(request: OperationRequest) -> orjson.Fragment:
    """The facts about an operation; the algorithm in one field, ``id version``."""
    body: dict[str, Any] = to_plain(request)
    if "algorithm_id" in body:
        body["algorithm"] = f"{body.pop('algorithm_id')} {body.pop('algorithm_version', '')}".rstrip()
    return fragment(body)


def _read_request(body: Mapping[str, Any]) -> OperationRequest:
    algorithm_id, _, algorithm_version = body.get("algorithm", "").partition(" ")
    return from_plain(OperationRequest, {**body, "algorithm_id": algorithm_id, "algorithm_version": algorithm_version})


@lru_cache(64)
def _runs(indices: tuple[int, ...]) -> tuple[int | list[int], ...]:
    """Ascending indices, with the first and last alone of three or more in a row."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][-1] + 1 == index:
            runs[-1].append(index)
        else:
            runs.append([index])
    short: list[int | list[int]] = []
    for run in runs:
        short += [[run[0], run[-1]]] if len(run) > _SHORTER_IN_FULL else run
    return tuple(short)


def _run(index: int | list[int]) -> Sequence[int]:
    return (index,) if isinstance(index, int) else range(index[0], index[1] + 1)


def _face_body(face: FaceOnRecord, overall: Outcome, people: Sequence[str], rules: Sequence[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if face.outcome is not overall:
        body["outcome"] = str(face.outcome)
    if face.subject_ref:
        body["person"] = people.index(face.subject_ref)
    if face.known_by is not KnownBy.UNKNOWN:
        body["known_by"] = str(face.known_by)
    if face.regions:
        body["regions"] = sorted(face.regions)
    if face.age_band is not AgeBand.UNKNOWN:
        body["age_band"] = str(face.age_band)
    if face.box is not None:
        body["box"] = [face.box.x, face.box.y, face.box.width, face.box.height]
    if len(face.rules) != len(rules) or any(map(ne, face.rules, rules)):
        body["rules"] = [rules.index(rule) for rule in face.rules]
    if face.basis:
        body["basis"] = list(face.basis)
    return body


def _read_face(face: Mapping[str, Any], people: Sequence[str], rules: Sequence[str]) -> FaceOnRecord:
    return FaceOnRecord(
        outcome=Outcome(face["outcome"]),
        subject_ref=people[face["person"]] if "person" in face else "",
        known_by=KnownBy(face.get("known_by", "UNKNOWN")),
        regions=frozenset(face.get("regions", ())),
        age_band=AgeBand(face.get("age_band", "UNKNOWN")),
        box=Box(*face["box"]) if "box" in face else None,
        rules=tuple(rules[place] for place in face["rules"]),
        basis=tuple(face.get("basis", ())),
    )
