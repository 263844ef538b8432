"""The shell around the servicers, over real sockets: TLS, identity, roles, errors, bad bytes, stop."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from consentry.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    gate_service_pb2,
    gate_service_pb2_grpc,
    rights_service_pb2,
    rights_service_pb2_grpc,
    vault_service_pb2,
    vault_service_pb2_grpc,
)
from consentry_server.adapters import certificates
from consentry_server.adapters.grpc.credentials import ReloadingCredentials, TlsFiles
from consentry_server.adapters.grpc.identity import (
    UNSAFE_ROLE_KEY,
    CertificateIdentity,
    Identity,
    UnsafeLoopbackIdentity,
    caller,
)
from consentry_server.adapters.grpc.server import SERVICES, GrpcServer
from consentry_server.config import ServerSettings
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from google.protobuf.message import Message

    from consentry_server.services.context import Caller

TRUST_DOMAIN = "consentry.test"
GATE, VAULT, AUDIT = "consentry.v1.GateService", "consentry.v1.VaultService", "consentry.v1.AuditService"
DEADLINE = 20.0
CHECK = f"/{GATE}/Check"


@dataclass
class Gate:
    """Answers Check as a test tells it to."""

    act: Callable[[], Any] = lambda: None
    callers: list[Caller] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def Check(self, request: gate_service_pb2.CheckRequest, context: Any) -> Any:  # noqa: N802
        self.callers.append(caller())
        self.entered.set()
        found = self.act()
        if asyncio.iscoroutine(found):
            found = await found
        return gate_service_pb2.CheckResponse() if found is None else found

    async def wait(self) -> None:
        await self.released.wait()


def generated_gate() -> object:
    """Inherits an answer for every RPC from the generated code, and implements one."""

    async def answer(_self: object, _request: Message, _context: Any) -> Message:
        return gate_service_pb2.CheckResponse()

    return type("GeneratedGate", (gate_service_pb2_grpc.GateServiceServicer,), {"Check": answer})()


class Vault:
    async def UploadPhoto(self, requests: AsyncIterator[Message], context: Any) -> Message:  # noqa: N802
        async for _ in requests:
            caller()
        return vault_service_pb2.UploadPhotoResponse()

    async def OpenPhoto(self, request: Message, context: Any) -> AsyncIterator[Message]:  # noqa: N802
        yield vault_service_pb2.OpenPhotoResponse(chunk=caller().name.encode())
        raise ConsentryError(Reason.BASIS_GONE, "the release was withdrawn", metadata={"index": "7"})


class Audit:
    """Has one endless call."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def TailEntries(self, request: Message, context: Any) -> AsyncIterator[Message]:  # noqa: N802
        try:
            yield audit_service_pb2.TailEntriesResponse()
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificates.make_development(
        folder, trust_domain=TRUST_DOMAIN, tenants=["acme", "other"], now=datetime.now(tz=UTC)
    )
    return folder


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same names, by another authority."""
    folder = tmp_path_factory.mktemp("strangers")
    certificates.make_development(folder, trust_domain=TRUST_DOMAIN, tenants=["acme"], now=datetime.now(tz=UTC))
    return folder


def files(folder: Path) -> TlsFiles:
    return TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem")


@asynccontextmanager
async def serving(
    tls: Path | None, servicers: dict[str, object] | None = None, *, identity: Identity | None = None, **settings: Any
) -> AsyncIterator[tuple[GrpcServer, int]]:
    values = {"listen": "127.0.0.1:0", "stop_grace_seconds": 0} | settings
    server = GrpcServer(
        ServerSettings.model_validate(values),
        servicers or {},
        identity=identity or CertificateIdentity(TRUST_DOMAIN, ["acme"]),
        tls=files(tls) if tls else None,
    )
    port = await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


def channel(port: int, folder: Path, name: str | None = "processor-face-tagger") -> Any:  # raw calls have no types
    authority = (folder / "ca.pem").read_bytes()
    key, chain = ((folder / f"{name}.{kind}").read_bytes() if name else None for kind in ("key", "pem"))
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(authority, key, chain))


async def check(port: int, folder: Path, name: str | None = "processor-face-tagger") -> Message:
    async with channel(port, folder, name) as connection:
        stub: Any = gate_service_pb2_grpc.GateServiceStub(connection)
        answer: Message = await stub.Check(gate_service_pb2.CheckRequest(), timeout=DEADLINE)
        return answer


def info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """The one ErrorInfo of a failure."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(found) == 1
    result = error_details_pb2.ErrorInfo()
    found[0].Unpack(result)
    assert result.domain == "consentry.v1"
    assert status.message == error.details()
    return result


