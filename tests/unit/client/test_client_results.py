"""Answers as callers see them."""

from __future__ import annotations

import pytest

from consentry import Decision, FaceDecision, Grade, Outcome
from consentry._fill import fill
from consentry.results import read_check, read_decision
from consentry.v1 import decision_pb2, gate_service_pb2


def decided(outcome: int) -> Decision:
    message = fill(decision_pb2.Decision(), decision_id="dec_7_abc", outcome=outcome)
    fill(message.faces.add(), outcome=outcome)
    return read_decision(message)


@pytest.mark.parametrize("outcome", range(8))
def test_only_two_outcomes_are_allowed_and_a_new_one_is_not(outcome: int) -> None:
    decision = decided(outcome)
    assert decision.allowed == (outcome in {1, 2})
    assert decision.faces[0].allowed == decision.allowed
    assert decision.outcome == (Outcome(outcome) if outcome <= 4 else Outcome.UNSPECIFIED)


def test_a_decision_reads_as_a_person_would_want_to_read_it() -> None:
    reason = fill(
        decision_pb2.Reason(),
        code="RELEASE_MISSING",
        rule_id="IL-15B-RELEASE",
        citation="740 ILCS 14/15(b)(3)",
        grade=Grade.PRIMARY,
        text="No release is on record.",
        remedy="Obtain one.",
    )
    message = fill(decision_pb2.Decision(reasons=[reason]), decision_id="dec_7_abc", outcome=Outcome.DENY)
    message.entry.index = 7
    fill(message.faces.add(), index=0, outcome=Outcome.ALLOW)
    fill(message.faces.add(reasons=[reason]), index=1, outcome=Outcome.DENY)
    decision = read_decision(message)
    assert str(decision) == (
        "DENY dec_7_abc (ledger index 7)\n"
        "  RELEASE_MISSING: No release is on record. [740 ILCS 14/15(b)(3), IL-15B-RELEASE] Remedy: Obtain one.\n"
        "  face 0: ALLOW\n"
        "  face 1: DENY (RELEASE_MISSING)"
    )
    assert decision.faces[1].reasons[0].grade is Grade.PRIMARY
    assert isinstance(decision.faces[0], FaceDecision)


def test_a_permit_is_never_printed() -> None:
    decision = read_check(gate_service_pb2.CheckResponse(permit="secret-token"))
    assert decision.permit == "secret-token"
    assert "secret-token" not in repr(decision) + str(decision)
