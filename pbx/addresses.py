"""Which addresses of this machine a server uses when its settings do not name them.

Used by the media role (what to bind), by the demo (what to type into a phone), by the signal role
and by ``pbx route`` (which hosts mean us).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pbx.settings import Settings

_PROBES: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849): the route to them is the route to the world."""


def media_addresses(
    settings: Settings, routed: Callable[[], Iterable[str]] | None = None
) -> list[str]:
    """Where media is taken, best first: what the settings name, else where SIP is taken.

    Phones that reach a listener at one address can send media there. Listening on all addresses,
    those that lead to the network (`routed`) come before loopback, which serves a laptop without
    a network.
    """
    if settings.media.addresses:
        return list(settings.media.addresses)
    found: list[str] = []
    for host in (listener.host for listener in settings.sip.listen):
        if host in ("0.0.0.0", "::"):
            version = ipaddress.ip_address(host).version
            own = (routed or routed_addresses)()
            loopback = "127.0.0.1" if version == 4 else "::1"
            candidates = [a for a in own if ipaddress.ip_address(a).version == version]
            found += [*candidates, loopback]
        else:
            found.append(host)
    return sorted(dict.fromkeys(found), key=lambda host: ipaddress.ip_address(host).is_loopback)


def routed_addresses() -> Iterator[str]:
    """The addresses this machine has toward the network, at most one a family.

    Connecting a UDP socket sends nothing: the kernel only looks the route up.
    """
    for family, target in _PROBES:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target, 9))
            except OSError:
                continue
            yield str(probe.getsockname()[0])


def own_hosts(settings: Settings) -> frozenset[str]:
    """Names and addresses that mean this server when they stand where a domain is expected."""
    hosts = {settings.server.advertised.lower(), "localhost", socket.gethostname().lower()}
    for listener in settings.sip.listen:
        if listener.host in ("0.0.0.0", "::"):
            hosts.update(("127.0.0.1", "::1", *routed_addresses()))
        else:
            hosts.add(listener.host)
    return frozenset(hosts - {""})
