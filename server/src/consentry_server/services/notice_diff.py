"""Two versions of a notice side by side: what changed, whether it demands new consent, and for how many people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record import terms
from consentry_server.core.record.codec import from_body
from consentry_server.core.record.facts import Notice, Subject
from consentry_server.core.record.fold import notice_key
from consentry_server.core.record.notice_changes import Change, StatedNotice, compare, stated
from consentry_server.core.record.standing import Standing, standing
from consentry_server.services.context import require_slug

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.reading import Reader

MOST_RELEASES: Final = 100_000
"""After so many releases of the older version counting stops: a few seconds."""
RELEASES_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class NoticeDiff:
    """How two versions differ.

    Args:
        older: The older version.
        newer: The newer version.
        changes: Each difference, what demands new consent first.
        affected: How many people hold a live release under the older version, and none under the newer or a later one.
        stopped: Whether counting stopped at :data:`MOST_RELEASES` releases.
    """

    older: StatedNotice
    newer: StatedNotice
    changes: tuple[Change, ...]
    affected: int
    stopped: bool

    @property
    def reconsent_required(self) -> bool:
        """Whether any difference demands new consent."""
        return any(change.material for change in self.changes)


class NoticeDiffs:
    """Compares the versions of a tenant's notices.

    Args:
        store: For reading records.
        reader: Finds the releases of a version by the index.
        most: After so many releases counting stops.
    """

    def __init__(self, *, store: LedgerStore, reader: Reader, most: int = MOST_RELEASES) -> None:
        self._store = store
        self._reader = reader
        self._most = most

    async def diff(self, notice_id: str, older: int, newer: int, now: datetime) -> NoticeDiff:
        """Compare two versions of a notice.

        Args:
            notice_id: The notice.
            older: The older version.
            newer: The newer one.
            now: The time at which releases are live or not, UTC.

        Raises:
            ConsentryError: ``NOT_FOUND``: no such version; ``FIELD_INVALID``: the newer one is not newer.
        """
        return await asyncio.to_thread(self.compare, notice_id, older, newer, now)

    def compare(self, notice_id: str, older: int, newer: int, now: datetime) -> NoticeDiff:
        """The same, for callers that may block; see :meth:`diff`."""
        require_slug(notice_id, "notice_id")
        if newer <= older:
            raise ConsentryError(
                Reason.FIELD_INVALID,
                "to_version must be more than from_version: name the older one first",
                field="to_version",
            )
        notices = [self._notice(notice_id, older, "from_version"), self._notice(notice_id, newer, "to_version")]
        before, after = (stated(self._entry(notice)) for notice in notices)
        affected, stopped = self._count(before.notice, newer, now)
        return NoticeDiff(before, after, compare(before, after), affected, stopped)

    async def since_last(self, notice: Notice) -> tuple[Change, ...]:
        """How a version differs from the one before it; not at all where it is the first."""
        return await asyncio.to_thread(self._since_last, notice)

    def _since_last(self, notice: Notice) -> tuple[Change, ...]:
        before = self._record(notice_key(notice.notice_id, notice.version - 1))
        return () if before is None else compare(stated(self._entry(before)), stated(self._entry(notice)))

    def _count(self, older: Notice, newer: int, now: datetime) -> tuple[int, bool]:
        """Count people by the releases that rest on the older version; each person once."""
        wanted = (frozenset({terms.by_notice(older.notice_id, older.version)}),)
        notices: dict[str, Notice | None] = {}
        seen: set[str] = set()
        size = self._store.fetch_head().size
        affected = looked_at = 0
        position = older.index
        while position < size:
            found, position = self._reader.select(
                wanted, position, size, min(RELEASES_AT_ONCE, self._most + 1 - looked_at)
            )
            for each in found:
                looked_at += 1
                if looked_at > self._most:
                    return affected, True
                reference = each.said()["people"][0]["subject_ref"]
                if reference not in seen:
                    seen.add(reference)
                    affected += self._is_affected(reference, older, newer, now, notices)
        return affected, False

    def _is_affected(
        self, reference: str, older: Notice, newer: int, now: datetime, notices: dict[str, Notice | None]
    ) -> bool:
        body = self._store.fetch_record("subject", reference)
        if body is None:
            return False
        subject = from_body(Subject, body)
        live: set[int] = set()
        for release in subject.releases:
            if release.notice_id != older.notice_id or not (
                release.notice_version == older.version or release.notice_version >= newer
            ):
                continue
            key = notice_key(release.notice_id, release.notice_version)
            if key not in notices:
                notices[key] = self._record(key)
            if standing(release, subject, notices[key], now) is Standing.LIVE:
                live.add(release.notice_version)
        return live == {older.version}

    def _notice(self, notice_id: str, version: int, field: str) -> Notice:
        found = self._record(notice_key(notice_id, version))
        if found is None:
            raise ConsentryError(
                Reason.NOT_FOUND, f"there is no version {version} of the notice {notice_id}: list them", field=field
            )
        return found

    def _record(self, key: str) -> Notice | None:
        body = self._store.fetch_record("notice", key)
        return None if body is None else from_body(Notice, body)

    def _entry(self, notice: Notice) -> Mapping[str, Any]:
        data = self._store.fetch_entry(notice.index)
        if data is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {notice.index} is gone: stop and restore from a backup")
        entry: dict[str, Any] = orjson.loads(data)
        return entry
