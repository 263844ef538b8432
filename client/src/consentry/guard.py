"""The synchronous guard: no processing without an answer, no answer without a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry import _calls
from consentry._permission import BaseGuard, BasePermit, boot_seconds
from consentry.errors import ConsentryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from consentry.client import Client
    from consentry.inputs import Check, Identifier
    from consentry.results import Decision, OpenedIdentifier, OpenedPhoto, StoredIdentifier


class Permit(BasePermit):
    """Permission for the allowed faces of one question, and what the vault does under it."""

    def __init__(
        self, client: Client, check: Check, decision: Decision, *, asked_at: float, clock: Callable[[], float]
    ) -> None:
        super().__init__(check, decision, asked_at=asked_at, clock=clock)
        self._client = client

    def open(self) -> OpenedPhoto:
        """Open the photo; faces that are not allowed are masked.

        Raises:
            PermitExpired: the permit's life or block is over.
            PermissionDenied: the basis is gone (``BASIS_GONE``): do not process.
        """
        return self._client.open_photo(self.token, self._photo_id())

    def store_identifier(self, identifier: Identifier, template: bytes, *, face_index: int = 0) -> StoredIdentifier:
        """Store a template that was made of one allowed face.

        Raises:
            PermissionDenied: that face is not allowed, or as a photo only.
        """
        self._require_template(face_index)
        return self._client.store_identifier(self.token, identifier, template, face_index=face_index)

    def open_identifier(self, identifier_id: str) -> OpenedIdentifier:
        """Open a template of a person whom the permit covers."""
        return self._client.open_identifier(self.token, identifier_id)


class Guard(BaseGuard["Processing"]):
    """Asks before each block of processing and reports after it.

        with guard.processing(photo_id, faces, operation=Operation.DETECT_FACES, purpose=Purpose.TAGGING) as permit:
            detect(permit.open().content)

    Args:
        client: a started client; its role is processor.
        algorithm_id: the algorithm that runs inside, a slug.
        algorithm_version: its exact version, at most 64 characters.
        clock: seconds that only grow; the life of permits is counted with it.
    """

    def __init__(
        self,
        client: Client,
        *,
        algorithm_id: str,
        algorithm_version: str,
        clock: Callable[[], float] = boot_seconds,
    ) -> None:
        super().__init__(algorithm_id=algorithm_id, algorithm_version=algorithm_version, clock=clock)
        self._client = client

    def _block(self, check: Check, *, require_all: bool) -> Processing:
        return Processing(self._client, check, require_all=require_all, clock=self._clock)


class Processing:
    """One guarded block, for ``with``."""

    def __init__(self, client: Client, check: Check, *, require_all: bool, clock: Callable[[], float]) -> None:
        self._client = client
        self._check = check
        self._require_all = require_all
        self._clock = clock
        self._permit: Permit | None = None

    def __enter__(self) -> Permit:
        asked_at = self._clock()
        decision = self._client.send(_calls.check(self._check))  # (1)
        permit = Permit(self._client, self._check, decision, asked_at=asked_at, clock=self._clock)
        refusal = permit.refusal(require_all=self._require_all)
        if refusal is not None:
            if decision.permit:  # one was given and is not used: close it
                permit.not_performed("refused by require_all")
                self._report(permit, None, under_way=refusal)
            raise refusal
        self._permit = permit
        return permit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        permit, self._permit = self._permit, None
        if permit is not None:
            self._report(permit, error, under_way=error)

    def _report(self, permit: Permit, error: BaseException | None, *, under_way: BaseException | None) -> None:
        report = permit.report(error)
        try:
            self._client.send(report.call())
        except ConsentryError as cause:
            report.failed(cause, under_way)
