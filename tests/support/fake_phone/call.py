"""One call of a fake phone: set-up as caller or callee, reception, release.

Fed by :class:`~tests.support.fake_phone.phone.FakePhone` (dispatch by dialog) and by its own
timers; what happens after the answer is in :mod:`.midcall`. RFC 3261 §9, §12, §13, §15;
RFC 3262; RFC 4028 §7-9.
"""

from __future__ import annotations

from tests.support.fake_phone.midcall import MidCall
from tests.support.fake_phone.transactions import T1_S, TIMEOUT_S, PhoneClient, PhoneServer
from tests.support.fake_phone.wire import MIRROR, Heard, address_uri, challenge_fields, parameter
from tests.support.scenario import CalleeScript, CallerScript

__all__ = ["PhoneCall"]

#: After a CANCEL the INVITE must end within this time (RFC 3261 §9.1).
CANCEL_GUARD_S = TIMEOUT_S


#: A phone rings no longer than this.
RING_S = 180.0


class PhoneCall(MidCall):
    """A dialog from its INVITE to its end."""

    __slots__ = ()

    # -- caller ------------------------------------------------------------------------------

    def start(self, target: str, script: CallerScript) -> None:
        """Send the INVITE."""
        phone = self.phone
        self.script = script
        self.target = target
        self.remote_target = target
        self.remote_to = f"<{target}>"
        self.local_from = (
            f'"{self.plan.label}" <sip:{phone.user}@{phone.domain}>;tag={self.local_tag}'
        )
        phone.call_started(self)
        self._send_invite(phone.credentials("INVITE", target))
        phone.scheduler.after(script.cancel_after_s, self.cancel)
        if script.vanish_after_s is not None:
            phone.scheduler.after(script.vanish_after_s, self._vanish)

    def _send_invite(self, authorization_lines: str, extra: str = "") -> None:
        script = self.script
        assert isinstance(script, CallerScript)
        supported = "timer, replaces"
        if script.reliable == "supported":
            supported += ", 100rel"
        headers = f"{self.contact_headers()}Supported: {supported}\r\n"
        if script.reliable == "required":
            headers += "Require: 100rel\r\n"
        if script.session_expires_s:
            headers += f"Session-Expires: {script.session_expires_s}\r\n"
        if script.replaces:
            headers += f"Require: replaces\r\nReplaces: {script.replaces}\r\n"
        body = b""
        if not script.late_offer:
            body = self.describe("sendrecv")
            headers += "Content-Type: application/sdp\r\n"
        self.local_cseq += 1
        self.invite_cseq = self.local_cseq
        self.invite_client = self.phone.request(
            "INVITE",
            self.target,
            from_=self.local_from,
            to=f"<{self.target}>",
            call_id=self.call_id,
            cseq=self.local_cseq,
            headers=f"{headers}{extra}{authorization_lines}",
            body=body,
            handler=self._on_invite_reply,
        )

    def _on_invite_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is None:
            if not self.phone.disturbed(client.born):
                self.phone.violation("no-response", "INVITE", self.call_id)
            self.end("no-response", 408)
        elif heard.status < 200:
            self._progress(heard)
        elif heard.status < 300:
            self._answered(client, heard)
        elif heard.status in (401, 407):
            self._challenged(heard)
        elif heard.status == 422:
            self._send_invite(
                self.phone.credentials("INVITE", self.target),
                f"Min-SE: {heard.get('min-se', '90')}\r\n",
            )
        else:
            if self.cancel_sent_at > 0 and heard.status != 487:
                self._crossed_by(heard)
            self.end("cancelled" if self.cancel_sent_at else "refused", heard.status)

    def _challenged(self, heard: Heard) -> None:
        self.tries += 1
        header, challenge = self.phone.challenge_of(heard)
        stale = challenge_fields(challenge).get("stale", "").lower() == "true" or self.tries == 1
        if self.cancel_sent_at:
            self.end("cancelled", heard.status)
        elif not challenge or self.tries > 3 or not stale:
            self.phone.report("credentials-refused", f"INVITE {heard.status}", heard)
            self.end("refused", heard.status)
        else:
            self._send_invite(self.phone.credentials("INVITE", self.target, header, challenge))

    def _crossed_by(self, heard: Heard) -> None:
        """A final response other than 487 after our CANCEL: it must have crossed it."""
        if self.phone.clock.now - self.cancel_sent_at > TIMEOUT_S:
            self.phone.report("cancel-ignored", f"{heard.status} long after CANCEL", heard)

    def _dialog_from(self, heard: Heard) -> None:
        if not self.remote_tag:
            self.remote_tag = heard.to_tag
        elif self.remote_tag != heard.to_tag:
            # Our server answers for all branches with one tag (RFC 3261 §12.1).
            self.phone.report("to-tag-changed", f"{self.remote_tag} to {heard.to_tag}", heard)
        if heard.get("contact"):
            self.remote_target = address_uri(heard.get("contact"))
        self.remote_to = heard.get("to")
        routes = heard.headers.get("record-route")
        if routes:
            hops = [hop.strip() for line in routes for hop in line.split(",")]
            self.route_set = "".join(f"Route: {hop}\r\n" for hop in reversed(hops))
        if "UPDATE" in heard.get("allow"):
            self.remote_allow_update = True

    def _progress(self, heard: Heard) -> None:
        if heard.status > 100:
            if heard.to_tag:
                self._dialog_from(heard)
            if not self.rang_at:
                self.rang_at = self.phone.clock.now
            if self.state == "calling":
                self.state = "early"
            reliable = heard.lists("require", "100rel")
            if reliable:
                self._acknowledge_progress(heard)
            elif heard.body and not self.remote_body and not self._late_offer:
                self.take_description(heard, heard.body, answer=True)
        if self.cancel_sent_at < 0:
            self._send_cancel()

    @property
    def _late_offer(self) -> bool:
        return isinstance(self.script, CallerScript) and self.script.late_offer

    def _acknowledge_progress(self, heard: Heard) -> None:
        """PRACK a reliable provisional response, in order (RFC 3262 §4)."""
        text = heard.get("rseq")
        if not text.isdigit() or not heard.to_tag:
            self.phone.report("rseq", f"{text!r}", heard)
            return
        assert isinstance(self.script, CallerScript)
        if not self.script.reliable:
            self.phone.report("100rel-unasked", str(heard.status), heard)
        number = int(text)
        if self.remote_rseq and number != self.remote_rseq + 1:
            if number > self.remote_rseq and self.phone.surroundings.in_order:
                self.phone.report("rseq", f"{number} after {self.remote_rseq}", heard)
            return
        self.remote_rseq = number
        answer = b""
        if heard.body and self._late_offer:
            answer = self.answer_for(heard)
        elif heard.body:
            self.take_description(heard, heard.body, answer=True)
        self.prack_done = self.prack_done or bool(heard.body)
        self.send(
            "PRACK", self._on_prack_reply, f"RAck: {number} {self.invite_cseq} INVITE\r\n", answer
        )

    def _on_prack_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is None and self.alive and not self.phone.disturbed(client.born):
            self.phone.violation("no-response", "PRACK", self.call_id)
        elif heard is not None and heard.status >= 300 and self.state in ("calling", "early"):
            # 481 is right once the INVITE has been answered or refused meanwhile.
            if heard.status != 481:
                self.phone.report("prack-refused", str(heard.status), heard)

    def _answered(self, client: PhoneClient, heard: Heard) -> None:
        script = self.script
        assert isinstance(script, CallerScript)
        if client.seen_2xx > 1:
            if client.seen_2xx > script.lost_acks:
                self.phone.transmit(client.ack, self.next_hop())
            return
        self.invite_client = None
        self._dialog_from(heard)
        self.answered_at = self.phone.clock.now
        answer = b""
        if not heard.body:
            if not self.prack_done:
                self.phone.report("no-sdp-in-2xx", "INVITE", heard)
        elif script.late_offer and not self.prack_done:
            answer = self.answer_for(heard)
        else:
            self.take_description(heard, heard.body, answer=True)
        client.ack = self.ack_bytes(client.cseq, answer)
        if script.lost_acks < 1:
            self.phone.transmit(client.ack, self.next_hop())
        self.confirmed_at = self.phone.clock.now
        if self.state == "ended":
            return
        self.state = "confirmed"
        if self.cancel_sent_at:
            # The 200 crossed our CANCEL (RFC 3261 §9.1, §15).
            self.hang_up()
            return
        self.note_timer(heard, uac=True)
        self.start_steps(script.steps)

    def cancel(self) -> None:
        """CANCEL as soon as a provisional response allows it (RFC 3261 §9.1)."""
        if self.state not in ("calling", "early") or not self.phone.powered or self.uas:
            return
        if self.cancel_sent_at:
            return
        client = self.invite_client
        if client is None or client.status < 100:
            self.cancel_sent_at = -1.0  # wanted; the first provisional response releases it
            return
        self._send_cancel()

    def _send_cancel(self) -> None:
        client = self.invite_client
        if client is None or client.status >= 200:
            return
        self.cancel_sent_at = self.phone.clock.now
        data = self.phone.request_bytes(
            "CANCEL",
            self.target,
            client.branch,
            self.local_from,
            f"<{self.target}>",
            self.call_id,
            client.cseq,
            "",
        )
        PhoneClient(
            self.phone,
            "CANCEL",
            self.target,
            client.cseq,
            client.branch,
            data,
            self.phone.server,
            self._on_cancel_reply,
        )
        self.phone.scheduler.after(CANCEL_GUARD_S, self._cancel_overdue, client)

    def _on_cancel_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is None and not self.phone.disturbed(client.born):
            self.phone.violation("no-response", "CANCEL", self.call_id)

    def _cancel_overdue(self, client: PhoneClient) -> None:
        if self.state not in ("calling", "early") or not self.phone.powered:
            return
        if not self.phone.disturbed(self.invited_at):
            self.phone.violation("no-final-after-cancel", "INVITE", self.call_id)
        client.abandon()
        self.end("cancelled", 408)

    def _vanish(self) -> None:
        if self.state != "ended":
            self.phone.power_off()

    # -- callee ------------------------------------------------------------------------------

    def incoming(self, heard: Heard, server: PhoneServer, script: CalleeScript) -> None:
        """An INVITE outside a dialog arrived."""
        phone = self.phone
        self.script = script
        self.state = "early"
        self.invite_server = server
        server.on_unacknowledged = self._unacknowledged
        self.remote_tag = heard.from_tag
        self.remote_target = address_uri(heard.get("contact"))
        self.remote_to = heard.get("from")
        self.local_from = f"{heard.get('to')};tag={self.local_tag}"
        self.remote_cseq = heard.cseq
        self.remote_allow_update = "UPDATE" in heard.get("allow")
        phone.call_started(self)
        if heard.body:
            self.take_description(heard, heard.body, answer=False)
        if "allow" not in heard.headers:
            phone.report("allow-missing", "INVITE without Allow", heard)
        after = phone.scheduler.after
        if script.ring_after_s is not None:
            after(script.ring_after_s, self._ring)
        else:
            server.respond(100)
        if script.answer_after_s is not None:
            after(script.answer_after_s, self._finish_early)
        if script.vanish_after_s is not None:
            after(script.vanish_after_s, self._vanish)
        after(RING_S, self._ring_out)

    def _ring_out(self) -> None:
        """No phone rings for ever, even if the server forgot it."""
        if self.state == "early" and self.invite_server is not None and self.phone.powered:
            self.invite_server.respond(480)
            self.end("refused", 480)

    def _ring(self) -> None:
        server, script = self.invite_server, self.script
        if self.state != "early" or server is None or not self.phone.powered:
            return
        assert isinstance(script, CalleeScript)
        self.rang_at = self.phone.clock.now
        headers = self.contact_headers()
        body = b""
        if script.progress == 183 and server.request.body:
            body = self.describe(MIRROR[self.remote_direction])
            headers += "Content-Type: application/sdp\r\n"
        request = server.request
        required = request.lists("require", "100rel")
        if required or (script.reliable and request.lists("supported", "100rel")):
            self.progress_rseq = 1 + self.plan.number % 1000
            headers += f"Require: 100rel\r\nRSeq: {self.progress_rseq}\r\n"
            self.progress_body = body
            self.progress_timer = self.phone.scheduler.after(T1_S, self._progress_again, T1_S)
        server.respond(script.progress, headers, body)
        if script.picked_up_by:
            self.phone.scheduler.after(script.picked_up_after_s, self._be_picked_up)

    def _be_picked_up(self) -> None:
        """A neighbour sends INVITE with Replaces for this dialog, if it still rings."""
        script = self.script
        assert isinstance(script, CalleeScript)
        if self.state != "early" or not self.phone.powered:
            return
        picker = script.picker or CallerScript()
        picker.replaces = f"{self.call_id};to-tag={self.local_tag};from-tag={self.remote_tag}"
        phone = self.phone.surroundings.phones[script.picked_up_by]
        phone.invite(self.plan, f"sip:{self.phone.user}@{self.phone.domain}", picker)

    def _progress_again(self, interval_s: float) -> None:
        """A reliable provisional response is repeated until its PRACK (RFC 3262 §3)."""
        server = self.invite_server
        if self.state != "early" or server is None or not self.phone.powered:
            return
        if interval_s >= TIMEOUT_S:
            if not self.phone.disturbed(self.invited_at):
                self.phone.violation("no-prack", str(server.status), self.call_id)
            server.respond(504)
            self.end("refused", 504)
            return
        server.send()
        interval_s *= 2
        self.progress_timer = self.phone.scheduler.after(
            interval_s, self._progress_again, interval_s
        )

    def _finish_early(self) -> None:
        """Answer or refuse, as the script says."""
        server, script = self.invite_server, self.script
        if self.state != "early" or server is None or not self.phone.powered:
            return
        assert isinstance(script, CalleeScript)
        if script.reject:
            server.respond(script.reject)
            self.end("refused", script.reject)
            return
        if self.progress_rseq and self.progress_body and not self.prack_done:
            # A description under way reliably must be acknowledged first (RFC 3262 §5).
            self.phone.scheduler.after(0.1, self._finish_early)
            return
        request = server.request
        headers = f"{self.contact_headers()}Supported: timer, replaces\r\n"
        expires = request.get("session-expires")
        if expires and script.session_timer:
            interval = int(expires.partition(";")[0])
            role = parameter(expires, "refresher") or "uac"
            headers += f"Require: timer\r\nSession-Expires: {interval};refresher={role}\r\n"
            self.set_timer(interval, refresher=role == "uas")
        body = b""
        if not self.prack_done:  # else the answer went out in the reliable 183 already
            body = self.describe(MIRROR[self.remote_direction])
            headers += "Content-Type: application/sdp\r\n"
        self.offer_pending = not request.body
        self.answered_at = self.phone.clock.now
        self.state = "answered"
        server.respond(200, headers, body)

    def _unacknowledged(self) -> None:
        """No ACK for our 200 within 64*T1: hang up (RFC 3261 §13.3.1.4)."""
        if self.state == "answered":
            self.state = "confirmed"
            self.hang_up()

    def receive_ack(self, heard: Heard) -> None:
        """ACK of a 2xx of ours, for the INVITE or a re-INVITE."""
        invite, again = self.invite_server, self.reinvite_server
        if invite is not None and invite.request.cseq == heard.cseq:
            server = invite
        elif again is not None and again.request.cseq == heard.cseq:
            server = again
            self.reinvite_server = None
        else:
            return
        if server.status < 200 or server.acked:
            return
        server.acknowledged()
        if not server.request.body and not self.prack_done:
            self.offer_pending = False
            if heard.body:
                self.take_description(heard, heard.body, answer=True)
            elif self.alive:
                self.phone.report("no-answer-in-ack", "our 2xx carried an offer", heard)
        if self.state == "answered":
            self.state = "confirmed"
            self.confirmed_at = self.phone.clock.now
            if self.script is not None:
                self.start_steps(self.script.steps)

    def receive_cancel(self, heard: Heard) -> None:
        """CANCEL matched our INVITE server transaction."""
        server = self.invite_server
        if server is not None and self.state == "early":
            self.cancel_received_at = self.phone.clock.now
            self.cancel_reason = heard.get("reason")
            server.respond(487)
            self.end("cancelled", 487)

    # -- inside the dialog -------------------------------------------------------------------

    def receive(self, heard: Heard, server: PhoneServer) -> None:
        """A new request inside this dialog."""
        method = heard.method
        if self.state == "ended":
            if method == "BYE":
                self.bye_received_at = self.phone.clock.now
                self.suspect = ""
            if method == "NOTIFY" and self.refer_sent_at:
                self.receive_notify(heard, server)  # that usage outlives ours (RFC 5057 §5.2)
            else:
                server.respond(481)
            return
        if heard.cseq <= self.remote_cseq:
            if heard.cseq == self.remote_cseq or self.phone.surroundings.in_order:
                self.phone.report("cseq-order", f"{heard.cseq} after {self.remote_cseq}", heard)
            if method == "BYE":
                self.bye_received_at = self.phone.clock.now  # overtaken; the peer is gone
            server.respond(500)
            return
        self.remote_cseq = heard.cseq
        if method == "BYE":
            self._receive_bye(heard, server)
        elif method == "INVITE":
            self._receive_reinvite(heard, server)
        elif method == "UPDATE":
            self._receive_update(heard, server)
        elif method == "PRACK":
            self._receive_prack(heard, server)
        elif method == "NOTIFY":
            self.receive_notify(heard, server)
        elif method in ("INFO", "OPTIONS", "MESSAGE"):
            server.respond(200)
        else:
            self.phone.report("method", f"{method} was not allowed by us", heard)
            server.respond(405, "Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK\r\n")

    def _receive_bye(self, heard: Heard, server: PhoneServer) -> None:
        self.bye_received_at = self.phone.clock.now
        if self.uas and self.state == "early" and self.invite_server is not None:
            server.respond(200)
            self.invite_server.respond(487)
        elif self.uas and self.state == "answered":
            # Only the ACK may have been overtaken; a BYE before any ACK is legal.
            server.respond(200)
        else:
            server.respond(200)
        if self.state == "ending":
            return  # both hung up: our own BYE ends it
        self.end("bye-received")

    def _busy_with_offer(self, heard: Heard, server: PhoneServer) -> bool:
        """RFC 3261 §14.2, RFC 3311 §5.2: one offer at a time."""
        if self.offer_pending or self.invite_client is not None:
            server.respond(491)
            return True
        if self.reinvite_server is not None:
            server.respond(500, "Retry-After: 3\r\n")
            return True
        return False

    def _receive_reinvite(self, heard: Heard, server: PhoneServer) -> None:
        if self._busy_with_offer(heard, server):
            return
        if self.state == "ending":
            server.respond(481)
            return
        self.reinvite_server = server
        server.on_unacknowledged = self._reinvite_unacknowledged
        if heard.get("contact"):
            self.remote_target = address_uri(heard.get("contact"))
        headers = f"{self.contact_headers()}Supported: timer, replaces\r\n"
        headers += self._refresh_header(heard)
        if heard.body:
            body = self.answer_for(heard)
        else:
            body = self.describe("sendonly" if self.holding else "sendrecv")
        server.respond(200, headers + "Content-Type: application/sdp\r\n", body)
        self.phone.scheduler.after(1.0, self._talk_anew)

    def _talk_anew(self) -> None:
        """People speak again when something has changed, e.g. their peer."""
        if self.state == "confirmed" and self.phone.powered:
            self.talk()

    def _reinvite_unacknowledged(self) -> None:
        self.reinvite_server = None
        if self.state == "confirmed":
            self.hang_up()

    def _receive_update(self, heard: Heard, server: PhoneServer) -> None:
        if heard.body and self._busy_with_offer(heard, server):
            return
        if heard.get("contact"):
            self.remote_target = address_uri(heard.get("contact"))
        headers = self.contact_headers() + self._refresh_header(heard)
        body = b""
        if heard.body:
            body = self.answer_for(heard)
            headers += "Content-Type: application/sdp\r\n"
        server.respond(200, headers, body)

    def _refresh_header(self, heard: Heard) -> str:
        value = heard.get("session-expires")
        if not value or not parameter(value, "refresher"):
            if not value:
                return ""
            value += ";refresher=uac"
        interval = int(value.partition(";")[0])
        role = parameter(value, "refresher")
        self.set_timer(interval, refresher=role == "uas")
        return f"Require: timer\r\nSession-Expires: {interval};refresher={role}\r\n"

    def _receive_prack(self, heard: Heard, server: PhoneServer) -> None:
        invite = self.invite_server
        expected = f"{self.progress_rseq} {invite.request.cseq if invite else 0} INVITE"
        if not self.progress_rseq or heard.get("rack") != expected or self.prack_done:
            server.respond(481)
            if not self.prack_done:
                self.phone.report("rack", f"{heard.get('rack')!r}, not {expected!r}", heard)
            return
        self.prack_done = True
        self.phone.scheduler.cancel(self.progress_timer)
        self.progress_timer = None
        if not self.progress_body:
            self.prack_done = False
            self.progress_rseq = 0
        server.respond(200)
