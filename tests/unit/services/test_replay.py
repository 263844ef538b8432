"""The same ledger and the same packs give the same answer years later: random stories, replayed from their entries."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import Pack, load_pack
from consentry_server.core.record.facts import OperationRequest
from consentry_server.core.vocabulary import (
    AgeBand,
    Consideration,
    DataCategory,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
)
from consentry_server.services.checks import AskedFace
from consentry_server.services.packs import Packs
from consentry_server.services.replay import Replay, Replayed, Result
from consentry_server.tenant import bundled_packs, engine_version
from tests.support.lives import (
    EVENTS,
    Story,
    entries_of,
    stored,
)
from tests.support.stack import (
    ILLINOIS,
)


def replayed(
    entries: list[bytes],
    document: Callable[[str], bytes | None] = lambda _: None,
    holds: Callable[[str], bool | None] = lambda _: None,
    bundled: tuple[Pack, ...] | None = None,
    engine: str = "",
    **more: object,
) -> tuple[Replay, list[Replayed]]:
    shelf = SqliteShelf()
    shelf.open()
    try:
        run = Replay(
            shelf=shelf,
            packs=Packs([pack for pack, _ in bundled_packs()] if bundled is None else bundled, document),
            engine=engine or engine_version(),
            unknown_regions=frozenset(),
            holds=holds,
            **more,  # type: ignore[arg-type]
        )
        return run, list(run.run(entries, lambda _done: None))
    finally:
        shelf.close()


@settings(max_examples=40)
@given(st.lists(EVENTS, min_size=20, max_size=60))
def test_every_decision_of_a_random_story_is_replayed_to_the_same_answer(events: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        story = Story(folder)
        asyncio.run(story.live(events))
        with stored(folder) as store:
            head = store.fetch_head()
            entries = store.fetch_entries(0, head.size)
            run, different = replayed(entries, store.fetch_document, bundled=())
        assert different == []
        assert [decision_id for decision_id, complete in story.explained if not complete] == []
        assert run.tree.root() == head.root
        assert run.tally.total == sum(orjson.loads(data)["type"] == "decision" for data in entries)


LIFE: list[tuple[object, ...]] = [
    ("policy",),
    ("notice", Purpose.TAGGING, 365),
    ("check", "ana", Purpose.TAGGING, False),
    ("consent", "ana", Purpose.TAGGING, AgeBand.ADULT),
    ("check", "ana", Purpose.TAGGING, False),
    ("check", "", Purpose.TAGGING, False),
    ("upload", "ana"),
    ("withdraw", "ana"),
    ("check", "ana", Purpose.TAGGING, True),
]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with a yes, three noes and a photo."""
    folder = tmp_path_factory.mktemp("life")
    asyncio.run(Story(folder).live(LIFE))
    return folder


