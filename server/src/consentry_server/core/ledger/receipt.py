"""Receipts, C2SP ``tlog-proof``: one entry's inclusion proof and the checkpoint it leads to, in one text file."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger import merkle, note
from consentry_server.core.ledger.checkpoint import OpenedCheckpoint, open_checkpoint, parse_decimal
from consentry_server.core.ledger.errors import damaged

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_LINE: Final = "c2sp.org/tlog-proof@v1"  # C2SP tlog-proof, format
FILE_SUFFIX: Final = ".tlog-proof"

_MAX_HEAD_BYTES: Final = 64 * 1024
"""First line, extra data, index and 64 hashes; extra data beyond this is not for a receipt."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A proof that can be checked offline with the ledger's key alone.

    Args:
        index: The entry's place in the ledger.
        proof: Hashes from the leaf's sibling upward, 32 bytes each.
        checkpoint: The signed note, as published.
        extra: Opaque data beside the proof, which nothing authenticates; empty for none.
    """

    index: int
    proof: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """The receipt's text."""
        lines = [FIRST_LINE]
        if self.extra:
            lines.append(f"extra {b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines.extend(b64encode(one).decode() for one in self.proof)
        return "\n".join(lines).encode() + b"\n\n" + self.checkpoint


def parse(data: bytes) -> Receipt:
    """Read a receipt without believing it.

    Args:
        data: The text.

    Returns:
        Its parts.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where the bytes are not a receipt.
    """
    head, separator, checkpoint = data.partition(b"\n\n")
    if not separator or not head.isascii() or len(head) > _MAX_HEAD_BYTES:
        msg = "the receipt has no empty line between its proof and its checkpoint"
        raise damaged(msg)
    first, *lines = head.decode().split("\n")
    if first != FIRST_LINE:
        msg = f"the receipt does not begin with {FIRST_LINE}"
        raise damaged(msg)
    extra = b""
    if lines and lines[0].startswith("extra "):
        extra = _decode(lines.pop(0).removeprefix("extra "))
        if not extra:
            msg = "the receipt's extra line is empty"
            raise damaged(msg)
    if not lines or not lines[0].startswith("index "):
        msg = "the receipt does not state its index"
        raise damaged(msg)
    index = parse_decimal(lines.pop(0).removeprefix("index "))
    if len(lines) > merkle.MAX_PROOF_HASHES:
        msg = "the receipt's proof is longer than any tree needs"
        raise damaged(msg)
    proof = tuple(map(_decode, lines))
    if any(len(one) != merkle.HASH_BYTES for one in proof):
        msg = "a hash in the receipt is not 32 bytes long"
        raise damaged(msg)
    return Receipt(index, proof, checkpoint, extra)


def verify(
    receipt: Receipt, leaf: bytes, key: note.VerifierKey, cosigners: Iterable[note.VerifierKey] = ()
) -> OpenedCheckpoint:
    """Check a receipt against an entry.

    1. The checkpoint is signed by the ledger's key, and no known cosignature is bad.
    2. The proof leads from the leaf at the index to the checkpoint's root.

    Args:
        receipt: The receipt as read.
        leaf: The entry's leaf hash, 32 bytes, computed by the caller from the entry's bytes.
        key: The ledger's key.
        cosigners: Keys of known witnesses.

    Returns:
        The checkpoint and who cosigned it.

    Raises:
        LedgerError: ``DATA_DAMAGED`` where a step fails.
    """
    # (1) the checkpoint is the ledger's
    opened = open_checkpoint(receipt.checkpoint, key, cosigners)
    # (2) the entry is in its tree
    merkle.verify_inclusion(leaf, receipt.index, opened.checkpoint.size, receipt.proof, opened.checkpoint.root)
    return opened


def _decode(text: str) -> bytes:
    try:
        return note.strict_base64(text)
    except ValueError as error:
        msg = "a line of the receipt is not base64"
        raise damaged(msg) from error
