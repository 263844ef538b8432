"""What a decision's entry leaves out can be read back, and nothing else is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from consentry_server.core.ledger import canonical
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record.decisions import FaceOnRecord, decision_body, read_decision, spelled_out
from consentry_server.core.record.facts import Box, OperationRequest
from consentry_server.core.vocabulary import AgeBand, DataCategory, KnownBy, Operation, Outcome, Purpose

TIME = datetime(2026, 11, 23, 10, tzinfo=UTC)
PEOPLE = ("sub_aaaaaaaaaaaaaaaa", "sub_bbbbbbbbbbbbbbbb")
RULES = ("us-il-bipa", "IL-15B3-RELEASE:RELEASE_MISSING", "HOUSE-POLICY:POLICY_MISSING")
REQUEST = OperationRequest(
    operation=Operation.EXTRACT_TEMPLATE, purpose=Purpose.TAGGING, category=DataCategory.PHOTO, algorithm_id="hog"
)

faces = st.builds(
    FaceOnRecord,
    outcome=st.sampled_from(Outcome),
    subject_ref=st.sampled_from(("", *PEOPLE)),
    known_by=st.sampled_from(KnownBy),
    regions=st.frozensets(st.sampled_from(("US-IL", "US-TX", "DE")), max_size=2),
    age_band=st.sampled_from(AgeBand),
    box=st.none() | st.just(Box(1, 2, 3, 4)),
    rules=st.lists(st.sampled_from(RULES), unique=True, max_size=3).map(tuple),
    basis=st.lists(st.integers(0, 99), max_size=2).map(tuple),
)
packs = st.lists(st.integers(0, 40), unique=True, max_size=30).map(lambda held: tuple(sorted(held)))


def entry(body: dict[str, Any]) -> dict[str, Any]:
    """The body in an entry, as it comes back from the ledger."""
    links = [{"subject_ref": reference, "subject_seq": 1, "previous_index": -1} for reference in PEOPLE]
    common = {"index": 7, "time": format_time(TIME), "actor": "processor/tagger", "people": links}
    read: dict[str, Any] = orjson.loads(canonical.encode({**body, **common}, max_bytes=16_384))
    return read


@given(st.lists(faces, max_size=4).map(tuple), packs, st.sampled_from((30, 60, 3_600)), st.sampled_from(Outcome))
def test_what_is_recorded_is_read_back(
    asked: tuple[FaceOnRecord, ...], active: tuple[int, ...], seconds: int, overall: Outcome
) -> None:
    body = decision_body(
        decision_id="dec_7_x",
        request=REQUEST,
        outcome=overall,
        faces=asked,
        people=PEOPLE,
        packs=active,
        engine="1",
        valid_seconds=seconds,
        photo_id="",
        photo_ref="",
        previous_index=-1,
    )
    held = read_decision(entry(body))
    assert (held.outcome, held.faces, held.packs) == (overall, asked, active)
    assert held.expires_at == TIME + timedelta(seconds=seconds)
    full = spelled_out(entry(body))
    assert spelled_out(full) == full
    assert all("outcome" in face and "rules" in face for face in full["faces"])


def test_the_usual_decision_says_nothing_twice() -> None:
    face = FaceOnRecord(Outcome.DENY, PEOPLE[0], rules=RULES[1:])
    body = decision_body(
        decision_id="dec_7_x",
        request=REQUEST,
        outcome=Outcome.DENY,
        faces=(face,),
        people=PEOPLE,
        packs=tuple(range(3, 21)),
        engine="1",
        valid_seconds=60,
        photo_id="",
        photo_ref="",
        previous_index=-1,
    )
    said = entry(body)
    assert said["faces"] == [{"person": 0}]
    assert said["packs"] == [[3, 20]]
    assert "valid_seconds" not in said
