"""Whole tables, cell by cell, against the second opinion: operations on categories, and determinations."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from consentry_server.core.record.facts import Face
from consentry_server.core.vocabulary import (
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
    SourceKind,
)
from tests.unit.law.oracle import Answer, illinois, needed, what_is_it
from tests.unit.law.worlds import (
    HOUSE,
    IL,
    ILLINOIS,
    NOW,
    STRANGER,
    ask,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

OHIO = frozenset({"US-OH"})
FACTS = (None, True, False)
QUIET: dict[str, Any] = {"identifies": False, "stored": False, "linked_identity": False}
PURPOSES = frozenset({Purpose.TAGGING, Purpose.SAFETY_MODERATION})
TENANT = make_tenant(make_notice(purposes=PURPOSES, categories=frozenset(DataCategory)))
NOT_LEAVING = [
    op for op in Operation if op not in {Operation.DISCLOSE, Operation.SELL, Operation.LEASE, Operation.TRADE}
]
HOUSE_ASKS_MORE = {Operation.DISPLAY, Operation.TRAIN_MODEL, *(set(Operation) - set(NOT_LEAVING))}


def released(categories: frozenset[DataCategory], regions: frozenset[str]) -> Face:
    release = make_release(purposes=PURPOSES, categories=categories, scopes=frozenset(ConsentScope))
    return named(make_subject(regions=regions, releases=(release,)))


def cells(operation: Operation, purpose: Purpose) -> list[Any]:
    """Requests of one operation with every category and the facts that may matter."""
    return [
        make_request(
            operation,
            purpose=purpose,
            category=category,
            uses_face_geometry=geometry,
            identifies=identifies,
            stored=stored,
            linked_identity=linked,
            consideration=Consideration.NONE,
        )
        for category, geometry, identifies, (stored, linked) in product(
            DataCategory, FACTS, FACTS, ((None, None), (True, None), (None, True), (False, False))
        )
    ]


KINDS = {
    "identifier": Outcome.DENY,
    "unsure": Outcome.REVIEW,
    "photo": Outcome.ALLOW_NONBIOMETRIC,
    "other": Outcome.DENY,
}


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_what_illinois_regulates(operation: Operation, purpose: Purpose) -> None:
    """740 ILCS 14/10, for a stranger and for somebody who released everything, or the geometry alone."""
    whole = released(frozenset(DataCategory), ILLINOIS)
    geometry = released(frozenset({DataCategory.FACE_GEOMETRY}), ILLINOIS)
    sale = operation in {Operation.SELL, Operation.LEASE, Operation.TRADE, Operation.DISCLOSE}
    for request in cells(operation, purpose):
        assert ask(request, STRANGER, TENANT, packs=(IL,)).outcome is KINDS[what_is_it(request, STRANGER)], request
        kind = what_is_it(request, whole)
        if kind in {"identifier", "unsure"} and not sale:
            assert ask(request, whole, TENANT, packs=(IL,)).outcome is Outcome.ALLOW, request
            enough = "FACE_GEOMETRY" in needed(request)
            assert (ask(request, geometry, TENANT, packs=(IL,)).outcome is Outcome.ALLOW) is enough, request
        elif kind in {"photo", "other"}:
            assert ask(request, whole, TENANT, packs=(IL,)).outcome is KINDS[kind], request


@pytest.mark.parametrize("operation", [op for op in Operation if op not in HOUSE_ASKS_MORE])
@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_the_house_baseline_regulates_what_illinois_does_and_more(operation: Operation, purpose: Purpose) -> None:
    whole = released(frozenset(DataCategory), OHIO)
    geometry = released(frozenset({DataCategory.FACE_GEOMETRY}), OHIO)
    stranger = Face(None, regions=OHIO)
    for request in cells(operation, purpose):
        kind = what_is_it(request, stranger)
        assert ask(request, stranger, TENANT, unknown=OHIO).outcome is KINDS[kind], request
        mine = what_is_it(request, whole)
        expected = Outcome.ALLOW_NONBIOMETRIC if mine == "photo" else Outcome.ALLOW
        assert ask(request, whole, TENANT).outcome is expected, request
        if mine in {"identifier", "unsure"}:
            enough = "FACE_GEOMETRY" in needed(request)
            assert (ask(request, geometry, TENANT).outcome is Outcome.ALLOW) is enough, request


@pytest.mark.parametrize("operation", sorted(HOUSE_ASKS_MORE - {Operation.DISPLAY}))
def test_where_no_pack_answers_nothing_biometric_leaves_or_trains_without_consent(operation: Operation) -> None:
    stranger = Face(None, regions=OHIO)
    for request in cells(operation, Purpose.SAFETY_MODERATION):
        if what_is_it(request, stranger) != "photo":
            assert ask(request, stranger, TENANT, unknown=OHIO).outcome in {Outcome.DENY, Outcome.REVIEW}, request
        if operation is not Operation.TRAIN_MODEL and what_is_it(request, stranger) == "identifier":
            assert ask(request, released(frozenset(DataCategory), OHIO), TENANT).outcome is Outcome.DENY, request


def outcomes(opinion: Answer) -> set[Outcome]:
    return {
        "ALLOW": {Outcome.ALLOW},
        "NONBIOMETRIC": {Outcome.ALLOW_NONBIOMETRIC},
    }.get(opinion, {Outcome.DENY, Outcome.REVIEW})


VARIANTS: dict[str, dict[str, Any]] = {
    "named": {},
    "any operation": {"operations": frozenset()},
    "any purpose": {"purposes": frozenset()},
    "anything": {"operations": frozenset(), "purposes": frozenset()},
    "about this person": {"subject_ref": "sub-anna"},
    "this algorithm": {"algorithm_id": "algo", "algorithm_version": "1"},
    "this algorithm, any operation": {
        "algorithm_id": "algo",
        "algorithm_version": "1",
        "operations": frozenset(),
        "purposes": frozenset(),
    },
    "no version": {"algorithm_id": "algo"},
    "no algorithm": {"algorithm_version": "1"},
}
MOODS: list[dict[str, Any]] = [
    {},
    QUIET,
    {**QUIET, "uses_face_geometry": False},
    {**QUIET, "uses_face_geometry": True},
    {**QUIET, "stored": True},
    {**QUIET, "source_kind": SourceKind.ON_DEVICE},
    {**QUIET, "source_kind": SourceKind.ON_DEVICE, "stored": None},
    {**QUIET, "recipient_id": "vendor", "source_kind": SourceKind.ON_DEVICE},
    {**QUIET, "linked_identity": None},
    {"identifies": None, "uses_face_geometry": None, "stored": False, "linked_identity": False},
    {"identifies": True, "stored": False, "linked_identity": False},
]
CATEGORIES = (
    DataCategory.PHOTO,
    DataCategory.GOV_ID_IMAGE,
    DataCategory.IMAGE_HASH,
    DataCategory.FACE_TEMPLATE,
    DataCategory.FACE_GEOMETRY,
    DataCategory.FINGERPRINT,
)
WHY = (Purpose.SAFETY_MODERATION, Purpose.IDENTIFICATION, Purpose.HEALTH_CARE)


@pytest.mark.parametrize("kind", list(DeterminationKind))
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_what_a_determination_reaches(kind: DeterminationKind, variant: str) -> None:
    """740 ILCS 14/10 and 14/25, Zellmer, Martell, Barnett: for a stranger and for somebody who signed nothing."""
    unsigned = named(make_subject(releases=()))
    unlinked = replace(unsigned, known_by=KnownBy.UNKNOWN)
    ohio = Face(None, regions=OHIO)
    moods = MOODS if variant in {"named", "this algorithm"} else [MOODS[1], MOODS[5], MOODS[9]]
    for operation, category, purpose, mood in product(Operation, CATEGORIES, WHY, moods):
        request = make_request(
            operation,
            category=category,
            purpose=purpose,
            algorithm_id="algo",
            algorithm_version="1",
            consideration=Consideration.NONE,
            **mood,
        )
        scope: dict[str, Any] = {"operations": frozenset({operation}), "purposes": frozenset({purpose})}
        found = make_determination(kind, **{**scope, **VARIANTS[variant]})
        tenant = make_tenant(determinations=(found,))
        for face in (STRANGER, unsigned) if mood else (STRANGER, unsigned, unlinked):
            opinion = illinois(request, face, tenant, NOW)
            assert ask(request, face, tenant, packs=(IL,)).outcome in outcomes(opinion), (request, face)
        if operation in HOUSE_ASKS_MORE:
            continue
        baseline = ask(request, ohio, tenant, packs=(HOUSE,), unknown=OHIO).outcome
        if kind is not DeterminationKind.NONBIOMETRIC:
            tenant = replace(tenant, determinations=())
        opinion = illinois(request, ohio, tenant, NOW)
        assert baseline in outcomes(opinion), request
