"""The ladder of a call: its parties as columns, SIP messages as arrows, decisions in between.

Made from the events of one ``call/…`` stream, so it shows the messages that mean something (those
that begin, change and end legs) and neither acknowledgements nor retransmissions. ``pbx explain``
prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pbx.cli import programs
from pbx.cli.reading import show_duration
from pbx.cli.story import why
from pbx.domain import calls as c
from pbx.eventlog import DecodeError, Record
from pbx.kernel.events import Event

WIDTH: Final = 24
"""Characters from one column to the next; the longest label with its arrow fits."""
SERVER: Final = "server"
_REASONS: Final = {
    180: "Ringing", 181: "Forwarded", 182: "Queued", 183: "Progress", 200: "OK",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    408: "Timeout", 416: "Bad Scheme", 480: "Unavailable", 482: "Loop", 484: "Incomplete",
    486: "Busy", 487: "Terminated", 488: "Not Acceptable", 500: "Server Error",
    503: "No Service", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip


@dataclass(slots=True)
class Party:
    """A column."""

    name: str
    """A, B1, B2, X1 …"""
    description: str
    answered: bool = False
    rang: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """An arrow."""

    elapsed_ms: int
    source: str
    target: str
    label: str


@dataclass(frozen=True, slots=True)
class Decided:
    """What the server decided, and why."""

    elapsed_ms: int
    step: str
    """authentication, routing, rules, limit, contacts, transfer, media, end …"""
    outcome: str
    reason: str = ""
    details: tuple[str, ...] = ()


Entry: TypeAlias = Message | Decided


@dataclass(slots=True)
class Ladder:
    """Fed with the records of one call in order."""

    table_note: Callable[[int], str] = field(default=lambda time_ns: "")
    """Who set the Router table that was in force at a time (ns of UTC), in words."""
    start_ns: int = 0
    parties: dict[str, Party] = field(default_factory=dict)
    """By leg id, in order of appearance."""
    entries: list[Entry] = field(default_factory=list)
    _caller: str = ""
    _routed: bool = False
    _programs: dict[str, str] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """The next event."""
        self.start_ns = self.start_ns or record.time_ns
        try:
            event = record.event
        except DecodeError as error:
            self.entries.append(Decided(self._at(None, record), "unreadable", str(error)))
            return
        if record.type.startswith("rules.evaluated."):
            self._rules(event, record)
            return
        if isinstance(event, programs.EVENTS):
            name, words = programs.told(event, record, self._programs)
            if words:
                self.entries.append(Decided(self._at(event, record), name, words))
            return
        teller = _TELLERS.get(type(event))
        if teller is not None:
            self.entries += teller(self, event, self._at(event, record), record.time_ns)

    def _at(self, event: Event | None, record: Record) -> int:
        elapsed_ms: int | None = getattr(event, "elapsed_ms", None)
        if elapsed_ms is None or programs.is_of_program(record):
            return max(0, (record.time_ns - self.start_ns) // 1_000_000)
        return elapsed_ms

    def party(self, leg_id: str, role: str = "", description: str = "") -> Party:
        """The column of a leg; a new one if it was not seen yet."""
        found = self.parties.get(leg_id)
        if found is None:
            role = role or "?"
            number = 1 + sum(party.name.startswith(role) for party in self.parties.values())
            name = role if role == "A" else f"{role}{number}"
            found = self.parties[leg_id] = Party(name, description)
        return found

    def _rules(self, event: Event, record: Record) -> None:
        from pbx.cli.log import event_fields

        fields: dict[str, Any] = event_fields(record)
        applied = ", ".join(fields.get("applied", ())) or "no rule applied"
        actions = ", ".join(fields.get("actions", ())) or "nothing done"
        whose = f" of {fields['account']}" if fields.get("account") else ""
        elapsed = fields.get("elapsed_ms", 0)
        self.entries.append(
            Decided(
                elapsed,
                "rules",
                f"{fields.get('stage', '')}{whose}: {applied}".strip(),
                actions,
                tuple(fields.get("trace", ())),
            )
        )

    # Events to entries.

    def _started(self, event: c.CallStarted, at: int, time_ns: int) -> Iterator[Entry]:
        self._caller = event.account
        party = self.party(
            event.leg_id, "A", f"{event.from_uri} at {event.source}/{event.transport}"
        )
        yield Message(at, party.name, SERVER, "INVITE")
        if event.account:
            yield Decided(
                at, "authentication", f"the caller is {event.account}",
                "the digest of its INVITE is right",
            )  # fmt: skip
        else:
            reason = "a trusted source (sip.client_ips), or a stranger who may reach what is ours"
            yield Decided(at, "authentication", "the caller has no account here", reason)

    def _decided(self, event: c.CallDecided, at: int, time_ns: int) -> Iterator[Entry]:
        yield Decided(at, event.step, event.outcome, event.reason)

    def _was_routed(self, event: c.CallRouted, at: int, time_ns: int) -> Iterator[Entry]:
        if not self._routed:
            self._routed = True
            if self._caller:
                yield Decided(at, "limit", "passed", f"{self._caller} may have one more call")
        target = f" {event.target}" if event.target else ""
        details = list(event.steps) or ["no line of the Router table applied"]
        note = self.table_note(time_ns)
        if note and any("table, line" in step for step in event.steps):
            details.append(note)
        yield Decided(
            at, "routing", f"{event.address} is {event.outcome}{target}", event.reason,
            tuple(details),
        )  # fmt: skip
        if event.contacts:
            many = "s" if event.contacts > 1 else ""
            yield Decided(at, "contacts", f"{event.contacts} contact{many} to try")
        else:
            yield Decided(at, "contacts", f"none: the caller gets {event.status}", event.reason)

    def _leg(self, event: c.LegCreated, at: int, time_ns: int) -> Iterator[Entry]:
        account = f", a phone of {event.account}" if event.account else ""
        where = f" at {event.destination}" if event.destination else ""
        redirected = f", redirected by {event.redirector}" if event.redirector else ""
        description = f"{event.target_uri}{where}{account}{redirected}"
        party = self.party(event.leg_id, event.role, description)
        yield Message(at, SERVER, party.name, "INVITE")

    def _ringing(self, event: c.LegRinging, at: int, time_ns: int) -> Iterator[Entry]:
        self.party(event.leg_id).rang = True
        early = " + media" if event.early_media else ""
        yield self._answer(event.leg_id, at, _status(event.status) + early)

    def _answered(self, event: c.LegAnswered, at: int, time_ns: int) -> Iterator[Entry]:
        self.party(event.leg_id).answered = True
        yield self._answer(event.leg_id, at, _status(200))

    def _answer(self, leg_id: str, at: int, label: str) -> Message:
        """A response to the INVITE of a leg: to the caller from us, from the others to us."""
        name = self.party(leg_id).name
        source, target = (SERVER, name) if name == "A" else (name, SERVER)
        return Message(at, source, target, label)

    def _request(self, leg_id: str, at: int, label: str) -> Message:
        return Message(at, self.party(leg_id).name, SERVER, label)

    def _held(self, event: c.LegHeld, at: int, time_ns: int) -> Iterator[Entry]:
        yield self._request(event.leg_id, at, "INVITE (hold)")

    def _resumed(self, event: c.LegResumed, at: int, time_ns: int) -> Iterator[Entry]:
        yield self._request(event.leg_id, at, "INVITE (resume)")

    def _renegotiated(self, event: c.LegRenegotiated, at: int, time_ns: int) -> Iterator[Entry]:
        yield self._request(event.leg_id, at, f"{event.method} ({event.status})")

    def _digit(self, event: c.LegDigit, at: int, time_ns: int) -> Iterator[Entry]:
        yield self._request(event.leg_id, at, f"digit ({event.carrier})")

    def _transferred(self, event: c.CallTransferred, at: int, time_ns: int) -> Iterator[Entry]:
        yield self._request(event.leg_id, at, "REFER")
        moved = self.party(event.transferee_leg_id).name
        verdict = "done" if event.status < 300 else f"failed with {event.status}"
        yield Decided(at, "transfer", f"{event.kind}, {moved} to {event.target_uri}: {verdict}")

    def _moved(self, event: c.LegMoved, at: int, time_ns: int) -> Iterator[Entry]:
        name = self.party(event.leg_id).name
        yield Decided(at, "transfer", f"{name} moves from {event.from_call} to {event.to_call}")

    def _allocated(self, event: c.MediaAllocated, at: int, time_ns: int) -> Iterator[Entry]:
        engine = f" ({event.engine})" if event.engine else ""
        yield Decided(at, "media", f"passes through the relay{engine}")

    def _silent(self, event: c.MediaTimedOut, at: int, time_ns: int) -> Iterator[Entry]:
        yield Decided(at, "media", "no packet on any stream for too long")

    def _leg_ended(self, event: c.LegEnded, at: int, time_ns: int) -> Iterator[Entry]:
        party = self.party(event.leg_id)
        theirs = event.ended_by == ("caller" if party.name == "A" else "callee")
        if party.answered:
            ends = (party.name, SERVER) if theirs else (SERVER, party.name)
            yield Message(at, *ends, "BYE")
        elif party.name == "A":
            if theirs:
                yield Message(at, "A", SERVER, "CANCEL")
            yield Message(at, SERVER, "A", _status(event.status))
        elif theirs:
            yield self._answer(event.leg_id, at, _status(event.status))
        elif party.rang:
            yield Message(at, SERVER, party.name, "CANCEL")
        else:
            yield Decided(at, "contacts", f"{party.name} is given up", why(event))

    def _ended(self, event: c.CallEnded, at: int, time_ns: int) -> Iterator[Entry]:
        talked = f"talked {show_duration(event.talk_ms)}" if event.talk_ms else "nobody talked"
        recovered = "; found open when the server started again" if event.recovered else ""
        yield Decided(at, "end", f"{talked}: {why(event)}{recovered}")

    # For people.

    def lines(self) -> Iterator[str]:
        """Legend, heads, arrows and decisions."""
        for party in self.parties.values():
            yield f"  {party.name:<4} {party.description}"
        yield ""
        names = [party.name for party in self.parties.values()]
        columns = [*names[:1], SERVER, *names[1:]]
        yield f"{'':10}" + "".join(f"{name:<{WIDTH}}" for name in columns).rstrip()
        bars = (f"{'|':<{WIDTH}}" * len(columns)).rstrip()
        for entry in self.entries:
            moment = f"{f'+{entry.elapsed_ms / 1000:.3f}':>8}  "
            if isinstance(entry, Message):
                ends = columns.index(entry.source), columns.index(entry.target)
                yield moment + _arrow(bars, *ends, entry.label)
            else:
                reason = f": {entry.reason}" if entry.reason else ""
                yield f"{moment}* {entry.step}: {entry.outcome}{reason}"
                yield from (f"{'':12}{line}" for line in entry.details)

    def as_json(self) -> dict[str, Any]:
        """For programs: parties, and messages and decisions in order."""
        return {
            "parties": [
                {"name": party.name, "leg": leg, "description": party.description}
                for leg, party in self.parties.items()
            ],
            "entries": [
                {
                    "elapsed_ms": entry.elapsed_ms,
                    "from": entry.source,
                    "to": entry.target,
                    "message": entry.label,
                }
                if isinstance(entry, Message)
                else {
                    "elapsed_ms": entry.elapsed_ms,
                    "step": entry.step,
                    "outcome": entry.outcome,
                    "reason": entry.reason,
                    "details": list(entry.details),
                }
                for entry in self.entries
            ],
        }


def _status(status: int) -> str:
    return f"{status} {_REASONS.get(status, '')}".rstrip()


def _arrow(bars: str, source: int, target: int, label: str) -> str:
    """The bars of all columns with an arrow over those from `source` to `target`."""
    left, right = sorted((source, target))
    room = (right - left) * WIDTH - 1
    text = f" {label} ".center(room, "-")[:room]
    text = f"{text[:-1]}>" if target > source else f"<{text[1:]}"
    start = left * WIDTH + 1
    return f"{bars[:start]}{text}{bars[start + room :]}"


_Teller: TypeAlias = Callable[[Ladder, Any, int, int], Iterator[Entry]]
_TELLERS: Final[dict[type[Event], _Teller]] = {
    c.CallStarted: Ladder._started,
    c.CallDecided: Ladder._decided,
    c.CallRouted: Ladder._was_routed,
    c.LegCreated: Ladder._leg,
    c.LegRinging: Ladder._ringing,
    c.LegAnswered: Ladder._answered,
    c.LegHeld: Ladder._held,
    c.LegResumed: Ladder._resumed,
    c.LegRenegotiated: Ladder._renegotiated,
    c.LegDigit: Ladder._digit,
    c.CallTransferred: Ladder._transferred,
    c.LegMoved: Ladder._moved,
    c.MediaAllocated: Ladder._allocated,
    c.MediaTimedOut: Ladder._silent,
    c.LegEnded: Ladder._leg_ended,
    c.CallEnded: Ladder._ended,
}


def ladder_of(records: Sequence[Record], table_note: Callable[[int], str]) -> Ladder:
    """The ladder of a call's records."""
    ladder = Ladder(table_note)
    for record in records:
        ladder.add(record)
    return ladder
