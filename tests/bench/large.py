"""``make bench-large``: the same server on a large ledger and on a small one; writes ``.bench/large.json``.

Needs about 1.7 KB of disk for an entry, and half an hour for ten million of them on two cores. ``BENCH_LARGE_ENTRIES``
and ``BENCH_LARGE_PEOPLE`` change the size, ``BENCH_LARGE_FOLDER`` the place; a ledger that is there is used again.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from consentry_server import config
from consentry_server.adapters import certificates
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.cli import TLS_FOLDER
from consentry_server.services.ledger import LedgerState
from consentry_server.tenant import TenantFolders
from tests.bench.__main__ import Caller, check_request
from tests.bench.load import Figures, closed_loop
from tests.support.clocks import LEDGER, Clock
from tests.support.large import Large, append_decisions, commit, make, people_of, templates_of
from tests.support.server import MODULE, Server, serving
from tests.support.stack import SETTINGS

SMALL = Large(10_000, 1_000)
LARGE = Large(
    int(os.environ.get("BENCH_LARGE_ENTRIES", "10000000")), int(os.environ.get("BENCH_LARGE_PEOPLE", "1000000"))
)
FOLDER = os.environ.get("BENCH_LARGE_FOLDER", "")
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
IN_FLIGHT = 128
COMMITS = {1: 300, 64: 50, 256: 15}
"""How many commits of each size: few enough that the small ledger stays small."""
TARGET = Path(".bench/large.json")

Row = dict[str, Any]
_messages = Console(stderr=True)


def prepare(state: Path, size: Large) -> None:
    """A state folder with a ledger of that size, ready to be served."""
    if (state / config.FILE_NAME).exists():
        return
    shutil.rmtree(state, ignore_errors=True)  # half made
    state.mkdir(parents=True)
    clock = Clock()
    clock.now = datetime.now(UTC)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_messages, transient=True) as progress:
        task = progress.add_task(f"{size.entries} entries", total=size.entries)
        asyncio.run(make(state, size, clock, told=lambda done: progress.update(task, completed=done)))
    tenancy = SETTINGS.tenancy
    certificates.make_development(
        state / TLS_FOLDER, trust_domain=tenancy.trust_domain, tenants=tenancy.tenants, now=datetime.now(UTC)
    )
    table = {"tenancy": {"trust_domain": tenancy.trust_domain, "tenants": tenancy.tenants}}
    (state / config.FILE_NAME).write_text(config.document(table), encoding="utf-8")  # last: now it is whole


def start_up(state: Path) -> float:
    """Seconds from the command to the first answer; the first start also signs what was made, and does not count."""
    with serving(state):
        pass
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with serving(state):
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def commits(state: Path, batch: int, count: int) -> float:
    """Median seconds that the store takes for a batch of decisions about random people."""
    store = SqliteLedgerStore(TenantFolders(state, SETTINGS.tenancy.tenants[0]).ledger)
    try:
        ledger = LedgerState(store)
        templates, people, chance = templates_of(store), people_of(store), random.Random(2)
        took = []
        for _ in range(count):
            pending = append_decisions(ledger, LEDGER, batch, datetime.now(UTC), templates, people, chance)
            began = time.perf_counter()
            commit(ledger, pending)
            took.append(time.perf_counter() - began)
    finally:
        store.close()
    return statistics.median(took)


def rebuild(state: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of ``consentry audit rebuild --check``."""
    code = (
        "import resource, runpy, sys\n"
        "sys.argv = ['consentry', 'audit', 'rebuild', sys.argv[1]]\n"
        f"try:\n    runpy.run_module({MODULE!r}, run_name='__main__')\n"
        "finally:\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, str(state)], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, int(done.stdout.split()[-1]) / 1024


def resident(server: Server) -> float:
    """Megabytes of the server's own memory, without the pages of files that it shares with the cache."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this machine does not say how much memory a process has")


def checking(caller: Caller, people: int, turn: int) -> Callable[[int], Awaitable[object]]:
    """A durable check about one of so many people, another one at each call."""
    check = caller.method("/consentry.v1.GateService/Check")
    run = str(time.time_ns())

    async def call(number: int) -> None:
        request = check_request(number, run)
        request.faces[0].subject_id = f"person-{(number * 7919 + turn * 104_729) % people}"
        await check(request)

    return call


async def checks(servers: Iterable[Server], sizes: Iterable[Large], in_flight: int) -> list[list[Figures]]:
    """Rounds of checks, on one server and the other in turn."""
    callers = [Caller(server, "processor", "face-tagger") for server in servers]
    figures: list[list[Figures]] = [[] for _ in callers]
    for turn in range(ROUNDS):
        for caller, size, found in zip(callers, sizes, figures, strict=True):
            found.append(await closed_loop(checking(caller, size.people, turn), in_flight=in_flight, seconds=SECONDS))
    for caller in callers:
        await caller.channel.close()
    return figures


def row(name: str, large: float, small: float, unit: str) -> Row:
    """One line of the table."""
    figures = {"large": round(large, 3), "small": round(small, 3), "ratio": round(large / small, 3)}
    return {"name": name, "unit": unit, **figures}


def measure(folder: Path) -> list[Row]:
    """All figures."""
    sizes = (SMALL, LARGE)
    states = tuple(folder / f"{size.entries}-{size.people}" for size in sizes)
    shutil.rmtree(states[0], ignore_errors=True)  # an earlier run has made it larger
    for state, size in zip(states, sizes, strict=True):
        prepare(state, size)
    rows = []
    small, large = (start_up(state) for state in states)
    rows.append(row("start-up, command to first answer", large, small, "s"))
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(state)) for state in states]
        small, large = (resident(server) for server in servers)
        rows.append(row("memory after the start", large, small, "MB"))
        for in_flight in (1, IN_FLIGHT):
            few, many = uvloop.run(checks(servers, sizes, in_flight))
            for which in ("p50", "p99"):
                small, large = (statistics.median(getattr(one, which) for one in each) * 1e3 for each in (few, many))
                rows.append(row(f"Check {which}, {in_flight} in flight", large, small, "ms"))
        small, large = (resident(server) for server in servers)
        rows.append(row("memory after the checks", large, small, "MB"))
    for batch, count in COMMITS.items():
        small, large = (commits(state, batch, count) * 1e3 for state in states)
        rows.append(row(f"commit of {batch}", large, small, "ms"))
    (few_took, small), (took, large) = (rebuild(state) for state in states)
    rows.append(row("rebuild --check", took, few_took, "s"))
    rows.append(row("rebuild --check, peak memory", large, small, "MB"))
    rows.append(row("rebuild --check, entries a second", LARGE.entries / took, SMALL.entries / few_took, "1/s"))
    return rows


def main() -> None:
    """Measure, print, write."""
    with ExitStack() as stack:
        folder = Path(FOLDER or stack.enter_context(tempfile.TemporaryDirectory()))
        rows = measure(folder)
    size = f"{LARGE.entries} entries of {LARGE.people} people against {SMALL.entries}"
    title = f"{size}; {platform.machine()}, {os.cpu_count()} cores"
    table = Table("what", "large", "small", "unit", "ratio", title=title)
    for one in rows:
        table.add_row(one["name"], str(one["large"]), str(one["small"]), one["unit"], str(one["ratio"]))
    Console().print(table)
    TARGET.parent.mkdir(exist_ok=True)
    written = {"entries": LARGE.entries, "people": LARGE.people, "rows": rows}
    TARGET.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
