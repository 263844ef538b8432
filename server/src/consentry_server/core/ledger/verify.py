"""Verification of a whole exported ledger: from its files and the ledger's published key, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger import anchors
from consentry_server.core.ledger.checkpoint import Cosignature, OpenedCheckpoint, open_checkpoint
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH
from consentry_server.core.ledger.merkle import HASH_BYTES, Frontier, hash_leaf, perfect_root
from consentry_server.core.ledger.rotation import KEYS_PATH, newest_key
from consentry_server.core.ledger.scan import Bundle, Finding, Link, Scanned, scan_bundle
from consentry_server.core.ledger.tiles import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    parse_path,
    split_bundle,
    split_hashes,
    width_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from consentry_server.core.ledger.note import VerifierKey

    Read = Callable[[str], bytes | None]
    Run = Callable[[Callable[[Bundle], Scanned], Iterable[Bundle]], Iterable[Scanned]]

MAX_FINDINGS: Final = 200
"""Findings that are listed; all are counted."""


class Integrity(StrEnum):
    """Whether what is there is what was recorded."""

    INTACT = "INTACT"
    DAMAGED = "DAMAGED"


class Completeness(StrEnum):
    """Whether it is everything that was recorded, up to the checkpoint and at its time."""

    PROVEN = "PROVEN"
    NOT_PROVEN = "NOT PROVEN"


class Selection(StrEnum):
    """Whether all that the ledger has about a person is here."""

    FULL_SCAN = "PROVEN BY FULL SCAN"
    NOT_PROVEN = "NOT PROVEN"


@dataclass(frozen=True, slots=True)
class Report:
    """What verification found: three separate verdicts, and what each rests on.

    Args:
        origin: The ledger's name.
        size: Entries under the checkpoint; 0 where it could not be believed.
        root: The checkpoint's root, 32 bytes; empty where it could not be believed.
        integrity: Whether every entry is the one that was recorded.
        completeness: Whether someone beside the ledger's keeper saw this very tree.
        completeness_basis: What that rests on.
        selection: Whether each person's entries are all here.
        selection_basis: What that rests on.
        findings: What is wrong, the first ``MAX_FINDINGS`` of it.
        findings_total: How many findings there were.
        not_covered: Files that lie beyond the checkpoint or are no part of a ledger; nothing is said about them.
        people: How many persons the entries are about.
        last_time: Time of the last entry, as entries have it; empty for an empty ledger.
    """

    origin: str
    size: int
    root: bytes
    integrity: Integrity
    completeness: Completeness
    completeness_basis: str
    selection: Selection
    selection_basis: str
    findings: tuple[Finding, ...]
    findings_total: int
    not_covered: tuple[str, ...]
    people: int
    last_time: str


def verify(
    read: Read,
    key: VerifierKey,
    *,
    cosigners: Iterable[VerifierKey] = (),
    paths: Iterable[str] = (),
    run: Run = map,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify an exported ledger.

    1. The checkpoint is signed by the ledger's key; no known cosignature is bad; an exported vkey is the given one.
    2. Every entry's hash is the one in its hash tile; every entry is well-formed, at its own place, of this ledger.
    3. Every hash tile is what the tiles below it make it.
    4. The entries lead to the checkpoint's root.
    5. Times never decrease; each person's chain has no gap.
    6. Partial tiles of earlier checkpoints, where listed in ``paths``, are beginnings of today's.

    Args:
        read: Contents of a file of the export by its path (``tile/0/000``), or None where there is none.
        key: Any key that the ledger has had, from a place that its keeper cannot change; later ones are followed.
        cosigners: Keys of witnesses that the reader trusts.
        paths: All files of the export, if they can be listed.
        run: Applies ``scan_bundle`` to bundles and gives the results in order: ``map``, or a process pool's.
        progress: Called now and then with the number of entries done.

    Returns:
        The report. Damage is never raised; it is reported.
    """
    # (1) the checkpoint and the key
    ledger = _Ledger(read)
    opened = ledger.open(key, tuple(cosigners))
    if opened is None:
        return ledger.report(key.name, None)
    size = opened.checkpoint.size
    ledger.sort_paths(paths, size)
    # (2) to (5) bundle by bundle, the tree above as it grows
    for scanned in run(scan_bundle, ledger.bundles(opened.checkpoint.origin, size)):
        ledger.take(scanned, size)
        if progress is not None:
            progress(min((scanned.bundle + 1) * TILE_WIDTH, size))
    ledger.finish(opened)
    return ledger.report(key.name, opened)


@dataclass(slots=True)
class _Row:
    """A hash tile in the making: as the entries make it, and as the stored tiles of level 0 make it."""

    entries: list[bytes] = field(default_factory=list)
    tiles: list[bytes] = field(default_factory=list)


