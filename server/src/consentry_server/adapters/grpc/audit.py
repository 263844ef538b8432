"""AuditService: the ledger read, followed, proven, counted, and handed out as evidence."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from consentry.v1 import audit_service_pb2 as pb
from consentry.v1 import ledger_pb2
from consentry_server.adapters.grpc import evidence, explain, paging, read, read_consent, words, write_anchoring
from consentry_server.adapters.grpc.servicer import Servicer
from consentry_server.core.errors import ConsentryError
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import format_time, parse_time
from consentry_server.core.ledger.receipt import Receipt
from consentry_server.services.coverage import Question, RowKey
from consentry_server.services.reading import Filter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consentry_server.adapters.grpc.tenants import Tenant
    from consentry_server.services.coverage import Row
    from consentry_server.services.reading import StoredEntry

MAX_TYPES: Final = 32
MAX_RULE_ID: Final = 64
HOUR: Final = 3_600
_TYPE: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class AuditServicer(Servicer):
    """Lets others check. Each method is the RPC of its name in ``audit_service.proto``."""

    async def ListEntries(self, request: pb.ListEntriesRequest, _context: Any) -> pb.ListEntriesResponse:  # noqa: N802 - the RPC's name
        """List entries as they are stored, by index."""
        caller, tenant, ledger = self._call()
        page = paging.read_page(caller, "ListEntries", request)
        first = _index(request.from_index, "from_index")
        until = _index(request.until_index, "until_index") if request.HasField("until_index") else None
        wanted = await _filter(tenant, request)
        found, following, more = await tenant.audit.entries(
            paging.number(page, default=first), page.size, until=until, wanted=wanted
        )
        return pb.ListEntriesResponse(
            entries=[_entry(ledger, each) for each in found],
            next_page_token=page.token(str(following)) if more else "",
        )

    async def TailEntries(  # noqa: N802 - the RPC's name
        self, request: pb.TailEntriesRequest, _context: Any
    ) -> AsyncIterator[pb.TailEntriesResponse]:
        """Stream entries as they become durable."""
        _caller, tenant, ledger = self._call()
        after = request.after_index if request.HasField("after_index") else None
        async for stored in tenant.audit.follow(after):
            yield pb.TailEntriesResponse(entry=None if stored is None else _entry(ledger, stored))

    async def GetCheckpoint(self, _request: pb.GetCheckpointRequest, _context: Any) -> pb.GetCheckpointResponse:  # noqa: N802 - the RPC's name
        """Give the latest signed checkpoint, and say who vouches for it."""
        _caller, tenant, _ledger = self._call()
        signed = await tenant.audit.checkpoint()
        state = await tenant.anchors.state()
        note = await tenant.anchors.cosigned(signed)  # after the state: what it names is on the checkpoint
        return pb.GetCheckpointResponse(
            checkpoint=_checkpoint(tenant, note),
            anchoring=write_anchoring.anchoring(state),
            anchored_checkpoint=_checkpoint(tenant, anchored) if (anchored := await tenant.anchors.newest()) else None,
        )

    async def GetInclusionProof(  # noqa: N802 - the RPC's name
        self, request: pb.GetInclusionProofRequest, _context: Any
    ) -> pb.GetInclusionProofResponse:
        """Prove that an entry is in the tree of a given size."""
        _caller, tenant, ledger = self._call()
        index = _index(request.index, "index")
        size = _index(request.tree_size, "tree_size")
        note = await tenant.audit.checkpoint()
        published = open_checkpoint(note, tenant.checkpoints.key).checkpoint.size
        proof = await tenant.audit.inclusion(index, size or published)
        recorded, _said = (await tenant.registry.entries([index]))[index]
        latest = proof.tree_size == published
        return pb.GetInclusionProofResponse(
            reference=ledger_pb2.EntryReference(ledger=ledger, index=index, leaf_hash=recorded.leaf_hash),
            tree_size=proof.tree_size,
            hashes=proof.hashes,
            root_hash=proof.root,
            tlog_proof=Receipt(index, proof.hashes, note).encode().decode() if latest else "",
        )

    async def GetConsistencyProof(  # noqa: N802 - the RPC's name
        self, request: pb.GetConsistencyProofRequest, _context: Any
    ) -> pb.GetConsistencyProofResponse:
        """Prove that one tree is a prefix of another."""
        _caller, tenant, _ledger = self._call()
        first = _index(request.first_tree_size, "first_tree_size")
        second = _index(request.second_tree_size, "second_tree_size")
        if not second:
            note = await tenant.audit.checkpoint()
            second = open_checkpoint(note, tenant.checkpoints.key).checkpoint.size
        proof = await tenant.audit.consistency(first, second)
        return pb.GetConsistencyProofResponse(
            first_tree_size=first,
            second_tree_size=proof.tree_size,
            hashes=proof.hashes,
            first_root_hash=proof.old_root,
            second_root_hash=proof.root,
        )

    async def GetCoverage(self, request: pb.GetCoverageRequest, _context: Any) -> pb.GetCoverageResponse:  # noqa: N802 - the RPC's name
        """Compare what was permitted with what was reported."""
        caller, tenant, _ledger = self._call()
        page = paging.read_page(caller, "GetCoverage", request)
        rows, more = await tenant.coverage.page(
            Question(
                row_period=read.duration(request.row_period, "row_period", least=HOUR, most=366 * 24 * HOUR)
                if request.HasField("row_period")
                else timedelta(days=1),
                from_time=read.optional_time(request.period, "from_time", "period.from_time"),
                until_time=read.optional_time(request.period, "until_time", "period.until_time"),
                actor=read.caller_name(request.actor, "actor"),
                after=_row_key(page),
                count=page.size,
            )
        )
        last = f"{format_time(rows[-1].key.start)} {rows[-1].key.actor}" if rows and more else ""
        return pb.GetCoverageResponse(
            rows=[_coverage_row(row) for row in rows], next_page_token=page.token(last) if last else ""
        )

    async def ReplayDecisions(  # noqa: N802 - the RPC's name
        self, request: pb.ReplayDecisionsRequest, _context: Any
    ) -> AsyncIterator[pb.ReplayDecisionsResponse]:
        """Decide recorded requests again and stream the differences."""
        _caller, tenant, ledger = self._call()
        async for part in explain.replay(tenant, ledger, request):
            yield part

    async def ExportEvidence(  # noqa: N802 - the RPC's name
        self, request: pb.ExportEvidenceRequest, _context: Any
    ) -> AsyncIterator[pb.ExportEvidenceResponse]:
        """Stream an evidence pack as one ZIP."""
        call = self._call()
        wanted = await evidence.wanted(call.tenant, request)
        async for part in evidence.export(call.tenant, wanted, self._clock()):
            yield part


async def _filter(tenant: Tenant, request: pb.ListEntriesRequest) -> Filter:
    read.count(request.types, "types", MAX_TYPES)
    for place, name in enumerate(request.types):
        if not _TYPE.fullmatch(name):
            raise read.invalid(f"types[{place}]", "is no type of entry")
    if request.rule_id and not _RULE_ID.fullmatch(request.rule_id):
        raise read.invalid("rule_id", "is no id of a rule")
    subject_ref = ""
    if request.HasField("subject"):
        subject, _destructions = await tenant.registry.subject(
            *read_consent.subject_reference(request.subject, "subject")
        )
        subject_ref = subject.subject_ref
    photo_id, photo_ref = _photo(tenant, request)
    return Filter(
        types=frozenset(request.types),
        subject_ref=subject_ref,
        photo_id=photo_id,
        photo_ref=photo_ref,
        from_time=read.optional_time(request, "from_time", "from_time"),
        until_time=read.optional_time(request, "until_time", "until_time"),
        outcomes=words.OUTCOME.read_set(request.outcomes, "outcomes"),
        rule_id=request.rule_id,
        actor=read.caller_name(request.actor, "actor"),
    )


def _photo(tenant: Tenant, request: pb.ListEntriesRequest) -> tuple[str, str]:
    """A photo's id, or the keyed hash that stands for its SHA-256 in entries."""
    if not request.HasField("photo"):
        return "", ""
    match request.photo.WhichOneof("reference"):
        case "photo_id":
            return read.record_id(request.photo.photo_id, "photo.photo_id"), ""
        case "sha256":
            return "", tenant.audit.photo_ref(read.sha256(request.photo.sha256, "photo.sha256"))
        case _:
            raise read.required("photo", "a photo_id or a sha256")


