"""Known answers from Project Wycheproof for every primitive the vault stands on, edge cases included."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from consentry_server.core.envelope import unwrap_dek, wrap_dek
from consentry_server.core.errors import ConsentryError

VECTORS = Path(__file__).parents[2] / "data" / "vectors" / "wycheproof"


def cases(name: str, **group_is: object) -> list[Any]:
    document = json.loads((VECTORS / name).read_text())
    found = [
        pytest.param(group, test, id=str(test["tcId"]))
        for group in document["testGroups"]
        if all(group.get(key) == value for key, value in group_is.items())
        for test in group["tests"]
    ]
    assert found
    return found


def unhex(test: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(test[name]) for name in names]


@pytest.mark.parametrize(("group", "test"), cases("aes_gcm_test.json", tagSize=128))
def test_aes_gcm(group: dict[str, Any], test: dict[str, Any]) -> None:
    key, iv, aad, message, ciphertext, tag = unhex(test, "key", "iv", "aad", "msg", "ct", "tag")
    if not 8 <= len(iv) <= 128:  # lengths that the library refuses and that we never use
        with pytest.raises(ValueError, match="Nonce"):
            AESGCM(key).decrypt(iv, ciphertext + tag, aad)
        return
    out = bytearray(len(message))
    if test["result"] == "valid":
        assert AESGCM(key).encrypt(iv, message, aad) == ciphertext + tag
        assert AESGCM(key).decrypt(iv, ciphertext + tag, aad) == message
        AESGCM(key).decrypt_into(iv, ciphertext + tag, aad, out)
        assert bytes(out) == message
    else:
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(iv, ciphertext + tag, aad)
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt_into(iv, ciphertext + tag, aad, out)


@pytest.mark.parametrize(("group", "test"), cases("aes_kwp_test.json"))
def test_aes_key_wrap_with_padding(group: dict[str, Any], test: dict[str, Any]) -> None:
    key, message, wrapped = unhex(test, "key", "msg", "ct")
    if test["result"] == "valid":
        assert aes_key_wrap_with_padding(key, message) == wrapped
        assert aes_key_unwrap_with_padding(key, wrapped) == message
    else:
        with pytest.raises((InvalidUnwrap, ValueError)):
            aes_key_unwrap_with_padding(key, wrapped)


@pytest.mark.parametrize(("group", "test"), cases("aes_kwp_test.json", keySize=256))
def test_our_wrapping_takes_keys_of_32_bytes_only(group: dict[str, Any], test: dict[str, Any]) -> None:
    key, message, wrapped = unhex(test, "key", "msg", "ct")
    if test["result"] == "valid" and len(message) == 32:
        assert wrap_dek(key, message) == wrapped
        assert unwrap_dek(key, wrapped) == message
    else:
        with pytest.raises(ConsentryError):
            unwrap_dek(key, wrapped)


@pytest.mark.parametrize(("group", "test"), cases("hkdf_sha256_test.json"))
def test_hkdf(group: dict[str, Any], test: dict[str, Any]) -> None:
    ikm, salt, info, okm = unhex(test, "ikm", "salt", "info", "okm")
    if test["result"] == "valid":
        assert HKDF(hashes.SHA256(), test["size"], salt, info).derive(ikm) == okm
    else:
        with pytest.raises(ValueError, match="Cannot derive keys larger"):
            HKDF(hashes.SHA256(), test["size"], salt, info)


@pytest.mark.parametrize(("group", "test"), cases("ed25519_test.json"))
def test_ed25519(group: dict[str, Any], test: dict[str, Any]) -> None:
    message, signature = unhex(test, "msg", "sig")
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
    if test["result"] == "valid":
        key.verify(signature, message)
    else:
        with pytest.raises(InvalidSignature):
            key.verify(signature, message)


@pytest.mark.parametrize(("group", "test"), cases("hmac_sha256_test.json", tagSize=256))
def test_hmac_sha256(group: dict[str, Any], test: dict[str, Any]) -> None:
    key, message, tag = unhex(test, "key", "msg", "tag")
    assert hmac.compare_digest(hmac.digest(key, message, "sha256"), tag) == (test["result"] == "valid")
