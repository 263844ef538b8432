"""The real server with one more method, which does nothing: the baseline every figure is a ratio of."""

from __future__ import annotations

from typing import Any

import grpc

from consentry_server import cli

SERVICE = "consentry.bench.v1.Bench"
EMPTY = f"/{SERVICE}/Empty"


async def _empty(_request: bytes, _context: Any) -> bytes:
    return b""


def main() -> None:
    """Run the ``consentry`` command; whatever it serves has the empty method too."""
    make = grpc.aio.server

    def make_with_empty(*arguments: Any, **options: Any) -> grpc.aio.Server:
        server = make(*arguments, **options)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Empty": grpc.unary_unary_rpc_method_handler(_empty)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        return server

    grpc.aio.server = make_with_empty
    cli.main()


if __name__ == "__main__":
    main()
