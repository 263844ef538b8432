"""Anchors: others who vouch for the ledger's size and root, asked regularly, and what the ledger says without them.

A ledger that nobody else has seen could be written anew by whoever holds its key. So the checkpoint of the day goes to
timestamp authorities and witnesses. They may be away: decisions never wait for them, the ledger says how long it has
been without an anchor, and the next one covers everything before it, since a tree only grows.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from consentry_server.core.errors import ConsentryError
from consentry_server.core.ledger import anchors as files
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import decode, parse_time
from consentry_server.core.ledger.merkle import frontier_at
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.services.ledger import tile_reader
from consentry_server.services.ports_anchors import AnchorError, OtherSize

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from consentry_server.core.ledger.checkpoint import Checkpoint
    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_anchors import AnchorFiles, TimestampAuthority, Vouched, Witness

FIRST_RETRY_SECONDS: Final = 5.0
"""How soon an anchor that failed is asked again; each further failure doubles it, up to the regular cadence."""

_log = structlog.get_logger("anchors")


class AnchorKind(StrEnum):
    """What an anchor is."""

    TIMESTAMP = "TIMESTAMP"
    WITNESS = "WITNESS"


@dataclass(frozen=True, slots=True)
class AnchorState:
    """One anchor, as it stands.

    Args:
        name: What it is called here.
        kind: What it is.
        size: Number of entries in the largest tree that it vouched for; 0 for none.
        time: When it did, by its own clock; None where it never did.
        error: Why the last attempt failed; empty where it did not.
    """

    name: str
    kind: AnchorKind
    size: int = 0
    time: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Anchoring:
    """Whether others vouch for the ledger as it is.

    Args:
        anchored: Whether every entry older than ``max_unanchored`` is under an anchor; never true without one.
        size: Number of entries in the largest tree that an anchor vouched for; 0 for none.
        time: When it did, by its own clock.
        waiting_since: When the first entry beyond that tree was recorded; None where there is none.
        max_unanchored: The setting.
        anchors: Each anchor.
    """

    anchored: bool
    size: int
    time: datetime | None
    waiting_since: datetime | None
    max_unanchored: timedelta
    anchors: tuple[AnchorState, ...]

    @property
    def sentence(self) -> str:
        """The same in plain words."""
        if not self.anchors:
            return "not anchored: no timestamp authority or witness is configured, nobody but its keeper vouches for it"
        if not self.size:
            return "not anchored: nobody but its keeper has vouched for it yet"
        names = " and ".join(one.name for one in self.anchors if one.size == self.size)
        seen = f"entries 0 to {self.size - 1} are vouched for by {names}"
        if self.waiting_since is None:
            return f"anchored: {seen}"
        later = f"what was recorded from {self.waiting_since:%Y-%m-%d %H:%M:%S} UTC on is not"
        return f"{'anchored' if self.anchored else 'not anchored'}: {seen}; {later}"


@dataclass(slots=True)
class _Anchor:
    """An anchor and what is known of it."""

    state: AnchorState
    file: str
    ask: Callable[[int, int, bytes], Awaitable[Vouched]]
    """Asks it to vouch: the size it vouched for last, the size, the checkpoint."""
    verify: Callable[[bytes, bytes], datetime]
    """Verifies what it gave earlier: the checkpoint, the kept file."""
    vouched_at: datetime | None = None
    refused_size: int = 0
    """Size of a kept file that did not verify; it is not looked at again."""


class Anchors:
    """Keeps one ledger anchored.

    Args:
        checkpoints: Signs what is anchored.
        store: For reading when the first entry that waits was recorded.
        prove: Gives the consistency proof between two sizes.
        kept: Where what anchors gave is kept.
        authorities: The configured timestamp authorities.
        witnesses: The configured witnesses.
        clock: The time now, UTC.
        anchor_seconds: How often a grown ledger is anchored.
        max_unanchored_seconds: How old an entry may become without an anchor before the ledger says so.
    """

    def __init__(
        self,
        *,
        checkpoints: Checkpoints,
        store: LedgerStore,
        prove: Callable[[int, int], Awaitable[Sequence[bytes]]],
        kept: AnchorFiles,
        authorities: Sequence[TimestampAuthority],
        witnesses: Sequence[Witness],
        clock: Callable[[], datetime],
        anchor_seconds: float,
        max_unanchored_seconds: float,
    ) -> None:
        self._checkpoints = checkpoints
        self._store = store
        self._prove = prove
        self._kept = kept
        self._clock = clock
        self._anchor_seconds = anchor_seconds
        self._max_unanchored = timedelta(seconds=max_unanchored_seconds)
        self._anchors = [
            *(self._of_authority(one) for one in authorities),
            *(self._of_witness(one) for one in witnesses),
        ]
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._said_anchored: bool | None = None
        self._said_at: datetime | None = None

    async def start(self) -> None:
        """Look at what is kept, then anchor as the ledger grows."""
        await asyncio.to_thread(self._look)
        if self._anchors:
            self._task = asyncio.create_task(self._anchor_regularly(), name="anchors")
        else:
            await self._say()

    async def aclose(self) -> None:
        """Stop asking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def anchor(self, *, due_only: bool = False) -> Anchoring:
        """Ask every anchor to vouch for the ledger as it is now.

        Args:
            due_only: Leave those out that vouched for a tree less than ``anchor_seconds`` ago.

        Returns:
            How it stands afterwards; an anchor that failed says why.

        Raises:
            ConsentryError: The ledger itself failed, or nothing can be kept.
        """
        async with self._busy:
            await asyncio.to_thread(self._look)
            # a stop that comes now must not leave a thread signing beside the last checkpoint
            note = await asyncio.shield(asyncio.ensure_future(self._checkpoints.publish()))
            signed = open_checkpoint(note, self._checkpoints.chain.at_note(note)).checkpoint
            asked = [
                one for one in self._anchors if one.state.size < signed.size and not (due_only and self._fresh(one))
            ]
            done = await asyncio.gather(*(self._ask(one, signed, note) for one in asked), return_exceptions=True)
        for failure in done:
            if failure is not None:
                raise failure
        return await self.state()

    async def state(self) -> Anchoring:
        """How it stands now."""
        return await asyncio.to_thread(self._state)

    async def cosigned(self, note: bytes) -> bytes:
        """A checkpoint with the cosignatures that witnesses gave for its size."""
        return await asyncio.to_thread(self._cosigned, note)

    async def newest(self) -> bytes:
        """The checkpoint of the largest anchored size, with its cosignatures; empty where nothing is anchored."""
        return await asyncio.to_thread(self._newest)

    @staticmethod
    def _of_authority(authority: TimestampAuthority) -> _Anchor:
        return _Anchor(
            AnchorState(authority.name, AnchorKind.TIMESTAMP),
            authority.name + files.TIMESTAMP,
            lambda _old_size, _size, note: authority.stamp(note),
            authority.verify,
        )

    def _of_witness(self, witness: Witness) -> _Anchor:
        return _Anchor(
            AnchorState(witness.name, AnchorKind.WITNESS),
            witness.name + files.COSIGNATURE,
            partial(self._cosign, witness),
            witness.verify,
        )

    def _fresh(self, anchor: _Anchor) -> bool:
        return (
            not anchor.state.error
            and anchor.vouched_at is not None
            and self._clock() - anchor.vouched_at < timedelta(seconds=self._anchor_seconds)
        )

    async def _ask(self, anchor: _Anchor, signed: Checkpoint, note: bytes) -> None:
        try:
            vouched = await anchor.ask(anchor.state.size, signed.size, note)
            await asyncio.to_thread(keep, self._kept, signed.size, note, anchor.file, vouched.data)
        except AnchorError as error:
            if anchor.state.error != error.message:
                _log.warning("anchor_failed", anchor=anchor.state.name, message=error.message)
            anchor.state = replace(anchor.state, error=error.message)
            return
        _log.info("anchored", anchor=anchor.state.name, size=signed.size, time=vouched.time.isoformat())
        anchor.vouched_at = self._clock()
        anchor.state = replace(anchor.state, size=signed.size, time=vouched.time, error="")

    async def _cosign(self, witness: Witness, old_size: int, size: int, note: bytes) -> Vouched:
        """Ask a witness, once more from the size that it names where it has seen another one last."""
        answer = await witness.add_checkpoint(old_size, await self._proof(old_size, size), note)
        if isinstance(answer, OtherSize):
            if answer.size > size:
                raise AnchorError(
                    f"{witness.name} has cosigned {answer.size} entries of this ledger, which has {size}: this is an "
                    "older copy; keep all files, stop, and find the newest one"
                )
            answer = await witness.add_checkpoint(answer.size, await self._proof(answer.size, size), note)
        if isinstance(answer, OtherSize):
            raise AnchorError(
                f"{witness.name} names one size after another: only one server may ask it for this ledger"
            )
        return answer

    async def _proof(self, old_size: int, size: int) -> Sequence[bytes]:
        return await self._prove(old_size, size) if 0 < old_size < size else ()

    def _look(self) -> None:
        """Take up what is kept and not known: from before a restart, or from the command."""
        for anchor in self._anchors:
            size = self._kept.latest(anchor.file)
            if size <= max(anchor.state.size, anchor.refused_size):
                continue
            try:
                time = self._verify_kept(anchor, size)
            except ConsentryError as error:
                _log.warning("anchor_not_believed", anchor=anchor.state.name, size=size, message=error.message)
                anchor.refused_size = size
                anchor.state = replace(anchor.state, error=error.message)
                continue
            anchor.state = replace(anchor.state, size=size, time=time, error="")
            anchor.vouched_at = min(time, self._clock())

    def _verify_kept(self, anchor: _Anchor, size: int) -> datetime:
        note = self._kept.read(size, files.CHECKPOINT_NAME) or b""
        given = self._kept.read(size, anchor.file) or b""
        signed = open_checkpoint(note, self._checkpoints.chain.at_note(note)).checkpoint
        head = self._store.fetch_head()
        if signed.size != size or size > head.size:
            raise AnchorError(
                f"the ledger has {head.size} entries, but a kept checkpoint is of {signed.size}: this is an older "
                "copy; keep all files, stop, and find the newest one"
            )
        if frontier_at(size, TileHashes(head.size, tile_reader(self._store))).root() != signed.root:
            raise AnchorError(
                f"the first {size} entries are not the ones that a kept checkpoint is of: two histories exist; stop, "
                "keep all files, and find out which is the real one"
            )
        return anchor.verify(note, given)

    def _state(self) -> Anchoring:
        self._look()
        states = tuple(one.state for one in self._anchors)
        size = max((one.size for one in states), default=0)
        try:
            waiting = self._store.fetch_entry(size)
        except ConsentryError as error:  # a damaged tile fails its own reads; what waits is then as old as can be
            _log.error("waiting_entry_unreadable", reason=error.reason, message=error.message)
            since: datetime | None = datetime.fromtimestamp(0, UTC)
        else:
            since = None if waiting is None else parse_time(decode(waiting)["time"])
        return Anchoring(
            anchored=size > 0 and (since is None or self._clock() - since <= self._max_unanchored),
            size=size,
            time=min((one.time for one in states if one.time and one.size == size), default=None),
            waiting_since=since,
            max_unanchored=self._max_unanchored,
            anchors=states,
        )

    def _cosigned(self, note: bytes) -> bytes:
        size = open_checkpoint(note, self._checkpoints.chain.at_note(note)).checkpoint.size
        lines = []
        for one in self._anchors:
            if one.state.kind is AnchorKind.WITNESS and one.state.size == size:
                line = self._kept.read(size, one.file) or b""
                with contextlib.suppress(AnchorError):  # a file that was damaged since is not shown
                    one.verify(note, line)
                    lines.append(line)
        return files.with_cosignatures(note, lines)

    def _newest(self) -> bytes:
        size = max((one.state.size for one in self._anchors), default=0)
        note = self._kept.read(size, files.CHECKPOINT_NAME) if size else None
        return b"" if note is None else self._cosigned(note)

    async def _anchor_regularly(self) -> None:
        failures = 0
        while not self._checkpoints.failed.is_set():
            try:
                failures = 0 if await self._anchor_and_say() else failures + 1
            except ConsentryError as error:
                failures += 1
                _log.error("anchoring_failed", reason=error.reason, message=error.message)
            except Exception:  # noqa: BLE001 - whatever anchoring meets, decisions go on and the ledger says so
                failures += 1
                _log.exception("anchoring_failed")
            retry = FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16)
            await asyncio.sleep(min(retry, self._anchor_seconds) if failures else self._anchor_seconds)

    async def _anchor_and_say(self) -> bool:
        """One round; whether every anchor did its part."""
        try:
            state = await self.anchor(due_only=True)
        finally:
            await self._say()
        return not any(one.error for one in state.anchors)

    async def _say(self) -> None:
        """Say in the log that the ledger is not anchored, again and again, and that it is, once."""
        state = await self.state()
        now = self._clock()
        said_lately = self._said_at is not None and now - self._said_at < self._max_unanchored
        if state.anchored == self._said_anchored and (state.anchored or said_lately):
            return
        self._said_anchored, self._said_at = state.anchored, now
        say = _log.info if state.anchored else _log.warning
        say("ledger_anchored" if state.anchored else "ledger_not_anchored", message=state.sentence, size=state.size)


def keep(kept: AnchorFiles, size: int, note: bytes, name: str, data: bytes) -> None:
    """Keep what an anchor gave, and the checkpoint that it is for.

    Args:
        kept: Where.
        size: The checkpoint's size.
        note: The checkpoint with the log's own signature alone.
        name: The anchor's file.
        data: What it gave.

    Raises:
        AnchorError: Another checkpoint of that size is kept.
        ConsentryError: ``STORAGE_FAILED``: nothing can be kept.
    """
    if not kept.keep(size, files.CHECKPOINT_NAME, note):
        raise AnchorError(
            f"another checkpoint of {size} entries is kept: keep all files, and find out which is the real one"
        )
    kept.keep(size, name, data)
