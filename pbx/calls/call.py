"""A call: its legs, the pair that talks, its bridge, and how it ends.

A call starts with an initial INVITE that passed authentication (``node.py``), is set up by
``setup.py``, changed by ``renegotiation.py`` and ``transfer.py``, and ends exactly once in
:meth:`Call.finish`: every leg gets its BYE, CANCEL or refusal, the bridges are released, their
figures written, and ``call.ended`` is the last event of the stream.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pbx.calls import cause, renegotiation
from pbx.calls.bridge import Bridge
from pbx.calls.cause import (
    Q850_NORMAL,
    Q850_TIMER_EXPIRY,
    End,
    EndCause,
    EndedBy,
    failure,
)
from pbx.calls.join import Join
from pbx.calls.journal import Journal
from pbx.calls.leg import Leg, Role
from pbx.calls.setup import Setup
from pbx.domain.calls import CallDecided, CallEnded, MediaTimedOut

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.calls.program import ProgramUsage
    from pbx.calls.rearrange import Rearrangement
    from pbx.calls.routing import Route
    from sip.dialog.invite import InviteUsage
    from sip.events import InviteFailed, UsageEnded
    from sip.flow import Flow
    from sip.message import Request


class CallState(Enum):
    """SETUP: nobody answered yet; ANSWERED: a pair talks or a transfer looks for one;
    RELEASING: all legs are told, media figures are awaited; ENDED: ``call.ended`` is written."""

    SETUP = 1
    ANSWERED = 2
    RELEASING = 3
    ENDED = 4


class Call:
    """See the module. One thread, no I/O; `now` is monotonic seconds."""

    __slots__ = (
        "_bridge_serial", "_leg_serial", "account", "answered_at", "bridge", "bridges", "caller",
        "came_by", "charged", "claimed_by", "counted", "end", "ended_at", "id", "journal", "legs",
        "negotiating", "node", "pair", "releasing", "setup", "started_ns", "state", "transfer",
        "urgent",
    )  # fmt: skip

    def __init__(
        self,
        node: SignalNode,
        usage: InviteUsage | ProgramUsage,
        account: str,
        tenant: str,
        now: float,
        *,
        program: bool = False,
        charged: str = "",
        came_by: str = "",
    ) -> None:
        """`account` is the authenticated caller's, empty for a stranger; `charged` whose call it is
        if that is another account: one whose provider sent it, as `came_by` tells. `program`: a
        program makes this call."""
        self.node = node
        self.started_ns = node.clock.wall_ns()
        self.id = node.new_id(self.started_ns)
        self.account = account
        self.charged = charged or account
        self.came_by = came_by
        self.journal = Journal(
            node.log, self.id, actor=account or "stranger", tenant=tenant, started=now
        )
        self._leg_serial = 0
        self._bridge_serial = 0
        self.state = CallState.SETUP
        self.end: End | None = None
        self.ended_at = 0.0
        self.answered_at = 0.0
        self.bridge: Bridge | None = None
        """The one of the pair that talks."""
        self.bridges: list[Bridge] = []
        """All that are open: joining legs anew has two for a while."""
        self.pair: tuple[Leg, Leg] | None = None
        """The two legs that talk; None during set-up and while a transferee waits."""
        self.transfer: Rearrangement | None = None
        self.claimed_by: Rearrangement | None = None
        """A transfer or takeover of another call is about to take a leg of this one."""
        self.negotiating: Leg | None = None
        """The leg whose mid-call offer is on its way; others get 491 meanwhile."""
        self.releasing = 0
        """Bridges whose figures are awaited."""
        self.counted: list[str] = []
        """Accounts for which this call counts as a concurrent one."""
        self.urgent = False
        """A call for help: no limit, rule or setting stands in its way."""
        self.legs: dict[str, Leg] = {}
        self.caller = Leg(self, usage, Role.CALLER, account, program=program)
        self.legs[self.caller.id] = self.caller
        self.setup: Setup | None = None
        node.calls[self.id] = self

    def next_leg_id(self) -> str:
        """Leg ids are unique over all calls: a transfer moves legs between calls."""
        self._leg_serial += 1
        return f"{self.id[-12:]}.{self._leg_serial}"

    def next_bridge_id(self) -> str:
        """Call-id of the next media session."""
        self._bridge_serial += 1
        return f"{self.id}.{self._bridge_serial}"

    def begin(self, request: Request, flow: Flow, now: float) -> None:
        """Take the initial INVITE on."""
        self.setup = Setup(self)
        self.setup.begin(request, flow, now)

    def decided(self, step: str, outcome: str, reason: str, now: float) -> None:
        """Record a decision with its reason."""
        self.journal.write(
            CallDecided(
                step=step,
                outcome=outcome,
                reason=reason,
                elapsed_ms=self.journal.elapsed_ms(now),
            )
        )

    def routed(self, uri: str, route: Route, now: float, *, briefly: bool = False) -> None:
        """Record what the Router made of a URI; `briefly` if it is told elsewhere unless it
        became another address on the way."""
        if briefly and (route.decision is None or len(route.decision.steps) < 2):
            return
        self.journal.write(route.event(uri, self.journal.elapsed_ms(now)))

    def uncount_others(self, since: int, parties: frozenset[str]) -> None:
        """Of the accounts that count this call from the place `since` on, only `parties` have a
        part in it any more; a domain counts it as long as one of its accounts does."""
        counted = self.counted
        kept = counted[:since] + [
            name for name in counted[since:] if name in parties or name.startswith("@")
        ]
        domains = {name[name.rindex("@") :] for name in kept if not name.startswith("@")}
        kept = [name for name in kept if not name.startswith("@") or name in domains]
        self.node.limits.release([name for name in counted if name not in kept])
        self.counted = kept

    def peer_of(self, leg: Leg) -> Leg | None:
        """The leg that `leg` talks with."""
        pair = self.pair
        if pair is None:
            return None
        if pair[0] is leg:
            return pair[1]
        return pair[0] if pair[1] is leg else None

    def talking(self, left: Leg, right: Leg, bridge: Bridge) -> None:
        """`left` and `right` are joined by `bridge` from now on."""
        self.pair = (left, right)
        self.bridge = bridge
        if self.state is CallState.SETUP:
            self.state = CallState.ANSWERED

    # The caller's INVITE.

    def cancelled(self, reason: str, now: float) -> None:
        """CANCEL of the caller (the engine has answered it)."""
        end = End(487, EndCause.CANCEL, Q850_NORMAL, EndedBy.CALLER, "caller gave up")
        self.caller.ended(end, now)
        self.finish(end, now, reason)

    def caller_failed(self, event: InviteFailed, now: float) -> None:
        """The caller's own transaction died: its flow, or a provisional it never acknowledged."""
        end = failure(event.status, EndedBy.SERVER, f"caller lost: {event.cause}")
        self.caller.ended(end, now)
        self.finish(end, now)

    # Events of answered legs.

    def on_offer(self, leg: Leg, body: bytes, method: str, now: float) -> None:
        """Re-INVITE, UPDATE or PRACK with an offer."""
        renegotiation.offered(self, leg, body, now)

    def on_offer_requested(self, leg: Leg, now: float) -> None:
        """Re-INVITE without a description."""
        renegotiation.requested(self, leg, now)

    def on_usage_ended(self, leg: Leg, event: UsageEnded, now: float) -> None:
        """A confirmed leg is gone: BYE, session timer, lost ACK, dead transport."""
        if event.by == "remote":
            reason = event.request.first("Reason") if event.request is not None else None
            end = End(200, EndCause.NORMAL, Q850_NORMAL, leg.side, "hung up")
        else:
            reason = None
            end = End(200, EndCause.ERROR, Q850_TIMER_EXPIRY, EndedBy.SERVER, f"lost: {event.by}")
        self.party_left(leg, end, reason or "", now)

    def party_left(self, leg: Leg, end: End, reason: str, now: float) -> None:
        """The party of an answered leg is gone; `reason` is for the Reason field of the others."""
        leg.ended(end, now)
        self._leg_gone(leg, end, now, reason)
        leg.offer_ended(481, b"", now)

    def _leg_gone(self, leg: Leg, end: End, now: float, reason: str) -> None:
        if self.state is not CallState.ANSWERED and self.state is not CallState.SETUP:
            return
        for transfer in (self.transfer, self.claimed_by):
            if transfer is not None and transfer.leg_gone(leg, end, now):
                return
        if self.state is CallState.SETUP:
            # The callee hung up before the caller got its 200: for the caller nobody answered.
            end = cause.failure(480, end.by, end.reason)
        if self.pair is None or leg in self.pair:
            self.finish(end, now, reason)

    def on_media_timeout(self, bridge: Bridge, now: float) -> None:
        """No packet on any stream for the time-out: half-dead calls end here."""
        if bridge is not self.bridge or self.state is not CallState.ANSWERED:
            return
        self.journal.write(MediaTimedOut(bridge=bridge.id, elapsed_ms=self.journal.elapsed_ms(now)))
        end = End(200, EndCause.MEDIA_TIMEOUT, Q850_TIMER_EXPIRY, EndedBy.SERVER, "media timeout")
        self.finish(end, now)

    def on_media_lost(self, now: float) -> None:
        """The media service lost its sessions: two who talk are joined in a new one.

        What is not simply two who talk (ringing, a transfer) ends.
        """
        pair, old = self.pair, self.bridge
        rearranged = self.transfer or self.claimed_by or self.negotiating
        if self.state is not CallState.ANSWERED or pair is None or rearranged:
            self.finish(cause.failure(500, EndedBy.SERVER, "the media service restarted"), now)
            return
        self.decided("media", "joined anew", "the media service restarted", now)
        if pair[0].program:
            pair = (pair[1], pair[0])  # a program has lost what it described
        self.negotiating = pair[0]

        def joined(status: int, later: float) -> None:
            self.negotiating = None
            if status >= 300:
                self.finish(
                    cause.failure(500, EndedBy.SERVER, "media could not be restored"), later
                )
            elif old is not None:
                old.release(later)

        Join(self, *pair, joined).start(now)

    # The end.

    def finish(self, end: End, now: float, reason: str = "") -> None:
        """End the call: every leg, every timer, every port. Later calls do nothing."""
        if self.state is CallState.RELEASING or self.state is CallState.ENDED:
            return
        self.state = CallState.RELEASING
        self.end = end
        self.ended_at = now
        # Bridges released on the way must not close the call before its legs have ended.
        self.releasing += 1
        if self.setup is not None:
            self.setup.stop(end, now, reason)
        if self.transfer is not None:
            self.transfer.call_finished(end, now)
        if self.claimed_by is not None:
            self.claimed_by.other_call_finished(self, now)
        for leg in list(self.legs.values()):
            if leg.call is self:
                leg.hang_up(end, now, reason)
        self.pair = None
        self.node.limits.release(self.counted)
        self.counted = []
        self.bridge = None
        for bridge in self.bridges[:]:
            bridge.release(now)
        self.bridge_released(now)

    def bridge_released(self, now: float) -> None:
        """The figures of a bridge are written, or :meth:`finish` has told everybody.

        ``call.ended`` is the last event: it waits for the figures of every bridge.
        """
        self.releasing -= 1
        if self.releasing == 0 and self.state is CallState.RELEASING:
            self._close(now)

    def _close(self, now: float) -> None:
        end = self.end
        assert end is not None
        self.state = CallState.ENDED
        answered = self.answered_at > 0
        ended_ms = self.journal.elapsed_ms(self.ended_at)
        self.journal.write(
            CallEnded(
                status=200 if answered else end.status,
                cause=end.cause.value,
                q850=end.q850,
                ended_by=end.by.value,
                reason=end.reason,
                elapsed_ms=ended_ms,
                talk_ms=int((self.ended_at - self.answered_at) * 1000 + 0.5) if answered else 0,
            )
        )
        self.node.call_closed(self)
        # Nothing of a finished call may lie about until the cyclic collector finds it.
        self.setup = self.transfer = self.claimed_by = self.negotiating = None
        self.legs.clear()
        del self.caller
