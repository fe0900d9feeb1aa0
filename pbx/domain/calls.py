"""Events of a call: stream ``call/<uuid7>``, category ``pbx.calls``, all *observed*.

Written by ``pbx.calls``; read by the call, leg and CDR projections and by ``pbx log --call``.

``elapsed_ms`` is the monotonic distance from ``call.started`` measured by the node that runs the
call, so that durations do not depend on wall-clock steps; the envelope carries the wall time.
A *leg* is one dialog plus one media session. Leg A is the caller's; each contact tried is a B
leg; legs created by a transfer have role X.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final

from pbx.kernel.events import PERSONAL, Durability, Event, event

CALLS = "pbx.calls"

Personal = Annotated[str, PERSONAL]
PersonalTexts = Annotated[tuple[str, ...], PERSONAL]


@event("call.started.v1", category=CALLS, durability=Durability.OBSERVED)
class CallStarted(Event):
    """An initial INVITE was taken on: always the first event of the stream."""

    leg_id: str
    sip_call_id: str
    from_uri: Personal
    to_uri: Personal
    request_uri: Personal
    source: Personal
    """``ip:port`` the INVITE came from."""
    transport: str
    from_display: Personal = ""
    asserted_identity: Personal = ""
    account: Personal = ""
    """Authenticated account ``name@domain``, empty for a caller without one."""
    user_agent: str = ""


@event("call.decided.v1", category=CALLS, durability=Durability.OBSERVED)
class CallDecided(Event):
    """One routing, policy or limit decision and its reason (read by ``pbx log --call``)."""

    step: str
    """``authentication`` ``routing`` ``limit`` ``contacts`` ``transfer`` ``media`` …"""
    outcome: Personal
    """Of a redirect or transfer: where to."""
    reason: Personal
    elapsed_ms: int = 0


@event("call.routed.v1", category=CALLS, durability=Durability.OBSERVED)
class CallRouted(Event):
    """What the Router made of an address, and how: of the call itself, a transfer or a redirect."""

    address: Personal
    """The URI as it was dialled."""
    outcome: str
    """``account`` ``group`` ``application`` ``foreign`` ``unknown`` ``refused`` …"""
    target: Personal = ""
    """The address that was reached in the end."""
    steps: PersonalTexts = ()
    """Each rewrite with the line or object that caused it; none if the address meant itself."""
    contacts: int = 0
    """How many there are to try."""
    relay: bool = False
    """The address may leave this server whoever dialled it."""
    status: int = 0
    """What the caller gets if there is nothing to try."""
    reason: Personal = ""
    elapsed_ms: int = 0


@event("rules.evaluated.v1", category=CALLS, durability=Durability.OBSERVED)
class RulesEvaluated(Event):
    """The Signal Rules of one stage were looked at; written only where there are some."""

    stage: str
    """``at once``, ``after 10 s``, ``no answer``, ``busy``, ``error``."""
    account: Personal = ""
    """The called account; empty while none is known."""
    target: Personal = ""
    """The target URI at that moment."""
    applied: tuple[str, ...] = ()
    """Names of the rules that applied."""
    actions: PersonalTexts = ()
    """What they decided, in order."""
    trace: PersonalTexts = ()
    """A line each rule that was looked at: its conditions with the values seen."""
    elapsed_ms: int = 0


@event("leg.created.v1", category=CALLS, durability=Durability.OBSERVED)
class LegCreated(Event):
    """A leg toward one contact was started."""

    leg_id: str
    parent_leg_id: str
    role: str
    """``A`` ``B`` ``X`` (transfer)."""
    sip_call_id: str
    target_uri: Personal
    account: Personal = ""
    """The account whose contact it is."""
    destination: Personal = ""
    """``ip:port/transport`` when known."""
    redirector: Personal = ""
    elapsed_ms: int = 0
    application: Personal = ""
    """The program that is the party of this leg, ``name{parameters}#account``."""
    billing_id: Personal = ""
    """What a program wants the record of this leg to carry."""


@event("leg.ringing.v1", category=CALLS, durability=Durability.OBSERVED)
class LegRinging(Event):
    """A provisional 101-199 arrived (or, on leg A, was sent): first of its status on this leg."""

    leg_id: str
    status: int
    early_media: bool = False
    reliable: bool = False
    elapsed_ms: int = 0


@event("leg.answered.v1", category=CALLS, durability=Durability.OBSERVED)
class LegAnswered(Event):
    """The 200 of this leg's INVITE arrived (B, X) or was sent (A)."""

    leg_id: str
    elapsed_ms: int = 0


@event("leg.held.v1", category=CALLS, durability=Durability.OBSERVED)
class LegHeld(Event):
    """The party of this leg put the other side on hold (RFC 3264 §8.4)."""

    leg_id: str
    direction: str
    elapsed_ms: int = 0


@event("leg.resumed.v1", category=CALLS, durability=Durability.OBSERVED)
class LegResumed(Event):
    """The party of this leg took the call back from hold."""

    leg_id: str
    elapsed_ms: int = 0


