"""What a server adds to programs, put together: files of the log, storage, story, control."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pbx.blobs import FileBlobs
from pbx.calls.directory import Directory
from pbx.commands import Administration
from pbx.configdb import ConfigDb, Noted
from pbx.datadir import DataDirectory
from pbx.domain.configuration import Configuration
from pbx.domain.storage import NO_LIMITS
from pbx.environments import EnvironmentCommands, FileStorage
from pbx.eventlog import MemoryLog, Meta
from pbx.script.runtime.node import TaskNode
from pbx.settings_changes import SettingsChanges, Target, read
from pbx.signal.programs import ProgramParts
from pbx.voice.control_client import ControlClient
from pbx.voice.services import ServiceTable
from tests.support.program_lab import CALL, DirectWriter, ProgramLab
from tests.unit.pbx.voice.test_storage_provider import at_once

PROGRAM = b"""
entry main {
  SetApplicationStatus(ReadStorageFile("~bob/a.txt"));
  void(ReadInput(1000));
}
"""


class _NoPreferences:
    def language_of(self, account: str | None) -> str | None:
        return None

    def zone_of(self, account: str | None) -> str | None:
        return None


class Server:
    """The parts over a log in memory and a data directory."""

    def __init__(self, folder: Path) -> None:
        self.lab = ProgramLab()  # its telephones and its clock
        self.log = self.lab.log
        self.directory = Directory()
        self.data = DataDirectory(folder)
        self.data.prepare()
        self.parts = ProgramParts(
            self.log, DirectWriter(self.log), self.directory, self.lab.run.clock, self.data,
            at_once, menu_choices=True, file_streams=(),
        )  # fmt: skip
        self.position = self.log.head()
        for record in self.log.read():
            self.directory.apply(record.stream, record.event)
        services = ServiceTable(_NoPreferences(), self.parts.providers)
        ids = iter(f"T{number}@here" for number in range(100))
        self.tasks = TaskNode(
            files=self.parts.files, calls=self.lab.run.calls, services=services,
            observer=self.parts.observer, clock=self.lab.run.clock,
            entropy=self.lab.node.entropy, new_id=lambda: next(ids),
        )  # fmt: skip
        self.parts.bind(self.tasks, self.configuration_of)

    def configuration_of(self, stream: str) -> Configuration:
        kind, _, name = stream.partition("/")
        return read(self.log, Target(kind, name))[0]

    def follow(self) -> None:
        """What the signal role does with the records of the configuration."""
        for record in self.log.read(self.position, category="pbx.config"):
            self.directory.apply(record.stream, record.event)
            self.parts.apply(record)
        self.position = self.log.head()

    def store(self, name: str, data: bytes) -> None:
        commands = EnvironmentCommands(
            self.log,
            FileBlobs(self.data.path / "blobs"),
            lambda: 1,
            lambda tenant: Meta(tenant=tenant),
        )
        commands.store(Target("domain", "example.org"), name, data, create=True)
        self.follow()

    def wake(self) -> None:
        while self.tasks.pump():
            pass


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "data")


def test_a_command_starts_what_was_stored_with_the_rights_of_its_account(server: Server) -> None:
    client = ControlClient(server.data.control_socket)

    async def session() -> list[object]:
        await server.parts.serve("here", server.wake)
        try:
            return [await asyncio.to_thread(step) for step in steps]
        finally:
            await server.parts.aclose()

    def start() -> object:
        return client.start("wait", account="alice@example.org")

    def status() -> object:
        return client.status(client.running()[-1].task_id)

    server.store("wait.sppr", PROGRAM)
    files = FileStorage(
        server.log, FileBlobs(server.data.path / "blobs"), lambda: 1, lambda account: NO_LIMITS
    )
    files.write("bob@example.org", "a.txt", b"hello", Meta())
    steps = [start, status]
    assert asyncio.run(session())[1] is None
    changes = SettingsChanges(server.log, actor="test")
    changes.set_rights("alice@example.org", ["Domain", "CanAccessWebSites"])
    found = asyncio.run(session())[1]
    assert getattr(found, "octets", None) == b"hello"
    assert not server.data.control_socket.exists()
    events = [r for r in server.log.read() if r.stream.startswith("application/")]
    assert {record.type for record in events} == {"application.started.v1"}


def test_a_program_that_a_call_starts_is_in_its_story(server: Server) -> None:
    class Call:
        journal = server.lab.journal

    server.store("x.sppr", b"entry main { }")
    with server.parts.story(Call()):
        server.tasks.start("x", account="alice@example.org")
    server.wake()
    kinds = [record.type for record in server.log.read_stream(f"call/{CALL}")]
    assert kinds == ["application.attached.v1"]
    assert Administration(server.log, actor="x").inventory.main_domain == "example.org"


def test_a_program_stored_anew_is_used_by_the_next_task(server: Server) -> None:
    server.store("x.sppr", b'entry main { SetApplicationStatus("1"); void(ReadInput(99)); }')
    first = server.tasks.start("x", account="alice@example.org")
    server.store("x.sppr", b'entry main { SetApplicationStatus("2"); void(ReadInput(99)); }')
    second = server.tasks.start("x", account="alice@example.org")
    server.wake()
    assert (first.status, second.status) == (b"1", b"2")


def test_the_log_of_a_server_is_loaded_at_the_start(server: Server) -> None:
    server.store("x.sppr", b"entry main { }")
    database = ConfigDb(None, lambda: server.log.codec)
    database.advance(server.log)
    noted = database.reader().noted(Noted.FILES)
    again = ProgramParts(
        server.log, DirectWriter(server.log), server.directory, server.lab.run.clock, server.data,
        at_once, menu_choices=True, file_streams=noted,
    )  # fmt: skip
    assert again.files.statistics()["files"] == 1
    assert isinstance(server.log, MemoryLog)
