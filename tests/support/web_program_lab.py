"""Web programs in this process: an environment, a control that notes what is started, a client."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from pbx.admin.service import AdminConfig, AdminService
from pbx.blobs import MemoryBlobs
from pbx.commands import Administration
from pbx.environments import EnvironmentCommands
from pbx.eventlog import MemoryLog, Meta
from pbx.script.values import Value
from pbx.settings_changes import Target
from pbx.voice.control import ControlError, NoTasks
from pbx.voice.control_wire import value_text
from pbx.webprograms.routes import WebPrograms
from tests.support.web_lab import LabClock, WebLab

MAIN = "main.example"


class NotedTasks(NoTasks):
    """Starts nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str, str, str]] = []
        """(account, program, parameter as text, actor)."""
        self.refusal = ""

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        actor: str = "",
    ) -> str:
        if self.refusal:
            raise ControlError(self.refusal)
        self.started.append((account, program, value_text(parameter), actor))
        return f"T{len(self.started)}@lab"


class WebProgramLab:
    """A domain with the account pbx."""

    def __init__(self, *, requests_a_minute: int = 1000, calls_a_minute: int = 30) -> None:
        self.log = MemoryLog(node="lab")
        administration = Administration(self.log, actor="lab")
        administration.create_domain(MAIN)
        self.tasks = NotedTasks()
        self.clock = LabClock()
        blobs = MemoryBlobs()
        service = AdminService(
            self.log, AdminConfig(), self.clock, random.Random(7), blobs=blobs, tasks=self.tasks
        )
        self._files = EnvironmentCommands(
            self.log, blobs, self.clock.wall_ns, lambda tenant: Meta(actor="lab", tenant=tenant)
        )
        self.programs = WebPrograms(
            service,
            blobs,
            self.clock,
            random.Random(7),
            requests_a_minute=requests_a_minute,
            calls_a_minute=calls_a_minute,
        )
        self.web = WebLab(self.log, routes=self.programs.routes)

    def store(self, name: str, text: str | bytes, target: Target | None = None) -> None:
        """Put a file into the environment of the server, or another."""
        content = text.encode() if isinstance(text, str) else text
        self._files.store(target or Target("server"), name, content, create=True)

    @contextmanager
    def client(self, address: str = "192.0.2.1") -> Iterator[TestClient]:
        """A browser without a token."""
        with TestClient(self.web.app, client=(address, 50000)) as client:
            yield client

    def close(self) -> None:
        self.programs.close()
        self.web.close()
