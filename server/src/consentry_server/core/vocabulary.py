"""The words of the product, in one place: operations, purposes, data categories, regions, outcomes.

Each enum's names are the names of the proto enum without its prefix (``Operation.DETECT_FACES`` is
``OPERATION_DETECT_FACES``); a contract test holds the two together. Values are the names, so that entries,
law packs and logs all show the same word. Source of the fields: the decided cases and statutes listed in the
packs, and the record fields that the X Corp. story of 2023 calls for.
"""

from __future__ import annotations

from enum import StrEnum, auto


class Words(StrEnum):
    """A closed list of words whose value is their name."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:  # noqa: ARG004 - the signature is enum's
        return name


class Operation(Words):
    """What the caller is about to do."""

    STORE = auto()
    RETAIN = auto()
    DISPLAY = auto()
    PROCESS = auto()
    """Any use that the other words do not name, such as recommending jobs from an employment history."""
    CAPTURE = auto()
    """Taking an identifier that is not a photo: a voiceprint, a fingerprint."""
    DETECT_FACES = auto()
    EXTRACT_TEMPLATE = auto()
    ENROLL = auto()
    VERIFY = auto()
    """1:1 comparison."""
    IDENTIFY = auto()
    """1:N comparison."""
    CLUSTER_FACES = auto()
    ANALYZE_ATTRIBUTES = auto()
    CHECK_QUALITY = auto()
    HASH_IMAGE = auto()
    """A perceptual hash of the whole image."""
    DISCLOSE = auto()
    SELL = auto()
    LEASE = auto()
    TRADE = auto()
    TRAIN_MODEL = auto()
    SERVE_MODEL = auto()
    BUILD_FACE_DATABASE = auto()
    IMPORT_DATASET = auto()


class Purpose(Words):
    """What the operation is for; a notice names its purposes with these words."""

    PHOTO_HOSTING = auto()
    PHOTO_SHARING = auto()
    PHOTO_DISPLAY = auto()
    TAGGING = auto()
    IDENTITY_VERIFICATION = auto()
    IDENTIFICATION = auto()
    ACCOUNT_SECURITY = auto()
    SAFETY_MODERATION = auto()
    CSAM_NSFW_HASH_MATCH = auto()
    SECURITY_WATCHLIST = auto()
    PHOTO_COMPLIANCE_CHECK = auto()
    VIRTUAL_TRY_ON = auto()
    TIMEKEEPING = auto()
    WORKDAY_START_END = auto()
    SECURE_ACCESS = auto()
    WORKPLACE_SAFETY = auto()
    PUBLIC_EMERGENCY = auto()
    MEDICATION_DISPENSING = auto()
    HEALTH_CARE = auto()
    FINANCIAL_TRANSACTION = auto()
    LEGAL_PROCESS = auto()
    JOB_RECOMMENDATION = auto()
    EMPLOYER_SHARE_ON_APPLICATION = auto()
    EMPLOYER_SEARCH = auto()
    ADVERTISING = auto()
    MODEL_TRAINING = auto()
    RESEARCH = auto()


class DataCategory(Words):
    """What kind of data the operation is on or makes."""

    PHOTO = auto()
    VIDEO = auto()
    FACE_GEOMETRY = auto()
    FACE_TEMPLATE = auto()
    IMAGE_HASH = auto()
    VOICEPRINT = auto()
    FINGERPRINT = auto()
    RETINA_SCAN = auto()
    IRIS_SCAN = auto()
    HAND_GEOMETRY = auto()
    GAIT = auto()
    KEYSTROKE_DYNAMICS = auto()
    VEIN_PATTERN = auto()
    GOV_ID_IMAGE = auto()
    EMPLOYMENT_HISTORY = auto()
    EDUCATION_HISTORY = auto()
    JOB_SEARCH_ACTIVITY = auto()
    MESSAGE_CONTENT = auto()
    WRITING_SAMPLE = auto()
    WRITTEN_SIGNATURE = auto()
    DEMOGRAPHIC_DATA = auto()
    PHYSICAL_DESCRIPTION = auto()
    BIOLOGICAL_SAMPLE = auto()
    GENETIC_INFORMATION = auto()
    DIAGNOSTIC_IMAGE = auto()


class Outcome(Words):
    """The answer, from loosest to strictest; the strictest of several wins."""

    ALLOW = auto()
    ALLOW_NONBIOMETRIC = auto()
    """Not in the scope of any biometric law; the determination is logged."""
    REVIEW = auto()
    """Blocked until a person records a determination."""
    DENY = auto()

    @property
    def strictness(self) -> int:
        """0 for the loosest. ALLOW_NONBIOMETRIC counts as stricter than ALLOW: its permit opens less."""
        return _STRICTNESS[self]


_STRICTNESS = {Outcome.ALLOW: 0, Outcome.ALLOW_NONBIOMETRIC: 1, Outcome.REVIEW: 2, Outcome.DENY: 3}


class Grade(Words):
    """How far the text behind a rule was confirmed against its source."""

    PRIMARY = auto()
    SECONDARY = auto()
    SINGLE_SOURCE = auto()
    UNVERIFIED = auto()


class KnownBy(Words):
    """How the caller knows whose face it is."""

    UNKNOWN = auto()
    DECLARED_BY_UPLOADER = auto()
    TAGGED_BY_USER = auto()
    LIVENESS = auto()
    MATCH = auto()


class Visibility(Words):
    """Who could see the photo where it came from."""

    UNKNOWN = auto()
    PUBLIC = auto()
    FOLLOWERS = auto()
    PRIVATE = auto()
    DIRECT_MESSAGE = auto()


class Publisher(Words):
    """Who published the photo; public is not consented."""

    UNKNOWN = auto()
    SUBJECT = auto()
    OTHER = auto()


class SourceKind(Words):
    """How the photo came to the caller."""

    UNKNOWN = auto()
    UPLOADED = auto()
    LIVE_CAPTURE = auto()
    SCRAPED = auto()
    DATASET = auto()
    ON_DEVICE = auto()


class AgeBand(Words):
    """Age as far as a law asks for it."""

    UNKNOWN = auto()
    UNDER_13 = auto()
    MINOR = auto()
    """13 to 17."""
    ADULT = auto()


class Relationship(Words):
    """What the person is to the tenant."""

    UNKNOWN = auto()
    CONSUMER = auto()
    EMPLOYEE = auto()
    NON_USER = auto()


class EntityType(Words):
    """What the tenant is; BIPA covers private entities of any size (740 ILCS 14/10)."""

    PRIVATE_ENTITY = auto()
    GOVERNMENT_AGENCY = auto()


class NoticeChannel(Words):
    """How a notice reached the person."""

    IN_APP = auto()
    WEB = auto()
    EMAIL = auto()
    PAPER = auto()
    SIGN = auto()
    PUBLIC_POLICY_PAGE = auto()
    """Posted, not delivered to anybody: never enough for 15(b)."""


class TermEnd(Words):
    """The event that ends a notice's length of term, where it is not a duration."""

    PURPOSE_SATISFIED = auto()
    ACCOUNT_CLOSED = auto()
    EMPLOYMENT_ENDED = auto()
    RELEASE_WITHDRAWN = auto()


