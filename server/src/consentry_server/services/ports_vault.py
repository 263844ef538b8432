"""What the vault needs of the outside: key custody, the key store, blobs and the masking of faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from consentry_server.core.record.facts import Box
    from consentry_server.core.vocabulary import RecordClass


class KeyCustody(Protocol):
    """Keeps one tenant's epoch keys (KEKs) and wraps DEKs with them.

    Implementers guarantee:

    * An epoch is numbered from 1, and a number is never used again, also after its key was destroyed.
    * When ``create_epoch`` and ``destroy_epoch`` return, the change survives a power cut.
    * After ``destroy_epoch`` nothing that was wrapped under that epoch can be unwrapped through this port.
    * Every method may be called from any thread. They block: never call them on an event loop.

    Every method raises ``ConsentryError`` with ``KEYS_UNAVAILABLE`` and a remedy when the keys cannot be reached.
    """

    @property
    def kind(self) -> str:
        """How the keys are kept, for posture and the ledger: ``keyfile``, ``pkcs11``, ``aws-kms``, ``ephemeral``."""

    def open(self) -> None:
        """Reach the keys; everything else works only afterwards."""

    def close(self) -> None:
        """Forget the keys."""

    def current_epoch(self) -> int:
        """Number of the newest epoch, under which new DEKs are wrapped."""

    def epochs(self) -> dict[int, datetime]:
        """The epochs whose keys exist, with the time each began (UTC)."""

    def create_epoch(self, now: datetime) -> int:
        """Begin a new epoch with a new key and return its number; the old ones stay readable."""

    def destroy_epoch(self, epoch: int, now: datetime) -> bool:
        """Destroy an epoch's key.

        Returns:
            False when it was destroyed before.

        Raises:
            ConsentryError: STATE_CONFLICT for the current epoch, NOT_FOUND for one that never was.
        """

    def wrap(self, dek: bytes, epoch: int) -> bytes:
        """Wrap a DEK of 32 bytes under an epoch's key."""

    def unwrap(self, wrapped: bytes, epoch: int) -> bytes:
        """Unwrap a DEK.

        Raises:
            ConsentryError: DESTROYED when the epoch's key is; DATA_DAMAGED when the wrapped bytes do not fit it.
        """


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One wrapped DEK.

    Args:
        dek_id: ``dek_…``.
        record_class: Which class of data it seals.
        owner: The subject_ref, or for photos the photo id.
        epoch: The KEK it is wrapped under.
        wrapped: AES-KWP, or what the custodian made of it.
        created: UTC.
    """

    dek_id: str
    record_class: RecordClass
    owner: str
    epoch: int
    wrapped: bytes
    created: datetime


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One of the tenant's own keys (blind index, ledger signing, permit signing), wrapped like a DEK."""

    name: str
    epoch: int
    wrapped: bytes
    created: datetime


@dataclass(frozen=True, slots=True)
class KeyDeletion:
    """What was seen after wrapped DEKs were deleted.

    Args:
        deleted: Ids that were there before; the others of the call were not.
        absent: No row of any of them was found by reading again.
        journal_emptied: The write-ahead log was copied into the (overwritten) main file and cut to nothing, so that it
            holds no copy. False when a reader or a backup in progress prevented that; ``purge`` tries again.
    """

    deleted: tuple[str, ...]
    absent: bool
    journal_emptied: bool


