"""The calling side of an INVITE (RFC 3261 §13.2, §9.1, RFC 3262 §4).

Fed by the user (`engine.invite()`, `cancel`, `ack`) and by the INVITE's responses; feeds
InviteProgress, InviteAnswered, InviteFailed to the user.

One INVITE may be answered by several devices. Each tag of a provisional response is an early
dialog; the first 2xx makes its dialog the usage's own, and every further 2xx is acknowledged and
ended with BYE at once. A 2xx that crosses our CANCEL is treated the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.core import ExtraHeaders, lines_of, option_tags
from sip.dialog.dialog import Dialog
from sip.dialog.invite_base import SDP, PeerOffer, UsageState
from sip.dialog.negotiation import Negotiation
from sip.dialog.provisional import ReliableReceiver
from sip.dialog.refusal import refusing_answer
from sip.errors import LocalProtocolError, MalformedHeader
from sip.events import InviteAnswered, InviteFailed, InviteProgress
from sip.flow import Flow, Target
from sip.message import Response
from sip.request import ClientRequest
from sip.transaction.match import tag_of

if TYPE_CHECKING:
    from sip.events import FailureCause

_UNDECIDED = frozenset({UsageState.TRYING, UsageState.PROCEEDING, UsageState.EARLY})


class SurplusDialog:
    """A device that answered too late: its dialog lives until our BYE is answered."""

    __slots__ = ("dialog",)

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog

    def on_response(self, client: ClientRequest, response: Response, now: float) -> None:
        if response.status >= 200:
            self.dialog.unregister()

    def on_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        self.dialog.unregister()


class InviteUac(Negotiation):
    """See the module."""

    __slots__ = ()

    def invite_lines(self, headers: ExtraHeaders, reliable: str) -> str:
        """Lines of the INVITE about us, with or without 100rel (RFC 3262 §4)."""
        core = self.core
        self._reliable = reliable
        lines = core.session_lines_with(headers, core.user_agent_line)
        if reliable == "off":
            options = [tag for tag in core.config.supported if tag != "100rel"]
            lines = lines.replace(core.supported_line, f"Supported: {', '.join(options)}\r\n")
        elif reliable == "required":
            lines += "Require: 100rel\r\n"
        return lines

    def start_invite(self, client: ClientRequest, to: Flow | Target | None, now: float) -> None:
        """Send the INVITE that the engine put together."""
        self.client = client
        self._invite_lines = client.extra
        client.extra += self.session.request_lines()
        self.local_body = client.body
        client.usage = self
        client.credentials = self.credentials
        client.start(to, now)

    # -- the user

    def cancel(self, headers: ExtraHeaders = (), *, now: float) -> None:
        """UAC: give up. CANCEL leaves once a provisional response is there (§9.1).

        Ends in InviteFailed(cause="cancelled"), also when a 2xx crosses (ACK and BYE follow by
        themselves). Without effect once the INVITE was answered.
        """
        if self.role != "uac":
            raise LocalProtocolError("only the calling side cancels an INVITE")
        if self.client is not None and self.state in _UNDECIDED:
            self.client.cancel(lines_of(headers), now)

    def ack(self, body: bytes = b"", *, now: float) -> None:
        """UAC, late offer: our answer, in the ACK of the 2xx or the PRACK of the reliable 1xx."""
        if self._prack_due is not None:
            (tag, response), self._prack_due = self._prack_due, None
            self._peer_offer = PeerOffer.NONE
            self.local_body = body
            self._send_prack(tag, response, body, now)
            return
        client = self._ack_due
        dialog = self.dialog
        if client is None or dialog is None or self.ended:
            return
        self._ack_due = None
        self._peer_offer = PeerOffer.NONE
        self.local_body = body or self.local_body
        self._acknowledge(dialog, client, body or refusing_answer(self.remote_body), now)
        if self.state is UsageState.ANSWERED:
            self.state = UsageState.CONFIRMED
            self.session.restart(now)
        self._next_offer(now)

    def _refuse_late_offer(self, now: float) -> None:
        """§13.2.2.4: acknowledge, then hang up; an early offer is refused by CANCEL."""
        if self._prack_due is not None:
            self.ack(b"", now=now)
            self.cancel(now=now)
        else:
            self.ack(b"", now=now)
            self._send_bye(self.core.user_agent_line, now)
            self._finish("local", None, now)

    # -- responses to the INVITE

    def _on_invite_response(self, client: ClientRequest, response: Response, now: float) -> None:
        status = response.status
        if status < 200:
            if self.state in _UNDECIDED and client is self.client:
                self._progress(client, response, now)
        elif status < 300:
            self._success_received(client, response, now)
        elif self.state in _UNDECIDED and client is self.client:
            self._failed(client, response, now)

    def _progress(self, client: ClientRequest, response: Response, now: float) -> None:
        if self.state is UsageState.TRYING:
            self.state = UsageState.PROCEEDING
        if response.status == 100:
            return
        tag = tag_of(response.first("To") or "")
        self._learn(response)
        if tag and not self._early_dialog(tag, client, response):
            return
        try:
            reliable = response.has("Require") and "100rel" in option_tags(response, "Require")
        except MalformedHeader:
            reliable = False
        reliable = reliable and self._reliable != "off" and bool(tag)
        body = response.body
        answer_needed = False
        if reliable:
            if self._receivers[tag].accept(response) == 0:
                return  # seen before, or out of order (RFC 3262 §4)
            answer_needed = bool(body) and not client.body and not self.local_body
            if answer_needed and not client.cancelled:
                self._prack_due = (tag, response)
                self._peer_offer = PeerOffer.PROVISIONAL
                self.remote_body = body
            else:
                self._send_prack(tag, response, b"", now)
                if body:
                    self.remote_body = body
        if not client.cancelled:
            self._emit(InviteProgress(self._self(), response, tag, body, reliable, answer_needed))

    def _early_dialog(self, tag: str, client: ClientRequest, response: Response) -> bool:
        """The early dialog of a tag; False when there are too many of them."""
        dialog = self._dialogs.get(tag)
        if dialog is None:
            if len(self._dialogs) >= self.core.config.max_early_dialogs:
                self.core.count("early_dialogs_refused")
                return False
            dialog = self._open_dialog(client, response)
            self._dialogs[tag] = dialog
            self._receivers[tag] = ReliableReceiver()
        else:
            dialog.refresh_target(response)
        self.dialog = dialog
        self.state = UsageState.EARLY
        return True

    def _open_dialog(self, client: ClientRequest, response: Response) -> Dialog:
        dialog = Dialog.of_response(
            self.core, self._self(), client, response, self.local_tag, self.contact
        )
        to = client.to
        if isinstance(client.binding, Flow):
            dialog.pinned = to
        elif client.binding is not None and client.binding.flow is not None:
            dialog.pinned = client.binding.flow
        dialog.register()
        return dialog

    def _send_prack(self, tag: str, response: Response, body: bytes, now: float) -> None:
        """One PRACK per reliable response (RFC 3262 §4); the transaction repeats it."""
        dialog = self._dialogs.get(tag)
        if dialog is None:
            return
        lines = (
            f"RAck: {response.first('RSeq')} {response.cseq.number} INVITE\r\n"
            f"{self.core.user_agent_line}"
        )
        if body:
            lines += f"Content-Type: {SDP}\r\n"
        self._send_in_dialog("PRACK", lines, body, now=now, dialog=dialog)

    def _success_received(self, client: ClientRequest, response: Response, now: float) -> None:
        """A 2xx: the first, one of another device, or one repeated because its ACK was lost."""
        tag = tag_of(response.first("To") or "")
        surplus = self._surplus.get(tag)
        if surplus is not None:
            surplus.send_again()
        elif client is not self.client or self.state not in _UNDECIDED:
            own = self.dialog is not None and self.dialog.remote_tag == tag
            if own and client.ack is not None:
                client.ack.send_again()
            elif not own:
                self._hang_up(client, response, now)
        elif client.cancelled:
            # The answer crossed our CANCEL (§9.1): nobody here wants the call any more.
            self._hang_up(client, response, now)
            self._abandon(now)
            self._emit(InviteFailed(self._self(), 487, None, "cancelled"))
        else:
            self._answered(client, response, now)

    def _answered(self, client: ClientRequest, response: Response, now: float) -> None:
        tag = tag_of(response.first("To") or "")
        dialog = self._dialogs.pop(tag, None)
        if dialog is None:
            dialog = self._open_dialog(client, response)
        else:
            dialog.refresh_target(response)
        for other in self._dialogs.values():
            other.unregister()
        self._dialogs.clear()
        self._receivers.clear()
        self.dialog = dialog
        self._learn(response)
        self.state = UsageState.ANSWERED
        body = response.body
        answer_needed = bool(body) and not client.body and not self.local_body
        if body:
            self.remote_body = body
        self.session.answered(response, now)
        if answer_needed:
            self._ack_due = client
            self._peer_offer = PeerOffer.SUCCESS
        else:
            self._peer_offer = PeerOffer.NONE
            self._prack_due = None
            self._acknowledge(dialog, client, b"", now)
            self.state = UsageState.CONFIRMED
        self._emit(InviteAnswered(self._self(), response, body, answer_needed))
        self._next_offer(now)

    def _hang_up(self, client: ClientRequest, response: Response, now: float) -> None:
        """ACK and BYE in the dialog of a 2xx that is not wanted (§13.2.2.4)."""
        tag = tag_of(response.first("To") or "")
        if len(self._surplus) >= self.core.config.max_early_dialogs:
            self.core.count("early_dialogs_refused")
            return
        dialog = self._dialogs.pop(tag, None) or self._open_dialog(client, response)
        own_ack = client.ack
        refusal = refusing_answer(response.body) if response.body and not client.body else b""
        self._acknowledge(dialog, client, refusal, now)
        assert client.ack is not None
        self._surplus[tag], client.ack = client.ack, own_ack
        handler = SurplusDialog(dialog)
        bye = dialog.new_request(handler, "BYE", self.core.user_agent_line)
        bye.credentials = self.credentials
        bye.start(dialog.hop(), now)

    def _failed(self, client: ClientRequest, response: Response, now: float) -> None:
        status = response.status
        if status == 422 and not client.cancelled and self.session.raise_minimum(response):
            self._invite_again(client, now)
            return
        self._abandon(now)
        cause: FailureCause = "cancelled" if client.cancelled else "response"
        self._emit(InviteFailed(self._self(), status, response, cause))

    def _invite_again(self, client: ClientRequest, now: float) -> None:
        """The same INVITE with a longer session interval (RFC 4028 §7.4): CSeq grows."""
        for dialog in self._dialogs.values():
            dialog.unregister()
        self._dialogs.clear()
        self._receivers.clear()
        self.dialog = None
        self.state = UsageState.TRYING
        again = client.copy(client.cseq + 1)
        again.extra = self._invite_lines
        self.start_invite(again, client.binding, now)

    def _on_invite_failure(self, client: ClientRequest, cause: FailureCause, now: float) -> None:
        if client is not self.client or self.state not in _UNDECIDED:
            return
        self._abandon(now)
        status = {"timeout": 408, "transport": 503}.get(cause, 487)
        self._emit(InviteFailed(self._self(), status, None, cause))
