"""One registration on a signalling node: sends its REGISTER and reads what comes back.

Drives a :class:`~pbx.trunks.registration.Registration` with the node's engine and timers, keeps the
way to the registrar open (NAT, connections), and takes the registration back at the end. What
happens is reported to a :class:`LineOwner`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pbx.calls.ports import RequestOwner
from pbx.trunks.records import RsipRecord
from pbx.trunks.registration import Granted, Identity, Kind, Refused, Registration, State
from sip.errors import RemoteProtocolError
from sip.headers import parse_retry_after
from sip.login import DigestLogin
from sip.uri import SipUri

if TYPE_CHECKING:
    from pbx.calls.node import SignalNode
    from pbx.calls.timers import Timer
    from sip.events import ResponseReceived
    from sip.flow import Flow
    from sip.message import Response
    from sip.request import ClientRequest

KEEP_ALIVE_S: Final = 25.0
"""Below the half minute after which common NATs forget a UDP flow (RFC 5626 §4.4.2)."""
STALE_CONTACT_S: Final = 1.0
"""How soon a contact of an earlier run or of another node is taken back."""
MAX_STALE: Final = 5
"""Contacts taken back with one REGISTER."""
_REASON_CHARS: Final = 120


class LineOwner(Protocol):
    """Who has the line."""

    def line_registered(self, line: Line, *, first: bool, now: float) -> None:
        """The registrar accepted us; `first` after not being registered."""
        ...

    def line_failed(self, line: Line, refused: Refused, now: float) -> None: ...

    def line_gone(self, line: Line) -> None:
        """What :meth:`Line.leave` began has ended, one way or the other."""
        ...


class Line(RequestOwner):
    """See the module."""

    def __init__(
        self, owner: LineOwner, node: SignalNode, record: RsipRecord, identity: Identity, due: float
    ) -> None:
        self._owner = owner
        self._node = node
        self.registration = Registration(record, identity, node.rng, due)
        self._login = DigestLogin(record.auth_name, record.password)
        self._client: ClientRequest | None = None
        self._timer: Timer | None = None
        self._alive_timer: Timer | None = None
        self._stale: list[str] = []
        self.leaving = False
        self.contact = ""
        """Ours, as the registrar keeps it."""
        self.flow: Flow | None = None
        """Where the registrar's last answer came over."""
        self.sources: frozenset[str] = frozenset()
        """Hosts of the registrar."""
        self.arm()

    @property
    def record(self) -> RsipRecord:
        return self.registration.record

    @property
    def realm(self) -> str:
        """The realm in which the registrar asks for the password; empty if it never did."""
        return self._login.asked_in

    def update(self, record: RsipRecord, now: float) -> None:
        """The same registration under changed terms: password, period, target."""
        self._hush()
        before = self.registration
        self.registration = Registration(record, before.identity, self._node.rng, now)
        self.registration.expires_at = before.expires_at
        self.registration.last = before.last
        self._login = DigestLogin(record.auth_name, record.password)
        self.arm()

    def register_now(self, now: float) -> None:
        """Whatever it waits for."""
        if not self.leaving:
            self.registration.begin_anew(now)
            self.arm()

    def leave(self, now: float) -> None:
        """Take the registration back; nothing is repeated for long."""
        if self.leaving:
            return
        self.leaving = True
        for timer in (self._timer, self._alive_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._alive_timer = None
        running = self._client
        self._hush()
        if running is None and not self.registration.is_registered(now):
            self._owner.line_gone(self)
            return
        self.registration.identity.cseq += 1
        self._send(self.registration.identity.cseq, 0, now)

    def arm(self) -> None:
        """Have the timer fire when the registration is due."""
        if self._timer is not None:
            self._timer.cancel()
        due = self.registration.due
        self._timer = None if due is None else self._node.timers.call_at(due, self._is_due)

    # Sending.

    def _is_due(self, now: float) -> None:
        self._timer = None
        attempt = self.registration.attempt()
        self._send(attempt.cseq, attempt.expires_s, now)

    def _send(self, cseq: int, expires_s: int, now: float) -> None:
        record = self.record
        stale, self._stale = self._stale[:MAX_STALE], self._stale[MAX_STALE:]
        headers = [("Expires", str(expires_s))]
        headers += [("Contact", f"<{uri}>;expires=0") for uri in stale]
        self._client = self._node.engine.request(
            "REGISTER",
            record.registrar,
            to=f"<{record.address}>",
            from_=f"<{record.address}>",
            now=now,
            headers=headers,
            route=record.route,
            call_id=self.registration.identity.sip_call_id,
            cseq=cseq,
            contact=self.registration.identity.token,
            credentials=self._login if record.password else None,
            user=self,
        )

    def _hush(self) -> None:
        """Nobody waits for the running request any more."""
        client, self._client = self._client, None
        if client is not None:
            identity = self.registration.identity
            identity.cseq = max(identity.cseq, client.cseq)
            client.hush()

    # Answers.

    def responded(self, event: ResponseReceived, now: float) -> None:
        client, response = event.client, event.response
        if client is not self._client:
            return  # one that was given up
        if response is not None and response.status < 200:
            return
        self._client = None
        if client.flow is not None and response is not None:
            self.flow = client.flow
        if self.leaving:
            self._owner.line_gone(self)
            return
        if response is not None and response.status < 300:
            self._registered(client, response, now)
        else:
            self._failed(_refusal(client, response, event.cause, self.record), now)
        self.arm()

    def _registered(self, client: ClientRequest, response: Response, now: float) -> None:
        before = self.registration
        first = before.last is not None or not before.is_registered(now)
        shown = client.contact_shown.partition("<")[2].partition(">")[0]
        expires_s, self._stale = _granted(response, shown, self.registration.identity.token)
        if expires_s is None:
            expires_s = int(self.record.period_s)
        if expires_s <= 0:
            refused = Refused(
                Kind.REFUSED, 200, "the registrar accepted us and kept nothing", client.cseq
            )
            self._failed(refused, now)
            return
        self.contact = shown
        hosts = {target.host for target in client.located}
        if self.flow is not None:
            hosts.add(self.flow.remote[0])
        self.sources = frozenset(hosts)
        registration = self.registration
        registration.succeeded(Granted(expires_s, client.cseq), now)
        if self._stale and registration.due is not None:
            registration.due = min(registration.due, now + STALE_CONTACT_S)
        if self.flow is not None and (self.flow.reliable or _is_translated(response)):
            self._keep_alive(now)
        self._owner.line_registered(self, first=first, now=now)

    def _failed(self, refused: Refused, now: float) -> None:
        if self.registration.failed(refused, now):
            self._owner.line_failed(self, refused, now)

    # The way to the registrar.

    def _keep_alive(self, now: float) -> None:
        if self._alive_timer is None:
            # RFC 5626 §4.4: at random between 80 % and all of it.
            due = now + KEEP_ALIVE_S * (0.8 + 0.2 * self._node.rng.random())
            self._alive_timer = self._node.timers.call_at(due, self._keep_alive_due)

    def _keep_alive_due(self, now: float) -> None:
        self._alive_timer = None
        flow, engine = self.flow, self._node.engine
        if flow is None or not self.registration.is_registered(now):
            return
        if not engine.is_up(flow):
            # The connection by which calls would come is gone (RFC 5626 §4.4.1).
            if self.registration.state is State.REGISTERED:
                self.register_now(now)
            return
        engine.keep_alive(flow)
        self._keep_alive(now)


def _granted(response: Response, shown: str, token: str) -> tuple[int | None, list[str]]:
    """Seconds that we are known, None if it is not said; contacts of ours that are not this one.

    RFC 3261 §10.2.4: the list has all contacts of the address. Registrars that write our host and
    port as they see them still keep the user part, which is ours alone.
    """
    try:
        contacts = [contact for contact in response.contacts if not response.contact_is_star]
        header = response.expires
    except RemoteProtocolError:
        return None, []
    own: int | None = None
    others: list[tuple[str, int | None]] = []
    for contact in contacts:
        uri = contact.uri if contact.uri_text.startswith("sip") else None
        if not isinstance(uri, SipUri) or uri.user != token:
            continue
        text = contact.param("expires") or ""
        seconds = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else header
        if contact.uri_text == shown:
            own = seconds if seconds is not None else own
        else:
            others.append((contact.uri_text, seconds))
    if own is not None:
        return own, [uri for uri, _ in others if "<" not in uri and '"' not in uri]
    if others:
        known = [seconds for _, seconds in others if seconds is not None]
        return (max(known) if known else header), []
    return header, []


def _is_translated(response: Response) -> bool:
    """Whether the registrar saw our request come from another address than ours (RFC 3581)."""
    try:
        via = response.via
    except RemoteProtocolError:
        return False
    return bool(via.received) and via.received != via.host_text.strip("[]")


def _refusal(
    client: ClientRequest, response: Response | None, cause: str, record: RsipRecord
) -> Refused:
    """Why an attempt failed, in words, and what kind of failure that is."""
    if response is None:
        if cause == "timeout":
            reason = f"{record.host} does not answer"
            return Refused(Kind.UNREACHABLE, 408, reason, client.cseq)
        reason = f"{record.host} cannot be reached: no such name, or no connection"
        return Refused(Kind.UNREACHABLE, 503, reason, client.cseq)
    status = response.status
    phrase = "".join(letter for letter in response.reason if letter.isprintable())
    said = f"{record.host} answered {status} {phrase}"[:_REASON_CHARS].rstrip()
    minimum = 0
    if status == 423:
        text = response.first("Min-Expires") or ""
        minimum = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    retry_after_s = 0.0
    if (after := response.first("Retry-After")) is not None:
        try:
            retry_after_s = float(parse_retry_after(after).delay_s)
        except RemoteProtocolError:
            pass
    if status in (401, 407):
        if record.password:
            kind, hint = Kind.PASSWORD, "the authentication name or the password is wrong"
        else:
            kind, hint = Kind.PASSWORD, "it wants a password and the record has none"
        return Refused(kind, status, f"{said}: {hint}", client.cseq, 0, retry_after_s)
    if 300 <= status < 400:
        # A password is sent to the registrar of the record, wherever that one points to.
        said += ": it has moved; put its new name into the record"
    unreachable = status == 408 or 500 <= status < 600
    kind = Kind.UNREACHABLE if unreachable else Kind.REFUSED
    return Refused(kind, status, said, client.cseq, minimum, retry_after_s)
