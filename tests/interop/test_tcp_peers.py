"""TCP and TLS peers that are slow, silent, greedy or many: bounded, dropped, forgotten."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.interop.conftest import with_accounts
from tests.interop.peers.processes import await_condition
from tests.interop.peers.raw_phone import RawPhone, a_call_works, connect, end, talk
from tests.support.lone_node import request
from tests.support.server_process import ServerProcess

#: Short, so that the test is; the default of the two time limits is 10 s. The rate of requests is
#: left open: these are tests of what comes before it.
LIMITS = """
[limits]
connections = 100
connections_per_source = 40
first_message_s = 0.5
message_s = 0.5
tls_handshake_s = 0.5
requests_per_s = 1e6
requests_burst = 1000000
[media]
ng = "off"
"""
#: The limit, the sweep once a second, and a busy machine.
DROPPED_S = 10.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    listeners = ("127.0.0.1:0/udp", "127.0.0.1:0/tcp", "127.0.0.1:0/tls")
    directory = tmp_path_factory.mktemp("peers")
    with ServerProcess(directory, listeners=listeners, settings=LIMITS) as made:
        yield with_accounts(made)


@pytest.fixture(autouse=True)
def nothing_is_left(server: ServerProcess) -> Iterator[None]:
    """After each test: no connection, no traceback, and calls work."""
    signal = server.roles()["signal"]
    yield
    await_condition(lambda: not established(signal), "the end of all connections", DROPPED_S)
    assert server.roles()["signal"] == signal
    assert "Traceback" not in server.log(), server.log()[-4000:]
    a_call_works(server)


def established(process: psutil.Process) -> list[object]:
    return [c for c in process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED]


def peer_of(
    server: ServerProcess, transport: str = "tcp", host: str = "127.0.0.1"
) -> socket.socket:
    return socket.create_connection(
        server.addresses[transport], timeout=DROPPED_S, source_address=(host, 0)
    )


def dropped(peer: socket.socket) -> bool:
    """Whether the server ends the connection (what it still says is read on)."""
    try:
        while peer.recv(65_535):
            pass
    except ConnectionError:
        pass
    return True


def drip(peer: socket.socket, data: bytes) -> None:
    """Send byte by byte, as slowly as a slow-loris does to hold a connection."""
    for byte in data:
        peer.send(bytes([byte]))
        time.sleep(0.02)


def options(serial: int = 1) -> bytes:
    return request("OPTIONS", branch=f"tcp{serial}", call_id=f"tcp{serial}", transport="TCP")


def test_a_peer_that_says_nothing_is_dropped(server: ServerProcess) -> None:
    with peer_of(server) as peer:
        assert dropped(peer)


def test_a_peer_that_sends_byte_by_byte_is_dropped(server: ServerProcess) -> None:
    """Each byte is in time, the message as a whole is not: before the first and after one."""
    with peer_of(server) as first, peer_of(server) as later:
        later.sendall(options())
        assert later.recv(65_535).startswith(b"SIP/2.0 200 ")
        for peer in (first, later):
            started = time.monotonic()
            with pytest.raises(ConnectionError):
                drip(peer, options(2) * 50)
            assert time.monotonic() - started < DROPPED_S


def test_a_peer_that_vanishes_in_the_middle_leaves_nothing(server: ServerProcess) -> None:
    """Half a message, then FIN, or RST."""
    for reset in (False, True):
        with peer_of(server) as peer:
            peer.sendall(options()[:100])
            if reset:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_half_closed_peer_still_gets_its_answer(server: ServerProcess) -> None:
    """It sends one request and its FIN: that is no attack."""
    with peer_of(server) as peer:
        peer.sendall(options())
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(65_535).startswith(b"SIP/2.0 200 ")
        assert dropped(peer)


def test_a_flood_of_connections_ends_at_the_bounds(server: ServerProcess) -> None:
    """40 from one address, 100 in all; others of another address still come in."""
    signal = server.roles()["signal"]
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(peer_of(server))
        assert len(established(signal)) <= 40
        with peer_of(server, host="127.0.0.2") as other:
            other.sendall(options(3))
            assert other.recv(65_535).startswith(b"SIP/2.0 200 ")
        for number in range(3, 10):
            for _ in range(40):
                stack.enter_context(peer_of(server, host=f"127.0.0.{number}"))
        assert len(established(signal)) <= 100


def test_a_flood_does_not_touch_a_running_call(server: ServerProcess) -> None:
    with RawPhone(server, "alice") as caller, RawPhone(server, "bob") as callee:
        callee.register()
        ours, theirs = connect(caller, callee)
        for _ in range(300):
            peer_of(server).close()
        talk(caller, ours, callee, theirs)
        end(caller, ours, callee)


def test_a_peer_that_never_reads_is_dropped_and_costs_little(server: ServerProcess) -> None:
    """It asks and asks; what we keep for it is bounded."""
    signal = server.roles()["signal"]
    before = signal.memory_info().rss
    with peer_of(server) as peer, pytest.raises(ConnectionError):
        peer.sendall(b"".join(options(number) for number in range(100_000)))
    assert signal.memory_info().rss - before < 64 << 20


@pytest.mark.parametrize(
    "flood",
    [
        b"OPTIONS sip:a SIP/2.0\r\nX: " + b"x" * 1_000_000,
        b"OPTIONS sip:a SIP/2.0\r\n" + b"X: y\r\n" * 200_000,
        b"OPTIONS sip:a SIP/2.0\r\nX: " + b"\r\n y" * 300_000,
        b"OPTIONS sip:" + b"a" * 1_000_000,
        b"\x00" * 1_000_000,
        options().replace(b"Length: 0", b"Length: 999999999") + b"z" * 1_000_000,
    ],
    ids=["one-header", "many-headers", "folding", "uri", "zeros", "body"],
)
def test_giant_headers_are_cut_off(server: ServerProcess, flood: bytes) -> None:
    signal = server.roles()["signal"]
    before = signal.memory_info().rss
    with peer_of(server) as peer:
        try:
            peer.sendall(flood)
        except ConnectionError:
            pass
        assert dropped(peer)
    assert signal.memory_info().rss - before < 16 << 20


def test_pings_alone_keep_a_connection(server: ServerProcess) -> None:
    """RFC 5626 keep-alives are complete in themselves: such a peer is a phone at rest."""
    with peer_of(server) as peer:
        for _ in range(4):
            peer.sendall(b"\r\n\r\n")
            assert peer.recv(10) == b"\r\n"
            time.sleep(0.6)


def test_garbage_instead_of_a_tls_handshake(server: ServerProcess) -> None:
    """Random bytes, plain SIP, a cut ClientHello, and nothing at all."""
    rng = random.Random(1)
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context.wrap_bio(incoming, outgoing, server_hostname="test.example")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    client_hello = outgoing.read()
    for garbage in (
        rng.randbytes(5000),
        options(),
        client_hello[: len(client_hello) // 2],
        client_hello + rng.randbytes(2000),
        b"",
    ):
        with peer_of(server, "tls") as peer:
            peer.sendall(garbage)
            assert dropped(peer)


def test_garbage_inside_tls(server: ServerProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with peer_of(server, "tls") as plain, context.wrap_socket(plain) as peer:
        peer.sendall(options().replace(b"TCP", b"TLS"))
        assert peer.recv(65_535).startswith(b"SIP/2.0 200 ")
        peer.sendall(b"\x16\x03\x01" + random.Random(2).randbytes(400) + b"\r\n\r\n")
        assert dropped(peer)
