"""Checkpoints, C2SP ``tlog-checkpoint``: the signed statement of a ledger's size and root."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.errors import LedgerError, damaged, invalid
from consentry_server.core.ledger.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from consentry_server.core.ledger.note import VerifierKey

_LINES: Final = 3  # origin, size, root; this ledger writes no extension lines and accepts none
_MAX_SIZE_DIGITS: Final = len(str(MAX_SIZE))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A ledger's size and root.

    Args:
        origin: The ledger's name, and its key's.
        size: Number of entries.
        root: Merkle root over them, 32 bytes.

    Raises:
        LedgerError: ``FIELD_INVALID`` for values that no checkpoint can have.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            msg = "a checkpoint's origin is one line that is not empty"
            raise invalid(msg)
        if not 0 <= self.size <= MAX_SIZE:
            msg = f"a checkpoint's size cannot be {self.size}"
            raise invalid(msg)
        if len(self.root) != HASH_BYTES or (self.size == 0) != (self.root == EMPTY_ROOT):
            msg = f"this is not the root of a tree of {self.size}"
            raise invalid(msg)

    @property
    def body(self) -> bytes:
        """The text that is signed: three lines, each ended by a newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n".encode()


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A known witness's statement that this was the largest tree it had seen, and consistent with all before.

    Args:
        name: The witness's key name.
        timestamp: Seconds since 1970.
    """

    name: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint whose signature by the ledger's key holds.

    Args:
        checkpoint: Size and root.
        cosignatures: Of the known witnesses that cosigned it.
    """

    checkpoint: Checkpoint
    cosignatures: tuple[Cosignature, ...]


def log_key(origin: str, private_key: Ed25519PrivateKey) -> VerifierKey:
    """The public half of a ledger's signing key.

    Args:
        origin: The ledger's name.
        private_key: The signing key.

    Returns:
        The verifier key; its ``vkey`` is what is published.
    """
    return notes.VerifierKey(origin, private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(checkpoint: Checkpoint, private_key: Ed25519PrivateKey) -> bytes:
    """Sign a checkpoint under its origin's name. The signature is verified before it is returned.

    Args:
        checkpoint: Size and root.
        private_key: The ledger's signing key.

    Returns:
        The signed note, ready to be published.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the origin cannot be a key's name.
    """
    key = log_key(checkpoint.origin, private_key)
    return notes.Note(checkpoint.body, (notes.sign(checkpoint.body, key, private_key.sign),)).encode()


def parse_body(body: bytes) -> Checkpoint:
    """Read a checkpoint's text strictly.

    Args:
        body: The note's text with its final newline.

    Returns:
        Size and root.

    Raises:
        LedgerError: ``DATA_DAMAGED`` for anything but the three lines.
    """
    try:
        lines = body.decode().split("\n")
    except UnicodeDecodeError as error:
        msg = "the checkpoint is not UTF-8"
        raise damaged(msg) from error
    if len(lines) != _LINES + 1 or lines[-1]:
        msg = f"a checkpoint has {_LINES} lines: origin, size, root"
        raise damaged(msg)
    origin, size_text, root_text, _ = lines
    size = parse_decimal(size_text)
    try:
        return Checkpoint(origin, size, notes.strict_base64(root_text))
    except ValueError as error:
        msg = "the checkpoint's root is not base64"
        raise damaged(msg) from error
    except LedgerError as error:
        raise damaged(error.message) from error


def open_checkpoint(data: bytes, key: VerifierKey, cosigners: Iterable[VerifierKey] = ()) -> OpenedCheckpoint:
    """Read a published checkpoint and check its signatures.

    1. The bytes are a signed note.
    2. The text is a checkpoint under the key's name.
    3. No signature by a known key is bad, and the ledger's key signed.

    Args:
        data: The published bytes.
        key: The ledger's key, of type 0x01.
        cosigners: Keys of known witnesses, of type 0x04; others' signatures are ignored.

    Returns:
        The checkpoint and who cosigned it.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where a step fails; ``FIELD_INVALID`` where the ledger's key is not of type 0x01.
    """
    if key.signature_type != notes.ED25519:
        msg = "a ledger's key is of type 0x01"
        raise invalid(msg)
    # (1) a signed note
    note = notes.parse(data)
    # (2) of this ledger
    checkpoint = parse_body(note.text)
    if checkpoint.origin != key.name:
        msg = f"the checkpoint is of {checkpoint.origin!r}, not of {key.name!r}"
        raise damaged(msg)
    # (3) signed by the ledger's key
    verified = notes.verify(note, (key, *cosigners))
    if key not in {one.key for one in verified}:
        msg = f"{key.name} did not sign the checkpoint"
        raise damaged(msg)
    cosignatures = tuple(Cosignature(one.key.name, one.timestamp) for one in verified if one.timestamp is not None)
    return OpenedCheckpoint(checkpoint, cosignatures)


def add_signatures(data: bytes, signatures: Iterable[notes.Signature]) -> bytes:
    """Add witnesses' signature lines to a published checkpoint.

    Args:
        data: The published bytes.
        signatures: Lines to add; a line that is there already is not doubled.

    Returns:
        The note with the lines after those it had.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the bytes are not a note.
    """
    note = notes.parse(data)
    lines = tuple(dict.fromkeys((*note.signatures, *signatures)))
    return notes.Note(note.text, lines).encode()


def parse_decimal(text: str) -> int:
    """Read a size or index: ASCII decimal without leading zeroes.

    Args:
        text: The digits.

    Returns:
        The number, at most 2^63-1.

    Raises:
        LedgerError: ``DATA_DAMAGED`` for any other text.
    """
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS
    if not plain or str(int(text)) != text or int(text) > MAX_SIZE:
        msg = f"{text[:32]!r} is not a plain decimal number"
        raise damaged(msg)
    return int(text)
