"""Destruction in its stages: requested, completed, unrecoverable. A certificate never shows more than was reached."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.codec import from_body, to_plain
from consentry_server.core.record.facts import (
    Destruction,
    DestructionTarget,
    Face,
    Identifier,
    OperationRequest,
    Subject,
)
from consentry_server.core.vocabulary import (
    DestructionStage,
    KnownBy,
    Operation,
    RecordClass,
)
from consentry_server.services.checks import ALLOWED
from consentry_server.services.context import new_id
from consentry_server.services.photos import blob_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from consentry_server.core.vocabulary import DestructionTrigger
    from consentry_server.services.book import Book
    from consentry_server.services.context import Answer
    from consentry_server.services.gate import Gate
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.keys import Keys
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_vault import BlobStore, KeyDeletion
    from consentry_server.services.sequencer import Sequencer

METHOD = "wrapped keys and ciphertext deleted (cryptographic erase: NIST SP 800-88 revision 2)"
VERIFICATION = "read again: no wrapped key, no ciphertext"

RESUME_SECONDS = 30
"""How soon a destruction that failed is tried again."""

_log = structlog.get_logger("retention")


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far a destruction has come, and what is not yet gone."""

    destruction: Destruction
    method: str
    verification: str
    remaining: tuple[str, ...]
    token: str


