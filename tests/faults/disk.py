"""What a disk may hold after a crash: a model of files and folders that remembers which change was made durable.

The rules are the strictest that a POSIX system may play by:

1. What a finished ``fsync`` of a file covers (every write and truncation that ended before it began) is there.
2. Any part of what came later may be there as well: each write and truncation by itself, and of a write any of its
   512-byte sectors (a torn page).
3. A name (made, moved, removed) is durable when its folder was synced; later ones appear in order, up to anywhere.
4. After a mere SIGKILL everything is there that a system call did, in order: the kernel still has it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SECTOR = 512
ROOT = 0


class Crash(StrEnum):
    """What ends a run."""

    KILL = "kill"
    POWER = "power"


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written into a file."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut or stretched."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A finished fsync of a file or folder: it covers what was there when it began.

    Args:
        file: The file or folder.
        began: Number of changes before it began.
    """

    file: int
    began: int


@dataclass(frozen=True, slots=True)
class Names:
    """Names set or removed together, in one folder: a creation, a removal, a move.

    Args:
        folder: The folder.
        changes: Names and what they stand for from now on; None removes one.
    """

    folder: int
    changes: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A new, empty folder, which has no name yet."""

    folder: int


@dataclass(frozen=True, slots=True)
class Said:
    """A line that left the process: from now on somebody relies on it."""

    line: bytes


Change = Write | Truncate | Sync | Folder | Names | Said


@dataclass(slots=True)
class Disk:
    """Files and folders by number; folder 0 is the root.

    Args:
        folders: Names in each folder.
        files: Content of each file.
    """

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytearray] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path, ignored: tuple[str, ...] = ()) -> Disk:
        """Take over what a folder holds, as durable."""
        disk = cls()
        for path in sorted(root.rglob("*")):
            if path.name.endswith(ignored):
                continue
            number = disk.new_number()
            if path.is_dir():
                disk.folders[number] = {}
            else:
                disk.files[number] = bytearray(path.read_bytes())
            parent = disk.find(path.parent.relative_to(root).parts)
            assert parent is not None
            disk.folders[parent][path.name] = number
        return disk

    def new_number(self) -> int:
        return 1 + max([*self.folders, *self.files])

    def find(self, parts: Sequence[str]) -> int | None:
        """The number behind a path, or None."""
        at: int | None = ROOT
        for part in parts:
            at = None if at is None else self.folders.get(at, {}).get(part)
        return at

    def copy(self) -> Disk:
        return Disk(
            {number: dict(names) for number, names in self.folders.items()},
            {number: bytearray(data) for number, data in self.files.items()},
        )

    def apply(self, change: Change) -> None:
        """Carry out one change."""
        match change:
            case Write(file, offset, data):
                content = self.files.setdefault(file, bytearray())
                if len(content) < offset:
                    content.extend(bytes(offset - len(content)))
                content[offset : offset + len(data)] = data
            case Truncate(file, size):
                content = self.files.setdefault(file, bytearray())
                del content[size:]
                content.extend(bytes(size - len(content)))
            case Folder(folder):
                self.folders[folder] = {}
            case Names(folder, changes):
                names = self.folders[folder]
                for name, number in changes:
                    if number is None:
                        names.pop(name, None)
                    else:
                        names[name] = number
            case Sync() | Said():
                pass

    def paths(self, folder: int = ROOT, prefix: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Every path that can be reached, with its content; None for a folder."""
        for name, number in sorted(self.folders.get(folder, {}).items()):
            path = f"{prefix}{name}"
            if number in self.folders:
                yield path, None
                yield from self.paths(number, f"{path}/")
            else:
                yield path, bytes(self.files.get(number, b""))

    def save(self, root: Path) -> None:
        """Write it out, for the product to start on; for its owner alone, as the product makes it."""
        for path, content in self.paths():
            target = root / path
            if content is None:
                target.mkdir(mode=0o700)
            else:
                target.write_bytes(content)
                target.chmod(0o600)


@dataclass(frozen=True)
class Recording:
    """One run: the disk before, and every change in order.

    Args:
        before: All of it is durable.
        changes: What the process did and said.
    """

    before: Disk
    changes: list[Change]

    def said(self, cut: int) -> list[bytes]:
        """What had left the process before a cut."""
        return [change.line for change in self.changes[:cut] if isinstance(change, Said)]

    def whole(self) -> Disk:
        """The disk when nothing went wrong."""
        disk = self.before.copy()
        for change in self.changes:
            disk.apply(change)
        return disk

    def crash(self, crash: Crash, cut: int, chance: random.Random) -> Disk:
        """A disk that may be left when a run ends before its change number ``cut``."""
        if crash is Crash.KILL:
            return self._killed(cut, chance)
        return self._unpowered(cut, chance)

    def _killed(self, cut: int, chance: random.Random) -> Disk:
        disk = self.before.copy()
        for change in self.changes[:cut]:
            disk.apply(change)
        under_way = self.changes[cut] if cut < len(self.changes) else None
        if isinstance(under_way, Write):  # a write may end early
            done = chance.randrange(len(under_way.data) + 1)
            disk.apply(Write(under_way.file, under_way.offset, under_way.data[:done]))
        return disk

    def _unpowered(self, cut: int, chance: random.Random) -> Disk:
        durable: dict[int, int] = {}
        for change in self.changes[:cut]:
            if isinstance(change, Sync):
                durable[change.file] = max(durable.get(change.file, 0), change.began)
        disk = self.before.copy()
        fates: dict[int, float] = {}
        names_end: dict[int, int] = {}
        for at, change in enumerate(self.changes[: cut + 1]):
            match change:
                case Write(file) | Truncate(file):
                    if at < durable.get(file, 0):
                        disk.apply(change)
                        continue
                    # rule 2: of each file's unsynced changes none, all, or some stay
                    fate = fates.setdefault(file, chance.choice((0.0, 1.0, 0.5, chance.random())))
                    for part in _torn(change, fate, chance):
                        disk.apply(part)
                case Folder():
                    disk.apply(change)
                case Names(folder):
                    synced = durable.get(folder, 0)
                    end = names_end.setdefault(folder, chance.choice((synced, cut, chance.randint(0, cut))))
                    if at < max(end, synced):
                        disk.apply(change)
        return disk


def _torn(change: Write | Truncate, fate: float, chance: random.Random) -> Iterator[Write | Truncate]:
    """What of one unsynced change stays."""
    if fate in {0.0, 1.0} or isinstance(change, Truncate):
        if chance.random() < fate:
            yield change
        return
    if chance.random() < 1 / 2:  # as one piece
        if chance.random() < fate:
            yield change
        return
    begin = 0
    while begin < len(change.data):
        end = begin + SECTOR - (change.offset + begin) % SECTOR
        if chance.random() < fate:
            yield Write(change.file, change.offset + begin, change.data[begin:end])
        begin = end
