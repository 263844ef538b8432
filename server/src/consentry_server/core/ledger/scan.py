"""One entry bundle of an exported ledger, checked by itself: the part of verification that can run side by side.

``scan_bundle`` takes and gives plain values that can be sent to another process. What needs the bundles in order
(times, the persons' chains, the tree above) is put together in ``verify.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from consentry_server.core.ledger.columns import read_columns
from consentry_server.core.ledger.entry import decode_with_people
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.merkle import HASH_BYTES
from consentry_server.core.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, split_bundle, split_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in an exported ledger that is not as it must be.

    Args:
        path: The file it is in.
        index: Ledger index of the entry it is about, or None where it is about no single entry.
        text: One plain sentence.
        tile: Where an entry and its hash tile disagree, the tile: which of them is right, the root tells.
    """

    path: str
    index: int | None
    text: str
    tile: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What there is of one entry bundle and its hash tile.

    Args:
        ledger: Name that every entry must carry.
        number: Place of the bundle, from 0.
        width: Entries that it must have, 1 to 256.
        entries: The bundle's bytes, or None where the file is missing.
        hashes: The bytes of the level 0 tile of the same number, or None where the file is missing.
    """

    ledger: str
    number: int
    width: int
    entries: bytes | None
    hashes: bytes | None


class People(NamedTuple):
    """Who the entries are about; each item as in ``columns.Columns``."""

    people: Sequence[int]
    places: Sequence[int]
    references: Sequence[str]
    seqs: Sequence[int]
    previous: Sequence[int]


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one bundle says.

    Args:
        leaves: Leaf hashes computed from the entries, 32 bytes each, ``width`` of them; where an entry is missing, the
            tile's hash stands in.
        tile: Leaf hashes as the tile has them; where one is missing, the entry's hash stands in. The same object as
            ``leaves`` where they are equal.
        first_time: Time of the first entry that could be read, or empty.
        last_time: Time of the last entry that could be read, or empty.
        people: Persons' links; an entry that cannot be read, or is missing, names one person, of the reference "".
        findings: What is wrong within the bundle.
    """

    leaves: Sequence[bytes]
    tile: Sequence[bytes]
    first_time: str
    last_time: str
    people: People
    findings: Sequence[Finding]


def scan_bundle(bundle: Bundle) -> Scanned:
    """Check the entries of one bundle and hash them.

    1. The bundle has exactly its entries, and the tile exactly its hashes.
    2. Each entry's leaf hash is the one in the tile.
    3. Each entry is well-formed, carries its own place and the ledger's name.
    4. Times do not decrease.

    Args:
        bundle: What there is of the bundle.

    Returns:
        Hashes, times, links and findings.
    """
    findings: list[Finding] = []
    entries, rest = split_bundle(bundle.entries or b"")
    computed = [sha256(b"\x00" + entry).digest() for entry in entries]
    # (1) the right number of entries and hashes
    whole = not rest and len(entries) == bundle.width
    if not whole or len(bundle.hashes or b"") != bundle.width * HASH_BYTES:
        findings += _wrong_lengths(bundle, len(entries), rest, len(bundle.hashes or b""))
    # (2) each hash is the tile's
    stored: Sequence[bytes] = computed
    if not whole or b"".join(computed) != bundle.hashes:
        stored = [one for one in split_hashes(bundle.hashes or b"")[: bundle.width] if len(one) == HASH_BYTES]
        if computed[: bundle.width] != stored and bundle.entries is not None and bundle.hashes is not None:
            findings += _compare(bundle, computed, stored)
    # (3) and (4) the entries, all at once where nothing is wrong, one by one to say what is
    columns = read_columns(entries, bundle.number * TILE_WIDTH, bundle.ledger) if whole else None
    if columns is not None:
        people, times = People(*columns[1:]), columns.times
    else:
        people, times = _read_entries(bundle, entries[: bundle.width], findings)
    leaves = computed if whole else _complete(computed, stored, bundle.width)
    tile = leaves if stored is computed else _complete(stored, computed, bundle.width)
    return Scanned(leaves, tile, times[0] if times else "", times[-1] if times else "", people, findings)


def _paths(bundle: Bundle) -> tuple[str, str]:
    return Tile(ENTRIES, bundle.number, bundle.width).path, Tile(0, bundle.number, bundle.width).path


