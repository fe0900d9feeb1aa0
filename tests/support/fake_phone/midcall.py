"""What a fake phone can do inside an answered call: hold, refresh, REFER, BYE, timers.

Base of :class:`~tests.support.fake_phone.call.PhoneCall`, which adds set-up and reception. Steps
come from the scripts of :mod:`tests.support.scenario`. RFC 3261 §14-15, RFC 3264 §8, RFC 3311,
RFC 3515, RFC 3891, RFC 4028.
"""

from __future__ import annotations

from urllib.parse import quote

from tests.support.fake_phone.dialog import PhoneDialog
from tests.support.fake_phone.transactions import PhoneClient, PhoneServer
from tests.support.fake_phone.wire import (
    MIRROR,
    Heard,
    address_uri,
    parameter,
)
from tests.support.scenario import CallerScript, Step

#: Media follows a changed description within this time.
STABLE_S = 0.7
#: Nobody is silent for longer: a call without audio would be ended by the media time-out.
TALK_EVERY_S = 20.0
#: A re-INVITE or UPDATE refused with 491 is tried so many times again.
MAX_GLARES = 6
#: How long a party that has nothing more to do waits for the other side before it hangs up.
MAX_CALL_S = 400.0


class MidCall(PhoneDialog):
    """What a party does once the call is answered."""

    __slots__ = ()

    # -- script ------------------------------------------------------------------------------

    def start_steps(self, steps: tuple[Step, ...]) -> None:
        """Begin what the script says to do after the answer."""
        if self.steps_running:
            return
        self.steps_running = True
        self.steps = steps
        self.phone.scheduler.after(MAX_CALL_S, self._overdue)
        if self.script is None or not self.script.silent:
            self.phone.scheduler.after(TALK_EVERY_S, self._keep_talking)
        self._next_step()

    def _overdue(self) -> None:
        """Nobody talks for ever: the server should have ended a call that nobody ends."""
        if self.state == "confirmed" and self.phone.powered:
            self.end_reason = "overdue"
            self.hang_up()

    def _keep_talking(self) -> None:
        if self.state == "confirmed" and self.phone.powered:
            self.talk()
            self.phone.scheduler.after(TALK_EVERY_S, self._keep_talking)

    def _next_step(self) -> None:
        if self.step_index < len(self.steps):
            step = self.steps[self.step_index]
            self.phone.scheduler.after(step.after_s, self._run_step, step)

    def _run_step(self, step: Step) -> None:
        if self.state != "confirmed" or not self.phone.powered:
            return
        self.step_index += 1
        action = step.action
        if action == "bye":
            self.hang_up()
        elif action == "talk":
            self.talk()
        elif action in ("hold", "resume", "update-hold", "update-resume", "refresh"):
            self._renegotiate(action)
        elif action == "offerless":
            self.offer(b"")
        elif action == "info":
            body = f"Signal={step.argument or '5'}\r\nDuration=160\r\n".encode()
            self.send("INFO", self._on_plain_reply, body=body)
        elif action == "vanish":
            self.phone.power_off()
            return
        elif action == "restart":
            self.phone.power_off()
            self.phone.power_on()
            self.phone.register()
            return
        elif action == "blind":
            self.refer(f"<{step.argument}>")
        elif action == "consult":
            self._consult(step.argument)
        elif action in ("transfer", "transfer-early"):
            self._transfer_to_consultation(early=action == "transfer-early")
        elif action == "taken-over":
            self._taken_over_by(step.argument)
        elif action == "bye-consult":
            if self.consultation is not None:
                self.consultation.hang_up()
        else:
            raise AssertionError(f"unknown step {action}")
        self._next_step()

    def talk(self) -> None:
        """Three packets of audio to where the peer's description says."""
        if self.remote_rtp is not None and self.local_direction in ("sendrecv", "sendonly"):
            now = self.phone.clock.now
            if self.local_direction == self.remote_direction == "sendrecv":
                if not self.offer_pending and now - self.changed_at > STABLE_S:
                    self.talked_at.append(now)
            for sequence in range(3):
                self.phone.send_rtp(self.plan.number, sequence, self.remote_rtp)

    def _renegotiate(self, action: str) -> None:
        if action.endswith("hold"):
            self.holding = True
            body = b""
        elif action.endswith("resume"):
            self.holding = False
            body = b""
        else:
            body = self.local_body
        if self.invite_client is not None or self.offer_pending or self.reinvite_server:
            return  # a script that stumbles over the peer's offer lets it be
        self.offer(
            body or self.describe("sendonly" if self.holding else "sendrecv"),
            "UPDATE" if action.startswith("update") and self.remote_allow_update else "INVITE",
        )

    # -- offers ------------------------------------------------------------------------------

    def offer(self, body: bytes, method: str = "INVITE") -> None:
        """Send a re-INVITE (empty body: ask for an offer) or an UPDATE with an offer."""
        if self.state != "confirmed" or self.invite_client is not None or self.offer_pending:
            return
        headers = self.contact_headers() + "Supported: timer, replaces\r\n" + self.timer_header()
        self.offer_pending = True
        self.unsettled_at = self.phone.clock.now
        if method == "UPDATE":
            self.send("UPDATE", self._on_update_reply, headers, body)
        else:
            self.invite_client = self.send("INVITE", self._on_reinvite_reply, headers, body)

    def timer_header(self) -> str:
        if not self.session_expires_s:
            return ""
        role = "uac" if self.refresher else "uas"
        return f"Session-Expires: {self.session_expires_s};refresher={role}\r\n"

    def _on_reinvite_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        if heard is not None and heard.status < 300 and client.seen_2xx > 1:
            self.phone.transmit(client.ack, self.next_hop())
            return
        self.invite_client = None
        self.offer_pending = False
        if heard is None or heard.status >= 300:
            self._offer_refused(heard, client)
            return
        self.glares = 0
        self.unsettled_at = 0.0
        if heard.headers.get("contact"):
            self.remote_target = address_uri(heard.get("contact"))
        offered = client.data.partition(b"\r\n\r\n")[2] != b""
        answer = b""
        if not heard.body:
            self.phone.report("no-sdp-in-2xx", "re-INVITE", heard)
        elif offered:
            self.take_description(heard, heard.body, answer=True)
        else:
            answer = self.answer_for(heard)
        client.ack = self.ack_bytes(client.cseq, answer)
        self.phone.transmit(client.ack, self.next_hop())
        self.note_timer(heard, uac=True)

    def _on_update_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        self.offer_pending = False
        if heard is None or heard.status >= 300:
            self._offer_refused(heard, client)
            return
        self.glares = 0
        self.unsettled_at = 0.0
        if client.data.partition(b"\r\n\r\n")[2]:
            if heard.body:
                self.take_description(heard, heard.body, answer=True)
            else:
                self.phone.report("no-sdp-in-2xx", "UPDATE with offer", heard)
        self.note_timer(heard, uac=True)

    def _offer_refused(self, heard: Heard | None, client: PhoneClient) -> None:
        if self.state != "confirmed":
            return
        if heard is None or heard.status in (408, 481):
            self.lost_peer(heard, client)
            return
        if heard.status in (491, 500) and self.glares < MAX_GLARES:
            self.glares += 1
            # RFC 3261 §14.1: the owner of the Call-ID waits longer.
            rng = self.phone.surroundings.rng
            wait = rng.uniform(0.0, 2.0) if self.uas else rng.uniform(2.1, 4.0)
            body = client.data.partition(b"\r\n\r\n")[2]
            self.phone.scheduler.after(wait, self._offer_again, body, client.method)
        elif heard.status not in (487, 488, 491, 500, 503, 606):
            self.phone.report("offer-refused", f"{client.method} {heard.status}", heard)

    def _offer_again(self, body: bytes, method: str) -> None:
        if self.state != "confirmed" or not self.phone.powered:
            return
        if self.offer_pending or self.reinvite_server is not None:
            return
        if body:
            # The peer's own offer may have got through meanwhile: describe anew.
            direction = "sendonly" if self.holding else MIRROR[self.remote_direction]
            body = self.describe(direction)
        self.offer(body, method)

    def lost_peer(self, heard: Heard | None, client: PhoneClient) -> None:
        """The dialog is dead on the other side (RFC 3261 §12.2.1.2): leave it."""
        if heard is None:
            if not self.phone.disturbed(client.born):
                self.phone.violation("no-response", client.method, self.call_id)
            self.end("no-response")
        else:
            if not self.bye_received_at:
                self.suspect = f"{client.method} got {heard.status}"
            self.end("dialog-unknown")

    def _on_plain_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is None or heard.status in (408, 481):
            if self.alive:
                self.lost_peer(heard, client)

    # -- hanging up --------------------------------------------------------------------------

    def cancel(self) -> None:
        """Give up a call of ours that nobody has answered."""
        raise NotImplementedError

    def hang_up(self, headers: str = "") -> None:
        """BYE. The dialog ends when it is answered or given up."""
        if self.state != "confirmed" or not self.phone.powered:
            return
        self.state = "ending"
        self.bye_sent_at = self.phone.clock.now
        self.send("BYE", self._on_bye_reply, headers)

    def _on_bye_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        self.bye_done_at = self.phone.clock.now
        if heard is None:
            if not self.phone.disturbed(client.born):
                self.phone.violation("no-response", "BYE", self.call_id)
        elif heard.status == 481:
            if not self.bye_received_at:
                self.suspect = "BYE got 481"
        elif heard.status >= 300:
            self.phone.report("bye-refused", str(heard.status), heard)
        self.end("bye-sent")

    def end(self, reason: str, status: int = 0) -> None:
        """The call is over for this phone, however it came."""
        if self.state == "ended":
            return
        self.state = "ended"
        self.end_reason = self.end_reason or reason
        self.failure_status = status
        self.ended_at = self.bye_sent_at or self.phone.clock.now
        scheduler = self.phone.scheduler
        scheduler.cancel(self.expiry_timer)
        scheduler.cancel(self.progress_timer)
        for server in (self.invite_server, self.reinvite_server):
            if server is not None and 200 <= server.status < 300:
                server.acknowledged()
        self.phone.call_over(self)  # type: ignore[arg-type]

    def forget(self) -> None:
        """Nothing can come any more: only what the judge asks for is kept."""
        self.invite_client = None
        self.invite_server = None
        self.reinvite_server = None
        self.local_body = self.remote_body = self.progress_body = b""
        self.script = None
        self.steps = ()
        self.local_from = self.remote_to = self.remote_target = self.route_set = ""

    # -- session timer -----------------------------------------------------------------------

    def note_timer(self, heard: Heard, *, uac: bool) -> None:
        """A 2xx (or a refresh request) sets the timer anew (RFC 4028 §7.2, §9)."""
        value = heard.get("session-expires")
        if not value:
            return
        interval = value.partition(";")[0].strip()
        refresher = parameter(value, "refresher")
        if not interval.isdigit() or int(interval) < 90 or refresher not in ("uac", "uas"):
            self.phone.report("session-expires", value, heard)
            return
        self.set_timer(int(interval), refresher=(refresher == "uac") == uac)

    def set_timer(self, interval_s: int, *, refresher: bool) -> None:
        self.session_expires_s = interval_s
        self.refresher = refresher
        scheduler = self.phone.scheduler
        scheduler.cancel(self.expiry_timer)
        wait = interval_s / 2 if refresher else interval_s - min(32.0, interval_s / 3)
        self.expiry_timer = scheduler.after(wait, self._timer_fired)

    def _timer_fired(self) -> None:
        if self.state != "confirmed" or not self.phone.powered:
            return
        if not self.refresher:
            self.end_reason = "session-expired"
            self.hang_up('Reason: SIP;cause=408;text="Session expired"\r\n')
            return
        if self.offer_pending or self.invite_client is not None or self.reinvite_server:
            self.expiry_timer = self.phone.scheduler.after(5.0, self._timer_fired)
        elif self.remote_allow_update:
            headers = self.contact_headers() + "Supported: timer\r\n" + self.timer_header()
            self.send("UPDATE", self._on_update_reply, headers)
        else:
            self.offer(self.local_body)

    # -- transfer ----------------------------------------------------------------------------

    def refer(self, refer_to: str, headers: str = "") -> None:
        """Ask the server to transfer the peer (RFC 3515)."""
        self.refer_sent_at = self.phone.clock.now
        self.send(
            "REFER",
            self._on_refer_reply,
            f"{self.contact_headers()}Refer-To: {refer_to}\r\n"
            f"Referred-By: <sip:{self.phone.user}@{self.phone.domain}>\r\n{headers}",
        )

    def _on_refer_reply(self, client: PhoneClient, heard: Heard | None) -> None:
        if heard is not None and heard.status < 200:
            return
        self.refer_status = heard.status if heard is not None else 408
        self.alive_at_refer = self.alive
        if heard is None or heard.status in (408, 481):
            if self.alive:
                self.lost_peer(heard, client)

    def receive_notify(self, heard: Heard, server: PhoneServer) -> None:
        """Progress of our REFER (RFC 3515 §2.4.4)."""
        if not self.refer_sent_at:
            server.respond(481)
            return
        server.respond(200)
        state = heard.get("subscription-state")
        if heard.get("event").partition(";")[0] != "refer":
            self.phone.report("notify-event", heard.get("event"), heard)
        if not heard.get("content-type").startswith("message/sipfrag"):
            self.phone.report("notify-content-type", heard.get("content-type"), heard)
        line = heard.body.decode("ascii", "replace").split("\r\n")[0].split(" ")
        if len(line) < 2 or line[0] != "SIP/2.0" or not line[1].isdigit():
            self.phone.report("notify-body", repr(heard.body[:40]), heard)
            return
        status = int(line[1])
        self.refer_results.append(status)
        if status >= 200 and not state.startswith("terminated"):
            self.phone.report("notify-state", f"{state!r} with {status}", heard)
        if self.state != "confirmed":
            return
        if state.startswith("terminated"):
            self._refer_over(status)

    def _refer_over(self, status: int) -> None:
        if 200 <= status < 300:
            # The transferor's part is over; the server would send BYE after a while.
            if self.step_index >= len(self.steps):
                self.phone.scheduler.after(0.3, self.hang_up)
        elif self.holding:
            self._renegotiate("resume")

    def _consult(self, target: str) -> None:
        script = self.script.consult if isinstance(self.script, CallerScript) else None
        self.consultation = self.phone.invite(self.plan, target, script or CallerScript())

    def _taken_over_by(self, name: str) -> None:
        """Another phone sends INVITE with Replaces for this dialog, as the server sees it."""
        own = self.script
        script = own.consult if isinstance(own, CallerScript) and own.consult else CallerScript()
        script.replaces = f"{self.call_id};to-tag={self.remote_tag};from-tag={self.local_tag}"
        phone = self.phone.surroundings.phones[name]
        phone.invite(self.plan, f"sip:{self.phone.user}@{self.phone.domain}", script)

    def _transfer_to_consultation(self, *, early: bool) -> None:
        other = self.consultation
        ready = other is not None and other.state in ("confirmed", "early" if early else "")
        if other is None or not ready:
            self._renegotiate("resume")
            self.phone.scheduler.after(2.0, self.hang_up)
            return
        replaces = quote(
            f"{other.call_id};to-tag={other.remote_tag};from-tag={other.local_tag}", safe=""
        )
        self.refer(f"<{other.target}?Replaces={replaces}>")
        if other.state == "early":
            self.phone.scheduler.after(0.5, other.cancel)