@event("leg.renegotiated.v1", category=CALLS, durability=Durability.OBSERVED)
class LegRenegotiated(Event):
    """A re-INVITE or UPDATE of this leg was carried through (or refused, status >= 300)."""

    leg_id: str
    method: str
    status: int = 200
    elapsed_ms: int = 0


@event("leg.ended.v1", category=CALLS, durability=Durability.OBSERVED)
class LegEnded(Event):
    """The leg is over: exactly one per leg."""

    leg_id: str
    status: int
    """Final SIP status of the leg's INVITE (200 for an answered leg; 487 cancelled …)."""
    cause: str
    """normal cancel busy noanswer reject error mediatimeout admin limit (see EndCause)."""
    q850: int
    ended_by: str
    """``caller`` ``callee`` ``server``."""
    reason: str = ""
    elapsed_ms: int = 0
    talk_ms: int = 0
    """Answer to end of this leg, monotonic."""


@event("call.answered.v1", category=CALLS, durability=Durability.OBSERVED)
class CallAnswered(Event):
    """The caller got its 200."""

    leg_id: str
    peer_leg_id: str
    """Empty if it is to be joined with somebody in another call (it picks that one up)."""
    elapsed_ms: int = 0


@event("call.bridged.v1", category=CALLS, durability=Durability.OBSERVED)
class CallBridged(Event):
    """Two legs were (re)joined in one media session, e.g. by a transfer."""

    leg_id: str
    peer_leg_id: str
    bridge: str
    elapsed_ms: int = 0


@event("call.transferred.v1", category=CALLS, durability=Durability.OBSERVED)
class CallTransferred(Event):
    """A REFER was carried out (status 200) or failed (the failure's status)."""

    leg_id: str
    """Leg of the transferor (it sent REFER)."""
    transferee_leg_id: str
    target_uri: Personal
    kind: str
    """``blind`` ``attended``."""
    status: int
    other_call: str = ""
    """The stream of the other call that was merged by an attended transfer."""
    elapsed_ms: int = 0


@event("leg.moved.v1", category=CALLS, durability=Durability.OBSERVED)
class LegMoved(Event):
    """Attended transfer: this leg continues in another call (or came from it)."""

    leg_id: str
    from_call: str
    to_call: str
    elapsed_ms: int = 0


@event("leg.digit.v1", category=CALLS, durability=Durability.OBSERVED, expendable=True)
class LegDigit(Event):
    """A DTMF digit crossed by SIP INFO; the digit itself is not stored."""

    leg_id: str
    carrier: str = "info"
    elapsed_ms: int = 0


@event("media.allocated.v1", category=CALLS, durability=Durability.OBSERVED)
class MediaAllocated(Event):
    """The media service accepted the first offer of a bridge."""

    bridge: str
    engine: str = ""
    elapsed_ms: int = 0


@event("media.stats.v1", category=CALLS, durability=Durability.OBSERVED, expendable=True)
class MediaStats(Event):
    """Figures of one leg's media in one bridge, written when the bridge is released.

    "In" is received from the party of the leg, "out" is sent to it.
    """

    leg_id: str
    bridge: str
    codec: str = ""
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    packets_lost: int = 0
    packets_dropped: int = 0
    jitter_ms: float = 0.0
    mos: float = 0.0
    """0 when too few packets were seen for an estimate."""


@event("media.timeout.v1", category=CALLS, durability=Durability.OBSERVED)
class MediaTimedOut(Event):
    """The media service saw no packet on any stream of the bridge for the media time-out."""

    bridge: str
    elapsed_ms: int = 0


@event("call.ended.v1", category=CALLS, durability=Durability.OBSERVED)
class CallEnded(Event):
    """The call is over: exactly one per call, its last event.

    ``recovered`` marks calls that a node found open in the log when it started again: the end
    time is then the last moment the node is known to have been alive (``ended_ns``).
    """

    status: int
    cause: str
    q850: int
    ended_by: str
    reason: str = ""
    elapsed_ms: int = 0
    talk_ms: int = 0
    recovered: bool = False
    ended_ns: int = 0
    """Wall time of the end if it differs from the envelope's time (recovered calls), else 0."""


@event("call.erased.v1", category=CALLS, durability=Durability.DECIDED)
class CallErased(Event):
    """What this ended call tells of a person is to be forgotten (``pbx erase``).

    Whoever keeps something made of the events before replaces the texts that name the person, and
    those that go with them, by ``[erased]`` (:class:`pbx.readmodel.call_state.CallState`).
    """

    subject: str
    """:func:`erased_subject` of the account: the event names nobody."""


_ADDRESS: Final = re.compile(r"([^\s:@<>;,\"]+)@([A-Za-z0-9.\-\[\]]+)")


def named_account(text: str) -> str:
    """The first ``user@host`` in a URI or name, in lower case; empty if there is none."""
    found = _ADDRESS.search(text)
    return found[0].lower() if found is not None else ""


def erased_subject(call_id: str, account: str) -> str:
    """What :class:`CallErased` says instead of `account`: another text for each call."""
    return hashlib.sha256(f"{call_id}\0{account}".encode()).hexdigest()
