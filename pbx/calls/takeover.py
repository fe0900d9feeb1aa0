"""INVITE with Replaces on an answered leg (RFC 3891): the new caller takes its place.

The leg that stays gets the new caller's description by re-INVITE; its answer is the answer of
the new INVITE. It then moves into the new call, the replaced leg gets BYE, the old call ends.
If it cannot be done the old call goes on and the new caller is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import cause
from pbx.calls.bridge import Bridge
from pbx.calls.cause import Q850_NORMAL, End, EndCause, EndedBy
from pbx.calls.join import Rejoin
from pbx.calls.leg import Leg
from pbx.calls.ports import MediaReply
from pbx.calls.rearrange import TRANSFERRED, let_go, move_leg
from pbx.domain.calls import CallAnswered, CallBridged

if TYPE_CHECKING:
    from pbx.calls.call import Call


class Takeover:
    """Implements ``Rearrangement`` for both calls until it is decided."""

    __slots__ = ("_bridge", "_over", "_touched", "call", "found", "joining", "old", "remaining")

    def __init__(self, call: Call, old: Call, found: Leg, remaining: Leg) -> None:
        self.call = call
        self.old = old
        self.found = found
        self.remaining = remaining
        self.joining = True
        self._over = False
        self._touched = False
        """The leg that stays has got, or may have got, the new caller's description."""
        self._bridge = Bridge(call)
        call.transfer = self
        call.bridge = self._bridge
        old.claimed_by = self

    def start(self, offer: bytes, now: float) -> None:
        """Offer the new caller's description to the leg that stays."""
        self._bridge.offer(self.call.caller, self.remaining, offer, now, self._rewritten)

    def _rewritten(self, reply: MediaReply, now: float) -> None:
        if self._over:
            return
        if reply.error:
            self._fail(500, reply.error, now)
            return
        self._bridge.note_allocated(now)
        self._touched = True
        self.remaining.send_offer(reply.sdp, now, self._replied)

    def _replied(self, status: int, answer: bytes, now: float) -> None:
        if self._over:
            return
        if status >= 300:
            self._touched = False
        if status >= 300 or not answer:
            self._fail(status if status >= 300 else 488, "the other party refused", now)
            return
        self.remaining.agreed_body = answer
        self._bridge.answer(self.call.caller, self.remaining, answer, now, self._accept)

    def _accept(self, reply: MediaReply, now: float) -> None:
        if self._over:
            return
        if reply.error:
            self._fail(500, reply.error, now)
            return
        self._close()
        call, old = self.call, self.old
        caller = call.caller
        move_leg(self.remaining, old, call, caller, now)
        caller.answered(now)
        call.answered_at = now
        call.node.call_answered(call)
        call.talking(caller, self.remaining, self._bridge)
        elapsed_ms = call.journal.elapsed_ms(now)
        call.journal.write(
            CallAnswered(leg_id=caller.id, peer_leg_id=self.remaining.id, elapsed_ms=elapsed_ms)
        )
        call.journal.write(
            CallBridged(
                leg_id=caller.id,
                peer_leg_id=self.remaining.id,
                bridge=self._bridge.id,
                elapsed_ms=elapsed_ms,
            )
        )
        caller.usage.accept(reply.sdp, now=now)
        old.pair = None
        old.finish(TRANSFERRED, now)

    def _fail(self, status: int, reason: str, now: float) -> None:
        if self._over:
            return
        self._close()
        self.call.finish(cause.failure(status, EndedBy.SERVER, reason), now)
        if not self.remaining.alive:
            return  # the old call sees to itself
        if not self.found.alive:
            end = End(200, EndCause.NORMAL, Q850_NORMAL, self.found.side, "hung up")
            self.old.finish(end, now)
        elif self._touched:
            Rejoin(self.old).start(now)

    def _close(self) -> None:
        self._over = True
        let_go(self, self.call, self.old)

    # Rearrangement.

    def leg_gone(self, leg: Leg, end: End, now: float) -> bool:
        """Whoever hangs up before it is decided: it fails, and the old call sees to itself."""
        if leg is self.found:
            return True
        if leg is self.remaining:
            self._fail(480, "the other party hung up", now)
        return False

    def call_finished(self, end: End, now: float) -> None:
        """The new caller gave up."""
        self._fail(end.status, end.reason, now)

    def other_call_finished(self, other: Call, now: float) -> None:
        """The old call is ended by the server."""
        self._fail(480, "the call to take over ended", now)
