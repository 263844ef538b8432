"""Where a table and the ledger disagree, in plain words."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

L = TypeVar("L")
R = TypeVar("R")

LISTED: Final = 200
"""Differences that are told one by one; the rest is counted."""
NO_ROW: Final = "no row"
_PATHS: Final = 3
_WORDS: Final = 160


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not what the ledger says.

    Args:
        kind: The kind of row.
        key: Which one.
        table: What the table says.
        ledger: What the ledger says.
        repairable: Whether the ledger holds what the row must be.
    """

    kind: str
    key: str
    table: str
    ledger: str
    repairable: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: the table says {self.table}; the ledger says {self.ledger}"


class Differences:
    """Every difference counted and hashed, the first ones kept."""

    def __init__(self) -> None:
        self.listed: list[Difference] = []
        self.repairable: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._digest = hashlib.sha256()

    def add(self, difference: Difference) -> None:
        """Take one more."""
        if self.total < LISTED:
            self.listed.append(difference)
        (self.repairable if difference.repairable else self.lost)[difference.kind] += 1
        row = [difference.kind, difference.key, difference.table, difference.ledger]
        self._digest.update(orjson.dumps(row) + b"\n")

    @property
    def total(self) -> int:
        """How many there are."""
        return self.repairable.total() + self.lost.total()

    @property
    def sha256(self) -> str:
        """Hash in hex over all of them: for each a JSON list of kind, key, table, ledger, and a newline."""
        return self._digest.hexdigest()


def merged(table: Iterator[tuple[str, L]], ledger: Iterator[tuple[str, R]]) -> Iterator[tuple[str, L | None, R | None]]:
    """Walk two ordered sequences of rows side by side.

    Args:
        table: Keys in ascending order, each once, with what the table holds.
        ledger: The same of what the ledger makes.

    Yields:
        Each key with both; None where one has no such row.
    """
    left, right = next(table, None), next(ledger, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[0] < right[0]):
            assert left is not None  # noqa: S101 - for the type checker: one of the two is there
            yield left[0], left[1], None
            left = next(table, None)
        elif left is None or right[0] < left[0]:
            yield right[0], None, right[1]
            right = next(ledger, None)
        else:
            yield left[0], left[1], right[1]
            left, right = next(table, None), next(ledger, None)


def told(table: Any, ledger: Any) -> tuple[str, str]:
    """Tell two JSON values apart.

    Args:
        table: What the table holds; not the same.
        ledger: What the ledger makes.

    Returns:
        What each of them says at the first places where they differ.
    """
    places = list(islice(_apart(table, ledger, ""), _PATHS + 1))
    more = ", …" if len(places) > _PATHS else ""
    one = ", ".join(f"{at} {said}" for at, said, _ in places[:_PATHS])
    other = ", ".join(f"{at} {said}" for at, _, said in places[:_PATHS])
    return one + more, other + more


class _Unset:
    """A field that is not there; that is its default."""


def _apart(table: Any, ledger: Any, at: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(table, dict) and isinstance(ledger, dict):
        for name in sorted(table.keys() | ledger.keys()):
            yield from _apart(table.get(name, _Unset), ledger.get(name, _Unset), f"{at}.{name}" if at else name)
    elif isinstance(table, list) and isinstance(ledger, list) and len(table) == len(ledger):
        for number, (one, other) in enumerate(zip(table, ledger, strict=True)):
            yield from _apart(one, other, f"{at}[{number}]")
    elif table != ledger or type(table) is not type(ledger):
        yield at, _words(table), _words(ledger)


def _words(value: Any) -> str:
    if value is _Unset:
        return "is not set"
    text = orjson.dumps(value).decode()
    return text if len(text) <= _WORDS else f"{text[:_WORDS]}…"
