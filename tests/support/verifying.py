"""Runs verify.py as others do: from its file alone, in a process that sees nothing of this project."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import consentry_server

VERIFY = Path(consentry_server.__path__[0]) / "standalone" / "verify.py"


def isolated(*arguments: str | Path, script: Path = VERIFY) -> subprocess.CompletedProcess[str]:
    """``python -I verify.py ...`` in a process of its own."""
    command = [sys.executable, "-I", "-W", "error", str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def loaded() -> Any:
    """The verifier as a module, fresh: it keeps its findings in globals."""
    spec = importlib.util.spec_from_file_location("standalone_verify", VERIFY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge(*arguments: str | Path) -> tuple[int, str]:
    """The same in this process, for many runs: exit code and what it printed."""
    module = loaded()
    said = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["verify.py", *map(str, arguments)]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        code = module.main()
    return code, said.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Files as a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def unpack(data: bytes) -> dict[str, bytes]:
    """A ZIP's files."""
    with zipfile.ZipFile(io.BytesIO(data)) as pack:
        assert pack.testzip() is None
        return {name: pack.read(name) for name in pack.namelist()}
