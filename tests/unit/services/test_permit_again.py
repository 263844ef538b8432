"""A permit's basis is looked at again before anything made under it is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import DataCategory, Operation, Outcome
from consentry_server.services.statements import StatementDraft
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import OFFICER, Stack, face, start


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    made = await start(tmp_path, Clock())
    yield made
    ledger = made.running.folders.ledger
    await made.running.aclose()
    assert differences(ledger) == []


async def test_a_statement_made_since_the_permit_keeps_its_identifier_out(stack: Stack) -> None:
    """A statement counts from its entry on: the vault looks at the permit's own operation again before it stores."""
    await stack.policy()
    await stack.notice()
    await stack.consent("ana")
    checked = await stack.check(face("ana"), sha256=b"s" * 32)
    assert checked.permit
    await stack.tenant.statements.record(
        OFFICER,
        StatementDraft(
            text="We enrol no faces from photos.",
            speaker="The chief executive",
            stated_at=stack.clock.now,
            operations=frozenset({Operation.ENROLL}),
            excluded_categories=frozenset({DataCategory.PHOTO}),
        ),
    )
    assert (await stack.check(face("ana"), sha256=b"s" * 32)).decision.outcome is Outcome.DENY
    with pytest.raises(ConsentryError) as caught:
        await stack.store_identifier(checked.permit)
    assert caught.value.reason is Reason.BASIS_GONE
