"""Posture, rehearsal and observing over a real server, as callers and people at a terminal use them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from consentry import Check, DataCategory, Face, InvalidRequest, Operation, Outcome, PermissionDenied, Purpose
from consentry.v1 import gate_service_pb2 as pb
from consentry.v1 import vocabulary_pb2
from tests.support.server import Server, consentry
from tests.support.story import Story, client, enroll, face

ROOT = Path(__file__).parents[2]


def size(story: Story) -> int:
    return story.auditor.get_checkpoint().checkpoint.tree_size


def certificates(server: Server, role: str, name: str) -> list[str]:
    tls = server.state / "tls"
    files = {"--ca": tls / "ca.pem", "--cert": tls / f"{role}-{name}.pem", "--key": tls / f"{role}-{name}.key"}
    return [str(part) for pair in files.items() for part in pair]


def test_posture_of_a_live_server(server: Server, story: Story) -> None:
    found = story.auditor.check_posture(["US-IL"])
    about = {(each.reason.code, each.about) for each in found.findings}
    assert ("NOTICE_RECIPIENT", "notice tagging 1") in about
    assert found.findings[0].reason.citation.startswith("740 ILCS 14/15(d)")
    assert not found.HasField("entry")
    with client(server, "officer", "first") as officer:
        kept = officer.check_posture(["US-IL"], persist=True)
    assert kept.entry.index >= 0
    (shown,) = [each for each in story.auditor.list_entries() if each.reference.index == kept.entry.index]
    assert json.loads(shown.json)["type"] == "posture.checked"
    with pytest.raises(InvalidRequest):
        story.auditor.check_posture(["Illinois"])
    with pytest.raises(PermissionDenied):
        story.processor.check_posture()


def test_the_posture_command(server: Server, story: Story) -> None:
    assert story.auditor.check_posture(["US-IL"]).findings
    shown = consentry("posture", server.address, "--region", "US-IL", *certificates(server, "auditor", "counsel"))
    assert shown.returncode == 7, shown.stderr
    assert "Illinois Biometric Information Privacy Act" in shown.stdout
    assert "740 ILCS" in shown.stdout
    beside = consentry("posture", server.state, "--tenant", "acme", "--region", "US-IL", "--json")
    assert beside.returncode == 7, beside.stderr
    findings = json.loads(beside.stdout)["findings"]
    live = consentry(
        "posture", server.address, "--region", "US-IL", "--json", *certificates(server, "officer", "first")
    )
    assert findings == json.loads(live.stdout)["findings"]
    refused = consentry("posture", server.state, "--tenant", "acme", "--persist")
    assert refused.returncode == 2
    assert "live server" in refused.stderr


def test_a_rehearsal_over_the_wire_records_nothing(server: Server, story: Story) -> None:
    story.consent("eileen")
    before = size(story)
    plans = [enroll(face("eileen")), enroll(face("a-new-person")), enroll(Face())]
    unseen = Check(operation=Operation.ENROLL, purpose=Purpose.TAGGING, category=DataCategory.PHOTO, photo="pho_none")
    with client(server, "operator", "ops") as operator:
        answer = operator.simulate([*plans, unseen], times=[1, 10, 100, 1])
        with pytest.raises(InvalidRequest):
            operator.simulate([])
        with pytest.raises(InvalidRequest):
            operator.simulate([plans[0]], times=[-1])
    assert {(Outcome(each.outcome), each.operation_count) for each in answer.outcomes} == {
        (Outcome.ALLOW, 1),
        (Outcome.DENY, 110),
    }
    assert [each.correlation_id for each in answer.failures] == ["3"]
    assert max(each.operation_count for each in answer.reasons) >= 100
    assert "eileen" not in str(answer)
    assert "sub_" not in str(answer)
    assert size(story) == before
    with pytest.raises(PermissionDenied):
        story.processor.simulate(plans)


def test_ids_of_planned_operations_are_used_once(server: Server) -> None:
    request = pb.SimulateRequest()
    for _ in range(2):
        request.operations.add(correlation_id="1").check.operation = vocabulary_pb2.OPERATION_ENROLL
    with client(server, "operator", "ops") as operator, pytest.raises(grpc.RpcError, match="used twice"):
        operator._rpc("GateService", "Simulate")(request, timeout=5)


def test_the_simulate_command(server: Server, story: Story, tmp_path: Path) -> None:
    before = size(story)
    plan = ROOT / "examples" / "plans" / "photo-service.csv"
    operator = certificates(server, "operator", "ops")
    shown = consentry("simulate", plan, server.address, *operator)
    assert shown.returncode == 0, shown.stderr
    assert "Nothing was recorded" in shown.stdout
    assert "alice" not in shown.stdout
    report = json.loads(consentry("simulate", plan, server.address, "--json", *operator).stdout)
    assert report["operations"] == sum(report["totals"].values()) == 210_520
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("operation,purpose,category\nENROL,TAGGING,PHOTO\n", encoding="utf-8")
    refused = consentry("simulate", wrong, server.address, *operator)
    assert refused.returncode == 2
    assert "ENROL" in refused.stderr
    assert size(story) == before


def test_observing_takes_two_officers_and_says_so_in_every_answer(server: Server, story: Story) -> None:
    story.consent("frank")
    asked = enroll(face("frank"), operation=Operation.VERIFY)
    assert story.processor.check(asked).permit
    with client(server, "officer", "first") as first, client(server, "officer", "second") as second:
        with pytest.raises(InvalidRequest):
            first.switch_enforcement(
                Operation.VERIFY, enforced=False, effective_time=datetime.now(UTC) - timedelta(hours=1)
            )
        made = first.switch_enforcement(Operation.VERIFY, enforced=False, effective_time=datetime.now(UTC)).enforcement
        assert not story.processor.check(asked).observed_only
        with pytest.raises(PermissionDenied):
            first.approve_determination(made.enforcement_id)
        approved = second.approve_determination(made.enforcement_id).enforcement
        assert (approved.recorded_by, approved.approved_by) == ("first", "second")
        assert approved.entry.index == made.entry.index
        answer = story.processor.check(asked)
        assert (answer.outcome, answer.observed_only, answer.permit) == (Outcome.ALLOW, True, "")
        denied = story.processor.check(enroll(face("nobody"), operation=Operation.VERIFY))
        assert (denied.outcome, denied.observed_only) == (Outcome.DENY, True)
        assert "observed only" in str(denied)
        first.switch_enforcement(Operation.VERIFY, enforced=True, effective_time=datetime.now(UTC))
    after = story.processor.check(asked)
    assert (after.observed_only, bool(after.permit)) == (False, True)


def test_the_ledger_still_is_what_its_tables_say(server: Server, story: Story) -> None:
    assert story.auditor.check_posture(["US-IL"]).findings
    checked = consentry("audit", "rebuild", server.state, "--tenant", "acme", "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
