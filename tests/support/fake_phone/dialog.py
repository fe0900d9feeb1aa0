"""The dialog of one phone call: its state, its descriptions, the requests inside it.

Base of :class:`~tests.support.fake_phone.midcall.MidCall`. RFC 3261 §12.2, RFC 3264 §5, §8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support.clock import Timer
from tests.support.fake_phone.transactions import PhoneClient, PhoneServer
from tests.support.fake_phone.wire import (
    MIRROR,
    Description,
    Heard,
    NotSip,
    address_uri,
    direction_allowed,
    host_port,
    session_description,
)
from tests.support.network import Address
from tests.support.scenario import CalleeScript, CallerScript, Plan, Step

if TYPE_CHECKING:
    from tests.support.fake_phone.midcall import MidCall
    from tests.support.fake_phone.phone import FakePhone

Handler = Callable[[PhoneClient, Heard | None], None]


class PhoneDialog:
    """State of one dialog of a phone, and the requests it sends inside it."""

    __slots__ = (
        "alive_at_refer",
        "answered_at",
        "bye_done_at",
        "bye_received_at",
        "bye_sent_at",
        "call_id",
        "cancel_reason",
        "cancel_received_at",
        "cancel_sent_at",
        "changed_at",
        "confirmed_at",
        "consultation",
        "end_reason",
        "ended_at",
        "expiry_timer",
        "failure_status",
        "glares",
        "holding",
        "invite_client",
        "invite_cseq",
        "invite_server",
        "invited_at",
        "local_body",
        "local_cseq",
        "local_direction",
        "local_from",
        "local_tag",
        "local_version",
        "offer_pending",
        "phone",
        "plan",
        "prack_done",
        "progress_body",
        "progress_rseq",
        "progress_timer",
        "rang_at",
        "refer_results",
        "refer_status",
        "refer_sent_at",
        "refresher",
        "reinvite_server",
        "remote_allow_update",
        "remote_body",
        "remote_cseq",
        "remote_direction",
        "remote_origin",
        "remote_rseq",
        "remote_rtp",
        "remote_tag",
        "remote_target",
        "remote_to",
        "remote_version",
        "resume_after_refer",
        "route_set",
        "script",
        "session_expires_s",
        "session_id",
        "state",
        "step_index",
        "steps",
        "steps_running",
        "suspect",
        "talked_at",
        "target",
        "tries",
        "uas",
        "unsettled_at",
    )

    def __init__(
        self, phone: FakePhone, plan: Plan, call_id: str, local_tag: str, *, uas: bool
    ) -> None:
        self.phone = phone
        self.plan = plan
        self.call_id = call_id
        self.local_tag = local_tag
        self.uas = uas
        self.script: CallerScript | CalleeScript | None = None
        self.state = "calling"
        """calling, early, confirmed, ending, ended."""
        # When things happened, on the phone's side of the network.
        self.invited_at = phone.clock.now
        self.rang_at = 0.0
        self.answered_at = 0.0
        self.confirmed_at = 0.0
        self.cancel_sent_at = 0.0
        self.cancel_received_at = 0.0
        self.cancel_reason = ""
        self.bye_sent_at = 0.0
        self.bye_done_at = 0.0
        self.bye_received_at = 0.0
        self.ended_at = 0.0
        self.end_reason = ""
        self.failure_status = 0
        self.suspect = ""
        """The server claimed not to know the dialog; a BYE on its way would explain it."""
        # Dialog.
        self.remote_tag = ""
        self.remote_target = ""
        self.remote_to = ""
        self.local_from = ""
        self.target = ""
        self.route_set = ""
        self.local_cseq = 0
        self.remote_cseq = -1
        self.invite_cseq = 0
        self.invite_client: PhoneClient | None = None
        self.invite_server: PhoneServer | None = None
        self.reinvite_server: PhoneServer | None = None
        self.tries = 0
        self.glares = 0
        self.remote_allow_update = False
        # Reliable provisional responses.
        self.remote_rseq = 0
        self.progress_rseq = 0
        self.progress_timer: Timer | None = None
        self.progress_body = b""
        self.prack_done = False
        # Session descriptions.
        self.session_id = 0
        self.local_version = 0
        self.local_body = b""
        self.local_direction = ""
        self.remote_body = b""
        self.remote_origin = ""
        self.remote_version = -1
        self.remote_direction = "sendrecv"
        self.remote_rtp: Address | None = None
        self.offer_pending = False
        """An offer of ours waits for its answer."""
        self.holding = False
        # Session timer.
        self.session_expires_s = 0
        self.refresher = False
        self.expiry_timer: Timer | None = None
        # Transfer.
        self.consultation: MidCall | None = None
        self.refer_sent_at = 0.0
        self.refer_status = 0
        self.alive_at_refer = False
        """The call was still up when the answer to REFER came."""
        self.refer_results: list[int] = []
        self.resume_after_refer = False
        self.unsettled_at = 0.0
        """When our last offer was sent, if it has not been accepted: media may be in between."""
        self.changed_at = 0.0
        """When a description was last given or taken."""
        self.talked_at: list[float] = []
        """When audio was sent that the peer must hear: both send and receive, nothing changes."""
        # Script.
        self.steps: tuple[Step, ...] = ()
        self.step_index = 0
        self.steps_running = False

    # -- descriptions ------------------------------------------------------------------------

    def describe(self, direction: str) -> bytes:
        """Our description; the version moves only when the text does (RFC 3264 §8)."""
        if direction != self.local_direction or not self.local_body:
            if not self.session_id:
                self.session_id = 1000 + self.plan.number
            self.changed_at = self.phone.clock.now
            self.local_version += 1
            self.local_direction = direction
            host, port = self.phone.rtp_address
            self.local_body = session_description(
                host, port, self.session_id, self.local_version, direction
            )
        return self.local_body

    def take_description(self, heard: Heard, body: bytes, *, answer: bool) -> bool:
        """Read an offer or answer of the peer and check it against the one before."""
        try:
            described = Description(body)
        except (NotSip, IndexError) as error:
            self.phone.report("sdp", str(error), heard)
            return False
        refused = answer and not described.port
        if not refused and (described.host in ("", "0.0.0.0") or not described.port):
            self.phone.report("sdp-no-media", f"{described.host}:{described.port}", heard)
        if self.remote_origin:
            if described.origin != self.remote_origin:
                self.phone.report(
                    "sdp-origin", f"{self.remote_origin!r} became {described.origin!r}", heard
                )
            elif described.version < self.remote_version:
                self.phone.report(
                    "sdp-version", f"{self.remote_version} to {described.version}", heard
                )
            elif described.version == self.remote_version and body != self.remote_body:
                self.phone.report("sdp-version", "other text under the same version", heard)
        if described.media_lines != 1:
            self.phone.report("sdp-media-lines", str(described.media_lines), heard)
        if answer and not direction_allowed(self.local_direction, described.direction):
            self.phone.report(
                "sdp-direction", f"{described.direction} answers {self.local_direction}", heard
            )
        self.changed_at = self.phone.clock.now
        self.remote_origin = described.origin
        self.remote_version = described.version
        self.remote_body = body
        self.remote_direction = described.direction
        self.remote_rtp = None if refused else (described.host, described.port)
        return True

    def answer_for(self, heard: Heard) -> bytes:
        """Take an offer and answer it."""
        self.take_description(heard, heard.body, answer=False)
        direction = MIRROR[self.remote_direction]
        if self.holding:
            direction = "sendonly" if direction in ("sendrecv", "sendonly") else "inactive"
        return self.describe(direction)

    # -- requests ----------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.state not in ("ending", "ended")

    def contact_headers(self) -> str:
        allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, NOTIFY, PRACK"
        if self.script is None or self.script.updates:
            allow += ", UPDATE"
        return f"Contact: {self.phone.contact}\r\nAllow: {allow}\r\n"

    def send(
        self,
        method: str,
        handler: Handler,
        headers: str = "",
        body: bytes = b"",
        authorization: str = "",
        tries: int = 0,
    ) -> PhoneClient:
        """A request inside the dialog; a challenge is answered without the handler knowing."""
        self.local_cseq += 1
        uri = self.remote_target

        def challenged(client: PhoneClient, heard: Heard | None) -> None:
            if heard is not None and heard.status in (401, 407):
                header, challenge = self.phone.challenge_of(heard)
                if challenge and tries < 2:
                    lines = self.phone.credentials(method, uri, header, challenge)
                    again = self.send(method, handler, headers, body, lines, tries + 1)
                    if self.invite_client is client:
                        self.invite_client = again
                    return
                self.phone.report("credentials-refused", f"{method} {heard.status}", heard)
            handler(client, heard)

        if body:
            kind = "application/sdp" if body.startswith(b"v=0") else "application/dtmf-relay"
            kind_line = f"Content-Type: {kind}\r\n"
        else:
            kind_line = ""
        return self.phone.request(
            method,
            uri,
            from_=self.local_from,
            to=self.remote_to,
            call_id=self.call_id,
            cseq=self.local_cseq,
            headers=f"{self.route_set}{headers}{authorization}{kind_line}",
            body=body,
            destination=self.next_hop(),
            handler=challenged,
        )

    def next_hop(self) -> Address:
        if self.route_set:
            return host_port(address_uri(self.route_set.partition(":")[2]))
        return host_port(self.remote_target)

    def ack_bytes(self, cseq: int, body: bytes) -> bytes:
        headers = self.route_set + ("Content-Type: application/sdp\r\n" if body else "")
        return self.phone.request_bytes(
            "ACK",
            self.remote_target,
            f"z9hG4bK{self.phone.serial()}",
            self.local_from,
            self.remote_to,
            self.call_id,
            cseq,
            headers,
            body,
        )
