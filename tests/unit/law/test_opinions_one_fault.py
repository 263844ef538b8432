"""The same readers over worlds in which everything is right but one thing, each thing in turn."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from consentry_server.core.vocabulary import (
    ConsentScope,
    Consideration,
    DataCategory,
    Operation,
    Outcome,
    Purpose,
    Relationship,
    SourceKind,
)
from tests.unit.law.faults import DELIVERY_FAULTS, NOTICE_FAULTS, RELEASE_FAULTS
from tests.unit.law.test_opinions import KINDS, LAWS, MARKED, VENUES, Law, ask, living_in, opinion_on
from tests.unit.law.worlds import (
    PERMITS,
    World,
    make_delivery,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

QUESTIONS = [
    *MARKED,
    (Operation.EXTRACT_TEMPLATE, Purpose.TAGGING, DataCategory.PHOTO),
    (Operation.VERIFY, Purpose.SECURE_ACCESS, DataCategory.FINGERPRINT),
    (Operation.STORE, Purpose.TAGGING, DataCategory.FACE_TEMPLATE),
]
FAULTS: list[tuple[str, Any]] = [
    ("", {}),
    *(("notice", changes) for changes, _ in NOTICE_FAULTS),
    *(("delivery", changes) for changes, _ in DELIVERY_FAULTS),
    *(("release", changes) for changes, _ in RELEASE_FAULTS),
    ("release", {"explicit": False}),
    *(("request", {fact: True}) for fact in VENUES),
    ("request", {"source_kind": SourceKind.SCRAPED}),
    ("request", {"consideration": Consideration.VALUE}),
    ("subject", {"releases": ()}),
    ("subject", {"relationship": Relationship.EMPLOYEE}),
    *(("without", kind) for kind in KINDS),
]
AGAINST = {"NONBIOMETRIC", "CO_STORAGE_UNNECESSARY", "TX_AI_TRAINING", "TX_SECURITY", "WA_SECURITY"}
"""Determinations that take something out of a law, or restrict: not on record in a world where a consent carries it."""


def world(question: tuple[Operation, Purpose, DataCategory], part: str, changes: Any, *, necessary: bool) -> World:
    operation, purpose, category = question
    spoil = {part: changes}
    purposes = frozenset({purpose})
    categories = frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE, category})
    notice = make_notice(**{"purposes": purposes, "categories": categories, **spoil.get("notice", {})})
    scopes = frozenset({ConsentScope.TRAIN} if operation is Operation.TRAIN_MODEL else ()) | {ConsentScope.COLLECT}
    right = {"purposes": purposes, "categories": categories, "scopes": scopes}
    release = make_release(**{**right, **spoil.get("release", {})})
    delivery = make_delivery(**spoil.get("delivery", {}))
    subject = make_subject(**{"deliveries": (delivery,), "releases": (release,), **spoil.get("subject", {})})
    loosening = {"NECESSARY_FOR_SERVICE", "WA_OPT_OUT_MECHANISM", "REASONABLE_NECESSITY", "LEGAL_COMPLIANCE"}
    gone = AGAINST | (set() if necessary else loosening) | ({str(changes)} if part == "without" else set())
    on_record = tuple(
        make_determination(kind, determination_id=kind, operations=frozenset({operation}), purposes=purposes)
        for kind in KINDS
        if str(kind) not in gone
    )
    request = make_request(
        operation, purpose=purpose, category=category, **{"stored": True, **spoil.get("request", {})}
    )
    return World(request, named(subject), make_tenant(notice, determinations=on_record))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.pack_id}-{law.region}")
def test_one_fault_that_the_reader_sees_is_seen_by_the_pack(law: Law) -> None:
    seen: Counter[str] = Counter()
    for question in QUESTIONS:
        for part, changes in FAULTS:
            for necessary in (True, False):
                there = living_in(world(question, part, changes, necessary=necessary), law.region)
                opinion = opinion_on(law, there)
                for alone in (True, False):
                    outcome = ask(there, law, alone=alone).outcome
                    why = (question, part, changes, necessary, alone, outcome)
                    assert opinion != "BAN" or outcome is Outcome.DENY, why
                    assert opinion != "BLOCK" or outcome not in PERMITS, why
                    seen[opinion if opinion == "CLEAR" else "forbidden"] += 1
                    seen["allowed"] += outcome is Outcome.ALLOW
    assert seen["CLEAR"]
