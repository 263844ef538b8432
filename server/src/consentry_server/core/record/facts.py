"""What is known: frozen values that the fold makes out of ledger entries and that the law decides on.

Nothing here knows how it was stored. Every fact carries the ledger index of the entry that recorded it, so
that a decision can name what it relied on. ``time`` is when a fact was recorded, by the ledger's clock;
``occurred_at`` and ``signed_at`` are what a caller claims, and never justify an operation recorded before them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from consentry_server.core.record.artifacts import ArtifactState, MadeInto
from consentry_server.core.record.house import Refusal, Statement  # noqa: TC001 - as above
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DestructionStage,
    DestructionTrigger,
    DeterminationKind,
    DisclosureBasis,
    EntityType,
    KnownBy,
    NoticeChannel,
    Operation,
    Publisher,
    Purpose,
    RecordClass,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    SourceKind,
    TermEnd,
    Visibility,
    Vouching,
)


@dataclass(frozen=True, slots=True)
class Box:
    """A face's place in the stored image.

    Args:
        x: Left edge, pixels.
        y: Top edge, pixels.
        width: Pixels, at least 1.
        height: Pixels, at least 1.
    """

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Term:
    """The length of term that a notice states: a duration, or the event that ends it (740 ILCS 14/15(b)(2))."""

    duration: timedelta | None = None
    end: TermEnd | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One version of one notice, as published."""

    notice_id: str
    version: int
    index: int
    effective_time: datetime
    language: str
    says_collected_or_stored: bool
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    term: Term | None
    recipients: frozenset[str]
    text_sha256: str


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """One version of the public written policy, 740 ILCS 14/15(a)."""

    policy_id: str
    version: int
    index: int
    effective_time: datetime
    url: str
    text_sha256: str
    has_schedule: bool
    has_destruction_guidelines: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice version, delivered to one signer."""

    delivery_id: str
    index: int
    time: datetime
    occurred_at: datetime
    notice_id: str
    notice_version: int
    channel: NoticeChannel
    signer_role: SignerRole
    acknowledged: bool
    vouching: Vouching
    representative_ref: str = ""
    """Keyed hash of the representative's id; empty where the subject was told."""


