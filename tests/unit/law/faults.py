"""One fault at a time in an otherwise right world, and what the tests of several sections share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from consentry_server.core.record.facts import Term
from consentry_server.core.vocabulary import (
    ConsentScope,
    Consideration,
    DataCategory,
    DeterminationKind,
    DisclosureBasis,
    NoticeChannel,
    Operation,
    Purpose,
    ReleaseForm,
    SignatureProcess,
    SignerRole,
)
from tests.unit.law.worlds import (
    NOW,
    days,
    make_determination,
    make_notice,
    make_release,
    make_request,
    make_subject,
    make_tenant,
    named,
)

BOTH = frozenset({ConsentScope.COLLECT, ConsentScope.SHARE})
FACE = frozenset({DataCategory.FACE_GEOMETRY, DataCategory.FACE_TEMPLATE})


def spoilt(**changes: Any) -> Any:
    """A face whose only release was spoilt in one respect."""
    return named(make_subject(releases=(make_release(**changes),)))


NOTICE_FAULTS = [
    ({"says_collected_or_stored": False}, "NOTICE_COLLECTION"),
    ({"purposes": frozenset({Purpose.ACCOUNT_SECURITY})}, "NOTICE_PURPOSE"),
    ({"categories": frozenset({DataCategory.PHOTO})}, "NOTICE_CATEGORY"),
    ({"categories": frozenset({DataCategory.FACE_GEOMETRY})}, "NOTICE_CATEGORY"),
    ({"term": None}, "NOTICE_TERM_MISSING"),
    ({"term": Term()}, "NOTICE_TERM_MISSING"),
    ({"term": Term(duration=timedelta(0))}, "NOTICE_TERM_MISSING"),
    ({"effective_time": NOW + timedelta(seconds=1)}, "NOTICE_NOT_EFFECTIVE"),
    ({"index": 25}, "NOTICE_AFTER_RELEASE"),
]


DELIVERY_FAULTS = [
    ({"channel": NoticeChannel.PUBLIC_POLICY_PAGE}, "NOTICE_ONLY_POSTED"),
    ({"channel": NoticeChannel.SIGN}, "NOTICE_ONLY_POSTED"),
    ({"notice_version": 2}, "NOTICE_UNKNOWN"),
    ({"notice_id": "other"}, "NOTICE_MISMATCH"),
    ({"signer_role": SignerRole.REPRESENTATIVE, "representative_ref": "rep"}, "NOTICE_MISMATCH"),
    ({"representative_ref": "rep"}, "NOTICE_MISMATCH"),
    ({"signer_role": SignerRole.REPRESENTATIVE}, "NOTICE_MISMATCH"),
    ({"index": 31}, "NOTICE_AFTER_RELEASE"),
    ({"time": NOW - days(9)}, "NOTICE_AFTER_RELEASE"),
    ({"occurred_at": NOW - days(9)}, "NOTICE_AFTER_RELEASE"),
    ({"delivery_id": "dlv_2"}, "NOTICE_NOT_DELIVERED"),
]


RELEASE_FAULTS = [
    ({"time": NOW + timedelta(microseconds=1)}, "RELEASE_NOT_YET_RECORDED"),
    ({"signed_at": NOW + days(1)}, "RELEASE_NOT_YET_RECORDED"),
    ({"withdrawn_at": NOW - days(1), "withdrawn_index": 40}, "RELEASE_WITHDRAWN"),
    ({"withdrawn_at": NOW + days(1)}, "RELEASE_WITHDRAWN"),
    ({"withdrawn_index": 40}, "RELEASE_WITHDRAWN"),
    ({"expires_at": NOW}, "RELEASE_EXPIRED"),
    ({"purposes": frozenset({Purpose.ADVERTISING})}, "RELEASE_PURPOSE"),
    ({"categories": frozenset({DataCategory.PHOTO})}, "RELEASE_CATEGORY"),
    ({"categories": frozenset({DataCategory.FACE_GEOMETRY})}, "RELEASE_CATEGORY"),
    ({"scopes": frozenset()}, "RELEASE_SCOPE"),
    ({"scopes": frozenset({ConsentScope.SHARE})}, "RELEASE_SCOPE"),
    ({"form": ReleaseForm.EMPLOYMENT_RELEASE}, "RELEASE_FORM"),
    ({"condition_of_employment": True}, "RELEASE_FORM"),
    ({"process": SignatureProcess.PAGE_VIEW}, "RELEASE_NOT_SIGNED"),
    ({"process": SignatureProcess.CONTINUED_USE}, "RELEASE_NOT_SIGNED"),
    ({"process": SignatureProcess.WET_INK}, "RELEASE_NOT_SIGNED"),
    ({"form": ReleaseForm.WRITTEN_CONSENT, "process": SignatureProcess.SPOKEN_ASSENT}, "RELEASE_NOT_SIGNED"),
    ({"form": ReleaseForm.WRITTEN_CONSENT, "process": SignatureProcess.CONTINUED_USE}, "RELEASE_NOT_SIGNED"),
    ({"signed_document_sha256": ""}, "RELEASE_DOCUMENT"),
    ({"notice_version": 2}, "NOTICE_MISMATCH"),
    ({"representative_ref": "rep"}, "RELEASE_SIGNER"),
]


def disclosure(**changes: Any) -> Any:
    return make_request(
        Operation.DISCLOSE,
        category=DataCategory.FACE_TEMPLATE,
        **{
            "recipient_id": "vendor",
            "consideration": Consideration.NONE,
            "disclosure_basis": DisclosureBasis.CONSENT,
            "has_disclosure_evidence": True,
            **changes,
        },
    )


SHARED = named(make_subject(releases=(make_release(scopes=BOTH, recipients=frozenset({"vendor"})),)))
NAMES_VENDOR = make_tenant(make_notice(recipients=frozenset({"vendor"})))


DETECT = make_request(Operation.DETECT_FACES, algorithm_id="haar", algorithm_version="4")
QUIET: dict[str, Any] = {"identifies": False, "stored": False, "linked_identity": False}
HARMLESS = make_determination(
    DeterminationKind.NONBIOMETRIC,
    operations=frozenset({Operation.DETECT_FACES}),
    purposes=frozenset({Purpose.TAGGING}),
    algorithm_id="haar",
    algorithm_version="4",
)
