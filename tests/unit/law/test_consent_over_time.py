"""Consent over time: releases end, are withdrawn, superseded, outgrown; nothing but a new one ever brings it back.

Sources: 740 ILCS 14/15(b); statutes.md 7 (minors) and 10.2; the design's rule that only a recorded release or
determination loosens.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record import fold
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.facts import Subject, Term, Withdrawal
from consentry_server.core.record.majority import CHILD, aged, begins, ends
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DisclosureBasis,
    Operation,
    Outcome,
    Purpose,
    SignerRole,
)
from tests.unit.law.worlds import (
    NOW,
    PERMITS,
    World,
    ask,
    codes,
    days,
    make_delivery,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    mostly,
    named,
    releases,
    worlds,
)

ADULT, MINOR = AgeBand.ADULT, AgeBand.MINOR
PARENT, GUARDIAN = AuthorityBasis.PARENT, AuthorityBasis.GUARDIAN


def with_subject(world: World, **changes: Any) -> World:
    assert world.face.subject is not None
    return replace(world, face=replace(world.face, subject=replace(world.face.subject, **changes)))


@st.composite
def lives(draw: st.DrawFn) -> World:
    """A world with a person, who may have withdrawn, come of age, or been signed for."""
    world = draw(worlds())
    assume(world.face.subject is not None)
    assert world.face.subject is not None
    basis = draw(st.sampled_from([None, None, *AuthorityBasis]))
    if basis is not None:
        role = SignerRole.SELF if basis is AuthorityBasis.NONE else SignerRole.REPRESENTATIVE
        who: dict[str, Any] = {"signer_role": role, "representative_ref": "" if role is SignerRole.SELF else "rep-1"}
        told, given = world.face.subject.deliveries, world.face.subject.releases
        world = with_subject(
            world,
            deliveries=tuple(replace(each, **who) for each in told),
            releases=tuple(replace(each, authority_basis=basis, **who) for each in given),
        )
    return with_subject(
        world,
        age_band=draw(st.sampled_from([ADULT, MINOR, AgeBand.UNKNOWN])),
        withdrawals=draw(
            mostly(
                (),
                (Withdrawal(20, NOW - days(12), frozenset()),),
                (Withdrawal(29, NOW - days(5), frozenset({world.request.purpose})),),
            )
        ),
        outgrown_at=draw(mostly(None, NOW - days(12), NOW - days(1), NOW + days(30))),
        adult_since=draw(mostly(None, NOW - days(12), NOW - days(1))),
        child_index=draw(mostly(-1, 20, 35)),
    )


# -- what never loosens ------------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(world=lives(), data=st.data())
def test_removing_a_release_never_permits(world: World, data: st.DataObject) -> None:
    assert world.face.subject is not None
    given = world.face.subject.releases
    assume(given)
    gone = data.draw(st.integers(0, len(given) - 1))
    if with_subject(world, releases=given[:gone] + given[gone + 1 :]).ask().outcome in PERMITS:
        assert world.ask().outcome in PERMITS


@settings(max_examples=400)
@given(world=lives(), data=st.data())
def test_superseding_never_loosens(world: World, data: st.DataObject) -> None:
    """What is permitted where one release takes the place of another is permitted where both stand."""
    assert world.face.subject is not None
    old = world.face.subject.releases
    assume(old)
    delivery, new = data.draw(releases(world.request, 9))
    both = with_subject(
        world, deliveries=(*world.face.subject.deliveries, delivery), releases=(*old, replace(new, index=60))
    )
    place = data.draw(st.integers(0, len(old) - 1))
    ended = replace(old[place], expires_at=NOW, superseded_by=new.release_id)
    after = with_subject(both, releases=(*old[:place], ended, *old[place + 1 :], replace(new, index=60)))
    if after.ask().outcome in PERMITS:
        assert both.ask().outcome in PERMITS


@settings(max_examples=500)
@given(world=lives(), later=st.integers(1, 3_000))
def test_time_alone_never_loosens(world: World, later: int) -> None:
    """Where everything on record has begun already, waiting permits nothing."""
    subject = world.face.subject
    assert subject is not None
    begun = [notice.effective_time for notice in world.tenant.notices.values()]
    begun += [policy.effective_time for policy in world.tenant.policies]
    begun += [made.time for made in world.tenant.determinations]
    begun += [time for each in subject.deliveries for time in (each.time, each.occurred_at)]
    begun += [time for each in subject.releases for time in (each.time, each.signed_at)]
    begun += [subject.last_interaction or NOW]
    assume(max(begun) <= NOW)
    if world.ask(now=NOW + days(later)).outcome in PERMITS:
        assert world.ask().outcome in PERMITS


CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "age_band": st.sampled_from(["UNDER_13", "MINOR", "ADULT"]),
        "majority_quarter": st.sampled_from(["2019-Q1", "2026-Q3", "2026-Q4", "2027-Q1", "2031-Q2"]),
    },
)


@settings(max_examples=800)
@given(world=lives(), claims=CLAIMS, later=st.sampled_from([0, 1, 60, 2_000]))
def test_no_claim_of_age_ever_makes_a_recorded_release_good(world: World, claims: dict[str, str], later: int) -> None:
    subject = world.face.subject
    assert subject is not None
    assume(subject.age_band is not AgeBand.UNKNOWN or claims.get("age_band") != "ADULT")
    assume(all(each.signed_at <= each.time <= NOW for each in subject.releases))
    said = replace(world, face=replace(world.face, subject=aged(subject, claims, NOW, 99)))
    now = NOW + days(later)
    if said.ask(now=now).outcome in PERMITS:
        assert world.ask(now=now).outcome in PERMITS


@settings(max_examples=400)
@given(world=lives(), band=st.sampled_from([AgeBand.UNDER_13, MINOR, ADULT]))
def test_no_claim_of_age_with_a_question_permits_more(world: World, band: AgeBand) -> None:
    silent = replace(world, face=replace(world.face, age_band=AgeBand.UNKNOWN))
    assert silent.face.subject is not None
    assume(silent.face.subject.age_band is not AgeBand.UNKNOWN or band is not ADULT)
    if replace(world, face=replace(world.face, age_band=band)).ask().outcome in PERMITS:
        assert silent.ask().outcome in PERMITS


# -- withdrawal is never undone ----------------------------------------------------------------------------------------


class Records:
    """The fold's records in memory."""

    def __init__(self) -> None:
        self.held: dict[tuple[Any, str], Any] = {}

    def get(self, kind: Any, key: str) -> Any:
        return self.held.get((kind, key))

    def put(self, kind: Any, key: str, record: Any) -> None:
        self.held[kind, key] = record


