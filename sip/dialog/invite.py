"""The INVITE usage as call control sees it: one session of one dialog.

Made by `SipEngine.invite()` (UAC) or brought by InviteReceived (UAS). The layers below it are
listed in `invite_base`; here are the requests of the dialog itself: BYE, INFO and the like, REFER
with its NOTIFYs, OPTIONS probes, and the dispatch of what the peer sends.

Every method takes `now` by keyword; none of them raises for what the peer did. Methods that come
too late (the peer was faster) do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.core import ExtraHeaders, lines_of
from sip.dialog.dialog import Dialog
from sip.dialog.invite_base import UsageState
from sip.dialog.invite_uac import InviteUac
from sip.dialog.invite_uas import InviteUas
from sip.dialog.refer import ReferSubscription
from sip.errors import LocalProtocolError, MalformedHeader
from sip.events import DialogRequest, DialogResponse, ReferProgress, ReferReceived
from sip.headers import NameAddr, Replaces, parse_event, parse_replaces, parse_subscription_state
from sip.message import Request, Response
from sip.request import ClientRequest
from sip.transaction.server import ServerTransaction
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.events import FailureCause

__all__ = ["ExtraHeaders", "InviteUsage", "UsageState", "refer_target"]


def refer_target(request: Request) -> tuple[NameAddr, Replaces | None]:
    """Refer-To and the Replaces inside it, unescaped. Raises MalformedHeader.

    RFC 3515 §2.4.1: exactly one Refer-To.
    """
    values = request.addresses("Refer-To")
    if len(values) != 1:
        raise MalformedHeader("Refer-To", "exactly one is needed")
    refer_to = values[0]
    uri = refer_to.uri
    if isinstance(uri, SipUri) and uri.headers:
        for name, value in uri.header_items():
            if name.lower() == "replaces":
                return refer_to, parse_replaces(value)
    return refer_to, None


class InviteUsage(InviteUac, InviteUas):
    """One INVITE session. `user` is the transaction user's slot."""

    __slots__ = ()

    # -- the user

    def bye(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """End the session: UsageEnded(by="local") at once.

        The BYE leaves as soon as it may: a callee waits for the ACK (RFC 3261 §15). Before the
        answer a caller cancels instead, and a callee rejects with 480.
        """
        if self.state is UsageState.ENDED:
            return
        if self.state not in (UsageState.ANSWERED, UsageState.CONFIRMED):
            if self.role == "uac":
                self.cancel(headers, now=now)
            else:
                self.reject(480, headers=headers, now=now)
            return
        lines = lines_of(headers) + self.core.user_agent_line
        success = self._success
        if success is not None and success.initial:
            self._bye_due = lines
            self._closing += 1
        else:
            if self._ack_due is not None:
                self.ack(b"", now=now)
            self._send_bye(lines, now)
        self._finish("local", None, now)

    def request(
        self,
        method: str,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float,
        content_type: str = "",
        user: object = None,
    ) -> ClientRequest:
        """Any other request in the dialog (INFO, MESSAGE, REFER, OPTIONS …).

        DialogResponse follows; after a REFER also ReferProgress. Raises LocalProtocolError
        without a dialog, or for a method that has its own way here.
        """
        if method in ("INVITE", "ACK", "CANCEL", "BYE", "PRACK", "UPDATE"):
            raise LocalProtocolError(f"{method} is sent by the usage itself")
        if self.dialog is None or self.ended:
            raise LocalProtocolError("no dialog to send the request in")
        lines = self._client_lines(headers, body, content_type)
        # REFER and SUBSCRIBE are target refresh requests, so they need a Contact.
        contact = method in ("REFER", "SUBSCRIBE", "NOTIFY")
        return self._send_in_dialog(method, lines, body, now=now, contact=contact, user=user)

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        body: bytes = b"",
        *,
        now: float,
        content_type: str = "",
    ) -> None:
        """Answer DialogRequest or ReferReceived; 2xx to a REFER starts its NOTIFYs."""
        lines = lines_of(headers) + self.core.server_line
        if body and content_type:
            lines += f"Content-Type: {content_type}\r\n"
        refer = transaction.method == "REFER"
        if refer and 200 <= status < 300:
            lines += self._response_contact(transaction)
        transaction.respond(status, reason, lines, body, now=now)
        if refer and 200 <= status < 300:
            self._open_refer(transaction.request, now)

    def _open_refer(self, request: Request, now: float) -> None:
        if (request.first("Refer-Sub") or "").strip().lower() == "false":
            return  # RFC 4488: the peer wants no NOTIFYs
        dialog = self.dialog
        if dialog is None:
            return
        # RFC 3515 §2.4.6: ids tell the subscriptions apart from the second on; always legal.
        event = f"refer;id={request.cseq.number}" if self._refers else "refer"
        subscription = ReferSubscription(self.core, dialog, event, self._refer_done, now)
        self._refers.append(subscription)
        subscription.notify(100, None, False, now)

    def _refer_done(self, subscription: ReferSubscription) -> None:
        if subscription in self._refers:
            self._refers.remove(subscription)
        self._release()

    def notify_refer(
        self, status: int, reason: str | None = None, final: bool = False, *, now: float
    ) -> None:
        """Report the progress of the last accepted REFER (RFC 3515 §2.4.5).

        Still works after UsageEnded: a transferor may hang up before the outcome is known.
        """
        for subscription in reversed(self._refers):
            if not subscription.final:
                subscription.notify(status, reason, final, now)
                return

    # -- session timer

    def session_expired(self, now: float) -> None:
        """Nobody refreshed: the peer is gone (RFC 4028 §10)."""
        self._drop_dialog("timeout", now)

    def probe_peer(self, now: float) -> None:
        """OPTIONS where no session timer was agreed on; only 481 and silence end the call."""
        self._options = self._send_in_dialog("OPTIONS", self.core.user_agent_line, now=now)

    # -- responses to our requests

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        """Called by our requests."""
        dialog = self.dialog
        if dialog is not None and client.flow is not None and client.in_dialog:
            dialog.heard_from(client.flow)
        method = client.method
        if method == "INVITE" and not client.in_dialog:
            self._on_invite_response(client, response, now)
        elif method == "INVITE" or method == "UPDATE":
            self._on_offer_response(client, response, now)
        elif response.status < 200:
            return
        elif method == "BYE":
            self._bye_answered()
        elif method == "PRACK":
            # A refused PRACK is followed by the refusal of the INVITE, which is what counts.
            if response.status >= 300:
                self.core.count("pracks_failed")
        elif client is self._options:
            self._options = None
            if response.status in (408, 481):
                self._drop_dialog("timeout" if response.status == 408 else "remote", now)
            elif not self.ended:
                self.session.restart(now)
        elif not self.ended:
            self._emit(DialogResponse(self, client, response, "response"))
            if response.status == 481:
                # RFC 5057 §5.1: the whole dialog is gone, not only this request.
                self._drop_dialog("remote", now)

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        """Called by our requests: no response came."""
        method = client.method
        if method == "INVITE" and not client.in_dialog:
            self._on_invite_failure(client, cause, now)
        elif method == "INVITE" or method == "UPDATE":
            self._on_offer_failure(client, cause, now)
        elif method == "BYE":
            self._bye_answered()
        elif method == "PRACK":
            self.core.count("pracks_failed")
        elif client is self._options:
            self._options = None
            self._drop_dialog("timeout" if cause == "timeout" else "transport", now)
        elif not self.ended:
            self._emit(DialogResponse(self, client, None, cause))

    # -- requests of the peer

    def on_request(
        self, dialog: Dialog, transaction: ServerTransaction, request: Request, now: float
    ) -> None:
        """A request in order and in one of our dialogs (the engine checked both)."""
        transaction.owner = self
        if dialog is not self.dialog and request.method == "BYE":
            # A fork that we hang up ourselves.
            transaction.respond(200, None, self.core.server_line, now=now)
            dialog.unregister()
            return
        handler = _HANDLERS.get(request.method)
        if self.ended and request.method != "BYE":
            self._refuse(transaction, 481, now)
        elif handler is not None:
            handler(self, transaction, request, now)
        else:
            self._emit(DialogRequest(self, transaction, request))

    def _on_bye(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Always answered (§15.1.2). On an early dialog only the caller may send it (§15)."""
        core = self.core
        state = self.state
        if state in (UsageState.TRYING, UsageState.PROCEEDING, UsageState.EARLY):
            if self.role == "uac":
                self._refuse(transaction, 481, now)
                return
            transaction.respond(200, None, core.server_line, now=now)
            self._cancelled(request, now)
            return
        transaction.respond(200, None, core.server_line, now=now)
        if state is not UsageState.ENDED:
            if self._ack_due is not None:
                self.ack(b"", now=now)
            self._finish("remote", request, now)
        elif self._bye_due is not None:
            # Our own BYE waited for an ACK that need not come any more.
            self._bye_due = None
            if self._success is not None:
                self._success.stop()
                self._success = None
            self._bye_answered()

    def _on_invite(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        if self.state is UsageState.CONFIRMED:
            self._on_reinvite(transaction, request, now)
        elif self.role == "uas":
            # §14.2: a second INVITE before the first is through.
            self._refuse_for_now(transaction, now)
        else:
            self._refuse(transaction, 491, now)

    def _on_refer(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        try:
            refer_to, replaces = refer_target(request)
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, self.core.server_line, now=now)
            return
        self._refresh_from(request)
        self._emit(ReferReceived(self, transaction, request, refer_to, replaces))

    def _on_notify(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """Progress of a REFER of ours; other packages are for the user to judge."""
        try:
            event = parse_event(request.first("Event") or "")
            if event.package != "refer":
                self._emit(DialogRequest(self, transaction, request))
                return
            state = parse_subscription_state(request.first("Subscription-State") or "").state
            status, reason = _sipfrag(request.body)
        except MalformedHeader as error:
            transaction.respond(error.status_hint, error.reason, self.core.server_line, now=now)
            return
        transaction.respond(200, None, self.core.server_line, now=now)
        final = state == "terminated" or status >= 200
        self._emit(ReferProgress(self, status, reason, final, request))


def _sipfrag(body: bytes) -> tuple[int, str]:
    """The status line of a message/sipfrag (RFC 3420). Raises MalformedHeader."""
    line = body.partition(b"\n")[0].strip().decode("utf-8", "surrogateescape")
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0" or len(code) != 3 or not code.isdecimal():
        raise MalformedHeader("body", "not a status line")
    return int(code), reason


_HANDLERS: dict[str, Callable[[InviteUsage, ServerTransaction, Request, float], None]] = {
    "BYE": InviteUsage._on_bye,
    "INVITE": InviteUsage._on_invite,
    "UPDATE": InviteUsage._on_update,
    "PRACK": InviteUsage._on_prack,
    "REFER": InviteUsage._on_refer,
    "NOTIFY": InviteUsage._on_notify,
}
