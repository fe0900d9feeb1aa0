"""Requests that are neither INVITE nor REGISTER: OPTIONS, MESSAGE, INFO and strangers.

Outside dialogs MESSAGE goes to every contact of the called account (RFC 3428 §7: the first 200
is the answer); inside a call INFO and MESSAGE cross to the peer's leg (RFC 6086 legacy usage:
DTMF by INFO). What nobody here serves gets the status the RFC names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pbx.calls import cause
from pbx.calls.message_rules import MessageRules
from pbx.calls.ports import RequestOwner
from pbx.calls.presentation import of_caller
from pbx.calls.program import ProgramUsage
from pbx.domain.calls import LegDigit
from pbx.domain.messages import MessageRelayed
from sip.events import UsageEnded

if TYPE_CHECKING:
    from pbx.calls.leg import Leg
    from pbx.calls.node import SignalNode
    from sip.events import DialogRequest, DialogResponse, ReferReceived, ResponseReceived
    from sip.flow import Flow
    from sip.message import Request
    from sip.transaction.server import ServerTransaction

ALLOW: Final = (
    "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, MESSAGE, INFO, UPDATE, PRACK, REFER, NOTIFY, "
    "SUBSCRIBE"
)
SUPPORTED: Final = "replaces, timer, 100rel, path, outbound, gruu"
#: Request bodies that carry digits (legacy INFO usage).
_DTMF_TYPES: Final = frozenset({"application/dtmf-relay", "application/dtmf"})
#: In-dialog methods that cross the bridge.
_CROSSING: Final = frozenset({"INFO", "MESSAGE"})
_NO_EVENTS: Final = (("Allow-Events", "refer"),)
#: What a refusal of INFO or MESSAGE says about what would do (RFC 3261 §21.4.13, RFC 6086 §4.2.2).
_EXPLAINING: Final = frozenset({"Accept", "Recv-Info"})
#: Branches of one MESSAGE.
_MAX_MESSAGE_BRANCHES: Final = 20


class PendingMessage:
    """One MESSAGE under way to several contacts."""

    __slots__ = ("account", "best", "from_uri", "open", "rules", "size", "to", "transaction")

    def __init__(
        self, transaction: ServerTransaction, account: str, to: str, from_uri: str, size: int
    ) -> None:
        self.transaction: ServerTransaction | None = transaction
        self.account = account
        self.to = to
        self.from_uri = from_uri
        self.size = size
        self.rules: tuple[str, ...] = ()
        self.open = 0
        self.best: list[int] = []


class Requests:
    """See the module; one per node."""

    def __init__(self, node: SignalNode) -> None:
        self._node = node

    def options(self, transaction: ServerTransaction, now: float) -> None:
        """Capabilities of the server; the same for every address, known or not."""
        self._node.engine.respond(
            transaction,
            200,
            None,
            (
                ("Allow", ALLOW),
                ("Accept", "application/sdp"),
                ("Supported", SUPPORTED),
                ("Allow-Events", self._node.subscriptions.allow_events),
            ),
            now=now,
        )

    def message(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> None:
        """Page-mode instant message."""
        node = self._node
        identity = node.authenticator.caller(transaction, request, flow, now)
        if identity is None:
            return
        trusted = node.authenticator.trusts(flow)
        applied: tuple[str, ...] = ()
        if node.rulebook.present:
            rules = MessageRules(node, identity.account, request, flow)
            route = rules.route(request.request_uri, request.uri, now, trusted=trusted)
            applied = tuple(rules.applied)
        else:
            route = node.router.route(request.request_uri, identity.account, trusted=trusted)
        if not route.contacts:
            status = 200 if route.discarded else route.status
            node.engine.respond(transaction, status, now=now)
            return
        pending = PendingMessage(
            transaction, identity.account, request.uri, request.from_.uri_text, len(request.body)
        )
        pending.rules = applied
        proven = node.router.identity(identity.account) if identity.account else ""
        from_ = of_caller(request, proven).from_
        hops = request.max_forwards
        for contact in route.contacts[:_MAX_MESSAGE_BRANCHES]:
            pending.open += 1
            node.engine.request(
                "MESSAGE",
                contact.uri,
                to=f"<{request.to.uri_text}>",
                from_=from_,
                now=now,
                max_forwards=(70 if hops is None else hops) - 1,
                body=request.body,
                content_type=request.first("Content-Type") or "text/plain",
                target=contact.target,
                route=contact.path,
                credentials=contact.login,
                user=pending,
            )

    def message_response(self, event: ResponseReceived, now: float) -> None:
        """A branch of a MESSAGE answered (or did not)."""
        pending = event.client.user
        if isinstance(pending, RequestOwner):
            pending.responded(event, now)
            return
        if not isinstance(pending, PendingMessage):
            return
        if event.response is not None:
            status = event.response.status
        else:
            status = cause.FLOW_FAILED if event.cause == "transport" else 408
        if status < 200:
            return
        pending.open -= 1
        pending.best.append(status)
        if pending.transaction is None:
            return
        if status < 300 or pending.open == 0:
            best = cause.best_status(pending.best)
            final = status if status < 300 else cause.passed_non_invite_status(best)
            self._node.engine.respond(pending.transaction, final, now=now)
            pending.transaction = None
            self._node.note_message(
                MessageRelayed(
                    from_uri=pending.from_uri,
                    to_uri=pending.to,
                    account=pending.account,
                    status=final,
                    size_bytes=pending.size,
                    rules=pending.rules,
                )
            )

    def in_dialog(self, leg: Leg, event: DialogRequest, now: float) -> None:
        """INFO, MESSAGE, OPTIONS of an answered leg."""
        request = event.request
        method = request.method
        if method == "OPTIONS":
            self.options(event.transaction, now)
            return
        peer = leg.call.peer_of(leg)
        if method in ("NOTIFY", "SUBSCRIBE"):
            leg.usage.respond(event.transaction, 489, None, _NO_EVENTS, now=now)
            return
        if method not in _CROSSING:
            leg.usage.respond(event.transaction, 405, None, (("Allow", ALLOW),), now=now)
            return
        if peer is None or not peer.alive:
            leg.usage.respond(event.transaction, 480, now=now)
            return
        if request.content_type in _DTMF_TYPES:
            journal = leg.call.journal
            journal.write(LegDigit(leg_id=leg.id, elapsed_ms=journal.elapsed_ms(now)))
        usage = peer.usage
        if isinstance(usage, ProgramUsage):
            content_type = request.first("Content-Type") or ""
            status, fields = usage.received(method, content_type, request.body, now)
            leg.usage.respond(event.transaction, status, None, fields, now=now)
            return
        headers = [field for field in request.headers if field[0] == "Info-Package"]
        usage.request(
            method,
            headers,
            request.body,
            now=now,
            content_type=request.first("Content-Type") or "",
            user=(leg, peer, event.transaction),
        )
        leg.crossings.append(event.transaction)
        peer.crossings.append(event.transaction)

    def in_dialog_response(self, event: DialogResponse, now: float) -> None:
        """The peer's answer to what crossed: back to where it came from."""
        origin = event.client.user
        if callable(origin):
            origin(event, now)
            return
        if not isinstance(origin, tuple):
            return
        leg, peer, transaction = origin
        if transaction.answered:
            return  # one of the legs ended meanwhile
        leg.crossings.remove(transaction)
        peer.crossings.remove(transaction)
        status = event.response.status if event.response is not None else 408
        headers: tuple[tuple[str, str], ...] = ()
        if event.response is not None and status in (415, 469):
            headers = tuple(f for f in event.response.headers if f[0] in _EXPLAINING)
        passed = cause.passed_non_invite_status(status)
        leg.usage.respond(transaction, passed, None, headers, now=now)
        if status in (408, 481) and peer.alive:
            # RFC 5057 §5.1: that party's side of the call is gone.
            peer.usage.bye(now=now)
            lost = UsageEnded(peer.usage, "timeout", None)
            peer.call.on_usage_ended(peer, lost, now)

    def stray_refer(self, event: ReferReceived, now: float) -> None:
        """REFER outside a call: nobody may make this server call others that way."""
        self._node.engine.respond(event.transaction, 403, now=now)

    def unserved(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Methods without a service here: packages nobody offers, dialogs nobody has."""
        if request.method == "PUBLISH":
            headers = (("Allow-Events", self._node.subscriptions.allow_events),)
            self._node.engine.respond(transaction, 489, None, headers, now=now)
        else:
            self._node.engine.respond(transaction, 481, now=now)
