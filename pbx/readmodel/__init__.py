"""The read model: tables derived from the log, and the projections that fill them.

``open_read_model(data_dir)`` opens it; :func:`catch_up` makes sure that everything in the log so
far is in the tables, whether a server runs (then its project role does the work) or not (then the
caller does it, holding the lease).
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Final

from pbx.eventlog import EventLog, Position
from pbx.kernel.errors import LagTimeout, ProjectionStopped, ReadModelAway, ReadModelError
from pbx.readmodel.cdr_feed import CdrFeed
from pbx.readmodel.cdr_files import CdrFiles
from pbx.readmodel.database import READ_MODEL_FILE, Database, SqliteDatabase
from pbx.readmodel.partitions import concerned, is_partitioned, views_of
from pbx.readmodel.projections import PROJECTION_NAMES, all_projections
from pbx.readmodel.projections.cdrs import RULES
from pbx.readmodel.runner import (
    POLL_S,
    Checkpoint,
    Projector,
    is_of,
    load_checkpoints,
    projection_status,
    reached,
    recall_skipped,
    skip_event,
    wait_for,
)

CDR_FOLDER: Final = "CDRs"


def open_read_model(data_dir: Path, url: str = "") -> Database:
    """Open, or create, the read model, migrated: the file in `data_dir`, or a PostgreSQL database.

    Raises :class:`ReadModelAway` if it cannot be used now, else :class:`ReadModelError`.
    """
    if not url:
        return SqliteDatabase(data_dir / READ_MODEL_FILE)
    from pbx.readmodel.postgres import PostgresDatabase

    return PostgresDatabase(url, data_dir)


def make_projector(
    log: EventLog,
    database: Database,
    partition: str = "",
    *,
    text_files: bool = True,
    feed: bool = False,
) -> Projector:
    """All projections over one partition of `log`.

    With `text_files` call records go to files in the data directory, too; only where the log has
    one order of records, that of one partition. With `feed` they go into the log as events, as
    those of the node that `log` was opened as.
    """
    view = views_of(log, database)[partition]
    recall_skipped(log, database)
    files = None
    if text_files and not is_partitioned(log, database):
        files = CdrFiles(database, database.folder / CDR_FOLDER)
    published = None
    if feed:
        published = CdrFeed(log, database, partition, node=log.node, rules=RULES)

    def export() -> bool:
        if files is not None:
            files.export()
        return published is not None and published.publish()

    projections = all_projections(view, export)
    projector = Projector(view, database, projections, partition=partition)
    if recall_skipped(log, database):  # it dropped those of another log
        projector.reload()
    return projector


def catch_up(log: EventLog, database: Database, timeout_s: float = 60.0) -> None:
    """Return when the tables hold all that is in the log now.

    Projects itself what nobody else does, else waits for whoever does. Raises
    :class:`ProjectionStopped` or :class:`LagTimeout`.
    """
    deadline = time.monotonic() + timeout_s
    for partition, view in views_of(log, database).items():
        _catch_up(log, database, partition, view, deadline, timeout_s)


def _catch_up(
    log: EventLog,
    database: Database,
    partition: str,
    view: EventLog,
    deadline: float,
    timeout_s: float,
) -> None:
    names = [p.name for p in concerned(partition, all_projections(view))]
    if not names:
        return
    target = view.head()
    lease = database.lease_of(partition)
    pause = threading.Event()
    while not _is_level(view, database, partition, names, target):
        if lease.acquire():
            try:
                make_projector(log, database, partition).catch_up(target)
                reached(database, target, (), partition)  # raises if one has stopped
            finally:
                lease.release()
            return
        if time.monotonic() > deadline:
            raise LagTimeout(
                f"the read model is not at position {target}"
                f"{f' of {partition}' if partition else ''} after {timeout_s:g} s: is the"
                " server's project role alive?"
            )
        pause.wait(POLL_S)


def _is_level(
    view: EventLog, database: Database, partition: str, names: list[str], target: Position
) -> bool:
    """Like :func:`reached`, but a stopped projection may be started again by whoever asks, and
    rows of another log do not count."""
    try:
        if not reached(database, target, names, partition):
            return False
        with database.read() as connection:
            found = load_checkpoints(connection, partition)
        return all(is_of(view, checkpoint) for checkpoint in found)
    except ProjectionStopped:
        if database.lease_of(partition).acquire():
            return False
        raise


__all__ = [
    "CDR_FOLDER",
    "PROJECTION_NAMES",
    "READ_MODEL_FILE",
    "CdrFeed",
    "CdrFiles",
    "Checkpoint",
    "Database",
    "LagTimeout",
    "ProjectionStopped",
    "Projector",
    "ReadModelAway",
    "ReadModelError",
    "SqliteDatabase",
    "all_projections",
    "catch_up",
    "is_partitioned",
    "load_checkpoints",
    "make_projector",
    "open_read_model",
    "projection_status",
    "reached",
    "recall_skipped",
    "skip_event",
    "wait_for",
]
