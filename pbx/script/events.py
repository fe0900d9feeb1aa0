"""Events that ``ReadInput`` gives: names, tests, shape (CG/PL reference §10.4).

An event is a dictionary: ``what``, and when there is one ``sender`` and ``parameter``. System
events are marked by their name; a program's own event with such a name would be taken for one, so
``SendEvent`` refuses these names.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from pbx.script.builtins.registry import EVERYWHERE, Builtin, Environment, add
from pbx.script.values import Dictionary, TaskHandle, Value, yes


class SystemEvent(Enum):
    """Events that the platform delivers; the value is what the event's ``what`` says."""

    DISCONNECT = b"disconnect"
    """The peer hung up, or gave up its call. Parameter: null or the reason."""
    CALL_PROVISION = b"callProvision"
    """A provisional response. Parameter: ``{responseCode; responseText;}``."""
    CALL_COMPLETED = b"callCompleted"
    """The end of a call's set-up, one a started call. Parameter: absent, or the error."""
    START_BRIDGE = b"startBridge"
    """Another task offers its peer's media. It waits for an answer."""
    BREAK_BRIDGE = b"breakBridge"
    """The other side of the bridge or mixer has let go."""
    START_TRANSFER = b"startTransfer"
    """Another task offers its peer. It waits for an answer."""
    CALL_TRANSFERRED = b"callTransferred"
    """The peer was replaced (only with the option ``transferReport``)."""
    CALL_INFO = b"callInfo"
    """INFO. Parameter: ``Content-Type``, ``Content-Subtype`` and ``""`` with the body."""
    INSTANT_MESSAGE = b"instantMessage"
    """A text message to the task."""
    XMPP_IQ = b"xmppIQ"
    """An XMPP request to the task."""
    MAILBOX_NOTIFY = b"mailboxNotify"
    """A mailbox view changed. Parameter: what ``SubscribeEvents`` was given."""
    REGISTER_REPORT = b"registerReport"
    """The outcome of a registration."""


SYSTEM_NAMES: Final = frozenset(one.value for one in SystemEvent)
_TASKS_ONLY: Final = frozenset((Environment.REAL_TIME,))


def make_event(
    what: SystemEvent | bytes, sender: TaskHandle | None = None, parameter: Value = None
) -> Dictionary:
    """An event as a program sees it."""
    event = Dictionary()
    event.set(b"what", what.value if isinstance(what, SystemEvent) else what)
    event.set(b"sender", sender)
    event.set(b"parameter", parameter)
    return event


def event_is(value: Value, what: SystemEvent) -> bool:
    """Whether a value is an event of the platform of that kind."""
    return isinstance(value, Dictionary) and value.get(b"what") == what.value


def sender_of(event: Value) -> TaskHandle | None:
    """The task that an event came from."""
    sender = event.get(b"sender") if isinstance(event, Dictionary) else None
    return sender if isinstance(sender, TaskHandle) else None


def _test(name: str, what: SystemEvent) -> None:
    def test(value: Value) -> Value:
        return yes(event_is(value, what))

    function: Callable[[Value], Value] = test
    environments = EVERYWHERE if what is SystemEvent.MAILBOX_NOTIFY else _TASKS_ONLY
    add(Builtin(name, False, 1, 1, function, "pure", environments))


_test("IsDisconnectEvent", SystemEvent.DISCONNECT)
_test("IsCallProvisionEvent", SystemEvent.CALL_PROVISION)
_test("IsCallCompletedEvent", SystemEvent.CALL_COMPLETED)
_test("IsStartBridgeEvent", SystemEvent.START_BRIDGE)
_test("IsBreakBridgeEvent", SystemEvent.BREAK_BRIDGE)
_test("IsStartTransferEvent", SystemEvent.START_TRANSFER)
_test("IsCallTransferredEvent", SystemEvent.CALL_TRANSFERRED)
_test("IsCallInfoEvent", SystemEvent.CALL_INFO)
_test("IsInstantMessageEvent", SystemEvent.INSTANT_MESSAGE)
_test("IsXMPPIQEvent", SystemEvent.XMPP_IQ)
_test("IsMailboxNotifyEvent", SystemEvent.MAILBOX_NOTIFY)
_test("IsRegisterReportEvent", SystemEvent.REGISTER_REPORT)
