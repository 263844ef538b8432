"""The decided cases, by name, and the cases inside packs: what `consentry law test` prints, one test for each.

Source: cases.md sections 9 and 10, statutes.md section 10. The rows are data that ships with the server.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from consentry_server.cli_cases import bundled_casebooks
from consentry_server.core.errors import ConsentryError
from consentry_server.core.law import CaseResult, run_cases
from consentry_server.core.law.decided import Finding, load_casebook, run_casebook
from consentry_server.tenant import bundled_packs

PACKS = tuple(pack for pack, _ in bundled_packs())
BOOKS = bundled_casebooks()
FINDINGS = [finding for book in BOOKS for finding in run_casebook(book, PACKS)]
OWN = [result for pack in PACKS for result in run_cases(pack, PACKS)]


def name(finding: Finding) -> str:
    several = f" {finding.region}" if len(finding.question.regions) > 1 else ""
    return f"{finding.row.name}: {finding.question.id}{several}"


@pytest.mark.parametrize("finding", FINDINGS, ids=name)
def test_case(finding: Finding) -> None:
    assert finding.ok, (finding.row.citation, finding.question.title, finding)


@pytest.mark.parametrize("result", OWN, ids=lambda r: f"{r.pack_id}:{r.id}")
def test_the_packs_own_cases(result: CaseResult) -> None:
    assert result.ok, result


def test_no_row_of_the_list_of_cases_is_left_out() -> None:
    """cases.md section 9 leaves gaps in its numbers; section 10.3 has six rows of its own."""
    decided = map(str, {*range(1, 36)} - {5, 9, 16, 20, 21, 25, 28, 30})
    story = ["T-X1", "T-X2", "T-X3", "T-X5", "T-X8", "T-X9"]
    assert {row.id for book in BOOKS for row in book.rows if row.questions} >= {*decided, *story}


def test_martell_and_the_policy_of_2023_are_two_stories() -> None:
    """Martell was filed on 2023-07-11, before the policy: nothing links the two."""
    citations = [part.citation for pack in PACKS for part in pack.rules]
    citations += [case.citation for pack in PACKS for case in pack.cases]
    citations += [f"{row.name} {row.citation} {row.holding}" for book in BOOKS for row in book.rows]
    for citation in citations:
        assert not ("Martell" in citation and "2023-09" in citation)
    assert not any(row.id == "7" for row in BOOKS[1].rows)


def test_a_wrong_answer_is_seen() -> None:
    """The same rows without any pack: every question that permits comes out otherwise, and says so."""
    for book in BOOKS:
        for finding in run_casebook(book, ()):
            permits = any(outcome.strictness < 2 for outcome in finding.question.expected)
            assert not (permits and finding.ok), finding


GOOD = """
[book]
title = "Cases"
evaluated_as_of = 2026-11-23

[[row]]
id = "1"
name = "A v. B"
citation = "court, date"
grade = "PRIMARY"
pack = "us-il-bipa"
regions = ["US-IL"]
holding = "Something."

[[row.case]]
id = "one"
title = "One."
request = { operation = "VERIFY", purpose = "TAGGING", category = "PHOTO" }
person = "RELEASED"
expect = "ALLOW"
destroy_by = "P365D"

[[row.case]]
id = "two"
like = "one"
title = "Two."
day = 366
expect = "DENY"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('like = "one"', 'like = "none"', "no earlier case"),
        ('id = "two"', 'id = "one"', "twice"),
        ('["US-IL"]', '["US-ZZ"]', "unknown: US-ZZ"),
        ("day = 366", "day = true", "whole number of days"),
        ('holding = "Something."', "", "holding"),
        ('expect = "DENY"', 'expect = "PERHAPS"', "no word of Outcome"),
        ('person = "RELEASED"', 'person = "RELEASED"\ncolour = "red"', "unknown key"),
        ('grade = "PRIMARY"', 'grade = "SURE"', "no word of Grade"),
        ("[book]", "[book", "not readable as TOML"),
    ],
)
def test_what_a_casebook_does_not_mean_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ConsentryError, match=said):
        load_casebook(GOOD.replace(old, new, 1).encode(), name="cases.toml")


def test_a_date_that_is_not_the_expected_one_is_a_mismatch() -> None:
    one, two = run_casebook(load_casebook(GOOD.encode(), name="cases.toml"), PACKS)
    assert one.ok
    assert two.ok
    (one, _) = run_casebook(load_casebook(GOOD.replace("P365D", "P364D").encode(), name="cases.toml"), PACKS)
    assert one.missing == ("destroy by 2027-11-21",)
    assert not one.ok
    assert not replace(two, got=one.got).ok
