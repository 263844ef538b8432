"""What callers get of the gate and the ledger: decisions, reasons, entries, times, errors of single items.

A reason is the same text again and again: each is built once and copied into the answers that give it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from consentry.v1 import decision_pb2, gate_service_pb2, ledger_pb2, photo_pb2
from consentry_server.adapters.grpc import words
from consentry_server.adapters.grpc.status import STATUS_CODES
from consentry_server.core.law import ObligationKind
from consentry_server.services.checks import ALLOWED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consentry_server.core.errors import ConsentryError
    from consentry_server.core.law import FaceDecision, Finding, Obligation
    from consentry_server.core.record.decisions import RecordedDecision
    from consentry_server.core.record.facts import ActivePack, Box
    from consentry_server.services.book import Recorded
    from consentry_server.services.checks import Checked

K = TypeVar("K")
V = TypeVar("V")

ENGINE_VERSION: Final = version("consentry-server")
"""As decisions name it."""
MAX_REMEMBERED: Final = 4_096
"""How many reasons and lists of packs are kept built; more than the packs hold only cost the building."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400

_REPORT: Final = decision_pb2.Obligation(
    kind=decision_pb2.OBLIGATION_KIND_RECORD_PROCESSING,
    detail="Report what was done, or that nothing was, with RecordProcessing.",
)


class _Built(NamedTuple):
    """Messages of nothing but reasons and packs, and what these were made of, kept so that no id is used again."""

    findings: tuple[Finding, ...]
    packs: tuple[ActivePack, ...]
    face: decision_pb2.FaceDecision
    decision: decision_pb2.Decision


_reasons: dict[tuple[int, ...], _Built] = {}


def timestamp(time: datetime) -> Timestamp:
    """Write a time, to the microsecond."""
    written = Timestamp()
    _set_time(written, time)
    return written


def optional_timestamp(time: datetime | None) -> Timestamp | None:
    """Write a time that may be absent."""
    return None if time is None else timestamp(time)


def duration(period: timedelta) -> Duration:
    """Write a period of whole seconds."""
    return Duration(seconds=period.days * _DAY_SECONDS + period.seconds)


def entry(ledger: str, recorded: Recorded) -> ledger_pb2.EntryReference:
    """Write where an entry stands.

    Args:
        ledger: The ledger's origin.
        recorded: Index and leaf hash.
    """
    return ledger_pb2.EntryReference(ledger=ledger, index=recorded.index, leaf_hash=recorded.leaf_hash)


def box(held: Box) -> photo_pb2.Box:
    """Write a rectangle."""
    return photo_pb2.Box(x=held.x, y=held.y, width=held.width, height=held.height)


def check_response(ledger: str, checked: Checked) -> gate_service_pb2.CheckResponse:
    """Write the answer to one check.

    Args:
        ledger: The ledger's origin.
        checked: The answer.
    """
    response = gate_service_pb2.CheckResponse(permit=checked.permit)
    _write_decision(response.decision, ledger, checked)
    return response


def decision(ledger: str, checked: Checked) -> decision_pb2.Decision:
    """Write a decision.

    Args:
        ledger: The ledger's origin.
        checked: The answer that holds it.
    """
    written = decision_pb2.Decision()
    _write_decision(written, ledger, checked)
    return written


def recorded_decision(ledger: str, recorded: Recorded, held: RecordedDecision) -> decision_pb2.Decision:
    """Write a decision as its entry has it: outcomes, rules and codes, without the sentences, which stand in the packs.

    Args:
        ledger: The ledger's origin.
        recorded: Where the entry stands.
        held: What it says.
    """
    return decision_pb2.Decision(
        decision_id=held.decision_id,
        outcome=words.OUTCOME.numbers[held.outcome],
        faces=[
            decision_pb2.FaceDecision(
                index=place,
                outcome=words.OUTCOME.numbers[face.outcome],
                reasons=[_named_rule(rule) for rule in face.rules if ":" in rule],
                subject_ref=face.subject_ref,
                basis_indices=face.basis,
            )
            for place, face in enumerate(held.faces)
        ],
        reasons=[_named_rule(rule) for rule in dict.fromkeys(r for f in held.faces for r in f.rules) if ":" in rule],
        entry=entry(ledger, recorded),
        check_time=timestamp(held.time),
        expire_time=timestamp(held.expires_at),
        engine_version=held.engine,
        observed_only=held.observed_only,
    )


def destroy_by(decisions: Iterable[FaceDecision]) -> Timestamp | None:
    """Write the earliest date by which a permission demands destruction, if it names one."""
    dues = [
        duty.due
        for answer in decisions
        for duty in answer.obligations
        if duty.kind is ObligationKind.DESTROY_BY and duty.due is not None
    ]
    return timestamp(min(dues)) if dues else None


