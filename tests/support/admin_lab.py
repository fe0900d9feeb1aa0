"""The command service and one session in memory, under a virtual clock: lines in, replies out."""

from __future__ import annotations

import random
from typing import Final

from pbx.admin.external import AskProgram
from pbx.admin.guard import GuardLimits
from pbx.admin.jobs import Client
from pbx.admin.service import AdminConfig, AdminService
from pbx.admin.session import Close, Run, Send, Session, SessionConfig
from pbx.commands import Administration
from pbx.eventlog import MemoryLog
from pbx.settings_changes import SettingsChanges
from pbx.voice.control import TaskControl
from tests.support.clock import VirtualClock

DOMAIN: Final = "corpX.un"
MASTER: Final = "postmaster"
PASSWORD: Final = "Pa$$w0rd"
STAMP: Final = "<753.1213987978@mail.servername.com>"


class AdminLab:
    """A log with one domain and its postmaster, and the service over it."""

    def __init__(
        self,
        *,
        limits: GuardLimits | None = None,
        tasks: TaskControl | None = None,
        clustered: bool = False,
        program: AskProgram | None = None,
    ) -> None:
        self.clock = VirtualClock(1000.0)
        self.log = MemoryLog(node="lab", clock=self.clock)
        self.administration = Administration(self.log, actor="lab")
        self.administration.create_domain(DOMAIN)
        self.administration.install()
        self.administration.set_password(f"{MASTER}@{DOMAIN}", PASSWORD)
        self.changes = SettingsChanges(self.log, actor="lab")
        self.changes.set_rights(f"{MASTER}@{DOMAIN.lower()}", ["Master"])
        self.stopped = 0
        config = AdminConfig(version="1.2.3", clustered=clustered, guard=limits or GuardLimits())
        self.service = AdminService(
            self.log,
            config,
            self.clock,
            random.Random(7),
            shut_down=self._shut_down,
            tasks=tasks,
            program=program,
        )

    def _shut_down(self) -> None:
        self.stopped += 1

    def open(self, address: str = "127.0.0.1", *, secure: bool = False) -> Peer:
        """A connection."""
        return Peer(self, address, secure)

    def login(self, name: str = MASTER, password: str = PASSWORD) -> Peer:
        """A connection that is logged in, and in INLINE mode."""
        peer = self.open()
        assert peer.say(f"USER {name}", f"PASS {password}", "INLINE")[-2:] == [
            "200 login OK",
            "200 OK",
        ]
        return peer


class Peer:
    """The client's side of a session; its replies as lines."""

    def __init__(self, lab: AdminLab, address: str, secure: bool) -> None:
        self.lab = lab
        self.client = Client(address, secure=secure)
        self.session = Session(
            self.client, SessionConfig("Ringlog ready", STAMP, DOMAIN.lower()), lab.clock.now
        )
        self.closed = False
        self._text = bytearray()
        self.greeting = self.take()

    def say(self, *lines: str) -> list[str]:
        """Send lines; the replies' lines, those that are kept back included."""
        self.send("".join(f"{line}\r\n" for line in lines).encode())
        self.wait()
        return self.take()

    def send(self, data: bytes) -> None:
        """Raw bytes."""
        self.session.receive(data, self.lab.clock.now)
        self.pump()

    def wait(self) -> None:
        """Let the time of replies that are kept back pass."""
        while self.session._held is not None:
            due = self.session.next_timer()
            assert due is not None
            self.lab.clock.now = max(self.lab.clock.now, due)
            self.session.handle_timer(self.lab.clock.now)
            self.pump()

    def take(self) -> list[str]:
        """What came since the last time."""
        self.pump()
        text = self._text.decode()
        self._text.clear()
        assert text == "" or text.endswith("\r\n")
        return text.split("\r\n")[:-1]

    def pump(self) -> None:
        """Carry out what the session wants."""
        while outputs := self.session.outputs():
            for output in outputs:
                match output:
                    case Send(data):
                        assert not self.closed
                        self._text += data
                    case Run(job):
                        outcome = self.lab.service.perform(self.client, job)
                        self.session.answer(outcome, self.lab.clock.now)
                    case Close():
                        self.closed = True
                        self.lab.service.closed(self.client)
