"""Public statements of the tenant: recorded with their exact words, and narrowing from their entry on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.house import Statement
from consentry_server.services.context import Answer, Caller, RequestKey, new_id, once

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.vocabulary import DataCategory, Operation, Purpose, Visibility
    from consentry_server.services.book import Book, Recorded
    from consentry_server.services.sealing import Sealing
    from consentry_server.services.sequencer import Sequencer

MAX_STATEMENTS: Final = 1_000
"""Of one tenant: they are held in memory and looked at by every decision."""


@dataclass(frozen=True, slots=True)
class StatementDraft:
    """A public statement as an officer reports it.

    Args:
        text: Its exact words.
        speaker: Who said it; sealed.
        stated_at: When, as the caller claims.
        uri: Where it can be read, or empty.
    """

    text: str
    speaker: str
    stated_at: datetime
    operations: frozenset[Operation]
    purposes: frozenset[Purpose] = frozenset()
    only_visibilities: frozenset[Visibility] = frozenset()
    excluded_categories: frozenset[DataCategory] = frozenset()
    uri: str = ""
    key: RequestKey | None = None


class Statements:
    """Records the public statements of one tenant.

    Args:
        sequencer: The tenant's ledger.
        sealing: Where the speaker's name goes.
    """

    def __init__(self, *, sequencer: Sequencer, sealing: Sealing) -> None:
        self._sequencer = sequencer
        self._sealing = sealing

    async def record(self, caller: Caller, draft: StatementDraft) -> tuple[Statement, Answer]:
        """Record a statement. The text is public and kept as a document; who said it is sealed.

        Args:
            caller: The officer.
            draft: The statement.

        Returns:
            The statement and its entry.

        Raises:
            ConsentryError: ``FIELD_REQUIRED``: it narrows nothing; ``STATE_CONFLICT``: there are too many.
        """
        if not draft.operations:
            raise ConsentryError(
                Reason.FIELD_REQUIRED,
                "statement.operations is required: the operations it speaks of, at least one",
                field="statement.operations",
            )
        if not (draft.only_visibilities or draft.excluded_categories):
            raise ConsentryError(
                Reason.FIELD_REQUIRED,
                "statement.only_visibilities or statement.excluded_categories is required: a statement that excludes"
                " nothing narrows nothing; to forbid an operation altogether exclude every category",
                field="statement.excluded_categories",
            )
        text = draft.text.encode()
        digest = hashlib.sha256(text).hexdigest()
        sealed = await self._sealing.seal({"speaker": draft.speaker})

        def command(book: Book) -> tuple[Statement, Answer]:
            def act() -> Recorded:
                if len(book.tenant.statements) >= MAX_STATEMENTS:
                    raise ConsentryError(
                        Reason.STATE_CONFLICT,
                        f"{MAX_STATEMENTS} statements are on record: put what else has to be denied into a pack of your"
                        " own (ActivatePack)",
                        field="statement",
                    )
                made = Statement(
                    statement_id=new_id("sta", book.random),
                    index=-1,
                    time=book.now,
                    stated_at=draft.stated_at,
                    operations=draft.operations,
                    text_sha256=digest,
                    purposes=draft.purposes,
                    only_visibilities=draft.only_visibilities,
                    excluded_categories=draft.excluded_categories,
                )
                stated = to_plain(made)
                del stated["index"], stated["time"]
                body: dict[str, Any] = {"statement": stated}
                if draft.uri:
                    body["uri"] = draft.uri
                if sealed is not None:
                    body["sealed"] = sealed.put(book)
                book.documents[digest] = text
                return book.append("statement.recorded", caller.actor, body)

            answer = once(book, draft.key, act)
            wanted = answer.entry["statement"]["statement_id"]
            return next(each for each in book.tenant.statements if each.statement_id == wanted), answer

        return await self._sequencer.submit(command)
