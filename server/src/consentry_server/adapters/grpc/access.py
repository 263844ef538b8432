"""Which roles may call which RPC: the whole table, in one place.

Each comment of an RPC in ``proto/consentry/v1`` names its roles; a test holds this table and those comments equal, so
that neither can grow an RPC that the other does not know.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from consentry_server.services.context import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

_P, _C, _A, _O, _R = Role.PROCESSOR, Role.COLLECTOR, Role.AUDITOR, Role.OFFICER, Role.OPERATOR
_ALL: Final = frozenset(Role)


def _of(*roles: Role) -> frozenset[Role]:
    return frozenset(roles)


_SERVICES: Final[dict[str, dict[str, frozenset[Role]]]] = {
    "consentry.v1.GateService": {
        "Check": _of(_P),
        "BatchCheck": _of(_P),
        "StreamChecks": _of(_P),
        "RecordProcessing": _of(_P),
        "WatchRevocations": _of(_P, _C),
        "Explain": _of(_P, _O, _A, _R),  # a processor for its own decisions only: the service looks
        "Simulate": _of(_O, _R),
        "ListReviews": _of(_O, _A),
        "ResolveReview": _of(_O),
    },
    "consentry.v1.RegistryService": {
        "PublishNotice": _of(_C, _O, _R),
        "ListNotices": _ALL,
        "DiffNotices": _of(_C, _O, _A, _R),
        "PublishRetentionPolicy": _of(_C, _O, _R),
        "RecordNoticeDelivery": _of(_C),
        "RecordRelease": _of(_C),
        "WithdrawRelease": _of(_C, _O),
        "RecordInteraction": _of(_C),
        "RecordPurposeSatisfied": _of(_C, _O),
        "RecordOptOut": _of(_C, _O),
        "RecordEmploymentEnded": _of(_C, _O),
        "RecordDetermination": _of(_O),
        "RecordStatement": _of(_O),
        "GetSubject": _of(_C, _O, _A),
        "ActivatePack": _of(_R),
        "CheckPosture": _of(_O, _A, _R),
    },
    "consentry.v1.VaultService": {
        "UploadPhoto": _of(_C, _P),
        "RegisterPhoto": _of(_C),
        "OpenPhoto": _of(_P),
        "ReleasePhotoKey": _of(_P),
        "StoreIdentifier": _of(_P),
        "OpenIdentifier": _of(_P),
        "OpenGallery": _of(_P),
        "ListIdentifiers": _of(_C, _P, _O, _A),
        "RecordDerived": _of(_P),
    },
    "consentry.v1.RetentionService": {
        "ListDeadlines": _of(_O, _A, _R),
        "PlaceHold": _of(_O),
        "LiftHold": _of(_O),
        "Sweep": _of(_R, _O),
        "WatchDestructionOrders": _of(_P, _C),
        "AcknowledgeDestruction": _of(_P, _C),
        "GetDestructionCertificate": _of(_C, _O, _A, _R),
    },
    "consentry.v1.RightsService": {
        "ExportSubject": _of(_C, _O),
        "EraseSubject": _of(_C, _O),
    },
    "consentry.v1.AuditService": {
        "ListEntries": _of(_A, _O, _R),
        "TailEntries": _of(_A, _O, _R),
        "GetCheckpoint": _ALL,
        "GetInclusionProof": _ALL,
        "GetConsistencyProof": _ALL,
        "ReplayDecisions": _of(_A, _O),
        "ExportEvidence": _of(_A, _O),
        "GetCoverage": _of(_A, _O, _R),
        "GetExposure": _of(_A, _O),
    },
    # connections and their peers: for who runs the server
    "grpc.channelz.v1.Channelz": dict.fromkeys(
        ("GetTopChannels", "GetServers", "GetServer", "GetServerSockets", "GetChannel", "GetSubchannel", "GetSocket"),
        _of(_R),
    ),
}

ACCESS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {f"/{service}/{method}": roles for service, methods in _SERVICES.items() for method, roles in methods.items()}
)
"""Full name of a method, ``/consentry.v1.GateService/Check``, to the roles that may call it."""

OPEN_SERVICES: Final = frozenset({"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"})
"""Whoever may connect may call these: they tell nothing of a tenant, and a probe has no role."""

ENDLESS: Final = frozenset(
    {
        "/consentry.v1.AuditService/TailEntries",
        "/consentry.v1.GateService/StreamChecks",
        "/consentry.v1.GateService/WatchRevocations",
        "/consentry.v1.RetentionService/WatchDestructionOrders",
        "/consentry.v1.VaultService/OpenGallery",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)
"""Calls that end when one side says so: a stopping server ends them instead of waiting."""
