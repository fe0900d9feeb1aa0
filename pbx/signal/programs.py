"""What a server adds to the programs that run in it: their files, file storage, story and control.

Made before the host of programs, since that is given these parts; bound to its tasks afterwards::

    parts = ProgramParts(event_log, writer, directory, clock, data, offload, menu_choices=True,
                         file_streams=reader.noted(Noted.FILES))
    voice = compose(…, files=parts.files, observer=parts.observer, providers=parts.providers,
                    story=parts.story)
    parts.bind(host.tasks, voice.book.of)
    await parts.serve(node_name, wake)          # the control socket
    parts.apply(record)                         # each record of pbx.config
    await parts.aclose()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from pbx.blobs import FileBlobs
from pbx.calls.directory import Directory
from pbx.calls.journal import Journal
from pbx.calls.ports import LogPort
from pbx.datadir import DataDirectory
from pbx.domain.configuration import NO_CONFIGURATION, Configuration
from pbx.environments import EnvironmentFiles, FileStorage, limits_in_log
from pbx.environments.rights import administers_files
from pbx.eventlog import EventLog, Record
from pbx.kernel.clock import Clock
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.task import Task
from pbx.script.values import Value
from pbx.signal.control_server import ControlServer
from pbx.voice.control import NodeTaskControl
from pbx.voice.observer import EventObserver
from pbx.voice.services import Provider
from pbx.voice.storage import Run, StorageProvider

BLOBS: Final = "blobs"


class HasJournal(Protocol):
    """A call, as far as its programs need it."""

    @property
    def journal(self) -> Journal: ...


class ProgramParts:
    """See the module. Used on the thread of the tasks."""

    def __init__(
        self,
        event_log: EventLog,
        writer: LogPort,
        directory: Directory,
        clock: Clock,
        data: DataDirectory,
        offload: Run,
        *,
        menu_choices: bool,
        file_streams: Iterable[str],
    ) -> None:
        """`offload` carries out what touches the disk beside the thread of the tasks;
        `file_streams` are those that have files (:class:`~pbx.configdb.Noted`)."""
        blobs = FileBlobs(data.path / BLOBS)
        self.files = EnvironmentFiles(blobs)
        self.observer = EventObserver(writer, clock, choices=menu_choices)
        self._directory = directory
        self._socket = data.control_socket
        self._tasks: TaskNode | None = None
        self._configuration_of: Callable[[str], Configuration] = lambda stream: NO_CONFIGURATION
        self._server: ControlServer | None = None
        storage = FileStorage(event_log, blobs, clock.wall_ns, limits_in_log(event_log))
        self.providers: Sequence[Provider] = (
            StorageProvider(
                storage,
                offload,
                self._answer,
                account_of=self._account_of,
                administers=self._administers,
            ),
        )
        self.files.load(event_log, file_streams)

    def bind(self, tasks: TaskNode, configuration_of: Callable[[str], Configuration]) -> None:
        """The tasks there are; `configuration_of` gives that of ``account/…`` and ``domain/…``."""
        self._tasks = tasks
        self._configuration_of = configuration_of

    def story(self, call: HasJournal) -> AbstractContextManager[None]:
        """A program that starts meanwhile belongs to the call."""
        return self.observer.of_call(call.journal)

    def apply(self, record: Record) -> None:
        """The next record of the configuration."""
        self.files.apply(record)

    async def serve(self, node: str, wake: Callable[[], None]) -> None:
        """Take commands on tasks; `wake` has them go on after one. Needs :meth:`bind`."""
        assert self._tasks is not None
        control = NodeTaskControl(self._tasks, node, wake, self.observer.by)
        self._server = ControlServer(control, self._socket)
        await self._server.start()

    async def aclose(self) -> None:
        """Take none any more."""
        if self._server is not None:
            await self._server.aclose()

    def _answer(self, task: Task, value: Value) -> None:
        if self._tasks is not None:
            self._tasks.answer(task, value)

    def _account_of(self, name: str, domain: str) -> str:
        account = self._directory.account(name, self._directory.local_domain(domain) or domain)
        return "" if account is None else account.address

    def _administers(self, who: str, owner: str) -> bool:
        return administers_files(who, owner, self._configuration_of, self._directory.main_domain)
