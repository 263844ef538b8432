"""Run a process under strace: record what it does to its files, or make a chosen system call kill it or fail."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.disk import Change, Disk, Folder, Names, Recording, Said, Sync, Truncate, Write

IGNORED = ("-shm", "holder", "guard")
"""Not part of what is kept: SQLite makes its shared index anew, and the others only carry locks."""
WATCHED = (
    "openat,creat,open,close,pwrite64,write,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,sync_file_range,copy_file_range,sendfile,"
    "fsync,fdatasync,msync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
)
UNKNOWN = frozenset(
    {"creat", "open", "writev", "pwritev", "pwritev2", "truncate", "fallocate", "sync_file_range", "copy_file_range",
     "sendfile", "msync", "symlink", "symlinkat"}
)  # fmt: skip
"""What the product does not do to its files; if it begins to, the recorder must learn it."""

HUNG = 124
"""Exit code of a process that had to be ended."""

_LINE = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>\\])*)>")
_RESULT = re.compile(r"\) += (-?\d+)(?:<((?:\\x[0-9a-f]{2}|[^>\\])*)>)?(.*)$", re.DOTALL)


def missing() -> str:
    """Why strace cannot be used here, or empty."""
    program = shutil.which("strace")
    if program is None:
        return "strace is not installed: install it to have crashes tried at chosen system calls"
    tried = subprocess.run([program, "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[:200]}"


@dataclass(frozen=True, slots=True)
class Run:
    """How a traced process ended.

    Args:
        code: Its exit code; negative for a signal.
        said: The lines it wrote.
        errors: The end of what it wrote on standard error.
        injected: How many calls were tampered with.
    """

    code: int
    said: list[bytes]
    errors: str
    injected: int


def run(arguments: list[str], trace: Path, *, options: tuple[str, ...] = (), seconds: float = 60) -> Run:
    """Run a Python module under strace.

    Args:
        arguments: Module and its arguments.
        trace: Where strace writes.
        options: Further options of strace.
        seconds: How long it may take.
    """
    command = ["strace", "-f", "--seccomp-bpf", "-o", str(trace), *options, sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return Run(HUNG, output.splitlines(), errors.decode(errors="replace")[-4000:], _injected(trace))
    return Run(process.returncode, output.splitlines(), errors.decode(errors="replace")[-4000:], _injected(trace))


def _injected(trace: Path) -> int:
    text = trace.read_bytes() if trace.exists() else b""
    return text.count(b"(INJECTED)") + text.count(b"+++ killed by SIGKILL +++")


def record(arguments: list[str], state: Path, trace: Path, *, options: tuple[str, ...] = ()) -> tuple[Recording, Run]:
    """Run a Python module and record every change that it makes under a folder.

    The recording is checked: carried out on a copy of the folder as it was, it gives the folder as it is.
    """
    before = Disk.load(state, IGNORED)
    watch = ("-y", "-xx", "-s", "16777216", "-e", f"trace={WATCHED}", *options)
    ended = run(arguments, trace, options=watch, seconds=120)
    recording = Recording(before, _Reader(before.copy(), state).read(trace))
    return recording, ended


@dataclass
class _Reader:
    """Reads strace's lines; keeps the disk as it is after the last one, to know what a path or descriptor means."""

    disk: Disk
    root: Path
    changes: list[Change] = field(default_factory=list)
    open_files: dict[int, int] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    begun: dict[str, tuple[str, int]] = field(default_factory=dict)
    number: int = 0

    def read(self, trace: Path) -> list[Change]:
        self.number = self.disk.new_number()
        with trace.open(encoding="ascii") as lines:
            for line in lines:
                self._line(line.rstrip("\n"))
        return self.changes

    def _line(self, line: str) -> None:
        found = _LINE.match(line)
        if found is None:
            return
        thread, resumed, name, rest = found.groups()
        began = len(self.changes)
        if resumed is not None:
            name = resumed
            first, began = self.begun.pop(thread, ("", began))
            rest = first + rest
        elif name == "writev":
            self._said(rest)
        if rest.endswith("<unfinished ...>"):
            self.begun[thread] = (rest.removesuffix("<unfinished ...>"), began)
            return
        result = _RESULT.search(rest)
        if result is None or int(result[1]) < 0 or "(INJECTED)" in result[3]:
            return
        self._call(name, rest[: result.start()], int(result[1]), result[2] or "", began)

    def _said(self, rest: str) -> None:
        """An answer leaves when its system call begins."""
        string = _STRING.search(rest)
        if rest.startswith("1<") and string is not None:
            line = _plain(string[1])
            if line.startswith(b"{"):
                self._do(Said(line.rstrip(b"\n")))

    def _call(self, name: str, rest: str, result: int, result_path: str, began: int) -> None:
        strings = [_plain(each) for each in _STRING.findall(rest)]
        fds = [(each, _plain(path).decode()) for each, path in _FD.findall(rest)]
        if name in UNKNOWN:
            assert not any(self._within(path) for _, path in fds), f"the recorder does not know {name}: {rest[:200]}"
        elif name == "openat":
            self._open(fds, strings[0].decode(), rest, result)
        elif name in {"pwrite64", "write"}:
            file = self._file(fds[0])
            if file is not None:
                offset = int(rest.rsplit(",", 1)[1]) if name == "pwrite64" else self.offsets.get(int(fds[0][0]), 0)
                self._do(Write(file, offset, strings[0][:result]))
                if name == "write":
                    self.offsets[int(fds[0][0])] = offset + result
        elif name == "ftruncate":
            file = self._file(fds[0])
            if file is not None:
                self._do(Truncate(file, int(rest.rsplit(",", 1)[1])))
        elif name in {"fsync", "fdatasync"}:
            file = self._file(fds[0])
            if file is not None:
                self._do(Sync(file, began))
        elif name != "close":
            self._name(name, [each.decode() for each in strings], fds, rest)

    def _open(self, fds: list[tuple[str, str]], text: str, rest: str, result: int) -> None:
        path = self._absolute(fds, text)
        self.open_files.pop(result, None)
        if not self._within(path) or path.endswith(IGNORED):
            return
        file = self._find(path)
        if file is None and "O_CREAT" in rest:
            file = self._new()
            self.disk.files[file] = bytearray()
            self._do(Names(self._folder(path), ((Path(path).name, file),)))
        if file is not None:
            self.open_files[result] = file
            self.offsets[result] = len(self.disk.files.get(file, b"")) if "O_APPEND" in rest else 0
            if "O_TRUNC" in rest and self.disk.files[file]:
                self._do(Truncate(file, 0))

    def _name(self, name: str, strings: list[str], fds: list[tuple[str, str]], rest: str) -> None:
        folders = [each for each in fds if each[0] == "AT_FDCWD" or not each[0].startswith("-")]
        at = "at" in name
        paths = [self._absolute(folders[place : place + 1] if at else [], text) for place, text in enumerate(strings)]
        if not all(self._within(path) and not path.endswith(IGNORED) for path in paths):
            return
        target = paths[-1]
        if name.startswith("mkdir"):
            number = self._new()
            self._do(Folder(number))
            self._do(Names(self._folder(target), ((Path(target).name, number),)))
        elif name.startswith(("unlink", "rmdir")):
            self._do(Names(self._folder(target), ((Path(target).name, None),)))
        else:
            source = paths[0]
            moved = self._find(source)
            assert moved is not None, f"nothing known at {source}"
            if name.startswith("link"):
                self._do(Names(self._folder(target), ((Path(target).name, moved),)))
                return
            assert self._folder(source) == self._folder(target), f"a move between folders: {rest[:200]}"
            self._do(Names(self._folder(target), ((Path(source).name, None), (Path(target).name, moved))))

    def _file(self, fd: tuple[str, str]) -> int | None:
        return self.open_files.get(int(fd[0])) if self._within(fd[1]) else None

    def _absolute(self, fds: list[tuple[str, str]], text: str) -> str:
        return text if text.startswith("/") else os.path.join(fds[0][1] if fds else os.getcwd(), text)  # noqa: PTH109, PTH118

    def _within(self, path: str) -> bool:
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def _find(self, path: str) -> int | None:
        return self.disk.find(Path(path).relative_to(self.root).parts)

    def _folder(self, path: str) -> int:
        found = self._find(str(Path(path).parent))
        assert found is not None, f"no folder known for {path}"
        return found

    def _new(self) -> int:
        self.number += 1
        return self.number

    def _do(self, change: Change) -> None:
        self.disk.apply(change)
        self.changes.append(change)


def _plain(text: str) -> bytes:
    """Strace's ``\\x61\\x62`` as bytes; what is not written so is taken as it is."""
    if text.startswith("\\x"):
        return bytes.fromhex(text.replace("\\x", ""))
    return text.encode()
