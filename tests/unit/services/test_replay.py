"""The same ledger and the same packs give the same answer years later: random stories, replayed from their entries."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import Pack, load_pack
from consentry_server.core.record.artifacts import ArtifactKind
from consentry_server.core.record.facts import OperationRequest, Term
from consentry_server.core.vocabulary import (
    AgeBand,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    KnownBy,
    Operation,
    Outcome,
    Publisher,
    Purpose,
    SourceKind,
    Visibility,
)
from consentry_server.services.activation import PackDraft
from consentry_server.services.checks import Asked, AskedFace
from consentry_server.services.enforcement import SwitchDraft
from consentry_server.services.packs import Packs
from consentry_server.services.registry import DeterminationDraft
from consentry_server.services.releases import Claims, Signer
from consentry_server.services.replay import Replay, Replayed, Result
from consentry_server.services.reviews import Wanted
from consentry_server.services.statements import StatementDraft
from consentry_server.tenant import bundled_packs, engine_version
from tests.support import lineage
from tests.support.clocks import Clock
from tests.support.stack import (
    COLLECTOR,
    ILLINOIS,
    OFFICER,
    PROCESSOR,
    SECOND_OFFICER,
    SETTINGS,
    Stack,
    face,
    start,
)

T = TypeVar("T")

PEOPLE = ("ana", "bo", "")
PURPOSES = (Purpose.TAGGING, Purpose.ACCOUNT_SECURITY, Purpose.MODEL_TRAINING)
PICTURE = Path(__file__).parents[2] / "data" / "photos" / "no-face.jpg"
HOMES = (frozenset[str](), ILLINOIS, frozenset({"US-TX"}), frozenset({"DE", "US-IL"}), frozenset({"US"}))
FACTS = st.sampled_from((None, True, False))
SETTINGS_ELSEWHERE = SETTINGS.model_copy(
    update={"gate": SETTINGS.gate.model_copy(update={"unknown_regions": ("US-NV", "GB")})}
)
"""The same server, later, with other regions for people of unknown residence."""

REQUESTS = st.builds(
    OperationRequest,
    operation=st.sampled_from(Operation),
    purpose=st.sampled_from((*PURPOSES, *Purpose)),
    category=st.sampled_from((DataCategory.PHOTO,) * 6 + tuple(DataCategory)),
    source_kind=st.sampled_from(SourceKind),
    recipient_id=st.sampled_from(("", "", "cloud", "broker")),
    disclosure_basis=st.sampled_from(DisclosureBasis),
    consideration=st.sampled_from(Consideration),
    regions=st.sampled_from(HOMES),
    uses_face_geometry=FACTS,
    identifies=FACTS,
    stored=FACTS,
    linked_identity=FACTS,
    algorithm_id=st.sampled_from(("", "hog-face")),
    algorithm_version=st.sampled_from(("", "1", "2 beta")),
    visibility=st.sampled_from(Visibility),
    published_by=st.sampled_from(Publisher),
    new_york_city_establishment=FACTS,
    portland_public_accommodation=FACTS,
    artifact_id=st.sampled_from(("", "", "faces", "model", "nobody-knows")),
)
FACES = st.lists(
    st.builds(
        AskedFace,
        subject_id=st.sampled_from(PEOPLE),
        known_by=st.sampled_from(KnownBy),
        regions=st.sampled_from(HOMES),
        age_band=st.sampled_from(AgeBand),
    ),
    max_size=3,
)
QUARTERS = ("", "", "2026-Q4", "2027-Q1", "2031-Q2")
OWN = Path(__file__).parents[2] / "data" / "packs" / "own" / "acme-minors.toml"
EVENTS = st.one_of(
    st.just(("policy",)),
    st.tuples(st.just("notice"), st.sampled_from(PURPOSES), st.sampled_from((None, 30, 365))),
    st.tuples(st.just("consent"), st.sampled_from(PEOPLE[:2]), st.sampled_from(PURPOSES), st.sampled_from(AgeBand)),
    st.tuples(st.just("withdraw"), st.sampled_from(PEOPLE[:2])),
    st.tuples(st.just("satisfied"), st.sampled_from(PEOPLE[:2]), st.sampled_from(PURPOSES)),
    st.tuples(st.just("check"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES), st.booleans()),
    st.tuples(st.just("ask"), REQUESTS, FACES, st.sampled_from(("", "warrant 17"))),
    st.tuples(st.just("upload"), st.sampled_from(PEOPLE[:2])),
    st.tuples(st.just("enroll"), st.sampled_from(PEOPLE[:2])),
    st.tuples(st.just("late"), st.integers(0, 60), st.sampled_from(PEOPLE), st.booleans()),
    st.tuples(st.just("ask late"), st.integers(0, 60), REQUESTS, FACES, st.booleans()),
    st.tuples(st.just("statement"), st.sampled_from(Operation), st.sampled_from(DataCategory), st.booleans()),
    st.tuples(st.just("refuse"), st.integers(0, 5)),
    st.tuples(st.just("determine"), st.sampled_from(DeterminationKind), REQUESTS, st.sampled_from(PEOPLE)),
    st.tuples(st.just("resolve"), st.integers(0, 5), st.sampled_from(DeterminationKind)),
    st.tuples(st.just("revoke"), st.integers(0, 5)),
    st.tuples(st.just("derive"), st.sampled_from(("faces", "model")), st.sampled_from(PEOPLE), st.booleans()),
    st.tuples(st.just("on artifact"), st.sampled_from(("faces", "model")), st.sampled_from(PEOPLE), st.booleans()),
    st.tuples(st.just("withdrew before"), st.sampled_from(PEOPLE[:2]), st.integers(0, 60)),
    st.tuples(st.just("opt out"), st.sampled_from(PEOPLE[:2]), st.sampled_from((None, *PURPOSES))),
    st.tuples(st.just("unnecessary"), st.sampled_from(PEOPLE[:2]), st.sampled_from(PURPOSES), st.booleans()),
    st.tuples(st.just("closed"), st.sampled_from(PEOPLE[:2])),
    st.tuples(st.just("claims"), st.sampled_from(PEOPLE[:2]), st.sampled_from(AgeBand), st.sampled_from(QUARTERS)),
    st.tuples(st.just("own pack"), st.just(1)),
    st.tuples(st.just("observe"), st.sampled_from(Operation), st.booleans()),
    st.tuples(st.just("forward"), st.sampled_from((10, 86_400 * 20, 86_400 * 400))),
    st.tuples(st.just("restart"), st.booleans()),
)


class Story:
    """What a random life needs to know of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.photo_id = ""
        self.times: list[datetime] = []
        self.determinations: list[str] = []
        self.stack: Stack
        self.explained: list[tuple[str, bool]] = []
        self.kinds: Counter[str] = Counter()
        """Events that came to something."""

    async def live(self, events: list[tuple[object, ...]]) -> None:
        self.stack = await start(self.folder, self.clock)
        for event in events:
            self.times.append(self.clock.now)
            self.clock.forward(seconds=1)
            try:
                await self.happen(event)
                self.kinds[str(event[0])] += 1
            except (ConsentryError, KeyError, IndexError):
                continue  # refused, or nothing to do it with: what was recorded counts
        await self.explain()
        await self.stack.running.aclose()

    async def explain(self) -> None:
        """Explain every decision: is the trace whole, and does it come to what was recorded?"""
        for data in entries_of(self.folder):
            entry = orjson.loads(data)
            if entry["type"] == "decision":
                found = self.stack.tenant.explaining.recorded(entry["decision_id"], entry["index"])
                self.explained.append((entry["decision_id"], found.complete))

    def time(self, number: object) -> datetime:
        """A time that has passed."""
        return self.times[int(str(number)) % len(self.times)]

    async def happen(self, event: tuple[object, ...]) -> None:
        stack = self.stack
        match event:
            case ("policy",):
                await stack.policy()
            case ("notice", Purpose() as purpose, days):
                term = None if days is None else Term(duration=timedelta(days=int(str(days))))
                await stack.notice(_named(purpose), [purpose], term)
            case ("consent", str(person), Purpose() as purpose, AgeBand() as age):
                if _named(purpose) not in stack.notices:
                    await stack.notice(_named(purpose), [purpose])
                delivery = await stack.deliver(person, _named(purpose), age, Signer())
                await stack.release(person, delivery, _named(purpose), [purpose])
            case ("withdraw", str(person)):
                await stack.withdraw(person)
            case ("satisfied", str(person), Purpose() as purpose):
                await stack.tenant.registry.purpose_satisfied(COLLECTOR, person, frozenset({purpose}), None, None)
            case ("check", str(person), Purpose() as purpose, with_photo):
                await stack.check(face(person), purpose=purpose, photo_id=self.photo_id if with_photo else "")
            case ("ask", OperationRequest() as request, list(faces), str(evidence)):
                said = replace(request, has_disclosure_evidence=bool(evidence))
                await stack.tenant.gate.check(PROCESSOR, Asked(said, tuple(faces), disclosure_evidence=evidence))
            case ("upload", str(person)):
                uploaded = await stack.upload(PICTURE.read_bytes(), person)
                self.photo_id = self.photo_id if uploaded.photo is None else uploaded.photo.photo_id
            case ("enroll", str(person)):
                checked = await stack.check(face(person), sha256=b"\x03" * 32)
                await stack.store_identifier(checked.permit)
            case ("forward", int(seconds)):
                self.clock.forward(seconds=seconds)
            case ("restart", moved):
                notices = stack.notices
                await stack.running.aclose()
                settings_now = SETTINGS_ELSEWHERE if moved else SETTINGS
                self.stack = await start(self.folder, self.clock, create=False, settings=settings_now)
                self.stack.notices = notices
            case _:
                await self.happen_else(event)

    async def happen_else(self, event: tuple[object, ...]) -> None:
        """Late reports, statements, reviews and determinations."""
        stack, tenant = self.stack, self.stack.tenant
        officers = tenant.registry
        match event:
            case ("late", when, str(person), with_photo):
                photo_id = self.photo_id if with_photo else ""
                asked = (face(person),) if person else ()
                await lineage.ask(
                    stack, *asked, operation=Operation.ENROLL, purpose=Purpose.TAGGING, photo_id=photo_id,
                    occurred_at=self.time(when),
                )  # fmt: skip
            case ("ask late", when, OperationRequest() as request, list(faces), with_photo):
                photo_id = self.photo_id if with_photo else ""
                asked_late = Asked(request, tuple(faces), photo_id=photo_id, occurred_at=self.time(when))
                await tenant.gate.check(PROCESSOR, asked_late)
            case ("statement", Operation() as operation, DataCategory() as category, only_public):
                only = frozenset({Visibility.PUBLIC}) if only_public else frozenset[Visibility]()
                draft = StatementDraft(
                    "We leave this out.", "the CEO", self.clock.now, frozenset({operation, Operation.ENROLL}),
                    only_visibilities=only, excluded_categories=frozenset({category}),
                )  # fmt: skip
                await tenant.statements.record(OFFICER, draft)
            case ("refuse", int(which)):
                open_ = await tenant.reviews.listed(Wanted(), self.clock.now)
                await tenant.reviews.refuse(OFFICER, _one(open_, which).review.review_id, "No.", None)
            case ("resolve", int(which), DeterminationKind() as kind):
                open_ = await tenant.reviews.listed(Wanted(), self.clock.now)
                review = _one(open_, which).review
                name, _, version = review.algorithm.partition(" ")
                scope = self.determination(kind, review.operation, review.purpose, name, version)
                _, made, _ = await tenant.reviews.resolve(OFFICER, review.review_id, scope)
                await officers.approve(SECOND_OFFICER, made.determination_id, None)
                self.determinations.append(made.determination_id)
            case ("determine", DeterminationKind() as kind, OperationRequest() as request, str(person)):
                scope = self.determination(
                    kind, request.operation, request.purpose, request.algorithm_id, request.algorithm_version
                )
                scope = replace(scope, subject_id=person, recipient_id=request.recipient_id)
                made, _ = await officers.determine(OFFICER, scope)
                await officers.approve(SECOND_OFFICER, made.determination_id, None)
                self.determinations.append(made.determination_id)
                faces = [AskedFace(person, KnownBy.DECLARED_BY_UPLOADER)] if person else []
                await tenant.gate.check(PROCESSOR, Asked(request, tuple(faces)))
            case ("revoke", int(which)):
                await officers.revoke(OFFICER, _one(self.determinations, which), None)
            case _:
                await self.happen_to_artifacts_and_people(event)

    async def happen_to_artifacts_and_people(self, event: tuple[object, ...]) -> None:
        """Artifacts and their taints, ends, coming of age, the tenant's own rules, switches."""
        stack, tenant = self.stack, self.stack.tenant
        officers = tenant.registry
        match event:
            case ("derive", str(artifact), str(person), inside):
                if person and inside:
                    await lineage.begin(stack)
                    await lineage.consent(stack, person)
                checked = await lineage.ask(stack, face(person))
                kind_ = ArtifactKind.DATASET if artifact == "faces" else ArtifactKind.MODEL
                await lineage.derive(stack, artifact, checked.decision_id, kind_)
            case ("on artifact", str(artifact), str(person), late):
                when = self.times[-9:][0] if late else None
                asked = (face(person),) if person else ()
                checked = await lineage.ask(stack, *asked, artifact_id=artifact, occurred_at=when)
                await lineage.derive(stack, "model", checked.decision_id, ArtifactKind.MODEL, parents=(artifact,))
            case ("withdrew before", str(person), when):
                await tenant.releases.withdraw(COLLECTOR, person, "", "", None, occurred_at=self.time(when))
            case ("opt out", str(person), purpose):
                about = frozenset({purpose}) if isinstance(purpose, Purpose) else frozenset[Purpose]()
                await officers.opt_out(COLLECTOR, person, about, None, None)
            case ("unnecessary", str(person), Purpose() as purpose, extended):
                reason = "a court's order" if extended else ""
                await tenant.ends.found_unnecessary(COLLECTOR, person, frozenset({purpose}), None, reason, None)
            case ("closed", str(person)):
                await tenant.ends.account_closed(COLLECTOR, person, None, None)
            case ("claims", str(person), AgeBand() as age, str(quarter)):
                claims = Claims(age_band=age, majority_quarter=quarter)
                await officers.interaction(COLLECTOR, person, None, None, claims)
            case ("own pack", _):
                data = OWN.read_bytes()
                pack = PackDraft("acme-minors", 1, hashlib.sha256(data).hexdigest(), data)
                await tenant.activation.activate(OFFICER, pack)
            case ("observe", Operation() as operation, enforced):
                switch = SwitchDraft(operation, bool(enforced), self.clock.now)
                switched, _ = await tenant.enforcement.switch(OFFICER, switch)
                if switched is not None and not enforced:
                    await tenant.enforcement.approve(SECOND_OFFICER, switched.enforcement_id, None)
                await stack.check(face("ana"), operation=operation)

    def determination(
        self, kind: DeterminationKind, operation: Operation, purpose: Purpose, algorithm: str, version: str
    ) -> DeterminationDraft:
        return DeterminationDraft(
            kind, frozenset({operation}), frozenset({purpose}), self.clock.now + timedelta(days=90),
            {"evidence_reference": "memo 17"}, algorithm, version,
        )  # fmt: skip


def _one(of: Sequence[T], which: int) -> T:
    """One of some; IndexError where there is none."""
    return of[which % max(len(of), 1)]


def _named(purpose: Purpose) -> str:
    return str(purpose).lower().replace("_", "-")


@contextmanager
def stored(folder: Path) -> Iterator[SqliteLedgerStore]:
    store = SqliteLedgerStore(folder / "tenants" / "acme" / "ledger.db")
    try:
        yield store
    finally:
        store.close()


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


def entries_of(folder: Path) -> list[bytes]:
    with stored(folder) as store:
        return store.fetch_entries(0, store.fetch_head().size)


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
