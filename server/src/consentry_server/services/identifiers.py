"""Biometric identifiers: stored and opened only under a permit whose basis is looked at again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.decisions import read_decision
from consentry_server.core.record.facts import Identifier, OperationRequest, Subject
from consentry_server.core.vocabulary import BIOMETRIC_CATEGORIES, DataCategory, Operation, Outcome, RecordClass
from consentry_server.services.checks import ALLOWED, Asked
from consentry_server.services.context import (
    Answer,
    Caller,
    RequestKey,
    earlier,
    new_id,
    refused,
    remember,
    require_slug,
)
from consentry_server.services.gate import face_again
from consentry_server.services.retention import key_owner
from consentry_server.services.sealing import Sealing

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from consentry_server.core.permit import Permit
    from consentry_server.core.record.decisions import RecordedDecision
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.checks import Checked
    from consentry_server.services.gate import Gate
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.keys import Keys
    from consentry_server.services.sequencer import Sequencer

MAX_TEMPLATE_BYTES = 64 * 1024
MAX_QUALITY = 100
MAKING = frozenset({Operation.ENROLL, Operation.CAPTURE})
"""Operations whose permit may store what they made."""
COMPARING = frozenset({Operation.VERIFY, Operation.IDENTIFY})
"""Operations whose permit may open a stored identifier."""


@dataclass(frozen=True, slots=True)
class IdentifierDraft:
    """An identifier as the processor made it.

    Args:
        template: The bytes, at most 64 KiB.
        details: What else is said of it (format version, quality, capture device, replaced identifier); JSON values.
    """

    category: DataCategory
    template: bytes
    format: str
    algorithm_id: str
    algorithm_version: str
    collection_method_id: str
    format_version: str = ""
    quality: int | None = None
    capture_device: str = ""
    replaces: str = ""
    key: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class StoredIdentifier:
    """The answer to a store: an identifier, or a recorded refusal with none."""

    checked: Checked | None
    identifier: Identifier | None
    recorded: Recorded


class Identifiers:
    """One tenant's identifiers."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        gate: Gate,
        keys: Keys,
        issuer: Issuer,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._sequencer = sequencer
        self._gate = gate
        self._keys = keys
        self._issuer = issuer
        self._clock = clock
        self._random = random
        self._sealing = Sealing(keys=keys, random=random)

    async def store(self, caller: Caller, token: str, face_index: int, draft: IdentifierDraft) -> StoredIdentifier:
        """Store what an allowed operation made of one face.

        1. The permit is genuine, in time, the caller's, and for an operation that makes identifiers.
        2. The face was allowed by its decision, and its person is known.
        3. Storing is decided on its own, at this place in the ledger, and recorded; the permit's basis still holds.
        4. The ciphertext and the entry become durable together.

        Args:
            caller: Who stores.
            token: The permit.
            face_index: Which face of the decision.
            draft: The identifier.

        Returns:
            The identifier, or the recorded refusal.

        Raises:
            ConsentryError: ``PERMIT_*``, ``BASIS_GONE``, ``FIELD_*``, ``TOO_LARGE``, ``NOT_FOUND``, ``STATE_CONFLICT``.
        """
        _check_draft(draft)
        # (1) the permit
        permit = self._permit(caller, token, MAKING)
        decision = await self._decision(permit)
        reference = _allowed_person(decision, face_index)
        identifier_id = new_id("idf", self._random)
        held = await asyncio.to_thread(self._sequencer.store.fetch_record, "subject", reference)
        generation = 0 if held is None else from_body(Subject, held).key_generation
        owner = key_owner(reference, generation)
        blob = await asyncio.to_thread(self._keys.seal, RecordClass.BIOMETRIC, owner, identifier_id, draft.template)
        dek_id = (await asyncio.to_thread(self._keys.dek, RecordClass.BIOMETRIC, owner)).dek_id
        sealed = await self._sealing.seal({"capture_device": draft.capture_device}, reference)

        def command(book: Book) -> StoredIdentifier:
            found = earlier(book, draft.key)
            if found is not None and "identifier" in found.entry:
                return _stored_before(book, found)
            # (2) the face, and that no destruction is taking its key away
            known = self._gate.find_decision(book, permit.decision_id)
            _allowed_person(known, face_index)
            _require_key(book, reference, generation)
            # (3) the decision
            request = OperationRequest(
                operation=Operation.STORE,
                purpose=known.request.purpose,
                category=draft.category,
                regions=known.request.regions,
                uses_face_geometry=True,
                identifies=True,
                stored=True,
                linked_identity=True,
                algorithm_id=draft.algorithm_id,
                algorithm_version=draft.algorithm_version,
                collection_method_id=draft.collection_method_id,
            )
            face = face_again(book, known.faces[face_index])
            asked = Asked(request=request)
            if self._gate.consider(book, request, [face]).outcome not in ALLOWED:
                refusal = asked._replace(key=draft.key)
                checked = self._gate.decide_on(book, caller, refusal, [face], photo_ref="")
                return StoredIdentifier(checked, None, checked.recorded)
            if not self._gate.basis_holds(book, known, [face_index]):  # what made it may be denied since
                raise ConsentryError(
                    Reason.BASIS_GONE,
                    "the basis of this permit is gone: check again before storing anything made under it",
                    field="permit",
                )
            checked = self._gate.decide_on(book, caller, asked, [face], photo_ref="")
            # (4) entry and ciphertext
            identifier = Identifier(
                identifier_id=identifier_id,
                index=-1,
                time=book.now,
                subject_ref=reference,
                category=draft.category,
                purpose=known.request.purpose,
                algorithm_id=draft.algorithm_id,
                algorithm_version=draft.algorithm_version,
                format=draft.format,
                dek_id=dek_id,
                decision_index=checked.recorded.index,
                key_owner=owner,
            )
            stated = to_plain(identifier)
            for given_by_entry in ("index", "time", "subject_ref"):
                del stated[given_by_entry]
            body = {"decision_id": checked.decision_id, "identifier": stated, **_details(draft)}
            if sealed is not None:
                body["sealed"] = sealed.put(book)
            recorded = book.append("identifier.stored", caller.actor, body, [reference])
            book.sealed[identifier_id] = blob
            remember(book, draft.key, recorded)
            return StoredIdentifier(checked, book.get(Identifier, identifier_id), recorded)

        return await self._sequencer.submit(command)

    async def open(
        self, caller: Caller, token: str, identifier_id: str
    ) -> tuple[Identifier, dict[str, Any], bytes, Recorded]:
        """Open an identifier for a comparison.

        Args:
            caller: Who opens.
            token: A permit for a comparison that allowed this identifier's person.
            identifier_id: Which one.

        Returns:
            What is known of it, its entry, the template, and the entry that recorded the opening.

        Raises:
            ConsentryError: ``PERMIT_*``, ``BASIS_GONE``, ``NOT_FOUND``, ``DESTROYED``.
        """
        permit = self._permit(caller, token, COMPARING)

        def command(book: Book) -> tuple[Identifier, dict[str, Any], Recorded, ConsentryError | None]:
            decision = self._gate.find_decision(book, permit.decision_id)
            identifier = book.get(Identifier, identifier_id)
            if identifier is None:
                raise ConsentryError(Reason.NOT_FOUND, "no such identifier", field="identifier_id")
            faces = [
                place
                for place, face in enumerate(decision.faces)
                if face.outcome is Outcome.ALLOW and face.subject_ref == identifier.subject_ref
            ]
            refusal: ConsentryError | None = None
            if identifier.destruction_id:
                refusal = ConsentryError(
                    Reason.DESTROYED, "this identifier is destroyed or about to be", field="identifier_id"
                )
            elif not faces:
                refusal = ConsentryError(
                    Reason.PERMIT_MISMATCH, "this permit does not allow this identifier's person", field="identifier_id"
                )
            elif not self._may_compare(book, decision, faces, identifier):
                refusal = ConsentryError(
                    Reason.BASIS_GONE,
                    "the basis of this permit is gone: check again before comparing anything",
                    field="permit",
                )
            body = {"decision_id": decision.decision_id, "identifier_id": identifier_id}
            if refusal is not None:
                body["reason"] = str(refusal.reason)
            entry_type = "identifier.opened" if refusal is None else "identifier.refused"
            recorded = book.append(entry_type, caller.actor, body, [identifier.subject_ref])
            entry = book.entry(identifier.index) or {}
            return identifier, entry, recorded, refusal

        identifier, entry, recorded, refusal = await self._sequencer.submit(command)
        if refusal is not None:
            raise refused(refusal, recorded)
        template = await asyncio.to_thread(self._template, identifier_id, identifier.key_owner)
        return identifier, entry, template, recorded

    def _may_compare(self, book: Book, decision: RecordedDecision, faces: list[int], identifier: Identifier) -> bool:
        """Whether the permit's operation is allowed now on this very identifier: its category, its algorithm."""
        request = replace(
            decision.request,
            category=identifier.category,
            algorithm_id=identifier.algorithm_id,
            algorithm_version=identifier.algorithm_version,
            uses_face_geometry=True,
            identifies=True,
            stored=True,
        )
        again = [face_again(book, decision.faces[place]) for place in faces]
        on_this_one = self._gate.consider(book, request, again)
        return self._gate.basis_holds(book, decision, faces) and on_this_one.outcome is Outcome.ALLOW

    async def of_person(self, subject_ref: str) -> list[tuple[Identifier, dict[str, Any]]]:
        """Identifiers that are held of a person, with their entries."""
        return await asyncio.to_thread(self._of_person, subject_ref)

    def _of_person(self, subject_ref: str) -> list[tuple[Identifier, dict[str, Any]]]:
        store = self._sequencer.store
        body = store.fetch_record("subject", subject_ref)
        held = () if body is None else from_body(Subject, body).identifiers
        found = []
        for identifier_id in held:
            record = store.fetch_record("identifier", identifier_id)
            if record is not None:
                identifier = from_body(Identifier, record)
                found.append((identifier, orjson.loads(store.fetch_entry(identifier.index) or b"{}")))
        return found

    def _template(self, identifier_id: str, owner: str) -> bytes:
        blob = self._sequencer.store.fetch_sealed(identifier_id)
        if blob is None:
            raise ConsentryError(Reason.DESTROYED, "this identifier was destroyed", field="identifier_id")
        return self._keys.open(RecordClass.BIOMETRIC, owner, identifier_id, blob)

    def _permit(self, caller: Caller, token: str, operations: frozenset[Operation]) -> Permit:
        permit = self._issuer.verify_permit(token, caller.name, self._clock())
        if permit.operation not in operations:
            names = ", ".join(sorted(operations))
            raise ConsentryError(
                Reason.PERMIT_MISMATCH, f"a permit for {permit.operation} does not serve here: {names}", field="permit"
            )
        if not permit.biometric:
            raise ConsentryError(
                Reason.PERMIT_MISMATCH, "a non-biometric permit never serves an identifier", field="permit"
            )
        return permit

    async def _decision(self, permit: Permit) -> RecordedDecision:
        data = await asyncio.to_thread(self._sequencer.store.fetch_entry, permit.ledger_index)
        entry = {} if data is None else orjson.loads(data)
        if entry.get("decision_id") != permit.decision_id:
            raise ConsentryError(
                Reason.PERMIT_INVALID, "this ledger does not hold the decision that the permit names", field="permit"
            )
        return read_decision(entry)


