"""What callers hand over: frozen records with the fields of the contract's messages, in Python's own types.

Times are timezone-aware datetimes, periods are timedeltas, words are those of `consentry.vocabulary`. What is not said
is left at its default. The comments of ``proto/consentry/v1`` hold every limit; a test holds these classes to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from consentry.vocabulary import (
    AgeBand,
    ArtifactKind,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    KnownBy,
    NoticeChannel,
    Operation,
    Publisher,
    Purpose,
    RecipientKind,
    Relationship,
    ReleaseForm,
    RetentionClock,
    SignatureAlgorithm,
    SignatureProcess,
    SignerRole,
    SourceKind,
    TermEnd,
    Visibility,
    Vouching,
)

Photo: TypeAlias = str | bytes
"""A photo: its id ("pho_..."), or the SHA-256 (32 bytes) of one that the vault does not hold."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the stored image, origin at the top left, EXIF orientation not applied."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One face of a photo. Hand over every face, bystanders too; an empty ``subject_id`` is an unidentified person."""

    box: Box | None = None
    subject_id: str = ""
    known_by: KnownBy = KnownBy.UNSPECIFIED
    regions: Sequence[str] = ()
    age_band: AgeBand = AgeBand.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Facts of a place that city laws ask about; None is unknown, which is not no."""

    new_york_city_commercial_establishment: bool | None = None
    portland_public_accommodation: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a photo comes from. For a photo on record it may only make the answer stricter."""

    visibility: Visibility = Visibility.UNSPECIFIED
    published_by: Publisher = Publisher.UNSPECIFIED
    kind: SourceKind = SourceKind.UNSPECIFIED
    capture_time: datetime | None = None
    capture_regions: Sequence[str] = ()
    venue: Venue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One operation to decide. Without a ``request_id`` every call is a new question."""

    operation: Operation
    purpose: Purpose
    category: DataCategory
    photo: Photo | None = None
    faces: Sequence[Face] = ()
    subject_id: str = ""
    source: Source | None = None
    recipient_id: str = ""
    disclosure_basis: DisclosureBasis = DisclosureBasis.UNSPECIFIED
    disclosure_evidence: str = ""
    consideration: Consideration = Consideration.UNSPECIFIED
    regions: Sequence[str] = ()
    uses_face_geometry: bool | None = None
    identifies: bool | None = None
    stored: bool | None = None
    linked_identity: bool | None = None
    algorithm_id: str = ""
    algorithm_version: str = ""
    collection_method_id: str = ""
    occur_time: datetime | None = None
    artifact_id: str = ""
    want_permit: bool = False
    permit_audience: str = ""
    permit_single_use: bool = False
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoDescription:
    """What an uploader says of a photo when it enters the vault."""

    owner_subject_id: str
    depicted_subject_ids: Sequence[str] = ()
    source: Source | None = None
    purpose: Purpose = Purpose.PHOTO_HOSTING
    regions: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedArtifact:
    """A data set or model and what it was made from, under one decision on exactly these sources."""

    artifact_id: str
    kind: ArtifactKind
    decision_id: str
    make_time: datetime
    photo_ids: Sequence[str] = ()
    identifier_ids: Sequence[str] = ()
    source_artifact_ids: Sequence[str] = ()
    identifies_individual: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """What is known of a template that is to be stored."""

    category: DataCategory
    format: str
    format_version: str
    algorithm_id: str
    algorithm_version: str
    collection_method_id: str
    quality: int | None = None
    capture_device: str = ""
    replaces_identifier_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """The length of term that a notice states: a duration in whole seconds, or the event that ends it."""

    duration: timedelta | None = None
    end_event: TermEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecipient:
    """One recipient that a notice names."""

    recipient_id: str
    kind: RecipientKind
    purposes: Sequence[Purpose]
    holding_period: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One version of a notice to publish. ``version`` 0: the server takes the next."""

    notice_id: str
    language: str
    effective_time: datetime
    text: str
    says_collected_or_stored: bool = False
    purposes: Sequence[Purpose] = ()
    categories: Sequence[DataCategory] = ()
    term: Term | None = None
    recipients: Sequence[NoticeRecipient] = ()
    uri: str = ""
    withdrawal_uri: str = ""
    states_paper_option: bool = False
    version: int = 0
    text_sha256: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """One line of a retention schedule."""

    category: DataCategory
    clock: RetentionClock
    maximum_period: timedelta
    purpose: Purpose = Purpose.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """One version of the public retention policy (740 ILCS 14/15(a)). ``version`` 0: the server takes the next."""

    policy_id: str
    effective_time: datetime
    public_uri: str
    text: str
    schedule: Sequence[RetentionRule] = ()
    destruction_guidelines: str = ""
    sweep_latency: timedelta | None = None
    version: int = 0
    text_sha256: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a caller claims about a person; the stricter of claim and record counts.

    ``majority_quarter`` is the calendar quarter in which a child comes of age, "2031-Q2": no birth date.
    """

    regions: Sequence[str] = ()
    age_band: AgeBand = AgeBand.UNSPECIFIED
    relationship: Relationship = Relationship.UNSPECIFIED
    majority_quarter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who was told or who signs: the subject, or a representative with an authority."""

    role: SignerRole = SignerRole.SELF
    representative_id: str = ""
    authority_basis: AuthorityBasis = AuthorityBasis.UNSPECIFIED
    authority_evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How an act was attributed to a person (815 ILCS 333, section 9); sealed."""

    account_authentication: str = ""
    multi_factor: bool | None = None
    ip_address: str = ""
    device: str = ""
    user_agent: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerSignature:
    """The signer's own signature, over the lines that consent.proto describes."""

    public_key: bytes
    signature: bytes
    algorithm: SignatureAlgorithm = SignatureAlgorithm.ED25519


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice version, delivered to one person."""

    notice_id: str
    notice_version: int
    channel: NoticeChannel
    language: str
    deliver_time: datetime
    shown_sha256: bytes
    signer: Signer = Signer()
    acknowledge_time: datetime | None = None
    esign_disclosure_version: str = ""
    access_demonstrated_by: str = ""
    renderer_version: str = ""
    attribution: Attribution | None = None
    vouching: Vouching = Vouching.CALLER_ASSERTED
    signer_signature: SignerSignature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One written release (740 ILCS 14/10): more than a checkbox."""

    notice_id: str
    notice_version: int
    delivery_id: str
    form: ReleaseForm
    process: SignatureProcess
    signed_document_sha256: bytes
    intent_statement: str
    purposes: Sequence[Purpose]
    categories: Sequence[DataCategory]
    sign_time: datetime
    language: str
    signer: Signer = Signer()
    attribution: Attribution | None = None
    recipient_ids: Sequence[str] = ()
    scopes: Sequence[ConsentScope] = ()
    explicit: bool = False
    expire_time: datetime | None = None
    jurisdiction: str = ""
    condition_of_employment: bool = False
    supersedes_release_id: str = ""
    vouching: Vouching = Vouching.CALLER_ASSERTED
    signer_signature: SignerSignature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Determination:
    """What an officer determined, on which evidence, for how much, until when."""

    kind: DeterminationKind
    authority: str
    evidence_reference: str
    author: str
    decide_time: datetime
    expire_time: datetime
    operations: Sequence[Operation] = ()
    purposes: Sequence[Purpose] = ()
    algorithm_id: str = ""
    algorithm_version: str = ""
    subject_id: str = ""
    recipient_id: str = ""
    contract_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicStatement:
    """What was promised in public. It narrows and never permits: exclude visibilities, categories, or both."""

    text: str
    speaker: str
    state_time: datetime
    operations: Sequence[Operation]
    purposes: Sequence[Purpose] = ()
    only_visibilities: Sequence[Visibility] = ()
    excluded_categories: Sequence[DataCategory] = ()
    uri: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementChange:
    """Whether an operation is enforced or only observed, and from when."""

    operation: Operation
    enforced: bool
    effective_time: datetime
