"""The composition root: makes a server of a data directory, settings and role processes.

``pbx serve`` calls :func:`serve`. This process does no telephony: it owns the data directory,
starts the roles (``pbx.roles``), carries out what ``pbx.supervisor`` decides and prints what
scripts wait for: ``listening HOST:PORT/transport`` lines, then ``ready``. One thread, one
selector; signals come in through a wake-up pipe.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from pbx.datadir import DataDirectory, DataDirectoryError
from pbx.eventlog import use_keys
from pbx.roles import Role, RoleContext
from pbx.settings import (
    Listener,
    Settings,
    kafka_servers,
    parse_cli_listener,
    parse_listener,
)
from pbx.settings_source import settings_to_raw
from pbx.supervisor import (
    Action,
    Finish,
    Kill,
    RolePlan,
    Say,
    Spawn,
    Supervisor,
    Tell,
)

log = logging.getLogger("pbx.supervisor")

MAX_REPORT_BYTES: Final = 65_536
"""A role that writes more without a line end is broken; what it wrote is dropped."""

STANDARD_ERROR: Final = 2

Command = Callable[[str, int], Sequence[str]]
"""Gives the argument vector of a role's process: (role, report descriptor)."""


def _signal(context: RoleContext) -> int:
    from pbx.signal.run import run

    return run(context)


def _media(context: RoleContext) -> int:
    from pbx.media_role import run

    return run(context)


def _project(context: RoleContext) -> int:
    from pbx.project_role import run

    return run(context)


def _log(context: RoleContext) -> int:
    from pbx.log_role import run

    return run(context)


def _admin(context: RoleContext) -> int:
    from pbx.admin.role import run

    return run(context)


def _web(context: RoleContext) -> int:
    from pbx.rest.role import run

    return run(context)


ROLES: Final[dict[str, Role]] = {
    "signal": _signal,
    "media": _media,
    "project": _project,
    "log": _log,
    "admin": _admin,
    "web": _web,
}
"""Imported when they start: the media process never loads SQLAlchemy, the projections no SIP, none
but the log role kafka-python and none but the web role its framework."""


def plans_for(settings: Settings) -> list[RolePlan]:
    """The roles a server with these settings has."""
    local_media = settings.media.engine == "local"
    clustered = bool(kafka_servers(settings.eventlog.engine))
    log_first = ("log",) if clustered else ()
    plans = [
        # Calls are ended by signal with the help of media, and its last events are projected.
        RolePlan(
            "signal",
            needs=(*(("media",) if local_media else ()), *log_first),
            stop_phase=0,
            answers=True,
            reloads=True,
        ),
        RolePlan("project", needs=log_first, stop_phase=1),
    ]
    if clustered:
        # It makes the file one of a cluster before others open it, and ships what they leave.
        plans.insert(0, RolePlan("log", stop_phase=2))
    if settings.web.admin_listen != "off" or settings.web.admin_tls_listen != "off":
        # Started when calls are answered, so that it delays none, and it ends none by failing.
        plans.append(RolePlan("web", needs=("signal",), stop_phase=1, reloads=True, vital=False))
    if local_media:
        plans.insert(0, RolePlan("media", stop_phase=1))
    if settings.cli.enabled:
        plans.append(RolePlan("admin", stop_phase=0, vital=False))
    return plans


def serve(data: DataDirectory, settings: Settings) -> int:
    """Run a server until it is told to stop; returns the exit status.

    Raises :class:`~pbx.datadir.DataDirectoryError` if the directory cannot be used or is owned
    by another server.
    """
    data.prepare()
    if settings.privacy.keys:
        use_keys(data.path, settings.privacy.keys)
    with data.owned():
        check_engine(data, settings)
        return Processes(data, settings, plans_for(settings)).run()


def check_engine(data: DataDirectory, settings: Settings) -> None:
    """A log that is part of a cluster must not go on alone: its nodes would disagree."""
    from pbx.eventlog import LOG_FILE  # here, since this process has no other use for them
    from pbx.eventlog.embedded_file import CLUSTER_FORMAT, format_of

    servers = kafka_servers(settings.eventlog.engine)
    if not servers and format_of(data.path / LOG_FILE) == CLUSTER_FORMAT:
        raise DataDirectoryError(
            f"the log in {data.path} is part of a cluster: name its brokers"
            ' (eventlog.engine = "kafka:HOST:PORT"), or begin with another --data DIR'
        )
    if servers and importlib.util.find_spec("kafka") is None:
        raise DataDirectoryError(
            "the log on Kafka needs kafka-python: pip install 'ringlog[kafka]'"
        )


def role_command(data: DataDirectory) -> Command:
    """How the real roles are started: this very Python, without the current folder in its path."""

    def command(role: str, descriptor: int) -> Sequence[str]:
        return [
            sys.executable, "-P", "-m", "pbx", "role", role,
            "--data", str(data.path),
            "--report-to", str(descriptor),
            "--supervisor", str(os.getpid()),
        ]  # fmt: skip

    return command


