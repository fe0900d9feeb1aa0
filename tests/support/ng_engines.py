"""Real media engines on loopback for the contract tests: our service and rtpengine's daemon.

Both run as processes of their own; ours picks its port, the daemon is told one that was free.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from media.ng.client import FAIL_AFTER_S, NgClient, NgReply
from media.ng.messages import Encoding, Message, ping

ROOT: Final = Path(__file__).parent.parent.parent
LOOPBACK: Final = "127.0.0.1"
#: Far more than a loaded machine needs; a test that waits so long has failed.
PATIENCE_S: Final = 20.0

_OURS: Final = """
import json, sys
from media.server import Interface, ServiceConfig
from media.server.run import MediaConfig, run

low, high = json.loads(sys.argv[1])
service = ServiceConfig((Interface("loopback", "127.0.0.1"),), port_min=low, port_max=high)
sys.exit(
    run(
        MediaConfig(
            service,
            udp=(("127.0.0.1", 0),),
            on_listening=lambda place: print(place, flush=True),
        )
    )
)
"""


class Engine:
    """One engine and a client of it."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.address = (LOOPBACK, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, message: Message, encoding: Encoding = Encoding.JSON) -> NgReply:
        """A request through the product's client."""
        client = NgClient(secrets.token_hex(4), encoding=encoding)
        replies: list[NgReply] = []
        self._socket.sendto(client.request(message, 0.0, replies.append), self.address)
        waited_s = 0.0
        while not replies:
            try:
                client.receive(self._socket.recv(65_535))
            except (TimeoutError, ConnectionRefusedError):
                waited_s += 0.1
                for datagram in client.handle_timers(waited_s):
                    self._socket.sendto(datagram, self.address)
        return replies[0]

    def wait_answering(self, process: subprocess.Popen[bytes]) -> None:
        """Ping until the process answers, or fail with it."""
        for _ in range(int(PATIENCE_S / FAIL_AFTER_S)):
            if self.ask(ping()).ok:
                return
            assert process.poll() is None, f"{self.name} did not start"
        raise AssertionError(f"{self.name} does not answer")

    def raw(self, datagram: bytes) -> bytes:
        """A datagram as it is, and the reply to it."""
        self._socket.sendto(datagram, self.address)
        for _ in range(int(PATIENCE_S * 10)):
            with contextlib.suppress(TimeoutError):
                return self._socket.recv(65_535)
        raise AssertionError(f"{self.name} does not answer")


def free_port() -> int:
    """A UDP port that nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(name: str) -> Iterator[Engine]:
    """``ours`` or ``rtpengine``, answering; stopped afterwards."""
    process, port = _start_ours() if name == "ours" else _start_rtpengine()
    engine = Engine(name, port)
    try:
        engine.wait_answering(process)
        yield engine
    finally:
        engine.close()
        process.terminate()
        process.wait(PATIENCE_S)


# Media ports: away from each other and from the ephemeral ports of the tests' own sockets.


def _start_ours() -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(
        [sys.executable, "-c", _OURS, json.dumps([21_000, 21_999])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as stdout:  # it says where it listens, then nothing more
        place = stdout.readline().decode().strip()
    assert place.endswith("/udp"), "the media service did not start, see its error above"
    return process, int(place.removesuffix("/udp").rpartition(":")[2])


def _start_rtpengine() -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    process = subprocess.Popen(
        [
            "rtpengine",
            "--table=-1",
            f"--interface={LOOPBACK}",
            f"--listen-ng={LOOPBACK}:{port}",
            # The package's configuration opens more listeners, on fixed ports.
            "--config-file=none",
            "--port-min=22000",
            "--port-max=22999",
            "--foreground",
            "--log-stderr",
            "--log-level=1",
        ]
    )
    return process, port


class Phone:
    """Two sockets of a telephone: RTP, and RTCP on the next port."""

    def __init__(self) -> None:
        while True:
            self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtp.bind((LOOPBACK, 0))
            self.port: int = self.rtp.getsockname()[1]
            self.rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.rtcp.bind((LOOPBACK, self.port + 1))
                break
            except (OSError, OverflowError):
                self.close()
        for sock in (self.rtp, self.rtcp):
            sock.settimeout(PATIENCE_S)

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()
