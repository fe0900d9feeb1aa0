"""The other nodes of a cluster: connections to them, and what goes over these.

Implements :class:`sip.endpoint.ports.Peers` for the endpoint: what a call of ours sends over a flow
that ends at another node goes there, and what came here for a call of another node goes to it.
Where a node is, :class:`pbx.calls.peers.PeerTable` knows from the log.

A connection is made when there is something to say, tried again after a back-off, and holds a
bounded amount: a node that is down or slow fails what is meant for it at once, as a flow that is
gone would, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pbx.calls.peers import PeerTable
from pbx.signal.link import NONCE_BYTES, Failed, Frame, Link, LinkError, Received, Send
from pbx.signal.link_slots import LinkSlots
from sip.endpoint import SipEndpoint
from sip.flow import Address, Flow, elsewhere, node_of

log = logging.getLogger("pbx.signal.peers")

CONNECT_S: Final = 2.0
"""Until connected and greeted: a phone's INVITE is repeated meanwhile, later it is no use."""
BACK_OFF_S: Final = (0.2, 5.0)
"""First and longest pause before another try; what comes meanwhile fails at once."""
LOST_S: Final = 4.0
"""A node that is started anew is back before that."""
MAX_BUFFERED_BYTES: Final = 4_194_304
"""Some thousand messages on the way to one node."""
MAX_TOKENS: Final = 16_384
"""Sends that may still be reported as failed; a report that comes later finds nobody waiting."""
SAY_S: Final = 60.0
"""Strangers at the port are told of so often, whatever their number."""


class Peers:
    """See the module. Create, use and close it in one event loop."""

    def __init__(self, own: str, secret: bytes, table: PeerTable, endpoint: SipEndpoint) -> None:
        self._own = own
        self._secret = secret
        self._table = table
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._outgoing: dict[str, _Outgoing] = {}
        self._slots: LinkSlots[_Connection] = LinkSlots()
        self._accepted: set[_Connection] = set()
        self._strange = 0
        """Connections that proved nothing since that was told."""
        self._say_at = 0.0
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> Address:
        """Take connections of other nodes; gives the address."""
        self._server = await self._loop.create_server(self._accept, host, port)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    # The endpoint's side.

    def transmit(self, flow: Flow, data: bytes, token: object) -> bool:
        node, local = node_of(flow.local)
        outgoing = self._to(node)
        return outgoing is not None and outgoing.send(flow, local, data, token)

    def forward(self, node: str, flow: Flow, data: bytes) -> None:
        outgoing = self._to(node)
        if outgoing is None or not outgoing.write(
            Received(flow.transport, flow.local, flow.remote, data)
        ):
            log.debug("a message for node %s is lost: it cannot be reached", node)

    def unreachable(self, nodes: Iterable[str]) -> frozenset[str]:
        """Which of `nodes` have refused connections, or not answered, for :data:`LOST_S`.

        Asking keeps a connection to each of them, so that their end is noticed.
        """
        lost = set()
        for node in nodes:
            outgoing = self._to(node)
            if outgoing is not None and outgoing.is_lost():
                lost.add(node)
        return frozenset(lost)

    def statistics(self) -> dict[str, int]:
        """Connections by direction, and those of others that have proved nothing (yet)."""
        up = sum(outgoing.is_up for outgoing in self._outgoing.values())
        proved = self._slots.proved
        return {
            "peers": up,
            "peers_accepted": proved,
            "peers_unproved": len(self._slots) - proved,
        }

    async def aclose(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for outgoing in self._outgoing.values():
            outgoing.close()
        for connection in tuple(self._accepted):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()

    # Connections.

    def _to(self, node: str) -> _Outgoing | None:
        outgoing = self._outgoing.get(node)
        if outgoing is None:
            if not node or node == self._own or self._table.link_of(node) is None:
                return None
            outgoing = self._outgoing[node] = _Outgoing(self, node)
        return outgoing

    def _accept(self) -> _Connection:
        return _Connection(self, None)

    def _entered(self, connection: _Connection, host: str) -> None:
        """Somebody has connected."""
        self._accepted.add(connection)
        known = self._table.is_linked_at(host)
        displaced = self._slots.admit(connection, host, known=known)
        if displaced is not None:
            self._stranger("made room for a later one")
            displaced.abort()

    def _proved(self, connection: _Connection) -> None:
        displaced = self._slots.prove(connection, connection.peer)
        if displaced is not None:
            displaced.abort()

    def _left(self, connection: _Connection) -> None:
        self._accepted.discard(connection)
        self._slots.gone(connection)

    def _stranger(self, why: str) -> None:
        """Somebody at the port is no node of ours, as it seems: say so, now and then."""
        self._strange += 1
        now = self._loop.time()
        if now >= self._say_at:
            log.warning(
                "%d connections to the cluster's port (cluster.link) proved nothing; the last: %s."
                " It should be reached from the other nodes only",
                self._strange,
                why,
            )
            self._strange = 0
            self._say_at = now + SAY_S

    def _frame(self, connection: _Connection, frame: Frame) -> None:
        if isinstance(frame, Send):
            flow = Flow(frame.transport, frame.local, frame.remote)
            if not self._endpoint.send_for_peer(flow, frame.data):
                connection.write(Failed(frame.serial))
        elif isinstance(frame, Received):
            local = elsewhere(connection.peer, frame.local)
            flow = Flow(frame.transport, local, frame.remote)
            self._endpoint.receive_forwarded(flow, frame.data)
        elif connection.outgoing is not None:
            connection.outgoing.failed(frame.serial)


class _Outgoing:
    """What we have to say to one node."""

    def __init__(self, peers: Peers, node: str) -> None:
        self._peers = peers
        self._node = node
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[Frame] = []
        self._waiting_bytes = 0
        self._tokens: OrderedDict[int, tuple[Flow, object]] = OrderedDict()
        self._serial = 0
        self._back_off_s = BACK_OFF_S[0]
        self._not_before = 0.0
        self._down_since = 0.0
        """Since when every connection fails; 0: none has."""
        self._closed = False

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    def send(self, flow: Flow, local: Address, data: bytes, token: object) -> bool:
        self._serial += 1
        serial = self._serial
        if not self.write(Send(serial, flow.transport, local, flow.remote, data)):
            return False
        self._tokens[serial] = (flow, token)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return True

    def is_lost(self) -> bool:
        """Whether connections have failed for long; tries one if there is none."""
        loop = self._peers._loop
        if self._connection is None and self._connecting is None and not self._closed:
            if loop.time() >= self._not_before:
                self._connecting = loop.create_task(self._connect())
        return 0.0 < self._down_since <= loop.time() - LOST_S

    def write(self, frame: Send | Received) -> bool:
        if self._connection is not None:
            return self._connection.write(frame)
        loop = self._peers._loop
        if self._closed or loop.time() < self._not_before:
            return False
        if self._waiting_bytes + len(frame.data) > MAX_BUFFERED_BYTES:
            return False
        self._waiting.append(frame)
        self._waiting_bytes += len(frame.data)
        if self._connecting is None:
            self._connecting = loop.create_task(self._connect())
        return True

    def failed(self, serial: int) -> None:
        """The node reports that it could not send; report it on."""
        found = self._tokens.pop(serial, None)
        if found is not None:
            flow, token = found
            self._peers._endpoint.undelivered(flow, token)

    def lost(self) -> None:
        """The connection is gone; what was sent over it may have arrived, timers will tell."""
        self._connection = None
        self._tokens.clear()

    def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self) -> None:
        peers = self._peers
        try:
            async with asyncio.timeout(CONNECT_S):
                address = peers._table.link_of(self._node)
                if address is None:
                    raise OSError("it has stopped")
                _, connection = await peers._loop.create_connection(
                    lambda: _Connection(peers, self), *address
                )
                await connection.greeted
        except (OSError, TimeoutError, LinkError) as error:
            log.warning(
                "node %s cannot be reached, its phones neither: %s",
                self._node,
                str(error) or "time-out",
            )
            self._down_since = self._down_since or peers._loop.time()
            self._not_before = peers._loop.time() + self._back_off_s
            self._back_off_s = min(2 * self._back_off_s, BACK_OFF_S[1])
            self._connecting = None
            waiting = self._take_waiting()
            for frame in waiting:
                if isinstance(frame, Send):
                    self.failed(frame.serial)
            return
        self._connecting = None
        self._back_off_s = BACK_OFF_S[0]
        self._down_since = 0.0
        self._connection = connection
        log.info("linked with node %s", self._node)
        for frame in self._take_waiting():
            connection.write(frame)

    def _take_waiting(self) -> list[Frame]:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return waiting


