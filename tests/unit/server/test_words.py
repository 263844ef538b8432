"""Every entry in plain words: each type that the service records has some."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import consentry_server
from consentry_server.core.ledger.entry import format_time
from consentry_server.core.record import fold
from consentry_server.core.record.words import Citation, tell, told_types
from tests.support.clocks import Clock
from tests.support.ledgers import decision, reference

ROOT = Path(consentry_server.__file__).parent
RECORDERS = [*sorted((ROOT / "services").glob("*.py")), ROOT / "tenant.py"]
TIME = format_time(Clock().now)


def recorded_types(path: Path) -> Iterator[str]:
    """The types that a file records, from its syntax: what stands first in each call of a book's ``append``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in calls(tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "append" and len(call.args) >= 3:
            yield from constants(call.args[0], tree, path)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def constants(node: ast.expr, tree: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body, tree, path)
        yield from constants(node.orelse, tree, path)
    elif isinstance(node, ast.Name):
        found = [
            each.value
            for each in ast.walk(tree)
            if isinstance(each, ast.Assign) and any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets)
        ]
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [argument.arg for argument in function.args.args]
                if node.id in names:
                    place = names.index(node.id) - (names[0] == "self")
                    found += [
                        call.args[place]
                        for call in calls(tree)
                        if getattr(call.func, "attr", getattr(call.func, "id", "")) == function.name
                        and len(call.args) > place
                    ]
        assert found, f"{path.name}: where does {node.id} come from? Write the entry's type as a literal"
        for each in found:
            yield from constants(each, tree, path)
    else:
        pytest.fail(f"{path.name}:{node.lineno}: write the entry's type as a literal")


def test_every_type_that_is_recorded_has_words() -> None:
    recorded = {name for path in RECORDERS for name in recorded_types(path)}
    assert {"decision", "purpose.satisfied", "photo.refused", "system.started"} <= recorded  # the search finds them all
    assert set(fold._HANDLERS) <= recorded
    assert recorded - told_types() == set()


def entry(kind: str, **body: Any) -> dict[str, Any]:
    people = [{"subject_ref": reference(1), "subject_seq": 1, "previous_index": -1}]
    return {"type": kind, "time": TIME, "actor": "processor/face-tagger", "index": 9, "people": people, **body}


def test_a_denial_names_the_rule_the_law_and_the_person() -> None:
    said = decision(9, outcome="DENY", people=1) | {"rules": ["IL-15B3-RELEASE:RELEASE_MISSING"]}
    rules = {"IL-15B3-RELEASE": Citation("The person gave a written release.", "740 ILCS 14/15(b)(3)")}
    told = tell(entry("decision", **said), rules)
    assert told.headline == "DENY: enroll"
    assert told.sentences[0] == (
        "The processor face-tagger asked for permission to enroll (data: photo; purpose: tagging). It was denied."
    )
    assert told.people == (reference(1),)
    (rule,) = told.rules
    assert (rule.rule_id, rule.found, rule.law) == ("IL-15B3-RELEASE", "release missing", "740 ILCS 14/15(b)(3)")
    assert tell(entry("decision", **said), {}).rules[0].law == ""


def test_a_permit_a_late_report_and_a_clock_that_was_behind_are_said() -> None:
    assert any("permit was given" in each for each in tell(entry("decision", **decision(9, permit=True)), {}).sentences)
    late = entry(
        "processing.reported",
        decision_index=4,
        result="PERFORMED",
        without_permission=True,
        occurred_at="2026-11-21T10:00:00.000000Z",
        clock=TIME,
        sealed={"id": "sld_a", "sha256": "00"},
    )
    text = " ".join(tell(late, {}).sentences)
    for part in ("without permission", "recorded 2 days later", "The clock stood at", "kept sealed"):
        assert part in text


def test_a_new_key_and_a_repair_are_said() -> None:
    rotated = entry(
        "ledger.key_rotated", old_vkey="consentry.test/acme+0a1b2c3d+x", new_vkey="consentry.test/acme+4e5f6a7b+y"
    )
    text = " ".join(tell(rotated, {}).sentences)
    assert "4e5f6a7b" in text
    assert "0a1b2c3d" in text
    repaired = entry("projections.rebuilt", repaired={"subject": 2}, left={"sealed": 1}, differences_sha256="ab" * 32)
    assert "2 put right, 1 left" in " ".join(tell(repaired, {}).sentences)


@pytest.mark.parametrize("broken", [{"type": "x.unknown"}, {"type": "decision"}, {"type": "photo.stored", "photo": 3}])
def test_what_it_has_no_words_for_is_said_to_be_so(broken: dict[str, Any]) -> None:
    told = tell(entry(**{"kind": broken.pop("type"), **broken}), {})
    assert told.sentences[0] == "This version has no words for such an entry: read its bytes."
