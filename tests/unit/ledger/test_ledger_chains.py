"""Persons' chains in packed arrays find what a plain dictionary finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.ledger.chains import MAX_GAPS, Chains, Links

SECRET = bytes(range(32))
Link = tuple[str, int, int]  # person, number, previous entry


@dataclass
class Written:
    """Entries as lists of links, and what a dictionary says of them."""

    entries: list[list[Link]] = field(default_factory=list)

    def chains(self, *cuts: int) -> Chains:
        chains = Chains()
        bounds = sorted({0, len(self.entries), *(cut % (len(self.entries) + 1) for cut in cuts)})
        for first, last in pairwise(bounds):
            links = Links.empty()
            flat = [(index, *link) for index in range(first, last) for link in self.entries[index]]
            columns = zip(*flat, strict=True) if flat else ((), (), (), ())
            links.extend(SECRET, [len(self.entries[index]) for index in range(first, last)], *columns)
            chains.add(links)
        chains.finish()
        return chains

    def plain(self) -> bool:
        known: dict[str, tuple[int, int]] = {}
        for index, links in enumerate(self.entries):
            for person, seq, previous in links:
                before, last = known.get(person, (0, -1))
                if (seq, previous) != (before + 1, last):
                    return False
                known[person] = (seq, index)
        return True


@st.composite
def true_ledger(draw: st.DrawFn) -> Written:
    written, known = Written(), dict[str, tuple[int, int]]()
    for index in range(draw(st.integers(1, 30))):
        links = []
        for person in draw(st.lists(st.sampled_from("abcde"), unique=True, max_size=3)):
            seq, last = known.get(person, (0, -1))
            links.append((person, seq + 1, last))
            known[person] = (seq + 1, index)
        written.entries.append(links)
    return written


@settings(max_examples=300)
@given(st.data())
def test_they_agree_with_a_dictionary_however_the_entries_are_cut(data: st.DataObject) -> None:
    written = data.draw(true_ledger())
    places = [(index, at) for index, links in enumerate(written.entries) for at in range(len(links))]
    for _ in range(data.draw(st.integers(0, 2)) if places else 0):
        index, at = data.draw(st.sampled_from(places))
        if at >= len(written.entries[index]):
            continue
        match data.draw(st.sampled_from(["drop", "person", "seq", "previous", "begin"])):
            case "drop":
                del written.entries[index][at]
            case "person":
                others = {person for person, _, _ in written.entries[index]}
                fresh = data.draw(st.sampled_from(sorted(set("abcdefg") - others)))
                written.entries[index][at] = (fresh, *written.entries[index][at][1:])
            case "seq":
                person, seq, previous = written.entries[index][at]
                if previous >= 0:
                    written.entries[index][at] = (person, max(2, seq + data.draw(st.sampled_from([-1, 1]))), previous)
            case "previous":
                person, seq, previous = written.entries[index][at]
                if previous >= 0:
                    written.entries[index][at] = (person, seq, data.draw(st.integers(0, index - 1)))
            case "begin":
                written.entries[index][at] = (written.entries[index][at][0], 1, -1)
    chains = written.chains(*data.draw(st.lists(st.integers(0, 40), max_size=4)))
    assert (chains.gaps_total == 0) is written.plain()
    if written.plain():
        assert chains.people == len({person for links in written.entries for person, _, _ in links})


def test_a_fork_names_the_entry_that_came_first() -> None:
    chains = Written([[("a", 1, -1)], [("a", 2, 0)], [("a", 2, 0)]]).chains()
    assert [tuple(gap) for gap in chains.gaps] == [(2, 0, 1, False)]


def test_a_second_beginning_names_the_first() -> None:
    chains = Written([[("a", 1, -1)], [("b", 1, -1)], [("a", 1, -1)], [("a", 1, -1)]]).chains(2)
    assert [tuple(gap) for gap in chains.gaps] == [(2, 0, 0, True), (3, 0, 0, True)]


def test_who_follows_an_entry_that_cannot_be_read_is_not_blamed() -> None:
    assert Written([[("a", 1, -1)], [("", 0, 0)], [("a", 3, 1)], [("a", 4, 2)]]).chains().gaps == []


def test_an_entry_about_nobody_is_followed_by_nobody() -> None:
    chains = Written([[("a", 1, -1)], [], [("a", 2, 1)]]).chains()
    assert [tuple(gap) for gap in chains.gaps] == [(2, 1, 0, False)]


def test_gaps_are_kept_up_to_a_limit_and_counted_beyond() -> None:
    chains = Written([[("a", 1, -1)], *([("a", 2, 0)] for _ in range(300))]).chains()
    assert (len(chains.gaps), chains.gaps_total) == (MAX_GAPS, 299)


def test_an_entry_without_persons_is_nobodys_predecessor() -> None:
    """It lies just before the true one, whose token comes next."""
    a = "a"
    sound = Written([[(a, 1, -1)], [], [(a, 2, 0)], [(a, 3, 2)]])
    assert sound.chains().gaps_total == 0
    wrong = Written([[(a, 1, -1)], [], [(a, 2, 0)], [(a, 3, 1)]])
    for cuts in ((), (1,), (2,), (3,)):
        (gap,) = wrong.chains(*cuts).gaps
        assert (gap.place, gap.previous) == (3, 1)
