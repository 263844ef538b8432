"""The campaign's parts: each makes crashes of one family from a seed, and says what it tried and what was wrong."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tests.faults import calls, trace
from tests.faults.disk import Crash, Disk, Recording
from tests.faults.judge import judge
from tests.faults.worker import RealClock

MEMORY = Path("/dev/shm")  # noqa: S108 - folders of our own, made by tempfile
CUT_STEPS = 30
"""What each caller of a recorded run does."""
LIES = ("-e", "inject=fsync,fdatasync:retval=0")
"""An fsync that says that it was done, and was not."""
CONTROLS = {
    "synchronous=NORMAL": ("normal", (), Crash.POWER),
    "a lying fsync": ("none", LIES, Crash.POWER),
    "acknowledged before the commit": ("early", (), Crash.KILL),
}
"""What must be found: how the worker is spoilt, strace's options, and the crash that shows it."""


@dataclass(frozen=True)
class Failure:
    """One crash after which something was wrong.

    Args:
        family: Which kind of crash.
        point: Where exactly.
        findings: What was wrong.
        kept: Where the disk is kept as the crash left it.
    """

    family: str
    point: str
    findings: list[str]
    kept: str


@dataclass
class Tally:
    """What a part of the campaign did."""

    points: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    """How often things happened that show that the campaign bites: ``answers relied on``, ``STORAGE_FULL``."""
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.points.update(other.points)
        self.seen.update(other.seen)
        self.failures += other.failures


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes away; in memory where there is such a place, since nothing here has to survive."""
    folder = Path(tempfile.mkdtemp(prefix="consentry-faults-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_state(state: Path, seed: str) -> Path:
    """A tenant with some history, made in peace."""
    state.mkdir(mode=0o700)
    command = [sys.executable, "-m", calls.WORKER, str(state), "--seed", f"{seed}-before", "--steps", "5", "--create"]
    made = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert made.returncode == 0, made.stderr.decode()
    return state


def record(
    folder: Path, seed: str, *, spoilt: str = "none", options: tuple[str, ...] = (), steps: int = CUT_STEPS
) -> Recording:
    """Record one run of the worker; the recording is checked against the disk.

    Args:
        folder: Takes the state and the trace.
        seed: The worker's.
        spoilt: See ``sabotage``.
        options: Further options of strace.
        steps: What each caller does.
    """
    state = new_state(folder / "state", seed)
    arguments = [calls.WORKER, str(state), "--seed", seed, "--steps", str(steps), "--sabotage", spoilt]
    recording, ended = trace.record(arguments, state, folder / "trace", options=options)
    assert ended.code == 0, ended.errors
    found, expected = dict(recording.whole().paths()), dict(Disk.load(state, trace.IGNORED).paths())
    assert found == expected, "the recording is not what happened"
    return recording


def cut(recording: Recording, crash: Crash, point: int, chance: random.Random, folder: Path) -> list[str]:
    """Judge what a crash at one point may leave."""
    state = folder / "left"
    state.mkdir(mode=0o700)
    recording.crash(crash, point, chance).save(state)
    try:
        return judge(state, recording.said(point), RealClock())
    finally:
        shutil.rmtree(state)


def cuts(seed: str, count: int, keep: Path | None) -> Tally:
    """Record a run; cut it at ``count`` places, by SIGKILL and by power loss in turn."""
    _be_quiet()
    tally = Tally()
    with scratch() as folder:
        recording = record(folder, seed)
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            crash = (Crash.KILL, Crash.POWER, Crash.POWER)[number % 3]
            point = chance.randrange(len(recording.changes) + 1)
            state = chance.getstate()
            findings = cut(recording, crash, point, chance, folder)
            said = recording.said(point)
            tally.points[f"cut by {'SIGKILL' if crash is Crash.KILL else 'power loss'}"] += 1
            tally.seen["answers relied on"] += sum(b'"did"' in line for line in said)
            if findings:
                chance.setstate(state)
                kept = _kept(keep, f"{seed}-{number}")
                if kept is not None:
                    recording.crash(crash, point, chance).save(kept / "state")
                name = f"seed {seed}, cut {number}: before change {point} of {len(recording.changes)}"
                tally.failures.append(_failure(f"cut by {crash}", name, findings, said, kept))
    return tally


def tampered(seed: str, count: int, keep: Path | None, *, kill: bool, late: bool = True) -> Tally:
    """Run ``count`` workers into a system call that kills them or fails.

    Args:
        seed: Chooses the calls.
        count: How many runs.
        keep: Where the disks of failures are kept.
        kill: Whether the call kills, or else fails.
        late: Choose among all calls of a run; else, and sooner, among the first of each place.
    """
    _be_quiet()
    tally = Tally()
    with scratch() as folder:
        template = new_state(folder / "template", seed)
        (folder / "census").mkdir()
        busiest = calls.census(template, folder / "census") if late else {}
        for number in range(count):
            run = folder / str(number)
            run.mkdir()
            tampering = calls.choose(random.Random(f"{seed}/{number}"), busiest, kill=kill)
            state, ended = calls.run(template, run, f"{seed}-{number}", tampering)
            said = [line for line in ended.said if line.endswith(b"}")]
            shutil.copytree(state, run / "left")
            findings = [*calls.complain(ended, kill=kill), *judge(state, said, RealClock())]
            family = (
                "SIGKILL at a system call" if kill else f"{tampering.action.removeprefix('error=')} from a system call"
            )
            tally.points[family if ended.injected else "the call did not come"] += 1
            tally.seen["answers relied on"] += sum(b'"did"' in line for line in said)
            tally.seen.update(_told(said))
            if ended.code == calls.STOPPED:
                tally.seen["the process stopped itself"] += 1
            if findings:
                kept = _kept(keep, f"{seed}-{number}")
                if kept is not None:
                    shutil.copytree(run / "left", kept / "state", dirs_exist_ok=True)
                name = f"seed {seed}, run {number}: {tampering}"
                tally.failures.append(_failure(family, name, findings, said, kept))
            shutil.rmtree(run)
    return tally


def control(name: str, seed: str, count: int, *, once: bool = False, steps: int = CUT_STEPS) -> Tally:
    """A control: what a careless implementation loses must be found. What is found is in ``seen``.

    Args:
        name: Which one.
        seed: Chooses the cuts.
        count: How many.
        once: Stop when a loss was found.
        steps: What each caller of the recorded run does.
    """
    _be_quiet()
    spoilt, options, crash = CONTROLS[name]
    tally = Tally()
    with scratch() as folder:
        recording = record(folder, seed, spoilt=spoilt, options=options, steps=steps)
        for number in range(count):
            chance = random.Random(f"{seed}/{number}")
            findings = cut(recording, crash, chance.randrange(len(recording.changes) + 1), chance, folder)
            tally.points[f"control: {name}"] += 1
            tally.seen[f"found: {name}"] += is_loss(findings)
            if once and tally.seen[f"found: {name}"]:
                break
    return tally


def is_loss(findings: list[str]) -> bool:
    """Whether something that was acknowledged is not there, or what was published contradicts what is."""
    return any(("LOST" in each) or ("LEDGER_FORKED" in each) or ("CAME BACK" in each) for each in findings)


def _told(said: list[bytes]) -> Iterator[str]:
    for reason in ("STORAGE_FULL", "STORAGE_FAILED", "DATA_DAMAGED"):
        yield from [f"answered {reason}"] * sum(f'"{reason}"'.encode() in line for line in said)


def _be_quiet() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


def _kept(keep: Path | None, name: str) -> Path | None:
    if keep is None:
        return None
    kept = keep / name
    shutil.rmtree(kept, ignore_errors=True)
    (kept / "state").mkdir(parents=True, mode=0o700)
    return kept


def _failure(family: str, point: str, findings: list[str], said: list[bytes], kept: Path | None) -> Failure:
    if kept is not None:
        (kept / "said.jsonl").write_bytes(b"\n".join(said))
        (kept / "why.txt").write_text("\n".join([family, point, *findings]) + "\n", encoding="utf-8")
    return Failure(family, point, findings, str(kept or ""))
