"""Mutual TLS: who connects, to whom, and who does not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from consentry import Check, Client, Config, DataCategory, Face, Operation, Purpose, Unavailable, aio
from consentry.testing import FakeGate
from consentry.v1 import gate_service_pb2
from consentry_server.adapters.certificates import make_development
from tests.client.conftest import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECK = Check(
    operation=Operation.DETECT_FACES,
    purpose=Purpose.TAGGING,
    category=DataCategory.FACE_GEOMETRY,
    faces=[Face(subject_id="alice")],
)
SHORT = Config(max_attempts=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("tls") / "tls"
    make_development(made, trust_domain="consentry.local", tenants=["acme"], now=datetime.now(UTC))
    return made


@pytest.fixture
def gate(folder: Path) -> Iterator[FakeGate]:
    gate = FakeGate(allowed={"alice"})
    gate.start(
        grpc.ssl_server_credentials(
            [((folder / "server.key").read_bytes(), (folder / "server.pem").read_bytes())],
            root_certificates=(folder / "ca.pem").read_bytes(),
            require_client_auth=True,
        )
    )
    yield gate
    gate.stop()


def files(folder: Path) -> dict[str, Any]:
    return {
        "root_certificates": folder / "ca.pem",
        "certificate_chain": folder / "processor-face-tagger.pem",
        "private_key": folder / "processor-face-tagger.key",
    }


@pytest.mark.parametrize("form", ["files", "bytes"])
@pytest.mark.parametrize("kind", [Client, aio.Client])
async def test_the_server_sees_who_calls_and_no_claimed_role(
    gate: FakeGate, folder: Path, kind: Any, form: str
) -> None:
    seen: list[Any] = []

    def look(request: Any, context: grpc.ServicerContext) -> gate_service_pb2.CheckResponse:
        seen.append(context.auth_context()["peer_uri"])
        return gate_service_pb2.CheckResponse(decision=gate.decision(request))

    gate.script("Check", look)
    pems: dict[str, Any] = dict(files(folder))
    if form == "bytes":
        pems = {name: path.read_bytes() for name, path in pems.items()}
    client = kind.connect(gate.address, **pems)
    if kind is Client:
        with client:
            assert client.check(CHECK).allowed
    else:
        async with client:
            assert (await now(client.check(CHECK))).allowed
    assert seen == [[b"spiffe://consentry.local/tenant/acme/role/processor/face-tagger"]]
    assert "consentry-unsafe-role" not in gate.metadata("Check")[0]


def test_a_server_of_another_authority_is_not_trusted(gate: FakeGate, folder: Path, tmp_path: Path) -> None:
    make_development(tmp_path / "tls", trust_domain="other.local", tenants=["acme"], now=datetime.now(UTC))
    pems = files(folder) | {"root_certificates": tmp_path / "tls" / "ca.pem"}
    with Client.connect(gate.address, **pems, config=SHORT) as client, pytest.raises(Unavailable):
        client.check(CHECK)
    assert gate.received("Check") == []


def test_the_server_s_name_counts(gate: FakeGate, folder: Path) -> None:
    with (
        Client.connect(gate.address, **files(folder), server_name="gate.example", config=SHORT) as client,
        pytest.raises(Unavailable),
    ):
        client.check(CHECK)
    with Client.connect(gate.address, **files(folder), server_name="localhost") as client:
        assert client.check(CHECK).allowed


def test_clear_text_gets_nothing_from_a_tls_server(gate: FakeGate) -> None:
    with (
        Client.unsafe_insecure_loopback(gate.address, role="processor", config=SHORT) as client,
        pytest.raises(Unavailable),
    ):
        client.check(CHECK)
    assert gate.received("Check") == []
