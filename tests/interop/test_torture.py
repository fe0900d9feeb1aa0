"""RFC 4475 over real sockets: the running server gives the answers of ``docs/torture.md``."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.data.rfc4475 import MESSAGES
from tests.interop.conftest import SETTINGS, with_accounts
from tests.interop.peers.raw_phone import a_call_works
from tests.support.lone_node import request
from tests.support.server_process import ServerProcess
from tests.support.torture import ANSWERS, check_answer

#: These repeat branch and sent-by of an earlier message and would be taken for it again.
TWINS = {"cparam02": b"z9hG4bKcparam02", "regescrt": b"z9hG4bKregescrt"}


@pytest.fixture(scope="module", params=["udp", "tcp"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, str]]:
    """A server of its own for each transport: the same message again would be a repetition."""
    with ServerProcess(tmp_path_factory.mktemp("torture"), settings=SETTINGS) as server:
        with_accounts(server)
        for domain in ("example.com", "example.org"):
            server.create_domain(domain)
        server.run("account", "create", "user@example.com", "--password", "secret-user")
        yield server, request.param


def wire_bytes(name: str) -> bytes:
    data = MESSAGES[name].data
    return data.replace(b"z9hG4bKkdjuw", TWINS[name]) if name in TWINS else data


def options(serial: str) -> bytes:
    """What any server answers; its answer shows that everything before it was dealt with."""
    return request("OPTIONS", branch=f"after-{serial}", call_id=f"after-{serial}")


def split(data: bytes) -> list[bytes]:
    """Responses without a body, one after another."""
    return [part + b"\r\n\r\n" for part in data.split(b"\r\n\r\n") if part]


def over_udp(server: ServerProcess, name: str) -> list[bytes]:
    """The answers that come before that of an OPTIONS sent behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10.0)
        peer.bind(("127.0.0.1", 0))
        peer.sendto(wire_bytes(name), server.addresses["udp"])
        peer.sendto(options(name), server.addresses["udp"])
        answers: list[bytes] = []
        while True:
            answer = peer.recv(65_535)
            if f"after-{name}".encode() in answer:
                assert answer.startswith(b"SIP/2.0 200 ")
                return answers
            answers.append(answer)


def over_tcp(server: ServerProcess, name: str) -> tuple[list[bytes], bool]:
    """Answers on the connection, and whether the server closed it; ours is half closed."""
    with socket.create_connection(server.addresses["tcp"], timeout=10.0) as peer:
        peer.sendall(wire_bytes(name))
        received = b""
        wanted = len(ANSWERS[name].tcp)
        while len(split(received)) < wanted:
            received += peer.recv(65_535) or pytest.fail(f"{name}: closed after {received!r}")
        peer.settimeout(5.0 if ANSWERS[name].closes else 0.1)
        try:
            rest = peer.recv(65_535)
        except TimeoutError:
            return split(received), False
        return split(received + rest), not rest


@pytest.mark.parametrize("name", MESSAGES)
def test_a_torture_message_is_answered_and_survived(
    target: tuple[ServerProcess, str], name: str
) -> None:
    server, transport = target
    if transport == "udp":
        check_answer(name, "udp", over_udp(server, name))
    else:
        answers, closed = over_tcp(server, name)
        check_answer(name, "tcp", answers)
        assert closed == ANSWERS[name].closes
        with socket.create_connection(server.addresses["tcp"], timeout=10.0) as peer:
            peer.sendall(options(f"tcp-{name}"))
            assert peer.recv(65_535).startswith(b"SIP/2.0 200 ")


def test_calls_work_after_all_of_them(target: tuple[ServerProcess, str]) -> None:
    server, _ = target
    a_call_works(server)
    assert "Traceback" not in server.log()
