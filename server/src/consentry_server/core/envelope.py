"""Sealed blobs: small records under a data encryption key (DEK), with key commitment and full binding.

Format 0x01, whole: ``0x01 ‖ salt(32) ‖ commitment(32) ‖ nonce(12) ‖ ciphertext ‖ tag(16)``, AES-256-GCM.

The key of each message is HKDF-SHA512(DEK, salt, info = ``consentry/v1/<class>``): 32 bytes of key, then 32 bytes of
commitment. AES-GCM alone opens under several keys (it commits to none), so the commitment is compared in constant
time before anything is decrypted: a swapped DEK is seen before any plaintext appears.
What a blob belongs to stands in the associated data, so that a blob moved to another tenant, class, record or owner
does not open. Photos and other large data use format 0x02, in ``segments``.

Sources: NIST SP 800-38D (GCM), RFC 5869 (HKDF), RFC 5649 and NIST SP 800-38F (key wrap with padding).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from consentry_server.core.vocabulary import RecordClass

Random = Callable[[int], bytes]
"""Gives as many unpredictable bytes as it is asked for; ``os.urandom`` outside the core."""

WHOLE_FORMAT: Final = 0x01
DEK_BYTES: Final = 32
KEK_BYTES: Final = 32
KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2: 96 bits
TAG_BYTES: Final = 16
WRAPPED_DEK_BYTES: Final = DEK_BYTES + 8  # RFC 5649, section 4.1: one semiblock more
WHOLE_OVERHEAD: Final = 1 + SALT_BYTES + COMMITMENT_BYTES + NONCE_BYTES + TAG_BYTES
MAX_WHOLE_BYTES: Final = 16 * 2**20
"""Plaintext of one whole blob; more belongs in segments."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a blob belongs to: immutable ids only, so that ciphertext never has to follow a change of facts.

    Args:
        tenant: The tenant's name.
        record_class: PHOTO, BIOMETRIC or EVIDENCE.
        record_id: The record that the blob is the content of (photo, identifier, release, ...).
        owner: The subject_ref, or for photos the photo id.
        dek_id: The key that the blob is sealed under.
    """

    tenant: str
    record_class: RecordClass
    record_id: str
    owner: str
    dek_id: str

    def encode(self, format_version: int, *more: bytes) -> bytes:
        """Return the associated data: each part behind its length as 4 bytes, so that no two lists look alike.

        Args:
            format_version: The blob format's first byte.
            more: Further parts that the format itself binds.
        """
        parts = (
            bytes((format_version,)),
            self.tenant.encode(),
            class_label(self.record_class),
            self.record_id.encode(),
            self.owner.encode(),
            self.dek_id.encode(),
            *more,
        )
        return b"".join(len(part).to_bytes(4) + part for part in parts)


@dataclass(frozen=True, slots=True, repr=False)
class MessageKey:
    """The key of one message and the commitment to it; never stored, and not shown by ``repr``."""

    key: bytes
    commitment: bytes


def class_label(record_class: RecordClass) -> bytes:
    """Return the class as it stands in key derivation and associated data: ``photo``, ``biometric``, ``evidence``."""
    return record_class.value.lower().encode()


def message_key(dek: bytes, salt: bytes, record_class: RecordClass) -> MessageKey:
    """Derive the key of one message and the commitment to it.

    Args:
        dek: 32 bytes.
        salt: 32 random bytes, new for each message.
        record_class: Keeps the classes' keys apart.
    """
    _require_key(dek, DEK_BYTES)
    info = b"consentry/v1/" + class_label(record_class)
    both = HKDF(hashes.SHA512(), KEY_BYTES + COMMITMENT_BYTES, salt, info).derive(dek)  # RFC 5869
    return MessageKey(key=both[:KEY_BYTES], commitment=both[KEY_BYTES:])


def committed_key(dek: bytes, salt: bytes, commitment: bytes, record_class: RecordClass) -> bytes:
    """Derive a message's key and check, in constant time, that the blob was sealed under it.

    Returns:
        32 bytes of key.

    Raises:
        ConsentryError: DATA_DAMAGED (metadata ``stage`` = ``commitment``) when the blob was sealed under another key.
    """
    derived = message_key(dek, salt, record_class)
    if not hmac.compare_digest(derived.commitment, commitment):
        raise damaged("the sealed data belongs to another key: restore the key store that belongs to it", "commitment")
    return derived.key


def seal(dek: bytes, binding: Binding, plaintext: bytes, random: Random) -> bytes:
    """Seal a small record in format 0x01.

    Args:
        dek: 32 bytes.
        binding: What the blob belongs to.
        plaintext: At most 16 MiB.
        random: Source of the salt and the nonce, both new for each message.

    Returns:
        93 bytes more than the plaintext.

    Raises:
        ConsentryError: TOO_LARGE.
    """
    if len(plaintext) > MAX_WHOLE_BYTES:
        raise ConsentryError(Reason.TOO_LARGE, f"one sealed record holds at most {MAX_WHOLE_BYTES} bytes")
    salt = draw(random, SALT_BYTES)
    nonce = draw(random, NONCE_BYTES)
    derived = message_key(dek, salt, binding.record_class)
    sealed = AESGCM(derived.key).encrypt(nonce, plaintext, binding.encode(WHOLE_FORMAT))
    return b"".join((bytes((WHOLE_FORMAT,)), salt, derived.commitment, nonce, sealed))


def unseal(dek: bytes, binding: Binding, blob: bytes) -> bytes:
    """Open a blob of format 0x01.

    1. The format and the length are ones that ``seal`` makes.
    2. The commitment is that of this DEK, compared in constant time.
    3. The tag fits ciphertext and binding.

    Returns:
        The plaintext.

    Raises:
        ConsentryError: DATA_DAMAGED; metadata ``stage`` is ``format``, ``commitment`` or ``tag``.
    """
    # (1) format and length
    if not WHOLE_OVERHEAD <= len(blob) <= WHOLE_OVERHEAD + MAX_WHOLE_BYTES or blob[0] != WHOLE_FORMAT:
        raise damaged("this is no sealed record of format 1", "format")
    salt_end = 1 + SALT_BYTES
    commitment_end = salt_end + COMMITMENT_BYTES
    nonce_end = commitment_end + NONCE_BYTES
    # (2) commitment
    key = committed_key(dek, blob[1:salt_end], blob[salt_end:commitment_end], binding.record_class)
    # (3) tag
    try:
        return AESGCM(key).decrypt(blob[commitment_end:nonce_end], blob[nonce_end:], binding.encode(WHOLE_FORMAT))
    except InvalidTag as error:
        raise damaged("the sealed data was changed, or belongs to another record", "tag") from error


def wrap_dek(kek: bytes, dek: bytes) -> bytes:
    """Wrap a DEK by AES-KWP (RFC 5649).

    Args:
        kek: 32 bytes.
        dek: 32 bytes.

    Returns:
        40 bytes.
    """
    _require_key(kek, KEK_BYTES)
    _require_key(dek, DEK_BYTES)
    return aes_key_wrap_with_padding(kek, dek)


def unwrap_dek(kek: bytes, wrapped: bytes) -> bytes:
    """Unwrap a DEK by AES-KWP (RFC 5649).

    Raises:
        ConsentryError: DATA_DAMAGED (metadata ``stage`` = ``wrap``) when it was wrapped under another key or changed.
    """
    _require_key(kek, KEK_BYTES)
    if len(wrapped) != WRAPPED_DEK_BYTES:
        raise damaged("this is no wrapped key", "wrap")
    try:
        dek = aes_key_unwrap_with_padding(kek, wrapped)
    except (InvalidUnwrap, ValueError) as error:
        raise damaged("the wrapped key was changed, or belongs to another epoch's key", "wrap") from error
    if len(dek) != DEK_BYTES:
        raise damaged("the wrapped key has another length than ours", "wrap")
    return dek


def draw(random: Random, size: int) -> bytes:
    """Take random bytes and refuse a source that gives another number than it was asked for."""
    value = random(size)
    if len(value) != size:
        raise ValueError(f"the random source gave {len(value)} bytes instead of {size}")
    return value


def damaged(message: str, stage: str) -> ConsentryError:
    """Return the error for sealed data that does not open; ``stage`` tells an operator which check refused it."""
    return ConsentryError(Reason.DATA_DAMAGED, message, metadata={"stage": stage})


def _require_key(key: bytes, size: int) -> None:
    if len(key) != size:
        raise ValueError(f"a key of {size} bytes is required, got {len(key)}")