@asynccontextmanager
async def failing(code: grpc.StatusCode, reason: Reason | None) -> AsyncIterator[dict[str, Any]]:
    """The block fails with this code and reason; what it failed with is left in the dict."""
    seen: dict[str, Any] = {}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield seen
    assert caught.value.code() is code, caught.value
    seen["text"] = caught.value.details()
    if reason is not None:
        seen["info"] = info(caught.value)
        assert seen["info"].reason == reason.value
        seen["metadata"] = dict(seen["info"].metadata)


# -- TLS and identity


async def test_the_certificate_names_the_caller(tls: Path) -> None:
    gate = Gate()
    async with serving(tls, {GATE: gate}) as (_, port):
        await check(port, tls)
        await check(port, tls)
    assert [one.actor for one in gate.callers] == ["processor/face-tagger"] * 2
    assert {one.tenant for one in gate.callers} == {"acme"}


async def test_without_a_certificate_there_is_no_connection(tls: Path) -> None:
    async with serving(tls, {GATE: (gate := Gate())}) as (_, port), failing(grpc.StatusCode.UNAVAILABLE, None):
        await check(port, tls, None)
    assert gate.callers == []


async def test_a_plain_connection_is_refused(tls: Path) -> None:
    async with (
        serving(tls, {GATE: (gate := Gate())}) as (_, port),
        failing(grpc.StatusCode.UNAVAILABLE, None),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as plain,
    ):
        await gate_service_pb2_grpc.GateServiceStub(plain).Check(gate_service_pb2.CheckRequest(), timeout=DEADLINE)
    assert gate.callers == []


async def test_a_certificate_of_another_authority_is_refused(tls: Path, strangers: Path, tmp_path: Path) -> None:
    for kind in ("pem", "key"):
        shutil.copy(strangers / f"processor-face-tagger.{kind}", tmp_path)
    shutil.copy(tls / "ca.pem", tmp_path)  # they know our server, we do not know them
    async with serving(tls, {GATE: (gate := Gate())}) as (_, port), failing(grpc.StatusCode.UNAVAILABLE, None):
        await check(port, tmp_path)
    assert gate.callers == []


async def test_a_server_of_another_authority_is_refused_by_the_client(tls: Path, strangers: Path) -> None:
    async with serving(tls, {GATE: (gate := Gate())}) as (_, port), failing(grpc.StatusCode.UNAVAILABLE, None):
        await check(port, strangers)
    assert gate.callers == []


async def test_a_tenant_that_is_not_hosted_has_no_identity_here(tls: Path) -> None:
    shutil.copy(tls / "ca.pem", tls / "other")
    async with (
        serving(tls, {GATE: (gate := Gate())}) as (_, port),
        failing(grpc.StatusCode.UNAUTHENTICATED, Reason.IDENTITY_MISSING) as seen,
    ):
        await check(port, tls / "other")
    assert "tenant" in seen["text"]
    assert gate.callers == []


async def test_a_server_certificate_names_no_caller(tls: Path) -> None:
    async with serving(tls, {GATE: (gate := Gate())}) as (_, port):
        # BoringSSL refuses its key usage at the handshake; were it accepted, it would still name nobody
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(port, tls, "server")
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    assert gate.callers == []


