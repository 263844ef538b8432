"""RegistryService: notices, policies, deliveries, releases, withdrawals, determinations, persons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consentry.v1 import registry_service_pb2 as pb
from consentry_server.adapters.grpc import (
    enforcement,
    posture,
    read,
    read_consent,
    read_house,
    read_notices,
    words,
    write,
    write_house,
    write_person,
    write_record,
)
from consentry_server.adapters.grpc.paging import read_page, token_invalid
from consentry_server.adapters.grpc.receipt_text import receipt_text
from consentry_server.adapters.grpc.servicer import Servicer
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import parse_time

if TYPE_CHECKING:
    from collections.abc import Collection

    from consentry_server.adapters.grpc.tenants import Tenant
    from consentry_server.core.record import facts
    from consentry_server.services.context import Answer

MAX_REASON: Final = 2_000
PHOTO_STAYS: Final = (
    "The photo stays with its uploader as a photo; the person's faces in it are closed to every biometric operation."
)


class RegistryServicer(Servicer):
    """Records what people were told and released. Each method is the RPC of its name in ``registry_service.proto``."""

    async def PublishNotice(self, request: pb.PublishNoticeRequest, _context: Any) -> pb.PublishNoticeResponse:  # noqa: N802 - the RPC's name
        """Publish one version of a notice."""
        caller, tenant, ledger = self._call()
        draft = read_notices.publish_notice(request, caller)
        notice, answer = await tenant.notices.publish(caller, draft)
        changes = await tenant.notice_diffs.since_last(notice)
        return pb.PublishNoticeResponse(
            notice=write_record.published_notice(ledger, request.notice, notice, answer.recorded),
            changes=[write_person.change(each) for each in changes],
        )

    async def ListNotices(self, request: pb.ListNoticesRequest, _context: Any) -> pb.ListNoticesResponse:  # noqa: N802 - the RPC's name
        """List published notices."""
        caller, tenant, ledger = self._call()
        page = read_page(caller, "ListNotices", request)
        at = read.optional_time(request, "effective_at_time", "effective_at_time")
        notices = await tenant.notices.published(request.notice_id)
        if at is not None:
            latest = {notice.notice_id: notice for notice in notices if notice.effective_time <= at}
            notices = list(latest.values())
        after = _place(page.after) if page.after else ("", 0)
        rest = [notice for notice in notices if (notice.notice_id, notice.version) > after]
        shown = rest[: page.size]
        texts = await tenant.notices.texts(shown)
        return pb.ListNoticesResponse(
            notices=[write_record.notice(ledger, notice, *text) for notice, text in zip(shown, texts, strict=True)],
            next_page_token=page.token(f"{shown[-1].notice_id}@{shown[-1].version}") if len(rest) > page.size else "",
        )

    async def DiffNotices(self, request: pb.DiffNoticesRequest, _context: Any) -> pb.DiffNoticesResponse:  # noqa: N802 - the RPC's name
        """Compare two versions of a notice."""
        _caller, tenant, ledger = self._call()
        older = read_notices.existing_version(request.from_version, "from_version")
        newer = read_notices.existing_version(request.to_version, "to_version")
        found = await tenant.notice_diffs.diff(request.notice_id, older, newer, self._clock())
        both = (found.older.notice, found.newer.notice)
        texts = await tenant.notices.texts(both)
        before, after = (write_record.notice(ledger, one, *text) for one, text in zip(both, texts, strict=True))
        return pb.DiffNoticesResponse(
            changes=[write_person.change(each) for each in found.changes],
            reconsent_required=found.reconsent_required,
            affected_subject_count=found.affected,
            affected_subject_count_stopped=found.stopped,
            from_notice=before,
            to_notice=after,
        )

    async def PublishRetentionPolicy(  # noqa: N802 - the RPC's name
        self, request: pb.PublishRetentionPolicyRequest, _context: Any
    ) -> pb.PublishRetentionPolicyResponse:
        """Publish one version of the written policy."""
        caller, tenant, ledger = self._call()
        draft = read_notices.publish_policy(request, caller)
        policy, answer = await tenant.notices.publish_policy(caller, draft)
        return pb.PublishRetentionPolicyResponse(
            policy=write_record.published_policy(ledger, request.policy, policy, answer)
        )

    async def RecordNoticeDelivery(  # noqa: N802 - the RPC's name
        self, request: pb.RecordNoticeDeliveryRequest, _context: Any
    ) -> pb.RecordNoticeDeliveryResponse:
        """Record that a notice reached a person."""
        caller, tenant, ledger = self._call()
        draft = read_consent.delivery(request, caller, self._clock())
        delivery, answer = await tenant.releases.deliver(caller, draft)
        return pb.RecordNoticeDeliveryResponse(
            delivery=write_record.recorded_delivery(ledger, request.delivery, delivery, answer.recorded),
            subject_ref=answer.entry["people"][0]["subject_ref"],
        )

    async def RecordRelease(self, request: pb.RecordReleaseRequest, _context: Any) -> pb.RecordReleaseResponse:  # noqa: N802 - the RPC's name
        """Record a written release and give its receipt."""
        caller, tenant, ledger = self._call()
        draft = read_consent.release(request, caller, self._clock())
        released = await tenant.releases.release(caller, draft)
        return pb.RecordReleaseResponse(
            release=write_record.recorded_release(ledger, request.release, released.release, released.answer.recorded),
            receipt=released.receipt,
            receipt_text=receipt_text(released.receipt_claims),
            subject_ref=released.answer.entry["people"][0]["subject_ref"],
        )

    async def WithdrawRelease(self, request: pb.WithdrawReleaseRequest, _context: Any) -> pb.WithdrawReleaseResponse:  # noqa: N802 - the RPC's name
        """Withdraw one release, or all of a person's."""
        caller, tenant, ledger = self._call()
        key = read.key(caller, "WithdrawRelease", request)
        subject_id = read.subject_id(request.subject_id, "subject_id")
        if request.expedite:
            raise read.not_built("expedite", "withdraw without it; keys in backups die with their epoch")
        answer, withdrawn, caused = await tenant.releases.withdraw(
            caller,
            subject_id,
            read.record_id(request.release_id, "release_id", needed=False),
            read.text(request.reason, "reason", MAX_REASON),
            key,
            channel=words.NOTICE_CHANNEL.read_optional(request.channel, "channel"),
            occurred_at=read_consent.occurred(request, self._clock()),
        )
        subject, destructions = await tenant.registry.subject("", answer.entry["people"][0]["subject_ref"])
        return pb.WithdrawReleaseResponse(
            entry=write.entry(ledger, answer.recorded),
            withdrawn_release_ids=withdrawn,
            destructions=_summaries(destructions, caused),
            photo_effects=[pb.PhotoEffect(photo_id=photo_id, text=PHOTO_STAYS) for photo_id in subject.photos],
        )

    async def RecordInteraction(  # noqa: N802 - the RPC's name
        self, request: pb.RecordInteractionRequest, _context: Any
    ) -> pb.RecordInteractionResponse:
        """Record that a person interacted with the tenant."""
        caller, tenant, ledger = self._call()
        key = read.key(caller, "RecordInteraction", request)
        subject_id = read.subject_id(request.subject_id, "subject_id")
        occurred = read_consent.occurred(request, self._clock())
        said = read_consent.claims(request.claims, self._clock())
        answer, subject = await tenant.registry.interaction(caller, subject_id, occurred, key, said)
        return pb.RecordInteractionResponse(
            entry=write.entry(ledger, answer.recorded),
            last_interaction_time=write.optional_timestamp(subject.last_interaction),
        )

    async def RecordPurposeSatisfied(  # noqa: N802 - the RPC's name
        self, request: pb.RecordPurposeSatisfiedRequest, _context: Any
    ) -> pb.RecordPurposeSatisfiedResponse:
        """Record that purposes are satisfied."""
        caller, tenant, ledger = self._call()
        key = read.key(caller, "RecordPurposeSatisfied", request)
        subject_id = read.subject_id(request.subject_id, "subject_id")
        read.count(request.purposes, "purposes", read.MAX_WORDS)
        purposes = words.PURPOSE.read_set(request.purposes, "purposes")
        end, reason = _end(request)
        occurred = read_consent.occurred(request, self._clock())
        match end:
            case "FOUND_UNNECESSARY":
                answer, caused = await tenant.ends.found_unnecessary(
                    caller, subject_id, purposes, occurred, reason, key
                )
            case "ACCOUNT_CLOSED":
                answer, caused = await tenant.ends.account_closed(caller, subject_id, occurred, key)
            case _:
                answer, caused = await tenant.registry.purpose_satisfied(caller, subject_id, purposes, occurred, key)
        return pb.RecordPurposeSatisfiedResponse(
            entry=write.entry(ledger, answer.recorded), destructions=await _caused(tenant, answer.entry, caused)
        )

    async def RecordOptOut(self, request: pb.RecordOptOutRequest, _context: Any) -> pb.RecordOptOutResponse:  # noqa: N802 - the RPC's name
        """Record that a person asked to limit or to opt out."""
        caller, tenant, ledger = self._call()
        key = read.key(caller, "RecordOptOut", request)
        subject_id = read.subject_id(request.subject_id, "subject_id")
        read.count(request.purposes, "purposes", read.MAX_WORDS)
        purposes = words.PURPOSE.read_set(request.purposes, "purposes")
        occurred = read_consent.occurred(request, self._clock())
        answer, caused = await tenant.registry.opt_out(caller, subject_id, purposes, occurred, key)
        return pb.RecordOptOutResponse(
            entry=write.entry(ledger, answer.recorded), destructions=await _caused(tenant, answer.entry, caused)
        )

    async def RecordEmploymentEnded(  # noqa: N802 - the RPC's name
        self, request: pb.RecordEmploymentEndedRequest, _context: Any
    ) -> pb.RecordEmploymentEndedResponse:
        """Record the end of an employment."""
        caller, tenant, ledger = self._call()
        key = read.key(caller, "RecordEmploymentEnded", request)
        subject_id = read.subject_id(request.subject_id, "subject_id")
        occurred = read_consent.occurred(request, self._clock())
        answer, caused = await tenant.registry.employment_ended(caller, subject_id, occurred, key)
        return pb.RecordEmploymentEndedResponse(
            entry=write.entry(ledger, answer.recorded), destructions=await _caused(tenant, answer.entry, caused)
        )

    async def RecordDetermination(  # noqa: N802 - the RPC's name
        self, request: pb.RecordDeterminationRequest, _context: Any
    ) -> pb.RecordDeterminationResponse:
        """Record a determination, approve another officer's, or revoke one."""
        caller, tenant, ledger = self._call()
        match request.WhichOneof("action"):
            case "enforcement":
                switched, made = await tenant.enforcement.switch(caller, enforcement.draft(request, caller))
                return await _switched(tenant, ledger, switched, made)
            case "approves_determination_id" if enforcement.is_switch(request.approves_determination_id):
                key = read.key(caller, "RecordDetermination", request)
                named = read.record_id(request.approves_determination_id, "approves_determination_id")
                switched, made = await tenant.enforcement.approve(caller, named, key)
                return await _switched(tenant, ledger, switched, made)
            case "determination":
                draft = read_consent.determination(request, caller, self._clock())
                held, answer = await tenant.registry.determine(caller, draft)
            case "approves_determination_id":
                key = read.key(caller, "RecordDetermination", request)
                approved = read.record_id(request.approves_determination_id, "approves_determination_id")
                held, answer = await tenant.registry.approve(caller, approved, key)
            case "revokes_determination_id":
                key = read.key(caller, "RecordDetermination", request)
                revoked = read.record_id(request.revokes_determination_id, "revokes_determination_id")
                held, answer = await tenant.registry.revoke(caller, revoked, key)
            case _:
                raise read.required("determination", "or another action")
        recorded, entry = (await tenant.registry.entries([held.index]))[held.index]
        decided = parse_time(entry["occurred_at"]) if "occurred_at" in entry else None
        return pb.RecordDeterminationResponse(
            determination=write_record.determination(ledger, held, recorded, self._clock(), decided),
            entry=write.entry(ledger, answer.recorded),
        )

    async def RecordStatement(self, request: pb.RecordStatementRequest, _context: Any) -> pb.RecordStatementResponse:  # noqa: N802 - the RPC's name
        """Record a public statement, which narrows what is allowed."""
        caller, tenant, ledger = self._call()
        draft = read_house.statement(request, caller, self._clock())
        statement, answer = await tenant.statements.record(caller, draft)
        return pb.RecordStatementResponse(
            statement=write_house.recorded_statement(ledger, request.statement, statement, answer.recorded)
        )

    async def ActivatePack(self, request: pb.ActivatePackRequest, _context: Any) -> pb.ActivatePackResponse:  # noqa: N802 - the RPC's name
        """Activate one version of a law pack or of the tenant's own rules."""
        caller, tenant, ledger = self._call()
        draft = read_house.activate_pack(request, caller)
        pack, active, answer = await tenant.activation.activate(caller, draft)
        return pb.ActivatePackResponse(pack=write_house.pack(pack, active), entry=write.entry(ledger, answer.recorded))

    async def GetSubject(self, request: pb.GetSubjectRequest, _context: Any) -> pb.GetSubjectResponse:  # noqa: N802 - the RPC's name
        """Show what is on record about one person."""
        _caller, tenant, ledger = self._call()
        subject, destructions = await tenant.registry.subject(
            *read_consent.subject_reference(request.subject, "subject")
        )
        indices = {each.index for each in subject.deliveries} | {each.index for each in subject.releases}
        entries = await tenant.registry.entries(indices | {each.index for each in subject.claimed})
        notices = {(each.notice_id, each.version): each for each in await tenant.notices.published()}
        return pb.GetSubjectResponse(
            subject=write_record.subject(ledger, subject, destructions, entries, notices, self._clock())
        )

    async def CheckPosture(self, request: pb.CheckPostureRequest, _context: Any) -> pb.CheckPostureResponse:  # noqa: N802 - the RPC's name
        """Show what notices, policy, packs and settings lack."""
        caller, tenant, ledger = self._call()
        regions, key = posture.posture_request(request, caller)
        return posture.posture(ledger, await tenant.postures.check(caller, regions, persist=request.persist, key=key))


