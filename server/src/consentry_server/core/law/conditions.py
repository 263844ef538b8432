"""The closed vocabulary of conditions: when a scope row, a rule or an exemption concerns a case.

A condition is one key of a ``when`` table; all keys of a table have to hold. ``any`` takes a list of tables, of
which one has to hold. A condition sees only the operation and the bare state of the person, never a consent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from consentry_server.core.law.circumstances import Question, one_of
from consentry_server.core.record.artifacts import ArtifactState
from consentry_server.core.vocabulary import (
    AgeBand,
    Consideration,
    DataCategory,
    DisclosureBasis,
    EntityType,
    Operation,
    Publisher,
    Purpose,
    Relationship,
    SourceKind,
    Visibility,
    Words,
)

if TYPE_CHECKING:
    from consentry_server.core.law.reading import Table

Reader = Callable[["Table", str], Question]


class Known(Words):
    """What is known of a fact that may be unknown."""

    YES = "YES"
    NO = "NO"
    UNKNOWN = "UNKNOWN"


_FACTS: Final[dict[Known, bool | None]] = {Known.YES: True, Known.NO: False, Known.UNKNOWN: None}


def _fact(name: str) -> Reader:
    """A fact that may be unknown: YES, NO, UNKNOWN."""
    return lambda table, key: one_of(name, frozenset(_FACTS[known] for known in table.words(key, Known)))


def _flag(name: str) -> Reader:
    return lambda table, key: one_of(name, frozenset({table.flag(key)}))


def _word(name: str, words: type[Words]) -> Reader:
    return lambda table, key: one_of(name, frozenset(table.words(key, words)))


def _except_word(name: str, words: type[Words]) -> Reader:
    return lambda table, key: one_of(name, frozenset(words) - table.words(key, words))


def _any(table: Table, key: str) -> Question:
    parts = tuple(_all(part, key) for part in table.tables(key, required=True))
    return Question(lambda c: any(part.holds(c) for part in parts), _reads(parts), parts=parts, one_part=True)


CONDITIONS: Final[dict[str, Reader]] = {
    "any": _any,
    "artifacts": _word("artifact_state", ArtifactState),
    "ages": _word("age", AgeBand),
    "bases": _word("disclosure_basis", DisclosureBasis),
    "categories": _word("category", DataCategory),
    "considerations": _word("consideration", Consideration),
    "entity": _word("entity_type", EntityType),
    "except_purposes": _except_word("purpose", Purpose),
    "has_recipient": _flag("has_recipient"),
    "identifies": _fact("identifies"),
    "keeps": _flag("keeps"),
    "leaves": _flag("leaves"),
    "linked_identity": _fact("linked"),
    "new_york_city_establishment": _fact("new_york_city_establishment"),
    "operations": _word("operation", Operation),
    "portland_public_accommodation": _fact("portland_public_accommodation"),
    "published_by": _word("published_by", Publisher),
    "purposes": _word("purpose", Purpose),
    "region_uncovered": _flag("uncovered"),
    "relationships": _word("relationship", Relationship),
    "source_kinds": _word("source_kind", SourceKind),
    "stored": _fact("stored"),
    "uses_face_geometry": _fact("uses_face_geometry"),
    "visibilities": _word("visibility", Visibility),
}
"""Every condition a pack may name."""


def _reads(parts: tuple[Question, ...]) -> frozenset[str]:
    return frozenset[str]().union(*(part.reads for part in parts))


def _all(table: Table, key: str) -> Question:
    parts: list[Question] = []
    for name in table:
        read = CONDITIONS.get(name)
        if read is None:
            table.fail(name, "unknown condition")
        parts.append(read(table, name))
    if not parts:
        table.fail(key, "empty; leave it out where nothing is asked")
    every = tuple(parts)
    return Question(lambda c: all(part.holds(c) for part in every), _reads(every), parts=every)


def read_when(table: Table, key: str = "when") -> Question | None:
    """The condition of a ``when`` table; None where there is none, which always holds."""
    return _all(table.table(key), key) if key in table else None
