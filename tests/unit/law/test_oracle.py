"""The product's Illinois against a second opinion that shares no code with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import event, given, settings

from consentry_server.core.law.situation import VENUES
from consentry_server.core.record.facts import Face
from consentry_server.core.vocabulary import Outcome
from tests.unit.law.oracle import illinois
from tests.unit.law.worlds import IL, NOW, PACKS, PERMITS, World, worlds

EXPECTED = {"ALLOW": {Outcome.ALLOW}, "NONBIOMETRIC": {Outcome.ALLOW_NONBIOMETRIC}}


def without_later_facts(face: Face) -> Face:
    """The face without what the Act says nothing of; all of it only restricts."""
    if face.subject is None:
        return face
    subject = replace(
        face.subject, withdrawals=(), unnecessary=(), opt_outs=(), outgrown_at=None, adult_since=None, child_index=-1
    )
    return replace(face, subject=subject)


@settings(max_examples=1500)
@given(world=worlds())
def test_illinois_alone_answers_exactly_as_the_statute_read_by_another(world: World) -> None:
    nowhere: dict[str, Any] = dict.fromkeys(VENUES)  # a venue would bring another state's law along
    request = replace(world.request, **nowhere)
    plain = replace(world, request=request, face=without_later_facts(world.face))
    opinion = illinois(request, plain.face, world.tenant, NOW)
    decision = plain.ask(packs=(IL,))
    event(opinion)
    assert world.ask(packs=(IL,)).outcome.strictness >= decision.outcome.strictness or opinion == "NONBIOMETRIC"
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
