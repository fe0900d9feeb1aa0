"""Runs tasks: whose turn it is, what they wait for, what reaches them, how they end.

Sans-I/O: the shell calls :meth:`TaskNode.pump` while it returns true, and
:meth:`TaskNode.advance` at :meth:`TaskNode.deadline`; what happens outside comes in through the
methods that :mod:`pbx.script.runtime.ports` names. The parts:
:mod:`~pbx.script.runtime.reading` digits and events, :mod:`~pbx.script.runtime.signalling` calls,
:mod:`~pbx.script.runtime.bridging` bridges, mixers and transfers, :mod:`~pbx.script.runtime.media`
sounds, :mod:`~pbx.script.runtime.rendezvous` Meetings and Queues, and
:mod:`~pbx.script.runtime.surroundings` time, language and log.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final

from pbx.kernel.clock import Clock
from pbx.script.builtins.general import copy
from pbx.script.environment import ApplicationFiles, FilePort, ProgramStore, TaskModules
from pbx.script.errors import CompileError, ModuleMissing, ProgramException
from pbx.script.events import SystemEvent, make_event
from pbx.script.limits import Limits, Meter
from pbx.script.machine import Failed, Finished, Machine, Outcome, Paused
from pbx.script.program import CompiledProgram
from pbx.script.requests.base import HostRequest
from pbx.script.requests.realtime import CallRequest
from pbx.script.requests.tasks import Spawn
from pbx.script.runtime.bridging import Bridging
from pbx.script.runtime.media import Media
from pbx.script.runtime.ports import (
    PENDING,
    Answer,
    CallPort,
    Observer,
    Services,
    StartProblem,
)
from pbx.script.runtime.reading import Reading
from pbx.script.runtime.rendezvous import Rendezvous
from pbx.script.runtime.signalling import Signalling
from pbx.script.runtime.surroundings import Surroundings
from pbx.script.runtime.task import Mode, Task, Wait, WaitKind
from pbx.script.runtime.turns import Turns
from pbx.script.values import Data, Dictionary, TaskHandle, Value, string_of

MAX_TASKS: Final = 4000
"""Running tasks of one node: four times the calls it is measured for."""
MAX_SPAWNED: Final = 50
"""Living tasks that one task has spawned."""
MAX_FAMILY: Final = 200
"""Living tasks that stem from one, itself included: else a program whose tasks spawn in turn would
use up those of the node. A conference has one task and as many legs."""
TURN_REQUESTS: Final = 50
"""Requests that are answered at once in one turn of a task; then others have theirs."""


class TaskNode:
    """All tasks of one process."""

    def __init__(
        self,
        *,
        files: FilePort,
        calls: CallPort,
        services: Services,
        observer: Observer,
        clock: Clock,
        entropy: Random,
        new_id: Callable[[], str],
        limits: Limits | None = None,
        max_tasks: int = MAX_TASKS,
    ) -> None:
        self.calls = calls
        self.services = services
        self.observer = observer
        self.clock = clock
        self.entropy = entropy
        self.tasks: dict[str, Task] = {}
        self.programs = ProgramStore()
        self._files = files
        self._new_id = new_id
        self._limits = limits if limits is not None else Limits()
        self._max_tasks = max_tasks
        self._ready: Turns[tuple[Task, Callable[[], Outcome]]] = Turns()
        self._families: Counter[str] = Counter()
        self._deadlines: list[tuple[float, int, Task, Wait]] = []
        """A heap; waits that ended otherwise stay until their time or while they are few."""
        self._waits = 0
        self.reading = Reading(self)
        self.signalling = Signalling(self)
        self.bridging = Bridging(self)
        self.media = Media(self)
        self.rendezvous = Rendezvous(self)
        self.surroundings = Surroundings(self)
        self._handlers: dict[type[HostRequest], Callable[[Task, Any], Answer]] = {
            Spawn: self._spawn
        }
        for part in (
            self.reading,
            self.signalling,
            self.bridging,
            self.media,
            self.rendezvous,
            self.surroundings,
        ):
            self._handlers.update(part.handlers())

    # Starting.

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        incoming: bool = False,
        name: str | None = None,
    ) -> Task:
        """Start a program of the account's domain; `incoming` says that a call waits for it.

        Raises ``StartProblem``.
        """
        domain = account.partition("@")[2]
        files = ApplicationFiles(self._files, domain)
        language = self.services.language_of(account)
        try:
            compiled = self.programs.program(files, program, language)
        except ModuleMissing:
            raise StartProblem(404, f"application {program} not found") from None
        except CompileError as error:
            raise StartProblem(500, f"application {program} does not compile:\n{error}") from None
        variables = Dictionary()
        variables.set(b"startParameter", parameter)
        task = self._make(compiled, program, entry, files, account, language, variables)
        task.name = name
        if incoming:
            task.mode = Mode.INCOMING
        self.observer.started(task, None)
        return task

    def _make(
        self,
        program: CompiledProgram,
        program_name: str,
        entry: str,
        files: ApplicationFiles,
        account: str | None,
        language: str | None,
        variables: Dictionary,
        family: str = "",
    ) -> Task:
        if len(self.tasks) >= self._max_tasks:
            raise StartProblem(503, f"{self._max_tasks} tasks are running already")
        task_id = self._new_id()
        modules = TaskModules(self.programs, files, program.environment, language)
        try:
            machine = Machine(
                program,
                entry,
                limits=self._limits,
                modules=modules,
                task=TaskHandle(task_id),
                variables=variables,
            )
        except ProgramException as problem:
            raise StartProblem(500, str(problem)) from None
        task = Task(
            task_id,
            program,
            program_name,
            machine,
            files,
            modules,
            account,
            language,
            self.services.zone_of(account),
        )
        task.family = family or task_id
        self.tasks[task_id] = task
        self._families[task.family] += 1
        self._ready.append(task.family, (task, machine.run))
        return task

    def _spawn(self, task: Task, request: Spawn) -> Answer:
        children = sum(1 for one in self.tasks.values() if one.parent == task.task_id)
        if children >= MAX_SPAWNED or self._families[task.family] >= MAX_FAMILY:
            return b"500-too many tasks were spawned"
        variables = Dictionary()
        variables.set(b"startParameter", copy(task.machine, request.argument))
        variables.set(b"parent", task.handle)
        try:
            child = self._make(
                task.machine.current_program(),
                task.program_name,
                request.entry,
                task.files,
                task.account,
                task.language,
                variables,
                task.family,
            )
        except StartProblem as problem:
            return string_of(f"{problem.status}-{problem}")
        child.parent = task.task_id
        child.zone = task.zone
        self.observer.started(child, task)
        return child.handle

    # Running.

    def pump(self) -> bool:
        """Give one task its turn. Returns whether any other waits for one."""
        if self._ready:
            task, step = self._ready.popleft()
            if task.task_id in self.tasks:
                try:
                    self._follow(task, step())
                except Exception:
                    # A defect of the host costs the task that met it, and nobody else.
                    task.failed = True
                    self.end(task, "exception")
                    raise
        return bool(self._ready)

    def _follow(self, task: Task, outcome: Outcome) -> None:
        for turn in range(1, TURN_REQUESTS + 1):
            match outcome:
                case Paused():
                    self._ready.append(task.family, (task, task.machine.run))
                    return
                case Finished(reason):
                    self.end(task, reason)
                    return
                case Failed():
                    self.observer.logged(task, str(outcome))
                    self.end(task, "exception", outcome)
                    return
            self.observer.requested(task, outcome)
            task.wait = Wait(WaitKind.PORT)
            try:
                answer = self._handle(task, outcome)
            except ProgramException as problem:
                outcome = task.machine.fail(problem)
                continue
            if answer is PENDING:
                return
            if task.task_id not in self.tasks:
                return
            task.wait = None
            if turn == TURN_REQUESTS:
                self._later(task, answer, waited=False)
                return
            outcome = task.machine.resume(answer, waited=False)

    def _handle(self, task: Task, request: HostRequest) -> Answer:
        handler = self._handlers.get(type(request))
        if handler is not None:
            return handler(task, request)
        if isinstance(request, CallRequest):
            return self.calls.perform(task, request)
        return self.services.perform(task, request)

    def suspend(self, task: Task, kind: WaitKind, *, seconds: float | None = None) -> None:
        """Note what a task waits for; its handler then returns ``PENDING``."""
        deadline = None if seconds is None else self.clock.monotonic() + seconds
        task.wait = wait = Wait(kind, deadline)
        if deadline is not None:
            self._waits += 1
            if len(self._deadlines) > 64 + 2 * len(self.tasks):
                self._deadlines = [one for one in self._deadlines if one[2].wait is one[3]]
                heapq.heapify(self._deadlines)
            heapq.heappush(self._deadlines, (deadline, self._waits, task, wait))

    def answer(self, task: Task, value: Value, *, waited: bool = True) -> None:
        """Let a suspended task go on with a value; nothing happens if it has ended."""
        if task.task_id in self.tasks and task.wait is not None:
            task.wait = None
            self._later(task, value, waited=waited)

    def _later(self, task: Task, value: Value, *, waited: bool) -> None:
        self._ready.append(task.family, (task, lambda: task.machine.resume(value, waited=waited)))

    def deadline(self) -> float | None:
        """When :meth:`advance` is due, in monotonic seconds; None if nobody waits for a time."""
        heap = self._deadlines
        while heap and heap[0][2].wait is not heap[0][3]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    @property
    def ready(self) -> bool:
        """Whether :meth:`pump` has something to do."""
        return bool(self._ready)

    def advance(self) -> None:
        """End waits whose time is up."""
        now = self.clock.monotonic()
        while (due := self.deadline()) is not None and due <= now:
            self.answer(heapq.heappop(self._deadlines)[2], None)

    # Ending.

    def end(self, task: Task, reason: str, failure: Failed | None = None) -> None:
        """Clean up after a program; a peer that is left is hung up on."""
        if self.tasks.pop(task.task_id, None) is None:
            return
        self._families[task.family] -= 1
        if not self._families[task.family]:
            del self._families[task.family]
        task.wait = None
        task.failed = task.failed or failure is not None
        self.bridging.leave(task)
        self.signalling.leave(task)
        self.rendezvous.leave(task)
        self.observer.ended(task, reason, failure)

    def kill(self, task_id: str) -> bool:
        """End a task from outside. Returns whether there was one."""
        task = self.tasks.get(task_id)
        if task is None:
            return False
        task.machine.kill()
        self.end(task, "killed")
        return True

    # Events from outside; the parts have the work.

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> str | None:
        """An administrator's event. Returns an error, or None."""
        return self.reading.send(None, self.tasks.get(task_id), string_of(name), parameter)

    def digit(self, task: Task, symbol: str) -> None:
        """The peer pressed a key."""
        self.reading.digit(task, symbol)

    def accepted(self, task: Task, error: str | None) -> None:
        """Outcome of ``CallPort.accept``."""
        self.signalling.accepted(task, error)

    def provisioned(self, task: Task, error: str | None, *, media: bool) -> None:
        """Outcome of ``CallPort.provision``."""
        self.signalling.provisioned(task, error, media=media)

    def peer_gone(self, task: Task, reason: str | None = None) -> None:
        """The peer hung up, gave up its call, or was lost."""
        self.signalling.peer_gone(task, reason)

    def provisional(self, task: Task, code: int, text: str) -> None:
        """A provisional response (101 to 199) to the outgoing call."""
        self.signalling.provisional(task, code, text)

    def completed(self, task: Task, error: str | None) -> None:
        """The outgoing call is up, or failed with ``NNN-text``."""
        self.signalling.completed(task, error)

    def info(self, task: Task, parameters: Dictionary) -> None:
        """INFO that is no digit."""
        self.reading.deliver(task, make_event(SystemEvent.CALL_INFO, None, parameters))

    def joined(self, task: Task, other: Task, error: str | None) -> None:
        """Outcome of ``CallPort.join``."""
        self.bridging.joined(task, other, error)

    def parted(self, task: Task, error: str | None) -> None:
        """Outcome of ``CallPort.part``."""
        self.bridging.parted(task, error)

    def attached(self, task: Task, leg: Task, error: str | None) -> None:
        """Outcome of ``CallPort.attach``."""
        self.bridging.attached(task, leg, error)

    def transferred(self, task: Task, error: str | None) -> None:
        """Outcome of ``CallPort.transfer`` and ``transfer_to``."""
        self.bridging.transferred(task, error)

    def played(self, task: Task, position_ms: int) -> None:
        """A sound has ended by itself."""
        self.media.played(task, position_ms)

    def recorded(self, task: Task, recording: Data | None) -> None:
        """A recording has ended by itself."""
        self.media.recorded(task, recording)

    def copied(self, value: Value) -> Value:
        """A deep copy of a value that goes from one task to another."""
        copied: Value = copy(Meter(self._limits), value)
        return copied
