"""Which entries belong into an evidence pack: by chain, by place or by a bounded search, never by a full scan."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.decisions import spelled_out
from consentry_server.core.record.fold import TENANT_KEY, notice_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from consentry_server.services.ports import LedgerStore

MAX_ENTRIES: Final = 20_000
"""Most entries in one pack; a whole ledger is handed over as an export, which the same verifier checks."""
MAX_SEARCHED: Final = 1_000_000
"""Most entries that are looked at for a photo, from the one that stored it on."""
NEAR: Final = 2_048
"""Entries looked at before and after the first one for what the system said of itself."""
READ_AT_ONCE: Final = 1_000
BEGINNING: Final = "0000-01-01T00:00:00.000000Z"
END: Final = "9999-12-31T23:59:59.999999Z"

_LINK: Final = re.compile(rb'"(?:decision|destruction)_id":"([^"]+)"')
_OF_THE_SYSTEM: Final = (b'"type":"system.', b'"type":"settings.', b'"type":"ledger.')


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pack is about: exactly one of a person, a photo and a period.

    Args:
        subject_ref: The person.
        photo_id: The photo.
        from_time: Recorded then or later; None from the first entry on.
        until_time: Recorded before; None to the last entry.
        redact_others: Whether entries that concern other persons are withheld.
    """

    subject_ref: str = ""
    photo_id: str = ""
    from_time: datetime | None = None
    until_time: datetime | None = None
    redact_others: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The entries of a pack.

    Args:
        indices: What was asked for, ascending.
        beside: Neighbours that show where a period begins and ends.
        person: The subject_ref that the pack is about; the uploader's for a photo; empty for a period.
        stated: What the manifest says of the selection.
    """

    indices: tuple[int, ...]
    beside: tuple[int, ...]
    person: str
    stated: Mapping[str, Any]


def choose(store: LedgerStore, wanted: Wanted, size: int) -> Chosen:
    """Find the entries.

    Args:
        store: The ledger.
        wanted: What the pack is about.
        size: Number of entries that the pack's checkpoint covers; later ones are not looked at.

    Returns:
        The entries.

    Raises:
        ConsentryError: ``NOT_FOUND``: there are none; ``TOO_LARGE``: more than one pack holds; ``DATA_DAMAGED``.
    """
    if wanted.subject_ref:
        found = subject_entries(store, wanted.subject_ref, size)
        stated: dict[str, Any] = {"kind": "subject", "subject_ref": wanted.subject_ref}
        stated |= {"chain_length": len(found), "last_index": found[-1] if found else -1}
        chosen = Chosen(tuple(found), (), wanted.subject_ref, stated)
    elif wanted.photo_id:
        owner, found = photo_entries(store, wanted.photo_id, size)
        chosen = Chosen(tuple(found), (), owner, {"kind": "photo", "photo_id": wanted.photo_id})
    else:
        chosen = _period(store, wanted, size)
    if not chosen.indices:
        raise ConsentryError(Reason.NOT_FOUND, "nothing is on record about this: there is no evidence to export")
    return chosen


def subject_entries(store: LedgerStore, subject_ref: str, size: int) -> list[int]:
    """A person's entries, from the last one back along their chain.

    Args:
        store: The ledger.
        subject_ref: The person.
        size: Number of entries to look at.

    Returns:
        Indices, ascending: as many as the person's last entry counts.

    Raises:
        ConsentryError: ``TOO_LARGE``; ``DATA_DAMAGED``: the chain is broken.
    """
    count, at = store.fetch_chain(subject_ref) or (0, -1)
    found: list[int] = []
    while count:
        link = next((each for each in read(store, at).get("people", ()) if each["subject_ref"] == subject_ref), None)
        if link is None or link["subject_seq"] != count or not link["previous_index"] < at:
            raise ConsentryError(
                Reason.DATA_DAMAGED, f"entry {at} is not number {count} of this person: stop and restore from a backup"
            )
        if at < size:
            found.append(at)
            _check_count(len(found))
        count, at = count - 1, link["previous_index"]
    return found[::-1]


def photo_entries(store: LedgerStore, photo_id: str, size: int) -> tuple[str, list[int]]:
    """Entries that name a photo, or report on a decision about it.

    Args:
        store: The ledger.
        photo_id: A photo of the vault.
        size: Number of entries to look at.

    Returns:
        The uploader's subject_ref, and indices, ascending.

    Raises:
        ConsentryError: ``NOT_FOUND``: no such photo; ``TOO_LARGE``: more entries than can be looked at followed it.
    """
    record = store.fetch_record("photo", photo_id)
    if record is None:
        raise ConsentryError(Reason.NOT_FOUND, "no such photo", field="photo.photo_id")
    photo = orjson.loads(record)
    first = max(0, photo["index"] - 1)  # the decision to store it stands before it
    if size - first > MAX_SEARCHED:
        raise ConsentryError(
            Reason.TOO_LARGE,
            f"{size - first} entries follow this photo, and at most {MAX_SEARCHED} are searched: ask for the persons "
            "in it, or for periods",
            field="photo",
        )
    found: list[int] = []
    name, known = photo_id.encode(), set[bytes]()
    for index, data in _entries(store, first, size):
        linked = _LINK.search(data)
        if name in data or (linked is not None and linked[1] in known):
            found.append(index)
            _check_count(len(found))
            known.update(() if linked is None else (linked[1],))
            if index == photo["index"] > first:
                found.append(first)  # its own decision names the photo by a keyed hash alone
    return photo.get("owner_ref", ""), sorted(set(found))


def system_entries(store: LedgerStore, first: int, last: int) -> tuple[list[int], bool]:
    """Entries in which the system said what it was: its build, settings and starts.

    Args:
        store: The ledger.
        first: Index of the pack's first entry.
        last: Index of its last one.

    Returns:
        Indices, ascending, and whether every entry up to the last one was looked at.
    """
    spans = [(0, min(64, last + 1)), (max(0, first - NEAR), min(first + NEAR, last + 1))]
    found = {
        index
        for start, end in spans
        for index, data in _entries(store, start, end)
        if any(mark in data for mark in _OF_THE_SYSTEM)
    }
    return sorted(found), spans[1][0] <= spans[0][1] and spans[1][1] == last + 1


def related(store: LedgerStore, entry: Mapping[str, Any], person: str) -> Iterator[int]:
    """Indices of what an entry relies on: packs, bases, notices, the decision that it follows.

    Args:
        store: The ledger.
        entry: A decoded entry.
        person: Bases of other persons' faces are left out; empty takes all.
    """
    people = [each["subject_ref"] for each in entry.get("people", ())]
    if entry["type"] == "decision":
        yield from spelled_out(entry)["packs"]
        for face in entry["faces"]:
            if not person or "person" not in face or people[face["person"]] == person:
                yield from face.get("basis", ())
    for name in ("decision_index", "cause", "previous"):
        if isinstance(entry.get(name), int):
            yield entry[name]
    for name in ("delivery", "release"):
        told = entry.get(name)
        if isinstance(told, dict) and "notice_id" in told:
            record = store.fetch_record("notice", notice_key(told["notice_id"], told["notice_version"]))
            if record is not None:
                yield orjson.loads(record)["index"]


def policies(store: LedgerStore) -> Iterator[int]:
    """Indices of the entries of the retention policy's versions, the packs now in force and public statements."""
    record = store.fetch_record("tenant", TENANT_KEY)
    tenant = {} if record is None else orjson.loads(record)
    for each in (*tenant.get("policies", ()), *tenant.get("packs", ()), *tenant.get("statements", ())):
        yield each["index"]


