"""TCP and TLS connections over loopback: flows, reuse, and every bound on a bad peer."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sip.core import CloseFlow, Transmit
from sip.endpoint import (
    EndpointLimits,
    Resolver,
    SipEndpoint,
    TlsContexts,
    TlsSettings,
    ensure_self_signed,
)
from sip.endpoint.locate import Answer, Question
from sip.endpoint.stream import StreamListener
from sip.flow import Address, Flow, Target
from tests.support.recording_engine import RecordingEngine, eventually, in_loop


class Clock:
    """The endpoint's `monotonic`, moved by hand; connection time limits are checked by `expire`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def no_dns(question: Question) -> Answer:
    return Answer((), 60.0)


class Bench:
    """An endpoint over a recording engine."""

    def __init__(self, tls: TlsContexts | None = None, **limits: float) -> None:
        self.engine = RecordingEngine()
        self.clock = Clock()
        options: dict[str, Any] = dict(limits)
        self.endpoint = SipEndpoint(
            self.engine,
            lambda events, now: None,
            Resolver(random.Random(1), no_dns),
            monotonic=self.clock,
            limits=EndpointLimits(**options),
            tls=tls,
        )

    def emit(self, *outputs: Transmit | CloseFlow) -> None:
        self.engine.pending += outputs
        self.endpoint.flush()

    async def advance(self, seconds: float) -> None:
        """Move the clock and look at the connection time limits, as the sweep would."""
        self.clock.now += seconds
        self.endpoint._streams.expire(self.clock.now)

    def counted(self, name: str) -> int:
        return self.endpoint.statistics().get(name, 0)


@asynccontextmanager
async def bench(tls: TlsContexts | None = None, **limits: float) -> AsyncIterator[Bench]:
    made = Bench(tls, **limits)
    try:
        yield made
    finally:
        await made.endpoint.aclose()


Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(address: Address, **options: Any) -> Peer:
    return await asyncio.open_connection(*address, **options)


async def hang_up(peer: Peer) -> None:
    peer[1].close()
    try:
        await peer[1].wait_closed()
    except OSError:
        pass


async def ended(peer: Peer) -> bytes:
    """All bytes until the peer's connection is closed or reset."""
    received = b""
    try:
        while data := await peer[0].read(65_536):
            received += data
    except ConnectionError:
        pass
    await hang_up(peer)
    return received


@in_loop
async def test_an_accepted_connection_is_a_flow_until_it_closes() -> None:
    async with bench() as b:
        address = b.endpoint.add_tcp("127.0.0.1", 0)
        assert b.engine.listeners == [("tcp", address)]
        peer = await connect(address)
        await b.engine.wait(lambda: b.engine.opened)
        [flow] = b.engine.opened
        assert flow == Flow("tcp", address, peer[1].get_extra_info("sockname"), flow.id)
        assert flow.id > 0
        peer[1].write(b"hello\n")
        await b.engine.wait(lambda: b.engine.stream[flow] == b"hello\n")
        b.emit(Transmit(flow, b"welcome", None))
        assert await peer[0].readexactly(7) == b"welcome"
        await hang_up(peer)
        await b.engine.wait(lambda: b.engine.closed)
        assert b.engine.closed == [flow]
        b.emit(Transmit(flow, b"too late", "token"))
        await b.engine.wait(lambda: b.engine.failed)
        assert b.engine.failed == [(flow, "token")]


@in_loop
async def test_a_reconnect_is_another_flow() -> None:
    async with bench() as b:
        address = b.endpoint.add_tcp("127.0.0.1", 0)
        for _ in range(2):
            peer = await connect(address)
            await b.engine.wait(lambda: len(b.engine.opened) > len(b.engine.closed))
            await hang_up(peer)
            await b.engine.wait(lambda: len(b.engine.opened) == len(b.engine.closed))
        first, second = b.engine.opened
        assert first.id != second.id


