"""Texas, Washington and Colorado: the packs' own cases, what has to hold whatever the facts, and the dates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.law import CaseResult, Decision, ObligationKind, Pack, decide, load_pack, run_cases
from consentry_server.core.law.circumstances import LEAVING
from consentry_server.core.record.facts import Face, Release, SatisfiedPurpose, Term
from consentry_server.core.vocabulary import (
    BIOMETRIC_CATEGORIES,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    NoticeChannel,
    Operation,
    Outcome,
    Purpose,
    Relationship,
    ReleaseForm,
    TermEnd,
)
from tests.unit.law.worlds import (
    NOW,
    PACKS,
    PERMITS,
    STRANGER,
    UNKNOWN_REGIONS,
    World,
    ask,
    codes,
    days,
    make_delivery,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
    pack_bytes,
    worlds,
)

TX, CO, WA, MHMDA = (
    load_pack(pack_bytes(name), name=name)
    for name in ("us-tx-cubi.toml", "us-co-biometric.toml", "us-wa-19375.toml", "us-wa-mhmda.toml")
)
NEW = (TX, CO, WA, MHMDA)
STATE_LAWS = {"us-il-bipa", "us-tx-cubi", "us-co-biometric", "us-wa-mhmda"}
ALL = (*PACKS, *NEW)
RESULTS = [result for pack in NEW for result in run_cases(pack, ALL)]
STATES = st.sampled_from(["US-IL", "US-TX", "US-CO", "US-WA", "US-OH"])
SALES = frozenset({Operation.SELL, Operation.LEASE, Operation.TRADE})
IMAGES = frozenset({DataCategory.PHOTO, DataCategory.VIDEO, DataCategory.GOV_ID_IMAGE, DataCategory.IMAGE_HASH})
KEEPS_A_PICTURE_A_PICTURE = frozenset({Operation.STORE, Operation.RETAIN, Operation.DISPLAY})
COLLECT, SHARE, SELL = (frozenset({scope}) for scope in (ConsentScope.COLLECT, ConsentScope.SHARE, ConsentScope.SELL))
TEXAS, COLORADO, WASHINGTON = (frozenset({region}) for region in ("US-TX", "US-CO", "US-WA"))
RETAIN = make_request(Operation.RETAIN, category=DataCategory.FACE_TEMPLATE, stored=True)
OPEN = make_tenant(make_notice(term=Term(end=TermEnd.PURPOSE_SATISFIED)))


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: f"{r.pack_id}:{r.id}")
def test_the_packs_own_cases(result: CaseResult) -> None:
    assert result.ok, result


@pytest.mark.parametrize("pack", NEW, ids=lambda pack: pack.id)
def test_every_rule_is_seen_to_deny_and_to_be_met_among_the_packs_own_cases(pack: Pack) -> None:
    """CONTRIBUTING, "Add a law pack": one case that each rule denies and one that it lets pass; exemptions exempt."""
    blocked: set[str] = set()
    permitted: set[str] = set()
    noon = datetime.combine(pack.evaluated_as_of, time(12), tzinfo=UTC)
    (region,) = pack.regions
    for case in pack.cases:
        now = case.at or noon
        decision = decide(
            case.request,
            case.facts(now, region)[:1],
            case.facts(now, region)[1],
            (pack,) if case.alone else ALL,
            now=now,
            unknown_regions=pack.regions,
        )
        (permitted if decision.outcome in PERMITS else blocked).update(reason.rule_id for reason in decision.reasons)
    rules = {rule.text.id for rule in pack.parts.rules}
    exemptions = {exemption.text.id for exemption in pack.parts.exemptions}
    assert rules - blocked == set()
    assert rules - permitted == {"CO-1314-SALE"} & rules  # nothing meets it
    assert exemptions - permitted <= {each for each in exemptions if each.endswith(("-TRANSIENT", "-WHOLE-IMAGE"))}


# whatever the facts


@st.composite
def state_worlds(draw: st.DrawFn, regions: frozenset[str]) -> World:
    """A world of one state, with consents for one thing at a time as often as bundled ones."""
    world = draw(worlds(regions=regions))
    subject = world.face.subject
    if subject is None:
        return world
    scopes = st.sampled_from([COLLECT, COLLECT, SHARE, SELL, COLLECT | SHARE, COLLECT | SHARE | SELL])
    releases = tuple(
        replace(release, scopes=draw(scopes), condition_of_employment=draw(st.booleans()))
        for release in subject.releases
    )
    return replace(world, face=replace(world.face, subject=replace(subject, releases=releases)))


def with_releases(world: World, releases: tuple[Release, ...]) -> World:
    assert world.face.subject is not None
    return replace(world, face=replace(world.face, subject=replace(world.face.subject, releases=releases)))


def is_live(release: Release, world: World) -> bool:
    """Whether a release carries the request's purpose now; written without the product's own code."""
    subject = world.face.subject
    assert subject is not None
    ended = [s for s in subject.satisfied if s.purpose is world.request.purpose]
    return (
        world.request.purpose in release.purposes
        and release.withdrawn_at is None
        and (release.expires_at is None or release.expires_at > NOW)
        and release.signed_at <= release.time <= NOW
        and not any(release.index < s.index or release.signed_at <= s.time for s in ended)
    )


def live(world: World, *scopes: frozenset[ConsentScope]) -> bool:
    subject = world.face.subject
    return subject is not None and any(
        is_live(release, world) and (not scopes or release.scopes in scopes) for release in subject.releases
    )


def leaves(world: World) -> bool:
    request = world.request
    return (
        request.operation in LEAVING
        or bool(request.recipient_id)
        or request.disclosure_basis is not DisclosureBasis.NONE
    )


def undetermined(world: World) -> World:
    return replace(world, tenant=replace(world.tenant, determinations=()))


@settings(max_examples=400)
@given(world=state_worlds(TEXAS))
def test_texas_allows_nothing_without_a_live_consent_and_consent_discloses_nothing(world: World) -> None:
    """Tex. Bus. & Com. Code 503.001(b), (c)(1); no determination on record."""
    world = undetermined(world)
    if world.ask(packs=(TX,)).outcome is Outcome.ALLOW:
        assert live(world)
        assert not leaves(world) or world.request.disclosure_basis is DisclosureBasis.FINANCIAL_TRANSACTION
        assert not leaves(world) or world.request.has_disclosure_evidence


@settings(max_examples=400)
@given(world=state_worlds(COLORADO))
def test_colorado_allows_nothing_without_a_live_consent_and_sells_nothing(world: World) -> None:
    """C.R.S. 6-1-1314(4), (6)."""
    world = undetermined(world)
    if world.ask(packs=(CO,)).outcome is Outcome.ALLOW:
        assert live(world)
        assert world.request.operation not in SALES
        assert world.request.consideration is not Consideration.VALUE
        assert not leaves(world) or world.request.consideration is Consideration.NONE
        subject = world.face.subject
        assert subject is not None
        assert subject.last_interaction is None or NOW - subject.last_interaction < days(731)


@settings(max_examples=400)
@given(world=state_worlds(WASHINGTON))
def test_my_health_my_data_wants_a_basis_of_its_own_for_each(world: World) -> None:
    """RCW 19.373.030, .070: nothing bundled, nothing shared on a consent to collecting, nothing sold unauthorized."""
    world = undetermined(world)
    if world.ask(packs=(MHMDA,)).outcome is Outcome.ALLOW:
        assert world.request.operation not in SALES
        if world.request.operation is not Operation.DISCLOSE:
            assert live(world, COLLECT)
        if leaves(world):
            assert live(world, SHARE)
            assert world.request.consideration is Consideration.NONE


@settings(max_examples=400)
@given(world=state_worlds(frozenset()), homes=st.sets(STATES), more=st.sets(STATES))
def test_adding_a_region_never_loosens(world: World, homes: set[str], more: set[str]) -> None:
    def living(regions: set[str]) -> Decision:
        face = world.face
        if face.subject is not None:
            face = replace(face, subject=replace(face.subject, regions=frozenset(regions)))
        else:
            face = replace(face, regions=frozenset(regions))
        return replace(world, face=face).ask(packs=ALL, unknown=UNKNOWN_REGIONS)

    assume(homes)
    assert living(homes | more).outcome.strictness >= living(homes).outcome.strictness


@settings(max_examples=300)
@given(world=state_worlds(frozenset({"US-TX", "US-CO", "US-WA"})), data=st.data())
def test_removing_or_withdrawing_a_release_never_permits(world: World, data: st.DataObject) -> None:
    assume(world.face.subject is not None and world.face.subject.releases)
    assert world.face.subject is not None
    releases = world.face.subject.releases
    gone = data.draw(st.integers(0, len(releases) - 1))
    for pack in (TX, CO, WA, MHMDA):
        if world.ask(packs=(pack,)).outcome in PERMITS:
            continue
        rest = releases[:gone] + releases[gone + 1 :]
        assert with_releases(world, rest).ask(packs=(pack,)).outcome not in PERMITS
        withdrawn = replace(releases[gone], withdrawn_at=NOW, withdrawn_index=99)
        assert with_releases(world, (*rest, withdrawn)).ask(packs=(pack,)).outcome not in PERMITS


@settings(max_examples=500)
@given(
    world=state_worlds(frozenset({"US-TX", "US-CO", "US-WA"})),
    fact=st.sampled_from(["uses_face_geometry", "identifies", "stored", "linked_identity"]),
    known=st.booleans(),
)
def test_an_unknown_fact_never_permits_what_a_known_one_does_not(world: World, fact: str, known: bool) -> None:
    # Keeping or showing a picture as a picture scans and names nobody unless the caller says that it does.
    assume(world.request.operation not in KEEPS_A_PICTURE_A_PICTURE or fact == "stored")
    assume(fact != "uses_face_geometry" or world.request.category in IMAGES | BIOMETRIC_CATEGORIES)
    unset: dict[str, Any] = {fact: None}
    said: dict[str, Any] = {fact: known}
    for pack in NEW:
        if replace(world, request=replace(world.request, **unset)).ask(packs=(pack,)).outcome in PERMITS:
            silent = pack is WA  # it asks for none of these facts
            after = replace(world, request=replace(world.request, **said)).ask(packs=(pack,)).outcome
            assert silent or after in PERMITS


@settings(max_examples=300)
@given(world=state_worlds(frozenset({"US-TX", "US-CO", "US-WA"})))
def test_with_all_packs_an_allow_always_has_a_basis_on_record(world: World) -> None:
    decision = world.ask(packs=ALL, unknown=UNKNOWN_REGIONS)
    if decision.outcome is Outcome.ALLOW:
        assert decision.faces[0].release_ids or decision.faces[0].determination_ids
        assert decision.faces[0].basis


@pytest.mark.parametrize("region", sorted(TEXAS | COLORADO | WASHINGTON))
def test_the_worlds_above_are_allowed_often_enough_to_say_something(region: str) -> None:
    apart = make_release(release_id="rel_2", index=31, scopes=SHARE, recipients=frozenset({"vendor"}))
    subject = make_subject(regions=frozenset({region}), releases=(make_release(), apart))
    assert ask(face=named(subject), packs=ALL).outcome is Outcome.ALLOW


# where nobody knows where a person lives


def unknown(**changes: Any) -> Decision:
    subject = make_subject(regions=frozenset(), **changes)
    return ask(face=named(subject), packs=ALL, unknown=UNKNOWN_REGIONS)


def test_an_unknown_region_asks_each_law_and_one_full_release_still_carries() -> None:
    """statutes.md 11: Illinois, Texas, Colorado, Washington's My Health My Data, and the EU until a pack answers."""
    allowed = unknown()
    assert allowed.outcome is Outcome.ALLOW
    assert {reason.pack_id for reason in allowed.reasons} >= STATE_LAWS
    assert "WA_19375_EXCLUDED_PHOTO_DERIVED" in codes(allowed)
    denied = unknown(releases=())
    assert denied.outcome is Outcome.DENY
    assert {reason.pack_id for reason in denied.reasons} >= STATE_LAWS