class ReleaseForm(Words):
    """The forms of written release, 740 ILCS 14/10."""

    WRITTEN_CONSENT = auto()
    ELECTRONIC_SIGNATURE = auto()
    EMPLOYMENT_RELEASE = auto()


class SignatureProcess(Words):
    """The act by which the release was signed; a page view or continued use is no act of signing."""

    WET_INK = auto()
    TYPED_NAME = auto()
    DRAWN_SIGNATURE = auto()
    CLICK_TO_SIGN = auto()
    SPOKEN_ASSENT = auto()
    DIGITAL_CERTIFICATE = auto()
    PAGE_VIEW = auto()
    CONTINUED_USE = auto()


class SignerRole(Words):
    """Who signed."""

    SELF = auto()
    REPRESENTATIVE = auto()


class AuthorityBasis(Words):
    """Why a representative may sign for the subject."""

    NONE = auto()
    PARENT = auto()
    GUARDIAN = auto()
    COURT_ORDER = auto()
    POWER_OF_ATTORNEY = auto()


class Vouching(Words):
    """Who vouches for a recorded fact."""

    CALLER_ASSERTED = auto()
    SIGNER_SIGNED = auto()


class ConsentScope(Words):
    """What a release covers; some laws want these apart."""

    COLLECT = auto()
    SHARE = auto()
    SELL = auto()
    TRAIN = auto()


