"""A late report is decided by the versions of the packs that were active then."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consentry_server.core.vocabulary import KnownBy, Operation, Outcome, Purpose
from consentry_server.services.activation import PackDraft
from consentry_server.services.checks import AskedFace
from tests.support.clocks import Clock
from tests.support.lineage import ask, begin, consent
from tests.support.rebuild import differences
from tests.support.stack import OFFICER, Stack, start

OWN = """
[pack]
id = "acme"
version = {version}
title = "Acme"
regions = ["*"]
effective_from = 2020-01-01
evaluated_as_of = 2026-11-23
grade = "PRIMARY"
source = "made up for tests"
[requirement.never]
that = "never"
code = "ACME_NEVER"
text = "Never."
remedy = "Leave it."
[[scope]]
id = "ACME-SCOPE"
title = "S."
citation = "Acme"
is = "SILENT"
[[rule]]
id = "ACME-RULE"
title = "Nobody is enrolled."
citation = "Acme"
operations = ["{operation}"]
require = ["never"]
always = true
otherwise = "DENY"
[[case]]
id = "one"
citation = "Acme"
title = "Any."
person = "UNIDENTIFIED"
request = {{ operation = "{operation}", purpose = "TAGGING", category = "PHOTO" }}
expect = "DENY"
"""


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    made = await start(tmp_path, Clock())
    yield made
    ledger = made.running.folders.ledger
    await made.running.aclose()
    assert differences(ledger) == []


async def activate(stack: Stack, version: int, operation: str) -> None:
    toml = OWN.format(version=version, operation=operation).encode()
    draft = PackDraft("acme", version, hashlib.sha256(toml).hexdigest(), toml)
    await stack.tenant.activation.activate(OFFICER, draft)


async def test_a_late_report_is_decided_by_the_version_of_a_pack_that_was_active_then(stack: Stack) -> None:
    """services/late.py: by the law of that time, though a newer version has taken its place since."""
    await begin(stack)
    await consent(stack, "ana")
    await activate(stack, 1, "ENROLL")
    stack.clock.forward(hours=1)
    ana = AskedFace(subject_id="ana", known_by=KnownBy.DECLARED_BY_UPLOADER)
    scanned = stack.clock.now
    on_time = await ask(stack, ana, operation=Operation.ENROLL, purpose=Purpose.TAGGING)
    assert on_time.decision.outcome is Outcome.DENY
    stack.clock.forward(hours=1)
    await activate(stack, 2, "SELL")
    stack.clock.forward(hours=1)
    now = await ask(stack, ana, operation=Operation.ENROLL, purpose=Purpose.TAGGING)
    assert now.decision.outcome is Outcome.ALLOW
    late = await ask(stack, ana, operation=Operation.ENROLL, purpose=Purpose.TAGGING, occurred_at=scanned)
    assert late.decision.outcome is Outcome.DENY
    assert {"RECORDED_AFTER", "ACME_NEVER"} <= {reason.code for reason in late.decision.reasons}
