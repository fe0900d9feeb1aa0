"""REFER (RFC 3515, 3891, 5589): blind and attended transfer, executed by the server.

The *transferor* sends REFER, the *transferee* is its peer, the *target* is whom the transferee
shall talk to. The server answers 202, reports by NOTIFY (``message/sipfrag``), and re-joins the
legs itself: the transferee never has to understand REFER.

- Blind: the target is dialled in the name of the transferor's account, under Signal Rules if there
  are any (a :class:`~pbx.calls.hunt.Hunt`); when somebody answers, both are joined in a fresh
  session. Until then the old pair stays as it is; if the transferor hangs up meanwhile the
  transferee waits for the outcome.
- Attended: Replaces names a dialog of ours: the leg behind it and the transferee are joined,
  both legs of the transferor are dropped. The found leg moves into this call.

Whoever hangs up at whatever moment: :meth:`Transfer.leg_gone`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.calls import cause, sdp_text
from pbx.calls.call_facts import CallFacts
from pbx.calls.cause import Q850_NORMAL, End, EndCause, EndedBy
from pbx.calls.dial import Contact, Dial, DialListener, Failure
from pbx.calls.hunt import Hunt
from pbx.calls.join import Join, Rejoin
from pbx.calls.leg import Leg, Role
from pbx.calls.rearrange import TRANSFERRED, move_leg
from pbx.domain.calls import CallBridged, CallTransferred
from sip.message import REASONS, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx.calls.bridge import Bridge
    from pbx.calls.call import Call
    from sip.events import InviteAnswered, InviteProgress
    from sip.uri import SipUri


#: The end of a target that was dialled in vain.
_FAILED: Final = cause.failure(487, EndedBy.SERVER, "transfer failed")


class Transfer:
    """One REFER being carried out; at most one per call.

    It implements ``DialListener`` and ``Rearrangement``.
    """

    __slots__ = (
        "_before", "_dial", "_join", "_old_bridge", "_other", "_other_leg", "_over",
        "_target_leg", "call", "joining", "kind", "target_uri", "transferee", "transferor",
    )  # fmt: skip

    def __init__(self, call: Call, transferor: Leg, transferee: Leg, target_uri: str) -> None:
        self.call = call
        self.transferor = transferor
        self.transferee = transferee
        self.target_uri = target_uri
        self.kind = "blind"
        self.joining = False
        """True while answered legs are re-joined: offers of theirs get 491 meanwhile."""
        self._over = False
        self._before = len(call.counted)
        self._dial: Dial | Hunt | None = None
        self._join: Join | None = None
        self._old_bridge: Bridge | None = call.bridge
        self._target_leg: Leg | None = None
        self._other: Call | None = None
        self._other_leg: Leg | None = None
        call.transfer = self

    def refuse(self, status: int, now: float) -> None:
        """Nobody to dial: the transferor learns it from the one and final NOTIFY."""
        self._failed(status, REASONS.get(status, "Refused"), now)

    def start_blind(
        self,
        contacts: list[Contact],
        headers: tuple[tuple[str, str], ...],
        now: float,
        *,
        urgent: bool = False,
    ) -> None:
        """Dial the target for the transferee; `urgent`: no limit of theirs counts."""
        call = self.call
        left = contacts if urgent else self._admitted(contacts, now)
        if not left:
            self.refuse(486, now)
            return
        dial = self._dial = self._new_dial(self, headers)
        ring_s = call.node.config.no_answer_s
        self._prepare(lambda offer, later: dial.start(left, offer, ring_s, later), now)

    def start_ruled(
        self,
        target: SipUri,
        headers: tuple[tuple[str, str], ...],
        account: str,
        now: float,
        *,
        plain: bool = False,
    ) -> None:
        """The same under Signal Rules: to them it is a call from the transferee, who is where it
        is, with the authentication of `account`, the transferor's. `plain`: there are none, but the
        target is an application."""
        call = self.call
        transferee = self.transferee
        request = Request(
            "INVITE",
            self.target_uri,
            (
                ("From", f"{transferee.presentation().from_};tag={transferee.id}"),
                ("To", f"<{self.target_uri}>"),
                ("Call-ID", transferee.usage.call_id),
                *headers,
            ),
            transferee.agreed_body,
        )
        hunt = self._dial = Hunt(
            call,
            self,
            lambda listener: self._new_dial(listener, headers),
            CallFacts(call.node, account, call.counted, request, transferee.usage.flow),
            call.node.config.no_answer_s,
            account=account,
            party=transferee,
            plain=plain,
            # Programs act for those who call them; a stranger would have our party pay.
            programs=bool(account),
        )
        hunt.open(target, self.target_uri, now)
        if hunt.active:
            self._prepare(hunt.start, now)

    def _new_dial(self, listener: DialListener, headers: tuple[tuple[str, str], ...]) -> Dial:
        """A dial for the transferee, as it is shown at this moment."""
        return Dial(
            self.call,
            listener,
            parent=self.transferor,
            role=Role.TRANSFER,
            shown=self.transferee.presentation(),
            to=f"<{self.target_uri}>",
            headers=headers,
            max_forwards=69,
        )

    def _prepare(self, start: Callable[[bytes, float], None], now: float) -> None:
        join = self._join = Join(self.call, self.transferee, None, self._joined)
        join.prepare(now, start)

    def _admitted(self, contacts: list[Contact], now: float) -> list[Contact]:
        """The contacts whose accounts may take one more call."""
        call = self.call
        refused = set()
        for account in dict.fromkeys(contact.account for contact in contacts):
            refusal = call.node.limits.admit(account, call.counted, now)
            if refusal is not None:
                refused.add(account)
                call.decided("limit", "refused", f"target {refusal}", now)
        return [contact for contact in contacts if contact.account not in refused]

    def start_attended(self, other: Call, other_leg: Leg, target_leg: Leg, now: float) -> None:
        """Join the transferee with `target_leg`, the peer of `other_leg` in `other`."""
        self.kind = "attended"
        self._other = other
        self._other_leg = other_leg
        self._target_leg = target_leg
        other.claimed_by = self
        self.joining = True
        self._join = Join(self.call, self.transferee, target_leg, self._joined)
        self._join.start(now)

    # DialListener (blind).

    def dial_progress(self, leg: Leg, event: InviteProgress, now: float) -> None:
        """Ringing of the target is reported to the transferor."""
        self._notify(event.response.status, event.response.reason, False, now)

    def dial_answered(self, leg: Leg, event: InviteAnswered, now: float) -> None:
        """The target took the call: join it with the transferee."""
        self._target_leg = leg
        self._uncount(leg.parties)
        body = event.body or leg.usage.remote_body
        join = self._join
        if join is None or event.answer_needed or not body:
            if event.answer_needed:
                leg.usage.ack(b"", now=now)
            self._failed(488, "no session description", now)
            return
        self.joining = True
        join.right_answered(leg, body, now)

    def dial_failed(self, failure: Failure, now: float) -> None:
        """Nobody took it: the old pair goes on."""
        reason = failure.reason
        if isinstance(self._dial, Hunt) and failure.by is EndedBy.SERVER:
            # Why we refuse is for our log; what a rule says is for who asked.
            reason = self.transferee.phrase or REASONS.get(failure.status, "Refused")
            self.transferee.phrase = ""
        self._failed(failure.status, reason, now)

    def dial_taken(self, leg: Leg, body: bytes, bridge: Bridge, now: float) -> None:
        """The target's phone rang, and a neighbour took the call."""
        self._target_leg = leg
        self.joining = True
        join = self._join
        assert join is not None
        join.bridge.release(now)
        join.bridge = bridge
        join.right_answered(leg, body, now)

    def program_progress(
        self,
        status: int,
        body: bytes,
        now: float,
        *,
        reason: str = "",
        reliable: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        """The target is an application that lets the transferee wait."""
        self._notify(status, reason or REASONS.get(status, ""), False, now)

    def dial_source(self) -> tuple[Leg, bytes]:
        """The transferee is who will talk."""
        return self.transferee, sdp_text.with_sendrecv(self.transferee.agreed_body)

    def _uncount(self, parties: frozenset[str]) -> None:
        """Of the accounts that were called for the transfer only these go on counting the call."""
        if len(self.call.counted) > self._before:
            self.call.uncount_others(self._before, parties)

    # Outcome.

    def _joined(self, status: int, now: float) -> None:
        if self._over:
            return
        if status >= 300:
            self._failed(status, "the parties could not be joined", now)
            return
        self._close()
        call = self.call
        target = self._target_leg
        join, self._join = self._join, None
        self._dial = None
        assert target is not None and join is not None
        other = self._other
        if other is not None:
            move_leg(target, other, call, self.transferor, now)
        journal = call.journal
        elapsed_ms = journal.elapsed_ms(now)
        journal.write(
            CallBridged(
                leg_id=self.transferee.id,
                peer_leg_id=target.id,
                bridge=join.bridge.id,
                elapsed_ms=elapsed_ms,
            )
        )
        self._record(200, now)
        if self._old_bridge is not None:
            self._old_bridge.release(now)
        self._notify(200, "OK", True, now)
        self._drop_transferor(now)
        if other is not None:
            other.claimed_by = None
            other.pair = None
            other.finish(TRANSFERRED, now)

    def _failed(self, status: int, reason: str, now: float, end: End | None = None) -> None:
        """It came to nothing: the old pairs go on, or end (with `end`) if a party is missing."""
        if self._over:
            return
        self._close()
        call = self.call
        dial, self._dial = self._dial, None
        join, self._join = self._join, None
        if dial is not None:
            dial.stop(_FAILED, now)
        self._uncount(frozenset())
        if join is not None:
            join.fail(status, now)
        self._record(status, now)
        self._notify(status, reason, True, now)
        other = self._other
        if other is not None:
            other.claimed_by = None
            self._give_back(other, join is not None and join.right_touched, now)
        elif self.kind == "blind" and self._target_leg is not None:
            self._target_leg.hang_up(_FAILED, now)
        if not self.transferor.alive or not self.transferee.alive:
            call.finish(end or cause.failure(status, EndedBy.SERVER, "transfer failed"), now)
        elif join is not None and join.left_touched:
            Rejoin(call).start(now)

    def _give_back(self, other: Call, touched: bool, now: float) -> None:
        """The target goes on with the transferor's other leg, if both are there still."""
        target, back = self._target_leg, self._other_leg
        assert target is not None and back is not None
        if not target.alive or not back.alive:
            gone = target if not target.alive else back
            other.finish(End(200, EndCause.NORMAL, Q850_NORMAL, gone.side, "hung up"), now)
        elif touched:
            Rejoin(other).start(now)

    def _drop_transferor(self, now: float) -> None:
        """Phones hang up by themselves after the final NOTIFY; the server helps after a while."""
        if self.transferor.alive:
            node = self.call.node
            node.timers.call_at(now + node.config.transfer_grace_s, self._too_slow)

    def _too_slow(self, now: float) -> None:
        self.transferor.hang_up(TRANSFERRED, now)

    def _record(self, status: int, now: float) -> None:
        journal = self.call.journal
        journal.write(
            CallTransferred(
                leg_id=self.transferor.id,
                transferee_leg_id=self.transferee.id,
                target_uri=self.target_uri,
                kind=self.kind,
                status=status,
                other_call=self._other.id if self._other is not None else "",
                elapsed_ms=journal.elapsed_ms(now),
            )
        )

    def _notify(self, status: int, reason: str, final: bool, now: float) -> None:
        # Also after the transferor hung up: its subscription outlives the call (RFC 5057 §5.2),
        # and only the final NOTIFY ends it.
        self.transferor.usage.notify_refer(status, reason, final, now=now)

    def _close(self) -> None:
        self._over = True
        self.joining = False
        if self.call.transfer is self:
            self.call.transfer = None

    # Somebody hangs up.

    def leg_gone(self, leg: Leg, end: End, now: float) -> bool:
        """A leg of this or of the claimed call ended. True: the call goes on regardless."""
        call = self.call
        if leg is self.transferor:
            if call.pair is not None and leg in call.pair:
                call.pair = None
            return True
        if leg is self._other_leg:
            return True
        if leg is self._target_leg:
            self._failed(480, "the target hung up", now)
            return True
        if leg is self.transferee:
            self._failed(487, "the transferee hung up", now, end)
        return False

    def call_finished(self, end: End, now: float) -> None:
        """The call ends while this transfer runs."""
        self._failed(487, "the call ended", now)

    def other_call_finished(self, other: Call, now: float) -> None:
        """The claimed call ends by itself (server stop, media time-out)."""
        other.claimed_by = None
        self._other = None
        self._failed(487, "the other call ended", now)
