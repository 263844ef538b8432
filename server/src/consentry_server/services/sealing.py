"""Callers' words, kept outside the ledger under an evidence key; the entry carries the ciphertext's hash."""

from __future__ import annotations

import asyncio
import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.context import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consentry_server.services.book import Book
    from consentry_server.services.keys import Keys

TENANT_OWNER = "tenant"
"""Owner of the evidence key for words that are about no one person."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Words that are encrypted and wait to be stored with their entry."""

    record_id: str
    blob: bytes

    def put(self, book: Book) -> dict[str, str]:
        """Store the ciphertext with the command's entries.

        Returns:
            What the entry says of it: its id and the SHA-256 of the ciphertext.
        """
        book.sealed[self.record_id] = self.blob
        return {"id": self.record_id, "sha256": hashlib.sha256(self.blob).hexdigest()}


class Sealing:
    """Seals what callers type.

    Args:
        keys: The tenant's keys.
        random: Cryptographic random bytes.
    """

    def __init__(self, *, keys: Keys, random: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._random = random

    async def seal(self, words: Mapping[str, Any], owner: str = TENANT_OWNER) -> Sealed | None:
        """Encrypt words.

        Args:
            words: JSON values by name; empty ones are left out.
            owner: The subject_ref they are about, or the tenant.

        Returns:
            The ciphertext, to be put into the command's book; None where there is nothing to seal.
        """
        said = {name: value for name, value in words.items() if value not in ("", None, [], {})}
        if not said:
            return None
        plain = unicodedata.normalize("NFC", json.dumps(said, ensure_ascii=False, sort_keys=True)).encode()
        record_id = new_id("sld", self._random)
        blob = await asyncio.to_thread(self._keys.seal, RecordClass.EVIDENCE, owner, record_id, plain)
        return Sealed(record_id, blob)
