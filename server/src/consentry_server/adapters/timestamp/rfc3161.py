"""A timestamp authority (RFC 3161) over HTTP, section 3.4."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import TYPE_CHECKING, Final

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    VerifierBuilder,
    decode_timestamp_response,
)

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.services.ports_anchors import AnchorError, Vouched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from consentry_server.services.ports_anchors import Web

QUERY_TYPE: Final = "application/timestamp-query"  # RFC 3161, section 3.4
REPLY_TYPE: Final = "application/timestamp-reply"
_OK: Final = 200


class Rfc3161Authority:
    """Implements ``services.ports_anchors.TimestampAuthority``.

    Args:
        name: What it is called here.
        url: Where it answers.
        roots: Certificates of the authorities that may have certified it; at least one.
        web: Carries the messages.
    """

    def __init__(self, name: str, url: str, roots: Sequence[x509.Certificate], web: Web) -> None:
        self.name = name
        self._url = url
        self._roots = tuple(roots)
        self._web = web

    async def stamp(self, data: bytes) -> Vouched:
        """See the port."""
        request = (
            TimestampRequestBuilder()
            .data(data)
            .hash_algorithm(HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        answer = await self._web.post(self._url, request.as_bytes(), content_type=QUERY_TYPE)
        if answer.status != _OK or answer.content_type != REPLY_TYPE:
            raise AnchorError(
                f"{self.name} answered {answer.status} {answer.content_type or 'of no type'} instead of a timestamp: "
                f"see what answers at {self._url}"
            )
        time = await asyncio.to_thread(self._verify, data, answer.body, request.nonce)
        return Vouched(answer.body, time)

    def verify(self, data: bytes, token: bytes) -> datetime:
        """See the port."""
        return self._verify(data, token, None)

    def _verify(self, data: bytes, token: bytes, nonce: int | None) -> datetime:
        try:
            return verify(data, token, self._roots, nonce=nonce)
        except ValueError as error:
            raise AnchorError(
                f"the timestamp of {self.name} does not verify ({error}): see what answers at {self._url}, and whether "
                "its roots are the right ones"
            ) from error


def verify(data: bytes, token: bytes, roots: Sequence[x509.Certificate], *, nonce: int | None = None) -> datetime:
    """Verify a timestamp response.

    1. It is DER, and granted.
    2. Its signature holds, by a certificate that one of the roots certified, as of the time that it states.
    3. That certificate is for timestamps only.
    4. It is over this file, and where a nonce is given, the answer to that request.

    Args:
        data: The file.
        token: The response (RFC 3161, section 2.4.2).
        roots: Root certificates; at least one.
        nonce: Of the request; None for a response that was kept.

    Returns:
        The time that it states, UTC.

    Raises:
        ValueError: A step fails.
    """
    try:
        response = decode_timestamp_response(token)
        builder = VerifierBuilder(roots=list(roots), nonce=nonce)
        builder.build().verify_message(response, data)
        return response.tst_info.gen_time.astimezone(UTC)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error


def load_roots(path: Path) -> tuple[x509.Certificate, ...]:
    """Read the root certificates of an authority.

    Args:
        path: PEM file.

    Returns:
        The certificates, each once.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: the file is missing or has none.
    """
    try:
        return tuple(dict.fromkeys(x509.load_pem_x509_certificates(path.read_bytes())))
    except (OSError, ValueError) as error:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID,
            f"the roots of a timestamp authority cannot be read from {path}: name a PEM file with its certificates",
            field="anchors.timestamp",
        ) from error
