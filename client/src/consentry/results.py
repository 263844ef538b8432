"""What comes back where a caller acts on it: frozen records read out of the contract's messages.

An answer that carries a decision or protected bytes is one of these. Every other answer is the contract's own message.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consentry.inputs import Box
from consentry.vocabulary import Grade, ObligationKind, Outcome

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from consentry.v1 import decision_pb2, gate_service_pb2, identifier_pb2, ledger_pb2, photo_pb2, vault_service_pb2

ALLOWED = frozenset({Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC})


@dataclass(frozen=True, slots=True)
class EntryReference:
    """Where the ledger holds something: ``leaf_hash`` is SHA-256(0x00 || entry), RFC 6962, section 2.1."""

    ledger: str
    index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding of one rule; ``code`` is stable, ``text`` and ``remedy`` are for people."""

    code: str
    rule_id: str
    rule_version: int
    pack_id: str
    citation: str
    grade: Grade
    text: str
    remedy: str
    outcome: Outcome

    def __str__(self) -> str:
        source = ", ".join(part for part in (self.citation, self.rule_id) if part)
        text = f"{self.code}: {self.text}" + (f" [{source}]" if source else "")
        return f"{text} Remedy: {self.remedy}" if self.remedy else text


@dataclass(frozen=True, slots=True)
class Obligation:
    """What acting on an answer demands; ``due_time`` None: no date applies."""

    kind: ObligationKind
    due_time: datetime | None
    detail: str
    citation: str


@dataclass(frozen=True, slots=True)
class FaceDecision:
    """The answer for one face; ``index`` is its position in the request."""

    index: int
    outcome: Outcome
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    subject_ref: str
    basis_indices: tuple[int, ...]
    release_ids: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether the operation may be done on this face."""
        return self.outcome in ALLOWED


@dataclass(frozen=True, slots=True)
class PackReference:
    """One version of one law pack that was evaluated."""

    pack_id: str
    version: int
    sha256: bytes
    activation_index: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The recorded answer to one check. ``print`` it to read it.

    Attributes:
        outcome: the strictest of all faces and of what holds for the whole request.
        permit: JWT for the allowed part; empty where none was wanted or can be given. A secret: it is left out of
            ``repr`` and ``str``.
        observed_only: nothing is enforced for this operation yet; the outcome is what would be decided.
        late: it was asked for after it was done; what was recorded since does not make it right.
    """

    decision_id: str
    outcome: Outcome
    faces: tuple[FaceDecision, ...]
    reasons: tuple[Reason, ...]
    obligations: tuple[Obligation, ...]
    entry: EntryReference
    check_time: datetime | None
    expire_time: datetime | None
    engine_version: str
    packs: tuple[PackReference, ...]
    observed_only: bool
    previous_decision_id: str
    late: bool = False
    occur_time: datetime | None = None
    permit: str = field(default="", repr=False)

    @property
    def allowed(self) -> bool:
        """Whether the whole operation may be done, on every face."""
        return self.outcome in ALLOWED

    def __str__(self) -> str:
        head = f"{self.outcome} {self.decision_id} (ledger index {self.entry.index})"
        lines = [f"{head}, observed only" if self.observed_only else head]
        lines += [f"  {reason}" for reason in self.reasons]
        for face in self.faces:
            codes = ", ".join(reason.code for reason in face.reasons)
            lines.append(f"  face {face.index}: {face.outcome}" + (f" ({codes})" if codes else ""))
            lines += [f"    {reason}" for reason in face.reasons if reason not in self.reasons]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class StoredPhoto:
    """What became of an upload; an empty ``photo_id``: STORE was not allowed and nothing was kept."""

    photo_id: str
    decision: Decision
    entry: EntryReference | None
    size: int
    content_type: str
    width: int
    height: int
    destroy_by_time: datetime | None

    @property
    def stored(self) -> bool:
        """Whether the vault keeps it."""
        return bool(self.photo_id)


@dataclass(frozen=True, slots=True)
class StoredIdentifier:
    """What became of an identifier; an empty ``identifier_id``: STORE was not allowed and nothing was kept."""

    identifier_id: str
    decision: Decision
    entry: EntryReference | None
    destroy_by_time: datetime | None

    @property
    def stored(self) -> bool:
        """Whether the vault keeps it."""
        return bool(self.identifier_id)


@dataclass(frozen=True, slots=True)
class OpenedPhoto:
    """A photo in the clear, ``size`` bytes; ``masked_boxes`` are the faces that the permit does not cover."""

    content_type: str
    size: int
    width: int
    height: int
    masked: bool
    masked_boxes: tuple[Box, ...]
    entry: EntryReference
    content: bytes = field(default=b"", repr=False)

    def with_content(self, content: bytes) -> OpenedPhoto:
        """Return the same photo with its bytes."""
        return replace(self, content=content)


