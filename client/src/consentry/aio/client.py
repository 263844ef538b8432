"""The asynchronous client. It belongs to the event loop that it was started in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, Self, TypeAlias, TypeVar, cast

import grpc

from consentry import _calls
from consentry._base import BaseClient
from consentry._methods import named_after, photo_too_large
from consentry._transfer import Download, Upload
from consentry.client import PhotoBytes, size_of
from consentry.errors import from_rpc
from consentry.results import OpenedPhoto, StoredPhoto, read_stored_photo
from consentry.v1.vault_service_pb2 import OpenPhotoRequest, OpenPhotoResponse, UploadPhotoRequest

if TYPE_CHECKING:
    from types import TracebackType

    from consentry._calls import Call, Listing, Stream
    from consentry.inputs import PhotoDescription

P = ParamSpec("P")
T = TypeVar("T")

AsyncPhotoBytes: TypeAlias = "PhotoBytes | AsyncIterable[bytes]"
"""As `consentry.PhotoBytes`, or an asynchronous iterable of pieces."""


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], Coroutine[Any, Any, T]]:
    async def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    return named_after(build, method)


def _listing(build: Callable[P, Listing[T]]) -> Callable[Concatenate[Client, P], AsyncIterator[T]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self.pages(build(*args, **kwargs))

    return named_after(build, method)


def _stream(build: Callable[P, Stream[T]]) -> Callable[Concatenate[Client, P], AsyncIterator[T]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self.items(build(*args, **kwargs))

    return named_after(build, method)


class Client(BaseClient):
    """Consentry's services as coroutines. Make it with ``connect``, use it in an ``async with`` block.

    Every method raises a `ConsentryError` where no answer came; then do not process.
    """

    _channel: grpc.aio.Channel | None = None

    async def start(self) -> None:
        """Open the connection; files with certificates are read here.

        Raises:
            InvalidRequest: a certificate or key cannot be read.
        """
        self._refuse_second_start()
        options, tls = self._endpoint.options(self._config), self._endpoint.tls
        if tls is None:
            self._channel = grpc.aio.insecure_channel(self._endpoint.target, options)
        else:
            credentials = await asyncio.to_thread(tls.credentials)
            self._channel = grpc.aio.secure_channel(self._endpoint.target, credentials, options)
        self._attach(self._channel)

    async def aclose(self) -> None:
        """Close the connection; calls in flight fail."""
        self._detach()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send one call and read its answer; the methods below make the calls.

        Raises:
            ConsentryError: no answer.
        """
        rpc = self._rpc(call.service, call.method)
        try:
            response = await rpc(
                call.request, timeout=call.kind.seconds(self._config), metadata=self._endpoint.metadata
            )
        except grpc.RpcError as error:
            raise from_rpc(error) from error
        return call.read(response)

    async def pages(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Iterate over a list; pages are fetched as they are needed."""
        token = ""
        while True:
            page = await self.send(listing.call(token))
            for item in page.items:
                yield item
            token = page.next_page_token
            if not token:
                return

    async def items(self, stream: Stream[T]) -> AsyncIterator[T]:
        """Iterate over the messages of a call as they come; leaving early ends it."""
        rpc = self._rpc(stream.service, stream.method)
        call = rpc(stream.request, metadata=self._endpoint.metadata)
        try:
            async for message in call:
                yield stream.read(message)
        except grpc.RpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()

    check = _method(_calls.check)
    check_batch = _method(_calls.check_batch)
    record_processing = _method(_calls.record_processing)
    list_reviews = _listing(_calls.list_reviews)
    resolve_review = _method(_calls.resolve_review)
    simulate = _method(_calls.simulate)
    explain = _method(_calls.explain)

    publish_notice = _method(_calls.publish_notice)
    list_notices = _listing(_calls.list_notices)
    diff_notices = _method(_calls.diff_notices)
    publish_retention_policy = _method(_calls.publish_retention_policy)
    record_notice_delivery = _method(_calls.record_notice_delivery)
    record_release = _method(_calls.record_release)
    withdraw_release = _method(_calls.withdraw_release)
    record_interaction = _method(_calls.record_interaction)
    record_purpose_satisfied = _method(_calls.record_purpose_satisfied)
    record_opt_out = _method(_calls.record_opt_out)
    record_employment_ended = _method(_calls.record_employment_ended)
    record_determination = _method(_calls.record_determination)
    approve_determination = _method(_calls.approve_determination)
    revoke_determination = _method(_calls.revoke_determination)
    record_statement = _method(_calls.record_statement)
    activate_pack = _method(_calls.activate_pack)
    switch_enforcement = _method(_calls.switch_enforcement)
    check_posture = _method(_calls.check_posture)
    get_subject = _method(_calls.get_subject)

    store_identifier = _method(_calls.store_identifier)
    open_identifier = _method(_calls.open_identifier)
    list_identifiers = _listing(_calls.list_identifiers)
    record_derived = _method(_calls.record_derived)

    get_destruction_certificate = _method(_calls.get_destruction_certificate)
    list_entries = _listing(_calls.list_entries)
    replay_decisions = _stream(_calls.replay_decisions)
    get_checkpoint = _method(_calls.get_checkpoint)
    get_inclusion_proof = _method(_calls.get_inclusion_proof)
    get_consistency_proof = _method(_calls.get_consistency_proof)

    async def upload_photo(
        self, photo: AsyncPhotoBytes, description: PhotoDescription, *, content_type: str = "", request_id: str = ""
    ) -> StoredPhoto:
        """Upload one photo. The vault decides STORE itself; a denial is a result, and then nothing is kept.

        Raises:
            InvalidRequest: not an image, or too large.
            Unavailable: no answer; whether it is stored is unknown: upload it again with the same ``request_id``.
        """
        upload = Upload(
            description, content_type=content_type, request_id=request_id, chunk_bytes=self._config.chunk_bytes
        )
        size = await asyncio.to_thread(size_of, photo)
        try:
            response = await self._rpc("VaultService", "UploadPhoto")(
                _messages(upload, photo, self._config.chunk_bytes),
                timeout=self._config.transfer_seconds(size),
                metadata=self._endpoint.metadata,
            )
        except grpc.RpcError as error:
            raise upload.failure or from_rpc(error) from error
        if upload.failure is not None:
            raise upload.failure
        return read_stored_photo(response)

    async def open_photo(self, permit: str, photo_id: str) -> OpenedPhoto:
        """Open a photo under a permit into memory; faces that it does not cover are masked.

        Raises:
            PermissionDenied: the permit does not fit, is expired, or its basis is gone.
            InvalidRequest: it has more than ``Config.max_photo_bytes``.
            Truncated: not every byte came.
        """
        async with self.stream_photo(permit, photo_id) as stream:
            if stream.photo.size > self._config.max_photo_bytes:
                raise photo_too_large(stream.photo.size, self._config)
            return stream.photo.with_content(b"".join([piece async for piece in stream]))

    @asynccontextmanager
    async def stream_photo(self, permit: str, photo_id: str) -> AsyncIterator[AsyncPhotoStream]:
        """Open a photo under a permit as a stream, for an ``async with`` block; leaving it early ends the transfer.

        The bytes are the whole photo only when the iteration has ended by itself.

        Raises:
            PermissionDenied: the permit does not fit, is expired, or its basis is gone.
            Truncated: not every byte came; raised at the end of the iteration.
        """
        call = self._rpc("VaultService", "OpenPhoto")(
            OpenPhotoRequest(permit=permit, photo_id=photo_id),
            timeout=self._config.transfer_seconds(),
            metadata=self._endpoint.metadata,
        )
        try:
            yield await AsyncPhotoStream.begin(call)
        finally:
            call.cancel()


class AsyncPhotoStream:
    """An opened photo that is coming in; iterate over its pieces.

    Attributes:
        photo: what its header says, without content.
    """

    def __init__(
        self,
        call: grpc.aio.UnaryStreamCall[OpenPhotoRequest, OpenPhotoResponse],
        download: Download,
        photo: OpenedPhoto,
    ) -> None:
        self._call = call
        self._download = download
        self.photo = photo

    @classmethod
    async def begin(cls, call: grpc.aio.UnaryStreamCall[OpenPhotoRequest, OpenPhotoResponse]) -> Self:
        """Wait for the header."""
        download = Download()
        return cls(call, download, download.start(await _next(call)))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await _next(self._call)) is not None:
            yield self._download.take(message)
        self._download.finish()


async def _next(call: grpc.aio.UnaryStreamCall[OpenPhotoRequest, OpenPhotoResponse]) -> OpenPhotoResponse | None:
    try:
        message = await call.read()
    except grpc.RpcError as error:
        raise from_rpc(error) from error
    return message if isinstance(message, OpenPhotoResponse) else None  # grpc.aio.EOF


async def _pieces(photo: AsyncPhotoBytes, piece_bytes: int) -> AsyncIterator[bytes]:
    if isinstance(photo, bytes):
        yield photo
    elif isinstance(photo, AsyncIterable):
        async for piece in photo:
            yield piece
    elif isinstance(photo, os.PathLike):
        with await asyncio.to_thread(Path(photo).open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, piece_bytes):
                yield piece
    elif hasattr(photo, "read"):
        opened = cast("BinaryIO", photo)
        while piece := await asyncio.to_thread(opened.read, piece_bytes):
            yield piece
    else:
        for piece in photo:
            yield piece


async def _messages(upload: Upload, photo: AsyncPhotoBytes, piece_bytes: int) -> AsyncIterator[UploadPhotoRequest]:
    yield upload.header
    try:
        async for piece in _pieces(photo, piece_bytes):
            for part in upload.parts(piece):
                yield part
    except Exception as error:  # noqa: BLE001 - gRPC would swallow it; upload_photo raises it
        upload.failure = error
        return
    yield upload.end()
