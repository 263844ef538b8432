"""Replay beside a running server: the whole ledger decided again, in steps, so that nobody waits for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.ports_rebuild import Shelf
from consentry_server.services.replay import Replay, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from consentry_server.core.law import Pack
    from consentry_server.services.packs import Packs
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.replay import Replayed, Tally

READ_AT_ONCE: Final = 1_000


class OpenShelf(Shelf, Protocol):
    """A shelf with a beginning and an end."""

    def open(self) -> None:
        """Make it, empty."""

    def close(self) -> None:
        """Drop everything."""


class Asked(NamedTuple):
    """Which decisions.

    Args:
        first: From this index on.
        until: Up to but without this index; None for the end.
        only: Only this decision; empty for all.
        instead: Packs that stand in for those of the day.
    """

    first: int = 0
    until: int | None = None
    only: str = ""
    instead: tuple[Pack, ...] = ()


class Replaying:
    """Replays one tenant's ledger.

    Args:
        store: The ledger.
        shelf: Makes an empty shelf.
        packs: Makes an empty memory of compiled packs.
        engine: Version of this code.
        unknown_regions: What counts where the ledger does not say it.
    """

    def __init__(
        self,
        *,
        store: LedgerStore,
        shelf: Callable[[], OpenShelf],
        packs: Callable[[], Packs],
        engine: str,
        unknown_regions: frozenset[str],
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._packs = packs
        self._engine = engine
        self._unknown_regions = unknown_regions

    def run(self, asked: Asked) -> Generator[tuple[Sequence[Replayed], Tally]]:
        """Replay. Blocks on the store; take each step on a worker thread, one after another.

        Args:
            asked: Which decisions.

        Yields:
            After so many entries: the decisions among them that did not come out the same, and the count so far; last
            the whole count.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: an entry is missing or cannot be read.
        """
        with ExitStack() as stack:
            shelf = self._shelf()
            stack.callback(shelf.close)
            shelf.open()
            run = Replay(
                shelf=shelf,
                packs=self._packs(),
                engine=self._engine,
                unknown_regions=self._unknown_regions,
                holds=lambda sealed_id: self._store.fetch_sealed(sealed_id) is not None,
                instead=asked.instead,
                first=asked.first,
                only=asked.only,
            )
            size = self._store.fetch_head().size
            last = size if asked.until is None else min(size, asked.until)
            while run.size < last:
                found = self._store.fetch_entries(run.size, min(READ_AT_ONCE, last - run.size))
                if not found:
                    raise ConsentryError(Reason.DATA_DAMAGED, f"entry {run.size} is gone: restore from a backup")
                yield self._step(run, found), run.tally
            yield (), run.tally

    @staticmethod
    def _step(run: Replay, entries: Sequence[bytes]) -> list[Replayed]:
        different: list[Replayed] = []
        for data in entries:
            one = run.take(data)
            if one is not None:
                run.tally.count(one)
                if one.result is not Result.EQUAL:
                    different.append(one)
        return different
