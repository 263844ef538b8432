"""A clock that a test owns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

LEDGER = "consentry.test/acme"


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)
