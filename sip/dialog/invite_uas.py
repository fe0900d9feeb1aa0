"""The answering side of an INVITE (RFC 3261 §13.3, RFC 3262 §3).

Fed by the engine (INVITE, CANCEL, ACK, PRACK) and by the user (`provisional`, `accept`,
`reject`); feeds responses to the INVITE's server transaction and InviteCancelled,
InviteConfirmed, AnswerReceived, OfferReceived(PRACK) to the user.
"""

from __future__ import annotations

from sip.core import ExtraHeaders, option_tags
from sip.dialog.dialog import Dialog
from sip.dialog.invite_base import SDP, PeerOffer, UsageState
from sip.dialog.negotiation import Negotiation
from sip.dialog.provisional import ReliableSender
from sip.dialog.retransmit import Retransmitter
from sip.errors import LocalProtocolError, MalformedHeader
from sip.events import (
    AnswerReceived,
    InviteCancelled,
    InviteConfirmed,
    InviteFailed,
    InviteReceived,
    OfferFailed,
    OfferReceived,
)
from sip.flow import Flow
from sip.message import Request
from sip.transaction.server import ServerTransaction


class InviteUas(Negotiation):
    """See the module."""

    __slots__ = ()

    def receive_invite(
        self, transaction: ServerTransaction, request: Request, flow: Flow, now: float
    ) -> None:
        """The initial INVITE. Raises MalformedHeader when no dialog can come of it."""
        self.transaction = transaction
        self.invite_request = request
        try:
            dialog = self._learn_from_invite(request, flow)
        except MalformedHeader:
            self._abandon(now)
            raise
        if not self._check_interval(transaction, request, now):
            self._abandon(now)
            return
        transaction.owner = self
        transaction.to_tag = self.local_tag
        self.remote_body = request.body
        lines = request.all("Record-Route")
        self._record_route_lines = "".join([f"Record-Route: {line}\r\n" for line in lines])
        self._contact_lines = self._response_contact(transaction) + self._record_route_lines
        # Registered already now: our tag is known to the peer only once we answer, but the first
        # response and the first request of the early dialog may be in the same batch.
        dialog.register()
        self._arm_trying(transaction, now)
        self._emit(InviteReceived(self._self(), request, flow))

    def _learn_from_invite(self, request: Request, flow: Flow) -> Dialog:
        """The dialog and what the caller can do. Raises MalformedHeader."""
        self.dialog = Dialog.of_request(
            self.core, self._self(), request, flow, self.local_tag, self.contact
        )
        self.remote_allow = option_tags(request, "Allow")
        self.remote_supported = option_tags(request, "Supported")
        self._reliable = "off"
        if "100rel" in self.remote_supported:
            self._reliable = "supported"
        if request.has("Require") and "100rel" in option_tags(request, "Require"):
            self._reliable = "required"
        return self.dialog

    # -- the user answers

    def provisional(
        self,
        status: int,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        reliable: bool | None = None,
        *,
        now: float,
        reason: str | None = None,
        content_type: str = SDP,
    ) -> None:
        """UAS: send 1xx; absorbed after a final response.

        `reliable` None: only if the peer requires 100rel; True: if it can; False: unless it
        requires. A response waits while a reliable one is unacknowledged (RFC 3262 §3).
        """
        transaction = self._open_transaction()
        if transaction is None:
            return
        self._stop_trying()
        if status == 100:
            if transaction.silent:
                transaction.respond_trying(now)
            return
        sender = self._sender
        if sender is not None and sender.outstanding:
            if len(sender.queue) < self.core.config.max_provisionals:
                headers = tuple(headers)
                sender.queue.append(
                    lambda now: self.provisional(
                        status,
                        body,
                        headers,
                        reliable,
                        now=now,
                        reason=reason,
                        content_type=content_type,
                    )
                )
            return
        if reliable is True:
            reliably = self._reliable != "off"
        else:
            reliably = self._reliable == "required"
        lines = self._contact_lines
        if reliably:
            if sender is None:
                sender = ReliableSender(self.core, transaction, self._prack_timed_out)
                self._sender = sender
            lines += sender.next_lines()
        lines += self._server_lines(headers, body, content_type)
        self.state = UsageState.EARLY
        transaction.respond(status, reason, lines, body, now=now)
        if reliably and sender is not None:
            sender.sent(bool(body), now)
            if body and not self.local_body:
                # RFC 3262 §5: SDP in a reliable response is the answer, or the offer.
                self.local_body = body

    def accept(
        self,
        body: bytes = b"",
        headers: ExtraHeaders = (),
        *,
        now: float,
        status: int = 200,
        reason: str | None = None,
        content_type: str = SDP,
    ) -> None:
        """UAS: send 2xx, repeated until its ACK; InviteConfirmed follows.

        Waits for the PRACK of a reliable response that carried SDP (RFC 3262 §5). Ends in
        UsageEnded(by="ack-timeout") when no ACK comes.
        """
        transaction = self._open_transaction()
        if transaction is None:
            return
        sender = self._sender
        if sender is not None and sender.outstanding:
            if sender.had_body or sender.queue:
                headers = tuple(headers)
                sender.queue.append(
                    lambda now: self.accept(
                        body,
                        headers,
                        now=now,
                        status=status,
                        reason=reason,
                        content_type=content_type,
                    )
                )
                return
            sender.stop()
        self._stop_trying()
        request = transaction.request
        lines = self._contact_lines + self._server_lines(headers, body, content_type)
        lines += self.session.response_lines(request, "timer" in self.remote_supported)
        # With an offer in a reliable response the exchange is over; without any it starts here.
        answer_due = bool(body) and not self.remote_body
        if body:
            self.local_body = body
        self.state = UsageState.ANSWERED
        transaction.respond(status, reason, lines, body, now=now)
        self._success = Retransmitter(
            self, transaction, initial=True, answer_due=answer_due, now=now
        )

    def reject(
        self,
        status: int,
        reason: str | None = None,
        headers: ExtraHeaders = (),
        *,
        now: float,
        body: bytes = b"",
        content_type: str = "",
        once: bool = False,
    ) -> None:
        """UAS: 3xx-6xx. The usage is gone; no event follows.

        With `once` the answer is sent once and nothing is kept (RFC 3261 §8.2.7), as fits a source
        that may be forged: timer G would make it hear ten datagrams for one. An INVITE that comes
        again is a new one.
        """
        if not 300 <= status <= 699:
            raise LocalProtocolError(f"{status} does not reject an INVITE")
        transaction = self._open_transaction()
        if transaction is None:
            return
        transaction.respond_with(status, reason, headers, body, content_type, now=now)
        if once:
            transaction.forget()
        self._abandon(now)

    def drop(self, *, now: float) -> None:
        """UAS: forget the INVITE without an answer (a scanner). No event follows."""
        transaction = self._open_transaction()
        if transaction is not None:
            transaction.forget()
            self._abandon(now)

    def _open_transaction(self) -> ServerTransaction | None:
        """The INVITE, while it can be answered; None afterwards (CANCEL may have been faster)."""
        if self.role != "uas":
            raise LocalProtocolError("only the answering side of an INVITE responds")
        if self.state in (UsageState.TRYING, UsageState.EARLY):
            return self.transaction
        return None

    # -- the caller goes on

    def on_cancel(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """CANCEL of the INVITE or of a re-INVITE; 200 to the CANCEL is already sent (§9.2)."""
        if transaction.answered:
            return
        if transaction is self.transaction:
            self._cancelled(request, now)
        elif transaction is self._peer_transaction:
            self._close_peer_offer()
            self._refuse(transaction, 487, now)
            self._emit(OfferFailed(self._self(), 487))
            self._next_offer(now)

    def _cancelled(self, request: Request, now: float) -> None:
        assert self.transaction is not None
        self.transaction.respond(487, None, self.core.server_line, now=now)
        self._abandon(now)
        self._emit(InviteCancelled(self._self(), ", ".join(request.all("Reason"))))

    def on_ack(self, dialog: Dialog, request: Request, now: float) -> None:
        """The ACK of a 2xx (§13.3.1.4); repetitions are absorbed."""
        success = self._success
        if success is None or success.transaction.request.cseq.number != request.cseq.number:
            return
        success.stop()
        self._success = None
        if self._bye_due is not None:
            self._send_due_bye(now)
            return
        body = request.body
        if body and success.answer_due:
            self.remote_body = body
        if success.initial:
            self.state = UsageState.CONFIRMED
            self.session.restart(now)
            self._emit(InviteConfirmed(self._self(), body))
        elif success.answer_due:
            self.local_body = self._offer_body
            self._emit(AnswerReceived(self._self(), body))
        self._next_offer(now)

    def on_server_failure(self, transaction: ServerTransaction, cause: str, now: float) -> None:
        """A response could not be delivered."""
        if cause == "transport" and transaction is self.transaction and not self.ended:
            if self.state in (UsageState.TRYING, UsageState.EARLY):
                self._abandon(now)
                self._emit(InviteFailed(self._self(), 430, None, "transport"))
        elif transaction is self._peer_transaction:
            self._close_peer_offer()
            self._emit(OfferFailed(self._self(), 430))

    # -- PRACK

    def _on_prack(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        sender = self._sender
        if sender is None or not sender.acknowledges(request):
            # RFC 3262 §3: unmatched PRACK.
            self._refuse(transaction, 481, now)
            return
        body = request.body
        if not body:
            transaction.respond(200, None, self.core.server_line, now=now)
            sender.release(now)
        elif not self.remote_body:
            # Our reliable response made the offer; this is the answer.
            self.remote_body = body
            transaction.respond(200, None, self.core.server_line, now=now)
            self._emit(AnswerReceived(self._self(), body))
            sender.release(now)
        else:
            self._peer_transaction = transaction
            self._peer_offer = PeerOffer.PRACK
            self._emit(OfferReceived(self._self(), body, "PRACK"))

    def _prack_timed_out(self, now: float) -> None:
        """RFC 3262 §3: the INVITE is rejected with a 5xx."""
        assert self.transaction is not None
        self.transaction.respond(504, None, self.core.server_line, now=now)
        self._abandon(now)
        self._emit(InviteFailed(self._self(), 504, None, "timeout"))
