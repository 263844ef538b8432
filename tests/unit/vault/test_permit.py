"""Permits and signed documents: one spelling, one algorithm, exactly the known claims, and other libraries agree."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.errors import SecurityWarning
from joserfc.jwk import OKPKey

from consentry_server.core import permit as permits
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.permit import Permit, PermitFace
from consentry_server.core.record.facts import Box
from consentry_server.core.signed import (
    CONSENT_RECEIPT_TYPE,
    DESTRUCTION_CERTIFICATE_TYPE,
    key_id,
    key_set,
    sign_claims,
    sign_document,
    verify_document,
)
from consentry_server.core.vocabulary import Operation, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = key_id(KEY.public_key())
KEYS = {KID: KEY.public_key()}
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ISSUER, AUDIENCE = "consentry.local/acme", "face-tagger"
PERMIT = Permit(
    issuer=ISSUER,
    audience=AUDIENCE,
    decision_id="dec_12_abc",
    operation=Operation.EXTRACT_TEMPLATE,
    purpose=Purpose.TAGGING,
    photo_sha256="ab" * 32,
    faces=(PermitFace(0, Box(1, 2, 30, 40)), PermitFace(2, Box(0, 0, 1, 1))),
    biometric=True,
    ledger_index=12,
    leaf_hash="cd" * 32,
    issued_at=NOW,
    expires_at=NOW + timedelta(seconds=60),
)
TOKEN = permits.sign(PERMIT, KEY, KID)


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def refused(token: str, *, now: datetime = NOW, audience: str = AUDIENCE, issuer: str = ISSUER) -> Reason:
    with pytest.raises(ConsentryError) as caught:
        permits.verify(token, KEYS, issuer, audience, now)
    return caught.value.reason


def forged(change: Callable[[dict[str, Any]], object], headers: dict[str, Any] | None = None) -> str:
    """A token with a good signature by the right key, and other claims or headers."""
    claims = claims_of(TOKEN)
    change(claims)
    return jwt.encode(claims, KEY, "EdDSA", headers={"kid": KID, "typ": "permit+jwt"} | (headers or {}))


boxes = st.builds(Box, st.integers(0, 9999), st.integers(0, 9999), st.integers(1, 9999), st.integers(1, 9999))
any_permit = st.builds(
    Permit,
    issuer=st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
    audience=st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
    decision_id=st.from_regex(r"dec_[0-9]{1,9}_[a-z2-7]{24}", fullmatch=True),
    operation=st.sampled_from(Operation),
    purpose=st.sampled_from(Purpose),
    photo_sha256=st.just("") | st.binary(min_size=32, max_size=32).map(bytes.hex),
    faces=st.lists(boxes, max_size=5).map(lambda some: tuple(PermitFace(i * 2, box) for i, box in enumerate(some))),
    biometric=st.booleans(),
    ledger_index=st.integers(0, 2**53 - 1),
    leaf_hash=st.binary(min_size=32, max_size=32).map(bytes.hex),
    issued_at=st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC)),
    expires_at=st.just(NOW),
)


@given(any_permit, st.integers(1, 10**6))
@settings(max_examples=100)
def test_what_was_signed_is_read_back(permit: Permit, life: int) -> None:
    permit = dataclasses.replace(permit, expires_at=permit.issued_at + timedelta(seconds=life))
    token = permits.sign(permit, KEY, KID)
    assert permits.sign(permit, KEY, KID) == token
    assert permits.verify(token, KEYS, permit.issuer, permit.audience, permit.issued_at) == permit


@given(any_permit)
@settings(max_examples=30)
def test_signing_equals_pyjwt_byte_for_byte(permit: Permit) -> None:
    permit = dataclasses.replace(permit, expires_at=permit.issued_at + timedelta(seconds=60))
    token = permits.sign(permit, KEY, KID)
    payload = json.dumps(claims_of(token), separators=(",", ":"), sort_keys=True).encode()
    headers = {"kid": KID, "typ": "permit+jwt"}
    assert jwt.PyJWS().encode(payload, KEY, "EdDSA", headers=headers, sort_headers=True) == token


def test_times_are_cut_to_seconds_and_never_later() -> None:
    fine = dataclasses.replace(
        PERMIT, issued_at=NOW.replace(microsecond=900_000), expires_at=PERMIT.expires_at.replace(microsecond=900_000)
    )
    assert permits.sign(fine, KEY, KID) == TOKEN


def test_joserfc_and_pyjwt_verify_it_with_the_published_set() -> None:
    published = key_set([KEY.public_key()])["keys"][0]
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # it prefers the newer name; every library knows this one
        token = jose.decode(TOKEN, OKPKey.import_key(published), algorithms=["EdDSA"])
    assert token.header == {"alg": "EdDSA", "kid": KID, "typ": "permit+jwt"}
    assert token.claims["faces"][1] == {"index": 2, "x": 0, "y": 0, "width": 1, "height": 1}
    options: Any = {"verify_exp": False, "verify_iat": False}
    decoded = jwt.decode(TOKEN, jwt.PyJWK(published), ["EdDSA"], audience=AUDIENCE, issuer=ISSUER, options=options)
    assert decoded == token.claims


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_verifies_it(tmp_path: Path) -> None:
    signed, signature = TOKEN.rsplit(".", 1)
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "signature").write_bytes(base64.urlsafe_b64decode(signature + "=="))
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key.pem", "-sigfile", "signature", "-in"]
    for name, text, good in (("whole", signed, True), ("changed", signed + "x", False)):
        (tmp_path / name).write_text(text)
        assert (
            subprocess.run([*command, name], cwd=tmp_path, capture_output=True, check=False).returncode == 0
        ) == good


def test_the_key_is_named_by_its_thumbprint() -> None:
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")  # RFC 8037, appendix A.2
    key = Ed25519PublicKey.from_public_bytes(public)
    assert key_id(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # RFC 8037, appendix A.3
    assert "d" not in key_set([KEY.public_key()])["keys"][0]


def test_expiry_has_no_grace_and_the_issuers_clock_a_little() -> None:
    assert permits.verify(TOKEN, KEYS, ISSUER, AUDIENCE, NOW + timedelta(seconds=59, microseconds=999_999)) == PERMIT
    assert refused(TOKEN, now=NOW + timedelta(seconds=60)) is Reason.PERMIT_EXPIRED
    assert permits.verify(TOKEN, KEYS, ISSUER, AUDIENCE, NOW - timedelta(seconds=5)) == PERMIT
    assert refused(TOKEN, now=NOW - timedelta(seconds=6)) is Reason.PERMIT_INVALID


def test_another_audience_or_issuer() -> None:
    assert refused(TOKEN, audience="someone-else") is Reason.PERMIT_INVALID
    assert refused(TOKEN, issuer="consentry.local/other") is Reason.PERMIT_INVALID


def test_a_stranger_holding_another_key() -> None:
    other = Ed25519PrivateKey.generate()
    assert refused(permits.sign(PERMIT, other, KID)) is Reason.PERMIT_INVALID
    assert refused(permits.sign(PERMIT, other, key_id(other.public_key()))) is Reason.PERMIT_INVALID
    with pytest.raises(ConsentryError):
        permits.verify(TOKEN, {}, ISSUER, AUDIENCE, NOW)


@given(at=st.integers(0, len(TOKEN) - 1), other=st.characters(max_codepoint=0x7F))
@settings(max_examples=200)
def test_any_changed_character_is_seen(at: int, other: str) -> None:
    changed = TOKEN[:at] + other + TOKEN[at + 1 :]
    if changed != TOKEN:
        assert refused(changed) is Reason.PERMIT_INVALID


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode() + ".a.b"))
@settings(max_examples=100)
def test_anything_else_is_refused(text: str) -> None:
    assert refused(text) is Reason.PERMIT_INVALID


@pytest.mark.parametrize(
    "headers",
    [
        {"typ": "JWT"},
        {"typ": CONSENT_RECEIPT_TYPE},
        {"kid": "unknown"},
        {"kid": None},
        {"crit": ["exp"]},
        {"jwk": {}},
        {"x5u": "https://example.test/key"},
    ],
)
def test_headers_are_exactly_those(headers: dict[str, Any]) -> None:
    token = [TOKEN.split(".")[1]]
    header = {"alg": "EdDSA", "kid": KID, "typ": "permit+jwt"} | headers
    first = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    signed = f"{first}.{token[0]}"
    signature = base64.urlsafe_b64encode(KEY.sign(signed.encode())).decode().rstrip("=")
    assert refused(f"{signed}.{signature}") is Reason.PERMIT_INVALID


def test_other_algorithms_are_refused() -> None:
    claims = claims_of(TOKEN)
    headers = {"kid": KID, "typ": "permit+jwt"}
    public = KEY.public_key().public_bytes_raw()
    assert refused(jwt.encode(claims, "", "none", headers=headers)) is Reason.PERMIT_INVALID
    assert refused(jwt.encode(claims, public, "HS256", headers=headers)) is Reason.PERMIT_INVALID
    assert refused(jwt.encode(claims, Ed448PrivateKey.generate(), "EdDSA", headers=headers)) is Reason.PERMIT_INVALID


@pytest.mark.parametrize("name", sorted(permits._CLAIMS))
def test_every_claim_is_needed(name: str) -> None:
    assert refused(forged(lambda claims: claims.pop(name))) is Reason.PERMIT_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"nbf": 0},
        {"aud": [AUDIENCE]},
        {"iss": ""},
        {"iat": float(NOW.timestamp())},
        {"exp": True},
        {"exp": 10**18},
        {"exp": int(NOW.timestamp())},
        {"operation": "EVERYTHING"},
        {"operation": None},
        {"purpose": "tagging"},
        {"photo_sha256": "AB" * 32},
        {"photo_sha256": "ab" * 31},
        {"faces": {}},
        {"faces": [{"index": 0, "x": 0, "y": 0, "width": 0, "height": 1}]},
        {"faces": [{"index": 0, "x": -1, "y": 0, "width": 1, "height": 1}]},
        {"faces": [{"index": 0, "x": 0, "y": 0, "width": 1}]},
        {"faces": [{"index": 0, "x": 0, "y": 0, "width": 1, "height": 1, "mask": 1}]},
        {"faces": [{"index": 1, "x": 0, "y": 0, "width": 1, "height": 1}] * 2},
        {"biometric": 1},
        {"biometric": "false"},
        {"ledger_index": -1},
        {"ledger_index": True},
        {"ledger_index": 2**53},
        {"ledger_index": "12"},
        {"leaf_hash": ""},
    ],
    ids=str,
)
def test_every_claim_has_one_form(change: dict[str, Any]) -> None:
    assert refused(forged(lambda claims: claims.update(change))) is Reason.PERMIT_INVALID


def test_repeated_members_and_other_json_are_refused() -> None:
    payload = json.dumps(claims_of(TOKEN)).encode()
    for bad in (payload[:-1] + b', "biometric": false}', b"[]", b"1", b"\xff", b"[" * 5000, b""):
        token = jwt.PyJWS().encode(bad, KEY, "EdDSA", headers={"kid": KID, "typ": "permit+jwt"}, sort_headers=True)
        assert refused(token) is Reason.PERMIT_INVALID


def test_other_spellings_of_the_same_bytes_are_refused() -> None:
    head, body, signature = TOKEN.split(".")
    last = signature[-1]
    sibling = chr(ord(last) + 1)  # the last character of 64 bytes carries 4 unused bits
    for other in (
        f"{head}.{body}.{signature}==",
        f"{head}.{body}.{signature[:-1]}{sibling}",
        f" {TOKEN}",
        f"{TOKEN}\n",
    ):
        assert refused(other) is Reason.PERMIT_INVALID


def test_size_is_bounded() -> None:
    assert refused("a" * 70_000) is Reason.PERMIT_INVALID
    crowd = tuple(PermitFace(i, Box(0, 0, 1, 1)) for i in range(257))
    with pytest.raises(ConsentryError) as caught:
        permits.sign(dataclasses.replace(PERMIT, faces=crowd), KEY, KID)
    assert caught.value.reason is Reason.TOO_LARGE
    most = dataclasses.replace(PERMIT, faces=crowd[:256])
    assert permits.verify(permits.sign(most, KEY, KID), KEYS, ISSUER, AUDIENCE, NOW) == most
    with pytest.raises(ConsentryError):
        sign_claims({"iss": "x" * 70_000}, KEY, KID, CONSENT_RECEIPT_TYPE)


@pytest.mark.parametrize(
    "change",
    [
        {"photo_sha256": "AB"},
        {"expires_at": NOW},
        {"issuer": ""},
        {"ledger_index": -1},
        {"issued_at": NOW.replace(tzinfo=None)},
        {"faces": PERMIT.faces[::-1]},
    ],
    ids=str,
)
def test_what_no_reader_would_take_is_never_signed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        permits.sign(dataclasses.replace(PERMIT, **change), KEY, KID)


def test_documents_are_of_one_kind_and_one_issuer() -> None:
    claims = {"iss": ISSUER, "iat": 1, "text": "Zażółć 名前"}
    receipt = sign_document(claims, KEY, KID, CONSENT_RECEIPT_TYPE)
    assert sign_document(dict(reversed(claims.items())), KEY, KID, CONSENT_RECEIPT_TYPE) == receipt
    assert verify_document(receipt, KEYS, CONSENT_RECEIPT_TYPE, ISSUER) == claims
    for typ, issuer, keys in (
        (DESTRUCTION_CERTIFICATE_TYPE, ISSUER, KEYS),
        (CONSENT_RECEIPT_TYPE, "consentry.local/other", KEYS),
        (CONSENT_RECEIPT_TYPE, ISSUER, {}),
    ):
        with pytest.raises(ConsentryError) as caught:
            verify_document(receipt, keys, typ, issuer)
        assert caught.value.reason is Reason.SIGNATURE_INVALID
    assert refused(receipt) is Reason.PERMIT_INVALID
    for bad in ({}, {"iss": ""}, {"iss": 1}, {"iss": ISSUER, "n": float("nan")}):
        with pytest.raises(ValueError):
            sign_document(bad, KEY, KID, CONSENT_RECEIPT_TYPE)
