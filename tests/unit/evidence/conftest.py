"""A tenant with two persons, one photo of both, and packs about them; nothing here changes what the fixtures give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from consentry_server.adapters.grpc.tenants import Tenant
from consentry_server.core.ledger.note import VerifierKey
from consentry_server.core.record.facts import Box
from consentry_server.services.evidence_selection import Wanted
from tests.support.clocks import Clock
from tests.support.stack import Stack, face, start
from tests.support.verifying import unpack, write


@dataclass(frozen=True)
class Story:
    """What was recorded about two persons.

    Args:
        stack: The tenant.
        folder: Its state folder.
        eileen: The one whose packs are made.
        martha: The other.
        photo_id: A photo of both.
    """

    stack: Stack
    folder: Path
    eileen: str
    martha: str
    photo_id: str

    @property
    def tenant(self) -> Tenant:
        return self.stack.tenant

    @property
    def key(self) -> VerifierKey:
        return self.tenant.checkpoints.key

    async def pack(self, wanted: Wanted) -> bytes:
        """A pack of the ledger as it stands."""
        note = await self.tenant.audit.checkpoint()
        return b"".join(self.tenant.evidence.export(wanted, note))


@pytest.fixture
async def story(tmp_path: Path, photos: Path) -> AsyncIterator[Story]:
    clock = Clock()
    folder = tmp_path / "state"
    stack = await start(folder, clock)
    await stack.policy()
    await stack.notice()
    clock.forward(minutes=1)
    uploaded = await stack.upload((photos / "two-people.jpg").read_bytes(), owner="eileen")
    assert uploaded.photo is not None
    photo_id = uploaded.photo.photo_id
    await stack.check(face("eileen"), photo_id=photo_id)
    await stack.consent("eileen")
    clock.forward(minutes=1)
    left, right = face("eileen", Box(10, 10, 80, 80)), face("martha", Box(200, 10, 80, 80))
    mixed = await stack.check(left, right, photo_id=photo_id)
    await stack.open_photo(mixed.permit)
    allowed = await stack.check(face("eileen"), photo_id=photo_id)
    await stack.store_identifier(allowed.permit)
    await stack.consent("martha")
    await stack.check(face("martha"), photo_id=photo_id)
    clock.forward(minutes=1)
    await stack.withdraw("eileen")
    await stack.check(face("eileen"), photo_id=photo_id)
    people = stack.tenant.people
    yield Story(stack, folder, await people.known("eileen"), await people.known("martha"), photo_id)
    await stack.running.aclose()


@pytest.fixture
def unpacked(tmp_path: Path) -> Callable[[bytes], tuple[Path, dict[str, bytes]]]:
    """Write a pack's files as a folder."""

    def write_out(data: bytes) -> tuple[Path, dict[str, bytes]]:
        files = unpack(data)
        return write(tmp_path / "pack", files), files

    return write_out
