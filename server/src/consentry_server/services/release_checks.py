"""What makes a delivery or a release acceptable: each check raises an error that names the field at fault."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.majority import CHILD, begins, ends
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    Vouching,
)
from consentry_server.services.context import optional_slug, require_slug

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.record.facts import Notice, Subject
    from consentry_server.services.releases import Claims, DeliveryDraft, ReleaseDraft, Signer

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of ours a caller's clock may be when it says when something happened."""
SHA256_BYTES = 32
MAX_MAJORITY_YEARS = 25
"""Nobody alive comes of age later; that somebody came of age earlier concerns nothing here."""
RELEASE_CONTEXT = "consentry/v1/release"
DELIVERY_CONTEXT = "consentry/v1/delivery"
NO_INTENT = frozenset({SignatureProcess.PAGE_VIEW, SignatureProcess.CONTINUED_USE})
"""No act with the intent to sign (740 ILCS 14/10, "electronic signature")."""


def check_release(draft: ReleaseDraft) -> None:
    """What a release must have, whatever is on record."""
    require_slug(draft.notice_id, "release.notice_id")
    check_signer(draft.signer, draft.subject_id, "release.signer")
    # (5) an act with the intent to sign
    if draft.process in NO_INTENT:
        raise ConsentryError(
            Reason.NO_INTENT_TO_SIGN,
            "a page view or continued use is no act of signing (740 ILCS 14/10): obtain a signature",
            field="release.process",
        )
    if len(draft.signed_document_sha256) != SHA256_BYTES:
        raise ConsentryError(
            Reason.FIELD_INVALID,
            "release.signed_document_sha256 must be the 32 bytes of the signed document's SHA-256",
            field="release.signed_document_sha256",
        )
    for name, words in (("purposes", draft.purposes), ("categories", draft.categories), ("scopes", draft.scopes)):
        if not words:
            raise ConsentryError(
                Reason.FIELD_REQUIRED, f"release.{name} is required: at least one", field=f"release.{name}"
            )
    for recipient in draft.recipients:
        optional_slug(recipient, "release.recipient_ids")
    if draft.expires_at is not None and draft.expires_at <= draft.signed_at:
        raise ConsentryError(
            Reason.FIELD_INVALID, "release.expire_time is not after its sign_time", field="release.expire_time"
        )
    check_signature(draft, RELEASE_CONTEXT, draft.signed_document_sha256, "release")


def check_covered(draft: ReleaseDraft, notice: Notice) -> None:
    """Step 6 of a release: it covers nothing that the notice does not name."""
    for name, asked, named in (
        ("purposes", draft.purposes, notice.purposes),
        ("categories", draft.categories, notice.categories),
        ("recipient_ids", draft.recipients, notice.recipients),
    ):
        beyond = sorted(str(word) for word in frozenset(asked) - frozenset(named))
        if beyond:
            raise ConsentryError(
                Reason.FIELD_INVALID,
                f"the notice does not name {', '.join(beyond)}: publish and deliver a version that does",
                field=f"release.{name}",
            )


def check_form(draft: ReleaseDraft, subject: Subject) -> None:
    """An employment release is for employees alone (740 ILCS 14/10)."""
    relationship = draft.claims.relationship or subject.relationship
    if draft.form is ReleaseForm.EMPLOYMENT_RELEASE and relationship is not Relationship.EMPLOYEE:
        raise ConsentryError(
            Reason.FIELD_INVALID,
            "an employment release needs an employee (740 ILCS 14/10): say so in claims.relationship",
            field="release.form",
        )


def check_signer(signer: Signer, subject_id: str, name: str) -> None:
    """A representative has an id, not the subject's own, and a basis of authority; who signs for themselves neither."""
    if signer.role is SignerRole.REPRESENTATIVE:
        if not signer.representative_id:
            raise ConsentryError(
                Reason.FIELD_REQUIRED, "a representative needs an id", field=f"{name}.representative_id"
            )
        if signer.representative_id == subject_id:
            raise ConsentryError(
                Reason.FIELD_INVALID, "nobody represents themselves", field=f"{name}.representative_id"
            )
        if signer.authority_basis is AuthorityBasis.NONE:
            raise ConsentryError(
                Reason.FIELD_REQUIRED,
                "a representative needs a basis of authority: parent, guardian, court order, power of attorney",
                field=f"{name}.authority_basis",
            )
    elif signer.representative_id or signer.authority_basis is not AuthorityBasis.NONE:
        raise ConsentryError(
            Reason.FIELD_INVALID, "representative fields are set, but the role is SELF", field=f"{name}.role"
        )


def check_grown(representative: Subject | None, name: str) -> None:
    """A child represents nobody.

    Args:
        representative: What is known of the representative, if they are on record as a subject.
        name: The signer's field, for the error.

    Raises:
        ConsentryError: ``FIELD_INVALID``.
    """
    if representative is not None and representative.age_band in {AgeBand.UNDER_13, AgeBand.MINOR}:
        raise ConsentryError(
            Reason.FIELD_INVALID,
            "this representative is on record as a minor: a parent, guardian or another adult with authority signs",
            field=f"{name}.representative_id",
        )


