"""One check, from its caller's words to its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from consentry_server.core.permit import Permit, PermitFace
from consentry_server.core.record.facts import Box, Face, OperationRequest, Subject
from consentry_server.core.vocabulary import AgeBand, DataCategory, KnownBy, Outcome
from consentry_server.services.context import Caller, RequestKey, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.core.law import Decision, FaceDecision
    from consentry_server.core.record.facts import ActivePack
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.gate import Gate
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.people import People
    from consentry_server.services.sealing import Sealed

R = TypeVar("R")

NOBODY = b""
"""Instead of the blind index of a person, where nobody is named."""
ALLOWED = frozenset({Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC})


class AskedFace(NamedTuple):
    """One face as the caller names it.

    Args:
        subject_id: The caller's own id of the person; empty where unidentified.
    """

    subject_id: str = ""
    known_by: KnownBy = KnownBy.UNKNOWN
    regions: frozenset[str] = frozenset()
    age_band: AgeBand = AgeBand.UNKNOWN
    box: Box | None = None


class Asked(NamedTuple):
    """One check as the caller puts it.

    Args:
        request: Facts about the operation.
        faces: One for each face; empty counts as one unidentified face where the operation is about faces.
        photo_id: A stored photo, or empty.
        photo_sha256: The photo's SHA-256, 32 bytes, or empty.
        disclosure_evidence: Reference to a warrant, an authorisation and so on; sealed.
        want_permit: Whether a permit is wanted where the answer allows one.
        audience: Who will present the permit; the caller itself by default.
        key: The request's idempotency key.
        occurred_at: When the operation took place, as the caller claims; None is now.
    """

    request: OperationRequest
    faces: tuple[AskedFace, ...] = ()
    photo_id: str = ""
    photo_sha256: bytes = b""
    disclosure_evidence: str = ""
    want_permit: bool = False
    audience: str = ""
    key: RequestKey | None = None
    occurred_at: datetime | None = None


class Checked(NamedTuple):
    """The answer to one check."""

    decision: Decision
    decision_id: str
    recorded: Recorded
    expires_at: datetime
    packs: tuple[ActivePack, ...]
    subject_refs: tuple[str, ...]
    """One for each face of the decision; empty where nobody is named."""
    permit: str = ""
    previous_decision_id: str = ""
    late: datetime | None = None
    """When it took place, as the caller claims, where this is a late report."""
    observed_only: bool = False
    """Whether nothing is enforced for this operation: there is no permit, whatever the outcome."""


class Check(Generic[R]):
    """One check on its way; see ``sequencer.Work``.

    Args:
        caller: Who asks.
        read: Reads what it asks.
        gate: Decides and records.
        write: Makes the answer.
        evidence: Its disclosure evidence, sealed.
        people: Resolves callers' ids of persons.
        issuer: Signs permits.
    """

    __slots__ = (
        "_caller",
        "_checked",
        "_evidence",
        "_gate",
        "_issuer",
        "_lookups",
        "_people",
        "_photo_ref",
        "_read",
        "_write",
        "asked",
    )

    def __init__(
        self,
        caller: Caller,
        read: Callable[[], Asked],
        gate: Gate,
        write: Callable[[Checked], R],
        evidence: Sealed | None,
        *,
        people: People,
        issuer: Issuer,
    ) -> None:
        self._caller = caller
        self._read = read
        self._gate = gate
        self._write = write
        self._evidence = evidence
        self._people = people
        self._issuer = issuer

    def prepare(self) -> RequestKey | None:
        """Read the request, and blind what it names."""
        asked = self.asked = self._read()
        self._lookups = [self._people.lookup(face.subject_id) if face.subject_id else NOBODY for face in asked.faces]
        self._photo_ref = self._issuer.blind_photo(asked.photo_sha256) if asked.photo_sha256 else ""
        return asked.key

    def run(self, book: Book) -> Checked:
        """Decide and record."""
        faces = _resolve(book, self.asked.faces, self._lookups)
        return self._gate.decide_on(
            book, self._caller, self.asked, faces, photo_ref=self._photo_ref, evidence=self._evidence, observable=True
        )

    def finish(self, checked: Checked) -> R | None:
        """The answer, or None where its permit needs the hash of a stored photo first."""
        asked = self.asked
        if checked.observed_only or not gives_permit(asked, checked.decision.faces):
            return self._write(checked)
        self._checked = checked
        return self.permit(asked.photo_sha256) if asked.photo_sha256 or not asked.photo_id else None

    def permit(self, photo_sha256: bytes) -> R:
        """The answer with a permit for the faces that were allowed.

        Args:
            photo_sha256: 32 bytes, or empty for no photo.
        """
        asked, checked = self.asked, self._checked
        allowed = [face for face in checked.decision.faces if face.outcome in ALLOWED]
        permit = Permit(
            issuer=self._issuer.ledger,
            audience=asked.audience or self._caller.name,
            decision_id=checked.decision_id,
            operation=asked.request.operation,
            purpose=asked.request.purpose,
            photo_sha256=photo_sha256.hex(),
            faces=_permit_faces(allowed, asked.faces),
            biometric=any(face.outcome is Outcome.ALLOW for face in allowed),
            ledger_index=checked.recorded.index,
            leaf_hash=checked.recorded.leaf_hash.hex(),
            issued_at=checked.recorded.time,
            expires_at=checked.expires_at,
        )
        return self._write(checked._replace(permit=self._issuer.sign_permit(permit)))


def _resolve(book: Book, asked: Sequence[AskedFace], lookups: Sequence[bytes]) -> list[Face]:
    """What is known of each person; one who was never named before gets a reference and no facts."""
    faces: list[Face] = []
    for face, lookup in zip(asked, lookups, strict=True):
        subject: Subject | None = None
        if face.subject_id:
            known = book.reference(lookup)
            subject = book.subject(known or book.ensure_reference(lookup, new_id("sub", book.random)))
        faces.append(Face(subject, face.known_by, face.regions, face.age_band, face.box))
    return faces


def _permit_faces(allowed: Sequence[FaceDecision], asked: Sequence[AskedFace]) -> tuple[PermitFace, ...]:
    """The allowed faces that have a box; one that has none is allowed by the decision that the permit names."""
    boxes = [(face.index, asked[face.index].box) for face in allowed if face.index < len(asked)]
    return tuple(PermitFace(index=index, box=box) for index, box in boxes if box is not None)


def gives_permit(asked: Asked, answers: Sequence[FaceDecision]) -> bool:
    """Whether a permit is wanted and given: some face is allowed, and the others can be masked."""
    return asked.want_permit and any(answer.outcome in ALLOWED for answer in answers) and _maskable(asked, answers)


def _maskable(asked: Asked, answers: Sequence[FaceDecision]) -> bool:
    """Whether every refused face of a photo has a box, so that it can be masked before anything is opened."""
    if asked.request.category is not DataCategory.PHOTO and not asked.photo_id:
        return True
    refused = [answer.index for answer in answers if answer.outcome not in ALLOWED]
    return all(index < len(asked.faces) and asked.faces[index].box is not None for index in refused)
