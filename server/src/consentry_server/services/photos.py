"""Photos: encrypted while they stream in, opened only under a permit whose basis is looked at again."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.image import HEAD_BYTES, ImageFacts, inspect
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.facts import Box, Face, OperationRequest, Photo
from consentry_server.core.vocabulary import (
    DataCategory,
    KnownBy,
    Operation,
    Outcome,
    Publisher,
    Purpose,
    RecordClass,
    SourceKind,
    Visibility,
)
from consentry_server.services.checks import ALLOWED, Asked
from consentry_server.services.context import Answer, Caller, RequestKey, earlier, new_id, refused, remember

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from consentry_server.core.record.decisions import RecordedDecision
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.checks import Checked
    from consentry_server.services.gate import Gate
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.keys import Keys
    from consentry_server.services.people import People
    from consentry_server.services.ports_vault import BlobStore, FaceMasker
    from consentry_server.services.sequencer import Sequencer

MAX_DEPICTED = 128
OUTCOME_UNKNOWN = frozenset({Reason.STORAGE_FAILED, Reason.DATA_DAMAGED})
"""After these it is not known what was committed."""
NOT_OPENING = frozenset({Operation.STORE, Operation.RETAIN})
"""What is done with a photo without looking at it."""
SHOWING = frozenset(
    {
        Operation.DISPLAY,
        Operation.HASH_IMAGE,
        Operation.CHECK_QUALITY,
        Operation.DETECT_FACES,
        Operation.ANALYZE_ATTRIBUTES,
        Operation.EXTRACT_TEMPLATE,
    }
)
"""What may open a photo without being biometric: showing it, and what a determination says cannot identify."""
CHUNK_BYTES = 512 * 1024
"""Size of the pieces in which a photo is given out."""


@dataclass(frozen=True, slots=True)
class PhotoLimits:
    """What an upload may be.

    Args:
        max_bytes: Size of the file.
        max_pixels: Width times height, against decompression bombs.
    """

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class UploadEnd:
    """The uploader's own statement of what it sent; without it an interrupted stream would look finished."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class PhotoDraft:
    """What an uploader says of a photo before its bytes."""

    owner_subject_id: str
    depicted_subject_ids: tuple[str, ...] = ()
    purpose: Purpose = Purpose.PHOTO_HOSTING
    visibility: Visibility = Visibility.UNKNOWN
    published_by: Publisher = Publisher.UNKNOWN
    source_kind: SourceKind = SourceKind.UNKNOWN
    captured_at: datetime | None = None
    regions: frozenset[str] = frozenset()
    content_type: str = ""
    """A hint; where it contradicts the content, the upload is refused."""
    key: RequestKey | None = None
    new_york_city_establishment: bool | None = None
    portland_public_accommodation: bool | None = None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The answer to an upload: a stored photo, or a recorded refusal with no photo.

    Args:
        checked: The STORE decision; None for a repeated upload, which gets the photo of the first.
        photo: None where the store was refused.
        recorded: The entry that says so.
    """

    checked: Checked | None
    photo: Photo | None
    recorded: Recorded


@dataclass(frozen=True, slots=True)
class OpenedPhoto:
    """A photo on its way out.

    Args:
        photo: What is known of it.
        masked: Boxes that were blacked out.
        size: Bytes that follow.
        recorded: The entry that recorded the opening.
        chunks: The bytes.
    """

    photo: Photo
    masked: tuple[Box, ...]
    size: int
    recorded: Recorded
    chunks: AsyncIterator[bytes] = field(repr=False)


class Photos:
    """One tenant's photos."""

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        gate: Gate,
        keys: Keys,
        issuer: Issuer,
        people: People,
        blobs: BlobStore,
        masker: FaceMasker,
        limits: PhotoLimits,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._sequencer = sequencer
        self._gate = gate
        self._keys = keys
        self._issuer = issuer
        self._people = people
        self._blobs = blobs
        self._masker = masker
        self._limits = limits
        self._clock = clock
        self._random = random
        self._settling: set[asyncio.Task[Uploaded]] = set()
        self._under_way: set[str] = set()

    async def upload(self, caller: Caller, draft: PhotoDraft, parts: AsyncIterator[bytes | UploadEnd]) -> Uploaded:
        """Take in a photo.

        1. A repeated request gets its first answer; a store that would be refused is refused before any byte.
        2. The bytes are encrypted as they come; the head must be an image within the limits.
        3. The uploader's end must agree with what arrived.
        4. STORE is decided and recorded when everything is durable; a refusal leaves nothing behind.

        Args:
            caller: Who uploads.
            draft: What it says of the photo.
            parts: Chunks of the file, ended by an :class:`UploadEnd`.

        Returns:
            The stored photo, or the recorded refusal.

        Raises:
            ConsentryError: ``NOT_AN_IMAGE``, ``IMAGE_TOO_LARGE``, ``TOO_LARGE``, ``UPLOAD_INCOMPLETE``,
                ``DIGEST_MISMATCH``, ``FIELD_INVALID``; nothing is stored.
        """
        if len(draft.depicted_subject_ids) > MAX_DEPICTED:
            raise ConsentryError(
                Reason.TOO_LARGE, f"more than {MAX_DEPICTED} people", field="header.description.depicted_subject_ids"
            )
        owner = await self._people.reference(draft.owner_subject_id, "header.description.owner_subject_id")
        depicted = [
            await self._people.reference(each, "header.description.depicted_subject_ids")
            for each in dict.fromkeys(draft.depicted_subject_ids)
        ]
        asked = Asked(request=_store_request(draft))
        # (1) asked before, or refused already?
        first = await self._sequencer.submit(lambda book: self._before(book, caller, asked, depicted, draft.key))
        if isinstance(first, Answer):
            return await self._again(first, parts)
        if first is not None:
            return Uploaded(first, None, first.recorded)
        # (2) and (3) the bytes
        photo_id = new_id("pho", self._random)
        self._under_way.add(photo_id)
        try:
            facts, size, digest, dek_id = await self._take_in(photo_id, parts, draft.content_type)
            sealed_digest = await asyncio.to_thread(self._keys.seal, RecordClass.PHOTO, photo_id, photo_id, digest)
        except BaseException:
            try:
                await asyncio.shield(self._discard(photo_id))
            finally:
                self._under_way.discard(photo_id)
            raise
        stored = Photo(
            photo_id=photo_id,
            index=-1,
            time=self._clock(),
            owner_ref=owner,
            photo_ref=self._issuer.blind_photo(digest),
            content_type=facts.content_type,
            width=facts.width,
            height=facts.height,
            size=size,
            dek_id=dek_id,
            visibility=draft.visibility,
            published_by=draft.published_by,
            source_kind=draft.source_kind,
            captured_at=draft.captured_at,
            regions=draft.regions,
            depicted=tuple(dict.fromkeys(depicted)),
            new_york_city_establishment=draft.new_york_city_establishment,
            portland_public_accommodation=draft.portland_public_accommodation,
        )
        # (4) the decision and the record
        settling = asyncio.create_task(
            self._settle(photo_id, lambda book: self._record(book, caller, asked, stored, sealed_digest, draft.key))
        )
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        settling.add_done_callback(lambda _: self._under_way.discard(photo_id))
        return await asyncio.shield(settling)

    def is_under_way(self, photo_id: str) -> bool:
        """Whether a photo is on its way in: it has a key already, and may yet be recorded."""
        return photo_id in self._under_way

    async def _settle(self, photo_id: str, record: Callable[[Book], Uploaded]) -> Uploaded:
        """Record an upload, and leave nothing of one that was not recorded.

        A caller that goes away does not stop it: the record and the bytes must agree. Where it is not known what was
        committed, the bytes stay: the ledger says after the restart whether they belong to a photo.
        """
        try:
            uploaded = await self._sequencer.submit(record)
        except ConsentryError as error:
            if error.reason not in OUTCOME_UNKNOWN:
                await self._discard(photo_id)
            raise
        if uploaded.photo is None or uploaded.photo.photo_id != photo_id:
            await self._discard(photo_id)
        return uploaded

    async def open(self, caller: Caller, token: str, photo_id: str) -> OpenedPhoto:
        """Open a photo under a permit.

        1. The permit is genuine, in time, and the caller's.
        2. Its decision is in this ledger and about this photo.
        3. The basis still holds for every face that was allowed, at this place in the ledger.
        4. The opening, or the refusal, is recorded and durable before a byte leaves.
        5. Faces that were refused are masked.

        Args:
            caller: Who opens.
            token: The permit.
            photo_id: The photo; empty for the permit's own.

        Returns:
            The photo's bytes, as a stream.

        Raises:
            ConsentryError: ``PERMIT_INVALID``, ``PERMIT_EXPIRED``, ``PERMIT_MISMATCH``, ``BASIS_GONE``,
                ``NOT_FOUND``, ``DESTROYED``.
        """
        # (1) the permit
        permit = self._issuer.verify_permit(token, caller.name, self._clock())

        def command(book: Book) -> tuple[Photo | None, tuple[Box, ...], Recorded, ConsentryError | None]:
            # (2) its decision and photo
            decision = self._gate.find_decision(book, permit.decision_id)
            photo = book.get(Photo, decision.photo_id) if decision.photo_id else None
            refusal = _unfit(decision, photo, photo_id)
            # (3) the basis, now
            allowed = [place for place, face in enumerate(decision.faces) if face.outcome in ALLOWED]
            if refusal is None and not self._gate.basis_holds(book, decision, allowed):
                refusal = ConsentryError(
                    Reason.BASIS_GONE,
                    "the basis of this permit is gone: check again before doing anything with this photo",
                    field="permit",
                )
            # (4) the record
            masked = tuple(face.box for face in decision.faces if face.outcome not in ALLOWED and face.box is not None)
            body: dict[str, Any] = {"decision_id": decision.decision_id, "photo_id": decision.photo_id}
            if refusal is not None:
                body["reason"] = str(refusal.reason)
            elif masked:
                body["masked"] = [[box.x, box.y, box.width, box.height] for box in masked]
            people = list(dict.fromkeys(face.subject_ref for face in decision.faces if face.subject_ref))
            entry_type = "photo.opened" if refusal is None else "photo.refused"
            return photo, masked, book.append(entry_type, caller.actor, body, people), refusal

        photo, masked, recorded, refusal = await self._sequencer.submit(command)
        if refusal is not None or photo is None:
            raise refused(refusal, recorded)
        # (5) the bytes
        if masked:
            whole = b"".join([piece async for piece in self._decrypted(photo)])
            image = await asyncio.to_thread(self._masker.mask, whole, masked, photo.content_type)
            return OpenedPhoto(photo, masked, len(image), recorded, _pieces(image))
        return OpenedPhoto(photo, (), photo.size, recorded, self._decrypted(photo))

    def _before(
        self, book: Book, caller: Caller, asked: Asked, depicted: Sequence[str], key: RequestKey | None
    ) -> Answer | Checked | None:
        """An earlier upload, a refusal that can be given before any byte, or None to go on."""
        found = earlier(book, key)
        if found is not None and "photo" in found.entry:
            return found
        faces = _faces(book, depicted)
        if self._gate.consider(book, asked.request, faces).outcome in ALLOWED:
            return None
        return self._gate.decide_on(book, caller, asked._replace(key=key), faces, photo_ref="")

    async def _again(self, answer: Answer, parts: AsyncIterator[bytes | UploadEnd]) -> Uploaded:
        """A repeated upload: the same bytes get the first answer, others are refused."""
        digest = hashlib.sha256()
        size = 0
        async for part in parts:
            if isinstance(part, UploadEnd):
                break
            size += len(part)
            if size > self._limits.max_bytes:
                raise self._too_large()
            digest.update(part)
        if self._issuer.blind_photo(digest.digest()) != answer.entry["photo"]["photo_ref"]:
            raise ConsentryError(
                Reason.REQUEST_ID_REUSED,
                "this request_id was used for another photo: make a new id for each upload",
                field="header.request_id",
            )
        photo_id = answer.entry["photo"]["photo_id"]
        return Uploaded(None, await self._sequencer.submit(lambda book: book.get(Photo, photo_id)), answer.recorded)

    async def _take_in(
        self, photo_id: str, parts: AsyncIterator[bytes | UploadEnd], stated_type: str
    ) -> tuple[ImageFacts, int, bytes, str]:
        """Encrypt the stream into a blob; nothing is left of it if anything is wrong."""
        encryptor = await asyncio.to_thread(self._keys.encryptor, RecordClass.PHOTO, photo_id, photo_id)
        dek_id = (await asyncio.to_thread(self._keys.dek, RecordClass.PHOTO, photo_id)).dek_id
        digest = hashlib.sha256()
        size = 0
        head = bytearray()
        facts: ImageFacts | None = None
        async with self._blobs.open_writer(blob_name(photo_id)) as writer:
            await writer.write(encryptor.header)
            async for part in parts:
                if isinstance(part, UploadEnd):
                    if facts is None:
                        facts = self._inspect(head, stated_type)
                    _check_end(part, size, digest.digest())
                    await writer.write(encryptor.finish())
                    return facts, size, digest.digest(), dek_id
                size += len(part)
                if size > self._limits.max_bytes:
                    raise self._too_large()
                digest.update(part)
                if facts is None:
                    head += part[: HEAD_BYTES - len(head)]
                    if len(head) == HEAD_BYTES:
                        facts = self._inspect(head, stated_type)
                for segment in encryptor.update(part):
                    await writer.write(segment)
            raise ConsentryError(
                Reason.UPLOAD_INCOMPLETE, "the stream stopped before its end message: nothing was stored; upload again"
            )

    def _record(
        self,
        book: Book,
        caller: Caller,
        asked: Asked,
        photo: Photo,
        sealed_digest: bytes,
        key: RequestKey | None,
    ) -> Uploaded:
        found = earlier(book, key)
        if found is not None and "photo" in found.entry:  # uploaded twice at once: the other was first
            return Uploaded(None, book.get(Photo, found.entry["photo"]["photo_id"]), found.recorded)
        faces = _faces(book, photo.depicted)
        checked = self._gate.decide_on(book, caller, asked, faces, photo_ref=photo.photo_ref)
        if checked.decision.outcome not in ALLOWED:
            remember(book, key, checked.recorded)
            return Uploaded(checked, None, checked.recorded)
        stated = to_plain(photo)
        for given_by_entry in ("index", "time", "owner_ref", "depicted"):
            stated.pop(given_by_entry, None)
        people = [photo.owner_ref, *(each for each in photo.depicted if each != photo.owner_ref)]
        body: dict[str, Any] = {"decision_id": checked.decision_id, "photo": stated}
        if photo.owner_ref in photo.depicted:
            body["owner_depicted"] = True
        recorded = book.append("photo.stored", caller.actor, body, people)
        book.sealed[photo.photo_id] = sealed_digest
        remember(book, key, recorded)
        return Uploaded(checked, book.get(Photo, photo.photo_id), recorded)

    async def _decrypted(self, photo: Photo) -> AsyncIterator[bytes]:
        decryptor = await asyncio.to_thread(self._keys.decryptor, RecordClass.PHOTO, photo.photo_id, photo.photo_id)
        async for piece in self._blobs.read(blob_name(photo.photo_id)):
            for segment in decryptor.update(piece):
                yield bytes(segment)
        last = bytes(decryptor.finish())
        if last:
            yield last

    async def _discard(self, photo_id: str) -> None:
        """Leave nothing of an upload that was not recorded; the key goes last: ``leftovers`` finds the rest by it."""
        with suppress(ConsentryError):
            await self._blobs.delete(blob_name(photo_id))
        dek = await asyncio.to_thread(self._keys.find, RecordClass.PHOTO, photo_id)
        if dek is not None:
            await asyncio.to_thread(self._keys.destroy, [dek.dek_id])

    def _inspect(self, head: bytearray, stated_type: str) -> ImageFacts:
        facts = inspect(bytes(head), self._limits.max_pixels)
        if stated_type and stated_type != facts.content_type:
            raise ConsentryError(
                Reason.NOT_AN_IMAGE,
                f"the content is {facts.content_type}, another type than stated",
                field="header.content_type",
            )
        return facts

    def _too_large(self) -> ConsentryError:
        return ConsentryError(
            Reason.TOO_LARGE, f"the photo has more than {self._limits.max_bytes} bytes", field="chunk"
        )