class Processes:
    """The shell around :class:`~pbx.supervisor.Supervisor`: processes, pipes, signals, time."""

    def __init__(
        self,
        data: DataDirectory,
        settings: Settings,
        plans: Sequence[RolePlan],
        command: Command | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._data = data
        self._settings = settings
        self._supervisor = Supervisor(plans, stop_s=settings.server.stop_s)
        self._command = command or role_command(data)
        self._say = say or (lambda line: print(line, flush=True))
        self._stops = {signal.SIGTERM, signal.SIGINT}
        if sys.stdin is not None and sys.stdin.isatty():
            self._stops.add(signal.SIGHUP)
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._reports: dict[str, tuple[int, bytearray]] = {}

    def run(self) -> int:
        """Start the roles; return when all of them are gone."""
        self._write_settings()
        with contextlib.closing(self._selector), self._signals() as wake:
            self._selector.register(wake, selectors.EVENT_READ, None)
            self._supervisor.start(time.monotonic())
            while True:
                code = self._carry_out(self._supervisor.actions())
                if code is not None:
                    return code
                self._wait(wake)

    # Inputs.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Signals become bytes in a socket.

        SIGTERM and SIGINT stop, SIGCHLD reaps. SIGHUP reloads, as daemons do; under a terminal it
        means that the terminal is gone, and stops.
        """
        receiving, sending = socket.socketpair()
        receiving.setblocking(False)
        sending.setblocking(False)
        watched = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = [signal.signal(number, lambda *_: None) for number in watched]
        wakeup_before = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        try:
            yield receiving
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in zip(watched, before, strict=True):
                signal.signal(number, handler)
            receiving.close()
            sending.close()

    def _wait(self, wake: socket.socket) -> None:
        """Sleep until something happens and tell the supervisor."""
        due = self._supervisor.next_timer()
        timeout = None if due is None else max(0.0, due - time.monotonic())
        ready = self._selector.select(timeout)
        now = time.monotonic()
        for selected, _ in ready:
            if selected.data is not None:
                self._read_reports(selected.data, now)
        with contextlib.suppress(BlockingIOError):
            numbers = set(wake.recv(4096))
            if numbers & self._stops:
                self._supervisor.stop(now)
            elif signal.SIGHUP in numbers:
                self._supervisor.reload()
        self._reap(now)
        self._supervisor.handle_timers(now)

    def _read_reports(self, role: str, now: float) -> None:
        descriptor, buffer = self._reports[role]
        try:
            chunk = os.read(descriptor, 65_536)
        except BlockingIOError:
            return
        if not chunk:
            self._close_reports(role)
            return
        buffer += chunk
        *lines, rest = buffer.split(b"\n")
        buffer[:] = rest if len(rest) <= MAX_REPORT_BYTES else b""
        for line in lines:
            report = _decoded(line)
            if report is None:
                log.warning("%s sent a report that is none: %r", role, bytes(line[:200]))
                continue
            self._supervisor.reported(role, report, now)
            if report.get("ready"):
                self._keep_ports(role)

    def _reap(self, now: float) -> None:
        for role, child in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            if role in self._reports:
                self._read_reports(role, now)  # what it said last may be why it ended
            self._close_reports(role)
            del self._children[role]
            self._supervisor.exited(role, code, now)

    # Outputs.

    def _carry_out(self, actions: Sequence[Action]) -> int | None:
        for action in actions:
            match action:
                case Spawn(role):
                    self._spawn(role)
                case Kill(role, number):
                    if role in self._children:
                        self._children[role].send_signal(number)
                case Say(line):
                    self._say(line)
                case Tell(line):
                    log.warning("%s", line)
                case Finish(code):
                    return code
        return None

    def _spawn(self, role: str) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            # A session of its own: Ctrl-C at the terminal reaches the supervisor alone, which
            # then stops the roles in their order. Standard output is for our lines only.
            self._children[role] = subprocess.Popen(
                self._command(role, writing),
                stdin=subprocess.DEVNULL,
                stdout=STANDARD_ERROR,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(writing)
        self._reports[role] = (reading, bytearray())
        self._selector.register(reading, selectors.EVENT_READ, role)

    def _close_reports(self, role: str) -> None:
        descriptor, _ = self._reports.pop(role, (-1, b""))
        if descriptor >= 0:
            self._selector.unregister(descriptor)
            os.close(descriptor)

    def _keep_ports(self, role: str) -> None:
        """A restarted role must open the ports the system chose for the first one: phones and
        scripts know them by now."""
        settings = self._settings
        places = self._supervisor.listening(role)
        if role == "signal" and _has_chosen(settings.sip.listen, places):
            sip = tuple(parse_listener(place) for place in places)
            self._settings = replace(settings, sip=replace(settings.sip, listen=sip))
        elif role == "admin" and _has_chosen(settings.cli.listen, places):
            cli = tuple(parse_cli_listener(place) for place in places)
            self._settings = replace(settings, cli=replace(settings.cli, listen=cli))
        elif role == "web":
            self._keep_web_ports(places)
            return
        else:
            return
        self._write_settings()

    def _keep_web_ports(self, places: Sequence[str]) -> None:
        """The same for the API; a place is ``admin HOST:PORT/http`` or ``…/https``."""
        web = self._settings.web
        for place in places:
            address, _, scheme = place.removeprefix("admin ").partition("/")
            if scheme == "https":
                web = replace(web, admin_tls_listen=address)
            else:
                web = replace(web, admin_listen=address)
        if web != self._settings.web:
            self._settings = replace(self._settings, web=web)
            self._write_settings()

    def _write_settings(self) -> None:
        """Leave the settings where the roles read them; whole or not at all."""
        file = self._data.settings
        draft = file.with_suffix(".new")
        draft.write_text(json.dumps(settings_to_raw(self._settings), indent=1), encoding="utf-8")
        draft.replace(file)


def _has_chosen(wanted: Sequence[Listener], places: Sequence[str]) -> bool:
    """Whether the system chose some of the ports."""
    return len(places) == len(wanted) and not all(listener.port for listener in wanted)


def _decoded(line: bytes | bytearray) -> dict[str, Any] | None:
    try:
        report = json.loads(line)
    except ValueError:
        return None
    return report if isinstance(report, dict) else None
