"""Where messages come from and where they go: values shared by the engine and its shells.

A *flow* (RFC 5626 §3) is a transport with both addresses; a *target* is one result of locating a
server (RFC 3263). Addresses are numeric and without brackets.
"""

from __future__ import annotations

from typing import Final, NamedTuple

Address = tuple[str, int]
"""Numeric host without brackets, and port."""


class Flow(NamedTuple):
    """Where a message came from, and where an answer goes back over."""

    transport: str
    """``udp`` ``tcp`` ``tls`` ``ws`` ``wss``, in lower case."""
    local: Address
    remote: Address
    id: int = 0
    """0 for UDP; the serial of the connection for streams: a reconnect is another flow."""

    @property
    def reliable(self) -> bool:
        """Whether the transport itself retransmits (RFC 3261 §17)."""
        return self.transport != "udp"

    @property
    def secure(self) -> bool:
        return self.transport == "tls" or self.transport == "wss"


class Target(NamedTuple):
    """Where to send: one of the ordered results of RFC 3263."""

    transport: str
    host: str
    """Numeric, without brackets."""
    port: int
    flow: Flow | None = None
    """Send over exactly this flow; a transport error (430) if it is gone."""
    tls_name: str = ""
    """SIP domain the certificate must prove (RFC 5922), not the SRV host."""


_ELSEWHERE: Final = "!"
"""Starts the host of a local address that is another node's: no numeric host begins so."""


def elsewhere(node: str, local: Address) -> Address:
    """`local` of another node, as the local address of a :class:`Flow` that ends there."""
    return f"{_ELSEWHERE}{node}{_ELSEWHERE}{local[0]}", local[1]


def is_elsewhere(local: Address) -> bool:
    """Whether a local address is another node's."""
    return local[0].startswith(_ELSEWHERE)


def node_of(local: Address) -> tuple[str, Address]:
    """The inverse of :func:`elsewhere`; an empty name for an address of our own."""
    if not is_elsewhere(local):
        return "", local
    node, _, host = local[0][len(_ELSEWHERE) :].partition(_ELSEWHERE)
    return node, (host, local[1])
