"""Texas, Washington and Colorado over the network: what a person's state asks, and what a determination opens."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry import (
    AgeBand,
    Claims,
    Consideration,
    Delivery,
    Determination,
    DeterminationKind,
    DisclosureBasis,
    NoticeChannel,
    Operation,
    Purpose,
    Relationship,
)
from tests.support.server import Server
from tests.support.story import TEXT, Story, client, enroll, face


def told(story: Story, person: str, region: str) -> str:
    delivery = Delivery(
        notice_id="tagging",
        notice_version=1,
        channel=NoticeChannel.IN_APP,
        language="en-US",
        deliver_time=datetime.now(UTC),
        shown_sha256=hashlib.sha256(TEXT.encode()).digest(),
    )
    claims = Claims(regions=[region], age_band=AgeBand.ADULT, relationship=Relationship.CONSUMER)
    return str(story.collector.record_notice_delivery(person, delivery, claims=claims).delivery.delivery_id)


def determine(server: Server, kind: DeterminationKind, operation: Operation, **more: Any) -> None:
    """One officer records it, another approves."""
    made = Determination(
        kind=kind,
        authority="opinion of counsel",
        evidence_reference="file 7",
        author="counsel",
        decide_time=datetime.now(UTC),
        expire_time=datetime.now(UTC) + timedelta(days=30),
        operations=[operation],
        purposes=[Purpose.TAGGING],
        **more,
    )
    with client(server, "officer", "first") as one, client(server, "officer", "second") as other:
        recorded = one.record_determination(made).determination.determination_id
        other.approve_determination(recorded)


def said(decision: Any) -> set[str]:
    return {reason.code for reason in decision.reasons}


@pytest.mark.parametrize("region", ["US-TX", "US-WA", "US-CO"])
def test_told_and_consented_is_allowed_and_withdrawn_is_not(story: Story, region: str) -> None:
    person = f"someone-in-{region.lower()}"
    delivery = told(story, person, region)
    before = story.processor.check(enroll(face(person)))
    assert not before.allowed
    assert "RELEASE_MISSING" in said(before)
    assert "REGION_NOT_COVERED" not in said(before)
    story.release(person, delivery)
    assert story.processor.check(enroll(face(person))).allowed
    story.collector.withdraw_release(person)
    assert "RELEASE_WITHDRAWN" in said(story.processor.check(enroll(face(person))))


def test_a_necessity_that_two_officers_determined_opens_washington_and_no_other_state(
    story: Story, server: Server
) -> None:
    """RCW 19.373.030(1)(a)."""
    for person, region in (("wanda", "US-WA"), ("tex", "US-TX")):
        told(story, person, region)
    assert "NECESSITY_UNDETERMINED" in said(story.processor.check(enroll(face("wanda"))))
    determine(server, DeterminationKind.NECESSARY_FOR_SERVICE, Operation.ENROLL)
    allowed = story.processor.check(enroll(face("wanda")))
    assert allowed.allowed
    assert "WA_19375_EXCLUDED_PHOTO_DERIVED" in said(allowed)
    assert not story.processor.check(enroll(face("tex"))).allowed


def test_in_texas_consent_discloses_nothing(story: Story) -> None:
    """Tex. Bus. & Com. Code 503.001(c)(1)."""
    story.release("austin", told(story, "austin", "US-TX"))
    request = enroll(
        face("austin"),
        recipient_id="vendor",
        disclosure_basis=DisclosureBasis.CONSENT,
        consideration=Consideration.NONE,
    )
    refused = said(story.processor.check(request))
    assert "DISCLOSURE_BASIS" in refused
    assert refused <= {"DISCLOSURE_BASIS", "NOTICE_RECIPIENT", "RELEASE_RECIPIENT", "RELEASE_SCOPE"}  # and 541.101
