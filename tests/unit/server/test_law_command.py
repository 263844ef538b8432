"""``consentry law test``: the table of cases as a person and as a program read it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from consentry_server import cli_cases
from consentry_server.cli import app
from consentry_server.core.law import load_pack
from consentry_server.core.law.decided import load_casebook
from consentry_server.tenant import bundled_packs

IL = next(data for pack, data in bundled_packs() if pack.id == "us-il-bipa")
BOOK = b"""
[book]
title = "Cases"
evaluated_as_of = 2026-11-23

[[row]]
id = "8"
name = "A v. B"
citation = "court, 2024-06-17"
grade = "SINGLE_SOURCE"
pack = "us-il-bipa"
regions = ["US-IL"]
holding = "Something."

[[row.case]]
id = "released"
title = "With a release."
request = { operation = "VERIFY", purpose = "TAGGING", category = "PHOTO" }
person = "RELEASED"
expect = "ALLOW"
others = [{ person = "NAMED", expect = "DENY" }]

[[row.case]]
id = "vector"
title = "A vector."
person = "UNIDENTIFIED"
expect = "DENY"

[row.case.request]
operation = "EXTRACT_TEMPLATE"
purpose = "SAFETY_MODERATION"
category = "PHOTO"
stored = false
identifies = false
linked_identity = false
algorithm_id = "sig"
algorithm_version = "2"

[row.case.floor]
expect = "ALLOW_NONBIOMETRIC"

[row.case.floor.determination]
kind = "NONBIOMETRIC"
operations = ["EXTRACT_TEMPLATE"]
purposes = ["SAFETY_MODERATION"]
algorithm_id = "sig"
algorithm_version = "2"
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command on Illinois, changed or not, and the two cases above."""

    def call(*arguments: str, old: bytes = b"", new: bytes = b"") -> Result:
        assert old in IL
        pack = load_pack(IL.replace(old, new, 1), name="us-il-bipa.toml")
        monkeypatch.setattr(cli_cases, "bundled_packs", lambda: ((pack, b""),))
        monkeypatch.setattr(cli_cases, "_out", Console(width=200, highlight=False, markup=False))
        monkeypatch.setattr(cli_cases, "bundled_casebooks", lambda: (load_casebook(BOOK, name="cases.toml"),))
        return CliRunner().invoke(app, ["law", "test", *arguments])

    return call


def test_the_table_names_law_decision_citation_grade_and_both_answers(run: Any) -> None:
    result = run()
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    for said in (
        "Illinois Biometric Information Privacy Act us-il-bipa",
        "8 A v. B, court, 2024-06-17 [single source]",
        "ok With a release. ALLOW ALLOW the other face DENY DENY",
        "ok A vector. DENY DENY FLOOR: the same under a recorded determination ALLOW_NONBIOMETRIC ALLOW_NONBIOMETRIC",
        "2 questions from 1 decision and",
        "all came out as written.",
    ):
        assert said in words
    assert "WRONG" not in words
    assert "\x1b" not in result.output


# Illinois without its rule on releases
LOOSE = (b'id = "IL-15B3-RELEASE"', b'id = "IL-15B3-RELEASE"\neffective_from = 2099-01-01')


def test_a_case_that_comes_out_otherwise_is_shown_and_fails(run: Any) -> None:
    result = run(old=LOOSE[0], new=LOOSE[1])
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "WRONG A template from an uploaded photo without a release." in words
    assert "not said: RELEASE_MISSING" in words
    assert "came out otherwise than written" in words
    said = json.loads(run("--json", old=LOOSE[0], new=LOOSE[1]).output)
    assert said["ok"] is False
    (wrong,) = [each for each in said["cases"] if each["case"] == "rivera-template"]
    assert (wrong["ok"], wrong["expected"], wrong["missing"]) == (False, ["DENY"], ["RELEASE_MISSING"])


def test_json_has_a_line_for_each_question(run: Any) -> None:
    result = run("--json")
    assert result.exit_code == 0
    said = json.loads(result.output)
    assert said["ok"] is True
    released, vector = said["cases"][:2]
    assert released["expected"] == released["came_out"] == ["ALLOW", "DENY"]
    assert released["row"] == "8"
    assert vector["floor_expected"] == vector["floor_came_out"] == ["ALLOW_NONBIOMETRIC"]
    assert len(said["cases"]) == 2 + len(load_pack(IL, name="il").cases)


def test_one_pack_is_chosen_and_an_unknown_one_is_named(run: Any) -> None:
    assert run("--pack", "us-il-bipa").exit_code == 0
    unknown = run("--pack", "us-zz")
    assert unknown.exit_code == 1
    assert "there are us-il-bipa" in str(unknown.exception)
