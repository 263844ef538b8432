"""What anchoring needs of the outside: authorities, witnesses, somebody who carries messages, a folder.

An anchor is somebody beside the ledger's keeper who vouches for its size and root at a time of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.ledger.note import VerifierKey


class AnchorError(ConsentryError):
    """An anchor did not answer, refused, or answered something that does not verify. The ledger goes on without it.

    Args:
        message: One plain sentence: what it did and what to do about it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Reason.STORAGE_FAILED, message)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Args:
        status: Its status code.
        content_type: Its media type without parameters, in lower case; empty where it names none.
        body: At most as many bytes as the sender allows.
    """

    status: int
    content_type: str
    body: bytes


class Web(Protocol):
    """Sends one HTTP request.

    Implementers guarantee: the whole exchange ends within a fixed time, the answer is bounded, redirects are not
    followed, and nothing but ``AnchorError`` is raised.
    """

    async def post(self, url: str, body: bytes, *, content_type: str) -> Answer:
        """Send a body and return the answer, whatever its status.

        Raises:
            AnchorError: There was no whole answer within the limits.
        """


@dataclass(frozen=True, slots=True)
class Vouched:
    """What an anchor gave, verified.

    Args:
        data: Its bytes as they are kept: a timestamp response (RFC 3161), or a signature line (C2SP signed-note).
        time: When it vouched, by its own clock.
    """

    data: bytes
    time: datetime


@dataclass(frozen=True, slots=True)
class OtherSize:
    """A witness that has seen another size last, and wants a proof from there.

    Args:
        size: Number of entries in the tree that it cosigned last.
    """

    size: int


class TimestampAuthority(Protocol):
    """Timestamps files (RFC 3161). Gives nothing that it has not verified against the configured roots."""

    @property
    def name(self) -> str:
        """What it is called here."""

    async def stamp(self, data: bytes) -> Vouched:
        """Ask for a timestamp over a file, and verify nonce, imprint, signature and certificate chain.

        Raises:
            AnchorError: There is no answer, or none that verifies.
        """

    def verify(self, data: bytes, token: bytes) -> datetime:
        """Verify a kept timestamp over a file again.

        Raises:
            AnchorError: It does not verify.
        """


class Witness(Protocol):
    """Cosigns checkpoints (C2SP tlog-witness). Gives nothing that its configured key did not sign."""

    @property
    def name(self) -> str:
        """What it is called here."""

    @property
    def key(self) -> VerifierKey:
        """Its key, of type 0x04."""

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes) -> Vouched | OtherSize:
        """Ask for a cosignature, and verify it.

        Args:
            old_size: Number of entries in the tree that it cosigned last, as far as the log knows.
            proof: Consistency proof from there (RFC 6962, section 2.1.2), at most 63 hashes; empty from size 0.
            checkpoint: The signed note.

        Returns:
            The cosignature line, or the size from which the witness wants the proof.

        Raises:
            AnchorError: There is no answer, it refused, or the cosignature does not verify.
        """

    def verify(self, checkpoint: bytes, line: bytes) -> datetime:
        """Verify a kept cosignature line over a checkpoint again.

        Raises:
            AnchorError: It does not verify.
        """


class AnchorFiles(Protocol):
    """Keeps, for each anchored size, the checkpoint and what anchors gave for it.

    Implementers guarantee: ``keep`` is durable when it returns; a file is written whole and never changed; several
    processes may write at once.
    """

    def keep(self, size: int, name: str, data: bytes) -> bool:
        """Keep a file; the first one of a size and name stays.

        Returns:
            Whether it is this one.
        """

    def read(self, size: int, name: str) -> bytes | None:
        """A kept file, or None."""

    def latest(self, name: str) -> int:
        """The largest size that has a file of this name; 0 where no recent one has."""
