"""What changed between two versions of a notice, and which changes ask people again (statutes.md 10.3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry.v1 import notice_pb2
from consentry_server.core.record.facts import Term
from consentry_server.core.record.notice_changes import Change, ChangeKind, Recipient, StatedNotice, compare
from consentry_server.core.vocabulary import DataCategory, Purpose, TermEnd
from tests.unit.law.worlds import NOW, days, make_notice

YEAR = Term(duration=days(365))
VENDOR = Recipient("PROCESSOR", frozenset({"TAGGING"}), days(30))


def version(number: int = 1, recipients: dict[str, Recipient] | None = None, **changes: Any) -> StatedNotice:
    said = {name: changes.pop(name) for name in ("uri", "withdrawal_uri", "states_paper_option") if name in changes}
    held = {"vendor": VENDOR} if recipients is None else recipients
    notice = make_notice(**{"version": number, "recipients": frozenset(held), "term": YEAR, **changes})
    return StatedNotice(notice, held, **said)


def found(**changes: Any) -> list[tuple[str, str, bool]]:
    return [(str(each.kind), each.value, each.material) for each in compare(version(), version(2, **changes))]


def test_the_same_words_again_are_no_change() -> None:
    assert compare(version(), version(2)) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"categories": frozenset({DataCategory.FACE_GEOMETRY, DataCategory.VOICEPRINT})},
            [("CATEGORY_ADDED", "VOICEPRINT", True), ("CATEGORY_REMOVED", "FACE_TEMPLATE", False)],
        ),
        (
            {"purposes": frozenset({Purpose.ADVERTISING})},
            [("PURPOSE_ADDED", "ADVERTISING", True), ("PURPOSE_REMOVED", "TAGGING", False)],
        ),
        (
            {"recipients": {"broker": Recipient("THIRD_PARTY")}},
            [("RECIPIENT_ADDED", "broker", True), ("RECIPIENT_REMOVED", "vendor", False)],
        ),
        ({"recipients": {"vendor": replace(VENDOR, kind="THIRD_PARTY")}}, [("RECIPIENT_ADDED", "vendor", True)]),
        (
            {"recipients": {"vendor": replace(VENDOR, purposes=frozenset({"ADVERTISING"}))}},
            [("RECIPIENT_ADDED", "vendor", True), ("RECIPIENT_REMOVED", "vendor", False)],
        ),
        ({"recipients": {"vendor": replace(VENDOR, holding=days(31))}}, [("TERM_LENGTHENED", "vendor", True)]),
        ({"recipients": {"vendor": replace(VENDOR, holding=None)}}, [("TERM_LENGTHENED", "vendor", True)]),
        ({"recipients": {"vendor": replace(VENDOR, holding=days(29))}}, [("TERM_SHORTENED", "vendor", False)]),
        ({"recipients": {}}, [("RECIPIENT_REMOVED", "vendor", False)]),
        ({"term": Term(duration=days(366))}, [("TERM_LENGTHENED", "term", True)]),
        ({"term": Term(duration=days(364))}, [("TERM_SHORTENED", "term", False)]),
        ({"term": None}, [("TERM_LENGTHENED", "term", True)]),
        ({"term": Term(end=TermEnd.EMPLOYMENT_ENDED)}, [("TERM_LENGTHENED", "term", True)]),
        ({"text_sha256": "cd" * 32}, [("TEXT_CHANGED", "text", False)]),
        ({"language": "de"}, [("ELEMENT_CHANGED", "language", False)]),
        ({"effective_time": NOW}, [("ELEMENT_CHANGED", "effective_time", False)]),
        ({"says_collected_or_stored": False}, [("ELEMENT_CHANGED", "says_collected_or_stored", False)]),
        ({"withdrawal_uri": "https://acme.test/w"}, [("ELEMENT_CHANGED", "withdrawal_uri", False)]),
        ({"uri": "https://acme.test/n"}, [("ELEMENT_CHANGED", "uri", False)]),
        ({"states_paper_option": True}, [("ELEMENT_CHANGED", "states_paper_option", False)]),
    ],
)
def test_each_change_is_found_and_weighed(changes: Any, expected: list[tuple[str, str, bool]]) -> None:
    assert found(**changes) == expected


@pytest.mark.parametrize(
    ("before", "after", "material"),
    [
        (None, YEAR, False),
        (Term(end=TermEnd.EMPLOYMENT_ENDED), YEAR, True),
        (Term(end=TermEnd.EMPLOYMENT_ENDED), Term(end=TermEnd.PURPOSE_SATISFIED), True),
        (Term(end=TermEnd.EMPLOYMENT_ENDED), None, True),
    ],
)
def test_terms_that_cannot_be_compared_count_as_longer(before: Term | None, after: Term | None, material: bool) -> None:
    (change,) = compare(version(term=before), version(2, term=after))
    assert change.material is material


def test_what_a_change_says_can_be_read_aloud() -> None:
    older = version(recipients={"vendor": VENDOR})
    newer = version(
        2,
        recipients={"vendor": replace(VENDOR, kind="AFFILIATE", holding=None), "broker": Recipient("THIRD_PARTY")},
        categories=frozenset({DataCategory.VOICEPRINT}),
        term=Term(end=TermEnd.EMPLOYMENT_ENDED),
    )
    said = [each.text for each in compare(older, newer) if each.material]
    assert said == [
        "The data category voiceprint is new: nobody was told of it before.",
        "The recipient broker (third party) is new.",
        "The recipient vendor was a processor, and is an affiliate now.",
        "How long the recipient vendor may hold the data is no longer said; it was 30 days.",
        (
            "The length of term was 365 days, and is until employment ended now."
            " The two cannot be compared: it may be longer."
        ),
    ]


def test_every_material_change_cites_a_provision_and_no_other_does() -> None:
    for kind in ChangeKind:
        change = Change(kind, "x", "y")
        assert bool(change.citation) is change.material
    assert {str(kind) for kind in ChangeKind if Change(kind, "", "").material} == {
        "CATEGORY_ADDED",
        "PURPOSE_ADDED",
        "RECIPIENT_ADDED",
        "TERM_LENGTHENED",
    }


def test_the_kinds_are_the_contracts() -> None:
    names = {name.removeprefix("NOTICE_CHANGE_KIND_") for name in notice_pb2.NoticeChangeKind.keys()}  # noqa: SIM118
    assert {str(kind) for kind in ChangeKind} == names - {"UNSPECIFIED"}


RECIPIENT = {
    "kind": st.sampled_from(["PROCESSOR", "THIRD_PARTY"]),
    "purposes": st.frozensets(st.sampled_from(["TAGGING", "ADVERTISING"]), min_size=1),
    "holding": st.one_of(st.none(), st.integers(1, 90).map(lambda n: timedelta(days=n))),
}
PARTS: dict[str, st.SearchStrategy[Any]] = {
    "purposes": st.frozensets(st.sampled_from([Purpose.TAGGING, Purpose.ADVERTISING, Purpose.RESEARCH])),
    "categories": st.frozensets(st.sampled_from([DataCategory.FACE_TEMPLATE, DataCategory.VOICEPRINT])),
    "term": st.one_of(st.none(), st.integers(1, 900).map(lambda n: Term(duration=timedelta(days=n)))),
    "recipients": st.dictionaries(st.sampled_from(["vendor", "broker"]), st.builds(Recipient, **RECIPIENT)),
}


@st.composite
def versions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two versions state: the newer one differs in a few places only."""
    before = draw(st.fixed_dictionaries(PARTS))
    after = {**before, **draw(st.fixed_dictionaries({}, optional=PARTS))} if draw(st.booleans()) else dict(before)
    if before["recipients"] and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(before["recipients"])))
        part = draw(st.sampled_from(sorted(RECIPIENT)))
        changed = replace(before["recipients"][name], **{part: draw(RECIPIENT[part])})
        after["recipients"] = {**before["recipients"], name: changed}
    return before, after


@settings(max_examples=500)
@given(both=versions())
def test_nothing_that_people_were_not_told_of_passes_as_immaterial(both: tuple[Any, Any]) -> None:
    """The model: everything the newer version allows has to lie inside what the older one said."""
    before, after = both
    older, newer = version(**before), version(2, **after)
    inside = (
        newer.notice.purposes <= older.notice.purposes
        and newer.notice.categories <= older.notice.categories
        and (older.notice.term is None or _within(newer.notice.term, older.notice.term))
        and all(
            name in older.recipients
            and said.kind == older.recipients[name].kind
            and said.purposes <= older.recipients[name].purposes
            and _held_within(said.holding, older.recipients[name].holding)
            for name, said in newer.recipients.items()
        )
    )
    assert any(change.material for change in compare(older, newer)) is not inside


def _held_within(holding: timedelta | None, limit: timedelta | None) -> bool:
    return limit is None or (holding is not None and holding <= limit)


def _within(term: Term | None, limit: Term) -> bool:
    return (
        term is not None
        and term.duration is not None
        and limit.duration is not None
        and term.duration <= limit.duration
    )
