"""Every pack against a second opinion that shares no code with it, over generated facts.

The direction that matters: what the opinion bans is denied, what it blocks is not permitted, whether the pack is
asked alone or with all others. Where the law is a flat ban, its pack says so exactly when the opinion does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.law import Decision
from consentry_server.core.record.facts import Face, OperationRequest, OptOut, Tenant
from consentry_server.core.vocabulary import (
    AgeBand,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    Operation,
    Outcome,
    Purpose,
    SourceKind,
)
from consentry_server.tenant import bundled_packs
from tests.unit.law import oracle_federal, oracle_states, oracle_us, oracle_world
from tests.unit.law.oracle_common import FACE, PICTURES, RECOGNITION, Opinion
from tests.unit.law.worlds import NOW, PERMITS, World, days, determinations, mostly, requests, worlds

PACKS = {pack.id: pack for pack, _ in bundled_packs()}


class Law(NamedTuple):
    """One pack, the opinion on it, where the person lives, and the determinations that its law knows."""

    pack_id: str
    opinion: Callable[[OperationRequest, Face, Tenant, Any], Opinion]
    region: str
    kinds: tuple[str, ...] = ()


KNOWN = [
    Law("us-tx-cubi", oracle_us.texas, "US-TX", ("TX_SECURITY", "TX_AI_TRAINING", "TX_RETENTION_REQUIRED")),
    Law("us-wa-mhmda", oracle_us.washington_19373, "US-WA", ("NECESSARY_FOR_SERVICE", "WA_VALID_AUTHORIZATION")),
    Law("us-wa-19375", oracle_us.washington_19375, "US-WA", ("WA_OPT_OUT_MECHANISM", "WA_SECURITY")),
    Law("us-co-biometric", oracle_us.colorado, "US-CO", ("CO_STORAGE_UNNECESSARY",)),
    Law("us-nyc-22-1201", oracle_states.new_york_city, "US-NY", ("VENUE_SIGNAGE",)),
    Law("us-portland-34-10", oracle_states.portland, "US-OR", ("LEGAL_COMPLIANCE", "DEVICE_UNLOCK")),
    Law("us-md-odpa", oracle_states.maryland, "US-MD", ("STRICT_NECESSITY",)),
    Law("us-ca-ccpa", oracle_states.california, "US-CA", ("RISK_ASSESSMENT", "REASONABLE_NECESSITY")),
    *(
        Law("us-states", oracle_states.opt_in, f"US-{state}")
        for state in sorted(oracle_states.OPT_IN - {"CO", "CT", "TX", "MT"})
    ),
    Law("us-states", oracle_states.connecticut, "US-CT", ("REASONABLE_NECESSITY",)),
    *(Law("us-states", oracle_states.opt_out, f"US-{state}") for state in sorted(oracle_states.OPT_OUT)),
    Law("us-coppa", oracle_federal.coppa, "US-VA", ("VERIFIABLE_PARENTAL_CONSENT", "CHILD_DATA_SECURITY")),
    Law("eu-gdpr", oracle_world.gdpr, "DE", ("LAWFUL_BASIS", "IMPACT_ASSESSMENT")),
    Law("uk-gdpr", oracle_world.united_kingdom, "GB", ("LAWFUL_BASIS", "IMPACT_ASSESSMENT", "ALTERNATIVE_OFFERED")),
    Law("eu-ai-act-5", oracle_world.ai_act, "FR"),
    Law("us-ftc-lineage", oracle_federal.ftc, "US-VA", ("ACCURACY_TESTED",)),
]
LAWS = [law for law in KNOWN if law.pack_id in PACKS]
ONLY_FORBID = {"eu-ai-act-5", "us-coppa", "us-ftc-lineage", "us-portland-34-10", "us-nyc-22-1201"}


KINDS = sorted({DeterminationKind(kind) for law in LAWS for kind in law.kinds})
COLLECT, SHARE = frozenset({ConsentScope.COLLECT}), frozenset({ConsentScope.SHARE})
VENUES = ("new_york_city_establishment", "portland_public_accommodation")
COMMON = (
    st.sampled_from(Operation),
    st.sampled_from(
        [*[Purpose.TAGGING] * 8, Purpose.SECURE_ACCESS, Purpose.IDENTITY_VERIFICATION, Purpose.HEALTH_CARE]
    ),
    st.sampled_from(
        [*[DataCategory.FACE_TEMPLATE, DataCategory.FINGERPRINT, DataCategory.PHOTO] * 10, *DataCategory],
    ),
)
MARKED = [
    (Operation.ENROLL, Purpose.ADVERTISING, DataCategory.FINGERPRINT),
    (Operation.ENROLL, Purpose.TAGGING, DataCategory.FACE_TEMPLATE),
    (Operation.RETAIN, Purpose.TAGGING, DataCategory.FACE_TEMPLATE),
    (Operation.DISCLOSE, Purpose.TAGGING, DataCategory.FACE_TEMPLATE),
    (Operation.SELL, Purpose.ADVERTISING, DataCategory.FACE_TEMPLATE),
    (Operation.TRAIN_MODEL, Purpose.MODEL_TRAINING, DataCategory.PHOTO),
    (Operation.IDENTIFY, Purpose.SECURITY_WATCHLIST, DataCategory.FACE_TEMPLATE),
    (Operation.BUILD_FACE_DATABASE, Purpose.IDENTIFICATION, DataCategory.PHOTO),
]
"""Questions that some law has a word about, more often than chance brings them."""


@st.composite
def questions(draw: st.DrawFn) -> OperationRequest:
    """What these laws have words for, more often than what they have none for."""
    venues: dict[str, Any] = {fact: draw(st.sampled_from([None, True, False])) for fact in VENUES}
    operation, purpose, category = draw(st.one_of(st.sampled_from(MARKED), st.tuples(*COMMON)))
    return replace(
        draw(requests()),
        operation=operation,
        purpose=purpose,
        category=category,
        source_kind=draw(st.sampled_from([SourceKind.UPLOADED, SourceKind.SCRAPED])),
        consideration=draw(mostly(Consideration.NONE, *Consideration)),
        **venues,
    )


@st.composite
def around(draw: st.DrawFn) -> World:
    """A world that is mostly right, with whatever the laws ask for beside a consent mostly on record."""
    world = draw(worlds(asked=questions()))
    request, face = world.request, world.face
    if face.subject is not None:
        releases = tuple(
            replace(r, explicit=draw(mostly(True, False)), scopes=draw(st.sampled_from([r.scopes, COLLECT, SHARE])))
            for r in face.subject.releases
        )
        before = OptOut(5, NOW - days(30))
        since = OptOut(35, NOW - days(3), frozenset({request.purpose}))
        objections = draw(st.sampled_from([(), (), (since,), (before,)]))
        face = replace(
            face,
            subject=replace(face.subject, releases=releases, opt_outs=objections),
            age_band=draw(mostly(AgeBand.UNKNOWN, AgeBand.UNDER_13)),
        )
    kinds = draw(st.one_of(st.just(frozenset(KINDS)), st.just(frozenset()), st.frozensets(st.sampled_from(KINDS))))
    like = draw(determinations(request))
    on_record = [replace(like, determination_id=kind, kind=kind) for kind in sorted(kinds)]
    return World(request, face, replace(world.tenant, determinations=(*world.tenant.determinations, *on_record)))


def living_in(world: World, region: str) -> World:
    face, home = world.face, frozenset({region})
    if face.subject is None:
        return replace(world, face=replace(face, regions=home))
    return replace(world, face=replace(face, subject=replace(face.subject, regions=home)))


def opinion_on(law: Law, world: World) -> Opinion:
    return law.opinion(world.request, world.face, world.tenant, NOW)


def ask(world: World, law: Law, *, alone: bool) -> Decision:
    packs = (PACKS[law.pack_id],) if alone else tuple(PACKS.values())
    return world.ask(packs=packs, unknown=frozenset({law.region}))


@settings(max_examples=600)
@given(world=around())
def test_what_an_independent_reader_forbids_is_never_permitted(world: World) -> None:
    for law in LAWS:
        there = living_in(world, law.region)
        opinion = opinion_on(law, there)
        for alone in (True, False):
            if opinion == "BAN":
                decision = ask(there, law, alone=alone)
                assert decision.outcome is Outcome.DENY, (law.pack_id, law.region, alone, there.request, decision)
            if opinion == "BLOCK":
                decision = ask(there, law, alone=alone)
                assert decision.outcome not in PERMITS, (law.pack_id, law.region, alone, there.request, decision)


def test_each_law_permits_something_and_each_reader_forbids_something() -> None:
    """So that the comparison above is about something."""
    seen: Counter[tuple[str, str]] = Counter()

    @settings(max_examples=2_500, derandomize=True, database=None)
    @given(world=around())
    def look(world: World) -> None:
        for law in LAWS:
            there = living_in(world, law.region)
            opinion = opinion_on(law, there)
            seen[law.pack_id, "forbidden"] += opinion != "CLEAR"
            if law.pack_id not in ONLY_FORBID and not seen[law.pack_id, "allowed"] and opinion == "CLEAR":
                seen[law.pack_id, "allowed"] += ask(there, law, alone=True).outcome is Outcome.ALLOW

    look()
    for law in LAWS:
        assert seen[law.pack_id, "forbidden"], law
        assert law.pack_id in ONLY_FORBID or seen[law.pack_id, "allowed"], law


@settings(max_examples=300)
@given(world=around())
def test_a_flat_ban_is_said_exactly_where_the_law_has_it(world: World) -> None:
    """Portland: of face recognition, the pack refuses exactly what the Code forbids."""
    (law,) = [law for law in LAWS if law.pack_id == "us-portland-34-10"]
    there = living_in(world, law.region)
    if str(world.request.operation) not in RECOGNITION or str(world.request.category) not in FACE | PICTURES:
        return
    said = {r.code for r in ask(there, law, alone=True).reasons if r.pack_id == law.pack_id and r.remedy}
    assert bool(said) is (opinion_on(law, there) == "BAN"), (there.request, said)


def test_every_pack_has_its_reader() -> None:
    read = {law.pack_id for law in LAWS} | {"us-il-bipa", "house-base"}
    assert read == set(PACKS)
