"""The test cases inside a pack: what was decided, or has to be, for a few facts written as data.

A case starts from a person who lives in the pack's first region and, unless it says otherwise, from a tenant that
does everything right: a policy in force, protection in place. It then says what differs. ``person`` is one of
``UNIDENTIFIED``, ``NAMED`` (known, nothing signed), ``UNLINKED`` (named, not known how) and ``RELEASED``
(told and signed, for the request's purpose and for every face category).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.law.clock import add_period
from consentry_server.core.record.artifacts import ArtifactState
from consentry_server.core.record.facts import (
    Delivery,
    Determination,
    Face,
    Notice,
    OperationRequest,
    OptOut,
    Release,
    RetentionPolicy,
    SatisfiedPurpose,
    Subject,
    Tenant,
    Term,
)
from consentry_server.core.record.house import Statement
from consentry_server.core.vocabulary import (
    REGIONS,
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    EntityType,
    KnownBy,
    NoticeChannel,
    Operation,
    Outcome,
    Publisher,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    SourceKind,
    TermEnd,
    Visibility,
    Vouching,
    Words,
)

if TYPE_CHECKING:
    from consentry_server.core.law.reading import Table

_HASH: Final = "00" * 32
_REQUEST_WORDS: Final[dict[str, type[Words]]] = {
    "visibility": Visibility,
    "published_by": Publisher,
    "source_kind": SourceKind,
    "disclosure_basis": DisclosureBasis,
    "consideration": Consideration,
    "artifact_state": ArtifactState,
}
_REQUEST_FLAGS: Final = (
    "uses_face_geometry",
    "identifies",
    "stored",
    "linked_identity",
    "has_disclosure_evidence",
    "new_york_city_establishment",
    "portland_public_accommodation",
)
_REQUEST_TEXTS: Final = ("recipient_id", "algorithm_id", "algorithm_version")


class OptedOut(Words):
    """When a case's person asked to limit or to opt out."""

    BEFORE_RELEASE = "BEFORE_RELEASE"
    AFTER_RELEASE = "AFTER_RELEASE"


class Person(Words):
    """Whose face a case is about."""

    UNIDENTIFIED = "UNIDENTIFIED"
    NAMED = "NAMED"
    UNLINKED = "UNLINKED"
    RELEASED = "RELEASED"


