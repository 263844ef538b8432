"""A live server as a source of ``consentry audit``, over mutual TLS."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from consentry.v1 import audit_service_pb2 as pb
from consentry.v1 import (
    audit_service_pb2_grpc,
    notice_pb2,
    photo_pb2,
    registry_service_pb2,
    registry_service_pb2_grpc,
    subject_pb2,
    vocabulary_pb2,
)
from consentry_server.cli_compared import Compared, Difference, Version, length, recipient_line
from consentry_server.cli_sources import bundled_citations, is_sha256, is_subject_ref
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.phrases import word
from consentry_server.services.coverage import Row, RowKey
from consentry_server.services.reading import StoredEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from consentry.v1 import ledger_pb2
    from consentry_server.cli_sources import Access, Wanted
    from consentry_server.core.record.words import Citation
    from consentry_server.services.coverage import Question

PAGE = 500
_MOST_ENTRIES, _MOST_VERSIONS = 2**53, 2**31
"""No ledger has more; larger numbers do not fit a message."""
SECONDS = 60.0
"""How long one answer may take."""


class RemoteLedger:
    """Reads a ledger from a server.

    Args:
        address: ``HOST:PORT``.
        access: Certificates of an auditor, officer or operator.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``: a certificate is missing.
    """

    def __init__(self, address: str, access: Access) -> None:
        self._channel = channel(address, access)
        self._stub: Any = audit_service_pb2_grpc.AuditServiceStub(self._channel)
        self._citations: dict[str, Citation] = {}
        self._token = ""
        with answers():
            found = self._stub.GetCheckpoint(pb.GetCheckpointRequest(), timeout=SECONDS).checkpoint
        self.ledger: str = found.note.partition("\n")[0]

    @property
    def channel(self) -> grpc.Channel:
        """For calls of other services."""
        return self._channel

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def size(self) -> int:
        """See the protocol."""
        with answers():
            size: int = self._stub.GetCheckpoint(pb.GetCheckpointRequest(), timeout=SECONDS).checkpoint.tree_size
        return size

    def entry(self, index: int) -> StoredEntry:
        """See the protocol."""
        if index >= _MOST_ENTRIES:
            raise ConsentryError(Reason.NOT_FOUND, f"there is no entry {index}")
        request = pb.ListEntriesRequest(from_index=index, until_index=index + 1)
        with answers():
            found = self._stub.ListEntries(request, timeout=SECONDS).entries
        if not found:
            raise ConsentryError(Reason.NOT_FOUND, f"there is no entry {index}")
        return _stored(found[0])

    def entries(self, wanted: Wanted, first: int = 0, until: int | None = None) -> Iterator[StoredEntry | None]:
        """See the protocol."""
        request = _request(wanted, first, until)
        while True:
            with answers():
                answer = self._stub.ListEntries(request, timeout=SECONDS)
            yield from map(_stored, answer.entries)
            yield None
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return

    def follow(self, after: int) -> Iterator[StoredEntry | None]:
        """See the protocol."""
        with answers():
            for answer in self._stub.TailEntries(pb.TailEntriesRequest(after_index=after)):
                yield _stored(answer.entry) if answer.HasField("entry") else None

    def sequels(self, index: int) -> list[StoredEntry]:  # noqa: ARG002 - no RPC tells
        """See the protocol."""
        return []

    def coverage(self, question: Question) -> tuple[Sequence[Row], bool]:
        """See the protocol. A question goes on behind the page before it."""
        request = pb.GetCoverageRequest(actor=question.actor, page_size=question.count)
        request.row_period.FromTimedelta(question.row_period)
        if question.from_time is not None:
            request.period.from_time.FromDatetime(question.from_time)
        if question.until_time is not None:
            request.period.until_time.FromDatetime(question.until_time)
        request.page_token = self._token if question.after is not None else ""
        with answers():
            answer = self._stub.GetCoverage(request, timeout=SECONDS)
        self._token = answer.next_page_token
        return [_row(row) for row in answer.rows], bool(answer.next_page_token)

    def citations(self, entry: Mapping[str, Any]) -> Mapping[str, Citation]:
        """See the protocol: of the packs that this version carries."""
        if entry.get("packs") and not self._citations:
            self._citations = bundled_citations()
        return self._citations

    def notice_diff(self, notice_id: str, older: int, newer: int) -> Compared:
        """See the protocol."""
        if max(older, newer) >= _MOST_VERSIONS:
            raise ConsentryError(
                Reason.NOT_FOUND, f"there is no version {max(older, newer)} of the notice {notice_id}: list them"
            )
        request = registry_service_pb2.DiffNoticesRequest(notice_id=notice_id, from_version=older, to_version=newer)
        stub: Any = registry_service_pb2_grpc.RegistryServiceStub(self._channel)
        with answers():
            found = stub.DiffNotices(request, timeout=SECONDS)
        return Compared(
            notice_id=notice_id,
            older=_version(found.from_notice),
            newer=_version(found.to_notice),
            changes=tuple(
                Difference(
                    notice_pb2.NoticeChangeKind.Name(each.kind).removeprefix("NOTICE_CHANGE_KIND_"),
                    each.value,
                    each.text,
                    each.citation,
                )
                for each in found.changes
            ),
            affected=found.affected_subject_count,
            stopped=found.affected_subject_count_stopped,
        )

    def checkpoint(self) -> tuple[bytes, str]:
        """See the protocol."""
        with answers():
            found = self._stub.GetCheckpoint(pb.GetCheckpointRequest(), timeout=SECONDS).checkpoint
        return found.note.encode(), found.verifier_key


def channel(address: str, access: Access) -> grpc.Channel:
    """Connect to a server.

    Args:
        address: ``HOST:PORT``.
        access: A caller's certificates.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``: a certificate is missing.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_pem(access.ca, "--ca"),
        private_key=_pem(access.key, "--key"),
        certificate_chain=_pem(access.certificate, "--cert"),
    )
    return grpc.secure_channel(address, credentials)