class Life:
    """One person's entries, folded as they come."""

    def __init__(self) -> None:
        self.records = Records()
        self.index = 100
        self.now = NOW

    @property
    def subject(self) -> Subject:
        found = self.records.get(Subject, "sub-anna")
        return found if found is not None else Subject("sub-anna", regions=frozenset({"US-IL"}))

    def entry(self, kind: str, **body: Any) -> None:
        self.index += 1
        people = [{"subject_ref": "sub-anna"}]
        time = self.now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        fold.apply(self.records, {"type": kind, "index": self.index, "time": time, "people": people, **body})

    def deliver(self, role: SignerRole = SignerRole.SELF, **claims: Any) -> None:
        made = make_delivery(
            delivery_id=f"dlv_{role}",
            occurred_at=self.now,
            signer_role=role,
            representative_ref="rep" if role is SignerRole.REPRESENTATIVE else "",
        )
        body = {"delivery": to_plain(made)}
        self.entry("notice.delivered", claims={"regions": ["US-IL"], **claims}, **body)

    def release(self, signed: datetime, basis: AuthorityBasis = AuthorityBasis.NONE, **more: Any) -> str:
        role = SignerRole.SELF if basis is AuthorityBasis.NONE else SignerRole.REPRESENTATIVE
        name = f"rel_{self.index}"
        made = make_release(
            release_id=name,
            delivery_id=f"dlv_{role}",
            signed_at=signed,
            signer_role=role,
            authority_basis=basis,
            representative_ref="rep" if role is SignerRole.REPRESENTATIVE else "",
        )
        self.entry("release.recorded", release=to_plain(made), **more)
        return name

    def ask(self, now: datetime | None = None) -> Any:
        return ask(face=named(self.subject), now=now or self.now)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("release"), st.integers(0, 5)),
        st.tuples(st.just("withdraw"), st.integers(0, 3)),
        st.tuples(st.just("all"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 2)),
    ),
    max_size=8,
)


