"""What both sides of an INVITE usage share: state, dialog, session timer, the end.

An INVITE usage is one session of a dialog (RFC 5057). It owns no media: bodies are opaque bytes.
It is put together from layers, each a module, each adding methods to the same slots:

    invite_base      state, requests in the dialog, the end
    invite_replies   responses that every part gives
    negotiation      re-INVITE, UPDATE, PRACK bodies: offer and answer after the first exchange
    invite_uas       provisional, accept, reject, CANCEL, ACK, PRACK
    invite_uac       responses of our INVITE: early dialogs, forks, ACK, PRACK
    invite           requests of the dialog, BYE, REFER; the class the user sees

States (`UsageState`):

    TRYING      our INVITE was sent, or the peer's was received
    PROCEEDING  a provisional response passed without a tag
    EARLY       a tagged provisional response opened the early dialog
    ANSWERED    2xx passed, ACK did not yet
    CONFIRMED   ACK passed
    ENDED       over; BYE and what follows it may still be on its way
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, Literal

from sip.core import Core, ExtraHeaders, lines_of, option_tags
from sip.dialog.addresses import uri_of
from sip.dialog.dialog import Dialog
from sip.dialog.retransmit import Retransmitter
from sip.dialog.session_timer import SessionTimer
from sip.errors import MalformedHeader
from sip.events import Event, UsageEnded
from sip.flow import Flow
from sip.message import Message, Request, Response
from sip.request import Authorizer, ClientRequest

if TYPE_CHECKING:
    from sip.dialog.invite import InviteUsage
    from sip.dialog.provisional import ReliableReceiver, ReliableSender
    from sip.dialog.refer import ReferSubscription
    from sip.events import EndedBy
    from sip.timers import Timer
    from sip.transaction.server import ServerTransaction


class UsageState(StrEnum):
    TRYING = "trying"
    PROCEEDING = "proceeding"
    EARLY = "early"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class PeerOffer(Enum):
    """Where the peer's unanswered offer came, and hence where our answer goes."""

    NONE = ""
    INVITE = "INVITE"  # re-INVITE; the answer goes into its 2xx
    UPDATE = "UPDATE"
    PRACK = "PRACK"
    SUCCESS = "2xx"  # of our INVITE without SDP; the answer goes into the ACK
    PROVISIONAL = "1xx"  # reliable; the answer goes into the PRACK
    REQUESTED = "request"  # a re-INVITE without SDP: we owe an offer


SDP: Final = "application/sdp"


