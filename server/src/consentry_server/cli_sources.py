"""Where ``consentry audit`` reads a ledger: a state folder, beside a server or without one; or a live server."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import apsw

from consentry_server import config, logs
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.index import SqliteIndexStore
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.cli_compared import Compared, Difference, version_of
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.record.decisions import spelled_out
from consentry_server.core.record.terms import DECISION
from consentry_server.core.record.words import Citation
from consentry_server.services.coverage import Coverage
from consentry_server.services.index import LedgerIndex
from consentry_server.services.notice_diff import NoticeDiffs
from consentry_server.services.reading import NO_FILTER, Filter, Reader, StoredEntry
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders, bundled_packs, tile_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from consentry_server.cli_compared import Version
    from consentry_server.core.law import Pack
    from consentry_server.core.record.notice_changes import StatedNotice
    from consentry_server.services.coverage import Question, Row

PAGE = 500
LOOK_SECONDS = 0.25
SEQUELS = 20
"""Most entries that are shown to have followed a decision."""
_SUBJECT_REF = re.compile(r"sub_[a-z2-7]{16,64}")
_PHOTO_ID = re.compile(r"pho_[a-z2-7]{8,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter as people type it.

    Args:
        filter: What needs no looking up.
        subject: A subject_ref, or the caller's own id of a person.
        photo: A photo_id, or the SHA-256 of a photo in hex.
    """

    filter: Filter = NO_FILTER
    subject: str = ""
    photo: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a source.

    Args:
        tenant: Whose ledger; needed where a state folder has several.
        ca: Authority of a server's certificate, PEM.
        certificate: Our own, PEM.
        key: Its key, PEM.
    """

    tenant: str = ""
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Source(Protocol):
    """A ledger to read."""

    ledger: str

    def size(self) -> int:
        """Entries that it has."""

    def entry(self, index: int) -> StoredEntry:
        """One entry.

        Raises:
            ConsentryError: ``NOT_FOUND``.
        """

    def entries(self, wanted: Wanted, first: int = 0, until: int | None = None) -> Iterator[StoredEntry | None]:
        """Entries that are wanted, in order; None now and then, while nothing is found."""

    def follow(self, after: int) -> Iterator[StoredEntry | None]:
        """Entries behind an index as they come, without end; None now and then."""

    def sequels(self, index: int) -> list[StoredEntry]:
        """Entries that followed a decision, where the source can tell."""

    def coverage(self, question: Question) -> tuple[Sequence[Row], bool]:
        """One page of coverage, and whether there is more."""

    def citations(self, entry: Mapping[str, Any]) -> Mapping[str, Citation]:
        """The rules that an entry may name."""

    def notice_diff(self, notice_id: str, older: int, newer: int) -> Compared:
        """Two versions of a notice, and what lies between them.

        Raises:
            ConsentryError: ``NOT_FOUND``.
        """

    def checkpoint(self) -> tuple[bytes, str]:
        """The last signed checkpoint, and the key that verifies it."""


class StateFolder:
    """Reads the files of a state folder and changes none of them; a server may be running on it.

    Args:
        state: The folder.
        tenant: Whose ledger; empty where there is one only.
    """

    def __init__(self, state: Path, tenant: str) -> None:
        logs.configure(level="error")
        settings = config.load(state)
        name = settings.tenancy.choose(tenant)
        self._folders = TenantFolders(state, name)
        self.ledger = f"{settings.tenancy.trust_domain}/{self._folders.data.name}"
        if not self._folders.ledger.is_file():
            raise ConsentryError(Reason.NOT_FOUND, f"{self._folders.ledger} is missing: is this the right folder?")
        self._store = TieredStore(SqliteLedgerStore(self._folders.ledger), tile_store(state, name, settings))
        kept = SqliteIndexStore(self._folders.index, writable=False)
        self._index = LedgerIndex(ledger=self.ledger, store=self._store, kept=kept)
        with _readable():
            self._index.open()
        self._reader = Reader(self._store, self._index)
        self._coverage = Coverage(
            reader=self._reader,
            index=self._index,
            clock=lambda: datetime.now(UTC),
            reporting=timedelta(seconds=settings.gate.reporting_seconds),
        )
        self._packs: dict[str, Pack] = {}
        self.reader, self.store, self.settings = self._reader, self._store, settings

    def close(self) -> None:
        """Release the files."""
        self._index.close()
        self._store.close()

    def size(self) -> int:
        """See the protocol."""
        with _readable():
            return self._store.fetch_head().size

    def entry(self, index: int) -> StoredEntry:
        """See the protocol."""
        if not 0 <= index < self.size():
            raise ConsentryError(Reason.NOT_FOUND, f"there is no entry {index}: the ledger has {self.size()}")
        with _readable():
            return self._reader.entry(index)[0]

    def entries(self, wanted: Wanted, first: int = 0, until: int | None = None) -> Iterator[StoredEntry | None]:
        """See the protocol."""
        filled = self._filter(wanted)
        more = True
        while more:
            with _readable():
                page, first, more = self._reader.page(filled, first, until, PAGE)
            yield from page
            yield None

    def follow(self, after: int) -> Iterator[StoredEntry | None]:
        """See the protocol."""
        pause = threading.Event()
        while True:
            for stored in self.entries(Wanted(), after + 1):
                if stored is not None:
                    after = stored.index
                yield stored
            pause.wait(LOOK_SECONDS)

    def sequels(self, index: int) -> list[StoredEntry]:
        """See the protocol."""
        found: list[StoredEntry] = []
        position, size = index, self.size()
        self._index.absorb(size)
        while position < size and len(found) < SEQUELS:
            sequels, reached = self._index.sequels(position, size)
            if reached == position:
                break
            found += [self.entry(at) for decision, at, _how in sequels if decision == index]
            position = reached
        return found[:SEQUELS]

    def coverage(self, question: Question) -> tuple[Sequence[Row], bool]:
        """See the protocol."""
        sweep = self._coverage.sweep(question)
        with _readable():
            for _ in sweep.steps:
                pass
            return sweep.page()

    def citations(self, entry: Mapping[str, Any]) -> Mapping[str, Citation]:
        """See the protocol."""
        found: dict[str, Citation] = {}
        for index in spelled_out(entry)["packs"] if entry["type"] == DECISION else ():
            sha256 = self._reader.entry(index)[1]["pack"]["sha256"]
            if sha256 not in self._packs:
                data = self._store.fetch_document(sha256)
                if data is None:
                    continue
                self._packs[sha256] = load_pack(data, name=sha256)
            found |= cited([self._packs[sha256]])
        return found

    def checkpoint(self) -> tuple[bytes, str]:
        """See the protocol."""
        note = FileLockRecord(self._folders.lock).read()
        if note is None or not self._folders.published_key.is_file():
            raise ConsentryError(Reason.NOT_FOUND, "no checkpoint was published yet: serve this folder first")
        return note, self._folders.published_key.read_text(encoding="ascii").strip()

    def notice_diff(self, notice_id: str, older: int, newer: int) -> Compared:
        """See the protocol."""
        diffs = NoticeDiffs(store=self._store, reader=self._reader)
        with _readable():
            found = diffs.compare(notice_id, older, newer, datetime.now(UTC))
            before, after = (self._version(each) for each in (found.older, found.newer))
        changes = tuple(Difference(str(each.kind), each.value, each.text, each.citation) for each in found.changes)
        return Compared(notice_id, before, after, changes, found.affected, found.stopped)

    def _version(self, stated: StatedNotice) -> Version:
        text = self._store.fetch_document(stated.notice.text_sha256)
        if text is None:
            raise ConsentryError(
                Reason.DATA_DAMAGED, f"a published text is gone (entry {stated.notice.index}): restore from a backup"
            )
        return version_of(stated, text.decode())

    def _filter(self, wanted: Wanted) -> Filter:
        if wanted.subject and not _SUBJECT_REF.fullmatch(wanted.subject):
            raise _needs_server("--subject", "a reference such as sub_k3j5h2w4...", "your own id of a person")
        if wanted.photo and not _PHOTO_ID.fullmatch(wanted.photo):
            raise _needs_server("--photo", "an id such as pho_k3j5h2w4...", "a SHA-256")
        return replace(wanted.filter, subject_ref=wanted.subject, photo_id=wanted.photo)


def cited(packs: Sequence[Pack]) -> dict[str, Citation]:
    """The rules of packs, and the packs themselves, by their ids."""
    found = {rule.id: Citation(rule.title, rule.citation) for pack in packs for rule in pack.rules}
    return found | {pack.id: Citation(pack.title) for pack in packs}


def bundled_citations() -> dict[str, Citation]:
    """Those of the packs that this version carries."""
    return cited([pack for pack, _data in bundled_packs()])


def is_sha256(text: str) -> bool:
    """Whether a photo is named by the hash of its bytes."""
    return _SHA256.fullmatch(text) is not None


def is_subject_ref(text: str) -> bool:
    """Whether a person is named by reference."""
    return _SUBJECT_REF.fullmatch(text) is not None


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"the ledger's database cannot be read ({type(error).__name__}): check its files"
        ) from error


def _needs_server(option: str, form: str, other: str) -> ConsentryError:
    return ConsentryError(
        Reason.FIELD_INVALID,
        f"{option} must be {form} here: {other} can be looked up by a live server only (SOURCE as HOST:PORT)",
        field=option,
    )
