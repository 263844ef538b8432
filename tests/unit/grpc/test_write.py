"""What is written to callers says exactly what was decided and recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry.v1 import decision_pb2
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc import read, words, write, write_record
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import Decision, FaceDecision, Finding, Obligation, ObligationKind
from consentry_server.core.record.facts import ActivePack, Destruction
from consentry_server.core.vocabulary import DestructionStage, DestructionTrigger, Grade, Outcome
from consentry_server.services.book import Recorded
from consentry_server.services.checks import Checked
from consentry_server.services.retention import Certificate
from tests.unit.grpc.samples import NOW

RECORDED = Recorded(7, b"l" * 32, NOW)
PACKS = (ActivePack("us-il-bipa", 2, "ab" * 32, 5), ActivePack("house-base", 1, "cd" * 32, 4))


def finding(code: str, outcome: Outcome) -> Finding:
    return Finding(code, f"RULE-{code}", 3, "us-il-bipa", "740 ILCS 14/15(b)", Grade.PRIMARY, "Text.", "Do.", outcome)


def checked(*faces: FaceDecision) -> Checked:
    reasons = tuple(dict.fromkeys(reason for face in faces for reason in face.reasons))
    outcome = max((face.outcome for face in faces), key=lambda each: each.strictness)
    return Checked(
        Decision(outcome, faces, reasons),
        "dec_7_abc",
        RECORDED,
        NOW + timedelta(seconds=60),
        PACKS,
        tuple(f"sub_{face.index}" for face in faces),
        permit="p",
    )


def face(index: int, outcome: Outcome, *reasons: Finding, due: datetime | None = None) -> FaceDecision:
    duties = (Obligation(ObligationKind.DESTROY_BY, due, "Destroy.", "740 ILCS 14/15(a)"),) if due else ()
    return FaceDecision(index, outcome, reasons, duties, (1, 2), ("rel_a",), (), ("US-IL",))


def test_a_decision_is_written_whole() -> None:
    review, deny = finding("LOOK", Outcome.REVIEW), finding("GONE", Outcome.DENY)
    allowed = finding("SATISFIED", Outcome.ALLOW)
    due = NOW + timedelta(days=3)
    made = write.check_response(
        "consentry.test/acme",
        checked(face(0, Outcome.ALLOW, allowed, due=due), face(1, Outcome.DENY, review, deny))._replace(
            previous_decision_id="dec_3_x"
        ),
    )
    decision = made.decision
    assert (made.permit, decision.decision_id, decision.previous_decision_id) == ("p", "dec_7_abc", "dec_3_x")
    assert decision.outcome == v.OUTCOME_DENY
    assert [reason.code for reason in decision.reasons] == ["GONE", "LOOK", "SATISFIED"]  # strictest first
    assert [reason.code for reason in decision.faces[1].reasons] == ["GONE", "LOOK"]
    assert [face.subject_ref for face in decision.faces] == ["sub_0", "sub_1"]
    reason = decision.faces[1].reasons[0]
    assert (reason.rule_id, reason.rule_version, reason.pack_id) == ("RULE-GONE", 3, "us-il-bipa")
    assert (reason.citation, reason.grade, reason.outcome) == ("740 ILCS 14/15(b)", v.GRADE_PRIMARY, v.OUTCOME_DENY)
    assert (reason.text, reason.remedy) == ("Text.", "Do.")
    first = decision.faces[0]
    assert (first.index, list(first.basis_indices), list(first.release_ids)) == (0, [1, 2], ["rel_a"])
    assert first.obligations[0].kind == decision_pb2.OBLIGATION_KIND_DESTROY_BY
    assert first.obligations[0].due_time == write.timestamp(due)
    assert [duty.kind for duty in decision.obligations] == [decision_pb2.OBLIGATION_KIND_RECORD_PROCESSING]
    assert (decision.entry.ledger, decision.entry.index) == ("consentry.test/acme", 7)
    assert decision.entry.leaf_hash == b"l" * 32
    assert [(pack.pack_id, pack.version, pack.activation_index) for pack in decision.packs] == [
        ("house-base", 1, 4),
        ("us-il-bipa", 2, 5),
    ]
    assert decision.packs[0].sha256 == b"\xcd" * 32
    assert decision.engine_version == write.ENGINE_VERSION


def test_a_denial_asks_for_no_report() -> None:
    assert list(write.decision("l", checked(face(0, Outcome.DENY, finding("GONE", Outcome.DENY)))).obligations) == []


def test_answers_that_are_built_once_do_not_run_into_each_other() -> None:
    reason = finding("SATISFIED", Outcome.ALLOW)
    due = NOW + timedelta(days=1)
    first = write.decision("l", checked(face(0, Outcome.ALLOW, reason, due=due)))
    first.faces[0].release_ids.append("rel_mine")
    second = write.decision("l", checked(face(0, Outcome.ALLOW, reason)))
    assert list(second.faces[0].release_ids) == ["rel_a"]
    assert list(second.faces[0].obligations) == []


def test_more_reasons_than_are_remembered_are_still_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MAX_REMEMBERED", 2)
    for number in range(20):
        made = write.decision("l", checked(face(0, Outcome.DENY, finding(f"C{number}", Outcome.DENY))))
        assert made.reasons[0].code == f"C{number}"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis wants the bounds without a zone
def test_times_go_out_and_come_back_to_the_microsecond(time: datetime) -> None:
    written = write.timestamp(time)
    assert written.ToDatetime(UTC) == time
    assert read.time(written, "time") == time


def test_of_several_dates_of_destruction_the_earliest_is_named() -> None:
    early, late = NOW + timedelta(days=1), NOW + timedelta(days=2)
    faces = [face(0, Outcome.ALLOW, due=late), face(1, Outcome.ALLOW, due=early), face(2, Outcome.ALLOW)]
    assert write.destroy_by(faces) == write.timestamp(early)
    assert write.destroy_by(faces[2:]) is None


def test_an_items_error_is_what_check_would_have_failed_with() -> None:
    status = write.item_status(ConsentryError(Reason.TOO_LARGE, "faces has more than 256", field="faces"))
    assert (status.code, status.message, status.field) == (8, "faces has more than 256", "faces")
    assert words.ERROR_REASON.words[status.reason] is Reason.TOO_LARGE


def test_an_item_of_a_list_is_never_unspecified_even_where_that_is_a_word() -> None:
    assert words.VISIBILITY.read(0, "visibility") == "UNKNOWN"
    with pytest.raises(ConsentryError) as raised:
        words.VISIBILITY.read_set([1, 0], "only_visibilities")
    assert (raised.value.reason, raised.value.field) == (Reason.VALUE_UNKNOWN, "only_visibilities[1]")
    assert raised.value.metadata == {"value": "0"}


def test_a_certificate_says_when_nothing_is_left() -> None:
    until = NOW + timedelta(days=37)
    done = Destruction(
        destruction_id="des_a",
        subject_ref="sub_a",
        trigger=DestructionTrigger.WITHDRAWAL,
        targets=(),
        stage=DestructionStage.UNRECOVERABLE,
        requested_index=3,
        requested_at=NOW,
        completed_index=4,
        completed_at=NOW,
        unrecoverable_after=until,
    )
    entries: dict[int, tuple[Recorded, dict[str, Any]]] = {
        3: (Recorded(3, b"a" * 32, NOW), {}),
        4: (Recorded(4, b"b" * 32, NOW), {}),
    }
    written = write_record.certificate("l", Certificate(done, "m", "v", (), "t"), entries)
    assert list(written.remaining) == ["Nothing known is left."]
    assert written.unrecoverable_time == write.timestamp(until)
    assert [entry.index for entry in written.entries] == [3, 4]
    left = Certificate(replace(done, stage=DestructionStage.COMPLETED), "m", "v", ("backups",), "t")
    written = write_record.certificate("l", left, entries)
    assert (list(written.remaining), written.HasField("unrecoverable_time")) == (["backups"], False)
