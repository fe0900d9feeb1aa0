"""Requests about tasks: spawning, events, Meetings, Queues, status (CG/PL reference §9.15, §8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pbx.script.requests.base import REAL_TIME_ONLY, HostRequest, maker, request
from pbx.script.values import TaskHandle, Value


@dataclass(frozen=True, slots=True)
class Spawn(HostRequest):
    """``spawn name(argument)``. Result: the child's task handle, or an error string."""

    entry: str
    argument: Value


SPAWN: Final = maker(Spawn, strict=False)[0]
"""What compiled programs call."""


@request("SendEvent")
class SendEvent(HostRequest):
    """An event for another task. Result: null, or an error string."""

    task: Value
    name: Value
    parameter: Value = None


@request("ReadInput", waits=True)
class ReadInput(HostRequest):
    """The next digit, else the next event, else null after so many seconds."""

    seconds: int


@request("CreateMeeting")
class CreateMeeting(HostRequest):
    """Result: null, or an error string when the key exists."""

    set: str | None
    key: str
    parameter: Value = None


@request("ActivateMeeting")
class ActivateMeeting(HostRequest):
    """This task becomes the active one. Result: null, or an error string if another is."""

    set: str | None
    key: str
    parameter: Value = None


@request("DeactivateMeeting")
class DeactivateMeeting(HostRequest):
    """Result: null or an error string."""

    set: str | None
    key: str
    parameter: Value = None


@request("RemoveMeeting")
class RemoveMeeting(HostRequest):
    """Result: null (also when there was none) or an error string."""

    set: str | None
    key: str


@request("ClearMeeting")
class ClearMeeting(HostRequest):
    """Forget a dead active task. Result: null or an error string."""

    set: str | None
    key: str


@request("FindMeeting")
class FindMeeting(HostRequest):
    """Result: null, or a dictionary with ``parameter`` and, when active, ``id``."""

    set: str | None
    key: str


@request("Enqueue")
class Enqueue(HostRequest):
    """Result: a dictionary with ``length`` and ``position``, or null."""

    queue: str | None
    parameter: Value = None
    priority: str | None = None


@request("CheckQueue")
class CheckQueue(HostRequest):
    """Result: a dictionary with ``length`` and, while this task waits in it, ``position``."""

    queue: str | None


@request("Dequeue", procedure=True)
class Dequeue(HostRequest):
    """Leave a queue."""

    queue: str | None


@request("ReadQueue")
class ReadQueue(HostRequest):
    """Result: a dictionary with ``id`` and ``parameter`` of the first, removed; null if empty."""

    queue: str | None


@request("SetApplicationStatus", procedure=True)
class SetApplicationStatus(HostRequest):
    """What ``READNODESTATUS`` shows of this task."""

    status: Value


@request("GetApplicationStatus")
class GetApplicationStatus(HostRequest):
    """Result: the status of another task, or null."""

    task: TaskHandle


@request("MyNamedTaskName", environments=REAL_TIME_ONLY)
class MyNamedTaskName(HostRequest):
    """Result: the name under which this task is known, or null."""
