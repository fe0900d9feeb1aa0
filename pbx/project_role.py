"""The project role: follows the log and keeps the read model and the CDR files.

Nothing waits for it: while it is down or behind, calls go on, and it catches up by itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Iterator
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


LOOK_S: Final = 5.0
"""How soon the end of the projector by a defect is noticed; its traceback is on standard error."""


def run(context: RoleContext) -> int:
    """Be the project role until SIGTERM: what is in the log by then is projected."""
    try:
        with _asked_to_stop() as asked:
            return _project(context.data, context.settings, context, asked)
    except (LogError, ReadModelError) as error:
        raise Fatal(str(error)) from error


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[int]:
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


def _project(data: DataDirectory, settings: Settings, context: RoleContext, asked: int) -> int:
    event_log = open_log(data.path, unseal=False)
    database = Database(data.path / READ_MODEL_FILE)
    stop = threading.Event()
    try:
        with database.lease.held(LEASE_S):
            files = CdrFiles(database, data.path / "CDRs")
            if settings.cdr.text_files:
                files.export()  # what a crash left between table and file
                projections = all_projections(event_log, files.export)
            else:
                projections = all_projections(event_log)
            projector = Projector(event_log, database, projections)
            worker = threading.Thread(target=projector.run, args=(stop,), name="projector")
            worker.start()
            try:
                context.ready()
                while worker.is_alive() and not select.select([asked], [], [], LOOK_S)[0]:
                    pass
                died = not worker.is_alive()
            finally:
                stop.set()
                worker.join()
            log.info("projected %d records", projector.applied)
    finally:
        database.close()
        event_log.close()
    return 1 if died else 0
