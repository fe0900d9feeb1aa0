"""The project role: keeps the read model and the CDR files as the log says, publishes call records,
delivers webhooks.

Nothing waits for it: while it is down or behind, or its database is away, calls go on, and it
catches up by itself.
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections.abc import Iterator
from typing import Final

from pbx.configdb import ConfigUnavailable, open_config
from pbx.datadir import DataDirectory
from pbx.eventlog import EventLog, open_log
from pbx.kernel.errors import LogError, ReadModelAway, ReadModelError
from pbx.readmodel import Database, open_read_model
from pbx.readmodel.share import Share
from pbx.readmodel.webhook_rows import WebhookRows
from pbx.roles import Fatal, RoleContext, asked_to_stop
from pbx.settings import Settings
from pbx.webhooks.worker import deliver_until

log = logging.getLogger("pbx.project")

LEASE_S: Final = 30.0
"""How long to wait for a command that is just catching up a read model nobody served."""
RETRY_S: Final = 1.0
"""Pause before trying again to reach a database that is away."""
LEVEL_S: Final = 0.2
"""How often the configuration database is brought level: others do it, too, when they need it."""
LOOK_S: Final = 5.0
"""How soon the end of the projector by a defect is noticed; its traceback is on standard error."""


def run(context: RoleContext) -> int:
    """Be the project role until SIGTERM: what is in the log by then is projected."""
    try:
        with (
            asked_to_stop() as asked,
            _delivering(context.data, context.settings),
            _levelling(context.data),
        ):
            return _project(context.data, context.settings, context, asked)
    except (LogError, ReadModelError) as error:
        raise Fatal(str(error)) from error


@contextlib.contextmanager
def _delivering(data: DataDirectory, settings: Settings) -> Iterator[None]:
    """Webhooks are delivered meanwhile, on a thread of their own."""
    stop = threading.Event()

    def shared() -> WebhookRows:
        # Leases lie in sessions, and those are not for two threads: a database of its own.
        database = open_read_model(data.path, settings.readmodel.url)
        return WebhookRows(database, settings.server.node)

    worker = threading.Thread(
        target=deliver_until,
        args=(stop, data.path, settings.webhooks, shared if settings.readmodel.url else None),
        name="webhooks",
    )
    if settings.webhooks.deliver:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        if settings.webhooks.deliver:
            worker.join()


@contextlib.contextmanager
def _levelling(data: DataDirectory) -> Iterator[None]:
    """The configuration database is brought level meanwhile, so that nobody else has to: the signal
    role has calls to attend to while thousands of accounts come from another node."""
    stop = threading.Event()
    worker = threading.Thread(target=_level_until, args=(stop, data), name="configuration")
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def _level_until(stop: threading.Event, data: DataDirectory) -> None:
    said = False
    while not stop.is_set():
        try:
            event_log, database = open_log(data.path, unseal=False), open_config(data.path)
            with contextlib.closing(event_log), contextlib.closing(database):
                while not stop.wait(LEVEL_S):
                    database.advance(event_log)
                    said = False
        except (LogError, ConfigUnavailable) as error:
            if not said:
                log.error("the configuration database is not brought level: %s", error)
            said = True
            stop.wait(RETRY_S)


def _project(data: DataDirectory, settings: Settings, context: RoleContext, asked: int) -> int:
    event_log = open_log(
        data.path,
        node=settings.server.node,
        unseal="personal",
        seal_personal=settings.privacy.seal_calls,
    )
    try:
        database = _opened(data, settings, context, asked)
        if database is None:
            return 0
        try:
            with contextlib.nullcontext() if database.shared else database.lease.held(LEASE_S):
                return _share(event_log, database, settings, context, asked)
        finally:
            database.close()
    finally:
        event_log.close()


def _opened(
    data: DataDirectory, settings: Settings, context: RoleContext, asked: int
) -> Database | None:
    """The read model; None if the role is told to end while the database is away."""
    said = False
    while True:
        try:
            return open_read_model(data.path, settings.readmodel.url)
        except ReadModelAway as error:
            if not said:
                log.error("nothing is projected, trying again: %s", error)
                context.ready()  # calls need no read model: the server is up
            said = True
        if select.select([asked], [], [], RETRY_S)[0]:
            return None


def _share(
    event_log: EventLog, database: Database, settings: Settings, context: RoleContext, asked: int
) -> int:
    share = Share(event_log, database, text_files=settings.cdr.text_files, feed=settings.cdr.feed)
    share.tick()
    stop = threading.Event()
    worker = threading.Thread(target=share.run, args=(stop,), name="share")
    worker.start()
    try:
        context.ready()
        while worker.is_alive() and not select.select([asked], [], [], LOOK_S)[0]:
            pass
        died = not worker.is_alive()
    finally:
        stop.set()
        worker.join()
        share.close()
    log.info("projected %d records", share.applied)
    return 1 if died else 0
