"""The web role with the administration: feeds, schemas, the API, commands over HTTP, web
programs.

The service behind it is one of its own, beside that of the admin role: two writers of one log,
which is what the log is made for (ADR 11).
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute

from pbx import web_role
from pbx.addresses import own_hosts
from pbx.admin.role import admin_config, call_counter
from pbx.admin.service import AdminService
from pbx.applied import wait_applied
from pbx.blobs import FileBlobs
from pbx.configdb import ConfigUnavailable, open_config
from pbx.eventlog import open_keys, open_log
from pbx.helper.blocking import blocking_helper
from pbx.kernel.clock import SystemClock
from pbx.kernel.entropy import SystemEntropy
from pbx.kernel.errors import LogError
from pbx.rest import page
from pbx.rest.backend import Backend
from pbx.rest.command_line import CommandLine
from pbx.rest.operations import Api
from pbx.rest.table import OPERATIONS
from pbx.roles import Fatal, RoleContext
from pbx.voice.control_client import ControlClient
from pbx.webprograms.routes import WebPrograms

if TYPE_CHECKING:
    from pbx.readmodel import Database

PATIENCE_S: Final = 5.0
"""How long a change waits for other writers of the log."""
APPLY_S: Final = 1.0
"""How long an answer waits for call control to take a change up; usually some 50 ms."""


def run(context: RoleContext) -> int:
    """Be the web role."""
    settings = context.settings
    data = context.data
    with contextlib.ExitStack() as stack:
        try:
            log = open_log(data.path, node=settings.server.node, busy_timeout_s=PATIENCE_S)
            database = open_config(data.path)
        except (LogError, ConfigUnavailable) as error:
            raise Fatal(str(error)) from error
        stack.enter_context(contextlib.closing(log))
        stack.enter_context(contextlib.closing(database))
        program = blocking_helper(settings, data.path)
        if program is not None:
            stack.callback(program.close)
        blobs = FileBlobs(data.path / "blobs")
        clock, entropy = SystemClock(), SystemEntropy()
        service = AdminService(
            log,
            admin_config(context),
            clock,
            entropy,
            erase=open_keys(data.path).erase,
            shut_down=lambda: os.kill(os.getppid(), signal.SIGTERM),
            blobs=blobs,
            tasks=ControlClient(data.control_socket),
            count_calls=call_counter(data.path, log, settings.readmodel.url),
            database=database,
            program=program,
        )

        def open_database() -> Database:
            # Loaded when first asked for: it is 20 MB that a server without listings never needs.
            from pbx.readmodel import open_read_model

            return open_read_model(data.path, settings.readmodel.url)

        backend = Backend(
            service,
            open_database=open_database,
            own_hosts=own_hosts(settings),
            emergency_numbers=settings.limits.emergency_numbers,
            applied=lambda position: wait_applied(data.applied, position, APPLY_S),
        )
        stack.callback(backend.close)
        programs = WebPrograms(
            service,
            blobs,
            clock,
            entropy,
            requests_a_minute=settings.web.program_requests_a_minute,
            calls_a_minute=settings.web.program_calls_a_minute,
        )
        stack.callback(programs.close)
        return web_role.run(context, [*routes(backend), *programs.routes])


def routes(backend: Backend) -> list[BaseRoute]:
    """All routes of the administration."""
    return [
        *page.ROUTES,
        *Api(OPERATIONS, backend).routes,
        *CommandLine(backend).routes,
    ]