def _check_draft(draft: IdentifierDraft) -> None:
    if draft.category not in BIOMETRIC_CATEGORIES:
        raise ConsentryError(
            Reason.FIELD_INVALID, "identifier.category must be a biometric one", field="identifier.category"
        )
    if not draft.template:
        raise ConsentryError(Reason.FIELD_REQUIRED, "template is required", field="template")
    if len(draft.template) > MAX_TEMPLATE_BYTES:
        raise ConsentryError(Reason.TOO_LARGE, f"template has more than {MAX_TEMPLATE_BYTES} bytes", field="template")
    for name, value in (
        ("format", draft.format),
        ("algorithm_id", draft.algorithm_id),
        ("collection_method_id", draft.collection_method_id),
    ):
        require_slug(value, f"identifier.{name}")
    if draft.quality is not None and not 0 <= draft.quality <= MAX_QUALITY:
        raise ConsentryError(
            Reason.FIELD_INVALID, "identifier.quality must be from 0 to 100", field="identifier.quality"
        )


def _details(draft: IdentifierDraft) -> dict[str, Any]:
    optional = {
        "format_version": draft.format_version,
        "replaces": draft.replaces,
    }
    said: dict[str, Any] = {name: value for name, value in optional.items() if value}
    said["collection_method_id"] = draft.collection_method_id
    if draft.quality is not None:
        said["quality"] = draft.quality
    return said


