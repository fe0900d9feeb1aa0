"""SIPp with our scenario files (``tests/interop/sipp``).

A :class:`Sipp` is one run of one scenario; its messages and errors are kept beside it, and a
failure shows both. Ports are chosen here because SIPp takes what it is told.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from tests.interop.peers.processes import free_media_port, free_port, stop, tail, tool

SCENARIOS = Path(__file__).parents[1] / "sipp"
TRANSPORTS = {"udp": "u1", "tcp": "t1"}


class Sipp:
    """One SIPp process; a context manager. `wait()` demands that every call succeeded."""

    def __init__(
        self,
        directory: Path,
        scenario: str,
        remote: str = "",
        *,
        keys: dict[str, str] | None = None,
        service: str = "bob",
        credentials: tuple[str, str] | None = None,
        calls: int = 1,
        rate: int = 10,
        limit: int = 0,
        hold_ms: int = 200,
        transport: str = "udp",
        port: int | None = None,
        echo: bool = False,
        timeout_s: int = 30,
        trace: bool = True,
    ) -> None:
        """Without `trace` it keeps no messages, which would fill the disk in a long run."""
        self.port = port if port is not None else free_port()
        self.local = f"127.0.0.1:{self.port}"
        self.scenario = scenario
        self._calls = calls
        self._timeout_s = timeout_s
        directory.mkdir(parents=True, exist_ok=True)
        stem = directory / f"{scenario}-{self.port}"
        self._messages = stem.with_suffix(".messages")
        self._errors = stem.with_suffix(".errors")
        self._statistics = stem.with_suffix(".csv")
        values = {"domain": "test.example", "caller": "alice", "expires": "300", **(keys or {})}
        command = [tool("sipp"), "-sf", str(SCENARIOS / f"{scenario}.xml")]
        command += ["-i", "127.0.0.1", "-p", str(self.port), "-mp", str(free_media_port())]
        command += ["-t", TRANSPORTS[transport], "-m", str(calls), "-r", str(rate)]
        command += ["-d", str(hold_ms), "-s", service, "-nostdin", "-timeout", f"{timeout_s}s"]
        command += ["-timeout_error", "-recv_timeout", str(timeout_s * 1000)]
        if trace:
            command += ["-trace_msg", "-message_file", str(self._messages)]
            command += ["-trace_err", "-error_file", str(self._errors)]
        command += ["-trace_stat", "-stf", str(self._statistics)]
        if limit:
            command += ["-l", str(limit)]
        if echo:
            command.append("-rtp_echo")
        if credentials is not None:
            command += ["-au", credentials[0], "-ap", credentials[1]]
            # Left alone, it would sign for its remote address instead of the Request-URI.
            place = values["domain"] if scenario == "register" else f"{service}@{values['domain']}"
            command += ["-auth_uri", place]
        for key, value in values.items():
            command += ["-key", key, value]
        if remote:
            command.append(remote)
        self._screen = stem.with_suffix(".screen")
        self._output = self._screen.open("wb")
        self._process = subprocess.Popen(
            command, stdout=self._output, stderr=subprocess.STDOUT, cwd=directory
        )

    def __enter__(self) -> Sipp:
        return self

    def __exit__(self, *exc: object) -> None:
        stop(self._process)
        self._output.close()

    def wait(self) -> None:
        """Until all calls are done; AssertionError with SIPp's own words unless all succeeded."""
        code = self._process.wait(self._timeout_s + 10)
        assert code == 0, self.story()

    def kill(self) -> None:
        """End it at once, leaving its calls as they are."""
        self._process.kill()
        self._process.wait()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def story(self) -> str:
        """What happened, for the message of a failed test."""
        return (
            f"SIPp {self.scenario} ended with {self._process.poll()}\n"
            f"{tail(self._screen, 500)}\n{tail(self._errors)}\n{tail(self._messages, 12_000)}"
        )

    def messages(self) -> str:
        """Every message it sent and received."""
        return tail(self._messages, 10_000_000)

    def succeeded(self) -> int:
        """Calls that ended as the scenario says, from the statistics file."""
        with self._statistics.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return int(rows[-1]["SuccessfulCall(C)"])


def register(
    directory: Path,
    remote: str,
    user: str,
    contact_port: int,
    *,
    password: str = "",
    expires_s: int = 300,
    transport: str = "udp",
) -> None:
    """Register ``user@test.example`` at 127.0.0.1:`contact_port`, where another SIPp answers."""
    with Sipp(
        directory,
        "register",
        remote,
        keys={
            "caller": user,
            "expires": str(expires_s),
            "contact": f"127.0.0.1:{contact_port};transport={transport}",
        },
        credentials=(user, password or f"secret-{user}"),
        transport=transport,
    ) as sipp:
        sipp.wait()
