"""A closed loop of callers: each sends its next call when it has the answer to the last."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What one round gave.

    Args:
        per_second: Answers a second.
        p50: Median latency, seconds.
        p99: 99th percentile of the latency, seconds.
    """

    per_second: float
    p50: float
    p99: float


async def closed_loop(call: Callable[[int], Awaitable[object]], *, in_flight: int, seconds: float) -> Figures:
    """Call until the time is over.

    Args:
        call: Makes the n-th call.
        in_flight: How many callers there are.
        seconds: How long.

    Returns:
        The figures.
    """
    numbers = itertools.count()
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await call(next(numbers))
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    took = time.perf_counter() - began
    latencies.sort()
    return Figures(len(latencies) / took, latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)])
