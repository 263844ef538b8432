"""Observing loosens: it never counts without two officers, never for the past, never against one who enforces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from consentry_server.core.law.enforcement import is_observed
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record import fold
from consentry_server.core.record.facts import EnforcementSwitch, Tenant
from consentry_server.core.vocabulary import Operation

START = datetime(2026, 11, 23, tzinfo=UTC)
OPERATIONS = (Operation.ENROLL, Operation.IDENTIFY)


class Table:
    """The records of one tenant."""

    def __init__(self) -> None:
        self.tenant = Tenant()

    def get(self, kind: Any, key: str) -> Any:
        assert (kind, key) == (Tenant, fold.TENANT_KEY)
        return self.tenant

    def put(self, kind: Any, key: str, record: Any) -> None:
        assert (kind, key) == (Tenant, fold.TENANT_KEY)
        self.tenant = record


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


changes = st.tuples(st.sampled_from(OPERATIONS), st.booleans(), st.integers(-3, 6), st.sampled_from("ab"))
approvals = st.tuples(st.integers(0, 6), st.sampled_from("abc"))
histories = st.lists(st.one_of(changes, approvals), max_size=7)


Made = tuple[int, int, bool, int, Operation]
"""One switch in plain numbers: index, hour, enforced, from which hour, operation."""


def play(history: list[tuple[object, ...]]) -> tuple[Table, list[Made], dict[int, int]]:
    """Fold a history, an entry an hour; beside it what happened."""
    table = Table()
    made: list[Made] = []
    authors: list[object] = []
    approved: dict[int, int] = {}
    for at, event in enumerate(history):
        stamp = {"index": at, "time": format_time(hour(at)), "actor": "officer/x"}
        if len(event) == 4:
            operation, enforced, after, author = event
            assert isinstance(operation, Operation)
            assert isinstance(after, int)
            body = {
                "enforcement_id": f"enf_{len(made)}",
                "operation": str(operation),
                "enforced": bool(enforced),
                "effective_time": format_time(hour(at + after)),
                "decided_by": str(author),
            }
            fold.apply(table, {**stamp, "type": "enforcement.changed", "enforcement": body})
            made.append((at, at, bool(enforced), max(at, at + after), operation))
            authors.append(author)
        else:
            which, officer = event
            assert isinstance(which, int)
            if which < len(made) and authors[which] != officer and which not in approved and not made[which][2]:
                approved[which] = at
                said = {"enforcement_id": f"enf_{which}", "approved_by": str(officer)}
                fold.apply(table, {**stamp, "type": "enforcement.approved", **said})
    return table, made, approved


@given(history=histories, moment=st.integers(-1, 16))
@example(history=[(Operation.ENROLL, False, 5, "a"), (0, "b"), (Operation.ENROLL, True, 1, "a")], moment=6)
@example(history=[(Operation.ENROLL, True, 6, "a"), (Operation.ENROLL, False, 0, "a"), (0, "b")], moment=6)
def test_an_operation_is_observed_only_where_two_officers_said_so_and_none_has_enforced_since(
    history: list[tuple[object, ...]], moment: int
) -> None:
    table, made, approved = play(history)
    for operation in OPERATIONS:
        if is_observed(table.tenant.enforcement, operation, hour(moment)):
            vouched = [
                (index, max(since, approved[place]))
                for place, (index, _, enforced, since, about) in enumerate(made)
                if about is operation and not enforced and place in approved
            ]
            live = [(index, since) for index, since in vouched if since <= moment]
            assert live, "observed without two officers, or before its time"
            enforcing = [(i, since) for i, _, on, since, about in made if on and about is operation and since <= moment]
            assert any(all(index > i and since > s for i, s in enforcing) for index, since in live)


@given(history=histories, moment=st.integers(0, 16), operation=st.sampled_from(OPERATIONS))
def test_one_officer_who_enforces_ends_observing(
    history: list[tuple[object, ...]], moment: int, operation: Operation
) -> None:
    table, _, _ = play(history)
    after = hour(max(moment, len(history)))
    last = EnforcementSwitch("enf_x", len(history), operation, True, after, "officer/a")
    assert not is_observed((*table.tenant.enforcement, last), operation, after)


@given(history=histories, moment=st.integers(-1, 16))
def test_the_order_of_the_switches_in_the_table_changes_nothing(history: list[tuple[object, ...]], moment: int) -> None:
    switches = play(history)[0].tenant.enforcement
    for operation in OPERATIONS:
        assert is_observed(switches, operation, hour(moment)) is is_observed(switches[::-1], operation, hour(moment))


def test_observing_for_a_month_ahead() -> None:
    """A pilot that is planned with its end: both switches are recorded before it begins."""
    month = Operation.ENROLL
    history: list[tuple[object, ...]] = [(month, False, 2, "a"), (0, "b"), (month, True, 5, "a")]
    switches = play(history)[0].tenant.enforcement
    seen = [is_observed(switches, month, hour(moment)) for moment in range(10)]
    assert seen == [False, False, True, True, True, True, True, False, False, False]
