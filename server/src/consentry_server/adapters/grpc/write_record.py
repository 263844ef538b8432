"""What callers get of the record: notices, deliveries, releases, determinations, persons, identifiers, destructions.

What a call has just recorded is the caller's own message with what the server sets; it may hold what is sealed, since
the caller sent it. What is read back later holds nothing that is sealed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from consentry.v1 import (
    consent_pb2,
    destruction_pb2,
    determination_pb2,
    identifier_pb2,
    notice_pb2,
    retention_policy_pb2,
    subject_pb2,
)
from consentry_server.adapters.grpc import words, write, write_person
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record.standing import standing
from consentry_server.core.vocabulary import DestructionStage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.record import facts
    from consentry_server.core.record.standing import Standing
    from consentry_server.services.book import Recorded
    from consentry_server.services.context import Answer
    from consentry_server.services.retention import Certificate

    Entries = Mapping[int, tuple[Recorded, Mapping[str, Any]]]

NOTHING_LEFT: Final = "Nothing known is left."  # destruction.proto, DestructionCertificate.remaining


def published_notice(
    ledger: str, sent: notice_pb2.Notice, notice: facts.Notice, recorded: Recorded
) -> notice_pb2.Notice:
    """Write a notice as it was published just now.

    Args:
        ledger: The ledger's origin.
        sent: As its publisher sent it.
        notice: As it is on record.
        recorded: Its entry.
    """
    written = notice_pb2.Notice()
    written.CopyFrom(sent)
    written.version = notice.version
    written.text_sha256 = bytes.fromhex(notice.text_sha256)
    written.publish_time.CopyFrom(write.timestamp(recorded.time))
    written.entry.CopyFrom(write.entry(ledger, recorded))
    return written


def notice(
    ledger: str, held: facts.Notice, recorded: Recorded, entry: Mapping[str, Any], text: str
) -> notice_pb2.Notice:
    """Write a notice as it is on record.

    Args:
        ledger: The ledger's origin.
        held: The notice.
        recorded: Where its entry stands.
        entry: What that says.
        text: The exact text.
    """
    details = {each["recipient_id"]: each for each in entry.get("recipient_details", ())}
    return notice_pb2.Notice(
        notice_id=held.notice_id,
        version=held.version,
        language=held.language,
        effective_time=write.timestamp(held.effective_time),
        says_collected_or_stored=held.says_collected_or_stored,
        purposes=words.PURPOSE.write_set(held.purposes),
        categories=words.DATA_CATEGORY.write_set(held.categories),
        term=_term(held.term),
        recipients=[_recipient(each, details.get(each, {})) for each in sorted(held.recipients)],
        text=text,
        uri=entry.get("uri", ""),
        withdrawal_uri=entry.get("withdrawal_uri", ""),
        states_paper_option=entry.get("states_paper_option", False),
        text_sha256=bytes.fromhex(held.text_sha256),
        publish_time=write.timestamp(recorded.time),
        entry=write.entry(ledger, recorded),
    )


def published_policy(
    ledger: str, sent: retention_policy_pb2.RetentionPolicy, policy: facts.RetentionPolicy, answer: Answer
) -> retention_policy_pb2.RetentionPolicy:
    """Write a policy as it was published just now; see :func:`published_notice`."""
    written = retention_policy_pb2.RetentionPolicy()
    written.CopyFrom(sent)
    written.version = policy.version
    written.sweep_latency.CopyFrom(write.duration(timedelta(seconds=answer.entry.get("sweep_latency_seconds", 0))))
    written.text_sha256 = bytes.fromhex(policy.text_sha256)
    written.publish_time.CopyFrom(write.timestamp(answer.recorded.time))
    written.entry.CopyFrom(write.entry(ledger, answer.recorded))
    return written


def recorded_delivery(
    ledger: str, sent: consent_pb2.Delivery, delivery: facts.Delivery, recorded: Recorded
) -> consent_pb2.Delivery:
    """Write a delivery as it was recorded just now; see :func:`published_notice`."""
    written = consent_pb2.Delivery()
    written.CopyFrom(sent)
    written.delivery_id = delivery.delivery_id
    written.record_time.CopyFrom(write.timestamp(recorded.time))
    written.entry.CopyFrom(write.entry(ledger, recorded))
    return written


def recorded_release(
    ledger: str, sent: consent_pb2.Release, release: facts.Release, recorded: Recorded
) -> consent_pb2.Release:
    """Write a release as it was recorded just now; see :func:`published_notice`."""
    written = consent_pb2.Release()
    written.CopyFrom(sent)
    written.release_id = release.release_id
    del written.scopes[:]
    written.scopes.extend(words.CONSENT_SCOPE.write_set(release.scopes))
    written.state = consent_pb2.RELEASE_STATE_LIVE
    written.ClearField("withdraw_time")
    written.record_time.CopyFrom(write.timestamp(recorded.time))
    written.entry.CopyFrom(write.entry(ledger, recorded))
    return written


def determination(
    ledger: str, held: facts.Determination, recorded: Recorded, now: datetime, decided_at: datetime | None
) -> determination_pb2.Determination:
    """Write a determination as it is on record.

    Args:
        ledger: The ledger's origin.
        held: The determination.
        recorded: Where the entry stands that recorded it.
        now: The time, UTC.
        decided_at: When it was decided, as its officer claims.
    """
    state = determination_pb2.DETERMINATION_STATE_AWAITING_APPROVAL
    if held.revoked_index >= 0:
        state = determination_pb2.DETERMINATION_STATE_REVOKED
    elif held.expires_at <= now:
        state = determination_pb2.DETERMINATION_STATE_EXPIRED
    elif held.active:
        state = determination_pb2.DETERMINATION_STATE_ACTIVE
    return determination_pb2.Determination(
        determination_id=held.determination_id,
        kind=words.DETERMINATION_KIND.numbers[held.kind],
        operations=words.OPERATION.write_set(held.operations),
        purposes=words.PURPOSE.write_set(held.purposes),
        algorithm_id=held.algorithm_id,
        algorithm_version=held.algorithm_version,
        subject_ref=held.subject_ref,
        recipient_id=held.recipient_id,
        decide_time=write.optional_timestamp(decided_at),
        expire_time=write.timestamp(held.expires_at),
        state=state,
        recorded_by=_name(held.decided_by),
        approved_by=_name(held.approved_by),
        entry=write.entry(ledger, recorded),
    )


def subject(
    ledger: str,
    held: facts.Subject,
    destructions: Sequence[facts.Destruction],
    entries: Entries,
    notices: Mapping[tuple[str, int], facts.Notice],
    now: datetime,
) -> subject_pb2.Subject:
    """Write what is on record about a person.

    Args:
        ledger: The ledger's origin.
        held: The person.
        destructions: Of what belonged to them, oldest first.
        entries: The entries of their deliveries, releases and claims.
        notices: Every published notice, by id and version.
        now: The time, UTC.
    """
    return subject_pb2.Subject(
        subject_ref=held.subject_ref,
        claims=write_person.claims(held),
        deliveries=[_delivery(ledger, each, entries) for each in held.deliveries],
        releases=[
            _release(
                ledger, each, entries, standing(each, held, notices.get((each.notice_id, each.notice_version)), now)
            )
            for each in held.releases
        ],
        identifier_ids=held.identifiers,
        photo_ids=held.photos,
        last_interaction_time=write.optional_timestamp(held.last_interaction),
        satisfied_purposes=words.PURPOSE.write_set(held.satisfied_purposes),
        employment_end_time=write.optional_timestamp(held.employment_ended_at),
        destructions=[destruction(each) for each in destructions],
        opt_outs=[
            subject_pb2.OptOut(purposes=words.PURPOSE.write_set(each.purposes), record_time=write.timestamp(each.time))
            for each in held.opt_outs
        ],
        recorded_claims=[write_person.recorded_claim(ledger, each, entries) for each in held.claimed],
    )


def destruction(held: facts.Destruction) -> destruction_pb2.DestructionSummary:
    """Write how far a destruction has come."""
    return destruction_pb2.DestructionSummary(
        destruction_id=held.destruction_id,
        stage=words.DESTRUCTION_STAGE.numbers[held.stage],
        trigger=words.DESTRUCTION_TRIGGER.numbers[held.trigger],
        unrecoverable_after_time=write.optional_timestamp(held.unrecoverable_after),
    )


def certificate(ledger: str, held: Certificate, entries: Entries) -> destruction_pb2.DestructionCertificate:
    """Write a certificate.

    Args:
        ledger: The ledger's origin.
        held: The certificate.
        entries: The entries that record the destruction, oldest first.
    """
    made = held.destruction
    gone = made.stage is DestructionStage.UNRECOVERABLE
    return destruction_pb2.DestructionCertificate(
        summary=destruction(made),
        subject_ref=made.subject_ref,
        targets=[
            destruction_pb2.DestructionTarget(
                record_class=words.RECORD_CLASS.numbers[target.record_class],
                record_id=target.record_id,
                key_id=target.dek_id,
            )
            for target in made.targets
        ],
        method=held.method,
        verification=held.verification,
        request_time=write.timestamp(made.requested_at),
        complete_time=write.optional_timestamp(made.completed_at),
        unrecoverable_time=write.optional_timestamp(made.unrecoverable_after if gone else None),
        remaining=held.remaining or (NOTHING_LEFT,),
        entries=[write.entry(ledger, recorded) for recorded, _entry in entries.values()],
    )


def identifier(held: facts.Identifier, entry: Mapping[str, Any]) -> identifier_pb2.Identifier:
    """Write what is known of an identifier.

    Args:
        held: The identifier.
        entry: The entry that stored it.
    """
    return identifier_pb2.Identifier(
        identifier_id=held.identifier_id,
        subject_ref=held.subject_ref,
        category=words.DATA_CATEGORY.numbers[held.category],
        purpose=words.PURPOSE.numbers[held.purpose],
        format=held.format,
        format_version=entry.get("format_version", ""),
        algorithm_id=held.algorithm_id,
        algorithm_version=held.algorithm_version,
        quality=entry.get("quality"),
        collection_method_id=entry.get("collection_method_id", ""),
        create_time=write.timestamp(held.time),
    )


def _term(term: facts.Term | None) -> notice_pb2.Term | None:
    if term is None:
        return None
    if term.duration is not None:
        return notice_pb2.Term(duration=write.duration(term.duration))
    return None if term.end is None else notice_pb2.Term(end_event=words.TERM_END.numbers[term.end])


def _recipient(recipient_id: str, details: Mapping[str, Any]) -> notice_pb2.NoticeRecipient:
    written = notice_pb2.NoticeRecipient(recipient_id=recipient_id)
    if "kind" in details:
        written.kind = words.RECIPIENT_KIND.numbers[details["kind"]]
    written.purposes.extend(words.PURPOSE.write_set(details.get("purposes", ())))
    if "holding_seconds" in details:
        written.holding_period.seconds = details["holding_seconds"]
    return written


def _delivery(ledger: str, held: facts.Delivery, entries: Entries) -> consent_pb2.Delivery:
    recorded, entry = entries[held.index]
    acknowledged = entry.get("acknowledged_at")
    return consent_pb2.Delivery(
        delivery_id=held.delivery_id,
        notice_id=held.notice_id,
        notice_version=held.notice_version,
        signer=consent_pb2.Signer(role=words.SIGNER_ROLE.numbers[held.signer_role]),
        channel=words.NOTICE_CHANNEL.numbers[held.channel],
        language=entry.get("language", ""),
        deliver_time=write.timestamp(held.occurred_at),
        acknowledge_time=write.timestamp(parse_time(acknowledged)) if acknowledged else None,
        vouching=words.VOUCHING.numbers[held.vouching],
        record_time=write.timestamp(held.time),
        entry=write.entry(ledger, recorded),
    )


def _release(ledger: str, held: facts.Release, entries: Entries, state: Standing) -> consent_pb2.Release:
    recorded, entry = entries[held.index]
    return consent_pb2.Release(
        release_id=held.release_id,
        notice_id=held.notice_id,
        notice_version=held.notice_version,
        delivery_id=held.delivery_id,
        form=words.RELEASE_FORM.numbers[held.form],
        process=words.SIGNATURE_PROCESS.numbers[held.process],
        signed_document_sha256=bytes.fromhex(held.signed_document_sha256),
        signer=consent_pb2.Signer(
            role=words.SIGNER_ROLE.numbers[held.signer_role],
            authority_basis=words.AUTHORITY_BASIS.numbers[held.authority_basis],
        ),
        purposes=words.PURPOSE.write_set(held.purposes),
        categories=words.DATA_CATEGORY.write_set(held.categories),
        recipient_ids=sorted(held.recipients),
        scopes=words.CONSENT_SCOPE.write_set(held.scopes),
        explicit=held.explicit,
        sign_time=write.timestamp(held.signed_at),
        expire_time=write.optional_timestamp(held.expires_at),
        language=entry.get("language", ""),
        condition_of_employment=held.condition_of_employment,
        supersedes_release_id=entry.get("supersedes", ""),
        vouching=words.VOUCHING.numbers[held.vouching],
        state=words.RELEASE_STATE.numbers[state],
        record_time=write.timestamp(held.time),
        withdraw_time=write.optional_timestamp(held.withdrawn_at),
        entry=write.entry(ledger, recorded),
    )


def _name(actor: str) -> str:
    """A caller's name, out of ``role/name``."""
    return actor.partition("/")[2]