def _row_key(page: paging.Page) -> RowKey | None:
    """Behind which row a page begins.

    Raises:
        ConsentryError: ``PAGE_TOKEN_INVALID``.
    """
    if not page.after:
        return None
    start, _, actor = page.after.partition(" ")
    try:
        return RowKey(parse_time(start), actor)
    except ConsentryError as error:
        raise paging.token_invalid() from error


def _coverage_row(row: Row) -> pb.CoverageRow:
    made = pb.CoverageRow(
        actor=row.key.actor,
        permit_count=row.permits,
        open_permit_count=row.open_permits,
        unpermitted_processing_count=row.unpermitted,
        refused_processing_count=row.refused,
        unreported_opening_count=row.unreported_openings,
        decision_ids=row.decision_ids,
    )
    made.period.from_time.FromDatetime(row.key.start)
    made.period.until_time.FromDatetime(row.until)
    return made


def _index(value: int, field: str) -> int:
    if value < 0:
        raise read.invalid(field, "must not be less than 0")
    return value


def _checkpoint(tenant: Tenant, note: bytes) -> ledger_pb2.Checkpoint:
    key = tenant.checkpoints.chain.at_note(note)
    signed = open_checkpoint(note, key).checkpoint
    return ledger_pb2.Checkpoint(
        note=note.decode(), verifier_key=key.vkey, tree_size=signed.size, root_hash=signed.root
    )


def _entry(ledger: str, stored: StoredEntry) -> ledger_pb2.Entry:
    return ledger_pb2.Entry(
        reference=ledger_pb2.EntryReference(ledger=ledger, index=stored.index, leaf_hash=stored.leaf_hash),
        json=stored.data,
    )
