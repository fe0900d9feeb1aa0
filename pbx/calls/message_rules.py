"""Instant messages under rules: where a MESSAGE goes when there are Signal Rules.

A message does not ring, so only the rules of arrival count: they refuse it, send it elsewhere or to
others too, or do something on the side. All is decided at once, unlike in :mod:`.hunt`, whose order
of levels, loop guards and addresses hold here as well. An application gets no messages yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.calls import cause
from pbx.calls.call_facts import CallFacts
from pbx.calls.dial import Contact
from pbx.calls.routing import Route
from pbx.calls.services import home_of
from pbx.rules import EMPTY, IMMEDIATE, Decision, RuleSet, Target, Verb, evaluate
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from sip.flow import Flow
    from sip.message import Request

MAX_DEPTH: Final = 8
"""Accounts on one way, as for calls."""


class MessageRules:
    """One MESSAGE; :meth:`route` once."""

    __slots__ = (
        "_account", "_contacts", "_discarded", "_facts", "_node", "_quiet", "_refusals", "applied",
    )  # fmt: skip

    def __init__(self, node: SignalNode, account: str, request: Request, flow: Flow) -> None:
        """`account` is the authenticated sender's, empty for a stranger."""
        self._node = node
        self._account = account
        self._facts = CallFacts(node, account, (), request, flow)
        self._contacts: list[Contact] = []
        self._refusals: list[tuple[int, str]] = []
        self._discarded: Route | None = None
        """An address on the way takes everything and drops it."""
        self._quiet = False
        """The server's rules want no further rules."""
        self.applied: list[str] = []
        """Names of the rules that applied."""

    def route(
        self, uri: SipUri | OpaqueUri, uri_text: str, now: float, *, trusted: bool = False
    ) -> Route:
        """The contacts of everybody who gets it, or the refusal; `trusted` as for the router."""
        node = self._node
        if not self._decided(node.rulebook.server_now, "", uri_text, (), now):
            route = node.router.route(uri, self._account, trusted=trusted)
            self._go(route, uri_text, (), now)
        if self._contacts:
            return Route(self._contacts, 0, "by rules")
        if self._discarded is not None:
            return self._discarded
        status = cause.best_status(status for status, _ in self._refusals)
        reason = next((text for found, text in self._refusals if found == status), "nobody")
        return Route([], status, reason)

    def _decided(
        self, rules: RuleSet, account: str, uri_text: str, chain: tuple[str, ...], now: float
    ) -> bool:
        """Apply the rules of one level of the way; False: they send the message nowhere else."""
        if not rules.at(IMMEDIATE):
            return False
        verdict = evaluate(rules, self._facts.of(account, uri_text, now), IMMEDIATE)
        self.applied += verdict.applied
        self._quiet = self._quiet or (verdict.discarded and not account)
        away = False
        targets: list[tuple[Decision, Target]] = []
        for decision in verdict.actions:
            verb = decision.action.verb
            if verb is Verb.REJECT:
                status, phrase = decision.action.rejection
                self._refusals.append((status, phrase or f'rule "{decision.entry.rule.name}"'))
                return True
            if verb is Verb.REDIRECT:
                away = True
                targets = []
            if verb in (Verb.REDIRECT, Verb.FORK):
                targets += [(decision, target) for target in decision.action.targets]
            elif verb is not Verb.SHOW_CALLER:
                data = self._facts.macros(account)
                self._node.services.carry_out(decision, None, data, now)
        for decision, target in targets:
            self._send(decision, target, account, chain, now)
        return away

    def _send(
        self,
        decision: Decision,
        target: Target,
        account: str,
        chain: tuple[str, ...],
        now: float,
    ) -> None:
        node = self._node
        if target.application:
            self._refusals.append((480, f"{target.text} takes no messages"))
            return
        main = node.directory.main_domain
        uri_text = target.uri_at(home_of(decision, account, main))
        try:
            uri = parse_uri(uri_text)
        except RemoteProtocolError:
            self._refusals.append((400, f"{target.text} is no address"))
            return
        behalf = account or self._account or f"postmaster@{main}"
        silent = isinstance(uri, SipUri) and uri.params.get("services") == "no"
        self._go(node.router.route(uri, behalf), uri_text, chain, now, silent=silent)

    def _go(
        self,
        route: Route,
        uri_text: str,
        chain: tuple[str, ...],
        now: float,
        *,
        silent: bool = False,
    ) -> None:
        for member in route.members:
            decision = member.decision
            member_uri = uri_text if decision is None else f"sip:{decision.address}"
            self._go(member, member_uri, chain, now, silent=silent)
        if route.members:
            return
        account = route.account
        own = bool(chain) and account == chain[-1]
        if account and not own:
            if account in chain or len(chain) >= MAX_DEPTH:
                self._refusals.append((482, f"{account} was reached on this way already"))
                return
            quiet = silent or self._quiet
            book = self._node.rulebook
            rules = EMPTY if quiet else book.of_account(account, with_server=False)
            if self._decided(rules, account, uri_text, (*chain, account), now):
                return
        if route.contacts:
            held = {contact.uri for contact in self._contacts}
            self._contacts += [c for c in route.contacts if c.uri not in held]
        elif route.application:
            self._refusals.append((480, f"{route.reason} takes no messages"))
        elif route.discarded:
            self._discarded = route
        else:
            self._refusals.append((route.status, route.reason))
