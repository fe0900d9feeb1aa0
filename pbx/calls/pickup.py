"""Call pickup: somebody takes the place of a phone that rings (RFC 3891 on an early dialog).

The dialog between us and the ringing phone is known to its neighbours by the ``dialog`` package
(RFC 4235) or from a REFER. Who takes the call over is

- the caller of an INVITE with Replaces (its call lives only until it is joined), or
- the transferee of a REFER whose Refer-To has such a Replaces.

Both end in an answered leg, the *picker*. It is offered, in a media session of its own, what the
ringing phones were offered; its answer counts as theirs would: they are cancelled with the Reason
that keeps them from logging a missed call (RFC 3326), and the caller gets its 200. Until then they
go on ringing, and one that answers first has the call.

An INVITE brings an offer of its own, but so did the one of the caller, and two offers cannot answer
each other. So it is accepted with an answer that takes its streams as inactive, and a re-INVITE
follows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pbx.calls import cause, sdp_text
from pbx.calls.bridge import Bridge
from pbx.calls.call import CallState
from pbx.calls.cause import End, EndedBy
from pbx.calls.leg import Leg, LegState
from pbx.calls.ports import MediaReply
from pbx.calls.rearrange import TRANSFERRED, let_go, move_leg
from pbx.domain.calls import CallAnswered

if TYPE_CHECKING:
    from pbx.calls.call import Call
    from pbx.calls.dial import Dial

PickupDone = Callable[[int, str, float], None]


def refusal(found: Leg, account: str) -> tuple[int, str] | None:
    """Why `account` may not take the place of `found`, a leg that is not answered."""
    dial = found.dial
    if found.state is not LegState.INVITED or dial is None or not dial.active:
        # RFC 3891 §3: of early dialogs only those that we began, by our INVITE.
        return 481, "Replaces names no dialog that rings"
    if not account or _domain(account) != _domain(found.account):
        return 403, f"{account or 'nobody of ours'} may not pick up calls of {found.account}"
    if found.call.claimed_by is not None:
        return 491, "somebody else is picking it up"
    if not dial.offer:
        return 488, "its caller has not said what it can receive"
    return None


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def answer_invite(call: Call, found: Leg, offer: bytes, now: float) -> None:
    """Take the INVITE of `call` on, whose caller shall get the call of `found`."""
    picker = call.caller
    bridge = call.bridge = Bridge(call)

    def offered(reply: MediaReply, later: float) -> None:
        if reply.error:
            _refuse(call, 500, reply.error, later)
            return
        bridge.note_allocated(later)
        # The service makes it an answer that the later offer can follow (RFC 3264 §8: one origin).
        waiting = sdp_text.inactive_answer(offer)
        bridge.answer_alone(picker, waiting, later, answered)

    def answered(reply: MediaReply, later: float) -> None:
        refused = refusal(found, call.account)
        if reply.error:
            _refuse(call, 500, reply.error, later)
        elif refused is not None:
            _refuse(call, *refused, later)
        else:
            _accept(call, found, reply.sdp, later)

    bridge.offer(picker, None, offer, now, offered)


def _refuse(call: Call, status: int, reason: str, now: float) -> None:
    call.decided("replaces", str(status), reason, now)
    call.finish(cause.failure(status, EndedBy.SERVER, reason), now)


def _accept(call: Call, found: Leg, answer: bytes, now: float) -> None:
    picker = call.caller
    picker.answered(now)
    call.answered_at = now
    call.state = CallState.ANSWERED
    call.node.call_answered(call)
    elapsed_ms = call.journal.elapsed_ms(now)
    call.journal.write(CallAnswered(leg_id=picker.id, peer_leg_id="", elapsed_ms=elapsed_ms))
    picker.usage.accept(answer, now=now)

    def done(status: int, reason: str, later: float) -> None:
        if status >= 300:
            call.finish(cause.failure(status, EndedBy.SERVER, reason), later)

    Pickup(call, picker, found, done).start(now)


class Pickup:
    """One pickup under way; ``Rearrangement`` of both calls until it is decided."""

    __slots__ = (
        "_bridge", "_done", "_over", "call", "dial", "found", "joining", "old", "picker",
    )  # fmt: skip

    def __init__(self, call: Call, picker: Leg, found: Leg, done: PickupDone) -> None:
        """`done(status, reason, now)` comes once; with 200 the picker has left `call`."""
        assert found.dial is not None  # refusal() was asked
        self.call = call
        self.picker = picker
        self.found = found
        self.old = found.call
        self.dial: Dial = found.dial
        self.joining = True
        self._over = False
        self._done = done
        self._bridge = Bridge(self.old)
        call.transfer = self
        self.old.claimed_by = self

    def start(self, now: float) -> None:
        """Offer the caller's description to the picker."""
        offerer, offer = self.dial.source
        self._bridge.offer(offerer, self.picker, offer, now, self._rewritten)

    def _rewritten(self, reply: MediaReply, now: float) -> None:
        if self._over:
            return
        if reply.error:
            self._fail(500, reply.error, now)
            return
        self._bridge.note_allocated(now)
        self.picker.send_offer(reply.sdp, now, self._replied)

    def _replied(self, status: int, answer: bytes, now: float) -> None:
        if self._over:
            return
        if status >= 300 or not answer:
            self._fail(status if status >= 300 else 488, "the picker refused", now)
            return
        if not self.dial.active:
            self._fail(481, "somebody else was faster", now)
            return
        self._close()
        call, old, picker = self.call, self.old, self.picker
        picker.agreed_body = answer
        # It counts as a call of whoever has it, and no longer of the phone that rang.
        limits = call.node.limits
        if picker.account in call.counted and picker.account not in old.counted:
            call.counted.remove(picker.account)
            old.counted.append(picker.account)
        ringing = self.found.account
        if ringing in old.counted and ringing not in (old.account, picker.account):
            old.counted.remove(ringing)
            limits.release([ringing])
        move_leg(picker, call, old, old.caller, now)
        self.dial.taken(picker, answer, self._bridge, now)
        self._done(200, "OK", now)
        call.pair = None
        call.finish(TRANSFERRED, now)

    def _fail(self, status: int, reason: str, now: float) -> None:
        if not self._over:
            self._close()
            self._bridge.release(now)
            self._done(status, reason, now)

    def _close(self) -> None:
        self._over = True
        let_go(self, self.call, self.old)

    # Rearrangement.

    def leg_gone(self, leg: Leg, end: End, now: float) -> bool:
        """The picker hung up, or the one who sent it on (then it goes on regardless)."""
        if leg is self.picker:
            self._fail(487, "the picker hung up", now)
            return False
        if leg.call is self.call:
            self.call.pair = None
            return True
        return False

    def call_finished(self, end: End, now: float) -> None:
        """The picker's call is ended."""
        self._fail(487, "the call ended", now)

    def other_call_finished(self, other: Call, now: float) -> None:
        """The caller gave up, or nobody took the call in time."""
        self._fail(487, "the call to pick up ended", now)
