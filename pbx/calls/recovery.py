"""What a node that died left behind: calls without an end (pure; no I/O).

A call whose node was killed has no ``call.ended``. When the node starts again its dialogs and
ports are gone, so the call really died: it gets the end that its last sign of life allows. The
node writes ``node.alive`` every second while calls are up, which bounds the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pbx.calls.cause import Q850_TEMPORARY_FAILURE, EndCause, EndedBy
from pbx.domain.calls import (
    CallAnswered,
    CallEnded,
    CallStarted,
    LegAnswered,
    LegCreated,
    LegEnded,
)
from pbx.eventlog import Record
from pbx.kernel.events import Event

_NS_PER_MS: Final = 1_000_000
_REASON: Final = "the server died"


def last_alive_ns(tail: Iterable[Record], node: str) -> int:
    """Wall time at which `node` is last known to have run, from the end of the log."""
    return max((record.time_ns for record in tail if record.node == node), default=0)


def closing_events(records: Sequence[Record], died_ns: int) -> list[Event]:
    """The events that end the call of these records (its whole stream), none if it has ended.

    `died_ns` is the node's last sign of life; the call cannot have ended before its own last
    event.
    """
    open_legs: dict[str, int] = {}
    started_ns = answered_ns = 0
    elapsed_ms = 0
    for record in records:
        event = record.event
        elapsed_ms = max(elapsed_ms, getattr(event, "elapsed_ms", 0))
        match event:
            case CallStarted():
                started_ns = record.time_ns
                open_legs[event.leg_id] = 0
            case LegCreated():
                open_legs[event.leg_id] = 0
            # As call records have it: by the call's own clock. The log's time is that of writing.
            case LegAnswered():
                open_legs[event.leg_id] = started_ns + event.elapsed_ms * _NS_PER_MS
            case LegEnded():
                open_legs.pop(event.leg_id, None)
            case CallAnswered():
                answered_ns = started_ns + event.elapsed_ms * _NS_PER_MS
            case CallEnded():
                return []
            case _:
                pass
    if not records:
        return []
    # Call records place events by their rounded milliseconds: none may lie after the end.
    ended_ns = max(died_ns, records[-1].time_ns, started_ns + elapsed_ms * _NS_PER_MS)
    elapsed_ms = _ms(ended_ns - started_ns)
    events: list[Event] = [
        LegEnded(
            leg_id=leg_id,
            status=200 if leg_answered_ns else 487,
            cause=EndCause.ERROR.value,
            q850=Q850_TEMPORARY_FAILURE,
            ended_by=EndedBy.SERVER.value,
            reason=_REASON,
            elapsed_ms=elapsed_ms,
            talk_ms=_ms(ended_ns - leg_answered_ns) if leg_answered_ns else 0,
        )
        for leg_id, leg_answered_ns in open_legs.items()
    ]
    events.append(
        CallEnded(
            status=200 if answered_ns else 487,
            cause=EndCause.ERROR.value,
            q850=Q850_TEMPORARY_FAILURE,
            ended_by=EndedBy.SERVER.value,
            reason=_REASON,
            elapsed_ms=elapsed_ms,
            talk_ms=_ms(ended_ns - answered_ns) if answered_ns else 0,
            recovered=True,
            ended_ns=ended_ns,
        )
    )
    return events


def _ms(span_ns: int) -> int:
    return max(0, (span_ns + _NS_PER_MS // 2) // _NS_PER_MS)


TYPES: Final = ("call.started.v1", "call.ended.v1")
"""What :func:`open_calls` looks at."""


def open_calls(records: Iterable[Record], node: str, known: Iterable[str] = ()) -> list[str]:
    """Streams of calls of `node` that are open after `records`, if those `known` were before."""
    streams = dict.fromkeys(known)
    started, ended = TYPES
    for record in records:
        if record.type == started and record.node == node:
            streams[record.stream] = None
        elif record.type == ended:
            streams.pop(record.stream, None)
    return list(streams)
