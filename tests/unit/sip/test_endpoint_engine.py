"""Endpoint and engine together over loopback: what a peer on the network gets."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sip.endpoint import EndpointLimits, Resolver, SipEndpoint
from sip.endpoint.locate import Answer, Question
from sip.endpoint.udp import bound_socket
from sip.engine import EngineConfig, SipEngine
from sip.events import Event, RequestReceived, ResponseReceived
from sip.flow import Address
from tests.support.recording_engine import eventually, in_loop

OPTIONS = (
    "OPTIONS sip:{host} SIP/2.0\r\n"
    "Via: SIP/2.0/{transport} 127.0.0.1:5099;branch=z9hG4bK{branch};rport\r\n"
    "From: <sip:a@test.example>;tag=1\r\nTo: <sip:{host}>\r\n"
    "Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


def options(transport: str, branch: str = "one") -> bytes:
    return OPTIONS.format(transport=transport, branch=branch, host="127.0.0.1").encode()


async def no_dns(question: Question) -> Answer:
    return Answer((), 60.0)


class Server:
    """Answers every request with 200."""

    def __init__(self) -> None:
        self.engine = SipEngine(EngineConfig(t1_s=0.01, t2_s=0.02, t4_s=0.02), random.Random(1))
        self.results: list[ResponseReceived] = []
        self.endpoint = SipEndpoint(
            self.engine,
            self.on_events,
            Resolver(random.Random(1), no_dns),
            monotonic=asyncio.get_running_loop().time,
            limits=EndpointLimits(connect_s=0.05),
        )

    def on_events(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, RequestReceived):
                self.engine.respond(event.transaction, 200, now=now)
            elif isinstance(event, ResponseReceived):
                self.results.append(event)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        await server.endpoint.aclose()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@in_loop
async def test_udp(host: str) -> None:
    async with serving() as server:
        local = server.endpoint.add_udp(host, 0)
        with bound_socket(socket.SOCK_DGRAM, host, 0) as phone:
            phone.sendto(options("UDP"), local)
            answer, source = await asyncio.get_running_loop().sock_recvfrom(phone, 65_535)
        assert answer.startswith(b"SIP/2.0 200 ")
        assert b";received=" + host.encode() in answer.replace(b"[::1]", b"::1")
        assert source[:2] == local


@in_loop
async def test_tcp_in_pieces_and_two_at_once() -> None:
    """RFC 3261 §18.3: the stream has no message bounds but Content-Length."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*server.endpoint.add_tcp("127.0.0.1", 0))
        whole = options("TCP", "one") + options("TCP", "two")
        for start in range(0, len(whole), 150):
            writer.write(whole[start : start + 150])
            await writer.drain()
        answers = [await read_message(reader), await read_message(reader)]
        assert all(answer.startswith(b"SIP/2.0 200 ") for answer in answers)
        assert [b"branch=z9hG4bKone" in answers[0], b"branch=z9hG4bKtwo" in answers[1]] == [
            True
        ] * 2
        writer.close()


@in_loop
async def test_a_ping_is_answered_by_one_line_break() -> None:
    """RFC 5626 §4.4.1."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*server.endpoint.add_tcp("127.0.0.1", 0))
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
        writer.write(options("TCP"))
        assert (await read_message(reader)).startswith(b"SIP/2.0 200 ")
        writer.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"INVITE sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nContent-Length: -1\r\n\r\n",
        b"x" * 70_000 + b"\r\n" * 8,
        options("TCP").replace(b"Content-Length: 0", b"Content-Length: 99999999999"),
    ],
    ids=["http", "negative-length", "no-message", "huge-length"],
)
@in_loop
async def test_garbage_closes_the_connection_after_at_most_one_400(garbage: bytes) -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*server.endpoint.add_tcp("127.0.0.1", 0))
        writer.write(garbage + options("TCP", "after"))
        answer = await reader.read()
        assert answer.count(b"SIP/2.0 ") - answer.count(b"Via: SIP/2.0") <= 1
        assert answer == b"" or answer.startswith((b"SIP/2.0 400", b"SIP/2.0 413", b"SIP/2.0 513"))
        writer.close()
        await eventually(lambda: server.endpoint.statistics()["connections"] == 0)


@in_loop
async def test_a_peer_that_sends_only_unreadable_messages_is_not_kept() -> None:
    """They do not count as messages, however well they are framed."""
    async with serving() as server:
        reader, writer = await asyncio.open_connection(*server.endpoint.add_tcp("127.0.0.1", 0))
        unreadable = b"nonsense \x00\x16\r\nContent-Length: 0\r\n\r\n"
        writer.write(unreadable * 20)
        await eventually(lambda: server.engine.statistics().get("parse_errors") == 20)
        [connection] = server.endpoint._streams._by_id.values()
        assert (connection.proven, connection.unparsed_bytes) == (False, 20 * len(unreadable))
        writer.write(options("TCP"))
        assert (await read_message(reader)).startswith(b"SIP/2.0 200 ")
        assert connection.proven
        writer.close()


async def result_of(server: Server, target: Address, transport: str) -> ResponseReceived:
    """Ask a peer for its OPTIONS and wait for the outcome."""
    now = asyncio.get_running_loop().time()
    host, port = target
    server.engine.request(
        "OPTIONS",
        f"sip:{host}:{port};transport={transport}",
        to=f"sip:{host}",
        from_="sip:us@test.example",
        now=now,
    )
    server.endpoint.flush()
    await eventually(lambda: server.results)
    return server.results.pop()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@in_loop
async def test_two_servers_ask_each_other(transport: str) -> None:
    async with serving() as one, serving() as other:
        add = {"udp": SipEndpoint.add_udp, "tcp": SipEndpoint.add_tcp}[transport]
        add(one.endpoint, "127.0.0.1", 0)
        target = add(other.endpoint, "127.0.0.1", 0)
        result = await result_of(one, target, transport)
        assert result.response is not None
        assert result.response.status == 200


@in_loop
async def test_a_refused_connection_is_a_transport_failure_at_once() -> None:
    """RFC 3261 §17.1.4: not a time-out of 32 s."""
    async with serving() as server:
        server.endpoint.add_tcp("127.0.0.1", 0)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            nobody = gone.getsockname()
        result = await result_of(server, nobody, "tcp")
        assert result.response is None
        assert result.cause == "transport"


@in_loop
async def test_a_silent_peer_is_a_time_out() -> None:
    async with serving() as server:
        server.endpoint.add_udp("127.0.0.1", 0)
        with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as silent:
            result = await result_of(server, silent.getsockname(), "udp")
        assert result.response is None
        assert result.cause == "timeout"
        statistics = server.engine.statistics()
        assert statistics["client_transactions"] == 0
