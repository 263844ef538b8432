"""The decision alone, without a server: microseconds of one core for one face of three states, all packs active."""

from __future__ import annotations

import statistics
import time

from consentry_server.core.law import Pack, decide
from consentry_server.core.record.facts import Face
from consentry_server.tenant import bundled_packs
from tests.unit.law.worlds import (
    NOW,
    STRANGER,
    UNKNOWN_REGIONS,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

GOAL_MICROSECONDS = 15.0
CALLS = 500
ROUNDS = 100

_HOME = frozenset({"US-IL", "US-TX", "US-VA"})


def packs_that_ship() -> tuple[Pack, ...]:
    """Every pack of this build, as a new tenant has them."""
    return tuple(pack for pack, _ in bundled_packs())


def faces() -> dict[str, tuple[Face, ...]]:
    """What is measured: one face of each sort, and four of them together."""
    allowed = named(make_subject(regions=_HOME))
    withdrawn = named(make_subject(regions=_HOME, releases=(make_release(withdrawn_at=NOW, withdrawn_index=40),)))
    unsigned = named(make_subject(regions=_HOME, releases=(), deliveries=()))
    return {
        "allowed": (allowed,),
        "withdrawn": (withdrawn,),
        "nothing signed": (unsigned,),
        "stranger": (STRANGER,),
        "four mixed": (allowed, withdrawn, unsigned, STRANGER),
    }


def measure() -> dict[str, tuple[float, float]]:
    """Minimum and median over many rounds, microseconds of processor time a decision: other work does not count."""
    packs, tenant = packs_that_ship(), make_tenant()
    request = make_request(uses_face_geometry=True, identifies=True, stored=True)
    found: dict[str, tuple[float, float]] = {}
    for name, asked in faces().items():
        rounds: list[float] = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            for _ in range(CALLS):
                decide(request, asked, tenant, packs, now=NOW, unknown_regions=UNKNOWN_REGIONS)
            rounds.append((time.thread_time() - began) / CALLS * 1e6)
        found[name] = min(rounds), statistics.median(rounds)
    return found


if __name__ == "__main__":
    for name, (least, median) in measure().items():
        print(f"decide, three laws, {name:15} min {least:6.2f} median {median:6.2f} µs")
