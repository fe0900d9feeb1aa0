"""The fold of one call: what a stream may hold besides the plain story."""

from __future__ import annotations

from pbx.domain import calls as c
from pbx.eventlog import MemoryLog, Meta
from pbx.readmodel.call_state import CallState


def test_figures_of_a_leg_that_never_joined_make_no_leg() -> None:
    """A failed attended transfer releases a bridge that was prepared for a leg of another call."""
    log = MemoryLog()
    started = c.CallStarted(
        leg_id="x.1", sip_call_id="i", from_uri="a", to_uri="b", request_uri="b", source="s",
        transport="udp",
    )  # fmt: skip
    stats = [
        c.MediaStats(leg_id=leg, bridge="x.2", codec="PCMU", packets_in=3)
        for leg in ("x.1", "other.2")
    ]
    log.append("call/x", 0, [started, *stats], Meta())
    state = CallState("x")
    for record in log.read_stream("call/x"):
        state.apply(record, record.event)
    assert list(state.legs) == ["x.1"]
    assert state.legs["x.1"].packets_in == 3


def test_answered_with_nobody_yet() -> None:
    """The call of an INVITE that picks up another one: its leg goes on there."""
    log = MemoryLog()
    started = c.CallStarted(
        leg_id="x.1", sip_call_id="i", from_uri="a", to_uri="b", request_uri="b", source="s",
        transport="udp",
    )  # fmt: skip
    log.append("call/x", 0, [started, c.CallAnswered(leg_id="x.1", peer_leg_id="")], Meta())
    state = CallState("x")
    for record in log.read_stream("call/x"):
        state.apply(record, record.event)
    assert list(state.legs) == ["x.1"]
    assert state.state == "answered"
    assert state.answered_by == ""
