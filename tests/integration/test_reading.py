"""Reading a ledger over a real server and beside it: lists, the tail, coverage, the terminal, discovery files."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
import structlog

from consentry import ProcessingResult
from consentry.v1 import audit_service_pb2 as pb
from consentry.v1 import audit_service_pb2_grpc
from consentry_server import cli
from tests.support.server import Server, consentry, init, serving
from tests.support.story import Story, callers, enroll, face

SHA256 = hashlib.sha256(b"a photo").digest()


@pytest.fixture(scope="module")
def told(server: Server, story: Story) -> Story:
    """Decisions of every kind, some of them reported."""
    story.consent("eileen")
    allowed = story.processor.check(enroll(face("eileen"), sha256=SHA256))
    denied = story.processor.check(enroll(face("frank")))
    for decision in (allowed, denied):
        story.processor.record_processing(
            decision.decision_id,
            ProcessingResult.PERFORMED,
            algorithm_id="hog-face",
            algorithm_version="1",
            perform_time=decision.check_time,
        )
    story.processor.check(enroll(face("eileen")))
    return story


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """What the command configures for its own process stays with the test that ran it here."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def audit(server: Server) -> Iterator[Any]:
    with grpc.secure_channel(
        server.address, grpc.ssl_channel_credentials(**server.credentials("auditor", "counsel"))
    ) as channel:
        yield audit_service_pb2_grpc.AuditServiceStub(channel)


def remote(server: Server) -> list[str]:
    """The options by which the command reaches a server."""
    tls = server.state / "tls"
    return ["--ca", f"{tls}/ca.pem", "--cert", f"{tls}/auditor-counsel.pem", "--key", f"{tls}/auditor-counsel.key"]


