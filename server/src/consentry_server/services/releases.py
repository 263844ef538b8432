"""Deliveries, written releases and withdrawals: the chain that a live basis rests on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.codec import from_plain, to_plain
from consentry_server.core.record.facts import Delivery, Notice, Release, Subject
from consentry_server.core.record.fold import notice_key
from consentry_server.core.vocabulary import (
    AuthorityBasis,
    DestructionTrigger,
    NoticeChannel,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    Vouching,
)
from consentry_server.services.context import Answer, Caller, RequestKey, new_id, once
from consentry_server.services.receipts import receipt_claims
from consentry_server.services.release_checks import (
    DELIVERY_CONTEXT,
    check_covered,
    check_form,
    check_grown,
    check_in_effect,
    check_release,
    check_signature,
    check_signed_since,
    check_signer,
    check_superseded,
    not_ahead,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from consentry_server.core.vocabulary import AgeBand, ConsentScope, DataCategory, Purpose
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.people import People
    from consentry_server.services.retention import Retention
    from consentry_server.services.sealing import Sealed, Sealing
    from consentry_server.services.sequencer import Sequencer


@dataclass(frozen=True, slots=True)
class Signer:
    """Who was told or who signed: the subject, or a representative with authority."""

    role: SignerRole = SignerRole.SELF
    representative_id: str = ""
    authority_basis: AuthorityBasis = AuthorityBasis.NONE
    authority_evidence: str = ""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a caller says of the person."""

    regions: frozenset[str] = frozenset()
    age_band: AgeBand | None = None
    relationship: Relationship | None = None
    majority_quarter: str = ""

    def body(self) -> dict[str, Any]:
        """As an entry has it: only what was said."""
        said: dict[str, Any] = {}
        if self.regions:
            said["regions"] = sorted(self.regions)
        if self.age_band is not None:
            said["age_band"] = str(self.age_band)
        if self.relationship is not None:
            said["relationship"] = str(self.relationship)
        if self.majority_quarter:
            said["majority_quarter"] = self.majority_quarter
        return {"claims": said} if said else {}


