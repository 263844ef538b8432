"""The law packs this process has compiled, found by the hash that a ledger entry activated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consentry_server.core.law import Pack
    from consentry_server.core.record.facts import ActivePack


class Packs:
    """Compiled packs by their hash.

    Args:
        packs: Every pack this build carries or was given.
        document: Gives the exact bytes behind a SHA-256 in hex, as they were kept when a pack was activated.
    """

    def __init__(self, packs: Sequence[Pack], document: Callable[[str], bytes | None]) -> None:
        self._by_hash = {(pack.sha256, pack.own): pack for pack in packs}
        self._document = document
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
        compiled = tuple(self._by_hash.get((pack.sha256, pack.own)) or self._kept(pack) for pack in active)
        self._last = (active, compiled)
        return compiled

    def _kept(self, active: ActivePack) -> Pack:
        """A pack that this build no longer carries, from the bytes that were kept with its activation."""
        data = self._document(active.sha256)
        try:
            name = f"{active.pack_id} {active.version}"
            pack = load_pack(data, name=name, own=active.own) if data is not None else None
        except ConsentryError as error:  # a vocabulary that this build does not know
            raise _lacking(active) from error
        if pack is None or pack.sha256 != active.sha256:
            raise _lacking(active)
        self.hold(pack)
        return pack

    def hold(self, pack: Pack) -> None:
        """Keep a pack that was compiled elsewhere: whether it decides is for the ledger to say."""
        self._by_hash[pack.sha256, pack.own] = pack

    def start(self, active: tuple[ActivePack, ...]) -> None:
        """Refuse to decide with other packs than the ledger's.

        Every active pack has to be here, and none of this build's may be another one under the same name.

        Args:
            active: What the ledger says is active.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID`` names the pack.
        """
        versions = {(held.pack_id, held.version): held for held in active if not held.own}
        for pack in self.all():
            held = versions.get((pack.id, pack.version))
            if held is not None and not pack.own and held.sha256 != pack.sha256:
                raise ConsentryError(
                    Reason.CONFIGURATION_INVALID,
                    f"this build's law pack {pack.id} {pack.version} has other bytes (SHA-256 {pack.sha256[:16]}…) than"
                    f" the active one of entry {held.index} ({held.sha256[:16]}…): run the build that activated it, or"
                    " one in which what changed has a version of its own",
                )
        self.compiled(active)

    def all(self) -> tuple[Pack, ...]:
        """Every pack this process has."""
        return tuple(self._by_hash.values())


def _lacking(active: ActivePack) -> ConsentryError:
    return ConsentryError(
        Reason.CONFIGURATION_INVALID,
        f"this process does not have the active law pack {active.pack_id} {active.version}, and the bytes kept of it"
        " cannot be used: run the build that activated it",
    )
