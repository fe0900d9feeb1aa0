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

from pbx.eventlog import EventLog
from pbx.kernel.errors import LagTimeout, ProjectionStopped, ReadModelError
from pbx.readmodel.cdr_files import CdrFiles
from pbx.readmodel.database import READ_MODEL_FILE, Database
from pbx.readmodel.projections import PROJECTION_NAMES, all_projections
from pbx.readmodel.runner import (
    POLL_S,
    Checkpoint,
    Projector,
    is_of,
    load_checkpoints,
    projection_status,
    reached,
    skip_event,
    wait_for,
)

CDR_FOLDER: Final = "CDRs"


def open_read_model(data_dir: Path) -> Database:
    """Open, or create, the read model in `data_dir`, migrated. Raises ``ReadModelError``."""
    return Database(data_dir / READ_MODEL_FILE)


def make_projector(log: EventLog, database: Database) -> Projector:
    """All projections, with the text files of call records beside the database."""
    files = CdrFiles(database, database.path.with_name(CDR_FOLDER))
    return Projector(log, database, all_projections(log, files.export))


def catch_up(log: EventLog, database: Database, timeout_s: float = 60.0) -> None:
    """Return when the tables hold all that is in the log now.

    Projects itself if nobody else does, else waits for whoever does. Raises
    :class:`ProjectionStopped` or :class:`LagTimeout`.
    """
    target = log.head()
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not _is_level(log, database, target):
        if database.lease.acquire():
            try:
                make_projector(log, database).catch_up(target)
                reached(database, target)  # says which projection stopped, if one did
            finally:
                database.lease.release()
            return
        if time.monotonic() > deadline:
            raise LagTimeout(
                f"the read model is not at position {target} after {timeout_s:g} s: is the"
                " server's project role alive?"
            )
        pause.wait(POLL_S)


def _is_level(log: EventLog, database: Database, target: int) -> bool:
    """Like :func:`reached`, but a stopped projection may be started again by whoever asks, and
    rows of another log do not count."""
    try:
        if not reached(database, target, PROJECTION_NAMES):
            return False
        with database.read() as connection:
            return all(is_of(log, checkpoint) for checkpoint in load_checkpoints(connection))
    except ProjectionStopped:
        if database.lease.acquire():
            return False
        raise


__all__ = [
    "CDR_FOLDER",
    "PROJECTION_NAMES",
    "READ_MODEL_FILE",
    "CdrFiles",
    "Checkpoint",
    "Database",
    "LagTimeout",
    "ProjectionStopped",
    "Projector",
    "ReadModelError",
    "all_projections",
    "catch_up",
    "load_checkpoints",
    "make_projector",
    "open_read_model",
    "projection_status",
    "reached",
    "skip_event",
    "wait_for",
]
