"""The same faults on every way to a permission: what matters there closes it, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry_server.core.record.facts import SatisfiedPurpose, Term
from consentry_server.core.vocabulary import (
    AgeBand,
    ConsentScope,
    Consideration,
    DataCategory,
    DisclosureBasis,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
    SignerRole,
)
from tests.unit.law.faults import (
    BOTH,
    DELIVERY_FAULTS,
    DETECT,
    FACE,
    NOTICE_FAULTS,
    QUIET,
    RELEASE_FAULTS,
    disclosure,
)
from tests.unit.law.worlds import (
    ILLINOIS,
    NOW,
    STRANGER,
    ask,
    codes,
    days,
    make_delivery,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

_TRAINS = frozenset({Purpose.TAGGING, Purpose.MODEL_TRAINING})
_EVERYTHING = FACE | {DataCategory.EMPLOYMENT_HISTORY, DataCategory.PHOTO}
ROUTES: dict[str, tuple[Any, frozenset[str]]] = {
    "disclosure by consent": (disclosure(), ILLINOIS),
    "disclosure for a transaction": (
        disclosure(disclosure_basis=DisclosureBasis.FINANCIAL_TRANSACTION),
        ILLINOIS,
    ),
    "a processor": (make_request(recipient_id="vendor", consideration=Consideration.NONE), ILLINOIS),
    "keeping": (make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE), ILLINOIS),
    "no pack for the region": (make_request(), frozenset({"US-OH"})),
    "personal data": (make_request(Operation.PROCESS, category=DataCategory.EMPLOYMENT_HISTORY), ILLINOIS),
    "personal data that leaves": (
        make_request(Operation.DISCLOSE, category=DataCategory.EMPLOYMENT_HISTORY, recipient_id="vendor"),
        ILLINOIS,
    ),
    "training on photos": (
        make_request(Operation.TRAIN_MODEL, purpose=Purpose.MODEL_TRAINING, uses_face_geometry=False, identifies=False),
        ILLINOIS,
    ),
    "training for another purpose": (
        make_request(Operation.TRAIN_MODEL, category=DataCategory.FACE_TEMPLATE),
        ILLINOIS,
    ),
    "selling photos": (
        make_request(
            Operation.SELL,
            recipient_id="vendor",
            consideration=Consideration.VALUE,
            uses_face_geometry=False,
            identifies=False,
        ),
        ILLINOIS,
    ),
}
_ALL_SATISFIED = tuple(SatisfiedPurpose(purpose, 40, NOW) for purpose in Purpose)
_TOLD_ANOTHER = make_delivery(delivery_id="dlv_2", signer_role=SignerRole.REPRESENTATIVE, representative_ref="rep")
NO_TERM_ASKED = {"personal data", "personal data that leaves", "training on photos", "selling photos"}
ROUTE_FAULTS = (
    [("notice", changes, code) for changes, code in NOTICE_FAULTS]
    + [("delivery", changes, code) for changes, code in DELIVERY_FAULTS]
    + [("release", changes, code) for changes, code in RELEASE_FAULTS]
    + [
        ("notice", {"recipients": frozenset()}, "NOTICE_RECIPIENT"),
        ("release", {"recipients": frozenset()}, "RELEASE_RECIPIENT"),
        ("signing", datetime(2024, 8, 1, tzinfo=UTC), "RELEASE_ESIGN_DATE"),
        ("subject", {"age_band": AgeBand.MINOR}, "MINOR_SIGNED"),
        (
            "subject",
            {"satisfied": tuple(SatisfiedPurpose(purpose, 40, NOW) for purpose in Purpose)},
            "PURPOSE_SATISFIED",
        ),
        ("subject", {"releases": ()}, "RELEASE_MISSING"),
        ("subject", {"age_band": AgeBand.UNKNOWN, "deliveries": (make_delivery(), _TOLD_ANOTHER)}, "AGE_UNKNOWN"),
        ("notice", {"term": Term(duration=days(10))}, "TERM_OVER"),
        ("notice", {"purposes": frozenset({Purpose.TAGGING})}, "NOTICE_PURPOSE"),
        ("release", {"purposes": frozenset({Purpose.TAGGING})}, "RELEASE_PURPOSE"),
        ("notice", {"purposes": frozenset({Purpose.MODEL_TRAINING})}, "NOTICE_PURPOSE"),
        ("release", {"purposes": frozenset({Purpose.MODEL_TRAINING})}, "RELEASE_PURPOSE"),
        ("request", {"recipient_id": ""}, "RECIPIENT_MISSING"),
        ("face", {"subject": None}, "FACE_UNIDENTIFIED"),
        ("face", {"known_by": KnownBy.UNKNOWN}, "FACE_LINK_UNKNOWN"),
    ]
    + [("release", {"scopes": frozenset(ConsentScope) - {scope}}, "RELEASE_SCOPE") for scope in ConsentScope]
)


def travel(route: str, part: str = "", changes: Any = None) -> Any:
    """Decide one route, right in everything but one part."""
    request, regions = ROUTES[route]
    spoil: dict[str, Any] = {part: changes or {}}
    if part == "signing":
        spoil = {"delivery": {"occurred_at": changes}, "release": {"signed_at": changes}}
    purposes = _TRAINS
    notice = make_notice(
        **{
            "purposes": purposes,
            "categories": _EVERYTHING,
            "recipients": frozenset({"vendor"}),
            **spoil.get("notice", {}),
        }
    )
    release = make_release(
        **{
            "purposes": purposes,
            "categories": _EVERYTHING,
            "recipients": frozenset({"vendor"}),
            "scopes": frozenset(ConsentScope),
            **spoil.get("release", {}),
        }
    )
    delivery = make_delivery(**spoil.get("delivery", {}))
    request = replace(request, **spoil.get("request", {}))
    subject = make_subject(
        **{"regions": regions, "deliveries": (delivery,), "releases": (release,), **spoil.get("subject", {})}
    )
    face = replace(named(subject), **spoil.get("face", {}))
    return ask(request, face, make_tenant(notice), unknown=regions)


@pytest.mark.parametrize("route", list(ROUTES))
def test_each_way_to_a_permission_is_open_when_everything_is_right(route: str) -> None:
    assert travel(route).outcome in {Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC}


@pytest.mark.parametrize("region", ["US-IL", "US-OH"])
def test_a_picture_whose_use_is_unknown_is_not_sold(region: str) -> None:
    """With every consent there is; unknown face geometry counts as face geometry where data leaves for value."""
    request = replace(ROUTES["selling photos"][0], uses_face_geometry=None, consideration=Consideration.NONE)
    everything = make_release(
        purposes=_TRAINS, categories=_EVERYTHING, recipients=frozenset({"vendor"}), scopes=frozenset(ConsentScope)
    )
    notice = make_notice(purposes=_TRAINS, categories=_EVERYTHING, recipients=frozenset({"vendor"}))
    face = named(make_subject(regions=frozenset({region}), releases=(everything,)))
    assert ask(request, face, make_tenant(notice)).outcome is Outcome.DENY


def test_a_detector_said_to_use_no_geometry_needs_a_determination_everywhere() -> None:
    claimed = replace(DETECT, uses_face_geometry=False, **QUIET)
    decision = ask(claimed, STRANGER, unknown=frozenset({"US-OH"}))
    assert decision.outcome is Outcome.REVIEW
    assert "DETERMINATION_MISSING" in codes(decision)


def _matters(route: str, part: str, changes: Any, code: str) -> bool:
    """Whether this fault has to close this route; what does not matter there has to leave it open."""
    leaves = ROUTES[route][0].recipient_id != ""
    if code == "RECIPIENT_MISSING":  # a processor without a name is no processor
        return leaves and route != "a processor"
    if code in {"NOTICE_PURPOSE", "RELEASE_PURPOSE"}:
        request = ROUTES[route][0]
        trains = {Purpose.MODEL_TRAINING} if request.operation is Operation.TRAIN_MODEL else set()
        return not {request.purpose} | trains <= changes["purposes"]
    if code in {"NOTICE_TERM_MISSING", "NOTICE_COLLECTION"}:
        return route not in NO_TERM_ASKED
    if code == "RELEASE_SCOPE":
        scopes = changes["scopes"]
        needed = {
            "disclosure by consent": {ConsentScope.SHARE},
            "disclosure for a transaction": {ConsentScope.COLLECT},
            "a processor": BOTH,
            "personal data that leaves": {ConsentScope.SHARE},
            "training on photos": {ConsentScope.TRAIN},
            "training for another purpose": {ConsentScope.TRAIN, ConsentScope.COLLECT},
            "selling photos": {ConsentScope.SELL},
        }.get(route, {ConsentScope.COLLECT})
        return not needed <= scopes
    if code == "NOTICE_RECIPIENT":
        return route in {"disclosure by consent", "a processor"}
    if code == "RELEASE_RECIPIENT":
        return leaves and route != "disclosure for a transaction"
    if code in {"FACE_LINK_UNKNOWN", "RELEASE_ESIGN_DATE"}:
        return route not in NO_TERM_ASKED
    if code in {"NOTICE_CATEGORY", "RELEASE_CATEGORY"}:
        return not (changes["categories"] == {DataCategory.PHOTO} and route in {"training on photos", "selling photos"})
    return True


@pytest.mark.parametrize("route", list(ROUTES))
@pytest.mark.parametrize(("part", "changes", "code"), ROUTE_FAULTS)
def test_one_fault_closes_every_way_that_it_matters_to(route: str, part: str, changes: Any, code: str) -> None:
    decision = travel(route, part, changes)
    if changes == {"term": Term(duration=timedelta(0))} and route in NO_TERM_ASKED:
        code = "TERM_OVER"  # no term has to be stated, but one that is over from the start is over
    if _matters(route, part, changes, code):
        assert decision.outcome is Outcome.DENY
        assert code in codes(decision)
    else:
        assert decision.outcome in {Outcome.ALLOW, Outcome.ALLOW_NONBIOMETRIC}
