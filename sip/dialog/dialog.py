"""Dialogs (RFC 3261 §12): who talks to whom, in which order, over which way.

Fed by usages with the request or response that creates the dialog and with every later message
of the peer; feeds them with ready requests. All text that stays the same (From, To, Call-ID,
Route) is put together once, when the dialog is created; a target refresh renews the rest.

Where requests go: the first Route, or the remote target. Over the peer's own flow instead when
it is a stream (RFC 5626 §4.3), or when the Contact names a host that cannot be reached from here
(NAT; RFC 3581 has no say on requests, so this is the practice of every server).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sip.core import Core
from sip.dialog.addresses import hosts_of, private_host, record_routes, target_text, uri_of
from sip.errors import LocalProtocolError, MalformedHeader
from sip.flow import Flow, Target
from sip.headers import parse_name_addr
from sip.message import Message, Request, Response
from sip.request import ClientRequest, RequestHandler, target_of
from sip.transaction.match import tag_of
from sip.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from sip.transaction.server import ServerTransaction


class DialogOwner(Protocol):
    """The usage that answers the dialog's requests."""

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None: ...
    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None: ...


class NoOwner:
    """Stands where a dialog has no usage: before it has one, and after the usage was released.

    A dialog is out of the table then, so nothing ever arrives here.
    """

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        raise LocalProtocolError("the dialog has no usage")

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        raise LocalProtocolError("the dialog has no usage")


NO_OWNER: Final = NoOwner()


