"""What must hold for Signal Rules and groups in the stream of any call, whatever happened."""

from __future__ import annotations

from collections.abc import Sequence

from pbx.domain.calls import (
    CallAnswered,
    CallDecided,
    CallRouted,
    LegAnswered,
    LegCreated,
    LegEnded,
    LegRinging,
    RulesEvaluated,
)
from pbx.kernel.events import Event

#: Times in events are rounded to milliseconds.
_ROUNDED_MS = 2
_FAILURES = ("no answer", "busy", "error")


def rule_breaches(events: Sequence[Event]) -> list[str]:
    """Every breach in one call's events."""
    wrong: list[str] = []
    seen: dict[str, list[str]] = {}
    ringing: dict[str, tuple[str, str]] = {}
    """Open legs: the account they ring, and the one whose rule led there."""
    sent: set[str] = set()
    answered = False
    for event in events:
        match event:
            case LegCreated():
                ringing[event.leg_id] = (event.account, event.redirector)
                if event.redirector and not event.application and event.redirector not in sent:
                    wrong.append(f"a leg by a rule of {event.redirector}, which sent no call away")
            case LegEnded():
                ringing.pop(event.leg_id, None)
            case CallAnswered():
                answered = True
            case CallDecided(step="redirect"):
                sent.update(seen)
                # Who is called anew has its rules anew.
                seen.pop(event.outcome.removeprefix("sip:"), None)
            case RulesEvaluated():
                if answered:
                    wrong.append(f"rules {event.stage} of {event.account} after the answer")
                before = seen.setdefault(event.account, [])
                wrong += _order(event, before)
                before.append(event.stage)
                own = [leg for leg, whose in ringing.items() if event.account in whose]
                if own and event.elapsed_ms + _ROUNDED_MS < _seconds(event.stage) * 1000:
                    wrong.append(f"{event.stage} of {event.account} at {event.elapsed_ms} ms")
            case _:
                pass
    return wrong


def group_breaches(events: Sequence[Event]) -> list[str]:
    """Where no rule has a say, everybody in a group begins to ring before anybody says anything,
    each device once."""
    routed = next((event for event in events if isinstance(event, CallRouted)), None)
    ruled = any(isinstance(event, RulesEvaluated) for event in events)
    if routed is None or routed.outcome != "group" or ruled:
        return []
    first: list[LegCreated] = []
    for event in events:
        if isinstance(event, LegCreated):
            first.append(event)
        elif isinstance(event, LegRinging | LegAnswered | LegEnded):
            break
    if not first:  # given up, or refused for a reason of its own
        return []
    contacts = {leg.target_uri for leg in first}
    if len(contacts) == len(first) == routed.contacts:
        return []
    return [f"{len(first)} legs to {len(contacts)} of {routed.contacts} devices of a group"]


def _order(event: RulesEvaluated, before: list[str]) -> list[str]:
    stage = event.stage
    if stage in before:
        return [f"{stage} of {event.account} came twice"]
    if stage in _FAILURES:
        return []
    later = [other for other in before if other not in _FAILURES]
    if any(_seconds(other) > _seconds(stage) for other in later):
        return [f"{stage} of {event.account} came after {', '.join(later)}"]
    return []


def _seconds(stage: str) -> int:
    """Of a timed stage's name: ``at once``, ``after 10 s``; failures have no time."""
    return int(stage.split()[1]) if stage.startswith("after ") else 0
