"""Who may read entry tiles: a file of tokens, one line for each auditor.

Only hashes of the tokens are kept, and every one of them is compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from typing import TYPE_CHECKING, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINE: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]{0,63}) (?P<token>[A-Za-z0-9._~+/=-]{32,512})")
_BEARER: Final = re.compile(rb"[Bb]earer +([A-Za-z0-9._~+/=-]{1,512})")  # RFC 6750, section 2.1
MAX_FILE_BYTES: Final = 2**20


class Auditors:
    """The auditors that have a token.

    Args:
        tokens: SHA-256 of each token, 32 bytes, by the auditor's name.
    """

    def __init__(self, tokens: Mapping[str, bytes]) -> None:
        self._tokens = dict(tokens)

    @classmethod
    def load(cls, path: Path) -> Auditors:
        """Read a file of lines ``NAME TOKEN``; empty lines and those that begin with ``#`` say nothing.

        Args:
            path: Readable by its owner alone.

        Returns:
            The auditors.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID``: the file cannot be used; a token is never part of the message.
        """
        tokens: dict[str, bytes] = {}
        for number, line in enumerate(_read_private(path).splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line)
            if match is None or match["name"] in tokens:
                raise _invalid(
                    f"line {number} of {path} is not NAME TOKEN with a name of its own and a token of 32 characters or "
                    "more: make one with `openssl rand -hex 32`"
                )
            tokens[match["name"]] = _digest(match["token"].encode())
        if not tokens:
            raise _invalid(f"{path} names no auditor: write a line NAME TOKEN for each")
        return cls(tokens)

    def name(self, authorization: bytes) -> str | None:
        """Whose token an Authorization header carries, or None."""
        match = _BEARER.fullmatch(authorization)
        given = _digest(match[1] if match else b"")
        found = [name for name, digest in self._tokens.items() if hmac.compare_digest(digest, given)]
        return found[0] if found and match else None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _invalid(f"the auditors' tokens {path} cannot be read: {error.strerror}") from error
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _invalid(f"others may read the auditors' tokens {path}: chmod 600 {path}, and give out new ones")
    if len(data) > MAX_FILE_BYTES or not data.isascii():
        raise _invalid(f"{path} is no file of tokens: write a line NAME TOKEN for each auditor")
    return data.decode("ascii")


def _invalid(problem: str) -> ConsentryError:
    return ConsentryError(Reason.CONFIGURATION_INVALID, problem, field="auditors")
