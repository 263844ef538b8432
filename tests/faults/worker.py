"""A tenant under a mixed load in a process that may die at any moment; it says what was acknowledged, and then only.

Each line on standard output is one JSON object, written by one system call after the answer came: what a caller would
hold in its hands. ``did`` is an acknowledgement, ``refused`` an error with its reason. Exit codes: 0 done, 3 the ledger
failed and the process stopped itself, 4 the start was refused; anything else is a fault of the product.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from consentry_server.adapters.sqlite import store as sqlite_store
from consentry_server.config import LedgerSettings
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import DestructionStage, Operation
from consentry_server.services.context import RequestKey
from consentry_server.services.identifiers import StoredIdentifier
from consentry_server.tenant import RunningTenant
from tests.faults import sabotage
from tests.support.clocks import Clock
from tests.support.stack import SETTINGS, Stack, face

STOPPED = 3
REFUSED = 4
CALLERS = 6
TRIES = 40
PHOTO_HEAD = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000100000001000802000000d3103f31")
"""A PNG of 256 by 256 pixels as far as the vault looks; what follows is noise."""
TASTES = {"deny": 5, "allow": 4, "consent": 2, "upload": 3, "enroll": 3, "withdraw": 1, "checkpoint": 1}


class RealClock(Clock):
    """A clock that goes, so that entries of one run differ in time as they do in life."""

    def __getattribute__(self, name: str) -> Any:
        return datetime.now(UTC) if name == "now" else super().__getattribute__(name)


def say(**what: Any) -> None:
    """Hand an answer out: one line, one system call, of a kind that no file of the product sees."""
    os.writev(1, [json.dumps(what, sort_keys=True).encode() + b"\n"])


class Stderr:
    """For the log: like ``say``."""

    def write(self, text: str) -> int:
        return os.writev(2, [text.encode()])

    def flush(self) -> None:
        """Nothing is held back."""


@dataclass
class Load:
    """What all callers share.

    Args:
        stack: The tenant.
        failed: Set when the service says that it must stop.
    """

    stack: Stack
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    def is_over(self) -> bool:
        tenant = self.stack.tenant
        return tenant.sequencer.failed.is_set() or tenant.checkpoints.failed.is_set()


class OneCaller:
    """One caller with its own people, photos and order of things."""

    def __init__(self, load: Load, name: str, seed: str) -> None:
        self._load = load
        self._stack = load.stack
        self._name = name
        self._seed = seed
        self._choice = random.Random(f"{seed}-{name}")
        self._people: list[str] = []
        self._photos: list[str] = []
        self._enrolled: dict[str, list[str]] = {}
        self._count = 0

    async def run(self, steps: int) -> None:
        """Do something, again and again, until it is enough or the service is over."""
        for _ in range(steps):
            if self._load.is_over():
                return
            name = self._choice.choices(list(TASTES), list(TASTES.values()))[0]
            act: Callable[[RequestKey], Awaitable[None]] = getattr(self, f"_{name}")
            await self._insist(name, act)

    async def _insist(self, name: str, act: Callable[[RequestKey], Awaitable[None]]) -> None:
        """Ask; where the disk is full, ask again: a later try must work."""
        self._count += 1
        body = f"{self._seed}-{self._name}-{self._count}".encode()
        key = RequestKey(hashlib.sha256(b"key" + body).digest(), hashlib.sha256(body).digest())
        for _ in range(TRIES):
            try:
                await act(key)
            except ConsentryError as error:
                say(refused=name, key=key.key.hex(), reason=str(error.reason), message=error.message)
                if error.reason is not Reason.STORAGE_FULL:
                    return
            except Exception as error:  # noqa: BLE001 - whatever it is, the service should have said it in its own words
                trail = "".join(traceback.format_exception(error)[-3:])
                say(refused=name, key=key.key.hex(), reason="FAULT", message=trail[-600:])
                return
            else:
                return

    def _somebody(self) -> str:
        return self._choice.choice(self._people) if self._people else f"stranger-{self._name}"

    async def _deny(self, key: RequestKey) -> None:
        checked = await self._stack.check(
            face(f"stranger-{self._choice.randrange(30)}"), sha256=self._choice.randbytes(32), key=key
        )
        self._entry("check", key, checked.recorded, decision=checked.decision_id, permit=checked.permit)

    async def _allow(self, key: RequestKey) -> None:
        checked = await self._stack.check(face(self._somebody()), sha256=self._choice.randbytes(32), key=key)
        self._entry("check", key, checked.recorded, decision=checked.decision_id, permit=checked.permit)

    async def _consent(self, key: RequestKey) -> None:
        person = f"person-{self._seed}-{self._name}-{self._count}"
        delivery = await self._stack.deliver(person)
        released = await self._stack.release(person, delivery, key=key)
        self._people.append(person)
        self._entry("release", key, released.answer.recorded)

    async def _upload(self, key: RequestKey) -> None:
        noise = random.Random(key.key)
        data = PHOTO_HEAD + noise.randbytes(noise.choice([40, 3_000, 90_000]))
        uploaded = await self._stack.upload(data, owner=f"owner-{self._name}", key=key)
        if uploaded.photo is not None:
            self._photos.append(uploaded.photo.photo_id)
            digest = hashlib.sha256(data).hexdigest()
            self._entry("photo", key, uploaded.recorded, photo=uploaded.photo.photo_id, sha256=digest)

    async def _enroll(self, key: RequestKey) -> None:
        if not self._people or not self._photos:
            return
        person, photo = self._somebody(), self._choice.choice(self._photos)
        checked = await self._stack.check(face(person), operation=Operation.ENROLL, photo_id=photo)
        if not checked.permit:
            return
        template = random.Random(key.key).randbytes(512)
        stored: StoredIdentifier = await self._stack.store_identifier(checked.permit, template=template, key=key)
        if stored.identifier is not None:
            self._enrolled.setdefault(person, []).append(stored.identifier.identifier_id)
            digest = hashlib.sha256(template).hexdigest()
            self._entry(
                "identifier", key, stored.recorded, identifier=stored.identifier.identifier_id, sha256=digest,
                dek=stored.identifier.dek_id, person=person,
            )  # fmt: skip

    async def _withdraw(self, key: RequestKey) -> None:
        if not self._people:
            return
        person = self._somebody()
        say(asked="withdraw", person=person)
        destructions = await self._stack.withdraw(person)
        self._people.remove(person)
        for destruction_id in destructions:
            certificate = await self._stack.tenant.retention.certificate(destruction_id)
            if certificate.destruction.stage is DestructionStage.REQUESTED:
                continue
            targets = [[each.record_id, each.dek_id] for each in certificate.destruction.targets]
            say(did="destroyed", destruction=destruction_id, targets=targets)

    async def _checkpoint(self, key: RequestKey) -> None:
        note = await self._stack.tenant.audit.checkpoint()
        say(did="checkpoint", note=note.decode())

    def _entry(self, did: str, key: RequestKey, recorded: Any, **more: Any) -> None:
        say(did=did, key=key.key.hex(), index=recorded.index, leaf=recorded.leaf_hash.hex(), **more)


async def work(state: Path, seed: str, steps: int, *, create: bool) -> int:
    """Start, work, stop; the exit code."""
    settings = SETTINGS.model_copy(update={"ledger": LedgerSettings(linger_milliseconds=1.0, checkpoint_seconds=0.05)})
    clock = RealClock()
    running = RunningTenant(state, "acme", settings, encrypted_in_transit=True, clock=clock)
    try:
        stack = Stack(running, await running.start(create=create), clock)
    except ConsentryError as error:
        say(refused="start", reason=str(error.reason), message=error.message)
        return REFUSED
    load = Load(stack)
    with suppress(ConsentryError):
        await stack.policy()
    for _ in range(TRIES):
        try:
            await stack.notice()
        except ConsentryError as error:
            say(refused="notice", reason=str(error.reason), message=error.message)
            if error.reason is not Reason.STORAGE_FULL:
                break
        else:
            callers = [OneCaller(load, str(number), seed) for number in range(CALLERS)]
            await asyncio.gather(*(each.run(steps) for each in callers))
            break
    over = load.is_over()
    try:
        await running.aclose()
    except ConsentryError as error:
        say(refused="stop", reason=str(error.reason), message=error.message)
        over = True
    return STOPPED if over else 0


def main() -> None:
    """Read the command line and work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--steps", type=int, required=True, help="what each caller does")
    parser.add_argument("--create", action="store_true")
    parser.add_argument("--sabotage", choices=sorted(sabotage.KINDS), default="none")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Stderr())))
    sqlite_store.CHECKPOINT_SECONDS = 0.01  # many moves from the log into the file, so that many cuts fall into one
    sabotage.KINDS[options.sabotage]()
    sys.exit(asyncio.run(work(options.state, options.seed, options.steps, create=options.create)))


if __name__ == "__main__":
    main()