async def test_certificates_change_while_running(tls: Path, strangers: Path, tmp_path: Path) -> None:
    shutil.copytree(tls, live := tmp_path / "tls")
    async with serving(live, {GATE: Gate()}) as (_, port):
        await check(port, tls)
        shutil.copy(strangers / "server.pem", live)  # half replaced: nothing changes
        await check(port, tls)
        for name in ("server.key", "ca.pem"):
            shutil.copy(strangers / name, live)
        await check(port, strangers)
        async with failing(grpc.StatusCode.UNAVAILABLE, None):
            await check(port, tls)


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_bad_tls_files_are_a_clear_error(tls: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    shutil.copytree(tls, bad := tmp_path / "tls")
    (bad / name).unlink()
    if content is not None:
        (bad / name).write_bytes(content)
    with pytest.raises(ConsentryError) as caught:
        async with serving(bad):
            pass
    assert caught.value.reason is Reason.CONFIGURATION_INVALID
    assert name in caught.value.message


async def test_a_key_of_another_certificate_is_a_clear_error(tls: Path, strangers: Path, tmp_path: Path) -> None:
    shutil.copytree(tls, bad := tmp_path / "tls")
    shutil.copy(strangers / "server.key", bad)
    with pytest.raises(ConsentryError, match="is not the key of"):
        async with serving(bad):
            pass


def test_files_are_read_again_only_when_they_changed(tls: Path, strangers: Path, tmp_path: Path) -> None:
    shutil.copytree(tls, live := tmp_path / "tls")
    credentials = ReloadingCredentials(files(live))
    credentials.load()
    assert credentials.fetch() is None
    shutil.copy(strangers / "server.pem", live)
    assert credentials.fetch() is None  # not its key
    shutil.copy(strangers / "server.key", live)
    assert credentials.fetch() is not None
    assert credentials.fetch() is None
    (live / "ca.pem").unlink()
    assert credentials.fetch() is None  # and what is loaded stays


# -- roles


@pytest.mark.parametrize("name", ["collector-product", "auditor-counsel", "officer-first", "operator-ops"])
async def test_a_role_that_may_not_is_refused_before_anything_is_read(tls: Path, name: str) -> None:
    async with (
        serving(tls, {GATE: (gate := Gate())}) as (_, port),
        failing(grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_NOT_ALLOWED) as seen,
    ):
        await check(port, tls, name)
    assert seen["metadata"] == {"role": name.partition("-")[0], "allowed": "processor"}
    assert gate.callers == []


async def test_roles_come_before_unbuilt(tls: Path) -> None:
    async with (
        serving(tls) as (_, port),
        channel(port, tls) as processor,
        channel(port, tls, "officer-first") as officer,
    ):
        request = rights_service_pb2.EraseSubjectRequest()
        async with failing(grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_NOT_ALLOWED):
            await rights_service_pb2_grpc.RightsServiceStub(processor).EraseSubject(request, timeout=DEADLINE)
        async with failing(grpc.StatusCode.UNIMPLEMENTED, Reason.NOT_BUILT) as seen:
            await rights_service_pb2_grpc.RightsServiceStub(officer).EraseSubject(request, timeout=DEADLINE)
    assert seen["metadata"] == {"method": "/consentry.v1.RightsService/EraseSubject"}
    assert "WithdrawRelease" in seen["text"]


# -- what is not built


async def every_kind(port: int, folder: Path, servicer_calls: list[tuple[str, str]]) -> None:
    """Call every RPC raw, as a role that may, and see NOT_BUILT."""
    for role in ("processor-face-tagger", "collector-product", "auditor-counsel", "officer-first", "operator-ops"):
        async with channel(port, folder, role) as connection:
            for service, method in servicer_calls:
                call = connection.stream_stream(f"/{service}/{method}")([b""], timeout=DEADLINE)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await anext(aiter(call))
                assert info(caught.value).reason in {Reason.NOT_BUILT.value, Reason.ROLE_NOT_ALLOWED.value}
                assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED}


async def test_every_rpc_of_the_contract_answers(tls: Path) -> None:
    methods = [(service.full_name, method.name) for service in SERVICES.values() for method in service.methods]
    async with serving(tls) as (_, port):
        await every_kind(port, tls, methods)


