"""The fold: entries in ledger order become what is known of the tenant, its people, photos and identifiers.

It is the only place where a fact is made, in the service as it runs and when the ledger is folded again to
check the projections. It trusts nothing but entries, and makes the same records from the same entries always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.codec import from_plain
from consentry_server.core.record.facts import (
    ActivePack,
    Delivery,
    Destruction,
    DestructionTarget,
    Determination,
    Identifier,
    KeyRotated,
    Notice,
    Photo,
    Release,
    RetentionPolicy,
    SatisfiedPurpose,
    Subject,
    Tenant,
)
from consentry_server.core.vocabulary import (
    AgeBand,
    DestructionStage,
    DestructionTrigger,
    Purpose,
    RecordClass,
    Relationship,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

Record = Tenant | Notice | Subject | Photo | Identifier | Destruction
T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction)

TENANT_KEY = "tenant"
_YOUNGEST_FIRST = (AgeBand.UNDER_13, AgeBand.MINOR, AgeBand.ADULT, AgeBand.UNKNOWN)


class Records(Protocol):
    """Where the fold reads and writes records."""

    def get(self, kind: type[T], key: str) -> T | None:
        """Return the record as it is after every earlier entry, or None."""

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        """Replace the record; None removes it."""


def notice_key(notice_id: str, version: int) -> str:
    """The key of one version of one notice."""
    return f"{notice_id}@{version}"


def apply(records: Records, entry: Mapping[str, Any]) -> None:
    """Fold one entry.

    Args:
        records: What is known so far; changed in place.
        entry: A decoded entry with its ``index``, ``time`` and ``type``. A type that changes no fact is passed over.
    """
    handler = _HANDLERS.get(entry["type"])
    if handler is not None:
        handler(records, entry, _Stamp(entry["index"], parse_time(entry["time"])))


def changes_facts(entry_type: str) -> bool:
    """Whether entries of this type change any fact that a decision could rely on."""
    return entry_type in _HANDLERS


def fact_types() -> frozenset[str]:
    """The types of entries that change a fact."""
    return frozenset(_HANDLERS)


class _Stamp:
    """Index and time of the entry being folded."""

    __slots__ = ("index", "time")

    def __init__(self, index: int, time: datetime) -> None:
        self.index = index
        self.time = time


def _tenant(records: Records) -> Tenant:
    return records.get(Tenant, TENANT_KEY) or Tenant()


def _subject(records: Records, entry: Mapping[str, Any]) -> Subject:
    reference = entry["people"][0]["subject_ref"]
    return records.get(Subject, reference) or Subject(subject_ref=reference)


def _recorded(entry: Mapping[str, Any], name: str, stamp: _Stamp, **more: object) -> dict[str, Any]:
    return {**entry[name], "index": stamp.index, **more}


def _ledger_created(records: Records, entry: Mapping[str, Any], _stamp: _Stamp) -> None:
    _settings_changed(records, entry, _stamp)


def _settings_changed(records: Records, entry: Mapping[str, Any], _stamp: _Stamp) -> None:
    stated = from_plain(Tenant, entry["tenant"])
    records.put(
        Tenant,
        TENANT_KEY,
        replace(
            _tenant(records),
            entity_type=stated.entity_type,
            encrypted_at_rest=stated.encrypted_at_rest,
            encrypted_in_transit=stated.encrypted_in_transit,
            protection_at_least_other_sensitive=stated.protection_at_least_other_sensitive,
        ),
    )


def _pack_activated(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    pack = from_plain(ActivePack, _recorded(entry, "pack", stamp))
    kept = tuple(active for active in tenant.packs if active.pack_id != pack.pack_id)
    records.put(Tenant, TENANT_KEY, replace(tenant, packs=(*kept, pack)))


def _key_rotated(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    rotated = KeyRotated(entry["old_vkey"], entry["new_vkey"], stamp.index)
    records.put(Tenant, TENANT_KEY, replace(tenant, key_rotations=(*tenant.key_rotations, rotated)))


def _policy_published(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    policy = from_plain(RetentionPolicy, _recorded(entry, "policy", stamp))
    records.put(Tenant, TENANT_KEY, replace(tenant, policies=(*tenant.policies, policy)))


def _notice_published(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    notice = from_plain(Notice, _recorded(entry, "notice", stamp))
    records.put(Notice, notice_key(notice.notice_id, notice.version), notice)


def _determination_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    made = from_plain(Determination, _recorded(entry, "determination", stamp, time=entry["time"]))
    records.put(Tenant, TENANT_KEY, replace(tenant, determinations=(*tenant.determinations, made)))


def _determination_approved(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    records.put(
        Tenant,
        TENANT_KEY,
        replace(
            tenant,
            determinations=tuple(
                replace(made, approved_by=entry["approved_by"], approved_index=stamp.index)
                if made.determination_id == entry["determination_id"]
                else made
                for made in tenant.determinations
            ),
        ),
    )


def _younger(known: AgeBand, claimed: AgeBand) -> AgeBand:
    """A later claim never makes a child's own signature an adult's: the younger counts."""
    return min(known, claimed, key=_YOUNGEST_FIRST.index)


def _claims(subject: Subject, entry: Mapping[str, Any]) -> Subject:
    """Add what a caller said of the person; a region, once claimed, is never dropped by a later silence."""
    claims = entry.get("claims", {})
    return replace(
        subject,
        regions=subject.regions | frozenset(claims.get("regions", ())),
        age_band=_younger(subject.age_band, AgeBand(claims.get("age_band", AgeBand.UNKNOWN))),
        relationship=Relationship(claims["relationship"]) if "relationship" in claims else subject.relationship,
    )


def _notice_delivered(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(_subject(records, entry), entry)
    delivery = from_plain(Delivery, _recorded(entry, "delivery", stamp, time=entry["time"]))
    records.put(Subject, subject.subject_ref, replace(subject, deliveries=(*subject.deliveries, delivery)))


def _release_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(_subject(records, entry), entry)
    release = from_plain(Release, _recorded(entry, "release", stamp, time=entry["time"]))
    earlier = (_ended_by(each, entry.get("supersedes", ""), stamp) for each in subject.releases)
    records.put(
        Subject,
        subject.subject_ref,
        replace(
            subject,
            releases=(*earlier, release),
            last_interaction=stamp.time,
        ),
    )


def _ended_by(release: Release, superseded: str, stamp: _Stamp) -> Release:
    """A release that another takes the place of ends where that one begins."""
    if release.release_id != superseded or (release.expires_at is not None and release.expires_at <= stamp.time):
        return release
    return replace(release, expires_at=stamp.time)


def _release_withdrawn(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    gone = frozenset(entry["releases"])
    records.put(
        Subject,
        subject.subject_ref,
        replace(
            subject,
            releases=tuple(
                replace(release, withdrawn_at=stamp.time, withdrawn_index=stamp.index)
                if release.release_id in gone and release.withdrawn_at is None
                else release
                for release in subject.releases
            ),
            last_interaction=stamp.time,
        ),
    )


def _interaction_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(_subject(records, entry), entry)
    claimed = parse_time(entry["occurred_at"]) if "occurred_at" in entry else stamp.time
    latest = max(claimed, subject.last_interaction) if subject.last_interaction else claimed
    records.put(Subject, subject.subject_ref, replace(subject, last_interaction=min(latest, stamp.time)))


def _purpose_satisfied(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    ended = tuple(SatisfiedPurpose(Purpose(purpose), stamp.index, stamp.time) for purpose in entry["purposes"])
    records.put(Subject, subject.subject_ref, replace(subject, satisfied=(*subject.satisfied, *ended)))


def _employment_ended(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    records.put(Subject, subject.subject_ref, replace(subject, employment_ended_at=stamp.time))


def _photo_stored(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    photo = from_plain(
        Photo, _recorded(entry, "photo", stamp, time=entry["time"], owner_ref=entry["people"][0]["subject_ref"])
    )
    depicted = tuple(person["subject_ref"] for person in entry["people"][1:])
    records.put(Photo, photo.photo_id, replace(photo, depicted=depicted))
    owner = _claims(_subject(records, entry), entry)
    records.put(
        Subject,
        owner.subject_ref,
        replace(owner, photos=(*owner.photos, photo.photo_id), last_interaction=stamp.time),
    )


def _identifier_stored(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    identifier = from_plain(
        Identifier, _recorded(entry, "identifier", stamp, time=entry["time"], subject_ref=subject.subject_ref)
    )
    records.put(Identifier, identifier.identifier_id, identifier)
    records.put(
        Subject, subject.subject_ref, replace(subject, identifiers=(*subject.identifiers, identifier.identifier_id))
    )


def _destruction_requested(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    destruction = Destruction(
        destruction_id=entry["destruction_id"],
        subject_ref=subject.subject_ref,
        trigger=DestructionTrigger(entry["trigger"]),
        targets=tuple(from_plain(DestructionTarget, target) for target in entry["targets"]),
        stage=DestructionStage.REQUESTED,
        requested_index=stamp.index,
        requested_at=stamp.time,
        key_generation=subject.key_generation + 1,
    )
    records.put(Destruction, destruction.destruction_id, destruction)
    tenant = _tenant(records)
    pending = (*tenant.open_destructions, destruction.destruction_id)
    records.put(Tenant, TENANT_KEY, replace(tenant, open_destructions=pending))
    for target in destruction.targets:
        if target.record_class is RecordClass.PHOTO:
            photo = records.get(Photo, target.record_id)
            if photo is not None:
                marked = replace(photo, destruction_id=destruction.destruction_id)
                records.put(Photo, photo.photo_id, marked)
        else:
            identifier = records.get(Identifier, target.record_id)
            if identifier is not None:
                records.put(
                    Identifier,
                    identifier.identifier_id,
                    replace(identifier, destruction_id=destruction.destruction_id),
                )
    held = frozenset(target.record_id for target in destruction.targets)
    records.put(
        Subject,
        subject.subject_ref,
        replace(
            subject,
            identifiers=tuple(each for each in subject.identifiers if each not in held),
            photos=tuple(each for each in subject.photos if each not in held),
            destructions=(*subject.destructions, destruction.destruction_id),
            key_generation=destruction.key_generation,
        ),
    )


def _destruction_completed(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    destruction = records.get(Destruction, entry["destruction_id"])
    if destruction is None:
        return
    records.put(
        Destruction,
        destruction.destruction_id,
        replace(
            destruction,
            stage=DestructionStage.COMPLETED,
            completed_index=stamp.index,
            completed_at=stamp.time,
            unrecoverable_after=parse_time(entry["unrecoverable_after"]),
        ),
    )
    tenant = _tenant(records)
    pending = tuple(each for each in tenant.open_destructions if each != destruction.destruction_id)
    records.put(Tenant, TENANT_KEY, replace(tenant, open_destructions=pending))
    for identifier_id in entry.get("rekeyed", ()):
        identifier = records.get(Identifier, identifier_id)
        if identifier is not None:
            moved = replace(identifier, dek_id=entry["dek_id"], key_owner=entry["key_owner"])
            records.put(Identifier, identifier_id, moved)


_HANDLERS: dict[str, Callable[[Records, Mapping[str, Any], _Stamp], None]] = {
    "ledger.created": _ledger_created,
    "settings.changed": _settings_changed,
    "ledger.key_rotated": _key_rotated,
    "pack.activated": _pack_activated,
    "policy.published": _policy_published,
    "notice.published": _notice_published,
    "determination.recorded": _determination_recorded,
    "determination.approved": _determination_approved,
    "notice.delivered": _notice_delivered,
    "release.recorded": _release_recorded,
    "release.withdrawn": _release_withdrawn,
    "interaction.recorded": _interaction_recorded,
    "purpose.satisfied": _purpose_satisfied,
    "employment.ended": _employment_ended,
    "photo.stored": _photo_stored,
    "identifier.stored": _identifier_stored,
    "destruction.requested": _destruction_requested,
    "destruction.completed": _destruction_completed,
}
