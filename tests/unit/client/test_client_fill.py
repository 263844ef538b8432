"""Python values into messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry import Box, Check, DataCategory, Face, InvalidRequest, Operation, Purpose, RetentionRule
from consentry._calls import check_batch, check_request, list_entries, publish_notice, record_interaction
from consentry._fill import fill
from consentry.inputs import Notice, RetentionPolicy, Source, Term, Venue
from consentry.v1 import gate_service_pb2, notice_pb2, photo_pb2, retention_policy_pb2
from consentry.vocabulary import RetentionClock, TermEnd

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def question(**fields: object) -> Check:
    values: dict[str, object] = {
        "operation": Operation.DETECT_FACES,
        "purpose": Purpose.TAGGING,
        "category": DataCategory.FACE_GEOMETRY,
    }
    return Check(**(values | fields))  # type: ignore[arg-type]  # any fields, by name


def test_unknown_is_not_no() -> None:
    request = check_request(question(identifies=False, stored=None))
    assert request.HasField("identifies")
    assert not request.identifies
    assert not request.HasField("stored")


def test_a_venue_s_no_is_sent() -> None:
    source = fill(photo_pb2.Source(), venue=Venue(portland_public_accommodation=False))
    assert source.venue.HasField("portland_public_accommodation")
    assert not source.venue.HasField("new_york_city_commercial_establishment")


def test_a_photo_is_its_id_or_its_hash() -> None:
    assert check_request(question(photo="pho_1")).photo.photo_id == "pho_1"
    assert check_request(question(photo=bytes(32))).photo.sha256 == bytes(32)
    assert not check_request(question()).HasField("photo")
    with pytest.raises(InvalidRequest) as caught:
        check_request(question(photo=7))
    assert caught.value.field == "photo"


def test_faces_boxes_and_sources_reach_their_places() -> None:
    faces = [Face(box=Box(0, 0, 0, 0), subject_id="Ω"), Face(regions=["US-IL"])]
    request = check_request(question(faces=faces, source=Source(capture_time=NOON)))
    assert request.faces[0].HasField("box")
    assert [face.subject_id for face in request.faces] == ["Ω", ""]
    assert list(request.faces[1].regions) == ["US-IL"]
    assert request.source.capture_time.ToDatetime(tzinfo=UTC) == NOON


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-14, 14))  # noqa: DTZ001
def test_times_keep_their_moment(naive: datetime, hours: int) -> None:
    time = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    request = fill(gate_service_pb2.CheckRequest(), occur_time=time)
    assert request.occur_time.ToDatetime(tzinfo=UTC) == time


@given(st.integers(min_value=0, max_value=10**9))
def test_periods_keep_their_length(seconds: int) -> None:
    rule = RetentionRule(
        category=DataCategory.PHOTO, clock=RetentionClock.COLLECTION, maximum_period=timedelta(seconds=seconds)
    )
    message = fill(retention_policy_pb2.RetentionRule(), maximum_period=rule.maximum_period)
    assert message.maximum_period.ToTimedelta() == rule.maximum_period


def test_a_term_is_one_of_two() -> None:
    assert (
        fill(notice_pb2.Notice(), term=Term(end_event=TermEnd.ACCOUNT_CLOSED)).term.WhichOneof("length") == "end_event"
    )
    assert fill(notice_pb2.Notice(), term=Term(duration=timedelta(days=1))).term.WhichOneof("length") == "duration"


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"occur_time": NOON.replace(tzinfo=None)}, "occur_time"),
        ({"regions": "US-IL"}, "regions"),
        ({"faces": [Face(box=Box(-1, 0, 5, 5))]}, "faces[0].box.x"),
        ({"faces": [Face(), Face(subject_id=5)]}, "faces[1].subject_id"),  # type: ignore[arg-type]  # the mistake
        ({"recipient_id": 5}, "recipient_id"),
        ({"source": Source(capture_regions="US-IL")}, "source.capture_regions"),
        ({"source": 5}, "source"),
        ({"faces": 5}, "faces"),
    ],
)
def test_what_does_not_fit_names_its_field(fields: dict[str, object], at: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_request(question(**fields))
    assert caught.value.field.rstrip(".") == at


def test_a_request_has_an_id_of_its_own_unless_the_caller_names_one() -> None:
    assert check_request(question()).request_id != check_request(question()).request_id
    assert check_request(question(request_id="mine")).request_id == "mine"
    assert record_interaction("alice", request_id="mine").request.request_id == "mine"  # type: ignore[attr-defined]
    batch = check_batch([question(), question()]).request
    assert isinstance(batch, gate_service_pb2.BatchCheckRequest)
    assert len({item.check.request_id for item in batch.items}) == 2


def test_pages_ask_for_the_next_with_the_same_filter() -> None:
    listing = list_entries(from_index=5, types=["decision"], until_index=0)
    first, second = listing.call("").request, listing.call("token").request
    assert (first.from_index, first.page_token, first.HasField("until_index")) == (5, "", True)  # type: ignore[attr-defined]
    assert (second.from_index, second.page_token) == (5, "token")  # type: ignore[attr-defined]


def test_whole_notices_and_policies_go_through() -> None:
    notice = Notice(
        notice_id="n", language="en-US", effective_time=NOON, text="We …", purposes=[Purpose.TAGGING], term=Term()
    )
    sent = publish_notice(notice, request_id="r").request
    assert sent.notice.text == "We …"  # type: ignore[attr-defined]
    policy = RetentionPolicy(policy_id="p", effective_time=NOON, public_uri="https://example.test", text="…")
    assert fill(retention_policy_pb2.RetentionPolicy(), policy_id=policy.policy_id).policy_id == "p"
