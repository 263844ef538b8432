"""A tenant's own packs can only restrict, and what could loosen is refused with file, rule and key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.law.model import ObligationKind
from consentry_server.core.law.own import MAX_PACK_BYTES, check, load_own
from consentry_server.core.vocabulary import AgeBand, Operation, Outcome
from tests.unit.law.worlds import NOW, PACKS, World, ask, codes, make_request, make_subject, named, worlds

FILE = Path(__file__).parents[2] / "data" / "packs" / "own" / "acme-minors.toml"
TOML = FILE.read_text(encoding="utf-8")

HEAD = """
[pack]
id = "acme"
version = 1
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
[requirement.named]
that = "person.identified"
code = "ACME_NAMED"
text = "Nobody is named."
remedy = "Name the person."
[requirement.determined]
that = "tenant.determination"
kind = "NONBIOMETRIC"
code = "ACME_DETERMINED"
text = "Nothing was determined."
remedy = "Determine it."
[requirement.release]
that = "release.exists"
code = "ACME_RELEASE"
text = "No release."
remedy = "Get one."
[requirement.live]
that = "release.not_withdrawn"
code = "ACME_LIVE"
text = "Withdrawn."
remedy = "Get one."
[[case]]
id = "one"
citation = "Acme"
title = "Any."
person = "UNIDENTIFIED"
request = { operation = "ENROLL", purpose = "TAGGING", category = "PHOTO" }
expect = "DENY"
"""
SCOPE = '[[scope]]\nid = "S"\ntitle = "S."\ncitation = "Acme"\nis = "SILENT"\n'
CHAINS = ("release", "live")


@st.composite
def own_packs(draw: st.DrawFn) -> str:
    """Any pack that a tenant may activate: scope rows, rules, alternatives, obligations, in any mixture."""
    made = [HEAD]
    operations = st.sampled_from(["", 'operations = ["EXTRACT_TEMPLATE", "DISPLAY"]', 'operations = ["STORE"]'])
    whens = st.sampled_from(["", "when = { region_uncovered = true }", 'when = { stored = ["YES", "UNKNOWN"] }'])
    for number in range(draw(st.integers(1, 3))):
        status = draw(st.sampled_from(["SILENT", "REGULATED", "UNDETERMINED"]))
        made.append(f'[[scope]]\nid = "ACME-S{number}"\ntitle = "Scope."\ncitation = "Acme"\nis = "{status}"')
        made += [draw(operations), draw(whens)]
        made.append('code = "ACME_SCOPE"\ntext = "In scope."\nremedy = "Ask."' if status == "UNDETERMINED" else "")
        made.append(draw(st.sampled_from(["", 'identifier = "FACE_TEMPLATE"'])))
    always = draw(st.booleans())
    for number in range(draw(st.integers(1, 4))):
        require = draw(st.sampled_from(["never", "named", "determined", "release", "live"]))
        made.append(f'[[rule]]\nid = "ACME-R{number}"\ntitle = "Rule."\ncitation = "Acme"')
        made += [draw(operations), draw(whens), f'otherwise = "{draw(st.sampled_from(["DENY", "REVIEW"]))}"']
        if draw(st.booleans()):
            made.append(f'require = ["{require}"]')
            if require in CHAINS:
                made.append(f'group = "g"\nalways = {str(always).lower()}')
            elif draw(st.booleans()):
                made.append("always = true")
        else:
            made.append('code = "ACME_NONE"\ntext = "None fits."\nremedy = "Ask."')
            if require in CHAINS:
                made.append('group = "g"')
            made.append(f'[[rule.require_one]]\nrequire = ["{require}"]')
    if draw(st.booleans()):
        made.append('[[obligation]]\nid = "ACME-O"\ntitle = "Destroy."\ncitation = "Acme"\nkind = "DESTROY_BY"')
        made.append('earliest_of = [{ event = "LAST_INTERACTION", plus = "P1M", detail = "a month" }]')
    return "\n".join(made)


@settings(max_examples=400)
@given(world=worlds(regions=frozenset({"US-IL"})), toml=own_packs(), where=st.sampled_from(["US-IL", "US-OH", "CH"]))
def test_an_own_pack_never_loosens_and_never_lengthens(world: World, toml: str, where: str) -> None:
    pack = load_own(toml.encode(), name="acme.toml")
    unknown = frozenset({where})
    for packs in (PACKS, PACKS[:1], PACKS[1:], ()):
        before, after = world.ask(packs=packs, unknown=unknown), world.ask(packs=(*packs, pack), unknown=unknown)
        assert after.outcome.strictness >= before.outcome.strictness
        for one, other in zip(before.faces, after.faces, strict=True):
            assert other.outcome.strictness >= one.outcome.strictness
            if other.outcome is Outcome.ALLOW:
                due, later = (
                    [d.due for d in face.obligations if d.kind is ObligationKind.DESTROY_BY and d.due]
                    for face in (one, other)
                )
                assert not due or (later and min(later) <= min(due))
                assert set(one.basis) <= set(other.basis)


def test_what_an_own_pack_permits_is_no_answer() -> None:
    """Where no law and no house pack answers, nothing is permitted, whatever a tenant's own pack says."""
    toml = HEAD + '[[scope]]\nid = "ACME-S"\ntitle = "S."\ncitation = "Acme"\nis = "REGULATED"\n'
    toml += '[[rule]]\nid = "ACME-R"\ntitle = "R."\ncitation = "Acme"\nrequire = ["live"]\ngroup = "g"\n'
    toml += 'otherwise = "DENY"\n'
    own = load_own(toml.encode(), name="acme.toml")
    assert ask(packs=(own,)).outcome is Outcome.DENY
    assert "NO_RULES" in codes(ask(packs=(own,)))
    assert (
        ask(packs=(load_pack(toml.encode(), name="shipped.toml"),)).outcome is Outcome.ALLOW
    )  # what it would have been


