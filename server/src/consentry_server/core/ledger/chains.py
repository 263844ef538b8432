"""Persons' chains over a whole ledger, in bounded memory: does each entry follow the one that it says it follows?

Each link is reduced to a *token*, 64 bits made from the person and the link's number under a secret of this one run,
so that nobody can make two persons collide on purpose. A chain is whole when every link that is not a person's first
finds the token of its predecessor in the entry it names, not yet followed by another, and no person begins twice.
Four bytes an entry, eight a link and sixteen a person are kept: 200 MB for ten million entries about four million
people, where a dictionary of references would take two gigabytes.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from hashlib import blake2s, sha256
from itertools import accumulate, compress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_GAPS: Final = 200
"""Gaps that are kept to be named; all are counted."""

_BITS: Final = 64
_MASK: Final = 2**_BITS - 1
_UNREADABLE: Final = 0
"""Token of an entry that could not be read: what it said is unknown, and whoever follows it is not blamed."""
_PART_BITS: Final = 6  # 64 parts: the search for persons who begin twice takes one at a time


class Gap(NamedTuple):
    """A link that does not fit.

    Args:
        place: Index of the entry that it stands in.
        previous: The entry that it names; for a second beginning the entry of the first one.
        taken: Another entry that follows that one already, or 0.
        begins: Whether it is a second beginning.
    """

    place: int
    previous: int
    taken: int
    begins: bool


@dataclass(frozen=True, slots=True)
class Links:
    """The links of consecutive entries, packed; what goes from one process to another.

    Args:
        people: Tokens of each entry: as many as it names persons.
        tokens: The tokens in order.
        wants: For each link that is not a first, the token that its predecessor must have.
        previous: For each of those, the index of the entry that must have it.
        places: For each of those, the index of its own entry.
        starts: For each first link, the person as 64 bits.
        start_places: For each of those, the index of its entry.
    """

    people: array[int]
    tokens: array[int]
    wants: array[int]
    previous: array[int]
    places: array[int]
    starts: array[int]
    start_places: array[int]

    @classmethod
    def empty(cls) -> Links:
        """No links yet."""
        return cls(array("H"), array("Q"), array("Q"), array("q"), array("q"), array("Q"), array("q"))

    def extend(  # a column each
        self,
        secret: bytes,
        people: Sequence[int],
        places: Sequence[int],
        references: Sequence[str],
        seqs: Sequence[int],
        previous: Sequence[int],
    ) -> None:
        """Add entries; the columns are those of ``columns.Columns``.

        Args:
            secret: 16 random bytes or more, the same for a whole run.
            people: How many persons each entry names.
            places: Of each link, the index of its entry.
            references: Of each link, the person; empty for an entry that could not be read.
            seqs: Of each link, its number.
            previous: Of each link, the index of the person's previous entry.
        """
        step = int.from_bytes(sha256(secret).digest()[:8], "little") | 1
        texts = "\n".join(references).encode().split(b"\n") if references else []
        persons = array("Q")
        persons.frombytes(b"".join([blake2s(secret + text, digest_size=8).digest() for text in texts]))
        tokens = [(person + seq * step) & _MASK for person, seq in zip(persons, seqs, strict=True)]
        if not all(references):
            tokens = [token if text else _UNREADABLE for token, text in zip(tokens, texts, strict=True)]
        self.people.extend(people)
        self.tokens.extend(tokens)
        follows = [bool(text) and before >= 0 for text, before in zip(texts, previous, strict=True)]
        self.wants.extend([(token - step) & _MASK for token in compress(tokens, follows)])
        self.previous.extend(compress(previous, follows))
        self.places.extend(compress(places, follows))
        if not all(follows):
            begins = [before < 0 for before in previous]
            self.starts.extend(compress(persons, begins))
            self.start_places.extend(compress(places, begins))


class Chains:
    """Every person's chain, put together in order of entries."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self.gaps_total = 0
        self._first = array("I")
        self._tokens = array("Q")
        self._starts = [(array("Q"), array("q")) for _ in range(1 << _PART_BITS)]

    @property
    def people(self) -> int:
        """How many persons there are."""
        return sum(len(starts) for starts, _ in self._starts)

    def add(self, links: Links) -> None:
        """Add the links of the entries that come next.

        Args:
            links: Of every entry from where the last ones ended.
        """
        first, tokens = self._first, self._tokens
        first.extend(accumulate(links.people[:-1], initial=len(tokens)) if links.people else ())
        tokens.extend(links.tokens)
        for want, before, place in zip(links.wants, links.previous, links.places, strict=True):
            at = first[before]
            if tokens[at] == want and at < first[before + 1]:  # an entry without persons has no token of its own
                tokens[at] = place  # taken
            else:
                self._look_further(want, before, place)
        parts, shift = self._starts, _BITS - _PART_BITS
        for person, place in zip(links.starts, links.start_places, strict=True):
            people, places = parts[person >> shift]
            people.append(person)
            places.append(place)

    def finish(self) -> None:
        """Look for persons who begin twice."""
        for people, places in self._starts:
            if len(set(people)) == len(people):
                continue
            seen: dict[int, int] = {}
            for person, place in zip(people, places, strict=True):
                if seen.setdefault(person, place) != place:
                    self._note(Gap(place, seen[person], 0, begins=True))

    def _look_further(self, want: int, before: int, place: int) -> None:
        """Look at all persons of the entry before; a photo shows several."""
        stored = range(self._first[before], self._first[before + 1])
        for at in stored:
            if self._tokens[at] == want:
                self._tokens[at] = place
                return
        if any(self._tokens[at] == _UNREADABLE for at in stored):
            return
        taken = next(self._followers(stored, before), 0)
        self._note(Gap(place, before, taken, begins=False))

    def _followers(self, stored: range, before: int) -> Iterator[int]:
        size = len(self._first)
        return (self._tokens[at] for at in stored if before < self._tokens[at] < size)

    def _note(self, gap: Gap) -> None:
        self.gaps_total += 1
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(gap)
