"""Sockets are bound, marked, and as many as the administrator allows."""

from __future__ import annotations

import resource
import socket

import pytest

from media.native import sockets
from media.native.relay import RelayOptions


def test_an_ipv4_socket() -> None:
    with sockets.bind("127.0.0.1", 0, RelayOptions(dscp=46)) as sock:
        assert sockets.bound_address(sock)[0] == "127.0.0.1"
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 46 << 2
        assert not sock.getblocking()


def test_an_ipv6_socket_is_of_its_family_only() -> None:
    with sockets.bind("::1", 0, RelayOptions(dscp=8)) as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) == 8 << 2


def test_buffers_are_as_asked() -> None:
    """The kernel doubles what is asked for, to hold its own records (socket(7))."""
    options = RelayOptions(receive_buffer_bytes=100_000, send_buffer_bytes=90_000)
    with sockets.bind("127.0.0.1", 0, options) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 200_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 180_000


def test_a_failed_bind_leaves_no_socket() -> None:
    with (
        sockets.bind("127.0.0.1", 0, RelayOptions()) as sock,
        pytest.raises(OSError, match="in use"),
    ):
        sockets.bind(*sockets.bound_address(sock), RelayOptions())


def test_the_file_limit_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda *values: asked.append(values))
    sockets.raise_file_limit()
    assert asked == [(resource.RLIMIT_NOFILE, (4096, 4096))]


def test_a_refused_file_limit_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    sockets.raise_file_limit()


def test_the_loopback_is_a_local_host() -> None:
    hosts = sockets.local_hosts()
    assert {"127.0.0.1", "::1"} <= hosts
    assert "192.0.2.1" not in hosts
