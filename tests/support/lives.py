"""Random lives of a whole tenant: what happens in one, and the entries that come of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import orjson
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError
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
    Publisher,
    Purpose,
    SourceKind,
    Visibility,
)
from consentry_server.services.activation import PackDraft
from consentry_server.services.checks import Asked, AskedFace
from consentry_server.services.enforcement import SwitchDraft
from consentry_server.services.registry import DeterminationDraft
from consentry_server.services.releases import Claims, Signer
from consentry_server.services.reviews import Wanted
from consentry_server.services.statements import StatementDraft
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
PICTURE = Path(__file__).parents[1] / "data" / "photos" / "no-face.jpg"
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
OWN = Path(__file__).parents[1] / "data" / "packs" / "own" / "acme-minors.toml"
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


def entries_of(folder: Path) -> list[bytes]:
    with stored(folder) as store:
        return store.fetch_entries(0, store.fetch_head().size)
