"""What changed between two versions of a notice, and whether people have to be asked again.

A change is material where a person who consented to the older version was not told of it: a new category, purpose or
recipient, a recipient of another class, a longer term or one that is no longer stated (statutes.md 10.3,
``reconsent_required``). What was dropped or shortened is not, and neither is a change of words, an address or a date:
what a text means beside what the notice states of itself, its publisher answers for.

Where two terms cannot be compared, such as a duration and an event, the newer one counts as longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.record.codec import from_plain
from consentry_server.core.record.facts import Notice, Term
from consentry_server.core.record.phrases import article, moment, span, word, words
from consentry_server.core.vocabulary import Words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class ChangeKind(Words):
    """What kind of difference lies between two versions; the words of ``NoticeChangeKind`` in ``notice.proto``."""

    CATEGORY_ADDED = "CATEGORY_ADDED"
    CATEGORY_REMOVED = "CATEGORY_REMOVED"
    PURPOSE_ADDED = "PURPOSE_ADDED"
    PURPOSE_REMOVED = "PURPOSE_REMOVED"
    RECIPIENT_ADDED = "RECIPIENT_ADDED"
    RECIPIENT_REMOVED = "RECIPIENT_REMOVED"
    TERM_LENGTHENED = "TERM_LENGTHENED"
    TERM_SHORTENED = "TERM_SHORTENED"
    TEXT_CHANGED = "TEXT_CHANGED"
    ELEMENT_CHANGED = "ELEMENT_CHANGED"


MATERIAL: Final[Mapping[ChangeKind, str]] = {
    ChangeKind.CATEGORY_ADDED: "RCW 19.373.020(1)(c); 4 CCR 904-3",
    ChangeKind.PURPOSE_ADDED: "740 ILCS 14/15(b)(2); RCW 19.373.020(1)(d); RCW 19.375.020(5); 4 CCR 904-3",
    ChangeKind.RECIPIENT_ADDED: "740 ILCS 14/15(d)(1); RCW 19.375.020(5)",
    ChangeKind.TERM_LENGTHENED: "740 ILCS 14/15(b)(2); RCW 19.375.020(5)",
}
"""The kinds that demand new consent, and the provisions that say so. Grades: docs/law.md."""


class Change(NamedTuple):
    """One difference.

    Args:
        kind: What kind.
        value: The word of a purpose or category, a recipient_id, or the field's name.
        text: One plain sentence.
    """

    kind: ChangeKind
    value: str
    text: str

    @property
    def citation(self) -> str:
        """The provisions that make it material; empty where it is not."""
        return MATERIAL.get(self.kind, "")

    @property
    def material(self) -> bool:
        """Whether it demands new consent."""
        return self.kind in MATERIAL


@dataclass(frozen=True, slots=True)
class Recipient:
    """What a notice says of one recipient.

    Args:
        kind: ``PROCESSOR`` and so on; empty where it is not said.
        purposes: What it gets the data for.
        holding: For how long it may hold it; None where that is not said.
    """

    kind: str = ""
    purposes: frozenset[str] = frozenset()
    holding: timedelta | None = None


@dataclass(frozen=True, slots=True)
class StatedNotice:
    """Everything that one version states of itself.

    Args:
        notice: What decisions rest on.
        recipients: recipient_id → what is said of it.
        uri: Where the text is public.
        withdrawal_uri: Where a person withdraws.
        states_paper_option: Whether the text states the paper option.
    """

    notice: Notice
    recipients: Mapping[str, Recipient]
    uri: str = ""
    withdrawal_uri: str = ""
    states_paper_option: bool = False


def stated(entry: Mapping[str, Any]) -> StatedNotice:
    """Read what a ``notice.published`` entry states.

    Args:
        entry: The decoded entry.
    """
    notice = from_plain(Notice, {**entry["notice"], "index": entry["index"]})
    details = {each["recipient_id"]: each for each in entry.get("recipient_details", ())}
    return StatedNotice(
        notice=notice,
        recipients={each: _recipient(details.get(each, {})) for each in sorted(notice.recipients)},
        uri=entry.get("uri", ""),
        withdrawal_uri=entry.get("withdrawal_uri", ""),
        states_paper_option=entry.get("states_paper_option", False),
    )


def compare(older: StatedNotice, newer: StatedNotice) -> tuple[Change, ...]:
    """Say how one version differs from an earlier one.

    Args:
        older: The version that people consented to.
        newer: The version that they are shown now.

    Returns:
        Each difference, what demands new consent first. None where only versions and entries differ.
    """
    found = [
        *_words(older, newer),
        *_recipients(older, newer),
        *_term(older.notice.term, newer.notice.term),
        *_elements(older, newer),
    ]
    return tuple(sorted(found, key=lambda change: not change.material))


def _recipient(said: Mapping[str, Any]) -> Recipient:
    holding = said.get("holding_seconds")
    return Recipient(
        kind=said.get("kind", ""),
        purposes=frozenset(said.get("purposes", ())),
        holding=None if holding is None else timedelta(seconds=holding),
    )


def _words(older: StatedNotice, newer: StatedNotice) -> Iterator[Change]:
    for before, after, added, removed, name in (
        (
            older.notice.categories,
            newer.notice.categories,
            ChangeKind.CATEGORY_ADDED,
            ChangeKind.CATEGORY_REMOVED,
            "data category",
        ),
        (
            older.notice.purposes,
            newer.notice.purposes,
            ChangeKind.PURPOSE_ADDED,
            ChangeKind.PURPOSE_REMOVED,
            "purpose",
        ),
    ):
        for each in sorted(after - before):
            yield Change(added, str(each), f"The {name} {word(each)} is new: nobody was told of it before.")
        for each in sorted(before - after):
            yield Change(removed, str(each), f"The {name} {word(each)} is no longer named.")


def _recipients(older: StatedNotice, newer: StatedNotice) -> Iterator[Change]:
    for name in sorted(newer.recipients.keys() - older.recipients.keys()):
        kind = newer.recipients[name].kind
        what = f" ({word(kind)})" if kind else ""
        yield Change(ChangeKind.RECIPIENT_ADDED, name, f"The recipient {name}{what} is new.")
    for name in sorted(older.recipients.keys() - newer.recipients.keys()):
        yield Change(ChangeKind.RECIPIENT_REMOVED, name, f"The recipient {name} is no longer named.")
    for name in sorted(newer.recipients.keys() & older.recipients.keys()):
        yield from _recipient_changes(name, older.recipients[name], newer.recipients[name])


def _recipient_changes(name: str, before: Recipient, after: Recipient) -> Iterator[Change]:
    if after.kind != before.kind:
        was, now = (article(kind) if kind else "of no stated class" for kind in (before.kind, after.kind))
        yield Change(ChangeKind.RECIPIENT_ADDED, name, f"The recipient {name} was {was}, and is {now} now.")
    if more := after.purposes - before.purposes:
        yield Change(
            ChangeKind.RECIPIENT_ADDED, name, f"The recipient {name} gets data for more: {words(sorted(more))}."
        )
    if fewer := before.purposes - after.purposes:
        yield Change(
            ChangeKind.RECIPIENT_REMOVED, name, f"The recipient {name} no longer gets data for {words(sorted(fewer))}."
        )
    if after.holding != before.holding:
        longer = after.holding is None or (before.holding is not None and after.holding > before.holding)
        kind = ChangeKind.TERM_LENGTHENED if longer else ChangeKind.TERM_SHORTENED
        now = "is no longer said" if after.holding is None else f"is {span(after.holding)} now"
        was = "not said" if before.holding is None else span(before.holding)
        yield Change(kind, name, f"How long the recipient {name} may hold the data {now}; it was {was}.")


def _term(before: Term | None, after: Term | None) -> Iterator[Change]:
    if before == after:
        return
    kind, why = ChangeKind.TERM_LENGTHENED, ""
    if before is None:
        kind = ChangeKind.TERM_SHORTENED
    elif after is not None and before.duration is not None and after.duration is not None:
        kind = ChangeKind.TERM_LENGTHENED if after.duration > before.duration else ChangeKind.TERM_SHORTENED
    elif after is not None:
        why = " The two cannot be compared: it may be longer."
    yield Change(kind, "term", f"The length of term was {_length(before)}, and is {_length(after)} now.{why}")


def _elements(older: StatedNotice, newer: StatedNotice) -> Iterator[Change]:
    before, after = older.notice, newer.notice
    if before.text_sha256 != after.text_sha256:
        yield Change(ChangeKind.TEXT_CHANGED, "text", "The words of the text changed.")
    for name, was, now in (
        ("language", before.language, after.language),
        ("says_collected_or_stored", _said(before.says_collected_or_stored), _said(after.says_collected_or_stored)),
        ("states_paper_option", _said(older.states_paper_option), _said(newer.states_paper_option)),
        ("uri", older.uri or "none", newer.uri or "none"),
        ("withdrawal_uri", older.withdrawal_uri or "none", newer.withdrawal_uri or "none"),
        ("effective_time", moment(before.effective_time.isoformat(" ")), moment(after.effective_time.isoformat(" "))),
    ):
        if was != now:
            yield Change(ChangeKind.ELEMENT_CHANGED, name, f"{_ELEMENTS[name]} was {was}, and is {now} now.")


_ELEMENTS: Final = {
    "language": "The language",
    "says_collected_or_stored": "Whether the text says that data is collected or stored",
    "states_paper_option": "Whether the text states the paper option",
    "uri": "The address of the text",
    "withdrawal_uri": "The address for withdrawing",
    "effective_time": "The time from which it applies",
}


def _said(flag: bool) -> str:  # noqa: FBT001 - one of two words
    return "yes" if flag else "no"


def _length(term: Term | None) -> str:
    if term is None or (term.duration is None and term.end is None):
        return "not stated"
    return span(term.duration) if term.duration is not None else f"until {word(term.end or '')}"
