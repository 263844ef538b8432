"""Rotation of a ledger's key: the old key vouches for the new one, and readers follow from any key they know.

The entry ``ledger.key_rotated`` carries a statement, a signed note of its own with two signatures: the old key's,
which vouches for the new key, and the new key's, which proves that it is held and acknowledges the old one. A reader
who knows one key of the chain can therefore follow it in both directions. The tree up to that entry is signed by the
old key, every larger one by the new key.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.checkpoint import Checkpoint, log_key, parse_body, parse_decimal
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.errors import LedgerError, damaged, invalid
from consentry_server.core.ledger.export import CHECKPOINT_PATH
from consentry_server.core.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, split_bundle, width_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ENTRY_TYPE: Final = "ledger.key_rotated"
KEYS_PATH: Final = "keys"
"""File of an export: every key the ledger has had, one a line, ``first size, space, vkey``."""

_TITLE: Final = "consentry key rotation v1"
"""No origin has spaces (C2SP signed-note, key names), so no statement can be taken for a checkpoint."""
_LINES: Final = 6  # title, origin, size, root, old vkey, new vkey


@dataclass(frozen=True, slots=True)
class Rotation:
    """What both keys sign.

    Args:
        last: The last checkpoint of the old key.
        old: The key that signed up to here.
        new: The key that signs from here on.

    Raises:
        LedgerError: ``FIELD_INVALID`` where the keys are not two different ones of this ledger.
    """

    last: Checkpoint
    old: notes.VerifierKey
    new: notes.VerifierKey

    def __post_init__(self) -> None:
        for key in (self.old, self.new):
            if key.name != self.last.origin or key.signature_type != notes.ED25519:
                msg = f"{key.name} is no log key of {self.last.origin}"
                raise invalid(msg)
        if self.old == self.new:
            msg = "a rotation needs another key"
            raise invalid(msg)

    @property
    def text(self) -> bytes:
        """The signed text: six lines, each ended by a newline."""
        lines = (
            _TITLE,
            self.last.origin,
            str(self.last.size),
            b64encode(self.last.root).decode(),
            self.old.vkey,
            self.new.vkey,
        )
        return "".join(f"{line}\n" for line in lines).encode()


def state(last: Checkpoint, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> bytes:
    """Make the statement of a rotation. Both signatures are verified before it is returned.

    Args:
        last: The last checkpoint of the old key.
        old: The old signing key.
        new: The new one.

    Returns:
        The signed note that the entry carries.

    Raises:
        LedgerError: ``FIELD_INVALID``: as ``Rotation``.
    """
    keys = log_key(last.origin, old), log_key(last.origin, new)
    text = Rotation(last, *keys).text
    signed = (notes.sign(text, key, private.sign) for key, private in zip(keys, (old, new), strict=True))
    return notes.Note(text, tuple(signed)).encode()


def open_statement(data: bytes) -> Rotation:
    """Read a statement and check both signatures. Whether its keys are this ledger's is for the reader to know.

    Args:
        data: The signed note.

    Returns:
        The rotation.

    Raises:
        LedgerError: ``DATA_DAMAGED`` for anything but six lines with both keys' good signatures.
    """
    note = notes.parse(data)
    lines = note.text.decode().split("\n")
    if len(lines) != _LINES + 1 or lines[0] != _TITLE:
        msg = "this is no statement of a key rotation"
        raise damaged(msg)
    try:
        last = parse_body("".join(f"{line}\n" for line in lines[1:4]).encode())
        rotation = Rotation(last, notes.parse_vkey(lines[4]), notes.parse_vkey(lines[5]))
    except LedgerError as error:
        raise damaged(error.message) from error
    if {one.key for one in notes.verify(note, (rotation.old, rotation.new))} != {rotation.old, rotation.new}:
        msg = "the statement of a key rotation is not signed by both keys"
        raise damaged(msg)
    return rotation


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A key and the first tree size that it signs; it signs up to the next key's first size."""

    first_size: int
    key: notes.VerifierKey


