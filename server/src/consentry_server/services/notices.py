"""Notices and the public retention policy: versioned, with exact text and its hash."""

from __future__ import annotations

import asyncio
import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.record.codec import from_body, from_plain, to_plain
from consentry_server.core.record.facts import Notice, RetentionPolicy, Tenant, Term
from consentry_server.core.record.fold import TENANT_KEY
from consentry_server.services.book import Recorded
from consentry_server.services.context import Answer, Caller, RequestKey, once, optional_slug, require_slug

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from consentry_server.core.vocabulary import DataCategory, Purpose
    from consentry_server.services.book import Book
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.sequencer import Sequencer

MAX_TEXT_BYTES = 64 * 1024
MAX_URI = 2048
READ_AT_ONCE = 1_000
MAX_LANGUAGE = 35  # RFC 5646, section 4.4.1


@dataclass(frozen=True, slots=True)
class NoticeDraft:
    """A notice as its publisher states it.

    Args:
        version: 0 for the next one.
        text: The exact text that people are shown, at most 64 KiB of UTF-8.
        recipients: recipient_id → what else the notice says of that recipient, as JSON values.
        effective_time: None for at once.
    """

    notice_id: str
    text: str
    language: str
    purposes: frozenset[Purpose]
    categories: frozenset[DataCategory]
    says_collected_or_stored: bool
    version: int = 0
    effective_time: datetime | None = None
    term: Term | None = None
    recipients: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    uri: str = ""
    withdrawal_uri: str = ""
    states_paper_option: bool = False
    key: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class PolicyDraft:
    """A retention policy as its publisher states it, 740 ILCS 14/15(a)."""

    policy_id: str
    text: str
    public_uri: str
    destruction_guidelines: str
    schedule: Sequence[Mapping[str, Any]]
    sweep_latency_seconds: int = 0
    version: int = 0
    effective_time: datetime | None = None
    key: RequestKey | None = None


class Notices:
    """Publishes and reads notices and policies for one tenant.

    Args:
        sequencer: The tenant's ledger.
        store: For reading.
    """

    def __init__(self, *, sequencer: Sequencer, store: LedgerStore) -> None:
        self._sequencer = sequencer
        self._store = store

    async def publish(self, caller: Caller, draft: NoticeDraft) -> tuple[Notice, Answer]:
        """Publish a version of a notice.

        Args:
            caller: Who publishes.
            draft: The notice.

        Returns:
            The notice on record and its entry.

        Raises:
            ConsentryError: A field is missing or wrong, or ``ALREADY_EXISTS``: the version is taken.
        """
        _check_notice(draft)
        text = draft.text.encode()
        digest = hashlib.sha256(text).hexdigest()

        def command(book: Book) -> tuple[Notice, Answer]:
            def act() -> Recorded:
                published = [version for notice_id, version in book.tenant.notices if notice_id == draft.notice_id]
                notice = Notice(
                    notice_id=draft.notice_id,
                    version=_next_version(draft.version, published, "notice.version"),
                    index=-1,
                    effective_time=draft.effective_time or book.now,
                    language=draft.language,
                    says_collected_or_stored=draft.says_collected_or_stored,
                    purposes=draft.purposes,
                    categories=draft.categories,
                    term=draft.term,
                    recipients=frozenset(draft.recipients),
                    text_sha256=digest,
                )
                book.documents[digest] = text
                stated = to_plain(notice)
                del stated["index"]
                body: dict[str, Any] = {"notice": stated}
                body |= {name: value for name, value in _details(draft).items() if value}
                return book.append("notice.published", caller.actor, body)

            answer = once(book, draft.key, act)
            return from_plain(Notice, {**answer.entry["notice"], "index": answer.recorded.index}), answer

        return await self._sequencer.submit(command)

    async def publish_policy(self, caller: Caller, draft: PolicyDraft) -> tuple[RetentionPolicy, Answer]:
        """Publish a version of the public written policy.

        Args:
            caller: Who publishes.
            draft: The policy.

        Returns:
            The policy on record and its entry.

        Raises:
            ConsentryError: A field is missing or wrong, or ``ALREADY_EXISTS``.
        """
        require_slug(draft.policy_id, "policy.policy_id")
        _require_text(draft.text, "policy.text")
        _require_uri(draft.public_uri, "policy.public_uri")
        text = draft.text.encode()
        guidelines = draft.destruction_guidelines.encode()
        digest = hashlib.sha256(text).hexdigest()

        def command(book: Book) -> tuple[RetentionPolicy, Answer]:
            def act() -> Recorded:
                published = [each.version for each in book.tenant.policies if each.policy_id == draft.policy_id]
                policy = RetentionPolicy(
                    policy_id=draft.policy_id,
                    version=_next_version(draft.version, published, "policy.version"),
                    index=-1,
                    effective_time=draft.effective_time or book.now,
                    url=draft.public_uri,
                    text_sha256=digest,
                    has_schedule=bool(draft.schedule),
                    has_destruction_guidelines=bool(guidelines.strip()),
                )
                book.documents[digest] = text
                stated = to_plain(policy)
                del stated["index"]
                body: dict[str, Any] = {"policy": stated, "schedule": [dict(rule) for rule in draft.schedule]}
                if guidelines:
                    body["guidelines_sha256"] = hashlib.sha256(guidelines).hexdigest()
                    book.documents[body["guidelines_sha256"]] = guidelines
                if draft.sweep_latency_seconds:
                    body["sweep_latency_seconds"] = draft.sweep_latency_seconds
                return book.append("policy.published", caller.actor, body)

            answer = once(book, draft.key, act)
            return from_plain(RetentionPolicy, {**answer.entry["policy"], "index": answer.recorded.index}), answer

        return await self._sequencer.submit(command)

    async def published(self, notice_id: str = "") -> list[Notice]:
        """Published versions, by notice_id and version.

        Args:
            notice_id: Only versions of this one; empty for all.
        """
        optional_slug(notice_id, "notice_id")
        return await asyncio.to_thread(self._published, notice_id)

    async def texts(self, notices: Sequence[Notice]) -> list[tuple[Recorded, dict[str, Any], str]]:
        """Where each notice's entry stands, what it says, and the exact text."""
        return await asyncio.to_thread(lambda: [self._text(notice) for notice in notices])

    def _published(self, notice_id: str) -> list[Notice]:
        found: list[Notice] = []
        after = f"{notice_id}@" if notice_id else ""
        while True:
            read = self._store.fetch_records("notice", after, READ_AT_ONCE)
            notices = [from_body(Notice, body) for _key, body in read]
            found += [notice for notice in notices if notice_id in ("", notice.notice_id)]
            if len(read) < READ_AT_ONCE or (notice_id and notices[-1].notice_id != notice_id):
                return sorted(found, key=lambda notice: (notice.notice_id, notice.version))
            after = read[-1][0]

    def _text(self, notice: Notice) -> tuple[Recorded, dict[str, Any], str]:
        data = self._store.fetch_entry(notice.index)
        text = self._store.fetch_document(notice.text_sha256)
        if data is None or text is None:
            raise ConsentryError(
                Reason.DATA_DAMAGED, f"a published text is gone (entry {notice.index}): restore from a backup"
            )
        entry: dict[str, Any] = orjson.loads(data)
        return Recorded(notice.index, hash_leaf(data), parse_time(entry["time"])), entry, text.decode()

    async def policies(self) -> tuple[RetentionPolicy, ...]:
        """Every published version of every policy."""
        body = await asyncio.to_thread(self._store.fetch_record, "tenant", TENANT_KEY)
        return from_body(Tenant, body).policies if body else ()


