"""Notices and retention policies, read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from consentry_server.adapters.grpc import read, words
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Term
from consentry_server.services.context import Caller, RequestKey, require_slug
from consentry_server.services.notices import NoticeDraft, PolicyDraft

if TYPE_CHECKING:
    from consentry.v1 import notice_pb2, registry_service_pb2, retention_policy_pb2

MAX_RECIPIENTS: Final = 64
MAX_TEXT_BYTES: Final = 65_536
MAX_SCHEDULE: Final = 256
MAX_GUIDELINES_BYTES: Final = 16_384
MAX_VERSION_NUMBER: Final = 1_000_000
DEFAULT_SWEEP_SECONDS: Final = 24 * 3_600
MAX_SWEEP_SECONDS: Final = 30 * 24 * 3_600


def publish_notice(request: registry_service_pb2.PublishNoticeRequest, caller: Caller) -> NoticeDraft:
    """Read a notice to publish.

    Args:
        request: As it came.
        caller: Who publishes.

    Returns:
        The notice.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``, ``DIGEST_MISMATCH``.
    """
    key = read.key(caller, "PublishNotice", request)
    if not request.HasField("notice"):
        raise read.required("notice")
    return _notice(request.notice, key)


def _notice(notice: notice_pb2.Notice, key: RequestKey | None) -> NoticeDraft:
    for name in ("purposes", "categories"):
        read.count(getattr(notice, name), f"notice.{name}", read.MAX_WORDS)
    purposes = words.PURPOSE.read_set(notice.purposes, "notice.purposes")
    return NoticeDraft(
        notice_id=require_slug(notice.notice_id, "notice.notice_id"),
        version=version_number(notice.version, "notice.version"),
        language=read.language(notice.language, "notice.language"),
        effective_time=read.needed_time(notice, "effective_time", "notice.effective_time"),
        says_collected_or_stored=notice.says_collected_or_stored,
        purposes=purposes,
        categories=words.DATA_CATEGORY.read_set(notice.categories, "notice.categories"),
        term=_term(notice),
        recipients=_recipients(notice),
        text=_text(notice.text, notice.text_sha256, "notice"),
        uri=read.uri(notice.uri, "notice.uri"),
        withdrawal_uri=read.uri(notice.withdrawal_uri, "notice.withdrawal_uri"),
        states_paper_option=notice.states_paper_option,
        key=key,
    )


def publish_policy(request: registry_service_pb2.PublishRetentionPolicyRequest, caller: Caller) -> PolicyDraft:
    """Read a retention policy to publish.

    Args:
        request: As it came.
        caller: Who publishes.

    Returns:
        The policy.

    Raises:
        ConsentryError: as :func:`publish_notice`.
    """
    key = read.key(caller, "PublishRetentionPolicy", request)
    if not request.HasField("policy"):
        raise read.required("policy")
    policy = request.policy
    read.count(policy.schedule, "policy.schedule", MAX_SCHEDULE)
    guidelines = "policy.destruction_guidelines"
    sweep_seconds = DEFAULT_SWEEP_SECONDS
    if policy.HasField("sweep_latency"):
        period = read.duration(policy.sweep_latency, "policy.sweep_latency", least=0, most=MAX_SWEEP_SECONDS)
        sweep_seconds = int(period.total_seconds())
    return PolicyDraft(
        policy_id=require_slug(policy.policy_id, "policy.policy_id"),
        version=version_number(policy.version, "policy.version"),
        effective_time=read.needed_time(policy, "effective_time", "policy.effective_time"),
        public_uri=read.uri(policy.public_uri, "policy.public_uri", schemes=("https", "http"), needed=True),
        text=_text(policy.text, policy.text_sha256, "policy"),
        schedule=[_rule(rule, f"policy.schedule[{place}]") for place, rule in enumerate(policy.schedule)],
        destruction_guidelines=read.exact_text(
            policy.destruction_guidelines, guidelines, MAX_GUIDELINES_BYTES, needed=False
        ),
        sweep_latency_seconds=sweep_seconds,
        key=key,
    )


def version_number(value: int, field: str) -> int:
    """Read the version to publish: from 1, or 0 for the next."""
    if not 0 <= value <= MAX_VERSION_NUMBER:
        raise read.invalid(field, "must be from 1 on, or 0 for the next version")
    return value


def existing_version(value: int, field: str) -> int:
    """Read the version of something that is published."""
    if value == 0:
        raise read.required(field, "a published version, from 1")
    return version_number(value, field)


def _text(text: str, stated_sha256: bytes, name: str) -> str:
    """An exact text, with the hash that its publisher may state."""
    text = read.exact_text(text, f"{name}.text", MAX_TEXT_BYTES)
    stated = read.sha256(stated_sha256, f"{name}.text_sha256", needed=False)
    if stated and stated != hashlib.sha256(text.encode()).digest():
        raise ConsentryError(
            Reason.DIGEST_MISMATCH,
            f"{name}.text_sha256 is not that of {name}.text: hash the exact bytes that are sent",
            field=f"{name}.text_sha256",
        )
    return text


def _term(notice: notice_pb2.Notice) -> Term | None:
    if not notice.HasField("term"):
        return None
    match notice.term.WhichOneof("length"):
        case "duration":
            return Term(duration=read.duration(notice.term.duration, "notice.term.duration"))
        case "end_event":
            return Term(end=words.TERM_END.read(notice.term.end_event, "notice.term.end_event"))
        case _:
            raise read.required("notice.term.duration", "or an end_event; leave term out where the text states none")


def _recipients(notice: notice_pb2.Notice) -> dict[str, dict[str, Any]]:
    """recipient_id to what else the notice says of it, as JSON values."""
    read.count(notice.recipients, "notice.recipients", MAX_RECIPIENTS)
    found: dict[str, dict[str, Any]] = {}
    for place, recipient in enumerate(notice.recipients):
        field = f"notice.recipients[{place}]"
        recipient_id = require_slug(recipient.recipient_id, f"{field}.recipient_id")
        if recipient_id in found:
            raise read.invalid(f"{field}.recipient_id", "is named twice")
        if not recipient.purposes:
            raise read.required(f"{field}.purposes", "at least one")
        read.count(recipient.purposes, f"{field}.purposes", read.MAX_WORDS)
        for each, number in enumerate(recipient.purposes):
            if number not in notice.purposes:
                words.PURPOSE.read(number, f"{field}.purposes[{each}]")
                raise read.invalid(f"{field}.purposes[{each}]", "is no purpose of the notice")
        more: dict[str, Any] = {
            "kind": words.RECIPIENT_KIND.read(recipient.kind, f"{field}.kind"),
            "purposes": sorted(words.PURPOSE.read_set(recipient.purposes, f"{field}.purposes")),
        }
        if recipient.HasField("holding_period"):
            period = read.duration(recipient.holding_period, f"{field}.holding_period")
            more["holding_seconds"] = int(period.total_seconds())
        found[recipient_id] = more
    return found


def _rule(rule: retention_policy_pb2.RetentionRule, field: str) -> dict[str, Any]:
    """One line of a schedule, as JSON values."""
    if not rule.HasField("maximum_period"):
        raise read.required(f"{field}.maximum_period", "how long at most")
    period = read.duration(rule.maximum_period, f"{field}.maximum_period", least=0)
    purpose = words.PURPOSE.read_optional(rule.purpose, f"{field}.purpose")
    return {
        "category": str(words.DATA_CATEGORY.read(rule.category, f"{field}.category")),
        **({"purpose": str(purpose)} if purpose else {}),
        "clock": words.RETENTION_CLOCK.read(rule.clock, f"{field}.clock"),
        "maximum_seconds": int(period.total_seconds()),
    }
