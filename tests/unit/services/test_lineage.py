"""Lineage on a whole tenant: what is recorded, what taints, and what a taint stops (In re Everalbum, FTC 2021)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record import lineage as fold
from consentry_server.core.record.artifacts import ArtifactKind, TaintReason
from consentry_server.core.vocabulary import AgeBand, NoticeChannel, Operation, Outcome, Purpose
from consentry_server.services.checks import Checked
from consentry_server.services.context import RequestKey
from consentry_server.services.photos import PhotoDraft
from consentry_server.services.releases import Claims, DeliveryDraft
from tests.support.clocks import Clock
from tests.support.lineage import NOTICE, ask, begin, consent, derive
from tests.support.rebuild import differences
from tests.support.stack import COLLECTOR, ILLINOIS, Stack, face, parts, start

PICTURE = Path(__file__).parents[2] / "data" / "photos" / "no-face.jpg"
DATASET, MODEL = ArtifactKind.DATASET, ArtifactKind.MODEL


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    made = await start(tmp_path, Clock())
    await begin(made)
    yield made
    ledger = made.running.folders.ledger
    await made.running.aclose()
    assert differences(ledger) == []


async def serve(stack: Stack, artifact_id: str, person: str = "ana") -> Checked:
    return await ask(
        stack, face(person), operation=Operation.SERVE_MODEL, purpose=Purpose.TAGGING, artifact_id=artifact_id
    )


def codes(checked: Checked) -> set[str]:
    return {reason.code for reason in checked.decision.reasons}


async def trained(stack: Stack, name: str = "m1", person: str = "ana", kind: ArtifactKind = MODEL) -> Any:
    checked = await ask(stack, face(person))
    stack.clock.forward(seconds=5)
    return await derive(stack, name, checked.decision_id, kind)


async def test_a_model_made_with_consent_is_served_to_who_consents(stack: Stack) -> None:
    await consent(stack, "ana")
    made = await trained(stack)
    assert (made.tainted, made.kind, [each.subject_ref[:4] for each in made.people]) == (False, MODEL, ["sub_"])
    assert (await serve(stack, "m1")).decision.outcome is Outcome.ALLOW
    other = await serve(stack, "m1", "bo")
    assert (other.decision.outcome, "RELEASE_MISSING" in codes(other)) == (Outcome.DENY, True)


async def test_what_is_not_on_record_is_used_for_nothing(stack: Stack) -> None:
    await consent(stack, "ana")
    for operation in (Operation.SERVE_MODEL, Operation.TRAIN_MODEL, Operation.IMPORT_DATASET):
        checked = await ask(stack, face("ana"), operation=operation, artifact_id="nobody-knows")
        assert (checked.decision.outcome, "ARTIFACT_UNKNOWN" in codes(checked)) == (Outcome.DENY, True)


async def test_what_was_made_under_a_refusal_is_recorded_and_tainted_with_all_that_comes_of_it(stack: Stack) -> None:
    await consent(stack, "ana")
    refused = await ask(stack, face("bo"))
    assert refused.decision.outcome is Outcome.DENY
    first = await derive(stack, "first", refused.decision_id)
    assert (first.tainted, first.taint) == (True, TaintReason.DECISION_NOT_PERMITTING)
    onward = await ask(stack, face("ana"), artifact_id="first")
    assert (onward.decision.outcome, "ARTIFACT_TAINTED" in codes(onward)) == (Outcome.DENY, True)
    second = await derive(stack, "second", onward.decision_id, parents=("first",))
    assert second.tainted
    for name in ("first", "second"):
        checked = await serve(stack, name)
        assert (checked.decision.outcome, "ARTIFACT_TAINTED" in codes(checked)) == (Outcome.DENY, True)


async def test_a_decision_permits_nothing_that_was_made_before_it(stack: Stack) -> None:
    await consent(stack, "ana")
    checked = await ask(stack, face("ana"))
    made = await derive(stack, "m1", checked.decision_id, made_at=stack.clock.now - timedelta(seconds=1))
    assert (made.tainted, made.taint) == (True, TaintReason.DECISION_LATE)


async def test_a_late_report_permits_no_lineage(stack: Stack) -> None:
    await consent(stack, "ana")
    done = stack.clock.now
    stack.clock.forward(hours=1)
    late = await ask(stack, face("ana"), occurred_at=done)
    assert (late.decision.outcome, late.late) == (Outcome.ALLOW, done)
    made = await derive(stack, "m1", late.decision_id)
    assert (made.tainted, made.taint) == (True, TaintReason.DECISION_LATE)


async def test_a_basis_that_is_gone_when_the_lineage_is_recorded_taints(stack: Stack) -> None:
    release_id = await consent(stack, "ana")
    checked = await ask(stack, face("ana"))
    made_at = stack.clock.now
    stack.clock.forward(seconds=5)
    await stack.withdraw("ana", release_id)
    made = await derive(stack, "m1", checked.decision_id, made_at=made_at)
    assert (made.tainted, made.taint) == (True, TaintReason.BASIS_GONE)


async def test_a_withdrawal_after_the_training_is_no_taint_and_stops_what_is_new(stack: Stack) -> None:
    release_id = await consent(stack, "ana")
    await consent(stack, "bo")
    await trained(stack, "faces", kind=DATASET)
    on_it = await ask(stack, artifact_id="faces")
    assert on_it.decision.outcome is Outcome.ALLOW, codes(on_it)
    await derive(stack, "model", on_it.decision_id, parents=("faces",))
    stack.clock.forward(minutes=10)
    await stack.withdraw("ana", release_id)
    assert (await serve(stack, "model", "bo")).decision.outcome is Outcome.ALLOW
    again = await ask(stack, face("bo"), artifact_id="faces")
    assert [each.outcome for each in again.decision.faces] == [Outcome.ALLOW, Outcome.DENY]
    assert (again.decision.outcome, "RELEASE_WITHDRAWN" in codes(again)) == (Outcome.DENY, True)


async def test_a_withdrawal_that_came_before_and_is_reported_after_taints_every_descendant(stack: Stack) -> None:
    release_id = await consent(stack, "ana")
    await consent(stack, "bo")
    before = stack.clock.now
    await trained(stack, "faces", kind=DATASET)
    on_it = await ask(stack, artifact_id="faces")
    await derive(stack, "model", on_it.decision_id, parents=("faces",))
    permitted = await ask(
        stack,
        face("bo"),
        operation=Operation.SERVE_MODEL,
        purpose=Purpose.TAGGING,
        artifact_id="model",
        want_permit=True,
    )
    assert permitted.decision.outcome is Outcome.ALLOW
    stack.clock.forward(seconds=20)
    await stack.tenant.releases.withdraw(COLLECTOR, "ana", release_id, "", None, occurred_at=before)
    for name in ("faces", "model"):
        held = await stack.tenant.derived.find(name)
        assert held is not None
        assert held.tainted
    assert (await serve(stack, "model", "bo")).decision.outcome is Outcome.DENY

    def still_holds(book: Any) -> bool:
        decision = stack.tenant.gate.find_decision(book, permitted.decision_id)
        return stack.tenant.gate.basis_holds(book, decision, [0])

    assert await stack.tenant.sequencer.submit(still_holds) is False


async def test_who_turns_out_to_be_a_child_taints_what_rests_on_their_own_release(stack: Stack) -> None:
    await consent(stack, "ana")
    await trained(stack, "m1")
    await stack.tenant.releases.deliver(
        COLLECTOR,
        DeliveryDraft(
            subject_id="ana",
            notice_id=NOTICE,
            notice_version=stack.notices[NOTICE],
            channel="IN_APP",  # type: ignore[arg-type] # a word is its name
            delivered_at=stack.clock.now,
            claims=Claims(age_band=AgeBand.MINOR),
        ),
    )
    held = await stack.tenant.derived.find("m1")
    assert held is not None
    assert held.taint is TaintReason.SIGNER_WAS_CHILD


async def test_who_is_declared_in_the_photo_and_left_out_of_the_decision_taints(stack: Stack) -> None:
    await consent(stack, "ana")
    await stack.deliver("bo", "training")  # Illinois: a picture kept as a picture is not biometric there
    draft = PhotoDraft(owner_subject_id="ana", depicted_subject_ids=("ana", "bo"), regions=ILLINOIS)
    stored = await stack.tenant.photos.upload(COLLECTOR, draft, parts(PICTURE.read_bytes()))
    assert stored.photo is not None
    checked = await ask(stack, face("ana"), photo_id=stored.photo.photo_id)
    assert checked.decision.outcome is Outcome.ALLOW
    made = await derive(stack, "m1", checked.decision_id)
    assert (made.tainted, made.taint, made.sources) == (True, TaintReason.PERSON_LEFT_OUT, 1)


async def test_an_uploader_in_the_photo_and_left_out_of_the_decision_taints(stack: Stack) -> None:
    await consent(stack, "ana")
    await consent(stack, "bo")
    draft = PhotoDraft(owner_subject_id="bo", depicted_subject_ids=("bo", "ana"), regions=ILLINOIS)
    stored = await stack.tenant.photos.upload(COLLECTOR, draft, parts(PICTURE.read_bytes()))
    assert stored.photo is not None
    assert len(stored.photo.depicted) == 2
    checked = await ask(stack, face("ana"), photo_id=stored.photo.photo_id)
    assert (await derive(stack, "m1", checked.decision_id)).taint is TaintReason.PERSON_LEFT_OUT


@pytest.mark.parametrize(("region", "age_band"), [("US-WA", AgeBand.ADULT), ("US-FL", AgeBand.UNDER_13)])
async def test_an_upload_is_decided_on_for_those_whom_it_is_said_to_show(
    stack: Stack, region: str, age_band: AgeBand
) -> None:
    """RCW 19.373.030(1)(a): a picture of a named person; 16 CFR 312.2, 312.5: a child's image."""
    claims = Claims(regions=frozenset({region}), age_band=age_band)
    await stack.tenant.releases.deliver(
        COLLECTOR,
        DeliveryDraft(
            "wanda", "training", stack.notices["training"], NoticeChannel.IN_APP, stack.clock.now, claims=claims
        ),
    )
    draft = PhotoDraft(owner_subject_id="ana", depicted_subject_ids=("wanda",), regions=frozenset({region}))
    stored = await stack.tenant.photos.upload(COLLECTOR, draft, parts(PICTURE.read_bytes()))
    assert (stored.photo, stored.checked and stored.checked.decision.outcome) == (None, Outcome.DENY)


