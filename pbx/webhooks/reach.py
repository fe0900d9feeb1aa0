"""Where webhooks may go: the form of their URLs, and addresses that are nobody's business.

Whoever may add a webhook could make the server talk to what only the server can reach: its own
ports, the hosts of its network, the metadata service of a cloud. So only addresses of the public
Internet are connected to, unless the administrator allows otherwise for that webhook. The address
is judged when it is connected to, and it is that very address that is used: a name that resolves
differently the second time gains nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from pbx.kernel.errors import DomainError

MAX_URL: Final = 2000
"""Characters: what every server takes."""

_TRANSLATED: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 behind NAT64 (RFC 6052 §2.1)."""


def checked_url(url: str, *, allow_http: bool, allow_private: bool) -> str:
    """`url` if a webhook may have it. Raises :class:`DomainError`."""
    url = url.strip()
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise DomainError(
            f"a webhook's URL has at most {MAX_URL} printable ASCII characters; escape others"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DomainError(f"{url} is no URL: {error}") from None
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise DomainError(f"{url} is no URL of a web server: write https://HOST/PATH")
    if parts.scheme == "http" and not allow_http:
        raise DomainError(
            "events would pass the network in clear: use https, or allow it with --allow-http"
        )
    if parts.username is not None or parts.password is not None:
        raise DomainError("credentials in a URL end up in logs: the signature is what proves us")
    if parts.fragment:
        raise DomainError("a fragment (#…) is never sent to a server: leave it out")
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return url  # a name: judged by what it resolves to
    if not may_reach(str(address), allow_private=allow_private):
        raise DomainError(f"{address} is not on the public Internet: allow it with --allow-private")
    return url


def may_reach(address: str, *, allow_private: bool) -> bool:
    """Whether a webhook may connect to this numeric address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        embedded = _embedded(found)
        if embedded is not None:
            found = embedded
    if found.is_multicast or found.is_unspecified:
        return False
    return allow_private or found.is_global


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to `address` really go to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return None
