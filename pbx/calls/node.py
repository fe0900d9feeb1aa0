"""The signalling side of one node: what the SIP engine's events mean here.

Sans-I/O: the shell (``pbx.signal``) or the simulator feeds engine events, media datagrams, log
completions and time; everything that goes out leaves through the engine, the media port and the
log port. One thread.

The request pipeline for an INVITE: source policy → overload → authentication → Replaces →
:class:`~pbx.calls.call.Call`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from pbx.calls import cause, leg_events, refer
from pbx.calls.auth import Authenticator, Identity
from pbx.calls.bridge import Bridge
from pbx.calls.call import Call
from pbx.calls.cause import Q850_NORMAL, Q850_TEMPORARY_FAILURE, End, EndCause, EndedBy
from pbx.calls.config import CallConfig
from pbx.calls.consult import Consultation, Deferred
from pbx.calls.directory import Directory, SecretPending
from pbx.calls.emergency import Emergency
from pbx.calls.event_packages import MessageCountsPort, NoMessages
from pbx.calls.guard import Guard
from pbx.calls.leg import Leg
from pbx.calls.limits import CallLimits
from pbx.calls.locations import Locations
from pbx.calls.peers import PeerTable
from pbx.calls.ports import Arrival, LogPort, MediaPort, NoTrunks, Rng, TrunkPort
from pbx.calls.registration import Registration
from pbx.calls.requests import Requests
from pbx.calls.routing import Router
from pbx.calls.rulebook import Rulebook
from pbx.calls.services import NoApplications, Services
from pbx.calls.subscriptions import Subscriptions
from pbx.calls.timers import Timers
from pbx.domain import blacklist
from pbx.domain.accounts import AccountDeleted, DomainDeleted
from pbx.domain.messages import MessageRelayed
from pbx.domain.nodes import CallEndAsked, NodeAlive, NodeStarted, NodeStopped
from pbx.domain.setting_events import (
    AccountSettingsChanged,
    DomainSettingsChanged,
    ServerSettingsChanged,
)
from pbx.eventlog import ANY_VERSION, Meta, Record
from pbx.kernel.clock import Clock
from pbx.kernel.events import TYPE_OF
from pbx.kernel.events import Event as LogEvent
from pbx.kernel.ids import uuid7
from sip import events as sip_events
from sip.engine import SipEngine
from sip.errors import RemoteProtocolError
from sip.flow import Flow
from sip.headers import parse_replaces
from sip.validation import check_accept

if TYPE_CHECKING:
    from sip.dialog.invite import InviteUsage
    from sip.headers import Replaces

#: The server's own end of calls when it stops in order.
STOPPED: Final = End(503, EndCause.ADMIN, Q850_TEMPORARY_FAILURE, EndedBy.SERVER, "server stops")
#: The end that an administrator asks for.
ENDED: Final = End(480, EndCause.ADMIN, Q850_NORMAL, EndedBy.SERVER)
#: Emergency calls may exceed the limit of all calls by one in so many: room, and still a bound.
_RESERVE: Final = 20
#: What the settings of trunks come from.
_OF_TRUNKS: Final = frozenset(
    TYPE_OF[kind].name
    for kind in (
        AccountSettingsChanged, DomainSettingsChanged, ServerSettingsChanged, AccountDeleted,
        DomainDeleted,
    )
)  # fmt: skip
_ACCOUNT_DELETED: Final = TYPE_OF[AccountDeleted].name
#: A secret whose key is on another machine is there after a few milliseconds; it is looked for so
#: often, for half a second, by so many requests at once.
_LOOK_S: Final = 0.02
_LOOKS: Final = 25
_MAX_RESTING: Final = 1_000
#: What an INVITE must be able to take as an answer (RFC 3261 §13.2.1).
_ANSWER_TYPES: Final = ("application/sdp",)


class SignalNode:
    """See the module."""

    def __init__(
        self,
        engine: SipEngine,
        media: MediaPort,
        log: LogPort,
        clock: Clock,
        rng: Rng,
        config: CallConfig,
        *,
        directory: Directory | None = None,
        rulebook: Rulebook | None = None,
        nonce_secret: bytes = b"",
        peers: PeerTable | None = None,
        messages: MessageCountsPort | None = None,
    ) -> None:
        self.engine = engine
        self.media = media
        self.log = log
        self.clock = clock
        self.rng = rng
        self.config = config
        self.timers = Timers()
        self.directory = directory if directory is not None else Directory()
        self.locations = Locations(self)
        self.emergency = Emergency(self.directory, config.emergency_numbers)
        self.router = Router(self.directory, self.locations, self.emergency)
        self.consult = Consultation(self)
        self.router.question = self.consult.question
        self.router.answer = self.consult.answer
        self.limits = CallLimits(self.directory, config.calls_per_account)
        self.rulebook = rulebook if rulebook is not None else Rulebook()
        self.behind = False
        """The configuration at hand is too old to decide on: nothing new is taken."""
        self.services = Services(self)
        self.trunks: TrunkPort = NoTrunks()
        self.router.programs = self._runs_programs
        self.guard = Guard(config)
        engine.limit_refusals(self._deserves_refusal)
        self.authenticator = Authenticator(self, nonce_secret or rng.getrandbits(256).to_bytes(32))
        self.registration = Registration(self)
        self.subscriptions = Subscriptions(self, messages or NoMessages())
        self.requests = Requests(self)
        self.peers = peers if peers is not None else PeerTable()
        """The nodes of the cluster, ours too."""
        self.read_stream: Callable[[str], Iterable[Record]] | None = None
        """Reads a stream of the log; where it is None conflicts are settled by version alone."""
        self.account_legs: dict[str, dict[str, Leg]] = {}
        """Live legs by account and id."""
        self.calls: dict[str, Call] = {}
        self.bridges: dict[str, Bridge] = {}
        self.stopping = False
        self.calls_total = 0
        self.refused_total = 0
        self._resting = 0
        self._on_stopped: Callable[[], None] | None = None
        self._heartbeat_running = False
        self._setup_tokens = 0.0
        self._setup_at = 0.0
        self._meta = Meta(actor=f"node:{config.node}")

    # Life.

    def start(
        self,
        version: str,
        pid: int,
        listeners: tuple[str, ...],
        now: float,
        *,
        link: str = "",
        advertised: str = "",
    ) -> None:
        """Write ``node.started``; events may come from now on.

        `link` and `advertised` tell the other nodes of a cluster how to reach us and our phones.
        """
        started = NodeStarted(
            version=version, pid=pid, listeners=listeners, link=link, advertised=advertised
        )
        self.peers.fold(f"node/{self.config.node}", started)
        self.note(started)
        self.locations.arm(now)
        self.trunks.start(now)

    def stop(self, now: float, stopped: Callable[[], None]) -> None:
        """Refuse new work, end every call, then call `stopped`."""
        self.stopping = True
        self._on_stopped = stopped
        self.subscriptions.stop(now)
        self.trunks.stop(now)
        for call in list(self.calls.values()):
            call.finish(STOPPED, now)
        self._maybe_stopped()

    def _maybe_stopped(self) -> None:
        stopped = self._on_stopped
        if stopped is not None and not self.calls:
            self._on_stopped = None
            self.note(NodeStopped(reason="stopped in order"))
            stopped()

    def next_timer(self) -> float | None:
        """When :meth:`handle_timers` is due."""
        return self.timers.next_due()

    def handle_timers(self, now: float) -> None:
        """Fire what is due."""
        self.timers.run(now)

    def apply(self, record: Record) -> None:
        """Fold a record of the log that somebody else wrote: commands, other nodes."""
        stream = record.stream
        if stream == blacklist.STREAM:
            self.guard.apply(record.event, record.time_ns, self.clock.wall_ns(), self.now())
        elif stream.startswith("binding/"):
            if record.node != self.config.node:
                self.locations.fold(stream, record.version, record.event, record.node)
                self.locations.arm(self.now())
        elif stream.startswith("trunk/"):
            self.trunks.apply(record)
        elif stream.startswith("node/"):
            changed = self.peers.fold(stream, record.event, record.time_ns)
            if changed and changed != self.config.node:
                self.engine.forget_node(changed)
                self.trunks.apply(record)
            if isinstance(record.event, CallEndAsked):
                self._end_asked(stream, record.actor, record.event)
        else:
            self.directory.take(record)
            self.rulebook.take(record)
            if record.type in _OF_TRUNKS:
                self.trunks.configured(stream, record.event)
            if stream.startswith("account/"):
                address = stream.removeprefix("account/")
                self.consult.forget(address)
                if record.type == _ACCOUNT_DELETED:
                    self.locations.account_changed(stream, record.event)
                    self.subscriptions.account_deleted(address, self.now())

    def _end_asked(self, stream: str, actor: str, asked: CallEndAsked) -> None:
        call = self.calls.get(asked.call_id)
        if call is None or stream != f"node/{self.config.node}":
            return  # it has ended meanwhile, or is another node's
        now = self.now()
        call.decided("end", "asked for", f"{actor}: {asked.reason}".rstrip(": "), now)
        call.finish(ENDED._replace(reason=asked.reason or "ended by an administrator"), now)

    @property
    def draining(self) -> bool:
        """Whether an operator wants this node empty: nothing new is taken."""
        return self.peers.draining(self.config.node)

    def configured(self, stream: str, event: LogEvent) -> None:
        """Fold one event of the configuration."""
        self.directory.apply(stream, event)
        if stream.startswith("account/"):
            self.consult.forget(stream.removeprefix("account/"))
        self.rulebook.apply(stream, event)
        self.trunks.configured(stream, event)

    def use_trunks(self, trunks: TrunkPort) -> None:
        """Take `trunks` into service; before any event of the configuration."""
        self.trunks = self.router.trunks = trunks

    def _runs_programs(self) -> bool:
        return not isinstance(self.services.applications, NoApplications)

    def note(self, event: LogEvent) -> None:
        """Append a fact about this node."""
        self.log.observe(f"node/{self.config.node}", ANY_VERSION, event, self._meta)

    def note_message(self, event: MessageRelayed) -> None:
        """Append the fact that an instant message was relayed."""
        message_id = self.new_id(self.clock.wall_ns())
        meta = Meta(actor=event.account or "stranger", correlation=message_id)
        self.log.observe(f"message/{message_id}", 1, event, meta)

    def now(self) -> float:
        """Monotonic time, for callbacks that bring none."""
        return self.clock.monotonic()

    def new_id(self, wall_ns: int) -> str:
        """A UUID version 7."""
        return uuid7(wall_ns, self.rng)

    def statistics(self) -> dict[str, int]:
        """Table sizes; those of calls are 0 when nothing is up."""
        return {
            "calls": len(self.calls),
            "bridges": len(self.bridges),
            "calls_total": self.calls_total,
            "refused_total": self.refused_total,
            "call_timers": len(self.timers),
            **self.limits.statistics(),
            **self.consult.statistics(),
            "account_legs": len(self.account_legs),
            **self.rulebook.statistics(),
            **self.locations.statistics(),
            **self.subscriptions.statistics(),
            **self.guard.statistics(),
            **self.trunks.statistics(),
        }

    # Events.

    def on_events(self, events: list[sip_events.Event], now: float) -> None:
        """Everything the engine reports, in order."""
        for event in events:
            try:
                _HANDLERS[type(event)](self, event, now)
            except Deferred as deferred:
                self._rest(event, deferred, now)
            except SecretPending:
                self._rest_briefly(event, now)

    def _rest_briefly(self, event: sip_events.Event, now: float, looks: int = _LOOKS) -> None:
        """Take a request up again when the secret of its account may be there."""
        if self._resting >= _MAX_RESTING:
            self._refuse_event(event, now)
            return
        self._resting += 1

        def again(later: float) -> None:
            self._resting -= 1
            if isinstance(event, sip_events.InviteReceived) and event.usage.ended:
                return  # the caller gave up
            try:
                _HANDLERS[type(event)](self, event, later)
            except Deferred as deferred:
                self._rest(event, deferred, later)
            except SecretPending:
                if looks:
                    self._rest_briefly(event, later, looks - 1)
                else:
                    self._refuse_event(event, later)

        self.timers.call_at(now + _LOOK_S, again)

    def _rest(self, event: sip_events.Event, deferred: Deferred, now: float) -> None:
        """Take a request up again when what it needs is known."""

        def again(later: float) -> None:
            if isinstance(event, sip_events.InviteReceived) and event.usage.ended:
                return  # the caller gave up
            try:
                _HANDLERS[type(event)](self, event, later)
            except (Deferred, SecretPending):
                self._refuse_event(event, later)  # too many wait already

        self.consult.resolve(deferred.question, again)

    def _refuse_event(self, event: sip_events.Event, now: float) -> None:
        """503 with a time to come back."""
        if isinstance(event, sip_events.InviteReceived):
            self._refuse_for_now(event.usage, now)
        elif isinstance(event, sip_events.RequestReceived) and not event.transaction.answered:
            fields = (("Retry-After", self.retry_after()),)
            self.engine.respond(event.transaction, 503, None, fields, now=now)

    def abandon(self, event: sip_events.Event, now: float) -> None:
        """Handling `event` failed, which is a defect of ours: end what it belongs to.

        Its call or request then does not hang half-handled; everything else goes on.
        """
        usage = getattr(event, "usage", None)
        leg = getattr(usage, "user", None)
        if isinstance(leg, Leg):
            leg.call.finish(cause.failure(500, EndedBy.SERVER, "internal error"), now)
        elif isinstance(event, sip_events.InviteReceived):
            event.usage.reject(500, now=now)
        elif isinstance(event, sip_events.RequestReceived) and not event.transaction.answered:
            self.engine.respond(event.transaction, 500, now=now)

    def on_media_timeout(self, session: str, now: float) -> None:
        """The media service gave a session up."""
        bridge = self.bridges.get(session)
        if bridge is not None:
            bridge.call.on_media_timeout(bridge, now)
        else:
            self.services.applications.media_timed_out(session, now)

    def on_media_restarted(self, now: float) -> None:
        """The media service was started again and knows nothing of our calls."""
        self.services.applications.media_restarted(now)
        for call in list(self.calls.values()):
            call.on_media_lost(now)

    def _invite(self, event: sip_events.InviteReceived, now: float) -> None:
        usage, request, flow = event.usage, event.request, event.flow
        authenticator = self.authenticator
        trusted = authenticator.trusts(flow)
        if not trusted and not self.guard.admits(flow.remote[0], request.first("User-Agent"), now):
            usage.drop(now=now)
            return
        urgent = self.emergency.is_emergency(request.request_uri)
        if self._overloaded(urgent=urgent):
            self._refuse_for_now(usage, now)
            return
        if request.body and request.content_type != "application/sdp":
            usage.reject(415, None, (("Accept", "application/sdp"),), now=now, once=True)
            return
        unacceptable = check_accept(request, _ANSWER_TYPES)
        if unacceptable is not None:
            usage.reject(unacceptable.status, unacceptable.reason, now=now, once=True)
            return
        arrival = self.trunks.arrival(request, flow)
        identity: Identity | None
        if arrival is not None:
            # Let in by where it comes from and what it names; a stranger in everything else.
            request = arrival.request
            event = sip_events.InviteReceived(usage, request, flow)
            usage.credentials = arrival.login
            identity = Identity("", arrival.account.rpartition("@")[2])
        else:
            identity = authenticator.inviter(usage, request, flow, now)
        if identity is None:
            return
        replaces_text = request.first("Replaces")
        replaces = None
        if replaces_text is not None:
            try:
                replaces = parse_replaces(replaces_text)
            except RemoteProtocolError:
                usage.reject(400, "Bad Replaces", now=now)
                return
        if replaces is not None and not identity.account and not trusted:
            # RFC 3891 §5: who takes a call over must have proved who it is.
            usage.reject(403, now=now)
            return
        if not urgent and self._too_fast(now):
            self._refuse_for_now(usage, now)
            return
        question = None
        if replaces is None and not urgent and self.consult.routes:
            question = self.router.unanswered(request.request_uri, identity.account)
        if question is None:
            self._begin(event, identity, replaces, now, arrival)
            return

        def answered(later: float) -> None:
            if self.stopping and not usage.ended:
                self._refuse_for_now(usage, later)
            elif not usage.ended:
                self._begin(event, identity, None, later, arrival)

        self.consult.resolve(question, answered)

    def _begin(
        self,
        event: sip_events.InviteReceived,
        identity: Identity,
        replaces: Replaces | None,
        now: float,
        arrival: Arrival | None = None,
    ) -> None:
        """The call is let in."""
        self.calls_total += 1
        call = Call(
            self,
            event.usage,
            identity.account,
            identity.tenant,
            now,
            charged="" if arrival is None else arrival.account,
            came_by="" if arrival is None else arrival.reason,
        )
        if replaces is None:
            call.begin(event.request, event.flow, now)
        else:
            refer.replacing_invite(call, replaces, event.request, event.flow, now)

    def overloaded(self) -> bool:
        """Whether no new call is taken, whoever makes it."""
        return self._overloaded(urgent=False)

    def _deserves_refusal(self, flow: Flow, now: float) -> bool:
        """Bad requests count toward the rate of their source like all others."""
        return self.authenticator.trusts(flow) or self.guard.admits(flow.remote[0], None, now)

    def _overloaded(self, *, urgent: bool) -> bool:
        """Whether no new call is taken, whoever makes it; calls for help have a reserve."""
        total = self.config.calls_total
        if urgent:
            total += max(1, total // _RESERVE)
        return (
            self.stopping
            or ((self.draining or self.behind) and not urgent)
            or len(self.calls) >= total
            or (not self.log.healthy and not urgent)
            or not self.media.available
        )

    def _too_fast(self, now: float) -> bool:
        """Token bucket of new calls; what is challenged first counts once."""
        rate = self.config.setups_per_s
        if rate <= 0:
            return False
        tokens = min(max(rate, 1.0), self._setup_tokens + (now - self._setup_at) * rate)
        self._setup_at = now
        self._setup_tokens = tokens - 1.0 if tokens >= 1.0 else tokens
        return tokens < 1.0

    def _refuse_for_now(self, usage: InviteUsage, now: float) -> None:
        self.refused_total += 1
        usage.reject(503, None, (("Retry-After", self.retry_after()),), now=now, once=True)

    def retry_after(self) -> str:
        """Jittered, so that refused callers do not come back all at once."""
        base = self.config.retry_after_s
        return str(base + int(self.rng.random() * base * 2))

    def call_answered(self, call: Call) -> None:
        """Heartbeats bound the end of calls that die with this node; they run while any is up."""
        if not self._heartbeat_running:
            self._heartbeat_running = True
            self.timers.call_at(call.answered_at + self.config.heartbeat_s, self._heartbeat)

    def _heartbeat(self, now: float) -> None:
        if not self.calls:
            self._heartbeat_running = False
            return
        self.note(NodeAlive(calls=len(self.calls), bindings=self.locations.count))
        self.timers.call_at(now + self.config.heartbeat_s, self._heartbeat)

    def call_closed(self, call: Call) -> None:
        """``call.ended`` is written."""
        self.calls.pop(call.id, None)
        self._maybe_stopped()

    def _dialog_response(self, event: sip_events.DialogResponse, now: float) -> None:
        self.requests.in_dialog_response(event, now)

    def _request(self, event: sip_events.RequestReceived, now: float) -> None:
        transaction, request, flow = event.transaction, event.request, event.flow
        if not self.authenticator.trusts(flow) and not self.guard.admits(
            flow.remote[0], request.first("User-Agent"), now
        ):
            self.engine.drop(transaction, now=now)
            return
        method = request.method
        if method == "REGISTER":
            self.registration.request(transaction, request, flow, now)
        elif method == "OPTIONS":
            self.requests.options(transaction, now)
        elif method == "MESSAGE":
            self.requests.message(transaction, request, flow, now)
        elif method == "SUBSCRIBE":
            self.subscriptions.request(transaction, request, flow, now)
        else:
            self.requests.unserved(transaction, request, now)

    def _response(self, event: sip_events.ResponseReceived, now: float) -> None:
        self.requests.message_response(event, now)

    def _refreshed(self, event: sip_events.SubscriptionRefreshed, now: float) -> None:
        self.subscriptions.refreshed(event, now)

    def _unsubscribed(self, event: sip_events.SubscriptionEnded, now: float) -> None:
        self.subscriptions.ended(event, now)

    def _ignored(self, event: object, now: float) -> None:
        """We subscribe to nothing."""


_HANDLERS: Final[dict[type, Callable[[SignalNode, Any, float], None]]] = {
    sip_events.InviteReceived: SignalNode._invite,
    sip_events.InviteCancelled: leg_events.cancelled,
    sip_events.InviteConfirmed: leg_events.confirmed,
    sip_events.InviteProgress: leg_events.progress,
    sip_events.InviteAnswered: leg_events.answered,
    sip_events.InviteFailed: leg_events.failed,
    sip_events.OfferReceived: leg_events.offer,
    sip_events.OfferRequested: leg_events.offer_requested,
    sip_events.AnswerReceived: leg_events.answer,
    sip_events.OfferFailed: leg_events.offer_failed,
    sip_events.UsageEnded: leg_events.ended,
    sip_events.ReferReceived: leg_events.refer,
    sip_events.ReferProgress: leg_events.refer_progress,
    sip_events.DialogRequest: leg_events.dialog_request,
    sip_events.DialogResponse: SignalNode._dialog_response,
    sip_events.RequestReceived: SignalNode._request,
    sip_events.ResponseReceived: SignalNode._response,
    sip_events.SubscriptionRefreshed: SignalNode._refreshed,
    sip_events.SubscriptionNotified: SignalNode._ignored,
    sip_events.SubscriptionEnded: SignalNode._unsubscribed,
}
