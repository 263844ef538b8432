"""Explain and replay as their users have them: over the network, from a state folder, from an export."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from consentry import InvalidRequest, NotFound, Outcome, PermissionDenied, aio
from consentry.v1 import audit_service_pb2, gate_service_pb2
from tests.support.exports import site
from tests.support.server import Server, consentry, init, serving
from tests.support.story import callers, client, enroll, face

ILLINOIS = resources.files("consentry_server.core.law").joinpath("packs", "us-il-bipa.toml").read_bytes()


@dataclass
class Told:
    """A story on a running server."""

    server: Server
    allowed: str
    denied: str

    @property
    def state(self) -> Path:
        return self.server.state

    def tls(
        self, ca: str = "--ca", cert: str = "--cert", key: str = "--key", who: str = "auditor-counsel"
    ) -> list[str]:
        tls = self.state / "tls"
        return [ca, str(tls / "ca.pem"), cert, str(tls / "auditor-counsel.pem"), key, str(tls / "auditor-counsel.key")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Ana consents, is enrolled beside a stranger, withdraws, and is refused."""
    state = tmp_path_factory.mktemp("explained") / "state"
    init(state, "acme")
    with serving(state) as server, callers(server) as story:
        story.policy()
        story.notice()
        story.consent("ana")
        allowed = story.processor.check(enroll(face("ana")))
        story.processor.check(enroll(face("ana"), face("")))
        story.collector.withdraw_release("ana")
        denied = story.processor.check(enroll(face("ana")))
        assert (allowed.outcome, denied.outcome) == (Outcome.ALLOW, Outcome.DENY)
        yield Told(server, allowed.decision_id, denied.decision_id)


def flat(steps: Sequence[Any]) -> Iterator[Any]:
    for step in steps:
        yield step
        yield from flat(step.steps)


def test_a_recorded_decision_is_explained_on_the_facts_of_its_day(told: Told) -> None:
    with client(told.server, "auditor", "counsel") as auditor:
        before, after = auditor.explain(told.allowed), auditor.explain(told.denied)
    assert (before.decision.decision_id, before.complete, after.complete) == (told.allowed, True, True)
    assert before.decision.entry.index < after.decision.entry.index
    release = {
        which.decision.decision_id: next(step for step in flat(which.steps) if step.rule_id == "IL-15B3-RELEASE")
        for which in (before, after)
    }
    assert release[told.allowed].result == gate_service_pb2.STEP_RESULT_TRUE
    assert release[told.denied].result == gate_service_pb2.STEP_RESULT_FALSE
    assert release[told.denied].citation.startswith("740 ILCS 14/15(b)(3)")
    withdrawn = next(step for step in release[told.denied].steps if step.text == "The release was withdrawn.")
    assert withdrawn.remedy
    assert len(withdrawn.basis_indices) == 2


def test_the_async_client_gets_the_same(told: Told) -> None:
    files: dict[str, Any] = dict(told.server.credentials("auditor", "counsel"))

    async def ask() -> tuple[Any, list[Any]]:
        async with aio.Client.connect(told.server.address, **files) as auditor:
            return await auditor.explain(told.denied), [part async for part in auditor.replay_decisions()]

    explained, parts = asyncio.run(ask())
    with client(told.server, "auditor", "counsel") as auditor:
        assert explained == auditor.explain(told.denied)
        assert parts == list(auditor.replay_decisions())


def test_a_supposed_check_is_explained_and_not_recorded(told: Told) -> None:
    with client(told.server, "auditor", "counsel") as auditor, client(told.server, "processor", "face-tagger") as mine:
        size = auditor.get_checkpoint().checkpoint.tree_size
        now = auditor.explain(enroll(face("ana"), face("never heard of"), face("")))
        assert auditor.get_checkpoint().checkpoint.tree_size == size
        assert not now.decision.HasField("entry")
        assert not now.decision.decision_id
        assert len(now.steps) == 3
        assert len(auditor.explain(enroll(face("ana"), face("")), face_indices=[1]).steps) == 1
        assert mine.explain(told.denied).complete  # its own
        with pytest.raises(InvalidRequest):
            auditor.explain(enroll(face("ana")), face_indices=[3])
        with pytest.raises(NotFound):
            auditor.explain(told.denied[:-1] + ("a" if told.denied[-1] != "a" else "b"))
        with pytest.raises(InvalidRequest):
            auditor.explain("")


def test_a_processor_sees_its_own_decisions_only(told: Told) -> None:
    made = consentry("certificate", told.state, "--role", "processor", "--name", "another")
    assert made.returncode == 0, made.stderr
    with client(told.server, "processor", "another") as other, pytest.raises(NotFound):
        other.explain(told.denied)
    with client(told.server, "collector", "product") as collector, pytest.raises(PermissionDenied):
        collector.explain(told.denied)


