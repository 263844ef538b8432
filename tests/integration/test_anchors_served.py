"""The real server with anchors: it asks by itself, catches up, says how it stands, and changes its key."""

from __future__ import annotations

import json
import shutil
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from consentry.v1 import audit_service_pb2
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.ledger.report import Completeness, Integrity
from consentry_server.tenant import TenantFolders
from tests.support.authority import REPLY_TYPE, authority, make_authority, openssl, reply, site
from tests.support.server import consentry, init, serving
from tests.support.story import Story, callers, enroll, face
from tests.support.verified import verify
from tests.support.witness import TestWitness, witness

DEADLINE_SECONDS = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "state"
    init(folder, "acme")
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "state"))


def configure(state: Path, **tables: list[dict[str, str]]) -> None:
    """Name anchors in the settings file, as an operator does."""
    path = state / "consentry.toml"
    text = path.read_text().replace("# anchor_seconds = 120", "anchor_seconds = 1")
    text = text.replace(
        "# answer_seconds = 10.0", "answer_seconds = 60.0"
    )  # a loaded machine is no fault of an anchor's
    assert "\nanswer_seconds = 60.0" in text
    for kind, entries in tables.items():
        for entry in entries:
            text += f"\n[[anchors.{kind}]]\n" + "".join(
                f"{key} = {json.dumps(value)}\n" for key, value in entry.items()
            )
    path.write_text(text)


