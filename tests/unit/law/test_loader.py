"""What a pack may not be: each fault is refused with file, rule and key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.law.conditions import CONDITIONS
from consentry_server.core.law.requirements import CHAIN, PLAIN
from consentry_server.core.vocabulary import Grade
from tests.unit.law.worlds import HOUSE, IL, pack_bytes

SMALL = """
[pack]
id = "us-oh-example"
version = 1
title = "Example"
regions = ["US-OH"]
effective_from = 2020-01-01
evaluated_as_of = 2026-11-23
grade = "SECONDARY"
source = "example.com"

[groups.operations]
scan = ["ENROLL", "VERIFY"]

[requirement.told]
that = "delivery.exists"
code = "NOTICE_NOT_DELIVERED"
text = "Nobody was told."
remedy = "Tell them."

[requirement.kept]
that = "record.within_retention"
period = "P2Y"
code = "RETENTION_OVER"
text = "Too old."
remedy = "Destroy it."

[[scope]]
id = "OH-SCOPE"
title = "Scans"
citation = "Ohio 1"
operations = ["@scan"]
is = "REGULATED"

[[rule]]
id = "OH-1"
title = "Told"
citation = "Ohio 2"
group = "collect"
require = ["told"]
otherwise = "DENY"

[[exemption]]
id = "OH-EX"
title = "Banks"
citation = "Ohio 3"
determination = "GLBA_TITLE_V"
rules = ["OH-1"]
is = "EXEMPT"

[[obligation]]
id = "OH-CLOCK"
title = "Destroy"
citation = "Ohio 4"
kind = "DESTROY_BY"
earliest_of = [{ event = "LAST_INTERACTION", plus = "P2Y", detail = "two years" }]

