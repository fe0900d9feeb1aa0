"""What a call under rules tries: contacts that ring, applications that run.

Leaves of the tree in :mod:`.hunt`. A branch is started once, and told once that it is over:
:meth:`cancel`, unless it reported its own end before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pbx.calls import cause
from pbx.calls.bridge import Bridge
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.dial import Contact, Dial, Failure
from pbx.calls.leg import Leg, Role
from pbx.calls.ports import Application
from pbx.domain.calls import LegCreated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbx.calls.hunt import Hunt
    from pbx.calls.presentation import Diversion
    from pbx.calls.program import ProgramUsage
    from pbx.calls.routing import Route
    from sip.events import InviteAnswered, InviteProgress


class Outcome(NamedTuple):
    """How a branch failed, and the final statuses of all that it tried."""

    failure: Failure
    statuses: tuple[int, ...]


def refused(status: int, reason: str, why: EndCause | None = None) -> Outcome:
    """A failure that this server made up."""
    kind = cause.cause_of(status) if why is None else why
    failure = Failure(status, kind, cause.q850_of(status), EndedBy.SERVER, None, reason)
    return Outcome(failure, (status,))


class Branch(Protocol):
    """Something that is tried."""

    def start(self, now: float) -> None: ...

    def cancel(self, end: End, now: float, reason: str) -> None: ...


class Parent(Protocol):
    """Who has branches: a scope of the hunt."""

    hunt: Hunt
    until: float

    @property
    def parties(self) -> frozenset[str]:
        """Accounts on the way to here."""
        ...

    def branch_failed(self, branch: Branch, outcome: Outcome, now: float) -> None: ...

    def branch_replaced(self, branch: Branch, now: float) -> None:
        """Others, which it led to, are tried in its place."""
        ...

    def redirected(
        self, route: Route, uri_text: str, diversions: tuple[Diversion, ...], now: float
    ) -> bool:
        """A phone answered 3xx: whether what it names is taken on."""
        ...

    def fork(
        self, uris: Sequence[str], account: str, now: float, leaving: Branch | None = None
    ) -> str: ...


class Ring:
    """One dial to the contacts of an account, or to an outside address."""

    __slots__ = ("_dial", "_handed_over", "_parent", "contacts")

    def __init__(self, parent: Parent, contacts: list[Contact]) -> None:
        self._parent = parent
        self.contacts = contacts
        self._dial: Dial | None = None
        self._handed_over = False
        """The scope tries what a phone redirected to."""

    def start(self, now: float) -> None:
        """Ring until the scope's patience ends."""
        hunt = self._parent.hunt
        dial = self._dial = hunt.new_dial(self)
        dial.on_redirect = self._redirected
        hunt.tried += len(self.contacts)
        dial.start(self.contacts, hunt.offer, max(1.0, self._parent.until - now), now)

    def cancel(self, end: End, now: float, reason: str) -> None:
        """Nobody shall ring any more."""
        dial, self._dial = self._dial, None  # who know each other are a cycle
        if dial is not None:
            dial.stop(end, now, reason)

    def _redirected(
        self, route: Route, uri_text: str, diversions: tuple[Diversion, ...], now: float
    ) -> bool:
        taken = self._parent.redirected(route, uri_text, diversions, now)
        self._handed_over = self._handed_over or taken
        return taken

    # DialListener.

    def dial_progress(self, leg: Leg, event: InviteProgress, now: float) -> None:
        self._parent.hunt.listener.dial_progress(leg, event, now)

    def dial_answered(self, leg: Leg, event: InviteAnswered, now: float) -> None:
        hunt = self._parent.hunt
        self._dial = None
        hunt.taken(leg.parties, now)
        hunt.listener.dial_answered(leg, event, now)

    def dial_taken(self, leg: Leg, body: bytes, bridge: Bridge, now: float) -> None:
        hunt = self._parent.hunt
        self._dial = None
        # Who picked up has a call of its own; the one that was called still counts this one.
        hunt.taken(self._parent.parties, now)
        hunt.listener.dial_taken(leg, body, bridge, now)

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
        raise AssertionError("a dial runs no programs")

    def dial_source(self) -> tuple[Leg, bytes]:
        return self._parent.hunt.listener.dial_source()

    def dial_failed(self, failure: Failure, now: float) -> None:
        dial, self._dial = self._dial, None
        statuses = dial.statuses if dial is not None else ()
        if self._handed_over and not statuses:
            self._parent.branch_replaced(self, now)
            return
        outcome = Outcome(failure, statuses or (failure.status,))
        self._parent.branch_failed(self, outcome, now)