def test_the_command_tells_it_as_a_tree(told: Told, tmp_path: Path) -> None:
    here = consentry("law", "explain", told.state, told.denied)
    assert here.returncode == 0, here.stderr
    assert "✗ DENY: IL-15B3-RELEASE" in here.stdout
    assert "The release was withdrawn." in here.stdout
    assert "740 ILCS 14/15(b)(3)" in here.stdout
    there = consentry("law", "explain", told.server.address, told.denied, *told.tls())
    assert there.stdout == here.stdout
    full = consentry("law", "explain", told.state, told.denied, "--full")
    assert len(full.stdout) > len(here.stdout)
    as_json = json.loads(consentry("law", "explain", told.state, told.denied, "--json").stdout)
    assert as_json["complete"] is True
    supposed = tmp_path / "supposed.json"
    wanted = {
        "operation": "OPERATION_ENROLL", "purpose": "PURPOSE_TAGGING", "category": "DATA_CATEGORY_FACE_TEMPLATE",
        "photo": {"sha256": "A" * 43 + "="}, "faces": [{"subjectId": "ana", "knownBy": "KNOWN_BY_MATCH"}],
    }  # fmt: skip
    supposed.write_text(json.dumps(wanted))
    asked = consentry("law", "explain", told.server.address, "--hypothetical", supposed, *told.tls())
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("DENY  hypothetical")
    assert consentry("law", "explain", told.state, "--hypothetical", supposed).returncode == 2  # needs the keys
    wanted["faces"] = []
    supposed.write_text(json.dumps(wanted))
    assert consentry("law", "explain", told.state, "--hypothetical", supposed).returncode == 0


@pytest.mark.parametrize("arguments", [("dec_1_x", "--hypothetical", "x"), (), ("nonsense",), ("--hypothetical", "no")])
def test_the_command_refuses_what_makes_no_sense(told: Told, arguments: tuple[str, ...]) -> None:
    assert consentry("law", "explain", told.state, *arguments).returncode == 2


def test_every_decision_is_replayed_from_wherever_the_ledger_lies(told: Told, tmp_path: Path) -> None:
    assert _replayed(told.state)["results"]["EQUAL"] == 3
    export = tmp_path / "export"
    exported = consentry("audit", "export", told.state, export)
    assert exported.returncode == 0, exported.stderr
    assert len(list((export / "packs").glob("*.toml"))) >= 2
    assert _replayed(export, "--vkey", export / "vkey")["results"]["EQUAL"] == 3
    files = {path.relative_to(export).as_posix(): path.read_bytes() for path in export.rglob("*") if path.is_file()}
    with site(files) as served:
        assert _replayed(served.address)["results"]["EQUAL"] == 3
    grpcs = f"grpcs://{told.server.address}"
    assert _replayed(grpcs, *told.tls("--tls-ca", "--tls-cert", "--tls-key"))["results"]["EQUAL"] == 3
    verified = consentry("audit", "verify", export, "--vkey", export / "vkey", "--json")
    assert json.loads(verified.stdout)["not_covered"] == []


def _replayed(source: object, *options: object) -> dict[str, Any]:
    done = consentry("audit", "replay", str(source), "--json", *map(str, options))
    assert done.returncode == 0, done.stderr or done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_changed_export_is_told(told: Told, tmp_path: Path) -> None:
    export = tmp_path / "export"
    assert consentry("audit", "export", told.state, export).returncode == 0
    bundle = next(path for path in (export / "tile" / "entries").rglob("*") if path.is_file())
    data = bundle.read_bytes()
    at = data.index(b'"outcome":"DENY"')
    bundle.write_bytes(data[:at] + b'"outcome":"ALLO"' + data[at + 16 :])
    done = consentry("audit", "replay", export)
    assert done.returncode == 5, done.stdout
    assert "do not hash to the root" in done.stderr


def test_what_a_changed_pack_would_have_decided(told: Told, tmp_path: Path) -> None:
    pack, saved = tmp_path / "strict.toml", tmp_path / "saved.jsonl"
    strict = re.sub(rb'that = "release.exists"', b'that = "release.has_scope"\nscope = "SELL"', ILLINOIS)
    pack.write_bytes(strict)
    done = consentry("audit", "replay", told.state, "--with", pack, "--save", saved)
    assert done.returncode == 0, done.stderr
    assert "ALLOW → DENY" in done.stdout
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert told.allowed in {line["decision_id"] for line in lines}
    with client(told.server, "auditor", "counsel") as auditor:
        parts = list(auditor.replay_decisions(pack_tomls=[strict]))
        alone = list(auditor.replay_decisions(decision_id=told.allowed))
        with pytest.raises(InvalidRequest):
            list(auditor.replay_decisions(pack_tomls=[b"no pack"]))
    different = [part.difference for part in parts if part.HasField("difference")]
    assert told.allowed in {each.decision_id for each in different}
    assert {each.result for each in different} == {audit_service_pb2.REPLAY_RESULT_DIFFERENT}
    assert parts[-1].progress.total_count == 3
    assert alone[-1].progress == audit_service_pb2.ReplayProgress(total_count=1, replayed_count=1, equal_count=1)
    assert _replayed(told.state, "--decision", told.allowed)["decisions"] == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--decision", "x"), 2), (("--decision", "dec_3_aaaaaaaaaaaaaaaa"), 4), (("--with", "/nowhere.toml"), 2)],
)
def test_replay_refuses_what_makes_no_sense(told: Told, options: tuple[str, ...], code: int) -> None:
    assert consentry("audit", "replay", told.state, *options).returncode == code


def test_a_source_that_cannot_be_read_says_nothing_of_the_ledger(tmp_path: Path) -> None:
    assert consentry("audit", "replay", tmp_path / "nowhere").returncode == 6