class InviteBase:
    """See the module; instances are always `InviteUsage`."""

    __slots__ = (
        "_ack_due",
        "_bye_due",
        "_cancel_seen",
        "_closing",
        "_contact_lines",
        "_dialogs",
        "_epitaph",
        "_invite_lines",
        "_offer_body",
        "_offer_client",
        "_offer_queue",
        "_offer_tries",
        "_options",
        "_peer_offer",
        "_peer_transaction",
        "_prack_due",
        "_receivers",
        "_record_route_lines",
        "_refers",
        "_refreshing",
        "_released",
        "_reliable",
        "_retry_timer",
        "_sender",
        "_success",
        "_surplus",
        "_trying_timer",
        "call_id",
        "client",
        "contact",
        "core",
        "credentials",
        "dialog",
        "invite_request",
        "local_body",
        "local_tag",
        "remote_allow",
        "remote_body",
        "remote_supported",
        "role",
        "session",
        "state",
        "transaction",
        "user",
    )

    def __init__(
        self,
        core: Core,
        role: Literal["uac", "uas"],
        call_id: str,
        local_tag: str,
        contact: str,
        session_expires_s: int,
    ) -> None:
        self.core = core
        self.role = role
        self.state = UsageState.TRYING
        self.call_id = call_id
        self.local_tag = local_tag
        self.contact = contact
        self.user: object = None
        self.dialog: Dialog | None = None
        self.client: ClientRequest | None = None
        """UAC: the INVITE that runs or opened the session."""
        self.transaction: ServerTransaction | None = None
        """UAS: the INVITE's."""
        self.invite_request: Request | None = None
        self.local_body = b""
        self.remote_body = b""
        self.remote_allow: frozenset[str] = frozenset()
        self.remote_supported: frozenset[str] = frozenset()
        self.credentials: Authorizer | None = None
        self.session = SessionTimer(core, self._self(), session_expires_s)
        self._reliable = "supported"
        self._dialogs: dict[str, Dialog] = {}
        self._receivers: dict[str, ReliableReceiver] = {}
        self._surplus: dict[str, ClientRequest] = {}
        self._sender: ReliableSender | None = None
        self._success: Retransmitter | None = None
        self._trying_timer: Timer | None = None
        self._retry_timer: Timer | None = None
        self._offer_client: ClientRequest | None = None
        self._offer_body = b""
        self._offer_tries = 0
        self._offer_queue: list[tuple[bytes, str | None]] = []
        self._refreshing = False
        self._peer_offer = PeerOffer.NONE
        self._peer_transaction: ServerTransaction | None = None
        self._ack_due: ClientRequest | None = None
        self._prack_due: tuple[str, Response] | None = None
        self._refers: list[ReferSubscription] = []
        self._options: ClientRequest | None = None
        self._bye_due: str | None = None
        self._cancel_seen = False
        self._closing = 0
        """Reasons to keep the dialog after the end: BYEs on their way, or put off."""
        self._released = False
        self._epitaph: tuple[str, str, int, Flow | None] = ("", "", 0, None)
        self._record_route_lines = ""
        self._contact_lines = ""
        self._invite_lines = ""
        core.usages += 1

    def _self(self) -> InviteUsage:
        return self  # type: ignore[return-value]  # the layers only exist inside InviteUsage

    # -- what the user reads

    @property
    def remote_tag(self) -> str:
        return self.dialog.remote_tag if self.dialog is not None else ""

    @property
    def local_uri(self) -> str:
        """The URI in our From or To."""
        if self.dialog is not None:
            return self.dialog.local_uri
        return uri_of(self.client.from_line[6:-2]) if self.client else self._epitaph[0]

    @property
    def remote_uri(self) -> str:
        """The URI in the peer's From or To."""
        if self.dialog is not None:
            return self.dialog.remote_uri
        return uri_of(self.client.to_line[4:-2]) if self.client else self._epitaph[1]

    @property
    def last_cseq(self) -> int:
        """Of our last request in the dialog, or of the INVITE."""
        if self.dialog is not None and self.dialog.local_cseq:
            return self.dialog.local_cseq
        if self.client is not None:
            return self.client.cseq
        return self.invite_request.cseq.number if self.invite_request else self._epitaph[2]

    @property
    def flow(self) -> Flow | None:
        """The last flow a message of the peer came over."""
        if self.dialog is not None:
            return self.dialog.flow
        return self.client.flow if self.client is not None else self._epitaph[3]

    @flow.setter
    def flow(self, flow: Flow) -> None:
        """Requests go here from now on (the peer registered again over a new connection)."""
        if self.dialog is not None:
            self.dialog.heard_from(flow)

    @property
    def ended(self) -> bool:
        return self.state is UsageState.ENDED

    # -- small common steps

    def _emit(self, event: Event) -> None:
        self.core.events.append(event)

    def _learn(self, message: Message) -> None:
        """Allow and Supported, when the peer says something about itself."""
        try:
            if message.has("Allow"):
                self.remote_allow = option_tags(message, "Allow")
            if message.has("Supported"):
                self.remote_supported = option_tags(message, "Supported")
        except MalformedHeader:
            self.core.count("headers_ignored")

    def _client_lines(self, headers: ExtraHeaders, body: bytes, content_type: str) -> str:
        """Lines of a request in the dialog."""
        lines = lines_of(headers) + self.core.user_agent_line
        return f"{lines}Content-Type: {content_type}\r\n" if body and content_type else lines

    def _send_in_dialog(
        self,
        method: str,
        lines: str,
        body: bytes = b"",
        *,
        now: float,
        dialog: Dialog | None = None,
        contact: bool = False,
        user: object = None,
    ) -> ClientRequest:
        """Start a request in the dialog; its outcome comes to `on_response`/`on_failure`."""
        dialog = dialog or self.dialog
        assert dialog is not None  # callers checked the state
        client = dialog.new_request(self._self(), method, lines, body, contact=contact)
        client.credentials = self.credentials
        client.usage = self
        client.user = user
        client.start(dialog.hop(), now)
        return client

    def _acknowledge(self, dialog: Dialog, client: ClientRequest, body: bytes, now: float) -> None:
        """ACK a 2xx: a request of its own, kept to be repeated (RFC 3261 §13.2.2.4)."""
        lines = f"Content-Type: {SDP}\r\n" if body else ""
        ack = dialog.new_request(self._self(), "ACK", lines, body, cseq=client.cseq)
        # RFC 3261 §22.1: the ACK repeats the credentials of the INVITE; nobody can challenge it.
        ack.extra = client.authorization_lines + ack.extra
        client.ack = ack
        ack.start(dialog.hop(), now)

    # -- the end

    def _finish(self, by: EndedBy, request: Request | None, now: float) -> None:
        """The session is over: tell the user once, and stop everything that repeats."""
        if self.state is UsageState.ENDED:
            return
        self.state = UsageState.ENDED
        self._stop_all(now)
        self._emit(UsageEnded(self._self(), by, request))
        self._release()

    def _abandon(self, now: float) -> None:
        """The usage ends without ever having been answered."""
        self.state = UsageState.ENDED
        self._stop_all(now)
        self._release()

    def _stop_all(self, now: float) -> None:
        core = self.core
        self.session.stop()
        core.timers.cancel(self._trying_timer)
        core.timers.cancel(self._retry_timer)
        self._trying_timer = self._retry_timer = None
        if self._sender is not None:
            self._sender.stop()
        if self._success is not None and self._bye_due is None:
            self._success.stop()
            self._success = None
        self._offer_queue.clear()
        if self._offer_client is not None:
            # The peer that sent or gets a BYE need not answer it (RFC 3261 §15.1.2 has it say
            # 487); repeating it for 32 s would bring nothing.
            self._offer_client.hush()
            self._offer_client = None
        pending = self._peer_transaction
        self._peer_transaction = None
        self._peer_offer = PeerOffer.NONE
        if pending is not None and not pending.answered:
            # RFC 3261 §15.1.2: requests still unanswered when the BYE comes get 487.
            pending.respond(487, None, core.server_line, now=now)
        for dialog in self._dialogs.values():
            if dialog is not self.dialog:
                dialog.unregister()
        self._dialogs.clear()
        self._receivers.clear()

    def _release(self) -> None:
        """Forget the dialog once nothing of it is on its way."""
        if self.state is not UsageState.ENDED or self._closing or self._refers or self._released:
            return
        self._released = True
        self.core.usages -= 1
        if self.dialog is not None:
            self.dialog.unregister()
        if self.dialog is None:
            # The user may still ask; afterwards only the dialog would know.
            self._epitaph = (self.local_uri, self.remote_uri, self.last_cseq, self.flow)
        # Whatever points back at us is let go of: no work for the cycle collector.
        self.client = self.transaction = self._sender = self._options = None
        self._surplus.clear()
        self.session.release()

    def _send_bye(self, lines: str, now: float) -> None:
        """The dialog stays until the BYE is answered: the peer's may cross it."""
        self._closing += 1
        self._send_in_dialog("BYE", lines, b"", now=now)

    def _bye_answered(self) -> None:
        self._closing -= 1
        self._release()

    def _drop_dialog(self, by: EndedBy, now: float) -> None:
        """The peer lost the dialog or is gone: BYE for good measure (RFC 3261 §12.2.1.2)."""
        if self.state in (UsageState.ANSWERED, UsageState.CONFIRMED):
            self._send_bye(self.core.user_agent_line, now)
            self._finish(by, None, now)

    def _send_due_bye(self, now: float) -> None:
        """The BYE that had to wait for the ACK of our 2xx (RFC 3261 §15)."""
        lines = self._bye_due
        if lines is None:
            return
        self._bye_due = None
        self._send_bye(lines, now)
        self._bye_answered()  # the hold taken when it was put off

    def ack_timed_out(self, now: float) -> None:
        """Nobody acknowledged our 2xx: the session is ended with BYE (RFC 3261 §13.3.1.4)."""
        self._success = None
        if self._bye_due is not None:
            self._send_due_bye(now)
        else:
            self._drop_dialog("ack-timeout", now)
