"""One webhook's HTTP client: posts, within bounds, to addresses that are allowed, nowhere else.

Redirects are not followed and no proxy is used: both would lead past the check of the address.
"""

from __future__ import annotations

import asyncio
import email.utils
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpcore2

from pbx import __version__
from pbx.webhooks.progress import Outcome
from pbx.webhooks.reach import may_reach

MAX_ANSWER_BYTES: Final = 65_536
"""Of a receiver's answer, which nobody reads, until the connection is dropped instead of kept."""
KEEP_ALIVE_S: Final = 30.0
ERROR_CHARACTERS: Final = 300
"""Of a reason, for the row and the list."""


class NotAllowed(httpcore2.ConnectError):
    """The name leads to addresses a webhook must not reach."""


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves by itself and connects only to what :func:`may_reach` allows."""

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._sockets = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore2's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first allowed address that takes it."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise httpcore2.ConnectError(f"cannot resolve {host}: {error.strerror}") from error
        addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
        allowed = [each for each in addresses if may_reach(each, allow_private=self._allow_private)]
        if not allowed:
            raise NotAllowed(
                f"{host} is {', '.join(addresses)}, which is not on the public Internet; "
                "a webhook made with --allow-private may go there"
            )
        last: Exception | None = None
        for address in allowed:
            try:
                return await self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore2's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise NotAllowed("no webhook goes to a local socket")

    async def sleep(self, seconds: float) -> None:
        """For the pool's own retries, which are off."""
        await asyncio.sleep(seconds)


class Poster:
    """Posts messages of one webhook over one connection."""

    def __init__(self, *, timeout_s: float, allow_private: bool) -> None:
        self._timeout_s = timeout_s
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=1,
            keepalive_expiry=KEEP_ALIVE_S,
            retries=0,
            network_backend=CheckedBackend(allow_private=allow_private),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """One attempt. A receiver that does not answer in time failed."""
        sent = {
            "User-Agent": f"Ringlog/{__version__}",
            "Content-Type": "application/json",
            **headers,
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, sent, body)
        except TimeoutError:
            return Outcome(f"no answer within {self._timeout_s:g} s")
        except (
            httpcore2.NetworkError,
            httpcore2.ProtocolError,
            httpcore2.TimeoutException,
        ) as error:
            return Outcome((str(error) or type(error).__name__)[:ERROR_CHARACTERS])
        except OSError as error:  # TLS errors among them
            return Outcome(str(error)[:ERROR_CHARACTERS])

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        async with self._pool.stream(
            "POST", url, headers=list(headers.items()), content=body
        ) as response:
            size = 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    break
            return outcome_of(response.status, response.headers, time.time())

    async def close(self) -> None:
        """Drop the connection."""
        await self._pool.aclose()


def outcome_of(status: int, headers: Iterable[tuple[bytes, bytes]], now_s: float) -> Outcome:
    """What an answer means: 2xx took it, everything else did not."""
    if 200 <= status < 300:
        return Outcome()
    wait_s = 0.0
    if status in (429, 503):
        fields = {name.lower(): value.decode("latin-1") for name, value in headers}
        wait_s = _retry_after(fields.get(b"retry-after", ""), now_s)
    reason = f"the receiver answered {status}"
    if 300 <= status < 400:
        reason += ": redirects are not followed; add the webhook with the address it leads to"
    return Outcome(reason, retry_after_s=wait_s, gone=status == 410)


def _retry_after(text: str, now_s: float) -> float:
    """Seconds of a Retry-After (RFC 9110 §10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError):
        return 0.0
