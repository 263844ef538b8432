"""Keys that are gone when the process ends: for tests, and for nothing else."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from consentry_server.core.envelope import KEK_BYTES, unwrap_dek, wrap_dek
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class UnsafeEphemeralKeys:
    """Key custody in memory; everything sealed under it is unreadable after the process.

    Args:
        now: When the first epoch begins, UTC.
        for_tests: Must be said; otherwise ``open`` refuses.
        random: Source of keys.
    """

    kind: Final = "ephemeral"

    def __init__(self, now: datetime, *, for_tests: bool = False, random: Callable[[int], bytes] = os.urandom) -> None:
        self._for_tests = for_tests
        self._random = random
        self._lock = threading.Lock()
        self._began = {1: now}
        self._keks: dict[int, bytes] = {1: random(KEK_BYTES)}
        self._open = False

    def open(self) -> None:
        """Refuse everything but tests."""
        if not self._for_tests:
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID, "ephemeral keys lose all data when the process ends: set up a key file"
            )
        self._open = True

    def close(self) -> None:
        """Stop giving keys; unlike a real custodian's, they come back when it is opened again in this process."""
        self._open = False

    def current_epoch(self) -> int:
        """Return the number of the newest epoch."""
        self._require_open()
        return max(self._began)

    def epochs(self) -> dict[int, datetime]:
        """Return the epochs whose keys exist, with the time each began."""
        self._require_open()
        return {number: self._began[number] for number in self._keks}

    def create_epoch(self, now: datetime) -> int:
        """Begin a new epoch and return its number."""
        with self._lock:
            number = self.current_epoch() + 1
            self._began[number] = now
            self._keks[number] = self._random(KEK_BYTES)
            return number

    def destroy_epoch(self, epoch: int, now: datetime) -> bool:  # noqa: ARG002 - the port's time goes into real files
        """Forget an epoch's key."""
        with self._lock:
            if epoch == self.current_epoch():
                raise ConsentryError(
                    Reason.STATE_CONFLICT, "the current epoch's key is in use: begin a new epoch first"
                )
            if epoch not in self._began:
                raise ConsentryError(Reason.NOT_FOUND, f"there is no epoch {epoch}")
            return self._keks.pop(epoch, None) is not None

    def wrap(self, dek: bytes, epoch: int) -> bytes:
        """Wrap a DEK by AES-KWP."""
        return wrap_dek(self._kek(epoch), dek)

    def unwrap(self, wrapped: bytes, epoch: int) -> bytes:
        """Unwrap a DEK by AES-KWP."""
        return unwrap_dek(self._kek(epoch), wrapped)

    def _kek(self, epoch: int) -> bytes:
        self._require_open()
        if epoch not in self._began:
            raise ConsentryError(
                Reason.KEYS_UNAVAILABLE, f"there is no epoch {epoch}: the keys ended with their process"
            )
        if epoch not in self._keks:
            raise ConsentryError(Reason.DESTROYED, f"the key of epoch {epoch} was destroyed: what it protected is gone")
        return self._keks[epoch]

    def _require_open(self) -> None:
        if not self._open:
            raise ConsentryError(Reason.KEYS_UNAVAILABLE, "the ephemeral keys are not open")
