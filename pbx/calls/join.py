"""Joining two legs in a fresh media session.

``left`` is an answered leg and keeps what it last described; ``right`` is offered that (by
re-INVITE, or by the INVITE of a blind transfer), its answer becomes an offer to ``left``
(RFC 3725 flow in spirit, with both dialogs ours). Used by transfers and by INVITE with Replaces.
"""

from __future__ import annotations

from collections.abc import Callable
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

    __slots__ = ("_done", "bridge", "call", "left", "right")

    def __init__(self, call: Call, left: Leg, right: Leg | None, done: JoinDone) -> None:
        self.call = call
        self.left = left
        self.right = right
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
        right.send_offer(offer, now, self._right_replied)

    def _right_replied(self, status: int, answer: bytes, now: float) -> None:
        right = self.right
        assert right is not None
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
            self.left.send_offer(reply.sdp, now, self._left_replied)

    def _left_replied(self, status: int, answer: bytes, now: float) -> None:
        if self._done is None:
            return
        if status >= 300:
            self.fail(status, now)
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
            self._realign(right, answer, now)

    def _realign(self, right: Leg, answer: bytes, now: float) -> None:
        """The left party answered with other ports or codecs than it had: the media service
        must know, and the right party too if that changes its view."""
        told = right.usage.local_body
        bridge = self.bridge

        def rewritten(reply: MediaReply, later: float) -> None:
            if reply.error or not right.alive:
                return
            if sdp_text.same_media(told, reply.sdp):
                bridge.answer(self.left, right, right.agreed_body, later, _ignore)
            else:
                right.send_offer(reply.sdp, later, realigned)

        def realigned(status: int, body: bytes, later: float) -> None:
            if status < 300 and body:
                right.agreed_body = body
                bridge.answer(self.left, right, body, later, _ignore)

        bridge.offer(self.left, right, answer, now, rewritten)

    def fail(self, status: int, now: float) -> None:
        """Give up: the new session is released; the legs' old one is not touched."""
        done, self._done = self._done, None
        if done is not None:
            self.bridge.release(now, _nothing)
            done(status, now)


def _nothing(_now: float) -> None:
    return None


def _ignore(_reply: MediaReply, _now: float) -> None:
    return None
