"""Tasks from outside: started, sent events, ended and asked for their status by commands.

:class:`TaskControl` is what commands use; :class:`NodeTaskControl` carries it out on the tasks of
this process. Between processes lie :mod:`pbx.signal.control_server` and
:mod:`pbx.voice.control_client`.

A task's id names the node it runs on (``T5f0c…@node``), so that a command that reaches another one
of a cluster is told where to give it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from pbx.kernel.errors import DomainError
from pbx.script.limits import Limits, Meter
from pbx.script.runtime.node import TaskNode
from pbx.script.runtime.ports import StartProblem
from pbx.script.runtime.task import Task
from pbx.script.textform import object_to_text
from pbx.script.values import Value, text_of

UNKNOWN_TASK: Final = "unknown task"
_ID_BITS: Final = 64


class ControlError(DomainError):
    """The command cannot be carried out; the text says why."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A running task, for listings."""

    task_id: str
    program: str
    account: str
    """Whose name it runs under now; empty for none."""
    state: str
    """``incoming``, ``provisioned``, ``connected`` or ``disconnected``: what its call is doing."""
    parent: str = ""
    name: str = ""
    """For named tasks."""
    position: str = ""
    """``file:line`` where it waits."""
    status: str = ""
    """What the program last set, as text."""


class TaskControl(Protocol):
    """Every method raises :class:`ControlError`. Values are those of programs."""

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        actor: str = "",
    ) -> str:
        """Start a program of the account's domain without a call; returns the task's id."""
        ...

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> None:
        """The program reads ``{what=name; parameter=…;}``; the sender is null."""
        ...

    def kill(self, task_id: str, *, actor: str = "") -> None:
        """End a task; its peer is hung up on."""
        ...

    def status(self, task_id: str) -> Value:
        """What the program gave to ``SetApplicationStatus`` last; null for nothing."""
        ...

    def describe(self, task_id: str) -> TaskInfo:
        """One task."""
        ...

    def running(self) -> list[TaskInfo]:
        """All tasks of this node, the oldest first."""
        ...


def task_ids(node: str, getrandbits: Callable[[int], int]) -> Callable[[], str]:
    """Makes ids for the tasks of a node: ``new_id`` of its :class:`TaskNode`."""
    return lambda: f"T{getrandbits(_ID_BITS):016x}@{node}"


def node_of(task_id: str) -> str:
    """The node a task runs on; empty if the id names none."""
    return task_id.partition("@")[2]


class NodeTaskControl:
    """The :class:`TaskControl` over the tasks of this process."""

    def __init__(
        self,
        node: TaskNode,
        name: str,
        acted: Callable[[], None] = lambda: None,
        by: Callable[[str], AbstractContextManager[None]] = lambda actor: contextlib.nullcontext(),
    ) -> None:
        """`name` is that of the server's node. `acted` is called when tasks may have something to
        do: the shell then pumps the node. `by` notes who is behind what happens meanwhile
        (:meth:`pbx.voice.observer.EventObserver.by`)."""
        self._node = node
        self._name = name
        self._acted = acted
        self._by = by

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        actor: str = "",
    ) -> str:
        """See the protocol."""
        with self._by(actor):
            try:
                task = self._node.start(
                    program.removesuffix(".sppr"),
                    account=account,
                    entry=entry,
                    parameter=self._node.copied(parameter),
                )
            except StartProblem as problem:
                raise ControlError(str(problem)) from None
        self._acted()
        return task.task_id

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> None:
        """See the protocol."""
        task = self._task(task_id)
        problem = self._node.send_event(task.task_id, name, parameter)
        if problem is not None:
            raise ControlError(problem)
        self._acted()

    def kill(self, task_id: str, *, actor: str = "") -> None:
        """See the protocol."""
        task = self._task(task_id)
        with self._by(actor):
            self._node.kill(task.task_id)
        self._acted()

    def status(self, task_id: str) -> Value:
        """See the protocol."""
        return self._node.copied(self._task(task_id).status)

    def describe(self, task_id: str) -> TaskInfo:
        """See the protocol."""
        return _described(self._task(task_id))

    def running(self) -> list[TaskInfo]:
        """See the protocol."""
        return [_described(task) for task in self._node.tasks.values()]

    def _task(self, task_id: str) -> Task:
        task = self._node.tasks.get(task_id)
        if task is not None:
            return task
        elsewhere = node_of(task_id)
        if elsewhere and elsewhere != self._name:
            raise ControlError(
                f"the task runs on the node {elsewhere}: give the command there, this is "
                f"{self._name}"
            )
        raise ControlError(UNKNOWN_TASK)


def _described(task: Task) -> TaskInfo:
    frame = task.machine.position()
    status = "" if task.status is None else text_of(object_to_text(Meter(Limits()), task.status))
    return TaskInfo(
        task.task_id,
        task.program_name,
        task.account or "",
        task.mode.value,
        task.parent or "",
        task.name or "",
        "" if frame is None else f"{frame.source}:{frame.line}",
        status,
    )


class NoTasks:
    """Where no applications run: every command says so."""

    def start(
        self,
        program: str,
        *,
        account: str,
        entry: str = "main",
        parameter: Value = None,
        actor: str = "",
    ) -> str:
        """Refused."""
        raise _no_tasks()

    def send_event(self, task_id: str, name: str, parameter: Value = None) -> None:
        """Refused."""
        raise _no_tasks()

    def kill(self, task_id: str, *, actor: str = "") -> None:
        """Refused."""
        raise _no_tasks()

    def status(self, task_id: str) -> Value:
        """Refused."""
        raise _no_tasks()

    def describe(self, task_id: str) -> TaskInfo:
        """Refused."""
        raise _no_tasks()

    def running(self) -> list[TaskInfo]:
        """None."""
        return []


def _no_tasks() -> ControlError:
    return ControlError("no applications run here: start the server (pbx serve)")
