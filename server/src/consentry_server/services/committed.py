"""What is committed, read without a writer: for reports on a state folder, beside a server or without one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from consentry_server.core.record.codec import from_body
from consentry_server.core.record.facts import Notice, Photo, Subject, Tenant
from consentry_server.core.record.fold import TENANT_KEY

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.services.ports import LedgerStore

T = TypeVar("T")

READ_AT_ONCE = 1_000
_KINDS: dict[type[Any], str] = {Photo: "photo", Subject: "subject"}


class Committed:
    """The committed facts of one ledger, at one moment.

    Args:
        store: For reading.
        now: The time that counts, UTC.
    """

    def __init__(self, store: LedgerStore, now: datetime) -> None:
        self._store = store
        self.now = now
        self.tenant = self._tenant()

    def get(self, kind: type[T], key: str) -> T | None:
        """A record by its key, or None."""
        body = self._store.fetch_record(_KINDS[kind], key)
        return None if body is None else from_body(kind, body)

    def subject(self, subject_ref: str) -> Subject:
        """What is known of a person: at least that they exist."""
        return self.get(Subject, subject_ref) or Subject(subject_ref=subject_ref)

    def _tenant(self) -> Tenant:
        body = self._store.fetch_record("tenant", TENANT_KEY)
        tenant = from_body(Tenant, body) if body else Tenant()
        notices: dict[tuple[str, int], Notice] = {}
        after = ""
        while read := self._store.fetch_records("notice", after, READ_AT_ONCE):
            found = [from_body(Notice, each) for _key, each in read]
            notices |= {(notice.notice_id, notice.version): notice for notice in found}
            after = read[-1][0]
        return replace(tenant, notices=notices)
