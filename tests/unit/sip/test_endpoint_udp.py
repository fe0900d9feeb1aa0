"""One UDP listener over loopback, and over a socket that fails to order."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from sip.endpoint.limits import EndpointLimits
from sip.endpoint.udp import UdpListener, address_family, bound_socket, socket_address
from sip.flow import Flow
from tests.support.recording_engine import eventually, in_loop


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("192.0.2.1", socket.AF_INET),
        ("2001:db8::1", socket.AF_INET6),
        ("fe80::1%eth0", socket.AF_INET6),
        ("example.com", None),
        ("1.2.3", None),
        (":::", None),
        ("", None),
    ],
)
def test_only_numeric_hosts_have_a_family(host: str, family: int | None) -> None:
    assert address_family(host) == family


def test_a_link_local_address_keeps_its_zone() -> None:
    assert socket_address(("fe80::1", 5060, 0, 3)) == ("fe80::1%3", 5060)
    assert socket_address(("fe80::1%3", 5060, 0, 3)) == ("fe80::1%3", 5060)
    assert socket_address(("2001:db8::1", 5060, 0, 0)) == ("2001:db8::1", 5060)
    assert socket_address(("192.0.2.1", 5060)) == ("192.0.2.1", 5060)


def test_a_name_is_no_place_to_listen_on() -> None:
    with pytest.raises(ValueError, match="numeric"):
        bound_socket(socket.SOCK_DGRAM, "localhost", 0)


def test_a_taken_port_is_an_error_and_leaves_no_socket() -> None:
    with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as first:
        taken = first.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound_socket(socket.SOCK_DGRAM, "127.0.0.1", taken)


class Inbox:
    """What a listener received, batch by batch."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[bytes, Flow]]] = []
        self._changed = asyncio.Event()

    def __call__(self, batch: list[tuple[bytes, Flow]]) -> None:
        self.batches.append(batch)
        self._changed.set()

    async def wait(self, datagrams: int) -> list[tuple[bytes, Flow]]:
        while sum(map(len, self.batches)) < datagrams:
            self._changed.clear()
            await self._changed.wait()
        return [item for batch in self.batches for item in batch]


def listen(inbox: Inbox, host: str = "127.0.0.1", **limits: int) -> UdpListener:
    return UdpListener(asyncio.get_running_loop(), host, 0, EndpointLimits(**limits), inbox)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@in_loop
async def test_a_datagram_comes_with_its_flow_and_goes_back_over_it(host: str) -> None:
    inbox = Inbox()
    listener = listen(inbox, host)
    with bound_socket(socket.SOCK_DGRAM, host, 0) as phone:
        phone.sendto(b"ping", listener.local)
        [(data, flow)] = await inbox.wait(1)
        assert data == b"ping"
        assert flow == Flow("udp", listener.local, phone.getsockname()[:2])
        assert listener.send(b"pong", flow.remote)
        loop = asyncio.get_running_loop()
        answer, source = await loop.sock_recvfrom(phone, 100)
        assert (answer, source[:2]) == (b"pong", listener.local)
    listener.close()


@in_loop
async def test_the_flow_of_a_known_phone_is_not_built_anew() -> None:
    inbox = Inbox()
    listener = listen(inbox)
    with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
        phone.sendto(b"1", listener.local)
        phone.sendto(b"2", listener.local)
        received = await inbox.wait(2)
    assert received[0][1] is received[1][1]
    listener.close()


@in_loop
async def test_a_flood_is_read_in_batches() -> None:
    """So that timers and other sockets get their turn between two of them."""
    inbox = Inbox()
    listener = listen(inbox, udp_batch_datagrams=4)
    with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
        for number in range(10):
            phone.sendto(b"%d" % number, listener.local)
        received = await inbox.wait(10)
    assert [data for data, _ in received] == [b"%d" % number for number in range(10)]
    assert [len(batch) for batch in inbox.batches] == [4, 4, 2]
    listener.close()


@in_loop
async def test_a_closed_port_at_the_peer_harms_nobody() -> None:
    """The ICMP error of one peer must not hide the datagrams of another."""
    inbox = Inbox()
    listener = listen(inbox)
    with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as gone:
        nobody = gone.getsockname()
    assert listener.send(b"anyone?", nobody)
    assert listener.send(b"anyone?", nobody)
    with bound_socket(socket.SOCK_DGRAM, "127.0.0.1", 0) as phone:
        phone.sendto(b"here", listener.local)
        [(data, _)] = await inbox.wait(1)
    assert data == b"here"
    listener.close()


@in_loop
async def test_what_can_never_be_sent_is_told() -> None:
    inbox = Inbox()
    listener = listen(inbox)
    assert not listener.send(b"x" * 70_000, ("127.0.0.1", 5060))
    listener.close()


class StubbornSocket:
    """A real socket whose `sendto` raises the scripted errors first."""

    def __init__(self, real: socket.socket, errors: list[int]) -> None:
        self._real = real
        self.errors = errors
        self.sent: list[bytes] = []

    def sendto(self, data: bytes, remote: Any) -> int:
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, "scripted")
        self.sent.append(data)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def fileno(self) -> int:
        return self._real.fileno()


def obstruct(
    monkeypatch: pytest.MonkeyPatch, listener: UdpListener, errors: list[int]
) -> StubbornSocket:
    stubborn = StubbornSocket(listener._socket, errors)
    monkeypatch.setattr(listener, "_socket", stubborn)
    return stubborn


@in_loop
async def test_a_full_kernel_queues_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen(Inbox())
    stubborn = obstruct(monkeypatch, listener, [errno.EAGAIN, errno.EAGAIN])
    for data in (b"1", b"2", b"3"):
        assert listener.send(data, ("127.0.0.1", 9))
    assert stubborn.sent == []
    await eventually(lambda: len(stubborn.sent) == 3)
    assert stubborn.sent == [b"1", b"2", b"3"]
    assert listener.send(b"4", ("127.0.0.1", 9))
    assert stubborn.sent[-1] == b"4"
    listener.close()


@in_loop
async def test_the_send_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen(Inbox(), udp_send_queue_bytes=10)
    obstruct(monkeypatch, listener, [errno.ENOBUFS] * 10)
    for _ in range(5):
        assert listener.send(b"4444", ("127.0.0.1", 9))
    assert listener.dropped == 3
    listener.close()


@in_loop
async def test_an_error_left_over_from_another_peer_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listener = listen(Inbox())
    stubborn = obstruct(monkeypatch, listener, [errno.ECONNREFUSED])
    assert listener.send(b"1", ("127.0.0.1", 9))
    assert stubborn.sent == [b"1"]
    stubborn.errors = [errno.EHOSTUNREACH]
    assert not listener.send(b"2", ("127.0.0.1", 9))
    listener.close()