def lines(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


def test_a_photo_is_found_by_its_hash(told: Story) -> None:
    found = [orjson.loads(each.json) for each in told.auditor.list_entries(photo=SHA256)]
    assert [each["type"] for each in found] == ["decision"]
    assert SHA256.hex() not in json.dumps(found)


def test_the_tail_resumes_where_it_stopped(audit: Any, told: Story) -> None:
    tail = audit.TailEntries(pb.TailEntriesRequest(after_index=-1), timeout=60)
    first = [next(tail).entry.reference.index for _ in range(5)]
    tail.cancel()
    assert first == [0, 1, 2, 3, 4]
    resumed = audit.TailEntries(pb.TailEntriesRequest(after_index=4), timeout=60)
    assert next(resumed).entry.reference.index == 5
    resumed.cancel()
    new = audit.TailEntries(pb.TailEntriesRequest(), timeout=60)
    assert not next(new).HasField("entry")
    told.deliver("grace")
    assert orjson.loads(next(new).entry.json)["type"] == "notice.delivered"
    new.cancel()


def test_coverage_counts_permits_and_what_was_done_without(audit: Any, told: Story) -> None:
    (row,) = audit.GetCoverage(pb.GetCoverageRequest()).rows
    assert (row.actor, row.permit_count, row.open_permit_count) == ("face-tagger", 2, 0)  # one is not due yet
    assert (row.unpermitted_processing_count, row.refused_processing_count) == (1, 1)


def test_the_folder_and_the_server_say_the_same(server: Server, told: Story) -> None:
    (denied,) = lines(
        consentry("audit", "grep", server.state, "--tenant", "acme", "--outcome", "DENY", "--json").stdout
    )
    assert denied["type"] == "decision"
    over_grpc = consentry("audit", "grep", server.address, "--outcome", "DENY", "--json", *remote(server))
    assert lines(over_grpc.stdout) == [denied], over_grpc.stderr
    shown = consentry("audit", "show", server.address, denied["decision_id"], *remote(server))
    beside = consentry("audit", "show", server.state, str(denied["index"]), "--tenant", "acme")
    for page in (shown.stdout, beside.stdout):
        assert "It was denied." in page
        assert "740 ILCS" in page
        assert "IL-15B3-RELEASE" in page
    assert "What followed" in beside.stdout
    assert "WITHOUT PERMISSION" in beside.stdout
    command = [sys.executable, "-m", "consentry_server", "audit", "show", str(server.state), str(denied["index"])]
    raw = subprocess.run([*command, "--tenant", "acme", "--bytes"], capture_output=True, check=True).stdout
    (entry,) = told.auditor.list_entries(from_index=denied["index"], until_index=denied["index"] + 1)
    assert raw == entry.json
    by_person = consentry("audit", "grep", server.address, "--subject", "eileen", *remote(server))
    assert "release signed" in by_person.stdout
    gaps = consentry("audit", "coverage", server.state, "--tenant", "acme", "--decisions")
    assert denied["decision_id"] in gaps.stdout
    assert (
        consentry("audit", "coverage", server.address, *remote(server)).stdout.splitlines()[-1]
        == (gaps.stdout.splitlines()[-1])
    )


def test_the_terminal_s_tail_follows(server: Server, told: Story) -> None:
    for source in ([str(server.state), "--tenant", "acme"], [server.address, *remote(server)]):
        follower = subprocess.Popen(
            [sys.executable, "-m", "consentry_server", "audit", "tail", *source, "-n", "1", "-f", "--json"],
            stdout=subprocess.PIPE,
        )
        try:
            assert follower.stdout is not None
            last = orjson.loads(follower.stdout.readline())
            told.deliver("heidi")
            assert orjson.loads(follower.stdout.readline())["index"] == last["index"] + 1
        finally:
            follower.kill()
            follower.wait()
            if follower.stdout is not None:
                follower.stdout.close()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["grep", "{state}", "--tenant", "acme", "--type", "no.such"], 1, "no entry is like that"),
        (["grep", "{state}", "--tenant", "acme", "--from", "soon"], 2, "--from must be a time"),
        (["grep", "{state}", "--tenant", "acme", "--subject", "eileen"], 2, "by a live server only"),
        (["grep", "{state}", "--tenant", "acme", "--photo", "ab"], 2, "by a live server only"),
        (["grep", "{state}"], 2, "--tenant must be one of"),
        (["show", "{state}", "99999", "--tenant", "acme"], 4, "there is no entry 99999"),
        (["show", "{address}", "9" * 40, "{remote}"], 4, "there is no entry 9999"),
        (["show", "{state}", "dec_1_aaaaaaaaaaaaaaaa", "--tenant", "acme"], 4, "there is no decision"),
        (["show", "{state}", "elephant"], 2, "is no index"),
        (["tail", "{address}"], 2, "--ca is required"),
        (["tail", "/nowhere"], 3, "consentry init"),
        (["tail", "127.0.0.1:1", "{remote}"], 1, "does not answer"),
        (["export", "{state}", "x", "--tenant", "acme", "--actor", "a"], 2, "tiles hold every entry"),
        (["export", "{state}", "{state}", "--tenant", "acme"], 2, "is a state folder"),
        (["export", "{state}", "{state}", "--tenant", "acme", "--format", "csv"], 2, "is a state folder"),
        (["export", "{state}", "{state}/consentry.toml", "--tenant", "acme"], 1, "cannot be written: "),
    ],
)
def test_what_cannot_be_done_says_what_to_do(
    server: Server,
    arguments: list[str],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words: list[str] = []
    for each in arguments:
        words += remote(server) if each == "{remote}" else [each.format(state=server.state, address=server.address)]
    monkeypatch.setattr(sys, "argv", ["consentry", "audit", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert says in capsys.readouterr().err


def test_discovery_files_have_a_manifest_and_are_the_same_again(server: Server, told: Story, tmp_path: Path) -> None:
    told.auditor.get_checkpoint()
    for name in ("one", "two"):
        done = consentry(
            "audit",
            "export",
            server.state,
            tmp_path / name,
            "--tenant",
            "acme",
            "--format",
            "csv",
            "--type",
            "decision",
        )
        assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["filters"] == {"types": ["decision"]}
    assert {each["name"] for each in manifest["files"]} == {"entries.csv", "checkpoint", "vkey"}
    for each in manifest["files"]:
        data = (tmp_path / "one" / each["name"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (each["sha256"], each["bytes"])
        if each["name"] != "checkpoint":
            assert data == (tmp_path / "two" / each["name"]).read_bytes()
    with (tmp_path / "one" / "entries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == manifest["entries"] == 3
    for row in rows:
        data = row["entry"].encode()
        assert hashlib.sha256(b"\x00" + data).hexdigest() == row["leaf_hash"]
        assert "asked for permission" in row["in_words"]
    again = consentry("audit", "export", server.state, tmp_path / "one", "--tenant", "acme", "--format", "jsonl")
    assert again.returncode == 4
    whole = consentry("audit", "export", server.state, tmp_path / "all", "--tenant", "acme", "--format", "jsonl")
    assert whole.returncode == 0, whole.stderr
    everything = (tmp_path / "all" / "entries.jsonl").read_bytes().split(b"\n")
    assert len(everything) == json.loads((tmp_path / "all" / "manifest.json").read_text())["size"] + 1


def test_a_server_starts_and_answers_whatever_became_of_the_index(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    index = state / "tenants" / "acme" / "index.db"
    for spoiled in (None, b"not a database", b"SQLite format 3\x00" + bytes(5_000)):
        if spoiled is not None:
            index.write_bytes(spoiled)
        else:
            index.unlink(missing_ok=True)
        with serving(state) as running, callers(running) as story:
            assert [
                orjson.loads(each.json)["type"] for each in story.auditor.list_entries(types=["ledger.created"])
            ] == ["ledger.created"]