@in_loop
async def test_two_requests_to_one_target_share_a_connection() -> None:
    """And both wait for it: nothing is lost that was sent while it was being opened."""
    async with bench() as b:
        accepted: list[Peer] = []
        server = await asyncio.start_server(lambda r, w: accepted.append((r, w)), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        target = Target("tcp", host, port)
        b.emit(Transmit(target, b"one ", 1), Transmit(target, b"two ", 2))
        await b.engine.wait(lambda: b.engine.opened)
        [flow] = b.engine.opened
        assert flow.remote == (host, port)
        b.emit(Transmit(target, b"three ", 3), Transmit(flow, b"four", 4))
        await eventually(lambda: accepted)
        assert await accepted[0][0].readexactly(18) == b"one two three four"
        assert b.engine.failed == []
        await hang_up(accepted[0])
        await b.engine.wait(lambda: b.engine.closed == [flow])
        server.close()


@in_loop
async def test_a_request_to_a_connected_phone_uses_the_phone_s_connection() -> None:
    async with bench() as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        await b.engine.wait(lambda: b.engine.opened)
        host, port = peer[1].get_extra_info("sockname")
        b.emit(Transmit(Target("tcp", host, port), b"INVITE", None))
        assert await peer[0].readexactly(6) == b"INVITE"
        assert len(b.engine.opened) == 1
        await hang_up(peer)


@in_loop
async def test_our_connections_start_at_the_listener_s_address() -> None:
    async with bench() as b:
        b.endpoint.add_tcp("127.0.0.2", 0)
        seen: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.set_result(writer.get_extra_info("peername"))
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        b.emit(Transmit(Target("tcp", *server.sockets[0].getsockname()), b"x", None))
        assert (await seen)[0] == "127.0.0.2"
        await b.engine.wait(lambda: b.engine.closed)
        server.close()


@in_loop
async def test_a_refused_connection_fails_every_message_that_waits_for_it() -> None:
    async with bench() as b:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            host, port = gone.getsockname()
        target = Target("tcp", host, port)
        b.emit(Transmit(target, b"x", 1), Transmit(target, b"y", 2))
        await b.engine.wait(lambda: len(b.engine.failed) == 2)
        assert b.engine.failed == [(target, 1), (target, 2)]
        other = Target("tcp", host, port + 1)
        assert b.endpoint._resolver._failed.order([target, other], 1001.0) == [other, target]
        assert b.engine.opened == []


@in_loop
async def test_a_name_or_a_dead_flow_never_reaches_a_socket() -> None:
    async with bench() as b:
        flow = Flow("tcp", ("127.0.0.1", 1), ("127.0.0.1", 2), 77)
        over_flow = Target("tcp", "127.0.0.1", 2, flow)
        name = Target("tcp", "example.com", 5060)
        no_tls = Target("tls", "127.0.0.1", 5061)
        b.emit(*(Transmit(to, b"x", None) for to in (flow, over_flow, name, no_tls)))
        await b.engine.wait(lambda: len(b.engine.failed) == 4)
        assert [to for to, _ in b.engine.failed] == [flow, over_flow, name, no_tls]


@in_loop
async def test_the_number_of_our_own_connections_is_bounded() -> None:
    async with bench(outgoing_connections=1) as b:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        second = Target("tcp", "127.0.0.2", port)
        b.emit(Transmit(Target("tcp", host, port), b"x", 1), Transmit(second, b"x", 2))
        await b.engine.wait(lambda: b.engine.failed)
        assert b.engine.failed == [(second, 2)]
        await b.engine.wait(lambda: b.engine.closed)
        server.close()


@in_loop
async def test_what_waits_for_a_connection_is_bounded() -> None:
    async with bench(write_buffer_bytes=10) as b:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        target = Target("tcp", *server.sockets[0].getsockname())
        b.emit(Transmit(target, b"12345678", 1), Transmit(target, b"12345678", 2))
        await b.engine.wait(lambda: b.engine.failed)
        assert b.engine.failed == [(target, 2)]
        await b.engine.wait(lambda: b.engine.closed)
        server.close()


@in_loop
async def test_closing_a_flow_sends_the_last_answer_first() -> None:
    """Even to a peer whose own bytes are still coming: a reset would destroy the answer."""
    async with bench() as b:

        def refuse(flow: Flow, data: bytes) -> None:
            b.engine.pending += [Transmit(flow, b"400", None), CloseFlow(flow, "garbage")]

        b.engine.react = refuse
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        peer[1].write(b"garbage\n" * 10_000)
        assert await ended(peer) == b"400"
        await b.engine.wait(lambda: b.engine.closed)
        assert len(b.engine.opened) == 1
        [flow] = b.engine.opened
        assert b.engine.closed == [flow]


@in_loop
async def test_a_closed_flow_carries_nothing_more() -> None:
    async with bench() as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        await b.engine.wait(lambda: b.engine.opened)
        [flow] = b.engine.opened
        # What the engine still says in the same breath are answers to what came before.
        b.emit(CloseFlow(flow, "done"), CloseFlow(flow, "done"), Transmit(flow, b"bye", 1))
        assert await peer[0].read() == b"bye"
        b.emit(Transmit(flow, b"x", 2))
        await b.engine.wait(lambda: b.engine.failed)
        assert b.engine.failed == [(flow, 2)]
        peer[1].write(b"still talking\n")
        await b.advance(4.9)
        assert b.engine.closed == []
        await b.advance(0.2)
        await b.engine.wait(lambda: b.engine.closed)
        assert b.engine.stream[flow] == b""
        await ended(peer)


@in_loop
async def test_closing_what_the_peer_has_just_reset_disturbs_nobody() -> None:
    """The kernel refuses to half-close such a socket; other connections must not notice."""
    async with bench() as b:
        address = b.endpoint.add_tcp("127.0.0.1", 0)
        resetting = socket.create_connection(address)
        await b.engine.wait(lambda: b.engine.opened)
        [flow] = b.engine.opened
        resetting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        resetting.close()
        b.emit(CloseFlow(flow, "framing lost"))
        await b.engine.wait(lambda: b.engine.closed)
        peer = await connect(address)
        await b.engine.wait(lambda: len(b.engine.opened) == 2)
        b.emit(Transmit(b.engine.opened[1], b"still here", 1))
        assert await peer[0].readexactly(10) == b"still here"
        await hang_up(peer)


@in_loop
async def test_connections_are_bounded_per_address_and_in_total() -> None:
    async with bench(connections_per_address=1, connections=2) as b:
        address = b.endpoint.add_tcp("127.0.0.1", 0)
        first = await connect(address)
        await b.engine.wait(lambda: b.engine.opened)
        assert await ended(await connect(address)) == b""
        assert b.counted("refused-address") == 1
        second = await connect(address, local_addr=("127.0.0.2", 0))
        await b.engine.wait(lambda: len(b.engine.opened) == 2)
        assert await ended(await connect(address, local_addr=("127.0.0.3", 0))) == b""
        assert b.counted("refused-total") == 1
        await hang_up(first)
        await b.engine.wait(lambda: b.engine.closed)
        again = await connect(address)
        await b.engine.wait(lambda: len(b.engine.opened) == 3)
        await hang_up(second)
        await hang_up(again)


@in_loop
async def test_a_peer_that_says_nothing_is_dropped() -> None:
    async with bench(first_message_s=10.0) as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        await b.engine.wait(lambda: b.engine.opened)
        await b.advance(9.9)
        peer[1].write(b"one byte at a time")
        await b.engine.wait(lambda: b.engine.stream[b.engine.opened[0]])
        await b.advance(0.2)
        assert await ended(peer) == b""
        assert b.counted("slow-sender") == 1
        await b.engine.wait(lambda: b.engine.closed)


@in_loop
async def test_a_message_that_never_ends_is_dropped() -> None:
    """Bytes that keep coming do not prolong the time for one message."""
    async with bench(message_s=5.0) as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        peer[1].write(b"complete\n")
        await b.engine.wait(lambda: b"\n" in b"".join(b.engine.stream.values()))
        drips: list[bytes] = []
        b.engine.react = lambda flow, data: drips.append(data)
        for _ in range(3):
            await b.advance(2.0)
            drips.clear()
            peer[1].write(b"drip")
            await b.engine.wait(lambda: drips)
        await b.advance(2.0)
        await ended(peer)
        assert b.counted("slow-sender") == 1


@in_loop
async def test_an_idle_connection_is_closed_politely() -> None:
    async with bench(idle_s=100.0) as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        peer[1].write(b"complete\n")
        await b.engine.wait(lambda: b"\n" in b"".join(b.engine.stream.values()))
        await b.advance(99.0)
        assert b.counted("idle") == 0
        await b.advance(1.1)
        assert b.counted("idle") == 1
        assert await ended(peer) == b""
        await b.engine.wait(lambda: b.engine.closed)


@in_loop
async def test_bytes_without_a_message_are_bounded() -> None:
    async with bench(unparsed_bytes=1_000) as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0))
        peer[1].write(b"x" * 1_001)
        await ended(peer)
        await b.engine.wait(lambda: b.engine.closed)
        assert b.counted("unparsed-bytes") == 1


