"""The closed vocabulary of conditions: when a scope row, a rule or an exemption concerns a case.

A condition is one key of a ``when`` table; all keys of a table have to hold. ``any`` takes a list of tables, of
which one has to hold. A condition sees only the operation and the bare state of the person, never a consent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from consentry_server.core.law.situation import Situation
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

Condition = Callable[[Situation], bool]


class Known(Words):
    """What is known of a fact that may be unknown."""

    YES = "YES"
    NO = "NO"
    UNKNOWN = "UNKNOWN"


_FACTS: Final[dict[Known, bool | None]] = {Known.YES: True, Known.NO: False, Known.UNKNOWN: None}


def _facts(table: Table, key: str) -> frozenset[bool | None]:
    return frozenset(_FACTS[known] for known in table.words(key, Known))


def _uses_face_geometry(table: Table, key: str) -> Condition:
    wanted = _facts(table, key)
    return lambda s: s.request.uses_face_geometry in wanted


def _identifies(table: Table, key: str) -> Condition:
    wanted = _facts(table, key)
    return lambda s: s.request.identifies in wanted


def _stored(table: Table, key: str) -> Condition:
    wanted = _facts(table, key)
    return lambda s: s.request.stored in wanted


def _linked(table: Table, key: str) -> Condition:
    wanted = _facts(table, key)
    return lambda s: s.linked in wanted


def _leaves(table: Table, key: str) -> Condition:
    wanted = table.flag(key)
    return lambda s: s.leaves is wanted


def _keeps(table: Table, key: str) -> Condition:
    wanted = table.flag(key)
    return lambda s: s.keeps is wanted


def _region_uncovered(table: Table, key: str) -> Condition:
    wanted = table.flag(key)
    return lambda s: s.uncovered is wanted


def _operations(table: Table, key: str) -> Condition:
    wanted = table.words(key, Operation)
    return lambda s: s.request.operation in wanted


def _categories(table: Table, key: str) -> Condition:
    wanted = table.words(key, DataCategory)
    return lambda s: s.request.category in wanted


def _purposes(table: Table, key: str) -> Condition:
    wanted = table.words(key, Purpose)
    return lambda s: s.request.purpose in wanted


def _except_purposes(table: Table, key: str) -> Condition:
    unwanted = table.words(key, Purpose)
    return lambda s: s.request.purpose not in unwanted


def _entity(table: Table, key: str) -> Condition:
    wanted = table.words(key, EntityType)
    return lambda s: s.tenant.entity_type in wanted


def _source_kinds(table: Table, key: str) -> Condition:
    wanted = table.words(key, SourceKind)
    return lambda s: s.request.source_kind in wanted


def _visibilities(table: Table, key: str) -> Condition:
    wanted = table.words(key, Visibility)
    return lambda s: s.request.visibility in wanted


def _publishers(table: Table, key: str) -> Condition:
    wanted = table.words(key, Publisher)
    return lambda s: s.request.published_by in wanted


def _bases(table: Table, key: str) -> Condition:
    wanted = table.words(key, DisclosureBasis)
    return lambda s: s.request.disclosure_basis in wanted


def _considerations(table: Table, key: str) -> Condition:
    wanted = table.words(key, Consideration)
    return lambda s: s.request.consideration in wanted


def _has_recipient(table: Table, key: str) -> Condition:
    wanted = table.flag(key)
    return lambda s: bool(s.request.recipient_id) is wanted


def _ages(table: Table, key: str) -> Condition:
    wanted = table.words(key, AgeBand)
    return lambda s: s.age in wanted


def _relationships(table: Table, key: str) -> Condition:
    wanted = table.words(key, Relationship)
    return lambda s: (s.subject.relationship if s.subject is not None else Relationship.UNKNOWN) in wanted


def _any(table: Table, key: str) -> Condition:
    parts = tuple(_all(part, key) for part in table.tables(key, required=True))

    def holds(s: Situation) -> bool:
        for part in parts:  # noqa: SIM110 - a generator costs more than what it iterates over
            if part(s):
                return True
        return False

    return holds


CONDITIONS: Final[dict[str, Callable[[Table, str], Condition]]] = {
    "any": _any,
    "ages": _ages,
    "bases": _bases,
    "categories": _categories,
    "considerations": _considerations,
    "entity": _entity,
    "except_purposes": _except_purposes,
    "has_recipient": _has_recipient,
    "identifies": _identifies,
    "keeps": _keeps,
    "leaves": _leaves,
    "linked_identity": _linked,
    "operations": _operations,
    "published_by": _publishers,
    "purposes": _purposes,
    "region_uncovered": _region_uncovered,
    "relationships": _relationships,
    "source_kinds": _source_kinds,
    "stored": _stored,
    "uses_face_geometry": _uses_face_geometry,
    "visibilities": _visibilities,
}
"""Every condition a pack may name."""


def _all(table: Table, key: str) -> Condition:
    parts: list[Condition] = []
    for name in table:
        make = CONDITIONS.get(name)
        if make is None:
            table.fail(name, "unknown condition")
        parts.append(make(table, name))
    if not parts:
        table.fail(key, "empty; leave it out where nothing is asked")
    if len(parts) == 1:
        return parts[0]
    every = tuple(parts)

    def holds(s: Situation) -> bool:
        for part in every:  # noqa: SIM110 - as in _any
            if not part(s):
                return False
        return True

    return holds


def read_when(table: Table, key: str = "when") -> Condition | None:
    """The condition of a ``when`` table; None where there is none, which always holds."""
    return _all(table.table(key), key) if key in table else None
