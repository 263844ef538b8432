"""The long form: thousands of crashes, with progress; exit code 1 when one of them lost something.

``--seed`` chooses the same points again. What a crash left is kept in ``.faults``; ``--again FOLDER`` judges it again,
to the byte.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import campaign, trace
from tests.faults.campaign import Tally
from tests.faults.judge import judge
from tests.faults.worker import RealClock

OUTPUT = Path(".faults")
CUTS, CALLS, CONTROL_CUTS = 240, 40, 60
"""Points of one part, and of one control."""
CONTROL_SHARE = 0.1
"""What of the time the controls may take, at the end."""
AT_ONCE = 2


def parts(seed: str) -> Iterator[Callable[[], Tally]]:
    """Parts without end, of every family in turn."""
    number = 0
    while True:
        yield partial(campaign.cuts, f"{seed}-{number}", CUTS, OUTPUT)
        yield partial(campaign.tampered, f"{seed}-{number}k", CALLS, OUTPUT, kill=True)
        yield partial(campaign.tampered, f"{seed}-{number}e", CALLS, OUTPUT, kill=False)
        number += 1


def run(seed: str, minutes: float, console: Console) -> Tally:
    """Crash for some minutes, then run the controls."""
    total, begun = Tally(), time.monotonic()
    seconds = minutes * 60
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool,
        Progress(*columns, console=console) as progress,
    ):
        bar = progress.add_task("starting", total=seconds)
        waiting: set[Future[Tally]] = set()
        more = parts(seed)
        controls = [partial(campaign.control, name, f"{seed}-control", CONTROL_CUTS) for name in campaign.CONTROLS]
        while True:
            spent = time.monotonic() - begun
            while len(waiting) < AT_ONCE and spent < seconds * (1 - CONTROL_SHARE):
                waiting.add(pool.submit(next(more)))
            while len(waiting) < AT_ONCE and controls and spent >= seconds * (1 - CONTROL_SHARE):
                waiting.add(pool.submit(controls.pop()))
            if not waiting:
                return total
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED, timeout=5)
            for each in done:
                tally = each.result()
                total.add(tally)
                for failure in tally.failures:
                    console.print(f"FAILED {failure.family}, {failure.point}", markup=False)
                    console.print("\n".join(f"  {finding}" for finding in failure.findings[:5]), markup=False)
            text = f"{sum(total.points.values())} crashes, {len(total.failures)} failures"
            progress.update(bar, completed=min(spent, seconds), description=text)
            if done and not console.is_terminal:
                console.print(f"{spent:6.0f} s: {text}", markup=False)


def verdict(total: Tally, console: Console) -> bool:
    """Show what was done; whether all is well."""
    for name, count in sorted(total.points.items()):
        console.print(f"{count:8} {name}", markup=False)
    for name, count in sorted(total.seen.items()):
        console.print(f"{count:8} {name}", markup=False)
    blind = [name for name in campaign.CONTROLS if not total.seen[f"found: {name}"]]
    for name in blind:
        console.print(f"FAILED the control was not found: {name}", markup=False)
    return not total.failures and not blind


def again(folder: Path, console: Console) -> bool:
    """Judge a kept disk once more, on a copy."""
    with campaign.scratch() as place:
        shutil.copytree(folder / "state", place / "state")
        findings = judge(place / "state", (folder / "said.jsonl").read_bytes().splitlines(), RealClock())
    console.print("\n".join(findings) or "nothing is wrong", markup=False)
    return not findings


def main() -> None:
    """Read the command line and crash."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--again", type=Path)
    options = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    if options.again is not None:
        sys.exit(not again(options.again, console))
    why = trace.missing()
    if why:
        sys.exit(why)
    console.print(f"seed {options.seed}, {options.minutes} minutes")
    OUTPUT.mkdir(exist_ok=True)
    total = run(options.seed, options.minutes, console)
    result = {"seed": options.seed, "points": total.points, "seen": total.seen}
    (OUTPUT / "latest.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(not verdict(total, console))


if __name__ == "__main__":
    main()
