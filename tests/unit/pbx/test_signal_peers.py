"""Connections between nodes over real sockets: delivery, failure, a node that comes back."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

from pbx.calls.peers import PeerTable
from pbx.domain.nodes import NodeStarted
from pbx.signal.link_slots import PER_SOURCE, STRANGERS
from pbx.signal.peers import MAX_BUFFERED_BYTES, Peers
from sip.core import Forward, Transmit
from sip.endpoint import EndpointLimits, Resolver, SipEndpoint
from sip.endpoint.locate import Answer, Question
from sip.flow import Flow, elsewhere
from tests.support.recording_engine import RecordingEngine, eventually, in_loop

SECRET = b"what only the nodes know"


async def nothing(question: Question) -> Answer:
    return Answer((), 60.0)


class Node:
    """An endpoint over a recording engine, with a listener and its link."""

    def __init__(self, name: str, table: PeerTable, secret: bytes = SECRET) -> None:
        self.name = name
        self.engine = RecordingEngine()
        self.endpoint = SipEndpoint(
            self.engine,
            lambda events, now: None,
            Resolver(random.Random(1), nothing),
            monotonic=asyncio.get_running_loop().time,
            limits=EndpointLimits(),
        )
        self.table = table
        self.peers = Peers(name, secret, table, self.endpoint)
        self.endpoint.peers = self.peers
        self.local = self.endpoint.add_udp("127.0.0.1", 0)

    async def start(self) -> None:
        host, port = await self.peers.listen("127.0.0.1", 0)
        self.table.fold(f"node/{self.name}", NodeStarted(version="1", link=f"{host}:{port}"))

    async def stop(self) -> None:
        await self.peers.aclose()
        await self.endpoint.aclose()


@asynccontextmanager
async def nodes(secret_b: bytes = SECRET) -> AsyncIterator[tuple[Node, Node, socket.socket]]:
    table = PeerTable()
    a, b = Node("a", table), Node("b", table, secret_b)
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.bind(("127.0.0.1", 0))
    phone.setblocking(False)
    await a.start()
    await b.start()
    try:
        yield a, b, phone
    finally:
        phone.close()
        await a.stop()
        await b.stop()


def flow_at(b: Node, phone: socket.socket) -> Flow:
    return Flow("udp", elsewhere("b", b.local), phone.getsockname())


@in_loop
async def test_what_a_sends_leaves_from_the_socket_of_b_and_the_answer_comes_back() -> None:
    async with nodes() as (a, b, phone):
        flow = flow_at(b, phone)
        a.engine.pending = [Transmit(flow, b"first", "t1"), Transmit(flow, b"second", "t2")]
        a.endpoint.flush()
        loop = asyncio.get_running_loop()
        got = [await loop.sock_recvfrom(phone, 100) for _ in range(2)]
        assert got == [(b"first", b.local), (b"second", b.local)]
        # b's engine finds that an answer is for a.
        b.engine.pending = [Forward("a", Flow("udp", b.local, phone.getsockname()), b"answer")]
        b.endpoint.flush()
        await a.engine.wait(lambda: a.engine.forwarded)
        assert a.engine.forwarded == [(b"answer", flow)]
        assert a.engine.failed == []


@in_loop
async def test_a_stream_that_is_gone_is_reported() -> None:
    async with nodes() as (a, b, _phone):
        gone = Flow("tcp", elsewhere("b", b.local), ("127.0.0.1", 9))
        a.engine.pending = [Transmit(gone, b"hello", "token")]
        a.endpoint.flush()
        await a.engine.wait(lambda: a.engine.failed)
        assert a.engine.failed == [(gone, "token")]


@in_loop
async def test_a_node_without_the_secret_gets_nothing() -> None:
    async with nodes(secret_b=b"an older secret, forgotten") as (a, b, phone):
        flow = flow_at(b, phone)
        a.engine.pending = [Transmit(flow, b"secret things", "token")]
        a.endpoint.flush()
        await a.engine.wait(lambda: a.engine.failed)
        assert a.engine.failed == [(flow, "token")]
        assert b.engine.forwarded == []
        # Until the back-off is over the next one fails at once.
        assert not a.peers.transmit(flow, b"more", "again")


@in_loop
async def test_unknown_nodes_and_floods_fail_at_once() -> None:
    async with nodes() as (a, b, phone):
        mars = Flow("udp", elsewhere("mars", b.local), phone.getsockname())
        assert not a.peers.transmit(mars, b"x", "t")
        flow = flow_at(b, phone)
        assert a.peers.transmit(flow, b"x", "t")  # waits for the connection
        assert not a.peers.transmit(flow, bytes(MAX_BUFFERED_BYTES), "t")


@in_loop
async def test_a_stranger_at_the_port_is_dropped() -> None:
    async with nodes() as (_, b, _phone):
        address = b.table.link_of("b")
        assert address is not None
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert await reader.read() == b""
        writer.close()


@in_loop
async def test_strangers_who_fill_the_port_keep_no_node_out() -> None:
    """From many addresses, from one, and from the very address of a node."""
    async with nodes() as (a, b, phone):
        address = b.table.link_of("b")
        assert address is not None
        flow = flow_at(b, phone)
        sources = [f"127.0.1.{n}" for n in range(1, 80)] + ["127.0.2.1"] * 20 + ["127.0.0.1"] * 20
        opened = [
            await asyncio.open_connection(*address, local_addr=(source, 0)) for source in sources
        ]
        bound = STRANGERS + PER_SOURCE
        await eventually(lambda: 0 < b.peers.statistics()["peers_unproved"] <= bound)
        loop = asyncio.get_running_loop()
        assert a.peers.transmit(flow, b"one", "t")
        assert (await loop.sock_recvfrom(phone, 100))[0] == b"one"
        assert b.peers.statistics()["peers_accepted"] == 1
        assert a.engine.failed == []
        late = [
            await asyncio.open_connection(*address, local_addr=("127.0.0.1", 0)) for _ in range(9)
        ]
        assert a.peers.transmit(flow, b"two", "t")
        assert (await loop.sock_recvfrom(phone, 100))[0] == b"two"
        assert b.peers.statistics()["peers_accepted"] == 1, "the link is nobody's to take"
        for _, writer in (*opened, *late):
            writer.close()


@in_loop
async def test_a_node_that_started_again_is_found_at_its_new_address() -> None:
    async with nodes() as (a, b, phone):
        flow = flow_at(b, phone)
        a.endpoint.peers = a.peers
        assert a.peers.transmit(flow, b"one", "t")
        loop = asyncio.get_running_loop()
        assert (await loop.sock_recvfrom(phone, 100))[0] == b"one"
        await b.peers.aclose()
        again = Peers("b", SECRET, b.table, b.endpoint)
        host, port = await again.listen("127.0.0.1", 0)
        b.table.fold("node/b", NodeStarted(version="2", link=f"{host}:{port}"))
        while a.peers.statistics()["peers"]:  # noqa: ASYNC110 - the loss has no event
            await asyncio.sleep(0)
        assert a.peers.transmit(flow, b"two", "t")
        assert (await loop.sock_recvfrom(phone, 100))[0] == b"two"
        await again.aclose()


@in_loop
async def test_a_node_that_takes_no_connections_is_lost_until_it_does() -> None:
    """Nobody has to send something first: asking is enough."""
    async with nodes() as (a, b, _phone):
        assert a.peers.unreachable(["b", "mars"]) == frozenset()
        await eventually(lambda: a.peers.statistics()["peers"] == 1)
        with patch("pbx.signal.peers.LOST_S", 0.0):
            assert a.peers.unreachable(["b"]) == frozenset()
            await b.peers.aclose()
            await eventually(lambda: a.peers.unreachable(["b"]) == frozenset({"b"}))
            b.peers = Peers("b", SECRET, b.table, b.endpoint)
            await b.start()
            await eventually(lambda: a.peers.unreachable(["b"]) == frozenset())
        with patch("pbx.signal.peers.LOST_S", 3600.0):
            await b.peers.aclose()
            await eventually(lambda: a.peers.statistics()["peers"] == 0)
            assert a.peers.unreachable(["b"]) == frozenset(), "it may just start anew"
