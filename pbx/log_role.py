"""The log role of a node in a cluster: the only process that speaks Kafka.

Ships this node's journal, reads what all nodes wrote into its replica, and has decisions made by
Kafka's order (:mod:`pbx.eventlog.kafka`). Calls go on without it: facts wait in the journal.
"""

from __future__ import annotations

import contextlib
import logging
import select
import sys
from typing import Final

from pbx.commands import Administration
from pbx.eventlog import LOG_FILE, open_log
from pbx.eventlog.kafka.connect import in_clear
from pbx.eventlog.kafka.service import LogService
from pbx.kernel.errors import LogError, LogUnavailable
from pbx.roles import Fatal, RoleContext, asked_to_stop
from pbx.settings import kafka_servers

log = logging.getLogger("pbx.log")

CATCH_UP_S: Final = 5.0
"""A node that starts waits so long for what others wrote; then it starts with what it has."""
FIRST_CATCH_UP_S: Final = 30.0
"""The same for a node that knows nothing yet: without accounts it would refuse its phones."""
LOOK_S: Final = 1.0
SWITCH_INTERVAL_S: Final = 0.001
"""Five threads pass a decision on; at the default of 5 ms each may wait for a busy one."""


def run(context: RoleContext) -> int:
    """Be the log role until SIGTERM."""
    settings = context.settings
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logging.getLogger("kafka").setLevel("CRITICAL")  # it tells every failed attempt; we tell states
    path = context.data.path / LOG_FILE
    servers = kafka_servers(settings.eventlog.engine)
    if warning := in_clear(servers, settings.kafka):
        log.warning("%s", warning)
    with asked_to_stop() as asked:
        try:
            service = LogService(
                path,
                context.data.log_socket,
                servers,
                settings.kafka,
                settings.server.node,
            )
        except LogError as error:
            raise Fatal(str(error)) from error
        service.start()
        try:
            patience_s = FIRST_CATCH_UP_S if service.is_new else CATCH_UP_S
            if not service.wait_caught_up(patience_s):
                if reason := service.failure():
                    raise Fatal(reason)
                if service.is_new:
                    raise Fatal(f"this node has seen nothing of the cluster yet: {service.trouble}")
                log.warning("starting without what other nodes wrote: %s", service.trouble)
            else:
                _install(context)
            context.ready()
            while not select.select([asked], [], [], LOOK_S)[0]:
                if reason := service.failure():
                    # Restarts do not mend it: calls go on, the operator is told again and again.
                    log.error("%s", reason)
                    return 1
        finally:
            service.stop()
    return 0


def _install(context: RoleContext) -> None:
    """What every server has (:meth:`Administration.install`), once for the cluster: only who has
    read what is there can tell whether it is missing."""
    try:
        with contextlib.closing(open_log(context.data.path)) as event_log:
            administrate = Administration(event_log, actor="server")
            if not administrate.installed:
                administrate.install()
    except LogUnavailable as error:
        log.warning("the Router table of a new cluster was not written: %s", error)
