"""The switch between enforcing and observing, read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry.v1 import determination_pb2
from consentry_server.adapters.grpc import read, words, write
from consentry_server.services.enforcement import PREFIX, SwitchDraft

if TYPE_CHECKING:
    from consentry.v1 import registry_service_pb2
    from consentry_server.core.record.facts import EnforcementSwitch
    from consentry_server.services.book import Recorded
    from consentry_server.services.context import Caller


def draft(request: registry_service_pb2.RecordDeterminationRequest, caller: Caller) -> SwitchDraft:
    """Read a switch.

    Args:
        request: As it came; its action is an enforcement change.
        caller: The officer.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``.
    """
    key = read.key(caller, "RecordDetermination", request)
    change = request.enforcement
    return SwitchDraft(
        operation=words.OPERATION.read(change.operation, "enforcement.operation"),
        enforced=change.enforced,
        effective_time=read.needed_time(change, "effective_time", "enforcement.effective_time"),
        key=key,
    )


def is_switch(record_id: str) -> bool:
    """Whether an id names a switch."""
    return record_id.startswith(f"{PREFIX}_")


def change(ledger: str, held: EnforcementSwitch, recorded: Recorded) -> determination_pb2.EnforcementChange:
    """Write a switch as it stands now.

    Args:
        ledger: The ledger's origin.
        held: The switch.
        recorded: Where the entry stands that recorded it.
    """
    waits = not held.enforced and not held.approved_by
    return determination_pb2.EnforcementChange(
        operation=words.OPERATION.numbers[held.operation],
        enforced=held.enforced,
        effective_time=write.timestamp(held.effective_time),
        enforcement_id=held.enforcement_id,
        state=determination_pb2.DETERMINATION_STATE_AWAITING_APPROVAL
        if waits
        else determination_pb2.DETERMINATION_STATE_ACTIVE,
        recorded_by=held.decided_by.partition("/")[2],
        approved_by=held.approved_by.partition("/")[2],
        entry=write.entry(ledger, recorded),
    )
