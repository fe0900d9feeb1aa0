"""Trying contacts: the B legs of a call setup or of a transfer (RFC 3261 §16.6, §16.7).

A :class:`Dial` forks to all contacts of one q value at once and goes on to the next lower q
when all have failed. The first 2xx wins; the others are cancelled with the Reason that keeps
phones from logging a missed call (RFC 3326). Redirects are followed through the router of the
node, the contacts of one in the order of their q, before anything else of a lower q. It
knows nothing of the caller: its :class:`DialListener` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pbx.calls import cause
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.leg import CANCELLED_ELSEWHERE, Leg, Role
from pbx.calls.presentation import (
    ANONYMOUS,
    REVEALING,
    Diversion,
    Presentation,
    diversion_fields,
)
from pbx.calls.program import OutgoingOptions, ProgramUsage
from pbx.domain.calls import CallDecided, LegCreated
from sip.errors import RemoteProtocolError
from sip.registrar import qvalue

if TYPE_CHECKING:
    from pbx.calls.bridge import Bridge
    from pbx.calls.call import Call
    from pbx.calls.routing import Route
    from pbx.calls.timers import Timer
    from sip.events import InviteAnswered, InviteFailed, InviteProgress
    from sip.flow import Target
    from sip.message import Response
    from sip.request import Authorizer


class Contact(NamedTuple):
    """One address to try."""

    uri: str
    account: str = ""
    target: Target | None = None
    """Where to send when that is not what `uri` resolves to (flow of a registration)."""
    path: tuple[str, ...] = ()
    q: float = 1.0
    redirector: str = ""
    diversions: tuple[Diversion, ...] = ()
    """Redirects that led here, the first one first."""
    counted: str = ""
    """Account whose limit of calls is to be taken before this is tried; empty if it was."""
    login: Authorizer | None = None
    """Answers challenges of this address, in the INVITE and in all that follows inside the call."""
    shown: Presentation | None = None
    """Who this address is told that calls, unless the caller is anonymous: a gateway knows us by a
    number of its own. None: as everybody is told."""


class Failure(NamedTuple):
    """The outcome of a dial that nobody answered."""

    status: int
    """Best status of all branches, already fit for the caller."""
    cause: EndCause
    q850: int
    by: EndedBy
    response: Response | None
    reason: str = ""


class DialListener(Protocol):
    """What the user of a dial gets; after the first of the last three nothing more."""

    def dial_progress(self, leg: Leg, event: InviteProgress, now: float) -> None: ...

    def dial_answered(self, leg: Leg, event: InviteAnswered, now: float) -> None: ...

    def dial_failed(self, failure: Failure, now: float) -> None: ...

    def dial_taken(self, leg: Leg, body: bytes, bridge: Bridge, now: float) -> None:
        """An answered leg came in their place; in `bridge`, `body` answers the offer."""
        ...

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
        """A provisional response of an application; `body` is ready for the source."""
        ...

    def dial_source(self) -> tuple[Leg, bytes]:
        """Whom the dial is for, and what that party offers, not yet rewritten."""
        ...


OnRedirect = Callable[["Route", str, tuple[Diversion, ...], float], bool]
"""Called with where a 3xx leads; True: somebody else tries that."""


class Dial:
    """One round of ringing; see the module."""

    __slots__ = (
        "_best", "_body", "_call", "_counted", "_headers", "_listener", "_options", "_parent",
        "_redirects", "_timer", "_waiting", "active", "branches", "legs", "max_forwards",
        "on_redirect", "reliable", "role", "shown", "to",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        listener: DialListener,
        *,
        parent: Leg,
        role: Role,
        shown: Presentation,
        to: str,
        headers: tuple[tuple[str, str], ...],
        max_forwards: int,
        options: OutgoingOptions = OutgoingOptions(),  # noqa: B008 - immutable
    ) -> None:
        self._call = call
        self._listener = listener
        self._options = options
        self._parent = parent
        self.role = role
        self.shown = shown
        self.to = to
        self._headers = headers
        self.max_forwards = max_forwards
        self.reliable = True
        self._body = b""
        self._waiting: list[list[Contact]] = []
        """Groups that are tried one after the other."""
        self._counted: set[str] = set()
        """Accounts reached by redirect whose limit was taken."""
        self._best: list[tuple[int, Response | None]] = []
        self._redirects = 0
        self._timer: Timer | None = None
        self.legs: list[Leg] = []
        """Legs still being tried."""
        self.on_redirect: OnRedirect | None = None
        self.branches = 0
        self.active = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """Final statuses of the branches so far."""
        return tuple([status for status, _ in self._best])

    def start(self, contacts: list[Contact], body: bytes, ring_s: float, now: float) -> None:
        """Try `contacts` with the offer `body` (empty: late offer) for at most `ring_s`."""
        self.active = True
        self._body = body
        # A reliable provisional could carry an offer that waits for an answer which the caller
        # can give only in its ACK: with a late offer no 100rel is announced.
        self.reliable = bool(body) and self._options.reliable
        self._waiting = _groups(((contact.q,), contact) for contact in contacts)
        self._timer = self._call.node.timers.call_at(now + ring_s, self._rang_out)
        self._next_group(now)

    def stop(self, end: End, now: float, reason: str = "") -> None:
        """Cancel what rings; the listener hears nothing more."""
        if not self.active:
            return
        self._finish()
        for leg in self.legs:
            leg.hang_up(end, now, reason)
        self.legs.clear()

    @property
    def offer(self) -> bytes:
        """What the branches are offered; empty with a late offer."""
        return self._body

    @property
    def source(self) -> tuple[Leg, bytes]:
        """Whom the dial is for, and its offer as it came."""
        return self._listener.dial_source()

    def taken(self, leg: Leg, body: bytes, bridge: Bridge, now: float) -> None:
        """`leg` picked the call up: nobody else rings any more."""
        self.stop(CANCELLED_ELSEWHERE, now, cause.COMPLETED_ELSEWHERE)
        self._listener.dial_taken(leg, body, bridge, now)

    def _finish(self) -> None:
        self.active = False
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next_group(self, now: float) -> None:
        while self._waiting and not self.legs:
            for contact in self._waiting.pop(0):
                self._try(contact, now)
        if not self.legs:
            self._give_up(now)

    def _try(self, contact: Contact, now: float) -> None:
        call = self._call
        if self.branches >= call.node.config.max_branches:
            return
        if contact.counted and not self._admitted(contact.counted, now):
            return
        options = self._options
        if not options.relay and not contact.account:
            self._best.append((403, None))
            return
        self.branches += 1
        headers: Sequence[tuple[str, str]] = (*self._headers, *options.fields)
        shown = self.shown
        if not contact.account and not contact.redirector and not call.urgent:
            # Outside an account is shown as it may be; who is redirected stays who calls.
            account = self._listener.dial_source()[0].account
            shown = call.node.router.classes.shown_outside(account, shown)
            if shown is ANONYMOUS and self.shown is not ANONYMOUS:
                headers = [field for field in headers if field[0] not in REVEALING]
        if contact.diversions:
            headers = diversion_fields(contact.diversions, headers)
        if options.asserted is not None:
            if options.asserted:
                headers = [*headers, ("P-Asserted-Identity", f"<{options.asserted}>")]
        elif contact.account and shown.asserted:
            # RFC 3325 §5: only inside the trust domain, which ends at our own accounts.
            headers = [*headers, ("P-Asserted-Identity", f"<{shown.asserted}>")]
        to = self.to
        path = contact.path if contact.account else (*options.route, *contact.path)
        if contact.shown is not None and call.caller.program:
            # A program says itself how a gateway is called, as whom, and perhaps by which way.
            path = options.route or contact.path
        elif contact.shown is not None:
            to = f"<{contact.uri}>"  # what was dialled here means nothing there
            if shown is not ANONYMOUS:
                shown = contact.shown
        usage = call.node.engine.invite(
            contact.uri,
            to=to,
            from_=shown.from_,
            now=now,
            headers=headers,
            body=self._body,
            target=contact.target,
            route=path,
            call_id=self._call_id(),
            reliable="supported" if self.reliable else "off",
            session_expires=options.session_expires_s,
            max_forwards=self.max_forwards,
            credentials=self._credentials(contact),
        )
        leg = Leg(call, usage, self.role, contact.account)
        leg.target_uri = contact.uri
        leg.diversions = contact.diversions
        leg.dial = self
        self.legs.append(leg)
        call.legs[leg.id] = leg
        target = contact.target
        call.journal.write(
            LegCreated(
                leg_id=leg.id,
                parent_leg_id=self._parent.id,
                role=self.role.value,
                sip_call_id=usage.call_id,
                target_uri=contact.uri,
                account=contact.account,
                destination=(
                    f"{target.host}:{target.port}/{target.transport}" if target is not None else ""
                ),
                redirector=contact.redirector,
                billing_id=options.billing_id,
                elapsed_ms=call.journal.elapsed_ms(now),
            )
        )

    def _credentials(self, contact: Contact) -> Authorizer | None:
        """What answers challenges; our own phones have no claim to any."""
        if contact.account:
            return None
        return self._options.credentials or contact.login

    def _call_id(self) -> str | None:
        """What a program chose; several INVITEs never share it."""
        chosen = self._options.call_id
        if not chosen:
            return None
        return chosen if self.branches == 1 else f"{chosen}.{self.branches}"

    def _admitted(self, account: str, now: float) -> bool:
        """Whether the account that a redirect leads to may take one more call."""
        if account in self._counted:
            return True
        call = self._call
        refusal = call.node.limits.admit(account, call.counted, now)
        if refusal is not None:
            call.decided("limit", "refused", f"redirect to {account}: {refusal}", now)
            self._best.append((486, None))
            return False
        self._counted.add(account)
        return True

    def on_progress(self, leg: Leg, event: InviteProgress, now: float) -> None:
        """101–199 of a branch."""
        leg.ringing(event.response.status, bool(event.body), event.reliable, now)
        self._listener.dial_progress(leg, event, now)

    def on_answered(self, leg: Leg, event: InviteAnswered, now: float) -> None:
        """2xx: the first one wins, a later one is hung up at once (RFC 3261 §13.2.2.4)."""
        leg.dial = None
        leg.answered(now)
        self.legs.remove(leg)
        losers, self.legs = self.legs, []
        self._finish()
        for loser in losers:
            loser.hang_up(CANCELLED_ELSEWHERE, now, cause.COMPLETED_ELSEWHERE)
        self._listener.dial_answered(leg, event, now)

    def on_failed(self, leg: Leg, event: InviteFailed, now: float) -> None:
        """A final failure, time-out or transport error of a branch."""
        leg.dial = None
        status = event.status
        by = EndedBy.CALLEE if event.cause == "response" else EndedBy.SERVER
        reason = event.response.reason if event.response is not None else event.cause
        leg.ended(cause.failure(status, by, reason), now)
        self.legs.remove(leg)
        usage = leg.usage
        if status in (401, 407) and not leg.account and not isinstance(usage, ProgramUsage):
            refused = usage.credentials is not None
            problem = (
                "it does not accept the user name or the password we have for it"
                if refused
                else "it wants credentials, and no gateway with its address is configured"
            )
            self._call.decided("gateway", f"{leg.target_uri}: {status}", problem, now)
        if 300 <= status < 400 and event.response is not None:
            self._redirected(leg, event.response, now)
        else:
            if event.cause == "transport" and leg.account:
                # RFC 5626 §5.3: its flow is gone, as if it were not registered there.
                status = cause.FLOW_FAILED
            self._best.append((status, event.response))
        if status >= 600:
            # RFC 3261 §16.7 step 5: nobody else of this callee shall ring any more.
            losers, self.legs = self.legs, []
            self._waiting.clear()
            end = End(487, EndCause.CANCEL, cause.Q850_NORMAL, EndedBy.CALLEE, reason)
            for loser in losers:
                loser.hang_up(end, now)
        if not self.legs:
            self._next_group(now)

    def _redirected(self, leg: Leg, response: Response, now: float) -> None:
        """Follow a 3xx in the name of the account that sent it (its rights, its limits)."""
        call = self._call
        self._redirects += 1
        found: list[tuple[tuple[float, float], Contact]] = []
        handed_over = False
        if self._redirects <= call.node.config.max_redirects and leg.account:
            try:
                named = response.contacts
            except RemoteProtocolError:
                named = []
            for name_addr in named:
                uri = name_addr.uri_text
                try:
                    q = qvalue(name_addr)
                except RemoteProtocolError:
                    q = 1.0
                contacts = self._follow(leg, response.status, uri, now)
                if contacts is None:
                    handed_over = True
                else:
                    found += [((q, contact.q), contact) for contact in contacts]
        if not found and handed_over:
            return
        if not found:
            self._best.append((response.status, response))
            return
        first, *later = _groups(found)
        self._waiting[:0] = later
        for contact in first:
            self._try(contact, now)

    def _follow(self, leg: Leg, status: int, uri: str, now: float) -> list[Contact] | None:
        """Where one Contact of a 3xx leads, if it does; None: somebody else tries that."""
        call = self._call
        node = call.node
        route = node.router.redirected(uri, leg.account, urgent=call.urgent)
        call.routed(uri, route, now, briefly=True)
        call.journal.write(
            CallDecided(
                step="redirect",
                outcome=uri,
                reason=f"{leg.account} answered {status}; {_found(route)}",
                elapsed_ms=call.journal.elapsed_ms(now),
            )
        )
        reason = "deflection" if leg.seen_statuses else "unconditional"
        diversion = Diversion(node.router.identity(leg.account), status, reason, uri)
        diversions = (*leg.diversions, diversion)
        if self.on_redirect is not None and self.on_redirect(route, uri, diversions, now):
            return None
        if route.contacts and not route.account and not route.members:
            # Whoever sends a call to another server makes one.
            refusal = node.limits.flows.refusal(leg.account, now, outgoing=True)
            if refusal:
                call.decided("limit", "refused", refusal, now)
                return []
        return [
            contact._replace(redirector=leg.account, diversions=diversions, counted=contact.account)
            for contact in route.contacts
        ]

    def _rang_out(self, now: float) -> None:
        self._timer = None
        end = End(480, EndCause.NO_ANSWER, cause.Q850_NO_ANSWER, EndedBy.SERVER, "nobody answered")
        losers, self.legs = self.legs, []
        self._waiting.clear()
        for loser in losers:
            loser.hang_up(end, now)
        if self._best:
            # RFC 3261 §16.7 step 6: what a branch said tells the caller more than our patience.
            self._give_up(now)
            return
        self._finish()
        failure = Failure(end.status, end.cause, end.q850, end.by, None, end.reason)
        self._listener.dial_failed(failure, now)

    def _give_up(self, now: float) -> None:
        self._finish()
        best = cause.best_status(status for status, _ in self._best)
        response = next((found for status, found in self._best if status == best), None)
        by = EndedBy.CALLEE if response is not None else EndedBy.SERVER
        reason = response.reason if response is not None else "no contact could be reached"
        status = cause.passed_status(best)
        q850 = cause.q850_of(status)
        failure = Failure(status, cause.cause_of(best), q850, by, response, reason)
        self._listener.dial_failed(failure, now)


def _found(route: Route) -> str:
    """What a redirect comes to, in words."""
    if route.contacts or route.account:
        return f"{len(route.contacts)} contacts"
    return route.reason or "nothing"


def _groups(ranked: Iterable[tuple[tuple[float, ...], Contact]]) -> list[list[Contact]]:
    """Contacts by rank, highest first; those of equal rank, in their order, make one group."""
    groups: dict[tuple[float, ...], list[Contact]] = {}
    for rank, contact in ranked:
        groups.setdefault(rank, []).append(contact)
    return [groups[rank] for rank in sorted(groups, reverse=True)]
