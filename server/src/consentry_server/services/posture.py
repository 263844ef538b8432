"""Posture: what notices, policy, packs and settings lack, before anybody is refused; kept only where asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.posture import Known, Lack, current, derive, merged
from consentry_server.core.law.posture_settings import NoticeDetails, ScheduleLine, Standing, settings_lacks
from consentry_server.core.law.situation import policy_in_force
from consentry_server.core.vocabulary import AgeBand, Outcome, Relationship, SignerRole
from consentry_server.services.context import once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
    from datetime import datetime

    from consentry_server.core.law import Pack
    from consentry_server.core.record.facts import Tenant
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.context import Caller, RequestKey
    from consentry_server.services.packs import Packs
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.sequencer import Sequencer

MAX_SURVEYED: Final = 200_000
"""Most persons on record that are looked at for minors and representatives."""
MAX_KEPT: Final = 64
"""Most findings that an entry names; it counts the others."""
READ_AT_ONCE: Final = 1_000
_DONE: Final = object()

_MINOR: Final = tuple(f'"{word}"'.encode() for word in (AgeBand.UNDER_13, AgeBand.MINOR))
_REPRESENTATIVE: Final = f'"{SignerRole.REPRESENTATIVE}"'.encode()
_NOT_CONSUMER: Final = f'"{Relationship.EMPLOYEE}"'.encode()


@dataclass(frozen=True, slots=True)
class PostureSettings:
    """What settings say that posture looks at.

    Args:
        permit_seconds: Life of a permit.
        unknown_regions: Regions that count where a person's residence is unknown.
        processors: Recipients that take part in the processing; None: nobody has said.
        bundled: The packs that this build carries.
    """

    permit_seconds: int
    unknown_regions: frozenset[str]
    processors: frozenset[str] | None
    bundled: tuple[Pack, ...]


@dataclass(frozen=True, slots=True)
class Posture:
    """What is lacking.

    Args:
        lacks: Strictest first.
        regions: The regions that were looked at, sorted.
        time: When.
        recorded: The entry, where it was kept.
    """

    lacks: tuple[Lack, ...]
    regions: tuple[str, ...]
    time: datetime
    recorded: Recorded | None = None

    @property
    def denies(self) -> bool:
        """Whether something lacks for which people would be refused."""
        return any(lack.finding.outcome is Outcome.DENY for lack in self.lacks)


class Examination:
    """One look at a registry.

    Args:
        store: For reading entries and persons.
        tenant: What is known of the tenant, with its notices.
        packs: The active packs.
        settings: What settings say.
        anchored: What is wrong with the ledger's anchors, or empty.
        regions: The regions to look at; none: all that active packs name, and the configured ones.
        now: The time, UTC.
    """

    def __init__(
        self,
        store: LedgerStore,
        tenant: Tenant,
        packs: tuple[Pack, ...],
        settings: PostureSettings,
        anchored: str,
        regions: Collection[str],
        now: datetime,
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._packs = packs
        self._settings = settings
        self._anchored = anchored
        self._now = now
        named = {region for pack in packs if not pack.everywhere for region in pack.regions}
        self.regions = tuple(sorted(regions or named | settings.unknown_regions))
        self._found: list[Lack] = []
        self.steps = self._run()
        """Does the work, in steps of some tenths of a second."""

    def posture(self) -> Posture:
        """What was found; once the steps have run."""
        return Posture(tuple(merged(self._found)), self.regions, self._now)

    def _run(self) -> Iterator[None]:
        known = self._known()
        yield
        for lacks in derive(self._packs, self._tenant, self.regions, known, self._now):
            self._found += lacks
            yield
        self._found += settings_lacks(self._packs, self._tenant, self.regions, self._standing(), self._now)
        yield

    def _known(self) -> Known:
        """Look through the persons on record until everything that matters is known; their bytes are enough."""
        minors = consumers = representatives = False
        after, looked = "", 0
        while looked < MAX_SURVEYED and not representatives:
            read = self._store.fetch_records("subject", after, READ_AT_ONCE)
            for _key, body in read:
                minors = minors or any(word in body for word in _MINOR)
                consumers = consumers or _NOT_CONSUMER not in body
                representatives = representatives or _REPRESENTATIVE in body
            looked += len(read)
            if len(read) < READ_AT_ONCE:
                break
            after = read[-1][0]
        return Known(minors, consumers, representatives, self._settings.processors)

    def _standing(self) -> Standing:
        policy = policy_in_force(self._tenant, self._now)
        schedule = self._said(policy.index).get("schedule", ()) if policy is not None else ()
        details: dict[tuple[str, int], NoticeDetails] = {}
        for notice in current(self._tenant, self._now):
            said = self._said(notice.index)
            details[notice.notice_id, notice.version] = NoticeDetails(
                said.get("withdrawal_uri", ""), said.get("states_paper_option", False)
            )
        return Standing(
            permit_seconds=self._settings.permit_seconds,
            anchored=self._anchored,
            bundled=self._settings.bundled,
            schedule=[
                ScheduleLine(line["category"], line.get("clock", ""), line.get("maximum_seconds", 0))
                for line in schedule
            ],
            details=details,
        )

    def _said(self, index: int) -> dict[str, Any]:
        data = self._store.fetch_entry(index)
        if data is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
        entry: dict[str, Any] = orjson.loads(data)
        return entry


class Postures:
    """Looks at one tenant's registry, beside its service.

    Args:
        sequencer: The tenant's ledger.
        store: For reading.
        packs: Compiled law packs.
        settings: What settings say.
        anchored: Says what is wrong with the ledger's anchors; empty where nothing is.
    """

    def __init__(
        self,
        *,
        sequencer: Sequencer,
        store: LedgerStore,
        packs: Packs,
        settings: PostureSettings,
        anchored: Callable[[], Awaitable[str]],
    ) -> None:
        self._sequencer = sequencer
        self._store = store
        self._packs = packs
        self._settings = settings
        self._anchored = anchored

    async def check(
        self, caller: Caller, regions: Collection[str], *, persist: bool = False, key: RequestKey | None = None
    ) -> Posture:
        """Say what is lacking.

        Args:
            caller: Who asks.
            regions: The regions to look at; none: all that active packs name, and the configured ones.
            persist: Whether the result is kept in the ledger.
            key: The request's key; one that was used before records nothing again.

        Returns:
            What is lacking now.

        Raises:
            ConsentryError: ``DATA_DAMAGED``; where it is kept, as every mutation.
        """
        tenant, now = await self._sequencer.submit(lambda book: (book.tenant, book.now))
        anchored = await self._anchored()
        examination = Examination(
            self._store, tenant, self._packs.compiled(tenant.packs), self._settings, anchored, regions, now
        )
        while await asyncio.to_thread(next, examination.steps, _DONE) is not _DONE:
            pass
        posture = examination.posture()
        if not persist:
            return posture

        def command(book: Book) -> Recorded:
            body = entry_body(posture, [pack.index for pack in tenant.packs])
            return once(book, key, lambda: book.append("posture.checked", caller.actor, body)).recorded

        return Posture(posture.lacks, posture.regions, now, await self._sequencer.submit(command))


def entry_body(posture: Posture, packs: Sequence[int]) -> dict[str, Any]:
    """What the entry says of it.

    Args:
        posture: What was found.
        packs: Indices of the entries that activated the packs.
    """
    return {
        "regions": list(posture.regions),
        "packs": list(packs),
        "total": len(posture.lacks),
        "findings": [
            {
                "code": lack.finding.code,
                "rule": lack.finding.rule_id,
                "pack": lack.finding.pack_id,
                "outcome": str(lack.finding.outcome),
                "about": lack.about,
            }
            for lack in posture.lacks[:MAX_KEPT]
        ],
    }
