"""The gate: decides, records the decision, and looks at its basis again when the vault asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import decide
from consentry_server.core.law.enforcement import is_observed
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.decisions import FaceOnRecord, RecordedDecision, decision_body, read_decision
from consentry_server.core.record.facts import Face, OperationRequest, Photo
from consentry_server.core.record.reviews import raised
from consentry_server.core.vocabulary import (
    KnownBy,
    Outcome,
    ProcessingResult,
    Publisher,
    RecordClass,
    SourceKind,
    Visibility,
)
from consentry_server.services.artifacts import as_on_record, with_people
from consentry_server.services.checks import ALLOWED, Asked, Check, Checked, gives_permit
from consentry_server.services.context import Answer, Caller, RequestKey, earlier, new_id, once, remember
from consentry_server.services.late import (
    SAID_OF_SOURCE,
    claimed,
    faces_then,
    request_then,
    said_then,
    size_before,
    stricter,
    tenant_then,
)
from consentry_server.services.release_checks import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from consentry_server.core.law import Decision, FaceDecision, Finding
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.keys import Keys
    from consentry_server.services.packs import Packs
    from consentry_server.services.people import People
    from consentry_server.services.sealing import Sealed, Sealing
    from consentry_server.services.sequencer import Sequencer

R = TypeVar("R")

MAX_FACES = 256
MAX_REMEMBERED = 8_192
"""How many rulings' names are kept; more than the packs make only cost the naming."""
DECISION_PREFIX = "dec"
DECISION_ID_CHARACTERS = 16
"""The index makes a decision's id unique; 80 random bits keep it from being guessed."""
W = TypeVar("W", Visibility, Publisher, SourceKind)


def _stricter(words: Sequence[W]) -> dict[tuple[W, W], W]:
    """Of two words the stricter; what is unknown gives way to what is said."""
    return {(one, other): max(one, other, key=words.index) for one in words for other in words}


_VISIBILITY = _stricter(tuple(Visibility))
"""In its order: unknown, then from public to a direct message."""
_PUBLISHER = _stricter(tuple(Publisher))
_SOURCE_KIND = _stricter(
    (
        SourceKind.UNKNOWN,
        SourceKind.ON_DEVICE,
        SourceKind.LIVE_CAPTURE,
        SourceKind.UPLOADED,
        SourceKind.DATASET,
        SourceKind.SCRAPED,
    )
)

