"""Who a caller means: the live table from a keyed hash of the caller's id to a random subject_ref."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import new_id

if TYPE_CHECKING:
    from consentry_server.services.book import Book
    from consentry_server.services.issuer import Issuer
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.sequencer import Sequencer

MAX_SUBJECT_ID = 256
REFERENCE_PREFIX = "sub"


class People:
    """Resolves callers' ids of persons.

    Args:
        sequencer: The tenant's ledger; new references are made on its writer.
        store: For reading known references.
        issuer: Makes blind indexes.
    """

    def __init__(self, *, sequencer: Sequencer, store: LedgerStore, issuer: Issuer) -> None:
        self._sequencer = sequencer
        self._store = store
        self._issuer = issuer

    def lookup(self, subject_id: str, field: str = "subject_id") -> bytes:
        """The blind index of a caller's id.

        Args:
            subject_id: The caller's id, any script; compared in NFC.
            field: The request field, for the error.

        Returns:
            32 bytes.

        Raises:
            ConsentryError: ``FIELD_REQUIRED`` or ``TOO_LARGE``.
        """
        return subject_lookup(self._issuer, subject_id, field)

    async def reference(self, subject_id: str, field: str = "subject_id") -> str:
        """The person's subject_ref, made and durable if nobody has named them before."""
        lookup = self.lookup(subject_id, field)
        known = await asyncio.to_thread(self._store.fetch_reference, lookup)
        if known is not None:
            return known

        def command(book: Book) -> str:
            return book.ensure_reference(lookup, new_id(REFERENCE_PREFIX, book.random))

        return await self._sequencer.submit(command)

    async def known(self, subject_id: str, field: str = "subject_id") -> str:
        """The subject_ref of a person who was named before.

        Raises:
            ConsentryError: ``NOT_FOUND``.
        """
        known = await asyncio.to_thread(self._store.fetch_reference, self.lookup(subject_id, field))
        if known is None:
            raise ConsentryError(Reason.NOT_FOUND, "nothing is on record about this person", field=field)
        return known


def subject_lookup(issuer: Issuer, subject_id: str, field: str = "subject_id") -> bytes:
    """See ``People.lookup``; for those who only read.

    Args:
        issuer: Makes blind indexes.
        subject_id: The caller's id.
        field: The request field, for the error.
    """
    if not subject_id:
        raise ConsentryError(Reason.FIELD_REQUIRED, f"{field} is required: your own id of the person", field=field)
    if len(subject_id) > MAX_SUBJECT_ID:
        raise ConsentryError(Reason.TOO_LARGE, f"{field} has more than {MAX_SUBJECT_ID} characters", field=field)
    return issuer.blind("subject", unicodedata.normalize("NFC", subject_id))