@dataclass(frozen=True, slots=True)
class Release:
    """One written release, with the notice it rests on."""

    release_id: str
    index: int
    time: datetime
    signed_at: datetime
    delivery_id: str
    notice_id: str
    notice_version: int
    form: ReleaseForm
    process: SignatureProcess
    signer_role: SignerRole
    authority_basis: AuthorityBasis
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    recipients: frozenset[str]
    scopes: frozenset[ConsentScope]
    explicit: bool
    condition_of_employment: bool
    vouching: Vouching
    signed_document_sha256: str
    representative_ref: str = ""
    expires_at: datetime | None = None
    withdrawn_at: datetime | None = None
    withdrawn_index: int = -1
    superseded_by: str = ""
    """The release that took its place while it had not ended by itself."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a person took back, and when: no consent that was signed before comes in later and stands for it.

    Args:
        index: The entry.
        time: When it was recorded.
        purposes: The purposes of the releases that were withdrawn; empty where the person withdrew everything.
    """

    index: int
    time: datetime
    purposes: frozenset[Purpose]

    def bars(self, release: Release, purpose: Purpose) -> bool:
        """Whether this release, recorded later, was signed no later: then it is no new consent to the purpose."""
        return (
            release.index > self.index
            and release.signed_at <= self.time
            and (not self.purposes or purpose in self.purposes)
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What a caller first said of a person in one entry; that entry says who and when.

    Args:
        fact: ``region``, ``age_band``, ``relationship`` or ``majority_quarter``.
        value: The region, the word, the quarter.
        index: The first entry that says so.
    """

    fact: str
    value: str
    index: int


@dataclass(frozen=True, slots=True)
class SatisfiedPurpose:
    """A purpose that was satisfied, and when."""

    purpose: Purpose
    index: int
    time: datetime

    def ends(self, release: Release) -> bool:
        """Whether it ends this release for the purpose: it was recorded, or signed, before."""
        return release.index < self.index or release.signed_at <= self.time


UNNECESSARY_DAYS = 45
"""How long at most what was found unnecessary is kept, and how much longer by the one extension.

Source: C.R.S. 6-1-1314(2)(c)."""


@dataclass(frozen=True, slots=True)
class FoundUnnecessary:
    """Holding data for a purpose was found no longer necessary, adequate or relevant, C.R.S. 6-1-1314(2)(c).

    Args:
        purpose: The purpose.
        index: The entry that recorded it.
        time: When it was found: the earlier of what the caller claims and the entry's time.
        extended_index: The entry that extended the period, with a reason; -1 where none did.
    """

    purpose: Purpose
    index: int
    time: datetime
    extended_index: int = -1

    @property
    def destroy_by(self) -> datetime:
        """The latest day on which what was kept for it alone is destroyed."""
        return self.time + timedelta(days=UNNECESSARY_DAYS * (1 if self.extended_index < 0 else 2))

    def ends(self, release: Release) -> bool:
        """Whether it ends this release for the purpose: it was recorded, or signed, before."""
        return release.index < self.index or release.signed_at <= self.time


@dataclass(frozen=True, slots=True)
class OptOut:
    """The person asked that their sensitive data not be used: a right to limit or to opt out. It only restricts."""

    index: int
    time: datetime
    purposes: frozenset[Purpose] = frozenset()
    """Empty means every purpose."""

    def reaches(self, purpose: Purpose) -> bool:
        """Whether it speaks of this purpose."""
        return not self.purposes or purpose in self.purposes

    def ends(self, release: Release) -> bool:
        """Whether what this release permits is over: it was recorded, or signed, before."""
        return release.index < self.index or release.signed_at <= self.time


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of one person."""

    subject_ref: str
    regions: frozenset[str] = frozenset()
    age_band: AgeBand = AgeBand.UNKNOWN
    relationship: Relationship = Relationship.UNKNOWN
    deliveries: tuple[Delivery, ...] = ()
    releases: tuple[Release, ...] = ()
    identifiers: tuple[str, ...] = ()
    """Ids of the identifiers held now."""
    photos: tuple[str, ...] = ()
    """Ids of the photos this person uploaded and that are held now."""
    last_interaction: datetime | None = None
    satisfied: tuple[SatisfiedPurpose, ...] = ()
    """Purposes that were satisfied; what was released before ends there, what is released after counts anew."""
    employment_ended_at: datetime | None = None
    destructions: tuple[str, ...] = ()
    """Ids of the destructions of what belonged to this person."""
    key_generation: int = 0
    """Which of this person's biometric keys new identifiers are sealed under: each destruction begins another."""

    @property
    def satisfied_purposes(self) -> frozenset[Purpose]:
        """Purposes that were satisfied and not released anew since."""
        return frozenset(
            each.purpose
            for each in self.satisfied
            if all(each.purpose not in release.purposes or each.ends(release) for release in self.releases)
        )

    def found_unnecessary(self, purpose: Purpose) -> FoundUnnecessary | None:
        """What was found of a purpose, where it was not released anew since."""
        for found in reversed(self.unnecessary):
            if found.purpose is purpose:
                anew = any(purpose in release.purposes and not found.ends(release) for release in self.releases)
                return None if anew else found
        return None

    account_closed_at: datetime | None = None
    """Ends a term that the notice bound to ``TermEnd.ACCOUNT_CLOSED``."""
    opt_outs: tuple[OptOut, ...] = ()
    """Requests to limit or to opt out, in ledger order; none is ever removed."""
    unnecessary: tuple[FoundUnnecessary, ...] = ()
    """Purposes for which holding was found unnecessary: nothing new is done for them, and what is held has a date."""
    artifacts: tuple[MadeInto, ...] = ()
    """Data sets and models that this person's data went into."""
    described_index: int = -1
    """The entry that last changed regions, age or relationship; a late report goes by what was known before it."""
    withdrawals: tuple[Withdrawal, ...] = ()
    """What the person took back, oldest first."""
    majority_quarter: str = ""
    """The calendar quarter in which the person comes of age, ``2031-Q2``; of several that were claimed the latest."""
    outgrown_at: datetime | None = None
    """From when on what a representative signed before is for review: the earliest moment of the quarter of majority,
    or the first claim that somebody on record as a child is an adult."""
    adult_since: datetime | None = None
    """When the record took the person from child to adult; what they signed themselves before, a child signed."""
    child_index: int = -1
    """The entry that claimed a child of somebody on record as an adult: it makes no parent's earlier release good."""
    claimed: tuple[Claim, ...] = ()
    """Who first claimed what, oldest first; each value once."""


@dataclass(frozen=True, slots=True)
class Photo:
    """One stored photo; its owner is the uploader."""

    photo_id: str
    index: int
    time: datetime
    owner_ref: str
    photo_ref: str
    """Keyed hash of the photo's SHA-256."""
    content_type: str
    width: int
    height: int
    size: int
    dek_id: str
    visibility: Visibility
    published_by: Publisher
    source_kind: SourceKind
    captured_at: datetime | None
    regions: frozenset[str]
    depicted: tuple[str, ...] = ()
    """subject_refs of the people the uploader says are in it."""
    destruction_id: str = ""
    """Set once destruction was requested: from then on it opens for nobody."""
    new_york_city_establishment: bool | None = None
    portland_public_accommodation: bool | None = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """One stored biometric identifier, kept apart from the identity it belongs to."""

    identifier_id: str
    index: int
    time: datetime
    subject_ref: str
    category: DataCategory
    purpose: Purpose
    algorithm_id: str
    algorithm_version: str
    format: str
    dek_id: str
    decision_index: int
    key_owner: str
    """Under whose name the key is kept: the person's reference and the key's generation."""
    destruction_id: str = ""


@dataclass(frozen=True, slots=True)
class DestructionTarget:
    """One thing to destroy."""

    record_class: RecordClass
    record_id: str
    dek_id: str


@dataclass(frozen=True, slots=True)
class Destruction:
    """One destruction and the stage it has reached."""

    destruction_id: str
    subject_ref: str
    trigger: DestructionTrigger
    targets: tuple[DestructionTarget, ...]
    stage: DestructionStage
    requested_index: int
    requested_at: datetime
    key_generation: int = 0
    """The person's key generation from here on; what survives is sealed under it."""
    completed_index: int = -1
    completed_at: datetime | None = None
    unrecoverable_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Determination:
    """A recorded legal determination or exemption: never effective before ``active``, never outside its scope."""

    determination_id: str
    index: int
    time: datetime
    kind: DeterminationKind
    operations: frozenset[Operation]
    purposes: frozenset[Purpose]
    """Empty means every purpose for entity-wide exemptions only; a pack says which kinds those are."""
    algorithm_id: str
    algorithm_version: str
    subject_ref: str
    """Empty where it is not about one person."""
    expires_at: datetime
    decided_by: str
    """The officer's actor name, from the certificate."""
    approved_by: str = ""
    """The second officer's actor name; empty until approved."""
    approved_index: int = -1
    recipient_id: str = ""
    """Empty where it is not about one recipient."""
    revoked_index: int = -1
    """The entry by which an officer revoked it; tightening needs one."""
    review_id: str = ""
    """The review that it answers, where it answers one."""

    @property
    def active(self) -> bool:
        """Whether a second officer has approved it (loosening needs two) and nobody has revoked it."""
        return bool(self.approved_by) and self.approved_by != self.decided_by and self.revoked_index < 0


@dataclass(frozen=True, slots=True)
class EnforcementSwitch:
    """An officer's switch of one operation between enforcing and observing; see ``core.law.enforcement``."""

    enforcement_id: str
    index: int
    operation: Operation
    enforced: bool
    effective_time: datetime
    """Never before the entry that records it; of a switch to observing never before its approval."""
    decided_by: str
    """The officer's actor name, from the certificate."""
    approved_by: str = ""
    """The second officer's actor name; a switch to observing counts only with one."""


@dataclass(frozen=True, slots=True)
class ActivePack:
    """A law pack, activated by a ledger entry that names its hash."""

    pack_id: str
    version: int
    sha256: str
    index: int
    own: bool = False
    """Whether it holds the tenant's own rules, which can only restrict."""


@dataclass(frozen=True, slots=True)
class KeyRotated:
    """The ledger's key was rotated: the entry at ``index`` carries the statement, larger trees are the new key's."""

    old_vkey: str
    new_vkey: str
    index: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """What is known of the tenant itself."""

    entity_type: EntityType = EntityType.PRIVATE_ENTITY
    policies: tuple[RetentionPolicy, ...] = ()
    determinations: tuple[Determination, ...] = ()
    packs: tuple[ActivePack, ...] = ()
    encrypted_at_rest: bool = False
    encrypted_in_transit: bool = False
    protection_at_least_other_sensitive: bool = False
    """740 ILCS 14/15(e): protected the same as or more than other confidential and sensitive information."""
    open_destructions: tuple[str, ...] = ()
    """Requested and not yet completed; carried on with after a restart."""
    key_rotations: tuple[KeyRotated, ...] = ()
    """Every rotation of the ledger's key, in order."""
    settings_index: int = -1
    """The entry that last stated the tenant's settings."""
    statements: tuple[Statement, ...] = ()
    """Every public statement; each narrows from its entry on."""
    refusals: tuple[Refusal, ...] = ()
    """Questions that officers answered with no."""
    notices: dict[tuple[str, int], Notice] = field(default_factory=dict)
    """Every published notice by id and version. Treated as immutable: the fold replaces it, never changes it."""
    former_packs: tuple[ActivePack, ...] = ()
    """Packs that a newer version has replaced, in order: a late report is decided by what was active then."""
    enforcement: tuple[EnforcementSwitch, ...] = ()
    """Switches between enforcing and observing, in the order recorded; none: everything is enforced."""


@dataclass(frozen=True, slots=True)
class Face:
    """One face of a request, resolved to what is known of the person.

    Args:
        subject: None where the face is unidentified; a subject with no releases where the person is named but new.
        known_by: How the caller knows whose face it is.
        regions: What the caller adds to the regions on record.
        age_band: What the caller says of the age; the stricter of this and the record counts.
    """

    subject: Subject | None
    known_by: KnownBy = KnownBy.UNKNOWN
    regions: frozenset[str] = frozenset()
    age_band: AgeBand = AgeBand.UNKNOWN
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """Facts about the operation itself, as the caller states them; None is unknown, which is not no."""

    operation: Operation
    purpose: Purpose
    category: DataCategory
    visibility: Visibility = Visibility.UNKNOWN
    published_by: Publisher = Publisher.UNKNOWN
    source_kind: SourceKind = SourceKind.UNKNOWN
    captured_at: datetime | None = None
    recipient_id: str = ""
    disclosure_basis: DisclosureBasis = DisclosureBasis.NONE
    has_disclosure_evidence: bool = False
    consideration: Consideration = Consideration.UNKNOWN
    regions: frozenset[str] = frozenset()
    uses_face_geometry: bool | None = None
    identifies: bool | None = None
    stored: bool | None = None
    linked_identity: bool | None = None
    algorithm_id: str = ""
    algorithm_version: str = ""
    collection_method_id: str = ""
    new_york_city_establishment: bool | None = None
    """Taken of customers of a commercial establishment in New York City (N.Y.C. Admin. Code 22-1201)."""
    portland_public_accommodation: bool | None = None
    """Taken in a place of public accommodation in Portland, Oregon (City Code 34.10)."""
    artifact_id: str = ""
    artifact_state: ArtifactState = ArtifactState.NONE
    """As the ledger has it at the decision; never the caller's word."""
