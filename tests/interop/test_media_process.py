"""The media process as it runs: Unix socket, events, floods, restarted clients, clean stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from media.ng.messages import Message, answer, decode, encode, hello, offer, ping
from tests.support.media_lab import sdp

ROOT: Final = Path(__file__).parent.parent.parent
PATIENCE_S: Final = 20.0

_PROCESS: Final = """
import sys
from pathlib import Path
from media.server import Interface, ServiceConfig
from media.server.run import MediaConfig, run

service = ServiceConfig(
    (Interface("loopback", "127.0.0.1"),), port_min=23_000, port_max=23_999, media_timeout_s=0.2
)
sys.exit(
    run(
        MediaConfig(
            service,
            unix_path=Path(sys.argv[1]),
            udp=(("127.0.0.1", 0),),
            on_listening=lambda place: print(place, flush=True),
            on_ready=lambda: print("ready", flush=True),
        )
    )
)
"""


class MediaProcess:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "ng.sock"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(self.path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            lines = [stdout.readline().strip() for _ in range(3)]
        assert lines[0] == f"{self.path}/unix"
        assert lines[2] == "ready"
        host, _, port = lines[1].removesuffix("/udp").rpartition(":")
        self.udp = (host, int(port))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


class Client:
    """A signalling process, as far as the media process sees one."""

    def __init__(self, media: MediaProcess, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.bind(str(path))
        self.media = media
        self.serial = 0

    def ask(self, message: Message) -> Message:
        self.serial += 1
        cookie = f"{self.path.name}-{self.serial}"
        self.socket.sendto(encode(cookie, message), str(self.media.path))
        while True:
            reply = self.receive()
            if reply[0] == cookie:
                return reply[1]

    def receive(self) -> tuple[str, Message]:
        cookie, data, _ = decode(self.socket.recv(65_535))
        return cookie, data

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaProcess]:
    process = MediaProcess(tmp_path)
    yield process
    if process.process.poll() is None:
        assert process.stop() == 0


@pytest.fixture
def client(media: MediaProcess, tmp_path: Path) -> Iterator[Client]:
    opened = Client(media, tmp_path / "client.sock")
    yield opened
    opened.close()


def test_only_our_user_reaches_the_socket_and_it_is_gone_after_the_stop(
    media: MediaProcess,
) -> None:
    assert media.path.stat().st_mode & 0o077 == 0
    assert media.stop() == 0
    assert not media.path.exists()


def test_a_process_takes_the_place_of_one_that_was_killed(
    media: MediaProcess, tmp_path: Path
) -> None:
    media.process.kill()
    media.process.wait(PATIENCE_S)
    assert media.path.exists()
    again = MediaProcess(tmp_path)
    client = Client(again, tmp_path / "c.sock")
    assert client.ask(ping()) == {"result": "pong"}
    client.close()
    assert again.stop() == 0


def test_a_call_without_media_is_told_to_its_node(client: Client) -> None:
    assert client.ask(hello("n1", "1"))["result"] == "ok"
    loopback = "127.0.0.1"
    client.ask(offer("c1", "a", sdp(40_000, loopback), received_from=loopback))
    client.ask(answer("c1", "a", "b", sdp(40_002, loopback), received_from=loopback))
    _, event = client.receive()
    assert (event["command"], event["event"], event["call-id"]) == ("event", "media-timeout", "c1")
    assert set(event["tags"]) == {"a", "b"}
    assert client.ask({"command": "list"})["calls"] == []


def test_a_restarted_client_finds_its_orphans_deleted(
    media: MediaProcess, client: Client, tmp_path: Path
) -> None:
    client.ask(hello("n1", "1"))
    client.ask(offer("c1", "a", sdp(40_000, "127.0.0.1")))
    restarted = Client(media, tmp_path / "restarted.sock")
    assert restarted.ask(hello("n1", "2"))["deleted"] == 1
    assert restarted.ask({"command": "list"})["calls"] == []
    restarted.close()


def test_a_flood_of_garbage_is_survived(media: MediaProcess, client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flooder:
        for number in range(20_000):
            flooder.sendto(b"%d {garbage" % number, media.udp)
            if number % 1000 == 0:
                assert client.ask(ping()) == {"result": "pong"}
        # Nobody reads the replies: they are the flooder's loss.
        assert client.ask(ping()) == {"result": "pong"}


def test_a_client_that_vanishes_before_its_reply_harms_nobody(
    media: MediaProcess, client: Client, tmp_path: Path
) -> None:
    gone = Client(media, tmp_path / "gone.sock")
    gone.ask(hello("n2", "1"))
    gone.ask(offer("c2", "a", sdp(40_000, "127.0.0.1")))
    gone.ask(answer("c2", "a", "b", sdp(40_002, "127.0.0.1")))
    gone.close()
    anonymous = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    anonymous.sendto(encode("x", ping()), str(media.path))
    anonymous.close()
    # The event of its call finds nobody; the process goes on.
    while client.ask({"command": "list"})["calls"]:
        pass
    assert client.ask(ping()) == {"result": "pong"}


def test_udp_clients_are_served_too(media: MediaProcess) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.settimeout(PATIENCE_S)
        foreign.sendto(b"5323_1 d7:command4:pinge", media.udp)
        assert foreign.recv(65_535) == b"5323_1 d6:result4:ponge"
        foreign.sendto(b"5323_2 " + json.dumps({"command": "statistics"}).encode(), media.udp)
        assert b'"sessionstotal":0' in foreign.recv(65_535)
