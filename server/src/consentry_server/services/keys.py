"""Keys: the one place where DEKs are made, found, used and destroyed.

The custodian is asked at the start and for a DEK that is not in the cache, never per check. Everything here may block
on the key store or the custodian and is called from worker threads; only the properties are free.
"""

from __future__ import annotations

import base64
import hmac
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consentry_server.core.envelope import DEK_BYTES, Binding, draw, seal, unseal
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.segments import DEFAULT_SEGMENT_BYTES, SegmentDecryptor, SegmentEncryptor
from consentry_server.core.signed import key_id
from consentry_server.services.ports_vault import KeyCustody, KeyDeletion, KeyStore, StoredKey, StoredSecret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from consentry_server.core.vocabulary import RecordClass

DEFAULT_CACHE_KEYS: Final = 4_096
LOOKUP_KEY_NAME: Final = "lookup-hmac-sha256"
LEDGER_KEY_NAME: Final = "ledger-ed25519"
NEXT_LEDGER_KEY_NAME: Final = "ledger-ed25519-next"
"""Made for a rotation that is under way; takes the ledger key's name once the ledger has recorded it."""
PERMIT_KEY_NAME: Final = "permit-ed25519"
_ID_BYTES: Final = 15  # 120 random bits: 24 characters of base32


class Dek(NamedTuple):
    """A DEK in the clear, with the id that blobs are bound to. Never logged, never stored."""

    dek_id: str
    key: bytes

    def __repr__(self) -> str:
        """Show the id alone."""
        return f"Dek({self.dek_id!r})"


class LookupKey:
    """Makes blind indexes: equal values give equal indexes, and without the key nobody can try values.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def index(self, domain: str, value: str) -> bytes:
        """Return the 32-byte blind index of a value.

        Args:
            domain: What kind of value it is; the same value gives different indexes in different domains.
            value: For example a caller's own id of a person. Compared byte for byte.
        """
        label = domain.encode()
        return hmac.digest(self._key, len(label).to_bytes(4) + label + value.encode(), "sha256")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key with the name under which its public part is published."""

    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    key_id: str
    """JWK thumbprint (RFC 7638)."""


@dataclass(frozen=True, slots=True)
class _Secrets:
    lookup: LookupKey
    ledger: SigningKey
    permit: SigningKey


