"""Requests that come in: matched, checked, refused without state, or handed to whom they concern.

Fed by `SipEngine` with parsed requests; feeds server transactions, usages and the event queue.
Everything that can be refused without knowing the call is refused here *statelessly* (RFC 3261
§8.2.7): the same request again gives the same answer, and a flood leaves nothing behind.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from sip.core import Core
from sip.dialog.dialog import Dialog
from sip.dialog.invite import InviteUsage, refer_target
from sip.errors import LocalProtocolError, MalformedHeader
from sip.events import ReferReceived, RequestReceived
from sip.flow import Flow
from sip.headers import parse_via
from sip.message import REASONS, Request
from sip.transaction.match import ServerKey, TopVia, server_key, tag_of, top_via
from sip.transaction.server import ServerTransaction
from sip.validation import Rejection, check_method, check_required, validate_request

# Only inside a dialog do these mean anything.
_DIALOG_ONLY: Final = frozenset({"BYE", "PRACK", "UPDATE"})


class Ingress:
    """The way of a request through the engine."""

    __slots__ = ("_accepted", "_known_methods", "core")

    def __init__(self, core: Core) -> None:
        self.core = core
        config = core.config
        self._known_methods = frozenset(config.methods)
        self._accepted = frozenset(config.methods) - config.refused_methods

    def receive(self, request: Request, flow: Flow, now: float) -> None:
        """One request. Never raises for what the peer sent."""
        core = self.core
        try:
            via = top_via(request, flow)
            method = request.method
            key = server_key(request, via, "INVITE" if method == "ACK" else method)
        except MalformedHeader as error:
            self.refuse(request, flow, error.status_hint, error.reason)
            return
        transaction = core.servers.get(key)
        if transaction is not None:
            if method != "ACK":
                transaction.receive_again(now)
                return
            if not transaction.accepted:
                transaction.receive_ack(now)
                return
            # A client that put its INVITE's branch into the ACK of a 2xx: to the dialog.
        dialog = None if request.repeats else self._dialog_of(request)
        if dialog is None:
            # A request that matches one of our dialogs and is in order has proved more than the
            # checks of a stranger's request would.
            rejection = validate_request(request, core.config.limits)
            if rejection is not None:
                self._reject(request, flow, rejection)
                return
            dialog = self._dialog_of(request)
        if method == "ACK":
            self._acknowledge(request, dialog, flow, now)
        elif method == "CANCEL":
            self._cancel(request, via, (key[0], key[1], "INVITE"), flow, now)
        elif dialog is not None or request.to.tag:
            self._in_dialog(request, dialog, via, key, flow, now)
        else:
            self._outside(request, via, key, flow, now)

    # -- answers without state

    def refuse(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """One response datagram, nothing kept. ACK is never answered."""
        core = self.core
        core.count(f"refused_{status}")
        if request.method == "ACK":
            return
        admits = core.refusal_guard
        if admits is not None and not admits(flow, core.now):
            core.count("dropped")
            return
        vias = self._vias(request, flow)
        if not vias:
            core.count("dropped")
            return
        first = request.first
        to = first("To")
        if to and not _tagged(to):
            # RFC 3261 §8.2.7: the same tag each time, though nothing is remembered.
            text = f"{first('Call-ID')}{first('CSeq')}{first('Via')}"
            to = f"{to};tag={crc32(text.encode('utf-8', 'surrogateescape'), core.secret):08x}"
        # What the request lacks, the answer lacks too (RFC 4475 §3.3.1).
        echoed = [
            f"{name}: {value}\r\n"
            for name, value in (
                ("From", first("From")),
                ("To", to),
                ("Call-ID", first("Call-ID")),
                ("CSeq", first("CSeq")),
                *headers,
            )
            if value
        ]
        text = (
            f"SIP/2.0 {status} {reason or REASONS.get(status, '')}\r\n{vias}{''.join(echoed)}"
            f"{core.server_line}Content-Length: 0\r\n\r\n"
        )
        core.send(flow, text.encode("utf-8", "surrogateescape"))

    def _vias(self, request: Request, flow: Flow) -> str:
        """The Via lines of an answer, "" when there is nowhere to send one.

        Parameters that cannot be read (RFC 4475 §3.1.2.1) are echoed as they came: the answer
        goes to the source, and a client that wrote them may know its own branch again.
        """
        try:
            return top_via(request, flow).echo
        except MalformedHeader:
            lines = request.all("Via")
            if len(lines) > self.core.config.limits.via or not _names_hop(lines):
                return ""
            return "".join([f"Via: {line}\r\n" for line in lines])

    def _reject(self, request: Request, flow: Flow, rejection: Rejection) -> None:
        if rejection.discard:
            self.core.count("dropped")
        else:
            self.refuse(request, flow, rejection.status, rejection.reason, rejection.headers)

    def _overloaded(self, request: Request, flow: Flow) -> None:
        """503, jittered so that refused callers do not come back all at once."""
        core = self.core
        base_s = core.config.retry_after_s
        delay_s = base_s + int(core.rng.random() * base_s)
        self.refuse(request, flow, 503, None, (("Retry-After", str(delay_s)),))

    # -- ACK and CANCEL

    def _acknowledge(self, request: Request, dialog: Dialog | None, flow: Flow, now: float) -> None:
        """ACK of a 2xx goes to its dialog; a stray one ends here (RFC 6026 §7.1)."""
        if dialog is None or not dialog.accepts_source(flow):
            self.core.count("stray_acks")
            return
        dialog.heard_from(flow)
        dialog.owner.on_ack(dialog, request, now)

    def _cancel(
        self,
        request: Request,
        via: TopVia,
        invite_key: ServerKey,
        flow: Flow,
        now: float,
    ) -> None:
        """RFC 3261 §9.2. Answered without state: a CANCEL again finds the same INVITE."""
        core = self.core
        invite = core.servers.get(invite_key)
        if (
            invite is None
            or invite.method != "INVITE"
            # A CANCEL goes hop by hop: it comes from where its INVITE came from.
            or (core.config.strict_source and invite.flow.remote[0] != flow.remote[0])
        ):
            self.refuse(request, flow, 481)
            return
        tag = invite.to_tag
        to = request.first("To") or ""
        if tag and not _tagged(to):
            to = f"{to};tag={tag}"
        text = (
            f"SIP/2.0 200 OK\r\n{via.echo}"
            f"From: {request.first('From')}\r\nTo: {to}\r\n"
            f"Call-ID: {request.call_id}\r\nCSeq: {request.first('CSeq')}\r\n"
            f"{core.server_line}Content-Length: 0\r\n\r\n"
        )
        core.send(flow, text.encode("utf-8", "surrogateescape"))
        if isinstance(invite.owner, InviteUsage):
            invite.owner.on_cancel(invite, request, now)

    # -- inside a dialog

    def _dialog_of(self, request: Request) -> Dialog | None:
        """The dialog whose Call-ID and tags a request repeats, and whose CSeq can be read."""
        to = request.first("To")
        call_id = request.first("Call-ID")
        if to is None or call_id is None or "tag" not in to.lower():
            return None
        try:
            key = (call_id, tag_of(to), tag_of(request.first("From") or ""))
            dialog = self.core.dialogs.get(key)
            if dialog is not None and request.cseq.method != request.method:
                return None
        except MalformedHeader:
            return None
        return dialog

    def _in_dialog(
        self,
        request: Request,
        dialog: Dialog | None,
        via: TopVia,
        key: ServerKey,
        flow: Flow,
        now: float,
    ) -> None:
        core = self.core
        if dialog is None and request.method == "NOTIFY":
            dialog = self._early_notify(request, flow)
        if dialog is None or not dialog.accepts_source(flow):
            self.refuse(request, flow, 481)
            return
        if not core.admits_in_dialog():
            self._overloaded(request, flow)
            return
        if request.has("Require") and request.method != "BYE":
            rejection = check_required(request, core.config.understood)
            if rejection is not None:
                self._reject(request, flow, rejection)
                return
        if not dialog.accept_cseq(request.cseq.number):
            # RFC 3261 §12.2.2; Retry-After tells a peer that is merely too fast from a lost one.
            delay_s = int(core.rng.random() * 11)
            self.refuse(request, flow, 500, None, (("Retry-After", str(delay_s)),))
            return
        dialog.heard_from(flow)
        transaction = ServerTransaction(core, key, request, via, flow, "")
        try:
            dialog.owner.on_request(dialog, transaction, request, now)
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, core.server_line, now=now)

    def _early_notify(self, request: Request, flow: Flow) -> Dialog | None:
        subscriber = self.core.subscribers.get((request.call_id, request.to.tag))
        if subscriber is None or subscriber.dialog is not None:
            return None
        try:
            return subscriber.opens_dialog(request, flow)
        except MalformedHeader:
            return None

    # -- outside

    def _outside(
        self, request: Request, via: TopVia, key: ServerKey, flow: Flow, now: float
    ) -> None:
        core = self.core
        method = request.method
        rejection = self._inspect(request)
        if rejection is not None:
            self._reject(request, flow, rejection)
            return
        if not core.admits_new_work():
            self._overloaded(request, flow)
            return
        merge_key = (request.from_.tag, request.call_id, request.first("CSeq") or "")
        if merge_key in core.merged:
            # RFC 3261 §8.2.2.2: the same request by another way.
            self.refuse(request, flow, 482)
            return
        transaction = ServerTransaction(core, key, request, via, flow, core.new_tag())
        transaction.merge_key = merge_key
        core.merged[merge_key] = transaction
        try:
            if method == "INVITE":
                self._invite(transaction, request, flow, now)
            elif method == "REFER":
                refer_to, replaces = refer_target(request)
                core.events.append(ReferReceived(None, transaction, request, refer_to, replaces))
            else:
                core.events.append(RequestReceived(transaction, request, flow))
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, core.server_line, now=now)

    def _inspect(self, request: Request) -> Rejection | None:
        """What no transaction user needs to be asked: 501, 405, 416, 420, 481, 483, 400."""
        core = self.core
        config = core.config
        method = request.method
        if method not in self._accepted:
            rejection = check_method(request, sorted(self._accepted))
            if rejection is not None:
                status = 405 if method in self._known_methods else rejection.status
                return Rejection(status, REASONS[status], rejection.headers)
        if request.request_uri.scheme not in config.schemes:
            return Rejection(416, REASONS[416])
        if request.max_forwards == 0 and method != "OPTIONS":
            # OPTIONS that ends here is how traceroute works (RFC 3261 §11).
            return Rejection(483, REASONS[483])
        if method in _DIALOG_ONLY:
            return Rejection(481, REASONS[481])
        if method == "INVITE" and not request.has("Contact") and request.via.is_rfc3261:
            # RFC 3261 §8.1.1.8: without it there is nowhere to send a BYE. A peer that follows
            # RFC 2543 is called back at its From (RFC 4475 §3.4.1).
            return Rejection(400, "INVITE needs a Contact")
        if method != "REGISTER" and request.has("Require"):
            return check_required(request, config.understood)
        return None

    def _invite(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> None:
        core = self.core
        usage = InviteUsage(
            core,
            "uas",
            request.call_id,
            transaction.to_tag,
            contact_head(request),
            core.config.session_expires_s,
        )
        usage.receive_invite(transaction, request, flow, now)


def _tagged(to: str) -> bool:
    """Whether a To value has a tag: a second one would make it unreadable."""
    if ";tag=" in to:
        return True
    try:
        return bool(tag_of(to))
    except MalformedHeader:
        return False


def _names_hop(vias: list[str]) -> bool:
    """Whether the top Via says at least who sent it."""
    if not vias:
        return False
    try:
        parse_via(vias[0].partition(";")[0])
    except MalformedHeader:
        return False
    return True


def contact_head(request: Request) -> str:
    """Our Contact for a dialog that `request` opens: the user that was called, at our address."""
    user = getattr(request.request_uri, "user", None)
    return f"Contact: <sip:{user}@" if user else "Contact: <sip:"


def contact_of(user: str) -> str:
    """Our Contact up to the host. Raises LocalProtocolError for a user that is no user part."""
    if not user:
        return "Contact: <sip:"
    if any(character in user for character in '<>@ \r\n"') or not user.isprintable():
        raise LocalProtocolError("not a user part")
    return f"Contact: <sip:{user}@"
