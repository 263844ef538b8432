"""Errors, sorted by what a caller does about them. A denial is a result, never an error; an error is never a denial.

Every failed call is a `ConsentryError`; whoever catches one has no answer and must not process.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from consentry.v1 import error_reason_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry.results import Decision
    from consentry.v1 import gate_service_pb2
    from consentry.vocabulary import ProcessingResult

DOMAIN = "consentry.v1"  # error_reason.proto: the domain of every ErrorInfo


class ConsentryError(Exception):
    """A call failed, so there is no answer: do not process.

    Attributes:
        reason: name of one ``ErrorReason`` without its prefix, such as ``FIELD_REQUIRED``; empty where none came.
        field: the request field at fault, dotted as in the contract; empty where there is none.
        metadata: the other facts of the ``ErrorInfo``.
        code: the gRPC status code; None where the error was found before or after the call.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.code = code

    def __str__(self) -> str:
        label = " ".join(part for part in (self.reason, self.field and f"({self.field})") if part)
        return f"{label}: {self.args[0]}" if label else str(self.args[0])


class InvalidRequest(ConsentryError):  # noqa: N818 - names say what happened, as in the rest of this module
    """The request is wrong or too large. Correct it; sending it again does not help."""


class PermissionDenied(ConsentryError):  # noqa: N818
    """This caller, or this permit, may not do this. `reason` says which: ``ROLE_NOT_ALLOWED``, ``BASIS_GONE``, ..."""


class PermitExpired(PermissionDenied):
    """The permit is past its life, used up, or its block is over. Ask again."""


class NotFound(ConsentryError):  # noqa: N818
    """No such record of this tenant."""


class Conflict(ConsentryError):  # noqa: N818
    """The record is not in a state that permits this. Read it and decide again."""


class NotBuilt(ConsentryError):  # noqa: N818
    """The contract has this call, but this version of the server does not offer it."""


class Unavailable(ConsentryError):  # noqa: N818
    """No answer came: deadline, network, overload, a fault of the service. Do not process; retry with the same id."""


class Truncated(Unavailable):
    """A download ended before, or went beyond, the size that its header states. Drop what was received."""


class Denied(ConsentryError):  # noqa: N818
    """A guard asked and nothing, or with ``require_all`` not everything, is allowed. Raised by guards alone.

    Attributes:
        decision: the recorded decision; its reasons name the rules and what would change the answer.
    """

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"do not process\n{decision}")
        self.decision = decision


class ReportFailed(ConsentryError):  # noqa: N818
    """The block of a guard ended well, but the report of it did not reach the record.

    Send it again: ``client.record_processing(error.decision_id, error.result, ..., request_id=error.request_id)``.

    Attributes:
        decision_id: the decision that is still open.
        result: what was to be reported.
        request_id: the id under which it was sent; with the same id it is recorded once.
    """

    def __init__(self, message: str, *, decision_id: str, result: ProcessingResult, request_id: str) -> None:
        super().__init__(message)
        self.decision_id = decision_id
        self.result = result
        self.request_id = request_id


# What a caller does about each reason. The code alone would not do: RESOURCE_EXHAUSTED is both "send less" and "later".
BY_REASON: Mapping[str, type[ConsentryError]] = MappingProxyType(
    {
        "FIELD_REQUIRED": InvalidRequest,
        "FIELD_INVALID": InvalidRequest,
        "VALUE_UNKNOWN": InvalidRequest,
        "TOO_LARGE": InvalidRequest,
        "NOT_AN_IMAGE": InvalidRequest,
        "IMAGE_TOO_LARGE": InvalidRequest,
        "UPLOAD_INCOMPLETE": InvalidRequest,
        "DIGEST_MISMATCH": InvalidRequest,
        "PAGE_TOKEN_INVALID": InvalidRequest,
        "NO_INTENT_TO_SIGN": InvalidRequest,
        "SIGNATURE_INVALID": InvalidRequest,
        "EXTENSION_REASON_MISSING": InvalidRequest,
        "PACK_INVALID": InvalidRequest,
        "IDENTITY_MISSING": PermissionDenied,
        "ROLE_NOT_ALLOWED": PermissionDenied,
        "SECOND_APPROVER_REQUIRED": PermissionDenied,
        "PERMIT_INVALID": PermissionDenied,
        "PERMIT_MISMATCH": PermissionDenied,
        "BASIS_GONE": PermissionDenied,
        "PERMIT_EXPIRED": PermitExpired,
        "NOT_FOUND": NotFound,
        "REQUEST_ID_REUSED": Conflict,
        "ALREADY_EXISTS": Conflict,
        "STATE_CONFLICT": Conflict,
        "NOTICE_NOT_DELIVERED": Conflict,
        "STORE_DENIED": Conflict,
        "DESTROYED": Conflict,
        "NOT_BUILT": NotBuilt,
        "OVERLOADED": Unavailable,
        "SHUTTING_DOWN": Unavailable,
        "STORAGE_FULL": Unavailable,
        "STORAGE_FAILED": Unavailable,
        "KEYS_UNAVAILABLE": Unavailable,
        "DATA_DAMAGED": Unavailable,
        "LEDGER_FORKED": Unavailable,
        "CONFIGURATION_INVALID": Unavailable,
        "SERVICE_FAULT": Unavailable,
    }
)

# Where the failure carries no ErrorInfo: gRPC itself, a proxy. Anything else is `Unavailable`.
BY_CODE: Mapping[grpc.StatusCode, type[ConsentryError]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
        grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
        grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
        grpc.StatusCode.UNAUTHENTICATED: PermissionDenied,
        grpc.StatusCode.NOT_FOUND: NotFound,
        grpc.StatusCode.ALREADY_EXISTS: Conflict,
        grpc.StatusCode.FAILED_PRECONDITION: Conflict,
        grpc.StatusCode.UNIMPLEMENTED: NotBuilt,
    }
)

_CODES: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})


def from_rpc(error: grpc.RpcError) -> ConsentryError:
    """Make the error that a caller sees out of gRPC's; raise it ``from`` that one."""
    call = cast("grpc.Call", error)
    code = call.code()
    info = _error_info(call)
    message = call.details() or "the call failed without a word"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = "no answer within the deadline: do not process"
    metadata = dict(info.metadata) if info else {}
    return _class_of(info.reason if info else "", code)(
        message, reason=info.reason if info else "", field=metadata.pop("field", ""), metadata=metadata, code=code
    )


def from_item(status: gate_service_pb2.ItemStatus) -> ConsentryError:
    """Make the error of one item of a batch."""
    reason = error_reason_pb2.ErrorReason.Name(status.reason) if _is_known(status.reason) else ""
    reason = reason.removeprefix("ERROR_REASON_")
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _class_of(reason, code)(status.message, reason=reason, field=status.field, code=code)


def _class_of(reason: str, code: grpc.StatusCode) -> type[ConsentryError]:
    return BY_REASON.get(reason) or BY_CODE.get(code, Unavailable)


def _is_known(reason: int) -> bool:
    return reason in error_reason_pb2.ErrorReason.values()


def _error_info(call: grpc.Call) -> error_details_pb2.ErrorInfo | None:
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # the details contradict the status: trust neither, go by the code
        return None
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info) and info.domain == DOMAIN:
            return info
    return None
