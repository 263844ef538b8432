"""House rules, read: packs to activate, public statements, reviews to list and to resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry_server.adapters.grpc import read, words
from consentry_server.adapters.grpc.paging import read_page, token_invalid
from consentry_server.core.law.own import MAX_PACK_BYTES, MAX_VERSION
from consentry_server.services.activation import PackDraft
from consentry_server.services.context import require_slug
from consentry_server.services.reviews import State, Wanted
from consentry_server.services.statements import StatementDraft

if TYPE_CHECKING:
    from datetime import datetime

    from consentry.v1 import gate_service_pb2, registry_service_pb2
    from consentry_server.adapters.grpc.paging import Page
    from consentry_server.services.context import Caller
    from consentry_server.services.reviews import Shown

MAX_STATEMENT_BYTES: Final = 16_384
MAX_SPEAKER: Final = 256
MAX_REFUSAL: Final = 4_000


def activate_pack(request: registry_service_pb2.ActivatePackRequest, caller: Caller) -> PackDraft:
    """Read a pack to activate.

    Args:
        request: As it came.
        caller: The operator.

    Returns:
        The pack.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``TOO_LARGE``.
    """
    read.count(request.toml, "toml", MAX_PACK_BYTES)
    key = read.key(caller, "ActivatePack", request)
    if not 1 <= request.version <= MAX_VERSION:
        raise read.invalid("version", "must be at least 1")
    return PackDraft(
        pack_id=require_slug(request.pack_id, "pack_id"),
        version=request.version,
        sha256=read.sha256(request.sha256, "sha256").hex(),
        toml=request.toml,
        key=key,
    )


def statement(request: registry_service_pb2.RecordStatementRequest, caller: Caller, now: datetime) -> StatementDraft:
    """Read a public statement.

    Args:
        request: As it came.
        caller: The officer.
        now: The time, UTC.

    Returns:
        The statement.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``TOO_LARGE``.
    """
    key = read.key(caller, "RecordStatement", request)
    if not request.HasField("statement"):
        raise read.required("statement")
    said = request.statement
    text = read.text(said.text, "statement.text", MAX_STATEMENT_BYTES, needed=True)
    if len(text.encode()) > MAX_STATEMENT_BYTES:
        raise read.too_many("statement.text", MAX_STATEMENT_BYTES)
    for name in ("operations", "purposes", "only_visibilities", "excluded_categories"):
        read.count(getattr(said, name), f"statement.{name}", read.MAX_WORDS)
    stated_at = read.needed_time(said, "state_time", "statement.state_time")
    return StatementDraft(
        text=text,
        speaker=read.text(said.speaker, "statement.speaker", MAX_SPEAKER, needed=True),
        stated_at=read.not_ahead(stated_at, now, "statement.state_time"),
        operations=words.OPERATION.read_set(said.operations, "statement.operations"),
        purposes=words.PURPOSE.read_set(said.purposes, "statement.purposes"),
        only_visibilities=words.VISIBILITY.read_set(said.only_visibilities, "statement.only_visibilities"),
        excluded_categories=words.DATA_CATEGORY.read_set(said.excluded_categories, "statement.excluded_categories"),
        uri=read.uri(said.uri, "statement.uri", schemes=("https", "http")),
        key=key,
    )


def list_reviews(request: gate_service_pb2.ListReviewsRequest, caller: Caller) -> tuple[Page, Wanted]:
    """Read which reviews are wanted; one more than the page holds, to know whether it is the last.

    Raises:
        ConsentryError: ``FIELD_INVALID``, ``VALUE_UNKNOWN``, ``PAGE_TOKEN_INVALID``.
    """
    page = read_page(caller, "ListReviews", request)
    state = words.REVIEW_STATE.read_optional(request.state, "state")
    return page, Wanted(
        state=None if state is None else State(state),
        operation=words.OPERATION.read_optional(request.operation, "operation"),
        after=_position(page.after) if page.after else (-1, ""),
        count=page.size + 1,
    )


def position(shown: Shown) -> str:
    """Where a page ends."""
    return f"{shown.review.first_index}@{shown.review.review_id}"


def refusal_reason(request: gate_service_pb2.ResolveReviewRequest) -> str:
    """Read why a review is refused.

    Raises:
        ConsentryError: ``FIELD_REQUIRED``, ``FIELD_INVALID``.
    """
    return read.text(request.refusal_reason, "refusal_reason", MAX_REFUSAL, needed=True)


def _position(token: str) -> tuple[int, str]:
    index, _, review_id = token.partition("@")
    if not (index.isascii() and index.isdigit() and len(index) <= 18):  # noqa: PLR2004 - below 2**63
        raise token_invalid()
    return int(index), review_id
