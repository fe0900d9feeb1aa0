"""Who may hold a connection to the port of the cluster's link (pure).

A connection that has proved nothing costs a slot until it proves itself or its time is over, and
anybody who reaches the port can open some. So the newest always gets in, and what it displaces is
the oldest of those that have proved nothing: a node proves itself within a round trip or two, so it
is displaced only by a flood that fills the slots in that time. Three bounds, each its own:

- one source (an IPv4 address, a /64 of IPv6) has few, so that one stranger displaces himself only;
- all strangers together have some;
- addresses where other nodes are linked have slots of their own, which strangers cannot take.

A connection that proved to be a node's is out of their reach. Each node has two at most, the newest
ones: one that it lost without our knowing, and one that it made then.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

PER_SOURCE: Final = 4
"""Nodes behind one address, and a try of one that is given up while the next begins."""
STRANGERS: Final = 64
"""All others together: with a kilobyte each (``MAX_GREETING_BYTES``) they cost nothing."""
NODES: Final = 256
"""At the addresses of nodes: a cluster of 64 with all of them at once."""
PER_NODE: Final = 2

T = TypeVar("T", bound=Hashable)


class LinkSlots(Generic[T]):
    """See the module. `T` is a connection. Whoever is returned is to be ended by the caller, who
    reports it as :meth:`gone` like any other that ends."""

    def __init__(
        self,
        *,
        per_source: int = PER_SOURCE,
        strangers: int = STRANGERS,
        nodes: int = NODES,
        per_node: int = PER_NODE,
    ) -> None:
        self._per_source = per_source
        self._most = {False: strangers, True: nodes}
        self._per_node = per_node
        self._waiting: dict[bool, dict[T, str]] = {False: {}, True: {}}
        """Those that have proved nothing, the oldest first: at addresses of nodes, and others."""
        self._sources: Counter[tuple[bool, str]] = Counter()
        self._links: dict[str, list[T]] = {}
        self._node_of: dict[T, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._node_of)

    @property
    def proved(self) -> int:
        """Connections of nodes."""
        return len(self._node_of)

    def admit(self, connection: T, host: str, *, known: bool) -> T | None:
        """Let a new connection in; the one that it displaces. `known`: a node is linked at the
        address."""
        source = source_of(host)
        waiting = self._waiting[known]
        displaced: T | None = None
        if self._sources[known, source] >= self._per_source:
            displaced = next(c for c, its in waiting.items() if its == source)
        elif len(waiting) >= self._most[known]:
            displaced = next(iter(waiting))
        if displaced is not None:
            self.gone(displaced)
        waiting[connection] = source
        self._sources[known, source] += 1
        return displaced

    def prove(self, connection: T, node: str) -> T | None:
        """It is `node`'s; the one of that node that it displaces."""
        self.gone(connection)
        links = self._links.setdefault(node, [])
        displaced = links[0] if len(links) >= self._per_node else None
        if displaced is not None:
            self.gone(displaced)
        self._links.setdefault(node, []).append(connection)
        self._node_of[connection] = node
        return displaced

    def gone(self, connection: T) -> None:
        """It has ended; harmless if that is known."""
        for known, waiting in self._waiting.items():
            source = waiting.pop(connection, None)
            if source is not None:
                self._sources[known, source] -= 1
                if not self._sources[known, source]:
                    del self._sources[known, source]
        node = self._node_of.pop(connection, None)
        if node is not None:
            self._links[node].remove(connection)
            if not self._links[node]:
                del self._links[node]


def source_of(host: str) -> str:
    """What counts as one: whoever has an address of IPv6 has 2^64 of them."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)
