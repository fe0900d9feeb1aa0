"""linphonec as a phone, steered by the commands a person would type.

It plays a WAV file as its microphone and records what it hears ("soundcard use files").
"""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import psutil

from tests.interop.peers.processes import await_condition, free_media_port, free_port, stop, tool
from tests.support.tones import is_complete, write_tone

CONFIG = """\
[sip]
sip_port={port}
sip_tcp_port=-1
contact=sip:{user}@127.0.0.1
guess_hostname=0
default_proxy=0
register_only_when_network_is_up=0
auto_net_state_mon=0
use_ipv6=0
bind_address=127.0.0.1

[rtp]
bind_address=127.0.0.1
audio_rtp_port={media}
download_ptime=20

[net]
download_bw=0

[sound]
echocancellation=0
"""
ACCOUNT = """
[proxy_0]
reg_proxy=<{proxy}>
reg_route=<{proxy}>
reg_identity=sip:{user}@{domain}
reg_expires=300
reg_sendregister=1
publish=0

[auth_info_0]
username={user}
passwd={password}
realm={domain}
"""
WAIT_S = 15.0
MICROPHONE_S = 60


class Linphone:
    """A context manager; `answers` makes it pick up by itself."""

    def __init__(
        self,
        directory: Path,
        user: str,
        frequency_hz: float,
        *,
        domain: str = "test.example",
        password: str = "",
        proxy: str = "",
        answers: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.local = f"127.0.0.1:{self.port}"
        # Without this directory it has no database, and without a database it never gets ready.
        (directory / ".local/share/linphone").mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(port=self.port, user=user, media=free_media_port())
        if proxy:
            config += ACCOUNT.format(proxy=proxy, user=user, domain=domain, password=password)
        (directory / "linphonerc").write_text(config)
        microphone = directory / "microphone.wav"
        write_tone(microphone, frequency_hz, seconds=MICROPHONE_S)
        self._recording = directory / "heard.wav"
        self.output = ""
        self._changed = threading.Condition()
        command = [tool("linphonec"), "-c", str(directory / "linphonerc")]
        if answers:
            command.append("-a")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"HOME": str(directory), "PATH": "/usr/bin:/bin"},
            cwd=directory,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.wait("linphonec>")
            await_condition(self._listens, "linphonec's SIP port")
        except BaseException:
            self.__exit__()
            raise
        self.command("soundcard use files")
        self.command(f"play {microphone}")
        self.command(f"record {self._recording}")

    def __enter__(self) -> Linphone:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self.command("quit")
            self._process.wait(WAIT_S)
        except (OSError, subprocess.TimeoutExpired):
            pass
        stop(self._process)
        self._reader.join()

    def _listens(self) -> bool:
        """It prompts before it has its ports, and refuses to call until then."""
        connections = psutil.Process(self._process.pid).net_connections("udp")
        return any(connection.laddr.port == self.port for connection in connections)

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := self._process.stdout.read1(65_536):  # type: ignore[attr-defined]
            with self._changed:
                self.output += chunk.decode("utf-8", "replace")
                self._changed.notify_all()

    def command(self, line: str) -> None:
        """Type one line (`call`, `answer`, `terminate`, `pause` …)."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def wait(self, words: str) -> None:
        """Until it printed these words."""
        deadline = time.monotonic() + WAIT_S
        with self._changed:
            while words not in self.output:
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"linphonec: no {words!r} in {self.output}"
                self._changed.wait(left_s)

    def recording(self) -> Path:
        """What it heard in its last call; complete when the call is over."""
        await_condition(lambda: is_complete(self._recording), "linphone's recording")
        return self._recording

    def registered(self) -> None:
        """Wait for its registration; it tells only when asked."""

        def known() -> bool:
            self.command("status register")
            return "registered, identity=" in self.output

        await_condition(known, "linphone's registration")
