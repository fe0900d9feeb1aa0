"""A real rtpengine daemon, in user space, as the media engine of a server."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.interop.peers.processes import free_port, stop, tail, tool

START_S = 10.0
PORTS = (20_200, 20_998)


class Rtpengine:
    """A context manager; `ng` is where it takes the NG protocol."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.ng = f"127.0.0.1:{self.port}"
        self._log = directory / "rtpengine.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    tool("rtpengine"),
                    "--config-file=none",
                    "--table=-1",
                    "--foreground",
                    "--log-stderr",
                    "--interface=127.0.0.1",
                    f"--listen-ng={self.ng}",
                    f"--port-min={PORTS[0]}",
                    f"--port-max={PORTS[1]}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._await_pong()
        except BaseException:
            stop(self._process)
            raise

    def _await_pong(self) -> None:
        deadline = time.monotonic() + START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.2)
            sock.connect(("127.0.0.1", self.port))
            while True:
                try:
                    sock.send(b"1 d7:command4:pinge")
                    assert b"pong" in sock.recv(1000)
                    return
                except (TimeoutError, ConnectionRefusedError):
                    assert time.monotonic() < deadline, tail(self._log)
                    time.sleep(0.05)

    def __enter__(self) -> Rtpengine:
        return self

    def __exit__(self, *exc: object) -> None:
        stop(self._process)
