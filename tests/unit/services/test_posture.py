"""Posture and rehearsal beside a running tenant: right about it, and nothing kept that was not asked for."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import OperationRequest
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    KnownBy,
    Operation,
    Outcome,
    Purpose,
    SignerRole,
)
from consentry_server.services.checks import Asked, AskedFace
from consentry_server.services.committed import Committed
from consentry_server.services.context import RequestKey
from consentry_server.services.posture import Posture
from consentry_server.services.registry import DeterminationDraft
from consentry_server.services.rehearsal import NEW_PERSON, Planned, Tally, rehearse
from consentry_server.services.releases import Signer
from tests.support.clocks import Clock
from tests.support.stack import ILLINOIS, OFFICER, PROCESSOR, SECOND_OFFICER, Stack, face, start

SHA256 = hashlib.sha256(b"photo").digest()
UNKNOWN_REGIONS = frozenset({"US-IL", "US-TX", "US-CO", "US-WA", "EU"})


@pytest.fixture
async def stack(tmp_path: Path, clock: Clock) -> AsyncIterator[Stack]:
    made = await start(tmp_path, clock)
    yield made
    await made.running.aclose()


def size(stack: Stack) -> int:
    return stack.tenant.sequencer.store.fetch_head().size


def codes(posture: Posture) -> set[str]:
    return {lack.finding.code for lack in posture.lacks if lack.finding.outcome is Outcome.DENY}


async def test_posture_follows_what_is_published_and_keeps_nothing(stack: Stack) -> None:
    before = size(stack)
    first = await stack.tenant.postures.check(OFFICER, ILLINOIS)
    assert codes(first) == {"NOTICE_NONE", "POLICY_MISSING"}
    assert first.denies
    assert size(stack) == before
    await stack.policy()
    await stack.notice(term=None)
    assert codes(await stack.tenant.postures.check(OFFICER, ILLINOIS)) == {"NOTICE_TERM_MISSING"}
    await stack.notice()
    stack.clock.forward(seconds=1)
    last = await stack.tenant.postures.check(OFFICER, ILLINOIS)
    assert not last.denies
    assert {lack.finding.code for lack in last.lacks} == {
        "LEDGER_NOT_ANCHORED", "PAPER_OPTION", "SCHEDULE_GAP", "WITHDRAWAL_ADDRESS",
    }  # fmt: skip


async def test_posture_is_kept_once_where_asked(stack: Stack) -> None:
    before = size(stack)
    key = RequestKey(b"k" * 32, b"b" * 32)
    kept = await stack.tenant.postures.check(OFFICER, ILLINOIS, persist=True, key=key)
    again = await stack.tenant.postures.check(OFFICER, ILLINOIS, persist=True, key=key)
    assert kept.recorded is not None
    assert kept.recorded == again.recorded
    assert size(stack) == before + 1
    said = orjson.loads(stack.tenant.sequencer.store.fetch_entry(kept.recorded.index) or b"")
    assert (said["type"], said["total"], said["regions"]) == ("posture.checked", len(kept.lacks), ["US-IL"])
    assert "people" not in said


async def test_consumers_on_record_ask_for_somebody_who_can_sign_for_children(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    assert "MINOR_SIGNED" not in codes(await stack.tenant.postures.check(OFFICER, ILLINOIS))
    await stack.consent("eileen")
    assert "MINOR_SIGNED" in codes(await stack.tenant.postures.check(OFFICER, ILLINOIS))
    parent = Signer(SignerRole.REPRESENTATIVE, "parent", AuthorityBasis.PARENT)
    await stack.deliver("kim", age_band=AgeBand.MINOR, signer=parent)
    assert "MINOR_SIGNED" not in codes(await stack.tenant.postures.check(OFFICER, ILLINOIS))


def asked(
    *faces: AskedFace,
    operation: Operation = Operation.ENROLL,
    category: DataCategory = DataCategory.PHOTO,
    purpose: Purpose = Purpose.TAGGING,
    photo_id: str = "",
    basis: DisclosureBasis = DisclosureBasis.NONE,
) -> Asked:
    request = OperationRequest(
        operation=operation,
        purpose=purpose,
        category=category,
        uses_face_geometry=True,
        identifies=True,
        stored=True,
        disclosure_basis=basis,
        has_disclosure_evidence=True,
        recipient_id="agency" if basis is not DisclosureBasis.NONE else "",
    )
    return Asked(request=request, faces=faces, photo_id=photo_id, photo_sha256=b"" if photo_id else SHA256)


async def test_a_rehearsal_counts_what_checks_would_answer_and_records_nothing(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    await stack.consent("eileen")
    planned = [
        Planned("1", asked(face("eileen"))),
        Planned("2", asked(face("nobody-yet")), 40),
        Planned("3", asked(face("eileen"), face(""))),
        Planned("4", asked(operation=Operation.DETECT_FACES)),
        Planned("5", asked(face("eileen"), photo_id="pho_nosuchphoto")),
        *(Planned(f"many-{number}", asked(face("eileen"), operation=Operation.VERIFY)) for number in range(120)),
    ]
    store = stack.tenant.sequencer.store
    before = size(stack)
    tally = Tally()
    await stack.tenant.rehearsal.simulate(planned, tally)
    assert size(stack) == before
    assert store.fetch_reference(stack.tenant.people.lookup("nobody-yet")) is None
    assert [(line, error.reason) for line, error in tally.failures] == [("5", Reason.NOT_FOUND)]
    counted = {
        (str(alike.operation), str(alike.outcome)): count.operations for alike, count in tally.ordered_outcomes()
    }
    assert counted == {
        ("ENROLL", "ALLOW"): 1,
        ("ENROLL", "DENY"): 41,
        ("DETECT_FACES", "DENY"): 1,
        ("VERIFY", "ALLOW"): 120,
    }
    for each in planned[:4]:
        checked = await stack.tenant.gate.check(PROCESSOR, each.asked)
        one = Tally()
        await stack.tenant.rehearsal.simulate([each], one)
        ((alike, _),) = one.ordered_outcomes()
        assert alike.outcome is checked.decision.outcome
        refusals = {reason for reason in checked.decision.reasons if reason.remedy}
        assert {finding for finding, _ in one.ordered_reasons()} == refusals


async def test_a_determination_about_nobody_lets_no_new_person_pass(stack: Stack) -> None:
    """A person who is not on record stands under a name that nothing is recorded about."""
    await stack.policy()
    draft = DeterminationDraft(
        kind=DeterminationKind.LEGAL_PROCESS,
        operations=frozenset({Operation.DISCLOSE}),
        purposes=frozenset({Purpose.LEGAL_PROCESS}),
        expires_at=stack.clock.now + timedelta(days=30),
        words={"evidence_reference": "file 7"},
    )
    made, _ = await stack.tenant.registry.determine(OFFICER, draft)
    await stack.tenant.registry.approve(SECOND_OFFICER, made.determination_id, None)
    warrant = asked(
        AskedFace("new", KnownBy.DECLARED_BY_UPLOADER, ILLINOIS),
        operation=Operation.DISCLOSE,
        category=DataCategory.FACE_TEMPLATE,
        purpose=Purpose.LEGAL_PROCESS,
        basis=DisclosureBasis.WARRANT,
    )
    tally = Tally()
    await stack.tenant.rehearsal.simulate([Planned("1", warrant)], tally)
    ((alike, _),) = tally.ordered_outcomes()
    assert alike.outcome is Outcome.DENY
    assert "LEGAL_PROCESS_MISSING" in {finding.code for finding, _ in tally.ordered_reasons()}
    assert NEW_PERSON


async def test_a_rehearsal_says_what_would_only_be_observed(stack: Stack) -> None:
    from consentry_server.services.enforcement import SwitchDraft  # noqa: PLC0415

    await stack.policy()
    switch, _ = await stack.tenant.enforcement.switch(OFFICER, SwitchDraft(Operation.ENROLL, False, stack.clock.now))
    assert switch is not None
    await stack.tenant.enforcement.approve(SECOND_OFFICER, switch.enforcement_id, None)
    tally = Tally()
    await stack.tenant.rehearsal.simulate([Planned("1", asked(face("eileen")))], tally)
    assert [alike.observed_only for alike, _ in tally.ordered_outcomes()] == [True]


async def test_what_is_committed_answers_as_the_running_tenant_does(stack: Stack) -> None:
    await stack.policy()
    await stack.notice()
    released = await stack.consent("eileen")
    reference = released.answer.entry["people"][0]["subject_ref"]
    facts = Committed(stack.tenant.sequencer.store, stack.clock.now)
    running = await stack.tenant.sequencer.submit(lambda book: book.tenant)
    assert facts.tenant == running
    here, there = Tally(), Tally()
    planned = [Planned("1", asked(face("eileen"))), Planned("2", asked(face("")))]
    await stack.tenant.rehearsal.simulate(planned, there)
    rehearse(
        facts,
        planned,
        here,
        packs=stack.tenant.gate._packs.compiled(facts.tenant.packs),
        unknown_regions=UNKNOWN_REGIONS,
        reference=lambda subject_id: reference if subject_id == "eileen" else None,
    )
    assert here.ordered_outcomes() == there.ordered_outcomes()
    assert here.ordered_reasons() == there.ordered_reasons()


async def test_a_damaged_ledger_is_no_clean_posture(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    await stack.policy()
    await stack.notice()
    stack.clock.forward(seconds=1)
    monkeypatch.setattr(type(stack.tenant.sequencer.store), "fetch_entry", lambda *_: None)
    with pytest.raises(ConsentryError) as raised:
        await stack.tenant.postures.check(OFFICER, ILLINOIS)
    assert raised.value.reason is Reason.DATA_DAMAGED