def check_superseded(draft: ReleaseDraft, subject: Subject) -> None:
    """A release may take the place of another of the same person only."""
    if draft.supersedes and all(release.release_id != draft.supersedes for release in subject.releases):
        raise ConsentryError(
            Reason.NOT_FOUND, "this person has no such release to supersede", field="release.supersedes_release_id"
        )


def check_signed_since(draft: ReleaseDraft, subject: Subject) -> None:
    """What a person took back they have to sign anew: a release that was signed before and comes in later is none."""
    for each in subject.withdrawals:
        if draft.signed_at > each.time:
            continue
        again = sorted(str(purpose) for purpose in draft.purposes if not each.purposes or purpose in each.purposes)
        if again:
            raise ConsentryError(
                Reason.STATE_CONFLICT,
                f"the person withdrew {', '.join(again)} on {format_time(each.time)}, after this was signed:"
                " obtain a new release",
                field="release.sign_time",
                metadata={"state": "WITHDRAWN"},
            )


def check_majority(claims: Claims, now: datetime) -> None:
    """The quarter in which somebody comes of age is one, near enough, and does not contradict the age that is claimed.

    Raises:
        ConsentryError: ``FIELD_INVALID``.
    """
    quarter, field = claims.majority_quarter, "claims.majority_quarter"
    if not quarter:
        return
    try:
        first, everywhere = begins(quarter)
    except ValueError as error:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{field} must be a calendar quarter such as 2031-Q2, never a date", field=field
        ) from error
    if abs(first.year - now.year) > MAX_MAJORITY_YEARS:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{field} is more than {MAX_MAJORITY_YEARS} years from now", field=field
        )
    if claims.age_band is AgeBand.ADULT and now < everywhere:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{field} is still to come, and claims.age_band says ADULT: which is it", field=field
        )
    if claims.age_band in CHILD and ends(quarter) <= now:
        raise ConsentryError(
            Reason.FIELD_INVALID, f"{field} is over, and claims.age_band says a child: which is it", field=field
        )


def check_in_effect(draft: DeliveryDraft, notice: Notice) -> None:
    """A notice is delivered while it is in effect, in its own language."""
    if draft.delivered_at < notice.effective_time:
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"this notice version is in effect from {format_time(notice.effective_time)} on: deliver it then",
            field="delivery.deliver_time",
        )
    if draft.language and draft.language != notice.language:
        raise ConsentryError(
            Reason.FIELD_INVALID,
            f"this notice version is in {notice.language}: publish what was shown",
            field="delivery.language",
        )


def signed_statement(context: str, subject_id: str, notice_id: str, notice_version: int, sha256: bytes) -> bytes:
    """What a signer's own key signs: five lines, as ``SignerSignature`` in ``consent.proto`` has them.

    Args:
        context: ``consentry/v1/delivery`` or ``consentry/v1/release``.
        subject_id: The caller's own id of the person, exactly as it is sent; without a newline.
        notice_id: The notice.
        notice_version: Its version.
        sha256: Of the text shown, or of the document signed, 32 bytes.
    """
    return f"{context}\n{subject_id}\n{notice_id}\n{notice_version}\n{sha256.hex()}\n".encode()


def check_signature(draft: DeliveryDraft | ReleaseDraft, context: str, sha256: bytes, name: str) -> None:
    """The signer's own signature comes with the claim that they signed, and verifies."""
    signature = draft.signature
    if (draft.vouching is Vouching.SIGNER_SIGNED) is not (signature is not None):
        raise ConsentryError(
            Reason.FIELD_INVALID,
            f"{name}.signer_signature goes with vouching SIGNER_SIGNED, and only with it",
            field=f"{name}.signer_signature",
        )
    if signature is None:
        return
    if "\n" in draft.subject_id:
        raise ConsentryError(
            Reason.FIELD_INVALID, "a subject_id that holds a newline cannot be signed for", field="subject_id"
        )
    statement = signed_statement(context, draft.subject_id, draft.notice_id, draft.notice_version, sha256)
    try:
        Ed25519PublicKey.from_public_bytes(signature.public_key).verify(signature.signature, statement)
    except (ValueError, InvalidSignature) as error:
        raise ConsentryError(
            Reason.SIGNATURE_INVALID,
            "the signer's signature does not verify over this statement",
            field=f"{name}.signer_signature.signature",
        ) from error


def not_ahead(claimed: datetime, now: datetime, name: str) -> None:
    """A claim about what happened is not about the future."""
    if claimed > now + CLOCK_TOLERANCE:
        raise ConsentryError(Reason.FIELD_INVALID, f"{name} is in the future", field=name)
