"""The entry: what every ledger entry has, its bytes, and reading them back strictly.

An entry is one canonical JSON object (``canonical.py``). The stored bytes are the entry: nothing ever encodes them
again except to check that they are canonical. Every entry has ``type``, ``version``, ``ledger``, ``index``,
``time``, ``actor`` and ``nonce``; an entry about persons has ``people``, which links each of them to their previous
entry, so that a selection about one person can be shown complete. What else an entry says is its type's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.ledger import canonical
from consentry_server.core.ledger.errors import LedgerError, damaged, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ENTRY_BYTES: Final = 16 * 1024
"""The ledger's own limit; the tile format's is 65,535."""
NONCE_BYTES: Final = 26
"""At five bits each 130 random bits, so that a published leaf hash cannot be guessed from an entry's likely content."""
BASE32: Final = b"abcdefghijklmnopqrstuvwxyz234567" * 8
"""Translates random bytes to the alphabet of RFC 4648, section 6, in lower case."""
NO_PREVIOUS: Final = -1
"""``previous_index`` of a person's first entry."""

_TYPE: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", re.ASCII)
_LEDGER: Final = re.compile(r"[^\s+\x00-\x1f]+")  # a signed note's key name: no spaces, no plus
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z", re.ASCII)
_NONCE: Final = re.compile(r"[a-z2-7]{26}", re.ASCII)
_SUBJECT_REF: Final = re.compile(r"sub_[a-z2-7]{16,64}", re.ASCII)
_MAX_TYPE_CHARACTERS: Final = 64
MAX_NAME_CHARACTERS: Final = 255


# A named tuple, not a dataclass: one is made for every entry that is written or verified, at a third of the cost.
class Person(NamedTuple):
    """A person's link in an entry.

    Args:
        subject_ref: The person's random reference.
        subject_seq: Which of the person's entries this is, from 1.
        previous_index: Ledger index of the person's previous entry; -1 in the first.
    """

    subject_ref: str
    subject_seq: int
    previous_index: int


@dataclass(frozen=True, slots=True)
class Header:
    """The fields every entry has.

    Args:
        type: What the entry records, such as ``release.recorded``.
        version: Version of that type's fields, from 1.
        ledger: The ledger's name: its checkpoints' origin.
        index: Place in the ledger, from 0.
        time: When it was recorded, as ``format_time`` writes it; such strings sort as the times do.
        actor: Who caused it.
        nonce: 128 random bits, as ``format_nonce`` writes them.
        people: The persons in it, each once.
    """

    type: str
    version: int
    ledger: str
    index: int
    time: str
    actor: str
    nonce: str
    people: tuple[Person, ...]


def encode(fields: Mapping[str, Any]) -> bytes:
    """Make an entry's bytes.

    Args:
        fields: The whole entry.

    Returns:
        RFC 8785 bytes, at most 16 KiB.

    Raises:
        LedgerError: ``FIELD_INVALID``, with the field at fault.
    """
    _check_common(fields)
    return canonical.encode(fields, max_bytes=MAX_ENTRY_BYTES)


def decode(data: bytes) -> dict[str, Any]:
    """Read an entry's bytes strictly.

    Args:
        data: The stored bytes.

    Returns:
        The whole entry.

    Raises:
        LedgerError: ``DATA_DAMAGED``: too long, not canonical, outside the profile, or a common field is wrong.
    """
    return decode_with_people(data)[0]


def decode_with_people(data: bytes) -> tuple[dict[str, Any], tuple[Person, ...]]:
    """Read an entry's bytes strictly, and give the persons' links beside it.

    Args:
        data: The stored bytes.

    Returns:
        The whole entry, and the persons in it.

    Raises:
        LedgerError: as ``decode``.
    """
    fields = canonical.decode(data, max_bytes=MAX_ENTRY_BYTES)
    if not isinstance(fields, dict):
        msg = "an entry is a JSON object"
        raise damaged(msg)
    try:
        return fields, _check_common(fields)
    except LedgerError as error:
        raise damaged(error.message, field=error.field) from error


def header(fields: Mapping[str, Any]) -> Header:
    """Check the fields that every entry has, and give them.

    Args:
        fields: The whole entry.

    Returns:
        The common fields.

    Raises:
        LedgerError: ``FIELD_INVALID``, with the field at fault.
    """
    people = _check_common(fields)
    return Header(
        type=fields["type"],
        version=fields["version"],
        ledger=fields["ledger"],
        index=fields["index"],
        time=fields["time"],
        actor=fields["actor"],
        nonce=fields["nonce"],
        people=people,
    )


def format_time(time: datetime) -> str:
    """Write a time as entries have it: RFC 3339, UTC, microseconds, ``Z``.

    Args:
        time: A time with a time zone.

    Returns:
        Such as ``2026-11-23T10:00:00.000000Z``.

    Raises:
        LedgerError: ``FIELD_INVALID`` for a time without a time zone.
    """
    if time.tzinfo is None:
        msg = "a time without a time zone says nothing"
        raise invalid(msg)
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> datetime:
    """Read a time as entries have it.

    Args:
        text: Such as ``2026-11-23T10:00:00.000000Z``; no other form of RFC 3339.

    Returns:
        A time in UTC.

    Raises:
        LedgerError: ``DATA_DAMAGED`` for anything else.
    """
    try:
        _require_time("time", text)
    except LedgerError as error:
        raise damaged(error.message) from error
    return datetime.fromisoformat(text)