@dataclass(frozen=True, slots=True)
class Case:
    """One test case of a pack.

    Args:
        id: Its name inside the pack.
        citation: The decision or section it comes from.
        title: One plain sentence.
        request: The operation.
        expected: The outcome the pack must lead to.
        codes: Codes, or ids of rules, that have to be among the reasons.
        at: When it is decided; None is noon of the day the pack was last looked at.
        alone: Whether this pack is asked alone, where others would hide what it says.
    """

    id: str
    citation: str
    title: str
    request: OperationRequest
    expected: Outcome
    codes: tuple[str, ...]
    at: datetime | None
    alone: bool
    _person: Person
    _changes: dict[str, dict[str, Any]]
    _more_releases: tuple[dict[str, Any], ...]
    _policy: bool
    _care: bool
    _entity: EntityType
    _determinations: tuple[dict[str, Any], ...] = ()

    def facts(self, now: datetime, region: str) -> tuple[Face, Tenant]:
        """The case's person and tenant at one moment, in one region."""
        release = self._changes["release"]
        signed = _ago(now, release["signed_ago"]) if "signed_ago" in release else now - timedelta(days=1)
        told = signed - timedelta(days=1)
        notice = self._notice(told)
        face = Face(subject=None)
        if self._person is not Person.UNIDENTIFIED:
            about = self._changes["subject"]
            released = self._person is Person.RELEASED
            subject = Subject(
                subject_ref="person",
                regions=frozenset(about.get("regions", {region})),
                age_band=about.get("age_band", AgeBand.UNKNOWN),
                relationship=about.get("relationship", Relationship.UNKNOWN),
                deliveries=(self._delivery(told, signed),) if released or self._changes["delivery"] else (),
                releases=self._releases(signed, now) if released else (),
                last_interaction=_ago(now, about["idle"]) if "idle" in about else signed,
                satisfied=self._satisfied(now),
                employment_ended_at=_ago(now, about["employment_ended_ago"])
                if "employment_ended_ago" in about
                else None,
                opt_outs=self._opt_outs(told, now),
                outgrown_at=now if about.get("came_of_age") else None,
                adult_since=now if about.get("came_of_age") else None,
            )
            known_by = KnownBy.UNKNOWN if self._person is Person.UNLINKED else KnownBy.DECLARED_BY_UPLOADER
            face = Face(subject=subject, known_by=known_by)
        return face, self._tenant(notice, told, now)

    def _satisfied(self, now: datetime) -> tuple[SatisfiedPurpose, ...]:
        about = self._changes["subject"]
        if "satisfied_ago" not in about:
            return ()
        return (SatisfiedPurpose(self.request.purpose, 9, _ago(now, about["satisfied_ago"])),)

    def _releases(self, signed: datetime, now: datetime) -> tuple[Release, ...]:
        first = self._release(signed, now, self._changes["release"])
        more = (
            replace(self._release(signed, now, said), release_id=f"rel{place}", index=first.index + place)
            for place, said in enumerate(self._more_releases, 1)
        )
        return (first, *more)

    def _opt_outs(self, told: datetime, now: datetime) -> tuple[OptOut, ...]:
        match self._changes["subject"].get("opted_out"):
            case OptedOut.BEFORE_RELEASE:
                return (OptOut(index=2, time=told),)
            case OptedOut.AFTER_RELEASE:
                return (OptOut(index=8, time=now - timedelta(hours=1)),)
        return ()

    def _tenant(self, notice: Notice, told: datetime, now: datetime) -> Tenant:
        policy = RetentionPolicy("retention", 1, 1, told, "https://example.com/retention", _HASH, True, True)
        said = self._changes["determination"]
        own = {"operations": {self.request.operation}, "purposes": {self.request.purpose}}
        listed = [self._determination({**own, **each}, told, now) for each in self._determinations]
        return Tenant(
            entity_type=self._entity,
            policies=(policy,) if self._policy else (),
            determinations=(*([self._determination(said, told, now)] if said else []), *listed),
            encrypted_at_rest=self._care,
            encrypted_in_transit=self._care,
            protection_at_least_other_sensitive=self._care,
            notices={("notice", 1): notice},
            statements=self._statements(told),
        )

    def _statements(self, told: datetime) -> tuple[Statement, ...]:
        said = self._changes["statement"]
        return (Statement("statement", 7, told, told, text_sha256=_HASH, **said),) if said else ()

    def _determination(self, said: dict[str, Any], told: datetime, now: datetime) -> Determination:
        return Determination(
            determination_id="det",
            index=5,
            time=_ago(now, said["made_ago"]) if "made_ago" in said else told,
            kind=said.get("kind", DeterminationKind.NONBIOMETRIC),
            operations=frozenset(said.get("operations", ())),
            purposes=frozenset(said.get("purposes", ())),
            algorithm_id=said.get("algorithm_id", ""),
            algorithm_version=said.get("algorithm_version", ""),
            subject_ref="person" if said.get("about_subject") else "",
            expires_at=now - timedelta(hours=1) if said.get("expired") else now + timedelta(days=30),
            decided_by="officer-a",
            approved_by="officer-b" if said.get("approved", True) else "",
            approved_index=6,
        )

    def _notice(self, told: datetime) -> Notice:
        said = self._changes["notice"]
        return Notice(
            notice_id="notice",
            version=1,
            index=2,
            effective_time=told,
            language="en",
            says_collected_or_stored=said.get("says_collected_or_stored", True),
            purposes=frozenset(said.get("purposes", {self.request.purpose})),
            categories=frozenset(said.get("categories", self._categories)),
            term=said.get("term", Term(duration=timedelta(days=365))),
            recipients=frozenset(said.get("recipients", ())),
            text_sha256=_HASH,
        )

    @property
    def _categories(self) -> set[DataCategory]:
        return {DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE, self.request.category}

    def _delivery(self, told: datetime, signed: datetime) -> Delivery:
        said, release = self._changes["delivery"], self._changes["release"]
        role = release.get("signer_role", SignerRole.SELF)
        time = signed + timedelta(hours=1) if said.get("after_release") else told
        return Delivery(
            delivery_id="dlv",
            index=4 if said.get("after_release") else 3,
            time=time,
            occurred_at=time,
            notice_id="notice",
            notice_version=1,
            channel=said.get("channel", NoticeChannel.IN_APP),
            signer_role=role,
            acknowledged=True,
            vouching=Vouching.CALLER_ASSERTED,
            representative_ref="representative" if role is SignerRole.REPRESENTATIVE else "",
        )

    def _release(self, signed: datetime, now: datetime, said: dict[str, Any]) -> Release:
        role = said.get("signer_role", SignerRole.SELF)
        return Release(
            release_id="rel",
            index=4 if "after_release" not in self._changes["delivery"] else 3,
            time=signed,
            signed_at=signed,
            delivery_id="dlv",
            notice_id="notice",
            notice_version=1,
            form=said.get("form", ReleaseForm.ELECTRONIC_SIGNATURE),
            process=said.get("process", SignatureProcess.CLICK_TO_SIGN),
            signer_role=role,
            authority_basis=said.get("authority_basis", AuthorityBasis.NONE),
            purposes=frozenset(said.get("purposes", {self.request.purpose})),
            categories=frozenset(said.get("categories", self._categories)),
            recipients=frozenset(said.get("recipients", ())),
            scopes=frozenset(said.get("scopes", {ConsentScope.COLLECT})),
            explicit=said.get("explicit", True),
            condition_of_employment=said.get("condition_of_employment", False),
            vouching=Vouching.CALLER_ASSERTED,
            signed_document_sha256=_HASH,
            representative_ref="representative" if role is SignerRole.REPRESENTATIVE else "",
            expires_at=now - timedelta(hours=1) if said.get("expired") else None,
            withdrawn_at=now - timedelta(hours=1) if said.get("withdrawn") else None,
            withdrawn_index=9 if said.get("withdrawn") else -1,
        )


