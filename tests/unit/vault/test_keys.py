"""Keys joined: made once, durable before use, cached, and gone from memory and disk when destroyed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import apsw
import pytest

from consentry_server.adapters.kms.ephemeral import UnsafeEphemeralKeys
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BIOMETRIC, EVIDENCE, PHOTO = RecordClass.BIOMETRIC, RecordClass.EVIDENCE, RecordClass.PHOTO


class CountingCustody(UnsafeEphemeralKeys):
    """Counts unwraps, and can do something in the middle of one."""

    unwraps = 0
    meanwhile: Callable[[], object] | None = None

    def unwrap(self, wrapped: bytes, epoch: int) -> bytes:
        self.unwraps += 1
        dek = super().unwrap(wrapped, epoch)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return dek


@pytest.fixture
def custody() -> CountingCustody:
    return CountingCustody(NOW, for_tests=True)


@pytest.fixture
def make(custody: CountingCustody, tmp_path: Path) -> Callable[..., Keys]:
    def build(tenant: str = "acme", cache_keys: int = 100) -> Keys:
        store = SqliteKeyStore(tmp_path / f"{tenant}.db", tenant)
        return Keys(tenant, custody, store, clock=lambda: NOW, random=os.urandom, cache_keys=cache_keys)

    return build


@pytest.fixture
def keys(make: Callable[..., Keys]) -> Iterator[Keys]:
    made = make()
    made.start(create=True)
    yield made
    made.close()


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(ConsentryError) as caught:
        call()
    return caught.value.reason


def test_a_class_and_owner_have_one_key(keys: Keys) -> None:
    first = keys.dek(BIOMETRIC, "sub_1")
    assert keys.dek(BIOMETRIC, "sub_1") == keys.existing_dek(first.dek_id) == keys.find(BIOMETRIC, "sub_1") == first
    others = {keys.dek(EVIDENCE, "sub_1"), keys.dek(BIOMETRIC, "sub_2"), first}
    assert len({dek.key for dek in others}) == len({dek.dek_id for dek in others}) == 3
    assert first.dek_id.startswith("dek_")
    assert len(first.dek_id) == 28
    assert keys.find(PHOTO, "pho_1") is None


def test_everything_is_the_same_after_a_restart(keys: Keys, make: Callable[..., Keys]) -> None:
    blob = keys.seal(EVIDENCE, "sub_1", "rel_1", b"a name")
    index = keys.lookup_key.index("subject", "user-17")
    signers = (keys.ledger_key.key_id, keys.permit_key.key_id)
    keys.close()
    again = make()
    again.start(create=False)
    assert again.open(EVIDENCE, "sub_1", "rel_1", blob) == b"a name"
    assert again.lookup_key.index("subject", "user-17") == index
    assert (again.ledger_key.key_id, again.permit_key.key_id) == signers
    assert len(set(signers)) == 2
    again.close()


def test_the_custodian_is_not_asked_for_a_warm_key(keys: Keys, custody: CountingCustody) -> None:
    keys.dek(BIOMETRIC, "sub_1")
    before = custody.unwraps
    for _ in range(5):
        blob = keys.seal(BIOMETRIC, "sub_1", "idf_1", b"x")
        keys.open(BIOMETRIC, "sub_1", "idf_1", blob)
        keys.lookup_key.index("subject", "user")
        keys.permit_key.private.sign(b"permit")
    assert custody.unwraps == before


def test_the_cache_is_bounded(make: Callable[..., Keys]) -> None:
    keys = make(cache_keys=3)
    keys.start(create=True)
    made = [keys.dek(PHOTO, f"pho_{number}") for number in range(10)]
    assert len(keys._cache) == len(keys._owner_of) == 3
    assert [keys.existing_dek(dek.dek_id) for dek in made] == made
    assert len(keys._cache) == len(keys._owner_of) == 3
    keys.close()
    assert not keys._cache


def test_a_destroyed_key_opens_nothing(keys: Keys, make: Callable[..., Keys]) -> None:
    blob = keys.seal(BIOMETRIC, "sub_1", "idf_1", b"template")
    kept = keys.seal(EVIDENCE, "sub_1", "rel_1", b"evidence")
    dek_id = keys.dek(BIOMETRIC, "sub_1").dek_id
    deletion = keys.destroy([dek_id])
    assert (deletion.deleted, deletion.absent, deletion.journal_emptied) == ((dek_id,), True, True)
    assert reason(lambda: keys.existing_dek(dek_id)) is Reason.DESTROYED
    assert reason(lambda: keys.open(BIOMETRIC, "sub_1", "idf_1", blob)) is Reason.DESTROYED
    assert reason(lambda: keys.decryptor(BIOMETRIC, "sub_1", "idf_1")) is Reason.DESTROYED
    assert keys.open(EVIDENCE, "sub_1", "rel_1", kept) == b"evidence"
    assert keys.destroy([dek_id]).deleted == ()
    assert keys.dek(BIOMETRIC, "sub_1").dek_id != dek_id
    assert reason(lambda: keys.open(BIOMETRIC, "sub_1", "idf_1", blob)) is Reason.DATA_DAMAGED


def test_a_reader_that_overlaps_a_destruction_does_not_bring_the_key_back(
    keys: Keys, make: Callable[..., Keys], custody: CountingCustody
) -> None:
    dek = keys.dek(BIOMETRIC, "sub_1")
    keys._cache.clear()
    keys._owner_of.clear()
    custody.meanwhile = lambda: keys.destroy([dek.dek_id])
    assert keys.existing_dek(dek.dek_id) == dek  # it began before
    assert reason(lambda: keys.existing_dek(dek.dek_id)) is Reason.DESTROYED
    assert keys.find(BIOMETRIC, "sub_1") is None


def test_a_reader_in_the_middle_of_a_destruction_does_not_bring_the_key_back(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    dek = keys.dek(BIOMETRIC, "sub_1")
    delete = keys._store.delete

    def late(dek_ids: list[str]) -> object:
        assert keys.find(BIOMETRIC, "sub_1") == dek  # the cache is purged, the row is still there
        return delete(dek_ids)

    monkeypatch.setattr(keys._store, "delete", late)
    keys.destroy([dek.dek_id])
    assert keys.find(BIOMETRIC, "sub_1") is None


@pytest.mark.parametrize(
    ("record_class", "owner", "record_id"),
    [(EVIDENCE, "sub_1", "idf_1"), (BIOMETRIC, "sub_2", "idf_1"), (BIOMETRIC, "sub_1", "idf_2")],
)
def test_a_blob_opens_for_its_own_record_only(
    keys: Keys, record_class: RecordClass, owner: str, record_id: str
) -> None:
    blob = keys.seal(BIOMETRIC, "sub_1", "idf_1", b"template")
    keys.dek(record_class, owner)
    assert reason(lambda: keys.open(record_class, owner, record_id, blob)) is Reason.DATA_DAMAGED


def test_two_wrapped_keys_swapped_in_the_store_are_seen(keys: Keys, make: Callable[..., Keys], tmp_path: Path) -> None:
    blob = keys.seal(BIOMETRIC, "sub_1", "idf_1", b"template")
    keys.dek(BIOMETRIC, "sub_2")
    keys.close()
    with apsw.Connection(str(tmp_path / "acme.db")) as connection:
        (one, two) = [row[0] for row in connection.execute("select wrapped from dek order by owner")]
        connection.execute("update dek set wrapped = case owner when 'sub_1' then ? else ? end", (two, one))
    again = make()
    again.start(create=False)
    with pytest.raises(ConsentryError) as caught:
        again.open(BIOMETRIC, "sub_1", "idf_1", blob)
    assert caught.value.metadata["stage"] == "commitment"
    again.close()


def test_photos_stream_through_the_same_keys(keys: Keys) -> None:
    photo = os.urandom(1_200_000)
    encryptor = keys.encryptor(PHOTO, "pho_1", "pho_1")
    sealed = encryptor.header + b"".join(bytes(part) for part in encryptor.update(photo)) + encryptor.finish()
    decryptor = keys.decryptor(PHOTO, "pho_1", "pho_1")
    assert b"".join(bytes(part) for part in decryptor.update(sealed)) + decryptor.finish() == photo


def test_many_threads_agree_on_one_key(keys: Keys) -> None:
    barrier = threading.Barrier(8)

    def ask(_: int) -> bytes:
        barrier.wait(10)
        return keys.dek(PHOTO, "pho_same").key

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_the_thread_that_was_second_gets_the_first_ones_key(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    first = keys.dek(PHOTO, "pho_1")
    keys._cache.clear()
    keys._owner_of.clear()
    monkeypatch.setattr(keys._store, "find", lambda record_class, owner: None)  # it looked a moment too early
    assert keys.dek(PHOTO, "pho_1") == first


def test_indexes_are_blind_and_apart(keys: Keys, make: Callable[..., Keys]) -> None:
    index = keys.lookup_key.index
    assert len({index("a", "bc"), index("ab", "c"), index("a", "b"), index("a", "BC")}) == 4
    other = make("other")
    other.start(create=True)
    assert other.lookup_key.index("a", "bc") != index("a", "bc")
    other.close()


def test_nothing_is_made_silently(make: Callable[..., Keys], tmp_path: Path) -> None:
    assert reason(lambda: make().start(create=False)) is Reason.KEYS_UNAVAILABLE
    store = SqliteKeyStore(tmp_path / "acme.db", "acme")
    store.open(create=True)
    store.close()
    assert reason(lambda: make().start(create=False)) is Reason.KEYS_UNAVAILABLE
    assert reason(lambda: make().permit_key) is Reason.KEYS_UNAVAILABLE


def test_keys_do_not_show_in_repr(keys: Keys) -> None:
    dek = keys.dek(PHOTO, "pho_1")
    assert repr(dek) == f"Dek({dek.dek_id!r})"


def store_at(path: Path, tenant: str = "acme", *, create: bool = False) -> None:
    SqliteKeyStore(path, tenant).open(create=create)


def test_a_store_that_is_not_ours_is_refused(tmp_path: Path, keys: Keys) -> None:
    keys.close()
    ours = tmp_path / "acme.db"
    assert ours.stat().st_mode & 0o777 == 0o600
    assert reason(lambda: store_at(ours, "other")) is Reason.KEYS_UNAVAILABLE
    noise = tmp_path / "noise.db"
    noise.write_bytes(os.urandom(8192))
    assert reason(lambda: store_at(noise)) is Reason.KEYS_UNAVAILABLE
    foreign = tmp_path / "foreign.db"
    with apsw.Connection(str(foreign)) as connection:
        connection.execute("create table t (x)")
    assert reason(lambda: store_at(foreign, create=True)) is Reason.KEYS_UNAVAILABLE
    with apsw.Connection(str(ours)) as connection:
        connection.pragma("user_version", 2)
    assert reason(lambda: store_at(ours)) is Reason.KEYS_UNAVAILABLE
    empty = tmp_path / "empty.db"
    empty.touch()
    assert reason(lambda: store_at(empty)) is Reason.KEYS_UNAVAILABLE
    assert reason(lambda: store_at(tmp_path / "missing" / "keys.db", create=True)) is Reason.STORAGE_FAILED


def test_a_reader_of_the_file_delays_the_emptying_of_the_journal_only(keys: Keys, tmp_path: Path) -> None:
    dek_id = keys.dek(BIOMETRIC, "sub_1").dek_id
    reader = apsw.Connection(str(tmp_path / "acme.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("begin")
    assert reader.execute("select count(*) from dek").get == 1
    connection = keys._store._connection  # type: ignore[attr-defined] # the store under test is SQLite's
    connection.set_busy_timeout(1)
    deletion = keys.destroy([dek_id])
    assert (deletion.deleted, deletion.absent, deletion.journal_emptied) == ((dek_id,), True, False)
    reader.execute("commit")
    reader.close()
    assert keys.destroy([dek_id]).journal_emptied


def test_a_full_disk_is_said_and_leaves_the_store_usable(keys: Keys) -> None:
    connection = keys._store._connection  # type: ignore[attr-defined] # the store under test is SQLite's
    pages = connection.pragma("page_count")
    connection.pragma("max_page_count", pages)
    kept = []

    def fill() -> None:
        for number in range(500):
            kept.append(keys.dek(PHOTO, f"pho_{number}"))  # noqa: PERF401 - those before the failure are kept

    with pytest.raises(ConsentryError) as caught:
        fill()
    assert caught.value.reason is Reason.STORAGE_FULL
    connection.pragma("max_page_count", 1_000_000)
    assert all(keys.existing_dek(dek.dek_id) == dek for dek in kept)
    assert keys.dek(PHOTO, "pho_499")
