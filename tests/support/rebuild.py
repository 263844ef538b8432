"""Fold a stored ledger again, from its bytes alone, and compare with what the service keeps beside it."""

from __future__ import annotations

from typing import Any

import orjson

from consentry_server.core.ledger.entry import decode
from consentry_server.core.record import fold
from consentry_server.core.record.codec import from_plain, to_plain
from consentry_server.services.ledger import KINDS
from consentry_server.services.ports import LedgerStore


class Folded:
    """Records in memory; implements ``fold.Records``."""

    def __init__(self) -> None:
        self.held: dict[tuple[type[Any], str], Any] = {}

    def get(self, kind: type[Any], key: str) -> Any:
        return self.held.get((kind, key))

    def put(self, kind: type[Any], key: str, record: Any) -> None:
        self.held[(kind, key)] = record


def differences(store: LedgerStore) -> list[str]:
    """Records that are not what the ledger says: empty where the projections are right."""
    folded = Folded()
    for data in store.fetch_entries(0, store.fetch_head().size):
        fold.apply(folded, decode(data))
    expected = {(KINDS[kind], key): to_plain(record) for (kind, key), record in folded.held.items()}
    kept = {
        (name, key): to_plain(from_plain(kind, orjson.loads(body)))
        for kind, name in KINDS.items()
        for key, body in store.fetch_records(name, "", 1_000_000)
    }
    return sorted(
        f"{name} {key}"
        for name, key in expected.keys() | kept.keys()
        if expected.get((name, key)) != kept.get((name, key))
    )
