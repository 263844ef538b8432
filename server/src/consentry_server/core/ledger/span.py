"""A span of entry bundles, read and checked by itself: the part of verification that runs side by side.

``scan_span`` takes and gives plain values that can be sent to another process; what it gives is small, however long
the entries are. What needs the spans in order (times, the persons' chains, the tree above) is put together in
``verify.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consentry_server.core.ledger.chains import Links
from consentry_server.core.ledger.merkle import HASH_BYTES, hash_leaf, perfect_root
from consentry_server.core.ledger.scan import Bundle, Finding, scan_bundle
from consentry_server.core.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, split_bundle, width_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Read = Callable[[str], bytes | None]

SPAN_BUNDLES: Final = 64
"""16,384 entries: some 10 MB to read, a tenth of a second of work, so that progress is seen and no worker waits."""
MAX_FINDINGS: Final = 200
"""Findings that are listed; all are counted."""
MAX_LISTED: Final = 10_000
"""Entries about the person asked for that are listed; all are counted."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which bundles to check.

    Args:
        ledger: Name that every entry must carry.
        size: Entries under the checkpoint.
        first: Number of the first bundle.
        last: Number of the bundle after the last.
        earlier: Partial bundles and hash tiles of level 0 from earlier checkpoints, to be checked too.
        secret: For ``Links``, the same for a whole run.
        subject_ref: The person whose entries are to be listed, or empty.
    """

    ledger: str
    size: int
    first: int
    last: int
    earlier: tuple[Tile, ...]
    secret: bytes
    subject_ref: str

    @property
    def paths(self) -> Iterator[str]:
        """The files it reads, in order; a reader far away may fetch them ahead."""
        for number in range(self.first, self.last):
            width = width_at(0, number, self.size)
            yield Tile(ENTRIES, number, width).path
            yield Tile(0, number, width).path


@dataclass(frozen=True, slots=True)
class SpanScan:
    """What the bundles of a span say.

    Args:
        roots: Root over each full bundle's entries, 32 bytes each.
        tile_roots: Root over each full stored tile of level 0, 32 bytes each.
        leaves: Leaf hashes of the partial bundle at the end, if there is one.
        tile_leaves: The same as its stored tile has them.
        first_time: Time of the first entry that could be read, or empty.
        last_time: Time of the last entry that could be read, or empty.
        links: The persons' links.
        mentions: Indices of the entries about the person asked for, the first ``MAX_LISTED``.
        mentions_total: How many there were.
        findings: What is wrong, the first ``MAX_FINDINGS`` of it.
        findings_total: How many findings there were.
    """

    roots: bytes
    tile_roots: bytes
    leaves: tuple[bytes, ...]
    tile_leaves: tuple[bytes, ...]
    first_time: str
    last_time: str
    links: Links
    mentions: tuple[int, ...]
    mentions_total: int
    findings: tuple[Finding, ...]
    findings_total: int


def scan_span(span: Span, read: Read) -> SpanScan:
    """Read and check some bundles, one after the other.

    Args:
        span: Which ones.
        read: Contents of a file of the export by its path, or None where there is none.

    Returns:
        Hashes, times, links and findings.
    """
    roots: list[bytes] = []
    tile_roots: list[bytes] = []
    leaves: Sequence[bytes] = ()
    tile_leaves: Sequence[bytes] = ()
    links = Links.empty()
    mentions: list[int] = []
    findings: list[Finding] = []
    first_time = last_time = ""
    for number in range(span.first, span.last):
        width = width_at(0, number, span.size)
        entries, hashes = read_entries(read, number, width), read_hashes(read, 0, number, width)
        found = scan_bundle(Bundle(span.ledger, number, width, entries, hashes))
        findings += found.findings
        if found.first_time:
            if found.first_time < last_time:
                findings.append(earlier_time(number, width))
            first_time, last_time = first_time or found.first_time, found.last_time
        links.extend(span.secret, *found.people)
        if span.subject_ref in found.people.references and span.subject_ref:
            about = zip(found.people.places, found.people.references, strict=True)
            mentions += [place for place, reference in about if reference == span.subject_ref]
        for tile in span.earlier:
            if tile.number == number:
                findings += _check_earlier(read, tile, found.leaves, found.tile)
        if width < TILE_WIDTH:
            leaves, tile_leaves = found.leaves, found.tile
            continue
        root = perfect_root(found.leaves)
        roots.append(root)
        tile_roots.append(root if found.tile is found.leaves else perfect_root(found.tile))
    return SpanScan(
        roots=b"".join(roots),
        tile_roots=b"".join(tile_roots),
        leaves=tuple(leaves),
        tile_leaves=tuple(tile_leaves),
        first_time=first_time,
        last_time=last_time,
        links=links,
        mentions=tuple(mentions[:MAX_LISTED]),
        mentions_total=len(mentions),
        findings=tuple(findings[:MAX_FINDINGS]),
        findings_total=len(findings),
    )


def read_entries(read: Read, number: int, width: int) -> bytes | None:
    """An entry bundle's bytes; where the partial file is gone because the full one is there, out of that.

    Args:
        read: As in ``scan_span``.
        number: Which bundle.
        width: Entries in it.

    Returns:
        The bytes, or None where there is no such file.
    """
    tile = Tile(ENTRIES, number, width)
    data = read(tile.path)
    if data is None and not tile.full:
        full = read(tile.path_if_full)
        if full is not None:
            entries, _ = split_bundle(full)
            return full[: sum(len(one) + 2 for one in entries[:width])]
    return data


def read_hashes(read: Read, level: int, number: int, width: int) -> bytes | None:
    """A hash tile's bytes; where the partial file is gone because the full one is there, out of that.

    Args:
        read: As in ``scan_span``.
        level: From 0.
        number: Which tile of the level.
        width: Hashes in it.

    Returns:
        The bytes, or None where there is no such file.
    """
    tile = Tile(level, number, width)
    data = read(tile.path)
    if data is None and not tile.full:
        full = read(tile.path_if_full)
        return None if full is None else full[: width * HASH_BYTES]
    return data


def earlier_time(number: int, width: int) -> Finding:
    """The first entry of a bundle is earlier than the one before it."""
    first = number * TILE_WIDTH
    return Finding(Tile(ENTRIES, number, width).path, first, f"entry {first} is earlier than the one before it")


def check_earlier_hashes(read: Read, tile: Tile, entries: Sequence[bytes], tiles: Sequence[bytes]) -> Iterator[Finding]:
    """Check a partial hash tile of an earlier checkpoint: it must be the beginning of today's.

    Args:
        read: As in ``scan_span``.
        tile: The partial tile.
        entries: The hashes as the entries make them.
        tiles: The hashes as the stored tiles have or make them.

    Yields:
        At most one finding.
    """
    if read(tile.path) not in {b"".join(entries[: tile.width]), b"".join(tiles[: tile.width])}:
        yield Finding(tile.path, None, "the partial tile of an earlier checkpoint is not the beginning of today's")


def _check_earlier(read: Read, tile: Tile, leaves: Sequence[bytes], stored: Sequence[bytes]) -> Iterator[Finding]:
    if tile.level != ENTRIES:
        yield from check_earlier_hashes(read, tile, leaves, stored)
        return
    entries, rest = split_bundle(read(tile.path) or b"")
    hashes = [hash_leaf(entry) for entry in entries]
    if rest or len(hashes) != tile.width or hashes not in (list(leaves[: tile.width]), list(stored[: tile.width])):
        same = zip(hashes, leaves, strict=False)
        position = next((at for at, pair in enumerate(same) if pair[0] != pair[1]), min(len(entries), tile.width))
        text = "the partial bundle of an earlier checkpoint is not the beginning of today's"
        yield Finding(tile.path, tile.number * TILE_WIDTH + position, text)