class _Connection(asyncio.Protocol):
    """One TCP connection; `outgoing` is who made it, None if the other node did."""

    def __init__(self, peers: Peers, outgoing: _Outgoing | None) -> None:
        self._peers = peers
        self.outgoing = outgoing
        self._transport: asyncio.Transport | None = None
        self._link: Link | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[None] = peers._loop.create_future()

    @property
    def peer(self) -> str:
        return self._link.peer if self._link is not None else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peers = self._peers
        nonce = os.urandom(NONCE_BYTES)
        if self.outgoing is not None:
            self._link = Link.initiate(
                peers._own, self.outgoing._node, peers._secret, nonce, transport.write
            )
            return
        peername = transport.get_extra_info("peername")
        if not peername:  # it has left already
            transport.abort()
            return
        peers._entered(self, peername[0])
        self._link = Link.accept(peers._own, peers._secret, nonce, transport.write)
        self._timer = peers._loop.call_later(CONNECT_S, self._not_greeted)

    def data_received(self, data: bytes) -> None:
        link = self._link
        if link is None:
            return
        try:
            frames = link.receive(data)
        except LinkError as error:
            if self.outgoing is None and not self.greeted.done():
                self._peers._stranger(str(error))
            else:
                log.warning("link of %s dropped: %s", link.peer, error)
            if not self.greeted.done():
                self.greeted.set_exception(error)
            self.abort()
            return
        if link.is_open and not self.greeted.done():
            self.greeted.set_result(None)
            if self._timer is not None:
                self._timer.cancel()
            if self.outgoing is None:
                self._peers._proved(self)
        for frame in frames:
            self._peers._frame(self, frame)

    def write(self, frame: Frame) -> bool:
        """False if the other node does not take it."""
        transport, link = self._transport, self._link
        if transport is None or link is None or not link.is_open or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > MAX_BUFFERED_BYTES:
            return False
        link.write(frame)
        return True

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._peers._left(self)
        if not self.greeted.done():
            if self.outgoing is not None:
                self.greeted.set_exception(LinkError("the connection was closed"))
            else:
                self.greeted.cancel()
        if self.outgoing is not None and self.outgoing._connection is self:
            log.warning("link with node %s is gone", self.peer)
            self.outgoing.lost()

    def _not_greeted(self) -> None:
        self._peers._stranger("silent")
        self.abort()
