"""The FTC's lineage pack: its own cases, and what it must never do to another law's answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.law import load_pack, run_cases
from consentry_server.core.record.artifacts import ArtifactState
from consentry_server.core.vocabulary import DeterminationKind, Operation, Outcome, Purpose
from tests.unit.law.worlds import (
    PACKS,
    PERMITS,
    World,
    ask,
    codes,
    make_determination,
    make_request,
    make_tenant,
    pack_bytes,
    worlds,
)

FTC = load_pack(pack_bytes("us-ftc-lineage.toml"), name="us-ftc-lineage.toml")
WITH_FTC = (*PACKS, FTC)
STATES = st.sampled_from(ArtifactState)


@pytest.mark.parametrize("result", run_cases(FTC, WITH_FTC), ids=lambda result: result.id)
def test_case(result: object) -> None:
    assert getattr(result, "ok"), result  # noqa: B009 - a CaseResult


@settings(max_examples=300)
@given(world=worlds(), state=STATES)
def test_it_never_loosens_another_laws_answer(world: World, state: ArtifactState) -> None:
    there = replace(world, request=replace(world.request, artifact_state=state))
    assert there.ask(packs=WITH_FTC).outcome.strictness >= there.ask().outcome.strictness
    assert there.ask(packs=(FTC,)).outcome is Outcome.DENY  # it answers for no region


@settings(max_examples=300)
@given(world=worlds(), state=st.sampled_from([ArtifactState.TAINTED, ArtifactState.UNKNOWN]))
def test_nothing_is_permitted_on_an_artifact_that_is_tainted_or_unknown(world: World, state: ArtifactState) -> None:
    there = replace(world, request=replace(world.request, artifact_state=state))
    assert there.ask(packs=WITH_FTC).outcome is Outcome.DENY


@settings(max_examples=200)
@given(world=worlds())
def test_a_clean_artifact_permits_nothing_that_would_not_be_permitted_without_it(world: World) -> None:
    clean = replace(world, request=replace(world.request, artifact_state=ArtifactState.CLEAN))
    if world.request.operation is not Operation.SERVE_MODEL:
        assert clean.ask(packs=WITH_FTC).outcome is world.ask(packs=WITH_FTC).outcome
    assert clean.ask(packs=WITH_FTC).outcome.strictness >= world.ask().outcome.strictness


@settings(max_examples=300)
@given(world=worlds())
def test_no_watchlist_without_a_test_of_that_very_version(world: World) -> None:
    watching = replace(world, request=replace(world.request, purpose=Purpose.SECURITY_WATCHLIST))
    tested = [d for d in world.tenant.determinations if d.kind is DeterminationKind.ACCURACY_TESTED]
    if not tested or not world.request.algorithm_id or not world.request.algorithm_version:
        assert watching.ask(packs=WITH_FTC).outcome not in PERMITS


def test_a_test_of_the_algorithm_permits_nothing_by_itself() -> None:
    request = make_request(
        Operation.IDENTIFY, purpose=Purpose.SECURITY_WATCHLIST, algorithm_id="faces", algorithm_version="3"
    )
    tested = make_determination(
        DeterminationKind.ACCURACY_TESTED,
        operations=frozenset({Operation.IDENTIFY}),
        purposes=frozenset({Purpose.SECURITY_WATCHLIST}),
        algorithm_id="faces",
        algorithm_version="3",
    )
    decision = ask(request, tenant=make_tenant(determinations=(tested,)), packs=WITH_FTC)
    assert decision.outcome is Outcome.DENY
    assert "WATCHLIST_UNTESTED" not in codes(decision)
