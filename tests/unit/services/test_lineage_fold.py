"""The taint over random graphs, orders and late news, against an oracle that looks at the whole story at once.

The fold goes entry by entry and spreads a taint forwards. The oracle waits for the end: it notes what each entry rested
on, finds every entry whose consent was invalid, and asks of each artifact whether anything above it is among them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from hypothesis import event, given, settings
from hypothesis import strategies as st

from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record import fold
from consentry_server.core.record.artifacts import Artifact

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
ARTIFACTS = ("a", "b", "c", "d", "e", "f")
PEOPLE = ("sub_ana", "sub_bo")
RELEASE: dict[str, Any] = {
    "signed_at": format_time(START),
    "delivery_id": "dlv",
    "notice_id": "n",
    "notice_version": 1,
    "form": "ELECTRONIC_SIGNATURE",
    "process": "CLICK_TO_SIGN",
    "authority_basis": "NONE",
    "purposes": [],
    "categories": [],
    "recipients": [],
    "scopes": [],
    "explicit": True,
    "condition_of_employment": False,
    "vouching": "CALLER_ASSERTED",
    "signed_document_sha256": "",
}
EVENTS = st.one_of(
    st.tuples(
        st.just("made"),
        st.sampled_from(ARTIFACTS),
        st.sets(st.sampled_from(ARTIFACTS), max_size=2),
        st.sets(st.sampled_from(PEOPLE), max_size=2),
        st.sampled_from([False] * 9 + [True]),
    ),
    st.tuples(st.just("release"), st.sampled_from(PEOPLE), st.sampled_from(["SELF", "REPRESENTATIVE"])),
    st.tuples(st.just("withdraw"), st.sampled_from(PEOPLE), st.sampled_from([None, 0, 1, 2, 5, 30])),
    st.tuples(st.just("claim"), st.sampled_from(PEOPLE), st.sampled_from(["MINOR", "ADULT"])),
)


class Kept:
    """Records in a dictionary."""

    def __init__(self) -> None:
        self.records: dict[tuple[type[Any], str], Any] = {}

    def get(self, kind: type[T], key: str) -> T | None:
        return self.records.get((kind, key))

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        self.records[(kind, key)] = record


class Made(NamedTuple):
    """One entry that recorded sources: on which release of each person it rested."""

    name: str
    place: int
    parents: frozenset[str]
    rested: dict[str, int]
    invalid: bool


@dataclass
class Story:
    """Entries as they are written, and beside them what a reader of the whole story needs."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    live: dict[str, list[int]] = field(default_factory=lambda: {person: [] for person in PEOPLE})
    own: set[int] = field(default_factory=set)
    withdrawals: list[tuple[int, int, int]] = field(default_factory=list)
    """For each release that was withdrawn: its index, the claimed index, the entry's index."""
    minors: dict[str, int] = field(default_factory=dict)

    def write(self, entry_type: str, people: list[str], **body: Any) -> int:
        index = len(self.entries)
        links = [{"subject_ref": each, "subject_seq": 1, "previous_index": -1} for each in people]
        self.entries.append(
            {"type": entry_type, "index": index, "time": when(index), "people": links, "actor": "processor/x", **body}
        )
        return index

    def take(self, happened: tuple[Any, ...]) -> None:
        index = len(self.entries)
        match happened:
            case ("made", str(name), parents, people, bool(invalid)):
                rested = {person: self.live[person][-1] for person in sorted(people) if self.live[person]}
                faces = [{"person": place, "basis": [rested[each]]} for place, each in enumerate(rested)]
                above = frozenset(parents) - {name}
                body = {"artifact_id": name, "kind": "MODEL", "faces": faces, "parents": sorted(above)}
                self.write("artifact.recorded", list(rested), **body, **({"taint": ["BASIS_GONE"]} if invalid else {}))
                self.made.append(Made(name, index, above, rested, invalid))
            case ("release", str(person), str(signer)):
                self.write(
                    "release.recorded",
                    [person],
                    release={**RELEASE, "release_id": f"rel_{index}", "signer_role": signer},
                )
                self.live[person].append(index)
                if signer == "SELF":
                    self.own.add(index)
            case ("withdraw", str(person), back) if self.live[person]:
                claimed = {} if back is None else {"occurred_at": when(index - back)}
                gone, self.live[person] = self.live[person], []
                self.write(
                    "release.withdrawn", [person], releases=[f"rel_{each}" for each in gone], all=True, **claimed
                )
                self.withdrawals += [(each, index if back is None else index - back, index) for each in gone]
            case ("claim", str(person), str(age)):
                self.write("interaction.recorded", [person], claims={"age_band": age})
                if age == "MINOR":
                    self.minors.setdefault(person, index)

    def invalid(self, made: Made) -> bool:
        """Whether the consent behind one entry was invalid, by all that was ever learnt."""
        known_before = {each.name for each in self.made if each.place < made.place}
        withdrawn_before = any(
            release in made.rested.values() and claimed <= made.place < learnt
            for release, claimed, learnt in self.withdrawals
        )
        childs_own = any(
            release in self.own and made.place < self.minors.get(person, -1) for person, release in made.rested.items()
        )
        return made.invalid or bool(made.parents - known_before) or withdrawn_before or childs_own

    def descends_from_invalid(self, name: str, seen: frozenset[str] = frozenset()) -> bool:
        if name in seen:
            return False
        own = [made for made in self.made if made.name == name]
        above = {parent for made in own for parent in made.parents}
        return any(map(self.invalid, own)) or any(self.descends_from_invalid(parent, seen | {name}) for parent in above)