def format_nonce(random: bytes) -> str:
    """Write an entry's nonce: 26 characters of lower-case base32, five random bits each.

    Args:
        random: 26 random bytes; 256 values fall evenly on 32 characters.

    Returns:
        26 characters.

    Raises:
        LedgerError: ``FIELD_INVALID`` for another length.
    """
    if len(random) != NONCE_BYTES:
        msg = f"a nonce is made of {NONCE_BYTES} random bytes, not {len(random)}"
        raise invalid(msg, field="nonce")
    return random.translate(BASE32).decode()


def _check_common(fields: Mapping[str, Any]) -> tuple[Person, ...]:
    try:
        kind, version, ledger, index, time, actor, nonce = (
            fields["type"],
            fields["version"],
            fields["ledger"],
            fields["index"],
            fields["time"],
            fields["actor"],
            fields["nonce"],
        )
    except KeyError as error:
        name = str(error.args[0])
        msg = f"the entry lacks {name}"
        raise invalid(msg, field=name) from error
    _require_type(kind)
    _require_count("version", version, 1)
    _require_ledger(ledger)
    _require_count("index", index, 0)
    _require_time("time", time)
    if not isinstance(actor, str) or not 0 < len(actor) <= MAX_NAME_CHARACTERS:
        msg = f"actor must be a text of 1 to {MAX_NAME_CHARACTERS} characters"
        raise invalid(msg, field="actor")
    _require_text("nonce", nonce, _NONCE, MAX_NAME_CHARACTERS)
    return _persons(fields["people"], index) if "people" in fields else ()


def _persons(people: object, index: int) -> tuple[Person, ...]:
    if not isinstance(people, list | tuple) or not people:
        msg = "people must be a list of persons, or be left out"
        raise invalid(msg, field="people")
    if len(people) == 1:  # nearly always
        return (_person(0, people[0], index),)
    persons = tuple([_person(position, person, index) for position, person in enumerate(people)])
    if len({person.subject_ref for person in persons}) < len(persons):
        msg = "people names one person twice"
        raise invalid(msg, field="people")
    return persons


def _person(position: int, person: Any, index: int) -> Person:
    try:
        reference, seq, previous = person["subject_ref"], person["subject_seq"], person["previous_index"]
    except (KeyError, TypeError, IndexError) as error:
        msg = f"people[{position}] needs subject_ref, subject_seq and previous_index"
        raise invalid(msg, field=f"people[{position}]") from error
    if type(reference) is not str or not _SUBJECT_REF.fullmatch(reference):
        msg = f"people[{position}].subject_ref is not a subject reference"
        raise invalid(msg, field=f"people[{position}].subject_ref")
    if type(seq) is not int or type(previous) is not int or not NO_PREVIOUS <= previous < index:
        msg = f"people[{position}].previous_index must be an earlier index, or {NO_PREVIOUS}"
        raise invalid(msg, field=f"people[{position}].previous_index")
    if seq < 1 or (seq == 1) != (previous == NO_PREVIOUS):
        msg = f"people[{position}].subject_seq counts from 1, and only the first entry has no previous one"
        raise invalid(msg, field=f"people[{position}].subject_seq")
    return Person(reference, seq, previous)


def _require_type(value: object) -> None:
    if type(value) is not str or not is_type(value):
        _require_text("type", value, _TYPE, _MAX_TYPE_CHARACTERS)


def _require_ledger(value: object) -> None:
    if type(value) is not str or not is_ledger(value):
        _require_text("ledger", value, _LEDGER, MAX_NAME_CHARACTERS)


# A ledger has one name and a few types of entry: each is looked at once.
@lru_cache(maxsize=256)
def is_type(value: str) -> bool:
    """Whether a text has the form of a type of entry."""
    return len(value) <= _MAX_TYPE_CHARACTERS and _TYPE.fullmatch(value) is not None


@lru_cache(maxsize=256)
def is_ledger(value: str) -> bool:
    """Whether a text has the form of a ledger's name."""
    return len(value) <= MAX_NAME_CHARACTERS and _LEDGER.fullmatch(value) is not None


# The entries of one commit have one time.
@lru_cache(maxsize=16)
def _is_time(value: str) -> bool:
    if _TIME.fullmatch(value) is None:
        return False
    datetime.fromisoformat(value)
    return True


def _require_text(name: str, value: object, form: re.Pattern[str], longest: int) -> None:
    if not isinstance(value, str) or len(value) > longest or not form.fullmatch(value):
        msg = f"{name} is not of its form: {form.pattern}, up to {longest} characters"
        raise invalid(msg, field=name)


def _require_count(name: str, value: object, least: int) -> None:
    if type(value) is not int or not least <= value <= canonical.MAX_INTEGER:
        msg = f"{name} must be a whole number from {least}"
        raise invalid(msg, field=name)


def _require_time(name: str, value: object) -> None:
    try:
        if type(value) is str and _is_time(value):
            return
    except ValueError as error:
        msg = f"{name} is not a time that exists"
        raise invalid(msg, field=name) from error
    msg = f"{name} is not of the form 2026-11-23T10:00:00.000000Z"
    raise invalid(msg, field=name)