async def test_what_generated_base_classes_answer_is_not_built(tls: Path) -> None:
    async with serving(tls, {GATE: generated_gate()}) as (_, port), channel(port, tls) as connection:
        stub = gate_service_pb2_grpc.GateServiceStub(connection)
        await stub.Check(gate_service_pb2.CheckRequest(), timeout=DEADLINE)
        async with failing(grpc.StatusCode.UNIMPLEMENTED, Reason.NOT_BUILT):
            await stub.BatchCheck(gate_service_pb2.BatchCheckRequest(), timeout=DEADLINE)


@pytest.mark.parametrize("method", ["/consentry.v1.GateService/Chekc", "/consentry.v1.FutureService/Do"])
async def test_a_method_nobody_knows_is_not_built(tls: Path, method: str) -> None:
    async with (
        serving(tls) as (_, port),
        channel(port, tls) as connection,
        failing(grpc.StatusCode.UNIMPLEMENTED, Reason.NOT_BUILT) as seen,
    ):
        await connection.unary_unary(method)(b"anything", timeout=DEADLINE)
    assert seen["metadata"] == {"method": method}


def test_a_servicer_of_no_known_service_is_a_mistake(tls: Path) -> None:
    with pytest.raises(ValueError, match=r"consentry\.v1\.Gate"):
        GrpcServer(
            ServerSettings(),
            {"consentry.v1.Gate": Gate},
            identity=CertificateIdentity(TRUST_DOMAIN, ["acme"]),
            tls=files(tls),
        )


@pytest.mark.parametrize("method", ["OpenPhoto", "UploadPhoto"])
def test_a_servicer_method_of_the_wrong_kind_is_a_mistake(tls: Path, method: str) -> None:
    wrong = Vault()
    other = "UploadPhoto" if method == "OpenPhoto" else "OpenPhoto"
    setattr(wrong, method, getattr(wrong, other))
    identity = CertificateIdentity(TRUST_DOMAIN, ["acme"])
    server = GrpcServer(ServerSettings(listen="127.0.0.1:0"), {VAULT: wrong}, identity=identity, tls=files(tls))
    with pytest.raises(TypeError, match=method):
        server.handlers()


# -- errors


async def test_an_error_arrives_with_its_reason_field_and_metadata(tls: Path) -> None:
    def refuse() -> None:
        raise ConsentryError(Reason.VALUE_UNKNOWN, "97 is no operation", field="operation", metadata={"value": "97"})

    async with (
        serving(tls, {GATE: Gate(refuse)}) as (_, port),
        failing(grpc.StatusCode.INVALID_ARGUMENT, Reason.VALUE_UNKNOWN) as seen,
    ):
        await check(port, tls)
    assert seen["metadata"] == {"field": "operation", "value": "97"}
    assert seen["text"] == "97 is no operation"


async def test_the_largest_error_still_arrives_whole(tls: Path) -> None:
    def refuse() -> None:
        raise ConsentryError(
            Reason.NOT_FOUND,
            "ж💣\ud800" * 5000,
            field="имя" * 2000,
            metadata={f"key{number}": "€" * 1000 for number in range(40)},
        )

    async with (
        serving(tls, {GATE: Gate(refuse)}) as (_, port),
        failing(grpc.StatusCode.NOT_FOUND, Reason.NOT_FOUND) as seen,
    ):
        await check(port, tls)
    assert seen["metadata"]["field"].startswith("имя")


def fail_badly() -> None:
    raise KeyError("the caller's user-4711")


def answer_wrongly() -> Message:
    return gate_service_pb2.BatchCheckResponse()


async def cancel_itself() -> None:
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.cancel)
    await waiting


@pytest.mark.parametrize("act", [fail_badly, answer_wrongly, cancel_itself, lambda: "no message"])
async def test_a_fault_of_ours_is_said_but_not_shown(
    tls: Path, act: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        serving(tls, {GATE: Gate(act)}) as (_, port),
        failing(grpc.StatusCode.UNAVAILABLE, Reason.SERVICE_FAULT) as seen,
    ):
        await check(port, tls)
    assert seen["metadata"]["method"] == CHECK
    assert seen["metadata"]["fault_id"] in seen["text"]
    assert "4711" not in seen["text"]
    assert seen["metadata"]["fault_id"] in capsys.readouterr().out