def _ago(now: datetime, period: tuple[int, int]) -> datetime:
    months, days = period
    return add_period(now, -months, -days)


def _moment(table: Table, key: str) -> datetime:
    value = table.take(key)
    if not isinstance(value, datetime) or value.tzinfo is None:
        table.fail(key, "a time with its zone such as 2026-01-01T00:00:00Z is required")
    return value.astimezone(UTC)


def _request(table: Table) -> OperationRequest:
    given: dict[str, Any] = {}
    for key, words in _REQUEST_WORDS.items():
        if key in table:
            given[key] = table.word(key, words)
    for key in _REQUEST_FLAGS:
        if key in table:
            given[key] = table.flag(key)
    for key in _REQUEST_TEXTS:
        if key in table:
            given[key] = table.text(key)
    if "regions" in table:
        given["regions"] = _regions(table)
    request = OperationRequest(
        operation=table.word("operation", Operation),
        purpose=table.word("purpose", Purpose),
        category=table.word("category", DataCategory),
        **given,
    )
    table.done()
    return request


def _regions(table: Table) -> frozenset[str]:
    regions = frozenset(table.texts("regions"))
    if regions - REGIONS:
        table.fail("regions", f"unknown: {', '.join(sorted(regions - REGIONS))}")
    return regions


def _term(table: Table) -> Term | None:
    value = table.take("term")
    if value == "NONE":
        return None
    if value in TermEnd.__members__:
        return Term(end=TermEnd(value))
    months, days = table.period("term", required=True)
    return Term(duration=timedelta(days=months * 30 + days))


