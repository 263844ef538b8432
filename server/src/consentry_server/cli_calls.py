"""Calls of a live server from the terminal: as a caller with a certificate, through the Python client."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from consentry import Client

ServerArgument = Annotated[str, typer.Argument(metavar="SERVER", help="The server's HOST:PORT.", show_default=False)]
CaOption = Annotated[Path | None, typer.Option(help="Authority of the server's certificate, PEM.", show_default=False)]
CertOption = Annotated[Path | None, typer.Option(help="Your certificate, PEM.", show_default=False)]
KeyOption = Annotated[Path | None, typer.Option(help="The certificate's key, PEM.", show_default=False)]


@contextmanager
def calling(server: str, ca: Path | None, cert: Path | None, key: Path | None) -> Iterator[Client]:
    """Connect to a server for one command.

    Args:
        server: ``HOST:PORT``.
        ca: Authority of the server's certificate.
        cert: The caller's own certificate, which says who calls.
        key: Its key.

    Raises:
        ConsentryError: A file is missing, or what the server refused, in its own words.
    """
    from consentry import Client, errors  # noqa: PLC0415 - gRPC takes half the time of a start

    files = [_file(path, option) for path, option in ((ca, "--ca"), (cert, "--cert"), (key, "--key"))]
    try:
        with Client.connect(
            server, root_certificates=files[0], certificate_chain=files[1], private_key=files[2]
        ) as client:
            yield client
    except errors.ConsentryError as error:
        message = str(error.args[0])
        if error.reason in Reason.__members__:
            raise ConsentryError(Reason(error.reason), message, field=error.field) from error
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"the server does not answer: check address and certificates ({message})"
        ) from error


def _file(path: Path | None, option: str) -> bytes:
    if path is None:
        raise ConsentryError(
            Reason.FIELD_REQUIRED,
            f"{option} is required: a server answers callers with a certificate only",
            field=option,
        )
    return read_file(path, option)


def read_file(path: Path, option: str) -> bytes:
    """Read a file that was named on the command line.

    Raises:
        ConsentryError: ``FIELD_INVALID``: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConsentryError(Reason.FIELD_INVALID, f"{path} cannot be read: {error.strerror}", field=option) from error