[[case]]
id = "one"
citation = "Ohio 5"
title = "Nobody told"
request = { operation = "ENROLL", purpose = "TAGGING", category = "PHOTO" }
person = "NAMED"
expect = "DENY"
"""

FAULTS = [
    ("unknown key in the file", ("[[case]]", "[extra]\nx = 1\n[[case]]"), "file", "extra"),
    ("unknown key in the header", ('title = "Example"', 'title = "Example"\nhue = 1'), "pack", "hue"),
    ("unknown key in a rule", ('require = ["told"]', 'require = ["told"]\nhue = 1'), "rule OH-1", "hue"),
    ("unknown key in a scope row", ('is = "REGULATED"', 'is = "REGULATED"\nhue = 1'), "scope OH-SCOPE", "hue"),
    ("unknown key in an exemption", ('rules = ["OH-1"]', 'rules = ["OH-1"]\nhue = 1'), "exemption OH-EX", "hue"),
    (
        "unknown key in an obligation",
        ('kind = "DESTROY_BY"', 'kind = "DESTROY_BY"\nhue = 1'),
        "obligation OH-CLOCK",
        "hue",
    ),
    ("unknown key in a requirement", ('period = "P2Y"', 'period = "P2Y"\nhue = 1'), "requirement.kept", "hue"),
    (
        "argument that the requirement does not take",
        ('that = "delivery.exists"', 'that = "delivery.exists"\npurpose = "TAGGING"'),
        "requirement.told",
        "purpose",
    ),
    ("unknown key in a case", ('person = "NAMED"', 'person = "NAMED"\nhue = 1'), "case one", "hue"),
    ("unknown key in a case's request", ('category = "PHOTO" }', 'category = "PHOTO", hue = 1 }'), "case one", "hue"),
    ("unknown predicate", ('that = "delivery.exists"', 'that = "delivery.posted"'), "requirement.told", "that"),
    ("unknown condition", ('is = "REGULATED"', 'is = "REGULATED"\nwhen = { moon = true }'), "scope OH-SCOPE", "moon"),
    ("empty condition", ('is = "REGULATED"', 'is = "REGULATED"\nwhen = {}'), "scope OH-SCOPE", "when"),
    ("unknown word", ('["ENROLL", "VERIFY"]', '["ENROLL", "VERIFI"]'), "groups.operations", "scan"),
    ("word in the wrong case", ('["ENROLL", "VERIFY"]', '["enroll"]'), "groups.operations", "scan"),
    ("unknown named list", ('["@scan"]', '["@scam"]'), "scope OH-SCOPE", "operations"),
    ("empty list of operations", ('["@scan"]', "[]"), "scope OH-SCOPE", "operations"),
    ("unknown requirement in a rule", ('require = ["told"]', 'require = ["tolt"]'), "rule OH-1", "require"),
    ("requirement twice", ('require = ["told"]', 'require = ["told", "told"]'), "rule OH-1", "require"),
    ("rule without requirement", ('require = ["told"]\n', ""), "rule OH-1", "require"),
    ("rule with an empty requirement", ('require = ["told"]', "require = []"), "rule OH-1", "require"),
    ("rule without citation", ('citation = "Ohio 2"\n', ""), "rule OH-1", "citation"),
    ("rule with an empty citation", ('citation = "Ohio 2"', 'citation = " "'), "rule OH-1", "citation"),
    ("scope row without citation", ('citation = "Ohio 1"\n', ""), "scope OH-SCOPE", "citation"),
    ("exemption without citation", ('citation = "Ohio 3"\n', ""), "exemption OH-EX", "citation"),
    ("obligation without citation", ('citation = "Ohio 4"\n', ""), "obligation OH-CLOCK", "citation"),
    ("case without citation", ('citation = "Ohio 5"\n', ""), "case one", "citation"),
    ("rule that permits when not met", ('otherwise = "DENY"', 'otherwise = "ALLOW"'), "rule OH-1", "otherwise"),
    ("rule without an outcome", ('otherwise = "DENY"\n', ""), "rule OH-1", "otherwise"),
    ("chain requirement without a group", ('group = "collect"\n', ""), "rule OH-1", "group"),
    ("regime that nothing opens", ('group = "collect"', 'group = "collect"\nregime = "moon"'), "rule OH-1", "regime"),
    ("scope row that exempts by itself", ('is = "REGULATED"', 'is = "EXEMPT"'), "scope OH-SCOPE", "is"),
    ("undetermined without a sentence", ('is = "REGULATED"', 'is = "UNDETERMINED"'), "scope OH-SCOPE", "code"),
    ("exemption from an unknown rule", ('rules = ["OH-1"]', 'rules = ["OH-2"]'), "exemption OH-EX", "rules"),
    (
        "exemption from everything and something",
        ('rules = ["OH-1"]', 'rules = ["*", "OH-1"]'),
        "exemption OH-EX",
        "rules",
    ),
    ("not biometric, for some rules", ('is = "EXEMPT"', 'is = "NONBIOMETRIC"'), "exemption OH-EX", "rules"),
    ("exemption that regulates", ('is = "EXEMPT"', 'is = "REGULATED"'), "exemption OH-EX", "is"),
    ("unknown determination", ('"GLBA_TITLE_V"', '"BANK"'), "exemption OH-EX", "determination"),
    ("unknown event", ('"LAST_INTERACTION"', '"BIRTHDAY"'), "obligation OH-CLOCK, earliest_of[0]", "event"),
    ("bad period", ('plus = "P2Y"', 'plus = "2 years"'), "obligation OH-CLOCK, earliest_of[0]", "plus"),
    ("empty period", ('plus = "P2Y"', 'plus = "P"'), "obligation OH-CLOCK, earliest_of[0]", "plus"),
    ("missing period", ('period = "P2Y"\n', ""), "requirement.kept", "period"),
    ("obligation that makes itself", ('"DESTROY_BY"', '"RECHECK_BY"'), "obligation OH-CLOCK", "kind"),
    ("duplicate id", ('id = "OH-EX"', 'id = "OH-1"'), "OH-1", "id"),
    ("malformed part id", ('id = "OH-EX"', 'id = "oh ex"'), "oh ex", "id"),
    ("malformed code", ('code = "NOTICE_NOT_DELIVERED"', 'code = "not told"'), "rule OH-1", "code"),
    ("malformed pack id", ('id = "us-oh-example"', 'id = "US OH"'), "pack", "id"),
    ("unknown region", ('["US-OH"]', '["US-XX"]'), "pack", "regions"),
    ("anywhere and somewhere", ('["US-OH"]', '["*", "US-OH"]'), "pack", "regions"),
    ("no region", ('["US-OH"]', "[]"), "pack", "regions"),
    ("unknown grade", ('"SECONDARY"', '"HEARSAY"'), "pack", "grade"),
    ("version zero", ("version = 1", "version = 0"), "pack", "version"),
    ("version that is a boolean", ("version = 1", "version = true"), "pack", "version"),
    ("no source", ('source = "example.com"\n', ""), "pack", "source"),
    (
        "a time for a date",
        ("effective_from = 2020-01-01", "effective_from = 2020-01-01T00:00:00Z"),
        "pack",
        "effective_from",
    ),
    (
        "ends before it begins",
        ("effective_from = 2020-01-01", "effective_from = 2020-01-01\neffective_to = 2019-01-01"),
        "pack",
        "effective_to",
    ),
    (
        "rule that ends before it begins",
        ('group = "collect"', 'group = "collect"\neffective_to = 2019-01-01'),
        "rule OH-1",
        "effective_to",
    ),
    (
        "a flag that is a word",
        ('determination = "GLBA_TITLE_V"', 'determination = "GLBA_TITLE_V"\nalgorithm = "yes"'),
        "exemption OH-EX",
        "algorithm",
    ),
    ("not TOML", ("[pack]", "[pack"), "file", ""),
]


def refused(text: str) -> ConsentryError:
    with pytest.raises(ConsentryError) as caught:
        load_pack(text.encode(), name="example.toml")
    assert caught.value.reason is Reason.PACK_INVALID
    return caught.value


def test_the_small_pack_itself_is_good() -> None:
    pack = load_pack(SMALL.encode(), name="example.toml")
    assert (pack.id, pack.version, pack.regions) == ("us-oh-example", 1, frozenset({"US-OH"}))
    assert pack.sha256 == hashlib.sha256(SMALL.encode()).hexdigest()
    assert {part.grade for part in pack.rules} == {Grade.SECONDARY}


@pytest.mark.parametrize(("change", "where", "key"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_is_refused_with_file_rule_and_key(change: tuple[str, str], where: str, key: str) -> None:
    old, new = change
    assert old in SMALL
    error = refused(SMALL.replace(old, new, 1))
    assert error.metadata == {"file": "example.toml", "rule": where, "key": key}
    assert "example.toml" in error.message
    assert where in error.message


@pytest.mark.parametrize("section", ["pack", "requirement", "scope", "rule", "case"])
def test_a_section_may_not_be_missing(section: str) -> None:
    lines: list[str] = []
    skipping = False
    for line in SMALL.splitlines():
        if line.startswith("["):
            skipping = line.strip("[]").split(".")[0] == section
        if not skipping:
            lines.append(line)
    refused("\n".join(lines).replace('rules = ["OH-1"]', 'rules = ["*"]'))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConsentryError) as caught:
        load_pack(b"\xff\xfe[pack]", name="example.toml")
    assert caught.value.reason is Reason.PACK_INVALID


def test_a_group_never_mixes_rules_always_asked_with_others() -> None:
    more = (
        '[[rule]]\nid = "OH-2"\ntitle = "x"\ncitation = "y"\nalways = true\ngroup = "collect"\n'
        'require = ["told"]\notherwise = "DENY"\n'
    )
    error = refused(SMALL.replace("[[exemption]]", f"{more}\n[[exemption]]", 1))
    assert error.metadata["key"] == "group"


def test_a_rule_that_is_always_asked_belongs_to_no_regime() -> None:
    text = SMALL.replace('is = "REGULATED"', 'is = "REGULATED"\nregime = "r"', 1)
    error = refused(text.replace('group = "collect"', 'group = "collect"\nregime = "r"\nalways = true', 1))
    assert error.metadata == {"file": "example.toml", "rule": "rule OH-1", "key": "regime"}


def test_the_case_of_the_same_id_twice_is_refused() -> None:
    case = SMALL[SMALL.index("[[case]]") :]
    assert refused(SMALL + case).metadata["rule"] == "case"


def test_authority_at_signing_is_never_asked_alone() -> None:
    text = pack_bytes("us-il-bipa.toml").decode()
    error = refused(text.replace('  "release-not-outgrown",\n', "", 1))
    assert (error.metadata["key"], "release.not_outgrown" in error.message) == ("require", True)


@pytest.mark.parametrize("outcome", ["ALLOW", "ALLOW_NONBIOMETRIC"])
def test_an_unmet_requirement_never_permits(outcome: str) -> None:
    text = pack_bytes("us-il-bipa.toml").decode()
    assert refused(text.replace('unmet = "REVIEW"', f'unmet = "{outcome}"', 1)).metadata["key"] == "unmet"


@pytest.mark.parametrize("name", ["us-il-bipa.toml", "house-base.toml"])
def test_a_line_taken_out_of_a_shipped_pack_is_refused(name: str) -> None:
    """Every line that a reader or a decision leans on is required."""
    lines = pack_bytes(name).decode().splitlines()
    for place, line in enumerate(lines):
        if line.startswith(("citation", "that", "otherwise", "is =", "text", "remedy", "code =", "id =", "title")):
            refused("\n".join(lines[:place] + lines[place + 1 :]))


def test_every_part_of_the_shipped_packs_has_a_citation_a_grade_and_a_source() -> None:
    for pack in (IL, HOUSE):
        assert pack.cases
        for part in pack.rules:
            assert part.citation
            assert part.source
            assert part.grade in Grade


def test_the_page_on_packs_lists_the_whole_vocabulary_and_every_illinois_rule() -> None:
    page = (Path(__file__).parents[3] / "docs" / "law.md").read_text(encoding="utf-8")
    words = [*CONDITIONS, *PLAIN, *CHAIN]
    rules = [part.id for part in IL.rules if not part.id.startswith(("IL-SCOPE-", "IL-15A-DESTROY", "IL-15D-TELL"))]
    assert [word for word in (*words, *rules) if f"`{word}`" not in page] == []
