"""A chosen system call, in the running process, kills it or fails: by strace's fault injection."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.faults import tamper, trace
from tests.faults.trace import Run

WORKER = "tests.faults.worker"
STOPPED = 3
STEPS = 12
"""What each caller of a tampered run does: some 120 entries together."""
LEDGER, LEDGER_LOG = "tenants/acme/ledger.db", "tenants/acme/ledger.db-wal"
KEYS, KEYS_LOG = "keys/acme/keys.db", "keys/acme/keys.db-wal"
LOCK_NEW, LOCK = "locks/acme/checkpoint.new", "locks/acme"
DATABASES = (LEDGER, LEDGER_LOG, KEYS, KEYS_LOG)
PLACES = (
    *((call, file) for file in DATABASES for call in ("pwrite64", "fdatasync,fsync", "openat")),
    ("ftruncate", LEDGER_LOG), ("ftruncate", KEYS_LOG), ("pread64", LEDGER), ("pread64", LEDGER_LOG), ("pread64", KEYS),
    ("write", LOCK_NEW), ("fsync", LOCK_NEW), ("rename", LOCK_NEW), ("openat", LOCK_NEW), ("fsync", LOCK),
    ("pwrite64", ""), ("fdatasync", ""), ("fsync", ""), ("fdatasync,fsync", ""), ("ftruncate", ""), ("rename", ""),
    ("link,linkat", ""), ("unlink,unlinkat", ""), ("mkdir,mkdirat", ""), ("write", ""),
    ("pwrite64,write,fsync,fdatasync,rename,link,unlink,ftruncate,mkdir", ""),
)  # fmt: skip
"""Calls that change, keep or read something, and the file that they are about; empty for every file."""
ERRORS = ("EIO", "ENOSPC")
MOST_FULL = 40
"""For how many calls a disk stays full."""

_CALL = re.compile(r"(\d+) +(\w+)\((.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tampering:
    """What is done to which call.

    Args:
        call: Names of system calls, with commas.
        action: ``signal=KILL`` or ``error=...``.
        when: Which of one thread's calls, as strace counts: ``7``, or ``7..20`` for a disk that is full for a while.
        file: Only calls about this file under the state folder; empty for all.
    """

    call: str
    action: str
    when: str
    file: str = ""

    def options(self, state: Path) -> tuple[str, ...]:
        only = ("-P", str(state / self.file)) if self.file else ()
        return (*only, "-e", f"trace={self.call}", "-e", f"inject={self.call}:{self.action}:when={self.when}")

    def __str__(self) -> str:
        return f"{self.call}:{self.action}:when={self.when}" + (f" of {self.file}" if self.file else "")


Census = dict[tuple[str, str], int]


def census(template: Path, folder: Path) -> Census:
    """How often the busiest thread of a run makes the calls of each place."""
    state = folder / "state"
    shutil.copytree(template, state)
    names = ",".join(sorted({name for call, _ in PLACES for name in call.split(",")}))
    arguments = [WORKER, str(state), "--seed", "census", "--steps", str(STEPS)]
    trace.run(arguments, folder / "trace", options=("-y", "-s", "0", "-e", f"trace={names}"))
    counts: Counter[tuple[str, str, str]] = Counter()
    for line in (folder / "trace").read_text(errors="replace").splitlines():
        found = _CALL.match(line)
        if found is None:
            continue
        thread, name, rest = found.groups()
        for call, file in PLACES:
            if name in call.split(",") and (not file or f"<{state / file}>" in rest):
                counts[call, file, thread] += 1
    busiest: Census = {}
    for (call, file, _), count in counts.items():
        busiest[call, file] = max(count, busiest.get((call, file), 1))
    shutil.rmtree(folder)
    return busiest


def choose(chance: random.Random, busiest: Census, *, kill: bool) -> Tampering:
    """Choose a tampering; early and late calls alike."""
    call, file = chance.choice(PLACES)
    first = chance.randint(1, busiest.get((call, file), 3))
    if kill:
        return Tampering(call, "signal=KILL", str(first), file)
    error = "EIO" if call == "pread64" else chance.choice(ERRORS)
    last = chance.choice((first, first, first + 1, first + chance.randint(2, MOST_FULL)))
    return Tampering(call, f"error={error}", str(first) if last == first else f"{first}..{last}", file)


def run(template: Path, folder: Path, seed: str, tampering: Tampering) -> tuple[Path, Run]:
    """Let a worker run into a tampering, on a copy of a state folder.

    Returns:
        The state that is left, and how the run ended.
    """
    state = folder / "state"
    shutil.copytree(template, state)
    arguments = [str(state), "--seed", seed, "--steps", str(STEPS)]
    return state, tamper.run(arguments, folder / "trace", tampering.options(state))


def complain(ended: Run, *, kill: bool) -> list[str]:
    """What is wrong with the way in which a run ended."""
    honest = {0, -9} if kill else {0, STOPPED, 4}
    if ended.code in honest:
        return []
    return [f"the process ended with {ended.code}: {ended.errors.strip()[-600:]}"]