async def test_a_request_that_names_nobody_is_decided_on_for_those_whom_the_photo_is_said_to_show(stack: Stack) -> None:
    """16 CFR 312.5: a child's image; leaving the child out of the request opens nothing."""
    await consent(stack, "bo")
    draft = PhotoDraft(owner_subject_id="ana", depicted_subject_ids=("bo",), regions=ILLINOIS)
    stored = await stack.tenant.photos.upload(COLLECTOR, draft, parts(PICTURE.read_bytes()))
    assert stored.photo is not None
    photo_id, shown = stored.photo.photo_id, {"operation": Operation.DISPLAY, "purpose": Purpose.PHOTO_HOSTING}
    assert (await stack.check(photo_id=photo_id, **shown)).permit  # type: ignore[arg-type]
    await stack.tenant.registry.interaction(COLLECTOR, "bo", None, None, Claims(age_band=AgeBand.UNDER_13))
    denied = await stack.check(photo_id=photo_id, **shown)  # type: ignore[arg-type]
    assert (denied.decision.outcome, denied.permit) == (Outcome.DENY, "")


async def test_a_photo_is_a_source_under_the_decision_about_it_alone(stack: Stack) -> None:
    await consent(stack, "ana")
    stored = await stack.upload(PICTURE.read_bytes(), owner="ana")
    assert stored.photo is not None
    photo_id = stored.photo.photo_id
    checked = await ask(stack, face("ana"), photo_id=photo_id)
    assert checked.decision.outcome is Outcome.ALLOW
    made = await derive(stack, "m1", checked.decision_id, photos=(photo_id,))
    assert not made.tainted
    assert made.sources == 1
    another = await ask(stack, face("ana"))
    with pytest.raises(ConsentryError) as raised:
        await derive(stack, "m2", another.decision_id, photos=(photo_id,))
    assert (raised.value.reason, raised.value.field) == (Reason.STATE_CONFLICT, "artifact.photo_ids[0]")


