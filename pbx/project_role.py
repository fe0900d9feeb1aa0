"""The project role: follows the log and keeps the read model and the CDR files.

Nothing waits for it: while it is down or behind, calls go on, and it catches up by itself.
"""

from __future__ import annotations

import logging
import signal
import threading
from typing import Final

from pbx.datadir import DataDirectory
from pbx.eventlog import open_log
from pbx.kernel.errors import LogError, ReadModelError
from pbx.readmodel.cdr_files import CdrFiles
from pbx.readmodel.database import READ_MODEL_FILE, Database
from pbx.readmodel.projections import all_projections
from pbx.readmodel.runner import Projector
from pbx.roles import Fatal, RoleContext
from pbx.settings import Settings

log = logging.getLogger("pbx.project")

LEASE_S: Final = 30.0
"""How long to wait for a command that is just catching up a read model nobody served."""


def run(context: RoleContext) -> int:
    """Be the project role until SIGTERM: what is in the log by then is projected."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        return _project(context.data, context.settings, context, stop)
    except (LogError, ReadModelError) as error:
        raise Fatal(str(error)) from error


def _project(
    data: DataDirectory, settings: Settings, context: RoleContext, stop: threading.Event
) -> int:
    event_log = open_log(data.path, unseal=False)
    database = Database(data.path / READ_MODEL_FILE)
    try:
        with database.lease.held(LEASE_S):
            files = CdrFiles(database, data.path / "CDRs")
            if settings.cdr.text_files:
                files.export()  # what a crash left between table and file
                projections = all_projections(event_log, files.export)
            else:
                projections = all_projections(event_log)
            projector = Projector(event_log, database, projections)
            context.ready()
            projector.run(stop)
            log.info("projected %d records", projector.applied)
    finally:
        database.close()
        event_log.close()
    return 0
