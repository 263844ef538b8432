"""A ledger served over HTTP as C2SP ``tlog-tiles``."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from consentry_server.adapters.sources.limits import longest
from consentry_server.services.verification import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from pathlib import Path

CONNECTIONS: Final = 4
"""Files that one process asks for at a time."""
ATTEMPTS: Final = 3
"""How often a file is asked for while the connection breaks or the server is in trouble."""
TIMEOUT_SECONDS: Final = 30.0

_OK: Final = 200
_MISSING: Final = frozenset({404, 410})
_REFUSED: Final = frozenset({401, 403})
_REDIRECTED: Final = range(300, 400)
_IN_TROUBLE: Final = range(500, 600)


@dataclass(frozen=True, slots=True)
class Web:
    """An address below which ``checkpoint`` and ``tile/...`` lie.

    Args:
        url: ``https://...``; ``http://...`` where nothing secret is sent, or to this very machine.
        token: Bearer token, or empty.
        ca: PEM of the authorities to trust instead of the system's.
        certificate: PEM of this caller's certificate chain.
        key: PEM of its key.

    Raises:
        SourceError: The address is none, or a secret would travel in clear text.
    """

    url: str
    token: str = field(default="", repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    has_upper_tiles: bool = True

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _port = parts.hostname, parts.port
        except ValueError as error:
            raise SourceError(f"{self.url} is no address: {error}") from error
        if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or parts.username:
            raise SourceError(f"{self.url} is no address of the form https://host/path")
        if self.token and parts.scheme == "http" and not _is_loopback(host):
            raise SourceError("a token is not sent over http:// to another machine: use https://")
        if not self.token.isascii() or any(character.isspace() for character in self.token):
            raise SourceError("the token has a character that no token can have")

    def open(self) -> WebReader:
        """Begin to read; as ``Source.open``. Certificates are read here."""
        context = None
        if urlsplit(self.url).scheme == "https":
            try:
                context = ssl.create_default_context(cafile=self.ca)
                if self.certificate is not None:
                    context.load_cert_chain(self.certificate, self.key)
            except (OSError, ssl.SSLError) as error:
                raise SourceError(f"the TLS files cannot be used: {error.strerror or error}") from error
        return WebReader(self, context)

    def paths(self) -> tuple[str, ...]:
        """A web server lists nothing; as ``Source.paths``."""
        return ()


class WebReader:
    """Fetches files, a few at a time.

    Args:
        web: Where from.
        context: TLS; None for clear text.
    """

    def __init__(self, web: Web, context: ssl.SSLContext | None) -> None:
        parts = urlsplit(web.url)
        self._web = web
        self._context = context
        self._host, self._port = parts.hostname or "", parts.port
        self._base = f"{parts.path.rstrip('/')}/"
        self._headers = {"Authorization": f"Bearer {web.token}"} if web.token else {}
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._own = threading.local()
        self._connections: list[HTTPConnection] = []
        self._ahead: dict[str, Future[bytes | None]] = {}

    def read(self, path: str) -> bytes | None:
        """Contents of a file; as ``Reader.read``."""
        coming = self._ahead.pop(path, None)
        return coming.result() if coming is not None else self._fetch(path)

    def ahead(self, paths: Iterable[str]) -> None:
        """Begin to fetch; as ``Reader.ahead``."""
        self._ahead = {path: self._pool.submit(self._fetch, path) for path in paths}

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()

    def _fetch(self, path: str) -> bytes | None:
        for _ in range(ATTEMPTS - 1):
            try:
                status, body = self._ask(path)
            except (HTTPException, OSError):  # a server may close an idle connection at any time
                self._drop()
                continue
            if status not in _IN_TROUBLE:
                return self._judge(path, status, body)
        try:
            return self._judge(path, *self._ask(path))
        except (HTTPException, OSError) as error:
            self._drop()
            raise SourceError(f"{self._web.url} does not answer as a web server does: {_why(error)}") from error

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = self._connection()
        connection.request("GET", quote(self._base + path), headers=self._headers)
        with connection.getresponse() as response:
            most = longest(path)
            body = response.read(most)
            if len(body) == most:  # longer than such a file can be: the rest is not wanted
                self._drop()
            elif response.length:  # what was still to come
                raise IncompleteRead(body, response.length)
        return response.status, body

    def _judge(self, path: str, status: int, body: bytes) -> bytes | None:
        if status == _OK:
            return body
        if status in _MISSING:
            return None
        if status in _REFUSED:
            raise SourceError(
                f"{self._web.url} refuses {path} ({status}): entries are for authorised auditors only; "
                "name a token with --token-file or a certificate with --tls-cert and --tls-key"
            )
        if status in _REDIRECTED:
            raise SourceError(f"{self._web.url} sends {path} elsewhere ({status}): name the address that it moved to")
        raise SourceError(f"{self._web.url} answers {status} to {path}: try again later, or ask who runs it")

    def _connection(self) -> HTTPConnection:
        connection: HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            if self._context is not None:
                connection = HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._context)
            else:
                connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
            self._own.connection = connection
            self._connections.append(connection)
        return connection

    def _drop(self) -> None:
        connection: HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()  # it opens again with the next request


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
