"""A recorded decision, put again: what ``decide`` was asked when it was made, from its entry and the fold before it.

A late report was decided twice, and of each face the stricter answer stood (``services.late``); so it is put twice.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from consentry_server.core.ledger.entry import format_time, parse_time
from consentry_server.core.record.codec import from_plain
from consentry_server.services.late import SAID_OF_SOURCE, SaidOfSource, faces_then, request_then, tenant_then

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.record.artifacts import Artifact
    from consentry_server.core.record.facts import Face, OperationRequest, Tenant
    from consentry_server.services.ports_rebuild import Shelf

TIME: Final = "time"
TIMES_AT_ONCE: Final = 4_096


class View(NamedTuple):
    """What ``decide`` is asked once.

    Args:
        request: The request.
        faces: Its faces, with what is known of each person.
        tenant: What is known of the tenant.
        at: The time that it is decided for.
    """

    request: OperationRequest
    faces: Sequence[Face]
    tenant: Tenant
    at: datetime


class Late(NamedTuple):
    """What the entry of a late report says.

    Args:
        time: When the operation took place, by its caller's account.
        said: What the caller itself said of the photo's source, where the photo was stored after that time.
    """

    time: datetime
    said: SaidOfSource | None


def late_of(entry: Mapping[str, Any]) -> Late | None:
    """What a decision's entry says of an operation that was reported late; None where it was not.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: The entry is damaged.
    """
    if not entry.get("late"):
        return None
    said = entry.get(SAID_OF_SOURCE)
    return Late(parse_time(entry["occurred_at"]), None if said is None else from_plain(SaidOfSource, said))


def before(now: View, late: Late, size: int, artifact: Artifact | None, unknown_regions: frozenset[str]) -> View:
    """A late report as it is put the second time: on what was recorded before the operation.

    Args:
        now: As it was put the first time.
        late: What its entry says of that.
        size: How many entries were recorded before the operation.
        artifact: What the operation is on.
        unknown_regions: What stands in for a residence that may have been learnt since.
    """
    return View(
        request_then(now.request, late.said, artifact, size),
        faces_then(now.faces, size, unknown_regions),
        tenant_then(now.tenant, size),
        late.time,
    )


class Times:
    """When each entry was recorded, in little memory: one time of many is held, the others lie on a shelf.

    Args:
        shelf: Where they lie.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._firsts: list[str] = []
        self._latest: list[str] = []

    def add(self, time: str) -> None:
        """Note the next entry's time, as entries have it: such times sort as their text does."""
        if len(self._latest) == TIMES_AT_ONCE:
            self._shelf.put([(TIME, str(len(self._firsts) - 1), orjson.dumps(self._latest))])
            self._latest = []
        if not self._latest:
            self._firsts.append(time)
        self._latest.append(time)

    def size_before(self, time: datetime) -> int:
        """How many entries were recorded before a time; see ``late.size_before``."""
        wanted = format_time(time)
        block = bisect_left(self._firsts, wanted) - 1
        if block < 0:
            return 0
        last = block == len(self._firsts) - 1
        times = self._latest if last else orjson.loads(self._shelf.get(TIME, str(block)) or b"[]")
        return block * TIMES_AT_ONCE + bisect_left(times, wanted)


def entries_before(entry: Callable[[int], Mapping[str, Any]], size: int, time: datetime) -> int:
    """The same, of a ledger whose entries can be read one by one.

    Args:
        entry: Reads one.
        size: How many there are.
        time: The time.
    """
    return bisect_left(range(size), format_time(time), key=lambda index: entry(index)["time"])
