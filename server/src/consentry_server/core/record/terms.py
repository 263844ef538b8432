"""What an entry can be found by: short words such as ``type:decision`` or ``rule:IL-15B3-RELEASE``.

A filter is a list of groups of such words: an entry meets it if it has at least one word of each group. The index and
the scan of what is not indexed yet both ask here, so that they cannot answer differently.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from consentry_server.core.vocabulary import RecordClass

if TYPE_CHECKING:
    from collections.abc import Mapping

Groups = tuple[frozenset[str], ...]
"""One group for each condition; the words of a group are alternatives."""

DECISION = "decision"
PERMIT = "permit:given"

_DECISION_ID_PARTS = 3


class Sequel(IntEnum):
    """How an entry follows the decision that it names."""

    OTHER = 0
    REPORT = 1
    """Says what was done under it."""
    OPENING = 2
    """Opened a photo or an identifier under it."""


_SEQUELS = {
    "processing.reported": Sequel.REPORT,
    "photo.opened": Sequel.OPENING,
    "identifier.opened": Sequel.OPENING,
}


def by_type(name: str) -> str:
    """Entries of this type."""
    return f"type:{name}"


def by_actor(name: str) -> str:
    """Entries that the caller of this name caused; ``system`` for the service itself."""
    return f"actor:{name}"


def by_person(subject_ref: str) -> str:
    """Entries with this person in them."""
    return f"person:{subject_ref}"


def by_outcome(outcome: str) -> str:
    """Decisions with this overall outcome."""
    return f"outcome:{outcome}"


def by_rule(rule_id: str) -> str:
    """Decisions in which this rule found something, or which this pack allowed."""
    return f"rule:{rule_id}"


def by_photo(photo_id: str) -> str:
    """Entries that name this stored photo."""
    return f"photo:{photo_id}"


def by_photo_ref(photo_ref: str) -> str:
    """Entries that name a photo by the keyed hash of its SHA-256."""
    return f"photo_ref:{photo_ref}"


def by_notice(notice_id: str, version: int) -> str:
    """Releases that rest on this version of this notice."""
    return f"release:{notice_id}@{version}"


def actor_name(actor: str) -> str:
    """The name in the caller's certificate; ``system`` for the service itself."""
    return actor.rpartition("/")[2]


def terms_of(entry: Mapping[str, Any]) -> list[str]:
    """Everything an entry is found by.

    Args:
        entry: The decoded entry.

    Returns:
        Words; one may stand twice.
    """
    kind = entry["type"]
    found = [f"type:{kind}", f"actor:{actor_name(entry['actor'])}"]
    found += [f"person:{person['subject_ref']}" for person in entry.get("people", ())]
    if kind == DECISION:
        found.append(f"outcome:{entry['outcome']}")
        found += [f"rule:{rule.partition(':')[0]}" for rule in entry["rules"]]
        if entry.get("permit"):
            found.append(PERMIT)
    if kind == "release.recorded":
        found.append(by_notice(entry["release"]["notice_id"], entry["release"]["notice_version"]))
    for held in (entry, entry.get("photo")):
        if held:
            if "photo_id" in held:
                found.append(f"photo:{held['photo_id']}")
            if "photo_ref" in held:
                found.append(f"photo_ref:{held['photo_ref']}")
    found += [f"photo:{photo_id}" for photo_id in entry.get("photos", ())]
    found += [
        f"photo:{target['record_id']}"
        for target in entry.get("targets", ())
        if target["record_class"] == RecordClass.PHOTO
    ]
    return found


def sequel_of(entry: Mapping[str, Any]) -> tuple[int, Sequel] | None:
    """Which decision an entry follows.

    Args:
        entry: The decoded entry.

    Returns:
        The decision's index and how it is followed; None where it follows none.
    """
    decision_id = entry.get("decision_id")
    if decision_id is None or entry["type"] == DECISION:
        return None
    index = decision_index(decision_id)
    return None if index < 0 else (index, _SEQUELS.get(entry["type"], Sequel.OTHER))


def decision_index(decision_id: str) -> int:
    """The index that a decision's id names, or -1 where it is no such id."""
    parts = decision_id.split("_")
    if len(parts) != _DECISION_ID_PARTS or parts[0] != "dec" or not (parts[1].isascii() and parts[1].isdigit()):
        return -1
    return int(parts[1]) if len(parts[1]) <= 15 else -1  # noqa: PLR2004 - below 2**53


def meets(entry: Mapping[str, Any], wanted: Groups) -> bool:
    """Whether an entry has at least one word of each group."""
    found = frozenset(terms_of(entry))
    return all(not found.isdisjoint(group) for group in wanted)
