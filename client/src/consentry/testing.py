"""A fake server for the tests of those who use this package. It decides nothing and records nothing.

`FakeGate` is a real gRPC server on a loopback port of this machine, with the answers that a test gives it:

    with FakeGate(allowed={"alice"}) as gate, gate.client() as client:
        ...
        assert [report.result for report in gate.received("RecordProcessing")] == [ProcessingResult.PERFORMED]

Faces of the allowed subjects get ALLOW, all others DENY; an answer without any allowed face carries no permit. Its
permits are no JWTs, its ledger does not exist. What depends on law, consent or keys needs the real server.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, Self

import grpc
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from consentry import aio
from consentry._fill import fill
from consentry.client import Client
from consentry.config import DEFAULT_CONFIG
from consentry.errors import DOMAIN
from consentry.results import ALLOWED, EntryReference
from consentry.v1 import (
    audit_service_pb2,
    decision_pb2,
    gate_service_pb2,
    identifier_pb2,
    registry_service_pb2,
    retention_service_pb2,
    rights_service_pb2,
    vault_service_pb2,
)
from consentry.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import TypeAlias

    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

    from consentry.config import Config

    Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]

_FILES = (
    gate_service_pb2,
    registry_service_pb2,
    vault_service_pb2,
    retention_service_pb2,
    rights_service_pb2,
    audit_service_pb2,
)
_CHUNK_BYTES = 64 * 1024
_RELEASE_MISSING: Mapping[str, object] = MappingProxyType(
    {
        "code": "RELEASE_MISSING",
        "rule_id": "FAKE-RELEASE",
        "text": "No release is on record.",
        "remedy": "Obtain a written release.",
        "outcome": Outcome.DENY,
    }
)


def fails(code: grpc.StatusCode, reason: str = "", message: str = "scripted", **metadata: str) -> Behaviour:
    """Return a behaviour that fails as the real server does: with a status and, for a reason, one ``ErrorInfo``."""

    def behaviour(_request: object, context: grpc.ServicerContext) -> NoReturn:
        status = status_pb2.Status(code=code.value[0], message=message)
        if reason:
            status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort_with_status raises")

    return behaviour


def answers(response: Message | Iterable[Message]) -> Behaviour:
    """Return a behaviour that gives this answer; for a stream, these messages."""
    return lambda _request, _context: response


def never_answers(_request: object, context: grpc.ServicerContext) -> None:
    """Wait until the caller has given up: a behaviour for tests of deadlines."""
    given_up = threading.Event()
    if context.add_callback(given_up.set):
        given_up.wait()


class FakeGate:
    """A server with scripted answers.

    Args:
        allowed: ids of subjects whose faces are allowed.
        nonbiometric: ids of subjects whose faces are allowed as photos only.
        permit_life: how long its permits live.

    Attributes:
        address: "127.0.0.1:port", once it is started.
        photos: bytes by photo id; uploads add to it, openings read from it.
        identifiers: opened identifiers by id, likewise.
    """

    def __init__(
        self,
        *,
        allowed: Iterable[str] = (),
        nonbiometric: Iterable[str] = (),
        permit_life: timedelta = timedelta(seconds=60),
    ) -> None:
        self.address = ""
        self.photos: dict[str, bytes] = {}
        self.identifiers: dict[str, identifier_pb2.OpenedIdentifier] = {}
        self._outcomes = dict.fromkeys(allowed, Outcome.ALLOW) | dict.fromkeys(nonbiometric, Outcome.ALLOW_NONBIOMETRIC)
        self._permit_life = permit_life
        self._scripts: defaultdict[str, deque[Behaviour]] = defaultdict(deque)
        self._received: defaultdict[str, list[Any]] = defaultdict(list)
        self._metadata: defaultdict[str, list[dict[str, str | bytes]]] = defaultdict(list)
        self._defaults: dict[str, Behaviour] = {
            "Check": self._check,
            "BatchCheck": self._batch_check,
            "RecordProcessing": lambda _request, _context: gate_service_pb2.RecordProcessingResponse(),
            "UploadPhoto": self._upload_photo,
            "OpenPhoto": self._open_photo,
            "StoreIdentifier": self._store_identifier,
            "OpenIdentifier": self._open_identifier,
        }
        self._server: grpc.Server | None = None

    def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen on a free loopback port; with credentials, over TLS."""
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
        for file in _FILES:
            for service in file.DESCRIPTOR.services_by_name.values():
                handlers = {method.name: self._handler(method) for method in service.methods}
                self._server.add_generic_rpc_handlers(
                    (grpc.method_handlers_generic_handler(service.full_name, handlers),)
                )
        target = "127.0.0.1:0"
        port = (
            self._server.add_secure_port(target, credentials) if credentials else self._server.add_insecure_port(target)
        )
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        """Stop at once; calls in flight fail."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def client(self, *, config: Config = DEFAULT_CONFIG) -> Client:
        """Return a client of this server, not yet started."""
        return Client.unsafe_insecure_loopback(self.address, role="processor", config=config)

    def aio_client(self, *, config: Config = DEFAULT_CONFIG) -> aio.Client:
        """Return an asynchronous client of this server, not yet started."""
        return aio.Client.unsafe_insecure_loopback(self.address, role="processor", config=config)

    def script(self, method: str, *behaviours: Behaviour) -> None:
        """Let the next calls of a method, such as "Check", behave so, one after the other; then as before."""
        self._scripts[method].extend(behaviours)

    def received(self, method: str) -> list[Any]:
        """Return the requests that came for a method, in order; for a client stream, its lists of messages."""
        return list(self._received[method])

    def metadata(self, method: str) -> list[dict[str, str | bytes]]:
        """Return the metadata that came with them."""
        return list(self._metadata[method])

    def decision(self, check: gate_service_pb2.CheckRequest) -> decision_pb2.Decision:
        """Return the decision that this server gives by itself."""
        outcomes = [self._outcomes.get(face.subject_id, Outcome.DENY) for face in check.faces] or [Outcome.DENY]
        now = datetime.now(UTC)
        index = len(self._received["Check"])
        decision = fill(
            decision_pb2.Decision(),
            decision_id=f"dec_{index}_fake",
            outcome=max(outcomes),
            entry=EntryReference("fake/fake", index, bytes(32)),
            check_time=now,
            expire_time=now + self._permit_life,
            engine_version="fake",
        )
        for number, outcome in enumerate(outcomes):
            face = fill(decision.faces.add(), index=number, outcome=outcome)
            if outcome is Outcome.DENY:
                face.reasons.append(fill(decision_pb2.Reason(), **_RELEASE_MISSING))
        if Outcome.DENY in outcomes:
            decision.reasons.append(fill(decision_pb2.Reason(), **_RELEASE_MISSING))
        return decision

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        makers: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]] = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        serve = self._serve_stream if method.server_streaming else self._serve
        return makers[method.client_streaming, method.server_streaming](
            partial(serve, method.name, method.client_streaming),
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )

    def _serve(self, method: str, streamed: bool, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: FBT001
        if streamed:
            request = _take(request)
        self._received[method].append(request)
        self._metadata[method].append(dict(context.invocation_metadata()))
        script = self._scripts[method]
        behaviour = script.popleft() if script else self._defaults.get(method, _not_built)
        return behaviour(request, context)

    def _serve_stream(
        self,
        method: str,
        streamed: bool,  # noqa: FBT001
        request: Any,
        context: grpc.ServicerContext,
    ) -> Iterator[Any]:
        yield from self._serve(method, streamed, request, context) or ()

    def _check(
        self, request: gate_service_pb2.CheckRequest, _context: grpc.ServicerContext
    ) -> gate_service_pb2.CheckResponse:
        decision = self.decision(request)
        allowed = any(Outcome.read(face.outcome) in ALLOWED for face in decision.faces)
        permit = f"permit-{decision.decision_id}" if request.want_permit and allowed else ""
        return gate_service_pb2.CheckResponse(decision=decision, permit=permit)

    def _batch_check(
        self, request: gate_service_pb2.BatchCheckRequest, context: grpc.ServicerContext
    ) -> gate_service_pb2.BatchCheckResponse:
        return gate_service_pb2.BatchCheckResponse(
            results=[
                gate_service_pb2.CheckResult(
                    correlation_id=item.correlation_id, response=self._check(item.check, context)
                )
                for item in request.items
            ]
        )

    def _upload_photo(
        self, messages: list[vault_service_pb2.UploadPhotoRequest], context: grpc.ServicerContext
    ) -> vault_service_pb2.UploadPhotoResponse:
        content = b"".join(message.chunk for message in messages)
        end = messages[-1].end if messages and messages[-1].HasField("end") else None
        if end is None:
            fails(grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_INCOMPLETE")(messages, context)
        elif (end.size, end.sha256) != (len(content), hashlib.sha256(content).digest()):
            fails(grpc.StatusCode.INVALID_ARGUMENT, "DIGEST_MISMATCH", field="end.sha256")(messages, context)
        photo_id = f"pho_{len(self.photos)}"
        self.photos[photo_id] = content
        return vault_service_pb2.UploadPhotoResponse(photo_id=photo_id, size=len(content))

    def _open_photo(
        self, request: vault_service_pb2.OpenPhotoRequest, context: grpc.ServicerContext
    ) -> Iterator[vault_service_pb2.OpenPhotoResponse]:
        if request.photo_id not in self.photos:
            fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", field="photo_id")(request, context)
        return photo_messages(self.photos[request.photo_id])

    def _store_identifier(
        self, request: vault_service_pb2.StoreIdentifierRequest, _context: grpc.ServicerContext
    ) -> vault_service_pb2.StoreIdentifierResponse:
        identifier_id = f"idf_{len(self.identifiers)}"
        opened = identifier_pb2.OpenedIdentifier(identifier=request.identifier, template=request.template)
        opened.identifier.identifier_id = identifier_id
        self.identifiers[identifier_id] = opened
        return vault_service_pb2.StoreIdentifierResponse(identifier_id=identifier_id)

    def _open_identifier(
        self, request: vault_service_pb2.OpenIdentifierRequest, context: grpc.ServicerContext
    ) -> vault_service_pb2.OpenIdentifierResponse:
        if request.identifier_id not in self.identifiers:
            fails(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", field="identifier_id")(request, context)
        return vault_service_pb2.OpenIdentifierResponse(opened=self.identifiers[request.identifier_id])


def photo_messages(content: bytes, *, size: int | None = None) -> Iterator[vault_service_pb2.OpenPhotoResponse]:
    """Return the messages of an opened photo; another ``size`` than its own makes it a broken one."""
    header = vault_service_pb2.OpenPhotoHeader(size=len(content) if size is None else size)
    yield vault_service_pb2.OpenPhotoResponse(header=header)
    for start in range(0, len(content), _CHUNK_BYTES):
        yield vault_service_pb2.OpenPhotoResponse(chunk=content[start : start + _CHUNK_BYTES])


def _take(messages: Iterator[Any]) -> list[Any]:
    """Read a client's stream to its end, or to where it breaks off."""
    return list(messages)


def _not_built(_request: object, context: grpc.ServicerContext) -> None:
    fails(grpc.StatusCode.UNIMPLEMENTED, "NOT_BUILT")(_request, context)
