"""Run the worker under strace's fault injection, cheaply: forked from a process that has imported everything.

strace attaches before the work begins: a SIGKILL is delivered at the chosen call only where strace stops at every call
(with ``--seccomp-bpf`` it is silently dropped), and that would make the start of Python slow.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from tests.faults.trace import HUNG, Run

SECONDS = 60
SECONDS_TO_DETACH = 10
_PR_SET_PTRACER = 0x59616D61  # linux/prctl.h: whom Yama lets attach
_ANYBODY = ctypes.c_ulong(-1)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.faults.worker"])


def _work(arguments: list[str], output: Connection, errors: Connection, go: Connection) -> None:
    """In the child: wait for strace, then be the worker."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)
    go.recv()
    from tests.faults import worker  # noqa: PLC0415 - imported before the fork, where the server preloads it

    sys.argv = ["worker", *arguments]
    worker.main()


def run(arguments: list[str], trace: Path, options: tuple[str, ...]) -> Run:
    """Run the worker under strace.

    Args:
        arguments: The worker's command line.
        trace: Where strace writes.
        options: What strace is to do.
    """
    said_path, errors_path = trace.with_suffix(".said"), trace.with_suffix(".errors")
    ours, theirs = _forks.Pipe()
    with said_path.open("wb") as said, errors_path.open("wb") as errors:
        process = _forks.Process(
            target=_work, args=(arguments, _connection(said.fileno()), _connection(errors.fileno()), theirs)
        )
        process.start()
    assert process.pid is not None
    command = ["strace", "-f", "-p", str(process.pid), "-o", str(trace), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as tracer:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached
        ours.send("go")
        process.join(SECONDS)
        code = process.exitcode
        if code is None:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            code = HUNG
        try:
            tracer.communicate(timeout=SECONDS_TO_DETACH)
        except subprocess.TimeoutExpired:
            tracer.kill()
    process.close()
    for end in (ours, theirs):
        end.close()
    text = trace.read_bytes()
    injected = text.count(b"(INJECTED)") + text.count(b"+++ killed by SIGKILL +++")
    return Run(code, said_path.read_bytes().splitlines(), errors_path.read_text(errors="replace")[-4000:], injected)


def _connection(descriptor: int) -> Connection:
    """A descriptor in the form in which the fork server hands it on."""
    return Connection(os.dup(descriptor), readable=False)
