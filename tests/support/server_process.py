"""A server as its user runs it: ``pbx serve`` and the other commands, in processes of their own.

The interop tests know the server only from here: what it prints, what its commands say, and SIP.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

START_S = 30.0
STOP_S = 20.0
COMMAND_S = 30.0
ROOT = Path(__file__).parents[2]
DOMAIN = "test.example"
DEFAULT_LISTENERS = ("127.0.0.1:0/udp", "127.0.0.1:0/tcp")

_LISTENING = re.compile(r"listening (?P<host>\S+):(?P<port>\d+)/(?P<transport>\w+)$")


class ServerError(AssertionError):
    """The server or a command did not do what its user may expect."""


class ServerProcess:
    """``pbx serve`` over a data directory; a context manager that starts and stops it."""

    def __init__(
        self,
        data: Path,
        *,
        listeners: Sequence[str] = DEFAULT_LISTENERS,
        settings: str = "",
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        log_file: Path | None = None,
        commands: bool = False,
    ) -> None:
        """`settings` is the text of a TOML settings file, `options` go to ``pbx serve``;
        `log_file` takes standard error. With `commands` it takes the command protocol."""
        self.data = data
        self.log_file = log_file or data / "server.log"
        self._wanted = list(listeners)
        self._options = tuple(options)
        self._commands = commands
        if commands:
            self._options += ("--cli", "127.0.0.1:0")
        role = {"RINGLOG_CLI__ENABLED": "true" if commands else "false"}
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), **role, **(environment or {})}
        self.lines: list[str] = []
        """What it printed since the last start."""
        self.addresses: dict[str, tuple[str, int]] = {}
        """Bound address by transport."""
        self._inbox: queue.Queue[str | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        data.mkdir(parents=True, exist_ok=True)
        if settings:
            (data / "ringlog.toml").write_text(settings)

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    # ---- life

    def start(self, timeout_s: float = START_S) -> None:
        """Start it and wait for ``ready``; later starts take the same ports again."""
        options = [part for listener in self._wanted for part in ("--sip", listener)]
        if "--admin" not in self._options:  # most tests have no use for it
            options += ["--admin", "off"]
        options += self._options
        self.lines.clear()
        self._inbox = queue.Queue()
        with self.log_file.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pbx", "serve", "--data", str(self.data), *options],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environment,
                cwd=ROOT,
            )
        self._reader = threading.Thread(
            target=self._read, args=(self._process, self._inbox), daemon=True
        )
        self._reader.start()
        self._await_ready(time.monotonic() + timeout_s)
        self._wanted = [
            f"{host}:{port}/{transport}"
            for transport, (host, port) in self.addresses.items()
            if transport != "cli"
        ]

    @staticmethod
    def _read(process: subprocess.Popen[str], inbox: queue.Queue[str | None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            inbox.put(line.rstrip("\n"))
        inbox.put(None)

    def _await_ready(self, deadline: float) -> None:
        while True:
            try:
                line = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ServerError(f"not ready in time; {self._told()}") from None
            if line is None:
                raise ServerError(f"it ended before it was ready; {self._told()}")
            self.lines.append(line)
            if match := _LISTENING.match(line):
                self.addresses[match["transport"]] = (match["host"], int(match["port"]))
            if "ready" in self.lines and ("cli" in self.addresses or not self._commands):
                return

    def await_line(self, start: str, timeout_s: float = START_S) -> str:
        """The first line it prints, or printed, that starts so; what follows `start` in it."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        while True:
            for line in self.lines[seen:]:
                if line.startswith(start):
                    return line.removeprefix(start)
            seen = len(self.lines)
            try:
                following = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                following = None
            if following is None:
                raise ServerError(f"it never printed {start!r}; {self._told()}")
            self.lines.append(following)

    def admin(self, scheme: str = "http") -> str:
        """``HOST:PORT`` of the API; needs the option ``--admin``."""
        while True:
            place, _, found = self.await_line("listening admin ").partition("/")
            if found == scheme:
                return place
            self.lines.remove(f"listening admin {place}/{found}")

    def _told(self) -> str:
        return f"it printed {self.lines} and logged:\n{self.log()[-4000:]}"

    def log(self) -> str:
        """Everything it wrote to standard error."""
        return self.log_file.read_text("utf-8", "replace")

    def stop(self) -> None:
        """SIGTERM; it must end calls and stop by itself, with exit status 0."""
        process = self._process
        if process is None:
            return
        self._process = None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill_tree(process)
            raise ServerError(f"SIGTERM did not stop it; {self._told()}") from None
        finally:
            self._close_output(process)
        if code != 0:
            raise ServerError(f"it stopped with status {code}; {self._told()}")

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait until it ends by itself; its exit status."""
        process = self._process
        assert process is not None
        code = process.wait(timeout_s)
        self._process = None
        self._close_output(process)
        return code

    def kill(self) -> None:
        """kill -9 of all its processes at once: a power failure."""
        process = self._process
        assert process is not None
        self._process = None
        self._kill_tree(process)
        self._close_output(process)

    def end(self) -> None:
        """Have nothing of it run any more, whatever state it is in."""
        if self._process is not None:
            self.kill()

    @staticmethod
    def _kill_tree(process: subprocess.Popen[str]) -> None:
        family = [
            *psutil.Process(process.pid).children(recursive=True),
            psutil.Process(process.pid),
        ]
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                pass
        psutil.wait_procs(family, timeout=5)
        process.wait()

    def _close_output(self, process: subprocess.Popen[str]) -> None:
        assert self._reader is not None
        assert process.stdout is not None
        self._reader.join()
        process.stdout.close()

    @property
    def pid(self) -> int:
        """Of its supervisor."""
        assert self._process is not None
        return self._process.pid

    def roles(self) -> dict[str, psutil.Process]:
        """Its running role processes, by role."""
        found = {}
        for child in psutil.Process(self.pid).children():
            try:
                command = child.cmdline()
                found[command[command.index("role") + 1]] = child
            except (psutil.Error, ValueError):
                continue  # just ended, or not yet what it will be
        return found

    # ---- commands

    def run(self, *arguments: str, timeout_s: float = COMMAND_S) -> str:
        """Run ``pbx ARGUMENTS --data DIR`` and return what it printed; ServerError if it failed."""
        done = subprocess.run(
            [sys.executable, "-m", "pbx", *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=self.environment,
            cwd=ROOT,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(f"pbx {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def listing(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows a listing command prints with ``--json``."""
        rows = json.loads(self.run(*arguments, "--json"))
        if not isinstance(rows, list):
            raise ServerError(f"pbx {' '.join(arguments)} --json printed no list: {rows}")
        return rows

    def events(self, *arguments: str) -> list[dict[str, Any]]:
        """Events of ``pbx log``; it prints one JSON object a line, because it may never end."""
        return [json.loads(line) for line in self.run("log", *arguments, "--json").splitlines()]

    def create_domain(self, domain: str = DOMAIN) -> None:
        self.run("domain", "create", domain)

    def create_account(self, name: str, password: str | None = None) -> None:
        """An account of :data:`DOMAIN`; its password is ``secret-NAME`` unless given."""
        self.run(
            "account", "create", f"{name}@{DOMAIN}", "--password", password or f"secret-{name}"
        )

    def cdrs(self) -> list[dict[str, Any]]:
        return self.listing("cdr", "list")

    def calls(self) -> list[dict[str, Any]]:
        return self.listing("calls")

    def registrations(self) -> list[dict[str, Any]]:
        return self.listing("registrations")

    def await_cdrs(self, count: int, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The CDRs once there are `count` of them."""
        return self._await(self.cdrs, lambda rows: len(rows) >= count, timeout_s)

    def await_calls(self, count: int, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The calls that are up once there are `count` of them; they are in the log then."""
        return self._await(self.calls, lambda rows: len(rows) >= count, timeout_s)

    def await_no_calls(self, timeout_s: float = 10.0) -> None:
        self._await(self.calls, lambda rows: not rows, timeout_s)

    @staticmethod
    def _await(
        look: Callable[[], list[dict[str, Any]]],
        condition: Callable[[list[dict[str, Any]]], bool],
        timeout_s: float,
    ) -> list[dict[str, Any]]:
        deadline = time.monotonic() + timeout_s
        while True:
            rows = look()
            if condition(rows):
                return rows
            if time.monotonic() > deadline:
                raise ServerError(f"after {timeout_s} s it still says {rows}")
            time.sleep(0.1)

    # ---- addresses

    def address(self, transport: str = "udp") -> str:
        """``host:port`` of a listener."""
        host, port = self.addresses[transport]
        return f"{host}:{port}"

    def uri(self, transport: str = "udp") -> str:
        """URI of the server itself, as phones write their proxy."""
        return f"sip:{self.address(transport)};transport={transport};lr"
