"""Calls of the log with what Signal Rules ask for, and how long and where they rang.

Read by :mod:`.rules`. A call comes when it has ended; one that is up is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple

from pbx.domain import calls as c
from pbx.eventlog import EventLog
from pbx.whatif.tables import MAX_UNROUTED, within

MAX_OPEN: Final = MAX_UNROUTED
"""Calls whose end is awaited while the log is read."""
_TYPES: Final = (
    "call.started.v1", "call.routed.v1", "rules.evaluated.v1", "leg.created.v1", "leg.answered.v1",
    "leg.ended.v1", "call.answered.v1", "call.ended.v1",
)  # fmt: skip
_CALLEE: Final = "B"
#: Reasons of legs that a rule has stopped (``pbx.calls.scope``): how long they would have rung on
#: nobody knows.
_CUT: Final = frozenset({"redirected by a rule", "refused by a rule"})


class Outcome(Enum):
    """How the ringing of an account ended."""

    OVER = "over"
    """Somebody answered, or the caller gave up: no rule came after that."""
    FAILED = "failed"
    """All its phones refused or nobody answered."""
    CUT = "cut"
    """A rule stopped it."""


class Rang(NamedTuple):
    """One account of a call."""

    outcome: Outcome
    phones: int
    """Those that rang; 0: none was registered."""
    first_ms: int
    """When the first of its phones began to ring, in the call."""
    last_ms: int
    """When the last one stopped."""
    statuses: tuple[int, ...]
    """Final statuses of the phones that did not answer."""


@dataclass(slots=True)
class RecordedCall:
    """A call as it was."""

    call_id: str
    time_ns: int
    started: c.CallStarted
    trusted: bool
    rang: dict[str, Rang] = field(default_factory=dict)
    """Every account that the call reached, by address; of the whole call under ``''``."""


class _Leg(NamedTuple):
    account: str
    created_ms: int


@dataclass(slots=True)
class _Open:
    call: RecordedCall
    legs: dict[str, _Leg] = field(default_factory=dict)
    ended: list[tuple[_Leg, c.LegEnded]] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    reached: dict[str, None] = field(default_factory=dict)
    routed: bool = False
    answered_ms: int = -1


def recorded_calls(
    log: EventLog, since_ns: int, trusted: Iterable[IPv4Network | IPv6Network] = ()
) -> Iterator[RecordedCall]:
    """The calls that began since a time and have ended, in order of their ends."""
    networks = tuple(trusted)
    calls: dict[str, _Open] = {}
    for record in log.read(log.position_at(since_ns), category=c.CALLS, types=_TYPES):
        event = record.event
        if isinstance(event, c.CallStarted):
            if record.time_ns >= since_ns:
                call_id = record.stream.partition("/")[2]
                found = RecordedCall(call_id, record.time_ns, event, within(event.source, networks))
                calls[record.stream] = _Open(found)
                if len(calls) > MAX_OPEN:
                    calls.pop(next(iter(calls)))
            continue
        open_ = calls.get(record.stream)
        if open_ is None:
            continue
        _fold(open_, event)
        if isinstance(event, c.CallEnded):
            del calls[record.stream]
            _close(open_, event)
            yield open_.call


def _fold(open_: _Open, event: object) -> None:
    match event:
        case c.CallRouted() if not open_.routed:
            open_.routed = True
            if event.outcome == "account":
                open_.reached[event.target] = None
        case c.RulesEvaluated():
            open_.reached[event.account] = None
        case c.LegCreated() if event.role == _CALLEE and open_.answered_ms < 0:
            open_.legs[event.leg_id] = _Leg(event.account, event.elapsed_ms)
            open_.reached[event.account] = None
        case c.LegAnswered():
            open_.answered.add(event.leg_id)
        case c.LegEnded() if event.leg_id in open_.legs:
            open_.ended.append((open_.legs[event.leg_id], event))
        case c.CallAnswered() if open_.answered_ms < 0:
            open_.answered_ms = event.elapsed_ms


def _close(open_: _Open, end: c.CallEnded) -> None:
    """What is known of each account when the call has ended."""
    gave_up = end.ended_by == "caller" and end.cause == "cancel"
    taken_ms = open_.answered_ms
    for account in ("", *(name for name in open_.reached if name)):
        mine = [(leg, over) for leg, over in open_.ended if not account or leg.account == account]
        statuses = tuple(over.status for _, over in mine if over.leg_id not in open_.answered)
        first = min((leg.created_ms for leg, _ in mine), default=0)
        last = max((_end_ms(over, taken_ms) for _, over in mine), default=first)
        outcome = Outcome.FAILED
        if any(over.reason in _CUT for _, over in mine):
            outcome = Outcome.CUT
        elif any(over.leg_id in open_.answered for _, over in mine):
            outcome = Outcome.OVER
        elif mine and all(over.ended_by != "callee" and over.status == 487 for _, over in mine):
            outcome = Outcome.OVER  # somebody else answered, or the caller gave up
        elif not account and (gave_up or taken_ms >= 0):
            outcome = Outcome.OVER
        open_.call.rang[account] = Rang(outcome, len(mine), first, max(first, last), statuses)


def _end_ms(over: c.LegEnded, taken_ms: int) -> int:
    """When a leg stopped ringing."""
    return min(over.elapsed_ms, taken_ms) if taken_ms >= 0 else over.elapsed_ms
