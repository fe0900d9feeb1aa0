"""Meetings and Queues: how tasks of an account find each other (CG/PL reference §9.15).

Meetings are stored with the account and survive restarts: their parameters are kept as copies, and
:attr:`Rendezvous.on_change` lets the owner of the event log write them down. Queues live in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pbx.script.requests import tasks
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import Answer
from pbx.script.runtime.task import Task
from pbx.script.values import Dictionary, Handle, TaskHandle, Value

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

MAX_MEETINGS: Final = 10_000
"""Of one account."""
MAX_QUEUED: Final = 10_000
"""Tasks in one queue."""
MAX_QUEUES: Final = 1000
"""Queues of one account in which somebody waits."""
_PRIORITY: Final = re.compile(r"[0-9](\.[0-9]{1,3})?\Z")
DEFAULT_PRIORITY: Final = 1.0


@dataclass(slots=True)
class Meeting:
    """A key of an account under which a task can be found."""

    parameter: Value
    task_id: str | None = None
    """The active task; it may be dead."""


@dataclass(slots=True)
class _Entry:
    task_id: str
    parameter: Value
    priority: float


@dataclass(slots=True)
class _Account:
    meetings: dict[tuple[str, str], Meeting] = field(default_factory=dict)
    queues: dict[str, list[_Entry]] = field(default_factory=dict)


class Rendezvous:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node
        self._accounts: dict[str, _Account] = {}
        self.on_change: Callable[[str, str, str, Meeting | None], None] | None = None
        """Called with account, set, key and the new state (None: removed) of a Meeting."""

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            tasks.CreateMeeting: self._create,
            tasks.ActivateMeeting: self._activate,
            tasks.DeactivateMeeting: self._deactivate,
            tasks.RemoveMeeting: self._remove,
            tasks.ClearMeeting: self._clear,
            tasks.FindMeeting: self._find,
            tasks.Enqueue: self._enqueue,
            tasks.CheckQueue: self._check,
            tasks.Dequeue: self._dequeue,
            tasks.ReadQueue: self._read,
        }

    def meetings(self, account: str) -> dict[tuple[str, str], Meeting]:
        """All Meetings of an account by (set, key); may be filled at the start."""
        return self._accounts.setdefault(account, _Account()).meetings

    def _of(self, task: Task) -> _Account:
        return self._accounts.setdefault(task.account or "", _Account())

    def _changed(self, task: Task, place: tuple[str, str], meeting: Meeting | None) -> None:
        if self.on_change is not None:
            self.on_change(task.account or "", *place, meeting)

    # Meetings.

    def _create(self, task: Task, request: tasks.CreateMeeting) -> Answer:
        place = (request.set or "", request.key)
        meetings = self._of(task).meetings
        if place in meetings:
            return b"the meeting exists already"
        if len(meetings) >= MAX_MEETINGS:
            return b"the account has too many meetings"
        if isinstance(request.parameter, TaskHandle | Handle):
            return b"a handle cannot be stored"
        meetings[place] = Meeting(self._node.copied(request.parameter))
        self._changed(task, place, meetings[place])
        return None

    def _activate(self, task: Task, request: tasks.ActivateMeeting) -> Answer:
        place = (request.set or "", request.key)
        meeting = self._of(task).meetings.get(place)
        if meeting is None:
            return b"there is no such meeting"
        if meeting.task_id not in (None, task.task_id) and meeting.task_id in self._node.tasks:
            return b"the meeting is active already"
        meeting.task_id = task.task_id
        if request.parameter is not None:
            meeting.parameter = self._node.copied(request.parameter)
        self._changed(task, place, meeting)
        return None

    def _deactivate(self, task: Task, request: tasks.DeactivateMeeting) -> Answer:
        place = (request.set or "", request.key)
        meeting = self._of(task).meetings.get(place)
        if meeting is None:
            return b"there is no such meeting"
        if meeting.task_id != task.task_id:
            return b"the meeting is not active with this task"
        meeting.task_id = None
        if request.parameter is not None:
            meeting.parameter = self._node.copied(request.parameter)
        self._changed(task, place, meeting)
        return None

    def _remove(self, task: Task, request: tasks.RemoveMeeting) -> Answer:
        place = (request.set or "", request.key)
        if self._of(task).meetings.pop(place, None) is not None:
            self._changed(task, place, None)
        return None

    def _clear(self, task: Task, request: tasks.ClearMeeting) -> Answer:
        place = (request.set or "", request.key)
        meeting = self._of(task).meetings.get(place)
        if meeting is None:
            return b"there is no such meeting"
        meeting.task_id = None
        self._changed(task, place, meeting)
        return None

    def _find(self, task: Task, request: tasks.FindMeeting) -> Answer:
        meeting = self._of(task).meetings.get((request.set or "", request.key))
        if meeting is None:
            return None
        found = Dictionary()
        found.set(b"parameter", self._node.copied(meeting.parameter))
        if meeting.task_id is not None:
            found.set(b"id", TaskHandle(meeting.task_id))
        return found

    # Queues.

    def _enqueue(self, task: Task, request: tasks.Enqueue) -> Answer:
        queues, name = self._of(task).queues, request.queue or ""
        priority = DEFAULT_PRIORITY
        if request.priority is not None:
            if not _PRIORITY.match(request.priority):
                return None
            priority = float(request.priority)
        self._drop(queues, name, task)
        queue = queues.get(name, [])
        if len(queue) >= MAX_QUEUED or (not queue and len(queues) >= MAX_QUEUES):
            return None
        queues[name] = queue
        at = next((n for n, one in enumerate(queue) if one.priority < priority), len(queue))
        parameter = self._node.copied(request.parameter)
        queue.insert(at, _Entry(task.task_id, parameter, priority))
        return self._state(queue, task)

    def _state(self, queue: list[_Entry], task: Task) -> Dictionary:
        state = Dictionary()
        state.set(b"length", len(queue))
        for position, entry in enumerate(queue):
            if entry.task_id == task.task_id:
                state.set(b"position", position)
        return state

    def _check(self, task: Task, request: tasks.CheckQueue) -> Answer:
        return self._state(self._of(task).queues.get(request.queue or "", []), task)

    def _dequeue(self, task: Task, request: tasks.Dequeue) -> Answer:
        queues = self._of(task).queues
        self._drop(queues, request.queue or "", task)
        return None

    def _drop(self, queues: dict[str, list[_Entry]], name: str, task: Task) -> None:
        queue = queues.get(name, [])
        queue[:] = [entry for entry in queue if entry.task_id != task.task_id]
        if not queue:
            queues.pop(name, None)

    def _read(self, task: Task, request: tasks.ReadQueue) -> Answer:
        queues = self._of(task).queues
        queue = queues.get(request.queue or "", [])
        if not queue:
            return None
        entry = queue.pop(0)
        if not queue:
            queues.pop(request.queue or "", None)
        found = Dictionary()
        found.set(b"id", TaskHandle(entry.task_id))
        found.set(b"parameter", entry.parameter)
        return found

    def queued(self) -> int:
        """Tasks that wait in queues of any account, one for each queue it waits in."""
        return sum(len(q) for account in self._accounts.values() for q in account.queues.values())

    def leave(self, task: Task) -> None:
        """A task that ended leaves all queues."""
        for account in self._accounts.values():
            for name in list(account.queues):
                self._drop(account.queues, name, task)
