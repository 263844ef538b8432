"""Finding entries by index against a full scan, whatever state the index is in."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.index import SqliteIndexStore
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.postings import BLOBS, Packed, Postings, pack
from consentry_server.core.vocabulary import Outcome
from consentry_server.services.index import FullStretch, LedgerIndex
from consentry_server.services.indexer import Indexer
from consentry_server.services.reading import Filter, Reader
from tests.support.clocks import LEDGER, Clock
from tests.support.ledgers import Made, decision, reference, write

STRETCH = 32
START = Clock().now
PEOPLE = [reference(number) for number in range(4)]
PHOTOS = ["pho_a", "pho_b"]
REFS = {"pho_a": "aa" * 16, "pho_b": "bb" * 16}
ACTORS = ["processor/face-tagger", "processor/night-job", "collector/product", "system"]
RULES = ["IL-15B3-RELEASE:RELEASE_MISSING", "IL-15B1-NOTICE:NOTICE_MISSING", "us-il-bipa"]


def entries() -> st.SearchStrategy[Made]:
    people = st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True).map(tuple)
    actor = st.sampled_from(ACTORS)
    after = st.sampled_from([0, 0, 0, 1, 60]).map(lambda seconds: timedelta(seconds=seconds))
    photo = st.sampled_from(["", *PHOTOS])
    decisions = st.builds(
        lambda who, people, outcome, rules, photo, named, permit, after: Made(
            "decision",
            who,
            decision(0, outcome=outcome, permit=permit)
            | {"rules": rules}
            | ({"photo_ref": REFS[photo]} if photo else {})
            | ({"photo_id": photo} if photo and named else {}),
            people,
            after,
        ),
        actor,
        people,
        st.sampled_from([str(outcome) for outcome in Outcome]),
        st.lists(st.sampled_from(RULES), max_size=3, unique=True),
        photo,
        st.booleans(),
        st.booleans(),
        after,
    )
    opened = st.builds(
        lambda who, people, photo, after: Made(
            "photo.opened", who, {"decision_id": "dec_0_abcdefghijklmnop", "photo_id": photo}, people, after
        ),
        actor,
        people,
        st.sampled_from(PHOTOS),
        after,
    )
    others = st.builds(
        lambda who, people, after: Made("consent.noted", who, {"remark": "decision permit"}, people, after),
        actor,
        people,
        after,
    )
    return st.one_of(decisions, opened, others)


TIMES = st.integers(-1, 300).map(lambda seconds: START + timedelta(seconds=seconds))
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "types": st.frozensets(st.sampled_from(["decision", "photo.opened", "consent.noted", "none.such"]), min_size=1),
    "subject_ref": st.sampled_from(PEOPLE),
    "photo_id": st.sampled_from(PHOTOS),
    "photo_ref": st.sampled_from(list(REFS.values())),
    "from_time": TIMES,
    "until_time": TIMES,
    "outcomes": st.frozensets(st.sampled_from(list(Outcome)), min_size=1),
    "rule_id": st.sampled_from(["IL-15B3-RELEASE", "us-il-bipa"]),
    "actor": st.sampled_from(["face-tagger", "system", "nobody"]),
}


def filters() -> st.SearchStrategy[Filter]:
    """One or two conditions: with more, nearly nothing meets them, and nothing is tested."""
    names = st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=2, unique=True)
    return names.flatmap(lambda some: st.builds(Filter, **{name: CONDITIONS[name] for name in some}))


FAULTS = st.sampled_from(["none", "none", "missing", "stale", "foreign", "damaged", "damaged", "cut", "no database"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(entries(), min_size=1, max_size=50)),
        st.tuples(st.just("absorb"), st.integers(1, 80)),
        st.tuples(st.just("seal")),
        st.tuples(st.just("restart"), FAULTS, st.integers(0, 2**20)),
        st.tuples(st.just("ask"), filters(), st.integers(0, 120), st.none() | st.integers(0, 120), st.integers(1, 9)),
    ),
    min_size=4,
    max_size=14,
)


def meets(entry: dict[str, Any], wanted: Filter) -> bool:
    """The oracle: shares nothing with the code it judges."""
    time = datetime.fromisoformat(entry["time"])
    named = {entry.get("photo_id")}
    checks = [
        not wanted.types or entry["type"] in wanted.types,
        not wanted.subject_ref or wanted.subject_ref in [each["subject_ref"] for each in entry.get("people", [])],
        wanted.from_time is None or time >= wanted.from_time,
        wanted.until_time is None or time < wanted.until_time,
        not wanted.outcomes or (entry["type"] == "decision" and entry["outcome"] in list(map(str, wanted.outcomes))),
        not wanted.rule_id or wanted.rule_id in [rule.split(":")[0] for rule in entry.get("rules", [])],
        not wanted.actor or entry["actor"].split("/")[-1] == wanted.actor,
        not (wanted.photo_id or wanted.photo_ref)
        or (wanted.photo_id and wanted.photo_id in named)
        or (wanted.photo_ref and entry.get("photo_ref") == wanted.photo_ref),
    ]
    return all(checks)


@dataclass
class World:
    """A ledger, its index, and what a scan of all its entries says."""

    folder: Path
    store: SqliteLedgerStore
    index: LedgerIndex
    held: int = 0

    def append(self, made: list[Made]) -> None:
        last = self.store.fetch_head().time
        self.store.close()
        self.store = SqliteLedgerStore(self.folder / "ledger.db")
        write(self.store, made, start=last)
        self.index._store = self.store

    def reopen(self) -> None:
        self.index = LedgerIndex(
            ledger=LEDGER, store=self.store, kept=SqliteIndexStore(self.folder / "index.db"), stretch=STRETCH
        )
        self.index.open()

    def seal_all(self) -> None:
        while self.index.absorb(1_000) or self.index.seal():
            pass

    def scan(self, wanted: Filter, first: int, until: int | None) -> list[int]:
        size = self.store.fetch_head().size
        last = size if until is None else min(size, until)
        return [
            index
            for index, data in enumerate(self.store.fetch_entries(0, size))
            if first <= index < last and meets(orjson.loads(data), wanted)
        ]

    def ask(self, wanted: Filter, first: int = 0, until: int | None = None, count: int = 5) -> list[int]:
        reader = Reader(self.store, self.index)
        found: list[int] = []
        position, more = first, True
        while more:
            page, following, more = reader.page(wanted, position, until, count)
            assert len(page) <= count
            assert following > position or not more
            found += [each.index for each in page]
            position = following
        return found


@contextmanager
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = SqliteLedgerStore(folder / "ledger.db")
        write(store, [Made("ledger.noted", "system", {})])
        made = World(folder, store, LedgerIndex(ledger=LEDGER, store=store, kept=SqliteIndexStore(folder / "index.db")))
        made.reopen()
        try:
            yield made
        finally:
            made.index.close()
            made.store.close()


@settings(max_examples=80)
@given(STEPS)
def test_the_index_answers_as_a_full_scan_does(steps: list[tuple[Any, ...]]) -> None:
    with world() as made:
        for step in steps:
            match step:
                case ("append", list(some)):
                    made.append(some)
                case ("absorb", int(most)):
                    made.index.absorb(most)
                case ("seal",):
                    made.index.seal()
                case ("restart", str(fault), int(seed)):
                    made.index.close()
                    spoil(made.folder, fault, seed)
                    made.reopen()
                case ("ask", Filter() as wanted, int(first), until, int(count)):
                    assert made.ask(wanted, first, until, count) == made.scan(wanted, first, until)
        made.seal_all()
        for wanted in (Filter(types=frozenset({"decision"})), Filter(actor="system"), Filter(subject_ref=PEOPLE[0])):
            assert made.ask(wanted) == made.scan(wanted, 0, None)


@pytest.mark.parametrize("state", ["behind", "half", "in memory", "packed", "reopened"])
def test_many_questions_about_one_ledger(state: str) -> None:
    source = random.Random(state)
    with world() as made:
        outcomes = [str(each) for each in Outcome]
        made.append(
            [
                Made(
                    "decision" if number % 3 else "consent.noted",
                    source.choice(ACTORS),
                    decision(number, outcome=source.choice(outcomes)) if number % 3 else {},
                    tuple(source.sample(PEOPLE, source.randrange(3))),
                    timedelta(seconds=source.choice([0, 0, 5])),
                )
                for number in range(1, 5 * STRETCH)
            ]
        )
        made.index.absorb({"behind": 0, "half": 70}.get(state, 10_000))
        if state in {"packed", "reopened"}:
            made.seal_all()
        if state == "reopened":
            made.index.close()
            made.reopen()
        size = made.store.fetch_head().size
        met = 0
        for _ in range(80):
            wanted = source.choice(
                [
                    Filter(actor="system"),
                    Filter(subject_ref=source.choice(PEOPLE)),
                    Filter(types=frozenset({"decision"}), subject_ref=source.choice(PEOPLE)),
                    Filter(outcomes=frozenset({Outcome.DENY, Outcome.ALLOW}), actor="face-tagger"),
                    Filter(types=frozenset({"consent.noted"}), from_time=START + timedelta(seconds=90)),
                ]
            )
            first, until = source.randrange(size), source.choice([None, source.randrange(size)])
            expected = made.scan(wanted, first, until)
            assert made.ask(wanted, first, until, source.choice([1, 3, 50])) == expected
            met += bool(expected)
        assert met > 30


def spoil(folder: Path, fault: str, seed: int) -> None:
    """Do to the index what disks, restores and people do."""
    path, kept = folder / "index.db", folder / "index.old"
    source = random.Random(seed)
    present = path.is_file() and path.stat().st_size > 0
    if fault == "missing":
        path.unlink(missing_ok=True)
    elif fault == "stale":
        if kept.exists():
            shutil.copy(kept, path)
        elif present:
            shutil.copy(path, kept)
    elif fault == "foreign":
        other = SqliteLedgerStore(folder / f"other{seed}.db")
        write(other, [Made("ledger.noted", "system", {}) for _ in range(3 * STRETCH)], seed=seed)
        path.unlink(missing_ok=True)
        index = LedgerIndex(ledger=LEDGER, store=other, kept=SqliteIndexStore(path), stretch=STRETCH)
        index.open()
        while index.absorb(100) or index.seal():
            pass
        index.close()
        other.close()
    elif fault == "damaged" and present:
        data = bytearray(path.read_bytes())
        for _ in range(source.choice([1, 1, 8, 500])):
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        path.write_bytes(data)
    elif fault == "cut" and present:
        path.write_bytes(path.read_bytes()[: source.randrange(path.stat().st_size)])
    elif fault == "no database":
        path.write_bytes(source.randbytes(9_000))


def filled(made: World, stretches: int) -> None:
    made.append(
        [
            Made("decision", ACTORS[number % 3], decision(number, outcome="DENY" if number % 7 == 0 else "ALLOW"))
            for number in range(1, stretches * STRETCH + 5)
        ]
    )
    made.seal_all()


def test_every_damaged_byte_of_the_index_is_noticed_or_harmless() -> None:
    with world() as made:
        filled(made, 6)
        made.index.close()
        good = (made.folder / "index.db").read_bytes()
        wanted = Filter(outcomes=frozenset({Outcome.DENY}))
        expected = made.scan(wanted, 0, None)
        source = random.Random(5)
        anew = 0
        for _ in range(400):
            bad = bytearray(good)
            bad[source.randrange(len(bad))] ^= 1 << source.randrange(8)
            (made.folder / "index.db").write_bytes(bad)
            made.reopen()
            assert made.ask(wanted) == expected
            anew += made.index._packed == 0
            made.index.close()
        assert anew > 10


@pytest.mark.parametrize("state", ["stale", "foreign", "damaged", "missing"])
def test_an_index_that_is_not_this_ledger_s_is_made_anew(state: str) -> None:
    with world() as made:
        filled(made, 4)
        made.index.close()
        if state == "stale":  # of a ledger that was restored from a backup and went another way
            good = (made.folder / "index.db").read_bytes()
            for path in made.folder.glob("ledger.db*"):
                path.unlink()
            made.store.close()
            made.store = SqliteLedgerStore(made.folder / "ledger.db")
            write(made.store, [Made("ledger.noted", "system", {}) for _ in range(5 * STRETCH)], seed=9)
            (made.folder / "index.db").write_bytes(good)
        else:
            spoil(made.folder, state, 3)
        made.reopen()
        made.seal_all()
        assert made.index._packed == made.store.fetch_head().size // STRETCH
        wanted = Filter(actor="system")
        assert made.ask(wanted) == made.scan(wanted, 0, None)
        made.index.close()
        made.reopen()
        assert made.index._packed == made.store.fetch_head().size // STRETCH


def test_what_was_packed_is_not_read_again_from_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as made:
        filled(made, 4)
        made.index.close()
        made.reopen()
        assert made.index.size == 4 * STRETCH
        read: list[int] = []
        fetch = made.store.fetch_entries

        def watched(first: int, count: int) -> list[bytes]:
            read.append(first)
            return fetch(first, count)

        monkeypatch.setattr(made.store, "fetch_entries", watched)
        reader = Reader(made.store, made.index)
        page, _, _ = reader.page(Filter(outcomes=frozenset({Outcome.DENY})), 0, None, 3)
        assert [each.index for each in page] == [7, 14, 21]
        assert min(read, default=4 * STRETCH) >= 4 * STRETCH


def test_while_the_index_is_far_behind_pages_are_short_and_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consentry_server.services.reading.SCANNED_AT_ONCE", 10)
    with world() as made:
        made.append(
            [Made("decision", "system", decision(0, outcome="DENY" if n == 90 else "ALLOW")) for n in range(99)]
        )
        reader = Reader(made.store, made.index)
        wanted = Filter(outcomes=frozenset({Outcome.DENY}))
        assert reader.page(wanted, 0, None, 5) == ([], 10, True)
        assert made.ask(wanted) == [91]
        assert made.index.size == 0 or made.index.size >= 90  # only the end was near enough to be taken in


def test_a_store_that_takes_nothing_bounds_what_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(SqliteIndexStore):
        def write(self, *_: Any) -> None:
            raise ConsentryError(Reason.STORAGE_FULL, "full")

    with world() as made:
        made.append([Made("decision", "system", decision(0)) for _ in range(20 * STRETCH)])
        made.index = LedgerIndex(ledger=LEDGER, store=made.store, kept=Full(made.folder / "full.db"), stretch=STRETCH)
        made.index.open()
        assert made.index.absorb(10_000) == 9 * STRETCH
        with pytest.raises(ConsentryError) as raised:
            made.index.seal()
        assert raised.value.reason is Reason.STORAGE_FULL
        wanted = Filter(types=frozenset({"decision"}))
        assert made.ask(wanted, count=1_000) == made.scan(wanted, 0, None)


def test_a_damaged_entry_stops_the_index_and_is_named() -> None:
    with world() as made:
        made.append([Made("decision", "system", decision(0)) for _ in range(5)])
        made.store._write.execute("update entry set bytes = x'7b' where idx = 3")
        with pytest.raises(ConsentryError) as raised:
            made.index.absorb(10)
        assert raised.value.reason is Reason.DATA_DAMAGED
        assert "entry 3" in raised.value.message


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 40).map(lambda number: f"word:{number}"), max_size=6), min_size=64, max_size=64)
)
def test_what_is_packed_reads_back(words: list[list[str]]) -> None:
    postings = Postings(128, 64)
    for offset, each in enumerate(words):
        postings.add(each, (offset // 2, offset % 3) if offset % 5 else None)
    blobs = [blob for blob in pack(postings, LEDGER) if blob is not None]
    assert len(blobs) == BLOBS
    packed = Packed(lambda blob: blobs[blob], LEDGER, 2, 64)
    for word in {word for each in words for word in each} | {"word:none"}:
        expected = sum(1 << offset for offset, each in enumerate(words) if word in each)
        assert packed.bits(word) == postings.bits(word) == expected
    assert list(packed.links()) == [(at // 2, at, at % 3) for at in range(64) if at % 5]
    for place in (
        Packed(lambda blob: blobs[blob], "another.test/ledger", 2, 64),
        Packed(lambda blob: blobs[blob], LEDGER, 3, 64),
        Packed(lambda blob: blobs[blob], LEDGER, 2, 32),
        Packed(lambda blob: blobs[blob - 1], LEDGER, 2, 64),
        Packed(lambda blob: None, LEDGER, 2, 64),
    ):
        with pytest.raises(ConsentryError):
            place.bits("word:1")


async def test_the_indexer_follows_a_ledger_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as made:
        loop, all_kept, keep = asyncio.get_running_loop(), asyncio.Event(), made.index.keep

        def kept(full: FullStretch, blobs: Sequence[bytes]) -> None:
            keep(full, blobs)
            if full.end == 3 * STRETCH:
                loop.call_soon_threadsafe(all_kept.set)

        monkeypatch.setattr(made.index, "keep", kept)
        indexer = Indexer(made.index)
        await indexer.start()
        try:
            writer = SqliteLedgerStore(made.folder / "ledger.db")
            write(writer, [Made("decision", "system", decision(0)) for _ in range(3 * STRETCH)])
            writer.close()
            wanted = Filter(types=frozenset({"decision"}))
            await all_kept.wait()
            assert len(Reader(made.store, made.index).page(wanted, 0, None, 1_000)[0]) == 3 * STRETCH
        finally:
            await indexer.aclose()
        made.reopen()
        assert made.ask(wanted, count=1_000) == made.scan(wanted, 0, None)


def test_filters_that_say_nothing_leave_everything() -> None:
    with world() as made:
        filled(made, 2)
        everything = list(range(made.store.fetch_head().size))
        assert made.ask(Filter()) == everything
        assert made.ask(replace(Filter(), from_time=START), count=1_000) == everything
