"""One UDP socket: datagrams in batches to the endpoint, datagrams out at once.

Fed by the event loop and by ``endpoint``; feeds the engine through ``receive``. The socket is
read until it is empty or a batch is full, with one reading of the clock, and the engine is
pumped once per batch: under load this halves the cost of a message against a callback for each.

A response leaves from the socket its request came to, because a flow names it (RFC 3581 §4).
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from sip.endpoint.limits import EndpointLimits
from sip.flow import Address, Flow

MAX_DATAGRAM_BYTES: Final = 65_535
"""What UDP can carry: reading less would cut a message without saying so."""
FLOW_CACHE: Final = 4_096
"""Flow values kept per socket, so that a phone's next message does not build its flow anew."""

#: The peer's or a router's opinion about an earlier datagram, reported on whatever call is next.
_STALE_ERRORS: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET})
_FULL: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


@lru_cache(maxsize=4096)
def address_family(host: str) -> int | None:
    """AF_INET or AF_INET6 for a numeric host, None for a name (which must not reach a socket)."""
    if ":" in host:
        try:
            socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        except OSError:
            return None
        return socket.AF_INET6
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return None
    return socket.AF_INET


def bound_socket(kind: int, host: str, port: int) -> socket.socket:
    """A non-blocking socket bound to a numeric address; ``ValueError`` for a name.

    IPv6 sockets are V6ONLY: "::" and "0.0.0.0" are two listeners, and an IPv4 peer never shows
    up as ::ffff:a.b.c.d in a Via.
    """
    family = address_family(host)
    if family is None:
        raise ValueError(f"listen on a numeric address, not on {host!r}")
    listener = socket.socket(family, kind)
    try:
        listener.setblocking(False)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def socket_address(raw: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """Our form of a socket address; a link-local IPv6 host keeps its zone (RFC 4007 §11)."""
    if len(raw) == 4 and raw[3] and "%" not in raw[0]:
        return f"{raw[0]}%{raw[3]}", raw[1]
    return raw[0], raw[1]


QUIET_AFTER = 8
"""Wake-ups with a single datagram after which a listener counts as quiet."""
PROBE_EVERY = 4
"""A quiet listener looks for a second datagram every so many wake-ups: a burst that begins is
drained from the fourth one on."""


class UdpListener:
    """A bound UDP socket; readable until :meth:`close`.

    `receive(batch)` gets a list of (data, flow) for every wake-up.
    """

    __slots__ = (
        "_flows",
        "_limits",
        "_loop",
        "_misses",
        "_queue",
        "_queued_bytes",
        "_receive",
        "_socket",
        "dropped",
        "family",
        "local",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        limits: EndpointLimits,
        receive: Callable[[list[tuple[bytes, Flow]]], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._receive = receive
        self._socket = bound_socket(socket.SOCK_DGRAM, host, port)
        # The kernel caps this at net.core.rmem_max without an error.
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, limits.udp_receive_buffer_bytes
        )
        self.family = self._socket.family
        self.local = socket_address(self._socket.getsockname())
        self.dropped = 0
        """Datagrams given up because the send queue was full."""
        self._flows: dict[object, Flow] = {}
        self._misses = 0
        """Wake-ups in a row that found one datagram and no more."""
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._queued_bytes = 0
        loop.add_reader(self._socket, self._on_readable)

    def close(self) -> None:
        """Stop reading and close; what waits in the send queue is lost."""
        self._loop.remove_reader(self._socket)
        if self._queue:
            self._loop.remove_writer(self._socket)
            self._queue.clear()
        self._socket.close()

    def _on_readable(self) -> None:
        recvfrom = self._socket.recvfrom
        flows = self._flows
        batch: list[tuple[bytes, Flow]] = []
        # Asking for a second datagram that is not there costs a system call and an exception for
        # each message of a quiet server: after some misses it is tried only now and then.
        quiet = self._misses % PROBE_EVERY if self._misses >= QUIET_AFTER else 0
        for _ in range(1 if quiet else self._limits.udp_batch_datagrams):
            try:
                data, raw = recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # An ICMP error of an earlier datagram; the transaction's timer deals with it.
                continue
            flow = flows.get(raw)
            if flow is None:
                if len(flows) >= FLOW_CACHE:
                    flows.clear()
                flow = flows[raw] = Flow("udp", self.local, socket_address(raw))
            batch.append((data, flow))
        self._misses = self._misses + 1 if len(batch) == 1 else 0
        if batch:
            self._receive(batch)

    def send(self, data: bytes, remote: Address) -> bool:
        """Send now, or queue while the kernel is full. False: the network refused it for good."""
        if self._queue:
            return self._enqueue(data, remote)
        error = self._try_send(data, remote)
        if error in _STALE_ERRORS:
            error = self._try_send(data, remote)
        if error in _FULL:
            return self._enqueue(data, remote)
        return error == 0

    def _try_send(self, data: bytes, remote: Address) -> int:
        try:
            self._socket.sendto(data, remote)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _enqueue(self, data: bytes, remote: Address) -> bool:
        if self._queued_bytes + len(data) > self._limits.udp_send_queue_bytes:
            self.dropped += 1
            return True  # Lost as on the network: the transaction retransmits.
        if not self._queue:
            self._loop.add_writer(self._socket, self._on_writable)
        self._queue.append((data, remote))
        self._queued_bytes += len(data)
        return True

    def _on_writable(self) -> None:
        while self._queue:
            data, remote = self._queue[0]
            if self._try_send(data, remote) in _FULL:
                return
            self._queue.popleft()
            self._queued_bytes -= len(data)
        self._loop.remove_writer(self._socket)
