"""The product's Illinois against a second opinion that shares no code with it."""

from __future__ import annotations

from hypothesis import event, given, settings

from consentry_server.core.vocabulary import Outcome
from tests.unit.law.oracle import illinois
from tests.unit.law.worlds import IL, NOW, PACKS, PERMITS, World, worlds

EXPECTED = {"ALLOW": {Outcome.ALLOW}, "NONBIOMETRIC": {Outcome.ALLOW_NONBIOMETRIC}}


@settings(max_examples=1500)
@given(world=worlds())
def test_illinois_alone_answers_exactly_as_the_statute_read_by_another(world: World) -> None:
    opinion = illinois(world.request, world.face, world.tenant, NOW)
    decision = world.ask(packs=(IL,))
    event(opinion)
    assert decision.outcome in EXPECTED.get(opinion, {Outcome.DENY, Outcome.REVIEW}), (opinion, decision)


@settings(max_examples=600)
@given(world=worlds())
def test_with_the_house_rules_nothing_is_permitted_that_the_statute_blocks(world: World) -> None:
    opinion = illinois(world.request, world.face, world.tenant, NOW)
    decision = world.ask(packs=PACKS)
    if opinion == "BLOCK":
        assert decision.outcome not in PERMITS
    if opinion == "NONBIOMETRIC":
        assert decision.outcome is not Outcome.ALLOW
