"""A call under rules: who rings when, and what happens while nobody answers.

Takes the place of the single :class:`~pbx.calls.dial.Dial` of a call, or of a blind transfer, when
there are rules. What is tried at one time is a tree of *scopes* (:mod:`.scope`): the server's at
the root, then each account that is called. The first 2xx ends all other branches.

Rules act in the name of the account whose they are: its rights and limits decide where a redirect
may go, and the way of the call is told by Diversion and History-Info. An account comes up once on a
way: a second time is a loop, except that it may name itself, which means its own devices. Of a
group each member is a branch of its own. While the call rings all accounts count it; when one has
answered the others may take another.

Order of life: :meth:`Hunt.open` (rules of arrival; nothing is sent) → :meth:`Hunt.start` (with the
offer) → the listener's ``dial_answered`` or ``dial_failed``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.calls import cause
from pbx.calls.leg import CANCELLED_ELSEWHERE
from pbx.calls.scope import Scope
from pbx.rules import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.calls.branches import Outcome
    from pbx.calls.call import Call
    from pbx.calls.call_facts import CallFacts
    from pbx.calls.cause import End
    from pbx.calls.dial import Dial, DialListener
    from pbx.calls.leg import Leg
    from sip.uri import OpaqueUri, SipUri


class Hunt:
    """See the module."""

    __slots__ = (
        "_before", "_make_dial", "_plain", "_root", "account", "active", "call", "discarded",
        "facts", "listener", "offer", "party", "programs", "ring_s", "scopes", "started", "tried",
        "trusted", "urgent",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        listener: DialListener,
        make_dial: Callable[[DialListener], Dial],
        facts: CallFacts,
        ring_s: float,
        *,
        account: str,
        party: Leg,
        trusted: bool = False,
        plain: bool = False,
        urgent: bool = False,
        programs: bool = True,
    ) -> None:
        """`account` calls, with its rights, for `party`, who will talk; a `trusted` source needs
        none. `plain`: no rules are asked, only applications run. `urgent`: no limit counts.
        `programs`: applications may take the call over."""
        self.call = call
        self.listener = listener
        self.account = account
        self.party = party
        self.trusted = trusted
        self.urgent = urgent
        self.programs = programs
        self._plain = plain
        self._before = len(call.counted)
        self._make_dial = make_dial
        self.facts = facts
        self.ring_s = ring_s
        """Patience with what rings; it begins anew when a rule sends the call elsewhere."""
        self.offer = b""
        self.active = True
        """Neither answered nor failed nor stopped."""
        self.started = False
        """Branches may send."""
        self.discarded = plain
        """No further rules are wanted."""
        self.tried = 0
        """Contacts tried so far."""
        self.scopes = 0
        """Accounts called and applications started."""
        self._root: Scope | None = None

    def open(self, uri: SipUri | OpaqueUri, uri_text: str, now: float) -> None:
        """Apply the rules of arrival; the listener may hear of a failure at once."""
        rules = EMPTY if self._plain else self.call.node.rulebook.server_now
        root = self._root = Scope(self, None, "", uri_text, rules, now)
        root.arrive_anywhere(uri, now)

    def start(self, offer: bytes, now: float) -> None:
        """Ring, with the media service's offer (empty: late offer)."""
        self.offer = offer
        self.started = True
        if self._root is not None:
            self._root.start(now)

    def stop(self, end: End, now: float, reason: str = "") -> None:
        """The call ends: everything is cancelled and the listener hears no more."""
        if self.active:
            self._over(end, now, reason)

    def taken(self, parties: frozenset[str], now: float) -> None:
        """A branch was answered: whatever else is tried stops, and of the accounts that were called
        only `parties` go on counting the call."""
        self._over(CANCELLED_ELSEWHERE, now, cause.COMPLETED_ELSEWHERE)
        if len(self.call.counted) > self._before + 1:
            self.call.uncount_others(self._before, parties)

    def failed(self, outcome: Outcome, now: float) -> None:
        """Nothing is left to try."""
        if self.active:
            self.active = False
            self._root = None
            self.listener.dial_failed(outcome.failure, now)

    def new_dial(self, listener: DialListener) -> Dial:
        """A dial as the call wants it; the bound on branches is that of the whole call."""
        dial = self._make_dial(listener)
        dial.branches = self.tried
        return dial

    def _over(self, end: End, now: float, reason: str) -> None:
        self.active = False
        # Scopes, branches and dials know each other: without the root they are no cycle for long.
        root, self._root = self._root, None
        if root is not None:
            root.cancel(end, now, reason)
