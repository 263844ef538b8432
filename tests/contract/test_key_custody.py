"""What every custodian of epoch keys guarantees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from consentry_server.adapters.kms.ephemeral import UnsafeEphemeralKeys
from consentry_server.adapters.kms.keyfile import KeyFile
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.ports_vault import KeyCustody

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
DEK = bytes(range(32))
COST = 2**4  # scrypt made cheap: its strength is not what is tested
Reopen = Callable[[KeyCustody], KeyCustody]


@pytest.fixture(params=["keyfile", "sealed keyfile", "ephemeral"])
def custody(request: pytest.FixtureRequest, tmp_path: Path) -> KeyCustody:
    made: KeyCustody
    if request.param == "ephemeral":
        made = UnsafeEphemeralKeys(NOW, for_tests=True)
    else:
        passphrase = b"correct horse" if request.param == "sealed keyfile" else None
        made = KeyFile(tmp_path / "keys" / "acme.json", "acme", passphrase=passphrase, scrypt_cost=COST)
        made.create(NOW)
    made.open()
    return made


@pytest.fixture
def reopen(tmp_path: Path) -> Reopen:
    """The custodian as after a restart, where it outlives one."""

    def again(custody: KeyCustody) -> KeyCustody:
        custody.close()
        if isinstance(custody, KeyFile):
            custody = KeyFile(tmp_path / "keys" / "acme.json", "acme", passphrase=custody._passphrase)
        custody.open()
        return custody

    return again


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(ConsentryError) as caught:
        call()
    assert caught.value.message
    return caught.value.reason


def test_what_was_wrapped_unwraps_also_after_a_restart(custody: KeyCustody, reopen: Reopen) -> None:
    wrapped = custody.wrap(DEK, 1)
    assert DEK not in wrapped
    assert custody.unwrap(wrapped, 1) == DEK
    assert reopen(custody).unwrap(wrapped, 1) == DEK


def test_epochs_begin_at_one_and_are_dated(custody: KeyCustody, reopen: Reopen) -> None:
    assert (custody.current_epoch(), custody.epochs()) == (1, {1: NOW})
    assert custody.create_epoch(LATER) == 2
    again = reopen(custody)
    assert (again.current_epoch(), again.epochs()) == (2, {1: NOW, 2: LATER})


def test_epochs_have_keys_of_their_own(custody: KeyCustody) -> None:
    custody.create_epoch(LATER)
    wrapped = custody.wrap(DEK, 1)
    assert custody.wrap(DEK, 2) != wrapped
    assert custody.unwrap(wrapped, 1) == DEK
    assert reason(lambda: custody.unwrap(wrapped, 2)) is Reason.DATA_DAMAGED


def test_a_destroyed_epoch_opens_nothing_ever_again(custody: KeyCustody, reopen: Reopen) -> None:
    wrapped = custody.wrap(DEK, 1)
    custody.create_epoch(LATER)
    assert custody.destroy_epoch(1, LATER)
    for turn in range(2):
        one = reopen(custody) if turn else custody
        assert reason(lambda one=one: one.unwrap(wrapped, 1)) is Reason.DESTROYED  # type: ignore[misc] # bound per turn
        assert reason(lambda one=one: one.wrap(DEK, 1)) is Reason.DESTROYED  # type: ignore[misc] # bound per turn
        assert one.epochs() == {2: LATER}
        assert not one.destroy_epoch(1, LATER)
        assert one.unwrap(one.wrap(DEK, 2), 2) == DEK


def test_epoch_numbers_are_never_used_again(custody: KeyCustody, reopen: Reopen) -> None:
    custody.create_epoch(LATER)
    custody.destroy_epoch(1, LATER)
    custody.create_epoch(LATER)
    custody.destroy_epoch(2, LATER)
    assert reopen(custody).create_epoch(LATER) == 4


def test_the_current_epoch_and_unknown_ones_cannot_be_destroyed(custody: KeyCustody) -> None:
    assert reason(lambda: custody.destroy_epoch(1, LATER)) is Reason.STATE_CONFLICT
    assert reason(lambda: custody.destroy_epoch(7, LATER)) is Reason.NOT_FOUND


def test_damaged_and_foreign_wraps_are_refused(custody: KeyCustody) -> None:
    wrapped = custody.wrap(DEK, 1)
    for bad in (b"", wrapped[:-1], wrapped + b"x", bytes(40), wrapped[:-1] + bytes((wrapped[-1] ^ 1,))):
        assert reason(lambda bad=bad: custody.unwrap(bad, 1)) is Reason.DATA_DAMAGED  # type: ignore[misc] # per turn
    assert reason(lambda: custody.unwrap(wrapped, 9)) is Reason.KEYS_UNAVAILABLE


def test_a_closed_custodian_gives_nothing(custody: KeyCustody) -> None:
    wrapped = custody.wrap(DEK, 1)
    custody.close()
    for call in (custody.current_epoch, custody.epochs, lambda: custody.unwrap(wrapped, 1)):
        assert reason(call) is Reason.KEYS_UNAVAILABLE


def test_it_says_how_the_keys_are_kept(custody: KeyCustody) -> None:
    assert custody.kind in {"keyfile", "pkcs11", "aws-kms", "ephemeral"}
