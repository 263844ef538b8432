"""Public statements and refusals: they deny what they exclude, and nothing becomes looser by recording one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.law import Decision
from consentry_server.core.law.narrowing import excludes
from consentry_server.core.law.own import load_own
from consentry_server.core.record.house import Refusal, Statement, algorithm_name
from consentry_server.core.vocabulary import (
    ConsentScope,
    DataCategory,
    DeterminationKind,
    Operation,
    Outcome,
    Purpose,
    Visibility,
)
from tests.unit.law.test_own import HEAD, SCOPE
from tests.unit.law.worlds import (
    HASH,
    NOW,
    PACKS,
    PERMITS,
    STRANGER,
    World,
    ask,
    codes,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
    worlds,
)

SAID = datetime(2023, 9, 1, tzinfo=UTC)


def make_statement(**changes: Any) -> Statement:
    """ "Just public data, not DMs or anything private" (statutes.md 10.1), about training."""
    made = Statement(
        statement_id="sta_1",
        index=50,
        time=NOW,
        stated_at=SAID,
        operations=frozenset({Operation.TRAIN_MODEL}),
        text_sha256=HASH,
        only_visibilities=frozenset({Visibility.PUBLIC}),
        excluded_categories=frozenset({DataCategory.MESSAGE_CONTENT}),
    )
    return replace(made, **changes)


def statements() -> st.SearchStrategy[Statement]:
    return st.builds(
        make_statement,
        operations=st.frozensets(st.sampled_from(Operation), min_size=1),
        purposes=st.frozensets(st.sampled_from(Purpose), max_size=3),
        only_visibilities=st.frozensets(st.sampled_from([v for v in Visibility if v is not Visibility.UNKNOWN])),
        excluded_categories=st.frozensets(st.sampled_from(DataCategory)),
    )


def refusal_of(decision: Decision, world: World) -> Refusal:
    """A refusal of the question that the first face raises."""
    request = world.request
    return Refusal(
        review_id="rev_1",
        index=50,
        time=NOW,
        operation=request.operation,
        purpose=request.purpose,
        category=request.category,
        rules=frozenset(f"{reason.rule_id}:{reason.code}" for reason in decision.faces[0].reasons),
        algorithm=algorithm_name(request.algorithm_id, request.algorithm_version),
    )


@settings(max_examples=400)
@given(world=worlds(), said=st.lists(statements(), min_size=1, max_size=3), visibility=st.sampled_from(Visibility))
def test_recording_a_statement_never_loosens_and_denies_exactly_what_it_excludes(
    world: World, said: list[Statement], visibility: Visibility
) -> None:
    world = replace(world, request=replace(world.request, visibility=visibility))
    before = world.ask()
    for count in range(1, len(said) + 1):
        after = replace(world, tenant=replace(world.tenant, statements=tuple(said[:count]))).ask()
        assert after.outcome.strictness >= before.outcome.strictness
        if any(excludes(each, world.request) for each in said[:count]):
            assert after.outcome is Outcome.DENY
            assert "PUBLIC_STATEMENT" in codes(after)
            face = after.faces[0]
            assert (face.basis, face.obligations, face.release_ids, face.determination_ids) == ((), (), (), ())
        else:
            assert after == before


def waiting() -> list[World]:
    """Everything near the decided cases that waits for a person: Daichendt, Martell, and faces found in a photo."""
    grid = product(
        (Operation.CHECK_QUALITY, Operation.DETECT_FACES, Operation.HASH_IMAGE),
        (Purpose.PHOTO_COMPLIANCE_CHECK, Purpose.CSAM_NSFW_HASH_MATCH),
        (DataCategory.PHOTO, DataCategory.IMAGE_HASH),
        (True, False, None),
        (False, None),
        (False, None),
        (("", ""), ("align", "2")),
        (STRANGER, named(make_subject(releases=()))),
    )
    found = []
    for operation, purpose, category, geometry, identifies, kept, algorithm, face in grid:
        request = make_request(
            operation,
            purpose=purpose,
            category=category,
            uses_face_geometry=geometry,
            identifies=identifies,
            stored=kept,
            linked_identity=False,
            algorithm_id=algorithm[0],
            algorithm_version=algorithm[1],
        )
        found.append(World(request, face, make_tenant()))
    return [world for world in found if world.ask().outcome is Outcome.REVIEW]


def test_a_refusal_denies_its_own_question_and_touches_nothing_else() -> None:
    worlds_found = waiting()
    assert len(worlds_found) > 40
    for world in worlds_found:
        before = world.ask()
        own = refusal_of(before, world)
        unrelated = (
            replace(own, purpose=Purpose.RESEARCH),
            replace(own, category=DataCategory.GAIT),
            replace(own, operation=Operation.STORE),
            replace(own, algorithm=own.algorithm + "x"),
            replace(own, rules=own.rules | {"ANOTHER-RULE:CODE"}),
        )
        assert replace(world, tenant=replace(world.tenant, refusals=unrelated)).ask() == before
        after = replace(world, tenant=replace(world.tenant, refusals=(*unrelated, own))).ask()
        assert after.outcome is Outcome.DENY
        assert after.reasons[0].code == "REVIEW_REFUSED"
        assert after.reasons[1:] == before.reasons


@settings(max_examples=200)
@given(world=worlds())
def test_a_refusal_touches_no_answer_that_does_not_wait(world: World) -> None:
    before = world.ask()
    assume(before.outcome is not Outcome.REVIEW)
    refused = replace(refusal_of(before, world), rules=frozenset())
    assert replace(world, tenant=replace(world.tenant, refusals=(refused,))).ask() == before


@pytest.mark.parametrize("more", [{"US-TX"}, {"US-OH"}, {"CH", "US"}, set[str]()])
def test_what_is_refused_stays_denied_in_more_regions_and_under_more_packs(more: set[str]) -> None:
    for world in waiting():
        tenant = replace(world.tenant, refusals=(refusal_of(world.ask(), world),))
        wider = replace(world, tenant=tenant, request=replace(world.request, regions=frozenset(more)))
        for packs in (PACKS, (*PACKS, ASKS_MORE)):
            assert wider.ask(packs=packs).outcome is Outcome.DENY


ASKS_MORE = load_own(
    (
        HEAD + SCOPE + '[[rule]]\nid = "R"\ntitle = "R."\ncitation = "Acme"\nrequire = ["never"]\nalways = true\n'
    ).encode()
    + b'otherwise = "REVIEW"\n',
    name="acme.toml",
)

TRAINING = {
    "purposes": frozenset({Purpose.MODEL_TRAINING}),
    "categories": frozenset({DataCategory.PHOTO, DataCategory.FACE_GEOMETRY, DataCategory.MESSAGE_CONTENT}),
}


def train(said: tuple[Statement, ...], **changes: Any) -> Decision:
    """Training with everything released that a person can release."""
    release = make_release(**TRAINING, scopes=frozenset({ConsentScope.COLLECT, ConsentScope.TRAIN}))
    tenant = make_tenant(make_notice(**TRAINING), statements=said)
    request = make_request(
        Operation.TRAIN_MODEL,
        **{
            "purpose": Purpose.MODEL_TRAINING,
            "uses_face_geometry": True,
            "visibility": Visibility.PUBLIC,
            **changes,
        },
    )
    return ask(request, named(make_subject(releases=(release,))), tenant)


@pytest.mark.parametrize(
    ("changes", "denied"),
    [
        ({}, False),
        ({"visibility": Visibility.FOLLOWERS}, True),
        ({"visibility": Visibility.PRIVATE}, True),
        ({"visibility": Visibility.DIRECT_MESSAGE}, True),
        ({"visibility": Visibility.UNKNOWN}, True),
        ({"category": DataCategory.MESSAGE_CONTENT, "uses_face_geometry": None}, True),
    ],
)
def test_just_public_data_not_dms_or_anything_private(changes: dict[str, Any], denied: bool) -> None:
    """T-X3, statutes.md 10: the statement of about 2023-09-01 narrows what the policy of 2023-09-29 would let pass."""
    before, after = train((), **changes), train((make_statement(),), **changes)
    assert before.outcome in PERMITS or "MESSAGES_NOT_FOR_TRAINING" in codes(before)
    assert after.outcome is (Outcome.DENY if denied else before.outcome)
    if denied:
        reason = after.reasons[0]
        assert (reason.code, reason.rule_id) == ("PUBLIC_STATEMENT", "sta_1")
        assert reason.citation == "Public statement sta_1 of 2023-09-01"
        assert reason.remedy
        assert "public visibility alone" in reason.text


def test_it_speaks_of_training_and_of_nothing_else() -> None:
    tenant = make_tenant(statements=(make_statement(),))
    for operation in (Operation.EXTRACT_TEMPLATE, Operation.ENROLL, Operation.STORE):
        request = make_request(operation, visibility=Visibility.DIRECT_MESSAGE)
        assert ask(request, tenant=tenant) == ask(request)


def test_a_statement_permits_nothing_that_was_denied() -> None:
    """What is public is not consented: the words about public data let nobody train on a stranger's face."""
    request = make_request(Operation.TRAIN_MODEL, purpose=Purpose.MODEL_TRAINING, visibility=Visibility.PUBLIC)
    with_it = ask(request, STRANGER, make_tenant(statements=(make_statement(),)))
    assert with_it == ask(request, STRANGER)
    assert with_it.outcome is Outcome.DENY


