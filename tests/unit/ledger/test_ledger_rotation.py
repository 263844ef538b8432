"""Rotation of a ledger's key: what both keys sign, and how a reader follows from any key it knows."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.core.errors import Reason
from consentry_server.core.ledger import checkpoint, merkle, note, rotation
from consentry_server.core.ledger.errors import LedgerError

ORIGIN = "consentry.test/acme"
PRIVATE = [Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in range(1, 5)]
KEYS = [checkpoint.log_key(ORIGIN, private) for private in PRIVATE]
LAST = checkpoint.Checkpoint(ORIGIN, 7, merkle.hash_leaf(b"a root"))


def statement(step: int, last: checkpoint.Checkpoint = LAST) -> bytes:
    return rotation.state(last, PRIVATE[step], PRIVATE[step + 1])


def entries(*places: int) -> dict[int, dict[str, Any]]:
    return {
        place: {"type": rotation.ENTRY_TYPE, "statement": statement(step).decode()} for step, place in enumerate(places)
    }


def chain(*first_sizes: int) -> rotation.KeyChain:
    sizes = (0, *first_sizes)
    return rotation.KeyChain(tuple(rotation.KeyRange(size, KEYS[place]) for place, size in enumerate(sizes)))


def damaged(call: Any, said: str) -> None:
    with pytest.raises(LedgerError, match=said) as raised:
        call()
    assert raised.value.reason is Reason.DATA_DAMAGED


def test_both_keys_sign_and_the_statement_reads_back() -> None:
    data = statement(0)
    assert rotation.open_statement(data) == rotation.Rotation(LAST, KEYS[0], KEYS[1])
    assert [one.key for one in note.verify(note.parse(data), KEYS)] == KEYS[:2]


def test_a_statement_is_never_a_checkpoint() -> None:
    for key in KEYS[:2]:
        damaged(lambda key=key: checkpoint.open_checkpoint(statement(0), key), "three|3 lines")
    damaged(lambda: rotation.open_statement(checkpoint.sign(LAST, PRIVATE[0])), "no statement")


def test_one_signature_is_not_enough() -> None:
    read = note.parse(statement(0))
    for line in read.signatures:
        damaged(lambda line=line: rotation.open_statement(note.Note(read.text, (line,)).encode()), "not signed by both")


def test_every_changed_byte_is_found() -> None:
    data = statement(0)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(LedgerError):
            rotation.open_statement(bytes(changed))


def test_a_rotation_is_to_another_key_of_the_same_ledger() -> None:
    with pytest.raises(LedgerError, match="another key"):
        rotation.state(LAST, PRIVATE[0], PRIVATE[0])
    stranger = checkpoint.log_key("consentry.test/other", PRIVATE[1])
    with pytest.raises(LedgerError, match="no log key"):
        rotation.Rotation(LAST, KEYS[0], stranger)


def test_each_size_has_its_key() -> None:
    keys = chain(9, 30)
    assert [keys.at(size) for size in (0, 8, 9, 29, 30, 10**9)] == [
        KEYS[0],
        KEYS[0],
        KEYS[1],
        KEYS[1],
        KEYS[2],
        KEYS[2],
    ]
    assert rotation.parse_keys(keys.encode()) == keys
    assert keys.at_note(checkpoint.sign(LAST, PRIVATE[0])) == KEYS[0]


@pytest.mark.parametrize("trusted", [0, 1, 2])
def test_a_reader_follows_from_any_key_of_the_chain(trusted: int) -> None:
    found = rotation.follow(chain(9, 30), KEYS[trusted], entries(8, 29).get)
    assert found == chain(9, 30)
    assert found.newest == KEYS[2]


def test_a_stranger_is_not_followed() -> None:
    damaged(lambda: rotation.follow(chain(9, 30), KEYS[3], entries(8, 29).get), "none of the keys")


@pytest.mark.parametrize(
    ("claimed", "recorded", "said"),
    [
        (chain(9, 30), entries(8), "entry 29 should record"),
        (chain(9, 30), {8: {"type": "decision"}, **entries(7, 29)}, "entry 8 should record"),
        (chain(9), {8: {"type": rotation.ENTRY_TYPE}}, "not a signed note|no empty line"),
        (chain(9), {8: {"type": rotation.ENTRY_TYPE, "statement": statement(1).decode()}}, "does not follow"),
        (chain(5), entries(4), "does not follow"),  # the statement is about a larger tree than the one before it
    ],
)
def test_a_chain_that_the_entries_do_not_give(
    claimed: rotation.KeyChain, recorded: dict[int, dict[str, Any]], said: str
) -> None:
    damaged(lambda: rotation.follow(claimed, KEYS[0], recorded.get), said)


def test_a_keeper_cannot_slip_in_a_key_that_the_old_one_did_not_vouch_for() -> None:
    forged = rotation.KeyChain((rotation.KeyRange(0, KEYS[0]), rotation.KeyRange(9, KEYS[2])))
    damaged(lambda: rotation.follow(forged, KEYS[0], entries(8).get), "not the one that the entries give")


@pytest.mark.parametrize("text", ["", "0", "1 x\n", f"5 {KEYS[0].vkey}\n", "0 x\n", f"0  {KEYS[0].vkey}\n", "\xff"])
def test_a_list_of_keys_that_is_none(text: str) -> None:
    damaged(lambda: rotation.parse_keys(text.encode("latin-1")), "list of keys")


def test_a_list_in_which_a_key_stands_twice() -> None:
    damaged(lambda: rotation.parse_keys(chain().encode() + b"3 " + chain().encode()[2:]), "different ones")
