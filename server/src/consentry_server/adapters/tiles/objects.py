"""Tiles in object storage through obstore: durable once it has answered, written with "only if there is none".

obstore's synchronous calls release the GIL; why its asynchronous ones are not used stands in ``adapters/blobs``.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from consentry_server.adapters.tiles.errors import differing, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore.store import ObjectStore

AT_ONCE: Final = 8
AWAY_SECONDS: Final = 5.0
"""After a read that failed, others fail at once for so long: old entries are read on the ledger's writer too."""


class ObjectTiles:
    """Implements ``services.ports_tiles.TileStore``.

    Args:
        store: An obstore store that belongs to this ledger, prefix included, and knows conditional writes.
        place: Its URL, for messages.
        away_seconds: See :data:`AWAY_SECONDS`.
    """

    def __init__(self, store: ObjectStore, place: str, *, away_seconds: float = AWAY_SECONDS) -> None:
        self._store = store
        self._place = place
        self._away_seconds = away_seconds
        self._away_until = 0.0

    @property
    def place(self) -> str:
        """See the port."""
        return self._place

    def read(self, path: str) -> bytes | None:
        """See the port."""
        if time.monotonic() < self._away_until:
            raise unreachable(self._place, full=False)
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            self._away_until = time.monotonic() + self._away_seconds
            raise unreachable(self._place, full=False) from error

    def write(self, files: Sequence[tuple[str, bytes]]) -> None:
        """See the port."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tiles") as threads:
            for _ in threads.map(self._create, files):
                pass

    def replace(self, path: str, data: bytes) -> None:
        """See the port."""
        with self._failures():
            obstore.put(self._store, path, data, use_multipart=False)

    def remove(self, folder: str) -> None:
        """See the port."""
        with self._failures():
            for found in obstore.list(self._store, f"{folder}/"):
                obstore.delete(self._store, [one["path"] for one in found])

    def _create(self, file: tuple[str, bytes]) -> None:
        path, data = file
        with self._failures():
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError as error:
                if self.read(path) != data:
                    raise differing(path, self._place) from error

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise unreachable(self._place, full=False) from error
