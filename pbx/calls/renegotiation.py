"""Offers inside a conversation: hold, resume, codec and address changes (RFC 3264 §8).

An offer of one leg is rewritten by the media service, offered to the other leg, and its answer
travels back the same way. One exchange at a time per call; a second one gets 491 (RFC 3261
§14.1). If the other side refuses, the media service is put back to what both last agreed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import sdp_text
from pbx.calls.join import Realignment, Rejoin
from pbx.domain.calls import LegRenegotiated

if TYPE_CHECKING:
    from pbx.calls.bridge import Bridge
    from pbx.calls.call import Call
    from pbx.calls.leg import Leg
    from pbx.calls.ports import MediaReply


def offered(call: Call, leg: Leg, body: bytes, now: float) -> None:
    """`leg` offers `body` by re-INVITE or UPDATE: carry it to its peer and back."""
    peer = call.peer_of(leg)
    bridge = call.bridge
    if peer is None or bridge is None or _busy(call):
        leg.usage.reject_offer(491, now=now)
    else:
        Exchange(call, bridge, leg, peer, body).start(now)


def requested(call: Call, leg: Leg, now: float) -> None:
    """Re-INVITE without a description: offer what the peer can do (RFC 3261 §14.2)."""
    peer = call.peer_of(leg)
    bridge = call.bridge
    if peer is None or bridge is None or _busy(call):
        leg.usage.reject_offer(491, now=now)
    else:
        OfferlessExchange(call, bridge, leg, peer).start(now)


def _busy(call: Call) -> bool:
    """Another exchange runs, or a transfer is re-joining legs just now."""
    return (
        call.negotiating is not None
        or (call.transfer is not None and call.transfer.joining)
        or call.claimed_by is not None
    )


class _Exchange:
    """What both kinds share; `call.negotiating` is set from :meth:`start` to the end."""

    __slots__ = ("_bridge", "_call", "_leg", "_peer")

    def __init__(self, call: Call, bridge: Bridge, leg: Leg, peer: Leg) -> None:
        self._call = call
        self._bridge = bridge
        self._leg = leg
        self._peer = peer

    def _note(self, status: int, now: float) -> None:
        journal = self._call.journal
        journal.write(
            LegRenegotiated(
                leg_id=self._leg.id,
                method="OFFER",
                status=status,
                elapsed_ms=journal.elapsed_ms(now),
            )
        )

    def _refuse(self, status: int, now: float) -> None:
        self._call.negotiating = None
        self._note(status, now)
        self._leg.usage.reject_offer(status, now=now)


class Exchange(_Exchange):
    """An offer on its way to the peer, and the answer back."""

    __slots__ = ("_before", "_offer")

    def __init__(self, call: Call, bridge: Bridge, leg: Leg, peer: Leg, offer: bytes) -> None:
        super().__init__(call, bridge, leg, peer)
        self._offer = offer
        self._before = (leg.agreed_body, peer.agreed_body)

    def start(self, now: float) -> None:
        """Have the offer rewritten."""
        self._call.negotiating = self._leg
        self._bridge.offer(self._leg, self._peer, self._offer, now, self._rewritten)

    def _rewritten(self, reply: MediaReply, now: float) -> None:
        if reply.error:
            self._refuse(488, now)
        else:
            self._peer.send_offer(reply.sdp, now, self._replied)

    def _replied(self, status: int, answer: bytes, now: float) -> None:
        leg = self._leg
        if not leg.alive or not self._peer.alive:
            self._call.negotiating = None
        elif status >= 300:
            self._refuse(491 if status == 491 else 488, now)
            self._restore(now)
        else:
            self._peer.agreed_body = answer
            self._bridge.answer(leg, self._peer, answer, now, self._answered)

    def _answered(self, reply: MediaReply, now: float) -> None:
        leg = self._leg
        if reply.error:
            self._refuse(488, now)
            # The peer has agreed to what nobody will send: both are asked anew.
            Rejoin(self._call).start(now)
            return
        self._call.negotiating = None
        leg.agreed_body = self._offer
        self._note(200, now)
        leg.note_direction(sdp_text.direction(self._offer), now)
        leg.usage.answer(reply.sdp, now=now)

    def _restore(self, now: float) -> None:
        """Give the media service the last agreed descriptions again: the offer never happened."""
        if all(self._before):
            self._bridge.offer(self._leg, self._peer, self._before[0], now, self._offer_restored)

    def _offer_restored(self, reply: MediaReply, now: float) -> None:
        self._bridge.answer(self._leg, self._peer, self._before[1], now, _ignore)


class OfferlessExchange(_Exchange):
    """A re-INVITE without a description: the peer's goes into our 200, the answer into the ACK.

    The peer is re-offered only if the answer changes something for it.
    """

    __slots__ = ("_told",)

    def start(self, now: float) -> None:
        """Have the peer's description rewritten; unless the peer holds, hold may end by this."""
        peer = self._peer
        self._call.negotiating = self._leg
        self._told = peer.usage.local_body
        body = peer.agreed_body if peer.held else sdp_text.with_sendrecv(peer.agreed_body)
        self._bridge.offer(peer, self._leg, body, now, self._rewritten)

    def _rewritten(self, reply: MediaReply, now: float) -> None:
        if reply.error:
            self._refuse(488, now)
            return
        self._leg.offer_done = self._acknowledged
        self._leg.usage.answer_with_offer(reply.sdp, now=now)

    def _acknowledged(self, status: int, answer: bytes, now: float) -> None:
        self._call.negotiating = None
        leg = self._leg
        if status >= 300 or not answer or not leg.alive or not self._peer.alive:
            return
        leg.agreed_body = answer
        leg.note_direction(sdp_text.direction(answer), now)
        self._bridge.answer(self._peer, leg, answer, now, self._answered)

    def _answered(self, reply: MediaReply, now: float) -> None:
        self._note(488 if reply.error else 200, now)
        if not reply.error and not sdp_text.same_media(self._told, reply.sdp):
            Realignment(self._bridge, self._leg, self._peer, self._leg.agreed_body).start(now)


def _ignore(_reply: MediaReply, _now: float) -> None:
    return None
