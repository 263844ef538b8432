"""Published tiles over HTTP, read-only: C2SP ``tlog-tiles``.

Checkpoint and hash tiles are public: they hold no name, and hashes of entries cannot be guessed, since each has a
nonce. Entry tiles are for auditors. Anything else is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import note as notes
from consentry_server.core.ledger.checkpoint import parse_body
from consentry_server.core.ledger.errors import LedgerError, damaged
from consentry_server.core.ledger.export import CHECKPOINT_PATH
from consentry_server.core.ledger.merkle import HASH_BYTES, hash_leaf
from consentry_server.core.ledger.tiles import ENTRIES, Tile, decode_bundle, parse_path

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from consentry_server.adapters.tiles_http.auditors import Auditors
    from consentry_server.services.ports_tiles import TileStore

FULL: Final = "public, max-age=31536000, immutable"
PARTIAL: Final = "public, max-age=300"
"""A partial tile never changes either, but it goes once the full one is there."""
NEVER: Final = "no-store"
"""Of the checkpoint, which changes; of entries, which no cache is to keep; of everything that is not there."""
TEXT: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"
READ: Final = ("GET", "HEAD")
ALWAYS: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"}

_log = structlog.get_logger("tiles_http")


def make_app(tiles: TileStore, auditors: Auditors | None) -> Starlette:
    """Make the ASGI application.

    Args:
        tiles: What is published.
        auditors: Who may read entry tiles; None for nobody.

    Returns:
        The application: stateless, at home in any number of processes.
    """
    return Starlette(routes=[Route("/{path:path}", _Served(tiles, auditors))])


class _Served:
    """An ASGI application of its own: a function's route would answer some methods by itself."""

    def __init__(self, tiles: TileStore, auditors: Auditors | None) -> None:
        self._tiles = tiles
        self._auditors = auditors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        """1. Only reads. 2. Only paths of a ledger, to the letter. 3. Entries for auditors. 4. Only what holds."""
        if request.method not in READ:  # (1)
            return _refusal(405, "only GET and HEAD", Allow=", ".join(READ))
        raw: bytes = request.scope.get("raw_path") or b""
        path = raw.decode("ascii", errors="replace").removeprefix("/")
        if request.scope["query_string"]:
            return _refusal(404, "not found")
        if path == CHECKPOINT_PATH:
            return await self._read(path, None)
        try:
            tile = parse_path(path)  # (2)
        except LedgerError:
            return _refusal(404, "not found")
        if tile.level != ENTRIES:
            return await self._read(path, tile)
        given = request.headers.getlist("authorization")  # (3)
        auditor = self._auditors.name(given[0].encode("latin-1")) if self._auditors and len(given) == 1 else None
        if auditor is None:
            return _refusal(401, "entries are for auditors: send their token", **{"WWW-Authenticate": "Bearer"})
        response = await self._read(path, tile)
        _log.info("entry_tile_read", auditor=auditor, path=path, status=response.status_code)
        return response

    async def _read(self, path: str, tile: Tile | None) -> Response:
        try:
            data = await run_in_threadpool(self._checked, path, tile)
        except ConsentryError as error:
            _log.error("tile_not_served", path=path, reason=error.reason, message=error.message)
            if error.reason is Reason.DATA_DAMAGED:
                return _refusal(500, "this file is damaged here: the keeper of this ledger has been told")
            return _refusal(503, "the tiles cannot be read now: try again later", **{"Retry-After": "10"})
        if data is None:
            return _refusal(404, "not found")
        if tile is None:
            cache, media = NEVER, TEXT
        elif tile.level == ENTRIES:
            cache, media = NEVER, BYTES
        else:
            cache, media = FULL if tile.full else PARTIAL, BYTES
        return Response(data, media_type=media, headers={"Cache-Control": cache, **ALWAYS})

    def _checked(self, path: str, tile: Tile | None) -> bytes | None:
        """A file that is what its name says: (4) its form, and of entries their hashes in the hash tile beside them."""
        data = self._tiles.read(path)
        if data is None:
            return None
        if tile is None:
            parse_body(notes.parse(data).text)
        elif tile.level != ENTRIES:
            if len(data) != tile.width * HASH_BYTES:
                raise damaged(f"{path} has {len(data)} bytes instead of {tile.width} times {HASH_BYTES}")
        elif b"".join(map(hash_leaf, decode_bundle(data))) != self._hashes(tile):
            raise damaged(f"{path} does not hold the entries whose hashes are beside it")
        return data

    def _hashes(self, bundle: Tile) -> bytes | None:
        """Hashes of a bundle's entries; where its partial hash tile is gone, the beginning of the full one."""
        tile = Tile(0, bundle.number, bundle.width)
        data = self._tiles.read(tile.path) or self._tiles.read(tile.path_if_full) or b""
        return data[: bundle.width * HASH_BYTES]


def _refusal(status: int, text: str, **headers: str) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers={"Cache-Control": NEVER, **ALWAYS, **headers})
