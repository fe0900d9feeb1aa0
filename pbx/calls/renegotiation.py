"""Offers inside a conversation: hold, resume, codec and address changes (RFC 3264 §8).

An offer of one leg is rewritten by the media service, offered to the other leg, and its answer
travels back the same way. One exchange at a time per call; a second one gets 491 (RFC 3261
§14.1). If the other side refuses, the media service is put back to what both last agreed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import sdp_text
from pbx.calls.bridge import Bridge
from pbx.calls.leg import Leg
from pbx.calls.ports import MediaReply
from pbx.domain.calls import LegRenegotiated

if TYPE_CHECKING:
    from pbx.calls.call import Call


def offered(call: Call, leg: Leg, body: bytes, now: float) -> None:
    """`leg` offers `body` by re-INVITE or UPDATE: carry it to its peer and back."""
    peer = call.peer_of(leg)
    if peer is None or call.bridge is None or call.negotiating is not None or _busy(call):
        leg.usage.reject_offer(491, now=now)
        return
    before = (leg.agreed_body, peer.agreed_body)
    call.negotiating = leg
    bridge = call.bridge

    def back(status: int, answer: bytes, later: float) -> None:
        call.negotiating = None
        if not leg.alive:
            return
        if status >= 300:
            _note(call, leg, status, later)
            _restore(call, bridge, leg, peer, before, later)
            leg.usage.reject_offer(491 if status == 491 else 488, now=later)
            return
        peer.agreed_body = answer
        bridge.answer(leg, peer, answer, later, lambda reply, t: _answer(call, leg, reply, t, body))

    def rewritten(reply: MediaReply, later: float) -> None:
        if not leg.alive or not peer.alive:
            call.negotiating = None
            return
        if reply.error:
            call.negotiating = None
            _note(call, leg, 488, later)
            leg.usage.reject_offer(488, now=later)
            return
        peer.send_offer(reply.sdp, later, back)

    bridge.offer(leg, peer, body, now, rewritten)


def _answer(call: Call, leg: Leg, reply: MediaReply, now: float, offer: bytes) -> None:
    if not leg.alive:
        return
    if reply.error:
        _note(call, leg, 488, now)
        leg.usage.reject_offer(488, now=now)
        return
    leg.agreed_body = offer
    _note(call, leg, 200, now)
    leg.note_direction(sdp_text.direction(offer), now)
    leg.usage.answer(reply.sdp, now=now)


def requested(call: Call, leg: Leg, now: float) -> None:
    """Re-INVITE without a description: offer what the peer can do (RFC 3261 §14.2).

    The answer comes with the ACK (:func:`late_answer`); the peer is re-offered only if that
    changes something for it.
    """
    peer = call.peer_of(leg)
    if peer is None or call.bridge is None or call.negotiating is not None or _busy(call):
        leg.usage.reject_offer(491, now=now)
        return
    call.negotiating = leg
    bridge = call.bridge
    before = peer.usage.local_body

    def rewritten(reply: MediaReply, later: float) -> None:
        if not leg.alive or reply.error:
            call.negotiating = None
            if leg.alive:
                leg.usage.reject_offer(488, now=later)
            return
        leg.offer_done = answered
        leg.usage.answer_with_offer(reply.sdp, now=later)

    def answered(status: int, body: bytes, later: float) -> None:
        call.negotiating = None
        if status >= 300 or not body or not leg.alive or not peer.alive:
            return
        leg.agreed_body = body
        leg.note_direction(sdp_text.direction(body), later)
        bridge.answer(peer, leg, body, later, forward)

    def forward(reply: MediaReply, later: float) -> None:
        _note(call, leg, 488 if reply.error else 200, later)
        if reply.error or not peer.alive or sdp_text.same_media(before, reply.sdp):
            return
        peer.send_offer(reply.sdp, later, settled)

    def settled(status: int, body: bytes, later: float) -> None:
        """The peer knows; a refusal leaves the session as it was for it."""

    bridge.offer(peer, leg, sdp_text.with_sendrecv(peer.agreed_body), now, rewritten)


def _busy(call: Call) -> bool:
    """A transfer is re-joining legs just now."""
    return (call.transfer is not None and call.transfer.joining) or call.claimed_by is not None


def _note(call: Call, leg: Leg, status: int, now: float) -> None:
    call.journal.write(
        LegRenegotiated(
            leg_id=leg.id,
            method="OFFER",
            status=status,
            elapsed_ms=call.journal.elapsed_ms(now),
        )
    )


def _restore(
    call: Call, bridge: Bridge, leg: Leg, peer: Leg, before: tuple[bytes, bytes], now: float
) -> None:
    """Give the media service the last agreed descriptions again: the offer never happened."""
    offer, answer = before
    if not offer or not answer:
        return

    def offered_again(reply: MediaReply, later: float) -> None:
        bridge.answer(leg, peer, answer, later, lambda _reply, _now: None)

    bridge.offer(leg, peer, offer, now, offered_again)
