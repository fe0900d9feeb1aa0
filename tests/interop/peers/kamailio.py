"""Kamailio as a provider of telephony, over ``provider.cfg``."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.interop.peers.processes import free_port, stop

START_S = 10.0
_PING = (
    "OPTIONS sip:127.0.0.1 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKping;rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:t@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\n"
    "Call-ID: ping\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


class KamailioProvider:
    """A context manager; may be stopped and started again at the same port."""

    def __init__(
        self,
        directory: Path,
        *,
        line_port: int,
        domain: str = "voip1.un",
        user: str = "00000X",
        password: str = "spasswordX",
        min_expires_s: int = 0,
    ) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        defines = {
            "PORT": self.port,
            "LINE": line_port,
            "DOMAIN": domain,
            "USER": user,
            "PASSWORD": password,
            "MIN": min_expires_s,
        }
        text = (Path(__file__).parent / "provider.cfg").read_text()
        for name, value in defines.items():
            text = text.replace(f"@{name}@", str(value))
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "kamailio.cfg").write_text(text)

    def __enter__(self) -> KamailioProvider:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it and wait until it answers. Who was registered before is not any more."""
        binary = shutil.which("kamailio") or "/usr/sbin/kamailio"
        config = self.directory / "kamailio.cfg"
        command = [binary, "-f", str(config), "-DD", "-E", "-Y", str(self.directory), "-m", "64"]
        with (self.directory / "kamailio.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            probe.settimeout(0.2)
            ping = _PING.format(port=probe.getsockname()[1]).encode()
            while time.monotonic() < deadline:
                try:
                    probe.sendto(ping, ("127.0.0.1", self.port))
                    if probe.recv(4096).startswith(b"SIP/2.0 200"):
                        return
                except OSError:
                    time.sleep(0.05)
        log_text = (self.directory / "kamailio.log").read_text("utf-8", "replace")
        raise AssertionError(f"Kamailio did not start:\n{log_text[-3000:]}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            stop(process)
