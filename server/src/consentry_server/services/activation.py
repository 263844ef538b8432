"""Activating law packs: from its entry on a pack decides, and its bytes are kept with it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.own import check, load_own
from consentry_server.services.context import Answer, Caller, RequestKey, earlier, once

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.law import Pack
    from consentry_server.core.record.facts import ActivePack
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.packs import Packs
    from consentry_server.services.sequencer import Sequencer


@dataclass(frozen=True, slots=True)
class PackDraft:
    """A pack to activate.

    Args:
        pack_id: Its id.
        version: Its version.
        sha256: SHA-256 of its bytes, hex.
        toml: The bytes of a tenant's own pack; empty for one that ships with the server.
    """

    pack_id: str
    version: int
    sha256: str
    toml: bytes = b""
    key: RequestKey | None = None


class Activation:
    """Activates packs for one tenant.

    Args:
        sequencer: The tenant's ledger.
        packs: Compiled packs; one that is activated is compiled already.
        bundled: The packs that ship with the server, with their bytes.
    """

    def __init__(self, *, sequencer: Sequencer, packs: Packs, bundled: Sequence[tuple[Pack, bytes]]) -> None:
        self._sequencer = sequencer
        self._packs = packs
        self._bundled = {pack.id: (pack, data) for pack, data in bundled}

    async def activate(self, caller: Caller, draft: PackDraft) -> tuple[Pack, ActivePack, Answer]:
        """Activate one version of a pack.

        1. The bytes are those that were meant.
        2. A tenant's own pack is read strictly, and refused where it could loosen (``core.law.own``).
        3. It decides from its entry on; until then, and where it is refused, the packs that run stay.

        Args:
            caller: Who activates it.
            draft: The pack.

        Returns:
            The pack, what is active now, and the entry.

        Raises:
            ConsentryError: ``NOT_FOUND``: it neither ships nor was sent; ``PACK_INVALID``; ``TOO_LARGE``;
                ``STATE_CONFLICT``: a newer version is active, or this one.
        """
        active, now, known = await self._sequencer.submit(
            lambda book: (book.tenant.packs, book.now, earlier(book, draft.key) is not None)
        )
        if draft.toml:  # (1), (2): a large pack takes a while, and checks must not wait for it
            pack = await asyncio.to_thread(self._own, draft, active, now, known)
            data = draft.toml
        else:
            pack, data = self._shipped(draft)

        def command(book: Book) -> tuple[ActivePack, Answer]:
            def act() -> Recorded:
                if book.tenant.packs is not active and book.tenant.packs != active:
                    raise ConsentryError(
                        Reason.STATE_CONFLICT, "another pack was activated meanwhile: try again", field="pack_id"
                    )
                _refuse_older(pack, active)
                book.documents[pack.sha256] = data
                stated: dict[str, Any] = {"pack_id": pack.id, "version": pack.version, "sha256": pack.sha256}
                if pack.own:
                    stated["own"] = True
                return book.append("pack.activated", caller.actor, {"pack": stated})

            answer = once(book, draft.key, act)
            found = next((each for each in book.tenant.packs if each.index == answer.recorded.index), None)
            if found is None:
                raise ConsentryError(
                    Reason.STATE_CONFLICT,
                    "this request activated a pack that another version has replaced since",
                    field="pack_id",
                )
            return found, answer

        self._packs.hold(pack)  # (3) before the entry: a check in the very same batch finds it
        made, answer = await self._sequencer.submit(command)
        return pack, made, answer

    def _own(self, draft: PackDraft, active: Sequence[ActivePack], now: datetime, known: bool) -> Pack:  # noqa: FBT001 - private
        if hashlib.sha256(draft.toml).hexdigest() != draft.sha256:
            raise _invalid("sha256", "the bytes that came have another SHA-256")
        name = f"{draft.pack_id} {draft.version}"
        pack = load_own(draft.toml, name=name)
        if (pack.id, pack.version) != (draft.pack_id, draft.version):
            raise _invalid("pack_id", f"the file is of {pack.id} {pack.version}")
        if not known:  # a repeated request is answered by its entry
            bundled = [each for each, _data in self._bundled.values()]
            check(pack, name=name, bundled=bundled, active=self._packs.compiled(tuple(active)), now=now)
        return pack

    def _shipped(self, draft: PackDraft) -> tuple[Pack, bytes]:
        found = self._bundled.get(draft.pack_id)
        if found is None or found[0].version != draft.version:
            carried = "" if found is None else f"; it carries version {found[0].version}"
            raise ConsentryError(
                Reason.NOT_FOUND,
                f"this server carries no pack {draft.pack_id} {draft.version}{carried}: send your own as toml",
                field="pack_id",
            )
        if found[0].sha256 != draft.sha256:
            raise _invalid("sha256", "the pack that ships with this server has other bytes")
        return found


def _refuse_older(pack: Pack, active: Sequence[ActivePack]) -> None:
    for held in active:
        if (held.pack_id, held.own) == (pack.id, pack.own) and held.version >= pack.version:
            state = (
                "active already" if held.version == pack.version else f"older than the active version {held.version}"
            )
            raise ConsentryError(
                Reason.STATE_CONFLICT,
                f"{pack.id} {pack.version} is {state} (entry {held.index}): a pack's version never goes back",
                field="version",
            )


def _invalid(field: str, what: str) -> ConsentryError:
    return ConsentryError(Reason.PACK_INVALID, f"{field}: {what}", field=field)