@settings(max_examples=600)
@given(EVENTS)
def test_who_withdrew_is_granted_nothing_without_a_release_signed_and_recorded_since(
    events: list[tuple[str, int]],
) -> None:
    """The model: a release supports while it stands and was signed after every withdrawal recorded before it."""
    life = Life()
    life.deliver(age_band="ADULT")
    begun = life.now
    given: dict[str, bool] = {}
    last_withdrawal: datetime | None = None
    for what, number in events:
        life.now += timedelta(minutes=1)
        match what:
            case "release":
                signed = max(begun, life.now - timedelta(minutes=number))
                given[life.release(signed)] = last_withdrawal is None or signed > last_withdrawal
            case "wait":
                life.now += timedelta(hours=number)
            case _:
                names = [each.release_id for each in life.subject.releases if each.withdrawn_at is None]
                if not names:
                    continue
                gone = names if what == "all" else [names[number % len(names)]]
                life.entry("release.withdrawn", releases=gone, all=what == "all")
                last_withdrawal = life.now
                given.update(dict.fromkeys(gone, False))
    assert (life.ask().outcome is Outcome.ALLOW) is any(given.values())


def test_a_paper_signed_before_everything_was_withdrawn_and_recorded_after_it_is_no_consent() -> None:
    life = Life()
    life.deliver(age_band="ADULT")
    life.now += days(1)
    first = life.release(life.now)
    life.now += days(2)
    life.entry("release.withdrawn", releases=[first], all=True)
    withdrawn_at = life.now
    life.now += days(1)
    life.release(withdrawn_at - days(1))
    assert codes(life.ask()) >= {"RELEASE_WITHDRAWN"}
    life.release(withdrawn_at)
    assert life.ask().outcome is Outcome.DENY
    life.release(withdrawn_at + timedelta(microseconds=1))
    assert life.ask().outcome is Outcome.ALLOW


# -- terms, renewals, supersession -------------------------------------------------------------------------------------


def test_a_renewal_starts_a_new_term_and_what_it_supersedes_counts_no_more() -> None:
    life = Life()
    life.deliver(age_band="ADULT")
    first = life.release(life.now)
    life.now += days(364)
    second = life.release(life.now, supersedes=first)
    old, new = life.subject.releases
    assert (old.release_id, old.expires_at, old.superseded_by) == (first, life.now, second)
    assert (new.expires_at, new.superseded_by) == (None, "")
    decision = life.ask()
    assert decision.faces[0].release_ids == (second,)
    assert life.ask(life.now + days(365) - timedelta(microseconds=1)).outcome is Outcome.ALLOW
    assert codes(life.ask(life.now + days(365))) == {"TERM_OVER"}


def test_a_narrower_release_that_supersedes_leaves_nothing_of_the_wider_one() -> None:
    wide = make_release(purposes=frozenset({Purpose.TAGGING, Purpose.ACCOUNT_SECURITY}), expires_at=NOW)
    narrow = make_release(release_id="rel_2", index=31, purposes=frozenset({Purpose.ACCOUNT_SECURITY}))
    tenant = make_tenant(make_notice(purposes=frozenset({Purpose.TAGGING, Purpose.ACCOUNT_SECURITY})))
    face = named(make_subject(releases=(wide, narrow)))
    assert ask(face=face, tenant=tenant).outcome is Outcome.DENY
    security = make_request(purpose=Purpose.ACCOUNT_SECURITY)
    assert ask(security, face, tenant).outcome is Outcome.ALLOW