class Program:
    """An application that runs for the call; it implements ``ApplicationBranch``."""

    __slots__ = ("_application", "_leg", "_over", "_parent")

    def __init__(self, parent: Parent, application: Application) -> None:
        self._parent = parent
        self._application = application
        self._over = False
        self._leg: Leg | None = None

    def start(self, now: float) -> None:
        """Hand the call over; what cannot be started fails with 480 and the reason."""
        hunt = self._parent.hunt
        application = self._application
        problem = hunt.call.node.services.applications.start(application, hunt.call, self, now)
        if problem:
            hunt.call.decided("application", application.text, problem, now)
            self._end(480, problem, now)
        else:
            hunt.call.decided("application", application.text, "started", now)

    def cancel(self, end: End, now: float, reason: str) -> None:
        """The application shall stop."""
        if not self._over:
            self._over = True
            leg, self._leg = self._leg, None
            if leg is not None:
                leg.hang_up(end, now, reason)
            self._parent.hunt.call.node.services.applications.cancel(self, now)

    # ApplicationBranch.

    def source(self) -> tuple[Leg, bytes]:
        return self._parent.hunt.listener.dial_source()

    @property
    def account(self) -> str:
        return self._parent.hunt.account

    def enter(self, usage: ProgramUsage, now: float) -> Leg:
        call = self._parent.hunt.call
        source, _ = self.source()
        # An account whose program answers is not busy for it: nobody counts or watches this leg.
        leg = self._leg = Leg(call, usage, Role.CALLEE, "", program=True)
        leg.target_uri = self._application.text
        call.legs[leg.id] = leg
        call.journal.write(
            LegCreated(
                leg_id=leg.id,
                parent_leg_id=source.id,
                role=Role.CALLEE.value,
                sip_call_id=usage.call_id,
                target_uri=leg.target_uri,
                account=self._application.account,
                redirector=self._application.redirector,
                application=leg.target_uri,
                elapsed_ms=call.journal.elapsed_ms(now),
            )
        )
        return leg

    def progress(
        self,
        status: int,
        body: bytes,
        now: float,
        *,
        reason: str = "",
        reliable: bool = False,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        leg = self._leg
        if not self._over and leg is not None:
            leg.ringing(status, bool(body), reliable, now)
            listener = self._parent.hunt.listener
            listener.program_progress(
                status, body, now, reason=reason, reliable=reliable, headers=headers
            )

    def answer(self, body: bytes, now: float) -> bool:
        leg = self._leg
        if self._over or leg is None:
            return False
        self._leg = None
        self._over = True
        hunt = self._parent.hunt
        leg.answered(now)
        leg.agreed_body = body
        hunt.taken(self._parent.parties, now)
        bridge = Bridge(hunt.call, direct=True)
        bridge.note_allocated(now)
        hunt.listener.dial_taken(leg, body, bridge, now)
        return True

    def fork(self, uris: Sequence[str], account: str, now: float) -> str:
        if self._over:
            return "the call is gone"
        return self._parent.fork(uris, account, now)

    def redirect(self, uris: Sequence[str], account: str, now: float) -> None:
        if self._over:
            return
        self._over = True
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.ended(cause.failure(302, EndedBy.CALLEE, "redirected"), now)
        self._parent.fork(uris, account, now, leaving=self)

    def failed(self, status: int, reason: str, now: float) -> None:
        if not self._over:
            hunt = self._parent.hunt
            hunt.call.decided("application", self._application.text, f"{status} {reason}", now)
            leg, self._leg = self._leg, None
            if leg is not None:
                leg.ended(cause.failure(status, EndedBy.CALLEE, reason), now)
            self._end(status, reason, now)

    def taken(self, now: float) -> bool:
        if self._over:
            return False
        self._over = True
        self._parent.hunt.taken(self._parent.parties, now)
        return True

    def _end(self, status: int, reason: str, now: float) -> None:
        self._over = True
        self._parent.branch_failed(self, refused(status, reason), now)
