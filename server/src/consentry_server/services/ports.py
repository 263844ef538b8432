"""What the services need of the outside, and what every implementer must guarantee."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from consentry_server.core.ledger.tiles import FullTile


@dataclass(frozen=True, slots=True)
class Head:
    """Where the ledger stands.

    Args:
        size: Number of entries.
        root: Merkle root over them, 32 bytes.
        frontier: Roots of the perfect subtrees along the right edge, largest first, 32 bytes each.
        time: Time of the last entry; None for an empty ledger.
    """

    size: int
    root: bytes
    frontier: tuple[bytes, ...]
    time: datetime | None


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request id that was seen within the window.

    Args:
        body: Hash of the request's body, 32 bytes.
        index: Ledger index of the entry that answered it.
        time: When it was answered.
    """

    body: bytes
    index: int
    time: datetime


@dataclass(slots=True)
class Batch:
    """Everything that one commit makes durable, or none of it."""

    head: Head
    entries: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Entry bytes and leaf hash, in index order, ending at ``head.size``."""
    tiles: list[FullTile] = field(default_factory=list)
    records: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    """Projections by kind and key; None removes one."""
    chains: dict[str, tuple[int, int]] = field(default_factory=dict)
    """subject_ref → the person's number of entries and the index of the last one."""
    references: dict[bytes, str] = field(default_factory=dict)
    """Blind index of a caller's subject id → subject_ref."""
    requests: dict[bytes, KnownRequest] = field(default_factory=dict)
    sealed: dict[str, bytes] = field(default_factory=dict)
    """Ciphertexts by record id: evidence that callers typed, and identifiers."""
    documents: dict[str, bytes] = field(default_factory=dict)
    """Exact bytes by their SHA-256 in hex: notices, policies, packs."""


class LedgerStore(Protocol):
    """One tenant's ledger and its projections.

    The ledger's writer alone calls what writes and the ``read_*`` methods, one at a time; they are quick, and only
    ``commit`` may wait for the disk. The ``fetch_*`` methods may be called from any thread at any time and see only
    what was committed.
    """

    def open(self) -> Head:
        """Open or create the store.

        Returns:
            Where the ledger stands.

        Raises:
            ConsentryError: ``DATA_DAMAGED`` or ``STORAGE_FAILED``, with what to do.
        """

    def close(self) -> None:
        """Finish and release every file."""

    def stage(self, batch: Batch) -> None:
        """Open a transaction and write the batch into it; ``commit`` follows, and nothing else comes between.

        Raises:
            ConsentryError: as ``commit``; the transaction is closed again.
        """

    def commit(self) -> None:
        """Make the staged batch durable. Returns only when it would survive a power cut. May run on another thread.

        Raises:
            ConsentryError: ``STORAGE_FULL`` when nothing was written and a later try may succeed;
                ``STORAGE_FAILED`` when it is not known what is on the disk: the caller must stop.
        """

    def read_record(self, kind: str, key: str) -> bytes | None:
        """One projection, or None."""

    def read_records(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """Every projection of a kind, in key order."""

    def read_chain(self, subject_ref: str) -> tuple[int, int] | None:
        """The person's number of entries and the index of the last one, or None."""

    def read_reference(self, lookup: bytes) -> str | None:
        """The subject_ref behind a blind index, or None."""

    def read_requests(self, keys: Sequence[bytes]) -> dict[bytes, KnownRequest]:
        """Of these request ids the ones seen earlier."""

    def forget_requests(self, before: datetime) -> None:
        """Drop request ids answered before a time."""

    def forget_entries(self, before: int) -> None:
        """Drop entries and their leaf hashes, which are in durable tiles; the root of each tile stays.

        Args:
            before: Index of the first entry that stays, a multiple of 256.
        """

    def delete_sealed(self, record_ids: Sequence[str]) -> None:
        """Delete ciphertexts durably, overwriting their pages."""

    def replace_sealed(self, replacements: dict[str, bytes]) -> None:
        """Replace ciphertexts durably, overwriting the old pages."""

    def fetch_head(self) -> Head:
        """The committed head."""

    def fetch_first(self) -> int:
        """Index of the first entry that was not forgotten; the size where there is none."""

    def fetch_entry(self, index: int) -> bytes | None:
        """One entry's bytes, or None beyond the end."""

    def fetch_entries(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` entries from ``first``."""

    def fetch_leaves(self, first: int, count: int) -> list[bytes]:
        """Up to ``count`` leaf hashes from ``first``."""

    def fetch_tile(self, level: int, number: int) -> FullTile | None:
        """A full tile, or None while it is partial."""

    def fetch_tile_roots(self, level: int, first: int, count: int) -> list[bytes]:
        """Roots of up to ``count`` full tiles of a level, in order."""

    def fetch_sealed(self, record_id: str) -> bytes | None:
        """A ciphertext, or None."""

    def fetch_document(self, sha256: str) -> bytes | None:
        """Exact bytes, or None."""

    def fetch_record(self, kind: str, key: str) -> bytes | None:
        """One committed projection, or None."""

    def fetch_records(self, kind: str, after: str, count: int) -> list[tuple[str, bytes]]:
        """Up to ``count`` committed projections of a kind with keys beyond ``after``, in key order."""

    def fetch_reference(self, lookup: bytes) -> str | None:
        """The committed subject_ref behind a blind index, or None."""

    def fetch_chain(self, subject_ref: str) -> tuple[int, int] | None:
        """The committed chain of a person, or None."""


class LockRecord(Protocol):
    """The last signed checkpoint, kept outside everything that is restored from a backup of the database."""

    def read(self) -> bytes | None:
        """The checkpoint on record, or None where none ever was."""

    def swap(self, old: bytes | None, new: bytes) -> bool:
        """Replace ``old`` by ``new`` durably, atomically against every other process.

        Returns:
            False, and nothing changed, when what is on record is not ``old``.
        """