async def test_an_error_in_the_middle_of_a_stream(tls: Path) -> None:
    async with serving(tls, {VAULT: Vault()}) as (_, port), channel(port, tls) as connection:
        stub: Any = vault_service_pb2_grpc.VaultServiceStub(connection)
        chunks = []
        async with failing(grpc.StatusCode.PERMISSION_DENIED, Reason.BASIS_GONE):
            async for message in stub.OpenPhoto(vault_service_pb2.OpenPhotoRequest(), timeout=DEADLINE):
                chunks.append(message.chunk)  # noqa: PERF401 - kept although the loop ends with an error
    assert chunks == [b"face-tagger"]


# -- bad bytes

GARBAGE = [b"\xff", b"\x0a\xff", b"\x0a\x02\xc3\x28", bytes(10 * 2**20)[: 4 * 2**20], b"\x1f" * 100]


@pytest.mark.parametrize("data", GARBAGE, ids=["tag", "length", "utf-8", "zeros", "group"])
async def test_garbage_is_an_invalid_argument(tls: Path, data: bytes) -> None:
    async with (
        serving(tls, {GATE: (gate := Gate())}) as (_, port),
        channel(port, tls) as connection,
        failing(grpc.StatusCode.INVALID_ARGUMENT, Reason.FIELD_INVALID) as seen,
    ):
        await connection.unary_unary(CHECK)(data, timeout=DEADLINE)
    assert seen["metadata"] == {"field": "request"}
    assert "consentry.v1.CheckRequest" in seen["text"]
    assert gate.callers == []


async def test_garbage_in_a_stream_is_an_invalid_argument(tls: Path) -> None:
    async with serving(tls, {VAULT: Vault()}) as (_, port), channel(port, tls) as connection:
        good = vault_service_pb2.UploadPhotoRequest().SerializeToString()
        async with failing(grpc.StatusCode.INVALID_ARGUMENT, Reason.FIELD_INVALID):
            await connection.stream_unary(f"/{VAULT}/UploadPhoto")([good, b"\xff"], timeout=DEADLINE)
        assert await connection.stream_unary(f"/{VAULT}/UploadPhoto")([good, good], timeout=DEADLINE) == b""


async def test_a_message_beyond_the_limit_exhausts(tls: Path) -> None:
    async with (
        serving(tls, {GATE: (gate := Gate())}) as (_, port),
        channel(port, tls) as connection,
        failing(grpc.StatusCode.RESOURCE_EXHAUSTED, None),
    ):
        await connection.unary_unary(CHECK)(bytes(10 * 2**20), timeout=DEADLINE)
    assert gate.callers == []


async def test_one_call_too_many_is_overloaded(tls: Path) -> None:
    gate = Gate()
    gate.act = gate.wait
    async with serving(tls, {GATE: gate}, max_calls_in_flight=1) as (_, port):
        first = asyncio.create_task(check(port, tls))
        await gate.entered.wait()
        async with failing(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.OVERLOADED) as seen:
            await check(port, tls)
        gate.released.set()
        await first
        await check(port, tls)  # the place is free again
    assert seen["metadata"] == {"retry_after_ms": "100"}


# -- the insecure listener


async def test_the_insecure_listener_believes_the_role(tls: Path) -> None:
    gate = Gate()
    identity = UnsafeLoopbackIdentity("acme", "somebody")
    async with (
        serving(None, {GATE: gate}, identity=identity) as (_, port),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as plain,
    ):
        stub: Any = gate_service_pb2_grpc.GateServiceStub(plain)
        request = gate_service_pb2.CheckRequest()
        await stub.Check(request, metadata=[(UNSAFE_ROLE_KEY, "processor")], timeout=DEADLINE)
        async with failing(grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_NOT_ALLOWED) as seen:
            await stub.Check(request, timeout=DEADLINE)
        async with failing(grpc.StatusCode.UNAUTHENTICATED, Reason.IDENTITY_MISSING):
            await stub.Check(request, metadata=[(UNSAFE_ROLE_KEY, "king")], timeout=DEADLINE)
    assert seen["metadata"]["role"] == "operator"
    assert [one.actor for one in gate.callers] == ["processor/somebody"]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0"])
