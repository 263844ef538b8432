"""The generator of large ledgers makes sound ones: folded again they are the same, and they can be served."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from consentry_server.core.vocabulary import Outcome
from tests.support.clocks import Clock
from tests.support.large import BATCH, Large, make
from tests.support.rebuild import rebuilt
from tests.support.stack import face, start


async def test_a_large_ledger_is_a_ledger(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
    told: list[int] = []
    await make(tmp_path, Large(entries=2 * BATCH, people=500), clock, told=told.append)
    stack = await start(tmp_path, clock, create=False)
    checked = await stack.check(face("person-17"), sha256=b"\x01" * 32)
    assert checked.decision.outcome is Outcome.ALLOW
    await stack.running.aclose()
    found = rebuilt(stack.running.folders.ledger)
    assert [str(each) for each in found.differences.listed] == []
    assert found.head.size > told[-1] >= 2 * BATCH
    rows = {table.name: table.rows for table in found.tables}
    assert rows["people's chains"] == rows["subject mapping"] == 502
    assert rows["hash tiles"] == found.head.size // 256
    assert rows["request ids"] > 100
