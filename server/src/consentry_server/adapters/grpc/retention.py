"""RetentionService: GetDestructionCertificate."""

from __future__ import annotations

from typing import Any

from consentry.v1 import retention_service_pb2 as pb
from consentry_server.adapters.grpc import read, write_record
from consentry_server.adapters.grpc.servicer import Servicer


class RetentionServicer(Servicer):
    """Proves how far something is gone. Each method is the RPC of its name in ``retention_service.proto``."""

    async def GetDestructionCertificate(  # noqa: N802 - the RPC's name
        self, request: pb.GetDestructionCertificateRequest, _context: Any
    ) -> pb.GetDestructionCertificateResponse:
        """Give the certificate of a destruction as it stands now."""
        _caller, tenant, ledger = self._call()
        held = await tenant.retention.certificate(read.record_id(request.destruction_id, "destruction_id"))
        made = held.destruction
        entries = await tenant.registry.entries(
            index for index in (made.requested_index, made.completed_index) if index >= 0
        )
        return pb.GetDestructionCertificateResponse(
            certificate=write_record.certificate(ledger, held, entries), token=held.token
        )
