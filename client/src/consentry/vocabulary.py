"""The closed lists of words that the contract uses, as Python enums.

Numbers and names are those of ``proto/consentry/v1`` (without the prefix); the comments there say what each word means.
``UNSPECIFIED`` is "not said": refused where the word is required, *unknown* (never "no") elsewhere.
"""

from __future__ import annotations

import enum
from typing import Self


class Word(enum.IntEnum):
    """One word of a closed list; prints as its name."""

    def __str__(self) -> str:
        return self.name

    @classmethod
    def read(cls, number: int) -> Self:
        """Return the word that an answer holds; a word newer than this client counts as not said."""
        return cls(number) if number in cls._value2member_map_ else cls(0)


class Operation(Word):
    """What the caller is about to do. Finding faces is an operation of its own, with its own answer."""

    UNSPECIFIED = 0
    STORE = 1
    RETAIN = 2
    DISPLAY = 3
    PROCESS = 4
    CAPTURE = 5
    DETECT_FACES = 6
    EXTRACT_TEMPLATE = 7
    ENROLL = 8
    VERIFY = 9
    IDENTIFY = 10
    CLUSTER_FACES = 11
    ANALYZE_ATTRIBUTES = 12
    CHECK_QUALITY = 13
    HASH_IMAGE = 14
    DISCLOSE = 15
    SELL = 16
    LEASE = 17
    TRADE = 18
    TRAIN_MODEL = 19
    SERVE_MODEL = 20
    BUILD_FACE_DATABASE = 21
    IMPORT_DATASET = 22


class Purpose(Word):
    """What an operation is for. A notice names its purposes with these words, and a release covers no other."""

    UNSPECIFIED = 0
    PHOTO_HOSTING = 1
    PHOTO_SHARING = 2
    PHOTO_DISPLAY = 3
    TAGGING = 4
    IDENTITY_VERIFICATION = 5
    IDENTIFICATION = 6
    ACCOUNT_SECURITY = 7
    SAFETY_MODERATION = 8
    CSAM_NSFW_HASH_MATCH = 9
    SECURITY_WATCHLIST = 10
    PHOTO_COMPLIANCE_CHECK = 11
    VIRTUAL_TRY_ON = 12
    TIMEKEEPING = 13
    WORKDAY_START_END = 14
    SECURE_ACCESS = 15
    WORKPLACE_SAFETY = 16
    PUBLIC_EMERGENCY = 17
    MEDICATION_DISPENSING = 18
    HEALTH_CARE = 19
    FINANCIAL_TRANSACTION = 20
    LEGAL_PROCESS = 21
    JOB_RECOMMENDATION = 22
    EMPLOYER_SHARE_ON_APPLICATION = 23
    EMPLOYER_SEARCH = 24
    ADVERTISING = 25
    MODEL_TRAINING = 26
    RESEARCH = 27


class DataCategory(Word):
    """What kind of data an operation is on, or makes."""

    UNSPECIFIED = 0
    PHOTO = 1
    VIDEO = 2
    FACE_GEOMETRY = 3
    FACE_TEMPLATE = 4
    IMAGE_HASH = 5
    VOICEPRINT = 6
    FINGERPRINT = 7
    RETINA_SCAN = 8
    IRIS_SCAN = 9
    HAND_GEOMETRY = 10
    GAIT = 11
    KEYSTROKE_DYNAMICS = 12
    VEIN_PATTERN = 13
    GOV_ID_IMAGE = 14
    EMPLOYMENT_HISTORY = 15
    EDUCATION_HISTORY = 16
    JOB_SEARCH_ACTIVITY = 17
    MESSAGE_CONTENT = 18
    WRITING_SAMPLE = 19
    WRITTEN_SIGNATURE = 20
    DEMOGRAPHIC_DATA = 21
    PHYSICAL_DESCRIPTION = 22
    BIOLOGICAL_SAMPLE = 23
    GENETIC_INFORMATION = 24
    DIAGNOSTIC_IMAGE = 25


class Outcome(Word):
    """The answer, from loosest to strictest. Of several, the strictest wins."""

    UNSPECIFIED = 0
    ALLOW = 1
    ALLOW_NONBIOMETRIC = 2
    REVIEW = 3
    DENY = 4