def until(
    story: Story, reached: Callable[[audit_service_pb2.GetCheckpointResponse], bool]
) -> audit_service_pb2.GetCheckpointResponse:
    """Ask for the checkpoint until it is as it should be."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = story.auditor.get_checkpoint()
        if reached(found):
            return found
        assert time.monotonic() < end, found.anchoring


def test_the_server_anchors_by_itself_catches_up_and_is_stamped_on_demand(state: Path, tmp_path: Path) -> None:
    tsa = make_authority(tmp_path / "first")
    folders = TenantFolders(state, "acme")
    known = TestWitness("witness.test/w1", [folders.published_key.read_text().strip()], now=int(time.time()))
    target = tmp_path / "export"
    with ExitStack() as sites:
        stamps = sites.enter_context(site(lambda _path, _query: (503, "text/plain", b"closed")))
        sees = sites.enter_context(witness(known))
        configure(
            state,
            timestamp=[{"name": "first", "url": stamps.url, "roots": str(tsa / "ca.pem")}],
            witness=[{"name": "w1", "url": sees.url, "vkey": known.vkey}],
        )
        server = sites.enter_context(serving(state))
        story = sites.enter_context(callers(server))
        story.policy()
        # the witness alone is enough; the authority is away, and the answer says so
        found = until(story, lambda one: one.anchoring.tree_size == one.checkpoint.tree_size and one.anchoring.anchored)
        away = next(one for one in found.anchoring.anchors if one.name == "first")
        assert (away.tree_size, "503" in away.problem) == (0, True)
        signed = open_checkpoint(
            found.checkpoint.note.encode(), parse_vkey(found.checkpoint.verifier_key), [parse_vkey(known.vkey)]
        )
        assert [one.name for one in signed.cosignatures] == ["witness.test/w1"]
        assert found.anchored_checkpoint == found.checkpoint
        # it is back: the server catches up by itself
        stamps.answer = lambda _path, query: (200, REPLY_TYPE, reply(tsa, query))
        found = until(story, lambda one: all(each.tree_size for each in one.anchoring.anchors))
        assert [one.problem for one in found.anchoring.anchors] == ["", ""]
        exported = consentry("audit", "export", state, target)
        assert exported.returncode == 0, exported.stderr
    size = max(int(path.name) for path in (target / "anchors").iterdir() if (path / "first.tsr").exists())
    stamp, data = target / f"anchors/{size}/first.tsr", target / f"anchors/{size}/checkpoint"
    shown = openssl("ts", "-verify", "-in", stamp, "-data", data, "-CAfile", tsa / "ca.pem", check=False)
    assert shown.returncode == 0, shown.stderr
    checked = consentry("audit", "verify", target, "--vkey", folders.published_key)
    assert checked.returncode == 0, checked.stdout


def test_a_stamp_on_demand_while_the_server_runs(state: Path, tmp_path: Path) -> None:
    tsa = make_authority(tmp_path / "first")
    assert consentry("audit", "timestamp", state).returncode == 3
    with serving(state) as server, callers(server) as story, authority(tsa) as stamps:
        assert not story.auditor.get_checkpoint().anchoring.anchored
        roots = str(tsa / "ca.pem")
        configure(state, timestamp=[{"name": "first", "url": stamps.url, "roots": roots}])
        done = consentry("audit", "timestamp", state)
        assert done.returncode == 0, done.stderr
        assert "first.tsr" in done.stdout
        with site(lambda _path, _query: (200, REPLY_TYPE, b"garbage")) as bad:
            configure(state, timestamp=[{"name": "second", "url": bad.url, "roots": roots}])
            done = consentry("audit", "timestamp", state)
        assert done.returncode == 1
        assert "second does not verify" in done.stderr.replace("\n", " ")
    assert len(stamps.asked) == 2
    folder = next((TenantFolders(state, "acme").data / "anchors").iterdir())
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "first.tsr"]
    shown = openssl(
        "ts", "-verify", "-in", folder / "first.tsr", "-data", folder / "checkpoint", "-CAfile", tsa / "ca.pem"
    )
    assert "Verification: OK" in shown.stdout + shown.stderr


def test_a_rotated_key_and_readers_who_know_the_old_or_the_new_one(state: Path, tmp_path: Path) -> None:
    folders = TenantFolders(state, "acme")
    old, target = tmp_path / "old.vkey", tmp_path / "export"
    old.write_text(folders.published_key.read_text())
    assert consentry("audit", "export", state, target).returncode == 0
    with serving(state) as server:
        done = consentry("audit", "rotate-key", state)
        assert done.returncode == 1
        assert "another process serves this ledger: stop it first" in done.stderr.replace("\n", " ")
        assert server.stop() == 0
    done = consentry("audit", "rotate-key", state)
    assert done.returncode == 0, done.stderr
    assert folders.published_key.read_text().strip() in done.stdout.replace("\n", "")
    with serving(state) as server, callers(server) as story:
        decision = story.processor.check(enroll(face("eileen")))
        found = story.auditor.get_checkpoint().checkpoint
        assert found.verifier_key == folders.published_key.read_text().strip() != old.read_text().strip()
        assert found.tree_size > decision.entry.index
    assert consentry("audit", "export", state, target).returncode == 0  # into the folder from before the rotation
    for vkey in (old, folders.published_key):
        checked = consentry("audit", "verify", target, "--vkey", vkey)
        assert checked.returncode == 0, checked.stdout
    before, now = (parse_vkey(path.read_text()) for path in (old, folders.published_key))
    for name, damage in {"keys": b"0 x", "vkey": old.read_bytes()}.items():
        kept = (target / name).read_bytes()
        (target / name).write_bytes(damage)
        assert verify(reader(target), before).integrity is Integrity.DAMAGED
        (target / name).write_bytes(kept)
    assert verify(reader(target), before).integrity is Integrity.INTACT
    (target / "keys").unlink()  # without the list the old key cannot be followed; the new one needs no list
    assert verify(reader(target), before).integrity is Integrity.DAMAGED
    assert verify(reader(target), now).integrity is Integrity.INTACT


def reader(folder: Path) -> Callable[[str], bytes | None]:
    return lambda path: (folder / path).read_bytes() if (folder / path).is_file() else None


def test_an_export_at_a_cosigned_size_is_proven_complete(state: Path, tmp_path: Path) -> None:
    folders = TenantFolders(state, "acme")
    known = TestWitness("witness.test/w1", [folders.published_key.read_text().strip()], now=int(time.time()))
    target = tmp_path / "export"
    with witness(known) as sees, ExitStack() as running:
        configure(state, witness=[{"name": "w1", "url": sees.url, "vkey": known.vkey}])
        story = running.enter_context(callers(running.enter_context(serving(state))))
        until(story, lambda one: one.anchoring.tree_size == one.checkpoint.tree_size > 0)
        assert consentry("audit", "export", state, target).returncode == 0
    read = reader(target)
    key = parse_vkey(folders.published_key.read_text())
    report = verify(read, key, cosigners=(parse_vkey(known.vkey),))
    assert (report.integrity, report.completeness) == (Integrity.INTACT, Completeness.PROVEN)
    assert verify(read, key).completeness is Completeness.NOT_PROVEN


def test_a_permit_carries_its_entrys_leaf_hash(state: Path) -> None:
    with serving(state) as server, callers(server) as story:
        story.policy()
        story.notice()
        story.consent("eileen")
        decision = story.processor.check(enroll(face("eileen"), want_permit=True))
        claims = _claims(decision.permit)
        index = decision.entry.index
        (entry,) = (one.json for one in story.auditor.list_entries(from_index=index, until_index=index + 1))
    assert (claims["ledger_index"], bytes.fromhex(claims["leaf_hash"])) == (index, sha256(b"\x00" + entry).digest())
    assert json.loads(entry)["decision_id"] == decision.decision_id


def _claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    read: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return read
