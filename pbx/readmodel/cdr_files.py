"""The text files of call records: ``CDRs/YYYY-MM-DD.cdr``, one line an ended leg.

Fed by the table ``cdr_legs``, of which the files are a pure function: the lines of a day are its
rows in order of (position, ordinal). A day is the UTC date of the leg's end. Lines are appended
after the rows are committed; the table ``cdr_files`` says how much of a file is known to be right,
so that a crash between the two is mended by writing the same lines again.

A line has 24 fields separated by TAB, UTF-8, empty is ``-``; TAB, line feed, carriage return and
backslash inside a value are written ``\\t \\n \\r \\\\``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, func, select, update

from pbx.eventlog import START, Position
from pbx.readmodel.database import Database
from pbx.readmodel.projection import write_rows
from pbx.readmodel.tables import cdr_files, cdr_legs, projections

FORMAT_VERSION: Final = "1"
FIELDS: Final = 24
SUFFIX: Final = ".cdr"
EMPTY: Final = "-"
_ALL: Final = ""
"""The row of ``cdr_files`` for all days."""
_STALE: Final = -1
"""As the position of a day: its file has lines that are not the table's any more."""

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_UNESCAPES: Final = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
_ESCAPED: Final = re.compile(r"\\(.)")

logger = logging.getLogger(__name__)


class Written(NamedTuple):
    """A row of ``cdr_files``."""

    day: str
    position: Position
    size_bytes: int


class CdrFiles:
    """Keeps the files of `folder` equal to the table."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._trouble = ""

    def export(self) -> None:
        """Write what is missing. A file that cannot be written is tried again the next time."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with self._database.read() as connection:
                generation = _generation(connection)
                upto, days = _behind(connection, _written(connection, _ALL).position)
            done: list[Written] = []
            for day in days:
                with self._database.read() as connection:
                    offset, text = self._text(connection, day, upto)
                self._write(day, offset, text)
                done.append(Written(day, upto, offset + len(text)))
            if days:
                self._remember([*done, Written(_ALL, upto, 0)], generation)
            self._trouble = ""
        except OSError as error:
            if not self._trouble:
                logger.error("call record files are behind, trying again later: %s", error)
            self._trouble = str(error)

    def path(self, day: str) -> Path:
        """The file of a day."""
        return self._folder / (day + SUFFIX)

    def _text(self, connection: Connection, day: str, upto: Position) -> tuple[int, bytes]:
        """Where to write and what."""
        path = self.path(day)
        _, after, offset = _written(connection, day)
        if after == _STALE or not path.exists() or path.stat().st_size < offset:
            after = offset = 0  # new, or somebody took it away: the whole day
        rows = connection.execute(
            select(cdr_legs)
            .where(cdr_legs.c.day == day, cdr_legs.c.position > after, cdr_legs.c.position <= upto)
            .order_by(cdr_legs.c.position, cdr_legs.c.ordinal)
        )
        # Plain dicts: a line looks up thirty columns, and SQLAlchemy's mappings are slow at that.
        names = list(rows.keys())
        lines = [cdr_line(dict(zip(names, row, strict=True))) for row in rows.all()]
        return offset, "".join([line + "\n" for line in lines]).encode()

    def _write(self, day: str, offset: int, text: bytes) -> None:
        path = self.path(day)
        if offset:
            _write_at(path, offset, text)
        else:
            # Readers never see half a file: it appears complete.
            fresh = path.with_suffix(".new")
            _write_at(fresh, 0, text)
            fresh.replace(path)

    def _remember(self, done: Sequence[Written], generation: int) -> None:
        """Unless a rebuild replaced the rows meanwhile: then the files are begun anew."""
        with self._database.write() as connection:
            if _generation(connection) == generation:
                write_rows(connection, cdr_files, Written._fields, done)