def _changes(table: Table, key: str) -> dict[str, Any]:
    return _differences(table.table(key), key)


def _differences(part: Table, key: str) -> dict[str, Any]:
    readers: dict[str, Any] = {
        "age_band": lambda k: part.word(k, AgeBand),
        "satisfied_ago": part.period,
        "idle": part.period,
        "employment_ended_ago": part.period,
        "signed_ago": part.period,
        "made_ago": part.period,
        "condition_of_employment": part.flag,
        "relationship": lambda k: part.word(k, Relationship),
        "regions": lambda _k: _regions(part),
        "came_of_age": part.flag,
        "channel": lambda k: part.word(k, NoticeChannel),
        "after_release": part.flag,
        "says_collected_or_stored": part.flag,
        "purposes": lambda k: part.words(k, Purpose),
        "categories": lambda k: part.words(k, DataCategory),
        "operations": lambda k: part.words(k, Operation),
        "recipients": part.texts,
        "scopes": lambda k: part.words(k, ConsentScope),
        "term": lambda _k: _term(part),
        "form": lambda k: part.word(k, ReleaseForm),
        "process": lambda k: part.word(k, SignatureProcess),
        "signer_role": lambda k: part.word(k, SignerRole),
        "authority_basis": lambda k: part.word(k, AuthorityBasis),
        "opted_out": lambda k: part.word(k, OptedOut),
        "explicit": part.flag,
        "withdrawn": part.flag,
        "expired": part.flag,
        "kind": lambda k: part.word(k, DeterminationKind),
        "algorithm_id": part.text,
        "algorithm_version": part.text,
        "about_subject": part.flag,
        "approved": part.flag,
        "only_visibilities": lambda k: part.words(k, Visibility),
        "excluded_categories": lambda k: part.words(k, DataCategory),
    }
    allowed = _CHANGES[key]
    found = {name: readers[name](name) for name in part if name in allowed}
    part.done()
    return found


_CHANGES: Final[dict[str, frozenset[str]]] = {
    "subject": frozenset(
        {
            "age_band",
            "came_of_age",
            "relationship",
            "regions",
            "satisfied_ago",
            "idle",
            "employment_ended_ago",
            "opted_out",
        }
    ),
    "notice": frozenset({"purposes", "categories", "recipients", "term", "says_collected_or_stored"}),
    "delivery": frozenset({"channel", "after_release"}),
    "release": frozenset(
        {
            "purposes",
            "categories",
            "recipients",
            "scopes",
            "form",
            "process",
            "signer_role",
            "authority_basis",
            "explicit",
            "condition_of_employment",
            "withdrawn",
            "expired",
            "signed_ago",
        }
    ),
    "determination": frozenset(
        {
            "kind",
            "operations",
            "purposes",
            "algorithm_id",
            "algorithm_version",
            "about_subject",
            "approved",
            "expired",
            "made_ago",
        }
    ),
    "statement": frozenset({"operations", "purposes", "only_visibilities", "excluded_categories"}),
}


def read_case(table: Table) -> Case:
    """One ``[[case]]`` table."""
    case_id = table.text("id")
    case = Case(
        id=case_id,
        citation=table.text("citation"),
        title=table.text("title"),
        request=_request(table.table("request", required=True)),
        expected=table.word("expect", Outcome),
        codes=table.texts("codes", required=False),
        at=_moment(table, "at") if "at" in table else None,
        alone=table.flag("alone", default=False),
        _person=table.word("person", Person),
        _changes={key: _changes(table, key) for key in _CHANGES},
        _more_releases=tuple(_differences(part, "release") for part in table.tables("more_releases")),
        _policy=table.flag("policy", default=True),
        _care=table.flag("care", default=True),
        _entity=table.word("entity", EntityType) if "entity" in table else EntityType.PRIVATE_ENTITY,
        _determinations=tuple(_differences(each, "determination") for each in table.tables("determinations")),
    )
    table.done()
    return case