@dataclass(frozen=True, slots=True)
class OpenedIdentifier:
    """An identifier in the clear; its holder has a copy that it must account for."""

    identifier: identifier_pb2.Identifier
    entry: EntryReference
    template: bytes = field(repr=False)


def read_decision(message: decision_pb2.Decision, permit: str = "") -> Decision:
    """Read a decision, with the permit that came beside it."""
    return Decision(
        decision_id=message.decision_id,
        outcome=Outcome.read(message.outcome),
        faces=tuple(map(_read_face, message.faces)),
        reasons=tuple(map(_read_reason, message.reasons)),
        obligations=tuple(map(_read_obligation, message.obligations)),
        entry=read_entry(message.entry),
        check_time=_time(message, "check_time"),
        expire_time=_time(message, "expire_time"),
        engine_version=message.engine_version,
        packs=tuple(
            PackReference(pack.pack_id, pack.version, pack.sha256, pack.activation_index) for pack in message.packs
        ),
        observed_only=message.observed_only,
        previous_decision_id=message.previous_decision_id,
        late=message.late,
        occur_time=_time(message, "occur_time"),
        permit=permit,
    )


def read_check(message: gate_service_pb2.CheckResponse) -> Decision:
    """Read the answer to a Check."""
    return read_decision(message.decision, message.permit)


def read_stored_photo(message: vault_service_pb2.UploadPhotoResponse) -> StoredPhoto:
    """Read the answer to an upload."""
    return StoredPhoto(
        photo_id=message.photo_id,
        decision=read_decision(message.decision),
        entry=read_entry(message.entry) if message.HasField("entry") else None,
        size=message.size,
        content_type=message.content_type,
        width=message.width,
        height=message.height,
        destroy_by_time=_time(message, "destroy_by_time"),
    )


def read_stored_identifier(message: vault_service_pb2.StoreIdentifierResponse) -> StoredIdentifier:
    """Read what became of an identifier."""
    return StoredIdentifier(
        identifier_id=message.identifier_id,
        decision=read_decision(message.decision),
        entry=read_entry(message.entry) if message.HasField("entry") else None,
        destroy_by_time=_time(message, "destroy_by_time"),
    )


def read_opened_photo(header: vault_service_pb2.OpenPhotoHeader) -> OpenedPhoto:
    """Read the header of an opened photo; its bytes follow."""
    return OpenedPhoto(
        content_type=header.content_type,
        size=header.size,
        width=header.width,
        height=header.height,
        masked=header.masked,
        masked_boxes=tuple(map(_read_box, header.masked_boxes)),
        entry=read_entry(header.entry),
    )


def read_opened_identifier(message: vault_service_pb2.OpenIdentifierResponse) -> OpenedIdentifier:
    """Read an opened identifier."""
    return OpenedIdentifier(
        identifier=message.opened.identifier, entry=read_entry(message.entry), template=message.opened.template
    )


def read_entry(message: ledger_pb2.EntryReference) -> EntryReference:
    """Read where the ledger holds something."""
    return EntryReference(message.ledger, message.index, message.leaf_hash)


def _read_face(message: decision_pb2.FaceDecision) -> FaceDecision:
    return FaceDecision(
        index=message.index,
        outcome=Outcome.read(message.outcome),
        reasons=tuple(map(_read_reason, message.reasons)),
        obligations=tuple(map(_read_obligation, message.obligations)),
        subject_ref=message.subject_ref,
        basis_indices=tuple(message.basis_indices),
        release_ids=tuple(message.release_ids),
    )


def _read_reason(message: decision_pb2.Reason) -> Reason:
    return Reason(
        code=message.code,
        rule_id=message.rule_id,
        rule_version=message.rule_version,
        pack_id=message.pack_id,
        citation=message.citation,
        grade=Grade.read(message.grade),
        text=message.text,
        remedy=message.remedy,
        outcome=Outcome.read(message.outcome),
    )


def _read_obligation(message: decision_pb2.Obligation) -> Obligation:
    return Obligation(ObligationKind.read(message.kind), _time(message, "due_time"), message.detail, message.citation)


def _read_box(box: photo_pb2.Box) -> Box:
    return Box(box.x, box.y, box.width, box.height)


def _time(message: Message, name: str) -> datetime | None:
    if not message.HasField(name):
        return None
    stamp: Timestamp = getattr(message, name)
    return stamp.ToDatetime(tzinfo=UTC)
