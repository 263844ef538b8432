"""RPCs of the contract that this version does not offer: a clear answer instead of a missing method."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INSTEAD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "/consentry.v1.GateService/WatchRevocations": "ask Check again when the permit expires",
        "/consentry.v1.RetentionService/WatchDestructionOrders": "read GetDestructionCertificate",
        "/consentry.v1.RightsService/EraseSubject": "withdraw the releases with RegistryService.WithdrawRelease",
        "/consentry.v1.RightsService/ExportSubject": "read RegistryService.GetSubject",
        "/consentry.v1.VaultService/OpenGallery": "call OpenIdentifier for each template",
        "/consentry.v1.VaultService/RegisterPhoto": "store the photo with UploadPhoto",
        "/consentry.v1.VaultService/ReleasePhotoKey": "store the photo with UploadPhoto and open it with OpenPhoto",
    }
)
"""What a caller can do meanwhile, by the method's full name."""


def not_built(method: str) -> ConsentryError:
    """Return the error of a call that this version does not offer.

    Args:
        method: Full name of the method, ``/consentry.v1.RightsService/EraseSubject``.

    Returns:
        ``NOT_BUILT``, with what to do instead where there is something.
    """
    name = method.rpartition("/")[2]
    instead = INSTEAD.get(method)
    advice = f"; {instead}" if instead else "; the changelog says which version offers it"
    return ConsentryError(
        Reason.NOT_BUILT, f"{name} is not built in this version of the server{advice}", metadata={"method": method}
    )


def implementation(servicer: object | None, method: str) -> Callable[..., Any] | None:
    """Find a servicer's own method; what generated base classes answer for it does not count.

    Args:
        servicer: Answers the service's calls, or None.
        method: The method's name, ``Check``.

    Returns:
        The bound method, or None where the servicer does not implement it.
    """
    found: Callable[..., Any] | None = getattr(servicer, method, None)
    if found is None or getattr(found, "__module__", "").endswith("_pb2_grpc"):
        return None
    return found
