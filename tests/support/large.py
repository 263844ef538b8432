"""A large ledger, made fast: real entries of every kind, written through the writer's own state in large batches.

Only the gRPC calls, the decisions and the waiting are left out. The same seed makes the same people and events.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.services.book import Book
from consentry_server.services.context import new_id
from consentry_server.services.ledger import LedgerState, WorkingBatch
from consentry_server.services.people import REFERENCE_PREFIX
from consentry_server.services.ports import KnownRequest, LedgerStore
from consentry_server.tenant import bundled_packs
from tests.support.clocks import Clock
from tests.support.stack import face, start

BATCH = 5_000
FAST = (("synchronous", "off"), ("cache_size", -512 * 1024), ("secure_delete", "off"))
"""Nothing is kept safe while a ledger is made: a power cut means to make it again."""
WINDOW = timedelta(hours=24)
FIRST_ENTRIES = 8 + len(bundled_packs())
"""Those that are made by calling the service."""
GIVEN = ("type", "version", "ledger", "index", "time", "actor", "nonce", "people", "sealed")
"""What the book gives each entry."""


@dataclass(frozen=True)
class Large:
    """How large.

    Args:
        entries: In the ledger, about.
        people: Each with a delivered notice and a release; the rest of the entries are decisions about them.
        days: The time they are spread over, up to the clock's.
        seed: The same seed, the same ledger.
    """

    entries: int
    people: int
    days: int = 30
    seed: int = 1


Template = tuple[str, str, dict[str, Any]]


async def make(folder: Path, size: Large, clock: Clock, *, told: Callable[[int], None] = lambda _done: None) -> None:
    """Make a tenant with a large ledger in an empty folder; its checkpoint is that of the first entries.

    Args:
        folder: The state folder.
        size: How large.
        clock: Shows the end of the ledger's time.
        told: Told how many entries there are.
    """
    end = clock.now
    clock.forward(days=-size.days)
    stack = await start(folder, clock)
    await stack.policy()
    await stack.notice()
    await stack.consent("template")
    await stack.check(face("template"), sha256=b"\x01" * 32)
    await stack.check(face("template"), face("template-two"), face(), sha256=b"\x01" * 32)
    templates = templates_of(stack.tenant.sequencer.store)
    lookups = [stack.tenant.people.lookup(f"person-{number}") for number in range(size.people)]
    await stack.running.aclose()
    store = SqliteLedgerStore(stack.running.folders.ledger)
    try:
        state = LedgerState(store)
        for name, value in FAST:
            store._write.pragma(name, value)
        _grow(state, stack.running.ledger, size, templates, lookups, end, told)
    finally:
        store.close()
    clock.now = end


def templates_of(store: LedgerStore) -> dict[str, list[Template]]:
    """Real entries by type, from the beginning of a ledger that :func:`make` made, without what each gets anew."""
    made: dict[str, list[Template]] = {}
    for data in store.fetch_entries(0, FIRST_ENTRIES):
        entry = orjson.loads(data)
        body = {name: value for name, value in entry.items() if name not in GIVEN}
        made.setdefault(entry["type"], []).append((entry["type"], entry["actor"], body))
    return made


def people_of(store: LedgerStore) -> list[str]:
    """Every person's subject_ref."""
    found: list[str] = []
    while rows := store.fetch_records("subject", found[-1] if found else "", BATCH):
        found += [key for key, _body in rows]
    return found


def append_decisions(
    state: LedgerState,
    ledger: str,
    count: int,
    now: datetime,
    templates: dict[str, list[Template]],
    people: list[str],
    chance: random.Random,
) -> WorkingBatch:
    """A batch of decisions about random people, each answering a request of its own; not yet committed."""
    batch = state.begin(now)
    for _ in range(count):
        book = _book(batch, ledger, chance)
        _decide(book, people, templates["decision"], chance)
        _remember(book, chance)
        batch.absorb(book)
    return batch


def commit(state: LedgerState, batch: WorkingBatch) -> None:
    """What the sequencer does with a batch, on this thread."""
    finished = batch.finish()
    state.store.stage(finished)
    state.store.commit()
    state.adopt(batch, finished.head)


def _book(batch: WorkingBatch, ledger: str, chance: random.Random) -> Book:
    return Book(
        batch,
        ledger=ledger,
        random=chance.randbytes,
        request_window=WINDOW,
    )


def _grow(
    state: LedgerState,
    ledger: str,
    size: Large,
    templates: dict[str, list[Template]],
    lookups: list[bytes],
    end: datetime,
    told: Callable[[int], None],
) -> None:
    chance = random.Random(size.seed)
    first = state.head.time
    assert first is not None
    events = _events(size, templates, lookups, chance, state.head.size)
    while state.head.size < size.entries:
        now = first + (end - first) * min((state.head.size + BATCH) / size.entries, 1.0)
        batch = state.begin(now)
        book = _book(batch, ledger, chance)
        while len(book.entries) < BATCH:
            next(events)(book)
            if end - now < WINDOW:
                _remember(book, chance)
        batch.absorb(book)
        commit(state, batch)
        told(state.head.size)


def _events(
    size: Large, templates: dict[str, list[Template]], lookups: list[bytes], chance: random.Random, before: int
) -> Iterator[Callable[[Book], None]]:
    """New people at an even pace, and in between decisions about those who are there."""
    every = max((size.entries - before) // max(size.people, 1) - 2, 0)
    references: list[str] = []
    for lookup in lookups:
        reference = new_id(REFERENCE_PREFIX, chance.randbytes)
        references.append(reference)
        yield lambda book, lookup=lookup, reference=reference: _arrive(book, lookup, reference, templates, chance)  # type: ignore[misc]
        for _ in range(every):
            yield lambda book: _decide(book, references, templates["decision"], chance)
    while True:
        yield lambda book: _decide(book, references, templates["decision"], chance)


def _arrive(
    book: Book, lookup: bytes, reference: str, templates: dict[str, list[Template]], chance: random.Random
) -> None:
    book.ensure_reference(lookup, reference)
    delivery_id, release_id = new_id("dlv", chance.randbytes), new_id("rel", chance.randbytes)
    entry_type, actor, body = templates["notice.delivered"][0]
    delivery = {**body["delivery"], "delivery_id": delivery_id}
    book.append(entry_type, actor, {**body, "delivery": delivery, "sealed": _seal(book, chance)}, [reference])
    entry_type, actor, body = templates["release.recorded"][0]
    release = {**body["release"], "delivery_id": delivery_id, "release_id": release_id}
    book.append(entry_type, actor, {**body, "release": release, "sealed": _seal(book, chance)}, [reference])


def _decide(book: Book, references: list[str], templates: list[Template], chance: random.Random) -> None:
    entry_type, actor, body = templates[0] if chance.random() < 0.7 or len(references) < 2 else templates[1]
    people = chance.sample(references, 1 if body is templates[0][2] else 2)
    decision_id = f"dec_{book.next_index}_{new_id('x', chance.randbytes, 16)[2:]}"
    body = {**body, "decision_id": decision_id, "photo_ref": chance.randbytes(16).hex()}
    book.append(entry_type, actor, body, people)


def _seal(book: Book, chance: random.Random) -> dict[str, str]:
    record_id, blob = new_id("sld", chance.randbytes), chance.randbytes(160)
    book.sealed[record_id] = blob
    return {"id": record_id, "sha256": hashlib.sha256(blob).hexdigest()}


def _remember(book: Book, chance: random.Random) -> None:
    book.requests[chance.randbytes(32)] = KnownRequest(chance.randbytes(32), book.next_index - 1, book.now)
