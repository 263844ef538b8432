"""Verification of a whole ledger: from its files and the ledger's published key, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger import anchors, note
from consentry_server.core.ledger import evidence as outside
from consentry_server.core.ledger.chains import Chains
from consentry_server.core.ledger.checkpoint import OpenedCheckpoint, open_checkpoint
from consentry_server.core.ledger.entry import decode_with_people
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.evidence import Evidence
from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH, is_pack_path, pack_path
from consentry_server.core.ledger.merkle import HASH_BYTES, Frontier, hash_leaf, perfect_root
from consentry_server.core.ledger.report import Completeness, Integrity, Report, Selection
from consentry_server.core.ledger.rotation import KEYS_PATH, newest_key
from consentry_server.core.ledger.scan import Finding
from consentry_server.core.ledger.span import (
    MAX_FINDINGS,
    SPAN_BUNDLES,
    Span,
    SpanScan,
    check_earlier_hashes,
    earlier_time,
    read_entries,
    read_hashes,
    scan_span,
)
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

    from consentry_server.core.ledger.chains import Gap
    from consentry_server.core.ledger.entry import Person
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.core.ledger.span import Read

    Run = Callable[[Iterable[Span]], Iterable[SpanScan]]

NO_EVIDENCE: Final = Evidence()


def verify(
    read: Read,
    key: VerifierKey,
    *,
    secret: bytes,
    evidence: Evidence = NO_EVIDENCE,
    subject_ref: str = "",
    paths: Iterable[str] = (),
    has_upper_tiles: bool = True,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify a ledger.

    1. The checkpoint is signed by the ledger's key; no known cosignature is bad; an exported vkey is the given one.
    2. Every entry's hash is the one in its hash tile; every entry is well-formed, at its own place, of this ledger.
    3. Every hash tile is what the tiles below it make it.
    4. The entries lead to the checkpoint's root.
    5. Times never decrease; each person's chain has no gap, no fork and one beginning.
    6. Partial tiles of earlier checkpoints, where listed in ``paths``, are beginnings of today's.
    7. What others hold (cosignatures, timestamps, earlier checkpoints, permits) agrees with the tree.

    Args:
        read: Contents of a file of the export by its path (``tile/0/000``), or None where there is none.
        key: Any key that the ledger has had, from a place that its keeper cannot change; later ones are followed.
        secret: 16 random bytes or more, for this run alone; keeps the chains' short tokens from being aimed at.
        evidence: What others hold.
        subject_ref: The person whose entries are to be listed, or empty.
        paths: All files of the export, if they can be listed.
        has_upper_tiles: False for a source that has no hash tiles above level 0, such as a live server's listing.
        run: Does the spans with ``scan_span`` and gives the results in order; None does them here, one by one.
        progress: Called now and then with the number of entries done and that of all.

    Returns:
        The report. Damage is never raised; it is reported.
    """
    # (1) the checkpoint and the key
    ledger = _Ledger(read, key, has_upper_tiles=has_upper_tiles)
    opened = ledger.open(evidence.cosigners)
    if opened is None:
        return _unbelievable(ledger, evidence)
    size = opened.checkpoint.size
    ledger.sort_paths(paths, size)
    ledger.sizes = outside.anchored_sizes(evidence, key, size)
    # (2) to (6) span by span, the tree above as it grows
    spans = ledger.spans(opened.checkpoint.origin, size, secret, subject_ref)
    for scanned in run(spans) if run is not None else (scan_span(span, read) for span in spans):
        ledger.take(scanned)
        if progress is not None:
            progress(ledger.from_entries.size, size)
    ledger.finish(opened)
    return _report(ledger, opened, evidence, subject_ref)


@dataclass(slots=True)
class _Row:
    """A hash tile in the making: as the entries make it, and as the stored tiles of level 0 make it."""

    entries: list[bytes] = field(default_factory=list)
    tiles: list[bytes] = field(default_factory=list)


