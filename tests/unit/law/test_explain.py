"""An explanation never says something else than the decision: the slow evaluator against the fast one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.law import Pack, load_pack
from consentry_server.core.law.explain import agrees, explain
from consentry_server.core.law.requirements import CHAIN, PLAIN
from consentry_server.core.law.trace import Step, StepResult
from consentry_server.core.law.wording import MET, condition, met
from consentry_server.core.record.facts import Face, Tenant
from consentry_server.core.vocabulary import DeterminationKind, Operation, Outcome
from consentry_server.tenant import bundled_packs
from tests.unit.law.worlds import (
    ILLINOIS,
    NOW,
    PACKS,
    STRANGER,
    UNKNOWN_REGIONS,
    World,
    ask,
    days,
    make_determination,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
    refusal_of,
    worlds,
)

DATA = Path(__file__).parents[2] / "data" / "packs"
EVERY: tuple[Pack, ...] = (
    *(pack for pack, _ in bundled_packs()),
    *(load_pack(path.read_bytes(), name=path.name) for path in sorted(DATA.glob("*.toml"))),
)
"""What the build carries, and packs made up for tests."""
OWN: tuple[Pack, ...] = tuple(
    load_pack(path.read_bytes(), name=path.name, own=True) for path in sorted((DATA / "own").rglob("*.toml"))
)
"""Packs of a tenant's own, which can only restrict."""
SETS: dict[str, tuple[Pack, ...]] = {
    "Illinois and house": PACKS,
    "every pack": EVERY,
    "every pack and the tenant's own": (*EVERY, *OWN),
    "the tenant's own alone": OWN,
    "one": EVERY[:1],
    "without house packs": tuple(pack for pack in EVERY if not pack.everywhere),
    "none": (),
}


def walk(step: Step) -> Iterator[Step]:
    yield step
    for below in step.steps:
        yield from walk(below)


def same(
    world: World,
    packs: tuple[Pack, ...] = PACKS,
    unknown: frozenset[str] = ILLINOIS,
    faces: tuple[Face, ...] | None = None,
) -> None:
    asked = (world.face,) if faces is None else faces
    decision = ask(world.request, None, world.tenant, packs=packs, unknown=unknown, faces=asked)
    told = explain(world.request, asked, world.tenant, packs, now=NOW, unknown_regions=unknown)
    assert [face.outcome for face in told] == [face.outcome for face in decision.faces]
    assert [face.reasons for face in told] == [face.reasons for face in decision.faces]
    assert [face.basis for face in told] == [face.basis for face in decision.faces]
    assert [face.regions for face in told] == [face.regions for face in decision.faces]
    assert agrees(told, decision)
    for face in told:
        told_of = {step.rule_id for step in walk(face.step)} | {"ENGINE-NO-RULES", "ENGINE-RULE-FAILED"}
        assert {reason.rule_id for reason in face.reasons} <= told_of
        assert all(step.text for step in walk(face.step))


HOMES = st.sampled_from(
    [frozenset({"US-IL"})] * 3
    + [frozenset(), frozenset({"US"}), frozenset({"DE"}), frozenset({"US-IL", "DE"}), frozenset({"US-NV"}),
       frozenset({"US-VA"}), frozenset({"US-CA"}), frozenset({"US-IL", "US-TX", "US-CA", "US-WA", "US-CO", "GB", "DE"})]
)  # fmt: skip


@settings(max_examples=200)
@given(HOMES.flatmap(worlds), st.sampled_from(sorted(SETS)))
def test_the_trace_comes_to_what_was_decided(world: World, packs: str) -> None:
    same(world, packs=SETS[packs], unknown=UNKNOWN_REGIONS)


@settings(max_examples=150)
@given(HOMES.flatmap(worlds), st.sampled_from(sorted(SETS)), st.booleans())
def test_a_refusal_is_traced_as_it_denies(world: World, packs: str, all_of_it: bool) -> None:
    """The question is the very one that the packs raise, or one part of it."""
    found = ask(world.request, None, world.tenant, packs=SETS[packs], unknown=UNKNOWN_REGIONS, faces=(world.face,))
    rules = sorted({f"{reason.rule_id}:{reason.code}" for reason in found.reasons})
    refused = refusal_of(world.request, frozenset(rules if all_of_it else rules[:1]))
    tenant = replace(world.tenant, refusals=(refusal_of(world.request, frozenset({"X:Y"})), refused))
    same(World(world.request, world.face, tenant), packs=SETS[packs], unknown=UNKNOWN_REGIONS)


