"""Random and mutated bytes on every port of a running server.

50,000 mutants in every run; ``GARBAGE=1000000 make interop ARGS="-k garbage"`` hunts longer, and
``GARBAGE_SEED=7`` elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from random import Random

import pytest

from media.ng.messages import Message, answer, decode, delete, encode, offer, ping, query
from tests.fuzz.mutate import Mutator
from tests.fuzz.sip import WORDS, corpus
from tests.interop.conftest import with_accounts
from tests.interop.peers.processes import free_port
from tests.interop.peers.raw_phone import a_call_works
from tests.support.fake_phone.wire import Heard
from tests.support.lone_node import request
from tests.support.media_lab import sdp
from tests.support.server_process import DOMAIN, ServerProcess

TOTAL = int(os.environ.get("GARBAGE", "50000"))
SEED = int(os.environ.get("GARBAGE_SEED", "1"))
BATCH = 100
#: The first half fills caches, tables and the allocator's arenas; after that memory may not grow by
#: more than this: a leak of 2 KiB for each connection or of 400 bytes for each datagram shows.
GROWTH_BYTES = 10 << 20
NG_WORDS = tuple(b"d7:command offer answer delete 4:ping i1e le 10:from-tag1:a".split())


@pytest.fixture(scope="module")
def garbage_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, tuple[str, int]]]:
    """Nothing is dropped for its rate, and transactions are short: all code is reached, and what
    is kept for them goes while the test runs. The second value is the NG port."""
    ng = ("127.0.0.1", free_port())
    settings = f"""
[sip]
t1_s = 0.01
t2_s = 0.1
t4_s = 0.1
[limits]
requests_per_s = 1e6
requests_burst = 1000000
connections_per_source = 1000
[media]
ng = "127.0.0.1:{ng[1]}"
"""
    with ServerProcess(tmp_path_factory.mktemp("garbage"), settings=settings) as server:
        yield with_accounts(server), ng


class Watch:
    """The roles of a server: none may end, none may grow."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.before = server.roles()
        self.warm: dict[str, int] = {}

    def warmed_up(self) -> None:
        self.warm = {name: role.memory_info().rss for name, role in self.before.items()}

    def check(self) -> None:
        assert self.server.roles() == self.before, "a role was started again"
        for name, role in self.before.items():
            grown = role.memory_info().rss - self.warm[name]
            assert grown < GROWTH_BYTES, f"{name} grew by {grown >> 10} KiB"
        assert "Traceback" not in self.server.log(), self.server.log()[-4000:]


def sip_corpus() -> list[bytes]:
    """Torture messages, ordinary ones, and such as mean accounts of this server."""
    ours = [
        request(method, to="bob", domain=DOMAIN, extra=extra, body=body)
        for method, extra, body in (
            ("INVITE", "Supported: 100rel, timer\r\n", sdp(4000).encode()),
            ("REGISTER", "Expires: 60\r\n", b""),
            ("MESSAGE", "Content-Type: text/plain\r\n", b"hello"),
            ("SUBSCRIBE", "Event: presence\r\n", b""),
            ("OPTIONS", "", b""),
        )
    ]
    return corpus() + ours * 4


def noise(mutator: Mutator, rng: Random) -> bytes:
    """Mostly mutants, now and then random bytes."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.choice((0, 1, 4, 60, 1400, 20_000)))
    return mutator.next()[:60_000]


def test_garbage_over_udp(garbage_server: tuple[ServerProcess, tuple[str, int]]) -> None:
    server, _ = garbage_server
    mutator, rng, watch = Mutator(sip_corpus(), WORDS, SEED), Random(SEED), Watch(server)
    peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for number, peer in enumerate(peers):
        peer.bind((f"127.0.0.{number + 1}", 0))
        peer.settimeout(10.0)
    for batch in range(TOTAL // BATCH):
        if batch == TOTAL // BATCH // 2:
            watch.warmed_up()
        peer = rng.choice(peers)
        for _ in range(BATCH):
            peer.sendto(noise(mutator, rng), server.addresses["udp"])
        marker = f"marker-{batch}"
        ask = request("OPTIONS", branch=marker, call_id=marker)
        peer.sendto(ask, server.addresses["udp"])
        # Its answer shows that the batch was dealt with; the socket never holds more than that.
        while marker.encode() not in peer.recv(65_535):
            pass
    watch.check()
    for peer in peers:
        peer.close()
    a_call_works(server)


def test_garbage_over_tcp(garbage_server: tuple[ServerProcess, tuple[str, int]]) -> None:
    """Cut anywhere, some connections left open in the middle of a message."""
    server, _ = garbage_server
    mutator, rng, watch = Mutator(sip_corpus(), WORDS, SEED + 1), Random(SEED + 1), Watch(server)
    left: list[socket.socket] = []
    rounds = TOTAL // 5
    for number in range(rounds):
        if number == rounds // 2:
            watch.warmed_up()
        peer = socket.create_connection(server.addresses["tcp"], timeout=10.0)
        data = b"".join(noise(mutator, rng) for _ in range(rng.randint(1, 8)))
        cut = rng.randrange(len(data) + 1)
        try:
            peer.sendall(data[:cut])
            peer.sendall(data[cut:])
        except OSError:
            pass  # the server has hung up
        left.append(peer)
        if len(left) > 50:
            left.pop(rng.randrange(len(left))).close()
    for peer in left:
        peer.close()
    with socket.create_connection(server.addresses["tcp"], timeout=10.0) as peer:
        peer.sendall(request("OPTIONS", branch="tcp-end", transport="TCP"))
        assert Heard(peer.recv(65_535)).status == 200
    watch.check()
    a_call_works(server)


def ng_corpus() -> list[bytes]:
    messages: list[Message] = [
        ping(),
        offer("c", "a", sdp(4000).encode()),
        answer("c", "a", "b", sdp(4000).encode()),
        query("c"),
        delete("c"),
        {"command": "list", "limit": 5},
        {"command": "statistics"},
    ]
    json = b'x {"command":"offer","call-id":"j","from-tag":"a","sdp":"v=0\\r\\n","flags":["x"]}'
    return [*(encode("cookie", message) for message in messages), json]


def test_garbage_on_the_ng_port(garbage_server: tuple[ServerProcess, tuple[str, int]]) -> None:
    server, ng = garbage_server
    mutator, rng, watch = Mutator(ng_corpus(), NG_WORDS, SEED + 2), Random(SEED + 2), Watch(server)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10.0)
        for batch in range(TOTAL // BATCH):
            if batch == TOTAL // BATCH // 2:
                watch.warmed_up()
            for _ in range(BATCH):
                peer.sendto(noise(mutator, rng), ng)
            marker = f"marker{batch}"
            peer.sendto(encode(marker, ping()), ng)
            while True:
                reply = peer.recv(65_535)
                if reply.startswith(marker.encode() + b" "):
                    assert decode(reply)[1] == {"result": "pong"}
                    break
        calls = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        calls.settimeout(10.0)
        calls.sendto(encode("end", {"command": "list", "limit": 100_000}), ng)
        for call_id in decode(calls.recv(65_535))[1]["calls"]:
            calls.sendto(encode("del", {"command": "delete", "call-id": call_id}), ng)
            calls.recv(65_535)
        calls.close()
    watch.check()
    a_call_works(server)
