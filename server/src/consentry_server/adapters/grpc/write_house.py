"""What callers get of house rules: packs, public statements, reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry.v1 import decision_pb2, determination_pb2, pack_pb2, review_pb2
from consentry_server.adapters.grpc import words, write
from consentry_server.core.vocabulary import Outcome
from consentry_server.services.reviews import State

if TYPE_CHECKING:
    from consentry_server.core.law import Finding, Pack
    from consentry_server.core.record.facts import ActivePack
    from consentry_server.core.record.house import Statement
    from consentry_server.services.book import Recorded
    from consentry_server.services.reviews import Shown


def pack(held: Pack, active: ActivePack) -> pack_pb2.Pack:
    """Write an active pack.

    Args:
        held: The pack.
        active: What the ledger says of it.
    """
    return pack_pb2.Pack(
        reference=write.pack_references((active,))[0],
        title=held.title,
        regions=[] if held.everywhere else sorted(held.regions),
        rule_count=sum(len(sheet.parts.rules) for sheet in held.sheets),
        house_rules=held.own,
    )


def recorded_statement(
    ledger: str, sent: determination_pb2.PublicStatement, statement: Statement, recorded: Recorded
) -> determination_pb2.PublicStatement:
    """Write a statement as it was recorded just now: the caller's own message with what the server sets."""
    written = determination_pb2.PublicStatement()
    written.CopyFrom(sent)
    written.statement_id = statement.statement_id
    written.entry.CopyFrom(write.entry(ledger, recorded))
    return written


def review(shown: Shown) -> review_pb2.Review:
    """Write a review as it stands."""
    held, made = shown.review, shown.determination
    algorithm_id, _, algorithm_version = held.algorithm.partition(" ")
    return review_pb2.Review(
        review_id=held.review_id,
        state=words.REVIEW_STATE.numbers[str(shown.state)],
        operation=words.OPERATION.numbers[held.operation],
        purpose=words.PURPOSE.numbers[held.purpose],
        category=words.DATA_CATEGORY.numbers[held.category],
        algorithm_id=algorithm_id,
        algorithm_version=algorithm_version,
        reasons=[_reason(said) for said in shown.reasons],
        first_decision_id=held.first_decision_id,
        decision_count=held.count,
        create_time=write.timestamp(held.raised_at),
        determination_id="" if made is None else made.determination_id,
        allowed_since_count=held.allowed_since if shown.state is State.DETERMINED else 0,
    )


def _reason(said: Finding | str) -> decision_pb2.Reason:
    """In its own words; by rule and code alone where no active pack has them any more."""
    if not isinstance(said, str):
        return write.reason(said)
    rule_id, _, code = said.partition(":")
    return decision_pb2.Reason(code=code, rule_id=rule_id, outcome=words.OUTCOME.numbers[Outcome.REVIEW])