def _unfit(decision: RecordedDecision, photo: Photo | None, photo_id: str) -> ConsentryError | None:
    """Why this permit cannot open this photo at all, or None."""
    if photo_id and decision.photo_id != photo_id:
        return ConsentryError(Reason.PERMIT_MISMATCH, "this permit is for another photo: ask for one", field="photo_id")
    if decision.request.operation in NOT_OPENING or (
        decision.request.operation not in SHOWING and all(face.outcome is not Outcome.ALLOW for face in decision.faces)
    ):
        return ConsentryError(
            Reason.PERMIT_MISMATCH,
            f"a permit for {decision.request.operation} opens no photo: ask for what will be done with it",
            field="permit",
        )
    if photo is None:
        return ConsentryError(
            Reason.PERMIT_MISMATCH,
            "this permit names no stored photo: check with the photo_id of the stored photo",
            field="permit",
        )
    if photo.destruction_id:
        return ConsentryError(Reason.DESTROYED, "this photo is destroyed or about to be", field="photo_id")
    return None


def blob_name(photo_id: str) -> str:
    """Where a photo's ciphertext is kept."""
    return f"photos/{photo_id}"


def _store_request(draft: PhotoDraft) -> OperationRequest:
    """Storing a photo as a photo measures no face and identifies nobody."""
    return OperationRequest(
        operation=Operation.STORE,
        purpose=draft.purpose,
        category=DataCategory.PHOTO,
        visibility=draft.visibility,
        published_by=draft.published_by,
        source_kind=draft.source_kind,
        captured_at=draft.captured_at,
        regions=draft.regions,
        uses_face_geometry=False,
        identifies=False,
        stored=True,
        new_york_city_establishment=draft.new_york_city_establishment,
        portland_public_accommodation=draft.portland_public_accommodation,
    )


def _faces(book: Book, depicted: Sequence[str]) -> list[Face]:
    """Whom the uploader says the photo shows: some laws protect the picture of a named person, or of a child.

    Where nobody is named it is decided on as a photo of people whom nobody knows.
    """
    return [Face(book.subject(each), KnownBy.DECLARED_BY_UPLOADER) for each in depicted]


def _check_end(end: UploadEnd, size: int, digest: bytes) -> None:
    if end.size != size:
        raise ConsentryError(
            Reason.DIGEST_MISMATCH, f"{size} bytes arrived, {end.size} were announced: upload again", field="end.size"
        )
    if end.sha256 != digest:
        raise ConsentryError(
            Reason.DIGEST_MISMATCH, "what arrived has another SHA-256 than announced: upload again", field="end.sha256"
        )


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), CHUNK_BYTES):
        yield data[at : at + CHUNK_BYTES]
