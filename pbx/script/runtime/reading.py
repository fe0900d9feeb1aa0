"""Digits and events: how they reach a task, what they interrupt (CG/PL reference §9.15, §10.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pbx.script.events import SYSTEM_NAMES, make_event
from pbx.script.limits import measure
from pbx.script.requests import realtime, tasks
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import DIGITS, MAX_DIGITS, MAX_EVENTS, Task, WaitKind
from pbx.script.values import Dictionary, Handle, TaskHandle, Value, Xml, string_of, yes

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

MAX_EVENT_BYTES: Final = 1 << 20
"""What one event may carry."""
MAX_WAIT_S: Final = 86400
"""Longest time-out of ``ReadInput``."""


class Reading:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            tasks.ReadInput: self._read_input,
            tasks.SendEvent: self._send_event,
            realtime.DTMF: lambda task, _: string_of("".join(task.digits)),
            realtime.ClearDTMF: self._clear,
            realtime.ReadDTMF: self._read_digit,
            realtime.WaitDTMF: self._wait_digit,
            realtime.SetInterruptOnDTMF: self._set_interrupt,
        }

    # What programs ask.

    def _read_input(self, task: Task, request: tasks.ReadInput) -> Answer:
        if task.digits:
            return self._take_digit(task)
        if task.events:
            return self._take_event(task)
        if request.seconds <= 0:
            return None
        self._node.suspend(task, WaitKind.INPUT, seconds=min(request.seconds, MAX_WAIT_S))
        return PENDING

    def _read_digit(self, task: Task, request: realtime.ReadDTMF) -> Answer:
        if task.digits:
            return self._take_digit(task)
        if task.events or request.seconds <= 0:
            return None
        self._node.suspend(task, WaitKind.DIGIT, seconds=min(request.seconds, MAX_WAIT_S))
        return PENDING

    def _wait_digit(self, task: Task, request: realtime.WaitDTMF) -> Answer:
        if task.digits:
            return yes(True)
        if task.events or request.seconds <= 0:
            return None
        self._node.suspend(task, WaitKind.DIGIT_THERE, seconds=min(request.seconds, MAX_WAIT_S))
        return PENDING

    def _clear(self, task: Task, _: realtime.ClearDTMF) -> Answer:
        task.digits.clear()
        return None

    def _set_interrupt(self, task: Task, request: realtime.SetInterruptOnDTMF) -> Answer:
        before = yes(task.interruptible)
        task.interruptible = request.flag is not None
        return before

    def _take_digit(self, task: Task) -> bytes:
        symbol = string_of(task.digits.popleft())
        self._node.observer.input_read(task, "digit", symbol)
        return symbol

    def _take_event(self, task: Task) -> Dictionary:
        event = task.events.popleft()
        self._node.observer.input_read(task, "event", event)
        return event

    def _send_event(self, task: Task, request: tasks.SendEvent) -> Answer:
        target = request.task
        receiver = self._node.tasks.get(target.task_id) if isinstance(target, TaskHandle) else None
        error = self.send(task, receiver, request.name, request.parameter)
        return None if error is None else string_of(error)

    def send(
        self, sender: Task | None, receiver: Task | None, name: Value, parameter: Value
    ) -> str | None:
        """An event of a task or of an administrator. Returns an error, or None."""
        if receiver is None:
            return "there is no such task"
        if not isinstance(name, bytes) or not name[:1].isalpha() or not name[:1].isascii():
            return "the name of an event begins with a letter"
        if name in SYSTEM_NAMES:
            return "the name belongs to an event of the system"
        if len(receiver.events) >= MAX_EVENTS:
            return "the task has too many events waiting"
        if isinstance(parameter, Handle):
            return "a handle cannot be sent"
        if isinstance(parameter, bytes | list | Dictionary | Xml):
            if measure([parameter], MAX_EVENT_BYTES) > MAX_EVENT_BYTES:
                return f"the parameter is larger than {MAX_EVENT_BYTES} bytes"
        handle = sender.handle if sender is not None else None
        self.deliver(receiver, make_event(name, handle, self._node.copied(parameter)))
        return None

    # What happens outside.

    def digit(self, task: Task, symbol: str) -> None:
        """A key was pressed: it is read, or it waits and interrupts."""
        if symbol not in DIGITS or len(task.digits) >= MAX_DIGITS:
            return
        task.digits.append(symbol)
        if task.waits_for(WaitKind.INPUT) or task.waits_for(WaitKind.DIGIT):
            self._node.answer(task, self._take_digit(task))
        elif task.waits_for(WaitKind.DIGIT_THERE):
            self._node.answer(task, yes(True))
        elif task.interruptible or not task.waits_for(WaitKind.PLAY):
            self._node.media.interrupt(task)

    def deliver(self, task: Task, event: Dictionary) -> None:
        """An event for a task; those of the system are never refused."""
        task.events.append(event)
        if task.waits_for(WaitKind.INPUT):
            self._node.answer(task, self._take_event(task))
        elif task.waits_for(WaitKind.DIGIT) or task.waits_for(WaitKind.DIGIT_THERE):
            self._node.answer(task, None)
        else:
            self._node.media.interrupt(task)
