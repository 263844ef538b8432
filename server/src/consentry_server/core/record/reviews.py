"""The questions that decisions raise: told from a decision as it is made, and from its entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from consentry_server.core.record.decisions import spelled_out
from consentry_server.core.record.house import Review, algorithm_name, review_id_of
from consentry_server.core.vocabulary import DataCategory, Operation, Outcome, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from consentry_server.core.record.decisions import FaceOnRecord
    from consentry_server.core.record.facts import OperationRequest

_ASKED: Final = ("request", "outcome", "faces", "rules", "packs")
_REVIEW: Final = Outcome.REVIEW


def raised(request: OperationRequest, faces: Iterable[FaceOnRecord]) -> list[str]:
    """The questions that a decision raises, each once.

    Args:
        request: What was asked.
        faces: What was answered for each face.
    """
    waiting = [face for face in faces if face.outcome is _REVIEW]
    if not waiting:
        return []
    algorithm = algorithm_name(request.algorithm_id, request.algorithm_version)
    about = request.operation, request.purpose, request.category, algorithm
    return list(dict.fromkeys(review_id_of(*about, face.rules) for face in waiting))


def questions(entry: Mapping[str, Any], time: datetime) -> Iterator[Review]:
    """The questions that one decision raises, each once, as if nobody had raised them before.

    Args:
        entry: The decision.
        time: When it was recorded.
    """
    # an entry that was made just now holds parts that are encoded already
    part: dict[str, Any] = spelled_out(orjson.loads(orjson.dumps({name: entry[name] for name in _ASKED})))
    request, seen = part["request"], set[str]()
    for face in part["faces"]:
        if face["outcome"] != Outcome.REVIEW:
            continue
        rules = tuple(sorted({part["rules"][place] for place in face["rules"]}))
        operation, purpose, category = request["operation"], request["purpose"], request["category"]
        algorithm = request.get("algorithm", "")
        review_id = review_id_of(operation, purpose, category, algorithm, rules)
        if review_id not in seen:
            seen.add(review_id)
            yield Review(
                review_id=review_id,
                operation=Operation(operation),
                purpose=Purpose(purpose),
                category=DataCategory(category),
                algorithm=algorithm,
                rules=rules,
                first_index=entry["index"],
                first_decision_id=entry["decision_id"],
                raised_at=time,
            )
