"""Every method is wrapped once, where it is registered: identity, role, parsing, the call, and its errors.

A servicer is any object whose methods have the RPCs' names::

    async def Check(self, request: CheckRequest, context) -> CheckResponse
    async def UploadPhoto(self, requests: AsyncIterator[UploadPhotoRequest], context) -> UploadPhotoResponse | bytes
    async def OpenPhoto(self, request: OpenPhotoRequest, context) -> AsyncIterator[OpenPhotoResponse]  # with yield

It raises ConsentryError, knows who calls from ``identity.caller()``, and never touches status codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from consentry_server.adapters.grpc.access import ACCESS, ENDLESS, OPEN_SERVICES
from consentry_server.adapters.grpc.identity import Identity, require_role, set_caller
from consentry_server.adapters.grpc.status import abort, fault
from consentry_server.adapters.grpc.unbuilt import implementation, not_built
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

    from consentry_server.services.context import Role

    Context = grpc.aio.ServicerContext[Any, Any]

PACKAGE: Final = "consentry.v1"
RETRY_AFTER_MILLISECONDS: Final = 100


def _fault_id() -> str:
    return secrets.token_hex(6)


@dataclass
class Calls:
    """The calls being answered, and how they end when the server stops.

    Args:
        limit: How many may be answered at once; one more is ``OVERLOADED``.
    """

    limit: int
    in_flight: int = 0
    stopping: bool = False
    endless: set[asyncio.Task[Any]] = field(default_factory=set)

    def enter(self, *, endless: bool) -> None:
        """Count one call in.

        Args:
            endless: Whether the call ends only when somebody says so.

        Raises:
            ConsentryError: ``SHUTTING_DOWN`` or ``OVERLOADED``; the call is then not counted.
        """
        if self.stopping:
            raise shutting_down()
        if self.in_flight >= self.limit:
            raise ConsentryError(
                Reason.OVERLOADED,
                "too many calls are in flight; nothing was decided or recorded: retry after a pause",
                metadata={"retry_after_ms": str(RETRY_AFTER_MILLISECONDS)},
            )
        self.in_flight += 1
        if endless and (task := asyncio.current_task()) is not None:
            self.endless.add(task)

    def leave(self, *, endless: bool) -> None:
        """Count one call out."""
        self.in_flight -= 1
        if endless and (task := asyncio.current_task()) is not None:
            self.endless.discard(task)

    def stop(self) -> None:
        """Accept no more calls, and wake those that would never end: they answer ``SHUTTING_DOWN``."""
        self.stopping = True
        for task in tuple(self.endless):
            task.cancel()


def shutting_down() -> ConsentryError:
    """Return the error of a call that meets a stopping server."""
    return ConsentryError(
        Reason.SHUTTING_DOWN,
        "the server finishes what it accepted and accepts nothing new: retry with the same request_id",
    )


class Method:
    """One RPC as the server answers it.

    Args:
        descriptor: The method in its service's descriptor.
        servicer: What answers it, or None.
        identity: Names its caller.
        calls: Where the call is counted.
    """

    def __init__(self, descriptor: MethodDescriptor, servicer: object | None, identity: Identity, calls: Calls) -> None:
        service: ServiceDescriptor = descriptor.containing_service
        self.name = f"/{service.full_name}/{descriptor.name}"
        self._roles: frozenset[Role] | None = (
            None if service.full_name in OPEN_SERVICES else ACCESS.get(self.name, frozenset())
        )
        self._identity = identity
        self._calls = calls
        self._endless = self.name in ENDLESS
        self._request: type[Message] = GetMessageClass(descriptor.input_type)
        self._response: type[Message] = GetMessageClass(descriptor.output_type)
        self._client_streams = descriptor.client_streaming
        self._server_streams = descriptor.server_streaming
        self._answer = implementation(servicer, descriptor.name)
        if self._answer is not None and inspect.isasyncgenfunction(self._answer) is not self._server_streams:
            kind = "an async generator" if self._server_streams else "a coroutine function"
            raise TypeError(f"{self.name} must be {kind}")

    def handler(self) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler to register; requests arrive in it as bytes, so that bad ones are ours to answer."""
        if not self._server_streams:
            make = grpc.stream_unary_rpc_method_handler if self._client_streams else grpc.unary_unary_rpc_method_handler
            return make(self._answer_one)
        make = grpc.stream_stream_rpc_method_handler if self._client_streams else grpc.unary_stream_rpc_method_handler
        return make(self._answer_many)

    async def _answer_one(self, raw: Any, context: Context) -> bytes:
        try:
            self._calls.enter(endless=self._endless)
            try:
                answer = self._admit(context)
                return self._serialize(await answer(self._parse(raw), context))
            finally:
                self._calls.leave(endless=self._endless)
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 - _judge logs or raises
            error = self._judge(caught)
        return await abort(context, error)

    async def _answer_many(self, raw: Any, context: Context) -> AsyncIterator[bytes]:
        try:
            self._calls.enter(endless=self._endless)
            try:
                answer = self._admit(context)
                async with contextlib.aclosing(answer(self._parse(raw), context)) as responses:
                    async for response in responses:
                        yield self._serialize(response)
            finally:
                self._calls.leave(endless=self._endless)
        except (Exception, asyncio.CancelledError) as caught:  # noqa: BLE001 - _judge logs or raises
            error = self._judge(caught)
        else:
            return
        await abort(context, error)

    def _admit(self, context: Context) -> Callable[..., Any]:
        """Look at who calls before anything else of the call is looked at."""
        if self._roles is not None:
            found = self._identity.identify(context)
            require_role(found, self._roles, self.name)
            set_caller(found)
        if self._answer is None:
            raise not_built(self.name)
        return self._answer

    def _parse(self, raw: Any) -> Any:
        """Parse the request, or each message of the stream of requests as it comes."""
        return self._parse_each(raw) if self._client_streams else self._parse_one(raw)

    def _parse_one(self, data: bytes) -> Message:
        try:
            return self._request.FromString(data)
        except DecodeError as error:
            name = self._request.DESCRIPTOR.full_name
            raise ConsentryError(
                Reason.FIELD_INVALID, f"the request is not a {name}: its bytes cannot be read", field="request"
            ) from error

    async def _parse_each(self, requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for data in requests:
            yield self._parse_one(data)

    def _serialize(self, response: Message | bytes) -> bytes:
        if type(response) is bytes:  # a servicer that answers many at once has done it
            return response
        if type(response) is not self._response:
            raise TypeError(f"{self.name} answered with a {type(response).__name__}")
        return response.SerializeToString()

    def _judge(self, caught: BaseException) -> ConsentryError:
        """Say what the caller is told of an exception, or raise it on: what gRPC or the caller itself ended."""
        match caught:
            case ConsentryError():
                return caught
            case grpc.aio.AbortError():
                raise caught
            case asyncio.CancelledError():
                task = asyncio.current_task()
                if task is None or not task.cancelling():  # something inside was cancelled; the caller still waits
                    return fault(self.name, _fault_id)
                if not (self._calls.stopping and self._endless):
                    raise caught
                task.uncancel()
                return shutting_down()
            case _:
                return fault(self.name, _fault_id)


class UnknownMethods(grpc.GenericRpcHandler):
    """Answers calls to methods of our package that no descriptor here knows: a newer client's, or misspelled ones."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return a handler that refuses, for our own package only."""
        method = handler_call_details.method
        if not method.startswith(f"/{PACKAGE}."):
            return None

        async def refuse(_requests: Any, context: Context) -> None:
            try:
                self._identity.identify(context)
                error = not_built(method)
            except ConsentryError as missing:
                error = missing
            await abort(context, error)

        return grpc.stream_stream_rpc_method_handler(refuse)


def service_handler(
    service: ServiceDescriptor, servicer: object | None, identity: Identity, calls: Calls
) -> grpc.GenericRpcHandler:
    """Make the handler of one service: every RPC of its descriptor answers, built or not.

    Args:
        service: The service's descriptor.
        servicer: What answers it; None or a partial one leaves ``NOT_BUILT`` for the rest.
        identity: Names callers.
        calls: Where calls are counted.

    Returns:
        The handler to add to the server.
    """
    handlers = {method.name: Method(method, servicer, identity, calls).handler() for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)
