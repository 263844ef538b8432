"""Verification of an exported ledger: entries a second, on one core and on all, and the memory that it takes."""

from __future__ import annotations

import os
import random
import resource
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.adapters.sources.folder import Folder
from consentry_server.core.ledger import checkpoint, entry, merkle, tiles
from consentry_server.core.ledger.evidence import Evidence
from consentry_server.core.ledger.report import Integrity
from consentry_server.services.verification import Verification

ENTRIES = int(os.environ.get("BENCH_VERIFY_ENTRIES", "200000"))
ROUNDS = 3
ORIGIN = "consentry.bench/acme"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
START = datetime(2026, 11, 23, 10, tzinfo=UTC)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

Row = dict[str, Any]


def decision(index: int, person: str, seq: int, previous: int, chance: random.Random) -> bytes:
    """A decision of usual length, some 620 bytes, about one person."""
    fields = {
        "type": "decision",
        "version": 1,
        "ledger": ORIGIN,
        "index": index,
        "time": entry.format_time(START + timedelta(microseconds=700 * index)),
        "actor": "processor/face-tagger",
        "nonce": "".join(chance.choices(ALPHABET, k=26)),
        "decision_id": f"dec_{index}_{chance.getrandbits(80):020x}",
        "outcome": "DENY",
        "packs": [1, 2],
        "people": [{"subject_ref": person, "subject_seq": seq, "previous_index": previous}],
        "faces": [
            {
                "box": [160, 69, 144, 144],
                "known_by": "DECLARED_BY_UPLOADER",
                "outcome": "DENY",
                "person": 0,
                "rules": [0],
            }
        ],
        "request": {"category": "PHOTO", "operation": "DETECT_FACES", "purpose": "TAGGING"},
        "rules": ["IL-15B3-RELEASE:RELEASE_MISSING"],
        "valid_seconds": 60,
    }
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def write_ledger(folder: Path, size: int, people: int) -> None:
    """Write an export of so many decisions about so many people; the same each time.

    Args:
        folder: Where to.
        size: Entries.
        people: Persons; each has a first entry, the rest is spread over them at random.
    """
    chance = random.Random(1)
    references = ["sub_" + "".join(chance.choices(ALPHABET, k=26)) for _ in range(people)]
    chains: dict[int, tuple[int, int]] = {}
    tree, bundle, row, roots = tiles.GrowingTree(), list[bytes](), list[bytes](), dict[tuple[int, int], bytes]()

    def write(path: str, data: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    for index in range(size):
        person = index if index < people else chance.randrange(people)
        seq, previous = chains.get(person, (0, -1))
        chains[person] = (seq + 1, index)
        bundle.append(decision(index, references[person], seq + 1, previous, chance))
        row.append(merkle.hash_leaf(bundle[-1]))
        for tile in tree.append(row[-1]):
            roots[tile.level, tile.number] = tile.root
            write(tiles.Tile(tile.level, tile.number).path, tile.hashes)
        if len(bundle) == tiles.TILE_WIDTH:
            write(tiles.Tile(tiles.ENTRIES, index // tiles.TILE_WIDTH).path, tiles.encode_bundle(bundle))
            bundle.clear()
            row.clear()
    for tile_place in tiles.tiles_at(size):
        if tile_place.full:
            continue
        if tile_place.level == tiles.ENTRIES:
            write(tile_place.path, tiles.encode_bundle(bundle))
        elif tile_place.level == 0:
            write(tile_place.path, b"".join(row))
        else:
            first = tile_place.number * tiles.TILE_WIDTH
            below = [roots[tile_place.level - 1, first + offset] for offset in range(tile_place.width)]
            write(tile_place.path, b"".join(below))
    write("checkpoint", checkpoint.sign(checkpoint.Checkpoint(ORIGIN, size, tree.root()), KEY))


def measure(folder: Path) -> list[Row]:
    """Verify an export on one core and on all, several times in turn.

    Args:
        folder: Empty; the export is written into it.

    Returns:
        Rows for the table of ``make bench``; the baseline of the second is the first.
    """
    write_ledger(folder, ENTRIES, ENTRIES // 2)
    cores = os.cpu_count() or 1
    alone, together = list[float](), list[float]()
    for _ in range(ROUNDS):
        alone.append(_rate(folder, 1))
        together.append(_rate(folder, cores))
    one, all_of_them = statistics.median(alone), statistics.median(together)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        {"name": "verify, one core", "value": round(one), "unit": "entries/s", "baseline": "", "ratio": ""},
        {
            "name": f"verify, {cores} cores",
            "value": round(all_of_them),
            "unit": "entries/s",
            "baseline": round(one),
            "ratio": round(all_of_them / one, 3),
        },
        {"name": "verify, memory", "value": round(memory), "unit": "MB", "baseline": "", "ratio": ""},
    ]


def _rate(folder: Path, workers: int) -> float:
    began = time.perf_counter()
    with Verification(Folder(folder), workers=workers) as run:
        report = run.verify(checkpoint.log_key(ORIGIN, KEY), secret=os.urandom(32), evidence=Evidence())
    if report.integrity is not Integrity.INTACT:
        raise RuntimeError(f"the ledger does not verify: {report.findings[:3]}")
    return report.size / (time.perf_counter() - began)
