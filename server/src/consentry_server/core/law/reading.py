"""Strict reading of pack tables: what is not understood is refused, with file, rule and key named."""

from __future__ import annotations

import re
from datetime import date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

E = TypeVar("E", bound=Enum)

Groups = dict[str, frozenset[str]]
"""Named lists of words of one pack: ``@template`` stands for the words of ``groups.operations.template``."""

_PERIOD = re.compile(r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,5})D)?\Z")


class Table:
    """One table of a pack file, whose every key has to be read.

    Args:
        data: The parsed table.
        file: The pack file's name, for messages.
        where: The rule or section, for messages.
        groups: The pack's named lists, by the enum they are words of.
    """

    def __init__(
        self, data: Mapping[str, Any], *, file: str, where: str, groups: Mapping[str, Groups] | None = None
    ) -> None:
        self._data = data
        self._read: set[str] = set()
        self.file = file
        self.where = where
        self.groups = groups or {}

    def fail(self, key: str, what: str) -> NoReturn:
        """Refuse the pack.

        Raises:
            ConsentryError: Always, with reason ``PACK_INVALID``.
        """
        raise ConsentryError(
            Reason.PACK_INVALID,
            f"{self.file}: {self.where}: {key}: {what}",
            field=key,
            metadata={"file": self.file, "rule": self.where, "key": key},
        )

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def take(self, key: str) -> Any:
        """The raw value; None where it is absent."""
        self._read.add(key)
        return self._data.get(key)

    def done(self) -> None:
        """Refuse the pack if any key was not read."""
        for key in self._data:
            if key not in self._read:
                self.fail(key, "unknown key")

    def changed(self, changes: Mapping[str, Any]) -> Table:
        """A copy in which some keys are others; a key whose value is None is left out. Nothing of it is read yet."""
        data = {key: value for key, value in {**self._data, **changes}.items() if value is not None}
        return Table(data, file=self.file, where=self.where, groups=self.groups)

    def text(self, key: str, *, required: bool = True) -> str:
        """A non-empty string; empty where it is absent and not required."""
        value = self.take(key)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or not value.strip():
            self.fail(key, "missing or empty; a text is required")
        return value

    def number(self, key: str) -> int:
        """A whole number of at least 1."""
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.fail(key, "a whole number of at least 1 is required")
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        value = self.take(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, bool):
            self.fail(key, "true or false is required")
        return value

    def day(self, key: str, *, required: bool = True) -> date | None:
        """A date without a time."""
        value = self.take(key)
        if value is None and not required:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            self.fail(key, "a date such as 2008-10-03 is required")
        return value

    def word(self, key: str, words: type[E]) -> E:
        """One word of a closed list."""
        value = self.take(key)
        try:
            return words(value)
        except ValueError:
            self.fail(key, f"{value!r} is no word of {words.__name__}")

    def words(self, key: str, words: type[E], *, required: bool = True) -> frozenset[E]:
        """A non-empty list of words, where ``@name`` stands for a named list; empty where absent and not required."""
        value = self.take(key)
        if value is None and not required:
            return frozenset()
        if not isinstance(value, list) or not value:
            self.fail(key, "a non-empty list of words is required")
        groups = self.groups.get(words.__name__, {})
        found: set[E] = set()
        for item in value:
            if isinstance(item, str) and item.startswith("@"):
                if item[1:] not in groups:
                    self.fail(key, f"{item!r} is no named list of {words.__name__}")
                found.update(words(name) for name in groups[item[1:]])
                continue
            try:
                found.add(words(item))
            except ValueError:
                self.fail(key, f"{item!r} is no word of {words.__name__}")
        return frozenset(found)

    def texts(self, key: str, *, required: bool = True) -> tuple[str, ...]:
        """A non-empty list of different texts; empty where absent and not required."""
        value = self.take(key)
        if value is None and not required:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(item, str) and item for item in value):
            self.fail(key, "a non-empty list of texts is required")
        if len(set(value)) != len(value):
            self.fail(key, "the same text twice")
        return tuple(value)

    def period(self, key: str, *, required: bool = False) -> tuple[int, int]:
        """An ISO 8601 period of years, months and days, as months and days; nothing where it is absent."""
        value = self.take(key)
        if value is None and not required:
            return 0, 0
        match = _PERIOD.match(value) if isinstance(value, str) else None
        if match is None or not any(match.groups()):
            self.fail(key, f"{value!r} is no period such as P3Y, P24M or P45D")
        years, months, days = (int(group or 0) for group in match.groups())
        return years * 12 + months, days

    def table(self, key: str, *, required: bool = False) -> Table:
        """A table inside this one; an empty one where it is absent and not required."""
        value = self.take(key)
        if value is None and not required:
            value = {}
        if not isinstance(value, dict):
            self.fail(key, "a table is required")
        return Table(value, file=self.file, where=self.where, groups=self.groups)

    def tables(self, key: str, *, required: bool = False) -> tuple[Table, ...]:
        """A list of tables; empty where it is absent and not required."""
        value = self.take(key)
        if value is None and not required:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
            self.fail(key, "a list of tables is required")
        return tuple(
            Table(item, file=self.file, where=self._name(key, item, place), groups=self.groups)
            for place, item in enumerate(value)
        )

    def _name(self, key: str, item: Mapping[str, Any], place: int) -> str:
        """How messages call one table of a list: by its id where it has one, else by its place."""
        if isinstance(item.get("id"), str):
            return f"{key} {item['id']}"
        return f"{self.where}, {key}[{place}]"
