"""Bounds of the asyncio shell: everything that a stranger can make grow has one here.

Read by ``udp``, ``stream`` and ``endpoint``; built once by the composition root from the
settings. Bounds on the messages themselves (bytes of one message, headers, Via) belong to the
parser's ``Limits``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """Limits of one :class:`~sip.endpoint.endpoint.SipEndpoint`; the unit is last in each name."""

    udp_batch_datagrams: int = 64
    """Read in one wake-up, so that a UDP flood cannot starve streams, timers and replies."""
    udp_receive_buffer_bytes: int = 8 << 20
    """SO_RCVBUF asked for: some 4,000 INVITEs, half a second of arrears at full speed."""
    udp_send_queue_bytes: int = 1 << 20
    """Held while the kernel's send buffer is full; more is dropped, as the network would."""

    connections: int = 10_000
    """Accepted connections in total; the next one is closed without an answer."""
    connections_per_address: int = 200
    """Accepted from one host: a site behind one NAT fits, a flood from one host does not."""
    outgoing_connections: int = 2_000
    """Opened by us."""
    connect_s: float = 5.0
    """To a TCP connection; far below Timer B (32 s), so that the next target gets its chance."""
    tls_handshake_s: float = 5.0
    """From the TCP connection to the end of the TLS handshake, either side."""
    first_message_s: float = 10.0
    """From an accepted connection to its first complete message or keep-alive."""
    message_s: float = 10.0
    """From the first byte of any later message to its last one."""
    idle_s: float = 3900.0
    """Without anything complete from the peer: longer than the registration (3600 s) of a phone
    that does not ping (RFC 5626 §4.4.1). A peer that vanished is noticed by TCP long before."""
    unparsed_bytes: int = 300_000
    """Received without completing a message: the parser's 256 KiB for one, and its neighbours."""
    write_buffer_bytes: int = 1 << 20
    """Unsent on one connection; a peer that reads slower than it asks is dropped."""
    close_s: float = 5.0
    """For the last bytes of a connection that we close; then it is aborted."""
    shutdown_s: float = 1.0
    """For the last bytes of all connections when the endpoint closes."""
    sweep_s: float = 1.0
    """Granularity of the connection time limits above."""

    resolve_queries: int = 1_000
    """RFC 3263 look-ups under way; the next one fails at once."""
    pump_rounds: int = 64
    """Times the engine is drained in one go before the event loop gets its turn."""
