"""Made-up uses, and people who did everything right: what is refused them, notices, policy or settings lack.

A record is *made good* by its types, not by its names: every yes-or-no it states becomes yes, every list of words all
words. What a pack asks of a field that is added later is therefore found without new code here.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from consentry_server.core.law.circumstances import LEAVING
from consentry_server.core.law.situation import VENUES
from consentry_server.core.record.facts import (
    Delivery,
    Face,
    Notice,
    OperationRequest,
    Release,
    RetentionPolicy,
    Subject,
    Tenant,
    Term,
)
from consentry_server.core.vocabulary import (
    AgeBand,
    AuthorityBasis,
    ConsentScope,
    Consideration,
    DataCategory,
    DisclosureBasis,
    KnownBy,
    NoticeChannel,
    Operation,
    Publisher,
    Purpose,
    Relationship,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
    SourceKind,
    Visibility,
    Vouching,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

T = TypeVar("T")

OPERATIONS: Final = (*(each for each in Operation if each not in LEAVING), Operation.DISCLOSE)
"""What is tried. Selling, leasing and trading are left out: no notice makes them right."""
_HASH: Final = "00" * 32
_MINUTE: Final = timedelta(minutes=1)
_YEAR: Final = timedelta(days=365)
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_STATED: Final = frozenset({"uses_face_geometry", "identifies", "stored", "linked_identity"})
_NOT_BETTER: Final = frozenset({"explicit", "condition_of_employment"})
"""Of a release: what is set by hand, and what no law likes."""
_NOTICE_ID: Final = "posture"


def made_good(record: T, **given: Any) -> T:
    """The record with every yes-or-no set to yes and every list of words complete.

    Args:
        record: A fact.
        given: Fields to be set otherwise.
    """
    kind: Any = type(record)
    found: dict[str, Any] = {name: good for name, good in _good(kind).items() if name not in given}
    made: T = replace(record, **found, **given)  # type: ignore[type-var]  # facts are dataclasses
    return made


@cache
def _good(kind: Any) -> dict[str, Any]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind} is no fact")
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for each in fields(kind):
        hint = hints[each.name]
        if hint is bool:
            found[each.name] = True
        elif get_origin(hint) is frozenset and isinstance(word := get_args(hint)[0], type) and issubclass(word, Enum):
            found[each.name] = frozenset(word)
    return found


def complete_notice(recipient: str = "") -> Notice:
    """A notice that says everything, effective for long."""
    empty = Notice(
        notice_id=_NOTICE_ID,
        version=1,
        index=0,
        effective_time=_LONG_AGO,
        language="en",
        says_collected_or_stored=True,
        purposes=frozenset(),
        categories=frozenset(),
        term=Term(duration=_YEAR),
        recipients=frozenset({recipient} - {""}),
        text_sha256=_HASH,
    )
    return made_good(empty)


def completed(notice: Notice, recipient: str = "") -> Notice:
    """A published notice made good within what it is about: the purposes and categories it names stay."""
    return made_good(
        notice,
        purposes=notice.purposes or frozenset(Purpose),
        categories=notice.categories or frozenset(DataCategory),
        term=Term(duration=_YEAR),
        recipients=notice.recipients | (frozenset({recipient}) - {""}),
    )


def completed_tenant(tenant: Tenant, *notices: Notice) -> Tenant:
    """The tenant with a policy in force and every setting right; its determinations stay as they are."""
    policy = RetentionPolicy("posture", 1, 0, _LONG_AGO, "https://example.com/retention", _HASH, True, True)
    return made_good(
        tenant,
        policies=(made_good(policy),),
        notices={(notice.notice_id, notice.version): notice for notice in notices},
    )


def person(
    notice: Notice, at: datetime, region: str, purpose: Purpose, *, age: AgeBand, own: bool, recipient: str = ""
) -> Face:
    """A person who was told and has signed for one purpose: one release for everything, and one for each scope apart.

    Args:
        notice: What was delivered.
        at: When the operation takes place; the notice is in effect some minutes before.
        region: Where the person lives.
        purpose: What was signed for.
        age: The person's age.
        own: Whether the person signed; otherwise a parent did.
        recipient: A recipient that the release names.
    """
    told, signed = at - 2 * _MINUTE, at - _MINUTE
    role = SignerRole.SELF if own else SignerRole.REPRESENTATIVE
    reference = "" if own else "posture"
    delivery = Delivery(
        delivery_id="posture",
        index=max(notice.index, 0) + 1,
        time=told,
        occurred_at=told,
        notice_id=notice.notice_id,
        notice_version=notice.version,
        channel=NoticeChannel.IN_APP,
        signer_role=role,
        acknowledged=True,
        vouching=Vouching.SIGNER_SIGNED,
        representative_ref=reference,
    )
    release = Release(
        release_id="posture",
        index=delivery.index + 1,
        time=signed,
        signed_at=signed,
        delivery_id=delivery.delivery_id,
        notice_id=notice.notice_id,
        notice_version=notice.version,
        form=ReleaseForm.ELECTRONIC_SIGNATURE,
        process=SignatureProcess.CLICK_TO_SIGN,
        signer_role=role,
        authority_basis=AuthorityBasis.NONE if own else AuthorityBasis.PARENT,
        purposes=frozenset({purpose}),
        categories=frozenset(DataCategory),
        recipients=frozenset({recipient}) - {""},
        scopes=frozenset(ConsentScope),
        explicit=True,
        condition_of_employment=False,
        vouching=Vouching.SIGNER_SIGNED,
        signed_document_sha256=_HASH,
        representative_ref=reference,
    )
    more: dict[str, Any] = {n: True for n, good in _good(Release).items() if good is True and n not in _NOT_BETTER}
    kinds = [release, replace(release, **more)] if more else [release]
    scopes = [frozenset(ConsentScope), *(frozenset({scope}) for scope in ConsentScope)]
    subject = Subject(
        subject_ref="sub_posture",
        regions=frozenset({region}),
        age_band=age,
        relationship=Relationship.CONSUMER,
        deliveries=(delivery,),
        releases=tuple(
            replace(kind, scopes=scope, index=release.index + place, release_id=f"posture-{place}")
            for place, (kind, scope) in enumerate((kind, scope) for kind in kinds for scope in scopes)
        ),
        last_interaction=signed,
    )
    return Face(subject, KnownBy.DECLARED_BY_UPLOADER)


def requests(
    purpose: Purpose, category: DataCategory, at: datetime, regions: Collection[str], recipient: str = ""
) -> Iterator[OperationRequest]:
    """Every operation for one purpose on one category, with everything said of it that speaks for it.

    Each is tried as a scan of the face and as none. Facts that were added later are tried unsaid and as said; a venue
    only where its region is looked at, since it would bring the law of that region along.

    Args:
        purpose: Its purpose.
        category: Its data.
        at: When it takes place.
        regions: What is looked at.
        recipient: Who gets the data, or takes part; empty for nobody.
    """
    said = (name for name in _said_later() if name not in VENUES or VENUES[name] in regions)
    later: dict[str, Any] = dict.fromkeys(said, True)
    for operation in OPERATIONS:
        if operation is Operation.DISCLOSE and not recipient:
            continue
        for scans in (True, False):
            request = OperationRequest(
                operation=operation,
                purpose=purpose,
                category=category,
                visibility=Visibility.PUBLIC,
                published_by=Publisher.SUBJECT,
                source_kind=SourceKind.UPLOADED,
                captured_at=at - _MINUTE,
                recipient_id=recipient,
                disclosure_basis=DisclosureBasis.CONSENT if operation is Operation.DISCLOSE else DisclosureBasis.NONE,
                has_disclosure_evidence=True,
                consideration=Consideration.NONE,
                uses_face_geometry=scans,
                identifies=scans,
                stored=True,
                linked_identity=scans,
                algorithm_id="posture",
                algorithm_version="1",
            )
            yield request
            if later:
                yield replace(request, **later)


@cache
def _said_later() -> tuple[str, ...]:
    hints = get_type_hints(OperationRequest)
    return tuple(name for name, hint in hints.items() if hint == (bool | None) and name not in _STATED)
