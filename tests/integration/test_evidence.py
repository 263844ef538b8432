"""Evidence packs from a running server, over gRPC and by the command beside it, checked by verify.py alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_status import rpc_status

from consentry.v1 import audit_service_pb2 as pb
from consentry.v1 import audit_service_pb2_grpc, photo_pb2, subject_pb2
from tests.support.server import Server, consentry
from tests.support.story import Story, enroll, face
from tests.support.verifying import isolated, unpack

DEADLINE = 60.0


@pytest.fixture(scope="module")
def told(story: Story) -> Story:
    """Somebody was refused, agreed, was allowed beside a stranger, and withdrew."""
    story.processor.check(enroll(face("eileen")))
    story.consent("eileen")
    story.processor.check(enroll(face("eileen"), face("martha")))
    story.collector.withdraw_release("eileen")
    return story


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Any]:
    with _channel(server, "auditor", "counsel") as channel:
        yield audit_service_pb2_grpc.AuditServiceStub(channel)


def _channel(server: Server, role: str, name: str) -> grpc.Channel:
    return grpc.secure_channel(server.address, grpc.ssl_channel_credentials(**server.credentials(role, name)))


def received(stub: Any, request: pb.ExportEvidenceRequest) -> bytes:
    """The ZIP, whole: header first, end last, size and hash as stated."""
    parts = list(stub.ExportEvidence(request, timeout=DEADLINE))
    assert [part.WhichOneof("part") for part in (parts[0], parts[-1])] == ["header", "end"]
    assert parts[0].header.content_type == "application/zip"
    assert parts[0].header.file_name.startswith("evidence-20")
    assert all(part.WhichOneof("part") == "chunk" and 0 < len(part.chunk) <= 2**20 for part in parts[1:-1])
    data = b"".join(part.chunk for part in parts)
    assert (parts[-1].end.size, parts[-1].end.sha256) == (len(data), hashlib.sha256(data).digest())
    return data


def person(subject_id: str) -> subject_pb2.SubjectReference:
    return subject_pb2.SubjectReference(subject_id=subject_id)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("redact", [False, True])
def test_a_pack_over_the_network(server: Server, stub: Any, tmp_path: Path, redact: bool) -> None:
    vkey = server.state / "tenants" / "acme" / "vkey"
    path = tmp_path / "pack.zip"
    path.write_bytes(received(stub, pb.ExportEvidenceRequest(subject=person("eileen"), redact_others=redact)))
    done = isolated(path, "--vkey", vkey)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PROVEN by the person's chain" in done.stdout
    assert any(name.startswith("withheld/") for name in unpack(path.read_bytes())) is redact


@pytest.mark.usefixtures("told")
def test_a_period_over_the_network(server: Server, stub: Any, tmp_path: Path) -> None:
    until = Timestamp()
    until.FromDatetime(datetime.now(UTC).replace(year=2100))
    path = tmp_path / "pack.zip"
    path.write_bytes(received(stub, pb.ExportEvidenceRequest(period=pb.TimeRange(until_time=until))))
    done = isolated(path, "--vkey", server.state / "tenants" / "acme" / "vkey")
    assert (done.returncode, "PROVEN by place" in done.stdout) == (0, True)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (pb.ExportEvidenceRequest(), grpc.StatusCode.INVALID_ARGUMENT, "FIELD_REQUIRED"),
        (pb.ExportEvidenceRequest(subject=person("nobody")), grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
        (
            pb.ExportEvidenceRequest(photo=photo_pb2.PhotoReference(photo_id="pho_" + "a" * 24)),
            grpc.StatusCode.NOT_FOUND,
            "NOT_FOUND",
        ),
        (
            pb.ExportEvidenceRequest(photo=photo_pb2.PhotoReference(sha256=b"x" * 32)),
            grpc.StatusCode.UNIMPLEMENTED,
            "NOT_BUILT",
        ),
        (
            pb.ExportEvidenceRequest(
                period=pb.TimeRange(from_time=Timestamp(seconds=20), until_time=Timestamp(seconds=10))
            ),
            grpc.StatusCode.INVALID_ARGUMENT,
            "FIELD_INVALID",
        ),
    ],
)
def test_what_cannot_be_exported_says_why(
    stub: Any, request_: pb.ExportEvidenceRequest, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.ExportEvidence(request_, timeout=DEADLINE))
    assert raised.value.code() is code
    call: Any = raised.value
    status = rpc_status.from_call(call)
    assert status is not None
    assert reason.encode() in status.SerializeToString()


@pytest.mark.usefixtures("told")
def test_a_collector_gets_no_evidence(server: Server) -> None:
    with _channel(server, "collector", "product") as channel, pytest.raises(grpc.RpcError) as raised:
        list(
            audit_service_pb2_grpc.AuditServiceStub(channel).ExportEvidence(
                pb.ExportEvidenceRequest(subject=person("eileen")), timeout=DEADLINE
            )
        )
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_the_command_beside_the_running_server(told: Story, server: Server, stub: Any, tmp_path: Path) -> None:
    told.auditor.get_checkpoint()  # publishes what was recorded
    output = tmp_path / "eileen.zip"
    common = (server.state, "--tenant", "acme", "-o", output)
    done = consentry("evidence", *common, "--subject", "eileen", "--redact-others")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(output.read_bytes()).hexdigest() in done.stdout
    assert isolated(output, "--vkey", server.state / "tenants" / "acme" / "vkey").returncode == 0
    over = unpack(received(stub, pb.ExportEvidenceRequest(subject=person("eileen"), redact_others=True)))
    mine = unpack(output.read_bytes())
    chosen = [json.loads(files["manifest.json"])["selection"] for files in (over, mine)]
    assert chosen[0] == chosen[1]
    assert {name for name in mine if name.startswith(("entries/", "withheld/"))} == {
        name for name in over if name.startswith(("entries/", "withheld/"))
    }
    again = consentry("evidence", *common, "--subject-ref", chosen[0]["subject_ref"])
    assert again.returncode == 0
    whole = consentry("evidence", *common, "--from", "2020-01-01")
    assert whole.returncode == 0


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ((), 2, "name one of"),
        (("--subject", "eileen", "--photo", "pho_x"), 2, "name one of"),
        (("--subject", "nobody"), 4, "nothing is on record"),
        (("--photo", "pho_nothing"), 4, "no such photo"),
        (("--from", "2100-01-01"), 4, "nothing is on record"),
    ],
)
def test_the_command_says_what_is_wrong(
    told: Story, server: Server, tmp_path: Path, options: tuple[str, ...], code: int, text: str
) -> None:
    told.auditor.get_checkpoint()
    output = tmp_path / "none.zip"
    done = consentry("evidence", server.state, "--tenant", "acme", "-o", output, *options)
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert list(tmp_path.iterdir()) == []
    output.mkdir()
    done = consentry("evidence", server.state, "--tenant", "acme", "-o", output, "--from", "2020-01-01")
    assert (done.returncode, "is no file" in done.stderr) == (2, True), "nothing but a file is replaced"