async def test_the_insecure_listener_is_for_loopback_only(listen: str) -> None:
    with pytest.raises(ConsentryError) as caught:
        async with serving(None, identity=UnsafeLoopbackIdentity("acme", "somebody"), listen=listen):
            pass
    assert caught.value.reason is Reason.CONFIGURATION_INVALID
    assert "loopback" in caught.value.message


async def test_certificate_identities_never_go_with_an_insecure_listener() -> None:
    with pytest.raises(ConsentryError, match="insecure"):
        async with serving(None):
            pass


async def test_claimed_roles_never_go_with_tls(tls: Path) -> None:
    with pytest.raises(ConsentryError, match="claimed"):
        async with serving(tls, identity=UnsafeLoopbackIdentity("acme", "somebody")):
            pass


async def test_a_port_that_is_taken_is_a_clear_error(tls: Path) -> None:
    async with serving(tls) as (_, port):
        with pytest.raises(ConsentryError, match="another process") as caught:
            async with serving(tls, listen=f"127.0.0.1:{port}"):
                pass
    assert caught.value.reason is Reason.CONFIGURATION_INVALID


# -- standard services


async def test_health_and_reflection_answer_a_certificate_without_a_role(tls: Path) -> None:
    shutil.copy(tls / "ca.pem", tls / "other")
    async with serving(tls) as (_, port), channel(port, tls / "other") as connection:
        stub: Any = health_pb2_grpc.HealthStub(connection)
        for name in ("", *SERVICES):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        unknown = health_pb2.HealthCheckRequest(service="no.such")
        async with failing(grpc.StatusCode.NOT_FOUND, Reason.NOT_FOUND):
            await stub.Check(unknown, timeout=DEADLINE)
        assert (await stub.Watch(unknown).read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(connection)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection.ServerReflectionInfo(iter([asked]), timeout=DEADLINE)
        listed = {one.name async for answer in call for one in answer.list_services_response.service}
    assert set(SERVICES) < listed


# -- stop


async def test_stop_finishes_what_was_accepted_and_refuses_the_rest(tls: Path) -> None:
    gate = Gate()
    gate.act = gate.wait
    async with serving(tls, {GATE: gate}, stop_grace_seconds=60) as (server, port), channel(port, tls) as connection:
        accepted = gate_service_pb2_grpc.GateServiceStub(connection).Check(gate_service_pb2.CheckRequest())
        await gate.entered.wait()
        stub: Any = health_pb2_grpc.HealthStub(connection)
        health = stub.Watch(health_pb2.HealthCheckRequest(service=GATE))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(server.stop())
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with failing(grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN):
            await health.read()
        async with failing(grpc.StatusCode.UNAVAILABLE, None):
            await check(port, tls)
        assert not stopping.done()
        gate.released.set()
        assert await accepted == gate_service_pb2.CheckResponse()
        await stopping
        await server.stop()  # once more does nothing
    assert len(gate.callers) == 1


async def test_stop_ends_endless_calls_at_once(tls: Path) -> None:
    audit = Audit()
    async with (
        serving(tls, {AUDIT: audit}, stop_grace_seconds=3600) as (server, port),
        channel(port, tls, "auditor-counsel") as connection,
    ):
        stub: Any = audit_service_pb2_grpc.AuditServiceStub(connection)
        tail = stub.TailEntries(audit_service_pb2.TailEntriesRequest())
        await tail.read()
        stopping = asyncio.create_task(server.stop())
        async with failing(grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN):
            await tail.read()
        await stopping
    assert audit.closed.is_set()


async def test_a_caller_that_goes_away_ends_its_call(tls: Path) -> None:
    audit = Audit()
    async with serving(tls, {AUDIT: audit}) as (server, port):
        async with channel(port, tls, "auditor-counsel") as connection:
            tail: Any = audit_service_pb2_grpc.AuditServiceStub(connection).TailEntries(
                audit_service_pb2.TailEntriesRequest()
            )
            await tail.read()
            tail.cancel()
            await asyncio.wait_for(audit.closed.wait(), DEADLINE)
        assert server.in_flight == 0