def test_a_stranger_anywhere_is_denied_and_a_picture_of_nobody_is_a_picture() -> None:
    assert ask(face=STRANGER, packs=ALL, unknown=UNKNOWN_REGIONS).outcome is Outcome.DENY
    kept = make_request(Operation.STORE, purpose=Purpose.PHOTO_HOSTING, uses_face_geometry=False, identifies=False)
    decision = ask(kept, STRANGER, packs=ALL, unknown=UNKNOWN_REGIONS)
    assert decision.outcome is Outcome.ALLOW_NONBIOMETRIC


def test_a_covered_region_is_no_longer_judged_by_the_house_baseline() -> None:
    face = named(make_subject(regions=TEXAS, releases=()))
    assert "REGION_NOT_COVERED" in codes(ask(face=face, packs=PACKS))
    assert "REGION_NOT_COVERED" not in codes(ask(face=face, packs=ALL))


def test_a_general_consent_to_sharing_discloses_in_colorado_and_not_in_texas() -> None:
    request = make_request(
        Operation.DISCLOSE,
        category=DataCategory.FACE_TEMPLATE,
        recipient_id="vendor",
        disclosure_basis=DisclosureBasis.CONSENT,
        consideration=Consideration.NONE,
    )
    tenant = make_tenant(make_notice(recipients=frozenset({"vendor"})))
    release = make_release(scopes=COLLECT | SHARE, recipients=frozenset({"vendor"}))

    def living(region: str) -> Decision:
        return ask(request, named(make_subject(regions=frozenset({region}), releases=(release,))), tenant, packs=ALL)

    assert living("US-CO").outcome is Outcome.ALLOW
    assert codes(living("US-TX")) == {"DISCLOSURE_BASIS"}
    assert "CONSENT_BUNDLED" in codes(living("US-WA"))


