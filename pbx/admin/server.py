"""The asyncio shell of the command protocol: listeners, connections, one worker thread.

Sessions are in :mod:`pbx.admin.session`, what they ask for in :mod:`pbx.admin.service`. Jobs wait
for the disk, so they run on one thread beside the loop: a slow command delays other commands, and
nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Final

from pbx.admin.external import ASKING
from pbx.admin.jobs import Client, Job, Outcome
from pbx.admin.service import AdminService
from pbx.admin.session import Close, Run, Send, Session, SessionConfig
from pbx.kernel.clock import Clock

log = logging.getLogger("pbx.admin")

_READ_BYTES: Final = 65_536
_GOODBYE_S: Final = 2.0
"""How long a peer may take to read what was sent before its connection is dropped."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of the shell."""

    connections: int = 200
    connections_per_address: int = 20
    line_bytes: int = 16 * 1024 * 1024


class AdminServer:
    """Listeners and their connections, as tasks of one group."""

    def __init__(
        self, service: AdminService, clock: Clock, rng: Random, limits: ServerLimits
    ) -> None:
        self._service = service
        self._clock = clock
        self._rng = rng
        self._limits = limits
        self._worker = ThreadPoolExecutor(1, "admin")
        self._waiting = ThreadPoolExecutor(ASKING, "login")
        """Log-ins that may wait for the external program, which may give commands meanwhile."""
        self._servers: list[asyncio.Server] = []
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._per_address: Counter[str] = Counter()
        self._total = 0
        service.statistics.gauges = {
            "pwdInputActive": lambda: len(self._connections),
            "pwdInputTotal": lambda: self._total,
            "domains": lambda: len(service.world.domains),
            "accounts": lambda: len(service.world.inventory.accounts),
            "tempBlacklistedIPs": lambda: len(service.blacklisted(clock.wall_ns())),
            "upTime": lambda: (clock.wall_ns() - service.started_ns) // 1_000_000_000,
        }

    async def listen(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> tuple[str, int]:
        """Open a listener; returns the address it really has. Raises ``OSError``."""
        server = await asyncio.start_server(
            lambda reader, writer: self._accepted(reader, writer, tls is not None),
            host,
            port,
            ssl=tls,
            limit=_READ_BYTES,
        )
        self._servers.append(server)
        name: tuple[str, int] = server.sockets[0].getsockname()[:2]
        return name

    async def aclose(self) -> None:
        """Close listeners and connections; commands under way are finished."""
        for server in self._servers:
            server.close()
        for connection, task in list(self._connections.items()):
            connection.stop()
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections.values()), timeout=_GOODBYE_S)
        self._waiting.shutdown(wait=True, cancel_futures=True)
        self._worker.shutdown(wait=True)

    def kill_sessions(self) -> None:
        """Close the connections of sessions that an administrator ended."""
        for connection in list(self._connections):
            connection.look_at_kill()

    async def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secure: bool
    ) -> None:
        address = str(writer.get_extra_info("peername")[0]).partition("%")[0]
        self._total += 1
        limits = self._limits
        full = (
            len(self._connections) >= limits.connections
            or self._per_address[address] >= limits.connections_per_address
        )
        if full:
            writer.write(b"501 too many connections, try again later\r\n")
            await _finish(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(self, reader, writer, Client(address, secure=secure))
        self._connections[connection] = task
        self._per_address[address] += 1
        try:
            await connection.run()
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the peer is gone, or we are
        except Exception:
            log.exception("a connection from %s failed", address)
        finally:
            try:
                await self.in_worker(lambda: self._service.closed(connection.client))
                await _finish(writer)
            finally:
                writer.transport.abort()  # whatever happened: of a closed one nothing is left
                # Last: who ends the server waits for those that are listed.
                del self._connections[connection]
                self._per_address[address] -= 1
                if not self._per_address[address]:
                    del self._per_address[address]

    async def perform(self, client: Client, job: Job) -> Outcome:
        """Carry out a job beside the loop."""
        executor = self._waiting if self._service.waits(job) else self._worker
        return await asyncio.get_running_loop().run_in_executor(
            executor, self._service.perform, client, job
        )

    async def in_worker(self, work: Callable[[], object]) -> object:
        """Something that may wait for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def session(self, client: Client) -> Session | None:
        """A session for a new connection; None if its address gets none."""
        if await self.in_worker(lambda: self._service.refuses(client.address)):
            log.info("a connection from %s is refused", client.address)
            return None
        domain = await self.in_worker(self._service.greeting_name) or "localhost"
        version = self._service.config.version
        stamp = f"<{self._rng.getrandbits(48)}.{self._clock.wall_ns() // 1_000_000_000}@{domain}>"
        config = SessionConfig(
            greeting=f"Ringlog at {domain} PWD Server {version} ready",
            stamp=stamp,
            realm=str(domain),
            line_bytes=self._limits.line_bytes,
        )
        return Session(client, config, self._clock.monotonic())

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def service(self) -> AdminService:
        return self._service


class _Connection:
    """One connection: pumps a session."""

    def __init__(
        self,
        server: AdminServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: Client,
    ) -> None:
        self.client = client
        self._server = server
        self._reader = reader
        self._writer = writer
        self._wake = asyncio.Event()
        """Set when the session may have something to do beside what the peer sends."""
        self._session: Session | None = None

    async def run(self) -> None:
        """Until the session is closed."""
        self._session = session = await self._server.session(self.client)
        if session is None:
            return
        await self._carry_out()
        reading: asyncio.Task[bytes] | None = None
        waking: asyncio.Task[bool] | None = None
        ended = False
        try:
            while not session.closed:
                if reading is None and session.wants_input and not ended:
                    reading = asyncio.create_task(self._reader.read(_READ_BYTES))
                if waking is None:
                    waking = asyncio.create_task(self._wake.wait())
                waiting = {task for task in (reading, waking) if task is not None}
                done, _ = await asyncio.wait(
                    waiting, timeout=self._timeout(), return_when=asyncio.FIRST_COMPLETED
                )
                now = self._server.clock.monotonic()
                if waking in done:
                    self._wake.clear()
                    waking = None
                    if self.client.killed:
                        session.kill()
                if reading is not None and reading in done:
                    data = reading.result()
                    reading = None
                    if data:
                        session.receive(data, now)
                    else:
                        ended = True
                        session.receive_eof(now)
                session.handle_timer(now)
                await self._carry_out()
        finally:
            for task in (reading, waking):
                if task is not None:
                    task.cancel()

    def look_at_kill(self) -> None:
        if self.client.killed:
            self._wake.set()

    def stop(self) -> None:
        """The server ends."""
        if self._session is not None and not self._session.closed:
            self._writer.write(b"501 the server stops\r\n")

    def _timeout(self) -> float | None:
        assert self._session is not None
        due = self._session.next_timer()
        return None if due is None else max(0.0, due - self._server.clock.monotonic())

    async def _carry_out(self) -> None:
        """Everything the session wants done now."""
        session = self._session
        assert session is not None
        while outputs := session.outputs():
            for output in outputs:
                match output:
                    case Send(data):
                        self._writer.write(data)
                    case Run(job):
                        outcome = await self._server.perform(self.client, job)
                        session.answer(outcome, self._server.clock.monotonic())
                        self._server.kill_sessions()
                    case Close():
                        return
            await self._writer.drain()


async def _finish(writer: asyncio.StreamWriter) -> None:
    """Send what is left, briefly, and close."""
    try:
        async with asyncio.timeout(_GOODBYE_S):
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (ConnectionError, ssl.SSLError, TimeoutError):
        writer.transport.abort()