class Grade(Word):
    """How far the text behind a rule was confirmed against the law's own source."""

    UNSPECIFIED = 0
    PRIMARY = 1
    SECONDARY = 2
    SINGLE_SOURCE = 3
    UNVERIFIED = 4


class KnownBy(Word):
    """How the caller knows whose face it is."""

    UNSPECIFIED = 0
    DECLARED_BY_UPLOADER = 1
    TAGGED_BY_USER = 2
    LIVENESS = 3
    MATCH = 4


class Visibility(Word):
    """Who could see the photo where it came from."""

    UNSPECIFIED = 0
    PUBLIC = 1
    FOLLOWERS = 2
    PRIVATE = 3
    DIRECT_MESSAGE = 4


class Publisher(Word):
    """Who published the photo."""

    UNSPECIFIED = 0
    SUBJECT = 1
    OTHER = 2


class SourceKind(Word):
    """How the photo came to the caller."""

    UNSPECIFIED = 0
    UPLOADED = 1
    LIVE_CAPTURE = 2
    SCRAPED = 3
    DATASET = 4
    ON_DEVICE = 5


class AgeBand(Word):
    """Age, as far as a law asks for it."""

    UNSPECIFIED = 0
    UNDER_13 = 1
    MINOR = 2
    ADULT = 3


class Relationship(Word):
    """What the person is to the tenant."""

    UNSPECIFIED = 0
    CONSUMER = 1
    EMPLOYEE = 2
    NON_USER = 3


class NoticeChannel(Word):
    """How words reached, or came from, a person."""

    UNSPECIFIED = 0
    IN_APP = 1
    WEB = 2
    EMAIL = 3
    PAPER = 4
    SIGN = 5
    PUBLIC_POLICY_PAGE = 6


class TermEnd(Word):
    """The event that ends a notice's length of term, where it is not a duration."""

    UNSPECIFIED = 0
    PURPOSE_SATISFIED = 1
    ACCOUNT_CLOSED = 2
    EMPLOYMENT_ENDED = 3
    RELEASE_WITHDRAWN = 4


class ReleaseForm(Word):
    """The forms of written release, 740 ILCS 14/10."""

    UNSPECIFIED = 0
    WRITTEN_CONSENT = 1
    ELECTRONIC_SIGNATURE = 2
    EMPLOYMENT_RELEASE = 3


class SignatureProcess(Word):
    """The act by which a release was signed. It must be done with the intent to sign (740 ILCS 14/10)."""

    UNSPECIFIED = 0
    WET_INK = 1
    TYPED_NAME = 2
    DRAWN_SIGNATURE = 3
    CLICK_TO_SIGN = 4
    SPOKEN_ASSENT = 5
    DIGITAL_CERTIFICATE = 6
    PAGE_VIEW = 7
    CONTINUED_USE = 8


class SignerRole(Word):
    """For whom a person was told or signed."""

    UNSPECIFIED = 0
    SELF = 1
    REPRESENTATIVE = 2


class AuthorityBasis(Word):
    """Why a representative may act for the subject."""

    UNSPECIFIED = 0
    PARENT = 1
    GUARDIAN = 2
    COURT_ORDER = 3
    POWER_OF_ATTORNEY = 4


class Vouching(Word):
    """Who vouches for a recorded fact."""

    UNSPECIFIED = 0
    CALLER_ASSERTED = 1
    SIGNER_SIGNED = 2


class ConsentScope(Word):
    """What a release covers; some laws want these apart."""

    UNSPECIFIED = 0
    COLLECT = 1
    SHARE = 2
    SELL = 3
    TRAIN = 4


class DisclosureBasis(Word):
    """Why data may leave, 740 ILCS 14/15(d) and its counterparts."""

    UNSPECIFIED = 0
    CONSENT = 1
    FINANCIAL_TRANSACTION = 2
    REQUIRED_BY_LAW = 3
    WARRANT = 4
    SUBPOENA = 5
    CONSENT_DEATH_OR_DISAPPEARANCE = 6
    NECESSARY_PROCESSOR = 7


class Consideration(Word):
    """What the tenant gets for the data, 740 ILCS 14/15(c)."""

    UNSPECIFIED = 0
    NONE = 1
    VALUE = 2


