"""The fold of lineage: what artifacts are made of, and how a taint spreads.

A taint needs nobody's help: it is worked out from the entries alone, at the entry that causes it, for the artifact and
for every artifact made from it, whenever that was recorded. It comes from four sides:

1. The entry that records the lineage says that the consent was invalid.
2. A parent is tainted, or becomes so.
3. A withdrawal is recorded that, by its caller's own account, came before the lineage was recorded.
4. A person turns out to be a child who signed the release that an artifact rests on: nobody grows younger.

A withdrawal after the making is no taint: what was done before it stays lawful (GDPR 7(3); statutes.md 11 taints on
``CONSENT_INVALID``). What the caller claims of times can only add a taint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.artifacts import (
    MAX_PEOPLE,
    Artifact,
    ArtifactKind,
    MadeInto,
    MadeOf,
    TaintReason,
)
from consentry_server.core.record.codec import from_plain
from consentry_server.core.record.facts import Subject
from consentry_server.core.vocabulary import AgeBand, KnownBy, SignerRole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from consentry_server.core.record.fold import Records

_YOUNGEST_FIRST = (AgeBand.UNDER_13, AgeBand.MINOR, AgeBand.ADULT, AgeBand.UNKNOWN)
CHILD = frozenset({AgeBand.UNDER_13, AgeBand.MINOR})


def artifact_recorded(records: Records, entry: Mapping[str, Any], index: int, time: datetime) -> None:
    """Fold an ``artifact.recorded`` entry: a new artifact, or more sources of a known one.

    Args:
        records: What is known so far; changed in place.
        entry: The decoded entry.
        index: Its place.
        time: Its time.
    """
    artifact_id = entry["artifact_id"]
    kind = ArtifactKind(entry["kind"])
    known = records.get(Artifact, artifact_id) or Artifact(artifact_id, kind, index, time, index)
    stated = (entry.get("identifies_individual"),)
    faces = [from_plain(MadeOf, {**face, "subject_ref": _person(entry, face)}) for face in entry["faces"]]
    named = [face for face in faces if face.subject_ref]
    parents = entry.get("parents", ())
    people, more = _joined(known.people, named)
    records.put(
        Artifact,
        artifact_id,
        replace(
            known,
            last_index=index,
            sources=known.sources + len(entry.get("photos", ())) + len(entry.get("identifiers", ())),
            parents=tuple(dict.fromkeys((*known.parents, *parents))),
            people=people,
            more_people=known.more_people or more,
            strangers=known.strangers or len(named) < len(faces),
            identifies_individual=_identifies(
                stated if known.index == index else (known.identifies_individual, *stated)
            ),
        ),
    )
    for face in entry["faces"]:
        if "person" in face:
            _made_into(records, _person(entry, face), artifact_id, face.get("basis", ()), time)
    for parent_id in parents:
        parent = records.get(Artifact, parent_id)
        if parent is not None and artifact_id not in parent.children:
            records.put(Artifact, parent_id, replace(parent, children=(*parent.children, artifact_id)))
    if entry.get("taint"):
        taint(records, artifact_id, index, TaintReason(entry["taint"][0]))
    elif any((parent := records.get(Artifact, each)) is None or parent.tainted for each in parents):
        taint(records, artifact_id, index, TaintReason.PARENT_TAINTED)


def taint(records: Records, artifact_id: str, index: int, reason: TaintReason) -> None:
    """Taint an artifact and every artifact made from it.

    Args:
        records: What is known so far; changed in place.
        artifact_id: Where the taint begins.
        index: The entry that causes it.
        reason: Why; its descendants are tainted by their parent.
    """
    reached = [artifact_id]
    while reached:
        artifact = records.get(Artifact, reached.pop())
        if artifact is None or artifact.tainted:
            continue
        records.put(Artifact, artifact.artifact_id, replace(artifact, tainted_index=index, taint=reason))
        reason = TaintReason.PARENT_TAINTED
        reached += artifact.children


def consent_ended(records: Records, subject: Subject, entry: Mapping[str, Any], index: int) -> None:
    """After a withdrawal: taint what was recorded after the person, by the caller's account, had withdrawn.

    Args:
        records: What is known so far; changed in place.
        subject: The person, after the withdrawal.
        entry: The ``release.withdrawn`` entry.
        index: Its place.
    """
    if not subject.artifacts or "occurred_at" not in entry:
        return
    since, gone = parse_time(entry["occurred_at"]), frozenset(entry["releases"])
    ended = frozenset(release.index for release in subject.releases if release.release_id in gone)
    for made in subject.artifacts:
        if since <= made.time and not ended.isdisjoint(made.basis):
            taint(records, made.artifact_id, index, TaintReason.CONSENT_ENDED_BEFORE)


def age_learnt(records: Records, before: Subject, after: Subject, index: int) -> None:
    """After a claim: taint what rests on a person's own release, where the person now is known as a child.

    Args:
        records: What is known so far; changed in place.
        before: The person before the claim.
        after: The person after it.
        index: The entry that records the claim.
    """
    if after.age_band not in CHILD or before.age_band in CHILD or not after.artifacts:
        return
    own = frozenset(release.index for release in after.releases if release.signer_role is SignerRole.SELF)
    for made in after.artifacts:
        if not own.isdisjoint(made.basis):
            taint(records, made.artifact_id, index, TaintReason.SIGNER_WAS_CHILD)


def _person(entry: Mapping[str, Any], face: Mapping[str, Any]) -> str:
    return entry["people"][face["person"]]["subject_ref"] if "person" in face else ""


def _made_into(records: Records, subject_ref: str, artifact_id: str, basis: tuple[int, ...], time: datetime) -> None:
    """Note with the person where their data went; once for each artifact."""
    subject = records.get(Subject, subject_ref) or Subject(subject_ref)
    known = next((made for made in subject.artifacts if made.artifact_id == artifact_id), None)
    rested = sorted({*basis, *(known.basis if known else ())})
    others = tuple(made for made in subject.artifacts if made is not known)
    made = MadeInto(artifact_id, time, tuple(rested))
    records.put(Subject, subject_ref, replace(subject, artifacts=(*others, made)))


def _joined(known: tuple[MadeOf, ...], added: list[MadeOf]) -> tuple[tuple[MadeOf, ...], bool]:
    """The people of both; of somebody in both the stricter facts. And whether there are more than are kept."""
    people = {each.subject_ref: each for each in known}
    for each in added:
        there = people.get(each.subject_ref)
        people[each.subject_ref] = each if there is None else _stricter(there, each)
    return tuple(people.values())[:MAX_PEOPLE], len(people) > MAX_PEOPLE


def _stricter(one: MadeOf, other: MadeOf) -> MadeOf:
    return MadeOf(
        one.subject_ref,
        one.known_by if other.known_by is not KnownBy.UNKNOWN else KnownBy.UNKNOWN,
        one.regions | other.regions,
        min(one.age_band, other.age_band, key=_YOUNGEST_FIRST.index),
    )


def _identifies(said: tuple[bool | None, ...]) -> bool | None:
    """Yes where it was ever said; no only where it was said each time."""
    if True in said:
        return True
    return None if None in said else False