class DisclosureBasis(Words):
    """Why data may leave, 740 ILCS 14/15(d) and its counterparts."""

    NONE = auto()
    CONSENT = auto()
    FINANCIAL_TRANSACTION = auto()
    REQUIRED_BY_LAW = auto()
    WARRANT = auto()
    SUBPOENA = auto()
    CONSENT_DEATH_OR_DISAPPEARANCE = auto()
    NECESSARY_PROCESSOR = auto()


class Consideration(Words):
    """What the tenant gets for the data, 740 ILCS 14/15(c)."""

    UNKNOWN = auto()
    NONE = auto()
    VALUE = auto()


class DeterminationKind(Words):
    """What a recorded legal determination says; exemptions attach to their own law only."""

    NONBIOMETRIC = auto()
    """The named algorithm version cannot identify a person; test evidence is on file."""
    HEALTH_CARE = auto()
    """740 ILCS 14/10: patient capture, or treatment, payment, operations under HIPAA."""
    SCIENTIFIC_TESTING = auto()
    """740 ILCS 14/10: samples used for valid scientific testing or screening."""
    GLBA_TITLE_V = auto()
    """740 ILCS 14/25(c)."""
    LICENSED_INVESTIGATOR = auto()
    """740 ILCS 14/25(d)."""
    GOVERNMENT_CONTRACTOR = auto()
    """740 ILCS 14/25(e)."""
    ON_DEVICE = auto()
    """No control of the data by the tenant: Barnett v. Apple, G.T. v. Samsung."""
    LEGAL_PROCESS = auto()
    """A warrant or subpoena of a court of competent jurisdiction."""
    NECESSARY_FOR_SERVICE = auto()
    """RCW 19.373.030(1): what the operation does is necessary to provide what the person asked for."""
    TX_AI_TRAINING = auto()
    """Tex. Bus. & Com. Code 503.001(e)(2): no system that the algorithm serves identifies an individual."""
    TX_SECURITY = auto()
    """Tex. Bus. & Com. Code 503.001(e)(3): the algorithm serves security, against fraud or the like."""
    TX_RETENTION_REQUIRED = auto()
    """Tex. Bus. & Com. Code 503.001(c-1): another law keeps a document of which this is a part, until then."""
    TX_DEATH_OR_DISAPPEARANCE = auto()
    """Tex. Bus. & Com. Code 503.001(c)(1)(A): the person died or disappeared, having consented to that."""
    CO_STORAGE_UNNECESSARY = auto()
    """C.R.S. 6-1-1314(2)(C): storage is unnecessary. It restricts: it counts unapproved and past its expiry."""
    WA_OPT_OUT_MECHANISM = auto()
    """RCW 19.375.020(1): a mechanism prevents the later use for a commercial purpose."""
    WA_SECURITY = auto()
    """RCW 19.375.020(7), .010(8): a security purpose."""
    WA_VALID_AUTHORIZATION = auto()
    """RCW 19.373.070: the person signed a valid authorization of this sale, with all that the section lists."""
    VENUE_SIGNAGE = auto()
    """N.Y.C. Admin. Code 22-1202(a): a clear and conspicuous sign stands at every customer entrance."""
    LEGAL_COMPLIANCE = auto()
    """Portland City Code 34.10: necessary to comply with a law."""
    DEVICE_UNLOCK = auto()
    """Portland City Code 34.10: the person unlocks their own or their employer's device."""
    SOCIAL_MEDIA_FACE_DETECTION = auto()
    """Portland City Code 34.10: automatic face detection in a social media application."""
    STRICT_NECESSITY = auto()
    """Md. Com. Law 14-4707(a): strictly necessary for the product or service that the consumer requested."""
    REASONABLE_NECESSITY = auto()
    """Conn. Gen. Stat. 42-520, Cal. Civ. Code 1798.121: reasonably necessary for what the person asked for."""
    LAWFUL_BASIS = auto()
    """GDPR Article 6, UK GDPR Article 6: the basis of this processing is on record."""
    IMPACT_ASSESSMENT = auto()
    """GDPR Article 35, UK GDPR Article 35: assessed, or found not to need it."""
    RISK_ASSESSMENT = auto()
    """11 CCR 7150: assessed, or found not to need it."""
    ALTERNATIVE_OFFERED = auto()
    """ICO guidance on biometric data: who does not consent has another way."""
    VERIFIABLE_PARENTAL_CONSENT = auto()
    """16 CFR 312.5(b): the method by which a parent's consent is obtained is one that the rule accepts."""
    INTEGRAL_DISCLOSURE = auto()
    """16 CFR 312.5(a)(2): the disclosure is integral to the service that the child uses."""
    CHILD_DATA_SECURITY = auto()
    """16 CFR 312.8: a written security programme for children's data."""
    ACCURACY_TESTED = auto()
    """The named algorithm version was tested for accuracy and bias, with an image threshold: FTC v. Rite Aid."""