@pytest.mark.parametrize(
    ("recorded", "zone"),
    [
        (datetime(2028, 2, 29, 12, tzinfo=UTC), UTC),
        (datetime(2027, 3, 14, 9, 59, tzinfo=UTC), ZoneInfo("America/Chicago")),  # the clocks go forward that day
        (datetime(2027, 11, 7, 6, 30, tzinfo=UTC), ZoneInfo("America/Chicago")),  # 01:30 comes twice
        (datetime(2027, 1, 1, tzinfo=UTC), timezone(timedelta(hours=14))),
    ],
)
@pytest.mark.parametrize("length", [timedelta(days=1), timedelta(days=30), timedelta(days=365)])
def test_a_term_is_so_many_seconds_whatever_zone_or_calendar_stands_beside_it(
    recorded: datetime, zone: Any, length: timedelta
) -> None:
    local = recorded.astimezone(zone)
    release = make_release(time=recorded, signed_at=local)
    tenant = make_tenant(make_notice(term=Term(duration=length)))
    face = named(make_subject(releases=(release,), last_interaction=recorded))
    last = recorded + length - timedelta(microseconds=1)
    for now in (last, last.astimezone(zone)):
        assert ask(face=face, tenant=tenant, now=now).outcome is Outcome.ALLOW
    for now in (recorded + length, (recorded + length).astimezone(zone)):
        assert codes(ask(face=face, tenant=tenant, now=now)) == {"TERM_OVER"}


@pytest.mark.parametrize("category", [DataCategory.EMPLOYMENT_HISTORY, DataCategory.JOB_SEARCH_ACTIVITY])
def test_a_stated_term_ends_the_use_of_personal_data_too(category: DataCategory) -> None:
    purposes, categories = frozenset({Purpose.JOB_RECOMMENDATION}), frozenset({category})
    request = make_request(Operation.PROCESS, purpose=Purpose.JOB_RECOMMENDATION, category=category)
    face = named(make_subject(releases=(make_release(purposes=purposes, categories=categories),)))

    def answer(term: Term | None) -> Outcome:
        tenant = make_tenant(make_notice(purposes=purposes, categories=categories, term=term))
        return ask(request, face, tenant).outcome

    assert answer(Term(duration=days(11))) in PERMITS
    assert answer(None) in PERMITS  # no law of the packs asks for a term here
    assert answer(Term(duration=days(10))) is Outcome.DENY


# -- separate consents -------------------------------------------------------------------------------------------------

ALL_SCOPES = tuple(ConsentScope)
SUBSETS = [frozenset(some) for count in range(1, 5) for some in combinations(ALL_SCOPES, count)]


def asked(operation: Operation, category: DataCategory) -> Any:
    leaves = operation in {Operation.DISCLOSE, Operation.SELL}
    purpose = Purpose.MODEL_TRAINING if operation is Operation.TRAIN_MODEL else Purpose.TAGGING
    return make_request(
        operation,
        purpose=purpose,
        category=category,
        recipient_id="cloud" if leaves else "",
        disclosure_basis=DisclosureBasis.CONSENT if operation is Operation.DISCLOSE else DisclosureBasis.NONE,
        consideration=Consideration.NONE,
    )


@pytest.mark.parametrize("scopes", SUBSETS, ids=lambda each: "+".join(sorted(each)))
@pytest.mark.parametrize(
    ("operation", "category", "needed"),
    [
        (Operation.EXTRACT_TEMPLATE, DataCategory.PHOTO, {ConsentScope.COLLECT}),
        (Operation.DISCLOSE, DataCategory.FACE_TEMPLATE, {ConsentScope.SHARE}),
        (Operation.TRAIN_MODEL, DataCategory.PHOTO, {ConsentScope.COLLECT, ConsentScope.TRAIN}),
        (Operation.PROCESS, DataCategory.EMPLOYMENT_HISTORY, {ConsentScope.COLLECT}),
        (Operation.DISCLOSE, DataCategory.EMPLOYMENT_HISTORY, {ConsentScope.SHARE}),
        (Operation.TRAIN_MODEL, DataCategory.EMPLOYMENT_HISTORY, {ConsentScope.COLLECT, ConsentScope.TRAIN}),
        (Operation.SELL, DataCategory.EMPLOYMENT_HISTORY, {ConsentScope.SHARE, ConsentScope.SELL}),
    ],
)
def test_no_consent_stands_for_another(
    operation: Operation, category: DataCategory, needed: set[ConsentScope], scopes: frozenset[ConsentScope]
) -> None:
    request = asked(operation, category)
    everything = frozenset(DataCategory)
    face = named(
        make_subject(
            releases=(
                make_release(
                    purposes=frozenset({request.purpose}),
                    categories=everything,
                    recipients=frozenset({"cloud"}),
                    scopes=scopes,
                ),
            )
        )
    )
    tenant = make_tenant(
        make_notice(purposes=frozenset({request.purpose}), categories=everything, recipients=frozenset({"cloud"}))
    )
    assert (ask(request, face, tenant).outcome in PERMITS) is (needed <= scopes)