def _wrong_lengths(bundle: Bundle, entries: int, rest: bytes, hash_bytes: int) -> list[Finding]:
    bundle_path, tile_path = _paths(bundle)
    first = bundle.number * TILE_WIDTH
    found = []
    if bundle.entries is None:
        found.append(Finding(bundle_path, first, f"entries {first} to {first + bundle.width - 1} are missing"))
    elif rest:
        text = f"after {entries} whole entries there are {len(rest)} bytes that are no entry"
        found.append(Finding(bundle_path, first + entries, text))
    elif entries != bundle.width:
        text = f"there are {entries} entries instead of {bundle.width}"
        found.append(Finding(bundle_path, first + min(entries, bundle.width), text))
    if bundle.hashes is None:
        found.append(Finding(tile_path, first, "the hash tile is missing"))
    elif hash_bytes != bundle.width * HASH_BYTES:
        place = first + min(hash_bytes // HASH_BYTES, bundle.width - 1)
        found.append(
            Finding(tile_path, place, f"the tile has {hash_bytes} bytes instead of {bundle.width * HASH_BYTES}")
        )
    return found


def _compare(bundle: Bundle, computed: Sequence[bytes], stored: Sequence[bytes]) -> list[Finding]:
    path, tile_path = _paths(bundle)
    first = bundle.number * TILE_WIDTH
    places = {one: first + position for position, one in enumerate(stored)}
    start = next((at for at, pair in enumerate(zip(computed, stored, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        start = min(len(computed), len(stored))
        if len(computed) == bundle.width:
            return []  # the tile was cut, which its length already says
        if start < len(stored):
            return [Finding(path, first + start, f"entry {first + start} is missing")]
        return [Finding(path, first + start, f"entry {first + start} is one too many", tile_path)]
    if len(computed) == len(stored) - 1 and computed[start:] == stored[start + 1 :]:
        return [Finding(path, first + start, f"entry {first + start} is missing")]
    if len(computed) == len(stored) + 1 and computed[start + 1 :] == stored[start:]:
        text = f"an entry that was never recorded stands at {first + start}"
        return [Finding(path, first + start, text, tile_path)]
    found = []
    for position, (one, other) in enumerate(zip(computed, stored, strict=False)):
        if one != other:
            index = first + position
            text = f"entry {index} does not have the hash that {tile_path} has for it"
            if one in places:
                text = f"at the place of entry {index} stands entry {places[one]}"
            found.append(Finding(path, index, text, tile_path))
    return found


def _read_entries(bundle: Bundle, entries: Sequence[bytes], findings: list[Finding]) -> tuple[People, Sequence[str]]:
    times: list[str] = []
    counts: list[int] = []
    links: list[tuple[int, str, int, int]] = []
    path = _paths(bundle)[0]
    first = bundle.number * TILE_WIDTH
    for index, data in enumerate(entries, first):
        try:
            fields, people = decode_with_people(data)
        except LedgerError as error:
            findings.append(Finding(path, index, f"entry {index} is not well-formed: {error.message}"))
            counts.append(1)
            links.append((index, "", 0, 0))
            continue
        if fields["index"] != index:
            findings.append(Finding(path, index, f"the entry at {index} calls itself {fields['index']}"))
        if fields["ledger"] != bundle.ledger:
            findings.append(Finding(path, index, f"entry {index} is of another ledger, {fields['ledger']}"))
        if times and fields["time"] < times[-1]:
            findings.append(Finding(path, index, f"entry {index} is earlier than the one before it"))
        times.append(fields["time"])
        # an entry in the wrong place may name later ones as its past: its links lead nowhere
        people = tuple(person for person in people if person.previous_index < index)
        counts.append(len(people))
        links.extend((index, *person) for person in people)
    for index in range(first + len(entries), first + bundle.width):
        counts.append(1)
        links.append((index, "", 0, 0))
    return People(counts, *zip(*links, strict=True)) if links else People(counts, (), (), (), ()), times


def _complete(hashes: Sequence[bytes], others: Sequence[bytes], width: int) -> list[bytes]:
    """Hashes filled up to the width from the others, and with zeroes where neither has one."""
    known = [*hashes[:width], *others[len(hashes) : width]]
    return known + [bytes(HASH_BYTES)] * (width - len(known))
