"""Where messages come from and where they go: values shared by the engine and its shells.

A *flow* (RFC 5626 §3) is a transport with both addresses; a *target* is one result of locating a
server (RFC 3263). Addresses are numeric and without brackets.
"""

from __future__ import annotations

from typing import NamedTuple

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
