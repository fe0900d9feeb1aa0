"""Calls that died with their node get the end their last sign of life allows."""

from pbx.calls import recovery
from pbx.domain.calls import (
    CallAnswered,
    CallEnded,
    CallStarted,
    LegAnswered,
    LegCreated,
    LegEnded,
)
from pbx.domain.nodes import NodeAlive
from pbx.eventlog import ANY_VERSION, MemoryLog, Meta
from pbx.kernel.events import Event

S = 1_000_000_000


def log_of(*entries: tuple[int, str, Event]) -> MemoryLog:
    """A log of (seconds, stream, event)."""
    log = MemoryLog(node="n1")
    for seconds, stream, event in entries:
        log.append(stream, ANY_VERSION, [event], Meta(time_ns=seconds * S))
    return log


def started(leg: str = "a") -> CallStarted:
    """First event of a call."""
    return CallStarted(
        leg_id=leg,
        sip_call_id="x",
        from_uri="sip:a@x",
        to_uri="sip:b@x",
        request_uri="sip:b@x",
        source="192.0.2.1:5060",
        transport="udp",
    )


def leg_b() -> LegCreated:
    """A B leg."""
    return LegCreated(
        leg_id="b", parent_leg_id="a", role="B", sip_call_id="y", target_uri="sip:b@192.0.2.2"
    )


def test_an_answered_call_ends_when_its_node_was_last_seen() -> None:
    """Both legs and the call get an end; talk time up to the last heartbeat."""
    log = log_of(
        (10, "call/1", started()),
        (10, "call/1", leg_b()),
        # Written a second late, as on a busy machine: when it was counts.
        (13, "call/1", LegAnswered(leg_id="b", elapsed_ms=2000)),
        (13, "call/1", LegAnswered(leg_id="a", elapsed_ms=2000)),
        (13, "call/1", CallAnswered(leg_id="a", peer_leg_id="b", elapsed_ms=2000)),
        (20, "node/n1", NodeAlive(calls=1)),
    )
    assert recovery.open_calls(log.read(), "n1") == ["call/1"]
    died_ns = recovery.last_alive_ns(log.read(), "n1")
    events = recovery.closing_events(list(log.read_stream("call/1")), died_ns)
    assert [type(event) for event in events] == [LegEnded, LegEnded, CallEnded]
    end = events[-1]
    assert isinstance(end, CallEnded)
    assert (end.recovered, end.ended_ns, end.talk_ms, end.elapsed_ms) == (
        True,
        20 * S,
        8000,
        10_000,
    )


def test_a_ringing_call_ends_unanswered() -> None:
    """No talk time, status of a call that never was answered."""
    log = log_of((10, "call/1", started()), (10, "call/1", leg_b()))
    events = recovery.closing_events(list(log.read_stream("call/1")), 11 * S)
    end = events[-1]
    assert isinstance(end, CallEnded)
    assert (end.status, end.talk_ms, end.elapsed_ms) == (487, 0, 1000)


def test_ended_calls_and_other_nodes_are_left_alone() -> None:
    """A call with its end is not touched; nor is one of another node."""
    ended = CallEnded(status=200, cause="normal", q850=16, ended_by="caller")
    log = log_of((10, "call/1", started()), (11, "call/1", ended))
    assert recovery.open_calls(log.read(), "n1") == []
    assert recovery.closing_events(list(log.read_stream("call/1")), 99 * S) == []
    other = log_of((10, "call/2", started()))
    assert recovery.open_calls(other.read(), "n2") == []
    assert recovery.closing_events([], 5 * S) == []


def test_no_event_lies_after_the_end_when_times_are_rounded() -> None:
    """An answer at 12.0005 s after the start is 12,001 ms in the record: the end is not before."""
    log = log_of(
        (10, "call/1", started()),
        (12, "call/1", LegAnswered(leg_id="a", elapsed_ms=2001)),
        (12, "call/1", CallAnswered(leg_id="a", peer_leg_id="b", elapsed_ms=2001)),
    )
    end = recovery.closing_events(list(log.read_stream("call/1")), 12 * S)[-1]
    assert isinstance(end, CallEnded)
    assert end.ended_ns == 12 * S + 1_000_000
    assert end.elapsed_ms == 2001
