"""Epoch keys in one file per tenant, sealed by a passphrase or readable by its owner alone.

The file is JSON: ``format``, ``version``, ``tenant``, ``seal`` and ``body``. With seal ``none`` the body is the list of
epochs in base64; with seal ``scrypt`` (RFC 7914) it is that list under AES-256-GCM (``nonce(12) ‖ ciphertext ‖ tag``)
by a key that scrypt made of the passphrase, with all other members as associated data.

What it does not do: whoever has the file (and the passphrase) has the keys. On a disk that a thief may take, seal it;
where the operator must not hold the keys, use a hardware module or a key service instead.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from consentry_server.adapters.kms.private_files import (
    check_folder,
    make_private_folder,
    read_private,
    replace_private,
    unavailable,
)
from consentry_server.core.envelope import KEK_BYTES, NONCE_BYTES, unwrap_dek, wrap_dek
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMAT: Final = "consentry-keyfile"
VERSION: Final = 1
SCRYPT_COST: Final = 2**17  # OWASP Password Storage Cheat Sheet: N = 2^17, r = 8, p = 1; 128 MiB
MAX_SCRYPT_COST: Final = 2**20
SCRYPT_BLOCK: Final = 8
_SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class _Epoch:
    number: int
    created: datetime
    kek: bytes | None
    """None once destroyed; the number is kept, so that it is never used again."""
    destroyed: datetime | None = None


class KeyFile:
    """Key custody in a file; see ``services.ports_vault.KeyCustody`` for what it guarantees.

    Args:
        path: The key file; its folder must belong to the service's user.
        tenant: Whose keys they are; a file of another tenant is refused.
        passphrase: Seals the file; None keeps it readable by its owner alone.
        random: Source of keys, salts and nonces: ``os.urandom``.
        scrypt_cost: N for a new file, a power of 2.
    """

    kind: Final = "keyfile"

    def __init__(
        self,
        path: Path,
        tenant: str,
        *,
        passphrase: bytes | None = None,
        random: Callable[[int], bytes] = os.urandom,
        scrypt_cost: int = SCRYPT_COST,
    ) -> None:
        self._path = path
        self._tenant = tenant
        self._passphrase = passphrase
        self._random = random
        self._scrypt_cost = scrypt_cost
        self._lock = threading.RLock()
        self._epochs: dict[int, _Epoch] = {}
        self._seal: dict[str, Any] = {}
        self._seal_key: bytes | None = None
        self._on_disk = b""

    def create(self, now: datetime) -> None:
        """Make the key file with its first epoch, for a new state.

        Raises:
            ConsentryError: ALREADY_EXISTS; an existing key file is never overwritten.
        """
        make_private_folder(self._path.parent)
        with self._lock, self._folder_locked():
            if os.path.lexists(self._path):
                raise ConsentryError(Reason.ALREADY_EXISTS, f"there is a key file {self._path} already: it is kept")
            self._choose_seal()
            self._write({1: _Epoch(1, now, self._random(KEK_BYTES))}, overwrite_old=False)

    def open(self) -> None:
        """Read, check and unseal the file."""
        check_folder(self._path.parent)
        with self._lock:
            data = read_private(self._path, "key file")
            header, body = self._parse(data)
            epochs = self._read_epochs(self._unseal(header, body))
            self._epochs, self._on_disk = epochs, data

    def close(self) -> None:
        """Forget the keys."""
        with self._lock:
            self._epochs = {}
            self._seal_key = None

    def current_epoch(self) -> int:
        """Return the number of the newest epoch."""
        with self._lock:
            self._require_open()
            return max(self._epochs)

    def epochs(self) -> dict[int, datetime]:
        """Return the epochs whose keys exist, with the time each began."""
        with self._lock:
            self._require_open()
            return {number: epoch.created for number, epoch in self._epochs.items() if epoch.kek is not None}

    def create_epoch(self, now: datetime) -> int:
        """Begin a new epoch, durably, and return its number."""
        with self._lock, self._folder_locked():
            number = self.current_epoch() + 1
            new = _Epoch(number, now, self._random(KEK_BYTES))
            self._write({**self._epochs, number: new}, overwrite_old=False)
            return number

    def destroy_epoch(self, epoch: int, now: datetime) -> bool:
        """Destroy an epoch's key, durably; the old file's bytes are overwritten as far as the file system lets us."""
        with self._lock, self._folder_locked():
            if epoch == self.current_epoch():
                raise ConsentryError(
                    Reason.STATE_CONFLICT, "the current epoch's key is in use: begin a new epoch and rewrap first"
                )
            known = self._epochs.get(epoch)
            if known is None:
                raise ConsentryError(Reason.NOT_FOUND, f"there is no epoch {epoch}")
            if known.kek is None:
                return False
            self._write({**self._epochs, epoch: replace(known, kek=None, destroyed=now)}, overwrite_old=True)
            return True

    def reseal(self, passphrase: bytes | None) -> None:
        """Seal the file by another passphrase, or by none; the old file's bytes are overwritten."""
        with self._lock, self._folder_locked():
            self._require_open()
            self._passphrase = passphrase
            self._choose_seal()
            self._write(self._epochs, overwrite_old=True)

    def wrap(self, dek: bytes, epoch: int) -> bytes:
        """Wrap a DEK by AES-KWP."""
        return wrap_dek(self._kek(epoch), dek)

    def unwrap(self, wrapped: bytes, epoch: int) -> bytes:
        """Unwrap a DEK by AES-KWP."""
        return unwrap_dek(self._kek(epoch), wrapped)

    def _kek(self, epoch: int) -> bytes:
        with self._lock:
            self._require_open()
            known = self._epochs.get(epoch)
        if known is None:
            raise unavailable(
                f"the key file has no epoch {epoch}: it is older than the key store; restore the newest one"
            )
        if known.kek is None:
            raise ConsentryError(Reason.DESTROYED, f"the key of epoch {epoch} was destroyed: what it protected is gone")
        return known.kek

    def _require_open(self) -> None:
        if not self._epochs:
            raise unavailable("the key file is not open")

    @contextmanager
    def _folder_locked(self) -> Iterator[None]:
        """Keep other processes from writing, and refuse to write over what another process wrote since we read."""
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if self._on_disk and read_private(self._path, "key file") != self._on_disk:
                raise ConsentryError(
                    Reason.STATE_CONFLICT, "another process changed the key file: restart this one, then try again"
                )
            yield
        finally:
            os.close(handle)

    def _choose_seal(self) -> None:
        if self._passphrase is None:
            self._seal, self._seal_key = {"kind": "none"}, None
            return
        salt = self._random(_SALT_BYTES)
        self._seal = {"kind": "scrypt", "n": self._scrypt_cost, "r": SCRYPT_BLOCK, "p": 1, "salt": _encode(salt)}
        self._seal_key = Scrypt(salt, 32, self._scrypt_cost, SCRYPT_BLOCK, 1).derive(self._passphrase)  # RFC 7914

    def _write(self, epochs: dict[int, _Epoch], *, overwrite_old: bool) -> None:
        header = {"format": FORMAT, "version": VERSION, "tenant": self._tenant, "seal": self._seal}
        body = json.dumps([_epoch_to_json(epoch) for epoch in epochs.values()]).encode()
        if self._seal_key is not None:
            nonce = self._random(NONCE_BYTES)
            body = nonce + AESGCM(self._seal_key).encrypt(nonce, body, _canonical(header))
        data = (json.dumps({**header, "body": _encode(body)}, indent=2) + "\n").encode()
        replace_private(self._path, data, overwrite_old=overwrite_old)
        self._epochs, self._on_disk = epochs, data

    def _parse(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            header = json.loads(data)
            body = base64.b64decode(header.pop("body"), validate=True)
            _require(header["format"] == FORMAT and header["version"] == VERSION and isinstance(header["seal"], dict))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise unavailable(f"{self._path} is no key file of this version, or damaged: restore it") from error
        if header.get("tenant") != self._tenant:
            raise unavailable(f"the key file {self._path} belongs to another tenant: restore this tenant's own")
        return header, body

    def _unseal(self, header: dict[str, Any], body: bytes) -> bytes:
        seal = header["seal"]
        if seal == {"kind": "none"}:
            if self._passphrase is not None:
                raise unavailable(
                    "a passphrase is set but the key file is not sealed: seal it, or unset the passphrase"
                )
            self._seal, self._seal_key = seal, None
            return body
        if self._passphrase is None:
            raise unavailable("the key file is sealed: give its passphrase by environment variable or credential file")
        cost, salt = self._scrypt_parameters(seal)
        key = Scrypt(salt, 32, cost, SCRYPT_BLOCK, 1).derive(self._passphrase)
        try:
            opened = AESGCM(key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _canonical(header))
        except (InvalidTag, ValueError) as error:
            raise unavailable(
                "the passphrase is wrong, or the key file was changed: check it, or restore it"
            ) from error
        self._seal, self._seal_key = seal, key
        return opened

    def _scrypt_parameters(self, seal: dict[str, Any]) -> tuple[int, bytes]:
        try:
            cost, salt = seal["n"], base64.b64decode(seal["salt"], validate=True)
            _require(type(cost) is int and 1 < cost <= MAX_SCRYPT_COST and cost & (cost - 1) == 0)
            _require(seal["kind"] == "scrypt" and seal["r"] == SCRYPT_BLOCK and seal["p"] == 1)
        except (ValueError, TypeError, KeyError) as error:
            raise unavailable("the key file is sealed in an unknown way: use the version that made it") from error
        return cost, salt

    def _read_epochs(self, body: bytes) -> dict[int, _Epoch]:
        try:
            epochs = [_epoch_from_json(item) for item in json.loads(body)]
            found = {epoch.number: epoch for epoch in epochs}
            _require(bool(found) and len(found) == len(epochs) and min(found) > 0)
            _require(found[max(found)].kek is not None)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise unavailable(f"the key file {self._path} is damaged: restore it") from error
        return found


def _epoch_to_json(epoch: _Epoch) -> dict[str, Any]:
    shown: dict[str, Any] = {"epoch": epoch.number, "created": epoch.created.isoformat()}
    if epoch.kek is not None:
        shown["kek"] = _encode(epoch.kek)
    if epoch.destroyed is not None:
        shown["destroyed"] = epoch.destroyed.isoformat()
    return shown


def _epoch_from_json(item: dict[str, Any]) -> _Epoch:
    kek = base64.b64decode(item["kek"], validate=True) if "kek" in item else None
    _require(type(item["epoch"]) is int and (kek is None or len(kek) == KEK_BYTES))
    destroyed = datetime.fromisoformat(item["destroyed"]).astimezone(UTC) if "destroyed" in item else None
    return _Epoch(item["epoch"], datetime.fromisoformat(item["created"]).astimezone(UTC), kek, destroyed)


def _require(condition: bool) -> None:  # noqa: FBT001 - a local assertion
    if not condition:
        raise ValueError("not of the key file's form")


def _canonical(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