def _write_at(path: Path, offset: int, text: bytes) -> None:
    """Make the file end with `text` at `offset`; what was behind is a torn line of a crash."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        os.lseek(descriptor, offset, os.SEEK_SET)
        view = memoryview(text)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _generation(connection: Connection) -> int:
    found = connection.execute(
        select(projections.c.generation).where(
            projections.c.name == "cdrs", projections.c.partition == ""
        )
    ).scalar()
    return found or 0


def _written(connection: Connection, day: str) -> Written:
    found = connection.execute(
        select(cdr_files.c.day, cdr_files.c.position, cdr_files.c.size_bytes).where(
            cdr_files.c.day == day
        )
    ).one_or_none()
    return Written(day, START, 0) if found is None else Written(*found)


def _behind(connection: Connection, after: Position) -> tuple[Position, list[str]]:
    """Up to where there are rows now, and the days of those after a position."""
    newer = cdr_legs.c.position > after
    upto = connection.execute(select(func.max(cdr_legs.c.position)).where(newer)).scalar()
    days = set(connection.execute(select(cdr_legs.c.day).where(newer).distinct()).scalars())
    days.update(
        connection.execute(select(cdr_files.c.day).where(cdr_files.c.position == _STALE)).scalars()
    )
    return upto or after, sorted(days)


def rewrite_days(connection: Connection, days: Sequence[str]) -> None:
    """Rows of these days were changed: have their files written anew, if they are there."""
    connection.execute(
        update(cdr_files)
        .where(cdr_files.c.day.in_(days), cdr_files.c.day != _ALL)
        .values(position=_STALE, size_bytes=0)
    )


def cdr_line(row: Mapping[Any, Any]) -> str:
    """The line of one row of ``cdr_legs``, without its end."""
    return "\t".join([_escape(value) for value in cdr_fields(row)])


def cdr_fields(row: Mapping[Any, Any]) -> list[str]:
    """The 24 fields of one row of ``cdr_legs``; empty where there is nothing."""
    return [
        FORMAT_VERSION,
        row["call_id"],
        f"{row['leg_id']}/{row['parent_leg_id'] or EMPTY}",
        row["role"],
        row["sip_call_id"],
        row["from_uri"],
        row["asserted_identity"],
        row["account"],
        row["request_uri"],
        row["target_uri"],
        f"{row['source']}/{row['transport']}",
        iso_time(row["start_ns"]),
        iso_time(row["provision_ns"]),
        iso_time(row["answer_ns"]),
        iso_time(row["end_ns"]),
        f"{row['talk_ms'] / 1000:.3f}",
        str(row["status"]),
        f"{row['cause']}/{row['q850']}",
        row["ended_by"],
        row["redirector"],
        row["application"],
        row["gateway"],
        row["billing_id"],
        media_field(row),
    ]


def media_field(row: Mapping[Any, Any]) -> str:
    """``proxied,codec,packets in/out,loss %,jitter ms,MOS``; unknown parts are ``-``."""
    received, lost = row["packets_in"], row["packets_lost"]
    expected = received + lost
    return ",".join(
        (
            "y" if row["proxied"] else "n",
            row["codec"] or EMPTY,
            f"{received}/{row['packets_out']}",
            f"{100 * lost / expected:.2f}" if expected else EMPTY,
            f"{row['jitter_ms']:.1f}" if row["mos"] else EMPTY,
            f"{row['mos']:.2f}" if row["mos"] else EMPTY,
        )
    )


def parse_cdr_line(line: str) -> list[str]:
    """The 24 fields of a line, empty where it has ``-``. Raises ``ValueError``."""
    fields = [_unescape(field) for field in line.removesuffix("\n").split("\t")]
    if len(fields) != FIELDS or fields[0] != FORMAT_VERSION:
        raise ValueError(f"not a call record of format {FORMAT_VERSION}: {line!r}")
    return fields


def iso_time(time_ns: int) -> str:
    """ISO 8601 in UTC with milliseconds; empty for 0."""
    if not time_ns:
        return ""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_iso_second(seconds)}.{rest // 1_000_000:03d}Z"


@lru_cache(maxsize=4096)
def _iso_second(seconds: int) -> str:
    # The four times of a leg, and its call's other legs, share most of their seconds.
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _escape(value: str) -> str:
    if not value:
        return EMPTY
    if value.isprintable() and "\\" not in value:
        return value
    return value.translate(_ESCAPES)


def _unescape(field: str) -> str:
    if field == EMPTY:
        return ""
    return _ESCAPED.sub(lambda match: _UNESCAPES.get(match[1], match[0]), field)
