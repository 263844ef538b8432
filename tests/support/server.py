"""The real server as a process of its own, started and stopped the way an operator does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODULE = "consentry_server"
READY = b"answers on"


def consentry(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", MODULE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def init(state: Path, *tenants: str) -> None:
    """Make a state folder with a tenant for each name."""
    options = [part for tenant in tenants for part in ("--tenant", tenant)]
    made = consentry("init", state, *options)
    assert made.returncode == 0, made.stderr


@dataclass
class Server:
    """A running server.

    Args:
        state: Its state folder.
        address: Where it answers.
        process: The process.
    """

    state: Path
    address: str
    process: subprocess.Popen[bytes]

    def credentials(self, role: str, name: str, folder: str = "") -> dict[str, bytes]:
        """A caller's credentials from the development certificates.

        Args:
            role: The caller's role.
            name: Its name.
            folder: The tenant's, for a tenant that is not the first.
        """
        tls = self.state / "tls"
        return {
            "root_certificates": (tls / "ca.pem").read_bytes(),
            "private_key": (tls / folder / f"{role}-{name}.key").read_bytes(),
            "certificate_chain": (tls / folder / f"{role}-{name}.pem").read_bytes(),
        }

    def stop(self) -> int:
        """Ask it to stop and wait; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """Kill it where it stands."""
        self.process.kill()
        self.process.wait(30)


@contextmanager
def serving(
    state: Path, *options: str, environment: Mapping[str, str] | None = None, module: str = MODULE
) -> Iterator[Server]:
    """Serve a state folder on a free port until the block ends."""
    ready = state / "ready.json"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            module,
            "serve",
            str(state),
            "--listen",
            "127.0.0.1:0",
            "--ready-file",
            str(ready),
            *options,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    assert process.stderr is not None
    said = b""
    try:
        for line in process.stderr:
            said += line
            if READY in line:
                break
        else:
            raise AssertionError(f"the server did not start: {said.decode()}")
        yield Server(state, json.loads(ready.read_text())["address"], process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        process.stderr.close()
