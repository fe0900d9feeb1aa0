"""The SIP stack as one sans-I/O object (RFC 3261 with 3262, 3311, 3515, 4028, 6026, 6665).

A shell feeds it datagrams, stream bytes, resolver answers and the time, and after each input
drains `outputs()` (what to send, resolve, close), `events()` (what the transaction user must
know) and `next_timer()` (when to call `handle_timers`). The engine never waits, reads no clock,
draws randomness only from the generator it was given, and never raises for what a peer sent.

    shell ── receive_datagram / receive_stream ──► parser ──► ingress ──► transactions, usages
      ▲                                                                        │
      └────────────── outputs() ◄──────────────────────────────────────────────┤
    user ◄─────────── events()  ◄──────────────────────────────────────────────┘

The transaction user calls `respond`, `request`, `invite` and the methods of the usages that
events name; it may do so while it walks through a list of events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from sip.core import (
    NODE_PARAMETER,
    CloseFlow,
    Core,
    EngineConfig,
    ExtraHeaders,
    Forward,
    Output,
    Resolve,
    Rng,
    TargetFailed,
    Transmit,
    lines_of,
)
from sip.dialog.dialog import NO_OWNER, Dialog
from sip.dialog.invite import InviteUsage
from sip.dialog.subscribe import NotifierUsage, SubscriberUsage, subscribe_lines
from sip.errors import LocalProtocolError, MalformedHeader, ParseError
from sip.events import ResponseReceived
from sip.flow import Address, Flow, Target
from sip.headers import parse_event
from sip.ingress import Ingress, contact_head, contact_of
from sip.message import Request, Response
from sip.parser import KeepAlive, StreamFramer, is_keep_alive, parse_message, validate_response
from sip.request import Authorizer, ClientRequest
from sip.transaction.client import ClientTransaction
from sip.transaction.match import client_of
from sip.transaction.server import ServerTransaction

if TYPE_CHECKING:
    from sip.events import Event, FailureCause

__all__ = [
    "CloseFlow",
    "EngineConfig",
    "Forward",
    "Output",
    "Resolve",
    "Rng",
    "SipEngine",
    "TargetFailed",
    "Transmit",
]

_PONG = b"\r\n"
_NODE_MARK = f";{NODE_PARAMETER}="
_NODE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class OutsideHandler:
    """Turns the outcome of requests outside dialogs into events."""

    __slots__ = ("core",)

    def __init__(self, core: Core) -> None:
        self.core = core

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        self.core.events.append(ResponseReceived(client, response, "response"))

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self.core.events.append(ResponseReceived(client, None, cause))


def _named_node(text: str) -> str:
    """The node that the first Via or the Request-URI `text` names; empty if it names none."""
    at = text.find(_NODE_MARK)
    if at < 0:
        return ""
    match = _NODE_NAME.match(text, at + len(_NODE_MARK))
    # In a line with several Vias the parameter may be another hop's.
    return match[0] if match is not None and "," not in text[:at] else ""


def _readable(response: Response, request: ClientRequest) -> bool:
    """Whether From and To are those we sent, or at least some (RFC 3261 §8.1.3.3)."""
    sender, to = response.first("From") or "", response.first("To") or ""
    if sender == request.from_line[6:-2] and to.startswith(request.to_line[4:-2]):
        return True
    return validate_response(response)


class SipEngine:
    """See the module."""

    __slots__ = ("_core", "_ingress", "_outside")

    def __init__(self, config: EngineConfig, rng: Rng) -> None:
        self._core = Core(config, rng)
        self._ingress = Ingress(self._core)
        self._outside = OutsideHandler(self._core)

    @property
    def config(self) -> EngineConfig:
        return self._core.config

    # -- inputs

    def add_listener(self, transport: str, local: Address) -> None:
        """Name a side of ours, for Via and Contact; the first of a transport is the default."""
        self._core.add_listener(transport, local)

    def limit_refusals(self, admits: Callable[[Flow, float], bool]) -> None:
        """Ask `admits(flow, now)` before a request is refused without state.

        Such answers cost no transaction, and the user hears nothing of them; so this is where it
        can keep a flood of bad requests from being answered one by one.
        """
        self._core.refusal_guard = admits

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """One UDP datagram."""
        core = self._core
        core.now = now
        if len(data) <= 4 and is_keep_alive(data):
            core.count("keep_alives")
            return
        try:
            message = parse_message(data, core.config.limits)
        except ParseError as error:
            self._unreadable(error, flow)
            return
        if core.config.node and self._is_anothers(message, flow):
            return
        if isinstance(message, Request):
            self._ingress.receive(message, flow, now)
        else:
            self._response(message, flow, now)

    def receive_forwarded(self, data: bytes, flow: Flow, now: float) -> None:
        """A message that another node took from `flow` for us (``Forward``).

        The flow's local address is that node's (:func:`sip.flow.elsewhere`).
        """
        core = self._core
        core.now = now
        try:
            message = parse_message(data, core.config.limits)
        except ParseError:
            core.count("parse_errors")
            return
        # Whatever it says of nodes: it was sent on once, that is enough.
        if isinstance(message, Request):
            self._ingress.receive(message, flow, now)
        else:
            self._response(message, flow, now)

    def forget_node(self, node: str) -> None:
        """What another node shows as its address may have changed."""
        self._core.forget_sides(node)

    def open_stream(self, transport: str, remote: Address) -> Flow | None:
        """The open stream to `remote`, whoever opened it."""
        return self._core.streams.get((transport, remote[0], remote[1]))

    def flow_opened(self, flow: Flow, now: float) -> None:
        """A stream is up, whoever opened it. Over `max_flows` it is closed again."""
        core = self._core
        core.now = now
        if len(core.flows) >= core.config.max_flows:
            core.outputs.append(CloseFlow(flow, "too many connections"))
            return
        core.open_flow(flow, StreamFramer(core.config.limits))

    def receive_stream(self, flow: Flow, data: bytes, now: float) -> int:
        """Bytes of a stream, or one WebSocket message; the result counts what was understood.

        Keep-alives count, unreadable messages do not: with 0 the shell's patience runs on.
        """
        core = self._core
        core.now = now
        state = core.flows.get(flow)
        if state is None:
            core.count("dropped")
            return 0
        if flow.transport in ("ws", "wss"):
            # RFC 7118 §5: the frame is the message, Content-Length may be missing.
            if is_keep_alive(data):
                if data == b"\r\n\r\n":
                    core.send(flow, _PONG)
            else:
                self.receive_datagram(data, flow, now)
            return 1
        messages = state.framer.feed(data)
        understood = len(messages)
        for message in messages:
            if core.config.node and self._is_anothers(message, flow):
                continue
            if isinstance(message, Request):
                self._ingress.receive(message, flow, now)
            elif isinstance(message, Response):
                self._response(message, flow, now)
            elif isinstance(message, ParseError):
                understood -= 1
                self._unreadable(message, flow)
            else:
                core.count("keep_alives")
                if message is KeepAlive.PING:
                    core.send(flow, _PONG)  # RFC 5626 §4.4.1
        if state.framer.broken:
            core.outputs.append(CloseFlow(flow, "framing lost"))
        return understood

    def flow_closed(self, flow: Flow, now: float) -> None:
        """A stream is gone: what waited on it fails now instead of by timeout (RFC 5626 §4.3)."""
        core = self._core
        core.now = now
        for transaction in core.close_flow(flow):
            transaction.transport_failed(now)

    def transport_failed(self, to: Flow | Target, token: object, now: float) -> None:
        """A Transmit could not be delivered; `token` is the one it carried."""
        core = self._core
        core.now = now
        core.count("transport_failures")
        if isinstance(token, ClientTransaction | ServerTransaction):
            token.transport_failed(now)

    def resolved(self, query: int, targets: list[Target], now: float) -> None:
        """The answer to Resolve, best target first; [] when nothing was found."""
        core = self._core
        core.now = now
        client = core.queries.get(query)
        if client is not None:
            client.resolved(targets, now)

    def handle_timers(self, now: float) -> None:
        """Call it when `next_timer()` is reached; calling it earlier is harmless."""
        self._core.now = now
        self._core.timers.run(now)

    # -- outputs

    def next_timer(self) -> float | None:
        """When `handle_timers` must be called; ask again after every input."""
        return self._core.timers.next_deadline()

    def outputs(self) -> list[Output]:
        """Everything to carry out since the last call, in order."""
        core = self._core
        outputs = core.outputs
        if outputs:
            core.outputs = []
        return outputs

    def events(self) -> list[Event]:
        """Everything that happened since the last call, in order."""
        core = self._core
        events = core.events
        if events:
            core.events = []
        return events

    def is_open(self, flow: Flow) -> bool:
        """Whether a stream flow is still there to send over."""
        return self._core.is_up(flow)

    def statistics(self) -> dict[str, int]:
        """Sizes of all tables (0 when nothing is going on) and counters of what was refused."""
        core = self._core
        return {
            "client_transactions": len(core.clients),
            "server_transactions": len(core.servers),
            "merged": len(core.merged),
            "dialogs": len(core.dialogs),
            "subscribers": len(core.subscribers),
            "usages": core.usages,
            "timers": len(core.timers),
            "queries": len(core.queries),
            "flows": len(core.flows),
            **core.counters,
        }

    # -- what a peer sent

    def _is_anothers(self, message: object, flow: Flow) -> bool:
        """Forward what another node sent by us, or rather the answer to it."""
        if isinstance(message, Response):
            where = message.first("Via") or ""
        elif isinstance(message, Request):
            where = message.uri
        else:
            return False
        node = _named_node(where)
        if not node or node == self._core.config.node:
            return False
        self._core.outputs.append(Forward(node, flow, message.to_bytes()))
        self._core.count("forwarded")
        return True

    def _unreadable(self, error: ParseError, flow: Flow) -> None:
        self._core.count("parse_errors")
        request = error.partial
        if request is not None and request.method != "ACK":
            self._ingress.refuse(request, flow, error.status_hint, error.reason)

    def _response(self, response: Response, flow: Flow, now: float) -> None:
        """Only a response to a request of ours is looked at (RFC 3261 §18.1.2)."""
        core = self._core
        try:
            transaction = client_of(response, core.clients)
        except MalformedHeader:
            transaction = None
        if transaction is None or not _readable(response, transaction.request):
            core.count("stray_responses")
            return
        transaction.request.flow = flow
        transaction.receive(response, now)

    # -- the transaction user

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float | None = None,
        content_type: str = "",
    ) -> None:
        """Answer RequestReceived; `now` defaults to the time of the last input."""
        transaction.respond_with(
            status,
            reason,
            headers,
            body,
            content_type,
            now=self._core.now if now is None else now,
        )

    def drop(self, transaction: ServerTransaction, *, now: float) -> None:
        """Forget a request without an answer (a scanner); repetitions start over."""
        transaction.forget()

    def request(
        self,
        method: str,
        uri: str,
        *,
        to: str,
        from_: str,
        now: float,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        content_type: str = "",
        target: Target | Flow | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        cseq: int | None = None,
        contact: str | None = None,
        max_forwards: int = 70,
        credentials: Authorizer | None = None,
        user: object = None,
    ) -> ClientRequest:
        """Send a request outside any dialog; ResponseReceived follows.

        `to`, `from_` and `route` are header values. `contact` is the user part of our own
        Contact, None for none (a Contact in `headers` is sent as it is). Provisional responses
        are reported too.
        """
        if method in ("INVITE", "ACK", "CANCEL", "SUBSCRIBE"):
            raise LocalProtocolError(f"{method} has a way of its own")
        core = self._core
        route_lines, next_hop = preloaded(route)
        lines = lines_of(headers) + core.user_agent_line
        if body and content_type:
            lines += f"Content-Type: {content_type}\r\n"
        client = ClientRequest(
            core,
            self._outside,
            method,
            uri,
            from_line=f"From: {from_};tag={core.new_tag()}\r\n",
            to_line=f"To: {to}\r\n",
            call_id_line=f"Call-ID: {call_id or core.new_call_id()}\r\n",
            cseq=1 if cseq is None else cseq,
            extra=lines,
            body=body,
            contact=None if contact is None else contact_of(contact),
            max_forwards=max_forwards,
            route_lines=route_lines,
            next_hop=next_hop,
        )
        client.credentials = credentials
        client.user = user
        client.start(target, now)
        return client

    def invite(
        self,
        uri: str,
        *,
        to: str,
        from_: str,
        now: float,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        content_type: str = "application/sdp",
        target: Target | Flow | None = None,
        route: Sequence[str] = (),
        call_id: str | None = None,
        reliable: Literal["supported", "off", "required"] = "supported",
        session_expires: int | None = None,
        max_forwards: int = 70,
        credentials: Authorizer | None = None,
        contact_user: str = "",
        user: object = None,
    ) -> InviteUsage:
        """Call somebody. InviteProgress, then InviteAnswered or InviteFailed follow.

        `body` b"" leaves the offer to the peer. A Target with a `flow` (or a Flow) is a binding:
        requests inside the dialog use it too. `session_expires` 0 asks for no session timer.
        """
        core = self._core
        call_id = call_id or core.new_call_id()
        tag = core.new_tag()
        contact = contact_of(contact_user)
        interval_s = core.config.session_expires_s if session_expires is None else session_expires
        route_lines, next_hop = preloaded(route)
        usage = InviteUsage(core, "uac", call_id, tag, contact, interval_s)
        usage.user = user
        usage.credentials = credentials
        lines = usage.invite_lines(headers, reliable)
        if body:
            lines += f"Content-Type: {content_type}\r\n"
        client = ClientRequest(
            core,
            usage,
            "INVITE",
            uri,
            from_line=f"From: {from_};tag={tag}\r\n",
            to_line=f"To: {to}\r\n",
            call_id_line=f"Call-ID: {call_id}\r\n",
            cseq=1,
            extra=lines,
            body=body,
            contact=contact,
            max_forwards=max_forwards,
            route_lines=route_lines,
            next_hop=next_hop,
        )
        usage.start_invite(client, target, now)
        return usage

    def subscribe(
        self,
        uri: str,
        event: str,
        *,
        to: str,
        from_: str,
        now: float,
        expires_s: int = 3600,
        target: Target | Flow | None = None,
        route: Sequence[str] = (),
        headers: ExtraHeaders = (),
        credentials: Authorizer | None = None,
        contact_user: str = "",
        user: object = None,
    ) -> SubscriberUsage:
        """Subscribe; SubscriptionNotified and at last SubscriptionEnded follow. It refreshes."""
        core = self._core
        call_id, tag = core.new_call_id(), core.new_tag()
        contact = contact_of(contact_user)
        route_lines, next_hop = preloaded(route)
        extra = subscribe_lines(event, headers, core)
        usage = SubscriberUsage(core, call_id, tag, contact, event, expires_s, extra)
        usage.user = user
        client = ClientRequest(
            core,
            usage,
            "SUBSCRIBE",
            uri,
            from_line=f"From: {from_};tag={tag}\r\n",
            to_line=f"To: {to}\r\n",
            call_id_line=f"Call-ID: {call_id}\r\n",
            cseq=1,
            extra=f"{extra}Expires: {expires_s}\r\n",
            contact=contact,
            route_lines=route_lines,
            next_hop=next_hop,
        )
        client.credentials = credentials
        usage.start(client, target, now)
        return usage

    def accept_subscription(
        self,
        transaction: ServerTransaction,
        expires_s: int,
        headers: ExtraHeaders = (),
        *,
        now: float,
        status: int = 200,
        longest_s: int | None = None,
    ) -> NotifierUsage:
        """Accept a SUBSCRIBE (RequestReceived); the user must call `notify()` at once.

        Refreshes are answered by the engine, with at most `longest_s`.
        Raises MalformedHeader when the request cannot open a dialog; answer that with 400.
        """
        lines = f"Expires: {expires_s}\r\n" + lines_of(headers)
        event = str(parse_event(transaction.request.first("Event") or ""))
        usage = self._accept_dialog(transaction, event, expires_s, status, lines, now)
        usage.longest_s = longest_s
        return usage

    def accept_refer(self, transaction: ServerTransaction, *, now: float) -> NotifierUsage:
        """Accept a REFER outside a dialog: 202 and the first NOTIFY; report by `notify_refer()`.

        Raises MalformedHeader when the request cannot open a dialog; answer that with 400.
        """
        usage = self._accept_dialog(transaction, "refer", 180, 202, "", now)
        usage.notify_refer(100, now=now)
        return usage

    def _accept_dialog(
        self,
        transaction: ServerTransaction,
        event: str,
        expires_s: int,
        status: int,
        lines: str,
        now: float,
    ) -> NotifierUsage:
        core = self._core
        request, flow = transaction.request, transaction.flow
        contact = contact_head(request)
        usage = NotifierUsage(
            core,
            Dialog.of_request(core, NO_OWNER, request, flow, transaction.to_tag, contact),
            request,
            event,
            expires_s,
            now,
        )
        shown = contact + core.side(flow.transport, flow.local).contact_at
        routes = request.all("Record-Route")
        lines += "".join([f"Record-Route: {route}\r\n" for route in routes])
        transaction.respond(status, None, f"{shown}{lines}{core.server_line}", now=now)
        return usage

    def keep_alive(self, flow: Flow) -> None:
        """Keep a NAT or firewall on the way open: two line ends, which a server ignores
        (RFC 5626 §3.5.1, RFC 3261 §7.5)."""
        self._core.send(flow, b"\r\n\r\n")

    def is_up(self, flow: Flow) -> bool:
        """Whether a flow may still be used; of datagrams nobody knows."""
        return not flow.reliable or self._core.is_up(flow)

    def find_dialog(
        self, call_id: str, local_tag: str, remote_tag: str, *, either_order: bool = False
    ) -> InviteUsage | None:
        """The INVITE usage of a dialog of ours, for Replaces (RFC 3891 §3).

        `either_order`: many phones swap the tags, so try that too. A usage that is over is found
        while its BYE is on the way: the caller owes 603 then.
        """
        dialogs = self._core.dialogs
        dialog = dialogs.get((call_id, local_tag, remote_tag))
        if dialog is None and either_order:
            dialog = dialogs.get((call_id, remote_tag, local_tag))
        owner = dialog.owner if dialog is not None else None
        return owner if isinstance(owner, InviteUsage) else None


def preloaded(route: Sequence[str]) -> tuple[str, str]:
    """Route lines and next hop of a preloaded route set (RFC 3261 §8.1.2; loose routers)."""
    if not route:
        return "", ""
    first = route[0]
    left = first.find("<")
    hop = first[left + 1 : first.find(">", left)] if left >= 0 else first.partition(";")[0]
    return lines_of([("Route", value) for value in route]), hop