class DeterminationKind(Word):
    """What a recorded legal determination says. An exemption attaches to its own law only."""

    UNSPECIFIED = 0
    NONBIOMETRIC = 1
    HEALTH_CARE = 2
    SCIENTIFIC_TESTING = 3
    GLBA_TITLE_V = 4
    LICENSED_INVESTIGATOR = 5
    GOVERNMENT_CONTRACTOR = 6
    ON_DEVICE = 7
    LEGAL_PROCESS = 8
    NECESSARY_FOR_SERVICE = 9
    TX_AI_TRAINING = 10
    TX_SECURITY = 11
    TX_RETENTION_REQUIRED = 12
    TX_DEATH_OR_DISAPPEARANCE = 13
    CO_STORAGE_UNNECESSARY = 14
    WA_OPT_OUT_MECHANISM = 15
    WA_SECURITY = 16
    WA_VALID_AUTHORIZATION = 17
    VENUE_SIGNAGE = 18
    LEGAL_COMPLIANCE = 19
    DEVICE_UNLOCK = 20
    SOCIAL_MEDIA_FACE_DETECTION = 21
    STRICT_NECESSITY = 22
    REASONABLE_NECESSITY = 23
    LAWFUL_BASIS = 24
    IMPACT_ASSESSMENT = 25
    RISK_ASSESSMENT = 26
    ALTERNATIVE_OFFERED = 27
    VERIFIABLE_PARENTAL_CONSENT = 28
    INTEGRAL_DISCLOSURE = 29
    CHILD_DATA_SECURITY = 30
    ACCURACY_TESTED = 31


class ProcessingResult(Word):
    """What was done after a decision."""

    UNSPECIFIED = 0
    PERFORMED = 1
    NOT_PERFORMED = 2
    FAILED = 3


class DestructionTrigger(Word):
    """Why something is destroyed."""

    UNSPECIFIED = 0
    WITHDRAWAL = 1
    PURPOSE_SATISFIED = 2
    DEADLINE = 3
    ERASURE = 4
    EMPLOYMENT_ENDED = 5


class DestructionStage(Word):
    """How far a destruction has come; a certificate never shows more than was reached."""

    UNSPECIFIED = 0
    REQUESTED = 1
    COMPLETED = 2
    UNRECOVERABLE = 3


class ObligationKind(Word):
    """What an obligation demands."""

    UNSPECIFIED = 0
    DESTROY_BY = 1
    RECHECK_BY = 2
    TELL_RECIPIENT = 3
    RECORD_PROCESSING = 4
    LOG_DETERMINATION = 5


class RecipientKind(Word):
    """What a recipient is to the tenant."""

    UNSPECIFIED = 0
    PROCESSOR = 1
    AFFILIATE = 2
    THIRD_PARTY = 3
    GOVERNMENT = 4


class RetentionClock(Word):
    """What starts a retention period."""

    UNSPECIFIED = 0
    COLLECTION = 1
    LAST_INTERACTION = 2
    PURPOSE_SATISFIED = 3
    EMPLOYMENT_ENDED = 4
    RELEASE_ENDED = 5


class PurposeEnd(Word):
    """How a purpose ended."""

    UNSPECIFIED = 0
    SATISFIED = 1
    FOUND_UNNECESSARY = 2
    ACCOUNT_CLOSED = 3


class ArtifactKind(Word):
    """What a derived artifact is."""

    UNSPECIFIED = 0
    DATASET = 1
    MODEL = 2


class TaintReason(Word):
    """Why a data set or model may be used for nothing any more."""

    UNSPECIFIED = 0
    DECISION_NOT_PERMITTING = 1
    DECISION_LATE = 2
    BASIS_GONE = 3
    SOURCE_DESTROYED = 4
    PERSON_LEFT_OUT = 5
    PARENT_TAINTED = 6
    CONSENT_ENDED_BEFORE = 7
    SIGNER_WAS_CHILD = 8


class SignatureAlgorithm(Word):
    """How a signature is computed."""

    UNSPECIFIED = 0
    ED25519 = 1


class ReviewState(Word):
    """Where a review stands."""

    UNSPECIFIED = 0
    OPEN = 1
    AWAITING_APPROVAL = 2
    DETERMINED = 3
    REFUSED = 4
