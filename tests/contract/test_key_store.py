"""What every key store guarantees."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import RecordClass
from consentry_server.services.ports_vault import KeyStore, StoredKey, StoredSecret

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
Make = Callable[[], KeyStore]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda: SqliteKeyStore(tmp_path / "keys.db", "acme")


@pytest.fixture
def store(make: Make) -> Iterator[KeyStore]:
    made = make()
    made.open(create=True)
    yield made
    made.close()


def key(number: int, owner: str = "", record_class: RecordClass = RecordClass.BIOMETRIC) -> StoredKey:
    return StoredKey(f"dek_{number}", record_class, owner or f"sub_{number}", 1, bytes((number,)) * 40, NOW)


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(ConsentryError) as caught:
        call()
    assert caught.value.message
    return caught.value.reason


def test_a_key_is_found_by_id_and_by_owner(store: KeyStore) -> None:
    assert store.add(key(1)) == key(1)
    assert store.get("dek_1") == store.find(RecordClass.BIOMETRIC, "sub_1") == key(1)
    assert store.get("dek_2") is store.find(RecordClass.EVIDENCE, "sub_1") is store.find(RecordClass.PHOTO, "x") is None


def test_a_class_and_owner_have_one_key(store: KeyStore) -> None:
    store.add(key(1, "sub_x"))
    assert store.add(key(2, "sub_x")) == key(1, "sub_x")
    assert store.get("dek_2") is None
    evidence = key(3, "sub_x", RecordClass.EVIDENCE)
    assert store.add(evidence) == evidence


def test_keys_survive_the_process(make: Make) -> None:
    first = make()
    first.open(create=True)
    first.add(key(1))
    first.add_secret(StoredSecret("lookup", 1, b"w" * 40, NOW))
    second = make()  # the first is not closed, as after a crash
    second.open(create=False)
    assert second.get("dek_1") == key(1)
    assert second.secret("lookup") == StoredSecret("lookup", 1, b"w" * 40, NOW)
    second.close()
    first.close()


def test_a_deleted_key_is_gone(store: KeyStore, make: Make) -> None:
    for number in (1, 2, 3):
        store.add(key(number))
    deletion = store.delete(["dek_1", "dek_3", "dek_9", "dek_1"])
    assert sorted(deletion.deleted) == ["dek_1", "dek_3"]
    assert deletion.absent
    assert deletion.journal_emptied
    again = make()
    again.open(create=False)
    for one in (store, again):
        assert [one.get(f"dek_{n}") for n in (1, 2, 3)] == [None, key(2), None]
        assert one.find(RecordClass.BIOMETRIC, "sub_1") is None
    again.close()
    assert store.delete(["dek_1"]).deleted == ()
    assert store.delete([]).absent
    assert store.add(key(4, "sub_1")) == key(4, "sub_1")


def test_secrets_are_kept_once(store: KeyStore) -> None:
    assert store.secret("lookup") is None
    first = StoredSecret("lookup", 1, b"a" * 40, NOW)
    assert store.add_secret(first) == first
    assert store.add_secret(StoredSecret("lookup", 2, b"b" * 40, NOW)) == first
    assert store.secret("lookup") == first


def test_it_counts_what_an_epoch_still_protects(store: KeyStore) -> None:
    assert store.count_by_epoch() == {}
    store.add(key(1))
    store.add(StoredKey("dek_2", RecordClass.PHOTO, "pho_2", 2, b"w" * 40, NOW))
    store.add_secret(StoredSecret("lookup", 2, b"w" * 40, NOW))
    assert store.count_by_epoch() == {1: 1, 2: 2}
    assert store.purge()


def test_it_lists_the_owners_of_a_class_in_order_and_in_pages(store: KeyStore) -> None:
    for number in (3, 1, 2):
        store.add(key(number, record_class=RecordClass.PHOTO))
    store.add(key(4))
    assert store.owners(RecordClass.PHOTO, "", 2) == [("sub_1", "dek_1", NOW), ("sub_2", "dek_2", NOW)]
    assert store.owners(RecordClass.PHOTO, "sub_2", 2) == [("sub_3", "dek_3", NOW)]
    store.delete(["dek_3"])
    assert store.owners(RecordClass.PHOTO, "sub_2", 2) == []


def test_many_threads_agree_on_one_key(store: KeyStore) -> None:
    barrier = threading.Barrier(8)

    def add(number: int) -> str:
        barrier.wait(10)
        return store.add(key(number, "sub_same")).dek_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(add, range(8)))) == 1


def test_a_missing_store_is_never_made_silently(make: Make, tmp_path: Path) -> None:
    assert reason(lambda: make().open(create=False)) is Reason.KEYS_UNAVAILABLE
    assert not any(tmp_path.iterdir())


def test_a_closed_store_gives_nothing(make: Make) -> None:
    assert reason(lambda: make().get("dek_1")) is Reason.KEYS_UNAVAILABLE
    opened = make()
    opened.open(create=True)
    opened.close()
    opened.close()
    assert reason(lambda: opened.delete(["dek_1"])) is Reason.KEYS_UNAVAILABLE


def test_a_tenant_key_takes_the_place_of_another_which_is_gone(make: Make, store: KeyStore, tmp_path: Path) -> None:
    old, new = StoredSecret("ledger", 1, b"\x01" * 40, NOW), StoredSecret("next", 2, b"\x02" * 40, NOW)
    store.add_secret(old)
    store.add_secret(new)
    store.replace_secret("ledger", "next")
    assert store.secret("ledger") == StoredSecret("ledger", 2, new.wrapped, NOW)
    assert store.secret("next") is None
    assert [old.wrapped in file.read_bytes() for file in tmp_path.iterdir()] == [False] * len(list(tmp_path.iterdir()))
    assert reason(lambda: store.replace_secret("ledger", "next")) is Reason.KEYS_UNAVAILABLE
    assert store.secret("ledger") is not None