# dates


def destroy_by(decision: Decision) -> datetime | None:
    return next((o.due for o in decision.faces[0].obligations if o.kind is ObligationKind.DESTROY_BY), None)


def kept(region: frozenset[str], pack: Pack, now: datetime = NOW, **changes: Any) -> Decision:
    tenant = changes.pop("tenant", make_tenant())
    return ask(RETAIN, named(make_subject(regions=region, **changes)), tenant, packs=(pack,), now=now)


def test_texas_destroys_thirty_days_after_the_purpose_at_the_latest_a_year() -> None:
    """503.001(c)(3): a reasonable time (DEFAULT thirty days), not later than the first anniversary."""
    signed = NOW - days(10)
    assert destroy_by(kept(TEXAS, TX)) == signed + days(365) + days(30)
    ends = NOW + days(5)
    assert destroy_by(kept(TEXAS, TX, releases=(make_release(expires_at=ends),))) == ends + days(30)


@pytest.mark.parametrize(
    ("satisfied", "now", "late"),
    [
        (datetime(2025, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 23, 11, 59, 59, 999999, tzinfo=UTC), False),
        (datetime(2025, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 23, 12, tzinfo=UTC), True),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2029, 2, 28, 11, 59, tzinfo=UTC), False),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2029, 2, 28, 12, tzinfo=UTC), True),
    ],
)
def test_texas_says_destroy_now_from_the_anniversary_on(satisfied: datetime, now: datetime, late: bool) -> None:
    """Texas v. Meta; both sides of the first anniversary, 29 February too."""
    decision = kept(
        TEXAS,
        TX,
        now=now,
        tenant=OPEN,
        releases=(make_release(time=satisfied - days(99), signed_at=satisfied - days(99)),),
        satisfied=(SatisfiedPurpose(Purpose.TAGGING, 40, satisfied),),
    )
    assert decision.outcome is Outcome.DENY
    assert ("DESTROY_NOW" in codes(decision)) is late


