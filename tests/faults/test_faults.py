"""The short form of the campaign: some tens of crashes, and every control. ``make test-faults`` is the long one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import campaign, trace
from tests.faults.disk import Crash, Disk, Recording

SEED = "short"
CUTS = 12
CONTROL_CUTS = 60
STEPS = 10

WHY_NOT = trace.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    with campaign.scratch() as folder:
        yield campaign.record(folder, SEED, steps=STEPS)


@pytest.mark.parametrize("crash", list(Crash))
def test_nothing_acknowledged_is_lost_wherever_a_run_is_cut(recording: Recording, crash: Crash, tmp_path: Path) -> None:
    for number in range(CUTS):
        chance = random.Random(f"{SEED}/{number}")
        point = chance.randrange(len(recording.changes) + 1)
        assert campaign.cut(recording, crash, point, chance, tmp_path) == [], f"cut {number}, before change {point}"


def test_at_the_end_of_a_run_all_of_it_is_durable(recording: Recording, tmp_path: Path) -> None:
    for number in range(2):
        end = len(recording.changes)
        assert campaign.cut(recording, Crash.POWER, end, random.Random(number), tmp_path) == []


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "failing"])
def test_nothing_acknowledged_is_lost_when_a_system_call_kills_or_fails(kill: bool) -> None:
    tally = campaign.tampered(SEED, 4, None, kill=kill, late=False)
    assert [(failure.point, failure.findings) for failure in tally.failures] == []
    assert sum(tally.points.values()) > tally.points["the call did not come"]


@pytest.mark.parametrize("name", campaign.CONTROLS)
def test_what_a_careless_implementation_loses_is_found(name: str) -> None:
    tally = campaign.control(name, SEED, CONTROL_CUTS, once=True, steps=STEPS)
    assert tally.seen[f"found: {name}"] > 0


def test_an_init_that_was_answered_survives_a_power_cut(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    state = home / "state"
    made, ended = trace.record(["consentry_server", "init", str(state), "--tenant", "acme"], home, tmp_path / "trace")
    assert ended.code == 0, ended.errors
    whole = dict(Disk.load(home, trace.IGNORED).paths())
    for number in range(6):
        left = dict(made.crash(Crash.POWER, len(made.changes), random.Random(number)).paths())
        assert left == whole
