"""Replay of a recorded ledger: decisions a second on one core, against verifying the same entries on one core."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from consentry_server.adapters.sources.folder import Folder
from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.ledger.evidence import Evidence
from consentry_server.core.ledger.export import export
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.ledger.report import Integrity
from consentry_server.core.vocabulary import Purpose
from consentry_server.services.ledger import tile_reader
from consentry_server.services.packs import Packs
from consentry_server.services.replay import Replay, Result
from consentry_server.services.verification import Verification
from consentry_server.tenant import bundled_packs, engine_version
from tests.support.clocks import Clock
from tests.support.stack import face, start

DECISIONS = int(os.environ.get("BENCH_REPLAY_DECISIONS", "20000"))
PEOPLE = 200
AT_ONCE = 500
ROUNDS = 3

Row = dict[str, Any]


async def record(folder: Path) -> bytes:
    """Record a ledger through the real services: every second person has a release, every fifth photo a bystander.

    Args:
        folder: Empty; the tenant is made in it.

    Returns:
        A checkpoint over all of it.
    """
    stack = await start(folder, Clock())
    await stack.policy()
    await stack.notice()
    for number in range(0, PEOPLE, 2):
        await stack.consent(f"person-{number}")

    async def check(number: int) -> None:
        faces = [face(f"person-{number * 7919 % PEOPLE}"), *([face()] if number % 5 == 0 else [])]
        await stack.check(*faces, purpose=Purpose.TAGGING, sha256=number.to_bytes(32), want_permit=False)

    for first in range(0, DECISIONS, AT_ONCE):
        await asyncio.gather(*(check(number) for number in range(first, first + AT_ONCE)))
    signed = await stack.tenant.checkpoints.publish()
    await stack.running.aclose()
    return signed


def measure() -> list[Row]:
    """Record, replay and verify, several times in turn.

    Returns:
        A row for the table of ``make bench``; the baseline is the verification of the same entries.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signed = asyncio.run(record(folder))
        tenant = folder / "tenants" / "acme"
        key = parse_vkey((tenant / "vkey").read_text(encoding="ascii").strip())
        store = SqliteLedgerStore(tenant / "ledger.db")
        size = store.fetch_head().size
        entries = store.fetch_entries(0, size)
        for path, data in export(0, signed, key, read_entries=store.fetch_entries, read_tile=tile_reader(store)):
            (folder / "export" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "export" / path).write_bytes(data)
        store.close()
        replayed, verified = list[float](), list[float]()
        for _ in range(ROUNDS):
            replayed.append(_replay(entries))
            began = time.perf_counter()
            with Verification(Folder(folder / "export"), workers=1) as run:
                report = run.verify(key, secret=os.urandom(32), evidence=Evidence())
            if report.integrity is not Integrity.INTACT:
                raise RuntimeError(f"the ledger does not verify: {report.findings[:3]}")
            verified.append(report.size / (time.perf_counter() - began))
    ours, theirs = statistics.median(replayed), statistics.median(verified)
    return [
        {
            "name": "replay, one core (baseline: verify, entries/s)",
            "value": round(ours),
            "unit": "decisions/s",
            "baseline": round(theirs),
            "ratio": round(ours / theirs, 3),
        }
    ]


def _replay(entries: list[bytes]) -> float:
    shelf = SqliteShelf()
    shelf.open()
    run = Replay(
        shelf=shelf,
        packs=Packs([pack for pack, _ in bundled_packs()], lambda _: None),
        engine=engine_version(),
        unknown_regions=frozenset(),
        holds=lambda _: None,
    )
    began = time.perf_counter()
    different = list(run.run(entries, lambda _: None))
    seconds = time.perf_counter() - began
    shelf.close()
    if different or run.tally.results[Result.EQUAL] != run.tally.total:
        raise RuntimeError(f"the ledger does not replay: {different[:3]}")
    return run.tally.total / seconds


if __name__ == "__main__":
    for row in measure():
        print(row)
