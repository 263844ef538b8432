"""What a guard does with an answer, without any server: the clock is handed in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from consentry import (
    Check,
    DataCategory,
    Decision,
    Denied,
    EntryReference,
    Face,
    FaceDecision,
    InvalidRequest,
    Operation,
    Outcome,
    PermissionDenied,
    PermitExpired,
    ProcessingResult,
    Purpose,
    ReportFailed,
    Unavailable,
)
from consentry._permission import CATEGORY, BasePermit

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def decision(*outcomes: Outcome, permit: str = "token") -> Decision:
    faces = tuple(FaceDecision(index, outcome, (), (), "", (), ()) for index, outcome in enumerate(outcomes))
    return Decision(
        decision_id="dec_1_x",
        outcome=max(outcomes),
        faces=faces,
        reasons=(),
        obligations=(),
        entry=EntryReference("l", 1, b""),
        check_time=NOON,
        expire_time=NOON + timedelta(seconds=60),
        engine_version="1",
        packs=(),
        observed_only=False,
        previous_decision_id="",
        permit=permit,
    )


def question(faces: int = 1, photo: str | bytes = "pho_1") -> Check:
    return Check(
        operation=Operation.EXTRACT_TEMPLATE,
        purpose=Purpose.TAGGING,
        category=DataCategory.FACE_TEMPLATE,
        photo=photo,
        faces=[Face(subject_id=f"person {number}") for number in range(faces)],
        algorithm_id="arcface",
        algorithm_version="1.0",
    )


def permit(answer: Decision, clock: Clock | None = None, *, faces: int | None = None) -> BasePermit:
    clock = clock or Clock()
    asked_at = clock.seconds
    return BasePermit(question(len(answer.faces) if faces is None else faces), answer, asked_at=asked_at, clock=clock)


def test_mixed_outcomes_leave_the_allowed_faces() -> None:
    given = permit(decision(Outcome.ALLOW, Outcome.DENY, Outcome.REVIEW, Outcome.ALLOW_NONBIOMETRIC))
    assert [face.index for face in given.allowed_faces] == [0, 3]
    assert [face.subject_id for face in given.refused_faces] == ["person 1", "person 2"]
    assert given.refusal(require_all=False) is None
    assert not given.biometric
    assert [face.biometric for face in given.allowed_faces] == [True, False]


@pytest.mark.parametrize(
    ("answer", "require_all", "refused"),
    [
        (decision(Outcome.ALLOW), False, False),
        (decision(Outcome.ALLOW), True, False),
        (decision(Outcome.ALLOW_NONBIOMETRIC), True, False),
        (decision(Outcome.ALLOW, Outcome.DENY), False, False),
        (decision(Outcome.ALLOW, Outcome.DENY), True, True),
        (decision(Outcome.DENY, permit=""), False, True),
        (decision(Outcome.REVIEW, permit=""), False, True),
        (decision(Outcome.UNSPECIFIED), False, True),
        (decision(Outcome.DENY), False, True),
        (decision(Outcome.ALLOW, permit=""), False, True),
        (replace(decision(Outcome.ALLOW), outcome=Outcome.DENY), True, True),
    ],
)
def test_without_permit_or_allowed_face_nothing_runs(answer: Decision, require_all: bool, refused: bool) -> None:
    refusal = permit(answer).refusal(require_all=require_all)
    assert isinstance(refusal, Denied) == refused
    if refusal is not None:
        assert refusal.decision is answer


@pytest.mark.parametrize(
    ("answer", "faces"),
    [
        (decision(Outcome.ALLOW), 2),
        (decision(Outcome.ALLOW, Outcome.ALLOW), 1),
        (replace(decision(Outcome.ALLOW), faces=()), 0),
        (replace(decision(Outcome.ALLOW), faces=decision(Outcome.DENY, Outcome.ALLOW).faces[1:]), 1),
        (replace(decision(Outcome.ALLOW), expire_time=None), 1),
        (replace(decision(Outcome.ALLOW), check_time=None), 1),
    ],
    ids=["too few", "too many", "none", "another face", "no expiry", "no time"],
)
def test_an_answer_that_does_not_fit_is_no_answer(answer: Decision, faces: int) -> None:
    with pytest.raises(Unavailable):
        permit(answer, faces=faces)


def test_a_permit_ends_with_its_life_counted_from_the_question() -> None:
    clock = Clock()
    given = permit(decision(Outcome.ALLOW), clock)
    clock.seconds += 59.999
    assert given.token == "token"
    clock.seconds += 0.001
    with pytest.raises(PermitExpired):
        given.ensure_live()
    with pytest.raises(PermitExpired):
        assert given.token
    assert given.expires == NOON + timedelta(seconds=60)


def test_the_time_on_the_way_counts_against_the_permit() -> None:
    clock = Clock()
    given = BasePermit(question(), decision(Outcome.ALLOW), asked_at=clock.seconds - 60, clock=clock)
    with pytest.raises(PermitExpired):
        given.ensure_live()


def test_a_permit_ends_with_its_block() -> None:
    given = permit(decision(Outcome.ALLOW))
    given.report(None)
    with pytest.raises(PermitExpired, match="block"):
        given.ensure_live()


def test_the_report_says_what_was_done_when_by_the_server_s_clock() -> None:
    clock = Clock()
    given = permit(decision(Outcome.ALLOW), clock)
    clock.seconds += 2.5
    report = given.report(None)
    assert (report.decision_id, report.result) == ("dec_1_x", ProcessingResult.PERFORMED)
    assert (report.algorithm_id, report.algorithm_version) == ("arcface", "1.0")
    assert report.perform_time == NOON + timedelta(seconds=2.5)
    assert given.report(RuntimeError()) is report  # once


def test_an_error_is_reported_by_its_kind_alone() -> None:
    given = permit(decision(Outcome.ALLOW, Outcome.ALLOW))
    given.performed_on([1])
    report = given.report(RuntimeError("alice@example.test"))
    assert (report.result, report.detail, report.face_indices) == (ProcessingResult.FAILED, "RuntimeError", ())


def test_nothing_done_is_said_so() -> None:
    given = permit(decision(Outcome.ALLOW))
    given.not_performed("no face in focus")
    report = given.report(None)
    assert (report.result, report.detail, report.perform_time) == (
        ProcessingResult.NOT_PERFORMED, "no face in focus", None,
    )  # fmt: skip


def test_a_part_is_reported_as_that_part_and_only_of_what_is_allowed() -> None:
    given = permit(decision(Outcome.ALLOW, Outcome.DENY, Outcome.ALLOW))
    with pytest.raises(PermissionDenied):
        given.performed_on([0, 1])
    with pytest.raises(InvalidRequest):
        given.performed_on([])
    given.performed_on([2])
    assert given.report(None).face_indices == (2,)


def test_a_report_that_fails_is_an_error_or_a_note() -> None:
    report = permit(decision(Outcome.ALLOW)).report(None)
    cause = Unavailable("gone")
    with pytest.raises(ReportFailed) as caught:
        report.failed(cause, None)
    assert caught.value.__cause__ is cause
    assert (caught.value.decision_id, caught.value.request_id) == ("dec_1_x", report.request_id)
    original = KeyError("x")
    report.failed(cause, original)
    assert "dec_1_x" in original.__notes__[0]


def test_a_permit_is_not_printed() -> None:
    assert "token" not in repr(permit(decision(Outcome.ALLOW)))


def test_of_two_categories_the_stricter_is_assumed() -> None:
    assert CATEGORY[Operation.CHECK_QUALITY] is DataCategory.FACE_GEOMETRY
    assert CATEGORY[Operation.CLUSTER_FACES] is DataCategory.FACE_TEMPLATE
    assert Operation.DISCLOSE not in CATEGORY