def test_every_face_is_denied_and_keeps_what_else_it_lacks() -> None:
    tenant = make_tenant(statements=(make_statement(operations=frozenset({Operation.EXTRACT_TEMPLATE})),))
    decision = ask(tenant=tenant, faces=(named(), STRANGER, named()))
    assert [face.outcome for face in decision.faces] == [Outcome.DENY] * 3
    assert [reason.code for reason in decision.faces[0].reasons] == ["PUBLIC_STATEMENT"]
    assert decision.faces[1].reasons[0].code == "PUBLIC_STATEMENT"
    assert "FACE_UNIDENTIFIED" in {reason.code for reason in decision.faces[1].reasons}
    assert decision.faces[0].reasons is decision.faces[2].reasons


def test_what_cannot_be_narrowed_is_denied() -> None:
    class Broken:
        def __bool__(self) -> bool:
            return True

    tenant = make_tenant()
    object.__setattr__(tenant, "statements", Broken())
    decision = ask(tenant=tenant)
    assert decision.outcome is Outcome.DENY
    assert codes(decision) == {"RULE_FAILED"}


QUALITY = {"uses_face_geometry": True, "identifies": False, "stored": False, "linked_identity": False}


def test_a_refused_question_stays_denied_until_two_officers_determine_otherwise() -> None:
    request = make_request(
        Operation.CHECK_QUALITY,
        purpose=Purpose.PHOTO_COMPLIANCE_CHECK,
        algorithm_id="align",
        algorithm_version="2",
        **QUALITY,
    )
    world = World(request, STRANGER, make_tenant())
    waiting = world.ask()
    assert waiting.outcome is Outcome.REVIEW
    refused = replace(world.tenant, refusals=(refusal_of(waiting, world),))
    assert replace(world, tenant=refused).ask().outcome is Outcome.DENY
    newer = replace(request, algorithm_version="3")
    assert ask(newer, STRANGER, refused).outcome is Outcome.REVIEW
    made = make_determination(
        DeterminationKind.NONBIOMETRIC,
        operations=frozenset({Operation.CHECK_QUALITY}),
        purposes=frozenset({Purpose.PHOTO_COMPLIANCE_CHECK}),
        algorithm_id="align",
        algorithm_version="2",
    )
    for approved, allowed in (("", False), ("officer-b", True)):
        one = replace(refused, determinations=(replace(made, approved_by=approved),))
        assert (ask(request, STRANGER, one).outcome in PERMITS) is allowed
    revoked = replace(refused, determinations=(replace(made, revoked_index=60),))
    assert ask(request, STRANGER, revoked).outcome is Outcome.DENY


@settings(max_examples=200)
@given(world=worlds(), recipient=st.sampled_from(["cloud", "vendor"]))
def test_a_determination_about_one_recipient_reaches_no_other(world: World, recipient: str) -> None:
    assume(world.tenant.determinations)
    bound = replace(world.tenant.determinations[0], recipient_id=recipient)
    without = replace(world, tenant=replace(world.tenant, determinations=()))
    with_it = replace(world, tenant=replace(world.tenant, determinations=(bound,)))
    if world.request.recipient_id == recipient:
        assert with_it.ask().outcome is world.ask().outcome
    else:
        assert with_it.ask() == without.ask()


@settings(max_examples=200)
@given(world=worlds())
def test_a_revoked_determination_is_as_none(world: World) -> None:
    assume(world.tenant.determinations)
    revoked = tuple(replace(made, revoked_index=60) for made in world.tenant.determinations)
    without = replace(world, tenant=replace(world.tenant, determinations=()))
    assert replace(world, tenant=replace(world.tenant, determinations=revoked)).ask() == without.ask()
