"""Signed notes, keys, checkpoints, cosignatures and receipts: to the byte, and checked by openssl."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import Reason
from consentry_server.core.ledger import checkpoint, merkle, note, receipt, tiles
from consentry_server.core.ledger.errors import LedgerError

if TYPE_CHECKING:
    from tests.unit.ledger.ledgers import Ledger

ORIGIN = "consentry.test/acme"
KNOWN = json.loads((Path(__file__).parents[2] / "data/vectors/c2sp/vectors.json").read_bytes())["signed_note"]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = checkpoint.log_key(ORIGIN, KEY)
CHECKPOINT = checkpoint.Checkpoint(ORIGIN, 3, merkle.hash_leaf(b"a root"))
SIGNED = checkpoint.sign(CHECKPOINT, KEY)


def witness(number: int) -> tuple[Ed25519PrivateKey, note.VerifierKey]:
    key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return key, note.VerifierKey(f"witness.test/{number}", public, note.COSIGNATURE_V1)


def cosigned(number: int, timestamp: int = 1_795_428_000) -> note.Signature:
    key, public = witness(number)
    return note.cosign(CHECKPOINT.body, public, key.sign, timestamp)


def test_the_specifications_example_reads_verifies_and_writes_back() -> None:
    key = note.parse_vkey(KNOWN["vkey"])
    assert key.vkey == KNOWN["vkey"]
    parsed = note.parse(KNOWN["note"].encode())
    assert parsed.text == b"This is an example message.\n"
    assert [one.key for one in note.verify(parsed, [key])] == [key]
    assert parsed.encode() == KNOWN["note"].encode()


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    body, _, lines = SIGNED.partition(b"\n\n")
    assert body.decode().split("\n") == [ORIGIN, "3", b64encode(CHECKPOINT.root).decode()]
    dash, name, signature = lines.decode().rstrip("\n").split(" ")
    assert (dash, name, b64decode(signature)[:4], len(b64decode(signature))) == ("\u2014", ORIGIN, LOG.key_id, 68)
    opened = checkpoint.open_checkpoint(SIGNED, LOG)
    assert (opened.checkpoint, opened.cosignatures) == (CHECKPOINT, ())


def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: install it to have checkpoints checked by a tool that is not ours")
    body, _, lines = SIGNED.partition(b"\n\n")
    (tmp_path / "body").write_bytes(body + b"\n")
    (tmp_path / "signature").write_bytes(b64decode(lines.split()[2])[4:])
    (tmp_path / "key.pem").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    command = [
        openssl,
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "body",
        "-sigfile",
        "signature",
    ]
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 0
    (tmp_path / "body").write_bytes(body.replace(b"\n3\n", b"\n4\n") + b"\n")
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_every_flipped_bit_of_a_checkpoint_is_found() -> None:
    for at in range(len(SIGNED)):
        for bit in (1, 0x80):
            with pytest.raises(LedgerError) as damaged:
                checkpoint.open_checkpoint(SIGNED[:at] + bytes([SIGNED[at] ^ bit]) + SIGNED[at + 1 :], LOG)
            assert damaged.value.reason is Reason.DATA_DAMAGED


def test_every_cut_or_longer_checkpoint_is_found() -> None:
    for data in [SIGNED[:end] for end in range(len(SIGNED))] + [SIGNED + b"\n", SIGNED + b"x", b"\n" + SIGNED]:
        with pytest.raises(LedgerError):
            checkpoint.open_checkpoint(data, LOG)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"o\n1\n",
        b"o\n1\n%s\nextension\n",
        b"o\n1\n%s",
        b"\n1\n%s\n",
        b"o\n01\n%s\n",
        b"o\n+1\n%s\n",
        b"o\n-1\n%s\n",
        b"o\n\xd9\xa1\n%s\n",
        b"o\n9223372036854775808\n%s\n",
        b"o\n" + b"9" * 5000 + b"\n%s\n",
        b"o\n0\n%s\n",
        b"o\n1\nAAAA\n",
        b"o\n1\n%s=\n",
        b"o\n1\n !\n",
        b"\xff\n1\n%s\n",
    ],
)
def test_any_other_checkpoint_text_is_refused(body: bytes) -> None:
    with pytest.raises(LedgerError) as damaged:
        checkpoint.parse_body(body.replace(b"%s", b64encode(bytes(32))))
    assert damaged.value.reason is Reason.DATA_DAMAGED


def test_an_empty_ledger_has_the_empty_root() -> None:
    empty = checkpoint.Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
    assert checkpoint.open_checkpoint(checkpoint.sign(empty, KEY), LOG).checkpoint == empty
    for size, root in ((1, merkle.EMPTY_ROOT), (0, bytes(32)), (1, bytes(31)), (-1, bytes(32)), (2**63, bytes(32))):
        with pytest.raises(LedgerError):
            checkpoint.Checkpoint(ORIGIN, size, root)


@pytest.mark.parametrize("origin", ["", "a\nb", "has space", "a+b"])
def test_an_origin_that_is_no_key_name_is_not_signed(origin: str) -> None:
    with pytest.raises(LedgerError):
        checkpoint.sign(checkpoint.Checkpoint(origin, 1, bytes(32)), KEY)


def test_a_checkpoint_of_another_ledger_or_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(LedgerError, match="no known key"):
        checkpoint.open_checkpoint(checkpoint.sign(CHECKPOINT, other), LOG)
    elsewhere = checkpoint.Checkpoint("consentry.test/globex", 3, CHECKPOINT.root)
    with pytest.raises(LedgerError, match="globex"):
        checkpoint.open_checkpoint(checkpoint.sign(elsewhere, KEY), LOG)
    renamed = note.Note(elsewhere.body, (note.sign(elsewhere.body, LOG, KEY.sign),)).encode()
    with pytest.raises(LedgerError, match="globex"):  # our key and name under another origin
        checkpoint.open_checkpoint(renamed, LOG)


def test_a_witness_alone_is_not_the_ledger() -> None:
    _, public = witness(1)
    only = note.Note(CHECKPOINT.body, (cosigned(1),)).encode()
    with pytest.raises(LedgerError, match="did not sign"):
        checkpoint.open_checkpoint(only, LOG, [public])
    with pytest.raises(LedgerError) as refused:
        checkpoint.open_checkpoint(SIGNED, public)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_known_cosignatures_are_given_and_unknown_ones_ignored() -> None:
    unknown = note.Signature("pq.test/1", b"\x01\x02\x03\x04", b"\x06" * 2428)  # a type nobody here verifies
    data = checkpoint.add_signatures(SIGNED, [cosigned(1, 5), unknown, cosigned(2, 7), cosigned(1, 5)])
    assert len(note.parse(data).signatures) == 4
    assert checkpoint.open_checkpoint(data, LOG).cosignatures == ()
    opened = checkpoint.open_checkpoint(data, LOG, [witness(number)[1] for number in (1, 2, 3)])
    assert opened.cosignatures == (
        checkpoint.Cosignature("witness.test/1", 5),
        checkpoint.Cosignature("witness.test/2", 7),
    )


def test_the_cosigned_message_is_the_specifications() -> None:
    body = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert note.cosigned_message(body, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + body


def test_a_bad_signature_by_a_known_key_refuses_the_note_even_beside_a_good_one() -> None:
    good = note.parse(SIGNED)
    bad = note.Signature(ORIGIN, LOG.key_id, bytes(64))
    for lines in ((good.signatures[0], bad), (bad, good.signatures[0])):
        with pytest.raises(LedgerError, match="does not fit"):
            checkpoint.open_checkpoint(note.Note(good.text, lines).encode(), LOG)
    stale = note.Signature(cosigned(1).name, cosigned(1).key_id, b"\x00" + cosigned(1, 5).signature[1:-1] + b"\x00")
    with pytest.raises(LedgerError):
        checkpoint.open_checkpoint(checkpoint.add_signatures(SIGNED, [stale]), LOG, [witness(1)[1]])


def test_same_name_with_another_id_or_same_id_with_another_name_is_unknown() -> None:
    lines = [note.Signature(ORIGIN, b"\x00\x00\x00\x00", bytes(64)), note.Signature("other", LOG.key_id, bytes(64))]
    assert checkpoint.open_checkpoint(checkpoint.add_signatures(SIGNED, lines), LOG).checkpoint == CHECKPOINT


def test_sixteen_signatures_and_more_are_accepted_but_not_without_end() -> None:
    keys = [witness(number)[1] for number in range(1, 17)]
    data = checkpoint.add_signatures(SIGNED, [cosigned(number) for number in range(1, 17)])
    assert len(checkpoint.open_checkpoint(data, LOG, keys).cosignatures) == 16
    many = [note.Signature(f"w/{number}", b"abcd", b"x") for number in range(note.MAX_SIGNATURES)]
    with pytest.raises(LedgerError, match="more than"):
        note.parse(checkpoint.add_signatures(SIGNED, many))
    with pytest.raises(LedgerError, match="longer than"):
        note.parse(b"x" * (note.MAX_NOTE_BYTES + 1))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\nno dash AAAAAAA=\n",
        "text\n\n\u2014 name\n",
        "text\n\n\u2014  AAAAAAA=\n",
        "text\n\n\u2014 na+me AAAAAAA=\n",
        "text\n\n\u2014 na\u00a0me AAAAAAA=\n",
        "text\n\n\u2014 name AAAAAAA=",
        "text\n\n\u2014 name AAAAAAA\n",
        "text\n\n\u2014 name AAAAAAB=\n",
        "text\n\n\u2014 name AAAA AAA=\n",
        "text\n\n\u2014 name AAAAAA==\n",
        "text\n\n\u2014 name AAAA_AA=\n",
        "te\rxt\n\n\u2014 name AAAAAAA=\n",
        "te\x00xt\n\n\u2014 name AAAAAAA=\n",
    ],
)
def test_any_other_note_is_refused(data: str) -> None:
    with pytest.raises(LedgerError) as damaged:
        note.parse(data.encode())
    assert damaged.value.reason is Reason.DATA_DAMAGED


def test_a_note_is_utf_8_and_its_text_may_have_empty_lines() -> None:
    with pytest.raises(LedgerError, match="UTF-8"):
        note.parse(b"\xff\n\n\xe2\x80\x94 name AAAAAAA=\n")
    assert note.parse("a\n\nb\n\n\u2014 name AAAAAAA=\n".encode()).text == b"a\n\nb\n"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (note.parse, checkpoint.parse_body, receipt.parse):
        with suppress(LedgerError):
            read(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        "name+00000000+AQ==",
        KNOWN["vkey"].replace("530d903a", "530d903b"),
        KNOWN["vkey"].replace("530d903a", "530D903A"),
        KNOWN["vkey"] + "=",
        KNOWN["vkey"] + "\n\n",
        KNOWN["vkey"].replace("+Aeky", "+Beky"),
        "name+00000000+",
        " " + KNOWN["vkey"],
    ],
)
def test_any_other_vkey_is_refused(text: str) -> None:
    with pytest.raises(LedgerError) as refused:
        note.parse_vkey(text)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_a_vkey_reads_back_whatever_is_in_its_base64() -> None:
    for number in range(60):
        for key in (witness(number)[1], note.VerifierKey("a/b", witness(number)[1].public_key)):
            assert note.parse_vkey(key.vkey) == note.parse_vkey(f"{key.vkey}\n") == key


def test_keys_that_cannot_be_are_refused() -> None:
    with pytest.raises(LedgerError):
        note.VerifierKey("a", bytes(31))
    with pytest.raises(LedgerError):
        note.VerifierKey("a", bytes(32), 0x06)
    with pytest.raises(LedgerError):
        note.VerifierKey("a b", bytes(32))


def test_two_known_keys_with_one_name_and_id_are_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note.VerifierKey, "key_id", property(lambda key: b"same"))
    keys = [note.VerifierKey("a", bytes([number]) * 32) for number in (1, 2)]
    with pytest.raises(LedgerError, match="share"):
        note.verify(note.parse(SIGNED), keys)


def test_a_signature_that_came_out_wrong_is_not_handed_out() -> None:
    with pytest.raises(LedgerError, match="does not fit"):
        note.sign(CHECKPOINT.body, LOG, lambda message: KEY.sign(message + b"flipped"))
    with pytest.raises(LedgerError):
        note.sign(b"no newline", LOG, KEY.sign)
    with pytest.raises(LedgerError):
        note.sign(CHECKPOINT.body, witness(1)[1], KEY.sign)
    with pytest.raises(LedgerError):
        note.cosign(CHECKPOINT.body, LOG, KEY.sign, 1)
    with pytest.raises(LedgerError):
        note.cosign(CHECKPOINT.body, witness(1)[1], witness(1)[0].sign, -1)


def receipt_for(ledger: Ledger, index: int, extra: bytes = b"") -> receipt.Receipt:
    size = ledger.tree.size
    proof = merkle.inclusion_proof(index, size, tiles.TileHashes(size, ledger.read_tile))
    return receipt.Receipt(index, tuple(proof), ledger.checkpoint(), extra)


def test_a_receipt_reads_back_and_verifies(ledger: Ledger) -> None:
    ledger.grow(300)
    for index in (0, 255, 256, 299):
        for extra in (b"", b"\x00any"):
            made = receipt_for(ledger, index, extra)
            read = receipt.parse(made.encode())
            assert read == made
            opened = receipt.verify(read, ledger.leaves[index], ledger.verifier)
            assert opened.checkpoint.size == 300
    lines = receipt_for(ledger, 7).encode().decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 7"]
    assert lines[2 + 9 : 2 + 9 + 3] == ["", ORIGIN, "300"]


def test_a_receipt_of_a_ledger_of_one_has_no_hashes(ledger: Ledger) -> None:
    ledger.grow(1)
    assert receipt_for(ledger, 0).encode().startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + ORIGIN.encode())
    receipt.verify(receipt.parse(receipt_for(ledger, 0).encode()), ledger.leaves[0], ledger.verifier)


def test_every_flipped_byte_of_a_receipt_is_found(ledger: Ledger) -> None:
    ledger.grow(5)
    data = receipt_for(ledger, 3).encode()
    for at in range(len(data)):
        with pytest.raises(LedgerError):
            receipt.verify(
                receipt.parse(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]), ledger.leaves[3], ledger.verifier
            )
    with pytest.raises(LedgerError):
        receipt.verify(receipt.parse(data), ledger.leaves[2], ledger.verifier)


@pytest.mark.parametrize(
    "head",
    [
        "c2sp.org/tlog-proof@v2\nindex 0",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\nindex 00",
        "c2sp.org/tlog-proof@v1\nextra \nindex 0",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex 0\nextra AAAA",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA",
        "c2sp.org/tlog-proof@v1\nindex 0" + "\n" * 1 + "\n".join([b64encode(bytes(32)).decode()] * 65),
        "c2sp.org/tlog-proof@v1\r\nindex 0",
        "c2sp.org/tlog-proof@v1\nindex \u0660",
    ],
)
def test_any_other_receipt_is_refused(head: str) -> None:
    with pytest.raises(LedgerError) as damaged:
        receipt.parse(head.encode() + b"\n\n" + SIGNED)
    assert damaged.value.reason is Reason.DATA_DAMAGED
