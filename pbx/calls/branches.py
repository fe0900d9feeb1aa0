"""What a call under rules tries: contacts that ring, applications that run.

Leaves of the tree in :mod:`.hunt`. A branch is started once, and told once that it is over:
:meth:`cancel`, unless it reported its own end before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from pbx.calls import cause
from pbx.calls.cause import End, EndCause, EndedBy
from pbx.calls.dial import Contact, Dial, Failure
from pbx.calls.ports import Application

if TYPE_CHECKING:
    from pbx.calls.bridge import Bridge
    from pbx.calls.hunt import Hunt
    from pbx.calls.leg import Leg
    from pbx.calls.presentation import Diversion
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

    __slots__ = ("_application", "_over", "_parent")

    def __init__(self, parent: Parent, application: Application) -> None:
        self._parent = parent
        self._application = application
        self._over = False

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
            self._parent.hunt.call.node.services.applications.cancel(self, now)

    # ApplicationBranch.

    def failed(self, status: int, reason: str, now: float) -> None:
        if not self._over:
            hunt = self._parent.hunt
            hunt.call.decided("application", self._application.text, f"{status} {reason}", now)
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
