"""Signed notes and verifier keys, C2SP ``signed-note``: text, an empty line, signature lines.

Two signature types are understood: Ed25519 over the text (0x01), and the timestamped Ed25519 cosignature of a
witness (0x04, C2SP ``tlog-cosignature``). Signatures by keys that the reader does not know are ignored, whatever
their type; a bad signature by a key that it knows refuses the note.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consentry_server.core.ledger.errors import damaged, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ED25519: Final = 0x01  # C2SP signed-note, signature types
COSIGNATURE_V1: Final = 0x04  # C2SP tlog-cosignature, Ed25519

MAX_SIGNATURES: Final = 64
"""More than the 16 that every reader must accept, few enough to bound the work."""
MAX_NOTE_BYTES: Final = 512 * 1024
"""64 signatures of the largest assigned type fit."""

_KEY_BYTES: Final = 32
_KEY_ID_BYTES: Final = 4
_SIGNATURE_BYTES: Final = 64
_TIMESTAMP_BYTES: Final = 8
_MAX_TIMESTAMP: Final = 2**63 - 1  # C2SP tlog-cosignature
_DASH: Final = "\u2014 "  # C2SP signed-note: em dash, space
_FIRST_PRINTABLE: Final = 0x20
_VKEY_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name, as a vkey states it.

    Args:
        name: The key's name; not empty, no spaces, no plus.
        public_key: 32 bytes, RFC 8032.
        signature_type: ``ED25519`` or ``COSIGNATURE_V1``.

    Raises:
        LedgerError: ``FIELD_INVALID`` for a name, type or length that cannot be.
    """

    name: str
    public_key: bytes
    signature_type: int = ED25519

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            msg = f"a key's name has no spaces and no plus: {self.name!r}"
            raise invalid(msg)
        if self.signature_type not in {ED25519, COSIGNATURE_V1}:
            msg = f"signature type {self.signature_type:#04x} is not one that can be verified here"
            raise invalid(msg)
        if len(self.public_key) != _KEY_BYTES:
            msg = f"an Ed25519 public key has {_KEY_BYTES} bytes, not {len(self.public_key)}"
            raise invalid(msg)

    @property
    def key_id(self) -> bytes:
        """4 bytes: SHA-256(name ‖ newline ‖ type ‖ public key), shortened (C2SP signed-note)."""
        material = self.name.encode() + b"\n" + bytes([self.signature_type]) + self.public_key
        return sha256(material).digest()[:_KEY_ID_BYTES]

    @property
    def vkey(self) -> str:
        """The text form: ``name+hex(key id)+base64(type ‖ public key)``."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(bytes([self.signature_type]) + self.public_key).decode()}"

    def verify(self, text: bytes, signature: bytes) -> int | None:
        """Check a signature over a note's text.

        Args:
            text: The note's text with its final newline.
            signature: What follows the key id in the signature line.

        Returns:
            Seconds since 1970 that a cosignature states; None for a signature of type 0x01.

        Raises:
            LedgerError: ``DATA_DAMAGED`` where the signature is not this key's over this text.
        """
        timestamp = None
        message = text
        if self.signature_type == COSIGNATURE_V1:
            timestamp = int.from_bytes(signature[:_TIMESTAMP_BYTES], "big")
            signature = signature[_TIMESTAMP_BYTES:]
            message = cosigned_message(text, timestamp)
        if len(signature) != _SIGNATURE_BYTES or (timestamp or 0) > _MAX_TIMESTAMP:
            msg = f"the signature by {self.name} is not of its type's form"
            raise damaged(msg)
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            msg = f"the signature by {self.name} does not fit the text"
            raise damaged(msg) from error
        return timestamp


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line.

    Args:
        name: The key's name as the line has it.
        key_id: 4 bytes.
        signature: What follows the key id; its form is its type's.
    """

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {b64encode(self.key_id + self.signature).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as read: nothing in it is to be believed before ``verify``.

    Args:
        text: The signed text with its final newline.
        signatures: The signature lines in order.
    """

    text: bytes
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return self.text + b"\n" + "".join(one.line for one in self.signatures).encode()


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds.

    Args:
        key: Whose it is.
        timestamp: Seconds since 1970 that a cosignature states; None for a signature of type 0x01.
    """

    key: VerifierKey
    timestamp: int | None


def parse_vkey(text: str) -> VerifierKey:
    """Read a verifier key.

    Args:
        text: ``name+hex(key id)+base64(type ‖ public key)``; one newline at the end is allowed, as in a file.

    Returns:
        The key.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the text is not a vkey, its id is not the key's, or its type is unknown.
    """
    parts = text.removesuffix("\n").split("+", _VKEY_PARTS - 1)  # base64 has pluses of its own
    if len(parts) != _VKEY_PARTS:
        msg = "a vkey has three parts with a plus between them"
        raise invalid(msg)
    name, key_id, material_text = parts
    try:
        material = strict_base64(material_text)
    except ValueError as error:
        msg = "the last part of the vkey is not base64"
        raise invalid(msg) from error
    if not material:
        msg = "the last part of the vkey is empty"
        raise invalid(msg)
    key = VerifierKey(name, material[1:], material[0])
    if key.key_id.hex() != key_id:
        msg = f"the key id in the vkey is {key_id!r}, but the key's is {key.key_id.hex()!r}"
        raise invalid(msg)
    return key


def sign(text: bytes, key: VerifierKey, sign_bytes: Callable[[bytes], bytes]) -> Signature:
    """Sign a note's text, and look at the signature again before it goes out.

    Args:
        text: The text with its final newline.
        key: The public half, of type ``ED25519``.
        sign_bytes: Signs a message with the private half, such as ``Ed25519PrivateKey.sign``.

    Returns:
        The signature line.

    Raises:
        LedgerError: ``FIELD_INVALID`` for a text that no note can have; ``DATA_DAMAGED`` where the two halves do not
            belong together or the signature came out wrong.
    """
    if key.signature_type != ED25519:
        msg = "a note is signed with a key of type 0x01; a witness cosigns"
        raise invalid(msg)
    _check_text(text)
    signature = sign_bytes(text)
    key.verify(text, signature)
    return Signature(key.name, key.key_id, signature)


def cosign(text: bytes, key: VerifierKey, sign_bytes: Callable[[bytes], bytes], timestamp: int) -> Signature:
    """Cosign a checkpoint's text as a witness does (C2SP ``tlog-cosignature``, Ed25519).

    Args:
        text: The checkpoint's text with its final newline.
        key: The public half, of type ``COSIGNATURE_V1``.
        sign_bytes: Signs a message with the private half.
        timestamp: Seconds since 1970.

    Returns:
        The signature line.

    Raises:
        LedgerError: as ``sign``.
    """
    if key.signature_type != COSIGNATURE_V1 or not 0 <= timestamp <= _MAX_TIMESTAMP:
        msg = "a cosignature needs a key of type 0x04 and a time since 1970"
        raise invalid(msg)
    _check_text(text)
    signature = timestamp.to_bytes(_TIMESTAMP_BYTES, "big") + sign_bytes(cosigned_message(text, timestamp))
    key.verify(text, signature)
    return Signature(key.name, key.key_id, signature)


def cosigned_message(text: bytes, timestamp: int) -> bytes:
    """The message under a cosignature: ``cosignature/v1``, ``time T``, then the checkpoint's text."""
    return b"cosignature/v1\ntime %d\n" % timestamp + text


def parse(data: bytes) -> Note:
    """Read a note without believing it.

    Args:
        data: The note's bytes.

    Returns:
        Text and signature lines.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the bytes are not a signed note.
    """
    if len(data) > MAX_NOTE_BYTES:
        msg = f"a note of {len(data)} bytes is longer than the {MAX_NOTE_BYTES} allowed"
        raise damaged(msg)
    _check_characters(data)
    cut = data.rfind(b"\n\n")  # the text is separated from the signatures by the last empty line
    if cut < 0:
        msg = "the note has no empty line before its signatures"
        raise damaged(msg)
    text, block = data[: cut + 1], data[cut + 2 :]
    if not block.endswith(b"\n"):
        msg = "the note does not end with a whole signature line"
        raise damaged(msg)
    lines = block.decode()[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        msg = f"a note of {len(lines)} signatures has more than the {MAX_SIGNATURES} allowed"
        raise damaged(msg)
    return Note(text, tuple(_parse_line(line) for line in lines))


def verify(note: Note, keys: Iterable[VerifierKey]) -> tuple[Verified, ...]:
    """Check a note against the keys that the reader knows.

    Args:
        note: The note as read.
        keys: The known keys.

    Returns:
        One item for each known key that signed, in the order of the lines; never empty.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where a known key's signature does not hold, or no known key signed;
            ``FIELD_INVALID`` where two known keys share name and id.
    """
    known = _by_name_and_id(tuple(keys))
    found: dict[VerifierKey, Verified] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            found.setdefault(key, Verified(key, key.verify(note.text, line.signature)))
    if not found:
        msg = "no known key signed the note"
        raise damaged(msg)
    return tuple(found.values())


def strict_base64(text: str) -> bytes:
    """Decode standard base64 (RFC 4648, section 4) in the one form that encoding gives.

    Args:
        text: The text; no spaces, no missing padding, no stray bits.

    Returns:
        The bytes.

    Raises:
        ValueError: For any other text.
    """
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "not base64"
        raise ValueError(msg) from error
    if b64encode(data).decode() != text:
        msg = "not the canonical form of base64"
        raise ValueError(msg)
    return data


def _by_name_and_id(keys: Sequence[VerifierKey]) -> dict[tuple[str, bytes], VerifierKey]:
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            msg = f"two known keys share the name {key.name} and the same id"
            raise invalid(msg)
    return known


def _parse_line(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _is_name(name):
        msg = "a signature line is not of the form dash, name, base64"
        raise damaged(msg)
    try:
        data = strict_base64(encoded)
    except ValueError as error:
        msg = f"the signature by {name} is not base64"
        raise damaged(msg) from error
    if len(data) <= _KEY_ID_BYTES:
        msg = f"the signature by {name} is cut short"
        raise damaged(msg)
    return Signature(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


def _check_text(text: bytes) -> None:
    _check_characters(text)
    if not text.endswith(b"\n"):
        msg = "a note's text ends with a newline"
        raise invalid(msg)


def _check_characters(data: bytes) -> None:
    try:
        characters = data.decode()
    except UnicodeDecodeError as error:
        msg = "the note is not UTF-8"
        raise damaged(msg) from error
    if any(character < " " and character != "\n" for character in set(characters)):
        msg = "the note has a control character other than newline"
        raise damaged(msg)


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(one.isspace() or ord(one) < _FIRST_PRINTABLE for one in name)
