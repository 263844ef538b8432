"""The demo's storyteller: a step that comes out otherwise is named, shown and fatal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from consentry import PermissionDenied
from story.telling import REFUSED, Plain, StepFailedError, Story, Told, refused

DENIED = Told("DENY", 7, [Plain("RELEASE_MISSING", "No release.", "740 ILCS 14/15(b)(3)", "Obtain one.")])


@pytest.fixture
def page() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def story(page: io.StringIO) -> Story:
    return Story(Console(file=page, width=100))


def test_a_step_is_told_with_reason_citation_remedy_and_index(story: Story, page: io.StringIO) -> None:
    story.step("find", "DETECT_FACES", DENIED, outcome="DENY", codes=["RELEASE_MISSING"])
    told = page.getvalue()
    for part in ("DETECT_FACES", "DENY", "7", "RELEASE_MISSING", "740 ILCS 14/15(b)(3)", "No release.", "Obtain one."):
        assert part in told
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    ("outcome", "codes"),
    [("ALLOW", ["RELEASE_MISSING"]), ("DENY", []), ("DENY", ["RELEASE_MISSING", "AGE_UNKNOWN"])],
)
def test_another_outcome_or_other_reasons_are_fatal(
    story: Story, tmp_path: Path, outcome: str, codes: list[str]
) -> None:
    with pytest.raises(StepFailedError, match="step find: wanted"):
        story.step("find", "DETECT_FACES", DENIED, outcome=outcome, codes=codes)
    story.summary(tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == [
        {"step": "find", "outcome": "DENY", "reasons": ["RELEASE_MISSING"], "index": 7}
    ]


def test_what_does_not_hold_marks_the_step(story: Story, page: io.StringIO) -> None:
    story.step("find", "DETECT_FACES", DENIED, outcome="DENY", codes=["RELEASE_MISSING"])
    story.require(holds=True, what="nothing")
    with pytest.raises(StepFailedError, match="step find: two faces"):
        story.require(holds=False, what="two faces")
    story.closing({"the ledger": "ledger"})
    assert "✗   find" in page.getvalue()


def test_a_refusal_is_at_its_own_entry_where_it_was_recorded() -> None:
    recorded = PermissionDenied("gone", reason="BASIS_GONE", metadata={"ledger_index": "12"})
    assert refused(recorded, 3) == Told(REFUSED, 12, [Plain("BASIS_GONE", "gone")], ())
    assert refused(PermissionDenied("other", reason="PERMIT_MISMATCH"), 3).index == 3