@dataclass(frozen=True, slots=True)
class SignerSignature:
    """An Ed25519 signature by the signer's own key (RFC 8032)."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class DeliveryDraft:
    """A delivery as the caller reports it.

    Args:
        delivered_at: When the caller says it happened.
        shown_sha256: SHA-256 of the exact bytes shown; must be the notice's own.
        words: What the caller typed: ESIGN fields, attribution; sealed.
    """

    subject_id: str
    notice_id: str
    notice_version: int
    channel: NoticeChannel
    delivered_at: datetime
    signer: Signer = field(default_factory=Signer)
    acknowledged_at: datetime | None = None
    language: str = ""
    shown_sha256: bytes = b""
    words: Mapping[str, Any] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    vouching: Vouching = Vouching.CALLER_ASSERTED
    signature: SignerSignature | None = None
    key: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """A written release as the caller reports it; see statutes for each field's source.

    Args:
        signed_document_sha256: SHA-256 of the signed document, 32 bytes.
        signed_at: When the caller says it was signed.
        words: What the caller typed: intent statement, attribution, jurisdiction; sealed.
    """

    subject_id: str
    notice_id: str
    notice_version: int
    delivery_id: str
    form: ReleaseForm
    process: SignatureProcess
    signed_document_sha256: bytes
    signed_at: datetime
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    scopes: frozenset[ConsentScope]
    signer: Signer = field(default_factory=Signer)
    recipients: frozenset[str] = frozenset()
    explicit: bool = False
    condition_of_employment: bool = False
    expires_at: datetime | None = None
    language: str = ""
    supersedes: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    vouching: Vouching = Vouching.CALLER_ASSERTED
    signature: SignerSignature | None = None
    key: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """A release on record, with the signed receipt for the person."""

    release: Release
    answer: Answer
    receipt: str
    receipt_claims: Mapping[str, Any]


class Releases:
    """Records deliveries, releases and withdrawals for one tenant."""

    def __init__(
        self, *, sequencer: Sequencer, issuer: Issuer, people: People, sealing: Sealing, retention: Retention
    ) -> None:
        self._sequencer = sequencer
        self._issuer = issuer
        self._people = people
        self._sealing = sealing
        self._retention = retention

    async def deliver(self, caller: Caller, draft: DeliveryDraft) -> tuple[Delivery, Answer]:
        """Record that a notice version reached a person or their representative.

        Args:
            caller: Who reports it.
            draft: The delivery.

        Returns:
            The delivery on record and its entry.

        Raises:
            ConsentryError: ``NOT_FOUND`` (no such notice version), ``DIGEST_MISMATCH`` (other bytes were shown),
                ``STATE_CONFLICT`` (not in effect then), ``SIGNATURE_INVALID``, ``FIELD_INVALID``, ``FIELD_REQUIRED``.
        """
        check_signer(draft.signer, draft.subject_id, "delivery.signer")
        check_signature(draft, DELIVERY_CONTEXT, draft.shown_sha256, "delivery")
        reference = await self._people.reference(draft.subject_id)
        sealed = await self._sealed(reference, draft)

        def command(book: Book) -> tuple[Delivery, Answer]:
            def act() -> Recorded:
                notice = _notice(book, draft.notice_id, draft.notice_version, "delivery.notice_version")
                if draft.shown_sha256 and draft.shown_sha256.hex() != notice.text_sha256:
                    raise ConsentryError(
                        Reason.DIGEST_MISMATCH,
                        "the bytes shown are not the published text of this notice version: publish what is shown",
                        field="delivery.shown_sha256",
                    )
                not_ahead(draft.delivered_at, book.now, "delivery.deliver_time")
                if draft.acknowledged_at is not None:
                    not_ahead(draft.acknowledged_at, book.now, "delivery.acknowledge_time")
                check_in_effect(draft, notice)
                delivery = Delivery(
                    delivery_id=new_id("dlv", book.random),
                    index=-1,
                    time=book.now,
                    occurred_at=draft.delivered_at,
                    notice_id=notice.notice_id,
                    notice_version=notice.version,
                    channel=draft.channel,
                    signer_role=draft.signer.role,
                    acknowledged=draft.acknowledged_at is not None,
                    vouching=draft.vouching,
                    representative_ref=self._representative(draft.signer),
                )
                body = {"delivery": _stated(delivery), **draft.claims.body()}
                if draft.acknowledged_at is not None:
                    body["acknowledged_at"] = format_time(draft.acknowledged_at)
                if draft.language:
                    body["language"] = draft.language
                return book.append("notice.delivered", caller.actor, _with_sealed(book, body, sealed), [reference])

            answer = once(book, draft.key, act)
            return _read(Delivery, answer, "delivery"), answer

        return await self._sequencer.submit(command)

    async def release(self, caller: Caller, draft: ReleaseDraft) -> Released:
        """Record a written release, 740 ILCS 14/15(b)(3) and 14/10.

        It refers to a delivery (1) of that very notice version (2) to that signer (3) before the signing (4), by an
        act with the intent to sign (5), for purposes, categories and recipients that the notice names (6).

        Args:
            caller: Who reports it.
            draft: The release.

        Returns:
            The release on record, its entry, and the receipt to hand to the person.

        Raises:
            ConsentryError: ``NOTICE_NOT_DELIVERED``, ``NO_INTENT_TO_SIGN``, ``NOT_FOUND``, ``SIGNATURE_INVALID``,
                ``FIELD_INVALID``, ``FIELD_REQUIRED``.
        """
        check_release(draft)
        reference = await self._people.known(draft.subject_id)
        sealed = await self._sealed(reference, draft)

        def command(book: Book) -> tuple[Release, Answer, Notice, str, str]:
            def act() -> Recorded:
                notice = _notice(book, draft.notice_id, draft.notice_version, "release.notice_version")
                subject = book.subject(reference)
                not_ahead(draft.signed_at, book.now, "release.sign_time")
                self._check_delivery(subject, draft)
                check_covered(draft, notice)
                check_form(draft, subject)
                check_superseded(draft, subject)
                check_signed_since(draft, subject)
                check_grown(self._known_representative(book, draft.signer), "release.signer")
                release = Release(
                    release_id=new_id("rel", book.random),
                    index=-1,
                    time=book.now,
                    signed_at=draft.signed_at,
                    delivery_id=draft.delivery_id,
                    notice_id=notice.notice_id,
                    notice_version=notice.version,
                    form=draft.form,
                    process=draft.process,
                    signer_role=draft.signer.role,
                    authority_basis=draft.signer.authority_basis,
                    purposes=draft.purposes,
                    categories=draft.categories,
                    recipients=draft.recipients,
                    scopes=draft.scopes,
                    explicit=draft.explicit,
                    condition_of_employment=draft.condition_of_employment,
                    vouching=draft.vouching,
                    signed_document_sha256=draft.signed_document_sha256.hex(),
                    representative_ref=self._representative(draft.signer),
                    expires_at=draft.expires_at,
                )
                body = {"release": _stated(release), **draft.claims.body()}
                if draft.language:
                    body["language"] = draft.language
                if draft.supersedes:
                    body["supersedes"] = draft.supersedes
                return book.append("release.recorded", caller.actor, _with_sealed(book, body, sealed), [reference])

            answer = once(book, draft.key, act)
            release = _read(Release, answer, "release")
            notice = _notice(book, release.notice_id, release.notice_version, "release.notice_version")
            caused = (
                self._retention.settle(book, reference, DestructionTrigger.WITHDRAWAL, answer)
                if draft.supersedes
                else ""
            )
            return release, answer, notice, (book.entry(notice.index) or {}).get("withdrawal_uri", ""), caused

        release, answer, notice, withdrawal_uri, destruction_id = await self._sequencer.submit(command)
        await self._retention.begin(destruction_id)
        claims = receipt_claims(
            ledger=self._issuer.ledger,
            subject_id=draft.subject_id,
            release=release,
            notice=notice,
            entry=answer.entry,
            leaf_hash=answer.recorded.leaf_hash,
            withdrawal_uri=withdrawal_uri,
            jurisdiction=draft.words.get("jurisdiction", ""),
        )
        return Released(release, answer, self._issuer.sign_receipt(claims), claims)

    async def withdraw(
        self,
        caller: Caller,
        subject_id: str,
        release_id: str,
        reason: str,
        key: RequestKey | None,
        *,
        channel: NoticeChannel | None = None,
        occurred_at: datetime | None = None,
    ) -> tuple[Answer, tuple[str, ...], tuple[str, ...]]:
        """Withdraw one release or all of them, and destroy every identifier that has lost its basis.

        Args:
            caller: Who reports it.
            subject_id: The person.
            release_id: Which release; empty for all.
            reason: What the person said, if anything; sealed.
            key: The request's key.
            channel: How it came in, if that is known.
            occurred_at: When the caller says the person withdrew; it counts from the entry on.

        Returns:
            The entry, the releases withdrawn by it, and the ids of the destructions that it caused.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such person or release; ``STATE_CONFLICT``: withdrawn already, or none
                is left; ``FIELD_INVALID``: in the future.
        """
        reference = await self._people.known(subject_id)
        sealed = await self._sealing.seal({"reason": reason}, reference)

        def command(book: Book) -> tuple[Answer, str]:
            def act() -> Recorded:
                subject = book.subject(reference)
                if release_id and all(release.release_id != release_id for release in subject.releases):
                    raise ConsentryError(Reason.NOT_FOUND, "this person has no such release", field="release_id")
                gone = [
                    release.release_id
                    for release in subject.releases
                    if release.withdrawn_at is None and release_id in ("", release.release_id)
                ]
                if not gone:
                    raise ConsentryError(
                        Reason.STATE_CONFLICT,
                        "this release is withdrawn already" if release_id else "this person has no release left",
                        field="release_id",
                        metadata={"state": "WITHDRAWN"},
                    )
                body: dict[str, Any] = {"releases": gone, "all": not release_id}
                if channel is not None:
                    body["channel"] = str(channel)
                if occurred_at is not None:
                    not_ahead(occurred_at, book.now, "occur_time")
                    body["occurred_at"] = format_time(occurred_at)
                return book.append("release.withdrawn", caller.actor, _with_sealed(book, body, sealed), [reference])

            answer = once(book, key, act)
            return answer, self._retention.settle(book, reference, DestructionTrigger.WITHDRAWAL, answer)

        answer, destruction_id = await self._sequencer.submit(command)
        await self._retention.begin(destruction_id)
        caused = (destruction_id,) if destruction_id else ()
        return answer, tuple(answer.entry["releases"]), caused

    async def _sealed(self, reference: str, draft: DeliveryDraft | ReleaseDraft) -> Sealed | None:
        said = {
            **draft.words,
            "subject_id": draft.subject_id,
            "representative_id": draft.signer.representative_id,
            "authority_evidence": draft.signer.authority_evidence,
            **signature_evidence(draft.signature),
        }
        return await self._sealing.seal(said, reference)

    def _known_representative(self, book: Book, signer: Signer) -> Subject | None:
        """What is known of the representative as a person, if anything is."""
        if not signer.representative_id:
            return None
        reference = book.reference(self._people.lookup(signer.representative_id))
        return None if reference is None else book.subject(reference)

    def _representative(self, signer: Signer) -> str:
        """Keyed hash of the representative's id, so that the one told and the one who signed can be compared."""
        if not signer.representative_id:
            return ""
        return self._issuer.blind("representative", signer.representative_id)[:16].hex()

    def _check_delivery(self, subject: Subject, draft: ReleaseDraft) -> None:
        """Steps 1 to 4 of a release."""
        # (1) the delivery is this person's
        delivery = next((each for each in subject.deliveries if each.delivery_id == draft.delivery_id), None)
        if delivery is None:
            raise ConsentryError(
                Reason.NOTICE_NOT_DELIVERED,
                "no such delivery to this person: record the delivery of the notice first",
                field="release.delivery_id",
            )
        # (2) of that very notice version
        if (delivery.notice_id, delivery.notice_version) != (draft.notice_id, draft.notice_version):
            raise ConsentryError(
                Reason.NOTICE_NOT_DELIVERED,
                f"that delivery was of {delivery.notice_id} version {delivery.notice_version}: deliver the notice "
                "version that the release names",
                field="release.notice_version",
            )
        # (3) to that signer
        told = (delivery.signer_role, delivery.representative_ref)
        if told != (draft.signer.role, self._representative(draft.signer)):
            raise ConsentryError(
                Reason.NOTICE_NOT_DELIVERED,
                "the notice was delivered to somebody else than the signer: deliver it to whoever signs",
                field="release.signer",
            )
        # (4) before the signing
        if delivery.occurred_at > draft.signed_at:
            raise ConsentryError(
                Reason.NOTICE_NOT_DELIVERED,
                "the notice was delivered after the signing: deliver it, then ask for the release again",
                field="release.sign_time",
            )


def signature_evidence(signature: SignerSignature | None) -> dict[str, str]:
    """What is kept, sealed, of a signer's own signature."""
    if signature is None:
        return {}
    return {
        "signer_public_key": signature.public_key.hex(),
        "signer_signature": signature.signature.hex(),
        "signer_key_sha256": hashlib.sha256(signature.public_key).hexdigest(),
    }


def _notice(book: Book, notice_id: str, version: int, name: str) -> Notice:
    notice = book.get(Notice, notice_key(notice_id, version))
    if notice is None:
        raise ConsentryError(Reason.NOT_FOUND, "no such version of this notice: publish it first", field=name)
    return notice


def _stated(fact: Delivery | Release) -> dict[str, Any]:
    """The fact as its entry has it; the entry itself gives index and time."""
    plain: dict[str, Any] = to_plain(fact)
    del plain["index"], plain["time"]
    return plain


def _read(kind: type[Any], answer: Answer, name: str) -> Any:
    return from_plain(kind, {**answer.entry[name], "index": answer.recorded.index, "time": answer.entry["time"]})


def _with_sealed(book: Book, body: dict[str, Any], sealed: Sealed | None) -> dict[str, Any]:
    return body if sealed is None else {**body, "sealed": sealed.put(book)}
