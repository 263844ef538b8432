"""Where ``consentry posture`` and ``consentry simulate`` find the registry: a state folder, or a live server."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from consentry.v1 import gate_service_pb2 as gate_pb
from consentry.v1 import gate_service_pb2_grpc, registry_service_pb2_grpc
from consentry.v1 import registry_service_pb2 as registry_pb
from consentry_server import config, logs
from consentry_server.adapters.grpc import posture as written
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.cli_filters import is_server
from consentry_server.cli_remote import answers, channel
from consentry_server.cli_sources import is_subject_ref
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.record.facts import Subject
from consentry_server.services.committed import Committed
from consentry_server.services.packs import Packs
from consentry_server.services.posture import Examination
from consentry_server.services.rehearsal import Tally, rehearse
from consentry_server.services.tiered import TieredStore
from consentry_server.tenant import TenantFolders, bundled_packs, posture_settings, tile_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consentry_server.cli_sources import Access

SECONDS = 120.0
"""How long one answer may take."""
NO_ANCHOR = "not anchored: no timestamp authority or witness is configured, nobody but its keeper vouches for it"


class Registry(Protocol):
    """A registry to ask. Answers are the contract's own messages, whatever the source."""

    def posture(self, regions: Sequence[str], *, persist: bool, request_id: str) -> registry_pb.CheckPostureResponse:
        """What is lacking."""

    def simulate(self, request: gate_pb.SimulateRequest) -> gate_pb.SimulateResponse:
        """What planned operations would be answered."""

    def check_person(self, subject_id: str) -> str:
        """What is wrong with an id of a person, for this source; empty where it will do."""


@contextmanager
def opened(source: str, access: Access) -> Iterator[Registry]:
    """Open a registry.

    Args:
        source: A state folder, or a server's ``HOST:PORT``.
        access: How to reach it.

    Raises:
        ConsentryError: It is neither, or cannot be reached.
    """
    if Path(source).is_dir() or not is_server(source):
        folder = _Folder(Path(source), access.tenant)
        try:
            yield folder
        finally:
            folder.close()
        return
    remote = _Server(source, access)
    try:
        yield remote
    finally:
        remote.close()


class _Folder:
    """Reads what is committed in a state folder and changes nothing; a server may be running on it."""

    def __init__(self, state: Path, tenant: str) -> None:
        logs.configure(level="error")
        self._settings = config.load(state)
        name = self._settings.tenancy.choose(tenant)
        folders = TenantFolders(state, name)
        self._ledger = f"{self._settings.tenancy.trust_domain}/{name}"
        if not folders.ledger.is_file():
            raise ConsentryError(Reason.NOT_FOUND, f"{folders.ledger} is missing: is this the right folder?")
        self._store = TieredStore(SqliteLedgerStore(folders.ledger), tile_store(state, name, self._settings))
        self._facts = Committed(self._store, datetime.now(UTC))
        packs = Packs([pack for pack, _data in bundled_packs()], self._store.fetch_document)
        self._packs = packs.compiled(self._facts.tenant.packs)

    def close(self) -> None:
        """Release the files."""
        self._store.close()

    def posture(self, regions: Sequence[str], *, persist: bool, request_id: str) -> registry_pb.CheckPostureResponse:  # noqa: ARG002 - nothing is recorded
        """See the protocol."""
        if persist:
            raise ConsentryError(
                Reason.FIELD_INVALID, "--persist writes to the ledger: name a live server as SOURCE", field="persist"
            )
        request = registry_pb.CheckPostureRequest(regions=regions)
        settings = self._settings
        anchors = settings.anchors
        examination = Examination(
            self._store,
            self._facts.tenant,
            self._packs,
            posture_settings(settings),
            "" if anchors.timestamp or anchors.witness else NO_ANCHOR,
            written.posture_regions(request),
            self._facts.now,
        )
        for _ in examination.steps:
            pass
        return written.posture(self._ledger, examination.posture())

    def simulate(self, request: gate_pb.SimulateRequest) -> gate_pb.SimulateResponse:
        """See the protocol."""
        tally = Tally()
        rehearse(
            self._facts,
            written.planned(request, self._facts.now, tally),
            tally,
            packs=self._packs,
            unknown_regions=frozenset(self._settings.gate.unknown_regions),
            reference=self._reference,
        )
        order = [each.correlation_id for each in request.operations]
        return written.simulated(tally, order, self._facts.now, self._facts.tenant.packs)

    def check_person(self, subject_id: str) -> str:
        """See the protocol."""
        if is_subject_ref(subject_id):
            return ""
        return "must be a reference such as sub_k3j5h2w4... for a state folder: your own id is known to a server only"

    def _reference(self, subject_id: str) -> str | None:
        return subject_id if self._facts.get(Subject, subject_id) is not None else None


class _Server:
    """Asks a live server, as an officer or operator."""

    def __init__(self, address: str, access: Access) -> None:
        self._channel = channel(address, access)
        self._gate: Any = gate_service_pb2_grpc.GateServiceStub(self._channel)
        self._registry: Any = registry_service_pb2_grpc.RegistryServiceStub(self._channel)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def posture(self, regions: Sequence[str], *, persist: bool, request_id: str) -> registry_pb.CheckPostureResponse:
        """See the protocol."""
        request = registry_pb.CheckPostureRequest(regions=regions, persist=persist, request_id=request_id)
        with answers():
            found: registry_pb.CheckPostureResponse = self._registry.CheckPosture(request, timeout=SECONDS)
        return found

    def simulate(self, request: gate_pb.SimulateRequest) -> gate_pb.SimulateResponse:
        """See the protocol."""
        with answers():
            found: gate_pb.SimulateResponse = self._gate.Simulate(request, timeout=SECONDS)
        return found

    def check_person(self, subject_id: str) -> str:
        """See the protocol."""
        if not is_subject_ref(subject_id):
            return ""
        return "must be your own id of the person for a server: a reference (sub_...) is for a state folder"