_named: dict[tuple[int, Outcome], tuple[tuple[str, ...], tuple[Finding, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Processed:
    """What was done after a decision, as its caller reports it."""

    decision_id: str
    result: ProcessingResult
    performed_at: datetime | None = None
    algorithm_id: str = ""
    algorithm_version: str = ""
    faces: tuple[int, ...] = ()
    detail: str = ""
    key: RequestKey | None = None


class Gate:
    """Check and RecordProcessing for one tenant.

    Args:
        sequencer: The tenant's ledger.
        keys: Opens a stored photo's hash for its permit.
        issuer: Signs permits.
        packs: Compiled law packs.
        sealing: Where callers' words go.
        people: Resolves callers' ids of persons.
        engine_version: Named in every decision.
        permit_life: How long an answer and its permit hold.
        unknown_regions: Regions that count where a person's residence is unknown.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        keys: Keys,
        issuer: Issuer,
        packs: Packs,
        sealing: Sealing,
        people: People,
        engine_version: str,
        permit_life: timedelta,
        unknown_regions: frozenset[str],
    ) -> None:
        self._sequencer = sequencer
        self._keys = keys
        self._issuer = issuer
        self._packs = packs
        self._sealing = sealing
        self._people = people
        self._engine_version = engine_version
        self._permit_life = permit_life
        self._unknown_regions = unknown_regions

    async def check(self, caller: Caller, asked: Asked) -> Checked:
        """Decide one request and record the decision.

        Args:
            caller: Who asks.
            asked: What it asks.

        Returns:
            The answer, durable.

        Raises:
            ConsentryError: Bad input, an unknown photo, or the decision could not be recorded. Never a denial.
        """
        said = asked.disclosure_evidence
        evidence = await self._sealing.seal({"disclosure_evidence": said}) if said else None
        return await self.answer(caller, lambda: asked, _unchanged, evidence)

    async def answer(
        self,
        caller: Caller,
        read: Callable[[], Asked],
        write: Callable[[Checked], R],
        evidence: Sealed | None = None,
    ) -> R:
        """Check a request that is still to be read: many are read and written at once.

        Args:
            caller: Who asks.
            read: Reads what it asks; must not block.
            write: Makes the answer; must not block.
            evidence: Its disclosure evidence, sealed.

        Returns:
            What ``write`` made.

        Raises:
            ConsentryError: As :meth:`check`, and what ``read`` raises.
        """
        check = Check(caller, read, self, write, evidence, people=self._people, issuer=self._issuer)
        answer = await self._sequencer.enqueue(check)
        if answer is not None:
            return answer
        return check.permit(await asyncio.to_thread(self._digest, check.asked.photo_id))

    def decide_on(
        self,
        book: Book,
        caller: Caller,
        asked: Asked,
        faces: Sequence[Face],
        *,
        photo_ref: str,
        evidence: Sealed | None = None,
        observable: bool = False,
    ) -> Checked:
        """Decide and record, on the writer.

        1. Find the photo; what is on record of its source fills what the caller left unsaid.
        2. Decide on the facts as they are at this place in the ledger.
        3. Answer a repeated request with the recorded decision while nothing relevant has changed.
        4. Record the decision.

        Args:
            book: The writer's view.
            caller: Who asks.
            asked: What it asks.
            faces: Its faces, resolved to what is known of each person.
            photo_ref: Keyed hash of the photo's SHA-256 where the caller named the photo by it.
            evidence: Sealed words that go with the request.
            observable: Whether an officer's switch to observing reaches it; what the vault decides is always enforced.

        Returns:
            The answer without a permit.

        Raises:
            ConsentryError: ``NOT_FOUND`` or ``DESTROYED`` for the photo, ``REQUEST_ID_REUSED``.
        """
        # (1) the photo
        photo = held_photo(book, asked.photo_id)
        request = asked.request if photo is None else with_source(asked.request, photo)
        photo_ref = photo_ref if photo is None else ""  # the entry that stored it has it
        if photo is not None and not faces:
            faces = _depicted(book, photo)
        if request.artifact_id:
            request, faces = as_on_record(book, request), with_people(book, request, faces)
        # (2) the decision
        active = book.tenant.packs
        decision = self._decide(book, request, faces)
        late, said = claimed(book.now, asked.occurred_at), None
        if late is not None:
            size = size_before(book, late)
            said = said_then(asked.request, photo, size)
            artifact = book.get(Artifact, request.artifact_id) if request.artifact_id else None
            then = request_then(request, said, artifact, size)
            decision = stricter(decision, self._decide_then(book, then, faces, late, size))
        switches = book.tenant.enforcement
        observed = bool(switches) and observable and is_observed(switches, request.operation, book.now)
        # (3) asked before?
        found = earlier(book, asked.key)
        on_record = faces_on_record(decision, faces)
        people = tuple(face.subject_ref for face in on_record)
        packs = tuple(pack.index for pack in active)
        previous: RecordedDecision | None = None
        if found is not None:
            previous = read_decision(found.entry)
            same = previous.observed_only is observed and self._still_says(previous, decision, on_record, packs)
            if same and previous.expires_at > book.now:
                return Checked(
                    decision,
                    previous.decision_id,
                    found.recorded,
                    previous.expires_at,
                    active,
                    people,
                    late=late,
                    observed_only=observed,
                )
        # (4) the record
        references = list(dict.fromkeys(filter(None, people)))
        decision_id = new_id(f"{DECISION_PREFIX}_{book.next_index}", book.random, DECISION_ID_CHARACTERS)
        expires_at = book.now + self._permit_life
        body = decision_body(
            decision_id=decision_id,
            request=request,
            outcome=decision.outcome,
            faces=on_record,
            people=references,
            packs=packs,
            engine=self._engine_version,
            valid_seconds=int(self._permit_life.total_seconds()),
            photo_id=asked.photo_id,
            photo_ref=photo_ref,
            previous_index=previous.index if previous else -1,
        )
        if observed:
            body["observed_only"] = True
        elif gives_permit(asked, decision.faces):
            body["permit"] = True
        if late is not None:
            body |= {"occurred_at": format_time(late), "late": True}
            if said is not None:
                body[SAID_OF_SOURCE] = to_plain(said)
        if relied := [each for face in decision.faces for each in face.determination_ids]:
            body["determinations"] = list(dict.fromkeys(relied))
        if decision.outcome not in ALLOWED and (reviews := raised(request, on_record)):
            body["reviews"] = reviews
        if evidence is not None:
            body["sealed"] = evidence.put(book)
        recorded = book.append("decision", caller.actor, body, references)
        remember(book, asked.key, recorded)
        return Checked(
            decision,
            decision_id,
            recorded,
            expires_at,
            active,
            people,
            previous_decision_id=previous.decision_id if previous else "",
            late=late,
            observed_only=observed,
        )

    def _still_says(
        self, previous: RecordedDecision, decision: Decision, faces: tuple[FaceOnRecord, ...], packs: tuple[int, ...]
    ) -> bool:
        """Whether a recorded decision is what would be recorded now, by the same code and packs."""
        then = (previous.outcome, previous.faces, previous.packs, previous.engine)
        return then == (decision.outcome, faces, packs, self._engine_version)

    def basis_holds(self, book: Book, decision: RecordedDecision, faces: Sequence[int]) -> bool:
        """Whether what was allowed is allowed now, on the very basis that it was allowed on.

        A new release does not revive a permit from before a withdrawal: it needs a decision of its own.

        Args:
            book: The writer's view.
            decision: The recorded decision.
            faces: Which of its faces were allowed.

        Returns:
            False as soon as one of them has another outcome or rests on other entries; False for none, and for a
            decision that was only observed.
        """
        if decision.observed_only:
            return False
        recorded = [decision.faces[place] for place in faces]
        now = self._decide(book, decision.request, [face_again(book, face) for face in recorded]).faces
        return bool(recorded) and all(
            (answer.outcome, answer.basis) == (face.outcome, face.basis) and face.outcome in ALLOWED
            for answer, face in zip(now, recorded, strict=True)
        )

    def consider(self, book: Book, request: OperationRequest, faces: Sequence[Face]) -> Decision:
        """Decide without recording: for the vault, which records what it then does."""
        return self._decide(book, request, faces)

    async def record_processing(self, caller: Caller, processed: Processed) -> Answer:
        """Close the loop: record what was done after a decision.

        Args:
            caller: Who did it.
            processed: What was done.

        Returns:
            The entry.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such decision; ``FIELD_INVALID``: a face it did not have.
        """
        sealed = await self._sealing.seal({"detail": processed.detail})

        def command(book: Book) -> Answer:
            decision = self.find_decision(book, processed.decision_id)
            count = len(decision.faces)
            if any(not 0 <= face < count for face in processed.faces):
                raise ConsentryError(
                    Reason.FIELD_INVALID,
                    f"faces holds an index the decision does not have: it had {count}",
                    field="faces",
                )

            def act() -> Recorded:
                body: dict[str, object] = {
                    "decision_id": decision.decision_id,
                    "decision_index": decision.index,
                    "result": str(processed.result),
                }
                if processed.algorithm_id:
                    body |= {"algorithm_id": processed.algorithm_id, "algorithm_version": processed.algorithm_version}
                if processed.faces:
                    body["faces"] = list(processed.faces)
                early = processed.performed_at is not None and processed.performed_at + CLOCK_TOLERANCE < decision.time
                if processed.performed_at is not None:
                    body["occurred_at"] = format_time(processed.performed_at)
                if early:
                    body["before_decision"] = True
                done = processed.result is ProcessingResult.PERFORMED
                if done and (early or _reaches_beyond(decision, processed.faces)):
                    body["without_permission"] = True
                if sealed is not None:
                    body["sealed"] = sealed.put(book)
                people = list(dict.fromkeys(face.subject_ref for face in decision.faces if face.subject_ref))
                return book.append("processing.reported", caller.actor, body, people)

            return once(book, processed.key, act)

        return await self._sequencer.submit(command)

    def find_decision(self, book: Book, decision_id: str) -> RecordedDecision:
        """Find a decision by its id, which names its ledger index.

        Raises:
            ConsentryError: ``NOT_FOUND``.
        """
        parts = decision_id.split("_")
        if len(parts) == 3 and parts[0] == DECISION_PREFIX and parts[1].isascii() and parts[1].isdigit():  # noqa: PLR2004 - prefix, index, random
            entry = book.entry(int(parts[1]))
            if entry is not None and entry.get("decision_id") == decision_id and entry["type"] == "decision":
                return read_decision(entry)
        raise ConsentryError(Reason.NOT_FOUND, "no such decision in this ledger", field="decision_id")

    def _decide(self, book: Book, request: OperationRequest, faces: Sequence[Face]) -> Decision:
        if request.artifact_id:
            request = as_on_record(book, request)
        return decide(
            request,
            faces,
            book.tenant,
            self._packs.compiled(book.tenant.packs),
            now=book.now,
            unknown_regions=self._unknown_regions,
        )

    def _decide_then(
        self, book: Book, request: OperationRequest, faces: Sequence[Face], time: datetime, size: int
    ) -> Decision:
        """Decide on what was recorded when the ledger had so many entries, by the law of that time."""
        tenant = tenant_then(book.tenant, size)
        return decide(
            request,
            faces_then(faces, size, self._unknown_regions),
            tenant,
            self._packs.compiled(tenant.packs),
            now=time,
            unknown_regions=self._unknown_regions,
        )

    def _digest(self, photo_id: str) -> bytes:
        """A stored photo's SHA-256, kept sealed under the photo's own key.

        Raises:
            ConsentryError: ``DESTROYED``: it went away since the decision; no permit may be bound to no photo instead.
        """
        blob = self._sequencer.store.fetch_sealed(photo_id)
        if blob is None:
            raise _destroyed()
        return self._keys.open(RecordClass.PHOTO, photo_id, photo_id, blob)


class Photographs(Protocol):
    """Where stored photos are looked up: a book, or what was committed."""

    def get(self, kind: type[Photo], key: str) -> Photo | None:
        """A photo by its id, or None."""


def held_photo(book: Photographs, photo_id: str) -> Photo | None:
    """The stored photo a request names.

    Raises:
        ConsentryError: ``NOT_FOUND`` or ``DESTROYED``.
    """
    if not photo_id:
        return None
    photo = book.get(Photo, photo_id)
    if photo is None:
        raise ConsentryError(Reason.NOT_FOUND, "no such photo", field="photo.photo_id")
    if photo.destruction_id:
        raise _destroyed()
    return photo


def _depicted(book: Book, photo: Photo) -> Sequence[Face]:
    """Where a request names nobody: whom the uploader said the photo shows, and whoever else may be in it."""
    said = [Face(book.subject(each), KnownBy.DECLARED_BY_UPLOADER) for each in photo.depicted]
    return [*said, Face(None)] if said else ()


def _destroyed() -> ConsentryError:
    return ConsentryError(
        Reason.DESTROYED, "this photo is destroyed or about to be: it serves nothing any more", field="photo.photo_id"
    )


def with_source(request: OperationRequest, photo: Photo) -> OperationRequest:
    """What the upload said of the source and what the caller says now, the stricter of each; the regions of both."""
    return replace(
        request,
        visibility=_VISIBILITY[request.visibility, photo.visibility],
        published_by=_PUBLISHER[request.published_by, photo.published_by],
        source_kind=_SOURCE_KIND[request.source_kind, photo.source_kind],
        captured_at=request.captured_at or photo.captured_at,
        regions=request.regions | photo.regions,
        new_york_city_establishment=_either(request.new_york_city_establishment, photo.new_york_city_establishment),
        portland_public_accommodation=_either(
            request.portland_public_accommodation, photo.portland_public_accommodation
        ),
    )


def _either(said: bool | None, recorded: bool | None) -> bool | None:  # noqa: FBT001 - facts, not switches
    """A venue's law applies if either says so: what is said of a photo on record never takes a venue away."""
    return True if said or recorded else recorded if said is None else said


def faces_on_record(decision: Decision, faces: Sequence[Face]) -> tuple[FaceOnRecord, ...]:
    """What the entry says of each face; a request about no face keeps the one answer it got."""
    return tuple(
        _face_on_record(answer, faces[place] if place < len(faces) else Face(None))
        for place, answer in enumerate(decision.faces)
    )


def _face_on_record(answer: FaceDecision, face: Face) -> FaceOnRecord:
    return FaceOnRecord(
        outcome=answer.outcome,
        subject_ref=face.subject.subject_ref if face.subject else "",
        known_by=face.known_by,
        regions=face.regions,
        age_band=face.age_band,
        box=face.box,
        rules=_rules(answer.reasons, answer.outcome),
        basis=answer.basis,
    )


def _rules(reasons: tuple[Finding, ...], outcome: Outcome) -> tuple[str, ...]:
    """The rules as entries name them. Rulings are made once, so that the identity of their reasons is the key."""
    key = (id(reasons), outcome)
    known = _named.get(key)
    if known is None:
        allowed = outcome in ALLOWED
        names = (finding.pack_id if allowed else f"{finding.rule_id}:{finding.code}" for finding in reasons)
        known = (tuple(dict.fromkeys(names)), reasons)  # the reasons are kept, so that no id is used again
        if len(_named) >= MAX_REMEMBERED:
            _named.clear()
        _named[key] = known
    return known[0]


def face_again(book: Book, face: FaceOnRecord) -> Face:
    """A recorded face with what is known of its person now."""
    subject = book.subject(face.subject_ref) if face.subject_ref else None
    return Face(subject, face.known_by, face.regions, face.age_band, face.box)


def _reaches_beyond(decision: RecordedDecision, faces: Sequence[int]) -> bool:
    """Whether processing was performed on a face that was not allowed; naming no face means all that were."""
    allowed = [place for place, face in enumerate(decision.faces) if face.outcome in ALLOWED]
    return not allowed or any(place not in allowed for place in faces)


def _unchanged(checked: Checked) -> Checked:
    return checked
