"""What rules need around a call: facts of accounts, applications, and effects beyond ringing.

One :class:`Services` a node. It holds the ports that other parts of the server fill in (the script
engine, settings, the outside world) and stands in for them until they do: an application that
nobody runs is refused with the reason, a preference that nobody keeps is absent.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pbx.calls.ports import (
    AccountFacts,
    Application,
    ApplicationBranch,
    ApplicationPort,
    EffectsPort,
)
from pbx.calls.presentation import ANONYMOUS, Presentation, address_text
from pbx.domain.rules import DatasetEntryAdded, dataset_name
from pbx.eventlog import ANY_VERSION, Meta
from pbx.kernel.errors import DomainError
from pbx.rules import Decision, Level, Subject, Value, Verb
from pbx.rules.addresses import Target
from pbx.rules.values import parse_message
from sip.errors import RemoteProtocolError
from sip.uri import SipUri, parse_uri, unescape

if TYPE_CHECKING:
    from pbx.calls.call import Call
    from pbx.calls.leg import Leg
    from pbx.calls.node import SignalNode

#: MESSAGE branches of one SendIM.
_MAX_CONTACTS: Final = 10


class NoApplications:
    """Until a script engine is there: nothing can be started."""

    def start(
        self, application: Application, call: Call, branch: ApplicationBranch, now: float
    ) -> str:
        return f"the application {application.text} cannot run: this server has no script engine"

    def cancel(self, branch: ApplicationBranch, now: float) -> None:
        """Nothing runs."""

    def media_timed_out(self, session: str, now: float) -> None:
        """Nothing is hosted."""

    def media_restarted(self, now: float) -> None:
        """Nothing is hosted."""


class PlainFacts:
    """Accounts without preferences and calendar, all in one time zone."""

    def __init__(self, zone: tzinfo = UTC) -> None:
        self._zone = zone

    def value(self, account: str, subject: Subject) -> Value:
        return None

    def zone(self, account: str) -> tzinfo:
        return self._zone


class NoEffects:
    """Without a way out of the server."""

    def fetch(self, url: str, now: float) -> str:
        return "this server fetches no URLs"

    def push(self, account: str, text: str, now: float) -> str:
        return "no push service is set up"


class CallerData:
    """What macros in texts and URLs stand for."""

    __slots__ = ("account", "address", "called", "call_id", "name")

    def __init__(self, address: str, name: str, called: str, account: str, call_id: str) -> None:
        self.address = address
        self.name = name
        self.called = called
        self.account = account
        self.call_id = call_id

    def expand(self, text: str, *, url: bool = False) -> str:
        """``^F`` caller, ``^N`` its name, ``^T`` target, ``^R`` called account, ``^I`` Call-ID, and
        ``^^``; values are percent-encoded in URLs, where a caller could otherwise write anything.
        """
        if "^" not in text:
            return text
        values = {
            "F": self.address,
            "N": self.name,
            "T": self.called,
            "R": self.account,
            "I": self.call_id,
        }
        pieces = text.split("^")
        result = [pieces[0]]
        index = 1
        while index < len(pieces):
            piece = pieces[index]
            if not piece and index + 1 < len(pieces):  # ^^
                result.append("^" + pieces[index + 1])
                index += 2
                continue
            value = values.get(piece[:1])
            if value is None:
                result.append("^" + piece)
            else:
                result.append((quote(value, safe="") if url else value) + piece[1:])
            index += 1
        return "".join(result)


class Services:
    """See the module."""

    def __init__(self, node: SignalNode) -> None:
        self._node = node
        self.applications: ApplicationPort = NoApplications()
        self.account_facts: AccountFacts = PlainFacts()
        self.effects: EffectsPort = NoEffects()

    def presence(self, account: str, counted: bool) -> Value:
        """Aggregated presence of an account; `counted`: the call that asks is among its calls."""
        known = self.account_facts.value(account, Subject.PRESENCE)
        if known is not None:
            return known
        node = self._node
        if node.limits.active(account) > (1 if counted else 0):
            return "on-phone"
        return "online" if node.locations.contacts(account) else "offline"

    def carry_out(self, decision: Decision, party: Leg | None, data: CallerData, now: float) -> str:
        """One action that neither rings nor answers; the outcome in words for the log.

        `party` is who calls, None if nobody will talk.
        """
        action = decision.action
        match action.verb:
            case Verb.REMEMBER:
                return self._remember(action.parameter, data)
            case Verb.SEND_IM:
                return self._send_message(decision, data, now)
            case Verb.SEND_PUSH:
                text = data.expand(action.parameter or "^N ^F")
                return self.effects.push(data.account, text, now) or "pushed"
            case Verb.SEND_URL:
                url = data.expand(action.parameter, url=True)
                return self.effects.fetch(url, now) or "fetched"
            case Verb.LOG:
                return data.expand(action.parameter)
            case Verb.SHOW_CALLER if party is not None:
                party.shown = shown_as(data.expand(action.parameter), party)
                return f"the caller is shown as {party.shown.from_}"
            case _:
                raise AssertionError(action.verb)

    def _remember(self, dataset: str, data: CallerData) -> str:
        node, account = self._node, data.account
        address = data.address.lower()
        if not account or not address:
            return "there is no account or no caller to remember"
        try:
            name = dataset_name(dataset)
        except DomainError as error:
            return str(error)
        if address in node.rulebook.dataset(account, name):
            return f"{address} is in {name} already"
        problem = node.rulebook.may_remember(account, name, address)
        if problem:
            return problem
        stream = f"account/{account}"
        added = DatasetEntryAdded(dataset=name, address=address, name=data.name[:128])
        domain = account.partition("@")[2]
        node.log.observe(stream, ANY_VERSION, added, Meta(actor=f"rule:{account}", tenant=domain))
        node.rulebook.apply(stream, added)
        return f"{address} is remembered in {name}"

    def _send_message(self, decision: Decision, data: CallerData, now: float) -> str:
        """MESSAGE to the devices of the address (RFC 3428), as from the account; nobody waits."""
        node = self._node
        target, text = parse_message(decision.action.parameter)
        sender = data.account or f"postmaster@{node.directory.main_domain}"
        uri = target_uri(target, decision, data.account, node.directory.main_domain)
        try:
            route = node.router.route(parse_uri(uri), sender)
        except RemoteProtocolError:
            return f"{uri} is no address"
        for contact in route.contacts[:_MAX_CONTACTS]:
            node.engine.request(
                "MESSAGE",
                contact.uri,
                to=f"<{uri}>",
                from_=f"<sip:{sender}>",
                now=now,
                body=data.expand(text).encode(),
                content_type="text/plain",
                target=contact.target,
                route=contact.path,
            )
        return f"sent to {len(route.contacts)} contacts" if route.contacts else route.reason


def target_uri(target: Target, decision: Decision, account: str, main_domain: str) -> str:
    """The URI of an action's address: names belong to the domain of the rule's owner."""
    return target.uri_at(home_of(decision, account, main_domain))


def home_of(decision: Decision, account: str, main_domain: str) -> str:
    """The domain that a name without one means: the owner's; the main one for server rules."""
    entry = decision.entry
    if entry.level is Level.SERVER:
        return main_domain
    return entry.owner.rpartition("@")[2] or account.partition("@")[2]


def shown_as(text: str, caller: Leg) -> Presentation:
    """The caller under another name: ``anonymous``, a display name, or ``"Name" <sip:URI>``.

    Who is authenticated stays in P-Asserted-Identity, toward our own accounts only.
    """
    if text.strip().lower() == "anonymous":
        return ANONYMOUS
    before = caller.presentation()
    name, bracket, rest = text.partition("<")
    clean = "".join(letter for letter in name if letter.isprintable()).strip().strip('"')
    if bracket:
        uri_text = rest.partition(">")[0].strip()
        try:
            parse_uri(uri_text)
        except RemoteProtocolError:
            return before
        return Presentation(address_text(clean, uri_text), before.asserted)
    if before is ANONYMOUS:
        return before  # a name for somebody who withheld it
    uri = before.from_.rpartition("<")[2].rstrip(">")
    return Presentation(address_text(clean, uri), before.asserted)


def address_of(uri: object) -> str:
    """``user@domain`` of a URI as rules compare it; a number for ``tel:``."""
    if isinstance(uri, SipUri):
        user = unescape(uri.user or "")
        return f"{user}@{uri.host}" if user else uri.host
    return str(uri).partition(":")[2]
