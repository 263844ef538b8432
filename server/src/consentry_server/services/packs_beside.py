"""The law packs that go with an exported ledger, so that its decisions can be replayed from the export alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from consentry_server.core.ledger.export import pack_path
from consentry_server.core.record.codec import from_body
from consentry_server.core.record.facts import Tenant
from consentry_server.core.record.fold import TENANT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentry_server.services.ports import LedgerStore

_ACTIVATED: Final = b'"type":"pack.activated"'
"""Entries are written as RFC 8785 has them: no spaces."""


class PacksBeside:
    """Notes which packs the exported entries activate, and gives their bytes afterwards.

    An export that goes on where an earlier one ended finds the packs of the earlier entries beside them already; those
    that are active now are given in any case.

    Args:
        store: The ledger.
    """

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._named: dict[str, None] = {}

    def read_entries(self, first: int, count: int) -> list[bytes]:
        """As ``LedgerStore.fetch_entries``."""
        found = self._store.fetch_entries(first, count)
        for data in found:
            if _ACTIVATED in data:
                entry = orjson.loads(data)
                if entry["type"] == "pack.activated":
                    self._named[entry["pack"]["sha256"]] = None
        return found

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Path and bytes of each pack whose bytes are kept."""
        body = self._store.fetch_record("tenant", TENANT_KEY)
        if body is not None:
            self._named |= {pack.sha256: None for pack in from_body(Tenant, body).packs}
        for sha256 in self._named:
            data = self._store.fetch_document(sha256)
            if data is not None:
                yield pack_path(sha256), data
