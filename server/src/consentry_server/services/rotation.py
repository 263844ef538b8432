"""Rotation of the ledger's key. Every step can be repeated after a crash; see docs/decisions/0010."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consentry_server.core.ledger.checkpoint import log_key, open_checkpoint
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.ledger.rotation import KeyChain, KeyRange, open_statement, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from consentry_server.core.record.facts import KeyRotated
    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.keys import Keys
    from consentry_server.services.sequencer import Sequencer


def settle(ledger: str, keys: Keys, rotations: Sequence[KeyRotated]) -> KeyChain:
    """Bring the keys to what the ledger says at start: a rotation that was recorded has happened.

    Args:
        ledger: The ledger's origin.
        keys: Open; finishes a rotation that a crash interrupted after its entry.
        rotations: As the ledger records them.

    Returns:
        Every key the ledger has had.

    Raises:
        ConsentryError: ``KEYS_UNAVAILABLE``: the key store does not hold the newest key.
    """
    if not rotations:
        return KeyChain.of(log_key(ledger, keys.ledger_key.private))
    chain = KeyChain(
        (
            KeyRange(0, parse_vkey(rotations[0].old_vkey)),
            *(KeyRange(one.index + 1, parse_vkey(one.new_vkey)) for one in rotations),
        )
    )
    keys.adopt_ledger_key(chain.newest.public_key)
    return chain


class Rotation:
    """Rotates one ledger's key.

    Args:
        sequencer: Records the rotation.
        keys: Holds both keys.
        checkpoints: Signs with them.
    """

    def __init__(self, *, sequencer: Sequencer, keys: Keys, checkpoints: Checkpoints) -> None:
        self._sequencer = sequencer
        self._keys = keys
        self._checkpoints = checkpoints

    async def rotate(self, actor: str) -> KeyChain:
        """Take a new key.

        1. The new key is durable in the key store.
        2. The old key signs its last checkpoint.
        3. The entry, with the statement that both keys signed, is durable.
        4. The new key takes the old one's place; the old one is destroyed.
        5. The new key signs its first checkpoint.

        Args:
            actor: Who asked, as entries name it.

        Returns:
            Every key the ledger has had, the new one last.

        Raises:
            ConsentryError: A step failed. Before the third nothing has changed; after it the next start finishes.
        """
        # (1) the new key
        successor = await asyncio.to_thread(self._keys.next_ledger_key)

        async def record(note: bytes) -> KeyChain:
            # (3) the entry
            chain = await self._record(note, successor.private, actor)
            # (4) the new key in the old one's place
            await asyncio.to_thread(self._keys.adopt_ledger_key, chain.newest.public_key)
            return chain

        # (2) and (5) the checkpoints on both sides
        await self._checkpoints.rotate(record)
        return self._checkpoints.chain

    async def _record(self, note: bytes, successor: Ed25519PrivateKey, actor: str) -> KeyChain:
        old = self._checkpoints.key
        statement = state(open_checkpoint(note, old).checkpoint, self._keys.ledger_key.private, successor)
        rotation = open_statement(statement)
        body = {"old_vkey": old.vkey, "new_vkey": rotation.new.vkey, "statement": statement.decode()}
        recorded = await self._sequencer.submit(lambda book: book.append("ledger.key_rotated", actor, body))
        return self._checkpoints.chain.followed_by(recorded.index, rotation)
