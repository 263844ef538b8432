"""Whether an operation is enforced or only observed, at one moment.

Everything is enforced unless officers have said otherwise. Switching to observing loosens and takes two officers;
switching back takes one. Where switches meet, the one that enforces wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from consentry_server.core.record.facts import EnforcementSwitch
    from consentry_server.core.vocabulary import Operation


def is_observed(switches: Sequence[EnforcementSwitch], operation: Operation, now: datetime) -> bool:
    """Say whether answers about an operation are only observed.

    1. A switch to observing counts once another officer than its author has approved it, from its effective time on.
    2. A switch to enforcing that is in effect ends every one that was recorded before it, or that is not later in
       effect than it.

    Args:
        switches: What officers recorded, in any order.
        operation: The operation.
        now: The ledger's clock, UTC.
    """
    of_it = [each for each in switches if each.operation is operation and each.effective_time <= now]
    enforcing = [each for each in of_it if each.enforced]
    return any(
        not each.enforced and is_approved(each) and not is_overtaken(each, enforcing)  # (1), (2)
        for each in of_it
    )


def is_approved(switch: EnforcementSwitch) -> bool:
    """Whether another officer than its author has approved it."""
    return bool(switch.approved_by) and switch.approved_by != switch.decided_by


def is_overtaken(switch: EnforcementSwitch, enforcing: Iterable[EnforcementSwitch]) -> bool:
    """Whether one of these switches to enforcing ends a switch to observing.

    Args:
        switch: A switch to observing.
        enforcing: Switches of its operation to enforcing.
    """
    return any(other.index > switch.index or other.effective_time >= switch.effective_time for other in enforcing)
