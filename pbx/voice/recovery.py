"""What a node that died left behind: programs without an end (pure; no I/O).

A task lives in the memory of its node, so it ended when that was killed. When the node starts again
each gets the end that the last sign of life allows, with the reason ``interrupted``; the twin of
:mod:`pbx.calls.recovery`, which does it for calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pbx.domain import applications as a
from pbx.eventlog import Record

TYPES: Final = ("application.started.v1", "application.ended.v1")
"""What :func:`open_tasks` looks at."""

_NS_PER_MS: Final = 1_000_000


def open_tasks(records: Iterable[Record], node: str, known: Iterable[str] = ()) -> list[str]:
    """Streams of tasks of `node` that are open after `records`, if those `known` were before."""
    streams = dict.fromkeys(known)
    started, ended = TYPES
    for record in records:
        if record.type == started and record.node == node:
            streams[record.stream] = None
        elif record.type == ended:
            streams.pop(record.stream, None)
    return list(streams)


def closing_event(records: Sequence[Record], died_ns: int) -> a.ApplicationEnded | None:
    """The end of the task of these records (its whole stream); None if it has one.

    `died_ns` is the node's last sign of life; the task cannot have ended before its own last event.
    """
    if not records:
        return None
    elapsed_ms = choices = 0
    menu = ""
    for record in records:
        event = record.event
        elapsed_ms = max(elapsed_ms, getattr(event, "elapsed_ms", 0))
        match event:
            case a.ApplicationInput():
                choices += 1
                menu = event.menu or menu
            case a.ApplicationEnded():
                return None
            case _:
                pass
    lived_ns = max(died_ns, records[-1].time_ns) - records[0].time_ns
    return a.ApplicationEnded(
        reason=a.INTERRUPTED,
        ended_by="server",
        menu=menu,
        choices=choices,
        elapsed_ms=max(elapsed_ms, (lived_ns + _NS_PER_MS // 2) // _NS_PER_MS),
    )
