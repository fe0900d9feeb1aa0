"""What the commands share that read log and read model: opening, times, readable rows."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pbx.cli.common import data_directory, settings_of
from pbx.kernel.errors import LagTimeout, ProjectionStopped

if TYPE_CHECKING:
    from pbx.eventlog import EmbeddedLog
    from pbx.readmodel import Database

_NS_PER_S: Final = 1_000_000_000
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO: Final = re.compile(r"(\d+)([smhdw])")


@contextlib.contextmanager
def opened_log(arguments: argparse.Namespace) -> Iterator[EmbeddedLog]:
    """The log, for reading only: without keys, so that nothing sealed can be shown."""
    from pbx.eventlog import open_log

    log = open_log(data_directory(arguments).path, unseal=False)
    try:
        yield log
    finally:
        log.close()


@contextlib.contextmanager
def opened_read_model(arguments: argparse.Namespace) -> Iterator[Database]:
    """The read model, level with the log; if it cannot be brought there, a warning says so."""
    from pbx.readmodel import catch_up, open_read_model

    with opened_log(arguments) as log:
        settings = settings_of(arguments)
        database = open_read_model(data_directory(arguments).path, settings.readmodel.url)
        try:
            try:
                catch_up(log, database)
            except (ProjectionStopped, LagTimeout) as error:
                print(f"pbx: what follows may be old: {error}", file=sys.stderr)
            yield database
        finally:
            database.close()


def add_times(parser: argparse.ArgumentParser) -> None:
    """``--since`` and ``--until``."""
    for name, what in (("--since", "from this time on"), ("--until", "before this time")):
        parser.add_argument(
            name,
            metavar="TIME",
            type=parse_time,
            help=f"{what}: 2026-01-31, 2026-01-31T08:00 (UTC unless it names a zone), 15m, 2h, 3d",
        )


def parse_time(text: str) -> int:
    """Nanoseconds of UTC from ISO 8601, or from a distance into the past such as ``15m``."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time_ns() - int(ago[1]) * _UNIT_S[ago[2]] * _NS_PER_S
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is no time: write 2026-01-31, 2026-01-31T08:00:00Z, 15m, 2h or 3d"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS_PER_S + moment.microsecond * 1000


def parse_moment(text: str) -> int:
    """As :func:`parse_time`, for "as of then": times are shown cut to milliseconds, and who copies
    the time of a change means the state with that change."""
    time_ns = parse_time(text)
    return time_ns + 999_999 if time_ns % 1_000_000 == 0 else time_ns


def show_time(time_ns: int) -> str:
    """UTC with milliseconds for people; ``-`` for none."""
    if not time_ns:
        return "-"
    seconds, rest = divmod(time_ns, _NS_PER_S)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03d}"


def show_duration(milliseconds: int) -> str:
    """``59.2s``, ``12:05``, ``3:12:05``; ``-`` for none."""
    if milliseconds <= 0:
        return "-"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f}s"
    minutes, seconds = divmod(milliseconds // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for programs: each ``*_ns`` also as ISO 8601 under its plain name, None for none."""
    from pbx.readmodel.cdr_files import iso_time

    result: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_ns"):
            result[name[:-3]] = iso_time(value) or None
        result[name] = value
    return result