@dataclass(frozen=True, slots=True)
class KeyChain:
    """Every key that a ledger has had, in order.

    Args:
        ranges: From the first key to the newest; never empty, first sizes strictly rising from 0.

    Raises:
        LedgerError: ``FIELD_INVALID`` for ranges that are not so, or keys of several ledgers.
    """

    ranges: tuple[KeyRange, ...]

    def __post_init__(self) -> None:
        sizes = [one.first_size for one in self.ranges]
        if not sizes or sizes[0] != 0 or sizes != sorted(set(sizes)):
            msg = "the keys of a ledger begin at size 0 and follow one another"
            raise invalid(msg)
        if len({one.key.name for one in self.ranges}) != 1 or len({one.key for one in self.ranges}) != len(sizes):
            msg = "the keys of a ledger are different ones of one name"
            raise invalid(msg)

    @classmethod
    def of(cls, key: notes.VerifierKey) -> KeyChain:
        """The chain of a ledger whose key was never rotated."""
        return cls((KeyRange(0, key),))

    @property
    def newest(self) -> notes.VerifierKey:
        """The key that signs today."""
        return self.ranges[-1].key

    @property
    def keys(self) -> tuple[notes.VerifierKey, ...]:
        """All keys, the first one first."""
        return tuple(one.key for one in self.ranges)

    def at(self, size: int) -> notes.VerifierKey:
        """The key that signs checkpoints of a size."""
        return next(one.key for one in reversed(self.ranges) if one.first_size <= size)

    def at_note(self, data: bytes) -> notes.VerifierKey:
        """The key that has to have signed a checkpoint, by the size that it states; nothing in it is believed yet.

        Raises:
            LedgerError: ``DATA_DAMAGED`` where the bytes are no checkpoint.
        """
        return self.at(parse_body(notes.parse(data).text).size)

    def followed_by(self, index: int, rotation: Rotation) -> KeyChain:
        """The chain after the rotation whose entry stands at an index.

        Raises:
            LedgerError: ``DATA_DAMAGED`` where the rotation does not begin at this chain's newest key.
        """
        if rotation.old != self.newest or rotation.new in self.keys or rotation.last.size > index:
            msg = f"the key rotation at entry {index} does not follow from the key before it"
            raise damaged(msg)
        return KeyChain((*self.ranges, KeyRange(index + 1, rotation.new)))

    def encode(self) -> bytes:
        """The file ``keys`` of an export."""
        return "".join(f"{one.first_size} {one.key.vkey}\n" for one in self.ranges).encode()


def parse_keys(data: bytes) -> KeyChain:
    """Read the file ``keys``. It says where to look; what it says is believed only after ``follow``.

    Args:
        data: The file's bytes.

    Returns:
        The chain as claimed.

    Raises:
        LedgerError: ``DATA_DAMAGED`` for anything but lines of size and vkey in order.
    """
    try:
        lines = data.decode().removesuffix("\n").split("\n")
        parts = [line.partition(" ") for line in lines]
        return KeyChain(tuple(KeyRange(parse_decimal(size), notes.parse_vkey(vkey)) for size, _, vkey in parts))
    except UnicodeDecodeError as error:
        msg = "the list of keys is not UTF-8"
        raise damaged(msg) from error
    except LedgerError as error:
        msg = f"the list of keys cannot be read: {error.message}"
        raise damaged(msg) from error


def follow(
    claimed: KeyChain, trusted: notes.VerifierKey, entry_at: Callable[[int], Mapping[str, Any] | None]
) -> KeyChain:
    """Check a chain of keys from one key that the reader trusts.

    1. The trusted key is one of the chain's.
    2. Each rotation is an entry, at the place that the chain gives it.
    3. Its statement is signed by both keys, names this chain's keys, and no larger tree than the one before it.

    Whether those entries are in the tree is for the verification of the whole ledger to say.

    Args:
        claimed: The chain as the ledger's keeper gives it.
        trusted: Any key of the ledger, from a place that its keeper cannot change.
        entry_at: The decoded entry at an index, or None where there is none.

    Returns:
        The chain.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where a step fails.
    """
    # (1) the reader's key
    if trusted not in claimed.keys:
        msg = "the given key is none of the keys that this ledger has had"
        raise damaged(msg)
    proven = KeyChain.of(claimed.ranges[0].key)
    for one in claimed.ranges[1:]:
        # (2) the entry
        index = one.first_size - 1
        entry = entry_at(index)
        if entry is None or entry.get("type") != ENTRY_TYPE:
            msg = f"entry {index} should record a key rotation and does not"
            raise damaged(msg)
        # (3) its statement
        proven = proven.followed_by(index, open_statement(str(entry.get("statement", "")).encode()))
    if proven != claimed:
        msg = "the list of keys is not the one that the entries give"
        raise damaged(msg)
    return proven


def newest_key(read: Callable[[str], bytes | None], trusted: notes.VerifierKey) -> notes.VerifierKey:
    """The key that signs an exported ledger today, followed from one that the reader trusts.

    Args:
        read: Contents of a file of the export by its path, or None.
        trusted: As in ``follow``.

    Returns:
        The newest key; the trusted one where the export lists no others.

    Raises:
        LedgerError: as ``follow``.
    """
    listed, checkpoint = read(KEYS_PATH), read(CHECKPOINT_PATH)
    if listed is None or checkpoint is None:
        return trusted
    size = parse_body(notes.parse(checkpoint).text).size  # not believed: it says only how wide the last bundle is

    def entry_at(index: int) -> Mapping[str, Any] | None:
        if not 0 <= index < size:
            return None
        number, place = divmod(index, TILE_WIDTH)
        tile = Tile(ENTRIES, number, width_at(0, number, size))
        data = read(tile.path) or read(tile.path_if_full) or b""
        entries, _ = split_bundle(data)
        return decode(entries[place]) if place < len(entries) else None

    return follow(parse_keys(listed), trusted, entry_at).newest