def changed(entries: list[bytes], which: str, change: Callable[[dict[str, Any]], object]) -> list[bytes]:
    """The entries with all of one type changed: what somebody with the database could do."""
    made = []
    for data in entries:
        entry = orjson.loads(data)
        if entry["type"] == which:
            change(entry)
        made.append(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
    return made


def test_the_story_has_both_answers(life: Path) -> None:
    run, different = replayed(entries_of(life))
    assert different == []
    outcomes = [orjson.loads(data)["outcome"] for data in entries_of(life) if b'"type":"decision"' in data]
    assert outcomes[:3] == ["DENY", "ALLOW", "DENY"]
    assert run.tally.results == {Result.EQUAL: len(outcomes)}


def test_a_release_that_was_made_up_later_is_told(life: Path) -> None:
    def earlier(entry: dict[str, Any]) -> None:
        entry["releases"] = []

    _, different = replayed(changed(entries_of(life), "release.withdrawn", earlier))
    assert [(one.recorded, one.replayed) for one in different] == [(Outcome.DENY, Outcome.ALLOW)]
    assert "outcome: recorded DENY, replayed ALLOW" in map(str, different[0].differences)
    assert different[0].result is Result.DIFFERENT


def test_a_decision_that_was_turned_round_is_told(life: Path) -> None:
    def allowed(entry: dict[str, Any]) -> None:
        entry["outcome"] = "ALLOW"

    _, different = replayed(changed(entries_of(life), "decision", allowed))
    assert {(one.recorded, one.replayed) for one in different} >= {(Outcome.ALLOW, Outcome.DENY)}


def test_a_basis_that_was_exchanged_is_told(life: Path) -> None:
    def other(entry: dict[str, Any]) -> None:
        for each in entry["faces"]:
            if "basis" in each:
                each["basis"] = each["basis"][1:]

    _, different = replayed(changed(entries_of(life), "decision", other))
    assert {each.field for one in different for each in one.differences} == {"faces[0].basis"}


def test_packs_that_were_not_the_days_are_told(life: Path) -> None:
    def fewer(entry: dict[str, Any]) -> None:
        entry["packs"] = [0]

    run, different = replayed(changed(entries_of(life), "decision", fewer))
    assert len(different) == run.tally.total
    assert {each.field for one in different for each in one.differences} == {"packs"}


def test_an_entry_that_cannot_be_read_ends_the_replay(life: Path) -> None:
    entries = entries_of(life)
    entries[3] = entries[3][:-1]
    with pytest.raises(ConsentryError) as caught:
        replayed(entries)
    assert caught.value.reason is Reason.DATA_DAMAGED


def test_a_decision_that_cannot_be_read_is_one_finding(life: Path) -> None:
    run, different = replayed(changed(entries_of(life), "decision", lambda entry: entry.pop("faces")))
    assert {one.result for one in different} == {Result.DAMAGED}
    assert len(different) == run.tally.total


def test_packs_that_are_not_at_hand_say_nothing_of_the_ledger(life: Path) -> None:
    run, different = replayed(entries_of(life), bundled=())
    assert run.tally.results == {Result.NO_PACK: run.tally.total}
    assert "law pack" in different[0].why
    with stored(life) as store:
        _, different = replayed(entries_of(life), store.fetch_document, bundled=())
    assert different == []


def test_bytes_that_are_not_the_packs_are_no_pack(life: Path) -> None:
    run, _ = replayed(entries_of(life), lambda _: bundled_packs()[0][1], bundled=())
    assert run.tally.results == {Result.NO_PACK: run.tally.total}


def test_another_engine_version_is_only_to_blame_where_something_differs(life: Path) -> None:
    _, different = replayed(entries_of(life), engine="9.9.9")
    assert different == []
    later = changed(entries_of(life), "release.withdrawn", lambda entry: entry.update(releases=[]))
    _, different = replayed(later, engine="9.9.9")
    assert [one.result for one in different] == [Result.OTHER_ENGINE]
    assert "9.9.9" in different[0].why


def test_an_old_ledger_without_its_settings_is_not_called_wrong(life: Path) -> None:
    old = changed(entries_of(life), "system.started", lambda entry: entry.pop("unknown_regions"))
    stranger = changed(old, "decision", lambda entry: [each.pop("regions", None) for each in entry["faces"]])
    _, different = replayed(stranger)
    assert {one.result for one in different} == {Result.NO_SETTINGS}


def test_the_regions_of_the_day_count_not_todays(tmp_path: Path) -> None:
    bystander: tuple[object, ...] = ("ask", _request(), [AskedFace()], "")
    life = [bystander, ("restart", True), bystander, ("restart", False), bystander]
    asyncio.run(Story(tmp_path).live(life))
    entries = entries_of(tmp_path)
    run, different = replayed(entries)
    assert (different, run.tally.total) == ([], 3)
    always = changed(entries, "system.started", lambda entry: entry.update(unknown_regions=["GB", "US-NV"]))
    assert len(replayed(always)[1]) == 2


def _request() -> OperationRequest:
    return OperationRequest(Operation.ENROLL, Purpose.TAGGING, DataCategory.FACE_TEMPLATE)


def test_evidence_that_was_erased_is_said_so(tmp_path: Path) -> None:
    consent: list[tuple[object, ...]] = [("policy",), ("consent", "ana", Purpose.TAGGING, AgeBand.ADULT)]
    request = replace(_request(), consideration=Consideration.NONE)
    ana = [AskedFace("ana", KnownBy.DECLARED_BY_UPLOADER)]
    asyncio.run(Story(tmp_path).live([*consent, ("ask", request, ana, "warrant 17"), ("ask", request, ana, "")]))
    entries = entries_of(tmp_path)
    decisions = [orjson.loads(data) for data in entries if b'"type":"decision"' in data]
    assert [("sealed" in each, each["outcome"]) for each in decisions] == [(True, "ALLOW"), (False, "ALLOW")]
    assert replayed(entries, holds=lambda _: True)[0].tally.results == {Result.EQUAL: 2}
    run, different = replayed(entries, holds=lambda _: False)
    assert run.tally.results == {Result.ERASED: 1, Result.EQUAL: 1}
    assert [one.index for one in different] == [decisions[0]["index"]]


def _with(text: bytes, old: bytes, new: bytes) -> Pack:
    assert old in text
    return load_pack(text.replace(old, new), name="changed.toml")


def test_a_changed_pack_shows_what_it_would_have_decided(life: Path) -> None:
    illinois = next(data for pack, data in bundled_packs() if pack.id == "us-il-bipa")
    strict = _with(illinois, b'that = "release.exists"', b'that = "release.has_scope"\nscope = "SELL"')
    run, different = replayed(entries_of(life), instead=(strict,))
    changes = dict(run.tally.changes)
    assert changes == {(Outcome.ALLOW, Outcome.DENY): 1}
    assert run.tally.gained["IL-15B3-RELEASE"] == 1
    assert different[0].result is Result.DIFFERENT
    same = load_pack(illinois, name="same.toml")
    assert replayed(entries_of(life), instead=(same,))[1] == []


def test_a_pack_of_another_place_is_added(life: Path) -> None:
    elsewhere = Path(__file__).parents[2] / "data" / "packs"
    packs = tuple(load_pack(path.read_bytes(), name=path.name) for path in sorted(elsewhere.glob("*.toml")))
    run, _ = replayed(entries_of(life), instead=packs)
    assert run.tally.results[Result.NO_PACK] == 0


def test_one_decision_alone(life: Path) -> None:
    entries = entries_of(life)
    decisions = [orjson.loads(data) for data in entries if b'"type":"decision"' in data]
    run, _ = replayed(entries, only=decisions[1]["decision_id"])
    assert run.tally.total == 1
    run, _ = replayed(entries, first=decisions[1]["index"])
    assert run.tally.total == len(decisions) - 1


def test_the_documents_are_found_by_their_hash(life: Path) -> None:
    with stored(life) as store:
        for pack, data in bundled_packs():
            assert store.fetch_document(pack.sha256) == data
            assert hashlib.sha256(data).hexdigest() == pack.sha256


UNTOLD = OperationRequest(
    Operation.DETECT_FACES, Purpose.TAGGING, DataCategory.PHOTO, regions=ILLINOIS, algorithm_id="hog-face",
    algorithm_version="1",
)  # fmt: skip
"""Whether face geometry is measured is not said: a question for a person."""
LEARNT: list[tuple[object, ...]] = [
    ("policy",),
    ("notice", Purpose.TAGGING, 365),
    ("ask", UNTOLD, [AskedFace()], ""),
    ("refuse", 0),
    ("ask", UNTOLD, [AskedFace()], ""),
    ("consent", "ana", Purpose.TAGGING, AgeBand.ADULT),
    ("late", 5, "ana", False),
    ("upload", "ana"),
    ("late", 7, "ana", True),
    ("late", 9, "ana", True),
    ("derive", "faces", "bo", True),
    ("on artifact", "faces", "", False),
    ("observe", Operation.VERIFY, False),
    ("check", "ana", Purpose.TAGGING, False),
    ("statement", Operation.STORE, DataCategory.PHOTO, False),
    ("check", "ana", Purpose.TAGGING, False),
    ("withdrew before", "bo", 6),
    ("on artifact", "faces", "", False),
]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life with late reports, a refusal, a data set and its taint, a switch to observing, a public statement."""
    folder = tmp_path_factory.mktemp("learnt")
    story = Story(folder)
    asyncio.run(story.live(LEARNT))
    assert all(complete for _, complete in story.explained)
    return folder


def test_that_life_has_what_the_law_learnt(learnt: Path) -> None:
    entries = entries_of(learnt)
    run, different = replayed(entries)
    assert different == []
    decisions = [entry for data in entries if (entry := orjson.loads(data))["type"] == "decision"]
    codes = {rule.partition(":")[2] for entry in decisions for rule in entry["rules"]}
    assert codes >= {"RECORDED_AFTER", "REVIEW_REFUSED", "PUBLIC_STATEMENT", "ARTIFACT_TAINTED"}
    assert {entry["request"].get("artifact_state") for entry in decisions} >= {"CLEAN", "TAINTED"}
    assert [entry["outcome"] for entry in decisions if entry.get("late")] == ["DENY", "ALLOW", "ALLOW"]
    assert sum("said_of_source" in entry for entry in decisions) == 1
    assert any(entry.get("observed_only") for entry in decisions)
    assert run.tally.total == len(decisions)


def _says_nothing_of_late(entry: dict[str, Any]) -> None:
    entry.pop("late", None)


def _says_clean(entry: dict[str, Any]) -> None:
    if entry["request"].get("artifact_state") == "TAINTED":
        entry["request"]["artifact_state"] = "CLEAN"


def _leaves_people_out(entry: dict[str, Any]) -> None:
    if entry["request"].get("artifact_state") == "CLEAN":
        entry["faces"] = entry["faces"][:-1] or [{}]


def _says_observed(entry: dict[str, Any]) -> None:
    if entry["request"]["operation"] == "ENROLL":
        entry["observed_only"] = True


@pytest.mark.parametrize(
    ("which", "change", "field"),
    [
        ("decision", _says_nothing_of_late, "outcome"),
        ("decision", _says_clean, "request.artifact_state"),
        ("decision", _leaves_people_out, "people"),
        ("decision", _says_observed, "observed_only"),
        ("statement.recorded", lambda entry: entry["statement"].update(operations=["STORE"]), "outcome"),
        ("review.refused", lambda entry: entry["refusal"].update(rules=["X:Y"]), "outcome"),
        ("release.withdrawn", lambda entry: entry.pop("occurred_at"), "request.artifact_state"),
    ],
)
def test_what_was_changed_of_it_is_told(
    learnt: Path, which: str, change: Callable[[dict[str, Any]], object], field: str
) -> None:
    _, different = replayed(changed(entries_of(learnt), which, change))
    assert field in {each.field for one in different for each in one.differences}
