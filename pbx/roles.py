"""What a role of the server is, and how a process becomes one.

The roles themselves are named in ``pbx.app``. A role is a function that takes a
:class:`RoleContext`, does its work until the process gets SIGTERM, and returns its exit status.
It runs in a process of its own, started by the supervisor as ``pbx role NAME`` with the write end
of a pipe: through it the role says, one JSON object a line, where it is ``{"listening":
"127.0.0.1:5060/udp"}`` (once per listener, in the order of the settings), that it answers
``{"ready": true}``, or why it never will ``{"fatal": "…"}`` (:class:`Fatal` does that).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pbx.datadir import DataDirectory
from pbx.kernel.errors import PbxError
from pbx.settings import LogSettings, Settings
from pbx.settings_source import load_settings

_PR_SET_PDEATHSIG: Final = 1
EXIT_FATAL: Final = 3


class Fatal(PbxError):
    """The role cannot start and will not by trying again: a port that is taken, a wrong file."""


@dataclass(frozen=True, slots=True)
class RoleContext:
    """What a role gets from the server."""

    data: DataDirectory
    settings: Settings
    report_descriptor: int = -1
    """Where reports go; -1 when nobody listens (a role run by hand)."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def listening(self, place: object) -> None:
        """Say that a listener is open (``HOST:PORT/transport`` with the port it really has)."""
        self._report({"listening": str(place)})

    def ready(self) -> None:
        """Say that the role answers."""
        self._report({"ready": True})

    def fatal(self, reason: str) -> None:
        """Say why the role gives up."""
        self._report({"fatal": reason})

    def _report(self, report: Mapping[str, Any]) -> None:
        if self.report_descriptor < 0:
            return
        line = json.dumps(report).encode() + b"\n"
        with contextlib.suppress(OSError):  # the supervisor is gone, and we soon are
            os.write(self.report_descriptor, line)


Role = Callable[[RoleContext], int]


def run_role(
    name: str,
    data: Path,
    report_descriptor: int,
    supervisor: int,
    roles: Mapping[str, Role],
) -> int:
    """Be role `name` of `roles` in this process; returns its exit status."""
    _die_with(supervisor)
    directory = DataDirectory(data)
    settings = load_settings(overrides=json.loads(directory.settings.read_bytes()))
    set_up_logging(settings.log, name)
    context = RoleContext(directory, settings, report_descriptor, os.environ)
    try:
        return roles[name](context)
    except Fatal as error:
        context.fatal(str(error))
        return EXIT_FATAL
    except Exception:
        logging.getLogger(f"pbx.{name}").exception("the role failed")
        return 1


@contextlib.contextmanager
def asked_to_stop() -> Iterator[int]:
    """A descriptor that becomes readable when the role is told to end.

    (A handler that set an event could interrupt this very thread within the event's own lock.)
    """
    asked, asks = os.pipe()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os.write(asks, b"."))
        yield asked
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # we are ending
        os.close(asked)
        os.close(asks)


def _die_with(supervisor: int) -> None:
    """Have the kernel end this process when the supervisor dies, even by ``kill -9``.

    A server started again must find its ports free, and two servers must never write as one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != supervisor:  # it died before we could ask
        os._exit(EXIT_FATAL)


class _JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up_logging(settings: LogSettings, role: str) -> None:
    """Operator's log on standard error, one line a record, `role` in each."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(
            logging.Formatter(f"%(asctime)s {role:<8} %(levelname)-7s %(name)s: %(message)s")
        )
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel("WARNING")  # its plug-ins are nobody's news
    logging.getLogger("sip.trace").setLevel("DEBUG" if settings.sip_trace else "WARNING")
