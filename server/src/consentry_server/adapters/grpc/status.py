"""Reasons become gRPC statuses here, and nowhere else.

Every failure that leaves the server is a ``google.rpc.Status`` with exactly one ``ErrorInfo`` (and a ``BadRequest``
where a field is at fault), as ``proto/consentry/v1/error_reason.proto`` says. No reason maps to ``UNKNOWN`` or
``INTERNAL``: a caller can always tell what happened.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Never

import grpc
import structlog
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOMAIN: Final = "consentry.v1"
"""The ``domain`` of every ErrorInfo."""
MAX_DETAIL_BYTES: Final = 8 * 1024
"""A status, as it travels: gRPC may refuse header lists of more (its soft limit), and always those over 16 KiB."""
MAX_MESSAGE_BYTES: Final = 768  # percent-encoded thrice its size in grpc-message, and again twice inside the details
MAX_METADATA_BYTES: Final = 1024
MAX_VALUE_BYTES: Final = 256
MAX_KEY_BYTES: Final = 64  # google.rpc.ErrorInfo: keys are at most 64 characters
ENTRY_OVERHEAD_BYTES: Final = 8  # tags and lengths of one map entry

_log = structlog.get_logger("grpc")

STATUS_CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {
        # what the caller sent
        Reason.FIELD_REQUIRED: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.FIELD_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.VALUE_UNKNOWN: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.NOT_AN_IMAGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.IMAGE_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.UPLOAD_INCOMPLETE: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.DIGEST_MISMATCH: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.REQUEST_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
        Reason.PAGE_TOKEN_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        # who the caller is
        Reason.IDENTITY_MISSING: grpc.StatusCode.UNAUTHENTICATED,
        Reason.ROLE_NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.SECOND_APPROVER_REQUIRED: grpc.StatusCode.PERMISSION_DENIED,
        # permits
        Reason.PERMIT_INVALID: grpc.StatusCode.PERMISSION_DENIED,
        Reason.PERMIT_EXPIRED: grpc.StatusCode.PERMISSION_DENIED,
        Reason.PERMIT_MISMATCH: grpc.StatusCode.PERMISSION_DENIED,
        Reason.BASIS_GONE: grpc.StatusCode.PERMISSION_DENIED,
        # what is on record
        Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        Reason.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
        Reason.STATE_CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.NOTICE_NOT_DELIVERED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.NO_INTENT_TO_SIGN: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.SIGNATURE_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.STORE_DENIED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.DESTROYED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.EXTENSION_REASON_MISSING: grpc.StatusCode.INVALID_ARGUMENT,
        # the service itself
        Reason.NOT_BUILT: grpc.StatusCode.UNIMPLEMENTED,
        Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.SHUTTING_DOWN: grpc.StatusCode.UNAVAILABLE,
        Reason.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.STORAGE_FAILED: grpc.StatusCode.UNAVAILABLE,
        Reason.KEYS_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        Reason.DATA_DAMAGED: grpc.StatusCode.DATA_LOSS,
        Reason.LEDGER_FORKED: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.CONFIGURATION_INVALID: grpc.StatusCode.FAILED_PRECONDITION,
        Reason.PACK_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
        Reason.SERVICE_FAULT: grpc.StatusCode.UNAVAILABLE,
    }
)
"""The table. A test holds it complete and equal to what error_reason.proto promises."""


def to_status(error: ConsentryError) -> status_pb2.Status:
    """Make the status that a caller gets, cut to what gRPC carries safely.

    Args:
        error: What went wrong.

    Returns:
        A status with one ErrorInfo, and one BadRequest where ``error.field`` names the field at fault.
    """
    message = _cut(error.message, MAX_MESSAGE_BYTES)
    field = _cut(error.field, MAX_VALUE_BYTES)
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=_metadata(error, field))
    code = STATUS_CODES[error.reason].value[0]
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(info)
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=message, reason=error.reason.value
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return status


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: ConsentryError) -> Never:
    """End a call with the status of an error; never returns normally."""
    await context.abort_with_status(rpc_status.to_status(to_status(error)))


def fault(method: str, new_fault_id: Callable[[], str]) -> ConsentryError:
    """Log the exception being handled and return what the caller is told of it: an id to ask the operator about.

    Args:
        method: Full name of the method, ``/consentry.v1.GateService/Check``.
        new_fault_id: Makes an id that stands in the log and in the answer.

    Returns:
        A ``SERVICE_FAULT`` that holds nothing of the exception.
    """
    fault_id = new_fault_id()
    _log.exception("service_fault", method=method, fault_id=fault_id)
    return ConsentryError(
        Reason.SERVICE_FAULT,
        f"the service failed on this request: do not process; retry once, then give the operator fault {fault_id}",
        metadata={"method": method, "fault_id": fault_id},
    )


def _metadata(error: ConsentryError, field: str) -> dict[str, str]:
    """Cut the metadata to its limit; the field comes first and always stays."""
    room = MAX_METADATA_BYTES
    kept: dict[str, str] = {}
    for key, value in ([("field", field)] if field else []) + list(error.metadata.items()):
        name, text = _cut(str(key), MAX_KEY_BYTES), _cut(str(value), MAX_VALUE_BYTES)
        room -= len(name.encode()) + len(text.encode()) + ENTRY_OVERHEAD_BYTES
        if room < 0:
            break
        kept.setdefault(name, text)
    return kept


def _cut(text: str, limit_bytes: int) -> str:
    """Shorten text to a number of UTF-8 bytes, at a character's edge; what UTF-8 cannot say becomes a question mark."""
    data = text.encode(errors="replace")
    if len(data) <= limit_bytes:
        return data.decode()
    return data[: limit_bytes - 3].decode(errors="ignore") + "..."
