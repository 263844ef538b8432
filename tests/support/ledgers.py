"""Ledgers of any content and size, written by the service's own writer without anybody calling it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from consentry_server.services.book import Book
from consentry_server.services.ledger import LedgerState
from consentry_server.services.ports import LedgerStore
from tests.support.clocks import LEDGER, Clock
from tests.support.large import commit

RULES = ("IL-15B3-RELEASE", "IL-15B1-NOTICE", "HOUSE-POLICY")
ACTORS = ("processor/face-tagger", "processor/night-job", "collector/product")
AT_ONCE = 1_000


class Made(NamedTuple):
    """One entry to be."""

    type: str
    actor: str
    body: dict[str, Any]
    people: tuple[str, ...] = ()
    after: timedelta = timedelta()


def write(store: LedgerStore, entries: Iterable[Made], *, start: datetime | None = None, seed: int = 7) -> None:
    """Append entries, a thousand to a commit; time goes by between commits alone.

    Args:
        store: Not open yet.
        entries: What to append.
        start: Time of the first; a fixed one by default.
        seed: Of nonces.
    """
    state = LedgerState(store)
    source = random.Random(seed)
    now = start or Clock().now
    batch = state.begin(now)
    for made in entries:
        if made.after or len(batch.entries) >= AT_ONCE:
            commit(state, batch)
            now += made.after
            batch = state.begin(now)
        book = Book(
            batch,
            ledger=LEDGER,
            random=source.randbytes,
            request_window=timedelta(hours=24),
        )
        book.append(made.type, made.actor, made.body, made.people)
        batch.absorb(book)
    commit(state, batch)


def reference(number: int) -> str:
    """A person's reference."""
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    return "sub_" + "".join(digits[number // 32**place % 32] for place in range(24))


def decision(
    index: int, *, outcome: str = "ALLOW", people: int = 0, permit: bool = False, **more: Any
) -> dict[str, Any]:
    """The body of a decision that stands at an index."""
    body: dict[str, Any] = {
        "decision_id": f"dec_{index}_abcdefghijklmnop",
        "rules": ["us-il-bipa"] if outcome == "ALLOW" else [f"{RULES[index % 3]}:RELEASE_MISSING"],
        "request": {"operation": "ENROLL", "purpose": "TAGGING", "category": "PHOTO", "regions": ["US-IL"]},
        "outcome": outcome,
        "faces": [{"outcome": outcome, "person": place, "rules": [0]} for place in range(people)]
        or [{"outcome": outcome, "rules": [0]}],
        "packs": [1, 2],
        "engine": "0.1.0",
        "valid_seconds": 60,
        **more,
    }
    if permit:
        body["permit"] = True
    return body


def everyday(count: int, *, people: int, seed: int = 1, seconds: float = 0.01) -> Iterable[Made]:
    """What a busy service records: decisions, openings, reports, and now and then an interaction.

    Args:
        count: Number of entries.
        people: Number of persons.
        seed: Of the choice.
        seconds: Time between two entries, on average.
    """
    source = random.Random(seed)
    open_decisions: list[tuple[int, str, str, str]] = []
    for index in range(count):
        after = timedelta(seconds=seconds * AT_ONCE) if index % AT_ONCE == AT_ONCE - 1 else timedelta()
        actor = ACTORS[source.random() > 0.8]
        kind = source.random()
        if kind < 0.4 or not open_decisions:
            person = reference(source.randrange(people))
            outcome = "ALLOW" if source.random() < 0.7 else "DENY"
            photo = "".join(source.choices("abcdefghijklmnopqrstuvwxyz234567", k=24))
            body = decision(
                index,
                outcome=outcome,
                people=1,
                permit=outcome == "ALLOW",
                photo_id=f"pho_{photo}",
                photo_ref=source.randbytes(16).hex(),
            )
            open_decisions.append((index, actor, person, photo))
            yield Made("decision", actor, body, (person,), after)
            continue
        if kind < 0.98:
            of, by, person, photo = open_decisions[
                source.randrange(max(0, len(open_decisions) - 50), len(open_decisions))
            ]
            named = {"decision_id": f"dec_{of}_abcdefghijklmnop"}
            if kind < 0.65:
                yield Made("photo.opened", by, {**named, "photo_id": f"pho_{photo}"}, (person,), after)
            else:
                body = {**named, "decision_index": of, "result": "PERFORMED"}
                yield Made("processing.reported", by, body, (person,), after)
            continue
        yield Made("interaction.recorded", ACTORS[2], {}, (reference(source.randrange(people)),), after)
