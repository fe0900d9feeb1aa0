"""What handlers work with: the command service, the read model, and how a change is carried out."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from pbx.admin.dispatch import Context
from pbx.admin.jobs import Client
from pbx.admin.service import AdminService
from pbx.calls.directory import Directory
from pbx.domain.accounts import CONFIG
from pbx.eventlog import Conflict, EventLog
from pbx.kernel.errors import LogUnavailable, ReadModelError
from pbx.rest.access import authority_of
from pbx.rest.changes import Change, Precondition, Resource
from pbx.tokens import Principal
from pbx.web.problems import Problem

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pbx.readmodel import Database

T = TypeVar("T")

PROTOCOL: Final = "API"
MAX_TRIES: Final = 10
"""Of a change that lost a race with something it has nothing to do with."""
LEVEL_S: Final = 5.0
"""How long a listing waits for the projections to be level with the log."""
THREADS: Final = 8
"""Commands are carried out one at a time, listings beside them."""
NOWHERE: Final = Resource("")
"""For changes of several streams: nothing is collected."""


class Backend:
    """One in a process, used by several threads: the service serialises commands."""

    def __init__(
        self,
        service: AdminService,
        *,
        open_database: Callable[[], Database] | None = None,
        own_hosts: frozenset[str] = frozenset(),
        emergency_numbers: Sequence[str] = (),
        applied: Callable[[int], object] = lambda position: None,
    ) -> None:
        """`open_database` opens the read model when it is first asked; `applied` waits until call
        control has taken a change up."""
        self.service = service
        self._open_database = open_database
        self._database: Database | None = None
        self._opening = threading.Lock()
        self._own_hosts = own_hosts
        self.emergency_numbers = emergency_numbers
        self._applied = applied
        self._tracing = threading.Lock()
        # Not the feeds' threads: a listing may wait for the projections, and commands for another.
        self._executor = ThreadPoolExecutor(THREADS, "command")
        service.world.directory.set_own_hosts(own_hosts)

    @property
    def log(self) -> EventLog:
        return self.service.log

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what may wait, without holding the loop up."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    # ---------------------------------------------------------------------------- configuration

    def reading(self, principal: Principal, peer: str, work: Callable[[Context], T]) -> T:
        """Look at the configuration as of the newest event."""
        client = Client(peer, PROTOCOL)
        return self.service.within(client, lambda: authority_of(self.service, principal), work)

    def changing(
        self,
        principal: Principal,
        peer: str,
        origin: str,
        resource_of: Callable[[Context], Resource],
        work: Callable[[Context], T],
        precondition: Precondition | None = None,
    ) -> T:
        """Carry out a change of a resource, whole or not at all.

        `resource_of` finds what is to be changed, with the rights of `principal`, and raises where
        it may not be seen. Raises :class:`Problem` (412) if the precondition does not hold.
        """
        client = Client(peer, PROTOCOL)
        service = self.service
        written = 0

        def look(context: Context) -> T:
            change = Change(
                self.log, resource_of(context), origin=origin, precondition=precondition
            )
            # What is known must not be older than what the precondition was compared with: if it is
            # newer, the append finds out.
            service.world.catch_up()
            inner = Context(service, client, context.authority, log=change, erase=change.erase)
            nonlocal written
            result = work(inner)
            for subject in change.write():
                service.erase(subject)
            service.world.catch_up()
            written = change.position
            return result

        for _ in range(MAX_TRIES):
            try:
                result = service.within(client, lambda: authority_of(service, principal), look)
            except Conflict:
                continue
            if written:
                self._applied(written)
            return result
        raise LogUnavailable("this changes faster than it can be decided on; try again later")

    def directory_at(self, time_ns: int) -> Directory:
        """The configuration as the Router asks for it, as it was; one at a time: it reads all."""
        if not self._tracing.acquire(blocking=False):
            raise Problem(
                503,
                "busy",
                "Another trace of the past is being made",
                "try again in a few seconds",
                headers={"Retry-After": "5"},
            )
        try:
            directory = Directory()
            directory.set_own_hosts(self._own_hosts)
            for record in self.log.read(category=CONFIG):
                if record.time_ns <= time_ns:
                    directory.apply(record.stream, record.event)
            return directory
        finally:
            self._tracing.release()

    # ------------------------------------------------------------------------------- read model

    @contextlib.contextmanager
    def tables(self) -> Iterator[Connection]:
        """The read model, level with the log. Raises :class:`Problem` (503) if it is away."""
        from pbx.readmodel import catch_up

        try:
            database = self._opened()
            catch_up(self.log, database, LEVEL_S)
            with database.read() as connection:
                yield connection
        except ReadModelError as error:
            raise Problem(
                503,
                "listing-unavailable",
                "Listings are not available now",
                str(error),
                headers={"Retry-After": "5"},
            ) from error

    def _opened(self) -> Database:
        with self._opening:
            if self._database is None:
                if self._open_database is None:
                    raise ReadModelError("this server has no read model")
                self._database = self._open_database()
            return self._database

    def close(self) -> None:
        """Release threads and tables."""
        self._executor.shutdown()
        with self._opening:
            if self._database is not None:
                self._database.close()
                self._database = None
