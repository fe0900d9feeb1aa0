"""baresip as a phone, steered over its control connection (module ctrl_tcp, netstrings of JSON).

It plays a WAV file as its microphone; what it hears is written by its sndfile module.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.interop.peers.processes import (
    await_condition,
    free_media_port,
    free_port,
    stop,
    tail,
    tool,
)
from tests.support.tones import is_complete, write_tone

CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{port}
net_interface 127.0.0.1
rtp_ports {media}-{media_end}
audio_player aubridge,sink
audio_source aufile,{directory}/microphone.wav
audio_alert aubridge,alert
call_local_timeout 60
call_max_calls 4
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
snd_path {directory}
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""
WAIT_S = 10.0
MICROPHONE_S = 60


class Baresip:
    """A context manager; `answers` makes it pick up by itself."""

    def __init__(
        self,
        directory: Path,
        user: str,
        frequency_hz: float,
        *,
        domain: str = "test.example",
        password: str = "",
        outbound: str = "",
        answers: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.port = free_port()
        self.local = f"127.0.0.1:{self.port}"
        control = free_port()
        media = free_media_port()
        (directory / "config").write_text(
            CONFIG.format(
                port=self.port,
                media=media,
                media_end=media + 3,
                directory=directory,
                control=control,
            )
        )
        account = f"<sip:{user}@{domain}>;audio_codecs=PCMU"
        account += f";answermode={'auto' if answers else 'manual'}"
        if outbound:
            account += f';auth_user={user};auth_pass={password};outbound="{outbound}";regint=300'
        else:
            account += ";regint=0"
        (directory / "accounts").write_text(account + "\n")
        write_tone(directory / "microphone.wav", frequency_hz, seconds=MICROPHONE_S)
        self.events: list[dict[str, Any]] = []
        self._buffer = b""
        self._log = directory / "baresip.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [tool("baresip"), "-f", str(directory), "-4"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self._connection = self._connect(control)
        except BaseException:
            stop(self._process)
            raise

    def _connect(self, control: int) -> socket.socket:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return socket.create_connection(("127.0.0.1", control), timeout=1.0)
            except ConnectionRefusedError:
                assert self._process.poll() is None, tail(self._log)
                assert time.monotonic() < deadline, tail(self._log)
                time.sleep(0.05)

    def __enter__(self) -> Baresip:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()
        stop(self._process)

    def command(self, command: str, params: str = "") -> None:
        """Run one of baresip's commands (`dial`, `accept`, `hangup`, `hold`, `resume` …)."""
        message = json.dumps({"command": command, "params": params}).encode()
        self._connection.sendall(b"%d:%s," % (len(message), message))

    def wait(self, kind: str) -> dict[str, Any]:
        """The first event of this type (`CALL_ESTABLISHED`, `CALL_CLOSED` …)."""
        deadline = time.monotonic() + WAIT_S
        while True:
            for event in self.events:
                if event.get("type") == kind:
                    return event
            self._connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                self._buffer += self._connection.recv(65_536)
            except TimeoutError:
                raise AssertionError(
                    f"baresip: no {kind}; it told {self.events} and {tail(self._log)}"
                ) from None
            self._split()

    def _split(self) -> None:
        while (colon := self._buffer.find(b":")) > 0:
            end = colon + 1 + int(self._buffer[:colon])
            if len(self._buffer) <= end:
                return
            message = json.loads(self._buffer[colon + 1 : end])
            self._buffer = self._buffer[end + 1 :]
            if message.get("event"):
                self.events.append(message)

    def registered(self) -> None:
        """Wait for its registration, which may be over before anybody can hear the event."""
        await_condition(lambda: " binding]" in tail(self._log), "baresip's registration")

    def recording(self) -> Path:
        """What it heard in its last call; complete when the call is over."""

        found: list[Path] = []

        def complete() -> bool:
            found[:] = sorted(self._directory.glob("dump-*-dec.wav"))
            return bool(found) and is_complete(found[-1])

        await_condition(complete, "baresip's recording")
        return found[-1]
