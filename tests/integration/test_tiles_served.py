"""A server with a hot window and published tiles, from outside: every entry is there, and files tell the same story."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from consentry import ConsentryError, Decision, ProcessingResult
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles_http.auditors import Auditors
from consentry_server.config import FILE_NAME
from consentry_server.core.errors import ConsentryError as ServerError
from consentry_server.core.errors import Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.export import VKEY_PATH
from consentry_server.core.ledger.merkle import hash_leaf, verify_inclusion
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.ledger.report import Integrity
from consentry_server.core.ledger.tiles import ENTRIES, Tile, decode_bundle, tiles_at
from consentry_server.tenant import TenantFolders
from tests.support.server import MODULE, Server, consentry, init, serving
from tests.support.story import Story, callers, enroll, face
from tests.support.verified import verify

ENVIRONMENT = {
    "CONSENTRY_TILES__PUBLISH_TO": "published",
    "CONSENTRY_TILES__PUBLISH_SECONDS": "0.1",
    "CONSENTRY_TILES__HOT_ENTRIES": "1024",
}
TOKEN = "0123456789abcdef0123456789abcdef"
REPEATED = "the-same-request"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles") / "state"
    init(folder, "acme")
    return folder


@pytest.fixture(scope="module")
def tiles(state: Path) -> Path:
    return state / "published" / "acme"


@pytest.fixture(scope="module")
def decisions(state: Path) -> list[Decision]:
    """Decisions until the first ones have left the database; the server is stopped then, with all of it published."""
    made: list[Decision] = []
    with serving(state, environment=ENVIRONMENT) as server:
        with callers(server) as story:
            story.policy()
            story.notice()
            made.append(story.processor.check(enroll(face("first"), request_id=REPEATED)))
            while _first_in_database(state) == 0 and len(made) < 20_000:
                for answer in story.processor.check_batch([enroll(face(f"p{n}")) for n in range(200)]):
                    assert isinstance(answer, Decision)
                    made.append(answer)
        assert server.stop() == 0
    assert 0 < _first_in_database(state) <= len(made) - 1_024 + 256
    shutil.copytree(state, state.with_name("stopped"))
    return made


@pytest.fixture(scope="module")
def stopped(state: Path, decisions: list[Decision]) -> Path:
    """The state as it was when that server had stopped; not to be changed."""
    return state.with_name("stopped")


@pytest.fixture(scope="module")
def server(state: Path, decisions: list[Decision]) -> Iterator[Server]:
    with serving(state, environment=ENVIRONMENT) as running:
        yield running


@pytest.fixture(scope="module")
def story(server: Server) -> Iterator[Story]:
    with callers(server) as made:
        yield made


def _first_in_database(state: Path) -> int:
    store = SqliteLedgerStore(TenantFolders(state, "acme").ledger)
    try:
        return store.fetch_first()
    finally:
        store.close()


def test_what_was_acknowledged_is_read_and_proven_wherever_it_is(story: Story, decisions: list[Decision]) -> None:
    listed = {entry.reference.index: entry for entry in story.auditor.list_entries(page_size=1000)}
    assert sorted(listed) == list(range(len(listed)))
    for decision in decisions:
        assert listed[decision.entry.index].reference.leaf_hash == decision.entry.leaf_hash
        assert hash_leaf(listed[decision.entry.index].json) == decision.entry.leaf_hash
    for decision in (decisions[0], decisions[200], decisions[-1]):
        proof = story.auditor.get_inclusion_proof(decision.entry.index)
        verify_inclusion(
            decision.entry.leaf_hash, decision.entry.index, proof.tree_size, list(proof.hashes), proof.root_hash
        )
    checkpoint = story.auditor.get_checkpoint().checkpoint
    assert story.auditor.get_consistency_proof(300).second_tree_size >= checkpoint.tree_size


def test_an_old_decision_is_reported_on_and_an_old_request_repeated(story: Story, decisions: list[Decision]) -> None:
    again = story.processor.check(enroll(face("first"), request_id=REPEATED))
    assert again.entry == decisions[0].entry
    reported = story.processor.record_processing(decisions[0].decision_id, ProcessingResult.NOT_PERFORMED)
    assert reported.entry.index > decisions[-1].entry.index
    subject = story.auditor.list_entries(subject_id="first")
    assert [entry.reference.index for entry in subject] == [decisions[0].entry.index, reported.entry.index]


@pytest.fixture
def copy(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the state as it was when the server had stopped."""
    shutil.copytree(stopped, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_damaged_bundle_fails_its_own_reads_and_no_check(copy: Path, decisions: list[Decision]) -> None:
    file = copy / "published" / "acme" / Tile(ENTRIES, 0).path
    healthy = file.read_bytes()
    file.write_bytes(healthy[:-3] + bytes((healthy[-3] ^ 1,)) + healthy[-2:])
    with serving(copy, environment=ENVIRONMENT) as server, callers(server) as story:
        with pytest.raises(ConsentryError) as refused:
            list(story.auditor.list_entries(page_size=10))
        assert refused.value.reason == "DATA_DAMAGED"
        assert Tile(ENTRIES, 0).path in str(refused.value)
        with pytest.raises(ConsentryError) as also_refused:  # on the writer: for this call alone
            story.processor.record_processing(decisions[0].decision_id, ProcessingResult.NOT_PERFORMED)
        assert also_refused.value.reason == "DATA_DAMAGED"
        assert len(list(story.auditor.list_entries(from_index=256, until_index=600))) == 344
        assert story.processor.check(enroll(face("first"))).entry.index > decisions[-1].entry.index
        file.write_bytes(healthy)
        assert len(list(story.auditor.list_entries(until_index=10))) == 10


def test_an_export_of_a_ledger_with_a_hot_window_verifies(
    state: Path, tmp_path: Path, server: Server, decisions: list[Decision], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    exported = consentry("audit", "export", state, tmp_path / "export")
    assert exported.returncode == 0, exported.stderr
    verified = consentry("audit", "verify", tmp_path / "export", "--vkey", TenantFolders(state, "acme").published_key)
    assert verified.returncode == 0, verified.stdout
    assert "INTACT" in verified.stdout


def test_what_is_published_verifies_by_itself(tiles: Path, decisions: list[Decision]) -> None:
    key = parse_vkey((tiles / VKEY_PATH).read_text().strip())
    report = verify(
        lambda path: (tiles / path).read_bytes() if (tiles / path).is_file() else None,
        key,
        paths=[path.relative_to(tiles).as_posix() for path in tiles.rglob("*") if path.is_file()],
    )
    assert (report.integrity, report.findings, report.not_covered) == (Integrity.INTACT, (), ())
    assert report.size > decisions[-1].entry.index


@pytest.mark.parametrize(("publish_to", "said"), [("", "tiles.publish_to is empty"), ("elsewhere", "publishes 0")])
def test_a_server_that_does_not_know_where_its_tiles_are_does_not_start(copy: Path, publish_to: str, said: str) -> None:
    settings = copy / FILE_NAME
    settings.write_text(settings.read_text().replace('# publish_to = ""', f'publish_to = "{publish_to}"'))
    done = consentry("serve", copy, "--listen", "127.0.0.1:0")
    assert done.returncode == 3, done.stderr
    assert said in done.stderr


@dataclass
class Site:
    """A running ``serve-tiles``."""

    url: str
    tls: ssl.SSLContext | None = None

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own, its path sent as it is."""
        place = urlsplit(self.url)
        assert place.hostname is not None
        connection = (
            http.client.HTTPConnection(place.hostname, place.port, timeout=20)
            if self.tls is None
            else http.client.HTTPSConnection(place.hostname, place.port, timeout=20, context=self.tls)
        )
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()


@contextmanager
def serving_tiles(state: Path, ready: Path, *options: str) -> Iterator[Site]:
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, "audit", "serve-tiles", str(state), "--ready-file", str(ready), *options],
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = b""
    try:
        for line in process.stderr:
            said += line
            if b"tiles of acme on" in line:
                break
        else:
            raise AssertionError(f"the tiles are not served: {said.decode()}")
        yield Site(json.loads(ready.read_text())["url"])
    finally:
        process.terminate()
        ended = process.wait(30)
        process.stderr.close()
    assert ended == 0


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("auditors") / "tokens"
    file.write_text(f"# who may read entries\n\nother {TOKEN[::-1]}\ncounsel {TOKEN}\n")
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def site(stopped: Path, tokens: Path) -> Iterator[Site]:
    options = ("--listen", "127.0.0.1:0", "--auditors", str(tokens))
    with serving_tiles(stopped, stopped / "tiles.json", *options) as running:
        yield running


def test_a_stranger_reads_checkpoint_and_hashes(site: Site, stopped: Path) -> None:
    folder = stopped / "published" / "acme"
    status, headers, body = site.ask("/checkpoint")
    assert (status, body) == (200, (folder / "checkpoint").read_bytes())
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    size = open_checkpoint(body, parse_vkey((folder / VKEY_PATH).read_text().strip())).checkpoint.size
    seen = set()
    for tile in tiles_at(size):
        if tile.level == ENTRIES:
            continue
        status, headers, body = site.ask(f"/{tile.path}")
        assert (status, body) == (200, (folder / tile.path).read_bytes())
        assert headers["content-type"] == "application/octet-stream"
        assert headers["x-content-type-options"] == "nosniff"
        assert ("immutable" in headers["cache-control"]) == tile.full
        assert headers["cache-control"].startswith("public, max-age=")
        seen.add((tile.level, tile.full))
    assert seen == {(0, True), (0, False), (1, False)}


def test_entries_are_for_auditors(site: Site, decisions: list[Decision]) -> None:
    path = f"/{Tile(ENTRIES, 0).path}"
    for authorization in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}0"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer \xff\xfe"},
    ):
        for place in (path, "/tile/entries/999"):  # what is not there looks the same to a stranger
            status, headers, body = site.ask(place, **authorization)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert b"actor" not in body
    for token in (TOKEN, TOKEN[::-1]):
        status, headers, body = site.ask(path, Authorization=f"Bearer {token}")
        assert status == 200
        assert headers["cache-control"] == "no-store"
        assert headers["content-type"] == "application/octet-stream"
        first = decisions[0].entry
        assert hash_leaf(decode_bundle(body)[first.index]) == first.leaf_hash
    assert site.ask("/tile/entries/999", Authorization=f"Bearer {TOKEN}")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "//",
            "//checkpoint",
            "/checkpoint/",
            "/Checkpoint",
            "/checkpoint?x=1",
            "/./checkpoint",
            "/vkey",
            "/.new",
        ),
        *(
            "/tile",
            "/tile/",
            "/tile/0",
            "/tile/0/0",
            "/tile/0/0000",
            "/tile/00/000",
            "/tile/0/000/",
            "*",
            "/tile/0/000#x",
        ),
        *(
            "/tile/0/000.p/",
            "/tile/0/000.p/0",
            "/tile/0/000.p/256",
            "/tile/0/000.p/01",
            "/tile/64/000",
            "/tile/0/x000/000",
        ),
        *(
            "/tile/0/../0/000",
            "/tile/0/%30%30%30",
            "/tile/0/..%2f000",
            "/%63heckpoint",
            "/tile/0/000%00",
            "/../../etc/passwd",
        ),
        *(
            "/tile/8/0/000",
            "/tile/data/000",
            "/tile/-1/000",
            "/tile/0/999",
            "/tile/5/000",
            "/ledger.db",
            "/" + "x" * 5000,
        ),
    ],
)
def test_what_is_no_path_of_this_ledger_is_not_there(site: Site, path: str) -> None:
    assert site.ask(path)[0] in {400, 404}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_nothing_but_reading(site: Site, method: str) -> None:
    for path in ("/checkpoint", "/tile/entries/000", "/nothing"):
        status, headers, _ = site.ask(path, method)
        assert status == 405
        assert headers["allow"] == "GET, HEAD"


def test_head_is_get_without_the_body(site: Site) -> None:
    for path in ("/checkpoint", "/tile/0/000", "/tile/0/999"):
        got, asked = site.ask(path), site.ask(path, "HEAD")
        assert asked[2] == b""
        assert (asked[0], asked[1]["content-length"]) == (got[0], got[1]["content-length"])


def test_a_damaged_file_is_not_served(copy: Path, tokens: Path) -> None:
    damages: dict[str, Callable[[bytes], bytes]] = {
        "checkpoint": lambda data: data[:40],
        "tile/0/000": lambda data: data[:-1],
        "tile/entries/000": lambda data: data,  # its hashes are damaged
        "tile/entries/001": lambda data: data[:-1],
        "tile/entries/002": lambda data: data[:-3] + bytes((data[-3] ^ 1,)) + data[-2:],
    }
    for path, damage in damages.items():
        file = copy / "published" / "acme" / path
        file.write_bytes(damage(file.read_bytes()))
    options = ("--listen", "127.0.0.1:0", "--auditors", str(tokens))
    with serving_tiles(copy, copy / "tiles.json", *options) as site:
        for path in damages:
            status, headers, body = site.ask(f"/{path}", Authorization=f"Bearer {TOKEN}")
            assert (path, status, headers["cache-control"]) == (path, 500, "no-store")
            assert b"damaged" in body
        for path in ("tile/0/001", "tile/entries/003"):
            assert site.ask(f"/{path}", Authorization=f"Bearer {TOKEN}")[0] == 200


def test_another_machine_is_served_over_tls_alone(copy: Path) -> None:
    with serving_tiles(copy, copy / "tiles.json", "--listen", "0.0.0.0:0") as site:
        assert site.url.startswith("https://")
        tls = ssl.create_default_context(cafile=str(copy / "tls" / "ca.pem"))
        local = Site(f"https://127.0.0.1:{urlsplit(site.url).port}", tls)
        assert local.ask("/checkpoint")[0] == 200
        assert local.ask("/tile/entries/000", Authorization=f"Bearer {TOKEN}")[0] == 401  # no file of tokens: nobody
    (copy / "tls" / "server.key").unlink()
    refused = consentry("audit", "serve-tiles", copy, "--listen", "0.0.0.0:0")
    assert refused.returncode == 3
    assert "tiles.publish_to is empty" in refused.stderr


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", 0o600),
        ("# nobody\n", 0o600),
        (f"counsel {TOKEN}\n", 0o640),
        (f"counsel {TOKEN}\n", 0o604),
        ("counsel short\n", 0o600),
        (f"{TOKEN}\n", 0o600),
        (f"counsel {TOKEN}\ncounsel {TOKEN[::-1]}\n", 0o600),
        (f"Counsel {TOKEN}\n", 0o600),
    ],
)
def test_a_file_of_tokens_that_is_not_safe_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ServerError) as refused:
        Auditors.load(file)
    assert refused.value.reason is Reason.CONFIGURATION_INVALID
    assert TOKEN not in refused.value.message
    with pytest.raises(ServerError):
        Auditors.load(tmp_path / "missing")


def test_no_tiles_no_site(state: Path) -> None:
    refused = consentry("audit", "serve-tiles", state)
    assert refused.returncode == 3
    assert "tiles.publish_to is empty" in refused.stderr
