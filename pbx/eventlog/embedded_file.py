"""The SQLite file of an embedded log: its schema, its format, connections, what can be wrong."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from pbx.eventlog.keystore import create_private
from pbx.kernel.errors import LogFormatError

APPLICATION_ID: Final = 0x52_4C_4F_47
"""``RLOG`` in the file header: `file log.sqlite3` tells what it is."""
FORMAT: Final = 1
"""``PRAGMA user_version``; a program refuses a log of a later format."""
CLUSTER_FORMAT: Final = 2
"""That of a log which is a node's part of a cluster (:mod:`pbx.eventlog.kafka`)."""

COLUMNS: Final = "stream, version, type, time_ns, node, actor, correlation, causation, tenant, data"
ONE_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS events (
    position    INTEGER PRIMARY KEY,
    stream      TEXT    NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    type        TEXT    NOT NULL,
    time_ns     INTEGER NOT NULL,
    node        TEXT    NOT NULL,
    actor       TEXT    NOT NULL,
    correlation TEXT    NOT NULL,
    causation   TEXT    NOT NULL,
    tenant      TEXT    NOT NULL,
    data        BLOB    NOT NULL,
    UNIQUE (stream, version)
) STRICT
"""


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection for one thread at a time, which its user sees to. Raises ``sqlite3.Error``."""
    database = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        database.close()
        raise
    return database


def create_file(path: Path, wanted: int, busy_timeout_s: float) -> None:
    """Make the log at `path` if there is none yet; one there must have the format `wanted`.

    Raises ``LogFormatError`` for another one, ``OSError`` and ``sqlite3.Error``.
    """
    create_private(path)
    database = connect(path, busy_timeout_s)
    try:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        (owner,) = database.execute("PRAGMA application_id").fetchone()
        if found not in (0, wanted) or owner not in (0, APPLICATION_ID):
            raise LogFormatError(
                f"event log {path} has format {found} of another or a newer program;"
                f" this one reads format {wanted}"
            )
        if not found:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute(_SCHEMA)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {FORMAT}")
            database.execute("COMMIT")
    finally:
        database.close()


def format_of(path: Path) -> int:
    """The format of the log at `path`; 0 if there is none, or none that can be read (who opens
    it says what is wrong)."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as database:
            found: int = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return 0
    return found


def number_in(rows: list[tuple[Any, ...]]) -> int:
    """What a query for one number gave; 0 for NULL."""
    number: int | None = rows[0][0]
    return number or 0


def explain(path: Path, error: Exception, busy_timeout_s: float) -> str:
    """What is wrong, for the operator who has to mend it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"event log {path}: the disk is full; free some space, nothing else is needed"
    if code == sqlite3.SQLITE_BUSY:
        return f"event log {path}: locked by another process for more than {busy_timeout_s:g} s"
    return f"event log {path}: {error}"