class Retention:
    """Requests and carries out destruction for one tenant.

    Args:
        sequencer: The tenant's ledger.
        store: For reading records and ciphertexts.
        keys: The tenant's keys.
        issuer: Signs certificates.
        blobs: Where photos are.
        gate: Says whether an identifier still has a basis.
        unrecoverable_after: Epoch and grace: how long copies of a deleted wrapped key may live on in backups.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        store: LedgerStore,
        keys: Keys,
        issuer: Issuer,
        blobs: BlobStore,
        gate: Gate,
        unrecoverable_after: timedelta,
    ) -> None:
        self._sequencer = sequencer
        self._store = store
        self._keys = keys
        self._issuer = issuer
        self._blobs = blobs
        self._gate = gate
        self._unrecoverable_after = unrecoverable_after
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[Destruction]] = set()
        self._task: asyncio.Task[None] | None = None

    def request_baseless(self, book: Book, subject_ref: str, trigger: DestructionTrigger, cause: int) -> str:
        """On the writer: request the destruction of every identifier that has no basis left.

        Args:
            book: The writer's view, after the entry that may have ended a basis.
            subject_ref: The person.
            trigger: What ended it.
            cause: Index of that entry.

        Returns:
            The destruction's id, or empty where nothing is to destroy.
        """
        subject = book.subject(subject_ref)
        held = [book.get(Identifier, identifier_id) for identifier_id in subject.identifiers]
        baseless = [identifier for identifier in held if identifier and not self._has_basis(book, subject, identifier)]
        targets = [
            DestructionTarget(RecordClass.BIOMETRIC, identifier.identifier_id, identifier.dek_id)
            for identifier in baseless
        ]
        return self.request(book, subject_ref, trigger, targets, cause) if targets else ""

    def settle(self, book: Book, subject_ref: str, trigger: DestructionTrigger, answer: Answer) -> str:
        """On the writer: the destruction that an answer caused, requested now or, for a repeated request, before."""
        cause = answer.recorded.index
        if not answer.repeated:
            return self.request_baseless(book, subject_ref, trigger, cause)
        following = book.entry(cause + 1)
        caused = following is not None and following["type"] == "destruction.requested" and following["cause"] == cause
        return str(following["destruction_id"]) if following is not None and caused else ""

    def request(
        self,
        book: Book,
        subject_ref: str,
        trigger: DestructionTrigger,
        targets: Sequence[DestructionTarget],
        cause: int,
    ) -> str:
        """On the writer: stage 1. From this entry on the targets open for nobody.

        Returns:
            The destruction's id.
        """
        destruction_id = new_id("des", book.random)
        book.append(
            "destruction.requested",
            "system",
            {
                "destruction_id": destruction_id,
                "trigger": str(trigger),
                "cause": cause,
                "targets": [to_plain(target) for target in targets],
            },
            [subject_ref],
        )
        return destruction_id

    async def start(self) -> None:
        """Finish what was requested before, destroy what no record knows, and try again what fails from now on."""
        await self.resume()
        self._task = asyncio.create_task(self._resume_regularly(), name="destructions")

    async def aclose(self) -> None:
        """Stop trying again; finish what is under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def begin(self, destruction_id: str) -> None:
        """Carry out a requested destruction, whether or not its caller waits for it.

        A failure is logged, and tried again later: the request itself is recorded, and nothing of it opens any more.
        """
        if not destruction_id:
            return
        task = asyncio.create_task(self.carry_out(destruction_id))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            await asyncio.shield(task)
        except ConsentryError as error:
            _log.error("destruction_unfinished", destruction_id=destruction_id, reason=error.reason)

    async def carry_out(self, destruction_id: str) -> Destruction:
        """Stages 2 and 3: delete, verify by reading, and only then record that it is done.

        It may be called again after any failure or crash: every step finds what is left to do.

        Args:
            destruction_id: A requested destruction.

        Returns:
            The destruction as it now stands.

        Raises:
            ConsentryError: ``NOT_FOUND``, or what kept something from being deleted; it then stays requested.
        """
        async with self._one_at_a_time:
            return await self._carry_out(destruction_id)

    async def _carry_out(self, destruction_id: str) -> Destruction:
        destruction = await self._find(destruction_id)
        if destruction.stage is not DestructionStage.REQUESTED:
            return destruction
        biometric = [each.record_id for each in destruction.targets if each.record_class is RecordClass.BIOMETRIC]
        photos = [each.record_id for each in destruction.targets if each.record_class is RecordClass.PHOTO]
        held = [each for each in [await self._identifier(record_id) for record_id in biometric] if each]
        doomed = frozenset(target.dek_id for target in destruction.targets) | {each.dek_id for each in held}
        # (1) what shares a key with a target, but is not one, moves to a new key first
        subject = await self._subject(destruction.subject_ref)
        survivors = await self._survivors(subject, doomed)
        owner = key_owner(subject.subject_ref, destruction.key_generation)
        new_key = await self._rekey(survivors, owner) if survivors else ""
        # (2) delete wrapped keys, then ciphertext
        deletion = await asyncio.to_thread(self._keys.destroy, sorted(doomed))
        await self._sequencer.run(lambda store: store.delete_sealed([*biometric, *photos]))
        for photo_id in photos:
            await self._blobs.delete(blob_name(photo_id))
        # (3) verify absence by reading
        await self._verify_absent(deletion, biometric, photos)
        # (4) record it
        body: dict[str, Any] = {"destruction_id": destruction_id, "method": METHOD, "verification": VERIFICATION}
        if survivors:
            body |= {
                "rekeyed": [identifier.identifier_id for identifier in survivors],
                "dek_id": new_key,
                "key_owner": owner,
            }

        def command(book: Book) -> Destruction:
            known = book.get(Destruction, destruction_id)
            if known is not None and known.stage is DestructionStage.REQUESTED:
                until = format_time(book.now + self._unrecoverable_after)
                book.append(
                    "destruction.completed", "system", {**body, "unrecoverable_after": until}, [destruction.subject_ref]
                )
                known = book.get(Destruction, destruction_id)
            return _required(known)

        return await self._sequencer.submit(command)

    async def resume(self) -> int:
        """Carry on with every destruction that was requested before a crash or a failure.

        Returns:
            How many are now completed; a failure is logged and left for the next start.
        """

        def command(book: Book) -> tuple[str, ...]:
            return book.tenant.open_destructions

        done = 0
        for destruction_id in await self._sequencer.submit(command):
            try:
                await self.carry_out(destruction_id)
                done += 1
            except ConsentryError as error:
                _log.error("destruction_unfinished", destruction_id=destruction_id, reason=error.reason)
        return done

    async def certificate(self, destruction_id: str) -> Certificate:
        """Say exactly how far a destruction has come.

        Args:
            destruction_id: Its id.

        Returns:
            The certificate with its signed token.

        Raises:
            ConsentryError: ``NOT_FOUND``.
        """
        destruction = await self._find(destruction_id)
        completed = destruction.stage is not DestructionStage.REQUESTED
        remaining = list(_remaining(destruction))
        claims: dict[str, Any] = {
            "iss": self._issuer.ledger,
            "jti": destruction_id,
            "stage": str(destruction.stage),
            "trigger": str(destruction.trigger),
            "subject_ref": destruction.subject_ref,
            "targets": [to_plain(target) for target in destruction.targets],
            "requested_at": format_time(destruction.requested_at),
            "requested_index": destruction.requested_index,
            "method": METHOD if completed else "",
            "verification": VERIFICATION if completed else "",
            "not_yet_gone": remaining,
        }
        if destruction.completed_at is not None and destruction.unrecoverable_after is not None:
            claims |= {
                "completed_at": format_time(destruction.completed_at),
                "completed_index": destruction.completed_index,
                "unrecoverable_after": format_time(destruction.unrecoverable_after),
            }
        token = self._issuer.sign_certificate(claims)
        return Certificate(destruction, str(claims["method"]), str(claims["verification"]), tuple(remaining), token)

    def _has_basis(self, book: Book, subject: Subject, identifier: Identifier) -> bool:
        request = OperationRequest(
            operation=Operation.RETAIN,
            purpose=identifier.purpose,
            category=identifier.category,
            stored=True,
            algorithm_id=identifier.algorithm_id,
            algorithm_version=identifier.algorithm_version,
        )
        return self._gate.consider(book, request, [Face(subject, KnownBy.MATCH)]).outcome in ALLOWED

    async def _resume_regularly(self) -> None:
        while True:
            await asyncio.sleep(RESUME_SECONDS)
            try:
                await self.resume()
            except ConsentryError as error:
                _log.error("destructions_wait", reason=error.reason)

    async def _identifier(self, identifier_id: str) -> Identifier | None:
        body = await asyncio.to_thread(self._store.fetch_record, "identifier", identifier_id)
        return None if body is None else from_body(Identifier, body)

    async def _survivors(self, subject: Subject, doomed: frozenset[str]) -> list[Identifier]:
        found = [await self._identifier(identifier_id) for identifier_id in subject.identifiers]
        return [identifier for identifier in found if identifier and identifier.dek_id in doomed]

    async def _rekey(self, survivors: Sequence[Identifier], owner: str) -> str:
        """Seal the survivors under a new key; a crash in between finds them under either."""
        resealed: dict[str, bytes] = {}
        for identifier in survivors:
            record_id = identifier.identifier_id
            blob = await asyncio.to_thread(self._store.fetch_sealed, record_id)
            if blob is None or await asyncio.to_thread(self._opens, owner, record_id, blob):
                continue
            plain = await asyncio.to_thread(
                self._keys.open, RecordClass.BIOMETRIC, identifier.key_owner, record_id, blob
            )
            resealed[record_id] = await asyncio.to_thread(
                self._keys.seal, RecordClass.BIOMETRIC, owner, record_id, plain
            )
        await self._sequencer.run(lambda store: store.replace_sealed(resealed))
        return (await asyncio.to_thread(self._keys.dek, RecordClass.BIOMETRIC, owner)).dek_id

    def _opens(self, owner: str, record_id: str, blob: bytes) -> bool:
        """Whether a blob is already sealed under the owner's key."""
        try:
            self._keys.open(RecordClass.BIOMETRIC, owner, record_id, blob)
        except ConsentryError:
            return False
        return True

    async def _verify_absent(self, deletion: KeyDeletion, sealed: Sequence[str], photos: Sequence[str]) -> None:
        left = [
            each for each in [*sealed, *photos] if await asyncio.to_thread(self._store.fetch_sealed, each) is not None
        ]
        left += [each for each in photos if await self._blobs.exists(blob_name(each))]
        if left or not deletion.absent:
            raise ConsentryError(
                Reason.STORAGE_FAILED, "something is still there after deletion: nothing is certified; try again"
            )

    async def _find(self, destruction_id: str) -> Destruction:
        body = await asyncio.to_thread(self._store.fetch_record, "destruction", destruction_id)
        return _required(None if body is None else from_body(Destruction, body))

    async def _subject(self, subject_ref: str) -> Subject:
        body = await asyncio.to_thread(self._store.fetch_record, "subject", subject_ref)
        return Subject(subject_ref) if body is None else from_body(Subject, body)


def key_owner(subject_ref: str, generation: int) -> str:
    """Owner of a person's biometric key; a new generation begins when a part of what the key sealed is destroyed."""
    return subject_ref if generation == 0 else f"{subject_ref}.{generation}"


def _required(destruction: Destruction | None) -> Destruction:
    if destruction is None:
        raise ConsentryError(Reason.NOT_FOUND, "no such destruction", field="destruction_id")
    return destruction


def _remaining(destruction: Destruction) -> tuple[str, ...]:
    """What is not yet gone, in words."""
    if destruction.stage is DestructionStage.REQUESTED:
        return ("everything: deletion was requested and is not yet verified; nothing of it opens any more",)
    if destruction.stage is DestructionStage.UNRECOVERABLE or destruction.unrecoverable_after is None:
        return ()
    until = format_time(destruction.unrecoverable_after)
    return (f"keys and ciphertext in backups made before the deletion, until their epoch key is destroyed by {until}",)
