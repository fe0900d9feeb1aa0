"""Commands about nothing and about everything (CLI reference §5.19)."""

from __future__ import annotations

import logging
import platform
from datetime import UTC, datetime

from pbx.admin.dispatch import Context, Result, number, text
from pbx.admin.syntax import Arguments
from pbx.data import Value
from pbx.kernel.errors import DomainError

log = logging.getLogger("pbx.admin.SYSTEM")

_LEVELS = (logging.CRITICAL, logging.ERROR, logging.ERROR, logging.WARNING, logging.INFO,
           logging.INFO)  # fmt: skip
"""Of our log, for the levels 0 Crashes Only, 1 Failures, 2 Major, 3 Problems, 4, 5 All Info."""
_MAX_RECORD = 4096


def noop(c: Context, a: Arguments) -> None:
    """NOOP."""


def echo(c: Context, a: Arguments) -> Result:
    """ECHO."""
    return Result(a["object"])


def list_commands(c: Context, a: Arguments) -> Result:
    """LISTCLICOMMANDS: those that this server carries out."""
    from pbx.admin.table import COMMANDS, UNDOCUMENTED

    names: list[Value] = [name for name in sorted(COMMANDS) if name not in UNDOCUMENTED]
    return Result(names)


def get_version(c: Context, a: Arguments) -> Result:
    """GETVERSION."""
    return Result(c.service.config.version)


def get_current_time(c: Context, a: Arguments) -> Result:
    """GETCURRENTTIME."""
    return Result(_moment(c.service.clock.wall_ns()))


def get_system_info(c: Context, a: Arguments) -> Result:
    """GETSYSTEMINFO."""
    match text(a, "what"):
        case "serverVersion":
            return Result(c.service.config.version)
        case "serverOS":
            return Result(platform.system())
        case "serverCPU":
            return Result(platform.machine())
        case "mainDomainName" | "licenseDomainName":
            return Result(c.world.main_domain)
        case "startTime":
            return Result(_moment(c.service.started_ns))
        case "serverInstance":
            return Result(c.service.log.node)
        case other:
            raise DomainError(
                f"{other}: expected serverVersion, serverOS, serverCPU, mainDomainName, "
                "licenseDomainName, startTime or serverInstance"
            )


def write_log(c: Context, a: Arguments) -> None:
    """WRITELOG: a record of the operator's log."""
    level = number(a, "logLevel")
    if not 0 <= level < len(_LEVELS):
        raise DomainError(f"logLevel: expected 0 to {len(_LEVELS) - 1}")
    record = text(a, "logRecord")[:_MAX_RECORD]
    shown = "".join(letter if letter.isprintable() else " " for letter in record)
    log.log(_LEVELS[level], "%s: %s", c.authority.address, shown)


def shutdown(c: Context, a: Arguments) -> None:
    """SHUTDOWN."""
    log.warning("%s shuts the server down", c.authority.address)
    c.service.shut_down()


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
