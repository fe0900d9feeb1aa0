"""Which addresses media may be sent to, and which of ours a party is told.

Fed by configuration and by ``media.server.exchange`` with the addresses of descriptions. A
description is written by the peer: it could steer a stream of packets at anybody (*voice
hammer*), at our own network or back at ourselves. The rule: never send to an address that is not
a plausible place for that peer; such a peer is served when its packets have shown where it is.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from media.errors import LocalMediaError, NgRequestError

Network = IPv4Network | IPv6Network

#: Not reachable across the Internet: RFC 1918, RFC 6598 (carrier NAT), RFC 4193.
PRIVATE_NETWORKS: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


class Reach(enum.Enum):
    """What kind of place an address is."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    UNSPECIFIED = "unspecified"
    NEVER = "never"
    """Multicast, broadcast, link-local, reserved, or not a number at all."""


@lru_cache(maxsize=4096)  # a few peers make most of the calls
def reach_of(host: str) -> Reach:
    """Classify a numeric host; names are not resolved here, so they are :attr:`Reach.NEVER`."""
    try:
        address = ip_address(host)
    except ValueError:
        return Reach.NEVER
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None or address.scope_id is not None:
            return Reach.NEVER  # our IPv6 sockets do not speak IPv4; a scope is not ours to know
    if address.is_unspecified:
        return Reach.UNSPECIFIED
    if address.is_loopback:
        return Reach.LOOPBACK
    if address.is_multicast or address.is_link_local:
        return Reach.NEVER
    if address.version == 4 and address.packed[0] in (0, *range(240, 256)):
        return Reach.NEVER  # "this network", reserved, broadcast (RFC 6890)
    if any(address.version == net.version and address in net for net in PRIVATE_NETWORKS):
        return Reach.PRIVATE
    return Reach.PUBLIC


@dataclass(frozen=True, slots=True)
class Interface:
    """One side of the server, named in ``direction``."""

    name: str
    ip4: str = ""
    """Local IPv4 address to bind; empty = none."""
    ip6: str = ""
    advertised_ip4: str = ""
    """What descriptions show when a router maps ports 1:1; empty = ``ip4``."""
    advertised_ip6: str = ""

    def __post_init__(self) -> None:
        if not self.ip4 and not self.ip6:
            raise LocalMediaError(f"interface {self.name} has no address")

    def local(self, family: str) -> str:
        """The address to bind for ``IP4`` or ``IP6``. Raises :class:`NgRequestError`."""
        host = self.ip6 if family == "IP6" else self.ip4
        if not host:
            raise NgRequestError(f"interface {self.name} has no {family} address")
        return host

    def advertised(self, family: str) -> str:
        """The address to print in descriptions."""
        if family == "IP6":
            return self.advertised_ip6 or self.ip6
        return self.advertised_ip4 or self.ip4

    def family(self, wanted: str) -> str:
        """``wanted`` if there is such an address, else the other family."""
        if wanted == "IP6":
            return "IP6" if self.ip6 else "IP4"
        return "IP4" if self.ip4 else "IP6"


@dataclass(frozen=True, slots=True)
class Placement:
    """Verdict on the address in a description."""

    usable: bool
    """The relay may be given it as where the peer says it is."""
    nat: bool
    """The source address is to be learned."""
    reason: str = ""
    """Why the address is refused; empty when it is not, or not yet, a fault."""


_TRUSTED: Final = Placement(usable=True, nat=False)
_PRIVATE: Final = Placement(usable=True, nat=True)


def place(
    host: str,
    received_from: str,
    local: str,
    *,
    internal: Sequence[Network] = (),
) -> Placement:
    """Judge the media address ``host`` of a peer.

    ``received_from``: source of its signalling, empty when the client did not say. ``local``: the
    address that media would leave from. ``internal``: networks that no outside peer may point at.
    """
    reach = reach_of(host)
    if reach is Reach.PUBLIC:
        if internal and not _inside(received_from, internal) and _inside(host, internal):
            return Placement(usable=False, nat=True, reason=f"{host} is an internal address")
        return _TRUSTED
    if reach is Reach.LOOPBACK:
        # A loopback socket of ours reaches nobody else; telephones on Debian that look up their
        # own name write 127.0.1.1 into SDP, and are found by learning.
        if reach_of(received_from) is Reach.LOOPBACK or (
            not received_from and reach_of(local) is Reach.LOOPBACK
        ):
            return _TRUSTED
        return Placement(usable=False, nat=True, reason=f"{host} is a loopback address")
    if reach is Reach.PRIVATE:
        if not received_from or received_from == host:
            return _TRUSTED
        # Behind NAT, or another machine of a private network that we share. The relay sends
        # nothing to a private address of a peer behind NAT before it was heard from there.
        return _PRIVATE
    if reach is Reach.UNSPECIFIED:
        return Placement(usable=False, nat=False)
    return Placement(usable=False, nat=True, reason=f"media is not sent to {host}")


def _inside(host: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address.version == net.version and address in net for net in networks)
