"""``consentry audit serve-tiles``: published tiles over HTTP, in a process of its own that checks never wait for."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from consentry_server import config, logs
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from consentry_server.config import ServerSettings

MAX_REQUESTS_AT_ONCE: Final = 256
STOP_GRACE_SECONDS: Final = 10

_messages = Console(stderr=True, highlight=False)


def serve_tiles(
    state: Annotated[Path, typer.Argument(help="The server's state folder.", show_default=False)],
    listen: Annotated[
        str, typer.Option(help="HOST:PORT; port 0 takes a free one. TLS anywhere but on a loopback address.")
    ] = "127.0.0.1:8080",
    tenant: Annotated[str, typer.Option(help="Whose ledger; needed where there are several.")] = "",
    auditors: Annotated[
        Path | None,
        typer.Option(help="File of lines NAME TOKEN: who may read entries. Nobody without one.", show_default=False),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the URL as JSON here once requests are answered.", show_default=False)
    ] = None,
) -> None:
    """Serve published tiles over HTTP until SIGTERM: hashes to anybody, entries to auditors."""
    # the other commands start without a web server
    import uvicorn  # noqa: PLC0415

    from consentry_server.adapters.grpc.server import is_loopback  # noqa: PLC0415
    from consentry_server.adapters.tiles_http.app import make_app  # noqa: PLC0415
    from consentry_server.adapters.tiles_http.auditors import Auditors  # noqa: PLC0415
    from consentry_server.tenant import tile_store  # noqa: PLC0415

    settings = config.load(state, listen=listen)
    logs.configure(level=settings.log.level)
    name = settings.tenancy.choose(tenant)
    tiles = tile_store(state, name, settings)
    if tiles is None:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID,
            f"tiles.publish_to is empty: set it in {state / config.FILE_NAME}, and serve the state folder to publish",
            field="tiles.publish_to",
        )
    host = settings.server.host
    certificate, key = (None, None) if is_loopback(host) else _tls(state, settings.server)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(tiles, None if auditors is None else Auditors.load(auditors)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_REQUESTS_AT_ONCE,
            timeout_graceful_shutdown=STOP_GRACE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    listener = _listen(host, int(settings.server.listen.rpartition(":")[2]))
    port = listener.getsockname()[1]
    url = f"{'http' if certificate is None else 'https'}://{settings.server.listen.rpartition(':')[0]}:{port}"
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn stops by it, then raises it once more
    try:
        if ready_file is not None:
            ready_file.write_text(json.dumps({"url": url}) + "\n", encoding="utf-8")
        _messages.print(f"tiles of {name} on {url}", soft_wrap=True)
        server.run(sockets=[listener])
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
    """Bound and listening: who connects from now on is answered."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
    except OSError as error:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID, f"--listen {host}:{port} cannot be used: {error.strerror}", field="listen"
        ) from error


def _tls(state: Path, server: ServerSettings) -> tuple[Path, Path]:
    """The server's own certificate: nothing is served in clear text to another machine."""
    files = (server.tls_certificate or state / "tls" / "server.pem", server.tls_key or state / "tls" / "server.key")
    for file in files:
        if not file.is_file():
            raise ConsentryError(
                Reason.CONFIGURATION_INVALID,
                f"{file} is missing: without TLS tiles are served on a loopback address alone",
                field="server.tls_certificate",
            )
    return files