def read(store: LedgerStore, index: int) -> dict[str, Any]:
    """A decoded entry.

    Raises:
        ConsentryError: ``DATA_DAMAGED``: it is not there.
    """
    data = store.fetch_entry(index)
    if data is None:
        raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
    entry: dict[str, Any] = orjson.loads(data)
    return entry


def _period(store: LedgerStore, wanted: Wanted, size: int) -> Chosen:
    since = BEGINNING if wanted.from_time is None else format_time(wanted.from_time)
    until = END if wanted.until_time is None else format_time(wanted.until_time)
    # times never decrease along the ledger, and such strings sort as the times do
    first, end = (bisect_left(range(size), each, key=lambda at: read(store, at)["time"]) for each in (since, until))
    if end > first:
        _check_count(end - first)
    beside = tuple(index for index in (first - 1, end) if 0 <= index < size)
    stated = {"kind": "period", "from_time": since, "until_time": until, "first_index": first, "last_index": end - 1}
    return Chosen(tuple(range(first, end)), beside, "", stated)


def _entries(store: LedgerStore, first: int, end: int) -> Iterable[tuple[int, bytes]]:
    at = first
    while at < end:
        found = store.fetch_entries(at, min(READ_AT_ONCE, end - at))
        if not found:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {at} is gone: stop and restore from a backup")
        yield from enumerate(found, at)
        at += len(found)


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise ConsentryError(
            Reason.TOO_LARGE,
            f"this is more than {MAX_ENTRIES} entries, the most that one pack holds: narrow the period, or hand over "
            "the whole ledger with `consentry audit export`, which verify.py checks as well",
        )