def test_a_question_that_holds_the_refused_one_is_denied_in_both() -> None:
    request = make_request(Operation.DETECT_FACES, uses_face_geometry=None)
    tenant = make_tenant(policies=())
    rules = sorted({f"{reason.rule_id}:{reason.code}" for reason in ask(request, STRANGER, tenant).reasons})
    assert (ask(request, STRANGER, tenant).outcome, len(rules) > 1) == (Outcome.REVIEW, True)
    for part in (rules, rules[:1], rules[1:]):
        refused = replace(tenant, refusals=(refusal_of(request, frozenset(part)),))
        assert ask(request, STRANGER, refused).outcome is Outcome.DENY
        same(World(request, STRANGER, refused))
    other = replace(tenant, refusals=(refusal_of(request, frozenset({*rules, "X:Y"})),))
    assert ask(request, STRANGER, other).outcome is Outcome.REVIEW
    same(World(request, STRANGER, other))


def test_a_tenants_own_pack_answers_for_no_region_in_both() -> None:
    data = (DATA / "own" / "acme-minors.toml").read_bytes()
    changes = {
        b'is = "SILENT"': b'is = "REGULATED"',
        b"always = true": b'group = "consent"',
        b'that = "never"': b'that = "release.exists"',
        b'when = { ages = ["UNDER_13", "MINOR", "UNKNOWN"] }': b"",
    }
    for old, new in changes.items():
        assert old in data
        data = data.replace(old, new, 1)
    world = World(make_request(Operation.ENROLL), named(), make_tenant())
    for own, outcome in ((True, Outcome.DENY), (False, Outcome.ALLOW)):
        packs = (load_pack(data, name="acme.toml", own=own),)
        assert ask(world.request, world.face, world.tenant, packs=packs).outcome is outcome
        same(world, packs=packs)


@pytest.mark.parametrize("sheet", [sheet for pack in EVERY for sheet in pack.rows], ids=lambda each: min(each.regions))
def test_every_row_of_a_table_is_told(sheet: Pack) -> None:
    subject = make_subject(regions=sheet.regions)
    for operation in Operation:
        same(World(make_request(operation), named(subject), make_tenant()), packs=EVERY)


@settings(max_examples=40)
@given(worlds(), worlds(frozenset({"US-TX"})))
def test_faces_are_explained_each_by_itself(one: World, other: World) -> None:
    same(one, faces=(one.face, other.face, STRANGER), packs=EVERY)


@settings(max_examples=100)
@given(HOMES.flatmap(worlds), st.sampled_from(["policies", "determinations"]))
def test_what_cannot_be_evaluated_denies_in_both(world: World, broken: str) -> None:
    """A policy or a determination that cannot be compared with a time: the very questions fail."""
    tenant: Tenant = world.tenant
    if broken == "policies":
        tenant = replace(tenant, policies=tuple(replace(p, effective_time=None) for p in tenant.policies))  # type: ignore[arg-type]
    else:
        tenant = replace(tenant, determinations=tuple(replace(d, time=None) for d in tenant.determinations))  # type: ignore[arg-type]
    same(World(world.request, world.face, tenant), packs=EVERY)


@settings(max_examples=80)
@given(worlds())
def test_a_broken_release_fails_the_same_rules(world: World) -> None:
    subject = world.face.subject
    if subject is None or not subject.releases:
        return
    spoilt = replace(subject, releases=(replace(subject.releases[0], signed_at=None), *subject.releases[1:]))  # type: ignore[arg-type]
    same(World(world.request, replace(world.face, subject=spoilt), world.tenant))
    lost = replace(subject, releases=(None,))  # type: ignore[arg-type]
    same(World(world.request, replace(world.face, subject=lost), world.tenant))


def told(request: object = None, face: Face | None = None, tenant: Tenant | None = None) -> list[Step]:
    steps = explain(
        request or make_request(),  # type: ignore[arg-type]
        (face or named(),),
        tenant or make_tenant(),
        PACKS,
        now=NOW,
        unknown_regions=UNKNOWN_REGIONS,
        claimed={("sub-anna", "US-IL"): 17},
    )
    return list(walk(steps[0].step))


