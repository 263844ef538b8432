"""The law packs this process has compiled, found by the hash that a ledger entry activated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consentry_server.core.law import Pack
    from consentry_server.core.record.facts import ActivePack


class Packs:
    """Compiled packs by their hash.

    Args:
        packs: Every pack this build carries or was given.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._by_hash = {pack.sha256: pack for pack in packs}
        self._last: tuple[tuple[ActivePack, ...], tuple[Pack, ...]] = ((), ())

    def compiled(self, active: tuple[ActivePack, ...]) -> tuple[Pack, ...]:
        """The compiled packs that are active.

        Args:
            active: What the ledger says is active.

        Returns:
            One pack for each, in the same order.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID``: this process lacks an active pack and must not decide.
        """
        known, compiled = self._last
        if known is active:
            return compiled
        missing = [f"{pack.pack_id} {pack.version}" for pack in active if pack.sha256 not in self._by_hash]
        if missing:
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID,
                f"this process does not have the active law pack {', '.join(missing)}: run the build that activated it",
            )
        compiled = tuple(self._by_hash[pack.sha256] for pack in active)
        self._last = (active, compiled)
        return compiled

    def all(self) -> tuple[Pack, ...]:
        """Every pack this process has."""
        return tuple(self._by_hash.values())
