"""House rules over a real tenant: reviews, statements, the tenant's own packs, revoked determinations."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from consentry.v1 import determination_pb2, gate_service_pb2, registry_service_pb2, review_pb2
from consentry.v1 import vocabulary_pb2 as v
from consentry_server import tenant as tenants
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.record.words import tell
from consentry_server.services.context import Caller, Role
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import OFFICER, PROCESSOR, SECOND_OFFICER, Stack, start
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import ask, consent, upload

OPERATOR = Caller("acme", Role.OPERATOR, "ops")
AUDITOR = Caller("acme", Role.AUDITOR, "counsel")
TOML = (Path(__file__).parents[2] / "data" / "packs" / "own" / "acme-minors.toml").read_bytes()
OPEN, AWAITING, DETERMINED, REFUSED = (
    review_pb2.REVIEW_STATE_OPEN,
    review_pb2.REVIEW_STATE_AWAITING_APPROVAL,
    review_pb2.REVIEW_STATE_DETERMINED,
    review_pb2.REVIEW_STATE_REFUSED,
)


def quality(version: str = "2.1", **fields: Any) -> gate_service_pb2.CheckRequest:
    """A quality check by face geometry, nobody linked: Daichendt v. CVS, REVIEW."""
    base: dict[str, Any] = {
        "operation": v.OPERATION_CHECK_QUALITY,
        "purpose": v.PURPOSE_PHOTO_COMPLIANCE_CHECK,
        "uses_face_geometry": True,
        "identifies": False,
        "stored": False,
        "linked_identity": False,
        "algorithm_id": "blur-meter",
        "algorithm_version": version,
    }
    return samples.check(samples.face(""), **(base | fields))


def determined(review_id: str, **changes: Any) -> gate_service_pb2.ResolveReviewRequest:
    request = gate_service_pb2.ResolveReviewRequest(request_id=samples.request_id(), review_id=review_id)
    request.determination.CopyFrom(samples.determination().determination)
    request.determination.operations[:] = [v.OPERATION_CHECK_QUALITY]
    for name, value in changes.items():
        if isinstance(value, list):
            getattr(request.determination, name)[:] = value
        else:
            setattr(request.determination, name, value)
    return request


def recorded(**action: Any) -> registry_service_pb2.RecordDeterminationRequest:
    return registry_service_pb2.RecordDeterminationRequest(request_id=samples.request_id(), **action)


async def reviews(servicers: Servicers, **wanted: Any) -> list[review_pb2.Review]:
    set_caller(AUDITOR)
    return list((await servicers.gate.ListReviews(gate_service_pb2.ListReviewsRequest(**wanted), None)).reviews)


async def checked(servicers: Servicers, request: gate_service_pb2.CheckRequest) -> Any:
    set_caller(PROCESSOR)
    return (await ask(servicers, request)).decision


async def refusal(call: Any) -> ConsentryError:
    with pytest.raises(ConsentryError) as raised:
        await call
    return raised.value


def same_as_the_ledger(servicers: Servicers) -> None:
    assert differences(servicers.stack.running.folders.ledger) == []


def entries(stack: Stack) -> list[dict[str, Any]]:
    store = stack.tenant.sequencer.store
    return [orjson.loads(data) for data in store.fetch_entries(0, store.fetch_head().size)]


@pytest.fixture
def portrait(photos: Path) -> bytes:
    return (photos / "portrait.jpg").read_bytes()


# -- reviews


async def test_a_review_from_its_first_decision_to_what_its_determination_allowed(servicers: Servicers) -> None:
    first = await checked(servicers, quality())
    assert first.outcome == v.OUTCOME_REVIEW
    second = await checked(servicers, quality())
    await checked(servicers, quality("3.0"))
    one, other = await reviews(servicers)
    assert (one.state, one.decision_count, one.first_decision_id) == (OPEN, 2, first.decision_id)
    assert (one.operation, one.purpose, one.category) == (
        v.OPERATION_CHECK_QUALITY,
        v.PURPOSE_PHOTO_COMPLIANCE_CHECK,
        v.DATA_CATEGORY_PHOTO,
    )
    assert (one.algorithm_id, one.algorithm_version) == ("blur-meter", "2.1")
    assert (other.algorithm_version, other.decision_count) == ("3.0", 1)
    assert one.create_time == first.check_time
    assert {(r.rule_id, r.code) for r in one.reasons} == {(r.rule_id, r.code) for r in first.reasons}
    assert all(reason.text and reason.citation for reason in one.reasons)
    assert all(reason.remedy for reason in one.reasons if reason.outcome in {v.OUTCOME_REVIEW, v.OUTCOME_DENY})
    set_caller(OFFICER)
    asked = determined(one.review_id)
    resolved = await servicers.gate.ResolveReview(asked, None)
    assert await servicers.gate.ResolveReview(asked, None) == resolved  # the same request is answered once
    assert resolved.review.state == AWAITING
    assert resolved.determination.state == determination_pb2.DETERMINATION_STATE_AWAITING_APPROVAL
    again = await refusal(servicers.gate.ResolveReview(determined(one.review_id), None))
    assert (again.reason, again.field) == (Reason.STATE_CONFLICT, "review_id")
    assert (await checked(servicers, quality())).outcome == v.OUTCOME_REVIEW
    set_caller(SECOND_OFFICER)
    determination_id = resolved.determination.determination_id
    await servicers.registry.RecordDetermination(recorded(approves_determination_id=determination_id), None)
    for _ in range(3):
        assert (await checked(servicers, quality())).outcome == v.OUTCOME_ALLOW_NONBIOMETRIC
    assert (await checked(servicers, quality("3.0"))).outcome == v.OUTCOME_REVIEW
    (one,) = await reviews(servicers, state=DETERMINED)
    assert (one.determination_id, one.allowed_since_count, one.decision_count) == (determination_id, 3, 3)
    assert [r.algorithm_version for r in await reviews(servicers, state=OPEN)] == ["3.0"]
    set_caller(OFFICER)
    revoked = await servicers.registry.RecordDetermination(recorded(revokes_determination_id=determination_id), None)
    assert revoked.determination.state == determination_pb2.DETERMINATION_STATE_REVOKED
    assert (await checked(servicers, quality())).outcome == v.OUTCOME_REVIEW
    (one, _) = await reviews(servicers, state=OPEN)
    assert (one.determination_id, one.allowed_since_count, one.decision_count) == ("", 0, 4)
    assert second.decision_id
    same_as_the_ledger(servicers)


async def test_a_refused_review_is_denied_from_then_on(servicers: Servicers) -> None:
    await checked(servicers, quality())
    (review,) = await reviews(servicers)
    set_caller(OFFICER)
    request = gate_service_pb2.ResolveReviewRequest(
        request_id="no", review_id=review.review_id, refusal_reason="Ana Roe of the board objects."
    )
    answer = await servicers.gate.ResolveReview(request, None)
    assert (answer.review.state, answer.HasField("determination")) == (REFUSED, False)
    denied = await checked(servicers, quality())
    assert denied.outcome == v.OUTCOME_DENY
    assert (denied.reasons[0].code, denied.reasons[0].rule_id) == ("REVIEW_REFUSED", review.review_id)
    assert denied.reasons[0].remedy
    assert (await checked(servicers, quality("3.0"))).outcome == v.OUTCOME_REVIEW
    set_caller(OFFICER)
    for resolution in (determined(review.review_id), request):
        resolution.request_id = samples.request_id()
        error = await refusal(servicers.gate.ResolveReview(resolution, None))
        assert (error.reason, error.field) == (Reason.STATE_CONFLICT, "review_id")
    assert b"Ana Roe" not in b"".join(orjson.dumps(entry) for entry in entries(servicers.stack))
    same_as_the_ledger(servicers)


async def test_a_determination_that_is_expired_answers_nothing_any_more(servicers: Servicers) -> None:
    await checked(servicers, quality())
    (review,) = await reviews(servicers)
    set_caller(OFFICER)
    await servicers.gate.ResolveReview(determined(review.review_id), None)
    servicers.stack.clock.forward(days=181)
    (review,) = await reviews(servicers, state=OPEN)
    assert review.determination_id == ""
    set_caller(OFFICER)
    later = determined(review.review_id)
    later.determination.expire_time.CopyFrom(samples.at(samples.NOW + timedelta(days=400)))
    assert (await servicers.gate.ResolveReview(later, None)).review.state == AWAITING
    same_as_the_ledger(servicers)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"operations": [v.OPERATION_CHECK_QUALITY, v.OPERATION_DETECT_FACES]}, "determination.operations"),
        ({"operations": [v.OPERATION_DETECT_FACES]}, "determination.operations"),
        ({"purposes": [v.PURPOSE_TAGGING]}, "determination.purposes"),
        ({"algorithm_version": "2.2"}, "determination.algorithm_id"),
    ],
)
async def test_a_determination_of_another_scope_resolves_nothing(
    servicers: Servicers, changes: dict[str, Any], field: str
) -> None:
    await checked(servicers, quality())
    (review,) = await reviews(servicers)
    set_caller(OFFICER)
    error = await refusal(servicers.gate.ResolveReview(determined(review.review_id, **changes), None))
    assert (error.reason, error.field) == (Reason.FIELD_INVALID, field)
    assert [each.state for each in await reviews(servicers)] == [OPEN]


async def test_reviews_come_in_pages_oldest_first(servicers: Servicers) -> None:
    versions = [f"{number}.0" for number in (7, 3, 9, 1, 5)]
    for version in versions:
        await checked(servicers, quality(version))
    set_caller(OFFICER)
    seen: list[str] = []
    request = gate_service_pb2.ListReviewsRequest(page_size=2, operation=v.OPERATION_CHECK_QUALITY)
    while True:
        page = await servicers.gate.ListReviews(request, None)
        seen += [each.algorithm_version for each in page.reviews]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert seen == versions
    assert await reviews(servicers, operation=v.OPERATION_ENROLL) == []
    request.state = 99  # type: ignore[assignment]
    request.page_token = ""
    assert (await refusal(servicers.gate.ListReviews(request, None))).reason is Reason.VALUE_UNKNOWN


async def test_a_face_that_waits_in_a_denied_request_is_in_the_queue_too(servicers: Servicers) -> None:
    mixed = quality()
    mixed.faces.append(samples.face("eileen", x=200))
    decision = await checked(servicers, mixed)
    outcomes = [face.outcome for face in decision.faces]
    assert outcomes == [v.OUTCOME_REVIEW, v.OUTCOME_DENY]
    (review,) = await reviews(servicers)
    assert review.decision_count == 1
    same_as_the_ledger(servicers)


async def test_nobody_resolves_what_is_not_there_or_says_nothing(servicers: Servicers) -> None:
    set_caller(OFFICER)
    request = gate_service_pb2.ResolveReviewRequest(request_id="x", review_id="rev_none", refusal_reason="no")
    assert (await refusal(servicers.gate.ResolveReview(request, None))).reason is Reason.NOT_FOUND
    request = gate_service_pb2.ResolveReviewRequest(request_id="y", review_id="rev_none", refusal_reason="")
    assert (await refusal(servicers.gate.ResolveReview(request, None))).field == "refusal_reason"
    request.ClearField("refusal_reason")
    assert (await refusal(servicers.gate.ResolveReview(request, None))).reason is Reason.FIELD_REQUIRED


async def test_the_queue_outlives_a_restart(tmp_path: Path, clock: Clock) -> None:
    for run in range(2):
        stack = await start(tmp_path, clock, create=run == 0)
        clock.forward(seconds=5)
        from consentry_server.adapters.grpc.gate import GateServicer  # noqa: PLC0415

        gate = GateServicer({"acme": stack.tenant}, clock)
        set_caller(PROCESSOR)
        await gate.Check(quality(), None)
        set_caller(OFFICER)
        (review,) = (await gate.ListReviews(gate_service_pb2.ListReviewsRequest(), None)).reviews
        assert review.decision_count == run + 1
        await stack.running.aclose()


# -- determinations


async def test_one_officer_revokes_and_only_what_runs(servicers: Servicers) -> None:
    set_caller(OFFICER)
    registry = servicers.registry
    made = (await registry.RecordDetermination(samples.determination(), None)).determination
    answer = await registry.RecordDetermination(recorded(revokes_determination_id=made.determination_id), None)
    assert answer.determination.state == determination_pb2.DETERMINATION_STATE_REVOKED
    assert answer.determination.entry == made.entry
    for action in ("revokes_determination_id", "approves_determination_id"):
        set_caller(SECOND_OFFICER)
        error = await refusal(registry.RecordDetermination(recorded(**{action: made.determination_id}), None))
        assert (error.reason, error.field) == (Reason.STATE_CONFLICT, action)
    error = await refusal(registry.RecordDetermination(recorded(revokes_determination_id="det_none"), None))
    assert (error.reason, error.field) == (Reason.NOT_FOUND, "revokes_determination_id")
    same_as_the_ledger(servicers)


async def test_a_determination_keeps_the_recipient_it_is_about(servicers: Servicers) -> None:
    set_caller(OFFICER)
    request = samples.determination()
    request.determination.recipient_id = "cloud"
    made = await servicers.registry.RecordDetermination(request, None)
    assert made.determination.recipient_id == "cloud"
    (held,) = (await servicers.stack.tenant.sequencer.submit(lambda book: book.tenant)).determinations
    assert held.recipient_id == "cloud"
    same_as_the_ledger(servicers)


# -- statements


def just_public_data(**changes: Any) -> registry_service_pb2.RecordStatementRequest:
    base: dict[str, Any] = {
        "text": "Just public data, not DMs or anything private",
        "speaker": "The owner",
        "state_time": samples.at(samples.NOW - timedelta(days=1)),
        "uri": "https://example.com/status/1",
        "operations": [v.OPERATION_TRAIN_MODEL, v.OPERATION_ENROLL],
        "only_visibilities": [v.VISIBILITY_PUBLIC],
        "excluded_categories": [v.DATA_CATEGORY_MESSAGE_CONTENT],
    }
    return registry_service_pb2.RecordStatementRequest(
        request_id=samples.request_id(), statement=determination_pb2.PublicStatement(**(base | changes))
    )


async def test_a_statement_narrows_from_its_entry_on(servicers: Servicers, portrait: bytes) -> None:
    await consent(servicers)
    uploaded = await upload(servicers, portrait)
    before = await checked(servicers, samples.check(photo_id=uploaded.photo_id))
    assert before.outcome == v.OUTCOME_ALLOW
    set_caller(OFFICER)
    request = just_public_data()
    made = await servicers.registry.RecordStatement(request, None)
    assert await servicers.registry.RecordStatement(request, None) == made
    assert made.statement.statement_id.startswith("sta_")
    assert made.statement.text == "Just public data, not DMs or anything private"
    stored = next(entry for entry in entries(servicers.stack) if entry["type"] == "statement.recorded")
    assert "owner" not in orjson.dumps(stored).decode()
    digest = stored["statement"]["text_sha256"]
    assert servicers.stack.tenant.sequencer.store.fetch_document(digest) == made.statement.text.encode()
    told = " ".join(tell(stored, {}).sentences)
    assert "enroll and train model" in told
    assert "visibility may be used: public" in told
    public = samples.check()
    assert (await checked(servicers, public)).outcome == v.OUTCOME_ALLOW
    for visibility in (v.VISIBILITY_UNSPECIFIED, v.VISIBILITY_PRIVATE, v.VISIBILITY_DIRECT_MESSAGE):
        hidden = samples.check()
        hidden.source.visibility = visibility
        denied = await checked(servicers, hidden)
        assert denied.outcome == v.OUTCOME_DENY
        assert (denied.reasons[0].code, denied.reasons[0].rule_id) == ("PUBLIC_STATEMENT", made.statement.statement_id)
    same_as_the_ledger(servicers)


async def test_what_the_upload_said_of_a_photo_is_not_talked_away(servicers: Servicers, portrait: bytes) -> None:
    """What the caller says of a photo on record can only make the answer stricter (gate_service.proto, source)."""
    await consent(servicers)
    header = samples.header()
    header.header.description.source.visibility = v.VISIBILITY_PRIVATE
    uploaded = await upload(servicers, portrait, header)
    claimed = samples.check(photo_id=uploaded.photo_id)
    assert claimed.source.visibility == v.VISIBILITY_PUBLIC
    assert (await checked(servicers, claimed)).outcome == v.OUTCOME_ALLOW
    set_caller(OFFICER)
    await servicers.registry.RecordStatement(just_public_data(), None)
    claimed.request_id = samples.request_id()
    assert (await checked(servicers, claimed)).outcome == v.OUTCOME_DENY


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"operations": []}, Reason.FIELD_REQUIRED, "statement.operations"),
        ({"only_visibilities": [], "excluded_categories": []}, Reason.FIELD_REQUIRED, "statement.excluded_categories"),
        ({"only_visibilities": [0]}, Reason.VALUE_UNKNOWN, "statement.only_visibilities[0]"),
        ({"text": ""}, Reason.FIELD_REQUIRED, "statement.text"),
        ({"text": "é" * 8_193}, Reason.TOO_LARGE, "statement.text"),
        ({"speaker": ""}, Reason.FIELD_REQUIRED, "statement.speaker"),
        ({"uri": "not an address"}, Reason.FIELD_INVALID, "statement.uri"),
        ({"state_time": samples.at(samples.NOW + timedelta(days=1))}, Reason.FIELD_INVALID, "statement.state_time"),
    ],
)
async def test_a_statement_that_says_nothing_or_too_much_is_refused(
    servicers: Servicers, changes: dict[str, Any], reason: Reason, field: str
) -> None:
    set_caller(OFFICER)
    error = await refusal(servicers.registry.RecordStatement(just_public_data(**changes), None))
    assert (error.reason, error.field) == (reason, field)


# -- packs


def activation(toml: bytes = TOML, **changes: Any) -> registry_service_pb2.ActivatePackRequest:
    base: dict[str, Any] = {
        "request_id": samples.request_id(),
        "pack_id": "acme-minors",
        "version": 1,
        "sha256": hashlib.sha256(toml).digest(),
        "toml": toml,
    }
    return registry_service_pb2.ActivatePackRequest(**(base | changes))


def minor() -> gate_service_pb2.CheckRequest:
    face = samples.face()
    face.age_band = v.AGE_BAND_MINOR
    return samples.check(face)


async def test_an_own_pack_decides_from_its_entry_on_and_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    from consentry_server.adapters.grpc.gate import GateServicer  # noqa: PLC0415
    from consentry_server.adapters.grpc.registry import RegistryServicer  # noqa: PLC0415

    stack = await start(tmp_path, clock)
    registry = RegistryServicer({"acme": stack.tenant}, clock)
    gate = GateServicer({"acme": stack.tenant}, clock)
    set_caller(OPERATOR)
    request = activation()
    made = await registry.ActivatePack(request, None)
    assert await registry.ActivatePack(request, None) == made
    assert (made.pack.reference.pack_id, made.pack.house_rules, made.pack.rule_count) == ("acme-minors", True, 1)
    assert list(made.pack.regions) == []
    assert made.pack.reference.activation_index == made.entry.index
    set_caller(PROCESSOR)
    denied = gate_service_pb2.CheckResponse.FromString(await gate.Check(minor(), None)).decision
    assert "ACME_MINOR" in {reason.code for reason in denied.reasons}
    assert "acme-minors" in {pack.pack_id for pack in denied.packs}
    await stack.running.aclose()
    clock.forward(seconds=1)
    stack = await start(tmp_path, clock, create=False)
    gate = GateServicer({"acme": stack.tenant}, clock)
    denied = gate_service_pb2.CheckResponse.FromString(await gate.Check(minor(), None)).decision
    assert "ACME_MINOR" in {reason.code for reason in denied.reasons}
    assert differences(stack.running.folders.ledger) == []
    assert stack.tenant.sequencer.store.fetch_document(hashlib.sha256(TOML).hexdigest()) == TOML
    await stack.running.aclose()


async def test_a_check_in_the_batch_of_the_activation_finds_the_pack(servicers: Servicers) -> None:
    set_caller(OPERATOR)
    activating = asyncio.create_task(servicers.registry.ActivatePack(activation(), None))
    set_caller(PROCESSOR)
    found = await asyncio.gather(*(ask(servicers, minor()) for _ in range(40)))
    while not activating.done():
        found += [await ask(servicers, minor())]
    index = (await activating).entry.index
    for answer in found:
        said = "ACME_MINOR" in {reason.code for reason in answer.decision.reasons}
        assert said is (answer.decision.entry.index > index)


EXEMPTION = b"""
[[exemption]]
id = "ACME-EX"
title = "Exempt."
citation = "Acme"
determination = "HEALTH_CARE"
rules = ["*"]
is = "EXEMPT"
"""


@pytest.mark.parametrize(
    ("request_", "reason", "said"),
    [
        (activation(sha256=b"\x01" * 32), Reason.PACK_INVALID, "SHA-256"),
        (activation(version=2), Reason.PACK_INVALID, "the file is of acme-minors 1"),
        (activation(version=0), Reason.FIELD_INVALID, "version"),
        (activation(pack_id=""), Reason.FIELD_REQUIRED, "pack_id"),
        (activation(toml=b"", sha256=b"\x01" * 32), Reason.NOT_FOUND, "carries no pack acme-minors 1"),
        (activation(TOML + EXEMPTION), Reason.PACK_INVALID, "acme-minors 1: exemption ACME-EX: id: "),
        (activation(TOML.replace(b'"*"', b'"US-OH"')), Reason.PACK_INVALID, "acme-minors 1: pack: regions: "),
        (activation(b"\xff\xfe"), Reason.PACK_INVALID, "not readable as TOML"),
        (activation(b"#" * (1024 * 1024 + 1)), Reason.TOO_LARGE, "toml"),
        (activation(TOML, pack_id="us-il-bipa"), Reason.PACK_INVALID, "the file is of acme-minors 1"),
    ],
)
async def test_a_refused_pack_leaves_the_running_ones(
    servicers: Servicers, request_: registry_service_pb2.ActivatePackRequest, reason: Reason, said: str
) -> None:
    running = await servicers.stack.tenant.sequencer.submit(lambda book: book.tenant.packs)
    set_caller(OPERATOR)
    error = await refusal(servicers.registry.ActivatePack(request_, None))
    assert error.reason is reason
    assert said in error.message
    assert await servicers.stack.tenant.sequencer.submit(lambda book: book.tenant.packs) == running
    assert (await checked(servicers, minor())).outcome == v.OUTCOME_DENY


async def test_a_shipped_pack_is_named_alone_and_never_goes_back(servicers: Servicers) -> None:
    (pack, data), *_ = tenants.bundled_packs()
    set_caller(OPERATOR)
    shipped = activation(b"", pack_id=pack.id, version=pack.version, sha256=bytes.fromhex(pack.sha256))
    error = await refusal(servicers.registry.ActivatePack(shipped, None))
    assert (error.reason, error.field) == (Reason.STATE_CONFLICT, "version")
    shipped.sha256 = b"\x02" * 32
    assert (await refusal(servicers.registry.ActivatePack(shipped, None))).reason is Reason.PACK_INVALID
    shadow = activation(data, pack_id=pack.id, version=pack.version)
    error = await refusal(servicers.registry.ActivatePack(shadow, None))
    assert (error.reason, error.metadata["rule"], error.metadata["key"]) == (Reason.PACK_INVALID, "pack", "id")


async def test_a_build_whose_pack_has_other_bytes_under_the_same_version_refuses_to_serve(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = await start(tmp_path, clock)
    await stack.running.aclose()
    other = tuple(
        (load_pack(changed, name=pack.id), changed)
        for pack, data in tenants.bundled_packs()
        for changed in (data + b"\n# a word more\n",)
    )
    monkeypatch.setattr(tenants, "bundled_packs", lambda: other)
    clock.forward(seconds=1)
    with pytest.raises(ConsentryError) as raised:
        await start(tmp_path, clock, create=False)
    assert raised.value.reason is Reason.CONFIGURATION_INVALID
    assert "other bytes" in raised.value.message