def _details(draft: NoticeDraft) -> dict[str, Any]:
    """What else a notice says, beside what decisions rest on."""
    return {
        "recipient_details": [
            {"recipient_id": name, **more} for name, more in sorted(draft.recipients.items()) if more
        ],
        "uri": draft.uri,
        "withdrawal_uri": draft.withdrawal_uri,
        "states_paper_option": draft.states_paper_option,
    }


def _check_notice(draft: NoticeDraft) -> None:
    require_slug(draft.notice_id, "notice.notice_id")
    _require_text(draft.text, "notice.text")
    if not draft.language or len(draft.language) > MAX_LANGUAGE:
        raise ConsentryError(
            Reason.FIELD_REQUIRED, "notice.language is required: a BCP 47 tag such as en-US", field="notice.language"
        )
    for recipient_id in draft.recipients:
        require_slug(recipient_id, "notice.recipients.recipient_id")
    for name, value in (("uri", draft.uri), ("withdrawal_uri", draft.withdrawal_uri)):
        if value:
            _require_uri(value, f"notice.{name}")


def _require_text(text: str, name: str) -> None:
    if not text.strip():
        raise ConsentryError(Reason.FIELD_REQUIRED, f"{name} is required: the exact text that is shown", field=name)
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise ConsentryError(Reason.TOO_LARGE, f"{name} has more than {MAX_TEXT_BYTES} bytes", field=name)


def _require_uri(uri: str, name: str) -> None:
    if not uri.startswith(("https://", "http://")) or len(uri) > MAX_URI or not unicodedata.is_normalized("NFC", uri):
        raise ConsentryError(Reason.FIELD_INVALID, f"{name} must be an http or https address", field=name)


def _next_version(asked: int, published: Sequence[int], name: str) -> int:
    following = max(published, default=0) + 1
    if asked in published:
        raise ConsentryError(
            Reason.ALREADY_EXISTS, f"version {asked} is published and never changes: publish {following}", field=name
        )
    if asked not in (0, following):
        raise ConsentryError(Reason.FIELD_INVALID, f"the next version is {following}", field=name)
    return following
