"""A remembered plan may depend on nothing but its key: every question says which circumstances it looks at."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from consentry_server.core.law.circumstances import NOT_ASKED, Circumstances, one_of
from consentry_server.core.law.lookup import Lookup
from consentry_server.core.record.facts import OperationRequest
from consentry_server.core.vocabulary import DataCategory, DisclosureBasis, Operation, Outcome, Purpose
from tests.unit.law.worlds import HOUSE, IL, NOW, UNKNOWN_REGIONS, ask, make_request, make_tenant, named

NOTHING: dict[str, Any] = dict.fromkeys(Circumstances._fields, NOT_ASKED)
VALUES: dict[str, tuple[Any, ...]] = {
    "operation": (Operation.DETECT_FACES, Operation.STORE, Operation.SELL),
    "category": (DataCategory.PHOTO, DataCategory.GOV_ID_IMAGE),
    "disclosure_basis": tuple(DisclosureBasis),
    "has_recipient": (True, False),
    "stored": (None, True, False),
    "linked_identity": (None, True, False),
    "named": (True, False),
}
FACTS: dict[str, frozenset[Any]] = {
    "leaves": frozenset({True}),
    "keeps": frozenset({True}),
    "linked": frozenset({None}),
}


@pytest.mark.parametrize("fact", sorted(FACTS))
def test_what_follows_from_facts_looks_at_what_it_says_and_at_nothing_else(fact: str) -> None:
    question = one_of(fact, FACTS[fact])
    for values in product(*(VALUES[name] for name in sorted(question.reads))):
        question.holds(Circumstances(**NOTHING | dict(zip(sorted(question.reads), values, strict=True))))


def test_looking_at_what_nobody_named_fails_instead_of_answering() -> None:
    for name in ("purpose", "leaves", "keeps", "linked"):
        with pytest.raises(TypeError):
            one_of(name, frozenset({True, Purpose.TAGGING})).holds(Circumstances(**NOTHING))


@pytest.mark.parametrize(
    ("stored", "kept"), [(None, True), (True, True), (False, False)], ids=["unknown", "stored", "not stored"]
)
def test_what_may_be_kept_counts_as_kept(stored: bool | None, kept: bool) -> None:
    facts = NOTHING | {"operation": Operation.EXTRACT_TEMPLATE, "stored": stored}
    assert Circumstances(**facts).keeps is kept
    assert Circumstances(**facts | {"operation": Operation.ENROLL}).keeps


def test_every_fact_of_the_request_that_a_pack_looks_at_makes_another_docket() -> None:
    lookup, tenant = Lookup((IL, HOUSE), UNKNOWN_REGIONS), make_tenant()
    request = make_request()
    dockets = {
        id(lookup.docket(asked, tenant, NOW))
        for asked in (
            request,
            make_request(stored=True),
            make_request(stored=False),
            make_request(uses_face_geometry=True),
            make_request(recipient_id="vendor"),
            make_request(purpose=Purpose.RESEARCH),
            make_request(disclosure_basis=DisclosureBasis.CONSENT),
        )
    }
    assert len(dockets) == 7
    again: OperationRequest = make_request()
    assert lookup.docket(again, tenant, NOW) is lookup.docket(request, tenant, NOW)


def test_what_is_remembered_is_bounded_and_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ask()
    monkeypatch.setattr("consentry_server.core.law.lookup.REMEMBERED", 3)
    tenant, face = make_tenant(), named()
    lookup = Lookup((IL, HOUSE), UNKNOWN_REGIONS)
    for operation in Operation:
        request = make_request(operation)
        lookup.plan(lookup.docket(request, tenant, NOW), request, face)
    assert len(lookup._dockets) <= 4
    assert ask() == before
    assert before.outcome is Outcome.ALLOW
