"""A fake server, and the two clients behind one set of coroutines, so that each test runs against both."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import consentry
from consentry import aio
from consentry.testing import FakeGate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

CONFIG = consentry.Config(check_deadline_seconds=20, unary_deadline_seconds=20)  # long: two busy cores
ALGORITHM = {"algorithm_id": "arcface", "algorithm_version": "1.0"}


async def now(value: Any) -> Any:
    """The value itself, or what it turns out to be."""
    return await value if inspect.isawaitable(value) else value


async def all_of(items: Any) -> list[Any]:
    """Every item of an iterator of either kind."""
    return [item async for item in items] if hasattr(items, "__aiter__") else list(items)


class Side:
    """One of the two clients; ``await side.call("check", ...)`` whichever it is."""

    def __init__(self, name: str, gate: FakeGate) -> None:
        self.name = name
        self._make: Any = gate.client if name == "sync" else gate.aio_client

    @asynccontextmanager
    async def started(self, config: consentry.Config = CONFIG) -> AsyncIterator[Any]:
        if self.name == "sync":
            with self._make(config=config) as client:
                yield client
        else:
            async with self._make(config=config) as client:
                yield client

    @asynccontextmanager
    async def block(self, context: Any) -> AsyncIterator[Any]:
        """Enter a context manager of either kind."""
        if self.name == "sync":
            with context as value:
                yield value
        else:
            async with context as value:
                yield value

    def guard(self, client: Any, clock: Callable[[], float] | None = None) -> Any:
        kind: Any = consentry.Guard if self.name == "sync" else aio.Guard
        return kind(client, **ALGORITHM, **({"clock": clock} if clock else {}))


@pytest.fixture
def gate() -> Iterator[FakeGate]:
    with FakeGate(allowed={"alice", "bob"}, nonbiometric={"carol"}) as gate:
        yield gate


@pytest.fixture(params=["sync", "async"])
def side(request: pytest.FixtureRequest, gate: FakeGate) -> Side:
    return Side(request.param, gate)
