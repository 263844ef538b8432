"""VaultService: UploadPhoto, OpenPhoto, StoreIdentifier, OpenIdentifier, ListIdentifiers, RecordDerived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry.v1 import decision_pb2, identifier_pb2
from consentry.v1 import vault_service_pb2 as pb
from consentry_server.adapters.grpc import paging, read, read_consent, read_derived, read_vault, write, write_record
from consentry_server.adapters.grpc.servicer import Servicer
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.decisions import read_decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consentry_server.adapters.grpc.servicer import Call
    from consentry_server.services.book import Recorded
    from consentry_server.services.checks import Checked


class VaultServicer(Servicer):
    """Keeps photos and identifiers. Each method is the RPC of its name in ``vault_service.proto``."""

    async def UploadPhoto(  # noqa: N802 - the RPC's name
        self, requests: AsyncIterator[pb.UploadPhotoRequest], _context: Any
    ) -> pb.UploadPhotoResponse:
        """Take in one photo."""
        call = self._call()
        first = await anext(requests, None)
        if first is None:
            raise ConsentryError(
                Reason.UPLOAD_INCOMPLETE, "the stream ended before its header: nothing was stored; upload again"
            )
        draft = read_vault.upload_header(first, call.caller, self._clock())
        uploaded = await call.tenant.photos.upload(call.caller, draft, read_vault.upload_parts(requests))
        response = pb.UploadPhotoResponse(
            decision=await _store_decision(call, uploaded.checked, uploaded.recorded),
            destroy_by_time=write.destroy_by(uploaded.checked.decision.faces) if uploaded.checked else None,
        )
        photo = uploaded.photo
        if photo is not None:
            response.photo_id = photo.photo_id
            response.entry.CopyFrom(write.entry(call.ledger, uploaded.recorded))
            response.size = photo.size
            response.content_type = photo.content_type
            response.width, response.height = photo.width, photo.height
        return response

    async def OpenPhoto(self, request: pb.OpenPhotoRequest, _context: Any) -> AsyncIterator[pb.OpenPhotoResponse]:  # noqa: N802 - the RPC's name
        """Open a photo under a permit; faces that it does not cover are masked."""
        caller, tenant, ledger = self._call()
        permit = read_vault.permit(request.permit)
        photo_id = read.record_id(request.photo_id, "photo_id")
        opened = await tenant.photos.open(caller, permit, photo_id)
        yield pb.OpenPhotoResponse(
            header=pb.OpenPhotoHeader(
                content_type=opened.photo.content_type,
                size=opened.size,
                width=opened.photo.width,
                height=opened.photo.height,
                masked=bool(opened.masked),
                masked_boxes=[write.box(box) for box in opened.masked],
                entry=write.entry(ledger, opened.recorded),
            )
        )
        async for piece in opened.chunks:
            for at in range(0, len(piece), read_vault.MAX_CHUNK_BYTES):
                yield pb.OpenPhotoResponse(chunk=piece[at : at + read_vault.MAX_CHUNK_BYTES])

    async def StoreIdentifier(self, request: pb.StoreIdentifierRequest, _context: Any) -> pb.StoreIdentifierResponse:  # noqa: N802 - the RPC's name
        """Store what an allowed operation made of one face."""
        call = self._call()
        draft = read_vault.identifier(request, call.caller)
        permit = read_vault.permit(request.permit)
        stored = await call.tenant.identifiers.store(call.caller, permit, request.face_index, draft)
        held = stored.identifier
        return pb.StoreIdentifierResponse(
            identifier_id=held.identifier_id if held else "",
            decision=await _store_decision(call, stored.checked, stored.recorded),
            entry=write.entry(call.ledger, stored.recorded) if held else None,
            destroy_by_time=write.destroy_by(stored.checked.decision.faces) if stored.checked else None,
        )

    async def OpenIdentifier(self, request: pb.OpenIdentifierRequest, _context: Any) -> pb.OpenIdentifierResponse:  # noqa: N802 - the RPC's name
        """Open one identifier under a permit."""
        caller, tenant, ledger = self._call()
        permit = read_vault.permit(request.permit)
        identifier_id = read.record_id(request.identifier_id, "identifier_id")
        held, entry, template, recorded = await tenant.identifiers.open(caller, permit, identifier_id)
        return pb.OpenIdentifierResponse(
            opened=identifier_pb2.OpenedIdentifier(identifier=write_record.identifier(held, entry), template=template),
            entry=write.entry(ledger, recorded),
        )

    async def RecordDerived(self, request: pb.RecordDerivedRequest, _context: Any) -> pb.RecordDerivedResponse:  # noqa: N802 - the RPC's name
        """Record what a data set or model was made from."""
        caller, tenant, ledger = self._call()
        draft = read_derived.derived(request, caller, self._clock())
        held, answer = await tenant.derived.record(caller, draft)
        return pb.RecordDerivedResponse(
            artifact=read_derived.artifact(request, held, answer), entry=write.entry(ledger, answer.recorded)
        )

    async def ListIdentifiers(self, request: pb.ListIdentifiersRequest, _context: Any) -> pb.ListIdentifiersResponse:  # noqa: N802 - the RPC's name
        """List a person's identifiers, newest first."""
        caller, tenant, _ledger = self._call()
        page = paging.read_page(caller, "ListIdentifiers", request)
        before = paging.number(page, default=2**63)
        subject, _destructions = await tenant.registry.subject(
            *read_consent.subject_reference(request.subject, "subject")
        )
        held = await tenant.identifiers.of_person(subject.subject_ref)
        rest = sorted((each for each in held if each[0].index < before), key=lambda each: -each[0].index)
        shown = rest[: page.size]
        return pb.ListIdentifiersResponse(
            identifiers=[write_record.identifier(identifier, entry) for identifier, entry in shown],
            next_page_token=page.token(str(shown[-1][0].index)) if len(rest) > page.size else "",
        )


async def _store_decision(call: Call, checked: Checked | None, recorded: Recorded) -> decision_pb2.Decision:
    """The decision on STORE: just made, or found by the entry that answered the request before.

    Args:
        call: The call that is answered.
        checked: The decision that was just made; None for a repeated request.
        recorded: The entry that answered it: the decision's own, or one that names it.
    """
    if checked is not None:
        return write.decision(call.ledger, checked)
    where, entry = (await call.tenant.registry.entries([recorded.index]))[recorded.index]
    if entry["type"] != "decision":
        index = int(entry["decision_id"].split("_")[1])  # dec_<index>_<random>
        where, entry = (await call.tenant.registry.entries([index]))[index]
    return write.recorded_decision(call.ledger, where, read_decision(entry))