def test_the_example_restricts() -> None:
    pack = load_own(TOML.encode(), name=FILE.name)
    check(pack, name=FILE.name, bundled=PACKS, active=PACKS, now=NOW)
    packs = (*PACKS, pack)
    minor = named(make_subject(age_band=AgeBand.MINOR))
    assert ask(make_request(Operation.ENROLL), packs=packs).outcome is Outcome.ALLOW
    assert "ACME_MINOR" in codes(ask(make_request(Operation.ENROLL), minor, packs=packs))


EXEMPTION = """
[[exemption]]
id = "ACME-EX"
title = "Exempt."
citation = "Acme"
determination = "HEALTH_CARE"
rules = ["*"]
is = "EXEMPT"
"""


@pytest.mark.parametrize(
    ("old", "new", "rule", "key"),
    [
        ('id = "acme-minors"', 'id = "us-il-bipa"', "pack", "id"),
        ('id = "acme-minors"', 'id = "house-base"', "pack", "id"),
        ('id = "acme-minors"', 'id = "Acme Minors"', "pack", "id"),
        ('id = "acme-minors"', 'id = "engine"', "pack", "id"),
        ('id = "ACME-MINORS"\n', 'id = "ENGINE-NO-RULES"\n', "ENGINE-NO-RULES", "id"),
        ('text = "Acme does', 'text = "\\u001b[2JAcme does', "ACME-MINORS", "text"),
        ('regions = ["*"]', 'regions = ["US-OH"]', "pack", "regions"),
        ('regions = ["*"]', 'regions = ["US-IL", "US-OH"]', "pack", "regions"),
        ('id = "ACME-MINORS"\n', 'id = "IL-15B3-RELEASE"\n', "IL-15B3-RELEASE", "id"),
        ('is = "SILENT"', 'is = "NONBIOMETRIC"', "scope ACME-MINORS-SCOPE", "is"),
        ('is = "SILENT"', 'is = "EXEMPT"', "scope ACME-MINORS-SCOPE", "is"),
        ("[[case]]", EXEMPTION + "[[case]]", "exemption ACME-EX", "id"),
        ('otherwise = "DENY"', 'otherwise = "ALLOW"', "rule ACME-MINORS", "otherwise"),
        ("always = true", "always = true\ncolour = 1", "rule ACME-MINORS", "colour"),
        (
            'citation = "Acme privacy board, 2026-01-12, item 3"\noperations',
            "operations",
            "rule ACME-MINORS",
            "citation",
        ),
        ('require = ["never-minors"]', 'require = ["nothing"]', "rule ACME-MINORS", "require"),
        ('that = "never"', 'that = "perhaps"', "requirement.never-minors", "that"),
        ("effective_from = 2026-01-01", "effective_from = 2027-01-01", "pack", "effective_from"),
        (
            "effective_from = 2026-01-01",
            "effective_from = 2026-01-01\neffective_to = 2026-02-01",
            "pack",
            "effective_to",
        ),
        ("version = 1", f"version = {2**31}", "pack", "version"),
        ('title = "No face', f'title = "{"x" * 2001}No face', "ACME-MINORS", "title"),
        ('expect = "ALLOW"', 'expect = "DENY"', "case adult", "expect"),
        ('codes = ["ACME_MINOR"]', 'codes = ["ACME_OTHER"]', "case minor", "expect"),
        ('ages = ["UNDER_13", "MINOR", "UNKNOWN"]', 'ages = ["UNDER_13"]', "case minor", "expect"),
        ("[pack]", "[pack", "file", ""),
        ("[pack]", "deep = " + "[" * 20_000 + "\n[pack]", "file", ""),
        ("version = 1", "version = " + "9" * 10_000, "file", ""),
        ('ages = ["UNDER_13", "MINOR", "UNKNOWN"]', "any = [{ " * 300 + 'ages = ["ADULT"]' + " }]" * 300, "file", ""),
    ],
)
def test_what_could_loosen_or_cannot_be_understood_is_refused(old: str, new: str, rule: str, key: str) -> None:
    assert old in TOML

    def activate() -> None:
        pack = load_own(TOML.replace(old, new, 1).encode(), name=FILE.name)
        check(pack, name=FILE.name, bundled=PACKS, active=PACKS, now=NOW)

    with pytest.raises(ConsentryError) as raised:
        activate()
    error = raised.value
    assert error.reason is Reason.PACK_INVALID
    assert {"file": FILE.name, "rule": rule, "key": key} == error.metadata
    assert error.message.startswith(f"{FILE.name}: {rule}: ")


