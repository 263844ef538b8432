"""How many entries stood before a time: the shelf and the ledger say what counting says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.core.ledger.entry import format_time
from consentry_server.services import again

START = datetime(2026, 11, 23, tzinfo=UTC)


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(-1, 60))
def test_entries_before_a_time_are_counted(steps: list[int], wanted: int) -> None:
    """Several entries may be of one moment, and none of that moment is before it."""
    times = [START + timedelta(microseconds=sum(steps[:place])) for place in range(1, len(steps) + 1)]
    moment = START + timedelta(microseconds=wanted)
    counted = sum(time < moment for time in times)
    entries = [{"time": format_time(time)} for time in times]
    assert again.entries_before(entries.__getitem__, len(entries), moment) == counted
    shelf = SqliteShelf()
    shelf.open()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(again, "TIMES_AT_ONCE", 4)
            noted = again.Times(shelf)
            for entry in entries:
                noted.add(entry["time"])
            assert noted.size_before(moment) == counted
    finally:
        shelf.close()
