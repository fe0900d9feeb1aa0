"""A call folded from the events of its stream: what the call and CDR projections remember.

Fed with the records of one ``call/…`` stream in order; pure. All moments are wall nanoseconds made
of the start of the call and the monotonic ``elapsed_ms`` of the event, so that a step of the wall
clock during a call changes no duration (``call.started`` alone gives the wall time).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pbx.domain import calls as c
from pbx.eventlog import ERASED_TEXT, Record
from pbx.kernel.events import Event

_NS_PER_MS: Final = 1_000_000


class LegState:
    """One leg; see the table ``legs`` for the meaning of the fields."""

    __slots__ = (
        "account", "answer_ns", "application", "billing_id", "cause", "codec", "destination",
        "end_ns", "ended_by", "held", "jitter_ms", "leg_id", "measured", "mos", "moved_from",
        "moved_to", "ordinal", "packets_in", "packets_lost", "packets_out", "parent_leg_id",
        "peer_leg_id", "provision_ns", "q850", "reason", "redirector", "role", "sip_call_id",
        "start_ns", "status", "talk_ms", "target_uri",
    )  # fmt: skip

    def __init__(self, leg_id: str, ordinal: int, start_ns: int) -> None:
        self.leg_id = leg_id
        self.ordinal = ordinal
        self.start_ns = start_ns
        self.parent_leg_id = self.role = self.sip_call_id = self.target_uri = ""
        self.account = self.destination = self.redirector = self.peer_leg_id = ""
        self.moved_from = self.moved_to = self.application = self.billing_id = ""
        self.held = False
        self.provision_ns = self.answer_ns = self.end_ns = self.talk_ms = 0
        self.status = self.q850 = 0
        self.cause = self.ended_by = self.reason = self.codec = ""
        self.packets_in = self.packets_out = self.packets_lost = 0
        self.jitter_ms = self.mos = 0.0
        self.measured = 0
        """Packets behind `jitter_ms` and `mos`, for averages over several bridges."""

    @property
    def state(self) -> str:
        """``trying`` ``ringing`` ``answered`` ``held`` ``ended`` ``moved``."""
        if self.moved_to:
            return "moved"
        if self.end_ns:
            return "ended"
        if self.answer_ns:
            return "held" if self.held else "answered"
        return "ringing" if self.provision_ns else "trying"


class CallState:
    """One call and its legs in order of appearance."""

    __slots__ = (
        "account", "answer_leg_id", "answer_ns", "asserted_identity", "call_id", "cause",
        "end_ns", "end_position", "ended_by", "from_display", "from_uri", "legs", "node",
        "proxied", "q850", "reason", "recovered", "request_uri", "source", "start_ns", "status",
        "talk_ms", "tenant", "to_uri", "transport", "user_agent",
    )  # fmt: skip

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.tenant = self.node = self.from_uri = self.from_display = self.to_uri = ""
        self.request_uri = self.asserted_identity = self.account = self.source = ""
        self.transport = self.user_agent = self.answer_leg_id = ""
        self.start_ns = self.answer_ns = self.end_ns = self.end_position = self.talk_ms = 0
        self.status = self.q850 = 0
        self.cause = self.ended_by = self.reason = ""
        self.recovered = self.proxied = False
        self.legs: dict[str, LegState] = {}

    @property
    def state(self) -> str:
        """``trying`` ``ringing`` ``answered`` ``ended``."""
        if self.end_ns:
            return "ended"
        if self.answer_ns:
            return "answered"
        ringing = any(leg.provision_ns for leg in self.legs.values())
        return "ringing" if ringing else "trying"

    @property
    def provision_ns(self) -> int:
        """When the caller first heard ringing or early media; 0 if never."""
        return min((leg.provision_ns for leg in self.legs.values() if leg.provision_ns), default=0)

    @property
    def answered_by(self) -> str:
        """Target of the leg that took the call; empty if none did."""
        leg = self.legs.get(self.answer_leg_id)
        return leg.target_uri if leg is not None else ""

    def apply(self, record: Record, event: Event) -> None:
        """Fold the next event of the stream in. Types without influence are passed over."""
        step = _STEPS.get(type(event))
        if step is not None:
            step(self, record, event)

    def leg(self, leg_id: str, start_ns: int) -> LegState:
        """The leg, made if it is new."""
        leg = self.legs.get(leg_id)
        if leg is None:
            leg = self.legs[leg_id] = LegState(leg_id, len(self.legs), start_ns)
        return leg

    def at(self, elapsed_ms: int) -> int:
        """Wall time of a moment of this call."""
        return self.start_ns + elapsed_ms * _NS_PER_MS


def _started(call: CallState, record: Record, event: c.CallStarted) -> None:
    call.start_ns = record.time_ns
    call.tenant = record.tenant
    call.node = record.node
    call.from_uri = event.from_uri
    call.from_display = event.from_display
    call.to_uri = event.to_uri
    call.request_uri = event.request_uri
    call.asserted_identity = event.asserted_identity
    call.account = event.account
    call.source = event.source
    call.transport = event.transport
    call.user_agent = event.user_agent
    leg = call.leg(event.leg_id, record.time_ns)
    leg.role = "A"
    leg.sip_call_id = event.sip_call_id
    leg.account = event.account
    leg.destination = f"{event.source}/{event.transport}"


def _leg_created(call: CallState, record: Record, event: c.LegCreated) -> None:
    leg = call.leg(event.leg_id, call.at(event.elapsed_ms))
    leg.parent_leg_id = event.parent_leg_id
    leg.role = event.role
    leg.sip_call_id = event.sip_call_id
    leg.target_uri = event.target_uri
    leg.account = event.account
    leg.destination = event.destination
    leg.redirector = event.redirector
    leg.application = event.application
    leg.billing_id = event.billing_id


def _leg_ringing(call: CallState, record: Record, event: c.LegRinging) -> None:
    moment = call.at(event.elapsed_ms)
    leg = call.leg(event.leg_id, moment)
    leg.provision_ns = leg.provision_ns or moment


def _leg_answered(call: CallState, record: Record, event: c.LegAnswered) -> None:
    moment = call.at(event.elapsed_ms)
    call.leg(event.leg_id, moment).answer_ns = moment


def _leg_held(call: CallState, record: Record, event: c.LegHeld) -> None:
    call.leg(event.leg_id, call.at(event.elapsed_ms)).held = True


def _leg_resumed(call: CallState, record: Record, event: c.LegResumed) -> None:
    call.leg(event.leg_id, call.at(event.elapsed_ms)).held = False


def _leg_moved(call: CallState, record: Record, event: c.LegMoved) -> None:
    leg = call.leg(event.leg_id, call.at(event.elapsed_ms))
    if event.to_call == call.call_id:
        leg.moved_from = event.from_call
    else:
        leg.moved_to = event.to_call


def _leg_ended(call: CallState, record: Record, event: c.LegEnded) -> None:
    moment = call.at(event.elapsed_ms)
    leg = call.leg(event.leg_id, moment)
    leg.end_ns = max(moment, leg.start_ns, leg.answer_ns)
    leg.status = event.status
    leg.cause = event.cause
    leg.q850 = event.q850
    leg.ended_by = event.ended_by
    leg.reason = event.reason
    leg.talk_ms = event.talk_ms


def _joined(call: CallState, record: Record, event: c.CallAnswered | c.CallBridged) -> None:
    if not event.peer_leg_id:
        return
    moment = call.at(event.elapsed_ms)
    leg, peer = call.leg(event.leg_id, moment), call.leg(event.peer_leg_id, moment)
    leg.peer_leg_id = peer.leg_id
    peer.peer_leg_id = leg.leg_id


def _answered(call: CallState, record: Record, event: c.CallAnswered) -> None:
    _joined(call, record, event)
    if not call.answer_ns:
        call.answer_ns = call.at(event.elapsed_ms)
        call.answer_leg_id = event.peer_leg_id


def _allocated(call: CallState, record: Record, event: c.MediaAllocated) -> None:
    call.proxied = True


def _measured(call: CallState, record: Record, event: c.MediaStats) -> None:
    leg = call.legs.get(event.leg_id)
    if leg is None:
        # A leg of another call that was to join this one (an attended transfer that failed).
        return
    leg.codec = event.codec or leg.codec
    leg.packets_in += event.packets_in
    leg.packets_out += event.packets_out
    leg.packets_lost += event.packets_lost
    if event.mos > 0:
        # A leg may have sat in several bridges: weigh each by the packets it received there.
        weight = max(event.packets_in, 1)
        total = leg.measured + weight
        leg.jitter_ms = (leg.jitter_ms * leg.measured + event.jitter_ms * weight) / total
        leg.mos = (leg.mos * leg.measured + event.mos * weight) / total
        leg.measured = total


def _ended(call: CallState, record: Record, event: c.CallEnded) -> None:
    call.end_ns = event.ended_ns or max(call.at(event.elapsed_ms), call.start_ns, call.answer_ns)
    call.end_position = record.position
    call.status = event.status
    call.cause = event.cause
    call.q850 = event.q850
    call.ended_by = event.ended_by
    call.reason = event.reason
    call.talk_ms = event.talk_ms
    call.recovered = event.recovered
    if event.recovered and not event.talk_ms and call.answer_ns:
        call.talk_ms = _since(call.answer_ns, call.end_ns)
    for leg in call.legs.values():
        if not leg.end_ns:
            # Nobody wrote its end: it ended with the call.
            leg.end_ns = max(call.end_ns, leg.start_ns)
            leg.talk_ms = _since(leg.answer_ns, leg.end_ns) if leg.answer_ns else 0
            leg.status = 200 if leg.answer_ns else event.status
            leg.cause = event.cause
            leg.q850 = event.q850
            leg.ended_by = event.ended_by
            leg.reason = event.reason


def _since(start_ns: int, end_ns: int) -> int:
    return max(0, end_ns - start_ns) // _NS_PER_MS


def _erased(call: CallState, record: Record, event: c.CallErased) -> None:
    """What tells of the subject goes; who called whom else, when and how long stays.

    A text that reads as erased already was sealed with a key that is gone: whatever goes with it
    goes too, so that a rebuild gives what was made while the key was there.
    """

    def tells(text: str) -> bool:
        if text == ERASED_TEXT:
            return True
        named = c.named_account(text)
        return bool(named) and c.erased_subject(call.call_id, named) == event.subject

    if tells(call.from_uri) or tells(call.account) or tells(call.asserted_identity):
        _erase(call, _OF_CALLER)
        for leg in call.legs.values():
            if leg.role == "A":
                _erase(leg, _OF_PARTY)
    for name in ("to_uri", "request_uri"):
        if tells(getattr(call, name)):
            _erase(call, (name,))
    for leg in call.legs.values():
        if tells(leg.account) or tells(leg.target_uri):
            _erase(leg, _OF_PARTY)
        if tells(leg.redirector):
            _erase(leg, ("redirector",))


_OF_CALLER: Final = (
    "from_uri", "from_display", "asserted_identity", "account", "source", "user_agent",
)  # fmt: skip
_OF_PARTY: Final = ("account", "target_uri", "destination", "application", "billing_id")


def _erase(state: CallState | LegState, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(state, name):
            setattr(state, name, ERASED_TEXT)


_STEPS: Final[dict[type[Event], Callable[[CallState, Record, Any], None]]] = {
    c.CallStarted: _started,
    c.LegCreated: _leg_created,
    c.LegRinging: _leg_ringing,
    c.LegAnswered: _leg_answered,
    c.LegHeld: _leg_held,
    c.LegResumed: _leg_resumed,
    c.LegMoved: _leg_moved,
    c.LegEnded: _leg_ended,
    c.CallAnswered: _answered,
    c.CallBridged: _joined,
    c.MediaAllocated: _allocated,
    c.MediaStats: _measured,
    c.CallEnded: _ended,
    c.CallErased: _erased,
}
