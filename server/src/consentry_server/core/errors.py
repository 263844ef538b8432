"""The one error root of the server, and the closed list of reasons a call can fail for.

A denial is a result, never an error; an error is never a denial. ``adapters/grpc/status.py`` maps each
reason to one gRPC code, and ``proto/consentry/v1/error_reason.proto`` lists the same names for callers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reason(StrEnum):
    """Why a call failed; the ``reason`` of the ``google.rpc.ErrorInfo`` that the caller gets."""

    # what the caller sent
    FIELD_REQUIRED = "FIELD_REQUIRED"
    FIELD_INVALID = "FIELD_INVALID"
    VALUE_UNKNOWN = "VALUE_UNKNOWN"
    TOO_LARGE = "TOO_LARGE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a reason, not a password
    # who the caller is
    IDENTITY_MISSING = "IDENTITY_MISSING"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    SECOND_APPROVER_REQUIRED = "SECOND_APPROVER_REQUIRED"
    # permits
    PERMIT_INVALID = "PERMIT_INVALID"
    PERMIT_EXPIRED = "PERMIT_EXPIRED"
    PERMIT_MISMATCH = "PERMIT_MISMATCH"
    BASIS_GONE = "BASIS_GONE"
    # what is on record
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    STATE_CONFLICT = "STATE_CONFLICT"
    NOTICE_NOT_DELIVERED = "NOTICE_NOT_DELIVERED"
    NO_INTENT_TO_SIGN = "NO_INTENT_TO_SIGN"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    STORE_DENIED = "STORE_DENIED"
    DESTROYED = "DESTROYED"
    EXTENSION_REASON_MISSING = "EXTENSION_REASON_MISSING"
    # the service itself
    NOT_BUILT = "NOT_BUILT"
    OVERLOADED = "OVERLOADED"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    STORAGE_FULL = "STORAGE_FULL"
    STORAGE_FAILED = "STORAGE_FAILED"
    KEYS_UNAVAILABLE = "KEYS_UNAVAILABLE"
    DATA_DAMAGED = "DATA_DAMAGED"
    LEDGER_FORKED = "LEDGER_FORKED"
    CONFIGURATION_INVALID = "CONFIGURATION_INVALID"
    PACK_INVALID = "PACK_INVALID"
    SERVICE_FAULT = "SERVICE_FAULT"


class ConsentryError(Exception):
    """The root of every error the server raises on purpose.

    Args:
        reason: One of the closed list above.
        message: One plain sentence: what is wrong and what to do about it. Never a caller's personal data.
        field: The request field at fault, dotted as in the proto (``photo.sha256``), or empty.
        metadata: Further machine-readable facts for the caller; short strings only.
    """

    def __init__(
        self, reason: Reason, message: str, *, field: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = dict(metadata or {})