class _Ledger:
    """The state of one verification."""

    def __init__(self, read: Read) -> None:
        self.read = read
        self.findings: list[Finding] = []
        self.findings_total = 0
        self.not_covered: list[str] = []
        self.earlier: dict[tuple[int, int], list[Tile]] = {}
        self.rows: list[_Row] = []
        self.from_entries = Frontier()
        self.from_tiles = Frontier()
        self.chains: dict[str, tuple[int, int]] = {}
        self.last_time = ""

    def find(self, path: str, index: int | None, text: str) -> None:
        """Note a finding; beyond the listed ones it is only counted."""
        self.add((Finding(path, index, text),))

    def add(self, findings: Iterable[Finding]) -> None:
        """Note findings."""
        for finding in findings:
            self.findings_total += 1
            if len(self.findings) < MAX_FINDINGS:
                self.findings.append(finding)

    def open(self, key: VerifierKey, cosigners: tuple[VerifierKey, ...]) -> OpenedCheckpoint | None:
        """Read and check what is signed."""
        try:
            key = newest_key(self.read, key)
        except LedgerError as error:
            self.find(KEYS_PATH, None, error.message)
        exported = self.read(VKEY_PATH)
        if exported is not None and exported != f"{key.vkey}\n".encode():
            self.find(VKEY_PATH, None, "the exported key is not the one given for this verification")
        data = self.read(CHECKPOINT_PATH)
        if data is None:
            self.find(CHECKPOINT_PATH, None, "there is no checkpoint")
            return None
        try:
            return open_checkpoint(data, key, cosigners)
        except LedgerError as error:
            self.find(CHECKPOINT_PATH, None, error.message)
            return None

    def sort_paths(self, paths: Iterable[str], size: int) -> None:
        """Tell the tiles of this checkpoint from those of earlier ones and from the rest."""
        for path in paths:
            try:
                tile = parse_path(path)
            except LedgerError:
                if path not in {CHECKPOINT_PATH, VKEY_PATH, KEYS_PATH} and anchors.parse_path(path) is None:
                    self.not_covered.append(path)
                continue
            width = width_at(tile.level, tile.number, size)
            if tile.width < width:
                self.earlier.setdefault((tile.level, tile.number), []).append(tile)
            elif tile.width > width:
                self.not_covered.append(path)

    def bundles(self, origin: str, size: int) -> Iterator[Bundle]:
        """What there is of each bundle, in order."""
        for number in range(-(-size // TILE_WIDTH)):
            width = width_at(0, number, size)
            yield Bundle(origin, number, width, self._entries(number, width), self._hashes(0, number, width))

    def take(self, scanned: Scanned, size: int) -> None:
        """Put a scanned bundle in its place."""
        self.add(scanned.findings)
        number, width = scanned.bundle, width_at(0, scanned.bundle, size)
        first = number * TILE_WIDTH
        if scanned.first_time:
            if scanned.first_time < self.last_time:
                self.find(Tile(ENTRIES, number, width).path, first, f"entry {first} is earlier than the one before it")
            self.last_time = scanned.last_time
        for link in scanned.links:
            self._follow(link, size)
        for tile in self.earlier.get((ENTRIES, number), ()):
            self._check_earlier_bundle(tile, scanned)
        leaves = split_hashes(scanned.leaves)
        stored = leaves if scanned.tile == scanned.leaves else split_hashes(scanned.tile)
        self._check_earlier_tiles(0, number, leaves, stored)
        if width < TILE_WIDTH:
            for one, other in zip(leaves, stored, strict=True):
                self.from_entries.append(one)
                self.from_tiles.append(other)
            return
        root = perfect_root(leaves)
        other = root if stored is leaves else perfect_root(stored)
        self.from_entries.append_subtree(TILE_HEIGHT, root)
        self.from_tiles.append_subtree(TILE_HEIGHT, other)
        self._climb(1, root, other)

    def finish(self, opened: OpenedCheckpoint) -> None:
        """Check the partial tiles at the right edge, and the root."""
        for level, row in enumerate(self.rows, 1):
            if row.entries:
                self._check_row(level, opened.checkpoint.size >> (TILE_HEIGHT * (level + 1)), row)
        # (4) the root
        root = opened.checkpoint.root
        if self.from_entries.root() == root:
            if self.from_tiles.root() != root:
                self.find(CHECKPOINT_PATH, None, "the entries lead to the checkpoint's root; the hash tiles do not")
        elif self.from_tiles.root() == root:
            self.find(CHECKPOINT_PATH, None, "the hash tiles lead to the checkpoint's root; the entries do not")
        else:
            self.find(CHECKPOINT_PATH, None, "neither the entries nor the hash tiles lead to the checkpoint's root")

    def report(self, origin: str, opened: OpenedCheckpoint | None) -> Report:
        """Draw up the verdicts."""
        intact = opened is not None and not self.findings_total
        cosignatures = opened.cosignatures if opened is not None else ()
        seen = intact and bool(cosignatures)
        return Report(
            origin=origin,
            size=opened.checkpoint.size if opened is not None else 0,
            root=opened.checkpoint.root if opened is not None else b"",
            integrity=Integrity.INTACT if intact else Integrity.DAMAGED,
            completeness=Completeness.PROVEN if seen else Completeness.NOT_PROVEN,
            completeness_basis=_completeness_basis(cosignatures, intact=intact),
            selection=Selection.FULL_SCAN if intact else Selection.NOT_PROVEN,
            selection_basis=(
                "every entry under the checkpoint was read, and every person's chain has no gap"
                if intact
                else "the ledger is damaged"
            ),
            findings=tuple(self.findings),
            findings_total=self.findings_total,
            not_covered=tuple(self.not_covered),
            people=len(self.chains),
            last_time=self.last_time,
        )

    def _entries(self, number: int, width: int) -> bytes | None:
        tile = Tile(ENTRIES, number, width)
        data = self.read(tile.path)
        if data is None and not tile.full:  # a partial one may be gone once the full one is there
            full = self.read(tile.path_if_full)
            if full is not None:
                entries, _ = split_bundle(full)
                return full[: sum(len(one) + 2 for one in entries[:width])]
        return data

    def _hashes(self, level: int, number: int, width: int) -> bytes | None:
        tile = Tile(level, number, width)
        data = self.read(tile.path)
        if data is None and not tile.full:
            full = self.read(tile.path_if_full)
            return None if full is None else full[: width * HASH_BYTES]
        return data

    def _follow(self, link: Link, size: int) -> None:
        # (5) the person's chain
        seq, previous = self.chains.get(link.subject_ref, (0, -1))
        if link.subject_seq != seq + 1 or link.previous_index != previous:
            path = Tile(ENTRIES, link.entry_index // TILE_WIDTH, width_at(0, link.entry_index // TILE_WIDTH, size)).path
            text = (
                f"entry {link.entry_index} says it is number {link.subject_seq} of {link.subject_ref} after entry "
                f"{link.previous_index}; it is number {seq + 1} after entry {previous}"
            )
            self.find(path, link.entry_index, text)
        self.chains[link.subject_ref] = (link.subject_seq, link.entry_index)

    def _climb(self, level: int, root: bytes, other: bytes) -> None:
        """Put the root of a full tile into the tile above, and that tile into the one above it once it is full."""
        if level > len(self.rows):
            self.rows.append(_Row())
        row = self.rows[level - 1]
        row.entries.append(root)
        row.tiles.append(other)
        if len(row.entries) == TILE_WIDTH:
            self._check_row(level, (self.from_entries.size >> (TILE_HEIGHT * (level + 1))) - 1, row)
            self.rows[level - 1] = _Row()
            above = perfect_root(row.entries)
            self._climb(level + 1, above, above if row.entries == row.tiles else perfect_root(row.tiles))

    def _check_row(self, level: int, number: int, row: _Row) -> None:
        # (3) a hash tile above level 0
        tile = Tile(level, number, len(row.entries))
        self._check_earlier_tiles(level, number, row.entries, row.tiles)
        data = self._hashes(level, number, tile.width)
        if data is None:
            self.find(tile.path, None, "the hash tile is missing")
            return
        if len(data) != tile.width * HASH_BYTES:
            self.find(tile.path, None, f"the tile has {len(data)} bytes instead of {tile.width * HASH_BYTES}")
        for position, (stored, one, other) in enumerate(zip(split_hashes(data), row.entries, row.tiles, strict=False)):
            if stored not in {one, other}:
                covered = 1 << (TILE_HEIGHT * level)
                first = (number * TILE_WIDTH + position) * covered
                text = f"hash {position} is not the one over entries {first} to {first + covered - 1}"
                self.find(tile.path, None, text)

    def _check_earlier_tiles(self, level: int, number: int, entries: list[bytes], tiles: list[bytes]) -> None:
        # (6) partial hash tiles of earlier checkpoints
        for tile in self.earlier.get((level, number), ()):
            data = self.read(tile.path)
            if data not in {b"".join(entries[: tile.width]), b"".join(tiles[: tile.width])}:
                self.find(tile.path, None, "the partial tile of an earlier checkpoint is not the beginning of today's")

    def _check_earlier_bundle(self, tile: Tile, scanned: Scanned) -> None:
        # (6) partial entry bundles of earlier checkpoints
        entries, rest = split_bundle(self.read(tile.path) or b"")
        hashes = b"".join(hash_leaf(entry) for entry in entries)
        expected = tile.width * HASH_BYTES
        if rest or len(hashes) != expected or hashes not in {scanned.leaves[:expected], scanned.tile[:expected]}:
            same = zip(split_hashes(hashes), split_hashes(scanned.leaves), strict=False)
            position = next((at for at, pair in enumerate(same) if pair[0] != pair[1]), min(len(entries), tile.width))
            text = "the partial bundle of an earlier checkpoint is not the beginning of today's"
            self.find(tile.path, tile.number * TILE_WIDTH + position, text)


def _completeness_basis(cosignatures: tuple[Cosignature, ...], *, intact: bool) -> str:
    if not intact:
        return "the ledger is damaged"
    if not cosignatures:
        return "nobody but the ledger's keeper vouches for this tree: no known witness cosigned the checkpoint"
    names = ", ".join(f"{one.name} at {one.timestamp} s since 1970" for one in cosignatures)
    return f"cosigned by {names}"
