"""TCP and TLS connections: accepted and opened, found again by flow or by target, all bounded.

Fed by the event loop and by ``endpoint``; feeds the engine (`flow_opened`, `receive_stream`,
`flow_closed`, `transport_failed`) and then pumps it. Framing is the engine's (RFC 3261 §18.3).

Life of a connection::

    accepted ──TLS handshake──► open ──► closing ──► closed
    connecting ──TLS, RFC 5922──►─┘

    open      `flow_opened` was called; `deadline` says how long the peer may take for its next
              message (short before the first one and inside one, long between two)
    closing   nothing more is sent or heard; the peer has `close_s` to take the last bytes
    closed    `flow_closed` was called, exactly once for each `flow_opened`
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from sip.endpoint.limits import EndpointLimits
from sip.endpoint.ports import Engine, Monotonic
from sip.endpoint.tls import TlsContexts, verify_sip_domain
from sip.endpoint.udp import address_family, bound_socket, socket_address
from sip.flow import Address, Flow, Target

log = logging.getLogger("sip.endpoint")

ACCEPT_BATCH: Final = 32
"""Accepted in one wake-up, so that a flood of connections leaves room for the others."""
BACKLOG: Final = 1024
ACCEPT_PAUSE_S: Final = 1.0
"""Pause after running out of descriptors or memory: asking again at once would spin."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class _Queued(NamedTuple):
    """A message that waits for its connection."""

    to: Target
    data: bytes
    token: object


class CertificateMismatch(ConnectionError):
    """The server's certificate is valid but stands for another SIP domain (RFC 5922 §7.3)."""


class StreamConnection(asyncio.Protocol):
    """One connection; created by :class:`StreamPool`."""

    __slots__ = (
        "_pool",
        "_transport",
        "closing",
        "deadline",
        "flow",
        "inside_message",
        "kind",
        "proven",
        "remote",
        "target",
        "unparsed_bytes",
        "waiting",
    )

    def __init__(
        self, pool: StreamPool, kind: str, remote: Address, target: Target | None = None
    ) -> None:
        self._pool = pool
        self.kind = kind
        self.remote = remote
        self.target = target
        """Whom we called; None for an accepted connection."""
        self.waiting: list[_Queued] = []
        self.flow: Flow | None = None
        self._transport: asyncio.Transport
        self.deadline = 0.0
        self.proven = False
        """Something complete came over it."""
        self.inside_message = False
        self.unparsed_bytes = 0
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pool.opened(self, transport)

    def data_received(self, data: bytes) -> None:
        if self.closing or self.flow is None:
            return
        pool = self._pool
        now = pool.monotonic()
        complete = pool.engine.receive_stream(self.flow, data, now)
        limits = pool.limits
        if complete:
            self.proven = True
            self.inside_message = False
            self.unparsed_bytes = 0
            self.deadline = now + limits.idle_s
        else:
            self.unparsed_bytes += len(data)
            if self.proven and not self.inside_message:
                self.inside_message = True
                self.deadline = now + limits.message_s
            if self.unparsed_bytes > limits.unparsed_bytes:
                pool.drop(self, "unparsed-bytes")
        pool.pump(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)

    def write(self, data: bytes) -> bool:
        """Send; False when the connection is closing or its reader too slow (then dropped)."""
        transport = self._transport
        if self.closing or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + len(data) > self._pool.limits.write_buffer_bytes:
            self._pool.drop(self, "slow-reader")
            return False
        transport.write(data)
        return True

    def close(self, now: float) -> None:
        """Close after the last bytes. The peer's own bytes are read on and thrown away.

        Closing a socket with unread bytes sends RST, which would destroy our 400 in flight.
        """
        if self.closing:
            return
        self.closing = True
        self.deadline = now + self._pool.limits.close_s
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the peer has reset it and the event loop has not seen that yet
            self._transport.abort()

    def shut(self) -> None:
        """Close after the last bytes, without regard for what the peer still sends."""
        self.closing = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once, with whatever is unsent."""
        self.closing = True
        self._transport.abort()


class StreamListener:
    """A listening socket; `accept(kind, socket, remote)` gets each connection."""

    __slots__ = ("_accept", "_loop", "_paused", "_socket", "family", "kind", "local")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        kind: str,
        host: str,
        port: int,
        accept: Callable[[str, socket.socket, Address], None],
    ) -> None:
        self._loop = loop
        self._accept = accept
        self._paused: asyncio.TimerHandle | None = None
        self._socket = bound_socket(socket.SOCK_STREAM, host, port)
        self._socket.listen(BACKLOG)
        self.kind = kind
        self.family = self._socket.family
        self.local = socket_address(self._socket.getsockname())
        self._resume()

    def close(self) -> None:
        """Stop accepting."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._socket, self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, raw = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("cannot accept %s connections: %s", self.kind, error)
                    self._loop.remove_reader(self._socket)
                    self._paused = self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
                    return
                continue  # The peer gave up before we came to it.
            accepted.setblocking(False)
            self._accept(self.kind, accepted, socket_address(raw))


