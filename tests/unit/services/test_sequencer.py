"""Decide at commit: order, durability before the reply, and nothing left of what fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from consentry_server.adapters.sqlite.connection import transaction
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.merkle import Frontier, hash_leaf
from consentry_server.core.record.facts import Subject
from consentry_server.services.book import Book, Recorded
from consentry_server.services.ports import Batch, Head, LedgerStore
from consentry_server.services.sequencer import Sequencer
from tests.support.clocks import LEDGER, Clock

PERSON = "sub_" + "a" * 24
OTHER = "sub_" + "b" * 24


def note(text: str, people: list[str] | None = None) -> Callable[[Book], Recorded]:
    return lambda book: book.append("interaction.recorded", "collector/test", {"note": text}, people or [PERSON])


async def test_a_reply_comes_only_after_its_entry_can_be_read_by_another_connection(
    sequencer: Sequencer, database: Path
) -> None:
    recorded = await sequencer.submit(note("one"))
    other = SqliteLedgerStore(database)
    assert other.fetch_head().size == 1
    data = other.fetch_entry(recorded.index)
    assert data is not None
    assert hash_leaf(data) == recorded.leaf_hash
    assert decode(data)["note"] == "one"
    other.close()


async def test_entries_stand_in_the_order_of_submission_without_gaps(sequencer: Sequencer) -> None:
    recorded = await asyncio.gather(*(sequencer.submit(note(str(place))) for place in range(300)))
    assert [each.index for each in recorded] == list(range(300))
    notes = [orjson.loads(data)["note"] for data in sequencer.store.fetch_entries(0, 300)]
    assert notes == [str(place) for place in range(300)]


async def test_calls_in_flight_share_commits(sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    stage = sequencer.store.stage

    def counted(batch: Batch) -> None:
        sizes.append(len(batch.entries))
        stage(batch)

    monkeypatch.setattr(sequencer.store, "stage", counted)
    await asyncio.gather(*(sequencer.submit(note(str(place))) for place in range(200)))
    assert sum(sizes) == 200
    assert len(sizes) <= 4


async def test_a_command_sees_what_the_one_before_it_recorded_in_the_same_batch(sequencer: Sequencer) -> None:
    def look(book: Book) -> Subject:
        return book.subject(PERSON)

    _, seen = await asyncio.gather(sequencer.submit(note("first")), sequencer.submit(look))
    assert seen.last_interaction is not None


async def test_a_command_that_raises_leaves_nothing_behind_and_its_neighbours_stand(sequencer: Sequencer) -> None:
    def fails(book: Book) -> None:
        book.append("interaction.recorded", "collector/test", {"note": "never"}, [PERSON])
        book.sealed["sld_x"] = b"never"
        book.ensure_reference(b"x" * 32, OTHER)
        raise ConsentryError(Reason.STATE_CONFLICT, "no")

    def breaks(book: Book) -> None:
        book.append("interaction.recorded", "collector/test", {"note": "never"}, [PERSON])
        raise ZeroDivisionError

    calls: list[Awaitable[Any]] = [sequencer.submit(each) for each in (note("before"), fails, breaks, note("after"))]
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0].index == 0
    assert outcomes[1].reason is Reason.STATE_CONFLICT
    assert outcomes[2].reason is Reason.SERVICE_FAULT
    assert outcomes[3].index == 1
    assert sequencer.store.fetch_head().size == 2
    assert sequencer.store.fetch_sealed("sld_x") is None
    assert sequencer.store.fetch_reference(b"x" * 32) is None
    assert sequencer.store.fetch_chain(PERSON) == (2, 1)


async def test_each_persons_chain_counts_from_one_and_names_the_entry_before(sequencer: Sequencer) -> None:
    for people in ([PERSON], [OTHER], [PERSON, OTHER], [PERSON]):
        await sequencer.submit(note("x", people))
    links = [decode(data)["people"] for data in sequencer.store.fetch_entries(0, 4)]
    mine = [link for entry in links for link in entry if link["subject_ref"] == PERSON]
    assert [(link["subject_seq"], link["previous_index"]) for link in mine] == [(1, -1), (2, 0), (3, 2)]


async def test_time_never_decreases_and_a_clamped_time_says_what_the_clock_said(
    sequencer: Sequencer, clock: Clock
) -> None:
    await sequencer.submit(note("one"))
    clock.forward(seconds=-30)
    await sequencer.submit(note("two"))
    one, two = (decode(data) for data in sequencer.store.fetch_entries(0, 2))
    assert two["time"] == one["time"]
    assert two["clock"] < two["time"]
    assert "clock" not in one


async def test_what_could_not_be_committed_is_answered_as_such_and_forgotten(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sequencer.submit(note("kept"))

    def full(batch: Batch) -> None:
        raise ConsentryError(Reason.STORAGE_FULL, "full")

    with monkeypatch.context() as patched:
        patched.setattr(sequencer.store, "stage", full)
        with pytest.raises(ConsentryError) as raised:
            await sequencer.submit(note("lost"))
    assert raised.value.reason is Reason.STORAGE_FULL
    recorded = await sequencer.submit(note("next"))
    assert recorded.index == 1
    entries = [orjson.loads(data) for data in sequencer.store.fetch_entries(0, 9)]
    assert [entry["note"] for entry in entries] == ["kept", "next"]
    assert entries[1]["people"][0]["previous_index"] == 0


async def test_a_full_disk_is_said_and_survived(sequencer: Sequencer, database: Path) -> None:
    await sequencer.submit(note("kept"))

    def no_more_pages(store: LedgerStore) -> None:
        assert isinstance(store, SqliteLedgerStore)
        store._write.pragma("max_page_count", 30)

    def all_pages(store: LedgerStore) -> None:
        assert isinstance(store, SqliteLedgerStore)
        store._write.pragma("max_page_count", 1_000_000)

    def big(book: Book) -> None:
        book.sealed["sld_big"] = bytes(1_000_000)
        note("lost")(book)

    await sequencer.run(no_more_pages)
    with pytest.raises(ConsentryError) as raised:
        await sequencer.submit(big)
    assert raised.value.reason is Reason.STORAGE_FULL
    await sequencer.run(all_pages)
    assert (await sequencer.submit(note("next"))).index == 1


async def test_after_a_failure_that_leaves_the_disk_unknown_nothing_is_answered_any_more(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ConsentryError(Reason.STORAGE_FAILED, "fsync failed")

    with monkeypatch.context() as patched:
        patched.setattr(sequencer.store, "commit", broken)
        for _ in range(2):
            with pytest.raises(ConsentryError) as raised:
                await sequencer.submit(note("lost"))
            assert raised.value.reason is Reason.STORAGE_FAILED
    assert sequencer.failed.is_set()
    with pytest.raises(ConsentryError):
        await sequencer.submit(note("still refused"))
    assert sequencer.store.fetch_head().size == 0


async def test_a_fault_of_the_writer_answers_everybody_and_stops_it(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks() -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(sequencer.store, "commit", breaks)
        with pytest.raises(ConsentryError) as raised:
            await sequencer.submit(note("lost"))
    assert raised.value.reason is Reason.STORAGE_FAILED
    assert sequencer.failed.is_set()


async def test_what_fails_after_a_commit_takes_nothing_of_it_back(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(before: object) -> None:
        raise ConsentryError(Reason.STORAGE_FULL, "full")

    monkeypatch.setattr(sequencer.store, "forget_requests", full)
    assert (await sequencer.submit(note("kept"))).index == 0
    assert sequencer.store.fetch_head().size == 1


async def test_stopping_finishes_what_was_accepted_and_refuses_the_rest(
    database: Path, clock: Clock, randomness: Callable[[int], bytes]
) -> None:
    sequencer = Sequencer(SqliteLedgerStore(database), ledger=LEDGER, clock=clock, random=randomness)
    await sequencer.start()
    accepted = [asyncio.create_task(sequencer.submit(note(str(place)))) for place in range(50)]
    await asyncio.wait(accepted, timeout=0)
    await sequencer.aclose()
    assert [(await task).index for task in accepted] == list(range(50))
    with pytest.raises(ConsentryError) as raised:
        await sequencer.submit(note("late"))
    assert raised.value.reason is Reason.SHUTTING_DOWN
    sequencer.store.close()


async def test_a_caller_that_went_away_before_its_turn_records_nothing(sequencer: Sequencer) -> None:
    started, busy = threading.Event(), threading.Event()

    def hold_the_writer(_store: LedgerStore) -> bool:
        started.set()
        return busy.wait(10)

    first = asyncio.create_task(sequencer.run(hold_the_writer))
    assert await asyncio.to_thread(started.wait, 10)
    gone = asyncio.create_task(sequencer.submit(note("gone")))
    await asyncio.wait([gone], timeout=0)
    gone.cancel()
    busy.set()
    assert await first
    recorded = await sequencer.submit(note("here"))
    assert recorded.index == 0


class Stepped:
    """Work that notes its steps, and fails at one of them."""

    def __init__(self, name: str, steps: list[str], *, fails_at: str = "") -> None:
        self._name, self._steps, self._fails_at = name, steps, fails_at

    def prepare(self) -> None:
        self._step("prepare")

    def run(self, book: Book) -> Recorded:
        recorded = note(self._name)(book)
        self._step("run")
        return recorded

    def finish(self, outcome: Recorded) -> int:
        self._step("finish")
        return outcome.index

    def _step(self, step: str) -> None:
        self._steps.append(f"{step} {self._name}")
        if step == self._fails_at:
            raise ZeroDivisionError


async def test_a_batch_takes_each_step_for_all_and_answers_after_the_commit(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    commit = sequencer.store.commit

    def noted() -> None:
        commit()
        steps.append("commit")

    monkeypatch.setattr(sequencer.store, "commit", noted)
    answers = await asyncio.gather(*(sequencer.enqueue(Stepped(name, steps)) for name in "ab"))
    assert answers == [0, 1]
    assert steps == ["prepare a", "prepare b", "run a", "run b", "commit", "finish a", "finish b"]


@pytest.mark.parametrize(("fails_at", "recorded"), [("prepare", "ac"), ("run", "ac"), ("finish", "abc")])
async def test_work_that_fails_at_a_step_leaves_its_neighbours_alone(
    sequencer: Sequencer, fails_at: str, recorded: str
) -> None:
    works = [Stepped("a", []), Stepped("b", [], fails_at=fails_at), Stepped("c", [])]
    first, failed, last = await asyncio.gather(*map(sequencer.enqueue, works), return_exceptions=True)
    assert isinstance(failed, ConsentryError)
    assert failed.reason is Reason.SERVICE_FAULT
    assert (first, last) == (0, len(recorded) - 1)
    entries = sequencer.store.fetch_entries(0, 9)
    assert "".join(orjson.loads(data)["note"] for data in entries) == recorded


async def test_an_action_whose_caller_went_away_keeps_the_writer_until_it_is_done(sequencer: Sequencer) -> None:
    started, busy = threading.Event(), threading.Event()

    def hold_a_transaction(store: LedgerStore) -> None:
        assert isinstance(store, SqliteLedgerStore)
        with transaction(store._write):
            started.set()
            busy.wait(10)

    action = asyncio.create_task(sequencer.run(hold_a_transaction))
    assert await asyncio.to_thread(started.wait, 10)
    action.cancel()
    with pytest.raises(asyncio.CancelledError):
        await action
    waiting = asyncio.create_task(sequencer.submit(note("after")))
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    busy.set()
    assert (await waiting).index == 0
    assert not sequencer.failed.is_set()


async def test_an_action_after_the_end_is_refused(sequencer: Sequencer) -> None:
    await sequencer.aclose()
    with pytest.raises(ConsentryError) as raised:
        await sequencer.run(lambda _store: None)
    assert raised.value.reason is Reason.SHUTTING_DOWN


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
async def test_a_restart_continues_the_same_tree(
    database: Path, clock: Clock, randomness: Callable[[int], bytes], count: int
) -> None:
    expected = Frontier()
    for part in range(2):
        sequencer = Sequencer(SqliteLedgerStore(database), ledger=LEDGER, clock=clock, random=randomness)
        await sequencer.start()
        for recorded in await asyncio.gather(*(sequencer.submit(note(str(each))) for each in range(count))):
            expected.append(recorded.leaf_hash)
        head: Head = sequencer.store.fetch_head()
        assert (head.size, head.root) == ((part + 1) * count, expected.root())
        await sequencer.aclose()
        sequencer.store.close()
