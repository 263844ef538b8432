"""The ZIP of an evidence pack: written in one pass, file by file, with a manifest of every file's hash at its end."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

FORMAT: Final = "consentry-evidence/1"
MANIFEST: Final = "manifest.json"
_REGULAR: Final = 0o100644 << 16  # external attributes of a file that its owner writes and all read
_UNIX: Final = 3
_FIRST_YEAR: Final = 1980
_LEVEL: Final = 6


class Pack:
    """Takes files and gives the bytes of a ZIP. Holds one file at a time, and a name and hash of each before it.

    Args:
        when: The time that every file carries, UTC, so that the same pack has the same bytes.
    """

    def __init__(self, when: datetime) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)  # type: ignore[call-overload]  # it only writes
        self._time = (max(when.year, _FIRST_YEAR), when.month, when.day, when.hour, when.minute, when.second)
        self.files: dict[str, str] = {}

    def add(self, path: str, data: bytes) -> bytes:
        """Put a file in.

        Args:
            path: Its path in the pack.
            data: Its contents.

        Returns:
            The ZIP's bytes that are ready.

        Raises:
            ConsentryError: ``SERVICE_FAULT``: a file of that name is in it already.
        """
        if path in self.files:
            raise ConsentryError(Reason.SERVICE_FAULT, f"{path} would stand twice in the pack")
        self.files[path] = hashlib.sha256(data).hexdigest()
        return self._write(path, data)

    def finish(self, stated: Mapping[str, Any]) -> bytes:
        """Put the manifest in and end the ZIP.

        Args:
            stated: What the manifest says beside the files.

        Returns:
            The rest of the ZIP's bytes.
        """
        manifest = {**stated, "format": FORMAT, "files": self.files}
        data = self._write(MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")
        self._zip.close()
        return data + self._sink.take()

    def _write(self, path: str, data: bytes) -> bytes:
        info = zipfile.ZipInfo(path, self._time)
        info.create_system, info.external_attr, info.compress_type = _UNIX, _REGULAR, zipfile.ZIP_DEFLATED
        self._zip.writestr(info, data, compresslevel=_LEVEL)
        return self._sink.take()


class _Sink:
    """A file that cannot be sought in: what was written waits to be taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
