"""Killed under load, again and again: what was acknowledged is there, byte for byte, and the state is its fold."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import grpc
import pytest

from consentry.v1 import gate_service_pb2, gate_service_pb2_grpc, vocabulary_pb2
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.merkle import Frontier, hash_leaf
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.tenant import TenantFolders
from tests.support.rebuild import differences
from tests.support.server import Server, init, serving
from tests.support.story import callers

EXTRACT = vocabulary_pb2.OPERATION_EXTRACT_TEMPLATE
TAGGING = vocabulary_pb2.PURPOSE_TAGGING
PHOTO = vocabulary_pb2.DATA_CATEGORY_PHOTO

CALLERS = 16
Acknowledged = dict[int, tuple[str, bytes]]


async def _load_until_killed(server: Server, acknowledged: Acknowledged, kill_after: int, run: int) -> None:
    """Check from many callers; kill the server in the middle of it; keep what was answered."""
    credentials = grpc.ssl_channel_credentials(**server.credentials("processor", "face-tagger"))
    done = 0

    async with grpc.aio.secure_channel(server.address, credentials) as channel:
        stub = gate_service_pb2_grpc.GateServiceStub(channel)

        async def caller(number: int) -> None:
            nonlocal done
            for place in range(10_000):
                request = gate_service_pb2.CheckRequest(
                    request_id=f"{run}-{number}-{place}",
                    operation=EXTRACT,
                    purpose=TAGGING,
                    category=PHOTO,
                    uses_face_geometry=True,
                )
                request.photo.sha256 = bytes(32)
                request.faces.add(
                    subject_id=f"person-{(number * 31 + place) % 50}",
                    known_by=vocabulary_pb2.KNOWN_BY_DECLARED_BY_UPLOADER,
                )
                try:
                    response = await stub.Check(request, timeout=20)
                except grpc.aio.AioRpcError:
                    return
                entry = response.decision.entry
                acknowledged[entry.index] = (response.decision.decision_id, entry.leaf_hash)
                done += 1
                if done == kill_after:
                    server.kill()

        await asyncio.gather(*(caller(number) for number in range(CALLERS)))


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    choice = random.Random(seed)
    acknowledged: Acknowledged = {}
    for run in range(3):
        with serving(state) as server:
            if run == 0:
                with callers(server) as story:
                    story.policy()
                    story.notice()
                    story.consent("person-1")
            asyncio.run(_load_until_killed(server, acknowledged, choice.randrange(20, 400), run))
            assert server.process.returncode == -9
    with serving(state) as server:
        assert server.stop() == 0
    folders = TenantFolders(state, "acme")
    store = SqliteLedgerStore(folders.ledger)
    head = store.fetch_head()
    entries = store.fetch_entries(0, head.size)
    frontier = Frontier()
    for place, data in enumerate(entries):
        assert decode(data)["index"] == place
        frontier.append(hash_leaf(data))
    assert (len(entries), frontier.root()) == (head.size, head.root)
    assert len(acknowledged) > 50
    for index, (decision_id, leaf) in acknowledged.items():
        assert hash_leaf(entries[index]) == leaf
        assert decode(entries[index])["decision_id"] == decision_id
    assert differences(folders.ledger) == []
    published = FileLockRecord(folders.lock).read()
    assert published is not None
    key = parse_vkey(folders.published_key.read_text().strip())
    assert open_checkpoint(published, key).checkpoint.root == head.root
    store.close()
