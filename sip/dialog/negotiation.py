"""Offer and answer after the first exchange (RFC 3264 §8, RFC 3261 §14, RFC 3311, RFC 6337).

Fed by the user (`offer`, `answer` …), by re-INVITE, UPDATE and PRACK of the peer, and by the
session timer; feeds OfferReceived, OfferRequested, AnswerReceived, OfferFailed.

At most one offer is open in the dialog. Ours wait in a queue behind whatever runs; glare (491) is
retried after the intervals of §14.1. An offer that repeats the last one byte for byte (a session
refresh, typically) is answered with our last body, without asking the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sip.core import ExtraHeaders
from sip.dialog.invite_base import SDP, PeerOffer, UsageState
from sip.dialog.invite_replies import InviteReplies
from sip.dialog.refusal import refusing_answer
from sip.dialog.retransmit import Retransmitter
from sip.errors import LocalProtocolError
from sip.events import AnswerReceived, OfferFailed, OfferReceived, OfferRequested
from sip.message import Request, Response

if TYPE_CHECKING:
    from sip.events import FailureCause
    from sip.request import ClientRequest
    from sip.transaction.server import ServerTransaction

# Both sides drew the same interval again and again: something else is wrong.
_GLARE_TRIES: Final = 4


class Negotiation(InviteReplies):
    """See the module."""

    __slots__ = ()

    # -- our offers

    def offer(self, body: bytes, method: str | None = None, *, now: float) -> None:
        """Send a re-INVITE or UPDATE; b"" asks the peer for an offer (re-INVITE only).

        Waits behind a running exchange. Ends in AnswerReceived, OfferReceived (after b"") or
        OfferFailed. `method` None: UPDATE before the answer, re-INVITE afterwards.
        """
        if self.state is UsageState.ENDED:
            return  # UsageEnded or InviteFailed was the last word
        if len(self._offer_queue) >= self.core.config.max_offers:
            self._emit(OfferFailed(self._self(), 491))
        else:
            self._offer_queue.append((body, method))
            self._next_offer(now)

    def _next_offer(self, now: float) -> None:
        """Start the first queued offer if the dialog is free for it."""
        if not self._offer_queue or self._exchange_runs():
            return
        body, method = self._offer_queue[0]
        if method is None:
            confirmed = self.state is UsageState.CONFIRMED
            method = "INVITE" if confirmed or not body else "UPDATE"
        if method == "UPDATE" and "UPDATE" not in self.remote_allow:
            method = "INVITE"  # RFC 3311 §4: only if the peer said it can
        if method == "INVITE" and self.state is not UsageState.CONFIRMED:
            return  # it waits for the ACK
        if self.dialog is None or self.state in (UsageState.TRYING, UsageState.PROCEEDING):
            return  # UPDATE needs at least an early dialog
        self._offer_queue.pop(0)
        self._offer_tries = 0
        self._start_offer(body, method, now)

    def _exchange_runs(self) -> bool:
        """Whether an offer is open, or its retry is due, or a 2xx still waits for its ACK."""
        return (
            self._offer_client is not None
            or self._retry_timer is not None
            or self._peer_offer is not PeerOffer.NONE
            or self._success is not None
            or self._first_exchange_open()
        )

    def _first_exchange_open(self) -> bool:
        """Whether the offer of the initial INVITE has no answer yet."""
        if self.state in (UsageState.ANSWERED, UsageState.CONFIRMED):
            return False
        return not (self.local_body and self.remote_body)

    def _start_offer(self, body: bytes, method: str, now: float) -> None:
        self._offer_body = body
        lines = self.core.session_lines_with((), self.core.user_agent_line)
        lines += self.session.request_lines()
        if body:
            lines += f"Content-Type: {SDP}\r\n"
        # Assigned after the request started: a failure may be reported before that.
        self._offer_tries += 1
        client = self._send_in_dialog(method, lines, body, now=now, contact=True)
        if not client.done and not self.ended:
            self._offer_client = client

    def refresh_session(self, now: float) -> None:
        """Session timer: UPDATE without SDP if the peer allows it, else the same re-INVITE."""
        if self.state is not UsageState.CONFIRMED or self._exchange_runs():
            # Whatever runs restarts the timer when it succeeds; if not, there is a next time.
            self.session.refresh_failed(now)
            return
        self._refreshing = True
        self._offer_tries = 0
        if "UPDATE" in self.remote_allow:
            self._start_offer(b"", "UPDATE", now)
        else:
            self._start_offer(self.local_body, "INVITE", now)

    def _on_offer_response(self, client: ClientRequest, response: Response, now: float) -> None:
        """A response to our re-INVITE or UPDATE."""
        status = response.status
        if status < 200:
            return
        if client is not self._offer_client:
            if status >= 300 or client.method != "INVITE":
                return
            if client.ack is not None:
                client.ack.send_again()  # the ACK was lost
            elif self.ended and self.dialog is not None:
                # It crossed the BYE: unacknowledged, the peer would repeat it.
                refusal = b"" if client.body else refusing_answer(response.body)
                self._acknowledge(self.dialog, client, refusal, now)
            return
        self._offer_client = None
        if status < 300:
            self._offer_accepted(client, response, now)
        elif status == 491:
            self._retry_after_glare(client, now)
        elif status == 422 and self.session.raise_minimum(response):
            self._start_offer(self._offer_body, client.method, now)
        elif status in (408, 481) and self.state is UsageState.CONFIRMED:
            # RFC 3261 §12.2.1.2: the dialog is gone at the other side.
            self._drop_dialog("timeout" if status == 408 else "remote", now)
        else:
            self._offer_refused(status, now)

    def _offer_accepted(self, client: ClientRequest, response: Response, now: float) -> None:
        dialog = self.dialog
        assert dialog is not None
        dialog.refresh_target(response)
        self._learn(response)
        refreshing, self._refreshing = self._refreshing, False
        if self.state is UsageState.CONFIRMED:
            self.session.answered(response, now)
        body = response.body
        asked = client.method == "INVITE" and not client.body
        if asked and body:
            self._ack_due = client
            self._peer_offer = PeerOffer.SUCCESS
            self.remote_body = body
            self._emit(OfferReceived(self._self(), body, "INVITE"))
            return
        if client.method == "INVITE":
            self._acknowledge(dialog, client, b"", now)
        if client.body:
            changed = bool(body) and body != self.remote_body
            self.local_body = client.body
            self.remote_body = body or self.remote_body
            if changed or not refreshing:
                self._emit(AnswerReceived(self._self(), body))
        elif asked:
            self._emit(OfferFailed(self._self(), 488))  # no offer came: nothing changes
        self._next_offer(now)

    def _offer_refused(self, status: int, now: float) -> None:
        """The session stays as it was (RFC 3261 §14.1)."""
        if self._refreshing:
            self._refreshing = False
            self.session.refresh_failed(now)
        else:
            self._emit(OfferFailed(self._self(), status))
        self._next_offer(now)

    def _retry_after_glare(self, client: ClientRequest, now: float) -> None:
        """RFC 3261 §14.1: who owns the Call-ID waits longer, in units of 10 ms."""
        if self._offer_tries >= _GLARE_TRIES:
            self._offer_refused(491, now)
            return
        drawn = self.core.rng.random()
        delay_s = 2.1 + 1.9 * drawn if self.role == "uac" else 2.0 * drawn
        delay_s = round(delay_s, 2)
        method = client.method

        def again(now: float) -> None:
            self._retry_timer = None
            if self._exchange_runs():
                # The peer's own offer came through meanwhile and is not finished.
                self._retry_timer = self.core.timers.arm(now + 1.0, again)
            else:
                self._start_offer(self._offer_body, method, now)

        self._retry_timer = self.core.timers.arm(now + delay_s, again)

    def _on_offer_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        """Timeout counts as 408, a transport error as 503 (RFC 3261 §8.1.3.1)."""
        if self.ended or client.ack is not None:
            return
        self._offer_client = None
        if cause == "timeout" and self.state is UsageState.CONFIRMED:
            self._drop_dialog("timeout", now)
        else:
            self._offer_refused(408 if cause == "timeout" else 503, now)

    # -- the peer's offers

    def _on_reinvite(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """A re-INVITE (RFC 3261 §14.2)."""
        if self._offer_client is not None:
            self._refuse(transaction, 491, now)
        elif self._peer_transaction is not None or self._success is not None:
            self._refuse_for_now(transaction, now)
        elif self._peer_offer is not PeerOffer.NONE:
            self._refuse(transaction, 491, now)
        elif self._check_interval(transaction, request, now):
            self._take_offer(transaction, request, PeerOffer.INVITE, now)

    def _on_update(self, transaction: ServerTransaction, request: Request, now: float) -> None:
        """UPDATE (RFC 3311 §5.2), in the early and the confirmed dialog."""
        if not self._check_interval(transaction, request, now):
            return
        if not request.body:
            self._refresh_from(request)
            self._answer_update(transaction, request, b"", (), now)
            return
        peers_is_open = self._peer_transaction is not None or (
            self.role == "uas" and self._first_exchange_open() and bool(self.remote_body)
        )
        if peers_is_open:
            self._refuse_for_now(transaction, now)
        elif self._offer_client is not None or self._exchange_runs():
            self._refuse(transaction, 491, now)
        else:
            self._take_offer(transaction, request, PeerOffer.UPDATE, now)

    def _take_offer(
        self, transaction: ServerTransaction, request: Request, kind: PeerOffer, now: float
    ) -> None:
        """Remember the peer's offer; answer it from memory if it changes nothing."""
        self._refresh_from(request)
        self._peer_transaction = transaction
        self._peer_offer = kind
        body = request.body
        if not body:
            self._peer_offer = PeerOffer.REQUESTED
            self._arm_trying(transaction, now)
            self._emit(OfferRequested(self._self()))
        elif body == self.remote_body and _may_answer(body, self.local_body):
            self.answer(self.local_body, now=now)
        else:
            if kind is PeerOffer.INVITE:
                self._arm_trying(transaction, now)
            self._emit(OfferReceived(self._self(), body, kind.value))

    def _refresh_from(self, request: Request) -> None:
        if self.dialog is not None:
            self.dialog.refresh_target(request)
        self._learn(request)

    # -- the user's answers

    def answer(self, body: bytes, headers: ExtraHeaders = (), *, now: float) -> None:
        """Answer OfferReceived: in the 2xx, in the ACK, or in the PRACK, wherever it belongs."""
        kind = self._peer_offer
        if kind is PeerOffer.NONE:
            return  # the peer cancelled, or the session ended meanwhile
        if kind is PeerOffer.SUCCESS or kind is PeerOffer.PROVISIONAL:
            self.ack(body, now=now)
            return
        if kind is PeerOffer.REQUESTED:
            raise LocalProtocolError("the peer asked for an offer: use answer_with_offer()")
        transaction = self._close_peer_offer()
        self.local_body = body
        self.remote_body = transaction.request.body
        if kind is PeerOffer.INVITE:
            self._accept_reinvite(transaction, body, headers, False, now)
        elif kind is PeerOffer.UPDATE:
            self._answer_update(transaction, transaction.request, body, headers, now)
        else:
            self._answer_prack(transaction, body, headers, now)
        self._next_offer(now)

    def answer_with_offer(self, body: bytes, headers: ExtraHeaders = (), *, now: float) -> None:
        """Answer OfferRequested: 200 with our offer; AnswerReceived comes with the ACK."""
        if self._peer_offer is PeerOffer.NONE:
            return
        if self._peer_offer is not PeerOffer.REQUESTED:
            raise LocalProtocolError("the peer made an offer: use answer()")
        transaction = self._close_peer_offer()
        self._offer_body = body
        self._accept_reinvite(transaction, body, headers, True, now)

    def reject_offer(self, status: int = 488, headers: ExtraHeaders = (), *, now: float) -> None:
        """Refuse OfferReceived or OfferRequested; the session stays as it was.

        An offer that came in a 2xx cannot be refused by a status: ACK, then BYE (RFC 3261
        §13.2.2.4).
        """
        kind = self._peer_offer
        if kind is PeerOffer.NONE:
            return
        if kind is PeerOffer.SUCCESS or kind is PeerOffer.PROVISIONAL:
            self._refuse_late_offer(now)
            return
        transaction = self._close_peer_offer()
        transaction.respond_with(status, None, headers, now=now)
        if kind is PeerOffer.PRACK and self._sender is not None:
            self._sender.release(now)
        self._next_offer(now)

    def _close_peer_offer(self) -> ServerTransaction:
        transaction = self._peer_transaction
        assert transaction is not None
        self._peer_transaction = None
        self._peer_offer = PeerOffer.NONE
        self._stop_trying()
        return transaction

    def _accept_reinvite(
        self,
        transaction: ServerTransaction,
        body: bytes,
        headers: ExtraHeaders,
        answer_due: bool,
        now: float,
    ) -> None:
        request = transaction.request
        lines = self._response_contact(transaction) + self._server_lines(headers, body, SDP)
        lines += self.session.response_lines(request, "timer" in self.remote_supported)
        transaction.respond(200, None, lines, body, now=now)
        self.session.restart(now)
        self._success = Retransmitter(
            self, transaction, initial=False, answer_due=answer_due, now=now
        )

    def _answer_update(
        self,
        transaction: ServerTransaction,
        request: Request,
        body: bytes,
        headers: ExtraHeaders,
        now: float,
    ) -> None:
        lines = self._response_contact(transaction) + self._server_lines(headers, body, SDP)
        if self.state is UsageState.CONFIRMED:
            lines += self.session.response_lines(request, "timer" in self.remote_supported)
            self.session.restart(now)
        transaction.respond(200, None, lines, body, now=now)

    def _answer_prack(
        self, transaction: ServerTransaction, body: bytes, headers: ExtraHeaders, now: float
    ) -> None:
        transaction.respond(200, None, self._server_lines(headers, body, SDP), body, now=now)
        if self._sender is not None:
            self._sender.release(now)

    # -- filled in by the layers above

    def ack(self, body: bytes = b"", *, now: float) -> None:
        raise NotImplementedError

    def _refuse_late_offer(self, now: float) -> None:
        raise NotImplementedError


#: What may be answered to an offered direction (RFC 3264 §6.1).
_COMPLEMENTS: Final = (
    (b"a=sendonly", (b"a=recvonly", b"a=inactive")),
    (b"a=recvonly", (b"a=sendonly", b"a=inactive")),
    (b"a=inactive", (b"a=inactive",)),
)


def _may_answer(offer: bytes, last: bytes) -> bool:
    """Whether our last description answers `offer` too.

    It may have been an offer itself: a peer that answered our ``sendrecv`` with ``sendonly`` and
    now offers the same text again must not be told ``sendrecv``.
    """
    if not last:
        return False
    return all(
        wanted not in offer or any(word in last for word in allowed)
        for wanted, allowed in _COMPLEMENTS
    )