class _Ledger:
    """The state of one verification."""

    def __init__(self, read: Read, key: VerifierKey, *, has_upper_tiles: bool) -> None:
        self.read = read
        self.key = key
        self.has_upper_tiles = has_upper_tiles
        self.size = 0
        self.findings: list[Finding] = []
        self.findings_total = 0
        self.not_covered: list[str] = []
        self.earlier: dict[tuple[int, int], list[Tile]] = {}
        self.rows: list[_Row] = []
        self.from_entries = Frontier()
        self.from_tiles = Frontier()
        self.chains = Chains()
        self.first_time = ""
        self.last_time = ""
        self.mentions: list[int] = []
        self.mentions_total = 0
        self.sizes: frozenset[int] = frozenset()
        self.edges: dict[int, Frontier] = {}

    def find(self, path: str, index: int | None, text: str) -> None:
        """Note a finding; beyond the listed ones it is only counted."""
        self.add((Finding(path, index, text),), 1)

    def add(self, findings: Iterable[Finding], total: int) -> None:
        """Note findings, of which only the first may be listed."""
        self.findings_total += total
        self.findings.extend(list(findings)[: MAX_FINDINGS - len(self.findings)])

    def open(self, cosigners: tuple[VerifierKey, ...]) -> OpenedCheckpoint | None:
        """Read and check what is signed."""
        try:
            self.key = newest_key(self.read, self.key)
        except LedgerError as error:
            self.find(KEYS_PATH, None, error.message)
        exported = self.read(VKEY_PATH)
        if exported is not None and exported != f"{self.key.vkey}\n".encode():
            self.find(VKEY_PATH, None, "the key beside the ledger is not the one given for this verification")
        data = self.read(CHECKPOINT_PATH)
        if data is None:
            self.find(CHECKPOINT_PATH, None, "there is no checkpoint")
            return None
        try:
            opened = open_checkpoint(data, self.key, cosigners)
        except LedgerError as error:
            self.find(CHECKPOINT_PATH, None, f"{error.message}{_signers(data)}")
            return None
        self.size = opened.checkpoint.size
        return opened

    def sort_paths(self, paths: Iterable[str], size: int) -> None:
        """Tell the tiles of this checkpoint from those of earlier ones and from the rest."""
        for path in paths:
            try:
                tile = parse_path(path)
            except LedgerError:
                if is_pack_path(path):
                    if pack_path(sha256(self.read(path) or b"").hexdigest()) != path:
                        self.find(path, None, "the law pack does not have the hash that its name says")
                    continue
                known = path in {CHECKPOINT_PATH, VKEY_PATH, KEYS_PATH}
                if not known and anchors.parse_path(path) is None:
                    self.not_covered.append(path)
                continue
            width = width_at(tile.level, tile.number, size)
            if tile.width < width:
                self.earlier.setdefault((tile.level, tile.number), []).append(tile)
            elif tile.width > width:
                self.not_covered.append(path)

    def spans(self, origin: str, size: int, secret: bytes, subject_ref: str) -> Iterator[Span]:
        """The work, in order."""
        bundles = -(-size // TILE_WIDTH)
        for first in range(0, bundles, SPAN_BUNDLES):
            last = min(first + SPAN_BUNDLES, bundles)
            earlier = tuple(
                tile
                for number in range(first, last)
                for level in (ENTRIES, 0)
                for tile in self.earlier.get((level, number), ())
            )
            yield Span(origin, size, first, last, earlier, secret, subject_ref)

    def take(self, scanned: SpanScan) -> None:
        """Put a span in its place: it begins where the last one ended."""
        self.add(scanned.findings, scanned.findings_total)
        if scanned.first_time:
            if scanned.first_time < self.last_time:
                number = self.from_entries.size // TILE_WIDTH
                self.add((earlier_time(number, width_at(0, number, self.size)),), 1)
            self.first_time, self.last_time = self.first_time or scanned.first_time, scanned.last_time
        self.chains.add(scanned.links)
        self.mentions += scanned.mentions
        self.mentions_total += scanned.mentions_total
        for root, other in zip(split_hashes(scanned.roots), split_hashes(scanned.tile_roots), strict=True):
            self._keep_edges()
            self.from_entries.append_subtree(TILE_HEIGHT, root)
            self.from_tiles.append_subtree(TILE_HEIGHT, other)
            self._climb(1, root, other)
        if scanned.leaves:
            self._keep_edges()
            for one, other in zip(scanned.leaves, scanned.tile_leaves, strict=True):
                self.from_entries.append(one)
                self.from_tiles.append(other)

    def finish(self, opened: OpenedCheckpoint) -> None:
        """Check the partial tiles at the right edge, the root, and the chains."""
        for level, row in enumerate(self.rows, 1):
            if row.entries:
                self._check_row(level, opened.checkpoint.size >> (TILE_HEIGHT * (level + 1)), row)
        # (4) the root
        root = opened.checkpoint.root
        if self.from_entries.root() == root:
            self.findings = [_clear(finding) for finding in self.findings]
            if self.from_tiles.root() != root:
                self.find(CHECKPOINT_PATH, None, "the entries lead to the checkpoint's root; the hash tiles do not")
        elif self.from_tiles.root() == root:
            self.find(CHECKPOINT_PATH, None, "the hash tiles lead to the checkpoint's root; the entries do not")
        else:
            self.find(CHECKPOINT_PATH, None, "neither the entries nor the hash tiles lead to the checkpoint's root")
        # (5) the chains
        self.chains.finish()
        self.add(map(self._name_gap, self.chains.gaps), self.chains.gaps_total)

    def entry_at(self, index: int) -> bytes | None:
        """One entry's bytes, read again; None where it is not there."""
        number, position = divmod(index, TILE_WIDTH)
        entries, _ = split_bundle(read_entries(self.read, number, width_at(0, number, self.size)) or b"")
        return entries[position] if position < len(entries) else None

    def people_at(self, index: int) -> tuple[Person, ...]:
        """The persons in an entry; none where it cannot be read."""
        try:
            return decode_with_people(self.entry_at(index) or b"")[1]
        except LedgerError:
            return ()

    def root_at(self, size: int) -> bytes:
        """Root of the tree when it had fewer entries, one of ``sizes``."""
        frontier = self.edges[size // TILE_WIDTH].copy() if size else Frontier()
        number, width = divmod(size, TILE_WIDTH)
        if width:
            entries, _ = split_bundle(read_entries(self.read, number, width_at(0, number, self.size)) or b"")
            for entry in entries[:width]:
                frontier.append(hash_leaf(entry))
        return frontier.root()

    def _keep_edges(self) -> None:
        number = self.from_entries.size // TILE_WIDTH
        if any(size // TILE_WIDTH == number for size in self.sizes):
            self.edges[number] = self.from_entries.copy()

    def _name_gap(self, gap: Gap) -> Finding:
        number = gap.place // TILE_WIDTH
        path = Tile(ENTRIES, number, width_at(0, number, self.size)).path
        here, before = self.people_at(gap.place), {one.subject_ref: one for one in self.people_at(gap.previous)}
        if gap.begins:
            who = next((one.subject_ref for one in here if one.subject_seq == 1 and one.subject_ref in before), "")
            text = f"entries {gap.previous} and {gap.place} both call themselves the first about {who}"
            return Finding(path, gap.place, text)
        there = [one for one in here if one.previous_index == gap.previous]
        wrong = [
            one
            for one in there
            if one.subject_ref not in before or before[one.subject_ref].subject_seq != one.subject_seq - 1
        ]
        person = next(iter(wrong or there), None)
        if person is None:
            return Finding(path, gap.place, f"entry {gap.place} does not follow entry {gap.previous} as it says")
        told = f"entry {gap.place} calls itself number {person.subject_seq} about {person.subject_ref}, after entry"
        if person.subject_ref not in before:
            text = f"{told} {gap.previous}, which is not about that person"
        elif wrong:
            text = f"{told} {gap.previous}, which is number {before[person.subject_ref].subject_seq}"
        else:
            text = f"{told} {gap.previous}, and so does entry {gap.taken}"
        return Finding(path, gap.place, text)

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
        if not self.has_upper_tiles:
            return
        tile = Tile(level, number, len(row.entries))
        for earlier in self.earlier.get((level, number), ()):
            self.add(found := list(check_earlier_hashes(self.read, earlier, row.entries, row.tiles)), len(found))
        data = read_hashes(self.read, level, number, tile.width)
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


def _clear(finding: Finding) -> Finding:
    """Clear an entry of what its hash tile is to blame for: all entries lead to the root."""
    if not finding.tile:
        return finding
    return Finding(finding.tile, finding.index, f"the tile's hash for entry {finding.index} is not that of the entry")


def _signers(data: bytes) -> str:
    """Whose signatures a checkpoint carries, for a reader who has another key."""
    try:
        lines = note.parse(data).signatures
    except LedgerError:
        return ""
    return "; it carries signatures by " + ", ".join(f"{one.name} (key id {one.key_id.hex()})" for one in lines)


def _unbelievable(ledger: _Ledger, evidence: Evidence) -> Report:
    nothing = "there is no checkpoint that the given key signed, so nothing here can be believed"
    return Report(
        origin=ledger.key.name,
        size=0,
        root=b"",
        integrity=Integrity.DAMAGED,
        integrity_basis=nothing,
        completeness=Completeness.NOT_PROVEN,
        completeness_basis=nothing,
        grounds=tuple(map(outside.unusable, evidence.unusable)),
        selection=Selection.NOT_PROVEN,
        selection_basis=nothing,
        mentions=(),
        findings=tuple(ledger.findings),
        findings_total=ledger.findings_total,
        not_covered=(),
        people=0,
        first_time="",
        last_time="",
    )


def _report(ledger: _Ledger, opened: OpenedCheckpoint, evidence: Evidence, subject_ref: str) -> Report:
    size, intact = opened.checkpoint.size, not ledger.findings_total
    # (7) what others hold
    tree = outside.Tree(opened, intact, ledger.root_at, lambda index: hash_leaf(ledger.entry_at(index) or b""))
    grounds = outside.weigh(evidence, ledger.key, tree)
    completeness, completeness_basis = outside.completeness(grounds, size, intact=intact)
    selection, selection_basis = _selection(ledger, opened, subject_ref)
    return Report(
        origin=opened.checkpoint.origin,
        size=size,
        root=opened.checkpoint.root,
        integrity=Integrity.INTACT if intact else Integrity.DAMAGED,
        integrity_basis=(
            f"the ledger's key signed the root over {size:,} entries, and every byte of every entry leads to it"
            if intact
            else f"{ledger.findings_total:,} {'finding' if ledger.findings_total == 1 else 'findings'}, listed below"
        ),
        completeness=completeness,
        completeness_basis=completeness_basis,
        grounds=grounds,
        selection=selection,
        selection_basis=selection_basis,
        mentions=tuple(ledger.mentions),
        findings=tuple(ledger.findings),
        findings_total=ledger.findings_total,
        not_covered=tuple(ledger.not_covered),
        people=ledger.chains.people,
        first_time=ledger.first_time,
        last_time=ledger.last_time,
    )


def _selection(ledger: _Ledger, opened: OpenedCheckpoint, subject_ref: str) -> tuple[Selection, str]:
    """Whether all about everybody, or about the one asked for, is here."""
    count = ledger.mentions_total
    if not ledger.findings_total:
        if not subject_ref:
            return Selection.FULL_SCAN, "every entry was read, and every person's chain has no gap"
        told = f"{count:,} are about {subject_ref}, chained without a gap" if count else f"none is about {subject_ref}"
        return Selection.FULL_SCAN, f"every entry was read: {told}"
    if subject_ref and count and _chain_stands(ledger, opened, subject_ref):
        told = f"the {count:,} entries about {subject_ref} are as recorded and chained without a gap from the first"
        return Selection.CHAIN, f"{told}; whether later ones are among the damaged entries cannot be told"
    return Selection.NOT_PROVEN, "the ledger is damaged"


def _chain_stands(ledger: _Ledger, opened: OpenedCheckpoint, subject_ref: str) -> bool:
    """Whether one person's entries are as recorded and counted without a gap, in a ledger that is damaged elsewhere."""
    listed_all = ledger.findings_total == len(ledger.findings) and ledger.mentions_total == len(ledger.mentions)
    rooted = opened.checkpoint.root in {ledger.from_entries.root(), ledger.from_tiles.root()}
    wrong = {finding.index for finding in ledger.findings}
    if not listed_all or not rooted or wrong & set(ledger.mentions):
        return False
    last = [one.subject_seq for one in ledger.people_at(ledger.mentions[-1]) if one.subject_ref == subject_ref]
    return last == [ledger.mentions_total]
