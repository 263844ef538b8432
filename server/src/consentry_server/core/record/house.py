"""What a tenant says beyond the law: public statements, refused questions, and the questions that wait for a person.

Statements and refusals only narrow: nothing here can make an answer looser. A question is what decisions of outcome
REVIEW have in common; it is named by what it asks, so that the same question always has the same id.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the codec reads type hints at run time
from typing import TYPE_CHECKING, Final

from consentry_server.core.vocabulary import DataCategory, Operation, Purpose, Visibility  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable

REVIEW_PREFIX: Final = "rev"
_ID_CHARACTERS: Final = 32
"""160 bits of a SHA-256: nobody finds two questions with one id."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A public statement of the tenant: it narrows, and never permits (statutes.md 10.2, rule 1).

    Args:
        stated_at: When it was said, as the caller claims; it counts from its entry on.
        operations: What it speaks of.
        purposes: What for; empty means every purpose.
        only_visibilities: Where given, those operations are denied on data of any other visibility, unknown included.
        excluded_categories: Those operations are denied on these categories.
        text_sha256: Hash of its exact words.
    """

    statement_id: str
    index: int
    time: datetime
    stated_at: datetime
    operations: frozenset[Operation]
    text_sha256: str
    purposes: frozenset[Purpose] = frozenset()
    only_visibilities: frozenset[Visibility] = frozenset()
    excluded_categories: frozenset[DataCategory] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A question that an officer answered with no: what raises it is denied from this entry on.

    Args:
        algorithm: ``id version``, or empty where the requests named none.
        rules: ``RULE-ID:CODE`` of what the rules found.
    """

    review_id: str
    index: int
    time: datetime
    operation: Operation
    purpose: Purpose
    category: DataCategory
    rules: frozenset[str]
    algorithm: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """One question that decisions of outcome REVIEW have raised.

    Args:
        algorithm: ``id version``, or empty where the requests named none.
        rules: ``RULE-ID:CODE`` of what the rules found.
        first_index: The first decision that raised it.
        count: How many decisions have raised it.
        determination_id: The latest determination that was recorded to resolve it.
        allowed_since: How many decisions have rested on that determination.
        refused_index: The entry that refused it, or -1.
    """

    review_id: str
    operation: Operation
    purpose: Purpose
    category: DataCategory
    algorithm: str
    rules: tuple[str, ...]
    first_index: int
    first_decision_id: str
    raised_at: datetime
    count: int = 0
    determination_id: str = ""
    allowed_since: int = 0
    refused_index: int = -1


def algorithm_name(algorithm_id: str, algorithm_version: str) -> str:
    """An algorithm as decisions name it: ``id version``; empty where there is none."""
    return f"{algorithm_id} {algorithm_version}".rstrip() if algorithm_id else ""


def review_id_of(operation: str, purpose: str, category: str, algorithm: str, rules: Iterable[str]) -> str:
    """The id of a question.

    Args:
        operation: The operation asked about.
        purpose: Its purpose.
        category: Its data category.
        algorithm: See :func:`algorithm_name`.
        rules: ``RULE-ID:CODE`` of every finding, in any order.

    Returns:
        ``rev_`` and 32 characters.
    """
    asked = "\x00".join((operation, purpose, category, algorithm, *sorted(set(rules))))
    digest = hashlib.sha256(asked.encode()).digest()
    return f"{REVIEW_PREFIX}_{base64.b32encode(digest).decode().lower()[:_ID_CHARACTERS]}"
