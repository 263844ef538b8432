"""Format 0x01: nothing but the very blob, under the very key, for the very record, opens."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac as stdlib_hmac
import os
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core import envelope
from consentry_server.core.envelope import Binding, message_key, seal, unseal, unwrap_dek, wrap_dek
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import RecordClass

DEK = bytes(range(32))
BINDING = Binding("acme", RecordClass.BIOMETRIC, "idf_1", "sub_1", "dek_1")
TEXT = st.text(max_size=20)


def refused(dek: bytes, binding: Binding, blob: bytes) -> str:
    with pytest.raises(ConsentryError) as caught:
        unseal(dek, binding, blob)
    assert caught.value.reason is Reason.DATA_DAMAGED
    return caught.value.metadata["stage"]


def hkdf_by_hand(dek: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-512, written out: extract, then one block of expand."""
    extracted = stdlib_hmac.digest(salt, dek, "sha512")
    return stdlib_hmac.digest(extracted, info + b"\x01", "sha512")


@given(plaintext=st.binary(max_size=2000), record_class=st.sampled_from(RecordClass))
@settings(max_examples=50)
def test_what_was_sealed_opens(plaintext: bytes, record_class: RecordClass) -> None:
    binding = dataclasses.replace(BINDING, record_class=record_class)
    blob = seal(DEK, binding, plaintext, os.urandom)
    assert len(blob) == len(plaintext) + 93
    assert unseal(DEK, binding, blob) == plaintext


def test_the_bytes_are_those_of_the_specification() -> None:
    draws = iter([b"s" * 32, b"n" * 12])
    blob = seal(DEK, BINDING, b"template", lambda size: next(draws))
    both = hkdf_by_hand(DEK, b"s" * 32, b"consentry/v1/biometric")
    parts = [b"\x01", b"acme", b"biometric", b"idf_1", b"sub_1", b"dek_1"]
    aad = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert blob[:1] == b"\x01"
    assert blob[1:33] == b"s" * 32
    assert blob[33:65] == both[32:]
    assert blob[65:77] == b"n" * 12
    assert blob[77:] == AESGCM(both[:32]).encrypt(b"n" * 12, b"template", aad)


def test_each_seal_draws_new_salt_and_nonce() -> None:
    blobs = {seal(DEK, BINDING, b"same", os.urandom) for _ in range(20)}
    assert len({blob[1:33] for blob in blobs}) == len({blob[65:77] for blob in blobs}) == 20


@given(at=st.integers(0, 92 + 40), flip=st.integers(1, 255))
@settings(max_examples=150)
def test_any_changed_byte_is_seen(at: int, flip: int) -> None:
    blob = bytearray(seal(DEK, BINDING, b"x" * 40, os.urandom))
    blob[at] ^= flip
    stage = refused(DEK, BINDING, bytes(blob))
    assert stage == ("format" if at == 0 else "commitment" if at < 65 else "tag")


@given(st.data())
@settings(max_examples=60)
def test_any_cut_or_extension_is_seen(data: st.DataObject) -> None:
    blob = seal(DEK, BINDING, b"x" * 40, os.urandom)
    refused(DEK, BINDING, blob[: data.draw(st.integers(0, len(blob) - 1))])
    refused(DEK, BINDING, blob + data.draw(st.binary(min_size=1, max_size=40)))


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("tenant", "other"),
        ("record_id", "idf_2"),
        ("owner", "sub_2"),
        ("dek_id", "dek_2"),
        ("record_class", RecordClass.EVIDENCE),
        ("record_class", RecordClass.PHOTO),
    ],
)
def test_a_blob_belongs_to_one_record(field: str, other: object) -> None:
    blob = seal(DEK, BINDING, b"template", os.urandom)
    elsewhere = dataclasses.replace(BINDING, **{field: other})  # type: ignore[arg-type] # any field by its name
    assert refused(DEK, elsewhere, blob) == ("commitment" if field == "record_class" else "tag")


@given(st.lists(TEXT, min_size=4, max_size=4), st.lists(TEXT, min_size=4, max_size=4))
def test_no_two_bindings_look_alike(left: list[str], right: list[str]) -> None:
    one, other = (Binding(a, RecordClass.PHOTO, b, c, d) for a, b, c, d in (left, right))
    assert (one.encode(1) == other.encode(1)) == (left == right)
    assert one.encode(1) != one.encode(2)
    assert one.encode(1) != one.encode(1, b"")


def test_a_swapped_key_is_seen_before_anything_is_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = seal(DEK, BINDING, b"template", os.urandom)

    def never(*args: object) -> None:
        raise AssertionError("decrypted before the commitment was checked")

    monkeypatch.setattr(envelope, "AESGCM", never)
    assert refused(os.urandom(32), BINDING, blob) == "commitment"


def test_classes_have_keys_of_their_own() -> None:
    keys = {message_key(DEK, b"s" * 32, record_class).key for record_class in RecordClass}
    assert len(keys) == len(RecordClass)


def test_a_record_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_WHOLE_BYTES", 10)
    with pytest.raises(ConsentryError) as caught:
        seal(DEK, BINDING, b"x" * 11, os.urandom)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_short_random_source_is_refused() -> None:
    with pytest.raises(ValueError, match="random source"):
        seal(DEK, BINDING, b"", lambda size: b"x" * (size - 1))


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="key of 32 bytes"):
        seal(bytes(size), BINDING, b"", os.urandom)
    with pytest.raises(ValueError, match="key of 32 bytes"):
        wrap_dek(DEK, bytes(size))
    with pytest.raises(ValueError, match="key of 32 bytes"):
        wrap_dek(bytes(size), DEK)


@given(at=st.integers(0, 39), flip=st.integers(1, 255))
@settings(max_examples=60)
def test_a_wrapped_key_opens_under_its_own_key_only(at: int, flip: int) -> None:
    wrapped = bytearray(wrap_dek(b"k" * 32, DEK))
    assert len(wrapped) == 40
    assert unwrap_dek(b"k" * 32, bytes(wrapped)) == DEK
    with pytest.raises(ConsentryError):
        unwrap_dek(b"j" * 32, bytes(wrapped))
    wrapped[at] ^= flip
    with pytest.raises(ConsentryError) as caught:
        unwrap_dek(b"k" * 32, bytes(wrapped))
    assert caught.value.metadata["stage"] == "wrap"


def test_secrets_do_not_show_in_repr() -> None:
    assert "key=" not in repr(message_key(DEK, b"s" * 32, RecordClass.PHOTO))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_derives_the_same_key() -> None:
    salt = hashlib.sha256(b"salt").digest()
    done = subprocess.run(
        ["openssl", "kdf", "-keylen", "64", "-kdfopt", "digest:SHA512", "-kdfopt", f"hexkey:{DEK.hex()}",
         "-kdfopt", f"hexsalt:{salt.hex()}", "-kdfopt", "info:consentry/v1/photo", "-binary", "HKDF"],
        check=True, capture_output=True,
    )  # fmt: skip
    derived = message_key(DEK, salt, RecordClass.PHOTO)
    assert done.stdout == derived.key + derived.commitment
