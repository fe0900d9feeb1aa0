"""A task's own call: answering, refusing, starting, hanging up (CG/PL reference §11.1, §11.2).

The mode of a task changes here and in :mod:`pbx.script.runtime.bridging` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pbx.script.events import SystemEvent, make_event
from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import Mode, Task, WaitKind
from pbx.script.values import YES, Dictionary, Value, string_of, text_of, yes

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

_STATUS: Final = re.compile(r"([0-9]{3})(?:-(.*))?\Z", re.DOTALL)
NOT_PENDING: Final = b"500-no call is waiting for an answer"
NOT_IDLE: Final = b"500-the task has a call already"
FINISHED_CODE: Final = 500
FINISHED_TEXT: Final = "application finished"
MAX_TARGETS: Final = 100
"""Targets of one redirect or fork."""
SIGNAL_OPTIONS: Final[dict[str, Value]] = {
    "refer": b"self",
    "transferReport": b"NO",
    "bridgeBreak": b"default",
    "bridgedProvisionRelay": YES,
    "bridgedProvisionToTags": b"NO",
    "bridgedProvisionQueue": 10,
    "callInfo": None,
}
"""Signalling options and their defaults."""


def parse_status(code: Value) -> tuple[int, str]:
    """What ``RejectCall`` means by a number or string: status and text (Decisions of §11.1)."""
    if code is None:
        return 603, "Declined"
    if isinstance(code, int):
        return (code, "") if 400 <= code <= 699 else (500, "")
    if isinstance(code, bytes):
        text = text_of(code)
        match = _STATUS.match(text)
        if match is not None and 400 <= int(match.group(1)) <= 699:
            return int(match.group(1)), (match.group(2) or "").strip()
        return 500, text
    return 500, ""


def error_text(error: str) -> bytes:
    """An error of signalling as a program sees it."""
    return string_of(error)


class Signalling:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            realtime.AcceptCall: self._accept,
            realtime.ProvisionCall: self._provision,
            realtime.ProvisionCallEx: self._provision_ex,
            realtime.RejectCall: self._reject,
            realtime.RedirectCall: self._redirect,
            realtime.ForkCall: self._fork,
            realtime.StartCall: self._start_call,
            realtime.SetCallParameters: self._set_parameters,
            realtime.CancelCall: self._cancel,
            realtime.Disconnect: self._disconnect,
            realtime.IsConnected: lambda task, _: yes(task.mode is Mode.CONNECTED),
            realtime.IsHalfConnected: lambda task, _: yes(
                task.mode in (Mode.CONNECTED, Mode.PROVISIONED)
            ),
            realtime.SignalOption: lambda task, asked: self._option(task, asked.name, asked.value),
            realtime.SetReferMode: lambda task, asked: self._old_option(task, "refer", asked.mode),
            realtime.SetBridgeBreakMode: lambda task, asked: self._old_option(
                task, "bridgeBreak", asked.mode
            ),
            realtime.SetTransferReportMode: lambda task, asked: self._option(
                task, "transferReport", asked.mode
            ),
            realtime.SetBridgedProvision: lambda task, asked: self._option(
                task, "bridgedProvisionRelay", asked.mode
            ),
            realtime.SetForeignCredentials: self._credentials,
        }

    # Incoming.

    def _accept(self, task: Task, _: realtime.AcceptCall) -> Answer:
        if not task.mode.pending:
            return NOT_PENDING
        self._node.suspend(task, WaitKind.ANSWER)
        self._node.calls.accept(task)
        return PENDING

    def accepted(self, task: Task, error: str | None) -> None:
        """Outcome of answering; nothing when the caller gave up meanwhile."""
        if not task.waits_for(WaitKind.ANSWER):
            return
        if error is None:
            task.mode = Mode.CONNECTED
            task.media_channel = True
            self._node.answer(task, None)
        else:
            task.mode = Mode.DISCONNECTED
            self._node.answer(task, error_text(error))

    def _provision(self, task: Task, request: realtime.ProvisionCall) -> Answer:
        if isinstance(request.media, Dictionary):
            return self._provision_with(task, request.media)
        parameters = Dictionary()
        parameters.set(b"media", request.media)
        parameters.set(b"reliably", request.reliably)
        return self._provision_with(task, parameters)

    def _provision_ex(self, task: Task, request: realtime.ProvisionCallEx) -> Answer:
        parameters = request.parameters
        return self._provision_with(
            task, parameters if isinstance(parameters, Dictionary) else Dictionary()
        )

    def _provision_with(self, task: Task, parameters: Dictionary) -> Answer:
        if not task.mode.pending:
            return NOT_PENDING
        code = parameters.get(b"responseCode")
        if code is not None and not (isinstance(code, int) and 101 <= code <= 199):
            return b"500-a provisional code is 101 to 199"
        self._node.suspend(task, WaitKind.ANSWER)
        self._node.calls.provision(task, parameters)
        return PENDING

    def provisioned(self, task: Task, error: str | None, *, media: bool) -> None:
        """Outcome of a provisional response; nothing when the caller gave up meanwhile."""
        if not task.waits_for(WaitKind.ANSWER):
            return
        if error is None and media and task.mode is Mode.INCOMING:
            task.mode = Mode.PROVISIONED
            task.media_channel = True
        self._node.answer(task, None if error is None else error_text(error))

    def _reject(self, task: Task, request: realtime.RejectCall) -> Answer:
        if not task.mode.pending:
            return None
        code = request.code
        reason: tuple[int, str] | None = None
        if isinstance(code, Dictionary):
            status, text = parse_status(code.get(b"responseCode"))
            words = code.get(b"responseText")
            text = text_of(words) if isinstance(words, bytes) else text
            reason = self._reason(code.get(b"reasonCode"), code.get(b"reasonText"))
        else:
            status, text = parse_status(code)
        task.mode = Mode.DISCONNECTED
        self._node.calls.reject(task, status, text, reason)
        return None

    def _reason(self, code: Value, text: Value) -> tuple[int, str] | None:
        if not isinstance(code, int):
            return None
        return code, text_of(text) if isinstance(text, bytes) else ""

    def _targets(self, value: Value) -> list[str]:
        values = value if isinstance(value, list) else [value]
        return [text_of(one) for one in values[:MAX_TARGETS] if isinstance(one, bytes) and one]

    def _redirect(self, task: Task, request: realtime.RedirectCall) -> Answer:
        targets = self._targets(request.targets)
        if task.mode.pending and targets:
            task.mode = Mode.DISCONNECTED
            self._node.calls.redirect(task, targets)
        return None

    def _fork(self, task: Task, request: realtime.ForkCall) -> Answer:
        targets = self._targets(request.targets)
        if task.mode.pending and targets:
            self._node.calls.fork(task, targets)
        return None

    def peer_gone(self, task: Task, reason: str | None) -> None:
        """The peer hung up or gave up."""
        if task.mode is Mode.DISCONNECTED:
            return
        was_pending = task.mode.pending
        task.mode = Mode.DISCONNECTED
        if was_pending and task.wait is not None and self._gave_up(task):
            return
        self._node.bridging.peer_lost(task)
        text = None if reason is None else string_of(reason)
        event = make_event(SystemEvent.DISCONNECT, None, text)
        self._node.reading.deliver(task, event)

    def _gave_up(self, task: Task) -> bool:
        """A pending call was cancelled while the task waited to have it answered."""
        assert task.wait is not None
        if task.wait.kind is WaitKind.BRIDGE:
            self._node.bridging.offer_withdrawn(task)
        elif task.wait.kind is not WaitKind.ANSWER:
            return False
        self._node.answer(task, b"487-Request Terminated")
        return True

    # Outgoing.

    def parameters(self, task: Task, destination: Value) -> Dictionary | None:
        """Stored parameters with those of a destination laid over them; None if it is none."""
        merged = Dictionary()
        for key, value in task.call_parameters.items():
            merged.set(key, value)
        if isinstance(destination, bytes) and destination:
            merged.set(b"", destination)
            return merged
        if isinstance(destination, Dictionary):
            for key, value in destination.items():
                merged.set(key, value)
            target = merged.get(b"")
            return merged if isinstance(target, bytes) and target else None
        return None

    def _start_call(self, task: Task, request: realtime.StartCall) -> Answer:
        return self.begin(task, request.destination, None)

    def begin(self, task: Task, destination: Value, media_of: Task | None) -> Answer:
        """Start a call, with the own media or with those of another task's peer."""
        if task.mode is not Mode.DISCONNECTED or task.calling:
            return NOT_IDLE
        parameters = self.parameters(task, destination)
        if parameters is None:
            return b"484-no destination"
        task.calling = True
        if media_of is not None:
            task.ingress = media_of.task_id
        elif parameters.get(b"NoInitSDP") is None:
            task.media_channel = True
        error = self._node.calls.start_call(task, parameters, media_of)
        if error is not None:
            task.calling = False
            task.ingress = None
            return error_text(error)
        return None

    def provisional(self, task: Task, code: int, text: str) -> None:
        """A provisional response came."""
        if not task.calling:
            return
        parameter = Dictionary()
        parameter.set(b"responseCode", code)
        parameter.set(b"responseText", string_of(text))
        ingress = self._node.tasks.get(task.ingress or "")
        if ingress is not None and task.signal_options.get(b"bridgedProvisionRelay") != b"NO":
            self._node.calls.relay_provisional(ingress, task, code, text)
        event = make_event(SystemEvent.CALL_PROVISION, None, parameter)
        self._node.reading.deliver(task, event)

    def completed(self, task: Task, error: str | None) -> None:
        """The final response came; of a bridged call also the joining of both peers."""
        if not task.calling:
            return
        task.calling = False
        ingress = self._node.tasks.get(task.ingress or "")
        task.ingress = None
        parameter = None if error is None else error_text(error)
        if error is None:
            task.mode = Mode.CONNECTED
            if ingress is not None:
                self._node.bridging.joined(task, ingress, None)
        event = make_event(SystemEvent.CALL_COMPLETED, None, parameter)
        self._node.reading.deliver(task, event)

    def _set_parameters(self, task: Task, request: realtime.SetCallParameters) -> Answer:
        parameters = request.parameters
        if isinstance(parameters, Dictionary):
            copied = self._node.copied(parameters)
            assert isinstance(copied, Dictionary)
            task.call_parameters = copied
        else:
            task.call_parameters = Dictionary()
        return None

    def _credentials(self, task: Task, request: realtime.SetForeignCredentials) -> Answer:
        task.call_parameters.set(b"authUsername", request.name)
        task.call_parameters.set(b"authPassword", request.password)
        return None

    def _cancel(self, task: Task, _: realtime.CancelCall) -> Answer:
        self.drop_outgoing(task)
        return None

    def drop_outgoing(self, task: Task) -> None:
        """Give up the pending outgoing call, if there is one."""
        if task.calling:
            task.calling = False
            task.ingress = None
            self._node.calls.cancel(task)

    def _disconnect(self, task: Task, request: realtime.Disconnect) -> Answer:
        self.drop_outgoing(task)
        self.hang_up(task, self._reason(request.reason_code, request.reason_text))
        return None

    def hang_up(self, task: Task, reason: tuple[int, str] | None = None) -> None:
        """End the task's call, whatever its state."""
        if task.mode.pending:
            task.mode = Mode.DISCONNECTED
            self._node.calls.reject(task, *parse_status(None), reason)
        elif task.mode is Mode.CONNECTED:
            self._node.bridging.peer_lost(task)
            task.mode = Mode.DISCONNECTED
            self._node.calls.hang_up(task, reason)

    def leave(self, task: Task) -> None:
        """The task has ended: its peer does not stay alone."""
        self.drop_outgoing(task)
        if task.mode.pending:
            task.mode = Mode.DISCONNECTED
            self._node.calls.reject(task, FINISHED_CODE, FINISHED_TEXT, None)
        else:
            self.hang_up(task)

    # Options.

    def _option(self, task: Task, name: str, value: Value) -> Answer:
        if name not in SIGNAL_OPTIONS:
            return None
        if name == "callInfo":
            return self._node.calls.perform(task, realtime.SignalOption(name, value))
        key = string_of(name)
        before = task.signal_options.get(key)
        if before is None:
            before = SIGNAL_OPTIONS[name]
        if value is not None:
            task.signal_options.set(key, value)
        return before

    def _old_option(self, task: Task, name: str, value: Value) -> Answer:
        self._option(task, name, value)
        return None
