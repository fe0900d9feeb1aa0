"""The admin role: serves the command protocol until SIGTERM.

A process of its own: a command that reads a million accounts delays no call, and its end by a
defect is nobody else's. ``docs/adr/0011`` has the reasons.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import ssl
from pathlib import Path
from typing import Final

from pbx import __version__
from pbx.admin.guard import GuardLimits
from pbx.admin.server import AdminServer, ServerLimits
from pbx.admin.service import AdminConfig, AdminService, CountCalls
from pbx.blobs import FileBlobs
from pbx.configdb import ConfigUnavailable, open_config
from pbx.eventlog import EventLog, open_keys, open_log
from pbx.helper.blocking import blocking_helper
from pbx.kernel.clock import SystemClock
from pbx.kernel.entropy import SystemEntropy
from pbx.kernel.errors import LogError
from pbx.roles import Fatal, RoleContext
from pbx.settings import Listener, Settings, kafka_servers
from pbx.voice.control_client import ControlClient
from sip.endpoint import ensure_self_signed

log = logging.getLogger("pbx.admin")

DEFAULT: Final = Listener("cli", "127.0.0.1", 106)
_PATIENCE_S: Final = 5.0
"""How long a command waits for other writers of the log."""


def run(context: RoleContext) -> int:
    """Be the admin role."""
    with asyncio.Runner() as runner:
        return runner.run(_main(context))


def admin_config(context: RoleContext) -> AdminConfig:
    """The service's part of the settings."""
    limits = context.settings.limits
    guard = GuardLimits(limits.failed_logins, limits.failed_logins_s, limits.lock_s)
    return AdminConfig(
        version=__version__,
        data=context.data.path,
        clustered=bool(kafka_servers(context.settings.eventlog.engine)),
        guard=guard,
    )


async def _main(context: RoleContext) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    clock, rng = SystemClock(), SystemEntropy()
    settings = context.settings
    try:
        event_log = open_log(
            context.data.path, node=settings.server.node, busy_timeout_s=_PATIENCE_S
        )
        database = open_config(context.data.path)
    except (LogError, ConfigUnavailable) as error:
        raise Fatal(str(error)) from error
    try:
        program = blocking_helper(settings, context.data.path)
        service = AdminService(
            event_log,
            admin_config(context),
            clock,
            rng,
            erase=open_keys(context.data.path).erase,
            shut_down=lambda: os.kill(os.getppid(), signal.SIGTERM),
            blobs=FileBlobs(context.data.path / "blobs"),
            tasks=ControlClient(context.data.control_socket),
            count_calls=call_counter(context.data.path, event_log, settings.readmodel.url),
            database=database,
            program=program,
        )
        server = AdminServer(service, clock, rng, _limits(settings))
        try:
            if settings.cli.listen:
                for wanted in settings.cli.listen:
                    await _listen(context, server, wanted)
            else:
                await _listen_if_possible(context, server)
            context.ready()
            await stop.wait()
        finally:
            if program is not None:  # first: log-ins may wait for it
                await loop.run_in_executor(None, program.close)
            await server.aclose()
    finally:
        database.close()
        event_log.close()
    return 0


def _limits(settings: Settings) -> ServerLimits:
    cli = settings.cli
    return ServerLimits(cli.connections, cli.connections_per_source, cli.line_bytes)


def call_counter(data: Path, event_log: EventLog, url: str = "") -> CountCalls:
    """Counts calls in the read model, as far as the project role has come."""

    def count(what: str, whose: str, since_ns: int) -> int:
        # Loaded when first asked for: SQLAlchemy is 20 MB that most servers never need here.
        from pbx.readmodel import catch_up, open_read_model
        from pbx.readmodel.queries import count_calls

        database = open_read_model(data, url)
        try:
            catch_up(event_log, database, _PATIENCE_S)
            with database.read() as connection:
                return count_calls(connection, what == "CallsSent", whose, since_ns)
        finally:
            database.close()

    return count


async def _listen_if_possible(context: RoleContext, server: AdminServer) -> None:
    """The usual port, which an ordinary user may not open and one server of a machine can have:
    calls are not refused for that."""
    try:
        host, port = await server.listen(DEFAULT.host, DEFAULT.port)
    except OSError as error:
        log.warning(
            "no commands are taken on %s:%d (%s): name a port with --cli or cli.listen",
            DEFAULT.host,
            DEFAULT.port,
            error.strerror or error,
        )
        return
    context.listening(Listener("cli", host, port))


def _tls(context: RoleContext) -> ssl.SSLContext:
    """The certificate of the SIP listeners serves here, too."""
    sip = context.settings.sip
    if sip.tls_certificate:
        certificate, key = Path(sip.tls_certificate), Path(sip.tls_key or sip.tls_certificate)
    else:
        names = [context.settings.server.advertised or socket.gethostname()]
        certificate, key = ensure_self_signed(context.data.path / "tls", names)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_cert_chain(certificate, key)
    except OSError as error:
        raise Fatal(f"cannot use the TLS certificate {certificate}: {error}") from error
    return tls


async def _listen(context: RoleContext, server: AdminServer, wanted: Listener) -> None:
    tls = _tls(context) if wanted.transport == "clis" else None
    try:
        host, port = await server.listen(wanted.host, wanted.port, tls)
    except OSError as error:
        raise Fatal(
            f"cannot take commands on {wanted}: {error.strerror or error}; stop what uses it, or "
            "set cli.listen to another"
        ) from error
    context.listening(wanted._replace(host=host, port=port))
