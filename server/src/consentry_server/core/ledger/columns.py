"""Many entries checked at once: the fast half of verification.

``read_columns`` looks at the entries of a bundle column by column, in C where it can. It accepts only what
``entry.decode`` accepts one by one, and says nothing about the rest: whoever gets None asks ``entry.decode``, which
names what is wrong. A property test holds the two together.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from itertools import chain, repeat
from operator import itemgetter, lt
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unicodedata import is_normalized

import orjson

from consentry_server.core.ledger import canonical
from consentry_server.core.ledger.entry import (
    MAX_ENTRY_BYTES,
    MAX_NAME_CHARACTERS,
    NO_PREVIOUS,
    NONCE_BYTES,
    is_ledger,
    is_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLAIN: Final = frozenset({str, int, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list})
_COMMON: Final = itemgetter("type", "version", "ledger", "index", "time", "actor", "nonce")
_LINK: Final = itemgetter("subject_ref", "subject_seq", "previous_index")
_TIME_CHARACTERS: Final = 27
_TIMES: Final = re.compile(r"(?:\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z\n)*", re.ASCII)
_NONCES: Final = re.compile(r"(?:[a-z2-7]{26}\n)*", re.ASCII)
_REFERENCES: Final = re.compile(r"(?:sub_[a-z2-7]{16,64}\n)*", re.ASCII)


class Columns(NamedTuple):
    """Entries that are well-formed and in their place, by column.

    Args:
        times: Time of each entry; they do not decrease.
        people: How many persons each entry names.
        places: For each person's link, the index of its entry.
        references: For each link, the ``subject_ref``.
        seqs: For each link, the ``subject_seq``.
        previous: For each link, the ``previous_index``.
    """

    times: Sequence[str]
    people: Sequence[int]
    places: Sequence[int]
    references: Sequence[str]
    seqs: Sequence[int]
    previous: Sequence[int]


def read_columns(entries: Sequence[bytes], first: int, ledger: str) -> Columns | None:
    """Check entries as ``entry.decode`` does, all at once.

    1. Each is the canonical JSON of an object within the profile.
    2. Each has the common fields in their form, its own index and the ledger's name; times do not decrease.
    3. Each person's link has its form.

    Args:
        entries: The bytes of consecutive entries.
        first: Index of the first.
        ledger: Name that every entry must carry.

    Returns:
        What they say, or None where any of them may be wrong.
    """
    try:
        values = list(map(orjson.loads, entries))
        # (1) canonical, within the profile
        if not _is_canonical(values, entries) or not _is_within_profile(values):
            return None
        # (2) common fields
        times = _common(values, first, ledger)
        # (3) links
        return None if times is None else _links(values, times, first)
    except (ValueError, TypeError, KeyError):  # not JSON, a list where a text belongs, a missing field
        return None


def _is_canonical(values: Sequence[Any], entries: Sequence[bytes]) -> bool:
    if set(map(type, values)) - {dict} or max(map(len, entries), default=0) > MAX_ENTRY_BYTES:
        return False
    if any(map(bytes.__ne__, map(orjson.dumps, values, repeat(None), repeat(canonical.OPTIONS)), entries)):
        return False
    together = b",".join(entries)  # nothing that a normalisation changes reaches over a comma
    return together.isascii() or is_normalized("NFC", together.decode())


def _is_within_profile(values: Sequence[Any]) -> bool:
    dicts: Sequence[Any] = values
    lists: Sequence[Any] = ()
    for _ in range(canonical.MAX_DEPTH):
        if not canonical.keys_allowed(tuple(sorted(set(chain.from_iterable(dicts))))):
            return False
        row = [value for value in chain.from_iterable(map(dict.values, dicts)) if type(value) not in _PLAIN]
        row += [value for value in chain.from_iterable(lists) if type(value) not in _PLAIN]
        if not row:
            return True
        if set(map(type, row)) - _CONTAINERS:  # a float
            return False
        dicts = [value for value in row if type(value) is dict]
        lists = [value for value in row if type(value) is list]
    return False


def _common(values: Sequence[Any], first: int, ledger: str) -> Sequence[str] | None:
    """The entries' times, or None where a common field is not as it must be."""
    if not values:
        return ()
    types, versions, ledgers, indices, times, actors, nonces = zip(*map(_COMMON, values), strict=True)
    if (
        all(map(_is_type, set(types)))
        and _are(versions, int)
        and min(versions) >= 1
        and set(ledgers) == {ledger}
        and is_ledger(ledger)
        and _are(indices, int)
        and indices == tuple(range(first, first + len(values)))
        and all(map(_is_actor, set(actors)))
        and _are(nonces, str)
        and _match(_NONCES, nonces, NONCE_BYTES)
        and _are(times, str)
        and _match(_TIMES, times, _TIME_CHARACTERS)
        and all(map(_is_date, {time[:10] for time in times}))
        and list(times) == sorted(times)
    ):
        return times
    return None


def _links(values: Sequence[Any], times: Sequence[str], first: int) -> Columns | None:
    named: list[Sequence[Any]] = [value.get("people", ()) for value in values]
    if [] in named or set(map(type, named)) - {list, tuple}:
        return None
    people = list(map(len, named))
    alone = people.count(1) == len(people)  # nearly always
    places: Sequence[int] = range(first, first + len(people))
    if not alone:
        places = [index for index, count in enumerate(people, first) for _ in range(count)]
    flat = list(chain.from_iterable(named))
    if not flat:
        return Columns(times, people, (), (), (), ())
    if not _are(flat, dict):
        return None
    references, seqs, previous = zip(*map(_LINK, flat), strict=True)
    if (
        _are(references, str)
        and _match(_REFERENCES, references, None)
        and _are(seqs, int)
        and _are(previous, int)
        and min(seqs) >= 1
        and min(previous) >= NO_PREVIOUS
        and all(map(lt, previous, places))
        and list(map((1).__eq__, seqs)) == list(map(NO_PREVIOUS.__eq__, previous))
        and (alone or _each_once(named))
    ):
        return Columns(times, people, places, references, seqs, previous)
    return None


def _each_once(named: Sequence[Sequence[Any]]) -> bool:
    """Whether no entry names a person twice."""
    return all(len(set(map(itemgetter("subject_ref"), persons))) == len(persons) for persons in named)


def _are(column: Iterable[Any], kind: type) -> bool:
    """Whether every value is of exactly that type: True is no 1 here."""
    return set(map(type, column)) == {kind}


def _match(form: re.Pattern[str], texts: Sequence[str], characters: int | None) -> bool:
    """Whether each text has a form, looked at in one go; a newline inside a text could make one pass for two."""
    lines = "\n".join(texts) + "\n"
    alone = lines.count("\n") == len(texts) if characters is None else len(lines) == (characters + 1) * len(texts)
    return alone and form.fullmatch(lines) is not None


@lru_cache(maxsize=1024)
def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_type(value: Any) -> bool:
    return type(value) is str and is_type(value)


def _is_actor(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_NAME_CHARACTERS