@pytest.mark.parametrize("scopes", SUBSETS, ids=lambda each: "+".join(sorted(each)))
def test_no_consent_sells_a_template(scopes: frozenset[ConsentScope]) -> None:
    release = make_release(scopes=scopes, recipients=frozenset({"cloud"}))
    tenant = make_tenant(make_notice(recipients=frozenset({"cloud"})))
    request = asked(Operation.SELL, DataCategory.FACE_TEMPLATE)
    assert ask(request, named(make_subject(releases=(release,))), tenant).outcome is Outcome.DENY


# -- coming of age -----------------------------------------------------------------------------------------------------


def child(**claims: Any) -> Life:
    """A child whose parent was told and signed."""
    life = Life()
    life.deliver(SignerRole.REPRESENTATIVE, age_band="MINOR", **claims)
    life.now += days(1)
    life.release(life.now, PARENT)
    return life


def test_a_parents_release_is_for_review_from_the_quarter_of_majority_on() -> None:
    life = child(majority_quarter="2027-Q2")
    assert life.subject.age_band is MINOR
    first = datetime(2027, 3, 31, 10, tzinfo=UTC)  # 1 April begins at UTC+14
    assert life.ask(first - timedelta(microseconds=1)).outcome is Outcome.ALLOW
    decision = life.ask(first)
    assert (decision.outcome, codes(decision)) == (Outcome.REVIEW, {"RELEASE_OUTGROWN"})
    life.now = first + days(3)
    life.release(life.now, PARENT)
    assert life.ask().outcome is Outcome.REVIEW  # a parent signing again changes nothing


@pytest.mark.parametrize("quarter", ["", "2027-Q2"])
def test_a_claim_that_the_child_is_an_adult_puts_the_parents_release_up_for_review(quarter: str) -> None:
    life = child(**({"majority_quarter": quarter} if quarter else {}))
    assert life.ask().outcome is Outcome.ALLOW
    life.entry("interaction.recorded", claims={"age_band": "ADULT"})
    assert life.subject.age_band is MINOR  # and makes nobody an adult before the quarter
    assert life.ask().outcome is Outcome.REVIEW


def test_a_claim_in_the_question_alone_puts_the_parents_release_up_for_review() -> None:
    life = child()
    assert ask(face=named(life.subject, age_band=ADULT), now=life.now).outcome is Outcome.REVIEW
    assert ask(face=named(life.subject, age_band=MINOR), now=life.now).outcome is Outcome.ALLOW


def test_who_has_come_of_age_signs_for_themselves() -> None:
    life = child(majority_quarter="2027-Q2")
    life.deliver()
    life.release(life.now)  # the child's own: it stays one for ever
    life.now = datetime(2027, 4, 1, 12, tzinfo=UTC)  # 1 April has begun everywhere
    assert codes(ask(face=named(replace(life.subject, releases=life.subject.releases[1:])), now=life.now)) == {
        "MINOR_SIGNED"
    }
    life.deliver(age_band="ADULT")
    assert life.subject.age_band is ADULT
    assert life.ask().outcome is not Outcome.ALLOW
    own_as_child = replace(life.subject, releases=life.subject.releases[1:])
    assert codes(ask(face=named(own_as_child), now=life.now)) == {"MINOR_SIGNED"}
    life.now += timedelta(minutes=1)
    life.release(life.now)
    assert life.ask().outcome is Outcome.ALLOW


def test_an_adult_is_claimed_one_moment_too_early() -> None:
    life = child(majority_quarter="2027-Q2")
    life.now = datetime(2027, 4, 1, 12, tzinfo=UTC) - timedelta(microseconds=1)
    life.deliver(age_band="ADULT")
    assert life.subject.age_band is MINOR
    life.release(life.now)
    assert life.ask().outcome is not Outcome.ALLOW