def rule(steps: list[Step], rule_id: str) -> Step:
    return next(step for step in steps if step.rule_id == rule_id)


def test_a_withdrawn_release_is_shown_where_it_stands() -> None:
    withdrawn = make_release(withdrawn_at=NOW - days(1), withdrawn_index=41)
    steps = told(face=named(make_subject(releases=(withdrawn,))))
    found = rule(steps, "IL-15B3-RELEASE")
    assert (found.result, found.outcome) == (StepResult.FALSE, Outcome.DENY)
    assert found.citation.startswith("740 ILCS 14/15(b)(3)")
    assert found.grade == "SECONDARY"
    missed = next(step for step in found.steps if step.result is StepResult.FALSE)
    assert (missed.text, missed.basis) == ("The release was withdrawn.", (30, 41))
    assert missed.remedy
    assert rule(steps, "IL-15B1-NOTICE").result is StepResult.TRUE or rule(steps, "IL-15B1-NOTICE").steps


def test_it_says_why_a_region_is_looked_at_and_by_which_entry() -> None:
    steps = told()
    assert next(step for step in steps if step.text.startswith("US-IL:")).basis == (17,)
    stranger = told(face=STRANGER)
    assert "one of the configured set" in next(step for step in stranger if step.text.startswith("US-TX:")).text


def test_an_exemption_names_its_determination() -> None:
    made = make_determination(DeterminationKind.GLBA_TITLE_V)
    steps = told(tenant=make_tenant(determinations=(made,)))
    found = rule(steps, "IL-EX-GLBA")
    assert (found.result, found.basis) == (StepResult.TRUE, (7, 8))
    assert rule(steps, "IL-15B3-RELEASE").result is StepResult.NOT_APPLICABLE
    assert rule(told(), "IL-EX-GLBA").result is StepResult.FALSE


def test_an_unknown_fact_is_said_to_be_unknown() -> None:
    steps = told(make_request(Operation.DETECT_FACES, uses_face_geometry=None), face=STRANGER)
    about = [step for step in steps if step.text.startswith("Face geometry is measured: not known")]
    assert about
    assert all(step.result is not StepResult.FALSE for step in about)


@pytest.mark.parametrize("that", sorted({*PLAIN, *CHAIN}))
def test_every_requirement_that_is_met_has_a_sentence(that: str) -> None:
    assert met(that).endswith(".")
    assert "_" not in met(that)


def test_no_sentence_is_left_of_a_requirement_that_is_gone() -> None:
    assert MET.keys() <= PLAIN.keys() | CHAIN.keys()


def test_conditions_are_told_with_what_they_met() -> None:
    when = next(row.when for row in PACKS[0].parts.scope if row.when is not None)
    from consentry_server.core.law.explain import _circumstances  # noqa: PLC0415 - what conditions see
    from consentry_server.core.law.situation import Moment  # noqa: PLC0415

    step = condition(when, _circumstances(Moment(make_request(), make_tenant(), NOW), named()))
    assert (step.result is StepResult.TRUE) == when.holds(
        _circumstances(Moment(make_request(), make_tenant(), NOW), named())
    )
    assert "asked for" in step.text


def test_worlds_that_are_rarely_drawn_agree_too() -> None:
    """Two releases that both carry it, an exemption of every kind, an operation that cannot be told."""
    two = make_subject(releases=(make_release(), make_release(release_id="rel_2", index=45)))
    same(World(make_request(), named(two), make_tenant()))
    for kind in DeterminationKind:
        for operation in Operation:
            request = make_request(
                operation, algorithm_id="algo", algorithm_version="1", stored=False, identifies=False
            )
            made = make_determination(
                kind,
                operations=frozenset({operation}),
                purposes=frozenset({request.purpose}),
                algorithm_id="algo",
                algorithm_version="1",
                subject_ref="sub-anna",
            )
            same(World(request, named(), make_tenant(determinations=(made,))))
            same(World(request, named(make_subject(releases=())), make_tenant(determinations=(made,))))
            same(World(request, STRANGER, make_tenant(determinations=(replace(made, subject_ref=""),))))
