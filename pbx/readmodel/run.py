"""The project role: a process that keeps the read model level with the log."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Final, Protocol

from pbx.eventlog import open_log
from pbx.readmodel import make_projector, open_read_model

LEASE_S: Final = 30.0
"""A command that projects gives the lease back as soon as it is level."""
LOOK_S: Final = 1.0
"""How soon the end of the worker by a defect is noticed; its traceback is on standard error."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class _Data(Protocol):
    @property
    def path(self) -> Path: ...


class Context(Protocol):
    """What the role needs of ``pbx.roles.RoleContext``."""

    @property
    def data(self) -> _Data: ...

    def ready(self) -> None: ...


def run(context: Context) -> int:
    """Project until SIGTERM; then what is in the log is projected and the role returns.

    The work is done on a second thread: a handler that set the event could interrupt the wait for
    the same event and lock itself out.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    stop = threading.Event()
    log = open_log(context.data.path, unseal=False)
    database = open_read_model(context.data.path)
    try:
        with database.lease.held(LEASE_S):
            projector = make_projector(log, database)
            worker = threading.Thread(target=projector.run, args=(stop,), name="projector")
            worker.start()
            context.ready()
            while worker.is_alive() and signal.sigtimedwait(SIGNALS, LOOK_S) is None:
                pass
            died = not worker.is_alive()
            stop.set()
            worker.join()
    finally:
        database.close()
        log.close()
    return 1 if died else 0
