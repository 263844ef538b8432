"""The fold: entries in ledger order become what is known of the tenant, its people, photos and identifiers.

It is the only place where a fact is made, in the service as it runs and when the ledger is folded again to
check the projections. It trusts nothing but entries, and makes the same records from the same entries always.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record import lineage
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.codec import from_plain
from consentry_server.core.record.facts import (
    ActivePack,
    Delivery,
    Destruction,
    DestructionTarget,
    Determination,
    EnforcementSwitch,
    FoundUnnecessary,
    Identifier,
    KeyRotated,
    Notice,
    OptOut,
    Photo,
    Release,
    RetentionPolicy,
    SatisfiedPurpose,
    Subject,
    Tenant,
    Withdrawal,
)
from consentry_server.core.record.house import Refusal, Review, Statement
from consentry_server.core.record.majority import aged, note_claims
from consentry_server.core.record.reviews import questions
from consentry_server.core.vocabulary import (
    EMPLOYMENT_PURPOSES,
    DestructionStage,
    DestructionTrigger,
    Purpose,
    RecordClass,
    Relationship,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

Record = Tenant | Notice | Subject | Photo | Identifier | Destruction | Artifact | Review
T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction, Artifact, Review)

TENANT_KEY = "tenant"


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
    kind = entry["type"]
    if kind == "decision":  # most entries are: the few that a review counts are told apart first
        if "reviews" in entry or "determinations" in entry:
            _review_counted(records, entry, _Stamp(entry["index"], parse_time(entry["time"])))
        return
    handler = _HANDLERS.get(kind)
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


def _settings_changed(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
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
            settings_index=stamp.index,
        ),
    )


def _pack_activated(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    pack = from_plain(ActivePack, _recorded(entry, "pack", stamp))
    kept = tuple(active for active in tenant.packs if (active.pack_id, active.own) != (pack.pack_id, pack.own))
    former = (*tenant.former_packs, *(active for active in tenant.packs if active not in kept))
    records.put(Tenant, TENANT_KEY, replace(tenant, packs=(*kept, pack), former_packs=former))


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
    review = records.get(Review, made.review_id) if made.review_id else None
    if review is not None:
        answered = replace(review, determination_id=made.determination_id, allowed_since=0)
        records.put(Review, review.review_id, answered)


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


def _determination_revoked(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    determinations = tuple(
        replace(made, revoked_index=stamp.index) if made.determination_id == entry["determination_id"] else made
        for made in tenant.determinations
    )
    records.put(Tenant, TENANT_KEY, replace(tenant, determinations=determinations))


def _enforcement_changed(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    """Add a switch; one that enforces at once overtakes every earlier switch of its operation."""
    tenant = _tenant(records)
    made = from_plain(EnforcementSwitch, _recorded(entry, "enforcement", stamp))
    made = replace(made, effective_time=max(made.effective_time, stamp.time))
    at_once = made.enforced and made.effective_time == stamp.time
    kept = tuple(each for each in tenant.enforcement if not (at_once and each.operation is made.operation))
    records.put(Tenant, TENANT_KEY, replace(tenant, enforcement=(*kept, made)))


def _enforcement_approved(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    switches = tuple(
        replace(each, approved_by=entry["approved_by"], effective_time=max(each.effective_time, stamp.time))
        if each.enforcement_id == entry["enforcement_id"]
        else each
        for each in tenant.enforcement
    )
    records.put(Tenant, TENANT_KEY, replace(tenant, enforcement=switches))


def _statement_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    statement = from_plain(Statement, _recorded(entry, "statement", stamp, time=entry["time"]))
    records.put(Tenant, TENANT_KEY, replace(tenant, statements=(*tenant.statements, statement)))


def _review_refused(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    tenant = _tenant(records)
    refusal = from_plain(Refusal, _recorded(entry, "refusal", stamp, time=entry["time"]))
    records.put(Tenant, TENANT_KEY, replace(tenant, refusals=(*tenant.refusals, refusal)))
    review = records.get(Review, refusal.review_id)
    if review is not None:
        records.put(Review, review.review_id, replace(review, refused_index=stamp.index))


def _review_counted(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    """A decision raises questions, or rests on determinations that answered some."""
    if "reviews" in entry:
        for asked in questions(entry, stamp.time):
            review = records.get(Review, asked.review_id) or asked
            records.put(Review, review.review_id, replace(review, count=review.count + 1))
    relied = frozenset(entry.get("determinations", ()))
    answered = [made.review_id for made in _tenant(records).determinations if made.determination_id in relied]
    for review_id in dict.fromkeys(filter(None, answered)):
        held = records.get(Review, review_id)
        if held is not None and held.determination_id in relied:
            records.put(Review, review_id, replace(held, allowed_since=held.allowed_since + 1))


def _claims(records: Records, subject: Subject, entry: Mapping[str, Any], stamp: _Stamp) -> Subject:
    """Add what a caller said of the person; a region, once claimed, is never dropped by a later silence."""
    claims = entry.get("claims")
    if not claims:
        return subject
    described = replace(
        aged(subject, claims, stamp.time, stamp.index),
        regions=subject.regions | frozenset(claims.get("regions", ())),
        relationship=Relationship(claims["relationship"]) if "relationship" in claims else subject.relationship,
    )
    if described != subject:
        lineage.age_learnt(records, subject, described, stamp.index)
        described = replace(described, described_index=stamp.index)
    return note_claims(described, claims, stamp.index)


def _notice_delivered(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(records, _subject(records, entry), entry, stamp)
    delivery = from_plain(Delivery, _recorded(entry, "delivery", stamp, time=entry["time"]))
    records.put(Subject, subject.subject_ref, replace(subject, deliveries=(*subject.deliveries, delivery)))


def _release_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(records, _subject(records, entry), entry, stamp)
    release = from_plain(Release, _recorded(entry, "release", stamp, time=entry["time"]))
    earlier = (_ended_by(each, entry.get("supersedes", ""), release, stamp) for each in subject.releases)
    records.put(
        Subject,
        subject.subject_ref,
        replace(
            subject,
            releases=(*earlier, release),
            last_interaction=stamp.time,
        ),
    )


def _ended_by(release: Release, superseded: str, later: Release, stamp: _Stamp) -> Release:
    """A release that another takes the place of ends where that one begins."""
    if release.release_id != superseded or (release.expires_at is not None and release.expires_at <= stamp.time):
        return release
    return replace(release, expires_at=stamp.time, superseded_by=later.release_id)


def _release_withdrawn(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    lineage.consent_ended(records, subject, entry, stamp.index)
    gone = frozenset(entry["releases"])
    given = (release.purposes for release in subject.releases if release.release_id in gone)
    taken_back = frozenset[Purpose]() if entry["all"] else frozenset[Purpose]().union(*given)
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
            withdrawals=(*subject.withdrawals, Withdrawal(stamp.index, stamp.time, taken_back)),
            last_interaction=stamp.time,
        ),
    )


def _interaction_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _claims(records, _subject(records, entry), entry, stamp)
    claimed = parse_time(entry["occurred_at"]) if "occurred_at" in entry else stamp.time
    latest = max(claimed, subject.last_interaction) if subject.last_interaction else claimed
    records.put(Subject, subject.subject_ref, replace(subject, last_interaction=min(latest, stamp.time)))


def _purpose_satisfied(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    ended = tuple(SatisfiedPurpose(Purpose(purpose), stamp.index, stamp.time) for purpose in entry["purposes"])
    records.put(Subject, subject.subject_ref, replace(subject, satisfied=(*subject.satisfied, *ended)))


def _opted_out(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    made = OptOut(stamp.index, stamp.time, frozenset(Purpose(purpose) for purpose in entry.get("purposes", ())))
    records.put(Subject, subject.subject_ref, replace(subject, opt_outs=(*subject.opt_outs, made)))


def _purpose_unnecessary(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    """Of one purpose the first finding counts, until it is released anew; an extension is noted with it."""
    subject = _subject(records, entry)
    found = parse_time(entry["occurred_at"]) if "occurred_at" in entry else stamp.time
    kept = list(subject.unnecessary)
    for purpose in map(Purpose, entry["purposes"]):
        open_ = subject.found_unnecessary(purpose)
        extended = stamp.index if entry.get("extended") else -1
        if open_ is None:
            kept.append(FoundUnnecessary(purpose, stamp.index, min(found, stamp.time), extended))
        elif open_.extended_index < 0:
            kept[kept.index(open_)] = replace(open_, extended_index=extended)
    records.put(Subject, subject.subject_ref, replace(subject, unnecessary=tuple(kept)))


def _account_closed(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    subject = _subject(records, entry)
    records.put(Subject, subject.subject_ref, replace(subject, account_closed_at=stamp.time))


def _employment_ended(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    """The end of an employment ends its purposes too, whatever the form of the release (503.001(c-2))."""
    subject = _subject(records, entry)
    ended = tuple(SatisfiedPurpose(purpose, stamp.index, stamp.time) for purpose in sorted(EMPLOYMENT_PURPOSES))
    records.put(
        Subject,
        subject.subject_ref,
        replace(subject, employment_ended_at=stamp.time, satisfied=(*subject.satisfied, *ended)),
    )


def _artifact_recorded(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    lineage.artifact_recorded(records, entry, stamp.index, stamp.time)


def _photo_stored(records: Records, entry: Mapping[str, Any], stamp: _Stamp) -> None:
    photo = from_plain(
        Photo, _recorded(entry, "photo", stamp, time=entry["time"], owner_ref=entry["people"][0]["subject_ref"])
    )
    shown = entry["people"] if entry.get("owner_depicted") else entry["people"][1:]
    depicted = tuple(person["subject_ref"] for person in shown)
    records.put(Photo, photo.photo_id, replace(photo, depicted=depicted))
    owner = _claims(records, _subject(records, entry), entry, stamp)
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
    "determination.revoked": _determination_revoked,
    "statement.recorded": _statement_recorded,
    "review.refused": _review_refused,
    "enforcement.changed": _enforcement_changed,
    "enforcement.approved": _enforcement_approved,
    "notice.delivered": _notice_delivered,
    "release.recorded": _release_recorded,
    "release.withdrawn": _release_withdrawn,
    "interaction.recorded": _interaction_recorded,
    "purpose.satisfied": _purpose_satisfied,
    "person.opted_out": _opted_out,
    "purpose.unnecessary": _purpose_unnecessary,
    "account.closed": _account_closed,
    "employment.ended": _employment_ended,
    "artifact.recorded": _artifact_recorded,
    "photo.stored": _photo_stored,
    "identifier.stored": _identifier_stored,
    "destruction.requested": _destruction_requested,
    "destruction.completed": _destruction_completed,
}
