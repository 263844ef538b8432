"""A whole ledger to go through from its first entry on: a state folder, or what ``audit verify`` takes."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from consentry_server import config
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.config import GateSettings
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.checkpoint import open_checkpoint, parse_body
from consentry_server.core.ledger.export import CHECKPOINT_PATH, pack_path
from consentry_server.core.ledger.span import SPAN_BUNDLES
from consentry_server.core.ledger.tiles import ENTRIES, TILE_WIDTH, Tile, decode_bundle, width_at
from consentry_server.services.tiered import TieredStore
from consentry_server.services.verification import SourceError
from consentry_server.tenant import TenantFolders, tile_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from consentry_server.core.ledger.checkpoint import Checkpoint
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.services.verification import Reader, Source

READ_AT_ONCE: Final = 1_000


class Ledger(Protocol):
    """A ledger as it was when it was opened; it may be growing."""

    name: str
    size: int
    root: bytes
    """Of the tree over its entries, as its keeper states it."""
    unknown_regions: frozenset[str]
    """What counts where the ledger itself does not say it."""

    def entries(self) -> Iterator[bytes]:
        """Every entry's bytes, in order.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: one is missing; ``SourceError``: it cannot be read.
        """

    def document(self, sha256: str) -> bytes | None:
        """Bytes of a pack by their SHA-256 in hex, where they are kept with the ledger."""

    def holds(self, sealed_id: str) -> bool | None:
        """Whether sealed words are still held; None where this place cannot tell."""


class InState:
    """The ledger of a state folder; a server may be running on it.

    Args:
        state: The folder.
        tenant: Whose ledger; empty where there is one only.
    """

    def __init__(self, state: Path, tenant: str) -> None:
        settings = config.load(state)
        name = settings.tenancy.choose(tenant)
        folders = TenantFolders(state, name)
        if not folders.ledger.is_file():
            raise ConsentryError(Reason.NOT_FOUND, f"{folders.ledger} is missing: is this the right folder?")
        self._store = TieredStore(SqliteLedgerStore(folders.ledger), tile_store(state, name, settings))
        head = self._store.fetch_head()
        self.name = f"{settings.tenancy.trust_domain}/{name}"
        self.size, self.root = head.size, head.root
        self.unknown_regions = frozenset(settings.gate.unknown_regions)

    def entries(self) -> Iterator[bytes]:
        """See the protocol."""
        first = 0
        while first < self.size:
            found = self._store.fetch_entries(first, min(READ_AT_ONCE, self.size - first))
            if not found:
                raise _gone(first)
            yield from found
            first += len(found)

    def document(self, sha256: str) -> bytes | None:
        """See the protocol."""
        return self._store.fetch_document(sha256)

    def holds(self, sealed_id: str) -> bool | None:
        """See the protocol."""
        return self._store.fetch_sealed(sealed_id) is not None

    def close(self) -> None:
        """Release the files."""
        self._store.close()


class InFiles:
    """A ledger in the layout of an export, wherever it lies.

    Args:
        source: Where it lies.
        key: The ledger's published key; None leaves the checkpoint's signature unchecked.
    """

    def __init__(self, source: Source, key: VerifierKey | None) -> None:
        self._has_files = source.has_upper_tiles
        self._reader: Reader = source.open()
        try:
            published = self._checkpoint(key)
        except BaseException:
            self._reader.close()
            raise
        self.name, self.size, self.root = published.origin, published.size, published.root
        self.unknown_regions = frozenset(GateSettings().unknown_regions)

    def _checkpoint(self, key: VerifierKey | None) -> Checkpoint:
        data = self._reader.read(CHECKPOINT_PATH)
        if data is None:
            raise SourceError("there is no ledger: no checkpoint was found")
        return parse_body(notes.parse(data).text) if key is None else open_checkpoint(data, key).checkpoint

    def entries(self) -> Iterator[bytes]:
        """See the protocol."""
        bundles = -(-self.size // TILE_WIDTH)
        for first in range(0, bundles, SPAN_BUNDLES):
            numbers = range(first, min(first + SPAN_BUNDLES, bundles))
            paths = [Tile(ENTRIES, number, width_at(0, number, self.size)).path for number in numbers]
            self._reader.ahead(paths)
            for number, path in zip(numbers, paths, strict=True):
                data = self._reader.read(path)
                found = [] if data is None else decode_bundle(data)
                if len(found) != width_at(0, number, self.size):
                    raise _gone(number * TILE_WIDTH + len(found))
                yield from found

    def document(self, sha256: str) -> bytes | None:
        """See the protocol."""
        data = self._reader.read(pack_path(sha256)) if self._has_files else None
        return data if data is not None and hashlib.sha256(data).hexdigest() == sha256 else None

    def holds(self, sealed_id: str) -> bool | None:  # noqa: ARG002 - an export holds nothing sealed
        """See the protocol."""
        return None

    def close(self) -> None:
        """Close the source."""
        self._reader.close()


@contextmanager
def opened(state: Path, source: Source | None, tenant: str, key: VerifierKey | None) -> Iterator[InState | InFiles]:
    """Open a ledger.

    Args:
        state: A state folder, where there is no source.
        source: What ``audit verify`` takes.
        tenant: Whose ledger, of a state folder.
        key: The published key; checked against an export's checkpoint.
    """
    ledger = InState(state, tenant) if source is None else InFiles(source, key)
    try:
        yield ledger
    finally:
        ledger.close()


def _gone(index: int) -> ConsentryError:
    return ConsentryError(
        Reason.DATA_DAMAGED, f"entry {index} is missing: nothing from there on can be replayed; verify the ledger"
    )
