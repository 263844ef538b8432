"""Bytes of an entry, over what a photo service does all day: upload, look for faces, enroll, say what was done."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from consentry_server.core.vocabulary import Operation, ProcessingResult
from consentry_server.services.gate import Processed
from tests.support.clocks import Clock
from tests.support.stack import PROCESSOR, Stack, face, start

PHOTOS = Path("tests/data/photos")
PEOPLE = 20
PHOTOS_OF_EACH = 10
MOST_BYTES = 600
MOST_BYTES_OF_A_DECISION = 800
"""Source: the ledger's format, "A decision under 800 bytes, the mean under 600"."""


async def _reported(stack: Stack, decision_id: str) -> None:
    done = Processed(decision_id, ProcessingResult.PERFORMED, stack.clock.now, "hog-face", "1")
    await stack.tenant.gate.record_processing(PROCESSOR, done)


async def _day(stack: Stack, photo: bytes) -> None:
    """Each person consents once, then uploads photos; now and then a stranger stands beside them."""
    await stack.policy()
    await stack.notice()
    for person in range(PEOPLE):
        name = f"person-{person}"
        await stack.consent(name)
        for number in range(PHOTOS_OF_EACH):
            stack.clock.now += timedelta(seconds=1)
            stored = (await stack.upload(photo + number.to_bytes(4) + person.to_bytes(4), owner=name)).photo
            if stored is None:
                raise RuntimeError("the photo was not stored")
            faces = (face(name), face()) if number % 5 == 0 else (face(name),)
            for operation in (Operation.DETECT_FACES, Operation.ENROLL):
                checked = await stack.check(*faces, operation=operation, photo_id=stored.photo_id)
                if checked.permit:
                    await stack.open_photo(checked.permit)
                    if operation is Operation.ENROLL:
                        await stack.store_identifier(checked.permit)
                await _reported(stack, checked.decision_id)


async def _sizes(folder: Path, photo: bytes) -> dict[str, list[int]]:
    stack = await start(folder, Clock())
    try:
        await _day(stack, photo)
        store = stack.tenant.sequencer.store
        sizes = defaultdict[str, list[int]](list)
        for data in store.fetch_entries(0, store.fetch_head().size):
            sizes[orjson.loads(data)["type"]].append(len(data))
        return sizes
    finally:
        await stack.running.aclose()


def measure() -> list[dict[str, Any]]:
    """Rows for the table of ``make bench``; the baseline is the format's limit."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = asyncio.run(_sizes(Path(folder), next(PHOTOS.glob("*.jpg")).read_bytes()))
    every = [size for found in sizes.values() for size in found]
    rows = [
        ("mean entry of a day's work", every, MOST_BYTES),
        ("mean decision", sizes["decision"], MOST_BYTES_OF_A_DECISION),
    ]
    return [
        {
            "name": name,
            "value": round(sum(found) / len(found)),
            "unit": f"bytes, {len(found)} entries",
            "baseline": most,
            "ratio": round(sum(found) / len(found) / most, 3),
        }
        for name, found, most in rows
    ]
