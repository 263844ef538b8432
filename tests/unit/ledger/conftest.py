"""What the ledger's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ledger.ledgers import Ledger


@pytest.fixture
def ledger() -> Ledger:
    """An empty ledger; ``grow(n)`` fills it."""
    return Ledger()


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of public test vectors."""
    return Path(__file__).parents[2] / "data" / "vectors"