class ProcessingResult(Words):
    """What was done after a decision."""

    PERFORMED = auto()
    NOT_PERFORMED = auto()
    FAILED = auto()


class DestructionTrigger(Words):
    """Why something is destroyed."""

    WITHDRAWAL = auto()
    PURPOSE_SATISFIED = auto()
    DEADLINE = auto()
    ERASURE = auto()
    EMPLOYMENT_ENDED = auto()


class DestructionStage(Words):
    """How far a destruction has come; a certificate never shows more than was reached."""

    REQUESTED = auto()
    COMPLETED = auto()
    UNRECOVERABLE = auto()


class RecordClass(Words):
    """Classes of protected data, each with keys of its own."""

    PHOTO = auto()
    BIOMETRIC = auto()
    EVIDENCE = auto()


_STATE_CODES = (
    "AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR "
    "PA RI SC SD TN TX UT VT VA WA WV WI WY"
)
_EU_CODES = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE"
_OTHER_CODES = "US GB CA AU NZ CH NO IS LI JP KR IN BR MX ZA IL AE SG"

US_STATES = frozenset(f"US-{code}" for code in _STATE_CODES.split())
"""ISO 3166-2 codes of the United States' states and the District of Columbia."""

EU_MEMBERS = frozenset(_EU_CODES.split())
"""ISO 3166-1 alpha-2 codes of the European Union's members; each stands for ``EU`` too."""

COUNTRIES = EU_MEMBERS | frozenset(_OTHER_CODES.split())
"""Countries a caller may name."""

REGIONS = US_STATES | COUNTRIES | {"EU"}
"""Every region a request or a record may name."""

BIOMETRIC_CATEGORIES = frozenset(
    {
        DataCategory.FACE_GEOMETRY,
        DataCategory.FACE_TEMPLATE,
        DataCategory.VOICEPRINT,
        DataCategory.FINGERPRINT,
        DataCategory.RETINA_SCAN,
        DataCategory.IRIS_SCAN,
        DataCategory.HAND_GEOMETRY,
        DataCategory.GAIT,
        DataCategory.KEYSTROKE_DYNAMICS,
        DataCategory.VEIN_PATTERN,
    }
)
"""Categories that some biometric law here lists; whether one law does is for its pack to say."""

NONBIOMETRIC_PURPOSES = frozenset({Purpose.PHOTO_DISPLAY, Purpose.PHOTO_SHARING, Purpose.PHOTO_HOSTING})
"""Purposes for which a photo may be shown as a photo, never for a template."""

EMPLOYMENT_PURPOSES = frozenset(
    {Purpose.TIMEKEEPING, Purpose.WORKDAY_START_END, Purpose.SECURE_ACCESS, Purpose.WORKPLACE_SAFETY}
)
"""Purposes that an employer collects for; they end with the employment (Tex. Bus. & Com. Code 503.001(c-2))."""