class KeyStore(Protocol):
    """Keeps one tenant's wrapped keys, apart from all data.

    Implementers guarantee:

    * ``add`` and ``add_secret`` return only when the key would survive a power cut: nothing may be sealed under a key
      that could be lost.
    * At most one DEK for a class and owner; of two concurrent ``add``, both callers get the same one.
    * After ``delete`` returns no method gives the key, and its bytes were overwritten, not just unlinked.
    * Every method may be called from any thread. They block: never call them on an event loop.

    Every method raises ``ConsentryError`` with ``STORAGE_FULL``, ``STORAGE_FAILED`` or ``KEYS_UNAVAILABLE``.
    """

    def open(self, *, create: bool) -> None:
        """Open the store.

        Args:
            create: Make a new one where there is none; otherwise a missing store is KEYS_UNAVAILABLE, since a new one
                in its place would make all data unreadable without saying so.
        """

    def close(self) -> None:
        """Finish and release every file."""

    def find(self, record_class: RecordClass, owner: str) -> StoredKey | None:
        """The DEK of a class and owner, or None."""

    def get(self, dek_id: str) -> StoredKey | None:
        """A DEK by its id, or None."""

    def owners(self, record_class: RecordClass, after: str, count: int) -> list[tuple[str, str, datetime]]:
        """Up to ``count`` owners of DEKs of a class beyond ``after``, in order, with the DEK's id and time."""

    def add(self, key: StoredKey) -> StoredKey:
        """Keep a new DEK durably and return it; or the one that the class and owner already have."""

    def delete(self, dek_ids: Sequence[str]) -> KeyDeletion:
        """Delete DEKs durably, overwrite their bytes and verify by reading."""

    def purge(self) -> bool:
        """Empty the write-ahead log; True when it is empty."""

    def count_by_epoch(self) -> dict[int, int]:
        """How many keys, secrets included, are wrapped under each epoch."""

    def secret(self, name: str) -> StoredSecret | None:
        """A tenant key by its name, or None."""

    def add_secret(self, secret: StoredSecret) -> StoredSecret:
        """Keep a new tenant key durably and return it; or the one of that name that is there already."""

    def replace_secret(self, name: str, successor: str) -> None:
        """Give the tenant key ``successor`` the name ``name``, durably and in one step.

        No method gives the key that had the name any more, and its bytes are overwritten, as with ``delete``.
        """


class BlobWriter(Protocol):
    """Takes the bytes of one blob."""

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes. When it returns, the caller may use the buffer again."""


class BlobStore(Protocol):
    """Keeps ciphertext by name. Nothing in plaintext ever passes here.

    A name is ``<folder>/<id>``: folder of a-z (1 to 32), id of a-z, 0-9 and underscore (1 to 96).

    Implementers guarantee:

    * A blob appears whole or not at all: when the ``open_writer`` block ends normally it is durable and readable; when
      an exception or a cancellation leaves the block, nothing is left behind, also not under another name.
    * A reader that has begun gets the blob it began with, or an error, never a mixture.
    * Memory stays bounded by a few segments, whatever the size.

    Every method raises ``ConsentryError`` with ``STORAGE_FULL`` or ``STORAGE_FAILED``; FIELD_INVALID for a bad name.
    """

    async def start(self) -> None:
        """Prepare, and remove what a crash left half-written."""

    async def aclose(self) -> None:
        """Finish what is under way."""

    def open_writer(self, name: str) -> AbstractAsyncContextManager[BlobWriter]:
        """Write a new blob.

        Raises:
            ConsentryError: ALREADY_EXISTS when the name is taken.
        """

    def read(self, name: str) -> AsyncIterator[bytes]:
        """The blob's bytes in pieces of any size.

        Raises:
            ConsentryError: NOT_FOUND, at the first step.
        """

    async def delete(self, name: str) -> bool:
        """Delete durably; when it returns, ``exists`` is False. Returns whether there was one."""

    async def exists(self, name: str) -> bool:
        """Whether there is a blob of that name."""

    def names(self, folder: str) -> AsyncIterator[tuple[str, datetime]]:
        """Name of every blob of a folder and when it was written, in any order.

        What is written or deleted meanwhile may be there or not; everything else is there once.
        """


class FaceMasker(Protocol):
    """Blacks out faces in an image. Works on memory alone and may be called from any thread; it is slow."""

    def mask(self, image: bytes, boxes: Sequence[Box], content_type: str) -> bytes:
        """Return the image with the boxes blacked out, in the same type, with no metadata but its orientation.

        Args:
            image: The whole file.
            boxes: What to black out, in stored pixels: x to the right, y down, before any EXIF orientation is applied.
                A box that reaches over the edge is cut; what overlaps a permitted face is black all the same.
            content_type: ``image/jpeg``, ``image/png`` or ``image/webp``.

        Raises:
            ConsentryError: NOT_AN_IMAGE for a damaged body; IMAGE_TOO_LARGE; FIELD_INVALID for a type that cannot be
                masked or a box that is empty or wholly outside the image.
        """