def _request(wanted: Wanted, first: int, until: int | None) -> pb.ListEntriesRequest:
    chosen = wanted.filter
    request = pb.ListEntriesRequest(
        page_size=PAGE, from_index=first, types=sorted(chosen.types), rule_id=chosen.rule_id, actor=chosen.actor
    )
    request.outcomes.extend(vocabulary_pb2.Outcome.Value(f"OUTCOME_{each}") for each in sorted(chosen.outcomes))
    if until is not None:
        request.until_index = until
    if chosen.from_time is not None:
        request.from_time.FromDatetime(chosen.from_time)
    if chosen.until_time is not None:
        request.until_time.FromDatetime(chosen.until_time)
    if wanted.subject:
        by_reference = is_subject_ref(wanted.subject)
        request.subject.CopyFrom(
            subject_pb2.SubjectReference(subject_ref=wanted.subject)
            if by_reference
            else subject_pb2.SubjectReference(subject_id=wanted.subject)
        )
    if is_sha256(wanted.photo):
        request.photo.CopyFrom(photo_pb2.PhotoReference(sha256=bytes.fromhex(wanted.photo)))
    elif wanted.photo:
        request.photo.CopyFrom(photo_pb2.PhotoReference(photo_id=wanted.photo))
    return request


def _version(notice: notice_pb2.Notice) -> Version:
    duration = notice.term.duration.ToTimedelta() if notice.term.HasField("duration") else None
    end = vocabulary_pb2.TermEnd.Name(notice.term.end_event).removeprefix("TERM_END_")
    return Version(
        version=notice.version,
        language=notice.language,
        effective=notice.effective_time.ToDatetime(UTC),
        text=notice.text,
        text_sha256=notice.text_sha256.hex(),
        categories=_words(vocabulary_pb2.DataCategory, "DATA_CATEGORY_", notice.categories),
        purposes=_words(vocabulary_pb2.Purpose, "PURPOSE_", notice.purposes),
        term=length(duration, end if notice.term.end_event else ""),
        recipients=tuple(
            recipient_line(
                each.recipient_id,
                notice_pb2.RecipientKind.Name(each.kind).removeprefix("RECIPIENT_KIND_") if each.kind else "",
                _words(vocabulary_pb2.Purpose, "PURPOSE_", each.purposes),
                each.holding_period.ToTimedelta() if each.HasField("holding_period") else None,
            )
            for each in notice.recipients
        ),
    )


def _words(enum: Any, prefix: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(word(enum.Name(number).removeprefix(prefix)) for number in numbers))


def _stored(entry: ledger_pb2.Entry) -> StoredEntry:
    return StoredEntry(entry.reference.index, entry.json, entry.reference.leaf_hash)


def _row(row: pb.CoverageRow) -> Row:
    return Row(
        key=RowKey(row.period.from_time.ToDatetime(tzinfo=UTC), row.actor),
        until=row.period.until_time.ToDatetime(tzinfo=UTC),
        permits=row.permit_count,
        open_permits=row.open_permit_count,
        unpermitted=row.unpermitted_processing_count,
        refused=row.refused_processing_count,
        unreported_openings=row.unreported_opening_count,
        decision_ids=tuple(row.decision_ids),
    )


def _pem(path: Path | None, option: str) -> bytes:
    if path is None:
        raise ConsentryError(
            Reason.FIELD_REQUIRED,
            f"{option} is required: a server answers callers with a certificate only",
            field=option,
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConsentryError(Reason.FIELD_INVALID, f"{path} cannot be read: {error.strerror}", field=option) from error


@contextmanager
def answers() -> Iterator[None]:
    """Turn what gRPC raises into what the command says."""
    try:
        yield
    except grpc.RpcError as error:
        call: Any = error
        status = rpc_status.from_call(call)
        for detail in status.details if status is not None else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info) and info.reason in Reason.__members__:
                raise ConsentryError(Reason(info.reason), status.message) from error
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"the server does not answer ({call.code().name}): check address and certificates"
        ) from error
