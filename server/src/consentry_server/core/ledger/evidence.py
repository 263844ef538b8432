"""Completeness: what people outside hold, set against the ledger that was verified.

An integrity check shows that a tree is what its keeper signed; that it is the tree that was always shown needs
somebody else: a witness who cosigned, a timestamp authority, an earlier checkpoint or a permit that another keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.report import Completeness, Ground, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from consentry_server.core.ledger.checkpoint import Checkpoint, Cosignature, OpenedCheckpoint
    from consentry_server.core.ledger.note import VerifierKey


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint of this ledger that somebody else has seen.

    Args:
        label: What the reader calls it, such as the name of its file.
        checkpoint: The signed note.
        authority: Who stamped it; empty where the reader kept it.
        time: When it was stamped, UTC; None where the reader kept it.
    """

    label: str
    checkpoint: bytes
    authority: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class HeldPermit:
    """What a permit that somebody else holds says about its entry.

    Args:
        label: What the reader calls it, such as the name of its file.
        ledger: The ledger that issued it.
        index: Index of the decision's entry.
        leaf_hash: The entry's leaf hash, 32 bytes.
        signature_checked: Whether its signature was verified; if not, its holder could have written it.
    """

    label: str
    ledger: str
    index: int
    leaf_hash: bytes
    signature_checked: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the reader brings along.

    Args:
        cosigners: Keys of witnesses that the reader trusts.
        anchors: Checkpoints that somebody else has seen.
        permits: Permits that somebody else holds.
        unusable: What was brought along and could not be used, and why.
    """

    cosigners: tuple[VerifierKey, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    permits: tuple[HeldPermit, ...] = ()
    unusable: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        """Whether there is any."""
        return bool(self.cosigners or self.anchors or self.permits or self.unusable)


@dataclass(frozen=True, slots=True)
class Tree:
    """The verified ledger, as evidence is set against it.

    Args:
        opened: The checkpoint that was verified.
        intact: Whether its integrity is intact; if not, only what is signed can contradict anything.
        root_at: Root over the first so many entries, for the sizes that anchors name.
        leaf_at: Leaf hash of an entry.
    """

    opened: OpenedCheckpoint
    intact: bool
    root_at: Callable[[int], bytes]
    leaf_at: Callable[[int], bytes]


def anchored_sizes(evidence: Evidence, key: VerifierKey, size: int) -> frozenset[int]:
    """Sizes of earlier trees that will be asked for, so that they can be kept on the way.

    Args:
        evidence: What the reader brings along.
        key: The ledger's key.
        size: Entries under the checkpoint.

    Returns:
        Sizes below that of the checkpoint.
    """
    found = set()
    for anchor in evidence.anchors:
        try:
            found.add(open_checkpoint(anchor.checkpoint, key).checkpoint.size)
        except LedgerError:
            continue
    return frozenset(one for one in found if one < size)


def weigh(evidence: Evidence, key: VerifierKey, tree: Tree) -> tuple[Ground, ...]:
    """Set each piece of evidence against the ledger.

    Args:
        evidence: What the reader brings along.
        key: The ledger's key.
        tree: The ledger as verified.

    Returns:
        What came of each.
    """
    checkpoint = tree.opened.checkpoint
    grounds = [unusable(text) for text in evidence.unusable]
    if tree.intact:
        grounds += _cosigned(tree.opened.cosignatures, checkpoint, checkpoint)
    names = {one.name for one in tree.opened.cosignatures}
    grounds += [
        unusable(f"{witness.name} did not cosign this checkpoint")
        for witness in evidence.cosigners
        if witness.name not in names
    ]
    for anchor in evidence.anchors:
        grounds += _anchor(anchor, key, evidence.cosigners, tree)
    grounds += [_permit(permit, tree) for permit in evidence.permits]
    return tuple(grounds)


def completeness(grounds: Sequence[Ground], size: int, *, intact: bool) -> tuple[Completeness, str]:
    """The verdict on completeness, and what it rests on.

    Args:
        grounds: The evidence, weighed.
        size: Entries under the checkpoint.
        intact: Whether the ledger is.

    Returns:
        Verdict and one plain sentence.
    """
    holding = [ground for ground in grounds if ground.standing is Standing.HOLDS]
    if any(ground.standing is Standing.CONTRADICTED for ground in grounds):
        return Completeness.REFUTED, "what others hold contradicts this ledger: see the evidence below"
    if not intact:
        return Completeness.NOT_PROVEN, "the ledger is damaged"
    if any((ground.first, ground.until) == (0, size) for ground in holding):
        return Completeness.PROVEN, f"somebody beside the ledger's keeper vouches for all {size:,} entries"
    if holding:
        first = max(ground.until for ground in holding if ground.first == 0) if _from_start(holding) else 0
        covered = f"for the first {first:,} of {size:,} entries" if first else "for single entries"
        return Completeness.IN_PART, f"somebody beside the ledger's keeper vouches {covered}"
    nobody = "nobody but the ledger's keeper vouches for this tree"
    return Completeness.NOT_PROVEN, f"{nobody}: no known witness cosigned it, and no other evidence from outside holds"


def _from_start(holding: Iterable[Ground]) -> bool:
    return any(ground.first == 0 and ground.until > 1 for ground in holding)


def _cosigned(cosignatures: Iterable[Cosignature], seen: Checkpoint, today: Checkpoint) -> list[Ground]:
    what = "this checkpoint" if seen == today else f"the checkpoint over the first {seen.size:,} entries"
    return [
        Ground(Standing.HOLDS, 0, seen.size, f"{one.name} cosigned {what} on {_seconds(one.timestamp)}")
        for one in cosignatures
    ]


def _anchor(anchor: Anchor, key: VerifierKey, cosigners: tuple[VerifierKey, ...], tree: Tree) -> list[Ground]:
    today = tree.opened.checkpoint
    try:
        opened = open_checkpoint(anchor.checkpoint, key, cosigners)
    except LedgerError as error:
        return [unusable(f"{anchor.label} is no checkpoint of this ledger: {error.message}")]
    seen = opened.checkpoint
    what = f"all {seen.size:,} entries" if seen.size == today.size else f"the first {seen.size:,} entries"
    if anchor.time is None:
        told = f"{anchor.label} is a checkpoint over {what} that was kept outside the ledger"
    else:
        told = f"{anchor.authority} stamped a checkpoint over {what} on {_time(anchor.time)} ({anchor.label})"
    if seen.size > today.size:
        missing = f"at least {seen.size - today.size:,} entries that were recorded are missing here"
        return [Ground(Standing.CONTRADICTED, 0, 0, f"{told}: {missing}")]
    if seen.size == today.size and seen.root != today.root:
        return [Ground(Standing.CONTRADICTED, 0, 0, f"{told}, with another root: two histories were signed")]
    if not tree.intact:
        return [unusable(f"{told}: it says nothing about a damaged ledger")]
    if seen.size < today.size and tree.root_at(seen.size) != seen.root:
        changed = "those entries were others then: history was rewritten"
        return [Ground(Standing.CONTRADICTED, 0, 0, f"{told}, with another root: {changed}")]
    grounds = [Ground(Standing.HOLDS, 0, seen.size, f"{told}: they are unchanged and none is missing")]
    return grounds if seen == today else grounds + _cosigned(opened.cosignatures, seen, today)


def _permit(permit: HeldPermit, tree: Tree) -> Ground:
    today = tree.opened.checkpoint
    told = f"{permit.label} is a permit that rests on entry {permit.index:,}"
    doubt = "" if permit.signature_checked else " (its signature was not checked: no --permit-keys)"
    if permit.ledger != today.origin:
        return unusable(f"{permit.label} is a permit of {permit.ledger}, not of this ledger")
    if permit.index >= today.size:
        return Ground(Standing.CONTRADICTED, 0, 0, f"{told}, and this ledger ends before it{doubt}")
    if not tree.intact:
        return unusable(f"{told}: it says nothing about a damaged ledger")
    if tree.leaf_at(permit.index) != permit.leaf_hash:
        return Ground(Standing.CONTRADICTED, 0, 0, f"{told}, and another entry stands there now{doubt}")
    return Ground(Standing.HOLDS, permit.index, permit.index + 1, f"{told}: that entry is here, unchanged{doubt}")


def unusable(text: str) -> Ground:
    """Evidence that could not be used, and why."""
    return Ground(Standing.UNUSABLE, 0, 0, text)


def _seconds(timestamp: int) -> str:
    try:
        return _time(datetime.fromtimestamp(timestamp, UTC))
    except (OverflowError, OSError, ValueError):
        return f"{timestamp} s since 1970"


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d at %H:%M:%S} UTC"
