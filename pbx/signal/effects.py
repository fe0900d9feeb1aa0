"""What rules do outside of SIP: URLs they fetch.

Implements ``pbx.calls.ports.EffectsPort`` over asyncio. A fetch is one GET whose answer is thrown
away; nobody waits for it and its failure is a line in the log. Bounded in number and in time, and
in where it may go: users write rules, so by default no request reaches addresses that are not on
the Internet (a server behind the firewall is what such requests are after). The name is resolved
once and the connection goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

log = logging.getLogger("pbx.signal")

MAX_FETCHES: Final = 64
"""At once. A rule on each of 100 calls a second, answered in half a second, needs 50."""
PATIENCE_S: Final = 5.0
"""For one fetch, from the look-up of the name to the status line."""
_MAX_STATUS_BYTES: Final = 1024


class Effects:
    """See the module. One per role; used on its loop."""

    def __init__(self, urls: str) -> None:
        """`urls`: ``off``, ``public`` or ``any``."""
        self._urls = urls
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch(self, url: str, now: float) -> str:
        """GET `url`; empty if it is under way, else why not."""
        if self._urls == "off":
            return "fetching URLs is switched off (limits.rule_urls)"
        if len(self._tasks) >= MAX_FETCHES:
            return f"{MAX_FETCHES} URLs are being fetched already"
        task = asyncio.get_running_loop().create_task(self._fetch(url))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return ""

    def push(self, account: str, text: str, now: float) -> str:
        """There is no push service to hand this to."""
        return "no push service is set up"

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetch(self, url: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                status = await self._get(url)
        except TimeoutError:
            log.warning("a rule's URL did not answer within %d s: %s", PATIENCE_S, _shown(url))
        except (OSError, ValueError) as error:
            log.warning("a rule's URL could not be fetched: %s: %s", _shown(url), error)
        else:
            log.info("a rule fetched %s: %s", _shown(url), status)

    async def _get(self, url: str) -> str:
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        address = await self._resolve(host, port)
        reader, writer = await asyncio.open_connection(
            address,
            port,
            ssl=ssl.create_default_context() if secure else None,
            server_hostname=host if secure else None,
            limit=_MAX_STATUS_BYTES,
        )
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
                "User-Agent: Ringlog\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode("ascii")
            )
            await writer.drain()
            line = await reader.readline()
            return line.decode("ascii", "replace").strip()
        finally:
            writer.close()

    async def _resolve(self, host: str, port: int) -> str:
        """The address to connect to. Raises ``OSError`` for one that rules may not reach."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, sockaddr in found:
            address = str(sockaddr[0])
            if self._urls == "any" or ipaddress.ip_address(address.partition("%")[0]).is_global:
                return address
        raise OSError(f"{host} is not on the Internet (limits.rule_urls)")


def _shown(url: str) -> str:
    """Without the query and any password: they may carry what is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
