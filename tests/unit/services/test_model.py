"""Random lives of a few people against an oracle that shares no code with the service.

The oracle knows only this: a template may be made, opened or compared while a retention policy is published and the
person has a release for that purpose that was signed after its notice, is not withdrawn, whose term of a year has not
run out and whose purpose is not satisfied. Everything else must be refused, whatever permits were handed out before.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import ConsentryError
from consentry_server.core.vocabulary import Operation, Outcome, Purpose
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import COLLECTOR, Stack, face, start

PEOPLE = ("ana", "bo")
PURPOSES = (Purpose.TAGGING, Purpose.ACCOUNT_SECURITY)
TERM = timedelta(days=365)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
PERMIT_LIFE = timedelta(seconds=60)
PICTURE = Path(__file__).parents[2] / "data" / "photos" / "no-face.jpg"

EVENTS = st.one_of(
    st.just(("policy",)),
    st.tuples(st.just("notice"), st.sampled_from(PURPOSES)),
    st.tuples(st.just("deliver"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("release"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("consent"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("withdraw"), st.sampled_from(PEOPLE), st.sampled_from((*PURPOSES, None))),
    st.tuples(st.just("satisfied"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("check"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("enroll"), st.sampled_from(PEOPLE), st.sampled_from(PURPOSES)),
    st.tuples(st.just("open"), st.integers(0, 5)),
    st.tuples(st.just("compare"), st.integers(0, 5)),
    st.tuples(st.just("forward"), st.sampled_from((10, 100, 86_400 * 200))),
    st.just(("restart",)),
)


@dataclass
class Given:
    """A release that the model gave."""

    purpose: Purpose
    release_id: str
    signed: datetime
    withdrawn: bool = False


@dataclass
class Model:
    """What the oracle knows."""

    now: datetime
    policy: bool = False
    delivered: dict[tuple[str, Purpose], str] = field(default_factory=dict)
    releases: dict[str, list[Given]] = field(default_factory=lambda: {person: [] for person in PEOPLE})
    satisfied: dict[tuple[str, Purpose], datetime] = field(default_factory=dict)
    changes: int = 0
    permits: list[tuple[str, str, Purpose, datetime, str, int]] = field(default_factory=list)
    identifiers: dict[str, tuple[str, Purpose]] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)

    def may(self, person: str, purpose: Purpose) -> bool:
        return self.policy and any(
            each.purpose is purpose
            and not each.withdrawn
            and self.now < each.signed + TERM
            and each.signed > self.satisfied.get((person, purpose), NEVER)
            for each in self.releases[person]
        )

    def sweep(self, person: str) -> None:
        """After an event that ends a basis, what has none left is destroyed."""
        for identifier_id, (owner, purpose) in self.identifiers.items():
            if owner == person and not self.may(owner, purpose):
                self.destroyed.add(identifier_id)


@settings(max_examples=60)
@given(st.lists(EVENTS, min_size=5, max_size=30))
def test_nobody_gets_more_than_the_oracle_allows(events: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), events))


async def _live(folder: Path, events: list[tuple[object, ...]]) -> None:
    clock = Clock()
    stack = await start(folder, clock)
    model = Model(clock.now)
    photo_id = ""
    for event in events:
        model.changes += event[0] in {"policy", "notice", "deliver", "release", "consent", "withdraw", "satisfied"}
        match event:
            case ("policy",):
                await stack.policy()
                model.policy = True
                photo_id = photo_id or await _photo(stack)
            case ("notice", Purpose() as purpose):
                await stack.notice(str(purpose).lower().replace("_", "-"), [purpose])
            case ("deliver", str(person), Purpose() as purpose):
                await _deliver(stack, model, person, purpose)
            case ("release", str(person), Purpose() as purpose):
                await _release(stack, model, person, purpose)
            case ("consent", str(person), Purpose() as purpose):
                await stack.notice(str(purpose).lower().replace("_", "-"), [purpose])
                await _deliver(stack, model, person, purpose)
                await _release(stack, model, person, purpose)
            case ("withdraw", str(person), purpose):
                await _withdraw(stack, model, person, purpose)
            case ("satisfied", str(person), Purpose() as purpose):
                await _satisfy(stack, model, person, purpose)
            case ("check", str(person), Purpose() as purpose):
                await _check(stack, model, person, purpose, photo_id)
            case ("enroll", str(person), Purpose() as purpose):
                await _enroll(stack, model, person, purpose)
            case ("open", int(which)):
                await _open(stack, model, which)
            case ("compare", int(which)):
                await _compare(stack, model, which)
            case ("forward", int(seconds)):
                clock.forward(seconds=seconds)
                model.now = clock.now
            case _:
                await stack.running.aclose()
                notices = stack.notices
                stack = await start(folder, clock, create=False)
                stack.notices = notices
    assert differences(stack.running.folders.ledger) == []
    await stack.running.aclose()


async def _photo(stack: Stack) -> str:
    uploaded = await stack.upload(PICTURE.read_bytes())
    assert uploaded.photo is not None
    return uploaded.photo.photo_id


def _notice(purpose: Purpose) -> str:
    return str(purpose).lower().replace("_", "-")


async def _deliver(stack: Stack, model: Model, person: str, purpose: Purpose) -> None:
    if _notice(purpose) in stack.notices:
        model.delivered[person, purpose] = await stack.deliver(person, _notice(purpose))


async def _release(stack: Stack, model: Model, person: str, purpose: Purpose) -> None:
    delivery_id = model.delivered.get((person, purpose), "dlv_none")
    try:
        released = await stack.release(person, delivery_id, _notice(purpose), [purpose])
    except (ConsentryError, KeyError):
        return  # no notice, no delivery, or the delivery was of an older version: nothing was released
    model.releases[person].append(Given(purpose, released.release.release_id, model.now))


async def _withdraw(stack: Stack, model: Model, person: str, purpose: object) -> None:
    for each in model.releases[person]:
        if purpose in (None, each.purpose) and not each.withdrawn:
            await stack.withdraw(person, each.release_id)
            each.withdrawn = True
            model.sweep(person)


async def _satisfy(stack: Stack, model: Model, person: str, purpose: Purpose) -> None:
    try:
        await stack.tenant.registry.purpose_satisfied(COLLECTOR, person, frozenset({purpose}), None, None)
    except ConsentryError:
        return  # nobody has named this person yet
    model.satisfied[person, purpose] = model.now
    model.sweep(person)


async def _check(stack: Stack, model: Model, person: str, purpose: Purpose, photo_id: str) -> None:
    checked = await stack.check(face(person), purpose=purpose, photo_id=photo_id)
    assert (checked.decision.outcome is Outcome.ALLOW) == model.may(person, purpose)
    assert bool(checked.permit) == model.may(person, purpose)
    if checked.permit and photo_id:
        model.permits.append((checked.permit, person, purpose, model.now, photo_id, model.changes))


async def _enroll(stack: Stack, model: Model, person: str, purpose: Purpose) -> None:
    checked = await stack.check(face(person), purpose=purpose, sha256=b"\x03" * 32)
    assert bool(checked.permit) == model.may(person, purpose)
    if checked.permit:
        stored = await stack.store_identifier(checked.permit, template=f"{person} {purpose}".encode())
        assert stored.identifier is not None
        model.identifiers[stored.identifier.identifier_id] = (person, purpose)


async def _open(stack: Stack, model: Model, which: int) -> None:
    if not model.permits:
        return
    permit, person, purpose, issued, photo_id, changes = model.permits[which % len(model.permits)]
    allowed = model.may(person, purpose) and model.now < issued + PERMIT_LIFE
    try:
        opened = await stack.open_photo(permit, photo_id)
    except ConsentryError:
        assert not allowed or model.changes != changes  # another basis needs another permit
    else:
        assert allowed
        assert opened == PICTURE.read_bytes()


async def _compare(stack: Stack, model: Model, which: int) -> None:
    if not model.identifiers:
        return
    identifier_id = list(model.identifiers)[which % len(model.identifiers)]
    person, purpose = model.identifiers[identifier_id]
    checked = await stack.check(face(person), operation=Operation.VERIFY, purpose=purpose, sha256=b"\x04" * 32)
    assert bool(checked.permit) == model.may(person, purpose)
    if not checked.permit:
        return
    try:
        template = await stack.open_identifier(checked.permit, identifier_id)
    except ConsentryError:
        assert identifier_id in model.destroyed
    else:
        assert identifier_id not in model.destroyed
        assert template == f"{person} {purpose}".encode()
