"""What a request is, as rules ask for it (Telephony reference §3.3).

Fed by an INVITE or MESSAGE; gives each account on its way the :class:`~pbx.rules.Facts` of it.
Values are made when a rule asks for them, once for the whole request where they do not depend on
the called account.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pbx.calls.services import CallerData, address_of
from pbx.rules import Facts, Subject, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pbx.calls.node import SignalNode
    from sip.flow import Flow
    from sip.message import Request

#: What requests of applications and of the server itself say they come from.
LOCAL_SOURCE: Final = "LOCAL [0.0.0.0]"
_AUDIOVISUAL: Final = frozenset({b"audio", b"video"})


class CallFacts:
    """See the module."""

    __slots__ = ("_account", "_counted", "_flow", "_node", "_request", "_shared")

    def __init__(
        self,
        node: SignalNode,
        account: str,
        counted: Sequence[str],
        request: Request,
        flow: Flow | None,
    ) -> None:
        """`account` is the authenticated sender's; `counted` the accounts for which the call itself
        counts among their calls; without a `flow` this server made the request."""
        self._node = node
        self._account = account
        self._counted = counted
        self._request = request
        self._flow = flow
        self._shared: dict[Subject, Value] = {}

    def of(self, account: str, target: str, now: float) -> Facts:
        """For the rules of `account` (empty: none is known yet), the target URI being `target`."""
        node = self._node
        facts = node.services.account_facts

        def value(subject: Subject) -> Value:
            if subject is Subject.REQUEST_URI:
                return target
            if subject is Subject.REG_CLIENTS:
                return len(node.locations.contacts(account))
            if subject is Subject.PRESENCE:
                return node.services.presence(account, account in self._counted)
            if subject is Subject.PREFERENCE or subject is Subject.FREE_BUSY:
                return facts.value(account, subject)
            shared = self._shared
            if subject not in shared:
                shared[subject] = _OF_REQUEST[subject](self)
            return shared[subject]

        return Facts(
            value,
            datetime.fromtimestamp(node.clock.wall_ns() / 1e9, UTC),
            zone=facts.zone(account),
            has_account=bool(account),
            dataset=lambda name: node.rulebook.dataset(account, name),
        )

    def macros(self, account: str) -> CallerData:
        """For texts and URLs of actions."""
        request = self._request
        return CallerData(
            address_of(request.from_.uri),
            request.from_.display,
            address_of(request.request_uri),
            account,
            request.call_id,
        )

    @property
    def request_uri(self) -> str:
        """What was dialled."""
        return self._request.uri

    # Values of the request.

    def _fields(self) -> Value:
        return tuple([f"{name}: {value}" for name, value in self._request.headers])

    def _call_type(self) -> Value:
        request = self._request
        return call_type(request.body) if request.method == "INVITE" else "IM"

    def _source(self) -> Value:
        flow = self._flow
        if flow is None or flow.transport == "local":
            return LOCAL_SOURCE
        return f"SIP [{flow.remote[0]}]"

    def _authenticated(self) -> Value:
        return self._account

    def _agent(self) -> Value:
        return self._request.first("User-Agent")


def call_type(body: bytes) -> str:
    """``AV``, ``IM``, or the word of the first stream; ``AV`` without a description."""
    first = ""
    for line in body.splitlines():
        if line.startswith(b"m="):
            word = line[2:].partition(b" ")[0].lower()
            if word in _AUDIOVISUAL:
                return "AV"
            first = first or ("IM" if word == b"message" else word.decode("ascii", "replace"))
    return first.upper() or "AV"


_OF_REQUEST: Final[dict[Subject, Callable[[CallFacts], Value]]] = {
    Subject.METHOD: lambda facts: facts._request.method,
    Subject.CALL_TYPE: CallFacts._call_type,
    Subject.REQUEST_FIELD: CallFacts._fields,
    Subject.AGENT_TYPE: CallFacts._agent,
    Subject.FROM: lambda facts: address_of(facts._request.from_.uri),
    Subject.TO: lambda facts: address_of(facts._request.to.uri),
    Subject.FROM_NAME: lambda facts: facts._request.from_.display,
    Subject.AUTHENTICATED: CallFacts._authenticated,
    Subject.SUBMIT_ADDRESS: CallFacts._source,
}
