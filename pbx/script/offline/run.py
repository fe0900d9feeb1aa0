"""One offline run: a node of tasks, simulated telephones and services, a virtual clock.

Deterministic: the same program and scenario give the same transcript.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final, Literal

from pbx.script.conversion import from_python
from pbx.script.environment import FilePort
from pbx.script.limits import Limits, Meter
from pbx.script.machine import Failed
from pbx.script.offline.calls import OfflineCalls
from pbx.script.offline.scenario import Scenario
from pbx.script.offline.services import OfflineServices
from pbx.script.offline.transcript import Transcript
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import StartProblem
from pbx.script.runtime.task import Task
from pbx.script.textform import object_to_text
from pbx.script.values import Dictionary, Value, text_of

GRACE_S: Final = 120.0
"""What programs have to end after everybody has hung up."""
MAX_TURNS: Final = 200_000
"""Turns of tasks without end: the program is endless although it waits."""


class VirtualClock:
    """Time that passes when the run says so."""

    def __init__(self, start_time_s: int) -> None:
        self.now_s = 0.0
        self._start_ns = start_time_s * 1_000_000_000

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self.now_s

    def wall_ns(self) -> int:
        """Virtual wall time."""
        return self._start_ns + int(self.now_s * 1e9)


class _Watch:
    """Writes what the node reports into the transcript."""

    def __init__(self, run: OfflineRun) -> None:
        self._run = run

    def started(self, task: Task, parent: Task | None) -> None:
        self._run.adopt(task)
        text = "starts" if parent is None else f"is spawned by {self._run.label(parent)}"
        self._run.tell(self._run.label(task), "start", f"{text}: {task.program.source.name}")

    def ended(self, task: Task, reason: str, failure: Failed | None) -> None:
        self._run.endings[self._run.label(task)] = reason
        if failure is not None:
            self._run.failures.append(failure)
        self._run.tell(self._run.label(task), "end", f"ends ({reason})")

    def input_read(self, task: Task, kind: Literal["digit", "event"], value: Value) -> None:
        if kind == "event" and isinstance(value, Dictionary):
            text = text_of(object_to_text(Meter(Limits()), value))
            self._run.tell(self._run.label(task), "event", f"reads the event {text}")
        elif isinstance(value, bytes):
            self._run.tell(self._run.label(task), "digit", f"reads the digit {text_of(value)}")

    def requested(self, task: Task, request: HostRequest) -> None:
        pass

    def logged(self, task: Task, text: str) -> None:
        self._run.tell(self._run.label(task), "log", text)


class OfflineRun:
    """Set up by the constructor, carried out by :meth:`run`."""

    def __init__(
        self,
        program: str,
        scenario: Scenario,
        files: FilePort,
        *,
        limits: Limits | None = None,
    ) -> None:
        """`program` is a name without its end, to be found in `files`."""
        self.scenario = scenario
        self.transcript = Transcript()
        self.endings: dict[str, str] = {}
        """How each task ended, by its label."""
        self.failures: list[Failed] = []
        self.start_problem: StartProblem | None = None
        self.still_running: list[str] = []
        """Labels of tasks that did not end although everybody had hung up."""
        self._program = program
        self._labels: dict[str, str] = {}
        self.clock = VirtualClock(scenario.start_time_s)
        self.calls = OfflineCalls(scenario, self.clock.monotonic, self.tell, self.label)
        self.services = OfflineServices(scenario, self.tell, self.label)
        self.node = TaskNode(
            files=files,
            calls=self.calls,
            services=self.services,
            observer=_Watch(self),
            clock=self.clock,
            entropy=Random(scenario.seed),
            new_id=self._new_id,
            limits=limits,
        )
        self.calls.node = self.node
        self.services.node = self.node
        self._ids = 0
        self._turns = 0

    def _new_id(self) -> str:
        self._ids += 1
        return f"T{self._ids}"

    def adopt(self, task: Task) -> None:
        """Give a new task its label."""
        self._labels[task.task_id] = task.task_id

    def label(self, task: Task) -> str:
        """How the transcript calls a task."""
        return self._labels.get(task.task_id, task.task_id)

    def tell(self, who: str, what: str, text: str) -> None:
        """A line of the transcript, now."""
        self.transcript.add(self.clock.now_s, who, what, text)

    # Running.

    def run(self) -> OfflineRun:
        """Carry the scenario out; returns itself for its results."""
        scenario = self.scenario
        try:
            task = self.node.start(
                self._program,
                account=scenario.account,
                entry=scenario.entry,
                parameter=from_python(scenario.parameter),
                incoming=scenario.caller is not None,
            )
        except StartProblem as problem:
            self.start_problem = problem
            self.tell("node", "problem", f"{problem.status}: {problem}")
            return self
        if scenario.caller is not None:
            self.calls.connect_caller(task, scenario.caller)
        if not self._until(scenario.time_limit_s):
            self.tell("run", "limit", "the time of the run is over: everybody hangs up")
            self.calls.hang_up_all()
            if not self._until(self.clock.now_s + GRACE_S):
                self.still_running = [self.label(one) for one in self.node.tasks.values()]
                for label in self.still_running:
                    self.tell(label, "limit", "is still running")
        return self

    def _until(self, limit_s: float) -> bool:
        """Run until nothing happens any more (True) or the time is `limit_s` (False)."""
        while True:
            while True:
                self._turns += 1
                more = self.node.pump()
                for waiting in list(self.node.tasks.values()):
                    if waiting.wait is not None:
                        self.calls.listening(waiting)
                if not more:
                    break
                if self._turns > MAX_TURNS or self.transcript.overflow:
                    return False
            if not self.node.tasks:
                return True
            times = [self.node.deadline(), self.calls.next_time()]
            upcoming = [time for time in times if time is not None]
            if not upcoming or min(upcoming) > limit_s:
                self.clock.now_s = max(self.clock.now_s, limit_s)
                return False
            self.clock.now_s = max(self.clock.now_s, min(upcoming))
            self.calls.run_due()
            self.node.advance()

    # Results.

    @property
    def ended(self) -> bool:
        """Whether all tasks have ended."""
        return self.start_problem is None and not self.still_running

    @property
    def heard(self) -> list[str]:
        """Names of the sounds in the order in which playing began, over all tasks."""
        return [text.split(" ")[1] for text in self.transcript.of("play")]

    @property
    def log(self) -> list[str]:
        """Lines that programs wrote with ``SysLog``, and messages about them."""
        return self.transcript.of("log")


def stock_directory() -> Path:
    """Where the shipped programs are."""
    return Path(__file__).resolve().parent.parent / "stock"