class Keys:
    """One tenant's keys.

    Args:
        tenant: The tenant's name; every blob is bound to it.
        custody: Keeps the epoch keys; opened and closed by ``start`` and ``close``.
        store: Keeps the wrapped keys; likewise.
        clock: Gives the time, UTC.
        random: Source of keys, ids, salts and nonces.
        cache_keys: How many DEKs are kept in memory.
    """

    def __init__(
        self,
        tenant: str,
        custody: KeyCustody,
        store: KeyStore,
        *,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        cache_keys: int = DEFAULT_CACHE_KEYS,
    ) -> None:
        self._tenant = tenant
        self._custody = custody
        self._store = store
        self._clock = clock
        self._random = random
        self._cache_keys = cache_keys
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[RecordClass, str], Dek] = OrderedDict()
        self._owner_of: dict[str, tuple[RecordClass, str]] = {}
        self._generation = 0
        self._secrets: _Secrets | None = None

    def start(self, *, create: bool) -> None:
        """Open custodian and store, and unwrap the tenant's own keys.

        Args:
            create: Make what is missing, for a new state. Otherwise a missing key is an error: a new one in its place
                would start another ledger identity, or blind indexes that find nothing.

        Raises:
            ConsentryError: KEYS_UNAVAILABLE with a remedy; STORAGE_FAILED.
        """
        self._custody.open()
        try:
            self._store.open(create=create)
            lookup, ledger, permit = (
                self._secret(name, create=create) for name in (LOOKUP_KEY_NAME, LEDGER_KEY_NAME, PERMIT_KEY_NAME)
            )
        except BaseException:
            self.close()
            raise
        self._secrets = _Secrets(LookupKey(lookup), _signing_key(ledger), _signing_key(permit))

    def close(self) -> None:
        """Forget every key and release the store."""
        with self._lock:
            self._generation += 1
            self._cache.clear()
            self._owner_of.clear()
        self._secrets = None
        self._store.close()
        self._custody.close()

    @property
    def lookup_key(self) -> LookupKey:
        """The blind-index key."""
        return self._started().lookup

    @property
    def ledger_key(self) -> SigningKey:
        """Signs checkpoints."""
        return self._started().ledger

    @property
    def permit_key(self) -> SigningKey:
        """Signs permits, receipts and certificates."""
        return self._started().permit

    def next_ledger_key(self) -> SigningKey:
        """The key that a rotation goes to: durable before it is returned; one that a crash left behind is taken."""
        return _signing_key(self._secret(NEXT_LEDGER_KEY_NAME, create=True))

    def adopt_ledger_key(self, public: bytes) -> None:
        """Sign with the key that the ledger names, and destroy the one before it.

        Args:
            public: The ledger's newest public key, 32 bytes.

        Raises:
            ConsentryError: ``KEYS_UNAVAILABLE``: the key store does not hold that key.
        """
        secrets = self._started()
        if _raw(secrets.ledger) == public:
            return
        stored = self._store.secret(NEXT_LEDGER_KEY_NAME)
        successor = None if stored is None else _signing_key(self._custody.unwrap(stored.wrapped, stored.epoch))
        if successor is None or _raw(successor) != public:
            raise ConsentryError(
                Reason.KEYS_UNAVAILABLE,
                "the key store does not hold the key that the ledger signs with since its last rotation: it is an "
                "older copy; restore the newest one",
            )
        self._store.replace_secret(LEDGER_KEY_NAME, NEXT_LEDGER_KEY_NAME)
        self._secrets = replace(secrets, ledger=successor)

    def dek(self, record_class: RecordClass, owner: str) -> Dek:
        """Return the DEK of a class and owner; a new one is durable before it is returned.

        Args:
            record_class: PHOTO, BIOMETRIC or EVIDENCE.
            owner: The subject_ref, or for photos the photo id.
        """
        known = self._cached(record_class, owner)
        if known is not None:
            return known
        generation = self._generation
        stored = self._store.find(record_class, owner)
        if stored is None:
            return self._new_dek(record_class, owner, generation)
        return self._unwrap(stored, generation)

    def existing_dek(self, dek_id: str) -> Dek:
        """Return a DEK by its id, for opening what was sealed under it.

        Raises:
            ConsentryError: DESTROYED when there is none: a key is never lost, only destroyed.
        """
        with self._lock:
            slot = self._owner_of.get(dek_id)
            if slot is not None:
                self._cache.move_to_end(slot)
                return self._cache[slot]
        generation = self._generation
        stored = self._store.get(dek_id)
        if stored is None:
            raise _destroyed()
        return self._unwrap(stored, generation)

    def find(self, record_class: RecordClass, owner: str) -> Dek | None:
        """Return the DEK of a class and owner, or None where there is none; never makes one."""
        known = self._cached(record_class, owner)
        if known is not None:
            return known
        generation = self._generation
        stored = self._store.find(record_class, owner)
        return None if stored is None else self._unwrap(stored, generation)

    def owners(self, record_class: RecordClass, after: str, count: int) -> list[tuple[str, str, datetime]]:
        """Return who has a DEK of a class, with its id and time: up to ``count`` owners beyond ``after``, in order."""
        return self._store.owners(record_class, after, count)

    def destroy(self, dek_ids: Sequence[str]) -> KeyDeletion:
        """Destroy DEKs: out of the cache first, then out of the store, overwritten, and looked for again.

        An operation that already holds the key finishes with it; none that begins afterwards gets it.

        Returns:
            What was seen afterwards. Repeating the call is harmless, and empties a journal that could not be before.
        """
        self._forget(dek_ids)
        deletion = self._store.delete(dek_ids)
        self._forget(dek_ids)  # what a reader that began before the deletion may have put back
        return deletion

    def seal(self, record_class: RecordClass, owner: str, record_id: str, plaintext: bytes) -> bytes:
        """Seal a small record for its owner and return the blob (format 0x01)."""
        dek = self.dek(record_class, owner)
        return seal(dek.key, self._binding(dek, record_class, owner, record_id), plaintext, self._random)

    def open(self, record_class: RecordClass, owner: str, record_id: str, blob: bytes) -> bytes:
        """Open a small record.

        Raises:
            ConsentryError: DESTROYED when its key is; DATA_DAMAGED when it does not fit key or record.
        """
        dek = self._existing(record_class, owner)
        return unseal(dek.key, self._binding(dek, record_class, owner, record_id), blob)

    def encryptor(
        self,
        record_class: RecordClass,
        owner: str,
        record_id: str,
        *,
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> SegmentEncryptor:
        """Begin to seal a stream (format 0x02)."""
        dek = self.dek(record_class, owner)
        binding = self._binding(dek, record_class, owner, record_id)
        return SegmentEncryptor(dek.key, binding, self._random, segment_bytes=segment_bytes)

    def decryptor(self, record_class: RecordClass, owner: str, record_id: str) -> SegmentDecryptor:
        """Begin to open a sealed stream.

        Raises:
            ConsentryError: DESTROYED when its key is.
        """
        dek = self._existing(record_class, owner)
        return SegmentDecryptor(dek.key, self._binding(dek, record_class, owner, record_id))

    def _binding(self, dek: Dek, record_class: RecordClass, owner: str, record_id: str) -> Binding:
        return Binding(self._tenant, record_class, record_id, owner, dek.dek_id)

    def _existing(self, record_class: RecordClass, owner: str) -> Dek:
        dek = self.find(record_class, owner)
        if dek is None:
            raise _destroyed()
        return dek

    def _new_dek(self, record_class: RecordClass, owner: str, generation: int) -> Dek:
        key = draw(self._random, DEK_BYTES)
        dek_id = "dek_" + base64.b32encode(draw(self._random, _ID_BYTES)).decode().lower()
        epoch = self._custody.current_epoch()
        new = StoredKey(dek_id, record_class, owner, epoch, self._custody.wrap(key, epoch), self._clock())
        kept = self._store.add(new)
        if kept.dek_id != dek_id:  # another thread was first
            return self._unwrap(kept, generation)
        return self._remember(record_class, owner, Dek(dek_id, key), generation)

    def _unwrap(self, stored: StoredKey, generation: int) -> Dek:
        dek = Dek(stored.dek_id, self._custody.unwrap(stored.wrapped, stored.epoch))
        return self._remember(stored.record_class, stored.owner, dek, generation)

    def _cached(self, record_class: RecordClass, owner: str) -> Dek | None:
        with self._lock:
            dek = self._cache.get((record_class, owner))
            if dek is not None:
                self._cache.move_to_end((record_class, owner))
            return dek

    def _remember(self, record_class: RecordClass, owner: str, dek: Dek, generation: int) -> Dek:
        """Cache a DEK, unless something was destroyed since its row was read."""
        with self._lock:
            if generation == self._generation and self._cache_keys > 0:
                self._cache[record_class, owner] = dek
                self._owner_of[dek.dek_id] = (record_class, owner)
                if len(self._cache) > self._cache_keys:
                    _, oldest = self._cache.popitem(last=False)
                    del self._owner_of[oldest.dek_id]
        return dek

    def _forget(self, dek_ids: Sequence[str]) -> None:
        with self._lock:
            self._generation += 1
            for dek_id in dek_ids:
                slot = self._owner_of.pop(dek_id, None)
                if slot is not None:
                    del self._cache[slot]

    def _secret(self, name: str, *, create: bool) -> bytes:
        stored = self._store.secret(name)
        if stored is None:
            if not create:
                raise ConsentryError(
                    Reason.KEYS_UNAVAILABLE, f"the key store has no {name} key: it is not this tenant's; restore it"
                )
            epoch = self._custody.current_epoch()
            wrapped = self._custody.wrap(draw(self._random, DEK_BYTES), epoch)
            stored = self._store.add_secret(StoredSecret(name, epoch, wrapped, self._clock()))
        return self._custody.unwrap(stored.wrapped, stored.epoch)

    def _started(self) -> _Secrets:
        if self._secrets is None:
            raise ConsentryError(Reason.KEYS_UNAVAILABLE, "the keys are not open")
        return self._secrets


def _signing_key(seed: bytes) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key()
    return SigningKey(private, public, key_id(public))


def _raw(key: SigningKey) -> bytes:
    return key.public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _destroyed() -> ConsentryError:
    return ConsentryError(Reason.DESTROYED, "the key of this data was destroyed: nobody can read it any more")
