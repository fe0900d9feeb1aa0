"""What the read model knows of bindings, open calls and programs, for a server that starts.

Reads ``readmodel.sqlite3`` as the project role left it and feeds :mod:`pbx.signal.restore`, which
folds the log's tail after it. Straight from SQLite: loading SQLAlchemy would cost the signal role a
fifth of a second at each start and 20 MB for ever. For the same reason a read model in PostgreSQL
is not asked: it is of use to many nodes, may be away, and the log at hand says the same.

Only what is certain comes back: a checkpoint must name an event that this log has, and nothing may
have been skipped. Whatever else is the matter with the file (missing, of another version, locked,
broken), the answer is ``None`` and the log itself is read.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from pbx.domain.applications import application_stream
from pbx.eventlog import START, EventLog, Position
from sip.registrar import Binding

log = logging.getLogger("pbx.signal")

FILE: Final = "readmodel.sqlite3"
REVISION: Final = "0013"
"""Of the tables read here; a test compares it with theirs."""
_BUSY_S: Final = 2.0

_FIELDS: Final = (
    "contact_id", "contact", "expires_ns", "sip_call_id", "cseq", "q", "instance", "reg_id", "path",
    "user_agent", "transport", "local", "remote", "nat", "contact_params", "methods", "since_ns",
)  # fmt: skip
"""The stored fields of a binding in their order, which are the columns of the table."""
_IS_MIGRATED: Final = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
_BINDINGS: Final = f"SELECT account, {', '.join(_FIELDS)} FROM bindings ORDER BY account, version"


class ProjectedBindings(NamedTuple):
    """Every address that ever registered, as of a position."""

    position: Position
    versions: dict[str, int]
    """Of the streams, by address."""
    bindings: dict[str, list[Binding]]
    """In the order in which they were added; none for an address without."""


class ProjectedCalls(NamedTuple):
    """Calls of a node without an end, as of a position."""

    position: Position
    streams: list[str]


class ProjectedTasks(NamedTuple):
    """Programs of a node without an end, as of a position."""

    position: Position
    streams: list[str]


class Projected(NamedTuple):
    """Each part stands alone: its projection may be behind the other's."""

    bindings: ProjectedBindings | None = None
    calls: ProjectedCalls | None = None
    tasks: ProjectedTasks | None = None


def read_projected(data: Path, event_log: EventLog, node: str) -> Projected:
    """What can be used of the read model in `data`; of `node` only calls and programs."""
    path = data / FILE
    if not path.exists():
        return Projected()
    try:
        # Not `mode=ro`: the first reader after a crash has to recover the file's WAL.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", _BUSY_S, uri=True)) as (
            database
        ):
            database.isolation_level = None
            database.execute("PRAGMA query_only = ON")
            database.execute("BEGIN")  # one snapshot: rows and the checkpoints they belong to
            return _read(database, event_log, node)
    except sqlite3.Error as error:
        log.warning("the read model cannot be used, starting from the log: %s", error)
        return Projected()


def _read(database: sqlite3.Connection, event_log: EventLog, node: str) -> Projected:
    if database.execute(_IS_MIGRATED).fetchone() is None:
        return Projected()  # the project role is just making it
    (revision,) = database.execute("SELECT max(version_num) FROM alembic_version").fetchone()
    if revision != REVISION:
        return Projected()
    at = dict(_usable(database, event_log))
    bindings = calls = tasks = None
    if "bindings" in at:
        bindings = _bindings(database, at["bindings"])
    if "calls" in at:
        rows = database.execute(
            "SELECT call_id FROM calls WHERE end_ns = 0 AND node = ? ORDER BY call_id", (node,)
        )
        calls = ProjectedCalls(at["calls"], [f"call/{call_id}" for (call_id,) in rows])
    if "ivr" in at:
        rows = database.execute(
            "SELECT task_id FROM ivr_tasks WHERE end_ns = 0 AND node = ? ORDER BY task_id", (node,)
        )
        tasks = ProjectedTasks(at["ivr"], [application_stream(task_id) for (task_id,) in rows])
    return Projected(bindings, calls, tasks)


def _usable(database: sqlite3.Connection, event_log: EventLog) -> Iterator[tuple[str, Position]]:
    """Names and positions of the projections whose rows are what this log folds to."""
    rows = database.execute(
        "SELECT name, position, time_ns FROM projections"
        " WHERE partition = '' AND name NOT IN (SELECT projection FROM skipped_events)"
    )
    for name, position, time_ns in rows:
        record = event_log.at(position) if position > START else None
        if record is not None and record.time_ns == time_ns:
            yield name, position


def _bindings(database: sqlite3.Connection, position: Position) -> ProjectedBindings:
    versions = dict(database.execute("SELECT account, version FROM binding_streams"))
    found: dict[str, list[Binding]] = {}
    for account, *values in database.execute(_BINDINGS):
        fields: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
        fields["path"] = tuple(fields["path"].split("\n")) if fields["path"] else ()
        fields["methods"] = tuple(fields["methods"].split(" ")) if fields["methods"] else ()
        fields["nat"] = bool(fields["nat"])
        found.setdefault(account, []).append(Binding(**fields))
    return ProjectedBindings(position, versions, found)
