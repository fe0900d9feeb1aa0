"""From a URI to what shall ring: the router's decision, and the contacts it comes to.

:mod:`pbx.router` decides what an address means; here that becomes something to try: the contacts
of an account, of every member of a group, an address of another server. A foreign address may be
called by our accounts, by trusted sources, and by anybody for whom a ``Relay:`` record or an object
of ours (a forwarder, a group) made it. What of it an account may call says its class of service
(:mod:`.call_classes`). At a gateway of the caller it is called with the gateway's credentials;
``gatewaycaller``, the application of that work, is carried out here when no program of that name
can run, and for calls for help, which depend on no program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from pbx import router
from pbx.calls.call_classes import GATEWAY_PROGRAM, CallClasses
from pbx.calls.consult import Answer, Question, Reply
from pbx.calls.consult import Kind as Questioned
from pbx.calls.dial import Contact
from pbx.calls.directory import Directory
from pbx.calls.emergency import Emergency
from pbx.calls.ports import NoTrunks, TrunkPort
from pbx.domain.calls import CallRouted
from pbx.router import Address, AddressError, Kind, Module, Outcome, Rule, shown_steps
from pbx.router.address import address_of, dialled_number
from sip.errors import RemoteProtocolError
from sip.uri import OpaqueUri, SipUri, parse_uri

#: What RFC 3261 §25.1 lets stand in a user part without an escape.
_USER_SAFE: Final = "-_.!~*'()&=+$,;?/"


class Registered(Protocol):
    """Where accounts can be reached: the location service."""

    def contacts(self, address: str, gr: str | None = None) -> list[Contact]: ...


class Route(NamedTuple):
    """What the router found: contacts to try, or the refusal."""

    contacts: list[Contact]
    status: int
    reason: str
    account: str = ""
    """The local account that is called; of a group each contact has its own."""
    decision: router.Route | None = None
    """How it was found; None for a URI that is no address."""
    members: tuple[Route, ...] = ()
    """Of a group: everybody in it, groups in groups expanded, each with its own contacts."""
    barred: bool = False
    """The caller's class of service has it not: nothing of it may be tried."""
    built_in: bool = False
    """The decision is an application whose work is done by calling `contacts`, without a program.
    """

    @property
    def discarded(self) -> bool:
        """The address takes everything and does nothing with it."""
        return self.decision is not None and self.decision.outcome is Outcome.DISCARD

    @property
    def application(self) -> bool:
        """A program answers; `decision` says which."""
        if self.barred or self.built_in or self.decision is None:
            return False
        return self.decision.outcome in _PROGRAMS

    @property
    def runs(self) -> bool:
        """Whether more than contacts is to be tried: an application, alone or in a group."""
        return self.application or any(member.application for member in self.members)

    def event(self, uri: str, elapsed_ms: int) -> CallRouted:
        """The decision as the call's stream keeps it."""
        decision = self.decision
        if decision is None:
            return CallRouted(
                address=uri, outcome="refused", status=self.status, reason=self.reason,
                elapsed_ms=elapsed_ms,
            )  # fmt: skip
        # A single step says nothing that outcome and target do not say.
        steps = tuple(shown_steps(decision)) if len(decision.steps) > 1 else ()
        if len(steps) > _MAX_STEPS:
            left_out = len(steps) - _MAX_STEPS - 1
            steps = (*steps[:_MAX_STEPS], f"and {left_out} more", steps[-1])
        return CallRouted(
            address=uri,
            outcome=decision.outcome.value,
            target=str(decision.address),
            relay=decision.relay,
            steps=steps,
            contacts=len(self.contacts),
            status=self.status,
            reason="" if self.contacts else self.reason,
            elapsed_ms=elapsed_ms,
        )


#: A program of an account, or the one behind a named task.
_PROGRAMS: Final = frozenset({Outcome.APPLICATION, Outcome.TASK})
#: Steps stored of a decision; real ones have fewer than ten, loops and large groups have more.
_MAX_STEPS: Final = 30
_UNCHANGED: Final = frozenset({Rule.MARK, Rule.FINAL})


def _as_dialled(found: router.Route, uri: SipUri) -> bool:
    """Whether a foreign address is what was dialled: nothing rewritten, nothing cut off."""
    if uri.host != found.host or found.address.domain not in (uri.host, f"[{uri.host}]"):
        return False
    return all(step.rule in _UNCHANGED for step in found.steps)


def _noted(found: router.Route, note: str) -> router.Route:
    """The decision with one more step: through which gateway, and why that one."""
    step = router.Step(Rule.GATEWAY, found.address, None, note)
    return found._replace(steps=(*found.steps, step))


