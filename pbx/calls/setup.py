"""From the initial INVITE to the conversation: routing, media, ringing, answer, failure.

One :class:`Setup` per call. Order of things: ``call.started`` → limits → routing → media offer
→ :class:`~pbx.calls.dial.Dial` (with rules a :class:`~pbx.calls.hunt.Hunt`) → provisional responses
→ answer. A late offer (INVITE without a description, RFC 3264 §4) turns the direction round: the
callee's 2xx carries the offer, the caller's ACK the answer, which then travels on in our ACK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import cause
from pbx.calls.bridge import Bridge
from pbx.calls.call_facts import CallFacts
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.dial import Contact, Dial, DialListener, Failure
from pbx.calls.hunt import Hunt
from pbx.calls.leg import Leg, Role
from pbx.calls.ports import MediaReply
from pbx.calls.presentation import ANONYMOUS, REVEALING, of_caller
from pbx.calls.program import OutgoingOptions, ProgramUsage
from pbx.domain.calls import CallAnswered, CallStarted
from sip.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx.calls.call import Call
    from pbx.calls.node import SignalNode
    from sip.events import InviteAnswered, InviteProgress
    from sip.flow import Flow
    from sip.message import Request

#: Fields of the caller's INVITE that go on to the callee; everything else stays on its leg.
PASSED_ON = frozenset(
    {
        "Subject", "Alert-Info", "Call-Info", "User-to-User", "Privacy", "Diversion",
        "History-Info", "Referred-By", "Priority", "Organization", "Session-ID",
    }
)  # fmt: skip


def note_start(call: Call, request: Request, flow: Flow, now: float) -> None:
    """The first event of a call; from now on its caller has a name for others."""
    from_ = request.from_
    account = call.account
    router = call.node.router
    asserted = router.identity(account) if account else _asserted(call.node, request, flow)
    usage = call.caller.usage
    shown = usage.shown if isinstance(usage, ProgramUsage) else None
    call.caller.shown = shown or of_caller(request, asserted if account else "", asserted)
    call.caller.began(now)
    call.journal.write(
        CallStarted(
            leg_id=call.caller.id,
            sip_call_id=request.call_id,
            from_uri=from_.uri_text,
            from_display=from_.display,
            to_uri=request.to.uri_text,
            request_uri=request.uri,
            source=f"{flow.remote[0]}:{flow.remote[1]}",
            transport=flow.transport,
            account=account,
            asserted_identity=asserted,
            user_agent=(request.first("User-Agent") or "")[:128],
        )
    )


def _patience_s(request: Request, longest_s: float) -> float:
    """How long to ring: what the caller says (RFC 3261 §13.2.1), if it says something sensible."""
    try:
        expires_s = request.expires
    except RemoteProtocolError:
        return longest_s
    return min(longest_s, float(expires_s)) if expires_s else longest_s


def _asserted(node: SignalNode, request: Request, flow: Flow) -> str:
    """What a trusted source says of its caller (RFC 3325 §5); others are not believed."""
    if not request.has("P-Asserted-Identity") or not node.authenticator.trusts(flow):
        return ""
    try:
        return request.addresses("P-Asserted-Identity")[0].uri_text
    except RemoteProtocolError:
        return ""


class Setup:
    """See the module."""

    __slots__ = ("_late", "_rang_from", "_sent", "callee", "call", "dial")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.dial: Dial | Hunt | None = None
        self.callee: Leg | None = None
        self._late = False
        self._rang_from: int | None = None
        """From here on `call.counted` has the accounts of a group: until one of them answers."""
        self._sent: dict[str, bytes] = {}
        """Last early description of each branch, so that repeats cost nothing."""

    def begin(self, request: Request, flow: Flow, now: float) -> None:
        """First event, limits, routing; then media and ringing."""
        call = self.call
        note_start(call, request, flow, now)
        node = call.node
        urgent = node.emergency.is_emergency(request.request_uri)
        if urgent:
            # Neither limits nor rules stand between a caller and help.
            call.decided("emergency", "no limits, no rules", request.uri, now)
        call.urgent = urgent
        if call.came_by:
            call.decided("trunk", call.charged, call.came_by, now)
        usage = call.caller.usage
        counted = not (isinstance(usage, ProgramUsage) and usage.counted_elsewhere)
        refusal = None
        if counted and not urgent:
            outgoing = bool(call.account)
            refusal = node.limits.admit(call.charged, call.counted, now, outgoing=outgoing)
        if refusal is not None:
            call.decided("limit", "refused", refusal, now)
            # Who calls too much is refused; who is called too much is busy.
            status, q850 = (403, 21) if call.account else (486, 17)
            end = End(status, EndCause.LIMIT, q850, EndedBy.SERVER, refusal)
            call.finish(end, now)
            return
        if node.rulebook.present and not urgent:
            self._hunt(request, flow, now)
            return
        trusted = node.authenticator.trusts(flow)
        route = node.router.route(request.request_uri, call.account, trusted=trusted)
        if route.runs:
            self._hunt(request, flow, now, plain=True)
            return
        call.routed(request.uri, route, now)
        if not route.contacts:
            call.finish(cause.failure(route.status, EndedBy.SERVER, route.reason), now)
            return
        contacts = route.contacts if urgent else self._admitted(route.contacts, now)
        if not contacts:
            return
        dial = self.dial = self._new_dial(request, self)
        ring_s = _patience_s(request, node.config.no_answer_s)
        self._offer(request, lambda sdp, later: dial.start(contacts, sdp, ring_s, later), now)

    def _hunt(self, request: Request, flow: Flow, now: float, *, plain: bool = False) -> None:
        """Rules and applications decide where the call goes, before anything is sent; `plain`:
        there are applications to run, but no rules to ask."""
        call = self.call
        ring_s = _patience_s(request, call.node.config.no_answer_s)

        def make(listener: DialListener) -> Dial:
            return self._new_dial(request, listener)

        account = call.account
        hunt = self.dial = Hunt(
            call,
            self,
            make,
            CallFacts(call.node, account, call.counted, request, flow),
            ring_s,
            account=account,
            party=call.caller,
            trusted=call.node.authenticator.trusts(flow),
            plain=plain,
            urgent=call.urgent,
        )
        hunt.open(request.request_uri, request.uri, now)
        if hunt.active:
            self._offer(request, hunt.start, now)

    def _new_dial(self, request: Request, listener: DialListener) -> Dial:
        """A dial for the caller, as it is shown at this moment."""
        call = self.call
        shown = call.caller.presentation()
        passed_on = PASSED_ON if shown is not ANONYMOUS else PASSED_ON - REVEALING
        hops = request.max_forwards
        usage = call.caller.usage
        options = usage.options if isinstance(usage, ProgramUsage) else OutgoingOptions()
        return Dial(
            call,
            listener,
            parent=call.caller,
            role=Role.CALLEE,
            shown=shown,
            to=f"<{request.to.uri_text}>",
            headers=tuple([field for field in request.headers if field[0] in passed_on]),
            max_forwards=(70 if hops is None else hops) - 1,
            options=options,
        )

    def _offer(self, request: Request, start: Callable[[bytes, float], None], now: float) -> None:
        """`start` ringing with the caller's description as the media service rewrites it."""
        call = self.call
        body = call.caller.agreed_body = request.body
        if not body:
            self._late = True
            start(b"", now)
            return
        bridge = call.bridge = Bridge(call)

        def offered(reply: MediaReply, later: float) -> None:
            if reply.error:
                self._media_failed(reply.error, later)
                return
            bridge.note_allocated(later)
            start(reply.sdp, later)

        bridge.offer(call.caller, None, body, now, offered)

    def _admitted(self, contacts: list[Contact], now: float) -> list[Contact]:
        """The contacts whose accounts may take one more call; the call ends if there are none."""
        call = self.call
        before = len(call.counted)
        refusals: dict[str, str] = {}
        for account in dict.fromkeys(contact.account for contact in contacts):
            refusal = call.node.limits.admit(account, call.counted, now)
            if refusal is not None:
                refusals[account] = refusal
                call.decided("limit", "refused", f"callee {refusal}", now)
        if len(call.counted) > before + 1:
            self._rang_from = before
        if not refusals:
            return contacts
        left = [contact for contact in contacts if contact.account not in refusals]
        if not left:
            refusal = next(iter(refusals.values()))
            call.finish(End(486, EndCause.LIMIT, 17, EndedBy.SERVER, refusal), now)
        return left

    # DialListener.

    def dial_progress(self, leg: Leg, event: InviteProgress, now: float) -> None:
        """Pass ringing on; early media goes through the bridge first."""
        call = self.call
        caller = call.caller
        status = event.response.status
        body = event.body
        bridge = call.bridge
        if not body or self._late or bridge is None or self._sent.get(leg.id) == body:
            first = caller.seen_statuses is None or status not in caller.seen_statuses
            if first:
                caller.ringing(status, False, False, now)
                caller.usage.provisional(status, now=now)
            return
        self._sent[leg.id] = body

        def answered(reply: MediaReply, later: float) -> None:
            if self.callee is not None or not leg.alive:
                return
            if reply.error:
                caller.ringing(status, False, False, later)
                caller.usage.provisional(status, now=later)
                return
            caller.ringing(status, True, False, later)
            caller.usage.provisional(status, reply.sdp, now=later)

        bridge.answer(caller, leg, body, now, answered, early=True)

    def dial_answered(self, leg: Leg, event: InviteAnswered, now: float) -> None:
        """Somebody took the call."""
        call = self.call
        self.callee = leg
        if self._rang_from is not None:
            # Members of a group that only rang have no part in the call: they may take another.
            call.uncount_others(self._rang_from, leg.parties)
        leg.agreed_body = event.body or leg.usage.remote_body
        if event.answer_needed:
            bridge = call.bridge = Bridge(call)
            bridge.offer(leg, call.caller, event.body, now, self._offer_ready)
            return
        body = leg.agreed_body
        if call.bridge is None or not body:
            self._media_failed("the callee answered without a session description", now)
            return
        call.bridge.answer(call.caller, leg, body, now, self._answer_ready)

    def dial_failed(self, failure: Failure, now: float) -> None:
        """Nobody took it: the caller gets the best answer."""
        response = failure.response
        reason = response.first("Reason") if response is not None else None
        end = End(
            failure.status,
            failure.cause,
            failure.q850,
            failure.by,
            failure.reason,
        )
        self.call.finish(end, now, reason or "")

    def dial_taken(self, leg: Leg, body: bytes, bridge: Bridge, now: float) -> None:
        """Somebody picked the call up while it rang."""
        call = self.call
        self.callee = leg
        if call.bridge is not None:
            call.bridge.release(now)
        call.bridge = bridge
        bridge.answer(call.caller, leg, body, now, self._answer_ready)

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
        """An application lets the caller wait, or speaks to it already."""
        caller = self.call.caller
        caller.ringing(status, bool(body), reliable, now)
        caller.usage.provisional(
            status, body, headers, True if reliable else None, now=now, reason=reason or None
        )

    def dial_source(self) -> tuple[Leg, bytes]:
        """The caller, who calls for itself."""
        return self.call.caller, self.call.caller.agreed_body

    # The caller's side.

    def _offer_ready(self, reply: MediaReply, now: float) -> None:
        bridge = self.call.bridge
        if bridge is not None and not reply.error:
            bridge.note_allocated(now)
        self._answer_ready(reply, now)

    def _answer_ready(self, reply: MediaReply, now: float) -> None:
        call = self.call
        leg = self.callee
        bridge = call.bridge
        if reply.error or leg is None or bridge is None:
            self._media_failed(reply.error or "no bridge", now)
            return
        caller = call.caller
        caller.answered(now)
        call.answered_at = now
        call.node.call_answered(call)
        call.talking(caller, leg, bridge)
        call.journal.write(
            CallAnswered(
                leg_id=caller.id,
                peer_leg_id=leg.id,
                elapsed_ms=call.journal.elapsed_ms(now),
            )
        )
        caller.usage.accept(reply.sdp, now=now)

    def confirmed(self, body: bytes, now: float) -> None:
        """ACK of the caller; with a late offer it brings the answer for the callee."""
        if not self._late or self.callee is None or self.call.bridge is None:
            return
        callee = self.callee
        self._late = False
        if not callee.alive:
            return
        if not body:
            callee.usage.ack(b"", now=now)
            self._media_failed("the caller's ACK brought no answer to the late offer", now)
            return
        self.call.caller.agreed_body = body

        def answered(reply: MediaReply, later: float) -> None:
            callee.usage.ack(reply.sdp, now=later)
            if reply.error:
                self._media_failed(reply.error, later)

        self.call.bridge.answer(callee, self.call.caller, body, now, answered)

    def stop(self, end: End, now: float, reason: str) -> None:
        """The call ends: nothing may ring any more."""
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.stop(end, now, reason)

    def _media_failed(self, problem: str, now: float) -> None:
        call = self.call
        call.decided("media", "failed", problem, now)
        status = 488 if "sdp" in problem.lower() or "description" in problem else 500
        call.finish(cause.failure(status, EndedBy.SERVER, problem[:120]), now)
