"""What has to hold of every decision, whatever the facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.law import load_pack
from consentry_server.core.vocabulary import BIOMETRIC_CATEGORIES, REGIONS, DataCategory, KnownBy, Operation, Outcome
from tests.unit.law.worlds import (
    NOW,
    PACKS,
    PERMITS,
    STRANGER,
    World,
    ask,
    codes,
    named,
    pack_bytes,
    worlds,
)

TWO_LAWS = (*PACKS, load_pack(pack_bytes("us-il-bipa.toml").replace(b'"US-IL"', b'"US-TX"', 1), name="elsewhere.toml"))
SOME_REGIONS = st.sampled_from(["US-IL", "US-TX", "US-OH", "US", "DE", "EU", "CH"])
IMAGES = {DataCategory.PHOTO, DataCategory.VIDEO, DataCategory.GOV_ID_IMAGE, DataCategory.IMAGE_HASH}
KEEPS_A_PICTURE_A_PICTURE = {Operation.STORE, Operation.RETAIN, Operation.DISPLAY}


def with_subject(world: World, **changes: Any) -> World:
    assert world.face.subject is not None
    return replace(world, face=replace(world.face, subject=replace(world.face.subject, **changes)))


@settings(max_examples=300)
@given(world=worlds(), more=st.sets(SOME_REGIONS), where=st.sampled_from(["home", "face", "request"]))
def test_adding_a_region_never_loosens(world: World, more: set[str], where: str) -> None:
    before = world.ask(packs=TWO_LAWS)
    if where == "request":
        wider = replace(world, request=replace(world.request, regions=frozenset(more)))
    elif where == "face" or world.face.subject is None:
        wider = replace(world, face=replace(world.face, regions=world.face.regions | more))
    else:
        wider = with_subject(world, regions=world.face.subject.regions | more)
    assert wider.ask(packs=TWO_LAWS).outcome.strictness >= before.outcome.strictness


@settings(max_examples=300)
@given(world=worlds(regions=frozenset()), where=st.sets(SOME_REGIONS))
def test_where_the_residence_is_unknown_the_place_of_the_operation_never_replaces_the_unknown_set(
    world: World, where: set[str]
) -> None:
    unknown = frozenset({"US-IL", "US-TX"})
    before = world.ask(unknown=unknown, packs=TWO_LAWS)
    elsewhere = replace(world, request=replace(world.request, regions=frozenset(where)))
    assert elsewhere.ask(unknown=unknown, packs=TWO_LAWS).outcome.strictness >= before.outcome.strictness


@settings(max_examples=200)
@given(world=worlds(), stated=st.sets(SOME_REGIONS))
def test_stating_where_a_stranger_lives_never_loosens(world: World, stated: set[str]) -> None:
    unknown = frozenset({"US-IL", "US-TX"})
    before = replace(world, face=STRANGER).ask(unknown=unknown, packs=TWO_LAWS)
    after = replace(world, face=replace(STRANGER, regions=frozenset(stated))).ask(unknown=unknown, packs=TWO_LAWS)
    assert after.outcome.strictness >= before.outcome.strictness


@settings(max_examples=300)
@given(world=worlds(), data=st.data())
def test_removing_or_withdrawing_a_release_never_permits(world: World, data: st.DataObject) -> None:
    assume(world.face.subject is not None)
    assert world.face.subject is not None
    releases = world.face.subject.releases
    assume(releases)
    gone = data.draw(st.integers(0, len(releases) - 1))
    before = world.ask().outcome
    if before in PERMITS:
        return
    without = with_subject(world, releases=releases[:gone] + releases[gone + 1 :])
    assert without.ask().outcome not in PERMITS
    withdrawn = replace(releases[gone], withdrawn_at=NOW, withdrawn_index=99)
    assert (
        with_subject(world, releases=(*releases[:gone], withdrawn, *releases[gone + 1 :])).ask().outcome not in PERMITS
    )


@settings(max_examples=500)
@given(
    world=worlds(),
    fact=st.sampled_from(["uses_face_geometry", "identifies", "stored", "linked_identity"]),
    known=st.booleans(),
)
def test_an_unknown_fact_never_permits_what_a_known_one_does_not(world: World, fact: str, known: bool) -> None:
    # Keeping or showing a picture as a picture scans nothing unless the caller says that it does.
    picture = world.request.operation in KEEPS_A_PICTURE_A_PICTURE and fact in {"uses_face_geometry", "identifies"}
    assume(not picture)
    # Data that is no image and no identifier has no face in it, unless the caller says so.
    assume(fact != "uses_face_geometry" or world.request.category in IMAGES | BIOMETRIC_CATEGORIES)
    unset: dict[str, Any] = {fact: None}
    said: dict[str, Any] = {fact: known}
    if replace(world, request=replace(world.request, **unset)).ask().outcome in PERMITS:
        assert replace(world, request=replace(world.request, **said)).ask().outcome in PERMITS


@settings(max_examples=300)
@given(world=worlds())
def test_a_determination_never_stands_in_the_way(world: World) -> None:
    without = replace(world, tenant=replace(world.tenant, determinations=()))
    if without.ask().outcome in PERMITS:
        assert world.ask().outcome in PERMITS


@settings(max_examples=300)
@given(world=worlds())
def test_nothing_biometric_is_allowed_without_a_basis_on_record(world: World) -> None:
    decision = world.ask()
    if decision.outcome is Outcome.ALLOW:
        face = decision.faces[0]
        assert face.release_ids or face.determination_ids
        assert face.basis
        assert all(index >= 0 for index in face.basis)
    if decision.outcome not in PERMITS:
        assert decision.faces[0].basis == ()
        assert decision.faces[0].obligations == ()
        assert all(reason.citation and reason.text and reason.remedy for reason in decision.reasons)
    assert decision.reasons


@settings(max_examples=300)
@given(world=worlds(regions=frozenset({"US-IL", "US-OH"})))
def test_the_order_of_packs_changes_nothing(world: World) -> None:
    there = world.ask(packs=TWO_LAWS)
    back = world.ask(packs=tuple(reversed(TWO_LAWS)))
    assert there.outcome is back.outcome
    assert there.faces[0].basis == back.faces[0].basis
    assert set(there.reasons) == set(back.reasons)


@settings(max_examples=200)
@given(world=worlds(), other=worlds())
def test_each_face_is_decided_as_if_it_were_alone(world: World, other: World) -> None:
    together = ask(world.request, tenant=world.tenant, faces=(world.face, other.face, STRANGER))
    alone = [ask(world.request, face, world.tenant) for face in (world.face, other.face, STRANGER)]
    assert [f.outcome for f in together.faces] == [d.outcome for d in alone]
    assert together.outcome is max((d.outcome for d in alone), key=lambda o: o.strictness)
    assert [f.index for f in together.faces] == [0, 1, 2]


@settings(max_examples=300)
@given(world=worlds(), region=st.sampled_from(sorted(REGIONS - {"US-IL"})))
def test_where_no_pack_answers_the_house_is_never_looser_than_illinois(world: World, region: str) -> None:
    assume(not world.tenant.determinations)
    assume(world.tenant.entity_type == "PRIVATE_ENTITY")
    home = frozenset({region})
    away = replace(world, face=replace(world.face, regions=home if world.face.regions else frozenset()))
    if away.face.subject is not None:
        away = with_subject(away, regions=home)
    here, there = world.ask().outcome, away.ask(unknown=home).outcome
    if here not in PERMITS:
        assert there not in PERMITS


@pytest.mark.parametrize("known_by", list(KnownBy))
def test_only_an_unexplained_name_counts_as_no_name(known_by: KnownBy) -> None:
    decision = ask(face=named(known_by=known_by))
    assert (decision.outcome is Outcome.ALLOW) is (known_by is not KnownBy.UNKNOWN)
    assert ("FACE_LINK_UNKNOWN" in codes(decision)) is (known_by is KnownBy.UNKNOWN)