class Dialog:
    """One dialog, registered in the engine's table by its three identifiers."""

    __slots__ = (
        "_hop",
        "_located",
        "_next_hop",
        "_request_uri",
        "_route_lines",
        "call_id",
        "call_id_line",
        "contact",
        "core",
        "flow",
        "from_line",
        "local_cseq",
        "local_tag",
        "owner",
        "pinned",
        "registered",
        "remote_cseq",
        "remote_tag",
        "remote_target",
        "route_set",
        "sources",
        "to_line",
        "user",
    )

    def __init__(
        self,
        core: Core,
        owner: DialogOwner,
        *,
        call_id: str,
        local_tag: str,
        remote_tag: str,
        local: str,
        remote: str,
        remote_target: str,
        route_set: list[str],
        local_cseq: int,
        remote_cseq: int | None,
        flow: Flow | None,
        contact: str,
    ) -> None:
        self.core = core
        self.owner = owner
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.from_line = f"From: {local}\r\n"
        self.to_line = f"To: {remote}\r\n"
        self.call_id_line = f"Call-ID: {call_id}\r\n"
        self.remote_target = remote_target
        self.route_set = route_set
        """Frozen for the life of the dialog (§12.2): a target refresh never touches it."""
        self.local_cseq = local_cseq
        self.remote_cseq = remote_cseq
        self.flow = flow
        """The last flow a message of the peer came over."""
        self.pinned: Flow | Target | None = None
        """The binding the call was sent to: its flow also serves requests in the dialog."""
        self.contact = contact
        """Our Contact up to the host."""
        self.sources: set[str] | None = None
        """Hosts requests may come from (strict_source), or None."""
        self.registered = False
        self.user: object = None
        self._located = False
        self._hop: Flow | Target | None = None
        self._next_hop = ""
        self._request_uri = ""
        self._route_lines = ""
        self._set_route()

    @classmethod
    def of_request(
        cls,
        core: Core,
        owner: DialogOwner,
        request: Request,
        flow: Flow,
        local_tag: str,
        contact: str,
    ) -> Dialog:
        """The dialog that a request opens at its UAS (§12.1.1). Raises MalformedHeader."""
        to = request.first("To") or ""
        dialog = cls(
            core,
            owner,
            call_id=request.call_id,
            local_tag=local_tag,
            remote_tag=tag_of(request.first("From") or ""),
            local=f"{to};tag={local_tag}",
            remote=request.first("From") or "",
            # RFC 2543 peers need not send a Contact.
            remote_target=target_text(request) or uri_of(request.first("From") or ""),
            route_set=record_routes(request),
            local_cseq=0,
            remote_cseq=request.cseq.number,
            flow=flow,
            contact=contact,
        )
        if core.config.strict_source:
            dialog.sources = hosts_of(request)
            dialog.sources.add(flow.remote[0])
        return dialog

    @classmethod
    def of_response(
        cls,
        core: Core,
        owner: DialogOwner,
        client: ClientRequest,
        response: Response,
        local_tag: str,
        contact: str,
    ) -> Dialog:
        """The dialog that a response opens at the UAC (§12.1.2): the route set is reversed.

        A peer that forgot its Contact, or sent an unreadable Record-Route, is still owed an ACK:
        the destination of the request serves.
        """
        try:
            route_set = record_routes(response)[::-1]
        except MalformedHeader:
            route_set = []
        dialog = cls(
            core,
            owner,
            call_id=response.call_id,
            local_tag=local_tag,
            remote_tag=tag_of(response.first("To") or ""),
            local=client.from_line[6:-2],
            remote=response.first("To") or "",
            remote_target=target_text(response) or client.uri,
            route_set=route_set,
            local_cseq=client.cseq,
            remote_cseq=None,
            flow=client.flow,
            contact=contact,
        )
        if core.config.strict_source:
            dialog.sources = hosts_of(response)
            if client.flow is not None:
                dialog.sources.add(client.flow.remote[0])
        return dialog

    # -- identity

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.call_id, self.local_tag, self.remote_tag)

    def register(self) -> None:
        self.core.dialogs[self.key] = self
        self.registered = True

    def unregister(self) -> None:
        """From now on requests for it are answered 481; the usage is let go of."""
        if self.registered:
            self.registered = False
            self.core.dialogs.pop(self.key, None)
            self.owner = NO_OWNER

    @property
    def local_uri(self) -> str:
        """The URI in our From or To."""
        return uri_of(self.from_line[6:-2])

    @property
    def remote_uri(self) -> str:
        """The URI in the peer's From or To."""
        return uri_of(self.to_line[4:-2])

    # -- order and source

    def next_cseq(self) -> int:
        self.local_cseq += 1
        return self.local_cseq

    def accept_cseq(self, number: int) -> bool:
        """Whether a request of the peer is in order (§12.2.2); gaps are fine."""
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def accepts_source(self, flow: Flow) -> bool:
        return self.sources is None or flow.remote[0] in self.sources

    def heard_from(self, flow: Flow) -> None:
        """A message of the peer matched; the way back follows it."""
        if flow != self.flow:
            self.flow = flow
            if self.pinned is not None:
                self.pinned = flow  # the phone moved (NAT rebinding, reconnect)
            self._located = False

    def refresh_target(self, message: Message) -> None:
        """A target refresh request, or a 2xx to ours (§12.2.1.2, §12.2.2)."""
        text = target_text(message)
        if text and text != self.remote_target:
            self.remote_target = text
            self._set_route()
            if self.sources is not None:
                self.sources |= hosts_of(message)

    # -- the way

    def _set_route(self) -> None:
        """Request-URI and Route lines (§12.2.1.1), with the strict router of RFC 2543."""
        self._located = False
        routes = self.route_set
        if not routes:
            self._request_uri = self._next_hop = self.remote_target
            self._route_lines = ""
            return
        try:
            first = parse_name_addr(routes[0], "Record-Route").uri
        except MalformedHeader:
            first = None
        self._next_hop = str(first) if first is not None else self.remote_target
        if isinstance(first, SipUri) and "lr" not in first.params:
            # A strict router expects itself in the Request-URI and the target last.
            self._request_uri = str(first.replace(headers=""))
            rest = [*routes[1:], f"<{self.remote_target}>"]
            self._route_lines = "".join([f"Route: {route}\r\n" for route in rest])
        else:
            self._request_uri = self.remote_target
            self._route_lines = "".join([f"Route: {route}\r\n" for route in routes])

    def hop(self) -> Flow | Target | None:
        """Where the next request goes; None when the next hop must be resolved."""
        if not self._located:
            self._hop = self._locate()
            self._located = True
        hop = self._hop
        if hop is not None and hop[0] != "udp" and isinstance(hop, Flow):
            if not self.core.is_up(hop):
                # The connection is gone; the peer may be reachable where it said (RFC 5626 §4.3
                # leaves a stream behind NAT lost, and the attempt then fails).
                self._located = False
                return self._by_uri()
        return hop

    def _locate(self) -> Flow | Target | None:
        flow = self.flow
        if flow is not None and flow.transport != "udp" and self.core.is_up(flow):
            return flow
        if self.pinned is not None:
            return self.pinned
        return self._by_uri()

    def _by_uri(self) -> Flow | Target | None:
        flow = self.flow
        try:
            uri = parse_uri(self._next_hop)
        except MalformedHeader:
            return flow
        if not isinstance(uri, SipUri):
            return flow
        if flow is not None and "gr" in uri.params:
            # A GRUU (RFC 5627) names a device at its registrar, who may be us; the way to it is the
            # one it sends over.
            return flow
        if flow is not None and flow.transport == "udp" and uri.host != flow.remote[0]:
            private = self.core.config.private_host or private_host
            if private(uri.host):
                return flow
        target = target_of(uri)
        if target is None or target.transport != "udp":
            return target
        # Same socket as before where there is one: NATs and firewalls expect it.
        if flow is not None and flow.transport == "udp":
            return Flow("udp", flow.local, (target.host, target.port))
        return target

    # -- requests

    def new_request(
        self,
        handler: RequestHandler,
        method: str,
        extra: str,
        body: bytes = b"",
        *,
        contact: bool = False,
        cseq: int | None = None,
    ) -> ClientRequest:
        """A request inside the dialog; `client.start(dialog.hop(), now)` sends it."""
        client = ClientRequest(
            self.core,
            handler,
            method,
            self._request_uri,
            from_line=self.from_line,
            to_line=self.to_line,
            call_id_line=self.call_id_line,
            cseq=self.next_cseq() if cseq is None else cseq,
            route_lines=self._route_lines,
            next_hop=self._next_hop,
            extra=extra,
            body=body,
            contact=self.contact if contact else None,
            cseq_source=self,
        )
        client.in_dialog = True
        return client