def pack_references(active: tuple[ActivePack, ...]) -> list[decision_pb2.PackReference]:
    """Write the packs that were evaluated, by pack_id."""
    return [
        decision_pb2.PackReference(
            pack_id=pack.pack_id,
            version=pack.version,
            sha256=bytes.fromhex(pack.sha256),
            activation_index=pack.index,
        )
        for pack in sorted(active, key=lambda pack: pack.pack_id)
    ]


def item_status(error: ConsentryError) -> gate_service_pb2.ItemStatus:
    """Write why one item of a batch failed: what Check would have failed with."""
    code: int = STATUS_CODES[error.reason].value[0]
    return gate_service_pb2.ItemStatus(
        code=code, reason=words.ERROR_REASON.numbers[error.reason], message=error.message, field=error.field
    )


def _write_decision(written: decision_pb2.Decision, ledger: str, checked: Checked) -> None:
    """Fill a message in its place: half the cost of making its parts and having them copied."""
    made, recorded = checked.decision, checked.recorded
    written.CopyFrom(_built(made.reasons, checked.packs).decision)
    written.decision_id = checked.decision_id
    written.outcome = words.OUTCOME.numbers[made.outcome]
    permitted = False
    for answer, subject_ref in zip(made.faces, checked.subject_refs, strict=True):
        face = written.faces.add()
        _write_face(face, answer, checked.packs)
        face.subject_ref = subject_ref
        permitted = permitted or answer.outcome in ALLOWED
    if permitted:
        written.obligations.append(_REPORT)
    entry_written = written.entry
    entry_written.ledger, entry_written.index, entry_written.leaf_hash = ledger, recorded.index, recorded.leaf_hash
    _set_time(written.check_time, recorded.time)
    _set_time(written.expire_time, checked.expires_at)
    if checked.observed_only:
        written.observed_only = True
    if checked.previous_decision_id:
        written.previous_decision_id = checked.previous_decision_id
    if checked.late is not None:
        written.late = True
        _set_time(written.occur_time, checked.late)


def _write_face(written: decision_pb2.FaceDecision, answer: FaceDecision, packs: tuple[ActivePack, ...]) -> None:
    written.CopyFrom(_built(answer.reasons, packs).face)
    if answer.index:
        written.index = answer.index
    written.outcome = words.OUTCOME.numbers[answer.outcome]
    for duty in answer.obligations:
        written.obligations.append(_obligation(duty))
    if answer.basis:
        written.basis_indices.extend(answer.basis)
    if answer.release_ids:
        written.release_ids.extend(answer.release_ids)


def _built(findings: tuple[Finding, ...], packs: tuple[ActivePack, ...]) -> _Built:
    """Messages with these packs and reasons, strictest first and of equal ones in the law's order, built once.

    Findings and the tuple of active packs are made once too, so that their identity is the key.
    """
    key = (id(packs), *map(id, findings))
    held = _reasons.get(key)
    if held is None:
        reasons = [reason(finding) for finding in sorted(findings, key=_strictness)]
        held = _Built(
            findings,
            packs,
            decision_pb2.FaceDecision(reasons=reasons),
            decision_pb2.Decision(reasons=reasons, packs=pack_references(packs), engine_version=ENGINE_VERSION),
        )
        _remember(_reasons, key, held)
    return held


def _strictness(finding: Finding) -> int:
    return -finding.outcome.strictness


def _set_time(written: Timestamp, time: datetime) -> None:
    since = time - _EPOCH
    written.seconds = since.days * _DAY_SECONDS + since.seconds
    written.nanos = since.microseconds * 1_000


def reason(finding: Finding) -> decision_pb2.Reason:
    """Write one finding."""
    return decision_pb2.Reason(
        code=finding.code,
        rule_id=finding.rule_id,
        rule_version=finding.rule_version,
        pack_id=finding.pack_id,
        citation=finding.citation,
        grade=words.GRADE.numbers[finding.grade],
        text=finding.text,
        remedy=finding.remedy,
        outcome=words.OUTCOME.numbers[finding.outcome],
    )


def _remember(held: dict[K, V], key: K, value: V) -> None:
    if len(held) >= MAX_REMEMBERED:
        held.clear()
    held[key] = value


def _named_rule(rule: str) -> decision_pb2.Reason:
    rule_id, _, code = rule.partition(":")
    return decision_pb2.Reason(code=code, rule_id=rule_id)


def _obligation(duty: Obligation) -> decision_pb2.Obligation:
    return decision_pb2.Obligation(
        kind=words.OBLIGATION_KIND.numbers[duty.kind],
        due_time=optional_timestamp(duty.due),
        detail=duty.detail,
        citation=duty.citation,
    )