async def _switched(
    tenant: Tenant, ledger: str, held: facts.EnforcementSwitch | None, answer: Answer
) -> pb.RecordDeterminationResponse:
    """A switch as it stands now; without it where one to enforcing has overtaken it since."""
    written = pb.RecordDeterminationResponse(entry=write.entry(ledger, answer.recorded))
    if held is not None:
        recorded, _ = (await tenant.registry.entries([held.index]))[held.index]
        written.enforcement.CopyFrom(enforcement.change(ledger, held, recorded))
    return written


def _place(position: str) -> tuple[str, int]:
    notice_id, _, version = position.partition("@")
    if not (version.isascii() and version.isdigit() and len(version) < 10):  # noqa: PLR2004 - an int32
        raise token_invalid()
    return notice_id, int(version)


def _end(request: pb.RecordPurposeSatisfiedRequest) -> tuple[str, str]:
    """How purposes ended, and why the 45 days of C.R.S. 6-1-1314(2)(c) are extended; empty where they are not."""
    end = words.PURPOSE_END.read_optional(request.end, "end") or "SATISFIED"
    if request.extend and end != "FOUND_UNNECESSARY":
        raise read.invalid("extend", "goes with FOUND_UNNECESSARY only")
    reason = read.text(request.extension_reason, "extension_reason", MAX_REASON)
    if request.extend and not reason.strip():
        raise ConsentryError(
            Reason.EXTENSION_REASON_MISSING,
            "an extension needs its reason (C.R.S. 6-1-1314(2)(c)): state it",
            field="extension_reason",
        )
    if reason and not request.extend:
        raise read.invalid("extension_reason", "goes with extend only")
    if request.purposes and end == "ACCOUNT_CLOSED":
        raise read.invalid("purposes", "does not go with ACCOUNT_CLOSED, which ends terms and names no purpose")
    return end, reason


async def _caused(tenant: Tenant, entry: Any, destruction_id: str) -> list[Any]:
    """The destruction that an entry about one person caused, if any."""
    if not destruction_id:
        return []
    _subject, destructions = await tenant.registry.subject("", entry["people"][0]["subject_ref"])
    return _summaries(destructions, (destruction_id,))


def _summaries(destructions: Collection[facts.Destruction], wanted: Collection[str]) -> list[Any]:
    return [write_record.destruction(each) for each in destructions if each.destruction_id in wanted]