@pytest.mark.parametrize(
    ("changes", "late"),
    [
        ({"withdrawn_at": NOW - days(366), "withdrawn_index": 9}, True),
        ({"withdrawn_at": NOW - days(364), "withdrawn_index": 9}, False),
        ({"expires_at": NOW - days(366)}, True),
        ({"expires_at": NOW - days(364)}, False),
        ({"expires_at": NOW - days(364), "withdrawn_at": NOW - days(366), "withdrawn_index": 9}, True),
        ({}, False),
    ],
)
def test_a_purpose_ends_with_withdrawal_and_expiry_too(changes: dict[str, Any], late: bool) -> None:
    release = make_release(time=NOW - days(900), signed_at=NOW - days(900), **changes)
    assert ("DESTROY_NOW" in codes(kept(TEXAS, TX, tenant=OPEN, releases=(release,)))) is late


def test_a_purpose_is_open_as_long_as_one_release_carries_it() -> None:
    gone = make_release(time=NOW - days(900), signed_at=NOW - days(900), expires_at=NOW - days(800))
    again = make_release(release_id="rel_2", index=31)
    later = replace(gone, release_id="rel_3", index=32, expires_at=NOW - days(100))
    assert "DESTROY_NOW" not in codes(kept(TEXAS, TX, tenant=OPEN, releases=(gone, later)))
    assert "DESTROY_NOW" in codes(kept(TEXAS, TX, tenant=OPEN, releases=(gone,)))
    decision = kept(TEXAS, TX, tenant=OPEN, releases=(gone, again))
    assert decision.outcome is Outcome.ALLOW
    assert decision.faces[0].release_ids == ("rel_2",)