@in_loop
async def test_a_peer_that_does_not_read_is_dropped() -> None:
    async with bench(write_buffer_bytes=100_000) as b:
        peer = await connect(b.endpoint.add_tcp("127.0.0.1", 0), limit=1)
        await b.engine.wait(lambda: b.engine.opened)
        [flow] = b.engine.opened
        while not b.engine.failed:
            b.emit(Transmit(flow, b"x" * 50_000, "big"))
            await asyncio.sleep(0)
        assert b.counted("slow-reader") == 1
        await b.engine.wait(lambda: b.engine.closed)
        await ended(peer)


@in_loop
async def test_running_out_of_descriptors_pauses_accepting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking again at once would spin; the connection waits in the kernel meanwhile."""
    loop = asyncio.get_running_loop()
    accepted: list[socket.socket] = []
    listener = StreamListener(
        loop, "tcp", "127.0.0.1", 0, lambda kind, sock, remote: accepted.append(sock)
    )
    real = listener._socket
    errors = [errno.ECONNABORTED, errno.EMFILE]

    class Exhausted:
        def accept(self) -> Any:
            if errors:
                raise OSError(errors.pop(0), "scripted")
            return real.accept()

        def fileno(self) -> int:
            return real.fileno()

        def close(self) -> None:
            real.close()

    paused: list[Any] = []
    monkeypatch.setattr(loop, "call_later", lambda delay, call: paused.append(call))
    monkeypatch.setattr(listener, "_socket", Exhausted())
    listener._on_readable()
    assert errors == []
    assert len(paused) == 1
    monkeypatch.undo()
    peer = await connect(listener.local)
    assert accepted == []
    paused[0]()
    await eventually(lambda: accepted)
    listener.close()
    accepted[0].close()
    await ended(peer)
    assert "cannot accept" in caplog.text


# ---- TLS


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return ensure_self_signed(tmp_path_factory.mktemp("tls"), ["test.example"])


def trusting(pair: tuple[Path, Path], **settings: Any) -> TlsContexts:
    return TlsContexts(TlsSettings(*pair, ca_file=pair[0], **settings))


def phone_context(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


@in_loop
async def test_a_tls_listener_needs_certificates() -> None:
    async with bench() as b:
        with pytest.raises(ValueError, match="certificates"):
            b.endpoint.add_tls("127.0.0.1", 0)


def test_tls_accepts_and_carries(pair: tuple[Path, Path]) -> None:
    @in_loop
    async def scenario() -> None:
        async with bench(trusting(pair)) as b:
            address = b.endpoint.add_tls("127.0.0.1", 0)
            peer = await connect(
                address, ssl=phone_context(pair[0]), server_hostname="test.example"
            )
            peer[1].write(b"hello\n")
            await b.engine.wait(lambda: b"\n" in b"".join(b.engine.stream.values()))
            [flow] = b.engine.opened
            assert flow.transport == "tls"
            b.emit(Transmit(flow, b"answer", None), CloseFlow(flow, "done"))
            assert await ended(peer) == b"answer"
            await b.engine.wait(lambda: b.engine.closed)

    scenario()


def test_a_peer_that_starts_no_handshake_is_dropped(pair: tuple[Path, Path]) -> None:
    @in_loop
    async def scenario() -> None:
        async with bench(trusting(pair), tls_handshake_s=0.005, connections_per_address=1) as b:
            address = b.endpoint.add_tls("127.0.0.1", 0)
            assert await ended(await connect(address)) == b""
            await eventually(lambda: b.counted("handshake-failed") == 1)
            peer = await connect(address)
            peer[1].write(b"OPTIONS sip:test.example SIP/2.0\r\n\r\n")
            await ended(peer)
            assert b.engine.opened == []
            await eventually(lambda: b.counted("handshake-failed") == 2)
            assert b.counted("refused-address") == 0

    scenario()


def test_a_reload_serves_new_connections_with_the_new_certificate(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        old = ensure_self_signed(tmp_path / "old", ["test.example"])
        new = ensure_self_signed(tmp_path / "new", ["test.example"])
        live = (tmp_path / "live.crt", tmp_path / "live.key")
        for source, destination in zip(old, live, strict=True):
            destination.write_bytes(source.read_bytes())
        async with bench(TlsContexts(TlsSettings(*live))) as b:
            address = b.endpoint.add_tls("127.0.0.1", 0)
            before = await connect(
                address, ssl=phone_context(old[0]), server_hostname="test.example"
            )
            for source, destination in zip(new, live, strict=True):
                destination.write_bytes(source.read_bytes())
            b.endpoint.reload_tls()
            after = await connect(
                address, ssl=phone_context(new[0]), server_hostname="test.example"
            )
            before[1].write(b"still here\n")
            await b.engine.wait(lambda: b"still here\n" in b.engine.stream.values())
            await hang_up(before)
            await hang_up(after)
            await b.engine.wait(lambda: len(b.engine.closed) == 2)

    scenario()


def test_the_name_asked_for_chooses_the_certificate(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        default = ensure_self_signed(tmp_path / "default", ["test.example"])
        other = ensure_self_signed(tmp_path / "other", ["other.example"])
        contexts = TlsContexts(TlsSettings(*default, domains={"Other.example": other}))
        async with bench(contexts) as b:
            address = b.endpoint.add_tls("127.0.0.1", 0)
            for files, name in ((default, "test.example"), (other, "other.example")):
                peer = await connect(address, ssl=phone_context(files[0]), server_hostname=name)
                await hang_up(peer)
            await b.engine.wait(lambda: len(b.engine.closed) == 2)

    scenario()


@pytest.mark.parametrize(
    ("domain", "settings", "accepted"),
    [
        ("test.example", {}, True),
        ("sip.test.example", {}, False),
        ("sip.test.example", {"unverified": frozenset({"sip.test.example"})}, True),
        ("", {}, False),
        ("", {"verify": False}, True),
        ("", {"unverified": frozenset({"127.0.0.1"})}, True),
    ],
)
def test_a_server_must_prove_the_domain_that_we_call(
    pair: tuple[Path, Path], domain: str, settings: dict[str, Any], accepted: bool
) -> None:
    @in_loop
    async def scenario() -> None:
        async with bench(trusting(pair)) as server, bench(trusting(pair, **settings)) as client:
            host, port = server.endpoint.add_tls("127.0.0.1", 0)
            target = Target("tls", host, port, None, domain)
            client.emit(Transmit(target, b"hello\n", "token"))
            if accepted:
                await server.engine.wait(lambda: b"hello\n" in server.engine.stream.values())
                assert client.engine.failed == []
                again = Target("tls", host, port, None, domain)
                client.emit(Transmit(again, b"again\n", "token"))
                await server.engine.wait(lambda: b"hello\nagain\n" in server.engine.stream.values())
            else:
                await client.engine.wait(lambda: client.engine.failed)
                assert client.engine.failed == [(target, "token")]
                assert client.engine.opened == []
                assert client.counted("wrong-certificate") == 1

    scenario()


def test_an_unknown_authority_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    @in_loop
    async def scenario() -> None:
        stranger = ensure_self_signed(tmp_path, ["test.example"])
        server_tls = TlsContexts(TlsSettings(*stranger))
        async with bench(server_tls) as server, bench(trusting(pair)) as client:
            host, port = server.endpoint.add_tls("127.0.0.1", 0)
            target = Target("tls", host, port, None, "test.example")
            client.emit(Transmit(target, b"hello\n", "token"))
            await client.engine.wait(lambda: client.engine.failed)
            assert client.engine.failed == [(target, "token")]

    scenario()


def test_a_phone_s_connection_is_not_taken_for_a_verified_one(pair: tuple[Path, Path]) -> None:
    """Its remote port answers no TLS server, so a request with a domain to prove must fail."""

    @in_loop
    async def scenario() -> None:
        async with bench(trusting(pair)) as b:
            peer = await connect(
                b.endpoint.add_tls("127.0.0.1", 0),
                ssl=phone_context(pair[0]),
                server_hostname="test.example",
            )
            await b.engine.wait(lambda: b.engine.opened)
            host, port = peer[1].get_extra_info("sockname")
            target = Target("tls", host, port, None, "test.example")
            b.emit(Transmit(target, b"x", "token"))
            await b.engine.wait(lambda: b.engine.failed)
            assert b.engine.failed == [(target, "token")]
            b.emit(Transmit(Target("tls", host, port), b"over the flow", None))
            assert await peer[0].readexactly(13) == b"over the flow"
            await hang_up(peer)

    scenario()