async def test_more_people_than_a_decision_holds_is_no_answer(monkeypatch: pytest.MonkeyPatch, stack: Stack) -> None:
    monkeypatch.setattr(fold, "MAX_PEOPLE", 1)  # stays until the stack is gone, whose ledger is folded again
    for person in ("ana", "bo"):
        await consent(stack, person)
        await trained(stack, "faces", person, DATASET)
    with pytest.raises(ConsentryError) as raised:
        await ask(stack, artifact_id="faces")
    assert (raised.value.reason, raised.value.field) == (Reason.TOO_LARGE, "artifact_id")


async def test_what_is_wrong_with_a_report_is_named(stack: Stack) -> None:
    await consent(stack, "ana")
    checked = await ask(stack, face("ana"))
    shown = await ask(stack, face("ana"), operation=Operation.ENROLL, purpose=Purpose.TAGGING)
    made = await derive(stack, "m1", checked.decision_id)
    assert not made.tainted
    good = checked.decision_id
    wrong: list[tuple[dict[str, Any], Reason, str]] = [
        ({"decision_id": "dec_9_none"}, Reason.NOT_FOUND, "artifact.decision_id"),
        ({"decision_id": shown.decision_id}, Reason.STATE_CONFLICT, "artifact.decision_id"),
        ({"decision_id": good, "kind": DATASET}, Reason.ALREADY_EXISTS, "artifact.kind"),
        ({"decision_id": good, "photos": ("pho_none",)}, Reason.NOT_FOUND, "artifact.photo_ids[0]"),
        ({"decision_id": good, "parents": ("none",)}, Reason.NOT_FOUND, "artifact.source_artifact_ids[0]"),
        ({"decision_id": good, "parents": ("m1",)}, Reason.FIELD_INVALID, "artifact.source_artifact_ids[0]"),
        (
            {"decision_id": good, "made_at": stack.clock.now + timedelta(hours=1)},
            Reason.FIELD_INVALID,
            "artifact.make_time",
        ),
        ({"decision_id": good, "artifact_id": "A Model"}, Reason.FIELD_INVALID, "artifact.artifact_id"),
    ]
    for changes, reason, field in wrong:
        with pytest.raises(ConsentryError) as raised:
            await derive(stack, **{"artifact_id": "m1", **changes})
        assert (raised.value.reason, raised.value.field) == (reason, field)
    await trained(stack, "other")
    with pytest.raises(ConsentryError) as raised:
        await derive(stack, "m1", good, parents=("other",))
    assert (raised.value.reason, raised.value.field) == (Reason.STATE_CONFLICT, "artifact.source_artifact_ids[0]")


