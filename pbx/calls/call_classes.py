"""Class of service: which destinations an account may call, and how it is shown outside.

Asked by :mod:`.routing` for every route that is made in the name of an account: what it dials,
where its rules, its phones (3xx) and its transfers (REFER) send calls. So a forwarded call is
judged by the account that forwards, never by who called it. Not asked where an administrator has
opened the way for everybody (``Relay:`` records, forwarders, rerouted unknown names), for sources
that are trusted without an account, and for emergency numbers.

A number leaves when it went through ``telnum`` or ``pstn``, is given to ``gatewaycaller``, or goes
to another server; what a user dials at another server by itself needs ``sip`` as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx import router
from pbx.calls.presentation import ANONYMOUS, Presentation, address_text
from pbx.data import Value
from pbx.objects.destinations import (
    ALL,
    ALLOWED_BY_DEFAULT,
    BUILT_IN_PLAN,
    INTERNAL,
    PLAN,
    SIP,
    NumberPlan,
)
from pbx.router import Address, Outcome, Rule
from pbx.router.address import dialled_number

if TYPE_CHECKING:
    from pbx.calls.account_limits import LimitBook

GATEWAY_PROGRAM: Final = "gatewaycaller"
"""The stock application that places calls through the gateway of its caller."""
_LINES: Final = frozenset({"telnum", "pstn"})
_MAX_PLANS: Final = 200
"""Compiled plans at once: they are stated for domains and classes, seldom for one account."""
_REWRITTEN: Final = frozenset({Rule.RECORD, Rule.UNKNOWN, Rule.FORWARDER})


class CallClasses:
    """See the module."""

    def __init__(self, book: LimitBook) -> None:
        self._book = book
        self._plans: dict[int, tuple[Value, NumberPlan]] = {}
        """By identity of the stated dictionary, which is held, so that it stays its own."""

    def refusal(self, account: str, dialled: Address, found: router.Route) -> str:
        """Why `account` may not call what `dialled` was found to be; empty if it may."""
        if found.relay or not found.reached:
            return ""
        allowed = self.allowed(account)
        number = _outside_number(dialled, found)
        if number is None:
            if found.outcome is not Outcome.FOREIGN:
                own = found.account == account  # its voice mail, its service codes
                return "" if own or INTERNAL in allowed else _words(account, INTERNAL)
            return "" if SIP in allowed else _words(account, SIP)
        if found.outcome is Outcome.FOREIGN and SIP not in allowed:
            if not any(step.rule in _REWRITTEN for step in found.steps):
                return _words(account, SIP)
        return self.number_refusal(account, number, allowed)

    def program_refusal(self, account: str, name: str, parameters: tuple[str, ...] | None) -> str:
        """Why a rule of `account` may not send calls to an application; empty if it may."""
        if name.lower() != GATEWAY_PROGRAM:
            return ""
        number = (parameters or ("",))[0]
        return self.number_refusal(account, dialled_number(number) or number)

    def number_refusal(
        self, account: str, number: str, allowed: frozenset[str] | None = None
    ) -> str:
        """Why `account` may not call a number outside; empty if it may."""
        if allowed is None:
            allowed = self.allowed(account)
        kind, pattern = self.plan(account).kind_of(number)
        if not kind:
            # Whatever a gateway makes of it; who may call everything may find out.
            return "" if allowed == ALL else f"{number} is no telephone number"
        if kind in allowed:
            return ""
        what = f"{number} fits {pattern}" if pattern else f"{number} fits no pattern"
        return _words(account, kind, what)

    def allowed(self, account: str) -> frozenset[str]:
        """The kinds of destinations that an account may call."""
        stated = self._book.value("CallOutAllowed", account)
        return stated if isinstance(stated, frozenset) else ALLOWED_BY_DEFAULT

    def plan(self, account: str) -> NumberPlan:
        """The number plan that holds for an account."""
        stated = self._book.stated("CallClasses", account)
        if stated is None:
            return BUILT_IN_PLAN
        held, plan = self._plans.get(id(stated), (None, BUILT_IN_PLAN))
        if held is not stated:
            try:
                plan = PLAN.read(stated)
            except ValueError:  # stored by a version with other forms
                plan = BUILT_IN_PLAN
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[id(stated)] = stated, plan
        return plan

    def shown_outside(self, account: str, shown: Presentation) -> Presentation:
        """How a party of `account` is shown to whom it calls at other servers."""
        if not account or shown is ANONYMOUS:
            return shown
        if self._book.value("CallerIdWithheld", account):
            return ANONYMOUS
        number = self._book.value("CallerIdNumber", account)
        if not number:
            return shown
        display, bracket, _ = shown.from_.rpartition("<")
        name = display.strip().strip('"') if bracket else ""
        domain = account.partition("@")[2]
        name = name.replace('\\"', '"').replace("\\\\", "\\")
        return Presentation(address_text(name, f"sip:{number}@{domain}"), shown.asserted)


def _outside_number(dialled: Address, found: router.Route) -> str | None:
    """The number that leaves; None for what has no number, or stays."""
    local = ""
    if found.outcome is Outcome.APPLICATION and found.detail.lower() == GATEWAY_PROGRAM:
        local = (found.parameters or ("",))[0]
        return dialled_number(local) or local
    if found.outcome is Outcome.APPLICATION or found.outcome is Outcome.TASK:
        for at in (dialled, *(step.address for step in found.steps)):
            if at.domain in _LINES:
                local = at.local
        return (dialled_number(local) or local) if local else None
    if found.outcome is Outcome.FOREIGN:
        return dialled_number(found.address.local) or None
    return None


def _words(account: str, kind: str, what: str = "") -> str:
    detail = f": {what}" if what else ""
    return f"{account} may not call {kind} destinations (CallOutAllowed){detail}"