def test_a_document_that_another_law_keeps_moves_the_date_and_permits_keeping_alone() -> None:
    """503.001(c-1): no later than a year after the document need no longer be kept."""
    until = NOW + days(90)
    document = make_determination(
        DeterminationKind.TX_RETENTION_REQUIRED,
        operations=frozenset({Operation.RETAIN}),
        purposes=frozenset({Purpose.TAGGING}),
        subject_ref="sub-anna",
        expires_at=until,
    )
    satisfied = (SatisfiedPurpose(Purpose.TAGGING, 40, NOW - days(800)),)
    tenant = make_tenant(determinations=(document,))
    decision = kept(TEXAS, TX, tenant=tenant, satisfied=satisfied)
    assert decision.outcome is Outcome.ALLOW
    assert destroy_by(decision) == until + days(365)
    longer = replace(document, determination_id="det_2", expires_at=until + days(90))
    for idle in (replace(longer, subject_ref="sub-bob"), replace(longer, approved_by="")):
        both = make_tenant(determinations=(document, idle))
        assert destroy_by(kept(TEXAS, TX, tenant=both, satisfied=satisfied)) == until + days(365)
    other = make_tenant(determinations=(replace(document, subject_ref="sub-bob"),))
    assert kept(TEXAS, TX, tenant=other, satisfied=satisfied).outcome is Outcome.DENY
    unapproved = make_tenant(determinations=(replace(document, approved_by=""),))
    assert kept(TEXAS, TX, tenant=unapproved, satisfied=satisfied).outcome is Outcome.DENY


def unnecessary(**changes: Any) -> Any:
    made = make_determination(
        DeterminationKind.CO_STORAGE_UNNECESSARY,
        index=50,
        time=NOW - days(5),
        operations=frozenset({Operation.RETAIN}),
        purposes=frozenset({Purpose.TAGGING}),
    )
    return make_tenant(make_notice(), determinations=(replace(made, **changes),))