async def test_the_same_request_is_recorded_once(stack: Stack) -> None:
    await consent(stack, "ana")
    checked = await ask(stack, face("ana"))
    key = RequestKey(b"k" * 32, b"b" * 32)
    first = await derive(stack, "m1", checked.decision_id, key=key)
    again = await derive(stack, "m1", checked.decision_id, key=key)
    assert first == again


EVENTS = st.one_of(
    st.tuples(st.just("consent"), st.sampled_from(("ana", "bo"))),
    st.tuples(st.just("withdraw"), st.sampled_from(("ana", "bo"))),
    st.tuples(
        st.just("train"), st.sampled_from("abcd"), st.sampled_from(("ana", "bo")), st.sampled_from(("at once", "later"))
    ),
    st.tuples(st.just("onward"), st.sampled_from("abcd"), st.sampled_from("abcd"), st.sampled_from(("ana", "bo"))),
)


@settings(max_examples=40)
@given(st.lists(EVENTS, min_size=4, max_size=18))
def test_nothing_that_descends_from_invalid_consent_is_ever_served(happened: list[tuple[str, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live(Path(folder), happened))


async def _live(folder: Path, happened: list[tuple[str, ...]]) -> None:
    """The oracle knows who consents, from what each model was made, and whether that was permitted then."""
    stack = await start(folder, Clock())
    await begin(stack)
    await consent(stack, "judge")
    live: set[str] = set()
    bad: dict[str, bool] = {}
    above: dict[str, set[str]] = {}

    def descends(name: str, seen: frozenset[str] = frozenset()) -> bool:
        return name not in seen and (
            bad.get(name, False) or any(descends(each, seen | {name}) for each in above.get(name, ()))
        )

    for each in happened:
        match each:
            case ("consent", person):
                await consent(stack, person)
                live.add(person)
            case ("withdraw", person) if person in live:
                await stack.withdraw(person)
                live.discard(person)
            case ("train", name, person, pace):
                checked = await ask(stack, face(person))
                assert (checked.decision.outcome is Outcome.ALLOW) is (person in live)
                stack.clock.forward(seconds=2)
                valid = person in live
                if pace == "later" and valid:
                    await stack.withdraw(person)
                    live.discard(person)
                    valid = False
                await derive(stack, name, checked.decision_id)
                bad[name] = bad.get(name, False) or not valid
            case ("onward", parent, child, person) if parent in bad and parent != child:
                checked = await ask(stack, face(person), artifact_id=parent)
                valid = person in live and not descends(parent)
                assert (checked.decision.outcome is Outcome.ALLOW) is valid
                stack.clock.forward(seconds=2)
                await derive(stack, child, checked.decision_id, parents=(parent,))
                above.setdefault(child, set()).add(parent)
                bad[child] = bad.get(child, False) or not valid
        for name in bad:
            answer = await serve(stack, name, "judge")
            assert (answer.decision.outcome is Outcome.ALLOW) is not descends(name), (name, codes(answer))
    ledger = stack.running.folders.ledger
    await stack.running.aclose()
    assert differences(ledger) == []
