"""A witness over HTTP, C2SP ``tlog-witness``: ``add-checkpoint``."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.checkpoint import parse_decimal
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.services.ports_anchors import AnchorError, OtherSize, Vouched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.services.ports_anchors import Answer, Web

MAX_PROOF_LINES: Final = 63  # C2SP tlog-witness
SIZE_TYPE: Final = "text/x.tlog.size"  # C2SP tlog-witness
_OK: Final = 200
_CONFLICT: Final = 409
_REFUSALS: Final = {
    400: "calls the request malformed",
    403: "does not know this ledger's key: give it the newest vkey",
    404: "does not know this ledger: give it the ledger's origin and vkey",
    422: "found that this ledger does not continue the one it cosigned: keep all files, and find out which is the real "
    "one",
}
"""C2SP tlog-witness, by status code."""


class TlogWitness:
    """Implements ``services.ports_anchors.Witness``.

    Args:
        name: What it is called here.
        url: Its submission prefix.
        key: Its key, of type 0x04.
        web: Carries the messages.
    """

    def __init__(self, name: str, url: str, key: notes.VerifierKey, web: Web) -> None:
        self.name = name
        self.key = key
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._web = web

    async def add_checkpoint(self, old_size: int, proof: Sequence[bytes], checkpoint: bytes) -> Vouched | OtherSize:
        """See the port."""
        if len(proof) > MAX_PROOF_LINES:
            raise AnchorError(f"a proof of {len(proof)} hashes is more than a witness takes")
        lines = "".join(f"{b64encode(one).decode()}\n" for one in proof)
        body = f"old {old_size}\n{lines}\n".encode() + checkpoint
        answer = await self._web.post(self._url, body, content_type="text/plain; charset=utf-8")
        if answer.status == _CONFLICT:
            return self._other_size(answer)
        if answer.status != _OK:
            said = _REFUSALS.get(answer.status, "did not cosign: it is tried again")
            raise AnchorError(f"{self.name} answered {answer.status}: it {said}")
        return self._cosignature(checkpoint, answer.body)

    def verify(self, checkpoint: bytes, line: bytes) -> datetime:
        """See the port."""
        return self._cosignature(checkpoint, line).time

    def _other_size(self, answer: Answer) -> OtherSize:
        if answer.content_type != SIZE_TYPE:
            raise AnchorError(
                f"{self.name} has cosigned another tree of this size: keep all files, and find out which is the "
                "real one"
            )
        try:
            return OtherSize(parse_decimal(answer.body.decode("ascii").removesuffix("\n")))
        except (LedgerError, UnicodeDecodeError) as error:
            raise AnchorError(f"{self.name} answered 409 without a size: see what answers at {self._url}") from error

    def _cosignature(self, checkpoint: bytes, lines: bytes) -> Vouched:
        """Read signature lines as the specification proposes: as a note of the checkpoint and them."""
        try:
            note = notes.parse(checkpoint + lines)
            (verified,) = notes.verify(note, (self.key,))
        except LedgerError as error:
            raise AnchorError(
                f"the cosignature of {self.name} does not verify ({error.message}): see what answers at {self._url}, "
                "and whether its vkey is the right one"
            ) from error
        if not verified.timestamp:
            raise AnchorError(f"the cosignature of {self.name} states no time: it proves nothing about when")
        line = next(one for one in note.signatures if (one.name, one.key_id) == (self.key.name, self.key.key_id))
        try:
            return Vouched(line.line.encode(), datetime.fromtimestamp(verified.timestamp, UTC))
        except (ValueError, OverflowError, OSError) as error:
            raise AnchorError(f"the cosignature of {self.name} states a time that cannot be") from error
