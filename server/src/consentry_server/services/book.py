"""The ledger as one command sees it when the writer runs it.

That is everything committed, everything decided before it in the same batch, and what it has itself recorded so far.
A command that raises leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import NO_PREVIOUS, NONCE_BYTES, encode, format_nonce, parse_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.record import fold
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.facts import Destruction, Identifier, Notice, Photo, Subject, Tenant
from consentry_server.core.record.house import Review

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from consentry_server.services.ports import KnownRequest

T = TypeVar("T", Tenant, Notice, Subject, Photo, Identifier, Destruction, Artifact, Review)


@dataclass(slots=True)
class Recorded:
    """Where an entry stands.

    Args:
        index: Its place in the ledger.
        leaf_hash: SHA-256(0x00 ‖ entry), 32 bytes.
        time: When it was recorded.
    """

    index: int
    leaf_hash: bytes
    time: datetime


class Beneath(Protocol):
    """What lies under a command: the batch so far, the caches, the store."""

    def record(self, kind: type[T], key: str) -> T | None:
        """The record before this command."""

    def chain(self, subject_ref: str) -> tuple[int, int] | None:
        """The person's chain before this command."""

    def reference(self, lookup: bytes) -> str | None:
        """The subject_ref before this command."""

    def request(self, key: bytes) -> KnownRequest | None:
        """A request id seen before this command."""

    def entry_bytes(self, index: int) -> bytes | None:
        """An entry's bytes before this command."""

    now: datetime
    """The time of everything that is recorded with this command."""
    time_text: str
    """The same as entries have it."""
    clock_text: str
    """What the clock said, where that was behind the ledger's last entry; else empty."""

    @property
    def size(self) -> int:
        """Entries before this command."""

    @property
    def tenant(self) -> Tenant:
        """The tenant with all notices."""


class Book:
    """One command's view and its additions.

    Args:
        beneath: What it stands on.
        ledger: The ledger's origin, named in every entry.
        random: Source of nonces and ids; takes a number of bytes.
        request_window: How long a request id is remembered.
    """

    __slots__ = (
        "_beneath",
        "_ledger",
        "_random",
        "_size",
        "_tenant",
        "chains",
        "documents",
        "entries",
        "now",
        "records",
        "references",
        "request_window",
        "requests",
        "sealed",
    )

    def __init__(
        self,
        beneath: Beneath,
        *,
        ledger: str,
        random: Callable[[int], bytes],
        request_window: timedelta,
    ) -> None:
        self._beneath = beneath
        self._ledger = ledger
        self._size = beneath.size
        self._random = random
        self._tenant: Tenant | None = None
        self.now = beneath.now
        self.request_window = request_window
        self.entries: list[tuple[bytes, bytes]] = []
        self.records: dict[tuple[type[Any], str], Any] = {}
        self.chains: dict[str, tuple[int, int]] = {}
        self.references: dict[bytes, str] = {}
        self.requests: dict[bytes, KnownRequest] = {}
        self.sealed: dict[str, bytes] = {}
        self.documents: dict[str, bytes] = {}

    @property
    def next_index(self) -> int:
        """The index that the next entry will get."""
        return self._size + len(self.entries)

    @property
    def tenant(self) -> Tenant:
        """What is known of the tenant, with every notice."""
        return self._tenant or self._beneath.tenant

    def get(self, kind: type[T], key: str) -> T | None:
        """A record by its key, or None."""
        if (kind, key) in self.records:
            return cast("T | None", self.records[(kind, key)])
        return self._beneath.record(kind, key)

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        """Replace a record; for the fold alone."""
        self.records[(kind, key)] = record
        if isinstance(record, Tenant):
            self._tenant = replace(record, notices=self.tenant.notices)
        elif isinstance(record, Notice):
            notices = {**self.tenant.notices, (record.notice_id, record.version): record}
            self._tenant = replace(self.tenant, notices=notices)

    def subject(self, subject_ref: str) -> Subject:
        """What is known of a person: at least that they exist."""
        return self.get(Subject, subject_ref) or Subject(subject_ref=subject_ref)

    def chain(self, subject_ref: str) -> tuple[int, int] | None:
        """The person's number of entries and the index of the last one."""
        return self.chains.get(subject_ref) or self._beneath.chain(subject_ref)

    def reference(self, lookup: bytes) -> str | None:
        """The subject_ref behind a blind index, or None where nobody has named that person yet."""
        return self.references.get(lookup) or self._beneath.reference(lookup)

    def ensure_reference(self, lookup: bytes, proposed: str) -> str:
        """The subject_ref behind a blind index; the proposed one where there was none."""
        known = self.reference(lookup)
        if known is not None:
            return known
        self.references[lookup] = proposed
        return proposed

    def request(self, key: bytes) -> KnownRequest | None:
        """A request id seen earlier."""
        return self.requests.get(key) or self._beneath.request(key)

    def entry_bytes(self, index: int) -> bytes | None:
        """An entry's exact bytes, this command's own included, or None beyond the end."""
        if index >= self._size:
            own = index - self._size
            return self.entries[own][0] if own < len(self.entries) else None
        return self._beneath.entry_bytes(index)

    def entry(self, index: int) -> dict[str, Any] | None:
        """A decoded entry, or None beyond the end."""
        data = self.entry_bytes(index)
        return None if data is None else orjson.loads(data)

    def recorded(self, index: int) -> tuple[Recorded, dict[str, Any]]:
        """Where an entry that is known to exist stands, and what it says.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: it is not there.
        """
        data = self.entry_bytes(index)
        if data is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
        entry: dict[str, Any] = orjson.loads(data)
        return Recorded(index, hash_leaf(data), parse_time(entry["time"])), entry

    def random(self, count: int) -> bytes:
        """Random bytes for an id."""
        return self._random(count)

    def append(self, entry_type: str, actor: str, body: Mapping[str, Any], people: Sequence[str] = ()) -> Recorded:
        """Record an entry and fold it.

        Args:
            entry_type: Its type.
            actor: Role and name of who caused it, from the certificate; ``system`` for the service itself.
            body: Its own fields, as JSON values.
            people: subject_refs of the persons in it, each once, in the order the fold expects.

        Returns:
            Where it stands; durable only when the command's caller gets its reply.

        Raises:
            ConsentryError: ``FIELD_INVALID`` or ``TOO_LARGE``: the entry would break the ledger's profile.
        """
        index = self.next_index
        fields: dict[str, Any] = {
            **body,
            "type": entry_type,
            "version": 1,
            "ledger": self._ledger,
            "index": index,
            "time": self._beneath.time_text,
            "actor": actor,
            "nonce": format_nonce(self._random(NONCE_BYTES)),
        }
        if self._beneath.clock_text:
            fields["clock"] = self._beneath.clock_text
        if people:
            fields["people"] = [self._link(subject_ref, index) for subject_ref in people]
        try:
            data = encode(fields)
        except ConsentryError as error:
            if error.reason is Reason.TOO_LARGE:
                raise ConsentryError(
                    Reason.TOO_LARGE, "this names more faces or people than one entry can hold: split it", field="faces"
                ) from error
            raise
        leaf = hash_leaf(data)
        self.entries.append((data, leaf))
        fold.apply(self, fields)
        return Recorded(index, leaf, self.now)

    def _link(self, subject_ref: str, index: int) -> dict[str, Any]:
        """Extend a person's chain by this entry."""
        length, last = self.chain(subject_ref) or (0, NO_PREVIOUS)
        self.chains[subject_ref] = (length + 1, index)
        return {"subject_ref": subject_ref, "subject_seq": length + 1, "previous_index": last}
