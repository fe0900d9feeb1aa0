"""The pump: inputs in, outputs and events out, one timer, coalesced flushes, resolution."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import pytest

from sip.core import Resolve, TargetFailed, Transmit
from sip.endpoint import EndpointLimits, Resolver, SipEndpoint
from sip.endpoint.locate import Answer, Question
from sip.endpoint.udp import bound_socket
from sip.events import Event
from sip.flow import Flow, Target
from tests.support.recording_engine import RecordingEngine, in_loop

DNS = {Question("example.com", "A"): Answer(("127.0.0.1",), 60.0)}


async def table(question: Question) -> Answer:
    return DNS.get(question, Answer((), 60.0))


class Bench:
    """An endpoint with a recording engine and the clock of the loop."""

    def __init__(self, limits: EndpointLimits, resolver: Resolver) -> None:
        self.engine = RecordingEngine()
        self.events: list[tuple[list[Event], float]] = []
        self.endpoint = SipEndpoint(
            self.engine,
            self.on_events,
            resolver,
            monotonic=asyncio.get_running_loop().time,
            limits=limits,
        )

    def on_events(self, events: list[Event], now: float) -> None:
        self.events.append((events, now))


@asynccontextmanager
async def bench(resolver: Resolver | None = None, **limits: Any) -> AsyncIterator[Bench]:
    made = Bench(EndpointLimits(**limits), resolver or Resolver(random.Random(1), table))
    try:
        yield made
    finally:
        await made.endpoint.aclose()


def event(name: str) -> Event:
    """The pump does not look at events, so any object will do."""
    return cast(Event, name)


@in_loop
async def test_a_datagram_is_answered_from_the_socket_it_came_to() -> None:
    async with bench() as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        second = b.endpoint.add_udp("127.0.0.1", 0)
        assert [transport for transport, _ in b.engine.listeners] == ["udp", "udp"]

        def answer(flow: Flow, data: bytes) -> None:
            b.engine.pending.append(Transmit(flow, b"200", None))
            b.engine.pending_events.append(event("received"))

        b.engine.react = answer
        with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
            phone.sendto(b"OPTIONS", second)
            data, source = await asyncio.get_running_loop().sock_recvfrom(phone, 100)
        assert (data, source) == (b"200", second)
        assert b.events == [([event("received")], b.engine.times[0])]


@in_loop
async def test_a_batch_has_one_time_and_one_pump() -> None:
    async with bench() as b:
        local = b.endpoint.add_udp("127.0.0.1", 0)
        b.engine.react = lambda flow, data: b.engine.pending_events.append(event(data.decode()))
        with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
            for number in range(5):
                phone.sendto(b"%d" % number, local)
            await b.engine.wait(lambda: len(b.engine.datagrams) == 5)
        assert len(set(b.engine.times)) == 1
        assert [events for events, _ in b.events] == [[event(str(number)) for number in range(5)]]


@in_loop
async def test_what_call_control_does_on_an_event_goes_out_in_the_same_turn() -> None:
    async with bench() as b:
        local = b.endpoint.add_udp("127.0.0.1", 0)
        with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
            flow = Flow("udp", local, phone.getsockname())
            handed: list[list[Event]] = []

            def act(events: list[Event], now: float) -> None:
                handed.append(events)
                if len(handed) == 1:
                    b.engine.pending.append(Transmit(flow, b"180", None))
                    b.engine.pending_events.append(event("second"))
                    b.endpoint.flush()

            b.endpoint._on_events = act
            b.engine.pending_events.append(event("first"))
            b.endpoint.flush()
            data, _ = await asyncio.get_running_loop().sock_recvfrom(phone, 100)
        assert data == b"180"
        assert handed == [[event("first")], [event("second")]]
        assert b.endpoint._flush_handle is None


@in_loop
async def test_many_flushes_are_one_pump() -> None:
    async with bench() as b:
        turns: list[float] = []
        b.endpoint._on_events = lambda events, now: turns.append(now)
        for _ in range(10):
            b.engine.pending_events.append(event("x"))
            b.endpoint.flush()
        assert turns == []
        await asyncio.sleep(0)
        assert len(turns) == 1


@in_loop
async def test_the_timer_fires_at_the_engine_s_deadline() -> None:
    async with bench() as b:
        loop = asyncio.get_running_loop()
        start = loop.time()
        b.engine.timer = start + 0.004
        b.endpoint.flush()
        await b.engine.wait(lambda: b.engine.timers_fired)
        assert b.engine.timers_fired[0] >= start + 0.003
        assert b.endpoint._timer is None


@in_loop
async def test_the_timer_moves_only_when_the_deadline_comes_nearer() -> None:
    async with bench() as b:
        loop = asyncio.get_running_loop()
        b.engine.timer = loop.time() + 1000.0
        b.endpoint.flush()
        await asyncio.sleep(0)
        armed = b.endpoint._timer
        assert armed is not None
        b.engine.timer = loop.time() + 2000.0
        b.endpoint.flush()
        await asyncio.sleep(0)
        assert b.endpoint._timer is armed
        b.engine.timer = loop.time()
        b.endpoint.flush()
        await b.engine.wait(lambda: b.engine.timers_fired)
        assert armed.cancelled()


@in_loop
async def test_a_datagram_that_cannot_go_comes_back() -> None:
    async with bench() as b:
        local = b.endpoint.add_udp("127.0.0.1", 0)
        too_big = Flow("udp", local, ("127.0.0.1", 9))
        not_ours = Flow("udp", ("127.0.0.1", 1), ("127.0.0.1", 9))
        no_flow = Target("udp", "127.0.0.1", 9)
        b.engine.pending += [
            Transmit(too_big, b"x" * 70_000, 1),
            Transmit(not_ours, b"x", 2),
            Transmit(no_flow, b"x", 3),
        ]
        b.endpoint.flush()
        await b.engine.wait(lambda: len(b.engine.failed) == 3)
        assert b.engine.failed == [(too_big, 1), (not_ours, 2), (no_flow, 3)]


@in_loop
async def test_what_feeds_on_itself_leaves_the_loop_its_turn() -> None:
    async with bench(pump_rounds=4) as b:
        handed = 0

        def again(events: list[Event], now: float) -> None:
            nonlocal handed
            handed += 1
            b.engine.pending_events.append(event("again"))

        b.endpoint._on_events = again
        b.engine.pending_events.append(event("first"))
        b.endpoint.flush()
        await asyncio.sleep(0)
        assert handed == 4
        await asyncio.sleep(0)
        assert handed == 8


@in_loop
async def test_an_error_in_call_control_does_not_stop_the_pump() -> None:
    async with bench() as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        asked: list[object] = []

        def fail(events: list[Event], now: float) -> None:
            asked.append(events)
            if len(asked) == 1:
                raise RuntimeError("call control is broken")

        b.endpoint._on_events = fail
        b.engine.pending_events.append(event("first"))
        with pytest.raises(RuntimeError, match="broken"):
            b.endpoint._flush()
        b.engine.pending_events.append(event("second"))
        b.endpoint._flush()
        assert asked == [[event("first")], [event("second")]]


@in_loop
async def test_a_numeric_uri_is_resolved_at_once() -> None:
    async with bench() as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        b.engine.pending.append(Resolve(7, "sip:bob@192.0.2.1", ""))
        b.endpoint._flush()
        assert b.engine.resolutions == [(7, [Target("udp", "192.0.2.1", 5060)])]
        assert not b.endpoint._tasks


@in_loop
async def test_a_name_is_resolved_without_holding_up_others() -> None:
    async with bench() as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        b.engine.pending.append(Resolve(8, "sip:example.com:5070", ""))
        b.endpoint._flush()
        assert b.engine.resolutions == []
        assert b.endpoint.statistics()["resolving"] == 1
        await b.engine.wait(lambda: b.engine.resolutions)
        assert b.engine.resolutions == [(8, [Target("udp", "127.0.0.1", 5070)])]


@in_loop
async def test_what_failed_is_tried_last_as_long_as_it_said() -> None:
    """RFC 3263 §4.3, RFC 3261 §21.5.4; within reason."""
    first, second, third = (Target("udp", f"127.0.0.{n}", 5070) for n in (1, 2, 3))

    async def three(question: Question) -> Answer:
        return Answer(tuple(target.host for target in (first, second, third)), 60.0)

    async with bench(Resolver(random.Random(1), three)) as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        b.engine.pending += [TargetFailed(first, None), TargetFailed(second, 1e9)]
        b.endpoint._flush()
        now = asyncio.get_running_loop().time()
        look_up = partial(
            b.endpoint._resolver.locate, "sip:example.com:5070", "", b.endpoint._reach
        )
        assert await look_up(lambda: now) == [third, first, second]
        assert await look_up(lambda: now + 31.0) == [first, third, second]
        assert await look_up(lambda: now + 3601.0) == [first, second, third]


@in_loop
async def test_look_ups_are_bounded() -> None:
    async def never(question: Question) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with bench(Resolver(random.Random(1), never), resolve_queries=1) as b:
        b.endpoint.add_udp("127.0.0.1", 0)
        b.engine.pending += [Resolve(1, "sip:a.test", ""), Resolve(2, "sip:b.test", "")]
        b.endpoint._flush()
        assert b.engine.resolutions == [(2, [])]


@in_loop
async def test_closing_stops_everything() -> None:
    async with bench() as b:
        local = b.endpoint.add_udp("127.0.0.1", 0)
        tcp = b.endpoint.add_tcp("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*tcp)
        await b.engine.wait(lambda: b.engine.opened)
        b.engine.timer = asyncio.get_running_loop().time() + 0.001
        b.engine.pending.append(Transmit(b.engine.opened[0], b"BYE", None))
        await b.endpoint.aclose()
        assert await reader.read() == b"BYE"
        writer.close()
        assert b.engine.closed == b.engine.opened
        with bound_socket(socket.SOCK_DGRAM, *local):
            pass
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*tcp)


@in_loop
async def test_the_time_limits_of_connections_are_swept() -> None:
    async with bench(sweep_s=0.001, first_message_s=0.002) as b:
        reader, writer = await asyncio.open_connection(*b.endpoint.add_tcp("127.0.0.1", 0))
        await b.engine.wait(lambda: b.engine.closed)
        assert await reader.read() == b""
        writer.close()
        assert b.endpoint.statistics()["slow-sender"] == 1


@in_loop
async def test_a_defect_costs_one_datagram_and_not_its_neighbours() -> None:
    """What one message reaches must not stop the endpoint: the batch and the pump go on."""
    async with bench() as b:

        def react(flow: Flow, data: bytes) -> None:
            if data == b"bad":
                raise RuntimeError("planted")

        b.engine.react = react
        host, port = b.endpoint.add_udp("127.0.0.1", 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            for data in (b"good", b"bad", b"better"):
                peer.sendto(data, (host, port))
            await b.engine.wait(lambda: len(b.engine.datagrams) == 3)
        assert [data for data, _ in b.engine.datagrams] == [b"good", b"bad", b"better"]
