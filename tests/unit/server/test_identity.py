"""Names in certificates: strictly parsed, or nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry_server.adapters.certificates import caller_uri
from consentry_server.adapters.grpc.identity import CertificateIdentity, caller, require_role
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.context import Caller, Role

IDENTITY = CertificateIdentity("consentry.test", ["acme", "a.b-c_d"])
GOOD = b"spiffe://consentry.test/tenant/acme/role/officer/first"
SLUG = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)


@given(st.sampled_from(Role), SLUG)
def test_what_is_issued_is_understood(role: Role, name: str) -> None:
    one = Caller(tenant="a.b-c_d", role=role, name=name)
    assert IDENTITY.parse([caller_uri(one, "consentry.test").encode()]) == one


def test_other_uris_may_stand_beside() -> None:
    assert IDENTITY.parse([b"https://example.com/", GOOD, b"urn:x"]) == Caller("acme", Role.OFFICER, "first")


@pytest.mark.parametrize(
    "uris",
    [
        [],
        [b"https://consentry.test/tenant/acme/role/officer/first"],
        [GOOD, GOOD],
        [GOOD, b"spiffe://elsewhere/x"],
        [GOOD, b"SPIFFE://elsewhere/x"],
        [GOOD.replace(b"spiffe", b"SPIFFE")],
        [GOOD + b"/"],
        [GOOD + b"\n"],
        [GOOD + b"\x00"],
        [GOOD + b"?role=operator"],
        [GOOD + b"#x"],
        [GOOD + b"/role/operator/ops"],
        [b" " + GOOD],
        [GOOD.replace(b"first", b"")],
        [GOOD.replace(b"first", b"First")],
        [GOOD.replace(b"first", b"..")],
        [GOOD.replace(b"first", b"f%69rst")],
        [GOOD.replace(b"first", "fіrst".encode())],  # noqa: RUF001 - a Cyrillic letter, on purpose
        [GOOD.replace(b"first", b"a" * 65)],
        [GOOD.replace(b"first", b"a" * 5000)],
        [GOOD.replace(b"officer", b"king")],
        [GOOD.replace(b"officer", b"Officer")],
        [GOOD.replace(b"officer", b"")],
        [GOOD.replace(b"acme", b"other")],
        [GOOD.replace(b"acme", b"acme/tenant/acme")],
        [GOOD.replace(b"consentry.test", b"consentry.tes")],
        [GOOD.replace(b"consentry.test", b"consentry-test")],
        [GOOD.replace(b"consentry.test", b"x@consentry.test")],
        [GOOD.replace(b"consentry.test", b"consentry.test:443")],
        [GOOD.replace(b"tenant", b"ten")],
    ],
)
def test_anything_else_is_nobody(uris: list[bytes]) -> None:
    with pytest.raises(ConsentryError) as caught:
        IDENTITY.parse(uris)
    assert caught.value.reason is Reason.IDENTITY_MISSING
    assert caught.value.metadata["expected"].startswith("spiffe://<trust-domain>/tenant/")


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_arbitrary_bytes_are_nobody(uris: list[bytes]) -> None:
    with pytest.raises(ConsentryError):
        IDENTITY.parse(uris)


def test_an_empty_set_of_roles_lets_nobody_in() -> None:
    for role in Role:
        with pytest.raises(ConsentryError) as caught:
            require_role(Caller("acme", role, "x"), frozenset(), "/s/m")
        assert caught.value.reason is Reason.ROLE_NOT_ALLOWED


def test_outside_a_call_there_is_no_caller() -> None:
    with pytest.raises(ConsentryError) as caught:
        caller()
    assert caught.value.reason is Reason.IDENTITY_MISSING
