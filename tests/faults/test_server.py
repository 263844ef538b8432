"""The real server over mutual TLS while its disk fails or is full: honest answers, then a stop or a recovery."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from consentry.v1 import gate_service_pb2, gate_service_pb2_grpc, vocabulary_pb2
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.tenant import TenantFolders
from tests.faults import trace
from tests.support.rebuild import differences
from tests.support.server import Server, init, serving

WHY_NOT = trace.missing()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

CALLERS = 4
CALLS = 12


@dataclass
class Answers:
    """What callers got: entries by index, and errors by status code and reason."""

    leaves: dict[int, bytes] = field(default_factory=dict)
    errors: Counter[tuple[grpc.StatusCode, str]] = field(default_factory=Counter)

    @property
    def reasons(self) -> set[str]:
        return {reason for _, reason in self.errors}


@contextmanager
def tampered(server: Server, trace_file: Path, *options: str) -> Iterator[None]:
    """Let strace tamper with a running server's system calls."""
    command = ["strace", "-f", "-p", str(server.process.pid), "-o", str(trace_file), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as tracer:
        assert tracer.stderr is not None
        assert "attached" in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.terminate()  # it detaches, and the server goes on


def reason_of(error: grpc.aio.AioRpcError) -> str:
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = error_details_pb2.ErrorInfo()
            assert status_pb2.Status.FromString(value).details[0].Unpack(info)
            return info.reason
    return ""


async def load(server: Server) -> Answers:
    """Check from several callers, whatever comes back."""
    answers = Answers()
    credentials = grpc.ssl_channel_credentials(**server.credentials("processor", "face-tagger"))
    async with grpc.aio.secure_channel(server.address, credentials) as channel:
        stub = gate_service_pb2_grpc.GateServiceStub(channel)

        async def caller(number: int) -> None:
            for place in range(CALLS):
                request = gate_service_pb2.CheckRequest(
                    request_id=f"{number}-{place}",
                    operation=vocabulary_pb2.OPERATION_EXTRACT_TEMPLATE,
                    purpose=vocabulary_pb2.PURPOSE_TAGGING,
                    category=vocabulary_pb2.DATA_CATEGORY_PHOTO,
                    uses_face_geometry=True,
                )
                request.photo.sha256 = bytes(32)
                try:
                    entry = (await stub.Check(request, timeout=100)).decision.entry
                except grpc.aio.AioRpcError as error:
                    answers.errors[error.code(), reason_of(error)] += 1
                else:
                    answers.leaves[entry.index] = entry.leaf_hash

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return answers


def check(state: Path, answers: Answers) -> None:
    """Start again and stop; everything acknowledged is there, and the projections are the fold."""
    with serving(state) as server:
        assert server.stop() == 0
    store = SqliteLedgerStore(TenantFolders(state, "acme").ledger)
    entries = store.fetch_entries(0, store.fetch_head().size)
    assert {index: hash_leaf(entries[index]) for index in answers.leaves} == answers.leaves
    store.close()
    assert differences(TenantFolders(state, "acme").ledger) == []


def test_a_failing_disk_stops_the_server_and_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    options = ("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=6", "-P", str(log(state)))
    with serving(state) as server, tampered(server, tmp_path / "trace", *options):
        answers = asyncio.run(load(server))
        assert server.process.wait(30) == 1
    assert answers.leaves
    assert (grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED") in answers.errors
    closed = {(grpc.StatusCode.UNAVAILABLE, ""), (grpc.StatusCode.CANCELLED, "")}  # by gRPC itself, as the server went
    told = {(grpc.StatusCode.UNAVAILABLE, reason) for reason in ("STORAGE_FAILED", "SHUTTING_DOWN")}
    assert set(answers.errors) <= told | closed
    check(state, answers)


def test_a_full_disk_is_said_and_a_later_try_works(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    options = ("-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=20..30", "-P", str(log(state)))
    with serving(state) as server:
        with tampered(server, tmp_path / "trace", *options):
            answers = asyncio.run(load(server))
        later = asyncio.run(load(server))
        assert server.stop() == 0
    assert set(answers.errors) == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")}
    assert answers.leaves
    assert not later.errors
    answers.leaves.update(later.leaves)
    check(state, answers)


def log(state: Path) -> Path:
    """The ledger's write-ahead log."""
    ledger = TenantFolders(state, "acme").ledger
    return ledger.with_name(f"{ledger.name}-wal")
