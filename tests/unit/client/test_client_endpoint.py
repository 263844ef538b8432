"""Where a client may connect, and in what way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consentry import Client, Config, ConsentryError, InvalidRequest, aio
from consentry._endpoint import Endpoint, Tls, service_config, unsafe_loopback


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        ("127.0.0.1:50051", "ipv4:127.0.0.1:50051"),
        ("127.3.2.1:1", "ipv4:127.3.2.1:1"),
        ("[::1]:50051", "ipv6:[::1]:50051"),
    ],
)
def test_clear_text_goes_to_this_machine(target: str, canonical: str) -> None:
    assert unsafe_loopback(target, "").target == canonical


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051", "gate.example:50051", "10.0.0.1:50051", "0.0.0.0:50051", "[::]:50051", "127.0.0.1", "",
        "dns:///127.0.0.1:1", "ipv4:127.0.0.1:1,10.0.0.1:1", "127.0.0.1:1,10.0.0.1:1", "unix:/tmp/socket",
        "127.0.0.1.example:1", "[::ffff:10.0.0.1]:1", "127.0.0.1:1\n", "127.1:1", "[fe80::1]:1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Client, aio.Client])
def test_clear_text_goes_nowhere_else(kind: type[Client | aio.Client], target: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        kind.unsafe_insecure_loopback(target, role="processor")
    assert caught.value.field == "target"


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_loopback))
def test_no_other_address_is_taken(address: object) -> None:
    with pytest.raises(InvalidRequest):
        unsafe_loopback(f"{address}:50051", "")


def test_clear_text_ignores_a_proxy_of_the_environment_and_tls_sends_no_role() -> None:
    insecure = unsafe_loopback("127.0.0.1:1", "officer")
    assert ("grpc.enable_http_proxy", 0) in insecure.options(Config())
    assert insecure.metadata == (("consentry-unsafe-role", "officer"),)
    secure = Endpoint("gate.example:1", Tls(b"a", b"b", b"c"), "gate")
    assert secure.metadata == ()
    assert ("grpc.ssl_target_name_override", "gate") in secure.options(Config())


def test_a_key_is_not_printed() -> None:
    assert "secret" not in repr(Endpoint("gate.example:1", Tls(b"a", b"b", b"secret")))


@pytest.mark.parametrize("missing", ["root_certificates", "certificate_chain", "private_key"])
def test_tls_is_mutual_or_not_at_all(missing: str, tmp_path: Path) -> None:
    pems: dict[str, bytes | Path] = dict.fromkeys(["root_certificates", "certificate_chain", "private_key"], b"pem")
    for pem in (b" \n", tmp_path / "missing.pem"):
        client = Client.connect("gate.example:1", **(pems | {missing: pem}))  # type: ignore[arg-type]  # by name
        with pytest.raises(InvalidRequest) as caught, client:
            raise AssertionError("must not start")
        assert caught.value.field == missing


def test_retries_are_bounded_and_can_be_switched_off() -> None:
    (config,) = json.loads(service_config(4))["methodConfig"]
    assert config["retryPolicy"]["maxAttempts"] == 4
    assert config["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert service_config(1) == "{}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"check_deadline_seconds": 0}, {"unary_deadline_seconds": -1}, {"transfer_deadline_seconds": 0},
        {"slowest_bytes_per_second": 0}, {"max_photo_bytes": 0}, {"chunk_bytes": 0}, {"chunk_bytes": 1024 * 1024 + 1},
        {"max_attempts": 0}, {"max_attempts": 6},
    ],
)  # fmt: skip
def test_senseless_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"\b(is|are)\b"):
        Config(**wrong)


def test_a_transfer_has_the_time_that_its_size_needs() -> None:
    config = Config(transfer_deadline_seconds=10, slowest_bytes_per_second=1000, max_photo_bytes=50_000)
    assert config.transfer_seconds(5000) == 15
    assert config.transfer_seconds() == 60


def test_a_client_that_is_not_started_says_so() -> None:
    client = Client.unsafe_insecure_loopback("127.0.0.1:1")
    with pytest.raises(ConsentryError, match="not started"):
        client.get_checkpoint()
    with client, pytest.raises(ConsentryError, match="started already"):
        client.start()
    with pytest.raises(ConsentryError, match="closed"):
        client.get_checkpoint()
    client.close()
