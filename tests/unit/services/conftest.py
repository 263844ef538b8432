"""A real ledger on a real SQLite file, with a clock and randomness that the test owns."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.services.sequencer import Sequencer
from tests.support.clocks import LEDGER, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def randomness() -> Callable[[int], bytes]:
    return random.Random(7).randbytes


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def sequencer(database: Path, clock: Clock, randomness: Callable[[int], bytes]) -> AsyncIterator[Sequencer]:
    made = Sequencer(SqliteLedgerStore(database), ledger=LEDGER, clock=clock, random=randomness)
    await made.start()
    yield made
    await made.aclose()
    made.store.close()
