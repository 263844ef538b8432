"""The packs of the cities, the states, children, the EU and the UK: their own cases, and what holds of all of them."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import Pack, load_pack, run_cases
from consentry_server.core.record.facts import OperationRequest, OptOut, Photo
from consentry_server.core.vocabulary import (
    AgeBand,
    ConsentScope,
    DataCategory,
    DeterminationKind,
    Grade,
    NoticeChannel,
    Operation,
    Outcome,
    Publisher,
    Purpose,
    SourceKind,
    Visibility,
)
from consentry_server.services.gate import with_source
from consentry_server.tenant import bundled_packs
from tests.unit.law.worlds import (
    ILLINOIS,
    NOW,
    PERMITS,
    STRANGER,
    World,
    ask,
    codes,
    days,
    make_delivery,
    make_determination,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
    pack_bytes,
    worlds,
)

ALL: tuple[Pack, ...] = tuple(pack for pack, _ in bundled_packs())
BY_ID = {pack.id: pack for pack in ALL}
WORLD = (
    "eu-ai-act-5",
    "eu-gdpr",
    "uk-gdpr",
    "us-ca-ccpa",
    "us-coppa",
    "us-md-odpa",
    "us-nyc-22-1201",
    "us-portland-34-10",
    "us-states",
)
ONLY_RESTRICT = ("eu-ai-act-5", "us-coppa", "us-nyc-22-1201", "us-portland-34-10")
CONSENT_LAWS = ("eu-gdpr", "uk-gdpr", "us-states")
VENUES = {"new_york_city_establishment": "US-NY", "portland_public_accommodation": "US-OR"}
OPT_IN = tuple(sorted({min(sheet.regions) for sheet in BY_ID["us-states"].sheets if "-CONSENT" in str(sheet.rules)}))
NOTICE_ONLY = frozenset({"US-CA", "US-IA", "US-UT"})
EVERY_DETERMINATION = tuple(
    make_determination(
        kind,
        determination_id=f"det_{kind}",
        operations=frozenset(Operation),
        purposes=frozenset(Purpose),
    )
    for kind in DeterminationKind
    if kind not in {DeterminationKind.NONBIOMETRIC, DeterminationKind.STRICT_NECESSITY}
)
"""Whatever a law of consent may ask to be determined beside the consent; nothing that stands in its place."""


def at_venue(request: OperationRequest, fact: str, here: bool | None) -> OperationRequest:
    changes: Any = {fact: here}
    return replace(request, **changes)


def strictness(outcome: Outcome) -> int:
    return outcome.strictness


@pytest.mark.parametrize("name", WORLD)
def test_every_case_of_the_pack_comes_out_beside_all_others(name: str) -> None:
    results = run_cases(BY_ID[name], ALL)
    assert results
    wrong = [(result.id, result.got, result.missing_codes) for result in results if not result.ok]
    assert wrong == []


@pytest.mark.parametrize("name", WORLD)
def test_each_rule_is_missed_by_some_case_when_it_never_comes_into_force(name: str) -> None:
    text = pack_bytes(f"{name}.toml").decode()
    others = tuple(pack for pack in ALL if pack.id != name)
    unnoticed: list[str] = []
    for block in text.split("\n[[rule]]\n")[1:]:
        rule_id = block.split('id = "', 1)[1].split('"', 1)[0]
        never = f'id = "{rule_id}"\neffective_from = 2999-01-01'
        later = text.replace(f'id = "{rule_id}"', never, 1).replace(
            "2999-01-01\neffective_from = 2026-01-01", "2999-01-01"
        )
        without = load_pack(
            re.sub(f"({never}\n(?:(?!\n\n).)*?)effective_from = 20..-..-..\n", r"\1", later, flags=re.DOTALL).encode(),
            name=name,
        )
        if all(result.ok for result in run_cases(without, (*others, without))):
            unnoticed.append(rule_id)
    assert unnoticed == []


@pytest.mark.parametrize("name", WORLD)
def test_every_part_has_a_citation_a_grade_and_a_source(name: str) -> None:
    for part in BY_ID[name].rules:
        assert part.citation
        assert "{" not in part.citation
        assert part.source
        assert part.grade in {Grade.SECONDARY, Grade.UNVERIFIED}  # statutes.md: none of these is primary


def test_all_packs_load_in_a_fifth_of_a_second() -> None:
    files = [(data, pack.id) for pack, data in bundled_packs()]
    best = min(_loading(files) for _ in range(5))
    assert best < 0.2, f"{best:.3f} s of processor time"


def _loading(files: list[tuple[bytes, str]]) -> float:
    began = time.thread_time()
    for data, name in files:
        load_pack(data, name=name)
    return time.thread_time() - began


@pytest.mark.parametrize("name", ONLY_RESTRICT)
def test_what_only_restricts_answers_for_no_region(name: str) -> None:
    """Where nothing else answers, the house baseline still asks for a release."""
    pack = BY_ID[name]
    assert all(row.status.name == "SILENT" for row in pack.parts.scope)
    region = min(pack.regions)
    request = make_request(source_kind=SourceKind.UPLOADED)
    face = named(make_subject(regions=frozenset({region}), releases=()))
    got = ask(request, face, packs=(pack, BY_ID["house-base"]), unknown=frozenset({region}))
    assert "REGION_NOT_COVERED" in codes(got)
    assert got.outcome is Outcome.DENY


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from(sorted(VENUES)), st.sampled_from([None, False]))
def test_a_venue_never_loosens(world: World, fact: str, before: bool | None) -> None:
    without = replace(world, request=at_venue(world.request, fact, before)).ask(packs=ALL)
    within = replace(world, request=at_venue(world.request, fact, here=True)).ask(packs=ALL)
    assert strictness(within.outcome) >= strictness(without.outcome)
    assert VENUES[fact] in within.faces[0].regions


@settings(max_examples=150, deadline=None)
@given(
    worlds(),
    st.sampled_from(["US-CA", "US-IA", "US-UT", "US-VA", "US-CT", "US-MD", "DE", "GB", "US-AL"]),
    st.sampled_from([frozenset[Purpose](), None]),
    st.integers(0, 60),
)
def test_an_opt_out_never_loosens(world: World, region: str, purposes: frozenset[Purpose] | None, index: int) -> None:
    subject = make_subject() if world.face.subject is None else world.face.subject
    subject = replace(subject, regions=frozenset({region}))
    tenant = replace(world.tenant, determinations=(*world.tenant.determinations, *EVERY_DETERMINATION))
    about = frozenset({world.request.purpose}) if purposes is None else purposes
    out = OptOut(index=index, time=NOW - days(60 - index), purposes=about)
    before = ask(world.request, replace(world.face, subject=subject), tenant, packs=ALL)
    after = ask(world.request, replace(world.face, subject=replace(subject, opt_outs=(out,))), tenant, packs=ALL)
    assert strictness(after.outcome) >= strictness(before.outcome)


@settings(max_examples=200, deadline=None)
@given(worlds(), st.sampled_from(["DE", "FR", "GB", *OPT_IN]))
def test_no_permission_without_a_live_release_where_a_law_asks_for_one(world: World, region: str) -> None:
    """Whatever else is determined: without any release only what is not biometric is permitted."""
    subject = replace(world.face.subject or make_subject(), regions=frozenset({region}), releases=())
    tenant = replace(world.tenant, determinations=EVERY_DETERMINATION)
    got = ask(world.request, replace(world.face, subject=subject), tenant, packs=ALL, unknown=frozenset({region}))
    assert got.outcome is not Outcome.ALLOW


def in_region(region: str, **changes: object) -> World:
    subject = replace(make_subject(regions=frozenset({region})), **changes)  # type: ignore[arg-type]
    return World(make_request(), named(subject), make_tenant(determinations=EVERY_DETERMINATION))


@pytest.mark.parametrize("region", sorted(NOTICE_ONLY))
def test_the_opt_out_states_ask_for_notice_alone(region: str) -> None:
    told = in_region(region, releases=())
    assert told.ask(packs=ALL).outcome is Outcome.ALLOW
    assert in_region(region, releases=(), deliveries=()).ask(packs=ALL).outcome is Outcome.DENY


@pytest.mark.parametrize("region", sorted(NOTICE_ONLY))
@pytest.mark.parametrize(
    "spoilt",
    [
        {"channel": NoticeChannel.PUBLIC_POLICY_PAGE},
        {"channel": NoticeChannel.SIGN},
        {"time": NOW + days(1)},
        {"index": 9},  # before the notice was published
        {"notice_version": 2},
    ],
)
def test_a_notice_that_did_not_reach_the_person_tells_nothing(region: str, spoilt: dict[str, object]) -> None:
    delivery = replace(make_delivery(), **spoilt)  # type: ignore[arg-type]
    got = in_region(region, releases=(), deliveries=(delivery,)).ask(packs=ALL)
    assert got.outcome is Outcome.DENY
    assert "NOTICE_NOT_DELIVERED" in codes(got)


def test_a_live_consent_from_before_opens_nothing_after_an_opt_out_and_a_new_one_does() -> None:
    out = OptOut(index=40, time=NOW - days(5))
    ca = in_region("US-CA", opt_outs=(out,))
    without = replace(
        ca, tenant=make_tenant(determinations=tuple(d for d in EVERY_DETERMINATION if "NECESSITY" not in d.kind))
    )
    assert without.ask(packs=ALL).outcome is Outcome.DENY
    delivery = make_delivery(delivery_id="dlv_2", index=41, time=NOW - days(3), occurred_at=NOW - days(3))
    anew = make_release(release_id="rel_2", index=42, delivery_id="dlv_2", time=NOW - days(2), signed_at=NOW - days(2))
    again = replace(
        without,
        face=named(
            make_subject(
                regions=frozenset({"US-CA"}),
                deliveries=(make_delivery(), delivery),
                releases=(make_release(), anew),
                opt_outs=(out,),
            )
        ),
    )
    assert again.ask(packs=ALL).outcome is Outcome.ALLOW
    signed_before = replace(anew, signed_at=NOW - days(6))
    assert out.ends(signed_before)  # recorded after, but signed before: it does not count


def test_an_opt_out_of_one_purpose_leaves_the_others() -> None:
    other = OptOut(index=40, time=NOW - days(5), purposes=frozenset({Purpose.ADVERTISING}))
    assert in_region("US-UT", releases=(), opt_outs=(other,)).ask(packs=ALL).outcome is Outcome.ALLOW


@pytest.mark.parametrize("region", ["DE", "GB", *OPT_IN])
def test_an_opt_out_ends_a_consent_in_the_consent_states_too(region: str) -> None:
    assert in_region(region).ask(packs=ALL).outcome is Outcome.ALLOW
    got = in_region(region, opt_outs=(OptOut(index=40, time=NOW - days(5)),)).ask(packs=ALL)
    assert got.outcome is Outcome.DENY
    assert "OPTED_OUT" in codes(got)


def test_states_without_a_law_keep_the_house_baseline() -> None:
    got = in_region("US-AL", releases=()).ask(packs=ALL)
    assert "REGION_NOT_COVERED" in codes(got)
    assert in_region("US-NY", releases=()).ask(packs=ALL).outcome is Outcome.DENY


def test_a_venue_brings_its_state_for_every_face() -> None:
    request = make_request(new_york_city_establishment=True)
    got = ask(request, faces=[named(), STRANGER], packs=ALL, unknown=ILLINOIS)
    assert all("US-NY" in face.regions for face in got.faces)
    assert "SIGNAGE_MISSING" in codes(got)


def photo(**changes: object) -> Photo:
    made = Photo(
        photo_id="pho_1", index=1, time=NOW, owner_ref="sub", photo_ref="ref", content_type="image/png", width=1,
        height=1, size=1, dek_id="dek", visibility=Visibility.UNKNOWN, published_by=Publisher.UNKNOWN,
        source_kind=SourceKind.UNKNOWN, captured_at=None, regions=frozenset(),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("fact", sorted(VENUES))
@pytest.mark.parametrize(
    ("said", "recorded", "counts"),
    [
        (None, None, None),
        (None, True, True),
        (False, True, True),
        (True, False, True),
        (True, None, True),
        (False, None, False),
        (None, False, False),
    ],
)
def test_a_venue_on_record_is_never_taken_away(
    fact: str,
    said: bool | None,
    recorded: bool | None,
    counts: bool | None,
) -> None:
    request = with_source(at_venue(make_request(), fact, said), photo(**{fact: recorded}))
    assert getattr(request, fact) is counts


@pytest.mark.parametrize("operation", [Operation.BUILD_FACE_DATABASE, Operation.ENROLL, Operation.EXTRACT_TEMPLATE])
@pytest.mark.parametrize("region", ["EU", "DE", "SE"])
def test_no_consent_and_no_determination_opens_scraped_faces_in_the_union(operation: Operation, region: str) -> None:
    world = in_region(region)
    request = make_request(operation, source_kind=SourceKind.SCRAPED, uses_face_geometry=True, identifies=True)
    got = replace(world, request=request).ask(packs=ALL)
    assert got.outcome is Outcome.DENY
    assert "UNTARGETED_SCRAPING" in codes(got)


@pytest.mark.parametrize("age", [AgeBand.UNDER_13])
@pytest.mark.parametrize("region", ["US-AL", "US-VA", "US-UT", "US-CA", "US-IL"])
def test_a_child_under_13_consents_to_nothing_anywhere_in_the_united_states(age: AgeBand, region: str) -> None:
    got = in_region(region, age_band=age).ask(packs=ALL)
    assert got.outcome is Outcome.DENY
    assert "PARENT_MISSING" in codes(got)


@pytest.mark.parametrize("kind", [DataCategory.FACE_TEMPLATE, DataCategory.VOICEPRINT])
def test_maryland_sells_nothing_whatever_is_on_record(kind: DataCategory) -> None:
    world = in_region("US-MD", releases=(make_release(scopes=frozenset(ConsentScope), recipients=frozenset({"b"})),))
    request = make_request(Operation.SELL, category=kind, recipient_id="b")
    got = replace(world, request=request).ask(packs=ALL)
    assert "SALE_FORBIDDEN" in {r.code for r in got.reasons if r.pack_id == "us-md-odpa"}


# the table of jurisdictions


STATES = pack_bytes("us-states.toml").decode()


def refused(text: str) -> ConsentryError:
    with pytest.raises(ConsentryError) as caught:
        load_pack(text.encode(), name="states.toml")
    assert caught.value.reason is Reason.PACK_INVALID
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "rule", "key"),
    [
        ('region = "US-VA"', 'region = "US-XX"', "jurisdiction US-XX", "region"),
        ('region = "US-VA"', 'region = "US-UT"', "jurisdiction US-UT", "effective_from"),
        ("effective_to = 2026-07-01", "effective_to = 2026-07-02", "jurisdiction US-CT", "effective_from"),
        ("effective_to = 2026-07-01", "effective_to = 2023-07-01", "jurisdiction US-CT", "effective_to"),
        ("effective_from = 2025-07-31", "effective_from = 2022-12-31", "jurisdiction US-MN", "effective_from"),
        ("effective_from = 2025-07-31\n", "", "jurisdiction US-MN", "effective_from"),
        ('citation = "Minn. Stat. 325M.16"\n', "", "jurisdiction US-MN", "citation"),
        ('citation = "Minn. Stat. 325M.16"', 'citation = "x"\nnote = "y"', "jurisdiction US-MN", "note"),
        ('model = "opt-in-necessary"\n', 'model = "Opt In"\n', "jurisdiction US-CT", "model"),
        ('models = ["opt-in-necessary"]', 'models = ["opt-in-never"]', "rule NECESSITY", "models"),
        ('id = "us-states"', 'id = "us-states"\nregions = ["US-VA"]', "pack", "regions"),
        ('id = "us-states"', 'id = "us-states"\neffective_to = 2030-01-01', "pack", "effective_to"),
    ],
)
def test_a_table_that_is_not_understood_is_refused(old: str, new: str, rule: str, key: str) -> None:
    assert old in STATES
    assert refused(STATES.replace(old, new, 1)).metadata == {"file": "states.toml", "rule": rule, "key": key}


def test_a_pack_without_a_table_names_regions_and_no_models() -> None:
    text = pack_bytes("eu-gdpr.toml").decode()
    assert refused(text.replace('regions = ["EU"]\n', "", 1)).metadata["key"] == "regions"
    assert (
        refused(text.replace('group = "consent"', 'group = "consent"\nmodels = ["x"]', 1)).metadata["key"] == "models"
    )


def test_each_row_speaks_for_its_own_region_with_its_own_citation() -> None:
    pack = BY_ID["us-states"]
    assert len(pack.sheets) == 19
    assert pack.regions == {region for sheet in pack.sheets for region in sheet.regions}
    for sheet in pack.sheets:
        (region,) = sheet.regions
        assert all(text.id.startswith(f"{region}-") for text in sheet.rules)
        assert sheet.sha256 == pack.sha256
    virginia = in_region("US-VA", releases=()).ask(packs=ALL)
    assert {r.citation for r in virginia.reasons if r.pack_id == "us-states"} == {"Va. Code 59.1-578(A)(5)"}
    assert ask(face=STRANGER, packs=(BY_ID["us-states"],), unknown=frozenset({"US-IA"})).outcome not in PERMITS