def test_a_pack_that_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(ConsentryError) as raised:
        load_own(b"#" * (MAX_PACK_BYTES + 1), name="x")
    assert raised.value.reason is Reason.TOO_LARGE


def version(number: int, starts: str = "2026-01-01", ends: str = "") -> Any:
    made = TOML.replace("version = 1", f"version = {number}").replace(
        "effective_from = 2026-01-01", f"effective_from = {starts}"
    )
    made = made.replace("evaluated_as_of = 2026-11-23", f"evaluated_as_of = {max(starts, '2026-11-23')}")
    if ends:
        made = made.replace("evaluated_as_of", f"effective_to = {ends}\nevaluated_as_of")
    return load_own(made.encode(), name=FILE.name)


@pytest.mark.parametrize(
    ("before", "after", "now", "refused"),
    [
        (version(1), version(2), NOW, None),
        (version(2), version(2), NOW, Reason.STATE_CONFLICT),
        (version(3), version(2), NOW, Reason.STATE_CONFLICT),
        (version(1, ends="2027-01-01"), version(2), NOW, Reason.PACK_INVALID),
        (version(1, ends="2027-01-01"), version(2, "2027-01-01"), NOW, Reason.PACK_INVALID),
        (version(1, ends="2027-01-01"), version(2, "2027-01-01"), datetime(2027, 1, 1, tzinfo=UTC), None),
        (version(1, ends="2026-11-30"), version(2, "2026-11-29"), NOW + timedelta(days=30), Reason.PACK_INVALID),
    ],
)
def test_no_day_is_without_a_version_and_none_has_two(
    before: Any, after: Any, now: datetime, refused: Reason | None
) -> None:
    def follow() -> None:
        check(after, name=FILE.name, bundled=PACKS, active=(*PACKS, before), now=now)

    if refused is None:
        follow()
        return
    with pytest.raises(ConsentryError) as raised:
        follow()
    assert raised.value.reason is refused
