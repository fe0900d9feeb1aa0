"""What the engine's events of a dialog mean: each is handed to the leg it belongs to.

The table in :mod:`.node` calls these functions directly, as it does methods of the node.
``event.usage.user`` is the leg; one that is given up already takes nothing any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import refer as transfer
from pbx.calls.leg import Leg
from sip import events as sip_events

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode


def cancelled(node: SignalNode, event: sip_events.InviteCancelled, now: float) -> None:
    """The caller gave up."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive:
        leg.call.cancelled(event.reason_header, now)


def confirmed(node: SignalNode, event: sip_events.InviteConfirmed, now: float) -> None:
    """The ACK of our 2xx came."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive and leg.call.setup is not None:
        leg.call.setup.confirmed(event.body, now)


def progress(node: SignalNode, event: sip_events.InviteProgress, now: float) -> None:
    """A provisional response to an INVITE of ours."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive and leg.dial is not None:
        leg.dial.on_progress(leg, event, now)


def answered(node: SignalNode, event: sip_events.InviteAnswered, now: float) -> None:
    """A 2xx to an INVITE of ours."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive and leg.dial is not None:
        leg.dial.on_answered(leg, event, now)
        return
    # The leg was given up while its 2xx was on the way.
    if event.answer_needed:
        event.usage.ack(b"", now=now)
    event.usage.bye(now=now)


def failed(node: SignalNode, event: sip_events.InviteFailed, now: float) -> None:
    """An INVITE ended without an answer, or was never acknowledged."""
    leg = event.usage.user
    if not isinstance(leg, Leg) or not leg.alive:
        return
    if leg.dial is not None:
        leg.dial.on_failed(leg, event, now)
    else:
        leg.call.caller_failed(event, now)


def offer(node: SignalNode, event: sip_events.OfferReceived, now: float) -> None:
    """The other side offers a description."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive:
        leg.call.on_offer(leg, event.body, event.method, now)
    else:
        event.usage.reject_offer(481, now=now)


def offer_requested(node: SignalNode, event: sip_events.OfferRequested, now: float) -> None:
    """The other side asks for an offer of ours."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive:
        leg.call.on_offer_requested(leg, now)
    else:
        event.usage.reject_offer(481, now=now)


def answer(node: SignalNode, event: sip_events.AnswerReceived, now: float) -> None:
    """Our offer was answered."""
    leg = event.usage.user
    if isinstance(leg, Leg):
        leg.offer_ended(200, event.body, now)


def offer_failed(node: SignalNode, event: sip_events.OfferFailed, now: float) -> None:
    """Our offer was refused."""
    leg = event.usage.user
    if isinstance(leg, Leg):
        leg.offer_ended(event.status, b"", now)


def ended(node: SignalNode, event: sip_events.UsageEnded, now: float) -> None:
    """A dialog is over."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive:
        leg.call.on_usage_ended(leg, event, now)


def refer(node: SignalNode, event: sip_events.ReferReceived, now: float) -> None:
    """Somebody is to be transferred."""
    leg = event.usage.user if event.usage is not None else None
    if isinstance(leg, Leg) and leg.alive:
        transfer.refer_received(leg, event, now)
    else:
        node.requests.stray_refer(event, now)


def refer_progress(node: SignalNode, event: sip_events.ReferProgress, now: float) -> None:
    """How a transfer that we asked for goes on."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.refer_outcome is not None:
        leg.refer_outcome(event.status, event.reason, event.final, now)


def dialog_request(node: SignalNode, event: sip_events.DialogRequest, now: float) -> None:
    """Another request within a dialog."""
    leg = event.usage.user
    if isinstance(leg, Leg) and leg.alive:
        node.requests.in_dialog(leg, event, now)
    else:
        event.usage.respond(event.transaction, 481, now=now)