class StreamPool:
    """All connections of one endpoint.

    `pump(now)` is called after the engine was fed outside a pump; `spawn` runs a coroutine as a
    task that the endpoint owns; `target_failed` remembers a target that refused.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        limits: EndpointLimits,
        tls: TlsContexts | None,
        *,
        monotonic: Monotonic,
        pump: Callable[[float], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        target_failed: Callable[[Target, float], None],
    ) -> None:
        self._loop = loop
        self.engine = engine
        self.limits = limits
        self.tls = tls
        self.monotonic = monotonic
        self.pump = pump
        self._spawn = spawn
        self._target_failed = target_failed
        self._serial = 0
        self._by_id: dict[int, StreamConnection] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._accepted: dict[tuple[str, Address], StreamConnection] = {}
        self._outgoing: dict[Target, StreamConnection] = {}
        self._per_address: Counter[str] = Counter()
        self._accepted_count = 0
        self.local_hosts: dict[tuple[str, int], str] = {}
        """Host of the first listener by (transport, family): where our own connections start."""
        self.counters: Counter[str] = Counter()
        """Connections dropped or refused, by reason."""

    # ---- accepted connections

    def accept(self, kind: str, accepted: socket.socket, remote: Address) -> None:
        """Take on or refuse a connection from a listener."""
        host = remote[0]
        if self._accepted_count >= self.limits.connections:
            self.counters["refused-total"] += 1
            accepted.close()
        elif self._per_address[host] >= self.limits.connections_per_address:
            self.counters["refused-address"] += 1
            accepted.close()
        else:
            self._accepted_count += 1
            self._per_address[host] += 1
            self._spawn(self._serve(kind, accepted, remote))

    async def _serve(self, kind: str, accepted: socket.socket, remote: Address) -> None:
        connection = StreamConnection(self, kind, remote)
        try:
            tune(accepted)
            if kind == "tls":
                assert self.tls is not None
                await self._loop.connect_accepted_socket(
                    lambda: connection,
                    accepted,
                    ssl=self.tls.server,
                    ssl_handshake_timeout=self.limits.tls_handshake_s,
                    ssl_shutdown_timeout=self.limits.close_s,
                )
            else:
                await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except (OSError, ssl.SSLError):
            self.counters["handshake-failed"] += 1
        finally:
            if connection.flow is None:
                accepted.close()
                self._forget_accepted(remote[0])

    def _forget_accepted(self, host: str) -> None:
        self._accepted_count -= 1
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    # ---- connections that we open

    def send(self, to: Flow | Target, data: bytes, token: object, now: float) -> None:
        """Send over a flow or to a target, connecting first if need be.

        What cannot be delivered comes back to the engine as `transport_failed`.
        """
        connection = self._find(to)
        if connection is None:
            if isinstance(to, Flow) or to.flow is not None:
                self.engine.transport_failed(to, token, now)
                return
            connection = self._connect(to)
            if connection is None:
                self.engine.transport_failed(to, token, now)
                return
        if connection.flow is None:
            assert isinstance(to, Target)
            queued = sum(len(message.data) for message in connection.waiting)
            if queued + len(data) > self.limits.write_buffer_bytes:
                self.engine.transport_failed(to, token, now)
            else:
                connection.waiting.append(_Queued(to, data, token))
        elif not connection.write(data):
            self.engine.transport_failed(to, token, now)

    def write(self, flow: Flow, data: bytes) -> bool:
        """Send over an open stream; False if it is gone or takes nothing."""
        connection = self._by_id.get(flow.id)
        return connection is not None and connection.flow is not None and connection.write(data)

    def _find(self, to: Flow | Target) -> StreamConnection | None:
        flow = to if isinstance(to, Flow) else to.flow
        if flow is not None:
            return self._by_id.get(flow.id)
        assert isinstance(to, Target)
        connection = self._outgoing.get(to)
        if connection is None and not to.tls_name:
            # A connection that a client opened proves no domain, so TLS with a name opens its own.
            connection = self._accepted.get((to.transport, (to.host, to.port)))
        if connection is not None and connection.closing:
            return None
        return connection

    def _connect(self, target: Target) -> StreamConnection | None:
        if address_family(target.host) is None or len(self._outgoing) >= (
            self.limits.outgoing_connections
        ):
            self.counters["not-connected"] += 1
            return None
        if target.transport == "tls" and self.tls is None:
            return None
        connection = StreamConnection(self, target.transport, (target.host, target.port), target)
        self._outgoing[target] = connection
        self._spawn(self._open(connection, target))
        return connection

    async def _open(self, connection: StreamConnection, target: Target) -> None:
        options: dict[str, Any] = {}
        allowed_s = self.limits.connect_s
        name = target.tls_name or target.host
        if target.transport == "tls":
            assert self.tls is not None
            allowed_s += self.limits.tls_handshake_s
            options = {
                "ssl": self.tls.client(name),
                "server_hostname": name,
                "ssl_handshake_timeout": self.limits.tls_handshake_s,
                "ssl_shutdown_timeout": self.limits.close_s,
            }
        family = address_family(target.host)
        assert family is not None
        opened = socket.socket(family, socket.SOCK_STREAM)
        try:
            opened.setblocking(False)
            tune(opened)
            local = self.local_hosts.get((target.transport, family))
            if local is not None:
                opened.bind((local, 0))
            async with asyncio.timeout(allowed_s):
                await self._loop.sock_connect(opened, (target.host, target.port))
                await self._loop.create_connection(lambda: connection, sock=opened, **options)
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._connect_failed(connection, target, error)
        finally:
            if connection.flow is None:
                opened.close()

    def _connect_failed(
        self, connection: StreamConnection, target: Target, error: Exception
    ) -> None:
        self.counters["not-connected"] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("no connection to %s %s:%d: %s", *target[:3], error)
        now = self.monotonic()
        self._target_failed(target, now)
        if self._outgoing.get(target) is connection:
            del self._outgoing[target]
        waiting, connection.waiting = connection.waiting, []
        for message in waiting:
            self.engine.transport_failed(message.to, message.token, now)
        self.pump(now)

    # ---- life of a connection, called by StreamConnection

    def opened(self, connection: StreamConnection, transport: asyncio.Transport) -> None:
        """The connection stands, TLS included: give it a flow and send what waited for it."""
        target = connection.target
        now = self.monotonic()
        if target is not None and target.transport == "tls":
            error = self._identity_error(target, transport)
            if error is not None:
                connection.abort()
                self._connect_failed(connection, target, error)
                return
        self._serial += 1
        local = socket_address(transport.get_extra_info("sockname"))
        flow = connection.flow = Flow(connection.kind, local, connection.remote, self._serial)
        self._by_id[flow.id] = connection
        self._empty.clear()
        if target is None:
            self._accepted[flow.transport, flow.remote] = connection
            connection.deadline = now + self.limits.first_message_s
        else:
            connection.deadline = now + self.limits.idle_s
            connection.proven = True
        transport.set_write_buffer_limits(high=self.limits.write_buffer_bytes)
        self.engine.flow_opened(flow, now)
        waiting, connection.waiting = connection.waiting, []
        for message in waiting:
            if not connection.write(message.data):
                self.engine.transport_failed(message.to, message.token, now)
        self.pump(now)

    def _identity_error(self, target: Target, transport: asyncio.Transport) -> Exception | None:
        assert self.tls is not None
        name = target.tls_name or target.host
        if not self.tls.must_verify(name):
            return None
        if verify_sip_domain(transport.get_extra_info("peercert"), name):
            return None
        self.counters["wrong-certificate"] += 1
        return CertificateMismatch(f"the certificate does not stand for {name}")

    def lost(self, connection: StreamConnection) -> None:
        """The connection is gone, by whoever's will."""
        flow = connection.flow
        if flow is None:
            return
        connection.closing = True
        del self._by_id[flow.id]
        if connection.target is None:
            if self._accepted.get((flow.transport, flow.remote)) is connection:
                del self._accepted[flow.transport, flow.remote]
            self._forget_accepted(flow.remote[0])
        elif self._outgoing.get(connection.target) is connection:
            del self._outgoing[connection.target]
        now = self.monotonic()
        self.engine.flow_closed(flow, now)
        self.pump(now)
        if not self._by_id:
            self._empty.set()

    def drop(self, connection: StreamConnection, reason: str) -> None:
        """Abort a connection that breaks a bound, and count why."""
        self.counters[reason] += 1
        connection.abort()

    # ---- called by the endpoint

    def close_flow(self, flow: Flow, now: float) -> None:
        """The engine is done with this flow; what it wrote last still goes out."""
        connection = self._by_id.get(flow.id)
        if connection is not None:
            connection.close(now)

    def expire(self, now: float) -> None:
        """Close every connection whose deadline has passed."""
        due = [connection for connection in self._by_id.values() if connection.deadline <= now]
        for connection in due:
            if connection.closing:
                connection.abort()
            elif connection.proven and not connection.inside_message:
                self.counters["idle"] += 1
                connection.close(now)
            else:
                self.drop(connection, "slow-sender")

    async def aclose(self) -> None:
        """Close all connections once their last bytes are out, or after `shutdown_s`."""
        for connection in list(self._by_id.values()):
            connection.shut()
        try:
            async with asyncio.timeout(self.limits.shutdown_s):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._by_id.values()):
                connection.abort()
            await self._empty.wait()

    def __len__(self) -> int:
        return len(self._by_id)


def tune(opened: socket.socket) -> None:
    """Options of every SIP connection: no Nagle delay; a peer that vanished is noticed.

    Between two messages the kernel probes after 60 s and gives up 60 s later; unacknowledged
    data is given 30 s.
    """
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
