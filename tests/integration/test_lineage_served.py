"""Lineage, late reports and ends of purposes over a real server: what a caller sees, and what is on record."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consentry import (
    ArtifactKind,
    Check,
    ConsentScope,
    DataCategory,
    DerivedArtifact,
    Operation,
    Outcome,
    Purpose,
    PurposeEnd,
    TaintReason,
    aio,
)
from consentry.errors import Conflict, InvalidRequest, NotFound
from tests.support.server import Server, consentry
from tests.support.story import Story, enroll, face

TRAINING = (Purpose.MODEL_TRAINING, Purpose.TAGGING)


@pytest.fixture(scope="module")
def trained(story: Story) -> Story:
    """Eileen consents to training; Frank to nothing."""
    story.notice("training", TRAINING)
    told = story.deliver("eileen", "training")
    scopes = [ConsentScope.COLLECT, ConsentScope.TRAIN]
    story.release("eileen", told, "training", purposes=TRAINING, scopes=scopes)
    return story


def train(person: str = "", artifact_id: str = "") -> Check:
    return Check(
        operation=Operation.TRAIN_MODEL,
        purpose=Purpose.MODEL_TRAINING,
        category=DataCategory.PHOTO,
        photo=None if artifact_id else bytes(32),
        faces=[face(person)] if person else [],
        uses_face_geometry=True,
        artifact_id=artifact_id,
    )


def serve(artifact_id: str) -> Check:
    return enroll(face("eileen"), operation=Operation.SERVE_MODEL, artifact_id=artifact_id)


def made(artifact_id: str, decision_id: str, kind: ArtifactKind = ArtifactKind.MODEL, *above: str) -> DerivedArtifact:
    return DerivedArtifact(
        artifact_id=artifact_id,
        kind=kind,
        decision_id=decision_id,
        make_time=datetime.now(UTC),
        source_artifact_ids=above,
        identifies_individual=False,
    )


def test_a_model_with_a_clean_lineage_is_served_and_a_tainted_line_is_not(trained: Story, server: Server) -> None:
    ask, record = trained.processor.check, trained.processor.record_derived
    data_set = record(made("faces-v1", ask(train("eileen")).decision_id, ArtifactKind.DATASET)).artifact
    assert (data_set.tainted, int(data_set.taint_reason)) == (False, TaintReason.UNSPECIFIED)
    on_it = ask(train(artifact_id="faces-v1"))
    assert (on_it.outcome, len(on_it.faces)) == (Outcome.ALLOW, 1)
    model = record(made("tagger-v1", on_it.decision_id, ArtifactKind.MODEL, "faces-v1"))
    assert list(model.artifact.source_artifact_ids) == ["faces-v1"]
    served = ask(serve("tagger-v1"))
    assert (served.outcome, bool(served.permit)) == (Outcome.ALLOW, True)

    assert ask(serve("nobody-knows")).reasons[0].code == "ARTIFACT_UNKNOWN"
    refused = ask(train("frank"))
    assert refused.outcome is Outcome.DENY
    # Frank's photo went into the data set all the same: the report is taken, and tells on everything made from it
    grown = record(made("faces-v1", refused.decision_id, ArtifactKind.DATASET)).artifact
    assert (grown.tainted, int(grown.taint_reason)) == (True, TaintReason.DECISION_NOT_PERMITTING)
    again = ask(serve("tagger-v1"))
    assert (again.outcome, again.permit) == (Outcome.DENY, "")
    assert {reason.code for reason in again.reasons} == {"ARTIFACT_TAINTED"}
    assert "Everalbum" in again.reasons[0].citation

    checked = consentry("audit", "rebuild", server.state, "--check", "--tenant", "acme")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    shown = consentry("audit", "show", server.state, str(model.entry.index), "--tenant", "acme")
    assert "tagger-v1" in shown.stdout, shown.stdout + shown.stderr
    assert "no words" not in shown.stdout


def test_what_is_wrong_with_a_report_is_an_error_that_names_the_field(trained: Story) -> None:
    decision_id = trained.processor.check(train("eileen")).decision_id
    with pytest.raises(NotFound) as missing:
        trained.processor.record_derived(made("m", "dec_1_nothing"))
    assert missing.value.field == "artifact.decision_id"
    with pytest.raises(NotFound):
        trained.processor.record_derived(made("m", decision_id, ArtifactKind.MODEL, "nobody-knows"))
    with pytest.raises(Conflict) as conflict:
        trained.processor.record_derived(made("m", trained.processor.check(enroll(face("eileen"))).decision_id))
    assert conflict.value.field == "artifact.decision_id"
    with pytest.raises(InvalidRequest):
        trained.processor.record_derived(made("m", decision_id, ArtifactKind.UNSPECIFIED))


def test_a_late_report_is_marked_and_not_made_right(trained: Story) -> None:
    scanned = datetime.now(UTC) - timedelta(days=1)
    late = trained.processor.check(enroll(face("eileen"), occur_time=scanned, want_permit=False))
    assert (late.outcome, late.late, late.occur_time) == (Outcome.DENY, True, scanned)
    assert "RECORDED_AFTER" in {reason.code for reason in late.reasons}
    assert not trained.processor.check(enroll(face("eileen"))).late
    for wrong, field in (
        (enroll(face("eileen"), occur_time=datetime.now(UTC) + timedelta(hours=1)), "occur_time"),
        (enroll(face("eileen"), occur_time=scanned), "want_permit"),
    ):
        with pytest.raises(InvalidRequest) as raised:
            trained.processor.check(wrong)
        assert raised.value.field == field


def test_ends_of_purposes(story: Story) -> None:
    story.consent("gina")
    end = story.collector.record_purpose_satisfied
    with pytest.raises(InvalidRequest) as raised:
        end("gina", [Purpose.TAGGING], end=PurposeEnd.FOUND_UNNECESSARY, extend=True)
    assert raised.value.reason == "EXTENSION_REASON_MISSING"
    found = end("gina", [Purpose.TAGGING], end=PurposeEnd.FOUND_UNNECESSARY)
    assert (found.entry.index > 0, list(found.destructions)) == (True, [])
    again: dict[str, Any] = {
        "end": PurposeEnd.FOUND_UNNECESSARY,
        "extend": True,
        "extension_reason": "An audit is under way.",
    }
    end("gina", [Purpose.TAGGING], **again)
    with pytest.raises(Conflict):
        end("gina", [Purpose.TAGGING], **again)
    assert end("gina", end=PurposeEnd.ACCOUNT_CLOSED).entry.index > found.entry.index
    with pytest.raises(InvalidRequest):
        end("gina", [Purpose.TAGGING], end=PurposeEnd.ACCOUNT_CLOSED)
    with pytest.raises(Conflict):
        story.collector.record_employment_ended("gina")
    listed = [json.loads(each.json) for each in story.auditor.list_entries(types=["purpose.unnecessary"])]
    assert [each.get("extended") for each in listed] == [None, True]
    assert "audit is under way" not in json.dumps(listed)


def test_the_asynchronous_client_records_lineage_too(trained: Story, server: Server) -> None:
    decision_id = trained.processor.check(train("eileen")).decision_id

    async def record() -> bool:
        files: dict[str, Any] = server.credentials("processor", "face-tagger")
        async with aio.Client.connect(server.address, **files) as client:
            response = await client.record_derived(made("async-v1", decision_id))
            return bool(response.artifact.tainted)

    assert asyncio.run(record()) is False
