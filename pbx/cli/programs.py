"""Programs in the story of a call: their streams beside the call's, and their events in words.

The call names the tasks that were started for it, each task those it spawned
(:mod:`pbx.domain.applications`); ``pbx log --call`` and ``pbx explain`` show all of them together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from pbx.domain import applications as a
from pbx.eventlog import DecodeError

if TYPE_CHECKING:
    from pbx.eventlog import EventLog, Record
    from pbx.kernel.events import Event

MAX_STREAMS: Final = 1000
"""Tasks shown of one call; a program that spawns without end is not told to its end."""
_POINTERS: Final = ("application.attached.v1", "application.spawned.v1")
_CAUSES: Final = {
    a.CALL: "for the call",
    a.SPAWN: "spawned",
    a.COMMAND: "by a command",
}


class CallStreams:
    """The streams that belong to a call, found as their records are read."""

    def __init__(self, stream: str, *, alone: bool = False) -> None:
        """`alone`: nothing but this one stream."""
        self.names = {stream}
        self._alone = alone

    def takes(self, record: Record) -> bool:
        """Whether a record is part of the story; call it for each, in order."""
        if record.stream not in self.names:
            return False
        self._follow(record)
        return True

    def _follow(self, record: Record) -> str:
        if self._alone or record.type not in _POINTERS or len(self.names) >= MAX_STREAMS:
            return ""
        try:
            event = record.event
        except DecodeError:
            return ""
        if not isinstance(event, a.ApplicationAttached | a.ApplicationSpawned):
            return ""
        stream = a.application_stream(event.task_id)
        if stream in self.names:
            return ""
        self.names.add(stream)
        return stream

    def records(self, log: EventLog) -> Iterator[Record]:
        """All records of the call and of its programs there are now, in order of time."""
        found: list[list[Record]] = []
        waiting = list(self.names)
        while waiting:
            records = list(log.read_stream(waiting.pop(0)))
            found.append(records)
            waiting += [stream for record in records if (stream := self._follow(record))]
        return heapq.merge(*found, key=attrgetter("time_ns"))


def is_of_program(record: Record) -> bool:
    """Whether its ``elapsed_ms`` counts from the start of a task, not of the call."""
    return record.stream.startswith("application/")


def told(event: Event, record: Record, names: dict[str, str]) -> tuple[str, str]:
    """The program and what happened in it; empty words for what is told already. `names` are
    programs by task, filled as they begin."""
    if isinstance(event, a.ApplicationAttached | a.ApplicationStarted):
        name = names.setdefault(event.task_id, _new_name(event.program, names))
        return name, _in_words(event)
    return names.get(record.stream.partition("/")[2], "application"), _in_words(event)


def _new_name(program: str, names: dict[str, str]) -> str:
    """``pbx`` for the first task that runs it, ``pbx-2`` for the next."""
    number = 1 + sum(name.partition("-")[0] == program for name in names.values())
    return program if number == 1 else f"{program}-{number}"


def _in_words(event: Event) -> str:
    match event:
        case a.ApplicationAttached():
            return f"starts for {event.account or 'nobody'} ({event.task_id})"
        case a.ApplicationStarted():
            if event.cause == a.CALL:
                return ""
            return f"starts {_CAUSES.get(event.cause, '')} ({event.task_id})".replace("  ", " ")
        case a.ApplicationSpawned():
            return f"spawns {event.task_id}"
        case a.ApplicationAnswered():
            return "has its caller on the line"
        case a.ApplicationInput():
            at = f" at {event.menu}" if event.menu else ""
            many = "s" if event.digits > 1 else ""
            pressed = event.choice or f"{event.digits} digit{many}, not told"
            return f"the caller presses {pressed}{at}{_place(event.source)}"
        case a.ApplicationActed():
            target = f" {event.target}" if event.target else ""
            return f"{event.action}{target}{_place(event.source)}"
        case a.ApplicationFailed():
            where = f" in {event.section}" if event.section else ""
            place = f"{event.file}:{event.line}:{event.column}" if event.file else "no place"
            return f"FAILS: {event.message} ({place}{where})"
        case a.ApplicationEnded():
            last = f", last heard {event.menu}" if event.menu else ""
            return f"ends ({event.reason}, by the {event.ended_by or 'program'}{last})"
        case _:
            return ""


def _place(source: str) -> str:
    return f" ({source})" if source else ""


EVENTS: Final[tuple[type[Event], ...]] = (
    a.ApplicationAttached,
    a.ApplicationStarted,
    a.ApplicationSpawned,
    a.ApplicationAnswered,
    a.ApplicationInput,
    a.ApplicationActed,
    a.ApplicationFailed,
    a.ApplicationEnded,
)
