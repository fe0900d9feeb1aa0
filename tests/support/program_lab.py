"""Programs with simulated callers whose story goes to a log: observer, control, file storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pbx.blobs import MemoryBlobs
from pbx.calls.journal import Journal
from pbx.commands import Administration
from pbx.domain.calls import CallStarted
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event
from pbx.script.environment import Level
from pbx.script.offline.files import OfflineFiles
from pbx.script.offline.run import OfflineRun, stock_directory
from pbx.script.offline.scenario import scenario_of
from pbx.voice.control import NodeTaskControl
from pbx.voice.observer import EventObserver
from tests.support.clock import VirtualClock

CALL: Final = "01b8dac5-a66e-783e-95eb-04282584a43f"
DOMAIN: Final = "example.org"


class DirectWriter:
    """A writer of the log that writes at once."""

    healthy = True

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    def observe(self, stream: str, version: int, event: Event, meta: Meta) -> None:
        self.log.append(stream, ANY_VERSION, [event], meta)

    def decide(
        self,
        stream: str,
        expected_version: int,
        events: Sequence[Event],
        meta: Meta,
        done: Callable[[int | Exception], None],
        *,
        alone: bool = False,
    ) -> None:
        done(self.log.append(stream, expected_version, events, meta))


class ProgramLab:
    """A node of tasks over a program text and a scenario, with all that a server adds to it."""

    def __init__(
        self,
        text: str = "entry main { }",
        *,
        choices: bool = True,
        files: Mapping[str, bytes] | None = None,
        **scenario: Any,
    ) -> None:
        self.log = MemoryLog(node="lab", clock=VirtualClock())
        self.writer = DirectWriter(self.log)
        self.blobs = MemoryBlobs()
        self.administration = Administration(self.log, actor="lab")
        self.administration.create_domain(DOMAIN)
        for name in ("alice", "bob"):
            self.administration.create_account(f"{name}@{DOMAIN}")
        wanted: dict[str, Any] = {"account": f"alice@{DOMAIN}", **scenario}
        self.run = OfflineRun("x", scenario_of(wanted), _files(text, files or {}))
        self.node = self.run.node
        self.observer = EventObserver(self.writer, self.run.clock, choices=choices)
        self.node.observer = self.observer
        self.control = NodeTaskControl(self.node, "lab", by=self.observer.by)
        self.journal = Journal(
            self.writer, CALL, actor=f"alice@{DOMAIN}", tenant=DOMAIN, started=0.0
        )

    def call(self) -> list[Event]:
        """Let the scenario happen as one call; the events of its programs."""
        self.journal.write(
            CallStarted(
                leg_id="a", sip_call_id="s", from_uri="sip:alice@example.org",
                to_uri="sip:200@example.org", request_uri="sip:200@example.org",
                source="192.0.2.1:5060", transport="udp",
            )
        )  # fmt: skip
        with self.observer.of_call(self.journal):
            self.run.run()
        return self.events()

    def pump(self) -> None:
        """Let tasks have their turns until all of them wait."""
        while self.node.pump():
            pass

    def events(self) -> list[Event]:
        """What programs did, in order."""
        return [
            record.event for record in self.log.read() if record.stream.startswith("application/")
        ]


def _files(text: str, files: Mapping[str, bytes]) -> OfflineFiles:
    extra = {"x.sppr": text.encode(), **files}
    return OfflineFiles({Level.STOCK: stock_directory()}, extra=extra)
