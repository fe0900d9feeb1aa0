"""Bridges, mixers and transfers between tasks (CG/PL reference §11.4 – §11.6).

One task offers its peer (``StartBridge``, ``StartTransfer``) and waits; the other takes it into a
bridge, a bridged call or its mixer, or refuses. What the other does is its own affair: a failed
bridged call answers nothing, the offer stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pbx.script.events import SystemEvent, make_event, sender_of
from pbx.script.requests import realtime
from pbx.script.requests.base import HostRequest
from pbx.script.runtime.ports import PENDING, Answer
from pbx.script.runtime.task import Mode, Task, WaitKind
from pbx.script.values import TaskHandle, Value, string_of, yes

if TYPE_CHECKING:
    from pbx.script.runtime.node import TaskNode

NO_PEER: Final = b"500-the task has no call"
NO_TASK: Final = b"481-there is no such task"
NO_OFFER: Final = b"481-the other task does not offer its call any more"
OTHER_ENDED: Final = b"500-the other task has ended"
REFUSED: Final = b"603-Declined"
MAX_LEGS: Final = 200
"""Peers in one mixer."""


class Bridging:
    """Part of the node; see the module."""

    def __init__(self, node: TaskNode) -> None:
        self._node = node

    def handlers(self) -> dict[type[HostRequest], Callable[[Task, Any], Answer]]:
        """What this part answers."""
        return {
            realtime.StartBridge: lambda task, asked: self._offer(
                task, asked.task, WaitKind.BRIDGE, SystemEvent.START_BRIDGE
            ),
            realtime.AcceptBridge: self._accept,
            realtime.RejectBridge: lambda task, asked: self._refuse(
                task, asked.event, asked.error, WaitKind.BRIDGE
            ),
            realtime.StartBridgedCall: self._start_bridged_call,
            realtime.StartMixedCall: self._start_bridged_call,
            realtime.BreakBridge: self._break,
            realtime.IsBridged: lambda task, _: yes(task.bridged_with is not None),
            realtime.AttachMixer: self._attach,
            realtime.DetachMixer: self._detach,
            realtime.MixerAttached: self._attached_tasks,
            realtime.MuteMixer: self._mute,
            realtime.TransferCall: self._transfer,
            realtime.StartTransfer: lambda task, asked: self._offer(
                task, asked.task, WaitKind.TRANSFER, SystemEvent.START_TRANSFER
            ),
            realtime.AcceptTransfer: self._accept_transfer,
            realtime.RejectTransfer: lambda task, asked: self._refuse(
                task, asked.event, asked.error, WaitKind.TRANSFER
            ),
        }

    # Offers.

    def _offer(self, task: Task, target: Value, kind: WaitKind, event: SystemEvent) -> Answer:
        if task.mode is Mode.DISCONNECTED or (
            kind is WaitKind.TRANSFER and task.mode is not Mode.CONNECTED
        ):
            return NO_PEER
        if task.bridged_with is not None or task.legs or task.mixer_of is not None:
            return b"500-the call is bridged already"
        other = self._node.tasks.get(target.task_id) if isinstance(target, TaskHandle) else None
        if other is None or other is task:
            return NO_TASK
        self._node.suspend(task, kind)
        assert task.wait is not None
        task.wait.other = other.task_id
        self._node.reading.deliver(other, make_event(event, task.handle))
        return PENDING

    def _offering(self, task: Task, event: Value, kind: WaitKind) -> Task | None:
        """The task that sent `event` and still waits for this one's answer."""
        sender = sender_of(event)
        other = self._node.tasks.get(sender.task_id) if sender is not None else None
        if other is None or not other.waits_for(kind, task.task_id):
            return None
        return other

    def _refuse(self, task: Task, event: Value, error: Value, kind: WaitKind) -> Answer:
        other = self._offering(task, event, kind)
        if other is not None:
            if task.ingress == other.task_id:
                self._node.signalling.drop_outgoing(task)
            # A value that is no string would look like success.
            self._node.answer(other, error if isinstance(error, bytes) else REFUSED)
        return None

    def offer_withdrawn(self, task: Task) -> None:
        """The peer of a task that offers it is gone."""
        wait = task.wait
        other = self._node.tasks.get(wait.other or "") if wait is not None else None
        if other is not None:
            if other.ingress == task.task_id:
                self._node.signalling.drop_outgoing(other)
            event = make_event(SystemEvent.BREAK_BRIDGE, task.handle)
            self._node.reading.deliver(other, event)

    # Bridges.

    def _accept(self, task: Task, request: realtime.AcceptBridge) -> Answer:
        other = self._offering(task, request.event, WaitKind.BRIDGE)
        if other is None:
            return NO_OFFER
        if task.mode is Mode.DISCONNECTED:
            return NO_PEER
        if task.bridged_with is not None or task.legs:
            return b"500-the call is bridged already"
        self._node.suspend(task, WaitKind.PORT)
        self._node.calls.join(task, other)
        return PENDING

    def joined(self, task: Task, other: Task, error: str | None) -> None:
        """Two peers were joined, by a bridge or by a bridged call."""
        if error is None and Mode.DISCONNECTED in (task.mode, other.mode):
            error = "487-Request Terminated"  # a peer went while they were being joined
        answer = None if error is None else string_of(error)
        if error is None:
            for one, partner in ((task, other), (other, task)):
                one.mode = Mode.CONNECTED
                one.bridged_with = partner.task_id
        if other.waits_for(WaitKind.BRIDGE, task.task_id):
            self._node.answer(other, answer)
        if task.waits_for(WaitKind.PORT):
            self._node.answer(task, answer)

    def _start_bridged_call(
        self, task: Task, request: realtime.StartBridgedCall | realtime.StartMixedCall
    ) -> Answer:
        other = self._offering(task, request.event, WaitKind.BRIDGE)
        if other is None:
            return NO_OFFER
        return self._node.signalling.begin(task, request.destination, other)

    def _break(self, task: Task, _: realtime.BreakBridge) -> Answer:
        if task.bridged_with is None:
            return b"500-the call is not bridged"
        self._let_go(task)
        self._node.suspend(task, WaitKind.PORT)
        self._node.calls.part(task)
        return PENDING

    def parted(self, task: Task, error: str | None) -> None:
        """A peer's media came back."""
        if error is None:
            task.media_channel = True
        if task.waits_for(WaitKind.PORT):
            self._node.answer(task, None if error is None else string_of(error))

    def _let_go(self, task: Task) -> None:
        """The other side of a bridge is told, and its peer's media go where it wants them."""
        other = self._node.tasks.get(task.bridged_with or "")
        task.bridged_with = None
        if other is None or other.bridged_with != task.task_id:
            return
        other.bridged_with = None
        option = other.signal_options.get(b"bridgeBreak")
        keep = option == b"keep" or (option != b"disconnect" and other.media_channel)
        if other.mode is Mode.CONNECTED:
            if keep:
                self._node.calls.part(other)
            else:
                other.mode = Mode.DISCONNECTED
                self._node.calls.hang_up(other, None)
        event = make_event(SystemEvent.BREAK_BRIDGE, task.handle)
        self._node.reading.deliver(other, event)

    def peer_lost(self, task: Task) -> None:
        """The task's peer is gone or is about to be: bridges and mixers end."""
        if task.wait is not None and task.wait.kind in (WaitKind.BRIDGE, WaitKind.TRANSFER):
            self.offer_withdrawn(task)
            self._node.answer(task, b"487-Request Terminated")
        if task.bridged_with is not None:
            self._let_go(task)
        for leg in list(task.legs):
            self._release(task, leg)
        self._leave_mixer(task)

    # Mixers.

    def _attach(self, task: Task, request: realtime.AttachMixer) -> Answer:
        leg = self._offering(task, request.event, WaitKind.BRIDGE)
        if leg is None:
            return NO_OFFER
        if task.bridged_with is not None or task.mixer_of is not None:
            return b"500-the call is bridged already"
        if len(task.legs) >= MAX_LEGS:
            return b"486-the mixer is full"
        self._node.suspend(task, WaitKind.PORT)
        self._node.calls.attach(task, leg)
        return PENDING

    def attached(self, task: Task, leg: Task, error: str | None) -> None:
        """A peer is in the mixer, or could not be taken."""
        answer = None if error is None else string_of(error)
        if error is None:
            task.media_channel = True
            task.legs.append(leg.task_id)
            leg.mixer_of = task.task_id
            leg.mode = Mode.CONNECTED
        if leg.waits_for(WaitKind.BRIDGE, task.task_id):
            self._node.answer(leg, answer)
        if task.waits_for(WaitKind.PORT):
            self._node.answer(task, answer)

    def _detach(self, task: Task, request: realtime.DetachMixer) -> Answer:
        wanted = request.task
        legs = [one for one in task.legs if wanted is None or one == wanted.task_id]
        if not legs:
            return b"481-there is no such leg"
        for leg in legs:
            self._release(task, leg)
        return None

    def _release(self, task: Task, leg_id: str) -> None:
        task.legs.remove(leg_id)
        leg = self._node.tasks.get(leg_id)
        if leg is not None and leg.mixer_of == task.task_id:
            leg.mixer_of = None
            self._node.calls.detach(task, leg)
            event = make_event(SystemEvent.BREAK_BRIDGE, task.handle)
            self._node.reading.deliver(leg, event)

    def _leave_mixer(self, leg: Task) -> None:
        owner = self._node.tasks.get(leg.mixer_of or "")
        leg.mixer_of = None
        if owner is not None and leg.task_id in owner.legs:
            owner.legs.remove(leg.task_id)
            self._node.calls.detach(owner, leg)
            event = make_event(SystemEvent.BREAK_BRIDGE, leg.handle)
            self._node.reading.deliver(owner, event)

    def _attached_tasks(self, task: Task, _: realtime.MixerAttached) -> Answer:
        if not task.legs:
            return None
        return [TaskHandle(leg) for leg in task.legs]

    def _mute(self, task: Task, request: realtime.MuteMixer) -> Answer:
        if request.task is None:
            self._node.calls.mute(task, None, request.flag)
        elif request.task.task_id in task.legs:
            self._node.calls.mute(task, self._node.tasks[request.task.task_id], request.flag)
        return None

    # Transfers.

    def _transfer(self, task: Task, request: realtime.TransferCall) -> Answer:
        if task.mode is not Mode.CONNECTED:
            return NO_PEER
        self._node.suspend(task, WaitKind.PORT)
        self._node.calls.transfer(task, request.destination)
        return PENDING

    def _accept_transfer(self, task: Task, request: realtime.AcceptTransfer) -> Answer:
        other = self._offering(task, request.event, WaitKind.TRANSFER)
        if other is None:
            return NO_OFFER
        if task.mode is not Mode.CONNECTED:
            return NO_PEER
        self._node.suspend(task, WaitKind.PORT)
        assert task.wait is not None
        task.wait.other = other.task_id
        self._node.calls.transfer_to(task, other)
        return PENDING

    def transferred(self, task: Task, error: str | None) -> None:
        """The outcome of a REFER."""
        if not task.waits_for(WaitKind.PORT):
            return
        assert task.wait is not None
        answer = None if error is None else string_of(error)
        other = self._node.tasks.get(task.wait.other or "")
        if other is not None and other.waits_for(WaitKind.TRANSFER, task.task_id):
            self._node.answer(other, answer)
        self._node.answer(task, answer)

    # The end of a task.

    def leave(self, task: Task) -> None:
        """Whoever waits for this task goes on; its bridges end."""
        for other in list(self._node.tasks.values()):
            if other.waits_for(WaitKind.BRIDGE, task.task_id) or other.waits_for(
                WaitKind.TRANSFER, task.task_id
            ):
                self._node.answer(other, OTHER_ENDED)
        if task.mode is Mode.DISCONNECTED:
            self.peer_lost(task)