def test_a_guardian_of_an_adult_signs_anew() -> None:
    life = child(majority_quarter="2027-Q2")
    life.now = datetime(2027, 4, 2, tzinfo=UTC)
    life.deliver(SignerRole.REPRESENTATIVE, age_band="ADULT")
    life.now += days(1)
    life.release(life.now, PARENT)
    assert life.ask().outcome is not Outcome.ALLOW
    life.release(life.now, GUARDIAN)
    assert life.ask().outcome is Outcome.ALLOW


def test_a_child_that_was_said_to_be_an_adult_needs_its_parents_release_from_then_on() -> None:
    life = Life()
    life.deliver(SignerRole.REPRESENTATIVE, age_band="ADULT")
    life.release(life.now, PARENT)
    assert codes(life.ask()) == {"RELEASE_SIGNER"}
    life.entry("interaction.recorded", claims={"age_band": "MINOR"})
    assert codes(life.ask()) == {"RELEASE_SIGNER"}  # the claim makes no earlier release good
    life.release(life.now, PARENT)
    assert life.ask().outcome is Outcome.ALLOW


def test_of_two_quarters_the_earlier_ends_and_the_later_begins() -> None:
    life = child(majority_quarter="2028-Q1")
    life.entry("interaction.recorded", claims={"majority_quarter": "2027-Q1"})
    assert life.subject.outgrown_at == begins("2027-Q1")[0]
    life.now = datetime(2027, 6, 1, tzinfo=UTC)
    life.deliver(age_band="ADULT")
    assert life.subject.age_band is MINOR
    life.now = datetime(2028, 6, 1, tzinfo=UTC)
    life.deliver(age_band="ADULT")
    assert life.subject.age_band is ADULT


def test_a_quarter_to_come_makes_a_child_of_somebody_whose_age_was_unknown() -> None:
    life = Life()
    life.deliver()
    life.release(life.now)
    assert life.ask().outcome is Outcome.ALLOW
    life.entry("interaction.recorded", claims={"majority_quarter": "2031-Q4"})
    assert life.subject.age_band in CHILD
    assert codes(life.ask()) == {"MINOR_SIGNED"}


def test_who_first_claimed_what_is_known_once_each() -> None:
    life = child(majority_quarter="2027-Q2")
    life.entry("interaction.recorded", claims={"age_band": "MINOR", "regions": ["US-IL", "US-TX"]})
    life.entry("interaction.recorded", claims={"relationship": "CONSUMER"})
    assert [(each.fact, each.value, each.index) for each in life.subject.claimed] == [
        ("region", "US-IL", 101),
        ("age_band", "MINOR", 101),
        ("majority_quarter", "2027-Q2", 101),
        ("region", "US-TX", 103),
        ("relationship", "CONSUMER", 104),
    ]


ZONES = ["Pacific/Kiritimati", "Pacific/Apia", "Asia/Kathmandu", "Europe/Berlin", "America/Chicago", "Etc/GMT+12"]


@pytest.mark.parametrize("zone", ZONES)
@given(year=st.integers(2024, 2050), quarter=st.integers(1, 4))
def test_no_time_zone_is_outside_the_two_ends_of_a_quarters_beginning(zone: str, year: int, quarter: int) -> None:
    first, everywhere = begins(f"{year}-Q{quarter}")
    there = datetime(year, 3 * quarter - 2, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert first <= there <= everywhere
    assert ends(f"{year}-Q{quarter}") > everywhere


@pytest.mark.parametrize(
    "text", ["", "2031", "2031-Q0", "2031-Q5", "2031-04", "2031-04-01", "\uff12\uff10\uff13\uff11-Q1", "2031-Q1 "]
)
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="calendar quarter"):
        begins(text)


def test_29_february_decides_nothing() -> None:
    """Who is born on a 29 February comes of age on 28 February or 1 March, as the law reads: the same quarter."""
    first, everywhere = begins("2030-Q1")
    assert first < datetime(2030, 2, 28, tzinfo=UTC)
    assert datetime(2030, 3, 1, tzinfo=UTC) < ends("2030-Q1")
    assert everywhere == datetime(2030, 1, 1, 12, tzinfo=UTC)


def test_the_entries_times_are_read_as_the_ledger_writes_them() -> None:
    assert parse_time("2027-03-31T10:00:00.000000Z") == begins("2027-Q2")[0]