def when(index: int) -> str:
    return format_time(START + timedelta(hours=index))


def tainted(story: Story) -> dict[str, bool]:
    records = Kept()
    for entry in story.entries:
        fold.apply(records, entry)
    return {key: held.tainted for (kind, key), held in records.records.items() if kind is Artifact}


@settings(max_examples=1500)
@given(st.lists(EVENTS, min_size=3, max_size=25))
def test_whatever_descends_from_invalid_consent_is_tainted(happened: list[tuple[Any, ...]]) -> None:
    story = Story()
    for each in happened:
        story.take(each)
    found = tainted(story)
    assert found.keys() == {made.name for made in story.made}
    for name, is_tainted in found.items():
        expected = story.descends_from_invalid(name)
        event(f"tainted: {is_tainted}")
        assert is_tainted or not expected, name


@settings(max_examples=500)
@given(st.lists(EVENTS.filter(lambda each: each[0] != "withdraw" or each[2] is None), min_size=3, max_size=25))
def test_a_withdrawal_after_the_making_taints_nothing(happened: list[tuple[Any, ...]]) -> None:
    story = Story()
    for each in happened:
        story.take(each)
    found = tainted(story)
    assert found == {name: story.descends_from_invalid(name) for name in found}


@settings(max_examples=300)
@given(st.lists(EVENTS, min_size=3, max_size=25), st.data())
def test_a_taint_never_goes_away(happened: list[tuple[Any, ...]], data: st.DataObject) -> None:
    story = Story()
    cut = data.draw(st.integers(0, len(happened)))
    for each in happened[:cut]:
        story.take(each)
    before = {name for name, is_tainted in tainted(story).items() if is_tainted}
    for each in happened[cut:]:
        story.take(each)
    assert before <= {name for name, is_tainted in tainted(story).items() if is_tainted}


def test_a_long_line_of_descendants_is_tainted_by_one_late_withdrawal() -> None:
    story = Story()
    story.take(("release", "sub_ana", "SELF"))
    story.take(("made", "a", set(), {"sub_ana"}, False))
    for parent, child in itertools.pairwise(ARTIFACTS):
        story.take(("made", child, {parent}, set(), False))
    assert not any(tainted(story).values())
    story.take(("withdraw", "sub_ana", len(story.entries) - 1))
    assert all(tainted(story).values())
