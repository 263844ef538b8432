"""HTTP to strangers, within strict limits: the whole exchange has one deadline, and the answer a largest size."""

from __future__ import annotations

import asyncio
import ssl

import httpx2

from consentry_server.services.ports_anchors import AnchorError, Answer


class HttpClient:
    """Implements ``services.ports_anchors.Web``.

    Each request has a connection of its own: they are minutes apart. Redirects are not followed, no proxy or other
    setting is taken from the environment, and answers are asked for and read uncompressed.

    Args:
        answer_seconds: Time for the whole exchange, from the first packet to the last byte.
        max_answer_bytes: The largest body that is read.
    """

    def __init__(self, *, answer_seconds: float, max_answer_bytes: int) -> None:
        self._answer_seconds = answer_seconds
        self._max_answer_bytes = max_answer_bytes
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, *, content_type: str) -> Answer:
        """See the port."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await self._post(url, body, content_type)
        except TimeoutError as error:
            raise AnchorError(f"{url} did not answer within {self._answer_seconds:g} s: it is tried again") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            raise AnchorError(f"{url} cannot be reached ({type(error).__name__}): it is tried again") from error

    async def _post(self, url: str, body: bytes, content_type: str) -> Answer:
        if self._tls is None:
            self._tls = await asyncio.to_thread(_prepare)
        headers = {"content-type": content_type, "accept-encoding": "identity"}
        async with (
            httpx2.AsyncClient(
                verify=self._tls, follow_redirects=False, trust_env=False, timeout=self._answer_seconds
            ) as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            read = bytearray()
            async for chunk in response.aiter_raw():
                read += chunk
                if len(read) > self._max_answer_bytes:
                    raise AnchorError(
                        f"{url} answered more than {self._max_answer_bytes} bytes: see what answers there"
                    )
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(response.status_code, media_type, bytes(read))


def _prepare() -> ssl.SSLContext:
    """The system's authorities; reading them, and what a first client imports, would hold up the event loop."""
    context = ssl.create_default_context()
    httpx2.AsyncClient(verify=context, trust_env=False)
    return context
