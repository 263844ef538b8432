"""The two processes of the demo: Consentry's server and the face tagger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

CONSENTRY = (sys.executable, "-m", "consentry_server")
START_SECONDS = 30
STOP_SECONDS = 30
POLL_SECONDS = 0.05
EXAMPLES = Path(__file__).parents[1]
PROTECTION = {"CONSENTRY_TENANCY__PROTECTION_AT_LEAST_OTHER_SENSITIVE": "true"}
"""The operator's word that biometric data is protected as well as other sensitive data (740 ILCS 14/15(e))."""
WORDS = {"PYTHONIOENCODING": "utf-8"}
"""What the processes print is read as UTF-8, whatever this terminal speaks."""


class ProcessFailedError(Exception):
    """A process did not start, or a command failed; the message says where its words are."""


def consentry(*arguments: str | Path) -> str:
    """Run one ``consentry`` command to its end.

    Returns:
        What it printed.

    Raises:
        ProcessFailedError: its exit code was not 0.
    """
    done = subprocess.run(
        [*CONSENTRY, *map(str, arguments)],
        env=os.environ | PROTECTION | WORDS,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise ProcessFailedError(f"consentry {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def running(name: str, command: list[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for a block; it is asked to stop at the end, and killed if it does not."""
    with log.open("ab") as words:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=EXAMPLES,
            env=os.environ | PROTECTION | WORDS,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops its processes in order
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            stop(name, process)


def stop(name: str, process: subprocess.Popen[bytes]) -> int:
    """Ask a process to finish what it accepted and to stop.

    Returns:
        Its exit code.

    Raises:
        ProcessFailedError: it had to be killed.
    """
    process.terminate()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise ProcessFailedError(f"{name} did not stop within {STOP_SECONDS} seconds and was killed") from error


def wait_for_address(process: subprocess.Popen[bytes], ready: Path, log: Path) -> str:
    """Wait until the server has written where it answers.

    Raises:
        ProcessFailedError: it ended before, or took too long.
    """
    for _ in range(int(START_SECONDS / POLL_SECONDS)):
        try:
            process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if ready.exists():
                return str(json.loads(ready.read_text(encoding="utf-8"))["address"])
        else:
            break
    raise ProcessFailedError(f"the server did not start; {log} says why")


def wait_for_channel(process: subprocess.Popen[bytes], channel: grpc.Channel, log: Path) -> None:
    """Wait until a service can be called.

    Raises:
        ProcessFailedError: it ended before, or took too long.
    """
    ready = grpc.channel_ready_future(channel)
    for _ in range(START_SECONDS):
        try:
            ready.result(timeout=1)
        except grpc.FutureTimeoutError:
            if process.poll() is not None:
                break
        else:
            return
    ready.cancel()
    raise ProcessFailedError(f"the face tagger did not start; {log} says why")
