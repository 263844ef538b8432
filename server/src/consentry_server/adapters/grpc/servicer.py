"""What all servicers share: whose services a call reaches, and the name of that tenant's ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from consentry_server.adapters.grpc.identity import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consentry_server.adapters.grpc.tenants import Tenant
    from consentry_server.services.context import Caller


class Call(NamedTuple):
    """Who calls, and what the call reaches.

    Args:
        caller: From the certificate.
        tenant: That caller's tenant, and no other.
        ledger: The origin of its ledger.
    """

    caller: Caller
    tenant: Tenant
    ledger: str


class Servicer:
    """Answers the RPCs of one service for every tenant that is hosted here.

    Args:
        tenants: Name of a tenant to its services.
        clock: Gives the time, UTC; the system's by default. It judges callers' claims of time alone: what is recorded
            has the ledger's time.
    """

    def __init__(self, tenants: Mapping[str, Tenant], clock: Callable[[], datetime] | None = None) -> None:
        self._tenants = tenants
        self._clock = clock or _now
        self._ledgers: dict[str, str] = {}

    def _call(self) -> Call:
        """The call that is being answered."""
        found = caller()
        tenant = self._tenants[found.tenant]
        ledger = self._ledgers.get(found.tenant)
        if ledger is None:  # the key is derived anew each time it is asked for
            ledger = self._ledgers[found.tenant] = tenant.checkpoints.key.name
        return Call(found, tenant, ledger)


def _now() -> datetime:
    return datetime.now(UTC)
