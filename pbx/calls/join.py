"""Joining two legs in a fresh media session.

``left`` is an answered leg and keeps what it last described; ``right`` is offered that (by
re-INVITE, or by the INVITE of a blind transfer), its answer becomes an offer to ``left``
(RFC 3725 flow in spirit, with both dialogs ours). Used by transfers and by INVITE with Replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pbx.calls import sdp_text
from pbx.calls.bridge import Bridge
from pbx.calls.leg import Leg
from pbx.calls.ports import MediaReply

if TYPE_CHECKING:
    from pbx.calls.call import Call

JoinDone = Callable[[int, float], None]


class Join:
    """One attempt; `done(status, now)` comes exactly once, 200 when both sides agreed."""

    __slots__ = ("_done", "bridge", "call", "left", "left_touched", "right", "right_touched")

    def __init__(self, call: Call, left: Leg, right: Leg | None, done: JoinDone) -> None:
        self.call = call
        self.left = left
        self.right = right
        self.left_touched = False
        """The left party has got, or may have got, a description of the new session."""
        self.right_touched = False
        self.bridge = Bridge(call)
        self._done: JoinDone | None = done

    def start(self, now: float) -> None:
        """Offer the left party's description to the right leg by re-INVITE."""
        self.prepare(now, self._offer_right)

    def prepare(self, now: float, ready: Callable[[bytes, float], None]) -> None:
        """Open the session; `ready(offer, now)` gets the description for the right side."""

        def offered(reply: MediaReply, later: float) -> None:
            if reply.error:
                self.fail(500, later)
            elif self._done is not None:
                self.bridge.note_allocated(later)
                ready(reply.sdp, later)

        offer = sdp_text.with_sendrecv(self.left.agreed_body)
        self.bridge.offer(self.left, self.right, offer, now, offered)

    def _offer_right(self, offer: bytes, now: float) -> None:
        right = self.right
        assert right is not None
        self.right_touched = True
        right.send_offer(offer, now, self._right_replied)

    def _right_replied(self, status: int, answer: bytes, now: float) -> None:
        right = self.right
        assert right is not None
        if status >= 300:
            self.right_touched = False
        if status >= 300 or not answer:
            self.fail(status if status >= 300 else 488, now)
        else:
            self.right_answered(right, answer, now)

    def right_answered(self, right: Leg, answer: bytes, now: float) -> None:
        """The right party answered: now the left one learns where its media goes."""
        if self._done is None:
            return
        self.right = right
        right.agreed_body = answer
        self.bridge.answer(self.left, right, answer, now, self._offer_left)

    def _offer_left(self, reply: MediaReply, now: float) -> None:
        if reply.error:
            self.fail(488, now)
        elif self._done is not None:
            # The old pair may be renegotiating just now: that is let through first.
            self.left.after_offer(partial(self._send_left, reply.sdp), now)

    def _send_left(self, offer: bytes, now: float) -> None:
        if self._done is not None:
            self.left_touched = True
            self.left.send_offer(offer, now, self._left_replied)

    def _left_replied(self, status: int, answer: bytes, now: float) -> None:
        if status >= 300:
            self.left_touched = False
            self.fail(status, now)
        if self._done is None:
            return
        right = self.right
        assert right is not None
        done, self._done = self._done, None
        before = self.left.agreed_body
        self.left.agreed_body = answer or before
        self.call.talking(self.left, right, self.bridge)
        self.left.note_direction("sendrecv", now)
        done(200, now)
        if answer and not sdp_text.same_media(sdp_text.with_sendrecv(before), answer):
            Realignment(self.bridge, self.left, right, answer).start(now)

    def fail(self, status: int, now: float) -> None:
        """Give up: the new session is released; the legs' old one is not touched."""
        done, self._done = self._done, None
        if done is not None:
            self.bridge.release(now)
            done(status, now)


class Realignment:
    """One party answered with other ports or codecs than its peer was told.

    The media service must know, and the peer too if that changes its view.
    """

    __slots__ = ("_bridge", "_description", "_left", "_right", "_told")

    def __init__(self, bridge: Bridge, left: Leg, right: Leg, description: bytes) -> None:
        """`description` is the new one of `left`; `right` is its peer."""
        self._bridge = bridge
        self._left = left
        self._right = right
        self._description = description
        self._told = right.usage.local_body

    def start(self, now: float) -> None:
        """Have it rewritten for the peer."""
        self._bridge.offer(self._left, self._right, self._description, now, self._rewritten)

    def _rewritten(self, reply: MediaReply, now: float) -> None:
        right = self._right
        if reply.error or not right.alive:
            return
        if sdp_text.same_media(self._told, reply.sdp):
            self._bridge.answer(self._left, right, right.agreed_body, now, _ignore)
        else:
            right.send_offer(reply.sdp, now, self._realigned)

    def _realigned(self, status: int, answer: bytes, now: float) -> None:
        """A refusal leaves the session as it was for the peer."""
        if status < 300 and answer:
            self._right.agreed_body = answer
            self._bridge.answer(self._left, self._right, answer, now, _ignore)


class Rejoin:
    """Put the pair of a call together again after a rearrangement failed.

    One of the two may have accepted a description of the session that came to nothing. Offers
    still on their way are awaited; if it cannot be done the pair stays as it is.
    """

    __slots__ = ("_call", "_old", "_pair")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._old = call.bridge
        self._pair = call.pair

    def start(self, now: float) -> None:
        """Begin when both legs are free; others get 491 until it is over."""
        pair = self._pair
        if pair is None or self._call.end is not None or self._call.negotiating is not None:
            return
        self._call.negotiating = pair[0]
        pair[0].after_offer(self._left_free, now)

    def _left_free(self, now: float) -> None:
        assert self._pair is not None
        self._pair[1].after_offer(self._both_free, now)

    def _both_free(self, now: float) -> None:
        call, pair = self._call, self._pair
        assert pair is not None
        if call.end is None and call.pair is pair:
            Join(call, *pair, self._joined).start(now)
        else:
            call.negotiating = None

    def _joined(self, status: int, now: float) -> None:
        self._call.negotiating = None
        if status < 300 and self._old is not None:
            self._old.release(now)


def _ignore(_reply: MediaReply, _now: float) -> None:
    return None
