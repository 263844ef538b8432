"""The ledger of a running server, read through AuditService."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from consentry import Client, Config, ConsentryError
from consentry_server.core.ledger.export import CHECKPOINT_PATH, VKEY_PATH
from consentry_server.core.ledger.rotation import KEYS_PATH
from consentry_server.core.ledger.tiles import ENTRIES, MAX_BUNDLED_ENTRY_BYTES, TILE_WIDTH, parse_path
from consentry_server.services.verification import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from consentry.v1.ledger_pb2 import Entry

PAGE_ENTRIES: Final = 1000
"""The most that ListEntries gives at once."""
DEADLINE_SECONDS: Final = 30.0

_UNSAFE_ROLE: Final = "auditor"


@dataclass(frozen=True, slots=True)
class Live:
    """A server and who asks it.

    Args:
        target: ``host:port``.
        ca: PEM of the authorities that the server's certificate must come from; None for clear text to this machine.
        certificate: PEM of the auditor's certificate.
        key: PEM of its key.
        server_name: Name in the server's certificate where it is not the target's host.
    """

    target: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""
    has_upper_tiles: bool = False

    def open(self) -> LiveReader:
        """Connect; as ``Source.open``."""
        config = Config(unary_deadline_seconds=DEADLINE_SECONDS)
        try:
            if self.ca is None or self.certificate is None or self.key is None:
                client = Client.unsafe_insecure_loopback(self.target, role=_UNSAFE_ROLE, config=config)
            else:
                client = Client.connect(
                    self.target,
                    root_certificates=self.ca,
                    certificate_chain=self.certificate,
                    private_key=self.key,
                    server_name=self.server_name,
                    config=config,
                )
            client.start()
        except ConsentryError as error:
            raise SourceError(f"{self.target} cannot be asked: {error}") from error
        return LiveReader(self.target, client)

    def paths(self) -> tuple[str, ...]:
        """A server lists entries, not files; as ``Source.paths``."""
        return ()


class LiveReader:
    """Gives entries, and the leaf hashes that the server states for them, as if they were bundles and tiles.

    Args:
        target: Whom it asks, for messages.
        client: Started; closed with this.
    """

    def __init__(self, target: str, client: Client) -> None:
        self._target = target
        self._client = client
        self._coming: Iterator[Entry] = iter(())
        self._next = 0
        self._bundle: tuple[int, bytes, bytes] | None = None

    def read(self, path: str) -> bytes | None:
        """Contents of a file as an export would have it; as ``Reader.read``."""
        try:
            if path == KEYS_PATH:
                return None  # a server does not list its earlier keys: give the newest
            if path in {CHECKPOINT_PATH, VKEY_PATH}:
                signed = self._client.get_checkpoint().checkpoint
                return (signed.note if path == CHECKPOINT_PATH else f"{signed.verifier_key}\n").encode()
            tile = parse_path(path)
            if tile.level not in {ENTRIES, 0}:
                return None
            if self._bundle is None or self._bundle[0] != tile.number:
                self._fetch(tile.number, tile.width)
        except ConsentryError as error:
            raise SourceError(f"{self._target} does not answer: {error}") from error
        if self._bundle is None:
            return None
        _, entries, hashes = self._bundle
        return entries if tile.level == ENTRIES else hashes

    def ahead(self, paths: Iterable[str]) -> None:
        """Open one listing over what comes next; as ``Reader.ahead``."""
        tiles = [parse_path(path) for path in paths]
        first, last = tiles[0], tiles[-1]
        self._list(first.number, last.number * TILE_WIDTH + last.width)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _list(self, number: int, until: int) -> None:
        first = number * TILE_WIDTH
        page = min(PAGE_ENTRIES, until - first)
        self._coming = self._client.list_entries(from_index=first, until_index=until, page_size=page)
        self._next = number

    def _fetch(self, number: int, width: int) -> None:
        if number != self._next:
            self._list(number, number * TILE_WIDTH + width)
        found = list(islice(self._coming, width))
        self._next = number + 1
        if any(len(entry.json) > MAX_BUNDLED_ENTRY_BYTES for entry in found):
            raise SourceError(f"{self._target} sent an entry that is longer than any can be")
        entries = b"".join(len(entry.json).to_bytes(2, "big") + entry.json for entry in found)
        self._bundle = (number, entries, b"".join(entry.reference.leaf_hash for entry in found))