def _allowed_person(decision: RecordedDecision, face_index: int) -> str:
    """The person of an allowed face.

    Raises:
        ConsentryError: ``FIELD_INVALID`` or ``PERMIT_MISMATCH``.
    """
    if not 0 <= face_index < len(decision.faces):
        raise ConsentryError(Reason.FIELD_INVALID, "the decision has no such face", field="face_index")
    face = decision.faces[face_index]
    if decision.observed_only or face.outcome is not Outcome.ALLOW or not face.subject_ref:
        raise ConsentryError(
            Reason.PERMIT_MISMATCH,
            "this face was not allowed, or only observed, or nobody is named for it",
            field="face_index",
        )
    return face.subject_ref


def _require_key(book: Book, subject_ref: str, generation: int) -> None:
    """Seal nothing under a key that a destruction has taken, or is about to take, away.

    Raises:
        ConsentryError: ``STATE_CONFLICT``.
    """
    if book.subject(subject_ref).key_generation != generation:
        raise ConsentryError(
            Reason.STATE_CONFLICT, "a destruction for this person came in between: check again, then store again"
        )


def _stored_before(book: Book, found: Answer) -> StoredIdentifier:
    identifier_id = found.entry.get("identifier", {}).get("identifier_id", "")
    return StoredIdentifier(None, book.get(Identifier, identifier_id), found.recorded)
