"""Killed under load while tiles are published and old entries leave the database: nothing acknowledged is lost."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from consentry import ConsentryError, Decision
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.export import CHECKPOINT_PATH
from consentry_server.core.ledger.merkle import Frontier, hash_leaf
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.ledger.report import Integrity
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders
from tests.support.rebuild import differences
from tests.support.server import Server, init, serving
from tests.support.story import callers, enroll, face
from tests.support.verified import verify

ENVIRONMENT = {
    "CONSENTRY_TILES__PUBLISH_TO": "published",
    "CONSENTRY_TILES__PUBLISH_SECONDS": "0.05",
    "CONSENTRY_TILES__HOT_ENTRIES": "1024",
}
CALLERS, ITEMS = 4, 50


def _load_until_killed(server: Server, acknowledged: dict[int, bytes], kill_after: int) -> None:
    """Check in batches from several callers; kill the server in the middle of it; keep what was answered."""
    lock = threading.Lock()
    done = 0
    with callers(server) as story:

        def caller(number: int) -> None:
            nonlocal done
            checks = [enroll(face(f"person-{number}-{item}")) for item in range(ITEMS)]
            while server.process.poll() is None:
                try:
                    answers = story.processor.check_batch(checks)
                except ConsentryError:
                    return
                with lock:
                    for answer in answers:
                        assert isinstance(answer, Decision)
                        acknowledged[answer.entry.index] = answer.entry.leaf_hash
                    done += len(answers)
                    if done >= kill_after:
                        server.kill()

        with ThreadPoolExecutor(CALLERS) as threads:
            list(threads.map(caller, range(CALLERS)))


def test_nothing_acknowledged_is_lost_on_its_way_into_tiles(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    choice = random.Random(5)
    acknowledged: dict[int, bytes] = {}
    for _ in range(3):
        with serving(state, environment=ENVIRONMENT) as server:
            _load_until_killed(server, acknowledged, choice.randrange(700, 1_200))
            assert server.process.returncode == -9
    with serving(state, environment=ENVIRONMENT) as server:
        assert server.stop() == 0
    folders = TenantFolders(state, "acme")
    tiles = FolderTiles(state / "published" / "acme")
    store = TieredStore(SqliteLedgerStore(folders.ledger), tiles)
    head = store.fetch_head()
    assert store.fetch_first() > 0
    entries = store.fetch_entries(0, head.size)
    frontier = Frontier()
    for place, data in enumerate(entries):
        assert decode(data)["index"] == place
        frontier.append(hash_leaf(data))
    assert (len(entries), frontier.root()) == (head.size, head.root)
    assert len(acknowledged) > 2_000
    for index, leaf in acknowledged.items():
        assert hash_leaf(entries[index]) == leaf
    assert differences(folders.ledger, store.fetch_entries) == []
    store.close()
    key = parse_vkey(folders.published_key.read_text().strip())
    published = tiles.read(CHECKPOINT_PATH)
    assert published is not None
    assert open_checkpoint(published, key).checkpoint.root == head.root
    root = Path(tiles.place)
    report = verify(
        tiles.read, key, paths=[path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    )
    assert (report.integrity, report.findings, report.not_covered) == (Integrity.INTACT, (), ())
