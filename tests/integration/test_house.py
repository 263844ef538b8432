"""House rules from outside: a real server, the Python client and the command, as officers and operators use them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consentry import (
    Check,
    Conflict,
    DataCategory,
    Decision,
    Operation,
    Outcome,
    PublicStatement,
    Purpose,
    ReviewState,
    Source,
    Visibility,
)
from consentry.errors import InvalidRequest
from tests.support.server import MODULE, Server, consentry, init, serving
from tests.support.story import client

PACK = Path(__file__).parents[1] / "data" / "packs" / "own" / "acme-minors.toml"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    state = tmp_path_factory.mktemp("house") / "state"
    init(state, "main")
    with serving(state) as running:
        yield running


def command(server: Server, caller: str, *arguments: str | Path) -> tuple[int, str, str]:
    """Run one command with a caller's certificate: exit code, output, messages."""
    tls = server.state / "tls"
    given = [*map(str, arguments), "--ca", str(tls / "ca.pem"), "--cert", str(tls / f"{caller}.pem")]
    done = subprocess.run(
        [sys.executable, "-m", MODULE, *given, "--key", str(tls / f"{caller}.key")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )
    return done.returncode, done.stdout, done.stderr


def quality(server: Server, version: str) -> Decision:
    """Daichendt v. CVS: a quality check by face geometry, nobody linked."""
    with client(server, "processor", "face-tagger") as processor:
        return processor.check(
            Check(
                operation=Operation.CHECK_QUALITY,
                purpose=Purpose.PHOTO_COMPLIANCE_CHECK,
                category=DataCategory.PHOTO,
                photo=bytes(32),
                uses_face_geometry=True,
                identifies=False,
                stored=False,
                linked_identity=False,
                algorithm_id="blur-meter",
                algorithm_version=version,
                collection_method_id="upload",
            )
        )


def test_a_review_is_answered_in_the_terminal(server: Server) -> None:
    assert [quality(server, version).outcome for version in ("1", "2")] == [Outcome.REVIEW] * 2
    address = server.address
    code, out, _ = command(server, "auditor-counsel", "reviews", "list", address, "--state", "OPEN")
    assert code == 0
    one, two = (word for word in out.split() if word.startswith("rev_"))
    assert len(one) == len(two) == 36, "an id is whole on a narrow terminal too"
    _, out, _ = command(server, "officer-first", "reviews", "show", address, one)
    assert "blur-meter 1" in out
    assert "IL-SCOPE-QUALITY-UNLINKED DETERMINATION_MISSING" in out
    code, _, said = command(server, "officer-first", "reviews", "resolve", address, one)
    assert (code, "--refuse" in said) == (2, True)
    words = ("--authority", "740 ILCS 14/10", "--evidence", "vault://tests/1", "--author", "Counsel")
    too_long = ("--determine", "NONBIOMETRIC", *words, "--days", "9" * 12)
    assert command(server, "officer-first", "reviews", "resolve", address, one, *too_long)[0] == 2
    code, out, said = command(
        server, "officer-first", "reviews", "resolve", address, one, "--determine", "NONBIOMETRIC", *words
    )
    assert (code, "awaiting approval" in out, "det_" in said) == (0, True, True)
    code, _, said = command(server, "officer-first", "reviews", "resolve", address, one, "--approve")
    assert (code, "two officers" in said) == (1, True)
    code, out, _ = command(server, "officer-second", "reviews", "resolve", address, one, "--approve")
    assert (code, "determined" in out) == (0, True)
    code, out, _ = command(server, "officer-first", "reviews", "resolve", address, two, "--refuse", "not this one")
    assert (code, "refused" in out) == (0, True)
    assert quality(server, "1").outcome is Outcome.ALLOW_NONBIOMETRIC
    denied = quality(server, "2")
    assert (denied.outcome, denied.reasons[0].code) == (Outcome.DENY, "REVIEW_REFUSED")
    with client(server, "officer", "first") as officer:
        assert [review.allowed_since_count for review in officer.list_reviews(state=ReviewState.DETERMINED)] == [1]
        (held,) = officer.list_reviews(state=ReviewState.DETERMINED)
        officer.revoke_determination(held.determination_id)
        with pytest.raises(Conflict):
            officer.resolve_review(two, refusal_reason="once more")
        with pytest.raises(InvalidRequest):
            officer.resolve_review(two)
    assert quality(server, "1").outcome is Outcome.REVIEW
    assert command(server, "officer-first", "reviews", "show", address, "rev_none")[0] == 4


def test_a_public_statement_narrows(server: Server) -> None:
    """The 2023 story alone: training is narrowed, showing a private photo to its owner is not."""
    check = Check(
        operation=Operation.DISPLAY,
        purpose=Purpose.PHOTO_DISPLAY,
        category=DataCategory.PHOTO,
        photo=bytes(32),
        source=Source(visibility=Visibility.PRIVATE),
        collection_method_id="upload",
    )
    training = PublicStatement(
        text="Just public data, not DMs or anything private",
        speaker="The owner",
        state_time=datetime.now(UTC) - timedelta(hours=1),
        operations=[Operation.TRAIN_MODEL],
        only_visibilities=[Visibility.PUBLIC],
        excluded_categories=[DataCategory.MESSAGE_CONTENT],
    )
    with client(server, "officer", "first") as officer, client(server, "processor", "face-tagger") as processor:
        before = processor.check(check)
        statement = officer.record_statement(training).statement
        assert processor.check(check).outcome is before.outcome  # it speaks of training alone
        denied = processor.check(
            Check(
                operation=Operation.TRAIN_MODEL,
                purpose=Purpose.MODEL_TRAINING,
                category=DataCategory.MESSAGE_CONTENT,
                subject_id="eileen",
                collection_method_id="upload",
            )
        )
        assert denied.reasons[0].code == "PUBLIC_STATEMENT"
        assert statement.statement_id in denied.reasons[0].citation
    code, out, _ = command(server, "auditor-counsel", "audit", "show", server.address, denied.decision_id)
    assert (code, statement.statement_id in out) == (0, True)


def test_a_pack_of_ones_own_is_checked_and_activated(server: Server, tmp_path: Path) -> None:
    done = consentry("packs", "check", PACK)
    assert (done.returncode, "ACME-MINORS" in done.stdout, "can be activated" in done.stderr) == (0, True, True)
    bad = tmp_path / "bad.toml"
    bad.write_text(PACK.read_text().replace('is = "SILENT"', 'is = "NONBIOMETRIC"'))
    said = "scope ACME-MINORS-SCOPE: is: NONBIOMETRIC"
    assert f"bad.toml: {said}" in consentry("packs", "check", bad).stderr
    code, _, message = command(server, "operator-ops", "packs", "activate", server.address, bad)
    assert (code, said in message) == (1, True)
    code, _, message = command(server, "officer-first", "packs", "activate", server.address, PACK)
    assert (code, "ActivatePack" in message) == (1, True)
    assert command(server, "operator-ops", "packs", "activate", server.address, PACK)[0] == 0
    _, out, _ = command(server, "auditor-counsel", "packs", "list", server.address)
    listed = [line.split() for line in out.splitlines()[2:]]
    assert {"house-base", "us-il-bipa"} <= {row[0] for row in listed}
    assert listed[-1][:5] == ["acme-minors", "1", "your", "own", "rules"]
    assert "acme-minors" in consentry("packs", "list", server.state).stdout
    rebuilt = consentry("audit", "rebuild", server.state, "--check")
    assert (rebuilt.returncode, "every table is what the ledger says" in rebuilt.stdout) == (0, True), rebuilt.stderr