class Router:
    """See the module."""

    def __init__(
        self, directory: Directory, locations: Registered, emergency: Emergency | None = None
    ) -> None:
        self._directory = directory
        self._locations = locations
        self._emergency = emergency
        self.classes = CallClasses(directory.settings)
        self.question: Callable[[Address, router.Route], Question | None] = lambda at, found: None
        """What has to be asked elsewhere before a decision is final."""
        self.answer: Callable[[Question], Answer | None] = lambda question: None
        """What was answered, as far as it is known."""
        self.trunks: TrunkPort = NoTrunks()
        self.programs: Callable[[], bool] = lambda: True
        """Whether applications can run; filled in by whoever runs calls."""

    def identity(self, account: str) -> str:
        """The URI an authenticated account is known by to others."""
        return f"sip:{account}"

    def route(self, uri: SipUri | OpaqueUri, caller: str, *, trusted: bool = False) -> Route:
        """Resolve a Request-URI for the authenticated account `caller` (empty: a stranger).

        A `trusted` source may call other servers without an account.
        """
        try:
            address = self._address(uri, caller)
        except AddressError as error:
            return Route([], 484, str(error))
        if address is None:
            return Route([], 416, f"scheme {uri.scheme} is not routed")
        found = router.route(address, Kind.SIGNAL, self._directory, caller=caller)
        question = self.question(address, found)
        if question is not None:
            answer = self.answer(question)
            if answer is not None and answer.reply is Reply.SILENT:
                # (A number that ENUM does not tell is no question: the tables know its way.)
                return Route([], 480, "who knows such names does not answer now", "", found)
            found = self._told(found, question, answer, caller)
        urgent = self._emergency is not None and self._emergency.is_emergency(uri)
        if caller and not urgent:
            refusal = self.classes.refusal(caller, address, found)
            if refusal:
                return Route([], 403, refusal, "", found, barred=True)
        if found.outcome is Outcome.GROUP:
            return self._group(found, caller)
        may_leave = bool(caller) or trusted or found.relay
        # A stranger's call for help is not ours to carry: anybody could set the police on us.
        urgent = urgent and (bool(caller) or trusted)
        return self._reached(found, uri, caller, may_leave=may_leave, urgent=urgent)

    def unanswered(self, uri: SipUri | OpaqueUri, caller: str) -> Question | None:
        """What has to be asked before `uri` can be routed; None: nothing, or the answer is here."""
        try:
            address = self._address(uri, caller)
        except AddressError:
            return None
        if address is None:
            return None
        found = router.route(address, Kind.SIGNAL, self._directory, caller=caller)
        question = self.question(address, found)
        return question if question is not None and self.answer(question) is None else None

    def _told(
        self, found: router.Route, question: Question, answer: Answer | None, caller: str
    ) -> router.Route:
        """The decision with an address that somebody else gave for the name or number."""
        if answer is None or answer.reply is not Reply.ROUTED:
            return found
        named = question.kind is Questioned.NAME
        relay = named  # our own program may send calls out for everybody, ENUM may not
        try:
            address = router.parse_address(answer.text)
        except AddressError:
            return found
        if not address.domain and named:
            address = Address(address.local, found.address.domain)
        told = router.route(
            address, Kind.SIGNAL, self._directory, caller=caller, relay=relay or found.relay
        )
        who = "the external program" if named else "ENUM"
        step = router.Step(Rule.UNKNOWN, address, None, f"of {question.text}, says {who}")
        before = found.steps[:-1]
        if not named:
            # What the tables made of the number does not count.
            ends = [n for n, old in enumerate(before, 1) if old.address.domain == "telnum"]
            before = before[: ends[-1] if ends else 0]
        return told._replace(steps=(*before, step, *told.steps))

    def _reached(
        self,
        found: router.Route,
        uri: SipUri | OpaqueUri | None,
        caller: str,
        *,
        may_leave: bool,
        urgent: bool = False,
    ) -> Route:
        """One destination; `uri` is what was dialled, None for a group's member."""
        outcome = found.outcome
        if outcome is Outcome.ACCOUNT:
            # A GRUU names one device of the account (RFC 5627 §5.1).
            params = uri.params if isinstance(uri, SipUri) else {}
            contacts = self._locations.contacts(
                found.account, (params["gr"] or "") if "gr" in params else None
            )
            if not contacts:
                reason = f"{found.account} has no registered device"
                return Route([], 480, reason, found.account, found)
            return Route(contacts, 0, f"account {found.account}", found.account, found)
        if outcome is Outcome.FOREIGN:
            if not may_leave:
                return Route([], 403, "strangers may not relay", "", found)
            return self._foreign(found, uri, caller)
        if outcome is Outcome.APPLICATION:
            if found.detail.lower() == GATEWAY_PROGRAM and (urgent or not self.programs()):
                return self._gateway(found, caller, urgent=urgent)
            # There is nothing to ring; who can start programs looks at the decision.
            return Route([], 480, f"application {found.address}", "", found)
        if outcome is Outcome.TASK:
            return Route([], 480, f"task {found.address}", "", found)
        reason = found.reason or f"{found.address} takes no calls ({outcome.value})"
        return Route([], found.status or 480, reason, "", found)

    def _address(self, uri: SipUri | OpaqueUri, caller: str) -> Address | None:
        """The address of a URI; None for a scheme that means nothing here."""
        if isinstance(uri, SipUri):
            user = uri.user_text
            if ";" in user:
                # sip:+49301234;phone-context=…@host (RFC 3261 §19.1.6)
                number = dialled_number(user.partition(";")[0])
                user = number or user
            return address_of(user, uri.host)
        if uri.scheme != "tel":
            return None
        # RFC 3966: the number as if it had been dialled in the caller's domain.
        number = dialled_number(uri.rest.partition(";")[0])
        if not number:
            raise AddressError(uri.text, 5, "a telephone number")
        return Address(number, caller.partition("@")[2])

    def _foreign(self, found: router.Route, uri: SipUri | OpaqueUri | None, caller: str) -> Route:
        contact = self._foreign_contact(found, uri)
        if contact is None:
            return Route([], 480, f"{found.address} is reached by {found.module.value} only")
        if caller:
            reached, note = self.trunks.through(contact, caller)
            if note:
                found = _noted(found, note)
                contact = reached or contact
        return Route([contact], 0, f"{found.host} is outside: resolved by DNS", "", found)

    def _gateway(self, found: router.Route, caller: str, *, urgent: bool) -> Route:
        """``gatewaycaller{number,gateway}`` (PBX applications reference §9)."""
        number, gateway, *_ = (*(found.parameters or ()), "", "")
        if not number:
            return Route([], 484, "no number for the gateway", "", found, built_in=True)
        # A call for help is made by the account of the application if its caller has none.
        account = caller or (found.account if urgent else "")
        if not account:
            reason = "only accounts call through gateways"
            return Route([], 403, reason, "", found, built_in=True)
        contact, note = self.trunks.gateway_call(number, gateway, account)
        if contact is None and urgent and account != found.account:
            contact, note = self.trunks.gateway_call(number, gateway, found.account)
        if contact is None:
            return Route([], 403, note, "", found, built_in=True)
        return Route([contact], 0, note, "", _noted(found, note), built_in=True)

    def _foreign_contact(
        self, found: router.Route, uri: SipUri | OpaqueUri | None
    ) -> Contact | None:
        """Where another server is called; `uri` is what was dialled, None for a group's member."""
        if found.module is not Module.SIP:
            return None
        if isinstance(uri, SipUri) and _as_dialled(found, uri):
            return Contact(str(uri))  # its port and parameters count
        scheme = uri.scheme if isinstance(uri, SipUri) else "sip"
        address = found.address
        user = quote(address.local, safe=_USER_SAFE)
        host = f"[{found.host}]" if ":" in found.host else found.host
        place = f"{host}:{found.port}" if found.port else host
        domain = address.domain
        if domain in (host, f"[{host}]", found.host):
            return Contact(f"{scheme}:{user}@{place}")
        # Only the connection is made to that host (RFC 3261 §8.1.2: a preloaded Route).
        port = f":{address.port}" if address.port else ""
        return Contact(f"{scheme}:{user}@{domain}{port}", path=(f"<sip:{place};lr>",))

    def _group(self, group: router.Route, caller: str) -> Route:
        """Everybody in a group rings at once, each contact once."""
        contacts: dict[str, Contact] = {}
        members: list[Route] = []
        steps = list(group.steps)
        for found in router.fan_out(group, Kind.SIGNAL, self._directory, caller=caller):
            member = self._reached(found, None, caller, may_leave=found.relay)
            members.append(member)
            reached = member.contacts
            note = f"{len(reached)} contacts" if reached else found.reason or "nothing to ring"
            if member.application:
                note = "application"
            steps.append(router.Step(Rule.MEMBER, found.address, None, note))
            for contact in reached:
                # One round: a group has no order among its members.
                contacts.setdefault(contact.uri, contact._replace(q=1.0))
        decision = group._replace(steps=tuple(steps))
        if not contacts:
            reason = f"nobody of the group {group.account} can be reached"
            return Route([], 480, reason, "", decision, tuple(members))
        reason = f"group {group.account}"
        return Route(list(contacts.values()), 0, reason, "", decision, tuple(members))

    def redirected(self, uri_text: str, account: str, *, urgent: bool = False) -> Route:
        """Resolve a Contact of a 3xx in the name of `account`; `urgent`: of a call for help."""
        try:
            uri = parse_uri(uri_text)
        except RemoteProtocolError:
            return Route([], 400, "the redirect cannot be read")
        if not urgent and self._emergency is not None and self._emergency.is_emergency(uri):
            return Route([], 403, "no call is sent to emergency numbers")
        return self.route(uri, account)
