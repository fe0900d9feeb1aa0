"""The story of a call in plain words: what ``pbx log --call ID`` prints.

Fed with the records of one ``call/…`` stream in order. Each line has the time since the call
began, the leg with an arrow (``→`` the party told us, ``←`` we told the party), and what happened::

    +0.000   A →   sip:alice@example.org calls sip:bob@example.org …
    +0.121   B1 →  180 Ringing
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pbx.cli import programs
from pbx.cli.reading import show_duration, show_time
from pbx.domain import calls as c
from pbx.eventlog import DecodeError

if TYPE_CHECKING:
    from pbx.eventlog import Record
    from pbx.kernel.events import Event

Line = tuple[str, str]
"""Who (leg and arrow), what."""

_PHRASES: Final = {
    "normal": "hung up normally",
    "cancel": "the caller gave up",
    "busy": "busy",
    "noanswer": "nobody answered",
    "reject": "refused",
    "error": "failed",
    "mediatimeout": "no media arrived any more",
    "admin": "ended by an administrator",
    "limit": "a limit was reached",
}
_STATUS: Final = {180: "ringing", 181: "being forwarded", 182: "queued", 183: "session progress"}


class Story:
    """Tells one call, event by event."""

    def __init__(self) -> None:
        self._start_ns = 0
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._programs: dict[str, str] = {}
        """Names of programs by task."""

    def tell(self, record: Record) -> list[str]:
        """The lines of the next event."""
        try:
            event = record.event
        except DecodeError as error:
            return [f"          {error}"]
        lines = []
        if not self._start_ns:
            self._start_ns = record.time_ns
            lines = [f"call {record.stream.partition('/')[2]}, {show_time(record.time_ns)} UTC"]
        who, what = self._line(event, record)
        if not what:
            return lines
        return [*lines, f"{self._moment(event, record):>10}  {who:<5} {what}"]

    def _line(self, event: Event, record: Record) -> Line:
        if isinstance(event, programs.EVENTS):
            return self._program(event, record)
        teller = _TELLERS.get(type(event))
        return ("", record.type) if teller is None else teller(self, event)

    def _program(self, event: Event, record: Record) -> Line:
        name, words = programs.told(event, record, self._programs)
        return "", f"{name}: {words}" if words else ""

    def _moment(self, event: Event, record: Record) -> str:
        elapsed_ms: int | None = getattr(event, "elapsed_ms", None)
        if elapsed_ms is None or programs.is_of_program(record):
            elapsed_ms = (record.time_ns - self._start_ns) // 1_000_000
        return f"+{elapsed_ms / 1000:.3f}"

    def name(self, leg_id: str, role: str = "?") -> str:
        """Short name of a leg: A, B1, B2, X1 …"""
        if leg_id not in self._names:
            number = self._counts[role] = self._counts.get(role, 0) + 1
            self._names[leg_id] = role if role == "A" else f"{role}{number}"
        return self._names[leg_id]

    def from_party(self, leg_id: str) -> str:
        """The party of the leg did it."""
        return f"{self.name(leg_id)} →"

    def answer_of(self, leg_id: str) -> str:
        """An answer: to the caller from us, from any other party to us."""
        name = self.name(leg_id)
        return f"{name} ←" if name == "A" else f"{name} →"

    def to_party(self, leg_id: str) -> str:
        """We did it toward the party of the leg."""
        return f"{self.name(leg_id)} ←"


def _started(story: Story, event: c.CallStarted) -> Line:
    story.name(event.leg_id, "A")
    display = f'"{event.from_display}" ' if event.from_display else ""
    account = f"account {event.account}" if event.account else "no account"
    return story.from_party(event.leg_id), (
        f"{display}{event.from_uri} calls {event.request_uri}"
        f" from {event.source}/{event.transport} ({account}, Call-ID {event.sip_call_id})"
    )


def _decided(story: Story, event: c.CallDecided) -> Line:
    return "", f"{event.step}: {event.outcome} ({event.reason})"


def _routed(story: Story, event: c.CallRouted) -> Line:
    target = f" {event.target}" if event.target else ""
    if event.contacts:
        end = f"{event.contacts} contact{'s' if event.contacts > 1 else ''} to try"
    else:
        end = f"{event.status}, {event.reason}"
    steps = "".join(f"\n{'':18}{step}" for step in event.steps)
    return "", f"routing: {event.address} is {event.outcome}{target} ({end}){steps}"


def _rules(story: Story, event: c.RulesEvaluated) -> Line:
    whose = f" for {event.account}" if event.account else ""
    done = ", ".join(event.actions) or "nothing"
    applied = ", ".join(event.applied) or "none applied"
    why = "".join(f"\n                 {line}" for line in event.trace)
    return "", f"rules {event.stage}{whose}: {applied} → {done}{why}"


def _leg_created(story: Story, event: c.LegCreated) -> Line:
    story.name(event.leg_id, event.role)
    account = f" of {event.account}" if event.account else ""
    where = f" at {event.destination}" if event.destination else ""
    redirected = f", redirected by {event.redirector}" if event.redirector else ""
    return story.to_party(event.leg_id), (
        f"trying {event.target_uri}{account}{where}{redirected} (Call-ID {event.sip_call_id})"
    )


def _ringing(story: Story, event: c.LegRinging) -> Line:
    extras = [
        word
        for word, present in (("early media", event.early_media), ("reliably", event.reliable))
        if present
    ]
    added = f" ({', '.join(extras)})" if extras else ""
    word = _STATUS.get(event.status, "progress")
    return story.answer_of(event.leg_id), f"{event.status} {word}{added}"


def _leg_answered(story: Story, event: c.LegAnswered) -> Line:
    return story.answer_of(event.leg_id), "200 answered"


def _call_answered(story: Story, event: c.CallAnswered) -> Line:
    return "", f"{story.name(event.leg_id)} and {story.name(event.peer_leg_id)} talk"


def _bridged(story: Story, event: c.CallBridged) -> Line:
    pair = f"{story.name(event.leg_id)} and {story.name(event.peer_leg_id)}"
    return "", f"{pair} talk (media session {event.bridge})"


def _held(story: Story, event: c.LegHeld) -> Line:
    return story.from_party(event.leg_id), f"puts the other side on hold ({event.direction})"


def _resumed(story: Story, event: c.LegResumed) -> Line:
    return story.from_party(event.leg_id), "takes the call back from hold"


def _renegotiated(story: Story, event: c.LegRenegotiated) -> Line:
    verdict = "carried through" if event.status < 300 else f"refused with {event.status}"
    return story.from_party(event.leg_id), f"{event.method} {verdict}"


def _transferred(story: Story, event: c.CallTransferred) -> Line:
    verdict = "succeeded" if event.status < 300 else f"failed with {event.status}"
    other = f" (call {event.other_call.removeprefix('call/')})" if event.other_call else ""
    return story.from_party(event.leg_id), (
        f"{event.kind} transfer of {story.name(event.transferee_leg_id)} to"
        f" {event.target_uri}{other} {verdict}"
    )


def _moved(story: Story, event: c.LegMoved) -> Line:
    name = story.name(event.leg_id)
    return "", f"{name} moves from call {event.from_call} to call {event.to_call}"


def _digit(story: Story, event: c.LegDigit) -> Line:
    return story.from_party(event.leg_id), f"a digit by {event.carrier}"


def _allocated(story: Story, event: c.MediaAllocated) -> Line:
    engine = f" of {event.engine}" if event.engine else ""
    return "", f"media passes through the relay{engine} (session {event.bridge})"


def _stats(story: Story, event: c.MediaStats) -> Line:
    quality = f", jitter {event.jitter_ms:.1f} ms, MOS {event.mos:.2f}" if event.mos else ""
    dropped = f", {event.packets_dropped} dropped" if event.packets_dropped else ""
    return "", (
        f"media of {story.name(event.leg_id)}: {event.codec or 'codec unknown'},"
        f" {event.packets_in} packets in, {event.packets_out} out,"
        f" {event.packets_lost} lost{dropped}{quality}"
    )


def _media_timeout(story: Story, event: c.MediaTimedOut) -> Line:
    return "", f"no packet on any stream of media session {event.bridge}"


def _leg_ended(story: Story, event: c.LegEnded) -> Line:
    talked = f", talked {show_duration(event.talk_ms)}" if event.talk_ms else ""
    return _end_of(story, event), f"ends: {why(event)}{talked}"


def _end_of(story: Story, event: c.LegEnded) -> str:
    name = story.name(event.leg_id)
    party = "caller" if name == "A" else "callee"
    if event.ended_by == party:
        return story.from_party(event.leg_id)
    return story.to_party(event.leg_id)


def _ended(story: Story, event: c.CallEnded) -> Line:
    talked = f"talked {show_duration(event.talk_ms)}" if event.talk_ms else "nobody talked"
    end = f"the call is over, {talked}: {why(event)}"
    if event.recovered:
        end += f"; found open when the server started again, ended {show_time(event.ended_ns)} UTC"
    return "", end


def why(event: c.LegEnded | c.CallEnded) -> str:
    """How a leg or call ended, in words."""
    reason = f", {event.reason}" if event.reason else ""
    return (
        f"{_PHRASES.get(event.cause, event.cause)}{reason}"
        f" (status {event.status}, Q.850 {event.q850}, by {event.ended_by})"
    )


_TELLERS: Final[dict[type[Event], Callable[[Story, Any], Line]]] = {
    c.CallStarted: _started,
    c.CallDecided: _decided,
    c.CallRouted: _routed,
    c.RulesEvaluated: _rules,
    c.LegCreated: _leg_created,
    c.LegRinging: _ringing,
    c.LegAnswered: _leg_answered,
    c.CallAnswered: _call_answered,
    c.CallBridged: _bridged,
    c.LegHeld: _held,
    c.LegResumed: _resumed,
    c.LegRenegotiated: _renegotiated,
    c.CallTransferred: _transferred,
    c.LegMoved: _moved,
    c.LegDigit: _digit,
    c.MediaAllocated: _allocated,
    c.MediaStats: _stats,
    c.MediaTimedOut: _media_timeout,
    c.LegEnded: _leg_ended,
    c.CallEnded: _ended,
}