def test_colorado_takes_the_earliest_of_three_dates() -> None:
    """C.R.S. 6-1-1314(2)(A) to (C)."""
    assert destroy_by(kept(COLORADO, CO, tenant=OPEN)) == datetime(2028, 11, 13, 12, tzinfo=UTC)
    assert destroy_by(kept(COLORADO, CO, tenant=unnecessary())) == NOW - days(5) + days(45)
    assert destroy_by(kept(COLORADO, CO)) == NOW - days(10) + days(365)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"approved_by": ""}, True),
        ({"expires_at": NOW - days(1)}, True),
        ({"purposes": frozenset()}, True),
        ({"subject_ref": "sub-anna"}, True),
        ({"subject_ref": "sub-bob"}, False),
        ({"purposes": frozenset({Purpose.RESEARCH})}, False),
        ({"index": 29}, False),
        ({"algorithm_id": "arc", "algorithm_version": "1"}, True),
        ({"kind": DeterminationKind.TX_RETENTION_REQUIRED}, False),
    ],
)
def test_what_was_found_unnecessary_binds_what_it_is_about(changes: dict[str, Any], counts: bool) -> None:
    """It restricts: approval and expiry do not matter; a release recorded after it begins anew."""
    tenant = unnecessary(**{"time": NOW - days(45), **changes})
    release = make_release(time=NOW - days(50), signed_at=NOW - days(50))
    told = make_delivery(time=NOW - days(60), occurred_at=NOW - days(60))
    decision = kept(COLORADO, CO, tenant=tenant, releases=(release,), deliveries=(told,))
    assert ("STORAGE_UNNECESSARY" in codes(decision)) is counts
    assert (decision.outcome is Outcome.DENY) is counts


def test_a_finding_about_one_algorithm_version_is_about_that_alone() -> None:
    tenant = unnecessary(time=NOW - days(45), algorithm_id="arc", algorithm_version="1")
    face = named(make_subject(regions=COLORADO))
    for version, outcome in (("1", Outcome.DENY), ("2", Outcome.ALLOW), ("", Outcome.DENY)):
        request = replace(RETAIN, algorithm_id="arc", algorithm_version=version)
        assert ask(request, face, tenant, packs=(CO,)).outcome is outcome, version


def test_an_employer_may_require_consent_for_four_purposes_only() -> None:
    """C.R.S. 6-1-1314(6)."""
    allowed = {Purpose.SECURE_ACCESS, Purpose.WORKDAY_START_END, Purpose.WORKPLACE_SAFETY, Purpose.PUBLIC_EMERGENCY}
    for purpose in Purpose:
        notice = make_notice(purposes=frozenset({purpose}))
        for changes in ({"form": ReleaseForm.EMPLOYMENT_RELEASE}, {"condition_of_employment": True}):
            release = make_release(purposes=frozenset({purpose}), **changes)
            worker = make_subject(regions=COLORADO, releases=(release,), relationship=Relationship.EMPLOYEE)
            request = make_request(Operation.VERIFY, purpose=purpose)
            decision = ask(request, named(worker), make_tenant(notice), packs=(CO,))
            assert (decision.outcome is Outcome.ALLOW) is (purpose in allowed), purpose


@pytest.mark.parametrize("on", sorted(NoticeChannel))
def test_a_washington_notice_is_enough_by_itself_only_where_it_reached_the_person(on: NoticeChannel) -> None:
    """RCW 19.375.020(1), (2): a posted page or a sign (DEFAULT) reached nobody; and it has to come before."""
    subject = make_subject(regions=WASHINGTON, releases=())
    (delivery,) = subject.deliveries
    tenant = make_tenant(
        make_notice(purposes=frozenset({Purpose.ADVERTISING}), categories=frozenset({DataCategory.FINGERPRINT}))
    )
    request = make_request(Operation.ENROLL, purpose=Purpose.ADVERTISING, category=DataCategory.FINGERPRINT)

    def told(**changes: Any) -> Outcome:
        face = named(replace(subject, deliveries=(replace(delivery, channel=on, **changes),)))
        return ask(request, face, tenant, packs=(WA,)).outcome

    reached = on not in {NoticeChannel.SIGN, NoticeChannel.PUBLIC_POLICY_PAGE}
    assert (told() is Outcome.ALLOW) is reached
    assert told(time=NOW + timedelta(seconds=1)) is Outcome.DENY
    assert told(occurred_at=NOW + days(1)) is Outcome.DENY
    assert told(index=10) is Outcome.DENY
    assert told(notice_version=2) is Outcome.DENY
    assert ask(request, named(replace(subject, deliveries=())), tenant, packs=(WA,)).outcome is Outcome.DENY
    assert ask(request, Face(None), tenant, packs=(WA,), unknown=WASHINGTON).outcome is Outcome.DENY
